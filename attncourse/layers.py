"""Find a layer of a network by its name, and look at what it does without leaving a trace."""

from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches

from torch import nn


def find_layer(model: nn.Module, name: str) -> nn.Module:
    """The submodule that ``model.named_modules()`` lists under this name, such as ``"layer4.1.conv2"``.

    Raises:
        ValueError: if there is none, with the names that come nearest.
    """
    names = [known for known, _ in model.named_modules() if known]
    if name in names:
        return model.get_submodule(name)
    near = get_close_matches(name, names, n=3, cutoff=0.5) or [known for known, _ in model.named_children()]
    raise ValueError(f"{type(model).__name__} has no layer {name!r}; near names: {', '.join(near)}")


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Inside the block the whole model is in eval mode; afterwards each module is in its own mode again."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
