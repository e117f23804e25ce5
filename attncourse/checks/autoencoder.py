"""Checkers of chapter 08: what a transposed convolution writes and where, padding, the block, and what it costs."""

import math
import numbers
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncourse.autoencoder import ConvAutoencoderAttention
from attncourse.checks.blocks import BlockCases, identity, variants
from attncourse.checks.cases import call, describe, gradients_of, randn, tensor, values
from attncourse.checks.compare import Problem, kind
from attncourse.checks.engine import Case, Exercise, Mistake

# --- output_size -----------------------------------------------------------------------------------------------------


def length(size, kernel, stride, padding, output_padding):
    return (size - 1) * stride - 2 * padding + kernel + output_padding


def layer(size: int, kernel: int, stride: int, padding: int, output_padding: int) -> Case:
    return values(size=size, kernel=kernel, stride=stride, padding=padding, output_padding=output_padding)


output_size = Exercise(
    id="autoencoder.output_size",
    title="How long is the output of a transposed convolution?",
    reference=length,
    cases=(layer(1, 3, 2, 0, 0), layer(2, 3, 2, 0, 0), layer(2, 4, 2, 1, 0), layer(4, 3, 4, 1, 2),
           layer(4, 2, 4, 1, 1), layer(12, 3, 3, 3, 0), layer(16, 3, 2, 1, 1), layer(5, 1, 1, 0, 0),
           layer(7, 5, 3, 2, 2)),
    mistakes=(
        Mistake("forward-formula", "That is the size of an ordinary convolution's output, which shrinks the map. Here "
                "each input writes a stamp.",
                lambda n, k, s, p, o: (n + 2 * p - k) // s + 1, lambda n, k, s, p, o: (n + 2 * p - k) // s + 1 + o),
        Mistake("one-stamp-too-many", "The first stamp starts at 0, so the last one starts at (size - 1)·stride, not "
                "at size·stride.",
                lambda n, k, s, p, o: n * s - 2 * p + k + o),
        Mistake("padding-once", "Padding is cut off at both ends: it counts twice.",
                lambda n, k, s, p, o: (n - 1) * s - p + k + o),
        Mistake("padding-added", "You added the padding. A transposed convolution cuts it off.",
                lambda n, k, s, p, o: (n - 1) * s + 2 * p + k + o, lambda n, k, s, p, o: (n - 1) * s + p + k + o),
        Mistake("padding-ignored", "`padding` is missing: so many positions are cut off at each end.",
                lambda n, k, s, p, o: (n - 1) * s + k + o),
        Mistake("output-padding-ignored", "`output_padding` is missing: it adds positions at the end.",
                lambda n, k, s, p, o: (n - 1) * s - 2 * p + k),
        Mistake("output-padding-twice", "`output_padding` is added at one end only, not at both.",
                lambda n, k, s, p, o: (n - 1) * s - 2 * p + k + 2 * o),
        Mistake("output-padding-subtracted", "`output_padding` adds positions, it does not remove them.",
                lambda n, k, s, p, o: (n - 1) * s - 2 * p + k - o),
        Mistake("stamp-one-too-short", "Your stamp is one position too short: it is `kernel` positions long.",
                lambda n, k, s, p, o: (n - 1) * s - 2 * p + k - 1 + o),
        Mistake("stamp-one-too-long", "Your stamp is one position too long: it is `kernel` positions long.",
                lambda n, k, s, p, o: (n - 1) * s - 2 * p + k + 1 + o),
        Mistake("kernel-ignored", "`kernel` is missing: the last stamp is `kernel` positions long.",
                lambda n, k, s, p, o: (n - 1) * s - 2 * p + o, lambda n, k, s, p, o: (n - 1) * s - 2 * p + 1 + o),
        Mistake("stride-ignored", "`stride` is missing: the stamps start `stride` positions apart.",
                lambda n, k, s, p, o: (n - 1) - 2 * p + k + o),
        Mistake("stamps-side-by-side", "You laid the stamps side by side, size·kernel. Stamps may overlap or leave "
                "gaps: the next one starts after `stride` positions.",
                lambda n, k, s, p, o: n * k - 2 * p + o, lambda n, k, s, p, o: n * k),
        Mistake("size-times-stride", "size·stride is right for kernel 4, stride 2, padding 1 alone. Count where the "
                "last stamp ends.",
                lambda n, k, s, p, o: n * s, lambda n, k, s, p, o: n * s + o),
    ),
    hints=(
        "Before anything is cut off: where does the stamp of input 0 start? Where does that of the last input start, "
        "and where does it end?",
        "The last of `size` inputs starts at (size - 1)·stride and its stamp is `kernel` long. Then `padding` "
        "positions are cut off at each end, and `output_padding` are added at one.",
        "`(size - 1) * stride + kernel` without padding. Now take off twice the padding, and add the output padding.",
    ),
    tested="9 layers, among them the four last layers of the report's code and one input alone",
)

# --- reached ---------------------------------------------------------------------------------------------------------


def stamped(size, kernel, stride, padding, length, *, at=lambda i, s, p: i * s - p, inputs=lambda n: range(n),
            stamp=lambda k: range(k), outside="dropped", most=None):
    """Counts with one part wrong: each argument is the right part unless a mistake replaces it."""
    counts = [0] * length
    for i in inputs(size):
        for k in stamp(kernel):
            j = at(i, stride, padding) + k
            if outside == "clamped":
                j = min(max(j, 0), length - 1)
            if outside == "wrapped" or (outside == "wrapped below" and j < length) or 0 <= j < length:
                counts[j % length if outside == "wrapped" else j] += 1
    return counts if most is None else [min(most, count) for count in counts]


def unchecked(size, kernel, stride, padding, length):
    """A negative index counts from the end; one beyond the end raises."""
    counts = [0] * length
    for i in range(size):
        for k in range(kernel):
            counts[i * stride - padding + k] += 1
    return counts


def sliced(size, kernel, stride, padding, length):
    """A slice that starts below 0 starts near the end, and is mostly empty."""
    counts = np.zeros(length, int)
    for i in range(size):
        start = i * stride - padding
        counts[start:start + kernel] += 1
    return counts.tolist()


def forward_counts(size, kernel, stride, padding, length):
    return [sum(0 <= j * stride - padding + k < size for k in range(kernel)) for j in range(length)]


def whole_map(*arguments):
    counts = stamped(*arguments)
    return [[a * b for b in counts] for a in counts]


def plain_counts(got: object) -> object:
    """A tensor, an array or a tuple of whole numbers as a list of int, so that any way to count is welcome."""
    if isinstance(got, Tensor | np.ndarray):
        got = got.tolist()
    if isinstance(got, tuple):
        got = list(got)
    if not isinstance(got, list):
        return got
    return [plain_counts(value) if isinstance(value, list) else whole(value) for value in got]


def whole(value: object) -> object:
    """A number without a fraction as an int; NaN, infinity and fractions as they are."""
    if isinstance(value, Tensor | np.generic) and value.ndim == 0:
        value = value.item()
    if not isinstance(value, numbers.Real):
        shown = "None" if value is None else kind(value)
        raise Problem("not-a-number", f"Your list holds {shown}. It should hold whole numbers.")
    return int(value) if math.isfinite(value) and value == int(value) else value


def counted(size: int, kernel: int, stride: int, padding: int, length: int) -> Case:
    inputs = dict(size=size, kernel=kernel, stride=stride, padding=padding, length=length)
    return Case(describe(**inputs), lambda answer: plain_counts(call(answer, **inputs)))


reached = Exercise(
    id="autoencoder.reached",
    title="How many inputs write to each position?",
    reference=stamped,
    cases=(counted(1, 1, 1, 0, 1), counted(2, 2, 2, 0, 4), counted(2, 1, 3, 0, 4), counted(2, 3, 2, 0, 5),
           counted(2, 3, 2, 1, 3), counted(3, 4, 2, 1, 6), counted(4, 3, 4, 1, 15), counted(4, 2, 4, 1, 13),
           counted(12, 3, 3, 3, 30), counted(16, 3, 2, 1, 32), counted(5, 5, 1, 2, 5)),
    mistakes=(
        Mistake("padding-ignored", "`padding` is missing: the first stamp starts at -padding.",
                partial(stamped, at=lambda i, s, p: i * s)),
        Mistake("padding-added", "You moved the stamps to the right by `padding`. They move to the left.",
                partial(stamped, at=lambda i, s, p: i * s + p)),
        Mistake("stride-ignored", "`stride` is missing: the stamps start `stride` positions apart.",
                partial(stamped, at=lambda i, s, p: i - p)),
        Mistake("kernel-ignored", "You counted where each stamp starts. It is `kernel` positions long.",
                partial(stamped, stamp=lambda k: range(1))),
        Mistake("said-whether", "You said whether a position is reached. Count how many inputs write to it.",
                partial(stamped, most=1)),
        Mistake("wrapped-around", "A stamp that sticks out at the left has negative positions, and in Python index -1 "
                "is the last one, in a slice too. What sticks out is dropped: test `0 <= j < length`.",
                unchecked, sliced, partial(stamped, outside="wrapped"), partial(stamped, outside="wrapped below")),
        Mistake("clamped", "What sticks out is dropped, not written to the border.",
                partial(stamped, outside="clamped")),
        Mistake("stamp-one-too-short", "Your stamp is one position too short: k runs from 0 to kernel - 1.",
                partial(stamped, stamp=lambda k: range(k - 1)), partial(stamped, stamp=lambda k: range(1, k))),
        Mistake("stamp-one-too-long", "Your stamp is one position too long: k runs from 0 to kernel - 1.",
                partial(stamped, stamp=lambda k: range(k + 1)), partial(stamped, stamp=lambda k: range(1, k + 1))),
        Mistake("input-missing", "One input is missing: i runs from 0 to size - 1.",
                partial(stamped, inputs=lambda n: range(n - 1)), partial(stamped, inputs=lambda n: range(1, n))),
        Mistake("forward-convolution", "You counted what an ordinary convolution reads: output j reads from j·stride. "
                "Here input i writes from i·stride.",
                forward_counts),
        Mistake("whole-map", "You counted for the whole map. One side is asked: a list of `length` numbers.",
                whole_map),
    ),
    hints=(
        "Begin with `[0] * length`, and let each input write: which positions does input i write to?",
        "Input i writes to the positions i·stride - padding + k, for k from 0 to kernel - 1. Positions below 0 or "
        "from `length` on do not exist.",
        "Two loops, over i in range(size) and k in range(kernel); inside, `j = i * stride - padding + k`, and if "
        "`0 <= j < length`, `counts[j] += 1`.",
    ),
    tested="11 layers: stamps that overlap, touch, leave gaps and stick out, and the four last layers of the report's "
           "code",
)

# --- fit -------------------------------------------------------------------------------------------------------------


def padded(x, inner, multiple, *, pad=lambda H, W, m: (0, -W % m, 0, -H % m), crop=lambda y, H, W: y[:, :, :H, :W],
           after=lambda y, x: y, **how):
    """Pad, apply, crop, with one part wrong where a mistake replaces it."""
    H, W = x.shape[2:]
    return after(crop(inner(F.pad(x, pad(H, W, multiple), **how)), H, W), x)


def halves(H: int, W: int, m: int) -> tuple[int, int, int, int]:
    below, right = -H % m, -W % m
    return right // 2, right - right // 2, below // 2, below - below // 2


def middle(y: Tensor, H: int, W: int) -> Tensor:
    top, left = (y.shape[2] - H) // 2, (y.shape[3] - W) // 2
    return y[:, :, top:top + H, left:left + W]


def last(y: Tensor, H: int, W: int) -> Tensor:
    return y[:, :, y.shape[2] - H:, y.shape[3] - W:]


def first(y: Tensor, H: int, W: int) -> Tensor:
    return y[:, :, :H, :W]


def uncropped(y: Tensor, H: int, W: int) -> Tensor:
    return y


MINUS_ZERO = ("You cropped with `[:-q]`, q being what was padded. Where q is 0 that cuts everything off, for −0 is 0: "
              "write `[:H]`.")


def crop_off(y: Tensor, H: int, W: int) -> Tensor:
    """What was added is cut off from the end, also where nothing was added."""
    return y[:, :, :-(y.shape[2] - H), :-(y.shape[3] - W)]


def up_to(longest: Callable) -> Callable:
    """Padding at the right and at the bottom to the sides that `longest(H, W, m)` gives."""
    def pad(H, W, m):
        height, width = longest(H, W, m)
        return 0, width - W, 0, height - H
    return pad


def power_of_two(side: int, m: int) -> int:
    while m < side:
        m *= 2
    return m


def resized(x, inner, multiple):
    H, W = x.shape[2:]
    y = inner(F.interpolate(x, (H + -H % multiple, W + -W % multiple), mode="bilinear"))
    return F.interpolate(y, (H, W), mode="bilinear")


def cut(x, inner, multiple):
    H, W = x.shape[2:]
    return inner(x[:, :, :H - H % multiple, :W - W % multiple])


def hourglass(multiple: int) -> Callable:
    """A toy for `inner`: means of blocks, spread out again, plus the mean of all. It refuses sides that do not fit."""
    def inner(t: Tensor) -> Tensor:
        H, W = t.shape[2:]
        if H % multiple or W % multiple or 0 in (H, W):
            raise ValueError(f"inner got a map of {H} × {W}, whose sides are not multiples of {multiple}")
        coarse = F.avg_pool2d(t, multiple) if multiple > 1 else t
        return coarse.repeat_interleave(multiple, 2).repeat_interleave(multiple, 3) + t.mean((2, 3), keepdim=True)
    return inner


def fitted(x: Tensor, multiple: int) -> Case:
    return Case(f"{describe(x=x)}, multiple = {multiple}",
                lambda answer: call(answer, x=x, inner=hourglass(multiple), multiple=multiple))


def fitted_shape(x: Tensor, multiple: int) -> Case:
    """Answers that all fail in `inner`, each for its own reason, differ in what they give it."""
    def probe(answer: Callable) -> list:
        seen = []

        def inner(t: Tensor) -> Tensor:
            seen.append(tuple(t.shape))
            return t
        call(answer, x=x, inner=inner, multiple=multiple)
        return seen
    return Case(f"the shapes that `inner` gets, {describe(x=x)}, multiple = {multiple}", probe, "wrong-padding",
                "`inner` should get the padded map, once.")


def fit_gradient(answer: Callable) -> list[Tensor]:
    x = randn(1, 2, 3, 5, seed=7).requires_grad_()
    return gradients_of(answer(x, hourglass(2), 2), [x])


fit = Exercise(
    id="autoencoder.fit",
    title="Any size of map: pad, apply, crop",
    reference=padded,
    cases=(fitted(tensor([[[[1, 2], [3, 6]]]]), 2), fitted(tensor([[[[4]]]]), 2), fitted(tensor([[[[1, 2, 3]]]]), 2),
           fitted(tensor([[[[1, 2], [3, 6], [0, 1]]]]), 2), fitted(tensor([[[[1, 2, 0], [3, 6, 1]]]]), 2),
           fitted(tensor([[[[1], [2], [3]], [[0], [1], [5]]]]), 2), fitted(randn(2, 3, 5, 7, seed=1), 4),
           fitted(randn(1, 2, 8, 8, seed=2), 8), fitted(randn(2, 1, 13, 15, seed=3), 8),
           fitted(randn(1, 2, 9, 5, seed=4).double(), 3), fitted(randn(2, 2, 4, 3, seed=5), 1),
           fitted(randn(1, 1, 17, 10, seed=6), 8),
           fitted_shape(randn(1, 1, 5, 2, seed=8), 4),
           Case("the gradient at x = a tensor of shape (1, 2, 3, 5), multiple = 2", fit_gradient, "wrong-gradient",
                "The values are right, but the gradient is not: something cuts it (`detach`, `.data`, `no_grad`).")),
    mistakes=(
        Mistake("not-padded", "You gave `inner` the map as it is. First pad its sides to multiples.",
                lambda x, inner, m: inner(x), partial(padded, pad=lambda H, W, m: (0, 0, 0, 0))),
        Mistake("not-cropped", "You did not crop: the result must have the size of x.",
                partial(padded, crop=lambda y, H, W: y)),
        Mistake("padded-a-whole-step", "A map that fits already gets a whole step more: `m - H % m` is m where H % m "
                "is 0. `-H % m` is 0 there.",
                partial(padded, pad=lambda H, W, m: (0, m - W % m, 0, m - H % m))),
        Mistake("swapped-sides",
                "You swapped the sides: `F.pad` wants the last axis first, (left, right, top, bottom).",
                partial(padded, pad=lambda H, W, m: (0, -H % m, 0, -W % m)),
                partial(padded, pad=lambda H, W, m: (0, -H % m, 0, -W % m), crop=lambda y, H, W: y)),
        Mistake("larger-gap-for-both", "You padded both sides by the larger of the two gaps. Each side has its own.",
                *(partial(padded, pad=lambda H, W, m: (0, max(-H % m, -W % m)) * 2, crop=crop)
                  for crop in (first, uncropped))),
        Mistake("padded-the-remainder", "You padded by `H % m`: that is what is too much. What is missing is `-H % m`.",
                *(partial(padded, pad=lambda H, W, m: (0, W % m, 0, H % m), crop=crop)
                  for crop in (first, uncropped))),
        Mistake("cropped-minus-zero", MINUS_ZERO, partial(padded, crop=crop_off)),
        Mistake("padded-other-side", "You padded at the left and the top. Pad at the right and the bottom.",
                partial(padded, pad=lambda H, W, m: (-W % m, 0, -H % m, 0), crop=last),
                partial(padded, pad=lambda H, W, m: (-W % m, 0, -H % m, 0)),
                partial(padded, pad=lambda H, W, m: (-W % m, 0, -H % m, 0), crop=lambda y, H, W: y)),
        Mistake("padded-both-sides", "You padded on both sides. Pad at the right and the bottom only.",
                partial(padded, pad=halves, crop=middle), partial(padded, pad=halves)),
        Mistake("cropped-other-end", "You cropped at the wrong end: x lies at the left and the top of the padded map.",
                partial(padded, crop=last), partial(padded, crop=middle)),
        Mistake("one-side-only", "You padded one of the two sides only.",
                partial(padded, pad=lambda H, W, m: (0, -W % m, 0, 0)),
                partial(padded, pad=lambda H, W, m: (0, 0, 0, -H % m))),
        Mistake("made-square", "You made the map square. Each side goes to its own next multiple.",
                partial(padded, pad=up_to(lambda H, W, m: (max(H, W) + -max(H, W) % m,) * 2))),
        Mistake("power-of-two", "You padded to the next power of two times the multiple. The next multiple is enough.",
                partial(padded, pad=up_to(lambda H, W, m: (power_of_two(H, m), power_of_two(W, m))))),
        Mistake("other-padding", "You padded with other values. Pad with zeros.",
                partial(padded, mode="replicate"), partial(padded, value=1.0), partial(padded, mode="reflect"),
                partial(padded, mode="circular")),
        Mistake("fixed-multiple", "You padded to one fixed multiple. Use `multiple`.",
                *(lambda x, inner, m, n=n: padded(x, inner, n) for n in (8, 4, 2, 16, 32))),
        Mistake("resized-instead", "You resized the map. Pad it, so that its values stay what they are.", resized),
        Mistake("cut-instead", "You cut the map down to a multiple. Nothing of x may get lost: pad it up.", cut),
        Mistake("multiplied-by-input", "You multiplied by x. Return what `inner` gave, cropped.",
                partial(padded, after=lambda y, x: x * y)),
        Mistake("sigmoid", "You took a sigmoid. Return what `inner` gave, cropped.",
                partial(padded, after=lambda y, x: y.sigmoid())),
        Mistake("inner-ignored", "You never used `inner`.", lambda x, inner, m: x,
                lambda x, inner, m: F.pad(x, (0, -x.shape[3] % m, 0, -x.shape[2] % m))),
        Mistake("detached", "You cut the result off from x: no gradient can flow back.",
                partial(padded, after=lambda y, x: y.detach())),
    ),
    hints=(
        "How much is missing from H to the next multiple? Try H = 13 and H = 16 with multiple 8.",
        "In Python `-13 % 8` is 3 and `-16 % 8` is 0: just what is missing. `F.pad(x, (left, right, top, bottom))` "
        "adds zeros.",
        "`F.pad(x, (0, -W % multiple, 0, -H % multiple))` goes into `inner`; of its result keep the first H rows and W "
        "columns.",
    ),
    tested="12 maps with a toy hourglass: sides that fit and that do not, 1×1, non-square, multiples 1 to 8, float64; "
           "the gradient; x unchanged",
)

# --- block -----------------------------------------------------------------------------------------------------------

WIDTHS = (12, 24, 48)


def refuse(block: nn.Module) -> None:
    if hidden(block):
        raise Problem("layers-in-a-list", "Your layers sit in a plain list. nn.Module does not look inside lists: no "
                      "optimizer would find their weights. Use nn.ModuleList or nn.Sequential.")


def hidden(block: nn.Module) -> bool:
    """Whether a module sits in a plain list or tuple of the block, and nowhere else."""
    known = set(block.modules())
    held = [value for module in known for value in vars(module).values() if isinstance(value, list | tuple)]
    return any(isinstance(each, nn.Module) and each not in known for value in held for each in value)


def fill(block: nn.Module, *_: int) -> None:
    """From the shapes alone; the size of the numbers keeps the gates away from 0.5 and from 0 and 1."""
    for p in block.parameters():
        seed = 1000 + sum(size * 31**axis for axis, size in enumerate(p.shape))
        if p.ndim > 1:
            p.copy_(randn(*p.shape, seed=seed) * (3 / (p[0, 0].numel() * min(p.shape[:2])))**0.5)
        else:
            p.copy_(0.3 * randn(*p.shape, seed=seed))


your_block = BlockCases(
    own=ConvAutoencoderAttention,
    ready=ConvAutoencoderAttention,
    used=("used-the-courses-block", "Your block is made of the course's ConvAutoencoderAttention. Build it from "
                                    "nn.Conv2d and nn.ConvTranspose2d."),
    fill=fill,
    count="The block has another number of parameters: 385·C + 46,200 with the default widths.",
    refuse=refuse,
    instance="You passed a block that is built already: pass the class itself.",
)


class Variant(nn.Module):
    """The block with one thing wrong: each argument is the right part unless a mistake replaces it."""

    def __init__(self, channels, widths=WIDTHS, *, choose=identity, up=identity, kernel=(4, 2, 1, 0), bias=True,
                 norm=False, inner=torch.relu, code=None, decoder_inner=None, outer=torch.sigmoid, out=None,
                 pad=lambda H, W, m: (0, -W % m, 0, -H % m), crop=lambda y, H, W: y[:, :, :H, :W], detach=False,
                 apply=lambda x, s: x * s):
        super().__init__()
        widths = choose(tuple(widths))
        k, s, p, o = kernel
        down_sizes, up_sizes = [channels, *widths], [*widths[::-1], out or channels]
        up_sizes = up(up_sizes)
        self.down = nn.ModuleList(nn.Conv2d(a, b, k, s, p, bias=bias) for a, b in pairwise(down_sizes))
        self.norms = nn.ModuleList(nn.BatchNorm2d(b) for b in widths) if norm else [identity] * len(widths)
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, k, s, p, o, bias=bias) for a, b in pairwise(up_sizes))
        self.multiple = 2 ** len(widths)
        self.inner, self.code, self.decoder_inner = inner, code or inner, decoder_inner or inner
        self.outer, self.pad, self.crop, self.detach, self.apply_gate = outer, pad, crop, detach, apply

    def forward(self, x):
        H, W = x.shape[2:]
        h = F.pad(x, self.pad(H, W, self.multiple))
        for number, (layer, norm) in enumerate(zip(self.down, self.norms), 1):
            h = (self.code if number == len(self.down) else self.inner)(norm(layer(h)))
        for number, layer in enumerate(self.up, 1):
            h = layer(h) if number == len(self.up) else self.decoder_inner(layer(h))
        s = self.outer(self.crop(h, H, W))
        return self.apply_gate(x, s.detach() if self.detach else s)


