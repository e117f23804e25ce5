"""The failure gallery: every entry fails as its page says and works after its fix; the list leads to every entry.

The asserts stand in the page's own cells. Here each entry is run alone, in a fresh namespace, and what the page says in
general is tried on more blocks, sizes and types than its cells have room for.
"""

import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.export import Dim, export

from attncourse.autoencoder import ConvAutoencoderAttention
from attncourse.bam import BAM
from attncourse.cam_sam import ChannelAttention, SpatialAttention
from attncourse.cbam import CBAM
from attncourse.eca import ECA
from attncourse.hybrids import eca_sam
from attncourse.resnet import IdentityStart
from attncourse.se import SEBlock
from attncourse.training import seeded

PAGE = (Path(__file__).parent.parent / "book" / "failures.md").read_text("utf-8")
CELL = re.compile(r"```\{code-cell\} python3\n(.*?)```", re.S)
LIST, *PARTS = re.split(r"^(?=##)", PAGE, flags=re.M)
ENTRIES = {part.splitlines()[0].lstrip("# "): part for part in PARTS if CELL.search(part)}
ROWS = re.findall(r"^\| (.+?) \| \[.+?\]\(#(.+?)\) \|$", LIST, re.M)  # symptom, anchor
WITHOUT_NORM = {"SE": SEBlock, "CAM": ChannelAttention, "ECA": ECA, "autoencoder": ConvAutoencoderAttention,
                "SAM without BatchNorm": lambda channels: SpatialAttention(norm=False)}
WITH_NORM = {"SAM": lambda channels: SpatialAttention(), "CBAM": CBAM, "BAM": BAM, "ECA, SAM": eca_sam}

each_with_norm = pytest.mark.parametrize("make", WITH_NORM.values(), ids=WITH_NORM)
each_without = pytest.mark.parametrize("make", WITHOUT_NORM.values(), ids=WITHOUT_NORM)


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


# ---- the page -------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def same_numbers():
    with seeded(0):
        yield


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_fails_and_is_mended_as_it_says(name, capsys):
    """With the page's first cell alone; the messages that the list quotes are those that the entry prints."""
    namespace = {}
    for code in CELL.findall(LIST) + CELL.findall(ENTRIES[name]):
        exec(code, namespace)
    printed = " ".join(capsys.readouterr().out.split())  # messages are wrapped
    for symptom, target in ROWS:
        if target == anchor(name):
            for message in re.findall(r"`(.+?)`", symptom):
                assert message in printed


def test_the_list_leads_to_every_entry_once():
    assert [target for _, target in ROWS] == [anchor(name) for name, part in ENTRIES.items() if part.startswith("###")]


@pytest.mark.parametrize("part", ENTRIES.values(), ids=ENTRIES)
def test_an_entry_is_short_and_complete(part):
    for code in CELL.findall(part):
        assert len([line for line in code.splitlines() if line.strip()]) <= 12, code
    if part.startswith("###"):
        failure, fix = re.split(r"\*\*(?:Fix|What to do)\.\*\*", part)
        assert CELL.search(failure)
        assert "assert" in CELL.search(fix)[1] or "backward()" in CELL.search(fix)[1]


# ---- what it says of all blocks -------------------------------------------------------------------------------------


@each_with_norm
@pytest.mark.parametrize("training", [True, False])
def test_a_gate_depends_on_the_batch_where_batchnorm_trains(make, training):
    block, x = make(8).train(training), torch.randn(4, 8, 6, 7)
    together, pair = block.attention(x)[:2], block.attention(x[:2])
    assert torch.allclose(together, pair, atol=1e-6) != training


@each_without
def test_a_gate_without_batchnorm_never_does(make):
    block, x = make(8), torch.randn(4, 8, 6, 7)
    torch.testing.assert_close(block.attention(x)[:1], block.attention(x[:1]))


@each_with_norm
def test_training_passes_move_what_evaluation_uses(make):
    block, x = make(8).requires_grad_(False), torch.randn(4, 8, 6, 7)
    before = block.eval()(x)
    with torch.no_grad():
        block.train()(3 * x)
    assert not torch.allclose(block.eval()(x), before)


