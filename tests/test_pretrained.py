"""The pretrained network names what is on the photographs."""

import pytest
import torch
from block_contract import count
from torch import Tensor, nn

from attncourse.datasets.photos import photo
from attncourse.pretrained import as_input, efficientnet_lite0, imagenet_classes, square


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return efficientnet_lite0()


@pytest.fixture(scope="module")
def logits(model) -> dict[str, Tensor]:
    with torch.inference_mode():
        return {name: model(as_input(photo(name)))[0] for name in ("chelsea", "coffee")}


def test_size_and_mode(model):
    assert count(model) == 4_652_008
    assert not any(module.training for module in model.modules())


def test_a_lite_variant(model):
    """ReLU6 everywhere, and no squeeze-and-excitation."""
    assert {type(module._swish) for module in model.modules() if hasattr(module, "_swish")} == {nn.ReLU6}
    assert not any(block.has_se for block in model._blocks)


@pytest.mark.parametrize(("name", "best"), [
    ("chelsea", {"Egyptian cat": 0.40, "tiger cat": 0.31, "tabby": 0.17}),
    ("coffee", {"espresso": 0.80}),
])
def test_what_is_on_a_photograph(logits, name, best):
    """Also how sure the network is of it: pictures from 0 to 1, instead of from −1, would make it less so."""
    highest = logits[name].softmax(0).topk(len(best))
    found = {imagenet_classes()[i]: value.item() for i, value in zip(highest.indices, highest.values)}
    assert found == pytest.approx(best, abs=0.02)


def test_logits_before_any_softmax(logits):
    for values in logits.values():
        assert values.shape == (1000,)
        assert values.min() < -1
        assert 0.3 < values.softmax(0).max() < 1


def test_a_thousand_names():
    names = imagenet_classes()
    assert len(names) == 1000
    assert (names[0], names[281], names[967], names[999]) == ("tench", "tabby", "espresso", "toilet tissue")


def test_black_is_minus_one_and_white_is_one():
    for value, expected in [(0, -1), (255, 1), (51, -0.6)]:
        x = as_input(torch.full((3, 10, 20), value, dtype=torch.uint8))
        assert x.shape == (1, 3, 224, 224)
        assert x.dtype == torch.float32
        torch.testing.assert_close(x, torch.full_like(x, expected))


@pytest.mark.parametrize(("height", "width"), [(4, 10), (10, 4), (300, 241), (241, 300), (224, 224)])
def test_the_middle_square(height, width):
    """White in the middle square, grey outside: nothing grey may be left, and no white lost."""
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    picture = torch.full((3, height, width), 100, dtype=torch.uint8)
    picture[:, top:top + side, left:left + side] = 255
    assert torch.equal(square(picture), torch.full((3, 224, 224), 255, dtype=torch.uint8))


def test_a_picture_of_the_right_size_is_not_changed():
    picture = photo("astronaut")[:, :224, :224]
    assert torch.equal(square(picture), picture)


def test_values_beyond_the_range_are_cut_off():
    """The bicubic kernel shoots over at an edge: there 256 must not become 0."""
    edge = torch.zeros(3, 30, 30, dtype=torch.uint8)
    edge[:, :, 15:] = 255
    across = square(edge)[0, 0].float()
    assert (across[0], across[-1]) == (0, 255)
    assert across.diff().min() > -30


def test_fine_stripes_become_grey():
    stripes = torch.zeros(3, 700, 700, dtype=torch.uint8)
    stripes[:, :, ::2] = 255
    assert (square(stripes).float() - 127.5).abs()[:, :, 5:-5].max() < 20
