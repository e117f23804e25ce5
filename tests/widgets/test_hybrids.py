"""The numbers and words of the hybrids chapter's widgets."""

import itertools

import numpy as np
import pytest
import torch

from attncourse.cam_sam import SpatialAttention
from attncourse.eca import ECA
from attncourse.hybrids import AttentionSequence
from attncourse.widgets.hybrids import (
    ECA_WEIGHTS,
    NAMES,
    ORDERS,
    REPORT,
    RUNS,
    SPATIAL_WEIGHTS,
    STRENGTHS,
    OrderExplorer,
    Row,
    TableReader,
    example_map,
    t_quantile,
    two_orders,
    welch,
)


def numbers(widget):
    return np.frombuffer(widget.data, "<f4").reshape(widget.shape)


# the order of two gates


@pytest.mark.parametrize("eca_strength", STRENGTHS)
@pytest.mark.parametrize("spatial_strength", STRENGTHS)
def test_the_orders_are_what_real_blocks_do(eca_strength, spatial_strength):
    x = example_map()
    eca, sam = ECA(4, 3).double(), SpatialAttention(3, norm=False).double()
    with torch.no_grad():
        eca.conv.weight[0, 0] = torch.tensor(eca_strength * ECA_WEIGHTS)
        sam.conv.weight[0] = torch.tensor(spatial_strength * SPATIAL_WEIGHTS)
        batch = torch.tensor(x)[None]
        wanted = [AttentionSequence(eca, sam)(batch), AttentionSequence(sam, eca)(batch),
                  batch * eca.attention(batch) * sam.attention(batch)]
    for (s, M), y in zip(two_orders(x, eca_strength, spatial_strength), wanted):
        np.testing.assert_allclose(x * s * M, y[0].numpy(), atol=1e-12)


def test_gates_that_do_not_look_have_no_order():
    first, second, together = (x[0] * x[1] for x in two_orders(example_map(), 0, 0))
    assert np.array_equal(first, second)
    assert np.array_equal(first, together)
    assert first.min() == first.max() == 0.25


def test_the_map_shows_what_it_should():
    """The small spot: its channel's mean is low, so ECA closes it; its maximum is high, so the spatial gate opens."""
    x = example_map()
    assert x.shape == (4, 8, 8)
    assert x.min() >= 0
    assert x[1].mean() == x.mean((1, 2)).min()
    s, M = two_orders(x, 4, 4)[2]
    assert s[1, 0, 0] == s.min()
    assert M[0, 6, 5] == M.max()
    M_after_eca = two_orders(x, 4, 4)[0][1]
    assert M_after_eca[0, 2, 2] > M_after_eca[0, 6, 5] < M[0, 6, 5]  # now the large spot is the more striking


def test_the_front_end_gets_every_gate():
    sent = numbers(OrderExplorer())
    assert sent.shape == (4, 4, 3, 4 + 64)
    for (i, e), (j, s) in itertools.product(enumerate(STRENGTHS), enumerate(STRENGTHS)):
        for order, (channel, spatial) in enumerate(two_orders(example_map(), e, s)):
            np.testing.assert_allclose(sent[i, j, order, :4], channel.ravel(), rtol=1e-6)
            np.testing.assert_allclose(sent[i, j, order, 4:], spatial.ravel(), rtol=1e-6)
    np.testing.assert_allclose(OrderExplorer().meta["map"], example_map(), atol=1e-4)
    assert OrderExplorer().meta["other"] == [1, 0, 0]


def test_the_summary_names_the_difference():
    widget = OrderExplorer()
    assert widget.chosen == {"order": ORDERS[0], "channel": "1", "eca": "4", "spatial": "4"}
    assert widget.summary == (
        "ECA first, strengths 4 (ECA) and 4 (spatial). Channel 1 has the gate 0.42; the spatial gate runs from 0.48 to "
        "0.82, and both together, over all channels, from 0.20 to 0.68. With the spatial gate first, the output would "
        "differ by at most 0.119, 19.7% of its largest value."
    )
    widget.state = {"order": 1, "eca": 0, "spatial": 0}
    assert "Channel 1 has the gate 0.50" in widget.summary
    assert widget.summary.endswith("With ECA first, the output would be the same.")
    assert widget.picture().axes


# the report's table


