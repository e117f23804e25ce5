"""Checkers of the audit: intervals, the loss's floor, lost layers, paired runs, unused parameters, gaps, power."""

import copy
import math
import statistics
from collections.abc import Callable, Iterable
from functools import partial
from statistics import NormalDist

import numpy as np
import torch
from scipy.special import stdtrit
from torch import Tensor, nn

from attncourse.checks.cases import as_float, call, describe, error_of, one_number, randn
from attncourse.checks.compare import Problem, difference, kind, plain
from attncourse.checks.engine import Case, Exercise, Mistake

# --- half_width ------------------------------------------------------------------------------------------------------


def t_interval(std, runs, t):
    return t * std / math.sqrt(runs)


half_width = Exercise(
    id="report_table.half_width",
    title="From a printed standard deviation to an interval",
    reference=t_interval,
    cases=(
        one_number(std=3.0, runs=4, t=3.182),
        one_number(std=2.0, runs=16, t=2.131),
        one_number(std=1.5, runs=2, t=12.71),
        one_number(std=0.018, runs=16, t=2.131),
        one_number(std=0.5, runs=9, t=2.306),
        one_number(std=0.0, runs=3, t=4.303),
        one_number(std=2.6, runs=1000, t=1.962),
    ),
    mistakes=(
        Mistake("divided-by-n", "You divided by the number of runs. The standard error divides by its root: four times "
                "as many runs make the interval half as wide.",
                lambda std, runs, t: t * std / runs),
        Mistake("standard-deviation", "That is t standard deviations: where single runs lie. The mean of n runs is √n "
                "times more certain.",
                lambda std, runs, t: t * std),
        Mistake("no-quantile", "That is the standard error. The half width of the interval is t times as large.",
                lambda std, runs, t: std / math.sqrt(runs)),
        Mistake("normal-quantile", "You used 1.96 or 2, which holds where the standard deviation is known. It was "
                "estimated from these few runs: use t.",
                *(lambda std, runs, t, z=z: z * std / math.sqrt(runs) for z in (1.96, 2))),
        Mistake("root-of-n-minus-1", "The printed deviation has n − 1 in it already. Divide by √n, or you count that "
                "twice.",
                lambda std, runs, t: t * std / math.sqrt(runs - 1) if runs > 1 else math.inf),
        Mistake("variance", "You squared the standard deviation. Either keep it as it is, or take the root of std²/n.",
                lambda std, runs, t: t * std**2 / runs, lambda std, runs, t: t * std**2 / math.sqrt(runs)),
        Mistake("whole-width", "That is the whole width of the interval. Half of it goes to each side.",
                lambda std, runs, t: 2 * t * std / math.sqrt(runs)),
        Mistake("two-means", "That √2 belongs to the difference of two means. Here it is one mean.",
                lambda std, runs, t: t * std * math.sqrt(2 / runs)),
        Mistake("multiplied", "Yours grows with the number of runs. More runs make a mean more certain.",
                lambda std, runs, t: t * std * math.sqrt(runs), lambda std, runs, t: t * std * runs),
        Mistake("root-of-all", "Your root covers too much. It is over the number of runs alone.",
                lambda std, runs, t: math.sqrt(t * std / runs), lambda std, runs, t: t * math.sqrt(std / runs),
                lambda std, runs, t: math.sqrt(t * std**2 / runs)),
        Mistake("always-16", "You divided by 4, which is √16. The number of runs is `runs`.",
                lambda std, runs, t: t * std / 4),
        Mistake("both-ends", "Return one number, the half width.",
                lambda std, runs, t: (-t_interval(std, runs, t), t_interval(std, runs, t))),
    ),
    hints=(
        "Which is more certain, one run or the mean of 16? By how much?",
        "The standard error of a mean of n runs is std / √n. The interval reaches t of them to each side.",
        "`return t * std / math.sqrt(...)`.",
    ),
    tested="7 pairs of deviation and number of runs, from 2 runs to 1,000, fractions and points",
)

# --- loss_floor ------------------------------------------------------------------------------------------------------


def floor(classes):
    return math.log(1 + (classes - 1) / math.e)


