"""Checkers of the Grad-CAM chapter: the channels' weights, the map, its stretching, and two ways to the gradient."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncourse import gradcam
from attncourse.checks.cases import describe, randn, tensor, values
from attncourse.checks.compare import Problem, show
from attncourse.checks.engine import Case, Exercise, Mistake

# --- channel_weights -------------------------------------------------------------------------------------------------

channel_weights = Exercise(
    id="gradcam.channel_weights",
    title="One weight per channel",
    reference=lambda gradient: gradient.mean((2, 3)),
    cases=(
        values(gradient=tensor([[[[1, 3]], [[-2, 0]]]])),
        values(gradient=tensor([[[[2], [-4]]], [[[1], [5]]]])),
        values(gradient=randn(2, 3, 4, 5)),
        values(gradient=randn(1, 6, 1, 1, seed=1)),
        values(gradient=randn(3, 3, 3, 3, seed=2).double()),
        values(gradient=randn(1, 5, 7, 7, seed=3)),
    ),
    mistakes=(
        Mistake("sum", "You summed over the positions. Equation 1 of the paper takes the mean.",
                lambda g: g.sum((2, 3))),
        Mistake("divided-by-one-side", "You summed over both axes of space and divided by one side only. The mean "
                "divides by h · w.",
                lambda g: g.sum((2, 3)) / g.shape[2], lambda g: g.sum((2, 3)) / g.shape[3],
                lambda g: g.sum(3).mean(2), lambda g: g.sum(2).mean(2)),
        Mistake("averaged-channels", "You averaged over the channels. Each channel needs a weight of its own: average "
                "over its positions.",
                lambda g: g.mean(1), lambda g: g.mean(1, keepdim=True), lambda g: g.mean(1).flatten(1)),
        Mistake("averaged-batch", "You averaged over the images as well. Each image has its own gradient.",
                lambda g: g.mean((0, 2, 3)), lambda g: g.mean(0), lambda g: g.mean((0, 2, 3)).expand(len(g), -1)),
        Mistake("relu", "You dropped what is negative. A channel that speaks against the class has a negative weight; "
                "the ReLU comes after the sum over channels.",
                lambda g: g.relu().mean((2, 3)), lambda g: g.mean((2, 3)).relu()),
        Mistake("absolute", "You took absolute values. A channel that speaks against the class has a negative weight.",
                lambda g: g.abs().mean((2, 3)), lambda g: g.mean((2, 3)).abs()),
        Mistake("maximum", "You took the largest gradient of each channel. Equation 1 of the paper takes the mean.",
                lambda g: g.amax((2, 3)), lambda g: g.abs().amax((2, 3))),
        Mistake("one-axis-only", "You averaged over one of the two axes of space. Both have to go.",
                lambda g: g.mean(3), lambda g: g.mean(2)),
        Mistake("kept-axes", "The values are right, but h and w are still there, with length 1. The result is (B, K).",
                lambda g: g.mean((2, 3), keepdim=True)),
        Mistake("lost-batch", "A plain `squeeze()` drops every axis of length 1, that of a single image too.",
                lambda g: g.mean((2, 3), keepdim=True).squeeze(), lambda g: g.mean((2, 3)).squeeze()),
        Mistake("normalised", "You normalised the weights. Their scale and sign are part of the answer.",
                lambda g: g.mean((2, 3)).softmax(1), lambda g: F.normalize(g.mean((2, 3)), dim=1),
                lambda g: g.mean((2, 3)) / g.mean((2, 3)).sum(1, keepdim=True)),
    ),
    hints=(
        "Which axes of (B, K, h, w) are positions? Those have to go, and a weight per image and channel stays.",
        "It is the squeeze of SE, applied to the gradient: a mean over the axes 2 and 3.",
        "`gradient.mean(...)` with the tuple of these two axes.",
    ),
    tested="values on 6 gradients: non-square, 1×1, one image and several, float64; the gradient unchanged",
)

# --- class_map -------------------------------------------------------------------------------------------------------


def weighted(A: Tensor, gradient: Tensor) -> Tensor:
    return (gradient.mean((2, 3), keepdim=True) * A).sum(1)


def min_max(maps: Tensor, small: float = 0) -> Tensor:
    lowest, highest = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return (maps - lowest) / (highest - lowest + small)


RELU_ON_MAPS = "You rectified A. The channels have to be able to cancel each other, so its negative values count: " \
               "the only ReLU comes after the sum."
MIN_MAX = "You stretched the values from the smallest to the highest. 0 means that nothing speaks for the class and " \
          "has to stay 0; here the scale is part of the answer."


class_map = Exercise(
    id="gradcam.class_map",
    title="The map from maps and gradient",
    reference=gradcam.class_map,
    cases=(
        values(A=tensor([[[[1, 2]], [[3, 1]]]]), gradient=tensor([[[[1, 1]], [[2, 2]]]])),
        values(A=tensor([[[[1, 2]], [[3, 1]]]]), gradient=tensor([[[[2, 4]], [[-1, -3]]]])),
        values(A=tensor([[[[1], [-2]]]]), gradient=tensor([[[[3], [-1]]]])),
        values(A=randn(2, 4, 3, 5), gradient=randn(2, 4, 3, 5, seed=1)),
        values(A=randn(1, 5, 4, 4, seed=2).relu(), gradient=randn(1, 5, 4, 4, seed=3)),
        values(A=randn(3, 3, 3, 3, seed=4).double(), gradient=randn(3, 3, 3, 3, seed=5).double()),
    ),
    mistakes=(
        Mistake("no-relu", "The ReLU at the end is missing: positions that speak against the class are left in.",
                weighted),
        Mistake("absolute", "You took the absolute value at the end. What speaks against the class then looks like "
                "what speaks for it; a ReLU drops it.",
                lambda A, g: weighted(A, g).abs()),
        Mistake("relu-per-channel", "You rectified each channel before the sum. The channels have to be able to cancel "
                "each other: sum first, then ReLU.",
                lambda A, g: (g.mean((2, 3), keepdim=True) * A).relu().sum(1)),
        Mistake("relu-on-gradient", "You rectified the gradient. A channel with a negative weight speaks against the "
                "class and has to count; the only ReLU comes at the end.",
                lambda A, g: weighted(A, g.relu()).relu(),
                lambda A, g: (g.mean((2, 3), keepdim=True).relu() * A).sum(1).relu(),
                lambda A, g: weighted(A, g.relu()), lambda A, g: (g.mean((2, 3), keepdim=True).relu() * A).sum(1)),
        Mistake("relu-on-maps", RELU_ON_MAPS,
                lambda A, g: weighted(A.relu(), g).relu(), lambda A, g: weighted(A.relu(), g)),
        Mistake("absolute-gradient", "You took the gradient's absolute value: then every channel speaks for the class.",
                lambda A, g: weighted(A, g.abs()).relu(),
                lambda A, g: (g.mean((2, 3), keepdim=True).abs() * A).sum(1).relu()),
        Mistake("not-averaged", "You multiplied the gradient with A position by position. Grad-CAM first averages the "
                "gradient over the positions (the other thing exists, too: it is called HiResCAM).",
                lambda A, g: (g * A).sum(1).relu(), lambda A, g: (g * A).sum(1)),
        Mistake("no-gradient", "The gradient is not used: you averaged A over its channels. That map is the same for "
                "every class.",
                lambda A, g: A.mean(1).relu(), lambda A, g: A.mean(1), lambda A, g: A.sum(1).relu()),
        Mistake("no-activation", "A is not used: you averaged the gradient over the channels.",
                lambda A, g: g.mean(1).relu(), lambda A, g: g.sum(1).relu(), lambda A, g: g.mean(1)),
        Mistake("swapped", "You weighted the gradient with the means of A. It is the other way round.",
                lambda A, g: weighted(g, A).relu(), lambda A, g: weighted(g, A)),
        Mistake("averaged-channels", "You took the mean over the channels at the end. Equation 2 of the paper sums.",
                lambda A, g: (g.mean((2, 3), keepdim=True) * A).mean(1).relu()),
        Mistake("summed-positions", "You summed the gradient over the positions. Equation 1 of the paper takes the "
                "mean.",
                lambda A, g: (g.sum((2, 3), keepdim=True) * A).sum(1).relu()),
        Mistake("averaged-batch", "You averaged over the images. Each image has weights of its own.",
                lambda A, g: (g.mean((0, 2, 3))[None, :, None, None] * A).sum(1).relu(),
                lambda A, g: (g.mean((0, 2, 3), keepdim=True) * A).sum(1).relu()),
        Mistake("kept-axis", "The values are right, but the axis of the channels is still there. The result is "
                "(B, h, w).",
                lambda A, g: (g.mean((2, 3), keepdim=True) * A).sum(1, keepdim=True).relu()),
        Mistake("no-relu-kept-axis", "Two things: the ReLU at the end is missing, and the axis of the channels is "
                "still there. The result is (B, h, w).",
                lambda A, g: (g.mean((2, 3), keepdim=True) * A).sum(1, keepdim=True)),
        Mistake("no-sum", "The sum over the channels is missing: you return one map per channel.",
                lambda A, g: (g.mean((2, 3), keepdim=True) * A).relu(), lambda A, g: g.mean((2, 3), keepdim=True) * A),
        Mistake("normalised", "You divided by the highest value. That comes later; here the scale is part of the "
                "answer.",
                lambda A, g: weighted(A, g).relu() / weighted(A, g).relu().amax((1, 2), keepdim=True),
                lambda A, g: weighted(A, g).relu() / weighted(A, g).relu().amax((1, 2), keepdim=True).clamp(1e-7),
                lambda A, g: weighted(A, g).relu() / weighted(A, g).max(),
                lambda A, g: weighted(A, g).relu() / (weighted(A, g).relu().amax((1, 2), keepdim=True) + 1e-8)),
        Mistake("min-max", MIN_MAX,
                *(lambda A, g, small=small: min_max(weighted(A, g).relu(), small) for small in (0, 1e-8, 1e-5)),
                *(lambda A, g, small=small: min_max(weighted(A, g), small) for small in (0, 1e-8, 1e-5))),
        Mistake("weights-without-axes", "Your weights are (B, K) when you multiply: PyTorch then lays them along h and "
                "w. They need two more axes, (B, K, 1, 1): `keepdim=True`.",
                lambda A, g: (g.mean((2, 3)) * A).sum(1).relu(), lambda A, g: (g.mean((2, 3)) * A).sum(1)),
        Mistake("softmax", "You took a softmax of the weights: they may be negative, and need not sum to 1.",
                lambda A, g: (g.mean((2, 3), keepdim=True).softmax(1) * A).sum(1).relu()),
    ),
    hints=(
        "Three steps: a weight per channel, a weighted sum of the maps, and something against negative values.",
        "α is `gradient.mean((2, 3))`. It must be multiplied with A, (B, K, h, w), and the sum goes over the channels.",
        "With `keepdim=True` α is (B, K, 1, 1): `(α * A).sum(1)` is (B, h, w). Then `.relu()`.",
    ),
    tested="values on 6 pairs of maps and gradients: by hand, negative weights, non-square, several images, float64; "
           "inputs unchanged",
)

# --- over_image ------------------------------------------------------------------------------------------------------


def stretched(maps: Tensor, height: int, width: int, **how) -> Tensor:
    return F.interpolate(maps[:, None], (height, width), **{"mode": "bilinear"} | how)[:, 0]


def over_image_reference(maps: Tensor, height: int, width: int) -> Tensor:
    return each_by_its_highest(stretched(maps, height, width))


def each_by_its_highest(maps: Tensor) -> Tensor:
    highest = maps.amax((1, 2), keepdim=True)
    return maps / highest.where(highest > 0, 1)


def by_range(maps: Tensor) -> Tensor:
    maps = maps - maps.amin((1, 2), keepdim=True)
    return each_by_its_highest(maps)


def by_one(maps: Tensor) -> Tensor:
    """One division for the whole batch."""
    return maps / maps.max() if maps.max() > 0 else maps


over_image = Exercise(
    id="gradcam.over_image",
    title="Stretch each map over its image",
    reference=over_image_reference,
    cases=(
        values(maps=tensor([[[1, 3]]]), height=1, width=4),
        values(maps=tensor([[[0.1, 0.4]]]), height=1, width=4),
        values(maps=tensor([[[0.002, 0.01]]]), height=1, width=4),
        values(maps=tensor([[[0, 2], [1, 0]]]), height=4, width=4),
        values(maps=tensor([[[0, 2]], [[1, 0.5]]]), height=2, width=6),
        values(maps=tensor([[[0, 0]], [[2, 1]]]), height=2, width=4),
        values(maps=randn(3, 3, 5).relu(), height=9, width=7),
        values(maps=randn(2, 7, 7, seed=1).relu().double(), height=28, width=28),
    ),
    mistakes=(
        Mistake("by-batch", "You divided all maps by one number, the highest value of the batch. Each map has a "
                "highest value of its own.",
                lambda m, h, w: by_one(stretched(m, h, w)), lambda m, h, w: stretched(m, h, w) / m.max(),
                lambda m, h, w: stretched(m, h, w) / stretched(m, h, w).max()),
        Mistake("min-max", "You subtracted each map's smallest value. 0 means here that nothing speaks for the class, "
                "and has to stay 0: divide by the highest value only.",
                lambda m, h, w: by_range(stretched(m, h, w)), lambda m, h, w: stretched(by_range(m), h, w),
                lambda m, h, w: (stretched(m, h, w) - stretched(m, h, w).amin((1, 2), keepdim=True)) / (
                    stretched(m, h, w).amax((1, 2), keepdim=True) - stretched(m, h, w).amin((1, 2), keepdim=True))),
        Mistake("nearest", "You repeated the nearest value, which makes blocks. Stretch with `mode=\"bilinear\"`.",
                lambda m, h, w: each_by_its_highest(F.interpolate(m[:, None], (h, w))[:, 0])),
        Mistake("bicubic", "You stretched with bicubic curves, which go below 0 and above the highest value. Use "
                "`mode=\"bilinear\"`.",
                lambda m, h, w: each_by_its_highest(stretched(m, h, w, mode="bicubic"))),
        Mistake("aligned-corners", "You aligned the corners: then the outer values stand at the image's edge instead "
                "of in the middle of their cells. Leave `align_corners` at False.",
                lambda m, h, w: each_by_its_highest(stretched(m, h, w, align_corners=True))),
        Mistake("swapped-sides", "Height and width are swapped.",
                lambda m, h, w: each_by_its_highest(stretched(m, w, h))),
        Mistake("normalised-too-early", "You divided before you stretched. Stretching averages neighbours, and the "
                "highest value may then lie below 1.",
                lambda m, h, w: stretched(each_by_its_highest(m), h, w)),
        Mistake("not-normalised", "You stretched the maps, but did not divide by the highest value.", stretched),
        Mistake("divided-by-zero", "A map may be 0 everywhere: nothing speaks for the class. Then you divide 0 by 0. "
                "Such a map stays 0.",
                lambda m, h, w: stretched(m, h, w) / stretched(m, h, w).amax((1, 2), keepdim=True)),
        Mistake("weak-map", "A map whose highest value is small stays weak: you do not divide by this value, but by at "
                "least 1, or by a little more. Put 1 in its place only where it is 0.",
                lambda m, h, w: stretched(m, h, w) / stretched(m, h, w).amax((1, 2), keepdim=True).clamp(min=1),
                *(lambda m, h, w, more=more: stretched(m, h, w) / (stretched(m, h, w).amax((1, 2), keepdim=True) + more)
                  for more in (1e-5, 1e-4, 1e-3, 1e-2, 1))),
        Mistake("divided-by-sum", "You divided by the sum. The highest value should become 1.",
                lambda m, h, w: stretched(m, h, w) / stretched(m, h, w).sum((1, 2), keepdim=True).clamp(1e-12)),
        Mistake("kept-axis", "The values are right, but the axis that interpolate needs is still there. The result is "
                "(B, H, W).",
                lambda m, h, w: over_image_reference(m, h, w)[:, None]),
    ),
    hints=(
        "Two steps, in this order: stretch, then divide. And think of a map that is 0 everywhere.",
        "`F.interpolate` wants (B, channels, h, w): give it an axis and take the axis away again. Each map's highest "
        "value is `amax((1, 2), keepdim=True)`.",
        "`F.interpolate(maps[:, None], (height, width), mode=\"bilinear\")[:, 0]`, and then divide by the highest "
        "value, with 1 in the place of each 0: `highest.where(highest > 0, 1)`.",
    ),
    tested="values on 8 batches: by hand, weak maps, several of different height, a map of zeros, non-square, float64; "
           "inputs unchanged",
)

# --- split_map: autograd alone ---------------------------------------------------------------------------------------


def two_parts(channels: int, height: int, width: int, classes: int = 3, seed: int = 0) -> tuple[nn.Module, nn.Module]:
    """A network of two parts whose head treats every position differently. Its weights are known."""
    features = nn.Sequential(nn.Conv2d(3, channels, 1, device="cpu"), nn.ReLU())
    head = nn.Sequential(nn.Flatten(), nn.Linear(channels * height * width, classes, device="cpu"), nn.Tanh(),
                         nn.Linear(classes, classes, device="cpu"))
    fill(nn.Sequential(features, head), seed)
    return features.eval(), head.eval()


def fill(model: nn.Module, seed: int) -> None:
    with torch.no_grad():
        for number, p in enumerate(model.parameters()):
            p.copy_(randn(*p.shape, seed=100 * seed + number))


def mapped(answer: Callable, *parts: object, images: Tensor, target: Tensor) -> Tensor:
    """The answer's maps without their graph; the images and the target must be left as they were."""
    given = images.clone(), target.clone()
    result = answer(*parts, *given)
    if not (torch.equal(given[0], images) and torch.equal(given[1], target)):
        raise Problem("mutated-input", "Your code changed the images or the target in place: make a new tensor.")
    return result


