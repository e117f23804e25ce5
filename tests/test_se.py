"""SEBlock against the paper's formula, NumPy by hand, torchvision, timm, and the contract of every block."""

from functools import partial

import block_contract as contract
import numpy as np
import pytest
import timm.layers
import torch
import torchvision
from block_contract import count
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import with_weights_of

from attncourse.se import SEBlock

wide_and_narrow = pytest.mark.parametrize("make_block", [partial(SEBlock, reduction=2), SEBlock])  # r = 16 exceeds C


@wide_and_narrow
def test_contract(make_block):
    contract.check_contract(make_block, 0, 1)


@wide_and_narrow
def test_gradients(make_block):
    contract.check_gradients(make_block)


@wide_and_narrow
def test_half_precision(make_block):
    contract.check_half_precision(make_block)


@wide_and_narrow
def test_export_and_compile(make_block):
    contract.check_export_and_compile(make_block)


def test_bad_input():
    contract.check_bad_input(SEBlock)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"channels": 0}, "channels must be at least 1, got 0"),
    ({"channels": -4}, "channels must be at least 1, got -4"),
    ({"channels": 8, "reduction": 0}, "reduction must be at least 1, got 0"),
])
def test_bad_constructor(arguments, message):
    with pytest.raises(ValueError, match=message):
        SEBlock(**arguments)


@pytest.mark.parametrize("channels", [1, 3, 8, 64, 100, 256])
@pytest.mark.parametrize("reduction", [1, 4, 16])
@pytest.mark.parametrize("bias", [True, False])
def test_parameter_formula(channels, reduction, bias):
    hidden = max(1, channels // reduction)
    expected = 2 * channels * hidden + (channels + hidden if bias else 0)
    assert count(SEBlock(channels, reduction, bias)) == expected


def test_by_hand():
    """Two channels, one hidden unit, every number followed with pencil and paper."""
    block = SEBlock(2, reduction=2)
    with torch.no_grad():
        block.fc1.weight[:] = torch.tensor([[1.0, -2.0]])
        block.fc1.bias[:] = 1.0
        block.fc2.weight[:] = torch.tensor([[1.0], [-1.0]])
        block.fc2.bias[:] = torch.tensor([0.0, 2.0])
    x = torch.tensor([[[[1.0, 3.0]], [[0.0, 1.0]]]])  # means 2 and 0.5
    hidden = 1 * 2 - 2 * 0.5 + 1  # 2, positive, so ReLU keeps it
    gate = [1 / (1 + np.exp(-hidden)), 1 / (1 + np.exp(hidden - 2))]  # σ(2), σ(0)
    expected = [[[[1 * gate[0], 3 * gate[0]]], [[0 * gate[1], 1 * gate[1]]]]]
    torch.testing.assert_close(block(x), torch.tensor(expected, dtype=torch.float32))


@given(batch=st.integers(1, 3), channels=st.integers(1, 12), height=st.integers(1, 6), width=st.integers(1, 6),
       reduction=st.integers(1, 16), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_against_loops(batch, channels, height, width, reduction, seed):
    """NumPy, one number at a time, over every shape."""
    block = contract.generic(SEBlock(channels, reduction), seed)
    x = contract.images(batch, channels, height, width, seed=seed)
    w1, b1, w2, b2 = (p.detach().double().numpy() for p in block.parameters())
    expected = np.empty(x.shape)
    for b, image in enumerate(x.double().numpy()):
        z = np.array([channel.sum() / (height * width) for channel in image])
        hidden = np.array([max(0.0, row @ z + bias) for row, bias in zip(w1, b1)])
        for c in range(channels):
            expected[b, c] = image[c] / (1 + np.exp(-(w2[c] @ hidden + b2[c])))
    np.testing.assert_allclose(block(x).detach().numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 64, 9, 7), (1, 64, 1, 1)])
