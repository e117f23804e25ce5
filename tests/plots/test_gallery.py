"""Figures of the gallery: each draws what it was given, with its scale, in words that a telephone shows."""

import numpy as np
import pytest
import torch
from plots.figure_contents import drawn, texts

from attncourse.plots.gallery import WORDS, gate_stripes, poster, spotlight


@pytest.fixture
def photo():
    return torch.randint(256, (3, 16, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def tiles_of(figure) -> list:
    return [axis for axis in figure.axes if axis.get_gid() != "scale"]


def test_a_poster_has_two_tiles_in_a_row_each_with_its_name_and_scale(photo):
    one_map = torch.tensor([[0.25, 0.5], [0.75, 0.5]])
    tiles = [("photo", photo), ("own", one_map), ("given", one_map, 0, 1), ("narrow", 0.5 + one_map / 100)]
    figure = poster(tiles, "finding")
    axes = [axis for axis in tiles_of(figure) if axis.images]
    assert [axis.get_title(loc="left") for axis in axes] == ["photo", "own", "given", "narrow"]
    figure.draw_without_rendering()
    rows = [round(axis.get_position().y0, 2) for axis in axes]
    assert rows[0] == pytest.approx(rows[1], abs=0.02)
    assert rows[2] < rows[0] - 0.3
    np.testing.assert_array_equal(drawn(axes[0]), photo.permute(1, 2, 0))
    torch.testing.assert_close(drawn(axes[1]), one_map)
    assert [axis.images[0].get_clim() for axis in axes[1:3]] == [(0.25, 0.75), (0, 1)]
    assert {"finding", "0.25", "0.75", "0.00", "1.00", "0.5025", "0.5075"} <= set(texts(figure))


def test_a_poster_fits_the_column_and_its_words_a_telephone(photo):
    figure = poster([("one", photo), ("two", torch.rand(4, 4)), ("three", photo)], "finding")
    width = figure.get_size_inches()[0]
    assert width <= 7.5
    written = [text for text in figure.findobj(lambda artist: hasattr(artist, "get_fontsize"))
               if text.get_text().strip() and text.get_visible()]
    assert min(text.get_fontsize() for text in written) >= WORDS - 2
    assert (WORDS - 2) / 72 / width * 350 > 9  # pixels, where the figure is 350 pixels wide
    assert len(tiles_of(figure)) == 4  # the last one is empty
    assert not tiles_of(figure)[3].axison


def test_a_spotlight_leaves_the_brightest_place_as_it_is_and_a_seventh_elsewhere(photo):
    one_map = torch.zeros(4, 3)
    one_map[0, 0] = 1
    lit = spotlight(photo, one_map)
    assert lit.shape == photo.shape
    torch.testing.assert_close(lit[:, 0, 0], photo[:, 0, 0].float())
    torch.testing.assert_close(lit[:, -1], 0.14 * photo[:, -1])


def test_stripes_have_a_row_per_photograph_and_one_scale():
    gates = [torch.rand(3, 8), torch.rand(3, 16)]
    figure = gate_stripes(gates, ["cat", "cup", "dog"], ["place 1", "place 2"], "finding")
    blocks = figure.axes[:2]
    for axis, gate in zip(blocks, gates):
        torch.testing.assert_close(drawn(axis), gate)
        assert axis.images[0].get_clim() == (0, 1)
        assert [label.get_text() for label in axis.get_yticklabels()] == ["cat", "cup", "dog"]
    assert {"place 1", "place 2", "gate", "finding"} <= set(texts(figure))
