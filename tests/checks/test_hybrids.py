"""Chapter 09's checkers: right answers pass, and wrong ones are told by name what is wrong."""

import math
from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn

from attncourse.cam_sam import SpatialAttention
from attncourse.checks.hybrids import difference_interval, hybrid_parameters, sequence, two_gates
from attncourse.eca import ECA, eca_kernel_size
from attncourse.hybrids import AttentionSequence

# The answers below are written as a learner would type them, not as the checker writes its mistakes.


# --- two_gates -------------------------------------------------------------------------------------------------------

def with_given_line(last_line):
    """The exercise's stub with its last line completed."""
    def answer(x, first, second):
        s = first(x)
        return last_line(x, s, first, second)
    return answer


def in_place(x, first, second):
    s = first(x)
    x *= s
    return s * second(x)


def gate_in_place(x, first, second):
    s = first(x)
    y = x * s
    s *= second(y)
    return s


def with_einsum(x, first, second):
    s = first(x).expand_as(x) + 0
    return torch.einsum("bchw,bchw->bchw", s, second(torch.mul(x, s)).expand_as(x))


TWO_GATES_RIGHT = [
    with_given_line(lambda x, s, first, second: s * second(x * s)), with_einsum,
    lambda x, first, second: second(first(x) * x) * first(x),
    with_given_line(lambda x, s, first, second: second(s.mul(x)).mul(s)),
]
TWO_GATES_WRONG = {
    "second-saw-x": [with_given_line(lambda x, s, first, second: s * second(x))],
    "swapped-order": [lambda x, first, second: second(x) * first(second(x) * x)],
    "lost-first-gate": [with_given_line(lambda x, s, first, second: second(s * x))],
    "first-only": [with_given_line(lambda x, s, first, second: s)],
    "second-only": [lambda x, first, second: second(x)],
    "gates-as-blocks": [with_given_line(lambda x, s, first, second: second(s)),
                        with_given_line(lambda x, s, first, second: s * second(s))],
    "returned-map": [with_given_line(lambda x, s, first, second: x * s * second(x * s)),
                     with_given_line(lambda x, s, first, second: x * s * second(x))],
    "divided-by-input": [with_given_line(lambda x, s, first, second: (x * s) * second(x * s) / x)],
    "added-gates": [with_given_line(lambda x, s, first, second: s + second(x * s))],
    "averaged-gates": [with_given_line(lambda x, s, first, second: 0.5 * (s + second(x * s)))],
    "added-input": [with_given_line(lambda x, s, first, second: s * second(x * (1 + s)))],
    "first-twice": [with_given_line(lambda x, s, first, second: s * s * second(x * s))],
    "second-twice": [with_given_line(lambda x, s, first, second: s * second(x * s) ** 2)],
    "sigmoid-again": [with_given_line(lambda x, s, first, second: torch.sigmoid(s * second(x * s)))],
    "written-into-a-gate": [gate_in_place],
    "detached": [with_given_line(lambda x, s, first, second: s * second((s * x).detach()))],
    "mutated-input": [in_place],
    "returned-nothing": [lambda x, first, second: None],
    "wrong-arguments": [lambda x, gates: x],
}


def test_two_gates(tells_apart):
    tells_apart(two_gates, TWO_GATES_RIGHT, TWO_GATES_WRONG)


def test_the_smallest_example_can_be_done_in_the_head():
    result = two_gates(with_given_line(lambda x, s, first, second: s * second(x)))
    assert result.failing_input == ("first(t) = the mean of each channel / 10, second(t) = the maximum at each "
                                    "position / 10, x = [[[[1, 3]], [[8, 0]]]] of shape (1, 2, 1, 2)")
    assert "Expected [[[[0.064, 0.012]], [[0.128, 0.024]]]]" in result.message
    assert "got [[[[0.16, 0.06]], [[0.32, 0.12]]]]" in result.message


# --- sequence --------------------------------------------------------------------------------------------------------

class Right(nn.Module):
    """What the wrong sequences below change in one place."""

    def __init__(self, *blocks):
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x

    def attention(self, x):
        gate = torch.ones_like(x)
        for block in self.blocks:
            gate = gate * block.attention(x * gate)
        return gate


