"""Scores of maps against masks, and curves: by hand, against loops, and what may not change them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from attncourse.localization import (
    best_iou,
    deletion_curve,
    energy_inside,
    insertion_curve,
    iou,
    over_picture,
    pointing_game,
)

SCORES = [energy_inside, pointing_game, iou, best_iou]
MASK = torch.zeros(1, 4, 4, dtype=torch.bool)
MASK[0, :2, :2] = True  # a quarter of the picture

every_score = pytest.mark.parametrize("score", SCORES)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


# ---- what all scores share ------------------------------------------------------------------------------------------


@every_score
def test_perfect_and_wrong(score):
    assert score(MASK.float(), MASK).item() == 1
    wrong = {best_iou: 0.25}  # the threshold that takes the whole picture is always there
    assert score((~MASK).float(), MASK).item() == wrong.get(score, 0)


@every_score
@pytest.mark.parametrize("size", [1, 3, 7, 13, 17])
@pytest.mark.parametrize("value", [0.1, 1.0, 0.7])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_flat_map_scores_the_share_of_the_area(score, size, value, dtype):
    """Exactly flat also after it was enlarged: rounding must not make up a highest pixel."""
    masks = torch.zeros(1, 17, 30, dtype=torch.bool)
    masks[0, 2:9, 5:21] = True
    share = 7 * 16 / (17 * 30)
    assert score(torch.full((1, size, size), value, dtype=dtype), masks).item() == pytest.approx(share)


@every_score
def test_a_batch_is_scored_one_by_one(score):
    maps, masks = noise(5, 3, 4), noise(5, 6, 8, seed=1) < 0.3
    together = score(maps, masks)
    assert together.shape == (5,)
    torch.testing.assert_close(together, torch.cat([score(maps[i:i + 1], masks[i:i + 1]) for i in range(5)]))
    assert len(together.unique()) > 1


@every_score
def test_the_scale_of_a_map_does_not_count(score):
    maps, masks = noise(5, 8, 8), noise(5, 8, 8, seed=1) < 0.3
    torch.testing.assert_close(score(maps, masks), score(8 * maps, masks))


@every_score
def test_maps_and_masks_stay_as_they_were(score):
    maps, masks = noise(2, 8, 8), noise(2, 8, 8, seed=1) < 0.3
    before = maps.clone(), masks.clone()
    score(maps, masks)
    assert torch.equal(maps, before[0])
    assert torch.equal(masks, before[1])


@every_score
@pytest.mark.parametrize(("maps", "masks", "message"), [
    (torch.ones(2, 4, 4), MASK, r"\(2, 4, 4\), \(1, 4, 4\)"),
    (torch.ones(1, 1, 4, 4), MASK, "expected maps"),
    (torch.ones(1, 4, 4), MASK[0], "expected maps"),
    (torch.full((1, 4, 4), torch.nan), MASK, "must be finite"),
    (torch.full((1, 4, 4), torch.inf), MASK, "must be finite"),
    (torch.ones(1, 4, 4), MASK.float(), "masks must be boolean"),
    (torch.ones(2, 4, 4), torch.cat([MASK, torch.zeros_like(MASK)]), "each True somewhere"),
])
def test_bad_input(score, maps, masks, message):
    with pytest.raises(ValueError, match=message):
        score(maps, masks)


@pytest.mark.parametrize("score", [energy_inside, iou])
@pytest.mark.parametrize("maps", [
    -torch.ones(1, 4, 4), torch.zeros(1, 4, 4), torch.tensor([[[2.0, -1.0]]]),
    torch.stack([torch.ones(4, 4), torch.zeros(4, 4)]),
], ids=["all negative", "all zero", "one value negative", "one map zero"])
def test_without_energy(score, maps):
    with pytest.raises(ValueError, match="not negative, at least one of them positive"):
        score(maps, MASK.expand(len(maps), -1, -1))


# ---- a map over its picture -----------------------------------------------------------------------------------------


def test_a_coarse_map_is_enlarged():
    """Two by two, bright in the upper left: by hand, the bilinear weights along one axis are 1, 3/4, 1/4, 0."""
    coarse = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    axis = torch.tensor([1, 3 / 4, 1 / 4, 0])
    torch.testing.assert_close(over_picture(coarse, (4, 4)), (axis[:, None] * axis)[None])
    one_axis = (1 + 3 / 4) / (1 + 3 / 4 + 1 / 4)
    torch.testing.assert_close(energy_inside(coarse, MASK), torch.tensor([one_axis**2]))


def test_the_margin_takes_the_nearest_value():
    expected = [[1, 1, 2, 3, 3], [1, 1, 2, 3, 3], [1, 1, 2, 3, 3]]
    assert over_picture(torch.tensor([[[1.0, 2.0, 3.0]]]), (3, 5), margin=1).tolist() == [expected]


def test_a_picture_is_high_and_wide():
    assert over_picture(noise(2, 3, 3), (4, 6)).shape == (2, 4, 6)
    assert over_picture(noise(2, 3, 3), (4, 6), margin=1).shape == (2, 4, 6)


@every_score
def test_every_score_knows_the_margin(score):
    """One bright pixel lies on the object only if the map is not stretched over the margin."""
    masks = torch.zeros(1, 8, 8, dtype=torch.bool)
    masks[0, 3, 3] = True
    maps = torch.zeros(1, 4, 4)
    maps[0, 1, 1] = 1
    assert score(maps, masks, margin=2).item() == 1
    assert score(maps, masks).item() < 1


@pytest.mark.parametrize(("margin", "fits"), [(0, True), (1, True), (2, False), (-1, False)])
def test_a_margin_leaves_something_of_the_picture(margin, fits):
    if fits:
        assert over_picture(noise(1, 2, 2), (4, 9), margin).shape == (1, 4, 9)
    else:
        with pytest.raises(ValueError, match=f"a margin of {margin} pixels on each side does not fit into 4 × 9"):
            over_picture(noise(1, 2, 2), (4, 9), margin)


def test_only_maps_are_laid_over_a_picture():
    with pytest.raises(ValueError, match=r"expected maps \(B, h, w\), got \(2, 2\)"):
        over_picture(torch.ones(2, 2), (4, 4))


# ---- the scores by hand ---------------------------------------------------------------------------------------------

ROW_MASK = torch.tensor([[[True, True, False, False, False]]])  # the object is the first two of five pixels


@pytest.mark.parametrize(("row", "energy", "pointing", "overlap", "best"), [
    ([4, 3, 2, 1, 0], 7 / 10, 1, 2 / 3, 1),  # in order; at 0.5 three pixels
    ([1, 0, 5, 2, 0], 1 / 8, 0, 0, 2 / 5),  # 1/4 at the third pixel, 2/5 with all
    ([3, 1, 3, 0, 1], 4 / 8, 1 / 2, 1 / 3, 2 / 4),  # two highest pixels, one inside; the two 1 come together
    ([2, 2, 2, 2, 2], 2 / 5, 2 / 5, 2 / 5, 2 / 5),  # flat
    ([2, 1, 0, 0, 1], 3 / 4, 1, 2 / 3, 2 / 3),  # a pixel at exactly half of the maximum counts
    ([4, 1, 0, 0, 0], 1, 1, 1 / 2, 1),
])
def test_by_hand(row, energy, pointing, overlap, best):
    maps = torch.tensor([[row]], dtype=torch.float32)
    assert energy_inside(maps, ROW_MASK).item() == pytest.approx(energy)
    assert pointing_game(maps, ROW_MASK).item() == pytest.approx(pointing)
    assert iou(maps, ROW_MASK).item() == pytest.approx(overlap)
    assert best_iou(maps, ROW_MASK).item() == pytest.approx(best)


@pytest.mark.parametrize(("threshold", "expected"), [
    (0.0, 2 / 5), (0.2, 2 / 4), (0.25, 2 / 4), (0.3, 2 / 3), (0.8, 1 / 2)])
def test_iou_at_a_threshold(threshold, expected):
    maps = torch.tensor([[[4.0, 3.0, 2.0, 1.0, 0.0]]])
    assert iou(maps, ROW_MASK, threshold).item() == pytest.approx(expected)


@pytest.mark.parametrize("score", [pointing_game, best_iou])
def test_values_may_be_negative(score):
    maps = torch.tensor([[[-1.0, -2.0, -3.0, -3.0, -9.0]]])
    assert score(maps, ROW_MASK).item() == 1


@given(st.lists(st.integers(0, 6), min_size=12, max_size=12), st.integers(1, 2**12 - 1))
@settings(deadline=None, max_examples=60)
def test_best_iou_tries_every_threshold(values, bits):
    """Against a loop over all thresholds; many values are equal."""
    maps = torch.tensor(values, dtype=torch.float32).view(1, 3, 4)
    masks = torch.tensor([bool(bits >> i & 1) for i in range(12)]).view(1, 3, 4)
    overlaps = []
    for threshold in set(values):
        region = maps >= threshold
        overlaps.append(((region & masks).sum() / (region | masks).sum()).item())
    assert best_iou(maps, masks).item() == pytest.approx(max(overlaps))
    if max(values) > 0:
        assert best_iou(maps, masks) >= iou(maps, masks)


def test_only_the_order_of_the_pixels_counts_for_the_best_iou():
    """A monotone change of the values moves the overlap at a fixed threshold, not the best one, nor the pointing."""
    maps, masks = noise(5, 8, 8), noise(5, 8, 8, seed=1) < 0.3
    bent = maps**3
    torch.testing.assert_close(best_iou(maps, masks), best_iou(bent, masks))
    torch.testing.assert_close(pointing_game(maps, masks), pointing_game(bent, masks))
    assert (iou(maps, masks) - iou(bent, masks)).abs().mean() > 0.05
    assert (energy_inside(maps, masks) - energy_inside(bent, masks)).abs().mean() > 0.02


# ---- deletion and insertion -----------------------------------------------------------------------------------------


class OnePixel(nn.Module):
    """The logit of class 1 is the value at one known place; that of class 0 is 0."""

    def forward(self, x: Tensor) -> Tensor:
        logit = x[:, 0, 1, 2]
        return torch.stack([torch.zeros_like(logit), logit], 1)


IMAGES = 2 + noise(2, 3, 4, 4)
TARGET = torch.tensor([1, 0])
ORDER = ((5 * torch.arange(16.0) + 8) % 16).view(1, 4, 4).expand(2, 4, 4)  # shuffled: the tenth highest is at (1, 2)


def probability(pixel: Tensor | float) -> list[float]:
    """Of the target of both images, where the known pixel has this value."""
    rises = torch.as_tensor(pixel).sigmoid().expand(2)
    return [rises[0].item(), 1 - rises[1].item()]


@pytest.mark.parametrize("baseline", [0.0, -1.5])
def test_the_curves_know_when_the_pixel_goes(baseline):
    """Sixteen pixels in sixteen steps, from the highest value on: the known one is the tenth."""
    there, gone = probability(IMAGES[:, 0, 1, 2]), probability(baseline)
    falls = deletion_curve(OnePixel(), IMAGES, ORDER, TARGET, baseline=baseline)
    rises = insertion_curve(OnePixel(), IMAGES, ORDER, TARGET, baseline=baseline)
    assert falls.shape == rises.shape == (2, 17)
    for i in range(2):
        torch.testing.assert_close(falls[i], torch.tensor([there[i]] * 10 + [gone[i]] * 7))
        torch.testing.assert_close(rises[i], torch.tensor([gone[i]] * 10 + [there[i]] * 7))


@pytest.mark.parametrize("steps", [1, 3, 5, 100])
def test_a_step_is_its_share_of_the_pixels(steps):
    falls = deletion_curve(OnePixel(), IMAGES, ORDER, TARGET, steps)[0]
    assert len(falls) == steps + 1
    for step, value in enumerate(falls.tolist()):
        replaced = step / steps * 16 > 9  # the nine pixels before it, and a bit more
        assert value == pytest.approx(probability(0.0 if replaced else IMAGES[0, 0, 1, 2])[0])


def test_the_ends_are_the_image_and_the_baseline():
    """On a network that looks at everything, with a baseline that is a picture."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2)).eval()
    baseline, maps = noise(1, 3, 4, 4, seed=3), noise(2, 4, 4, seed=4)
    at_image = model(IMAGES).softmax(1).gather(1, TARGET[:, None])[:, 0]
    at_baseline = model(baseline.expand(2, -1, -1, -1)).softmax(1).gather(1, TARGET[:, None])[:, 0]
    falls = deletion_curve(model, IMAGES, maps, TARGET, 4, baseline)
    rises = insertion_curve(model, IMAGES, maps, TARGET, 4, baseline)
    for start, end, curve in [(at_image, at_baseline, falls), (at_baseline, at_image, rises)]:
        torch.testing.assert_close(curve[:, 0], start)
        torch.testing.assert_close(curve[:, -1], end)


