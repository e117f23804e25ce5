"""The ECA widget's numbers, words and stored output. How it looks and answers in a browser is tests/site's business."""

import base64
import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from traitlets import TraitError

from attncourse.eca import ECA
from attncourse.widgets.eca import KernelOnMeans, sigmoid, signed, slide

MEANS = np.array([[1.0, -2.0, 0.5, 0.0], [0.25, 0.5, -1.0, 2.0]])
KERNELS = {"own mean": [2.0], "three": [0.5, 1.0, -1.0]}
VIEW = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
def widget():
    return KernelOnMeans(MEANS, ["cat", "rocket"], KERNELS, channel=1)


# the numbers


def test_sliding_by_hand():
    logits = slide(MEANS[:1], [0.5, 1.0, -1.0])
    np.testing.assert_allclose(logits, [[1 + 2, 0.5 - 2 - 0.5, -1 + 0.5 - 0, 0.25 + 0]])


@pytest.mark.parametrize("k", [1, 3, 5])
def test_the_gates_are_those_of_the_block(k):
    generator = torch.Generator().manual_seed(k)
    block = ECA(9, k)
    with torch.no_grad():
        block.conv.weight.copy_(torch.randn(1, 1, k, generator=generator))
        x = torch.randn(3, 9, 4, 5, generator=generator)
        gates = block.attention(x).flatten(1)
    ours = sigmoid(slide(x.mean((2, 3)).numpy(), block.conv.weight.detach().flatten().numpy()))
    np.testing.assert_allclose(ours, gates.numpy(), atol=1e-6)


def test_the_front_end_gets_means_and_gates(widget):
    sent = np.frombuffer(widget.data, "<f4").reshape(widget.shape)
    assert sent.shape == (2, 3, 4)
    np.testing.assert_allclose(sent[:, 0], MEANS)
    for number, kernel in enumerate(KERNELS.values(), 1):
        np.testing.assert_allclose(sent[:, number], sigmoid(slide(MEANS, kernel)), rtol=1e-6)
    assert widget.meta == {"kernels": list(KERNELS.values())}


# the words


def test_the_summary_does_the_sum(widget):
    widget.state = {"kernel": 1}
    assert widget.summary == ("cat, channel 1: 0.50 · 1.00 + 1.00 · −2.00 + −1.00 · 0.50 = −2.00; gate 0.12. "
                              "Sees 3 of 4 means.")
    widget.state = {"channel": 0}
    assert widget.summary == ("cat, channel 0: 0.50 · 0 + 1.00 · 1.00 + −1.00 · −2.00 = 3.00; gate 0.95. "
                              "Sees 2 of 4 means, 1 beyond the end.")
    widget.state = {"kernel": 0, "photo": 1}
    assert widget.summary == "rocket, channel 0: 2.00 · 0.25 = 0.50; gate 0.62. Sees 1 of 4 means."


def test_zero_has_no_sign():
    assert [signed(value) for value in (-0.001, -0.25, 0.25)] == ["0.00", "−0.25", "0.25"]


def test_every_combination_has_its_own_sentence(widget):
    sizes = [len(each["options"]) for each in widget.controls]
    assert len(widget.summaries) == len(set(widget.summaries)) == np.prod(sizes)
    for place, indices in enumerate(itertools.product(*map(range, sizes))):  # as base.js counts
        widget.state = dict(zip(widget.state, indices))
        assert widget.summaries[place] == widget.summary


def test_the_text_says_what_is_chosen_and_is_the_same_every_time(widget):
    assert repr(widget) == "<KernelOnMeans widget: photo = cat, kernel = own mean, channel = 1>"
    assert widget.model_id not in repr(widget)


# state and stored output


def test_state_goes_out_and_comes_back(widget):
    before = widget.state
    widget.set_state({"state": {**before, "photo": 1}})  # as the front end does it
    assert widget.chosen["photo"] == "rocket"
    widget.state = {"photo": 0}
    assert widget.get_state("state") == {"state": before}
    with pytest.raises(TraitError, match=r"^state "):
        widget.state = {"channel": 4}


def test_the_stored_output_has_view_picture_and_text(widget):
    data, metadata = widget._repr_mimebundle_()
    assert data["text/plain"] == repr(widget)
    assert data[VIEW]["model_id"] == widget.model_id
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert metadata["image/png"]["alt"] == f"{widget.label}. {widget.summary}"
    assert widget._repr_mimebundle_()[0]["image/png"] == data["image/png"]
    widget.state = {"channel": 0}
    assert widget._repr_mimebundle_()[0]["image/png"] != data["image/png"]


def test_the_state_of_four_photographs_and_three_kernels_stays_small():
    means = np.random.default_rng(0).normal(size=(4, 64))
    widget = KernelOnMeans(means, ["chelsea", "rocket", "coffee", "astronaut"],
                           {"a": [1.0], "b": [-0.25, 1.0, -0.25], "c": [0.2] * 5})
    state = widget.get_state(["data", "summaries", "controls", "meta"])
    data = len(base64.b64encode(state.pop("data")))
    assert data + len(json.dumps(state, ensure_ascii=False).encode()) < 200_000


def test_the_module_is_one_default_export_that_fetches_nothing(widget):
    source = widget.get_state("_esm")["_esm"]
    assert source.count("export ") == source.count("export default { render }") == 1
    assert source.count("function draw(svg, ") == 1
    assert "import" not in source
    assert [word for word in source.split() if "http" in word] == ['"http://www.w3.org/2000/svg";']


def test_every_control_is_labelled(widget):
    assert widget.label
    assert all(each["label"] and each["kind"] in ("range", "select") for each in widget.controls)
    assert list(widget.state) == [each["name"] for each in widget.controls]


@pytest.mark.parametrize(("arguments", "message"), [
    ((MEANS[0], ["cat"], KERNELS), r"means must be \(1, channels\), got \(4,\)"),
    ((MEANS, ["cat"], KERNELS), r"means must be \(1, channels\), got \(2, 4\)"),
    ((MEANS[:0], [], KERNELS), r"means must be \(0, channels\), got \(0, 4\)"),
    ((MEANS * np.nan, ["cat", "rocket"], KERNELS), "means must be finite"),
    ((MEANS, ["cat", "rocket"], {}), "at least one kernel, got none"),
    ((MEANS, ["cat", "rocket"], {"even": [1, 2]}), r"kernel 'even' must have an odd number of weights, at most 4"),
    ((MEANS, ["cat", "rocket"], {"wide": [1] * 5}), r"kernel 'wide' must .* got \(5,\)"),
    ((MEANS, ["cat", "rocket"], KERNELS, 4), "channel must be from 0 to 3, got 4"),
])
def test_bad_input_is_one_line_that_says_what_is_wrong(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        KernelOnMeans(*arguments)
    assert "\n" not in str(error.value)


def test_importing_it_brings_no_matplotlib():
    code = "import sys; from attncourse.widgets import eca; assert not {'matplotlib', 'torchvision'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
