"""Widgets of the SE chapter: what the reduction ratio costs, and what the gates of a trained network do per class.

Both rest on plain functions (``reduction_table``, ``class_differences``) that work and are tested without any widget.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from attncourse.widgets.base import DOWN, QUIET, UP, CourseWidget, control, front_end, position

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RATIOS = (1, 2, 4, 8, 16, 32, 64)


class Network(NamedTuple):
    """A plain network and its places for SE: N_s blocks with C_s channels in stage s."""

    name: str
    short: str
    parameters: int
    stages: tuple[str, ...]
    blocks: tuple[int, ...]
    channels: tuple[int, ...]


CONVOLUTIONS = ("Convolution 1", "Convolution 2", "Convolution 3", "Convolution 4")
STAGES = ("Stage 1", "Stage 2", "Stage 3", "Stage 4")
NETWORKS = (
    Network("the course's CNN", "our CNN", 2_625_866, CONVOLUTIONS, (1, 1, 1, 1), (64, 64, 128, 128)),
    Network("ResNet-18", "ResNet-18", 11_689_512, STAGES, (2, 2, 2, 2), (64, 128, 256, 512)),
    Network("ResNet-50", "ResNet-50", 25_557_032, STAGES, (3, 4, 6, 3), (256, 512, 1024, 2048)),
)


class StageCost(NamedTuple):
    """What SE adds to one stage: c', the weights 2·C·c'·N and the biases (C + c')·N."""

    hidden: int
    weights: int
    biases: int


def reduction_table(network: Network, reduction: int) -> list[StageCost]:
    """The parameters that SE adds to each stage of a network, at one reduction ratio r.

    Raises:
        ValueError: if reduction is below 1.
    """
    if reduction < 1:
        raise ValueError(f"reduction must be at least 1, got {reduction}")
    hidden = [max(1, c // reduction) for c in network.channels]  # c' as in attncourse.se
    return [StageCost(h, 2 * c * h * n, (c + h) * n) for n, c, h in zip(network.blocks, network.channels, hidden)]


def percent(share: float) -> str:
    """A share as a percentage with three significant digits."""
    return f"{100 * share:.3g}%"


def in_words(parts: Sequence[str]) -> str:
    """"a", "a and b", "a, b and c"."""
    return ", ".join(parts[:-1]) + " and " + parts[-1] if len(parts) > 1 else "".join(parts)


class ReductionRatio(CourseWidget):
    """What SE adds to a network, stage by stage, for each reduction ratio.

    Args:
        reduction: the ratio shown first, one of ``RATIOS``.
        network: the name of the network shown first, one of those in ``NETWORKS``.
    """

    _esm = front_end("reduction_ratio.js")

    def __init__(self, reduction: int = 16, network: str = "ResNet-50"):
        ratios, names = [str(r) for r in RATIOS], [each.name for each in NETWORKS]
        tables = [[reduction_table(each, r) for r in RATIOS] for each in NETWORKS]
        super().__init__(
            label="What the reduction ratio r costs",
            controls=[
                control("r", "Reduction ratio r", ratios, "range"),
                control("network", "Network", names),
            ],
            state={"r": position(ratios, reduction, "reduction"), "network": position(names, network, "network")},
            data=np.array(tables)[..., :2],  # (networks, ratios, stages, 2), exact in float32: products of powers of 2
            meta={"networks": [each._asdict() for each in NETWORKS]},
        )

    def describe(self, state: Mapping[str, int]) -> str:
        network, r = NETWORKS[state["network"]], RATIOS[state["r"]]
        table = reduction_table(network, r)
        weights, biases = sum(row.weights for row in table), sum(row.biases for row in table)
        most = max(row.weights for row in table)
        largest = [stage for stage, row in zip(network.stages, table) if row.weights == most]
        places = network.stages[0].split()[0].lower() + "s"
        return (
            f"{network.name[0].upper()}{network.name[1:]} with r = {r}: SE adds {weights:,} weights, "
            f"{percent(weights / network.parameters)} of the plain network's {network.parameters:,} parameters "
            f"({weights + biases:,} with biases). {in_words(largest)} {'take' if len(largest) > 1 else 'takes'} "
            f"{percent(most / weights)} of the weights{' each' if len(largest) > 1 else ''}: from first to last, the "
            f"{places} take {in_words([f'{row.weights:,}' for row in table])}. "
            f"Their hidden layers are {in_words([str(row.hidden) for row in table])} wide."
        )

    def picture(self) -> "Figure":
        from matplotlib.figure import Figure  # no pyplot: nothing global is touched

        network, chosen = NETWORKS[self.state["network"]], self.state["r"]
        table = reduction_table(network, RATIOS[chosen])
        total = sum(row.weights for row in table)
        figure = Figure(figsize=(7.6, 3.1), layout="constrained")
        bars, costs = figure.subplots(1, 2, width_ratios=(5, 4))
        names = [f"{s}\n{c} → {row.hidden} → {c}" for s, c, row in zip(network.stages, network.channels, table)]
        drawn = bars.barh(names, [row.weights for row in table], color=UP, height=0.5)
        bars.bar_label(drawn, [f"{row.weights:,} ({percent(row.weights / total)})" for row in table], padding=4)
        bars.set(title=f"{network.name}, r = {RATIOS[chosen]}: weights added", xticks=[])
        bars.margins(x=0.6)
        bars.invert_yaxis()
        bars.tick_params(length=0)
        bars.spines[:].set_visible(False)
        for each in sorted(NETWORKS, key=lambda other: other is network):
            shares = [sum(row.weights for row in reduction_table(each, r)) / each.parameters for r in RATIOS]
            costs.plot(shares, ".-", color=UP if each is network else "#c3cad1")
            costs.annotate(each.short, (len(RATIOS) - 1, shares[-1]), (6, -3), textcoords="offset points")
            if each is network:
                costs.plot(chosen, shares[chosen], "o", color=UP, markersize=9)
                costs.annotate(f"+{percent(shares[chosen])}", (chosen, shares[chosen]), (4, 8),
                               textcoords="offset points", weight="bold")
        costs.set(title="Total, in % of the plain network", xlabel="reduction ratio r", yscale="log",
                  xticks=range(len(RATIOS)), xticklabels=RATIOS, yticks=(0.001, 0.01, 0.1, 1), ylim=(2e-4, 4),
                  yticklabels=("0.1%", "1%", "10%", "100%"), xlim=(-0.3, len(RATIOS) + 1.4))
        costs.spines[["top", "right"]].set_visible(False)
        return figure


class Differences(NamedTuple):
    """How the gates of one place differ between classes."""

    mean: np.ndarray  # (channels,), over the classes
    spread: np.ndarray  # (channels,), largest class minus smallest
    order: np.ndarray  # (channels,), channel numbers by falling spread


def class_differences(gates: np.ndarray) -> Differences:
    """How mean gates (classes, channels) differ between the classes; equal spreads stay in the channels' order."""
    spread = gates.max(0) - gates.min(0)
    return Differences(gates.mean(0), spread, np.argsort(-spread, kind="stable"))


def checked_gates(gates: Sequence[ArrayLike], classes: Sequence[str]) -> list[np.ndarray]:
    """The gates as float arrays, one (classes, channels) per place, or a ValueError that says what is wrong."""
    if len(classes) < 2:
        raise ValueError(f"classes must name at least two classes, got {len(classes)}")
    if len(gates) == 0:
        raise ValueError("gates must hold one array per place, got none")
    arrays = []
    for number, each in enumerate(gates, start=1):
        try:
            array = np.asarray(each, dtype=np.float64)
        except (TypeError, ValueError):
            raise ValueError(f"gates of place {number} are not an array of numbers (classes, channels)") from None
        if array.ndim != 2 or len(array) != len(classes) or array.shape[1] == 0:
            raise ValueError(f"gates of place {number} must be ({len(classes)}, channels), got {array.shape}")
        if not ((array >= 0) & (array <= 1)).all():  # NaN fails too
            raise ValueError(f"gates of place {number} must lie between 0 and 1")
        arrays.append(array)
    return arrays


class ClassGates(CourseWidget):
    """The mean gate of every channel of a trained network, for one class against the mean of all classes.

    Args:
        gates: for each place in the network an array, or nested lists, (classes, channels): gates averaged over a
            class's images.
        classes: the names of the classes.

    Raises:
        ValueError: if an array has another shape, or a value outside 0 to 1.
    """

    _esm = front_end("class_gates.js")

    def __init__(self, gates: Sequence[ArrayLike], classes: Sequence[str]):
        self._gates, self._classes = checked_gates(gates, classes), [str(name) for name in classes]
        self._differences = [class_differences(place) for place in self._gates]
        rows = [np.vstack([place, found.mean]) for place, found in zip(self._gates, self._differences)]
        places = [f"SE block {n} ({place.shape[1]} channels)" for n, place in enumerate(self._gates, start=1)]
        super().__init__(
            label="The gates of a trained network, class by class",
            controls=[
                control("place", "Place in the network", places),
                control("order", "Order of the channels", ["channel number", "by difference between classes"]),
                control("class", "Class", self._classes, "range"),
            ],
            state={"place": len(places) - 1},  # where the classes differ most, as a rule
            data=np.hstack(rows),  # (classes + 1, channels of all places side by side); the last row is the mean
            meta={
                "widths": [place.shape[1] for place in self._gates],
                "by_spread": [found.order.tolist() for found in self._differences],
            },
        )

    def describe(self, state: Mapping[str, int]) -> str:
        place, name = state["place"], self._classes[state["class"]]
        gates, found = self._gates[place], self._differences[place]
        own, widest = gates[state["class"]], found.order[0]
        low, high = gates[:, widest].argmin(), gates[:, widest].argmax()
        away = own - found.mean
        order = ("their number", "falling difference between classes")[state["order"]]
        return (
            f"SE block {place + 1}, class {name}: the mean gates of its {len(own)} channels run from "
            f"{own.min():.2f} to {own.max():.2f}. {extremes(name, away)} Over all {len(gates)} classes the widest "
            f"difference is {found.spread[widest]:.2f}, in channel {widest}, from {self._classes[low]} "
            f"({gates[low, widest]:.2f}) to {self._classes[high]} ({gates[high, widest]:.2f}); the median over the "
            f"channels is {np.median(found.spread):.2f}. The channels stand in the order of {order}."
        )

    def picture(self) -> "Figure":
        from matplotlib.figure import Figure

        place, name = self.state["place"], self._classes[self.state["class"]]
        own, found = self._gates[place][self.state["class"]], self._differences[place]
        order = found.order if self.state["order"] else np.arange(len(own))
        own, mean, x = own[order], found.mean[order], np.arange(len(own))
        figure = Figure(figsize=(7.6, 3.1), layout="constrained")
        axes = figure.subplots()
        axes.plot(x, mean, "_", color=QUIET, markersize=5, label="mean of the classes")
        for mask, color, label in ((own >= mean, UP, "above"), (own < mean, DOWN, "below")):
            axes.vlines(x[mask], mean[mask], own[mask], color=color, linewidth=1)
            axes.plot(x[mask], own[mask], "o", color=color, markersize=3.5, label=label)
        axes.set(title=f"SE block {place + 1}: mean gate of each channel for {name}", ylim=(0, 1), ylabel="gate",
                 xlabel="channel" + (", by falling difference between classes" if self.state["order"] else " number"))
        axes.margins(x=0.01)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(ncols=3, frameon=False, loc="lower right")
        return figure


def extremes(name: str, away: np.ndarray) -> str:
    """Which three channels a class turns up and down most; differences (channels,) below 0.005 are not worth a word."""
    rising = np.argsort(away, kind="stable")
    up = [f"{channel} (+{away[channel]:.2f})" for channel in rising[::-1][:3] if away[channel] >= 0.005]
    down = [f"{channel} (−{-away[channel]:.2f})" for channel in rising[:3] if away[channel] <= -0.005]
    parts = [f"furthest {side} are {'those of channels' if len(found) > 1 else 'that of channel'} {in_words(found)}"
             for side, found in (("above", up), ("below", down)) if found]
    if not parts:
        return f"For {name} no gate differs from the mean of the classes by as much as 0.01."
    return f"Against the mean of the classes, the {name} gates {', '.join(parts)}."
