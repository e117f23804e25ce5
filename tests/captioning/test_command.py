"""python -m attncourse.captioning: train, evaluate, caption, on a small Flickr8k and on a few scenes."""

import json

import pytest
import torch
from PIL import Image
from torch import nn

from attncourse import weights as course_weights
from attncourse.captioning import __main__ as command
from attncourse.captioning import encoder, storage, training
from attncourse.captioning.__main__ import main

SENTENCES = ("A red dog runs .", "A red dog sleeps .", "The red dog runs home .", "A dog .", "The dog sleeps .")


@pytest.fixture
def flickr(tmp_path, monkeypatch):
    """24 photographs in the official layout, and an encoder that is no network."""
    root = tmp_path / "flickr8k"
    (root / "Images").mkdir(parents=True)
    names = [f"{i}.jpg" for i in range(24)]
    for i, name in enumerate(names):
        Image.new("RGB", (30, 20), (10 * i, 50, 200)).save(root / "Images" / name)
    (root / "Flickr8k.token.txt").write_text("".join(
        f"{name}#{n}\t{sentence}\n" for name in names for n, sentence in enumerate(SENTENCES)))
    for kind, part in (("train", names[:12]), ("dev", names[12:18]), ("test", names[18:])):
        (root / f"Flickr_8k.{kind}Images.txt").write_text("\n".join(part))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        small = nn.Sequential(nn.AdaptiveAvgPool2d(7), nn.Conv2d(3, 1280, 1), nn.ReLU()).requires_grad_(False)
    for module in (encoder, storage):
        monkeypatch.setattr(module, "pretrained_parts", lambda layers: [small])
    storage.photographer.cache_clear()
    yield root
    storage.photographer.cache_clear()


def test_train_evaluate_caption(flickr, tmp_path, capsys):
    runs = tmp_path / "runs"
    place = ["--root", str(flickr), "--runs", str(runs)]
    assert main(["train", *place, "--variants", "C-S", "none", "--seeds", "0", "--epochs", "1"]) == 0
    study = json.loads((runs / "captions-flickr8k.json").read_text())
    assert [(run["variant"], run["seed"]) for run in study["runs"]] == [("C-S", 0), ("none", 0)]
    assert study["dataset"] == "Flickr8k, official split"
    assert study["pictures"] == {"train": 12, "val": 6, "test": 6}
    assert study["config"]["epochs"] == 1
    assert study["references"]["18.jpg"] == list(SENTENCES)
    assert study["command"] == ("python -m attncourse.captioning train --data flickr8k --variants C-S none "
                                "--epochs 1 --seeds 0")
    first = study["runs"][0]
    assert list(first["captions"]) == [f"{i}.jpg" for i in range(18, 24)]
    assert first["complete"]
    assert not list(runs.glob("*.checkpoint"))
    weights = runs / "captions-flickr8k-C-S-seed0.safetensors"
    capsys.readouterr()

    assert main(["evaluate", str(weights), *place]) == 0
    printed = capsys.readouterr().out
    assert "Flickr8k, official split, test split, 6 pictures, beam 3" in printed
    assert f"BLEU-4   {first['test']['BLEU-4']:.3f}" in printed

    photo = flickr / "Images" / "18.jpg"
    assert main(["caption", str(photo), "--weights", str(weights)]) == 0
    assert capsys.readouterr().out == f"{photo}: {first['captions']['18.jpg']}\n"

    assert main(["train", *place, "--variants", "C-S", "none", "--seeds", "0", "--epochs", "1"]) == 0
    assert "BLEU" not in capsys.readouterr().out  # nothing is repeated


