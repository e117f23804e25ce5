"""ECA against the paper's formula, NumPy by hand, timm, and the contract of every block."""

import math
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
from torch import nn
from torch.nn import functional as F

from attncourse.eca import ECA, eca_kernel_size
from attncourse.se import SEBlock

RESNET50 = [(3, 256), (4, 512), (6, 1024), (3, 2048)]  # blocks and their output channels, by stage


def test_contract():
    contract.check_contract(ECA, 0, 1)
    contract.check_contract(partial(ECA, kernel_size=5), 0, 1)


def test_gradients():
    contract.check_gradients(ECA)
    contract.check_gradients(partial(ECA, kernel_size=7))  # wider than gradcheck's 4 channels


def test_half_precision():
    contract.check_half_precision(ECA)


def test_export_and_compile():
    contract.check_export_and_compile(ECA)


def test_bad_input():
    contract.check_bad_input(ECA)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"channels": 0}, "channels must be at least 1, got 0"),
    ({"channels": -4}, "channels must be at least 1, got -4"),
    ({"channels": 0, "kernel_size": 3}, "channels must be at least 1, got 0"),
    ({"channels": 8, "kernel_size": 0}, "kernel_size must be odd and at least 1, got 0"),
    ({"channels": 8, "kernel_size": -3}, "kernel_size must be odd and at least 1, got -3"),
    ({"channels": 8, "kernel_size": 4}, "kernel_size must be odd and at least 1, got 4"),
])
def test_bad_constructor(arguments, message):
    with pytest.raises(ValueError, match=message):
        ECA(**arguments)


def test_bad_channels_of_the_kernel_size():
    with pytest.raises(ValueError, match="channels must be at least 1, got 0"):
        eca_kernel_size(0)


# ---- the kernel size ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("channels", "k"), [
    (1, 1), (2, 1), (4, 1), (7, 1), (8, 3), (16, 3), (64, 3), (127, 3), (128, 5), (256, 5), (512, 5), (1024, 5),
    (2047, 5), (2048, 7), (32767, 7), (32768, 9),
])
def test_kernel_size_formula(channels, k):
    """Line "k" of the chapter's table. k changes at 8, 128, 2048, 32768: every factor of 16."""
    assert eca_kernel_size(channels) == k
    assert ECA(channels).conv.kernel_size == (k,)


@given(channels=st.integers(1, 100_000), gamma=st.floats(0.25, 8), b=st.floats(-12, 12))
@settings(deadline=None, max_examples=200)
def test_kernel_size_is_the_nearest_odd_number(channels, gamma, b):
    """|t|_odd of equation 12: no odd number is nearer to |t|, and at a tie k is the larger one, t + 1, never t - 1."""
    t = abs((math.log2(channels) + b) / gamma)
    k = eca_kernel_size(channels, gamma, b)
    assert k % 2 == 1
    assert k >= 1
    assert t - 1 < k <= t + 1


def test_ties_go_up():
    """Line "ties" of the chapter's table: t is 2, 4, 6, as near to one odd number as to the other."""
    for channels, below, above in ((8, 1, 3), (128, 3, 5), (2048, 5, 7)):
        t = (math.log2(channels) + 1) / 2
        assert t - below == above - t == 1
        assert eca_kernel_size(channels) == above
        assert eca_kernel_size(channels - 1) == below


def test_timm_clamps_k_to_3():
    """Line "C < 8" of the chapter's table: the formula gives 1, timm takes at least 3. From 8 on they agree."""
    for channels in (1, 2, 4, 7, 8, 16, 127, 128, 2047, 2048, 32768):
        theirs = timm.layers.EcaModule(channels).conv.kernel_size[0]
        assert theirs == max(3, eca_kernel_size(channels))
    assert eca_kernel_size(7) == 1


def test_80_or_86():
    """Line "parameters in ResNet-50" of the chapter's table."""
    def total(ks):
        return sum(blocks * k for (blocks, _), k in zip(RESNET50, ks))

    assert total([3, 5, 5, 7]) == 80
    assert total([5, 5, 5, 5]) == 80
    assert total([eca_kernel_size(channels) for _, channels in RESNET50]) == 86
    assert total([3, 3, 3, 3]) == 48  # the default of the authors' eca_resnet50
    with torch.device("meta"):
        assert sum(blocks * count(timm.layers.EcaModule(channels)) for blocks, channels in RESNET50) == 86


