"""Figures: each draws what it was given, and none is shown without words."""

import base64
import io
from functools import partial
from types import SimpleNamespace

import IPython.display
import pytest
import torch
from block_contract import images
from PIL import Image
from plots.figure_contents import drawn, png, texts

from attncourse import plots
from attncourse.eca import eca_kernel_size
from attncourse.plots.autoencoder import autoencoder_diagram
from attncourse.plots.bam import bam_diagram, bam_places
from attncourse.plots.cam_sam import cam_sam_diagram
from attncourse.plots.cbam import cbam_diagram, three_arrangements
from attncourse.plots.eca import eca_diagram, kernel_sizes
from attncourse.plots.hybrids import hybrid_diagram
from attncourse.plots.se import jacobian, se_diagram, se_placements

RUN = SimpleNamespace(test_accuracy=0.74, best_epoch=2, epochs=[
    {"train_accuracy": 0.5, "val_accuracy": 0.6}, {"train_accuracy": 0.6, "val_accuracy": 0.7}])


@pytest.fixture
def shown(monkeypatch) -> list:
    outputs = []
    monkeypatch.setattr(IPython.display, "display", lambda data, **options: outputs.append((data, options)))
    return outputs


def test_show_stores_the_picture_with_its_words(shown):
    plots.show(plots.bars({"a": 1.0}, "title", "label"), "One bar.")
    ((data, options),) = shown
    assert data["text/plain"] == "Figure: One bar."
    assert options["metadata"]["image/png"]["alt"] == "One bar."
    assert Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).width > 500


def test_the_same_figure_gives_the_same_bytes(shown):
    for _ in range(2):
        plots.show(plots.bars({"a": 1.0}, "title", "label"), "One bar.")
    assert shown[0] == shown[1]


@pytest.mark.parametrize("alt", ["", "  "])
def test_no_figure_without_words(alt, shown):
    with pytest.raises(ValueError, match="say in words what the figure shows"):
        plots.show(plots.bars({"a": 1.0}, "title", "label"), alt)
    assert shown == []


def test_photos_and_maps():
    photos, maps = torch.rand(2, 3, 8, 8) * 255, torch.rand(2, 4, 5, 5)
    figure = plots.photos_and_maps(photos, maps, list("wxyz"), "finding")
    assert len(figure.axes) == 2 * 5
    assert torch.equal(drawn(figure.axes[0]), photos[0].permute(1, 2, 0).round().byte())
    assert torch.equal(drawn(figure.axes[9]), maps[1, 3])
    assert figure.axes[9].images[0].get_clim() == (0, maps[:, 3].max().item())


def test_gate_strips():
    first, last = torch.rand(3, 6), torch.rand(3, 9)
    figure = plots.gate_strips([first, last], ["a", "b", "c"], ["first", "last"])
    assert torch.equal(drawn(figure.axes[1]), last)
    assert figure.axes[0].images[0].get_clim() == (0, 1)


def test_jacobian_has_a_symmetric_scale():
    low, high = jacobian(images(6, 6), "finding").axes[0].images[0].get_clim()
    assert low == -high < 0


def test_image_row_and_gated():
    pictures, masks = torch.rand(4, 3, 8, 8) * 255, torch.rand(4, 8, 8) > 0.5
    figure = plots.image_row(pictures, list("abcd"), masks, title="finding")
    assert torch.equal(drawn(figure.axes[7]), masks[3])
    figure = plots.gated(pictures[0], masks[0].float(), pictures[0] * masks[0], "finding")
    assert [text for text in texts(figure) if text in "×="] != []
    assert len(figure.axes) == 3


def test_learning_curves_mark_the_chosen_epoch():
    axis = plots.learning_curves([RUN, RUN], "finding").axes[0]
    assert [list(line.get_ydata()) for line in axis.lines[:2]] == [[50, 60], [60, 70]]
    assert axis.collections[0].get_offsets().tolist() == [[2, 70]]
    assert len(axis.get_legend().get_texts()) == 3


def test_accuracy_dots_intervals_bars_and_histogram():
    axis = plots.accuracy_dots({"cnn": [RUN, RUN], "cnn+se": [RUN]}, "finding").axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["cnn (2)", "cnn+se (1)"]
    axis = plots.intervals({"a": (1.0, 0.5), "b": (2.0, 0.1)}, "finding", "points").axes[0]
    assert axis.lines[0].get_xdata().tolist() == [1, 2]
    assert "3,000" in texts(plots.bars({"a": 3000}, "finding", "parameters"))
    figure = plots.histogram(images(500), "finding", "points", (0.8, "marked"))
    assert "marked" in texts(figure)


@pytest.mark.parametrize("draw", [
    autoencoder_diagram, bam_diagram, bam_places, cam_sam_diagram, cbam_diagram, three_arrangements, eca_diagram,
    partial(kernel_sizes, eca_kernel_size, {}, "finding"), hybrid_diagram, se_diagram, se_placements,
])
def test_a_diagram_is_the_same_every_time_fits_the_column_and_can_be_shown(draw, shown):
    figure = draw()
    assert png(figure) == png(draw())
    assert figure.get_size_inches()[0] <= 7.5
    plots.show(figure, "words")
    assert shown[0][0]["text/plain"] == "Figure: words"


def test_diagrams_name_their_parts():
    assert {"1 squeeze", "2 excite", "3 scale"} <= set(texts(se_diagram()))
    words = texts(se_placements())
    assert {"standard", "pre", "post", "identity"} <= set(words)
    assert words.count("SE") == 4
