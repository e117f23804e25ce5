"""Widget of the Grad-CAM chapter: a class and a layer are chosen, and the map that speaks for the class is shown.

It rests on plain functions (``stretch``, ``region``) that work and are tested without any widget.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from attncourse.widgets.base import CourseWidget, control, front_end

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

OPACITIES = (0, 40, 80)  # per cent
THRESHOLDS = (20, 40, 60, 80)  # per cent of the map's highest value
COLOURS = ((43, 11, 87), (87, 16, 110), (127, 30, 108), (168, 46, 95), (204, 66, 72), (234, 99, 42),
           (249, 142, 9), (251, 190, 35), (241, 239, 117))  # from 0 to the highest value


class Question(NamedTuple):
    """One class asked for on one photograph."""

    photo: int  # which of the photographs
    name: str  # of the class
    logit: float
    probability: float
    maps: Sequence[np.ndarray]  # one (h, w) per layer, not negative


def stretch(one_map: np.ndarray, side: int) -> np.ndarray:
    """A map (h, w) stretched bilinearly over side × side pixels, corners not aligned, as the front end does it."""
    for axis, size in enumerate(one_map.shape):
        at = np.clip((np.arange(side) + 0.5) * size / side - 0.5, 0, size - 1)
        low = np.floor(at).astype(int)
        high, part = np.minimum(low + 1, size - 1), at - low
        part = part[:, None] if axis == 0 else part
        one_map = one_map.take(low, axis) * (1 - part) + one_map.take(high, axis) * part
    return one_map


def region(one_map: np.ndarray, side: int, threshold: float) -> np.ndarray:
    """Which of side × side pixels reach the threshold, as a share of the map's (h, w) highest value. None, if it is 0.
    """
    return (stretch(one_map, side) >= threshold * one_map.max()) & (one_map.max() > 0)


def checked(photos: "Tensor | np.ndarray", names: Sequence[str], layers: Sequence[str],
            questions: Sequence[Question]) -> np.ndarray:
    """The photographs (B, S, S, 3) as a canvas wants them, or a ValueError that says what is wrong."""
    array = np.asarray(photos)
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[1] != 3 or array.shape[2] != array.shape[3]:
        raise ValueError(f"photos must be square, uint8 (B, 3, S, S), got {array.dtype} {array.shape}")
    if len(names) != len(array):
        raise ValueError(f"names must name {len(array)} photographs, got {len(names)}")
    if not questions:
        raise ValueError("questions must hold at least one, got none")
    shapes = [one_map.shape for one_map in questions[0].maps]
    for each in questions:
        if not 0 <= each.photo < len(array):
            raise ValueError(f"{each.name}: there are photographs 0 to {len(array) - 1}, got {each.photo}")
        if len(each.maps) != len(layers) or [one_map.shape for one_map in each.maps] != shapes:
            raise ValueError(f"{each.name}: one map per layer, of the same sizes for all, is needed, got "
                             f"{[one_map.shape for one_map in each.maps]} for {len(layers)} layers")
        if any(one_map.min() < 0 for one_map in each.maps):
            raise ValueError(f"{each.name}: a map must not be negative")
    return array.transpose(0, 2, 3, 1)


class ClassMaps(CourseWidget):
    """Photographs and the Grad-CAM maps of a network: choose the class, the layer, and how the map is shown.

    Args:
        photos: (B, 3, S, S), uint8.
        names: what each photograph shows: "astronaut".
        layers: the layers' names, from the image to the logits.
        questions: the classes, each with its maps, one per layer; a layer's maps have one size.

    Raises:
        ValueError: if the photographs have another type or shape, or names, layers or maps do not fit.
    """

    _esm = front_end("class_maps.js")

    def __init__(self, photos: "Tensor | np.ndarray", names: Sequence[str], layers: Sequence[str],
                 questions: Sequence[Question]):
        self._photos, self._questions = checked(photos, names, layers, questions), list(questions)
        self._names, self._layers, self._side = list(names), list(layers), self._photos.shape[1]
        self._sizes = [one_map.shape for one_map in self._questions[0].maps]
        maps = [np.round(255 * one_map / (one_map.max() or 1)).astype(np.uint8).ravel()
                for each in self._questions for one_map in each.maps]
        self._shares = [[[region(one_map, self._side, percent / 100).mean() for percent in THRESHOLDS]
                         for one_map in each.maps] for each in self._questions]
        super().__init__(
            label="The positions that speak for the class",
            controls=[
                control("question", "Photograph and class",
                        [f"{self._names[each.photo]}: {each.name}" for each in self._questions]),
                control("layer", "Layer", [f"{name} ({h} × {w})" for name, (h, w) in zip(self._layers, self._sizes)]),
                control("opacity", "Opacity of the map", [f"{percent} %" for percent in OPACITIES], "range"),
                control("threshold", "Outline at", [f"{percent} % of maximum" for percent in THRESHOLDS], "range"),
            ],
            state={"question": 0, "layer": len(self._layers) - 1, "opacity": 2, "threshold": 2},
            data=np.concatenate([self._photos.ravel(), *maps]),
            meta={"photos": len(self._photos), "side": self._side, "sizes": [list(size) for size in self._sizes],
                  "photo": [each.photo for each in self._questions], "opacities": list(OPACITIES),
                  "thresholds": list(THRESHOLDS), "colours": [list(colour) for colour in COLOURS]},
        )

    def describe(self, state: Mapping[str, int]) -> str:
        each = self._questions[state["question"]]
        one_map, (h, w) = each.maps[state["layer"]], self._sizes[state["layer"]]
        begin = f"{each.name[0].upper()}{each.name[1:]}: logit {each.logit:.1f}, {percent(each.probability)}. "
        if one_map.max() == 0:
            return begin + f"Nothing in this {h} × {w} map speaks for it."
        i, j = np.unravel_index(one_map.argmax(), one_map.shape)
        share = self._shares[state["question"]][state["layer"]][state["threshold"]]
        return begin + (f"Highest at row {i + 1}, column {j + 1} of {h} × {w}; {percent(share)} of the picture lies in "
                        "the outline.")  # short: there are many of them

    def picture(self) -> "Figure":
        from matplotlib.colors import LinearSegmentedColormap
        from matplotlib.figure import Figure  # no pyplot: nothing global is touched

        each, layer = self._questions[self.state["question"]], self.state["layer"]
        one_map = each.maps[layer] / (each.maps[layer].max() or 1)
        colours = LinearSegmentedColormap.from_list("map", np.array(COLOURS) / 255)
        figure = Figure(figsize=(5.4, 2.9), layout="constrained")
        left, right = figure.subplots(1, 2)
        left.imshow(blend(self._photos[each.photo], stretch(one_map, self._side),
                          OPACITIES[self.state["opacity"]] / 100))
        inside = region(one_map, self._side, THRESHOLDS[self.state["threshold"]] / 100)
        if 0 < inside.mean() < 1:
            left.contour(inside, [0.5], colors="white", linewidths=1.2)
        right.imshow(one_map, cmap=colours, vmin=0, vmax=1)
        for axes, title in ((left, "stretched over the photograph"), (right, "the map itself")):
            axes.set(xticks=[], yticks=[])
            axes.set_title(title, size="medium")
        figure.suptitle(f"{self.chosen['question']}, {self.chosen['layer']}", size="medium")
        return figure


def percent(share: float) -> str:
    """'31 %', and below one per cent '0.3 %'."""
    return f"{100 * share:.0f} %" if share >= 0.01 or share == 0 else f"{100 * share:.1g} %"


def blend(photo: np.ndarray, stretched: np.ndarray, opacity: float) -> np.ndarray:
    """The photograph (S, S, 3) under the map's colours, uint8: the higher the value, the more colour.

    The more opaque the map, the greyer the photograph, so that its own colours are not taken for the map's.
    """
    grey = photo.mean(2, keepdims=True)
    under = photo * (1 - opacity) + grey * opacity
    place = stretched * (len(COLOURS) - 1)
    colour = np.stack([np.interp(place, range(len(COLOURS)), channel) for channel in zip(*COLOURS)], 2)
    cover = opacity * stretched[:, :, None]
    return np.round(under * (1 - cover) + colour * cover).astype(np.uint8)
