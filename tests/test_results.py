"""The stored measurements: they can be read, they are whole, and pages print what they say."""

import hashlib
import json
from dataclasses import replace

import pytest
import torch
from block_contract import count
from safetensors.torch import save

from attncourse import results, weights
from attncourse.backbone import ReportCNN
from attncourse.datasets.images import ImageData, Split, digest
from attncourse.experiments import COLUMNS
from attncourse.record_file import append_records, read_records
from attncourse.results import RECORDS, accuracy_table, load_record, load_records, load_study, study_table
from attncourse.se import SEBlock
from attncourse.studies import CONFIG, SHIPPED, STUDIES
from attncourse.training import TrainConfig, seeded, train
from attncourse.weights import __main__ as command
from attncourse.weights import load_weights

STORED = read_records(RECORDS)


@pytest.mark.parametrize("record", STORED, ids=lambda record: record.name)
def test_every_record_is_whole(record):
    assert record.complete
    assert record.images == {"train": 45_000, "val": 5_000, "test": 10_000}
    assert (record.config["epochs"], record.config["batch_size"], record.config["lr"]) == (10, 128, 0.1)
    assert len(record.epochs) == 10
    accuracies = [epoch["val_accuracy"] for epoch in record.epochs]
    assert record.best_epoch == accuracies.index(max(accuracies)) + 1
    assert record.parameters == count(COLUMNS[record.column.replace(" ", "-")][record.network]())


def test_all_records_are_of_different_runs_on_the_same_images():
    assert len({record.dataset_sha256 for record in STORED}) == 1
    assert len({record.name for record in STORED}) == len(STORED)


@pytest.mark.parametrize("network", ["cnn", "cnn+se"])
def test_at_least_two_seeds(network):
    assert len(load_records(network)) >= 2


def test_unknown_names_are_said():
    with pytest.raises(ValueError, match="no records of 'resnet' as described; there are cnn, cnn\\+"):
        load_records("resnet")
    with pytest.raises(ValueError, match=r"no record of cifar10-nothing in .*cifar10\.jsonl"):
        load_record("cifar10-nothing")
    with pytest.raises(ValueError, match="no study 'nothing'"):
        load_study("nothing")
    with pytest.raises(ValueError, match="no weights 'nothing'; there are"):
        load_weights("nothing")


def test_table_against_a_computation_by_hand():
    accuracies = [100 * record.test_accuracy for record in load_records("cnn")]
    mean = sum(accuracies) / len(accuracies)
    std = (sum((a - mean) ** 2 for a in accuracies) / (len(accuracies) - 1)) ** 0.5
    assert f"{mean:.1f} ± {std:.1f}" in accuracy_table("cnn")


def test_weights_are_those_that_were_stored():
    index = json.loads((weights.FOLDER / "index.json").read_text())
    assert sorted(index) == sorted(path.stem for path in weights.FOLDER.glob("*.safetensors"))
    assert sum(path.stat().st_size for path in weights.FOLDER.glob("*.safetensors")) < 20e6
    stored = {record.name for record in STORED}
    for name, entry in index.items():
        content = (weights.FOLDER / f"{name}.safetensors").read_bytes()
        assert len(content) <= (6e6 if name.startswith("captioner-") else 1.5e6)
        assert hashlib.sha256(content).hexdigest() == entry["sha256"]
        assert entry["record"] in stored or (results.FOLDER / f"{entry['record']}.json").exists()
        assert entry["command"].startswith("python -m attncourse.")


def test_damaged_weights_are_refused(tmp_path, monkeypatch):
    name = "cifar10-cnn-se-trunk"
    for file in (f"{name}.safetensors", "index.json"):
        content = (weights.FOLDER / file).read_bytes()
        (tmp_path / file).write_bytes(content[:-1] + b"\0" if file.endswith("tensors") else content)
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    with pytest.raises(ValueError, match="damaged"):
        load_weights(name)


TRUNKS = sorted((name, entry) for name, entry in json.loads((weights.FOLDER / "index.json").read_text()).items()
                if name.endswith("-trunk"))


