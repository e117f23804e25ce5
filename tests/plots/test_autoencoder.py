"""Figures of the autoencoder chapter: each draws what it was given."""

import torch
from plots.figure_contents import drawn, texts

from attncourse.plots.autoencoder import autoencoder_diagram, coverage_maps, tiles


def test_the_diagram_names_its_parts():
    words = texts(autoencoder_diagram())
    assert {"code", "gate", "halve", "double", "double, σ", "48"} <= set(words)
    assert [words.count(width) for width in ("12", "24", "48", "$C$")] == [2, 2, 1, 3]


def test_tiles():
    maps = torch.rand(2, 3, 5, 4)
    figure = tiles(maps, ["a", "b"], ["x", "y", "z"], title="finding", limits=(0, 1), mark=(1, 2, 3))
    assert len(figure.axes) == 6
    for axis, one in zip(figure.axes, maps.flatten(0, 1)):
        assert torch.equal(drawn(axis), one)
        assert axis.images[0].get_clim() == (0, 1)
    marked = [axis.lines[0].get_xydata().tolist() if axis.lines else None for axis in figure.axes]
    assert marked == [None, [[3, 2]], None, None, [[3, 2]], None]
    assert {"finding", "a", "b", "x", "y", "z"} <= set(texts(figure))


def test_tiles_have_their_own_limits_where_none_are_given():
    maps = torch.stack([torch.arange(4.0), torch.arange(4.0) * 10]).view(1, 2, 2, 2)
    figure = tiles(maps, ["a"], ["x", "y"], title="finding")
    assert [axis.images[0].get_clim() for axis in figure.axes] == [(0, 3), (0, 30)]


def test_coverage_maps_say_what_is_missed():
    figure = coverage_maps([torch.tensor([[0, 1], [2, 9]]), torch.ones(2, 2, dtype=torch.int64)], ["a", "b"], "finding")
    assert drawn(figure.axes[0]).tolist() == [[0, 1], [2, 4]]
    assert {"25% never reached", "all reached", "a", "b"} <= set(texts(figure))