def mark(model: nn.Module) -> nn.Module:
    """Give the first and the last parameter a .grad, as training leaves it; the others have none."""
    for p in (first_and_last := list(model.parameters()))[::len(first_and_last) - 1]:
        p.grad = torch.ones_like(p)
    return model


def traces(model: nn.Module) -> str:
    """What an answer did to the .grad of a marked model."""
    first, *others, last = (p.grad for p in model.parameters())
    if any(grad is not None for grad in others):
        return "the parameters' .grad filled"
    if any(grad is None or not torch.equal(grad, torch.ones_like(grad)) for grad in (first, last)):
        return "another .grad than before"
    return "each .grad as it was"


class Split:
    """Cases of an exercise that takes the two parts of a network."""

    def __init__(self, channels: int, height: int, width: int, target: list[int], seed: int):
        self.make = lambda: two_parts(channels, height, width, seed=seed)
        self.images, self.target = randn(len(target), 3, height, width, seed=seed + 50), torch.tensor(target)
        self.shown = f"a network with {channels} maps of {height} × {width} and 3 classes; images of shape " \
                     f"{tuple(self.images.shape)}, target = {show(target)}"

    def values(self) -> Case:
        return Case(self.shown, lambda answer: mapped(answer, *self.make(), images=self.images, target=self.target))

    def detached(self) -> Case:
        def probe(answer: Callable) -> bool:
            result = mapped(answer, *self.make(), images=self.images, target=self.target)
            return isinstance(result, Tensor) and result.requires_grad
        return Case("requires_grad of your maps", probe, "not-detached", "Your maps still hang on the network's graph, "
                    "which keeps all of it in memory: detach them.")

    def clean(self) -> Case:
        def probe(answer: Callable) -> str:
            features, head = self.make()
            both = mark(nn.Sequential(features, head))
            mapped(answer, features, head, images=self.images, target=self.target)
            return traces(both)
        return Case("the parameters' .grad afterwards; some had one before", probe, "accumulated", "Your code changed "
                    "the .grad of the network's parameters. Whoever trains it needs them: use `torch.autograd.grad`, "
                    "which returns the gradient and leaves nothing behind.")


