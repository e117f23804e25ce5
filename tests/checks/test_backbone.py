"""Chapter 02's checkers: right answers pass, and wrong ones are told by name what is wrong."""

import math
import random
import statistics

import numpy as np
import torch

from attncourse.checks.backbone import count_parameters, paired_difference, pick_epoch, split

# The answers below are written as a learner would type them, not as the checker writes its mistakes.


def count_with_loop(model):
    total = 0
    for _name, p in model.named_parameters():
        if p.requires_grad:
            total += math.prod(p.shape)
    return total


def counts_and_freezes(model):
    model.requires_grad_(True)
    return sum(p.numel() for p in model.parameters())


COUNT_RIGHT = [
    count_with_loop, lambda model: sum(len(p.flatten()) for p in model.parameters() if p.requires_grad),
    lambda model: sum(p.nelement() for p in filter(lambda p: p.requires_grad, model.parameters())),
    lambda model: np.sum([p.numel() for p in model.parameters() if p.requires_grad], dtype=int),
]
COUNT_WRONG = {
    "counted-tensors": [lambda model: len([p for p in model.parameters() if p.requires_grad])],
    "counted-buffers": [lambda model: sum(math.prod(t.shape) for t in model.state_dict().values())],
    "no-biases": [lambda model: sum(p.numel() for p in model.parameters() if p.requires_grad and p.dim() >= 2)],
    "counted-frozen": [lambda model: sum(math.prod(p.shape) for p in model.parameters())],
    "counted-frozen-only": [lambda model: sum(p.numel() for p in model.parameters() if p.requires_grad is False)],
    "top-level-only": [lambda model: sum(p.numel() for p in model._parameters.values() if p is not None
                                         and p.requires_grad)],
    "counted-nested-twice": [lambda model: sum(q.numel() for m in model.modules() for q in m.parameters()
                                               if q.requires_grad)],
    "counted-rows": [lambda model: sum(p.shape[0] for p in model.parameters() if p.requires_grad)],
    "counted-bytes": [lambda model: sum(p.nbytes for p in model.parameters() if p.requires_grad)],
    "returned-list": [lambda model: [math.prod(p.shape) for p in model.parameters() if p.requires_grad]],
    "float-returned": [lambda model: float(count_with_loop(model))],
    "wrong-type": [lambda model: torch.tensor(count_with_loop(model))],
    "mutated-input": [counts_and_freezes],
    "returned-nothing": [lambda model: None],
}


def pick_with_loop(val, test):
    best = 0
    for epoch in range(len(val)):
        if val[epoch] > val[best]:
            best = epoch
    return test[best]


PICK_RIGHT = [
    pick_with_loop, lambda val, test: test[int(np.argmax(val))],
    lambda val, test: torch.tensor(test)[torch.tensor(val).argmax()],
    lambda val, test: max(zip(val, range(len(val), 0, -1), test))[2],
]
PICK_WRONG = {
    "best-test": [lambda val, test: sorted(test)[-1]],
    "last-epoch": [lambda val, test: test[len(test) - 1]],
    "first-epoch": [lambda val, test: test[0]],
    "worst-validation": [lambda val, test: test[int(np.argmin(val))]],
    "mean": [lambda val, test: float(np.mean(test))],
    "returned-validation": [lambda val, test: val[int(np.argmax(val))]],
    "returned-epoch": [lambda val, test: int(np.argmax(val))],
    "last-of-ties": [lambda val, test: test[max(range(len(val)), key=lambda e: (val[e], e))]],
    "peeked-at-ties": [lambda val, test: max(t for v, t in zip(val, test) if v == max(val))],
    "off-by-one": [lambda val, test: test[val.index(max(val)) - 1], lambda val, test: test[val.index(max(val)) + 1]],
    "chose-by-both": [lambda val, test: test[int(np.argmax(np.add(val, test)))]],
    "validation-at-best-test": [lambda val, test: val[test.index(max(test))]],
    "returned-pair": [lambda val, test: (val.index(max(val)), test[val.index(max(val))])],
    "mutated-input": [lambda val, test: test[0] if val.sort() else pick_with_loop(val, test)],
}


def numpy_split(n, n_val, seed):
    order = np.random.default_rng(seed).permutation(n)
    return torch.from_numpy(order[n_val:].copy()).long(), torch.from_numpy(order[:n_val].copy()).long()


def python_split(n, n_val, seed):
    val = random.Random(seed).sample(range(n), n_val)
    train = sorted(set(range(n)) - set(val))
    return torch.tensor(train, dtype=torch.long), torch.tensor(val, dtype=torch.long)


