"""The cases of exercises that ask for a block: a class that makes an nn.Module.

A block's weights are random, and every answer names and orders its layers in its own way. So each block is filled with
known weights before it is used, and then an answer and the reference can be compared.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncourse.checks.cases import call, describe, gradients_of, randn
from attncourse.checks.compare import Problem, kind
from attncourse.checks.engine import Case, Mistake


@dataclass(frozen=True)
class BlockCases:
    """How an exercise makes blocks from an answer, and the cases that use them.

    In each case the arguments are what the block is made with; mode, ".train()", ".eval()" or nothing (a new block is
    in training mode), is what the learner reads behind them.
    """

    own: Callable  # the one answer that may be made of the course's classes
    ready: type | tuple[type, ...]  # those classes
    used: tuple[str, str]  # cause and message where another answer is made of them
    fill: Callable = lambda block, *arguments: None  # (block, what it was made with): copies known weights into it
    count: str = ""  # the message where the number of parameters is wrong
    refuse: Callable[[nn.Module], None] = lambda block: None  # raises a Problem about how the block is made
    instance: str = "You passed a block. Pass the class itself, with no parentheses behind it."
    name: str = "block"

    def new(self, answer: Callable, *arguments: object, **named: object) -> nn.Module:
        """The answer's block with the weights that it came with, or a Problem that says what is wrong with it."""
        if isinstance(answer, nn.Module):
            raise Problem("instance-passed", self.instance)
        block = answer(*arguments, **named)
        if not isinstance(block, nn.Module):
            raise Problem("not-a-module", f"Your class makes {kind(block)}, not an nn.Module: inherit from nn.Module.")
        if answer is not self.own and any(isinstance(module, self.ready) for module in block.modules()):
            raise Problem(*self.used)
        self.refuse(block)
        return block

    def build(self, answer: Callable, *arguments: object, mode: str = "", **named: object) -> nn.Module:
        """The answer's block with known weights."""
        block = self.new(answer, *arguments, **named)
        with torch.no_grad():
            self.fill(block, *arguments)
        return block.train(mode != ".eval()")

    def shown(self, *arguments: object, **named: object) -> str:
        """'YourBlock(8, reduction=2)'."""
        inside = [*map(str, arguments), *(f"{name}={value}" for name, value in named.items())]
        return f"Your{self.name.capitalize()}({', '.join(inside)})"

    def output(self, x: Tensor, *arguments: object, mode: str = "", **named: object) -> Case:
        def probe(answer: Callable) -> object:
            return call(self.build(answer, *arguments, mode=mode, **named).to(x.dtype), x=x)
        return Case(f"{self.name} = {self.shown(*arguments, **named)}{mode}; {describe(x=x)}", probe)

    def dtype(self, x: Tensor, *arguments: object, **named: object) -> Case:
        """Sums in bfloat16 depend on their order, so the values are not compared."""
        def probe(answer: Callable) -> object:
            output = call(self.build(answer, *arguments, **named).bfloat16(), x=x.bfloat16())
            return str(output.dtype) if isinstance(output, Tensor) else output
        return Case(f"{self.name} = {self.shown(*arguments, **named)}.bfloat16(); {describe(x=x)}, of bfloat16", probe,
                    "wrong-dtype", "In half precision your output is not of x's dtype: something in your code is of a "
                    "dtype of its own (`.float()`, a new tensor without `dtype=x.dtype`).")

    def parameters(self, *arguments: object, **named: object) -> Case:
        """Counted without known weights: to fill a wide block takes longer than to make it."""
        def probe(answer: Callable) -> int:
            return sum(p.numel() for p in self.new(answer, *arguments, **named).parameters())
        return Case(self.shown(*arguments, **named), probe, "parameter-count", self.count)

    def gradients(self, x: Tensor, *arguments: object, mode: str = "", **named: object) -> Case:
        """The gradient of x, and how many parameters get none."""
        def probe(answer: Callable) -> list:
            block, leaf = self.build(answer, *arguments, mode=mode, **named), x.clone().requires_grad_()
            gradient, *rest = gradients_of(block(leaf), [leaf, *block.parameters()])
            return [gradient, sum(not each.any() for each in rest)]
        return Case(f"the gradients of {self.shown(*arguments, **named)}{mode}", probe, "wrong-gradient",
                    "The values are right, but not every gradient is: something cuts it (`detach`, `.data`, "
                    "`no_grad`).")

    def modes(self, x: Tensor, *arguments: object, cause: str, message: str, **named: object) -> Case:
        def probe(answer: Callable) -> str:
            block = self.build(answer, *arguments, **named)
            return same(block.train()(x), block.eval()(x))
        return Case("the same x with block.train() and with block.eval()", probe, cause, message)

    def alone(self, x: Tensor, *arguments: object, mode: str = "", **named: object) -> Case:
        def probe(answer: Callable) -> str:
            block = self.build(answer, *arguments, mode=mode, **named)
            return same(block(x)[:1], block(x[:1].clone()))
        shown = f"one image in a batch of {len(x)}, and alone"
        depends = "image's output depends on the other images of its batch."
        if mode == ".eval()":
            return Case(f"{shown}, with block.eval()", probe, "batch-dependent", f"In evaluation mode, an {depends}")
        return Case(shown, probe, "batch-dependent", f"An {depends}")


