"""Exercises of the captioning chapter."""

import math
from collections import Counter, defaultdict
from itertools import product

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from attncourse import checks
from attncourse.checks.sca_cnn import (
    beam_step,
    cell_of,
    channel_softmax,
    channel_then_spatial,
    channel_weights,
    clipped_precision,
    half_closed,
    sized,
    spatial_softmax,
    spatial_weights,
    word_by_word,
)
from attncourse.sca_cnn import StateChannelAttention, StateSpatialAttention

# --- spatial_weights -------------------------------------------------------------------------------------------------


def line(make):
    """The stub with its line filled in."""
    def answer(of_map, of_state, w):
        a = make(of_map, of_state)
        return (a @ w).softmax(1)
    return answer


def alpha_by_loops(of_map, of_state, w):
    B, m, k = of_map.shape
    rows = []
    for b in range(B):
        scores = [sum(w[j] * torch.tanh(of_map[b, i, j] + of_state[b, j]) for j in range(k)) for i in range(m)]
        powers = [score.exp() for score in scores]
        rows.append(torch.stack([power / sum(powers) for power in powers]))
    return torch.stack(rows)


SPATIAL_RIGHT = [
    line(lambda v, h: torch.tanh(v + h.unsqueeze(1))),
    line(lambda v, h: torch.tanh(v + h[:, None, :].expand_as(v))),
    line(lambda v, h: torch.tanh(v.transpose(0, 1) + h).transpose(0, 1)),
    lambda of_map, of_state, w: F.softmax(torch.einsum("bmk,k->bm", torch.tanh(of_map + of_state[:, None]), w), dim=-1),
    lambda of_map, of_state, w: torch.softmax(torch.tanh(of_map + of_state[:, None]) @ w[:, None], dim=1).squeeze(2),
    alpha_by_loops,
]
SPATIAL_WRONG = {
    "state-lost": [line(lambda v, h: torch.tanh(v)), line(lambda v, h: torch.tanh(v) + h.unsqueeze(1)),
                   line(lambda v, h: v.tanh() + h.tanh().unsqueeze(1))],
    "no-tanh": [line(lambda v, h: v + h.unsqueeze(1))],
    "state-along-positions": [line(lambda v, h: torch.tanh(v + h))],
    "state-along-hidden": [line(lambda v, h: torch.tanh(v + h.unsqueeze(2)))],
    "multiplied": [line(lambda v, h: torch.tanh(v * h.unsqueeze(1))),
                   line(lambda v, h: torch.einsum("bmk,bk->bmk", torch.tanh(v), h)),
                   line(lambda v, h: v * torch.tanh(h).unsqueeze(1)),
                   line(lambda v, h: torch.tanh(v) * torch.tanh(h).unsqueeze(1)),
                   line(lambda v, h: torch.einsum("bmk,bk->bmk", v, h))],
    "subtracted": [line(lambda v, h: torch.tanh(v - h.unsqueeze(1))), line(lambda v, h: -torch.tanh(v - h[:, None]))],
    "concatenated": [line(lambda v, h: torch.tanh(torch.cat((v, h.unsqueeze(1)), dim=1)))],
    "averaged-batch": [line(lambda v, h: torch.tanh(v + torch.mean(h, dim=0, keepdim=True)[None]))],
    "tanh-too-early": [line(lambda v, h: torch.tanh(torch.tanh(v) + torch.tanh(h).unsqueeze(1)))],
    "another-curve": [line(lambda v, h: F.relu(v + h.unsqueeze(1)))],
    "softmax-too-early": [line(lambda v, h: F.softmax(v + h.unsqueeze(1), dim=-1))],
    "softmax-over-batch": [lambda v, h, w: F.softmax(torch.tanh(v + h.unsqueeze(1)) @ w, dim=0)],
    "sigmoid": [lambda v, h, w: torch.sigmoid(torch.tanh(v + h.unsqueeze(1)) @ w)],
    "no-softmax": [lambda v, h, w: torch.tanh(v + h.unsqueeze(1)) @ w],
    "rescaled": [lambda v, h, w: F.softmax(torch.tanh(v + h.unsqueeze(1)) @ w, dim=-1) * v.size(1)],
    "kept-axis": [lambda v, h, w: F.softmax(torch.tanh(v + h.unsqueeze(1)) @ w.view(-1, 1), dim=1)],
    "mutated-input": [line(lambda v, h: v.add_(h.unsqueeze(1)).tanh())],
    "returned-nothing": [lambda v, h, w: None],
    "crashed": [line(lambda v, h: torch.tanh(torch.cat([v, h[:, None].expand_as(v)], 2)))],
    "wrong-gradient": [line(lambda v, h: (v + h[:, None].detach()).tanh())],
}


def test_spatial_weights(tells_apart):
    tells_apart(spatial_weights, SPATIAL_RIGHT, SPATIAL_WRONG)


def test_spatial_weights_are_those_of_the_package():
    torch.manual_seed(0)
    layer, x, h = StateSpatialAttention(3, 5, 4, rescale=False), torch.randn(2, 3, 2, 3), torch.randn(2, 5)
    ours = spatial_weights.reference(layer.of_map(x.flatten(2).mT), layer.of_state(h), layer.score.weight[0])
    torch.testing.assert_close(ours, layer.attention(x, h).flatten(1))


