"""Exercises of the scaling chapter."""

import itertools
import math
import random
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import vmap
from torch.nn import functional as F
from torch.utils.data import DistributedSampler

from attncourse.checks.scaling import average_gradients, fold, layer_time, my_indices, next_run, seed_losses

# --- layer_time ------------------------------------------------------------------------------------------------------


def times(make):
    """From the times of launching, memory and arithmetic."""
    def answer(flops, moved, seeds, rate, bandwidth, launch):
        return make(launch, moved * seeds / bandwidth, flops * seeds / rate)
    return answer


def by_comparing(flops, moved, seeds, rate, bandwidth, launch):
    longest, moved, flops = launch, seeds * moved, seeds * flops
    if moved > longest * bandwidth:
        longest = moved / bandwidth
    if flops > longest * rate:
        longest = flops / rate
    return longest


TIME_RIGHT = [
    by_comparing,
    times(lambda a, b, c: sorted([a, b, c])[-1]),
    times(lambda a, b, c: torch.tensor([a, b, c]).max()),
    times(lambda a, b, c: np.maximum(np.maximum(a, b), c)),
    lambda flops, moved, seeds, rate, bandwidth, launch: max(
        launch, seeds * flops / min(rate, flops / moved * bandwidth) if flops else seeds * moved / bandwidth),
]
TIME_WRONG = {
    "start-per-seed": [lambda flops, moved, seeds, rate, bandwidth, launch: max(
        seeds * launch, seeds * moved / bandwidth, seeds * flops / rate)],
    "seeds-forgotten": [lambda flops, moved, seeds, rate, bandwidth, launch: max(
        moved / bandwidth, flops / rate, launch)],
    "bytes-of-one-seed": [lambda flops, moved, seeds, rate, bandwidth, launch: max(
        moved / bandwidth, flops * seeds / rate, launch)],
    "flops-of-one-seed": [lambda flops, moved, seeds, rate, bandwidth, launch: max(
        moved * seeds / bandwidth, flops / rate, launch)],
    "divided-by-seeds": [lambda flops, moved, seeds, rate, bandwidth, launch: max(
        moved / (bandwidth * seeds), flops / (rate * seeds), launch)],
    "sum": [times(lambda a, b, c: sum((a, b, c)))],
    "launch-added": [times(lambda a, b, c: max(b, c) + a)],
    "bytes-and-flops-added": [times(lambda a, b, c: max(b + c, a)), times(lambda a, b, c: c + b)],
    "smallest": [times(lambda a, b, c: sorted([a, b, c])[0]), times(lambda a, b, c: max(min(c, b), a))],
    "average": [times(lambda a, b, c: np.mean([a, b, c]))],
    "middle": [times(lambda a, b, c: float(np.median([a, b, c])))],
    "product": [times(lambda a, b, c: math.prod((a, b, c)))],
    "launch-forgotten": [times(lambda a, b, c: b if b > c else c)],
    "bytes-forgotten": [times(lambda a, b, c: a if a > c else c)],
    "flops-forgotten": [times(lambda a, b, c: np.maximum(a, b))],
    "only-launched": [lambda flops, moved, seeds, rate, bandwidth, launch: launch],
    "swapped": [lambda flops, moved, seeds, rate, bandwidth, launch: max(
        launch, seeds * flops / bandwidth, seeds * moved / rate)],
    "upside-down": [lambda flops, moved, seeds, rate, bandwidth, launch: max(
        seeds * bandwidth / moved, seeds * rate / flops, launch)],
    "multiplied": [lambda flops, moved, seeds, rate, bandwidth, launch: max(
        seeds * rate * flops, seeds * bandwidth * moved, launch)],
    "bits": [times(lambda a, b, c: max(a, b * 8, c))],
    "floats": [times(lambda a, b, c: max(a, 4 * b, c))],
    "doubled-flops": [times(lambda a, b, c: max(a, b, c + c))],
    "seconds": [times(lambda a, b, c: 1e-3 * max(a, b, c)), times(lambda a, b, c: max(a, b * 1e-3, c * 1e-3))],
    "intensity": [lambda flops, moved, seeds, rate, bandwidth, launch: flops / moved],
    "rate-returned": [lambda flops, moved, seeds, rate, bandwidth, launch: min(bandwidth * (flops / moved), rate)],
    "crashed": [times(lambda a, b, c: max(a + b + c))],
    "returned-nothing": [lambda *arguments: None],
    "wrong-type": [times(lambda a, b, c: (a, b, c)), times(lambda a, b, c: "memory")],
}


