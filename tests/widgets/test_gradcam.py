"""The Grad-CAM widget's numbers, words and stored output."""

import base64
import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from attncourse.widgets.base import CourseWidget
from attncourse.widgets.gradcam import COLOURS, OPACITIES, THRESHOLDS, ClassMaps, Question, blend, region, stretch

VIEW = "application/vnd.jupyter.widget-view+json"
PHOTOS = torch.arange(2 * 3 * 8 * 8, dtype=torch.uint8).view(2, 3, 8, 8)
NAMES, LAYERS = ["a cat", "a cup"], ["early", "late"]


def question(photo: int, name: str, seed: int) -> Question:
    maps = [np.random.default_rng(seed).random((6, 4)), np.random.default_rng(seed + 1).random((2, 3))]
    return Question(photo, name, 2.5, 0.31, maps)


@pytest.fixture
def questions():
    return [question(0, "tabby", 0), question(0, "lynx", 2), question(1, "cup", 4)]


@pytest.fixture
def widget(questions):
    return ClassMaps(PHOTOS, NAMES, LAYERS, questions)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 20))
def test_stretch_is_what_torch_does(h, w, side):
    one_map = np.random.default_rng(0).random((h, w))
    want = F.interpolate(torch.from_numpy(one_map)[None, None], (side, side), mode="bilinear")[0, 0]
    np.testing.assert_allclose(stretch(one_map, side), want, atol=1e-9)


def test_the_region_is_a_share_of_the_highest_value():
    one_map = np.array([[0.0, 2.0]])
    np.testing.assert_array_equal(region(one_map, 2, 0.5), [[False, True]] * 2)
    assert region(one_map, 4, 0.2).mean() == 0.75  # 0, 0.25, 0.75 and 1 of the highest
    assert not region(np.zeros((2, 2)), 4, 0.2).any()


def test_without_opacity_the_photograph_is_seen_and_with_it_colour_where_the_map_is_high():
    photo = PHOTOS[0].numpy().transpose(1, 2, 0)
    halves = np.tile([0.0] * 4 + [1.0] * 4, (8, 1))
    np.testing.assert_array_equal(blend(photo, halves, 0), photo)
    full = blend(photo, halves, 1)
    np.testing.assert_array_equal(full[:, 7], [COLOURS[-1]] * 8)
    np.testing.assert_allclose(full[:, 0], photo[:, 0].mean(1, keepdims=True).repeat(3, 1), atol=0.5)


def test_the_front_end_gets_photographs_and_maps(widget, questions):
    sent = np.frombuffer(widget.data, "u1")
    assert widget.shape == [2 * 8 * 8 * 3 + 3 * (24 + 6)]
    np.testing.assert_array_equal(sent[:384].reshape(2, 8, 8, 3), PHOTOS.numpy().transpose(0, 2, 3, 1))
    rest = sent[384:]
    for each in questions:  # in the order in which class_maps.js counts
        for one_map in each.maps:
            here, rest = rest[:one_map.size], rest[one_map.size:]
            want = one_map / one_map.max()
            np.testing.assert_allclose(here.reshape(one_map.shape) / 255, want, atol=0.5 / 255 + 1e-9)
            assert here.max() == 255
    assert len(rest) == 0
    assert widget.meta["sizes"] == [[6, 4], [2, 3]]
    assert widget.meta["photo"] == [0, 0, 1]


def test_the_summary_by_hand():
    asked = Question(0, "tabby", -0.55, 0.004, [np.array([[0.0, 1.0]]), np.zeros((1, 2))])
    widget = ClassMaps(PHOTOS, NAMES, LAYERS, [asked])
    assert widget.summary == "Tabby: logit -0.6, 0.4 %. Nothing in this 1 × 2 map speaks for it."
    widget.state = {"layer": 0, "threshold": 3}
    assert widget.summary == ("Tabby: logit -0.6, 0.4 %. Highest at row 1, column 2 of 1 × 2; 38 % of the picture "
                              "lies in the outline.")  # 3 of 8 columns reach 80 %
    widget.state = {"threshold": 0}
    assert "62 % of the picture" in widget.summary


def test_every_combination_has_its_sentence(widget):
    sizes = [len(each["options"]) for each in widget.controls]
    assert sizes == [3, 2, len(OPACITIES), len(THRESHOLDS)]
    assert len(widget.summaries) == np.prod(sizes)
    assert len(set(widget.summaries)) > 3 * 2  # they differ by question, layer and threshold, not by opacity
    for place, indices in enumerate(itertools.product(*map(range, sizes))):  # as base.js counts
        widget.state = dict(zip(widget.state, indices))
        assert widget.summaries[place] == widget.summary


