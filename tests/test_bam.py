"""BAM against the paper's equations, the authors' layout, NumPy by hand, and the contract of every block."""

from functools import partial

import block_contract as contract
import numpy as np
import pytest
import torch
import torchvision
from block_contract import count
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import PaperBAM, with_weights_of
from torch import nn
from torch.nn import functional as F

from attncourse.bam import BAM
from attncourse.training import seeded

BEFORE_NORM = ("mlp.2.bias", "convs.6.bias")  # a BatchNorm follows and subtracts them again


class AuthorsBAM(nn.Module):
    """The layout of the authors' code: BatchNorm and ReLU after each hidden layer, bare ends, a product."""

    def __init__(self, channels: int, reduction: int = 16, dilation: int = 4):
        super().__init__()
        hidden = channels // reduction
        self.channel = nn.Sequential(
            nn.Linear(channels, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, channels))
        self.spatial = nn.Sequential(
            nn.Conv2d(channels, hidden, 1), nn.BatchNorm2d(hidden), nn.ReLU(),
            nn.Conv2d(hidden, hidden, 3, padding=dilation, dilation=dilation), nn.BatchNorm2d(hidden), nn.ReLU(),
            nn.Conv2d(hidden, hidden, 3, padding=dilation, dilation=dilation), nn.BatchNorm2d(hidden), nn.ReLU(),
            nn.Conv2d(hidden, 1, 1))

    def pool(self, x):
        return F.avg_pool2d(x, x.size(2), stride=x.size(2)).flatten(1)  # one side for both, as their code has it

    def forward(self, x):
        return x * (1 + torch.sigmoid(self.channel(self.pool(x))[:, :, None, None] * self.spatial(x)))


def transparent(block: nn.Module) -> nn.Module:
    """The block in eval mode with every BatchNorm an identity."""
    for module in block.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.eps = 0.0
            with torch.no_grad():
                for value, constant in ((module.weight, 1), (module.bias, 0), (module.running_mean, 0),
                                        (module.running_var, 1)):
                    value.fill_(constant)
    return block.eval()


def authors_with_weights_of(block: BAM, *arguments) -> AuthorsBAM:
    """The authors' layout with the block's layers; the BatchNorms have no counterpart."""
    theirs = AuthorsBAM(*arguments)
    for branch, layers in ((theirs.channel, block.mlp), (theirs.spatial, block.convs)):
        ours = [layer for layer in layers if not isinstance(layer, nn.ReLU)]
        for target, source in zip(branch[::3], ours, strict=True):
            target.load_state_dict(source.state_dict())
    return theirs


# ---- the contract ---------------------------------------------------------------------------------------------------


every_form = pytest.mark.parametrize("make_block", [
    partial(BAM, reduction=reduction, dilation=2, combine=combine)
    for reduction in (2, 16) for combine in ("sum", "product")])  # r = 16 is more than C


@every_form
def test_contract(make_block):
    contract.check_contract(make_block, 1, 2, composite=True)


@every_form
def test_gradients(make_block):
    contract.check_gradients(make_block, without=BEFORE_NORM)


@pytest.mark.parametrize("reduction", [2, 16])
def test_half_precision(reduction):
    contract.check_half_precision(partial(BAM, reduction=reduction, dilation=2))


def test_half_precision_of_the_product(monkeypatch):
    """With the weights it starts with: a product of large branches passes its rounding on to the gate."""
    monkeypatch.setattr(contract, "generic", lambda block: block)
    with seeded(0):
        contract.check_half_precision(partial(BAM, combine="product"))


@every_form
def test_export_and_compile(make_block):
    contract.check_export_and_compile(make_block)