def test_layer_time(tells_apart):
    tells_apart(layer_time, TIME_RIGHT, TIME_WRONG)


# --- fold ------------------------------------------------------------------------------------------------------------


def grouped(x, weight, bias, gather=lambda x: x.permute(1, 0, 2, 3, 4).reshape(x.shape[1], -1, *x.shape[3:]),
            filters=lambda weight: weight.reshape(-1, *weight.shape[2:]),
            scatter=lambda y, K: torch.stack(y.chunk(K, dim=1)), offsets=lambda bias: bias.view(-1), **how):
    K = x.shape[0]
    return scatter(F.conv2d(gather(x), filters(weight), offsets(bias), **{"padding": 1, "groups": K} | how), K)


def answers(**wrong):
    return partial(grouped, **wrong)


def by_hand(x, weight, bias):
    """A sum over the nine places of the filter, without any convolution."""
    H, W = x.shape[3:]
    padded = F.pad(x, (1, 1, 1, 1))
    return bias[:, None, :, None, None] + sum(
        torch.einsum("kbchw,koc->kbohw", padded[..., i:i + H, j:j + W], weight[..., i, j])
        for i, j in itertools.product(range(3), repeat=2))


def by_unfold(x, weight, bias):
    columns = torch.stack([F.unfold(images, 3, padding=1) for images in x])
    return (weight.flatten(2)[:, None] @ columns + bias[:, None, :, None]).unflatten(3, x.shape[3:])


def cat_then_split(x, weight, bias):
    y = torch.conv2d(torch.cat(list(x), 1), torch.cat(list(weight)), torch.cat(list(bias)), 1, 1, 1, len(x))
    return torch.stack(y.split(weight.shape[1], 1))


def by_module(x, weight, bias):
    K, N, C = weight.shape[:3]
    layer = nn.Conv2d(K * C, K * N, 3, padding=1, groups=K)
    del layer.weight, layer.bias
    layer.weight, layer.bias = weight.flatten(0, 1), bias.flatten()
    return layer(torch.cat(x.unbind(), 1)).unflatten(1, (K, N)).movedim(1, 0)


def all_with_all(x, weight, bias):
    y = F.conv2d(x.reshape(-1, *x.shape[2:]), weight.reshape(-1, *weight.shape[2:]), bias.reshape(-1), padding=1)
    return y.view(len(x), x.shape[1], len(weight), weight.shape[1], *x.shape[3:])


FOLD_RIGHT = [grouped, by_hand, by_unfold, cat_then_split, by_module, vmap(partial(F.conv2d, padding=1)),
              partial(grouped, padding="same")]
