"""ChannelAttention and SpatialAttention against the paper's formulas, NumPy by hand, timm, the authors' layout, and the
contract of every block."""

import inspect
from functools import partial

import block_contract as contract
import numpy as np
import pytest
import timm.layers.cbam
import torch
from block_contract import count
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import AuthorsChannel, AuthorsSpatial, with_weights_of
from torch import nn
from torch.nn import functional as F

from attncourse.cam_sam import ChannelAttention, SpatialAttention, choose_pools

POOLS = [("avg", "max"), ("avg",), ("max",)]


def spatial(channels: int) -> SpatialAttention:
    return SpatialAttention()


def spatial_without_norm(channels: int) -> SpatialAttention:
    return SpatialAttention(3, norm=False)


every_block = pytest.mark.parametrize("make_block", [
    ChannelAttention, partial(ChannelAttention, reduction=2), spatial, spatial_without_norm])  # r = 16 is more than C


# ---- what every block does ------------------------------------------------------------------------------------------


@every_block
def test_contract(make_block):
    contract.check_contract(make_block, 0, 1)


@every_block
def test_gradients(make_block):
    contract.check_gradients(make_block)


@every_block
def test_half_precision(make_block):
    contract.check_half_precision(make_block)


@every_block
def test_export_and_compile(make_block):
    contract.check_export_and_compile(make_block)


def test_bad_input():
    contract.check_bad_input(ChannelAttention)