def test_the_rows_are_the_reports():
    """Table 1 of Madmoni and Ben-Or, 2023, in its order; "hybrid" names give ECA first."""
    printed = [(.667, .018), (.667, .023), (.642, .026), (.665, .026), (.675, .020), (.665, .018), (.602, .026),
               (.607, .032), (.669, .014)]
    assert [(row.mean, row.deviation) for row in REPORT] == [
        (pytest.approx(100 * mean), pytest.approx(100 * std)) for mean, std in printed]


@pytest.mark.parametrize(("freedom", "level", "quantile"), [
    (7, 0.05, 2.3646), (15, 0.05, 2.1314), (23.6, 0.05, 2.0657), (30, 0.05, 2.0423), (510, 0.05, 1.9646),
    (28, 0.05 / 8, 2.9567), (15, 0.01, 2.9467),
])
def test_the_quantile_of_the_t_distribution(freedom, level, quantile):
    """By numerical integration of the density, and against printed tables."""
    reached = t_quantile(freedom, level)
    assert reached == pytest.approx(quantile, abs=2e-3)
    grid = np.linspace(0, reached, 20_001)
    density = (1 + grid**2 / freedom) ** (-(freedom + 1) / 2)
    far = np.linspace(0, 400, 2_000_001)
    whole = np.trapezoid((1 + far**2 / freedom) ** (-(freedom + 1) / 2), far)
    assert 1 - np.trapezoid(density, grid) / whole == pytest.approx(level, abs=2e-4)


def test_welch_covers_what_it_promises():
    draw = np.random.default_rng(0)
    a, b = draw.normal(1, 2, (4000, 16)), draw.normal(0, 1, (4000, 16))
    inside = []
    for x, y in zip(a, b):
        d, half = welch(Row("a", x.mean(), x.std(ddof=1)), Row("b", y.mean(), y.std(ddof=1)), 16)
        inside.append(abs(d - 1) <= half)
    assert np.mean(inside) == pytest.approx(0.95, abs=0.012)


def test_equal_deviations_have_all_degrees_of_freedom():
    d, half = welch(Row("a", 3, 2), Row("b", 1, 2), 16)
    assert d == 2
    assert half == pytest.approx(2.0423 * 2 * (2 / 16) ** 0.5, abs=1e-3)


def test_the_front_end_gets_every_interval():
    sent = numbers(TableReader())
    assert sent.shape == (9, len(RUNS), 9, 2)
    for (i, base), (j, runs), (k, row) in itertools.product(enumerate(REPORT), enumerate(RUNS), enumerate(REPORT)):
        np.testing.assert_allclose(sent[i, j, k], welch(row, base, runs), rtol=1e-6)


def test_the_summary_says_which_rows_differ():
    widget = TableReader()
    assert widget.summary == (
        "Against CNN, 16 runs a side: 3 of 8 intervals leave 0 out: CBAM (−2.5 ± 1.6), linear autoencoder (−6.5 "
        "± 1.6), ECA + linear autoencoder (−6.0 ± 1.9). They reach 1.2 to 1.9 points to each side."
    )
    widget.state = {"base": NAMES.index("ECA"), "runs": 0}
    assert widget.summary.startswith(
        "Against ECA, 8 runs a side, if means and deviations were still those of 16 runs: 2 of 8 intervals")


@pytest.mark.parametrize(("make", "message"), [
    (lambda: OrderExplorer("both"), "order must be one of ECA first, spatial gate first, side by side, got 'both'"),
    (lambda: OrderExplorer(eca=2), "eca must be one of 0, 1, 4, 16, got 2"),
    (lambda: OrderExplorer(spatial=-1), "spatial must be one of 0, 1, 4, 16, got -1"),
    (lambda: TableReader("BAM"), "base must be one of CNN, .*, got 'BAM'"),
    (lambda: TableReader(runs=4), "runs must be one of 8, 16, 32, 64, 128, 256, got 4"),
    (lambda: t_quantile(6.9), "at least 7 degrees of freedom, got 6.9"),
    (lambda: welch(REPORT[0], REPORT[1], 7), "runs must be at least 8, got 7"),
])
def test_bad_input_is_one_line_that_says_what_is_wrong(make, message):
    with pytest.raises(ValueError, match=message) as error:
        make()
    assert "\n" not in str(error.value)
