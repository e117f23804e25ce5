"""Squeeze-and-Excitation: one gate per channel, computed from what every channel holds on average.

Source: Hu, Shen, Sun, "Squeeze-and-Excitation Networks", CVPR 2018; extended version with Albanie and Wu, arXiv
1709.01507, whose equation numbers are used below.

Where we follow whom: equations 2 to 4 have no biases; the authors' released Caffe models, torchvision and timm have
them in both layers. ``bias=True`` is therefore our default, and ``bias=False`` gives the equations to the letter. The
hidden width is C // r as in the paper, but never below 1: a narrow layer still gets a gate that depends on the input.
"""

from torch import Tensor, nn

from attncourse.feature_map import check_feature_map


class SEBlock(nn.Module):
    """Scale each channel of a feature map by a gate in (0, 1) that depends on all the channels' means.

    Args:
        channels: C, the number of channels of the input.
        reduction: r, how many times narrower the hidden layer is. Its width is max(1, C // r).
        bias: whether both fully connected layers have a bias (the authors' models do, the paper's equations do not).

    Shapes:
        input (B, C, H, W), output (B, C, H, W); ``attention(x)`` is (B, C, 1, 1).

    Parameters: 2·C·c' with c' = max(1, C // r), plus C + c' with biases.

    Raises:
        ValueError: if channels or reduction is below 1, or if the input is not (B, C, H, W) with B, H, W ≥ 1.
        TypeError: if the input is not floating point.
    """

    def __init__(self, channels: int, reduction: int = 16, bias: bool = True):
        super().__init__()
        if channels < 1:
            raise ValueError(f"channels must be at least 1, got {channels}")
        if reduction < 1:
            raise ValueError(f"reduction must be at least 1, got {reduction}")
        self.channels = channels
        hidden = max(1, channels // reduction)
        self.fc1 = nn.Linear(channels, hidden, bias=bias)  # W1 of equation 3
        self.fc2 = nn.Linear(hidden, channels, bias=bias)  # W2 of equation 3

    def attention(self, x: Tensor) -> Tensor:
        """The gate s of equation 3, (B, C, 1, 1), each value in (0, 1)."""
        check_feature_map(x, self.channels)
        z = x.mean((2, 3))  # squeeze, equation 2: (B, C, H, W) -> (B, C)
        s = self.fc2(self.fc1(z).relu()).sigmoid()  # excite, equation 3: (B, C) -> (B, c') -> (B, C)
        return s[:, :, None, None]  # (B, C) -> (B, C, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.attention(x)  # scale, equation 4: (B, C, 1, 1) broadcasts over H and W
