"""Checkers of chapter 06: padding, what stacked dilated layers see, how the branches join, the spatial branch."""

from collections.abc import Callable
from functools import partial
from itertools import product
from numbers import Integral

import torch
from torch import Tensor, nn

from attncourse.bam import BAM
from attncourse.checks.blocks import BlockCases, fill_norms, identity, variants
from attncourse.checks.cases import describe, gradients, randn, tensor, values
from attncourse.checks.compare import Problem, plain, show
from attncourse.checks.engine import Case, Exercise, Mistake

# --- padding ---------------------------------------------------------------------------------------------------------

padding = Exercise(
    id="bam.padding",
    title="The padding that keeps the size",
    reference=lambda kernel_size, dilation: dilation * (kernel_size - 1) // 2,
    cases=(
        values(kernel_size=3, dilation=1),
        values(kernel_size=3, dilation=2),
        values(kernel_size=3, dilation=4),
        values(kernel_size=5, dilation=1),
        values(kernel_size=1, dilation=4),
        values(kernel_size=5, dilation=3),
        values(kernel_size=7, dilation=2),
    ),
    mistakes=(
        Mistake("always-1", "Padding 1 fits a 3×3 kernel without dilation only. With d = 4 the map loses 6 rows.",
                lambda k, d: 1),
        Mistake("kernel-ignored", "That fits 3×3 kernels only. A larger kernel reaches further: use `kernel_size` too.",
                lambda k, d: d),
        Mistake("dilation-ignored", "You left the dilation out: the outer taps are d times further from the middle.",
                lambda k, d: k // 2),
        Mistake("both-sides", "You counted both sides together. `padding` is what is added on *each* side.",
                lambda k, d: d * (k - 1)),
        Mistake("half-of-k", "You took half of k. The middle tap needs no room: it is half of k - 1.",
                lambda k, d: d * k // 2, lambda k, d: round(d * k / 2), lambda k, d: d * k / 2),
        Mistake("gaps-counted", "You counted the skipped pixels only. From tap to tap it is d: d - 1 skipped "
                                "pixels, then the tap.",
                lambda k, d: d - 1, lambda k, d: (d - 1) * (k // 2), lambda k, d: (d - 1) * (k - 1)),
        Mistake("extent", "That is how wide the dilated kernel is. Padding is how far it reaches to one side.",
                lambda k, d: d * (k - 1) + 1),
        Mistake("all-of-k", "You took d times the whole kernel. Count the steps from the middle tap to the outermost: "
                            "half of k - 1, each d long.",
                lambda k, d: d * k),
        Mistake("added", "You added the dilation. It multiplies: every step between taps becomes d long.",
                lambda k, d: k // 2 + d, lambda k, d: k // 2 + d - 1, lambda k, d: k + d - 1,
                lambda k, d: (k + d) // 2, lambda k, d: (k + d - 1) // 2),
        Mistake("divided", "You divided by d. Dilation stretches the kernel: multiply.",
                lambda k, d: k // 2 // d, lambda k, d: (k - 1) // (2 * d), lambda k, d: k // 2 / d),
    ),
    hints=(
        "How far from the middle tap is the outermost one, when the taps stand d apart?",
        "A kernel of odd size k has (k - 1) / 2 taps on each side of the middle. Each step between taps is d pixels.",
        "`dilation * ... // 2`, where the dots are the number of steps in the whole kernel. A 3×3 kernel has 2 steps, "
        "so at d = 4 the padding is 4.",
    ),
    tested="kernels 1, 3, 5 and 7 with dilations from 1 to 4; a whole number",
)

# --- offsets ---------------------------------------------------------------------------------------------------------


def sums(dilations: list[int], taps: Callable[[int], tuple[int, ...]]) -> list[int]:
    """All sums of one tap per layer, with repeats, in the order in which loops find them."""
    return [sum(steps) for steps in product(*map(taps, dilations))]


def stacked(dilations: list[int], taps: Callable[[int], tuple[int, ...]] = lambda d: (-d, 0, d)) -> list[int]:
    return sorted(set(sums(dilations, taps)))


def offsets_case(dilations: list[int]) -> Case:
    """The offsets; the right ones in any other order are told so, whatever that order is."""
    def probe(answer: Callable) -> object:
        given = list(dilations)
        got = answer(given)
        if given != dilations:
            raise Problem("mutated-input", "Your code changed the list that it was given (`pop`, `append`, `sort`, …). "
                          "Whoever called it may still need it: work on a copy, `dilations = list(dilations)`.")
        if isinstance(got, list | tuple) and all(isinstance(offset, Integral) for offset in got):
            expected = stacked(dilations)
            if list(got) != expected and sorted(got) == expected:
                raise Problem("unsorted", "The offsets are right, but not in rising order.\nExpected "
                              f"{show(expected)}, got {show(plain(got))}.")
        return got
    return Case(describe(dilations=dilations), probe)


offsets = Exercise(
    id="bam.offsets",
    title="What stacked dilated layers see",
    reference=stacked,
    cases=(
        *map(offsets_case, ([1], [4], [1, 1], [4, 4], [1, 2], [2, 1], [1, 4], [3, 3, 3], [1, 2, 4], [])),
    ),
    mistakes=(
        Mistake("everything-between",
                "You filled the gaps. A dilated kernel jumps over pixels: only sums of taps are seen.",
                lambda ds: list(range(-sum(ds), sum(ds) + 1))),
        Mistake("ends-only", "You kept the outermost offsets only. Every sum of one tap per layer counts.",
                lambda ds: sorted({-sum(ds), 0, sum(ds)}), lambda ds: [-sum(ds), 0, sum(ds)]),
        Mistake("one-layer-only", "You used one layer. The next layer starts from every pixel that the first one sees.",
                lambda ds: stacked(ds[-1:]), lambda ds: stacked(ds[:1]), lambda ds: [-ds[-1], 0, ds[-1]],
                lambda ds: [-ds[0], 0, ds[0]]),
        Mistake("side-by-side",
                "You took the layers side by side. They are stacked: add a tap of one layer to a tap of the next.",
                lambda ds: sorted({tap for d in ds for tap in (-d, 0, d)}),
                lambda ds: sorted({0, *(tap for d in ds for tap in (-d, 0, d))})),
        Mistake("skips-d", "Your taps stand d + 1 apart. Dilation d is the distance, so d - 1 pixels are skipped.",
                partial(stacked, taps=lambda d: (-d - 1, 0, d + 1))),
        Mistake("distance-too-short", "Your taps stand d - 1 apart. d - 1 pixels lie between them; the distance is d.",
                partial(stacked, taps=lambda d: (1 - d, 0, d - 1))),
        Mistake("middle-missing", "A 3×3 kernel has three taps along each axis. The middle one is missing.",
                partial(stacked, taps=lambda d: (-d, d))),
        Mistake("one-sided", "You look to one side. Each layer has taps at -d, 0 and d.",
                partial(stacked, taps=lambda d: (0, d)), partial(stacked, taps=lambda d: (-d, 0)),
                lambda ds: [o for o in stacked(ds) if o >= 0], lambda ds: [o for o in stacked(ds) if o > 0]),
        Mistake("starts-at-0",
                "Your offsets start at 0: you look to one side, or you count from the corner. Count from the output "
                "pixel: each layer has taps at -d, 0 and d.",
                partial(stacked, taps=lambda d: (0, d, 2 * d))),
        Mistake("dilation-ignored", "You took every dilation as 1.", lambda ds: stacked([1] * len(ds))),
        Mistake("same-dilation",
                "You took one dilation for all layers. Each layer has its own.",
                *(lambda ds, i=i: stacked([ds[i]] * len(ds) if ds else []) for i in (0, -1)),
                *(lambda ds, i=i: [ds[i] * k for k in range(-len(ds), len(ds) + 1)] for i in (0, -1))),
        Mistake("five-taps", "Your kernel has five taps along an axis. A 3×3 kernel has three: -d, 0, d.",
                partial(stacked, taps=lambda d: (-2 * d, -d, 0, d, 2 * d))),
        Mistake("duplicates", "An offset that is reached in several ways stands in your list several times.",
                lambda ds: sorted(sums(ds, lambda d: (-d, 0, d))), lambda ds: sums(ds, lambda d: (-d, 0, d))),
        Mistake("a-number", "You returned one number. The offsets themselves are asked for, as a list.",
                lambda ds: len(stacked(ds)), lambda ds: 2 * sum(ds) + 1, lambda ds: sum(ds)),
        Mistake("nothing-without-layers", "With no layer at all, a pixel still sees itself: [0].",
                lambda ds: stacked(ds) if ds else []),
    ),
    hints=(
        "One 3×3 layer with dilation d sees -d, 0 and d. From where does the next layer look?",
        "Start with the set {0}. For each layer, replace it by all sums of an offset in the set and one of -d, 0, d.",
        "`seen = {0}`, then for each d: `seen = {o + step for o in seen for step in (-d, 0, d)}`. Sort at the end.",
    ),
    tested="one layer and several, equal and different dilations, no layer; each offset once, in rising order",
)

# --- join ------------------------------------------------------------------------------------------------------------


def joined(x, what, where, logits=lambda c, s: c + s, outer=torch.sigmoid, apply=lambda x, M: x + x * M):
    return apply(x, outer(logits(what[:, :, None, None], where)))


def branches(*shape: int, seed: int = 0) -> dict[str, Tensor]:
    B, C, H, W = shape
    return {"x": randn(*shape, seed=seed), "what": 2 * randn(B, C, seed=seed + 1),
            "where": 2 * randn(B, 1, H, W, seed=seed + 2)}


join = Exercise(
    id="bam.join",
    title="Join the two branches",
    reference=joined,
    cases=(
        values(x=tensor([[[[4]]]]), what=tensor([[2]]), where=tensor([[[[-2]]]])),
        values(x=tensor([[[[1, 2]], [[-1, 4]]]]), what=tensor([[0, 3]]), where=tensor([[[[1, -3]]]])),
        values(x=tensor([[[[1], [2]], [[3], [4]]]]), what=tensor([[-2, 1]]), where=tensor([[[[-1], [2]]]])),
        values(**branches(2, 3, 4, 5)),
        values(**branches(3, 3, 3, 3, seed=10)),
        values(**branches(1, 5, 1, 1, seed=20)),
        values(**{name: value.double() for name, value in branches(2, 4, 2, 4, seed=30).items()}),
        gradients(**branches(2, 3, 2, 4, seed=40)),
    ),
    mistakes=(
        Mistake("product", "You multiplied the branches, as the authors' code does. The paper adds them; so do we.",
                partial(joined, logits=torch.mul)),
        Mistake("no-shortcut", "x itself is missing: you return x · M. BAM returns x + x · M.",
                partial(joined, apply=lambda x, M: x * M)),
        Mistake("product-and-no-shortcut",
                "Two things: you multiplied the branches (the paper adds), and x itself is missing: x + x · M.",
                partial(joined, logits=torch.mul, apply=lambda x, M: x * M)),
        Mistake("product-and-added-gate",
                "Two things: you multiplied the branches (the paper adds), and you added M to x: x + x · M.",
                partial(joined, logits=torch.mul, apply=torch.add)),
        Mistake("wrong-axis-and-no-shortcut",
                "Two things: `what`, (B, C), needs two more axes, (B, C, 1, 1), and x itself is missing: x + x · M.",
                lambda x, c, s: x * (c + s).sigmoid(), lambda x, c, s: x * (c[..., None] + s).sigmoid()),
        Mistake("returned-gate", "You returned the gate, 1 + M. Return x scaled by it.",
                partial(joined, apply=lambda x, M: 1 + M)),
        Mistake("returned-map", "You returned the attention map M. Return x scaled by the gate, x + x · M.",
                partial(joined, apply=lambda x, M: M)),
        Mistake("added-gate", "You added M to x. The second x is missing: x + x · M.",
                partial(joined, apply=torch.add)),
        Mistake("one-inside-sigmoid", "The 1 is inside the sigmoid. It is added to the sigmoid's result: 1 + σ(…).",
                partial(joined, logits=lambda c, s: 1 + c + s, apply=lambda x, M: x * M)),
        Mistake("no-sigmoid", "The sigmoid is missing: M leaves the interval (0, 1).",
                partial(joined, outer=lambda a: a)),
        Mistake("two-sigmoids", "You took a sigmoid of each branch. BAM joins the branches first: one sigmoid.",
                lambda x, c, s: x + x * (c.sigmoid()[:, :, None, None] + s.sigmoid()),
                lambda x, c, s: x + x * (c.sigmoid()[:, :, None, None] * s.sigmoid()),
                lambda x, c, s: x * c.sigmoid()[:, :, None, None] * s.sigmoid(),
                lambda x, c, s: x + x * (c.sigmoid()[:, :, None, None] + s.sigmoid()) / 2,
                lambda x, c, s: x + x * (c.sigmoid()[:, :, None, None] + s.sigmoid()).sigmoid()),
        Mistake("sigmoid-of-one-branch", "Only one branch goes through the sigmoid. Join first, then take it.",
                lambda x, c, s: x + x * (c.sigmoid()[:, :, None, None] + s),
                lambda x, c, s: x + x * (c[:, :, None, None] + s.sigmoid())),
        Mistake("only-what", "You left the spatial branch out: every position gets the same gate.",
                partial(joined, logits=lambda c, s: c + 0 * s)),
        Mistake("only-where", "You left the channel branch out: every channel gets the same gate.",
                partial(joined, logits=lambda c, s: 0 * c + s)),
        Mistake("sigmoid-after-x", "You multiplied by x before the sigmoid. The sigmoid makes M; x comes after it.",
                lambda x, c, s: x + (x * (c[:, :, None, None] + s)).sigmoid()),
        Mistake("wrong-axis", "`what`, (B, C), landed on another axis than C. Give it two more axes: (B, C, 1, 1).",
                lambda x, c, s: x + x * (c + s).sigmoid(), lambda x, c, s: x + x * (c[..., None] + s).sigmoid(),
                lambda x, c, s: x + x * (c[:, None, None] + s).sigmoid(),
                lambda x, c, s: x + x * (c[:, None, :, None] + s).sigmoid()),
        Mistake("larger-branch", "You took the larger of the two branches. Add them.",
                partial(joined, logits=torch.maximum)),
        Mistake("mean", "You halved the sum.", partial(joined, logits=lambda c, s: (c + s) / 2)),
        Mistake("other-gate", "You took another function than the sigmoid.",
                *(partial(joined, outer=outer) for outer in (
                    torch.tanh, torch.relu, torch.exp, partial(torch.softmax, dim=1),
                    lambda a: a.flatten(2).softmax(-1).view_as(a)))),
        Mistake("subtracted", "You subtracted: x · (1 - M) turns down what M turns up.",
                partial(joined, apply=lambda x, M: x - x * M)),
        Mistake("x-twice", "x is in your sum once too often: the gate is 1 + M, not 2 + M.",
                partial(joined, apply=lambda x, M: x + x * (1 + M))),
        Mistake("detached", "You cut the gate off from the gradient: the branches could never be trained.",
                lambda x, c, s: joined(x, c.detach(), s.detach()), lambda x, c, s: joined(x, c.detach(), s),
                lambda x, c, s: joined(x, c, s.detach())),
    ),
    hints=(
        "Three shapes meet: (B, C), (B, 1, H, W) and (B, C, H, W). What has to happen to the first one?",
        "Add the branches with broadcasting, take one sigmoid, and scale x by 1 + M.",
        "`M = torch.sigmoid(what[:, :, None, None] + where)`; then x plus x times M.",
    ),
    tested="values by hand and on 7 maps, non-square, 1×1, one image and several, C = H = W, float64; gradients of all "
           "three inputs; inputs unchanged",
)

# --- spatial ---------------------------------------------------------------------------------------------------------


class SpatialBranch(nn.Module):
    """BAM's spatial branch; each argument is the right part unless a mistake replaces it."""

    def __init__(self, channels, reduction=16, dilation=4, *, hidden=lambda C, r: max(1, C // r), pad=identity,
                 dilations=lambda d: (d, d), relus=(True, True, True), norm="end", bias=True,
                 shared=False, ends=True, maps=lambda C: 1, end=identity, before_norm=identity,
                 detach=False, apply=lambda x, Ms: Ms):
        super().__init__()
        width = hidden(channels, reduction)
        self.steps = nn.Sequential()
        layers = [nn.Conv2d(channels, width, 1, bias=bias)]
        layers += [nn.Conv2d(width, width, 3, padding=pad(d), dilation=d, bias=bias) for d in dilations(dilation)]
        if shared:
            layers[2] = layers[1]
        normed = {"inside": (0, 1, 2), "behind 3×3": (1, 2), "behind 1×1": (0,)}.get(norm, ())
        for i, (layer, relu) in enumerate(zip(layers, [*relus, *[True] * len(layers)])):
            self.steps.append(layer)
            if i in normed:
                self.steps.append(nn.BatchNorm2d(width))
            if relu:
                self.steps.append(nn.ReLU())
        self.steps.append(nn.Conv2d(width, maps(channels), 1, bias=bias))
        self.norm = nn.BatchNorm2d(maps(channels)) if ends and norm != "none" else nn.Identity()
        self.end, self.before_norm, self.detach, self.finish = end, before_norm, detach, apply

    def forward(self, x):
        Ms = self.end(self.norm(self.before_norm(self.steps(x.detach() if self.detach else x))))
        return self.finish(x, Ms)


class UndilatedPadded(SpatialBranch):
    """Padding by the dilation, but no dilation."""

    def __init__(self, channels, reduction=16, dilation=4):
        super().__init__(channels, reduction, dilation, dilations=lambda d: (1, 1), pad=lambda _: dilation)


class OnePadding1(SpatialBranch):
    """One of the two 3×3 layers with padding 1."""

    def __init__(self, channels, reduction=16, dilation=4, first=True):
        super().__init__(channels, reduction, dilation)
        self.steps[2 if first else 4].padding = (1, 1)


def fill(branch: nn.Module, *_: int) -> None:
    """From the shapes alone, so that it does not matter what the parameters are called."""
    for p in branch.parameters():
        if p.ndim > 1:
            p.copy_(randn(*p.shape, seed=100 + p.shape[-1]) * (2 * len(p) / max(1, p.numel()))**0.5)
        else:
            p.copy_(randn(*p.shape, seed=200).abs())  # above 0: some hidden unit stays alive
    fill_norms(branch, weight=1.5, bias=0.25, mean=0.5, variance=2.0)


your_branch = BlockCases(
    own=SpatialBranch,
    ready=BAM,
    used=("used-bam", "Your branch is made of the course's BAM. Build it from nn.Conv2d layers."),
    fill=fill,
    count="The branch has another number of parameters than C·c' + 18·c'² + 4·c' + 3, c' = max(1, C // r).",
    instance="You passed a module. Pass the class itself, with no parentheses behind it.",
    name="branch",
)
variant = variants(SpatialBranch)

spatial = Exercise(
    id="bam.spatial",
    title="Build the spatial branch",
    reference=SpatialBranch,
    cases=(
        your_branch.output(tensor([[[[1, -1]], [[2, 0]]]]), 2, reduction=2, dilation=1, mode=".eval()"),
        your_branch.output(tensor([[[[1], [-2]], [[0], [3]], [[2], [2]]]]), 3, reduction=16, dilation=1,
                           mode=".eval()"),
        your_branch.output(randn(1, 8, 5, 4, seed=1), 8, reduction=4, dilation=1, mode=".eval()"),
        your_branch.output(randn(2, 8, 9, 7, seed=2), 8, reduction=2, dilation=2, mode=".eval()"),
        your_branch.output(randn(2, 8, 7, 7, seed=3), 8, reduction=4, dilation=4, mode=".eval()"),
        your_branch.output(randn(1, 6, 12, 19, seed=4), 6, reduction=3, dilation=4, mode=".eval()"),
        your_branch.output(randn(1, 16, 9, 9, seed=5), 16, reduction=2, mode=".eval()"),
        your_branch.output(randn(1, 64, 6, 6, seed=6), 64, dilation=3, mode=".eval()"),
        your_branch.output(randn(2, 8, 6, 6, seed=7).double(), 8, reduction=4, dilation=3, mode=".eval()"),
        your_branch.output(randn(3, 8, 6, 5, seed=8), 8, reduction=2, dilation=2, mode=".train()"),
        your_branch.parameters(32, reduction=16),
        your_branch.parameters(64),
        your_branch.parameters(64, reduction=4),
        your_branch.parameters(7, reduction=2),
        your_branch.parameters(3, reduction=16),
        your_branch.gradients(randn(2, 8, 5, 7, seed=8), 8, reduction=2, dilation=2, mode=".eval()"),
        your_branch.dtype(randn(2, 8, 5, 7, seed=9), 8, reduction=2, dilation=2),
    ),
    mistakes=(
        Mistake("padding-1",
                "Your 3×3 layers have padding 1 whatever the dilation is: the map shrinks. It takes padding=dilation.",
                variant(pad=lambda d: 1)),
        Mistake("no-padding", "Your 3×3 layers have no padding, so the map shrinks. It takes padding=dilation.",
                variant(pad=lambda d: 0)),
        Mistake("dilation-ignored", "Your 3×3 layers do not use `dilation`.",
                *(variant(dilations=lambda d, n=n: (n, n)) for n in (1, 2, 4)),
                *(variant(dilations=lambda d, n=n: (n, n), pad=lambda d, n=n: n) for n in (1, 2, 4))),
        Mistake("padding-without-dilation",
                "Your 3×3 layers are padded by `dilation` but not dilated, so the map grows. Add dilation=dilation.",
                UndilatedPadded),
        Mistake("one-layer-dilated", "One of your two 3×3 layers is not dilated.",
                variant(dilations=lambda d: (1, d)), variant(dilations=lambda d: (d, 1))),
        Mistake("one-layer", "There is one 3×3 layer. BAM has two.", variant(dilations=lambda d: (d,))),
        Mistake("one-layer-padding-1",
                "Two things: there is one 3×3 layer, and BAM has two; and its padding is 1 whatever the dilation is: "
                "it takes padding=dilation.", variant(dilations=lambda d: (d,), pad=lambda d: 1)),
        Mistake("one-layer-twice",
                "You use one 3×3 layer twice. The two 3×3 layers need weights of their own: make two nn.Conv2d.",
                variant(shared=True)),
        Mistake("one-padding-1",
                "One of your 3×3 layers has padding 1 whatever the dilation is: the map shrinks. It takes "
                "padding=dilation.", OnePadding1, partial(OnePadding1, first=False)),
        Mistake("three-layers", "There are three 3×3 layers. BAM has two.", variant(dilations=lambda d: (d, d, d))),
        Mistake("reduction-ignored", "Your hidden layers do not use `reduction`.",
                *(variant(hidden=lambda C, r, n=n: max(1, C // n)) for n in (16, 8, 4, 2, 1))),
        Mistake("reduction-as-width", "You used `reduction` as the number of hidden channels. It is C // r: r divides.",
                variant(hidden=lambda C, r: r)),
        Mistake("hidden-width-0", "With C below r, C // r is 0: no hidden channel is left. Take max(1, C // r).",
                variant(hidden=lambda C, r: C // r)),
        Mistake("hidden-width-0-and-more",
                "With C below r, C // r is 0: take max(1, C // r). Something else is wrong too; mend this first.",
                *(variant(hidden=lambda C, r: C // r, **other) for other in (
                    {"pad": lambda d: 1}, {"pad": lambda d: 0}, {"norm": "none"}, {"norm": "inside"},
                    {"norm": "inside", "ends": False}, {"relus": (False, False, False)}, {"end": torch.sigmoid},
                    {"bias": False}))),
        Mistake("no-relu", "The ReLUs are missing. Without them the whole branch is one linear map.",
                variant(relus=(False, False, False))),
        Mistake("relu-missing", "One hidden layer has no ReLU behind it. All three have one.",
                *(variant(relus=tuple(i != k for i in range(3))) for k in range(3)),
                variant(relus=(True, False, False)), variant(relus=(False, False, True)),
                variant(relus=(False, True, False))),
        Mistake("relu-at-end", "There is a ReLU at the end. The map may be negative: that means 'not here'.",
                variant(end=torch.relu), variant(before_norm=torch.relu)),
        Mistake("sigmoid-at-end", "There is a sigmoid at the end. It comes later, after the branches are joined.",
                variant(end=torch.sigmoid), variant(before_norm=torch.sigmoid),
                variant(end=torch.sigmoid, norm="none")),
        Mistake("no-batch-norm", "The BatchNorm at the end is missing.", variant(norm="none")),
        Mistake("batch-norm-inside",
                "You put BatchNorm after each hidden layer, as the authors' code does. Here, as in the paper, there is "
                "one, at the end.", variant(norm="inside", ends=False), variant(norm="inside")),
        Mistake("batch-norm-behind-3×3",
                "You put BatchNorm behind both 3×3 layers. Here, as in the paper, there is one, at the end.",
                variant(norm="behind 3×3"), variant(norm="behind 3×3", ends=False)),
        Mistake("batch-norm-behind-first",
                "You put BatchNorm behind the first layer. Here, as in the paper, there is one, at the end.",
                variant(norm="behind 1×1"), variant(norm="behind 1×1", ends=False)),
        Mistake("map-per-channel", "You made one map per channel. The branch says where, for all channels: one map.",
                variant(maps=identity)),
        Mistake("returned-product", "You scaled x. The branch returns its map alone, (B, 1, H, W).",
                variant(apply=lambda x, Ms: x * Ms), variant(apply=lambda x, Ms: x * Ms.sigmoid()),
                variant(apply=lambda x, Ms: x * (1 + Ms.sigmoid())), variant(apply=lambda x, Ms: x + x * Ms.sigmoid())),
        Mistake("expanded", "You repeated the map for every channel. Return (B, 1, H, W); broadcasting does the rest.",
                variant(apply=lambda x, Ms: Ms.expand_as(x))),
        Mistake("lost-axis", "The channel axis is gone. The map is (B, 1, H, W), with an axis of length 1.",
                variant(apply=lambda x, Ms: Ms[:, 0]), variant(apply=lambda x, Ms: Ms.squeeze())),
        Mistake("no-biases", "The convolutions lack their bias. Here they have one, as in the authors' code.",
                variant(bias=False)),
        Mistake("detached", "You cut the branch off from x.", variant(detach=True)),
    ),
    hints=(
        "Four convolutions: 1×1, 3×3, 3×3, 1×1. How many channels has each at its input and at its output?",
        "C → c', c' → c' (dilated), c' → c' (dilated), c' → 1, with a ReLU after the first three and a BatchNorm2d(1) "
        "at the end. A dilated 3×3 layer keeps the size when padding and dilation are equal.",
        "`hidden = max(1, channels // reduction)`; the middle layers are `nn.Conv2d(hidden, hidden, 3, "
        "padding=dilation, dilation=dilation)`. Put all into one `nn.Sequential`, `nn.BatchNorm2d(1)` last.",
    ),
    tested="values with copied weights on 10 maps: non-square, smaller than the kernel, one image and several, C "
           "below r, float64, defaults, in eval and in training mode; C·c' + 18·c'² + 4·c' + 3 parameters; gradients "
           "of x and of every parameter",
)