loss_floor = Exercise(
    id="report_table.loss_floor",
    title="How low can the loss fall?",
    reference=floor,
    cases=tuple(one_number(classes=n) for n in (2, 3, 10, 100, 1000)),
    mistakes=(
        Mistake("zero", "0 is the floor of a loss that gets logits: they may grow without end. A probability cannot "
                "exceed 1.",
                lambda classes: 0.0),
        Mistake("guessing", "log C is the loss of a network that guesses. The best network does a little better.",
                lambda classes: math.log(classes)),
        Mistake("counted-all-classes", "You gave all C classes a 0. One of them is the right one: C − 1 are wrong.",
                lambda classes: math.log(1 + classes / math.e)),
        Mistake("right-class-missing", "The sum of the second softmax goes over all classes: e⁰ for each wrong one and "
                "e¹ for the right one. Yours lacks the right one.",
                lambda classes: math.log((classes - 1) / math.e)),
        Mistake("e-to-0-is-1", "A wrong class has the value 0, and e⁰ is 1, not 0: the wrong classes remain in the "
                "sum.",
                lambda classes: math.log(1 + 1 / math.e)),
        Mistake("no-logarithm", "You returned 1 over the probability. The loss is its logarithm.",
                lambda classes: 1 + (classes - 1) / math.e),
        Mistake("probability", "That is the probability which the second softmax gives to the right class. The loss is "
                "minus its logarithm.",
                lambda classes: math.e / (math.e + classes - 1)),
        Mistake("sign", "The sign is wrong: a cross-entropy is not negative.",
                lambda classes: -floor(classes)),
        Mistake("upside-down", "You exchanged the right class with a wrong one: that is the loss where the network is "
                "certain of a wrong class, the highest it can get.",
                lambda classes: math.log(math.e + classes - 1)),
        Mistake("multiplied-by-e", "You multiplied by e where you should divide: e¹ stands in the numerator of the "
                "right class.",
                lambda classes: math.log(1 + (classes - 1) * math.e)),
        Mistake("base-2", "You took the logarithm to base 2 or 10. PyTorch's cross-entropy takes the natural one.",
                lambda classes: math.log2(1 + (classes - 1) / math.e),
                lambda classes: math.log10(1 + (classes - 1) / math.e)),
        Mistake("always-10", "You wrote the 9 of CIFAR-10 into your code. Use `classes`.",
                lambda classes: floor(10), lambda classes: 1.461),
        Mistake("one-softmax-more", "You applied softmax once too often: the probabilities 1, 0, 0, … are what the "
                "first softmax gives, and the loss applies one more.",
                lambda classes: -float(torch.eye(classes)[0].softmax(0).log_softmax(0)[0])),
        Mistake("averaged-over-classes", "You divided by the number of classes. The loss of an image is that of its "
                "right class.",
                lambda classes: floor(classes) / classes),
    ),
    hints=(
        "The first softmax gives probabilities. Which ones would be best of all? These are the “logits” of the loss.",
        "At best the right class has 1 and the others 0. The loss makes a softmax of these numbers: the right class "
        "gets e / (e + C − 1).",
        "−log(e / (e + C − 1)), with `math.log`. Or let PyTorch compute it: `F.cross_entropy` of a row of zeros with "
        "one 1.",
    ),
    tested="2, 3, 10, 100 and 1,000 classes",
)

# --- lost_layers -----------------------------------------------------------------------------------------------------


def overwritten(pairs):
    last = {name: position for position, (name, _) in enumerate(pairs)}
    return [position for position, (name, _) in enumerate(pairs) if last[name] != position]


def earlier(pairs):
    return [position for position, (name, _) in enumerate(pairs) if name in [each for each, _ in pairs[:position]]]


def in_order_of(key: Callable[[list[str], int], int]) -> Callable:
    """The right positions, sorted by key(names, position)."""
    return lambda pairs: sorted(overwritten(pairs), key=lambda i: key([name for name, _ in pairs], i))


def whole_numbers(result: object) -> object:
    """Any row of positions as a list of int. A set has no order."""
    if isinstance(result, set | frozenset | dict):
        raise Problem("not-a-list", f"Your code returned {kind(result)}. Return a list, from the first position to the "
                      "last.")
    if isinstance(result, Tensor | np.ndarray):
        result = result.tolist()
    if isinstance(result, tuple | range):
        result = list(result)
    if isinstance(result, list) and any(isinstance(each, tuple | list) for each in result):
        raise Problem("not-positions", "Your list holds pairs. Return the positions alone, such as [0, 3].")
    return result


def listed(*pairs: tuple[str, str]) -> Case:
    shown = "pairs = [" + ", ".join(f"(\"{name}\", {layer})" for name, layer in pairs) + "]"
    return Case(shown, lambda answer: whole_numbers(call(answer, pairs=list(pairs))))


lost_layers = Exercise(
    id="report_table.lost_layers",
    title="One key, two layers",
    reference=overwritten,
    cases=(
        listed(("conv", "A"), ("relu", "B")),
        listed(("gate", "A"), ("gate", "B")),
        listed(("conv1", "A"), ("attention", "B"), ("relu1", "C"), ("attention", "D")),
        listed(("a", "A"), ("b", "B"), ("a", "A"), ("a", "A")),
        listed(("a", "A"), ("b", "A"), ("c", "A"), ("b", "A")),
        listed(("x", "A"), ("y", "B"), ("y", "C"), ("x", "D"), ("z", "E")),
        listed(("b", "A"), ("B", "B"), ("a", "C"), ("b", "D"), ("a", "E"), ("b", "F")),
        listed(),
    ),
    mistakes=(
        Mistake("lost-the-later", "You say that the later layer is lost. A dictionary keeps the *last* value: the "
                "earlier one goes.",
                earlier),
        Mistake("all-of-the-name", "You returned every position of a name that stands more than once. The last of them "
                "is kept.",
                lambda pairs: [i for i, (name, _) in enumerate(pairs) if [n for n, _ in pairs].count(name) > 1]),
        Mistake("first-only", "Where a name stands three times, two layers are lost.",
                lambda pairs: [i for i in overwritten(pairs) if i not in earlier(pairs)]),
        Mistake("first-index", "Where a name stands three times, you return its first position twice (`.index` always "
                "finds the first). Two different layers are lost.",
                lambda pairs: [[name for name, _ in pairs].index(pairs[i][0]) for i in overwritten(pairs)],
                lambda pairs: [pairs.index(pairs[i]) for i in overwritten(pairs)]),
        Mistake("names", "You returned names. Return the positions of the layers that are lost, counted from 0.",
                lambda pairs: [pairs[i][0] for i in overwritten(pairs)],
                lambda pairs: list(dict.fromkeys(pairs[i][0] for i in overwritten(pairs)))),
        Mistake("layers", "You returned the layers. Return their positions, counted from 0.",
                lambda pairs: [pairs[i][1] for i in overwritten(pairs)]),
        Mistake("how-many", "You returned how many are lost. Which ones? Return their positions.",
                lambda pairs: len(overwritten(pairs)), lambda pairs: len(pairs) - len(dict(pairs))),
        Mistake("from-one", "Count positions from 0.",
                lambda pairs: [i + 1 for i in overwritten(pairs)]),
        Mistake("neighbours-only", "You compared each name with the next one. The same name may stand anywhere "
                "further on.",
                lambda pairs: [i for i in range(len(pairs) - 1) if pairs[i][0] == pairs[i + 1][0]]),
        Mistake("same-layer", "You compared the layers. A dictionary has one value per *key*, whatever the values are.",
                lambda pairs: overwritten([(layer, layer) for _, layer in pairs])),
        Mistake("whole-pairs", "You compared whole pairs. A layer is lost to any later one of the same *name*.",
                lambda pairs: [i for i, pair in enumerate(pairs) if pair in pairs[i + 1:]],
                lambda pairs: [i for i, pair in enumerate(pairs) if pairs.count(pair) > 1]),
        Mistake("capitals-ignored", "You ignored capitals. `b` and `B` are two keys.",
                lambda pairs: overwritten([(name.lower(), layer) for name, layer in pairs])),
        Mistake("twice-in-the-list", "You listed a position once for every later layer of its name. Once is enough.",
                lambda pairs: [i for i, (name, _) in enumerate(pairs) for other, _ in pairs[i + 1:] if name == other]),
        Mistake("kept", "You returned the positions that are kept. Which ones are lost?",
                lambda pairs: [i for i in range(len(pairs)) if i not in overwritten(pairs)]),
        Mistake("nothing-lost", "You looked at a dictionary made of the pairs: there every key stands once. What is "
                "lost is gone by then; compare the pairs themselves.",
                lambda pairs: []),
        Mistake("other-order", "The positions are right, but in another order. Return them from the first to the last.",
                in_order_of(lambda names, i: -i), in_order_of(lambda names, i: names.index(names[i], i + 1)),
                in_order_of(lambda names, i: names.index(names[i]))),
    ),
    hints=(
        "Which of two values does a dictionary keep under one key, the first or the last?",
        "A layer is lost if its name stands once more further on. Go over the positions, and look at what follows.",
        "For each `position, (name, _)` of `enumerate(pairs)`, ask whether `name` is among the names of "
        "`pairs[position + 1:]`.",
    ),
    tested="8 lists: no repeat, two, three, two names at once, equal layers under different names, capitals, nothing",
)

