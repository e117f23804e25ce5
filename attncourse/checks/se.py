"""Checkers of chapter 03: squeeze, excite, the whole block, what it costs and where it sits."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncourse.checks.blocks import (
    FIXED_SIZE_MEANS,
    BlockCases,
    gate_mistakes,
    identity,
    lost_batch,
    two_layers,
    variants,
)
from attncourse.checks.cases import call, describe, error_of, gradients, randn, tensor, values
from attncourse.checks.engine import Case, Exercise, Mistake
from attncourse.se import SEBlock

# --- squeeze ---------------------------------------------------------------------------------------------------------

squeeze = Exercise(
    id="se.squeeze",
    title="Squeeze: one number per channel",
    reference=lambda x: x.mean((2, 3)),
    cases=(
        values(x=tensor([[[[0, 1]], [[2, 3]]]])),
        values(x=tensor([[[[1], [2]], [[-3], [0]]]])),
        values(x=tensor([[[[1, 2], [3, 6]]], [[[0, 0], [0, 4]]]])),
        values(x=randn(2, 3, 4, 5)),
        values(x=randn(3, 5, 4, 4, seed=1)),
        values(x=randn(1, 7, 1, 1, seed=2).double()),
        values(x=randn(2, 4, 14, 7, seed=3)),
        values(x=randn(2, 3, 7, 7, seed=5)),
        gradients(x=randn(2, 3, 2, 3, seed=4)),
    ),
    mistakes=(
        Mistake("averaged-channels", "You averaged over channels, not over space.",
                lambda x: x.mean(1), lambda x: x.mean(1, keepdim=True), lambda x: x.mean(1).flatten(1),
                lambda x: x.mean((1, 2)), lambda x: x.mean((1, 3)), lambda x: x.mean(1).mean(1),
                lambda x: x.mean((0, 1))),
        Mistake("averaged-batch", "You averaged over the images of the batch as well. Each image keeps its own means.",
                lambda x: x.mean((0, 2, 3)), lambda x: x.mean(0), lambda x: x.mean((0, 2, 3)).expand(len(x), -1),
                lambda x: x.mean((0, 2, 3), keepdim=True)),
        Mistake("averaged-everything", "You averaged over channels and space together: each image became one number.",
                lambda x: x.mean((1, 2, 3)), lambda x: x.flatten(1).mean(1), lambda x: x.mean(),
                lambda x: x.flatten(1).mean(1, keepdim=True)),
        Mistake("sum", "You summed. A mean also divides by the number of positions, H·W.",
                lambda x: x.sum((2, 3))),
        Mistake("maximum", "You took the largest value of each channel. SE squeezes with the mean.",
                lambda x: x.amax((2, 3)), lambda x: x.amax((2, 3), keepdim=True)),
        Mistake("one-axis-only", "You averaged over one of the two axes of space. Both have to go.",
                lambda x: x.mean(3), lambda x: x.mean(2), lambda x: x.mean(3)[:, :, 0], lambda x: x.mean(2)[:, :, 0]),
        Mistake("kept-axes", "The values are right, but H and W are still there, with length 1. The result is (B, C).",
                lambda x: x.mean((2, 3), keepdim=True), lambda x: x.flatten(2).mean(2, keepdim=True)),
        Mistake("assumed-square", "You divided by the square of one side. H and W may differ.",
                lambda x: x.sum((2, 3)) / x.shape[2]**2, lambda x: x.sum((2, 3)) / x.shape[3]**2,
                lambda x: F.avg_pool2d(x, x.shape[2]).flatten(1), lambda x: F.avg_pool2d(x, x.shape[3]).flatten(1),
                lambda x: F.avg_pool2d(x, x.shape[2])[:, :, 0, 0], lambda x: F.avg_pool2d(x, x.shape[3])[:, :, 0, 0]),
        Mistake("fixed-size", "Your code fits one size of map only. Take H and W from x.",
                *(lambda x, n=n: x.sum((2, 3)) / n for n in (16, 20, 25, 36, 49, 64, 196)),
                *(lambda x, n=n: F.avg_pool2d(x, n).flatten(1) for n in (4, 7)),
                *(lambda x, n=n: F.avg_pool2d(x, n)[:, :, 0, 0] for n in (4, 7))),
        Mistake("median", "You took the median. SE squeezes with the mean.", lambda x: x.flatten(2).median(2).values),
        Mistake("root-mean-square", "You measured the size of the values and lost their sign. SE takes the plain mean.",
                lambda x: x.square().mean((2, 3)).sqrt(), lambda x: x.flatten(2).norm(dim=2),
                lambda x: x.abs().mean((2, 3)), lambda x: x.square().mean((2, 3))),
        Mistake("first-position", "You took one position of the map. Every position counts.",
                lambda x: x[:, :, 0, 0], lambda x: x[:, :, x.shape[2] // 2, x.shape[3] // 2]),
        Mistake("lost-batch",
                "A plain `squeeze()` drops every axis of length 1, the batch of one image too. Name the axes.",
                lambda x: x.mean((2, 3), keepdim=True).squeeze(), lambda x: x.mean((2, 3)).squeeze()),
        Mistake("detached", "You cut the result off from x: no gradient can flow back.",
                lambda x: x.detach().mean((2, 3))),
    ),
    hints=(
        "Which axes of (B, C, H, W) are space? Those disappear; the others stay.",
        "`Tensor.mean` takes a tuple of axes and averages over all of them at once.",
        "Space is axes 2 and 3, so the line is `x.mean(...)` with the tuple of these two.",
    ),
    tested="values on 8 maps, non-square, 1×1, one image and several, odd channel counts, float64; the gradient; x "
           "unchanged",
)

# --- excite ----------------------------------------------------------------------------------------------------------


def gate(z, w1, b1, w2, b2, inner=torch.relu, outer=torch.sigmoid):
    return outer(inner(z @ w1.T + b1) @ w2.T + b2)


def weights(channels: int, hidden: int, batch: int, seed: int = 0) -> dict[str, Tensor]:
    sizes = dict(z=(batch, channels), w1=(hidden, channels), b1=(hidden,), w2=(channels, hidden), b2=(channels,))
    return {name: randn(*size, seed=seed + i) for i, (name, size) in enumerate(sizes.items())}


excite = Exercise(
    id="se.excite",
    title="Excite: from means to gates",
    reference=gate,
    cases=(
        values(z=tensor([[1, -2]]), w1=tensor([[1, 2]]), b1=tensor([1]), w2=tensor([[1], [2]]), b2=tensor([0, 1])),
        values(z=tensor([[1, 2]]), w1=tensor([[1, 1]]), b1=tensor([-1]), w2=tensor([[1], [-1]]), b2=tensor([0, 1])),
        values(z=tensor([[-1]]), w1=tensor([[2]]), b1=tensor([3]), w2=tensor([[-1]]), b2=tensor([0.5])),
        values(**weights(channels=4, hidden=2, batch=3)),
        values(**weights(channels=3, hidden=3, batch=2, seed=10)),
        values(**{name: value.double() for name, value in weights(channels=7, hidden=3, batch=5, seed=20).items()}),
        gradients(**weights(channels=4, hidden=3, batch=3, seed=30)),
    ),
    mistakes=(
        Mistake("no-relu",
                "The ReLU between the two layers is missing. Without it they collapse into one linear layer.",
                partial(gate, inner=identity)),
        Mistake("no-sigmoid", "The sigmoid at the end is missing: your gates leave the interval (0, 1).",
                partial(gate, outer=identity)),
        Mistake("swapped-activations", "You swapped the activations: the ReLU belongs inside, the sigmoid at the end.",
                partial(gate, inner=torch.sigmoid, outer=torch.relu)),
        Mistake("sigmoid-inside", "The hidden layer has a sigmoid. In SE it has a ReLU.",
                partial(gate, inner=torch.sigmoid)),
        Mistake("other-activation-inside", "The hidden layer has another activation than ReLU.",
                *(partial(gate, inner=inner) for inner in (torch.tanh, torch.abs, F.gelu, F.silu, F.leaky_relu))),
        Mistake("softmax",
                "You took a softmax: your gates compete and sum to 1. SE takes a sigmoid for each channel alone.",
                partial(gate, outer=partial(torch.softmax, dim=1)), partial(gate, outer=partial(torch.softmax, dim=0))),
        Mistake("tanh-gate", "You took tanh at the end: its gates lie in (-1, 1). SE takes a sigmoid.",
                partial(gate, outer=torch.tanh)),
        Mistake("relu-gate", "You took a ReLU at the end. SE takes a sigmoid.", partial(gate, outer=torch.relu)),
        Mistake("relu-before-sigmoid", "There is a ReLU before the sigmoid: no gate can fall below 0.5.",
                partial(gate, outer=lambda s: s.relu().sigmoid())),
        Mistake("sigmoid-twice", "You took the sigmoid twice: all gates end up between 0.5 and 0.73.",
                partial(gate, outer=lambda s: s.sigmoid().sigmoid())),
        Mistake("relu-after-sigmoid-inside", "The hidden layer has both a sigmoid and a ReLU. It has a ReLU alone.",
                partial(gate, inner=lambda s: s.relu().sigmoid())),
        Mistake("no-biases", "Both biases are missing.", lambda z, w1, b1, w2, b2: gate(z, w1, 0 * b1, w2, 0 * b2)),
        Mistake("no-first-bias", "b1 is missing.", lambda z, w1, b1, w2, b2: gate(z, w1, 0 * b1, w2, b2)),
        Mistake("no-second-bias", "b2 is missing.", lambda z, w1, b1, w2, b2: gate(z, w1, b1, w2, 0 * b2)),
        Mistake("bias-after-activation", "You added a bias after the activation. It belongs before it.",
                lambda z, w1, b1, w2, b2: torch.sigmoid((torch.relu(z @ w1.T) + b1) @ w2.T + b2),
                lambda z, w1, b1, w2, b2: torch.sigmoid(torch.relu(z @ w1.T + b1) @ w2.T) + b2,
                lambda z, w1, b1, w2, b2: torch.sigmoid((torch.relu(z @ w1.T) + b1) @ w2.T) + b2),
        Mistake("transposed-weights",
                "A weight matrix is used the wrong way round. `w1` is (c', C): its rows are the outputs, so write `z "
                "@ w1.T` or `F.linear(z, w1, b1)`.",
                lambda z, w1, b1, w2, b2: gate(z, w1.T, b1, w2.T, b2),
                lambda z, w1, b1, w2, b2: gate(z, w1.T, b1, w2, b2),
                lambda z, w1, b1, w2, b2: gate(z, w1, b1, w2.T, b2)),
        Mistake("swapped-layers",
                "You used the second layer before the first. `w1` narrows C to c', `w2` widens it again.",
                lambda z, w1, b1, w2, b2: gate(z, w2, b2, w1, b1),
                lambda z, w1, b1, w2, b2: gate(z, w2.T, b1, w1.T, b2)),
        Mistake("relu-on-input", "You put z through a ReLU first. A negative mean tells something too.",
                lambda z, *rest: gate(z.relu(), *rest)),
        Mistake("multiplied-by-input", "You returned z · s. Return the gates s; scaling x comes later.",
                lambda z, *rest: z * gate(z, *rest)),
        Mistake("averaged-batch", "You averaged over the batch. Each image gets its own gates.",
                lambda z, *rest: gate(z.mean(0, keepdim=True), *rest).expand_as(z),
                lambda z, *rest: gate(z.mean(0, keepdim=True), *rest)),
        Mistake("added-axes", "The values are right, but the shape is (B, C, 1, 1). Here it is (B, C).",
                lambda *arguments: gate(*arguments)[:, :, None, None]),
        Mistake("detached", "You cut the gates off from their weights: they could never be trained.",
                lambda z, w1, b1, w2, b2: gate(z.detach(), w1, b1, w2, b2),
                lambda z, w1, b1, w2, b2: gate(z, w1.detach(), b1.detach(), w2, b2)),
    ),
    hints=(
        "Read the formula from the inside out: what happens to z first, and what shape has it then?",
        "Four steps: a linear layer from C to c', a ReLU, a linear layer from c' to C, a sigmoid.",
        "`F.linear(z, w1, b1)` computes w1 z + b1 for every image. Take `.relu()` of it, do the same with `w2` and "
        "`b2`, and take `.sigmoid()`.",
    ),
    tested="values with c' below and equal to C, one image and several, float64; gradients of z and of all weights; "
           "inputs unchanged",
)

# --- block -----------------------------------------------------------------------------------------------------------


def fill(block: nn.Module, channels: int) -> None:
    for p in block.parameters():
        p.copy_(two_layers(p, channels))


your_block = BlockCases(
    own=SEBlock,
    ready=SEBlock,
    used=("used-seblock", "Your block is made of the course's SEBlock. Build it from nn.Linear layers."),
    fill=fill,
    count="The block has another number of parameters than 2·C·c' + C + c', c' = max(1, C // r).",
)


class Variant(nn.Module):
    """SE with one thing wrong: each argument is the right part unless a mistake replaces it."""

    def __init__(self, channels, reduction=16, *, hidden=lambda C, r: max(1, C // r), bias=True, norm=None,
                 pool=lambda x: x.mean((2, 3)), inner=torch.relu, outer=torch.sigmoid, detach=False,
                 apply=lambda x, s: x * s[:, :, None, None]):
        super().__init__()
        width = hidden(channels, reduction)
        self.fc1 = nn.Linear(channels, width, bias=bias)
        self.norm = norm(width) if norm else nn.Identity()
        self.fc2 = nn.Linear(width, channels, bias=bias)
        self.pool, self.inner, self.outer, self.detach, self.apply_gate = pool, inner, outer, detach, apply

    def forward(self, x):
        s = self.outer(self.fc2(self.inner(self.norm(self.fc1(self.pool(x))))))
        return self.apply_gate(x, s.detach() if self.detach else s)


class OneLayer(nn.Module):
    def __init__(self, channels, reduction=16, inner=identity):
        super().__init__()
        self.fc, self.inner = nn.Linear(channels, channels), inner

    def forward(self, x):
        return x * self.fc(self.inner(x.mean((2, 3)))).sigmoid()[:, :, None, None]


class SpatialGate(nn.Module):
    """One gate per position, from each position's own channels."""

    def __init__(self, channels, reduction=16):
        super().__init__()
        width = max(1, channels // reduction)
        self.fc1, self.fc2 = nn.Conv2d(channels, width, 1), nn.Conv2d(width, 1, 1)

    def forward(self, x):
        return x * self.fc2(self.fc1(x).relu()).sigmoid()


class NoPooling(nn.Module):
    """Two 1×1 convolutions on the map itself: one gate per channel and position."""

    def __init__(self, channels, reduction=16):
        super().__init__()
        width = max(1, channels // reduction)
        self.fc1, self.fc2 = nn.Conv2d(channels, width, 1), nn.Conv2d(width, channels, 1)

    def forward(self, x):
        return x * self.fc2(self.fc1(x).relu()).sigmoid()


variant = variants(Variant)

block = Exercise(
    id="se.block",
    title="Build the block",
    reference=SEBlock,
    cases=(
        your_block.output(tensor([[[[1]], [[-2]]]]), 2, reduction=2),
        your_block.output(tensor([[[[1, 3]], [[-2, 0]]]]), 2, reduction=2),
        your_block.output(tensor([[[[1], [3]], [[0.5], [0]], [[2], [-1]]]]), 3, reduction=16),
        your_block.output(tensor([[[[1, 3]]], [[[-2, 0]]]]), 1, reduction=16),
        your_block.output(randn(1, 7, 4, 3, seed=1), 7, reduction=3),
        your_block.output(randn(3, 8, 3, 5, seed=2), 8, reduction=4),
        your_block.output(randn(2, 8, 7, 7, seed=3), 8, reduction=2),
        your_block.output(randn(2, 8, 8, 8, seed=4), 8, reduction=2),
        your_block.output(randn(2, 6, 9, 16, seed=5).double(), 6, reduction=2),
        your_block.output(randn(2, 32, 2, 2, seed=6), 32, reduction=4),
        your_block.parameters(32, reduction=16),
        your_block.parameters(32),
        your_block.parameters(64, reduction=4),
        your_block.parameters(7, reduction=2),
        your_block.parameters(3, reduction=16),
        your_block.gradients(randn(4, 8, 3, 5, seed=8), 8, reduction=2),
        your_block.modes(randn(4, 8, 3, 3, seed=9), 8, reduction=4, cause="mode-dependent",
                         message="Training and evaluation mode give different outputs. SE does the same in both."),
        your_block.alone(randn(4, 8, 3, 3, seed=10), 8, reduction=4),
        your_block.dtype(randn(2, 8, 3, 5, seed=11), 8, reduction=2),
    ),
    mistakes=(
        Mistake("reduction-ignored", "Your hidden width does not use `reduction`.",
                *(variant(hidden=lambda C, r, n=n: max(1, C // n)) for n in (16, 8, 4, 2, 1))),
        Mistake("reduction-as-width", "You used `reduction` as the hidden width. The width is C // r: r divides.",
                variant(hidden=lambda C, r: r)),
        Mistake("multiplied-by-reduction", "Your hidden layer is wider than C. r makes it narrower: C // r.",
                variant(hidden=lambda C, r: C * r)),
        Mistake("hidden-width-0",
                "With C below r, C // r is 0: no hidden unit is left, and the gate no longer looks at x. Take max(1, "
                "C // r).",
                variant(hidden=lambda C, r: C // r)),
        *gate_mistakes(variant, "SE"),
        Mistake("added-input",
                "You added x to the scaled map: that is x · (1 + s). SE returns x · s; the shortcut belongs to the "
                "network around it.",
                variant(apply=lambda x, s: x + x * s[:, :, None, None])),
        Mistake("wrong-axis",
                "Your gates, (B, C), landed on H and W. Give them two more axes before you multiply.",
                variant(apply=lambda x, s: x * s), variant(apply=lambda x, s: x * s[..., None])),
        Mistake("no-sigmoid", "The sigmoid at the end is missing: your gates leave the interval (0, 1).",
                variant(outer=identity)),
        Mistake("no-relu",
                "The ReLU between the two layers is missing. Without it they collapse into one linear layer.",
                variant(inner=identity)),
        Mistake("swapped-activations", "You swapped the activations: the ReLU belongs inside, the sigmoid at the end.",
                variant(inner=torch.sigmoid, outer=torch.relu)),
        Mistake("relu-before-sigmoid", "There is a ReLU before the sigmoid: no gate can fall below 0.5.",
                variant(outer=lambda s: s.relu().sigmoid())),
        Mistake("softmax", "You took a softmax over the channels. SE takes a sigmoid for each channel alone.",
                variant(outer=partial(torch.softmax, dim=1))),
        Mistake("lost-batch",
                "A plain `squeeze()` drops every axis of length 1, the batch of one image too. Name the axes.",
                *(variant(pool=lost_batch, apply=lambda x, s, append=append: x * append(s)) for append in (
                    lambda s: s[:, :, None, None], lambda s: s.unsqueeze(2).unsqueeze(3),
                    lambda s: s[..., None, None], lambda s: s.view(-1, *s.shape[1:], 1, 1)))),
        Mistake("fixed-size", "Your pooling fits one size of map only. `x.mean((2, 3))` fits all.",
                *(variant(pool=pool) for pool in FIXED_SIZE_MEANS)),
        Mistake("one-layer", "There is one layer. SE has two, with a narrow one between them.",
                OneLayer, partial(OneLayer, inner=torch.relu)),
        Mistake("batch-norm",
                "There is a BatchNorm inside. SE has none: its gate must not depend on the batch or the mode.",
                variant(norm=nn.BatchNorm1d), variant(norm=nn.BatchNorm1d, bias=False)),
        Mistake("no-biases", "Both layers lack their bias. Here they have one, as in the authors' models.",
                variant(bias=False)),
        Mistake("spatial-gate", "You made one gate per position. SE makes one per channel.", SpatialGate),
        Mistake("no-squeeze",
                "You did not average over space: each position has gates of its own. Squeeze first.", NoPooling),
    ),
    hints=(
        "You have written both halves: squeeze, then excite. Here the weights live in the module, so make two layers "
        "in `__init__`.",
        "`__init__` makes `nn.Linear(C, hidden)` and `nn.Linear(hidden, C)`; `forward` squeezes x to (B, C), runs "
        "layer, ReLU, layer, sigmoid, and scales x. What is `hidden` when C is smaller than `reduction`?",
        "`hidden = max(1, channels // reduction)`. In `forward`: `z = x.mean((2, 3))`, then the gates `s`, (B, C), "
        "and at the end x times `s[:, :, None, None]`.",
    ),
    tested="values with copied weights on 10 maps: non-square, 1×1, one image and several, odd channel counts, C "
           "below r, float64; 2·C·c' + C + c' parameters; gradients of x and of every parameter; the same in train "
           "and eval, alone and in a batch",
)

# --- parameters_added ------------------------------------------------------------------------------------------------


def se_parameters(stages, reduction):
    return sum(2 * n * c * max(1, c // reduction) for n, c in stages)


def per_stage(formula: Callable) -> Callable:
    """A wrong count that differs in the formula for one stage."""
    return lambda stages, reduction: sum(formula(n, c, reduction) for n, c in stages)


parameters_added = Exercise(
    id="se.parameters_added",
    title="What SE adds to a ResNet",
    reference=se_parameters,
    cases=(
        values(stages=[(1, 4)], reduction=2),
        values(stages=[(3, 4)], reduction=2),
        values(stages=[(2, 4), (1, 8)], reduction=2),
        values(stages=[(1, 10)], reduction=4),
        values(stages=[(2, 3)], reduction=16),
        values(stages=[(2, 10), (1, 30)], reduction=8),
        values(stages=[(3, 256), (4, 512), (6, 1024), (3, 2048)], reduction=16),
        values(stages=[(3, 256), (4, 512), (6, 1024), (3, 2048)], reduction=32),
    ),
    mistakes=(
        Mistake("one-layer", "The factor 2 is missing: each block has two layers, C to c' and c' to C.",
                per_stage(lambda n, c, r: n * c * max(1, c // r))),
        Mistake("blocks-ignored", "You counted one block per stage. A stage has N of them.",
                per_stage(lambda n, c, r: 2 * c * max(1, c // r))),
        Mistake("channels-not-squared", "C counts once in your formula. A layer from C to C / r has C · C / r weights.",
                per_stage(lambda n, c, r: 2 * n * c), per_stage(lambda n, c, r: 2 * n * max(1, c // r)),
                per_stage(lambda n, c, r: 2 * n * c / r)),
        Mistake("hidden-squared", "You squared the hidden width. A layer goes from C to c', so it has C · c' weights.",
                per_stage(lambda n, c, r: 2 * n * max(1, c // r)**2), per_stage(lambda n, c, r: 2 * n * (c / r)**2)),
        Mistake("reduction-ignored", "You left r out: the hidden layer is r times narrower than C.",
                per_stage(lambda n, c, r: 2 * n * c * c)),
        Mistake("multiplied-by-reduction", "You multiplied by r. It makes the hidden layer narrower: divide.",
                per_stage(lambda n, c, r: 2 * n * c * c * r)),
        Mistake("last-stage-only", "You counted one stage. Add up all of them.",
                lambda stages, reduction: se_parameters(stages[-1:], reduction),
                lambda stages, reduction: se_parameters(stages[:1], reduction)),
        Mistake("with-biases", "You counted biases. This formula is the paper's, without them.",
                per_stage(lambda n, c, r: n * (2 * c * max(1, c // r) + c + max(1, c // r)))),
        Mistake("blocks-squared", "You squared the number of blocks as well. It counts once.",
                per_stage(lambda n, c, r: 2 * n**2 * c * max(1, c // r)),
                per_stage(lambda n, c, r: 2 * (n * c)**2 // r),
                per_stage(lambda n, c, r: 2 * (n * c)**2 / r)),
        Mistake("true-division",
                "You divided with `/`: half a hidden unit does not exist, and a count is an int. Use `//` for the "
                "hidden width.",
                per_stage(lambda n, c, r: 2 * n * c * (c / r)), per_stage(lambda n, c, r: 2 * n * c * max(1, c / r)),
                lambda stages, r: 2 / r * sum(n * c**2 for n, c in stages)),
        Mistake("divided-too-late",
                "You rounded after multiplying. The hidden width c' = C // r is whole before it is multiplied.",
                per_stage(lambda n, c, r: 2 * n * c * c // r), per_stage(lambda n, c, r: n * (2 * c * c // r)),
                per_stage(lambda n, c, r: 2 * n * (c * c // r)),
                lambda stages, r: 2 * sum(n * c**2 for n, c in stages) // r,
                lambda stages, r: int(2 / r * sum(n * c**2 for n, c in stages))),
        Mistake("hidden-width-0", "With C below r, C // r is 0. The width is never below 1: max(1, C // r).",
                per_stage(lambda n, c, r: 2 * n * c * (c // r))),
        Mistake("rounded-width",
                "You rounded the hidden width to the nearest number, or up. It is rounded down: C // r.",
                per_stage(lambda n, c, r: 2 * n * c * max(1, round(c / r))),
                per_stage(lambda n, c, r: 2 * n * c * -(-c // r))),
    ),
    hints=(
        "How many weights has one `nn.Linear(C, c', bias=False)`? And the layer that goes back?",
        "One block has 2·C·c' weights with c' = max(1, C // r). A stage has N blocks of the same C; add the stages up.",
        "`sum(2 * n * c * ... for n, c in stages)`, where the dots are the hidden width as a whole number.",
    ),
    tested="one stage and several, C not a multiple of r, C below r, and ResNet-50: 2,514,944 at r = 16",
)

# --- place -----------------------------------------------------------------------------------------------------------


def placed(x, branch, se, placement):
    if placement == "standard":
        return x + se(branch(x))
    if placement == "pre":
        return x + branch(se(x))
    if placement == "post":
        return se(x + branch(x))
    if placement == "identity":
        return se(x) + branch(x)
    raise ValueError(f"unknown placement {placement!r}")


def replacing(**wrong: Callable) -> Callable:
    """place() with the named placements replaced by wrong formulas of x, branch and se."""
    def place(x, branch, se, placement):
        return wrong[placement](x, branch, se) if placement in wrong else placed(x, branch, se, placement)
    return place


def as_if(**others: str) -> Callable:
    """place() with the named placements taken for others."""
    return lambda x, branch, se, placement: placed(x, branch, se, others.get(placement, placement))


def toy_branch(t):
    return 10 * t + 1


def toy_se(t):
    return t / 2


def toy(placement: str) -> Case:
    x = tensor([1, -2]).view(1, 1, 1, 2)
    shown = f"{describe(x=x)}, branch(t) = 10t + 1, se(t) = t / 2, placement = {placement!r}"
    return Case(shown, lambda answer: call(answer, x=x, branch=toy_branch, se=toy_se, placement=placement))


def real(placement: str) -> Case:
    x = randn(2, 4, 5, 3, seed=1)

    def probe(answer: Callable) -> object:
        branch, se = nn.Conv2d(4, 4, 3, padding=1), SEBlock(4, reduction=2)  # seeded by the engine before each probe
        return call(answer, x=x, branch=branch, se=se, placement=placement)
    return Case(f"a 3×3 convolution as branch, an SEBlock, {describe(x=x)}, placement = {placement!r}", probe)


def unknown_placement(answer: Callable) -> str:
    return error_of(lambda: answer(tensor([1]).view(1, 1, 1, 1), toy_branch, toy_se, "sideways"))


place = Exercise(
    id="se.place",
    title="Where SE sits in a residual block",
    reference=placed,
    cases=(
        *map(toy, ("standard", "pre", "post", "identity")),
        *map(real, ("standard", "pre", "post", "identity")),
        Case("placement = 'sideways'", unknown_placement, "unknown-placement",
             "An unknown placement must raise a ValueError: a typing error would otherwise train the wrong network."),
    ),
    mistakes=(
        Mistake("se-after-addition",
                'In "standard" your SE comes after the addition. It belongs on the branch, before it.',
                as_if(standard="post"), as_if(standard="post", post="standard")),
        Mistake("swapped-identity-and-pre",
                'You swapped "identity" and "pre": "pre" puts SE in front of the branch, "identity" on the shortcut.',
                as_if(identity="pre", pre="identity")),
        Mistake("swapped-standard-and-pre",
                'You swapped "standard" and "pre": "pre" puts SE in front of the branch.',
                as_if(standard="pre", pre="standard")),
        Mistake("always-standard", "You return the standard placement whatever `placement` says.",
                as_if(pre="standard", post="standard", identity="standard"),
                lambda x, branch, se, placement: x + se(branch(x))),
        Mistake("post-as-standard", "In \"post\" your SE comes before the addition. There it comes after it.",
                as_if(post="standard")),
        Mistake("no-shortcut", "The shortcut is missing: x is not added.",
                replacing(standard=lambda x, branch, se: se(branch(x)), pre=lambda x, branch, se: branch(se(x)),
                          post=lambda x, branch, se: se(branch(x))),
                replacing(standard=lambda x, branch, se: se(branch(x)), pre=lambda x, branch, se: branch(se(x)),
                          post=lambda x, branch, se: se(branch(x)), identity=lambda x, branch, se: se(branch(x))),
                replacing(standard=lambda x, branch, se: se(branch(x)), pre=lambda x, branch, se: branch(se(x)),
                          post=lambda x, branch, se: se(branch(x)), identity=lambda x, branch, se: branch(x)),
                replacing(standard=lambda x, branch, se: se(branch(x)), pre=lambda x, branch, se: branch(se(x))),
                replacing(standard=lambda x, branch, se: se(branch(x))),
                replacing(pre=lambda x, branch, se: branch(se(x))),
                replacing(post=lambda x, branch, se: se(branch(x)))),
        Mistake("se-on-both", "You gate the shortcut and the branch, each for itself. Every placement uses SE once.",
                replacing(standard=lambda x, branch, se: se(x) + se(branch(x))),
                replacing(post=lambda x, branch, se: se(x) + se(branch(x))),
                replacing(identity=lambda x, branch, se: se(x) + se(branch(x)))),
        Mistake("pre-gates-shortcut",
                'In "pre" the shortcut is x itself, not se(x): only the branch sees the gated map.',
                replacing(pre=lambda x, branch, se: se(x) + branch(se(x)))),
        Mistake("identity-feeds-branch", "In \"identity\" the branch sees x itself: only the shortcut goes through SE.",
                replacing(identity=lambda x, branch, se: se(x) + branch(se(x)))),
        Mistake("multiplied-shortcut", "You multiplied by x. A shortcut is added.",
                replacing(standard=lambda x, branch, se: x * se(branch(x)), pre=lambda x, branch, se: x * branch(se(x)),
                          post=lambda x, branch, se: se(x * branch(x)),
                          identity=lambda x, branch, se: se(x) * branch(x)),
                replacing(standard=lambda x, branch, se: x * se(branch(x)))),
        Mistake("final-relu", "You put a ReLU at the end. It belongs to the network, after this function.",
                lambda *arguments: placed(*arguments).relu()),
        Mistake("unknown-placement-accepted",
                "An unknown placement has to end in a raised ValueError that names it. A typing error would otherwise "
                "train the wrong network.",
                lambda *arguments: placed(*arguments[:3], arguments[3] if arguments[3] != "sideways" else "identity")),
    ),
    hints=(
        "Draw the block: x splits into the branch and the shortcut, and both meet at a plus. Where on this drawing is "
        "each placement?",
        '"standard" is on the branch after `branch`, "pre" on the branch before `branch`, "post" after the plus, '
        '"identity" on the shortcut.',
        '"standard" is `x + se(branch(x))`. The other three move `se(...)` around x, around the sum, or around the x '
        'of the shortcut; end with `raise ValueError(...)`.',
    ),
    tested="all four placements, by hand and with a convolution and an SEBlock; an unknown one raises a ValueError; x "
           "unchanged",
)
