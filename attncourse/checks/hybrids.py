"""Checkers of chapter 09: two gates in a row, the sequence as a block, what hybrids add, which differences stand."""

import copy
import math
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from attncourse.cam_sam import SpatialAttention
from attncourse.checks.blocks import BlockCases, variants
from attncourse.checks.cases import call, describe, error_of, gradients_of, randn, tensor
from attncourse.checks.compare import Problem
from attncourse.checks.engine import Case, Exercise, Mistake
from attncourse.eca import ECA, eca_kernel_size
from attncourse.hybrids import AttentionSequence


class ChannelMeans(nn.Module):
    """A gate to compute in the head: the mean of each channel, divided by 10."""

    def attention(self, x: Tensor) -> Tensor:
        return x.mean((2, 3), keepdim=True) / 10

    def forward(self, x: Tensor) -> Tensor:
        return x * self.attention(x)


class PositionMaxima(nn.Module):
    """Another: the largest value at each position, divided by 10."""

    def attention(self, x: Tensor) -> Tensor:
        return x.amax(1, keepdim=True) / 10

    def forward(self, x: Tensor) -> Tensor:
        return x * self.attention(x)


MEANS, MAXIMA = "the mean of each channel / 10", "the maximum at each position / 10"
SMALL = tensor([[[[1, 3]], [[8, 0]]]])  # two channels, two positions

# --- two_gates -------------------------------------------------------------------------------------------------------


def both_gates(x, first, second):
    s = first(x)
    return s * second(x * s)


def product_in_place(x, first, second):
    """`s *= …`: the first gate has no room for the product, and autograd still needs it."""
    s = first(x)
    s *= second(x * s)
    return s


def spread(gate: object, x: Tensor) -> object:
    """A gate of the size of x, whether the answer has left the spreading to broadcasting or not."""
    fits = isinstance(gate, Tensor) and gate.ndim == x.ndim and all(a in (1, b) for a, b in zip(gate.shape, x.shape))
    return gate.expand_as(x) if fits else gate


def by_hand(x: Tensor, first: nn.Module, second: nn.Module, words: tuple[str, str]) -> Case:
    shown = f"first(t) = {words[0]}, second(t) = {words[1]}, {describe(x=x)}"
    return Case(shown, lambda answer: spread(call(answer, x=x, first=first.attention, second=second.attention), x))


def real_gates(x: Tensor, spatial_first: bool = False) -> Case:
    def probe(answer: Callable) -> object:
        eca, sam = ECA(x.shape[1], 3).to(x.dtype), SpatialAttention(3, norm=False).to(x.dtype)  # seeded by the engine
        first, second = (sam, eca) if spatial_first else (eca, sam)
        return spread(call(answer, x=x, first=first.attention, second=second.attention), x)
    names = "a spatial gate, then ECA" if spatial_first else "ECA, then a spatial gate"
    return Case(f"{names}, {describe(x=x)}", probe)


def gate_gradients(answer: Callable) -> list:
    x, eca, sam = randn(2, 4, 3, 5, seed=8).requires_grad_(), ECA(4, 3), SpatialAttention(3, norm=False)
    leaves = [x, *eca.parameters(), *sam.parameters()]
    return gradients_of(answer(x, eca.attention, sam.attention), leaves)