@pytest.mark.parametrize(("name", "entry"), TRUNKS, ids=[name for name, _ in TRUNKS])
def test_every_trunk_fits_its_network(name, entry):
    if name.startswith("scenes-"):
        study = name.removeprefix("scenes-").removesuffix("-trunk")
        model = STUDIES[study][SHIPPED[study]]()
    else:
        model = COLUMNS["as-described"][load_record(entry["record"]).network]()
    missing, unexpected = model.load_state_dict(load_weights(name), strict=False)
    assert unexpected == []
    assert {key.split(".")[0] for key in missing} == {"classifier"}
    assert all(value.dtype != torch.float16 for value in model.state_dict().values())


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """A run "cifar10-…-seed0" of CNN + SE on a few noisy images: its weights and its record, instead of the stored."""
    pixels = torch.randint(0, 256, (20, 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    split = Split(pixels, torch.arange(20) % 10)
    data = ImageData("noise", tuple("abcdefghij"), split, split, split, (0.5,) * 3, (0.2,) * 3, "here", digest(split))
    with seeded(0):
        model = ReportCNN(attention=SEBlock)
    config = TrainConfig(epochs=1, batch_size=4, dtype="float32")
    record = train(model, data, config, network="cnn+se", column="as described", progress=False)
    run = record.name
    append_records(tmp_path / "cifar10.jsonl", [record])
    (tmp_path / f"{run}.safetensors").write_bytes(save({k: v.contiguous() for k, v in model.state_dict().items()}))
    for module, name, value in ((weights, "FOLDER", tmp_path), (results, "RECORDS", tmp_path / "cifar10.jsonl"),
                                (command, "load_cifar10", lambda root: data)):
        monkeypatch.setattr(module, name, value)
    return run, model, record, tmp_path


def test_the_command_stores_the_trunk_of_a_run(trained):
    run, model, _, folder = trained
    assert command.main([run, "--runs", str(folder)]) == 0
    stored = load_weights("cifar10-cnn-se-trunk")
    torch.testing.assert_close(stored["stage1.conv1.weight"], model.stage1.conv1.weight.detach(), rtol=1e-3, atol=1e-6)
    assert not any(key.startswith("classifier") for key in stored)
    assert json.loads((folder / "index.json").read_text())["cifar10-cnn-se-trunk"]["record"] == run


@pytest.mark.parametrize(("change", "message"), [
    ({"test_accuracy": 0.99}, "says 99.00%"), ({"dataset_sha256": "0"}, "not the images"),
    ({"column": "as coded"}, "no record of"), ({"schema": 0}, "not a training record")])
def test_weights_that_are_not_the_records_are_refused(trained, capsys, change, message):
    run, _, record, folder = trained
    (folder / "cifar10.jsonl").write_text(replace(record, **change).to_json() + "\n")
    assert command.main([run, "--runs", str(folder)]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (folder / "index.json").exists()


def test_missing_weights_are_said_in_one_line(trained, capsys):
    run, _, _, folder = trained
    assert command.main([run, "--runs", str(folder / "elsewhere")]) == 1
    assert capsys.readouterr().err.count("\n") == 1


SCENE_STUDIES = sorted(results.FOLDER.glob("scenes-*.json"))


@pytest.mark.parametrize("path", SCENE_STUDIES, ids=lambda path: path.stem)
def test_every_study_is_whole(path):
    stored = load_study(path.stem)
    variants = STUDIES[path.stem.removeprefix("scenes-")]
    seeds = {run["seed"] for run in stored["runs"]}
    assert len(seeds) >= 3
    assert [(run["seed"], run["variant"]) for run in stored["runs"]] == [
        (seed, variant) for seed in sorted(seeds) for variant in variants]
    assert stored["config"] == CONFIG
    for variant, make in variants.items():
        assert {run["parameters"] for run in stored["runs"] if run["variant"] == variant} == {count(make())}


def test_one_network_has_one_result():
    """CAM with the mean alone is SE: the two records are of one network, seed by seed."""
    def results_of(study, variant):
        return [(run["seed"], run["val_accuracy"], run["test_accuracy"]) for run in load_study(study)["runs"]
                if run["variant"] == variant]

    assert results_of("scenes-plain", "SE") == results_of("scenes-cam-sam", "CAM avg")


def test_study_table_against_a_computation_by_hand():
    runs = [run for run in load_study("scenes-cbam")["runs"] if run["variant"] == "spatial first"]
    accuracies = [100 * run["test_accuracy"] for run in runs]
    mean = sum(accuracies) / len(accuracies)
    std = (sum((a - mean) ** 2 for a in accuracies) / (len(accuracies) - 1)) ** 0.5
    (line,) = (line for line in study_table("scenes-cbam").splitlines() if line.startswith("spatial first"))
    assert f"{mean:4.1f} ± {std:4.1f}" in line
    assert f"{sum(run['inside'][3] for run in runs) / len(runs):4.0%}" == line[-4:]
    assert "no map" in study_table("scenes-eca")


def test_gate_study_belongs_to_its_record():
    study = load_study("se-gates")
    record = load_record(study["record"])
    assert study["dataset_sha256"] == record.dataset_sha256
    assert study["accuracy"]["as trained"] == pytest.approx(record.test_accuracy, abs=0.002)  # bfloat16 rounds
    assert [(len(place), len(place[0])) for place in study["mean"]] == [(10, 64), (10, 64), (10, 128), (10, 128)]
