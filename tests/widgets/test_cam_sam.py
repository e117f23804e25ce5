"""The kernel widget's numbers and words."""

import itertools

import numpy as np
import pytest
import torch

from attncourse.cam_sam import SpatialAttention
from attncourse.widgets.cam_sam import LARGEST, POOLS, KernelOnMap, equal_weights, gate_of, weighted_sums

DRAW = np.random.default_rng(0)
PHOTO, STACK = DRAW.integers(0, 256, (3, 12, 17)), DRAW.normal(size=(2, 12, 17))
TRAINED = DRAW.normal(size=(2, 7, 7))
KERNELS = {"3 × 3": equal_weights(3), "7 × 7, trained": TRAINED}


@pytest.fixture
def widget() -> KernelOnMap:
    return KernelOnMap(PHOTO, STACK, KERNELS, "noise")


# the plain functions


@pytest.mark.parametrize("size", [1, 3, 7])
def test_the_weighted_sums_are_the_blocks_convolution(size):
    weights = DRAW.normal(size=(2, size, size))
    block = SpatialAttention(size, norm=False).double()
    with torch.no_grad():
        block.conv.weight[0] = torch.from_numpy(weights)
        want = block.conv(torch.from_numpy(STACK)[None])[0, 0]
    np.testing.assert_allclose(weighted_sums(STACK, weights).sum(0), want.numpy())


@pytest.mark.parametrize(("pools", "used"), [(("avg", "max"), (1, 1)), (("avg",), (1, 0)), (("max",), (0, 1))])
def test_the_gate_is_the_blocks_in_training(pools, used):
    x = torch.from_numpy(DRAW.normal(size=(1, 5, 12, 17)))
    stack = np.stack([x[0].mean(0).numpy(), x[0].amax(0).numpy()])
    block = SpatialAttention(7, pools=pools).double().train()
    with torch.no_grad():
        block.conv.weight[0] = torch.from_numpy(TRAINED[[bool(each) for each in used]])
        want = block.attention(x)[0, 0].numpy()
    np.testing.assert_allclose(gate_of(np.tensordot(used, weighted_sums(stack, TRAINED), 1)), want, rtol=1e-6)


def test_outside_of_the_map_there_are_zeros():
    sums = weighted_sums(np.ones((2, 9, 9)), equal_weights(3))
    assert sums[0, 4, 4] == pytest.approx(1)
    assert sums[0, 0, 4] == pytest.approx(6 / 9)
    assert sums[1, 0, 0] == pytest.approx(4 / 9)


def test_a_flat_map_gives_one_half():
    np.testing.assert_array_equal(gate_of(np.full((9, 9), 3.0)), np.full((9, 9), 0.5))


# what is sent, and said


def test_the_front_end_gets_every_map(widget):
    sent = np.frombuffer(widget.data, "<f4").reshape(widget.shape)
    assert sent.shape == (3 + 2 + 5 * 2, 12, 17)
    np.testing.assert_allclose(sent[:3], PHOTO)
    np.testing.assert_allclose(sent[3:5], STACK, rtol=1e-6)
    sums = [weighted_sums(STACK, each) for each in KERNELS.values()]
    np.testing.assert_allclose(sent[5:9], np.concatenate(sums), rtol=1e-5, atol=1e-6)  # as kernel_on_map.js finds them
    for (k, each), (n, used) in itertools.product(enumerate(sums), enumerate(POOLS.values())):
        np.testing.assert_allclose(sent[5 + 2 * 2 + 3 * k + n], gate_of(np.tensordot(used, each, 1)), rtol=1e-5)
    assert widget.meta["pools"] == [(1, 1), (1, 0), (0, 1)]
    np.testing.assert_allclose(widget.meta["weights"][1], TRAINED, atol=5e-5)


def test_the_kernel_runs_from_edge_to_edge(widget):
    assert widget.meta["rows"] == [0, 1, 3, 4, 6, 7, 8, 10, 11]
    assert widget.meta["columns"][::8] == [0, 16]
    assert repr(widget) == "<KernelOnMap widget: kernel = 3 × 3, pools = mean and maximum, row = 6, column = 8>"


def test_the_summary_says_the_sum_and_the_gate(widget):
    mean, largest = weighted_sums(STACK, equal_weights(3))[:, 6, 8]
    gate = gate_of(weighted_sums(STACK, equal_weights(3)).sum(0))
    assert widget.summary == (
        f"3 × 3, row 6, column 8: {mean:+.2f} from the mean, {largest:+.2f} from the maximum; "
        f"normalised over the map, then σ: gate {gate[6, 8]:.2f} "
        f"(on the whole map {gate.min():.2f} to {gate.max():.2f}).")
    widget.state = {"pools": 2}
    assert "from the mean" not in widget.summary
    assert f"{largest:+.2f} from the maximum; normalised" in widget.summary


@pytest.mark.parametrize(("call", "message"), [
    (lambda: KernelOnMap(PHOTO[0], STACK, KERNELS), r"photo must be \(3, H, W\), got \(12, 17\)"),
    (lambda: KernelOnMap(PHOTO, STACK[:1], KERNELS), r"stack must be \(2, H, W\) .* got \(1, 12, 17\)"),
    (lambda: KernelOnMap(PHOTO, STACK[:, :, :16], KERNELS), r"got \(2, 12, 16\) for \(3, 12, 17\)"),
    (lambda: KernelOnMap(PHOTO[:, :8], STACK[:, :8], KERNELS), rf"H and W must be from 9 to {LARGEST}, got \(8, 17\)"),
    (lambda: KernelOnMap(PHOTO.repeat(4, 1), STACK.repeat(4, 1), KERNELS), r"got \(48, 17\)"),
    (lambda: KernelOnMap(PHOTO, STACK, {}), "kernels must name at least one kernel, got none"),
    (lambda: KernelOnMap(PHOTO, STACK, {"4 × 4": equal_weights(4)}), r"k odd, got \(2, 4, 4\)"),
    (lambda: weighted_sums(STACK[0], equal_weights(3)), r"stack must be \(2, H, W\), got \(12, 17\)"),
    (lambda: weighted_sums(STACK, np.ones((3, 3))), r"weights must be \(2, k, k\) with k odd, got \(3, 3\)"),
])
def test_bad_input_is_one_line_that_says_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
