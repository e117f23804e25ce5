"""The report's table from the command line: networks × columns × seeds, one record a run.

    python -m attncourse.experiments cnn cnn+se --seeds 0 1
    torchrun --nproc-per-node 4 -m attncourse.experiments --column as-coded --seeds 0 1 2 3

trains each network with each seed on CIFAR-10 by the report's protocol, and appends a TrainRecord to
``runs/cifar10.jsonl`` when a run is finished. Without names it takes the report's nine networks.

A run that has a record is not repeated; one that was stopped goes on after its last finished epoch. Any number of
processes may work on the same folder, started by torchrun or by hand in two windows: each takes a run that nobody else
holds. A run is held by a lock on a hidden file beside the records, which the operating system opens when its process
dies, so that another one takes the run over; all this needs of the folder is a file system that has such locks
(``flock``). With GPUs, LOCAL_RANK says which one a process takes; torchrun sets it. If one process of torchrun's is
killed, torchrun stops the others, too, and starts all of them anew as often as ``--max-restarts`` says.

With ``--together`` the dropout masks of a stack come from one generator: the record's command names all its seeds.
"""

import argparse
import os
import shlex
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

import torch
from filelock import FileLock, Timeout
from safetensors.torch import save
from tqdm import tqdm

from attncourse.as_coded import AS_CODED, DEFAULT_GATES
from attncourse.as_described import AS_DESCRIBED
from attncourse.atomic import write_atomic
from attncourse.datasets.cifar10 import load_cifar10
from attncourse.datasets.images import ImageData
from attncourse.datasets.scenes import load_scenes
from attncourse.record_file import append_records, read_records
from attncourse.seed_stack import SeedsDiverged, train_seeds
from attncourse.sweep import exit_code
from attncourse.training import TrainConfig, budget, run_name, seeded, train

COLUMNS = {"as-coded": AS_CODED, "as-coded-default-gates": DEFAULT_GATES, "as-described": AS_DESCRIBED}
WAIT = 2.0  # seconds until a process that finds every run held looks again


class Run(NamedTuple):
    column: str
    network: str
    seed: int

    def __str__(self) -> str:
        return f"{self.network}, {self.column.replace('-', ' ')}, seed {self.seed}"

    @property
    def name(self) -> str:
        return run_name(self.network, self.column, self.seed)


class Sweep(NamedTuple):
    """What all runs of a call have in common."""

    data: ImageData
    config: TrainConfig
    records: Path  # the file that a finished run is appended to
    together: int  # so many seeds of a network are trained side by side
    keep_weights: bool
    options: list[str]  # of the command that repeats a run


def settled(runs: Sequence[Run], sweep: Sweep) -> set[Run]:
    """The runs that nobody has to do: those with a record, and of ``runs`` those that diverged.

    Raises:
        ValueError: as ``finished``.
    """
    return finished(sweep) | {run for run in runs if diverged(run, sweep.records.parent).exists()}


def finished(sweep: Sweep) -> set[Run]:
    """The runs that have a record.

    Raises:
        ValueError: if a record is of other images or another protocol.
    """
    protocol = asdict(sweep.config) | {"seed": None}
    for record in (records := read_records(sweep.records)):
        if record.dataset_sha256 != sweep.data.sha256 or record.config | {"seed": None} != protocol:
            raise ValueError(f"{sweep.records} holds {record.name} on other images or by another protocol: choose "
                             "another folder with --runs")
    return {Run(record.column.replace(" ", "-"), record.network, record.seed) for record in records}


def stacks_of(runs: Sequence[Run], at_most: int) -> list[list[Run]]:
    """The runs in stacks of so many seeds of one network, in the order of their first runs."""
    by_network = defaultdict(list)
    for run in runs:
        by_network[run.column, run.network].append(run)
    stacks = [same[i:i + at_most] for same in by_network.values() for i in range(0, len(same), at_most)]
    return sorted(stacks, key=lambda stack: runs.index(stack[0]))


def claim(stacks: Sequence[list[Run]], folder: Path, locks: ExitStack) -> list[Run]:
    """Take hold of the first stack of which nobody else holds a run, until ``locks`` is closed. [] if there is none."""
    for stack in stacks:
        with ExitStack() as held:
            try:
                for run in stack:
                    held.enter_context(FileLock(folder / f".{run.name}.lock", blocking=False))
            except Timeout:  # another process is at it
                continue
            locks.enter_context(held.pop_all())
            return stack
    return []


