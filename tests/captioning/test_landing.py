"""Words of scenes: which are right, and where their maps lie."""

import pytest
import torch
from torch import nn

from attncourse.captioning.decoder import Captioner, DecoderConfig
from attncourse.captioning.landing import KINDS, ideal, inside, kinds_of, right_words
from attncourse.datasets.captions import Vocabulary, words
from attncourse.datasets.scenes import scenes

SCENES = scenes(40, 64, 5)
VOCABULARY = Vocabulary(SCENES.captions)


def test_kinds_of_words():
    assert kinds_of(words("a large red star in the upper left, among four grey rings")) == [
        "a", "size", "colour", "shape", "place", "place", "place", "place", "grey", "grey", "grey", "grey", "end"]
    assert kinds_of(words("a small blue moon on the right, alone"))[4:] == ["place", "place", "place", "grey", "end"]
    assert kinds_of([]) == ["end"]
    assert {kind for caption in SCENES.captions for kind in kinds_of(words(caption))} == set(KINDS)


def test_right_words():
    true = ["a large red star at the top, alone"] * 4
    said = ["a large red moon at the left, alone", "a large blue moon at the left, beside one grey ring",
            "a large red star at the left, beside two grey rings", "a small red moon at the left, alone"]
    assert right_words(said, true) == {"size": 0.75, "colour": 0.75, "shape": 0.25, "place": 0, "grey": 0.5}
    assert right_words(["a large blue star at the top, alone"], true[:1])["colour"] == 0
    assert set(right_words(true, true).values()) == {1.0}
    assert set(right_words([""] * 4, true).values()) == {0.0}


class OnTheShape(nn.Module):
    """An encoder of scenes whose one channel is bright where the coloured shape is, at 8 × 8 positions."""

    def forward(self, images):
        colourful = images.amax(1) - images.amin(1)  # (B, 64, 64)
        return nn.functional.adaptive_avg_pool2d((colourful > 60).float(), 8)[:, None]


def looking(order: str) -> Captioner:
    """A captioner whose spatial attention is large where its map is."""
    model = Captioner(OnTheShape(), (1,), len(VOCABULARY), DecoderConfig(order, width=1, state=2, embedding=2)).eval()
    if "spatial" in model.attended.attentions[0].parts:
        part = model.attended.attentions[0].parts["spatial"]
        for parameter, value in zip(part.parameters(), (1.0, 0.0, 0.0, 20.0, 0.0)):
            nn.init.constant_(parameter, value)
    return model


def test_a_map_on_the_shape_lies_inside():
    found = inside(looking("spatial"), SCENES.images, SCENES.masks, SCENES.captions, VOCABULARY)
    assert tuple(found) == KINDS
    assert all(len(each) == 1 and each[0] > 0.8 for each in found.values())
    elsewhere = inside(looking("spatial"), SCENES.images, SCENES.masks.roll(1, 0), SCENES.captions, VOCABULARY)
    assert all(elsewhere[kind][0] < 0.5 for kind in KINDS)


def test_a_flat_map_has_the_area_inside():
    model = looking("spatial")
    nn.init.zeros_(model.attended.attentions[0].parts["spatial"].score.weight)
    found = inside(model, SCENES.images, SCENES.masks, SCENES.captions, VOCABULARY)
    assert found["a"][0] == pytest.approx(SCENES.masks.float().mean().item(), abs=1e-5)


def test_without_positions_there_is_nothing_to_score():
    assert inside(looking("channel"), SCENES.images, SCENES.masks, SCENES.captions, VOCABULARY) is None


def test_the_shape_itself():
    """A map of 8 × 8 positions cannot follow a small shape's outline; it is enlarged without steps."""
    masks = torch.zeros(3, 64, 64, dtype=torch.bool)
    masks[0], masks[1, :, :32], masks[2, 30:34, 30:34] = True, True, True
    whole, half, small = (ideal(mask[None]) for mask in masks)
    assert whole == pytest.approx(1)
    assert 0.9 < half < 1
    assert small < 0.2
    assert ideal(masks) == pytest.approx((whole + half + small) / 3)
