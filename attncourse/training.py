"""One readable training loop, and the record that it leaves.

``train(model, data, config)`` keeps the images on the device as uint8 and normalises them there, batch by batch; there
are no DataLoader workers. After each epoch it measures the validation split; at the end the model holds the weights of
the epoch with the best validation accuracy, and only that epoch is tested.
"""

import datetime
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from attncourse import __version__
from attncourse.checkpoint import load_checkpoint, save_checkpoint
from attncourse.datasets.images import ImageData, Split

SCHEMA = 1  # of TrainRecord's JSON; raise it when a field changes its meaning


@dataclass(frozen=True)
class TrainConfig:
    """What a run does. The defaults are the report's protocol."""

    epochs: int = 10  # passes over the training images
    batch_size: int = 128  # the last, smaller batch of an epoch is dropped
    lr: float = 0.1  # constant step size of SGD without momentum or weight decay
    augment: bool = False  # random mirror, and random crop after padding by 4
    seed: int = 0  # of data order, augmentation and dropout; build the model under seeded() to seed its weights
    dtype: str = "auto"  # of the convolutions: "float32", "bfloat16", "float16", or what suits the device

    def __post_init__(self):
        if self.epochs < 1 or self.batch_size < 1 or self.lr <= 0:
            raise ValueError(f"epochs and batch_size must be at least 1 and lr above 0, got {self}")
        if self.dtype not in ("auto", "float32", "bfloat16", "float16"):
            raise ValueError(f"dtype must be auto, float32, bfloat16 or float16, got {self.dtype!r}")


@dataclass(frozen=True)
class TrainRecord:
    """Everything that a page needs to print a result, and a reader to repeat it."""

    network: str  # what was trained, e.g. "cnn+se"
    parameters: int
    dataset: str
    dataset_sha256: str
    dataset_order: str  # where the index order of the validation split comes from
    images: dict[str, int]  # how many in train, val and test
    column: str  # the protocol: "as described", "smoke", ...
    command: str  # what repeats the run
    seed: int
    config: dict
    epochs: list[dict]  # one entry per finished epoch: train and val loss and accuracy, predicted classes, seconds
    best_epoch: int  # counted from 1; chosen on the validation split
    test_loss: float
    test_accuracy: float
    complete: bool  # False when the run was interrupted before its last epoch
    wall_seconds: float  # all of it: training, validation and test
    images_per_second: float  # training only, median over the epochs
    device: str
    threads: int
    dtype: str
    versions: dict[str, str]
    date: str  # UTC
    schema: int = SCHEMA

    @property
    def name(self) -> str:
        """Of a run on CIFAR-10, e.g. "cifar10-as-described-cnn+se-seed0"."""
        return run_name(self.network, self.column, self.seed)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "TrainRecord":
        """Read a record.

        Raises:
            ValueError: if the text is not a record of this schema.
        """
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"not a training record: {error}") from None
        names = {field.name for field in fields(cls)}
        if not isinstance(values, dict) or values.get("schema") != SCHEMA or set(values) != names:
            raise ValueError(f"not a training record of schema {SCHEMA}")
        return cls(**values)


def run_name(network: str, column: str, *seeds: int) -> str:
    """What the files of a run on CIFAR-10, or of several seeds side by side, are called."""
    return f"cifar10-{column.replace(' ', '-')}-{network}-seed{'-'.join(map(str, seeds))}"


@dataclass(frozen=True)
class Budget:
    """What a training cell may spend on this machine."""

    name: str  # "smoke" shows the loop; "full" gives a result
    device: torch.device
    epochs: int
    train_images: int | None  # None: all of them
    message: str  # for the page and the output: which of the two was run


