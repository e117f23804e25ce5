"""Run the course's experiments from the command line, one record a run, and go on where an earlier call was stopped.

    python -m attncourse.experiments cnn cnn+se --seeds 0 1

trains each network with each seed on CIFAR-10 by the report's protocol "as described", and writes one TrainRecord and
the weights of each run to ``--runs``. A run whose record is there already is not repeated; one that was stopped goes on
after its last finished epoch. The records that the course prints are copies in ``attncourse/results``.
"""

import argparse
import os
import shlex
import sys
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from attncourse.atomic import write_atomic
from attncourse.autoencoder import ConvAutoencoderAttention, LinearAutoencoderAttention
from attncourse.backbone import ReportCNN
from attncourse.bam import BAM
from attncourse.cam_sam import ChannelAttention, SpatialAttention
from attncourse.cbam import CBAM
from attncourse.datasets.cifar10 import load_cifar10
from attncourse.datasets.images import ImageData
from attncourse.eca import ECA
from attncourse.hybrids import eca_autoencoder, eca_linear_autoencoder, eca_sam
from attncourse.se import SEBlock
from attncourse.sweep import exit_code
from attncourse.training import TrainConfig, budget, seeded, train


class ChannelScale(nn.Module):
    """A control: a learned gate per channel in (0, 1) that does not look at the input. It starts at 0.5."""

    def __init__(self, channels: int):
        super().__init__()
        self.logit = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.logit.sigmoid()


class OwnMeanGate(nn.Module):
    """A control: each channel's gate sees that channel's mean alone, σ(w·z + b): SE without its FC layers' mixing."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        s = (self.weight * x.mean((2, 3)) + self.bias).sigmoid()  # (B, C)
        return x * s[:, :, None, None]


MAP_WIDTHS = (32, 30, 15, 13)  # at ReportCNN's four places

NETWORKS = {  # name on the command line -> what ReportCNN is given as attention
    "cnn": None,
    "cnn+se": SEBlock,
    "cnn+se-stage1": (SEBlock, SEBlock, None, None),
    "cnn+channel-scale": ChannelScale,
    "cnn+own-mean": OwnMeanGate,
    "cnn+cam": ChannelAttention,
    "cnn+sam": lambda channels: SpatialAttention(),
    "cnn+cbam": CBAM,
    "cnn+bam": BAM,
    "cnn+bam-product": partial(BAM, combine="product"),
    "cnn+eca": ECA,
    "cnn+eca+sam": eca_sam,
    "cnn+autoencoder": ConvAutoencoderAttention,
    "cnn+eca+autoencoder": eca_autoencoder,
    "cnn+linear-autoencoder": [lambda channels, width=width: LinearAutoencoderAttention(width)
                               for width in MAP_WIDTHS],
    "cnn+eca+linear-autoencoder": [partial(eca_linear_autoencoder, width=width) for width in MAP_WIDTHS],
}


def run(name: str, seed: int, data: ImageData, config: TrainConfig, runs: Path, command: str) -> Path:
    """Train one network with one seed, unless its record exists. Returns the record's path."""
    path = runs / f"cifar10-as-described-{name}-seed{seed}.json"
    if path.exists():
        print(f"{name}, seed {seed}: done before ({path})")
        return path
    print(f"{name}, seed {seed}")
    with seeded(seed):
        model = ReportCNN(attention=NETWORKS[name])
    model.to(budget().device)
    checkpoint = path.with_suffix(".checkpoint")
    record = train(model, data, config, network=name, column="as described", command=command, checkpoint=checkpoint)
    if not record.complete:  # the finished epochs are in the checkpoint
        raise KeyboardInterrupt
    weights = {key: value.contiguous() for key, value in model.cpu().state_dict().items()}
    write_atomic(path.with_suffix(".safetensors"), save(weights))
    record.save(path)  # its presence says that the run is finished
    checkpoint.unlink()
    print(f"{name}, seed {seed}: test accuracy {record.test_accuracy:.2%} (epoch {record.best_epoch})")
    return path


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m attncourse.experiments", description=__doc__.split("\n\n")[0])
    parser.add_argument("networks", nargs="+", choices=NETWORKS, metavar="network", help=", ".join(NETWORKS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="default: 0")
    parser.add_argument("--data", default=os.environ.get("ATTNCOURSE_DATA"), help="folder with CIFAR-10")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder for records and weights (runs)")
    options = parser.parse_args(arguments)
    command = shlex.join(["python", "-m", "attncourse.experiments", *options.networks, "--seeds",
                          *map(str, options.seeds)])

    def work() -> None:
        data = load_cifar10(options.data)
        for seed in options.seeds:
            for name in options.networks:
                run(name, seed, data, TrainConfig(seed=seed), options.runs, command)

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