# --- paired_difference -----------------------------------------------------------------------------------------------


def on_differences(d: list[float], t: float, *, divide: Callable = math.sqrt, spread: Callable = statistics.stdev,
                   alone: float = math.inf) -> tuple[float, float]:
    if not d:
        raise ValueError("no seed is in both")
    mean = sum(d) / len(d)
    return mean, t * spread(d) / divide(len(d)) if len(d) > 1 else alone


def shared(ours: dict, other: dict) -> list[int]:
    return [seed for seed in ours if seed in other]


def by_seed(ours, other, t, **how):
    return on_differences([ours[seed] - other[seed] for seed in shared(ours, other)], t, **how)


def by_position(ours, other, t, order=list):
    return on_differences([a - b for a, b in zip(order(ours.values()), order(other.values()))], t)


def guarded(wrong: Callable) -> Callable:
    """The same mistake by one who thought of the ValueError."""
    return lambda ours, other, t: wrong(ours, other, t) if shared(ours, other) else on_differences([], t)


def by_sorted_seed(ours, other, t):
    """Sorted by seed, then cut to the shorter one: right where both have the same seeds."""
    return by_position(dict(sorted(ours.items())), dict(sorted(other.items())), t)


def unrelated(ours, other, t, error=None):
    """Two separate groups of runs."""
    error = error or (lambda a, b: math.sqrt(statistics.variance(a) / len(a) + statistics.variance(b) / len(b)))
    a, b = list(ours.values()), list(other.values())
    if not set(ours) & set(other):
        raise ValueError
    half = t * error(a, b) if min(len(a), len(b)) > 1 else math.inf
    return statistics.mean(a) - statistics.mean(b), half


def unrelated_shared(ours, other, t):
    return unrelated({s: ours[s] for s in shared(ours, other)}, {s: other[s] for s in shared(ours, other)}, t)


def with_missing(value: Callable) -> Callable:
    """Seeds that one of the two lacks are filled up, value(runs that there are)."""
    def wrong(ours, other, t):
        if not shared(ours, other):
            raise ValueError
        return on_differences([ours.get(s, value(ours)) - other.get(s, value(other))
                               for s in dict.fromkeys([*ours, *other])], t)
    return wrong


def two_numbers(ours: dict, other: dict, t: float) -> Case:
    def runs(accuracies: dict) -> str:
        return "{" + ", ".join(f"{seed}: {value:g}" for seed, value in accuracies.items()) + "}"

    def probe(answer: Callable) -> object:
        given = dict(ours), dict(other)
        result = answer(*given, t)
        if given != (ours, other):
            raise Problem("mutated-input", "Your code changed a dictionary that it was given: make a new one.")
        if isinstance(result, Tensor | np.ndarray):
            result = tuple(result.tolist())
        return tuple(map(as_float, result)) if isinstance(result, tuple | list) else result
    return Case(f"ours = {runs(ours)}, other = {runs(other)}, t = {t:g}", probe)


def nothing_shared(answer: Callable) -> str:
    return error_of(lambda: answer({0: 70.0, 1: 71.0}, {2: 70.0, 3: 69.0}, 12.71))


MANY = {3: 74.5, 0: 73.2, 1: 74.9, 7: 75.6, 5: 72.8}, {0: 72.9, 5: 73.3, 7: 74.1, 9: 70.4, 3: 73.7, 2: 75.0}