def chosen_logits(logits: Tensor, target: Tensor) -> Tensor:
    return logits.gather(1, target[:, None]).sum()


def split_variant(score: Callable = chosen_logits, combine: Callable = gradcam.class_map, backward: bool = False,
                  attached: bool = False, empty: bool = False, of_images: str = "") -> Callable:
    """A right split_map unless an argument replaces a part of it.

    Args:
        backward: call backward in place of autograd.grad; empty: and zero_grad after it. attached: no detach.
        of_images: take the gradient with respect to the images, and weight "A" or the "images" with it.
    """
    def split_map(features: nn.Module, head: nn.Module, images: Tensor, target: Tensor) -> Tensor:
        if of_images:
            pixels = images.clone().requires_grad_()
            A = features(pixels)
            gradient = torch.autograd.grad(score(head(A), target), pixels)[0]
            return combine((A if of_images == "A" else pixels).detach(), gradient)
        A = features(images) if attached else features(images).detach().requires_grad_()
        total = score(head(A), target)
        if backward:
            A.retain_grad()
            total.backward()
            if empty:
                features.zero_grad()
                head.zero_grad()
            return combine(A.detach(), A.grad)
        gradient = torch.autograd.grad(total, A)[0]
        return combine(A if attached else A.detach(), gradient)
    return split_map


