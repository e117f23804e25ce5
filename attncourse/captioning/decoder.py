"""A network that writes a sentence about a picture, with attention that changes from word to word.

Before each word SCA looks at the encoder's maps with the state of an LSTM. What it lets through is averaged over the
positions and goes into the LSTM, together with the previous word; the next word comes from an MLP of the new state and
the previous word. The authors' code also brings the average to length 1; we do not.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from attncourse.datasets.captions import Vocabulary
from attncourse.sca_cnn import SCA, SCALayers


@dataclass(frozen=True)
class DecoderConfig:
    """The sizes of a captioner."""

    order: str = "channel-spatial"  # of the attentions, see SCA
    width: int = 128  # k of the attentions
    rescale: bool = True  # the attentions' means are 1
    state: int = 320  # d of the LSTM
    embedding: int = 128  # of a word
    dropout: float = 0.3  # in the MLP


DEFAULT = DecoderConfig()


class Captioner(nn.Module):
    """From maps to sentences.

    Args:
        encoder: makes the map at the first attended layer; computed once per picture.
        channels: C at each attended layer.
        vocabulary: how many words there are, with the three special ones.
        config: the sizes.
        between: what leads from each attended layer to the next, one less than the channels.

    Shapes:
        maps: what the encoder takes; words (B, T), the previous words; output (B, T, vocabulary), logits.
    """

    def __init__(self, encoder: nn.Module, channels: Sequence[int], vocabulary: int,
                 config: DecoderConfig = DEFAULT, between: Sequence[nn.Module] = ()):
        super().__init__()
        self.encoder, self.config = encoder, config
        state, embedding = config.state, config.embedding
        attentions = [SCA(C, state, config.width, config.order, config.rescale) for C in channels]
        self.attended = SCALayers(attentions, between)
        self.embed = nn.Embedding(vocabulary, embedding)
        self.first_h, self.first_c = nn.Linear(channels[-1], state), nn.Linear(channels[-1], state)
        self.lstm = nn.LSTMCell(channels[-1] + embedding, state)
        self.dropout = nn.Dropout(config.dropout)
        self.hidden = nn.Linear(state + embedding, state)
        self.word = nn.Linear(state, vocabulary)

    def start(self, maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Before the first word: the map at the first attended layer, and the LSTM's two states (B, d)."""
        x = self.encoder(maps).contiguous(memory_format=torch.channels_last)
        y = x
        for layers in self.attended.between:
            y = layers(y)
        mean = y.mean((2, 3))
        return x, self.first_h(mean).tanh(), self.first_c(mean).tanh()

    def step(self, x: Tensor, h: Tensor, c: Tensor, embedded: Tensor) -> tuple[Tensor, Tensor, list[dict]]:
        """One word further: the LSTM's new states, and the attention weights of each attended layer.

        Args:
            x: the map that start gave. Every word begins from it, never from the map that the last word attended.
            embedded: the previous word's vector, (B, embedding).
        """
        attended, weights = self.attended(x, h)
        h, c = self.lstm(torch.cat([attended.mean((2, 3)), embedded], 1), (h, c))
        return h, c, weights

    def logits(self, h: Tensor, embedded: Tensor) -> Tensor:
        """The next word's logits from the new state and the previous word."""
        return self.word(self.dropout(self.hidden(self.dropout(torch.cat([h, embedded], -1))).tanh()))

    def forward(self, maps: Tensor, words: Tensor) -> Tensor:
        """Teacher forcing: each word is predicted after the true ones before it."""
        x, h, c = self.start(maps)
        embedded = self.embed(words)  # (B, T, embedding)
        states = []
        for previous in embedded.unbind(1):
            h, c, _ = self.step(x, h, c, previous)
            states.append(h)
        return self.logits(torch.stack(states, 1), embedded)


@dataclass(frozen=True)
class Caption:
    """A sentence about one picture, and where the network looked for each word.

    Args:
        words: T words; the last is ``<end>``, unless the sentence was cut.
        score: mean log-probability of these words.
        spatial: for each attended layer (T, H, W), or None without spatial attention.
        channel: for each attended layer (T, C), or None without channel attention.
    """

    words: tuple[str, ...]
    score: float
    spatial: tuple[Tensor | None, ...]
    channel: tuple[Tensor | None, ...]

    @property
    def text(self) -> str:
        return " ".join(word for word in self.words if word != "<end>")


