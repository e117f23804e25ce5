"""The pictures of the ECA chapter show the numbers that they are given."""

import numpy as np
import torch

from attncourse.eca import eca_kernel_size
from attncourse.plots.eca import (
    before_and_after,
    eca_diagram,
    kernel_sizes,
    order_test,
    parameters_of_guesses,
    reach,
)


def words(figure):
    return [text.get_text() for axis in figure.axes for text in axis.texts]


def test_the_diagram_shows_the_same_three_weights_twice_and_a_zero_at_each_end():
    texts = words(eca_diagram())
    for weight in ("$w_0$", "$w_1$", "$w_2$"):
        assert texts.count(weight) == 2
    assert texts.count("0") == 2


def test_kernel_sizes_draws_the_rule_the_ties_and_the_marks():
    figure = kernel_sizes(eca_kernel_size, {"stage 1": 256, "stage 4": 2048}, "a title")
    (axis,) = figure.axes
    dashed, steps = axis.lines
    channels, ks = steps.get_data()
    assert [eca_kernel_size(int(c)) for c in channels] == list(ks)
    np.testing.assert_allclose(dashed.get_ydata(), (np.log2(channels) + 1) / 2)
    ties, *marks = [points.get_offsets().tolist() for points in axis.collections]
    assert ties == [[8, 2], [128, 4], [2048, 6]]
    assert marks == [[[256, 5]], [[2048, 7]]]
    assert {"stage 1", "stage 4"} <= set(words(figure))
    assert axis.get_title(loc="left") == "a title"


def test_reach_scales_each_matrix_by_its_largest_entry():
    small, large = torch.tensor([[0.1, 0.0], [0.0, -0.2]]), torch.eye(3) * 5
    figure = reach([small, large], ["one", "two"], "a title")
    drawn = [axis.images[0].get_array() for axis in figure.axes]
    np.testing.assert_allclose(drawn[0], [[0.5, 0], [0, -1]], atol=1e-6)
    np.testing.assert_allclose(drawn[1], np.eye(3))
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["one", "two"]
    assert "red: the gate rises" in figure.get_supxlabel()
    assert "own scale" in figure.get_supxlabel()


def test_before_and_after_puts_before_to_the_right_and_after_up():
    before, after = torch.tensor([0.2, 0.8]), torch.tensor([0.3, 0.5])
    figure = before_and_after({"SE": (before, before), "ECA": (before, after)}, "a title")
    points = [axis.collections[0].get_offsets() for axis in figure.axes]
    np.testing.assert_allclose(points[0], [[0.2, 0.2], [0.8, 0.8]], rtol=1e-6)
    np.testing.assert_allclose(points[1], [[0.2, 0.3], [0.8, 0.5]], rtol=1e-6)
    assert figure.axes[0].get_xlim() == figure.axes[1].get_ylim()  # the same scale, so that they compare


def test_order_test_marks_the_true_score_in_each_row():
    figure = order_test([0.5, 0.25], [torch.linspace(0, 1, 100)] * 2, ["one", "two"], "a title", "score")
    assert [axis.lines[0].get_xdata()[0] for axis in figure.axes] == [0.5, 0.25]
    assert [sum(bar.get_height() for bar in axis.patches) for axis in figure.axes] == [100, 100]
    assert figure.axes[1].get_xlabel() == "score"


def test_parameters_of_guesses_draws_a_bar_each_and_the_published_number():
    figure = parameters_of_guesses({"formula": 86, "by hand": 80}, 80, "a title")
    (axis,) = figure.axes
    assert [bar.get_width() for bar in axis.patches] == [86, 80]
    assert axis.patches[0].get_facecolor() != axis.patches[1].get_facecolor()
    assert axis.lines[0].get_xdata()[0] == 80
