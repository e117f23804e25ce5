"""Checkers of chapter 02: counting parameters, choosing an epoch, splitting data, comparing two networks."""

import math
import random
import statistics
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from attncourse.checks.cases import call, describe, tensor
from attncourse.checks.compare import Problem, difference, kind, plain
from attncourse.checks.engine import Case, Exercise, Mistake

# --- count_parameters ------------------------------------------------------------------------------------------------


def trainable(model):
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def frozen_first():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    model[0].requires_grad_(False)
    return model


def tied():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    return model


class OwnParameter(nn.Module):
    """A module with a parameter of its own beside its submodule's."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(5))
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Sequential(nn.Linear(4, 2)))


def state(model: nn.Module) -> list:
    return [*(plain(value) for value in model.state_dict().values()), *(p.requires_grad for p in model.parameters()),
            *(p.grad is None for p in model.parameters()), model.training]


def counted(shown: str, make: Callable[[], nn.Module]) -> Case:
    def probe(answer: Callable) -> object:
        model = make()
        before = state(model)
        count = answer(model)
        if difference(state(model), before):
            raise Problem("mutated-input", "Your code changed the model: counting should leave it as it was.")
        return count
    return Case(shown, probe)


def counting(count: Callable[[Tensor], int]) -> Callable:
    """A wrong answer that counts the right parameters in a wrong way."""
    return lambda model: sum(count(p) for p in model.parameters() if p.requires_grad)


count_parameters = Exercise(
    id="backbone.count_parameters",
    title="Count what is trained",
    reference=trainable,
    cases=(
        counted("model = nn.Linear(2, 3)", lambda: nn.Linear(2, 3)),
        counted("model = nn.ReLU()", nn.ReLU),
        counted("model = nn.BatchNorm2d(2)", lambda: nn.BatchNorm2d(2)),
        counted("model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1)), the first layer frozen", frozen_first),
        counted("two nn.Linear(3, 3) that share one weight", tied),
        counted("a module with 5 numbers of its own, a 3×3 convolution (3 to 4), a BatchNorm2d(4) and a Linear(4, 2)",
                OwnParameter),
    ),
    mistakes=(
        Mistake("counted-tensors", "You counted the tensors. Each tensor holds `numel()` numbers.",
                counting(lambda p: 1)),
        Mistake("counted-buffers", "You counted buffers too: BatchNorm's running mean and variance are not trained.",
                lambda model: sum(value.numel() for value in model.state_dict().values()),
                lambda model: trainable(model) + sum(b.numel() for b in model.buffers()),
                lambda model: sum(p.numel() for p in [*model.parameters(), *model.buffers()]),
                lambda model: sum(v.numel() for v in model.state_dict().values() if v.is_floating_point())),
        Mistake("no-biases", "You left the biases out. They are trained as well.",
                counting(lambda p: p.numel() if p.ndim > 1 else 0),
                lambda model: sum(p.numel() for n, p in model.named_parameters() if "weight" in n and p.requires_grad),
                lambda model: sum(p.numel() for n, p in model.named_parameters() if "bias" not in n
                                  and p.requires_grad)),
        Mistake("counted-frozen", "You counted frozen parameters. Only those with `requires_grad` are trained.",
                lambda model: sum(p.numel() for p in model.parameters())),
        Mistake("counted-frozen-only", "You counted the frozen parameters alone: a `not` is in the wrong place.",
                lambda model: sum(p.numel() for p in model.parameters() if not p.requires_grad)),
        Mistake("top-level-only", "You counted the module's own parameters and not those of the modules inside it.",
                lambda model: sum(p.numel() for p in model.parameters(recurse=False) if p.requires_grad)),
        Mistake("children-only", "You went through the children and left out the module's own parameters.",
                lambda model: sum(map(trainable, model.children()))),
        Mistake("counted-shared-twice",
                "You counted a shared weight once for every place that uses it. It is trained once.",
                lambda model: sum(p.numel() for module in model.modules() for p in module.parameters(recurse=False)
                                  if p.requires_grad),
                lambda model: sum(p.numel() for _, p in model.named_parameters(remove_duplicate=False)
                                  if p.requires_grad)),
        Mistake("counted-nested-twice",
                "You counted nested modules again at each level: `modules()` visits all of them, and `parameters()` "
                "looks inside too.",
                lambda model: sum(map(trainable, model.modules())),
                lambda model: sum(p.numel() for m in model.modules() for p in m.parameters())),
        Mistake("counted-rows", "You counted one axis of each tensor. `numel()` multiplies all of them.",
                counting(len), counting(lambda p: p.shape[-1])),
        Mistake("added-axes", "You added the lengths of the axes. `numel()` multiplies them.",
                counting(lambda p: sum(p.shape))),
        Mistake("counted-bytes", "You counted bytes. Each float32 number takes four of them.",
                counting(lambda p: p.numel() * p.element_size())),
        Mistake("returned-list", "You returned one count per tensor. Add them up.",
                lambda model: [p.numel() for p in model.parameters() if p.requires_grad]),
    ),
    hints=(
        "`model.parameters()` gives every parameter tensor once. What do you want to know of each?",
        "A tensor has `numel()` elements; a parameter that is trained has `requires_grad` set.",
        "Sum `p.numel()` over `model.parameters()`, and let an `if` in the generator keep those with "
        "`p.requires_grad`.",
    ),
    tested="a layer, nothing at all, BatchNorm's buffers, frozen layers, a shared weight, nested modules; the model "
           "unchanged",
)

# --- pick_epoch ------------------------------------------------------------------------------------------------------


def best(accuracies):
    return max(range(len(accuracies)), key=accuracies.__getitem__)


def pick(val_accuracies, test_accuracies):
    return test_accuracies[best(val_accuracies)]


def accuracy(**inputs) -> Case:
    """The answer as one number; a 0-d tensor is one as well."""
    def probe(answer: Callable) -> object:
        result = call(answer, **inputs)
        return result.item() if isinstance(result, Tensor) and result.ndim == 0 else result
    return Case(describe(**inputs), probe)


pick_epoch = Exercise(
    id="backbone.pick_epoch",
    title="Choose the epoch without looking at the test set",
    reference=pick,
    cases=(
        accuracy(val_accuracies=[0.6], test_accuracies=[0.55]),
        accuracy(val_accuracies=[0.6, 0.5], test_accuracies=[0.7, 0.8]),
        accuracy(val_accuracies=[0.5, 0.7, 0.6, 0.4], test_accuracies=[0.45, 0.61, 0.75, 0.3]),
        accuracy(val_accuracies=[0.4, 0.7, 0.7, 0.5], test_accuracies=[0.42, 0.63, 0.66, 0.52]),
        accuracy(val_accuracies=[0.3, 0.8, 0.8, 0.8, 0.2], test_accuracies=[0.35, 0.78, 0.74, 0.71, 0.9]),
        accuracy(val_accuracies=[0.1, 0.2, 0.3, 0.4, 0.5, 0.6], test_accuracies=[0.11, 0.23, 0.31, 0.42, 0.53, 0.59]),
    ),
    mistakes=(
        Mistake("best-test",
                "You took the best test accuracy. Choosing by the test set makes its figure too good to be true.",
                lambda val, test: max(test)),
        Mistake("last-epoch", "You took the last epoch. Take the one with the best validation accuracy.",
                lambda val, test: test[-1]),
        Mistake("first-epoch", "You took the first epoch. Take the one with the best validation accuracy.",
                lambda val, test: test[0]),
        Mistake("worst-validation",
                "You took the epoch with the lowest validation accuracy: for a loss that would be right.",
                lambda val, test: test[val.index(min(val))]),
        Mistake("mean", "You averaged over the epochs. Report one epoch: the one that validation chose.",
                lambda val, test: sum(test) / len(test)),
        Mistake("median", "You took the median over the epochs. Report one epoch: the one that validation chose.",
                lambda val, test: statistics.median(test)),
        Mistake("returned-validation",
                "You returned the validation accuracy. It chose the epoch; the test accuracy reports it.",
                lambda val, test: max(val)),
        Mistake("returned-epoch", "You returned the epoch's number. Return its test accuracy.",
                lambda val, test: best(val), lambda val, test: best(val) + 1),
        Mistake("last-of-ties",
                "Where epochs tie, you took the last of them. Take the first: it came with less training.",
                lambda val, test: test[len(val) - 1 - best(val[::-1])]),
        Mistake("peeked-at-ties",
                "Where epochs tie, you let the test accuracy decide. That is looking at the test set again.",
                lambda val, test: max(zip(val, test))[1], lambda val, test: min((-v, t) for v, t in zip(val, test))[1]),
        Mistake("off-by-one", "You are one epoch off: lists count from 0.",
                lambda val, test: test[best(val) - 1], lambda val, test: test[best(val) + 1],
                lambda val, test: test[min(best(val) + 1, len(test) - 1)],
                lambda val, test: test[max(best(val) - 1, 0)]),
        Mistake("chose-by-both", "You let the test accuracies help to choose. Validation alone decides.",
                lambda val, test: test[best([v + t for v, t in zip(val, test)])]),
        Mistake("validation-at-best-test",
                "You chose the epoch by the test accuracy and reported validation: it is the other way round.",
                lambda val, test: val[best(test)]),
        Mistake("returned-pair", "You returned more than one number. The test accuracy is enough.",
                lambda val, test: (best(val), pick(val, test)), lambda val, test: (max(val), pick(val, test)),
                lambda val, test: (pick(val, test), best(val)), lambda val, test: (best(val) + 1, pick(val, test))),
    ),
    hints=(
        "Two questions: which epoch, and what did it score? Each list answers one of them.",
        "Find the position of the largest validation accuracy, then read the test accuracy at that position.",
        "`val_accuracies.index(max(val_accuracies))` is the first position of the maximum. Use it on "
        "`test_accuracies`.",
    ),
    tested="1 to 6 epochs; the best one first, inside and last; ties of two and of three; the lists unchanged",
)

# --- split -----------------------------------------------------------------------------------------------------------


def permutation(n, seed):
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))


def random_split(n, n_val, seed):
    order = permutation(n, seed)
    return order[n_val:], order[:n_val]


def pair(answer: Callable, n: int, n_val: int, seed: int) -> tuple:
    """The answer's two parts, whatever they are."""
    result = answer(n, n_val, seed)
    plain(result)  # raises its Problem if there is nothing
    if type(result) not in (tuple, list) or len(result) != 2:
        raise Problem("not-a-pair", f"Return two tensors, train_index and val_index; you returned {kind(result)}.")
    return tuple(result)


