"""The widgets' numbers, words and stored output. How they look and answer in a browser is tests/site's business."""

import base64
import itertools
import subprocess
import sys

import numpy as np
import pytest
import torch
import torchvision
from traitlets import TraitError

from attncourse.backbone import ReportCNN
from attncourse.se import SEBlock
from attncourse.widgets.base import CourseWidget, control, front_end
from attncourse.widgets.se import NETWORKS, RATIOS, ClassGates, ReductionRatio, class_differences, reduction_table

CNN, RESNET18, RESNET50 = NETWORKS
VIEW = "application/vnd.jupyter.widget-view+json"
CLASSES = ["cat", "dog", "ship"]


@pytest.fixture
def gates():
    """Two places with 4 and 6 channels; channel 1 of the first differs most, by 0.6."""
    first = np.full((3, 4), 0.5)
    first[:, 1] = [0.2, 0.5, 0.8]
    first[:, 2] = [0.6, 0.5, 0.4]
    return [first, np.linspace(0, 1, 18).reshape(3, 6)]


def numbers(widget):
    """What JavaScript's Float32Array will hold, in the shape it is told."""
    return np.frombuffer(widget.data, "<f4").reshape(widget.shape)


# the reduction ratio's numbers


@pytest.mark.parametrize("r", RATIOS)
@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_the_table_is_what_real_blocks_have(network, r):
    for stage, row in enumerate(reduction_table(network, r)):
        block, plain = (SEBlock(network.channels[stage], r, bias=bias) for bias in (True, False))
        assert row.hidden == block.fc1.out_features
        assert row.weights == network.blocks[stage] * sum(p.numel() for p in plain.parameters())
        assert row.weights + row.biases == network.blocks[stage] * sum(p.numel() for p in block.parameters())


def test_the_totals_are_the_closed_form():
    # the paper's sum 2/r · N_s · C_s² at r = 16
    assert sum(row.weights for row in reduction_table(RESNET50, 16)) == 2_514_944
    assert sum(row.weights for row in reduction_table(RESNET18, 16)) == 87_040
    assert sum(row.weights for row in reduction_table(CNN, 16)) == 5_120


def test_the_hidden_width_is_never_below_one():
    assert [row.hidden for row in reduction_table(CNN, 1000)] == [1, 1, 1, 1]


def test_a_ratio_below_one_is_refused():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        reduction_table(CNN, 0)


def test_the_plain_networks_are_as_stated():
    def count(model):
        return sum(p.numel() for p in model.parameters())

    with torch.device("meta"):  # no memory, no initialisation
        resnets = [torchvision.models.resnet18(), torchvision.models.resnet50()]
    assert [count(ReportCNN()), *map(count, resnets)] == [network.parameters for network in NETWORKS]
    for resnet, network in zip(resnets, NETWORKS[1:]):
        stages = [resnet.layer1, resnet.layer2, resnet.layer3, resnet.layer4]
        assert tuple(map(len, stages)) == network.blocks
        last = [stage[0].conv3 if hasattr(stage[0], "conv3") else stage[0].conv2 for stage in stages]
        assert tuple(conv.out_channels for conv in last) == network.channels
    convolutions = [module for module in ReportCNN().modules() if isinstance(module, torch.nn.Conv2d)]
    assert tuple(conv.out_channels for conv in convolutions) == CNN.channels


def test_the_front_end_gets_the_table_exactly():
    sent = numbers(ReductionRatio())
    assert sent.shape == (len(NETWORKS), len(RATIOS), 4, 2)
    for (n, network), (k, r) in itertools.product(enumerate(NETWORKS), enumerate(RATIOS)):
        assert sent[n, k].tolist() == [[row.hidden, row.weights] for row in reduction_table(network, r)]


