"""Pictures of the ECA chapter."""

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from attncourse.plots import BLUE, GREY, ORANGE, SHADES, diagram, new_figure


def eca_diagram():
    """An ECA block with k = 3: one gate looks at three neighbouring means, and zeros stand beyond both ends."""
    figure, axis = new_figure(7.2, 3.4)
    axis.set(xlim=(0, 14.4), ylim=(-0.6, 5.9))
    axis.set_axis_off()
    gates = [0.9, 0.3, 0.65, 0.2, 1.0]
    bottoms = [3.5 - 0.72 * channel for channel in range(-1, 6)]  # a zero, five channels, a zero

    def middle(row: int) -> float:
        return bottoms[row] + 0.28

    diagram.stack(axis, 0.2, 1.3, 1.1, 0.25)
    diagram.stack(axis, 12.2, 1.3, 1.1, 0.25, gates)
    for row in (0, 6):
        diagram.box(axis, 4.5, bottoms[row], 0.56, 0.56, "white", "0", text_colour=GREY)
    for row, (mean, gate, shade) in enumerate(zip([0.6, 0.5, 0.8, 0.35, 0.7], gates, SHADES), 1):
        diagram.shaded_box(axis, 4.5, bottoms[row], 0.56, 0.56, shade, mean)
        diagram.shaded_box(axis, 9.9, bottoms[row], 0.56, 0.56, shade, gate)
    for target, colour in ((2, "black"), (5, GREY)):  # the windows of two gates
        for offset in (-1, 0, 1):
            start, end = (5.12, middle(target + offset)), (9.84, middle(target))
            axis.annotate("", end, start, arrowprops={"arrowstyle": "-", "color": colour, "lw": 1.3,
                                                      "shrinkA": 0, "shrinkB": 0})
            where = 0.33
            axis.text(start[0] + where * (end[0] - start[0]), start[1] + where * (end[1] - start[1]),
                      f"$w_{offset + 1}$", color=colour, ha="center", va="center", fontsize=10,
                      bbox={"fc": "white", "ec": "none", "pad": 0.8})
    axis.text(8.05, 1.82, "the same three\nweights everywhere", ha="center", va="center", fontsize=9, color=GREY)
    diagram.arrow(axis, (2.5, 2.3), (4.4, 2.3), "mean")
    diagram.arrow(axis, (10.55, 2.3), (12.1, 2.3), "multiply")
    for x, y, words in ((1.3, 4.0, r"$x$: $C \times H \times W$"), (4.78, 5.1, "$z$"), (10.18, 4.3, "$s$"),
                        (13.3, 4.0, r"$s_c \cdot x_c$")):
        axis.text(x, y, words, ha="center", fontsize=11)
    axis.text(7.45, 4.55, "weighted sum, then sigmoid", ha="center", fontsize=9)
    return figure


def kernel_sizes(rule, marks: Mapping[str, int], title: str):
    """k against the number of channels.

    Args:
        rule: from C to k.
        marks: numbers of channels to mark, by name.
        title: the finding.
    """
    figure, axis = new_figure(7.2, 3.5)
    channels = np.unique(np.round(2 ** np.linspace(0, 13, 1200)).astype(int))
    axis.plot(channels, (np.log2(channels) + 1) / 2, color=GREY, ls="--", lw=1.2, label="t, before it is made odd")
    axis.step(channels, [rule(int(c)) for c in channels], where="post", color=BLUE, lw=2.2, label="k")
    ties = [8, 128, 2048]
    axis.scatter(ties, [2, 4, 6], marker="o", s=46, facecolor="white", edgecolor=GREY, zorder=3,
                 label="ties: t is even there")
    for name, c in marks.items():
        axis.scatter(c, rule(c), s=54, color=ORANGE, zorder=4)
        axis.annotate(name, (c, rule(c)), xytext=(0, 9), textcoords="offset points", ha="center", fontsize=8.5,
                      color=ORANGE, bbox={"fc": "white", "ec": "none", "pad": 0.5})
    axis.set_xscale("log", base=2)
    axis.set_xticks([2**n for n in range(0, 14, 1)], [f"{2**n:,}" for n in range(0, 14, 1)], fontsize=8)
    axis.minorticks_off()
    axis.set(xlabel="channels C (each step doubles)", ylabel="kernel size k", yticks=[1, 3, 5, 7], ylim=(0, 8.4))
    axis.grid(axis="y", alpha=0.3)
    axis.legend(frameon=False, loc="upper left", fontsize=9)
    axis.set_title(title, loc="left")
    return figure


