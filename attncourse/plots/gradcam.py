"""Pictures of the Grad-CAM chapter."""

from collections.abc import Mapping, Sequence

from torch import Tensor
from torch.nn import functional as F

from attncourse.plots import BLUE, GREEN, GREY, ORANGE, SHADES, diagram, draw_photo, new_figure


def gradcam_diagram():
    """Grad-CAM reads a network: maps forward, the logit's gradient back, and a weighted sum beside it."""
    figure, axis = new_figure(7.2, 3.4)
    axis.set(xlim=(0, 14.4), ylim=(-2.2, 4.6))
    axis.set_axis_off()
    for x, words in ((2.2, "layers\nbefore"), (8.6, "layers\nafter")):
        diagram.box(axis, x, 1.7, 1.7, 1.4, diagram.PALE, words)
    diagram.box(axis, 0.1, 1.7, 1.2, 1.4, "white", "image")
    diagram.stack(axis, 5.2, 1.6, 1.1, 0.22)
    diagram.box(axis, 12.0, 1.9, 1.1, 1.0, "white", "$y^c$")
    axis.text(6.1, 4.05, r"$A$: $K \times h \times w$", ha="center")
    axis.text(12.55, 3.2, "logit of\nclass $c$", ha="center", fontsize=9)
    for start, end in ((1.3, 2.2), (3.9, 5.1), (7.3, 8.6), (10.3, 12.0)):
        diagram.arrow(axis, (start, 2.4), (end, 2.4))
    diagram.arrow(axis, (12.0, 2.05), (10.3, 2.05), colour=ORANGE)
    diagram.arrow(axis, (8.6, 2.05), (7.3, 2.05), colour=ORANGE)
    axis.text(9.5, 1.2, r"gradient $\partial y^c / \partial A$", ha="center", color=ORANGE)
    for k, value in enumerate((0.9, 0.2, 0.6, 0.1, 0.4)):
        diagram.shaded_box(axis, 7.0 + 0.55 * k, -0.75, 0.45, 0.45, SHADES[k], value)
    axis.text(8.35, -1.3, r"$\alpha_k$: its mean over positions", ha="center", fontsize=9)
    diagram.arrow(axis, (8.35, 1.0), (8.35, -0.15), colour=ORANGE)
    diagram.patchwork(axis, 3.9, -1.35, 1.3, MAP, BLUE)
    diagram.arrow(axis, (6.9, -0.55), (5.4, -0.55))
    diagram.arrow(axis, (5.75, 1.5), (4.9, 0.1), colour=BLUE)
    axis.text(4.55, -1.95, r"ReLU$\left(\sum_k \alpha_k A^k\right)$", ha="center")
    diagram.arrow(axis, (3.7, -0.55), (2.2, -0.55), "stretch", above=0.12)
    diagram.patchwork(axis, 0.6, -1.35, 1.4, SMOOTH, BLUE)
    axis.text(1.3, -1.95, "map over the image", ha="center", fontsize=9)
    return figure


MAP = ((0, 0.1, 0.2, 0), (0, 0.3, 0.6, 0.1), (0.1, 0.6, 1, 0.3), (0, 0.1, 0.3, 0))  # of the diagram
SMOOTH = F.interpolate(Tensor(MAP)[None, None], (8, 8), mode="bilinear")[0, 0].tolist()


REDUCED = 112  # pixels a side of an overlay's photograph


def draw_overlay(axis, photo: Tensor, one_map: Tensor, strength: float = 0.8) -> None:
    """A photograph (3, H, W) in grey, and over it a map (h, w), 0 to 1: the higher, the more colour covers the grey.

    A large photograph is reduced: at an inch a side this is hardly seen, and takes fewer bytes.
    """
    from matplotlib import colormaps

    size = [min(side, REDUCED) for side in photo.shape[1:]]
    m = F.interpolate(one_map[None, None], size, mode="bilinear")[0, 0]  # (H, W)
    grey = F.interpolate(photo[None].float(), size, mode="area")[0].mean(0) / 255
    colour = Tensor(colormaps["inferno"](0.15 + 0.8 * m.numpy())[:, :, :3])  # (H, W, 3)
    cover = strength * m[:, :, None]
    axis.imshow((grey[:, :, None] * (1 - cover) + colour * cover).numpy(), interpolation="bilinear")