@pytest.mark.parametrize("make", [*WITHOUT_NORM.values(), *WITH_NORM.values()], ids=[*WITHOUT_NORM, *WITH_NORM])
def test_of_all_blocks_bam_alone_refuses_one_picture(make):
    block, x = make(8).train(), torch.randn(1, 8, 6, 7)
    if isinstance(block, BAM):
        with pytest.raises(ValueError, match="use a batch of at least 2 images"):
            block(x)
    else:
        assert block(x).shape == x.shape


@pytest.mark.parametrize(("dtype", "first", "below_one"), [(torch.float16, 8.3, 0.9995), (torch.bfloat16, 6.2, 0.996)])
def test_where_a_sigmoid_reaches_one(dtype, first, below_one):
    """Of all values that the type has."""
    every = torch.arange(-2**15, 2**15).to(torch.int16).view(dtype)
    values = every[every.isfinite()].sort().values.requires_grad_()
    gates = values.sigmoid()
    gates.sum().backward()
    closed = gates == 1
    assert values[closed].min().item() == pytest.approx(first, abs=0.06)
    assert (values.grad[closed] == 0).all()
    assert gates[~closed].max().item() == pytest.approx(below_one, abs=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("make", "bias"), [(SEBlock, 10.0), (ChannelAttention, 5.0)], ids=["SE", "CAM"])
def test_a_gate_computed_in_float32_can_come_back(make, bias, dtype):
    block, x = make(16), torch.randn(2, 16, 5, 6)
    nn.init.constant_(block.fc2.bias, bias)  # CAM adds it twice
    with torch.autocast("cpu", dtype):
        assert (block.attention(x) == 1).all()
        with torch.autocast("cpu", enabled=False):
            gate = block.attention(x.to(dtype).float())
    gate.sum().backward()
    assert (gate < 1).all()
    assert (block.fc2.bias.grad > 0).all()


@pytest.mark.parametrize(("side", "arrives"), [(14, True), (28, True), (112, False)])
def test_a_small_gradient_of_a_large_mean_is_lost_in_float16(side, arrives):
    x = torch.ones(1, 1, side, side, dtype=torch.float16, requires_grad=True)
    (x.mean((2, 3)) * 1e-4).sum().backward()
    assert (x.grad > 0).all() == arrives


@pytest.mark.parametrize(("alpha", "seen"), [(0.002, False), (0.1, True)])
def test_an_alpha_is_seen_in_bfloat16_only_above_its_step(alpha, seen):
    block = IdentityStart(SEBlock(16))
    nn.init.constant_(block.alpha, alpha)
    with torch.autocast("cpu", torch.bfloat16):
        gate = block.attention(torch.randn(2, 16, 5, 6))
    assert (gate < 1).any() == seen
    gate.sum().backward()
    assert block.alpha.grad < 0


def test_the_autoencoder_gate_exports_with_multiples_of_8_from_16_on():
    gate = ConvAutoencoderAttention(4).eval()
    dims = {0: Dim("B", min=1), 2: 8 * Dim("h", min=2), 3: 8 * Dim("w", min=2)}
    exported = export(gate, (torch.randn(2, 4, 16, 24),), dynamic_shapes=(dims,)).module()
    for shape in ((1, 4, 16, 16), (2, 4, 24, 56)):
        x = torch.randn(shape)
        torch.testing.assert_close(exported(x), gate(x))
    for height in (8, 20):
        with pytest.raises(AssertionError, match="Guard failed"):
            exported(torch.randn(1, 4, height, 16))


@pytest.mark.parametrize(("before", "keeps"), [
    (nn.ReLU, True), (nn.Sigmoid, True), (lambda: nn.BatchNorm2d(4), False), (nn.Identity, False)])
@pytest.mark.parametrize(("gate", "keeps_its_input"), [
    (SEBlock, False), (ECA, False), (ConvAutoencoderAttention, False), (ChannelAttention, True),
    (lambda channels: SpatialAttention(), True), (CBAM, True), (BAM, True)])
def test_who_notices_that_a_map_was_overwritten(before, keeps, gate, keeps_its_input):
    """A ReLU keeps its output for the backward pass, and so does a sigmoid; a convolution and a BatchNorm do not. A
    gate with a maximum or a convolution of the map keeps the map."""
    y = nn.Sequential(nn.Conv2d(4, 4, 1), before())(torch.randn(2, 4, 8, 8))
    y *= gate(4).attention(y)
    if keeps or keeps_its_input:
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()
    else:
        y.sum().backward()
