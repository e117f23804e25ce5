"""Pictures of the CBAM chapter."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from attncourse.plots import BLUE, GREEN, GREY, ORANGE, SHADES, diagram, draw_accuracies, new_figure

CHANNEL_GATES = [0.9, 0.3, 0.75, 0.2, 1.0]
SPATIAL_GATES = [[0.2, 0.3, 0.2], [0.4, 1.0, 0.7], [0.2, 0.6, 0.3]]


def cbam_diagram():
    """CBAM: the channel gate scales whole maps, the spatial gate then the same positions in all maps."""
    figure, axis = new_figure(7.2, 3.1)
    axis.set(xlim=(0, 14.4), ylim=(-0.2, 6))
    axis.set_axis_off()
    ones, flat = [1] * 5, [[1] * 3] * 3
    for x, channels, places, name in ((0.2, ones, flat, "$x$"), (6.0, CHANNEL_GATES, flat, r"$x' = M_c \circ x$"),
                                      (12.0, CHANNEL_GATES, SPATIAL_GATES, r"$y = M_s \circ x'$")):
        diagram.stack(axis, x, 0.6, 1.2, 0.22, channels, places)
        axis.text(x + 1.0, 0.05, name, ha="center", fontsize=12)
    for k, gate in enumerate(CHANNEL_GATES):
        diagram.shaded_box(axis, 2.6 + 0.45 * k, 4.2, 0.4, 0.4, SHADES[k], gate)
    diagram.patchwork(axis, 9.2, 3.7, 1.35, SPATIAL_GATES)
    axis.text(3.7, 5.5, "channel gate $M_c$: $C$ numbers", ha="center", weight="bold", color=BLUE)
    axis.text(9.9, 5.5, r"spatial gate $M_s$: $H \cdot W$ numbers", ha="center", weight="bold", color=BLUE)
    for x, start, gate_x, low in ((1.2, 2.5, 3.7, 4.1), (7.0, 9.1, 9.85, 3.6)):  # up from the map, down from the gate
        axis.plot([x, x], [2.8, 4.45], color="black", lw=1.2)
        diagram.arrow(axis, (x, 4.45), (start, 4.45), gap=0)
        diagram.arrow(axis, (gate_x, low), (gate_x, 1.95), gap=0)
    axis.text(1.35, 3.55, "mean and max\nover positions", ha="left", va="center", fontsize=8.5, color=GREY)
    axis.text(6.85, 3.55, "mean and max\nover channels", ha="right", va="center", fontsize=8.5, color=GREY)
    for start, middle, end in ((2.4, 3.7, 5.9), (8.2, 9.85, 11.9)):
        diagram.arrow(axis, (start, 1.65), (middle - 0.3, 1.65), gap=0)
        diagram.arrow(axis, (middle + 0.3, 1.65), (end, 1.65), gap=0)
        axis.text(middle, 1.65, "×", ha="center", va="center", fontsize=15,
                  bbox={"boxstyle": "circle,pad=0.1", "fc": "white", "ec": GREY})
    return figure


def three_arrangements():
    """Channel first, spatial first, parallel: what each gate sees."""
    figure, axes = new_figure(7.2, 2.5, 1, 3)
    for axis, title, first, second in zip(axes, ("channel first", "spatial first", "parallel"),
                                          ("$M_c$", "$M_s$", "$M_c$"), ("$M_s$", "$M_c$", "$M_s$")):
        axis.set(xlim=(0, 6.4), ylim=(0, 4))
        axis.set_axis_off()
        axis.set_title(title, weight="bold", fontsize=11)
        axis.text(0.05, 0.8, "$x$", va="center", fontsize=12)
        axis.text(6.35, 0.8, "$y$", va="center", ha="right", fontsize=12)
        for start, end in ((0.5, 1.95), (2.45, 4.05), (4.55, 5.9)):
            diagram.arrow(axis, (start, 0.8), (end, 0.8), gap=0)
        for x, name in ((2.2, first), (4.3, second)):
            axis.text(x, 0.8, "×", ha="center", va="center", fontsize=12,
                      bbox={"boxstyle": "circle,pad=0.1", "fc": "white", "ec": GREY})
            diagram.box(axis, x - 0.5, 2.1, 1.0, 0.75, BLUE if name == "$M_c$" else ORANGE, name, text_colour="white")
            diagram.arrow(axis, (x, 2.1), (x, 1.12), gap=0)
        first_tap, second_tap = 0.9, 0.9 if title == "parallel" else 3.1  # where the line to each gate leaves
        axis.plot([first_tap, first_tap], [0.8, 2.475], color=GREEN, lw=1.3)
        diagram.arrow(axis, (first_tap, 2.475), (1.7, 2.475), colour=GREEN, gap=0)
        if title == "parallel":  # over the first gate
            axis.plot([second_tap, second_tap, 4.3], [2.475, 3.4, 3.4], color=GREEN, lw=1.3)
            diagram.arrow(axis, (4.3, 3.4), (4.3, 2.87), colour=GREEN, gap=0)
        else:
            axis.plot([second_tap, second_tap], [0.8, 2.475], color=GREEN, lw=1.3)
            diagram.arrow(axis, (second_tap, 2.475), (3.8, 2.475), colour=GREEN, gap=0)
    return figure


def gated_channels(rows: Mapping[str, Tensor], title: str, names: Sequence[str] | None = None):
    """One row of channels per way of gating them; the brightness is comparable everywhere.

    Args:
        rows: (C, H, W) by name, all of one shape, not negative.
        title: the finding. names: C titles of the columns.
    """
    channels = len(next(iter(rows.values())))
    figure, axes = new_figure(7.2, 7.2 / (channels + 1.3) * len(rows) + 0.6, len(rows), channels, squeeze=False)
    brightest = max(maps.max().item() for maps in rows.values())
    for row, (name, maps) in enumerate(rows.items()):
        for column, one_map in enumerate(maps):
            axis = axes[row, column]
            axis.imshow(one_map.numpy(), cmap="magma", vmin=0, vmax=brightest)
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
            if row == 0 and names:
                axis.set_title(names[column], fontsize=9)
        axes[row, 0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return figure


def wanted_and_possible(wanted: Tensor, possible: Tensor, title: str):
    """Gates that each channel would like to have, and the nearest ones that CBAM can make.

    Args:
        wanted, possible: (C, H, W), values 0 to 1.
        title: the finding.
    """
    channels = len(wanted)
    figure, axes = new_figure(6.2, 3.3, 2, channels)
    for row, (name, gates) in zip(axes, (("wanted", wanted), ("nearest\nproduct", possible))):
        for number, (axis, gate) in enumerate(zip(row, gates), 1):
            image = axis.imshow(gate.numpy(), cmap="gray", vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(True)
            if name == "wanted":
                axis.set_title(f"channel {number}", fontsize=9)
        row[0].set_ylabel(name, rotation=0, ha="right", va="center")
    figure.colorbar(image, ax=axes, label="gate", fraction=0.03)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return figure


def seeds_by_variant(accuracies: Mapping[str, Sequence[float]], baseline: str, title: str):
    """Test accuracy of every run of a study as a dot, a bar at each variant's mean, a line at the baseline's.

    Args:
        accuracies: shares from 0 to 1 by variant, one per seed.
        baseline: the variant that the others are compared with.
        title: the finding.
    """
    figure, axis = new_figure(7.2, 0.36 * len(accuracies) + 1.1)
    draw_accuracies(axis, accuracies, baseline)
    axis.set_xlabel(f"test accuracy in % (dot: one seed, bar: mean, dashed: mean of “{baseline}”)")
    axis.set_title(title, loc="left")
    return figure
