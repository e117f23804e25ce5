"""The captioner, the search for its sentences, and what it looks at while it says them."""

import itertools

import pytest
import torch
from block_contract import generic
from torch import nn

from attncourse.captioning.decoder import Captioner, DecoderConfig, beam_search, read_along
from attncourse.datasets.captions import Vocabulary
from attncourse.sca_cnn import ORDERS
from attncourse.training import seeded

WORDS = Vocabulary(["a b"])  # <end>, <start>, <unknown>, a, b
START, END = Vocabulary.START, Vocabulary.END
SMALL = {"width": 4, "state": 6, "embedding": 5, "dropout": 0.0}


def small(order: str = "channel-spatial", vocabulary: int = len(WORDS), layers: int = 1) -> Captioner:
    """A captioner of maps (B, 3, 4, 4) with weights so large that picture and words matter for what it says."""
    channels, between = (4, 6)[:layers], [nn.Conv2d(4, 6, 3, 2, 1)][:layers - 1]
    model = generic(Captioner(nn.Conv2d(3, 4, 1), channels, vocabulary, DecoderConfig(order, **SMALL), between), 9)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
        model.word.bias.zero_()
        model.encoder.weight.mul_(3)
    return model.eval()


def maps(n: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, 3, 4, 4, generator=torch.Generator().manual_seed(seed))


def log_probabilities(model: Captioner, one: torch.Tensor, words: list[int]) -> torch.Tensor:
    """Of each word after those before it, as beam_search may say them."""
    logits = model(one, torch.tensor([[START, *words[:-1]]]))[0]
    logits[:, [Vocabulary.START, Vocabulary.UNKNOWN]] = -torch.inf
    return logits.log_softmax(1)[torch.arange(len(words)), words]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("layers", [1, 2])
def test_teacher_forcing_is_step_after_step(order, layers):
    model = small(order, layers=layers)
    words = torch.tensor([[1, 3, 4], [1, 4, 4], [1, 3, 3]])
    x, h, c = model.start(maps())
    for t, word in enumerate(words.T):
        embedded = model.embed(word)
        h, c, weights = model.step(x, h, c, embedded)
        torch.testing.assert_close(model(maps(), words)[:, t], model.logits(h, embedded))
        assert [tuple(each) for each in weights] == [ORDERS[order]] * layers


class SameState(nn.Module):
    """In the place of the LSTM: the state stays as it was."""

    def forward(self, x, states):
        return states


@pytest.mark.parametrize("layers", [1, 2])
def test_in_one_state_every_word_sees_the_same(layers):
    """Each word starts from the picture. A loop that kept the modulated map would see β, then β², β³, …"""
    model = small(layers=layers)
    model.lstm = SameState()
    model.word.bias.data[END] = -100  # sentences of full length
    seen = []
    model.attended.register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.no_grad():
        for write in (lambda: model(maps(1), torch.tensor([[1, 3, 4, 4]])), lambda: beam_search(model, maps(1), 1, 4),
                      lambda: read_along(model, maps(1), [3, 4, 4, 3], WORDS)):
            seen.clear()
            write()
            assert len(seen) == 4
            (first, first_weights), *others = seen
            for attended, weights in others:
                assert torch.equal(attended, first)
                for layer, same in zip(weights, first_weights):
                    assert all(torch.equal(layer[kind], same[kind]) for kind in ("channel", "spatial"))


def test_a_look_does_not_know_the_word_before():
    """α and β come from the state before that word has gone into the LSTM; the next look knows it."""
    model = small()
    x, h, c = model.start(maps())
    steps = [model.step(x, h, c, model.embed(torch.tensor([word] * 3))) for word in (3, 4)]
    assert torch.equal(steps[0][2][0]["spatial"], steps[1][2][0]["spatial"])
    looks = [model.attended(x, h)[1][0]["spatial"] for h, _, _ in steps]
    assert (looks[0] - looks[1]).abs().max() > 1e-3


