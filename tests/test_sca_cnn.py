"""SCA-CNN against a transcription of the paper's equations, NumPy by hand, and the contract of every block."""

import math
from functools import partial

import block_contract as contract
import numpy as np
import pytest
import torch
from block_contract import count, generic, images
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from attncourse.sca_cnn import ORDERS, SCA, SCALayers, StateChannelAttention, StateSpatialAttention, read_off

STATE = 6


class InOneState(nn.Module):
    """SCA with the same state for every picture, so that it is a block of one input."""

    def __init__(self, channels: int, **arguments):
        super().__init__()
        self.sca = SCA(channels, STATE, 5, **arguments)
        self.register_buffer("h", images(1, STATE))

    def attention(self, x):
        return math.prod(self.sca.attend(x, self.h.expand(x.shape[0], -1))[1].values())

    def forward(self, x):
        return self.sca(x, self.h.expand(x.shape[0], -1))


def transcribed(sca: SCA, V: np.ndarray, h: np.ndarray, rescale: bool) -> np.ndarray:
    """The paper's equations for one picture, V (C, m), in the paper's own letters."""
    def softmax(scores):
        e = np.exp(scores - scores.max())
        return e / e.sum() * (len(scores) if rescale else 1)

    for kind, part in sca.parts.items():
        w = {name: value.detach().double().numpy() for name, value in part.named_parameters()}
        from_state = w["of_state.weight"] @ h
        if kind == "spatial":
            a = np.tanh(w["of_map.weight"] @ V + (w["of_map.bias"] + from_state)[:, None])  # k × m
            V = V * softmax(w["score.weight"][0] @ a + w["score.bias"])
        else:
            v = V.mean(1)
            b = np.tanh(np.outer(w["of_mean.weight"][:, 0], v) + (w["of_mean.bias"] + from_state)[:, None])  # k × C
            V = V * softmax(w["score.weight"][0] @ b + w["score.bias"])[:, None]
    return V


@pytest.mark.parametrize("order", [order for order in ORDERS if order != "none"])
@pytest.mark.parametrize("rescale", [True, False])
@pytest.mark.parametrize("C", [7, 300])  # computed directly, and read off the curve
def test_the_papers_equations(order, rescale, C):
    sca = generic(SCA(C, STATE, 5, order, rescale)).eval()
    x, h = images(3, C, 4, 5), images(3, STATE, seed=1)
    for picture, state, y in zip(x, h, sca(x, h)):
        expected = transcribed(sca, picture.double().flatten(1).numpy(), state.double().numpy(), rescale)
        np.testing.assert_allclose(y.detach().flatten(1).numpy(), expected, rtol=1e-4, atol=1e-6)


def test_spatial_attention_by_hand():
    """Two positions, one channel, k = 1: a = tanh(x + h), the scores are 2a."""
    block = StateSpatialAttention(1, 1, 1, rescale=False)
    for parameter, value in zip(block.parameters(), (1.0, 0.0, 1.0, 2.0, 0.0)):  # W_s, b_s, W_hs, w, b
        nn.init.constant_(parameter, value)
    alpha = block.attention(torch.tensor([[[[0.0, 1.0]]]]), torch.tensor([[0.5]])).flatten()
    scores = 2 * np.tanh([0.5, 1.5])
    torch.testing.assert_close(alpha, torch.tensor(np.exp(scores) / np.exp(scores).sum(), dtype=torch.float32))


def test_channel_attention_by_hand():
    """Two channels with means 0 and 3, k = 1: b = tanh(v / 3 + h), the scores are 2b."""
    block = StateChannelAttention(1, 1, rescale=False)
    for parameter, value in zip(block.parameters(), (1 / 3, 0.0, 1.0, 2.0, 0.0)):
        nn.init.constant_(parameter, value)
    x = torch.tensor([[[[-1.0, 1.0]], [[2.0, 4.0]]]])
    beta = block.attention(x, torch.tensor([[0.5]])).flatten()
    scores = 2 * np.tanh([0.5, 1.5])
    torch.testing.assert_close(beta, torch.tensor(np.exp(scores) / np.exp(scores).sum(), dtype=torch.float32))


# ---- the contract ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [order for order in ORDERS if order != "none"])
def test_contract(order):
    contract.check_contract(partial(InOneState, order=order), 0, float("inf"), composite=True)
    contract.check_contract(partial(InOneState, order=order, rescale=False), 0, 1, composite=True)


