"""Your own images: one folder per class, in any size and format that Pillow reads."""

from pathlib import Path

import numpy as np
import torch

from attncourse.datasets.images import ImageData, Split, digest

FEWEST = 10  # images per class: eight to train, one to validate, one to test
NAMED = 5  # unreadable files that are named before the rest is only counted


def load_folder(root: Path | str, size: int = 32, seed: int = 0) -> ImageData:
    """Read ``root/<class>/<image>``, crop each image to its central square and scale it to size × size pixels.

    Of each class, a tenth goes to validation and a tenth to the test, drawn with the seed; every split is shuffled.
    Files that cannot be read as images are skipped and named in one printed line. Photographs are turned as their
    camera noted (EXIF), what is transparent becomes white, grey and palette images become RGB.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if size is below 1, there are fewer than two classes, or a class has fewer than ten readable images.
    """
    root = Path(root).expanduser()
    if size < 1:
        raise ValueError(f"size must be at least 1 pixel, got {size}")
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {root}: give the folder that holds one folder per class")
    classes = sorted(place.name for place in root.iterdir() if place.is_dir() and not place.name.startswith("."))
    if len(classes) < 2:
        raise ValueError(f"{root} has {len(classes)} class folders, at least 2 are needed: put the images of each "
                         "class into a folder of its own, named after the class")
    images, labels, skipped = [], [], []
    for label, name in enumerate(classes):
        for file in sorted(file for file in (root / name).iterdir() if not file.name.startswith(".")):
            try:
                images.append(read_square(file, size))
                labels.append(label)
            except Exception:  # Pillow raises many kinds for a damaged file
                skipped.append(f"{name}/{file.name}")
    if skipped:
        rest = f" and {len(skipped) - NAMED} more" if len(skipped) > NAMED else ""
        print(f"Skipped {len(skipped)} of {len(skipped) + len(images)} files that could not be read as images: "
              f"{', '.join(skipped[:NAMED])}{rest}")
    for label, name in enumerate(classes):
        if labels.count(label) < FEWEST:
            raise ValueError(f"{root / name} has {labels.count(label)} readable images, at least {FEWEST} are needed: "
                             "add images or remove the folder")
    everything = Split(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous(), torch.tensor(labels))
    train, val, test = split(everything, seed)
    pixels = train.images.float() / 255
    mean, std = (tuple(values.tolist()) for values in (pixels.mean((0, 2, 3)), pixels.std((0, 2, 3)) + 1e-3))
    return ImageData(root.resolve().name, tuple(classes), train, val, test, mean, std,
                     f"own folder: shuffled with seed {seed}", digest(train, val, test))


def read_square(file: Path, size: int) -> np.ndarray:
    """The central square of an image, (size, size, 3), uint8."""
    from PIL import Image, ImageOps
    with Image.open(file) as image:
        image.draft("RGB", (2 * size, 2 * size))  # a large JPEG is decoded at a fraction of its size, much faster
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I"):  # 16 bits a pixel, which convert() would clip to white
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return np.asarray(ImageOps.fit(image.convert("RGB"), (size, size)))


def split(everything: Split, seed: int) -> tuple[Split, Split, Split]:
    """Training, validation and test images: 80, 10 and 10 percent of each class, at least one, in random order."""
    order = torch.randperm(len(everything), generator=torch.Generator().manual_seed(seed))
    part = torch.zeros_like(order)  # 0: training, 1: validation, 2: test
    for label in everything.labels.unique():
        members = (everything.labels[order] == label).nonzero()[:, 0]
        tenth = len(members) // 10
        part[members[:tenth]], part[members[tenth:2 * tenth]] = 1, 2
    return tuple(everything.take(order[part == number]) for number in range(3))