def returned(answer: Callable, n: int, n_val: int, seed: int) -> tuple[Tensor, Tensor]:
    """The answer's two index tensors, or a Problem that says what came instead."""
    parts = pair(answer, n, n_val, seed)
    for part in parts:
        if type(part) is not Tensor or part.ndim != 1 or part.dtype != torch.int64:
            shown = f"{part.dtype} of shape {tuple(part.shape)}" if type(part) is Tensor else kind(part)
            raise Problem("not-indices", f"Each part must be a 1-D int64 tensor of indices; you returned {shown}.")
    return parts


def types(answer: Callable) -> str:
    return " and ".join(f"{part.ndim}-D {part.dtype}" if type(part) is Tensor else kind(part)
                        for part in pair(answer, 4, 1, 0))


def sizes(n: int, n_val: int) -> Case:
    def probe(answer: Callable) -> list[int]:
        return [len(part) for part in returned(answer, n, n_val, 0)]
    return Case(f"n = {n}, n_val = {n_val}, seed = 0", probe,
                "wrong-sizes", "The two parts have the wrong sizes (training first, then validation).")


def fact(name: str, look: Callable, cause: str, message: str) -> Case:
    """A sentence about split(100, 50, seed=0)'s two parts, the same for every right split."""
    shown = f"n = 100, n_val = 50, seed = 0 ({name})"
    return Case(shown, lambda answer: look(*returned(answer, 100, 50, 0)), cause, message)


