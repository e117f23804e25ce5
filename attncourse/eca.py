"""ECA: a gate per channel from the means of the k channels around it, with k weights in all.

Source: Wang, Wu, Zhu, Li, Zuo, Hu, "ECA-Net: Efficient Channel Attention for Deep Convolutional Neural Networks",
CVPR 2020, arXiv 1910.03151, equations 9 and 12.

Where we follow whom: k comes from the number of channels as in the paper; the authors' code takes it as an argument and
their networks set it by hand. The sigmoid is in the equations and in the code; the paper's listing (figure 3) omits it.
"""

import math

from torch import Tensor, nn

from attncourse.feature_map import check_feature_map


def eca_kernel_size(channels: int, gamma: float = 2, b: float = 1) -> int:
    """k of equation 12: |log2(C) / γ + b / γ| cut to an integer, plus 1 where that is even.

    Raises:
        ValueError: if channels is below 1.
    """
    if channels < 1:
        raise ValueError(f"channels must be at least 1, got {channels}")
    t = int(abs((math.log2(channels) + b) / gamma))
    return t if t % 2 else t + 1


class ECA(nn.Module):
    """Scale each channel by a gate in (0, 1) that depends on the means of its k neighbours in channel order.

    Args:
        channels: C, the number of channels of the input.
        kernel_size: k, odd; None computes it from C.

    Shapes:
        input (B, C, H, W), output (B, C, H, W); ``attention(x)`` is (B, C, 1, 1).

    Parameters: k.

    Raises:
        ValueError: if channels is below 1, kernel_size is even or below 1, or the input is not (B, C, H, W).
        TypeError: if the input is not floating point.
    """

    def __init__(self, channels: int, kernel_size: int | None = None):
        super().__init__()
        if channels < 1:
            raise ValueError(f"channels must be at least 1, got {channels}")
        k = eca_kernel_size(channels) if kernel_size is None else kernel_size
        if k < 1 or k % 2 == 0:
            raise ValueError(f"kernel_size must be odd and at least 1, got {k}: an even kernel has no middle channel")
        self.channels = channels
        self.conv = nn.Conv1d(1, 1, k, padding=k // 2, bias=False)  # the same k weights at every channel

    def attention(self, x: Tensor) -> Tensor:
        """The gate ω of equation 9, (B, C, 1, 1), each value in (0, 1)."""
        check_feature_map(x, self.channels)
        z = x.mean((2, 3))  # (B, C, H, W) -> (B, C)
        logits = self.conv(z[:, None])[:, 0]  # the channels are the sequence: (B, 1, C) -> (B, C)
        return logits.sigmoid()[:, :, None, None]  # (B, C) -> (B, C, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.attention(x)
