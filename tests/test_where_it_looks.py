"""The study of where networks look: which maps are scored, and how."""

import json

import pytest
import torch

from attncourse import where_it_looks
from attncourse.datasets.scenes import MEAN, STD, load_scenes, scenes
from attncourse.gates import read_gates
from attncourse.gradcam import class_map, map_and_gradient
from attncourse.localization import energy_inside, pointing_game
from attncourse.training import Normalise, seeded
from attncourse.where_it_looks import LAYERS, MARGINS, NETWORKS, look, own_maps, references

SEEN = scenes(24, seed=(0, 2))
X = Normalise(MEAN, STD)(SEEN.images)


def built(name):
    with seeded(0):
        return NETWORKS[name]().eval()


@pytest.mark.parametrize(("name", "spatial"), [
    ("no attention", False), ("SE", False), ("ECA", False), ("SAM", True), ("CBAM", True), ("BAM", True),
    ("autoencoder", True), ("ECA + SAM", True), ("ECA + autoencoder", True)])
def test_only_gates_with_positions_have_maps(name, spatial):
    maps = own_maps(built(name), X)
    if spatial:
        assert [each.shape for each in maps] == [(24, side, side) for side in (32, 30, 15, 13)]
        assert all(each.min() >= 0 for each in maps)
    else:
        assert maps is None
    assert set(NETWORKS) == {"no attention", "SE", "ECA", "SAM", "CBAM", "BAM", "autoencoder", "ECA + SAM",
                             "ECA + autoencoder"}


def test_bams_map_is_what_it_adds():
    model = built("BAM")
    torch.testing.assert_close(own_maps(model, X)[1], read_gates(model, X)[1].mean(1) - 1)


def test_the_scores_are_those_of_localization():
    model = built("SAM")
    result = look(model, SEEN, Normalise(MEAN, STD))
    own, by_gradient = read_gates(model, X)[3].mean(1), class_map(*map_and_gradient(model, LAYERS[3], X, SEEN.labels))
    assert result["own"]["energy inside"][3] == pytest.approx(
        energy_inside(own, SEEN.masks, margin=3).mean().item(), abs=1e-4)
    assert result["grad_cam"]["pointing game"][3] == pytest.approx(
        pointing_game(by_gradient + 1e-9, SEEN.masks, margin=3).mean().item(), abs=1e-4)


@pytest.mark.parametrize(("layer", "margin"), list(zip(LAYERS, MARGINS)))
def test_the_margins_are_what_the_convolutions_cut_off(layer, margin):
    """A value in the middle of the map sees pixels around the place where the margin puts it."""
    model, outputs = built("no attention"), []
    handle = model.get_submodule(layer).register_forward_hook(lambda _, __, output: outputs.append(output))
    x = X.clone().requires_grad_()
    model(x)
    handle.remove()
    width = outputs[0].shape[-1]
    middle = width // 2
    gradient, = torch.autograd.grad(outputs[0][..., middle, middle].square().sum(), x)
    rows = gradient.abs().sum((0, 1, 3)).nonzero()
    cell = (32 - 2 * margin) / width
    assert (rows.min() + rows.max()) / 2 == margin + (middle + 0.5) * cell - 0.5


def test_references():
    flat, hill, ideal = references(SEEN).values()
    area = SEEN.masks.float().mean().item()
    for score in flat.values():
        assert score == pytest.approx([area] * 4, abs=1e-4)
    assert ideal["energy inside"][0] == ideal["IoU at 0.5"][0] == 1
    assert all(a < h < i for score in hill for a, h, i in zip(flat[score], hill[score], ideal[score]))


def test_the_command_writes_what_it_measured(monkeypatch, tmp_path):
    monkeypatch.setattr(where_it_looks, "load_scenes", lambda *sizes: load_scenes(32, 8, 8))
    monkeypatch.setattr(where_it_looks, "scenes", lambda n, seed: scenes(8, seed=seed))
    monkeypatch.setattr(where_it_looks, "NETWORKS", {name: NETWORKS[name] for name in ("SE", "SAM")})
    assert where_it_looks.main(["--seeds", "3", "--runs", str(tmp_path)]) == 0
    study = json.loads((tmp_path / "where-it-looks.json").read_text())
    channel, spatial = study["runs"]
    assert channel["trained"]["own"] is None
    assert spatial["trained"]["own"] != spatial["before_training"]["own"]
    assert set(study["references"]) == {"flat", "hill", "the object itself"}
