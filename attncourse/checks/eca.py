"""Checkers of chapter 07: the kernel size, the gate, the block, and the block whose channels share no weights."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncourse.checks.blocks import FIXED_SIZE_MEANS, BlockCases, gate_mistakes, identity, lost_batch, variants
from attncourse.checks.cases import gradients, randn, tensor, values
from attncourse.checks.compare import Problem
from attncourse.checks.engine import Case, Exercise, Mistake
from attncourse.eca import ECA, eca_kernel_size

# --- kernel_size -----------------------------------------------------------------------------------------------------


def from_t(k: Callable[[float], int], t: Callable = lambda C, gamma, b: abs((math.log2(C) + b) / gamma)) -> Callable:
    """A wrong kernel size that differs in t, or in what is made of it."""
    return lambda channels, gamma=2, b=1: k(t(channels, gamma, b))


def odd_up(n: int) -> int:
    return n if n % 2 else n + 1


def cut(t: float) -> int:
    return odd_up(int(t))


kernel_size = Exercise(
    id="eca.kernel_size",
    title="How many neighbours: k from C",
    reference=eca_kernel_size,
    cases=(
        values(channels=1, gamma=2, b=1),
        values(channels=2, gamma=2, b=1),
        values(channels=4, gamma=2, b=1),
        values(channels=7, gamma=2, b=1),
        values(channels=8, gamma=2, b=1),
        values(channels=16, gamma=2, b=1),
        values(channels=64, gamma=2, b=1),
        values(channels=127, gamma=2, b=1),
        values(channels=128, gamma=2, b=1),
        values(channels=512, gamma=2, b=1),
        values(channels=2048, gamma=2, b=1),
        values(channels=64, gamma=1, b=1),
        values(channels=256, gamma=1, b=0),
        values(channels=256, gamma=1.5, b=3),
        values(channels=6, gamma=1.25, b=0),
        values(channels=8, gamma=2, b=-9),
        Case("kernel_size(128), with the defaults of gamma and b", lambda answer: answer(128), "defaults",
             "With γ and b given your values are right. Left out, they should be gamma=2 and b=1."),
    ),
    mistakes=(
        Mistake("tie-down",
                "You go down where t is even. At 8, 128 and 2048 channels t is exactly 2, 4 and 6, as far from one odd "
                "number as from the next; the rule goes up.",
                from_t(lambda t: int(t) if int(t) % 2 else max(1, int(t) - 1)),
                from_t(lambda t: max(1, 2 * math.ceil(t / 2) - 1)),
                from_t(lambda t: int(t) if int(t) % 2 else int(t) - 1)),
        Mistake("even-kernel", "You returned an even number. An even kernel has no middle channel: make it odd.",
                from_t(int), from_t(round), from_t(math.ceil)),
        Mistake("added-1-always", "You added 1 always. Add it where t is even, and only there.",
                from_t(lambda t: int(t) + 1)),
        Mistake("odd-becomes-even", "You turned it round: your odd t become even. Add 1 where t is even.",
                from_t(lambda t: int(t) if int(t) % 2 == 0 else int(t) + 1)),
        Mistake("rounded", "You rounded t first. Cut it: `int(t)` drops what is behind the point.",
                from_t(lambda t: odd_up(round(t))), from_t(lambda t: odd_up(int(t + 0.5)))),
        Mistake("rounded-up", "You rounded t up first. Cut it: `int(t)` drops what is behind the point.",
                from_t(lambda t: odd_up(math.ceil(t)))),
        Mistake("cut-too-early", "You cut before you divided. Cut once, at the end: t itself.",
                from_t(odd_up, lambda C, gamma, b: int(abs(int(math.log2(C) + b) / gamma))),
                from_t(odd_up, lambda C, gamma, b: int(abs((int(math.log2(C)) + b) / gamma)))),
        Mistake("at-least-3", "You never go below 3, as timm does. The formula gives 1 for fewer than 8 channels.",
                from_t(lambda t: max(3, cut(t)))),
        Mistake("natural-logarithm", "You took the natural logarithm. The formula has the logarithm to base 2.",
                from_t(cut, lambda C, gamma, b: abs((math.log(C) + b) / gamma))),
        Mistake("decimal-logarithm", "You took the logarithm to base 10. The formula has the logarithm to base 2.",
                from_t(cut, lambda C, gamma, b: abs((math.log10(C) + b) / gamma))),
        Mistake("b-not-divided", "You added b after dividing. It belongs inside: (log2(C) + b) / γ.",
                from_t(cut, lambda C, gamma, b: abs(math.log2(C) / gamma + b))),
        Mistake("b-missing", "b is missing.", from_t(cut, lambda C, gamma, b: abs(math.log2(C) / gamma))),
        Mistake("b-subtracted", "You subtracted b. Add it.",
                from_t(cut, lambda C, gamma, b: abs((math.log2(C) - b) / gamma))),
        Mistake("gamma-missing", "You did not divide by γ.", from_t(cut, lambda C, gamma, b: abs(math.log2(C) + b))),
        Mistake("multiplied-by-gamma", "You multiplied by γ. Divide by it: a larger γ means fewer neighbours.",
                from_t(cut, lambda C, gamma, b: abs((math.log2(C) + b) * gamma))),
        Mistake("gamma-and-b-swapped", "You swapped γ and b: γ divides, b is added.",
                from_t(cut, lambda C, gamma, b: abs((math.log2(C) + gamma) / b) if b else 1)),
        Mistake("gamma-and-b-ignored", "Your code does not use its arguments gamma and b.",
                from_t(cut, lambda C, gamma, b: (math.log2(C) + 1) / 2)),
        Mistake("no-absolute-value", "The absolute value is missing: with a strongly negative b, t falls below 0.",
                from_t(cut, lambda C, gamma, b: (math.log2(C) + b) / gamma),
                from_t(lambda t: max(1, cut(t)), lambda C, gamma, b: (math.log2(C) + b) / gamma),
                from_t(lambda t: odd_up(math.floor(t)), lambda C, gamma, b: (math.log2(C) + b) / gamma)),
        Mistake("no-logarithm", "The logarithm is missing: k grows with log2(C), not with C.",
                from_t(cut, lambda C, gamma, b: abs((C + b) / gamma)),
                from_t(cut, lambda C, gamma, b: abs((math.sqrt(C) + b) / gamma))),
    ),
    hints=(
        "Three steps: compute t, cut it to a whole number, and make that odd.",
        "t is |log2(C) + b| divided by γ. `int(t)` cuts it. If the result is even, take the next odd number above.",
        "`t = int(abs((math.log2(channels) + b) / gamma))`, then return t where `t % 2` is 1, and t + 1 where it is 0.",
    ),
    tested="k for 1 to 2048 channels with both sides of the ties, and for other values of γ and b, a negative one too",
)

# --- gate ------------------------------------------------------------------------------------------------------------


def logits(z: Tensor, w: Tensor, mode: str = "constant") -> Tensor:
    """w slid over the channels of each row of z, (B, C), with zeros (or another padding) at both ends."""
    half = len(w) // 2
    padded = F.pad(z[:, None], (half, half)) if mode == "constant" else F.pad(z[:, None], (half, half), mode=mode)
    return F.conv1d(padded, w.view(1, 1, -1))[:, 0]


def gate_from(change: Callable[[Tensor, Tensor], Tensor]) -> Callable:
    """A wrong gate whose arguments or logits differ; the sigmoid is right."""
    return lambda z, w: change(z, w).sigmoid()


def one_side(z: Tensor, w: Tensor, left: bool) -> Tensor:
    pad = (len(w) - 1, 0) if left else (0, len(w) - 1)
    return F.conv1d(F.pad(z[:, None], pad), w.view(1, 1, -1))[:, 0]


def along_batch(z: Tensor, w: Tensor) -> Tensor:
    return F.conv1d(z.T[:, None], w.view(1, 1, -1), padding=len(w) // 2)[:, 0].T


def same_window(z: Tensor, w: Tensor) -> Tensor:
    """Every gate from the first k channels."""
    return (F.pad(z, (0, len(w)))[:, :len(w)] @ w)[:, None].expand_as(z)


gate = Exercise(
    id="eca.gate",
    title="The gate: k weights slide over the channels",
    reference=gate_from(logits),
    cases=(
        values(z=tensor([[1, 2]]), w=tensor([0.5])),
        values(z=tensor([[2], [-1]]), w=tensor([0.5, -1, 2])),
        values(z=tensor([[1, 2, -1]]), w=tensor([1, 2, 4])),
        values(z=tensor([[0, 1, 0, 0], [2, 0, 0, 1]]), w=tensor([0.5, -1, 2])),
        values(z=randn(3, 7), w=randn(5, seed=1)),
        values(z=randn(1, 9, seed=2), w=randn(3, seed=3)),
        values(z=randn(2, 6, seed=4).double(), w=randn(5, seed=5).double()),
        values(z=randn(5, 5, seed=6), w=randn(5, seed=7)),
        values(z=randn(2, 3, seed=8), w=randn(5, seed=9)),
        gradients(z=randn(3, 6, seed=10), w=randn(3, seed=11)),
    ),
    mistakes=(
        Mistake("no-sigmoid",
                "The sigmoid at the end is missing, as in the paper's listing: your gates leave the interval (0, 1).",
                logits),
        Mistake("no-padding",
                "You did not pad, so the first and last channels get no gate. Put k // 2 zeros at each end.",
                gate_from(lambda z, w: F.conv1d(z[:, None], w.view(1, 1, -1))[:, 0])),
        Mistake("fixed-padding", "Your padding does not follow k. Put k // 2 zeros at each end.",
                *(gate_from(lambda z, w, n=n: F.conv1d(z[:, None], w.view(1, 1, -1), padding=n)[:, 0])
                  for n in (1, 2))),
        Mistake("padding-k", "You padded too much: too many gates come out. Put k // 2 zeros at each end.",
                gate_from(lambda z, w: F.conv1d(z[:, None], w.view(1, 1, -1), padding=len(w))[:, 0]),
                gate_from(lambda z, w: F.conv1d(z[:, None], w.view(1, 1, -1), padding=len(w) - 1)[:, 0])),
        Mistake("padding-one-side",
                "All your zeros are at one end, so each window hangs to one side of its channel. Put k // 2 at each.",
                gate_from(partial(one_side, left=True)), gate_from(partial(one_side, left=False))),
        Mistake("circular", "Your window wraps around: the first channel sees the last. ECA pads with zeros.",
                gate_from(partial(logits, mode="circular"))),
        Mistake("repeated-ends", "You repeated the end channels beyond the end. ECA pads with zeros.",
                gate_from(partial(logits, mode="replicate")), gate_from(partial(logits, mode="reflect"))),
        Mistake("kernel-flipped",
                "Your kernel runs backwards. Deep learning's convolution does not flip it: w[0] meets the channel "
                "before.",
                gate_from(lambda z, w: logits(z, w.flip(0))), gate_from(lambda z, w: logits(z.flip(1), w).flip(1))),
        Mistake("own-mean-only", "Your gates see their own channel only. They should see k neighbouring channels.",
                gate_from(lambda z, w: z * w[len(w) // 2]), gate_from(lambda z, w: z * w.sum()),
                gate_from(lambda z, w: z * w[0])),
        Mistake("same-window", "All your gates come from the same k channels. The window moves with the channel.",
                gate_from(same_window)),
        Mistake("along-batch",
                "Your kernel slides over the images of the batch. It slides over the channels of each image.",
                gate_from(along_batch)),
        Mistake("axes-swapped",
                "Your convolution got (B, C, 1): for it that is C channels of length 1, which fits only where C is 1. "
                "It wants (B, 1, C).",
                gate_from(lambda z, w: F.conv1d(z[..., None], w.view(1, 1, -1), padding=len(w) // 2)[..., 0])),
        Mistake("averaged-batch", "You averaged over the batch. Each image has its own gates.",
                gate_from(lambda z, w: logits(z.mean(0, keepdim=True), w)),
                gate_from(lambda z, w: logits(z.mean(0, keepdim=True), w).expand_as(z))),
        Mistake("softmax", "You took a softmax: your gates compete. ECA takes a sigmoid for each channel alone.",
                lambda z, w: logits(z, w).softmax(1), lambda z, w: logits(z, w).softmax(0)),
        Mistake("normalised-weights", "You put the weights through a softmax. They are used as they are.",
                gate_from(lambda z, w: logits(z, w.softmax(0))), gate_from(lambda z, w: logits(z, w / w.sum()))),
        Mistake("averaged-window", "You divided by k. The window is a weighted sum, not a mean.",
                gate_from(lambda z, w: logits(z, w / len(w)))),
        Mistake("sigmoid-twice", "You took the sigmoid twice: all gates end up between 0.5 and 0.73.",
                lambda z, w: logits(z, w).sigmoid().sigmoid()),
        Mistake("relu-before-sigmoid", "There is a ReLU before the sigmoid: no gate can fall below 0.5.",
                gate_from(lambda z, w: logits(z, w).relu())),
        Mistake("other-gate", "You took another function than the sigmoid at the end.",
                lambda z, w: logits(z, w).tanh(), lambda z, w: logits(z, w).relu()),
        Mistake("sigmoid-first", "You took the sigmoid of z before the convolution. It comes last.",
                lambda z, w: logits(z.sigmoid(), w)),
        Mistake("multiplied-by-input", "You returned z · s. Return the gates s; scaling x comes later.",
                lambda z, w: z * logits(z, w).sigmoid()),
        Mistake("kept-axis", "The values are right, but an axis too many is there. The result is (B, C).",
                lambda z, w: logits(z, w).sigmoid()[:, None], lambda z, w: logits(z, w).sigmoid()[..., None],
                lambda z, w: logits(z, w).sigmoid()[:, :, None, None]),
        Mistake("lost-batch", "A plain `squeeze()` drops every axis of length 1, the batch of one image too. Name the "
                              "axis.",
                lambda z, w: logits(z, w).sigmoid().squeeze()),
        Mistake("detached", "You cut the gates off from z or from the weights: no gradient can flow back.",
                lambda z, w: logits(z.detach(), w).sigmoid(), lambda z, w: logits(z, w.detach()).sigmoid()),
    ),
    hints=(
        "`F.conv1d` wants (batch, channels in, length). Here the *channels of the map* are the length. Which axis is "
        "missing in z, and which two in w?",
        "z becomes (B, 1, C) and w (1, 1, k). Pad k // 2 zeros at each end, so that C gates come out. Then take the "
        "axis away again, and the sigmoid.",
        "`F.conv1d(z[:, None], w[None, None], padding=len(w) // 2)` is (B, 1, C). Index its middle axis away with "
        "`[:, 0]` and take `.sigmoid()`.",
    ),
    tested="values with k = 1, 3 and 5, k above C, unsymmetric kernels, one image and several, float64; gradients of z "
           "and of w; inputs unchanged",
)

# --- block -----------------------------------------------------------------------------------------------------------


def refuse(block: nn.Module) -> None:
    if not any(p.numel() for p in block.parameters()):
        raise Problem("no-parameters",
                      "Your block has 0 parameters, so nothing in it can be trained. Make the weights an nn.Parameter, "
                      "or register the layer: `self.conv = ...` itself, not a list that holds it.")


def fill(block: nn.Module, *_: int) -> None:
    """The same numbers in the order of the parameters, however they are cut into tensors."""
    parameters = list(block.parameters())
    sizes = [p.numel() for p in parameters]
    for p, numbers in zip(parameters, randn(sum(sizes), seed=100 + sum(sizes)).split(sizes)):
        p.copy_(numbers.view(p.shape))


your_block = BlockCases(
    own=ECA,
    ready=ECA,
    used=("used-eca", "Your block is made of the course's ECA. Build it yourself."),
    fill=fill,
    count="The block has another number of parameters than k.",
    refuse=refuse,
)


class Variant(nn.Module):
    """ECA with one thing wrong: each argument is the right part unless a mistake replaces it."""

    def __init__(self, channels, kernel_size=None, *, size=lambda C, k: eca_kernel_size(C) if k is None else k,
                 bias=False, pool=lambda x: x.mean((2, 3)), pad=lambda k: k // 2, outer=torch.sigmoid, detach=False,
                 mode="zeros", apply=lambda x, s: x * s[:, :, None, None], norm=False):
        super().__init__()
        k = size(channels, kernel_size)
        self.conv = nn.Conv1d(1, 1, k, padding=pad(k), bias=bias, padding_mode=mode)
        self.norm = nn.BatchNorm1d(1) if norm else nn.Identity()
        self.pool, self.outer, self.detach, self.apply_gate = pool, outer, detach, apply

    def forward(self, x):
        s = self.outer(self.norm(self.conv(self.pool(x)[:, None]))[:, 0])
        return self.apply_gate(x, s.detach() if self.detach else s)


class ChannelsInConv(nn.Module):
    """The channels as the channels of the Conv1d, over a sequence of length 1: only the kernel's middle meets them."""

    def __init__(self, channels, kernel_size=None, groups=lambda C: 1):
        super().__init__()
        k = eca_kernel_size(channels) if kernel_size is None else kernel_size
        self.conv = nn.Conv1d(channels, channels, k, padding=k // 2, bias=False, groups=groups(channels))

    def forward(self, x):
        return x * self.conv(x.mean((2, 3))[..., None]).sigmoid()[..., None]


class OverBatch(nn.Module):
    """The batch as the sequence."""

    def __init__(self, channels, kernel_size=None):
        super().__init__()
        k = eca_kernel_size(channels) if kernel_size is None else kernel_size
        self.conv = nn.Conv1d(1, 1, k, padding=k // 2, bias=False)

    def forward(self, x):
        return x * self.conv(x.mean((2, 3)).T[:, None])[:, 0].T.sigmoid()[:, :, None, None]


class AxesSwapped(Variant):
    """(B, C, 1) given to a Conv1d of one channel: works for C = 1 alone."""

    def forward(self, x):
        return x * self.conv(x.mean((2, 3))[:, :, None]).sigmoid()[..., None]


variant = variants(Variant)

block = Exercise(
    id="eca.block",
    title="Build the block",
    reference=ECA,
    cases=(
        your_block.parameters(32, kernel_size=3),
        your_block.output(tensor([[[[1]], [[-2]]]]), 2, kernel_size=1),
        your_block.output(tensor([[[[1, 3]]]]), 1, kernel_size=3),
        your_block.output(tensor([[[[1, 3]], [[-2, 0]], [[0, 1]]]]), 3, kernel_size=3),
        your_block.output(tensor([[[[1, 3]], [[-2, 0]]], [[[2, 0]], [[1, 1]]]]), 2, kernel_size=3),
        your_block.output(randn(1, 7, 4, 3, seed=1), 7, kernel_size=5),
        your_block.output(randn(3, 8, 3, 5, seed=2), 8),
        your_block.output(randn(2, 8, 7, 7, seed=3), 8, kernel_size=3),
        your_block.output(randn(2, 8, 8, 8, seed=4), 8, kernel_size=5),
        your_block.output(randn(2, 128, 1, 2, seed=5), 128),
        your_block.output(randn(2, 6, 9, 16, seed=6).double(), 6, kernel_size=3),
        your_block.output(randn(8, 8, 2, 2, seed=7), 8, kernel_size=3),
        your_block.parameters(16, kernel_size=9),
        your_block.parameters(4),
        your_block.parameters(64),
        your_block.parameters(2048),
        your_block.gradients(randn(4, 8, 3, 5, seed=8), 8, kernel_size=3),
        your_block.modes(randn(4, 8, 3, 3, seed=9), 8, kernel_size=3, cause="mode-dependent",
                         message="Training and evaluation mode give different outputs. ECA does the same in both."),
        your_block.alone(randn(4, 8, 3, 3, seed=10), 8, kernel_size=3),
        your_block.dtype(randn(2, 8, 3, 5, seed=11), 8, kernel_size=3),
    ),
    mistakes=(
        Mistake("kernel-size-ignored", "Your kernel has a fixed size: use `kernel_size`.",
                *(variant(size=lambda C, k, n=n: n) for n in (1, 3, 5, 7))),
        Mistake("default-not-adaptive",
                "With `kernel_size=None` your kernel has a fixed size. Compute it from the channels with "
                "`eca_kernel_size`.",
                *(variant(size=lambda C, k, n=n: n if k is None else k) for n in (1, 3, 5, 7))),
        Mistake("default-at-least-3", "Your computed k never goes below 3, as in timm. The formula gives 1 below 8.",
                variant(size=lambda C, k: max(3, eca_kernel_size(C)) if k is None else k)),
        Mistake("always-adaptive", "You compute k always. If `kernel_size` is given, that is k.",
                variant(size=lambda C, k: eca_kernel_size(C))),
        Mistake("with-bias", "Your convolution has a bias. ECA has none: pass `bias=False`.", variant(bias=True)),
        Mistake("no-padding",
                "Without padding fewer than C gates come out. Pad k // 2 zeros at each end.",
                variant(pad=lambda k: 0)),
        Mistake("fixed-padding", "Your padding does not follow k. It is k // 2 at each end.",
                *(variant(pad=lambda k, n=n: n) for n in (1, 2))),
        Mistake("padding-k", "You padded too much. It is k // 2 at each end.",
                variant(pad=lambda k: k), variant(pad=lambda k: k - 1)),
        Mistake("circular", "Your window wraps around: the first channel sees the last. ECA pads with zeros.",
                variant(mode="circular")),
        Mistake("repeated-ends", "You repeated the end channels beyond the end. ECA pads with zeros.",
                variant(mode="replicate")),
        Mistake("channels-in-conv",
                "Your Conv1d has C channels and slides over a sequence of length 1. In ECA the channels *are* the "
                "sequence: one channel in, one out, length C.",
                ChannelsInConv, partial(ChannelsInConv, groups=lambda C: C)),
        Mistake("axes-swapped",
                "Your convolution got (B, C, 1): for it that is C channels of length 1. It wants (B, 1, C).",
                AxesSwapped),
        Mistake("along-batch", "Your kernel slides over the images of the batch. It slides over the channels.",
                OverBatch),
        Mistake("no-sigmoid",
                "The sigmoid is missing, as in the paper's listing: your gates leave the interval (0, 1).",
                variant(outer=identity)),
        Mistake("softmax", "You took a softmax over the channels. ECA takes a sigmoid for each channel alone.",
                variant(outer=partial(torch.softmax, dim=1))),
        Mistake("relu-before-sigmoid", "There is a ReLU before the sigmoid: no gate can fall below 0.5.",
                variant(outer=lambda s: s.relu().sigmoid())),
        Mistake("other-gate", "You took another function than the sigmoid.", variant(outer=torch.tanh),
                variant(outer=torch.relu)),
        *gate_mistakes(variant, "ECA"),
        Mistake("added-input",
                "You added x to the scaled map: that is x · (1 + s). ECA returns x · s; the shortcut belongs to the "
                "network around it.",
                variant(apply=lambda x, s: x + x * s[:, :, None, None])),
        Mistake("wrong-axis", "Your gates, (B, C), landed on H and W. Give them two more axes before you multiply.",
                variant(apply=lambda x, s: x * s), variant(apply=lambda x, s: x * s[..., None])),
        Mistake("channels-on-the-last-axis",
                "Your gates are (B, 1, C), as the convolution gives them. Take the 1 away with `[:, 0]`, and give them "
                "two axes behind before you multiply.",
                variant(apply=lambda x, s: x * s[:, None]), variant(apply=lambda x, s: x * s[:, None, :, None]),
                variant(apply=lambda x, s: x * s[:, None, None]),
                variant(apply=lambda x, s: x * s[:, None][:, :, None, None])),
        Mistake("fixed-size", "Your pooling fits one size of map only. `x.mean((2, 3))` fits all.",
                *(variant(pool=pool) for pool in FIXED_SIZE_MEANS)),
        Mistake("batch-norm", "There is a BatchNorm inside. ECA has none: its gate must not depend on the batch.",
                variant(norm=True)),
        Mistake("lost-batch",
                "A plain `squeeze()` drops every axis of length 1, the batch of one image too. Name the axes.",
                variant(pool=lost_batch)),
    ),
    hints=(
        "You have written both parts: the kernel size and the gate. Here the k weights live in the module.",
        "`__init__` makes an `nn.Conv1d` with one channel in and one out, k wide, padding k // 2, no bias. `forward` "
        "takes the mean over space, slides, takes the sigmoid and scales x.",
        "`k = eca_kernel_size(channels) if kernel_size is None else kernel_size`. In `forward`: "
        "`self.conv(x.mean((2, 3))[:, None])` is (B, 1, C); the sigmoid of its `[:, 0]`, with two more axes, times x.",
    ),
    tested="values with copied weights on 11 maps: k given and computed, k above C, non-square, 1×1, one image and "
           "several, odd channel counts, float64; k parameters; gradients of x and of the weights; the same in train "
           "and eval, alone and in a batch",
)

# --- unshared --------------------------------------------------------------------------------------------------------


class Unshared(nn.Module):
    """ECA in which channel c has k weights of its own, row c. Each argument is right unless a mistake replaces it."""

    def __init__(self, channels, kernel_size=3, *, shape=lambda C, k: (C, k), mode="constant",
                 rows=lambda weight: weight, mix=lambda windows, weight: (windows * weight).sum(2),
                 pool=lambda x: x.mean((2, 3)), outer=torch.sigmoid, bias=False, detach=False,
                 apply=lambda x, s: x * s[:, :, None, None], offset=0, pad=True):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(shape(channels, kernel_size)))
        self.bias = nn.Parameter(torch.zeros(channels)) if bias else 0
        self.k, self.mode, self.rows, self.mix, self.offset = kernel_size, mode, rows, mix, offset
        self.pool, self.outer, self.apply_gate, self.detach, self.pad = pool, outer, apply, detach, pad

    def forward(self, x):
        half = self.k // 2 if self.pad else 0
        z = F.pad(self.pool(x)[:, None], (half - self.offset, half + self.offset), self.mode)[:, 0]
        s = self.outer(self.mix(z.unfold(1, self.k, 1), self.rows(self.weight)) + self.bias)
        return self.apply_gate(x, s.detach() if self.detach else s)


class FullMatrix(nn.Module):
    """C · C weights: every gate sees every channel."""

    def __init__(self, channels, kernel_size=3):
        super().__init__()
        self.fc = nn.Linear(channels, channels, bias=False)

    def forward(self, x):
        return x * self.fc(x.mean((2, 3))).sigmoid()[:, :, None, None]


class Grouped(nn.Module):
    """A depthwise Conv1d over a sequence of length 1: k · C weights, of which only the middle ones meet a channel."""

    def __init__(self, channels, kernel_size=3):
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, kernel_size, padding=kernel_size // 2, groups=channels, bias=False)

    def forward(self, x):
        return x * self.conv(x.mean((2, 3))[..., None]).sigmoid()[..., None]


your_unshared = replace(your_block, count="The block has another number of parameters than k · C.")
unshared_with = variants(Unshared)

unshared = Exercise(
    id="eca.unshared",
    title="A kernel of its own for every channel",
    reference=Unshared,
    cases=(
        your_unshared.parameters(8, 3),
        your_unshared.output(tensor([[[[1]], [[-2]]]]), 2, 1),
        your_unshared.output(tensor([[[[1, 3]], [[-2, 0]], [[0, 1]]]]), 3, 3),
        your_unshared.output(tensor([[[[1, 3]], [[-2, 0]]], [[[2, 0]], [[1, 1]]]]), 2, 3),
        your_unshared.output(randn(1, 7, 4, 3, seed=1), 7, 5),
        your_unshared.output(randn(3, 5, 3, 5, seed=2), 5, 5),
        your_unshared.output(randn(2, 8, 7, 7, seed=3).double(), 8, 3),
        your_unshared.output(randn(4, 9, 2, 2, seed=4), 9, 1),
        your_unshared.parameters(64, 5),
        your_unshared.parameters(3, 1),
        your_unshared.gradients(randn(4, 6, 3, 5, seed=8), 6, 3),
        your_unshared.dtype(randn(2, 6, 3, 5, seed=9), 6, 3),
    ),
    mistakes=(
        Mistake("shared", "All channels share the same k weights: that is ECA itself. Here each has its own row.",
                unshared_with(shape=lambda C, k: (k,)), unshared_with(rows=lambda weight: weight[:1]),
                unshared_with(rows=lambda weight: weight.mean(0, keepdim=True))),
        Mistake("all-rows",
                "Each window was multiplied by all rows: `windows @ weight.T` is (B, C, C). It needs its own row only.",
                unshared_with(mix=lambda windows, weight: windows @ weight.T),
                unshared_with(mix=lambda windows, weight: (windows @ weight.T).sum(2))),
        Mistake("full-matrix", "Every gate sees every channel: C · C weights. Here each sees its k neighbours.",
                FullMatrix),
        Mistake("own-mean-only",
                "A Conv1d with `groups=channels` over a sequence of length 1 meets only each channel's own mean; the "
                "other weights meet the padding. Make windows of neighbours first: `unfold`.",
                Grouped, unshared_with(shape=lambda C, k: (C, 1),
                                       mix=lambda windows, w: windows[..., windows.shape[2] // 2] * w[:, 0])),
        Mistake("transposed-weights",
                "Your weights are (k, C). The exercise asks for (C, k): row c belongs to channel c.",
                unshared_with(shape=lambda C, k: (k, C), rows=lambda weight: weight.T)),
        Mistake("kernel-flipped", "Your rows run backwards: the first weight of row c meets the channel before c.",
                unshared_with(rows=lambda weight: weight.flip(1))),
        Mistake("rows-reversed", "Your rows are in reverse order: row 0 belongs to channel 0.",
                unshared_with(rows=lambda weight: weight.flip(0))),
        Mistake("circular", "Your window wraps around: the first channel sees the last. Pad with zeros.",
                unshared_with(mode="circular")),
        Mistake("repeated-ends", "You repeated the end channels beyond the end. Pad with zeros.",
                unshared_with(mode="replicate")),
        Mistake("no-padding", "Without padding there are fewer than C windows. Pad k // 2 zeros at each end.",
                unshared_with(pad=False)),
        Mistake("padding-one-side", "Your windows hang to one side of their channel. Put k // 2 zeros at each end.",
                *(unshared_with(offset=n) for n in (-2, -1, 1, 2)),
                lambda C, k=3: Unshared(C, k, offset=k // 2), lambda C, k=3: Unshared(C, k, offset=-(k // 2))),
        Mistake("no-sigmoid", "The sigmoid is missing: your gates leave the interval (0, 1).",
                unshared_with(outer=identity)),
        Mistake("softmax", "You took a softmax. Each gate is a sigmoid of its own.",
                unshared_with(outer=partial(torch.softmax, dim=1))),
        Mistake("with-bias", "There is a bias. The block has k · C weights and nothing more.",
                unshared_with(bias=True)),
        Mistake("averaged-window", "You averaged over the window. It is a weighted sum: no division by k.",
                unshared_with(mix=lambda windows, weight: (windows * weight).mean(2))),
        *gate_mistakes(unshared_with, "ECA"),
    ),
    hints=(
        "In the chapter the windows were a tensor of their own, (B, C, k). What do you multiply them by now?",
        "Make an `nn.Parameter` of shape (C, k). Multiply the windows by it: broadcasting gives every image the same "
        "weights and every channel its own row. Sum over the last axis.",
        "`F.pad(z, (k // 2, k // 2)).unfold(1, k, 1)` is (B, C, k). The gates are the sigmoid of "
        "`(windows * self.weight).sum(2)`.",
    ),
    tested="values with copied weights on 7 maps with k = 1, 3 and 5, k above C, one image and several, float64; k · C "
           "parameters; gradients of x and of the weights",
)
