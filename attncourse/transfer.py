"""Put attention into a pretrained network and fine-tune it: cats against dogs, few pictures, several seeds.

    python -m attncourse.transfer --seeds 0 1 2

fine-tunes EfficientNet-Lite0, plain and with attention after four of its blocks, on 400 pictures of two classes of
CIFAR-10, and writes ``transfer.json`` to ``--runs`` after each run. A run that is there already is not repeated.
"""

import argparse
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import nn

from attncourse.backbone import AttentionFactory
from attncourse.cbam import CBAM
from attncourse.datasets.cifar10 import load_cifar10
from attncourse.datasets.images import ImageData, Split, digest
from attncourse.pretrained import FixedStatistics, efficientnet_lite0
from attncourse.resnet import IdentityStart, insert_after
from attncourse.se import SEBlock
from attncourse.sweep import exit_code, sweep, train_run

CLASSES = ("cat", "dog")
PER_CLASS = {"train": 200, "val": 250, "test": 500}
SIDE = 96  # pixels; CIFAR-10's 32 are enlarged
STAGES = ("_blocks.2", "_blocks.4", "_blocks.10", "_blocks.15")  # the last blocks at 24, 12, 6 and 3 pixels
FASTER = 100  # the learning rate of blocks that start at 1, over that of the rest
CONFIG = {"epochs": 6, "batch_size": 20, "lr": 0.002, "augment": True}


def network(attention: AttentionFactory | None = None, layers: tuple[str, ...] = STAGES,
            fixed: bool = True) -> nn.Module:
    """The pretrained network with a fresh head and attention after the layers: images (B, 3, 32, 32) to 2 logits.

    The pretrained BatchNorms keep their statistics; where these are not fixed, they follow the new pictures.
    """
    model = efficientnet_lite0()
    model._fc = nn.Linear(model._fc.in_features, len(CLASSES))
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    if not fixed:
        for norm in norms:
            norm.momentum = 0.1  # this network's own 0.01 is too slow for the few steps of a fine-tuning
    if attention is not None:
        insert_after(model, layers, attention, torch.zeros(1, 3, SIDE, SIDE))
    return FixedStatistics(nn.Upsample((SIDE, SIDE), mode="bilinear"), model, norms=norms if fixed else [])


def softly(block: type, **arguments) -> AttentionFactory:
    """A factory of blocks whose gates start at 1, and that learn faster than the pretrained weights around them.

    For plain SGD a gradient that is so many times larger is a learning rate that is so many times larger. At that of
    the rest α stays near 0, and what is tested is the network without attention.
    """
    def make(channels: int) -> IdentityStart:
        attention = IdentityStart(block(channels, **arguments))
        for parameter in attention.parameters():
            parameter.register_hook(lambda gradient: FASTER * gradient)
        return attention

    return make


VARIANTS: dict[str, Callable[[], nn.Module]] = {
    "plain": network,
    "SE": partial(network, SEBlock),
    "SE, starts at 1": partial(network, softly(SEBlock)),
    "CBAM": partial(network, CBAM),
    "CBAM, starts at 1": partial(network, softly(CBAM)),
    "CBAM, starts at 1, r = 4": partial(network, softly(CBAM, reduction=4)),
    "CBAM, starts at 1, kernel 3": partial(network, softly(CBAM, kernel_size=3)),
    "CBAM, starts at 1, last two stages": partial(network, softly(CBAM), STAGES[2:]),
    "CBAM, starts at 1, average only": partial(network, softly(CBAM, pools=("avg",))),
    "plain, new statistics": partial(network, fixed=False),
    "SE, new statistics": partial(network, SEBlock, fixed=False),
    "CBAM, new statistics": partial(network, CBAM, fixed=False),
}


def two_classes(data: ImageData) -> ImageData:
    """The first pictures of both classes in each split of CIFAR-10, normalised as the pretrained network wants them."""
    def cut(split: Split, number: int) -> Split:
        chosen = [(split.labels == data.classes.index(name)).nonzero().flatten()[:number] for name in CLASSES]
        labels = torch.arange(len(CLASSES)).repeat_interleave(number)
        return Split(split.images[torch.cat(chosen)], labels)

    splits = [cut(getattr(data, name), number) for name, number in PER_CLASS.items()]
    return ImageData(f"{' and '.join(CLASSES)} of {data.name}", CLASSES, *splits, mean=(0.5,) * 3, std=(0.5,) * 3,
                     order=data.order, sha256=digest(*splits))


def run(make: Callable[[], nn.Module], seed: int, data: ImageData) -> dict:
    """Fine-tune one variant with one seed; with the α of its blocks at the end."""
    model, result = train_run(make, seed, data, CONFIG)
    return result | {"alpha": [round(module.alpha.item(), 4) for module in model.modules()
                               if isinstance(module, IdentityStart)]}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m attncourse.transfer", description=__doc__.split("\n\n")[0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="default: 0 1 2")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder for the result (runs)")
    parser.add_argument("--data", default=os.environ.get("ATTNCOURSE_DATA"), help="folder with CIFAR-10")
    options = parser.parse_args(arguments)

    def work() -> None:
        data = two_classes(load_cifar10(options.data))
        conditions = {"network": f"EfficientNet-Lite0, ImageNet weights, {SIDE} × {SIDE} pixels", "config": CONFIG,
                      "dataset": data.name, "dataset_sha256": data.sha256, "images_per_class": PER_CLASS}
        sweep(options.runs / "transfer.json", conditions, VARIANTS, options.seeds,
              lambda make, seed: run(make, seed, data), ["python", "-m", "attncourse.transfer"])

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