two_gates = Exercise(
    id="hybrids.two_gates",
    title="Two gates in a row are one gate",
    reference=both_gates,
    cases=(
        by_hand(SMALL, ChannelMeans(), PositionMaxima(), (MEANS, MAXIMA)),
        by_hand(SMALL, PositionMaxima(), ChannelMeans(), (MAXIMA, MEANS)),
        by_hand(tensor([[[[2], [-4]], [[6], [1]]]]), ChannelMeans(), ChannelMeans(), (MEANS, MEANS)),
        real_gates(randn(1, 5, 3, 4, seed=1)),
        real_gates(randn(3, 4, 5, 2, seed=2), spatial_first=True),
        real_gates(randn(2, 7, 1, 1, seed=3).double()),
        Case("the gradients of x and of both gates' weights", gate_gradients, "wrong-gradient",
             "The values are right, but a gradient is not: something cuts it (`detach`, `.data`, `no_grad`)."),
    ),
    mistakes=(
        Mistake("second-saw-x", "Your second gate was computed on x. It must see the map that the first gate has "
                                "already scaled.",
                lambda x, first, second: first(x) * second(x)),
        Mistake("swapped-order", "You asked the second gate first.",
                lambda x, first, second: both_gates(x, second, first)),
        Mistake("lost-first-gate", "Your second gate sees the right map, but the first gate is lost.",
                lambda x, first, second: second(x * first(x))),
        Mistake("first-only", "You returned the first gate alone.", lambda x, first, second: first(x)),
        Mistake("second-only", "You returned the second gate alone.", lambda x, first, second: second(x)),
        Mistake("gates-as-blocks",
                "You passed the first gate on to `second`. `second` wants a map: x times the first gate.",
                lambda x, first, second: second(first(x)), lambda x, first, second: first(x) * second(first(x))),
        Mistake("returned-map", "You returned the scaled map. Return the gate: what x is to be multiplied with.",
                lambda x, first, second: x * both_gates(x, first, second),
                lambda x, first, second: x * first(x) * second(x), lambda x, first, second: x * second(x * first(x)),
                lambda x, first, second: x * first(x)),
        Mistake("divided-by-input", "You divided the scaled map by x. Where x is 0 that gives NaN, although there is a "
                                    "gate as well.",
                lambda x, first, second: x * both_gates(x, first, second) / x),
        Mistake("added-gates", "You added the gates. Gates in a row multiply.",
                lambda x, first, second: first(x) + second(x * first(x)),
                lambda x, first, second: first(x) + second(x)),
        Mistake("averaged-gates", "You averaged the gates. Gates in a row multiply.",
                lambda x, first, second: (first(x) + second(x * first(x))) / 2,
                lambda x, first, second: (first(x) + second(x)) / 2),
        Mistake("added-input", "Your second gate saw x plus the scaled map. There is no shortcut here.",
                lambda x, first, second: first(x) * second(x + x * first(x)),
                lambda x, first, second: first(x) * second(x + first(x))),
        Mistake("first-twice", "The first gate counts twice.",
                lambda x, first, second: both_gates(x, first, second) * first(x),
                lambda x, first, second: first(x) * second(x * first(x) * first(x))),
        Mistake("second-twice", "The second gate counts twice.",
                lambda x, first, second: both_gates(x, first, second) * second(x * first(x)),
                lambda x, first, second: first(x) * second(x * both_gates(x, first, second))),
        Mistake("sigmoid-again", "You took a sigmoid of a gate: `first` and `second` return finished gates.",
                lambda x, first, second: both_gates(x, first, second).sigmoid(),
                lambda x, first, second: first(x) * second(x * first(x)).sigmoid()),
        Mistake("written-into-a-gate",
                "`s *= …` writes the product into the first gate, (B, C, 1, 1), where it has no room, and autograd "
                "still needs the old values. Write `s * …`: that makes a new tensor.",
                product_in_place),
        Mistake("detached", "You cut a gate off from the map that it saw: no gradient flows back through it.",
                lambda x, first, second: first(x) * second((x * first(x)).detach()),
                lambda x, first, second: first(x).detach() * second(x * first(x))),
    ),
    hints=(
        "`s` is the first gate. Which map does the second gate have to look at?",
        "`second(...)` gives a gate for the map in its brackets. Ask it about x scaled by `s`; two gates in a row "
        "multiply.",
        "The line is `return s * second(...)`, and in the brackets is not x alone.",
    ),
    tested="both orders of a gate per channel and a gate per position, by hand and with ECA and SAM; one image and "
           "several, 1×1, float64; the gradients of x and of both gates; x unchanged",
)

# --- sequence --------------------------------------------------------------------------------------------------------


build = BlockCases(
    own=AttentionSequence,
    ready=AttentionSequence,
    used=("used-the-courses", "Your class uses the course's AttentionSequence. Write the methods yourself."),
).new


def asked(sequence: nn.Module) -> Callable:
    """The sequence's `attention`; what goes wrong inside it is another matter."""
    if not callable(getattr(type(sequence), "attention", None)):
        raise Problem("no-attention", "Your class has no method `attention`: what runs the blocks does not yet know of "
                                      "gates (nn.Sequential has none either).")
    return sequence.attention


def toys(number: int) -> list[nn.Module]:
    return [ChannelMeans(), PositionMaxima(), ChannelMeans()][:number]


def reals(number: int) -> list[nn.Module]:
    """Blocks with the same weights each time: the engine seeds before every probe."""
    return [ECA(6, 3), SpatialAttention(3, norm=False), ECA(6, 5)][:number]


def names(blocks: Callable, number: int) -> str:
    words = ("means", "maxima", "means") if blocks is toys else ("eca", "sam", "eca")
    return ", ".join(words[:number])


def toy_words(blocks: Callable) -> str:
    return f" (means: {MEANS}; maxima: {MAXIMA})" if blocks is toys else ""


def output(blocks: Callable, number: int, x: Tensor) -> Case:
    shown = f"YourSequence({names(blocks, number)})(x){toy_words(blocks)}, {describe(x=x)}"
    return Case(shown, lambda answer: call(build(answer, *blocks(number)), x=x))


