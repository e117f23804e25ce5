"""The receptive field explorer's numbers and words."""

import itertools

import numpy as np
import pytest
import torch

from attncourse.bam import BAM
from attncourse.checks.bam import offsets
from attncourse.datasets.photos import photo
from attncourse.widgets.bam import (
    DILATIONS,
    DOUBLING,
    LAYERS,
    PLACES,
    SIZE,
    ReceptiveField,
    View,
    chosen_dilations,
    square,
    view,
    ways,
)

GREY = np.full((3, 60, 80), 100, dtype=np.uint8)


@pytest.fixture
def widget():
    return ReceptiveField(photo("chelsea"), "a cat")


def test_the_ways_are_what_convolutions_of_ones_count():
    for dilations in ([1], [4, 4], [1, 2, 4], [3, 3, 3, 3], [2, 1]):
        line = torch.zeros(1, 1, 2 * sum(dilations) + 1)
        line[..., sum(dilations)] = 1
        for d in dilations:
            line = torch.nn.functional.conv1d(line, torch.ones(1, 1, 3), padding=d, dilation=d)
        assert ways(dilations).tolist() == line[0, 0].int().tolist()
    assert ways([4, 4])[::4].tolist() == [1, 2, 3, 2, 1]
    assert ways([]).tolist() == [1]


@pytest.mark.parametrize("dilations", [[1], [4, 4], [1, 2, 4], [1, 4], [6, 6, 6, 6]])
def test_what_is_seen_is_what_the_exercise_asks_for(dilations):
    seen = np.flatnonzero(ways(dilations)) - sum(dilations)
    assert seen.tolist() == offsets.reference(dilations)


@pytest.mark.parametrize("d", [1, 2, 4])
def test_the_view_is_what_gradients_of_a_bam_find(d):
    block = BAM(4, 2, d).eval()
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.copy_(torch.rand(parameter.shape, generator=torch.Generator().manual_seed(0)) + 0.1)
    for place in PLACES.values():
        x = torch.rand(1, 4, SIZE, SIZE, generator=torch.Generator().manual_seed(1)).requires_grad_()
        block.spatial(x)[0, 0, place, place].backward()
        moved = int((x.grad[0].abs().sum(0) > 0).sum())
        found = view([d, d], place)
        assert moved == found.seen - found.outside
        assert found.side == 4 * d + 1


def test_views_by_hand():
    assert view([4, 4]) == View(17, 25, 0)
    assert view([4, 4], place=6) == View(17, 25, 9)  # row and column -2 lie outside: 25 - 4·4
    assert view([1, 2, 4]) == View(15, 225, 0)  # no hole


def test_the_front_end_gets_photograph_ways_and_places(widget):
    sent = np.frombuffer(widget.data, "u1").reshape(widget.shape)
    assert sent.shape == (SIZE, SIZE, 3)
    np.testing.assert_array_equal(sent, square(photo("chelsea")))
    for (i, option), (j, layers) in itertools.product(enumerate(DILATIONS), enumerate(LAYERS)):
        assert widget.meta["ways"][i][j] == ways(chosen_dilations(option, layers)).tolist()
        assert len(widget.meta["ways"][i][j]) <= SIZE  # all fits into the picture, seen from its middle
    assert widget.meta["places"] == list(PLACES.values())


def test_the_photograph_is_its_middle_square():
    wide = np.zeros((3, 49, 99), dtype=np.uint8)
    wide[:, :, 25:74] = 200
    assert (square(wide) == 200).all()
    assert square(GREY).shape == (SIZE, SIZE, 3)


def test_the_summary_says_what_is_seen(widget):
    assert widget.label == "What one output pixel sees of a cat"
    assert repr(widget) == "<ReceptiveField widget: dilation = 4, layers = 2, place = in the middle>"
    assert widget.summary == (
        "2 layers, d = 4: the output pixel in the middle can be moved by 25 pixels of a 17 × 17 square around it, "
        "8.65% of its 289 pixels."
    )
    widget.state = {"place": 1}
    assert widget.summary.endswith(" 9 of them lie beyond the edge, where padding puts zeros.")
    widget.state = {"dilation": DILATIONS.index(DOUBLING), "layers": 2, "place": 0}
    assert "3 layers, d doubled from 1 to 4: " in widget.summary
    assert "225 pixels of a 15 × 15 square around it, 100% of its 225 pixels." in widget.summary
    assert widget.picture().axes
    widget.state = {"layers": 0}
    assert widget.summary.startswith("1 layer, d = 1, to be doubled with each layer: ")


@pytest.mark.parametrize(("make", "message"), [
    (lambda: ReceptiveField(GREY, dilation=5), "dilation must be one of 1, 2, 3, 4, 6, .*, got 5"),
    (lambda: ReceptiveField(GREY, layers=0), "layers must be one of 1, 2, 3, 4, got 0"),
    (lambda: ReceptiveField(GREY.astype(float)), r"photo must be uint8 and \(3, H, W\), got float64"),
    (lambda: ReceptiveField(GREY[0]), r"got uint8 and \(60, 80\)"),
    (lambda: ReceptiveField(GREY[:, :48]), r"at least 49 pixels a side, got \(3, 48, 80\)"),
    (lambda: ways([4, 0]), r"every dilation must be at least 1, got \[4, 0\]"),
])
def test_bad_input_is_one_line_that_says_what_is_wrong(make, message):
    with pytest.raises(ValueError, match=message) as error:
        make()
    assert "\n" not in str(error.value)
