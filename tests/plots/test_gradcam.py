"""Figures of the Grad-CAM chapter: each draws what it was given."""


import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from plots.figure_contents import png

from attncourse.plots.gradcam import gradcam_diagram, lines, overlays, replacement_curves, shares


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]


def test_the_diagram_is_the_same_every_time_and_names_each_step():
    assert png(gradcam_diagram()) == png(gradcam_diagram())
    assert gradcam_diagram().get_size_inches()[0] <= 7.5
    words = " ".join(texts(gradcam_diagram()))
    for part in (r"$A$: $K \times h \times w$", r"\partial y^c / \partial A", r"\alpha_k", "ReLU", "stretch", "$y^c$"):
        assert part in words


@pytest.fixture
def photo():
    return torch.randint(256, (3, 16, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_overlays_have_a_row_per_photograph_and_a_name_per_map(photo):
    maps = torch.rand(2, 3, 4, 3, generator=torch.Generator().manual_seed(0))
    assert len(overlays([photo, photo], maps, [list("abc"), list("def")], "finding").axes) == 6
    figure = overlays([photo, photo], maps, [list("abc"), list("def")], "finding", width=7, beside=True)
    assert figure.get_size_inches()[0] == 7
    assert len(figure.axes) == 8
    assert {*"abcdef", "finding"} <= set(texts(figure))
    np.testing.assert_array_equal(figure.axes[4].images[0].get_array(), photo.permute(1, 2, 0))
    assert [axis.images[0].get_array().shape for axis in figure.axes] == [(16, 12, 3)] * 8  # maps may be of any size
    large = overlays([photo.repeat(1, 15, 10)], maps[:1, :1], ["a"], "finding").axes[0]
    assert large.images[0].get_array().shape == (112, 112, 3)


def test_an_overlay_is_the_grey_photograph_where_the_map_is_0_and_coloured_where_it_is_high(photo):
    one_map = torch.zeros(2, 2)
    one_map[:, 1] = 1
    figure = overlays([photo], [[one_map]], [["map"]], "finding")
    picture = np.asarray(figure.axes[0].images[0].get_array())
    grey = photo.float().mean(0).numpy() / 255
    np.testing.assert_allclose(picture[:, 0], grey[:, [0, 0, 0]], atol=1e-6)
    assert (picture[:, -1].max(1) - picture[:, -1].min(1)).min() > 0.2
    assert 0 <= picture.min() <= picture.max() <= 1


def test_the_shares_are_written_into_their_positions(photo):
    parts = torch.tensor([[1.26, -0.5], [0.0, -0.01]])
    assert len(shares(parts, "finding").axes) == 2  # the colour bar has its own
    figure = shares(parts, "finding", photo)
    image = figure.axes[1].images[0]
    np.testing.assert_allclose(image.get_array(), parts)
    limit = parts.max().item()
    assert image.get_clim() == (-limit, limit)  # 0 is white
    written = {tuple(map(round, text.get_position())): text.get_text() for text in figure.axes[1].texts}
    assert written == {(0, 0): "1.3", (1, 0): "-0.5", (0, 1): "0.0", (1, 1): "0.0"}
    assert "share of the logit" in texts(figure)
    assert {"1.26", "-0.50", "0.00", "-0.01"} <= set(texts(shares(parts, "finding", digits=2)))


def test_lines():
    figure = lines({"one": [1.0, 0.5], "other": [1.0, 1.0]}, ["first", "second"], "correlation", "finding")
    (axis,) = figure.axes
    np.testing.assert_array_equal(axis.lines[0].get_ydata(), [1, 0.5])
    assert axis.lines[2].get_linestyle() == "--"
    assert [label.get_text() for label in axis.get_xticklabels()] == ["first", "second"]
    assert {"one", "other", "correlation", "finding"} <= set(texts(figure))


def test_replacement_curves_run_from_0_to_100_percent():
    curve = torch.tensor([0.8, 0.4, 0.1])
    panels = {"deletion": {"map": curve, "random": curve / 2}, "insertion": {"map": curve}}
    figure = replacement_curves(panels, "finding")
    left, right = figure.axes
    np.testing.assert_allclose(left.lines[0].get_xdata(), [0, 50, 100])
    np.testing.assert_allclose(left.lines[1].get_ydata(), curve / 2)
    assert (left.get_title(), right.get_title()) == ("deletion", "insertion")
    assert {"map", "random", "% of the pixels", "probability of the class", "finding"} <= set(texts(figure))
