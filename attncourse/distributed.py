"""Train a torchvision ResNet with attention on a folder of images, by any number of processes and machines.

    torchrun --nproc-per-node 2 -m attncourse.distributed DATA --network resnet18 --attention se

DATA has the layout of ImageNet, ``DATA/train/<class>/<image>`` and ``DATA/val/<class>/<image>``. Each process trains a
copy of the network on its share of every batch; DistributedDataParallel averages their gradients, so that all copies
take the same step. One GPU a process (nccl), or CPU cores (gloo). Without torchrun it is one process.

The run leaves a result (JSON) and its weights in ``--runs``. Stopped by a signal, or killed, it goes on where its last
checkpoint was written when the same command is given again, with the same images in the same order, cropped alike.

Sources: the recipe is that of torchvision's reference script for ResNets (references/classification/README.md: 90
epochs, 8 × 32 images a step, step size 0.1 divided by 10 every 30 epochs, momentum 0.9, weight decay 1e-4), with the
linear warm-up over 5 epochs of Goyal et al., "Accurate, Large Minibatch SGD", 2017, arXiv 1706.02677.
"""

import argparse
import datetime
import hashlib
import json
import math
import os
import platform
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torchvision
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2
from tqdm import tqdm

from attncourse import __version__
from attncourse.atomic import write_atomic
from attncourse.autoencoder import ConvAutoencoderAttention
from attncourse.bam import BAM
from attncourse.cam_sam import SpatialAttention
from attncourse.cbam import CBAM
from attncourse.checkpoint import load_checkpoint, save_checkpoint
from attncourse.eca import ECA
from attncourse.resnet import PLACEMENTS, insert_attention
from attncourse.se import SEBlock
from attncourse.training import Normalise, compute_dtype, device_name, seeded