@every_form
def test_bad_input(make_block):
    contract.check_bad_input(make_block)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"channels": 0}, "channels must be at least 1, got 0"),
    ({"channels": -4}, "channels must be at least 1, got -4"),
    ({"channels": 8, "reduction": 0}, "reduction must be at least 1, got 0"),
    ({"channels": 8, "dilation": 0}, "dilation must be at least 1, got 0"),
    ({"channels": 8, "combine": "max"}, 'combine must be "sum" or "product", got \'max\''),
])
def test_bad_constructor(arguments, message):
    with pytest.raises(ValueError, match=message):
        BAM(**arguments)


def test_defaults_are_the_papers():
    """r = 16, d = 4, the sum."""
    block = BAM(64)
    assert block.mlp[0].out_features == block.convs[0].out_channels == 64 // 16
    assert block.convs[2].dilation == block.convs[4].dilation == (4, 4)
    assert block.combine == "sum"


# ---- numbers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3, 8, 64, 100, 256])
@pytest.mark.parametrize("reduction", [1, 4, 16])
@pytest.mark.parametrize("dilation", [1, 4])
def test_parameter_formula(channels, reduction, dilation):
    hidden = max(1, channels // reduction)
    block = BAM(channels, reduction, dilation)
    channel = 2 * channels * hidden + hidden + 3 * channels
    spatial = channels * hidden + 18 * hidden**2 + 4 * hidden + 3
    assert count(block.mlp) + count(block.channel_norm) == channel
    assert count(block.convs) + count(block.spatial_norm) == spatial
    assert count(block) == channel + spatial


@pytest.mark.parametrize(("channels", "total"), [(64, 1_173), (256, 17_361)])
def test_parameters_of_the_authors_form(channels, total):
    hidden = channels // 16
    block = AuthorsBAM(channels)
    assert count(block.channel) == 2 * channels * hidden + channels + 3 * hidden
    assert count(block.spatial) == channels * hidden + 18 * hidden**2 + 10 * hidden + 1
    assert count(block) == total


@pytest.mark.parametrize(("arch", "make", "total"), [
    ("resnet18", BAM, 11_713_181), ("resnet50", BAM, 25_917_793),
    ("resnet18", AuthorsBAM, 11_712_503), ("resnet50", AuthorsBAM, 25_915_099),
])
def test_totals_in_resnets(arch, make, total):
    """One block after layer1, layer2 and layer3, none after layer4; 1,000 classes."""
    with torch.device("meta"):  # shapes without memory
        model = getattr(torchvision.models, arch)()
        last = [getattr(model, name)[-1] for name in ("layer1", "layer2", "layer3")]
        widths = [block.conv3.out_channels if hasattr(block, "conv3") else block.conv2.out_channels for block in last]
        added = sum(count(make(width)) for width in widths)
    assert count(model) + added == total


def test_by_hand():
    """One channel, a map of two values, every number followed with pencil and paper."""
    block = transparent(BAM(1, reduction=1, dilation=1))
    with torch.no_grad():
        for layer, weight, bias in ((block.mlp[0], 1, -1), (block.mlp[2], 2, 0), (block.convs[0], 1, 0),
                                    (block.convs[6], 1, -2)):
            layer.weight.fill_(weight)
            layer.bias.fill_(bias)
        for layer, row in ((block.convs[2], [0, 1, -1]), (block.convs[4], [0, 0, 1])):
            layer.weight.zero_()
            layer.weight[0, 0, 1] = torch.tensor(row)
            layer.bias.zero_()
    x = torch.tensor([[[[1.0, 3.0]]]])
    # what: mean 2, hidden 2 - 1 = 1, out 2 · 1 = 2
    # where: 1 3 -> 1 - 3 = -2 and 3 - 0 = 3 -> ReLU: 0 3 -> right neighbours: 3 0 -> minus 2: 1 -2
    sigma = 1 / (1 + np.exp(-np.array([2 + 1, 2 - 2])))
    torch.testing.assert_close(block(x), torch.tensor([[[[1, 3]]]]) * torch.tensor(1 + sigma, dtype=torch.float32))
    block.combine = "product"
    sigma = 1 / (1 + np.exp(-np.array([2 * 1, 2 * -2])))
    torch.testing.assert_close(block(x), torch.tensor([[[[1, 3]]]]) * torch.tensor(1 + sigma, dtype=torch.float32))


def convolve(image: np.ndarray, weight: np.ndarray, bias: np.ndarray, dilation: int) -> np.ndarray:
    """A k×k convolution that keeps the size, one product at a time; what lies outside the map counts as 0."""
    _, H, W = image.shape
    half = weight.shape[2] // 2
    out = np.empty((len(weight), H, W))
    for o, i, j in np.ndindex(*out.shape):
        out[o, i, j] = bias[o]
        for c, u, v in np.ndindex(*weight.shape[1:]):
            row, column = i + dilation * (u - half), j + dilation * (v - half)
            if 0 <= row < H and 0 <= column < W:
                out[o, i, j] += weight[o, c, u, v] * image[c, row, column]
    return out


def normalised(values: np.ndarray, norm: nn.Module) -> np.ndarray:
    mean, var, weight, bias = (value.detach().double().numpy().reshape(-1, *[1] * (values.ndim - 1)) for value in (
        norm.running_mean, norm.running_var, norm.weight, norm.bias))
    return (values - mean) / np.sqrt(var + norm.eps) * weight + bias


@given(batch=st.integers(1, 2), channels=st.integers(1, 6), height=st.integers(1, 5), width=st.integers(1, 5),
       reduction=st.integers(1, 8), dilation=st.integers(1, 4), combine=st.sampled_from(["sum", "product"]),
       seed=st.integers(0, 99))
@settings(deadline=None, max_examples=20)
def test_against_loops(batch, channels, height, width, reduction, dilation, combine, seed):
    """NumPy, one number at a time, over every shape."""
    block = contract.generic(BAM(channels, reduction, dilation, combine), seed).eval()
    x = contract.images(batch, channels, height, width, seed=seed)
    weights = {name: p.detach().double().numpy() for name, p in block.named_parameters()}
    expected = np.empty(x.shape)
    for b, image in enumerate(x.double().numpy()):
        z = np.array([channel.sum() / (height * width) for channel in image])
        hidden = np.array([max(0.0, v) for v in weights["mlp.0.weight"] @ z + weights["mlp.0.bias"]])
        what = normalised(weights["mlp.2.weight"] @ hidden + weights["mlp.2.bias"], block.channel_norm)
        where = image
        for layer in (0, 2, 4, 6):
            where = convolve(where, weights[f"convs.{layer}.weight"], weights[f"convs.{layer}.bias"], dilation)
            where = np.maximum(where, 0) if layer != 6 else normalised(where, block.spatial_norm)
        for c, i, j in np.ndindex(*image.shape):
            logit = what[c] + where[0, i, j] if combine == "sum" else what[c] * where[0, i, j]
            expected[b, c, i, j] = image[c, i, j] * (1 + 1 / (1 + np.exp(-logit)))
    np.testing.assert_allclose(block(x).detach().numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 64, 9, 7), (3, 64, 1, 1), (2, 64, 17, 17)])
