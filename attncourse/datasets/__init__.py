"""Images to train on and to look at: CIFAR-10, a folder of your own, and scenes drawn in code.

Every loader returns an :class:`~attncourse.datasets.images.ImageData`.
"""

from attncourse.datasets.images import ImageData, Split

__all__ = ["ImageData", "Split"]