def budget() -> Budget:
    """The one place where the course asks what it may spend: the full run on a GPU, a few seconds on a CPU.

    ATTNCOURSE_BUDGET=smoke in the environment asks for the few seconds everywhere; the tests and the book do.
    """
    smoke = Budget("smoke", torch.device("cpu"), 2, 1024,
                   "SMOKE RUN on the CPU: a few seconds on a few images. It shows the loop, it is NOT a result.")
    if os.environ.get("ATTNCOURSE_BUDGET") == "smoke":
        return smoke
    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
        return Budget("full", torch.device("cuda"), 10, None, f"Full run on {name}.")
    if torch.backends.mps.is_available():
        return Budget("full", torch.device("mps"), 10, None, "Full run on this Mac's GPU.")
    return smoke


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch inside the block and put the global generators back afterwards.

    ``with seeded(0): model = ReportCNN()`` makes the same weights every time.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def train(model: nn.Module, data: ImageData, config: TrainConfig = TrainConfig(), *, network: str = "network",
          column: str = "own run", command: str = "train() in a notebook", progress: bool = True,
          checkpoint: Path | None = None, after_epoch: Callable[[], object] = lambda: None) -> TrainRecord:
    """Train a classifier with SGD and cross-entropy, on the device where its parameters are.

    When it returns, the model holds the weights of the best validation epoch and is in eval mode. Interrupting it
    (Ctrl-C, or the stop button) ends the training: the finished epochs are kept and recorded as an incomplete run.

    Args:
        model: takes normalised images (B, 3, H, W), gives logits (B, classes).
        data: the images; their uint8 tensors are moved to the model's device once.
        config: what to do.
        network, column, command: go into the record.
        progress: print a bar and one line per epoch to standard output.
        checkpoint: a file that is written after each epoch. If it is there at the start, the run goes on from it; on a
            CPU or a CUDA device it ends with the same weights as a run that was never stopped. Delete it when the
            result is safe.
        after_epoch: called after each epoch, when its checkpoint is written.

    Raises:
        ValueError: if there are fewer training images than one batch, or the checkpoint belongs to another run.
        FloatingPointError: if the loss is no longer finite.
        KeyboardInterrupt: if it was interrupted before the first epoch was finished.
    """
    if len(data.train) < config.batch_size:
        raise ValueError(f"{len(data.train)} training images do not fill a batch of {config.batch_size}: "
                         "use more images or a smaller batch_size")
    start = time.perf_counter()
    device = next(model.parameters()).device
    dtype = compute_dtype(device) if config.dtype == "auto" else getattr(torch, config.dtype)
    model.to(memory_format=torch.channels_last)
    train_split, val, test = (split.to(device) for split in (data.train, data.val, data.test))
    normalise = Normalise(data.mean, data.std, device)
    optimizer = torch.optim.SGD(model.parameters(), lr=config.lr)
    scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)
    order = torch.Generator().manual_seed(config.seed)  # data order and augmentation
    epochs, best, seconds_before = [], None, 0.0
    identity = {"network": network, "dataset": data.sha256, "config": asdict(config), "device": device_name(device),
                "dtype": str(dtype)}
    with seeded(config.seed):  # dropout
        if checkpoint is not None and checkpoint.exists():
            weights, stored = load_checkpoint(checkpoint, identity, model, optimizer, scaler, order)
            epochs, best, seconds_before = stored["epochs"], stored["best"], stored["seconds"]
        try:
            for number in range(len(epochs) + 1, config.epochs + 1):
                epoch_start = time.perf_counter()
                loss, accuracy = train_epoch(model, train_split, normalise, optimizer, scaler, config, order, dtype,
                                             f"epoch {number}/{config.epochs}" if progress else None)
                seconds = time.perf_counter() - epoch_start
                validated = evaluate(model, val, normalise, dtype)
                epochs.append({"train_loss": loss, "train_accuracy": accuracy, "val_loss": validated.loss,
                               "val_accuracy": validated.accuracy, "val_classes": validated.classes,
                               "seconds": seconds})
                if best is None or validated.accuracy > epochs[best]["val_accuracy"]:
                    weights = {name: value.clone() for name, value in model.state_dict().items()}
                    best = number - 1
                if checkpoint is not None:
                    so_far = {"epochs": epochs, "best": best, "seconds": seconds_before + time.perf_counter() - start}
                    save_checkpoint(checkpoint, identity, model, weights, so_far, optimizer, scaler, order)
                if progress:
                    print(f"epoch {number}/{config.epochs}: train {accuracy:.1%}, validation {validated.accuracy:.1%}")
                after_epoch()
        except KeyboardInterrupt:
            if best is None:
                raise
            print(f"Interrupted: kept the {len(epochs)} finished epochs.")
    model.load_state_dict(weights)
    tested = evaluate(model, test, normalise, dtype)
    return record_of(model, data, config, epochs, best, tested, network=network, column=column, command=command,
                     dtype=dtype, seconds=seconds_before + time.perf_counter() - start)


