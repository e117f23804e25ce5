"""The fine-tuning study: its data, its networks, its file."""

import json

import pytest
import torch
from torch import nn

from attncourse import transfer
from attncourse.datasets.cifar10 import CLASSES
from attncourse.datasets.images import ImageData, Split
from attncourse.gates import attention_blocks
from attncourse.resnet import IdentityStart
from attncourse.se import SEBlock
from attncourse.training import seeded
from attncourse.transfer import VARIANTS, two_classes

X = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def cifar10(per_class=3):
    """Pictures that show the number of their class in every pixel."""
    labels = torch.arange(10).repeat(per_class)
    split = Split(labels.byte().view(-1, 1, 1, 1).expand(-1, 3, 32, 32).contiguous(), labels)
    return ImageData("CIFAR-10", CLASSES, split, split, split, (0.4,) * 3, (0.2,) * 3, "made up", "0")


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(transfer, "PER_CLASS", {"train": 2, "val": 1, "test": 3})


def test_cats_and_dogs_alone(few):
    data = two_classes(cifar10())
    assert [len(split) for split in (data.train, data.val, data.test)] == [4, 2, 6]
    assert data.train.images[:, 0, 0, 0].tolist() == [3, 3, 5, 5]  # cats and dogs in CIFAR-10's numbering
    assert data.train.labels.tolist() == [0, 0, 1, 1]
    assert data.mean == data.std == (0.5,) * 3  # the network's, not CIFAR-10's
    assert data.name == "cat and dog of CIFAR-10"


@pytest.fixture(scope="module")
def logits():
    """Every variant's logits at the start, all with the same seed."""
    result = {}
    for name, make in VARIANTS.items():
        with seeded(0):
            model = make().eval()
        with torch.inference_mode():
            result[name] = model(X), len(attention_blocks(model))
    return result


@pytest.mark.parametrize("name", VARIANTS)
def test_gates_that_start_at_one_leave_the_network_as_it_was(logits, name):
    (plain, _), (output, blocks) = logits["plain"], logits[name]
    assert output.shape == (2, 2)
    assert blocks == (0 if name.startswith("plain") else 2 if "last two" in name else 4)
    assert torch.equal(output, plain) == (name.split(",")[0] not in ("SE", "CBAM") or "starts at 1" in name)


def test_pretrained_statistics_stay_and_the_blocks_own_are_learned():
    model = VARIANTS["CBAM"]().train()
    norms = {name: module for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)}
    learning = {name for name, module in norms.items() if module.training}
    assert learning == {f"1.{layer}.attention.spatial.norm" for layer in transfer.STAGES}
    before = {name: module.running_mean.clone() for name, module in norms.items()}
    model(X)
    assert {name for name, module in norms.items() if not torch.equal(module.running_mean, before[name])} == learning
    assert all(module.weight.requires_grad for module in norms.values())
    assert not any(module.training for module in model.eval().modules())


def test_new_statistics_follow_the_pictures():
    model = VARIANTS["plain, new statistics"]().train()
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    before = [norm.running_mean.clone() for norm in norms]
    model(X)
    assert all(norm.momentum == 0.1 and not torch.equal(norm.running_mean, mean) for norm, mean in zip(norms, before))


def test_blocks_that_start_at_one_learn_faster():
    """Behind equal layers, a gradient 100 times that of the same block without haste."""
    gradients = []
    for make in (transfer.softly(SEBlock), lambda channels: IdentityStart(SEBlock(channels))):
        with seeded(0):
            block = make(8)
        block.alpha.data.fill_(0.5)
        block(torch.randn(2, 8, 4, 4, generator=torch.Generator().manual_seed(1))).square().sum().backward()
        gradients.append([parameter.grad for parameter in block.parameters()])
    for fast, slow in zip(*gradients):
        torch.testing.assert_close(fast, transfer.FASTER * slow)
    assert slow.abs().max() > 0


def test_the_command_writes_what_it_measured(few, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(transfer, "load_cifar10", lambda root: cifar10())
    monkeypatch.setattr(transfer, "CONFIG", {"epochs": 1, "batch_size": 4})
    monkeypatch.setattr(transfer, "VARIANTS", {name: VARIANTS[name] for name in ("plain", "SE, starts at 1")})
    assert transfer.main(["--seeds", "1", "--runs", str(tmp_path)]) == 0
    study = json.loads((tmp_path / "transfer.json").read_text())
    assert [(run["variant"], run["seed"]) for run in study["runs"]] == [("plain", 1), ("SE, starts at 1", 1)]
    assert [len(run["alpha"]) for run in study["runs"]] == [0, 4]
    assert all(study["runs"][1]["alpha"])  # they have left 0
    assert study["images_per_class"] == {"train": 2, "val": 1, "test": 3}
    assert "plain, seed 1" in capsys.readouterr().out
