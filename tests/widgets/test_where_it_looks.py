"""The numbers and words of the widget that cuts a map against a mask."""

import base64
import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from attncourse import localization
from attncourse.widgets.base import CourseWidget
from attncourse.widgets.where_it_looks import (
    BOTH,
    MAP_ONLY,
    OBJECT_ONLY,
    THRESHOLDS,
    Cut,
    MapScores,
    as_bytes,
    cut,
    overlay,
)

DRAW = np.random.default_rng(0)
IMAGES = torch.arange(2 * 3 * 8 * 8, dtype=torch.uint8).view(2, 3, 8, 8)
MASKS = torch.zeros(2, 8, 8, dtype=torch.bool)
MASKS[0, 1:4, 1:4] = MASKS[1, 5:, 2:6] = True
NAMES = ["red star", "blue moon"]
MAPS = {"SAM": [DRAW.random((2, 8, 8)) for _ in range(3)], "Grad-CAM": [DRAW.random((2, 8, 8)) for _ in range(3)]}


@pytest.fixture
def widget():
    return MapScores(IMAGES, MASKS, NAMES, MAPS)


@pytest.mark.parametrize("percent", THRESHOLDS)
def test_the_cut_is_the_iou_of_the_package(percent):
    values = as_bytes(MAPS["SAM"][0][0])
    want = localization.iou(torch.from_numpy(values[None].astype("f4")), MASKS[:1], percent / 100)
    assert cut(values, MASKS[0].numpy(), percent).iou == pytest.approx(want.item())


def test_a_cut_by_hand():
    values, mask = np.array([[255, 128], [127, 0]], dtype=np.uint8), np.array([[True, False], [True, True]])
    assert cut(values, mask, 50) == Cut(2, 1, 0.25)  # 128 and 255 reach 127.5
    assert cut(values, mask, 90) == Cut(1, 1, 1 / 3)


def test_bytes_keep_the_share_of_the_maximum():
    np.testing.assert_array_equal(as_bytes(np.array([[0.0, 0.2, 0.4]])), [[0, 128, 255]])
    np.testing.assert_array_equal(as_bytes(np.zeros((1, 2))), [[255, 255]])


def test_the_overlay_has_a_colour_for_each_part():
    photo = np.full((2, 2, 3), 100, dtype=np.uint8)
    shown = overlay(photo, np.array([[True, True], [False, False]]), np.array([[True, False], [True, False]]))
    for place, colour in (((0, 0), BOTH), ((0, 1), MAP_ONLY), ((1, 0), OBJECT_ONLY)):
        np.testing.assert_allclose(shown[place], 30 + 0.7 * np.array(colour), atol=0.5)
    np.testing.assert_array_equal(shown[1, 1], [100] * 3)


