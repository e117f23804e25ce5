"""Pictures of the chapter on where networks look."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from attncourse.plots import BLUE, GREEN, GREY, ORANGE, SHADES, draw_photo, new_figure

EXAMPLE = ((0.0, 0.1, 0.2, 0.1, 0.0, 0.0), (0.1, 0.3, 0.6, 0.4, 0.1, 0.0), (0.1, 0.5, 1.0, 0.7, 0.2, 0.1),
           (0.1, 0.3, 0.7, 0.6, 0.2, 0.1), (0.0, 0.1, 0.3, 0.2, 0.1, 0.0), (0.4, 0.5, 0.1, 0.0, 0.0, 0.0))
WIDTH = 5.6  # inches: less than the column, so that the words can be read on a phone
OBJECT = tuple((i, j) for i in (1, 2, 3) for j in (2, 3, 4))  # rows and columns of the example's object


def outline(axis, mask: Tensor, colour: str, width: float = 1.5) -> None:
    """The border of a mask (H, W), bool, along the edges of its pixels."""
    H, W = mask.shape
    for i in range(H + 1):
        for j in range(W + 1):
            here = i < H and j < W and bool(mask[i, j])
            if j < W and here != (i > 0 and bool(mask[i - 1, j])):
                axis.plot([j - 0.5, j + 0.5], [i - 0.5, i - 0.5], color=colour, lw=width, solid_capstyle="projecting")
            if i < H and here != (j > 0 and bool(mask[i, j - 1])):
                axis.plot([j - 0.5, j - 0.5], [i - 0.5, i + 0.5], color=colour, lw=width, solid_capstyle="projecting")


def scores_diagram():
    """One map and one object, scored in three ways."""
    m, mask = Tensor(EXAMPLE), Tensor([[(i, j) in OBJECT for j in range(6)] for i in range(6)]).bool()
    region = m >= 0.5 * m.max()
    inside = m[mask].sum() / m.sum()
    overlap = (region & mask).sum() / (region | mask).sum()
    figure, axes = new_figure(6.0, 2.7, 1, 3)
    for axis, title, below in zip(axes, ("energy inside", "pointing game", "IoU at 0.5"), (
            f"sum in the frame {m[mask].sum():.1f}\nof {m.sum():.1f} in all: {inside:.0%}",
            "highest value\nin the frame: 1",
            f"both {int((region & mask).sum())} of\n{int((region | mask).sum())} pixels: {overlap:.2f}")):
        axis.imshow(m.numpy(), cmap="gray", vmin=0, vmax=1.15)
        outline(axis, mask, ORANGE, 3)
        axis.set(xticks=[], yticks=[])
        axis.set_title(title, fontsize=12)
        axis.set_xlabel(below, fontsize=11)
        axis.spines[:].set_visible(True)
    for i, row in enumerate(m.tolist()):
        for j, value in enumerate(row):
            axes[0].text(j, i, f"{value:.1f}", ha="center", va="center", fontsize=8,
                         color="black" if value > 0.5 else "white")
    i, j = divmod(int(m.argmax()), m.shape[1])
    axes[1].plot(j, i, "o", mfc="none", mec=GREEN, mew=3, ms=17)
    outline(axes[2], region, BLUE, 2)
    return figure


def outlined(images: Tensor, masks: Tensor, maps: Mapping[str, Tensor], title: str,
             captions: Sequence[Sequence[str]] | None = None):
    """A row per picture: the picture, then its maps, each from black at its lowest to white, the object's border on it.

    Args:
        images: (B, 3, H, W), values 0 to 255. masks: (B, H, W), bool.
        maps: (B, H, W) by name, laid over the pictures.
        title: the finding. captions: what to write below the picture and each map, by picture.
    """
    rows, columns = len(images), len(maps) + 1
    side, below = WIDTH / columns, 0.0 if captions is None else 0.22
    figure, axes = new_figure(WIDTH, (side + below) * rows + 0.75, rows, columns, squeeze=False)
    for b, row in enumerate(axes):
        draw_photo(row[0], images[b])
        for axis, each in zip(row[1:], maps.values()):
            axis.imshow(each[b].numpy(), cmap="gray")
            outline(axis, masks[b], ORANGE)
        for axis, words in zip(row, [""] * columns if captions is None else captions[b]):
            axis.set(xticks=[], yticks=[], xlabel=words)
            axis.spines[:].set_visible(False)
    for axis, name in zip(axes[0, 1:], maps):
        axis.set_title(name, fontsize=11)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return figure


def seeds_by_place(values: Mapping[str, Tensor], half_widths: Mapping[str, Tensor],
                   levels: Mapping[str, Sequence[float]], title: str, label: str):
    """A panel per place, and in it a row per network: each seed as a dot, their mean, and its interval; a key below.

    Args:
        values: (seeds, places) by network, in per cent or points. half_widths: (places,) of the intervals, likewise.
        levels: by name, where to draw a line in each panel.
        title: the finding. label: of the values.
    """
    places = len(next(iter(half_widths.values())))
    height = 2 * (0.3 * len(values) + 0.7) + 0.8
    figure, axes = new_figure(WIDTH, height, -(-places // 2), 2, sharex=True, sharey=True, squeeze=False)
    for place, axis in enumerate(axes.flat):
        for row, (name, runs) in enumerate(values.items()):
            axis.scatter(runs[:, place], [row] * len(runs), s=22, color=GREY, alpha=0.7, zorder=2,
                         label="one seed" if row == 0 else None)
            axis.errorbar(runs[:, place].mean(), row, xerr=half_widths[name][place], fmt="D", ms=5, color=BLUE,
                          capsize=4, lw=2, zorder=3, label="mean, 95 % interval" if row == 0 else None)
        for (name, at), colour in zip(levels.items(), (ORANGE, SHADES[3])):
            axis.axvline(at[place], color=colour, ls="--", lw=1.3, zorder=1, label=name)
        axis.set_yticks(range(len(values)), values)
        axis.set_ylim(len(values) - 0.5, -0.5)
        axis.set_title(f"place {place + 1}", loc="left", fontsize=11)
        axis.grid(axis="x", alpha=0.3)
    for axis in axes[-1]:
        axis.set_xlabel(label)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), frameon=False, ncols=len(levels) + 2, columnspacing=1,
                  handletextpad=0.5, loc="outside lower center")
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return figure
