"""What every data set of the course looks like: three splits of uint8 images with labels, all in memory."""

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Split:
    """Images (N, 3, H, W), uint8, and their labels (N,), int64."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Tensor | slice) -> "Split":
        """The images and labels at the given positions, in that order."""
        return Split(self.images[index], self.labels[index])

    def to(self, device: torch.device | str) -> "Split":
        return Split(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class ImageData:
    """A classification data set, resident in memory.

    Args:
        name: what a page calls it, e.g. "CIFAR-10".
        classes: one name per label.
        train, val, test: the three splits.
        mean, std: per channel, of pixel values scaled to [0, 1]; what the network's input is normalised with.
        order: where the index order comes from that the validation split was drawn over.
        sha256: digest of all images and labels, so that a record says what it was measured on.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    val: Split
    test: Split
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    order: str
    sha256: str


def digest(*splits: Split) -> str:
    """SHA-256 over the pixels and labels of the splits, in order."""
    sha = hashlib.sha256()
    for split in splits:
        sha.update(split.images.contiguous().numpy())
        sha.update(split.labels.contiguous().numpy())
    return sha.hexdigest()
