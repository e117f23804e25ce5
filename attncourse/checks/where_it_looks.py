"""Checkers of the chapter on where networks look: three scores, a map over its picture, an interval over seeds."""

from collections.abc import Callable
from numbers import Real

import torch
from torch import Tensor
from torch.nn import functional as F

from attncourse import localization
from attncourse.checks.cases import call, describe, randn, tensor, values
from attncourse.checks.engine import Case, Exercise, Mistake


def rand(*shape: int, seed: int = 0) -> Tensor:
    return randn(*shape, seed=seed).abs()


def mask(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.bool, device="cpu")


def discs(batch: int, height: int, width: int) -> Tensor:
    """(B, height, width): a disc in each mask, elsewhere in each."""
    row, column = torch.arange(height)[:, None], torch.arange(width)
    return torch.stack([(row - height * (n + 1) / (batch + 2))**2 + (column - width * (n + 2) / (batch + 3))**2
                        <= (min(height, width) / 4)**2 for n in range(batch)])


def scored(**inputs: object) -> Case:
    """As cases.values, for a score: float64 is as right as float32."""
    def probe(answer: Callable) -> object:
        result = call(answer, **inputs)
        return result.float() if isinstance(result, Tensor) and result.is_floating_point() else result

    return Case(describe(**inputs), probe)


# --- energy_share: one map -------------------------------------------------------------------------------------------


def as_number(value: object) -> object:
    """A tensor for a number: both are right answers."""
    return tensor(float(value)) if isinstance(value, Real) else value


def number(**inputs: Tensor) -> Case:
    return Case(describe(**inputs), lambda answer: as_number(call(answer, **inputs)))


energy_share = Exercise(
    id="where_it_looks.energy_share",
    title="The share of a map's energy on the object",
    reference=lambda m, mask: (m * mask).sum() / m.sum(),
    cases=(
        number(m=tensor([[1, 3]]), mask=mask([[False, True]])),
        number(m=tensor([[2, 1], [5, 2]]), mask=mask([[True, False], [True, False]])),
        number(m=tensor([[0, 4, 1], [3, 0, 0]]), mask=mask([[True, False, True], [True, True, True]])),
        number(m=rand(5, 7), mask=discs(1, 5, 7)[0]),
        number(m=rand(8, 6, seed=1) + 2, mask=discs(2, 8, 6)[1]),
    ),
    mistakes=(
        Mistake("not-divided", "You summed the values on the object, but did not divide by the sum of all values.",
                lambda m, mask: (m * mask).sum()),
        Mistake("divided-by-pixels", "You divided by the number of pixels. The share is of the map's own sum.",
                lambda m, mask: (m * mask).mean()),
        Mistake("mean-on-object", "You took the mean of the values on the object: a large object then counts as much "
                "as a small one, and the values outside do not count at all.",
                lambda m, mask: m[mask].mean(), lambda m, mask: (m * mask).sum() / mask.sum()),
        Mistake("ratio-of-means", "You compared two means. The score is a ratio of two sums: on the object and in all.",
                lambda m, mask: m[mask].mean() / m.mean(), lambda m, mask: m[mask].mean() / m[~mask].mean()),
        Mistake("share-outside", "You took the share that lies off the object.",
                lambda m, mask: (m * ~mask).sum() / m.sum(), lambda m, mask: (m * (1 - mask.float())).sum() / m.sum()),
        Mistake("inside-over-outside", "You divided by the energy off the object. Divide by all of it.",
                lambda m, mask: (m * mask).sum() / (m * ~mask).sum(), lambda m, mask: m[mask].sum() / m[~mask].sum()),
        Mistake("maximum", "You compared the highest values. The energy is the sum of the values.",
                lambda m, mask: (m * mask).max() / m.max(), lambda m, mask: m[mask].max() / m.max()),
        Mistake("divided-by-maximum", "You divided by the highest value. The share is of the map's sum.",
                lambda m, mask: (m * mask).sum() / m.max()),
        Mistake("area", "You took the object's share of the picture: the map does not count.",
                lambda m, mask: mask.float().mean(), lambda m, mask: mask.sum() / mask.numel()),
        Mistake("min-max", "You subtracted the smallest value first. That makes a nearly flat map look sharp: the "
                "score is of the values as they are.",
                lambda m, mask: ((m - m.min()) * mask).sum() / (m - m.min()).sum()),
        Mistake("squared", "You squared the values. Here energy means their sum.",
                lambda m, mask: (m**2 * mask).sum() / (m**2).sum()),
        Mistake("positive-pixels", "You counted the pixels above 0. Their values count.",
                lambda m, mask: ((m > 0) & mask).sum() / (m > 0).sum()),
        Mistake("one-axis-only", "You summed over one of the two axes. Both have to go: one number for the map.",
                lambda m, mask: (m * mask).sum(0) / m.sum(0), lambda m, mask: (m * mask).sum(1) / m.sum(1)),
        Mistake("per-cent", "You returned per cent. A share is between 0 and 1.",
                lambda m, mask: 100 * (m * mask).sum() / m.sum()),
        Mistake("minus-area", "You subtracted what a flat map would have. The score is the share itself; compare it "
                "with the flat map's afterwards.",
                lambda m, mask: (m * mask).sum() / m.sum() - mask.float().mean()),
        Mistake("softmax", "You took a softmax over the positions. The score is of the values as they are.",
                lambda m, mask: (m.flatten().softmax(0).view_as(m) * mask).sum()),
    ),
    hints=(
        "Two sums: over the object's pixels, and over all of them.",
        "A boolean mask counts as 0 and 1 when you multiply a map by it.",
        "Divide `(m * mask).sum()` by the sum of the whole map.",
    ),
    tested="values on 5 maps: by hand, with zeros, non-square, a map that is nowhere 0; inputs unchanged",
)

