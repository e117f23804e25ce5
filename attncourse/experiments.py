"""The report's table from the command line: networks × columns × seeds, one record a run.

    python -m attncourse.experiments cnn cnn+se --seeds 0 1
    torchrun --nproc-per-node 4 -m attncourse.experiments --column as-coded --seeds 0 1 2 3

trains each network with each seed on CIFAR-10 by the report's protocol, and appends a TrainRecord to
``runs/cifar10.jsonl`` when a run is finished. Without names it takes the report's nine networks.

A run that has a record is not repeated; one that was stopped goes on after its last finished epoch. Any number of
processes may work on the same folder, started by torchrun, by SLURM, or by hand in two windows: each takes a run that
nobody else holds. A run is held by a lock on a file, which the operating system opens when its process dies, so that
another one takes the run over. No process waits for the others, and so none can hold them up.
"""

import argparse
import os
import shlex
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from filelock import FileLock, Timeout
from safetensors.torch import save
from tqdm import tqdm

from attncourse.as_coded import AS_CODED
from attncourse.as_described import AS_DESCRIBED
from attncourse.atomic import write_atomic
from attncourse.datasets.cifar10 import load_cifar10
from attncourse.datasets.images import ImageData
from attncourse.datasets.scenes import load_scenes
from attncourse.record_file import append_record, read_records
from attncourse.seed_stack import SeedsDiverged, train_seeds
from attncourse.sweep import exit_code
from attncourse.training import TrainConfig, budget, seeded, train

COLUMNS = {"as-coded": AS_CODED, "as-described": AS_DESCRIBED}
WAIT = 2.0  # seconds until a process that finds every run held looks again


class Run(NamedTuple):
    column: str
    network: str
    seed: int

    def __str__(self) -> str:
        return f"{self.network}, {self.column.replace('-', ' ')}, seed {self.seed}"

    @property
    def name(self) -> str:
        return f"cifar10-{self.column}-{self.network}-seed{self.seed}"


class Sweep(NamedTuple):
    """What all runs of a call have in common."""

    data: ImageData
    config: TrainConfig
    records: Path  # the file that a finished run is appended to
    together: int  # so many seeds of a network are trained side by side
    keep_weights: bool
    options: list[str]  # of the command that repeats a run


def finished(sweep: Sweep) -> set[Run]:
    """The runs that have a record.

    Raises:
        ValueError: if a record is of other images or another protocol.
    """
    for record in (records := read_records(sweep.records)):
        same = record.dataset_sha256 == sweep.data.sha256 and all(
            record.config[key] == getattr(sweep.config, key) for key in ("epochs", "batch_size", "lr", "augment"))
        if not same:
            raise ValueError(f"{sweep.records} holds runs on other images or by another protocol: choose another "
                             "folder with --runs")
    return {Run(record.column.replace(" ", "-"), record.network, record.seed) for record in records}


def claim(runs: Sequence[Run], at_most: int, folder: Path, locks: ExitStack) -> list[Run]:
    """Take hold of the first run that nobody holds, and of more seeds of its network; until ``locks`` is closed."""
    claimed = []
    for run in runs:
        if len(claimed) < at_most and (not claimed or run[:2] == claimed[0][:2]):
            try:
                locks.enter_context(FileLock(folder / f".{run.name}.lock", blocking=False))
            except Timeout:  # another process is at it
                continue
            claimed.append(run)
    return claimed


def share_out(runs: Sequence[Run], sweep: Sweep, bar: tqdm) -> None:
    """Do every run that has no record, beside any number of other processes that do the same.

    Raises:
        FloatingPointError: at the end, if runs diverged; it names them.
    """
    folder, diverged = sweep.records.parent, {}  # run -> what it said
    folder.mkdir(parents=True, exist_ok=True)
    while missing := [run for run in runs if run not in diverged and run not in finished(sweep)]:
        bar.n = max(bar.n, (len(runs) - len(missing)) * sweep.config.epochs)
        bar.refresh()
        with ExitStack() as locks:
            claimed = claim(missing, sweep.together, folder, locks)
            mine = [run for run in claimed if run not in finished(sweep)]  # another process may just have done it
            try:
                if mine:
                    do(mine, sweep, bar)
            except SeedsDiverged as error:
                diverged |= {run: error for run in mine if run.seed in error.seeds}
            except FloatingPointError as error:
                diverged |= {run: error for run in mine}
        if not claimed:
            time.sleep(WAIT)
    bar.n = bar.total
    bar.refresh()
    if diverged:
        raise FloatingPointError("; ".join(f"{run}: {error}" for run, error in diverged.items()))


