"""Hybrids: ECA says which channels, another block says where.

Source: Madmoni and Ben-Or, "Attention Mechanisms for Image Classification", course report, 2023: ECA first, then the
spatial half of CBAM or the autoencoder-inspired gate. ECA's kernel follows its formula; in their code k = 3 everywhere.
"""

from torch import Tensor, nn

from attncourse.autoencoder import ConvAutoencoderAttention, LinearAutoencoderAttention
from attncourse.cam_sam import SpatialAttention
from attncourse.eca import ECA


class AttentionSequence(nn.Sequential):
    """Blocks one after the other; each sees what the one before it let through. One (B, C, H, W) gate in all.

    Args:
        blocks: modules with ``attention(x)``, each of which scales its input by that gate.

    Raises:
        ValueError: if there is no block.
    """

    def __init__(self, *blocks: nn.Module):
        if not blocks:
            raise ValueError("AttentionSequence needs at least one block, got none")
        super().__init__(*blocks)

    def attention(self, x: Tensor) -> Tensor:
        """The product of all the gates, broadcastable to x."""
        gate = 1
        for block in self:
            gate = gate * block.attention(x * gate)
        return gate


def eca_sam(channels: int, kernel_size: int = 7) -> AttentionSequence:
    """ECA, then CBAM's spatial attention. Parameters: ECA's k + 2·kernel_size² + 2."""
    return AttentionSequence(ECA(channels), SpatialAttention(kernel_size))


def eca_autoencoder(channels: int) -> AttentionSequence:
    """ECA, then the convolutional autoencoder. Parameters: k + 385·C + 46,200."""
    return AttentionSequence(ECA(channels), ConvAutoencoderAttention(channels))


def eca_linear_autoencoder(channels: int, width: int) -> AttentionSequence:
    """ECA, then the linear autoencoder for maps of the given width. Parameters: k + 257·width + 18,316."""
    return AttentionSequence(ECA(channels), LinearAutoencoderAttention(width))