FOLD_WRONG = {
    "loop": [lambda x, weight, bias: torch.stack([F.conv2d(x[i], weight[i], bias[i], padding=1)
                                                  for i in range(len(x))]),
             lambda x, weight, bias: torch.stack([torch.stack([F.conv2d(image, w, b, padding=1) for image in images])
                                                  for images, w, b in zip(x, weight, bias)])],
    "k-times-the-work": [lambda x, weight, bias: torch.einsum("kbkohw->kbohw", all_with_all(x, weight, bias)),
                         lambda x, weight, bias: grouped(x, torch.cat([torch.cat(
                             [weight[k] if k == j else torch.zeros_like(weight[k]) for j in range(len(x))], 1)
                             for k in range(len(x))]), bias, filters=lambda weight: weight, groups=1)],
    "too-much-work": [lambda x, weight, bias: torch.stack([all_with_all(x, weight, bias)[k, :, k]
                                                           for k in range(len(x))])],
    "one-group": [answers(groups=1)],
    "seeds-summed": [lambda x, weight, bias: F.conv2d(
        torch.cat(list(x), 1), torch.cat(list(weight), 1), sum(bias), padding=1)],
    "not-transposed": [answers(gather=lambda x: x.view(x.shape[1], -1, *x.shape[3:]))],
    "folded-into-batch": [all_with_all, lambda x, weight, bias: all_with_all(x, weight, bias).flatten(2, 3)],
    "channels-interleaved": [answers(gather=lambda x: torch.stack(list(x), 2).flatten(1, 2))],
    "filters-interleaved": [answers(filters=lambda weight: torch.stack(list(weight), 1).flatten(0, 1))],
    "output-interleaved": [answers(scatter=lambda y, K: torch.stack([y[:, k::K] for k in range(K)]))],
    "output-reshaped": [answers(scatter=lambda y, K: y.view(K, len(y), -1, *y.shape[2:]))],
    "batch-first": [answers(scatter=lambda y, K: y.view(len(y), K, -1, *y.shape[2:]))],
    "still-folded": [answers(scatter=lambda y, K: y)],
    "one-seeds-weights": [answers(filters=lambda weight: weight[0].repeat(len(weight), 1, 1, 1))],
    "averaged-weights": [answers(filters=lambda weight: weight.mean(0).repeat(len(weight), 1, 1, 1))],
    "no-padding": [answers(padding=0)],
    "bias-lost": [answers(offsets=lambda bias: None), answers(offsets=lambda bias: 0 * bias.view(-1))],
    "bias-interleaved": [answers(offsets=lambda bias: bias.mT.reshape(-1))],
    "one-seeds-bias": [answers(offsets=lambda bias: torch.cat([bias[0]] * len(bias)))],
    "view-after-transpose": [answers(gather=lambda x: x.transpose(0, 1).view(x.shape[1], -1, *x.shape[3:]))],
    "channels-do-not-fit": [answers(gather=lambda x: x.flatten(0, 1))],
    "weight-not-folded": [lambda x, weight, bias: F.conv2d(x.flatten(0, 1), weight, bias),
                          answers(filters=lambda weight: weight)],
    "x-not-folded": [answers(gather=lambda x: x)],
    "bias-not-flat": [answers(offsets=lambda bias: bias)],
    "mutated-input": [lambda x, weight, bias: grouped(x.mul_(2), weight, bias)],
    "wrong-gradient": [lambda x, weight, bias: grouped(x, weight.detach(), bias),
                       lambda x, weight, bias: grouped(x, weight, bias.detach())],
    "no-gradient": [lambda x, weight, bias: grouped(x, weight, bias).detach()],
    "crashed": [lambda x, weight, bias: grouped(x[len(x)], weight, bias)],
    "returned-nothing": [lambda x, weight, bias: None],
    "wrong-type": [lambda x, weight, bias: list(grouped(x, weight, bias))],
}


def test_fold(tells_apart):
    tells_apart(fold, FOLD_RIGHT, FOLD_WRONG)


def test_fold_is_what_vmap_makes_of_a_convolution():
    inputs = torch.randn(3, 2, 4, 5, 5), torch.randn(3, 6, 4, 3, 3), torch.randn(3, 6)
    torch.testing.assert_close(fold.reference(*inputs), vmap(partial(F.conv2d, padding=1))(*inputs),
                               rtol=1e-4, atol=1e-5)


# --- seed_losses -----------------------------------------------------------------------------------------------------


def one_by_one(logits, labels):
    total = 0
    for own_logits, own_labels in zip(logits, labels):
        total = total + F.cross_entropy(own_logits, own_labels)
    return total


def per_image(logits, labels):
    return torch.logsumexp(logits, -1) - torch.gather(logits, -1, labels.unsqueeze(-1)).squeeze(-1)


def made(make):
    return lambda logits, labels: make(per_image(logits, labels))


