"""Widget of the CAM and SAM chapter: the spatial kernel, moved over the two pooled maps of a photograph.

It rests on plain functions (``weighted_sums``, ``gate_of``) that work and are tested without any widget.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from attncourse.widgets.base import CourseWidget, control, front_end, sigmoid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POOLS = {"mean and maximum": (1, 1), "mean only": (1, 0), "maximum only": (0, 1)}  # which of the two maps count
PLACES = 9  # rows, and columns, at which the kernel can stand, from edge to edge
LARGEST = 40  # pixels a side: all that fits beside the sentences in a page that stays light


def windows(stack: np.ndarray, size: int) -> np.ndarray:
    """What a size × size kernel sees at every position of (2, H, W) maps: (2, H, W, size, size), zeros outside."""
    half = size // 2
    padded = np.pad(stack, ((0, 0), (half, half), (half, half)))
    return np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))


def weighted_sums(stack: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """SAM's convolution, each map for itself: (2, H, W) and (2, k, k) to (2, H, W), whose sum is the logit.

    Raises:
        ValueError: if the shapes are others, or k is even.
    """
    if stack.ndim != 3 or len(stack) != 2:
        raise ValueError(f"stack must be (2, H, W), got {stack.shape}")
    if weights.ndim != 3 or len(weights) != 2 or weights.shape[1] != weights.shape[2] or weights.shape[1] % 2 == 0:
        raise ValueError(f"weights must be (2, k, k) with k odd, got {weights.shape}")
    return np.einsum("phwuv,puv->phw", windows(stack, weights.shape[1]), weights)


def gate_of(logits: np.ndarray) -> np.ndarray:
    """Logits (H, W) normalised to mean 0 and variance 1, as BatchNorm does in training, then the sigmoid."""
    return sigmoid((logits - logits.mean()) / np.sqrt(logits.var() + 1e-5))


def equal_weights(size: int) -> np.ndarray:
    """A kernel (2, size, size) that takes the mean of what it sees in each map."""
    return np.full((2, size, size), 1 / size**2)


def checked(photo: ArrayLike, stack: ArrayLike, kernels: Mapping[str, ArrayLike]) -> list[np.ndarray]:
    """Photograph, stack and kernels as float arrays, or a ValueError that says what is wrong."""
    photo, stack, *weights = (np.asarray(each, dtype=np.float64) for each in (photo, stack, *kernels.values()))
    if photo.ndim != 3 or len(photo) != 3:
        raise ValueError(f"photo must be (3, H, W), got {photo.shape}")
    if stack.shape != (2, *photo.shape[1:]):
        raise ValueError(f"stack must be (2, H, W) with the photograph's H and W, got {stack.shape} for {photo.shape}")
    if not PLACES <= min(stack.shape[1:]) <= max(stack.shape[1:]) <= LARGEST:
        raise ValueError(f"H and W must be from {PLACES} to {LARGEST}, got {stack.shape[1:]}")
    if not weights:
        raise ValueError("kernels must name at least one kernel, got none")
    return [photo, stack, *weights]


class KernelOnMap(CourseWidget):
    """A photograph, its two pooled maps, a kernel that the reader moves over them, and the gate that results.

    Args:
        photo: (3, H, W), values 0 to 255.
        stack: (2, H, W), mean and maximum over the channels of a feature map of the same size.
        kernels: weights (2, k, k), k odd, by the name that the reader sees.
        shows: what is to be seen on the photograph: "a cat".

    Raises:
        ValueError: if a shape does not fit.
    """

    _esm = front_end("kernel_on_map.js")

    def __init__(self, photo: ArrayLike, stack: ArrayLike, kernels: Mapping[str, ArrayLike], shows: str = ""):
        self._photo, self._stack, *weights = checked(photo, stack, kernels)
        self._kernels = dict(zip(kernels, weights))
        self._sums = [weighted_sums(self._stack, each) for each in weights]  # by kernel: (2, H, W)
        self._gates = [[gate_of(np.tensordot(used, sums, 1)) for used in POOLS.values()] for sums in self._sums]
        _, height, width = self._stack.shape
        self._rows, self._columns = (
            [round(k * (side - 1) / (PLACES - 1)) for k in range(PLACES)] for side in (height, width))
        maps = [self._photo, self._stack, *self._sums, *(np.stack(gates) for gates in self._gates)]
        super().__init__(
            label="The spatial kernel on the maps of a photograph" + (f": {shows}" if shows else ""),
            controls=[
                control("kernel", "Kernel", list(self._kernels)),
                control("pools", "What is pooled", list(POOLS)),
                control("row", "Row, from the top", [str(row) for row in self._rows], "range"),
                control("column", "Column, from the left", [str(column) for column in self._columns], "range"),
            ],
            state={"kernel": 0, "pools": 0, "row": PLACES // 2, "column": PLACES // 2},
            data=np.concatenate(maps),  # (3 + 2 + 2 per kernel + 3 per kernel, H, W)
            meta={"rows": self._rows, "columns": self._columns, "pools": list(POOLS.values()),
                  "weights": [np.round(each, 4).tolist() for each in weights]},
        )

    def _here(self, state: Mapping[str, int]) -> tuple[int, int, Sequence[float], np.ndarray]:
        """Row, column, the two weighted sums there (0 where a map does not count), and the whole gate."""
        i, j = self._rows[state["row"]], self._columns[state["column"]]
        used = list(POOLS.values())[state["pools"]]
        sums = [part * each for part, each in zip(self._sums[state["kernel"]][:, i, j], used)]
        return i, j, sums, self._gates[state["kernel"]][state["pools"]]

    def describe(self, state: Mapping[str, int]) -> str:
        i, j, (mean, largest), gate = self._here(state)
        terms = {"mean and maximum": f"{mean:+.2f} from the mean, {largest:+.2f} from the maximum",
                 "mean only": f"{mean:+.2f} from the mean", "maximum only": f"{largest:+.2f} from the maximum"}
        return (  # short: there are many of them
            f"{list(self._kernels)[state['kernel']]}, row {i}, column {j}: {terms[list(POOLS)[state['pools']]]}; "
            f"normalised over the map, then σ: gate {gate[i, j]:.2f} "
            f"(on the whole map {gate.min():.2f} to {gate.max():.2f})."
        )

    def picture(self) -> "Figure":
        from matplotlib.figure import Figure  # no pyplot: nothing global is touched
        from matplotlib.patches import Rectangle

        i, j, sums, gate = self._here(self.state)
        size = list(self._kernels.values())[self.state["kernel"]].shape[1]
        figure = Figure(figsize=(7.6, 2.5), layout="constrained")
        panels = figure.subplots(1, 4)
        panels[0].imshow(self._photo.transpose(1, 2, 0).round().astype(np.uint8))
        for axes, one_map in zip(panels[1:], self._stack):
            axes.imshow(one_map, cmap="gray")
        panels[3].imshow(gate, cmap="gray", vmin=0, vmax=1)
        for axes, side in zip(panels, (1, size, size, 1)):
            for colour, style in (("white", "-"), ("black", "--")):
                axes.add_patch(Rectangle((j - side / 2, i - side / 2), side, side, fill=False, ec=colour, ls=style))
        for axes, title in zip(panels, ("photograph", "mean", "maximum", f"gate, here {gate[i, j]:.2f}")):
            axes.set(title=title, xticks=[], yticks=[])
        chosen = self.chosen
        figure.suptitle(f"{chosen['kernel']}, {chosen['pools']}: weighted sum {sum(sums):+.2f}, "
                        "normalised over the map, then σ", size="medium")
        return figure