def gate(blocks: Callable, number: int, x: Tensor) -> Case:
    shown = f"YourSequence({names(blocks, number)}).attention(x){toy_words(blocks)}, {describe(x=x)}"

    def probe(answer: Callable) -> object:
        result = call(asked(build(answer, *blocks(number))), x=x)
        return spread(result, x)
    return Case(shown, probe, "wrong-gate",
                "The output is right, but `attention` is not the product of all the gates that made it.")


def registered(answer: Callable) -> int:
    return sum(p.numel() for p in build(answer, ECA(6, 3), SpatialAttention(7)).parameters())


def shared(answer: Callable) -> Tensor:
    """The output after the given blocks have learnt something."""
    eca, sam = reals(2)
    sequence = build(answer, eca, sam)
    with torch.no_grad():
        for parameter in (*eca.parameters(), *sam.parameters()):
            parameter.copy_(randn(*parameter.shape, seed=5))
    return sequence(randn(2, 6, 3, 4, seed=6))


def evaluated(answer: Callable) -> Tensor:
    """In evaluation mode BatchNorm must use its stored statistics: eval() has to reach the blocks."""
    sequence = build(answer, ECA(6, 3), SpatialAttention(3)).eval()
    return sequence(randn(2, 6, 3, 4, seed=7))


def sequence_gradients(answer: Callable) -> list:
    blocks, x = reals(3), randn(2, 6, 3, 4, seed=8).requires_grad_()
    leaves = [x, *(p for block in blocks for p in block.parameters())]
    return gradients_of(build(answer, *blocks)(x), leaves)


def attention_gradients(answer: Callable) -> list:
    blocks, x = reals(2), randn(2, 6, 3, 4, seed=9).requires_grad_()
    leaves = [x, *(p for block in blocks for p in block.parameters())]
    return gradients_of(asked(build(answer, *blocks))(x), leaves)


def one_after_the_other(blocks, x):
    for each in blocks:
        x = each(x)
    return x


def whole_gate(blocks, x):
    product = 1
    for each in blocks:
        product = product * each.attention(x * product)
    return product


def side_by_side(blocks, x):
    return math.prod(each.attention(x) for each in blocks)


def accumulated(blocks, x, start=1):
    """The error of scaling the scaled map by the whole gate again: the first gate acts twice on the third block."""
    product = start
    for each in blocks:
        product = product * each.attention(x)
        x = x * product
    return product, x


def gates_of(blocks, x):
    gates = []
    for each in blocks:
        gates.append(each.attention(x))
        x = x * gates[-1]
    return gates


def written_into(blocks, x, seen=lambda x, product: x * product, passed=lambda each, x: x):
    """`gate *= …` where the first gate is too small to hold the product."""
    product = 1
    for each in blocks:
        product *= each.attention(seen(x, product))
        x = passed(each, x)
    return product


def multiplied_in_place(blocks, x):
    y = x.clone()
    for each in blocks:
        y *= each.attention(y)
    return y


def without_gradient(blocks, x):
    with torch.no_grad():
        return whole_gate(blocks, x)


class Variant(nn.Module):
    """A sequence with one thing wrong: each argument is the right part unless a mistake replaces it."""

    def __init__(self, *blocks, out=one_after_the_other, att=whole_gate, keep=nn.ModuleList):
        super().__init__()
        self.blocks, self.out, self.att = keep(blocks), out, att

    def forward(self, x):
        return self.out(self.blocks, x)

    def attention(self, x):
        return self.att(self.blocks, x)


variant = variants(Variant)