paired_difference = Exercise(
    id="report_table.paired_difference",
    title="Two networks, the same seeds",
    reference=by_seed,
    cases=(
        two_numbers({0: 74.0, 1: 76.0}, {0: 73.0, 1: 74.0}, 12.71),
        two_numbers({0: 74.0, 1: 75.5, 2: 73.0}, {2: 71.5, 0: 74.5, 1: 75.0}, 4.303),
        two_numbers({0: 74.0, 1: 75.0, 2: 77.0}, {0: 73.5, 2: 75.0}, 12.71),
        two_numbers({1: 74.5, 4: 73.0}, {1: 73.25, 0: 70.0}, 12.71),
        two_numbers(*MANY, 3.182),
        two_numbers(*MANY[::-1], 3.182),
        Case("two networks without a common seed", nothing_shared, "no-pair-silent",
             "Without a common seed there is no pair, and nothing to return: raise a ValueError."),
    ),
    mistakes=(
        Mistake("by-position", "You paired the runs in the order in which they stand. Pair them by seed: "
                "`other[seed]`.",
                by_position, guarded(by_position)),
        Mistake("shorter-list", "You sorted both by seed and paired what stands side by side. Where a seed is missing "
                "on one side, everything behind it is shifted. Take the seeds that both have.",
                by_sorted_seed, guarded(by_sorted_seed)),
        Mistake("sorted-accuracies", "You sorted the accuracies. Then the best run of one meets the best of the other, "
                "and the pairs are lost.",
                partial(by_position, order=sorted), guarded(partial(by_position, order=sorted))),
        Mistake("unpaired", "You took the two networks for unrelated runs. Subtract seed by seed first; what the seed "
                "does to both cancels.",
                unrelated, unrelated_shared,
                lambda ours, other, t: (by_seed(ours, other, t)[0], unrelated_shared(ours, other, t)[1])),
        Mistake("missing-as-0", "A seed that one network lacks is no accuracy of 0. Leave it out.",
                with_missing(lambda runs: 0)),
        Mistake("missing-as-mean", "You filled missing runs with the mean. A run that was not made says nothing: leave "
                "its seed out.",
                with_missing(lambda runs: statistics.mean(runs.values()))),
        Mistake("other-way-round", "The sign is turned round: ours minus other.",
                lambda ours, other, t: by_seed(other, ours, t)),
        Mistake("no-quantile", "That is the standard error. The half width is t times as large.",
                lambda ours, other, t: by_seed(ours, other, 1)),
        Mistake("normal-quantile", "You used 1.96 or 2. With so few runs it takes t.",
                lambda ours, other, t: by_seed(ours, other, 1.96), lambda ours, other, t: by_seed(ours, other, 2)),
        Mistake("standard-deviation", "You used the spread of single differences. That of their mean is smaller by √n.",
                partial(by_seed, divide=lambda n: 1), lambda ours, other, t: by_seed(ours, other, 1,
                                                                                     divide=lambda n: 1)),
        Mistake("divided-by-n", "You divided by n. The standard error divides by √n.",
                partial(by_seed, divide=lambda n: n)),
        Mistake("all-runs-counted", "n is the number of *pairs*, not of the runs of one network, and not of both.",
                lambda ours, other, t: by_seed(ours, other, t, divide=lambda n: math.sqrt(len(ours))),
                lambda ours, other, t: by_seed(ours, other, t, divide=lambda n: math.sqrt(len(other))),
                lambda ours, other, t: by_seed(ours, other, t, divide=lambda n: math.sqrt(2 * n))),
        Mistake("biased-std", "You divided by n inside the standard deviation. From a sample, divide by n − 1.",
                partial(by_seed, spread=statistics.pstdev)),
        Mistake("root-of-n-minus-1", "`stdev` has divided by n − 1 already. Divide it by √n, or you count that twice.",
                partial(by_seed, divide=lambda n: math.sqrt(n - 1))),
        Mistake("variance", "You used the variance. The standard deviation is its root.",
                partial(by_seed, spread=statistics.variance),
                partial(by_seed, spread=statistics.variance, divide=lambda n: n)),
        Mistake("absolute", "You took the size of each difference: a loss then counts as a win.",
                lambda ours, other, t: on_differences([abs(ours[s] - other[s]) for s in shared(ours, other)], t)),
        Mistake("one-pair-certain", "With one pair you claim to be certain. One difference says nothing of the spread: "
                "the half width is `math.inf`.",
                partial(by_seed, alone=0.0)),
        Mistake("one-pair-nan", "With one pair the half width is NaN. Return `math.inf`: it could be anything.",
                partial(by_seed, alone=math.nan)),
        Mistake("swapped-results", "First the mean, then the half width.",
                lambda ours, other, t: by_seed(ours, other, t)[::-1]),
        Mistake("ends", "You returned the ends of the interval. Return its middle and its half width.",
                lambda ours, other, t: (by_seed(ours, other, t)[0] - by_seed(ours, other, t)[1],
                                        sum(by_seed(ours, other, t)))),
    ),
    hints=(
        "Which runs belong together? Which runs have no partner?",
        "Take the seeds that are in both dictionaries, subtract seed by seed, and make an interval of the differences. "
        "None left: a ValueError. One left: nothing is known of the spread.",
        "`d = [ours[seed] - other[seed] for seed in ours if seed in other]`; the half width is "
        "`t * statistics.stdev(d) / math.sqrt(len(d))`, or `math.inf` where `len(d)` is 1.",
    ),
    tested="6 pairs of networks: seeds in any order, seeds that one of them lacks, one shared seed; and none, which "
           "raises a ValueError",
)

# --- unused_parameters -----------------------------------------------------------------------------------------------


