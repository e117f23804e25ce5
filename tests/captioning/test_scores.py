"""Scores of captions: known values of a corpus, and what the chapter says of them."""

import math

import pytest

from attncourse.captioning.scores import MEASURES, scores

# The example of NLTK's documentation of corpus_bleu, which gives 0.5920 for both and 0.5045 for the first alone.
SAID = ["It is a guide to action which ensures that the military always obeys the commands of the party",
        "he read the book because he was interested in world history"]
TRUE = [["It is a guide to action that ensures that the military will forever heed Party commands",
         "It is the guiding principle which guarantees the military forces always being under the command of the Party",
         "It is the practical guide for the army always to heed the directions of the party"],
        ["he was interested in world history because he read the book"]]


def test_known_corpus_scores():
    assert scores(SAID, TRUE)["BLEU-4"] == pytest.approx(0.59208, abs=1e-5)
    assert scores(SAID[:1], TRUE[:1])["BLEU-4"] == pytest.approx(0.50457, abs=1e-5)


def test_bleu_of_a_corpus_by_hand():
    """Matches are added up first: 5 of 6 words, 2 of 4 pairs. Of lengths 2 and 4, equally close, the shorter counts,
    so no sentence is too short."""
    found = scores(["a red dog", "a cat sleeps"],
                   [["a dog runs", "the red dog runs now today"], ["a cat", "one cat sits here"]])
    precision_1, precision_2 = (3 + 2) / 6, (1 + 1) / 4
    assert found["BLEU-1"] == pytest.approx(precision_1, abs=1e-6)
    assert found["BLEU-2"] == pytest.approx(math.sqrt(precision_1 * precision_2), abs=1e-6)


def test_short_sentences_are_penalised():
    assert scores(["a dog"], [["a dog runs home"]])["BLEU-1"] == pytest.approx(math.exp(1 - 4 / 2), abs=1e-6)


def test_a_word_counts_as_often_as_in_one_reference():
    assert scores(["the the the the"], [["the cat the", "the dog is here"]])["BLEU-1"] == pytest.approx(2 / 4, abs=1e-6)


def test_capitals_and_punctuation_do_not_matter():
    assert scores(["A dog runs , fast !"], [["a dog runs fast"]])["BLEU-4"] == pytest.approx(1, abs=1e-6)


def test_rouge_by_hand():
    """The longest common subsequence is "a dog in snow": 4 of 5 words said, 4 of 6 words of the reference."""
    precision, recall = 4 / 5, 4 / 6
    expected = (1 + 1.2**2) * precision * recall / (recall + 1.2**2 * precision)
    found = scores(["a dog sits in snow"], [["a dog runs in the snow"]])
    assert found["ROUGE-L"] == pytest.approx(expected)


def test_the_same_sentences_score_best():
    perfect = scores(["a dog runs in the snow", "two men climb a rock"],
                     [["a dog runs in the snow"], ["two men climb a rock"]])
    assert tuple(perfect) == MEASURES
    assert [perfect[name] for name in MEASURES[:5]] == pytest.approx([1] * 5, abs=1e-6)
    assert perfect["CIDEr"] == pytest.approx(10, abs=1e-6)


@pytest.mark.parametrize(("said", "true"), [([], []), (["a"], []), (["a", "b"], [["a"]]), (["a", "b"], [["a"], []])])
def test_sentences_without_references(said, true):
    with pytest.raises(ValueError, match="each sentence needs its references"):
        scores(said, true)


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pycocoevalcap.bleu.bleu", None)
    with pytest.raises(ModuleNotFoundError, match="pip install 'attncourse"):
        scores(SAID, TRUE)
