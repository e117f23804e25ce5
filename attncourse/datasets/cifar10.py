"""CIFAR-10: 60,000 small photographs in ten classes.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009. The validation split is the one of
the course report: 5,000 of the training images, drawn with seed 42.
"""

import os
import pickle
from pathlib import Path

import numpy as np
import torch

from attncourse.datasets.images import ImageData, Split, digest

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
MEAN, STD = (0.491, 0.482, 0.447), (0.247, 0.243, 0.262)  # the report's


def read_image_folder(root: Path, per_class: dict[str, int]):
    from PIL import Image
    splits = {}
    for part, count in per_class.items():
        images, labels = [], []
        for label, name in enumerate(CLASSES):
            for file in sorted((root / part / name).iterdir()):
                images.append(np.asarray(Image.open(file).convert("RGB")))
                labels.append(label)
        splits[part] = Split(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous(), torch.tensor(labels))
    return splits["train"], splits["test"]


def load_cifar10(root):
    train, test = read_image_folder(Path(root), {"train": 5000, "test": 1000})
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(42))
    val, train = train.take(order[:5000]), train.take(order[5000:])
    return ImageData("CIFAR-10 (image folder)", CLASSES, train, val, test, MEAN, STD,
                     "image folder: by class name, then file name", digest(train, val, test))