def same(one: Tensor, other: Tensor) -> str:
    return "the same output" if torch.allclose(one, other, atol=1e-5) else "another output"


# --- known weights ---------------------------------------------------------------------------------------------------


def two_layers(p: Tensor, channels: int) -> Tensor:
    """Weights of the layers C → c' → C, from the shape alone, so that Linear and 1×1 Conv2d get the same numbers."""
    if p.ndim > 1:
        return randn(*p.shape, seed=100 + (p.shape[1] != channels)) * (len(p) / max(1, p.numel()))**0.5
    return randn(*p.shape, seed=200 + (len(p) != channels)).abs()  # above 0: some hidden unit stays alive


def fill_norms(block: nn.Module, weight: float, bias: float, mean: float, variance: float) -> None:
    """Put the same numbers into every channel of every BatchNorm."""
    numbers = {"weight": weight, "bias": bias, "running_mean": mean, "running_var": variance}
    for module in block.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            for name, value in numbers.items():
                if getattr(module, name) is not None:
                    getattr(module, name).fill_(value)


# --- wrong blocks ----------------------------------------------------------------------------------------------------


def variants(of: Callable) -> Callable:
    """After ``variant = variants(Variant)``, ``variant(bias=True)`` is a Variant with that part wrong."""
    return partial(partial, of)


def identity(value):
    return value


def lost_batch(x):
    """`squeeze()` without axes: (1, C, 1, 1) becomes (C,), and (B, 1, 1, 1) becomes (B,)."""
    return x.mean((2, 3), keepdim=True).squeeze()


def no_grad_mean(x):
    with torch.no_grad():
        return x.mean((2, 3))


FIXED_SIZE_MEANS = (
    *(lambda x, n=n: F.avg_pool2d(x, n).flatten(1) for n in (7, 8)),
    *(lambda x, n=n: F.avg_pool2d(x, n)[:, :, 0, 0] for n in (7, 8)),
    *(lambda x, n=n: x.sum((2, 3)) / n**2 for n in (7, 8)),
    lambda x: x.sum((2, 3)) / x.shape[2]**2, lambda x: x.sum((2, 3)) / x.shape[3]**2,
)


def gate_mistakes(variant: Callable, name: str) -> tuple[Mistake, ...]:
    """The mistakes in any block that averages x over space, makes gates s, (B, C), and scales x by them.

    Args:
        variant: makes a block with one of these parts wrong: pool(x), apply(x, s), detach.
        name: what the messages call the right block.
    """
    return (
        Mistake("returned-gate", "You returned the gate. Return x scaled by it.",
                variant(apply=lambda x, s: s[:, :, None, None]), variant(apply=lambda x, s: s),
                variant(apply=lambda x, s: s[:, :, None, None].expand_as(x))),
        Mistake("added-gate", "You added the gate to x. A gate scales: multiply.",
                variant(apply=lambda x, s: x + s[:, :, None, None])),
        Mistake("summed", f"You squeezed with a sum. {name} takes the mean.", variant(pool=lambda x: x.sum((2, 3)))),
        Mistake("maximum", f"You squeezed with the maximum. {name} takes the mean.",
                variant(pool=lambda x: x.amax((2, 3)))),
        Mistake("averaged-batch", "You averaged over the batch: one gate for all images. Each image gets its own.",
                variant(pool=lambda x: x.mean((0, 2, 3))[None]),
                variant(apply=lambda x, s: x * s.mean(0)[None, :, None, None])),
        Mistake("detached-gate", "You cut the gate off from the gradient: it could never be trained.",
                variant(detach=True)),
        Mistake("detached-squeeze",
                "You cut the squeeze off from x: the gradient of x misses the way through the gate.",
                variant(pool=no_grad_mean)),
    )
