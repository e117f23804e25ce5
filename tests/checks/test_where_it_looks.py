"""Exercises of the chapter on where networks look, and the lines of its table that compare implementations."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from attncourse import localization as package
from attncourse.checks.where_it_looks import energy_share, lay_over, overlap, paired_interval, pointing_game

# --- energy_share ----------------------------------------------------------------------------------------------------


def energy_by_loop(m, mask):
    inside = total = 0.0
    for i in range(m.shape[0]):
        for j in range(m.shape[1]):
            total += m[i, j].item()
            inside += m[i, j].item() if mask[i, j] else 0
    return inside / total


ENERGY_RIGHT = [
    energy_by_loop,
    lambda m, mask: m[mask].sum() / m.sum(),
    lambda m, mask: torch.where(mask, m, 0).sum() / torch.sum(m),
    lambda m, mask: (m / m.sum() * mask.float()).sum().item(),
]
ENERGY_WRONG = {
    "not-divided": [lambda m, mask: m[mask].sum(), lambda m, mask: m[mask].sum().item()],
    "divided-by-pixels": [lambda m, mask: m[mask].sum() / m.numel()],
    "mean-on-object": [lambda m, mask: torch.mean(m[mask])],
    "ratio-of-means": [lambda m, mask: m[mask].mean() / torch.mean(m)],
    "share-outside": [lambda m, mask: m[~mask].sum() / m.sum(), lambda m, mask: 1 - m[mask].sum() / m.sum()],
    "inside-over-outside": [lambda m, mask: m[mask].sum() / (m.sum() - m[mask].sum())],
    "maximum": [lambda m, mask: torch.where(mask, m, 0).amax() / m.amax()],
    "divided-by-maximum": [lambda m, mask: (m / m.max() * mask).sum()],
    "area": [lambda m, mask: mask.double().mean().float()],
    "min-max": [lambda m, mask: (((m - m.min()) / (m.max() - m.min())) * mask).sum()
                / ((m - m.min()) / (m.max() - m.min())).sum()],
    "squared": [lambda m, mask: m[mask].square().sum() / m.square().sum()],
    "positive-pixels": [lambda m, mask: (m[mask] > 0).sum() / (m > 0).sum()],
    "one-axis-only": [lambda m, mask: torch.where(mask, m, 0).sum(0) / m.sum(0)],
    "per-cent": [lambda m, mask: 100 * m[mask].sum() / m.sum()],
    "minus-area": [lambda m, mask: m[mask].sum() / m.sum() - mask.double().mean().float()],
    "softmax": [lambda m, mask: F.softmax(m.flatten(), 0)[mask.flatten()].sum()],
    "wrong-shape": [lambda m, mask: (m * mask).sum() / m.sum(0)],
    "returned-nothing": [lambda m, mask: None],
    "mutated-input": [lambda m, mask: m.mul_(mask).sum() / m.sum()],
    "wrong-arguments": [lambda m: m.sum()],
}


def test_energy_share(tells_apart):
    tells_apart(energy_share, ENERGY_RIGHT, ENERGY_WRONG)


# --- pointing_game ---------------------------------------------------------------------------------------------------


def pointing_by_loop(maps, masks):
    result = []
    for one_map, mask in zip(maps, masks):
        over = package.over_picture(one_map[None], tuple(mask.shape))[0]
        places = (over == over.max()).nonzero().tolist()
        result.append(sum(mask[i, j].item() for i, j in places) / len(places))
    return torch.tensor(result)


def pointing_by_flat(maps, masks):
    over = F.interpolate(maps.unsqueeze(1), size=masks.shape[1:], mode="bilinear", align_corners=False).flatten(1)
    highest = (over == over.max(1, keepdim=True).values).float()
    return (highest * masks.flatten(1)).sum(1) / highest.sum(1)


def over(maps, masks):
    return package.over_picture(maps, tuple(masks.shape[1:]))


def at(masks, row, column):
    return torch.stack([mask[i, j].float() for mask, i, j in zip(masks, row, column)])


def place(maps):
    rows, columns = np.unravel_index(maps.flatten(1).argmax(1).numpy(), maps.shape[1:])
    return rows.tolist(), columns.tolist()


def by_pooling(masks, tolerance):
    return F.max_pool2d(masks.float(), 2 * tolerance + 1, 1, tolerance) > 0


def by_distance(masks, tolerance):
    rows, columns = torch.meshgrid(*map(torch.arange, masks.shape[1:]), indexing="ij")
    near = [[(rows - i).abs().maximum((columns - j).abs()) <= tolerance for i, j in mask.nonzero()] for mask in masks]
    return torch.stack([torch.stack(each).any(0) for each in near])


def within(answer, how=by_pooling):
    """An answer of two arguments, given masks that are wider by the tolerance."""
    return lambda maps, masks, tolerance: answer(maps, how(masks, tolerance))


def in_float64(maps, masks):
    over = package.over_picture(maps, masks.shape[1:])
    highest = (over == over.amax((1, 2), keepdim=True)).double()
    return (highest * masks).sum((1, 2)) / highest.sum((1, 2))


def nearly(laid, masks, rtol):
    found = torch.isclose(laid, laid.amax((1, 2))[:, None, None], rtol=rtol).float()
    return (found * masks).sum((1, 2)) / found.sum((1, 2))


POINTING_RIGHT = [within(pointing_by_loop), within(pointing_by_flat, by_distance), within(in_float64),
                  within(package.pointing_game)]
POINTING_WRONG = {
    "first-of-ties": [lambda maps, masks: masks.flatten(1).gather(
        1, over(maps, masks).flatten(1).argmax(1, keepdim=True))[:, 0].float(),
        lambda maps, masks: at(masks, *place(over(maps, masks))),
        lambda maps, masks: at(masks, *place(over(maps, masks))).bool()],
    "any-of-ties": [lambda maps, masks: torch.stack(
        [mask[m == m.max()].any().float() for m, mask in zip(over(maps, masks), masks)])],
    "highest-of-batch": [lambda maps, masks: ((over(maps, masks) == over(maps, masks).max()) & masks).sum((1, 2))
                         / (over(maps, masks) == over(maps, masks).max()).sum((1, 2))],
    "highest-of-columns": [lambda maps, masks: masks.gather(
        1, over(maps, masks).argmax(1)[:, None]).float().mean(-1)[:, 0]],
    "divided-by-height": [lambda maps, masks: at(
        masks, over(maps, masks).flatten(1).argmax(1) // masks.shape[1],
        over(maps, masks).flatten(1).argmax(1) % masks.shape[1])],
    "swapped": [lambda maps, masks: at(masks, *place(over(maps, masks))[::-1])],
    "not-laid": [lambda maps, masks: at(masks, *place(maps))],
    "nearest": [lambda maps, masks: package.pointing_game(
        F.interpolate(maps[:, None], masks.shape[1:])[:, 0], masks)],
    "aligned-corners": [lambda maps, masks: package.pointing_game(
        F.interpolate(maps[:, None], masks.shape[1:], mode="bilinear", align_corners=True)[:, 0], masks)],
    "energy": [lambda maps, masks: (over(maps, masks) * masks).flatten(1).sum(1) / over(maps, masks).flatten(1).sum(1)],
    "bicubic": [lambda maps, masks: package.pointing_game(
        F.interpolate(maps[:, None], masks.shape[1:], mode="bicubic")[:, 0], masks)],
    "nearly-highest": [lambda maps, masks: nearly(over(maps, masks), masks, 5e-2),
                       lambda maps, masks: nearly(over(maps, masks), masks, 1e-3)],
    "sizes-differ": [lambda maps, masks: ((maps == maps.flatten(1).amax(1)[:, None, None]) * masks).sum((1, 2))
                     / (maps == maps.flatten(1).amax(1)[:, None, None]).sum((1, 2))],
    "product": [lambda maps, masks: ((over(maps, masks) * masks).flatten(1).amax(1)
                                     == over(maps, masks).flatten(1).amax(1)).float()],
    "absolute": [lambda maps, masks: package.pointing_game(maps.abs(), masks)],
    "averaged-batch": [lambda maps, masks: package.pointing_game(maps, masks).mean()],
    "count-of-hits": [lambda maps, masks: ((over(maps, masks) == over(maps, masks).amax((1, 2), keepdim=True)).float()
                                           * masks).sum((1, 2))],
    "crashed": [lambda maps, masks: masks[maps == maps.amax()].float() / maps[:, 9]],
    "mutated-input": [lambda maps, masks: package.pointing_game(maps.neg_().neg(), masks)],
}


def test_pointing_game(tells_apart):
    tells_apart(pointing_game, POINTING_RIGHT,
                {cause: list(map(within, answers)) for cause, answers in POINTING_WRONG.items()})


def test_the_tolerance(tells_apart):
    def pooled(maps, masks, window, padding):
        return package.pointing_game(maps, F.max_pool2d(masks.float(), window, 1, padding) > 0)

    def by_norm(maps, masks, k, p):
        near = [torch.cdist(torch.ones(masks.shape[1:]).nonzero().double(), mask.nonzero().double(), p=p).amin(1) <= k
                for mask in masks]
        return package.pointing_game(maps, torch.stack(near).view_as(masks))

    def widened(maps, masks, k):
        laid = over(maps, masks)
        highest = F.max_pool2d((laid == laid.amax((1, 2), keepdim=True)).float(), 2 * k + 1, 1, k)
        return (highest * masks).sum((1, 2)) / highest.sum((1, 2))

    tells_apart(pointing_game, [lambda maps, masks, k: pooled(maps, masks, 2 * k + 1, k)], {
        "tolerance-ignored": [lambda maps, masks, k: package.pointing_game(maps, masks)],
        "tolerance-too-small": [lambda maps, masks, k: pooled(maps, masks, 2 * max(k, 1) - 1, max(k, 1) - 1)],
        "tolerance-too-large": [lambda maps, masks, k: pooled(maps, masks, 2 * k + 3, k + 1),
                                lambda maps, masks, k: pooled(maps, masks, 4 * k + 1, 2 * k)],
        "round-tolerance": [lambda maps, masks, k: by_norm(maps, masks, k, 2)],
        "steps": [lambda maps, masks, k: by_norm(maps, masks, k, 1)],
        "one-axis-tolerance": [lambda maps, masks, k: pooled(maps, masks, (1, 2 * k + 1), (0, k)),
                               lambda maps, masks, k: pooled(maps, masks, (2 * k + 1, 1), (k, 0))],
        "widened-highest": [widened],
        "wrong-arguments": [lambda maps, masks: package.pointing_game(maps, masks)],
    })


def test_a_mask_made_as_small_as_the_map_is_told():
    def shrunk_mask(maps, masks):
        return package.pointing_game(maps, F.adaptive_max_pool2d(masks[:, None].float(), maps.shape[1:])[:, 0].bool())
    result = pointing_game(within(shrunk_mask))
    assert result.cause == "shrunk-mask"
    assert "stretch the map" in result.message


def test_two_mistakes_in_the_pointing_game_get_one_of_their_names():
    def answer(maps, masks):  # the batch's highest value, and any of its places
        laid = over(maps, masks)
        return ((laid == laid.max()) & masks).flatten(1).any(1)
    result = pointing_game(within(answer))
    assert result.status == "failed"
    assert result.cause in ("highest-of-batch", "any-of-ties", "wrong-dtype")
    assert "Expected" in result.message


# --- overlap ---------------------------------------------------------------------------------------------------------


def overlap_by_loop(maps, masks, threshold):
    result = []
    for one_map, mask in zip(maps, masks):
        cut = threshold * one_map.max()
        both = union = 0
        for value, inside in zip(one_map.flatten(), mask.flatten()):
            both += bool(value >= cut and inside)
            union += bool(value >= cut or inside)
        result.append(both / union)
    return torch.tensor(result)


def cut(maps, threshold):
    return maps / maps.flatten(1).max(1).values[:, None, None] >= threshold


def two_counts(found, masks):
    return torch.logical_and(found, masks).flatten(1).sum(1), torch.logical_or(found, masks).flatten(1).sum(1)


def jaccard(found, masks):
    both, union = two_counts(found, masks)
    return both / union


def areas(maps, masks, t):
    found = maps >= maps.amax((1, 2), keepdim=True) * t
    return two_counts(found, masks)[0], found.flatten(1).sum(1) + masks.flatten(1).sum(1)


OVERLAP_RIGHT = [
    overlap_by_loop,
    lambda maps, masks, t: jaccard(maps >= maps.amax((1, 2))[:, None, None] * t, masks),
    lambda maps, masks, t: areas(maps, masks, t)[0] / (areas(maps, masks, t)[1] - areas(maps, masks, t)[0]),
    lambda maps, masks, t: package.iou(maps, masks, t),
]
OVERLAP_WRONG = {
    "maximum-of-batch": [lambda maps, masks, t: jaccard(maps >= maps.amax() * t, masks)],
    "above-the-mean": [lambda maps, masks, t: jaccard(maps > maps.flatten(1).mean(1)[:, None, None], masks)],
    "fixed-value": [lambda maps, masks, t: jaccard(torch.ge(maps, t), masks)],
    "min-max": [lambda maps, masks, t: jaccard(
        cut(maps - maps.flatten(1).amin(1)[:, None, None], t), masks)],
    "strictly-above": [lambda maps, masks, t: jaccard(maps > maps.amax((1, 2), keepdim=True) * t, masks)],
    "quantile": [lambda maps, masks, t: jaccard(
        maps >= torch.quantile(maps.flatten(1), t, dim=1)[:, None, None], masks)],
    "counted-twice": [lambda maps, masks, t: torch.div(*areas(maps, masks, t))],
    "dice": [lambda maps, masks, t: 2 * areas(maps, masks, t)[0] / areas(maps, masks, t)[1]],
    "of-the-object": [lambda maps, masks, t: areas(maps, masks, t)[0] / masks.flatten(1).sum(1)],
    "of-the-region": [lambda maps, masks, t: areas(maps, masks, t)[0]
                      / (areas(maps, masks, t)[1] - masks.flatten(1).sum(1))],
    "exclusive-or": [lambda maps, masks, t: two_counts(maps >= maps.amax((1, 2), keepdim=True) * t, masks)[0]
                     / torch.logical_xor(maps >= maps.amax((1, 2), keepdim=True) * t, masks).flatten(1).sum(1)],
    "smaller-area": [lambda maps, masks, t: areas(maps, masks, t)[0] / torch.minimum(
        areas(maps, masks, t)[1] - masks.flatten(1).sum(1), masks.flatten(1).sum(1))],
    "threshold-fixed": [lambda maps, masks, t: package.iou(maps, masks)],
    "one-minus-threshold": [lambda maps, masks, t: package.iou(maps, masks, 1 - t)],
    "below": [lambda maps, masks, t: jaccard(~(maps >= maps.amax((1, 2), keepdim=True) * t), masks)],
    "maximum-of-rows": [lambda maps, masks, t: jaccard(maps >= maps.max(2, keepdim=True).values * t, masks)],
    "averaged-batch": [lambda maps, masks, t: package.iou(maps, masks, t).mean()],
    "summed-over-batch": [lambda maps, masks, t: torch.div(
        *(count.sum() for count in two_counts(maps >= maps.amax((1, 2), keepdim=True) * t, masks)))],
    "pixels-that-agree": [lambda maps, masks, t: 1 - ((maps >= maps.amax((1, 2), keepdim=True) * t) ^ masks).flatten(
        1).float().mean(1)],
    "mutated-input": [lambda maps, masks, t: jaccard(maps.div_(maps.amax((1, 2), keepdim=True)) >= t, masks)],
    "wrong-arguments": [lambda maps, masks: maps],
}


def test_overlap(tells_apart):
    tells_apart(overlap, OVERLAP_RIGHT, OVERLAP_WRONG)


# --- lay_over --------------------------------------------------------------------------------------------------------


def lay_by_index(maps, height, width, margin):
    covered = F.interpolate(maps.unsqueeze(1), (height - 2 * margin, width - 2 * margin), mode="bilinear")[:, 0]
    rows = (torch.arange(height) - margin).clamp(0, covered.shape[1] - 1)
    columns = (torch.arange(width) - margin).clamp(0, covered.shape[2] - 1)
    return covered[:, rows][:, :, columns]


def stretched(maps, height, width, **how):
    return F.interpolate(maps.unsqueeze(1), size=(height, width), **{"mode": "bilinear"} | how).squeeze(1)


def edged(maps, margin, mode="replicate"):
    return F.pad(maps.unsqueeze(1), (margin, margin, margin, margin), mode=mode).squeeze(1)


LAY_RIGHT = [
    lay_by_index,
    lambda m, h, w, margin: edged(stretched(m, h - 2 * margin, w - 2 * margin), margin),
    lambda m, h, w, margin: torch.nn.ReplicationPad2d(margin)(stretched(m, h - 2 * margin, w - 2 * margin)),
    lambda m, h, w, margin: package.over_picture(m.double(), (h, w), margin).to(m.dtype),
]
LAY_WRONG = {
    "whole-picture": [lambda m, h, w, margin: stretched(m, h, w),
                      lambda m, h, w, margin: package.over_picture(m, (h, w))],
    "mirrored-margin": [
        lambda m, h, w, margin: edged(stretched(m, h - 2 * margin, w - 2 * margin), margin, "reflect"),
        lambda m, h, w, margin: edged(stretched(m, h - 2 * margin, w - 2 * margin), margin, "circular")],
    "bicubic": [lambda m, h, w, margin: edged(stretched(m, h - 2 * margin, w - 2 * margin, mode="bicubic"), margin)],
    "zero-margin": [lambda m, h, w, margin: F.pad(stretched(m, h - 2 * margin, w - 2 * margin), [margin] * 4)],
    "no-margin-added": [lambda m, h, w, margin: stretched(m, h - 2 * margin, w - 2 * margin)],
    "one-side-only": [lambda m, h, w, margin: edged(stretched(m, h - margin, w - margin), margin)],
    "margin-of-the-map": [lambda m, h, w, margin: stretched(edged(m, margin), h, w)],
    "cut-off": [lambda m, h, w, margin: stretched(m, h + 2 * margin, w + 2 * margin)[
        :, margin:h + margin, margin:w + margin]],
    "nearest": [lambda m, h, w, margin: edged(stretched(m, h - 2 * margin, w - 2 * margin, mode="nearest"), margin)],
    "aligned-corners": [lambda m, h, w, margin: lay_by_index(
        stretched(m, h - 2 * margin, w - 2 * margin, align_corners=True), h, w, margin)],
    "swapped-sides": [lambda m, h, w, margin: lay_by_index(m, w, h, margin)],
    "width-only": [lambda m, h, w, margin: F.pad(stretched(m, h, w - 2 * margin), (margin, margin), mode="replicate")],
    "kept-axis": [lambda m, h, w, margin: lay_by_index(m, h, w, margin).unsqueeze(1)],
    "mutated-input": [lambda m, h, w, margin: lay_by_index(m.add_(1), h, w, margin) - 1],
    "crashed": [lambda m, h, w, margin: F.interpolate(m, (h, w), mode="bilinear")],
}


def test_lay_over(tells_apart):
    tells_apart(lay_over, LAY_RIGHT, LAY_WRONG)


# --- paired_interval -------------------------------------------------------------------------------------------------


def interval_by_loop(one, other, t):
    means, halves = [], []
    for place in range(one.shape[1]):
        differences = [a - b for a, b in zip(one[:, place].tolist(), other[:, place].tolist())]
        mean = sum(differences) / len(differences)
        variance = sum((d - mean)**2 for d in differences) / (len(differences) - 1)
        means.append(mean)
        halves.append(t * (variance / len(differences))**0.5)
    return torch.tensor(means, dtype=one.dtype), torch.tensor(halves, dtype=one.dtype)


INTERVAL_RIGHT = [
    interval_by_loop,
    lambda one, other, t: [(one - other).mean(0), t * (one - other).var(0).div(len(one)).sqrt()],
    lambda one, other, t: ((one - other).mean(0), t * (one - other).std(0, correction=0) / (len(one) - 1)**0.5),
]
INTERVAL_WRONG = {
    "not-paired": [lambda one, other, t: (one.mean(0) - other.mean(0), t * (
        one.var(0) / len(one) + other.var(0) / len(other)).sqrt())],
    "not-centred": [lambda one, other, t: (
        (one - other).mean(0), t * torch.sqrt(torch.square(one - other).mean(0) / len(one)))],
    "divided-by-n": [lambda one, other, t: (
        (one - other).mean(0), t * (one - other).std(0, unbiased=False) / len(one)**0.5)],
    "normal-quantile": [lambda one, other, t: ((one - other).mean(0), 1.96 * (one - other).std(0) / len(one)**0.5)],
    "no-quantile": [lambda one, other, t: ((one - other).mean(0), (one - other).std(0) / len(one)**0.5)],
    "standard-deviation": [lambda one, other, t: ((one - other).mean(0), t * (one - other).std(0)),
                           lambda one, other, t: ((one - other).mean(0), (one - other).std(0))],
    "divided-by-n-not-root": [lambda one, other, t: ((one - other).mean(0), t * (one - other).std(0) / len(one))],
    "variance": [lambda one, other, t: ((one - other).mean(0), t * (one - other).var(0) / len(one)**0.5)],
    "other-way-round": [lambda one, other, t: ((other - one).mean(0), t * (other - one).std(0) / len(one)**0.5)],
    "absolute": [lambda one, other, t: (
        (one - other).abs().mean(0), t * (one - other).abs().std(0) / len(one)**0.5)],
    "over-places": [lambda one, other, t: (
        (one - other).mean(1), t * (one - other).std(1) / one.shape[1]**0.5)],
    "all-places-together": [lambda one, other, t: (
        (one - other).mean(), t * (one - other).std() / one.numel()**0.5), lambda one, other, t: (
        (one - other).mean(), t * (one - other).std() / len(one)**0.5)],
    "mean-of-places": [lambda one, other, t: (
        (one.mean(1) - other.mean(1)).mean(), t * (one.mean(1) - other.mean(1)).std() / len(one)**0.5)],
    "root-of-places": [lambda one, other, t: (
        (one - other).mean(0), t * (one - other).std(0) / one.shape[1]**0.5)],
    "fixed-quantile": [lambda one, other, t: ((one - other).mean(0), 2.776 * (one - other).std(0) / len(one)**0.5)],
    "root-of-n-minus-1": [lambda one, other, t: (
        (one - other).mean(0), t * (one - other).std(0) / (len(one) - 1)**0.5)],
    "five-fixed": [lambda one, other, t: ((one - other).mean(0), t * (one - other).std(0) / 5**0.5)],
    "sorted": [lambda one, other, t: interval_by_loop(one.sort(dim=0).values, other.sort(dim=0).values, t)],
    "mutated-input": [lambda one, other, t: (one.sub_(other).mean(0), t * one.std(0) / len(one)**0.5)],
}


def with_clear(answer):
    """An answer of two results, and where the interval is clear of 0."""
    return lambda one, other, t: (lambda mean, half: (mean, half, mean.abs() > half))(*answer(one, other, t))


def test_paired_interval(tells_apart):
    tells_apart(paired_interval, list(map(with_clear, INTERVAL_RIGHT)),
                {cause: list(map(with_clear, answers)) for cause, answers in INTERVAL_WRONG.items()})


def test_what_is_clear(tells_apart):
    right = interval_by_loop

    def mean_half(one, other, t):
        mean, half = right(one, other, t)
        return mean, half, (mean - half > 0) | (mean + half < 0)

    tells_apart(paired_interval, [mean_half, lambda one, other, t: list(mean_half(one, other, t))], {
        "clear-above-only": [lambda one, other, t: (*right(one, other, t), right(one, other, t)[0] > right(
            one, other, t)[1])],
        "contains-0": [lambda one, other, t: (*right(one, other, t), ~mean_half(one, other, t)[2])],
        "clear-by-standard-error": [lambda one, other, t: (*right(one, other, t), mean_half(one, other, 1)[2])],
        "clear-left-out": [right],
        "one-answer-for-all": [lambda one, other, t: (*right(one, other, t), mean_half(one, other, t)[2].all())],
        "ends": [lambda one, other, t: (mean_half(one, other, t)[0] - mean_half(one, other, t)[1], sum(
            right(one, other, t)), mean_half(one, other, t)[2])],
        "swapped-results": [lambda one, other, t: (*right(one, other, t)[::-1], mean_half(one, other, t)[2])],
        "wrong-type": [lambda one, other, t: torch.stack(right(one, other, t))],
    })


def test_a_wrong_spread_and_a_wrong_quantile_together_get_an_answer():
    result = paired_interval(with_clear(lambda one, other, t: (
        (one - other).mean(0), 1.96 * (one - other).std(0, unbiased=False) / len(one)**0.5)))
    assert result.status == "failed"
    assert "Expected" in result.message


# --- the chapter's table: what others do -----------------------------------------------------------------------------

PICTURE = torch.zeros(1, 32, 32, dtype=torch.bool)
PICTURE[:, 4:10, 4:10] = True


def with_tolerance(maps, masks, pixels):
    """TorchRay's rule: a hit if the first highest pixel is nearer than so many pixels to a pixel of the mask."""
    hits = []
    for one_map, mask in zip(maps, masks):
        i, j = divmod(one_map.argmax().item(), one_map.shape[1])
        rows, columns = mask.nonzero(as_tuple=True)
        hits.append(float((((rows - i)**2 + (columns - j)**2) < pixels**2).any()))
    return torch.tensor(hits)


