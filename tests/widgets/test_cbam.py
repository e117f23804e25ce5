"""The CBAM widget's numbers and words."""

import numpy as np
import pytest
import torch
from block_contract import generic, images

from attncourse.cbam import CBAM
from attncourse.widgets.cbam import CBAMOnPhoto, Place, passed, read_block

PHOTOS = torch.arange(2 * 3 * 8 * 8, dtype=torch.uint8).view(2, 3, 8, 8)
NAMES = ["a cat", "a rocket"]


def block_and_input(channels: int, height: int, width: int) -> tuple[CBAM, torch.Tensor]:
    return generic(CBAM(channels, reduction=2, kernel_size=3)).eval(), images(2, channels, height, width)


@pytest.fixture
def places():
    """Two places, 8 channels of 8 × 8 and 6 channels of 5 × 4."""
    return [read_block(*block_and_input(8, 8, 8)), read_block(*block_and_input(6, 5, 4))]


@pytest.fixture
def widget(places):
    return CBAMOnPhoto(PHOTOS, NAMES, places)


@pytest.mark.parametrize("gates", range(4))
def test_what_passes_is_what_the_block_computes(gates):
    """Both gates are the block itself; each gate alone is that part alone."""
    block, x = block_and_input(8, 5, 7)
    place = read_block(block, x)
    outputs = (block, block.channel, block.spatial, torch.nn.Identity())
    with torch.no_grad():
        want = outputs[gates](x).abs().mean(1).numpy()  # (B, H, W)
    for photo in (0, 1):
        channel, spatial, strength = passed(place, photo, gates)
        np.testing.assert_allclose(strength, want[photo], rtol=1e-5)
        assert (channel == 1).all() == (gates in (2, 3))
        assert (spatial == 1).all() == (gates in (1, 3))


def test_the_gates_are_the_blocks_gates():
    block, x = block_and_input(8, 5, 7)
    place = read_block(block, x)
    with torch.no_grad():
        whole = block.attention(x).numpy()
    np.testing.assert_allclose(place.channel[:, :, None, None] * place.spatial[:, None], whole, rtol=1e-5)
    assert np.abs(place.spatial - place.alone).max() > 0.01  # what the spatial gate sees depends on the channel gate


def test_another_arrangement_is_refused():
    with pytest.raises(ValueError, match="channel-first blocks, got parallel"):
        read_block(CBAM(8, arrangement="parallel").eval(), images(2, 8, 5, 7))


def test_the_front_end_gets_photographs_gates_and_maps(widget, places):
    assert widget.shape == [2 * 8 * 8 * 3 + 2 * (8 + 4 * 64) + 2 * (6 + 4 * 20)]
    sent = np.frombuffer(widget.data, "u1")
    photographs, rest = sent[:384].reshape(2, 8, 8, 3), sent[384:]
    np.testing.assert_array_equal(photographs, PHOTOS.numpy().transpose(0, 2, 3, 1))
    for place in places:  # in the order in which cbam_gates.js counts
        channels, (height, width) = place.channel.shape[1], place.strength.shape[1:]
        for photo in (0, 1):
            most = place.strength[photo].max()
            np.testing.assert_allclose(rest[:channels] / 255, place.channel[photo], atol=0.5 / 255 + 1e-9)
            maps = rest[channels:channels + 4 * height * width].reshape(4, height, width) / 255
            want = [place.strength[photo] / most, place.scaled[photo] / most, place.spatial[photo], place.alone[photo]]
            np.testing.assert_allclose(maps, want, atol=0.5 / 255 + 1e-9)
            rest = rest[channels + 4 * height * width:]
    assert len(rest) == 0
    assert widget.meta["places"] == [[8, 8, 8], [6, 5, 4]]


def test_the_choices(widget):
    assert {each["kind"] for each in widget.controls} == {"select"}
    assert [len(each["options"]) for each in widget.controls] == [2, 2, 4]
    widget.state = {"photo": 1, "gates": 2}
    assert repr(widget) == "<CBAMOnPhoto widget: photo = a rocket, place = 1 (8 channels, 8 × 8), " \
                           "gates = spatial gate alone>"


def test_the_summary_says_what_passes():
    """One channel and two positions, every number by hand."""
    place = Place(channel=np.array([[0.5]]), strength=np.array([[[2.0, 4.0]]]), scaled=np.array([[[1.0, 2.0]]]),
                  spatial=np.array([[[0.25, 0.5]]]), alone=np.array([[[0.5, 0.75]]]))
    widget = CBAMOnPhoto(PHOTOS[:1], ["a cat"], [place])
    assert widget.summary == (
        "A cat, place 1, both gates: 21% of the strength passes. The channel gates run from 0.50 to 0.50. The spatial "
        "gate runs from 0.25 to 0.50, highest at row 0, column 1 of 1 × 2.")  # (1 · 0.25 + 2 · 0.5) / 6
    widget.state = {"gates": 2}
    assert widget.summary == (
        "A cat, place 1, spatial gate alone: 67% of the strength passes. The spatial gate runs from 0.50 to 0.75, "
        "highest at row 0, column 1 of 1 × 2. Without the channel gate it sees another map: it differs from the one "
        "with both gates by up to 0.25.")
    widget.state = {"gates": 3}
    assert widget.summary == "A cat, place 1, no gate: 100% of the strength passes."


@pytest.mark.parametrize(("photos", "names", "count", "message"), [
    (PHOTOS.float(), NAMES, 1, r"photos must be uint8 \(B, 3, H, W\), got float32 \(2, 3, 8, 8\)"),
    (PHOTOS[0], NAMES, 1, r"photos must be uint8 \(B, 3, H, W\), got uint8 \(3, 8, 8\)"),
    (PHOTOS.permute(0, 2, 3, 1), NAMES, 1, r"got uint8 \(2, 8, 8, 3\)"),
    (PHOTOS, NAMES[:1], 1, "names must name 2 photographs, got 1"),
    (PHOTOS, NAMES, 0, "at least one block does, got none"),
    (PHOTOS[:1], NAMES[:1], 1, "place 1 must hold 1 photographs, got 2"),
])
def test_bad_input_is_one_line_that_says_what_is_wrong(photos, names, count, message, places):
    with pytest.raises(ValueError, match=message) as error:
        CBAMOnPhoto(photos, names, places[:count])
    assert "\n" not in str(error.value)