@pytest.mark.parametrize("training", [True, False])
def test_the_papers_equations(shape, training):
    block = contract.generic(BAM(64)).train(training)
    oracle = with_weights_of(block, PaperBAM(64)).train(training)
    torch.testing.assert_close(block(contract.images(*shape)), oracle(contract.images(*shape)))


# ---- one test for each line of the chapter's table ------------------------------------------------------------------


def test_sum_and_product():
    """Line "joining": the operator alone is switched, and each is what it says."""
    block = contract.generic(BAM(8, 2)).eval()
    x = contract.images(2, 8, 5, 7)
    what, where = block.channel(x), block.spatial(x)
    assert torch.equal(block.attention(x), 1 + torch.sigmoid(what + where))
    block.combine = "product"
    assert torch.equal(block.attention(x), 1 + torch.sigmoid(what * where))
    assert not torch.allclose(torch.sigmoid(what * where), torch.sigmoid(what + where), atol=0.1)


def test_the_authors_layout_without_batch_norms_is_our_product():
    """Line "joining", second half: with all BatchNorms made transparent the two layouts are one function."""
    block = transparent(contract.generic(BAM(64, combine="product")))
    oracle = transparent(authors_with_weights_of(block, 64))
    x = contract.images(2, 64, 7, 7)
    torch.testing.assert_close(block(x), oracle(x))


