"""What every widget does, and the numbers and words of the SE, attention and backbone chapters' widgets.

Those of the other chapters are tested in widgets/. How all look and answer in a browser is tests/site's business.
"""

import base64
import itertools
import json
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
import torchvision
from block_contract import generic, images
from traitlets import TraitError

from attncourse.backbone import ReportCNN
from attncourse.cbam import CBAM
from attncourse.checks.attention import gaussian
from attncourse.datasets.photos import photo
from attncourse.roofline import Machine, Operation
from attncourse.se import SEBlock
from attncourse.widgets.attention import GateOnPhoto, gaussian_gate, share_passed, shrunk
from attncourse.widgets.autoencoder import Coverage
from attncourse.widgets.backbone import (
    BEYOND,
    DEVIATIONS,
    DIFFERENCES,
    RUNS,
    StudyPower,
    power,
    runs_needed,
    standard_error,
)
from attncourse.widgets.bam import ReceptiveField
from attncourse.widgets.base import FOLDER, CourseWidget, control, front_end
from attncourse.widgets.cam_sam import KernelOnMap, equal_weights
from attncourse.widgets.cbam import CBAMOnPhoto, read_block
from attncourse.widgets.eca import KernelOnMeans
from attncourse.widgets.hybrids import OrderExplorer, TableReader
from attncourse.widgets.resnets import InsertionExplorer
from attncourse.widgets.sca_cnn import CaptionSteps, Reading
from attncourse.widgets.scaling import StepLimits
from attncourse.widgets.se import NETWORKS, RATIOS, ClassGates, ReductionRatio, class_differences, reduction_table
from attncourse.widgets.where_it_looks import MapScores

CNN, RESNET18, RESNET50 = NETWORKS
GREY = np.full((3, 40, 20), 100, dtype=np.uint8)  # a photograph on which every share is the gate's own
VIEW = "application/vnd.jupyter.widget-view+json"
CLASSES = ["cat", "dog", "ship"]
# two places with 4 and 6 channels; channel 1 of the first differs most, by 0.6
GATES = [np.array([[0.5, 0.2, 0.6, 0.5], [0.5, 0.5, 0.5, 0.5], [0.5, 0.8, 0.4, 0.5]]),
         np.linspace(0, 1, 18).reshape(3, 6)]


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


def test_the_differences_between_classes():
    found = class_differences(GATES[0])
    np.testing.assert_allclose(found.mean, [0.5] * 4)
    np.testing.assert_allclose(found.spread, [0, 0.6, 0.2, 0])
    assert found.order.tolist() == [1, 2, 0, 3]  # equal spreads keep the channels' order


def test_the_front_end_gets_every_gate_and_the_mean():
    widget = ClassGates(GATES, CLASSES)
    sent = numbers(widget)
    np.testing.assert_array_equal(sent[:3], np.hstack(GATES).astype("f4"))
    np.testing.assert_allclose(sent[3], np.hstack(GATES).mean(0), rtol=1e-6)
    assert widget.meta["widths"] == [4, 6]
    assert widget.meta["by_spread"][0] == [1, 2, 0, 3]


def test_the_summary_names_the_channels_that_a_class_moves():
    widget = ClassGates(GATES, CLASSES)
    widget.state = {"place": 0, "class": 2}
    assert widget.summary == (
        "SE block 1, class ship: the mean gates of its 4 channels run from 0.40 to 0.80. Against the mean of the "
        "classes, the ship gates furthest above are that of channel 1 (+0.30), furthest below are that of channel 2 "
        "(−0.10). Over all 3 classes the widest difference is 0.60, in channel 1, from cat (0.20) to ship (0.80); the "
        "median over the channels is 0.10. The channels stand in the order of their number."
    )
    widget.state = {"class": 1}
    assert "For dog no gate differs from the mean of the classes by as much as 0.01." in widget.summary


# the gate on a photograph


