"""Widget of the chapter on ResNets: choose network, block, places and stages, and see what is put in and its price.

It rests on plain functions (``parameters``, ``stage_costs``) that count by formula and are tested against real blocks
in real networks, without any widget.
"""

from collections.abc import Callable, Mapping
from math import log2
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from attncourse.widgets.base import UP, CourseWidget, control, front_end, position

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Architecture(NamedTuple):
    """A torchvision ResNet: N_s residual blocks in stage s, whose maps have 64 · 2^s · expansion channels."""

    name: str
    parameters: int
    layers: tuple[int, ...]
    expansion: int


ARCHITECTURES = (
    Architecture("ResNet-18", 11_689_512, (2, 2, 2, 2), 1),
    Architecture("ResNet-34", 21_797_672, (3, 4, 6, 3), 1),
    Architecture("ResNet-50", 25_557_032, (3, 4, 6, 3), 4),
    Architecture("ResNet-101", 44_549_160, (3, 4, 23, 3), 4),
)
PLACES = ("standard", "pre", "post", "identity", "stage")
PLACE_NAMES = ("standard: end of the branch", "pre: start of the branch", "post: after the addition",
               "identity: on the shortcut", "once after every stage")
STAGE_SETS = {"all stages": (0, 1, 2, 3), "stages 1 to 3": (0, 1, 2), "stages 3 and 4": (2, 3), "stage 4 only": (3,)}
REDUCTION = 16


