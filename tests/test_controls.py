"""The controls have what attention adds, and no attention."""

import torch
from block_contract import count, generic, images
from torch import nn

from attncourse.as_described import AS_DESCRIBED, WITH_AUTOENCODER
from attncourse.backbone import ReportCNN
from attncourse.controls import ChannelScale, OwnMeanGate, ShuffledGate, widened
from attncourse.eca import ECA
from attncourse.training import seeded


def test_the_channel_scale_does_not_look_at_the_input():
    control = ChannelScale(4)
    x = images(2, 4, 3, 3)
    assert torch.equal(control(x), 0.5 * x)
    assert count(control) == 4


def test_the_own_mean_gate_does_not_mix_channels():
    control = OwnMeanGate(4)
    torch.nn.init.ones_(control.weight)
    x = images(1, 4, 3, 3)
    brighter = x.clone()
    brighter[:, 2] += 1
    same = [c for c in range(4) if torch.equal(control(brighter)[:, c], control(x)[:, c])]
    assert same == [0, 1, 3]


def test_a_shuffled_gate_is_that_of_another_image():
    block = generic(ECA(4))
    x = images(3, 4, 5, 5)
    gates = block.attention(x)
    shuffled = ShuffledGate(block).attention(x)
    assert torch.equal(shuffled, gates[[2, 0, 1]])
    assert not torch.isclose(shuffled, gates).flatten(1).all(1).any()
    torch.testing.assert_close(ShuffledGate(block)(x), x * shuffled)


def test_the_widened_network_has_the_autoencoders_size():
    assert count(AS_DESCRIBED["cnn+autoencoder"]()) == WITH_AUTOENCODER
    wide = widened(WITH_AUTOENCODER)
    assert abs(count(wide) / WITH_AUTOENCODER - 1) < 0.01
    width = wide.stage1.conv1.out_channels
    for other in (width - 1, width + 1):
        assert abs(count(ReportCNN(widths=(other, 2 * other))) - WITH_AUTOENCODER) > abs(count(wide) - WITH_AUTOENCODER)
    assert all(parameter.device.type == "cpu" for parameter in wide.parameters())


def test_a_seed_gives_the_wide_network_its_weights():
    networks = []
    for _ in range(2):
        with seeded(1):
            networks.append(widened(2_700_000))
    for one, other in zip(*(network.parameters() for network in networks), strict=True):
        assert torch.equal(one, other)
    assert not any(isinstance(module, nn.Sigmoid) for module in networks[0].modules())
