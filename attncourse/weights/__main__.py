"""Ship the trained weights of a run, without its large fully connected layers:

    python -m attncourse.weights cifar10-as-described-cnn+se-seed0

writes ``weights/cifar10-cnn-se-trunk.safetensors`` and enters it into the index, if the network has the accuracy on
CIFAR-10 that its record says. On another kind of device than the record's, rounding can move that by a few images.
"""

import argparse
import os
import shlex
import sys
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from attncourse.as_described import AS_DESCRIBED
from attncourse.datasets.cifar10 import load_cifar10
from attncourse.results import load_record
from attncourse.training import Normalise, TrainRecord, budget, evaluate
from attncourse.weights import store_weights


def accuracy_of(record: TrainRecord, weights: dict[str, torch.Tensor], root: str | None) -> float:
    """Test accuracy of the recorded network with these weights, measured as in the record's run.

    Raises:
        ValueError: if the images are not the record's.
    """
    data, device = load_cifar10(root), budget().device
    if data.sha256 != record.dataset_sha256:
        raise ValueError(f"these are not the images that {record.network} was trained on: {data.name}")
    model = AS_DESCRIBED[record.network]().to(device, memory_format=torch.channels_last)
    model.load_state_dict(weights)
    normalise = Normalise(data.mean, data.std, device)
    return evaluate(model, data.test.to(device), normalise, getattr(torch, record.dtype)).accuracy


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m attncourse.weights", description=__doc__.split("\n\n")[0])
    parser.add_argument("run", help="name of the run's record, and of its weights in --runs")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder with the trained weights")
    parser.add_argument("--data", default=os.environ.get("ATTNCOURSE_DATA"), help="folder with CIFAR-10")
    options = parser.parse_args(arguments)
    command = shlex.join(["python", "-m", "attncourse.weights", options.run])
    try:
        record = load_record(options.run)
        weights = load_file(options.runs / f"{options.run}.safetensors")
        trunk = {name: value for name, value in weights.items() if not name.startswith("classifier.")}
        path = store_weights(f"cifar10-{record.network.replace('+', '-')}-trunk", trunk, command, options.run,
                             accuracy_of(record, weights, options.data), record.test_accuracy)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
