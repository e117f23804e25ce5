"""Pictures of the CAM and SAM chapter."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from attncourse.plots import BLUE, GREY, ORANGE, SHADES, beside_photos, diagram, new_figure


def cam_sam_diagram():
    """CAM: two numbers per channel, one MLP, one gate per channel. SAM: two maps, one convolution, one map of gates."""
    figure, (cam, sam) = new_figure(7.2, 4.5, 2, 1)
    for axis in (cam, sam):
        axis.set(xlim=(0, 15.4), ylim=(0.1, 4.5))
        axis.set_axis_off()
    gates = [0.9, 0.25, 0.7, 0.15, 1.0]
    diagram.stack(cam, 0.2, 1.1, 1.2, 0.26)
    cam.text(1.3, 0.35, r"$x$: $C \times H \times W$", ha="center", fontsize=9)
    for y, heights, words in ((2.75, [0.6, 0.5, 0.8, 0.3, 0.7], "mean over positions"),
                              (0.95, [0.9, 0.9, 0.5, 0.7, 1.0], "maximum over positions")):
        for k, height in enumerate(heights):
            diagram.box(cam, 4.5 + 0.42 * k, y, 0.36, 0.5, SHADES[k], "", height)
        diagram.arrow(cam, (2.6, 2.1), (4.4, y + 0.25))
        cam.text(5.5, y + 0.65 if y > 2 else y - 0.45, words, ha="center", fontsize=9)
        diagram.arrow(cam, (6.7, y + 0.25), (7.5, 2.1 + (y > 2) * 0.3 - 0.15))
    diagram.box(cam, 7.6, 1.5, 2.0, 1.2, diagram.PALE, "one MLP\nfor both")
    diagram.arrow(cam, (9.6, 2.1), (11.0, 2.1), "add, σ")
    for k, gate in enumerate(gates):
        diagram.shaded_box(cam, 11.1, 0.85 + 0.5 * (4 - k), 0.4, 0.4, SHADES[k], gate)
    cam.text(11.3, 0.35, "$C$ gates", ha="center", fontsize=9)
    diagram.arrow(cam, (11.6, 2.1), (13.0, 2.1), "multiply")
    diagram.stack(cam, 13.1, 1.1, 1.0, 0.26, gates)
    cam.set_title("CAM asks what: one gate per channel", loc="left", weight="bold", color=BLUE)

    diagram.stack(sam, 0.2, 1.1, 1.2, 0.26)
    sam.text(1.3, 0.35, r"$x$: $C \times H \times W$", ha="center", fontsize=9)
    for y, values, words in ((2.75, [[0.7, 0.6, 0.5], [0.6, 0.8, 0.5], [0.3, 0.5, 0.4]], "mean over channels"),
                             (0.75, [[0.8, 0.7, 0.5], [0.9, 1.0, 0.6], [0.4, 0.9, 0.5]], "maximum over channels")):
        diagram.patchwork(sam, 4.9, y, 1.2, values)
        diagram.arrow(sam, (2.6, 2.1), (4.8, y + 0.6))
        sam.text(5.5, y + 1.35 if y > 2 else y - 0.45, words, ha="center", fontsize=9)
        diagram.arrow(sam, (6.2, y + 0.6), (7.5, 2.1 + (y > 2) * 0.3 - 0.15))
    diagram.box(sam, 7.6, 1.5, 2.0, 1.2, diagram.PALE, "7 × 7 conv,\nBatchNorm")
    diagram.arrow(sam, (9.6, 2.1), (10.6, 2.1), "σ")
    gates = [[0.6, 0.5, 0.2], [0.8, 1.0, 0.4], [0.2, 0.7, 0.2]]
    diagram.patchwork(sam, 10.7, 1.5, 1.2, gates)
    sam.text(11.3, 0.9, r"$M$: $1 \times H \times W$", ha="center", fontsize=9)
    diagram.arrow(sam, (11.95, 2.1), (13.05, 2.1), "multiply")
    diagram.stack(sam, 13.1, 1.1, 1.0, 0.26, places=gates)
    sam.set_title("SAM asks where: one gate per position", loc="left", weight="bold", color=BLUE)
    return figure


def mean_and_maximum(maps: Tensor, names: Sequence[str], title: str):
    """Maps side by side, and below each its mean and its maximum as bars on one scale.

    Args:
        maps: (K, H, W), values 0 to 1.
        names: K titles. title: the finding.
    """
    figure, axes = new_figure(7.2, 4.0, 2, len(maps), height_ratios=(3, 1), squeeze=False)
    for axis, one_map, name in zip(axes[0], maps, names):
        axis.imshow(one_map.numpy(), cmap="gray", vmin=0, vmax=1)
        axis.set_title(name, fontsize=10)
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(True)
    for axis, one_map in zip(axes[1], maps):
        drawn = axis.barh(["mean", "max"], [one_map.mean().item(), one_map.max().item()], color=[GREY, ORANGE])
        axis.bar_label(drawn, fmt="{:.2f}", padding=3)
        axis.invert_yaxis()
        axis.set(xlim=(0, 1.3), xticks=[])
        axis.tick_params(length=0)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return figure


def rank_scatter(means: Tensor, maxima: Tensor, marked: Mapping[int, str], title: str):
    """One dot per channel: its mean and its maximum on one picture.

    Args:
        means, maxima: (C,).
        marked: the words for the channels that stand out.
        title: the finding.
    """
    figure, axis = new_figure(7.2, 3.2)
    axis.scatter(means, maxima, s=28, color=GREY, alpha=0.7)
    for number, (channel, words) in enumerate(marked.items()):
        colour = (ORANGE, BLUE)[number % 2]
        axis.scatter(means[channel], maxima[channel], s=60, color=colour, zorder=3)
        offset, side = ((-8, 0), "right") if number % 2 == 0 else ((8, -6), "left")
        axis.annotate(words, (means[channel].item(), maxima[channel].item()), xytext=offset, color=colour, ha=side,
                      va="center", weight="bold", textcoords="offset points")
    axis.set(xlabel="mean over the positions", ylabel="maximum")
    axis.margins(x=0.12, y=0.12)
    axis.set_title(title, loc="left")
    axis.grid(alpha=0.3)
    return figure


def photo_and_maps(photo: Tensor, maps: Tensor, names: Sequence[str], title: str):
    """A photograph and some of its maps, all on one scale of brightness, with its bar.

    Args:
        photo: (3, H, W), values 0 to 255. maps: (K, h, w), of any sign.
        names: K titles. title: the finding.
    """
    figure, axes = beside_photos(photo[None], names, 2.7, title)
    for axis, one_map in zip(axes[0], maps):
        image = axis.imshow(one_map.numpy(), cmap="magma", vmin=maps.min().item(), vmax=maps.max().item())
    figure.colorbar(image, ax=figure.axes, label="before the ReLU", fraction=0.03)
    return figure


def kernels(weights: Tensor, names: Sequence[str], title: str):
    """Kernels as they were learned, all on one scale: blue below zero, red above.

    Args:
        weights: (K, k, k). names: K titles. title: the finding.
    """
    figure, axes = new_figure(1.75 * len(weights) + 0.9, 2.6, 1, len(weights), squeeze=False)
    limit = weights.abs().max().item()
    for axis, kernel, name in zip(axes[0], weights, names):
        image = axis.imshow(kernel.numpy(), cmap="RdBu_r", vmin=-limit, vmax=limit)
        axis.set_title(name, fontsize=9)
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    figure.colorbar(image, ax=axes, label="weight", fraction=0.03)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return figure


def inside_by_place(shares: Mapping[str, Sequence[Sequence[float]]], area: float, title: str):
    """Which share of each map's sum lies on the object, place by place, one line per run.

    Args:
        shares: by variant, the runs; each run is one share (0 to 1) per place.
        area: the share that a flat map would score.
        title: the finding.
    """
    figure, axis = new_figure(7.2, 3.4)
    for number, (name, runs) in enumerate(shares.items()):
        for first, run in enumerate(runs):
            axis.plot(range(1, len(run) + 1), [100 * share for share in run], marker="o", ms=4, lw=1.4, alpha=0.8,
                      color=SHADES[number % 5], label=name if first == 0 else None)
    axis.axhline(100 * area, color=GREY, ls="--", label="a flat map")
    places = max(len(run) for runs in shares.values() for run in runs)
    axis.set_xticks(range(1, places + 1), [f"place {n}" for n in range(1, places + 1)])
    axis.set(ylabel="share of the map's sum\non the object, in %")
    axis.set_ylim(bottom=0)
    axis.set_title(title, loc="left")
    axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    axis.grid(alpha=0.3)
    return figure
