"""The placement study: its data, its networks, its file."""

import json

import pytest
import torch
from block_contract import count
from test_transfer import cifar10

from attncourse import placement
from attncourse.gates import attention_blocks
from attncourse.placement import VARIANTS, first_pictures, resnet10
from attncourse.training import seeded

X = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
PLAIN = count(resnet10())


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(placement, "IMAGES", {"train": 12, "val": 4, "test": 6})


def test_maps_of_the_four_stages():
    sizes, model = [], resnet10()
    for number in (1, 2, 3, 4):
        model.get_submodule(f"layer{number}").register_forward_hook(
            lambda module, inputs, output: sizes.append(tuple(output.shape[1:])))
    assert model(X).shape == (2, 10)
    assert sizes == [(64, 16, 16), (128, 8, 8), (256, 4, 4), (512, 2, 2)]


@pytest.mark.parametrize("name", VARIANTS)
def test_each_variant_has_its_blocks_at_its_places(name):
    block, *place = name.split()
    model = VARIANTS[name]()
    inserted = [name for name, module in model.named_modules() if module in set(attention_blocks(model))]
    place = " ".join(place)
    ends = {"standard": ".bn2.attention", "pre": ".conv1.attention", "post": ".0.attention",
            "identity": ".downsample.attention", "after stages 1-3": ".attention"}
    numbers = {"": (), "after stages 1-3": (1, 2, 3)}.get(place, (1, 2, 3, 4))
    inside = "" if place.startswith("after") or place == "post" else ".0"
    assert inserted == [f"layer{number}{inside}{ends[place]}" for number in numbers]
    assert (count(model) == PLAIN) == (name == "plain")
    assert model.eval()(X).isfinite().all()


def test_the_first_pictures_of_each_split(few):
    data = first_pictures(cifar10())
    assert [len(split) for split in (data.train, data.val, data.test)] == [12, 4, 6]
    assert data.train.labels.tolist() == [*range(10), 0, 1]
    assert data.train.images[:, 0, 0, 0].tolist() == [*range(10), 0, 1]
    assert data.mean == cifar10().mean
    assert data.name == "first pictures of CIFAR-10"


def test_the_command_writes_what_it_measured(few, monkeypatch, tmp_path):
    monkeypatch.setattr(placement, "load_cifar10", lambda root: cifar10())
    monkeypatch.setattr(placement, "CONFIG", {"epochs": 1, "batch_size": 12})
    monkeypatch.setattr(placement, "VARIANTS", {name: VARIANTS[name] for name in ("plain", "SE pre")})
    assert placement.main(["--seeds", "1", "--runs", str(tmp_path)]) == 0
    study = json.loads((tmp_path / "placement.json").read_text())
    assert [(run["variant"], run["seed"]) for run in study["runs"]] == [("plain", 1), ("SE pre", 1)]
    with seeded(1):
        assert study["runs"][1]["parameters"] == count(VARIANTS["SE pre"]())
    assert len(study["runs"][0]["epochs"]) == 1