class Audited(nn.Module):
    """A small network with one peculiarity. All weights are known."""

    def __init__(self, seed: int = 0):
        super().__init__()
        with torch.device("cpu"):
            self.first = nn.Linear(4, 3)
            self.last = nn.Linear(3, 2)
            self.build()
        with torch.no_grad():
            for number, p in enumerate(self.parameters()):
                p.copy_(randn(*p.shape, seed=100 * seed + number) if p.ndim else torch.zeros(()))

    def build(self) -> None:
        pass

    def hidden(self, x: Tensor) -> Tensor:
        return self.first(x).tanh()

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.hidden(x))


class NeverCalled(Audited):
    def build(self) -> None:
        self.middle = nn.Linear(3, 3)


class Dead(Audited):
    """A unit whose ReLU is closed for every image: its gradient is exactly 0."""

    def hidden(self, x: Tensor) -> Tensor:
        return (self.first(x) - 100).relu()


class GateAtOne(Audited):
    """A gate 1 + α (gate - 1) with α = 0: the gate's own weights get the gradient 0 in the first step."""

    def build(self) -> None:
        self.gate = nn.Linear(3, 3)
        self.alpha = nn.Parameter(torch.zeros(()))
        self.spare = nn.Parameter(torch.zeros(2))

    def hidden(self, x: Tensor) -> Tensor:
        h = self.first(x).tanh()
        return h * (1 + self.alpha * (self.gate(h).sigmoid() - 1))


class Frozen(NeverCalled):
    def build(self) -> None:
        super().build()
        self.first.requires_grad_(False)
        self.middle.bias.requires_grad_(False)


class OldGradients(NeverCalled):
    """As an earlier step with another forward pass left it: every parameter has a gradient."""

    def __init__(self):
        super().__init__()
        for p in self.parameters():
            p.grad = torch.ones_like(p)


class WithNorm(Audited):
    """In training mode every call changes the BatchNorm's statistics; a softmax makes the outputs sum to 1."""

    def build(self) -> None:
        self.norm = nn.BatchNorm1d(3)
        self.head = nn.ModuleDict({"used": nn.Linear(2, 2), "old": nn.Linear(2, 2, bias=False)})

    def forward(self, x: Tensor) -> Tensor:
        return self.head["used"](self.last(self.norm(self.hidden(x)))).softmax(1)


AUDITED_IMAGES = randn(5, 4, seed=9)


def everything(model: nn.Module) -> list:
    """All that an audit has to leave as it found it."""
    return [*(plain(value) for value in model.state_dict().values()), *(p.requires_grad for p in model.parameters()),
            *(torch.zeros(0) if p.grad is None else plain(p.grad) for p in model.parameters()), model.training]


def audited(make: Callable[[], nn.Module], shown: str, training: bool = False) -> Case:
    def probe(answer: Callable) -> object:
        model, images = make().train(training), AUDITED_IMAGES.clone()
        before = everything(model)
        result = answer(model, images)
        if difference(everything(model), before) or not torch.equal(images, AUDITED_IMAGES):
            raise Problem("model-changed", "Your code left the model changed: its gradients, a BatchNorm's statistics, "
                          "its mode or what is frozen. Work on a `copy.deepcopy` of it.")
        if isinstance(result, set | frozenset | dict):
            raise Problem("not-a-list", f"Your code returned {kind(result)}. Return a list, in the order of "
                          "`named_parameters`.")
        return result if isinstance(result, Tensor) or not isinstance(result, Iterable) or isinstance(result, str) \
            else list(result)
    return Case(shown, probe)


def gradients_after(model: nn.Module, images: Tensor, thaw: bool = True) -> list[tuple[str, Tensor, Tensor | None]]:
    """(name, parameter, gradient) after one backward pass of a copy, which starts without gradients."""
    model = copy.deepcopy(model)
    if thaw:
        model.requires_grad_()
    model(images).square().sum().backward()
    return [(name, p, p.grad) for name, p in model.named_parameters()]


def with_old_gradients(model, images):
    """In the copy every parameter keeps the gradient that it came with."""
    new, old = copy.deepcopy(model).requires_grad_(), dict(model.named_parameters())
    for name, p in new.named_parameters():
        p.grad = None if old[name].grad is None else old[name].grad.clone()
    new(images).square().sum().backward()
    return [name for name, p in new.named_parameters() if p.grad is None]


def without_gradient(model, images, **how):
    return [name for name, _, grad in gradients_after(model, images, **how) if grad is None]


def zero_counted(model, images):
    return [name for name, _, grad in gradients_after(model, images) if grad is None or not grad.any()]


def only_zero(model, images):
    return [name for name, _, grad in gradients_after(model, images) if grad is not None and not grad.any()]


def in_place(model, images):
    for p in model.parameters():
        p.requires_grad_()
        p.grad = None
    model(images).sum().backward()
    return [name for name, p in model.named_parameters() if p.grad is None]


def by_called_modules(model, images):
    """Parameters of the modules that ran: one that forward() uses by itself is not seen."""
    model, called = copy.deepcopy(model), set()
    for name, module in model.named_modules():
        if name:
            module.register_forward_hook(lambda *_, name=name: called.add(name))
    model(images)
    return [name for name, _ in model.named_parameters() if name.rpartition(".")[0] not in called]