sequence = Exercise(
    id="hybrids.sequence",
    title="A sequence that is a block",
    reference=AttentionSequence,
    cases=(
        output(toys, 2, SMALL),
        gate(toys, 2, SMALL),
        gate(toys, 2, tensor([[[[0, 3]], [[0, 5]]]])),
        output(toys, 1, SMALL),
        gate(toys, 1, SMALL),
        output(toys, 3, SMALL),
        gate(toys, 3, SMALL),
        output(reals, 2, randn(2, 6, 3, 5, seed=1)),
        gate(reals, 2, randn(2, 6, 3, 5, seed=1)),
        output(reals, 3, randn(1, 6, 4, 2, seed=2)),
        gate(reals, 3, randn(3, 6, 4, 2, seed=3)),
        Case("the parameters of YourSequence(ECA(6, kernel_size=3), SpatialAttention(7))", registered,
             "parameter-count", "The sequence has another number of parameters than its blocks together."),
        Case("the output after the given blocks' weights have changed", shared, "stale-blocks",
             "The sequence does not follow when the blocks that you were given learn."),
        Case("the output after .eval(), with BatchNorm in the spatial block", evaluated, "eval-does-not-reach",
             "`.eval()` does not reach the blocks."),
        Case("the gradients of x and of all blocks' weights", sequence_gradients, "wrong-gradient",
             "The values are right, but not every gradient is: something cuts it (`detach`, `.data`, `no_grad`)."),
        Case("the gradients through attention(x)", attention_gradients, "wrong-gradient",
             "The gates are right, but not every gradient through them is: something cuts it."),
    ),
    mistakes=(
        Mistake("blocks-not-registered",
                "Your blocks sit in a plain list. nn.Module does not look inside lists: no optimizer would find their "
                "weights, and neither `.eval()` nor `.to(device)` reaches them. Use nn.ModuleList.",
                variant(keep=list), variant(keep=tuple)),
        Mistake("second-saw-x", "Every block of yours looks at x. Each must see what the one before it let through.",
                variant(out=lambda blocks, x: x * side_by_side(blocks, x), att=side_by_side),
                variant(out=lambda blocks, x: x * side_by_side(blocks, x))),
        Mistake("attention-saw-x",
                "`forward` is right, but in `attention` every gate is computed on x. The second one has to see the "
                "map that the first has scaled, as in `forward`.",
                variant(att=side_by_side)),
        Mistake("reversed-order", "The blocks run in the wrong order: the first given comes first.",
                variant(out=lambda blocks, x: one_after_the_other(blocks[::-1], x),
                        att=lambda blocks, x: whole_gate(blocks[::-1], x)),
                variant(att=lambda blocks, x: whole_gate(blocks[::-1], x)),
                variant(out=lambda blocks, x: one_after_the_other(blocks[::-1], x))),
        Mistake("last-gate-only", "`attention` returns the last gate alone. The gate of the sequence is the product of "
                                  "all of them.",
                variant(att=lambda blocks, x: gates_of(blocks, x)[-1]),
                variant(att=lambda blocks, x: blocks[-1].attention(x))),
        Mistake("first-gate-only", "`attention` returns the first gate alone. The gate of the sequence is the product "
                                   "of all of them.",
                variant(att=lambda blocks, x: blocks[0].attention(x))),
        Mistake("attention-returned-map", "`attention` returns the scaled map. It must return the gate: what x is to "
                                          "be multiplied with.",
                variant(att=one_after_the_other)),
        Mistake("divided-by-input",
                "`attention` divides the output by x. Where x is 0 that gives NaN, although there is a gate as well.",
                variant(att=lambda blocks, x: one_after_the_other(blocks, x) / x)),
        Mistake("divided-by-nearly-input",
                "`attention` divides the output by x and a small number. Where x is 0 that gives 0, although there is "
                "a gate as well.",
                *(variant(att=lambda blocks, x, e=e: one_after_the_other(blocks, x) / (x + e))
                  for e in (1e-12, 1e-10, 1e-8, 1e-7, 1e-6))),
        Mistake("summed-gates", "`attention` adds the gates. Gates in a row multiply.",
                variant(att=lambda blocks, x: sum(gates_of(blocks, x))),
                variant(att=lambda blocks, x: sum(each.attention(x) for each in blocks))),
        Mistake("averaged-gates", "`attention` averages the gates. Gates in a row multiply.",
                variant(att=lambda blocks, x: sum(gates_of(blocks, x)) / len(blocks)),
                variant(att=lambda blocks, x: sum(each.attention(x) for each in blocks) / len(blocks))),
        Mistake("written-into-a-gate",
                "`gate *= …` writes the product into the first gate, (B, C, 1, 1), where it has no room. Write `gate = "
                "gate * …`: that makes a new tensor.",
                variant(att=written_into), variant(att=partial(written_into, seen=lambda x, product: x)),
                variant(att=partial(written_into, seen=lambda x, product: x, passed=lambda each, x: each(x)))),
        Mistake("list-of-gates", "`attention` returns the single gates. Multiply them to one.",
                variant(att=gates_of), variant(att=lambda blocks, x: tuple(gates_of(blocks, x)))),
        Mistake("two-blocks-only", "Your sequence uses the first two blocks and forgets the others.",
                variant(out=lambda blocks, x: one_after_the_other(blocks[:2], x),
                        att=lambda blocks, x: whole_gate(blocks[:2], x)),
                variant(att=lambda blocks, x: whole_gate(blocks[:2], x)),
                variant(out=lambda blocks, x: one_after_the_other(blocks[:2], x))),
        Mistake("asked-too-late", "You scaled the map with a block and asked for that block's gate afterwards. Ask "
                                  "first, then scale.",
                variant(att=lambda blocks, x: math.prod(
                    each.attention(one_after_the_other(blocks[:n + 1], x)) for n, each in enumerate(blocks)))),
        Mistake("gates-accumulate",
                "With three blocks the first gate counts twice: you scaled a map that was scaled already by the "
                "product of *all* gates so far. Multiply x by the product, or the scaled map by the new gate alone.",
                variant(att=lambda blocks, x: accumulated(blocks, x)[0]),
                variant(att=lambda blocks, x: accumulated(blocks, x)[0],
                        out=lambda blocks, x: accumulated(blocks, x)[1]),
                variant(out=lambda blocks, x: accumulated(blocks, x)[1])),
        Mistake("forward-returned-gate", "`forward` returns the gate. It must return x scaled by it.",
                variant(out=whole_gate), variant(out=lambda blocks, x: whole_gate(blocks, x).expand_as(x))),
        Mistake("gated-twice", "`forward` scales what the blocks have scaled already: each block returns a map, not a "
                               "gate.",
                variant(out=lambda blocks, x: one_after_the_other(blocks, x) * whole_gate(blocks, x)),
                variant(out=lambda blocks, x: x * one_after_the_other(blocks, x)),
                variant(out=lambda blocks, x: one_after_the_other([lambda t, b=b: t * b(t) for b in blocks], x))),
        Mistake("in-place", "`y *= …` overwrites values that autograd still needs. Write `y = y * …`.",
                variant(out=multiplied_in_place)),
        Mistake("added-input", "You added x to a block's output. There is no shortcut here.",
                variant(out=lambda blocks, x: x + one_after_the_other(blocks, x)),
                variant(out=lambda blocks, x: one_after_the_other([lambda t, b=b: t + b(t) for b in blocks], x))),
        Mistake("copied-blocks", "You copied the blocks: when those that you were given learn, yours do not.",
                variant(keep=lambda blocks: nn.ModuleList(map(copy.deepcopy, blocks)))),
        Mistake("detached-attention", "You cut `attention` off from the gradient (`no_grad`, `detach`).",
                variant(att=without_gradient), variant(att=lambda blocks, x: whole_gate(blocks, x).detach()),
                variant(att=lambda blocks, x: whole_gate(blocks, x.detach()))),
    ),
    hints=(
        "`forward` is a loop over the blocks. `attention` is the same loop; what does it have to keep beside the map?",
        "Keep the product of the gates so far. The next block is asked about x times that product, and its gate is "
        "multiplied in.",
        "`self.blocks = nn.ModuleList(blocks)`; `attention` starts with `gate = 1` and in the loop does `gate = gate * "
        "block.attention(...)`, with x times the gate so far in the brackets.",
    ),
    tested="one, two and three blocks, by hand and with ECA and SAM; output and gate, also where x is 0; parameters "
           "registered; the blocks themselves, not copies; eval(); gradients of x and of every block through both",
)

