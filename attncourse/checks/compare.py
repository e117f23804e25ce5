"""Comparing what an answer returned with what it should have returned, and showing both to the learner."""

import numbers

import numpy as np
import torch
from torch import Tensor, nn

SHOWN = 12  # tensors with more elements are described, not printed
RTOL, ATOL = 1e-4, 1e-5  # wide enough for another order of summation in float32


class Problem(Exception):
    """A probe's way to say that the answer did something that cannot be compared, such as returning nothing."""

    def __init__(self, cause: str, message: str):
        super().__init__(message)
        self.cause, self.message = cause, message


def plain(value: object) -> object:
    """A copy that the answer holds no handle on: tensors detached, numbers of NumPy as Python's."""
    if value is None:
        raise Problem("returned-nothing", "Your function returned nothing: did you forget `return`?")
    if type(value) in (Tensor, nn.Parameter) and value.layout == torch.strided and not value.is_quantized:
        return value.detach().clone()
    if type(value) in (bool, str):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    if type(value) in (tuple, list):
        if any(each is None for each in value):
            raise Problem("none-inside", f"Your code returned {kind(value)} with a None in it: give each part a value.")
        return type(value)(map(plain, value))
    raise Problem("wrong-type", f"Your code returned {kind(value)}, which is not what the exercise asks for.")


def difference(got: object, expected: object) -> tuple[str, str] | None:
    """None if the two agree, else a cause and a message."""
    if isinstance(expected, Tensor) and isinstance(got, Tensor):
        if got.shape != expected.shape:
            return "wrong-shape", f"The shape is {tuple(got.shape)}, and should be {tuple(expected.shape)}."
        if got.device != expected.device:
            return "wrong-device", f"The result is on the device {got.device}, and should be on {expected.device}."
        if got.dtype != expected.dtype:
            return "wrong-dtype", f"The result is {got.dtype}, and should be {expected.dtype}."
        if torch.allclose(got.double(), expected.double(), RTOL, ATOL, equal_nan=True):
            return None
        if not got.isfinite().all() and expected.isfinite().all():
            return "not-finite", "The result contains NaN or infinity."
        return "wrong-values", ""
    if isinstance(expected, tuple | list) and isinstance(got, tuple | list):
        if len(got) != len(expected):
            return "wrong-length", f"There should be {len(expected)} values, and not {len(got)}."
        return next(filter(None, map(difference, got, expected)), None)
    if isinstance(expected, float) and type(got) in (int, float):
        return difference(torch.tensor(float(got)), torch.tensor(expected))
    if type(got) is float and type(expected) is int and got == expected:
        return "float-returned", "The number is right, but it is a float: a count is a whole number, an `int`."
    if type(got) is not type(expected):
        return "wrong-type", f"Your code returned {kind(got)}, and should return {kind(expected)}."
    return None if got == expected else ("wrong-values", "")


def comparison(got: object, expected: object) -> str:
    """'Expected …, got …', or for large tensors the position where they differ most."""
    same_shape = isinstance(got, Tensor) and isinstance(expected, Tensor) and got.shape == expected.shape
    if same_shape and got.numel() > SHOWN:
        gap = (got.double() - expected.double()).abs().nan_to_num(torch.inf)
        at = tuple(map(int, np.unravel_index(int(gap.argmax()), gap.shape)))  # torch's own imports sympy: 2 s
        return f"At position {at}: expected {show(expected[at])}, got {show(got[at])}."
    return f"Expected {show(expected)}, got {show(got)}."


def show(value: object) -> str:
    """A value as the learner reads it: short, and the same on every machine."""
    if isinstance(value, Tensor):
        if value.numel() > SHOWN or value.device.type == "meta":  # a meta tensor holds no values
            return f"a tensor of shape {tuple(value.shape)}"
        text = show(value.tolist()).replace(".0,", ",").replace(".0]", "]")  # [1, 2] reads better than [1.0, 2.0]
        return f"{text} of shape {tuple(value.shape)}" if value.ndim else text.removesuffix(".0")
    if isinstance(value, tuple | list):
        if len(value) > SHOWN:
            return f"{len(value)} values"
        left, right = "()" if isinstance(value, tuple) else "[]"
        comma = "," if isinstance(value, tuple) and len(value) == 1 else ""  # (3,) is a tuple, (3) is not
        return left + ", ".join(map(show, value)) + comma + right
    if isinstance(value, float):
        text = f"{value + 0.0:.4g}"  # + 0.0 turns -0.0 into 0.0
        return text + ".0" if text.removeprefix("-").isdigit() else text
    return str(value)


def kind(value: object) -> str:
    """'a list', 'a tensor', 'an int'."""
    name = type(value).__name__
    name = {"Tensor": "tensor", "ndarray": "NumPy array", "type": "class"}.get(name, name)
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
