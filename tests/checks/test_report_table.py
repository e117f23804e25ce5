"""Exercises of the audit."""

import copy
import itertools
import math
import statistics
from collections import Counter, OrderedDict
from statistics import NormalDist

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from torch.nn import functional as F

from attncourse.as_coded import AS_CODED, LAST_LAYER
from attncourse.checks.report_table import (
    AUDITED_IMAGES,
    GateAtOne,
    NeverCalled,
    WithNorm,
    half_width,
    loss_floor,
    lost_layers,
    paired_difference,
    reached_share,
    smallest_difference,
    unused_parameters,
)
from attncourse.training import seeded

# --- half_width ------------------------------------------------------------------------------------------------------

HALF_RIGHT = [
    lambda std, runs, t: t * std / math.sqrt(runs),
    lambda std, runs, t: t * math.sqrt(std**2 / runs),
    lambda std, runs, t: torch.tensor(t * std) * runs**-0.5,
    lambda std, runs, t: np.float64(t) * std / np.sqrt(runs),
]
HALF_WRONG = {
    "divided-by-n": [lambda std, runs, t: std / runs * t],
    "standard-deviation": [lambda std, runs, t: std * t],
    "no-quantile": [lambda std, runs, t: std * runs**-0.5],
    "normal-quantile": [lambda std, runs, t: std / runs**0.5 * 1.96, lambda std, runs, t: 2.0 * std / runs**0.5],
    "root-of-n-minus-1": [lambda std, runs, t: t * std / (runs - 1)**0.5],
    "variance": [lambda std, runs, t: t * std * std / runs],
    "whole-width": [lambda std, runs, t: (t + t) * std / runs**0.5],
    "two-means": [lambda std, runs, t: t * math.sqrt(std**2 / runs + std**2 / runs)],
    "multiplied": [lambda std, runs, t: t * std * runs**0.5],
    "root-of-all": [lambda std, runs, t: (t * std / runs)**0.5],
    "always-16": [lambda std, runs, t: t * std / math.sqrt(16)],
    "both-ends": [lambda std, runs, t: (-t * std / runs**0.5, t * std / runs**0.5)],
    "returned-nothing": [lambda std, runs, t: None],
}


def test_half_width(tells_apart):
    tells_apart(half_width, HALF_RIGHT, HALF_WRONG)


# --- loss_floor ------------------------------------------------------------------------------------------------------


def by_pytorch(classes):
    return F.cross_entropy(F.one_hot(torch.tensor([0]), classes).float(), torch.tensor([0]))


def by_sum(classes):
    values = [1.0] + [0.0] * (classes - 1)
    return math.log(sum(math.exp(value) for value in values)) - 1


FLOOR_RIGHT = [by_pytorch, by_sum, lambda classes: -math.log(math.e / (math.e + classes - 1)),
               lambda classes: np.log1p((classes - 1) / np.e)]
FLOOR_WRONG = {
    "zero": [lambda classes: 0, lambda classes: -math.log(1)],
    "guessing": [lambda classes: -math.log(1 / classes)],
    "counted-all-classes": [lambda classes: -math.log(math.e / (math.e + classes))],
    "right-class-missing": [lambda classes: -math.log(math.e / (classes - 1))],
    "e-to-0-is-1": [lambda classes: -math.log(math.e / (math.e + 1))],
    "no-logarithm": [lambda classes: (math.e + classes - 1) / math.e],
    "probability": [lambda classes: 1 / (1 + (classes - 1) / math.e)],
    "sign": [lambda classes: math.log(math.e / (math.e + classes - 1))],
    "upside-down": [lambda classes: -math.log(1 / (math.e + classes - 1)),
                    lambda classes: F.cross_entropy(torch.eye(classes)[:1], torch.tensor([1]))],
    "multiplied-by-e": [lambda classes: math.log1p((classes - 1) * math.e)],
    "base-2": [lambda classes: by_sum(classes) / math.log(2)],
    "always-10": [lambda classes: math.log(1 + 9 / math.e)],
    "one-softmax-more": [lambda classes: F.cross_entropy(torch.eye(classes)[:1].softmax(1), torch.tensor([0]))],
    "averaged-over-classes": [lambda classes: by_sum(classes) / classes],
}


