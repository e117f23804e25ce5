"""Pictures of the chapter on ResNets."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from attncourse.plots import BLUE, GREEN, GREY, ORANGE, diagram, new_figure


def places():
    """A BasicBlock with the four places where attention can go, and a stage with the fifth."""
    figure, (block, stage) = new_figure(7.2, 4.2, 2, 1, height_ratios=(5, 2.4))
    block.set(xlim=(0, 15), ylim=(-1.9, 3.3))
    for words, x, width in (("conv", 3.1, 1.2), ("BN, ReLU", 4.6, 1.9), ("conv", 6.8, 1.2), ("BN", 8.3, 0.9)):
        diagram.box(block, x, 1.4, width, 1, diagram.PALE, words)
    diagram.box(block, 3.6, -1.4, 2.6, 1, diagram.PALE, "downsample")
    diagram.box(block, 12.1, -0.3, 1.0, 1, diagram.PALE, "ReLU")
    for name, x, y in (("pre", 1.5, 1.4), ("standard", 9.5, 1.4), ("identity", 7.0, -1.4), ("post", 13.4, -0.3)):
        diagram.box(block, x, y, {"pre": 1.3, "post": 1.3}.get(name, 1.8), 1, ORANGE, name, text_colour="white")
    lines(block, (0.1, 0.2), (0.9, 0.2), (0.9, 1.9), (11.4, 1.9), (11.4, 0.2))  # the branch
    lines(block, (0.9, 0.2), (0.9, -0.9), (11.4, -0.9), (11.4, 0.2), (15, 0.2))  # the shortcut
    block.text(11.4, 0.2, "+", ha="center", va="center", zorder=3,
               bbox={"boxstyle": "circle", "fc": "white", "ec": "black"})
    block.text(0.1, 0.45, "$x$", fontsize=12)
    block.text(6.2, 2.75, "branch $F$", ha="center", color=BLUE)
    block.text(2.2, -0.65, "shortcut", ha="center", color=BLUE)
    stage.set(xlim=(0, 15), ylim=(-0.3, 2))
    lines(stage, (0.1, 0.7), (15, 0.7))
    for number in range(3):
        diagram.box(stage, 1.2 + 3.2 * number, 0.1, 2.6, 1.2, diagram.PALE, f"block {number + 1}")
    diagram.box(stage, 11.2, 0.1, 1.8, 1.2, ORANGE, "stage", text_colour="white")
    for axis in (block, stage):
        axis.set_axis_off()
    block.set_title("In every block, here a BasicBlock: one of four places", loc="left")
    stage.set_title("Or once after a stage, which is several blocks", loc="left")
    return figure


def lines(axis, *points: tuple[float, float]) -> None:
    """Straight pieces from point to point, behind the boxes."""
    for (x0, y0), (x1, y1) in pairwise(points):
        axis.plot([x0, x1], [y0, y1], color="black", lw=1.2, zorder=0)


def shrinking(shares: Mapping[str, Sequence[float]], ticks: Sequence[str], title: str):
    """What is left of the plain network's map after each stage, one line per placement, on a scale of halvings.

    Args:
        shares: for each placement the size of its map over that of the plain network, stage by stage.
        ticks: the stages' names. title: the finding.
    """
    figure, axis = new_figure(6.4, 3.4)
    for (name, values), colour, marker in zip(shares.items(), (BLUE, ORANGE, GREEN), "osD"):
        axis.plot(range(len(values)), values, color=colour, marker=marker, label=name)
        axis.annotate(f"1/{1 / values[-1]:,.0f}", (len(values) - 1, values[-1]), (8, -4), textcoords="offset points",
                      color=colour)
    axis.axhline(1, color=GREY, ls="--", lw=1)
    axis.set_yscale("log", base=2)
    axis.set_xticks(range(len(ticks)), ticks)
    axis.set_xlim(-0.2, len(ticks) - 0.4)
    axis.set_ylabel("mean |value| / plain network's")
    axis.grid(axis="y", alpha=0.3)
    axis.legend(frameon=False, loc="lower left")
    axis.set_title(title, loc="left")
    return figure
