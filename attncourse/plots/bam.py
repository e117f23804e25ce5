"""Pictures of the BAM chapter."""

from collections.abc import Sequence

from torch import Tensor

from attncourse.plots import BLUE, GREEN, GREY, ORANGE, draw_box, new_figure

SHADES = [BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00"]


def arrow(axis, start: tuple[float, float], end: tuple[float, float], words: str = "", above: float = 0.16) -> None:
    axis.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": "black", "lw": 1.2})
    axis.text((start[0] + end[0]) / 2, (start[1] + end[1]) / 2 + above, words, ha="center", fontsize=9)


def stack(axis, x: float, y: float, opacities: Sequence[float]) -> None:
    """Five maps behind each other, drawn from the back; the front one's lower left corner is (x, y)."""
    for k in range(5):
        shift = 0.2 * (4 - k)
        draw_box(axis, x + shift, y + shift, 1.0, 1.0, "white", "")
        draw_box(axis, x + shift, y + shift, 1.0, 1.0, SHADES[k], "", opacities[k])


def patchwork(axis, x: float, y: float, side: float, values: Sequence[Sequence[float]], colour: str) -> None:
    """A small map of squares, the darker the larger."""
    cell = side / len(values)
    for row, line in enumerate(values):
        for column, value in enumerate(line):
            left, bottom = x + column * cell, y + side - (row + 1) * cell
            draw_box(axis, left, bottom, cell, cell, "white", "")
            draw_box(axis, left, bottom, cell, cell, colour, "", value)


def bam_diagram():
    """Both branches of a BAM side by side, their join, and the scaling by 1 + M."""
    figure, axis = new_figure(7.2, 3.5)
    axis.set(xlim=(0, 16.2), ylim=(-0.1, 7.3))
    axis.set_axis_off()
    what, where = [0.9, 0.3, 0.7, 0.15, 0.5], [[0.1, 0.2, 0.1], [0.3, 0.9, 0.6], [0.1, 0.5, 0.2]]
    stack(axis, 0.1, 2.6, [1] * 5)
    axis.text(1.0, 4.7, "$x$", ha="center", fontsize=12)
    axis.text(1.0, 2.15, r"$C \times H \times W$", ha="center", fontsize=9)
    arrow(axis, (2.0, 4.1), (2.9, 5.4))
    for k, shade in enumerate(SHADES):
        draw_box(axis, 3.0, 4.55 + 0.36 * (4 - k), 0.32, 0.32, shade, "", 0.6)
    axis.text(3.16, 4.15, "mean", ha="center", fontsize=9)
    arrow(axis, (3.45, 5.45), (4.9, 5.45), "$W_0$, ReLU")
    for k in range(2):
        draw_box(axis, 5.0, 5.1 + 0.38 * k, 0.32, 0.32, "#E5E7EB", "")
    axis.text(5.16, 4.65, "$C/r$", ha="center", fontsize=9)
    arrow(axis, (5.45, 5.45), (8.0, 5.45), "$W_1$, BatchNorm")
    for k, (shade, value) in enumerate(zip(SHADES, what)):
        draw_box(axis, 8.1, 4.55 + 0.36 * (4 - k), 0.32, 0.32, "white", "")
        draw_box(axis, 8.1, 4.55 + 0.36 * (4 - k), 0.32, 0.32, shade, "", value)
    axis.text(8.26, 6.5, r"$M_c$: $C \times 1 \times 1$", ha="center", fontsize=10)
    axis.text(4.9, 6.75, "channel branch: what", ha="center", weight="bold", color=BLUE)
    arrow(axis, (2.0, 2.9), (2.9, 1.7))
    for x, words in ((2.95, "1×1"), (4.2, "3×3\n$d$"), (5.45, "3×3\n$d$"), (6.7, "1×1")):
        draw_box(axis, x, 1.05, 0.85, 1.2, "#E5E7EB", words)
        if x > 3:
            arrow(axis, (x - 0.4, 1.65), (x, 1.65))
    axis.text(4.63, 2.4, "$C/r$ channels, ReLU", ha="center", fontsize=9)
    arrow(axis, (7.55, 1.65), (8.7, 1.65), "BatchNorm", above=0.8)
    patchwork(axis, 8.75, 1.15, 1.0, where, GREY)
    axis.text(9.25, 0.55, r"$M_s$: $1 \times H \times W$", ha="center", fontsize=10)
    axis.text(4.9, 0.25, "spatial branch: where", ha="center", weight="bold", color=BLUE)
    arrow(axis, (8.6, 5.2), (10.0, 3.95))
    arrow(axis, (9.45, 2.3), (10.0, 3.3))
    axis.text(10.2, 3.65, "+", ha="center", va="center", fontsize=13, bbox={"boxstyle": "circle", "fc": "white"})
    arrow(axis, (10.6, 3.65), (11.3, 3.65), r"$\sigma$")
    for k in range(5):
        shift = 0.2 * (4 - k)
        patchwork(axis, 11.4 + shift, 2.9 + shift, 1.0,
                  [[min(1, 0.55 * what[k] + 0.55 * value) for value in line] for line in where], SHADES[k])
    axis.text(12.3, 4.95, r"$M$: $C \times H \times W$", ha="center", fontsize=10)
    arrow(axis, (13.25, 3.65), (13.9, 3.65))
    axis.text(15.0, 3.65, "$x + x \\circ M$", ha="center", va="center", fontsize=12)
    return figure


def windows(cuts: Sequence[Tensor], title: str):
    """Square cuts (3, n, n) around one pixel, values 0 to 255, drawn equally large, that pixel framed in each."""
    figure, axes = new_figure(7.2, 7.2 / len(cuts) + 0.7, 1, len(cuts), squeeze=False)
    for axis, cut in zip(axes[0], cuts):
        n = cut.shape[-1]
        axis.imshow(cut.permute(1, 2, 0).round().byte().numpy())
        middle = n // 2 - 0.5
        axis.plot([middle, middle + 1, middle + 1, middle, middle], [middle, middle, middle + 1, middle + 1, middle],
                  color=ORANGE, lw=2)
        axis.set_title(f"{n} × {n} pixels", fontsize=9)
        axis.set_axis_off()
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return figure


def seen_pixels(ways: Sequence[Tensor], names: Sequence[str], title: str):
    """Maps of how strongly each pixel of the input moves one output pixel, on a grid; 0 is a hole.

    Args:
        ways: maps (H, W), not negative; the output pixel lies below the middle of each.
        names: one per map. title: the finding.
    """
    figure, axes = new_figure(7.2, 7.2 / len(ways) + 0.6, 1, len(ways), squeeze=False)
    for axis, values, name in zip(axes[0], ways, names):
        H, W = values.shape
        shown = values.clone().numpy()
        shown[shown == 0] = float("nan")  # holes stay white
        axis.imshow(shown, cmap="Blues", vmin=-0.6 * values.max().item(), vmax=values.max().item())
        axis.set_xticks([column - 0.5 for column in range(W + 1)], minor=True)
        axis.set_yticks([row - 0.5 for row in range(H + 1)], minor=True)
        axis.grid(which="minor", color=GREY, lw=0.3, alpha=0.5)
        axis.tick_params(which="both", length=0, labelleft=False, labelbottom=False)
        axis.spines[:].set_visible(False)
        axis.plot(W // 2, H // 2, "s", mfc="none", mec=ORANGE, mew=2, ms=7)
        axis.set_title(name, fontsize=10)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return figure


def joins(axis_values: Tensor, maps: Sequence[Tensor], names: Sequence[str], title: str):
    """M over a plane of branch values: rows are Ms, columns Mc, both running over axis_values (N,)."""
    low, high = axis_values[0].item(), axis_values[-1].item()
    figure, axes = new_figure(7.2, 3.3, 1, len(maps), squeeze=False)
    for axis, values, name in zip(axes[0], maps, names):
        image = axis.imshow(values.numpy(), cmap="cividis", vmin=0, vmax=1, origin="lower",
                            extent=(low, high, low, high))
        axis.axhline(0, color="white", lw=0.8, ls=":")
        axis.axvline(0, color="white", lw=0.8, ls=":")
        axis.set(xlabel="$M_c$, what", ylabel="$M_s$, where")
        axis.set_title(name, fontsize=10)
    figure.colorbar(image, ax=axes, label="$M$", fraction=0.03)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return figure


def photos_and_gates(photos: Tensor, gates: Sequence[Tensor], names: Sequence[str], title: str):
    """One row per photograph: the photograph, then its map at each place, with the range that its colours span.

    Args:
        photos: (B, 3, H, W), values 0 to 255.
        gates: one (B, h, w) per place; the size may differ from place to place.
        names: one per place. title: the finding.
    """
    B = len(photos)
    figure, axes = new_figure(7.2, 7.2 / (len(gates) + 1) * B + 0.5 + 0.2 * B, B, len(gates) + 1, squeeze=False)
    for row in range(B):
        axes[row, 0].imshow(photos[row].permute(1, 2, 0).round().byte().numpy())
        for axis, maps in zip(axes[row, 1:], gates):
            axis.imshow(maps[row].numpy(), cmap="magma")
            axis.text(0.5, -0.04, f"{maps[row].min():.2f} to {maps[row].max():.2f}", transform=axis.transAxes,
                      ha="center", va="top", fontsize=8)
    for axis, name in zip(axes[0], ["", *names]):
        axis.set_title(name, fontsize=9)
    for axis in axes.flat:
        axis.set_axis_off()
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return figure


def bam_places():
    """A ResNet as a row of boxes, with BAM between its stages."""
    figure, axis = new_figure(7.2, 1.5)
    axis.set(xlim=(0, 15.8), ylim=(0, 3))
    axis.set_axis_off()
    x = 0.1
    for name, width in (("stem", 1.4), ("layer1", 1.8), ("BAM", 1.1), ("layer2", 1.8), ("BAM", 1.1), ("layer3", 1.8),
                        ("BAM", 1.1), ("layer4", 1.8), ("pool, fc", 1.6)):
        is_bam = name == "BAM"
        draw_box(axis, x, 0.9 + 0.2 * is_bam, width - 0.1, 1.4 - 0.4 * is_bam, ORANGE if is_bam else "#E5E7EB", name,
                 text_colour="white" if is_bam else "black")
        if name in ("layer2", "layer3", "layer4"):
            axis.text(x + width / 2 - 0.05, 0.45, "halves H and W", ha="center", fontsize=8, color=GREY)
        if x > 1:
            arrow(axis, (x - 0.3, 1.6), (x, 1.6))
        x += width + 0.2
    return figure
