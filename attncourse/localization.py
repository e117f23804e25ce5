"""Does a map look at the object? Scores of a map against a mask that is known, and curves for where none is known.

With masks: the pointing game, the share of the energy inside the mask, and the overlap (IoU) at a threshold. Each score
is between 0 and 1 per map. Compare it with that of a flat map: the mask's share of the area in all of them.

Without masks: how the probability of a class falls when the pixels under the highest values of the map are deleted, and
how it rises when they are inserted.

All scores take maps of any size, and a ``margin``: the pixels on each side of the picture that the map does not cover,
because convolutions without padding have cut them off (in the two-stage ReportCNN 0, 1, 1 and 3 at its four places).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def over_picture(maps: Tensor, size: tuple[int, int], margin: int = 0) -> Tensor:
    """Lay maps (B, h, w) over a picture of this size, (B, H, W): bilinearly, the margin filled with the nearest value.

    Raises:
        ValueError: if the maps are not (B, h, w), or the margin leaves nothing of the picture.
    """
    H, W = size
    if maps.ndim != 3:
        raise ValueError(f"expected maps (B, h, w), got {tuple(maps.shape)}")
    if not 0 <= 2 * margin < min(H, W):
        raise ValueError(f"a margin of {margin} pixels on each side does not fit into {H} × {W}")
    covered = F.interpolate(maps[:, None].double(), (H - 2 * margin, W - 2 * margin), mode="bilinear")
    return F.pad(covered.float(), [margin] * 4, mode="replicate")[:, 0]  # rounded: what is flat stays exactly flat


def energy_inside(maps: Tensor, masks: Tensor, margin: int = 0) -> Tensor:
    """The share of each map's energy (the sum of its values) that lies inside its mask.

    Source: the "energy-based pointing game" of Wang et al., "Score-CAM", CVPR Workshops 2020, arXiv 1910.01279.

    Args:
        maps: (B, h, w), not negative, not all zero.
        masks: (B, H, W), True on the object.
        margin: pixels on each side of the picture that the map does not cover.

    Returns:
        (B,), each from 0 to 1.

    Raises:
        ValueError: if a map is not finite, has a negative value or no energy, or there are not as many maps as masks.
    """
    maps = with_energy(laid_over(maps, masks, margin))
    return (maps * masks).sum((1, 2)) / maps.sum((1, 2))


def pointing_game(maps: Tensor, masks: Tensor, margin: int = 0) -> Tensor:
    """Whether each map's highest value lies inside its mask: 1 or 0, (B,).

    Where several pixels share the highest value it is the share of them that lies inside; a flat map scores the mask's
    share of the area. Without the 15 pixels around the object that the code of TorchRay counts as a hit, too.

    Source: Zhang et al., "Top-down Neural Attention by Excitation Backprop", ECCV 2016, arXiv 1608.00507, section 4.1.

    Arguments and errors are those of :func:`energy_inside`; the values may be negative.
    """
    maps = laid_over(maps, masks, margin)
    highest = maps == maps.amax((1, 2), keepdim=True)
    return (highest & masks).sum((1, 2)) / highest.sum((1, 2))


def iou(maps: Tensor, masks: Tensor, threshold: float = 0.5, margin: int = 0) -> Tensor:
    """Overlap of each mask with the pixels whose value reaches threshold × the map's maximum: (B,).

    Intersection over union, the Jaccard index. Zhou et al. ("Learning Deep Features for Discriminative Localization",
    CVPR 2016, section 3.2) cut at 0.2 of the maximum. Which threshold suits differs between methods: see
    :func:`best_iou`.

    Arguments and errors are those of :func:`energy_inside`.
    """
    maps = with_energy(laid_over(maps, masks, margin))
    region = maps >= threshold * maps.amax((1, 2), keepdim=True)
    return (region & masks).sum((1, 2)) / (region | masks).sum((1, 2))


def best_iou(maps: Tensor, masks: Tensor, margin: int = 0) -> Tensor:
    """The highest overlap that any threshold gives, chosen for each map by itself: (B,).

    It uses the mask to choose, so it is an upper bound: the order of the pixels counts, not the scale of the values.
    Choe et al. ("Evaluating Weakly Supervised Object Localization Methods Right", CVPR 2020, arXiv 2001.07437) show why
    a threshold that is fixed in advance makes a comparison of methods unfair; they choose one threshold per data set.

    Arguments and errors are those of :func:`energy_inside`; the values may be negative.
    """
    values, order = laid_over(maps, masks, margin).flatten(1).sort(descending=True)
    masks = masks.flatten(1)
    intersection = masks.gather(1, order).cumsum(1)  # (B, H·W): of the 1, 2, 3, … highest pixels
    region = torch.arange(1, order.shape[1] + 1, device=maps.device)
    overlap = intersection / (region + masks.sum(1, keepdim=True) - intersection)
    can_end_here = F.pad(values[:, 1:] < values[:, :-1], (0, 1), value=True)  # equal values are not taken apart
    return overlap.where(can_end_here, 0).amax(1)


def laid_over(maps: Tensor, masks: Tensor, margin: int) -> Tensor:
    """The maps over pictures of the masks' size, both checked."""
    if maps.ndim != 3 or masks.ndim != 3 or len(maps) != len(masks):
        raise ValueError(f"expected maps (B, h, w) and masks (B, H, W), got {tuple(maps.shape)}, {tuple(masks.shape)}")
    if masks.dtype != torch.bool or not masks.flatten(1).any(1).all():
        raise ValueError("masks must be boolean, each True somewhere")
    if not maps.isfinite().all():
        raise ValueError("a map must be finite")
    return over_picture(maps, masks.shape[1:], margin)