@pytest.mark.parametrize("order", [order for order in ORDERS if order != "none"])
def test_gradients(order):
    """A bias that all scores share leaves a softmax as it is."""
    biases = tuple(f"sca.parts.{kind}.score.bias" for kind in ORDERS[order])
    contract.check_gradients(partial(InOneState, order=order), without=biases)


def test_half_precision():
    contract.check_half_precision(InOneState)


def test_export_and_compile():
    contract.check_export_and_compile(InOneState)


def test_without_attention_the_map_stays_as_it_is():
    x = images(2, 4, 3, 3)
    y, weights = SCA(4, STATE, order="none").attend(x, images(2, STATE))
    assert torch.equal(y, x)
    assert weights == {}


@pytest.mark.parametrize(("arguments", "message"), [
    ({"channels": 0}, "channels, state and width must be at least 1, got 0, 6, 512"),
    ({"state": 0}, "must be at least 1, got 8, 0, 512"),
    ({"width": -1}, "must be at least 1, got 8, 6, -1"),
    ({"order": "both"}, "order must be one of channel-spatial, spatial-channel, channel, spatial, none, got 'both'"),
])
def test_bad_constructor(arguments, message):
    with pytest.raises(ValueError, match=message):
        SCA(**{"channels": 8, "state": STATE} | arguments)


def test_bad_input():
    sca = SCA(8, STATE)
    with pytest.raises(ValueError, match="built for 8 channels, got 6"):
        sca(torch.zeros(2, 6, 3, 3), torch.zeros(2, STATE))
    with pytest.raises(TypeError, match="floating-point"):
        sca(torch.zeros(2, 8, 3, 3, dtype=torch.uint8), torch.zeros(2, STATE))
    for h in (torch.zeros(1, STATE), torch.zeros(2, 5), torch.zeros(2, 1, STATE)):
        with pytest.raises(ValueError, match=r"expected a state \(B, d\) = \(2, 6\), got"):
            sca(torch.zeros(2, 8, 3, 3), h)


# ---- what the chapter's table says ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("k", "C", "d"), [(1, 1, 1), (5, 7, 6), (128, 256, 320), (512, 2048, 1000)])
def test_parameters(k, C, d):
    assert count(StateChannelAttention(d, k)) == k * (d + 3) + 1
    assert count(StateSpatialAttention(C, d, k)) == k * (C + d + 2) + 1
    assert count(SCA(C, d, k)) == k * (C + 2 * d + 5) + 2


def test_parameters_of_the_authors_sizes():
    assert count(StateChannelAttention(1000, 512)) == 513_537
    assert count(StateSpatialAttention(2048, 1000, 512)) == 1_561_601


@pytest.mark.parametrize(("rescale", "sums"), [(False, (1, 1)), (True, (7, 20))])
def test_weights_compete(rescale, sums):
    """Both are softmaxes: their sum is 1, or, rescaled as in the authors' code, their mean is."""
    sca = generic(SCA(7, STATE, 5, rescale=rescale))
    _, weights = sca.attend(images(3, 7, 4, 5), images(3, STATE))
    for kind, total in zip(("channel", "spatial"), sums):
        torch.testing.assert_close(weights[kind].sum((1, 2, 3)), torch.full((3,), float(total)))


def test_the_second_attention_sees_the_map_that_the_first_one_made():
    """α of C-S is computed from β·V, β of S-C from α·V; from V itself they would be others."""
    x, h = images(2, 7, 4, 5), images(2, STATE)
    for order in ("channel-spatial", "spatial-channel"):
        sca = generic(SCA(7, STATE, 5, order))
        first, second = order.split("-")
        y, weights = sca.attend(x, h)
        assert tuple(weights) == (first, second)
        torch.testing.assert_close(weights[first], sca.parts[first].attention(x, h))
        torch.testing.assert_close(weights[second], sca.parts[second].attention(x * weights[first], h))
        assert (weights[second] - sca.parts[second].attention(x, h)).abs().max() > 0.01
        torch.testing.assert_close(y, x * weights[first] * weights[second])


def test_attention_follows_the_state():
    sca, x = generic(SCA(7, STATE, 5)), images(1, 7, 4, 5)
    _, one = sca.attend(x, images(1, STATE))
    _, other = sca.attend(x, images(1, STATE, seed=1))
    for kind in ("channel", "spatial"):
        assert (one[kind] - other[kind]).abs().max() > 0.1


