"""Reading the gates of a network, and changing them."""

from dataclasses import replace

import pytest
import torch
from block_contract import generic, images
from torch import nn

from attncourse import gates
from attncourse.backbone import ReportCNN
from attncourse.cam_sam import SpatialAttention
from attncourse.cbam import CBAM
from attncourse.datasets.images import ImageData, Split, digest
from attncourse.eca import ECA
from attncourse.gates import attention_blocks, changed_gates, read_gates, study
from attncourse.se import SEBlock
from attncourse.training import seeded


@pytest.fixture
def model() -> nn.Module:
    with seeded(0):
        return ReportCNN(attention=SEBlock).eval()


@pytest.fixture
def data() -> ImageData:
    generator = torch.Generator().manual_seed(0)

    def split(n: int) -> Split:
        pixels = torch.randint(0, 256, (n, 3, 32, 32), generator=generator).to(torch.uint8)
        return Split(pixels, torch.arange(n) % 2)

    splits = split(4), split(8), split(12)
    return ImageData("noise", ("even", "odd"), *splits, (0.5,) * 3, (0.25,) * 3, "made here", digest(*splits))


def test_the_gates_are_those_that_the_blocks_multiply_by(model):
    x = images(2, 3, 32, 32)
    read = read_gates(model, x)
    assert [tuple(gate.shape) for gate in read] == [(2, 64, 1, 1), (2, 64, 1, 1), (2, 128, 1, 1), (2, 128, 1, 1)]
    expected = model.stage1.attention1.attention(model.stage1.conv1(x))
    torch.testing.assert_close(read[0], expected)


def test_a_composite_counts_once_and_every_kind_of_gate_is_read():
    model = ReportCNN(attention=(CBAM, ECA, None, lambda channels: SpatialAttention())).eval()
    assert [type(block) for block in attention_blocks(model)] == [CBAM, ECA, SpatialAttention]
    shapes = [tuple(gate.shape) for gate in read_gates(model, images(2, 3, 32, 32))]
    assert shapes == [(2, 64, 32, 32), (2, 64, 1, 1), (2, 1, 13, 13)]


def test_no_hook_is_left_behind(model):
    read_gates(model, images(1, 3, 32, 32))
    with pytest.raises(ValueError, match="expected images"):
        read_gates(model, images(1, 3, 8, 8))
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_changed_gates_change_the_product_and_are_put_back():
    block = generic(SEBlock(4)).eval()
    x = images(2, 4, 3, 3)
    before = block(x)
    with changed_gates([block], lambda i, gate: torch.zeros_like(gate)):
        assert not block(x).any()
    assert torch.equal(block(x), before)
    with pytest.raises(ValueError, match="got 3 dimensions"), changed_gates([block], lambda i, gate: gate):
        block(x[0])
    assert torch.equal(block(x), before)


def test_study_against_direct_computation(model, data):
    result = study(model, data)
    normalised = gates.Normalise(data.mean, data.std)(data.test.images)
    last = read_gates(model, normalised)[3].flatten(1)
    odd = last[data.test.labels == 1].mean(0)
    torch.testing.assert_close(torch.tensor(result["mean"][3][1]), odd, atol=1e-4, rtol=0)
    with torch.no_grad():
        accuracy = (model(normalised).argmax(1) == data.test.labels).float().mean().item()
    assert result["accuracy"]["as trained"] == pytest.approx(accuracy, abs=1 / 12)
    assert len(result["accuracy"]["without an eighth of channels at random"]) == 8


def test_constant_gates_make_averaging_harmless(model, data):
    """If no gate depends on the picture, replacing it by its average changes nothing."""
    for block in model.modules():
        if isinstance(block, SEBlock):
            nn.init.zeros_(block.fc2.weight)
    accuracy = study(model, replace(data, test=data.val))["accuracy"]
    assert accuracy["each gate replaced by its average"] == accuracy["as trained"]
    assert accuracy["gates swapped between images"] == accuracy["as trained"]


def test_a_missing_run_is_said_in_one_line(capsys, tmp_path):
    assert gates.main(["nothing", "--runs", str(tmp_path), "--data", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1
