"""SCA-CNN: attention over positions and over channels that changes with every word of a caption.

Source: Chen, Zhang, Xiao, Nie, Shao, Liu, Chua, "SCA-CNN: Spatial and Channel-wise Attention in Convolutional Networks
for Image Captioning", CVPR 2017, arXiv 1611.05594.

V is a feature map of C channels and m = H·W positions; h is the state of the LSTM that writes the caption, before its
next word. Both attentions are softmaxes: positions (or channels) compete, and the weights of one word add up to 1. So
they shrink the map, by m (by C) on average. The authors' code multiplies them by m and C, which makes their mean 1; the
paper's equations do not. ``rescale`` chooses.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from attncourse.feature_map import check_feature_map

ORDERS = {"channel-spatial": ("channel", "spatial"), "spatial-channel": ("spatial", "channel"),
          "channel": ("channel",), "spatial": ("spatial",), "none": ()}


class StateSpatialAttention(nn.Module):
    """Φs: which positions matter for the next word.

    Args:
        channels: C of the map.
        state: d, the size of the LSTM's state.
        width: k, of the hidden layer in which map and state meet.
        rescale: multiply the softmax by m = H·W.

    Shapes:
        x (B, C, H, W), h (B, d), output (B, C, H, W); ``attention(x, h)`` is (B, 1, H, W).

    Parameters: k·(C + d + 2) + 1.
    """

    def __init__(self, channels: int, state: int, width: int, rescale: bool = True):
        super().__init__()
        self.rescale = rescale
        self.of_map = nn.Linear(channels, width)  # W_s, b_s
        self.of_state = nn.Linear(state, width, bias=False)  # W_hs
        self.score = nn.Linear(width, 1)  # w_i, b_i

    def attention(self, x: Tensor, h: Tensor) -> Tensor:
        """α, (B, 1, H, W)."""
        B, C, H, W = x.shape
        V = x.flatten(2).mT  # (B, C, H, W) -> (B, m, C)
        a = (self.of_map(V) + self.of_state(h)[:, None]).tanh()  # (B, m, k)
        alpha = self.score(a).softmax(1)  # (B, m, 1)
        return (alpha * (H * W if self.rescale else 1)).view(B, 1, H, W)

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return x * self.attention(x, h)


class StateChannelAttention(nn.Module):
    """Φc: which channels matter for the next word.

    All channels share the hidden layer's weights, so a channel's score depends on its mean alone: for one state it is a
    curve, the same for all channels. The network computes that curve at a few points, and reads the channels off it.

    Args:
        state: d, the size of the LSTM's state.
        width: k, of the hidden layer in which a channel's mean and the state meet.
        rescale: multiply the softmax by C.

    Shapes:
        x (B, C, H, W), h (B, d), output (B, C, H, W); ``attention(x, h)`` is (B, C, 1, 1).

    Parameters: k·(d + 3) + 1.
    """

    def __init__(self, state: int, width: int, rescale: bool = True):
        super().__init__()
        self.rescale = rescale
        self.of_mean = nn.Linear(1, width)  # W_c, b_0
        self.of_state = nn.Linear(state, width, bias=False)  # W_hc
        self.score = nn.Linear(width, 1)  # w_i', b_i'

    def curve(self, v: Tensor, h: Tensor) -> Tensor:
        """The scores, before the softmax, of channels whose means are v (B, n) in state h (B, d): (B, n)."""
        b = (self.of_mean(v[..., None]) + self.of_state(h)[:, None]).tanh()  # (B, n, k)
        return self.score(b)[..., 0]

    def attention(self, x: Tensor, h: Tensor) -> Tensor:
        """β, (B, C, 1, 1)."""
        v = x.mean((2, 3))  # (B, C)
        beta = read_off(lambda points: self.curve(points, h), v).softmax(1)
        return (beta * (x.shape[1] if self.rescale else 1))[..., None, None]

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return x * self.attention(x, h)


def read_off(curve: Callable[[Tensor], Tensor], v: Tensor, n: int = 32) -> Tensor:
    """A smooth curve at v, (B, C), computed at n points only: the polynomial through the Chebyshev points of v's range.

    For tanh(w·v + b) the error is at most about 1e-6 where |w| times half the range of v is 3, 1e-4 where it is 5, and
    1e-2 at 10: means have to be of ordinary size, as behind a BatchNorm. Up to n channels are computed directly.

    Args:
        curve: (B, n) to (B, n).
    """
    if v.shape[1] <= n:
        return curve(v)
    dtype = v.dtype
    v = v.to(torch.promote_types(dtype, torch.float32))  # half precision would be too coarse for the cosines
    low, high = v.amin(1, keepdim=True), v.amax(1, keepdim=True)
    middle, half = (low + high) / 2, (high - low) * 0.501 + 1e-6  # a little wider: at its ends arccos has no slope
    j = torch.arange(n, device=v.device, dtype=v.dtype)
    angles = math.pi * (j + 0.5) / n
    values = curve((middle + half * angles.cos()).to(dtype)).to(v.dtype)  # (B, n)
    coefficients = values @ (angles[:, None] * j).cos() * (2 - (j == 0).to(v.dtype)) / n  # of cos(j arccos t)
    t = ((v - middle) / half).clamp(-0.999, 0.999)  # rounding may leave a very narrow range
    waves = (t.acos()[..., None] * j).cos()  # (B, C, n)
    return (waves @ coefficients[..., None])[..., 0].to(dtype)


class SCA(nn.Module):
    """Both attentions on one map, one after the other.

    Args:
        channels: C of the map.
        state: d, the size of the LSTM's state.
        width: k, of both hidden layers.
        order: "channel-spatial" (C-S), "spatial-channel" (S-C), "channel", "spatial" or "none".
        rescale: so that the mean of each attention is 1.

    Shapes:
        x (B, C, H, W), h (B, d), output (B, C, H, W).

    Raises:
        ValueError: if a size is below 1, the order is unknown, or the input does not fit.
        TypeError: if the map is not floating point.
    """

    def __init__(self, channels: int, state: int, width: int = 512, order: str = "channel-spatial",
                 rescale: bool = True):
        super().__init__()
        if min(channels, state, width) < 1:
            raise ValueError(f"channels, state and width must be at least 1, got {channels}, {state}, {width}")
        if order not in ORDERS:
            raise ValueError(f"order must be one of {', '.join(ORDERS)}, got {order!r}")
        self.channels, self.state = channels, state
        make = {"channel": lambda: StateChannelAttention(state, width, rescale),
                "spatial": lambda: StateSpatialAttention(channels, state, width, rescale)}
        self.parts = nn.ModuleDict({kind: make[kind]() for kind in ORDERS[order]})

    def attend(self, x: Tensor, h: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The modulated map, and the weights that did it: "channel" (B, C, 1, 1), "spatial" (B, 1, H, W)."""
        check_feature_map(x, self.channels)
        if h.ndim != 2 or h.shape[0] != x.shape[0] or h.shape[1] != self.state:
            raise ValueError(f"expected a state (B, d) = {(x.shape[0], self.state)}, got {tuple(h.shape)}")
        weights = {}
        for kind, part in self.parts.items():
            weights[kind] = part.attention(x, h)
            x = x * weights[kind]  # a new map: the next word starts from the old one
        return x, weights

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return self.attend(x, h)[0]


class SCALayers(nn.Module):
    """Attention at several layers of a CNN: each modulated map goes on through the network to the next attended layer.

    Args:
        attentions: one SCA per attended layer.
        between: what the network does from each attended layer to the next, one less.

    Shapes:
        x: the map at the first attended layer, (B, C, H, W); h (B, d); output: the modulated map of the last one, and
        for each layer the weights that did it.

    Raises:
        ValueError: if the numbers do not fit.
    """

    def __init__(self, attentions: Sequence[SCA], between: Sequence[nn.Module] = ()):
        super().__init__()
        if len(attentions) != len(between) + 1:
            raise ValueError(f"{len(attentions)} attended layers have {len(attentions) - 1} parts between them, "
                             f"got {len(between)}")
        self.attentions, self.between = nn.ModuleList(attentions), nn.ModuleList(between)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, list[dict[str, Tensor]]]:
        x, first = self.attentions[0].attend(x, h)
        weights = [first]
        for layers, attention in zip(self.between, self.attentions[1:]):
            x, here = attention.attend(layers(x), h)
            weights.append(here)
        return x, weights