def test_no_b_gives_3557_to_widths_that_double():
    """Three doublings add 1.5 to t at γ = 2; from k = 3 (t < 4) to k = 7 (t ≥ 6) takes more than 2.

    80 has another simple explanation: 5 everywhere, which γ = 2 gives for 0 ≤ b < 1.
    """
    for b in np.linspace(-20, 20, 4001):
        for first in (64, 256):
            ks = [eca_kernel_size(first * 2**stage, 2, b) for stage in range(4)]
            assert ks != [3, 5, 5, 7]
    for b in (-5, -4.5):  # another γ does
        assert [eca_kernel_size(channels, 1, b) for _, channels in RESNET50] == [3, 5, 5, 7]
    for b in (0, 0.5, 0.99):
        assert [eca_kernel_size(channels, 2, b) for _, channels in RESNET50] == [5, 5, 5, 5]
    assert [eca_kernel_size(256, 2, -0.01), eca_kernel_size(2048, 2, 1)] == [3, 7]


@pytest.mark.parametrize(("arch", "ks", "printed"), [
    ("resnet50", (3, 5, 5, 7), "24.37"), ("resnet101", (3, 3, 5, 7), "42.49"),
])
def test_published_millions_are_mebi(arch, ks, printed):
    """Line "a million" of the chapter's table: the authors' parameter counts are in units of 2^20."""
    with torch.device("meta"):  # shapes without memory
        model = getattr(torchvision.models, arch)()
    blocks = [len(getattr(model, f"layer{stage}")) for stage in (1, 2, 3, 4)]
    total = count(model) + sum(n * k for n, k in zip(blocks, ks))
    assert f"{total / 2**20:.2f}" == printed
    assert f"{total / 10**6:.2f}" != printed
    if arch == "resnet50":
        assert total == 25_557_112


# ---- the gate -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3, 8, 64, 100, 256])
@pytest.mark.parametrize("k", [None, 1, 3, 9])
def test_parameter_formula(channels, k):
    """k weights, whatever C is: no bias, line "bias" of the chapter's table."""
    block = ECA(channels, k)
    assert count(block) == (k or eca_kernel_size(channels))
    assert [name for name, _ in block.named_parameters()] == ["conv.weight"]


def with_weights(block: ECA, *weights: float) -> ECA:
    with torch.no_grad():
        block.conv.weight.copy_(torch.tensor(weights).view(1, 1, -1))
    return block


def test_by_hand():
    """Three channels, k = 3, every number followed with pencil and paper; the kernel is not symmetric."""
    block = with_weights(ECA(3, 3), 1.0, 2.0, -1.0)
    x = torch.tensor([[[[1.0, 3.0]], [[0.0, 1.0]], [[-2.0, -4.0]]]])  # means 2, 0.5 and -3
    logits = [1 * 0 + 2 * 2 - 1 * 0.5, 1 * 2 + 2 * 0.5 - 1 * -3, 1 * 0.5 + 2 * -3 - 1 * 0]  # 3.5, 6, -5.5
    expected = [[[value / (1 + math.exp(-logit)) for value in row] for row in channel]
                for channel, logit in zip(x[0].tolist(), logits)]
    torch.testing.assert_close(block(x), torch.tensor([expected]))


@given(batch=st.integers(1, 3), channels=st.integers(1, 12), height=st.integers(1, 6), width=st.integers(1, 6),
       k=st.sampled_from([None, 1, 3, 5, 9]), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_against_loops(batch, channels, height, width, k, seed):
    """NumPy, one number at a time, over every shape, also with more weights than channels."""
    block = contract.generic(ECA(channels, k), seed)
    x = contract.images(batch, channels, height, width, seed=seed)
    w = block.conv.weight.detach().double().numpy().ravel()
    expected = np.empty(x.shape)
    for b, image in enumerate(x.double().numpy()):
        z = [channel.sum() / (height * width) for channel in image]
        for c in range(channels):
            logit = 0.0
            for j, weight in enumerate(w):
                neighbour = c + j - len(w) // 2
                if 0 <= neighbour < channels:
                    logit += weight * z[neighbour]
            expected[b, c] = image[c] / (1 + np.exp(-logit))
    np.testing.assert_allclose(block(x).detach().numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 64, 9, 7), (1, 128, 1, 1), (3, 2048, 2, 1), (2, 8, 3, 3)])