NETWORKS = {name: getattr(torchvision.models, name)
            for name in ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")}
ATTENTION = {"none": None, "se": SEBlock, "cbam": CBAM, "bam": BAM, "eca": ECA,
             "sam": lambda channels: SpatialAttention(), "autoencoder": ConvAutoencoderAttention}
DTYPES = ("auto", "float32", "bfloat16", "float16")
CHOICES = {"network": NETWORKS, "attention": ATTENTION, "placement": PLACEMENTS, "dtype": DTYPES}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pixels, as torchvision's networks have them


@dataclass(frozen=True)
class Config:
    """What is trained, and how; the number of processes is no part of it."""

    network: str = "resnet50"
    attention: str = "none"
    placement: str = "standard"  # of attention, as in resnet.insert_attention
    epochs: int = 90  # passes over the training images
    batch_size: int = 256  # images a step of all processes together; an epoch's last, smaller batch is dropped
    lr: float = 0.1  # for 256 images a step; multiply both by the same number
    warmup_epochs: int = 5  # the step size grows in a line from 0 to lr
    lr_step: int = 30  # epochs after which the step size is divided by 10
    weight_decay: float = 1e-4  # of all parameters
    size: int = 224  # pixels a side that the network sees
    seed: int = 0  # of the first weights, the order of the images and their crops
    dtype: str = "auto"  # of the convolutions; "auto" is what suits the device

    def __post_init__(self):
        for name in ("epochs", "batch_size", "lr_step", "size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.lr <= 0 or self.warmup_epochs < 0 or self.weight_decay < 0 or self.seed < 0:
            raise ValueError(f"lr must be above 0, warmup_epochs, weight_decay and seed not below 0, got {self}")

    @property
    def name(self) -> str:
        return self.network if self.attention == "none" else f"{self.network}+{self.attention}"


class RunEnded(Exception):
    """What ends the run on every process alike: a message, and the exit code."""

    def __init__(self, message: str, code: int):
        super().__init__(message)
        self.code = code


# ---- the processes --------------------------------------------------------------------------------------------------


def join_processes() -> None:
    """Meet the other processes that torchrun started, or be the only one.

    With GPUs, tensors there travel by nccl; signals and messages go by gloo and never wait for a GPU.

    Raises:
        SystemExit: if torchrun is to restart processes that die, but would not find them again.
    """
    if (os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0") != "0"
            and os.environ.get("TORCH_DISABLE_SHARE_RDZV_TCP_STORE") != "1"):  # all say it: who is alone cannot agree
        sys.exit("error: --max-restarts needs TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 in torchrun's environment: what it "
                 "starts anew would look for the others where those before had been, and wait for ever")
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    if "RANK" in os.environ:  # set by torchrun, like WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT
        dist.init_process_group(backend)
    else:
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)


def own_device() -> torch.device:
    """This process's GPU, or the CPU.

    Raises:
        ValueError: if the machine has fewer GPUs than processes.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    number, available = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
    if number >= available:
        raise ValueError(f"there are more processes than the {available} GPUs of a machine: "
                         f"--nproc-per-node {available}")
    torch.cuda.set_device(number)
    return torch.device("cuda", number)


def gather(value: Any) -> list:
    """The values of all processes, in their order."""
    values = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def together(work: Callable[[], Any]) -> Any:
    """Do this process's part of the work; if any process fails, end all of them with the first one's message."""
    result = trouble = None
    try:
        result = work()
    except (OSError, ValueError) as error:  # from a DataLoader worker it is a traceback that ends with the cause
        trouble = (str(error).strip() or repr(error)).splitlines()[-1].removeprefix("ValueError: ")
    for message in filter(None, gather(trouble)):
        raise RunEnded(f"error: {message}", 1)
    return result


@contextmanager
def noted_signals() -> Iterator[list[int]]:
    """Inside the block SIGTERM and SIGINT (Ctrl-C) end nothing; their numbers are put into the list."""
    arrived = []
    before = {number: signal.signal(number, lambda number, _: arrived.append(number))
              for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield arrived
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave_group(worker: int) -> None:
    """Called in a DataLoader worker: torchrun and terminals signal a whole process group, but the worker must live on.

    The batch that it loads belongs to the step that shall be finished.
    """
    os.setpgrp()


# ---- the images -----------------------------------------------------------------------------------------------------


class Images(ImageFolder):
    """A folder of images that are cropped and mirrored alike whenever seed, epoch and index are the same.

    Whichever process or worker loads an image, and in whatever order: that is what makes a run repeatable.

    Raises:
        FileNotFoundError: if there is no such folder, no class in it, or no image in a class.
    """

    def __init__(self, folder: Path, transform: nn.Module, seed: int = 0):
        if not folder.is_dir():
            raise FileNotFoundError(f"there is no folder {folder}: the images are expected in "
                                    "DATA/train/<class>/ and DATA/val/<class>/")
        try:
            super().__init__(folder, transform)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{folder}: {error}") from None
        self.seed, self.epoch = seed, 0

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """An image (3, size, size), uint8, and its label.

        Raises:
            ValueError: if the file cannot be read as an image; it names the file.
        """
        path, label = self.samples[index]
        try:
            image = self.loader(path)
        except Exception as error:  # Pillow raises many kinds for a damaged file
            raise ValueError(f"{path} cannot be read as an image ({error}): repair or remove it") from None
        with torch.random.fork_rng(devices=[]):
            number = np.random.SeedSequence((self.seed, self.epoch, index)).generate_state(1).item()
            torch.default_generator.manual_seed(number)  # what v2 draws from
            return self.transform(image), label

    def digest(self) -> str:
        """SHA-256 over the names of the files and their labels, so that a checkpoint knows its data."""
        names = (f"{label}/{Path(path).name}\n" for path, label in self.samples)
        return hashlib.sha256("".join(names).encode()).hexdigest()


def read_data(root: Path, config: Config) -> tuple[Images, Images]:
    """Training and validation images of a tree in ImageNet's layout.

    Raises:
        FileNotFoundError: if a folder or a class's images are missing.
        ValueError: if the two have different classes, or the training images do not fill one batch.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {root}: give the one that holds train/ and val/")
    crop = v2.Compose([v2.RandomResizedCrop(config.size), v2.RandomHorizontalFlip(), v2.PILToTensor()])
    centre = v2.Compose([v2.Resize(round(config.size * 256 / 224)), v2.CenterCrop(config.size), v2.PILToTensor()])
    train, val = Images(root / "train", crop, config.seed), Images(root / "val", centre)
    if train.classes != val.classes:
        only = sorted({*train.classes} ^ {*val.classes})
        raise ValueError(f"{root / 'train'} and {root / 'val'} have different classes: {', '.join(only[:5])} "
                         f"{'is' if len(only) == 1 else 'are'} in one of them only")
    if len(train) < config.batch_size:
        raise ValueError(f"{len(train)} training images do not fill a batch of {config.batch_size}: "
                         "use a smaller --batch-size")
    return train, val


# ---- the run --------------------------------------------------------------------------------------------------------


def build(config: Config, classes: int) -> nn.Module:
    """The network with its attention, with the same first weights in every process: they come from the seed."""
    with seeded(config.seed):
        model = NETWORKS[config.network](num_classes=classes)
        if (attention := ATTENTION[config.attention]) is not None:
            insert_attention(model, attention, config.placement)
    return model


def learning_rate(config: Config, epoch: int, step: int, steps: int) -> float:
    """The step size of a step in an epoch of so many steps, all counted from 0."""
    warm = min(1, (epoch * steps + step + 1) / max(1, config.warmup_epochs * steps))
    return config.lr * warm * 0.1 ** (epoch // config.lr_step)


class DataParallelRun:
    """One process's part of a training run.

    Args:
        config: what to do.
        data: folder with train/ and val/.
        checkpoint: the file to write and to go on from; all machines must see it.
        every: steps between two checkpoints within an epoch.
        workers: processes that load images, for each training process; 0 loads in the process itself.

    Raises:
        ValueError: if the batch cannot be split evenly over the processes, or the data is not as read_data wants it.
        FileNotFoundError: if a folder is missing.
    """

    def __init__(self, config: Config, data: Path, checkpoint: Path, every: int, workers: int):
        self.rank, self.processes = dist.get_rank(), dist.get_world_size()
        if config.batch_size % self.processes:
            raise ValueError(f"a batch of {config.batch_size} cannot be split evenly over {self.processes} processes: "
                             f"use a multiple of {self.processes} for --batch-size")
        if every < 1 or workers < 0:
            raise ValueError(f"--every must be at least 1 and --workers not below 0, got {every} and {workers}")
        self.config, self.checkpoint, self.every, self.workers = config, checkpoint, every, workers
        self.share = config.batch_size // self.processes  # images a step of this process
        self.images, self.val_images = read_data(data, config)
        self.steps = len(self.images) // config.batch_size  # an epoch
        self.device = own_device()
        self.dtype = compute_dtype(self.device) if config.dtype == "auto" else getattr(torch, config.dtype)
        self.normalise = Normalise(MEAN, STD, self.device)
        model = build(config, len(self.images.classes))
        self.model = model.to(self.device, memory_format=torch.channels_last)
        self.optimizer = torch.optim.SGD(model.parameters(), config.lr, 0.9, weight_decay=config.weight_decay)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)
        self.identity = {"config": asdict(config), "dtype": str(self.dtype),
                         "images": [self.images.digest(), self.val_images.digest()]}
        self.epochs = []  # what was measured in each finished one
        self.step = 0  # finished in the epoch that is under way
        self.totals = torch.zeros(3, dtype=torch.float64, device=self.device)  # this epoch's loss, correct, images
        self.seconds = 0.0  # spent on training in this epoch

    def train(self, arrived: list[int]) -> None:
        """From the first weights, or from the checkpoint, to the last epoch.

        Args:
            arrived: signals that this process has got so far.

        Raises:
            RunEnded: on every process, if something fails on one or a signal has arrived at one.
        """
        together(self.resume)
        places = gather([len(self.epochs), self.step, self.identity])
        if any(place != places[0] for place in places):
            raise RunEnded("error: the machines do not see the same images and the same checkpoint: DATA must be the "
                           f"same on each, and {self.checkpoint.parent} a folder that they share", 1)
        self.parallel = DistributedDataParallel(self.model)
        for epoch in range(len(self.epochs), self.config.epochs):
            self.train_epoch(epoch, arrived)
            self.end_if(None, arrived)  # before the validation, in which nobody looks at signals
            self.measure(epoch)

    def train_epoch(self, epoch: int, arrived: list[int]) -> None:
        """The steps of an epoch that are not done yet."""
        self.parallel.train()
        loader = iter(self.load(self.images, self.train_batches(epoch)))
        with tqdm(desc=f"epoch {epoch + 1}/{self.config.epochs}", total=self.steps, initial=self.step, leave=False,
                  file=sys.stdout, mininterval=0.5, disable=None if self.rank == 0 else True) as bar:  # None: terminals
            while self.step < self.steps:
                start = time.perf_counter()
                x, y = self.next_batch(loader, arrived)
                self.train_step(x, y, learning_rate(self.config, epoch, self.step, self.steps))
                self.step += 1
                if due := self.step % self.every == 0 or self.step == self.steps:
                    self.totals.cpu()  # waits for a GPU's work, whose time shall count
                self.seconds += time.perf_counter() - start
                bar.update()
                if due:
                    self.save()

    def next_batch(self, loader: Iterator, arrived: list[int]) -> list[Tensor]:
        """Images and labels of this process's share, unless something ends the run before the step."""
        batch = trouble = None
        try:
            batch = next(loader)
        except ValueError as error:  # an image that cannot be read
            trouble = error
        self.end_if(trouble, arrived)
        return batch

    def train_step(self, x: Tensor, y: Tensor, lr: float) -> None:
        """One step on this process's share of a batch, x (B / processes, 3, H, W), uint8.

        DistributedDataParallel averages the gradients while backward() is still computing further ones.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        x, y = x.to(self.device, non_blocking=True), y.to(self.device, non_blocking=True)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            logits = self.parallel(self.normalise(x))
        loss = F.cross_entropy(logits.float(), y)
        self.optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        correct = (logits.argmax(1) == y).sum()
        self.totals += torch.stack([loss.detach() * len(y), correct, torch.full_like(correct, len(y))])

    def train_batches(self, epoch: int) -> list[list[int]]:
        """This process's share of the batches that are left in the epoch.

        The sampler deals out one permutation card by card, so a step of all processes together sees the same images
        however many they are.
        """
        self.images.epoch = epoch
        sampler = DistributedSampler(self.images, seed=self.config.seed, drop_last=True)
        sampler.set_epoch(epoch)
        order = list(sampler)
        return [order[step * self.share:(step + 1) * self.share] for step in range(self.step, self.steps)]

    def load(self, images: Images, batches: list[list[int]]) -> DataLoader:
        return DataLoader(images, batch_sampler=batches, num_workers=self.workers, worker_init_fn=leave_group,
                          pin_memory=self.device.type == "cuda")

    def end_if(self, trouble: Exception | None, arrived: list[int]) -> None:
        """End all processes if one of them has trouble, or has got a signal: with a checkpoint then.

        All must leave at the same step, for one that is missing would keep the others waiting for its gradients.
        """
        state = torch.tensor([trouble is not None, max(arrived, default=0)])
        dist.all_reduce(state, dist.ReduceOp.MAX)  # on the CPU, so that no GPU is waited for
        failed, number = state.tolist()
        if failed:
            def complain() -> None:
                if trouble is not None:
                    raise trouble

            together(complain)
        if number:
            self.save()
            raise RunEnded(f"Stopped by {signal.Signals(number).name} after step {self.step} of {self.steps} in epoch "
                           f"{len(self.epochs) + 1}: the same command goes on from there.", 128 + number)

    def summed(self, totals: Tensor) -> list[float]:
        """The totals of all processes."""
        totals = totals.clone()
        dist.all_reduce(totals)
        return totals.tolist()

    def save(self) -> None:
        """Let the first process write the checkpoint; the others wait until it is safe."""
        totals = self.summed(self.totals)
        if not math.isfinite(totals[0]):
            raise RunEnded(f"error: the training loss became {totals[0]}: try a smaller lr than {self.config.lr}", 1)
        progress = {"epochs": self.epochs, "step": self.step, "totals": totals, "seconds": self.seconds}

        def write() -> None:
            if self.rank == 0:
                save_checkpoint(self.checkpoint, self.identity, self.model, {}, progress, self.optimizer, self.scaler)

        together(write)

    def resume(self) -> None:
        """Go on from the checkpoint, if there is one."""
        if self.checkpoint.exists():
            _, stored = load_checkpoint(self.checkpoint, self.identity, self.model, self.optimizer, self.scaler)
            self.epochs, self.step, self.seconds = stored["epochs"], stored["step"], stored["seconds"]
            if self.rank == 0:  # what the others had is in the first one's sum
                self.totals += torch.tensor(stored["totals"], dtype=torch.float64, device=self.device)

    def measure(self, epoch: int) -> None:
        """Validate after an epoch, put down what was measured, and make ready for the next one."""
        loss, correct, images = self.summed(self.totals)
        for buffer in self.model.buffers():  # BatchNorm's averages differ between processes: the first one's count
            dist.broadcast(buffer, 0)
        entry = {"train_loss": loss / images, "train_top1": correct / images, **together(self.validate),
                 "images_per_second": images / self.seconds, "seconds": self.seconds, "processes": self.processes}
        self.epochs.append(entry)
        self.step, self.seconds = 0, 0.0
        self.totals.zero_()
        left = (self.config.epochs - epoch - 1) * entry["seconds"]
        self.say(f"epoch {epoch + 1}/{self.config.epochs}: train {entry['train_top1']:.1%}, validation "
                 f"{entry['val_top1']:.1%}, {entry['images_per_second']:,.0f} images/s, "
                 f"{datetime.timedelta(seconds=round(left))} left")

    @torch.inference_mode()
    def validate(self) -> dict[str, float]:
        """Loss and accuracies over the validation images, each of which one process counts once."""
        self.model.eval()
        own = list(range(self.rank, len(self.val_images), self.processes))
        batches = [own[first:first + self.share] for first in range(0, len(own), self.share)]
        many = len(self.images.classes) > 5
        totals = torch.zeros(3, dtype=torch.float64, device=self.device)  # loss, correct, label among the best five
        trouble = None
        try:
            for x, y in self.load(self.val_images, batches):
                x, y = x.to(self.device, non_blocking=True), y.to(self.device, non_blocking=True)
                with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
                    logits = self.model(self.normalise(x)).float()
                hits = logits.topk(5 if many else 1).indices == y[:, None]  # (B, 5) or (B, 1)
                totals += torch.stack([F.cross_entropy(logits, y, reduction="sum"), hits[:, 0].sum(), hits.sum()])
        except ValueError as error:
            trouble = error
        loss, top1, top5 = (total / len(self.val_images) for total in self.summed(totals))
        if trouble is not None:
            raise trouble
        return {"val_loss": loss, "val_top1": top1} | ({"val_top5": top5} if many else {})

    def say(self, message: str) -> None:
        if self.rank == 0:
            print(message, flush=True)

    def result(self, command: str) -> dict:
        """All that a reader needs to repeat the run."""
        return {"network": self.config.name, "parameters": sum(p.numel() for p in self.model.parameters()),
                "config": asdict(self.config), "command": command, "classes": len(self.images.classes),
                "images": {"train": len(self.images), "val": len(self.val_images)},
                "images_sha256": self.identity["images"], "epochs": self.epochs, "processes": self.processes,
                "backend": dist.get_backend(), "device": device_name(self.device), "threads": torch.get_num_threads(),
                "dtype": str(self.dtype).removeprefix("torch."),
                "versions": {"python": platform.python_version(), "torch": torch.__version__,
                             "torchvision": torchvision.__version__, "attncourse": __version__},
                "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")}


def is_done(result: Path, config: Config, data: Path) -> bool:
    """Whether this run's result is there.

    Raises:
        ValueError: if it is that of another run.
    """
    if not result.exists():
        return False
    try:
        stored = json.loads(result.read_text())
        differ = [name for name, value in asdict(config).items() if stored["config"].get(name) != value]
        if stored["images_sha256"] != [images.digest() for images in read_data(data, config)]:
            differ.append("images")
    except (json.JSONDecodeError, KeyError, TypeError):
        raise ValueError(f"{result} is not a result: move it away") from None
    if differ:
        raise ValueError(f"{result} belongs to another run ({', '.join(differ)} differ): give another folder to --runs")
    return True


def run(options: argparse.Namespace, command: str) -> None:
    """Train as the options say, unless the result is there; the first process writes it."""
    def begin() -> tuple[Config, Path]:
        config = Config(**{field.name: getattr(options, field.name) for field in fields(Config)})
        result = options.runs / f"{options.data.resolve().name}-{config.name}-seed{config.seed}.json"
        return config, result

    config, result = together(begin)
    if gather(together(lambda: is_done(result, config, options.data)))[0]:
        if dist.get_rank() == 0:
            print(f"done before ({result})")
        return
    checkpoint = result.with_suffix(".checkpoint")
    with noted_signals() as arrived:
        this = together(lambda: DataParallelRun(config, options.data, checkpoint, options.every, options.workers))
        this.train(arrived)

        def write() -> None:
            if this.rank == 0:
                weights = {name: value.cpu().contiguous() for name, value in this.model.state_dict().items()}
                write_atomic(result.with_suffix(".safetensors"), save(weights))
                write_atomic(result, json.dumps(this.result(command), indent=1) + "\n")  # says that the run is done
                checkpoint.unlink()

        together(write)
    this.say(f"{config.name}: validation top-1 {this.epochs[-1]['val_top1']:.2%} ({result})")


class Parser(argparse.ArgumentParser):
    """Raises ValueError where argparse prints in every process."""

    def error(self, message: str) -> None:
        raise ValueError(f"{message} (--help lists the options)")


def options_of(arguments: Sequence[str]) -> argparse.Namespace:
    parser = Parser(prog="python -m attncourse.distributed", description=__doc__.split("\n\n")[0])
    parser.add_argument("data", type=Path, help="folder with train/<class>/ and val/<class>/")
    for field in fields(Config):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default,
                            choices=CHOICES.get(field.name), help=f"default: {field.default}")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder for result, weights, checkpoint (runs)")
    parser.add_argument("--every", type=int, default=500, help="steps between checkpoints in an epoch (500)")
    parser.add_argument("--workers", type=int, default=4, help="processes that load images, for each GPU (4)")
    return parser.parse_args(arguments)


def command_of(arguments: Sequence[str]) -> str:
    """What repeats the run, as a line for a shell."""
    start = ["python", "-m"]
    if "GROUP_WORLD_SIZE" in os.environ:  # torchrun says how many machines there are, and processes on each
        start = ["torchrun", "--nnodes", os.environ["GROUP_WORLD_SIZE"],
                 "--nproc-per-node", os.environ["LOCAL_WORLD_SIZE"], "-m"]
    return shlex.join([*start, "attncourse.distributed", *arguments])


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 when the run is finished, 1 after an error, 128 + the signal's number when a signal stopped it."""
    arguments = sys.argv[1:] if arguments is None else arguments
    join_processes()
    try:
        run(together(lambda: options_of(arguments)), command_of(arguments))
    except RunEnded as end:
        if dist.get_rank() == 0:
            print(end, file=sys.stderr if end.code == 1 else sys.stdout, flush=True)
        dist.barrier()  # said before any process is gone, for torchrun ends the others then
        return end.code
    finally:
        dist.destroy_process_group()
    return 0


if __name__ == "__main__":
    sys.exit(main())