def test_a_channels_weight_depends_on_its_mean_alone():
    """Channels that change places take their weights along, and equal means have equal weights."""
    block, x, h = generic(StateChannelAttention(STATE, 5)), images(2, 7, 4, 5), images(2, STATE)
    order = torch.randperm(7)
    torch.testing.assert_close(block.attention(x[:, order], h), block.attention(x, h)[:, order])
    same_means = x.mean((2, 3), keepdim=True).expand_as(x)
    torch.testing.assert_close(block.attention(same_means, h), block.attention(x, h))


# ---- reading channels off a curve -----------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(C=st.integers(1, 300), seed=st.integers(0, 1000), size=st.floats(0.01, 30))
def test_reading_off_equals_computing_each_channel(C, seed, size):
    v = images(2, C, seed=seed).double() * size
    steep = 3 / v.abs().amax()  # times half the range: at most 3

    def curve(points):
        return (points * steep + 0.3).tanh() - 0.5 * (points * steep / 2 - 0.5).tanh()

    torch.testing.assert_close(read_off(curve, v), curve(v), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("steep", "error"), [(3, 1e-6), (5, 1.5e-4), (10, 2e-2)])
def test_the_error_is_what_the_docstring_says(steep, error):
    v = torch.linspace(-1, 1, 1001)[None].double()
    worst = max((read_off(lambda t, b=b: (steep * t + b).tanh(), v) - (steep * v + b).tanh()).abs().max()
                for b in torch.linspace(-4, 4, 41).tolist())
    assert error / 4 < worst < error


def test_reading_off_is_exact_for_polynomials():
    v = images(3, 50).double()
    torch.testing.assert_close(read_off(lambda t: t**3 - 2 * t + 1, v, 4), v**3 - 2 * v + 1)
    assert (read_off(lambda t: t**3, v, 3) - v**3).abs().max() > 0.01  # three points fix a parabola


def test_equal_means_are_no_division_by_zero():
    v = torch.full((2, 50), 3.0, requires_grad=True)
    out = read_off(lambda t: t * 2, v)
    torch.testing.assert_close(out, torch.full((2, 50), 6.0))
    out.sum().backward()
    assert v.grad.isfinite().all()


@pytest.mark.parametrize("spread", [0, 1e-7, 1e-6, 1e-5, 1e-3])
def test_nearly_equal_means_are_finite(spread):
    """Rounding is then as large as the range itself."""
    for seed in range(50):
        v = (40 + spread * images(4, 50, seed=seed)).requires_grad_()
        out = read_off(lambda t: (t / 20).tanh(), v)
        torch.testing.assert_close(out, (v / 20).tanh(), rtol=1e-5, atol=1e-5)
        out.sum().backward()
        assert v.grad.isfinite().all()


def test_the_curve_is_computed_at_few_points():
    seen = []
    read_off(lambda t: seen.append(t.shape) or t, torch.randn(2, 2048))
    assert seen == [(2, 32)]


# ---- several layers -------------------------------------------------------------------------------------------------


def test_the_modulated_map_goes_on_through_the_network():
    first, second = generic(SCA(4, STATE, 5)), generic(SCA(6, STATE, 5), seed=1)
    between = nn.Conv2d(4, 6, 3, stride=2, padding=1)
    x, h = images(2, 4, 8, 8), images(2, STATE)
    y, weights = SCALayers([first, second], [between])(x, h)
    torch.testing.assert_close(y, second(between(first(x, h)), h))
    assert [each["spatial"].shape for each in weights] == [(2, 1, 8, 8), (2, 1, 4, 4)]
    assert [each["channel"].shape for each in weights] == [(2, 4, 1, 1), (2, 6, 1, 1)]


def test_gradients_reach_the_first_attended_layer():
    first, second = generic(SCA(4, STATE, 5)), generic(SCA(4, STATE, 5), seed=1)
    SCALayers([first, second], [nn.Identity()])(images(2, 4, 8, 8), images(2, STATE))[0].square().sum().backward()
    assert first.parts["spatial"].of_map.weight.grad.abs().max() > 1e-4


def test_one_layer_needs_nothing_between():
    sca, x, h = generic(SCA(4, STATE, 5)), images(2, 4, 3, 3), images(2, STATE)
    assert torch.equal(SCALayers([sca])(x, h)[0], sca(x, h))


@pytest.mark.parametrize(("attentions", "between"), [(0, 0), (1, 1), (2, 0)])
def test_parts_that_do_not_fit(attentions, between):
    with pytest.raises(ValueError, match="attended layers have"):
        SCALayers([SCA(4, STATE) for _ in range(attentions)], [nn.Identity()] * between)