def test_loss_floor(tells_apart):
    tells_apart(loss_floor, FLOOR_RIGHT, FLOOR_WRONG)


# --- lost_layers -----------------------------------------------------------------------------------------------------


def by_later_names(pairs):
    names = [name for name, _ in pairs]
    return [i for i in range(len(pairs)) if names[i] in names[i + 1:]]


def from_behind(pairs):
    seen, lost = set(), []
    for i in reversed(range(len(pairs))):
        if pairs[i][0] in seen:
            lost.insert(0, i)
        seen.add(pairs[i][0])
    return tuple(lost)


def by_what_is_kept(pairs):
    kept = OrderedDict((name, i) for i, (name, _) in enumerate(pairs))
    return np.array(sorted(set(range(len(pairs))) - set(kept.values())), int)


def names_of(pairs):
    return [name for name, _ in pairs]


def as_overwritten(pairs):
    """Each position when a later layer takes its place."""
    seen, lost = {}, []
    for i, (name, _) in enumerate(pairs):
        if name in seen:
            lost.append(seen[name])
        seen[name] = i
    return lost


def name_by_name(pairs):
    places = {}
    for i, (name, _) in enumerate(pairs):
        places.setdefault(name, []).append(i)
    return [i for each in places.values() for i in each[:-1]]


LOST_RIGHT = [by_later_names, from_behind, by_what_is_kept]
LOST_WRONG = {
    "lost-the-later": [lambda pairs: [i for i in range(len(pairs)) if pairs[i][0] in {n for n, _ in pairs[:i]}]],
    "all-of-the-name": [lambda pairs: [i for i, pair in enumerate(pairs)
                                       if Counter(name for name, _ in pairs)[pair[0]] > 1]],
    "first-only": [lambda pairs: sorted({[n for n, _ in pairs].index(name) for name, times in
                                         Counter(n for n, _ in pairs).items() if times > 1})],
    "first-index": [
        lambda pairs: [names_of(pairs).index(name) for i, (name, _) in enumerate(pairs, 1) if name in names_of(
            pairs[i:])],
        lambda pairs: [names_of(pairs).index(name) for i, (name, _) in enumerate(pairs) if name in names_of(pairs[:i])],
        lambda pairs: [pairs.index(pair) for i, pair in enumerate(pairs, 1) if pair[0] in names_of(pairs[i:])],
    ],
    "not-positions": [lambda pairs: [(i, pairs[i][0]) for i in by_later_names(pairs)],
                      lambda pairs: [pairs[i] for i in by_later_names(pairs)]],
    "names": [lambda pairs: [pairs[i][0] for i in by_later_names(pairs)]],
    "layers": [lambda pairs: [pairs[i][1] for i in by_later_names(pairs)]],
    "how-many": [lambda pairs: len(pairs) - len({name for name, _ in pairs})],
    "from-one": [lambda pairs: [i for i, (name, _) in enumerate(pairs, 1) if name in [n for n, _ in pairs[i:]]]],
    "neighbours-only": [lambda pairs: [i for i, ((a, _), (b, _)) in enumerate(itertools.pairwise(pairs)) if a == b]],
    "same-layer": [lambda pairs: [i for i, (_, layer) in enumerate(pairs) if layer in [x for _, x in pairs[i + 1:]]]],
    "whole-pairs": [lambda pairs: [i for i in range(len(pairs)) if pairs[i] in pairs[i + 1:]]],
    "capitals-ignored": [lambda pairs: by_later_names([(name.upper(), 0) for name, _ in pairs])],
    "twice-in-the-list": [lambda pairs: [i for i in range(len(pairs)) for j in range(i + 1, len(pairs))
                                         if pairs[i][0] == pairs[j][0]]],
    "kept": [lambda pairs: sorted({name: i for i, (name, _) in enumerate(pairs)}.values())],
    "nothing-lost": [lambda pairs: [i for i, name in enumerate(dict(pairs)) if list(dict(pairs)).count(name) > 1]],
    "other-order": [lambda pairs: list(reversed(from_behind(pairs))), as_overwritten, name_by_name],
    "mutated-input": [lambda pairs: [pairs.pop() and 0 for _ in list(pairs)] and []],
    "not-a-list": [lambda pairs: set(by_later_names(pairs)), lambda pairs: dict.fromkeys(by_later_names(pairs))],
}