class Resized(Variant):
    """No padding; the gate is resized to the map instead."""

    def forward(self, x):
        h = x
        for layer in self.down:
            h = layer(h).relu()
        for layer in self.up[:-1]:
            h = layer(h).relu()
        return x * self.outer(F.interpolate(self.up[-1](h), x.shape[2:], mode=self.mode))

    mode = "nearest"


class ResizedSmoothly(Resized):
    mode = "bilinear"


variant = variants(Variant)


def doubled(multiple: int) -> int:
    """2 times the number of steps, where it should be 2 to its power."""
    return 2 * (multiple.bit_length() - 1)


ONE_MORE = ("You have one layer too many, from the code to the code: `sizes + sizes[::-1]` holds the code's width "
            "twice. Take the pairs of `sizes` and those of `sizes[::-1]`.")


block = Exercise(
    id="autoencoder.block",
    title="Build the block",
    reference=ConvAutoencoderAttention,
    cases=(
        your_block.output(tensor([[[[1, -2], [3, 4]]]]), 1, widths=(2,)),
        your_block.output(tensor([[[[2]]]]), 1, widths=(2,)),
        your_block.output(randn(1, 2, 4, 4, seed=1), 2, widths=(3, 5)),
        your_block.output(randn(2, 3, 5, 7, seed=2), 3, widths=(4, 6)),
        your_block.output(randn(2, 1, 1, 6, seed=3), 1, widths=(3,)),
        your_block.output(randn(1, 5, 13, 15, seed=4), 5, widths=WIDTHS),
        your_block.output(randn(2, 4, 8, 16, seed=5).double(), 4, widths=(12, 6, 3)),
        your_block.output(randn(3, 6, 2, 2, seed=6), 6, widths=(5,)),
        your_block.parameters(64),
        your_block.parameters(3),
        your_block.parameters(7, widths=(12, 24, 12)),
        your_block.parameters(2, widths=(5,)),
        your_block.gradients(randn(2, 3, 6, 7, seed=8), 3, widths=(4, 5)),
        your_block.modes(randn(4, 3, 8, 8, seed=9), 3, widths=(4, 5), cause="mode-dependent",
                         message="Training and evaluation mode give different outputs. This block does the same in "
                                 "both."),
        your_block.alone(randn(4, 3, 8, 8, seed=10), 3, widths=(4, 5)),
        your_block.dtype(randn(2, 3, 6, 7, seed=11), 3, widths=(4, 5)),
    ),
    mistakes=(
        Mistake("not-padded", "You did not pad: a map whose sides cannot be halved evenly comes back smaller.",
                variant(pad=lambda H, W, m: (0, 0, 0, 0), crop=lambda y, H, W: y),
                variant(pad=lambda H, W, m: (0, 0, 0, 0))),
        Mistake("not-cropped", "You padded, but did not crop the gate to the size of x.",
                variant(crop=lambda y, H, W: y)),
        Mistake("fixed-multiple", "You padded to one fixed multiple. It is 2 to the power of the number of steps.",
                *(variant(pad=lambda H, W, m, n=n: (0, -W % n, 0, -H % n)) for n in (8, 2, 4, 16))),
        Mistake("steps-times-two", "You padded to a multiple of 2 times the number of steps. Each step halves: it is 2 "
                "to the power of the number of steps.",
                variant(pad=lambda H, W, m: (0, -W % doubled(m), 0, -H % doubled(m)))),
        Mistake("larger-gap-for-both", "You padded both sides by the larger of the two gaps. Each side has its own.",
                variant(pad=lambda H, W, m: (0, max(-H % m, -W % m)) * 2)),
        Mistake("padded-the-remainder", "You padded by `H % m`: that is what is too much. What is missing is `-H % m`.",
                variant(pad=lambda H, W, m: (0, W % m, 0, H % m))),
        Mistake("cropped-minus-zero", MINUS_ZERO, variant(crop=crop_off)),
        Mistake("layer-too-many", ONE_MORE, variant(up=lambda sizes: [sizes[0], *sizes])),
        Mistake("last-layer-forgotten", "Your decoder stops one layer early: the last one goes back to C channels and "
                "to the full size.", variant(up=lambda sizes: sizes[:-1])),
        Mistake("swapped-sides",
                "You swapped the sides: `F.pad` wants the last axis first, (left, right, top, bottom).",
                variant(pad=lambda H, W, m: (0, -H % m, 0, -W % m))),
        Mistake("padded-other-side", "You padded at the left and the top. Pad at the right and the bottom.",
                variant(pad=lambda H, W, m: (-W % m, 0, -H % m, 0), crop=last),
                variant(pad=lambda H, W, m: (-W % m, 0, -H % m, 0))),
        Mistake("resized-instead", "You resized the gate to the map. Here the map is padded and the gate cropped.",
                Resized, ResizedSmoothly),
        Mistake("widths-ignored", "Your block does not use `widths`.",
                variant(choose=lambda widths: WIDTHS), variant(choose=lambda widths: WIDTHS[:len(widths)]),
                *(variant(choose=lambda widths: WIDTHS, pad=lambda H, W, m, n=n: (0, -W % n, 0, -H % n), crop=crop)
                  for n, crop in ((1, uncropped), (8, first)))),
        Mistake("widths-reversed", "Your encoder takes the widths in reversed order.",
                variant(choose=lambda widths: widths[::-1])),
        Mistake("other-kernel", "Your layers have another kernel. Here all are 4 × 4, with stride 2 and padding 1.",
                variant(kernel=(2, 2, 0, 0)), variant(kernel=(3, 2, 1, 1)), variant(kernel=(6, 2, 2, 0))),
        Mistake("returned-gate", "You returned the gate. Return x scaled by it.", variant(apply=lambda x, s: s)),
        Mistake("added-gate", "You added the gate to x. A gate scales: multiply.", variant(apply=lambda x, s: x + s)),
        Mistake("added-input",
                "You added x to the scaled map: that is x · (1 + gate). This block returns x · gate.",
                variant(apply=lambda x, s: x + x * s)),
        Mistake("no-sigmoid", "The sigmoid at the end is missing: your gates leave the interval (0, 1).",
                variant(outer=identity)),
        Mistake("relu-before-sigmoid", "There is a ReLU before the sigmoid: no gate can fall below 0.5.",
                variant(outer=lambda s: s.relu().sigmoid())),
        Mistake("relu-gate", "You took a ReLU at the end, and no sigmoid.", variant(outer=torch.relu)),
        Mistake("tanh-gate", "You took tanh at the end: its gates lie in (-1, 1). Here it is a sigmoid.",
                variant(outer=torch.tanh)),
        Mistake("softmax", "You took a softmax over the channels. Here each gate has a sigmoid of its own.",
                variant(outer=partial(torch.softmax, dim=1))),
        Mistake("no-relu", "The ReLUs between the layers are missing. Without them six layers are one linear map.",
                variant(inner=identity)),
        Mistake("no-relu-at-the-code", "The ReLU after the last layer of the encoder is missing.",
                variant(code=identity)),
        Mistake("no-relu-in-the-decoder", "The ReLUs in the decoder are missing.", variant(decoder_inner=identity)),
        Mistake("sigmoid-inside", "The inner layers have a sigmoid. They have a ReLU; the sigmoid stands at the end.",
                variant(inner=torch.sigmoid)),
        Mistake("one-channel-gate", "You made one gate per position, the same for all channels. The last layer goes "
                "back to C channels.", variant(out=1)),
        Mistake("batch-norm", "There is a BatchNorm inside. This block has none.",
                variant(norm=True), variant(norm=True, bias=False)),
        Mistake("no-biases", "The layers lack their bias.", variant(bias=False)),
        Mistake("detached-gate", "You cut the gate off from the gradient: it could never be trained.",
                variant(detach=True)),
        Mistake("averaged-batch", "You averaged the gate over the batch. Each image gets its own.",
                variant(apply=lambda x, s: x * s.mean(0, keepdim=True))),
    ),
    hints=(
        "Draw the hourglass for widths (4, 6) and C = 3: 3 → 4 → 6 → 4 → 3. Which layers halve, which double?",
        "A list of widths `[channels, *widths]`, gone through in pairs, makes the encoder of `nn.Conv2d(a, b, 4, "
        "stride=2, padding=1)` with a ReLU after each; gone through backwards it makes the decoder of "
        "`nn.ConvTranspose2d`. After its last layer there is no ReLU. Pad to a multiple of 2 to the number of steps.",
        "`sizes = [channels, *widths]`; `zip(sizes, sizes[1:])` gives the encoder's pairs, and with `back = "
        "sizes[::-1]`, `zip(back, back[1:])` the decoder's. In `forward`: pad, encode, decode, `[:, :, :H, :W]`, "
        "sigmoid, times x.",
    ),
    tested="values with copied weights on 8 maps: sides that fit and that do not, 1×1, non-square, one image and "
           "several, one to three steps, float64; the parameter count; gradients of x and of every parameter; the same "
           "in train and eval, alone and in a batch",
)

