"""Figures of the CBAM chapter: each draws what it was given."""

import numpy as np
import torch
from plots.figure_contents import drawn, texts

from attncourse.plots import GREY
from attncourse.plots.cbam import (
    cbam_diagram,
    gated_channels,
    seeds_by_variant,
    three_arrangements,
    wanted_and_possible,
)


def test_the_diagram_names_both_gates_and_all_maps():
    words = " ".join(texts(cbam_diagram()))
    for part in ("$x$", r"$x' = M_c \circ x$", r"$y = M_s \circ x'$", "channel gate $M_c$", "spatial gate $M_s$"):
        assert part in words


def test_the_arrangements_differ_in_the_order_of_the_gates():
    for axis, title, order in zip(three_arrangements().axes, ("channel first", "spatial first", "parallel"),
                                  (["$M_c$", "$M_s$"], ["$M_s$", "$M_c$"], ["$M_c$", "$M_s$"])):
        gates = sorted((text for text in axis.texts if text.get_text().startswith("$M")),
                       key=lambda text: text.get_position()[0])
        assert axis.get_title() == title
        assert [text.get_text() for text in gates] == order


def test_gated_channels():
    maps = torch.rand(3, 4, 5)
    figure = gated_channels({"maps": maps, "half": maps / 2}, "finding", list("abc"))
    assert len(figure.axes) == 6
    assert torch.equal(drawn(figure.axes[4]), maps[1] / 2)
    assert {axis.images[0].get_clim() for axis in figure.axes} == {(0, maps.max().item())}  # comparable everywhere
    assert {"maps", "half", "a", "b", "c", "finding"} <= set(texts(figure))
    assert "a" not in texts(gated_channels({"maps": maps}, "finding"))


def test_wanted_and_possible():
    wanted, possible = torch.rand(4, 8, 8), torch.rand(4, 8, 8)
    figure = wanted_and_possible(wanted, possible, "finding")
    assert torch.equal(drawn(figure.axes[2]), wanted[2])
    assert torch.equal(drawn(figure.axes[7]), possible[3])
    assert figure.axes[0].images[0].get_clim() == (0, 1)


def test_every_seed_is_a_dot_and_every_mean_a_bar():
    figure = seeds_by_variant({"plain": [0.5, 0.7], "gated": [0.6, 0.65, 0.7]}, "plain", "finding")
    (axis,) = figure.axes
    dots = [np.asarray(each.get_offsets()) for each in axis.collections if each.get_offsets().shape[0] > 1]
    np.testing.assert_allclose(dots[0], [[50, 0], [70, 0]])
    np.testing.assert_allclose(dots[1], [[60, 1], [65, 1], [70, 1]])
    bars = [each.get_segments()[0] for each in axis.collections if hasattr(each, "get_segments")]
    np.testing.assert_allclose([bar[0][0] for bar in bars], [60, 65])
    (line,) = [line for line in axis.lines if line.get_color() == GREY and line.get_linestyle() == "--"]
    np.testing.assert_allclose(line.get_xdata(), [60, 60])
    assert [label.get_text() for label in axis.get_yticklabels()] == ["plain", "gated"]
