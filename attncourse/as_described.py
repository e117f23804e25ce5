"""The report's nine networks as its text describes them, the course's other networks, and the controls.

Source: Madmoni and Ben-Or, "Attention Mechanisms for Image Classification", course report, 2023: attention stands
immediately after each convolution, ECA's kernel is adaptive, the deeper network has three stages. Where its text is
silent: biases and BatchNorm as in the authors' CBAM, but with PyTorch's momentum; gates start as PyTorch starts them;
an autoencoder that reaches every position. The networks that the reported numbers belong to are in ``as_coded``.
"""

from collections.abc import Callable
from functools import partial

from attncourse.autoencoder import ConvAutoencoderAttention, LinearAutoencoderAttention
from attncourse.backbone import MAP_WIDTHS, ReportCNN
from attncourse.bam import BAM
from attncourse.cam_sam import ChannelAttention, SpatialAttention
from attncourse.cbam import CBAM
from attncourse.controls import ChannelScale, OwnMeanGate, ShuffledGate, widened
from attncourse.eca import ECA
from attncourse.hybrids import eca_autoencoder, eca_linear_autoencoder, eca_sam
from attncourse.se import SEBlock

LINEAR_AUTOENCODERS = [lambda channels, width=width: LinearAutoencoderAttention(width) for width in MAP_WIDTHS]
ECA_LINEAR_AUTOENCODERS = [partial(eca_linear_autoencoder, width=width) for width in MAP_WIDTHS]
WITH_AUTOENCODER = 2_958_506  # parameters of "cnn+autoencoder"

AS_DESCRIBED: dict[str, Callable[[], ReportCNN]] = {
    # the report's nine
    "cnn": ReportCNN,
    "cnn+eca": partial(ReportCNN, attention=ECA),
    "cnn+cbam": partial(ReportCNN, attention=CBAM),
    "cnn-three-stages": partial(ReportCNN, widths=(64, 128, 256)),
    "cnn+autoencoder": partial(ReportCNN, attention=ConvAutoencoderAttention),
    "cnn+eca+autoencoder": partial(ReportCNN, attention=eca_autoencoder),
    "cnn+linear-autoencoder": partial(ReportCNN, attention=LINEAR_AUTOENCODERS),
    "cnn+eca+linear-autoencoder": partial(ReportCNN, attention=ECA_LINEAR_AUTOENCODERS),
    "cnn+eca+sam": partial(ReportCNN, attention=eca_sam),
    # blocks that the report does not have
    "cnn+se": partial(ReportCNN, attention=SEBlock),
    "cnn+se-stage1": partial(ReportCNN, attention=(SEBlock, SEBlock, None, None)),
    "cnn+cam": partial(ReportCNN, attention=ChannelAttention),
    "cnn+sam": partial(ReportCNN, attention=lambda channels: SpatialAttention()),
    "cnn+bam": partial(ReportCNN, attention=BAM),
    "cnn+bam-product": partial(ReportCNN, attention=partial(BAM, combine="product")),
    # controls
    "cnn+channel-scale": partial(ReportCNN, attention=ChannelScale),
    "cnn+own-mean": partial(ReportCNN, attention=OwnMeanGate),
    "cnn+shuffled-eca": partial(ReportCNN, attention=lambda channels: ShuffledGate(ECA(channels))),
    "cnn-wide": partial(widened, WITH_AUTOENCODER),
}