def record_of(model: nn.Module, data: ImageData, config: TrainConfig, epochs: list[dict], best: int,
              tested: "Evaluation", *, network: str, column: str, command: str, dtype: torch.dtype,
              seconds: float) -> TrainRecord:
    """The record of a run whose best epoch is epochs[best], and what the test of it gave."""
    device = next(model.parameters()).device
    per_epoch = len(data.train) // config.batch_size * config.batch_size
    return TrainRecord(
        network=network, parameters=sum(p.numel() for p in model.parameters()),
        dataset=data.name, dataset_sha256=data.sha256, dataset_order=data.order,
        images={"train": len(data.train), "val": len(data.val), "test": len(data.test)},
        column=column, command=command, seed=config.seed, config=asdict(config),
        epochs=epochs, best_epoch=best + 1, test_loss=tested.loss, test_accuracy=tested.accuracy,
        complete=len(epochs) == config.epochs, wall_seconds=seconds,
        images_per_second=per_epoch / statistics.median(epoch["seconds"] for epoch in epochs),
        device=device_name(device), threads=torch.get_num_threads(), dtype=str(dtype).removeprefix("torch."),
        versions={"python": platform.python_version(), "torch": torch.__version__, "attncourse": __version__},
        date=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"))


def train_epoch(model, split, normalise, optimizer, scaler, config, order, dtype, title) -> tuple[float, float]:
    """One pass over the split in a new random order. Returns mean loss and accuracy over the images seen."""
    model.train()
    device = split.images.device
    batches = torch.randperm(len(split), generator=order).to(device).split(config.batch_size)
    batches = batches[:len(split) // config.batch_size]  # drop the last, smaller batch
    total_loss, correct = torch.zeros((), device=device), torch.zeros((), device=device)
    bar = tqdm(batches, desc=title, disable=title is None, file=sys.stdout, leave=False, mininterval=0.5, delay=10)
    for index in bar:  # shown when the epoch takes longer than the delay
        x, y = split.images[index], split.labels[index]
        if config.augment:
            x = crop_and_mirror(x, order)
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            logits = model(normalise(x))
        loss = F.cross_entropy(logits.float(), y)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        total_loss += loss.detach()
        correct += (logits.argmax(1) == y).sum()
    mean_loss = total_loss.item() / len(batches)
    if not torch.isfinite(total_loss):
        raise FloatingPointError(f"the training loss became {mean_loss}: try a smaller lr than {config.lr}")
    return mean_loss, correct.item() / (len(batches) * config.batch_size)


class Evaluation(NamedTuple):
    """What a network does on a split."""

    loss: float  # mean cross-entropy
    accuracy: float
    classes: int  # how many classes it predicts for at least one image: fewer than there are if it has lost some


@torch.inference_mode()
def evaluate(model: nn.Module, split: Split, normalise: "Normalise", dtype: torch.dtype) -> Evaluation:
    """Loss, accuracy and predicted classes over a split, in eval mode."""
    model.eval()
    device = split.images.device
    loss, predictions = torch.zeros((), device=device), []
    for x, y in zip(split.images.split(500), split.labels.split(500)):
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            logits = model(normalise(x)).float()
        loss += F.cross_entropy(logits, y, reduction="sum")
        predictions.append(logits.argmax(1))
    predicted = torch.cat(predictions)
    correct = (predicted == split.labels).sum()
    return Evaluation(loss.item() / len(split), correct.item() / len(split), len(predicted.unique()))


class Normalise:
    """uint8 images (B, 3, H, W) -> floats with mean 0 and standard deviation 1 per channel, channels last."""

    def __init__(self, mean, std, device: torch.device | str = "cpu"):
        mean, std = (torch.tensor(values, device=device).view(1, -1, 1, 1) for values in (mean, std))
        self.scale, self.shift = 1 / (255 * std), -mean / std

    def __call__(self, x: Tensor) -> Tensor:
        return (x * self.scale + self.shift).contiguous(memory_format=torch.channels_last)


def crop_and_mirror(x: Tensor, generator: torch.Generator, padding: int = 4) -> Tensor:
    """Shift each image of (B, C, H, W) by up to `padding` pixels (black comes in) and mirror half of them."""
    B, C, H, W = x.shape
    top, left = torch.randint(2 * padding + 1, (2, B, 1), generator=generator).to(x.device)
    mirror = (torch.rand(B, 1, generator=generator) < 0.5).to(x.device)
    rows = top + torch.arange(H, device=x.device)  # (B, H)
    columns = torch.arange(W, device=x.device)
    columns = left + torch.where(mirror, columns.flip(0), columns)  # (B, W)
    padded = F.pad(x, [padding] * 4)
    image = torch.arange(B, device=x.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def compute_dtype(device: torch.device) -> torch.dtype:
    """The fastest dtype that this device computes natively.

    A T4 claims bfloat16 but emulates it, so CUDA devices before compute capability 8.0 get float16.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16
    if device.type == "cpu" and torch.cpu.get_capabilities().get("avx512_bf16"):
        return torch.bfloat16
    return torch.float32


def device_name(device: torch.device) -> str:
    """What a reader would call this device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "cpu":
        return f"{torch.cpu.get_capabilities().get('cpu_name', platform.machine())} CPU"
    return device.type
