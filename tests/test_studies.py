"""The small studies: every variant is what its name says, and the command keeps what it has."""

import json
import re

import pytest
import torch
from block_contract import generic, images

from attncourse import studies, weights
from attncourse.bam import BAM
from attncourse.datasets.scenes import load_scenes, scenes
from attncourse.gates import attention_blocks
from attncourse.studies import STUDIES, inside, main, network_with_gate_after
from attncourse.training import Normalise, seeded

EACH = [(study, variant) for study, variants in STUDIES.items() for variant in variants]


@pytest.fixture(scope="module")
def few():
    """Scenes to look at, and how to normalise them."""
    data = load_scenes(32, 32, 32)
    return scenes(32, seed=(0, 2)), Normalise(data.mean, data.std)


@pytest.mark.parametrize(("study", "variant"), EACH)
def test_every_variant_takes_scenes_and_its_shares_are_shares(study, variant, few):
    with seeded(0):
        model = STUDIES[study][variant]()
    shares = inside(model, *few)
    assert len(shares) == len(attention_blocks(model))
    assert all(share is None or 0 < share < 1 for share in shares)


def test_the_scenes_with_masks_are_the_test_split(few):
    assert torch.equal(few[0].images, load_scenes(32, 32, 32).test.images)


def test_a_flat_gate_scores_the_area(few):
    """With all weights zero every gate is constant, also BAM's 1 + M."""
    area = few[0].masks.float().mean().item()
    for study, variant in (("cbam", "channel first"), ("bam", "d = 4, r = 4"), ("autoencoder", "code 48")):
        model = STUDIES[study][variant]()
        for block in attention_blocks(model):
            for parameter in block.parameters():
                torch.nn.init.zeros_(parameter)
        assert inside(model, *few) == pytest.approx([area] * 4, abs=1e-3)


def test_a_gate_of_channels_alone_has_no_map(few):
    assert inside(STUDIES["eca"]["adaptive k"](), *few) == [None] * 4


def test_the_gate_after_a_layer_sees_what_the_layer_gives():
    seen = []

    class Probe(torch.nn.Module):
        def forward(self, x):
            seen.append(x.min().item())
            return x

    with seeded(0):
        model = network_with_gate_after("relu", lambda channels: Probe())
    model(images(2, 3, 32, 32))
    assert seen == [0.0] * 4  # after a ReLU nothing is negative


def test_max_bam_differs_from_bam_in_the_squeeze_alone():
    block, other = generic(studies.MaxBAM(8, reduction=1)).eval(), BAM(8, reduction=1).eval()
    other.load_state_dict(block.state_dict())
    flat = torch.ones(2, 8, 4, 4)  # mean and maximum agree
    torch.testing.assert_close(block(flat), other(flat))
    x = images(2, 8, 4, 4)
    assert not torch.allclose(block.channel(x), other.channel(x))
    torch.testing.assert_close(block.spatial(x), other.spatial(x))


def test_with_the_maximum_one_bright_pixel_counts_fully():
    block, pooled = (generic(make(8, 2)).eval() for make in (BAM, studies.MaxBAM))
    x = torch.zeros(1, 8, 16, 16)
    x[..., 3, 3] = 4
    moved = [(each.channel(x) - each.channel(0 * x)).abs().mean() for each in (block, pooled)]
    assert moved[1] > 10 * moved[0]


def test_cam_with_the_mean_alone_is_se():
    """Two variants, one network: the same weights from the same seed, and the same outputs."""
    with seeded(0):
        se = STUDIES["plain"]["SE"]()
    with seeded(0):
        cam = STUDIES["cam-sam"]["CAM avg"]()
    assert all(torch.equal(cam.state_dict()[name], value) for name, value in se.state_dict().items())
    x = images(2, 3, 32, 32)
    assert torch.equal(cam.eval()(x), se.eval()(x))


def test_the_ideal_map_scores_less_the_coarser_it_is():
    shares = studies.ideal_shares(scenes(64, seed=(0, 2)))
    assert shares[0] == pytest.approx(1, abs=1e-3)
    assert shares == sorted(shares, reverse=True)
    assert 0.5 < shares[-1] < 0.7


@pytest.mark.parametrize(("study", "variant", "attribute", "value"), [
    ("cbam", "r = 2", "channel.fc1.out_features", 8), ("cbam", "channel first", "channel.fc1.out_features", 4),
    ("cbam", "kernel 3", "spatial.conv.kernel_size", (3, 3)), ("cbam", "spatial first", "arrangement", "spatial-first"),
    ("cbam", "parallel", "arrangement", "parallel"), ("cbam", "average only", "spatial.conv.in_channels", 1),
    ("bam", "d = 4, r = 4", "convs.2.dilation", (4, 4)), ("bam", "d = 1", "convs.2.dilation", (1, 1)),
    ("bam", "d = 2", "convs.2.dilation", (2, 2)), ("bam", "r = 2", "mlp.0.out_features", 8),
    ("bam", "r = 8", "mlp.0.out_features", 2), ("bam", "product", "combine", "product"),
    ("eca", "k = 9", "conv.kernel_size", (9,)), ("eca", "adaptive k", "conv.kernel_size", (3,)),
    ("autoencoder", "code 12", "encoder.4.out_channels", 12), ("autoencoder", "code 48", "encoder.4.out_channels", 48),
    ("autoencoder", "one step", "multiple", 2), ("autoencoder", "two steps", "multiple", 4),
    ("cam-sam", "SAM 3 × 3", "conv.kernel_size", (3, 3)), ("cam-sam", "SAM max", "conv.in_channels", 1),
])
def test_every_variant_is_what_its_name_says(study, variant, attribute, value):
    seen = attention_blocks(STUDIES[study][variant]())[0]  # at the first place, of 16 channels
    for name in attribute.split("."):
        seen = getattr(seen, name)
    assert seen == value


