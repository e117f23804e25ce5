"""The maps that a captioner looks at: EfficientNet-Lite0 cut into parts, and what is kept of it on the disk."""

import pytest
import torch
from torch import nn

from attncourse.captioning import encoder
from attncourse.captioning.decoder import DecoderConfig
from attncourse.captioning.encoder import CHANNELS, as_input, cached_maps, captioner, cut, pretrained_parts
from attncourse.datasets.captions import CaptionSplit
from attncourse.pretrained import efficientnet_lite0

PHOTOS = torch.randint(0, 256, (7, 3, 224, 224), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def split(n: int = 7, first: int = 0) -> CaptionSplit:
    return CaptionSplit(tuple(f"{first + i}.jpg" for i in range(n)), (("a",),) * n, lambda chosen: PHOTOS[list(chosen)])


@pytest.fixture(scope="module")
def features():
    with torch.inference_mode():
        return efficientnet_lite0().extract_features(as_input(PHOTOS[:2]))


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_parts_together_are_the_network(layers, features):
    parts = pretrained_parts(layers)
    assert len(parts) == layers
    x = as_input(PHOTOS[:2])
    for part, channels in zip(parts, CHANNELS[3 - layers:]):
        with torch.inference_mode():
            x = part.train()(x)  # frozen: training mode changes nothing
        assert x.shape == (2, channels, 7, 7)
        assert not any(p.requires_grad for p in part.parameters())
    torch.testing.assert_close(x, features, rtol=1e-4, atol=1e-4)


def test_pictures_as_the_network_wants_them():
    x = as_input(torch.tensor([0, 255, 51], dtype=torch.uint8).view(3, 1, 1, 1))
    torch.testing.assert_close(x.flatten(), torch.tensor([-1, 1, -0.6]))


@pytest.mark.parametrize("layers", [0, 4])
def test_more_layers_than_there_are(layers):
    with pytest.raises(ValueError, match=f"layers must be from 1 to 3, got {layers}"):
        cut([[], [], []], layers)


@pytest.mark.parametrize("data", ["flickr8k", "scenes"])
@pytest.mark.parametrize("layers", [2, 3])
def test_no_statistics_are_mixed_from_the_maps_of_many_words(data, layers):
    """Behind an attended map a BatchNorm would see another map at every word."""
    model = captioner(data, 9, layers=layers).train()
    assert not any(isinstance(module, nn.BatchNorm2d) and module.training
                   for part in model.attended.between for module in part.modules())


@pytest.mark.parametrize(("data", "inputs", "positions"), [
    ("flickr8k", None, [49] * 3), ("scenes", (3, 64, 64), [256, 64, 64])])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_captioners(data, inputs, positions, layers):
    inputs = inputs or (CHANNELS[3 - layers], 7, 7)
    model = captioner(data, 9, DecoderConfig(width=4, state=6, embedding=5), layers).eval()
    x, h, c = model.start(torch.randn(2, *inputs))
    weights = model.step(x, h, c, model.embed(torch.tensor([1, 1])))[2]
    assert [each["spatial"].flatten(1).shape for each in weights] == [(2, m) for m in positions[3 - layers:]]
    assert model(torch.randn(2, *inputs), torch.tensor([[1, 3], [1, 4]])).shape == (2, 2, 9)


def test_a_captioner_of_other_data():
    with pytest.raises(ValueError, match="there are captioners for flickr8k and scenes, got 'coco'"):
        captioner("coco", 9)


class Counted(nn.Module):
    """A small encoder that counts the pictures that go through it."""

    def __init__(self):
        super().__init__()
        self.seen = 0

    def forward(self, x):
        self.seen += len(x)
        return x[:, :, :7, :7]


@pytest.fixture
def counted(monkeypatch):
    small = Counted()
    monkeypatch.setattr(encoder, "pretrained_parts", lambda layers: [small])
    monkeypatch.setattr(encoder, "SHARD", 3)
    return small


def test_maps_are_computed_once(counted, tmp_path):
    first = cached_maps(tmp_path, split(), progress=False)
    assert counted.seen == 7
    assert first.shape == (7, 3, 7, 7)
    assert first.dtype == torch.float16
    torch.testing.assert_close(first.float(), as_input(PHOTOS)[:, :, :7, :7], rtol=1e-3, atol=1e-3)
    assert torch.equal(cached_maps(tmp_path, split(), progress=False), first)
    assert counted.seen == 7


def test_other_pictures_and_other_layers_have_their_own_maps(counted, tmp_path):
    cached_maps(tmp_path, split(), progress=False)
    cached_maps(tmp_path, split(first=1), progress=False)
    assert counted.seen == 14
    cached_maps(tmp_path, split(), 2, progress=False)
    assert counted.seen == 21


def test_other_pixels_under_the_same_names_have_their_own_maps(counted, tmp_path):
    cached_maps(tmp_path, split(), progress=False)
    darker = CaptionSplit(split().names, split().captions, lambda chosen: PHOTOS[list(chosen)] // 2)
    found = cached_maps(tmp_path, darker, progress=False)
    assert counted.seen == 14
    torch.testing.assert_close(found.float(), as_input(PHOTOS // 2)[:, :, :7, :7], rtol=1e-3, atol=1e-3)


def test_an_interruption_keeps_the_finished_files(counted, tmp_path):
    def read(chosen):
        if 3 in chosen:
            raise KeyboardInterrupt
        return PHOTOS[list(chosen)]

    stopped = CaptionSplit(split().names, split().captions, read)
    with pytest.raises(KeyboardInterrupt):
        cached_maps(tmp_path, stopped, progress=False)
    assert len(list(tmp_path.iterdir())) == 1
    assert torch.equal(cached_maps(tmp_path, split(), progress=False)[0], as_input(PHOTOS)[0, :, :7, :7].half())
    assert counted.seen == 7


def test_a_damaged_file_of_maps_is_named(counted, tmp_path):
    cached_maps(tmp_path, split(), progress=False)
    file = sorted(tmp_path.iterdir())[0]
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(ValueError, match=f"{file.name} is damaged .*: delete it, it will be computed again"):
        cached_maps(tmp_path, split(), progress=False)
