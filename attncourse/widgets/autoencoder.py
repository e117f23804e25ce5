"""Widget of the autoencoder chapter: where a transposed convolution writes, and where it never does.

It rests on a plain function, ``written``, that works and is tested without any widget.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from attncourse.widgets.base import DOWN, QUIET, UP, CourseWidget, control, front_end, position

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INPUT = 4  # values a side that are unfolded
KERNELS, STRIDES, PADDINGS, OUTPUT_PADDINGS = (1, 2, 3, 4, 5), (1, 2, 3, 4), (0, 1, 2), (0, 1, 2)


def written(size: int, kernel: int, stride: int, padding: int = 0, output_padding: int = 0) -> list[int]:
    """How many inputs write to each output position of a transposed convolution, along one side.

    Input i writes to the positions from i·stride - padding on, as many as the kernel is long. In two dimensions the
    count of a position is the product of the counts of its row and of its column.

    Raises:
        ValueError: if PyTorch would refuse these sizes, or no output position were left.
    """
    if min(size, kernel, stride) < 1 or min(padding, output_padding) < 0:
        raise ValueError(f"size, kernel and stride must be at least 1 and the paddings at least 0, got {size}, "
                         f"{kernel}, {stride}, {padding} and {output_padding}")
    if output_padding >= stride:
        raise ValueError(f"output padding must be smaller than the stride, got {output_padding} and {stride}")
    length = (size - 1) * stride - 2 * padding + kernel + output_padding
    if length < 1:
        raise ValueError(f"padding {padding} leaves no output position")
    counts = [0] * length
    for i in range(size):
        for j in range(i * stride - padding, i * stride - padding + kernel):
            if 0 <= j < length:
                counts[j] += 1
    return counts


class Coverage(CourseWidget):
    """How often each position of the output is written to, for a 4 × 4 input and any small transposed convolution.

    Args:
        kernel, stride, padding, output_padding: those shown first; the options are the constants above. The first
            choice is the last layer that the report's code uses for maps of 15 × 15.
    """

    _esm = front_end("coverage.js")

    def __init__(self, kernel: int = 3, stride: int = 4, padding: int = 1, output_padding: int = 2):
        names = {"kernel": (KERNELS, kernel, "Kernel size"), "stride": (STRIDES, stride, "Stride"),
                 "padding": (PADDINGS, padding, "Padding"),
                 "output": (OUTPUT_PADDINGS, output_padding, "Output padding")}
        options = {name: [str(value) for value in values] for name, (values, _, _) in names.items()}
        sizes = tuple(map(len, options.values()))
        tables = {place: self._counts(dict(zip(names, place))) for place in np.ndindex(*sizes)}
        data = np.zeros((*sizes, max(map(len, tables.values()))), dtype=np.uint8)
        lengths = np.zeros(sizes, dtype=int)  # 0 where there is no such layer
        for place, counts in tables.items():
            data[place][:len(counts)], lengths[place] = counts, len(counts)
        super().__init__(
            label="Where a transposed convolution writes",
            controls=[control(name, label, options[name], "range") for name, (_, _, label) in names.items()],
            state={name: position(options[name], value, name) for name, (_, value, _) in names.items()},
            data=data,
            meta={"input": INPUT, "lengths": lengths.ravel().tolist(),
                  "values": {name: list(values) for name, (values, _, _) in names.items()}},
        )

    @staticmethod
    def _values(state: Mapping[str, int]) -> tuple[int, int, int, int]:
        return (KERNELS[state["kernel"]], STRIDES[state["stride"]], PADDINGS[state["padding"]],
                OUTPUT_PADDINGS[state["output"]])

    def _counts(self, state: Mapping[str, int]) -> list[int]:
        """The counts along a side; empty where PyTorch would refuse."""
        try:
            return written(INPUT, *self._values(state))
        except ValueError:
            return []

    def describe(self, state: Mapping[str, int]) -> str:
        kernel, stride, padding, output = self._values(state)
        opening = f"Kernel {kernel}, stride {stride}, padding {padding}, output padding {output}:"
        counts = self._counts(state)
        if not counts:
            reason = ("the output padding must be smaller than the stride" if output >= stride else
                      "the padding cuts off all of the output")
            return f"{opening} there is no such layer, {reason}."
        side, reached = len(counts), sum(count > 0 for count in counts)
        missed = side**2 - reached**2
        times = sorted({a * b for a in counts for b in counts if a * b})
        often = (f"{times[0]} to {times[-1]} times" if len(times) > 1 else
                 "once" if times == [1] else f"{times[0]} times")
        result = (f"{missed} of the {side**2} positions ({100 * missed / side**2:.0f}%) are never written to and hold "
                  "nothing but the bias" if missed else "every position is written to")
        return (f"{opening} {INPUT} × {INPUT} values unfold to {side} × {side}. Along a side {reached} of {side} "
                f"positions are reached; in the whole map {result}. Those that are reached are written to {often}.")

    def picture(self) -> "Figure":
        from matplotlib.figure import Figure
        from matplotlib.patches import Rectangle

        kernel, stride, padding, output = self._values(self.state)
        counts = self._counts(self.state)
        figure = Figure(figsize=(7.6, 3.3), layout="constrained")
        fan, grid = figure.subplots(1, 2, width_ratios=(5, 4))
        fan.set_title(f"kernel {kernel}, stride {stride}, padding {padding}, output padding {output}", fontsize=10)
        for axis in (fan, grid):
            axis.set_axis_off()
        side = len(counts)
        if not counts:
            grid.set_title("no such layer", fontsize=10)
            return figure
        fan.set(xlim=(-0.5, side + 0.5), ylim=(-0.5, 5.2))
        start = (side - 1.5 * INPUT) / 2 + 0.25
        for i in range(INPUT):
            fan.add_patch(Rectangle((start + 1.5 * i, 4), 1, 1, fc="#E5E7EB", ec=QUIET))
            for j in range(i * stride - padding, i * stride - padding + kernel):
                if 0 <= j < side:
                    fan.plot([start + 1.5 * i + 0.5, j + 0.5], [4, 1.5], color=UP, lw=1)
        for j, count in enumerate(counts):
            fan.add_patch(Rectangle((j, 0.5), 1, 1, fc=UP if count else DOWN, ec="white", alpha=0.55 if count else 1))
            fan.text(j + 0.5, 0.2, count, ha="center", va="top", fontsize=8)
        most = max(counts)**2
        for i, row in enumerate(counts):
            for j, column in enumerate(counts):
                times = row * column
                grid.add_patch(Rectangle((j, side - 1 - i), 1, 1, fc=UP if times else DOWN, ec="white", lw=0.5,
                                         alpha=0.25 + 0.6 * times / max(most, 1) if times else 1))
        grid.set(xlim=(0, side), ylim=(0, side), aspect="equal")
        grid.set_title(f"{side} × {side}: orange is never written to", fontsize=10)
        return figure
