"""Widget of the SCA-CNN chapter: the words of a caption, one by one, with the positions and channels that each used.

It rests on plain functions (``read_beams``, ``part_of``, ``fewest``, ``on_curve``) that work and are tested without any
widget.
"""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from attncourse.widgets.attention import shrunk
from attncourse.widgets.base import QUIET, UP, CourseWidget, control, front_end

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

    from attncourse.captioning.decoder import Captioner
    from attncourse.datasets.captions import Vocabulary

BEAMS = (1, 2, 3, 5, 10)
POINTS = 64  # channels drawn, at most
DARKEST = 0.2  # what is left of the picture where the weight is 0
PARTS = (("upper left", "top", "upper right"), ("left", "centre", "right"), ("lower left", "bottom", "lower right"))


class Reading(NamedTuple):
    """A caption of T words, and what the first attended layer did at each. Weights are times their mean."""

    words: tuple[str, ...]  # as Caption has them: the last is <end>, unless the sentence was cut
    score: float  # mean log-probability of a word
    spatial: np.ndarray | None  # (T, h, w), or None without spatial attention
    means: np.ndarray | None  # (T, C), of the channels when the channel attention saw them, or None without one
    channel: np.ndarray | None  # (T, C), or None without channel attention


def read_beams(model: "Captioner", vocabulary: "Vocabulary", maps: "Tensor",
               beams: Sequence[int] = BEAMS) -> list[Reading]:
    """What a captioner in eval mode says about one picture with each width of its beam search.

    Args:
        maps: what the captioner's encoder takes, (1, …).
    """
    import torch

    from attncourse.captioning.decoder import beam_search, read_along

    found = []
    with torch.inference_mode():
        x = model.start(maps)[0][0]  # (C, h, w)
        for beam in beams:
            said = read_along(model, maps, beam_search(model, maps, beam)[0], vocabulary)
            spatial, channel, means = said.spatial[0], said.channel[0], None
            if channel is not None:
                first = next(iter(model.attended.attentions[0].parts))
                seen = x * spatial[:, None] if first == "spatial" else x.expand(len(said.words), -1, -1, -1)
                means = seen.mean((2, 3)).numpy()
            found.append(Reading(said.words, said.score,
                                 None if spatial is None else (spatial / spatial.mean((1, 2), keepdim=True)).numpy(),
                                 means, None if channel is None else (channel / channel.mean(1, keepdim=True)).numpy()))
    return found


