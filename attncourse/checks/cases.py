"""The cases that many exercises use: the values and the gradients on given inputs."""

import copy
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from attncourse.checks.compare import Problem, difference, plain, show
from attncourse.checks.engine import Case


def call(answer: Callable, **inputs) -> object:
    """Call the answer with copies of the inputs, in their order, and see that it left them as they were."""
    given = copy.deepcopy(inputs)
    result = answer(*given.values())
    for name, value in inputs.items():
        if not callable(value) and difference(plain(given[name]), plain(value)):
            raise Problem("mutated-input", f"Your code changed its input {name} in place: make a new tensor instead "
                          "(no `+=`, no method that ends in `_`). Whoever called it may still need the old values.")
    return result


def describe(**inputs) -> str:
    return ", ".join(f"{name} = {show(value)}" for name, value in inputs.items())


def values(**inputs) -> Case:
    """The answer's output on these inputs, which are passed in their order."""
    return Case(describe(**inputs), lambda answer: call(answer, **inputs))


def as_float(result: object) -> object:
    """One number, also where a tensor or an array holds it, as a float: any way to compute it is welcome."""
    if isinstance(result, Tensor | np.ndarray | np.generic) and math.prod(result.shape) == 1:
        result = result.item()
    return float(result) if type(result) is int else result


def one_number(**inputs) -> Case:
    """The one number that the answer gives for these inputs, which are passed in their order."""
    return Case(describe(**inputs), lambda answer: as_float(call(answer, **inputs)))


def gradients(**inputs: Tensor) -> Case:
    """The gradients of a weighted sum of the output with respect to every input."""
    def probe(answer: Callable) -> list[Tensor]:
        leaves = [value.clone().requires_grad_() for value in inputs.values()]
        return gradients_of(answer(*leaves), leaves)

    return Case("the gradient at " + describe(**inputs), probe, "wrong-gradient",
                "The values are right, but the gradient is not: something cuts it (`detach`, `.data`, `.item()`, "
                "`no_grad`).")


def gradients_of(output: object, leaves: list[Tensor]) -> list[Tensor]:
    if type(output) is not Tensor or not output.requires_grad:
        raise Problem("no-gradient", "No gradient comes back through your code: something cuts it (`detach`, `.data`, "
                                     "`.item()`, `no_grad`).")
    weights = torch.arange(1, output.numel() + 1).cos().view(output.shape).to(output.dtype)
    return torch.autograd.grad((output * weights).sum(), leaves, allow_unused=True, materialize_grads=True)


def error_of(use: Callable[[], object]) -> str:
    """What use() raises: 'a ValueError' (a subclass of it, too), 'a KeyError', or 'no error'."""
    try:
        use()
    except ValueError:
        return "a ValueError"
    except Exception as error:
        return f"a {type(error).__name__}"
    return "no error"


def tensor(values: object) -> Tensor:
    """A float32 tensor on the CPU, whatever defaults the session has set."""
    return torch.tensor(values, dtype=torch.float32, device="cpu")


def randn(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator("cpu").manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")
