"""Checkers of chapter 01: applying a gate, drawing one, and making one from scores."""

import math

import torch

from attncourse.checks.cases import gradients, randn, tensor, values
from attncourse.checks.engine import Exercise, Mistake

# --- apply_gate ------------------------------------------------------------------------------------------------------


def scale_channels(x, s):
    return x * s[:, :, None, None]


apply_gate = Exercise(
    id="attention.apply_gate",
    title="Scale each channel by its gate",
    reference=scale_channels,
    cases=(
        values(x=tensor([[[[1, 2]], [[3, 4]]]]), s=tensor([[0.5, 0.25]])),
        values(x=tensor([[[[1]], [[2]]], [[[3]], [[4]]]]), s=tensor([[1, 0], [0.5, 0.25]])),
        values(x=randn(2, 3, 4, 5), s=randn(2, 3, seed=1).sigmoid()),
        values(x=randn(3, 3, 3, 3, seed=2), s=randn(3, 3, seed=3).sigmoid()),
        values(x=randn(1, 5, 1, 1, seed=4).double(), s=randn(1, 5, seed=5).sigmoid().double()),
        gradients(x=randn(2, 3, 2, 2, seed=6), s=randn(2, 3, seed=7).sigmoid()),
    ),
    mistakes=(
        Mistake("added-gate", "You added the gate. A gate scales: multiply.",
                lambda x, s: x + s[:, :, None, None]),
        Mistake("wrong-axis",
                "Your gate landed on another axis than the channels. Broadcasting lines shapes up from the right, so "
                "(B, C) meets (H, W) unless you give `s` two more axes.",
                lambda x, s: x * s, lambda x, s: x * s[..., None], lambda x, s: x * s[:, None, None, :],
                lambda x, s: x * s[:, None, :, None], lambda x, s: x * s.t()[:, :, None, None]),
        Mistake("same-gate-for-all-images", "You used one gate for the whole batch. Each image has its own row of `s`.",
                lambda x, s: x * s.mean(0)[None, :, None, None], lambda x, s: x * s[0][None, :, None, None]),
        Mistake("same-gate-for-all-channels", "You used one number per image. Each channel has its own gate.",
                lambda x, s: x * s.mean(1)[:, None, None, None], lambda x, s: x * s[:, 0][:, None, None, None]),
        Mistake("sigmoid-again", "You put the gates through another sigmoid. They are gates already.",
                lambda x, s: x * s.sigmoid()[:, :, None, None]),
        Mistake("softmax-on-gates",
                "You put the gates through a softmax. They are gates already, and need not sum to 1.",
                lambda x, s: x * s.softmax(1)[:, :, None, None]),
        Mistake("inverted-gate", "You multiplied by 1 - s. A gate near 1 lets the channel through.",
                lambda x, s: x * (1 - s)[:, :, None, None]),
        Mistake("added-input", "You added x to the gated map: that is x · (1 + s). Return the gated map alone.",
                lambda x, s: x + x * s[:, :, None, None]),
        Mistake("summed-channels", "You summed over the channels after scaling them. The result keeps every channel.",
                lambda x, s: (x * s[:, :, None, None]).sum(1),
                lambda x, s: (x * s[:, :, None, None]).sum(1, keepdim=True)),
        Mistake("returned-gate", "You returned the gate itself. Return x scaled by it.",
                lambda x, s: s[:, :, None, None], lambda x, s: s[:, :, None, None].expand_as(x), lambda x, s: s),
        Mistake("returned-input", "You returned x as it was: the gate did nothing.", lambda x, s: x),
        Mistake("divided-by-gate", "You divided by the gate. A small gate should turn a channel down.",
                lambda x, s: x / s[:, :, None, None]),
        Mistake("detached-gate", "You cut the gate off from the gradient: it could never be trained.",
                lambda x, s: x * s.detach()[:, :, None, None]),
    ),
    hints=(
        "Write down both shapes, one above the other, lined up at the right. Which axes of `s` are missing?",
        "`s` has shape (B, C). To meet (B, C, H, W) by broadcasting it needs the shape (B, C, 1, 1).",
        "Indexing with `None` adds an axis of length 1: `s[:, :, None]` is (B, C, 1). Add one more, then multiply x "
        "by it.",
    ),
    tested="values for batches of 1 to 3, odd channel counts, non-square and 1×1 maps and float64; gradients of x and "
           "of s; x and s unchanged",
)