LOSS_RIGHT = [
    one_by_one,
    lambda logits, labels: F.cross_entropy(logits.mT, labels, reduction="none").mean(1).sum(),
    lambda logits, labels: len(logits) * F.cross_entropy(logits.flatten(0, 1), labels.flatten()),
    lambda logits, labels: F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum") / labels.size(1),
    lambda logits, labels: vmap(F.cross_entropy)(logits, labels).sum(),
    lambda logits, labels: -(F.one_hot(labels, logits.shape[2]) * logits.log_softmax(2)).sum() / labels.shape[1],
    made(lambda losses: losses.mean(1).sum(0, keepdim=True)),
]
LOSS_WRONG = {
    "mean-over-all": [lambda logits, labels: F.cross_entropy(logits.flatten(0, 1), labels.flatten())],
    "sum-over-all": [lambda logits, labels: F.nll_loss(logits.log_softmax(2).mT, labels, reduction="sum")],
    "axes-swapped": [lambda logits, labels: F.cross_entropy(logits.mT, labels, reduction="sum") / len(logits),
                     lambda logits, labels: F.cross_entropy(logits.mT, labels) * labels.shape[1]],
    "first-seed": [lambda logits, labels: F.cross_entropy(logits[0], labels[0]), made(lambda loss: loss[-1].mean())],
    "product": [made(lambda losses: math.prod(losses.mean(1).unbind()))],
    "extreme-seed": [made(lambda losses: losses.mean(1).amax()), made(lambda losses: losses.mean(1).amin())],
    "squared": [made(lambda losses: (losses.mean(1) ** 2).sum())],
    "one-per-seed": [made(lambda losses: losses.mean(-1))],
    "one-per-image": [made(lambda losses: losses), made(lambda losses: losses.view(-1))],
    "ensemble": [lambda logits, labels: F.cross_entropy(logits.mean(0), labels[0])],
    "first-labels": [lambda logits, labels: sum(F.cross_entropy(each, labels[0]) for each in logits)],
    "wrong-axis": [lambda logits, labels: F.cross_entropy(logits, labels)],
    "different-orders": [
        lambda logits, labels: F.cross_entropy(torch.cat(logits.unbind(1)), labels.view(-1), reduction="none").view_as(
            labels).mean(1).sum(),
        lambda logits, labels: F.cross_entropy(logits.flatten(0, 1), labels.mT.reshape(-1)) * len(logits),
        lambda logits, labels: F.cross_entropy(logits.flatten(0, 1), labels.mT.reshape(-1))],
    "softmax-twice": [lambda logits, labels: one_by_one(F.softmax(logits, dim=-1), labels)],
    "no-log-softmax": [lambda logits, labels: sum(map(F.nll_loss, logits, labels))],
    "log-of-softmax": [lambda logits, labels: sum(map(F.nll_loss, torch.log(torch.softmax(logits, -1)), labels))],
    "divided-by-classes": [lambda logits, labels: -(F.one_hot(labels, logits.shape[2]) * logits.log_softmax(2)).mean(
        (1, 2)).sum()],
    "sign": [lambda logits, labels: -one_by_one(logits, labels)],
    "detached": [lambda logits, labels: sum(F.cross_entropy(*each).item() for each in zip(logits, labels)),
                 lambda logits, labels: one_by_one(logits.detach(), labels)],
    "wrong-gradient": [made(lambda losses: losses.mean(1)[:-1].sum() + losses[-1].mean().detach() * 1)],
    "mutated-input": [lambda logits, labels: one_by_one(logits.sub_(logits.amax(2, keepdim=True)), labels)],
    "wrong-arguments": [lambda logits: logits.sum()],
    "returned-nothing": [lambda logits, labels: None],
}


def test_seed_losses(tells_apart):
    tells_apart(seed_losses, LOSS_RIGHT, LOSS_WRONG)


def test_a_first_vmap_takes_no_time_from_an_answer():
    code = ("import sys, torch; from attncourse.checks import scaling; before = set(sys.modules); "
            "torch.func.vmap(torch.nn.functional.cross_entropy)(torch.rand(2, 3, 4), torch.tensor([[0, 1, 2]] * 2)); "
            "print(*set(sys.modules) - before)")
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "sympy" not in loaded


def test_each_seed_gets_the_gradient_that_it_gets_alone():
    logits, labels = torch.randn(3, 4, 5, requires_grad=True), torch.randint(5, (3, 4))
    seed_losses.reference(logits, labels).backward()
    for i in range(3):
        alone = logits[i].detach().requires_grad_()
        F.cross_entropy(alone, labels[i]).backward()
        torch.testing.assert_close(logits.grad[i], alone.grad)


