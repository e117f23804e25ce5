"""The statements of chapter 1's table about gates in general."""

import torch
from block_contract import generic, images
from torch import nn

from attncourse.se import SEBlock


def channel_gate(x):
    return generic(SEBlock(5, reduction=2)).attention(x)


def spatial_gate(x):
    return torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1).mean(1, keepdim=True).sigmoid()


def test_a_channel_gate_is_blind_to_positions():
    x = images(2, 5, 4, 6)
    shuffled = x.flatten(2)[:, :, torch.randperm(24, generator=torch.Generator().manual_seed(0))].view_as(x)
    torch.testing.assert_close(channel_gate(shuffled), channel_gate(x))
    assert not torch.allclose(spatial_gate(shuffled), spatial_gate(x))


def test_a_pooled_spatial_gate_is_blind_to_the_order_of_channels():
    x = images(2, 5, 4, 6)
    permuted = x[:, torch.tensor([3, 0, 4, 2, 1])]
    torch.testing.assert_close(spatial_gate(permuted), spatial_gate(x))
    assert not torch.allclose(channel_gate(permuted), channel_gate(x))


def test_softmax_pooling_is_a_gate_and_a_sum():
    """Σ softmax(a)·x is X ∘ f(X) followed by a sum; with equal scores it is the mean."""
    x, scores = images(2, 5, 4, 6), images(2, 1, 4, 6, seed=1)
    weights = scores.flatten(2).softmax(2).view_as(scores)
    pooled = torch.einsum("bchw,bhw->bc", x, weights[:, 0])
    torch.testing.assert_close((x * weights).sum((2, 3)), pooled)
    equal = torch.full_like(weights, 1 / 24)
    torch.testing.assert_close((x * equal).sum((2, 3)), x.mean((2, 3)))


def test_the_next_layer_can_undo_a_constant_gate():
    x, gate = images(2, 5, 4, 6), torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9]).view(1, 5, 1, 1)
    layer = nn.Conv2d(5, 3, 1)
    undoing = nn.Conv2d(5, 3, 1)
    with torch.no_grad():
        undoing.weight.copy_(layer.weight / gate)
        undoing.bias.copy_(layer.bias)
    torch.testing.assert_close(undoing(x * gate), layer(x))


def test_batchnorm_undoes_a_constant_gate_before_relu():
    x = images(8, 5, 6, 6)
    norm = nn.BatchNorm2d(5).train()
    torch.testing.assert_close(norm((0.3 * x).relu()), norm(x.relu()), rtol=1e-2, atol=1e-2)