@pytest.mark.parametrize(("bad", "error", "message"), [
    (torch.zeros(8, 5, 7), ValueError, r"\(B, C, H, W\), got 3 dimensions: \(8, 5, 7\)"),
    (torch.zeros(1, 8, 0, 7), ValueError, r"empty tensor: \(1, 8, 0, 7\)"),
    (torch.zeros(1, 8, 5, 7, dtype=torch.uint8), TypeError, "floating-point values, got torch.uint8"),
])
def test_bad_input_of_the_spatial_block(bad, error, message):
    for call in (SpatialAttention(), SpatialAttention().attention):
        with pytest.raises(error, match=message):
            call(bad)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: ChannelAttention(0), "channels must be at least 1, got 0"),
    (lambda: ChannelAttention(-4), "channels must be at least 1, got -4"),
    (lambda: ChannelAttention(8, reduction=0), "reduction must be at least 1, got 0"),
    (lambda: ChannelAttention(8, pools=()), r'pools must be a tuple of "avg" and "max", got \(\)'),
    (lambda: ChannelAttention(8, pools="avg"), "pools must be .* got 'avg'"),
    (lambda: SpatialAttention(pools=("avg", "median")), r"pools must be .* got \('avg', 'median'\)"),
    (lambda: SpatialAttention(0), "kernel_size must be odd and at least 1, got 0"),
    (lambda: SpatialAttention(-3), "kernel_size must be odd and at least 1, got -3"),
    (lambda: SpatialAttention(4), "got 4: an even kernel has no middle"),
])
def test_bad_constructor(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_one_position_of_one_image_cannot_be_normalised_in_training():
    block = SpatialAttention()
    with pytest.raises(ValueError, match=r"batch of at least 2 images, or call \.eval\(\)"):
        block(torch.zeros(1, 8, 1, 1))
    assert block.eval()(torch.zeros(1, 8, 1, 1)).shape == (1, 8, 1, 1)
    assert SpatialAttention(norm=False).train()(torch.zeros(1, 8, 1, 1)).shape == (1, 8, 1, 1)


# ---- parameters -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3, 8, 64, 100, 256])
@pytest.mark.parametrize("reduction", [1, 4, 16])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("pools", POOLS)
def test_parameter_formula_of_the_channel_block(channels, reduction, bias, pools):
    hidden = max(1, channels // reduction)
    expected = 2 * channels * hidden + (channels + hidden if bias else 0)  # one MLP, whatever is pooled
    assert count(ChannelAttention(channels, reduction, bias, pools)) == expected


@pytest.mark.parametrize("kernel_size", [1, 3, 5, 7])
@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("pools", POOLS)
def test_parameter_formula_of_the_spatial_block(kernel_size, norm, pools):
    assert count(SpatialAttention(kernel_size, norm, pools)) == len(pools) * kernel_size**2 + (2 if norm else 0)


@pytest.mark.parametrize(("channels", "total"), [(64, 680), (256, 8_564)])
def test_both_blocks_together(channels, total):
    assert count(ChannelAttention(channels)) + count(SpatialAttention()) == total


# ---- by hand, by loops ----------------------------------------------------------------------------------------------


def sigmoid(a):
    return 1 / (1 + np.exp(-np.asarray(a, dtype=np.float64)))


def test_channel_block_by_hand():
    """Two channels, one hidden unit, every number followed with pencil and paper."""
    block = ChannelAttention(2, reduction=2)
    with torch.no_grad():
        block.fc1.weight[:] = torch.tensor([[1.0, -2.0]])
        block.fc1.bias[:] = 1.0
        block.fc2.weight[:] = torch.tensor([[1.0], [-1.0]])
        block.fc2.bias[:] = torch.tensor([0.0, 2.0])
    x = torch.tensor([[[[1.0, 3.0]], [[-4.0, 3.0]]]])  # means 2 and -0.5, maxima 3 and 3
    of_means, of_maxima = 1 * 2 - 2 * -0.5 + 1, 0  # 4; and 1 * 3 - 2 * 3 + 1 is negative, so ReLU makes it 0
    gate = sigmoid([of_means + of_maxima, (2 - of_means) + (2 - of_maxima)])  # σ(4), σ(0): b2 counts twice
    expected = [[[[1 * gate[0], 3 * gate[0]]], [[-4 * gate[1], 3 * gate[1]]]]]
    torch.testing.assert_close(block(x), torch.tensor(expected, dtype=torch.float32))


def test_spatial_block_by_hand():
    """Two channels on a row of three positions, a 3 × 3 kernel of which only the middle row meets the map."""
    block = SpatialAttention(3, norm=False)
    with torch.no_grad():
        block.conv.weight.zero_()
        block.conv.weight[0, :, 1] = torch.tensor([[1.0, 2.0, 0.0], [0.0, -1.0, 1.0]])  # left, middle, right
    x = torch.tensor([[[[1.0, 0.0, 4.0]], [[3.0, -2.0, 4.0]]]])
    mean, largest = [2, -1, 4], [3, 0, 4]
    logits = [0 + 2 * mean[0] - largest[0] + largest[1],  # left of the edge there is 0
              mean[0] + 2 * mean[1] - largest[1] + largest[2],
              mean[1] + 2 * mean[2] - largest[2] + 0]
    expected = x.numpy() * sigmoid(logits)
    np.testing.assert_allclose(block(x).detach().numpy(), expected, rtol=1e-5)


def test_spatial_block_by_hand_with_batch_norm():
    block = SpatialAttention(1).eval()
    with torch.no_grad():
        block.conv.weight[:] = torch.tensor([2.0, -1.0])[None, :, None, None]
        block.norm.weight[:], block.norm.bias[:] = 3.0, 0.5
        block.norm.running_mean[:], block.norm.running_var[:] = 1.0, 4.0
    x = torch.tensor([[[[1.0]], [[3.0]]]])  # mean 2, maximum 3: 2·2 − 3 = 1, normalised to 0
    torch.testing.assert_close(block.attention(x), torch.full((1, 1, 1, 1), 0.5).logit().add(0.5).sigmoid())
    block.norm.running_mean[:] = -1.0  # (1 + 1) / 2 · 3 + 0.5
    torch.testing.assert_close(block.attention(x).logit().item(), 3.5, rtol=1e-4, atol=0)


shapes = dict(batch=st.integers(1, 3), channels=st.integers(1, 10), height=st.integers(1, 6), width=st.integers(1, 6),
              seed=st.integers(0, 99))


@given(**shapes, reduction=st.integers(1, 16), pools=st.sampled_from(POOLS))
@settings(deadline=None, max_examples=30)
def test_channel_block_against_loops(batch, channels, height, width, seed, reduction, pools):
    """NumPy, one number at a time, over every shape."""
    block = contract.generic(ChannelAttention(channels, reduction, pools=pools), seed)
    x = contract.images(batch, channels, height, width, seed=seed)
    w1, b1, w2, b2 = (p.detach().double().numpy() for p in block.parameters())
    expected = np.empty(x.shape)
    for b, image in enumerate(x.double().numpy()):
        total = np.zeros(channels)
        for name in pools:
            z = [channel.sum() / (height * width) if name == "avg" else max(channel.ravel()) for channel in image]
            hidden = np.array([max(0.0, row @ z + bias) for row, bias in zip(w1, b1)])
            total += [row @ hidden + bias for row, bias in zip(w2, b2)]
        expected[b] = image * sigmoid(total)[:, None, None]
    np.testing.assert_allclose(block(x).detach().numpy(), expected, rtol=1e-4, atol=1e-5)


@given(**shapes, kernel_size=st.sampled_from([1, 3, 5, 7]), pools=st.sampled_from(POOLS), norm=st.booleans())
@settings(deadline=None, max_examples=30)
def test_spatial_block_against_loops(batch, channels, height, width, seed, kernel_size, pools, norm):
    block = contract.generic(SpatialAttention(kernel_size, norm, pools), seed).eval()
    x = contract.images(batch, channels, height, width, seed=seed)
    weight = block.conv.weight.detach().double().numpy()[0]
    half, expected = kernel_size // 2, np.empty(x.shape)
    for b, image in enumerate(x.double().numpy()):
        maps = [image.sum(0) / channels if name == "avg" else np.max(image, 0) for name in pools]
        for i in range(height):
            for j in range(width):
                logit = 0.0
                for n, one_map in enumerate(maps):
                    for u in range(kernel_size):
                        for v in range(kernel_size):
                            row, column = i + u - half, j + v - half
                            if 0 <= row < height and 0 <= column < width:  # outside there are zeros
                                logit += weight[n, u, v] * one_map[row, column]
                if norm:
                    state = {name: value.item() for name, value in block.norm.state_dict().items()}
                    logit = (logit - state["running_mean"]) / (state["running_var"] + 1e-5)**0.5
                    logit = logit * state["weight"] + state["bias"]
                expected[b, :, i, j] = image[:, i, j] * sigmoid(logit)
    np.testing.assert_allclose(block(x).detach().numpy(), expected, rtol=1e-4, atol=1e-5)


# ---- oracle: timm with copied weights -------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(2, 64, 9, 7), (1, 64, 1, 1)])
@pytest.mark.parametrize("bias", [True, False])
def test_timm_channel(shape, bias):
    block = contract.generic(ChannelAttention(64, bias=bias))
    oracle = with_weights_of(block, timm.layers.cbam.ChannelAttn(64, rd_ratio=1 / 16, mlp_bias=bias))
    torch.testing.assert_close(block(contract.images(*shape)), oracle(contract.images(*shape)))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kernel_size", [3, 7])
def test_timm_spatial(kernel_size, training):
    block = contract.generic(SpatialAttention(kernel_size))
    oracle = with_weights_of(block, timm.layers.cbam.SpatialAttn(kernel_size))
    x = contract.images(3, 8, 9, 7)
    torch.testing.assert_close(block.train(training)(x), oracle.train(training)(x))


# ---- the chapter's table, line by line ------------------------------------------------------------------------------


def test_equations_have_no_bias():
    """Line "biases of the MLP": bias=False is the equation; ours and the authors' have both."""
    block = contract.generic(ChannelAttention(8, reduction=2, bias=False))
    assert [name for name, _ in block.named_parameters()] == ["fc1.weight", "fc2.weight"]
    assert torch.equal(block.attention(torch.zeros(1, 8, 3, 3)), torch.full((1, 8, 1, 1), 0.5))
    assert timm.layers.cbam.ChannelAttn(64).fc1.bias is None
    ours = contract.generic(ChannelAttention(64))
    authors = with_weights_of(ours, AuthorsChannel(64))
    x = contract.images(2, 64, 5, 7)
    torch.testing.assert_close(ours(x), authors(x))


def test_hidden_width_is_rounded_down():
    """Line "hidden width": at C = 24, r = 16 timm rounds 1.5 to 2, ours and the authors' take 1."""
    assert ChannelAttention(24).fc1.out_features == AuthorsChannel(24).fc1.out_features == 1
    assert timm.layers.cbam.ChannelAttn(24).fc1.out_channels == 2


def test_narrow_layers_keep_one_hidden_unit():
    """Line "C < r": the authors' layout has no hidden unit at C = 8, and its gate is a constant; ours has one."""
    x = 20 * contract.images(16, 8, 4, 4)
    with pytest.warns(UserWarning, match="zero-element"):  # torch's initialisation says so, at construction only
        authors = AuthorsChannel(8)
    assert authors.fc1.out_features == 0
    gates = authors(x) / x
    torch.testing.assert_close(gates, gates[:1, :, :1, :1].expand_as(gates))  # no image, no position changes it
    block = contract.generic(ChannelAttention(8))
    assert block.fc1.out_features == timm.layers.cbam.ChannelAttn(8).fc1.out_channels == 1
    assert block.attention(x).std(0).max() > 0.01


def test_order_of_the_stack():
    """Line "stack": the authors' [max, avg] with the kernel's halves swapped is ours."""
    ours, authors = contract.generic(SpatialAttention()).eval(), AuthorsSpatial().eval()
    authors.load_state_dict(ours.state_dict())
    x = contract.images(2, 8, 9, 7)
    assert not torch.allclose(authors(x), ours(x))
    with torch.no_grad():
        authors.conv.weight.copy_(ours.conv.weight.flip(1))
    torch.testing.assert_close(authors(x), ours(x))


def test_what_follows_the_convolution():
    """Line "after the convolution": BatchNorm and no ReLU, or nothing with norm=False; no bias in either."""
    block = SpatialAttention()
    assert isinstance(block.norm, nn.BatchNorm2d)
    assert (block.norm.eps, block.norm.momentum) == (1e-5, 0.1)
    assert block.conv.bias is None
    assert isinstance(SpatialAttention(norm=False).norm, nn.Identity)
    gate = block.train().attention(contract.images(2, 8, 9, 7))
    assert gate.min() < 0.5 < gate.max()  # a ReLU would leave nothing below 0.5
    theirs = timm.layers.cbam.SpatialAttn().conv.bn
    assert (theirs.eps, theirs.momentum) == (1e-5, 0.1)


def test_batch_norm_starts_at():
    """Line "BatchNorm's weight at the start": the authors' 0 makes the gate 0.5 everywhere and stops the kernel's
    gradient, but not the weight's own; ours starts at 1."""
    x, authors = contract.images(2, 8, 9, 7), AuthorsSpatial()
    assert torch.equal(authors.attention(x), torch.full((2, 1, 9, 7), 0.5))
    authors(x).square().sum().backward()
    assert not authors.conv.weight.grad.any()
    assert authors.norm.weight.grad.abs() > 1e-3
    assert SpatialAttention().norm.weight.item() == timm.layers.cbam.SpatialAttn().conv.bn.weight.item() == 1
    assert SpatialAttention().attention(x).std() > 0.05


def test_kernel_sizes():
    """Line "kernel": any odd k keeps H and W. With a padding that was written for 7 and 3, k = 5 does not run."""
    x = contract.images(1, 8, 9, 7)
    for k in (1, 3, 5, 7, 9, 11):
        assert SpatialAttention(k).attention(x).shape == (1, 1, 9, 7)
    slides = SpatialAttention(5)
    slides.conv.padding = (1, 1)  # the slides' rule: 3 where k is 7, else 1
    with pytest.raises(RuntimeError, match="must match"):
        slides(x)


def tie_gradient(pool) -> list[float]:
    """How the gradient of pool's sum is shared among four equal values: four positions of one channel."""
    x = torch.zeros(1, 1, 2, 2, requires_grad=True)
    gradient = torch.autograd.grad(pool(x).sum(), x)[0].flatten()
    return (gradient / gradient.sum()).tolist()


def test_equal_maxima():
    """Line "equal maxima": ours and timm's share the gradient, max_pool2d and max(dim) give all of it to one."""
    channel = with_ones(ChannelAttention(1, pools=("max",)))
    assert tie_gradient(channel.attention) == [0.25] * 4
    for pool in (lambda x: F.max_pool2d(x, (2, 2)), lambda x: F.adaptive_max_pool2d(x, 1),
                 lambda x: x.flatten(2).max(2).values):
        assert sorted(tie_gradient(pool)) == [0, 0, 0, 1]
    assert "amax" in inspect.getsource(timm.layers.cbam.ChannelAttn.forward)
    spatial = with_ones(SpatialAttention(1, norm=False, pools=("max",)))
    assert tie_gradient(lambda x: spatial.attention(x.view(1, 4, 1, 1))) == [0.25] * 4
    assert sorted(tie_gradient(lambda x: torch.max(x.view(1, 4, 1, 1), 1)[0])) == [0, 0, 0, 1]


def with_ones(block: nn.Module) -> nn.Module:
    for parameter in block.parameters():
        nn.init.ones_(parameter)
    return block


def test_a_window_of_the_maps_size_does_not_export():
    """Line "pooling over space": pooling with a window of (H, W) fixes both in an export; mean and amax do not."""
    x, any_size = contract.images(1, 16, 8, 10), {2: torch.export.Dim("H", min=1), 3: torch.export.Dim("W", min=1)}
    ours = contract.generic(ChannelAttention(16))
    theirs = with_weights_of(ours, AuthorsChannel(16))
    torch.testing.assert_close(theirs(x), ours(x))
    with pytest.raises(Exception, match="constant"):
        torch.export.export(theirs, (x,), dynamic_shapes=(any_size,))
    exported = torch.export.export(ours, (x,), dynamic_shapes=(any_size,)).module()
    other = contract.images(1, 16, 16, 3)
    torch.testing.assert_close(exported(other), ours(other))


# ---- properties -----------------------------------------------------------------------------------------------------


def test_the_channel_gate_is_blind_to_position_and_the_spatial_gate_to_channel():
    x = contract.images(2, 8, 6, 6)
    generator = torch.Generator().manual_seed(0)
    moved = x.flatten(2)[:, :, torch.randperm(36, generator=generator)].view_as(x)
    channel, spatial = contract.generic(ChannelAttention(8, 2)), contract.generic(SpatialAttention()).eval()
    torch.testing.assert_close(channel.attention(moved), channel.attention(x))
    assert not torch.allclose(spatial.attention(moved), spatial.attention(x))
    mixed = x[:, torch.randperm(8, generator=generator)]
    torch.testing.assert_close(spatial.attention(mixed), spatial.attention(x))
    assert not torch.allclose(channel.attention(mixed), channel.attention(x))


@pytest.mark.parametrize("pools", POOLS)
def test_a_thin_edge_moves_the_maximum_and_not_the_mean(pools):
    """The claim "max pooling adds what average pooling smooths away": the mean alone takes an edge for a texture."""
    edge, texture = torch.zeros(1, 4, 32, 32), torch.full((1, 4, 32, 32), 1 / 32)
    edge[..., 16] = 1.0
    block = with_ones(ChannelAttention(4, pools=pools))
    same = torch.allclose(block.attention(edge), block.attention(texture))
    assert same == (pools == ("avg",))


def test_one_mlp_for_both_pools():
    """It does not know which pool it is given: with the pools exchanged, the same weights make the same gate."""
    block, exchanged = contract.generic(ChannelAttention(8, 2)), ChannelAttention(8, 2, pools=("max", "avg"))
    exchanged.load_state_dict(block.state_dict())
    x = contract.images(2, 8, 5, 7)
    torch.testing.assert_close(exchanged.attention(x), block.attention(x))


def test_saturated_gates_are_exactly_one():
    """Gates lie in the closed interval: σ(17) is 1.0 in float32."""
    channel, spatial = ChannelAttention(4), SpatialAttention().eval()
    with torch.no_grad():
        channel.fc2.bias.fill_(17.0)
        channel.fc2.weight.zero_()
        spatial.norm.bias.fill_(17.0)
        spatial.conv.weight.zero_()
    assert torch.equal(channel.attention(torch.zeros(1, 4, 2, 2)), torch.ones(1, 4, 1, 1))
    assert torch.equal(spatial.attention(torch.zeros(1, 4, 2, 2)), torch.ones(1, 1, 2, 2))


def test_choose_pools_keeps_the_order():
    assert choose_pools(("max", "avg")) == [torch.amax, torch.mean]