unused_parameters = Exercise(
    id="report_table.unused_parameters",
    title="Which parameters does no image ever reach?",
    reference=without_gradient,
    cases=(
        audited(Audited, "two layers, both called"),
        audited(NeverCalled, "three layers, one of them built and never called"),
        audited(Dead, "two layers; the ReLU between them is closed for all these images"),
        audited(GateAtOne, "a gate 1 + α·(gate − 1) with α = 0, and a spare parameter"),
        audited(Frozen, "three layers, one never called; the first layer is frozen"),
        audited(OldGradients, "three layers, one never called; all have gradients from an earlier step"),
        audited(WithNorm, "layers with BatchNorm and a softmax, in training mode; a head that is not called",
                training=True),
    ),
    mistakes=(
        Mistake("zero-counted", "You counted gradients that are exactly 0. Such a parameter is used: these images, or "
                "a factor that is 0 today, keep the gradient at 0. Unused is one whose gradient is None.",
                zero_counted),
        Mistake("only-zero", "You looked for gradients of exactly 0. A parameter that the forward pass never used has "
                "no gradient at all: None.",
                only_zero),
        Mistake("used-ones", "You returned the parameters that are used. Return the others.",
                lambda model, images: [name for name, _, grad in gradients_after(model, images) if grad is not None]),
        Mistake("frozen-counted", "A frozen parameter has no gradient either, but the forward pass uses it. In your "
                "copy, let all of them ask for a gradient first.",
                partial(without_gradient, thaw=False)),
        Mistake("frozen-left-out", "You left frozen parameters out altogether. One that is frozen *and* never called "
                "is unused.",
                lambda model, images: [name for name, p in model.named_parameters()
                                       if p.requires_grad and name in without_gradient(model, images)]),
        Mistake("old-gradients", "You took gradients of an earlier step for those of this one. Set all of them to None "
                "before the backward pass.",
                with_old_gradients),
        Mistake("no-backward", "You read the gradients without a backward pass: they are those that the model came "
                "with.",
                lambda model, images: [name for name, p in model.named_parameters() if p.grad is None]),
        Mistake("everything", "You returned all parameters: before a backward pass, none has a gradient.",
                lambda model, images: [name for name, _ in model.named_parameters()]),
        Mistake("called-modules", "You asked which modules were called. A parameter that `forward` uses directly "
                "belongs to no module that is called.",
                by_called_modules),
        Mistake("counted", "You returned a count. Which ones? Return their names.",
                lambda model, images: len(without_gradient(model, images)),
                lambda model, images: sum(p.numel() for _, p, grad in gradients_after(model, images) if grad is None)),
        Mistake("module-names", "You returned the names of modules. Return those of the parameters, such as "
                "`middle.weight`.",
                lambda model, images: list(dict.fromkeys(
                    name.rpartition(".")[0] for name in without_gradient(model, images)))),
        Mistake("weights-only", "You left out the biases.",
                lambda model, images: [name for name in without_gradient(model, images) if "bias" not in name]),
        Mistake("nothing", "You returned an empty list for every model.",
                lambda model, images: []),
        Mistake("model-changed", "Your code left the model changed: its gradients, a BatchNorm's statistics, its mode "
                "or what is frozen. Work on a `copy.deepcopy` of it.",
                in_place),
    ),
    hints=(
        "After a backward pass, what does `p.grad` hold for a parameter that the forward pass never touched? And for "
        "one that it multiplied by 0?",
        "Work on a deep copy: its parameters come without gradients. Let every one of them ask for a gradient. After "
        "one backward pass the unused ones still have None; an exact 0 means used.",
        "`model = copy.deepcopy(model).requires_grad_()`, then `model(images).sum().backward()`, and the names of "
        "those with `p.grad is None`.",
    ),
    tested="7 small networks: nothing unused, a layer that is never called, a closed ReLU, a gate with α = 0, frozen "
           "layers, old gradients, BatchNorm in training mode; the model unchanged",
)

# --- reached_share ---------------------------------------------------------------------------------------------------


def line(inputs, kernel, stride, padding, output_padding, *, length=None, start=lambda i, s, p: i * s - p,
         stamp=lambda k: k, count=lambda n: n) -> list[bool]:
    """Which positions along one side are reached."""
    length = (inputs - 1) * stride - 2 * padding + kernel + output_padding if length is None else length
    hit = [False] * length
    for i in range(count(inputs)):
        for j in range(start(i, stride, padding), start(i, stride, padding) + stamp(kernel)):
            if 0 <= j < length:
                hit[j] = True
    return hit


def square(hit: list[bool]) -> float:
    return (sum(hit) / len(hit)) ** 2


def share(*setting, **wrong):
    return square(line(*setting, **wrong))


def length_with(formula: Callable) -> Callable:
    """The right positions on a side of the wrong length, formula(inputs, kernel, stride, padding, output_padding)."""
    return lambda *setting: share(*setting, length=max(1, formula(*setting)))


def above_zero(inputs, kernel, stride, padding, output_padding, *, bias):
    """With the layer's own random weights. They are those of the answer: the check seeds every call."""
    untouched = nn.ConvTranspose2d(1, 1, kernel, stride, padding, output_padding, bias=bias)
    return (untouched(torch.ones(1, 1, inputs, inputs)) > 0).float().mean()


def layer(inputs: int, kernel: int, stride: int, padding: int, output_padding: int) -> Case:
    return one_number(inputs=inputs, kernel=kernel, stride=stride, padding=padding, output_padding=output_padding)