# --- next_run --------------------------------------------------------------------------------------------------------


def by_loop(runs, finished, held):
    waiting = False
    for run in runs:
        if run in finished:
            continue
        if run not in held:
            return run
        waiting = True
    return "wait" if waiting else None


def by_sets(runs, finished, held):
    left = set(runs) - finished
    if not left:
        return None
    free = left - held
    return min(free, key=runs.index) if free else "wait"


def by_next(runs, finished, held):
    return next((run for run in runs if run not in finished | held),
                None if finished.issuperset(runs) else "wait")


def choose(taken, when_none=lambda runs, finished, held: "wait" if set(runs) - finished else None,
           which=lambda free: next(iter(free))):
    def answer(runs, finished, held):
        free = [run for run in runs if not taken(run, finished, held)]
        return which(free) if free else when_none(runs, finished, held)
    return answer


def either(run, finished, held):
    return run in finished or run in held


RUN_RIGHT = [by_loop, by_sets, by_next, choose(either)]
RUN_WRONG = {
    "takes-held": [choose(lambda run, finished, held: run in finished)],
    "takes-finished": [choose(lambda run, finished, held: run in held)],
    "skips-only-both": [choose(lambda run, finished, held: run in finished & held)],
    "both-seem-free": [choose(lambda run, finished, held: (run in finished) != (run in held)),
                       lambda runs, finished, held: next((run for run in runs if run not in finished ^ held), None if
                                                         set(runs) <= finished else "wait")],
    "none-as-text": [lambda runs, finished, held: f"{by_loop(runs, finished, held)}",
                     choose(either, lambda runs, finished, held: "wait" if set(runs) - finished else "None")],
    "always-first": [lambda runs, finished, held: runs[0] if runs else None],
    "not-the-first": [choose(either, which=lambda free: free.pop()), choose(either, which=random.choice),
                      choose(either, which=lambda free: sorted(free)[0])],
    "queues": [lambda runs, finished, held: next(("wait" if run in held else run for run in runs
                                                  if run not in finished), None)],
    "waits-for-all": [lambda runs, finished, held: "wait" if held else next(
        (run for run in runs if run not in finished), None)],
    "none-too-early": [choose(either, lambda runs, finished, held: None)],
    "waits-for-ever": [choose(either, lambda runs, finished, held: "wait")],
    "waits-for-others": [choose(either, lambda runs, finished, held: "wait" if len(held) else None)],
    "waits-for-finished": [choose(either, lambda runs, finished, held: "wait" if held & set(runs) else None)],
    "counted": [lambda runs, finished, held: None if len(finished) >= len(runs) else choose(either)(
        runs, finished, held), choose(either, lambda runs, finished, held: None if len(finished) == len(runs)
                                      else "wait")],
    "equal-sets": [choose(either, lambda runs, finished, held: None if set(finished) == set(runs) else "wait")],
    "nothing-left-fails": [lambda runs, finished, held: next(filter(lambda run: run not in finished | held, runs)),
                           lambda runs, finished, held: min(set(runs) - finished - held, key=runs.index)],
    "list": [choose(either, which=lambda free: free)],
    "position": [lambda runs, finished, held: runs.index(answer) if (answer := by_loop(
        runs, finished, held)) in runs else answer],
    "always-none": [lambda runs, finished, held: print(by_loop(runs, finished, held))],
    "mutated-input": [lambda runs, finished, held: held.add(answer := by_loop(runs, finished, held)) or answer,
                      lambda runs, finished, held: runs.pop(0) if runs else None],
    "wrong-type": [choose(either, which=lambda free: True)],
    "wrong-values": [choose(either, which=lambda free: free[0].upper())],
}


def test_next_run(tells_apart):
    tells_apart(next_run, RUN_RIGHT, RUN_WRONG)


# --- my_indices ------------------------------------------------------------------------------------------------------


