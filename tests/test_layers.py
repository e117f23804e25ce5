"""Finding layers by name, and eval mode that leaves no trace."""

import pytest
import torch
from torch import nn

from attncourse.layers import eval_mode, find_layer


@pytest.fixture
def model() -> nn.Module:
    return nn.ModuleDict({
        "stem": nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)),
        "head": nn.Sequential(nn.Dropout(), nn.Linear(4, 2)),
    })


def test_every_listed_name_is_found(model):
    listed = dict(model.named_modules())
    del listed[""]
    assert sorted(listed) == ["head", "head.0", "head.1", "stem", "stem.0", "stem.1"]
    for name, module in listed.items():
        assert find_layer(model, name) is module


@pytest.mark.parametrize(("name", "near"), [
    ("stem.2", ("stem", "stem.0", "stem.1")),
    ("hed.0", ("head.0", "head", "head.1")),
    ("xyz", ("stem", "head")),  # nothing comes near: the model's children
    ("", ("stem", "head")),  # the model itself is no layer
])
def test_an_unknown_name_lists_what_comes_near(model, name, near):
    with pytest.raises(ValueError, match="ModuleDict has no layer") as caught:
        find_layer(model, name)
    message, listed = str(caught.value).split("; near names: ")
    assert message.endswith(repr(name))
    assert sorted(listed.split(", ")) == sorted(near)


@pytest.mark.parametrize("error", [None, ValueError])
def test_each_module_comes_back_in_its_own_mode(model, error):
    """A model in training with one frozen layer, as in fine-tuning; also when the block raises."""
    model.train()
    model["stem"][1].eval()
    before = [module.training for module in model.modules()]
    assert len(set(before)) == 2
    try:
        with eval_mode(model):
            assert not any(module.training for module in model.modules())
            if error is not None:
                raise error
    except ValueError:
        pass
    assert [module.training for module in model.modules()] == before


def test_a_model_in_eval_mode_stays_there(model):
    model.eval()
    with eval_mode(model):
        model["head"](torch.ones(1, 4))
    assert not any(module.training for module in model.modules())
