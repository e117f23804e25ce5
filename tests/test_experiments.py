"""The command that makes records: it skips finished runs, shares out the others, and survives what stops it."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
from interruption import stop_at_call
from safetensors.torch import load_file
from torch import nn

from attncourse import experiments, seed_stack, training
from attncourse.backbone import ReportCNN
from attncourse.datasets.images import ImageData, Split, digest
from attncourse.experiments import COLUMNS, main, mixed
from attncourse.record_file import append_records, read_records
from attncourse.seed_stack import SeedRun, SeedsDiverged
from attncourse.training import TrainConfig


def narrow() -> ReportCNN:
    return ReportCNN(widths=(4, 4))


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Twelve noisy images, three epochs and narrow networks instead of CIFAR-10 and the report's."""
    pixels = torch.randint(0, 256, (12, 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    split = Split(pixels, torch.arange(12) % 10)
    data = ImageData("noise", tuple("abcdefghij"), split, split, split, (0.5,) * 3, (0.2,) * 3, "here", digest(split))
    monkeypatch.setattr(experiments, "load_cifar10", lambda root: data)
    monkeypatch.setattr(experiments, "TrainConfig",
                        lambda epochs: TrainConfig(epochs=3, batch_size=4, lr=0.01, dtype="float32"))
    for networks in COLUMNS.values():
        for name in networks:
            monkeypatch.setitem(networks, name, narrow)
    return ["--runs", str(tmp_path)], tmp_path / "cifar10.jsonl"


def runs_in(path):
    return [(record.network, record.column, record.seed) for record in read_records(path)]


def figures(record):
    """What two runs of the same network, seed and column have in common."""
    return replace(record, epochs=[epoch | {"seconds": 0} for epoch in record.epochs], wall_seconds=0,
                   images_per_second=0, date="", command="")


def test_one_record_a_run(small, capsys):
    options, path = small
    assert main(["cnn", "cnn+se", "--seeds", "3", "1", *options]) == 0
    assert runs_in(path) == [(name, "as described", seed) for seed in (3, 1) for name in ("cnn", "cnn+se")]
    record = read_records(path)[1]
    assert record.command == "python -m attncourse.experiments cnn+se --column as-described --seeds 3"
    assert record.complete
    assert len(record.epochs) == 3
    assert "cnn+se, as described, seed 3: test accuracy" in capsys.readouterr().out
    assert [file for file in path.parent.iterdir() if file.suffix in (".safetensors", ".checkpoint")] == []


def test_without_names_it_takes_the_reports_nine(small):
    options, path = small
    assert main(["--column", "as-coded", *options]) == 0
    assert runs_in(path) == [(name, "as coded", 0) for name in experiments.AS_CODED]


def test_a_column_has_only_its_own_networks(small):
    options, path = small
    assert main(["--column", "as-coded-default-gates", *options]) == 0
    assert {name for name, *_ in runs_in(path)} == experiments.AS_CODED.keys() - {"cnn", "cnn-three-stages"}


def test_a_finished_run_is_not_repeated(small, monkeypatch):
    options, path = small
    assert main(["cnn", *options]) == 0
    before = path.read_text()
    monkeypatch.setattr(experiments, "train", lambda *_, **__: pytest.fail("it was trained again"))
    assert main(["cnn", *options]) == 0
    assert path.read_text() == before


def test_weights_are_kept_on_demand(small):
    options, path = small
    assert main(["cnn", "--keep-weights", *options]) == 0
    assert load_file(path.parent / "cifar10-as-described-cnn-seed0.safetensors").keys() == narrow().state_dict().keys()


def test_a_run_that_is_interrupted_goes_on_after_its_last_epoch(small, monkeypatch, capsys, tmp_path):
    """Stopped in the second epoch of the second run and called again, all is as if it had never been stopped."""
    options, path = small
    asked = ["cnn", "cnn+bam", "--keep-weights"]
    assert main([*asked, "--runs", str(tmp_path / "never stopped")]) == 0
    begun = stop_at_call(monkeypatch, training, "train_epoch", 5)
    assert main([*asked, *options]) == 130
    assert "the same command goes on from there" in capsys.readouterr().out
    assert runs_in(path) == [("cnn", "as described", 0)]
    assert (path.parent / "cifar10-as-described-cnn+bam-seed0.checkpoint").exists()
    assert main([*asked, *options]) == 0
    assert len(begun) == 3 + 2 + 2  # the run, an epoch and the stop, the rest
    never_stopped = tmp_path / "never stopped"
    assert list(map(figures, read_records(path))) == list(map(figures, read_records(never_stopped / "cifar10.jsonl")))
    for name in ("cifar10-as-described-cnn-seed0", "cifar10-as-described-cnn+bam-seed0"):
        other = load_file(never_stopped / f"{name}.safetensors")
        for key, value in load_file(path.parent / f"{name}.safetensors").items():
            assert torch.equal(value, other[key]), key


def test_seeds_side_by_side_make_the_same_records(small, monkeypatch, tmp_path):
    options, path = small
    def without_dropout():  # its masks are the one thing that differs
        model = narrow()
        for module in model.modules():
            if isinstance(module, nn.Dropout | nn.Dropout2d):
                module.p = 0.0
        return model

    monkeypatch.setitem(COLUMNS["as-coded"], "cnn", without_dropout)
    asked = ["cnn", "--column", "as-coded", "--seeds", "0", "5", "2"]
    assert main([*asked, "--together", "2", *options]) == 0
    assert main([*asked, "--runs", str(tmp_path / "alone")]) == 0
    alone = read_records(tmp_path / "alone" / "cifar10.jsonl")
    assert [record.seed for record in read_records(path)] == [0, 5, 2]
    for mine, other in zip(read_records(path), alone, strict=True):  # to rounding, which grows from step to step
        assert mine.epochs[0]["train_loss"] == pytest.approx(other.epochs[0]["train_loss"], rel=1e-3)
        assert mine.epochs[2]["val_loss"] == pytest.approx(other.epochs[2]["val_loss"], rel=0.05)
    assert read_records(path)[0].command.endswith("--seeds 0 5 --together 2")


def test_a_diverged_run_does_not_stop_the_others(small, monkeypatch, capsys):
    options, path = small
    real = experiments.train

    def diverge(model, data, config, **about):
        if about["network"] == "cnn+eca":
            raise FloatingPointError("the training loss became nan")
        return real(model, data, config, **about)

    monkeypatch.setattr(experiments, "train", diverge)
    assert main(["cnn", "cnn+eca", "cnn+cbam", *options]) == 1
    assert [name for name, *_ in runs_in(path)] == ["cnn", "cnn+cbam"]
    error = capsys.readouterr().err
    assert error.startswith("error: cnn+eca, as described, seed 0: the training loss became nan; to try again, delete ")
    assert error.count("\n") == 1
    monkeypatch.setattr(experiments, "train", lambda *_, **__: pytest.fail("it was trained again"))
    assert main(["cnn", "cnn+eca", "cnn+cbam", *options]) == 1
    (path.parent / "cifar10-as-described-cnn+eca-seed0.diverged").unlink()
    monkeypatch.setattr(experiments, "train", real)
    assert main(["cnn", "cnn+eca", "cnn+cbam", *options]) == 0


def test_only_seeds_of_one_network_are_trained_side_by_side(small):
    options, path = small
    assert main(["cnn", "cnn+se", "--seeds", "0", "1", "2", "--together", "2", *options]) == 0
    assert runs_in(path) == [(name, "as described", seed) for name, seed in (
        ("cnn", 0), ("cnn", 1), ("cnn+se", 0), ("cnn+se", 1), ("cnn", 2), ("cnn+se", 2))]
    commands = [record.command.split("--seeds ")[1] for record in read_records(path)]
    assert commands == ["0 1 --together 2"] * 4 + ["2 --together 2"] * 2


def test_seeds_side_by_side_go_on_after_their_last_epoch(small, monkeypatch, tmp_path):
    options, path = small
    asked = ["cnn", "--seeds", "0", "1", "2", "--together", "3"]
    assert main([*asked, "--runs", str(tmp_path / "never stopped")]) == 0
    begun = stop_at_call(monkeypatch, seed_stack, "train_epoch_of_seeds", 2)
    assert main([*asked, *options]) == 130
    assert runs_in(path) == []
    assert main(["cnn", "--seeds", "0", "2", "--together", "2", *options]) == 0  # another stack does not disturb it
    assert runs_in(path) == [("cnn", "as described", 0), ("cnn", "as described", 2)]
    path.unlink()
    before = len(begun)
    assert main([*asked, *options]) == 0
    assert len(begun) == before + 2  # the epochs that were left
    never_stopped = read_records(tmp_path / "never stopped" / "cifar10.jsonl")
    assert list(map(figures, read_records(path))) == list(map(figures, never_stopped))


def test_a_run_that_another_process_finishes_in_between_is_not_repeated(small, monkeypatch):
    """After this process looked what is finished, and before it got the lock."""
    options, path = small
    assert main(["cnn", *options]) == 0
    (record,) = read_records(path)
    path.unlink()
    real = experiments.claim

    def finished_meanwhile(*arguments):
        claimed = real(*arguments)
        if not path.exists():
            append_records(path, [record])
        return claimed

    monkeypatch.setattr(experiments, "claim", finished_meanwhile)
    monkeypatch.setattr(experiments, "train", lambda *_, **__: pytest.fail("it was trained again"))
    assert main(["cnn", *options]) == 0
    assert read_records(path) == [record]


def test_a_run_that_diverges_in_another_process_in_between_is_not_tried_again(small, monkeypatch, capsys):
    options, path = small
    real = experiments.claim

    def diverged_meanwhile(*arguments):
        claimed = real(*arguments)
        experiments.diverged(claimed[0], path.parent).write_text("the loss became nan")
        return claimed

    monkeypatch.setattr(experiments, "claim", diverged_meanwhile)
    monkeypatch.setattr(experiments, "train", lambda *_, **__: pytest.fail("it was trained again"))
    assert main(["cnn", *options]) == 1
    assert "the loss became nan" in capsys.readouterr().err


def test_a_quick_run_touches_nothing_of_a_real_one(small):
    options, path = small
    assert main(["cnn", "--keep-weights", *options]) == 0
    before = {file.name: file.read_bytes() for file in path.parent.iterdir() if file.is_file()}
    assert main(["cnn", "--keep-weights", "--quick", *options]) == 0
    assert {name: (path.parent / name).read_bytes() for name in before} == before
    assert len(read_records(path.parent / "quick" / "cifar10.jsonl")) == 1


def test_a_seed_that_diverges_beside_others_loses_only_itself(small, monkeypatch, capsys):
    options, path = small
    real = experiments.train_seeds

    def one_diverges(make, data, config, seeds, **about):
        records, weights = real(make, data, config, [seed for seed in seeds if seed != 1], **about)
        lost = SeedRun(1)
        lost.diverged = True
        raise SeedsDiverged([lost], config, records, weights)

    monkeypatch.setattr(experiments, "train_seeds", one_diverges)
    assert main(["cnn", "--seeds", "0", "1", "2", "--together", "3", *options]) == 1
    assert [seed for *_, seed in runs_in(path)] == [0, 2]
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith("error: cnn, as described, seed 1: ")


# ---- bad input: one clear line, nothing lost ------------------------------------------------------------------------


@pytest.mark.parametrize(("asked", "message"), [
    (["cnn", "resnet"], "no network 'resnet' as-described: choose from cnn, cnn+eca"),
    (["cnn+se", "--column", "as-coded"], "no network 'cnn+se' as-coded"),
    (["cnn", "--seeds", "0", "1", "0"], "--seeds 0 is asked twice"),
    (["cnn", "cnn"], "network cnn is asked twice"),
    (["cnn", "--together", "0"], "--together must be at least 1"),
    (["cnn", "--seeds", "99999999999999999999"], "seeds from 0 to"),
])
def test_what_cannot_be_asked(small, capsys, asked, message):
    options, path = small
    with pytest.raises(SystemExit):
        main([*asked, *options])
    assert message in capsys.readouterr().err
    assert not path.exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"])
def test_a_damaged_checkpoint_is_said_in_one_line(small, capsys, content):
    options, path = small
    (path.parent / "cifar10-as-described-cnn-seed0.checkpoint").write_bytes(content)
    assert main(["cnn", *options]) == 1
    assert "is damaged" in capsys.readouterr().err


def test_a_checkpoint_of_another_run_is_refused(small, monkeypatch, capsys):
    options, path = small
    stop_at_call(monkeypatch, training, "train_epoch", 2)
    assert main(["cnn", *options]) == 130
    name = "cifar10-as-described-cnn-seed"
    (path.parent / f"{name}0.checkpoint").rename(path.parent / f"{name}1.checkpoint")
    assert main(["cnn", "--seeds", "1", *options]) == 1
    assert "belongs to another run" in capsys.readouterr().err


@pytest.mark.parametrize("change", [{"dataset_sha256": "0"}, {"config": {"epochs": 9, "batch_size": 4, "lr": 0.01,
                                                                         "augment": False}}])
def test_records_of_other_images_or_another_protocol_are_not_mixed(small, capsys, change):
    options, path = small
    assert main(["cnn", *options]) == 0
    path.write_text(replace(*read_records(path), **change).to_json() + "\n")
    before = path.read_text()
    assert main(["cnn", "cnn+eca", *options]) == 1
    assert "cifar10-as-described-cnn-seed0 on other images or by another protocol" in capsys.readouterr().err
    assert path.read_text() == before


def test_a_record_that_was_cut_short_is_made_again(small, capsys):
    options, path = small
    assert main(["cnn", "cnn+eca", *options]) == 0
    whole = list(map(figures, read_records(path)))
    path.write_text(path.read_text()[:-30])
    assert main(["cnn", "cnn+eca", *options]) == 0
    assert "had been cut short" in capsys.readouterr().out
    assert list(map(figures, read_records(path))) == whole


def test_missing_data_is_said_in_one_line(capsys, tmp_path):
    assert main(["cnn", "--data", str(tmp_path), "--runs", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_the_test_images_are_mixed_with_their_labels():
    images = torch.arange(40).view(40, 1, 1, 1).expand(40, 3, 2, 2).to(torch.uint8)
    split = Split(images, torch.arange(40) // 4)
    data = ImageData("sorted", tuple("abcdefghij"), split, split, split, (0.5,) * 3, (0.2,) * 3, "here", digest(split))
    test = mixed(data).test
    assert torch.equal(test.images[:, 0, 0, 0] // 4, test.labels)
    assert sorted(test.images[:, 0, 0, 0].tolist()) == list(range(40))
    neighbours_alike = (test.labels == test.labels.roll(1)).float().mean()
    assert neighbours_alike < 0.3  # sorted by class it is 0.75
    assert mixed(data).train is data.train


# ---- more than one process ------------------------------------------------------------------------------------------

MODULE = ["-m", "attncourse.experiments"]
QUICK = ["cnn", "cnn+eca", "--column", "as-coded", "--quick", "--seeds", "0", "1"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "ATTNCOURSE_BUDGET": "smoke"}


def torchrun(processes, *arguments):
    return [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes), "--master-port", "0",
            *arguments]


@pytest.fixture(scope="module")
def by_one_process(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    subprocess.run([sys.executable, *MODULE, *QUICK, "--runs", str(folder)], env=ENVIRONMENT, check=True, timeout=200)
    return sorted_figures(folder)


def sorted_figures(folder):
    records = read_records(folder / "quick" / "cifar10.jsonl")
    return sorted(map(figures, records), key=lambda record: (record.network, record.seed))


@pytest.mark.parametrize("processes", [2, 4])
def test_torchrun_makes_the_table_of_one_process(processes, by_one_process, tmp_path):
    subprocess.run(torchrun(processes, *MODULE, *QUICK, "--runs", str(tmp_path)), env=ENVIRONMENT, check=True,
                   timeout=200)
    assert sorted_figures(tmp_path) == by_one_process
    assert list(tmp_path.rglob("*.checkpoint")) == []


def test_torchrun_starts_a_killed_worker_again_and_nothing_is_done_twice(by_one_process, tmp_path):
    """One worker kills itself, once, when its first run is half done."""
    driver = tmp_path / "driver.py"
    driver.write_text(f"""
import os, pathlib, signal, sys
from attncourse import experiments
once, real = pathlib.Path({str(tmp_path / 'once')!r}), experiments.train

def train(*arguments, after_epoch, **about):
    def die():
        if os.environ["RANK"] == "1" and not once.exists():
            once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        after_epoch()
    return real(*arguments, after_epoch=die, **about)

experiments.train = train
sys.exit(experiments.main({[*QUICK, '--runs', str(tmp_path)]!r}))
""")
    result = subprocess.run(torchrun(2, "--max-restarts", "1", str(driver)), env=ENVIRONMENT, check=True, timeout=200,
                            capture_output=True, text=True)
    assert (tmp_path / "once").exists()
    assert "exitcode: -9" in result.stderr
    assert sorted_figures(tmp_path) == by_one_process


def test_the_runs_of_a_process_that_dies_are_taken_over(tmp_path):
    """A process holds the only run and hangs; another one waits for it; when the first is killed, it does the run."""
    driver = tmp_path / "driver.py"
    asked = ["cnn", "--quick", "--runs", str(tmp_path)]
    driver.write_text("import sys, time\nfrom attncourse import experiments\n"
                      "experiments.train = lambda *_, **__: print('held', flush=True) or time.sleep(600)\n"
                      f"experiments.main({asked!r})")
    hanging = subprocess.Popen([sys.executable, str(driver)], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
    while "held" not in hanging.stdout.readline():
        assert hanging.poll() is None
    waiting = subprocess.Popen([sys.executable, *MODULE, *asked], env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    time.sleep(12)  # it has long found the run held
    assert waiting.poll() is None
    assert read_records(tmp_path / "quick" / "cifar10.jsonl") == []
    hanging.send_signal(signal.SIGKILL)
    hanging.wait()
    assert waiting.wait(120) == 0
    assert [record.network for record in read_records(tmp_path / "quick" / "cifar10.jsonl")] == ["cnn"]