@pytest.mark.parametrize("arguments", [(5, 7, 1, 4, 1.5), (3, 2, 0, 0, 0.5), (4, 4, 1.5, -2.25, 30.0)])
def test_the_gate_is_the_one_that_the_exercise_asks_for(arguments):
    np.testing.assert_allclose(gaussian_gate(*arguments), gaussian(*arguments).numpy(), atol=1e-6)


def test_the_gate_is_1_at_its_centre_and_falls_to_exp_of_minus_half_one_sigma_away():
    gate = gaussian_gate(9, 12, 4, 6, 3)
    assert gate.shape == (9, 12)
    assert gate[4, 6] == 1
    np.testing.assert_allclose([gate[1, 6], gate[4, 9]], np.exp(-0.5))


def test_the_share_counts_all_three_colours():
    picture = np.zeros((3, 2, 2), dtype=np.uint8)
    picture[0, 0, 0], picture[2, 1, 1] = 100, 200
    gate = np.array([[1.0, 0.3], [0.3, 0.5]])
    assert share_passed(picture, gate) == pytest.approx((100 + 200 * 0.5) / 300)


@pytest.mark.parametrize(("shape", "small"), [
    ((3, 320, 320), (3, 80, 80)), ((3, 213, 320), (3, 53, 80)), ((3, 160, 40), (3, 80, 20)), ((3, 32, 32), (3, 32, 32)),
])
def test_a_photograph_is_made_smaller_and_never_larger(shape, small):
    assert shrunk(torch.full(shape, 7, dtype=torch.uint8)).shape == small


