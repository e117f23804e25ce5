"""Checkers of the scaling chapter: a layer's limit, K seeds in one step, runs shared out, data-parallel gradients."""

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from attncourse.checks.cases import call, describe, gradients, one_number, randn, tensor, values
from attncourse.checks.compare import Problem, difference, kind, plain, show
from attncourse.checks.engine import Case, Exercise, Mistake

# --- layer_time: a line ----------------------------------------------------------------------------------------------


def slowest(flops, moved, seeds, rate, bandwidth, launch):
    return max(launch, seeds * moved / bandwidth, seeds * flops / rate)


def of_three(make: Callable[[float, float, float], float]) -> Callable:
    """A time made of those that a start, all bytes and all FLOPs take."""
    return lambda flops, moved, seeds, rate, bandwidth, launch: make(
        launch, seeds * moved / bandwidth, seeds * flops / rate)


def layer(flops: float, moved: float, seeds: int, rate: float, bandwidth: float, launch: float) -> Case:
    return one_number(flops=flops, moved=moved, seeds=seeds, rate=rate, bandwidth=bandwidth, launch=launch)


layer_time = Exercise(
    id="scaling.layer_time",
    title="How long does a layer take for K seeds?",
    reference=slowest,
    cases=(
        layer(8.0, 2.0, 1, 4.0, 4.0, 1.0),
        layer(4.0, 2.0, 3, 4.0, 4.0, 1.0),
        layer(3.0, 10.0, 2, 6.0, 4.0, 1.0),
        layer(3.0, 2.0, 4, 6.0, 5.0, 4.0),
        layer(75.5, 16.8, 1, 100.0, 20.0, 0.01),
        layer(604.0, 67.1, 16, 800.0, 20.0, 0.02),
        layer(2.1, 67.1, 5, 100.0, 20.0, 0.02),
        layer(0.5, 0.25, 16, 100.0, 25.0, 0.5),
        layer(604.0, 67.1, 3, 20_000.0, 900.0, 0.25),
        layer(10.0, 10.0, 2, 2.0, 5.0, 0.0),
        layer(0.0, 8.0, 2, 10.0, 10.0, 0.1),
    ),
    mistakes=(
        Mistake("start-per-seed", "You pay the start once for each seed. All seeds go in one operation: the other "
                "starts are what you save.",
                lambda flops, moved, seeds, rate, bandwidth, launch: seeds * max(
                    launch, moved / bandwidth, flops / rate)),
        Mistake("seeds-forgotten", "That is the time of one seed. K seeds have K times the bytes and K times the "
                "FLOPs.",
                lambda flops, moved, seeds, rate, bandwidth, launch: max(launch, moved / bandwidth, flops / rate)),
        Mistake("bytes-of-one-seed", "Each seed has maps and weights of its own: `seeds` belongs to the bytes, too.",
                lambda flops, moved, seeds, rate, bandwidth, launch: max(
                    launch, moved / bandwidth, seeds * flops / rate)),
        Mistake("flops-of-one-seed", "Each seed computes: `seeds` belongs to the FLOPs, too.",
                lambda flops, moved, seeds, rate, bandwidth, launch: max(
                    launch, seeds * moved / bandwidth, flops / rate)),
        Mistake("divided-by-seeds", "You divided by the seeds. Side by side they are more work, not less.",
                lambda flops, moved, seeds, rate, bandwidth, launch: max(
                    launch, moved / bandwidth / seeds, flops / rate / seeds),
                lambda flops, moved, seeds, rate, bandwidth, launch: slowest(
                    flops, moved, seeds, rate, bandwidth, launch) / seeds),
        Mistake("sum", "You added the times. The machine computes while it moves numbers and launches the next "
                "operation: what takes longest decides.",
                of_three(lambda a, b, c: a + b + c)),
        Mistake("launch-added", "You added the launch time to the slower of the other two. It overlaps with them, like "
                "they with each other.",
                of_three(lambda a, b, c: a + max(b, c))),
        Mistake("bytes-and-flops-added", "You added the times of bytes and FLOPs. They overlap: the longer of "
                "the two counts.",
                of_three(lambda a, b, c: max(a, b + c)), of_three(lambda a, b, c: b + c)),
        Mistake("smallest", "You took the shortest time. A layer is done when the *slowest* of the three is.",
                of_three(min), of_three(lambda a, b, c: max(a, min(b, c)))),
        Mistake("average", "You took the mean. The slowest of the three decides alone.",
                of_three(lambda a, b, c: (a + b + c) / 3), of_three(lambda a, b, c: (b + c) / 2)),
        Mistake("middle", "You took the middle one of the three times. The longest one decides.",
                of_three(lambda *times: sorted(times)[1])),
        Mistake("product", "You multiplied the times.",
                of_three(lambda a, b, c: a * b * c), of_three(lambda a, b, c: max(a, b * c))),
        Mistake("launch-forgotten", "The launch time is missing. A tiny layer does not take less than this.",
                of_three(lambda a, b, c: max(b, c))),
        Mistake("bytes-forgotten", "The bytes are missing: `seeds * moved / bandwidth`. A ReLU has few FLOPs: "
                "it waits for its bytes.",
                of_three(lambda a, b, c: max(a, c)), of_three(lambda a, b, c: c)),
        Mistake("flops-forgotten", "The FLOPs are missing: `seeds * flops / rate`.",
                of_three(lambda a, b, c: max(a, b)), of_three(lambda a, b, c: b)),
        Mistake("only-launched", "You returned the launch time. A large layer takes longer.",
                of_three(lambda a, b, c: a)),
        Mistake("swapped", "Bandwidth and rate are swapped: bytes pass at `bandwidth`, operations at `rate`.",
                lambda flops, moved, seeds, rate, bandwidth, launch: slowest(
                    flops, moved, seeds, bandwidth, rate, launch)),
        Mistake("upside-down", "A time is work over speed, not speed over work.",
                lambda flops, moved, seeds, rate, bandwidth, launch: max(
                    launch, bandwidth / moved / seeds, rate / flops / seeds if flops else 0.0),
                lambda flops, moved, seeds, rate, bandwidth, launch: max(
                    launch, seeds * bandwidth / moved, seeds * rate / flops)),
        Mistake("multiplied", "You multiplied work and speed. The time is work *divided by* speed.",
                lambda flops, moved, seeds, rate, bandwidth, launch: max(
                    launch, seeds * moved * bandwidth, seeds * flops * rate)),
        Mistake("bits", "You counted 8 bits for a byte. `moved` and `bandwidth` are both in bytes.",
                lambda flops, moved, seeds, rate, bandwidth, launch: slowest(
                    flops, 8 * moved, seeds, rate, bandwidth, launch)),
        Mistake("floats", "You counted 4 bytes for each of `moved`. It is in bytes already.",
                lambda flops, moved, seeds, rate, bandwidth, launch: slowest(
                    flops, 4 * moved, seeds, rate, bandwidth, launch)),
        Mistake("doubled-flops", "You doubled the FLOPs. They count multiplications and additions already.",
                lambda flops, moved, seeds, rate, bandwidth, launch: slowest(
                    2 * flops, moved, seeds, rate, bandwidth, launch)),
        Mistake("seconds", "Your unit is wrong. MB over GB/s are milliseconds, and so are MFLOP over GFLOP/s: nothing "
                "needs a factor of 1,000.",
                of_three(lambda a, b, c: max(a, b, c) / 1000), of_three(lambda a, b, c: 1000 * max(a, b, c)),
                of_three(lambda a, b, c: max(a, b / 1000, c / 1000)),
                of_three(lambda a, b, c: max(a, 1000 * b, 1000 * c))),
        Mistake("intensity", "That is the arithmetic intensity, FLOPs per byte. It tells which limit holds, not how "
                "long it takes.",
                lambda flops, moved, seeds, rate, bandwidth, launch: flops / moved),
        Mistake("rate-returned", "That is how many GFLOP/s the layer reaches. How long does it take?",
                lambda flops, moved, seeds, rate, bandwidth, launch: min(rate, flops / moved * bandwidth)),
    ),
    hints=(
        "Three things go on at the same time. When is the layer done? And which of them grow with the number of seeds?",
        "K seeds have K times the bytes and K times the FLOPs, and one start. A time is work divided by speed; the "
        "longest of the three counts.",
        "`max(launch, ..., ...)` with `seeds * moved / bandwidth` and `seeds * flops / rate`.",
    ),
    tested="11 layers: each of the three limits, one seed and many, no FLOPs, a free start",
)