def test_lost_layers(tells_apart):
    tells_apart(lost_layers, LOST_RIGHT, LOST_WRONG)


def test_to_ask_index_is_one_mistake_and_to_turn_the_order_another():
    of_later, of_earlier, of_pairs = (lost_layers(answer).message for answer in LOST_WRONG["first-index"])
    assert "Something else" not in of_later + of_pairs
    assert "Something else" in of_earlier  # [1, 0] for x, y, y, x


# --- paired_difference -----------------------------------------------------------------------------------------------


def by_common_keys(ours, other, t):
    seeds = sorted(ours.keys() & other.keys())
    if not seeds:
        raise ValueError("nothing to compare")
    d = torch.tensor([ours[s] - other[s] for s in seeds], dtype=torch.float64)
    return d.mean(), t * d.std() / len(d)**0.5 if len(d) > 1 else math.inf


def with_numpy(ours, other, t):
    d = np.array([a - other[s] for s, a in ours.items() if s in other])
    if d.size == 0:
        raise ValueError
    return [d.mean(), t * d.std(ddof=1) / np.sqrt(d.size) if d.size > 1 else float("inf")]


def differing(of, gap=lambda a, b: a - b):
    """A wrong answer from of(differences, t)."""
    def answer(ours, other, t):
        d = [gap(ours[s], other[s]) for s in ours if s in other]
        if not d:
            raise ValueError
        return of(d, t) if len(d) > 1 else (d[0], math.inf)
    return answer


def zipped(order):
    def answer(ours, other, t):
        d = [a - b for a, b in zip(order(ours), order(other))]
        return statistics.mean(d), t * statistics.stdev(d) / math.sqrt(len(d)) if len(d) > 1 else math.inf
    return answer


def zipped_both_ways(order):
    """With and without a thought for networks that share no seed."""
    def with_error(ours, other, t):
        if not ours.keys() & other.keys():
            raise ValueError("no seed in common")
        return zipped(order)(ours, other, t)
    return [zipped(order), with_error]


def separate(ours, other, t):
    if not ours.keys() & other.keys():
        raise ValueError
    a, b = list(ours.values()), list(other.values())
    return (statistics.mean(a) - statistics.mean(b),
            t * math.sqrt(statistics.variance(a) / len(a) + statistics.variance(b) / len(b)))


def filled(ours, other, t):
    if not ours.keys() & other.keys():
        raise ValueError
    seeds = list(dict.fromkeys([*ours, *other]))
    return with_numpy({s: ours.get(s, 0.0) for s in seeds}, {s: other.get(s, 0.0) for s in seeds}, t)


def statistics_raises(ours, other, t):
    """The mean of nothing is a StatisticsError, which is a ValueError."""
    d = [ours[s] - other[s] for s in ours if s in other]
    return statistics.mean(d), t * statistics.stdev(d) / math.sqrt(len(d)) if len(d) > 1 else math.inf


def another_error(ours, other, t):
    if not ours.keys() & other.keys():
        raise KeyError("no seed")
    return with_numpy(ours, other, t)


