"""The autoencoder-inspired gates against NumPy by hand, torch's functions, the report's code, and the contract."""

import copy
from functools import partial
from itertools import pairwise

import block_contract as contract
import numpy as np
import pytest
import torch
from block_contract import count
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from attncourse.as_coded import LAST_LAYER, CodedAutoencoder
from attncourse.autoencoder import ConvAutoencoderAttention, LinearAutoencoderAttention
from attncourse.backbone import ReportCNN
from attncourse.training import seeded

PLACES = ((64, 32), (64, 30), (128, 15), (128, 13))  # channels and side of the map at ReportCNN's four places
SMALL = partial(ConvAutoencoderAttention, widths=(4, 6))


def calm(block: nn.Module, seed: int = 0) -> nn.Module:
    """Random weights, small enough that six layers neither saturate the gate nor leave it flat."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in block.parameters():
            scale = 0.3 if p.ndim == 1 else (3 / (p[0, 0].numel() * min(p.shape[:2]))) ** 0.5
            p.copy_(torch.randn(p.shape, generator=generator) * scale)
    return block


# --- the convolutional gate: contract --------------------------------------------------------------------------------

@pytest.mark.parametrize("make_block", [SMALL, partial(ConvAutoencoderAttention, widths=(3,))])
def test_contract(make_block):
    contract.check_contract(make_block, 0, 1)


def test_contract_with_the_default_widths(monkeypatch):
    monkeypatch.setattr(contract, "generic", calm)
    contract.check_contract(ConvAutoencoderAttention, 0, 1)


def test_gradients(monkeypatch):
    contract.check_gradients(partial(ConvAutoencoderAttention, widths=(3,)))
    monkeypatch.setattr(contract, "generic", calm)
    contract.check_gradients(partial(ConvAutoencoderAttention, widths=(3, 5)))


def test_every_parameter_of_the_default_widths_learns():
    block = calm(ConvAutoencoderAttention(8))
    block(contract.images(2, 8, 13, 15)).square().sum().backward()
    for name, parameter in block.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 1e-4, name


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.05), (torch.float16, 0.01)])
def test_half_precision(dtype, tolerance):
    x, block = contract.images(2, 8, 16, 16), calm(ConvAutoencoderAttention(8))
    gate = copy.deepcopy(block).to(dtype).attention(x.to(dtype))
    assert gate.dtype == dtype
    torch.testing.assert_close(gate.float(), block.attention(x), rtol=0, atol=tolerance)


def test_half_precision_stays_finite_through_six_layers():
    x = contract.images(2, 8, 64, 64) + 20
    for dtype in (torch.bfloat16, torch.float16):
        y = calm(ConvAutoencoderAttention(8)).to(dtype)(x.to(dtype))
        assert y.dtype == dtype
        assert y.isfinite().all()


def test_export_and_compile():
    """Any batch size. Height and width are fixed by torch.export: whether a side needs padding is a guard to it."""
    block = contract.generic(SMALL(8)).eval()
    for height, width in ((5, 7), (8, 4), (1, 1)):
        dims = {0: torch.export.Dim("B", min=1)}
        x = contract.images(2, 8, height, width)
        exported = torch.export.export(block, (x,), dynamic_shapes=(dims,)).module()
        for batch in (1, 2, 5):
            x = contract.images(batch, 8, height, width)
            torch.testing.assert_close(exported(x), block(x))
    compiled = torch.compile(block, fullgraph=True, backend="aot_eager")
    for shape in ((2, 8, 5, 7), (1, 8, 6, 9)):
        torch.testing.assert_close(compiled(contract.images(*shape)), block(contract.images(*shape)))


def test_bad_input():
    contract.check_bad_input(ConvAutoencoderAttention)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"channels": 0}, "channels must be at least 1, got 0"),
    ({"channels": -4}, "channels must be at least 1, got -4"),
    ({"channels": 8, "widths": ()}, r"widths needs at least one entry, each at least 1, got \(\)"),
    ({"channels": 8, "widths": (12, 0)}, r"each at least 1, got \(12, 0\)"),
])
def test_bad_constructor(arguments, message):
    with pytest.raises(ValueError, match=message):
        ConvAutoencoderAttention(**arguments)


# --- the convolutional gate: numbers ---------------------------------------------------------------------------------

@pytest.mark.parametrize("channels", [1, 3, 8, 64, 100, 256])
def test_parameter_formula(channels):
    assert count(ConvAutoencoderAttention(channels)) == 385 * channels + 46_200


@pytest.mark.parametrize("channels", [1, 7, 64])
@pytest.mark.parametrize("widths", [(1,), (12,), (12, 24), (12, 24, 12), (5, 3, 2, 4)])
def test_parameter_formula_with_widths(channels, widths):
    sizes = (channels, *widths)
    weights = 2 * 16 * sum(a * b for a, b in pairwise(sizes))
    biases = sum(widths) + sum(widths[:-1]) + channels
    assert count(ConvAutoencoderAttention(channels, widths)) == weights + biases


def test_by_hand():
    """One channel, one step, a 2 × 2 map: the code is one number, and its stamp is the gate."""
    block = ConvAutoencoderAttention(1, widths=(1,))
    down, up = block.encoder[0], block.decoder[0]
    with torch.no_grad():
        down.weight.zero_()
        down.weight[0, 0, 1:3, 1:3] = torch.tensor([[1.0, 2.0], [0.0, -1.0]])  # what lies on the map; the rest on zeros
        down.bias[:] = 0.5
        up.weight.zero_()
        up.weight[0, 0, 1:3, 1:3] = torch.tensor([[1.0, -1.0], [0.0, 2.0]])  # what is not cut off
        up.weight[0, 0, 0, 0] = 100.0  # cut off
        up.bias[:] = -1.0
    x = torch.tensor([[[[1.0, 2.0], [5.0, 4.0]]]])
    code = 1 * 1 + 2 * 2 + 0 * 5 - 1 * 4 + 0.5  # 1.5, positive, so ReLU keeps it
    gate = 1 / (1 + np.exp(-np.array([[1.5 - 1, -1.5 - 1], [-1, 3 - 1]])))
    assert code == 1.5
    np.testing.assert_allclose(block.attention(x).detach().numpy()[0, 0], gate, rtol=1e-6)
    np.testing.assert_allclose(block(x).detach().numpy()[0, 0], gate * x[0, 0].numpy(), rtol=1e-6)


def convolved(x, weight, bias):
    """Stride 2, padding 1, one window at a time: (C, H, W) -> (K, H/2, W/2)."""
    frame = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    K, (H, W) = len(bias), x.shape[1:]
    y = np.empty((K, H // 2, W // 2))
    for k, i, j in np.ndindex(y.shape):
        y[k, i, j] = bias[k] + (weight[k] * frame[:, 2 * i:2 * i + 4, 2 * j:2 * j + 4]).sum()
    return y


def stamped(x, weight, bias):
    """The transposed convolution, one stamp at a time: (C, h, w) -> (K, 2h, 2w)."""
    frame = np.zeros((len(bias), 2 * x.shape[1] + 2, 2 * x.shape[2] + 2))
    for c, i, j in np.ndindex(x.shape):
        frame[:, 2 * i:2 * i + 4, 2 * j:2 * j + 4] += x[c, i, j] * weight[c]
    return frame[:, 1:-1, 1:-1] + np.asarray(bias)[:, None, None]


@given(batch=st.integers(1, 2), channels=st.integers(1, 4), height=st.integers(1, 9), width=st.integers(1, 9),
       widths=st.lists(st.integers(1, 4), min_size=1, max_size=3), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=25)
def test_against_loops(batch, channels, height, width, widths, seed):
    """NumPy, one window and one stamp at a time, over every shape."""
    block = calm(ConvAutoencoderAttention(channels, widths), seed)
    x = contract.images(batch, channels, height, width, seed=seed)
    layers = [[p.detach().double().numpy() for p in layer.parameters()]
              for layer in (*block.encoder, *block.decoder) if not isinstance(layer, nn.ReLU)]
    multiple = 2 ** len(widths)
    expected = np.empty(x.shape)
    for b, image in enumerate(x.double().numpy()):
        h = np.zeros((channels, -(-height // multiple) * multiple, -(-width // multiple) * multiple))
        h[:, :height, :width] = image
        for weight, bias in layers[:len(widths)]:
            h = np.maximum(convolved(h, weight, bias), 0)
        for number, (weight, bias) in enumerate(layers[len(widths):], 1):
            h = stamped(h, weight, bias)
            h = h if number == len(widths) else np.maximum(h, 0)
        expected[b] = image / (1 + np.exp(-h[:, :height, :width]))
    np.testing.assert_allclose(block(x).detach().numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("channels", "size"), PLACES)
def test_against_functional_torch(channels, size):
    """The default widths at the report's four places, with copied weights and torch's functions."""
    block = calm(ConvAutoencoderAttention(channels))
    x = contract.images(2, channels, size, size)
    side = {32: 32, 30: 32, 15: 16, 13: 16}[size]
    h = torch.zeros(2, channels, side, side)
    h[:, :, :size, :size] = x
    parameters = list(block.parameters())
    for weight, bias in zip(parameters[0:6:2], parameters[1:6:2]):
        h = F.conv2d(h, weight, bias, 2, 1).clamp(min=0)
    for number, (weight, bias) in enumerate(zip(parameters[6::2], parameters[7::2])):
        h = F.conv_transpose2d(h if number == 0 else h.clamp(min=0), weight, bias, 2, 1)
    torch.testing.assert_close(block(x), x * torch.sigmoid(h[:, :, :size, :size]))


def test_activation_is_used_in_every_layer_but_the_last():
    made = []

    def activation():
        made.append(nn.Tanh())
        return made[-1]

    block = calm(ConvAutoencoderAttention(3, (4, 5), activation=activation))
    assert [type(layer) for layer in (*block.encoder, *block.decoder)] == [
        nn.Conv2d, nn.Tanh, nn.Conv2d, nn.Tanh, nn.ConvTranspose2d, nn.Tanh, nn.ConvTranspose2d]
    assert not torch.equal(block.attention(torch.ones(1, 3, 4, 4)),
                           calm(ConvAutoencoderAttention(3, (4, 5))).attention(torch.ones(1, 3, 4, 4)))


def test_saturated_gate_is_exactly_one():
    block = ConvAutoencoderAttention(3)
    with torch.no_grad():
        block.decoder[-1].weight.zero_()
        block.decoder[-1].bias.fill_(17.0)
    assert torch.equal(block.attention(torch.zeros(1, 3, 5, 4)), torch.ones(1, 3, 5, 4))


def test_inside_a_large_map_the_gate_moves_with_the_map_in_steps_of_eight():
    block = calm(ConvAutoencoderAttention(2))
    x = torch.zeros(1, 2, 96, 96)
    x[:, :, 44:52, 40:56] = contract.images(1, 2, 8, 16)
    with torch.no_grad():
        here, there = block.attention(x), block.attention(x.roll((8, -8), (2, 3)))
    inside = slice(32, 64)
    torch.testing.assert_close(here.roll((8, -8), (2, 3))[..., inside, inside], there[..., inside, inside])
    with torch.no_grad():
        between = block.attention(x.roll(4, 2))
    assert (here.roll(4, 2) - between)[..., inside, inside].abs().max() > 0.01  # but not in smaller steps


def test_a_gate_sees_a_window_of_thirty_to_thirty_eight_positions_in_all_channels():
    block = calm(ConvAutoencoderAttention(3))
    x = contract.images(16, 3, 80, 80)
    for place, low, high in ((32, 17, 46), (28, 9, 46), (36, 17, 54), (39, 25, 54)):
        rows = influence(block, x, (1, place, place)).any(2)
        assert rows.any(1).all()
        found = rows.any(0).nonzero().flatten()
        assert (found[0].item(), found[-1].item(), len(found)) == (low, high, high - low + 1)


def influence(block, x, place):
    """Which inputs have any influence on the gate at (channel, row, column) in any picture: (C, H, W), bool."""
    channel, row, column = place
    x = x.clone().requires_grad_()
    block.attention(x)[:, channel, row, column].sum().backward()
    return (x.grad != 0).any(0)


def test_a_fresh_gate_is_nearly_flat():
    """The chapter's claim: with torch's initialisation, six layers leave little of the picture in the gate."""
    with seeded(0):
        block = ConvAutoencoderAttention(64)
    gates = block.attention(contract.images(8, 64, 32, 32))
    assert (gates - 0.5).abs().max() < 0.05
    assert gates.std(0).mean() < 1e-3


# --- the lines of the chapter's table --------------------------------------------------------------------------------

@pytest.mark.parametrize(("size", "share"), [(32, 0), (30, 0), (15, 104 / 225), (13, 120 / 169)])
def test_coded_last_layer_misses_positions(size, share):
    """Line "last layer": 46 % of 15 × 15 and 71 % of 13 × 13 hold σ(bias) whatever the input."""
    channels = dict((side, channels) for channels, side in PLACES)[size]
    block = calm(CodedAutoencoder(channels, size))
    x = contract.images(8, channels, size, size)
    gates = block.attention(x)
    constant = block.decoder[-1].bias.sigmoid()[:, None, None].expand_as(gates[0])
    untouched = (gates == constant).all(0).all(0)
    assert untouched.float().mean().item() == pytest.approx(share)
    assert round(100 * share) in (0, 46, 71)


@pytest.mark.parametrize(("channels", "size"), PLACES)
def test_ours_reaches_every_position(channels, size):
    """Line "last layer": with ours every gate changes from picture to picture."""
    gates = calm(ConvAutoencoderAttention(channels)).attention(contract.images(8, channels, size, size))
    assert (gates.std(0) > 0).all()


def test_coded_fits_four_sizes():
    """Line "sizes": the coded layer gives the map's size at the report's four sizes, and at none next to them."""
    for size in LAST_LAYER:
        block = CodedAutoencoder(2, size)
        assert block.attention(torch.zeros(1, 2, size, size)).shape[2:] == (size, size)
        for other in (size - 1, size + 1, size + 2):
            assert block.attention(torch.zeros(1, 2, other, other)).shape[2:] != (other, other)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (5, 7), (8, 8), (13, 15), (17, 30)])
def test_any_size_is_padded_and_cropped(size):
    """Line "sizes": zeros at the right and the bottom up to a multiple of 8, and the gate cropped."""
    block = calm(ConvAutoencoderAttention(3))
    x = contract.images(2, 3, *size)
    H, W = (-(-side // 8) * 8 for side in size)
    big = torch.zeros(2, 3, H, W)
    big[:, :, :size[0], :size[1]] = x
    torch.testing.assert_close(block.attention(x), block.attention(big)[:, :, :size[0], :size[1]])
    assert block.encoder(big).shape == (2, 48, H // 8, W // 8)


def test_encoder_first_shrinks_the_channels():
    """Line "channels of the encoder": C -> 12 -> 24 -> 48; at C = 64 that is first fewer, then more."""
    convolutions = [layer for layer in ConvAutoencoderAttention(64).encoder if isinstance(layer, nn.Conv2d)]
    assert [(layer.in_channels, layer.out_channels) for layer in convolutions] == [(64, 12), (12, 24), (24, 48)]


def test_totals_in_the_report_cnn():
    """Line "parameters": as coded 2,918,570, ours 2,958,506, the linear version 2,722,260; the report says 2.92 M."""
    coded = [partial(CodedAutoencoder, width=size) for _, size in PLACES]
    linear = [lambda channels, size=size: LinearAutoencoderAttention(size) for _, size in PLACES]
    assert count(ReportCNN(attention=coded)) == 2_918_570
    assert count(ReportCNN(attention=ConvAutoencoderAttention)) == 2_958_506
    assert count(ReportCNN(attention=linear)) == 2_722_260
    for size, (kernel, *_) in LAST_LAYER.items():
        assert count(CodedAutoencoder(64, size)) == 192 * 64 + 46_200 + 64 * (12 * kernel**2 + 1)
    with seeded(0):
        assert ReportCNN(attention=linear).eval()(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
        assert ReportCNN(attention=coded).eval()(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_gate_differs_between_channels():
    """Line "kind of gate": it is (C, H, W) and no map that all channels share."""
    gates = calm(ConvAutoencoderAttention(6)).attention(contract.images(2, 6, 9, 11))
    assert gates.shape == (2, 6, 9, 11)
    assert (gates.std(1) > 1e-3).float().mean() > 0.99  # over channels, at nearly every position
    assert (gates.std((2, 3)) > 1e-3).all()  # over positions, in every channel


def test_linear_gate_sees_its_own_row_only():
    """Line "mixes over": all of row 3 of channel 1, and nothing else."""
    with seeded(0):
        block = LinearAutoencoderAttention(12)
    seen = influence(block, contract.images(16, 4, 7, 12), (1, 3, 5))
    assert seen[1, 3].all()
    assert seen.sum() == 12


def test_relu_at_the_code():
    """Line "its code": the convolutional code is not negative, the linear one may be."""
    x = contract.images(4, 8, 16, 16)
    assert calm(ConvAutoencoderAttention(8)).encoder(x).min() == 0
    assert contract.generic(LinearAutoencoderAttention(16)).encoder(x).min() < 0
    assert isinstance(LinearAutoencoderAttention(16).encoder[-1], nn.Linear)


def test_linear_is_not_linear():
    """Line "why it does worse": four ReLUs, so f(x) + f(-x) is not 2 f(0)."""
    block = contract.generic(LinearAutoencoderAttention(9))
    x = contract.images(2, 3, 4, 9)
    f = block.decoder(block.encoder(x)) + block.decoder(block.encoder(-x)) - 2 * block.decoder(block.encoder(0 * x))
    assert f.abs().max() > 1
    assert sum(isinstance(layer, nn.ReLU) for layer in block.modules()) == 4
    for layer in (*block.encoder, *block.decoder):  # without them it would be
        if isinstance(layer, nn.ReLU):
            layer.forward = lambda t: t
    f = block.decoder(block.encoder(x)) + block.decoder(block.encoder(-x)) - 2 * block.decoder(block.encoder(0 * x))
    assert f.abs().max() < 1e-2


# --- the linear gate -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("width", [1, 7, 13, 15, 30, 32])
def test_linear_parameter_formula(width):
    assert count(LinearAutoencoderAttention(width)) == 257 * width + 18_316


@pytest.mark.parametrize("widths", [(3,), (5, 2), (8, 8, 8), (3, 8, 5), (6, 5, 4, 3)])
def test_linear_parameter_formula_with_widths(widths):
    sizes = (10, *widths)
    expected = 2 * sum(a * b for a, b in pairwise(sizes)) + sum(widths) + sum(widths[:-1]) + 10
    assert count(LinearAutoencoderAttention(10, widths)) == expected


def test_linear_contract():
    """What the contract asks of every block, for the one width that this block takes."""
    block = contract.generic(LinearAutoencoderAttention(7)).eval()
    for shape in [(2, 8, 5, 7), (1, 1, 1, 7), (3, 2, 9, 7)]:
        x = contract.images(*shape)
        before = x.clone()
        y, gate = block(x), block.attention(x)
        assert torch.equal(x, before)
        assert y.shape == gate.shape == x.shape
        assert y.dtype == x.dtype
        assert torch.equal(y, x * gate)
        assert 0 <= gate.min() <= gate.max() <= 1
    x = contract.images(4, 8, 5, 7)
    torch.testing.assert_close(block(x), torch.cat([block(image[None]) for image in x]))
    assert torch.equal(copy.deepcopy(block).train()(x), block(x))
    clone = LinearAutoencoderAttention(7)
    clone.load_state_dict(block.state_dict())
    assert torch.equal(clone(x), block(x))
    channels_last = x.contiguous(memory_format=torch.channels_last)
    assert block(channels_last).is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(block(channels_last), block(x))


def test_linear_gradients():
    with seeded(0):
        block = LinearAutoencoderAttention(6, widths=(5, 4, 3)).double()
    x = contract.images(2, 3, 4, 6).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x, *_: block(x), (x, *block.parameters()))
    with seeded(0):
        block = LinearAutoencoderAttention(13)
    block(contract.images(4, 8, 13, 13)).square().sum().backward()
    for name, parameter in block.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 1e-4, name


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.1), (torch.float16, 0.02)])
def test_linear_half_precision(dtype, tolerance):
    with seeded(0):
        block = LinearAutoencoderAttention(64)
    x = contract.images(2, 8, 64, 64) + 20
    y = copy.deepcopy(block).to(dtype)(x.to(dtype))
    assert y.dtype == dtype
    torch.testing.assert_close(y.float(), block(x), rtol=tolerance, atol=tolerance)


def test_linear_export_and_compile():
    block = contract.generic(LinearAutoencoderAttention(7)).eval()
    dims = {0: torch.export.Dim("B", min=1), 1: torch.export.Dim("C", min=1), 2: torch.export.Dim("H", min=1)}
    exported = torch.export.export(block, (contract.images(2, 8, 5, 7),), dynamic_shapes=(dims,)).module()
    for shape in [(2, 8, 5, 7), (1, 3, 1, 7)]:
        torch.testing.assert_close(exported(contract.images(*shape)), block(contract.images(*shape)))
    compiled = torch.compile(block, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(contract.images(2, 8, 5, 7)), block(contract.images(2, 8, 5, 7)))


def test_linear_takes_one_width():
    block = LinearAutoencoderAttention(7)
    for call in (block, block.attention):
        with pytest.raises(ValueError, match=r"built for maps 7 wide, got 5: \(1, 8, 7, 5\)"):
            call(torch.zeros(1, 8, 7, 5))
        with pytest.raises(ValueError, match="got 3 dimensions"):
            call(torch.zeros(8, 5, 7))
        with pytest.raises(ValueError, match="empty tensor"):
            call(torch.zeros(0, 8, 5, 7))
        with pytest.raises(TypeError, match=r"floating-point values, got torch\.uint8"):
            call(torch.zeros(1, 8, 5, 7, dtype=torch.uint8))


@pytest.mark.parametrize(("arguments", "message"), [
    ({"width": 0}, "width must be at least 1, got 0"),
    ({"width": -1}, "width must be at least 1, got -1"),
    ({"width": 8, "widths": ()}, r"widths needs at least one entry, each at least 1, got \(\)"),
    ({"width": 8, "widths": (4, -2)}, r"each at least 1, got \(4, -2\)"),
])
def test_linear_bad_constructor(arguments, message):
    with pytest.raises(ValueError, match=message):
        LinearAutoencoderAttention(**arguments)


def test_linear_by_hand():
    """A map two wide, a code of one number."""
    block = LinearAutoencoderAttention(2, widths=(1,))
    with torch.no_grad():
        block.encoder[0].weight[:] = torch.tensor([[1.0, -1.0]])
        block.encoder[0].bias[:] = 0.5
        block.decoder[0].weight[:] = torch.tensor([[2.0], [-1.0]])
        block.decoder[0].bias[:] = torch.tensor([0.0, 1.0])
    x = torch.tensor([[[[1.0, 2.0], [3.0, 0.0]]]])  # codes -0.5 and 3.5: no ReLU touches the negative one
    gate = 1 / (1 + np.exp(-np.array([[-1.0, 1.5], [7.0, -2.5]])))
    np.testing.assert_allclose(block(x).detach().numpy()[0, 0], gate * x[0, 0].numpy(), rtol=1e-6)


@given(batch=st.integers(1, 2), channels=st.integers(1, 3), height=st.integers(1, 4), width=st.integers(1, 6),
       widths=st.lists(st.integers(1, 5), min_size=1, max_size=3), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=25)
def test_linear_against_loops(batch, channels, height, width, widths, seed):
    """NumPy, one row at a time: no row and no channel ever meets another."""
    block = contract.generic(LinearAutoencoderAttention(width, widths), seed)
    x = contract.images(batch, channels, height, width, seed=seed)
    layers = [[p.detach().double().numpy() for p in layer.parameters()]
              for layer in (*block.encoder, *block.decoder) if isinstance(layer, nn.Linear)]
    expected = np.empty(x.shape)
    for place in np.ndindex(batch, channels, height):
        row = h = x.double().numpy()[place]
        for number, (weight, bias) in enumerate(layers, 1):
            h = weight @ h + bias
            if number not in (len(widths), len(layers)):  # neither at the code nor at the end
                h = np.maximum(h, 0)
        expected[place] = row / (1 + np.exp(-h))
    np.testing.assert_allclose(block(x).detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_shuffled_rows_and_channels_shuffle_the_linear_gates_and_nothing_else():
    x = contract.images(2, 5, 8, 8)
    rows, channels = (torch.randperm(n, generator=torch.Generator().manual_seed(0)) for n in (8, 5))
    for block, same in ((contract.generic(LinearAutoencoderAttention(8)), True),
                        (calm(ConvAutoencoderAttention(5)), False)):
        gates = block.attention(x)
        assert torch.allclose(block.attention(x[:, :, rows]), gates[:, :, rows], atol=1e-5) == same
        assert torch.allclose(block.attention(x[:, channels]), gates[:, channels], atol=1e-5) == same
