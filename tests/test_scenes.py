"""Scenes: the same on every machine, the label told by one coloured shape only, mask and sentence true."""

import hashlib
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from attncourse.datasets import scenes as module
from attncourse.datasets.scenes import CLASSES, COLOURS, PLACES, SHAPES, load_scenes, scenes

KINDS = "|".join(CLASSES)
SENTENCE = re.compile(rf"a (small|large) ({'|'.join(COLOURS)}) ({KINDS}) ({'|'.join(PLACES)}), "
                      rf"(alone|beside one grey ({KINDS})|among (two|three|four) grey (({KINDS})(?<!ss)s|crosses))")


@pytest.fixture(scope="module")
def drawn():
    return scenes(600, 64, seed=5)


def chroma(images):
    """How far a pixel is from grey, (N, H, W), 0 to 255."""
    return (images.amax(1).int() - images.amin(1).int()).float()


def test_the_same_bits_everywhere():
    """Digests made with numpy 2.4 on x86-64. Every operation is rounded as IEEE 754 says, so no machine may differ."""
    drawn = scenes(40, 32, seed=0)
    assert hashlib.sha256(drawn.images.numpy()).hexdigest()[:16] == "4fa59424d09784e3"
    assert hashlib.sha256(drawn.masks.numpy()).hexdigest()[:16] == "37b8d8d795b9da6b"
    assert drawn.captions[0] == "a small yellow cross at the bottom, among two grey circles"


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 70), st.integers(0, 70), st.sampled_from([32, 33, 47, 64]), st.integers(0, 2**64))
def test_a_longer_call_begins_with_the_same_scenes(n, more, size, seed):
    short, long = scenes(n, size, seed), scenes(n + more, size, seed)
    assert short.images.shape == (n, 3, size, size)
    assert short.masks.shape == (n, size, size)
    assert (short.images.dtype, short.labels.dtype, short.masks.dtype) == (torch.uint8, torch.int64, torch.bool)
    assert torch.equal(short.images, long.images[:n])
    assert torch.equal(short.masks, long.masks[:n])
    assert torch.equal(short.labels, long.labels[:n])
    assert short.captions == long.captions[:n]


def test_another_seed_draws_other_scenes():
    assert not torch.equal(scenes(8, seed=0).labels, scenes(8, seed=1).labels)
    assert not torch.equal(scenes(8, seed=(0, 1)).labels, scenes(8, seed=(0, 2)).labels)


def test_the_layout_does_not_depend_on_the_size():
    small, large = scenes(50, 32, seed=2), scenes(50, 128, seed=2)
    assert small.captions == large.captions
    shrunk = F.avg_pool2d(large.images.float(), 4)
    assert (shrunk - small.images).abs().mean() < 6  # of 255: grain and edges
    assert (F.avg_pool2d(large.masks.float(), 4) - small.masks.float()).abs().mean() < 0.02


def test_only_the_masked_shape_has_a_colour(drawn):
    saturation = chroma(drawn.images)
    near = F.max_pool2d(drawn.masks.float()[:, None], 5, 1, 2)[:, 0] > 0
    assert saturation.masked_fill(near, 0).max() < 60
    assert torch.where(drawn.masks, saturation, torch.nan).nanmean((1, 2)).min() > 70
    cover = drawn.masks.float().mean((1, 2))
    assert 0.02 < cover.min() < cover.max() < 0.2


def test_the_shape_is_whole_and_where_the_sentence_says(drawn):
    edge = torch.cat([drawn.masks[:, [0, -1]].flatten(1), drawn.masks[:, :, [0, -1]].flatten(1)], 1)
    assert not edge.any()
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    for mask, caption in zip(drawn.masks, drawn.captions):
        place = SENTENCE.fullmatch(caption)[4]
        down = ("lower" in place or "bottom" in place) - ("upper" in place or "top" in place)
        right = ("right" in place) - ("left" in place)
        row, column = (sum(where[mask].aminmax()) / 2 / 64 for where in (rows, columns))  # middle of its box, 0 to 1
        assert abs(row - 0.5 - 0.16 * down) < 0.13
        assert abs(column - 0.5 - 0.16 * right) < 0.13