def forked_split(n, n_val, seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        order = torch.randperm(n)
    return [order[: n - n_val], order[n - n_val:]]


def argsort_split(n, n_val, seed):
    order = torch.rand(n, generator=torch.Generator().manual_seed(seed)).argsort()
    return order[:n - n_val].sort().values, order[n - n_val:].sort().values


def order_of(n, seed):
    g = torch.Generator()
    g.manual_seed(seed)
    return torch.randperm(n, generator=g)


def reseeds_torch(n, n_val, seed):
    torch.manual_seed(seed)
    p = torch.randperm(n)
    return p[n_val:], p[:n_val]


def reseeds_numpy(n, n_val, seed):
    np.random.seed(seed)
    p = torch.tensor(np.random.permutation(n), dtype=torch.int64)
    return p[n_val:], p[:n_val]


def unseeded(n, n_val, seed):
    p = torch.randperm(n)
    return p[n_val:], p[:n_val]


def two_orders(n, n_val, seed):
    g = torch.Generator().manual_seed(seed)
    return torch.randperm(n, generator=g)[: n - n_val], torch.randperm(n, generator=g)[:n_val]


def masked(n, n_val, seed):
    mask = torch.ones(n, dtype=torch.bool)
    mask[order_of(n, seed)[:n_val]] = False
    return mask, ~mask


def two_draws(n, n_val, seed):
    g = torch.Generator().manual_seed(seed)
    return torch.randint(0, n, (n - n_val,), generator=g), torch.randint(0, n, (n_val,), generator=g)


SPLIT_RIGHT = [numpy_split, python_split, forked_split, argsort_split]
SPLIT_WRONG = {
    "took-the-first": [lambda n, n_val, seed: (torch.arange(n)[n_val:], torch.arange(n)[:n_val])],
    "took-the-last": [lambda n, n_val, seed: (torch.arange(n)[:n - n_val], torch.arange(n)[n - n_val:])],
    "with-replacement": [two_draws],
    "overlap": [two_orders, lambda n, n_val, seed: (order_of(n, seed), order_of(n, seed)[:n_val])],
    "swapped-parts": [lambda n, n_val, seed: (order_of(n, seed)[:n_val], order_of(n, seed)[n_val:])],
    "seed-ignored": [lambda n, n_val, seed: (order_of(n, 0)[n_val:], order_of(n, 0)[:n_val])],
    "not-reproducible": [unseeded],
    "global-generator": [reseeds_torch, reseeds_numpy],
    "lost-images": [lambda n, n_val, seed: (order_of(n, seed)[n_val + 1:], order_of(n, seed)[:n_val])],
    "minus-zero": [lambda n, n_val, seed: (order_of(n, seed)[:-n_val], order_of(n, seed)[-n_val:])],
    "counted-from-1": [lambda n, n_val, seed: (1 + order_of(n, seed)[n_val:], 1 + order_of(n, seed)[:n_val])],
    "returned-masks": [masked],
    "returned-lists": [lambda n, n_val, seed: (order_of(n, seed).tolist()[n_val:], order_of(n, seed).tolist()[:n_val])],
    "not-a-pair": [lambda n, n_val, seed: order_of(n, seed)[n_val:]],
    "returned-nothing": [lambda n, n_val, seed: None],
}


def statistics_difference(a, b):
    d = [float(x) - float(y) for x, y in zip(a, b)]
    return statistics.mean(d), statistics.stdev(d) / len(d) ** 0.5


def biased_but_right(a, b):
    d = a - b
    return [d.mean().item(), (d.var(correction=0) / (len(d) - 1)).sqrt().item()]


PAIRED_RIGHT = [
    statistics_difference, biased_but_right, lambda a, b: ((a - b).mean(), torch.std(a - b) * len(a) ** -0.5),
    lambda a, b: torch.stack([(a - b).mean(), (a - b).std() / len(a) ** 0.5]),
]
PAIRED_WRONG = {
    "reversed": [lambda a, b: ((b - a).mean(), (b - a).std() / len(a) ** 0.5)],
    "biased-std": [lambda a, b: ((a - b).mean(), np.std((a - b).numpy()) / len(a) ** 0.5)],
    "standard-deviation": [lambda a, b: ((a - b).mean(), (a - b).std())],
    "divided-by-n": [lambda a, b: ((a - b).mean(), (a - b).std() / len(a))],
    "root-of-n-minus-1": [lambda a, b: ((a - b).mean(), (a - b).std() / (len(a) - 1) ** 0.5)],
    "unpaired": [lambda a, b: (a.mean() - b.mean(), math.sqrt(a.var() / len(a) + b.var() / len(b)))],
    "absolute-differences": [lambda a, b: ((a - b).abs().mean(), (a - b).abs().std() / len(a) ** 0.5)],
    "error-of-one-network": [lambda a, b: (a.mean() - b.mean(), a.std() / len(a) ** 0.5)],
    "median": [lambda a, b: (torch.median(a - b), (a - b).std() / len(a) ** 0.5)],
    "variance": [lambda a, b: ((a - b).mean(), torch.var(a - b) / len(a))],
    "swapped-results": [lambda a, b: ((a - b).std() / len(a) ** 0.5, (a - b).mean())],
    "confidence-interval": [lambda a, b: ((a - b).mean(), 1.96 * (a - b).std() / len(a) ** 0.5)],
    "percent": [lambda a, b: ((100 * a - 100 * b).mean(), (100 * a - 100 * b).std() / len(a) ** 0.5)],
    "mean-only": [lambda a, b: a.mean() - b.mean()],
    "summed": [lambda a, b: (torch.sum(a - b), (a - b).std() / len(a) ** 0.5)],
    "mutated-input": [lambda a, b: (a.sub_(b).mean(), a.std() / len(a) ** 0.5)],
    "crashed": [lambda a, b: statistics.mean(a - b, b)],
}


def test_count_parameters(tells_apart):
    tells_apart(count_parameters, COUNT_RIGHT, COUNT_WRONG)


def test_pick_epoch(tells_apart):
    tells_apart(pick_epoch, PICK_RIGHT, PICK_WRONG)


def test_split(tells_apart):
    tells_apart(split, SPLIT_RIGHT, SPLIT_WRONG)


def test_paired_difference(tells_apart):
    tells_apart(paired_difference, PAIRED_RIGHT, PAIRED_WRONG)
