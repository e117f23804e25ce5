"""Widgets of the hybrids chapter: what the order of two gates changes, and what a table of 16 runs a row can show.

Both rest on plain functions (``two_orders``, ``welch``) that work and are tested without any widget.
"""

from collections.abc import Mapping
from math import sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from attncourse.reported import REPORTED
from attncourse.widgets.base import DOWN, QUIET, UP, CourseWidget, control, front_end, position, sigmoid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ORDERS = ("ECA first", "spatial gate first", "side by side")
STRENGTHS = (0, 1, 4, 16)
ECA_WEIGHTS = np.array([-0.5, 1.5, -0.5])  # k = 3: a channel against its neighbours
SPATIAL_WEIGHTS = np.array([np.full((3, 3), -0.05), np.full((3, 3), -0.1)])  # average and maximum against around
SPATIAL_WEIGHTS[:, 1, 1] = 0.5, 1.0


def example_map() -> np.ndarray:
    """Four channels of 8 × 8 positions: a large spot, a small one, a vertical bar, and something weak everywhere."""
    i, j = np.mgrid[:8, :8]
    large = np.exp(-((i - 2) ** 2 + (j - 2) ** 2) / 4)
    small = 0.9 * np.exp(-((i - 6) ** 2 + (j - 5) ** 2) / 0.8)
    bar = np.where(j == 6, 0.6, 0.0)
    weak = 0.15 + 0.04 * i
    return np.stack([large, small, bar, weak])  # (4, 8, 8)


def channel_gate(x: np.ndarray, strength: float) -> np.ndarray:
    """ECA with the weights above times strength: (C, H, W) -> (C, 1, 1)."""
    z = np.pad(x.mean((1, 2)), 1)
    scores = sum(w * z[n:n + len(x)] for n, w in enumerate(strength * ECA_WEIGHTS))
    return sigmoid(scores)[:, None, None]


def spatial_gate(x: np.ndarray, strength: float) -> np.ndarray:
    """SAM with the 3 × 3 weights above times strength, without BatchNorm: (C, H, W) -> (1, H, W)."""
    H, W = x.shape[1:]
    scores = np.zeros((H, W))
    for pooled, weights in zip((x.mean(0), x.max(0)), strength * SPATIAL_WEIGHTS):
        around = np.pad(pooled, 1)
        scores += sum(weights[u, v] * around[u:u + H, v:v + W] for u in range(3) for v in range(3))
    return sigmoid(scores)[None]