def test_a_word_does_not_see_those_after_it():
    model = small()
    one, other = model(maps(), torch.tensor([[1, 3, 3]] * 3)), model(maps(), torch.tensor([[1, 3, 4]] * 3))
    assert torch.equal(one[:, :2], other[:, :2])
    assert not torch.equal(one[:, 2], other[:, 2])


def test_dropout_is_off_in_eval_mode_only():
    with seeded(0):
        model = Captioner(nn.Identity(), (3,), 5, DecoderConfig(width=4, state=6, embedding=5, dropout=0.5))
    words = torch.tensor([[1, 3]] * 3)
    assert not torch.equal(model(maps(), words), model(maps(), words))
    assert torch.equal(model.eval()(maps(), words), model(maps(), words))


# ---- beam search ----------------------------------------------------------------------------------------------------


def test_one_beam_takes_the_likeliest_word_each_time():
    model = small()
    for one, found in zip(maps(20).split(1), beam_search(model, maps(20), 1, 6)):
        words = []
        while len(words) < 6 and END not in words:
            logits = model(one, torch.tensor([[START, *words]]))[0, -1]
            logits[[Vocabulary.START, Vocabulary.UNKNOWN]] = -torch.inf
            words.append(logits.argmax().item())
        assert found == words


@pytest.mark.parametrize("longest", [1, 2, 3])
def test_with_enough_beams_the_best_of_all_sentences_is_found(longest):
    model = small()
    for one, found in zip(maps(20).split(1), beam_search(model, maps(20), 40, longest)):
        said = (3, 4)
        whole = [[*words, END] for n in range(longest) for words in itertools.product(said, repeat=n)]
        cut = [list(words) for words in itertools.product(said, repeat=longest)]
        best = max(whole + cut, key=lambda words: log_probabilities(model, one, words).mean().item())
        assert found == best


class Remembers(nn.Module):
    """In the place of the LSTM: a state in which every word leaves its trace."""

    def forward(self, x, states):
        h = 0.8 * states[0].roll(1, 1) + nn.functional.pad(x[:, -5:], (0, 1))
        return h, h


def beam_search_by_loops(model: Captioner, one: torch.Tensor, beam: int, longest: int) -> list[int]:
    """The same search on lists, each sentence read from its beginning."""
    beams = [([], 0.0)]
    for _ in range(longest):
        followed = [each for each in beams if END in each[0]]
        for words, total in beams:
            if END not in words:
                logits = model(one, torch.tensor([[START, *words]]))[0, -1]
                logits[[Vocabulary.START, Vocabulary.UNKNOWN]] = -torch.inf
                scores = logits.log_softmax(0)
                followed += [([*words, word], total + scores[word].item()) for word in range(len(scores))]
        beams = sorted(followed, key=lambda each: each[1] / len(each[0]), reverse=True)[:beam]
    return beams[0][0]


@torch.no_grad()
@pytest.mark.parametrize("beam", [2, 4])
def test_the_search_equals_a_search_by_loops(beam):
    """What was said before the last word matters here: with the state of another beam the sentences would be others."""
    model = small(vocabulary=7)
    model.lstm = Remembers()
    model.word.weight.mul_(0.1)  # no word is far ahead of the others
    model.word.bias[END] = -0.5
    found = beam_search(model, maps(12), beam, 6)
    assert found == [beam_search_by_loops(model, one, beam, 6) for one in maps(12).split(1)]
    assert len(set(map(tuple, found))) > 3


def test_more_beams_find_sentences_that_the_likeliest_word_misses():
    model = small()
    greedy, wide = (beam_search(model, maps(60), beam, 6) for beam in (1, 5))
    means = [[log_probabilities(model, one, words).mean().item() for one, words in zip(maps(60).split(1), said)]
             for said in (greedy, wide)]
    assert greedy != wide
    assert sum(means[1]) > sum(means[0]) + 0.3


