"""Chapter 01's checkers: right answers pass, and wrong ones are told by name what is wrong."""

import math

import torch
from torch.nn import functional as F

from attncourse.checks.attention import apply_gate, gaussian_gate, softmax_gate

# The answers below are written as a learner would type them, not as the checker writes its mistakes.


def loop_gate(x, s):
    y = torch.empty_like(x)
    for b in range(x.shape[0]):
        for c in range(x.shape[1]):
            y[b, c] = s[b, c] * x[b, c]
    return y


def in_place(x, s):
    x *= s[:, :, None, None]
    return x


APPLY_RIGHT = [
    lambda x, s: torch.einsum("bchw,bc->bchw", x, s), lambda x, s: s.view(*s.shape, 1, 1) * x, loop_gate,
    lambda x, s: (x.permute(2, 3, 0, 1) * s).permute(2, 3, 0, 1), lambda x, s: x.mul(s.unsqueeze(-1).unsqueeze(-1)),
]
APPLY_WRONG = {
    "added-gate": [lambda x, s: x + s.unsqueeze(2).unsqueeze(3)],
    "wrong-axis": [lambda x, s: s * x, lambda x, s: x * s.view(s.shape[0], 1, 1, s.shape[1]),
                   lambda x, s: x * s.unsqueeze(-1)],
    "same-gate-for-all-images": [lambda x, s: x * s[:1, :, None, None], lambda x, s: x * s.mean(0).view(1, -1, 1, 1)],
    "same-gate-for-all-channels": [lambda x, s: x * s.mean(1).view(-1, 1, 1, 1)],
    "sigmoid-again": [lambda x, s: torch.sigmoid(s)[..., None, None] * x],
    "softmax-on-gates": [lambda x, s: F.softmax(s, dim=-1)[..., None, None] * x],
    "inverted-gate": [lambda x, s: x - x * s[..., None, None]],
    "added-input": [lambda x, s: x * (1 + s[..., None, None])],
    "summed-channels": [lambda x, s: torch.einsum("bchw,bc->bhw", x, s)],
    "returned-gate": [lambda x, s: s[:, :, None, None].repeat(1, 1, x.shape[2], x.shape[3])],
    "returned-input": [lambda x, s: x.clone()],
    "divided-by-gate": [lambda x, s: x / s[..., None, None]],
    "detached-gate": [lambda x, s: x * s.data.view(*s.shape, 1, 1)],
    "mutated-input": [in_place, lambda x, s: x.mul_(s[..., None, None])],
    "returned-nothing": [lambda x, s: None],
    "wrong-type": [lambda x, s: (x * s[:, :, None, None]).tolist()],
    "crashed": [lambda x, s: x @ s.nothing],
}


def loop_gaussian(height, width, row, column, sigma):
    gate = torch.zeros(height, width)
    for i in range(height):
        for j in range(width):
            gate[i, j] = math.exp(-((i - row) ** 2 + (j - column) ** 2) / (2 * sigma ** 2))
    return gate


def meshgrid_gaussian(height, width, row, column, sigma):
    i, j = torch.meshgrid(torch.arange(height, dtype=torch.float32), torch.arange(width, dtype=torch.float32),
                          indexing="ij")
    return (-0.5 * (((i - row) / sigma) ** 2 + ((j - column) / sigma) ** 2)).exp()


def outer_gaussian(height, width, row, column, sigma):
    rows = torch.exp(-(torch.arange(height) - row) ** 2 / (2 * sigma ** 2))
    columns = torch.exp(-(torch.arange(width) - column) ** 2 / (2 * sigma ** 2))
    return torch.outer(rows, columns)


def looping(value):
    """A loop over positions around a learner's formula of i, j, row, column and sigma."""
    def gate(height, width, row, column, sigma):
        return torch.tensor([[float(value(i, j, row, column, sigma)) for j in range(width)] for i in range(height)])
    return gate


def transposed(height, width, row, column, sigma):
    return loop_gaussian(height, width, row, column, sigma).T


def density(height, width, row, column, sigma):
    gate = loop_gaussian(height, width, row, column, sigma)
    return gate / torch.sum(gate)