class FollowsTheMap(Right):
    def attention(self, x):
        gate = 1
        for block in self.blocks:
            one = block.attention(x)
            gate, x = gate * one, x * one
        return gate


class Inherits(nn.Sequential):
    def attention(self, x):
        product = None
        for block in self:
            g = block.attention(x)
            product = g if product is None else product * g
            x = block(x)
        return product


class AddsModules(Right):
    def __init__(self, *blocks):
        nn.Module.__init__(self)
        for number, block in enumerate(blocks):
            self.add_module(f"block{number}", block)

    @property
    def blocks(self):
        return list(self.children())

    def forward(self, x):
        return x * self.attention(x)


def changed(**methods):
    return type("Wrong", (Right,), methods)


def in_a_list(self, *blocks):
    nn.Module.__init__(self)
    self.blocks = list(blocks)


def copied(self, *blocks):
    nn.Module.__init__(self)
    self.blocks = nn.ModuleList(deepcopy(block) for block in blocks)


def first_two(self, *blocks):
    nn.Module.__init__(self)
    self.blocks = nn.ModuleList(blocks[:2])


def parallel_gate(self, x):
    gate = 1
    for block in self.blocks:
        gate = gate * block.attention(x)
    return gate


def backwards(self, *blocks):
    nn.Module.__init__(self)
    self.blocks = nn.ModuleList(reversed(blocks))


def last_gate(self, x):
    for block in self.blocks:
        gate = block.attention(x)
        x = block(x)
    return gate


def too_late(self, x):
    gate = 1
    for block in self.blocks:
        x = block(x)
        gate = gate * block.attention(x)
    return gate


def cumulative(self, x):
    gate = 1
    for block in self.blocks:
        gate = gate * block.attention(x)
        x = x * gate
    return gate


def multiplied_in_place(self, x):
    gate = 1
    for block in self.blocks:
        gate *= block.attention(x)
        x = block(x)
    return gate


def summed(self, x):
    gate = 0
    for block in self.blocks:
        gate = gate + block.attention(x)
        x = block(x)
    return gate


def gates_listed(self, x):
    gates = []
    for block in self.blocks:
        gates.append(block.attention(x))
        x = block(x)
    return gates


def under_no_grad(self, x):
    with torch.no_grad():
        return Right.attention(self, x)


def with_shortcuts(self, x):
    for block in self.blocks:
        x = x + block(x)
    return x


def applied_again(self, x):
    for block in self.blocks:
        x = x * block(x)
    return x


def in_place_forward(self, x):
    y = x * 1
    for block in self.blocks:
        y *= block.attention(y)
    return y


class TakesAList(Right):
    def __init__(self, blocks):
        super().__init__(*blocks)


SEQUENCE_RIGHT = [Right, FollowsTheMap, Inherits, AddsModules]
SEQUENCE_WRONG = {
    "blocks-not-registered": [changed(__init__=in_a_list)],
    "second-saw-x": [changed(attention=parallel_gate, forward=lambda self, x: x * parallel_gate(self, x))],
    "attention-saw-x": [changed(attention=parallel_gate)],
    "reversed-order": [changed(__init__=backwards)],
    "last-gate-only": [changed(attention=last_gate)],
    "first-gate-only": [changed(attention=lambda self, x: self.blocks[0].attention(x))],
    "attention-returned-map": [changed(attention=lambda self, x: self(x))],
    "divided-by-input": [changed(attention=lambda self, x: self(x) / x)],
    "divided-by-nearly-input": [changed(attention=lambda self, x: self(x) / (x + 1e-8))],
    "summed-gates": [changed(attention=summed)],
    "averaged-gates": [changed(attention=lambda self, x: summed(self, x) / len(self.blocks))],
    "written-into-a-gate": [changed(attention=multiplied_in_place)],
    "list-of-gates": [changed(attention=gates_listed)],
    "no-attention": [nn.Sequential, lambda *blocks: nn.Sequential(*blocks)],
    "two-blocks-only": [changed(__init__=first_two)],
    "asked-too-late": [changed(attention=too_late)],
    "gates-accumulate": [changed(attention=cumulative)],
    "forward-returned-gate": [changed(forward=lambda self, x: self.attention(x))],
    "in-place": [changed(forward=in_place_forward)],
    "crashed": [changed(attention=lambda self, x: Right.attention(self, x).shap)],
    "gated-twice": [changed(forward=applied_again),
                    changed(forward=lambda self, x: Right.forward(self, x) * self.attention(x))],
    "added-input": [changed(forward=with_shortcuts), changed(forward=lambda self, x: x + Right.forward(self, x))],
    "copied-blocks": [changed(__init__=copied)],
    "detached-attention": [changed(attention=under_no_grad)],
    "wrong-arguments": [TakesAList],
    "used-the-courses": [lambda *blocks: nn.Sequential(AttentionSequence(*blocks))],
    "instance-passed": [Right(ECA(6), SpatialAttention())],
    "not-a-module": [lambda *blocks: blocks],
    "returned-nothing": [changed(forward=lambda self, x: None)],
}


