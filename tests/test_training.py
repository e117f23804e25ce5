"""The training loop and the record it leaves, on a data set small enough to train in a second."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from attncourse import training
from attncourse.datasets.images import ImageData, Split, digest
from attncourse.training import (
    Evaluation,
    Normalise,
    TrainConfig,
    TrainRecord,
    budget,
    crop_and_mirror,
    evaluate,
    seeded,
    train,
)


@pytest.fixture
def data() -> ImageData:
    """Two classes that differ in brightness, with noise: easy, but not from the first step."""
    generator = torch.Generator().manual_seed(0)

    def split(n):
        labels = torch.arange(n) % 2
        noise = torch.randint(0, 156, (n, 3, 8, 8), generator=generator)
        return Split((noise + 60 * labels[:, None, None, None]).to(torch.uint8), labels)

    splits = split(130), split(40), split(40)
    return ImageData("two shades", ("dark", "light"), *splits, (0.4,) * 3, (0.2,) * 3, "made here", digest(*splits))


@pytest.fixture
def model() -> nn.Module:
    with seeded(0):
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Dropout(0.1), nn.Flatten(), nn.Linear(144, 2))


CONFIG = TrainConfig(epochs=3, batch_size=16, lr=0.05, dtype="float32")


def figures(record: TrainRecord) -> list:
    return [{k: v for k, v in epoch.items() if k != "seconds"} for epoch in record.epochs] + [record.test_loss]


def test_it_learns_and_records(data, model, capsys):
    record = train(model, data, CONFIG, network="tiny", column="test")
    assert record.test_accuracy > 0.9
    assert record.complete
    assert record.images == {"train": 130, "val": 40, "test": 40}
    assert record.dataset_sha256 == digest(data.train, data.val, data.test)
    assert record.parameters == sum(p.numel() for p in model.parameters())
    assert not model.training
    assert "epoch 3/3: train" in capsys.readouterr().out
    accuracies = [epoch["val_accuracy"] for epoch in record.epochs]
    assert record.best_epoch == accuracies.index(max(accuracies)) + 1


def test_a_class_that_is_never_predicted_is_counted_as_lost(data, model):
    record = train(model, data, CONFIG, progress=False)
    assert record.epochs[-1]["val_classes"] == 2
    model[-1].bias.data[1] = -1e6
    one = evaluate(model, data.test, Normalise(data.mean, data.std), torch.float32)
    assert one.classes == 1
    assert one.accuracy == (data.test.labels == 0).float().mean().item()


def test_same_seed_same_figures(data, model):
    weights = {k: v.clone() for k, v in model.state_dict().items()}
    first = train(model, data, CONFIG, progress=False)
    model.load_state_dict(weights)
    torch.rand(7)  # the global generator's state must not matter
    assert figures(train(model, data, CONFIG, progress=False)) == figures(first)
    model.load_state_dict(weights)
    assert figures(train(model, data, replace(CONFIG, seed=1), progress=False)) != figures(first)


def test_global_generator_is_left_alone(data, model):
    before = torch.get_rng_state()
    train(model, data, replace(CONFIG, epochs=1, augment=True), progress=False)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_best_validation_epoch_is_kept_and_tested(data, model, monkeypatch):
    """Validation says epoch 2 of 3: its weights stay, whatever the test split says."""
    scores = iter([Evaluation(1.0, accuracy, 2) for accuracy in (0.5, 0.8, 0.6)] + [Evaluation(0.25, 0.125, 2)])
    seen = []

    def scripted(model, split, normalise, dtype):
        seen.append(model[0].weight.clone())
        return next(scores)

    monkeypatch.setattr(training, "evaluate", scripted)
    record = train(model, data, CONFIG, progress=False)
    assert (record.best_epoch, record.test_loss, record.test_accuracy) == (2, 0.25, 0.125)
    assert torch.equal(model[0].weight, seen[1])
    assert torch.equal(seen[3], seen[1])
    assert not torch.equal(seen[2], seen[1])


def test_an_interrupted_run_keeps_its_finished_epochs(data, model, monkeypatch, capsys):
    calls = []
    real = training.train_epoch

    def stopped(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(training, "train_epoch", stopped)
    record = train(model, data, CONFIG, progress=False)
    assert not record.complete
    assert len(record.epochs) == 2
    assert "kept the 2 finished epochs" in capsys.readouterr().out


def test_interrupted_before_the_first_epoch(data, model, monkeypatch):
    def stopped(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train_epoch", stopped)
    with pytest.raises(KeyboardInterrupt):
        train(model, data, CONFIG, progress=False)


def test_a_diverging_run_says_so(data, model):
    with pytest.raises(FloatingPointError, match="smaller lr than 1e\\+20"):
        train(model, data, replace(CONFIG, lr=1e20), progress=False)


def test_too_few_images(data, model):
    with pytest.raises(ValueError, match="130 training images do not fill a batch of 512"):
        train(model, data, TrainConfig(batch_size=512))


@pytest.mark.parametrize("bad", [{"epochs": 0}, {"batch_size": 0}, {"lr": 0.0}])
def test_bad_config(bad):
    with pytest.raises(ValueError, match="must be at least 1"):
        TrainConfig(**bad)


def test_an_unknown_dtype():
    with pytest.raises(ValueError, match="dtype must be auto, float32, bfloat16 or float16, got 'bf16'"):
        TrainConfig(dtype="bf16")


def test_the_smaller_last_batch_is_dropped(data, model, monkeypatch):
    sizes = []
    real = Normalise.__call__
    monkeypatch.setattr(Normalise, "__call__", lambda self, x: sizes.append(len(x)) or real(self, x))
    train(model, data, replace(CONFIG, epochs=1), progress=False)
    assert sizes == [16] * 8 + [40, 40]  # 130 training images: 8 full batches, then validation and test


def test_record_round_trip(data, model):
    record = train(model, data, replace(CONFIG, epochs=1), network="tiny", column="as coded", progress=False)
    assert TrainRecord.from_json(record.to_json()) == record
    assert "\n" not in record.to_json()
    assert record.name == "cifar10-as-coded-tiny-seed0"
    for broken in ("", "{", "[]", json.dumps({"schema": 99}), record.to_json()[:-1], record.to_json() + "{"):
        with pytest.raises(ValueError, match="not a training record"):
            TrainRecord.from_json(broken)


def test_after_each_epoch_its_checkpoint_is_there(data, model, tmp_path):
    seen = []
    train(model, data, CONFIG, progress=False, checkpoint=tmp_path / "c",
          after_epoch=lambda: seen.append((tmp_path / "c").exists()))
    assert seen == [True] * 3


def test_normalise():
    """Black and white pixels of the second channel, by hand."""
    x = torch.zeros(1, 3, 1, 2, dtype=torch.uint8)
    x[0, :, 0, 1] = 255
    y = Normalise((0.5, 0.25, 0.5), (0.5, 0.125, 0.5))(x)
    torch.testing.assert_close(y[0, 1, 0], torch.tensor([-2.0, 6.0]))
    assert y.is_contiguous(memory_format=torch.channels_last)


def test_crop_and_mirror_against_a_loop():
    generator = torch.Generator().manual_seed(5)
    x = torch.randint(1, 256, (40, 3, 6, 9), generator=generator).to(torch.uint8)
    y = crop_and_mirror(x, torch.Generator().manual_seed(1), padding=2)
    padded = nn.functional.pad(x, [2] * 4)
    variants = []
    for image, result in zip(padded, y):
        crops = {(top, left, mirror): (c.flip(2) if mirror else c)
                 for top in range(5) for left in range(5) for mirror in (False, True)
                 for c in [image[:, top:top + 6, left:left + 9]]}
        variants += [key for key, crop in crops.items() if torch.equal(crop, result)][:1]
    assert len(variants) == 40  # every result is a crop of its own image
    assert {mirror for _, _, mirror in variants} == {False, True}
    assert len({(top, left) for top, left, _ in variants}) > 10


def test_seeded_gives_back_the_generator():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    with seeded(0):
        first = torch.rand(3)
    assert torch.equal(torch.get_rng_state(), before)
    with seeded(0):
        assert torch.equal(torch.rand(3), first)


def test_budget_on_a_cpu_is_a_smoke_run(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert budget().name == "smoke"
    assert "NOT a result" in budget().message


def test_the_environment_can_ask_for_a_smoke_run(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("ATTNCOURSE_BUDGET", "smoke")
    assert budget().name == "smoke"


def test_a_t4_gets_float16(monkeypatch):
    """It says that it supports bfloat16, and crawls."""
    cuda = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert training.compute_dtype(cuda) == torch.float16
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    assert training.compute_dtype(cuda) == torch.bfloat16


@pytest.mark.parametrize(("native", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_cpu_without_bfloat16_gets_float32(monkeypatch, native, dtype):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": native})
    assert training.compute_dtype(torch.device("cpu")) == dtype