GAUSSIAN_RIGHT = [loop_gaussian, meshgrid_gaussian, outer_gaussian]
GAUSSIAN_WRONG = {
    "swapped-centre": [looping(lambda i, j, r, c, s: math.exp(-((i - c) ** 2 + (j - r) ** 2) / (2 * s ** 2)))],
    "swapped-size": [transposed],
    "missing-factor-2": [looping(lambda i, j, r, c, s: math.exp(-((i - r) ** 2 + (j - c) ** 2) / s ** 2))],
    "multiplied-by-sigma": [looping(lambda i, j, r, c, s: math.exp(-((i - r) ** 2 + (j - c) ** 2) / 2 * s ** 2))],
    "sigma-not-squared": [looping(lambda i, j, r, c, s: math.exp(-((i - r) ** 2 + (j - c) ** 2) / (2 * s)))],
    "distance-not-squared": [looping(lambda i, j, r, c, s: math.exp(-math.hypot(i - r, j - c) / (2 * s ** 2)))],
    "normalised": [density],
    "hard-disc": [looping(lambda i, j, r, c, s: math.hypot(i - r, j - c) <= s)],
    "linear-fall": [looping(lambda i, j, r, c, s: max(0, 1 - math.hypot(i - r, j - c) / s))],
    "maximum-of-squares": [looping(lambda i, j, r, c, s: math.exp(-max(abs(i - r), abs(j - c)) ** 2 / (2 * s ** 2)))],
    "city-block": [looping(lambda i, j, r, c, s: math.exp(-(abs(i - r) + abs(j - c)) ** 2 / (2 * s ** 2)))],
    "added-gates": [looping(lambda i, j, r, c, s: math.exp(-(i - r)**2 / 2 / s**2) + math.exp(-(j - c)**2 / 2 / s**2))],
    "missing-minus": [looping(lambda i, j, r, c, s: math.exp(((i - r) ** 2 + (j - c) ** 2) / (2 * s ** 2)))],
    "missing-parentheses": [
        looping(lambda i, j, r, c, s: math.exp(-(i - r) ** 2 + (j - c) ** 2 / (2 * s ** 2))),
        looping(lambda i, j, r, c, s: math.exp(-((i - r) ** 2) - (j - c) ** 2 / (2 * s ** 2)))],
    "one-axis-only": [looping(lambda i, j, r, c, s: math.exp(-(i - r) ** 2 / (2 * s ** 2)))],
    "inverted-gate": [looping(lambda i, j, r, c, s: 1 - math.exp(-((i - r) ** 2 + (j - c) ** 2) / (2 * s ** 2)))],
    "counted-from-1": [looping(lambda i, j, r, c, s: math.exp(-((i+1 - r) ** 2 + (j+1 - c) ** 2) / (2 * s ** 2)))],
    "centre-ignored": [lambda h, w, r, c, s: loop_gaussian(h, w, (h - 1) / 2, (w - 1) / 2, s)],
    "wrong-dtype": [lambda *arguments: loop_gaussian(*arguments).double()],
    "wrong-values": [looping(lambda i, j, r, c, s: 0.5)],
}


def loop_softmax(scores):
    return torch.stack([torch.exp(image - torch.logsumexp(image, (0, 1))) for image in scores])


def stable_softmax(scores):
    e = torch.exp(scores - scores.amax((1, 2), keepdim=True))
    return e / e.sum((1, 2), keepdim=True)


SOFTMAX_RIGHT = [
    loop_softmax, stable_softmax,
    lambda scores: F.softmax(scores.reshape(len(scores), -1), dim=-1).reshape(scores.shape),
]
SOFTMAX_WRONG = {
    "softmax-over-width": [lambda scores: F.softmax(scores, dim=2), lambda scores: torch.softmax(scores, -1)],
    "softmax-over-height": [lambda scores: F.softmax(scores, dim=-2)],
    "softmax-over-batch": [lambda scores: F.softmax(scores, dim=0), lambda scores: torch.nn.Softmax2d()(scores)],
    "softmax-over-everything": [lambda scores: F.softmax(scores.view(-1), 0).view(scores.shape)],
    "rows-then-columns": [lambda scores: F.softmax(F.softmax(scores, 2), 1)],
    "sigmoid": [torch.sigmoid],
    "overflow": [lambda scores: torch.exp(scores) / torch.exp(scores).sum(dim=(-2, -1), keepdim=True)],
    "shared-maximum": [lambda scores: (e := torch.exp(scores - scores.max())) / e.sum((-2, -1), keepdim=True)],
    "divided-by-sum": [lambda scores: scores / scores.sum(dim=(-2, -1), keepdim=True)],
    "log-softmax": [lambda scores: F.log_softmax(scores.flatten(1), 1).view(scores.shape)],
    "peak-1": [lambda scores: stable_softmax(scores) / stable_softmax(scores).amax((1, 2), keepdim=True)],
    "negative-scores": [lambda scores: stable_softmax(-1 * scores)],
    "mean-1": [lambda scores: stable_softmax(scores) * scores.shape[1] * scores.shape[2]],
    "not-reshaped": [lambda scores: F.softmax(scores.view(scores.shape[0], -1), dim=1)],
    "mutated-input": [lambda scores: stable_softmax(scores.sub_(1))],
    "no-gradient": [lambda scores: stable_softmax(scores.detach())],
}


def test_apply_gate(tells_apart):
    tells_apart(apply_gate, APPLY_RIGHT, APPLY_WRONG)


def test_gaussian_gate(tells_apart):
    tells_apart(gaussian_gate, GAUSSIAN_RIGHT, GAUSSIAN_WRONG)


def test_softmax_gate(tells_apart):
    tells_apart(softmax_gate, SOFTMAX_RIGHT, SOFTMAX_WRONG)