# --- parameters ------------------------------------------------------------------------------------------------------


def layers(channels, widths) -> tuple[list, list]:
    """(in, out) of each layer of the encoder and of the decoder."""
    sizes = [channels, *widths]
    return list(pairwise(sizes)), list(pairwise(sizes[::-1]))


def parameter_count(channels, widths, *, kernel=16, down_bias=lambda a, b: b, up_bias=lambda a, b: b, out=None):
    encoder, decoder = layers(channels, widths)
    if out is not None:
        decoder[-1] = (decoder[-1][0], out)
    return (sum(kernel * a * b + down_bias(a, b) for a, b in encoder)
            + sum(kernel * a * b + up_bias(a, b) for a, b in decoder))


def no_bias(a: int, b: int) -> int:
    return 0


parameters = Exercise(
    id="autoencoder.parameters",
    title="What the block costs",
    reference=parameter_count,
    cases=tuple(values(channels=channels, widths=widths) for channels, widths in (
        (1, (1, 1)), (2, (3, 1)), (3, (4, 5)), (5, (2, 2, 7)), (64, WIDTHS), (128, WIDTHS), (64, (12, 24, 12)),
        (64, (12, 24)), (3, (5,)))),
    mistakes=(
        Mistake("no-biases", "You counted no biases: every layer has one per output channel.",
                partial(parameter_count, down_bias=no_bias, up_bias=no_bias)),
        Mistake("encoder-only", "You counted the encoder alone. The decoder has as many layers.",
                lambda C, widths: sum(16 * a * b + b for a, b in layers(C, widths)[0]),
                lambda C, widths: sum(16 * a * b for a, b in layers(C, widths)[0])),
        Mistake("decoder-only", "You counted the decoder alone. The encoder has as many layers.",
                lambda C, widths: sum(16 * a * b + b for a, b in layers(C, widths)[1])),
        Mistake("encoder-twice", "You counted the encoder twice. The decoder has the same weights, but its biases are "
                "one per output channel: its last layer has C of them.",
                lambda C, widths: 2 * sum(16 * a * b + b for a, b in layers(C, widths)[0])),
        Mistake("decoder-without-biases", "The decoder's biases are missing.",
                partial(parameter_count, up_bias=no_bias)),
        Mistake("encoder-without-biases", "The encoder's biases are missing.",
                partial(parameter_count, down_bias=no_bias)),
        Mistake("kernel-not-squared", "A kernel of 4 × 4 has 16 weights, not 4.", partial(parameter_count, kernel=4)),
        Mistake("other-kernel", "You counted another kernel. It is 4 × 4: 16 weights for each pair of channels.",
                *(partial(parameter_count, kernel=n) for n in (9, 1, 25, 2, 8))),
        Mistake("widths-ignored", "You counted the default widths, whatever `widths` says.",
                lambda C, widths: 385 * C + 46_200),
        Mistake("one-channel-gate", "Your last layer has one output channel. The gate has C.",
                partial(parameter_count, out=1)),
        Mistake("layer-too-many", ONE_MORE,
                lambda C, widths: parameter_count(C, widths) + 16 * widths[-1] ** 2 + widths[-1]),
        Mistake("last-layer-forgotten", "The decoder's last layer is missing: from the first width back to C.",
                lambda C, widths: parameter_count(C, widths) - 16 * widths[0] * C - C),
        Mistake("first-and-last-forgotten", "The layers from C and back to C are missing.",
                lambda C, widths: parameter_count(widths[0], widths[1:]) if len(widths) > 1 else 0),
        Mistake("counted-one-bias", "A layer has one bias per output channel, not one in all.",
                partial(parameter_count, down_bias=lambda a, b: 1, up_bias=lambda a, b: 1)),
    ),
    hints=(
        "How many weights has one 4 × 4 convolution from a to b channels? How many biases?",
        "A layer from a to b channels has 16·a·b + b parameters, transposed or not. With C = 64 and the default widths "
        "the layers go 64 → 12 → 24 → 48 → 24 → 12 → 64.",
        "`sizes = [channels, *widths]`, then add up `16 * a * b + b` over the pairs of `sizes` and over the pairs of "
        "`sizes[::-1]`.",
    ),
    tested="9 blocks of one to three steps, among them 385·C + 46,200 at C = 64 and 128",
)