def test_shipping_checks_the_scores(flickr, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "weights"
    monkeypatch.setattr(course_weights, "FOLDER", folder)
    runs = tmp_path / "runs"
    place = ["--root", str(flickr), "--runs", str(runs)]
    assert main(["train", *place, "--variants", "S", "--epochs", "1"]) == 0
    weights = runs / "captions-flickr8k-S-seed0.safetensors"
    assert main(["ship", str(weights), *place]) == 0
    assert json.loads((folder / "index.json").read_text())["captioner-flickr8k"]["command"] == (
        "python -m attncourse.captioning ship captions-flickr8k-S-seed0.safetensors")
    shipped = course_weights.stored("captioner-flickr8k")
    assert shipped.stat().st_size < 0.6 * weights.stat().st_size
    model, vocabulary, about = storage.load_captioner()
    assert vocabulary.words[3:] == ("a", "dog", "home", "red", "runs", "sleeps", "the")
    before = shipped.read_bytes()

    content = storage.packed(model, vocabulary, about | {"test": {"BLEU-4": about["test"]["BLEU-4"] + 0.01}})
    weights.write_bytes(content)
    assert main(["ship", str(weights), *place]) == 1
    assert "error: not shipped: in half precision BLEU-4 is" in capsys.readouterr().err
    assert shipped.read_bytes() == before


def test_an_interrupted_run_goes_on(flickr, tmp_path, monkeypatch, capsys):
    place = ["--root", str(flickr), "--runs", str(tmp_path / "runs"), "--variants", "none", "--epochs", "2"]
    mean_loss = command.train_captioner.__globals__["mean_loss"]
    calls = []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise SystemExit("killed")
        return mean_loss(*arguments)

    monkeypatch.setitem(command.train_captioner.__globals__, "mean_loss", interrupted)
    with pytest.raises(SystemExit):
        main(["train", *place])
    assert len(list((tmp_path / "runs").glob("*.checkpoint"))) == 1
    assert main(["train", *place]) == 0
    assert len(calls) == 3  # the first epoch was not trained again
    study = json.loads((tmp_path / "runs" / "captions-flickr8k.json").read_text())
    assert len(study["runs"][0]["epochs"]) == 2


def test_a_run_that_is_stopped_by_hand_is_not_entered(flickr, tmp_path, monkeypatch, capsys):
    place = ["--root", str(flickr), "--runs", str(tmp_path / "runs"), "--variants", "none", "--epochs", "3"]
    steps, train_step = [], training.train_step

    def stopped(*arguments):
        steps.append(1)
        if len(steps) == 2:  # there is one step in an epoch: this is the second epoch
            raise KeyboardInterrupt
        return train_step(*arguments)

    monkeypatch.setattr(training, "train_step", stopped)
    assert main(["train", *place]) == 130
    assert "the same command goes on from there" in capsys.readouterr().out
    assert not (tmp_path / "runs" / "captions-flickr8k.json").exists()
    assert main(["train", *place]) == 0
    assert len(steps) == 4  # the first epoch was not trained again


def test_scenes_are_scored_against_their_masks(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "SCENES", (64, 8, 16))
    assert main(["train", "--data", "scenes", "--runs", str(tmp_path), "--variants", "S", "C", "--epochs", "1"]) == 0
    study = json.loads((tmp_path / "captions-scenes.json").read_text())
    spatial, channel = study["runs"]
    assert channel["inside"] is None
    assert 0 < spatial["inside"]["shape"][0] < 1
    assert spatial["inside"] != spatial["inside_next"]
    assert set(spatial["right"]) == {"size", "colour", "shape", "place", "grey"}
    assert study["area"] < study["ideal"] < 1
    weights = tmp_path / "captions-scenes-S-seed0.safetensors"
    assert main(["evaluate", str(weights), "--runs", str(tmp_path)]) == 0
    assert f"CIDEr    {spatial['test']['CIDEr']:.3f}" in capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "message"), [
    (["train", "--root", "nowhere"], "error: no Flickr8k in nowhere"),
    (["evaluate", "nowhere.safetensors"], "error: No such file or directory"),
    (["caption", "nowhere.jpg"], "error: nowhere.jpg cannot be read as an image"),
])
def test_bad_input_is_one_line(arguments, message, capsys):
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith(message)
    assert error.count("\n") == 1


def test_a_damaged_photograph_is_named_and_the_finished_maps_stay(flickr, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(encoder, "SHARD", 6)
    (flickr / "Images" / "8.jpg").write_bytes(b"no picture")
    place = ["--root", str(flickr), "--runs", str(tmp_path / "runs")]
    assert main(["train", *place]) == 1
    assert "8.jpg cannot be read as an image" in capsys.readouterr().err
    assert len(list((tmp_path / "runs" / "maps").iterdir())) == 1
