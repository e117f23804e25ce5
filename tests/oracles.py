"""What blocks are compared with: the papers' equations and the authors' layouts, written anew for that purpose."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def with_weights_of(block: nn.Module, oracle: nn.Module) -> nn.Module:
    """The oracle with the block's weights: the same tensors in the same order, fully connected or 1×1."""
    wanted = oracle.state_dict()
    values = zip(wanted, block.state_dict().values(), strict=True)
    oracle.load_state_dict({name: value.view(wanted[name].shape) for name, value in values})
    return oracle


class AuthorsChannel(nn.Module):
    """CAM as in the authors' code: layers with biases, pooling windows as large as the map, hidden width C // r."""

    def __init__(self, channels: int, reduction: int = 16):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(channels, channels // reduction), nn.Linear(channels // reduction, channels)

    def forward(self, x: Tensor) -> Tensor:
        window = (x.size(2), x.size(3))
        pooled = F.avg_pool2d(x, window, stride=window), F.max_pool2d(x, window, stride=window)
        logits = sum(self.fc2(F.relu(self.fc1(z.flatten(1)))) for z in pooled)
        return x * logits.sigmoid()[:, :, None, None]


class AuthorsSpatial(nn.Module):
    """SAM as in the authors' code: [max, avg], 7 × 7 without bias, BatchNorm with momentum 0.01 and weight 0."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(1, eps=1e-5, momentum=0.01)
        nn.init.zeros_(self.norm.weight)

    def attention(self, x: Tensor) -> Tensor:
        stack = torch.cat([torch.max(x, 1)[0].unsqueeze(1), torch.mean(x, 1).unsqueeze(1)], 1)
        return self.norm(self.conv(stack)).sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.attention(x)


class PaperBAM(nn.Module):
    """BAM's equations 1 to 4 as most would write them down, with the ReLUs of the authors' code."""

    def __init__(self, channels: int, reduction: int = 16, dilation: int = 4):
        super().__init__()
        hidden = channels // reduction
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.w0, self.w1 = nn.Linear(channels, hidden), nn.Linear(hidden, channels)
        self.bn_c = nn.BatchNorm1d(channels)
        self.f0 = nn.Conv2d(channels, hidden, 1)
        self.f1, self.f2 = (nn.Conv2d(hidden, hidden, 3, padding="same", dilation=dilation) for _ in range(2))
        self.f3, self.bn_s = nn.Conv2d(hidden, 1, 1), nn.BatchNorm2d(1)

    def forward(self, x: Tensor) -> Tensor:
        Mc = self.bn_c(self.w1(F.relu(self.w0(self.pool(x).flatten(1)))))[:, :, None, None]
        Ms = self.bn_s(self.f3(F.relu(self.f2(F.relu(self.f1(F.relu(self.f0(x))))))))
        M = torch.sigmoid(Mc.expand_as(x) + Ms.expand_as(x))
        return x + x * M
