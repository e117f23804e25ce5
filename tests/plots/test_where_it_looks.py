"""Figures of the chapter on where networks look: each draws what it was given."""


import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from plots.figure_contents import drawn, png, texts

from attncourse import localization
from attncourse.plots.where_it_looks import EXAMPLE, OBJECT, outline, outlined, scores_diagram, seeds_by_place


def segments(axis) -> set:
    return {tuple(map(tuple, line.get_xydata())) for line in axis.lines if len(line.get_xydata()) == 2}


def test_the_diagram_says_what_the_package_scores():
    maps, masks = torch.tensor([EXAMPLE]), torch.zeros(1, 6, 6, dtype=torch.bool)
    masks[0, [i for i, _ in OBJECT], [j for _, j in OBJECT]] = True
    words = " ".join(texts(scores_diagram()))
    assert f"{localization.energy_inside(maps, masks).item():.0%}" in words
    assert f": {localization.iou(maps, masks).item():.2f}" in words
    assert localization.pointing_game(maps, masks) == 1
    assert "in the frame: 1" in words
    assert png(scores_diagram()) == png(scores_diagram())


def test_an_outline_goes_along_the_edges_of_pixels():
    axis = Figure().subplots()
    outline(axis, torch.tensor([[True, False], [False, False]]), "black")
    assert segments(axis) == {((-0.5, -0.5), (0.5, -0.5)), ((-0.5, 0.5), (0.5, 0.5)), ((-0.5, -0.5), (-0.5, 0.5)),
                              ((0.5, -0.5), (0.5, 0.5))}


@pytest.mark.parametrize(("mask", "edges"), [
    ([[True, True]], 6), ([[True, False, True]], 8), ([[False, True], [True, False]], 8), ([[False]], 0)])
def test_an_outline_has_an_edge_wherever_the_mask_ends(mask, edges):
    axis = Figure().subplots()
    outline(axis, torch.tensor(mask), "black")
    assert len(segments(axis)) == len(axis.lines) == edges


def test_outlined_maps():
    images = torch.randint(256, (2, 3, 6, 6), generator=torch.Generator().manual_seed(0)).float()
    masks = torch.zeros(2, 6, 6, dtype=torch.bool)
    masks[:, 2:4, 2:4] = True
    maps = {"SAM": torch.rand(2, 6, 6), "BAM": torch.rand(2, 6, 6)}
    figure = outlined(images, masks, maps, "finding", [list("abc"), list("def")])
    assert len(figure.axes) == 2 * 3
    assert {"SAM", "BAM", "finding", *"abcdef"} <= set(texts(figure))
    assert [axis.get_xlabel() for axis in figure.axes] == list("abcdef")
    for row, b in ((0, 0), (3, 1)):
        np.testing.assert_array_equal(drawn(figure.axes[row]), images[b].permute(1, 2, 0))
        np.testing.assert_allclose(drawn(figure.axes[row + 1]), maps["SAM"][b])
        assert not figure.axes[row].lines
        assert len(figure.axes[row + 2].lines) == 8
    assert not {"a", "b"} & set(texts(outlined(images, masks, maps, "finding")))


def test_seeds_and_their_interval_at_each_place():
    values = {"SAM": torch.arange(12.0).view(3, 4), "BAM": torch.ones(3, 4)}
    figure = seeds_by_place(values, {"SAM": torch.tensor([1.0, 2, 3, 4]), "BAM": torch.zeros(4)},
                            {"flat": [5, 6, 7, 8], "hill": [9] * 4}, "finding", "energy in %")
    assert len(figure.axes) == 4
    for place, axis in enumerate(figure.axes):
        np.testing.assert_allclose(axis.collections[0].get_offsets(), [[place, 0], [place + 4, 0], [place + 8, 0]])
        mean, = axis.containers[0].lines[0].get_xdata()
        assert mean == place + 4
        bar = axis.containers[0].lines[2][0].get_segments()[0]
        np.testing.assert_allclose(bar, [[place + 4 - (place + 1), 0], [place + 4 + place + 1, 0]])
        assert [line.get_xdata()[0] for line in axis.lines if line.get_label() in ("flat", "hill")] == [place + 5, 9]
        assert axis.get_title(loc="left") == f"place {place + 1}"
    assert {"SAM", "BAM", "finding", "energy in %"} <= set(texts(figure))
    key, = figure.legends
    assert sorted(text.get_text() for text in key.get_texts()) == ["flat", "hill", "mean, 95 % interval", "one seed"]
