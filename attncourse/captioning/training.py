"""Train a captioner: teacher forcing, cross-entropy, Adam; stop when the validation BLEU-4 no longer rises."""

import hashlib
import math
import platform
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from attncourse.captioning.decoder import Captioner, beam_search
from attncourse.captioning.scores import scores
from attncourse.checkpoint import load_checkpoint, save_checkpoint
from attncourse.datasets.captions import CaptionSplit, Vocabulary
from attncourse.training import compute_dtype, device_name, seeded

IGNORED = -100  # the target of a position behind the end


@dataclass(frozen=True)
class CaptionConfig:
    """What a run does."""

    epochs: int = 6  # passes over the training captions, at most
    patience: int = 2  # epochs without a better BLEU-4 on the validation split before it stops
    batch_size: int = 64  # captions
    lr: float = 3e-3  # of Adam at the start; it falls to 0 in a straight line over all epochs
    clip: float = 5.0  # largest norm of the gradient
    longest: int = 20  # words of a training caption with its end, and of a sentence that is written
    beam: int = 3  # of the sentences that are scored
    seed: int = 0  # of the data's order and of dropout; build the model under seeded() to seed its weights


def train_captioner(model: Captioner, maps: dict[str, Tensor], train: CaptionSplit, val: CaptionSplit,
                    vocabulary: Vocabulary, config: CaptionConfig = CaptionConfig(), *, checkpoint: Path | None = None,
                    every: int = 100, progress: bool = True) -> dict:
    """Train a captioner on the device where its parameters are. At the end it holds the weights of its best epoch.

    Interrupting it ends the training: the finished epochs are kept, and the result says "complete": False. With a
    checkpoint the interruption is passed on; the same call goes on from there.

    Args:
        maps: what the model's encoder takes, for "train" and "val", any dtype.
        train, val: the splits whose captions are learned and scored against.
        vocabulary: of the training split.
        config: what to do.
        checkpoint: a file that is written every so many steps and after each epoch. If it is there at the start, the
            run goes on from it, with the same numbers as a run that was never stopped. Delete it when the result is
            safe.
        progress: print a bar, and a line per epoch.

    Raises:
        ValueError: if maps and captions do not fit, or the checkpoint belongs to another run.
        FloatingPointError: if the loss is no longer finite.
        KeyboardInterrupt: if it was interrupted with a checkpoint, or before the first epoch was finished.
    """
    for name, split in (("train", train), ("val", val)):
        if len(maps[name]) != len(split):
            raise ValueError(f"{len(maps[name])} maps do not fit the {len(split)} pictures of the split {name}")
    device = next(model.parameters()).device
    pairs, val_pairs = (pairs_of(split, vocabulary, config.longest) for split in (train, val))
    learned = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(learned, config.lr)
    run = {"config": asdict(config), "decoder": asdict(model.config), "parameters": sum(p.numel() for p in learned),
           "captions": fingerprint(pairs), "vocabulary": fingerprint(vocabulary.words), "device": device_name(device)}
    done = {"epochs": [], "best": None, "step": 0, "loss": 0.0, "seconds": 0.0, "total_seconds": 0.0}
    best_weights = {}
    with seeded(config.seed):  # dropout
        if checkpoint is not None and checkpoint.exists():
            best_weights, done = load_checkpoint(checkpoint, run, model, optimizer)

        def save() -> None:
            if checkpoint is not None:
                save_checkpoint(checkpoint, run, model, best_weights, done, optimizer)

        try:
            while len(done["epochs"]) < config.epochs and not exhausted(done, config):
                for _ in train_epoch(model, optimizer, maps["train"], pairs, config, done, progress):
                    if done["step"] % every == 0:
                        save()
                start = time.perf_counter()
                epoch = validate(model, maps["val"], val, val_pairs, vocabulary, config)
                epoch |= {"loss": done["loss"] / done["step"], "seconds": done["seconds"]}
                if done["best"] is None or epoch["val_BLEU-4"] > done["epochs"][done["best"]]["val_BLEU-4"]:
                    done["best"] = len(done["epochs"])
                    best_weights = {name: value.clone() for name, value in model.state_dict().items()}
                done["epochs"].append(epoch)
                done["total_seconds"] += done["seconds"] + time.perf_counter() - start
                done |= {"step": 0, "loss": 0.0, "seconds": 0.0}
                save()
                if progress:
                    print(f"epoch {len(done['epochs'])}/{config.epochs}: loss {epoch['loss']:.3f}, validation BLEU-4 "
                          f"{epoch['val_BLEU-4']:.3f}", flush=True)
        except KeyboardInterrupt:
            if checkpoint is not None or done["best"] is None:
                raise
            print(f"Interrupted: kept the {len(done['epochs'])} finished epochs.")
    model.load_state_dict(best_weights)
    model.eval()
    seconds = statistics.median(epoch["seconds"] for epoch in done["epochs"])
    return {"parameters": run["parameters"], "epochs": done["epochs"], "best_epoch": done["best"] + 1,
            "complete": len(done["epochs"]) == config.epochs or exhausted(done, config),
            "seconds": done["total_seconds"], "captions_per_second": len(pairs) / seconds,
            "threads": torch.get_num_threads(), "dtype": str(compute_dtype(device)).removeprefix("torch."),
            "python": platform.python_version()}