SCORES = (  # what learners differentiate in place of the target's logit
    Mistake("probabilities", "You differentiated the probability, behind the softmax. There other classes matter, too, "
            "and where the network is sure the gradient is almost 0. Grad-CAM takes the logit.",
            lambda logits, target: chosen_logits(logits.softmax(1), target)),
    Mistake("log-probabilities", "You differentiated the log-probability (or the loss). Grad-CAM takes the logit, "
            "before any softmax.",
            lambda logits, target: chosen_logits(logits.log_softmax(1), target),
            lambda logits, target: F.cross_entropy(logits, target),
            lambda logits, target: F.cross_entropy(logits, target, reduction="sum")),
    Mistake("all-logits", "You summed the logits of all classes: the map does not depend on the target.",
            lambda logits, target: logits.sum()),
    Mistake("own-prediction", "You took the class that the network predicts. The target says which class is asked for.",
            lambda logits, target: logits.amax(1).sum(), lambda logits, target: logits.softmax(1).amax(1).sum(),
            lambda logits, target: logits.log_softmax(1).amax(1).sum()),
    Mistake("one-target-for-all", "You asked every image for the first image's class. Each image has its own target.",
            lambda logits, target: logits[:, target[0]].sum()),
    Mistake("targets-of-all-images", "`logits[:, target]` takes all the targets for every image. Take for each image "
            "its own: `logits.gather(1, target[:, None])`.",
            lambda logits, target: logits[:, target].sum()),
    Mistake("averaged-batch", "You took the mean over the images: each gradient is then too small by the number of "
            "images. Take the sum; the images do not influence each other.",
            lambda logits, target: chosen_logits(logits, target) / len(target)),
)
COMBINATIONS = (  # what learners do with maps and gradient
    Mistake("no-relu", "The ReLU at the end is missing.", weighted),
    Mistake("relu-on-gradient", "You rectified the gradient. Channels with negative weights have to count; the only "
            "ReLU comes at the end.",
            lambda A, g: weighted(A, g.relu()).relu(),
            lambda A, g: (g.mean((2, 3), keepdim=True).relu() * A).sum(1).relu()),
    Mistake("absolute", "You took absolute values. What speaks against the class then looks like what speaks for it.",
            lambda A, g: weighted(A, g).abs(), lambda A, g: weighted(A, g.abs()).relu()),
    Mistake("not-averaged", "You multiplied gradient and maps position by position. Grad-CAM first averages the "
            "gradient over the positions.",
            lambda A, g: (g * A).sum(1).relu()),
    Mistake("no-gradient", "You averaged the maps over the channels. Without the gradient the map is the same for "
            "every class.",
            lambda A, g: A.mean(1).relu()),
    Mistake("averaged-channels", "You took the mean over the channels at the end. Equation 2 of the paper sums.",
            lambda A, g: (g.mean((2, 3), keepdim=True) * A).mean(1).relu()),
    Mistake("summed-positions", "You summed the gradient over the positions. Equation 1 of the paper takes the mean.",
            lambda A, g: (g.sum((2, 3), keepdim=True) * A).sum(1).relu()),
    Mistake("normalised", "You divided by the highest value. Return the map as it is; its scale is checked.",
            lambda A, g: each_by_its_highest(gradcam.class_map(A, g)),
            lambda A, g: gradcam.class_map(A, g) / gradcam.class_map(A, g).max()),
)


