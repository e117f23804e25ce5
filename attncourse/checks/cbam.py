"""Checkers of chapter 05: the second gate, the three arrangements, the whole block, and what it costs."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from attncourse.cam_sam import ChannelAttention, SpatialAttention
from attncourse.cbam import ARRANGEMENTS, CBAM
from attncourse.checks.blocks import BlockCases, fill_norms, identity, lost_batch, two_layers, variants
from attncourse.checks.cases import call, describe, error_of, gradients_of, randn, tensor, values
from attncourse.checks.engine import Case, Exercise, Mistake

# --- two gates that are easy to follow by hand -----------------------------------------------------------------------


def toy_channel(t):
    return t.mean((2, 3), keepdim=True)


def toy_spatial(t):
    return t.amax(1, keepdim=True)


TOY = "channel(t) = t.mean((2, 3), keepdim=True), spatial(t) = t.amax(1, keepdim=True)"


def toy(x: Tensor, **more: str) -> Case:
    shown = "".join(f", {name} = {value!r}" for name, value in more.items())
    return Case(f"{describe(x=x)}, {TOY}{shown}",
                lambda answer: call(answer, x=x, channel=toy_channel, spatial=toy_spatial, **more))


def real(x: Tensor, **more: str) -> Case:
    """The gates of a channel and of a spatial attention with fresh weights."""
    def probe(answer: Callable) -> object:
        channel = ChannelAttention(x.shape[1], reduction=2).to(x.dtype)  # seeded by the engine before each probe
        spatial = SpatialAttention(3, norm=False).to(x.dtype)
        return call(answer, x=x, channel=channel.attention, spatial=spatial.attention, **more)
    shown = "".join(f", {name} = {value!r}" for name, value in more.items())
    return Case(f"the gates of a real CAM and SAM, {describe(x=x)}{shown}", probe)


def real_gradients(**more: str) -> Case:
    def probe(answer: Callable) -> list[Tensor]:
        channel, spatial = ChannelAttention(4, reduction=2), SpatialAttention(3, norm=False)
        x = randn(2, 4, 3, 5, seed=7).requires_grad_()
        leaves = [x, *channel.parameters(), *spatial.parameters()]
        return gradients_of(answer(x, channel.attention, spatial.attention, *more.values()), leaves)
    return Case("the gradients of x and of both gates' weights", probe, "wrong-gradient",
                "The values are right, but not every gradient is: something cuts it (`detach`, `.data`, `no_grad`).")


SMALL = tensor([1, 3, 0, 8]).view(1, 2, 1, 2)
COLUMN = tensor([1, 2, -1, 0, 4, 0.5]).view(1, 2, 3, 1)

# --- second_gate -----------------------------------------------------------------------------------------------------


def channel_then_spatial(x, channel, spatial):
    y = x * channel(x)
    return y * spatial(y)


def after_first(formula: Callable) -> Callable:
    """A wrong last line, a formula of x, the gated map y, and both gates."""
    return lambda x, channel, spatial: formula(x, x * channel(x), channel, spatial)


second_gate = Exercise(
    id="cbam.second_gate",
    title="Apply the second gate",
    reference=channel_then_spatial,
    cases=(
        toy(SMALL),
        toy(COLUMN),
        real(randn(2, 4, 5, 3, seed=1)),
        real(randn(1, 6, 1, 1, seed=2)),
        real(randn(3, 4, 4, 4, seed=3).double()),
        real_gradients(),
    ),
    mistakes=(
        Mistake("gate-from-input",
                "Your second gate looks at x. It looks at y, at what the first gate let through: that is what makes "
                "the two a sequence.",
                after_first(lambda x, y, channel, spatial: y * spatial(x))),
        Mistake("first-gate-lost", "You scaled x by the second gate: the first gate is lost. Scale y.",
                after_first(lambda x, y, channel, spatial: x * spatial(y))),
        Mistake("spatial-only", "There is no trace of the first gate: you used x twice. Use y twice.",
                lambda x, channel, spatial: x * spatial(x)),
        Mistake("returned-gate", "You returned the second gate. Return y scaled by it.",
                after_first(lambda x, y, channel, spatial: spatial(y)),
                after_first(lambda x, y, channel, spatial: spatial(x)),
                after_first(lambda x, y, channel, spatial: spatial(y).expand_as(x))),
        Mistake("returned-whole-gate", "You returned the product of the gates. Return the map scaled by it.",
                after_first(lambda x, y, channel, spatial: channel(x) * spatial(y))),
        Mistake("second-gate-missing", "You returned y: the second gate is missing.",
                after_first(lambda x, y, channel, spatial: y)),
        Mistake("channel-twice", "You applied the channel gate a second time. The second gate is `spatial`.",
                after_first(lambda x, y, channel, spatial: y * channel(y)),
                after_first(lambda x, y, channel, spatial: y * channel(x))),
        Mistake("added-gate", "You added the gate. A gate scales: multiply.",
                after_first(lambda x, y, channel, spatial: y + spatial(y))),
        Mistake("added-input",
                "You added the map to its gated copy: that is y · (1 + gate). CBAM returns the product alone; the "
                "shortcut belongs to the network around it.",
                after_first(lambda x, y, channel, spatial: y + y * spatial(y)),
                after_first(lambda x, y, channel, spatial: x + y * spatial(y))),
        Mistake("gate-of-gate",
                "You gave the first gate itself to `spatial`. It wants a map: y, what that gate let through.",
                after_first(lambda x, y, channel, spatial: y * spatial(channel(x))),
                after_first(lambda x, y, channel, spatial: y * spatial(channel(x).expand_as(x)))),
        Mistake("spatial-first", "You applied the spatial gate first. Here the channel gate comes first.",
                lambda x, channel, spatial: channel_then_spatial(x, spatial, channel)),
        Mistake("gates-added", "You added the two gates. CBAM multiplies by one after the other.",
                after_first(lambda x, y, channel, spatial: x * (channel(x) + spatial(y))),
                after_first(lambda x, y, channel, spatial: y + x * spatial(y)),
                after_first(lambda x, y, channel, spatial: y + x * spatial(x))),
        Mistake("input-twice", "You multiplied by x once more. y holds x already.",
                after_first(lambda x, y, channel, spatial: x * y * spatial(y))),
        Mistake("detached", "You cut y off before the second gate: no gradient flows back through that gate.",
                after_first(lambda x, y, channel, spatial: y * spatial(y.detach())),
                after_first(lambda x, y, channel, spatial: y.detach() * spatial(y)),
                after_first(lambda x, y, channel, spatial: y * spatial(y).detach())),
    ),
    hints=(
        "Which map does the second gate look at, and which map does it scale?",
        "y is what the first gate let through. From here on, x is no longer needed.",
        "`spatial(y)` is the gate, (B, 1, H, W). The line is `return y * ...`.",
    ),
    tested="two maps worked by hand; the gates of a real CAM and SAM on one image and several, non-square, 1×1, "
           "float64; the gradients of x and of all weights; x unchanged",
)

# --- arrange ---------------------------------------------------------------------------------------------------------


def arranged(x, channel, spatial, arrangement):
    if arrangement == "channel-first":
        return channel_then_spatial(x, channel, spatial)
    if arrangement == "spatial-first":
        return channel_then_spatial(x, spatial, channel)
    if arrangement == "parallel":
        return x * channel(x) * spatial(x)
    raise ValueError(f"unknown arrangement {arrangement!r}")


def replacing(**wrong: Callable) -> Callable:
    """arrange() with some arrangements, "_" for "-", replaced by wrong formulas of x, channel and spatial."""
    def arrange(x, channel, spatial, arrangement):
        formula = wrong.get(arrangement.replace("-", "_"))
        return formula(x, channel, spatial) if formula else arranged(x, channel, spatial, arrangement)
    return arrange


def as_if(**others: str) -> Callable:
    """arrange() with some arrangements taken for others."""
    return lambda x, channel, spatial, arrangement: arranged(
        x, channel, spatial, others.get(arrangement.replace("-", "_"), arrangement))


def both(formula: Callable) -> dict[str, Callable]:
    """The same slip in both sequences; the formula is of x, the first and the second gate."""
    return {"channel_first": formula, "spatial_first": lambda x, channel, spatial: formula(x, spatial, channel)}


def without_error(last: str) -> Callable:
    return lambda x, channel, spatial, arrangement: arranged(
        x, channel, spatial, arrangement if arrangement in ARRANGEMENTS else last)


def unknown_arrangement(answer: Callable) -> str:
    return error_of(lambda: answer(SMALL.clone(), toy_channel, toy_spatial, "diagonal"))


def other_error(x, channel, spatial, arrangement):
    if arrangement not in ARRANGEMENTS:
        raise KeyError(arrangement)
    return arranged(x, channel, spatial, arrangement)


arrange = Exercise(
    id="cbam.arrange",
    title="Three ways to arrange two gates",
    reference=arranged,
    cases=(
        *(toy(SMALL, arrangement=name) for name in ARRANGEMENTS),
        *(toy(COLUMN, arrangement=name) for name in ARRANGEMENTS),
        *(real(randn(2, 4, 5, 3, seed=1), arrangement=name) for name in ARRANGEMENTS),
        *(real(randn(1, 6, 1, 4, seed=2).double(), arrangement=name) for name in ARRANGEMENTS),
        *(real_gradients(arrangement=name) for name in ARRANGEMENTS),
        Case("arrangement = 'diagonal'", unknown_arrangement, "unknown-arrangement",
             "An unknown arrangement must raise a ValueError: a typing error would otherwise train the wrong network."),
    ),
    mistakes=(
        Mistake("swapped-orders",
                'You swapped the orders: "channel-first" applies the channel gate before the spatial one looks.',
                as_if(channel_first="spatial-first", spatial_first="channel-first")),
        Mistake("always-channel-first", 'You return "channel-first" whatever `arrangement` says.',
                as_if(spatial_first="channel-first", parallel="channel-first"),
                lambda x, channel, spatial, arrangement: arranged(x, channel, spatial, "channel-first")),
        Mistake("spatial-as-channel-first", 'Your "spatial-first" is the channel-first order.',
                as_if(spatial_first="channel-first")),
        Mistake("channel-as-spatial-first", 'Your "channel-first" is the spatial-first order.',
                as_if(channel_first="spatial-first")),
        Mistake("parallel-as-sequence",
                'Your "parallel" is a sequence: its second gate sees what the first let through. In parallel both see '
                "x.",
                as_if(parallel="channel-first"), as_if(parallel="spatial-first")),
        Mistake("gate-from-input",
                "In a sequence, the second gate must look at what the first one let through. Yours looks at x, which "
                "is the parallel arrangement.",
                as_if(channel_first="parallel", spatial_first="parallel"), as_if(channel_first="parallel"),
                as_if(spatial_first="parallel"),
                lambda x, channel, spatial, arrangement: arranged(x, channel, spatial, "parallel")),
        Mistake("first-gate-lost", "In a sequence you scale x by the second gate alone: the first one is lost.",
                replacing(**both(lambda x, first, second: x * second(x * first(x)))),
                replacing(spatial_first=lambda x, channel, spatial: x * channel(x * spatial(x))),
                replacing(channel_first=lambda x, channel, spatial: x * spatial(x * channel(x)))),
        Mistake("gate-of-gate",
                "You gave the first gate itself to the second. It wants a map: x times the first gate.",
                replacing(**both(lambda x, first, second: x * first(x) * second(first(x)))),
                replacing(**both(lambda x, first, second: x * first(x) * second(first(x).expand_as(x))))),
        Mistake("gates-added", 'In "parallel" you added the gates, or the two gated maps. Multiply by both.',
                replacing(parallel=lambda x, channel, spatial: x * (channel(x) + spatial(x)))),
        Mistake("gates-averaged", 'In "parallel" you averaged the gates. Multiply by both.',
                replacing(parallel=lambda x, channel, spatial: x * (channel(x) + spatial(x)) / 2)),
        Mistake("sigmoid-of-sum",
                'In "parallel" you added the gates and took a sigmoid: that is close to BAM, the next chapter. Here '
                "the product of the gates scales x.",
                replacing(parallel=lambda x, channel, spatial: x * (channel(x) + spatial(x)).sigmoid())),
        Mistake("input-twice", 'In "parallel" you multiplied two gated maps: x is in both. Multiply the gates.',
                replacing(parallel=lambda x, channel, spatial: x * channel(x) * (x * spatial(x)))),
        Mistake("added-input",
                "You added x to the result. CBAM returns the product alone; the shortcut belongs to the network.",
                lambda x, *rest: x + arranged(x, *rest)),
        Mistake("returned-gate", "You returned gates. Return x scaled by them.",
                replacing(parallel=lambda x, channel, spatial: channel(x) * spatial(x)),
                replacing(**both(lambda x, first, second: first(x) * second(x * first(x))),
                          parallel=lambda x, channel, spatial: channel(x) * spatial(x))),
        Mistake("unknown-arrangement-accepted",
                "An unknown arrangement went through your last `else`. Name all three, and raise a ValueError after.",
                *(without_error(name) for name in ARRANGEMENTS)),
        Mistake("unknown-arrangement", "An unknown arrangement must raise a ValueError, not another error.",
                other_error),
        Mistake("detached", "You cut a map or a gate off (`detach`, `.data`): no gradient flows back through it.",
                lambda x, channel, spatial, arrangement: arranged(
                    x, lambda t: channel(t.detach()), lambda t: spatial(t.detach()), arrangement),
                lambda x, channel, spatial, arrangement: arranged(
                    x, lambda t: channel(t).detach(), lambda t: spatial(t).detach(), arrangement)),
    ),
    hints=(
        "Write down for each arrangement which map each of the two gates looks at.",
        "Channel first: spatial looks at x · channel(x). Spatial first: the other way round. Parallel: both look at x, "
        "and x is multiplied by both.",
        'Exercise 1 is "channel-first"; for "spatial-first" swap the two functions. "parallel" is `x * channel(x) * '
        "...`. End with `raise ValueError(...)`.",
    ),
    tested="all three arrangements on maps worked by hand and with a real CAM and SAM, non-square, one image and "
           "several, float64; gradients; an unknown arrangement",
)

# --- block -----------------------------------------------------------------------------------------------------------


def fill(block: nn.Module, channels: int) -> None:
    for p in block.parameters():
        spatial = p.ndim == 4 and p.shape[-1] > 1
        p.copy_(randn(*p.shape, seed=300) if spatial else two_layers(p, channels))
    fill_norms(block, weight=1.5, bias=-0.25, mean=0.2, variance=0.7)


your_block = BlockCases(
    own=CBAM,
    ready=(CBAM, ChannelAttention, SpatialAttention),
    used=("used-ready-parts", "Your block is made of the course's own classes. Build it from nn.Linear, nn.Conv2d and "
                              "nn.BatchNorm2d."),
    fill=fill,
    count="The block has another number of parameters than 2·C·c' + C + c' + 2·k² + 2, c' = max(1, C // r).",
)


def space_mean(x):
    return x.mean((2, 3))


def space_max(x):
    return x.amax((2, 3))


def channel_mean(x):
    return x.mean(1, keepdim=True)


def channel_max(x):
    return x.amax(1, keepdim=True)


def sum_of_logits(mlps, squeezed, outer):
    return outer(sum(mlp(z) for mlp, z in zip(mlps, squeezed)))


class Variant(nn.Module):
    """CBAM with something wrong: each argument is the right part unless a mistake replaces it."""

    def __init__(self, channels, reduction=16, kernel_size=7, *, hidden=lambda C, r: max(1, C // r), bias=True,
                 layer=nn.Linear, shared=True, pools=(space_mean, space_max), inner=torch.relu, outer=torch.sigmoid,
                 join=sum_of_logits, stack=(channel_mean, channel_max), kernel=identity, padding=lambda k: k // 2,
                 conv_bias=False, norm=True, spatial_inner=identity, spatial_outer=torch.sigmoid,
                 apply=channel_then_spatial):
        super().__init__()
        self.inner, self.outer, self.pools, self.join, self.stack = inner, outer, pools, join, stack
        self.spatial_inner, self.spatial_outer, self.apply_gates = spatial_inner, spatial_outer, apply
        width, k = hidden(channels, reduction), kernel(kernel_size)
        self.mlps = nn.ModuleList(
            nn.ModuleList([layer(channels, width, bias=bias), layer(width, channels, bias=bias)])
            for _ in range(1 if shared else len(pools)))
        self.conv = nn.Conv2d(len(stack), 1, k, padding=padding(k), bias=conv_bias)
        self.norm = nn.BatchNorm2d(1) if norm else nn.Identity()

    def channel(self, x):
        mlps = [lambda z, pair=pair: pair[1](self.inner(pair[0](z))) for pair in self.mlps]
        mlps = mlps * (len(self.pools) // len(mlps))
        return self.join(mlps, [pool(x) for pool in self.pools], self.outer)[:, :, None, None]

    def spatial(self, x):
        stack = torch.cat([pool(x) for pool in self.stack], 1)
        return self.spatial_outer(self.spatial_inner(self.norm(self.conv(stack))))

    def forward(self, x):
        return self.apply_gates(x, self.channel, self.spatial)


class ChannelOnly(Variant):
    """The spatial half was never written, so it has no parameters either."""

    def __init__(self, *arguments, **wrong):
        super().__init__(*arguments, **wrong, apply=lambda x, channel, spatial: x * channel(x))
        del self.conv, self.norm


class SpatialOnly(Variant):
    def __init__(self, *arguments, **wrong):
        super().__init__(*arguments, **wrong, apply=lambda x, channel, spatial: x * spatial(x))
        del self.mlps


class Conv1x1(nn.Conv2d):
    """A 1×1 convolution on a squeezed map (B, C), as many ports have it. Without units it fails; Linear does not."""

    def __init__(self, inputs, outputs, bias):
        super().__init__(inputs, outputs, 1, bias=bias)

    def forward(self, z):
        return super().forward(z[:, :, None, None])[:, :, 0, 0]


variant = variants(Variant)


def floor_width(channels, reduction):
    return channels // reduction


def padding_of_7_or_3(kernel_size):
    return 3 if kernel_size == 7 else 1


def lost_batch_max(x):
    return x.amax((2, 3), keepdim=True).squeeze()


block = Exercise(
    id="cbam.block",
    title="Build the block",
    reference=CBAM,
    cases=(
        your_block.output(tensor([[[[1]], [[-2]]]]), 2, reduction=2, kernel_size=3, mode=".eval()"),
        your_block.output(tensor([[[[1, 3]], [[-2, 0]]]]), 2, reduction=2, kernel_size=3, mode=".eval()"),
        your_block.output(tensor([[[[1], [3]], [[0.5], [0]], [[2], [-1]]]]), 3, reduction=16, kernel_size=3,
                          mode=".eval()"),
        your_block.output(randn(1, 7, 4, 3, seed=1), 7, reduction=3, kernel_size=5, mode=".eval()"),
        your_block.output(randn(2, 1, 3, 4, seed=5), 1, reduction=16, kernel_size=3, mode=".eval()"),
        your_block.output(randn(3, 8, 3, 5, seed=2), 8, reduction=4, kernel_size=7, mode=".eval()"),
        your_block.output(randn(2, 8, 9, 7, seed=3).double(), 8, reduction=2, kernel_size=9, mode=".eval()"),
        your_block.output(randn(2, 32, 2, 2, seed=6), 32, reduction=4, kernel_size=3, mode=".eval()"),
        your_block.output(randn(3, 8, 4, 4, seed=4), 8, reduction=2, kernel_size=3),
        your_block.parameters(32, reduction=16, kernel_size=7),
        your_block.parameters(32),
        your_block.parameters(64, reduction=4, kernel_size=3),
        your_block.parameters(7, reduction=2, kernel_size=5),
        your_block.parameters(3),
        your_block.gradients(randn(4, 8, 3, 5, seed=8), 8, reduction=2, kernel_size=3),
        your_block.modes(randn(4, 8, 3, 3, seed=9), 8, reduction=4, kernel_size=3, cause="mode-independent",
                         message="Training and evaluation mode give the same output. The BatchNorm after the "
                                 "convolution makes them differ."),
        your_block.alone(randn(4, 8, 3, 3, seed=10), 8, reduction=4, kernel_size=3, mode=".eval()"),
        your_block.dtype(randn(2, 8, 3, 5, seed=11), 8, reduction=2, kernel_size=3),
    ),
    mistakes=(
        Mistake("spatial-first", "You applied the spatial gate first. CBAM starts with the channel gate.",
                variant(apply=lambda x, channel, spatial: channel_then_spatial(x, spatial, channel))),
        Mistake("parallel", "Your spatial gate looks at x. It looks at what the channel gate let through.",
                variant(apply=lambda x, channel, spatial: x * channel(x) * spatial(x))),
        Mistake("gates-added", "You added the two gates. CBAM multiplies by one after the other.",
                variant(apply=lambda x, channel, spatial: x * (channel(x) + spatial(x))),
                variant(apply=lambda x, channel, spatial: x * (channel(x) + spatial(x * channel(x))))),
        Mistake("first-gate-lost", "You scaled x by the spatial gate: the channel gate's product is lost.",
                variant(apply=lambda x, channel, spatial: x * spatial(x * channel(x)))),
        Mistake("spatial-missing", "The spatial gate is missing: this is CAM alone.", ChannelOnly,
                variant(apply=lambda x, channel, spatial: x * channel(x))),
        Mistake("channel-missing", "The channel gate is missing: this is SAM alone.", SpatialOnly,
                variant(apply=lambda x, channel, spatial: x * spatial(x))),
        Mistake("added-input",
                "You added x to the result. CBAM returns the product alone; the shortcut belongs to the network.",
                variant(apply=lambda x, channel, spatial: x + channel_then_spatial(x, channel, spatial))),
        Mistake("returned-gate", "You returned a gate. Return x scaled by both.",
                variant(apply=lambda x, channel, spatial: channel(x) * spatial(x * channel(x))),
                variant(apply=lambda x, channel, spatial: spatial(x * channel(x)))),
        Mistake("two-mlps", "You have two MLPs, one for the mean and one for the maximum. CBAM shares one.",
                variant(shared=False)),
        Mistake("pools-before-mlp",
                "You added mean and maximum before the MLP. Each goes through it alone; the results are added.",
                variant(join=lambda mlps, squeezed, outer: outer(mlps[0](sum(squeezed))))),
        Mistake("sigmoid-before-sum",
                "You took the sigmoid of each result and then combined them. Add first, then one sigmoid.",
                variant(join=lambda mlps, squeezed, outer: sum(outer(mlps[0](z)) for z in squeezed)),
                variant(join=lambda mlps, squeezed, outer: sum(outer(mlps[0](z)) for z in squeezed) / 2)),
        Mistake("same-pool-twice", "You added the same result twice. One is of the mean, one of the maximum.",
                variant(pools=(space_mean, space_mean)), variant(pools=(space_max, space_max))),
        Mistake("one-pool", "Your channel gate uses one pooling. CBAM uses the mean and the maximum.",
                variant(pools=(space_mean,)), variant(pools=(space_max,))),
        Mistake("swapped-stack",
                "Your stack is [max, avg], as in the authors' code. This exercise follows the paper: [avg, max].",
                variant(stack=(channel_max, channel_mean))),
        Mistake("one-map", "Your spatial gate sees one map. It sees two: mean and maximum over the channels.",
                variant(stack=(channel_mean,)), variant(stack=(channel_max,))),
        Mistake("bare-equations",
                "Biases and BatchNorm are missing: that is the paper's equations to the letter. This exercise follows "
                "the authors' code: biases in the MLP, BatchNorm after the convolution.",
                variant(bias=False, norm=False)),
        Mistake("published-port",
                "This is a port that is found in many places, and in the slides. Against the authors' code it lacks "
                "the MLP's biases and the BatchNorm; beyond that its padding fits only the kernels 3 and 7, and with "
                "C below r no hidden unit is left.",
                *(variant(bias=False, norm=False, layer=layer, hidden=hidden, padding=padding_of_7_or_3)
                  for layer in (Conv1x1, nn.Linear) for hidden in (floor_width, lambda C, r: max(1, C // r)))),
        Mistake("authors-code",
                "This is the authors' code. The exercise asks for three things that it does not have: the stack [avg, "
                "max], a `kernel_size` that is used, and at least one hidden unit.",
                *(variant(stack=(channel_max, channel_mean), kernel=lambda k: 7, layer=layer, hidden=floor_width)
                  for layer in (nn.Linear, Conv1x1))),
        Mistake("wrong-axis",
                "Your channel gate, (B, C), landed on H and W. Give it two more axes before you multiply.",
                variant(apply=lambda x, c, s: channel_then_spatial(x, lambda t: c(t)[:, :, 0, 0], s))),
        Mistake("no-batch-norm", "The BatchNorm after the convolution is missing.", variant(norm=False),
                variant(norm=False, conv_bias=True)),
        Mistake("no-biases", "The MLP lacks its biases. The authors' code has one in each layer.", variant(bias=False)),
        Mistake("conv-bias",
                "The convolution has a bias. In training BatchNorm subtracts it again, so it is wasted; with fixed "
                "statistics, as here, it shifts the result. Pass `bias=False`.",
                variant(conv_bias=True)),
        Mistake("kernel-ignored", "Your convolution does not use `kernel_size`.",
                *(variant(kernel=lambda k, n=n: n) for n in (7, 3))),
        Mistake("padding-fixed",
                "Your padding fits one kernel size only. A kernel of k needs k // 2 on each side to keep H and W.",
                variant(padding=padding_of_7_or_3), variant(padding=lambda k: 3), variant(padding=lambda k: 1)),
        Mistake("no-padding", "Your convolution has no padding: the map shrinks. It needs k // 2 on each side.",
                variant(padding=lambda k: 0)),
        Mistake("reduction-ignored", "Your hidden width does not use `reduction`.",
                *(variant(hidden=lambda C, r, n=n: max(1, C // n)) for n in (16, 8, 4, 2, 1))),
        Mistake("hidden-width-0",
                "With C below r, C // r is 0: no hidden unit is left, and the channel gate no longer looks at x. Take "
                "max(1, C // r).",
                variant(hidden=floor_width), variant(hidden=floor_width, layer=Conv1x1)),
        Mistake("no-relu", "The ReLU inside the MLP is missing.", variant(inner=identity)),
        Mistake("relu-after-norm",
                "There is a ReLU between BatchNorm and sigmoid: no position's gate can fall below 0.5.",
                variant(spatial_inner=torch.relu)),
        Mistake("no-sigmoid", "A sigmoid is missing: gates leave the interval (0, 1).", variant(outer=identity),
                variant(spatial_outer=identity), variant(outer=identity, spatial_outer=identity)),
        Mistake("softmax", "You took a softmax over the channels. CBAM takes a sigmoid for each channel alone.",
                variant(outer=partial(torch.softmax, dim=1))),
        Mistake("lost-batch",
                "A plain `squeeze()` drops every axis of length 1, the batch of one image too. Name the axes.",
                variant(pools=(lost_batch, lost_batch_max))),
        Mistake("detached-gate", "You cut a gate off from the gradient: it could never be trained.",
                variant(apply=lambda x, c, s: channel_then_spatial(x, lambda t: c(t).detach(), s)),
                variant(apply=lambda x, c, s: channel_then_spatial(x, c, lambda t: s(t).detach())),
                variant(apply=lambda x, c, s: channel_then_spatial(
                    x, lambda t: c(t).detach(), lambda t: s(t).detach()))),
    ),
    hints=(
        "Two halves, each a gate: an MLP on the squeezed map, and a convolution on two maps. Write each as a method of "
        "its own; `forward` is then exercise 1.",
        "Channel: mean and maximum over (2, 3), each through the same two layers, sum, sigmoid. Spatial: mean and "
        "maximum over axis 1 with `keepdim=True`, `torch.cat`, convolution, BatchNorm, sigmoid.",
        "`hidden = max(1, channels // reduction)`; `nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, "
        "bias=False)`; `nn.BatchNorm2d(1)`. The channel gate needs `[:, :, None, None]`.",
    ),
    tested="values with copied weights on 9 maps: non-square, 1×1, one image and several, odd channel counts, one "
           "channel, C below r, kernels 3 to 9, train and eval, float64; 2·C·c' + C + c' + 2·k² + 2 parameters; "
           "gradients of x and of every parameter; alone and in a batch",
)

# --- parameters_added ------------------------------------------------------------------------------------------------


def cbam_parameters(n, c, r, k):
    hidden = max(1, c // r)
    return n * (2 * c * hidden + c + hidden + 2 * k**2 + 2)


def per_stage(formula: Callable) -> Callable:
    """The sum of a formula over the stages."""
    return lambda stages, reduction, kernel_size: sum(formula(n, c, reduction, kernel_size) for n, c in stages)


def other_width(width: Callable) -> Callable:
    """A wrong hidden width, width(C, r), in the right formula."""
    return per_stage(lambda n, c, r, k: n * (2 * c * width(c, r) + c + width(c, r) + 2 * k**2 + 2))


def plus(formula: Callable) -> Callable:
    """Something wrong is added to each block."""
    return per_stage(lambda n, c, r, k: cbam_parameters(n, c, r, k) + n * formula(c, max(1, c // r), k))


RESNET18 = [(2, 64), (2, 128), (2, 256), (2, 512)]
RESNET50 = [(3, 256), (4, 512), (6, 1024), (3, 2048)]

parameters_added = Exercise(
    id="cbam.parameters_added",
    title="What CBAM adds to a ResNet",
    reference=per_stage(cbam_parameters),
    cases=(
        values(stages=[(1, 4)], reduction=2, kernel_size=3),
        values(stages=[(3, 4)], reduction=2, kernel_size=3),
        values(stages=[(2, 4), (1, 8)], reduction=2, kernel_size=5),
        values(stages=[(1, 10)], reduction=4, kernel_size=7),
        values(stages=[(2, 3)], reduction=16, kernel_size=7),
        values(stages=[(2, 10), (1, 30)], reduction=8, kernel_size=1),
        values(stages=RESNET18, reduction=16, kernel_size=7),
        values(stages=RESNET50, reduction=16, kernel_size=7),
        values(stages=RESNET50, reduction=8, kernel_size=3),
    ),
    mistakes=(
        Mistake("no-biases", "You left out the biases of the MLP: c' in the first layer, C in the second.",
                plus(lambda c, h, k: -c - h)),
        Mistake("one-bias", "You counted one of the MLP's two biases: c' in the first layer, C in the second.",
                plus(lambda c, h, k: -c), plus(lambda c, h, k: -h)),
        Mistake("no-norm", "You left out the BatchNorm after the convolution: a weight and a bias, 2 in all.",
                plus(lambda c, h, k: -2)),
        Mistake("bare-equations", "You counted the paper's equations: the MLP's biases and the BatchNorm are missing.",
                plus(lambda c, h, k: -c - h - 2)),
        Mistake("half-norm", "BatchNorm of one channel has two parameters: a weight and a bias.",
                plus(lambda c, h, k: -1)),
        Mistake("statistics-counted",
                "You counted BatchNorm's running statistics. They are buffers: no gradient, not parameters.",
                plus(lambda c, h, k: 2), plus(lambda c, h, k: 3)),
        Mistake("conv-bias", "You gave the convolution a bias. It has none, because BatchNorm follows.",
                plus(lambda c, h, k: 1)),
        Mistake("channel-only", "You counted the channel half. The spatial half has 2·k² + 2 parameters.",
                plus(lambda c, h, k: -2 * k**2 - 2)),
        Mistake("spatial-once", "You added the spatial half once. Every block has one.",
                lambda stages, r, k: sum(cbam_parameters(n, c, r, k) - n * (2 * k**2 + 2) for n, c in stages)
                + 2 * k**2 + 2),
        Mistake("one-map", "The convolution reads two maps, mean and maximum: 2·k² weights.",
                plus(lambda c, h, k: -k**2)),
        Mistake("kernel-not-squared", "A k × k kernel has k² weights for each map that it reads.",
                plus(lambda c, h, k: 2 * k - 2 * k**2)),
        Mistake("kernel-fixed", "Your count does not depend on `kernel_size`.", plus(lambda c, h, k: 98 - 2 * k**2)),
        Mistake("conv-over-channels",
                "Your convolution reads all C channels. It reads two maps, whatever C is: that is why it is cheap.",
                plus(lambda c, h, k: c * k**2 - 2 * k**2), plus(lambda c, h, k: 2 * c * k**2 - 2 * k**2)),
        Mistake("two-mlps", "You counted two MLPs. Mean and maximum share one.",
                plus(lambda c, h, k: 2 * c * h + c + h)),
        Mistake("one-layer", "The MLP has two layers, C to c' and c' to C: 2·C·c' weights.",
                plus(lambda c, h, k: -c * h)),
        Mistake("blocks-ignored", "You counted one block per stage. A stage has N of them.",
                per_stage(lambda n, c, r, k: cbam_parameters(1, c, r, k))),
        Mistake("hidden-width-0", "With C below r, C // r is 0. The width is never below 1: max(1, C // r).",
                other_width(lambda c, r: c // r)),
        Mistake("true-division", "You divided with `/`: half a hidden unit does not exist. Use `//`.",
                other_width(lambda c, r: max(1, c / r)), other_width(lambda c, r: c / r)),
        Mistake("divided-too-late",
                "You rounded after multiplying. The hidden width c' = C // r is whole before it is multiplied.",
                *(per_stage(lambda n, c, r, k, h=h: n * (2 * c * c // r + c + h(c, r) + 2 * k**2 + 2))
                  for h in (lambda c, r: c // r, lambda c, r: max(1, c // r)))),
        Mistake("rounded-width", "You rounded the hidden width. It is rounded down: C // r.",
                other_width(lambda c, r: max(1, round(c / r))), other_width(lambda c, r: -(-c // r))),
        Mistake("reduction-ignored", "You left r out: the hidden layer is r times narrower than C.",
                other_width(lambda c, r: c), other_width(lambda c, r: max(1, c // 16))),
    ),
    hints=(
        "Write down the parameters of one block first: two linear layers, one convolution, one BatchNorm.",
        "`nn.Linear(a, b)` has a·b + b. `nn.Conv2d(2, 1, k, bias=False)` has 2·k², whatever C is. `nn.BatchNorm2d(1)` "
        "has 2. Multiply by the blocks of a stage, add the stages up.",
        "`hidden = max(1, C // reduction)`; a stage has `N * (2 * C * hidden + C + hidden + ...)`, where the dots are "
        "the convolution and the BatchNorm.",
    ),
    tested="one stage and several, kernels 1 to 7, C not a multiple of r, C below r, ResNet-18 (89,880 at r = 16, k = "
           "7) and ResNet-50 (2,532,592)",
)
