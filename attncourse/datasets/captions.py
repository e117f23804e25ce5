"""Pictures with sentences: what every data set for captioning looks like, and the words that a network may say."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

WORD = re.compile(r"[a-z0-9]+(?:['-][a-z0-9]+)*|'s")


def words(caption: str) -> list[str]:
    """The words of a caption, in lower case, without punctuation."""
    return WORD.findall(caption.lower())


@dataclass(frozen=True)
class CaptionSplit:
    """Pictures and their captions.

    Args:
        names: what each picture is called, e.g. its file.
        captions: for each picture one or more sentences, as they were written.
        read: (positions) -> those pictures, (B, 3, H, W), uint8. They may be too many for the memory.
    """

    names: tuple[str, ...]
    captions: tuple[tuple[str, ...], ...]
    read: Callable[[Sequence[int]], Tensor]

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class CaptionData:
    """A data set for captioning.

    Args:
        name: what a page calls it, e.g. "Flickr8k, official split".
        train, val, test: the three splits.
    """

    name: str
    train: CaptionSplit
    val: CaptionSplit
    test: CaptionSplit


class Vocabulary:
    """The words of some captions, numbered. Numbers 0 to 2 are ``<end>``, ``<start>`` and ``<unknown>``.

    Args:
        captions: those of the training split, and no others.
        at_least: a word that occurs less often becomes ``<unknown>``.

    Raises:
        ValueError: if no word occurs often enough.
    """

    END, START, UNKNOWN = 0, 1, 2

    def __init__(self, captions: Iterable[str], at_least: int = 1):
        counts = Counter(word for caption in captions for word in words(caption))
        kept = sorted(word for word, count in counts.items() if count >= at_least)
        if not kept:
            raise ValueError(f"no word occurs {at_least} times: there is nothing to learn to say")
        self.number(("<end>", "<start>", "<unknown>", *kept))

    @classmethod
    def of(cls, words: Iterable[str]) -> "Vocabulary":
        """The vocabulary that had these words, the special ones among them, in their order."""
        vocabulary = cls.__new__(cls)
        vocabulary.number(words)
        return vocabulary

    def number(self, words: Iterable[str]) -> None:
        self.words = tuple(words)
        self.numbers = {word: number for number, word in enumerate(self.words)}

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, caption: str) -> list[int]:
        """The numbers of a caption's words, without start and end."""
        return [self.numbers.get(word, self.UNKNOWN) for word in words(caption)]

    def decode(self, numbers: Iterable[int]) -> str:
        """The sentence that these numbers say, up to the first end."""
        said = []
        for number in numbers:
            if number == self.END:
                break
            said.append(self.words[number])
        return " ".join(said)
