"""The checks that every block makes of its input, so that a wrong shape is named where it happens."""

from torch import Tensor, nn


def check_feature_map(x: Tensor, channels: int | None = None) -> None:
    """Raise unless x is a floating-point (B, C, H, W) tensor with B, H, W ≥ 1 and, if given, C == channels."""
    if x.ndim != 4:
        raise ValueError(f"expected a feature map (B, C, H, W), got {x.ndim} dimensions: {tuple(x.shape)}")
    if channels is not None and x.shape[1] != channels:
        raise ValueError(f"this block was built for {channels} channels, got {x.shape[1]}: {tuple(x.shape)}")
    if 0 in x.shape:
        raise ValueError(f"expected at least one image and one position, got an empty tensor: {tuple(x.shape)}")
    if not x.is_floating_point():
        raise TypeError(f"expected floating-point values, got {x.dtype}: convert with x.float() or x / 255")


def check_batch_norm(norm: nn.Module, values: int) -> None:
    """Raise if a BatchNorm in training mode would have to normalise over a single value per channel."""
    if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d) and norm.training and values < 2:
        raise ValueError("BatchNorm in training mode cannot normalise over one value per channel: "
                         "use a batch of at least 2 images, or call .eval() on this block")
