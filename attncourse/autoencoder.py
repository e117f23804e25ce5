"""The autoencoder-inspired gate: squeeze the map to a small code, and unfold the code to a gate of the map's size.

Source: Madmoni and Ben-Or, "Attention Mechanisms for Image Classification", course report, 2023; layer sizes as in
their published code.

Deviation: in that code the last transposed convolution is fitted by hand to each map size. Where its kernel is smaller
than its stride it leaves most positions with nothing but the bias: 46 % of a 15 × 15 map, 71 % of a 13 × 13 map. Here
all transposed convolutions are 4 × 4 with stride 2, which reach every position. A map whose sides cannot be halved
evenly is padded with zeros at the bottom and the right, and its gate is cropped.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from attncourse.feature_map import check_feature_map


class ConvAutoencoderAttention(nn.Module):
    """Scale every value of a feature map by a gate in (0, 1) from a convolutional encoder and decoder.

    Args:
        channels: C, the number of channels of the input.
        widths: channels after each step of the encoder; each step halves H and W. The last one is the code's.
        activation: makes the nonlinearity after each layer but the last.

    Shapes:
        input (B, C, H, W) with any H, W ≥ 1, output (B, C, H, W); ``attention(x)`` is (B, C, H, W).

    Parameters: 385·C + 46,200 with the default widths.

    ``torch.export`` takes any batch size, but one height and width, or multiples of 8 from 16 on
    (``8 * Dim("h", min=2)``): otherwise how much is padded depends on them.

    Raises:
        ValueError: if channels or a width is below 1, widths is empty, or the input is not (B, C, H, W).
        TypeError: if the input is not floating point.
    """

    def __init__(self, channels: int, widths: Sequence[int] = (12, 24, 48),
                 activation: Callable[[], nn.Module] = nn.ReLU):
        super().__init__()
        if channels < 1:
            raise ValueError(f"channels must be at least 1, got {channels}")
        if not widths or min(widths) < 1:
            raise ValueError(f"widths needs at least one entry, each at least 1, got {widths}")
        self.channels = channels
        self.multiple = 2 ** len(widths)  # sides that can be halved so often without a remainder
        sizes = [channels, *widths]
        encoder, decoder = [], []
        for wide, narrow in pairwise(sizes):
            encoder += [nn.Conv2d(wide, narrow, 4, stride=2, padding=1), activation()]
        for narrow, wide in pairwise(sizes[::-1]):
            decoder += [nn.ConvTranspose2d(narrow, wide, 4, stride=2, padding=1), activation()]
        self.encoder = nn.Sequential(*encoder)
        self.decoder = nn.Sequential(*decoder[:-1])  # the sigmoid takes the place of the last activation

    def attention(self, x: Tensor) -> Tensor:
        """The gate, (B, C, H, W), each value in (0, 1)."""
        check_feature_map(x, self.channels)
        B, C, H, W = x.shape
        padded = F.pad(x, (0, -W % self.multiple, 0, -H % self.multiple))  # up to the next multiple
        code = self.encoder(padded)  # (B, 48, ⌈H / 8⌉, ⌈W / 8⌉)
        return self.decoder(code)[:, :, :H, :W].sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.attention(x)


class LinearAutoencoderAttention(nn.Module):
    """Scale every value by a gate in (0, 1) from fully connected layers over the last axis: each row for itself.

    Args:
        width: W, the only width of map that the block takes.
        widths: sizes after each layer of the encoder. The last one is the code's.

    Shapes:
        input (B, C, H, W) with any C and H, output (B, C, H, W); ``attention(x)`` is (B, C, H, W).

    Parameters: 257·W + 18,316 with the default widths. All rows of all channels share them.

    Raises:
        ValueError: if a width is below 1, widths is empty, or the input is not (B, C, H, width).
        TypeError: if the input is not floating point.
    """

    def __init__(self, width: int, widths: Sequence[int] = (128, 64, 12)):
        super().__init__()
        if width < 1:
            raise ValueError(f"width must be at least 1, got {width}")
        if not widths or min(widths) < 1:
            raise ValueError(f"widths needs at least one entry, each at least 1, got {widths}")
        self.width = width
        sizes = [width, *widths]
        encoder, decoder = [], []
        for large, small in pairwise(sizes):
            encoder += [nn.Linear(large, small), nn.ReLU()]
        for small, large in pairwise(sizes[::-1]):
            decoder += [nn.Linear(small, large), nn.ReLU()]
        self.encoder = nn.Sequential(*encoder[:-1])  # the code itself has no ReLU
        self.decoder = nn.Sequential(*decoder[:-1])

    def attention(self, x: Tensor) -> Tensor:
        """The gate, (B, C, H, W), each value in (0, 1)."""
        check_feature_map(x)
        if x.shape[-1] != self.width:
            raise ValueError(f"this block was built for maps {self.width} wide, got {x.shape[-1]}: {tuple(x.shape)}")
        return self.decoder(self.encoder(x)).sigmoid()  # along W: W -> 12 -> W

    def forward(self, x: Tensor) -> Tensor:
        return x * self.attention(x)