# --- hybrid_parameters -----------------------------------------------------------------------------------------------


def added(channels, widths, spatial, *, k=eca_kernel_size, sam=lambda c: 2 * 49 + 2,
          conv=lambda c, w: 385 * c + 46_200, linear=lambda c, w: 257 * w + 18_316):
    parts = {"sam": lambda c, w: sam(c), "conv": conv, "linear": linear}
    if spatial not in parts:
        raise ValueError(f"unknown spatial block {spatial!r}")
    return sum(k(c) + parts[spatial](c, w) for c, w in zip(channels, widths))


def counting(**wrong: Callable) -> Callable:
    return partial(added, **wrong)


def every(places: slice) -> Callable:
    """The count of some of the places."""
    return lambda channels, widths, spatial: added(channels[places], widths[places], spatial)


def rounded_down(c):
    t = int(abs((math.log2(c) + 1) / 2))
    return t if t % 2 else max(1, t - 1)


def bill(channels: list[int], widths: list[int], spatial: str) -> Case:
    inputs = {"channels": channels, "widths": widths, "spatial": spatial}
    return Case(describe(**{**inputs, "spatial": repr(spatial)}), lambda answer: call(answer, **inputs))


def unknown_spatial(answer: Callable) -> str:
    return error_of(lambda: answer([64], [32], "bam"))


FOUR, WIDTHS = [64, 64, 128, 128], [32, 30, 15, 13]

