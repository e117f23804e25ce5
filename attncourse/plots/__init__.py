"""Pictures: records and arrays in, figures out. Nothing here calls a model.

What several chapters draw stands here; what one chapter draws, such as its diagram, in a file of its stem, and the
boxes and arrows of all diagrams in ``diagram.py``.
"""

import io
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Readable on white, and told apart by colour-blind readers (Okabe and Ito).
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#6B7280"
SHADES = (BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00")


def show(figure: "Figure", alt: str) -> None:
    """Display a figure in the notebook together with the words that stand in for it, and close it.

    The words travel in the output's metadata, from where the book's pages take them as the image's alternative text;
    they are also what a place that shows no images prints.

    Args:
        figure: drawn on a light background, at most about 7.5 inches wide (the width of the book's column).
        alt: what a reader who cannot see the figure should know: a sentence or two, with the figures that matter.

    Raises:
        ValueError: if ``alt`` is empty.
    """
    if not alt.strip():
        raise ValueError("alt is empty: say in words what the figure shows")
    import matplotlib.pyplot as plt
    from IPython.display import display
    from PIL import Image

    drawn, png = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=144, bbox_inches="tight")
    plt.close(figure)  # or the notebook would show it once more, without words
    palette = Image.open(drawn).convert("RGB").quantize(256)  # a third of the bytes, and no version in them
    palette.save(png, format="png", optimize=True)
    display(
        {"image/png": b64encode(png.getvalue()).decode("ascii"), "text/plain": f"Figure: {alt}"},
        metadata={"image/png": {"alt": alt}},
        raw=True,
    )


def new_figure(width: float = 7.2, height: float = 3.0, rows: int = 1, columns: int = 1, **options):
    """An empty figure with the course's style, and its axes. Width and height in inches; 7.2 fills the text column."""
    from matplotlib.figure import Figure
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, **options)
    for axis in figure.axes:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def draw_photo(axis, photo: Tensor) -> None:
    """A photograph (3, H, W), values 0 to 255."""
    axis.imshow(photo.permute(1, 2, 0).round().byte().numpy())


def beside_photos(photos: Tensor, names: Sequence[str], height: float, title: str):
    """A figure with a photograph (3, H, W) at the start of each row, and the axes (B, K) for the K maps beside them."""
    figure, axes = new_figure(7.2, height, len(photos), len(names) + 1, squeeze=False)
    for axis, photo in zip(axes[:, 0], photos):
        draw_photo(axis, photo)
    for axis, name in zip(axes[0, 1:], names):
        axis.set_title(name, fontsize=9)
    for axis in axes.flat:
        axis.set_axis_off()
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return figure, axes[:, 1:]


def photos_and_maps(photos: Tensor, maps: Tensor, names: Sequence[str], title: str):
    """One row per photograph: the photograph, then its maps. A map's brightness is comparable down its column.

    Args:
        photos: (B, 3, H, W), values 0 to 255.
        maps: (B, K, h, w), not negative.
        names: K titles of the maps.
        title: the finding.
    """
    figure, axes = beside_photos(photos, names, 1.25 * len(photos) + 0.5, title)
    for column, column_maps in zip(axes.T, maps.transpose(0, 1)):
        for axis, one_map in zip(column, column_maps):
            axis.imshow(one_map.numpy(), cmap="magma", vmin=0, vmax=column_maps.max())
    return figure


def gate_strips(gates: Sequence[Tensor], rows: Sequence[str], titles: Sequence[str]):
    """Heat maps of gates, one below the other: a row per picture, a column per channel.

    Args:
        gates: one (B, C) tensor per heat map, values 0 to 1.
        rows: B names. titles: one per heat map.
    """
    figure, axes = new_figure(7.2, 1.6 * len(gates) + 0.3, len(gates), squeeze=False)
    for axis, values, title in zip(axes[:, 0], gates, titles):
        image = axis.imshow(values.numpy(), vmin=0, vmax=1, cmap="cividis", aspect="auto")
        axis.set_yticks(range(len(rows)), rows)
        axis.set_title(title, loc="left")
        axis.spines[:].set_visible(False)
    axes[-1, 0].set_xlabel("channel")
    figure.colorbar(image, ax=axes, label="gate", fraction=0.03)
    return figure


def draw_accuracies(axis, accuracies: Mapping[str, Sequence[float]], baseline: str | None = None) -> None:
    """A row per name: each accuracy, from 0 to 1, as a dot, a bar at their mean, a dashed line at the baseline's."""
    for row, (name, runs) in enumerate(accuracies.items()):
        percent = [100 * accuracy for accuracy in runs]
        mean = sum(percent) / len(runs)
        colour = GREY if name == baseline else BLUE
        axis.scatter(percent, [row] * len(runs), s=60, color=colour, alpha=0.7, zorder=2)
        axis.vlines(mean, row - 0.25, row + 0.25, color=ORANGE, lw=3, zorder=3)
        if name == baseline:
            axis.axvline(mean, color=GREY, ls="--", lw=1, zorder=1)
    axis.set_yticks(range(len(accuracies)), accuracies)
    axis.set_ylim(len(accuracies) - 0.5, -0.5)
    axis.grid(axis="x", alpha=0.3)