PAIRED_RIGHT = [by_common_keys, with_numpy, statistics_raises]
PAIRED_WRONG = {
    "by-position": zipped_both_ways(lambda runs: list(runs.values())),
    "shorter-list": zipped_both_ways(lambda runs: [runs[s] for s in sorted(runs)]),
    "sorted-accuracies": zipped_both_ways(lambda runs: sorted(runs.values())),
    "unpaired": [separate],
    "none-inside": [lambda ours, other, t: (with_numpy(ours, other, t)[0], None) if len(ours.keys() & other.keys()) == 1
                    else with_numpy(ours, other, t)],
    "missing-as-0": [filled],
    "other-way-round": [lambda ours, other, t: with_numpy(other, ours, t)],
    "no-quantile": [lambda ours, other, t: with_numpy(ours, other, 1.0)],
    "normal-quantile": [lambda ours, other, t: with_numpy(ours, other, 1.96)],
    "standard-deviation": [differing(lambda d, t: (statistics.mean(d), t * statistics.stdev(d)))],
    "divided-by-n": [differing(lambda d, t: (statistics.mean(d), t * statistics.stdev(d) / len(d)))],
    "biased-std": [differing(lambda d, t: (statistics.mean(d), t * np.std(d) / len(d)**0.5))],
    "root-of-n-minus-1": [differing(lambda d, t: (statistics.mean(d), t * statistics.stdev(d) / (len(d) - 1)**0.5))],
    "variance": [differing(lambda d, t: (statistics.mean(d), t * statistics.variance(d) / len(d)**0.5))],
    "absolute": [differing(lambda d, t: (statistics.mean(d), t * statistics.stdev(d) / len(d)**0.5),
                           lambda a, b: abs(a - b))],
    "one-pair-certain": [lambda ours, other, t: (with_numpy(ours, other, t)[0],
                                                 0.0 if math.isinf(with_numpy(ours, other, t)[1])
                                                 else with_numpy(ours, other, t)[1])],
    "one-pair-nan": [lambda ours, other, t: (torch.tensor([a - other[s] for s, a in ours.items() if s in other]).mean(),
                                             t * torch.tensor([a - other[s] for s, a in ours.items() if s in other],
                                                              dtype=torch.float64).std()
                                             / len(ours.keys() & other.keys())**0.5)
                     if ours.keys() & other.keys() else with_numpy(ours, other, t)],
    "swapped-results": [lambda ours, other, t: with_numpy(ours, other, t)[::-1]],
    "ends": [lambda ours, other, t: (with_numpy(ours, other, t)[0] - with_numpy(ours, other, t)[1],
                                     with_numpy(ours, other, t)[0] + with_numpy(ours, other, t)[1])],
    "no-pair-silent": [lambda ours, other, t: with_numpy(ours, other, t) if ours.keys() & other.keys()
                       else (0.0, math.inf), another_error],
    "mutated-input": [lambda ours, other, t: (ours.popitem()[1], t)],
}


def test_paired_difference(tells_apart):
    tells_apart(paired_difference, PAIRED_RIGHT, PAIRED_WRONG)


# --- unused_parameters -----------------------------------------------------------------------------------------------


def by_autograd(model, images):
    twin = copy.deepcopy(model)
    for p in twin.parameters():
        p.requires_grad = True
    names, parameters = zip(*twin.named_parameters())
    grads = torch.autograd.grad(twin(images).pow(2).sum(), parameters, allow_unused=True)
    return [name for name, grad in zip(names, grads) if grad is None]


def by_the_graph(model, images):
    """Walk the graph backwards and see which leaves it has."""
    twin, found = copy.deepcopy(model).requires_grad_(), set()
    ways = [twin(images).grad_fn]
    while ways:
        node = ways.pop()
        if hasattr(node, "variable"):
            found.add(id(node.variable))
        ways += [following for following, _ in node.next_functions if following is not None]
    return tuple(name for name, p in twin.named_parameters() if id(p) not in found)


def put_back(model, images):
    """Without a copy of the model: everything is stored and put back."""
    state = copy.deepcopy(model.state_dict())
    before = [(p.requires_grad, p.grad) for p in model.parameters()]
    for p in model.parameters():
        p.requires_grad_().grad = None
    model(images).sum().backward()
    names = [name for name, p in model.named_parameters() if p.grad is None]
    for p, (asks, grad) in zip(model.parameters(), before):
        p.requires_grad_(asks).grad = grad
    model.load_state_dict(state)
    return names


