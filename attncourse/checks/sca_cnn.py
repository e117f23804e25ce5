"""Checkers of the captioning chapter: both attentions, their order, the loop over words, a beam search, and BLEU."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from numbers import Real

import torch
from torch import Tensor

from attncourse.checks.cases import call, describe, gradients, gradients_of, randn, tensor, values
from attncourse.checks.compare import Problem, kind, show
from attncourse.checks.engine import Case, Exercise, Mistake

# --- spatial_weights: a line -----------------------------------------------------------------------------------------


def scored(hidden: Callable[[Tensor, Tensor], Tensor]) -> Callable:
    """Spatial weights whose hidden layer differs; the scores and the softmax are right."""
    return lambda of_map, of_state, w: (hidden(of_map, of_state) @ w).softmax(1)


def meeting(of_map: Tensor, of_state: Tensor) -> Tensor:
    return (of_map + of_state[:, None]).tanh()


def weighed(weigh: Callable[[Tensor], Tensor]) -> Callable:
    """Spatial weights from the right scores, (B, m), by something else than the softmax over the positions."""
    return lambda of_map, of_state, w: weigh(meeting(of_map, of_state) @ w)


NO_TANH = "There is no tanh. Without it the state adds one and the same number to all scores of a picture, and the " \
          "softmax divides that away: the weights do not depend on the state."
STATE_LOST = "The state has no effect: it is missing, or you add it after the tanh. There it adds one and the same " \
             "number to all scores of a picture, and the softmax divides that away. Add it before the tanh."

spatial_weights = Exercise(
    id="sca_cnn.spatial_weights",
    title="Where the map and the state meet",
    reference=scored(meeting),
    cases=(
        values(of_map=tensor([[[1], [-1]]]), of_state=tensor([[2]]), w=tensor([3])),
        values(of_map=tensor([[[1, 0], [0, 2]], [[1, 1], [-1, 0]]]), of_state=tensor([[1, -1], [0, 2]]),
               w=tensor([2, 1])),
        values(of_map=randn(2, 5, 3), of_state=randn(2, 3, seed=1), w=randn(3, seed=2)),
        values(of_map=randn(3, 3, 3, seed=3), of_state=randn(3, 3, seed=4), w=randn(3, seed=5)),
        values(of_map=randn(1, 6, 4, seed=6).double(), of_state=randn(1, 4, seed=7).double(),
               w=randn(4, seed=8).double()),
        gradients(of_map=randn(2, 4, 3, seed=9), of_state=randn(2, 3, seed=10), w=randn(3, seed=11)),
    ),
    mistakes=(
        Mistake("state-lost", STATE_LOST,
                scored(lambda v, h: v.tanh()), scored(lambda v, h: v.tanh() + h[:, None]),
                scored(lambda v, h: v.tanh() + h[:, None].tanh())),
        Mistake("no-tanh", NO_TANH,
                scored(lambda v, h: v + h[:, None]), scored(lambda v, h: v + h[:, None].tanh())),
        Mistake("state-along-positions", "You added (B, k) to (B, m, k) as it is: PyTorch then lays the pictures along "
                "the positions, or fails. The state needs an axis for the positions: `of_state[:, None]`, (B, 1, k).",
                scored(lambda v, h: (v + h).tanh())),
        Mistake("state-along-hidden", "You gave the state its new axis at the end, (B, k, 1). It has to be (B, 1, k): "
                "`of_state[:, None]`.",
                scored(lambda v, h: (v + h[..., None]).tanh())),
        Mistake("multiplied", "You multiplied the map's part by the state's. They are added.",
                scored(lambda v, h: (v * h[:, None]).tanh()), scored(lambda v, h: v.tanh() * h[:, None]),
                scored(lambda v, h: v * h[:, None].tanh()), scored(lambda v, h: v.tanh() * h[:, None].tanh()),
                scored(lambda v, h: v * h[:, None])),
        Mistake("subtracted", "You subtracted: the map's part and the state's part are added.",
                scored(lambda v, h: (v - h[:, None]).tanh()), scored(lambda v, h: (h[:, None] - v).tanh())),
        Mistake("concatenated", "You put the state beside the positions, as if it were one more of them. It is added "
                "to every position.",
                scored(lambda v, h: torch.cat([v, h[:, None]], 1).tanh()),
                scored(lambda v, h: torch.cat([h[:, None], v], 1).tanh())),
        Mistake("averaged-batch", "You averaged the state over the pictures. Each picture has a state of its own.",
                scored(lambda v, h: (v + h.mean(0)).tanh())),
        Mistake("tanh-too-early", "You took the tanh of the parts before you added them, and again after it. Add "
                "first, then one tanh.",
                scored(lambda v, h: (v.tanh() + h[:, None]).tanh()),
                scored(lambda v, h: (v + h[:, None].tanh()).tanh()),
                scored(lambda v, h: (v.tanh() + h[:, None].tanh()).tanh())),
        Mistake("another-curve", "You took another function than tanh.",
                scored(lambda v, h: (v + h[:, None]).sigmoid()), scored(lambda v, h: (v + h[:, None]).relu())),
        Mistake("softmax-too-early", "You took a softmax of the hidden layer. Its function is tanh; the softmax of the "
                "scores is in the next line.",
                scored(lambda v, h: (v + h[:, None]).softmax(1)), scored(lambda v, h: (v + h[:, None]).softmax(2)),
                scored(lambda v, h: meeting(v, h).softmax(1)), scored(lambda v, h: meeting(v, h).softmax(2))),
        Mistake("softmax-over-batch", "Your softmax goes over the pictures. The positions of one picture compete: its "
                "weights add up to 1.",
                weighed(lambda scores: scores.softmax(0)),
                lambda of_map, of_state, w: (of_map.tanh() @ w).softmax(0),
                lambda of_map, of_state, w: ((of_map + of_state[:, None]) @ w).softmax(0)),
        Mistake("sigmoid", "You took a sigmoid of the scores. A softmax makes the positions compete.",
                weighed(torch.sigmoid)),
        Mistake("no-softmax", "You returned the scores. Leave the last line as it is: it takes their softmax.",
                weighed(lambda scores: scores)),
        Mistake("rescaled", "You multiplied the weights by m. That is a choice of the authors' code; here they add up "
                "to 1.",
                weighed(lambda scores: scores.softmax(1) * scores.shape[1])),
        Mistake("kept-axis", "The values are right, but an axis of length 1 is left. The result is (B, m).",
                weighed(lambda scores: scores.softmax(1)[..., None]),
                weighed(lambda scores: scores.softmax(1)[:, None])),
    ),
    hints=(
        "Each position of a picture gets the same state added. And what comes between the sum and the scores?",
        "(B, m, k) and (B, k) do not fit yet: the state needs an axis of length 1 in the place of the positions.",
        "`of_state[:, None]` is (B, 1, k). Add it to `of_map`, and take the tanh of the sum.",
    ),
    tested="values on 5 maps: by hand, as many pictures as positions, one picture, float64; gradients; inputs "
           "unchanged",
)

# --- channel_weights -------------------------------------------------------------------------------------------------


def channel_hidden(v: Tensor, h: Tensor, W_c: Tensor, b_0: Tensor, W_hc: Tensor) -> Tensor:
    return v[..., None] * W_c + b_0 + (h @ W_hc.T)[:, None]  # (B, C, k)


def from_hidden(finish: Callable[[Tensor, Tensor], Tensor]) -> Callable:
    """Channel weights that differ in what is made of the hidden layer, (B, C, k) before its tanh, and of w."""
    return lambda v, h, W_c, b_0, W_hc, w: finish(channel_hidden(v, h, W_c, b_0, W_hc), w)


def with_hidden(hidden: Callable[..., Tensor]) -> Callable:
    """Channel weights that differ in the hidden layer, its tanh included."""
    return lambda v, h, W_c, b_0, W_hc, w: (hidden(v, h, W_c, b_0, W_hc) @ w).softmax(1)


channel_weights_reference = from_hidden(lambda b, w: (b.tanh() @ w).softmax(1))


def sized(B: int, C: int, k: int, d: int, seed: int) -> dict[str, Tensor]:
    return {"v": randn(B, C, seed=seed), "h": randn(B, d, seed=seed + 1), "W_c": randn(k, seed=seed + 2),
            "b_0": randn(k, seed=seed + 3), "W_hc": randn(k, d, seed=seed + 4) / d**0.5, "w": randn(k, seed=seed + 5)}


channel_weights = Exercise(
    id="sca_cnn.channel_weights",
    title="The weights of the channels",
    reference=channel_weights_reference,
    cases=(
        values(v=tensor([[1, 3]]), h=tensor([[2]]), W_c=tensor([0.5]), b_0=tensor([-0.5]), W_hc=tensor([[0.25]]),
               w=tensor([2])),
        values(v=tensor([[0, 2], [1, -1]]), h=tensor([[1, 0], [-1, 2]]), W_c=tensor([1, -0.5]), b_0=tensor([0, 0.5]),
               W_hc=tensor([[0.5, 1], [-1, 0]]), w=tensor([1, 2])),
        values(**sized(2, 5, 3, 4, 0)),
        values(**sized(3, 4, 4, 4, 10)),
        values(**sized(3, 3, 2, 2, 20)),
        values(**{name: value.double() for name, value in sized(1, 6, 4, 3, 30).items()}),
        gradients(**sized(2, 4, 3, 2, 40)),
    ),
    mistakes=(
        Mistake("softmax-over-batch", "Your softmax goes over the pictures. The channels of one picture compete: its "
                "weights add up to 1.",
                from_hidden(lambda b, w: (b.tanh() @ w).softmax(0)), from_hidden(lambda b, w: (b @ w).softmax(0))),
        Mistake("softmax-over-hidden", "You took a softmax over the k hidden units. They get a tanh; the softmax is of "
                "the scores, over the channels.",
                from_hidden(lambda b, w: b.softmax(2) @ w), from_hidden(lambda b, w: b.tanh().softmax(2) @ w),
                from_hidden(lambda b, w: (b.softmax(2) @ w).softmax(1)),
                from_hidden(lambda b, w: (b.tanh().softmax(2) @ w).softmax(1))),
        Mistake("softmax-before-w", "You took the softmax over the channels too early, for each hidden unit apart. "
                "First `@ w` makes one score of the k hidden units of a channel; the softmax is of these scores.",
                from_hidden(lambda b, w: b.tanh().softmax(1) @ w), from_hidden(lambda b, w: b.softmax(1) @ w),
                from_hidden(lambda b, w: (b.tanh().softmax(1) @ w).softmax(1)),
                from_hidden(lambda b, w: (b.softmax(1) @ w).softmax(1))),
        Mistake("softmax-over-all", "Your softmax goes over all pictures and channels. The channels of one picture "
                "compete: its weights add up to 1.",
                from_hidden(lambda b, w: (b.tanh() @ w).flatten().softmax(0).view(b.shape[:2]))),
        Mistake("sigmoid", "You took a sigmoid of the scores, as SE does. A softmax makes the channels compete.",
                from_hidden(lambda b, w: (b.tanh() @ w).sigmoid())),
        Mistake("no-softmax", "You returned the scores, or only their exponentials: the softmax over the channels is "
                "missing.",
                from_hidden(lambda b, w: b.tanh() @ w), from_hidden(lambda b, w: (b.tanh() @ w).exp()),
                from_hidden(lambda b, w: (b.tanh() @ w).log_softmax(1))),
        Mistake("divided-by-sum", "You divided the scores by their sum. A softmax takes the exponentials first: scores "
                "may be negative.",
                from_hidden(lambda b, w: (b.tanh() @ w) / (b.tanh() @ w).sum(1, keepdim=True))),
        Mistake("state-lost", STATE_LOST,
                with_hidden(lambda v, h, W_c, b_0, W_hc: (v[..., None] * W_c + b_0).tanh()),
                with_hidden(lambda v, h, W_c, b_0, W_hc: (v[..., None] * W_c + b_0).tanh() + (h @ W_hc.T)[:, None])),
        Mistake("no-tanh", NO_TANH, with_hidden(channel_hidden)),
        Mistake("another-curve", "You took another function than tanh for the hidden layer.",
                from_hidden(lambda b, w: (b.sigmoid() @ w).softmax(1)),
                from_hidden(lambda b, w: (b.relu() @ w).softmax(1))),
        Mistake("summed-too-early", "You summed over the k hidden units before the tanh. Each hidden unit has a tanh "
                "of its own; the weighted sum with w comes after it.",
                from_hidden(lambda b, w: (b @ w).tanh().softmax(1)),
                from_hidden(lambda b, w: b.sum(2).tanh().softmax(1)),
                from_hidden(lambda b, w: (b.sum(2).tanh()[..., None] * w).sum(2).softmax(1))),
        Mistake("two-tanhs", "You took a tanh of the scores, too. Only the hidden layer has one.",
                from_hidden(lambda b, w: (b.tanh() @ w).tanh().softmax(1))),
        Mistake("no-outer-product", "You multiplied channel c by element c of W_c, as if there were one weight per "
                "channel. All channels share all k weights: `v[..., None] * W_c` is (B, C, k).",
                lambda v, h, W_c, b_0, W_hc, w: ((v * W_c + b_0 + h @ W_hc.T).tanh() * w).softmax(1),
                with_hidden(lambda v, h, W_c, b_0, W_hc: ((v * W_c + b_0)[..., None] + (h @ W_hc.T)[:, None]).tanh())),
        Mistake("bias-lost", "b_0 has no effect: it is missing, or you add it after the tanh, where the softmax "
                "divides it away. It belongs inside.",
                with_hidden(lambda v, h, W_c, b_0, W_hc: (v[..., None] * W_c + (h @ W_hc.T)[:, None]).tanh()),
                with_hidden(lambda v, h, W_c, b_0, W_hc: (v[..., None] * W_c + (h @ W_hc.T)[:, None]).tanh() + b_0)),
        Mistake("mean-lost", "v has no effect: it is missing in the hidden layer, so all channels weigh the same.",
                with_hidden(lambda v, h, W_c, b_0, W_hc: (
                    b_0 + (h @ W_hc.T)[:, None]).tanh().expand(-1, v.shape[1], -1))),
        Mistake("means-alone", "You took a softmax of the means themselves. They go through the hidden layer first, "
                "with the state.",
                lambda v, h, W_c, b_0, W_hc, w: v.softmax(1)),
        Mistake("multiplied-by-state", "You multiplied the mean's part by the state's. They are added.",
                with_hidden(lambda v, h, W_c, b_0, W_hc: (
                    (v[..., None] * W_c + b_0) * (h @ W_hc.T)[:, None]).tanh()),
                with_hidden(lambda v, h, W_c, b_0, W_hc: (
                    v[..., None] * W_c * (h @ W_hc.T)[:, None] + b_0).tanh()),
                with_hidden(lambda v, h, W_c, b_0, W_hc: (
                    v[..., None] * W_c + b_0).tanh() * (h @ W_hc.T)[:, None]),
                with_hidden(lambda v, h, W_c, b_0, W_hc: (
                    v[..., None] * W_c + b_0).tanh() * (h @ W_hc.T)[:, None].tanh())),
        Mistake("subtracted", "You subtracted: the mean's part, b_0 and the state's part are added.",
                with_hidden(lambda v, h, W_c, b_0, W_hc: (v[..., None] * W_c + b_0 - (h @ W_hc.T)[:, None]).tanh()),
                with_hidden(lambda v, h, W_c, b_0, W_hc: ((h @ W_hc.T)[:, None] - v[..., None] * W_c - b_0).tanh()),
                with_hidden(lambda v, h, W_c, b_0, W_hc: ((h @ W_hc.T)[:, None] + b_0 - v[..., None] * W_c).tanh()),
                with_hidden(lambda v, h, W_c, b_0, W_hc: (v[..., None] * W_c - b_0 + (h @ W_hc.T)[:, None]).tanh()),
                with_hidden(lambda v, h, W_c, b_0, W_hc: (v[..., None] * W_c - b_0 - (h @ W_hc.T)[:, None]).tanh())),
        Mistake("state-along-channels", "You added the state's part (B, k) to (B, C, k) as it is: PyTorch then lays "
                "the pictures along the channels, or fails. It needs an axis for the channels: `[:, None]`.",
                with_hidden(lambda v, h, W_c, b_0, W_hc: (v[..., None] * W_c + b_0 + h @ W_hc.T).tanh())),
        Mistake("transposed", "W_hc is (k, d), and you used it as if it were (d, k): `h @ W_hc.T`.",
                with_hidden(lambda v, h, W_c, b_0, W_hc: (v[..., None] * W_c + b_0 + (h @ W_hc)[:, None]).tanh())),
        Mistake("w-missing", "w is not used: the hidden units are summed or averaged as they are.",
                from_hidden(lambda b, w: b.tanh().sum(2).softmax(1)),
                from_hidden(lambda b, w: b.tanh().mean(2).softmax(1))),
        Mistake("rescaled", "You multiplied the weights by C. That is a choice of the authors' code; here they add up "
                "to 1.",
                from_hidden(lambda b, w: (b.tanh() @ w).softmax(1) * b.shape[1])),
        Mistake("kept-axes", "The values are right, but axes of length 1 are left. The result is (B, C).",
                from_hidden(lambda b, w: (b.tanh() @ w[:, None]).softmax(1)),
                from_hidden(lambda b, w: (b.tanh() @ w).softmax(1)[..., None, None])),
    ),
    hints=(
        "It is exercise 1 with channels in the place of positions. What is new is how the map's part is made: from one "
        "number per channel.",
        "Three things meet in (B, C, k): the mean of each channel times W_c, which is the outer product; b_0; and the "
        "state's part, the same for all channels. Then tanh, w, softmax.",
        "`v[..., None] * W_c + b_0` is (B, C, k), and `(h @ W_hc.T)[:, None]` is (B, 1, k). The tanh of their sum, "
        "`@ w`, `.softmax(1)`.",
    ),
    tested="values on 6 sets of weights: by hand, C = k = d, as many pictures as channels, one picture, float64; "
           "gradients; inputs unchanged",
)

# --- channel_then_spatial --------------------------------------------------------------------------------------------


def share_of_means(V: Tensor, h: Tensor) -> Tensor:
    v = V.mean(2)
    return v / v.sum(1, keepdim=True)


def share_of_sums(V: Tensor, h: Tensor) -> Tensor:
    a = V.sum(1)
    return a / a.sum(1, keepdim=True)


def channel_softmax(V: Tensor, h: Tensor) -> Tensor:
    """(B, C): a channel attention whose weights are known."""
    C, d = V.shape[1], h.shape[1]
    wave = torch.arange(C, dtype=V.dtype).cos()
    return (V.mean(2) * 2 + (h @ torch.arange(1, d + 1, dtype=V.dtype).sin())[:, None] * wave).tanh().mul(2).softmax(1)


def spatial_softmax(V: Tensor, h: Tensor) -> Tensor:
    """(B, m): a spatial attention whose weights are known."""
    C, d, m = V.shape[1], h.shape[1], V.shape[2]
    seen = torch.einsum("bcm,c->bm", V, 1 + torch.arange(C, dtype=V.dtype)) / 2
    place = torch.arange(m, dtype=V.dtype).sin()
    return (seen + (h @ torch.arange(d, dtype=V.dtype).cos())[:, None] * place).tanh().mul(2).softmax(1)


def both_ways(answer: Callable, V: Tensor, h: Tensor, channel: Callable = channel_softmax,
              spatial: Callable = spatial_softmax) -> object:
    return call(answer, V=V, h=h, channel=channel, spatial=spatial)


def modulated(V: Tensor, h: Tensor) -> Case:
    return Case(f"{describe(V=V, h=h)}, channel and spatial two softmaxes of V and h",
                lambda answer: both_ways(answer, V, h))


def modulated_gradients(V: Tensor, h: Tensor) -> Case:
    def probe(answer: Callable) -> list[Tensor]:
        leaves = [V.clone().requires_grad_(), h.clone().requires_grad_()]
        return gradients_of(answer(*leaves, channel_softmax, spatial_softmax), leaves)
    return Case(f"the gradient at {describe(V=V, h=h)}", probe, "wrong-gradient", "The values are right, but the "
                "gradient is not: something cuts it (`detach`, `.data`, `no_grad`).")


def in_order(combine: Callable[..., Tensor]) -> Callable:
    """A wrong C-S from V and three weights with their axes: β of V, α of V, and α of the modulated map."""
    def answer(V: Tensor, h: Tensor, channel: Callable, spatial: Callable) -> Tensor:
        beta = channel(V, h)[:, :, None]
        return combine(V, beta, spatial(V, h)[:, None], spatial(beta * V, h)[:, None])
    return answer


c_then_s = in_order(lambda V, beta, alpha, after: V * beta * after)


def cut_off(attention: Callable) -> Callable:
    return lambda V, h: attention(V, h).detach()


def spatial_first(V: Tensor, h: Tensor, channel: Callable, spatial: Callable) -> Tensor:
    V = V * spatial(V, h)[:, None]
    return V * channel(V, h)[:, :, None]


def without_axes(V: Tensor, h: Tensor, channel: Callable, spatial: Callable) -> Tensor:
    V = V * channel(V, h)
    return V * spatial(V, h)


def axes_swapped(V: Tensor, h: Tensor, channel: Callable, spatial: Callable) -> Tensor:
    V = V * channel(V, h)[:, None]
    return V * spatial(V, h)[:, :, None]


def channel_again(V: Tensor, h: Tensor, channel: Callable, spatial: Callable) -> Tensor:
    V = V * channel(V, h)[:, :, None]
    V = V * spatial(V, h)[:, None]
    return V * channel(V, h)[:, :, None]


SHARES = "V = {}, channel(V, h) the channels' shares of the means, spatial(V, h) the positions' shares of the sums"


def shares(rows: list) -> Case:
    V = tensor(rows)
    return Case(SHARES.format(describe(V=V).removeprefix("V = ")),
                lambda answer: both_ways(answer, V, tensor([[0]]).expand(len(V), 1), share_of_means, share_of_sums))


channel_then_spatial = Exercise(
    id="sca_cnn.channel_then_spatial",
    title="First the channels, then the positions",
    reference=c_then_s,
    cases=(
        shares([[[1, 3], [6, 6]]]),
        shares([[[0, 2, 4], [3, 1, 2]]]),
        modulated(randn(2, 3, 5), randn(2, 4, seed=1)),
        modulated(randn(3, 3, 3, seed=2), randn(3, 2, seed=3)),
        modulated(randn(1, 4, 6, seed=4).double(), randn(1, 3, seed=5).double()),
        modulated_gradients(randn(2, 3, 4, seed=6), randn(2, 2, seed=7)),
    ),
    mistakes=(
        Mistake("parallel", "You asked spatial about V as it came. In C-S the order matters: the positions are weighed "
                "on the map that the channels' weights have changed.",
                in_order(lambda V, beta, alpha, after: V * beta * alpha)),
        Mistake("spatial-first", "You took the positions first, which is S-C. C-S takes the channels first.",
                spatial_first),
        Mistake("channel-lost", "You asked spatial about the right map, but multiplied its weights with V as it came: "
                "the channels' weights are lost.",
                in_order(lambda V, beta, alpha, after: V * after)),
        Mistake("channel-only", "The positions' weights are missing.",
                in_order(lambda V, beta, alpha, after: V * beta)),
        Mistake("spatial-only", "The channels' weights are missing.",
                in_order(lambda V, beta, alpha, after: V * alpha)),
        Mistake("added-weights", "You added the two weights. Each of them scales: multiply.",
                in_order(lambda V, beta, alpha, after: V * (beta + after)),
                in_order(lambda V, beta, alpha, after: V * (beta + alpha))),
        Mistake("residual", "You added the map that came. The attended map is a product alone.",
                in_order(lambda V, beta, alpha, after: V + V * beta * after),
                in_order(lambda V, beta, alpha, after: V * beta + V * beta * after)),
        Mistake("weights-only", "You returned the product of the weights. Multiply V by it.",
                in_order(lambda V, beta, alpha, after: (beta * after).expand_as(V))),
        Mistake("softmax-again", "You took a softmax of weights that are already one.",
                in_order(lambda V, beta, alpha, after: V * beta.softmax(1) * after),
                in_order(lambda V, beta, alpha, after: V * beta * after.softmax(2)),
                lambda V, h, channel, spatial: in_order(lambda V, beta, alpha, after: V * beta * after.softmax(2))(
                    V, h, lambda V, h: channel(V, h).softmax(1), spatial)),
        Mistake("rescaled", "You multiplied by C or by m. The weights are ready as they are.",
                in_order(lambda V, beta, alpha, after: V * beta * after * V.shape[1] * V.shape[2]),
                in_order(lambda V, beta, alpha, after: V * beta * after * V.shape[1]),
                in_order(lambda V, beta, alpha, after: V * beta * after * V.shape[2])),
        Mistake("pooled", "You summed or averaged the map over its positions. That comes later: return (B, C, m).",
                in_order(lambda V, beta, alpha, after: (V * beta * after).sum(2)),
                in_order(lambda V, beta, alpha, after: (V * beta * after).mean(2))),
        Mistake("axes-missing", "The weights lack an axis: with (B, C) and (B, m) beside (B, C, m), PyTorch lays the "
                "pictures along another axis, or fails. β needs one at the end, α one in the middle.",
                without_axes),
        Mistake("axes-swapped", "The weights' new axes are in the wrong places: β needs one at the end, (B, C, 1), and "
                "α one in the middle, (B, 1, m).",
                axes_swapped),
        Mistake("channel-again", "You applied channel a second time, after spatial. C-S takes each once.",
                channel_again),
        Mistake("detached", "You cut a weight off from the gradient: the attention could never be trained.",
                lambda V, h, channel, spatial: c_then_s(V, h, cut_off(channel), spatial),
                lambda V, h, channel, spatial: c_then_s(V, h, channel, cut_off(spatial)),
                lambda V, h, channel, spatial: c_then_s(V, h, cut_off(channel), cut_off(spatial)),
                in_order(lambda V, beta, alpha, after: V * beta.detach() * after),
                in_order(lambda V, beta, alpha, after: V * (beta * after).detach())),
    ),
    hints=(
        "Two steps. Which map does the second one look at?",
        "Multiply V by β and give the result a name of its own. Ask spatial about that, and multiply that by α. Both "
        "weights need an axis more.",
        "`modulated = V * channel(V, h)[:, :, None]`, then α is `spatial(modulated, h)[:, None]`.",
    ),
    tested="values on 5 maps: by hand, as many pictures as channels as positions, one picture, float64; gradients; V "
           "unchanged",
)

# --- word_by_word ----------------------------------------------------------------------------------------------------


def attention_of(V: Tensor, h: Tensor) -> Tensor:
    """(B, C, m), of mean about 1."""
    return channel_softmax(V, h)[:, :, None] * spatial_softmax(V, h)[:, None] * V.shape[1] * V.shape[2]


def half_closed(V: Tensor, h: Tensor) -> Tensor:
    """Weights of which many are exactly 0: for each picture the lower half."""
    weights = attention_of(V, h)
    middle = weights.flatten(1).median(1).values[:, None, None]
    return weights.where(weights > middle, 0)


def cell_of(context: Tensor, word: Tensor, h: Tensor) -> Tensor:
    """A recurrent cell without weights of its own: (B, C), (B, e), (B, d) to (B, d)."""
    d = h.shape[1]

    def mix(x: Tensor, step: float) -> Tensor:
        n = x.shape[1]
        grid = torch.arange(n, dtype=x.dtype)[:, None] + step * torch.arange(1, d + 1, dtype=x.dtype)
        return x @ grid.cos()

    return (2 * mix(context, 0.7) + mix(word, 1.3) + mix(h, 2.1) / 2).tanh()


def loop(V: Tensor, h: Tensor, words: Tensor, attention: Callable = attention_of) -> Case:
    closed = "" if attention is attention_of else "; an attention half of whose weights are 0"
    return Case(describe(V=V, h=h, words=words) + closed,
                lambda answer: call(answer, V=V, h=h, words=words, attention=attention, cell=cell_of))


def loop_gradients(V: Tensor, h: Tensor, words: Tensor) -> Case:
    def probe(answer: Callable) -> list[Tensor]:
        leaves = [each.clone().requires_grad_() for each in (V, h, words)]
        return gradients_of(answer(*leaves, attention_of, cell_of), leaves)
    return Case(f"the gradient at {describe(V=V, h=h, words=words)}", probe, "wrong-gradient", "The values are right, "
                "but the gradient is not: something cuts it (`detach`, `.data`, `no_grad`).")


def attend_once(first: Tensor, last: Tensor, start: Tensor, h: Tensor, attention: Callable) -> Tensor:
    return attention(first, h) * first


def written(attend: Callable = attend_once, state: Callable = lambda new: new,
            cell_state: Callable = lambda start, h: h, gather: Callable = lambda states: torch.stack(states, 1),
            after: Callable = lambda attended, V, last: attended,
            word_of: Callable = lambda words, t: words[:, t]) -> Callable:
    """A right loop unless an argument replaces a part of it.

    Args:
        attend: the attended map, from V as it came, what the word before left, the first state, and the last one.
        state: what is made of the new state before the next word.
        cell_state: the state that the cell gets, of the first one and the last one.
        gather: the result, of the list of states.
        after: what is left for the next word, of the attended map, V as it came, and what was left before.
    """
    def word_by_word(V: Tensor, h: Tensor, words: Tensor, attention: Callable, cell: Callable) -> Tensor:
        states, last, start = [], V, h
        for t in range(words.shape[1]):
            attended = attend(V, last, start, h, attention)
            new = cell(attended.mean(2), word_of(words, t), cell_state(start, h))
            states.append(new)
            h, last = state(new), after(attended, V, last)
        return gather(states)
    return word_by_word


def divided(small: float = 0.0) -> Callable:
    """Accumulates, and divides by the weights after each word."""
    def word_by_word(V: Tensor, h: Tensor, words: Tensor, attention: Callable, cell: Callable) -> Tensor:
        states = []
        for word in words.unbind(1):
            weights = attention(V, h)
            V = weights * V
            h = cell(V.mean(2), word, h)
            V = V / (weights + small)
            states.append(h)
        return torch.stack(states, 1)
    return word_by_word


def accumulating(first: Tensor, last: Tensor, start: Tensor, h: Tensor, attention: Callable) -> Tensor:
    return attention(last, h) * last


CUT = (
    lambda V, last, start, h, attention: attention(V, h).detach() * V,
    lambda V, last, start, h, attention: attention(V, h) * V.detach(),
    lambda V, last, start, h, attention: attention(V.detach(), h) * V.detach(),
    lambda V, last, start, h, attention: attention(V.detach(), h) * V,
    lambda V, last, start, h, attention: attention(V, h.detach()) * V,
    lambda V, last, start, h, attention: (attention(V, h) * V).detach(),
)

word_by_word = Exercise(
    id="sca_cnn.word_by_word",
    title="Mend a loop",
    reference=written(),
    cases=(
        loop(tensor([[[1, 2], [3, -1]]]), tensor([[0.5]]), tensor([[[1]]])),
        loop(tensor([[[1, 2], [3, -1]]]), tensor([[0.5]]), tensor([[[1], [2]]])),
        loop(randn(2, 2, 3), randn(2, 2, seed=1), randn(2, 2, 3, seed=2)),
        loop(randn(3, 4, 5, seed=3), randn(3, 3, seed=4), randn(3, 6, 2, seed=5)),
        loop(randn(2, 3, 4, seed=6), randn(2, 2, seed=7), randn(2, 4, 2, seed=8), half_closed),
        loop(randn(1, 3, 4, seed=9).double(), randn(1, 5, seed=10).double(), randn(1, 3, 4, seed=11).double()),
        loop_gradients(randn(2, 3, 4, seed=12), randn(2, 2, seed=13), randn(2, 3, 2, seed=14)),
    ),
    mistakes=(
        Mistake("accumulates", "Your loop still overwrites the map: the second word gets what the first one made of "
                "it, and so on. A copy does not help, as long as it is the copy that goes on. Give the attended map "
                "another name than the map.",
                written(accumulating), written(lambda V, last, start, h, attention: accumulating(
                    V, last.clone(), start, h, attention))),
        Mistake("looks-at-last-map", "You multiply the right map, but attention looks at the map of the word before: "
                "call it with V as it came.",
                written(lambda V, last, start, h, attention: attention(last, h) * V)),
        Mistake("multiplies-last-map", "Attention looks at the right map, but you multiply its weights with the map of "
                "the word before: they pile up. Multiply V as it came.",
                written(lambda V, last, start, h, attention: attention(V, h) * last)),
        Mistake("zeros", "After a word you set the map to 0: then the next word sees nothing. It needs V as it came.",
                written(accumulating, after=lambda attended, V, last: torch.zeros_like(V)),
                written(lambda V, last, start, h, attention: 0 * V)),
        Mistake("divided-afterwards", "You divide by the weights after each word. That looks right until a weight is "
                "0: what was multiplied by 0 cannot be got back. Do not overwrite V in the first place.",
                divided(), divided(1e-12), divided(1e-10), divided(1e-8), divided(1e-7), divided(1e-6)),
        Mistake("adds-up", "You add the attended map to the map, so that all words before are still in it. Each word "
                "begins with V as it came.",
                written(accumulating, after=lambda attended, V, last: V + attended),
                written(accumulating, after=lambda attended, V, last: last + attended),
                written(lambda V, last, start, h, attention: last + attention(last, h) * last)),
        Mistake("first-state", "All words look with the first state: attention is asked before the loop, or always "
                "with the h that came. Then it does not move. Ask it for each word, with the newest state.",
                written(lambda V, last, start, h, attention: attention(V, start) * V)),
        Mistake("state-not-passed-on", "The cell always gets the first state: it forgets the words before. Pass on the "
                "state that it made.",
                written(cell_state=lambda start, h: start)),
        Mistake("states-not-passed-on", "Attention and cell always get the first state: nothing goes from word to "
                "word. Keep the cell's result in h.",
                written(lambda V, last, start, h, attention: attention(V, start) * V,
                        cell_state=lambda start, h: start)),
        Mistake("no-attention", "The cell gets the mean of the map as it came: attention is not used.",
                written(lambda V, last, start, h, attention: V)),
        Mistake("weights-as-map", "The cell gets the mean of the weights. It has to be the mean of the map that they "
                "scale.",
                written(lambda V, last, start, h, attention: attention(V, h))),
        Mistake("one-word", "Every step gets the first word.", written(word_of=lambda words, t: words[:, 0])),
        Mistake("time-first", "You stacked the states along the first axis, (T, B, d). The result is (B, T, d): "
                "`torch.stack(states, 1)`.",
                written(gather=torch.stack)),
        Mistake("last-state-only", "You returned the last state. The states after all words are asked for, (B, T, d).",
                written(gather=lambda states: states[-1])),
        Mistake("joined", "You put the states behind one another, (B, T·d) or (B·T, d). They need an axis of their "
                "own, (B, T, d): `torch.stack(states, 1)`.",
                written(gather=lambda states: torch.cat(states, 1)), written(gather=torch.cat)),
        Mistake("detached", "The values are right, but you cut the gradient: with `detach`, `.data` or `no_grad` "
                "attention could not learn from later words. A new name for the attended map is all that is needed.",
                *map(written, CUT), written(state=torch.detach)),
    ),
    hints=(
        "What is `V` when the loop begins with the second word?",
        "One line overwrites the map. What it makes is needed for this word alone, so it should have a name of its "
        "own.",
        "`attended = attention(V, h) * V`, and the cell gets `attended.mean(2)`. V stays what it was.",
    ),
    tested="values on 6 inputs: one word, several, weights that are 0, one picture, float64; gradients of V, h and the "
           "words; inputs unchanged",
)

# --- beam_step -------------------------------------------------------------------------------------------------------


def parts_of(result: object) -> tuple | None:
    """Parents and words as lists of numbers, totals as float32. Where a total is −∞ nothing else is compared."""
    if result is None:
        return result
    if isinstance(result, Tensor | dict | str) or not isinstance(result, Sequence) or len(result) != 3:
        raise Problem("not-three", "Return three tensors: parents, words and totals.")
    parents, words, totals = (part.detach() if isinstance(part, Tensor) else part for part in result)
    try:
        totals = torch.as_tensor(totals).float()
        parents, words = ([number.item() if isinstance(number, Tensor) else number for number in part]
                          for part in (parents, words))
    except (TypeError, ValueError):
        raise Problem("not-three", "Return three tensors of n numbers each: parents, words and totals; not "
                      f"{kind(result[0])}, {kind(result[1])} and {kind(result[2])}.") from None
    if totals.ndim != 1 or not len(parents) == len(words) == len(totals):
        return parents, words, totals
    for number, total in enumerate(totals.tolist()):
        if total == -math.inf:
            parents[number] = words[number] = "any"
    return parents, words, totals


def searched(totals: list, scores: list | Tensor, ended: list | None = None, end: int = 0) -> Case:
    """A step. Lists are probabilities; a tensor becomes log-probabilities."""
    ended = ended or [False] * len(totals)
    inputs = {"totals": tensor(totals).log(), "ended": torch.tensor(ended), "end": end,
              "scores": scores.log_softmax(1) if isinstance(scores, Tensor) else tensor(scores).log()}
    inputs = {name: inputs[name] for name in ("totals", "scores", "ended", "end")}

    def probe(answer: Callable) -> tuple | None:
        return parts_of(call(answer, **inputs))

    def first_probe(answer: Callable) -> tuple | None:
        """At first all beams are one: from which of them a wrong answer continues is chance."""
        parts = probe(answer)
        return parts and (sorted(map(str, parts[0])), *parts[1:])

    first = isinstance(scores, list) and len(totals) > 1 and not any(totals[1:])
    return Case(f"the logarithms of totals = {show(totals)} and of scores = {show(scores)}, with "
                f"{describe(ended=ended, end=end)}", first_probe if first else probe)


def only_end(scores: Tensor, ended: Tensor, end: int) -> Tensor:
    after = torch.full_like(scores, -math.inf)
    after[:, end] = 0
    return torch.where(ended[:, None], after, scores)


def by_topk(sums: Tensor, n: int) -> Tensor:
    return sums.flatten().topk(n).indices


def stepped(follow: Callable = only_end, add: Callable = lambda totals, scores: totals[:, None] + scores,
            best: Callable = by_topk,
            split: Callable = lambda best, n, N: (best // N, best % N),
            total: Callable = lambda totals, scores, sums, best: sums.flatten()[best]) -> Callable:
    """A right step unless an argument replaces a part of it.

    Args:
        follow: the scores after beams that have ended, of scores, ended and end.
        add: the sums, (n, N), of totals and scores. best: the places of the n best.
        split: a place into beam and word. total: what is returned as the new totals.
    """
    def beam_step(totals: Tensor, scores: Tensor, ended: Tensor, end: int) -> tuple[Tensor, Tensor, Tensor]:
        (n, N), scores = scores.shape, follow(scores, ended, end)
        sums = add(totals, scores)
        places = best(sums, n)
        return *split(places, n, N), total(totals, scores, sums, places)
    return beam_step


def by_sort(sums: Tensor, n: int) -> Tensor:
    return sums.flatten().sort(descending=True).indices[:n]


def by_stable_sort(sums: Tensor, n: int) -> Tensor:
    return sums.flatten().sort(descending=True, stable=True).indices[:n]


def ways(**wrong: Callable) -> list[Callable]:
    """A mistake that makes equal sums: topk and the sorts order them each in its own way."""
    return [stepped(**wrong), stepped(best=by_sort, **wrong), stepped(best=by_stable_sort, **wrong)]


def each_its_own(order: bool) -> Callable:
    def best(sums: Tensor, n: int) -> Tensor:
        value, word = sums.max(1)
        places = torch.arange(n) * sums.shape[1] + word
        return places[value.argsort(descending=True)] if order else places
    return best


def charged(scores: Tensor, ended: Tensor, end: int) -> Tensor:
    return torch.where(ended[:, None], scores + only_end(scores, torch.ones_like(ended), end), scores)


def half_ended(scores: Tensor, ended: Tensor, end: int) -> Tensor:
    return torch.where(ended[:, None] & (torch.arange(scores.shape[1]) == end), 0, scores)


def filled(value: float) -> Callable:
    return lambda scores, ended, end: scores.masked_fill(ended[:, None], value)


def old_totals(totals: Tensor, scores: Tensor, sums: Tensor, best: Tensor) -> Tensor:
    return totals[best // scores.shape[1]]


beam_step = Exercise(
    id="sca_cnn.beam_step",
    title="One step of a beam search",
    reference=stepped(),
    cases=(
        searched([0.6, 0.4], [[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]),
        searched([0.7, 0.3], [[0.1, 0.5, 0.4], [0.5, 0.2, 0.3]]),
        searched([1, 0, 0], [[0.1, 0.6, 0.3], [0.1, 0.6, 0.3], [0.1, 0.6, 0.3]]),
        searched([0.3, 0.6], [[0.3, 0.7], [0.9, 0.1]], [True, False], 1),
        searched([0.1, 0.8], [[0.2, 0.8, 0], [0.4, 0.35, 0.25]], [True, False]),
        searched([0.5, 0.2], [[0.3, 0.6, 0.1], [0.6, 0.3, 0.1]], [True, True], 2),
        searched([0.9], [[0.2, 0.1, 0.4, 0.3]]),
        searched([0.05, 0.4, 0.3, 0.2], randn(4, 7), [False, True, False, False], 5),
        searched([0.2, 0.04, 0.3, 0.1], randn(4, 4, seed=1), [False, False, True, True], 3),
        searched([0.3, 0.25, 0.35], randn(3, 12, seed=2)),
    ),
    mistakes=(
        Mistake("best-of-each", "You let each beam go on with its own best word. The beams compete: one may have "
                "several successors, and another none.",
                stepped(best=each_its_own(True)), stepped(best=each_its_own(False))),
        Mistake("first-beam-only", "You look at the words after the first beam only.",
                stepped(best=lambda sums, n: sums[0].topk(n).indices)),
        Mistake("totals-forgotten", "You chose by the scores of the words alone. A beginning counts by its total: what "
                "it had so far, plus its next word.",
                *ways(add=lambda totals, scores: scores),
                *(stepped(best=best, add=lambda totals, scores: scores, total=lambda totals, scores, sums, places: (
                    totals[:, None] + scores).flatten()[places])
                  for best in (by_topk, by_sort, by_stable_sort))),
        Mistake("scores-forgotten", "You chose by the totals so far. The next word's score has to be added first.",
                *ways(add=lambda totals, scores: totals[:, None].expand_as(scores))),
        Mistake("ended-go-on", "A beam that has ended goes on with words after its end. It is followed by `end` alone.",
                stepped(follow=lambda scores, ended, end: scores)),
        Mistake("ended-half", "`end` costs nothing now, but a beam that has ended can still go on with its other "
                "words: they need −∞.",
                stepped(follow=half_ended)),
        Mistake("ended-dropped", "Beams that have ended vanish. They keep their total and compete with the others: a "
                "short sentence may be the best.",
                *ways(follow=filled(-math.inf)), *ways(follow=filled(-1e9))),
        Mistake("ended-any-word", "A beam that has ended goes on with any word at no cost, and so takes several "
                "places. All but one of its words need −∞.",
                *ways(follow=filled(0)), *ways(follow=lambda scores, ended, end: scores * ~ended[:, None])),
        Mistake("end-charged", "A beam that has ended pays for `end` again, at every step. Its total does not change "
                "any more.",
                stepped(follow=charged)),
        Mistake("end-is-0", "You took 0 for the number of `end`. It is an argument.",
                stepped(follow=lambda scores, ended, end: only_end(scores, ended, 0))),
        Mistake("swapped-parts", "Parents and words are swapped. In the flattened (n, N) a place is parent · N + word: "
                "`// N` gives the parent and `% N` the word, and the parents are returned first.",
                stepped(split=lambda best, n, N: (best % N, best // N))),
        Mistake("divided-by-n", "You divided the places by n. A row of the flattened (n, N) has N places: one per "
                "word.",
                stepped(split=lambda best, n, N: (best // n, best % n))),
        Mistake("wrong-way-flattened", "You flattened (N, n), and took the places apart as if it were (n, N).",
                *ways(add=lambda totals, scores: (totals[:, None] + scores).T)),
        Mistake("places-not-split", "You returned places in the flattened (n, N). A place is parent · N + word: take "
                "it apart with `//` and `%`.",
                stepped(split=lambda best, n, N: (best // N, best)), stepped(split=lambda best, n, N: (best, best)),
                stepped(split=lambda best, n, N: (best, best % N))),
        Mistake("float-parents", "Parents must be whole numbers: `/` gives fractions, `//` does not.",
                stepped(split=lambda best, n, N: (best / N, best % N))),
        Mistake("probabilities", "You added a probability to a sum of log-probabilities: `scores` already are logs.",
                *ways(add=lambda totals, scores: totals[:, None] + scores.exp()),
                *ways(add=lambda totals, scores: totals[:, None].exp() + scores)),
        Mistake("returned-probabilities", "You returned probabilities. The totals stay sums of log-probabilities.",
                stepped(total=lambda totals, scores, sums, best: sums.flatten()[best].exp())),
        Mistake("multiplied", "You multiplied totals and scores. They are logarithms: a product of probabilities is a "
                "sum of logs.",
                *ways(add=lambda totals, scores: totals[:, None] * scores)),
        Mistake("lowest", "You kept the lowest totals. Log-probabilities are negative: the best one is nearest to 0.",
                stepped(best=lambda sums, n: sums.flatten().topk(n, largest=False).indices),
                stepped(best=lambda sums, n: sums.flatten().argsort()[:n]),
                stepped(best=lambda sums, n: sums.flatten().sort(stable=True).indices[:n])),
        Mistake("worst-first", "The right beams, but the best one is not first.",
                stepped(best=lambda sums, n: sums.flatten().topk(n).indices.flip(0)),
                stepped(best=lambda sums, n: sums.flatten().topk(n).indices.sort().values)),
        Mistake("old-totals", "The totals that you return lack the new word's score.",
                stepped(total=old_totals), stepped(total=lambda totals, scores, sums, best: totals)),
        Mistake("words-scores", "You returned the scores of the new words. Totals are sums over all words so far.",
                stepped(total=lambda totals, scores, sums, best: scores.flatten()[best])),
        Mistake("only-the-best", "You kept one beam. The n best go on.",
                stepped(best=lambda sums, n: sums.flatten().topk(1).indices)),
    ),
    hints=(
        "How many beginnings can follow, and what is the total of each? All of them compete at once, by "
        "their sums as they are: here nothing is divided by a length.",
        "`totals[:, None] + scores` is (n, N). `topk` of it flattened gives n places, and place = parent · N + word. "
        "Before that, give each row of an ended beam −∞ everywhere and 0 at `end`.",
        "`scores = torch.where(ended[:, None], only_end, scores)` with `only_end` (N) full of −∞ but for a 0 at `end`. "
        "Then `best = (totals[:, None] + scores).flatten().topk(n)`: `best.indices // N`, `best.indices % N`, "
        "`best.values`.",
    ),
    tested="10 steps: by hand, two successors of one beam, the first word, ended beams that win, lose and are alone, "
           "one beam, other numbers of `end`; inputs unchanged",
)

# --- clipped_precision -----------------------------------------------------------------------------------------------


def grams(words: Sequence[str], n: int) -> Counter:
    return Counter(tuple(words[i:i + n]) for i in range(len(words) - n + 1))


def highest(counts: list[Counter]) -> Counter:
    union = Counter()
    for each in counts:
        union |= each
    return union


def lowest(counts: list[Counter]) -> Counter:
    both = counts[0]
    for each in counts[1:]:
        both &= each
    return both


def precision(allowed: Callable = highest, cut: Callable = grams,
              matches: Callable = lambda said, allowed: (said & allowed).total(),
              below: Callable = lambda said, sentence, references, n: said.total(), short: Callable = lambda: 0.0,
              finish: Callable = lambda p, sentence, references: p) -> Callable:
    """A right clipped precision unless an argument replaces a part of it.

    Args:
        allowed: how often each n-gram may count, of the counts of each reference. cut: the n-grams of a sentence.
        matches: how many there are. below: what they are divided by. short: what a sentence without n-grams gets.
    """
    def clipped_precision(sentence: list[str], references: list[list[str]], n: int) -> float:
        said = cut(sentence, n)
        if not said:
            return short()
        found = matches(said, allowed([cut(reference, n) for reference in references]))
        return finish(found / below(said, sentence, references, n), sentence, references)
    return clipped_precision


def reference_length(said: Counter, sentence: list[str], references: list[list[str]], n: int) -> int:
    return min((abs(len(words) - len(sentence)), len(words)) for words in references)[1]


def brevity(sentence: list[str], references: list[list[str]]) -> float:
    r, c = reference_length(Counter(), sentence, references, 1), len(sentence)
    return 1.0 if c >= r else math.exp(1 - r / c)


def with_shorter(sentence: Sequence[str], n: int) -> Counter:
    return sum((grams(sentence, each) for each in range(1, n + 1)), Counter())


def joined(sentence: list[str], references: list[list[str]], n: int) -> float:
    return precision()(sentence, [[word for reference in references for word in reference]], n)


def one_by_one(choose: Callable) -> Callable:
    """The precision against each reference alone, and one number made of these."""
    return lambda sentence, references, n: choose([precision()(sentence, [each], n) for each in references])


def from_1_to(n_and_less: Callable[[list[float]], float]) -> Callable:
    """One number made of p_1 to p_n."""
    return lambda sentence, references, n: n_and_less(
        [precision()(sentence, references, each) for each in range(1, n + 1)])


def penalised(answer: Callable) -> Callable:
    return lambda sentence, references, n: answer(sentence, references, n) * brevity(sentence, references)


BLEU = (
    from_1_to(lambda p: math.prod(p) ** (1 / len(p))),
    from_1_to(lambda p: math.exp(sum(map(math.log, p)) / len(p))),  # fails where a p is 0
    from_1_to(math.prod),
    from_1_to(lambda p: sum(p) / len(p)),
)


def as_text(sentence: list[str], references: list[list[str]], n: int) -> float:
    """Looks for the letters of each n-gram, spaces included, in the references' letters."""
    said = [" ".join(sentence[i:i + n]) for i in range(len(sentence) - n + 1)]
    return sum(any(gram in " ".join(reference) for reference in references) for gram in said) / max(1, len(said))