def test_the_summary_says_who_pays():
    assert ReductionRatio(16, "ResNet-50").summary == (
        "ResNet-50 with r = 16: SE adds 2,514,944 weights, 9.84% of the plain network's 25,557,032 parameters "
        "(2,530,992 with biases). Stage 4 takes 62.5% of the weights: from first to last, the stages take 24,576, "
        "131,072, 786,432 and 1,572,864. Their hidden layers are 16, 32, 64 and 128 wide."
    )
    assert "Convolution 3 and Convolution 4 take 40% of the weights each" in ReductionRatio(8, CNN.name).summary


# the class gates' numbers


def test_the_differences_between_classes(gates):
    found = class_differences(gates[0])
    np.testing.assert_allclose(found.mean, [0.5] * 4)
    np.testing.assert_allclose(found.spread, [0, 0.6, 0.2, 0])
    assert found.order.tolist() == [1, 2, 0, 3]  # equal spreads keep the channels' order


def test_the_front_end_gets_every_gate_and_the_mean(gates):
    widget = ClassGates(gates, CLASSES)
    sent = numbers(widget)
    np.testing.assert_array_equal(sent[:3], np.hstack(gates).astype("f4"))
    np.testing.assert_allclose(sent[3], np.hstack(gates).mean(0), rtol=1e-6)
    assert widget.meta["widths"] == [4, 6]
    assert widget.meta["by_spread"][0] == [1, 2, 0, 3]


def test_the_summary_names_the_channels_that_a_class_moves(gates):
    widget = ClassGates(gates, CLASSES)
    widget.state = {"place": 0, "class": 2}
    assert widget.summary == (
        "SE block 1, class ship: the mean gates of its 4 channels run from 0.40 to 0.80. Against the mean of the "
        "classes, the ship gates furthest above are that of channel 1 (+0.30), furthest below are that of channel 2 "
        "(−0.10). Over all 3 classes the widest difference is 0.60, in channel 1, from cat (0.20) to ship (0.80); the "
        "median over the channels is 0.10. The channels stand in the order of their number."
    )
    widget.state = {"class": 1}
    assert "For dog no gate differs from the mean of the classes by as much as 0.01." in widget.summary


# what every widget does


@pytest.fixture(params=["ratio", "gates"])
def widget(request, gates):
    return ReductionRatio() if request.param == "ratio" else ClassGates(gates, CLASSES)


def test_every_combination_has_its_own_sentence(widget):
    sizes = [len(each["options"]) for each in widget.controls]
    assert len(widget.summaries) == len(set(widget.summaries)) == np.prod(sizes)
    for place, indices in enumerate(itertools.product(*map(range, sizes))):  # as base.js counts
        widget.state = dict(zip(widget.state, indices))
        assert widget.summaries[place] == widget.summary


def test_state_goes_out_and_comes_back(widget):
    first = widget.controls[0]["name"]
    before = widget.state
    widget.set_state({"state": {**before, first: 0}})  # as the front end does it
    assert widget.chosen[first] == widget.controls[0]["options"][0]
    widget.state = {first: 1}  # from Python, in part
    assert widget.get_state("state") == {"state": {**before, first: 1}}


@pytest.mark.parametrize("state", [{"colour": 0}, {"r": 7}, {"r": -1}, {"r": "16"}, {"r": 1.0}])
def test_a_state_that_points_nowhere_is_refused_and_changes_nothing(state):
    widget = ReductionRatio()
    with pytest.raises(TraitError, match=r"^state "):
        widget.state = state
    assert repr(widget) == repr(ReductionRatio())


def test_the_text_is_the_same_every_time(widget):
    twin = type(widget)() if isinstance(widget, ReductionRatio) else ClassGates(widget._gates, CLASSES)
    assert repr(twin) == repr(widget)
    assert widget.model_id not in repr(widget)


def test_the_text_says_what_is_chosen():
    assert repr(ReductionRatio(4, "ResNet-18")) == "<ReductionRatio widget: r = 4, network = ResNet-18>"


