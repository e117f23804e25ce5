"""Figures of the SCA-CNN chapter: each draws what it was given."""


import numpy as np
import pytest
import torch
from plots.figure_contents import drawn, png, texts

from attncourse.plots.sca_cnn import (
    caption_scores,
    channel_curves,
    film_strip,
    step_diagram,
    word_shares,
    word_tree,
)

STEPS = {"<start>": {"a": 0.6, "two": 0.4}, "a": {"dog": 0.4, "cat": 0.6}, "two": {"dogs": 0.9, "cats": 0.1}}


def test_the_diagram_is_the_same_every_time_and_names_each_part():
    assert png(step_diagram()) == png(step_diagram())
    assert step_diagram().get_size_inches()[0] <= 7.5
    words = texts(step_diagram())
    for part in ("$V$", r"$\beta \circ V$", r"$\alpha \circ \beta \circ V$", r"$\Phi_c$", r"$\Phi_s$", "LSTM", "mean",
                 "MLP", "$h_{t-1}$", "$h_t$", "word before", "next word"):
        assert part in words


def test_channel_curves():
    points = torch.linspace(0, 1, 5)
    figure = channel_curves(points, {"1: a": points, "2: dog": 2 * points}, torch.tensor([0.1, 0.7]), "finding")
    (axis,) = figure.axes
    first, second, means = axis.lines
    np.testing.assert_array_equal(first.get_xdata(), points)
    np.testing.assert_array_equal(second.get_ydata(), 2 * points)
    assert first.get_linestyle() != second.get_linestyle()  # told apart without colours
    np.testing.assert_allclose(means.get_xdata(), [0.1, 0.7])
    assert {"1: a", "2: dog", "one channel's mean", "finding"} <= set(texts(figure))


