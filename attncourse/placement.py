"""Where in a residual block does attention belong? Placements and blocks in a small ResNet, several seeds.

    python -m attncourse.placement --seeds 0 1 2 3 4

trains a ResNet-10 on 5,000 pictures of CIFAR-10 with each block at each place, and writes ``placement.json`` to
``--runs`` after each run. A run that is there already is not repeated.
"""

import argparse
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from torch import nn
from torchvision.models import ResNet
from torchvision.models.resnet import BasicBlock

from attncourse.backbone import AttentionFactory
from attncourse.bam import BAM
from attncourse.cam_sam import SpatialAttention
from attncourse.cbam import CBAM
from attncourse.datasets.cifar10 import load_cifar10
from attncourse.datasets.images import ImageData, Split, digest
from attncourse.eca import ECA
from attncourse.resnet import SpatialGate, insert_attention
from attncourse.se import SEBlock
from attncourse.sweep import exit_code, sweep, train_run

IMAGES = {"train": 5_000, "val": 1_000, "test": 10_000}
CONFIG = {"epochs": 5, "batch_size": 50, "lr": 0.05, "augment": True}


def resnet10(attention: AttentionFactory | None = None, placement: str = "standard",
             stages: tuple[int, ...] = (1, 2, 3, 4)) -> ResNet:
    """One BasicBlock a stage, for images of 32 × 32: the first convolution is 3 × 3 and keeps the size."""
    model = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=10)
    model.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    if attention is not None:
        insert_attention(model, attention, placement, stages)
    return model


def for_any_channels(block: type) -> AttentionFactory:
    """A factory for a block that does not need to know the number of channels."""
    return lambda channels: block()


VARIANTS: dict[str, Callable[[], ResNet]] = {
    "plain": resnet10,
    "SE standard": partial(resnet10, SEBlock),
    "SE pre": partial(resnet10, SEBlock, "pre"),
    "SE post": partial(resnet10, SEBlock, "post"),  # with one block a stage also "stage"
    "SE identity": partial(resnet10, SEBlock, "identity"),
    "ECA standard": partial(resnet10, ECA),
    "CBAM standard": partial(resnet10, CBAM),
    "SAM standard": partial(resnet10, for_any_channels(SpatialAttention)),
    "SpatialGate standard": partial(resnet10, for_any_channels(SpatialGate)),
    "BAM after stages 1-3": partial(resnet10, BAM, "stage", (1, 2, 3)),
}


def first_pictures(data: ImageData) -> ImageData:
    """The first pictures of each split."""
    splits = [Split(split.images[:number], split.labels[:number])
              for split, number in ((getattr(data, name), number) for name, number in IMAGES.items())]
    return ImageData(f"first pictures of {data.name}", data.classes, *splits, mean=data.mean, std=data.std,
                     order=data.order, sha256=digest(*splits))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m attncourse.placement", description=__doc__.split("\n\n")[0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4], help="default: 0 1 2 3 4")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder for the result (runs)")
    parser.add_argument("--data", default=os.environ.get("ATTNCOURSE_DATA"), help="folder with CIFAR-10")
    options = parser.parse_args(arguments)

    def work() -> None:
        data = first_pictures(load_cifar10(options.data))
        conditions = {"network": "ResNet-10, 3 × 3 stem, then max pooling", "config": CONFIG, "dataset": data.name,
                      "dataset_sha256": data.sha256, "images": IMAGES}
        sweep(options.runs / "placement.json", conditions, VARIANTS, options.seeds,
              lambda make, seed: train_run(make, seed, data, CONFIG)[1], ["python", "-m", "attncourse.placement"])

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