def test_torchvision(shape):
    block = contract.generic(SEBlock(64))
    oracle = with_weights_of(block, torchvision.ops.SqueezeExcitation(64, 64 // 16))
    torch.testing.assert_close(block(contract.images(*shape)), oracle(contract.images(*shape)))


@pytest.mark.parametrize("bias", [True, False])
def test_timm(bias):
    block = contract.generic(SEBlock(128, bias=bias))
    oracle = with_weights_of(block, timm.layers.SEModule(128, rd_ratio=1 / 16, bias=bias))
    torch.testing.assert_close(block(contract.images(2, 128, 9, 7)), oracle(contract.images(2, 128, 9, 7)))


def test_timm_rounds_the_hidden_width():
    """Line "hidden width" of the chapter's table: at 192 channels timm has 16 hidden units, the paper 12."""
    assert SEBlock(192).fc1.out_features == 12
    assert timm.layers.SEModule(192, rd_ratio=1 / 16).fc1.out_channels == 16
    assert SEBlock(128).fc1.out_features == timm.layers.SEModule(128, rd_ratio=1 / 16).fc1.out_channels == 8


def test_equations_have_no_bias():
    """Line "bias" of the chapter's table: bias=False is W2 δ(W1 z) and nothing more."""
    block = contract.generic(SEBlock(8, reduction=2, bias=False))
    assert [name for name, _ in block.named_parameters()] == ["fc1.weight", "fc2.weight"]
    x = torch.zeros(1, 8, 3, 3)  # z = 0, so without biases every gate is σ(0)
    assert torch.equal(block.attention(x), torch.full((1, 8, 1, 1), 0.5))


def test_narrow_layers_keep_one_hidden_unit():
    """Line "C < r" of the chapter's table: C // r would be 0 and the gate a constant."""
    block = contract.generic(SEBlock(8, reduction=16))
    assert block.fc1.out_features == 1
    gates = block.attention(20 * contract.images(16, 8, 4, 4))
    assert gates.std(0).max() > 0.01


@pytest.mark.parametrize(("arch", "bias", "total"), [
    ("resnet18", False, 11_776_552), ("resnet18", True, 11_778_592),
    ("resnet50", False, 28_071_976), ("resnet50", True, 28_088_024),
])
def test_totals_in_resnets(arch, bias, total):
    """One block at the end of every residual block, r = 16, 1,000 classes."""
    with torch.device("meta"):  # shapes without memory
        model = getattr(torchvision.models, arch)()
        widths = [block.conv3.out_channels if hasattr(block, "conv3") else block.conv2.out_channels
                  for name in ("layer1", "layer2", "layer3", "layer4") for block in getattr(model, name)]
        added = sum(count(SEBlock(width, bias=bias)) for width in widths)
    assert count(model) + added == total


def test_commutes_with_a_permutation_of_the_channels():
    """SE knows no order among channels: permute the channels and the weights, and the gates are permuted."""
    block, permuted = contract.generic(SEBlock(8, 2)), SEBlock(8, 2)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        permuted.fc1.weight[:] = block.fc1.weight[:, order]
        permuted.fc1.bias[:] = block.fc1.bias
        permuted.fc2.weight[:] = block.fc2.weight[order]
        permuted.fc2.bias[:] = block.fc2.bias[order]
    x = contract.images(2, 8, 4, 4)
    torch.testing.assert_close(permuted(x[:, order]), block(x)[:, order])


def test_gate_is_blind_to_position():
    """The claim "SE is about channels": shuffling the positions of a map changes no gate."""
    block = contract.generic(SEBlock(8))
    x = contract.images(2, 8, 6, 6)
    shuffled = x.flatten(2)[:, :, torch.randperm(36, generator=torch.Generator().manual_seed(0))].view_as(x)
    torch.testing.assert_close(block.attention(shuffled), block.attention(x))


def test_saturated_gate_is_exactly_one():
    """Gates lie in the closed interval: σ(17) is 1.0 in float32."""
    block = SEBlock(4)
    with torch.no_grad():
        block.fc2.bias.fill_(17.0)
        block.fc2.weight.zero_()
    assert torch.equal(block.attention(torch.zeros(1, 4, 2, 2)), torch.ones(1, 4, 1, 1))
