"""Hybrids against NumPy by hand, timm's parts and loops; when the order matters; every line of the report's table."""

from collections import OrderedDict
from functools import partial

import block_contract as contract
import numpy as np
import pytest
import timm.layers
import timm.layers.cbam
import torch
from block_contract import count
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from attncourse.autoencoder import ConvAutoencoderAttention, LinearAutoencoderAttention
from attncourse.backbone import MAP_WIDTHS, ReportCNN
from attncourse.cam_sam import SpatialAttention
from attncourse.eca import ECA
from attncourse.hybrids import AttentionSequence, eca_autoencoder, eca_linear_autoencoder, eca_sam
from attncourse.training import seeded


def reversed_eca_sam(channels):
    return AttentionSequence(SpatialAttention(), ECA(channels))


def three_gates(channels):
    return AttentionSequence(ECA(channels), SpatialAttention(3), ECA(channels, 1))


def linear_of_width(width):
    return partial(eca_linear_autoencoder, width=width)


# --- the contract of every block -------------------------------------------------------------------------------------


@pytest.fixture
def milder(monkeypatch):
    """Smaller generic weights: six layers of the contract's own give logits of hundreds, and a gate of 0 or 1."""
    larger = contract.generic

    def generic(block, seed=0):
        with torch.no_grad():
            for parameter in larger(block, seed).parameters():
                parameter *= 0.3
        return block
    monkeypatch.setattr(contract, "generic", generic)


@pytest.mark.parametrize("make", [eca_sam, reversed_eca_sam, three_gates])
def test_contract(make):
    contract.check_contract(make, 0, 1, composite=True)


def test_contract_with_an_autoencoder(milder):
    contract.check_contract(eca_autoencoder, 0, 1, composite=True)


def test_contract_of_the_one_that_needs_a_width(monkeypatch):
    monkeypatch.setattr(contract, "SHAPES", [(2, 8, 5, 7), (1, 8, 6, 7), (3, 8, 1, 7), (2, 8, 9, 7)])
    contract.check_contract(linear_of_width(7), 0, 1, composite=True)


def narrow_autoencoder(channels):
    return AttentionSequence(ECA(channels), ConvAutoencoderAttention(channels, widths=(3, 2)))


def narrow_linear_autoencoder(channels):
    return AttentionSequence(ECA(channels), LinearAutoencoderAttention({8: 7, 4: 2}[channels], widths=(4, 3)))


@pytest.mark.parametrize("make", [eca_sam, reversed_eca_sam, narrow_autoencoder, narrow_linear_autoencoder])
def test_gradients(make):
    """The autoencoders are narrow: finite differences take two passes a weight."""
    contract.check_gradients(make)


@pytest.mark.parametrize("make", [eca_autoencoder, linear_of_width(7)])
def test_every_parameter_of_the_full_width_learns(make):
    block = contract.generic(make(8))
    block(contract.images(3, 8, 5, 7)).square().sum().backward()
    assert all(p.grad.isfinite().all() and p.grad.abs().max() > 1e-4 for p in block.parameters())


@pytest.mark.parametrize("make", [eca_sam, reversed_eca_sam])
def test_half_precision(make):
    contract.check_half_precision(make)


@pytest.mark.parametrize("make", [eca_autoencoder, linear_of_width(64)])
def test_half_precision_with_an_autoencoder(make, monkeypatch):
    """With the weights it starts with: on values of 20, larger ones make logits whose rounding alone opens a gate."""
    monkeypatch.setattr(contract, "generic", lambda block: block)
    with seeded(0):
        contract.check_half_precision(make)


def test_export_and_compile():
    contract.check_export_and_compile(eca_sam)


@pytest.mark.parametrize(("make", "free"), [(eca_autoencoder, "B"), (linear_of_width(7), "BH")])
def test_export_and_compile_with_an_autoencoder(make, free):
    """The linear one is tied to W; the convolutional one is traced for one size of map."""
    block, x = contract.generic(make(8)).eval(), contract.images(2, 8, 5, 7)
    compiled = torch.compile(block, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), block(x))
    dims = {"BCHW".index(name): torch.export.Dim(name, min=1) for name in free}
    exported = torch.export.export(block, (x,), dynamic_shapes=(dims,)).module()
    for batch, height in [(1, 5), (3, 9 if "H" in free else 5)]:
        more = contract.images(batch, 8, height, 7)
        torch.testing.assert_close(exported(more), block(more))


