"""The numbers and words of the widget of the chapter on ResNets."""

import itertools

import numpy as np
import pytest
import torch
import torchvision

from attncourse.bam import BAM
from attncourse.cam_sam import SpatialAttention
from attncourse.cbam import CBAM
from attncourse.eca import ECA
from attncourse.resnet import PLACEMENTS as REAL_PLACES
from attncourse.resnet import SpatialGate, insert_attention
from attncourse.se import SEBlock
from attncourse.widgets.resnets import (
    ARCHITECTURES,
    BLOCKS,
    PLACES,
    STAGE_SETS,
    InsertionExplorer,
    places,
    stage_costs,
    widths,
)

FACTORIES = {"SE": SEBlock, "ECA": ECA, "CBAM": CBAM, "BAM": BAM, "SAM": lambda channels: SpatialAttention(),
             "SpatialGate": lambda channels: SpatialGate()}
RESNET18, _, RESNET50, RESNET101 = ARCHITECTURES


def real(architecture):
    with torch.device("meta"):  # no memory, no initialisation
        return getattr(torchvision.models, architecture.name.lower().replace("-", ""))()


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_the_names_are_those_of_the_package():
    assert PLACES == REAL_PLACES
    assert list(FACTORIES) == list(BLOCKS)


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda each: each.name)
def test_the_networks_are_as_stated(architecture):
    model = real(architecture)
    assert count(model) == architecture.parameters
    stages = [model.layer1, model.layer2, model.layer3, model.layer4]
    assert tuple(map(len, stages)) == architecture.layers
    assert {block.expansion for stage in stages for block in stage} == {architecture.expansion}


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("C", [1, 3, 8, 64, 100, 128, 256, 2048])
def test_the_formulas_are_what_real_blocks_have(block, C):
    assert BLOCKS[block](C) == count(FACTORIES[block](C))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("architecture", "block"), [
    (RESNET18, "SE"), (RESNET50, "SE"), (RESNET50, "CBAM"), (RESNET50, "BAM"), (RESNET101, "ECA"),
    (RESNET18, "SpatialGate")])
def test_the_costs_are_those_of_a_real_insertion(architecture, block, place):
    for stage, (number, parameters) in enumerate(stage_costs(architecture, block, place)):
        model = real(architecture)
        with torch.device("meta"):
            inserted = insert_attention(model, FACTORIES[block], place, [stage + 1])
        assert [each.channels for each in inserted] == places(architecture, stage, place)
        assert len(inserted) == number
        assert count(model) == architecture.parameters + parameters


def test_the_front_end_gets_every_cost_exactly():
    widget = InsertionExplorer()
    sent = np.frombuffer(widget.data, "<f4").reshape(widget.shape)
    assert sent.shape == (len(ARCHITECTURES), len(BLOCKS), len(PLACES), 4, 2)
    for n, b, p in itertools.product(*map(range, sent.shape[:3])):
        assert sent[n, b, p].tolist() == [list(cost) for cost in stage_costs(
            ARCHITECTURES[n], list(BLOCKS)[b], PLACES[p])]
    assert widget.meta["sets"] == [list(chosen) for chosen in STAGE_SETS.values()]
    assert [each["parameters"] for each in widget.meta["networks"]] == [each.parameters for each in ARCHITECTURES]


@pytest.mark.parametrize(("architecture", "stage", "place", "words"), [
    (RESNET50, 3, "standard", "2048 channels"), (RESNET50, 3, "pre", "1024, then 2048 channels"),
    (RESNET50, 0, "pre", "64, then 256 channels"), (RESNET18, 0, "pre", "64 channels"),
    (RESNET18, 1, "pre", "64, then 128 channels"), (RESNET18, 1, "stage", "128 channels"),
])
def test_where_the_first_map_is_narrower_both_widths_are_said(architecture, stage, place, words):
    assert widths(architecture, stage, place) == words
    sent = InsertionExplorer().meta["widths"]
    assert sent[ARCHITECTURES.index(architecture)][PLACES.index(place)][stage] == words
    picture = InsertionExplorer(architecture.name, place=place).picture()
    assert f"Stage {stage + 1}\n{words}" in [tick.get_text() for tick in picture.axes[0].get_yticklabels()]


def test_the_summary_says_what_is_put_in():
    widget = InsertionExplorer()
    assert widget.summary == ("ResNet-50, SE (standard, all stages): put in 16 times, 2,530,992 parameters more, 9.9%; "
                              "in all 28,088,024.")
    widget.state = {"block": 5, "stages": 3, "place": 4}
    assert widget.summary == ("ResNet-50, SpatialGate (stage, stage 4 only): put in once, 10 parameters more, "
                              "less than 0.001%; in all 25,557,042.")
    assert "in all 28,089,624" in InsertionExplorer(block="CBAM").summary
    assert "in all 25,917,793" in InsertionExplorer(block="BAM", place="stage", stages="stages 1 to 3").summary


@pytest.mark.parametrize(("make", "message"), [
    (lambda: InsertionExplorer("VGG"), "network must be one of .*, got 'VGG'"),
    (lambda: InsertionExplorer(block="se"), "block must be one of SE, ECA, .*, got 'se'"),
    (lambda: InsertionExplorer(place="after"), "place must be one of standard, pre, .*, got 'after'"),
    (lambda: InsertionExplorer(stages="layer4"), "stages must be one of all stages, .*, got 'layer4'"),
    (lambda: stage_costs(RESNET50, "se", "pre"), "block must be one of SE, .*, got 'se'"),
    (lambda: stage_costs(RESNET50, "SE", "after"), "place must be one of standard, .*, got 'after'"),
])
def test_bad_input_is_one_line_that_says_what_is_wrong(make, message):
    with pytest.raises(ValueError, match=message) as error:
        make()
    assert "\n" not in str(error.value)


def test_the_still_picture_says_what_is_chosen():
    widget = InsertionExplorer("ResNet-18", "CBAM", "post", "stages 3 and 4")
    (axis,) = widget.picture().axes
    assert axis.get_title() == ("ResNet-18 + CBAM, post: after the addition, stages 3 and 4\n"
                                "+83,952 parameters, 0.718%")
    assert [text.get_text() for text in axis.texts][:3] == ["–", "–", "17,128, for 2 × CBAM"]