# --- pointing_game: a batch ------------------------------------------------------------------------------------------


def laid(maps: Tensor, masks: Tensor, **how) -> Tensor:
    options = {"mode": "bilinear"} | how
    return F.interpolate(maps[:, None], masks.shape[1:], **options)[:, 0]


def share_of_highest(maps: Tensor, masks: Tensor, highest: Tensor | None = None) -> Tensor:
    found = maps == (maps.amax((1, 2), keepdim=True) if highest is None else highest)
    return (found & masks).sum((1, 2)) / found.sum((1, 2))


def first_place(maps: Tensor) -> tuple[Tensor, Tensor]:
    at = maps.flatten(1).argmax(1)
    return at // maps.shape[2], at % maps.shape[2]


def looked_up(masks: Tensor, row: Tensor, column: Tensor) -> Tensor:
    return masks[torch.arange(len(masks)), row, column].float()


def scaled_place(maps: Tensor, masks: Tensor) -> Tensor:
    row, column = first_place(maps)
    return looked_up(masks, row * masks.shape[1] // maps.shape[1], column * masks.shape[2] // maps.shape[2])


def divided_by_height(maps: Tensor, masks: Tensor) -> Tensor:
    at = laid(maps, masks).flatten(1).argmax(1)
    return looked_up(masks, at // masks.shape[1], at % masks.shape[1])


def energy(maps: Tensor, masks: Tensor) -> Tensor:
    return (maps * masks).sum((1, 2)) / maps.sum((1, 2))


def hits(maps: Tensor, masks: Tensor) -> Tensor:
    over = laid(maps, masks)
    return (over == over.amax((1, 2), keepdim=True)) & masks


def product(maps: Tensor, masks: Tensor) -> Tensor:
    over = laid(maps, masks)
    return (over * masks).amax((1, 2)) == over.amax((1, 2))


def any_hit(maps: Tensor, masks: Tensor) -> Tensor:
    return hits(maps, masks).flatten(1).any(1)


def by_column(maps: Tensor, masks: Tensor) -> Tensor:
    row = laid(maps, masks).argmax(1, keepdim=True)  # (B, 1, W)
    return masks.gather(1, row).float().mean((1, 2))


def by_row(maps: Tensor, masks: Tensor) -> Tensor:
    column = laid(maps, masks).argmax(2, keepdim=True)  # (B, H, 1)
    return masks.gather(2, column).float().mean((1, 2))


def shrunk(maps: Tensor, masks: Tensor, how: Callable) -> Tensor:
    return share_of_highest(maps, how(masks[:, None].float(), maps.shape[1:])[:, 0] > 0.5)


def wide(masks: Tensor, tolerance: int, distance: Callable = max) -> Tensor:
    """The pixels within the tolerance of the object; distance is of rows and columns."""
    B, H, W = masks.shape
    near_it = torch.zeros_like(masks)
    for i in range(-min(tolerance, H - 1), min(tolerance, H - 1) + 1):
        for j in range(-min(tolerance, W - 1), min(tolerance, W - 1) + 1):
            if distance(abs(i), abs(j)) <= tolerance:
                near_it[:, max(i, 0):H + min(i, 0), max(j, 0):W + min(j, 0)] |= masks[
                    :, max(-i, 0):H + min(-i, 0), max(-j, 0):W + min(-j, 0)]
    return near_it


def near(score: Callable) -> Callable:
    """The score, with a tolerance: of masks that are wider by it."""
    return lambda maps, masks, tolerance: score(maps, wide(masks, tolerance))


def with_tolerance(mistake: Mistake) -> Mistake:
    return Mistake(mistake.cause, mistake.message, *map(near, mistake.wrong))


def nearly_highest(over: Tensor, masks: Tensor, rtol: float) -> Tensor:
    found = torch.isclose(over, over.amax((1, 2), keepdim=True), rtol=rtol)
    return (found & masks).sum((1, 2)) / found.sum((1, 2))


def widened_highest(maps: Tensor, masks: Tensor, tolerance: int) -> Tensor:
    over = laid(maps, masks)
    found = wide(over == over.amax((1, 2), keepdim=True), tolerance)
    return (found & masks).sum((1, 2)) / found.sum((1, 2))


pointing_game = Exercise(
    id="where_it_looks.pointing_game",
    title="The pointing game with a tolerance",
    reference=near(localization.pointing_game),
    cases=(
        scored(maps=tensor([[[1, 3]]]), masks=mask([[[False, True]]]), tolerance=0),
        scored(maps=tensor([[[1, 3, 2]], [[4, 3, 9]]]), masks=mask([[[False, False, True]], [[True, False, True]]]),
               tolerance=0),
        scored(maps=tensor([[[2, 2], [1, 2]]]), masks=mask([[[False, True], [True, False]]]), tolerance=0),
        scored(maps=tensor([[[1, 9, 2, 1]]]), masks=mask([[[False, False, True, False]]]), tolerance=1),
        scored(maps=tensor([[[1, 9, 2, 1]]]), masks=mask([[[False, False, False, True]]]), tolerance=1),
        scored(maps=tensor([[[100, 98, 99.9]]]), masks=mask([[[True, False, False]]]), tolerance=0),
        scored(maps=tensor([[[-5, -1]], [[-6, 2]]]), masks=mask([[[False, True]], [[True, False]]]), tolerance=0),
        scored(maps=tensor([[[1, 3]]]), masks=mask([[[False, False, False, True]]]), tolerance=0),
        scored(maps=tensor([[[1, 5, 2]]]), masks=mask([[[False, False, True, False, False, False]]]), tolerance=0),
        scored(maps=tensor([[[1, 3]]]), masks=mask([[[False] * 5 + [True]]]), tolerance=0),
        scored(maps=tensor([[[1, 2], [7, 3]]]), masks=mask([[[False] * 4] * 3 + [[True, True, False, False]]]),
               tolerance=0),
        scored(maps=rand(3, 4, 9), masks=discs(3, 4, 9), tolerance=0),
        scored(maps=randn(4, 3, 5, seed=1), masks=discs(4, 9, 20), tolerance=0),
        scored(maps=rand(6, 7, 7, seed=2).double(), masks=discs(6, 28, 28), tolerance=0),
        scored(maps=tensor([[[0] * 5] * 2 + [[0, 0, 1, 0, 0]] + [[0] * 5] * 2]),
               masks=mask([[[False] * 5] * 4 + [[False] * 4 + [True]]]), tolerance=2),
        scored(maps=tensor([[[9, 1, 1], [1, 1, 1], [1, 1, 1]], [[1, 1, 1], [1, 1, 9], [1, 1, 1]]]),
               masks=mask([[[False] * 3] * 2 + [[True, False, False]], [[True, False, False]] + [[False] * 3] * 2]),
               tolerance=2),
        scored(maps=rand(12, 16, 20, seed=3), masks=discs(12, 16, 20), tolerance=3),
        scored(maps=rand(6, 5, 5, seed=3), masks=discs(6, 20, 20), tolerance=0),
    ),
    mistakes=(*map(with_tolerance, (
        Mistake("first-of-ties", "Several pixels may share the highest value. `argmax` looks at the first of them "
                "only; the score is the share of them that lies on the object.",
                lambda maps, masks: looked_up(masks, *first_place(laid(maps, masks))),
                lambda maps, masks: looked_up(masks, *first_place(laid(maps, masks))).bool()),
        Mistake("any-of-ties", "Several pixels may share the highest value. One of them on the object is not a full "
                "hit: the score is the share of them.",
                lambda maps, masks: any_hit(maps, masks).float(), any_hit),
        Mistake("highest-of-batch", "You looked for the highest value of the whole batch. Each map has one of its own.",
                lambda maps, masks: share_of_highest(laid(maps, masks), masks, maps.max()),
                lambda maps, masks: share_of_highest(laid(maps, masks), masks, laid(maps, masks).max()),
                lambda maps, masks: ((laid(maps, masks) == laid(maps, masks).max()) & masks).flatten(1).any(1).float(),
                lambda maps, masks: ((laid(maps, masks) == laid(maps, masks).max()) & masks).flatten(1).any(1)),
        Mistake("highest-of-columns", "You looked for the highest value of each column, with `argmax(1)`. The highest "
                "of the whole map counts: over both axes.",
                by_column),
        Mistake("highest-of-rows", "You looked for the highest value of each row, with `argmax(2)`. The highest of the "
                "whole map counts: over both axes.",
                by_row),
        Mistake("divided-by-height", "You made a row and a column from the flat index with the height. A row is as "
                "long as the map is wide: divide by the width.",
                divided_by_height),
        Mistake("swapped", "Row and column are swapped: masks are (B, row, column).",
                lambda maps, masks: looked_up(masks, *first_place(laid(maps, masks))[::-1])),
        Mistake("not-laid", "The map may be smaller than the mask, and you used its row and column in the mask. Lay "
                "the map over the picture first. `argmax` also finds only the first of several highest pixels.",
                lambda maps, masks: looked_up(masks, *first_place(maps)),
                lambda maps, masks: looked_up(masks, *first_place(maps)).bool()),
        Mistake("scaled-index", "You scaled the row and the column of the small map. The bilinear map has its highest "
                "value in the middle of the cell, not in its upper left corner: lay the map over the picture first.",
                scaled_place),
        Mistake("nearest", "You repeated the nearest value, which makes the highest cell a large block. Stretch with "
                "`mode=\"bilinear\"`.",
                lambda maps, masks: share_of_highest(laid(maps, masks, mode="nearest"), masks)),
        Mistake("aligned-corners", "You aligned the corners when you stretched. Leave `align_corners` at False.",
                lambda maps, masks: share_of_highest(laid(maps, masks, align_corners=True), masks)),
        Mistake("shrunk-mask", "You shrank the mask to the map. A small object may vanish from it: stretch the map.",
                lambda maps, masks: shrunk(maps, masks, F.interpolate),
                lambda maps, masks: shrunk(maps, masks, F.adaptive_avg_pool2d),
                lambda maps, masks: shrunk(maps, masks, F.adaptive_max_pool2d)),
        Mistake("energy", "You took the share of the sum. The pointing game asks for the highest value only.",
                lambda maps, masks: energy(laid(maps, masks), masks),
                lambda maps, masks: energy(localization.over_picture(maps, masks.shape[1:]), masks)),
        Mistake("product", "You multiplied the map by the mask and compared maxima. Off the object the product is 0, "
                "which is higher than every negative value; and ties count as a full hit.",
                lambda maps, masks: product(maps, masks).float(), product),
        Mistake("absolute", "You took absolute values: then the lowest value may look like the highest.",
                lambda maps, masks: share_of_highest(laid(maps.abs(), masks), masks),
                lambda maps, masks: share_of_highest(laid(maps, masks).abs(), masks)),
        Mistake("averaged-batch", "You averaged over the pictures. Return one score for each.",
                lambda maps, masks: share_of_highest(laid(maps, masks), masks).mean()),
        Mistake("count-of-hits", "You counted the highest pixels on the object. Divide by their number in all.",
                lambda maps, masks: hits(maps, masks).sum((1, 2)).float(),
                lambda maps, masks: hits(maps, masks).sum((1, 2))),
        Mistake("sizes-differ", "A map may be smaller than its mask, and then the two cannot be compared pixel by "
                "pixel. Lay the map over the picture first.",
                share_of_highest,
                lambda maps, masks: ((maps == maps.amax((1, 2), keepdim=True)) & masks).flatten(1).any(1)),
        Mistake("bicubic", "You stretched with `mode=\"bicubic\"`, which overshoots. Stretch with `mode=\"bilinear\"`.",
                lambda maps, masks: share_of_highest(laid(maps, masks, mode="bicubic"), masks)),
        Mistake("nearly-highest", "You counted pixels that are nearly as high. Only those at the maximum count.",
                lambda maps, masks: nearly_highest(laid(maps, masks), masks, 5e-2),
                lambda maps, masks: nearly_highest(laid(maps, masks), masks, 1e-2),
                lambda maps, masks: nearly_highest(laid(maps, masks), masks, 1e-3)),
    )),
        Mistake("tolerance-ignored", "You did not use `tolerance`: a highest pixel beside the object counts, "
                "too, if it is near enough.",
                lambda maps, masks, k: localization.pointing_game(maps, masks)),
        Mistake("tolerance-too-small", "Your tolerance is a pixel too small: a pixel exactly `tolerance` away counts.",
                lambda maps, masks, k: localization.pointing_game(maps, wide(masks, max(k - 1, 0)))),
        Mistake("tolerance-too-large", "Your tolerance is too large. It reaches `tolerance` pixels to each side: a "
                "window of 2 · tolerance + 1.",
                lambda maps, masks, k: localization.pointing_game(maps, wide(masks, k + 1)),
                lambda maps, masks, k: localization.pointing_game(maps, wide(masks, 2 * k))),
        Mistake("round-tolerance", "You measured the straight distance. Here the tolerance is a square: rows and "
                "columns each differ by at most `tolerance`.",
                lambda maps, masks, k: localization.pointing_game(
                    maps, wide(masks, k, lambda i, j: (i**2 + j**2)**0.5))),
        Mistake("steps", "You added the distances in rows and columns. Here the tolerance is a square: each of the "
                "two is at most `tolerance`.",
                lambda maps, masks, k: localization.pointing_game(
                    maps, wide(masks, k, lambda i, j: i + j))),
        Mistake("one-axis-tolerance", "Your tolerance goes along the rows or the columns only. It goes along both.",
                lambda maps, masks, k: localization.pointing_game(
                    maps, wide(masks, k, lambda i, j: j + (i > 0) * 10**6)),
                lambda maps, masks, k: localization.pointing_game(
                    maps, wide(masks, k, lambda i, j: i + (j > 0) * 10**6))),
        Mistake("widened-highest", "You widened the region of the highest pixels and took its share. Widen the object: "
                "a highest pixel counts in full or not at all.",
                widened_highest),
    ),
    hints=(
        "Lay each map over its picture. Where is its highest value, and is it there once only? And which pixels count "
        "as the object?",
        "Compare the map with its own maximum, kept as (B, 1, 1): that gives a boolean map of the highest pixels. "
        "Widen each mask: a pixel counts if any pixel in the square window around it is on the object.",
        "`F.max_pool2d(masks.float(), 2 * tolerance + 1, 1, tolerance) > 0` are the pixels that count. Divide how many "
        "of the highest are among them by how many there are, both over the axes 1 and 2.",
    ),
    tested="values on 18 batches: by hand, ties, negative values, non-square, maps smaller than their masks, "
           "tolerances of 0 to 3 pixels, float64; inputs unchanged",
)

# --- overlap: IoU at a threshold -------------------------------------------------------------------------------------


def region(maps: Tensor, threshold: float) -> Tensor:
    return maps >= threshold * maps.amax((1, 2), keepdim=True)


def iou(found: Tensor, masks: Tensor) -> Tensor:
    return (found & masks).sum((1, 2)) / (found | masks).sum((1, 2))


def between(maps: Tensor, threshold: float) -> Tensor:
    lowest, highest = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return maps >= lowest + threshold * (highest - lowest)


def top_share(maps: Tensor, threshold: float) -> Tensor:
    return maps >= maps.flatten(1).quantile(threshold, 1)[:, None, None]


def ratio(of: Callable, maps: Tensor, masks: Tensor, threshold: float) -> Tensor:
    """of(the pixels in both, in the region, in the object)."""
    found = region(maps, threshold)
    return of((found & masks).sum((1, 2)), found.sum((1, 2)), masks.sum((1, 2)))


overlap = Exercise(
    id="where_it_looks.overlap",
    title="Overlap at a threshold",
    reference=lambda maps, masks, threshold: iou(region(maps, threshold), masks),
    cases=(
        scored(maps=tensor([[[1, 4, 3]]]), masks=mask([[[False, True, False]]]), threshold=0.5),
        scored(maps=tensor([[[1, 4, 2]]]), masks=mask([[[False, True, False]]]), threshold=0.5),
        scored(maps=tensor([[[3, 4, 3.5]]]), masks=mask([[[True, True, False]]]), threshold=0.5),
        scored(maps=tensor([[[0.1, 0.4, 0.3, 0]]]), masks=mask([[[False, True, True, False]]]), threshold=0.3),
        scored(maps=tensor([[[8, 1]], [[1, 2]]]), masks=mask([[[True, False]], [[False, True]]]), threshold=0.75),
        scored(maps=rand(3, 6, 9), masks=discs(3, 6, 9), threshold=0.2),
        scored(maps=rand(4, 8, 8, seed=1) + 0.1, masks=discs(4, 8, 8), threshold=0.6),
    ),
    mistakes=(
        Mistake("maximum-of-batch", "You cut all maps at one value, a share of the highest value of the batch. Each "
                "map has a highest value of its own.",
                lambda maps, masks, t: iou(maps >= t * maps.max(), masks)),
        Mistake("above-the-mean", "You cut at the mean. The threshold is a share of each map's maximum.",
                lambda maps, masks, t: iou(maps > maps.mean((1, 2), keepdim=True), masks),
                lambda maps, masks, t: iou(maps >= maps.mean((1, 2), keepdim=True), masks),
                lambda maps, masks, t: iou(maps >= t * maps.mean((1, 2), keepdim=True), masks)),
        Mistake("fixed-value", "You compared the values with the threshold. It is a share of each map's maximum.",
                lambda maps, masks, t: iou(maps >= t, masks), lambda maps, masks, t: iou(maps > t, masks)),
        Mistake("min-max", "You put the threshold between the smallest and the highest value. Here it is a share of "
                "the highest value alone: 0 has a meaning in these maps.",
                lambda maps, masks, t: iou(between(maps, t), masks)),
        Mistake("strictly-above", "A pixel that just reaches the threshold counts: use `>=`.",
                lambda maps, masks, t: iou(maps > t * maps.amax((1, 2), keepdim=True), masks)),
        Mistake("quantile", "You took a share of the pixels. The threshold is a share of the highest value.",
                lambda maps, masks, t: iou(top_share(maps, t), masks),
                lambda maps, masks, t: iou(top_share(maps, 1 - t), masks)),
        Mistake("counted-twice", "You added region and object: what lies in both is counted twice. The union counts "
                "each pixel once.",
                lambda maps, masks, t: ratio(lambda both, found, object_: both / (found + object_), maps, masks, t)),
        Mistake("dice", "That is the Dice score: twice the intersection over the sum of both areas. IoU divides the "
                "intersection by the union.",
                lambda maps, masks, t: ratio(lambda both, found, all_: 2 * both / (found + all_), maps, masks, t)),
        Mistake("of-the-object", "You divided by the object's area: a region that covers the whole picture would score "
                "1. Divide by the union.",
                lambda maps, masks, t: ratio(lambda both, found, object_: both / object_, maps, masks, t)),
        Mistake("of-the-region", "You divided by the region's area: one pixel on the object would score 1. Divide by "
                "the union.",
                lambda maps, masks, t: ratio(lambda both, found, object_: both / found, maps, masks, t)),
        Mistake("exclusive-or", "You divided by the pixels that are in one of the two only. The union has those in "
                "both, too: `|`, not `^`.",
                lambda maps, masks, t: (region(maps, t) & masks).sum((1, 2)) / (region(maps, t) ^ masks).sum((1, 2))),
        Mistake("smaller-area", "You divided by the smaller or the larger of the two areas. Divide by the union.",
                lambda maps, masks, t: ratio(lambda both, found, all_: both / torch.minimum(found, all_),
                                             maps, masks, t),
                lambda maps, masks, t: ratio(lambda both, found, all_: both / torch.maximum(found, all_),
                                             maps, masks, t)),
        Mistake("threshold-fixed", "You cut at half of the maximum, whatever `threshold` says.",
                lambda maps, masks, t: iou(region(maps, 0.5), masks)),
        Mistake("one-minus-threshold", "You cut at 1 - threshold of the maximum. Cut at threshold.",
                lambda maps, masks, t: iou(region(maps, 1 - t), masks)),
        Mistake("below", "You took the pixels below the threshold.",
                lambda maps, masks, t: iou(maps < t * maps.amax((1, 2), keepdim=True), masks),
                lambda maps, masks, t: iou(maps <= t * maps.amax((1, 2), keepdim=True), masks)),
        Mistake("maximum-of-rows", "You took the maximum of each row or column. Each map has one, over both axes.",
                lambda maps, masks, t: iou(maps >= t * maps.amax(2, keepdim=True), masks),
                lambda maps, masks, t: iou(maps >= t * maps.amax(1, keepdim=True), masks)),
        Mistake("averaged-batch", "You averaged over the pictures. Return one score for each.",
                lambda maps, masks, t: iou(region(maps, t), masks).mean()),
        Mistake("summed-over-batch", "You counted the pixels of all pictures together. Count over the axes 1 and 2 "
                "only: one score for each picture.",
                lambda maps, masks, t: (region(maps, t) & masks).sum() / (region(maps, t) | masks).sum()),
        Mistake("pixels-that-agree", "You counted the pixels on which region and mask agree. Most of them are off the "
                "object in both, which is easy: they are in neither set.",
                lambda maps, masks, t: (region(maps, t) == masks).float().mean((1, 2))),
    ),
    hints=(
        "First the region: which pixels reach the threshold? Then two counts.",
        "Each map's maximum is `maps.amax((1, 2), keepdim=True)`. Of two boolean maps, `&` is the intersection and `|` "
        "the union.",
        "`region = maps >= threshold * maps.amax((1, 2), keepdim=True)`; divide the count of `region & masks` by that "
        "of `region | masks`.",
    ),
    tested="values on 7 batches: by hand, values that just reach the threshold, weak and strong maps in one batch, "
           "non-square; inputs unchanged",
)

# --- lay_over: with a margin -----------------------------------------------------------------------------------------


def inner(maps: Tensor, height: int, width: int, **how) -> Tensor:
    return F.interpolate(maps[:, None], (height, width), **{"mode": "bilinear"} | how)


def padded(maps: Tensor, margin: int, mode: str = "replicate") -> Tensor:
    return F.pad(maps, [margin] * 4, mode=mode)[:, 0]


def laid_then_blanked(maps: Tensor, height: int, width: int, margin: int) -> Tensor:
    whole = inner(maps, height, width)[:, 0]
    keep = torch.zeros_like(whole)
    keep[:, margin:height - margin, margin:width - margin] = 1
    return whole * keep


def cropped(maps: Tensor, height: int, width: int, margin: int) -> Tensor:
    return inner(maps, height + 2 * margin, width + 2 * margin)[:, 0, margin:margin + height, margin:margin + width]


lay_over = Exercise(
    id="where_it_looks.lay_over",
    title="Lay a map over its picture",
    reference=lambda maps, height, width, margin: padded(inner(maps, height - 2 * margin, width - 2 * margin), margin),
    cases=(
        scored(maps=tensor([[[1, 3]]]), height=3, width=4, margin=1),
        scored(maps=tensor([[[2, 0]]]), height=1, width=4, margin=0),
        scored(maps=tensor([[[1, 2], [3, 4]]]), height=6, width=6, margin=1),
        scored(maps=rand(1, 2, 3), height=8, width=13, margin=2),
        scored(maps=randn(3, 5, 4, seed=1), height=16, width=14, margin=3),
        scored(maps=rand(2, 6, 6, seed=2).double(), height=12, width=12, margin=1),
    ),
    mistakes=(
        Mistake("whole-picture", "You stretched the map over the whole picture. It does not cover the margin: what it "
                "shows moves outwards, by up to the margin.",
                lambda m, h, w, margin: inner(m, h, w)[:, 0],
                lambda m, h, w, margin: localization.over_picture(m, (h, w))),
        Mistake("zero-margin", "You filled the margin with 0. The map says nothing there, and 0 says \"not here\": "
                "repeat the nearest value.",
                lambda m, h, w, margin: padded(inner(m, h - 2 * margin, w - 2 * margin), margin, "constant")),
        Mistake("mirrored-margin", "You filled the margin by mirroring the map, or from its other side. Where the "
                "margin is as wide as the map that fails; and it shows a spot twice. Repeat the nearest value.",
                lambda m, h, w, margin: padded(inner(m, h - 2 * margin, w - 2 * margin), margin, "reflect"),
                lambda m, h, w, margin: padded(inner(m, h - 2 * margin, w - 2 * margin), margin, "circular")),
        Mistake("blanked-margin", "You stretched the map over the whole picture and then emptied the margin. It covers "
                "the inner part only: stretch it over that.",
                laid_then_blanked),
        Mistake("no-margin-added", "You stretched the map over the part that it covers, and left it there: the result "
                "has to be as large as the picture.",
                lambda m, h, w, margin: inner(m, h - 2 * margin, w - 2 * margin)[:, 0]),
        Mistake("one-side-only", "You took the margin away once. It is there on both sides.",
                lambda m, h, w, margin: F.pad(inner(m, h - margin, w - margin), [margin, 0, margin, 0],
                                              mode="replicate")[:, 0],
                lambda m, h, w, margin: F.pad(inner(m, h - margin, w - margin), [0, margin, 0, margin],
                                              mode="replicate")[:, 0],
                lambda m, h, w, margin: padded(inner(m, h - margin, w - margin), margin)),
        Mistake("margin-of-the-map", "You added the margin to the map before you stretched it. The margin is in pixels "
                "of the picture: stretch first, then add it.",
                lambda m, h, w, margin: inner(padded(m[:, None], margin), h, w)[:, 0]),
        Mistake("cut-off", "You stretched the map over more than the picture and cut it off. It covers less than the "
                "picture, not more.",
                cropped),
        Mistake("nearest", "You repeated the nearest value, which makes blocks. Stretch with `mode=\"bilinear\"`.",
                lambda m, h, w, margin: padded(inner(m, h - 2 * margin, w - 2 * margin, mode="nearest"), margin)),
        Mistake("bicubic", "You stretched with `mode=\"bicubic\"`, which overshoots. Stretch with `mode=\"bilinear\"`.",
                lambda m, h, w, margin: padded(inner(m, h - 2 * margin, w - 2 * margin, mode="bicubic"), margin)),
        Mistake("aligned-corners", "You aligned the corners. Leave `align_corners` at False: a value stands in the "
                "middle of its cell.",
                lambda m, h, w, margin: padded(inner(m, h - 2 * margin, w - 2 * margin, align_corners=True), margin)),
        Mistake("swapped-sides", "Height and width are swapped.",
                lambda m, h, w, margin: padded(inner(m, w - 2 * margin, h - 2 * margin), margin)),
        Mistake("width-only", "You added the margin at the left and the right only. `F.pad` wants four numbers: left, "
                "right, top, bottom.",
                lambda m, h, w, margin: F.pad(inner(m, h, w - 2 * margin), [margin, margin, 0, 0],
                                              mode="replicate")[:, 0]),
        Mistake("kept-axis", "The values are right, but the axis that interpolate needs is still there. The result is "
                "(B, height, width).",
                lambda m, h, w, margin: F.pad(inner(m, h - 2 * margin, w - 2 * margin), [margin] * 4,
                                              mode="replicate")),
    ),
    hints=(
        "Two steps. Over how many pixels does the map reach? And what comes into the margin around them?",
        "Stretch to (height - 2 · margin, width - 2 · margin); `F.interpolate` wants (B, channels, h, w). Then `F.pad` "
        "with four margins.",
        "`F.interpolate(maps[:, None], …, mode=\"bilinear\")`, then `F.pad(…, [margin] * 4, mode=\"replicate\")`, then "
        "take the axis of the channels away.",
    ),
    tested="values on 6 batches: by hand, without a margin, non-square, negative values, float64; inputs unchanged",
)

# --- paired_interval -------------------------------------------------------------------------------------------------


def separate(one: Tensor, other: Tensor, t: float) -> tuple[Tensor, Tensor]:
    half = t * ((one.var(0) + other.var(0)) / len(one)).sqrt()
    return one.mean(0) - other.mean(0), half


def interval(d: Tensor, t: float, n: int | None = None, correction: int = 1) -> tuple[Tensor, Tensor]:
    return d.mean(0), t * d.std(0, correction=correction) / (len(d) if n is None else n)**0.5


def between_ends(one: Tensor, other: Tensor, t: float) -> tuple[Tensor, Tensor, Tensor]:
    centre, half = interval(one - other, t)
    return centre - half, centre + half, clear_of_0(centre, half)


def over_places(one: Tensor, other: Tensor, t: float) -> tuple[Tensor, Tensor]:
    d = one - other
    return d.mean(1), t * d.std(1) / d.shape[1]**0.5


def all_together(one: Tensor, other: Tensor, t: float) -> tuple[Tensor, Tensor]:
    d = (one - other).flatten()
    return d.mean(), t * d.std() / len(d)**0.5


def mean_of_places(one: Tensor, other: Tensor, t: float) -> tuple[Tensor, Tensor]:
    return interval((one - other).mean(1), t)


def clear_of_0(centre: Tensor, half: Tensor) -> Tensor:
    return centre.abs() > half


def and_clear(wrong: Callable) -> Callable:
    """The mean and the half width, and from these where the interval is clear of 0."""
    def three(one: Tensor, other: Tensor, t: float) -> tuple[Tensor, Tensor, Tensor]:
        centre, half = wrong(one, other, t)
        return centre, half, clear_of_0(centre, half)

    return three


def with_clear(mistake: Mistake) -> Mistake:
    return Mistake(mistake.cause, mistake.message, *map(and_clear, mistake.wrong))


paired_interval = Exercise(
    id="where_it_looks.paired_interval",
    title="The interval of a difference, seed by seed",
    reference=and_clear(lambda one, other, t: interval(one - other, t)),
    cases=(
        values(one=tensor([[3.0], [5.0]]), other=tensor([[1.0], [2.0]]), t=12.7),
        values(one=tensor([[0.5, 0.2], [0.7, 0.1], [0.9, 0.6]]), other=tensor([[0.4, 0.3], [0.5, 0.0], [0.6, 0.2]]),
               t=4.30),
        values(one=randn(5, 4), other=randn(5, 4, seed=1), t=2.78),
        values(one=randn(6, 3, seed=6), other=randn(6, 3, seed=7) + tensor([3.0, 0.0, 1.5]), t=2.57),
        values(one=randn(5, 4, seed=2) + 3, other=randn(5, 4, seed=2) + 0.1 * randn(5, 4, seed=3), t=2.78),
        values(one=randn(8, 3, seed=4).double(), other=randn(8, 3, seed=5).double(), t=2.36),
    ),
    mistakes=(*map(with_clear, (
        Mistake("not-paired", "You used the spread of each network by itself. The same seed gave both networks the "
                "same data order: take the difference for each seed first, then its spread.",
                separate, lambda one, other, t: (one.mean(0) - other.mean(0), interval(one, t)[1]),
                lambda one, other, t: (one.mean(0) - other.mean(0), interval(other, t)[1]),
                lambda one, other, t: (one.mean(0) - other.mean(0), interval(one, t)[1] + interval(other, t)[1]),
                lambda one, other, t: ((one - other).mean(0), (interval(one, t)[1] - interval(other, t)[1]).abs())),
        Mistake("not-centred", "You took the root of the mean square of the differences. Their spread is measured "
                "around their mean: `std`.",
                lambda one, other, t: ((one - other).mean(0), t * ((one - other)**2).mean(0).sqrt() / len(one)**0.5),
                lambda one, other, t: ((one - other).mean(0), t * (one - other).norm(dim=0) / (
                    len(one) * (len(one) - 1))**0.5)),
        Mistake("divided-by-n", "Your standard deviation divides by n. From a sample it divides by n - 1, which "
                "`std` does by itself.",
                lambda one, other, t: interval(one - other, t, correction=0)),
        Mistake("normal-quantile", "You used 1.96, which holds where the spread is known. It was estimated from a few "
                "seeds: use t.",
                lambda one, other, t: interval(one - other, 1.96), lambda one, other, t: interval(one - other, 2.0)),
        Mistake("no-quantile", "That is the standard error. The half width of the interval is t times as large.",
                lambda one, other, t: interval(one - other, 1.0)),
        Mistake("standard-deviation", "You used the spread of single differences. That of their mean, the standard "
                "error, is smaller by √n.",
                lambda one, other, t: interval(one - other, t, n=1), lambda one, other, t: interval(one - other, 1, 1)),
        Mistake("divided-by-n-not-root", "You divided by n. The standard error divides by √n.",
                lambda one, other, t: interval(one - other, t, n=len(one)**2)),
        Mistake("variance", "You used the variance. The standard error is its square root over √n.",
                lambda one, other, t: ((one - other).mean(0), t * (one - other).var(0) / len(one)**0.5),
                lambda one, other, t: ((one - other).mean(0), t * (one - other).var(0) / len(one))),
        Mistake("other-way-round", "The sign is turned round: the difference is one minus other.",
                lambda one, other, t: interval(other - one, t)),
        Mistake("absolute", "You took the size of each difference. Those of both signs have to cancel each other.",
                lambda one, other, t: interval((one - other).abs(), t)),
        Mistake("over-places", "You averaged over the places. The seeds, axis 0, are what was repeated.",
                over_places),
        Mistake("all-places-together", "You put the seeds and the places together. The places of one network are not "
                "independent runs: keep one interval per place.",
                all_together,
                lambda one, other, t: ((one - other).mean(), t * (one - other).std() / len(one)**0.5)),
        Mistake("mean-of-places", "You averaged the places before you compared. Keep one interval per place.",
                mean_of_places),
        Mistake("whole-width", "You returned the whole width of the interval. Return half of it.",
                lambda one, other, t: interval(one - other, 2 * t)),
        Mistake("root-of-places", "You divided by the root of the number of places. n is the number of seeds.",
                lambda one, other, t: interval(one - other, t, n=one.shape[1])),
        Mistake("relative", "You divided the differences by the other network's scores. Return them as they are.",
                lambda one, other, t: interval((one - other) / other, t)),
        Mistake("fixed-quantile", "You wrote 2.776 into your code. It holds for five seeds: use t.",
                lambda one, other, t: interval(one - other, 2.776)),
        Mistake("root-of-n-minus-1", "`std` has divided by n - 1 already. Divide it by √n, or you count that twice.",
                lambda one, other, t: interval(one - other, t, n=len(one) - 1)),
        Mistake("five-fixed", "You divided by √5. The number of seeds is `len(one)`.",
                lambda one, other, t: interval(one - other, t, n=5)),
        Mistake("sorted", "You sorted the scores. Row i of both belongs to one seed: the pairs are lost.",
                lambda one, other, t: interval(one.sort(0).values - other.sort(0).values, t),
                lambda one, other, t: interval(one.sort(0, True).values - other.sort(0).values, t)),
    )),
        Mistake("ends", "You returned the two ends. First the mean, then the half width.",
                between_ends),
        Mistake("swapped-results", "Mean and half width are swapped.",
                lambda one, other, t: (*interval(one - other, t)[::-1], clear_of_0(*interval(one - other, t)))),
        Mistake("clear-above-only", "An interval below 0 is clear of 0, too: on either side.",
                lambda one, other, t: (*interval(one - other, t), torch.gt(*interval(one - other, t)))),
        Mistake("contains-0", "You returned where the interval contains 0. Clear is where it does not.",
                lambda one, other, t: (*interval(one - other, t), ~clear_of_0(*interval(one - other, t)))),
        Mistake("clear-by-standard-error", "For what is clear you compared with the standard error, not with the half "
                "width.",
                lambda one, other, t: (*interval(one - other, t), clear_of_0(*interval(one - other, 1)))),
        Mistake("clear-left-out", "The third result is missing: at which places is the interval clear of 0?",
                lambda one, other, t: interval(one - other, t)),
        Mistake("one-answer-for-all", "You said once for all places whether they are clear. Say it for each.",
                lambda one, other, t: (*interval(one - other, t), clear_of_0(*interval(one - other, t)).all()),
                lambda one, other, t: (*interval(one - other, t), clear_of_0(*interval(one - other, t)).any())),
    ),
    hints=(
        "Which numbers belong together? Subtract first, and see how the differences spread over the seeds.",
        "The differences are (n, P), one row per seed. Their mean over axis 0 is the estimate; its standard error is "
        "their standard deviation over axis 0, divided by the root of n.",
        "With `d = one - other`: the mean is `d.mean(0)`, the half width t times `d.std(0)` over the root of `len(d)`. "
        "An interval is clear of 0 where the size of its mean is larger than its half width.",
    ),
    tested="mean, half width and what is clear on 6 pairs: by hand, differences below 0, several places, "
           "pairs that belong closely together, float64; inputs unchanged",
)
