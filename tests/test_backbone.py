"""The report's CNN: its parameter counts, where attention goes, and how it is initialised."""

from functools import partial

import pytest
import torch
from block_contract import count
from torch import nn

from attncourse.backbone import ReportCNN
from attncourse.se import SEBlock
from attncourse.training import seeded


def test_parameters_of_the_report():
    assert count(ReportCNN()) == 2_625_866


def test_parameters_by_layer():
    """Worked by hand: weights, biases, and two numbers a channel for each BatchNorm."""
    convolutions = sum(9 * before * after + after for before, after in ((3, 64), (64, 64), (64, 128), (128, 128)))
    norms = 2 * (64 + 64 + 128 + 128)
    head = 4608 * 512 + 512 + 512 * 10 + 10
    assert count(ReportCNN()) == convolutions + norms + head


@pytest.mark.parametrize("reduction", [4, 16])
def test_parameters_with_se(reduction):
    """The formula of SE at 64, 64, 128 and 128 channels, biases included."""
    added = sum(2 * c * (c // reduction) + c + c // reduction for c in (64, 64, 128, 128))
    assert count(ReportCNN(attention=partial(SEBlock, reduction=reduction))) == 2_625_866 + added


def test_shapes_at_the_four_places():
    seen = []

    class Probe(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.channels = channels

        def forward(self, x):
            seen.append((self.channels, *x.shape[1:]))
            return x

    logits = ReportCNN(num_classes=7, attention=Probe)(torch.zeros(2, 3, 32, 32))
    assert logits.shape == (2, 7)
    assert seen == [(64, 64, 32, 32), (64, 64, 30, 30), (128, 128, 15, 15), (128, 128, 13, 13)]


def test_attention_comes_directly_after_the_convolution():
    """The module sees negative values: it stands before the ReLU."""
    seen = []

    class Probe(nn.Module):
        def __init__(self, channels):
            super().__init__()

        def forward(self, x):
            seen.append(x.min().item())
            return x

    with seeded(0):
        ReportCNN(attention=Probe)(torch.randn(2, 3, 32, 32))
    assert len(seen) == 4
    assert max(seen) < 0


def test_one_factory_per_place():
    model = ReportCNN(attention=(SEBlock, None, None, partial(SEBlock, reduction=8)))
    places = [model.stage1.attention1, model.stage1.attention2, model.stage2.attention1, model.stage2.attention2]
    assert [type(place) for place in places] == [SEBlock, nn.Identity, nn.Identity, SEBlock]
    assert places[3].fc1.out_features == 16


def test_equal_seeds_give_equal_backbones():
    with seeded(3):
        plain = ReportCNN().state_dict()
    with seeded(3):
        with_se = ReportCNN(attention=SEBlock).state_dict()
    assert all(torch.equal(with_se[name], value) for name, value in plain.items())


def test_initialisation():
    with seeded(0):
        model = ReportCNN()
    assert all(not m.bias.any() for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear))
    for layer, fan_in in ((model.stage2.conv2, 9 * 128), (model.classifier[1], 4608)):
        assert layer.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.02)


def test_dropout_rates_of_the_report():
    model = ReportCNN()
    assert [m.p for m in model.modules() if isinstance(m, nn.Dropout2d)] == [0.25, 0.25]
    assert [m.p for m in model.modules() if isinstance(m, nn.Dropout)] == [0.5]


@pytest.mark.parametrize(("arguments", "message"), [
    ({"num_classes": 0}, "num_classes and widths must be at least 1, got 0"),
    ({"widths": (64, 0)}, r"at least 1, got 10 and \(64, 0\)"),
    ({"widths": ()}, r"at least 1, got 10 and \(\)"),
    ({"widths": (8, 8, 8, 8)}, "room for three stages"),
    ({"attention": (SEBlock, SEBlock)}, r"one entry per place \(4\), got 2"),
])
def test_bad_constructor(arguments, message):
    with pytest.raises(ValueError, match=message):
        ReportCNN(**arguments)


@pytest.mark.parametrize("shape", [(2, 3, 28, 28), (2, 1, 32, 32), (3, 32, 32)])
def test_bad_images(shape):
    with pytest.raises(ValueError, match=r"expected images \(B, 3, 32, 32\)"):
        ReportCNN()(torch.zeros(shape))


def test_softmax_twice_has_a_floor():
    """Line "output" of the chapter's table: a loss that is given probabilities cannot fall below log(1 + 9/e)."""
    best = torch.nn.functional.one_hot(torch.tensor([3]), 10).float()  # softmax has been applied: no more is possible
    floor = nn.functional.cross_entropy(best, torch.tensor([3])).item()
    assert floor == pytest.approx(1.4612, abs=1e-4)
    certain = nn.functional.cross_entropy(100 * best, torch.tensor([3])).item()  # logits have no floor
    assert certain < 1e-6
