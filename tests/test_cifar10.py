"""CIFAR-10 from every layout, whole and damaged, in a size of a few images; and the real one where it is."""

import hashlib
import io
import os
import pickle
import struct
import tarfile
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from attncourse.datasets import cifar10
from attncourse.datasets.cifar10 import BATCHES, CLASSES, load_cifar10, parse_batch

RNG = np.random.default_rng(0)
N = 4  # images per batch


def old_pickle(pixels: bytes, labels: list[int]) -> bytes:
    """A batch as Python 2 pickled it in 2009: one string type for text and bytes, positions in the memo everywhere."""
    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value + b"q\x01"

    array = (b"cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85U\x01b\x87Rq\x04(K\x01"
             + b"K" + bytes([len(labels)])
             + b"M\x00\x0c\x86cnumpy\ndtype\nq\x05U\x02u1K\x00K\x01\x87Rq\x06(K\x03U\x01|NNN"
             + b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T" + struct.pack("<i", len(pixels)) + pixels + b"tb")
    numbers = b"]q\x07(" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    names = b"]q\x08(" + text(b"leptodactylus_pentadactylus_s_000004.png") + text(b"camion_s_000148.png") + b"e"
    return (b"\x80\x02}q\x00(" + text(b"batch_label") + text(b"training batch 1 of 5") + text(b"labels") + numbers
            + text(b"data") + array + text(b"filenames") + names + b"u.")


def new_pickle(pixels: bytes, labels: list[int]) -> bytes:
    array = np.frombuffer(pixels, np.uint8).reshape(-1, 3072)
    return pickle.dumps({b"labels": labels, b"data": array, b"filenames": [b"a.png"]})


@pytest.fixture
def batches(monkeypatch) -> dict[str, tuple[bytes, bytes, list[int]]]:
    """Small batches by name: (file, pixels, labels); the loader is told their checksums."""
    made = {}
    for name in BATCHES:
        pixels, labels = RNG.bytes(N * 3072), RNG.integers(10, size=N).tolist()
        made[name] = old_pickle(pixels, labels), pixels, labels
    sums = {name: hashlib.md5(content).hexdigest() for name, (content, _, _) in made.items()}
    monkeypatch.setattr(cifar10, "BATCHES", sums)
    monkeypatch.setattr(cifar10, "VALIDATION", 5)
    monkeypatch.delenv("ATTNCOURSE_DATA", raising=False)
    return made


def write_batches(folder: Path, batches) -> Path:
    folder.mkdir(parents=True)
    for name, (content, _, _) in batches.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def tree(monkeypatch, tmp_path) -> Path:
    """An image folder with 2 training images and 1 test image per class."""
    monkeypatch.setattr(cifar10, "PER_CLASS", {"train": 2, "test": 1})
    monkeypatch.setattr(cifar10, "VALIDATION", 5)
    monkeypatch.delenv("ATTNCOURSE_DATA", raising=False)
    for part, count in cifar10.PER_CLASS.items():
        for label, name in enumerate(CLASSES):
            (tmp_path / part / name).mkdir(parents=True)
            for number in reversed(range(count)):
                shade = label * 20 + number * 5 + (3 if part == "test" else 0)
                image = Image.new("RGB", (32, 32), (shade, 7, 9))
                image.putpixel((3, 1), (0, 250, 0))  # x, y
                image.save(tmp_path / part / name / f"{number:04}.png")
    return tmp_path


@pytest.mark.parametrize("pickled", [old_pickle, new_pickle], ids=["as-published", "pickled-again"])
def test_a_batch_is_read_without_loading_the_pickle(pickled, monkeypatch):
    monkeypatch.setattr(pickle, "loads", None)
    monkeypatch.setattr(pickle, "Unpickler", None)
    pixels, labels = RNG.bytes(N * 3072), [9, 0, 255, 3]
    split = parse_batch(pickled(pixels, labels))
    assert split.images.shape == (N, 3, 32, 32)
    assert split.images.numpy().tobytes() == pixels
    assert split.labels.tolist() == labels
    assert split.labels.dtype == torch.int64


@pytest.mark.parametrize("below", ["cifar-10-batches-py", "cifar10/cifar-10-batches-py", "anything"])
def test_torchvisions_layout(batches, tmp_path, below):
    folder = write_batches(tmp_path / below, batches)
    data = load_cifar10(folder if below == "anything" else tmp_path)
    assert (data.name, data.order) == ("CIFAR-10", "torchvision: batches 1 to 5")
    assert (len(data.train), len(data.val), len(data.test)) == (5 * N - 5, 5, N)
    order = torch.randperm(5 * N, generator=torch.Generator().manual_seed(42))
    labels = torch.tensor([label for name in list(batches)[:5] for label in batches[name][2]])
    assert data.val.labels.tolist() == labels[order[:5]].tolist()
    assert data.train.labels.tolist() == labels[order[5:]].tolist()
    assert data.test.images.numpy().tobytes() == batches["test_batch"][1]


@pytest.mark.parametrize("below", [".", "cifar10"])
def test_an_image_folder(tree, tmp_path, below):
    root = tree
    if below != ".":
        root = tmp_path / "outer"
        root.mkdir()
        (root / below).symlink_to(tree)
    (tree / "train" / "cat" / ".DS_Store").write_bytes(b"left behind by a file manager")
    data = load_cifar10(root)
    assert (data.name, data.order) == ("CIFAR-10 (image folder)", "image folder: by class name, then file name")
    order = torch.randperm(20, generator=torch.Generator().manual_seed(42))
    shades = torch.tensor([label * 20 + number * 5 for label in range(10) for number in range(2)])
    assert data.val.images[:, 0, 0, 0].tolist() == shades[order[:5]].tolist()
    assert data.train.images[:, 0, 0, 0].tolist() == shades[order[5:]].tolist()
    assert data.train.images[0, :, 5, 5].tolist()[1:] == [7, 9]
    assert data.train.images[0, :, 1, 3].tolist() == [0, 250, 0]
    assert data.test.labels.tolist() == list(range(10))
    assert data.train.images.is_contiguous()


def test_the_order_of_places_root_then_variable_then_cache(tree, batches, tmp_path, monkeypatch):
    monkeypatch.setattr(cifar10, "download", lambda *_: pytest.fail("there was no need to download"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_batches(tmp_path / "cache" / "attncourse" / "cifar-10-batches-py", batches)
    assert load_cifar10().name == "CIFAR-10"
    monkeypatch.setenv("ATTNCOURSE_DATA", str(tree))
    assert load_cifar10().name == "CIFAR-10 (image folder)"
    assert load_cifar10(tmp_path / "cache" / "attncourse").name == "CIFAR-10"


def test_nothing_changes_the_global_generators(tree):
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    load_cifar10(tree)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]


def one_line(caught) -> None:
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("given", ["argument", "variable"])
def test_a_folder_without_cifar10(tmp_path, monkeypatch, given):
    monkeypatch.setenv("ATTNCOURSE_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match=r"no CIFAR-10 in .*nowhere: expected cifar-10-batches-py \(.* "
                                                r"give another folder .* or neither to have it downloaded") as caught:
        load_cifar10(tmp_path / "nowhere" if given == "argument" else None)
    one_line(caught)


@pytest.mark.parametrize(("damage", "message"), [
    (lambda folder: (folder / "data_batch_3").unlink(),
     "data_batch_3 is missing: CIFAR-10 is only half unpacked there; unpack the archive again"),
    (lambda folder: (folder / "data_batch_5").write_bytes((folder / "data_batch_5").read_bytes()[:-100]),
     r"data_batch_5 is damaged \(wrong checksum\): delete it and unpack the archive again"),
])
def test_damaged_batches(batches, tmp_path, damage, message):
    damage(write_batches(tmp_path / "cifar-10-batches-py", batches))
    with pytest.raises(ValueError, match=message) as caught:
        load_cifar10(tmp_path)
    one_line(caught)


def cut_in_half(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:60])


@pytest.mark.parametrize(("damage", "message"), [
    (lambda root: [file.unlink() for file in (root / "test" / "dog").iterdir()] and (root / "test" / "dog").rmdir(),
     "test/dog is missing: CIFAR-10 is only half unpacked there; unpack it again"),
    (lambda root: (root / "train" / "ship" / "0001.png").unlink(),
     "train/ship has 1 images where CIFAR-10 has 2: unpack it again"),
    (lambda root: cut_in_half(root / "train" / "frog" / "0000.png"),
     "frog/0000.png cannot be read as an image .* replace it or unpack CIFAR-10 again"),
    (lambda root: (root / "test" / "deer" / "0000.png").write_bytes(b"not an image"),
     "deer/0000.png cannot be read as an image"),
    (lambda root: Image.new("RGB", (64, 48)).save(root / "test" / "deer" / "0000.png"),
     "deer/0000.png is 64×48 pixels, not 32×32: this is not CIFAR-10"),
])
def test_a_damaged_image_folder(tree, damage, message):
    damage(tree)
    with pytest.raises(ValueError, match=message) as caught:
        load_cifar10(tree)
    one_line(caught)


@pytest.fixture
def archive(batches, monkeypatch, tmp_path):
    """Stands in for the download: puts a small archive into the cache folder, and counts."""
    calls = []

    def deliver(file, folder):
        calls.append(file.name)
        folder.mkdir(parents=True, exist_ok=True)
        with tarfile.open(folder / file.name, "w:gz") as tar:
            members = {f"cifar-10-batches-py/{name}": content for name, (content, _, _) in batches.items()}
            for name, content in (members | {"../escaped": b"an attack"}).items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
        return folder / file.name

    monkeypatch.setattr(cifar10, "download", deliver)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return namedtuple("Archive", "calls cache")(calls, tmp_path / "cache" / "attncourse")


def test_it_is_downloaded_once_and_only_the_batches_are_unpacked(archive, tmp_path):
    first = load_cifar10()
    assert load_cifar10().sha256 == first.sha256
    assert archive.calls == ["cifar-10-python.tar.gz"]
    assert [file.name for file in archive.cache.iterdir()] == ["cifar-10-batches-py"]
    assert sorted(os.listdir(archive.cache / "cifar-10-batches-py")) == sorted(BATCHES)
    assert not (archive.cache / "escaped").exists()
    assert not (tmp_path / "cache" / "escaped").exists()


def test_an_interrupted_unpacking_goes_on_at_the_next_call(archive, monkeypatch):
    real = cifar10.write_atomic

    def interrupted(path, content):
        if path.name == "data_batch_4":
            raise KeyboardInterrupt
        return real(path, content)

    monkeypatch.setattr(cifar10, "write_atomic", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load_cifar10()
    assert (archive.cache / "cifar-10-python.tar.gz").exists()
    monkeypatch.setattr(cifar10, "write_atomic", real)
    assert len(load_cifar10().train) == 5 * N - 5


def test_without_data_and_network_it_says_how_to_get_it(batches, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(cifar10, "ARCHIVE", cifar10.RemoteFile("a.tar.gz", ("http://127.0.0.1:9/a.tar.gz",), 9, "0"))
    with pytest.raises(ConnectionError, match=(
            r"could not download a.tar.gz: tried http://127.0.0.1:9/a.tar.gz \(Connection refused\)\. To use a copy .*"
            r"set ATTNCOURSE_DATA to a folder with .*run `python -m attncourse.datasets.cifar10` on a m")) as caught:
        load_cifar10()
    one_line(caught)
    assert cifar10.main() == 1
    assert capsys.readouterr().err.startswith("error: could not download")


def test_the_command_says_what_it_has(tree, monkeypatch, capsys):
    monkeypatch.setenv("ATTNCOURSE_DATA", str(tree))
    assert cifar10.main() == 0
    assert "CIFAR-10 (image folder): 15 training, 5 validation, 10 test images" in capsys.readouterr().out


def test_the_archive_is_the_authors():
    """Size and SHA-256 as Keras has them for its copy; the file sums are torchvision's."""
    from torchvision.datasets import CIFAR10
    assert dict(CIFAR10.train_list + CIFAR10.test_list) == BATCHES
    assert CIFAR10.filename == cifar10.ARCHIVE.name
    assert CIFAR10.url == cifar10.ARCHIVE.mirrors[-1]


@pytest.mark.skipif(not os.environ.get("ATTNCOURSE_DATA"), reason="needs CIFAR-10 in ATTNCOURSE_DATA")
def test_the_real_data_set():
    data = load_cifar10()
    assert (len(data.train), len(data.val), len(data.test)) == (45_000, 5_000, 10_000)
    assert torch.bincount(data.test.labels).tolist() == [1000] * 10
    pixels = data.train.images[:5000].float() / 255
    torch.testing.assert_close(pixels.mean((0, 2, 3)), torch.tensor(data.mean), atol=0.01, rtol=0)
    torch.testing.assert_close(pixels.std((0, 2, 3)), torch.tensor(data.std), atol=0.01, rtol=0)