def train_epoch(model: Captioner, optimizer: torch.optim.Optimizer, maps: Tensor, pairs: list, config: CaptionConfig,
                done: dict, progress: bool) -> Iterator[None]:
    """The rest of an epoch, step by step: what is done so far grows with each."""
    model.train()
    number, step = len(done["epochs"]), done["step"]
    batches = batches_of(pairs, config, number)
    bar = tqdm(batches[step:], f"epoch {number + 1}/{config.epochs}", len(batches), leave=False, initial=step,
               disable=not progress, file=sys.stdout, mininterval=1, delay=5)
    for batch in bar:
        start = time.perf_counter()
        past = (number + done["step"] / len(batches)) / config.epochs
        optimizer.param_groups[0]["lr"] = config.lr * (1 - past)
        done["loss"] += train_step(model, optimizer, maps, batch, config.clip)
        done["step"] += 1
        done["seconds"] += time.perf_counter() - start
        yield


def validate(model: Captioner, maps: Tensor, split: CaptionSplit, pairs: list, vocabulary: Vocabulary,
             config: CaptionConfig) -> dict:
    """The scores of the sentences that the captioner writes now, and its loss on the true ones."""
    measured = scores(write(model, maps, vocabulary, config.beam, config.longest), split.captions)
    return {"val_loss": mean_loss(model, maps, pairs, config), "val_BLEU-4": measured["BLEU-4"],
            "val_CIDEr": measured["CIDEr"]}


def fingerprint(content: object) -> str:
    return hashlib.sha256(repr(content).encode()).hexdigest()


def exhausted(done: dict, config: CaptionConfig) -> bool:
    """Whether so many epochs have brought nothing that the training stops."""
    return done["best"] is not None and len(done["epochs"]) - 1 - done["best"] >= config.patience


def pairs_of(split: CaptionSplit, vocabulary: Vocabulary, longest: int) -> list[tuple[int, list[int]]]:
    """(picture, the numbers of a caption's words) for all captions. A caption that is too long with its end is cut, and
    ends there."""
    return [(picture, vocabulary.encode(caption)[:longest - 1])
            for picture, captions in enumerate(split.captions) for caption in captions]


def batches_of(pairs: Sequence[tuple[int, list[int]]], config: CaptionConfig, epoch: int) -> list[list]:
    """An epoch's batches of (picture, caption) in their order, which depends on the seed and the epoch alone.

    Captions of similar length share a batch, so that little is computed behind their ends.
    """
    generator = torch.Generator().manual_seed(1_000_003 * config.seed + epoch)
    shuffled = [pairs[position] for position in torch.randperm(len(pairs), generator=generator)]
    pool = 50 * config.batch_size
    batches = []
    for start in range(0, len(shuffled), pool):
        chosen = sorted(shuffled[start:start + pool], key=lambda pair: len(pair[1]))
        batches += [chosen[i:i + config.batch_size] for i in range(0, len(chosen), config.batch_size)]
    return [batches[position] for position in torch.randperm(len(batches), generator=generator)]


def targets_of(captions: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
    """The previous words and the words to predict, (B, T): the first start, the last predict the end."""
    longest = max(map(len, captions)) + 1
    previous = torch.full((len(captions), longest), Vocabulary.END)
    target = torch.full((len(captions), longest), IGNORED)
    for row, words in enumerate(captions):
        previous[row, :len(words) + 1] = torch.tensor([Vocabulary.START, *words])
        target[row, :len(words) + 1] = torch.tensor([*words, Vocabulary.END])
    return previous, target


def batch_loss(model: Captioner, maps: Tensor, batch: list[tuple[int, list[int]]]) -> Tensor:
    """Mean cross-entropy per word of a batch of (picture, caption), with the true words before each."""
    device = next(model.parameters()).device
    dtype = compute_dtype(device)
    previous, target = (each.to(device) for each in targets_of([words for _, words in batch]))
    with torch.autocast(device.type, dtype, enabled=dtype == torch.bfloat16):
        logits = model(maps[[picture for picture, _ in batch]].to(device).float(), previous)
    return F.cross_entropy(logits.float().flatten(0, 1), target.flatten(), ignore_index=IGNORED)


def train_step(model: Captioner, optimizer: torch.optim.Optimizer, maps: Tensor, batch: list, clip: float) -> float:
    """One step of gradient descent. Returns the loss."""
    loss = batch_loss(model, maps, batch)
    value = loss.item()
    if not math.isfinite(value):
        raise FloatingPointError(f"the training loss became {value}: try a smaller lr")
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()
    return value


@torch.inference_mode()
def mean_loss(model: Captioner, maps: Tensor, pairs: list, config: CaptionConfig) -> float:
    """The loss over a split in eval mode: the mean over batches of their means per word."""
    model.eval()
    batches = batches_of(pairs, config, 0)
    return sum(batch_loss(model, maps, batch).item() for batch in batches) / len(batches)


def write(model: Captioner, maps: Tensor, vocabulary: Vocabulary, beam: int, longest: int = 20,
          batch_size: int = 100) -> list[str]:
    """A sentence for each picture, by beam search."""
    model.eval()
    device = next(model.parameters()).device
    return [vocabulary.decode(words) for part in maps.split(batch_size)
            for words in beam_search(model, part.to(device).float(), beam, longest)]
