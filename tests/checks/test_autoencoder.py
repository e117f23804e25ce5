"""Chapter 08's checkers: right answers pass, and wrong ones are told by name what is wrong."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from attncourse import checks
from attncourse.checks.autoencoder import block, fit, output_size, parameters, reached

# The answers below are written as a learner would type them, not as the checker writes its mistakes.


# --- output_size -----------------------------------------------------------------------------------------------------

def size_by_running_it(size, kernel, stride, padding, output_padding):
    ones = torch.ones(1, 1, size)
    return F.conv_transpose1d(ones, torch.ones(1, 1, kernel), None, stride, padding, output_padding).shape[-1]


SIZE_RIGHT = [
    lambda size, kernel, stride, padding, output_padding: stride * (size - 1) + kernel - 2 * padding + output_padding,
    size_by_running_it,
    lambda n, k, s, p, o: max(i * s + k for i in range(n)) - p - p + o,
]
SIZE_WRONG = {
    "forward-formula": [lambda n, k, s, p, o: math.floor((n + 2 * p - k) / s) + 1],
    "one-stamp-too-many": [lambda n, k, s, p, o: s * n + k + o - 2 * p],
    "padding-once": [lambda n, k, s, p, o: (n - 1) * s + k + o - p],
    "padding-added": [lambda n, k, s, p, o: (n - 1) * s + k + o + p * 2],
    "padding-ignored": [lambda n, k, s, p, o: s * (n - 1) + k + o],
    "output-padding-ignored": [lambda n, k, s, p, o: s * (n - 1) + k - 2 * p],
    "output-padding-twice": [lambda n, k, s, p, o: s * (n - 1) + k - 2 * (p - o)],
    "stamp-one-too-short": [lambda n, k, s, p, o: s * (n - 1) + (k - 1) - 2 * p + o],
    "kernel-ignored": [lambda n, k, s, p, o: s * (n - 1) - 2 * p + o + 1],
    "stride-ignored": [lambda n, k, s, p, o: n - 1 + k - 2 * p + o],
    "stamps-side-by-side": [lambda n, k, s, p, o: k * n + o - 2 * p],
    "size-times-stride": [lambda n, k, s, p, o: s * n],
    "float-returned": [lambda n, k, s, p, o: float((n - 1) * s + k - 2 * p + o)],
    "returned-nothing": [lambda n, k, s, p, o: print((n - 1) * s + k - 2 * p + o)],
}


def test_output_size(tells_apart):
    tells_apart(output_size, SIZE_RIGHT, SIZE_WRONG)


# --- reached ---------------------------------------------------------------------------------------------------------

def reached_by_pulling(size, kernel, stride, padding, length):
    """From the output's side: which inputs could have written here?"""
    counts = []
    for j in range(length):
        counts.append(sum(1 for i in range(size) if 0 <= j + padding - i * stride < kernel))
    return counts


def reached_by_ones(size, kernel, stride, padding, length):
    full = F.conv_transpose1d(torch.ones(1, 1, size), torch.ones(1, 1, kernel), stride=stride).flatten()
    result = torch.zeros(length)
    part = full[padding:padding + length]
    result[:len(part)] = part
    return result


def reached_in_one_go(size, kernel, stride, padding, length):
    i, k = torch.meshgrid(torch.arange(size), torch.arange(kernel), indexing="ij")
    j = (i * stride - padding + k).flatten()
    return torch.bincount(j[(j >= 0) & (j < length)], minlength=length)


def stamping(index):
    """A learner's two loops, with the line that finds the position."""
    def answer(size, kernel, stride, padding, length):
        counts = [0 for _ in range(length)]
        for i in range(size):
            for k in range(kernel):
                j = index(i, k, stride, padding)
                if j >= 0 and j < length:
                    counts[j] += 1
        return counts
    return answer


def without_test(size, kernel, stride, padding, length):
    counts = [0] * length
    for i in range(size):
        for k in range(kernel):
            counts[i * stride + k - padding] += 1
    return counts


def upper_test_only(size, kernel, stride, padding, length):
    counts = [0] * length
    for i in range(size):
        for k in range(kernel):
            j = i * stride + k - padding
            if j < length:
                counts[j] += 1
    return counts