def test_the_stored_output_has_view_picture_and_text(widget):
    data, metadata = widget._repr_mimebundle_()
    assert data["text/plain"] == repr(widget)
    assert data[VIEW]["model_id"] == widget.model_id
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert metadata["image/png"]["alt"] == f"{widget.label}. {widget.summary}"
    assert widget._repr_mimebundle_()[0]["image/png"] == data["image/png"]
    widget.state = {widget.controls[0]["name"]: 0}
    assert widget._repr_mimebundle_()[0]["image/png"] != data["image/png"]


def test_ipython_asks_for_the_bundle_and_not_for_ipywidgets_7_own_display(widget):
    assert not callable(widget._ipython_display_)


def test_two_widgets_in_a_box_keep_their_own_state():
    import ipywidgets

    left, right = ipywidgets.HBox([ReductionRatio(), ReductionRatio()]).children
    left.state = {"r": 0}
    assert (left.chosen["r"], right.chosen["r"]) == ("1", "16")


def test_the_module_is_one_default_export_that_fetches_nothing(widget):
    source = widget.get_state("_esm")["_esm"]
    assert source.count("export ") == source.count("export default { render }") == 1
    assert source.count("function draw(svg, ") == 1
    assert "import" not in source
    assert source.count("...KEYS_ARE_MINE") == 2  # range and select; or arrow keys leave the cell in JupyterLab
    style = widget.get_state("_css")["_css"]
    addresses = [word for word in (source + style).split() if "//" in word[1:] and "http" in word]
    assert addresses == ['"http://www.w3.org/2000/svg";']  # a name space, not a request
    assert "url(" not in style
    assert "@import" not in style


def test_every_control_is_labelled(widget):
    assert widget.label
    assert all(each["label"] and each["kind"] in ("range", "select") for each in widget.controls)
    assert list(widget.state) == [each["name"] for each in widget.controls]


@pytest.mark.parametrize(("make", "message"), [
    (lambda: ReductionRatio(3), "reduction must be one of 1, 2, 4, 8, 16, 32, 64, got 3"),
    (lambda: ReductionRatio(network="VGG"), "network must be one of .*, got 'VGG'"),
    (lambda: ClassGates([], CLASSES), "one array per place, got none"),
    (lambda: ClassGates([np.ones((3, 4))], ["cat"]), "at least two classes, got 1"),
    (lambda: ClassGates([np.ones((3, 4)), np.ones((2, 4))], CLASSES), r"place 2 must be \(3, channels\), got \(2, 4\)"),
    (lambda: ClassGates([np.ones(3)], CLASSES), r"place 1 must be \(3, channels\), got \(3,\)"),
    (lambda: ClassGates([np.ones((3, 0))], CLASSES), r"got \(3, 0\)"),
    (lambda: ClassGates([np.array([[0.5], [1.1], [0.5]])], CLASSES), "place 1 must lie between 0 and 1"),
    (lambda: ClassGates([np.array([[0.5], [-0.1], [0.5]])], CLASSES), "place 1 must lie between 0 and 1"),
    (lambda: ClassGates([np.array([[0.5], [np.nan], [0.5]])], CLASSES), "place 1 must lie between 0 and 1"),
    (lambda: ClassGates([[[0.1], [0.1, 0.2], [0.3]]], CLASSES), "place 1 are not an array of numbers"),
    (lambda: control("r", "Ratio", ["1"], "knob"), 'kind must be "range" or "select", got \'knob\''),
    (lambda: control("r", "Ratio", []), "control 'r' has no options"),
])
def test_bad_input_is_one_line_that_says_what_is_wrong(make, message):
    with pytest.raises(ValueError, match=message) as error:
        make()
    assert "\n" not in str(error.value)


def test_a_widget_of_ones_own_needs_describe_and_picture():
    class Empty(CourseWidget):
        _esm = front_end("class_gates.js")

    with pytest.raises(NotImplementedError):
        Empty("empty", [control("a", "A", ["x"])], {}, np.zeros(1))


def test_importing_the_package_brings_no_widget_and_the_widgets_no_matplotlib():
    code = "import sys, attncourse; assert 'anywidget' not in sys.modules; import attncourse.widgets.se; " \
           "assert not {'matplotlib', 'torchvision'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