def test_batch_norm_sits_at_the_end_of_each_branch():
    """Line "BatchNorm": ours has two, at the ends, so both branches come out on one scale; theirs has four, inside."""
    def norms(module):
        return [each for each in module.modules() if isinstance(each, nn.BatchNorm1d | nn.BatchNorm2d)]

    torch.manual_seed(0)
    block, theirs = BAM(64), AuthorsBAM(64)
    assert [norm.num_features for norm in norms(block)] == [64, 1]
    assert [norm.num_features for norm in norms(theirs)] == [4, 4, 4, 4]
    x = 30 * contract.images(8, 64, 9, 9)
    for branch in (block.channel(x), block.spatial(x)):
        assert branch.std().item() == pytest.approx(1, abs=0.05)
    assert theirs.channel(theirs.pool(x)).std() < 0.7
    assert theirs.spatial(x).std() < 0.7


def test_relu_after_each_hidden_layer():
    """Line "ReLU": one in the MLP, three among the convolutions; without them each branch would be linear."""
    block = contract.generic(BAM(8, 2)).eval()
    assert [sum(isinstance(layer, nn.ReLU) for layer in part) for part in (block.mlp, block.convs)] == [1, 3]
    x = contract.images(2, 8, 5, 7)
    for branch in (block.channel, block.spatial):
        assert not torch.allclose(branch(x) + branch(-x), 2 * branch(0 * x), atol=0.01)  # true of any affine map


def test_biases_before_batch_norm_do_nothing():
    """Line "biases": every layer has one; the last of each branch is subtracted again by the BatchNorm behind it."""
    block = contract.generic(BAM(8, 2)).train()
    assert all(layer.bias is not None for layer in (*block.mlp[::2], *block.convs[::2]))
    x = contract.images(4, 8, 5, 7)
    before = block(x)
    with torch.no_grad():
        for name in BEFORE_NORM:
            block.get_parameter(name).add_(100)
    torch.testing.assert_close(block(x), before, rtol=1e-3, atol=1e-3)


def test_pooling_of_non_square_maps():
    """Line "pooling": the authors pool with one side; of 8×12 they see the left 8 columns, 8×16 does not run."""
    block, theirs = contract.generic(BAM(64)).eval(), AuthorsBAM(64).eval()
    x = contract.images(2, 64, 8, 12)
    torch.testing.assert_close(theirs.pool(x), x[..., :8].mean((2, 3)))
    right = x.clone()
    right[..., 8:] += 5
    assert torch.equal(theirs.pool(right), theirs.pool(x))
    assert not torch.allclose(block.channel(right), block.channel(x), atol=0.1)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        theirs(contract.images(2, 64, 8, 16))


def test_narrow_layers_keep_one_hidden_unit():
    """Line "C < r": C // r would be 0, and the authors' layout does not run."""
    block = contract.generic(BAM(8, reduction=16)).eval()
    assert block.mlp[0].out_features == block.convs[0].out_channels == 1
    assert block(contract.images(2, 8, 4, 4)).shape == (2, 8, 4, 4)
    with pytest.warns(UserWarning, match="zero-element"):
        theirs = AuthorsBAM(8)
    with pytest.raises((RuntimeError, IndexError, ValueError)):
        theirs(contract.images(2, 8, 4, 4))