# --- channel_weights -------------------------------------------------------------------------------------------------


def beta_by_loops(v, h, W_c, b_0, W_hc, w):
    rows = []
    for v_row, state in zip(v, h):
        scores = torch.stack([w @ torch.tanh(mean * W_c + b_0 + W_hc @ state) for mean in v_row])
        rows.append(torch.softmax(scores, 0))
    return torch.stack(rows)


def beta_paper(v, h, W_c, b_0, W_hc, w):
    """k × C, as in the paper's equation."""
    b = torch.tanh(torch.einsum("k,bc->bkc", W_c, v) + b_0[:, None] + torch.einsum("kd,bd->bk", W_hc, h)[..., None])
    return torch.einsum("k,bkc->bc", w, b).softmax(-1)


def beta_linear(v, h, W_c, b_0, W_hc, w):
    hidden = F.linear(v.unsqueeze(-1), W_c.unsqueeze(-1), b_0) + F.linear(h, W_hc).unsqueeze(1)
    return F.softmax(F.linear(torch.tanh(hidden), w.unsqueeze(0)).squeeze(-1), dim=1)


def beta(hidden=lambda mean, bias, state: torch.tanh(mean + bias + state), score=lambda b, w: torch.matmul(b, w),
         weigh=lambda s: F.softmax(s, dim=1)):
    """From the three parts of the hidden layer, (B, C, k) or what fits it."""
    def answer(v, h, W_c, b_0, W_hc, w):
        mean, state = torch.einsum("bc,k->bck", v, W_c), torch.einsum("bd,kd->bk", h, W_hc).unsqueeze(1)
        return weigh(score(hidden(mean, b_0, state), w))
    return answer


CHANNEL_RIGHT = [beta(), beta_by_loops, beta_paper, beta_linear]
CHANNEL_WRONG = {
    "softmax-over-batch": [beta(weigh=lambda s: F.softmax(s, dim=0))],
    "softmax-over-hidden": [beta(hidden=lambda m, b, s: F.softmax(torch.tanh(m + b + s), dim=-1), weigh=lambda s: s)],
    "softmax-before-w": [
        beta(hidden=lambda m, b, s: F.softmax(torch.tanh(m + b + s), dim=1), weigh=lambda s: s),
        beta(hidden=lambda m, b, s: F.softmax(m + b + s, dim=1), weigh=lambda s: s),
        beta(hidden=lambda m, b, s: F.softmax(torch.tanh(m + b + s), dim=1)),
        beta(hidden=lambda m, b, s: F.softmax(m + b + s, dim=1))],
    "softmax-over-all": [beta(weigh=lambda s: F.softmax(s.view(-1), dim=0).view_as(s))],
    "sigmoid": [beta(weigh=torch.sigmoid)],
    "no-softmax": [beta(weigh=lambda s: s), beta(weigh=torch.exp), beta(weigh=lambda s: F.log_softmax(s, dim=1))],
    "divided-by-sum": [beta(weigh=lambda s: s / s.sum(dim=1, keepdim=True))],
    "state-lost": [beta(hidden=lambda m, b, s: torch.tanh(m + b)), beta(hidden=lambda m, b, s: torch.tanh(m + b) + s)],
    "no-tanh": [beta(hidden=lambda m, b, s: m + b + s)],
    "another-curve": [beta(hidden=lambda m, b, s: F.relu(m + b + s))],
    "summed-too-early": [beta(score=lambda b, w: torch.tanh(torch.matmul(b, w)), hidden=lambda m, b, s: m + b + s)],
    "two-tanhs": [beta(score=lambda b, w: torch.tanh(b @ w))],
    "no-outer-product": [lambda v, h, W_c, b_0, W_hc, w: F.softmax(
        torch.tanh(W_c * v + b_0 + h @ W_hc.t()) * w, dim=1)],
    "bias-lost": [beta(hidden=lambda m, b, s: torch.tanh(m + s))],
    "mean-lost": [beta(hidden=lambda m, b, s: torch.tanh(torch.zeros_like(m) + b + s))],
    "means-alone": [lambda v, h, W_c, b_0, W_hc, w: F.softmax(v, dim=1)],
    "multiplied-by-state": [beta(hidden=lambda m, b, s: torch.tanh((m + b) * s)),
                            beta(hidden=lambda m, b, s: torch.tanh(m * s + b)),
                            beta(hidden=lambda m, b, s: torch.tanh(m + b) * s),
                            beta(hidden=lambda m, b, s: torch.tanh(m + b) * torch.tanh(s))],
    "subtracted": [beta(hidden=lambda m, b, s: torch.tanh(m + b - s)),
                   beta(hidden=lambda m, b, s: torch.tanh(s - (m + b))),
                   beta(hidden=lambda m, b, s: torch.tanh(s - m + b)),
                   beta(hidden=lambda m, b, s: torch.tanh(m - b + s)),
                   beta(hidden=lambda m, b, s: torch.tanh(m - (b + s)))],
    "state-along-channels": [beta(hidden=lambda m, b, s: torch.tanh(m + b + s.squeeze(1)))],
    "transposed": [lambda v, h, W_c, b_0, W_hc, w: beta()(v, h, W_c, b_0, W_hc.T, w)],
    "w-missing": [beta(score=lambda b, w: b.sum(dim=-1)), beta(score=lambda b, w: b.mean(dim=-1))],
    "rescaled": [beta(weigh=lambda s: F.softmax(s, dim=1) * s.size(1))],
    "kept-axes": [beta(weigh=lambda s: F.softmax(s, dim=1).unsqueeze(-1).unsqueeze(-1))],
    "mutated-input": [lambda v, h, W_c, b_0, W_hc, w: beta()(v, h.mul_(1.5), W_c, b_0, W_hc, w)],
    "wrong-gradient": [lambda v, h, W_c, b_0, W_hc, w: beta()(v, h.detach(), W_c, b_0, W_hc, w)],
    "returned-nothing": [lambda *arguments: None],
    "wrong-arguments": [lambda v, h: v],
}