hybrid_parameters = Exercise(
    id="hybrids.hybrid_parameters",
    title="What a hybrid adds to a network",
    reference=added,
    cases=(
        bill([2], [5], "sam"),
        bill([64], [32], "sam"),
        bill([64], [32], "conv"),
        bill([64], [32], "linear"),
        bill([16, 128], [7, 3], "sam"),
        bill([16, 128, 2048], [7, 3, 9], "linear"),
        bill([16, 100, 30], [7, 3, 9], "conv"),
        bill(FOUR, WIDTHS, "sam"),
        bill(FOUR, WIDTHS, "conv"),
        bill(FOUR, WIDTHS, "linear"),
        Case("spatial = 'bam'", unknown_spatial, "unknown-spatial",
             "An unknown spatial block must raise a ValueError: a typing error would otherwise count another network."),
    ),
    mistakes=(
        Mistake("eca-forgotten", "ECA's own weights are missing: k at each place.", counting(k=lambda c: 0)),
        Mistake("eca-always-3", "You took k = 3 everywhere, as the report's code does. Here k follows the formula.",
                counting(k=lambda c: 3)),
        Mistake("eca-rounded-down", "Where the formula gives an even number you took the odd one below. It is the one "
                                    "above.", counting(k=rounded_down)),
        Mistake("eca-even", "Your k is even at some places. `eca_kernel_size` makes it odd.",
                counting(k=lambda c: int(abs((math.log2(c) + 1) / 2)))),
        Mistake("eca-per-channel", "You gave each channel k weights of its own. ECA shares k weights among them all.",
                counting(k=lambda c: c * eca_kernel_size(c))),
        Mistake("eca-with-bias", "You counted a bias for ECA. Its convolution has none.",
                counting(k=lambda c: eca_kernel_size(c) + 1)),
        Mistake("one-per-stage", "You counted one hybrid per stage. That is what the report's code builds; there are "
                                 "as many as there are places.", every(slice(None, None, 2)),
                every(slice(1, None, 2))),
        Mistake("one-place-only", "You counted one place. Add up all of them.",
                every(slice(1)), every(slice(-1, None))),
        Mistake("no-batch-norm", "SAM's BatchNorm has two parameters, a scale and an offset.",
                counting(sam=lambda c: 98)),
        Mistake("buffers-counted", "You counted BatchNorm's running statistics. They are not trained.",
                counting(sam=lambda c: 103)),
        Mistake("four-for-batch-norm", "BatchNorm has one channel here: 2 parameters. You have 4: two channels, or the "
                                       "running statistics.", counting(sam=lambda c: 102)),
        Mistake("sam-with-bias", "You counted a bias for SAM's convolution. BatchNorm follows, so it has none.",
                counting(sam=lambda c: 101), counting(sam=lambda c: 99)),
        Mistake("one-pool", "SAM's convolution reads two maps, the average and the maximum: 2 · 7 · 7 weights.",
                counting(sam=lambda c: 51), counting(sam=lambda c: 49)),
        Mistake("sam-reads-channels", "You let SAM's convolution read all C channels. It reads their average and their "
                                      "maximum: two maps.",
                counting(sam=lambda c: 49 * c + 2), counting(sam=lambda c: 49 * c), counting(sam=lambda c: 98 * c + 2)),
        Mistake("kernel-not-squared", "A 7 × 7 kernel has 49 weights for each map that it reads.",
                counting(sam=lambda c: 2 * 7 + 2), counting(sam=lambda c: 2 * 7)),
        Mistake("swapped-channels-and-widths",
                "You swapped the two lists: the convolutional autoencoder depends on the channels, the linear one on "
                "the width.",
                counting(conv=lambda c, w: 385 * w + 46_200, linear=lambda c, w: 257 * c + 18_316),
                counting(linear=lambda c, w: 257 * c + 18_316), counting(conv=lambda c, w: 385 * w + 46_200)),
        Mistake("constant-once", "You added the constant part of the autoencoder once. Every place has its own.",
                lambda channels, widths, spatial: added(channels, widths, spatial) - (len(channels) - 1) *
                {"sam": 0, "conv": 46_200, "linear": 18_316}[spatial]),
        Mistake("constant-forgotten", "The constant part of the autoencoder is missing.",
                counting(conv=lambda c, w: 385 * c, linear=lambda c, w: 257 * w)),
        Mistake("whole-network", "You added the network itself. Return what the hybrids add.",
                lambda *arguments: added(*arguments) + 2_625_866),
        Mistake("unknown-spatial-accepted", "An unknown spatial block has to end in a raised ValueError that names it.",
                lambda channels, widths, spatial: added(channels, widths,
                                                        spatial if spatial in ("sam", "conv") else "linear"),
                lambda channels, widths, spatial: added(channels, widths,
                                                        spatial if spatial in ("linear", "conv") else "sam"),
                lambda channels, widths, spatial: added(channels, widths,
                                                        spatial if spatial in ("linear", "sam") else "conv"),
                lambda channels, widths, spatial: None if spatial == "bam" else added(channels, widths, spatial)),
        Mistake("key-error", "An unknown word ends in a KeyError: make it a ValueError that names the word.",
                lambda channels, widths, spatial: added(channels, widths, {"sam": "sam", "conv": "conv",
                                                                           "linear": "linear"}[spatial])),
    ),
    hints=(
        "Each place costs ECA's k and the spatial block's own parameters. Which of the three depends on C, which on W, "
        "and which on neither?",
        "SAM: 2 · 7 · 7 weights and two for BatchNorm. Convolutional autoencoder: 385·C + 46,200. Linear: 257·W + "
        "18,316. `eca_kernel_size(C)` gives k.",
        "`sum(eca_kernel_size(c) + ... for c, w in zip(channels, widths))`, the dots chosen by an `if` on `spatial`; "
        "end with `raise ValueError(...)`.",
    ),
    tested="one place and several, C of 2 to 2,048, all three spatial blocks, and the four places of the course's CNN: "
           "416, 332,656 and 96,410; an unknown block raises a ValueError",
)