def test_timm(shape):
    block = contract.generic(ECA(shape[1]))
    oracle = timm.layers.EcaModule(shape[1])
    oracle.load_state_dict(block.state_dict())  # the same name, conv.weight
    torch.testing.assert_close(block(contract.images(*shape)), oracle(contract.images(*shape)))


@pytest.mark.parametrize("k", [1, 3, 7])
def test_timm_with_k_given(k):
    block, oracle = contract.generic(ECA(16, k)), timm.layers.EcaModule(kernel_size=k)
    oracle.load_state_dict(block.state_dict())
    torch.testing.assert_close(block(contract.images(2, 16, 5, 4)), oracle(contract.images(2, 16, 5, 4)))


def test_timm_circular():
    """Line "ends" of the chapter's table: timm's CecaModule wraps around, which changes the k // 2 ends alone."""
    block, circular = contract.generic(ECA(16, 5)), timm.layers.CecaModule(kernel_size=5)
    circular.load_state_dict(block.state_dict())
    x = contract.images(2, 16, 5, 4)
    differs = ~torch.isclose(block(x), circular(x)).all(3).all(2).all(0)
    assert differs.nonzero().flatten().tolist() == [0, 1, 14, 15]


def test_ends_see_zeros():
    """All means 1, all weights 1: a logit counts the neighbours that a channel has."""
    block = with_weights(ECA(8, 5), *[1.0] * 5)
    logits = block.attention(torch.ones(1, 8, 2, 2)).logit().flatten()
    torch.testing.assert_close(logits, torch.tensor([3.0, 4, 5, 5, 5, 5, 4, 3]), rtol=0, atol=1e-4)


def test_listing_without_sigmoid():
    """Line "sigmoid" of the chapter's table: without it, as in the paper's listing, the factors are no gates."""
    def listing(x, conv, last):
        y = x.mean((2, 3), keepdim=True)  # adaptive average pooling to 1
        y = conv(y.squeeze(-1).transpose(-1, -2)).transpose(-1, -2).unsqueeze(-1)
        return x * last(y).expand_as(x)

    block, x = contract.generic(ECA(8, 3)), contract.images(2, 8, 4, 4)
    torch.testing.assert_close(listing(x, block.conv, torch.sigmoid), block(x))
    assert not torch.allclose(listing(x, block.conv, lambda y: y), block(x), atol=0.1)
    assert listing(torch.ones(1, 8, 1, 1), block.conv, lambda y: y).min() < 0