def test_sequence(tells_apart):
    tells_apart(sequence, SEQUENCE_RIGHT, SEQUENCE_WRONG)


@pytest.mark.parametrize(("wrong", "cause"), [
    (changed(__init__=in_a_list, attention=parallel_gate), "attention-saw-x"),
    (changed(__init__=backwards, attention=summed), "reversed-order"),
    (changed(forward=applied_again, attention=last_gate), "gated-twice"),
])
def test_of_two_mistakes_the_first_is_named(wrong, cause):
    result = sequence(wrong)
    assert (result.status, result.cause) == ("failed", cause)
    assert "Something else is wrong, too" in result.message
    assert "YourSequence(means, maxima)" in result.failing_input


# --- hybrid_parameters -----------------------------------------------------------------------------------------------

def count_with_modules(channels, widths, spatial):
    from attncourse.autoencoder import ConvAutoencoderAttention, LinearAutoencoderAttention
    make = {"sam": lambda c, w: SpatialAttention(), "conv": lambda c, w: ConvAutoencoderAttention(c),
            "linear": lambda c, w: LinearAutoencoderAttention(w)}
    if spatial not in make:
        raise ValueError(spatial)
    blocks = [AttentionSequence(ECA(c), make[spatial](c, w)) for c, w in zip(channels, widths)]
    return sum(p.numel() for block in blocks for p in block.parameters())


def with_ifs(channels, widths, spatial, eca=eca_kernel_size, sam=100, step=1):
    total = 0
    for c, w in list(zip(channels, widths))[::step]:
        total += eca(c)
        if spatial == "sam":
            total += sam
        elif spatial == "conv":
            total += 46200 + 385 * c
        elif spatial == "linear":
            total += 18316 + 257 * w
        else:
            raise ValueError(f"{spatial}?")
    return total


def no_error(channels, widths, spatial):
    total = sum(map(eca_kernel_size, channels))
    if spatial == "sam":
        return total + 100 * len(channels)
    if spatial == "conv":
        return total + sum(46200 + 385 * c for c in channels)
    return total + sum(18316 + 257 * w for w in widths)


def swapped(channels, widths, spatial):
    return with_ifs(widths, channels, spatial, eca=lambda w: 0) + sum(map(eca_kernel_size, channels))


def per_channel_kernel(channels, widths, spatial):
    return with_ifs(channels, widths, spatial, eca=lambda c: eca_kernel_size(c) * c)


def emptied(channels, widths, spatial):
    return sum(with_ifs([channels.pop()], [widths.pop()], spatial) for _ in channels[:])


def wide_sam(channels, widths, spatial):
    if spatial == "sam":
        return sum(eca_kernel_size(c) + 7 * 7 * c + 2 for c in channels)
    return with_ifs(channels, widths, spatial)