def copied(look, thaw=True):
    """A wrong answer that looks at each (name, parameter) of a copy after a backward pass."""
    def answer(model, images):
        twin = copy.deepcopy(model)
        twin.requires_grad_() if thaw else None
        twin(images).pow(2).mean().backward()
        return [name for name, p in twin.named_parameters() if look(name, p)]
    return answer


UNUSED_RIGHT = [by_autograd, by_the_graph, put_back]
UNUSED_WRONG = {
    "zero-counted": [copied(lambda name, p: p.grad is None or (p.grad == 0).all())],
    "only-zero": [copied(lambda name, p: p.grad is not None and p.grad.abs().sum() == 0)],
    "used-ones": [copied(lambda name, p: p.grad is not None)],
    "frozen-counted": [copied(lambda name, p: p.grad is None, thaw=False)],
    "frozen-left-out": [lambda model, images: [name for name in by_autograd(model, images)
                                               if dict(model.named_parameters())[name].requires_grad]],
    "no-backward": [lambda model, images: [name for name, p in model.named_parameters() if not isinstance(
        p.grad, torch.Tensor)]],
    "everything": [lambda model, images: list(dict(copy.deepcopy(model).named_parameters()))],
    "counted": [lambda model, images: len(by_autograd(model, images))],
    "module-names": [lambda model, images: list(dict.fromkeys(name.rsplit(".", 1)[0] if "." in name else ""
                                                              for name in by_autograd(model, images)))],
    "weights-only": [lambda model, images: [name for name in by_autograd(model, images) if not name.endswith("bias")]],
    "nothing": [lambda model, images: []],
    "model-changed": [lambda model, images: model(images).sum().backward() or [
        name for name, p in model.named_parameters() if p.grad is None]],
    "not-a-list": [lambda model, images: set(by_autograd(model, images))],
}


def test_unused_parameters(tells_apart):
    tells_apart(unused_parameters, UNUSED_RIGHT, UNUSED_WRONG)


def test_what_the_models_of_unused_parameters_hold():
    assert by_autograd(NeverCalled(), AUDITED_IMAGES) == ["middle.weight", "middle.bias"]
    assert by_autograd(GateAtOne(), AUDITED_IMAGES) == ["spare"]
    assert by_autograd(WithNorm(), AUDITED_IMAGES) == ["head.old.weight"]


def test_the_reference_finds_the_reports_third_stage():
    with seeded(0):
        deeper = AS_CODED["cnn-three-stages"]()
    unused = unused_parameters.reference(deeper, torch.randn(2, 3, 32, 32))
    assert {name.split(".")[1] for name in unused} == {"stage3"}
    assert sum(deeper.get_parameter(name).numel() for name in unused) == 886_272


# --- reached_share ---------------------------------------------------------------------------------------------------


def by_layer(inputs, kernel, stride, padding, output_padding):
    layer = nn.ConvTranspose2d(1, 1, kernel, stride, padding, output_padding, bias=False)
    nn.init.ones_(layer.weight)
    return (layer(torch.ones(1, 1, inputs, inputs)) > 0).double().mean()


def by_gradient(inputs, kernel, stride, padding, output_padding):
    """Where the output moves with the input, on one side."""
    x, stamp = torch.zeros(1, 1, inputs, requires_grad=True), torch.ones(1, 1, kernel)
    y = F.conv_transpose1d(x, stamp, stride=stride, padding=padding, output_padding=output_padding)[0, 0]
    moved = [torch.autograd.grad(each, x, retain_graph=True)[0].any().item() for each in y]
    return (sum(moved) / len(moved))**2


def by_arithmetic(inputs, kernel, stride, padding, output_padding):
    side = (inputs - 1) * stride + kernel
    seen = {i * stride + k for i in range(inputs) for k in range(kernel)}
    kept = range(padding, side - padding + output_padding)
    return (len(seen & set(kept)) / len(kept))**2