def test_authors_layer():
    """The authors' eca_layer, from its description: k is an argument, 3 unless given, whatever C is."""
    class Layer(nn.Module):
        def __init__(self, channels, k_size=3):
            super().__init__()
            self.conv = nn.Conv1d(1, 1, kernel_size=k_size, padding=(k_size - 1) // 2, bias=False)

        def forward(self, x):
            y = self.conv(F.adaptive_avg_pool2d(x, 1).flatten(2).transpose(1, 2))
            return x * y.transpose(1, 2).unsqueeze(-1).sigmoid()

    theirs, ours = Layer(2048), contract.generic(ECA(2048, 3))
    theirs.load_state_dict(ours.state_dict())
    x = contract.images(1, 2048, 2, 2)
    torch.testing.assert_close(ours(x), theirs(x))
    assert ECA(2048).conv.kernel_size == (7,)


def test_unshared_has_k_times_c():
    """Line "weights" of the chapter's table: the unshared form with k equal rows is the shared one."""
    block, x = contract.generic(ECA(8, 3)), contract.images(2, 8, 4, 4)
    rows = block.conv.weight.detach().view(1, 3).repeat(8, 1)  # (C, k)
    windows = F.pad(x.mean((2, 3)), (1, 1)).unfold(1, 3, 1)  # (B, C) -> (B, C, k)
    torch.testing.assert_close((windows * rows).sum(2).sigmoid()[:, :, None, None], block.attention(x))
    assert rows.numel() == 3 * 8


# ---- what it assumes ------------------------------------------------------------------------------------------------


def permutation(channels: int, seed: int = 0) -> torch.Tensor:
    return torch.randperm(channels, generator=torch.Generator().manual_seed(seed))


def best_kernel_after(order: torch.Tensor, k: int, wanted: int) -> float:
    """Means are permuted: the error of the best `wanted` weights at giving the permuted logits of a k-wide kernel.

    The logits are linear in the weights, so least squares finds the best; equal gates need equal logits.
    """
    C = len(order)
    z = torch.randn(200, C, generator=torch.Generator().manual_seed(1)).double()
    w = torch.randn(k, generator=torch.Generator().manual_seed(2)).double()

    def windows(z, k):
        return F.pad(z, (k // 2, k // 2)).unfold(1, k, 1)

    target = (windows(z, k) @ w)[:, order].flatten()
    design = windows(z[:, order], wanted).flatten(0, 1)
    best = torch.linalg.lstsq(design, target[:, None]).solution[:, 0]
    return ((design @ best - target).norm() / target.norm()).item()


def test_no_weights_undo_a_permutation():
    """SE's weights can follow a permutation of the channels (tests/test_se.py), ECA's cannot, however many."""
    order = permutation(16)
    assert best_kernel_after(order, 3, 3) > 0.5
    assert best_kernel_after(order, 3, 31) > 0.5  # 31 weights reach from every channel to every other
    assert best_kernel_after(torch.arange(16), 3, 3) < 1e-12
    assert best_kernel_after(torch.arange(15, -1, -1), 3, 3) < 1e-12  # reversed order: the kernel reversed
    assert best_kernel_after(order, 1, 1) < 1e-12  # k = 1 knows no neighbours


def test_k_1_is_the_own_mean_with_one_weight():
    """Limit case: commutes with every permutation, and equal means get equal gates."""
    block, x = with_weights(ECA(8, 1), 0.7), contract.images(2, 8, 4, 4)
    torch.testing.assert_close(block.attention(x), (0.7 * x.mean((2, 3), keepdim=True)).sigmoid())
    order = permutation(8)
    assert torch.equal(block(x[:, order]), block(x)[:, order])


def test_every_channel_has_the_same_rule():
    """Equal windows get equal gates; SE tells channels apart by their number."""
    z = torch.tensor([1.0, -2, 0.5, 3, 1, -2, 0.5, 3])  # channels 1 and 5 have the same neighbours, 2 and 6 too
    x = z[None, :, None, None].expand(1, 8, 2, 2)
    gates = contract.generic(ECA(8, 3)).attention(x).flatten()
    torch.testing.assert_close(gates[1:3], gates[5:7])
    gates = contract.generic(SEBlock(8, 2)).attention(x).flatten()
    assert not torch.isclose(gates[1:3], gates[5:7]).any()


def test_gate_is_one_half_on_zeros_whatever_the_weights():
    for seed in range(3):
        block = contract.generic(ECA(8, 3), seed)
        assert torch.equal(block.attention(torch.zeros(1, 8, 2, 2)), torch.full((1, 8, 1, 1), 0.5))


def test_gate_is_blind_to_position():
    """No map to score against masks: a gate is the same at every position, and shuffling them changes none."""
    block, x = contract.generic(ECA(8)), contract.images(2, 8, 6, 6)
    assert block.attention(x).shape == (2, 8, 1, 1)
    shuffled = x.flatten(2)[:, :, permutation(36)].view_as(x)
    torch.testing.assert_close(block.attention(shuffled), block.attention(x))


def test_saturated_gate_is_exactly_one():
    """Gates lie in the closed interval: σ(17) is 1.0 in float32."""
    block = with_weights(ECA(4, 1), 17.0)
    assert torch.equal(block.attention(torch.ones(1, 4, 2, 2)), torch.ones(1, 4, 1, 1))


@pytest.mark.parametrize("padding", [1, 2])
def test_an_even_kernel_gives_another_number_of_gates(padding):
    """Why k must be odd: with 4 weights there is one gate too few or one too many, and the product does not run."""
    block = ECA(8, 3)
    block.conv = nn.Conv1d(1, 1, 4, padding=padding, bias=False)
    with pytest.raises(RuntimeError, match="must match"):
        block(contract.images(1, 8, 2, 2))