def share_out(runs: Sequence[Run], sweep: Sweep, bar: tqdm) -> None:
    """Do every run that has no record, beside any number of other processes that do the same.

    Raises:
        FloatingPointError: at the end, if runs diverged; it names them. No process tries them again.
    """
    folder = sweep.records.parent
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        done = settled(runs, sweep)
        bar.n = max(bar.n, sum(run in done for run in runs) * sweep.config.epochs)
        bar.refresh()
        missing = [[run for run in stack if run not in done] for stack in stacks_of(runs, sweep.together)]
        if not any(missing):
            break
        with ExitStack() as locks:
            claimed = claim(list(filter(None, missing)), folder, locks)
            if claimed and not settled(claimed, sweep) & set(claimed):  # another process may just have settled one
                do(claimed, sweep, bar)
        if not claimed:
            time.sleep(WAIT)
    if lost := [run for run in runs if diverged(run, folder).exists()]:
        raise FloatingPointError("; ".join(f"{run}: {diverged(run, folder).read_text()}" for run in lost)
                                 + f"; to try again, delete {folder}/*.diverged")


def diverged(run: Run, folder: Path) -> Path:
    """The file that says that the run diverged, and how."""
    return folder / f"{run.name}.diverged"


def do(runs: Sequence[Run], sweep: Sweep, bar: tqdm) -> None:
    """Train one network with one seed, or with several side by side, and append the records."""
    (column, network, _), seeds = runs[0], [run.seed for run in runs]
    folder = sweep.records.parent
    command = shlex.join(["python", "-m", "attncourse.experiments", network, "--column", column, "--seeds",
                          *map(str, seeds), *sweep.options])
    checkpoint = folder / f"{run_name(network, column, *seeds)}.checkpoint"
    about = {"network": network, "column": column.replace("-", " "), "command": command, "checkpoint": checkpoint,
             "progress": False, "after_epoch": lambda: bar.update(len(seeds))}

    def make() -> torch.nn.Module:
        return COLUMNS[column][network]().to(budget().device)

    lost, trouble = [], None
    try:
        if len(seeds) == 1:
            with seeded(seeds[0]):
                model = make()
            records = [train(model, sweep.data, replace(sweep.config, seed=seeds[0]), **about)]
            weights = [model.state_dict()]
        else:
            records, weights = train_seeds(make, sweep.data, sweep.config, seeds, **about)
    except SeedsDiverged as error:  # the other seeds were trained to the end
        records, weights, lost, trouble = error.records, error.weights, error.seeds, error
    except FloatingPointError as error:
        records, weights, lost, trouble = [], [], seeds, error
    if not all(record.complete for record in records):  # the finished epochs are in the checkpoint
        raise KeyboardInterrupt
    if sweep.keep_weights:
        for record, tensors in zip(records, weights):
            content = save({name: value.cpu().contiguous() for name, value in tensors.items()})
            write_atomic(folder / f"{record.name}.safetensors", content)
    append_records(sweep.records, records)
    for run in runs:
        if run.seed in lost:
            write_atomic(diverged(run, folder), str(trouble))
    for record in records:
        bar.write(f"{record.network}, {record.column}, seed {record.seed}: test accuracy {record.test_accuracy:.2%} "
                  f"(epoch {record.best_epoch})")
    checkpoint.unlink(missing_ok=True)


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
    if options.together < 1 or not all(0 <= seed < 2**32 for seed in options.seeds):
        parser.error("--together must be at least 1, and seeds from 0 to 2**32 - 1")
    networks = options.networks or [name for name in AS_CODED if name in COLUMNS[options.column]]
    runs = [Run(options.column, network, seed) for seed in options.seeds for network in networks]

    def work() -> None:
        device = budget().device
        if device.type == "cuda":
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count())
        data = load_scenes(train=256, val=64, test=64) if options.quick else mixed(load_cifar10(options.data))
        config = TrainConfig(epochs=1 if options.quick else 10)
        folder = options.runs / "quick" if options.quick else options.runs  # nothing of the real runs is touched
        flags = ["--quick"] * options.quick
        flags += ["--together", str(options.together)] if options.together > 1 else []
        sweep = Sweep(data, config, folder / "cifar10.jsonl", options.together, options.keep_weights, flags)
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
