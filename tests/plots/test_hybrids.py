"""Figures of the hybrids chapter draw what they were given."""

import pytest
import torch
from plots.figure_contents import drawn, texts

from attncourse.plots.hybrids import block_costs, hybrid_diagram, map_sizes, order_maps


def test_the_diagram_names_both_gates_and_three_maps():
    words = texts(hybrid_diagram())
    assert {"$x$", "$x'$", "$y$"} <= set(words)
    assert words.count("×") == 2
    for part in ("ECA", "SAM", "per channel", "per position"):
        assert part in " ".join(words)


def test_order_maps_scale_gates_from_0_to_1_and_other_maps_by_column():
    rows = {"one": [torch.rand(4, 5), torch.rand(4, 5) * 3], "two": [torch.rand(4, 5), torch.rand(4, 5) * 9]}
    figure = order_maps(rows, ["gate", "output"], [True, False], "finding")
    assert len(figure.axes) == 4
    for axis, (name, column) in zip(figure.axes, [("one", 0), ("one", 1), ("two", 0), ("two", 1)]):
        (image,) = axis.images
        assert torch.equal(drawn(axis), rows[name][column])
        most = max(maps[1].max().item() for maps in rows.values())
        assert image.get_clim() == pytest.approx((0, most if column else 1))
    assert "two" in texts(figure)


def test_map_sizes_are_drawn_on_a_logarithmic_axis():
    figure = map_sizes({"with": torch.tensor([0.25, 0.25]), "without": torch.tensor([0.25, 0.06])}, "finding")
    (axis,) = figure.axes
    assert axis.get_yscale() == "log"
    assert [line.get_ydata() for line in axis.lines] == [pytest.approx([0.25, 0.25]), pytest.approx([0.25, 0.06])]
    figure.draw_without_rendering()  # or the ticks have no labels yet
    assert {"without", "1/256"} <= set(texts(figure))


def test_block_costs_end_in_their_numbers():
    figure = block_costs([64, 128], {"CBAM": [680, 2284], "ECA + SAM": [103, 105]}, "finding")
    assert [list(line.get_ydata()) for line in figure.axes[0].lines] == [[680, 2284], [103, 105]]
    assert {"CBAM: 2,284", "ECA + SAM: 105"} <= set(texts(figure))