# --- fold ------------------------------------------------------------------------------------------------------------


class Convolutions(TorchFunctionMode):
    """Inside, counts the convolutions and their multiply-adds."""

    def __init__(self):
        super().__init__()
        self.calls = self.work = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        if getattr(function, "__name__", "") in ("conv2d", "convolution", "conv3d"):
            weight = kwargs["weight"] if "weight" in kwargs else args[1]
            self.calls += 1
            self.work += result.numel() * weight[0].numel()
        return result


def work_of(x: Tensor, weight: Tensor, bias: Tensor) -> Case:
    """How many convolutions an answer starts, and whether they do more than the K convolutions alone."""
    alone = math.prod(x.shape[:2]) * math.prod(x.shape[3:]) * weight[0].numel()

    def probe(answer: Callable) -> tuple[str, str]:
        with Convolutions() as counted:
            answer(x.clone(), weight.clone(), bias.clone())
        return ("at most one convolution" if counted.calls <= 1 else "several convolutions",
                "no more work than K convolutions" if counted.work <= alone else "more work than K convolutions")

    return Case(f"the convolutions started for {describe(x=x, weight=weight, bias=bias)}", probe, "too-much-work",
                "The values are right, but not the work: start one convolution, which computes no more than the K "
                "alone.")


FAILURES = {  # what PyTorch says: the cause, and what it means here
    "view size is not compatible": ("view-after-transpose", "`view` cannot take a tensor apart whose axes were "
                                    "exchanged: use `flatten` or `reshape`, which copy it then."),
    "Given groups=1,": ("one-group", "It fails where there are two seeds: without `groups=K` each filter wants all "
                        "channels that come in."),
    "expected stride to be a single integer": (
        "weight-not-folded", "`weight` still has five axes: fold its seeds into the filters, (K·O, C, 3, 3)."),
    "input to conv2d": ("x-not-folded", "`x` still has five axes: fold its seeds into the channels, (B, K·C, H, W)."),
    "to have": ("channels-do-not-fit", "Groups and channels do not fit. With K groups of C channels the input is (B, "
                "K·C, H, W) and the weights are (K·O, C, 3, 3): the seeds are folded into the channels, not into the "
                "batch."),
    "expected bias to be 1-dimensional": ("bias-not-flat", "The bias goes with the filters: flatten it to (K·O)."),
}


def read_failures(case: Case) -> Case:
    """The case, where what PyTorch complains about is named as what it is."""
    def probe(answer: Callable) -> object:
        try:
            return case.probe(answer)
        except RuntimeError as error:
            for text, (cause, message) in FAILURES.items():
                if text in str(error):
                    raise Problem(cause, f"{message} PyTorch says: {str(error).splitlines()[0]}") from None
            raise
    return Case(case.shown, probe, case.cause, case.message)


def all_equal(*weights: float) -> Tensor:
    """One filter with one channel for each seed, whose nine weights are equal: (K, 1, 1, 3, 3)."""
    return tensor(weights)[:, None, None, None, None].repeat(1, 1, 1, 3, 3)


def side_by_side(x: Tensor) -> Tensor:
    return x.transpose(0, 1).flatten(1, 2)  # (K, B, C, H, W) -> (B, K·C, H, W)


def seeds_first(y: Tensor, K: int, out: int) -> Tensor:
    return y.unflatten(1, (K, out)).transpose(0, 1)  # (B, K·O, H, W) -> (K, B, O, H, W)