def with_energy(maps: Tensor) -> Tensor:
    """The maps, checked: no value is negative, and none of them is zero all over."""
    if maps.min() < 0 or (maps.sum((1, 2)) == 0).any():
        raise ValueError("the energy of a map needs values that are not negative, at least one of them positive")
    return maps


def deletion_curve(model: nn.Module, images: Tensor, maps: Tensor, target: Tensor, steps: int = 16,
                   baseline: Tensor | float = 0.0) -> Tensor:
    """How the probability of the class falls as the pixels under the map's highest values are replaced, bit by bit.

    The lower the curve, the better the map knows what the network needs. Its mean (the area under it) is the score.

    Source: Petsiuk et al., "RISE: Randomized Input Sampling for Explanation of Black-box Models", BMVC 2018,
    arXiv 1806.07421. A picture full of holes is unlike any that the network was trained on, so part of the fall is due
    to the holes themselves: compare with the curve of a random map.

    Args:
        model: takes images, gives logits (B, classes); in eval mode.
        images: (B, 3, H, W), normalised.
        maps: (B, H, W).
        target: (B,), the class of each image.
        steps: how many times 1 / steps of the pixels are replaced.
        baseline: what comes in their place, broadcastable to the images; 0 is the mean colour of normalised images.

    Returns:
        (B, steps + 1): the probability of the class with 0, 1 / steps, …, all of the pixels replaced.

    Raises:
        ValueError: if the maps do not have the size of the images, or steps is below 1.
    """
    return replacement_curve(model, images, torch.as_tensor(baseline).to(images), maps, target, steps)


def insertion_curve(model: nn.Module, images: Tensor, maps: Tensor, target: Tensor, steps: int = 16,
                    baseline: Tensor | float = 0.0) -> Tensor:
    """How the probability of the class rises as the pixels under the map's highest values appear on the baseline.

    The higher the curve, the better. Source, arguments, result and errors are those of :func:`deletion_curve`.
    """
    return replacement_curve(model, torch.as_tensor(baseline).to(images), images, maps, target, steps)


@torch.inference_mode()
def replacement_curve(model, start, end, maps, target, steps) -> Tensor:
    """The probability of the target on the way from start to end, the pixels with the highest values first."""
    start, end = torch.broadcast_tensors(start, end)
    B, _, H, W = start.shape
    if maps.shape != (B, H, W):
        raise ValueError(f"maps must be as large as the images, got {tuple(maps.shape)}, {tuple(start.shape)}")
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    rank = maps.flatten(1).argsort(1, descending=True).argsort(1).view(B, 1, H, W)  # 0 for the highest value
    curve = []
    for step in range(steps + 1):
        mixed = torch.where(rank < step * H * W / steps, end, start)
        curve.append(model(mixed).softmax(1).gather(1, target[:, None]))
    return torch.cat(curve, 1)