reached_share = Exercise(
    id="report_table.reached_share",
    title="How much of a gate looks at the picture?",
    reference=share,
    cases=(layer(1, 2, 2, 0, 0), layer(2, 1, 2, 0, 0), layer(2, 1, 2, 0, 1), layer(3, 2, 3, 1, 0), layer(4, 3, 4, 1, 2),
           layer(4, 2, 4, 1, 1), layer(12, 3, 3, 3, 0), layer(16, 3, 2, 1, 1), layer(5, 1, 3, 1, 2),
           layer(2, 3, 2, 2, 1), layer(6, 2, 5, 0, 4), layer(2, 2, 3, 1, 2)),
    mistakes=(
        Mistake("one-side", "That is the share along one side. On the map a position is reached where its row *and* "
                "its column are.",
                lambda *setting: sum(line(*setting)) / len(line(*setting))),
        Mistake("missed-share", "You returned the share that is missed. Which share is reached?",
                lambda *setting: 1 - share(*setting)),
        Mistake("missed-of-one-side", "You squared what one side misses. A position is missed where its row *or* its "
                "column is: square what is reached.",
                lambda *setting: 1 - (1 - sum(line(*setting)) / len(line(*setting)))**2,
                lambda *setting: (1 - sum(line(*setting)) / len(line(*setting)))**2),
        Mistake("doubled", "You multiplied the share of one side by 2. Rows and columns multiply.",
                lambda *setting: 2 * sum(line(*setting)) / len(line(*setting))),
        Mistake("counted", "You returned how many positions are reached. Divide by how many there are.",
                lambda *setting: float(sum(line(*setting))**2), lambda *setting: float(sum(line(*setting)))),
        Mistake("divided-by-one-side", "You divided by the positions along one side. A square map has the square of "
                "that.",
                lambda *setting: sum(line(*setting))**2 / len(line(*setting))),
        Mistake("divided-by-inputs", "You divided by the positions of the input. Divide by those of the output.",
                lambda n, *rest: sum(line(n, *rest))**2 / n**2),
        Mistake("far-from-the-border", "(kernel / stride)² holds far from the border. A small map is mostly border.",
                lambda n, k, s, p, o: min(1.0, k / s)**2),
        Mistake("padding-ignored", "`padding` is missing: so many positions are cut off at each end, and stamps with "
                "them.",
                lambda n, k, s, p, o: share(n, k, s, 0, o)),
        Mistake("padding-added", "You moved the stamps to the right by `padding`. They move to the left.",
                partial(share, start=lambda i, s, p: i * s + p)),
        Mistake("stamps-not-moved", "The output has lost `padding` positions at its beginning, so the first stamp "
                "starts at −padding.",
                partial(share, start=lambda i, s, p: i * s)),
        Mistake("output-padding-ignored", "`output_padding` is missing: it adds positions at the end, and perhaps no "
                "stamp reaches them.",
                lambda n, k, s, p, o: share(n, k, s, p, 0)),
        Mistake("output-padding-twice", "`output_padding` is added at one end only.",
                length_with(lambda n, k, s, p, o: (n - 1) * s - 2 * p + k + 2 * o)),
        Mistake("kernel-ignored", "You counted where each stamp starts. It is `kernel` positions long.",
                partial(share, stamp=lambda k: 1)),
        Mistake("input-missing", "One input is missing: they run from 0 to inputs − 1.",
                partial(share, count=lambda n: n - 1)),
        Mistake("overlaps-counted-twice", "You added up the stamps. A position that two of them reach counts once.",
                lambda n, k, s, p, o: (n * k / len(line(n, k, s, p, o)))**2,
                lambda n, k, s, p, o: (sum(sum(line(1, k, s, 0, 0, length=len(line(n, k, s, p, o)),
                                                    start=lambda _, s, p, i=i, q=p: i * s - q))
                                           for i in range(n)) / len(line(n, k, s, p, o)))**2),
        Mistake("percent", "You returned percent. Return a share between 0 and 1.",
                lambda *setting: 100 * share(*setting)),
        Mistake("negative-weights", "Some of your weights are negative: use ones, or `!= 0`.",
                partial(above_zero, bias=False), partial(above_zero, bias=True)),
        Mistake("always-everything", "You returned 1 for every layer (did your layer have a bias?).",
                lambda *setting: 1.0),
    ),
    hints=(
        "Send ones through a layer whose weights are all 1 and that has no bias. What do you find where nobody writes?",
        "`F.conv_transpose2d` of a map of ones with a kernel of ones tells for each position how many inputs write to "
        "it. What share of these numbers is above 0?",
        "`count = F.conv_transpose2d(torch.ones(1, 1, inputs, inputs), torch.ones(1, 1, kernel, kernel), …)` with "
        "`stride=`, `padding=` and `output_padding=`; then the mean of `count > 0`.",
    ),
    tested="12 layers: stamps that overlap, touch, leave gaps and are cut off, ends that no stamp reaches; among them "
           "the four of the report",
)

# --- smallest_difference ---------------------------------------------------------------------------------------------


def errors(level: float, wanted: float = 0.8, sides: int = 2) -> float:
    """How many standard errors a true difference must have."""
    return NormalDist().inv_cdf(1 - level / sides) + NormalDist().inv_cdf(wanted)


def smallest(std, runs, comparisons, *, level=lambda m: 0.05 / m, error=lambda std, n: std * math.sqrt(2 / n),
             **how):
    return errors(level(comparisons), **how) * error(std, runs)


def with_error(error: Callable) -> Callable:
    return partial(smallest, error=error)


def student(std, runs, comparisons, *, freedom, power=None):
    """Student's t in place of the normal quantile, for the level and, unless it is given, for the power."""
    level = stdtrit(freedom(runs), 1 - 0.05 / comparisons / 2)
    return (level + (power or stdtrit(freedom(runs), 0.8))) * std * math.sqrt(2 / runs)


def study(std: float, runs: int, comparisons: int) -> Case:
    """One number. Within 0.2 % it counts as right: quantiles may come from a table, such as 0.84 for 80 %."""
    inputs = {"std": std, "runs": runs, "comparisons": comparisons}

    def probe(answer: Callable) -> object:
        result, right = as_float(call(answer, **inputs)), smallest(**inputs)
        return right if isinstance(result, float) and math.isclose(result, right, rel_tol=0.002) else result
    return Case(describe(**inputs), probe)


