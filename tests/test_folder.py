"""A learner's own images: any size and format, some of them broken."""

import numpy as np
import pytest
import torch
from PIL import Image

from attncourse.datasets.folder import load_folder, read_square

COLOURS = {"ants": (200, 10, 10), "bees": (10, 10, 200), "cats": (10, 200, 10)}


@pytest.fixture
def root(tmp_path):
    """Three classes of 10, 25 and 40 images, each class in one colour, each image with a shade of its own."""
    for (name, colour), count in zip(COLOURS.items(), (10, 25, 40)):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for i in range(count):
            shade = tuple(value + i for value in colour)
            Image.new("RGB", (40 + i, 30), shade).save(tmp_path / "pets" / name / f"{i:02}.png")
    return tmp_path / "pets"


def test_splits_of_every_class(root, capsys):
    data = load_folder(root, size=16)
    assert (data.name, data.classes) == ("pets", ("ants", "bees", "cats"))
    assert data.train.images.shape == (61, 3, 16, 16)
    assert data.train.images.dtype == torch.uint8
    assert [torch.bincount(split.labels).tolist() for split in (data.train, data.val, data.test)] == [
        [8, 21, 32], [1, 2, 4], [1, 2, 4]]
    everything = torch.cat([split.images[:, :, 0, 0] for split in (data.train, data.val, data.test)])
    assert len(everything.unique(dim=0)) == 75  # no image in two splits
    for split in (data.train, data.val, data.test):
        assert split.images[:, :, 8, 8].argmax(1).tolist() == [[0, 2, 1][label] for label in split.labels]
    assert data.train.labels.tolist() != sorted(data.train.labels.tolist())  # so that a subset has every class
    assert data.mean == pytest.approx((data.train.images.float() / 255).mean((0, 2, 3)).tolist())
    assert capsys.readouterr().out == ""


def test_the_seed_decides_the_split_and_nothing_else(root):
    state = torch.get_rng_state()
    assert load_folder(root).sha256 == load_folder(root).sha256
    assert load_folder(root, seed=1).sha256 != load_folder(root).sha256
    assert load_folder(root, seed=1).order == "own folder: shuffled with seed 1"
    assert torch.equal(torch.get_rng_state(), state)


def test_unreadable_files_are_skipped_and_named(root, capsys):
    (root / "bees" / "notes.txt").write_text("not an image")
    (root / "cats" / "07.png").write_bytes((root / "cats" / "07.png").read_bytes()[:70])
    (root / "cats" / "empty.jpg").touch()
    (root / "cats" / ".DS_Store").touch()
    (root / ".cache").mkdir()
    data = load_folder(root)
    assert sum(len(split) for split in (data.train, data.val, data.test)) == 74
    assert capsys.readouterr().out == ("Skipped 3 of 77 files that could not be read as images: "
                                       "bees/notes.txt, cats/07.png, cats/empty.jpg\n")


def test_many_unreadable_files_are_counted(root, capsys):
    for i in range(7):
        (root / "bees" / f"x{i}.jpg").touch()
    load_folder(root)
    out = capsys.readouterr().out
    assert out.endswith("bees/x0.jpg, bees/x1.jpg, bees/x2.jpg, bees/x3.jpg, bees/x4.jpg and 2 more\n")


def test_the_camera_knows_which_way_is_up(tmp_path):
    pixels = np.zeros((60, 60, 3), np.uint8)
    pixels[:30] = 250  # bright at the top, as it was photographed
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn clockwise to show it
    Image.fromarray(np.rot90(pixels)).save(tmp_path / "a.jpg", exif=exif, quality=95)
    square = read_square(tmp_path / "a.jpg", 20)
    assert square[:8].min() > 230
    assert square[12:].max() < 20


@pytest.mark.parametrize(("mode", "colour", "expected"), [
    ("L", 77, (77, 77, 77)),
    ("LA", (77, 0), (255, 255, 255)),
    ("1", 1, (255, 255, 255)),
    ("RGBA", (200, 100, 50, 255), (200, 100, 50)),
    ("RGBA", (200, 100, 50, 0), (255, 255, 255)),
    ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
    ("I;16", 77 * 256, (77, 77, 77)),
])
def test_every_mode_becomes_rgb(tmp_path, mode, colour, expected):
    file = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.new(mode, (50, 70), colour).save(file)
    assert (np.abs(read_square(file, 8).astype(int) - expected) <= 1).all()


def test_palettes_with_and_without_transparency(tmp_path):
    picture = Image.new("P", (20, 20), 1)
    picture.putpalette([9, 9, 9, 30, 60, 90])
    picture.save(tmp_path / "opaque.gif")
    picture.save(tmp_path / "clear.png", transparency=1)
    assert (read_square(tmp_path / "opaque.gif", 8) == (30, 60, 90)).all()
    assert (read_square(tmp_path / "clear.png", 8) == 255).all()


def test_the_centre_is_cut_out(tmp_path):
    pixels = np.zeros((40, 100, 3), np.uint8)
    pixels[:, 30:70] = 255
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    assert read_square(tmp_path / "wide.png", 40).min() == 255


def test_a_large_jpeg_keeps_its_look(tmp_path):
    ramp = np.broadcast_to(np.linspace(0, 255, 1600).astype(np.uint8)[None, :, None], (1600, 1600, 3))
    Image.fromarray(ramp.copy()).save(tmp_path / "a.jpg")
    square = read_square(tmp_path / "a.jpg", 32).astype(float)
    assert np.abs(square - np.linspace(4, 251, 32)[None, :, None]).max() < 4


def test_a_jpeg_keeps_its_detail(tmp_path):
    squares = np.kron(np.indices((64, 64)).sum(0) % 2, np.ones((4, 4))).astype(np.uint8) * 255
    Image.fromarray(squares).save(tmp_path / "a.jpg")
    assert np.ptp(read_square(tmp_path / "a.jpg", 128)) > 200


def delete_all_but(folder, keep):
    for file in sorted(folder.iterdir())[keep:]:
        file.unlink()


@pytest.mark.parametrize(("damage", "error", "message"), [
    (lambda root: delete_all_but(root / "bees", 9), ValueError,
     "pets/bees has 9 readable images, at least 10 are needed: add images or remove the folder"),
    (lambda root: delete_all_but(root / "bees", 0), ValueError, "pets/bees has 0 readable images"),
    (lambda root: [delete_all_but(root / n, 0) or (root / n).rmdir() for n in ("ants", "bees")], ValueError,
     "pets has 1 class folders, at least 2 are needed: put the images of each class into a folder of its own"),
    (lambda root: root.rename(root.parent / "moved"), FileNotFoundError,
     "there is no folder .*pets: give the folder that holds one folder per class"),
])
def test_bad_folders(root, damage, error, message):
    damage(root)
    with pytest.raises(error, match=message):
        load_folder(root)


def test_bad_size(root):
    with pytest.raises(ValueError, match="size must be at least 1 pixel, got 0"):
        load_folder(root, size=0)
