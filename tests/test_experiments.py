"""The command that makes records: it finishes runs, skips finished ones, and survives being stopped."""

import pytest
import torch
from block_contract import count, images
from safetensors.torch import load_file

from attncourse import experiments, training
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


def test_a_run_that_is_interrupted_midway_goes_on_after_its_last_epoch(small, monkeypatch):
    """Stopped in the second of three epochs and called again, a run ends with the weights of one never stopped."""
    options, folder = small
    monkeypatch.setattr(experiments, "TrainConfig",
                        lambda seed: TrainConfig(epochs=3, batch_size=4, seed=seed, dtype="float32"))
    assert main(["cnn+bam", *options]) == 0
    name = "cifar10-as-described-cnn+bam-seed0"
    never_stopped, weights = TrainRecord.load(folder / f"{name}.json"), load_file(folder / f"{name}.safetensors")
    for path in folder.iterdir():
        path.unlink()
    real, calls = training.train_epoch, []

    def stopped(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(training, "train_epoch", stopped)
    assert main(["cnn+bam", *options]) == 130
    assert [path.name for path in folder.iterdir()] == [f"{name}.checkpoint"]
    assert main(["cnn+bam", *options]) == 0
    assert len(calls) == 4  # epoch 1, the stop, epochs 2 and 3
    assert sorted(path.name for path in folder.iterdir()) == [f"{name}.json", f"{name}.safetensors"]
    for key, value in load_file(folder / f"{name}.safetensors").items():
        assert torch.equal(value, weights[key]), key
    record = TrainRecord.load(folder / f"{name}.json")
    for mine, other in zip(record.epochs, never_stopped.epochs, strict=True):
        assert mine | {"seconds": 0} == other | {"seconds": 0}
    assert record.best_epoch == never_stopped.best_epoch


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"])
def test_a_damaged_checkpoint_is_said_in_one_line(small, capsys, content):
    options, folder = small
    (folder / "cifar10-as-described-cnn-seed0.checkpoint").write_bytes(content)
    assert main(["cnn", *options]) == 1
    assert "is damaged" in capsys.readouterr().err


def test_a_checkpoint_of_another_run_is_refused(small, monkeypatch, capsys):
    options, folder = small
    monkeypatch.setattr(experiments, "TrainConfig",
                        lambda seed: TrainConfig(epochs=2, batch_size=4, seed=seed, dtype="float32"))
    real, calls = training.train_epoch, []

    def stopped(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(training, "train_epoch", stopped)
    assert main(["cnn", *options]) == 130
    (folder / "cifar10-as-described-cnn-seed0.checkpoint").rename(folder / "cifar10-as-described-cnn-seed1.checkpoint")
    assert main(["cnn", "--seeds", "1", *options]) == 1
    assert "belongs to another run" in capsys.readouterr().err


def test_missing_data_is_said_in_one_line(capsys, tmp_path):
    assert main(["cnn", "--data", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_the_channel_scale_does_not_look_at_the_input():
    control = ChannelScale(4)
    x = images(2, 4, 3, 3)
    assert torch.equal(control(x), 0.5 * x)
    assert count(control) == 4


def test_the_own_mean_gate_does_not_mix_channels():
    control = OwnMeanGate(4)
    torch.nn.init.ones_(control.weight)
    x = images(1, 4, 3, 3)
    brighter = x.clone()
    brighter[:, 2] += 1
    same = [c for c in range(4) if torch.equal(control(brighter)[:, c], control(x)[:, c])]
    assert same == [0, 1, 3]