def test_channel_weights(tells_apart):
    tells_apart(channel_weights, CHANNEL_RIGHT, CHANNEL_WRONG)


def test_channel_weights_are_those_of_the_package():
    torch.manual_seed(0)
    layer, x, h = StateChannelAttention(5, 4, rescale=False), torch.randn(2, 7, 2, 3), torch.randn(2, 5)
    ours = channel_weights.reference(x.mean((2, 3)), h, layer.of_mean.weight[:, 0], layer.of_mean.bias,
                                     layer.of_state.weight, layer.score.weight[0])
    torch.testing.assert_close(ours, layer.attention(x, h)[..., 0, 0], rtol=1e-4, atol=1e-5)


def test_channels_of_one_mean_get_one_weight():
    inputs = sized(2, 5, 3, 4, 0)
    inputs["v"][:, 3] = inputs["v"][:, 1]
    weights = channel_weights.reference(**inputs)
    assert torch.equal(weights[:, 3], weights[:, 1])


# --- channel_then_spatial --------------------------------------------------------------------------------------------


def one_picture_at_a_time(V, h, channel, spatial):
    out = []
    for b in range(len(V)):
        x = torch.diag(channel(V[b:b + 1], h[b:b + 1])[0]) @ V[b]
        out.append(x @ torch.diag(spatial(x[None], h[b:b + 1])[0]))
    return torch.stack(out)


def by_einsum(V, h, channel, spatial):
    U = torch.einsum("bc,bcm->bcm", channel(V, h), V)
    return torch.einsum("bm,bcm->bcm", spatial(U, h), U)


def weights_first(V, h, channel, spatial):
    b = channel(V, h).unsqueeze(-1)
    a = spatial(V * b, h).unsqueeze(-2)
    return (a * b) * V


def both(combine):
    """From V, β, α of the map as it came, α of the attended one, each with its axes."""
    return lambda V, h, channel, spatial: combine(
        V, channel(V, h).unsqueeze(2), spatial(V, h).unsqueeze(1),
        spatial(channel(V, h).unsqueeze(2) * V, h).unsqueeze(1))


def in_place(V, h, channel, spatial):
    V *= channel(V, h).unsqueeze(2)
    V *= spatial(V, h).unsqueeze(1)
    return V


def s_then_c(V, h, channel, spatial):
    seen = torch.einsum("bm,bcm->bcm", spatial(V, h), V)
    return torch.einsum("bc,bcm->bcm", channel(seen, h), seen)


ORDER_RIGHT = [one_picture_at_a_time, by_einsum, weights_first]
ORDER_WRONG = {
    "parallel": [both(lambda V, b, a, after: b * a * V)],
    "spatial-first": [s_then_c],
    "channel-lost": [both(lambda V, b, a, after: after * V)],
    "channel-only": [both(lambda V, b, a, after: b * V)],
    "spatial-only": [both(lambda V, b, a, after: a * V)],
    "added-weights": [both(lambda V, b, a, after: (b + a) * V), both(lambda V, b, a, after: (b + after) * V)],
    "residual": [both(lambda V, b, a, after: V + after * b * V)],
    "weights-only": [both(lambda V, b, a, after: b * after * torch.ones_like(V))],
    "softmax-again": [lambda V, h, c, s: by_einsum(
        V, h, lambda *x: F.softmax(c(*x), 1), lambda *x: F.softmax(s(*x), 1))],
    "rescaled": [both(lambda V, b, a, after: V.size(1) * b * V.size(2) * after * V)],
    "pooled": [both(lambda V, b, a, after: (b * after * V).mean(dim=-1))],
    "axes-missing": [lambda V, h, c, s: (V * c(V, h)) * s(V * c(V, h), h)],
    "axes-swapped": [lambda V, h, c, s: (U := V * c(V, h).unsqueeze(1)) * s(U, h).unsqueeze(2)],
    "channel-again": [lambda V, h, c, s: (U := by_einsum(V, h, c, s)) * c(U, h).unsqueeze(2)],
    "detached": [lambda V, h, c, s: by_einsum(V, h, lambda *x: c(*x).detach(), s)],
    "mutated-input": [in_place],
    "wrong-type": [lambda V, h, c, s: (by_einsum(V, h, c, s), c(V, h))],
    "wrong-gradient": [lambda V, h, c, s: by_einsum(V, h.detach(), c, s)],
    "crashed": [lambda V, h, c, s: by_einsum(V, h, lambda V: c(V, h), s)],
}


