"""Widget of the attention chapter: a photograph, a gate that looks at one place, and what the gate lets through.

It rests on plain functions (``gaussian_gate``, ``share_passed``) that work and are tested without any widget.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from attncourse.widgets.base import CourseWidget, control, front_end

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

LONGER_SIDE = 80  # pixels: all that fits beside 405 sentences in a page that stays light
PLACES = 9  # centres along each axis, from edge to edge
WIDTHS = (1 / 20, 1 / 10, 1 / 5, 2 / 5, 4 / 5)  # σ as a share of the longer side


def gaussian_gate(height: int, width: int, row: float, column: float, sigma: float) -> np.ndarray:
    """A gate (height, width) that is 1 at (row, column) and falls with the distance from there.

    Raises:
        ValueError: if sigma is not above 0.
    """
    if not sigma > 0:
        raise ValueError(f"sigma must be above 0, got {sigma}")
    dy, dx = np.arange(height)[:, None] - row, np.arange(width)[None, :] - column
    return np.exp(-(dy**2 + dx**2) / (2 * sigma**2))


def share_passed(photo: np.ndarray, gate: np.ndarray) -> float:
    """The brightness of photo × gate, as a share of the photograph's own; photo (3, H, W), gate (H, W)."""
    brightness = photo.sum(0, dtype=np.float64)
    return float((brightness * gate).sum() / brightness.sum())


def shrunk(photo: "Tensor | np.ndarray") -> np.ndarray:
    """The photograph (3, H, W), made smaller where needed, or a ValueError that says what is wrong with it."""
    try:
        array = np.asarray(photo)
    except (TypeError, ValueError, RuntimeError):  # a tensor on a GPU, or one that needs a gradient
        raise ValueError(f"photo must be an array, or a tensor on the CPU, got a {type(photo).__name__}") from None
    if array.dtype != np.uint8:
        raise ValueError(f"photo must be uint8, got {array.dtype}")
    if array.ndim != 3 or len(array) != 3:
        raise ValueError(f"photo must be (3, H, W), got {array.shape}")
    _, height, width = array.shape
    scale = min(1, LONGER_SIDE / max(height, width, 1))
    height, width = round(height * scale), round(width * scale)
    if min(height, width) < PLACES:
        raise ValueError(f"photo must keep {PLACES} pixels a side at {LONGER_SIDE} on its longer, got {array.shape}")
    image = Image.fromarray(np.ascontiguousarray(array.transpose(1, 2, 0)))  # (3, H, W) -> (H, W, 3)
    small = np.array(image.resize((width, height), Image.Resampling.BOX)).transpose(2, 0, 1)
    if not small.any():
        raise ValueError("photo is black everywhere: there is nothing to let through")
    return small


def places(size: int) -> list[int]:
    """The rows, or columns, on which the gate can be centred."""
    return [round(k * (size - 1) / (PLACES - 1)) for k in range(PLACES)]


class GateOnPhoto(CourseWidget):
    """A photograph, a Gaussian gate that the reader moves and widens, and their product.

    Args:
        photo: the photograph (3, H, W), uint8; it is made smaller, to 80 pixels on its longer side.
        shows: what is to be seen on it, for a reader who does not see it: "an astronaut".
        centre: where the gate looks at first, as shares of height and width; the nearest of 9 × 9 places is taken.

    Raises:
        ValueError: if the photograph has another type or shape, is too narrow or black, or centre is not in it.
    """

    _esm = front_end("gaussian_gate.js")

    def __init__(self, photo: "Tensor | np.ndarray", shows: str = "", centre: tuple[float, float] = (0.5, 0.5)):
        if len(centre) != 2 or not all(0 <= share <= 1 for share in centre):
            raise ValueError(f"centre must be two shares from 0 to 1, got {centre}")
        self._photo = shrunk(photo)
        _, height, width = self._photo.shape
        self._rows, self._columns = places(height), places(width)
        self._sigmas = [float(f"{share * max(height, width):.3g}") for share in WIDTHS]
        first = {name: round(share * (PLACES - 1)) for name, share in zip(("row", "column"), centre)}
        super().__init__(
            label="A gate that looks at one place of a photograph" + (f": {shows}" if shows else ""),
            controls=[
                control("row", "Row, from the top", [str(row) for row in self._rows], "range"),
                control("column", "Column, from the left", [str(column) for column in self._columns], "range"),
                control("sigma", "Width of the gate, σ", [f"{sigma:g} pixels" for sigma in self._sigmas], "range"),
            ],
            state={**first, "sigma": len(WIDTHS) // 2},
            data=self._photo.transpose(1, 2, 0),  # (H, W, 3), as a canvas wants it
            meta={"rows": self._rows, "columns": self._columns, "sigmas": self._sigmas},
        )

    def _gate(self, state: Mapping[str, int]) -> tuple[dict[str, Any], np.ndarray]:
        """The chosen centre and width in pixels, and their gate (H, W)."""
        where = {"row": self._rows[state["row"]], "column": self._columns[state["column"]],
                 "sigma": self._sigmas[state["sigma"]]}
        return where, gaussian_gate(*self._photo.shape[1:], **where)

    def describe(self, state: Mapping[str, int]) -> str:
        where, gate = self._gate(state)
        share = 100 * share_passed(self._photo, gate)
        return (  # short: there are 405 of them
            f"Centre at row {where['row']}, column {where['column']}, σ {where['sigma']:g} pixels: "
            f"{share:.{0 if share >= 10 else 1}f}% of the brightness passes."
        )

    def picture(self) -> "Figure":
        from matplotlib.figure import Figure  # no pyplot: nothing global is touched

        where, gate = self._gate(self.state)
        photo = self._photo.transpose(1, 2, 0)  # (3, H, W) -> (H, W, 3)
        figure = Figure(figsize=(7.6, 0.8 + 2.2 * photo.shape[0] / photo.shape[1]), layout="constrained")
        panels = figure.subplots(1, 3)
        panels[0].imshow(photo)
        panels[1].imshow(gate, cmap="gray", vmin=0, vmax=1)
        panels[2].imshow((photo * gate[..., None]).round().astype(np.uint8))
        for axes, sign, title in zip(panels, ("", "×", "="), ("photograph", "gate", "photograph × gate")):
            axes.set(title=title, xticks=[], yticks=[])
            axes.text(-0.05, 0.5, sign, transform=axes.transAxes, ha="right", va="center", size=16, color="#59636e")
        figure.suptitle(f"Row {where['row']}, column {where['column']}, σ {where['sigma']:g} pixels", size="medium")
        return figure