def test_making_smaller_is_averaging():
    picture = torch.randint(256, (3, 160, 160), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    want = torch.nn.functional.avg_pool2d(picture.float(), 2).numpy()
    np.testing.assert_allclose(shrunk(picture), want, atol=1)  # rounded along each axis


def test_the_front_end_gets_the_photograph_as_a_canvas_wants_it():
    picture = np.arange(3 * 9 * 10, dtype=np.uint8).reshape(3, 9, 10)
    widget = GateOnPhoto(picture)
    assert widget.shape == [9, 10, 3]
    sent = np.frombuffer(widget.data, "u1").reshape(widget.shape)  # one byte a number, as base.js tells it from floats
    np.testing.assert_array_equal(sent, picture.transpose(1, 2, 0))


def test_the_centres_run_from_edge_to_edge_and_the_widths_double():
    widget = GateOnPhoto(photo("chelsea"), centre=(0, 1))
    assert widget.meta["rows"] == [0, 6, 13, 20, 26, 32, 39, 46, 52]
    assert widget.meta["columns"] == [0, 10, 20, 30, 40, 49, 59, 69, 79]
    assert widget.meta["sigmas"] == [4, 8, 16, 32, 64]
    assert widget.chosen == {"row": "0", "column": "79", "sigma": "16 pixels"}


def test_the_summary_says_how_much_passes():
    widget = GateOnPhoto(GREY, centre=(1, 0))
    share = gaussian_gate(40, 20, 39, 0, 8).mean()
    assert widget.summary == f"Centre at row 39, column 0, σ 8 pixels: {100 * share:.0f}% of the brightness passes."
    widget.state = {"sigma": 0}
    assert "σ 2 pixels: 1.1% of" in widget.summary  # a quarter of 2π·2² and half a row and column: 9.04 of 800


# what a study can show


def test_the_standard_error_is_the_formulas():
    assert standard_error(16, 1.8) == pytest.approx(1.8 * (1 / 16 + 1 / 16) ** 0.5)


@pytest.mark.parametrize("study", [(2, 0.5, 1), (16, 1.8, 1), (16, 1.8, 2), (64, 2.5, 0.5), (8, 1.0, 0)])
def test_the_power_is_what_a_simulation_finds(study):
    runs, deviation, difference = study
    draw = np.random.default_rng(0)
    ours = draw.normal(difference, deviation, (20_000, runs)).mean(1)
    theirs = draw.normal(0, deviation, (20_000, runs)).mean(1)
    found = np.abs(ours - theirs) > 1.96 * deviation * (2 / runs) ** 0.5
    assert power(*study) == pytest.approx(found.mean(), abs=0.012)  # 3.4 standard errors of the simulation at worst


@pytest.mark.parametrize(("runs", "critical", "share"), [(2, 4.303, 0.35), (8, 2.145, 0.74), (16, 2.042, 0.77)])
def test_a_t_test_finds_less_as_the_docstring_says(runs, critical, share):
    difference = 2.8016 * (2 / runs) ** 0.5
    assert power(runs, 1, difference) == pytest.approx(0.8, abs=1e-3)
    draw = np.random.default_rng(0)
    ours, theirs = draw.normal(difference, 1, (20_000, runs)), draw.normal(0, 1, (20_000, runs))
    t = (ours.mean(1) - theirs.mean(1)) / np.sqrt((ours.var(1, ddof=1) + theirs.var(1, ddof=1)) / runs)
    assert (np.abs(t) > critical).mean() == pytest.approx(share, abs=0.012)


def test_the_power_of_a_study_of_nothing_is_the_level():
    assert all(power(n, s, 0) == pytest.approx(0.05) for n in RUNS for s in DEVIATIONS)
    assert power(16, 1.8, -1) == power(16, 1.8, 1)


@pytest.mark.parametrize("deviation", DEVIATIONS)
@pytest.mark.parametrize("difference", DIFFERENCES[1:])
def test_the_runs_needed_are_the_fewest(deviation, difference):
    runs = runs_needed(deviation, difference)
    assert power(runs, deviation, difference) >= 0.8
    assert runs == 2 or power(runs - 1, deviation, difference) < 0.8


def test_the_front_end_gets_error_and_power_of_every_study():
    sent = numbers(StudyPower())
    assert sent.shape == (len(RUNS), len(DEVIATIONS), len(DIFFERENCES), 2)
    for (i, n), (j, s), (k, d) in itertools.product(*map(enumerate, (RUNS, DEVIATIONS, DIFFERENCES))):
        np.testing.assert_allclose(sent[i, j, k], [standard_error(n, s), power(n, s, d)], rtol=1e-6)
    assert StudyPower().meta["beyond"] == BEYOND == pytest.approx(1.96, abs=1e-4)


def test_the_summary_says_what_the_study_finds():
    widget = StudyPower(16, 1.8, 1)
    assert widget.summary == (
        "16 runs a side, standard deviation 1.8 points: the difference of the means has a standard error of 0.64 "
        "points, and counts as found beyond ±1.25. A true difference of 1 point is found in 35% of such studies; 5% of "
        "studies of nothing find one. To find it in 80%, about 51 runs a side are needed. (Normal approximation.)"
    )
    widget.state = {"difference": 0}
    assert "With no true difference, 5% of such studies find one all the same. (Normal" in widget.summary
    widget.state = {"runs": 0, "difference": 5}
    assert "with 2 runs a side a t test finds less.)" in widget.summary
    widget.state = {"runs": 5}
    assert "is found in more than 99% of such studies" in widget.summary  # never "100%"


# what every widget does


NAMES = ["a cat", "a rocket", "a cup", "an astronaut"]
DRAW = np.random.default_rng(0)
PLACES = [read_block(generic(CBAM(channels)).eval(), images(4, channels, side, side))
          for channels, side in ((64, 32), (64, 30), (128, 15), (128, 13))]  # those of the course's CNN
SAID = [Reading((*("a", "man", "in", "a", "hat")[:3 + k], "<end>"), -1.0 - k, DRAW.random((4 + k, 7, 7)),
                DRAW.random((4 + k, 256)), DRAW.random((4 + k, 256))) for k in range(3)]
TWO = [Operation("a", 0, 40), Operation("b", 600, 10), Operation("c", 0, 2)]  # of a step with two images, with four:
FOUR = [Operation("a", 0, 80), Operation("b", 1200, 20), Operation("c", 0, 2)]
MACHINES = [Machine("x", 1.0, 100.0, 1e3), Machine("y", 1e-3, 10.0, 10.0), Machine("z", 0.1, 10.0, 10.0)]

KINDS = {  # how a widget is made, as large as its chapter shows it, and how many bytes its state may take
    "ratio": (ReductionRatio, 60_000),
    "gates": (partial(ClassGates, GATES, CLASSES), 60_000),
    "photo": (partial(GateOnPhoto, photo("astronaut"), "an astronaut"), 60_000),
    "wide photo": (partial(GateOnPhoto, photo("chelsea"), "a cat"), 60_000),
    "power": (StudyPower, 60_000),
    "field": (partial(ReceptiveField, photo("chelsea"), "a cat"), 30_000),
    "coverage": (Coverage, 100_000),
    "order": (OrderExplorer, 100_000),
    "table": (TableReader, 100_000),
    "channels": (partial(KernelOnMeans, DRAW.normal(size=(4, 64)), NAMES,
                         {"a": [1.0], "b": [-0.25, 1.0, -0.25], "c": [0.2] * 5}, channel=1), 200_000),
    "kernel": (partial(KernelOnMap, DRAW.integers(0, 256, (3, 32, 32)), DRAW.normal(size=(2, 32, 32)), {
        "3 × 3, equal weights": equal_weights(3), "7 × 7, equal weights": equal_weights(7),
        "7 × 7, trained": DRAW.normal(size=(2, 7, 7))}), 260_000),
    "two gates": (partial(CBAMOnPhoto, torch.zeros(4, 3, 32, 32, dtype=torch.uint8), NAMES, PLACES), 120_000),
    "scores": (partial(MapScores, torch.zeros(4, 3, 32, 32, dtype=torch.uint8), DRAW.random((4, 32, 32)) > 0.8, NAMES,
                       {name: DRAW.random((4, 4, 32, 32)) for name in "abcde"}), 260_000),
    "insertion": (InsertionExplorer, 100_000),
    "limits": (partial(StepLimits, MACHINES, {"one": (TWO, FOUR), "other": (TWO, TWO)}), 100_000),
    "caption": (partial(CaptionSteps, [photo("astronaut"), photo("chelsea")], NAMES[:2], [SAID, SAID[::-1]], (1, 2, 3)),
                200_000),
}


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


@pytest.fixture
def make(kind):
    return kind[0]


@pytest.fixture
def widget(make):
    return make()


def another(widget, each):
    """An option of a control that is not chosen."""
    return 0 if widget.state[each["name"]] else len(each["options"]) - 1


def picture(widget):
    return widget._repr_mimebundle_()[0]["image/png"]


def test_every_combination_has_its_own_sentence(widget):
    sizes = [len(each["options"]) for each in widget.controls]
    assert len(widget.summaries) == len(set(widget.summaries)) == np.prod(sizes)
    for place, indices in enumerate(itertools.product(*map(range, sizes))):  # as base.js counts
        widget.state = dict(zip(widget.state, indices))
        assert widget.summaries[place] == widget.summary


def test_state_goes_out_and_comes_back(widget):
    before, first, last = widget.state, widget.controls[0], widget.controls[-1]
    changed = {each["name"]: another(widget, each) for each in (first, last)}
    state = {**before, first["name"]: changed[first["name"]]}
    widget.set_state({"state": state})  # as the front end does it
    assert widget.chosen[first["name"]] == first["options"][changed[first["name"]]]
    widget.state = {last["name"]: changed[last["name"]]}  # from Python, in part
    assert widget.get_state("state") == {"state": {**before, **changed}}


def test_a_state_that_points_nowhere_is_refused_and_changes_nothing(widget, make):
    for each in widget.controls:
        for state in ({"colour": 0}, *({each["name"]: wrong} for wrong in (len(each["options"]), -1, "1", 1.0))):
            with pytest.raises(TraitError, match=r"^state "):
                widget.state = state
    assert repr(widget) == repr(make())


def test_the_text_is_the_same_every_time(widget, make):
    assert repr(make()) == repr(widget)
    assert widget.model_id not in repr(widget)


def test_the_text_says_what_is_chosen():
    assert repr(ReductionRatio(4, "ResNet-18")) == "<ReductionRatio widget: r = 4, network = ResNet-18>"
    assert repr(StudyPower(64, 0.5, 4.0)) == "<StudyPower widget: runs = 64, deviation = 0.5, difference = 4>"
    assert repr(GateOnPhoto(GREY)) == "<GateOnPhoto widget: row = 20, column = 10, sigma = 8 pixels>"


def test_the_stored_output_has_view_picture_and_text(widget, make):
    data, metadata = widget._repr_mimebundle_()
    assert data["text/plain"] == repr(widget)
    assert data[VIEW]["model_id"] == widget.model_id
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert metadata["image/png"]["alt"] == f"{widget.label}. {widget.summary}"
    assert picture(widget) == picture(make()) == data["image/png"]
    pictures = [data["image/png"]]
    for each in widget.controls:
        widget.state = {each["name"]: another(widget, each)}
        pictures.append(picture(widget))
        assert pictures[-1] != pictures[-2]


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
    addresses = [word for word in (source + style).split() if "http" in word]
    assert addresses == ['"http://www.w3.org/2000/svg";']  # a name space, not a request
    assert "url(" not in style
    assert "@import" not in style


def test_every_control_is_labelled(widget):
    assert widget.label
    assert all(each["label"] and each["kind"] in ("range", "select") for each in widget.controls)
    assert list(widget.state) == [each["name"] for each in widget.controls]


def test_the_state_stays_small(widget, kind):
    state = widget.get_state(["data", "summaries", "controls", "meta"])
    assert len(base64.b64encode(state.pop("data"))) + len(json.dumps(state)) < kind[1]


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
    (lambda: GateOnPhoto("astronaut.jpg"), "photo must be uint8, got <U13"),
    (lambda: GateOnPhoto(torch.zeros(3, 40, 40)), "photo must be uint8, got float32"),
    (lambda: GateOnPhoto(torch.zeros(3, 40, 40, requires_grad=True)), "tensor on the CPU, got a Tensor"),
    (lambda: GateOnPhoto(GREY[0]), r"photo must be \(3, H, W\), got \(40, 20\)"),
    (lambda: GateOnPhoto(GREY.transpose(1, 2, 0)), r"photo must be \(3, H, W\), got \(40, 20, 3\)"),
    (lambda: GateOnPhoto(GREY[:, :8]), r"photo must keep 9 pixels a side at 80 on its longer, got \(3, 8, 20\)"),
    (lambda: GateOnPhoto(GREY[:, :0]), r"got \(3, 0, 20\)"),
    (lambda: GateOnPhoto(GREY.repeat(30, axis=1)), r"got \(3, 1200, 20\)"),
    (lambda: GateOnPhoto(GREY * 0), "photo is black everywhere"),
    (lambda: GateOnPhoto(GREY, centre=(0.5, 20)), r"centre must be two shares from 0 to 1, got \(0.5, 20\)"),
    (lambda: gaussian_gate(4, 4, 0, 0, 0), "sigma must be above 0, got 0"),
    (lambda: StudyPower(runs=3), "runs must be one of 2, 4, 8, 16, 32, 64, got 3"),
    (lambda: StudyPower(deviation=2), "deviation must be one of 0.5, 1, 1.8, 2.5, got 2"),
    (lambda: StudyPower(difference="1"), "difference must be one of 0, 0.25, 0.5, 1, 2, 4, got '1'"),
    (lambda: standard_error(0, 1), "runs must be at least 1, got 0"),
    (lambda: power(16, 0, 1), "deviation must be above 0, got 0"),
    (lambda: runs_needed(1.8, 0), "no number of runs"),
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
    names = ", ".join(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")
    code = "import sys, attncourse; assert 'anywidget' not in sys.modules; " \
           f"from attncourse.widgets import {names}; " \
           "assert not {'matplotlib', 'torchvision', 'scipy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