def with_parts(variant: Callable) -> tuple[Mistake, ...]:
    """The mistakes above as answers: variant(score=…) and variant(combine=…) make them."""
    scores = [Mistake(each.cause, each.message, *(variant(score=wrong) for wrong in each.wrong)) for each in SCORES]
    return (*scores, *(Mistake(each.cause, each.message, *(variant(combine=wrong) for wrong in each.wrong))
                       for each in COMBINATIONS))


split_map = Exercise(
    id="gradcam.split_map",
    title="Grad-CAM of a network in two parts",
    reference=split_variant(),
    cases=(
        Split(1, 1, 2, [0], seed=5).values(),
        Split(2, 2, 3, [2], seed=1).values(),
        Split(4, 3, 2, [0, 2], seed=3).values(),
        Split(5, 3, 3, [1, 0, 2], seed=4).values(),
        Split(2, 2, 3, [2], seed=1).detached(),
        Split(2, 2, 3, [2], seed=1).clean(),
    ),
    mistakes=(
        *with_parts(split_variant),
        Mistake("min-max", MIN_MAX, split_variant(combine=lambda A, g: min_max(weighted(A, g).relu())),
                split_variant(combine=lambda A, g: min_max(weighted(A, g).relu(), 1e-8))),
        Mistake("accumulated", "The map is right, but `backward` filled the .grad of the network's parameters. Whoever "
                "trains it would add that to the next step: use `torch.autograd.grad`.",
                split_variant(backward=True), split_variant(backward=True, attached=True)),
        Mistake("emptied", "The map is right, but `zero_grad` threw away the .grad that the parameters had before: use "
                "`torch.autograd.grad`, which does not touch them.",
                split_variant(backward=True, empty=True), split_variant(backward=True, empty=True, attached=True)),
        Mistake("gradient-of-images", "You took the gradient with respect to the images. It is wanted with respect to "
                "A, the output of `features`.",
                split_variant(of_images="A"), split_variant(of_images="images")),
        Mistake("not-detached", "The map is right, but still hangs on the network's graph, which keeps all of it in "
                "memory: detach A before you combine.",
                split_variant(attached=True)),
    ),
    hints=(
        "You need A and the gradient of one number per image with respect to A. `class_map` does the rest.",
        "Run `features`, cut its output off with `.detach()` and make it a leaf with `.requires_grad_()`; run `head` "
        "on it. Then pick for each image the logit of its own target, and sum these.",
        "`score = head(A).gather(1, target[:, None]).sum()`, `gradient = torch.autograd.grad(score, A)[0]`, and "
        "`class_map(A.detach(), gradient)`.",
    ),
    tested="values on 4 networks with one image and several; the maps carry no graph; the parameters' .grad, full or "
           "empty, as it was; images and target unchanged",
)

