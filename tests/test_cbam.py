"""CBAM against the paper's equations, NumPy by hand, timm, the authors' form, and the contract of every block."""

from functools import partial

import block_contract as contract
import numpy as np
import pytest
import timm.layers.cbam
import torch
import torchvision
from block_contract import count
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import AuthorsChannel, AuthorsSpatial, with_weights_of
from torch import nn

from attncourse.cam_sam import ChannelAttention, SpatialAttention
from attncourse.cbam import ARRANGEMENTS, CBAM

ALL_ARRANGEMENTS = pytest.mark.parametrize("arrangement", ARRANGEMENTS)


def small(arrangement="channel-first", reduction=2):
    return partial(CBAM, reduction=reduction, kernel_size=3, arrangement=arrangement)


every_form = pytest.mark.parametrize("make_block", [
    small(arrangement, reduction) for arrangement in ARRANGEMENTS for reduction in (2, 16)])  # r = 16 is more than C


@every_form
def test_contract(make_block):
    contract.check_contract(make_block, 0, 1, composite=True)


@every_form
def test_gradients(make_block):
    contract.check_gradients(make_block)


@every_form
def test_half_precision(make_block):
    contract.check_half_precision(make_block)


@every_form
def test_export_and_compile(make_block):
    contract.check_export_and_compile(make_block)


@every_form
def test_bad_input(make_block):
    contract.check_bad_input(make_block)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"channels": 0}, "channels must be at least 1, got 0"),
    ({"channels": 8, "reduction": 0}, "reduction must be at least 1, got 0"),
    ({"channels": 8, "kernel_size": 4}, "kernel_size must be odd and at least 1, got 4"),
    ({"channels": 8, "kernel_size": -1}, "kernel_size must be odd and at least 1, got -1"),
    ({"channels": 8, "pools": ("min",)}, r"pools must be a tuple of \"avg\" and \"max\", got \('min',\)"),
    ({"channels": 8, "pools": ()}, r"pools must be a tuple .*, got \(\)"),
    ({"channels": 8, "arrangement": "sequential"},
     "arrangement must be one of channel-first, spatial-first, parallel, got 'sequential'"),
])
def test_bad_constructor(arguments, message):
    with pytest.raises(ValueError, match=message):
        CBAM(**arguments)


def test_one_position_of_one_image_cannot_be_trained():
    """BatchNorm over a single number has no spread; evaluation is fine."""
    block = CBAM(8)
    with pytest.raises(ValueError, match="BatchNorm in training mode cannot normalise over one value per channel"):
        block(torch.zeros(1, 8, 1, 1))
    assert block.eval()(torch.ones(1, 8, 1, 1)).shape == (1, 8, 1, 1)


