"""BAM: a channel branch and a dilated spatial branch side by side, joined into one gate per value of the map.

Source: Park, Woo, Lee, Kweon, "BAM: Bottleneck Attention Module", BMVC 2018, arXiv 1807.06514, equations 1 to 4.

Where we follow whom: the paper adds the branches, σ(Mc + Ms), the authors' code multiplies them, σ(Mc · Ms);
``combine`` switches that operator. As in the paper there is a BatchNorm at the end of each branch; the authors' code
has one after each hidden layer instead. A ReLU follows each hidden layer. The hidden width is never below 1.
"""

from torch import Tensor, nn

from attncourse.feature_map import check_batch_norm, check_feature_map


class BAM(nn.Module):
    """Scale every value of a feature map by 1 + M, where M in (0, 1) joins what is found and where.

    Args:
        channels: C, the number of channels of the input.
        reduction: r, how many times narrower the hidden layers of both branches are: max(1, C // r) channels.
        dilation: d, the distance between the taps of the two 3×3 convolutions of the spatial branch.
        combine: "sum" (the paper) or "product" (the authors' code) of the two branches, before the sigmoid.

    Shapes:
        input (B, C, H, W), output (B, C, H, W); ``attention(x)`` is 1 + M, (B, C, H, W).

    Parameters, with c' = max(1, C // r): channel branch 2·C·c' + c' + 3·C, spatial branch C·c' + 18·c'² + 4·c' + 3.

    Raises:
        ValueError: if channels, reduction or dilation is below 1, combine is unknown, the input is not (B, C, H, W), or
            there is one image only in training mode.
        TypeError: if the input is not floating point.
    """

    def __init__(self, channels: int, reduction: int = 16, dilation: int = 4, combine: str = "sum"):
        super().__init__()
        for name, value in (("channels", channels), ("reduction", reduction), ("dilation", dilation)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if combine not in ("sum", "product"):
            raise ValueError(f'combine must be "sum" or "product", got {combine!r}')
        self.channels = channels
        self.combine = combine
        hidden = max(1, channels // reduction)
        self.mlp = nn.Sequential(  # W0, b0, W1, b1 of equation 3
            nn.Linear(channels, hidden), nn.ReLU(),
            nn.Linear(hidden, channels))
        self.channel_norm = nn.BatchNorm1d(channels)
        self.convs = nn.Sequential(  # f0 to f3 of equation 4; padding = dilation keeps H and W
            nn.Conv2d(channels, hidden, 1), nn.ReLU(),
            nn.Conv2d(hidden, hidden, 3, padding=dilation, dilation=dilation), nn.ReLU(),
            nn.Conv2d(hidden, hidden, 3, padding=dilation, dilation=dilation), nn.ReLU(),
            nn.Conv2d(hidden, 1, 1))
        self.spatial_norm = nn.BatchNorm2d(1)

    def channel(self, x: Tensor) -> Tensor:
        """Mc of equation 3: what. (B, C, H, W) -> (B, C, 1, 1), any real number."""
        check_batch_norm(self.channel_norm, x.shape[0])
        return self.channel_norm(self.mlp(x.mean((2, 3))))[:, :, None, None]

    def spatial(self, x: Tensor) -> Tensor:
        """Ms of equation 4: where. (B, C, H, W) -> (B, 1, H, W), any real number."""
        return self.spatial_norm(self.convs(x))

    def attention(self, x: Tensor) -> Tensor:
        """1 + M of equations 1 and 2, (B, C, H, W), each value in (1, 2)."""
        check_feature_map(x, self.channels)
        what, where = self.channel(x), self.spatial(x)
        logits = what + where if self.combine == "sum" else what * where  # broadcast to (B, C, H, W)
        return 1 + logits.sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.attention(x)
