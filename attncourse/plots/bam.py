"""Pictures of the BAM chapter."""

from collections.abc import Sequence

from torch import Tensor

from attncourse.plots import BLUE, GREY, ORANGE, SHADES, beside_photos, diagram, draw_photo, new_figure


def bam_diagram():
    """Both branches of a BAM side by side, their join, and the scaling by 1 + M."""
    figure, axis = new_figure(7.2, 3.5)
    axis.set(xlim=(0, 16.2), ylim=(-0.1, 7.3))
    axis.set_axis_off()
    what, where = [0.9, 0.3, 0.7, 0.15, 0.5], [[0.1, 0.2, 0.1], [0.3, 0.9, 0.6], [0.1, 0.5, 0.2]]
    diagram.stack(axis, 0.1, 2.6, 1.0, 0.2)
    axis.text(1.0, 4.7, "$x$", ha="center", fontsize=12)
    axis.text(1.0, 2.15, r"$C \times H \times W$", ha="center", fontsize=9)
    diagram.arrow(axis, (2.0, 4.1), (2.9, 5.4))
    for k, shade in enumerate(SHADES):
        diagram.box(axis, 3.0, 4.55 + 0.36 * (4 - k), 0.32, 0.32, shade, "", 0.6)
    axis.text(3.16, 4.15, "mean", ha="center", fontsize=9)
    diagram.arrow(axis, (3.45, 5.45), (4.9, 5.45), "$W_0$, ReLU")
    for k in range(2):
        diagram.box(axis, 5.0, 5.1 + 0.38 * k, 0.32, 0.32, diagram.PALE)
    axis.text(5.16, 4.65, "$C/r$", ha="center", fontsize=9)
    diagram.arrow(axis, (5.45, 5.45), (8.0, 5.45), "$W_1$, BatchNorm")
    for k, (shade, value) in enumerate(zip(SHADES, what)):
        diagram.shaded_box(axis, 8.1, 4.55 + 0.36 * (4 - k), 0.32, 0.32, shade, value)
    axis.text(8.26, 6.5, r"$M_c$: $C \times 1 \times 1$", ha="center", fontsize=10)
    axis.text(4.9, 6.75, "channel branch: what", ha="center", weight="bold", color=BLUE)
    diagram.arrow(axis, (2.0, 2.9), (2.9, 1.7))
    for x, words in ((2.95, "1×1"), (4.2, "3×3\n$d$"), (5.45, "3×3\n$d$"), (6.7, "1×1")):
        diagram.box(axis, x, 1.05, 0.85, 1.2, diagram.PALE, words)
        if x > 3:
            diagram.arrow(axis, (x - 0.4, 1.65), (x, 1.65))
    axis.text(4.63, 2.4, "$C/r$ channels, ReLU", ha="center", fontsize=9)
    diagram.arrow(axis, (7.55, 1.65), (8.7, 1.65), "BatchNorm", above=0.8)
    diagram.patchwork(axis, 8.75, 1.15, 1.0, where, GREY)
    axis.text(9.25, 0.55, r"$M_s$: $1 \times H \times W$", ha="center", fontsize=10)
    axis.text(4.9, 0.25, "spatial branch: where", ha="center", weight="bold", color=BLUE)
    diagram.arrow(axis, (8.6, 5.2), (10.0, 3.95))
    diagram.arrow(axis, (9.45, 2.3), (10.0, 3.3))
    axis.text(10.2, 3.65, "+", ha="center", va="center", fontsize=13, bbox={"boxstyle": "circle", "fc": "white"})
    diagram.arrow(axis, (10.6, 3.65), (11.3, 3.65), r"$\sigma$")
    for k in range(5):
        shift = 0.2 * (4 - k)
        sums = [[min(1, 0.55 * what[k] + 0.55 * value) for value in row] for row in where]
        diagram.patchwork(axis, 11.4 + shift, 2.9 + shift, 1.0, sums, SHADES[k])
    axis.text(12.3, 4.95, r"$M$: $C \times H \times W$", ha="center", fontsize=10)
    diagram.arrow(axis, (13.25, 3.65), (13.9, 3.65))
    axis.text(15.0, 3.65, "$x + x \\circ M$", ha="center", va="center", fontsize=12)
    return figure


def windows(cuts: Sequence[Tensor], title: str):
    """Square cuts (3, n, n) around one pixel, values 0 to 255, drawn equally large, that pixel framed in each."""
    figure, axes = new_figure(7.2, 7.2 / len(cuts) + 0.7, 1, len(cuts), squeeze=False)
    for axis, cut in zip(axes[0], cuts):
        n = cut.shape[-1]
        draw_photo(axis, cut)
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
    figure, axes = beside_photos(photos, names, 7.2 / (len(gates) + 1) * B + 0.5 + 0.2 * B, title)
    for column, maps in zip(axes.T, gates):
        for axis, one_map in zip(column, maps):
            axis.imshow(one_map.numpy(), cmap="magma")
            axis.text(0.5, -0.04, f"{one_map.min():.2f} to {one_map.max():.2f}", transform=axis.transAxes,
                      ha="center", va="top", fontsize=8)
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
        colours = (ORANGE, "white") if is_bam else (diagram.PALE, "black")
        diagram.box(axis, x, 0.9 + 0.2 * is_bam, width - 0.1, 1.4 - 0.4 * is_bam, colours[0], name,
                    text_colour=colours[1])
        if name in ("layer2", "layer3", "layer4"):
            axis.text(x + width / 2 - 0.05, 0.45, "halves H and W", ha="center", fontsize=8, color=GREY)
        if x > 1:
            diagram.arrow(axis, (x - 0.3, 1.6), (x, 1.6))
        x += width + 0.2
    return figure