PARAMETERS_RIGHT = [count_with_modules, with_ifs]
PARAMETERS_WRONG = {
    "eca-forgotten": [lambda C, W, spatial: with_ifs(C, W, spatial, eca=lambda c: 0)],
    "eca-always-3": [lambda C, W, spatial: with_ifs(C, W, spatial, eca=lambda c: 3)],
    "eca-even": [lambda C, W, spatial: with_ifs(C, W, spatial, eca=lambda c: int(math.log2(c) / 2 + 0.5))],
    "eca-per-channel": [per_channel_kernel],
    "one-per-stage": [lambda C, W, spatial: with_ifs(C, W, spatial, step=2)],
    "one-place-only": [lambda C, W, spatial: with_ifs(C[:1], W[:1], spatial)],
    "no-batch-norm": [lambda C, W, spatial: with_ifs(C, W, spatial, sam=2 * 7 * 7)],
    "sam-with-bias": [lambda C, W, spatial: with_ifs(C, W, spatial, sam=2 * 7 * 7 + 3)],
    "buffers-counted": [lambda C, W, spatial: with_ifs(C, W, spatial, sam=2 * 7 * 7 + 5)],
    "one-pool": [lambda C, W, spatial: with_ifs(C, W, spatial, sam=7 * 7 + 2)],
    "sam-reads-channels": [wide_sam],
    "swapped-channels-and-widths": [swapped],
    "whole-network": [lambda C, W, spatial: 2_625_866 + with_ifs(C, W, spatial)],
    "unknown-spatial-accepted": [no_error],
    "four-for-batch-norm": [lambda C, W, spatial: with_ifs(C, W, spatial, sam=2 * 7 * 7 + 4)],
    "key-error": [lambda C, W, spatial: sum(
        eca_kernel_size(c) + {"sam": 100, "conv": 385 * c + 46200, "linear": 257 * w + 18316}[spatial]
        for c, w in zip(C, W))],
    "float-returned": [lambda C, W, spatial: float(with_ifs(C, W, spatial))],
    "mutated-input": [emptied],
}


def test_hybrid_parameters(tells_apart):
    tells_apart(hybrid_parameters, PARAMETERS_RIGHT, PARAMETERS_WRONG)


def test_the_references_numbers():
    four = [64, 64, 128, 128], [32, 30, 15, 13]
    assert [hybrid_parameters.reference(*four, spatial) for spatial in ("sam", "conv", "linear")] == [
        416, 332_656, 96_410]


# --- difference_interval ---------------------------------------------------------------------------------------------

def with_tensors(mean_a, std_a, n_a, mean_b, std_b, n_b, t):
    variance = torch.tensor([std_a**2 / n_a, std_b**2 / n_b], dtype=torch.float64).sum()
    return mean_a - mean_b + t * variance.sqrt() * torch.tensor([-1.0, 1.0])


def with_names(mean_a, std_a, n_a, mean_b, std_b, n_b, t, error=None):
    error_a, error_b = std_a / n_a ** 0.5, std_b / n_b ** 0.5
    error = (error_a ** 2 + error_b ** 2) ** 0.5 if error is None else error(error_a, error_b)
    d = mean_a - mean_b
    return d - t * error, d + t * error


def plain_spread(mean_a, std_a, n_a, mean_b, std_b, n_b, t):
    half = t * (std_a ** 2 + std_b ** 2) ** 0.5
    return mean_a - mean_b - half, mean_a - mean_b + half


def overlap(mean_a, std_a, n_a, mean_b, std_b, n_b, t):
    a, b = t * std_a / n_a ** 0.5, t * std_b / n_b ** 0.5
    return (mean_a - a) - (mean_b + b), (mean_a + a) - (mean_b - b)


def pooled(mean_a, std_a, n_a, mean_b, std_b, n_b, t):
    variance = ((n_a - 1) * std_a ** 2 + (n_b - 1) * std_b ** 2) / (n_a + n_b - 2)
    half = t * (variance / n_a + variance / n_b) ** 0.5
    return mean_a - mean_b - half, mean_a - mean_b + half


def one_over(divide):
    """The right formula with both variances divided by something else."""
    def answer(mean_a, std_a, n_a, mean_b, std_b, n_b, t):
        half = t * math.sqrt(std_a ** 2 / divide(n_a, n_b) + std_b ** 2 / divide(n_b, n_a))
        return (mean_a - mean_b - half, mean_a - mean_b + half)
    return answer


