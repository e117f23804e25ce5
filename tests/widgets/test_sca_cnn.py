"""The numbers, words and stored output of the widget that steps through a caption."""

import base64
import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from block_contract import generic
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from attncourse.captioning.decoder import Captioner, DecoderConfig, beam_search, log_probabilities
from attncourse.datasets.captions import Vocabulary
from attncourse.datasets.photos import PHOTOS, photo
from attncourse.sca_cnn import ORDERS
from attncourse.widgets.sca_cnn import (
    BEAMS,
    DARKEST,
    PARTS,
    POINTS,
    CaptionSteps,
    Reading,
    dimmed,
    fewest,
    on_curve,
    part_of,
    read_beams,
)

VIEW = "application/vnd.jupyter.widget-view+json"
NAMES = ["an astronaut", "a cat"]
PICTURES = [photo("astronaut"), photo("chelsea")]
WORDS = Vocabulary(["a red circle in the centre"])


def reading(words: str, seed: int, h: int = 3, w: int = 4, channels: int = 6) -> Reading:
    """What a captioner could have done while it said these words, and the end."""
    draw, said = np.random.default_rng(seed), (*words.split(), "<end>")
    spatial, channel = draw.random((len(said), h, w)) + 0.1, draw.random((len(said), channels)) + 0.1
    return Reading(said, -1.25 - seed / 10, spatial / spatial.mean((1, 2), keepdims=True),
                   draw.normal(size=(len(said), channels)), channel / channel.mean(1, keepdims=True))


@pytest.fixture
def readings():
    short, long = reading("a man", 0), reading("a man in a well-known hat", 1)
    return [[short, short, long], [reading("a cat", 2), reading("a dog", 3), reading("a cat", 2)]]


@pytest.fixture
def widget(readings):
    return CaptionSteps(PICTURES, NAMES, readings, (1, 2, 3))


def captioner(order: str = "channel-spatial", rescale: bool = True) -> Captioner:
    torch.manual_seed(0)
    model = Captioner(nn.Identity(), [5], len(WORDS), DecoderConfig(order, 8, rescale, state=6, embedding=4))
    return generic(model).eval()


# the numbers


