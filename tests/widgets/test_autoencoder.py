"""The coverage explorer's numbers and words."""

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from attncourse.widgets.autoencoder import INPUT, KERNELS, OUTPUT_PADDINGS, PADDINGS, STRIDES, Coverage, written

LAYERS = list(itertools.product(KERNELS, STRIDES, PADDINGS, OUTPUT_PADDINGS))


@pytest.mark.parametrize("size", [1, 4, 7])
def test_the_counts_are_what_a_transposed_convolution_of_ones_gives(size):
    ones = torch.ones(1, 1, size)
    for kernel, stride, padding, output in LAYERS:
        try:
            counts = written(size, kernel, stride, padding, output)
        except ValueError:
            assert output >= stride or (size - 1) * stride + kernel + output <= 2 * padding
        else:
            got = F.conv_transpose1d(ones, torch.ones(1, 1, kernel), None, stride, padding, output)
            assert got.flatten().tolist() == counts


@pytest.mark.parametrize(("layer", "missed", "of"), [
    ((16, 3, 2, 1, 1), 0, 32), ((12, 3, 3, 3, 0), 0, 30), ((4, 3, 4, 1, 2), 104, 15), ((4, 2, 4, 1, 1), 120, 13),
])
def test_the_last_layers_of_the_reports_code(layer, missed, of):
    counts = written(*layer)
    assert len(counts) == of
    assert sum(a * b == 0 for a in counts for b in counts) == missed


def test_a_stride_of_two_with_a_kernel_of_four_reaches_the_inside_evenly():
    assert written(4, 4, 2, 1) == [1, 2, 2, 2, 2, 2, 2, 1]
    assert written(4, 3, 2, 1, 1) == [1, 2, 1, 2, 1, 2, 1, 1]  # uneven: a checkerboard in two dimensions


def test_the_front_end_gets_every_count():
    widget = Coverage()
    sent = np.frombuffer(widget.data, "u1").reshape(widget.shape)  # one byte a number
    assert sent.shape[:4] == (5, 4, 3, 3)
    lengths = np.array(widget.meta["lengths"]).reshape(sent.shape[:4])
    for place, layer in zip(np.ndindex(*lengths.shape), LAYERS):
        try:
            counts = written(INPUT, *layer)
        except ValueError:
            counts = []
        assert lengths[place] == len(counts)
        assert sent[place][:len(counts)].tolist() == counts
        assert not sent[place][len(counts):].any()


def test_the_summary_says_what_is_missed():
    widget = Coverage()
    assert len(widget.summaries) == len(LAYERS)
    assert {each["kind"] for each in widget.controls} == {"range"}
    assert repr(widget) == "<Coverage widget: kernel = 3, stride = 4, padding = 1, output = 2>"
    assert widget.summary == (
        "Kernel 3, stride 4, padding 1, output padding 2: 4 × 4 values unfold to 15 × 15. Along a side 11 of 15 "
        "positions are reached; in the whole map 104 of the 225 positions (46%) are never written to and hold nothing "
        "but the bias. Those that are reached are written to once."
    )
    widget.state = {"kernel": 3, "stride": 1, "output": 0}
    assert widget.summary.endswith("position is written to. Those that are reached are written to 1 to 4 times.")
    widget.state = {"stride": 0, "kernel": 2, "padding": 2}
    assert "2 × 2. Along a side 2 of 2 positions are reached" in widget.summary
    assert widget.summary.endswith("Those that are reached are written to 9 times.")
    widget.state = {"output": 2}
    assert widget.summary.endswith("there is no such layer, the output padding must be smaller than the stride.")
    widget.state = {"kernel": 0, "stride": 0, "padding": 2, "output": 0}
    assert widget.summary.endswith("there is no such layer, the padding cuts off all of the output.")
    assert widget.picture().axes  # says so, too


@pytest.mark.parametrize(("make", "message"), [
    (lambda: Coverage(kernel=9), "kernel must be one of 1, 2, 3, 4, 5, got 9"),
    (lambda: Coverage(stride=0), "stride must be one of 1, 2, 3, 4, got 0"),
    (lambda: written(0, 3, 2), "size, kernel and stride must be at least 1 .* got 0, 3, 2, 0 and 0"),
    (lambda: written(4, 3, 2, -1), "got 4, 3, 2, -1 and 0"),
    (lambda: written(4, 3, 2, 1, 2), "output padding must be smaller than the stride, got 2 and 2"),
    (lambda: written(1, 1, 1, 2), "padding 2 leaves no output position"),
])
def test_bad_input_is_one_line_that_says_what_is_wrong(make, message):
    with pytest.raises(ValueError, match=message) as error:
        make()
    assert "\n" not in str(error.value)
