"""Pictures of the gallery: large tiles with large words, two in a row, so that a telephone shows them as they are."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from attncourse.plots import draw_photo, new_figure

COLUMNS = 2  # tiles in a row
WORDS = 16  # points: on a telephone a figure of 7.2 inches is shrunk to a third


def poster(tiles: Sequence[tuple], title: str):
    """Large pictures, two in a row, each with its name above it; a map also has its scale below it.

    Args:
        tiles: (name, picture) or (name, map, low, high), in reading order: a picture is (3, H, W), values 0 to 255; a
            map (h, w) has the colours of the scale from low to high, by default those of its own values.
        title: the finding, in lines that fit the figure's width.
    """
    rows, lines = -(-len(tiles) // COLUMNS), title.count("\n") + 1
    side = 7.2 / COLUMNS
    figure, axes = new_figure(7.2, rows * (side + 0.72) + 0.32 * lines, rows, COLUMNS, squeeze=False)
    figure.get_layout_engine().set(h_pad=0.15)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, (name, picture, *scale) in zip(axes.flat, tiles):
        axis.set_title(name, fontsize=WORDS, loc="left")
        if picture.ndim == 3:
            draw_photo(axis, picture)
        else:
            low, high = scale or (picture.min().item(), picture.max().item())
            draw_map(axis, picture, low, high)
    figure.suptitle(title, x=0.01, ha="left", fontsize=WORDS + 3, fontweight="bold")
    return figure


def draw_map(axis, one_map: Tensor, low: float, high: float) -> None:
    """A map (h, w), and below it a bar of its colours with the values at both ends."""
    image = axis.imshow(one_map.numpy(), cmap="magma", vmin=low, vmax=high)
    bar = axis.inset_axes([0.26, -0.095, 0.48, 0.05])
    axis.figure.colorbar(image, cax=bar, orientation="horizontal", ticks=[])
    bar.set_gid("scale")
    digits = 2 if high - low > 0.01 else 4
    for x, value, side in ((0.24, low, "right"), (0.76, high, "left")):
        axis.text(x, -0.07, f"{value:.{digits}f}", transform=axis.transAxes, ha=side, va="center", fontsize=WORDS)


def spotlight(photo: Tensor, one_map: Tensor) -> Tensor:
    """The photograph (3, H, W), at a seventh of its brightness where the map (h, w) is 0 and in full where it is 1."""
    light = F.interpolate(one_map[None, None], photo.shape[1:], mode="bilinear")[0]  # (1, H, W)
    return photo * (0.14 + 0.86 * light)


def gate_stripes(gates: Sequence[Tensor], rows: Sequence[str], names: Sequence[str], title: str):
    """A stripe per channel: for each place a block with a row per photograph, all on the scale from 0 to 1.

    Args:
        gates: one (B, C) tensor per place. rows: B names. names: one per place.
        title: the finding.
    """
    figure, axes = new_figure(7.2, 1.75 * len(gates) + 1.5, len(gates), squeeze=False)
    for axis, values, name in zip(axes[:, 0], gates, names):
        image = axis.imshow(values.numpy(), cmap="magma", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
        axis.set_title(name, fontsize=WORDS, loc="left")
        axis.set_yticks(range(len(rows)), rows, fontsize=WORDS - 2)
        axis.set_xticks([])
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
        for row in range(1, len(rows)):
            axis.axhline(row - 0.5, color="white", lw=2)
    bar = figure.colorbar(image, ax=axes[:, 0], orientation="horizontal", fraction=0.04, aspect=30, ticks=[0, 0.5, 1])
    bar.ax.tick_params(labelsize=WORDS - 2)
    bar.set_label("gate", fontsize=WORDS - 2)
    figure.suptitle(title, x=0.01, ha="left", fontsize=WORDS + 3, fontweight="bold")
    return figure