def reach(matrices: Sequence[Tensor], titles: Sequence[str], title: str):
    """Which channel means each gate hears: derivatives of gate i by mean j, one (C, C) matrix per module."""
    figure, axes = new_figure(7.2, 3.7, 1, len(matrices))
    for axis, matrix, name in zip(axes, matrices, titles):
        limit = matrix.abs().max().item()
        axis.imshow((matrix / limit).numpy(), cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
        axis.set(xlabel="mean of channel j", ylabel="gate i")
        axis.set_title(name, loc="left", fontsize=10)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    figure.supxlabel("red: the gate rises with the mean; blue: it falls (each panel has its own scale)", fontsize=9)
    return figure


def before_and_after(pairs: Mapping[str, tuple[Tensor, Tensor]], title: str):
    """Each filter's gate before and after the filters changed places: on the diagonal, nothing happened to it.

    Args:
        pairs: (before, after), both of the same filters in the same order, by the name of the module.
        title: the finding.
    """
    figure, axes = new_figure(7.2, 3.7, 1, len(pairs))
    low = min(min(before.min(), after.min()).item() for before, after in pairs.values())
    high = max(max(before.max(), after.max()).item() for before, after in pairs.values())
    margin = 0.05 * (high - low)
    for axis, (name, (before, after)) in zip(axes, pairs.items()):
        axis.plot([low, high], [low, high], color=GREY, lw=1)
        axis.scatter(before.flatten(), after.flatten(), s=16, color=BLUE, alpha=0.6, lw=0)
        axis.set(xlabel="gate before", ylabel="gate after", xlim=(low - margin, high + margin),
                 ylim=(low - margin, high + margin), aspect="equal")
        axis.set_title(name, loc="left", fontsize=10)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return figure


def order_test(real: Sequence[float], shuffled: Sequence[Tensor], names: Sequence[str], title: str, label: str):
    """One row per place: the score of the true order as a line, and the scores of shuffled orders as a histogram.

    Args:
        real: one score per place. shuffled: for each place the scores of many shuffled orders.
        names: of the places. title: the finding. label: of the axis.
    """
    figure, axes = new_figure(7.2, 0.85 * len(real) + 0.9, len(real), sharex=True)
    for axis, score, scores, name in zip(axes, real, shuffled, names):
        axis.hist(scores.numpy(), bins=40, color=GREY, alpha=0.6)
        axis.axvline(score, color=ORANGE, lw=2.5)
        axis.set(yticks=[])
        axis.spines["left"].set_visible(False)
        axis.set_ylabel(name, rotation=0, ha="right", va="center")
    axes[0].set_title(title, loc="left")
    axes[-1].set_xlabel(label)
    return figure


def parameters_of_guesses(totals: Mapping[str, int], published: int, title: str):
    """A bar per hypothesis, and a line at the published number."""
    figure, axis = new_figure(7.2, 0.42 * len(totals) + 1.0)
    drawn = axis.barh(range(len(totals)), totals.values(), height=0.6,
                      color=[ORANGE if total == published else BLUE for total in totals.values()])
    axis.bar_label(drawn, padding=-22, color="white", weight="bold")
    axis.axvline(published, color=GREY, ls="--", lw=1.2)
    axis.set_yticks(range(len(totals)), totals)
    axis.invert_yaxis()
    axis.set(xlabel="weights of ECA in ResNet-50 (dashed: what the paper prints)", xlim=(0, 100))
    axis.set_title(title, loc="left")
    return figure