smallest_difference = Exercise(
    id="report_table.smallest_difference",
    title="What can this table resolve?",
    reference=smallest,
    cases=(study(1.0, 2, 3), study(2.0, 16, 1), study(2.0, 16, 8), study(0.02, 16, 36), study(1.8, 64, 1),
           study(0.5, 5, 3), study(2.6, 250, 36)),
    mistakes=(
        Mistake("comparisons-ignored", "`comparisons` is missing: with many of them, each may err less often. Divide "
                "the level by their number.",
                partial(smallest, level=lambda m: 0.05), lambda std, runs, m: 2.8 * std * math.sqrt(2 / runs)),
        Mistake("comparisons-outside", "You multiplied the whole result by the number of comparisons, or by its root. "
                "It changes the level only: 5 % / comparisons.",
                lambda std, runs, m: m * smallest(std, runs, 1),
                lambda std, runs, m: math.sqrt(m) * smallest(std, runs, 1)),
        Mistake("pairs-of-comparisons", "You took `comparisons` for a number of rows and counted their pairs. It is "
                "the number of comparisons already.",
                partial(smallest, level=lambda m: 0.05 / max(1, m * (m - 1) / 2))),
        Mistake("level-multiplied", "You multiplied the level by the number of comparisons. Many comparisons ask for a "
                "stricter one: divide.",
                partial(smallest, level=lambda m: min(0.999, 0.05 * m))),
        Mistake("sidak", "That is Šidák's correction. The task asks for Bonferroni's: 0.05 / comparisons.",
                partial(smallest, level=lambda m: 1 - 0.95**(1 / m))),
        Mistake("students-t", "That is Student's t; the task asks for the normal approximation.",
                *(partial(student, freedom=freedom, power=power) for power in (None, NormalDist().inv_cdf(0.8))
                  for freedom in (lambda n: 2 * n - 2, lambda n: n - 1))),
        Mistake("one-sided", "Your test looks in one direction. A difference may have either sign: half of the level "
                "lies at each end.",
                partial(smallest, sides=1)),
        Mistake("lower-tail", "`inv_cdf` of a small share is negative: it lies at the lower end. The upper end of a "
                "two-sided test is at 1 − level / 2.",
                lambda std, runs, m: (NormalDist().inv_cdf(0.05 / m / 2) + NormalDist().inv_cdf(0.8)) * std
                * math.sqrt(2 / runs)),
        Mistake("power-forgotten", "That is where a test begins to find something. A true difference of just that size "
                "is found in half of the studies. Add the quantile of 80 %.",
                partial(smallest, wanted=0.5)),
        Mistake("power-halved", "The quantile of the power is one-sided: `inv_cdf(0.8)`.",
                partial(smallest, wanted=0.9)),
        Mistake("power-as-level", "You multiplied by 0.8 or divided by it. The power enters by its quantile, which is "
                "added.",
                lambda std, runs, m: smallest(std, runs, m, wanted=0.5) * 0.8,
                lambda std, runs, m: smallest(std, runs, m, wanted=0.5) / 0.8),
        Mistake("power-itself", "You added the power itself, not its quantile.",
                partial(smallest, wanted=NormalDist().cdf(0.8))),
        Mistake("power-subtracted", "You subtracted the quantile of the power. To find it more often than in half of "
                "the studies, the difference must be larger.",
                partial(smallest, wanted=0.2)),
        Mistake("one-mean", "That is the error of one mean. The difference of two has √2 times as much.",
                with_error(lambda std, n: std / math.sqrt(n))),
        Mistake("four-times", "You added the two standard errors. Their squares add: std · √(2 / runs).",
                with_error(lambda std, n: 2 * std / math.sqrt(n))),
        Mistake("divided-by-n", "You divided by the number of runs. The error shrinks with its root.",
                with_error(lambda std, n: std * math.sqrt(2) / n), with_error(lambda std, n: 2 * std / n),
                with_error(lambda std, n: std / n)),
        Mistake("variance", "You squared the standard deviation without taking the root.",
                with_error(lambda std, n: std**2 * 2 / n), with_error(lambda std, n: std**2 * math.sqrt(2 / n))),
        Mistake("both-sides-pooled", "You counted the runs of both sides together. `runs` is the number a side.",
                with_error(lambda std, n: std * math.sqrt(1 / (2 * n)))),
        Mistake("runs-ignored", "The number of runs is missing. That would be for one run a side.",
                with_error(lambda std, n: std * math.sqrt(2)), with_error(lambda std, n: std)),
        Mistake("density", "You used `pdf` or `cdf`. You need the number that a share lies below: `inv_cdf`.",
                lambda std, runs, m: (NormalDist().cdf(1 - 0.05 / m / 2) + NormalDist().cdf(0.8))
                * std * math.sqrt(2 / runs),
                lambda std, runs, m: (NormalDist().pdf(1 - 0.05 / m / 2) + NormalDist().pdf(0.8))
                * std * math.sqrt(2 / runs)),
    ),
    hints=(
        "Two steps. From which measured difference on does the test speak up? And how much larger must the true one "
        "be, so that it does so in 80 % of the studies?",
        "Both are numbers of standard errors, and they add: the quantile of 1 − level / 2, and the quantile of 0.8. "
        "The level is 0.05 / comparisons, the standard error std · √(2 / runs).",
        "`z = NormalDist().inv_cdf(1 - 0.05 / comparisons / 2) + NormalDist().inv_cdf(0.8)`, times "
        "`std * math.sqrt(2 / runs)`.",
    ),
    tested="7 studies: 2 to 250 runs a side, 1 to 36 comparisons",
)