def accuracy_dots(records: Mapping[str, Sequence], title: str):
    """Test accuracy of every run as a dot, and a bar at the mean of each network.

    Args:
        records: the TrainRecords of each network, by its name.
        title: the finding.
    """
    figure, axis = new_figure(7.2, 0.55 * len(records) + 1.1)
    draw_accuracies(
        axis, {f"{name} ({len(runs)})": [run.test_accuracy for run in runs] for name, runs in records.items()})
    axis.set_xlabel("test accuracy in % (dot: one run, bar: mean of the runs)")
    axis.set_title(title, loc="left")
    return figure


def learning_curves(records: Sequence, title: str):
    """Training and validation accuracy per epoch of one or more runs, and the epoch that was chosen."""
    figure, axis = new_figure(7.2, 3.2)
    for number, record in enumerate(records):
        epochs = range(1, len(record.epochs) + 1)
        training = [100 * epoch["train_accuracy"] for epoch in record.epochs]
        validation = [100 * epoch["val_accuracy"] for epoch in record.epochs]
        names = ("training (with dropout)", "validation", "chosen epoch") if number == 0 else (None,) * 3
        axis.plot(epochs, training, color=GREY, marker=".", label=names[0])
        axis.plot(epochs, validation, color=BLUE, marker=".", label=names[1])
        axis.scatter(record.best_epoch, validation[record.best_epoch - 1], s=90, facecolor="none", edgecolor=ORANGE,
                     lw=2, zorder=3, label=names[2])
    axis.set(xlabel="epoch", ylabel="accuracy in %")
    axis.set_title(title, loc="left")
    axis.legend(frameon=False)
    axis.grid(alpha=0.3)
    return figure


def intervals(values: Mapping[str, tuple[float, float]], title: str, label: str):
    """A mean and the half width of its interval per row.

    Args:
        values: (mean, half width) by name.
        title: the finding. label: of the axis, with the unit.
    """
    figure, axis = new_figure(7.2, 0.33 * len(values) + 1.1)
    means, half_widths = zip(*values.values())
    axis.errorbar(means, range(len(values)), xerr=half_widths, fmt="o", color=BLUE, capsize=3)
    axis.set_yticks(range(len(values)), values)
    axis.set(xlabel=label, ylim=(len(values) - 0.5, -0.5))
    axis.set_title(title, loc="left")
    axis.grid(axis="x", alpha=0.3)
    return figure


def bars(values: Mapping[str, float], title: str, label: str):
    """A horizontal bar with its number per row."""
    figure, axis = new_figure(7.2, 0.3 * len(values) + 1.0)
    drawn = axis.barh(range(len(values)), values.values(), color=BLUE)
    axis.bar_label(drawn, fmt="{:,.0f}", padding=3)
    axis.set_yticks(range(len(values)), values)
    axis.invert_yaxis()
    axis.margins(x=0.15)
    axis.set(xlabel=label, xticks=[])
    axis.set_title(title, loc="left")
    return figure


def histogram(values: Tensor, title: str, label: str, mark: tuple[float, str]):
    """How often each value occurs, and one marked place with its name."""
    figure, axis = new_figure(7.2, 2.8)
    axis.hist(values.numpy(), bins=60, color=BLUE, alpha=0.8)
    axis.axvline(mark[0], color=ORANGE, lw=2)
    axis.annotate(mark[1], (mark[0], axis.get_ylim()[1]), xytext=(6, -4), textcoords="offset points", va="top",
                  color=ORANGE)
    axis.set(xlabel=label, yticks=[])
    axis.spines["left"].set_visible(False)
    axis.set_title(title, loc="left")
    return figure


def image_row(images: Tensor, names: Sequence[str], below: Tensor | None = None, *, title: str):
    """Images side by side, each with a map of its own below it.

    Args:
        images: (B, 3, H, W), values 0 to 255.
        names: B titles. title: the finding.
        below: (B, h, w) maps or masks, drawn from black at 0 to white at 1.
    """
    rows = 1 if below is None else 2
    figure, axes = new_figure(7.2, rows * 7.2 / len(images) + 0.7, rows, len(images), squeeze=False)
    for axis, image, name in zip(axes[0], images, names):
        draw_photo(axis, image)
        axis.set_title(name, fontsize=9)
    if below is not None:
        for axis, one_map in zip(axes[1], below):
            axis.imshow(one_map.numpy(), cmap="gray", vmin=0, vmax=1)
    for axis in axes.flat:
        axis.set_axis_off()
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return figure


def gated(image: Tensor, gate: Tensor, product: Tensor, title: str):
    """An image (3, H, W), its gate (H, W) and their product, as one equation."""
    figure, axes = new_figure(7.2, 7.2 / 3 * image.shape[1] / image.shape[2] + 0.4, 1, 3)
    draw_photo(axes[0], image)
    axes[1].imshow(gate.numpy(), cmap="gray", vmin=0, vmax=1)
    draw_photo(axes[2], product)
    for axis, sign in zip(axes, ("", "×", "=")):
        axis.set_axis_off()
        axis.text(-0.04, 0.5, sign, transform=axis.transAxes, ha="center", va="center", fontsize=16)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return figure