# --- hooked_map: any layer of a whole network ------------------------------------------------------------------------


def small_network(seed: int = 0) -> nn.Sequential:
    """A CNN for images (B, 3, 4, 3) with a BatchNorm before an in-place ReLU, and with known weights."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, device="cpu"), nn.BatchNorm2d(4, device="cpu"),
                          nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(48, 3, device="cpu"), nn.Tanh(),
                          nn.Linear(3, 3, device="cpu"))
    fill(model, seed)
    with torch.no_grad():
        model[1].running_mean.copy_(randn(4, seed=7))
    return model.eval()


IMAGES, TARGET = randn(2, 3, 4, 3, seed=9), torch.tensor([2, 1])
SHOWN = f"a small CNN, {describe(images=IMAGES, target=TARGET)}, layer = "


def ask(answer: Callable, *given: object) -> object:
    """The answer, or a Problem where it gave its leaf to the in-place ReLU."""
    try:
        return answer(*given)
    except RuntimeError as error:
        if "a leaf Variable that requires grad" in str(error):
            raise Problem("leaf-handed-on", "You handed the leaf itself on; the in-place ReLU cannot write into it: "
                          "return a clone.") from error
        raise


def hooked(layer: int, shown: str, cause: str = "wrong-values", message: str = "The values are not right.",
           prepare: Callable = lambda model: model) -> Case:
    """The maps of one layer of the network, prepared as the case wants it."""
    def probe(answer: Callable) -> Tensor:
        model = prepare(small_network())
        return mapped(lambda *given: ask(answer, model, model[layer], *given), images=IMAGES, target=TARGET)
    return Case(SHOWN + shown, probe, cause, message)


def hook_of_another(module: nn.Module, inputs: tuple, output: Tensor) -> None:
    """A hook that was on the layer before."""


def after(see: Callable, shown: str, cause: str, message: str, training: bool = False,
          images: Tensor = IMAGES) -> Case:
    """What see(model, maps) finds when the answer is done. An error of the model itself is let pass."""
    def probe(answer: Callable) -> object:
        model, maps = mark(small_network().train(training)), None
        model[3].train(not training)  # modules may differ in their mode
        model[0].weight.requires_grad_(False)  # and parameters in whether they are trained
        model[1].register_forward_hook(hook_of_another)
        try:
            maps = ask(answer, model, model[1], images.clone(), TARGET.clone())
        except Exception:  # what the CNN raised, or what the answer made of it
            if images is IMAGES:
                raise
        return see(model, maps)
    return Case(shown, probe, cause, message)


def hooks_of(model: nn.Module, maps: object) -> str:
    left = sum(len(module._forward_hooks) + len(module._backward_hooks) + len(module._forward_pre_hooks)
               for module in model.modules())
    if hook_of_another not in model[1]._forward_hooks.values():
        return "the hook that was there before is gone"
    return f"{left - 1} hooks more than before"


def modes_of(model: nn.Module, maps: object) -> str:
    return ", ".join("train" if module.training else "eval" for module in model.modules())


def switches_of(model: nn.Module, maps: object) -> str:
    return f"in-place {model[2].inplace}, requires_grad {[p.requires_grad for p in model.parameters()]}"


def hooked_variant(score: Callable = chosen_logits, combine: Callable = gradcam.class_map, clone: bool = True,
                   cut: bool = True, keep: str = "output", remove: str = "finally", mode: str = "restored",
                   backward: bool = False, empty: bool = False, behind: bool = False, leaf: bool = False) -> Callable:
    """A right hooked_map unless an argument replaces a part of it.

    Args:
        clone: what is stored is safe from an in-place layer. cut: the stored map is a new leaf.
        keep: what the hook stores, "output" or "input".
        remove: "finally", "end", "never" or "clear", which removes all hooks of the layer.
        mode: "restored", "eval" (left so), "as found", "train" (left so) or "root", the CNN's own mode for all modules.
        backward: call backward instead of autograd.grad; empty: and zero_grad after it.
        behind: take the gradient at the output after the in-place layer has changed it.
        leaf: make the images need a gradient, so that one passes the layer in a frozen network, too.
    """
    def hooked_map(model: nn.Module, layer: nn.Module, images: Tensor, target: Tensor) -> Tensor:
        modes, stored = [module.training for module in model.modules()], {}

        def hook(module: nn.Module, inputs: tuple, output: Tensor) -> Tensor | None:
            if cut:
                stored["A"] = output.detach().clone().requires_grad_()
                return stored["A"].clone()
            stored["A"] = inputs[0].detach() if keep == "input" else output.detach()
            stored["A"] = stored["A"].clone() if clone else stored["A"]
            stored["output"] = output
            if not behind:
                (inputs[0] if keep == "input" else output).register_hook(lambda g: stored.update(gradient=g))
            return None

        def finish() -> None:
            handle.remove()
            for module, training in zip(model.modules(), modes):
                module.training = training

        images = images.clone().requires_grad_(leaf)
        handle = layer.register_forward_hook(hook)
        if mode != "as found":
            model.eval()
        try:
            total = score(model(images), target)
        except RuntimeError:
            if remove == "finally":
                finish()
            if remove == "clear":
                layer._forward_hooks.clear()
            raise
        if cut:
            stored["gradient"] = torch.autograd.grad(total, stored["A"], retain_graph=True)[0]
        if behind:
            stored["gradient"] = torch.autograd.grad(total, stored["output"], retain_graph=True)[0]
        if backward:
            total.backward()
            if empty:
                model.zero_grad()
        elif not cut and not behind:
            ends = [images] if leaf else [p for p in model.parameters() if p.requires_grad]
            torch.autograd.grad(total, ends, allow_unused=True)
        if remove == "clear":
            layer._forward_hooks.clear()
        elif remove != "never":
            handle.remove()
        if mode in ("train", "root"):
            model.train(mode == "train" or modes[0])
        if mode == "restored":
            for module, training in zip(model.modules(), modes):
                module.training = training
        return combine(stored["A"].detach(), stored["gradient"])
    return hooked_map


def with_module_hooks(remove: str = "finally", mode: str = "restored") -> Callable:
    """The gradient from a backward hook on the module: PyTorch refuses that before an in-place layer."""
    def hooked_map(model: nn.Module, layer: nn.Module, images: Tensor, target: Tensor) -> Tensor:
        modes, stored = [module.training for module in model.modules()], {}
        handles = [
            layer.register_forward_hook(lambda module, inputs, output: stored.update(A=output.detach().clone())),
            layer.register_full_backward_hook(lambda module, inputs, outputs: stored.update(gradient=outputs[0]))]

        def finish() -> None:
            for handle in handles:
                handle.remove()
            for module, training in zip(model.modules(), modes if mode == "restored" else ()):
                module.training = training

        if mode != "as found":
            model.eval()
        try:
            chosen_logits(model(images), target).backward()
        except RuntimeError:
            if remove == "finally":
                finish()
            raise
        finish()
        return gradcam.class_map(stored["A"], stored["gradient"])
    return hooked_map


def ways(**wrong: object) -> list[Callable]:
    """A mistake made on a cut, and in the usual way with a hook on the output."""
    return [hooked_variant(**changes | wrong) for changes in (
        {}, {"cut": False}, {"cut": False, "backward": True}, {"cut": False, "leaf": True},
        {"cut": False, "leaf": True, "backward": True})]


hooked_map = Exercise(
    id="gradcam.hooked_map",
    title="Grad-CAM of any layer, with a hook",
    reference=hooked_variant(),
    cases=(
        hooked(0, "its convolution"),
        hooked(1, "its BatchNorm, which an in-place ReLU follows", "overwritten", "For a layer that no in-place layer "
               "follows the map is right, for this one it is not: an in-place ReLU has changed what you stored."),
        hooked(1, "its BatchNorm; the CNN comes in training mode", "training-mode", "The CNN comes in training mode, "
               "where BatchNorm mixes the images of the batch. Use it in eval mode.", nn.Module.train),
        hooked(1, "its BatchNorm; all parameters frozen", "frozen-network", "All parameters of this CNN are frozen "
               "(`requires_grad_(False)`), so no gradient arrives at the layer on its own.",
               lambda model: model.requires_grad_(False)),
        after(hooks_of, "the hooks on the CNN afterwards", "hooks-left", "A hook is still on the CNN: it will run in "
              "every forward pass from now on. Remove it."),
        after(hooks_of, "the hooks after images that the CNN does not take", "hooks-left-after-error", "When the CNN "
              "raises an error, your hook stays on it. Remove it in a `finally`.", images=randn(2, 3, 5, 5)),
        after(modes_of, "the modes of the CNN's modules afterwards", "mode-changed", "The modules are not in the modes "
              "in which they came.", training=True),
        after(lambda model, maps: traces(model), "the parameters' .grad afterwards; some had one before", "accumulated",
              "Your code changed the .grad of the CNN's parameters: use `torch.autograd.grad`."),
        after(switches_of, "`inplace` of the ReLU and `requires_grad` of the parameters afterwards", "switches-changed",
              "Your code changed the CNN and left it so: `inplace` of its ReLU, or `requires_grad` of its parameters."),
    ),
    mistakes=(
        *with_parts(hooked_variant),
        Mistake("relu-on-maps", RELU_ON_MAPS, hooked_variant(combine=lambda A, g: weighted(A.relu(), g).relu()),
                hooked_variant(combine=lambda A, g: weighted(A.relu(), g))),
        Mistake("overwritten", "Your hook stores the layer's output without a copy, and the in-place ReLU that follows "
                "writes into it. What you weighted is no longer what the layer gave: clone it.",
                *ways(cut=False, clone=False), *ways(cut=False, clone=False, remove="end"),
                *ways(cut=False, clone=False, mode="eval"), *ways(cut=False, clone=False, remove="end", mode="eval"),
                *ways(cut=False, clone=False, remove="end", mode="as found"),
                *ways(cut=False, clone=False, remove="never", mode="as found")),
        Mistake("gradient-behind", "You took the gradient at the output after the in-place ReLU had changed it: it "
                "belongs to what stands behind the ReLU. Cut there, and hand a copy on.",
                hooked_variant(cut=False, behind=True), hooked_variant(cut=False, behind=True, clone=False),
                hooked_variant(cut=False, behind=True, clone=False, remove="end"),
                hooked_variant(cut=False, behind=True, remove="end")),
        Mistake("module-backward-hook", "PyTorch does not allow a backward hook on a module whose output is then "
                "changed in place. Put a hook on the output tensor, or better: cut there.",
                *(with_module_hooks(remove, mode) for remove in ("finally", "end")
                  for mode in ("restored", "eval", "as found"))),
        Mistake("stored-input", "Your hook stored what goes into the layer. A forward hook gets (module, inputs, "
                "output): store the output.",
                *ways(cut=False, keep="input")),
        Mistake("hooks-left", "The hook stays on the CNN and will run in every forward pass from now on: call "
                "`handle.remove()`.",
                *ways(remove="never")),
        Mistake("hooks-cleared", "You removed all hooks of the layer, also one that was there before: call "
                "`handle.remove()`, which removes yours.",
                *ways(remove="clear")),
        Mistake("hooks-left-after-error", "When the CNN raises an error, your hook stays on it. Put `handle.remove()` "
                "into a `finally`.",
                *ways(remove="end"), *ways(remove="end", mode="eval")),
        Mistake("mode-changed", "You left the CNN in eval mode. Whoever trains it goes on without dropout and with "
                "fixed BatchNorm: put each module back (`eval_mode` of `attncourse.layers` does).",
                *ways(mode="eval")),
        Mistake("mode-of-all", "You put all modules into one mode at the end. Modules may have come in different "
                "modes: put each back into its own (`eval_mode` of `attncourse.layers` does).",
                *ways(mode="root"), *ways(mode="train")),
        Mistake("training-mode", "You used the CNN in the mode in which it came. In training mode BatchNorm mixes the "
                "images of the batch: use eval mode.",
                *ways(mode="as found"), *ways(mode="as found", remove="end"), *ways(mode="as found", remove="never")),
        Mistake("frozen-network", "The maps are right, but not where all parameters are frozen: then the layer's "
                "output needs no gradient. Make it a leaf that does: `output.detach().clone().requires_grad_()`.",
                hooked_variant(cut=False)),
        Mistake("accumulated", "You called `backward`, which fills the .grad of the CNN's parameters. Whoever trains "
                "it would add that to the next step: use `torch.autograd.grad`.",
                *ways(backward=True)),
        Mistake("emptied", "You called `backward`, and `zero_grad` after it: that threw away the .grad that the "
                "parameters had before. `torch.autograd.grad` does not touch them.",
                *ways(backward=True, empty=True)),
    ),
    hints=(
        "A forward hook may return something: the model goes on with that in place of the layer's output.",
        "Cut there: keep `output.detach().clone().requires_grad_()`, return a clone of it. Everything that can raise "
        "stands in a `try`, and `handle.remove()` in its `finally`. `with eval_mode(model):` takes care of the modes.",
        "Inside the `try`: `score = model(images).gather(1, target[:, None]).sum()`, then "
        "`gradient = torch.autograd.grad(score, kept[0])[0]`, and `class_map(kept[0].detach(), gradient)`.",
    ),
    tested="values at a convolution and at a BatchNorm before an in-place ReLU; from training mode; with frozen "
           "parameters; no hook left, also after an error; others' hooks, modes, .grad, inplace and requires_grad as "
           "before; inputs unchanged",
)
