"""Runs of many variants and seeds in one JSON file, which is written after each run: what is there is not repeated."""

import datetime
import json
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from attncourse import __version__
from attncourse.atomic import write_atomic
from attncourse.datasets.images import ImageData
from attncourse.training import TrainConfig, device_name, seeded, train


def sweep(path: Path, conditions: dict, variants: Mapping[str, Callable], seeds: Sequence[int],
          run: Callable[[Callable, int], dict], command: Sequence[str],
          headline: Callable[[dict], str] = lambda run: f"{run['test_accuracy']:.1%}") -> None:
    """Do the runs that the file does not hold yet, and tell of each in a line.

    Args:
        path: the file; a folder that is missing is made.
        conditions: what all runs have in common, JSON values; the file says it, too.
        variants: name -> what makes the network.
        seeds: all variants are run with the first, then with the second, …
        run: (maker, seed) -> what was measured.
        command: what repeats the study, up to its seeds.
        headline: the line says this of a finished run.

    Raises:
        ValueError: if the file is no such file or holds runs under other conditions.
    """
    study = {"runs": []} | conditions
    if path.exists():
        try:
            study = json.loads(path.read_text())
        except json.JSONDecodeError as error:
            raise ValueError(f"{path} is not a study ({error}): move it away to start again") from None
        if not isinstance(study, dict) or "runs" not in study:
            raise ValueError(f"{path} is not a study (it has no runs): move it away to start again")
    if {key: study.get(key) for key in conditions} != conditions:
        raise ValueError(f"{path} holds runs under other conditions: move it away to start the study again")
    done = {(each["variant"], each["seed"]) for each in study["runs"]}
    for seed in seeds:
        for variant, make in variants.items():
            if (variant, seed) in done:
                continue
            study["runs"].append({"variant": variant, "seed": seed} | run(make, seed))
            finished = sorted({each["seed"] for each in study["runs"]})
            study |= {"command": shlex.join([*command, "--seeds", *map(str, finished)]),
                      "device": device_name(torch.device("cpu")), "date": datetime.date.today().isoformat(),
                      "versions": {"torch": torch.__version__, "attncourse": __version__}}
            write_atomic(path, json.dumps(study, indent=1) + "\n")
            print(f"{path.stem}, {variant}, seed {seed}: {headline(study['runs'][-1])}", flush=True)


def train_run(make: Callable[[], nn.Module], seed: int, data: ImageData, config: dict) -> tuple[nn.Module, dict]:
    """Train one network with one seed, for its weights too. Returns it, and what the run leaves in the file."""
    with seeded(seed):
        model = make()
    record = train(model, data, TrainConfig(seed=seed, **config), progress=False)
    return model, {"parameters": record.parameters, "test_accuracy": record.test_accuracy,
                   "epochs": [{key: round(value, 4) for key, value in epoch.items()} for epoch in record.epochs]}


def exit_code(work: Callable[[], object]) -> int:
    """Do a command's work and say in one line why it ended early: 0 if it did not, 130 if interrupted, 1 otherwise."""
    try:
        work()
    except KeyboardInterrupt:
        print("Interrupted. What is finished is kept; the same command goes on from there.")
        return 130
    except (OSError, ValueError, FloatingPointError, ModuleNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except torch.OutOfMemoryError:
        print("error: the GPU's memory is full: train fewer images or fewer seeds at once", file=sys.stderr)
        return 1
    return 0
