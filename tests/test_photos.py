"""The photographs in the package: there, small, licensed."""

from pathlib import Path

import pytest
import torch

from attncourse.datasets import photos
from attncourse.datasets.photos import PHOTOS, photo

FOLDER = Path(photos.__file__).parent / "photos"


@pytest.mark.parametrize("name", PHOTOS)
def test_a_photograph(name):
    image = photo(name)
    assert image.dtype == torch.uint8
    assert image.shape[0] == 3
    assert max(image.shape) == 320
    assert image.is_contiguous()
    assert image.float().std() > 20
    assert (FOLDER / f"{name}.jpg").stat().st_size <= 40_000
    assert f"`{name}.jpg`" in (FOLDER / "LICENSES.md").read_text()


def test_no_file_without_a_name():
    assert sorted(file.stem for file in FOLDER.glob("*.jpg")) == sorted(PHOTOS)


@pytest.mark.parametrize("name", ["dog", "../photos/coffee", ""])
def test_an_unknown_name(name):
    with pytest.raises(ValueError, match=f"no photograph '{name}': choose one of astronaut, chelsea, coffee, rocket"):
        photo(name)
