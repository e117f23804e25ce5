"""Small studies on scenes: variants of a block, several seeds each, and whether their maps look at the object.

    python -m attncourse.studies cbam bam --seeds 0 1 2

trains every variant of the named studies in a narrow ReportCNN for a few short epochs of scenes, and writes
``scenes-cbam.json``, … to ``--runs`` after each run. A run that is there already is not repeated. The studies that the
course prints are copies in ``attncourse/results``.

They measure how much is learned in a short time, not how good a module becomes in the end. With ``--ship`` the command
trains one variant of each study once more, with seed 0, and stores the convolutions in ``attncourse/weights``, if the
network has the accuracy that the stored study says.
"""

import argparse
import shlex
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncourse.as_described import ECA_LINEAR_AUTOENCODERS, LINEAR_AUTOENCODERS
from attncourse.autoencoder import ConvAutoencoderAttention
from attncourse.backbone import ReportCNN
from attncourse.bam import BAM
from attncourse.cam_sam import ChannelAttention, SpatialAttention
from attncourse.cbam import CBAM
from attncourse.controls import ChannelScale
from attncourse.datasets.images import ImageData
from attncourse.datasets.scenes import Scenes, load_scenes, scenes
from attncourse.eca import ECA
from attncourse.gates import attention_blocks, read_gates
from attncourse.hybrids import AttentionSequence, eca_autoencoder, eca_sam
from attncourse.localization import energy_inside
from attncourse.results import load_study
from attncourse.se import SEBlock
from attncourse.sweep import exit_code, sweep
from attncourse.training import Normalise, TrainConfig, seeded, train
from attncourse.weights import store_weights

WIDTHS = (16, 32)  # a quarter of the report's network
REDUCTION = 4  # so that the hidden layers are as wide as in the report's network at r = 16
TRAIN, VAL, TEST = 4_000, 500, 2_000  # scenes
CONFIG = {"epochs": 3, "batch_size": 32, "dtype": "float32"}

AE = ConvAutoencoderAttention


class MaxBAM(BAM):
    """BAM whose channel branch squeezes by the maximum instead of the mean."""

    def channel(self, x: Tensor) -> Tensor:
        return self.channel_norm(self.mlp(x.amax((2, 3))))[:, :, None, None]


def network(attention=None) -> ReportCNN:
    """A narrow ReportCNN without dropout: in so short a training dropout is mostly noise, and seeds then differ more
    than modules do."""
    model = ReportCNN(8, attention, WIDTHS)
    for module in model.modules():
        if isinstance(module, nn.Dropout | nn.Dropout2d):
            module.p = 0.0
    return model


def network_with_gate_after(layer: str, make_block: Callable[[int], nn.Module]) -> ReportCNN:
    """The network with a block behind each "relu" or each "norm", instead of directly behind the convolutions."""
    model = network()
    for stage_name, width in zip(model.stages, WIDTHS):
        stage = model.get_submodule(stage_name)
        for name in (f"{layer}1", f"{layer}2"):
            setattr(stage, name, nn.Sequential(getattr(stage, name), make_block(width)))
    return model


def sequence(*makers: Callable[[int], nn.Module]) -> Callable[[int], nn.Module]:
    return lambda channels: AttentionSequence(*(make(channels) for make in makers))


def sam(**arguments) -> Callable[[int], nn.Module]:
    return lambda channels: SpatialAttention(**arguments)


def with_block(block: type, **arguments) -> Callable[[], ReportCNN]:
    return partial(network, partial(block, **{"reduction": REDUCTION} | arguments))


STUDIES: dict[str, dict[str, Callable[[], ReportCNN]]] = {  # study -> variant -> makes the network
    "plain": {
        "no attention": network,
        "constant gate per channel": partial(network, ChannelScale),
        "SE": with_block(SEBlock),
    },
    "cam-sam": {
        "CAM avg + max": with_block(ChannelAttention),
        "CAM avg": with_block(ChannelAttention, pools=("avg",)),  # = "SE" above, number by number: not a second result
        "CAM max": with_block(ChannelAttention, pools=("max",)),
        "SAM 7 × 7": partial(network, sam()),
        "SAM 3 × 3": partial(network, sam(kernel_size=3)),
        "SAM avg": partial(network, sam(pools=("avg",))),
        "SAM max": partial(network, sam(pools=("max",))),
        "SAM without BatchNorm": partial(network, sam(norm=False)),
    },
    "cbam": {
        "channel first": with_block(CBAM),
        "spatial first": with_block(CBAM, arrangement="spatial-first"),
        "parallel": with_block(CBAM, arrangement="parallel"),
        "average only": with_block(CBAM, pools=("avg",)),
        "r = 2": with_block(CBAM, reduction=2),
        "kernel 3": with_block(CBAM, kernel_size=3),
        "second stage only": partial(network, (None, None, *[partial(CBAM, reduction=REDUCTION)] * 2)),
    },
    "bam": {
        "d = 4, r = 4": with_block(BAM),
        "d = 1": with_block(BAM, dilation=1),
        "d = 2": with_block(BAM, dilation=2),
        "r = 2": with_block(BAM, reduction=2),
        "r = 8": with_block(BAM, reduction=8),
        "product": with_block(BAM, combine="product"),
        "max in the channel branch": with_block(MaxBAM),
    },
    "eca": {
        "adaptive k": partial(network, ECA),
        "k = 1": partial(network, partial(ECA, kernel_size=1)),
        "k = 9": partial(network, partial(ECA, kernel_size=9)),
    },
    "autoencoder": {
        "code 48": partial(network, AE),
        "code 12": partial(network, partial(AE, widths=(12, 24, 12))),
        "two steps": partial(network, partial(AE, widths=(12, 24))),
        "one step": partial(network, partial(AE, widths=(12,))),
        "tanh": partial(network, partial(AE, activation=nn.Tanh)),
        "after ReLU": partial(network_with_gate_after, "relu", AE),
        "after BatchNorm": partial(network_with_gate_after, "norm", AE),
        "linear": partial(network, LINEAR_AUTOENCODERS),
    },
    "hybrids": {
        "ECA, SAM": partial(network, eca_sam),
        "SAM, ECA": partial(network, sequence(sam(), ECA)),
        "ECA, autoencoder": partial(network, eca_autoencoder),
        "autoencoder, ECA": partial(network, sequence(AE, ECA)),
        "ECA, linear autoencoder": partial(network, ECA_LINEAR_AUTOENCODERS),
    },
}