def zero_divided() -> float:
    raise ZeroDivisionError


def scored_words(sentence: str, references: Sequence[str], n: int) -> Case:
    inputs = {"sentence": sentence.split(), "references": [each.split() for each in references], "n": n}

    def probe(answer: Callable) -> object:
        result = call(answer, **inputs)
        if isinstance(result, Tensor) and result.numel() == 1:
            return result.item()
        return float(result) if isinstance(result, Real) and not isinstance(result, bool) else result

    quoted = ", ".join(f'"{each}".split()' for each in references)
    return Case(f'sentence = "{sentence}".split(), references = [{quoted}], n = {n}', probe)


clipped_precision = Exercise(
    id="sca_cnn.clipped_precision",
    title="The clipped precision of BLEU",
    reference=precision(),
    cases=(
        scored_words("a dog runs", ["a cat runs"], 1),
        scored_words("the the the the the the the", ["the cat is on the mat", "there is a cat on the mat"], 1),
        scored_words("a dog and a dog and a dog", ["a dog and a cat", "a dog", "a dog sees a dog"], 1),
        scored_words("a red ball", ["a red ball lies here"], 2),
        scored_words("dog", ["a dog"], 2),
        scored_words("a man on a red horse", ["on a horse a man", "on a big red horse"], 2),
        scored_words("dog a sees man a", ["a dog sees a man", "man a dog a"], 2),
        scored_words("a dog in a hat and a dog in a car", ["a dog in a car", "two dogs and a dog in a hat"], 3),
        scored_words("two boys play in the snow", ["boys play in the snow", "two boys play in snow", "snow"], 4),
        scored_words("a cat", ["a caterpillar on a leaf", "two animals"], 1),
        scored_words("a b a b a b", ["a b a b", "b a b a b"], 2),
        scored_words("a man in a hat", ["hat"], 3),
    ),
    mistakes=(
        Mistake("unclipped", "You count an n-gram each time, as long as some reference has it. \"the the the\" would "
                "then be perfect: it counts at most as often as the reference that has it most often.",
                precision(matches=lambda said, allowed: sum(said[gram] for gram in said if gram in allowed))),
        Mistake("sum-over-references", "You clip at the sum over the references. The limit is the count in that one "
                "reference which has the n-gram most often.",
                precision(allowed=lambda counts: sum(counts, Counter()))),
        Mistake("joined-references", "You joined the references to one text. That adds up their counts, and makes "
                "n-grams across their ends.",
                joined),
        Mistake("lowest-count", "You clip at the reference that has the n-gram least often. One reference that has it "
                "is enough: take the largest count.",
                precision(allowed=lowest)),
        Mistake("first-reference-only", "You use the first reference only.",
                precision(allowed=lambda counts: counts[0])),
        Mistake("last-reference-only", "You use the last reference only: the loop overwrites what the ones before "
                "gave.",
                precision(allowed=lambda counts: counts[-1])),
        Mistake("one-reference-for-all", "You took the reference that fits best, for all n-grams. Each n-gram has its "
                "own: one may come from the first reference, another from the second.",
                one_by_one(max)),
        Mistake("averaged-references", "You averaged over the references. Each n-gram takes the reference that has it "
                "most often.",
                one_by_one(lambda each: sum(each) / len(each))),
        Mistake("added-references", "You added up what fits in each reference. A word that two references have counts "
                "once: clip at the largest count.",
                one_by_one(sum), one_by_one(lambda each: min(1.0, sum(each)))),
        Mistake("types", "You count each different n-gram once. An n-gram that the sentence says twice counts twice, "
                "if a reference has it twice.",
                precision(cut=lambda words, n: Counter(grams(words, n).keys()))),
        Mistake("divided-by-types", "You divided by the number of different n-grams. Divide by all n-grams of the "
                "sentence.",
                precision(below=lambda said, sentence, references, n: len(said))),
        Mistake("matched-types", "You count each different n-gram that fits once. It counts as often as it is said, "
                "up to its limit.",
                precision(matches=lambda said, allowed: len(said.keys() & allowed.keys()))),
        Mistake("recall", "You divided by the number of the references' n-grams: that is the recall. Precision is the "
                "share of the sentence's own n-grams.",
                precision(below=lambda said, sentence, references, n: max(
                    1, sum(len(each) - n + 1 for each in references if len(each) >= n))),
                precision(below=lambda said, sentence, references, n: max(
                    1, reference_length(said, sentence, references, n) - n + 1)),
                precision(below=lambda said, sentence, references, n: max(1, len(references[0]) - n + 1)),
                precision(below=lambda said, sentence, references, n: max(
                    1, highest([grams(each, n) for each in references]).total()))),
        Mistake("divided-by-reference", "You divided by a reference's length. Precision is the share of the "
                "sentence's own n-grams.",
                precision(below=reference_length),
                precision(below=lambda said, sentence, references, n: len(references[0])),
                precision(below=lambda said, sentence, references, n: max(map(len, references)))),
        Mistake("divided-by-words", "You divided by the number of words. A sentence of T words has T − n + 1 n-grams.",
                precision(below=lambda said, sentence, references, n: len(sentence))),
        Mistake("last-missing", "The last n-gram is missing: there are T − n + 1 of them.",
                lambda sentence, references, n: precision(cut=lambda words, n: grams(words[:-1], n))(
                    sentence, references, n)),
        Mistake("single-words", "You count single words. n of them in a row are one n-gram.",
                lambda sentence, references, n: precision()(sentence, references, 1)),
        Mistake("with-shorter", "You count all n-grams up to n words. Here only those of n words count.",
                precision(cut=with_shorter)),
        Mistake("bleu-n", "You put p_1 to p_n together, as BLEU-n does. Here only p_n is wanted.",
                *BLEU, *map(penalised, BLEU)),
        Mistake("unordered", "You leave the order of the words inside an n-gram away. \"a dog\" and \"dog a\" are two.",
                precision(cut=lambda words, n: Counter(tuple(sorted(gram)) for gram in grams(words, n).elements())),
                precision(cut=lambda words, n: Counter(map(frozenset, grams(words, n).elements())))),
        Mistake("not-overlapping", "Your n-grams do not overlap. They begin at every word.",
                precision(cut=lambda words, n: Counter(
                    tuple(words[i:i + n]) for i in range(0, len(words) - n + 1, n)))),
        Mistake("short-sentence", "A sentence with fewer than n words has no n-grams: return 0, before you divide.",
                *(precision(short=short) for short in (lambda: 1.0, lambda: math.nan, zero_divided))),
        Mistake("as-text", "You look for the n-gram's letters in the reference's text: \"cat\" is found in "
                "\"caterpillar\", and nothing is clipped. Compare words.",
                as_text),
        Mistake("brevity-penalty", "You multiplied by the brevity penalty. It belongs to BLEU as a whole.",
                precision(finish=lambda p, sentence, references: p * brevity(sentence, references))),
        Mistake("per-cent", "You returned per cent. The precision is between 0 and 1.",
                precision(finish=lambda p, sentence, references: 100 * p)),
        Mistake("count-returned", "You returned how many n-grams fit. Divide by how many there are.",
                precision(below=lambda said, sentence, references, n: 1)),
    ),
    hints=(
        "Three counts: of the n-grams in the sentence, of the same in each reference, and the smaller of the two.",
        "`collections.Counter` counts tuples of words. For each n-gram of the sentence: its limit is the largest of "
        "its counts in the references.",
        "With `said = Counter(tuple(sentence[i:i + n]) for i in range(len(sentence) - n + 1))`, and a Counter like it "
        "for each reference: sum `min(said[gram], max(counts[gram] for counts in of_references))` over the different "
        "n-grams, and divide by the sum of all counts of `said`, if there are any.",
    ),
    tested="12 sentences: \"the the the\", several references, n = 1 to 4, words in another order, a sentence and a "
           "reference that are too short; inputs unchanged",
)