def do(runs: Sequence[Run], sweep: Sweep, bar: tqdm) -> None:
    """Train one network with one seed, or with several side by side, and append the records."""
    (column, network, _), seeds = runs[0], [run.seed for run in runs]
    command = shlex.join(["python", "-m", "attncourse.experiments", network, "--column", column, "--seeds",
                          *map(str, seeds), *sweep.options])
    last = f"-{seeds[-1]}" if len(seeds) > 1 else ""
    checkpoint = sweep.records.parent / f"{runs[0].name}{last}.checkpoint"
    about = {"network": network, "column": column.replace("-", " "), "command": command, "checkpoint": checkpoint,
             "progress": False, "after_epoch": lambda: bar.update(len(seeds))}

    def make() -> torch.nn.Module:
        return COLUMNS[column][network]().to(budget().device)

    trouble = None
    if len(seeds) == 1:
        with seeded(seeds[0]):
            model = make()
        records = [train(model, sweep.data, replace(sweep.config, seed=seeds[0]), **about)]
        weights = [model.state_dict()]
    else:
        try:
            records, weights = train_seeds(make, sweep.data, sweep.config, seeds, **about)
        except SeedsDiverged as error:  # the others were trained to the end
            trouble, records, weights = error, error.records, error.weights
    if not all(record.complete for record in records):  # the finished epochs are in the checkpoint
        raise KeyboardInterrupt
    for record, tensors in zip(records, weights):
        if sweep.keep_weights:
            content = save({name: value.cpu().contiguous() for name, value in tensors.items()})
            write_atomic(checkpoint.parent / f"{record.name}.safetensors", content)
        append_record(sweep.records, record)
        bar.write(f"{record.network}, {record.column}, seed {record.seed}: test accuracy {record.test_accuracy:.2%} "
                  f"(epoch {record.best_epoch})")
    checkpoint.unlink(missing_ok=True)
    if trouble:
        raise trouble


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m attncourse.experiments", description=__doc__.split("\n\n")[0])
    parser.add_argument("networks", nargs="*", metavar="network", help="default: the report's nine; there are "
                        f"{', '.join(AS_DESCRIBED)}")
    parser.add_argument("--column", choices=COLUMNS, default="as-described", help="default: as-described")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="default: 0")
    parser.add_argument("--together", type=int, default=1, help="seeds of a network to train side by side (1)")
    parser.add_argument("--quick", action="store_true", help="seconds a run, without CIFAR-10: to see that all works")
    parser.add_argument("--keep-weights", action="store_true", help="10 MB a run, for attncourse.weights")
    parser.add_argument("--data", default=os.environ.get("ATTNCOURSE_DATA"), help="folder with CIFAR-10")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder for records and checkpoints (runs)")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.networks if name not in COLUMNS[options.column]]:
        parser.error(f"no network {unknown[0]!r} {options.column}: choose from {', '.join(COLUMNS[options.column])}")
    for name, chosen in (("--seeds", options.seeds), ("network", options.networks)):
        if twice := [value for value in chosen if chosen.count(value) > 1]:
            parser.error(f"{name} {twice[0]} is asked twice: it would be the same run")
    if options.together < 1:
        parser.error("--together must be at least 1")
    networks = options.networks or list(AS_CODED)
    runs = [Run(options.column, network, seed) for seed in options.seeds for network in networks]

    def work() -> None:
        device = budget().device
        if device.type == "cuda":
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count())
        data = load_scenes(train=256, val=64, test=64) if options.quick else mixed(load_cifar10(options.data))
        config = TrainConfig(epochs=1 if options.quick else 10)
        flags = ["--quick"] * options.quick
        flags += ["--together", str(options.together)] if options.together > 1 else []
        sweep = Sweep(data, config, options.runs / ("quick.jsonl" if options.quick else "cifar10.jsonl"),
                      options.together, options.keep_weights, flags)
        with tqdm(total=len(runs) * config.epochs, unit="epoch", file=sys.stdout,
                  disable=os.environ.get("RANK", "0") != "0") as bar:
            share_out(runs, sweep, bar)

    return exit_code(work)


def mixed(data: ImageData) -> ImageData:
    """The same data with the test images in random order: a gate from elsewhere in the batch must not be of the same
    class because the files are sorted by class."""
    order = torch.randperm(len(data.test), generator=torch.Generator().manual_seed(0))
    return replace(data, test=data.test.take(order))


if __name__ == "__main__":
    sys.exit(main())
