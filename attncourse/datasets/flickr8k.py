"""Flickr8k: 8,091 photographs with five sentences each.

Source: M. Hodosh, P. Young, J. Hockenmaier, "Framing Image Description as a Ranking Task: Data, Models and Evaluation
Metrics", Journal of Artificial Intelligence Research 47, 2013. For research and teaching; the photographs belong to
their photographers.

Two layouts are read. The official one has ``Flickr8k.token.txt`` and the split in ``Flickr_8k.trainImages.txt``,
``Flickr_8k.devImages.txt`` and ``Flickr_8k.testImages.txt``. The widespread one from Kaggle has ``captions.txt``, with
commas; it has no split. In both the photographs lie in ``Images`` (or ``Flicker8k_Dataset``, as the authors wrote it).
"""

import csv
import os
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from attncourse.datasets.captions import CaptionData, CaptionSplit, words

PICTURES = ("Images", "Flicker8k_Dataset", "Flickr8k_Dataset")
OFFICIAL = {"train": "Flickr_8k.trainImages.txt", "val": "Flickr_8k.devImages.txt", "test": "Flickr_8k.testImages.txt"}
LAYOUTS = "Flickr8k.token.txt (official) or captions.txt (Kaggle), beside a folder Images"
NAMED = 5  # files that are named before the rest is only counted


def load_flickr8k(root: Path | str | None = None, size: int = 224, seed: int | None = None) -> CaptionData:
    """Find Flickr8k. The photographs are read when they are asked for, squeezed to size × size pixels.

    Captions of a photograph that is not there, and captions without a word, are left out and counted in a printed line.

    Args:
        root: the folder that holds it; without it, the folder that the environment variable ATTNCOURSE_DATA names.
        size: pixels.
        seed: of a random split, 6 : 1 : 1; without it the official one, or, where that is not there, seed 0.

    Raises:
        FileNotFoundError: if the folder does not hold Flickr8k.
        ValueError: if a line of a file is not what it should be, or fewer than eight photographs have a caption.
    """
    root = root or os.environ.get("ATTNCOURSE_DATA")
    if root is None:
        raise FileNotFoundError(f"where is Flickr8k? Set ATTNCOURSE_DATA to a folder with {LAYOUTS}")
    folder, pictures, token_file = locate(Path(root).expanduser())
    captions = read_captions(token_file)
    there = {file.name for file in pictures.iterdir()}
    absent = sorted(captions.keys() - there)
    wordless = sum(not words(sentence) for name in captions.keys() & there for sentence in captions[name])
    captions = {name: kept for name in sorted(captions.keys() & there)
                if (kept := tuple(sentence for sentence in captions[name] if words(sentence)))}
    if absent:
        print(f"Left out the captions of {some_of(absent)}: no such photograph in {pictures.name}")
    if wordless:
        print(f"Left out {wordless} captions without a word")
    if len(captions) < 8:
        raise ValueError(f"{pictures} has {len(captions)} photographs with a caption, at least 8 are needed")
    lists = [folder / name for name in OFFICIAL.values()]
    if seed is None and all(file.is_file() for file in lists):
        parts, kind = official_split(lists, captions), "official split"
    else:
        parts, kind = random_split(list(captions), seed or 0), f"random split with seed {seed or 0}"
    splits = [CaptionSplit(tuple(names), tuple(captions[name] for name in names), reader(pictures, names, size))
              for names in parts]
    return CaptionData(f"Flickr8k, {kind}", *splits)


def locate(root: Path) -> tuple[Path, Path, Path]:
    """The folder that holds Flickr8k (the root or one below it), its folder of photographs, its file of captions."""
    for folder in (root, *(root / name for name in ("flickr8k", "Flickr8k", "flickr8k-160"))):
        for name in ("Flickr8k.token.txt", "captions.txt"):
            for pictures in PICTURES:
                if (folder / name).is_file() and (folder / pictures).is_dir():
                    return folder, folder / pictures, folder / name
    raise FileNotFoundError(f"no Flickr8k in {root}: expected {LAYOUTS}")


def read_captions(file: Path) -> dict[str, list[str]]:
    """File name -> sentences, in the order of the file.

    Raises:
        ValueError: if a line is no caption; the message has its number.
    """
    captions = {}
    text = file.read_text(encoding="utf-8-sig")
    if file.name == "captions.txt":
        rows = ([name, ",".join(rest)] if rest else [name] for name, *rest in csv.reader(text.splitlines()))
        next(rows, None)  # the header, image,caption
    else:
        rows = ((name.partition("#")[0], *rest) for name, *rest in (line.split("\t") for line in text.splitlines()))
    for number, row in enumerate(rows, 2 if file.name == "captions.txt" else 1):
        if len(row) != 2:
            raise ValueError(f"line {number} of {file} is no photograph with its caption: {row!r}")
        captions.setdefault(row[0], []).append(row[1].strip())
    return captions


def official_split(lists: Sequence[Path], captions: dict) -> list[list[str]]:
    """The names in each list that have a photograph and a caption, in the order of the list."""
    return [[name for name in file.read_text().split() if name in captions] for file in lists]


def random_split(names: list[str], seed: int) -> list[list[str]]:
    """Six parts to train, one to validate, one to test."""
    random.Random(seed).shuffle(names)
    eighth = len(names) // 8
    return [names[2 * eighth:], names[:eighth], names[eighth:2 * eighth]]


def reader(folder: Path, names: Sequence[str], size: int):
    """A function that reads the photographs at given positions, (B, 3, size, size), uint8."""
    def read(positions: Sequence[int]) -> Tensor:
        return torch.stack([read_picture(folder / names[position], size) for position in positions])

    return read


def read_picture(file: Path, size: int) -> Tensor:
    """One photograph, upright, squeezed to (3, size, size), uint8.

    Raises:
        ValueError: if the file is missing or no image.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
            pixels = np.array(upright.resize((size, size), Image.Resampling.BICUBIC))
    except (OSError, SyntaxError) as error:  # Pillow raises both for damaged files
        raise ValueError(f"{file} cannot be read as an image ({error}): replace it, or remove it from its folder"
                         ) from None
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def some_of(names: Sequence[str]) -> str:
    """The first few names, and how many there are besides."""
    rest = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + rest