def test_channel_then_spatial(tells_apart):
    tells_apart(channel_then_spatial, ORDER_RIGHT, ORDER_WRONG)


def test_the_given_attentions_are_softmaxes_that_see_state_and_map():
    torch.manual_seed(0)
    V, h = torch.randn(2, 3, 5), torch.randn(2, 4)
    for attention, n in ((channel_softmax, 3), (spatial_softmax, 5)):
        weights = attention(V, h)
        assert weights.shape == (2, n)
        torch.testing.assert_close(weights.sum(1), torch.ones(2))
        assert min((attention(V, h + 1) - weights).abs().max(), (attention(V.roll(1, 2).cos(), h) - weights).abs().max()
                   ) > 1e-2


# --- word_by_word ----------------------------------------------------------------------------------------------------


def ported(V, h, words, attention, cell):
    """The loop of the exercise's statement."""
    states = []
    for word in words.unbind(1):
        V = attention(V, h) * V
        h = cell(V.mean(2), word, h)
        states.append(h)
    return torch.stack(states, 1)


def numbered(V, h, words, attention, cell):
    out = torch.zeros(*words.shape[:2], h.shape[1], dtype=V.dtype)
    for t in range(words.shape[1]):
        h = cell((attention(V, h) * V).mean(-1), words[:, t], h)
        out[:, t] = h
    return out


def kept_original(V, h, words, attention, cell):
    """Overwrites the name, as the port does, but goes back to a copy of the map."""
    original, states = V.clone(), []
    for word in words.transpose(0, 1):
        V = original
        V = attention(V, h) * V
        h = cell(V.mean(2), word, h)
        states.append(h[:, None])
    return torch.cat(states, 1)


def recursive(V, h, words, attention, cell):
    if words.shape[1] == 0:
        return h[:, None][:, :0]
    h = cell(torch.einsum("bcm,bcm->bc", attention(V, h), V) / V.shape[2], words[:, 0], h)
    return torch.cat([h[:, None], recursive(V, h, words[:, 1:], attention, cell)], 1)


def cloned(V, h, words, attention, cell):
    return ported(V.clone(), h.clone(), words.clone(), attention, cell)


def looped(step, finish=lambda states: torch.stack(states, dim=1)):
    """step(V, what is left of the last word, first state, state, word, attention, cell) gives what is left and h."""
    def answer(V, h, words, attention, cell):
        left, start, states = V, h, []
        for i in range(words.size(1)):
            left, h, said = step(V, left, start, h, words[:, i], attention, cell)
            states.append(said)
        return finish(states)
    return answer


def plain_step(V, left, start, h, word, attention, cell):
    new = cell((attention(V, h) * V).mean(2), word, h)
    return left, new, new


def last_looked_at(V, left, start, h, word, attention, cell):
    left = attention(left, h) * V
    new = cell(left.mean(2), word, h)
    return left, new, new


def last_multiplied(V, left, start, h, word, attention, cell):
    left = attention(V, h) * left
    new = cell(left.mean(2), word, h)
    return left, new, new


def wiped(V, left, start, h, word, attention, cell):
    new = cell((attention(left, h) * left).mean(2), word, h)
    return left * 0, new, new


def summed(V, left, start, h, word, attention, cell):
    attended = attention(left, h) * left
    new = cell(attended.mean(2), word, h)
    return left + attended, new, new


def undone(small):
    def step(V, left, start, h, word, attention, cell):
        beta = attention(left, h)
        new = cell((beta * left).mean(2), word, h)
        return beta * left / (beta + small), new, new
    return looped(step)


def look_once(V, h, words, attention, cell):
    context, states = (attention(V, h) * V).mean(2), []
    for i in range(words.shape[1]):
        h = cell(context, words[:, i], h)
        states.append(h)
    return torch.stack(states, 1)


def with_step(state=lambda start, h: h, look=lambda start, h: h, context=lambda V, weights: (weights * V).mean(2)):
    def step(V, left, start, h, word, attention, cell):
        new = cell(context(V, attention(V, look(start, h))), word, state(start, h))
        return left, new, new
    return looped(step)


def truncated(V, left, start, h, word, attention, cell):
    new = cell((attention(V, h) * V).mean(2), word, h)
    return left, new.detach(), new


def no_grad_attention(V, left, start, h, word, attention, cell):
    with torch.no_grad():
        weights = attention(V, h)
    new = cell((weights * V).mean(2), word, h)
    return left, new, new


def overwritten(V, h, words, attention, cell):
    states = []
    for word in words.unbind(1):
        V *= attention(V, h)
        h = cell(V.mean(2), word, h)
        states.append(h)
    return torch.stack(states, 1)


