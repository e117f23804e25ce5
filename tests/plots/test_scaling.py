"""Figures of the chapter on scaling: each draws what it was given."""

import pytest
from plots.figure_contents import png, texts

from attncourse.plots.scaling import (
    at_once,
    folded,
    overlap,
    ring,
    roofline,
    schedules,
    shares,
    speed_ups,
    three_ways,
    time_of_size,
)


@pytest.mark.parametrize("draw", [three_ways, folded, ring])
def test_diagrams_are_drawn_alike_each_time_and_fit_the_column(draw):
    assert png(draw()) == png(draw())
    assert draw().get_size_inches()[0] <= 7.5


def test_the_three_ways_are_named():
    said = texts(three_ways())
    assert {"run 0", "run 1", "run 2", "copy 0", "copy 1", "copy 2", "seed 2"} <= set(said)


def test_folded_has_each_seeds_weights_twice():
    assert sorted(text for text in texts(folded()) if text.startswith("W")) == ["W0", "W0", "W1", "W1", "W2", "W2"]


def test_each_process_of_the_ring_sends_a_piece_of_its_own():
    (axis,) = ring().axes
    strong = [patch for patch in axis.patches if patch.get_alpha() == 1.0]
    assert len(strong) == 4
    assert len({patch.get_facecolor()[:3] for patch in strong}) == 4


def test_time_over_size_with_its_two_limits():
    figure = time_of_size([10, 100, 1000], [1e-6, 2e-6, 5e-6], launch=1e-6, bandwidth=1e9, title="finding")
    (axis,) = figure.axes
    lines = {line.get_label(): line for line in axis.lines}
    assert list(lines["measured"].get_ydata()) == pytest.approx([1, 2, 5])  # microseconds
    assert set(lines["a start"].get_ydata()) == {1.0}
    assert list(lines["bytes / bandwidth of a large copy"].get_ydata()) == pytest.approx([0.01, 0.1, 1])
    assert axis.get_xscale() == axis.get_yscale() == "log"
    assert "finding" in texts(figure)


def test_the_roof_has_its_corner_where_the_limits_meet():
    figure = roofline(100e9, 10e9, {"slow": (0.5, 2e9), "quick": (100, 90e9)}, "finding")
    (axis,) = figure.axes
    roof, ridge, slow, quick = axis.lines
    assert roof.get_xdata()[1] == ridge.get_xdata()[0] == 10
    assert list(roof.get_ydata()) == pytest.approx([0.25 * 10, 100, 100])
    assert roof.get_xdata()[2] > 100
    assert [point.get_xydata()[0].tolist() for point in (slow, quick)] == [[0.5, 2], [100, 90]]
    assert {"slow", "quick", "finding"} <= set(texts(figure))


def test_shares_fill_each_bar():
    figure = shares({"work": {"a": 3, "b": 1}, "rest": {"a": 1, "b": 99}}, "finding")
    (axis,) = figure.axes
    widths = [patch.get_width() for patch in axis.patches]
    assert widths == pytest.approx([75, 25, 1, 99])
    assert [patch.get_x() for patch in axis.patches] == pytest.approx([0, 75, 0, 1])
    assert {"75 %", "25 %", "99 %"} <= set(texts(figure))
    assert "1 %" not in texts(figure)  # no room for it
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["a", "b"]


def test_ratios_stand_over_the_number_of_seeds_in_each_panel():
    figure = at_once({"one": {"a": {1: [1.0], 4: [0.4, 0.9, 0.5]}}, "two": {"a": {1: [2.0]}, "b": {8: [3.0]}}},
                     "finding")
    first, second = figure.axes
    assert first.lines[0].get_xdata() == pytest.approx([1, 4], rel=0.1)
    assert first.lines[0].get_ydata().tolist() == [1.0, 0.5]
    assert second.lines[1].get_ydata().tolist() == [3.0]
    bars = [segment[:, 1].tolist() for segment in first.collections[0].get_segments()]
    assert bars == [[1.0, 1.0], [0.4, 0.9]]
    assert [label.get_text() for label in first.get_xticklabels()] == ["1", "4"]
    assert first.get_ylim() == second.get_ylim()
    assert {"one", "two", "finding", "slower", "faster"} <= set(texts(figure))


def test_a_plan_is_drawn_run_by_run():
    figure = schedules({"dealt": [[("x", 1), ("y", 2.5)], [("z", 1)]], "taken": [[("y", 2.5)], [("x", 1), ("z", 1)]]},
                       "finding", "hours")
    first, second = figure.axes
    assert [(patch.get_x(), patch.get_width()) for patch in first.patches] == [(0, 1), (1, 2.5), (0, 1)]
    assert [(patch.get_x(), patch.get_width()) for patch in second.patches] == [(0, 2.5), (0, 1), (1, 1)]
    assert {"dealt: done after 3.5", "taken: done after 2.5", "hours"} <= set(texts(figure))
    by_run = {text.get_text(): patch.get_facecolor() for text, patch in zip(first.texts, first.patches)}
    assert by_run == {text.get_text(): patch.get_facecolor() for text, patch in zip(second.texts, second.patches)}


def test_messages_wait_for_the_end_or_go_when_their_gradient_is_there():
    figure = overlap([("last", 1), ("first", 2)], 1.5, "finding")
    after, during = ([(patch.get_x(), patch.get_width()) for patch in axis.patches] for axis in figure.axes)
    assert after == [(0, 1), (3, 1.5), (1, 2), (4.5, 1.5)]
    assert during == [(0, 1), (1, 1.5), (1, 2), (3, 1.5)]
    ends = [axis.lines[0].get_xdata()[0] for axis in figure.axes]
    assert ends == [6.0, 4.5]


def test_speed_ups_beside_the_ideal_line():
    figure = speed_ups([1, 2, 4], {"some": [1, 1.5, 2]}, "finding")
    (axis,) = figure.axes
    assert axis.lines[0].get_xydata().tolist() == [[1, 1], [2, 2], [4, 4]]
    assert axis.lines[1].get_xydata().tolist() == [[1, 1], [2, 1.5], [4, 2]]
    assert {"ideal", "some", "finding"} <= set(texts(figure))