def two_orders(x: np.ndarray, eca_strength: float, spatial_strength: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """ECA's gate and the spatial gate for each of ``ORDERS``; the output is x times both.

    Args:
        x: (C, H, W).

    Returns:
        three pairs of (C, 1, 1) and (1, H, W).
    """
    s, M = channel_gate(x, eca_strength), spatial_gate(x, spatial_strength)
    return [(s, spatial_gate(x * s, spatial_strength)), (channel_gate(x * M, eca_strength), M), (s, M)]


class OrderExplorer(CourseWidget):
    """Two gates on a small map: every step on the way, and what the other order would have given.

    Args:
        order: the one shown first, one of ``ORDERS``.
        eca, spatial: strengths shown first, of ``STRENGTHS``: what the gate's weights are multiplied with.
    """

    _esm = front_end("gate_order.js")

    def __init__(self, order: str = ORDERS[0], eca: int = 4, spatial: int = 4):
        self._x = example_map()
        self._gates = [[two_orders(self._x, e, s) for s in STRENGTHS] for e in STRENGTHS]
        strengths, channels = [str(s) for s in STRENGTHS], [str(c) for c in range(len(self._x))]
        packed = [[[np.concatenate([s.ravel(), M.ravel()]) for s, M in pairs] for pairs in row] for row in self._gates]
        super().__init__(
            label="Which gate comes first?",
            controls=[
                control("order", "Order", list(ORDERS)),
                control("channel", "Channel shown", channels, "range"),
                control("eca", "Strength of ECA", strengths, "range"),
                control("spatial", "Strength of the spatial gate", strengths, "range"),
            ],
            state={"order": position(list(ORDERS), order, "order"), "channel": 1,  # where the order counts most
                   "eca": position(strengths, eca, "eca"), "spatial": position(strengths, spatial, "spatial")},
            data=np.array(packed),  # (ECA strengths, spatial strengths, orders, C + H·W)
            meta={"map": np.round(self._x, 4).tolist(), "other": [1, 0, 0]},  # with which order each is compared
        )

    def _steps(self, state: Mapping[str, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """ECA's gate, the spatial gate, the output, and how far it is from the other order's."""
        pairs = self._gates[state["eca"]][state["spatial"]]
        s, M = pairs[state["order"]]
        other = pairs[1 if state["order"] == 0 else 0]
        y = self._x * s * M
        return s, M, y, np.abs(y - self._x * other[0] * other[1])

    def describe(self, state: Mapping[str, int]) -> str:
        s, M, y, apart = self._steps(state)
        order, c = ORDERS[state["order"]], state["channel"]
        other = "ECA first" if state["order"] else "the spatial gate first"
        verdict = (f"With {other}, the output would differ by at most {apart.max():.3f}, "
                   f"{100 * apart.max() / y.max():.1f}% of its largest value."
                   if apart.max() > 1e-9 else f"With {other}, the output would be the same.")
        return (
            f"{order[0].upper()}{order[1:]}, strengths {STRENGTHS[state['eca']]} (ECA) and "
            f"{STRENGTHS[state['spatial']]} (spatial). Channel {c} has the gate {s[c, 0, 0]:.2f}; the spatial gate "
            f"runs from {M.min():.2f} to {M.max():.2f}, and both together, over all channels, from {(s * M).min():.2f} "
            f"to {(s * M).max():.2f}. {verdict}"
        )

    def picture(self) -> "Figure":
        from matplotlib.figure import Figure  # no pyplot: nothing global is touched

        s, M, y, apart = self._steps(self.state)
        x, c = self._x, self.state["channel"]
        eca, spatial = ("ECA's gates", np.broadcast_to(s, x.shape).max(2)), ("spatial gate", M[0])
        first, second = (spatial, eca) if self.state["order"] == 1 else (eca, spatial)
        between = ("both gates", (s * M)[c]) if self.state["order"] == 2 else (
            "after the first", (x * (M if self.state["order"] == 1 else s))[c])
        panels = [(f"channel {c}", x[c]), first, between, second, ("output", y[c]), ("difference", apart[c])]
        figure = Figure(figsize=(7.6, 1.9), layout="constrained")
        for axes, (title, values) in zip(figure.subplots(1, 6), panels):
            most = 1 if "gate" in title else x[c].max()  # one scale for all maps of the channel
            axes.imshow(values, cmap="Blues", vmin=0, vmax=most, aspect="auto")
            axes.set(xticks=[], yticks=[], xlabel=f"0 to {most:.2g}")
            axes.set_title(title, size="medium")
            if title == "ECA's gates":
                axes.set_yticks(range(len(x)))  # the channels
        figure.suptitle(f"{self.chosen['order']}, strengths {self.chosen['eca']} and {self.chosen['spatial']}",
                        size="medium")
        return figure


class Row(NamedTuple):
    """A network of the report's table 1: test accuracy, mean and standard deviation over the runs, in points."""

    name: str
    mean: float
    deviation: float


NAMES = ("CNN", "ECA", "CBAM", "three stages", "conv. autoencoder", "ECA + conv. autoencoder", "linear autoencoder",
         "ECA + linear autoencoder", "ECA + SAM")
REPORT = [Row(name, round(100 * row.mean, 1), round(100 * row.std, 1)) for name, row in zip(NAMES, REPORTED.values())]
RUNS = (8, 16, 32, 64, 128, 256)
NORMAL = NormalDist()


def t_quantile(freedom: float, level: float = 0.05) -> float:
    """How many standard errors a two-sided interval of 1 - level reaches to each side.

    Fisher's expansion around the normal distribution, right to 0.001 from 7 degrees of freedom on.

    Raises:
        ValueError: if there are fewer than 7 degrees of freedom.
    """
    if freedom < 7:
        raise ValueError(f"this expansion needs at least 7 degrees of freedom, got {freedom}")
    z = NORMAL.inv_cdf(1 - level / 2)
    terms = (z, (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96,
             (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
             (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160)
    return sum(term / freedom**n for n, term in enumerate(terms))


def welch(a: Row, b: Row, runs: int, level: float = 0.05) -> tuple[float, float]:
    """The difference of two means, a - b, and the half width of its interval by Welch: the deviations may differ.

    Raises:
        ValueError: if there are fewer than 8 runs a side.
    """
    if runs < 8:
        raise ValueError(f"runs must be at least 8, got {runs}")
    variances = a.deviation**2 / runs, b.deviation**2 / runs
    freedom = (runs - 1) * sum(variances) ** 2 / sum(v**2 for v in variances)
    return a.mean - b.mean, t_quantile(freedom, level) * sqrt(sum(variances))


def signed(number: float) -> str:
    return f"{number:+.1f}".replace("-", "−")


class TableReader(CourseWidget):
    """The report's table as differences from one of its rows, with as many runs as the reader likes.

    Args:
        base: the row compared with at first, one of ``NAMES``.
        runs: runs a side shown first, one of ``RUNS``.
    """

    _esm = front_end("table_reader.js")

    def __init__(self, base: str = "CNN", runs: int = 16):
        offered = [str(n) for n in RUNS]
        super().__init__(
            label="Which rows of the table differ?",
            controls=[control("base", "Compared with", NAMES), control("runs", "Runs a side", offered, "range")],
            state={"base": position(NAMES, base, "base"), "runs": position(offered, runs, "runs")},
            data=np.array([[[welch(row, base, n) for row in REPORT] for n in RUNS] for base in REPORT]),
            meta={"names": NAMES},  # data: (bases, runs, rows, 2)
        )

    @staticmethod
    def _rows(state: Mapping[str, int]) -> list[tuple[str, float, float]]:
        """Name, difference and half width of every row but the one compared with."""
        base = REPORT[state["base"]]
        return [(row.name, *welch(row, base, RUNS[state["runs"]])) for row in REPORT if row is not base]

    def describe(self, state: Mapping[str, int]) -> str:
        rows, base, runs = self._rows(state), NAMES[state["base"]], RUNS[state["runs"]]
        found = [f"{name} ({signed(d)} ± {half:.1f})" for name, d, half in rows if abs(d) > half]
        widths = [half for _, _, half in rows]
        return (
            f"Against {base}, {runs} runs a side{'' if runs == 16 else ', if means and deviations were still those'}"
            f"{'' if runs == 16 else ' of 16 runs'}: {len(found)} of {len(rows)} intervals leave 0 out"
            f"{': ' + ', '.join(found) if found else ''}. They reach {min(widths):.1f} to {max(widths):.1f} points to "
            "each side."
        )

    def picture(self) -> "Figure":
        from matplotlib.figure import Figure  # no pyplot: nothing global is touched

        rows, base = self._rows(self.state), NAMES[self.state["base"]]
        figure = Figure(figsize=(7.6, 3.2), layout="constrained")
        axes = figure.subplots()
        for y, (_, d, half) in enumerate(rows):
            color = QUIET if abs(d) <= half else UP if d > 0 else DOWN
            axes.errorbar(d, y, xerr=half, fmt="o", color=color, capsize=3)
        axes.axvline(0, color=QUIET, linestyle=":", linewidth=1)
        axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
        axes.invert_yaxis()
        axes.set(xlabel=f"difference from {base}, in points, with 95% interval")
        axes.set_title(f"{RUNS[self.state['runs']]} runs a side: grey intervals hold 0", size="medium", loc="left")
        axes.spines[["top", "right"]].set_visible(False)
        return figure