def log_probabilities(model: Captioner, h: Tensor, embedded: Tensor) -> Tensor:
    """Of the words that may be said next, (B, vocabulary); ``<start>`` and ``<unknown>`` never are."""
    logits = model.logits(h, embedded).float()
    logits[:, [Vocabulary.START, Vocabulary.UNKNOWN]] = -torch.inf
    return logits.log_softmax(1)


@torch.inference_mode()
def beam_search(model: Captioner, maps: Tensor, beam: int = 3, longest: int = 20) -> list[list[int]]:
    """For each picture the sentence of highest mean log-probability per word among those that the search keeps.

    All beams of all pictures go through the network together. With one beam it takes the likeliest word each time.

    Args:
        beam: how many beginnings of sentences are kept for each picture.
        longest: words, with the end; a sentence that has not ended by then is cut.

    Raises:
        ValueError: if beam or longest is below 1.
    """
    if min(beam, longest) < 1:
        raise ValueError(f"beam and longest must be at least 1, got {beam} and {longest}")
    B, device = len(maps), maps.device
    x, h, c = (each.repeat_interleave(beam, 0) for each in model.start(maps))
    x = x.contiguous(memory_format=torch.channels_last)  # repeating has lost it
    word = torch.full((B * beam,), Vocabulary.START, device=device)
    total = torch.tensor([0.0] + [-torch.inf] * (beam - 1), device=device).repeat(B, 1)  # at first all beams are one
    length = torch.zeros(B, beam, device=device)
    said = torch.zeros(B, beam, 0, dtype=torch.long, device=device)
    ended = torch.zeros(B, beam, dtype=torch.bool, device=device)
    only_end = torch.full((model.word.out_features,), -torch.inf, device=device)
    only_end[Vocabulary.END] = 0
    first_row = beam * torch.arange(B, device=device)[:, None]
    for _ in range(longest):
        embedded = model.embed(word)
        h, c, _ = model.step(x, h, c, embedded)
        scores = log_probabilities(model, h, embedded).view(B, beam, -1)
        scores = torch.where(ended[..., None], only_end, scores)  # what has ended stays as it is
        totals, lengths = total[..., None] + scores, length + ~ended
        best = (totals / lengths[..., None]).flatten(1).topk(beam).indices  # the best one first
        parent, word = best // scores.shape[2], best % scores.shape[2]
        total, length = totals.flatten(1).gather(1, best), lengths.gather(1, parent)
        ended = ended.gather(1, parent) | (word == Vocabulary.END)
        said = torch.cat([said.gather(1, parent[..., None].expand_as(said)), word[..., None]], 2)
        rows, word = (first_row + parent).flatten(), word.flatten()
        h, c = h[rows], c[rows]
        if ended.all():
            break
    return [up_to_end(words) for words in said[:, 0].tolist()]


def up_to_end(words: list[int]) -> list[int]:
    """The words up to the first end, with it."""
    return words[:words.index(Vocabulary.END) + 1] if Vocabulary.END in words else words


@torch.inference_mode()
def read_along(model: Captioner, maps: Tensor, numbers: Sequence[int], vocabulary: Vocabulary) -> Caption:
    """What the network looks at while it says these words about one picture.

    Args:
        maps: what the encoder takes, (1, …).
        numbers: of the words, with the end where there is one.

    Raises:
        ValueError: if there are no words, or more than one picture.
    """
    if not numbers or len(maps) != 1:
        raise ValueError(f"expected one picture and at least one word, got {len(maps)} and {len(numbers)}")
    x, h, c = model.start(maps)
    steps, score = [], 0.0
    for previous, number in zip([Vocabulary.START, *numbers], numbers):
        embedded = model.embed(torch.tensor([previous], device=x.device))
        h, c, weights = model.step(x, h, c, embedded)
        score += log_probabilities(model, h, embedded)[0, number].item()
        steps.append(weights)

    def kept(kind: str, index: slice | int | tuple) -> tuple[Tensor | None, ...]:
        layers = zip(*steps)  # the steps of each attended layer
        return tuple(torch.stack([weights[kind][0][index] for weights in layer]) if kind in layer[0] else None
                     for layer in layers)

    return Caption(tuple(vocabulary.words[number] for number in numbers), score / len(numbers), kept("spatial", 0),
                   kept("channel", (slice(None), 0, 0)))
