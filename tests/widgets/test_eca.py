"""The ECA widget's numbers and words."""

import numpy as np
import pytest
import torch

from attncourse.eca import ECA
from attncourse.widgets.base import sigmoid
from attncourse.widgets.eca import KernelOnMeans, signed, slide

MEANS = np.array([[1.0, -2.0, 0.5, 0.0], [0.25, 0.5, -1.0, 2.0]])
KERNELS = {"own mean": [2.0], "three": [0.5, 1.0, -1.0]}


@pytest.fixture
def widget():
    return KernelOnMeans(MEANS, ["cat", "rocket"], KERNELS, channel=1)


# the numbers


def test_sliding_by_hand():
    logits = slide(MEANS[:1], [0.5, 1.0, -1.0])
    np.testing.assert_allclose(logits, [[1 + 2, 0.5 - 2 - 0.5, -1 + 0.5 - 0, 0.25 + 0]])


@pytest.mark.parametrize("k", [1, 3, 5])
def test_the_gates_are_those_of_the_block(k):
    generator = torch.Generator().manual_seed(k)
    block = ECA(9, k)
    with torch.no_grad():
        block.conv.weight.copy_(torch.randn(1, 1, k, generator=generator))
        x = torch.randn(3, 9, 4, 5, generator=generator)
        gates = block.attention(x).flatten(1)
    ours = sigmoid(slide(x.mean((2, 3)).numpy(), block.conv.weight.detach().flatten().numpy()))
    np.testing.assert_allclose(ours, gates.numpy(), atol=1e-6)


def test_the_front_end_gets_means_and_gates(widget):
    sent = np.frombuffer(widget.data, "<f4").reshape(widget.shape)
    assert sent.shape == (2, 3, 4)
    np.testing.assert_allclose(sent[:, 0], MEANS)
    for number, kernel in enumerate(KERNELS.values(), 1):
        np.testing.assert_allclose(sent[:, number], sigmoid(slide(MEANS, kernel)), rtol=1e-6)
    assert widget.meta == {"kernels": list(KERNELS.values())}


# the words


def test_the_summary_does_the_sum(widget):
    assert repr(widget) == "<KernelOnMeans widget: photo = cat, kernel = own mean, channel = 1>"
    widget.state = {"kernel": 1}
    assert widget.summary == ("cat, channel 1: 0.50 · 1.00 + 1.00 · −2.00 + −1.00 · 0.50 = −2.00; gate 0.12. "
                              "Sees 3 of 4 means.")
    widget.state = {"channel": 0}
    assert widget.summary == ("cat, channel 0: 0.50 · 0 + 1.00 · 1.00 + −1.00 · −2.00 = 3.00; gate 0.95. "
                              "Sees 2 of 4 means, 1 beyond the end.")
    widget.state = {"kernel": 0, "photo": 1}
    assert widget.summary == "rocket, channel 0: 2.00 · 0.25 = 0.50; gate 0.62. Sees 1 of 4 means."


def test_zero_has_no_sign():
    assert [signed(value) for value in (-0.001, -0.25, 0.25)] == ["0.00", "−0.25", "0.25"]


@pytest.mark.parametrize(("arguments", "message"), [
    ((MEANS[0], ["cat"], KERNELS), r"means must be \(1, channels\), got \(4,\)"),
    ((MEANS, ["cat"], KERNELS), r"means must be \(1, channels\), got \(2, 4\)"),
    ((MEANS[:0], [], KERNELS), r"means must be \(0, channels\), got \(0, 4\)"),
    ((MEANS * np.nan, ["cat", "rocket"], KERNELS), "means must be finite"),
    ((MEANS, ["cat", "rocket"], {}), "at least one kernel, got none"),
    ((MEANS, ["cat", "rocket"], {"even": [1, 2]}), r"kernel 'even' must have an odd number of weights, at most 4"),
    ((MEANS, ["cat", "rocket"], {"wide": [1] * 5}), r"kernel 'wide' must .* got \(5,\)"),
    ((MEANS, ["cat", "rocket"], KERNELS, 4), "channel must be from 0 to 3, got 4"),
])
def test_bad_input_is_one_line_that_says_what_is_wrong(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        KernelOnMeans(*arguments)
    assert "\n" not in str(error.value)