def part_of(weights: np.ndarray) -> str | None:
    """The ninth of the picture whose mean weight is highest, in words; None where the weights (h, w) are even."""
    if weights.max() < 1.05 * weights.mean():
        return None
    rows, columns = ([slice(k * size // 3, -(-(k + 1) * size // 3)) for k in range(3)] for size in weights.shape)
    means = [[weights[row, column].mean() for column in columns] for row in rows]
    i, j = np.unravel_index(np.argmax(means), (3, 3))
    return PARTS[i][j]


def fewest(weights: np.ndarray, share: float = 0.5) -> int:
    """How many weights (n,) hold the share of their sum, if the largest are taken first."""
    ordered = np.sort(weights.astype(float))[::-1].cumsum()
    return int(np.searchsorted(ordered, share * ordered[-1] * (1 - 1e-9))) + 1


def on_curve(means: np.ndarray, points: int = POINTS) -> np.ndarray:
    """Which channels to draw: at most so many, evenly spread over the ranks of their means, both ends among them."""
    ranks = np.linspace(0, len(means) - 1, min(len(means), points)).round().astype(int)
    return np.argsort(means, kind="stable")[ranks]


def where(weights: np.ndarray) -> str:
    """Where the weights (h, w), times their mean, lie."""
    part, (h, w) = part_of(weights), weights.shape
    if part is None:
        return "all positions weigh about the same"
    i, j = np.unravel_index(weights.argmax(), weights.shape)
    return (f"most weight {part}, the highest, {weights.max():.1f} times the mean, in row {i + 1}, column {j + 1} of "
            f"{h} × {w}")


def spoken(word: str) -> str:
    return "the end" if word == "<end>" else f'"{word}"'


def checked(pictures: Sequence["Tensor | np.ndarray"], names: Sequence[str], readings: Sequence[Sequence[Reading]],
            beams: Sequence[int]) -> list[np.ndarray]:
    """The pictures (H, W, 3), made smaller, or a ValueError that says what is wrong."""
    if not len(pictures) == len(names) == len(readings) or not names:
        raise ValueError(f"at least one picture, each with its name and its readings, is needed, got {len(pictures)} "
                         f"pictures, {len(names)} names, {len(readings)} lists of readings")
    model = readings[0][0] if readings[0] else None
    for name, found in zip(names, readings):
        if len(found) != len(beams):
            raise ValueError(f"{name}: one reading for each of {len(beams)} beam widths is needed, got {len(found)}")
        for each in found:
            T = len(each.words)
            for kind, values, first in (("spatial", each.spatial, model.spatial), ("means", each.means, model.means),
                                        ("channel", each.channel, model.channel)):
                shape, want = np.shape(values), () if first is None else (T, *first.shape[1:])
                if shape != want or T == 0:
                    raise ValueError(f"{name}: {kind} of {T} words must be {want or None}, got {shape or None}")
    return [shrunk(picture).transpose(1, 2, 0) for picture in pictures]


class CaptionSteps(CourseWidget):
    """Step through the words of captions: what the network looked at before it said each.

    Args:
        pictures: each (3, H, W), uint8; they are made smaller, to 80 pixels on the longer side.
        names: what each picture shows: "an astronaut".
        readings: for each picture what was said with each beam width, as ``read_beams`` gives it.
        beams: those widths.

    Raises:
        ValueError: if names or readings do not fit.
    """

    _esm = front_end("caption_steps.js")

    def __init__(self, pictures: Sequence["Tensor | np.ndarray"], names: Sequence[str],
                 readings: Sequence[Sequence[Reading]], beams: Sequence[int] = BEAMS):
        self._pictures = checked(pictures, names, readings, beams)
        self._names, self._readings, self._beams = list(names), [list(found) for found in readings], list(beams)
        data, meta = packed(self._pictures, self._readings)
        longest = max(len(each.words) for found in self._readings for each in found)
        super().__init__(
            label="Which positions and channels each word used",
            controls=[
                control("picture", "Picture", self._names),
                control("beam", "Beam width", [str(beam) for beam in self._beams], "range"),
                control("word", "Word", [str(word + 1) for word in range(longest)], "range"),
            ],
            state={"picture": 0, "beam": len(self._beams) // 2, "word": min(1, longest - 1)},
            data=data, meta=meta,
        )

    def reading(self, state: Mapping[str, int]) -> tuple[Reading, int]:
        """The caption in this state, and the word: its last, where the state points beyond its end."""
        each = self._readings[state["picture"]][state["beam"]]
        return each, min(state["word"], len(each.words) - 1)

    def describe(self, state: Mapping[str, int]) -> str:
        each, t = self.reading(state)
        beyond = f" (there is no word {state['word'] + 1})" if state["word"] > t else ""
        used = []
        if each.spatial is not None:
            used.append(where(each.spatial[t]))
        if each.channel is not None:
            used.append(f"{fewest(each.channel[t])} of {each.channel.shape[1]} channels hold half the weight")
        sentence = " ".join(word for word in each.words if word != "<end>")
        return (f"Word {t + 1} of {len(each.words)}{beyond}, {spoken(each.words[t])}: "
                f"{'; '.join(used) or 'no weights'}. "
                f"{capital(self._names[state['picture']])}, beam width {self._beams[state['beam']]}: \"{sentence}\", "
                f"mean log-probability {signed(each.score)} a word.")

    def picture(self) -> "Figure":
        from matplotlib.figure import Figure  # no pyplot: nothing global is touched

        each, t = self.reading(self.state)
        photo = self._pictures[self.state["picture"]]
        weights = np.ones((1, 1)) if each.spatial is None else each.spatial[t]
        figure = Figure(figsize=(4.4, 5.2), layout="constrained")  # narrow: for phones
        axes = figure.subplot_mosaic([["left", "middle"], ["right", "right"]], height_ratios=(1, 0.9))
        left, middle, right = axes["left"], axes["middle"], axes["right"]
        left.imshow(dimmed(photo, weights))
        middle.imshow(weights, cmap="gray", vmin=0, vmax=weights.max())
        for each_axes, title in ((left, "picture, as weighted"), (middle, "α, weights of positions")):
            each_axes.set(xticks=[], yticks=[])
            each_axes.set_title(title, size="medium")
        if each.channel is None:
            right.text(0.5, 0.5, "no channel attention", ha="center", va="center", color=QUIET)
            right.set(xticks=[], yticks=[])
        else:
            chosen = on_curve(each.means[t])
            right.plot(each.means[t][chosen], each.channel[t][chosen], "o-", color=UP, ms=3, lw=1)
            right.axhline(1, color=QUIET, ls="--", lw=1)
            right.set(ylim=(0, 1.05 * each.channel.max()), xlabel="mean of the channel")
        right.set_title("β, weights of channels (their mean: 1)", size="medium")
        words = [f"[{word}]" if k == t else word for k, word in enumerate(each.words)]
        lines = textwrap.wrap(" ".join(words), 44)
        figure.suptitle(f"{self.chosen['picture']}, beam width {self.chosen['beam']}\n" + "\n".join(lines),
                        size="medium", parse_math=False)
        return figure


def packed(pictures: Sequence[np.ndarray], readings: Sequence[Sequence[Reading]]) -> tuple[np.ndarray, dict[str, Any]]:
    """Everything as bytes, and where in them it is: the pictures, then each sentence's words.

    A word has its map, highest 255, and the means and weights of the drawn channels, both over the sentence's range.
    """
    data, place = [picture.ravel() for picture in pictures], sum(picture.size for picture in pictures)
    which, sentences = [], []
    for found in readings:
        numbers: dict[tuple[str, ...], int] = {}  # widths that find the same sentence share it
        mine = []
        for each in found:
            if each.words not in numbers:
                numbers[each.words] = len(numbers)
                low, high, top = span(each)
                mine.append({"words": each.words, "start": place, "low": low, "high": high, "top": top})
                words = np.concatenate([bytes_of(each, t, low, high, top) for t in range(len(each.words))])
                data.append(words)
                place += len(words)
        which.append([numbers[each.words] for each in found])
        sentences.append(mine)
    first = readings[0][0]
    return np.concatenate(data), {
        "sizes": [list(picture.shape[:2]) for picture in pictures], "which": which, "sentences": sentences,
        "map": None if first.spatial is None else list(first.spatial.shape[1:]),
        "points": 0 if first.channel is None else min(POINTS, first.channel.shape[1]), "darkest": DARKEST,
        "positions": 1 if first.spatial is None else math.prod(first.spatial.shape[1:])}


def span(each: Reading) -> tuple[float, float, float]:
    """The smallest and largest mean, and the largest weight, of a sentence's channels."""
    if each.channel is None:
        return 0.0, 1.0, 1.0
    low, high = float(each.means.min()), float(each.means.max())
    return round(low, 6), round(max(high, low + 1e-6), 6), round(float(each.channel.max()), 4)


def bytes_of(each: Reading, t: int, low: float, high: float, top: float) -> np.ndarray:
    """One word's numbers, uint8, in the order in which caption_steps.js reads them."""
    parts = []
    if each.spatial is not None:
        parts.append(255 * each.spatial[t].ravel() / each.spatial[t].max())
    if each.channel is not None:
        chosen = on_curve(each.means[t])
        parts += [255 * (each.means[t][chosen] - low) / (high - low), 255 * each.channel[t][chosen] / top]
    return np.concatenate([part.round().clip(0, 255).astype(np.uint8) for part in parts] or [np.zeros(0, np.uint8)])


def dimmed(photo: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The photograph (H, W, 3), uint8: full where the weight (h, w) is highest, dark where it is 0."""
    rows, columns = (np.arange(size) * n // size for size, n in zip(photo.shape, weights.shape))
    kept = DARKEST + (1 - DARKEST) * weights[rows][:, columns] / weights.max()
    return np.round(photo * kept[..., None]).astype(np.uint8)


def signed(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def capital(name: str) -> str:
    return name[0].upper() + name[1:]