def test_the_tolerance_of_15_pixels_is_wide_on_a_small_picture():
    middle = torch.zeros(1, 32, 32)
    middle[:, 16, 16] = 1
    assert package.pointing_game(middle, PICTURE) == 0
    assert with_tolerance(middle, PICTURE, 15) == 1
    assert with_tolerance(middle, PICTURE, 1) == 0


@pytest.mark.parametrize(("first_inside", "theirs"), [(True, 1), (False, 0)])
def test_of_ties_they_take_the_first_and_we_the_share(first_inside, theirs):
    maps = torch.zeros(1, 32, 32)
    maps[:, 5, 5] = maps[:, 20, 20] = 1
    masks = PICTURE if first_inside else PICTURE.flip(1, 2)
    assert package.pointing_game(maps, masks) == pytest.approx(0.5 if first_inside else 0)
    maps[:, 25, 25] = 1
    assert package.pointing_game(maps, masks) == pytest.approx(1 / 3)
    assert with_tolerance(maps, masks, 1) == theirs


def test_a_box_gives_more_than_a_mask():
    """The energy-based pointing game of Score-CAM counts the box around the object."""
    ring = torch.zeros(1, 8, 8, dtype=torch.bool)
    ring[:, 2:6, 2:6] = True
    ring[:, 3:5, 3:5] = False
    box = torch.zeros_like(ring)
    box[:, 2:6, 2:6] = True
    flat = torch.ones(1, 8, 8)
    assert package.energy_inside(flat, box) > package.energy_inside(flat, ring)


def test_min_max_makes_a_region_out_of_a_flat_gate():
    """Maps stretched from 0 to 1, as wsolevaluation wants them, and maps as they are."""
    gate = torch.full((1, 32, 32), 0.500)
    gate[PICTURE] = 0.501
    area = PICTURE.float().mean()
    assert package.iou(gate, PICTURE) == pytest.approx(area.item())
    assert package.iou(gate - gate.min(), PICTURE) == 1
    assert package.energy_inside(gate, PICTURE) == pytest.approx(area.item(), abs=1e-3)