# --- gaussian_gate ---------------------------------------------------------------------------------------------------


def offsets(height, width, row, column):
    """Each position's distance from the centre along the rows, (H, 1), and along the columns, (1, W)."""
    return (torch.arange(height) - row)[:, None], (torch.arange(width) - column)[None, :]


def gaussian(height, width, row, column, sigma):
    dy, dx = offsets(height, width, row, column)
    return torch.exp(-(dy**2 + dx**2) / (2 * sigma**2))


def from_offsets(formula):
    """A wrong gate that differs from the right one in the formula alone."""
    return lambda height, width, row, column, sigma: formula(*offsets(height, width, row, column), sigma)


def from_gate(change):
    """A wrong gate that does something more with the right one."""
    return lambda *arguments: change(gaussian(*arguments))


gaussian_gate = Exercise(
    id="attention.gaussian_gate",
    title="A gate that looks at one place",
    reference=gaussian,
    cases=(
        values(height=1, width=3, row=0.0, column=0.0, sigma=1.0),
        values(height=2, width=3, row=0.0, column=2.0, sigma=1.5),
        values(height=3, width=3, row=2.0, column=0.0, sigma=2.0),
        values(height=5, width=4, row=2.5, column=1.0, sigma=0.7),
        values(height=4, width=6, row=-1.0, column=4.25, sigma=3.0),
        values(height=3, width=2, row=1, column=1, sigma=2),
        values(height=1, width=1, row=0.0, column=0.0, sigma=1.0),
    ),
    mistakes=(
        Mistake("swapped-centre", "You swapped row and column: row counts downwards, column to the right.",
                lambda h, w, row, column, sigma: gaussian(h, w, column, row, sigma)),
        Mistake("swapped-size",
                "Your map is (width, height). A map is indexed [row, column], so its shape is (height, width).",
                lambda h, w, row, column, sigma: gaussian(w, h, column, row, sigma),
                lambda h, w, row, column, sigma: gaussian(w, h, row, column, sigma)),
        Mistake("missing-factor-2", "The 2 of 2σ² is missing.",
                from_offsets(lambda dy, dx, sigma: torch.exp(-(dy**2 + dx**2) / sigma**2))),
        Mistake("multiplied-by-sigma", "You divided by 2 and multiplied by σ²: put 2σ² in parentheses.",
                from_offsets(lambda dy, dx, sigma: torch.exp(-(dy**2 + dx**2) / 2 * sigma**2))),
        Mistake("sigma-not-squared", "σ is not squared: the formula divides by 2σ².",
                from_offsets(lambda dy, dx, sigma: torch.exp(-(dy**2 + dx**2) / (2 * sigma))),
                from_offsets(lambda dy, dx, sigma: torch.exp(-(dy**2 + dx**2) / sigma))),
        Mistake("distance-not-squared", "Your gate falls with the distance, not with its square.",
                from_offsets(lambda dy, dx, sigma: torch.exp(-(dy**2 + dx**2).sqrt() / (2 * sigma**2))),
                from_offsets(lambda dy, dx, sigma: torch.exp(-(dy**2 + dx**2).sqrt() / sigma)),
                from_offsets(lambda dy, dx, sigma: torch.exp(-(dy.abs() + dx.abs()) / (2 * sigma**2)))),
        Mistake("normalised", "You made the gate sum to 1, as a probability density does. Its peak should be 1.",
                from_gate(lambda gate: gate / gate.sum()),
                lambda *arguments: gaussian(*arguments) / (2 * math.pi * arguments[-1]**2),
                lambda *arguments: gaussian(*arguments) / (math.sqrt(2 * math.pi) * arguments[-1])),
        Mistake("hard-disc", "Your gate is a disc with a sharp edge. A Gaussian fades smoothly.",
                from_offsets(lambda dy, dx, sigma: ((dy**2 + dx**2).sqrt() <= sigma).float()),
                from_offsets(lambda dy, dx, sigma: ((dy**2 + dx**2).sqrt() < sigma).float())),
        Mistake("linear-fall", "Your gate falls in a straight line. A Gaussian falls with exp.",
                from_offsets(lambda dy, dx, sigma: (1 - (dy**2 + dx**2).sqrt() / sigma).clamp(min=0)),
                from_offsets(lambda dy, dx, sigma: (1 - (dy**2 + dx**2) / (2 * sigma**2)).clamp(min=0)),
                from_offsets(lambda dy, dx, sigma: 1 - (dy**2 + dx**2) / (2 * sigma**2))),
        Mistake("maximum-of-squares",
                "You took the larger of the two squared distances: the gate becomes a square. Add them.",
                from_offsets(lambda dy, dx, sigma: torch.exp(-torch.maximum(dy**2, dx**2) / (2 * sigma**2)))),
        Mistake("city-block", "You added the distances and squared afterwards. Square each one, then add.",
                from_offsets(lambda dy, dx, sigma: torch.exp(-(dy.abs() + dx.abs())**2 / (2 * sigma**2))),
                from_offsets(lambda dy, dx, sigma: torch.exp(-(dy + dx)**2 / (2 * sigma**2)))),
        Mistake("added-gates", "You added the gate of the rows and the gate of the columns. Multiply them.",
                from_offsets(lambda dy, dx, s: torch.exp(-dy**2 / (2 * s**2)) + torch.exp(-dx**2 / (2 * s**2)))),
        Mistake("missing-minus", "The minus sign is missing: your gate grows with the distance.",
                from_offsets(lambda dy, dx, sigma: torch.exp((dy**2 + dx**2) / (2 * sigma**2)))),
        Mistake("missing-parentheses",
                "The minus sign or the division reaches one of the two squares only: put their sum in parentheses.",
                from_offsets(lambda dy, dx, sigma: torch.exp(-dy**2 + dx**2 / (2 * sigma**2))),
                from_offsets(lambda dy, dx, sigma: torch.exp(-dy**2 - dx**2 / (2 * sigma**2))),
                from_offsets(lambda dy, dx, sigma: torch.exp((-dy**2 + dx**2) / (2 * sigma**2)))),
        Mistake("one-axis-only", "Your gate changes along one axis only. Both distances count.",
                from_offsets(lambda dy, dx, sigma: torch.exp(-dy**2 / (2 * sigma**2)).expand(len(dy), dx.shape[1])),
                from_offsets(lambda dy, dx, sigma: torch.exp(-dx**2 / (2 * sigma**2)).expand(len(dy), dx.shape[1]))),
        Mistake("inverted-gate",
                "Your gate is 0 at the centre and grows outwards: it hides the place that it should show.",
                from_gate(lambda gate: 1 - gate)),
        Mistake("centre-ignored", "Your gate always sits in the middle of the map. Its centre is (row, column).",
                lambda h, w, row, column, sigma: gaussian(h, w, (h - 1) / 2, (w - 1) / 2, sigma),
                lambda h, w, row, column, sigma: gaussian(h, w, h / 2, w / 2, sigma),
                lambda h, w, row, column, sigma: gaussian(h, w, h // 2, w // 2, sigma)),
        Mistake("counted-from-1", "You counted rows and columns from 1. The first position is (0, 0).",
                lambda h, w, row, column, sigma: gaussian(h, w, row - 1, column - 1, sigma)),
    ),
    hints=(
        "You need, for every position (i, j), its squared distance from the centre. `torch.arange` gives all i at "
        "once.",
        "Make a column of row distances, shape (height, 1), and a row of column distances, shape (1, width). Their "
        "squares add up to (height, width) by broadcasting.",
        "With `dy = (torch.arange(height) - row)[:, None]` and `dx` alike for the columns, return `torch.exp` of "
        "minus `dy**2 + dx**2`, divided by `2 * sigma**2`.",
    ),
    tested="every value of 7 maps: wide, tall, square and 1×1; centres in a corner, between positions and outside the "
           "map; five widths",
)

# --- softmax_gate ----------------------------------------------------------------------------------------------------


def softmax_over_positions(scores):
    return scores.flatten(1).softmax(1).view_as(scores)


softmax_gate = Exercise(
    id="attention.softmax_gate",
    title="Gates that share one unit of attention",
    reference=softmax_over_positions,
    cases=(
        values(scores=tensor([[[0, 1]]])),
        values(scores=tensor([[[0], [1]]])),
        values(scores=tensor([[[0, 1], [2, 3]]])),
        values(scores=tensor([[[0, 1], [2, 3]], [[3, 1], [0, 0]]])),
        values(scores=randn(2, 3, 4)),
        values(scores=randn(3, 5, 2, seed=1).double()),
        values(scores=tensor([[[1000, 1000]]])),
        values(scores=tensor([[[-1000, -999]]])),
        values(scores=tensor([[[1000, 999]], [[0, 1]]])),
        gradients(scores=randn(2, 2, 3, seed=2)),
    ),
    mistakes=(
        Mistake("softmax-over-width", "Each row sums to 1. All the positions of an image should share one unit.",
                lambda scores: scores.softmax(-1)),
        Mistake("softmax-over-height", "Each column sums to 1. All the positions of an image should share one unit.",
                lambda scores: scores.softmax(1)),
        Mistake("softmax-over-batch", "Your softmax runs over the images of the batch. Each image stands for itself.",
                lambda scores: scores.softmax(0)),
        Mistake("softmax-over-everything", "The whole batch sums to 1. Each image should sum to 1 for itself.",
                lambda scores: scores.flatten().softmax(0).view_as(scores)),
        Mistake("rows-then-columns",
                "You combined a softmax over rows with one over columns. That is not one softmax over all positions.",
                lambda scores: scores.softmax(1).softmax(2), lambda scores: scores.softmax(2).softmax(1),
                lambda scores: scores.softmax(1) * scores.softmax(2)),
        Mistake("sigmoid", "You took a sigmoid. Its gates do not compete: they do not sum to 1.",
                lambda scores: scores.sigmoid()),
        Mistake("overflow",
                "Your gates are right for small scores, but exp(1000) is infinity. Subtract each image's largest "
                "score first, or use torch's softmax.",
                lambda scores: scores.exp() / scores.exp().sum((1, 2), keepdim=True)),
        Mistake("shared-maximum",
                "You subtracted the largest score of the whole batch. An image with much lower scores then becomes 0 "
                "/ 0: subtract each image's own maximum.",
                lambda scores: (scores - scores.max()).exp() / (scores - scores.max()).exp().sum((1, 2), keepdim=True)),
        Mistake("divided-by-sum", "You divided the scores by their sum. Take their exp first: scores may be negative.",
                lambda scores: scores / scores.sum((1, 2), keepdim=True)),
        Mistake("log-softmax", "You took the logarithm of the softmax: gates cannot be negative.",
                lambda scores: scores.flatten(1).log_softmax(1).view_as(scores)),
        Mistake("peak-1", "You scaled the gates so that the largest is 1. They should sum to 1.",
                lambda scores: (scores - scores.amax((1, 2), keepdim=True)).exp()),
        Mistake("negative-scores", "Your largest gate is where the score is smallest: a sign is wrong.",
                lambda scores: softmax_over_positions(-scores)),
        Mistake("mean-1", "Your gates have mean 1: they sum to the number of positions. They should sum to 1.",
                lambda scores: softmax_over_positions(scores) * scores[0].numel()),
        Mistake("not-reshaped", "The values are right, but still flat: bring them back to (B, H, W).",
                lambda scores: scores.flatten(1).softmax(1)),
    ),
    hints=(
        "`torch.softmax` works along one axis. How can H and W become one axis?",
        "Flatten each image's scores to (B, H·W), take the softmax along that axis, and restore the shape.",
        "`scores.flatten(1)` is (B, H·W). Put `.softmax(1)` behind it, then `.view_as(scores)` or `.reshape(B, H, W)`.",
    ),
    tested="values on 9 inputs: one row, one column, non-square, batches of 1 to 3, float64, scores of ±1000; sums of "
           "1 per image; the gradient",
)
