"""Pictures of the autoencoder chapter."""

from collections.abc import Sequence

from torch import Tensor

from attncourse.plots import BLUE, GREEN, GREY, ORANGE, diagram, new_figure


def autoencoder_diagram():
    """The gate as an hourglass: three steps that halve the map, three that double it, a sigmoid, and the product."""
    figure, axis = new_figure(7.2, 3.0)
    axis.set(xlim=(0, 15.2), ylim=(-0.6, 6.2))
    axis.set_axis_off()
    centre = 3.0
    maps = [  # x, width (channels), height (side of the map), colour, channels, side
        (0.4, 0.75, 4.4, BLUE, "$C$", "$H$"), (2.35, 0.3, 2.2, diagram.PALE, "12", "$H/2$"),
        (3.85, 0.45, 1.1, diagram.PALE, "24", "$H/4$"), (5.45, 0.75, 0.55, ORANGE, "48", "$H/8$"),
        (7.25, 0.45, 1.1, diagram.PALE, "24", "$H/4$"), (8.75, 0.3, 2.2, diagram.PALE, "12", "$H/2$"),
        (10.2, 0.75, 4.4, GREEN, "$C$", "$H$"), (13.9, 0.75, 4.4, BLUE, "$C$", "$H$"),
    ]
    for x, width, height, colour, channels, side in maps:
        diagram.box(axis, x, centre - height / 2, width, height, colour, "", 1 if colour != BLUE or x < 1 else 0.55)
        axis.text(x + width / 2, centre + height / 2 + 0.15, channels, ha="center", fontsize=10)
        axis.text(x + width / 2, centre - height / 2 - 0.12, side, ha="center", va="top", fontsize=8, color=GREY)
    words = ["halve", "halve", "halve", "double", "double", "double, σ"]
    for (x, width, *_), (end, *_), word in zip(maps, maps[1:], words):
        diagram.arrow(axis, (x + width + 0.06, centre), (end - 0.06, centre))
        axis.text((x + width + end) / 2, centre + 0.15, word, ha="center", fontsize=7)
    axis.text(12.4, centre, "×", ha="center", va="center", fontsize=16,
              bbox={"boxstyle": "circle", "fc": "white", "ec": "black"})
    diagram.arrow(axis, (10.98, centre), (11.95, centre))
    diagram.arrow(axis, (12.85, centre), (13.84, centre))
    axis.plot([0.78, 0.78, 12.4], [5.75, 5.95, 5.95], color=BLUE, lw=1.2)
    diagram.arrow(axis, (12.4, 5.97), (12.4, centre + 0.6), colour=BLUE)
    for x, word, colour in ((0.78, "$x$", BLUE), (5.82, "code", ORANGE), (10.58, "gate", GREEN),
                            (14.28, "gate · $x$", BLUE)):
        axis.text(x, -0.25, word, ha="center", weight="bold", color=colour, fontsize=11)
    return figure


def tiles(maps: Tensor, rows: Sequence[str], columns: Sequence[str], *, title: str, colours: str = "magma",
          limits: tuple[float, float] | None = None, mark: tuple[int, int, int] | None = None):
    """Small maps in a grid, each row with a name on its left.

    Args:
        maps: (R, K, h, w).
        rows: R names. columns: K titles. title: the finding.
        colours: a colour map of matplotlib. limits: its ends; default: those of each map.
        mark: (column, row of the map, column of the map): a position to mark with a cross in that tile of each row.
    """
    R, K, h, w = maps.shape
    figure, axes = new_figure(7.2, 7.0 / K * R * h / w + 0.75, R, K, squeeze=False)
    low, high = limits or (None, None)
    for row, name in enumerate(rows):
        for column in range(K):
            axis = axes[row, column]
            axis.imshow(maps[row, column].numpy(), cmap=colours, vmin=low, vmax=high)
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set(visible=True, color=GREY)
            if mark is not None and column == mark[0]:
                axis.plot(mark[2], mark[1], "+", color=ORANGE, ms=9, mew=2)
        axes[row, 0].set_ylabel(name, fontsize=9)
    for axis, name in zip(axes[0], columns):
        axis.set_title(name, fontsize=9)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return figure


def coverage_maps(counts: Sequence[Tensor], names: Sequence[str], title: str):
    """How many inputs reach each position, one map beside the other; positions that none reaches are orange.

    Args:
        counts: a (h, w) tensor each, numbers of inputs.
        names: a title each. title: the finding.
    """
    from matplotlib.colors import ListedColormap

    figure, axes = new_figure(7.2, 7.2 / len(counts) + 0.55, 1, len(counts), squeeze=False)
    colours = ListedColormap([ORANGE, "#CFE3F1", "#8FBFDF", "#5A9FCC", BLUE])  # 0, 1, 2, 3, 4 and more
    for axis, count, name in zip(axes[0], counts, names):
        axis.imshow(count.clamp(max=4).numpy(), cmap=colours, vmin=-0.5, vmax=4.5)
        missed = (count == 0).float().mean().item()
        axis.set(xticks=[], yticks=[])
        axis.set_title(name, fontsize=9)
        axis.set_xlabel(f"{missed:.0%} never reached" if missed else "all reached", fontsize=9,
                        color=ORANGE if missed else BLUE)
        axis.spines[:].set_visible(False)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return figure
