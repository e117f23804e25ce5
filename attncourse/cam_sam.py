"""CBAM's two halves: a gate per channel (CAM) and a gate per position (SAM), each from an average and a maximum.

Source: Woo, Park, Lee, Kweon, "CBAM: Convolutional Block Attention Module", ECCV 2018, arXiv 1807.06521, equations 2
(channel) and 3 (spatial).

Where we follow whom: the MLP has biases and the spatial convolution is followed by BatchNorm, as in the authors' code;
the equations have neither. The stack is [avg, max] as in the paper; the authors' code stacks [max, avg]. The authors
start the BatchNorm's weight at 0, which makes the gate 0.5 everywhere; ours starts at 1, and its momentum is PyTorch's.
The hidden width is never below 1; in the authors' code it is 0 for C < r, and the gate a constant.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from attncourse.feature_map import check_batch_norm, check_feature_map

POOLS = {"avg": torch.mean, "max": torch.amax}  # both are called as pool(x, dimensions, keepdim=...)


def choose_pools(names: Sequence[str]) -> list:
    """The pooling functions of the given names.

    Raises:
        ValueError: if there is no name, one that is neither "avg" nor "max", or one twice.
    """
    if not isinstance(names, tuple | list) or sorted(names) not in (["avg"], ["max"], ["avg", "max"]):
        raise ValueError(f'pools must be a tuple of "avg" and "max", got {names!r}')
    return [POOLS[name] for name in names]


class ChannelAttention(nn.Module):
    """CAM: scale each channel by a gate in (0, 1) computed from the channels' means and maxima by one shared MLP.

    Args:
        channels: C, the number of channels of the input.
        reduction: r, how many times narrower the hidden layer is. Its width is max(1, C // r).
        bias: whether both layers of the MLP have a bias (the authors' code does, the paper's equation does not).
        pools: what is squeezed: ("avg", "max"), or one of the two alone.

    Shapes:
        input (B, C, H, W), output (B, C, H, W); ``attention(x)`` is (B, C, 1, 1).

    Parameters: 2·C·c' with c' = max(1, C // r), plus C + c' with biases. As SE: the MLP is shared by both pools.

    Raises:
        ValueError: if channels or reduction is below 1, pools are unknown, or the input is not (B, C, H, W).
        TypeError: if the input is not floating point.
    """

    def __init__(self, channels: int, reduction: int = 16, bias: bool = True, pools: Sequence[str] = ("avg", "max")):
        super().__init__()
        if channels < 1:
            raise ValueError(f"channels must be at least 1, got {channels}")
        if reduction < 1:
            raise ValueError(f"reduction must be at least 1, got {reduction}")
        self.channels = channels
        self.pools = choose_pools(pools)
        hidden = max(1, channels // reduction)
        self.fc1 = nn.Linear(channels, hidden, bias=bias)  # W0 of equation 2
        self.fc2 = nn.Linear(hidden, channels, bias=bias)  # W1 of equation 2

    def attention(self, x: Tensor) -> Tensor:
        """The gate Mc of equation 2, (B, C, 1, 1), each value in (0, 1)."""
        check_feature_map(x, self.channels)
        squeezed = [pool(x, (2, 3)) for pool in self.pools]  # each (B, C, H, W) -> (B, C)
        logits = sum(self.fc2(self.fc1(z).relu()) for z in squeezed)  # one MLP for both: (B, C)
        return logits.sigmoid()[:, :, None, None]  # (B, C) -> (B, C, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.attention(x)


class SpatialAttention(nn.Module):
    """SAM: scale each position by a gate in (0, 1) computed from the mean and maximum over channels around it.

    Args:
        kernel_size: k, odd; the gate at a position sees the k × k positions around it.
        norm: whether BatchNorm follows the convolution (the authors' code) or not (the paper's equation).
        pools: which maps are stacked, in this order.

    Shapes:
        input (B, C, H, W) with any C, output (B, C, H, W); ``attention(x)`` is (B, 1, H, W).

    Parameters: k² per pool, so 2·k², plus 2 with BatchNorm. The convolution has no bias.

    Raises:
        ValueError: if kernel_size is even or below 1, pools are unknown, the input is not (B, C, H, W), or BatchNorm
            in training mode gets a single position of a single image.
        TypeError: if the input is not floating point.
    """

    def __init__(self, kernel_size: int = 7, norm: bool = True, pools: Sequence[str] = ("avg", "max")):
        super().__init__()
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd and at least 1, got {kernel_size}: "
                             "an even kernel has no middle, and the map would change its size")
        self.pools = choose_pools(pools)
        self.conv = nn.Conv2d(len(self.pools), 1, kernel_size, padding=kernel_size // 2, bias=False)
        self.norm = nn.BatchNorm2d(1) if norm else nn.Identity()

    def attention(self, x: Tensor) -> Tensor:
        """The gate Ms of equation 3, (B, 1, H, W), each value in (0, 1)."""
        check_feature_map(x)
        stack = torch.cat([pool(x, 1, keepdim=True) for pool in self.pools], 1)  # (B, C, H, W) -> (B, 2, H, W)
        logits = self.conv(stack)  # (B, 2, H, W) -> (B, 1, H, W)
        check_batch_norm(self.norm, logits.numel())
        return self.norm(logits).sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.attention(x)