def by_position(order, rank, processes):
    each = math.ceil(len(order) / processes)
    return [order[(rank + step * processes) % len(order)] for step in range(each)]


def by_cycle(order, rank, processes):
    each = (len(order) + processes - 1) // processes
    return itertools.islice(itertools.cycle(order), rank, each * processes, processes)


def by_tensor(order, rank, processes):
    each = math.ceil(len(order) / processes)
    return torch.tensor(order).repeat(processes)[:each * processes].view(each, processes)[:, rank]


def by_sampler(order, rank, processes):
    """DistributedSampler itself, on the positions of the order."""
    sampler = DistributedSampler(order, num_replicas=processes, rank=rank, shuffle=False)
    return [order[position] for position in sampler]


def cards(fill=lambda order, n: (order * n)[:n], mine=lambda cards, rank, processes: cards[rank::processes]):
    """From what is put behind the order, and the share of a rank."""
    def answer(order, rank, processes):
        total = math.ceil(len(order) / processes) * processes
        return mine(order + fill(order, total - len(order)), rank, processes)
    return answer


DEAL_RIGHT = [by_position, by_cycle, by_tensor, by_sampler, cards()]
DEAL_WRONG = {
    "blocks": [cards(mine=lambda cards, rank, processes: torch.tensor(cards).chunk(processes)[rank]),
               lambda order, rank, processes: order[
                   rank * len(order) // processes:(rank + 1) * len(order) // processes],
               lambda order, rank, processes: np.array_split(np.array(order), processes)[rank]],
    "no-padding": [lambda order, rank, processes: [x for i, x in enumerate(order) if i % processes == rank]],
    "dropped": [lambda order, rank, processes: [order[rank + step * processes]
                                                for step in range(len(order) // processes)]],
    "filled-with-0": [cards(lambda order, n: [0 for _ in range(n)])],
    "filled-with-last": [cards(lambda order, n: [order[-1]] * n)],
    "filled-with-first": [cards(lambda order, n: [order[0]] * n)],
    "filled-from-end": [cards(lambda order, n: order[len(order) - n:])],
    "filled-alone": [lambda order, rank, processes: [*mine, mine[0]] if len(mine := order[rank::processes]) < math.ceil(
        len(order) / processes) else mine],
    "wrapped-once": [cards(lambda order, n: order[:n])],
    "one-too-many": [lambda order, rank, processes: [order[(rank + step * processes) % len(order)]
                                                     for step in range(len(order) // processes + 1)],
                     lambda order, rank, processes: (order + order[:processes - len(order) % processes])[
                         rank::processes]],
    "remainder": [lambda order, rank, processes: (order + order[:len(order) % processes])[rank::processes]],
    "rank-from-1": [cards(mine=lambda cards, rank, processes: cards[rank + 1::processes]),
                    cards(mine=lambda cards, rank, processes: cards[rank - 1::processes])],
    "positions": [lambda order, rank, processes: list(DistributedSampler(
        order, num_replicas=processes, rank=rank, shuffle=False))],
    "sorted": [lambda order, rank, processes: sorted(by_position(order, rank, processes))],
    "backwards": [lambda order, rank, processes: by_position(list(reversed(order)), rank, processes)],
    "all-images": [lambda order, rank, processes: list(order)],
    "all-shares": [lambda order, rank, processes: [by_position(order, each, processes) for each in range(processes)]],
    "how-many": [lambda order, rank, processes: math.ceil(len(order) / processes)],
    "mutated-input": [lambda order, rank, processes: order.extend(order) or by_position(order, rank, processes)],
    "crashed": [lambda order, rank, processes: order[rank::0]],
    "returned-nothing": [lambda order, rank, processes: print(order)],
}


def test_my_indices(tells_apart):
    tells_apart(my_indices, DEAL_RIGHT, DEAL_WRONG)


@pytest.mark.parametrize("n", range(1, 12))
@pytest.mark.parametrize("processes", range(1, 6))
def test_my_indices_are_those_of_the_distributed_sampler(n, processes):
    for epoch in range(2):
        order = torch.randperm(n, generator=torch.Generator().manual_seed(7 + epoch)).tolist()
        for rank in range(processes):
            sampler = DistributedSampler(range(n), num_replicas=processes, rank=rank, seed=7)
            sampler.set_epoch(epoch)
            assert my_indices.reference(order, rank, processes) == list(sampler)


# --- average_gradients -----------------------------------------------------------------------------------------------


def running(per_process, images):
    total, result = sum(images), dict.fromkeys(per_process[0])
    for own, n in zip(per_process, images):
        for name, grad in own.items():
            if grad is not None:
                part = n * grad / total
                result[name] = part if result[name] is None else result[name] + part
    return result


def stacked(per_process, images):
    result = {}
    for name in per_process[0]:
        like = next((own[name] for own in per_process if own[name] is not None), None)
        if like is None:
            result[name] = None
            continue
        grads = torch.stack([torch.zeros_like(like) if own[name] is None else own[name] for own in per_process])
        result[name] = torch.tensordot(torch.tensor(images, dtype=like.dtype) / sum(images), grads, 1)
    return result


def by_repeating(per_process, images):
    """As if each image had sent the gradient of its process."""
    sent = [own for own, n in zip(per_process, images) for _ in range(n)]
    result = {}
    for name in per_process[0]:
        there = [own[name] for own in sent if own[name] is not None]
        result[name] = sum(there) / len(sent) if there else None
    return result


def gathered(make):
    """From (images, gradient) of the processes that have one, all images, and the number of processes."""
    def answer(per_process, images):
        return {name: make([(n, own[name]) for n, own in zip(images, per_process) if own[name] is not None], images)
                for name in per_process[0]}
    return answer


def or_none(make):
    return gathered(lambda parts, images: make(parts, images) if parts else None)


def accumulated(per_process, images):
    result = per_process[0]
    for name in result:
        for own, n in zip(per_process[1:], images[1:]):
            if own[name] is not None and result[name] is not None:
                result[name] += own[name] * n
    return result


GRADIENT_RIGHT = [running, stacked, by_repeating]
GRADIENT_WRONG = {
    "unweighted": [or_none(lambda parts, images: sum(g for _, g in parts) / len(images)),
                   or_none(lambda parts, images: torch.stack([g for _, g in parts]).mean(0))],
    "summed": [or_none(lambda parts, images: torch.stack([g for _, g in parts]).sum(0))],
    "not-divided": [or_none(lambda parts, images: sum(g * n for n, g in parts))],
    "divided-by-processes": [or_none(lambda parts, images: sum(g * n for n, g in parts) / len(images))],
    "divided-twice": [lambda per_process, images: {name: None if mean is None else mean / len(images)
                                                   for name, mean in running(per_process, images).items()}],
    "only-who-has-it": [or_none(lambda parts, images: sum(n * g for n, g in parts) / (sum(n for n, _ in parts) or 1))],
    "none-spreads": [gathered(lambda parts, images: sum(n * g for n, g in parts) / sum(images)
                              if len(parts) == len(images) else None),
                     lambda per_process, images: {name: None if per_process[-1][name] is None else mean
                                                  for name, mean in running(per_process, images).items()}],
    "first-none-spreads": [lambda per_process, images: {name: None if per_process[0][name] is None else mean
                                                        for name, mean in running(per_process, images).items()}],
    "none-for-zero": [lambda per_process, images: {name: None if mean is None or not mean.any() else mean
                                                   for name, mean in running(per_process, images).items()}],
    "not-a-tensor": [lambda per_process, images: {name: None if mean is None else mean.tolist()
                                                  for name, mean in running(per_process, images).items()}],
    "missing-name": [lambda per_process, images: {}],
    "wrong-values": [lambda per_process, images: {name: torch.ones(5) if mean is None else mean
                                                  for name, mean in running(per_process, images).items()}],
    "missing-dropped": [lambda per_process, images: {name: mean for name, mean in running(per_process, images).items()
                                                     if mean is not None}],
    "none-fails": [lambda per_process, images: {
        name: sum(n * own[name] for n, own in zip(images, per_process)) / sum(images) for name in per_process[0]}],
    "zero-for-none": [gathered(lambda parts, images: sum(n * g for n, g in parts) / sum(images))],
    "one-process": [lambda per_process, images: per_process[0]],
    "upside-down": [or_none(lambda parts, images: sum((1 - n / sum(images)) * g for n, g in parts))],
    "integer-division": [or_none(lambda parts, images: sum(n // sum(images) * g for n, g in parts))],
    "divided-by-largest": [or_none(lambda parts, images: sum(n * g for n, g in parts) / max(images))],
    "extreme": [or_none(lambda parts, images: torch.stack([g for _, g in parts]).max(0).values)],
    "mutated-input": [accumulated],
    "not-a-dict": [lambda per_process, images: list(running(per_process, images).values())],
    "other-names": [lambda per_process, images: {f"{name}.grad": mean for name, mean in running(
        per_process, images).items()}],
    "returned-nothing": [lambda per_process, images: None],
    "wrong-shape": [or_none(lambda parts, images: sum((n * g).sum(-1) for n, g in parts) / sum(images))],
}


def test_average_gradients(tells_apart):
    tells_apart(average_gradients, GRADIENT_RIGHT, GRADIENT_WRONG)


def test_the_mean_of_the_shares_is_the_gradient_of_the_batch():
    torch.manual_seed(0)
    layer, x, y = nn.Linear(4, 3).double(), torch.randn(9, 4).double(), torch.randint(3, (9,))

    def gradients(x, y):
        layer.zero_grad()
        F.cross_entropy(layer(x), y).backward()
        return {name: p.grad.clone() for name, p in layer.named_parameters()}

    images = [2, 4, 3]
    shares = [gradients(*share) for share in zip(x.split(images), y.split(images))]
    for name, mean in average_gradients.reference(shares, images).items():
        torch.testing.assert_close(mean, gradients(x, y)[name])


# --- two mistakes at once --------------------------------------------------------------------------------------------


TWO = [
    (layer_time, lambda flops, moved, seeds, rate, bandwidth, launch: flops / bandwidth + moved / rate, "wrong-values",
     "Expected 2.0, got 2.5."),
    (fold, lambda x, weight, bias: torch.stack([F.conv2d(images, weight[0], b, padding=1)
                                                      for images, b in zip(x, bias)]),
     "one-seeds-weights", "Something else is wrong, too"),  # in a loop
    (fold, lambda x, weight, bias: grouped(x, weight, bias, scatter=lambda y, K: y.unflatten(1, (K, -1)), padding=0),
     "crashed", "Kernel size can't be greater than actual input size"),
    (seed_losses, lambda logits, labels: F.cross_entropy(logits.flatten(0, 1), labels.flatten()).detach(),
     "wrong-values", "Expected 0.8201"),
    (seed_losses, lambda logits, labels: per_image(logits.softmax(2), labels).mean(), "wrong-values",
     "Expected 0.8201"),
    (next_run, lambda runs, finished, held: next(run for run in runs if run not in finished), "takes-held",
     "both would train it"),  # and fails when all is finished
    (next_run, lambda runs, finished, held: next((run for run in reversed(runs) if run not in held), None),
     "wrong-values", "That is not what this process should do next."),
    (my_indices, lambda order, rank, processes: sorted(order[rank::processes]), "wrong-values",
     "These are not the images of this process."),
    (my_indices, lambda order, rank, processes: list(range(len(order)))[rank::processes], "wrong-values",
     "These are not the images of this process."),
    (average_gradients, lambda per_process, images: {
        name: sum(own[name] for own in per_process) / len(images) for name in per_process[0]}, "unweighted",
     "weight each process by its images"),  # and fails where a gradient is None
    (average_gradients, lambda per_process, images: {
        name: sum(own[name] for own in per_process if own[name] is not None) for name in per_process[0]}, "summed",
     "the step is P times too long"),  # and 0 where no process has a gradient
]


@pytest.mark.parametrize(("exercise", "answer", "cause", "says"), TWO, ids=lambda each: getattr(each, "id", None))
def test_of_two_mistakes_one_is_named(exercise, answer, cause, says):
    result = exercise(answer)
    assert (result.status, result.cause) == ("failed", cause)
    assert says in result.message
    assert result.failing_input