def test_the_front_end_gets_pictures_masks_and_maps_in_its_order(widget):
    sent = np.frombuffer(widget.data, "u1").reshape(-1, 64)
    assert widget.shape == [len(sent) * 64]
    np.testing.assert_array_equal(sent[:6].reshape(2, 8, 8, 3), IMAGES.numpy().transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(sent[6:8].reshape(2, 8, 8), MASKS)
    for row, (places, place, scene) in zip(sent[8:], itertools.product(MAPS.values(), range(3), range(2))):
        np.testing.assert_array_equal(row.reshape(8, 8), as_bytes(places[place][scene]))
    assert len(sent) == 8 + 2 * 3 * 2
    assert widget.meta["ious"][1][2][0][4] == pytest.approx(
        cut(as_bytes(MAPS["Grad-CAM"][2][0]), MASKS[0].numpy(), 50).iou, abs=1e-3)
    assert widget.meta["areas"] == [round(9 / 64, 3), round(12 / 64, 3)]


def test_the_summary_by_hand():
    one_map = np.zeros((1, 2, 2))
    one_map[0] = [[4, 2], [1, 1]]
    mask = np.array([[[True, False], [True, False]]])
    widget = MapScores(np.zeros((1, 3, 2, 2), np.uint8), mask, ["red star"], {"SAM": [one_map]})
    assert widget.summary == ("Red star, SAM, place 1, cut at 50 %: 2 pixels, the object 2, both 1: IoU 0.33. "
                              "Energy 62 %, flat 50 %.")
    widget.state = {"threshold": 0}
    assert "4 pixels, the object 2, both 2: IoU 0.50" in widget.summary


def test_every_combination_has_its_own_sentence(widget):
    assert len(set(widget.summaries)) == len(widget.summaries) == 2 * 2 * 3 * len(THRESHOLDS)
    for place, indices in enumerate(itertools.product(*(range(len(each["options"])) for each in widget.controls))):
        widget.state = dict(zip(widget.state, indices))
        assert widget.summaries[place] == widget.summary


def test_the_still_picture_follows_the_state(widget):
    first = widget._repr_mimebundle_()[0]["image/png"]
    assert base64.b64decode(first).startswith(b"\x89PNG")
    for name in ("scene", "map", "place", "threshold"):
        widget.state = {name: 1 if widget.state[name] == 0 else 0}
        second = widget._repr_mimebundle_()[0]["image/png"]
        assert first != second
        first = second


def test_controls_are_native_and_labelled(widget):
    assert isinstance(widget, CourseWidget)
    assert [each["kind"] for each in widget.controls] == ["select", "select", "range", "range"]
    assert all(each["label"] for each in widget.controls)
    assert repr(widget) == "<MapScores widget: scene = red star, map = SAM, place = 3, threshold = 50 %>"


def test_a_map_of_zeros_counts_as_flat():
    zero = MapScores(IMAGES, MASKS, NAMES, {"SAM": [np.zeros((2, 8, 8))]})
    assert "64 pixels, the object 9, both 9: IoU 0.14. Energy 14 %, flat 14 %" in zero.summary


def test_one_pixel_is_not_pixels():
    point = np.zeros((2, 8, 8))
    point[:, 2, 2] = 1
    assert ": 1 pixel, the object 9, both 1: IoU 0.11." in MapScores(IMAGES, MASKS, NAMES, {"SAM": [point]}).summary


def test_the_state_of_the_chapters_widget_stays_small():
    maps = {f"Grad-CAM, CBA{n}": [DRAW.random((4, 32, 32)) for _ in range(4)] for n in range(5)}
    masks = np.zeros((4, 32, 32), dtype=bool)
    masks[:, 4:9, 4:9] = True
    state = MapScores(np.zeros((4, 3, 32, 32), np.uint8), masks, ["yellow triangle"] * 4, maps).get_state(
        ["data", "summaries", "controls", "meta"])
    assert len(base64.b64encode(state.pop("data"))) + len(json.dumps(state)) < 260_000


@pytest.mark.parametrize(("changes", "message"), [
    ({"images": IMAGES.float()}, r"images must be uint8 \(N, 3, S, S\), got float32 \(2, 3, 8, 8\)"),
    ({"masks": MASKS[:1]}, r"masks must be bool \(2, 8, 8\), each True somewhere, got bool \(1, 8, 8\)"),
    ({"masks": MASKS & False}, "each True somewhere"),
    ({"names": NAMES[:1]}, "names must name 2 images, got 1"),
    ({"maps": {}}, "as many places for each name, got {}"),
    ({"maps": {"SAM": MAPS["SAM"], "BAM": MAPS["SAM"][:1]}}, "got {'SAM': 3, 'BAM': 1}"),
    ({"maps": {"SAM": [np.ones((2, 4, 4))]}}, r"SAM, place 1: a map must be \(2, 8, 8\), got \(2, 4, 4\)"),
    ({"maps": {"SAM": [-np.ones((2, 8, 8))]}}, "SAM, place 1: .* not negative, its lowest value is -1"),
    ({"maps": {"SAM": [np.full((2, 8, 8), np.nan)]}}, "SAM, place 1: a map must be finite"),
])
def test_bad_input_is_one_line_that_says_what_is_wrong(changes, message):
    given = {"images": IMAGES, "masks": MASKS, "names": NAMES, "maps": MAPS} | changes
    with pytest.raises(ValueError, match=message) as error:
        MapScores(**given)
    assert "\n" not in str(error.value)


def test_importing_the_widget_brings_no_matplotlib():
    code = "import sys; from attncourse.widgets import where_it_looks; " \
           "assert not {'matplotlib', 'torchvision', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