@pytest.mark.parametrize("rescale", [True, False])
@pytest.mark.parametrize("order", ORDERS)
def test_a_reading_is_what_the_captioner_does_step_by_step(order, rescale):
    model, maps = captioner(order, rescale), torch.rand(1, 5, 3, 4)
    found = read_beams(model, WORDS, maps, (1, 3))
    attention = model.attended.attentions[0]
    for beam, each in zip((1, 3), found):
        numbers = beam_search(model, maps, beam)[0]
        assert each.words == tuple(WORDS.words[number] for number in numbers)
        with torch.no_grad():
            x, h, c = model.start(maps)
            total = 0.0
            for t, (previous, number) in enumerate(zip([Vocabulary.START, *numbers], numbers)):
                weights = attention.attend(x, h)[1]
                if "spatial" in ORDERS[order]:
                    wanted = weights["spatial"][0, 0] / weights["spatial"].mean()
                    np.testing.assert_allclose(each.spatial[t], wanted, rtol=1e-4)
                if "channel" in ORDERS[order]:
                    wanted = weights["channel"][0, :, 0, 0] / weights["channel"].mean()
                    np.testing.assert_allclose(each.channel[t], wanted, rtol=1e-4)
                    seen = x * weights["spatial"] if order == "spatial-channel" else x
                    np.testing.assert_allclose(each.means[t], seen.mean((2, 3))[0], rtol=1e-4)
                embedded = model.embed(torch.tensor([previous]))
                h, c, _ = model.step(x, h, c, embedded)
                total += log_probabilities(model, h, embedded)[0, number].item()
        assert each.score == pytest.approx(total / len(numbers), rel=1e-4)
        assert (each.spatial is None) == ("spatial" not in ORDERS[order])
        assert (each.channel is None) == (each.means is None) == ("channel" not in ORDERS[order])


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2), st.integers(0, 2))
def test_the_part_is_where_the_weight_lies(h, w, i, j):
    weights = np.full((h, w), 0.01)
    row, column = min(h - 1, (2 * i + 1) * h // 6), min(w - 1, (2 * j + 1) * w // 6)
    weights[row, column] = 1
    if h * w == 1:
        assert part_of(weights) is None
    elif min(h, w) >= 3:
        assert part_of(weights) == PARTS[i][j]
    else:
        assert part_of(weights) in sum(PARTS, ())


def test_a_large_part_counts_by_its_mean_and_not_by_its_sum():
    weights = np.full((8, 8), 1.0)  # the middle third has 4 positions a side, the others 3
    weights[:3, :3] = 1.5
    assert part_of(weights) == "upper left"


def test_even_weights_lie_nowhere():
    assert part_of(np.ones((7, 7))) is None
    assert part_of(np.array([[1.0, 1.2]])) is not None


def test_the_fewest_that_hold_half():
    assert fewest(np.array([0.1, 0.6, 0.3])) == 1
    assert fewest(np.array([0.25] * 4)) == 2  # exactly half
    assert fewest(np.array([0.4, 0.3, 0.2, 0.1])) == 2
    assert fewest(np.ones(256, dtype=np.float32)) == 128
    assert fewest(np.array([1.0, 1.0]), 1) == 2


@given(st.integers(1, 200))
def test_the_drawn_channels_run_from_the_smallest_mean_to_the_largest(channels):
    means = np.random.default_rng(0).normal(size=channels)
    chosen = on_curve(means)
    assert len(chosen) == len(set(chosen)) == min(channels, POINTS)
    assert (np.diff(means[chosen]) > 0).all()
    assert means[chosen[-1]] == means.max()
    assert means[chosen[0]] == means.min()


def test_the_picture_is_dark_where_the_weight_is_small():
    shown = dimmed(np.full((4, 6, 3), 100, dtype=np.uint8), np.array([[0.0, 1.0, 2.0]]))
    np.testing.assert_array_equal(shown[:, :, 0], [[100 * DARKEST] * 2 + [60] * 2 + [100] * 2] * 4)


# what goes to the front end


def test_the_front_end_finds_every_number(widget, readings):
    sent, meta = np.frombuffer(widget.data, "u1"), widget.meta
    place = 0
    for picture, (h, w) in zip(PICTURES, meta["sizes"]):
        assert max(h, w) == 80
        assert sent[place:place + h * w * 3].mean() == pytest.approx(picture.float().mean().item(), abs=2)
        place += h * w * 3
    assert (meta["map"], meta["points"], meta["which"]) == ([3, 4], 6, [[0, 0, 1], [0, 1, 0]])
    for found, which, sentences in zip(readings, meta["which"], meta["sentences"]):
        for each, index in zip(found, which):
            sentence = sentences[index]
            assert sentence["words"] == each.words
            numbers = sent[sentence["start"]:][:len(each.words) * (12 + 6 + 6)].reshape(len(each.words), 24) / 255
            highest = each.spatial.max((1, 2), keepdims=True)
            np.testing.assert_allclose(numbers[:, :12].reshape(-1, 3, 4), each.spatial / highest, atol=0.6 / 255)
            for t, (means, weights) in enumerate(zip(each.means, each.channel)):
                order = np.argsort(means)
                low, top, span = sentence["low"], sentence["top"], sentence["high"] - sentence["low"]
                np.testing.assert_allclose(numbers[t, 12:18] * span + low, means[order], atol=0.6 * span / 255)
                np.testing.assert_allclose(numbers[t, 18:] * top, weights[order], atol=0.6 * top / 255)
    last = meta["sentences"][-1][-1]
    assert last["start"] + len(last["words"]) * 24 == len(sent)  # nothing is left over, and equal sentences came once


def test_the_summary_by_hand():
    spatial, channel = np.full((2, 2, 4), 4 / 7), np.array([[3.0, 0.5, 0.5, 0.0], [1.0] * 4])
    spatial[0, 1, 3], spatial[1] = 4.0, 1.0
    said = Reading(("t-shirt", "<end>"), -0.5, spatial, np.zeros((2, 4)), channel)
    widget = CaptionSteps(PICTURES[:1], NAMES[:1], [[said]], [7])
    rest = 'An astronaut, beam width 7: "t-shirt", mean log-probability −0.50 a word.'
    assert widget.summaries == [
        'Word 1 of 2, "t-shirt": most weight lower right, the highest, 4.0 times the mean, in row 2, column 4 of 2 × '
        f"4; 1 of 4 channels hold half the weight. {rest}",
        f"Word 2 of 2, the end: all positions weigh about the same; 2 of 4 channels hold half the weight. {rest}",
    ]
    bare = CaptionSteps(PICTURES[:1], NAMES[:1], [[Reading(("hat",), -2.0, None, None, None)]], [1])
    assert bare.summary == ('Word 1 of 1, "hat": no weights. An astronaut, beam width 1: "hat", mean log-probability '
                            "−2.00 a word.")


def test_a_word_behind_the_end_is_the_last_word(widget):
    widget.state = {"picture": 0, "beam": 0, "word": 5}
    assert widget.summary.startswith("Word 3 of 3 (there is no word 6), the end: ")
    widget.state = {"beam": 2}
    assert widget.summary.startswith('Word 6 of 7, "hat": ')


@pytest.mark.parametrize("order", ORDERS)
def test_every_order_of_attentions_can_be_shown(order):
    found = read_beams(captioner(order), WORDS, torch.rand(1, 5, 3, 4), (1, 2))
    widget = CaptionSteps(PICTURES[:1], NAMES[:1], [found], (1, 2))
    assert widget._repr_mimebundle_()[0]["image/png"]
    assert (widget.meta["map"], widget.meta["points"]) == ([3, 4] if "spatial" in ORDERS[order] else None,
                                                           5 if "channel" in ORDERS[order] else 0)


def test_the_state_stays_small_even_if_all_sentences_differ_and_are_long():
    """Three photographs, five widths, twenty words, 256 channels: more than the chapter shows."""
    found = [[reading(" ".join(f"word{beam}" for _ in range(19)), beam, 7, 7, 256) for beam in BEAMS] for _ in range(3)]
    state = CaptionSteps([photo(name) for name in PHOTOS[:3]], PHOTOS[:3], found).get_state(
        ["data", "summaries", "controls", "meta"])
    data = len(base64.b64encode(state.pop("data")))
    assert data + len(json.dumps(state)) < 300_000


@pytest.mark.parametrize(("change", "message"), [
    (lambda p, n, r: (p[:1], n, r), "got 1 pictures, 2 names, 2 lists of readings"),
    (lambda p, n, r: (p, n, r[:1]), "got 2 pictures, 2 names, 1 lists of readings"),
    (lambda p, n, r: ([], [], []), "at least one picture"),
    (lambda p, n, r: (p, n, [r[0], r[1][:2]]), "a cat: one reading for each of 3 beam widths is needed, got 2"),
    (lambda p, n, r: (p, n, [[], r[1]]), "an astronaut: one reading for each of 3 beam widths is needed, got 0"),
    (lambda p, n, r: (p, n, [r[0], [*r[1][:2], reading("a", 0, h=5)]]),
     r"a cat: spatial of 2 words must be \(2, 3, 4\), got \(2, 5, 4\)"),
    (lambda p, n, r: (p, n, [r[0], [*r[1][:2], reading("a", 0)._replace(channel=None)]]),
     r"a cat: channel of 2 words must be \(2, 6\), got None"),
    (lambda p, n, r: (p, n, [r[0], [*r[1][:2], reading("a", 0)._replace(words=("a",))]]),
     r"a cat: spatial of 1 words must be \(1, 3, 4\), got \(2, 3, 4\)"),
    (lambda p, n, r: ([p[0].float(), p[1]], n, r), "photo must be uint8, got float32"),
])
def test_bad_input_is_one_line_that_says_what_is_wrong(readings, change, message):
    with pytest.raises(ValueError, match=message) as error:
        CaptionSteps(*change(PICTURES, NAMES, readings), (1, 2, 3))
    assert "\n" not in str(error.value)


def test_the_weights_of_a_word_are_times_their_mean():
    for each in read_beams(captioner(), WORDS, torch.rand(1, 5, 3, 4), (1,)):
        np.testing.assert_allclose(each.spatial.mean((1, 2)), 1, rtol=1e-5)
        np.testing.assert_allclose(each.channel.mean(1), 1, rtol=1e-5)
        assert math.isfinite(each.score)


def test_importing_the_widget_brings_no_torch():
    code = "import sys; from attncourse.widgets import sca_cnn; " \
           "assert not {'matplotlib', 'torchvision', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
