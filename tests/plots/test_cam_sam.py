"""The figures of the CAM and SAM chapter draw what they were given."""

import torch
from plots.figure_contents import drawn, texts

from attncourse.plots.cam_sam import (
    cam_sam_diagram,
    inside_by_place,
    kernels,
    mean_and_maximum,
    photo_and_maps,
    rank_scatter,
)


def test_the_diagram_names_both_ways():
    words = texts(cam_sam_diagram())
    assert {f"{pool} over {what}" for pool in ("mean", "maximum") for what in ("positions", "channels")} <= set(words)
    assert {"one MLP\nfor both", "7 × 7 conv,\nBatchNorm"} <= set(words)


def test_mean_and_maximum_are_the_maps_own():
    maps = torch.tensor([[[0.0, 1.0], [0.0, 0.0]], [[0.25, 0.25], [0.5, 0.0]]])
    figure = mean_and_maximum(maps, ["edge", "texture"], "finding")
    assert torch.equal(drawn(figure.axes[1]), maps[1])
    assert [bar.get_width() for bar in figure.axes[2].patches] == [0.25, 1.0]
    assert [bar.get_width() for bar in figure.axes[3].patches] == [0.25, 0.5]
    assert all(axis.images[0].get_clim() == (0, 1) for axis in figure.axes[:2])


def test_rank_scatter_marks_channels():
    means, maxima = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([3.0, 1.0, 2.0])
    figure = rank_scatter(means, maxima, {0: "an edge", 2: "a texture"}, "finding")
    assert {"an edge", "a texture"} <= set(texts(figure))
    points = [tuple(each) for each in figure.axes[0].collections[0].get_offsets().round(decimals=2).tolist()]
    assert points == [(0.1, 3.0), (0.2, 1.0), (0.3, 2.0)]
    assert figure.axes[0].collections[2].get_offsets().round(decimals=2).tolist() == [[0.3, 2.0]]


def test_photo_and_maps_share_one_scale():
    maps = torch.tensor([[[-1.0, 0], [0, 1]], [[0, 0], [2, 3]]])
    figure = photo_and_maps(torch.zeros(3, 2, 2), maps, ["a", "b"], "finding")
    assert [axis.images[0].get_clim() for axis in figure.axes[1:3]] == [(-1, 3)] * 2
    assert [axis.get_title() for axis in figure.axes[1:3]] == ["a", "b"]


def test_kernels_share_a_symmetric_scale():
    weights = torch.randn(2, 7, 7, generator=torch.Generator().manual_seed(0))
    figure = kernels(weights, ["mean", "maximum"], "finding")
    limits = [axis.images[0].get_clim() for axis in figure.axes[:2]]
    assert limits[0] == limits[1]
    assert -limits[0][0] == limits[0][1] == weights.abs().max().item()


def test_inside_by_place_draws_every_run_and_names_each_variant_once():
    figure = inside_by_place({"7 × 7": [[0.1, 0.2], [0.3, 0.1]], "3 × 3": [[0.2, 0.2]]}, 0.109, "finding")
    axis = figure.axes[0]
    assert [list(line.get_ydata()) for line in axis.lines[:2]] == [[10, 20], [30, 10]]
    assert axis.lines[3].get_ydata()[0] == 10.9
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["7 × 7", "3 × 3", "a flat map"]