def overlays(photos: Sequence[Tensor], maps: Sequence[Sequence[Tensor]], names: Sequence[Sequence[str]], title: str,
             width: float = 6.2, beside: bool = False):
    """A row per photograph: one overlay per map, each with its name.

    Args:
        photos: B photographs (3, H, W), values 0 to 255.
        maps: for each the maps (h, w), from 0 to 1; as many in every row.
        names: the maps' names. title: the finding.
        width: of the figure in inches. beside: whether each row starts with its photograph.
    """
    columns = len(maps[0]) + beside
    side, words = width / columns, 0.16 * (1 + max(name.count("\n") for row in names for name in row))
    figure, axes = new_figure(width, (side + words) * len(photos) + 0.4, len(photos), columns, squeeze=False)
    for row, photo, row_maps, row_names in zip(axes, photos, maps, names):
        if beside:
            draw_photo(row[0], photo)
        for axis, one_map, name in zip(row[int(beside):], row_maps, row_names):
            draw_overlay(axis, photo, one_map)
            axis.set_title(name, fontsize=9)
    for axis in axes.flat:
        axis.set_axis_off()
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return figure


def shares(parts: Tensor, title: str, photo: Tensor | None = None, digits: int = 1):
    """What each position (h, w) adds to the logit, blue raises it, red lowers it; a photograph (3, H, W) beside it."""
    figure, axes = new_figure(5.4 if photo is not None else 3.2, 2.6, 1, 1 if photo is None else 2, squeeze=False)
    if photo is not None:
        draw_photo(axes[0, 0], photo)
    right, limit = axes[0, -1], parts.abs().max().item()
    image = right.imshow(parts.numpy(), cmap="RdBu", vmin=-limit, vmax=limit)
    for i, row in enumerate(parts.tolist()):
        for j, value in enumerate(row):
            right.text(j, i, f"{round(value, digits) + 0.0:.{digits}f}", ha="center", va="center", fontsize=8 - digits,
                       color="white" if abs(value) > 0.6 * limit else "black")
    for axis in axes.flat:
        axis.set_axis_off()
    figure.colorbar(image, ax=right, label="share of the logit", fraction=0.045)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    return figure


def lines(curves: Mapping[str, Sequence[float]], ticks: Sequence[str], label: str, title: str, level: float | None = 0):
    """One line per name over the same steps, and a dashed line at a level that means "nothing left".

    Args:
        curves: the values by name. ticks: the steps' names.
        label: of the values. title: the finding.
    """
    figure, axis = new_figure(7.2, 3.0)
    for (name, values), colour, marker in zip(curves.items(), (BLUE, ORANGE, GREEN), "osD"):
        axis.plot(range(len(values)), values, color=colour, marker=marker, ms=5, label=name)
    if level is not None:
        axis.axhline(level, color=GREY, ls="--", lw=1)
    axis.set_xticks(range(len(ticks)), ticks)
    axis.set_ylabel(label)
    axis.legend(frameon=False)
    axis.grid(axis="y", alpha=0.3)
    axis.set_title(title, loc="left")
    return figure


def replacement_curves(panels: Mapping[str, Mapping[str, Tensor]], title: str):
    """Deletion and insertion curves: per panel one line per map over the share of the pixels replaced, 0 to 100 %."""
    figure, axes = new_figure(7.2, 2.8, 1, len(panels), sharey=True, squeeze=False)
    for axis, (name, curves) in zip(axes[0], panels.items()):
        for (which, curve), colour in zip(curves.items(), (BLUE, GREY, ORANGE)):
            percent = [100 * step / (len(curve) - 1) for step in range(len(curve))]
            axis.plot(percent, curve.numpy(), color=colour, label=which)
        axis.set(xlabel="% of the pixels", title=name)
        axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel("probability of the class")
    axes[0, 0].legend(frameon=False)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return figure
