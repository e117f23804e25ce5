"""The small CNN in which this course compares attention modules, with a place for a module after each convolution.

Source: Madmoni and Ben-Or, "Attention Mechanisms for Image Classification", course report, 2023, figure 5; the layer
sizes were read in their published code. Deviation: that code puts ReLU and softmax on the logits before a loss that
applies softmax again; here the network returns plain logits.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor, nn

AttentionFactory = Callable[[int], nn.Module]

MAP_WIDTHS = (32, 30, 15, 13)  # of the maps at ReportCNN's four places, in pixels


def stage(in_channels: int, channels: int) -> nn.Sequential:
    """Two 3×3 convolutions and a pooling step; an Identity marks each place where attention can be put.

    (B, in_channels, H, W) -> (B, channels, H // 2 - 1, W // 2 - 1).
    """
    return nn.Sequential(OrderedDict(
        conv1=nn.Conv2d(in_channels, channels, 3, padding=1),  # keeps H and W
        attention1=nn.Identity(),
        relu1=nn.ReLU(),
        norm1=nn.BatchNorm2d(channels),
        conv2=nn.Conv2d(channels, channels, 3),  # no padding: H - 2, W - 2
        attention2=nn.Identity(),
        relu2=nn.ReLU(),
        norm2=nn.BatchNorm2d(channels),
        pool=nn.MaxPool2d(2),  # halves H and W
        dropout=nn.Dropout2d(0.25),
    ))


class ReportCNN(nn.Module):
    """Stages of two convolutions each (two stages: 64, 64, 128, 128 channels), then two fully connected layers.

    Attention goes directly after each convolution, before its ReLU: with two stages at four places, where the map is
    32, 30, 15 and 13 pixels wide. The backbone is initialised (Kaiming-normal, zero biases) before any attention is
    built, so equal seeds give equal backbones whatever is put in; the blocks keep PyTorch's own initialisation (the
    report's code gives them the backbone's: ``as_coded``).

    Args:
        num_classes: length of the output.
        attention: a callable from a channel count to a module, used at all places; or a sequence with one such
            callable, or None, per place; or None for the plain network.
        widths: channels of each stage.

    Shapes:
        input (B, 3, 32, 32), output (B, num_classes): logits, before any softmax.

    Parameters: 2,625,866 without attention, with 10 classes and two stages; 1,677,130 with widths (64, 128, 256).

    Raises:
        ValueError: if num_classes or a width is below 1, there are not one to three stages, attention does not have an
            entry per place, or the images are not 3×32×32.
    """

    def __init__(self, num_classes: int = 10,
                 attention: AttentionFactory | Sequence[AttentionFactory | None] | None = None,
                 widths: Sequence[int] = (64, 128)):
        super().__init__()
        if num_classes < 1 or min(widths, default=0) < 1:
            raise ValueError(f"num_classes and widths must be at least 1, got {num_classes} and {widths}")
        if len(widths) > 3:
            raise ValueError(f"widths has room for three stages, 32 -> 15 -> 6 -> 2 pixels, got {widths}")
        places = 2 * len(widths)
        factories = [attention] * places if attention is None or callable(attention) else list(attention)
        if len(factories) != places:
            raise ValueError(f"attention needs one entry per place ({places}), got {len(factories)}")
        self.stages, size = [], 32
        for number, (narrow, wide) in enumerate(pairwise((3, *widths)), 1):
            self.stages.append(f"stage{number}")
            self.add_module(f"stage{number}", stage(narrow, wide))  # (B, narrow, size, size) -> (B, wide, new size)
            size = size // 2 - 1
        self.classifier = nn.Sequential(
            nn.Flatten(),  # two stages: (B, 128, 6, 6) -> (B, 4608)
            nn.Linear(widths[-1] * size * size, 512),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(512, num_classes),
        )
        self.apply(kaiming_normal)
        for (stage_name, place), factory in zip(self.places(), factories):
            if factory is not None:
                channels = self.get_submodule(stage_name).conv1.out_channels
                setattr(self.get_submodule(stage_name), place, factory(channels))

    def places(self) -> list[tuple[str, str]]:
        """Where attention can stand, in the order of the forward pass: (stage, place) names."""
        return [(stage_name, place) for stage_name in self.stages for place in ("attention1", "attention2")]

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 4 or x.shape[1:] != (3, 32, 32):
            raise ValueError(f"expected images (B, 3, 32, 32), got {tuple(x.shape)}: resize them first")
        for stage_name in self.stages:
            x = self.get_submodule(stage_name)(x)
        return self.classifier(x)


def kaiming_normal(module: nn.Module) -> None:
    """Initialise a convolution or a fully connected layer as the report does: Kaiming-normal weights, zero biases."""
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