def test_a_better_map_has_a_lower_deletion_and_a_higher_insertion_curve():
    image, target = IMAGES[:1], torch.tensor([1])
    knows = torch.zeros(1, 4, 4)
    knows[0, 1, 2] = 1
    for curve, better in [(deletion_curve, torch.lt), (insertion_curve, torch.gt)]:
        scores = [curve(OnePixel(), image, maps, target).mean() for maps in (knows, 1 - knows)]
        assert better(*scores)


def test_all_channels_of_a_pixel_go_together():
    seen = []

    class Record(OnePixel):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x.clone())
            return super().forward(x)

    deletion_curve(Record(), IMAGES, ORDER, TARGET, 16)
    for step, x in enumerate(seen):
        gone = ORDER.flatten(1)[:, None].expand(-1, 3, -1) >= 16 - step
        assert torch.equal(x.flatten(2), torch.where(gone, 0.0, IMAGES.flatten(2)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_pictures_keep_the_dtype_of_the_images(dtype):
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 2)).to(dtype)
    for curve in (deletion_curve, insertion_curve):
        assert curve(model, IMAGES.to(dtype), ORDER, TARGET, 2).dtype == dtype


@pytest.mark.parametrize("curve", [deletion_curve, insertion_curve])
@pytest.mark.parametrize(("maps", "steps", "message"), [
    (torch.ones(2, 2, 2), 4, r"maps must be as large as the images, got \(2, 2, 2\), \(2, 3, 4, 4\)"),
    (torch.ones(1, 4, 4), 4, r"as large as the images, got \(1, 4, 4\)"),
    (torch.ones(2, 1, 4, 4), 4, r"as large as the images, got \(2, 1, 4, 4\)"),
    (ORDER, 0, "steps must be at least 1, got 0"),
])
def test_bad_input_of_the_curves(curve, maps, steps, message):
    with pytest.raises(ValueError, match=message):
        curve(OnePixel(), IMAGES, maps, TARGET, steps)
