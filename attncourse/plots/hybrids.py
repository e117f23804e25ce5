"""Pictures of the hybrids chapter."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from attncourse.plots import BLUE, GREEN, GREY, ORANGE, diagram, new_figure


def hybrid_diagram():
    """ECA, then SAM: each gate is computed from the map that it scales, and the second sees the first one's work."""
    figure, axis = new_figure(7.2, 2.5)
    axis.set(xlim=(0, 14.4), ylim=(0, 5))
    axis.set_axis_off()
    for x, name in ((0.1, "$x$"), (6.1, "$x'$"), (12.9, "$y$")):
        diagram.box(axis, x, 0.6, 1.4, 1.2, "white", name)
        axis.text(x + 0.7, 0.25, r"$C{\times}H{\times}W$", ha="center", va="top", fontsize=8, color=GREY)
    for x in (4.2, 10.6):
        axis.text(x, 1.2, "×", ha="center", va="center", fontsize=14,
                  bbox={"boxstyle": "circle", "fc": "white", "ec": "black", "lw": 0.8})
    for start, end in ((1.5, 3.75), (4.6, 6.05), (7.5, 10.15), (11.0, 12.85)):
        diagram.arrow(axis, (start, 1.2), (end, 1.2))
    parts = ((2.0, 2.6, BLUE, "ECA: mean, $k$ weights, σ", "$s$: a gate\nper channel", 4.2, 0.8),
             (8.2, 2.9, GREEN, "SAM: avg and max, $7{\\times}7$, σ", "$M$: a gate\nper position", 10.6, 6.8))
    for left, width, colour, inside, below, times, source in parts:
        diagram.box(axis, left - 0.6, 3.2, width + 1.2, 0.9, colour, inside, text_colour="white")
        axis.plot([source, source], [1.8, 3.65], color="black", lw=1.2)  # up from the map, then to the gate
        diagram.arrow(axis, (source, 3.65), (left - 0.7, 3.65), gap=0)
        diagram.arrow(axis, (times, 3.15), (times, 1.6))
        axis.text(times + 0.15, 2.4, below, fontsize=9, color=colour, va="center")
    axis.text(0.1, 4.65, "The second gate looks at what the first let through", weight="bold", color=ORANGE)
    return figure


def order_maps(rows: Mapping[str, Sequence[Tensor]], columns: Sequence[str], gates: Sequence[bool], title: str):
    """Maps side by side, a row per order.

    Args:
        rows: (H, W) maps by the name of the row, as many as there are columns.
        columns: their titles.
        gates: for each column whether it is a gate, drawn from 0 to 1; other maps share a scale along their column.
        title: the finding.
    """
    figure, axes = new_figure(7.2, 1.35 * len(rows) + 0.6, len(rows), len(columns), squeeze=False)
    for column, (name, gate) in enumerate(zip(columns, gates)):
        most = 1 if gate else max(maps[column].max().item() for maps in rows.values())
        for row, maps in enumerate(rows.values()):
            axes[row, column].imshow(maps[column].numpy(), cmap="cividis" if gate else "magma", vmin=0, vmax=most)
            axes[row, column].set(xticks=[], yticks=[])
            axes[row, column].spines[:].set_visible(False)
        axes[0, column].set_title(name, fontsize=9)
    for row, name in enumerate(rows):
        axes[row, 0].set_ylabel(name, fontsize=9)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return figure


def map_sizes(sizes: Mapping[str, Tensor], title: str):
    """What is left of the map at each place, relative to the network without gates. Logarithmic.

    Args:
        sizes: one value per place, by the name of the network.
        title: the finding.
    """
    figure, axis = new_figure(7.2, 2.9)
    for (name, values), colour in zip(sizes.items(), (BLUE, ORANGE, GREEN)):
        axis.plot(range(1, len(values) + 1), values.tolist(), "o-", color=colour)
        axis.annotate(name, (len(values), values[-1].item()), xytext=(8, 0), textcoords="offset points", va="center",
                      color=colour)
    axis.set(xlabel="place in the network", ylabel="size of the map,\nrelative to no gates", yscale="log",
             xticks=range(1, len(values) + 1), xlim=(0.8, len(values) + 1.3))
    axis.set_yticks([1, 0.25, 0.0625, 0.0156, 0.0039], ["1", "1/4", "1/16", "1/64", "1/256"])
    axis.minorticks_off()
    axis.grid(axis="y", alpha=0.3)
    axis.set_title(title, loc="left")
    return figure


def block_costs(channels: Sequence[int], costs: Mapping[str, Sequence[int]], title: str):
    """Parameters of one block against the number of channels, both logarithmic."""
    figure, axis = new_figure(7.2, 2.9)
    for (name, values), colour in zip(costs.items(), (ORANGE, BLUE, GREEN)):
        axis.plot(channels, values, "o-", color=colour)
        axis.annotate(f"{name}: {values[-1]:,}", (channels[-1], values[-1]), xytext=(8, 0), textcoords="offset points",
                      va="center", color=colour)
    axis.set(xlabel="channels", ylabel="parameters of one block", xscale="log", yscale="log",
             xlim=(channels[0] * 0.85, channels[-1] * 5))
    axis.set_xticks(channels, [f"{c:,}" for c in channels])
    axis.minorticks_off()
    axis.grid(axis="y", alpha=0.3)
    axis.set_title(title, loc="left")
    return figure