def with_numpy(mean_a, std_a, n_a, mean_b, std_b, n_b, t):
    return mean_a - mean_b + t * np.sqrt(std_a**2 / n_a + std_b**2 / n_b) * np.array([-1, 1])


INTERVAL_RIGHT = [with_numpy, lambda *a: list(map(np.array, with_names(*a))), with_tensors,
                  with_names, lambda *a: list(with_names(*a)), one_over(lambda own, other: own)]
INTERVAL_WRONG = {
    "reversed": [lambda a, sa, na, b, sb, nb, t: with_names(b, sa, na, a, sb, nb, t)],
    "standard-deviations": [plain_spread],
    "added-errors": [overlap, lambda *a: with_names(*a, error=lambda ea, eb: ea + eb)],
    "subtracted-variances": [lambda *a: with_names(*a, error=lambda ea, eb: abs(ea ** 2 - eb ** 2) ** 0.5)],
    "one-end": [lambda *a: with_names(*a)[0]],
    "divided-by-n": [lambda a, sa, na, b, sb, nb, t: (a - b - t * (sa**2 + sb**2)**.5 / na,
                                                      a - b + t * (sa**2 + sb**2)**.5 / na),
                     lambda a, sa, na, b, sb, nb, t: with_names(a, sa, na ** 2, b, sb, nb ** 2, t)],
    "no-root": [lambda *a: with_names(*a, error=lambda ea, eb: ea ** 2 + eb ** 2)],
    "t-inside-root": [lambda a, sa, na, b, sb, nb, t: tuple(
        a - b + sign * (t * sa**2 / na + t * sb**2 / nb)**.5 for sign in (-1, 1))],
    "averaged-n": [one_over(lambda own, other: (own + other) / 2)],
    "n-minus-1": [one_over(lambda own, other: own - 1)],
    "one-network": [lambda *a: with_names(*a, error=lambda ea, eb: ea), lambda *a: with_names(*a, error=max)],
    "one-n": [one_over(lambda own, other: own + other), one_over(lambda own, other: other)],
    "pooled": [pooled],
    "no-t": [lambda *a: with_names(*a[:6], 1)],
    "fixed-t": [lambda *a: with_names(*a[:6], 1.96), lambda *a: with_names(*a[:6], 2)],
    "half-t": [lambda *a: with_names(*a[:6], a[6] / 2)],
    "swapped-ends": [lambda *a: tuple(reversed(with_names(*a)))],
    "difference-and-width": [lambda *a: (a[0] - a[3], (with_names(*a)[1] - with_names(*a)[0]) / 2)],
    "interval-of-one": [lambda a, sa, na, b, sb, nb, t: (a - t * sa / na ** 0.5, a + t * sa / na ** 0.5)],
    "verdict": [lambda *a: not with_names(*a)[0] <= 0 <= with_names(*a)[1]],
    "wrong-type": [lambda *a: {"low": with_names(*a)[0]}],
    "crashed": [lambda *a: with_names(*a)[2]],
}


def test_difference_interval(tells_apart):
    tells_apart(difference_interval, INTERVAL_RIGHT, INTERVAL_WRONG)


def test_two_mistakes_at_once_show_the_numbers():
    """Standard deviations, and in the wrong order of the networks."""
    result = difference_interval(lambda a, sa, na, b, sb, nb, t: plain_spread(b, sb, nb, a, sa, na, t))
    assert (result.status, result.cause) == ("failed", "wrong-values")
    assert "Expected [0.1716, 5.828], got [-13.0, 7.0]" in result.message


def test_the_interval_covers_what_it_promises():
    """Simulated: 95 % intervals of 16 runs a side hold the true difference in about 95 % of the studies."""
    generator = torch.Generator().manual_seed(0)
    a = 0.2 + 1.4 * torch.randn(4000, 16, generator=generator)
    b = 1.8 * torch.randn(4000, 16, generator=generator)
    ends = [difference_interval.reference(x.mean().item(), x.std().item(), 16, y.mean().item(), y.std().item(), 16,
                                          2.05) for x, y in zip(a, b)]
    assert sum(low <= 0.2 <= high for low, high in ends) / 4000 == pytest.approx(0.95, abs=0.012)
