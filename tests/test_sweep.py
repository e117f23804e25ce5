"""Studies of many runs: one file, written after each run."""

import json

import pytest
import torch

from attncourse import placement, transfer
from attncourse.sweep import exit_code, sweep

VARIANTS = {"plain": "make plain", "SE": "make SE"}
CONDITIONS = {"network": "small", "config": {"epochs": 3}}


def run(make, seed):
    return {"test_accuracy": 0.5, "made": make}


def test_every_variant_with_every_seed(tmp_path, capsys):
    sweep(tmp_path / "new" / "study.json", CONDITIONS, VARIANTS, [0, 1], run, ["python", "-m", "study"])
    study = json.loads((tmp_path / "new" / "study.json").read_text())
    assert [(each["variant"], each["seed"], each["made"]) for each in study["runs"]] == [
        ("plain", 0, "make plain"), ("SE", 0, "make SE"), ("plain", 1, "make plain"), ("SE", 1, "make SE")]
    assert study["command"] == "python -m study --seeds 0 1"
    assert CONDITIONS.items() <= study.items()
    assert capsys.readouterr().out.splitlines()[0] == "study, plain, seed 0: 50.0%"


def test_finished_runs_are_not_repeated(tmp_path):
    path, calls = tmp_path / "study.json", []

    def stopped_at_the_third(make, seed):
        calls.append(make)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return {"test_accuracy": 0.5}

    with pytest.raises(KeyboardInterrupt):
        sweep(path, CONDITIONS, VARIANTS, [0, 1], stopped_at_the_third, ["study"])
    assert len(json.loads(path.read_text())["runs"]) == 2
    sweep(path, CONDITIONS, VARIANTS, [0, 1], stopped_at_the_third, ["study"])
    assert len(calls) == 5  # four runs and the one that was stopped
    sweep(path, CONDITIONS, VARIANTS, [1], stopped_at_the_third, ["study"])
    assert len(calls) == 5
    assert json.loads(path.read_text())["command"] == "study --seeds 0 1"


@pytest.mark.parametrize(("content", "message"), [
    (json.dumps({"runs": [], "network": "large", "config": {"epochs": 3}}), "other conditions"),
    ('{"runs": [', "is not a study"),
    ("[]", "is not a study"),
    (json.dumps(CONDITIONS), "it has no runs"),
])
def test_a_file_of_something_else_is_left_alone(tmp_path, content, message):
    path = tmp_path / "study.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        sweep(path, CONDITIONS, VARIANTS, [0], run, ["study"])
    assert path.read_text() == content


@pytest.mark.parametrize(("error", "code", "line"), [
    (None, 0, ""),
    (KeyboardInterrupt(), 130, "goes on from there"),
    (ValueError("no such data"), 1, "error: no such data"),
    (OSError("disk full"), 1, "error: disk full"),
    (FloatingPointError("not finite"), 1, "error: not finite"),
    (torch.OutOfMemoryError("CUDA out of memory. Tried to\nallocate"), 1, "error: the GPU's memory is full"),
])
def test_why_a_command_ended_is_one_line(capsys, error, code, line):
    def work():
        if error:
            raise error

    assert exit_code(work) == code
    captured = capsys.readouterr()
    assert line in captured.out + captured.err
    assert (captured.out + captured.err).count("\n") == (code > 0)


@pytest.mark.parametrize("study", [placement, transfer])
def test_no_data_is_one_line(study, tmp_path, capsys):
    assert study.main(["--data", str(tmp_path), "--runs", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: no CIFAR-10 in ")
    assert error.count("\n") == 1