SHIPPED = {"cam-sam": "SAM 7 × 7", "cbam": "channel first", "bam": "d = 4, r = 4", "autoencoder": "code 48",
           "hybrids": "ECA, SAM"}  # whose trained weights the course's pictures use


def inside(model: nn.Module, seen: Scenes, normalise: Normalise) -> list[float | None]:
    """For each attention block, the share of its map's energy inside the object's mask, averaged over the scenes.

    The map is the gate above its lower bound, averaged over the channels. A gate without positions has no map: None.
    """
    model.eval()
    blocks = attention_blocks(model)
    shares = []
    for images, masks in zip(seen.images.split(500), seen.masks.split(500)):
        gates = read_gates(model, normalise(images))
        maps = [gate - 1 if isinstance(block, BAM) else gate for block, gate in zip(blocks, gates)]
        shares.append([share(each, masks) for each in maps])
    return [None if place[0] is None else round(torch.cat(place).mean().item(), 4) for place in zip(*shares)]


def share(gate: Tensor, masks: Tensor) -> Tensor | None:
    if gate.shape[2:] == (1, 1):
        return None
    return energy_inside(gate.mean(1) + 1e-9, masks)  # a gate that is closed everywhere counts as flat


def ideal_shares(seen: Scenes) -> list[float]:
    """What the best map at each of the four places would score: the mask itself, at the size and place of the map.

    Not 1: the map is coarse, and stretched over the picture although the unpadded convolutions have cut a border off.
    """
    edges = {32: (0, 32), 30: (1, 31), 15: (1, 31), 13: (3, 29)}  # the pixels that a map of this width covers
    masks = seen.masks.float()[:, None]
    return [round(energy_inside(F.adaptive_avg_pool2d(masks[:, :, a:b, a:b], width)[:, 0] + 1e-9,
                                seen.masks).mean().item(), 4) for width, (a, b) in edges.items()]


def run(make: Callable[[], ReportCNN], seed: int, data: ImageData, seen: Scenes) -> dict:
    """Train one variant with one seed and measure it."""
    with seeded(seed):
        model = make()
    normalise = Normalise(data.mean, data.std)
    before = inside(model, seen, normalise)
    record = train(model, data, TrainConfig(seed=seed, **CONFIG), progress=False)
    return {"parameters": record.parameters, "test_accuracy": record.test_accuracy,
            "val_accuracy": [round(epoch["val_accuracy"], 4) for epoch in record.epochs],
            "inside_before_training": before, "inside": inside(model, seen, normalise)}


def ship(study: str, data: ImageData) -> Path:
    """Train the shipped variant of a study with seed 0 and store all but its classifier.

    Raises:
        ValueError: if the network has another accuracy than the stored study's run with that seed.
    """
    (recorded,) = (run["test_accuracy"] for run in load_study(f"scenes-{study}")["runs"]
                   if (run["variant"], run["seed"]) == (SHIPPED[study], 0))
    with seeded(0):
        model = STUDIES[study][SHIPPED[study]]()
    record = train(model, data, TrainConfig(seed=0, **CONFIG), progress=False)
    trunk = {name: value for name, value in model.state_dict().items() if not name.startswith("classifier.")}
    command = shlex.join(["python", "-m", "attncourse.studies", study, "--ship"])
    return store_weights(f"scenes-{study}-trunk", trunk, command, f"scenes-{study}", record.test_accuracy, recorded)


def conditions(data: ImageData) -> dict:
    """What all runs have in common; a study's file says it."""
    return {"network": f"ReportCNN, widths {WIDTHS}, no dropout", "config": CONFIG, "dataset": data.name,
            "dataset_sha256": data.sha256, "images": {"train": TRAIN, "val": VAL, "test": TEST}}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m attncourse.studies", description=__doc__.split("\n\n")[0])
    parser.add_argument("studies", nargs="+", choices=STUDIES, metavar="study", help=", ".join(STUDIES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="default: 0 1 2")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder for the results (runs)")
    parser.add_argument("--ship", action="store_true", help=f"store trained weights ({', '.join(SHIPPED)})")
    options = parser.parse_args(arguments)
    if options.ship and not set(options.studies) <= set(SHIPPED):
        parser.error(f"--ship takes {', '.join(SHIPPED)}")

    def work() -> None:
        data, seen = load_scenes(TRAIN, VAL, TEST), scenes(TEST, seed=(0, 2))  # seen: the test split, with its masks
        if options.ship:
            for name in options.studies:
                print(f"wrote {ship(name, data)}")
            return
        common = conditions(data) | {"area": round(seen.masks.float().mean().item(), 4), "ideal": ideal_shares(seen)}
        for seed in options.seeds:
            for name in options.studies:
                sweep(options.runs / f"scenes-{name}.json", common, STUDIES[name], [seed],
                      lambda make, seed: run(make, seed, data, seen), ["python", "-m", "attncourse.studies", name])

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
