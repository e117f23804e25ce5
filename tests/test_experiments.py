"""The command that makes records: it finishes runs, skips finished ones, and survives being stopped."""

from dataclasses import replace

import pytest
import torch
from block_contract import images
from safetensors.torch import load_file

from attncourse import experiments
from attncourse.datasets.images import ImageData, Split, digest
from attncourse.experiments import ChannelScale, OwnMeanGate, main
from attncourse.training import TrainConfig, TrainRecord


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Twelve noisy images and one epoch instead of CIFAR-10."""
    pixels = torch.randint(0, 256, (12, 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    split = Split(pixels, torch.arange(12) % 10)
    data = ImageData("noise", tuple("abcdefghij"), split, split, split, (0.5,) * 3, (0.2,) * 3, "here", digest(split))
    monkeypatch.setattr(experiments, "load_cifar10", lambda root: data)
    monkeypatch.setattr(experiments, "TrainConfig",
                        lambda seed: TrainConfig(epochs=1, batch_size=4, seed=seed, dtype="float32"))
    return ["--runs", str(tmp_path)], tmp_path


def test_one_record_and_one_weights_file_a_run(small, capsys):
    options, folder = small
    assert main(["cnn", "cnn+se", "--seeds", "3", *options]) == 0
    record = TrainRecord.load(folder / "cifar10-as-described-cnn+se-seed3.json")
    assert (record.network, record.seed) == ("cnn+se", 3)
    assert record.command == "python -m attncourse.experiments cnn cnn+se --seeds 3"
    weights = load_file(folder / "cifar10-as-described-cnn+se-seed3.safetensors")
    assert "stage1.attention1.fc1.weight" in weights
    capsys.readouterr()
    assert main(["cnn", "--seeds", "3", *options]) == 0
    assert "done before" in capsys.readouterr().out


def test_an_interrupted_call_keeps_finished_runs_and_goes_on(small, monkeypatch, capsys):
    options, folder = small
    real = experiments.train
    seen = []

    def stopped(*arguments, **keywords):
        seen.append(keywords["network"])
        if len(seen) == 2:
            raise KeyboardInterrupt
        return real(*arguments, **keywords)

    monkeypatch.setattr(experiments, "train", stopped)
    assert main(["cnn", "cnn+se", *options]) == 130
    assert "the same command goes on from there" in capsys.readouterr().out
    assert len(list(folder.glob("*.json"))) == 1
    assert main(["cnn", "cnn+se", *options]) == 0
    assert seen == ["cnn", "cnn+se", "cnn+se"]


def test_a_run_that_is_interrupted_midway_leaves_its_finished_epochs(small, monkeypatch):
    options, folder = small
    real = experiments.train
    monkeypatch.setattr(experiments, "train", lambda *a, **k: replace(real(*a, **k), complete=False))
    assert main(["cnn", *options]) == 130
    assert sorted(path.name for path in folder.iterdir()) == [
        "cifar10-as-described-cnn-seed0-interrupted.json", "cifar10-as-described-cnn-seed0-interrupted.safetensors"]


def test_missing_data_is_said_in_one_line(capsys, tmp_path):
    assert main(["cnn", "--data", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_the_channel_scale_does_not_look_at_the_input():
    control = ChannelScale(4)
    x = images(2, 4, 3, 3)
    assert torch.equal(control(x), 0.5 * x)
    assert sum(p.numel() for p in control.parameters()) == 4


def test_the_own_mean_gate_does_not_mix_channels():
    control = OwnMeanGate(4)
    torch.nn.init.ones_(control.weight)
    x = images(1, 4, 3, 3)
    brighter = x.clone()
    brighter[:, 2] += 1
    same = [c for c in range(4) if torch.equal(control(brighter)[:, c], control(x)[:, c])]
    assert same == [0, 1, 3]
