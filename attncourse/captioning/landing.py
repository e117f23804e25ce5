"""On scenes, where the right answer is known: which words of a sentence are right, and does the map of a word lie on
the coloured shape?"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from attncourse.captioning.decoder import Captioner
from attncourse.captioning.training import targets_of
from attncourse.datasets.captions import Vocabulary, words
from attncourse.localization import energy_inside

KINDS = ("a", "size", "colour", "shape", "place", "grey", "end")  # in the order of a scene's caption
GREY = ("among", "beside", "alone")  # with these the grey shapes' part begins


def kinds_of(sentence: Sequence[str]) -> list[str]:
    """The kind of each word of a scene's caption, and of the end."""
    grey = next((position for position, word in enumerate(sentence) if word in GREY), len(sentence))
    return [KINDS[min(position, 4)] if position < grey else "grey" for position in range(len(sentence))] + ["end"]


def right_words(sentences: Sequence[str], captions: Sequence[str]) -> dict[str, float]:
    """The share of sentences that say a scene's size, colour, shape, place and grey shapes as its caption does."""
    def part(sentence: str, kind: str) -> list[str]:
        said = words(sentence)
        return [word for word, each in zip(said, kinds_of(said)) if each == kind]

    return {kind: sum(part(said, kind) == part(true, kind) for said, true in zip(sentences, captions)) / len(captions)
            for kind in KINDS[1:-1]}


def ideal(masks: Tensor, side: int = 8) -> float:
    """What the coloured shape itself scores, drawn as a map of side × side positions."""
    return energy_inside(F.adaptive_avg_pool2d(masks[:, None].float(), side)[:, 0], masks).mean().item()


@torch.inference_mode()
def inside(model: Captioner, images: Tensor, masks: Tensor, captions: Sequence[str],
           vocabulary: Vocabulary) -> dict[str, list[float]] | None:
    """The share of a word's spatial map that lies on the coloured shape, mean over the words of a kind, with the true
    words before each.

    Args:
        images: (N, 3, H, W), uint8. masks: (N, H, W), bool.

    Returns:
        For each of KINDS a number per attended layer; None for a captioner without spatial attention.
    """
    previous, _ = targets_of([vocabulary.encode(caption) for caption in captions])
    x, h, c = model.start(images.float())
    shares = []  # of each step: (layers, N)
    for embedded in model.embed(previous).unbind(1):
        h, c, weights = model.step(x, h, c, embedded)
        if "spatial" not in weights[0]:
            return None
        shares.append(torch.stack([energy_inside(layer["spatial"][:, 0], masks) for layer in weights]))
    shares = torch.stack(shares, 2)  # (layers, N, T)
    found = {kind: [] for kind in KINDS}
    for row, caption in enumerate(captions):
        for step, kind in enumerate(kinds_of(words(caption))):
            found[kind].append(shares[:, row, step])
    return {kind: torch.stack(each).mean(0).tolist() for kind, each in found.items()}
