"""Words, vocabularies, and scenes with their sentences."""

import pytest
import torch

from attncourse.datasets.captions import Vocabulary, words
from attncourse.datasets.scenes import load_captioned_scenes, scenes


@pytest.mark.parametrize(("caption", "expected"), [
    ("A dog runs .", ["a", "dog", "runs"]),
    ("A man 's T-shirt , \"red\" ;", ["a", "man", "'s", "t-shirt", "red"]),
    ("don't; 2 dogs!", ["don't", "2", "dogs"]),
    ("a dog's tail", ["a", "dog's", "tail"]),
    (" . ", []),
    ("", []),
    ("tug-of-war - snow", ["tug-of-war", "snow"]),
])
def test_words(caption, expected):
    assert words(caption) == expected


def test_a_vocabulary_numbers_what_occurs_often_enough():
    vocabulary = Vocabulary(["A dog runs.", "a cat sleeps", "a dog"], at_least=2)
    assert vocabulary.words == ("<end>", "<start>", "<unknown>", "a", "dog")
    assert len(vocabulary) == 5
    assert vocabulary.encode("A cat, a dog") == [3, 2, 3, 4]
    assert vocabulary.decode([3, 4, 2, 0, 3]) == "a dog <unknown>"
    assert vocabulary.decode([0]) == ""


def test_the_order_of_the_captions_does_not_matter():
    assert Vocabulary(["b a", "c"]).words == Vocabulary(["c", "a b"]).words


def test_a_vocabulary_without_words():
    with pytest.raises(ValueError, match="no word occurs 5 times"):
        Vocabulary(["a dog"], at_least=5)


def test_captioned_scenes():
    data = load_captioned_scenes(5, 3, 2, size=32, seed=7)
    assert [len(split) for split in (data.train, data.val, data.test)] == [5, 3, 2]
    drawn = scenes(3, 32, (7, 1))
    assert data.val.captions == tuple((caption,) for caption in drawn.captions)
    assert torch.equal(data.val.read([2, 0]), drawn.images[[2, 0]])
    assert data.val.names == ("scene 0", "scene 1", "scene 2")