def test_sentence_and_label_and_colour_agree(drawn):
    for image, mask, label, caption in zip(drawn.images, drawn.masks, drawn.labels, drawn.captions):
        size, colour, kind, _, _ = SENTENCE.fullmatch(caption).groups()[:5]
        assert kind == CLASSES[label]
        width = mask.any(0).sum().item() / 64
        assert width > 0.32 if size == "large" else width < 0.48
        mean = image[:, mask].float().mean(1)
        distances = {name: (mean - torch.tensor(rgb)).norm() for name, rgb in COLOURS.items()}
        assert min(distances, key=distances.get) == colour


def test_no_grey_shape_is_covered_and_every_number_of_them_occurs():
    layout = module.Layout(2000, np.random.SeedSequence(1))
    distance = np.hypot(layout.grey_x - layout.x[:, None], layout.grey_y - layout.y[:, None])
    assert (distance > layout.radius[:, None]).all()  # at least half of it is in sight
    counts = np.bincount(layout.grey_count)
    assert len(counts) == 5
    assert counts.min() > 300


def test_nothing_but_the_shape_tells_the_label():
    """Label, colour, size, place, number and kind of grey shapes are drawn independently: a chi-square test of each."""
    layout = module.Layout(20_000, np.random.SeedSequence(11))
    for other in (layout.colour, layout.large, layout.cell, layout.grey_count, layout.grey_kind):
        table = np.zeros((8, other.max() + 1))
        np.add.at(table, (layout.kind, other), 1)
        expected = table.sum(1, keepdims=True) * table.sum(0) / table.sum()
        freedom = 7 * (table.shape[1] - 1)
        assert ((table - expected) ** 2 / expected).sum() < freedom + 4 * (2 * freedom) ** 0.5


@pytest.mark.parametrize("name", CLASSES)
def test_each_distance_is_a_distance(name):
    """Negative inside, positive outside, and changing as fast as one moves, but for kinks between two grid points."""
    x, y = np.meshgrid(np.linspace(-1.5, 1.5, 301), np.linspace(-1.5, 1.5, 301))
    distance = SHAPES[name](x, y)
    assert 0.08 < (distance < 0).mean() < 0.35
    assert (distance[np.hypot(x, y) > module.EXTENT] > 0).all()
    slope_y, slope_x = np.gradient(distance, 0.01)
    assert np.allclose(np.quantile(np.hypot(slope_x, slope_y), (0.05, 0.95)), 1, atol=0.01)


def test_all_splits_of_the_data_set():
    data = load_scenes(train=60, val=30, test=20, seed=3)
    assert (data.name, data.classes, data.order) == ("Scenes", CLASSES, "as drawn with seed 3, 32 pixels")
    assert [len(split) for split in (data.train, data.val, data.test)] == [60, 30, 20]
    longer = load_scenes(train=90, val=30, test=20, seed=3)
    assert torch.equal(longer.train.images[:60], data.train.images)
    assert torch.equal(longer.test.images, data.test.images)
    assert longer.sha256 != data.sha256
    assert not torch.equal(data.val.images[:20], data.test.images)
    pixels = load_scenes(1000, 1, 1).train.images.float() / 255
    torch.testing.assert_close(pixels.mean((0, 2, 3)), torch.tensor(data.mean), atol=0.01, rtol=0)
    torch.testing.assert_close(pixels.std((0, 2, 3)), torch.tensor(data.std), atol=0.01, rtol=0)


def test_the_global_generators_stay_as_they_were():
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    scenes(3)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]


@pytest.mark.parametrize(("arguments", "message"), [
    ({"n": 0}, "n must be at least 1, got 0"),
    ({"n": 2, "size": 31}, "size must be from 32 to 224 pixels, got 31"),
    ({"n": 2, "size": 225}, "size must be from 32 to 224 pixels, got 225"),
])
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        scenes(**arguments)