def ones(inputs, kernel, stride, padding, output_padding):
    return F.conv_transpose2d(torch.ones(1, 1, inputs, inputs), torch.ones(1, 1, kernel, kernel), stride=stride,
                              padding=padding, output_padding=output_padding)


def untouched_layer(reached, bias):
    """A layer with the weights that it was made with."""
    def answer(inputs, kernel, stride, padding, output_padding):
        layer = nn.ConvTranspose2d(1, 1, kernel, stride, padding, output_padding, bias=bias)
        return reached(layer(torch.ones(1, 1, inputs, inputs))).double().mean().item()
    return answer


SHARE_RIGHT = [by_layer, by_gradient, by_arithmetic, untouched_layer(lambda y: y != 0, bias=False)]
SHARE_WRONG = {
    "one-side": [lambda *setting: by_arithmetic(*setting)**0.5],
    "missed-share": [lambda *setting: (ones(*setting) == 0).float().mean()],
    "missed-of-one-side": [lambda *setting: (1 - by_arithmetic(*setting)**0.5)**2],
    "doubled": [lambda *setting: 2 * by_arithmetic(*setting)**0.5],
    "counted": [lambda *setting: (ones(*setting) > 0).sum().item()],
    "far-from-the-border": [lambda n, k, s, p, o: min(1, k / s) * min(1, k / s)],
    "padding-ignored": [lambda n, k, s, p, o: by_layer(n, k, s, 0, o)],
    "output-padding-ignored": [lambda n, k, s, p, o: by_arithmetic(n, k, s, p, 0)],
    "kernel-ignored": [lambda n, k, s, p, o: (sum(
        any(j + p == i * s for i in range(n)) for j in range((n - 1) * s - 2 * p + k + o))
        / ((n - 1) * s - 2 * p + k + o))**2],
    "percent": [lambda *setting: 100 * by_layer(*setting)],
    "negative-weights": [untouched_layer(lambda y: y > 0, bias=False), untouched_layer(lambda y: y > 0, bias=True)],
    "always-everything": [lambda *setting: 1, untouched_layer(lambda y: y != 0, bias=True)],
    "divided-by-one-side": [lambda *setting: (y := ones(*setting) > 0).sum().item() / y.shape[-1]],
    "divided-by-inputs": [lambda n, *rest: (ones(n, *rest) > 0).sum() / n**2],
    "overlaps-counted-twice": [lambda *setting: ones(*setting).mean().item()],
}


def test_reached_share(tells_apart):
    tells_apart(reached_share, SHARE_RIGHT, SHARE_WRONG)


@pytest.mark.parametrize(("width", "share"), [(32, 1), (30, 1), (15, 0.54), (13, 0.29)])
def test_the_reference_says_what_the_chapter_says_of_the_report(width, share):
    kernel, stride, padding, output_padding = LAST_LAYER[width]
    inputs = (width - output_padding + 2 * padding - kernel) // stride + 1
    assert round(reached_share.reference(inputs, kernel, stride, padding, output_padding), 2) == share


# --- smallest_difference ---------------------------------------------------------------------------------------------


def z(share):
    return NormalDist().inv_cdf(share)


def with_critical_value(std, runs, comparisons):
    error = math.sqrt(std**2 / runs + std**2 / runs)
    critical = -z(0.025 / comparisons) * error
    return critical + z(0.8) * error


def by_bisection(std, runs, comparisons):
    """The difference whose power is 80 %, found by halving; the other direction is left out."""
    error, low, high = std * (2 / runs)**0.5, 0.0, 100 * std
    critical = NormalDist(0, error).inv_cdf(1 - 0.05 / (2 * comparisons))
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if NormalDist(middle, error).cdf(critical) > 0.2 else (low, middle)
    return high


def in_errors(number, error=lambda std, n: std * math.sqrt(2 / n)):
    return lambda std, runs, m: number(m) * error(std, runs)


def enough(m):
    return z(1 - 0.025 / m) + z(0.8)