@pytest.fixture
def picture():
    return torch.randint(256, (3, 12, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_a_film_strip_has_a_frame_per_word(picture):
    words = [f"word{t}" for t in range(7)]
    spatial = torch.rand(7, 3, 4, generator=torch.Generator().manual_seed(0))
    figure = film_strip(picture, words, spatial, "finding")
    assert {*words, "finding"} <= set(texts(figure))
    assert len([axis for axis in figure.axes if axis.images]) == 7
    assert figure.get_size_inches()[0] <= 7.5
    assert len([axis for axis in figure.axes if axis.axison]) == 7  # the rest of the last row is empty
    assert figure.get_size_inches()[0] <= 3.6  # three frames in a row: a phone shows them large enough


def test_all_frames_have_one_scale_in_means_of_the_map(picture):
    spatial = torch.zeros(3, 2, 4)
    spatial[0, :, 0] = spatial[0, :, 3] = 1  # twice the mean
    spatial[1, 0, 0] = 1  # eight times the mean
    spatial[2] = 5
    two, eight, flat = (np.asarray(drawn(axis)) for axis in film_strip(picture, "abc", spatial, "f").axes[:3])
    grey = picture.float().mean(0).numpy()[..., None].repeat(3, 2) / 255
    np.testing.assert_allclose(two[:, 7:9], grey[:, 7:9], atol=1e-6)  # where a map is 0 the picture stays grey
    four = film_strip(picture, "a", (spatial[:1] == 0).float() * 0 + torch.tensor([4.0, 0, 0, 0]), "f").axes[0]
    np.testing.assert_allclose(eight[0, 0], np.asarray(drawn(four))[0, 0], atol=1e-6)  # beyond 4 all is alike
    assert np.abs(eight[0, 0] - grey[0, 0]).max() > np.abs(two[0, 0] - grey[0, 0]).max() > \
        np.abs(flat[0, 0] - grey[0, 0]).max() > 0


def test_a_film_strip_names_the_three_highest_channels_and_what_else_it_is_told(picture):
    channel = torch.zeros(2, 9)
    channel[0, [4, 7, 1]] = torch.tensor([3.0, 2, 1])
    channel[1, [8, 0, 2]] = torch.tensor([3.0, 2, 1])
    figure = film_strip(picture, ["a", "b"], torch.ones(2, 3, 4), "finding", channel=channel, below=["9 %", "8 %"])
    assert [axis.get_xlabel() for axis in figure.axes[:2]] == ["9 %\n4, 7, 1", "8 %\n8, 0, 2"]
    alike = film_strip(picture, ["a", "b"], torch.ones(2, 3, 4), "finding", channel=channel[[0, 0]])
    assert "finding\ntop channels at every word: 4, 7, 1" in texts(alike)  # once
    assert [axis.get_xlabel() for axis in alike.axes[:2]] == ["", ""]


def test_a_film_strip_draws_the_masks_border_at_its_place():
    mask = torch.zeros(12, 16, dtype=torch.bool)
    mask[2:5, 10:14] = True
    for enlarged in (1, 20):  # a large picture is drawn smaller
        figure = film_strip(torch.zeros(3, 12 * enlarged, 16 * enlarged), ["a"], torch.ones(1, 3, 4), "finding",
                            mask=mask.repeat_interleave(enlarged, 0).repeat_interleave(enlarged, 1))
        axis = figure.axes[0]
        H, W = drawn(axis).shape[:2]
        (border,) = axis.collections
        corners = np.concatenate([path.vertices for path in border.get_paths()])
        np.testing.assert_allclose(corners.min(0), [10 * W / 16 - 0.5, 2 * H / 12 - 0.5], atol=0.7)
        np.testing.assert_allclose(corners.max(0), [14 * W / 16 - 0.5, 5 * H / 12 - 0.5], atol=0.7)


def test_the_tree_writes_each_sentences_probability():
    figure = word_tree(STEPS, {"greedy": ("a", "cat"), "best": ("two", "dogs")}, "finding")
    words = texts(figure)
    for line in ("0.60 × 0.40 = 0.24   ", "0.60 × 0.60 = 0.36   greedy", "0.40 × 0.90 = 0.36   best",
                 "0.40 × 0.10 = 0.04   "):
        assert line in words
    assert {"a", "two", "dog", "cat", "dogs", "cats", "0.90", "finding"} <= set(words)


def test_caption_scores_have_a_panel_per_measure_and_a_dot_per_seed():
    figure = caption_scores({"BLEU-4": {"C-S": [0.2, 0.3], "none": [0.1]}, "CIDEr": {"C-S": [0.4], "none": [0.5]}},
                            "none", "finding")
    left, right = figure.axes
    np.testing.assert_allclose(left.collections[0].get_offsets()[:, 0], [20, 30])
    np.testing.assert_allclose(right.lines[0].get_xdata(), [50, 50])  # the baseline
    assert {"C-S", "none", "BLEU-4 × 100", "CIDEr × 100", "finding"} <= set(texts(figure))


def test_scores_that_differ_by_tenths_do_not_look_far_apart():
    (axis,) = caption_scores({"BLEU-4": {"C-S": [0.187], "none": [0.194]}}, "none", "finding").axes
    low, high = axis.get_xlim()
    assert high - low >= 4
    assert low < 18.7 < 19.4 < high


def test_word_shares():
    shares = {"C-S": {"a": [0.1, 0.3], "colour": [0.5, 0.5]}, "S": {"a": [0.1], "colour": [0.4]}}
    figure = word_shares(shares, {"flat map": 0.11, "ideal": 0.7}, "finding")
    (axis,) = figure.axes
    np.testing.assert_allclose(axis.lines[0].get_xdata(), [20, 50])  # means over seeds, in %
    np.testing.assert_allclose(axis.lines[1].get_xdata(), [10, 40])
    small = np.concatenate([marks.get_offsets() for marks in axis.collections])
    np.testing.assert_allclose(small[:, 0], [10, 30, 50, 50])  # C-S has two seeds, S one
    np.testing.assert_allclose(small[:, 1], axis.lines[0].get_ydata().repeat(2))
    assert axis.lines[0].get_marker() != axis.lines[1].get_marker()
    np.testing.assert_allclose([line.get_xdata()[0] for line in axis.lines[2:]], [11, 70])
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "colour"]
    assert {"C-S", "S", "flat map", "ideal", "finding"} <= set(texts(figure))
