"""Figures of the chapter on ResNets: each draws what it was given."""


import numpy as np
import pytest
from plots.figure_contents import png, texts

from attncourse.plots.resnets import places, shrinking
from attncourse.resnet import PLACEMENTS


def test_the_places_are_those_of_the_package_and_each_stands_once():
    assert png(places()) == png(places())
    assert places().get_size_inches()[0] <= 7.5
    words = texts(places())
    assert [words.count(place) for place in PLACEMENTS] == [1] * len(PLACEMENTS)
    assert {"conv", "BN", "ReLU", "+", "shortcut", "downsample", "branch $F$"} <= set(words)


def test_the_places_stand_in_the_order_of_the_forward_pass():
    branch, after = places().axes[0], {}
    for text in branch.texts:
        after[text.get_text()] = text.get_position()
    assert after["pre"][0] < after["standard"][0] < after["+"][0] < after["post"][0]
    assert after["downsample"][0] < after["identity"][0] < after["+"][0]
    assert after["pre"][1] == after["standard"][1] > after["+"][1] > after["identity"][1]


def test_what_is_left_is_drawn_in_halvings():
    shares = {"post": [0.5, 0.125], "stage": [0.5, 0.25]}
    figure = shrinking(shares, ["first", "second"], "finding")
    (axis,) = figure.axes
    for line, values in zip(axis.lines, shares.values()):
        np.testing.assert_array_equal(line.get_ydata(), values)
    assert axis.get_yscale() == "log"
    assert axis.lines[2].get_linestyle() == "--"
    assert {"post", "stage", "first", "second", "finding", "1/8", "1/4"} <= set(texts(figure))


@pytest.mark.parametrize("share", [1 / 3, 1 / 67_000])
def test_the_last_share_is_written_as_a_fraction(share):
    assert f"1/{round(1 / share):,}" in texts(shrinking({"one": [share]}, ["a"], "finding"))