def mlp(C: int, biases: bool = True) -> int:
    """Two layers, C to c' and back, with c' = C // 16 but at least 1."""
    hidden = max(1, C // REDUCTION)
    return 2 * C * hidden + (C + hidden if biases else 0)


def eca_width(C: int) -> int:
    """The odd k of ECA's formula."""
    t = int(abs((log2(C) + 1) / 2))
    return t if t % 2 else t + 1


def bam(C: int) -> int:
    """The channel branch and its BatchNorm, two 1×1 and two 3×3 convolutions with biases, a BatchNorm of one map."""
    hidden = max(1, C // REDUCTION)
    return mlp(C) + 2 * C + C * hidden + hidden + 2 * (9 * hidden**2 + hidden) + hidden + 1 + 2


BLOCKS: dict[str, Callable[[int], int]] = {  # how many parameters each has for C channels, at its defaults
    "SE": mlp,
    "ECA": eca_width,
    "CBAM": lambda C: mlp(C) + 98 + 2,
    "BAM": bam,
    "SAM": lambda C: 98 + 2,
    "SpatialGate": lambda C: 10,
}


class StageInsertion(NamedTuple):
    """What is put into one stage: how many attention blocks, and their parameters."""

    blocks: int
    parameters: int


def places(architecture: Architecture, stage: int, place: str) -> list[int]:
    """The channels of each map that gets attention in a stage, counted from 0.

    Raises:
        ValueError: if the place is unknown.
    """
    if place not in PLACES:
        raise ValueError(f"place must be one of {', '.join(PLACES)}, got {place!r}")
    channels = 64 * 2**stage * architecture.expansion
    if place == "stage":
        return [channels]
    before = channels // 2 if stage else 64  # what the stage's first block gets
    return [before if place == "pre" and number == 0 else channels for number in range(architecture.layers[stage])]


def widths(architecture: Architecture, stage: int, place: str) -> str:
    """The channels at a place in words: where the first block of the stage gets a narrower map, both numbers."""
    return ", then ".join(map(str, dict.fromkeys(places(architecture, stage, place)))) + " channels"


def stage_costs(architecture: Architecture, block: str, place: str) -> list[StageInsertion]:
    """What a block at a place adds to each of the four stages.

    Raises:
        ValueError: if block or place is unknown.
    """
    if block not in BLOCKS:
        raise ValueError(f"block must be one of {', '.join(BLOCKS)}, got {block!r}")
    maps = [places(architecture, stage, place) for stage in range(4)]
    return [StageInsertion(len(each), sum(map(BLOCKS[block], each))) for each in maps]


def share_of(added: int, architecture: Architecture) -> str:
    """The added parameters in per cent of the plain network's, with three significant digits."""
    percent = 100 * added / architecture.parameters
    return f"{percent:.3g}%" if percent >= 0.001 else "less than 0.001%"


class InsertionExplorer(CourseWidget):
    """A ResNet, an attention block and where it goes: how many blocks are put in, and what they cost.

    Args:
        network, block, place, stages: what is shown first: a name of ``ARCHITECTURES``, of ``BLOCKS``, of ``PLACES``
            and of ``STAGE_SETS``.

    Raises:
        ValueError: if one of them is unknown.
    """

    _esm = front_end("insertion.js")

    def __init__(self, network: str = "ResNet-50", block: str = "SE", place: str = "standard",
                 stages: str = "all stages"):
        names = [each.name for each in ARCHITECTURES]
        costs = [[[stage_costs(each, kind, where) for where in PLACES] for kind in BLOCKS] for each in ARCHITECTURES]
        super().__init__(
            label="What you put into a ResNet",
            controls=[
                control("network", "Network", names),
                control("block", "Attention block", list(BLOCKS)),
                control("place", "Place", list(PLACE_NAMES)),
                control("stages", "Stages", list(STAGE_SETS)),
            ],
            state={"network": position(names, network, "network"), "block": position(list(BLOCKS), block, "block"),
                   "place": position(list(PLACES), place, "place"),
                   "stages": position(list(STAGE_SETS), stages, "stages")},
            data=np.array(costs),  # (networks, blocks, places, 4 stages, 2), exact in float32: below 2**24
            meta={"networks": [each._asdict() for each in ARCHITECTURES], "sets": list(map(list, STAGE_SETS.values())),
                  "widths": [[[widths(each, stage, where) for stage in range(4)] for where in PLACES]
                             for each in ARCHITECTURES]},
        )

    def chosen_costs(self, state: Mapping[str, int]) -> tuple[Architecture, str, list[StageInsertion]]:
        """Network, block and what each stage gets: nothing, where it is not among the chosen ones."""
        architecture, block = ARCHITECTURES[state["network"]], list(BLOCKS)[state["block"]]
        costs = stage_costs(architecture, block, PLACES[state["place"]])
        chosen = list(STAGE_SETS.values())[state["stages"]]
        return architecture, block, [each if s in chosen else StageInsertion(0, 0) for s, each in enumerate(costs)]

    def describe(self, state: Mapping[str, int]) -> str:
        architecture, block, costs = self.chosen_costs(state)
        number, added = (sum(part) for part in zip(*costs))
        stages = list(STAGE_SETS)[state["stages"]]
        times = "once" if number == 1 else f"{number} times"
        return (f"{architecture.name}, {block} ({PLACES[state['place']]}, {stages}): put in {times}, {added:,} "
                f"parameters more, {share_of(added, architecture)}; in all {architecture.parameters + added:,}.")

    def picture(self) -> "Figure":
        from matplotlib.figure import Figure  # no pyplot: nothing global is touched

        architecture, block, costs = self.chosen_costs(self.state)
        added = sum(cost.parameters for cost in costs)
        figure = Figure(figsize=(7.6, 2.9), layout="constrained")
        axes = figure.subplots()
        where = PLACES[self.state["place"]]
        names = [f"Stage {s + 1}\n{widths(architecture, s, where)}" for s in range(4)]
        drawn = axes.barh(names, [cost.parameters for cost in costs], color=UP, height=0.5)
        axes.bar_label(drawn, [f"{cost.parameters:,}, for {cost.blocks} × {block}" if cost.blocks else "–"
                               for cost in costs], padding=4)
        axes.set(title=f"{architecture.name} + {block}, {self.chosen['place']}, {self.chosen['stages']}\n"
                 f"+{added:,} parameters, {share_of(added, architecture)}", xticks=[])
        axes.margins(x=0.4)
        axes.invert_yaxis()
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        return figure
