"""Widget of the ECA chapter: a kernel slides over the channel means of a photograph.

It rests on a plain function, ``slide``, that works and is tested without any widget.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from attncourse.widgets.base import DOWN, QUIET, UP, CourseWidget, control, front_end, sigmoid

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def slide(means: ArrayLike, kernel: ArrayLike) -> np.ndarray:
    """ECA's logits: the kernel's weighted sum around each channel, with zeros beyond both ends.

    Args:
        means: (pictures, channels). kernel: k weights, k odd; the first meets the channel before.

    Returns:
        (pictures, channels); the gates are the sigmoid of it.
    """
    means, kernel = np.asarray(means, dtype=np.float64), np.asarray(kernel, dtype=np.float64)
    half = len(kernel) // 2
    padded = np.pad(means, ((0, 0), (half, half)))
    return np.lib.stride_tricks.sliding_window_view(padded, len(kernel), axis=1) @ kernel


def signed(value: float) -> str:
    """Two digits behind the point, with a real minus sign."""
    return f"{value:.2f}".replace("-0.00", "0.00").replace("-", "−")


class KernelOnMeans(CourseWidget):
    """Choose a picture, a kernel and a channel: which means does the gate see, and how does it come about?

    Args:
        means: (pictures, channels), the channel means that the kernel slides over.
        names: of the pictures.
        kernels: odd numbers of weights, by name.
        channel: the channel chosen at first.

    Raises:
        ValueError: if the means are not (pictures, channels), a kernel is even or wider than the channels, or there is
            no such channel.
    """

    _esm = front_end("kernel_on_means.js")

    def __init__(self, means: ArrayLike, names: Sequence[str], kernels: Mapping[str, ArrayLike], channel: int = 0):
        self._means = np.asarray(means, dtype=np.float64)
        if self._means.ndim != 2 or len(self._means) != len(names) or not self._means.size:
            raise ValueError(f"means must be ({len(names)}, channels), got {self._means.shape}")
        if not np.isfinite(self._means).all():
            raise ValueError("means must be finite")
        C = self._means.shape[1]
        if not kernels:
            raise ValueError("kernels must hold at least one kernel, got none")
        self._kernels = {str(name): np.asarray(kernel, dtype=np.float64) for name, kernel in kernels.items()}
        for name, kernel in self._kernels.items():
            if kernel.ndim != 1 or len(kernel) % 2 == 0 or len(kernel) > C:
                raise ValueError(f"kernel {name!r} must have an odd number of weights, at most {C}, got {kernel.shape}")
        if not 0 <= channel < C:
            raise ValueError(f"channel must be from 0 to {C - 1}, got {channel}")
        self._names = [str(name) for name in names]
        self._logits = np.stack([slide(self._means, kernel) for kernel in self._kernels.values()], 1)
        super().__init__(
            label="A kernel slides over the channel means",
            controls=[
                control("photo", "Photograph", self._names),
                control("kernel", "Kernel", list(self._kernels)),
                control("channel", "Channel whose gate is computed", [str(c) for c in range(C)], "range"),
            ],
            state={"photo": 0, "kernel": 0, "channel": channel},
            data=np.concatenate([self._means[:, None], sigmoid(self._logits)], 1),  # (pictures, 1 + kernels, channels)
            meta={"kernels": [[round(weight, 4) for weight in kernel.tolist()] for kernel in self._kernels.values()]},
        )

    def describe(self, state: Mapping[str, int]) -> str:
        photo, c = state["photo"], state["channel"]
        kernel = list(self._kernels.values())[state["kernel"]]
        logit = self._logits[photo, state["kernel"], c]
        half, C = len(kernel) // 2, self._means.shape[1]
        window = [(weight, self._means[photo, j] if 0 <= (j := c + i - half) < C else 0.0, 0 <= j < C)
                  for i, weight in enumerate(kernel)]
        terms = " + ".join(f"{signed(weight)} · {signed(mean) if inside else '0'}" for weight, mean, inside in window)
        beyond = sum(not inside for _, _, inside in window)
        seen = f"{len(window) - beyond} of {C} means" + (f", {beyond} beyond the end" if beyond else "")
        return f"{self._names[photo]}, channel {c}: {terms} = {signed(logit)}; gate {sigmoid(logit):.2f}. Sees {seen}."

    def picture(self) -> "Figure":
        from matplotlib.figure import Figure  # no pyplot: nothing global is touched

        photo, k, c = self.state["photo"], self.state["kernel"], self.state["channel"]
        kernel, z = list(self._kernels.values())[k], self._means[photo]
        half = len(kernel) // 2
        figure = Figure(figsize=(7.6, 3.6), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        inside = np.abs(np.arange(len(z)) - c) <= half
        above.axvspan(c - half - 0.5, c + half + 0.5, color=UP, alpha=0.15, lw=0)
        above.bar(np.arange(len(z)), z, color=np.where(inside, UP, "#c3cad1"))
        above.axhline(0, color=QUIET, lw=0.8)
        above.set(ylabel="channel mean z", title=f"{self.chosen['photo']}, {self.chosen['kernel']}, channel {c}")
        gates = sigmoid(self._logits[photo, k])
        below.plot(gates, "o", color="#c3cad1", markersize=3.5)
        below.plot(c, gates[c], "o", color=DOWN, markersize=7)
        below.annotate(f"{gates[c]:.2f}", (c, gates[c]), (7, -3), textcoords="offset points", weight="bold")
        below.set(ylim=(-0.05, 1.05), ylabel="gate", xlabel="channel, counted from 0")
        for axis in (above, below):
            axis.spines[["top", "right"]].set_visible(False)
            axis.margins(x=0.03)
        return figure
