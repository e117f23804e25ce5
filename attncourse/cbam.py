"""CBAM: channel attention, then spatial attention on its result.

Source: Woo, Park, Lee, Kweon, "CBAM: Convolutional Block Attention Module", ECCV 2018, arXiv 1807.06521, equation 1;
the arrangements are those of its ablation. For the parallel one the paper gives no equation: here both gates see the
same input and their product scales it. Deviations within the two parts: see ``cam_sam.py``.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from attncourse.cam_sam import ChannelAttention, SpatialAttention

ARRANGEMENTS = ("channel-first", "spatial-first", "parallel")


class CBAM(nn.Module):
    """Scale a feature map by a gate per channel and by a gate per position.

    Args:
        channels: C, the number of channels of the input.
        reduction: r, of the channel attention.
        kernel_size: k, odd, of the spatial attention.
        norm: whether BatchNorm follows the spatial convolution.
        pools: what both parts pool with: ("avg", "max"), or one of the two alone.
        arrangement: "channel-first" (the paper's choice), "spatial-first" or "parallel".

    Shapes:
        input (B, C, H, W), output (B, C, H, W); ``attention(x)`` is (B, C, H, W), the product of both gates.

    Parameters: 2·C·c' + C + c' + 2·k² + 2 with c' = max(1, C // r), both pools and BatchNorm.

    Raises:
        ValueError: as ChannelAttention and SpatialAttention, and if the arrangement is unknown.
        TypeError: if the input is not floating point.
    """

    def __init__(self, channels: int, reduction: int = 16, kernel_size: int = 7, norm: bool = True,
                 pools: Sequence[str] = ("avg", "max"), arrangement: str = "channel-first"):
        super().__init__()
        if arrangement not in ARRANGEMENTS:
            raise ValueError(f"arrangement must be one of {', '.join(ARRANGEMENTS)}, got {arrangement!r}")
        self.arrangement = arrangement
        self.channel = ChannelAttention(channels, reduction, pools=pools)
        self.spatial = SpatialAttention(kernel_size, norm, pools)

    def attention(self, x: Tensor) -> Tensor:
        """Both gates multiplied, (B, C, H, W), each value in (0, 1)."""
        if self.arrangement == "parallel":
            return self.channel.attention(x) * self.spatial.attention(x)  # (B, C, 1, 1) * (B, 1, H, W)
        first, second = self.in_order()
        gate = first.attention(x)
        return gate * second.attention(x * gate)  # the second part sees what the first let through

    def forward(self, x: Tensor) -> Tensor:
        if self.arrangement == "parallel":
            return x * self.attention(x)
        first, second = self.in_order()
        return second(first(x))

    def in_order(self) -> tuple[nn.Module, nn.Module]:
        return (self.channel, self.spatial) if self.arrangement == "channel-first" else (self.spatial, self.channel)