def twice(train: Tensor, val: Tensor) -> str:
    parts = [name for name, part in (("train", train), ("validation", val)) if len(part.unique()) < len(part)]
    return f"an image twice in {' and '.join(parts)}" if parts else "each image once"


def shared(train: Tensor, val: Tensor) -> str:
    return "images in both parts" if set(train.tolist()) & set(val.tolist()) else "no image in both parts"


def missing(train: Tensor, val: Tensor) -> str:
    images = {*train.tolist(), *val.tolist()}
    if images - set(range(100)):
        return "indices outside 0 … 99"
    return "every image in one of the parts" if len(images) == 100 else "images in neither part"


def pattern(answer: Callable) -> str:
    """Where the validation images lie. A random choice of 20 from 100 is neither a block nor evenly spaced."""
    for seed in (0, 1):
        val = returned(answer, 100, 20, seed)[1].sort().values
        steps = set(val.diff().tolist())
        if steps == {1}:
            ends = "from the first on" if val[0] == 0 else "up to the last" if val[-1] == 99 else "in between"
            return f"neighbours, {ends}"
        if len(steps) == 1:
            return "evenly spaced images"
    return "images from all over the data"


def same(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> bool:
    return all(sorted(a.tolist()) == sorted(b.tolist()) for a, b in zip(one, other))


def repeated(answer: Callable) -> str:
    """Two calls with the same seed, between which the global generators have moved on."""
    first = returned(answer, 100, 20, 7)
    torch.manual_seed(1), random.seed(1), np.random.seed(1)
    return "the same split" if same(first, returned(answer, 100, 20, 7)) else "another split"


def reseeded(answer: Callable) -> str:
    return "the same split" if same(returned(answer, 100, 20, 0), returned(answer, 100, 20, 1)) else "another split"


def generators(answer: Callable) -> str:
    def states() -> tuple:
        return torch.get_rng_state().tolist(), random.getstate(), str(np.random.get_state())
    torch.manual_seed(123), random.seed(123), np.random.seed(123)
    before = states()
    returned(answer, 100, 20, 3)
    return "the global generators untouched" if states() == before else "a global generator changed"


def reseeding(reseed: Callable, order: Callable) -> Callable:
    """A split by a global generator that is seeded anew."""
    def split(n, n_val, seed):
        reseed(seed)
        indices = order(n)
        return indices[n_val:], indices[:n_val]
    return split


def masks(n, n_val, seed):
    val = torch.zeros(n, dtype=torch.bool)
    val[permutation(n, seed)[:n_val]] = True
    return ~val, val


def with_replacement(n, n_val, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(n, (n - n_val,), generator=generator), torch.randint(n, (n_val,), generator=generator)


def drawn_validation(n, n_val, seed):
    val = torch.randint(n, (n_val,), generator=torch.Generator().manual_seed(seed))
    return torch.tensor([i for i in range(n) if i not in set(val.tolist())], dtype=torch.int64), val


def coin_flips(n, n_val, seed):
    val = torch.rand(n, generator=torch.Generator().manual_seed(seed)) < n_val / n
    return (~val).nonzero().flatten(), val.nonzero().flatten()


def rotated(n, n_val, seed):
    order = (torch.arange(n) + seed * n_val) % n
    return order[n_val:], order[:n_val]


def every_kth(n, n_val, seed):
    val = torch.arange(n_val) * (n // max(1, n_val)) + seed % max(1, n // max(1, n_val))
    return torch.tensor([i for i in range(n) if i not in set(val.tolist())], dtype=torch.int64), val


split = Exercise(
    id="backbone.split",
    title="Set validation images aside",
    reference=random_split,
    cases=(
        Case("n = 4, n_val = 1, seed = 0", types, "wrong-type", "Return two 1-D int64 tensors of indices."),
        sizes(4, 1),
        sizes(3, 0),
        sizes(3, 3),
        fact("is any image twice in a part?", twice, "repeated-images", "An image is in the same part twice."),
        fact("is any image in both parts?", shared, "overlap", "Some images are in both parts: validation would be "
                                                               "too kind."),
        fact("is every image somewhere?", missing, "lost-images", "The two parts together are not 0 … n - 1."),
        Case("n = 100, n_val = 20, seeds 0 and 1", pattern, "not-random",
             "The validation images follow a pattern. If the data are sorted, they are no fair sample."),
        Case("n = 100, n_val = 20, seed = 7, called twice", repeated, "not-reproducible",
             "The same seed gave two different splits."),
        Case("n = 100, n_val = 20, seed = 0 and seed = 1", reseeded, "seed-ignored", "Two seeds gave the same split."),
        Case("the global random generators before and after split(100, 20, 3)", generators, "global-generator",
             "Your code moved a global random generator: everything random after it would change."),
    ),
    mistakes=(
        Mistake("took-the-first",
                "You took the first n_val images. If the data are sorted, they are no fair sample: shuffle.",
                lambda n, n_val, seed: (torch.arange(n_val, n), torch.arange(n_val))),
        Mistake("took-the-last",
                "You took the last n_val images. If the data are sorted, they are no fair sample: shuffle.",
                lambda n, n_val, seed: (torch.arange(n - n_val), torch.arange(n - n_val, n))),
        Mistake("block-of-neighbours", "Your validation images are neighbours; the seed only moves the block. Shuffle.",
                rotated),
        Mistake("every-kth", "You took every k-th image. Data with a rhythm would make that an unfair sample: shuffle.",
                every_kth),
        Mistake("with-replacement",
                "You drew with replacement (`randint`): images come twice. Shuffle with `randperm`.",
                with_replacement, drawn_validation),
        Mistake("coin-flips",
                "You tossed a coin for each image, so that the size of the parts is left to chance. Draw exactly "
                "n_val images.", coin_flips),
        Mistake("overlap", "Validation images are in the training part as well: validation would be too kind.",
                lambda n, n_val, seed: (permutation(n, seed), permutation(n, seed)[:n_val]),
                lambda n, n_val, seed: (permutation(n, seed + 1000)[n_val:], permutation(n, seed)[:n_val]),
                lambda n, n_val, seed: (permutation(n, seed)[:n - n_val], permutation(n, seed)[:n_val])),
        Mistake("swapped-parts", "You swapped the parts: the training indices come first.",
                lambda n, n_val, seed: random_split(n, n_val, seed)[::-1],
                lambda n, n_val, seed: random_split(n, n - n_val, seed)),
        Mistake("seed-ignored", "Your split is random but always the same: it does not use `seed`.",
                lambda n, n_val, seed: random_split(n, n_val, 42)),
        Mistake("not-reproducible",
                "Your split uses the global generator: the same seed gives another split each time. Make a "
                "`torch.Generator` and seed it.",
                reseeding(lambda seed: None, torch.randperm),
                reseeding(lambda seed: None, lambda n: torch.tensor(random.sample(range(n), n), dtype=torch.int64))),
        Mistake("global-generator",
                "You seeded the global generator: everything random after it changes. Make a `torch.Generator` of "
                "your own.",
                reseeding(torch.manual_seed, torch.randperm)),
        Mistake("lost-images", "Some images are in neither part.",
                lambda n, n_val, seed: (random_split(n, n_val, seed)[0][1:], random_split(n, n_val, seed)[1]),
                lambda n, n_val, seed: (random_split(n, n_val, seed)[0][:-1], random_split(n, n_val, seed)[1]),
                lambda n, n_val, seed: (permutation(n, seed)[n_val:-1], permutation(n, seed)[:n_val])),
        Mistake("minus-zero",
                "With n_val = 0 your slice takes everything: `order[-0:]` is `order[0:]`. Cut at `n - n_val`, or take "
                "the validation part from the front.",
                lambda n, n_val, seed: (permutation(n, seed)[:-n_val], permutation(n, seed)[-n_val:])),
        Mistake("counted-from-1", "Your indices run from 1 to n. Python counts from 0.",
                lambda n, n_val, seed: tuple(part + 1 for part in random_split(n, n_val, seed))),
        Mistake("returned-masks",
                "You returned masks of True and False. Return the indices: `mask.nonzero().flatten()`.",
                masks),
        Mistake("returned-lists", "You returned lists. Return int64 tensors.",
                lambda n, n_val, seed: tuple(part.tolist() for part in random_split(n, n_val, seed))),
    ),
    hints=(
        "Put all n indices in a random order first. How do you then cut the two parts?",
        "`torch.randperm(n, generator=g)` is a random order of 0 … n - 1, and `g = "
        "torch.Generator().manual_seed(seed)` leaves the global generator alone.",
        "With `order = torch.randperm(n, generator=g)`: the first `n_val` entries are validation, the rest is "
        "training. Return training first.",
    ),
    tested="sizes, also 0 and all of them; no image lost, doubled or shared; the same seed repeats, another one does "
           "not; no pattern; the global generators untouched",
)

# --- paired_difference -----------------------------------------------------------------------------------------------


def paired(a, b):
    d = a - b
    return d.mean(), d.std() / math.sqrt(len(d))


def with_difference(formula: Callable) -> Callable:
    """A wrong answer that starts from the right differences."""
    return lambda a, b: formula(a - b, len(a))


def mean_and_error(a: list[float], b: list[float]) -> Case:
    """The answer as two floats, whether it returns floats or 0-d tensors."""
    inputs = {"a": tensor(a), "b": tensor(b)}

    def probe(answer: Callable) -> object:
        result = plain(call(answer, **inputs))
        if isinstance(result, Tensor) and result.ndim == 1:
            return result.tolist()
        if not isinstance(result, tuple | list):
            return result
        return [each.item() if isinstance(each, Tensor) and each.ndim == 0 else each for each in result]
    return Case(describe(**inputs), probe)


paired_difference = Exercise(
    id="backbone.paired_difference",
    title="Is one network better than the other?",
    reference=lambda a, b: [float(each) for each in paired(a, b)],
    cases=(
        mean_and_error([0.8, 0.7], [0.6, 0.7]),
        mean_and_error([0.7, 0.8, 0.6], [0.5, 0.9, 0.3]),
        mean_and_error([0.71, 0.74, 0.69, 0.73, 0.72], [0.72, 0.77, 0.7, 0.73, 0.74]),
        mean_and_error([0.5, 0.6, 0.7, 0.8], [0.4, 0.5, 0.6, 0.7]),
        mean_and_error([0.81, 0.6, 0.72, 0.55, 0.9, 0.64, 0.7, 0.77], [0.79, 0.61, 0.7, 0.5, 0.86, 0.66, 0.69, 0.7]),
    ),
    mistakes=(
        Mistake("reversed", "You took b - a. The difference is a - b.", lambda a, b: paired(b, a)),
        Mistake("biased-std", "You divided by n inside the standard deviation. From a sample, divide by n - 1.",
                with_difference(lambda d, n: (d.mean(), d.std(correction=0) / math.sqrt(n)))),
        Mistake("standard-deviation",
                "You returned the standard deviation of the differences. The mean of n of them is √n times more "
                "certain.",
                with_difference(lambda d, n: (d.mean(), d.std())),
                with_difference(lambda d, n: (d.mean(), d.std(correction=0)))),
        Mistake("divided-by-n", "You divided by n. The standard error shrinks with √n.",
                with_difference(lambda d, n: (d.mean(), d.std() / n)),
                with_difference(lambda d, n: (d.mean(), d.std(correction=0) / n))),
        Mistake("root-of-n-minus-1",
                "You took n - 1 twice: once in the standard deviation, once under the root. Divide by √n.",
                with_difference(lambda d, n: (d.mean(), d.std() / math.sqrt(n - 1)))),
        Mistake("unpaired",
                "You treated a and b as unrelated runs. Take the difference seed by seed first: what both share "
                "cancels out.",
                lambda a, b: (a.mean() - b.mean(), (a.var() / len(a) + b.var() / len(b)).sqrt()),
                lambda a, b: (a.mean() - b.mean(), (a.std() + b.std()) / math.sqrt(len(a))),
                lambda a, b: (a.mean() - b.mean(), ((a.var(correction=0) + b.var(correction=0)) / len(a)).sqrt()),
                lambda a, b: (a.mean() - b.mean(), (a.std() - b.std()) / math.sqrt(len(a)))),
        Mistake("absolute-differences", "You took absolute values: a loss then counts as a win.",
                lambda a, b: ((a - b).abs().mean(), (a - b).abs().std() / math.sqrt(len(a))),
                lambda a, b: ((a - b).abs().mean(), (a - b).std() / math.sqrt(len(a)))),
        Mistake("error-of-one-network",
                "Your standard error is that of one network's accuracies. Take that of the differences.",
                lambda a, b: ((a - b).mean(), a.std() / math.sqrt(len(a))),
                lambda a, b: ((a - b).mean(), b.std() / math.sqrt(len(a)))),
        Mistake("median", "You took the median. This exercise asks for the mean.",
                with_difference(lambda d, n: (d.median(), d.std() / math.sqrt(n)))),
        Mistake("variance", "You used the variance. The standard deviation is its root.",
                with_difference(lambda d, n: (d.mean(), d.var() / math.sqrt(n))),
                with_difference(lambda d, n: (d.mean(), d.var() / n)),
                with_difference(lambda d, n: (d.mean(), d.var()))),
        Mistake("summed", "You summed the differences. Divide by their number.",
                with_difference(lambda d, n: (d.sum(), d.std() / math.sqrt(n)))),
        Mistake("swapped-results", "You returned the standard error first. The mean comes first.",
                with_difference(lambda d, n: (d.std() / math.sqrt(n), d.mean()))),
        Mistake("confidence-interval",
                "You returned half a confidence interval. The standard error is what it is made of.",
                *(with_difference(lambda d, n, k=k: (d.mean(), k * d.std() / math.sqrt(n))) for k in (1.96, 2))),
        Mistake("relative", "You divided by b. The difference is in accuracy itself.",
                lambda a, b: paired(a / b, b / b),
                lambda a, b: ((a - b).mean() / b.mean(), (a - b).std() / math.sqrt(len(a)))),
        Mistake("percent", "You returned percent. Keep the unit of a and b.",
                with_difference(lambda d, n: (100 * d.mean(), 100 * d.std() / math.sqrt(n)))),
        Mistake("mean-only", "You returned the mean alone. Without its standard error it says little.",
                lambda a, b: (a - b).mean(), lambda a, b: (a - b).mean().item()),
    ),
    hints=(
        "The runs come in pairs that share a seed. What is the first thing to compute, seed by seed?",
        "With d = a - b: its mean, and its standard deviation (with n - 1) divided by √n.",
        "`d = a - b`, then return `d.mean()` and `d.std() / len(d) ** 0.5`; torch's `std` divides by n - 1.",
    ),
    tested="2 to 8 seeds, differences of either sign and of one size; floats or 0-d tensors; a and b unchanged",
)

