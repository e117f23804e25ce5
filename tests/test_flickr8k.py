"""Flickr8k: both layouts, the splits, and files that are not as they should be."""

import pytest
import torch
from PIL import Image

from attncourse.datasets.flickr8k import OFFICIAL, load_flickr8k

NAMES = [f"{number}.jpg" for number in range(16)]


def pictures(folder, names=NAMES):
    folder.mkdir(parents=True)
    for name in names:
        Image.new("RGB", (9, 7), (10 * int(name.partition(".")[0]), 0, 0)).save(folder / name, quality=100)


@pytest.fixture
def official(tmp_path):
    pictures(tmp_path / "Images")
    (tmp_path / "Flickr8k.token.txt").write_text(
        "".join(f"{name}#{k}\tSentence {k} of {name} .\n" for name in NAMES for k in range(5)))
    for file, names in zip(OFFICIAL.values(), (NAMES[5:], NAMES[:2][::-1], NAMES[2:5])):
        (tmp_path / file).write_text("\n".join(names) + "\n")
    return tmp_path


@pytest.fixture
def kaggle(tmp_path):
    pictures(tmp_path / "flickr8k" / "Images")
    (tmp_path / "flickr8k" / "captions.txt").write_text(
        "image,caption\n" + "".join(f'{name},"A ""dog"", number {k} ."\n' for name in NAMES for k in range(2)))
    return tmp_path


def test_the_official_layout_and_split(official, capsys):
    data = load_flickr8k(official, size=8)
    assert data.name == "Flickr8k, official split"
    assert data.train.names == tuple(NAMES[5:])
    assert data.val.names == ("1.jpg", "0.jpg")  # in the order of the list
    assert data.test.names == tuple(NAMES[2:5])
    assert data.val.captions[1] == tuple(f"Sentence {k} of 0.jpg ." for k in range(5))
    images = data.test.read([2, 0])
    assert images.shape == (2, 3, 8, 8)
    assert images.dtype == torch.uint8
    assert images[:, 0].float().mean((1, 2)).tolist() == pytest.approx([40, 20], abs=2)
    assert capsys.readouterr().out == ""


def test_rows_stay_rows(official):
    picture = Image.new("RGB", (9, 7))
    picture.paste((200, 0, 0), (0, 0, 9, 3))  # the upper part
    picture.save(official / "Images" / "2.jpg", quality=100)
    image = load_flickr8k(official, size=8).test.read([0])[0]
    assert image[0, 0].min() > 150 > 50 > image[0, -1].max()


def test_the_kaggle_layout_and_a_random_split(kaggle):
    data, again, other = (load_flickr8k(kaggle, seed=seed) for seed in (None, 0, 1))
    assert data.name == "Flickr8k, random split with seed 0"
    assert [len(split) for split in (data.train, data.val, data.test)] == [12, 2, 2]
    assert sorted(data.train.names + data.val.names + data.test.names) == sorted(NAMES)
    assert data.train.names == again.train.names != other.train.names
    assert data.train.captions[0] == ('A "dog", number 0 .', 'A "dog", number 1 .')


def test_commas_without_quotes(kaggle):
    (kaggle / "flickr8k" / "captions.txt").write_text(
        "image,caption\n" + "".join(f"{name},A dog, unquoted .\n" for name in NAMES))
    assert load_flickr8k(kaggle).val.captions[0] == ("A dog, unquoted .",)


def test_a_seed_asks_for_a_random_split_of_the_official_layout(official):
    assert load_flickr8k(official, seed=3).name == "Flickr8k, random split with seed 3"


def test_where_the_environment_says(official, monkeypatch):
    monkeypatch.setenv("ATTNCOURSE_DATA", str(official))
    assert len(load_flickr8k().train) == 11


def test_captions_without_photograph_or_word_are_left_out_and_said(official, capsys):
    (official / "Images" / "7.jpg").unlink()
    with (official / "Flickr8k.token.txt").open("a") as file:
        file.write("8.jpg#5\t . \nghost.jpg.1#0\tA ghost .\n")
    data = load_flickr8k(official)
    assert "7.jpg" not in data.train.names
    assert len(data.train) == 10
    assert len(data.train.captions[data.train.names.index("8.jpg")]) == 5
    assert capsys.readouterr().out == ("Left out the captions of 7.jpg, ghost.jpg.1: no such photograph in Images\n"
                                       "Left out 1 captions without a word\n")


def test_many_absent_photographs_are_counted(official, capsys):
    for number in range(8):
        (official / "Images" / f"{number}.jpg").unlink()
    load_flickr8k(official)
    assert "of 0.jpg, 1.jpg, 2.jpg, 3.jpg, 4.jpg and 3 more" in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"no image", None])
def test_a_damaged_photograph_is_named(official, content):
    file = official / "Images" / "3.jpg"
    file.write_bytes(file.read_bytes()[:200] if content is None else content)
    data = load_flickr8k(official)
    data.test.read([0, 2])  # the others can be read
    with pytest.raises(ValueError, match=r"3\.jpg cannot be read as an image \(.*\): replace it"):
        data.test.read([1])


@pytest.mark.parametrize(("file", "text", "message"), [
    ("Flickr8k.token.txt", "1.jpg#0\tA dog .\nno tab\n", r"line 2 of .*Flickr8k\.token\.txt is no photograph"),
    ("Flickr8k.token.txt", "1.jpg#0\tA dog .\n", "has 1 photographs with a caption, at least 8"),
])
def test_bad_captions(official, file, text, message):
    (official / file).write_text(text)
    with pytest.raises(ValueError, match=message):
        load_flickr8k(official)


def test_a_bad_line_in_the_kaggle_layout(kaggle):
    (kaggle / "flickr8k" / "captions.txt").write_text("image,caption\nA dog without a photograph\n")
    with pytest.raises(ValueError, match=r"line 2 of .*captions\.txt"):
        load_flickr8k(kaggle)


@pytest.mark.parametrize("layout", ["nothing", "captions only"])
def test_no_flickr8k(tmp_path, layout):
    if layout == "captions only":
        (tmp_path / "captions.txt").write_text("image,caption\n")
    with pytest.raises(FileNotFoundError, match=r"no Flickr8k in .*: expected Flickr8k\.token\.txt"):
        load_flickr8k(tmp_path)


def test_no_folder_at_all(monkeypatch):
    monkeypatch.delenv("ATTNCOURSE_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="Set ATTNCOURSE_DATA"):
        load_flickr8k()
