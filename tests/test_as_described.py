"""The report's networks as described, the course's other networks and the controls: which block stands where."""

import pytest
import torch
from block_contract import count, images
from torch import nn
from torch.nn import functional as F

from attncourse.as_described import AS_DESCRIBED
from attncourse.autoencoder import ConvAutoencoderAttention, LinearAutoencoderAttention
from attncourse.bam import BAM
from attncourse.cam_sam import ChannelAttention, SpatialAttention
from attncourse.cbam import CBAM
from attncourse.controls import ChannelScale, OwnMeanGate, ShuffledGate
from attncourse.eca import ECA
from attncourse.se import SEBlock
from attncourse.training import seeded

PARAMETERS = {  # of the report's nine
    "cnn": 2_625_866, "cnn+eca": 2_625_882, "cnn+cbam": 2_631_794, "cnn+eca+sam": 2_626_282,
    "cnn-three-stages": 1_677_130, "cnn+autoencoder": 2_958_506, "cnn+eca+autoencoder": 2_958_522,
    "cnn+linear-autoencoder": 2_722_260, "cnn+eca+linear-autoencoder": 2_722_276,
}
BLOCKS = {  # at each place, from outside to inside or from first to last
    "cnn": [], "cnn-three-stages": [], "cnn-wide": [], "cnn+eca": [ECA], "cnn+cbam": [CBAM],
    "cnn+autoencoder": [ConvAutoencoderAttention], "cnn+linear-autoencoder": [LinearAutoencoderAttention],
    "cnn+eca+autoencoder": [ECA, ConvAutoencoderAttention],
    "cnn+eca+linear-autoencoder": [ECA, LinearAutoencoderAttention], "cnn+eca+sam": [ECA, SpatialAttention],
    "cnn+se": [SEBlock], "cnn+se-stage1": [SEBlock], "cnn+cam": [ChannelAttention], "cnn+sam": [SpatialAttention],
    "cnn+bam": [BAM], "cnn+bam-product": [BAM], "cnn+channel-scale": [ChannelScale], "cnn+own-mean": [OwnMeanGate],
    "cnn+shuffled-eca": [ShuffledGate, ECA],
}
KINDS = {kind for blocks in BLOCKS.values() for kind in blocks}

each_network = pytest.mark.parametrize("name", AS_DESCRIBED)


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_of_the_reports_table(name):
    assert count(AS_DESCRIBED[name]()) == PARAMETERS[name]


@each_network
def test_which_block_stands_where(name):
    network = AS_DESCRIBED[name]()
    found = [[type(module) for module in network.get_submodule(f"{stage}.{place}").modules() if type(module) in KINDS]
             for stage, place in network.places()]
    if BLOCKS[name] == [CBAM]:  # it is made of two of the others
        found = [kinds[:1] for kinds in found]
    empty = len(found) // 2 if name == "cnn+se-stage1" else 0
    assert found == [BLOCKS[name]] * (len(found) - empty) + [[]] * empty


def test_the_two_bams_differ_in_how_they_combine():
    combine = {name: {module.combine for module in AS_DESCRIBED[name]().modules() if isinstance(module, BAM)}
               for name in ("cnn+bam", "cnn+bam-product")}
    assert combine == {"cnn+bam": {"sum"}, "cnn+bam-product": {"product"}}


@each_network
def test_it_gives_logits_and_every_parameter_learns(name):
    with seeded(0):
        network = AS_DESCRIBED[name]()
        logits = network(images(4, 3, 32, 32))
    assert logits.shape == (4, 10)
    assert logits.min() < 0 < logits.max()
    F.cross_entropy(logits, torch.arange(4)).backward()
    assert not [name for name, parameter in network.named_parameters() if parameter.grad is None]


@each_network
def test_blocks_start_as_pytorch_starts_them(name):
    """PyTorch's start is uniform between bounds; the backbone's, Kaiming-normal, would go beyond them."""
    with seeded(0):
        network = AS_DESCRIBED[name]()
    for module in network.modules():
        if type(module) in KINDS - {ShuffledGate}:
            for layer in module.modules():
                if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear | nn.ConvTranspose2d):
                    bound = layer.weight[0].numel() ** -0.5
                    assert layer.weight.abs().max() <= bound + 1e-6