def test_pictures_do_not_disturb_each_other():
    model = small(vocabulary=9)
    together = beam_search(model, maps(10), 3, 8)
    assert together == [words for one in maps(10).split(1) for words in beam_search(model, one, 3, 8)]
    assert len({len(words) for words in together}) > 1  # some end early


def test_what_is_said():
    model = small()
    model.word.bias.data[[Vocabulary.START, Vocabulary.UNKNOWN]] = 100  # likeliest by far, and no words
    said = beam_search(model, maps(10), 3, 5)
    assert {word for words in said for word in words} <= {END, 3, 4}
    assert all(END not in words[:-1] for words in said)
    model.word.bias.data[END] = -100
    assert {len(words) for words in beam_search(model, maps(), 3, 5)} == {5}  # cut


@pytest.mark.parametrize(("beam", "longest"), [(0, 5), (3, 0)])
def test_a_search_without_beams_or_words(beam, longest):
    with pytest.raises(ValueError, match=f"beam and longest must be at least 1, got {beam} and {longest}"):
        beam_search(small(), maps(), beam, longest)


# ---- reading along --------------------------------------------------------------------------------------------------


def test_the_maps_of_each_word_are_those_of_its_step():
    model, one = small(layers=2), maps(1)
    caption = read_along(model, one, [3, 4, END], WORDS)
    assert caption.words == ("a", "b", "<end>")
    assert caption.text == "a b"
    assert [tuple(each.shape) for each in caption.spatial] == [(3, 4, 4), (3, 2, 2)]
    assert [tuple(each.shape) for each in caption.channel] == [(3, 4), (3, 6)]
    x, h, c = model.start(one)
    for t, word in enumerate((START, 3, 4)):
        h, c, weights = model.step(x, h, c, model.embed(torch.tensor([word])))
        for layer in range(2):
            torch.testing.assert_close(caption.spatial[layer][t], weights[layer]["spatial"][0, 0])
            torch.testing.assert_close(caption.channel[layer][t], weights[layer]["channel"][0, :, 0, 0])
    assert caption.score == pytest.approx(log_probabilities(model, one, [3, 4, END]).mean().item(), abs=1e-5)


@pytest.mark.parametrize(("order", "spatial", "channel"), [("spatial", True, False), ("channel", False, True),
                                                           ("none", False, False)])
def test_attentions_that_are_not_there_have_no_maps(order, spatial, channel):
    caption = read_along(small(order), maps(1), [3], WORDS)
    assert (caption.spatial[0] is not None, caption.channel[0] is not None) == (spatial, channel)


@pytest.mark.parametrize(("n", "words"), [(1, []), (2, [3])])
def test_nothing_to_read_along(n, words):
    with pytest.raises(ValueError, match=f"one picture and at least one word, got {n} and {len(words)}"):
        read_along(small(), maps(n), words, WORDS)


# ---- what the chapter's table says ----------------------------------------------------------------------------------


def test_the_first_states_are_made_from_the_maps_mean():
    model = small()
    x, h, c = model.start(maps())
    mean = model.encoder(maps()).mean((2, 3))
    torch.testing.assert_close(h, model.first_h(mean).tanh())
    torch.testing.assert_close(c, model.first_c(mean).tanh())


def test_the_lstm_gets_the_mean_of_the_modulated_map_as_it_is():
    model = small()
    x, h, c = model.start(maps())
    embedded = model.embed(torch.tensor([1, 3, 4]))
    modulated = model.attended.attentions[0](x, h)
    expected = model.lstm(torch.cat([modulated.mean((2, 3)), embedded], 1), (h, c))
    torch.testing.assert_close(model.step(x, h, c, embedded)[:2], expected)


def test_the_next_word_follows_from_the_new_state_and_the_word_before():
    model = small()
    h, words = torch.randn(2, 6), torch.tensor([3, 4])
    hidden = (torch.cat([h, model.embed(words)], 1) @ model.hidden.weight.T + model.hidden.bias).tanh()
    torch.testing.assert_close(model.logits(h, model.embed(words)), hidden @ model.word.weight.T + model.word.bias)