# --- difference_interval ---------------------------------------------------------------------------------------------


def interval(mean_a, std_a, n_a, mean_b, std_b, n_b, t):
    half_width = t * math.sqrt(std_a**2 / n_a + std_b**2 / n_b)
    return mean_a - mean_b - half_width, mean_a - mean_b + half_width


def width_of(error: Callable) -> Callable:
    """A wrong answer whose standard error is error(std_a, n_a, std_b, n_b)."""
    def wrong(mean_a, std_a, n_a, mean_b, std_b, n_b, t):
        half_width = t * error(std_a, n_a, std_b, n_b)
        return mean_a - mean_b - half_width, mean_a - mean_b + half_width
    return wrong


def with_t(other: float) -> Callable:
    return lambda *arguments: interval(*arguments[:-1], other)


def pooled(sa, na, sb, nb):
    return math.sqrt(((na - 1) * sa**2 + (nb - 1) * sb**2) / (na + nb - 2) * (1 / na + 1 / nb))


def ends(mean, std, n, t):
    return mean - t * std / math.sqrt(n), mean + t * std / math.sqrt(n)


def two_ends(*arguments: float) -> Case:
    inputs = dict(zip(("mean_a", "std_a", "n_a", "mean_b", "std_b", "n_b", "t"), arguments))

    def probe(answer: Callable) -> object:
        result = call(answer, **inputs)
        if isinstance(result, Tensor | np.ndarray) and result.ndim == 1:
            return result.tolist()
        if not isinstance(result, tuple | list):
            return result
        return [each.item() if isinstance(each, Tensor | np.ndarray) and each.ndim == 0 else each for each in result]
    return Case(describe(**inputs), probe)