def test_second_stage_only():
    assert [type(block).__name__ for block in attention_blocks(STUDIES["cbam"]["second stage only"]())] == ["CBAM"] * 2


def test_runs_under_other_conditions_are_not_continued(monkeypatch, tmp_path, capsys):
    (tmp_path / "scenes-plain.json").write_text(json.dumps({"runs": [], "config": {"epochs": 99}}))
    monkeypatch.setattr(studies, "load_scenes", lambda *sizes: load_scenes(8, 8, 8))
    monkeypatch.setattr(studies, "scenes", lambda n, seed: scenes(8, seed=seed))
    assert main(["plain", "--runs", str(tmp_path)]) == 1
    assert "under other conditions" in capsys.readouterr().err


def test_an_interrupted_study_goes_on(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(studies, "load_scenes", lambda *sizes: load_scenes(8, 8, 8))
    monkeypatch.setattr(studies, "scenes", lambda n, seed: scenes(8, seed=seed))
    done = []

    def run(make, seed, data, seen):
        if len(done) == 2:
            done.append("stopped")
            raise KeyboardInterrupt
        done.append(make)
        return {"test_accuracy": 0.5}

    monkeypatch.setattr(studies, "run", run)
    arguments = ["plain", "--seeds", "0", "1", "--runs", str(tmp_path)]
    assert main(arguments) == 130
    assert "goes on from there" in capsys.readouterr().out
    assert main(arguments) == 0
    stored = json.loads((tmp_path / "scenes-plain.json").read_text())
    assert [(run["seed"], run["variant"]) for run in stored["runs"]] == [
        (seed, variant) for seed in (0, 1) for variant in STUDIES["plain"]]
    assert len(done) == 7  # six runs and the stop: nothing twice
    assert stored["command"] == "python -m attncourse.studies plain --seeds 0 1"


def test_one_run_learns_and_says_so(monkeypatch):
    monkeypatch.setattr(studies, "CONFIG", {"epochs": 2, "batch_size": 8, "dtype": "float32"})
    result = studies.run(STUDIES["cbam"]["channel first"], 3, load_scenes(16, 8, 8), scenes(8, seed=(0, 2)))
    assert len(result["val_accuracy"]) == 2
    assert result["inside"] != result["inside_before_training"]


@pytest.fixture
def trained(monkeypatch, tmp_path):
    """A short training of the shipped hybrid, and a folder to ship it to."""
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    monkeypatch.setattr(studies, "load_scenes", lambda *sizes: load_scenes(16, 8, 8))
    monkeypatch.setattr(studies, "CONFIG", {"epochs": 1, "batch_size": 8, "dtype": "float32"})
    with seeded(0):
        model = STUDIES["hybrids"]["ECA, SAM"]()
    fresh = {name: value.clone() for name, value in model.state_dict().items()}
    config = studies.TrainConfig(seed=0, **studies.CONFIG)
    accuracy = studies.train(model, load_scenes(16, 8, 8), config, progress=False).test_accuracy
    return model.state_dict(), fresh, accuracy


def recorded(accuracy: float) -> dict:
    """A study with other runs beside the one that ships."""
    runs = [("ECA, SAM", 1, 2.0), ("SAM, ECA", 0, 3.0), ("ECA, SAM", 0, accuracy)]
    return {"runs": [{"variant": variant, "seed": seed, "test_accuracy": each} for variant, seed, each in runs]}


def test_shipped_weights_are_those_of_the_trained_network(trained, monkeypatch, tmp_path):
    weights_then, fresh, accuracy = trained
    monkeypatch.setattr(studies, "load_study", lambda name: recorded(accuracy))
    assert main(["hybrids", "--ship", "--runs", str(tmp_path)]) == 0
    stored = weights.load_weights("scenes-hybrids-trunk")
    assert not any(name.startswith("classifier") for name in stored)
    name = "stage2.conv2.weight"
    torch.testing.assert_close(stored[name], weights_then[name], rtol=1e-3, atol=1e-4)
    assert not torch.allclose(stored[name], fresh[name], rtol=1e-3, atol=1e-4)


def test_weights_of_another_accuracy_than_the_record_are_not_shipped(trained, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(studies, "load_study", lambda name: recorded(trained[2] + 0.125))
    assert main(["hybrids", "--ship", "--runs", str(tmp_path)]) == 1
    assert re.fullmatch(r"error: scenes-hybrids-trunk is not stored: .* accuracy of \S+%, its record .* says \S+%\n",
                        capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == []


def test_only_some_studies_ship(capsys):
    with pytest.raises(SystemExit):
        main(["plain", "--ship"])
    assert "--ship takes cam-sam, cbam" in capsys.readouterr().err