def test_one_image_in_training_mode_is_a_clear_error():
    """Line "one image in training": the channel branch has one value per channel there, nothing to normalise over."""
    block = BAM(8, 2)
    x = contract.images(1, 8, 5, 7)
    for use in (block, block.attention, block.channel):
        with pytest.raises(ValueError, match=r"use a batch of at least 2 images, or call \.eval\(\) on this block"):
            use(x)
    assert block.eval()(x).shape == x.shape
    assert block.train()(contract.images(2, 8, 1, 1)).shape == (2, 8, 1, 1)
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        AuthorsBAM(32)(contract.images(1, 32, 5, 5))


@pytest.mark.parametrize(("side", "layers", "dilation", "left"), [(7, 3, 2, 1), (17, 2, 4, 5)])
def test_padding_1_shrinks_the_map(side, layers, dilation, left):
    """Line "padding": with padding 1 a map loses 2(d - 1) rows a layer; a 1×1 rest broadcasts without a word."""
    convs = nn.Sequential(*(nn.Conv2d(1, 1, 3, padding=1, dilation=dilation) for _ in range(layers)))
    x = contract.images(1, 1, side, side)
    assert convs(x).shape[2:] == (left, left)
    assert contract.generic(BAM(1, dilation=dilation)).eval().spatial(x).shape[2:] == (side, side)


# ---- what the chapter says beyond the table -------------------------------------------------------------------------


def positive(block: BAM) -> BAM:
    """The block with weights above 0, so that no ReLU closes and no two paths cancel."""
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.copy_(torch.rand(parameter.shape, generator=torch.Generator().manual_seed(0)) + 0.1)
    return block.eval()


@pytest.mark.parametrize(("dilation", "side"), [(1, 5), (2, 9), (3, 13), (4, 17)])
def test_receptive_field(dilation, side):
    """25 pixels move one output pixel at any dilation: they lie d apart, on a square of 8·d/2 + 1 a side."""
    x = torch.rand(1, 4, 21, 21, generator=torch.Generator().manual_seed(0)).requires_grad_()
    positive(BAM(4, 2, dilation)).spatial(x)[0, 0, 10, 10].backward()
    seen = x.grad[0].abs().sum(0) > 0
    rows, columns = (axis.tolist() for axis in seen.nonzero().unbind(1))
    assert len(rows) == 25
    assert max(rows) - min(rows) + 1 == max(columns) - min(columns) + 1 == side
    assert {row - 10 for row in rows} == {column - 10 for column in columns} == {dilation * k for k in range(-2, 3)}


def test_gate_lies_between_1_and_2_and_keeps_signs():
    """The gate 1 + M leaves at least x: it never switches a value off."""
    block = contract.generic(BAM(8, 2)).eval()
    for scale in (0.1, 1, 1000):
        x = scale * contract.images(2, 8, 5, 7)
        y = block(x)
        assert (y.abs() >= x.abs()).all()
        assert (y.abs() <= 2 * x.abs()).all()
        assert torch.equal(y.sign(), x.sign())


def with_constant_branches(what: float, where: float, combine: str = "sum") -> BAM:
    """A block whose branches give these numbers whatever they see."""
    block = transparent(BAM(1, combine=combine))
    with torch.no_grad():
        for layer, value in ((block.mlp[2], what), (block.convs[6], where)):
            layer.weight.zero_()
            layer.bias.fill_(value)
    return block


def test_saturated_gates_are_exactly_1_and_2():
    """Gates lie in the closed interval: σ(17) is 1.0 in float32, and 1 + σ(-40) is 1.0."""
    for logit, gate in ((17.0, 2.0), (-40.0, 1.0)):
        block = with_constant_branches(logit, 0)
        assert torch.equal(block.attention(torch.zeros(1, 1, 2, 2)), torch.full((1, 1, 2, 2), gate))