difference_interval = Exercise(
    id="hybrids.difference_interval",
    title="Which differences of the table stand?",
    reference=lambda *arguments: list(interval(*arguments)),
    cases=(
        two_ends(5.0, 3.0, 9, 2.0, 4.0, 16, 2.0),
        two_ends(1.0, 2.0, 4, 4.0, 0.0, 4, 3.0),
        two_ends(66.7, 1.8, 16, 64.2, 2.6, 16, 2.06),
        two_ends(66.9, 1.4, 16, 66.7, 1.8, 16, 2.05),
        two_ends(0.607, 0.032, 16, 0.602, 0.026, 8, 2.12),
        two_ends(70.0, 1.0, 5, 71.0, 6.0, 50, 2.2),
    ),
    mistakes=(
        Mistake("reversed", "You took b − a. The difference is a − b.",
                lambda a, sa, na, b, sb, nb, t: interval(b, sb, nb, a, sa, na, t)),
        Mistake("standard-deviations",
                "You used the standard deviations as they are: they tell how far single runs stray. The mean of n runs "
                "strays √n times less.",
                width_of(lambda sa, na, sb, nb: math.hypot(sa, sb)), width_of(lambda sa, na, sb, nb: sa + sb),
                width_of(lambda sa, na, sb, nb: max(sa, sb)), width_of(lambda sa, na, sb, nb: (sa + sb) / 2)),
        Mistake("added-errors",
                "You added the two standard errors, which is what one does when looking whether two intervals overlap. "
                "Errors that know nothing of each other add in squares: √(e_a² + e_b²).",
                width_of(lambda sa, na, sb, nb: sa / math.sqrt(na) + sb / math.sqrt(nb))),
        Mistake("subtracted-variances", "You subtracted the variances. The difference of two uncertain numbers is less "
                                        "certain than either: add them.",
                width_of(lambda sa, na, sb, nb: math.sqrt(abs(sa**2 / na - sb**2 / nb))),
                width_of(lambda sa, na, sb, nb: abs(sa / math.sqrt(na) - sb / math.sqrt(nb)))),
        Mistake("divided-by-n", "You divided the standard deviations by n. The error of a mean shrinks with √n.",
                width_of(lambda sa, na, sb, nb: math.hypot(sa / na, sb / nb)),
                width_of(lambda sa, na, sb, nb: sa / na + sb / nb),
                width_of(lambda sa, na, sb, nb: math.hypot(sa, sb) / na),
                width_of(lambda sa, na, sb, nb: math.hypot(sa, sb) / nb)),
        Mistake("no-root", "The root is missing: you have the variance of the difference.",
                width_of(lambda sa, na, sb, nb: sa**2 / na + sb**2 / nb)),
        Mistake("t-inside-root", "You took t into the root. There it would have to be squared: write t · √(…).",
                lambda a, sa, na, b, sb, nb, t: [
                    a - b + sign * math.sqrt(t * (sa**2 / na + sb**2 / nb)) for sign in (-1, 1)]),
        Mistake("averaged-n", "You averaged the two numbers of runs. Each variance is divided by its own.",
                width_of(lambda sa, na, sb, nb: math.hypot(sa, sb) / math.sqrt((na + nb) / 2))),
        Mistake("squares-forgotten", "You added standard deviations under the root. Their squares add.",
                width_of(lambda sa, na, sb, nb: math.sqrt(sa / na + sb / nb))),
        Mistake("n-minus-1", "You divided by n − 1. That is inside the standard deviation already; the mean's error "
                             "has n.",
                width_of(lambda sa, na, sb, nb: math.sqrt(sa**2 / (na - 1) + sb**2 / (nb - 1)))),
        Mistake("one-network", "You used the spread of one network. Both means are uncertain.",
                width_of(lambda sa, na, sb, nb: sa / math.sqrt(na)),
                width_of(lambda sa, na, sb, nb: sb / math.sqrt(nb)),
                width_of(lambda sa, na, sb, nb: max(sa / math.sqrt(na), sb / math.sqrt(nb)))),
        Mistake("one-n", "Each variance is divided by its own number of runs.",
                width_of(lambda sa, na, sb, nb: math.hypot(sa, sb) / math.sqrt(na)),
                width_of(lambda sa, na, sb, nb: math.hypot(sa, sb) / math.sqrt(nb)),
                width_of(lambda sa, na, sb, nb: math.hypot(sa, sb) / math.sqrt(na + nb)),
                width_of(lambda sa, na, sb, nb: math.sqrt(sa**2 / nb + sb**2 / na))),
        Mistake("pooled", "You pooled the two variances, which assumes that both networks scatter alike. Here each "
                          "keeps its own: std_a² / n_a + std_b² / n_b.",
                width_of(pooled),
                width_of(lambda sa, na, sb, nb: math.sqrt((sa**2 + sb**2) / 2 * (1 / na + 1 / nb))),
                width_of(lambda sa, na, sb, nb: (sa + sb) / 2 * math.sqrt(1 / na + 1 / nb))),
        Mistake("no-t", "You left t out: one standard error to each side covers about two cases in three.",
                with_t(1.0)),
        Mistake("fixed-t",
                "You took a number of your own for t. With few runs t is larger than 1.96: use the argument.",
                with_t(1.96), with_t(2.0), with_t(2.04), with_t(2.05)),
        Mistake("half-t", "Your interval is half as wide as it should be: t standard errors to *each* side.",
                width_of(lambda sa, na, sb, nb: math.sqrt(sa**2 / na + sb**2 / nb) / 2)),
        Mistake("swapped-ends", "You returned the upper end first.", lambda *arguments: interval(*arguments)[::-1]),
        Mistake("one-end", "You returned one end. Return both: `return low, high`.",
                lambda *arguments: interval(*arguments)[0], lambda *arguments: interval(*arguments)[1]),
        Mistake("difference-and-width", "You returned the difference and half the width. Return the two ends.",
                lambda a, sa, na, b, sb, nb, t: (a - b, t * math.sqrt(sa**2 / na + sb**2 / nb))),
        Mistake("absolute-difference", "You took the size of the difference: a loss then looks like a gain.",
                lambda a, sa, na, b, sb, nb, t: interval(max(a, b), sa, na, min(a, b), sb, nb, t)),
        Mistake("subtracted-ends", "You subtracted end from end. The uncertainties add, they do not cancel.",
                lambda a, sa, na, b, sb, nb, t: tuple(x - y for x, y in zip(ends(a, sa, na, t), ends(b, sb, nb, t)))),
        Mistake("interval-of-one", "That is the interval of one mean. Asked is the interval of a − b.",
                lambda a, sa, na, b, sb, nb, t: ends(a, sa, na, t), lambda a, sa, na, b, sb, nb, t: ends(b, sb, nb, t)),
        Mistake("verdict",
                "You returned the verdict. Return the two ends; whoever reads them sees whether 0 is inside.",
                lambda *arguments: interval(*arguments)[0] > 0 or interval(*arguments)[1] < 0),
    ),
    hints=(
        "How uncertain is one mean of n runs? How uncertain is the difference of two such means?",
        "The squared error of a mean is std² / n. Those of two independent means add; the root of the sum is the "
        "standard error of the difference.",
        "`half = t * math.sqrt(std_a**2 / n_a + ...)`; the ends are `mean_a - mean_b` minus and plus `half`.",
    ),
    tested="equal and different numbers of runs, differences of either sign, a network that does not scatter, rows of "
           "the report's table",
)