WORDS_RIGHT = [numbered, kept_original, recursive, looped(plain_step)]
WORDS_WRONG = {
    "accumulates": [ported, cloned],
    "looks-at-last-map": [looped(last_looked_at)],
    "multiplies-last-map": [looped(last_multiplied)],
    "zeros": [looped(wiped)],
    "divided-afterwards": [undone(0), undone(1e-8)],
    "adds-up": [looped(summed)],
    "first-state": [look_once, with_step(look=lambda start, h: start)],
    "state-not-passed-on": [with_step(state=lambda start, h: start)],
    "states-not-passed-on": [with_step(state=lambda start, h: start, look=lambda start, h: start)],
    "no-attention": [with_step(context=lambda V, weights: V.mean(2))],
    "weights-as-map": [with_step(context=lambda V, weights: weights.mean(2))],
    "one-word": [lambda V, h, words, attention, cell: numbered(V, h, words[:, :1].expand_as(words), attention, cell)],
    "time-first": [looped(plain_step, torch.stack)],
    "last-state-only": [looped(plain_step, lambda states: states[-1])],
    "joined": [looped(plain_step, lambda states: torch.cat(states, dim=-1))],
    "detached": [looped(truncated), looped(no_grad_attention),
                 lambda V, h, words, attention, cell: numbered(V.detach(), h, words, attention, cell)],
    "mutated-input": [overwritten],
    "wrong-type": [looped(plain_step, list)],
    "no-gradient": [lambda *arguments: numbered(*arguments).detach()],
    "crashed": [lambda V, h, words, attention, cell: ported(V, h, words, lambda V, h: attention(V), cell)],
}


def test_word_by_word(tells_apart):
    tells_apart(word_by_word, WORDS_RIGHT, WORDS_WRONG)


def test_with_a_state_held_fixed_every_word_sees_the_same():
    torch.manual_seed(0)
    V, h, words = torch.randn(2, 3, 4), torch.randn(2, 3), torch.randn(2, 5, 2)

    def look(V, h):
        return channel_softmax(V, torch.zeros_like(h))[:, :, None] * spatial_softmax(V, torch.zeros_like(h))[:, None]

    mended = word_by_word.reference(V, h, words, look, lambda context, word, h: context)
    assert torch.equal(mended, mended[:, :1].expand_as(mended))
    as_ported = ported(V, h, words, look, lambda context, word, h: context)
    assert (as_ported[:, -1].abs() < 0.1 * as_ported[:, 0].abs()).all()


def test_dividing_gets_back_what_no_weight_of_0_has_destroyed():
    torch.manual_seed(0)
    inputs = torch.randn(2, 3, 4), torch.randn(2, 2), torch.randn(2, 4, 2)
    weights = half_closed(*inputs[:2])
    assert 0.3 < (weights == 0).float().mean() < 0.7
    assert undone(0)(*inputs, half_closed, cell_of).isnan().any()


# --- beam_step -------------------------------------------------------------------------------------------------------


def beams_by_lists(totals, scores, ended, end):
    found = []
    for parent, row in enumerate(scores.tolist()):
        if ended[parent]:
            found.append((totals[parent].item(), parent, end))
        else:
            found += [(totals[parent].item() + score, parent, word) for word, score in enumerate(row)]
    found = sorted(found, reverse=True)[:len(totals)]
    return [f[1] for f in found], [f[2] for f in found], [f[0] for f in found]


def beams_by_sort(totals, scores, ended, end):
    scores = scores.clone()
    scores[ended] = float("-inf")
    scores[ended, end] = 0.0
    values, places = torch.sort((scores + totals.view(-1, 1)).view(-1), descending=True)
    n, N = scores.shape
    return torch.div(places[:n], N, rounding_mode="floor"), torch.remainder(places[:n], N), values[:n]


def beams_by_unravel(totals, scores, ended, end):
    mask = ended[:, None] & (torch.arange(scores.shape[1]) != end)
    candidates = totals.unsqueeze(1) + scores.masked_fill(ended.unsqueeze(1), 0).masked_fill(mask, -torch.inf)
    values, places = candidates.reshape(-1).topk(len(totals))
    parents, words = torch.unravel_index(places, candidates.shape)
    return parents.int(), words.int(), values.double()


def step_with(prepare=None, chosen=lambda sums, n: torch.topk(sums.reshape(-1), n)[1], sums=None, result=None):
    """A beam step in the usual way. prepare(scores, ended, end), sums(totals, scores), result(places, sums, …)."""
    def answer(totals, scores, ended, end):
        n, N = scores.size()
        scores = scores.clone()
        if prepare is None:
            scores[ended] = -torch.inf
            scores[ended, end] = 0
        else:
            scores = prepare(scores, ended, end)
        table = totals.unsqueeze(1) + scores if sums is None else sums(totals, scores)
        places = chosen(table, n)
        if result is not None:
            return result(places, n, N, table, totals, scores)
        return places // N, places % N, table.reshape(-1)[places]
    return answer


def fill_ended(value):
    def prepare(scores, ended, end):
        scores[ended] = value
        return scores
    return prepare


def pay_for_end(scores, ended, end):
    kept = scores[:, end].clone()
    scores[ended] = -torch.inf
    scores[ended, end] = kept[ended]
    return scores


def end_0(scores, ended, end):
    scores[ended] = -torch.inf
    scores[ended, 0] = 0
    return scores


def half_closed_row(scores, ended, end):
    scores[ended, end] = 0
    return scores


def own_best(totals, scores, ended, end):
    scores = scores.clone()
    scores[ended] = -torch.inf
    scores[ended, end] = 0
    values, words = scores.max(dim=1)
    return torch.arange(len(totals)), words, totals + values


