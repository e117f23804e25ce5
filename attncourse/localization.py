"""Does a map look at the object? Scores of a map against a mask that is known."""

from torch import Tensor
from torch.nn import functional as F


def energy_inside(maps: Tensor, masks: Tensor) -> Tensor:
    """The share of each map's energy that lies inside its mask.

    A flat map scores the mask's share of the area, so compare with that. Maps are stretched over the whole picture, as
    it is commonly done; where convolutions without padding have cut its border off, a coarse map comes to lie a few
    pixels beside its place, and even an ideal one scores well below 1.

    Args:
        maps: (B, h, w), not negative, not all zero; enlarged to the masks' size bilinearly.
        masks: (B, H, W), True on the object.

    Returns:
        (B,), each from 0 to 1.

    Raises:
        ValueError: if a map is not finite, has a negative value or no energy, or there are not as many maps as masks.
    """
    if maps.ndim != 3 or masks.ndim != 3 or len(maps) != len(masks):
        raise ValueError(f"expected maps (B, h, w) and masks (B, H, W), got {tuple(maps.shape)}, {tuple(masks.shape)}")
    if not maps.isfinite().all() or maps.min() < 0 or (maps.sum((1, 2)) == 0).any():
        raise ValueError("a map must be finite, with no negative value and at least one positive one")
    maps = F.interpolate(maps[:, None], masks.shape[1:], mode="bilinear")[:, 0]  # (B, h, w) -> (B, H, W)
    return (maps * masks).sum((1, 2)) / maps.sum((1, 2))