def marking(size, kernel, stride, padding, length):
    counts = [0] * length
    for i in range(size):
        for j in range(i * stride - padding, i * stride - padding + kernel):
            if 0 <= j < length:
                counts[j] = 1
    return counts


def clipping(size, kernel, stride, padding, length):
    counts = [0] * length
    for i in range(size):
        for k in range(kernel):
            counts[max(0, min(length - 1, i * stride + k - padding))] += 1
    return counts


def starts_only(size, kernel, stride, padding, length):
    return [int((j + padding) % stride == 0 and (j + padding) // stride < size) for j in range(length)]


def slicing(size, kernel, stride, padding, length):
    counts = torch.zeros(length, dtype=torch.int64)
    for i in range(size):
        counts[i * stride - padding:i * stride - padding + kernel] += 1
    return counts


REACHED_RIGHT = [lambda *a: [torch.tensor(count) for count in reached_by_pulling(*a)],
                 reached_by_pulling, reached_by_ones, reached_in_one_go, stamping(lambda i, k, s, p: i * s + k - p),
                 lambda *a: tuple(reached_by_pulling(*a))]
REACHED_WRONG = {
    "padding-ignored": [stamping(lambda i, k, s, p: i * s + k)],
    "padding-added": [stamping(lambda i, k, s, p: i * s + k + p)],
    "stride-ignored": [stamping(lambda i, k, s, p: i + k - p)],
    "kernel-ignored": [starts_only],
    "said-whether": [marking, lambda *a: [count > 0 for count in reached_by_pulling(*a)]],
    "wrapped-around": [without_test, upper_test_only, slicing],
    "not-a-number": [lambda n, k, s, p, length: [None] * length, lambda *a: list(map(str, reached_by_pulling(*a)))],
    "wrong-type": [lambda n, k, s, p, length: [math.nan] * length],
    "clamped": [clipping],
    "stamp-one-too-short": [lambda n, k, s, p, length: reached_by_pulling(n, k - 1, s, p, length)],
    "stamp-one-too-long": [lambda n, k, s, p, length: reached_by_pulling(n, k + 1, s, p, length)],
    "input-missing": [lambda n, k, s, p, length: reached_by_pulling(n - 1, k, s, p, length)],
    "forward-convolution": [lambda n, k, s, p, length: [
        len([1 for q in range(k) if j * s + q - p in range(n)]) for j in range(length)]],
    "whole-map": [lambda *a: torch.outer(*[torch.tensor(reached_by_pulling(*a))] * 2)],
    "wrong-length": [lambda n, k, s, p, length: reached_by_pulling(n, k, s, p, length + 1)],
    "returned-nothing": [lambda n, k, s, p, length: None],
}


def test_reached(tells_apart):
    tells_apart(reached, REACHED_RIGHT, REACHED_WRONG)


# --- fit -------------------------------------------------------------------------------------------------------------

def fit_with_zeros(x, inner, multiple):
    B, C, H, W = x.shape
    big = torch.zeros(B, C, math.ceil(H / multiple) * multiple, math.ceil(W / multiple) * multiple, dtype=x.dtype)
    big[:, :, :H, :W] = x
    return inner(big)[:, :, :H, :W]


def fit_with_ifs(x, inner, multiple):
    H, W = x.shape[-2:]
    below = multiple - H % multiple if H % multiple else 0
    right = multiple - W % multiple if W % multiple else 0
    return inner(nn.ZeroPad2d((0, right, 0, below))(x)).narrow(2, 0, H).narrow(3, 0, W)


def fit_with_cat(x, inner, m):
    B, C, H, W = x.shape
    x = torch.cat([x, x.new_zeros(B, C, -H % m, W)], 2)
    x = torch.cat([x, x.new_zeros(B, C, x.shape[2], -W % m)], 3)
    return inner(x)[..., :H, :W]


def padding_with(pad, crop=lambda y, H, W: y[..., :H, :W], **how):
    def answer(x, inner, multiple):
        H, W = x.shape[-2:]
        return crop(inner(F.pad(x, pad(H, W, multiple), **how)), H, W)
    return answer


def right_pad(H, W, m):
    return (0, (m - W % m) % m, 0, (m - H % m) % m)


def centred(H, W, m):
    h, w = (m - H % m) % m, (m - W % m) % m
    return (w // 2, w - w // 2, h // 2, h - h // 2)


def in_place(x, inner, m):
    H, W = x.shape[-2:]
    x += 0.5
    return inner(F.pad(x, right_pad(H, W, m)))[..., :H, :W]


FIT_RIGHT = [fit_with_zeros, fit_with_ifs, fit_with_cat, padding_with(right_pad)]
FIT_WRONG = {
    "not-padded": [lambda x, inner, m: inner(x)],
    "not-cropped": [padding_with(right_pad, crop=lambda y, H, W: y)],
    "padded-a-whole-step": [padding_with(lambda H, W, m: (0, m * (W // m + 1) - W, 0, m * (H // m + 1) - H))],
    "swapped-sides": [padding_with(lambda H, W, m: (0, (m - H % m) % m, 0, (m - W % m) % m))],
    "padded-other-side": [padding_with(lambda H, W, m: (-W % m, 0, -H % m, 0), lambda y, H, W: y[..., -H:, -W:])],
    "larger-gap-for-both": [padding_with(lambda H, W, m: (0, max(-H % m, -W % m), 0, max(-H % m, -W % m)))],
    "padded-the-remainder": [padding_with(lambda H, W, m: (0, W % m, 0, H % m))],
    "cropped-minus-zero": [padding_with(right_pad, lambda y, H, W: y[..., :H - y.shape[2], :W - y.shape[3]])],
    "padded-both-sides": [padding_with(centred)],
    "cropped-other-end": [padding_with(right_pad, lambda y, H, W: y[:, :, -H:, -W:])],
    "one-side-only": [padding_with(lambda H, W, m: (0, (m - W % m) % m)),
                      padding_with(lambda H, W, m: (0, 0, 0, (m - H % m) % m))],
    "other-padding": [padding_with(right_pad, mode="replicate"), padding_with(right_pad, value=1)],
    "fixed-multiple": [lambda x, inner, m: fit_with_zeros(x, inner, 8)],
    "resized-instead": [lambda x, inner, m: F.interpolate(
        inner(F.interpolate(x, tuple(math.ceil(n / m) * m for n in x.shape[2:]), mode="bilinear")), x.shape[2:],
        mode="bilinear")],
    "cut-instead": [lambda x, inner, m: inner(x[:, :, :x.size(2) // m * m, :x.size(3) // m * m])],
    "multiplied-by-input": [lambda x, inner, m: fit_with_zeros(x, inner, m) * x],
    "inner-ignored": [lambda x, inner, m: x.clone()],
    "detached": [lambda x, inner, m: fit_with_zeros(x.detach(), inner, m),
                 lambda x, inner, m: fit_with_zeros(x, inner, m).detach()],
    "mutated-input": [in_place],
    "returned-nothing": [lambda x, inner, m: None],
}


def test_fit(tells_apart):
    tells_apart(fit, FIT_RIGHT, FIT_WRONG)


def test_what_the_learner_reads():
    assert repr(checks.autoencoder.reached(marking)) == """\
✗ autoencoder.reached: You said whether a position is reached. Count how many inputs write to it.
  Smallest failing input: size = 2, kernel = 3, stride = 2, padding = 0, length = 5
  Expected [1, 1, 2, 1, 1], got [1, 1, 1, 1, 1].
  Hint 1: Begin with `[0] * length`, and let each input write: which positions does input i write
    to?"""


# --- block -----------------------------------------------------------------------------------------------------------

class Right(nn.Module):
    """What the wrong blocks below change in one place."""

    def __init__(self, channels, widths=(12, 24, 48)):
        super().__init__()
        sizes = [channels, *list(widths)]
        self.steps = len(widths)
        self.down = nn.ModuleList([self.halve(a, b) for a, b in pairwise(sizes)])
        sizes.reverse()
        self.up = nn.ModuleList([self.double(a, b) for a, b in pairwise(sizes)])

    def halve(self, a, b):
        return nn.Conv2d(a, b, 4, 2, 1)

    def double(self, a, b):
        return nn.ConvTranspose2d(a, b, 4, 2, 1)

    def encode(self, h):
        for layer in self.down:
            h = F.relu(layer(h))
        return h

    def decode(self, h):
        for layer in self.up[:-1]:
            h = F.relu(layer(h))
        return self.up[-1](h)

    def pad(self, x):
        m = 2 ** self.steps
        return F.pad(x, (0, -x.size(3) % m, 0, -x.size(2) % m))

    def crop(self, s, x):
        return s[:, :, :x.size(2), :x.size(3)]

    def gate(self, x):
        return torch.sigmoid(self.crop(self.decode(self.encode(self.pad(x))), x))

    def forward(self, x):
        return x * self.gate(x)


class WithSequential(nn.Module):
    def __init__(self, channels, widths=(12, 24, 48)):
        super().__init__()
        self.m = 2 ** len(widths)
        parts = []
        for a, b in pairwise((channels, *widths)):
            parts += [nn.Conv2d(a, b, kernel_size=(4, 4), stride=(2, 2), padding=(1, 1)), nn.ReLU()]
        for a, b in pairwise((*reversed(widths), channels)):
            parts += [nn.ConvTranspose2d(a, b, 4, stride=2, padding=1), nn.ReLU(inplace=True)]
        parts[-1] = nn.Sigmoid()
        self.net = nn.Sequential(*parts)

    def forward(self, x):
        _, _, h, w = x.size()
        gate = self.net(nn.functional.pad(x, [0, (self.m - w % self.m) % self.m, 0, (self.m - h % self.m) % self.m]))
        return gate[..., :h, :w] * x


class DecoderFirst(Right):
    def __init__(self, channels, widths=(12, 24, 48)):
        nn.Module.__init__(self)
        self.steps, sizes = len(widths), (channels, *widths)
        self.up = nn.ModuleList([self.double(b, a) for a, b in pairwise(sizes)][::-1])
        self.down = nn.ModuleList([self.halve(a, b) for a, b in pairwise(sizes)])


def block_with(**methods):
    return type("Wrong", (Right,), methods)


def fixed_widths(self, channels, widths=(12, 24, 48)):
    Right.__init__(self, channels)


def turned_widths(self, channels, widths=(12, 24, 48)):
    Right.__init__(self, channels, list(reversed(widths)))


def one_map(self, channels, widths=(12, 24, 48)):
    Right.__init__(self, channels, widths)
    self.up[-1] = nn.ConvTranspose2d(widths[0], 1, 4, 2, 1)


def normed(self, channels, widths=(12, 24, 48)):
    Right.__init__(self, channels, widths)
    self.norms = nn.ModuleList([nn.BatchNorm2d(width) for width in widths])


def encode_normed(self, h):
    for layer, norm in zip(self.down, self.norms):
        h = F.relu(norm(layer(h)))
    return h


def encode_without_last_relu(self, h):
    for i, layer in enumerate(self.down):
        h = layer(h)
        if i < len(self.down) - 1:
            h = h.relu()
    return h


def chain(layers, between=lambda h: h):
    def run(self, h):
        for i, layer in enumerate(getattr(self, layers)):
            h = layer(h if i == 0 or layers == "down" else between(h))
            h = between(h) if layers == "down" else h
        return h
    return run


def resize(self, x):
    return x * F.interpolate(torch.sigmoid(self.decode(self.encode(x))), size=x.shape[-2:])


def multiply_in_place(self, x):
    x *= self.gate(x)
    return x


def with_layers_in(keep):
    def init(self, channels, widths=(12, 24, 48)):
        Right.__init__(self, channels, widths)
        layers = keep(self.up)
        del self.up
        self.up = layers
    return init


def with_another_layer(self, channels, widths=(12, 24, 48)):
    Right.__init__(self, channels, widths)
    self.up = nn.ModuleList([self.double(widths[-1], widths[-1]), *self.up])


def without_last(self, channels, widths=(12, 24, 48)):
    Right.__init__(self, channels, widths)
    self.up = self.up[:-1]


def decode_without_last(self, h):
    for layer in self.up:
        h = layer(h)
        h = F.relu(h) if layer is not self.up[-1] else h
    return h


def also_in_a_list(self, channels, widths=(12, 24, 48)):
    Right.__init__(self, channels, widths)
    self.all_layers = [*self.down, *self.up]


BLOCK_RIGHT = [block_with(__init__=also_in_a_list), Right, WithSequential, DecoderFirst]
BLOCK_WRONG = {
    "not-padded": [block_with(pad=lambda self, x: x)],
    "not-cropped": [block_with(crop=lambda self, s, x: s)],
    "fixed-multiple": [block_with(pad=lambda self, x: F.pad(x, (0, -x.size(3) % 8, 0, -x.size(2) % 8)))],
    "swapped-sides": [block_with(pad=lambda self, x: F.pad(
        x, (0, -x.size(2) % 2**self.steps, 0, -x.size(3) % 2**self.steps)))],
    "layers-in-a-list": [block_with(__init__=with_layers_in(list)), block_with(__init__=with_layers_in(tuple))],
    "layer-too-many": [block_with(__init__=with_another_layer)],
    "last-layer-forgotten": [block_with(__init__=without_last, decode=decode_without_last)],
    "steps-times-two": [block_with(pad=lambda self, x: F.pad(
        x, (0, -x.size(3) % (2 * self.steps), 0, -x.size(2) % (2 * self.steps))))],
    "larger-gap-for-both": [block_with(pad=lambda self, x: F.pad(
        x, (0, max(-x.size(3) % 2**self.steps, -x.size(2) % 2**self.steps)) * 2))],
    "padded-the-remainder": [block_with(pad=lambda self, x: F.pad(
        x, (0, x.size(3) % 2**self.steps, 0, x.size(2) % 2**self.steps)))],
    "cropped-minus-zero": [block_with(crop=lambda self, s, x: s[
        :, :, :-(-x.size(2) % 2**self.steps), :-(-x.size(3) % 2**self.steps)])],
    "padded-other-side": [block_with(
        pad=lambda self, x: F.pad(x, (-x.size(3) % 2**self.steps, 0, -x.size(2) % 2**self.steps, 0)),
        crop=lambda self, s, x: s[:, :, -x.size(2):, -x.size(3):])],
    "widths-ignored": [block_with(__init__=fixed_widths)],
    "widths-reversed": [block_with(__init__=turned_widths)],
    "other-kernel": [block_with(halve=lambda self, a, b: nn.Conv2d(a, b, 2, 2),
                                double=lambda self, a, b: nn.ConvTranspose2d(a, b, 2, 2)),
                     block_with(halve=lambda self, a, b: nn.Conv2d(a, b, 3, 2, 1),
                                double=lambda self, a, b: nn.ConvTranspose2d(a, b, 3, 2, 1, output_padding=1))],
    "returned-gate": [block_with(forward=lambda self, x: self.gate(x))],
    "added-gate": [block_with(forward=lambda self, x: self.gate(x) + x)],
    "added-input": [block_with(forward=lambda self, x: x * (1 + self.gate(x)))],
    "no-sigmoid": [block_with(gate=lambda self, x: self.crop(self.decode(self.encode(self.pad(x))), x))],
    "relu-before-sigmoid": [block_with(decode=lambda self, h: F.relu(Right.decode(self, h)))],
    "tanh-gate": [block_with(gate=lambda self, x: torch.tanh(self.crop(self.decode(self.encode(self.pad(x))), x)))],
    "softmax": [block_with(gate=lambda self, x: F.softmax(self.crop(self.decode(self.encode(self.pad(x))), x), 1))],
    "no-relu": [block_with(encode=chain("down"), decode=chain("up"))],
    "no-relu-at-the-code": [block_with(encode=encode_without_last_relu)],
    "no-relu-in-the-decoder": [block_with(decode=chain("up"))],
    "sigmoid-inside": [block_with(encode=chain("down", torch.sigmoid), decode=chain("up", torch.sigmoid))],
    "one-channel-gate": [block_with(__init__=one_map)],
    "batch-norm": [block_with(__init__=normed, encode=encode_normed)],
    "no-biases": [block_with(halve=lambda self, a, b: nn.Conv2d(a, b, 4, 2, 1, bias=False),
                             double=lambda self, a, b: nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False))],
    "resized-instead": [block_with(forward=resize)],
    "detached-gate": [block_with(forward=lambda self, x: x * self.gate(x).detach())],
    "averaged-batch": [block_with(forward=lambda self, x: x * self.gate(x).mean(0))],
    "mutated-input": [block_with(forward=multiply_in_place)],
    "wrong-dtype": [block_with(forward=lambda self, x: x * self.gate(x).float())],
    "returned-nothing": [block_with(forward=lambda self, x: None)],
    "instance-passed": [Right(16)],
    "not-a-module": [lambda channels, widths=(12, 24, 48): (lambda x: x)],
    "wrong-arguments": [lambda channels: Right(channels)],
    "used-the-courses-block": [lambda channels, widths=(12, 24, 48): nn.Sequential(
        checks.autoencoder.ConvAutoencoderAttention(channels, widths))],
}


def test_block(tells_apart):
    tells_apart(block, BLOCK_RIGHT, BLOCK_WRONG)


@pytest.mark.parametrize("wrong", [
    block_with(forward=lambda self, x: self.gate(x), decode=chain("up")),  # the gate returned, and no ReLU
    block_with(crop=lambda self, s, x: s, forward=lambda self, x: x + self.gate(x)),
    block_with(__init__=turned_widths, forward=lambda self, x: x * self.gate(x).detach()),
])
def test_two_mistakes_at_once_get_a_sensible_answer(wrong):
    result = block(wrong)
    assert result.status == "failed"
    assert result.failing_input
    assert result.hint
    assert "Traceback" not in result.message


# --- parameters ------------------------------------------------------------------------------------------------------

def count_with_modules(channels, widths):
    model = WithSequential(channels, widths)
    return sum(p.numel() for p in model.parameters())


def count_in_closed_form(channels, widths):
    sizes = [channels, *widths]
    weights = 2 * 16 * sum(a * b for a, b in pairwise(sizes))
    return weights + sum(widths) + sum(widths[:-1]) + channels


def count_with_loop(channels, widths):
    path = [channels, *list(widths), *list(widths)[::-1][1:], channels]
    total = 0
    for i in range(len(path) - 1):
        total += path[i] * path[i + 1] * 4 * 4 + path[i + 1]
    return total


def path(channels, widths):
    return list(pairwise([channels, *widths, *widths[-2::-1], channels]))


PARAMETERS_RIGHT = [count_with_modules, count_in_closed_form, count_with_loop]
PARAMETERS_WRONG = {
    "no-biases": [lambda C, widths: sum(16 * a * b for a, b in path(C, widths))],
    "encoder-only": [lambda C, widths: sum(16 * a * b + b for a, b in pairwise([C, *widths]))],
    "decoder-only": [lambda C, widths: sum(16 * a * b + b for a, b in pairwise([*widths[::-1], C]))],
    "encoder-twice": [lambda C, widths: sum(2 * (16 * a * b + b) for a, b in pairwise([C, *widths]))],
    "decoder-without-biases": [lambda C, widths: sum(16 * a * b for a, b in path(C, widths)) + sum(widths)],
    "encoder-without-biases": [
        lambda C, widths: sum(16 * a * b for a, b in path(C, widths)) + sum(widths[:-1]) + C],
    "kernel-not-squared": [lambda C, widths: sum(4 * a * b + b for a, b in path(C, widths))],
    "other-kernel": [lambda C, widths: sum(3 * 3 * a * b + b for a, b in path(C, widths))],
    "widths-ignored": [lambda C, widths: 385 * C + 46200],
    "one-channel-gate": [lambda C, widths: sum(16 * a * b + b for a, b in path(C, widths)[:-1]) + 16 * widths[0] + 1],
    "layer-too-many": [lambda C, widths: sum(16 * a * b + b for a, b in pairwise([C, *widths, *widths[::-1], C]))],
    "last-layer-forgotten": [lambda C, widths: sum(16 * a * b + b for a, b in path(C, widths)[:-1])],
    "counted-one-bias": [lambda C, widths: sum(16 * a * b + 1 for a, b in path(C, widths))],
    "float-returned": [lambda C, widths: count_with_loop(C, widths) / 1],
    "returned-nothing": [lambda C, widths: None],
}


def test_parameters(tells_apart):
    tells_apart(parameters, PARAMETERS_RIGHT, PARAMETERS_WRONG)
