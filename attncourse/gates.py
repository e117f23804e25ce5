"""Read the gates of a trained network, and test what they do by changing them.

    python -m attncourse.gates cifar10-as-described-cnn+se-seed0

measures the gates of one trained ReportCNN with SE on CIFAR-10: per class, and what happens to the accuracy when they
are averaged, swapped between images, or when channels are removed. It writes ``results/se-gates.json``.
"""

import argparse
import datetime
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from attncourse.atomic import write_atomic
from attncourse.backbone import ReportCNN
from attncourse.datasets.cifar10 import load_cifar10
from attncourse.datasets.images import ImageData, Split
from attncourse.results import FOLDER
from attncourse.se import SEBlock
from attncourse.training import Normalise, compute_dtype, device_name, evaluate


def attention_blocks(model: nn.Module) -> list[nn.Module]:
    """The model's attention blocks, outermost only: a CBAM counts once, not again for its two parts."""
    if callable(getattr(type(model), "attention", None)):
        return [model]
    return [block for child in model.children() for block in attention_blocks(child)]


@torch.inference_mode()
def read_gates(model: nn.Module, x: Tensor) -> list[Tensor]:
    """The gates that each attention block of the model computes for the images x, in the order of the calls.

    Args:
        model: any network with attention blocks in it, in eval mode (in training mode each BatchNorm inside a block
            would count the images twice).
        x: what the model takes, (B, …).

    Returns:
        one gate per block: (B, C, 1, 1), (B, 1, H, W) or (B, C, H, W).
    """
    gates = []
    handles = [block.register_forward_pre_hook(lambda block, inputs: gates.append(block.attention(*inputs)))
               for block in attention_blocks(model)]
    try:
        model(x)
    finally:
        for handle in handles:
            handle.remove()
    return gates


@contextmanager
def changed_gates(blocks: Sequence[SEBlock], change: Callable[[int, Tensor], Tensor]) -> Iterator[None]:
    """Inside the block, SE block number i multiplies by change(i, its gate) instead of by its gate (B, C, 1, 1)."""
    originals = [block.attention for block in blocks]
    for i, block in enumerate(blocks):
        block.attention = lambda x, i=i: change(i, originals[i](x))
    try:
        yield
    finally:
        for block in blocks:
            del block.attention


def study(model: nn.Module, data: ImageData) -> dict:
    """Gates per class on the test images, and the test accuracy under changes of the gates. On the CPU."""
    normalise, dtype = Normalise(data.mean, data.std), compute_dtype(torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    shuffled = data.test.take(torch.randperm(len(data.test), generator=generator))  # files come class by class
    blocks = attention_blocks(model)
    model.eval()

    def gates_of(split: Split) -> list[Tensor]:
        parts = [read_gates(model, normalise(images)) for images in split.images.split(500)]
        return [torch.cat(place).flatten(1) for place in zip(*parts)]  # four of (N, C)

    def accuracy(change=lambda i, gate: gate, places: Sequence[int] = (0, 1, 2, 3)) -> float:
        with changed_gates([blocks[i] for i in places], lambda i, gate: change(places[i], gate)):
            return evaluate(model, shuffled, normalise, dtype).accuracy

    test = gates_of(data.test)
    average = [gate.mean(0).view(1, -1, 1, 1) for gate in gates_of(data.val)]  # taken where it is not tested

    def swapped(i: int, gate: Tensor) -> Tensor:
        return gate.roll(1, 0)  # at every place, the gates of the same other picture

    def without(channels: list[Tensor]) -> Callable[[int, Tensor], Tensor]:
        def change(i: int, gate: Tensor) -> Tensor:
            gate = gate.clone()
            gate[:, channels[i]] = 0
            return gate
        return change

    def ranked(largest: bool) -> list[Tensor]:
        return [gate.flatten().topk(gate.numel() // 8, largest=largest).indices for gate in average]

    last = [2, 3]
    per_class = [[gate[data.test.labels == label] for label in range(len(data.classes))] for gate in test]
    return {
        "classes": list(data.classes),
        "mean": [[rounded(gate.mean(0)) for gate in place] for place in per_class],  # place, class, channel
        "std_within_class": [[rounded(gate.std(0)) for gate in place] for place in per_class],
        "accuracy": {
            "as trained": accuracy(),
            "each gate replaced by its average": accuracy(lambda i, gate: average[i].expand_as(gate)),
            "last stage: each gate replaced by its average": accuracy(lambda i, gate: average[i].expand_as(gate), last),
            "gates swapped between images": accuracy(swapped),
            "last stage: gates swapped between images": accuracy(swapped, last),
            "without the eighth of channels with the highest average gate": accuracy(without(ranked(True))),
            "without the eighth of channels with the lowest average gate": accuracy(without(ranked(False))),
            "without an eighth of channels at random": [
                accuracy(without([torch.randperm(gate.numel(), generator=generator)[:gate.numel() // 8]
                                  for gate in average])) for _ in range(8)],
        },
    }


def rounded(values: Tensor) -> list[float]:
    return [round(value, 4) for value in values.tolist()]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m attncourse.gates", description=__doc__.split("\n\n")[0])
    parser.add_argument("run", help="name of the run's record, and of its weights in --runs")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder with the trained weights")
    parser.add_argument("--data", default=os.environ.get("ATTNCOURSE_DATA"), help="folder with CIFAR-10")
    options = parser.parse_args(arguments)
    command = shlex.join(["python", "-m", "attncourse.gates", options.run])
    try:
        model = ReportCNN(attention=SEBlock)
        model.load_state_dict(load_file(options.runs / f"{options.run}.safetensors"))
        data = load_cifar10(options.data)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    cpu = torch.device("cpu")
    result = {"command": command, "record": options.run, "dataset_sha256": data.sha256, "device": device_name(cpu),
              "dtype": str(compute_dtype(cpu)).removeprefix("torch."), "torch": torch.__version__,
              "date": datetime.date.today().isoformat()} | study(model, data)
    print(f"wrote {write_atomic(FOLDER / 'se-gates.json', json.dumps(result) + chr(10))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
