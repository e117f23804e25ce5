"""Controls: networks that have what an attention module adds, but not its attention.

If one of them gains as much as the module, it was not attention that helped.
"""

import torch
from torch import Tensor, nn

from attncourse.backbone import ReportCNN


class ChannelScale(nn.Module):
    """A learned gate per channel in (0, 1) that does not look at the input. It starts at 0.5.

    Parameters: C.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.logit = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.logit.sigmoid()


class OwnMeanGate(nn.Module):
    """Each channel's gate sees that channel's mean alone, σ(w·z + b): SE without its FC layers' mixing.

    Parameters: 2·C.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        s = (self.weight * x.mean((2, 3)) + self.bias).sigmoid()  # (B, C)
        return x * s[:, :, None, None]


class ShuffledGate(nn.Module):
    """Each image gets the gate that a block computes for the image before it in the batch.

    The gates are as varied as the block's own, but say nothing of the image they scale. The images of a batch must come
    in random order, in the test too: beside images of its own class, a wrong gate is half right.

    Args:
        block: any attention block.

    Parameters: those of the block.
    """

    def __init__(self, block: nn.Module):
        super().__init__()
        self.block = block

    def attention(self, x: Tensor) -> Tensor:
        return self.block.attention(x).roll(1, 0)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.attention(x)


def widened(parameters: int) -> ReportCNN:
    """The plain network with widths (w, 2w), of 64 ≤ w ≤ 128 the one that comes nearest to this many parameters."""
    def distance(width: int) -> int:
        return abs(sum(p.numel() for p in ReportCNN(widths=(width, 2 * width)).parameters()) - parameters)

    with torch.device("meta"):  # shapes without numbers
        width = min(range(64, 129), key=distance)
    return ReportCNN(widths=(width, 2 * width))