def by_t(degrees, power=None):
    return lambda std, runs, m: (stats.t.isf(0.025 / m, degrees(runs)) + (power or stats.t.ppf(0.8, degrees(runs)))
                                 ) * std * np.sqrt(2 / runs)


SMALLEST_RIGHT = [with_critical_value, by_bisection, in_errors(enough), in_errors(lambda m: z(1 - 0.025 / m) + 0.84),
                  in_errors(lambda m: round(z(1 - 0.025 / m), 2) + 0.84)]
SMALLEST_WRONG = {
    "comparisons-ignored": [in_errors(lambda m: enough(1))],
    "comparisons-outside": [in_errors(lambda m: m * enough(1))],
    "pairs-of-comparisons": [in_errors(lambda m: enough(max(1, math.comb(m, 2))))],
    "lower-tail": [in_errors(lambda m: z(0.025 / m) + z(0.8))],
    "one-sided": [in_errors(lambda m: z(1 - 0.05 / m) + z(0.8))],
    "power-forgotten": [in_errors(lambda m: z(1 - 0.025 / m))],
    "power-halved": [in_errors(lambda m: z(1 - 0.025 / m) + z(1 - 0.2 / 2))],
    "power-itself": [in_errors(lambda m: z(1 - 0.025 / m) + 0.8)],
    "students-t": [by_t(lambda n: 2 * n - 2), by_t(lambda n: n - 1), by_t(lambda n: 2 * (n - 1), z(0.8)),
                   by_t(lambda n: n - 1, z(0.8))],
    "sidak": [in_errors(lambda m: z((1 + 0.95**(1 / m)) / 2) + z(0.8))],
    "wrong-values": [in_errors(lambda m: enough(m) * 1.003), in_errors(lambda m: enough(m) * 0.997)],
    "power-as-level": [in_errors(lambda m: 0.8 * z(1 - 0.025 / m))],
    "power-subtracted": [in_errors(lambda m: z(1 - 0.025 / m) - z(0.8))],
    "one-mean": [in_errors(enough, lambda std, n: std / n**0.5)],
    "four-times": [in_errors(enough, lambda std, n: std / n**0.5 + std / n**0.5)],
    "divided-by-n": [in_errors(enough, lambda std, n: std * 2**0.5 / n)],
    "variance": [in_errors(enough, lambda std, n: 2 * std**2 / n)],
    "both-sides-pooled": [in_errors(enough, lambda std, n: std / (2 * n)**0.5)],
    "runs-ignored": [in_errors(enough, lambda std, n: std * 2**0.5)],
}


def test_smallest_difference(tells_apart):
    tells_apart(smallest_difference, SMALLEST_RIGHT, SMALLEST_WRONG)


def test_where_comparisons_are_ignored_the_case_shown_has_more_than_one():
    result = smallest_difference(lambda std, runs, comparisons: 2.8 * std * math.sqrt(2 / runs))
    assert result.cause == "comparisons-ignored"
    assert "comparisons = 3" in result.failing_input


# --- two mistakes at once --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("exercise", "answer", "causes"), [
    (half_width, lambda std, runs, t: 2 * t * std / runs, {"divided-by-n", "whole-width", "wrong-values"}),
    (lost_layers, lambda pairs: [i + 1 for i in by_later_names(pairs)][::-1],
     {"from-one", "other-order", "wrong-values"}),
    (paired_difference, lambda ours, other, t: with_numpy(other, ours, 1),
     {"other-way-round", "no-quantile", "wrong-values"}),
    (unused_parameters, copied(lambda name, p: (p.grad is None or not p.grad.any()) and "bias" not in name),
     {"weights-only", "zero-counted"}),
    (smallest_difference, lambda std, runs, m: (z(1 - 0.05) + z(0.8)) * std * (2 / runs)**0.5,
     {"comparisons-ignored", "one-sided", "wrong-values"}),
])
def test_two_mistakes_at_once_get_a_sensible_answer(exercise, answer, causes):
    result = exercise(answer)
    assert result.status == "failed"
    assert result.cause in causes
