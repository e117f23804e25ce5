"""Captioners on the disk."""

from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from attncourse.atomic import write_atomic
from attncourse.captioning.decoder import DecoderConfig, beam_search
from attncourse.captioning.encoder import captioner
from attncourse.captioning.storage import caption, load_captioner, packed
from attncourse.datasets import photos
from attncourse.datasets.captions import Vocabulary
from attncourse.datasets.photos import photo
from attncourse.results import load_study
from attncourse.training import seeded
from attncourse.weights import stored

VOCABULARY = Vocabulary(["a red dog"])
SMALL = DecoderConfig(width=4, state=6, embedding=5)
SCENES = torch.rand(5, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255


def about(data: str = "scenes", layers: int = 1) -> dict:
    return {"data": data, "layers": layers, "decoder": asdict(SMALL)}


def made(data: str = "scenes", layers: int = 1, n: int = len(VOCABULARY)):
    with seeded(0):
        return captioner(data, n, SMALL, layers).eval()


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("data", ["scenes", "flickr8k"])
def test_what_is_read_is_what_was_written(tmp_path, data, layers):
    model = made(data, layers)
    for name, value in model.state_dict().items():
        if name.endswith("running_mean") and not name.startswith("attended.between.0.0"):  # the frozen ones stay
            value.copy_(torch.rand(value.shape))
    content = packed(model, VOCABULARY, about(data, layers) | {"note": "first"})
    path = write_atomic(tmp_path / "one.safetensors", content)
    again, vocabulary, said = load_captioner(path)
    assert vocabulary.words == VOCABULARY.words
    assert vocabulary.encode("a red cat") == VOCABULARY.encode("a red cat")
    assert said["note"] == "first"
    assert not again.training
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


def test_half_the_size(tmp_path):
    model = made()
    path = write_atomic(tmp_path / "half.safetensors", packed(model, VOCABULARY, about(), torch.float16))
    assert load_file(path)["word.weight"].dtype == torch.float16
    assert load_file(path)["encoder.0.num_batches_tracked"].dtype == torch.int64
    again = load_captioner(path)[0]
    torch.testing.assert_close(again.word.weight, model.word.weight, rtol=1e-3, atol=1e-4)
    assert beam_search(again, SCENES) == beam_search(model, SCENES)


def test_the_pretrained_parts_are_not_stored(tmp_path):
    path = write_atomic(tmp_path / "two.safetensors", packed(made("flickr8k", 2), VOCABULARY, about("flickr8k", 2)))
    names = load_file(path)
    assert [name for name in names if name.startswith("attended.between.0.0")] == []
    assert "attended.between.0.1.0.weight" in names  # the 1 × 1 convolution, which is learned


def test_files_that_are_no_captioner(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="holds no captioner"):
        load_captioner(path)
    path.write_bytes(b"no weights")
    with pytest.raises(ValueError, match="cannot be read as weights"):
        load_captioner(path)
    with pytest.raises(FileNotFoundError):
        load_captioner(tmp_path / "nowhere.safetensors")


def test_a_captioner_of_another_vocabulary(tmp_path):
    path = write_atomic(tmp_path / "one.safetensors", packed(made(n=9), VOCABULARY, about()))
    with pytest.raises(ValueError, match="its weights do not fit its 6 words or its sizes") as error:
        load_captioner(path)
    assert "\n" not in str(error.value)


def test_weights_that_are_missing_or_too_many(tmp_path):
    model = made()
    model.extra = torch.nn.Linear(1, 1)
    del model.hidden.bias
    model.hidden.register_parameter("bias", None)
    path = write_atomic(tmp_path / "odd.safetensors", packed(model, VOCABULARY, about()))
    with pytest.raises(ValueError, match=r"lacks hidden\.bias and has extra\.bias, extra\.weight too much"):
        load_captioner(path)


@pytest.mark.parametrize("picture", [torch.zeros(3, 50, 60), torch.zeros(1, 3, 50, 60, dtype=torch.uint8),
                                     torch.zeros(50, 60, 3, dtype=torch.uint8)])
def test_pixels_of_another_kind(picture):
    with pytest.raises(ValueError, match=r"expected pixels \(3, H, W\), uint8, got \("):
        caption(picture)


# ---- one call -------------------------------------------------------------------------------------------------------


def test_a_captioner_for_scenes_does_not_caption_photographs(tmp_path):
    path = write_atomic(tmp_path / "one.safetensors", packed(made(), VOCABULARY, about()))
    with pytest.raises(ValueError, match="captions scenes, not photographs"):
        caption(torch.zeros(3, 50, 60, dtype=torch.uint8), weights=path)


@pytest.mark.parametrize("name", ["captioner-flickr8k", "captioner-scenes"])
def test_the_shipped_captioners_are_those_of_the_study(name):
    path = stored(name)
    _, vocabulary, said = load_captioner(path)
    study = load_study(f"captions-{said['data']}")
    (run,) = [run for run in study["runs"] if (run["variant"], run["seed"]) == ("C-S", 0)]
    assert said["test"] == run["test"]
    assert all(word in vocabulary.words for sentence in run["captions"].values() for word in sentence.split())


def test_a_photograph_is_captioned_in_one_call():
    pixels = photo("coffee")
    found = caption(pixels)
    assert found.words[-1] == "<end>"
    assert found.text == " ".join(found.words[:-1])
    assert found.spatial[0].shape == (len(found.words), 7, 7)
    assert found.channel[0].shape == (len(found.words), 256)
    torch.testing.assert_close(found.spatial[0].sum((1, 2)), torch.full((len(found.words),), 49.0))
    assert caption(pixels, beam=1).score <= found.score + 1e-6
    assert caption(Path(photos.__file__).parent / "photos" / "coffee.jpg").text != ""
