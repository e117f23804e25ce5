"""Figures of the audit: each draws what it was given."""

import numpy as np
import pytest
from plots.figure_contents import png, texts

from attncourse.plots.report_table import chain, class_regions, pair_matrix, three_columns, two_losses, two_sizes


def test_the_chain_runs_from_text_to_claim_with_a_question_between_each_two():
    assert png(chain()) == png(chain())
    (axis,) = chain().axes
    boxes = [text.get_text() for text in axis.texts if text.get_text().isalpha()]
    assert boxes == ["text", "code", "runs", "table", "claim"]
    questions = [text.get_text() for text in axis.texts if text.get_text().endswith("?")]
    assert len(questions) == 4
    assert chain().get_size_inches()[0] <= 7.5


NAMES = ["a", "b", "c"]
PAIRS = {(1, 0): 0.04, (2, 0): -2.54, (2, 1): 6.0}
MEANINGS = ["nothing", "something", "much"]


def test_each_pair_is_a_box_with_its_difference_in_the_colour_of_its_verdict():
    figure = pair_matrix(NAMES, PAIRS, {(1, 0): 0, (2, 0): 1, (2, 1): 2}, MEANINGS, "finding")
    (axis,) = figure.axes
    numbers = {text.get_position(): text.get_text() for text in axis.texts}
    assert numbers == {(0, 1): "+0.0", (0, 2): "−2.5", (1, 2): "+6.0"}
    legend = [patch.get_facecolor() for patch in axis.get_legend().get_patches()]
    assert [patch.get_facecolor() for patch in axis.patches] == legend
    assert len(set(legend)) == 3
    assert {"finding", *MEANINGS} <= set(texts(figure))
    assert [label.get_text() for label in axis.get_xticklabels()] == ["a", "b"]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["b", "c"]
    assert axis.yaxis_inverted()  # the first row is above


def test_two_losses_are_drawn_with_their_pulls_and_the_floor():
    margins = [-1.0, 0.0, 2.0]
    losses, pulls = {"one": [3.0, 2.0, 0.0], "two": [2.0, 1.5, 1.4]}, {"one": [1.0, 0.9, 0.1], "two": [0.0, 0.1, 0.2]}
    figure = two_losses(margins, losses, pulls, 1.4, "finding")
    left, right = figure.axes
    for axis, curves in ((left, losses), (right, pulls)):
        for line, values in zip(axis.lines, curves.values()):
            np.testing.assert_array_equal(line.get_xdata(), margins)
            np.testing.assert_array_equal(line.get_ydata(), values)
        assert axis.lines[0].get_linestyle() != axis.lines[1].get_linestyle()
    assert left.lines[2].get_ydata() == [1.4, 1.4]
    assert {"floor 1.40", "finding", "one", "two"} <= set(texts(figure))


def test_a_class_without_a_region_is_crossed_out():
    points, labels = np.array([[2.0, 0.0], [4.0, 0.0], [0.0, -3.0], [0.0, -3.0]]), np.array([0, 0, 1, 1])
    both, one = np.array([[0, 1], [0, 1]]), np.array([[0, 0], [0, 0]])
    figure = class_regions({"both": both, "one": one}, points, labels, 5, "finding")
    for axis, regions, marks in zip(figure.axes, (both, one), (["0", "1"], ["0", "×"])):
        np.testing.assert_array_equal(axis.images[0].get_array(), regions)
        assert axis.images[0].origin == "lower"
        assert axis.images[0].get_extent() == [-5, 5, -5, 5]
        assert [text.get_text() for text in axis.texts] == marks
        np.testing.assert_allclose([text.get_position() for text in axis.texts], [(4.26, 0), (0, -4.26)])
    assert {"finding", "both: 2 of 2 classes", "one: 1 of 2 classes"} <= set(texts(figure))


def test_three_columns_leave_out_what_a_column_lacks():
    columns = {"printed": {"a": (66.0, 1.5), "b": (64.0, 1.0)}, "coded": {"b": (65.0, None)}, "described": {}}
    (axis,) = three_columns(columns, "finding").axes
    marks = [container.lines[0].get_xdata().tolist() for container in axis.containers]
    assert marks == [[66, 64], [65], []]
    rows = [container.lines[0].get_ydata() for container in axis.containers]
    assert rows[0][1] < rows[1][0] < 1.5  # the same network, one mark below the other
    (bars,) = axis.containers[0].lines[2]
    assert [segment[:, 0].tolist() for segment in bars.get_segments()] == [[64.5, 67.5], [63, 65]]
    (bars,) = axis.containers[1].lines[2]
    assert np.ptp(bars.get_segments()[0][:, 0]) == 0  # without an interval there is no line
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "b"]


def test_the_order_of_the_networks_is_that_of_the_first_column_that_has_them():
    (axis,) = three_columns({"printed": {"b": (1.0, None)}, "coded": {"a": (2.0, None), "b": (3.0, None)}}, "x").axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["b", "a"]


@pytest.mark.parametrize(("pair", "on_the_right"), [((2.92, 3.51), "3.51"), ((2.96, 1.68), "2.96")])
def test_two_sizes_write_each_number_on_its_own_side(pair, on_the_right):
    figure = two_sizes({"printed": pair}, ("ours", "deeper"), "finding")
    (axis,) = figure.axes
    sides = {text.get_text(): text.get_ha() for text in axis.texts}
    assert sides == {f"{value:.2f}": "left" if f"{value:.2f}" == on_the_right else "right" for value in pair}
    np.testing.assert_array_equal(axis.lines[0].get_xdata(), pair)
    assert {"ours", "deeper", "printed", "finding"} <= set(texts(figure))
