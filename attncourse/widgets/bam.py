"""Widget of the BAM chapter: which pixels of a photograph can move one output pixel of stacked dilated convolutions.

It rests on plain functions (``ways``, ``view``) that work and are tested without any widget.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from attncourse.widgets.base import CourseWidget, control, front_end, position

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

SIZE = 49  # pixels a side of the picture: four layers with d = 6 just fit
LAYERS = (1, 2, 3, 4)
DOUBLING = "doubling: 1, 2, 4, 8"
DILATIONS = ("1", "2", "3", "4", "6", DOUBLING)
PLACES = {"in the middle": 24, "near a corner": 6}  # row and column of the output pixel


def ways(dilations: Sequence[int]) -> np.ndarray:
    """In how many ways each offset along one axis is reached through 3×3 layers with these dilations, one per layer.

    The offsets run from -sum(dilations) to sum(dilations); an offset with 0 ways is not seen. In two dimensions the
    number of ways is the product of those of the two axes.

    Raises:
        ValueError: if a dilation is below 1.
    """
    if min(dilations, default=1) < 1:
        raise ValueError(f"every dilation must be at least 1, got {list(dilations)}")
    count = np.ones(1, dtype=int)
    for d in dilations:
        taps = np.zeros(2 * d + 1, dtype=int)
        taps[[0, d, 2 * d]] = 1
        count = np.convolve(count, taps)
    return count


class View(NamedTuple):
    """What one output pixel sees of a picture."""

    side: int  # of the square around all that it sees
    seen: int  # pixels of that square that can move it
    outside: int  # of the seen ones, those that lie beyond the picture's edge, where padding puts zeros


def view(dilations: Sequence[int], place: int = SIZE // 2, size: int = SIZE) -> View:
    """What the output pixel at row and column `place` of a size × size picture sees."""
    offsets = np.flatnonzero(ways(dilations)) - sum(dilations)
    inside = ((offsets + place >= 0) & (offsets + place < size)).sum()
    return View(2 * sum(dilations) + 1, len(offsets)**2, len(offsets)**2 - int(inside)**2)


def chosen_dilations(option: str, layers: int) -> list[int]:
    return [2**k for k in range(layers)] if option == DOUBLING else [int(option)] * layers


def square(photo: "Tensor | np.ndarray") -> np.ndarray:
    """The middle square of the photograph (3, H, W), made SIZE pixels wide, as (H, W, 3)."""
    array = np.asarray(photo)
    if array.dtype != np.uint8 or array.ndim != 3 or len(array) != 3:
        raise ValueError(f"photo must be uint8 and (3, H, W), got {array.dtype} and {array.shape}")
    _, height, width = array.shape
    side = min(height, width)
    if side < SIZE:
        raise ValueError(f"photo must have at least {SIZE} pixels a side, got {array.shape}")
    top, left = (height - side) // 2, (width - side) // 2
    image = Image.fromarray(np.ascontiguousarray(array[:, top:top + side, left:left + side].transpose(1, 2, 0)))
    return np.array(image.resize((SIZE, SIZE), Image.Resampling.BOX))


class ReceptiveField(CourseWidget):
    """A photograph, and the pixels of it that can move one output pixel of one to four 3×3 layers.

    Args:
        photo: the photograph (3, H, W), uint8; its middle square is shown, 49 pixels a side.
        shows: what is to be seen on it, for a reader who does not see it: "a cup".
        dilation: the dilation shown first, one of ``DILATIONS``. layers: how many layers are stacked at first, 1 to 4.

    Raises:
        ValueError: if the photograph has another type or shape or is too small, or a choice does not exist.
    """

    _esm = front_end("receptive_field.js")

    def __init__(self, photo: "Tensor | np.ndarray", shows: str = "", dilation: int | str = 4, layers: int = 2):
        self._photo = square(photo)
        numbers, names = [str(n) for n in LAYERS], list(PLACES)
        super().__init__(
            label="What one output pixel sees" + (f" of {shows}" if shows else ""),
            controls=[
                control("dilation", "Dilation d", list(DILATIONS)),
                control("layers", "Stacked 3×3 layers", numbers, "range"),
                control("place", "Output pixel", names),
            ],
            state={"dilation": position(list(DILATIONS), dilation, "dilation"),
                   "layers": position(numbers, layers, "layers"), "place": 0},
            data=self._photo,  # (H, W, 3), as a canvas wants it
            meta={"ways": [[ways(chosen_dilations(d, n)).tolist() for n in LAYERS] for d in DILATIONS],
                  "places": list(PLACES.values())},
        )

    def describe(self, state: Mapping[str, int]) -> str:
        option, layers = DILATIONS[state["dilation"]], LAYERS[state["layers"]]
        name, place = list(PLACES.items())[state["place"]]
        found = view(chosen_dilations(option, layers), place)
        how = ("d = 1, to be doubled with each layer" if layers == 1 else f"d doubled from 1 to {2**(layers - 1)}") \
            if option == DOUBLING else f"d = {option}"
        share = found.seen / found.side**2
        beyond = f" {found.outside} of them lie beyond the edge, where padding puts zeros." if found.outside else ""
        return (
            f"{layers} layer{'s' * (layers > 1)}, {how}: the output pixel {name} can be moved by {found.seen} pixels "
            f"of a {found.side} × {found.side} square around it, {100 * share:.3g}% of its {found.side**2} pixels."
            f"{beyond}"
        )

    def picture(self) -> "Figure":
        from matplotlib.figure import Figure  # no pyplot: nothing global is touched
        from matplotlib.patches import Rectangle

        option, layers = DILATIONS[self.state["dilation"]], LAYERS[self.state["layers"]]
        place = list(PLACES.values())[self.state["place"]]
        count = ways(chosen_dilations(option, layers))
        reach = len(count) // 2
        seen = np.zeros(SIZE, dtype=bool)
        for offset in np.flatnonzero(count) - reach:
            if 0 <= place + offset < SIZE:
                seen[place + offset] = True
        figure = Figure(figsize=(7.6, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        bright = np.outer(seen, seen)[..., None]
        left.imshow(np.where(bright, self._photo, 0.35 * self._photo).round().astype(np.uint8))
        if 0 in count:
            rows, columns = np.outer(seen, seen).nonzero()
            left.scatter(columns, rows, s=12, marker="s", facecolors="none", edgecolors="white", linewidths=0.7)
        corner = place - reach - 0.5
        left.add_patch(Rectangle((corner, corner), len(count), len(count), fc="none", ec="white", lw=1.2, ls="--"))
        left.add_patch(Rectangle((place - 0.5, place - 0.5), 1, 1, fc="none", ec="#ff9a3c", lw=1.5))
        left.set(title="bright: can move the output pixel", xticks=[], yticks=[], xlim=(-0.5, SIZE - 0.5),
                 ylim=(SIZE - 0.5, -0.5))
        offsets = np.arange(-reach, reach + 1)
        right.bar(offsets[count > 0], count[count > 0], color="#0b63a5", width=0.8)
        right.set(title="along one axis", xlabel="offset in pixels", ylabel="ways to get there",
                  xticks=[-reach, 0, reach], yticks=[0, count.max()])
        right.spines[["top", "right"]].set_visible(False)
        return figure