def test_the_gate_says_what_and_where():
    """The claim that BAM looks at regions "instead of" channels: its gate differs along both."""
    block = contract.generic(BAM(8, 2)).eval()
    gate = block.attention(contract.images(1, 8, 6, 6))
    assert gate.mean((2, 3)).std() > 0.01
    assert gate.mean(1).std() > 0.01


@pytest.mark.parametrize("seed", range(4))
def test_the_authors_branches_start_smaller(seed):
    """Without a BatchNorm at the ends, at a third to a half of the spread of 1 that it would give: not near 0."""
    torch.manual_seed(seed)
    theirs = AuthorsBAM(64, reduction=16).train()
    x = torch.randn(16, 64, 16, 16) + torch.randn(16, 64, 1, 1)  # pictures differ in what they hold
    what, where = theirs.channel(theirs.pool(x)).std().item(), theirs.spatial(x).std().item()
    assert what == pytest.approx(0.49, abs=0.03)
    assert where == pytest.approx(0.35, abs=0.04)


@pytest.mark.parametrize(("weight", "added", "multiplied"), [
    (1.0, 1.9e-2, 1.0e-2), (0.1, 1.6e-2, 9.9e-4), (0.01, 1.6e-2, 9.6e-5), (0.0, 1.6e-2, 0.0)])
def test_the_gradients_of_exercise_5(weight, added, multiplied):
    for combine, expected in (("sum", added), ("product", multiplied)):
        torch.manual_seed(0)
        start = BAM(64, combine=combine)
        nn.init.constant_(start.spatial_norm.weight, weight)
        start(torch.randn(16, 64, 16, 16)).square().mean().backward()
        assert start.mlp[2].weight.grad.norm().item() == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(("combine", "gradient"), [("sum", 0.197), ("product", 0)])
def test_in_a_product_a_branch_at_zero_stops_the_others_gradient(combine, gradient):
    block = with_constant_branches(1, 0, combine)
    block.attention(torch.zeros(1, 1, 1, 1)).backward()
    assert block.mlp[2].bias.grad.item() == pytest.approx(gradient, abs=1e-3)  # σ'(1) in the sum


@pytest.mark.parametrize(("combine", "gate"), [("sum", 1.002), ("product", 2.0)])
def test_in_a_product_two_noes_make_a_yes(combine, gate):
    block = with_constant_branches(-3, -3, combine)  # 1 + σ(-6) and 1 + σ(9)
    assert block.attention(torch.zeros(1, 1, 1, 1)).item() == pytest.approx(gate, abs=1e-3)


def test_the_odds_of_a_sum_are_a_product():
    """M / (1 - M) = exp(Mc) · exp(Ms): C + H·W numbers steer C·H·W gates."""
    block = contract.generic(BAM(8, 2)).double().eval()
    M = block.attention(contract.images(1, 8, 5, 7).double()) - 1
    odds = (M / (1 - M))[0].flatten(1)  # (C, H·W)
    assert torch.linalg.matrix_rank(odds, rtol=1e-8) == 1


def test_commutes_with_a_permutation_of_the_channels():
    """BAM knows no order among channels: permute the channels and the weights, and the output is permuted."""
    block, permuted = contract.generic(BAM(8, 2)).eval(), BAM(8, 2).eval()
    order = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    permuted.load_state_dict(block.state_dict())
    with torch.no_grad():
        permuted.mlp[0].weight[:] = block.mlp[0].weight[:, order]
        permuted.convs[0].weight[:] = block.convs[0].weight[:, order]
        for value, source in ((permuted.mlp[2].weight, block.mlp[2].weight), (permuted.mlp[2].bias, block.mlp[2].bias)):
            value[:] = source[order]
        for name in ("weight", "bias", "running_mean", "running_var"):
            getattr(permuted.channel_norm, name)[:] = getattr(block.channel_norm, name)[order]
    x = contract.images(2, 8, 4, 4)
    torch.testing.assert_close(permuted(x[:, order]), block(x)[:, order])
