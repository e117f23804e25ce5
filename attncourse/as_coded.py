"""The nine networks of the report as its code built them, with every defect: what the reported numbers belong to.

Source: Madmoni and Ben-Or, "Attention Mechanisms for Image Classification", course report, 2023. Their published code
was read, not copied: it has no licence. The networks as the text describes them are in ``as_described``.

What the code does otherwise than the text says:

1. CBAM, and ECA with CBAM's spatial half, stand after the first convolution of a stage only.
2. The third stage of the deeper network is built and never called.
3. The logits pass ReLU and softmax before a loss that applies softmax again.
4. Optimizer and learning rate schedule are made anew each epoch, so the schedule never acts: the step size is constant.
   (The text knows of no schedule: it is constant in our column "as described", too.)
5. The autoencoder's last layer leaves positions of small maps with nothing but its bias.
6. ECA's kernel is 3 at every width.

One version of it multiplies the linear autoencoder's gate by 2, the other does not. That is the same network: ReLU
and BatchNorm come next and take the factor out.

What the text leaves open: all layers, those of the gates too, start from Kaiming-normal weights and zero biases, and
the BatchNorm in CBAM's spatial half has momentum 0.01. ``DEFAULT_GATES`` has the same networks with gates as PyTorch
makes them, which is what ``as_described`` has: it shows what this is worth.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor, nn

from attncourse.as_described import LINEAR_AUTOENCODERS
from attncourse.backbone import AttentionFactory, ReportCNN, kaiming_normal, stage
from attncourse.cam_sam import SpatialAttention
from attncourse.cbam import CBAM
from attncourse.eca import ECA
from attncourse.hybrids import AttentionSequence

LAST_LAYER = {  # width of the map -> kernel, stride, padding, output padding of the last transposed convolution
    32: (3, 2, 1, 1),
    30: (3, 3, 3, 0),
    15: (3, 4, 1, 2),
    13: (2, 4, 1, 1),
}


class CodedAutoencoder(nn.Module):
    """The convolutional autoencoder's gate with the report's last layer, which is fitted to one size of map.

    Args:
        channels: C.
        width: height and width of the map: 32, 30, 15 or 13.

    Shapes:
        input and output (B, C, width, width).

    Parameters: 192·C + 46,200 + C·(12·q² + 1), q being the last layer's kernel.
    """

    def __init__(self, channels: int, width: int):
        super().__init__()
        kernel, stride, padding, output_padding = LAST_LAYER[width]
        self.encoder = nn.Sequential(
            nn.Conv2d(channels, 12, 4, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(12, 24, 4, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(24, 48, 4, stride=2, padding=1), nn.ReLU(),
        )
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(48, 24, 4, stride=2, padding=1), nn.ReLU(),
            nn.ConvTranspose2d(24, 12, 4, stride=2, padding=1), nn.ReLU(),
            nn.ConvTranspose2d(12, channels, kernel, stride, padding, output_padding),
        )

    def attention(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x)).sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.attention(x)


class UnusedThirdStage(ReportCNN):
    """The "deeper" network: 886,272 parameters of a third stage that no image ever reaches."""

    def __init__(self):
        super().__init__()
        self.stage3 = stage(128, 256).apply(kaiming_normal)  # forward() calls the stages in self.stages


def coded(attention: AttentionFactory | Sequence[AttentionFactory | None] | None = None,
          network: type[ReportCNN] = ReportCNN, default_gates: bool = False) -> nn.Sequential:
    """A network that gives the softmax of its rectified logits, (B, 3, 32, 32) -> (B, 10).

    Args:
        default_gates: leave the gates as PyTorch makes them.
    """
    built = network() if attention is None else network(attention=attention)
    if not default_gates:
        for stage_name, place in built.places():
            built.get_submodule(f"{stage_name}.{place}").apply(gate_layer_as_coded)
    return nn.Sequential(OrderedDict(network=built, relu=nn.ReLU(), softmax=nn.Softmax(1)))


def gate_layer_as_coded(module: nn.Module) -> None:
    """Start a layer of a gate, or set its momentum, as the report's code does."""
    kaiming_normal(module)
    if isinstance(module, nn.BatchNorm2d):  # of CBAM's spatial half, whose code is its authors'
        module.momentum = 0.01


def eca(channels: int) -> ECA:
    return ECA(channels, kernel_size=3)


def with_eca(block: Callable[[int], nn.Module]) -> AttentionFactory:
    return lambda channels: AttentionSequence(eca(channels), block(channels))


def eca_sam(channels: int) -> AttentionSequence:
    return AttentionSequence(eca(channels), SpatialAttention())


AUTOENCODERS = [partial(CodedAutoencoder, width=width) for width in LAST_LAYER]

AS_CODED: dict[str, Callable[[], nn.Module]] = {
    "cnn": coded,
    "cnn+eca": partial(coded, eca),
    "cnn+cbam": partial(coded, (CBAM, None, CBAM, None)),
    "cnn-three-stages": partial(coded, network=UnusedThirdStage),
    "cnn+autoencoder": partial(coded, AUTOENCODERS),
    "cnn+eca+autoencoder": partial(coded, [with_eca(block) for block in AUTOENCODERS]),
    "cnn+linear-autoencoder": partial(coded, LINEAR_AUTOENCODERS),
    "cnn+eca+linear-autoencoder": partial(coded, [with_eca(block) for block in LINEAR_AUTOENCODERS]),
    "cnn+eca+sam": partial(coded, (eca_sam, None, eca_sam, None)),
}

DEFAULT_GATES = {name: partial(make, default_gates=True) for name, make in AS_CODED.items() if "+" in name}