def test_state_goes_out_and_comes_back(widget):
    widget.set_state({"state": {"question": 2, "layer": 0, "opacity": 1, "threshold": 3}})  # as the front end does it
    assert widget.chosen == {"question": "a cup: cup", "layer": "early (6 × 4)", "opacity": "40 %",
                             "threshold": "80 % of maximum"}
    widget.state = {"layer": 1}  # from Python, in part
    assert widget.get_state("state") == {"state": {"question": 2, "layer": 1, "opacity": 1, "threshold": 3}}
    assert repr(widget) == "<ClassMaps widget: question = a cup: cup, layer = late (2 × 3), opacity = 40 %, " \
                           "threshold = 80 % of maximum>"


def test_the_stored_output_has_view_picture_and_text(widget, questions):
    data, metadata = widget._repr_mimebundle_()
    assert data["text/plain"] == repr(widget) == repr(ClassMaps(PHOTOS, NAMES, LAYERS, questions))
    assert data[VIEW]["model_id"] == widget.model_id
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert metadata["image/png"]["alt"] == f"{widget.label}. {widget.summary}"
    assert widget._repr_mimebundle_()[0]["image/png"] == data["image/png"]
    for name in widget.state:
        widget.state = {name: 0 if widget.state[name] else 1}
        assert widget._repr_mimebundle_()[0]["image/png"] != data["image/png"], name
        data = widget._repr_mimebundle_()[0]


def test_a_map_of_zeros_can_be_drawn():
    asked = Question(0, "tabby", 1.0, 0.5, [np.zeros((6, 4)), np.zeros((2, 3))])
    assert ClassMaps(PHOTOS, NAMES, LAYERS, [asked])._repr_mimebundle_()[0]["image/png"]


def test_the_module_is_one_default_export_that_fetches_nothing(widget):
    source = widget.get_state("_esm")["_esm"]
    assert source.count("export ") == source.count("export default { render }") == 1
    assert source.count("function draw(svg, ") == 1
    assert "import" not in source
    addresses = [word for word in source.split() if "//" in word[1:] and "http" in word]
    assert addresses == ['"http://www.w3.org/2000/svg";']  # a name space, not a request


def test_every_control_is_native_and_labelled(widget):
    assert isinstance(widget, CourseWidget)
    assert [each["kind"] for each in widget.controls] == ["select", "select", "range", "range"]
    assert all(each["label"] for each in widget.controls)
    assert list(widget.state) == [each["name"] for each in widget.controls]


def test_the_state_of_the_chapters_widget_stays_small():
    """Four photographs of 72 × 72, four classes each, four layers."""
    photos = torch.zeros(4, 3, 72, 72, dtype=torch.uint8)
    maps = [np.random.default_rng(0).random((side, side)) for side in (28, 14, 7, 7)]
    asked = [Question(n, "drilling platform", 12.3, 0.123, maps) for n in range(4) for _ in range(4)]
    state = ClassMaps(photos, ["astronaut"] * 4, ["block 16 of 16"] * 4, asked).get_state(
        ["data", "summaries", "controls", "meta"])
    data = len(base64.b64encode(state.pop("data")))
    assert data + len(json.dumps(state)) < 250_000


@pytest.mark.parametrize(("photos", "names", "changes", "message"), [
    (PHOTOS.float(), NAMES, {}, r"photos must be square, uint8 \(B, 3, S, S\), got float32 \(2, 3, 8, 8\)"),
    (PHOTOS[:, :, 1:], NAMES, {}, r"photos must be square, uint8 \(B, 3, S, S\), got uint8 \(2, 3, 7, 8\)"),
    (PHOTOS, NAMES[:1], {}, "names must name 2 photographs, got 1"),
    (PHOTOS, NAMES, {"photo": 2}, "cup: there are photographs 0 to 1, got 2"),
    (PHOTOS, NAMES, {"maps": [np.ones((6, 4))]}, r"cup: one map per layer.* got \[\(6, 4\)\] for 2 layers"),
    (PHOTOS, NAMES, {"maps": [np.ones((6, 4)), np.ones((3, 3))]}, r"cup: .*of the same sizes"),
    (PHOTOS, NAMES, {"maps": [-np.ones((6, 4)), np.ones((2, 3))]}, "cup: a map must not be negative"),
])
def test_bad_input_is_one_line_that_says_what_is_wrong(photos, names, changes, message):
    with pytest.raises(ValueError, match=message) as error:
        ClassMaps(photos, names, LAYERS, [question(0, "tabby", 0), question(1, "cup", 2)._replace(**changes)])
    assert "\n" not in str(error.value)


def test_no_question_is_an_error():
    with pytest.raises(ValueError, match="questions must hold at least one, got none"):
        ClassMaps(PHOTOS, NAMES, LAYERS, [])


def test_importing_the_widget_brings_no_matplotlib():
    code = "import sys; from attncourse.widgets import gradcam; " \
           "assert not {'matplotlib', 'torchvision', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