def folded(gather: Callable = side_by_side, weights: Callable = lambda weight: weight.flatten(0, 1),
           groups: Callable = lambda x, weight: len(x), split: Callable = seeds_first, padding: int = 1,
           offsets: Callable = torch.flatten) -> Callable:
    """A right fold unless an argument replaces a part of it.

    Args:
        gather: (K, B, C, H, W) -> (B, K·C, H, W). weights: (K, O, C, 3, 3) -> (K·O, C, 3, 3).
        groups: their number. split: y, K, O -> (K, B, O, H, W). padding: of the convolution.
        offsets: (K, O) -> (K·O).
    """
    def fold(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        y = F.conv2d(gather(x), weights(weight), offsets(bias), padding=padding, groups=groups(x, weight))
        return split(y, *weight.shape[:2])
    return fold


def one_after_the_other(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return torch.stack([F.conv2d(images, w, b, padding=1) for images, w, b in zip(x, weight, bias)])


def all_pairs(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Every image through the weights of every seed: (K of the image, B, K of the weights, O, H, W)."""
    y = F.conv2d(x.flatten(0, 1), weight.flatten(0, 1), bias.flatten(), padding=1)
    return y.unflatten(1, weight.shape[:2]).unflatten(0, x.shape[:2])


def pairs_of_one_seed(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return all_pairs(x, weight, bias).diagonal(dim1=0, dim2=2).movedim(-1, 0)


def block_diagonal(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    K, out, C, *size = weight.shape
    dense = torch.zeros(K, out, K, C, *size, dtype=weight.dtype)
    for seed in range(K):
        dense[seed, :, seed] = weight[seed]
    return seeds_first(F.conv2d(side_by_side(x), dense.flatten(0, 1).flatten(1, 2), bias.flatten(), padding=1), K, out)


def all_alike(choose: Callable[[Tensor], Tensor]) -> Callable:
    """The same weights for all seeds."""
    return folded(weights=lambda weight: choose(weight)[None].expand_as(weight).flatten(0, 1))


fold = Exercise(
    id="scaling.fold",
    title="K convolutions as one",
    reference=folded(),
    cases=tuple(map(read_failures, (
        values(x=tensor([[[[[1]]]], [[[[2]]]]]), weight=all_equal(1, 10), bias=tensor([[0], [5]])),
        values(x=tensor([[[[[1]]], [[[2]]]], [[[[3]]], [[[4]]]]]), weight=all_equal(1, 10),
               bias=tensor([[0], [5]])),
        values(x=randn(2, 3, 2, 4, 5), weight=randn(2, 4, 2, 3, 3, seed=1), bias=randn(2, 4, seed=2)),
        values(x=randn(3, 3, 3, 4, 4, seed=2), weight=randn(3, 3, 3, 3, 3, seed=3), bias=randn(3, 3, seed=4)),
        values(x=randn(1, 2, 3, 3, 4, seed=4), weight=randn(1, 2, 3, 3, 3, seed=5), bias=randn(1, 2, seed=6)),
        values(x=randn(3, 2, 1, 5, 3, seed=6).double(), weight=randn(3, 2, 1, 3, 3, seed=7).double(),
               bias=randn(3, 2, seed=8).double()),
        gradients(x=randn(2, 2, 3, 3, 3, seed=8), weight=randn(2, 2, 3, 3, 3, seed=9), bias=randn(2, 2, seed=10)),
        work_of(x=randn(3, 2, 2, 4, 4, seed=10), weight=randn(3, 4, 2, 3, 3, seed=11), bias=randn(3, 4, seed=12)),
    ))),
    mistakes=(
        Mistake("loop", "The values are right, but you start one convolution after the other. One call shall do all "
                "K: fold the seeds into the channels, with `groups=K`.",
                one_after_the_other),
        Mistake("k-times-the-work", "The values are right, but you compute K times too much: every seed's weights meet "
                "every seed's images, and most of that is thrown away or multiplied by 0. With `groups=K` each group "
                "of channels meets its own weights only.",
                pairs_of_one_seed, block_diagonal),
        Mistake("seeds-summed", "Your filters see the channels of all seeds, and add them up: the seeds mix. "
                "`groups=K` keeps them apart.",
                *(lambda x, weight, bias, of_all=of_all: F.conv2d(
                    side_by_side(x), weight.transpose(0, 1).flatten(1, 2), of_all(bias), padding=1)
                  for of_all in (lambda bias: bias.sum(0), lambda bias: bias.mean(0), lambda bias: bias[0],
                                 lambda bias: None))),
        Mistake("not-transposed", "You folded without exchanging seeds and batch first: memory order puts images of "
                "one seed where the channels of all seeds belong. `x.transpose(0, 1)` makes (B, K, C, H, W).",
                folded(lambda x: x.reshape(x.shape[1], -1, *x.shape[3:]))),
        Mistake("folded-into-batch", "You folded the seeds into the batch: then every image meets the weights of every "
                "seed. Fold them into the channels.",
                all_pairs, lambda x, weight, bias: all_pairs(x, weight, bias).flatten(2, 3),
                lambda x, weight, bias: all_pairs(x, weight, bias).flatten(2, 3).flatten(0, 1)),
        Mistake("channels-interleaved", "You laid the seeds inside the channels: the first channel of every seed, then "
                "the second of every seed. A group is C channels in a row, so the seed has to come first: (B, K, C, "
                "H, W), then flatten.",
                folded(lambda x: x.permute(1, 2, 0, 3, 4).flatten(1, 2))),
        Mistake("filters-interleaved", "You exchanged K and O in the weights before you flattened them. The O filters "
                "of a seed stand in a row: `weight.flatten(0, 1)`.",
                folded(weights=lambda weight: weight.transpose(0, 1).flatten(0, 1))),
        Mistake("output-interleaved", "You split the output channels as (O, K). The O channels of a seed stand in a "
                "row: `unflatten(1, (K, O))`.",
                folded(split=lambda y, K, out: y.unflatten(1, (out, K)).permute(2, 0, 1, 3, 4)),
                folded(split=lambda y, K, out: y.unflatten(1, (out, K)).movedim(2, 0))),
        Mistake("output-reshaped", "You reshaped the output to (K, B, …) at once: that mixes seeds and images. Split "
                "the channels first, (B, K, O, H, W), then exchange B and K.",
                folded(split=lambda y, K, out: y.reshape(K, len(y), out, *y.shape[2:]))),
        Mistake("batch-first", "The values are right, but the batch comes first: (B, K, O, H, W). Exchange it with the "
                "seeds.",
                folded(split=lambda y, K, out: y.unflatten(1, (K, out)))),
        Mistake("still-folded", "You returned the output as the convolution gives it, (B, K·O, H, W). Unfold it: (K, "
                "B, O, H, W).",
                folded(split=lambda y, K, out: y)),
        Mistake("one-seeds-weights", "All seeds got the weights of one seed.",
                all_alike(lambda weight: weight[0]), all_alike(lambda weight: weight[-1])),
        Mistake("averaged-weights", "You averaged the weights over the seeds. Each seed has its own.",
                all_alike(lambda weight: weight.mean(0)), all_alike(lambda weight: weight.sum(0))),
        Mistake("no-padding", "The maps shrink: `padding=1` is missing.",
                folded(padding=0)),
        Mistake("bias-lost", "The bias is missing: `F.conv2d` takes it as its third argument, one number per output "
                "channel.",
                folded(offsets=lambda bias: None)),
        Mistake("bias-interleaved", "You exchanged K and O in the bias. It goes with the filters, and the O filters of "
                "a seed stand in a row: `bias.flatten()`.",
                folded(offsets=lambda bias: bias.T.flatten())),
        Mistake("one-seeds-bias", "All seeds got the same bias. Each seed has its own.",
                folded(offsets=lambda bias: bias[0].repeat(len(bias))),
                folded(offsets=lambda bias: bias[-1].repeat(len(bias))),
                folded(offsets=lambda bias: bias.mean(0).repeat(len(bias)))),
        Mistake("c-groups", "You made C groups, one per channel. There are K: one per seed.",
                folded(groups=lambda x, weight: weight.shape[2])),
        Mistake("filters-transposed", "You exchanged O and C in the weights. `F.conv2d` takes them as they are: "
                "(filters, channels, 3, 3).",
                folded(weights=lambda weight: weight.transpose(1, 2).flatten(0, 1),
                       split=lambda y, K, out: y.unflatten(1, (K, -1)).transpose(0, 1))),
    ),
    hints=(
        "A convolution with K groups cuts the channels into K packets, and each packet meets filters of its own. What "
        "should be a packet?",
        "Exchange seeds and batch, (B, K, C, H, W), and flatten K and C. The weights become (K·O, C, 3, 3). Afterwards "
        "go the same way back.",
        "`y = F.conv2d(x.transpose(0, 1).flatten(1, 2), weight.flatten(0, 1), bias.flatten(), padding=1, groups=K)`, "
        "then "
        "`y.unflatten(1, (K, O))`, and exchange the first two axes.",
    ),
    tested="values on 6 inputs: by hand, all sizes different, all equal, one seed, float64; gradients; one convolution "
           "and no more work than K alone; inputs unchanged",
)

# --- seed_losses -----------------------------------------------------------------------------------------------------


def each_image(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view_as(labels)  # (K, B)


def of_images(make: Callable[[Tensor], object]) -> Callable:
    """An answer made of the loss of each image, (K, B)."""
    return lambda logits, labels: make(each_image(logits, labels))


def of_seeds(make: Callable[[Tensor], object]) -> Callable:
    """An answer made of the mean loss of each seed, (K,)."""
    return of_images(lambda losses: make(losses.mean(1)))


def scalar(result: object) -> object:
    """A tensor with one number as a tensor without axes: backward() takes both."""
    return result.reshape(()) if isinstance(result, Tensor) and result.numel() == 1 else result


def loss_of(logits: Tensor, labels: list) -> Case:
    inputs = {"logits": logits, "labels": torch.tensor(labels, device="cpu")}
    return Case(describe(**inputs), lambda answer: scalar(call(answer, **inputs)))


def loss_gradient(logits: Tensor, labels: list) -> Case:
    """The gradient that backward() puts into the logits."""
    labels = torch.tensor(labels, device="cpu")

    def probe(answer: Callable) -> Tensor:
        leaf = logits.clone().requires_grad_()
        loss = scalar(answer(leaf, labels.clone()))
        if not isinstance(loss, Tensor) or not loss.requires_grad:
            raise Problem("no-gradient", "backward() would fail: no gradient comes back through your code (`detach`, "
                                         "`.item()`, `float`, `no_grad`).")
        return torch.autograd.grad(loss, leaf)[0]

    return Case("the gradient that backward() gives at " + describe(logits=logits, labels=labels), probe,
                "wrong-gradient", "The loss is right, but the gradient is not: something cuts it (`detach`, `.data`, "
                "`.item()`).")


def wrong_axis(**how) -> Callable:
    """Takes the axis of the images for that of the classes, as cross_entropy does with (K, B, classes)."""
    return lambda logits, labels: F.cross_entropy(logits, labels, **how)


# The first vmap of a cross-entropy imports sympy, for seconds on a busy machine: here no answer's clock runs.
torch.func.vmap(F.cross_entropy)(tensor([[[0]]]), torch.tensor([[0]], device="cpu"))

seed_losses = Exercise(
    id="scaling.seed_losses",
    title="One loss for K seeds",
    reference=of_seeds(torch.sum),
    cases=(
        loss_of(tensor([[[0, 0]], [[0, 2]]]), [[0], [1]]),
        loss_of(tensor([[[0, 1], [3, 0]], [[0, 2], [1, 1]]]), [[0, 1], [1, 0]]),
        loss_of(randn(3, 4, 5), [[0, 1, 2, 3], [4, 3, 2, 1], [2, 0, 4, 1]]),
        loss_of(randn(4, 3, 3, seed=1), [[0, 1, 2], [2, 1, 0], [1, 1, 2], [0, 0, 1]]),
        loss_of(randn(1, 5, 4, seed=2), [[0, 3, 1, 2, 2]]),
        loss_of(300 * randn(2, 3, 4, seed=3), [[0, 1, 2], [3, 3, 0]]),
        loss_of(randn(5, 2, 3, seed=4).double(), [[0, 1], [2, 2], [1, 0], [2, 0], [1, 1]]),
        loss_gradient(randn(3, 4, 5, seed=5), [[0, 1, 2, 3], [4, 3, 2, 1], [2, 0, 4, 1]]),
    ),
    mistakes=(
        Mistake("mean-over-all", "You averaged over the seeds, too: each seed gets a gradient that is K times too "
                "small, as if its learning rate were lr / K. Average over a seed's images, and *add* the seeds.",
                of_images(torch.mean)),
        Mistake("sum-over-all", "You added up all images: each seed gets a gradient that is B times too large. Alone, "
                "a seed has the *mean* over its images.",
                of_images(torch.sum)),
        Mistake("axes-swapped", "You added the images and averaged the seeds: it is the other way round. B times the "
                "mean over everything is the same mistake: that mean lacks a factor of K.",
                of_images(lambda losses: losses.sum(1).mean())),
        Mistake("first-seed", "You used the loss of one seed only: the others learn nothing.",
                of_seeds(lambda losses: losses[0]), of_seeds(lambda losses: losses[-1])),
        Mistake("product", "You multiplied the losses. Then the loss of one seed scales the gradient of the others: "
                "the seeds mix. Add them.",
                of_seeds(torch.prod)),
        Mistake("extreme-seed", "You took the largest or the smallest loss: only that seed gets a gradient.",
                of_seeds(torch.max), of_seeds(torch.min)),
        Mistake("squared", "You squared the losses: a seed's gradient then depends on how large its loss is.",
                of_seeds(lambda losses: losses.square().sum())),
        Mistake("one-per-seed", "You returned one loss per seed. backward() needs one number: their sum.",
                of_seeds(lambda losses: losses), of_seeds(torch.Tensor.tolist)),
        Mistake("one-per-image", "You returned the loss of each image. First the mean over the images of a seed, then "
                "the sum over the seeds.",
                of_images(lambda losses: losses), of_images(torch.flatten), of_images(lambda losses: losses.sum(0))),
        Mistake("ensemble", "You averaged the logits of the seeds. That trains one committee; here K networks learn "
                "for themselves.",
                lambda logits, labels: F.cross_entropy(logits.mean(0), labels[0]),
                lambda logits, labels: F.cross_entropy(logits.sum(0), labels[0]),
                lambda logits, labels: len(logits) * F.cross_entropy(logits.mean(0), labels[0])),
        Mistake("first-labels", "You used the labels of one seed for all. Each seed has its own order of the images.",
                lambda logits, labels: each_image(logits, labels[:1].expand_as(labels)).mean(1).sum()),
        Mistake("wrong-axis", "`F.cross_entropy` looks for the classes on the second axis, and there you have the "
                "images. Flatten seeds and images, (K·B, classes), or move the classes forward.",
                wrong_axis(), wrong_axis(reduction="sum"), lambda logits, labels: len(logits) * wrong_axis()(
                    logits, labels), lambda logits, labels: wrong_axis(reduction="none")(logits, labels).mean(1).sum()),
        Mistake("different-orders", "Logits and labels are flattened in different orders, so an image meets the label "
                "of another one. Flatten both with the seeds first.",
                *(lambda logits, labels, turned=turned, times=times: times(logits) * F.cross_entropy(*turned(
                    logits, labels))
                  for turned in (lambda logits, labels: (logits.transpose(0, 1).flatten(0, 1), labels.flatten()),
                                 lambda logits, labels: (logits.flatten(0, 1), labels.T.flatten()))
                  for times in (len, lambda logits: 1))),
        Mistake("softmax-twice", "You applied softmax first. The cross-entropy does that itself: give it the logits.",
                lambda logits, labels: each_image(logits.softmax(-1), labels).mean(1).sum()),
        Mistake("no-log-softmax", "`nll_loss` wants log-probabilities, and you gave it logits: use `F.cross_entropy`.",
                lambda logits, labels: -logits.gather(2, labels[..., None]).sum() / labels.shape[1]),
        Mistake("log-of-softmax", "You took the logarithm of a softmax. Where a probability is too small for a float "
                "it is 0, and the loss infinite: `log_softmax` and `F.cross_entropy` do both in one, safely.",
                lambda logits, labels: -logits.softmax(2).log().gather(2, labels[..., None]).sum() / labels.shape[1],
                lambda logits, labels: -(logits.exp() / logits.exp().sum(2, keepdim=True)).log().gather(
                    2, labels[..., None]).sum() / labels.shape[1]),
        Mistake("divided-by-classes", "You averaged over the classes, too. The loss of an image is that of its right "
                "class.",
                lambda logits, labels: each_image(logits, labels).mean(1).sum() / logits.shape[2]),
        Mistake("sign", "The sign is wrong: a step down this slope makes the losses larger.",
                of_seeds(lambda losses: -losses.sum())),
        Mistake("detached", "The value is right, but the gradient is cut, for all seeds or for some: `detach`, "
                "`.item()` and `.data` make plain numbers.",
                of_seeds(lambda losses: losses.sum().detach()), of_seeds(lambda losses: losses.sum().item()),
                of_seeds(lambda losses: losses[0] + losses[1:].detach().sum())),
    ),
    hints=(
        "What is the loss of one seed, trained alone? And how can K such losses become one number, so that the "
        "gradient of each stays what it was?",
        "The gradient of a sum is the sum of the gradients, and the weights of seed i have an influence on loss i "
        "alone. So: mean over the images, sum over the seeds.",
        "`F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction=\"none\")`, viewed as (K, B), then "
        "`.mean(1).sum()`.",
    ),
    tested="7 losses: by hand, as many images as classes, one seed, logits in the hundreds, float64; the gradient; "
           "inputs unchanged",
)

# --- next_run --------------------------------------------------------------------------------------------------------

def pick(free: Callable = lambda run, finished, held: run not in finished and run not in held,
         left: Callable = lambda runs, finished, held: any(run not in finished for run in runs),
         which: Callable = lambda free, runs: free[0]) -> Callable:
    """A right choice unless an argument replaces a part of it.

    Args:
        free: whether a run can be taken. left: whether to wait where none is free. which: of the free ones.
    """
    def next_run(runs: list[str], finished: set[str], held: set[str]) -> str | None:
        can_be_taken = [run for run in runs if free(run, finished, held)]
        if can_be_taken:
            return which(can_be_taken, runs)
        return "wait" if left(runs, finished, held) else None
    return next_run


def in_a_row(runs: list[str], finished: set[str], held: set[str]) -> str | None:
    for run in runs:
        if run not in finished:
            return "wait" if run in held else run
    return None


def none_left_fails(which: Callable) -> Callable:
    """Fails where no run is free, in the way of which(list of free runs)."""
    return lambda runs, finished, held: which([run for run in runs if run not in finished and run not in held])


def quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def asked(runs: str, finished: str = "", held: str = "") -> Case:
    """A process asks for its next run; names are separated by spaces."""
    given = runs.split(), set(finished.split()), set(held.split())
    free = [run for run in given[0] if run not in given[1] | given[2]]

    def probe(answer: Callable) -> object:
        lists = given[0].copy(), given[1].copy(), given[2].copy()
        result = answer(*lists)
        if lists != given:
            raise Problem("mutated-input", "Your code changed what it was given. It only says which run is next: "
                          "whoever called it takes the lock and writes the record.")
        if isinstance(result, str) and result in free[1:]:
            raise Problem("not-the-first", f"{result} is free, but {free[0]} comes first: keep the order of `runs`.")
        if result == "None":
            raise Problem("none-as-text", 'Your code returned the text "None". Return None itself, without quotes.')
        return "None" if result is None else result

    def set_of(names: set) -> str:
        return f"{{{quoted(sorted(names))}}}" if names else "set()"

    return Case(f"runs = [{quoted(given[0])}], finished = {set_of(given[1])}, held = {set_of(given[2])}", probe,
                message="That is not what this process should do next.")


next_run = Exercise(
    id="scaling.next_run",
    title="Which run is next?",
    reference=pick(),
    cases=(
        asked("cnn-0"),
        asked("cnn-0 cnn-1", finished="cnn-0"),
        asked("cnn-0 cnn-1", held="cnn-0"),
        asked("cnn-0 cnn-1", finished="cnn-0 cnn-1"),
        asked("cnn-0 cnn-1", finished="cnn-0", held="cnn-1"),
        asked("cnn-0 cnn-1", held="cnn-0 cnn-1"),
        asked("se-0 eca-0 cnn-0 bam-0", finished="bam-0", held="se-0"),
        asked("cnn-0 cnn-1", finished="cnn-0 se-0 se-1"),
        asked("cnn-0 cnn-1", finished="cnn-0 se-0", held="cnn-1"),
        asked("cnn-0 cnn-1", finished="cnn-0 cnn-1 se-0", held="se-1"),
        asked("cnn-0 cnn-1", finished="cnn-0 cnn-1", held="cnn-1"),
        asked("cnn-0 cnn-1", finished="cnn-0", held="cnn-0"),
        asked("cnn-1 cnn-2", finished="cnn-10", held="cnn-20"),
        asked("", held="cnn-0"),
        asked("eca-1 se-1 eca-0 se-0 cbam-1 bam-1 cbam-0 bam-0", held="eca-1"),
        asked("cnn-3 cnn-0 cnn-2 cnn-1 se-2 se-0 se-1 se-3", finished="cnn-3"),
        asked("sam-7 sam-4 sam-9 sam-1 sam-2 sam-8 sam-0 sam-3", finished="sam-7", held="sam-4"),
    ),
    mistakes=(
        Mistake("takes-held", "You take a run that another process holds: both would train it. Skip what is in `held`.",
                pick(free=lambda run, finished, held: run not in finished)),
        Mistake("takes-finished", "You take a run that is finished. Skip what is in `finished`.",
                pick(free=lambda run, finished, held: run not in held)),
        Mistake("skips-only-both", "You skip a run only if it is finished *and* held. One of the two is enough.",
                pick(free=lambda run, finished, held: run not in finished or run not in held)),
        Mistake("both-seem-free", "You take, or wait for, a run that is finished *and* still held. `finished ^ held` "
                "leaves such runs out; you want those in either: `finished | held`.",
                pick(free=lambda run, finished, held: run not in finished ^ held),
                lambda runs, finished, held: pick()(runs, finished ^ held, set())),
        Mistake("always-first", "You return the first run, whatever was done already.",
                lambda runs, finished, held: runs[0] if runs else None, lambda runs, finished, held: runs[0]),
        Mistake("not-the-first", "You take a run that is free, but not the first one. The order of `runs` says what is "
                "wanted first.",
                pick(which=lambda free, runs: free[-1]), pick(which=lambda free, runs: min(free)),
                pick(which=lambda free, runs: max(free))),
        Mistake("queues", "You look at the first unfinished run only, and wait while another process holds it. Behind "
                "it there may be a free one: take that.",
                in_a_row),
        Mistake("waits-for-all", "You wait as long as any process holds a run. Free ones can be trained beside it.",
                lambda runs, finished, held: "wait" if held and not set(runs) <= finished else pick()(
                    runs, finished, held),
                lambda runs, finished, held: "wait" if held else pick()(runs, finished, held)),
        Mistake("none-too-early", "You return None while another process is still at a run. If that process dies, "
                "nobody is left to do it: return \"wait\", and ask again later.",
                pick(left=lambda runs, finished, held: False)),
        Mistake("waits-for-ever", "Everything is finished, and you wait. Return None: there is nothing left to do.",
                pick(left=lambda runs, finished, held: True)),
        Mistake("waits-for-others", "You wait because *something* is held. It may be no run of ours: what counts is "
                "whether a run in `runs` is unfinished.",
                pick(left=lambda runs, finished, held: bool(held))),
        Mistake("waits-for-finished", "You wait for a run that is finished, because its process still holds it. "
                "Finished is finished.",
                pick(left=lambda runs, finished, held: any(run in held for run in runs)),
                pick(left=lambda runs, finished, held: any(run not in finished or run in held for run in runs))),
        Mistake("counted", "You compare how *many* runs are finished. `finished` may hold runs of other sweeps: ask "
                "whether each run of `runs` is in it.",
                *(lambda runs, finished, held, done=done: None if done(len(finished), len(runs)) else pick(
                    left=lambda runs, finished, held: True)(runs, finished, held)
                  for done in (lambda a, b: a >= b, lambda a, b: a == b)),
                pick(left=lambda runs, finished, held: len(finished) < len(runs)),
                pick(left=lambda runs, finished, held: len(finished) != len(runs))),
        Mistake("equal-sets", "You ask whether `finished` equals the list. It may hold other runs too: is every run of "
                "`runs` in it?",
                pick(left=lambda runs, finished, held: set(runs) != finished)),
        Mistake("nothing-left-fails", "Where no run is free your code fails. Then return \"wait\", or None if all are "
                "finished.",
                none_left_fails(lambda free: free[0]), none_left_fails(lambda free: free.pop(0)),
                none_left_fails(lambda free: next(iter(free))),
                none_left_fails(lambda free: min(free, key=free.index))),
        Mistake("list", "You returned a list. Return the run itself.",
                pick(which=lambda free, runs: free), pick(which=lambda free, runs: free[:1])),
        Mistake("position", "You returned a position. Return the run itself.",
                pick(which=lambda free, runs: runs.index(free[0]))),
        Mistake("always-none", "Your function returns None whatever it is given: did you forget `return`?",
                lambda runs, finished, held: None),
    ),
    hints=(
        "There are three answers. Which runs can be taken? If there is none: what does it depend on whether another "
        "process may still need help?",
        "Free is a run that is neither finished nor held. Return the first one. If there is none, ask whether some run "
        "is not finished: then wait.",
        "A loop over `runs` with `if run not in finished and run not in held: return run`. After it: "
        "`\"wait\" if any(run not in finished for run in runs) else None`.",
    ),
    tested="17 states of a sweep: finished, held and free runs, runs of other sweeps, a finished run that is still "
           "held, no run at all; inputs unchanged",
)

# --- my_indices ------------------------------------------------------------------------------------------------------


def rounds(n: int, processes: int) -> int:
    return -(-n // processes)


def wrapped(order: list[int], missing: int) -> list[int]:
    return (order * (missing // len(order) + 1))[:missing]


def dealt(pad: Callable = wrapped, share: Callable = lambda cards, rank, processes: cards[rank::processes],
          each: Callable = rounds, cards: Callable = lambda order: order) -> Callable:
    """Right indices unless an argument replaces a part of them.

    Args:
        pad: what is put behind the order, of it and of how many are missing. share: a process's part.
        each: how many every process gets. cards: the order that is dealt out.
    """
    def my_indices(order: list[int], rank: int, processes: int) -> list[int]:
        order = cards(order)
        missing = each(len(order), processes) * processes - len(order)
        return share([*order, *pad(order, missing)], rank, processes)
    return my_indices


def unpadded(order: list[int], rank: int, processes: int) -> list[int]:
    return order[rank::processes]


def filled_up(more: Callable[[list[int]], list[int]]) -> Callable:
    """Each process fills up its own share, if it is too short, with more(own share)."""
    def my_indices(order: list[int], rank: int, processes: int) -> list[int]:
        mine = unpadded(order, rank, processes)
        return mine if len(mine) == rounds(len(order), processes) else mine + more(mine)
    return my_indices


def dropped(order: list[int], rank: int, processes: int) -> list[int]:
    return order[:len(order) // processes * processes][rank::processes]


def block(cards: list[int], rank: int, processes: int) -> list[int]:
    each = rounds(len(cards), processes)
    return cards[rank * each:(rank + 1) * each]


def small_block(cards: list[int], rank: int, processes: int) -> list[int]:
    each = len(cards) // processes
    return cards[rank * each:(rank + 1) * each]


def numbers(result: object) -> object:
    """Any row of whole numbers as a list of int."""
    if isinstance(result, Tensor | np.ndarray):
        return result.tolist()
    if not isinstance(result, Iterable) or isinstance(result, str | dict | set | list):
        return result
    return list(result)


def deal(order: list[int], rank: int, processes: int) -> Case:
    inputs = {"order": order, "rank": rank, "processes": processes}
    return Case(describe(**inputs), lambda answer: numbers(call(answer, **inputs)), message="These are not the images "
                "of this process.")


my_indices = Exercise(
    id="scaling.my_indices",
    title="Deal out the images",
    reference=dealt(),
    cases=(
        deal([1, 0], 0, 1),
        deal([2, 0, 3, 1], 0, 2),
        deal([2, 0, 3, 1], 1, 2),
        deal([3, 1, 4, 0, 2], 1, 2),
        deal([3, 1, 4, 0, 2], 0, 2),
        deal([6, 2, 5, 1, 4, 0, 3], 3, 5),
        deal([6, 2, 5, 1, 4, 0, 3], 4, 5),
        deal([6, 2, 5, 1, 4, 0, 3], 2, 5),
        deal([5, 2, 8, 1, 4, 7, 0, 3, 6], 1, 3),
        deal([5, 2, 8, 1, 4, 7, 0, 3, 6], 3, 4),
        deal([1, 0], 4, 5),
        deal([1, 0], 3, 5),
        deal([0], 2, 3),
    ),
    mistakes=(
        Mistake("blocks", "You cut the order into blocks. It is dealt card by card: this process gets the positions "
                "rank, rank + processes, rank + 2 · processes and so on.",
                dealt(share=block), lambda order, rank, processes: block(order, rank, processes),
                lambda order, rank, processes: small_block(order, rank, processes),
                lambda order, rank, processes: np.array_split(order, processes)[rank].tolist(),
                lambda order, rank, processes: order[
                    rank * len(order) // processes:(rank + 1) * len(order) // processes]),
        Mistake("no-padding", "Where the images do not divide evenly, some processes have one more. In the last step "
                "they would wait for ever for the gradients of those that have none: fill the order up from its "
                "beginning.",
                unpadded),
        Mistake("dropped", "You leave images out, so that it divides evenly. Fill the order up instead, from its "
                "beginning.",
                dropped),
        Mistake("filled-with-0", "You fill up with image 0 or with −1. Go on from the beginning of the order.",
                dealt(lambda order, missing: [0] * missing), dealt(lambda order, missing: [-1] * missing)),
        Mistake("filled-with-last", "You fill up by repeating the last image. Go on from the beginning of the order.",
                dealt(lambda order, missing: order[-1:] * missing)),
        Mistake("filled-with-first", "Every share that is too short gets the first image. Go on from the beginning of "
                "the order: the first, the second and so on.",
                dealt(lambda order, missing: order[:1] * missing)),
        Mistake("filled-from-end", "You fill up with images from the end of the order. Take them from its beginning.",
                dealt(lambda order, missing: order[-missing:] if missing else []),
                dealt(lambda order, missing: order[-missing:]), dealt(lambda order, missing: order[::-1][:missing])),
        Mistake("filled-alone", "You fill up each share with images of its own. The whole order is filled up first, "
                "and then dealt.",
                filled_up(lambda mine: mine[:1]), filled_up(lambda mine: mine[-1:]),
                filled_up(lambda mine: [mine[0]]), filled_up(lambda mine: [mine[-1]])),
        Mistake("wrapped-once", "With more processes than images the order has to be gone through more than once: "
                "yours is still too short.",
                dealt(lambda order, missing: order[:missing])),
        Mistake("one-too-many", "Where it divides evenly nothing is missing, and yet you fill up.",
                dealt(each=lambda n, processes: n // processes + 1),
                dealt(lambda order, missing: order[:missing], each=lambda n, processes: n // processes + 1)),
        Mistake("remainder", "You fill up with n % processes images, as many as are left over. What is missing is the "
                "rest of the round: processes − n % processes, or 0 if nothing is left over.",
                *(lambda order, rank, processes, pad=pad: (order + pad(order, len(order) % processes))[rank::processes]
                  for pad in (wrapped, lambda order, missing: order[:missing]))),
        Mistake("rank-from-1", "You start one position off. Ranks are counted from 0, like positions.",
                dealt(share=lambda cards, rank, processes: cards[rank + 1::processes]),
                dealt(share=lambda cards, rank, processes: cards[rank - 1::processes])),
        Mistake("positions", "You returned positions in the order, or sorted it. Return what stands there: "
                "`order[position]`.",
                dealt(cards=sorted)),
        Mistake("sorted", "You sorted the images. They keep the order in which they were dealt.",
                lambda order, rank, processes: sorted(dealt()(order, rank, processes))),
        Mistake("backwards", "You deal from the other end.",
                dealt(cards=lambda order: order[::-1]),
                dealt(share=lambda cards, rank, processes: cards[processes - 1 - rank::processes])),
        Mistake("all-images", "Every process gets all images. Each one gets its share.",
                lambda order, rank, processes: order, dealt(share=lambda cards, rank, processes: cards)),
        Mistake("all-shares", "You returned the shares of all processes. Return that of this `rank`.",
                dealt(share=lambda cards, rank, processes: [cards[r::processes] for r in range(processes)])),
        Mistake("how-many", "You returned how many images the process gets. Which ones?",
                lambda order, rank, processes: rounds(len(order), processes)),
    ),
    hints=(
        "Deal seven cards to three players, until all have the same number of cards. Where do the last ones come from?",
        "Every process gets ⌈n / processes⌉ images. Repeat the order until it is long enough for all, cut it there, "
        "and take every `processes`-th card, from position `rank` on.",
        "`each = -(-len(order) // processes)` rounds up. Position p of the filled order holds "
        "`order[p % len(order)]`, and yours are the p in `range(rank, each * processes, processes)`.",
    ),
    tested="13 deals: one process, even and uneven numbers, first and last ranks, more processes than images; inputs "
           "unchanged",
)

# --- average_gradients -----------------------------------------------------------------------------------------------

Gradients = dict[str, Tensor | None]


def weighted(weight: Callable = lambda n, images, present: n / sum(images),
             use: Callable = lambda grads: any(grad is not None for grad in grads),
             otherwise: Callable = lambda: None, finish: Callable = lambda mean, images: mean) -> Callable:
    """The right mean unless an argument replaces a part of it.

    Args:
        weight: of a process, from its images, those of all, and those of the processes that have this gradient.
        use: whether there is a mean, from the gradients of all processes. otherwise: what is returned where not.
        finish: what becomes of the weighted sum.
    """
    def average_gradients(per_process: Sequence[Gradients], images: Sequence[int]) -> Gradients:
        result = {}
        for name in per_process[0]:
            grads = [own[name] for own in per_process]
            present = [n for n, grad in zip(images, grads) if grad is not None]
            parts = [grad * weight(n, images, present) for n, grad in zip(images, grads) if grad is not None]
            result[name] = finish(sum(parts), images) if use(grads) else otherwise()
        return result
    return average_gradients


def without(answer: Callable, unless: Callable[[list], bool]) -> Callable:
    """The answer's result, without the names for whose gradients unless(…) is False."""
    return lambda per_process, images: {name: value for name, value in answer(per_process, images).items()
                                        if unless([own[name] for own in per_process])}


def has_all(grads: list) -> bool:
    return all(grad is not None for grad in grads)


def has_one(grads: list) -> bool:
    return not all(grad is None for grad in grads)


def without_none(weight: Callable) -> Callable:
    """A sum with these weights, of a process's images and those of all, written as if no gradient could be None."""
    return lambda per_process, images: {
        name: sum(own[name] * weight(n, images) for own, n in zip(per_process, images)) for name in per_process[0]}


def wrong_weights(weight: Callable) -> list[Callable]:
    """The mistake alone, and with what comes along easily: 0 for None, and code that fails at None."""
    return [weighted(lambda n, images, present: weight(n, images)),
            weighted(lambda n, images, present: weight(n, images), use=lambda grads: True), without_none(weight)]


def shown_gradients(per_process: Sequence[Gradients]) -> str:
    def one(own: Gradients) -> str:
        return "{" + ", ".join(f'"{name}": {"None" if g is None else show(g.tolist()) if g.numel() < 4 else show(g)}'
                               for name, g in own.items()) + "}"
    return "[" + ", ".join(map(one, per_process)) + "]"


def averaged(images: list[int], *per_process: Gradients) -> Case:
    """A dictionary of gradients per process."""
    names = list(per_process[0])

    def in_order(own: Gradients) -> list:
        """The values by name; words where there is no tensor."""
        return [own[name] if isinstance(own[name], Tensor) else f"{own[name]}" for name in names]

    def mean_of(name: str, result: Gradients) -> Tensor | str:
        """A tensor where some process has a gradient; where none has, what the result holds, in words."""
        if name not in result:
            raise Problem("missing-name", f'Your dictionary has no "{name}".')
        value = result[name]
        if not has_one([own[name] for own in per_process]):
            return show(value)
        if not isinstance(value, Tensor):
            raise Problem("not-a-tensor", f'You return {"None" if value is None else kind(value)} for "{name}", and a '
                          "process has a gradient for it.")
        return value

    def probe(answer: Callable) -> list:
        given = [{name: None if g is None else g.clone() for name, g in own.items()} for own in per_process]
        n = list(images)
        try:
            result = answer(given, n)
        except (TypeError, AttributeError) as error:
            if any(g is None for own in per_process for g in own.values()):
                raise Problem("none-fails", f"It fails where a gradient is None: {error}.") from None
            raise
        same_names = all(list(own) == names for own in given)
        if n != images or not same_names or any(difference(plain(in_order(own)), plain(in_order(before)))
                                                for own, before in zip(given, per_process)):
            raise Problem("mutated-input", "Your code changed what it was given: make a new dictionary and new "
                          "tensors (no `+=` on a process's own gradient).")
        if result is not None and not isinstance(result, dict):
            raise Problem("not-a-dict", f"Your code returned {kind(result)}. Return a dictionary with the same names.")
        if more := sorted(map(str, (result or {}).keys() - set(names))):
            raise Problem("other-names", f"Your dictionary has a name that no process has: {more[0]}.")
        return None if result is None else [mean_of(name, result) for name in names]

    return Case(f"per_process = {shown_gradients(per_process)}, images = {show(images)}", probe)


def three(seed: int, *without_bias: int) -> list[Gradients]:
    """Three processes with a matrix and a vector; some have no gradient for the vector."""
    return [{"weight": randn(2, 3, seed=seed + rank), "bias": None if rank in without_bias else randn(
        2, seed=seed + rank + 10)} for rank in range(3)]


average_gradients = Exercise(
    id="scaling.average_gradients",
    title="The mean of unequal shares",
    reference=weighted(),
    cases=(
        averaged([1, 1], {"w": tensor([2, 4])}, {"w": tensor([6, 0])}),
        averaged([3, 1], {"w": tensor([2, 4])}, {"w": tensor([6, 0])}),
        averaged([5], {"w": tensor([1, -2])}),
        averaged([2, 1, 1], *three(0)),
        averaged([1, 3], {"w": tensor([4]), "b": None}, {"w": tensor([8]), "b": tensor([2])}),
        averaged([3, 1], {"w": tensor([4]), "b": tensor([0])}, {"w": tensor([8]), "b": None}),
        averaged([2, 2], {"w": tensor([1]), "b": None}, {"w": tensor([5]), "b": None}),
        averaged([4, 2, 3], *three(20, 1)),
        averaged([1, 4, 2], *three(40, 0, 2)),
        averaged([3, 0], {"w": tensor([1, 2])}, {"w": None}),
        averaged([2, 5], {"w": randn(3, seed=60).double()}, {"w": randn(3, seed=61).double()}),
    ),
    mistakes=(
        Mistake("unweighted", "You took the mean over the processes. Then an image in a small share counts more than "
                "one in a large share: weight each process by its images.",
                *wrong_weights(lambda n, images: 1 / len(images)),
                weighted(lambda n, images, present: 1 / len(present))),
        Mistake("summed", "You added the gradients up. With P processes the step is P times too long.",
                *wrong_weights(lambda n, images: 1)),
        Mistake("not-divided", "You weighted by the images, and did not divide by their sum.",
                *wrong_weights(lambda n, images: n)),
        Mistake("divided-by-processes", "You weighted by the images and divided by the number of processes. Divide by "
                "the number of *images*.",
                *wrong_weights(lambda n, images: n / len(images))),
        Mistake("divided-twice", "The weights n / sum of all n add up to 1. You divided by the number of processes "
                "once more.",
                weighted(lambda n, images, present: n / sum(images) / len(images))),
        Mistake("only-who-has-it", "You left the images of a process without this gradient out of the count. They were "
                "in the batch, and their gradient is 0: the whole batch divides by *all* images.",
                weighted(lambda n, images, present: n / sum(present))),
        Mistake("none-spreads", "One process without a gradient, and you return None. Its part is 0; the others' parts "
                "remain.",
                weighted(use=has_all), weighted(use=lambda grads: grads[-1] is not None)),
        Mistake("first-none-spreads", "You return None as soon as process 0 has none. Its part is 0; the others' parts "
                "remain.",
                weighted(use=lambda grads: grads[0] is not None)),
        Mistake("none-for-zero", "You return None where the mean is exactly 0. A process has a gradient there: return "
                "the zeros.",
                weighted(finish=lambda mean, images: mean if mean.any() else None)),
        Mistake("missing-dropped", "A parameter is missing in your dictionary. A process without a gradient for it "
                "adds 0; only where none has one is the result None.",
                without(weighted(), has_all), without(weighted(), has_one)),
        Mistake("none-fails", "Your code fails where a gradient is None. Such a process adds 0 to the sum.",
                without_none(lambda n, images: n / sum(images))),
        Mistake("zero-for-none", "No process has a gradient for this parameter, and you return 0. Return None, so that "
                "the optimizer leaves it alone: with momentum or weight decay a 0 would move it.",
                weighted(use=lambda grads: True), weighted(otherwise=lambda: 0.0),
                weighted(use=lambda grads: True, finish=lambda mean, images: torch.as_tensor(mean)),
                weighted(otherwise=lambda: torch.zeros(1))),
        Mistake("one-process", "You returned the gradients of one process.",
                lambda per_process, images: dict(per_process[0]), lambda per_process, images: dict(per_process[-1]),
                lambda per_process, images: dict(per_process[images.index(max(images))])),
        Mistake("upside-down", "You gave the process with fewer images the larger weight.",
                weighted(lambda n, images, present: (1 / n) / sum(1 / m for m in images if m) if n else 0),
                weighted(lambda n, images, present: (sum(images) - n) / sum(images)),
                weighted(lambda n, images, present: sum(images) / n if n else 0)),
        Mistake("integer-division", "`//` makes every weight 0 (or 1, with one process). Divide with `/`.",
                weighted(lambda n, images, present: n // sum(images))),
        Mistake("divided-by-largest", "You divided by the largest share, or by that of the first process. Divide by "
                "the sum of all shares.",
                weighted(lambda n, images, present: n / max(images)),
                weighted(lambda n, images, present: n / images[0])),
        Mistake("extreme", "You took the largest gradient of each weight. Average them.",
                lambda per_process, images: {name: torch.stack(grads).amax(0) if (grads := [
                    own[name] for own in per_process if own[name] is not None]) else None for name in per_process[0]}),
    ),
    hints=(
        "Each process averaged over its own images. What is the mean over all of them together, if the shares are not "
        "equally large?",
        "Weight each gradient by the process's images over all images. A process whose gradient is None adds 0, but "
        "its images still count.",
        "`total = sum(images)`; for each name, collect `grad * n / total` where `grad is not None`, and add them up; "
        "None if there is nothing to add.",
    ),
    tested="11 batches: equal and unequal shares, one process, gradients that some or all processes lack, a process "
           "without images, float64; inputs unchanged",
)