@pytest.mark.parametrize("channels", [1, 3, 8, 64, 100, 256])
@pytest.mark.parametrize("reduction", [1, 4, 16])
@pytest.mark.parametrize("kernel_size", [1, 3, 7])
@pytest.mark.parametrize("norm", [True, False])
def test_parameter_formula(channels, reduction, kernel_size, norm):
    hidden = max(1, channels // reduction)
    expected = 2 * channels * hidden + channels + hidden + 2 * kernel_size**2 + 2 * norm
    for arrangement in ARRANGEMENTS:
        assert count(CBAM(channels, reduction, kernel_size, norm, arrangement=arrangement)) == expected


def test_known_counts():
    assert [count(CBAM(channels)) for channels in (64, 256)] == [680, 8_564]
    assert count(CBAM(64, pools=("avg",))) == 680 - 49  # one map less for the convolution, the same MLP


@pytest.mark.parametrize(("arch", "total"), [("resnet18", 11_779_392), ("resnet50", 28_089_624)])
def test_totals_in_resnets(arch, total):
    """Line "place in a ResNet" of the chapter's table: one block at the end of every residual block, r = 16, k = 7."""
    with torch.device("meta"):  # shapes without memory
        model = getattr(torchvision.models, arch)()
        widths = [block.conv3.out_channels if hasattr(block, "conv3") else block.conv2.out_channels
                  for name in ("layer1", "layer2", "layer3", "layer4") for block in getattr(model, name)]
        assert count(model) + sum(count(CBAM(width)) for width in widths) == total


def test_the_slides_put_one_after_each_layer():
    """Line "place in a ResNet": four blocks, where the paper's network has sixteen."""
    widths = (256, 512, 1024, 2048)
    assert sum(count(CBAM(width)) for width in widths) == 700_800
    slides = [nn.ModuleList([ChannelAttention(width, bias=False), SpatialAttention(norm=False)]) for width in widths]
    assert sum(count(block) for block in slides) == 696_712  # as the slides write it: no biases, no BatchNorm


def test_by_hand():
    """One image, two channels, two positions: each number followed with pencil and paper."""
    block = CBAM(2, reduction=2, kernel_size=1, norm=False)
    with torch.no_grad():
        block.channel.fc1.weight[:] = torch.tensor([[1.0, -1.0]])
        block.channel.fc1.bias[:] = 0.0
        block.channel.fc2.weight[:] = torch.tensor([[1.0], [-1.0]])
        block.channel.fc2.bias[:] = torch.tensor([0.0, 1.0])
        block.spatial.conv.weight[:] = torch.tensor([2.0, -1.0]).view(1, 2, 1, 1)  # 2·mean - max
    x = torch.tensor([[[[1.0, 3.0]], [[0.0, 2.0]]]])  # means 2 and 1, maxima 3 and 2
    hidden = (2 - 1) + (3 - 2)  # of the means and of the maxima, both positive; they are added after fc2
    mc = [1 / (1 + np.exp(-hidden)), 1 / (1 + np.exp(hidden - 2))]  # σ(2), σ(-2 + 2·1): fc2's bias counts twice
    first = [[1 * mc[0], 3 * mc[0]], [0 * mc[1], 2 * mc[1]]]
    expected = []
    for position in (0, 1):
        column = [first[0][position], first[1][position]]
        gate = 1 / (1 + np.exp(-(2 * (column[0] + column[1]) / 2 - max(column))))
        expected.append([value * gate for value in column])
    expected = torch.tensor(expected, dtype=torch.float32).T.reshape(1, 2, 1, 2)
    torch.testing.assert_close(block(x), expected)


def sigmoid(value):
    return 1 / (1 + np.exp(-value))


def channel_loops(image, weights):
    """The gate Mc of one image (C, H, W), one number at a time."""
    w1, b1, w2, b2 = weights
    logits = np.zeros(len(image))
    for pool in (np.mean, np.max):
        z = np.array([pool(channel) for channel in image])
        hidden = np.array([max(0.0, row @ z + bias) for row, bias in zip(w1, b1)])
        logits += np.array([row @ hidden + bias for row, bias in zip(w2, b2)])
    return sigmoid(logits)[:, None, None]


def spatial_loops(image, kernel, norm):
    """The gate Ms of one image; norm is (weight, bias, mean, variance) of the BatchNorm in evaluation mode."""
    stack, k = np.stack([image.mean(0), image.max(0)]), kernel.shape[-1]
    padded = np.pad(stack, ((0, 0), (k // 2, k // 2), (k // 2, k // 2)))
    logits = np.array([[(padded[:, i:i + k, j:j + k] * kernel).sum() for j in range(image.shape[2])]
                       for i in range(image.shape[1])])
    weight, bias, mean, variance = norm
    return sigmoid(weight * (logits - mean) / np.sqrt(variance + 1e-5) + bias)[None]


@given(batch=st.integers(1, 2), channels=st.integers(1, 8), height=st.integers(1, 6), width=st.integers(1, 6),
       reduction=st.integers(1, 16), kernel_size=st.sampled_from([1, 3, 5, 7]),
       arrangement=st.sampled_from(ARRANGEMENTS), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_against_loops(batch, channels, height, width, reduction, kernel_size, arrangement, seed):
    """NumPy, one number at a time, over every shape and arrangement."""
    block = contract.generic(CBAM(channels, reduction, kernel_size, arrangement=arrangement), seed).eval()
    x = contract.images(batch, channels, height, width, seed=seed)
    *mlp, kernel, weight, bias = (p.detach().double().numpy() for p in block.parameters())
    norm = weight.item(), bias.item(), block.spatial.norm.running_mean.item(), block.spatial.norm.running_var.item()
    expected = []
    for image in x.double().numpy():
        gates = {"channel": lambda t: channel_loops(t, mlp), "spatial": lambda t: spatial_loops(t, kernel[0], norm)}
        if arrangement == "parallel":
            expected.append(image * gates["channel"](image) * gates["spatial"](image))
            continue
        first, second = ("channel", "spatial") if arrangement == "channel-first" else ("spatial", "channel")
        passed = image * gates[first](image)
        expected.append(passed * gates[second](passed))
    np.testing.assert_allclose(block(x).detach().numpy(), np.stack(expected), rtol=1e-4, atol=1e-5)


def test_average_only_is_blind_to_the_maximum_in_both_parts():
    """The slides' "just average pooling": maps with equal means over space and over channels get equal gates."""
    block, both = (contract.generic(CBAM(4, 2, 3, pools=pools)).eval() for pools in (("avg",), ("avg", "max")))
    for each in (block, both):
        nn.init.constant_(each.channel.fc1.bias, 9.0)  # all hidden units alive
    flat = torch.ones(1, 4, 2, 2)
    peaks = torch.eye(4).view(1, 4, 2, 2) * 4  # each channel peaks at its own position; all means are 1 as before
    torch.testing.assert_close(block.channel.attention(peaks), block.channel.attention(flat))
    torch.testing.assert_close(block.spatial.attention(peaks), block.spatial.attention(flat))
    assert not torch.allclose(both.channel.attention(peaks), both.channel.attention(flat), atol=1e-3)
    assert not torch.allclose(both.spatial.attention(peaks), both.spatial.attention(flat), atol=1e-3)


def test_its_parts_are_cam_and_sam():
    """The chapter's equation: y = SAM(CAM(x)), with the parts as submodules that work alone."""
    block = contract.generic(CBAM(8, 2)).eval()
    x = contract.images(2, 8, 5, 7)
    assert isinstance(block.channel, ChannelAttention)
    assert isinstance(block.spatial, SpatialAttention)
    assert torch.equal(block(x), block.spatial(block.channel(x)))
    swapped = contract.generic(CBAM(8, 2, arrangement="spatial-first")).eval()
    assert torch.equal(swapped(x), swapped.channel(swapped.spatial(x)))


# ---- oracles and the lines of the table "Paper, authors' code, ours" ------------------------------------------------


def timm_with_weights_of(block: CBAM, channels: int, **arguments) -> nn.Module:
    """timm's module with the block's weights; timm's MLP is made of 1×1 convolutions, without biases by default."""
    oracle = timm.layers.cbam.CbamModule(channels, **arguments).eval()
    with torch.no_grad():
        for name in ("fc1", "fc2"):
            ours, theirs = getattr(block.channel, name), getattr(oracle.channel, name)
            theirs.weight[:] = ours.weight[:, :, None, None]
            if theirs.bias is not None:
                theirs.bias[:] = ours.bias
        oracle.spatial.conv.conv.weight[:] = block.spatial.conv.weight
        oracle.spatial.conv.bn.load_state_dict(block.spatial.norm.state_dict())
    return oracle


@pytest.mark.parametrize("shape", [(2, 64, 9, 7), (1, 64, 1, 1)])
def test_timm(shape):
    """Lines "biases" and "stack": timm has the paper's order and no MLP biases; with ours at zero the two agree."""
    block = contract.generic(CBAM(64)).eval()
    with torch.no_grad():
        block.channel.fc1.bias.zero_()
        block.channel.fc2.bias.zero_()
    oracle = timm_with_weights_of(block, 64)
    assert oracle.channel.fc1.bias is oracle.channel.fc2.bias is None
    torch.testing.assert_close(block(contract.images(*shape)), oracle(contract.images(*shape)))


def test_timm_with_biases_and_another_kernel():
    block = contract.generic(CBAM(32, reduction=4, kernel_size=3)).eval()
    oracle = timm_with_weights_of(block, 32, rd_ratio=1 / 4, spatial_kernel_size=3, mlp_bias=True)
    torch.testing.assert_close(block(contract.images(2, 32, 9, 7)), oracle(contract.images(2, 32, 9, 7)))


def test_timm_rounds_the_hidden_width():
    """Line "hidden width": at 24 channels timm has 2 hidden units, C // r is 1; below r both keep one."""
    for channels, ours, theirs in ((24, 1, 2), (128, 8, 8), (8, 1, 1)):
        assert CBAM(channels).channel.fc1.out_features == ours
        assert timm.layers.cbam.CbamModule(channels).channel.fc1.out_channels == theirs


def authors_with_weights_of(block: CBAM, channels: int) -> nn.Module:
    """Their channel part, then their spatial part, with the block's weights as they are."""
    return with_weights_of(block, nn.Sequential(AuthorsChannel(channels), AuthorsSpatial()))


@pytest.mark.parametrize("train", [True, False])
def test_authors_form(train):
    """Line "stack": the same function, once the two input maps of the kernel are swapped."""
    block = contract.generic(CBAM(64)).train(train)
    oracle = authors_with_weights_of(block, 64).train(train)
    oracle[1].conv.weight.data = block.spatial.conv.weight.data.flip(1)  # [avg, max] -> [max, avg]
    x = contract.images(3, 64, 9, 7)
    torch.testing.assert_close(block(x), oracle(x))
    assert count(block) == count(oracle) == 680


def test_another_stack_order_is_another_function_of_the_same_weights():
    """Line "stack": weights copied without swapping give other numbers, and no error."""
    block = contract.generic(CBAM(64)).eval()
    oracle = authors_with_weights_of(block, 64).eval()
    x = contract.images(3, 64, 9, 7)
    assert not torch.allclose(block(x), oracle(x), atol=1e-2)


def test_batch_norm_follows_the_convolution():
    """Line "after the convolution": norm=False is equation 3 to the letter."""
    assert isinstance(CBAM(8).spatial.norm, nn.BatchNorm2d)
    bare = contract.generic(CBAM(8, norm=False))
    x = contract.images(2, 8, 5, 7)
    y = x * bare.channel.attention(x)
    logits = bare.spatial.conv(torch.cat([y.mean(1, keepdim=True), y.amax(1, keepdim=True)], 1))
    torch.testing.assert_close(bare(x), y * logits.sigmoid())
    torch.testing.assert_close(bare.train()(x), bare.eval()(x))


def test_batch_norm_starts_at_one_and_the_authors_at_zero():
    """Line "BatchNorm's start": with weight 0 the spatial gate is 0.5 everywhere, and only that weight can learn."""
    block = CBAM(8)
    assert block.spatial.norm.weight.item() == timm.layers.cbam.CbamModule(8).spatial.conv.bn.weight.item() == 1
    assert block.spatial.norm.momentum == 0.1
    nn.init.zeros_(block.spatial.norm.weight)
    x = contract.images(2, 8, 5, 7)
    assert torch.equal(block.spatial.attention(x), torch.full((2, 1, 5, 7), 0.5))
    block(x).square().sum().backward()
    assert block.spatial.norm.weight.grad.abs() > 1e-4
    assert torch.equal(block.spatial.conv.weight.grad, torch.zeros(1, 2, 7, 7))


def test_narrow_layers_keep_one_hidden_unit():
    """Line "C < r": with 0 hidden units the authors' channel gate is a constant, and the slides' code an error."""
    x, other = contract.images(1, 8, 5, 7), contract.images(1, 8, 5, 7, seed=1)
    with pytest.warns(UserWarning, match="zero-element"):
        theirs = AuthorsChannel(8)
    assert theirs.fc1.out_features == 0
    torch.testing.assert_close(theirs(x) / x, theirs(other) / other)
    with pytest.warns(UserWarning, match="zero-element"):
        slides = nn.Sequential(nn.Conv2d(8, 8 // 16, 1, bias=False), nn.Conv2d(8 // 16, 8, 1, bias=False))
    with pytest.raises(RuntimeError, match="expected weight to be at least 1"):  # the slides' 1×1 convolutions
        slides(x)
    block = contract.generic(CBAM(8)).eval()
    assert block.channel.fc1.out_features == 1
    gates = block.channel.attention(20 * contract.images(16, 8, 4, 4))
    assert gates.std(0).max() > 0.01


# ---- what the chapter says of it ------------------------------------------------------------------------------------


@ALL_ARRANGEMENTS
def test_the_gate_of_an_image_has_rank_one(arrangement):
    """C × H·W numbers, but an outer product of C by H·W: no channel can choose a place of its own."""
    block = contract.generic(CBAM(8, 2, 3, arrangement=arrangement)).eval()
    gates = block.attention(contract.images(3, 8, 5, 7)).flatten(2)  # (3, 8, 35)
    assert torch.linalg.matrix_rank(gates, rtol=1e-4).tolist() == [1, 1, 1]


def test_the_order_matters_through_what_the_second_gate_sees():
    """Same weights, three arrangements, three results; with gates that ignore their input, no difference is left."""
    x = contract.images(2, 8, 5, 7)
    outputs = [contract.generic(small(arrangement)(8)).eval()(x) for arrangement in ARRANGEMENTS]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not torch.allclose(outputs[one], outputs[other], atol=1e-3)
    blocks = [contract.generic(small(arrangement)(8)).eval() for arrangement in ARRANGEMENTS]
    for block in blocks:
        nn.init.zeros_(block.channel.fc1.weight)
        nn.init.zeros_(block.spatial.conv.weight)
    constant = [block(x) for block in blocks]
    torch.testing.assert_close(constant[0], constant[1])
    torch.testing.assert_close(constant[0], constant[2])


def test_a_fresh_block_quarters_its_input():
    """Two gates near one half; with the authors' start the spatial one is exactly that."""
    torch.manual_seed(0)
    block = CBAM(64).eval()
    x = contract.images(4, 64, 16, 16)
    ratio = block(x).norm() / x.norm()
    assert 0.2 < ratio < 0.3


def test_limit_cases():
    """Closed gates pass nothing, saturated ones everything: the gates lie in the closed interval."""
    x = contract.images(2, 8, 5, 7)
    for value, expected in ((-200.0, torch.zeros_like(x)), (40.0, x)):
        block = CBAM(8).eval()
        with torch.no_grad():
            nn.init.zeros_(block.channel.fc2.weight)
            nn.init.constant_(block.channel.fc2.bias, value)
            nn.init.zeros_(block.spatial.norm.weight)
            nn.init.constant_(block.spatial.norm.bias, value)
        assert torch.equal(block(x), expected)


def test_its_gate_moves_with_the_picture():
    """Away from the border, a shifted map gives the same channel gate and a shifted spatial gate."""
    block = contract.generic(CBAM(8, 2, 3)).eval()
    x = torch.zeros(1, 8, 12, 12)
    x[:, :, 3:7, 3:7] = contract.images(1, 8, 4, 4).abs()
    moved = x.roll((2, 3), (2, 3))
    torch.testing.assert_close(block(moved), block(x).roll((2, 3), (2, 3)))