def in_place_scores(totals, scores, ended, end):
    scores[ended] = -torch.inf
    scores[ended, end] = 0
    return beams_by_lists(totals, scores, ended, end)


BEAMS_RIGHT = [beams_by_lists, beams_by_sort, beams_by_unravel, step_with()]
BEAMS_WRONG = {
    "best-of-each": [own_best],
    "first-beam-only": [step_with(chosen=lambda sums, n: torch.topk(sums[0], n)[1])],
    "totals-forgotten": [
        step_with(sums=lambda totals, scores: scores),
        step_with(sums=lambda totals, scores: scores, result=lambda places, n, N, table, totals, scores: (
            places // N, places % N, totals[places // N] + table.reshape(-1)[places]))],
    "scores-forgotten": [step_with(sums=lambda totals, scores: totals[:, None] + torch.zeros_like(scores))],
    "ended-go-on": [step_with(prepare=lambda scores, ended, end: scores)],
    "ended-half": [step_with(prepare=half_closed_row),
                   step_with(prepare=lambda scores, ended, end: torch.where(
                       ended[:, None] & (torch.arange(scores.shape[1]) == end), 0.0, scores))],
    "ended-dropped": [step_with(prepare=fill_ended(-torch.inf)), step_with(prepare=fill_ended(-1e9))],
    "ended-any-word": [step_with(prepare=fill_ended(0)),
                       step_with(prepare=lambda scores, ended, end: scores * (~ended).float()[:, None])],
    "end-charged": [step_with(prepare=pay_for_end)],
    "end-is-0": [step_with(prepare=end_0)],
    "swapped-parts": [step_with(result=lambda places, n, N, table, *_: (
        places % N, places // N, table.reshape(-1)[places]))],
    "divided-by-n": [step_with(result=lambda places, n, N, table, *_: (
        places // n, places % n, table.reshape(-1)[places]))],
    "wrong-way-flattened": [step_with(sums=lambda totals, scores: (totals[:, None] + scores).transpose(0, 1))],
    "places-not-split": [step_with(result=lambda places, n, N, table, *_: (
        places // N, places, table.reshape(-1)[places]))],
    "float-parents": [step_with(result=lambda places, n, N, table, *_: (
        places / N, places % N, table.reshape(-1)[places]))],
    "probabilities": [step_with(sums=lambda totals, scores: totals.unsqueeze(1) + torch.exp(scores))],
    "returned-probabilities": [step_with(result=lambda places, n, N, table, *_: (
        places // N, places % N, table.reshape(-1)[places].exp()))],
    "multiplied": [step_with(sums=lambda totals, scores: totals.unsqueeze(1) * scores)],
    "lowest": [step_with(chosen=lambda sums, n: torch.topk(sums.reshape(-1), n, largest=False)[1])],
    "worst-first": [step_with(chosen=lambda sums, n: torch.topk(sums.reshape(-1), n)[1].flip(0))],
    "old-totals": [step_with(result=lambda places, n, N, table, totals, scores: (
        places // N, places % N, totals[places // N]))],
    "words-scores": [step_with(result=lambda places, n, N, table, totals, scores: (
        places // N, places % N, scores[places // N, places % N]))],
    "only-the-best": [step_with(chosen=lambda sums, n: torch.argmax(sums.reshape(-1))[None])],
    "not-three": [step_with(result=lambda places, *_: places),
                  step_with(result=lambda places, n, N, *_: (places // N, places % N)),
                  step_with(result=lambda places, n, N, *_: (places[0], places[0], places[0]))],
    "mutated-input": [in_place_scores],
    "returned-nothing": [lambda *arguments: None],
    "crashed": [lambda totals, scores, ended, end: step_with()(totals, scores + totals, ended, end)],
}


def test_beam_step(tells_apart):
    tells_apart(beam_step, BEAMS_RIGHT, BEAMS_WRONG)


def test_steps_in_a_row_find_the_likeliest_sentence():
    """With as many beams as there are sentences, the search is exhaustive."""
    torch.manual_seed(0)
    after, T, N = torch.randn(4, 4).log_softmax(1), 3, 4  # the next word depends on the last one; word 0 is the end
    n = N**T
    totals, said = torch.tensor([0.0] + [-math.inf] * (n - 1)), [[] for _ in range(n)]
    for _ in range(T):
        last = torch.tensor([words[-1] if words else 1 for words in said])
        parents, words, totals = beam_step.reference(totals, after[last], torch.tensor([0 in each for each in said]), 0)
        said = [said[parent] + [word] for parent, word in zip(parents.tolist(), words.tolist())]

    def likelihood(sentence):
        total, last = 0.0, 1
        for word in sentence:
            total, last = total + after[last, word].item(), word
            if word == 0:
                break
        return total

    every = {tuple(s[:s.index(0) + 1]) if 0 in s else s: likelihood(s) for s in product(range(N), repeat=T)}
    best = max(every, key=every.get)
    found = said[0][:said[0].index(0) + 1] if 0 in said[0] else said[0]
    assert tuple(found) == best
    assert math.isclose(totals[0], every[best], rel_tol=1e-5)
    assert totals.isfinite().sum() == len(every)


# --- clipped_precision -----------------------------------------------------------------------------------------------


def list_grams(words, n):
    return [tuple(words[i:i + n]) for i in range(len(words) - n + 1)]


def p_by_lists(sentence, references, n):
    said, right = list_grams(sentence, n), 0
    if len(said) == 0:
        return 0
    for gram in set(said):
        right += min(said.count(gram), max(list_grams(reference, n).count(gram) for reference in references))
    return right / len(said)


def p_by_crossing_out(sentence, references, n):
    """Each reference's n-grams are used up, one after the other, for each gram apart."""
    matched, total = 0, 0
    left = [list_grams(reference, n) for reference in references]
    for gram in list_grams(sentence, n):
        total += 1
        if any(gram in each for each in left):
            matched += 1
        for each in left:
            if gram in each:
                each.remove(gram)
    return torch.tensor(matched / total) if total else torch.tensor(0.0)


def p_by_strings(sentence, references, n):
    def table(words):
        counts = defaultdict(int)
        for i in range(0, len(words) + 1 - n):
            counts[" ".join(words[i:i + n])] += 1
        return counts
    said, limit = table(sentence), defaultdict(int)
    for counts in map(table, references):
        for gram, number in counts.items():
            limit[gram] = max(limit[gram], number)
    return sum(min(number, limit[gram]) for gram, number in said.items()) / max(sum(said.values()), 1)


def p_from(count=lambda gram, said, of_each: min(said.count(gram), max(each.count(gram) for each in of_each)),
           grams=list_grams, below=lambda said, sentence, references: len(said), distinct=set, none=0.0):
    def answer(sentence, references, n):
        said, of_each = grams(sentence, n), [grams(reference, n) for reference in references]
        if not said:
            return none
        return sum(count(gram, said, of_each) for gram in distinct(said)) / below(said, sentence, references)
    return answer


def no_check(sentence, references, n):
    said = list_grams(sentence, n)
    return sum(min(said.count(g), max(list_grams(r, n).count(g) for r in references)) for g in set(said)) / len(said)


def overwritten_limits(sentence, references, n):
    for reference in references:
        limit = Counter(list_grams(reference, n))
    said = Counter(list_grams(sentence, n))
    return sum(min(said[gram], limit[gram]) for gram in said) / max(1, sum(said.values()))


def nearest(sentence, references):
    return min((abs(len(r) - len(sentence)), len(r)) for r in references)[1]


def penalised(sentence, references, n):
    r, c = nearest(sentence, references), len(sentence)
    return p_by_lists(sentence, references, n) * (1 if c > r else math.exp(1 - r / c))


def added_up(sentence, references, n):
    """What a learner's loop over the references does who has no maximum in mind."""
    said, total = Counter(list_grams(sentence, n)), 0
    for reference in references:
        total += (said & Counter(list_grams(reference, n))).total()
    return total / max(1, said.total())


def bleu(mean):
    return lambda s, refs, n: mean(np.array([p_by_lists(s, refs, each) for each in range(1, n + 1)]))


def geometric(p):
    with np.errstate(divide="ignore"):
        return np.exp(np.log(p).mean())


def by_math_log(p):
    return math.exp(math.fsum(math.log(each) for each in p) / len(p))


def with_penalty(answer):
    return lambda s, refs, n: answer(s, refs, n) * min(1, math.exp(1 - nearest(s, refs) / len(s)))


def p_by_union(sentence, references, n):
    """The larger count of each n-gram over the references, kept in a loop."""
    most = Counter()
    for reference in references:
        most |= Counter(zip(*(reference[i:] for i in range(n))))
    said = Counter(zip(*(sentence[i:] for i in range(n))))
    return np.float64((said & most).total() / said.total()) if said else 0


BLEU_RIGHT = [p_by_union, p_by_lists, p_by_crossing_out, p_by_strings, p_from()]
BLEU_WRONG = {
    "unclipped": [p_from(distinct=list, count=lambda gram, said, of_each: any(gram in each for each in of_each))],
    "sum-over-references": [p_from(lambda gram, said, of_each: min(
        said.count(gram), sum(each.count(gram) for each in of_each)))],
    "joined-references": [lambda s, refs, n: p_by_lists(s, [[word for r in refs for word in r]], n)],
    "lowest-count": [p_from(lambda gram, said, of_each: min(each.count(gram) for each in [said, *of_each]))],
    "first-reference-only": [lambda s, refs, n: p_by_lists(s, refs[:1], n)],
    "last-reference-only": [overwritten_limits],
    "one-reference-for-all": [lambda s, refs, n: max(p_by_lists(s, [r], n) for r in refs)],
    "averaged-references": [lambda s, refs, n: sum(p_by_lists(s, [r], n) for r in refs) / len(refs)],
    "added-references": [
        added_up, lambda s, refs, n: min(1, added_up(s, refs, n)),
        p_from(lambda gram, said, of_each: sum(min(said.count(gram), each.count(gram)) for each in of_each))],
    "types": [lambda s, refs, n: len(set(list_grams(s, n)) & {g for r in refs for g in list_grams(r, n)})
              / max(1, len(set(list_grams(s, n))))],
    "divided-by-types": [p_from(below=lambda said, s, refs: len(set(said)))],
    "matched-types": [p_from(lambda gram, said, of_each: any(gram in each for each in of_each))],
    "recall": [lambda s, refs, n: p_by_lists(s, refs, n) * len(list_grams(s, n)) / max(
        1, sum(len(list_grams(r, n)) for r in refs))],
    "divided-by-reference": [p_from(below=lambda said, s, refs: nearest(s, refs)),
                             p_from(below=lambda said, s, refs: len(refs[0]))],
    "divided-by-words": [p_from(below=lambda said, s, refs: len(s))],
    "last-missing": [p_from(grams=lambda words, n: [tuple(words[i:i + n]) for i in range(len(words) - n)])],
    "single-words": [lambda s, refs, n: p_by_lists(s, refs, 1)],
    "with-shorter": [p_from(grams=lambda words, n: [g for each in range(1, n + 1) for g in list_grams(words, each)])],
    "bleu-n": [each for mean in (geometric, by_math_log, np.prod, np.mean)
               for each in (bleu(mean), with_penalty(bleu(mean)))],
    "unordered": [p_from(grams=lambda words, n: [tuple(sorted(g)) for g in list_grams(words, n)])],
    "not-overlapping": [p_from(grams=lambda words, n: list_grams(words, n)[::n])],
    "short-sentence": [no_check, p_from(none=1.0), p_from(none=float("nan"))],
    "as-text": [lambda s, refs, n: sum(any(" ".join(g) in " ".join(r) for r in refs) for g in list_grams(s, n))
                / max(1, len(list_grams(s, n)))],
    "brevity-penalty": [penalised],
    "per-cent": [lambda s, refs, n: 100 * p_by_lists(s, refs, n)],
    "count-returned": [p_from(below=lambda *_: 1)],
    "wrong-type": [lambda s, refs, n: [p_by_lists(s, refs, n)]],
    "mutated-input": [lambda s, refs, n: p_by_lists(s, [r for r in refs if not s.append("x")], n)],
    "returned-nothing": [lambda s, refs, n: None],
}


def test_clipped_precision(tells_apart):
    tells_apart(clipped_precision, BLEU_RIGHT, BLEU_WRONG)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_clipped_precisions_make_bleu(n):
    """BLEU-n is the geometric mean of p_1 to p_n, where there is no brevity penalty."""
    scores = pytest.importorskip("attncourse.captioning.scores").scores
    pytest.importorskip("pycocoevalcap")
    sentence = "two brown dogs run on the green grass in that park"
    references = ["two dogs run on the green grass in a park", "brown dogs run on the grass of the park"]
    precisions = [clipped_precision.reference(sentence.split(), [each.split() for each in references], each)
                  for each in range(1, n + 1)]
    assert all(0 < each < 1 for each in precisions)
    assert math.isclose(scores([sentence], [references])[f"BLEU-{n}"], math.prod(precisions)**(1 / n), rel_tol=1e-6)


# --- all of them -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("exercise", "answer", "names"), [
    (spatial_weights, lambda v, h, w: (torch.tanh(v) @ w).softmax(0),
     {"state-lost", "softmax-over-batch", "wrong-values"}),
    (channel_weights, beta(hidden=lambda m, b, s: torch.tanh(m + s), weigh=lambda s: s.softmax(0)),
     {"bias-lost", "softmax-over-batch", "wrong-values"}),
    (channel_then_spatial, both(lambda V, b, a, after: b * a * V * V.size(1)),
     {"parallel", "rescaled", "wrong-values"}),
    (word_by_word, lambda *inputs: ported(*inputs).transpose(0, 1), {"accumulates", "time-first", "wrong-shape"}),
    (beam_step, step_with(prepare=lambda scores, ended, end: scores, chosen=lambda sums, n: torch.topk(
        sums.reshape(-1), n, largest=False)[1]), {"ended-go-on", "lowest", "wrong-values"}),
    (channel_weights, beta(hidden=lambda m, b, s: torch.tanh(m + b - s), weigh=lambda s: s.softmax(1) * s.size(1)),
     {"subtracted", "rescaled", "wrong-values"}),
    (beam_step, step_with(prepare=half_closed_row, result=lambda places, n, N, table, totals, scores: (
        places % N, places // N, table.reshape(-1)[places])), {"ended-half", "swapped-parts", "wrong-values"}),
    (clipped_precision, lambda s, refs, n: added_up(s, refs, n) * len(list_grams(s, n)) / len(s),
     {"added-references", "divided-by-words", "wrong-values"}),
    (clipped_precision, lambda s, refs, n: 100 * p_by_lists(s, refs[:1], n),
     {"per-cent", "first-reference-only", "wrong-values"}),
])
def test_two_mistakes_at_once_still_get_a_sensible_answer(exercise, answer, names):
    result = exercise.judge(answer)
    assert result.status == "failed"
    assert result.cause in names
    assert "xpected" in result.message or "should be" in result.message


def test_the_chapter_has_six_exercises_in_this_order():
    assert [each.id for each in checks.exercises("sca_cnn")] == [
        f"sca_cnn.{name}" for name in ("spatial_weights", "channel_weights", "channel_then_spatial", "word_by_word",
                                       "beam_step", "clipped_precision")]