@pytest.mark.parametrize("make", [eca_sam, eca_autoencoder, linear_of_width(7)])
def test_bad_input(make):
    contract.check_bad_input(make)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: eca_sam(0), "channels must be at least 1, got 0"),
    (lambda: eca_sam(8, kernel_size=4), "kernel_size must be odd and at least 1, got 4"),
    (lambda: eca_autoencoder(-2), "channels must be at least 1, got -2"),
    (lambda: eca_linear_autoencoder(0, 7), "channels must be at least 1, got 0"),
    (lambda: eca_linear_autoencoder(8, 0), "width must be at least 1, got 0"),
])
def test_bad_constructor(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_another_width_is_named():
    with pytest.raises(ValueError, match="built for maps 7 wide, got 6"):
        eca_linear_autoencoder(8, 7)(contract.images(1, 8, 5, 6))


def test_one_position_of_one_image_in_training_is_named():
    with pytest.raises(ValueError, match="use a batch of at least 2 images"):
        eca_sam(8)(contract.images(1, 8, 1, 1))


# --- what they compute -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3, 8, 64, 100, 128, 256, 2048])
def test_parameter_formulas(channels):
    k = ECA(channels).conv.kernel_size[0]
    for kernel_size in (1, 3, 7):
        assert count(eca_sam(channels, kernel_size)) == k + 2 * kernel_size**2 + 2
    for width in (1, 13, 32):
        assert count(eca_linear_autoencoder(channels, width)) == k + 257 * width + 18_316
    if channels <= 256:
        assert count(eca_autoencoder(channels)) == k + 385 * channels + 46_200


def test_by_hand():
    """Two channels of two positions, kernels of one number: followed with pencil and paper."""
    block = AttentionSequence(ECA(2, 1), SpatialAttention(1, norm=False))
    with torch.no_grad():
        block[0].conv.weight[:] = np.log(3)  # the gate of a mean of 1 is σ(log 3) = 3/4
        block[1].conv.weight[:] = torch.tensor([1.0, 2.0])[None, :, None, None]  # 1 · mean + 2 · maximum
    x = torch.tensor([[[[2.0, 0.0]], [[-1.0, 1.0]]]])  # means 1 and 0: gates 3/4 and 1/2
    first = [[1.5, 0.0], [-0.5, 0.5]]
    scores = [1 * 0.5 + 2 * 1.5, 1 * 0.25 + 2 * 0.5]  # of the gated map: means 0.5 and 0.25, maxima 1.5 and 0.5
    gate = [1 / (1 + np.exp(-score)) for score in scores]
    expected = [[[[1.5 * gate[0], 0.0]], [[-0.5 * gate[0], 0.5 * gate[1]]]]]
    assert [[round(a * b, 6) for a, b in zip(row, gate)] for row in first] == [
        [round(value, 6) for value in channel[0]] for channel in expected[0]]
    torch.testing.assert_close(block(x), torch.tensor(expected, dtype=torch.float32))
    want = torch.tensor([[[[0.75 * gate[0], 0.75 * gate[1]]], [[0.5 * gate[0], 0.5 * gate[1]]]]], dtype=torch.float32)
    torch.testing.assert_close(block.attention(x), want)


@given(batch=st.integers(1, 3), channels=st.integers(1, 10), height=st.integers(1, 6), width=st.integers(1, 6),
       k=st.sampled_from([1, 3, 5]), size=st.sampled_from([1, 3, 7]), spatial_first=st.booleans(),
       seed=st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_against_loops(batch, channels, height, width, k, size, spatial_first, seed):
    """NumPy, one number at a time, in both orders and over every shape."""
    eca, sam = contract.generic(ECA(channels, k), seed), contract.generic(SpatialAttention(size, norm=False), seed + 1)
    block = AttentionSequence(sam, eca) if spatial_first else AttentionSequence(eca, sam)
    x = contract.images(batch, channels, height, width, seed=seed)
    w, f = eca.conv.weight.detach().double().numpy()[0, 0], sam.conv.weight.detach().double().numpy()[0]

    def channels_scaled(image):
        means = [channel.mean() for channel in image]
        out = np.empty_like(image)
        for c in range(channels):
            score = sum(w[j] * means[c + j - k // 2] for j in range(k) if 0 <= c + j - k // 2 < channels)
            out[c] = image[c] / (1 + np.exp(-score))
        return out

    def positions_scaled(image):
        out = np.empty_like(image)
        for i in range(height):
            for j in range(width):
                score = 0.0
                for u in range(size):
                    for v in range(size):
                        row, column = i + u - size // 2, j + v - size // 2
                        if 0 <= row < height and 0 <= column < width:
                            seen = image[:, row, column]
                            score += f[0, u, v] * seen.mean() + f[1, u, v] * seen.max()
                out[:, i, j] = image[:, i, j] / (1 + np.exp(-score))
        return out

    steps = [positions_scaled, channels_scaled] if spatial_first else [channels_scaled, positions_scaled]
    expected = np.stack([steps[1](steps[0](image)) for image in x.double().numpy()])
    np.testing.assert_allclose(block(x).detach().numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("channels", [8, 64, 128])
def test_eca_sam_against_timm(channels):
    """timm's ECA, then timm's half of CBAM, which stacks the average first as well."""
    block = contract.generic(eca_sam(channels)).eval()
    eca, sam = timm.layers.EcaModule(channels), timm.layers.cbam.SpatialAttn(7).eval()
    eca.load_state_dict(block[0].state_dict())
    sam.load_state_dict({f"conv.{name.replace('norm', 'bn')}": value for name, value in block[1].state_dict().items()})
    x = contract.images(2, channels, 9, 7)
    torch.testing.assert_close(block(x), sam(eca(x)))


@pytest.mark.parametrize("make", [eca_sam, eca_autoencoder, linear_of_width(7)])
def test_it_is_one_block_after_the_other(make):
    block = contract.generic(make(8)).eval()
    x = contract.images(2, 8, 5, 7)
    after_eca = x * block[0].attention(x)
    assert torch.equal(block(x), after_eca * block[1].attention(after_eca))
    torch.testing.assert_close(block.attention(x), block[0].attention(x) * block[1].attention(after_eca))
    assert block.attention(x).shape == x.shape


def test_a_sequence_of_one_block_is_that_block():
    eca, x = contract.generic(ECA(8)), contract.images(2, 8, 5, 7)
    assert torch.equal(AttentionSequence(eca)(x), eca(x))
    assert torch.equal(AttentionSequence(eca).attention(x), eca.attention(x))


def test_the_parts_can_be_reached_and_are_trained():
    block = eca_sam(64)
    assert isinstance(block[0], ECA)
    assert isinstance(block[1], SpatialAttention)
    assert set(block.state_dict()) >= {"0.conv.weight", "1.conv.weight", "1.norm.weight"}


# --- when the order matters ------------------------------------------------------------------------------------------


def both_orders(eca, sam, x):
    return AttentionSequence(eca, sam)(x), AttentionSequence(sam, eca)(x)


def test_the_order_matters():
    """Each gate that comes second sees another map than it would see first."""
    eca, sam = contract.generic(ECA(8)).eval(), contract.generic(SpatialAttention(3)).eval()
    channel_first, spatial_first = both_orders(eca, sam, contract.images(2, 8, 5, 7))
    assert (channel_first - spatial_first).abs().max() > 0.05


def test_second_eca_sees_means_weighted_by_the_spatial_gate():
    eca, sam = contract.generic(ECA(8, 3)), contract.generic(SpatialAttention(3, norm=False))
    x = contract.images(2, 8, 5, 7)
    M = sam.attention(x)  # (2, 1, 5, 7)
    z = (x * M).sum((2, 3)) / 35
    logits = nn.functional.conv1d(z[:, None], eca.conv.weight, padding=1)[:, 0]
    torch.testing.assert_close(AttentionSequence(sam, eca).attention(x), M * logits.sigmoid()[:, :, None, None])


@pytest.mark.parametrize("constant", ["eca", "sam", "both"])
def test_orders_agree_when_the_gates_do_not_look(constant):
    """Weights of 0 make a gate 0.5 everywhere. One constant gate is not enough: the other still sees half a map."""
    eca, sam = contract.generic(ECA(8)), contract.generic(SpatialAttention(3, norm=False))
    with torch.no_grad():
        if constant != "sam":
            eca.conv.weight.zero_()
        if constant != "eca":
            sam.conv.weight.zero_()
    channel_first, spatial_first = both_orders(eca, sam, contract.images(2, 8, 5, 7))
    assert torch.allclose(channel_first, spatial_first) == (constant == "both")


def test_orders_agree_when_each_change_is_one_factor():
    """A channel gate that looks at signs alone does not notice that a spatial gate has halved the map."""
    class SignGate(nn.Module):
        def attention(self, x):
            return x.mean((2, 3), keepdim=True).sign() * 0.25 + 0.5

        def forward(self, x):
            return x * self.attention(x)

    class Half(nn.Module):
        def attention(self, x):
            return torch.full_like(x[:, :1], 0.5)

        def forward(self, x):
            return x * self.attention(x)

    channel_first, spatial_first = both_orders(SignGate(), Half(), contract.images(2, 8, 5, 7))
    torch.testing.assert_close(channel_first, spatial_first)


def test_batch_norm_in_training_divides_a_common_factor_away():
    """A channel gate of 0.5 everywhere in front of SAM: its BatchNorm sees half of everything, and undoes it."""
    eca, sam = contract.generic(ECA(8)), contract.generic(SpatialAttention(3)).train()
    with torch.no_grad():
        eca.conv.weight.zero_()
    x = contract.images(4, 8, 6, 6)
    channel_first, spatial_first = both_orders(eca, sam, x)
    torch.testing.assert_close(channel_first, spatial_first, rtol=1e-3, atol=1e-3)  # up to BatchNorm's ε
    channel_first, spatial_first = both_orders(eca, sam.eval(), x)
    assert (channel_first - spatial_first).abs().max() > 0.01


def test_side_by_side_gates_have_no_order():
    eca, sam = contract.generic(ECA(8)), contract.generic(SpatialAttention(3, norm=False))
    x = contract.images(2, 8, 5, 7)
    torch.testing.assert_close(eca(x) * sam.attention(x), sam(x) * eca.attention(x))  # both gates computed from x
    assert (eca(x) * sam.attention(x) - AttentionSequence(eca, sam)(x)).abs().max() > 0.01


# --- gates shrink ----------------------------------------------------------------------------------------------------


def test_two_fresh_gates_let_a_quarter_through():
    """At weights of 0, a hybrid is a quarter; four of them without normalisation are 0.25⁴."""
    block = eca_sam(8)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.zero_()
    x = contract.images(2, 8, 5, 7)
    assert torch.equal(block(x), x / 4)
    assert torch.equal(block(block(block(block(x)))), x / 256)


# --- lines of the chapter's table ------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [eca_sam, eca_autoencoder, linear_of_width(7)])
def test_eca_comes_first(make):
    """Line "order"."""
    first, second = make(8)
    assert isinstance(first, ECA)
    assert not isinstance(second, ECA)


def test_the_kernel_follows_the_channels():
    """Line "ECA's kernel": 3, 3, 5 and 5 at the four places; the report's code has 3 everywhere."""
    model = ReportCNN(attention=eca_sam)
    blocks = [model.get_submodule(".".join(place)) for place in model.places()]
    assert [block[0].conv.kernel_size for block in blocks] == [(3,), (3,), (5,), (5,)]


def test_the_second_key_replaces_the_first():
    """Line "modules per stage": of two entries with one key, the first's place and the second's value stay."""
    first, second = eca_sam(8), eca_sam(8)
    layers = OrderedDict([("conv1", nn.Conv2d(3, 8, 3)), ("attention", first), ("relu1", nn.ReLU()),
                          ("conv2", nn.Conv2d(8, 8, 3)), ("attention", second), ("relu2", nn.ReLU())])
    assert list(layers) == ["conv1", "attention", "relu1", "conv2", "relu2"]
    assert layers["attention"] is second
    assert count(nn.Sequential(layers)) == count(layers["conv1"]) + count(layers["conv2"]) + count(second)


def test_ours_has_four():
    """Line "modules per stage", our column."""
    assert sum(isinstance(module, AttentionSequence) for module in ReportCNN(attention=eca_sam).modules()) == 4


def test_the_stack_order_is_a_matter_of_naming():
    """Line "what the spatial part stacks": [max, avg] with the kernel's planes swapped is the same function."""
    ours = contract.generic(eca_sam(8)).eval()
    theirs = AttentionSequence(ECA(8), SpatialAttention(pools=("max", "avg"))).eval()
    theirs.load_state_dict(ours.state_dict())
    with torch.no_grad():
        theirs[1].conv.weight[:] = ours[1].conv.weight.flip(1)
    x = contract.images(2, 8, 5, 7)
    torch.testing.assert_close(theirs(x), ours(x))


@pytest.mark.parametrize("size", MAP_WIDTHS)
def test_every_position_of_the_autoencoders_gate_depends_on_the_picture(size):
    """Line "autoencoder's last layer": no position is left with σ(bias) alone."""
    with seeded(0):
        block = eca_autoencoder(8)
    gates = block[1].attention(contract.images(4, 8, size, size))
    assert gates.std(0).amin() > 1e-6  # over four pictures


def test_an_empty_sequence_is_refused():
    with pytest.raises(ValueError, match="at least one block, got none"):
        AttentionSequence()
