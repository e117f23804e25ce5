"""Checkers of chapter 04: the two pooled maps, the channel gate of CAM, and SAM as a module."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncourse.cam_sam import SpatialAttention
from attncourse.checks.blocks import BlockCases, fill_norms, identity, variants
from attncourse.checks.cases import gradients, randn, tensor, values
from attncourse.checks.compare import Problem
from attncourse.checks.engine import Case, Exercise, Mistake

# --- spatial_stack ---------------------------------------------------------------------------------------------------


def stack(x: Tensor) -> Tensor:
    return torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)


def pair(first: Callable, second: Callable, axis: int = 1, **options) -> Callable:
    """A wrong stack: two poolings side by side, each called with keepdim."""
    return lambda x: torch.cat([first(x, 1, keepdim=True, **options), second(x, 1, keepdim=True, **options)], axis)


def along(axes: int | tuple[int, ...]) -> Callable:
    return lambda x: torch.cat([x.mean(axes, keepdim=True), x.amax(axes, keepdim=True)], 1)


def named_pair(case: Case) -> Case:
    """The case, with a name for the crash that the pair of `torch.max` leads to."""
    def probe(answer: Callable) -> object:
        try:
            return case.probe(answer)
        except TypeError as error:
            if "return_types" not in str(error):
                raise
            raise Problem("pair-not-values", "torch.max with an axis returns a pair, (values, indices); take [0].") \
                from error
    return replace(case, probe=probe)


spatial_stack = Exercise(
    id="cam_sam.spatial_stack",
    title="Two maps: mean and maximum over the channels",
    reference=stack,
    cases=tuple(map(named_pair, (
        values(x=tensor([[[[0, 2]], [[4, 1]]]])),
        values(x=tensor([[[[1], [-3]], [[5], [-1]], [[0], [-2]]]])),
        values(x=tensor([[[[1, 2]], [[3, 0]]], [[[-1, 4]], [[-5, 2]]]])),
        values(x=randn(2, 3, 4, 5)),
        values(x=randn(1, 7, 1, 1, seed=1).double()),
        values(x=randn(3, 1, 3, 3, seed=2)),
        values(x=randn(2, 5, 5, 5, seed=3)),
        gradients(x=randn(2, 3, 2, 3, seed=4)),
    ))),
    mistakes=(
        Mistake("swapped-order", "The two maps are right, in the other order. The authors' code stacks [max, avg]; "
                "the paper, timm and this exercise stack [avg, max].", pair(torch.amax, torch.mean)),
        Mistake("pooled-over-space", "You pooled over space: one pair of numbers per channel. That is CAM's squeeze. "
                "SAM pools over the channels and keeps every position.",
                along((2, 3)), lambda x: torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1),
                lambda x: torch.stack([x.mean((2, 3)), x.amax((2, 3))], 1)),
        Mistake("one-axis-of-space", "You pooled along the rows or the columns. The channels are axis 1.",
                along(2), along(3)),
        Mistake("pooled-over-batch", "You pooled over the images of the batch. The channels are axis 1.", along(0),
                lambda x: torch.cat([x.mean(0, keepdim=True), x.amax(0, keepdim=True)], 0)),
        Mistake("pooled-over-batch-too", "You pooled over the images as well as the channels. Each image has its own "
                "two maps: pool over axis 1 alone.", along((0, 1)),
                lambda x: torch.stack([x.mean((0, 1)), x.amax((0, 1))]),
                lambda x: torch.stack([x.mean((0, 1)), x.amax((0, 1))])[None]),
        Mistake("average-twice", "Both maps are the mean: the `x1 + x1` of this module. The second is the maximum.",
                pair(torch.mean, torch.mean)),
        Mistake("maximum-twice", "Both maps are the maximum. The first is the mean.", pair(torch.amax, torch.amax)),
        Mistake("added", "You added the two maps. Stack them, so that the convolution can weigh them differently: "
                "(B, 2, H, W).", lambda x: x.mean(1, keepdim=True) + x.amax(1, keepdim=True),
                lambda x: (x.mean(1, keepdim=True) + x.amax(1, keepdim=True)) / 2),
        Mistake("indices", "The second map holds *which* channel is largest. `torch.max(x, 1)` returns the pair "
                "(values, indices): you want the values, its part [0].",
                lambda x: torch.cat([x.mean(1, keepdim=True), x.argmax(1, keepdim=True)], 1)),
        Mistake("first-image", "You kept the first image only. `torch.max(x, 1)[0]` is already the values of all "
                "images: [0] chooses the values from the pair (values, indices).",
                lambda x: stack(x)[0], lambda x: stack(x)[:1]),
        Mistake("lost-axis", "The channel axis is gone before you joined the maps, so they were joined along H. Keep "
                "it with `keepdim=True`, or use `torch.stack(…, 1)`.",
                lambda x: torch.cat([x.mean(1), x.amax(1)], 1)),
        Mistake("stacked-on-batch", "You joined the maps along the batch axis, as if they were more images.",
                pair(torch.mean, torch.amax, 0), lambda x: torch.stack([x.mean(1), x.amax(1)], 0),
                lambda x: torch.cat([x.mean(1), x.amax(1)], 0)),
        Mistake("stacked-last", "You joined the maps along the last axis. A convolution wants (B, 2, H, W).",
                lambda x: torch.stack([x.mean(1), x.amax(1)], -1), pair(torch.mean, torch.amax, 3)),
        Mistake("joined-along-rows", "You joined the maps along H: one tall map. A convolution wants (B, 2, H, W).",
                pair(torch.mean, torch.amax, 2)),
        Mistake("sum", "The first map is the sum. The mean also divides by C.", pair(torch.sum, torch.amax)),
        Mistake("minimum", "The second map is the minimum.", pair(torch.mean, torch.amin)),
        Mistake("absolute-maximum", "You took the largest absolute value. −5 is not larger than 2.",
                lambda x: torch.cat([x.mean(1, keepdim=True), x.abs().amax(1, keepdim=True)], 1)),
        Mistake("one-map", "One of the two maps is missing. The result is (B, 2, H, W).",
                lambda x: x.mean(1, keepdim=True), lambda x: x.amax(1, keepdim=True), lambda x: x.mean(1),
                lambda x: x.amax(1)),
        Mistake("detached", "You cut a map off from x: no gradient can flow back through it.",
                lambda x: stack(x.detach()),
                lambda x: torch.cat([x.detach().mean(1, keepdim=True), x.amax(1, keepdim=True)], 1),
                lambda x: torch.cat([x.mean(1, keepdim=True), x.detach().amax(1, keepdim=True)], 1)),
    ),
    hints=(
        "Which axis of (B, C, H, W) has to go? You want one number per position, so the other three stay.",
        "`mean` and `amax` both take the axis and `keepdim=True`. Each gives (B, 1, H, W); `torch.cat` joins a list of "
        "tensors along an axis that they have.",
        "`torch.cat([x.mean(1, keepdim=True), …], 1)`, with the maximum in place of the dots.",
    ),
    tested="values on 7 maps, non-square, 1×1, one channel, one image and several, float64; the gradient; x unchanged",
)

# --- channel_gate ----------------------------------------------------------------------------------------------------


def mean_of(x):
    return x.mean((2, 3))


def max_of(x):
    return x.amax((2, 3))


def gate(x, w1, b1, w2, b2, avg=mean_of, maximum=max_of, inner=torch.relu, outer=torch.sigmoid, join=torch.add):
    """CAM; each part can be replaced by a mistake."""
    def mlp(z):
        return inner(z @ w1.T + b1) @ w2.T + b2
    return outer(join(mlp(avg(x)), mlp(maximum(x))))


def added_before(x, w1, b1, w2, b2, scale=1.0):
    return torch.sigmoid(torch.relu(scale * (mean_of(x) + max_of(x)) @ w1.T + b1) @ w2.T + b2)


def hidden_added(x, w1, b1, w2, b2, biases=1):
    hidden = torch.relu(mean_of(x) @ w1.T + b1) + torch.relu(max_of(x) @ w1.T + b1)
    return torch.sigmoid(hidden @ w2.T + biases * b2)


def no_sum(x, w1, b1, w2, b2, pool, scale=1):
    return torch.sigmoid(scale * (torch.relu(pool(x) @ w1.T + b1) @ w2.T + b2))


def weights(channels: int, hidden: int, shape: tuple[int, int, int], seed: int = 0) -> dict[str, Tensor]:
    """Inputs of the exercise; shape is (B, H, W)."""
    B, H, W = shape
    sizes = dict(x=(B, channels, H, W), w1=(hidden, channels), b1=(hidden,), w2=(channels, hidden), b2=(channels,))
    return {name: randn(*size, seed=seed + i) for i, (name, size) in enumerate(sizes.items())}


channel_gate = Exercise(
    id="cam_sam.channel_gate",
    title="CAM's gate: two squeezes, one MLP",
    reference=gate,
    cases=(
        values(x=tensor([[[[0, 2, 1]], [[1, -3, -1]]]]), w1=tensor([[1, 1]]), b1=tensor([1]), w2=tensor([[1], [-1]]),
               b2=tensor([0, 1])),
        values(x=tensor([[[[1, 3]]]]), w1=tensor([[1]]), b1=tensor([-2.5]), w2=tensor([[2]]), b2=tensor([-1])),
        values(x=tensor([[[[-1, 1]]], [[[2, 2]]]]), w1=tensor([[2]]), b1=tensor([0.5]), w2=tensor([[-1]]),
               b2=tensor([0.5])),
        values(**weights(4, 2, (3, 4, 5))),
        values(**weights(3, 3, (2, 4, 3), seed=10)),
        values(**weights(5, 2, (1, 7, 7), seed=20)),
        values(**{name: value.double() for name, value in weights(7, 3, (2, 3, 2), seed=30).items()}),
        gradients(**weights(4, 3, (3, 2, 3), seed=40)),
    ),
    mistakes=(
        Mistake("added-before-mlp", "You added mean and maximum first and ran the MLP once. Each goes through the MLP "
                "alone; the two outputs are added. With a ReLU between, that is not the same.",
                added_before, partial(added_before, scale=0.5)),
        Mistake("second-bias-once", "b2 counts once in your answer, and must count twice: each of the two outputs has "
                "its bias. It also counts once if you add the hidden layers and use the second layer once.",
                hidden_added),
        Mistake("average-only", "The maximum is missing: this is SE's gate.", partial(no_sum, pool=mean_of)),
        Mistake("maximum-only", "The mean is missing.", partial(no_sum, pool=max_of)),
        Mistake("average-twice", "You added the mean's output to itself, `x1 + x1`. The second term is the maximum's.",
                partial(no_sum, pool=mean_of, scale=2)),
        Mistake("maximum-twice", "You added the maximum's output to itself. The first term is the mean's.",
                partial(no_sum, pool=max_of, scale=2)),
        Mistake("sigmoid-before-sum", "You took the sigmoid of each output and added the two: gates between 0 and 2. "
                "Add first.", lambda *a: gate(*a, outer=identity, join=lambda p, q: p.sigmoid() + q.sigmoid()),
                lambda *a: gate(*a, outer=identity, join=lambda p, q: (p.sigmoid() + q.sigmoid()) / 2)),
        Mistake("multiplied", "You multiplied the two outputs. CAM adds them.", partial(gate, join=torch.mul),
                partial(gate, outer=identity, join=lambda p, q: p.sigmoid() * q.sigmoid())),
        Mistake("halved", "You averaged the two outputs. CAM adds them.", partial(gate, join=lambda p, q: (p + q) / 2)),
        Mistake("larger-of-two", "You took the larger of the two outputs. CAM adds them.",
                partial(gate, join=torch.maximum)),
        Mistake("no-sigmoid", "The sigmoid at the end is missing: your gates leave the interval (0, 1).",
                partial(gate, outer=identity)),
        Mistake("no-relu", "The ReLU between the two layers is missing.", partial(gate, inner=identity)),
        Mistake("softmax", "You took a softmax: your gates compete and sum to 1. CAM takes a sigmoid.",
                partial(gate, outer=partial(torch.softmax, dim=1))),
        Mistake("relu-before-sigmoid", "There is a ReLU before the sigmoid: no gate can fall below 0.5.",
                partial(gate, outer=lambda s: s.relu().sigmoid()),
                partial(gate, join=lambda p, q: p.relu() + q.relu())),
        Mistake("no-biases", "The biases are missing.", lambda x, w1, b1, w2, b2: gate(x, w1, 0 * b1, w2, 0 * b2)),
        Mistake("no-first-bias", "b1 is missing.", lambda x, w1, b1, w2, b2: gate(x, w1, 0 * b1, w2, b2)),
        Mistake("no-second-bias", "b2 is missing.", lambda x, w1, b1, w2, b2: gate(x, w1, b1, w2, 0 * b2)),
        Mistake("transposed-weights", "A weight matrix is used the wrong way round. `w1` is (c', C): write `z @ w1.T` "
                "or `F.linear(z, w1, b1)`.", lambda x, w1, b1, w2, b2: gate(x, w1.T, b1, w2.T, b2),
                lambda x, w1, b1, w2, b2: gate(x, w1.T, b1, w2, b2),
                lambda x, w1, b1, w2, b2: gate(x, w1, b1, w2.T, b2)),
        Mistake("sum", "The first squeeze is a sum. The mean also divides by H·W.",
                partial(gate, avg=lambda x: x.sum((2, 3)))),
        Mistake("minimum", "The second squeeze is the minimum.", partial(gate, maximum=lambda x: x.amin((2, 3)))),
        Mistake("absolute-maximum", "You took the largest absolute value. −5 is not larger than 2.",
                partial(gate, maximum=lambda x: x.abs().amax((2, 3)))),
        Mistake("maximum-of-one-axis", "Your maximum runs along one axis of space, and the mean along the other. Both "
                "axes belong to the maximum.", partial(gate, maximum=lambda x: x.amax(3).mean(2)),
                partial(gate, maximum=lambda x: x.amax(2).mean(2))),
        Mistake("fixed-size", "Your pooling fits square maps, or one size of map, only.",
                *(partial(gate, avg=lambda x, a=a: F.avg_pool2d(x, x.shape[a])[:, :, 0, 0],
                          maximum=lambda x, a=a: F.max_pool2d(x, x.shape[a])[:, :, 0, 0]) for a in (2, 3)),
                *(partial(gate, avg=lambda x, a=a: F.avg_pool2d(x, x.shape[a]).flatten(1),
                          maximum=lambda x, a=a: F.max_pool2d(x, x.shape[a]).flatten(1)) for a in (2, 3)),
                *(partial(gate, avg=lambda x, n=n: F.avg_pool2d(x, n).flatten(1),
                          maximum=lambda x, n=n: F.max_pool2d(x, n).flatten(1)) for n in (5, 7))),
        Mistake("pooled-over-channels", "You pooled over the channels: that is SAM's stack. CAM pools over space.",
                partial(gate, avg=lambda x: x.mean(1), maximum=lambda x: x.amax(1))),
        Mistake("averaged-batch", "You pooled over the batch as well. Each image gets its own gates.",
                lambda x, *rest: gate(x, *rest, avg=lambda x: x.mean((0, 2, 3))[None],
                                      maximum=lambda x: x.amax((0, 2, 3))[None]).expand(len(x), -1),
                partial(gate, avg=lambda x: x.mean((0, 2, 3))[None], maximum=lambda x: x.amax((0, 2, 3))[None])),
        Mistake("multiplied-by-input", "You returned x · s. Return the gates s, (B, C).",
                lambda x, *rest: x * gate(x, *rest)[:, :, None, None]),
        Mistake("added-axes", "The values are right, but the shape is (B, C, 1, 1). Here it is (B, C).",
                lambda *a: gate(*a)[:, :, None, None]),
        Mistake("lost-batch", "A plain `squeeze()` drops every axis of length 1, the batch of one image too. Name the "
                "axes.", lambda *a: gate(*a).squeeze(),
                partial(gate, avg=lambda x: x.mean((2, 3), keepdim=True).squeeze(),
                        maximum=lambda x: x.amax((2, 3), keepdim=True).squeeze())),
        Mistake("detached", "You cut a squeeze off from x: no gradient can flow back through it.",
                lambda x, *rest: gate(x.detach(), *rest), partial(gate, maximum=lambda x: x.detach().amax((2, 3))),
                partial(gate, avg=lambda x: x.detach().mean((2, 3)))),
    ),
    hints=(
        "You know SE's gate. Here it has two inputs and one sum. At which point do the two paths meet?",
        "Write the MLP once, as an inner function of z: linear layer, ReLU, linear layer. Call it on the means and on "
        "the maxima, both (B, C).",
        "`def mlp(z): return F.linear(F.linear(z, w1, b1).relu(), w2, b2)`. The result is the sigmoid of `mlp(…) + "
        "mlp(…)`.",
    ),
    tested="values with c' below and equal to C, square and not, one image and several, float64; gradients of x and of "
           "all weights; inputs unchanged",
)

# --- spatial_block ---------------------------------------------------------------------------------------------------


def fill(block: nn.Module) -> None:
    for p in block.parameters():
        p.copy_(randn(*p.shape, seed=100) / p[0].numel()**0.5 if p.ndim > 1 else torch.full_like(p, 0.7))
    fill_norms(block, weight=1.5, bias=-0.3, mean=0.2, variance=0.6)


your_block = BlockCases(
    own=SpatialAttention,
    ready=SpatialAttention,
    used=("used-course-block", "Your block is made of the course's SpatialAttention. Build it yourself."),
    fill=fill,
    count="The block has another number of parameters than 2·k² + 2.",
)


def even_kernel(answer: Callable) -> str:
    try:
        your_block.new(answer, kernel_size=4)
    except ValueError:
        return "a ValueError"
    return "no error"


class Variant(nn.Module):
    """SAM with one thing wrong: each argument is the right part unless a mistake replaces it."""

    def __init__(self, kernel_size=7, *, size=identity, padding=lambda k: k // 2, bias=False, norm=nn.BatchNorm2d,
                 stack=stack, order=("conv", "norm", "outer"), outer=torch.sigmoid, mode="zeros", check=True,
                 apply=lambda x, m: x * m):
        super().__init__()
        if check and kernel_size % 2 == 0:
            raise ValueError("even")
        k = size(kernel_size)
        self.conv = nn.Conv2d(stack(torch.zeros(1, 2, 1, 1)).shape[1], 1, k, padding=padding(k), bias=bias,
                              padding_mode=mode)
        self.norm = norm(self.conv.in_channels if order[0] == "norm" else 1)
        self.stack, self.outer, self.order, self.apply_gate = stack, outer, order, apply

    def forward(self, x):
        m = self.stack(x)
        for name in self.order:
            m = getattr(self, name)(m)
        return self.apply_gate(x, m)


variant = variants(Variant)


def no_norm(channels):
    return nn.Identity()


spatial_block = Exercise(
    id="cam_sam.spatial_block",
    title="SAM as a module",
    reference=SpatialAttention,
    cases=(
        your_block.output(randn(1, 2, 3, 4), kernel_size=3, mode=".eval()"),
        your_block.output(tensor([[[[1]], [[-2]]]]), kernel_size=1, mode=".eval()"),
        your_block.output(tensor([[[[1]], [[-2]]]]), kernel_size=3, mode=".eval()"),
        your_block.output(tensor([[[[1, 3]], [[-2, 0]]]]), kernel_size=3, mode=".eval()"),
        your_block.output(tensor([[[[1, 0], [2, 0]]], [[[-1, 4], [0, 0]]]]), kernel_size=3, mode=".train()"),
        your_block.output(randn(2, 3, 5, 4, seed=1), kernel_size=3, mode=".eval()"),
        your_block.output(randn(1, 4, 7, 7, seed=2), kernel_size=7, mode=".eval()"),
        your_block.output(randn(2, 1, 9, 6, seed=3).double(), kernel_size=5, mode=".eval()"),
        your_block.output(randn(3, 5, 4, 11, seed=4), kernel_size=7, mode=".train()"),
        your_block.parameters(kernel_size=3),
        your_block.parameters(),
        your_block.parameters(kernel_size=1),
        Case("YourBlock(kernel_size=4)", even_kernel, "even-kernel-accepted",
             "An even kernel has no middle: with the same padding on both sides the map changes its size. Raise a "
             "ValueError for it."),
        your_block.gradients(randn(2, 4, 3, 5, seed=8), kernel_size=3),
        your_block.dtype(randn(2, 4, 3, 5, seed=9), kernel_size=3),
    ),
    mistakes=(
        Mistake("even-kernel-accepted", "An even kernel has no middle: with the same padding on both sides the map "
                "changes its size. Raise a ValueError for it.", variant(check=False)),
        Mistake("kernel-size-ignored", "Your convolution does not use `kernel_size`.",
                *(variant(size=lambda k, n=n: n, check=check) for n in (7, 3) for check in (True, False))),
        Mistake("fixed-padding", "Your padding does not fit every kernel size. It has to be k // 2, or the map changes "
                "its size.", *(variant(padding=padding, check=check) for check in (True, False) for padding in (
                    lambda k: 3 if k == 7 else 1, lambda k: 3, lambda k: 1))),
        Mistake("no-padding", "Without padding the map gets smaller. At 7×7 it shrinks to 1×1 and is broadcast over "
                "the whole map, without any error.", variant(padding=lambda k: 0),
                variant(padding=lambda k: 0, check=False)),
        Mistake("too-much-padding", "Your padding is too large: the map grows. It has to be k // 2.",
                *(variant(padding=padding, check=check) for check in (True, False) for padding in (
                    identity, lambda k: k - 1, lambda k: (k + 1) // 2, lambda k: k // 2 + 1))),
        Mistake("other-padding", "You pad with copies of the map. Here the padding is zeros, as Conv2d does without "
                "being told.", *(variant(mode=mode) for mode in ("replicate", "reflect", "circular"))),
        Mistake("swapped-order", "Your stack is [max, avg], as in the authors' code. A trained block could do the same "
                "in either order, but weights from one do not fit the other; here it is [avg, max].",
                variant(stack=pair(torch.amax, torch.mean))),
        Mistake("average-twice", "Both maps are the mean. The second is the maximum.",
                variant(stack=pair(torch.mean, torch.mean))),
        Mistake("maximum-twice", "Both maps are the maximum. The first is the mean.",
                variant(stack=pair(torch.amax, torch.amax))),
        Mistake("one-map", "Your convolution sees one map. It takes two: mean and maximum over the channels.",
                variant(stack=lambda x: x.mean(1, keepdim=True)), variant(stack=lambda x: x.amax(1, keepdim=True)),
                variant(stack=lambda x: x.mean(1, keepdim=True) + x.amax(1, keepdim=True))),
        Mistake("sum", "The first map is the sum over the channels. Take the mean.",
                variant(stack=pair(torch.sum, torch.amax))),
        Mistake("no-batch-norm", "The BatchNorm after the convolution is missing.", variant(norm=no_norm),
                variant(norm=no_norm, bias=True)),
        Mistake("conv-bias", "Your convolution has a bias. In training BatchNorm subtracts it again, so it is "
                "wasted; with fixed statistics, as here, it shifts the result. Leave it out.",
                variant(bias=True)),
        Mistake("norm-before-conv", "BatchNorm stands before the convolution. It comes after it.",
                variant(order=("norm", "conv", "outer"))),
        Mistake("norm-after-sigmoid", "BatchNorm stands after the sigmoid: the gate leaves (0, 1).",
                variant(order=("conv", "outer", "norm"))),
        Mistake("relu-before-sigmoid", "There is a ReLU before the sigmoid: no gate can fall below 0.5.",
                variant(outer=lambda m: m.relu().sigmoid())),
        Mistake("no-sigmoid", "The sigmoid at the end is missing: your gates leave the interval (0, 1).",
                variant(outer=identity)),
        Mistake("tanh-gate", "You took tanh: its gates lie in (−1, 1). SAM takes a sigmoid.",
                variant(outer=torch.tanh)),
        Mistake("softmax", "You took a softmax over the positions: they compete and sum to 1. SAM takes a sigmoid.",
                variant(outer=lambda m: m.flatten(1).softmax(1).view_as(m))),
        Mistake("returned-gate", "You returned the gate. Return x scaled by it.", variant(apply=lambda x, m: m),
                variant(apply=lambda x, m: m.expand_as(x))),
        Mistake("added-gate", "You added the gate to x. A gate scales: multiply.", variant(apply=lambda x, m: x + m)),
        Mistake("added-input", "You added x to the scaled map. SAM returns x · M; a shortcut belongs to the network "
                "around it.", variant(apply=lambda x, m: x + x * m)),
        Mistake("detached", "You cut the gate off from the gradient.", variant(apply=lambda x, m: x * m.detach()),
                variant(stack=lambda x: stack(x.detach()))),
    ),
    hints=(
        "Four steps: the stack of exercise 1, a convolution from 2 channels to 1, BatchNorm, sigmoid. Then scale x.",
        "In `__init__`: raise a ValueError for an even `kernel_size`, then make `nn.Conv2d(2, 1, kernel_size, …)` "
        "without bias and `nn.BatchNorm2d(1)`. Which padding keeps H and W for every odd k?",
        "`nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)`. In `forward`: `m = "
        "self.norm(self.conv(stack)).sigmoid()`, (B, 1, H, W), and return `x * m`.",
    ),
    tested="values with copied weights on 9 maps: non-square, 1×1, one image and several, kernels of 1, 3, 5 and 7, "
           "train and eval, float64; 2·k² + 2 parameters; an even kernel; gradients of x and of every parameter",
)
