"""Where a captioner's maps come from: a pretrained network, frozen, whose maps are computed once and kept on the disk;
or, for scenes, a small CNN that is trained with the captioner."""

import hashlib
import sys
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from tqdm import tqdm

from attncourse.atomic import write_atomic
from attncourse.captioning.decoder import DEFAULT, Captioner, DecoderConfig
from attncourse.datasets.captions import CaptionSplit
from attncourse.pretrained import FixedStatistics, efficientnet_lite0

CHANNELS = (192, 320, 1280)  # of EfficientNet-Lite0 after its last but one block, its last block, and its last layer
SHARD = 500  # pictures per file of maps: what an interruption loses


def pretrained_parts(layers: int) -> list[nn.Module]:
    """EfficientNet-Lite0 cut behind each of its last ``layers`` attended layers, frozen: images (B, 3, 224, 224) from
    −1 to 1 through the first part give the map at the first attended layer, (B, C, 7, 7).

    Raises:
        ValueError: if layers is not from 1 to 3.
    """
    net = efficientnet_lite0().requires_grad_(False)
    parts = cut([[net._conv_stem, net._bn0, net._swish, *net._blocks[:15]], [net._blocks[15]],
                 [net._conv_head, net._bn1, net._swish]], layers)
    return [FixedStatistics(*part, norms=[module for layer in part for module in layer.modules()
                                          if isinstance(module, nn.BatchNorm2d)]) for part in parts]


def cut(parts: list[list[nn.Module]], layers: int) -> list[list[nn.Module]]:
    """Join the first parts, so that as many are left as layers are attended: the end of each part is one.

    Raises:
        ValueError: if there are not that many.
    """
    if not 1 <= layers <= len(parts):
        raise ValueError(f"layers must be from 1 to {len(parts)}, got {layers}")
    first = len(parts) - layers + 1
    return [[layer for part in parts[:first] for layer in part], *parts[first:]]


def photo_captioner(vocabulary: int, config: DecoderConfig = DEFAULT, layers: int = 1,
                    reduced: int = 256) -> Captioner:
    """A captioner for the maps of ``pretrained_parts(layers)[0]``; a 1 × 1 convolution reduces the last layer's C."""
    channels = [*CHANNELS[3 - layers:-1], reduced]
    between = pretrained_parts(layers)[1:]
    if not between:
        reduce = nn.Sequential(nn.Conv2d(CHANNELS[-1], reduced, 1, bias=False), nn.BatchNorm2d(reduced), nn.ReLU())
        return Captioner(reduce, channels, vocabulary, config)
    reduce = nn.Sequential(nn.Conv2d(CHANNELS[-1], reduced, 1), nn.ReLU())  # no BatchNorm behind an attended map
    return Captioner(nn.Identity(), channels, vocabulary, config, [*between[:-1], nn.Sequential(between[-1], reduce)])


def scene_captioner(vocabulary: int, config: DecoderConfig = DEFAULT, layers: int = 1) -> Captioner:
    """A captioner for scenes of 64 × 64 pixels, with four layers of convolution that are trained with it.

    The last ``layers`` of three maps, of 16 × 16, 8 × 8 and 8 × 8 positions, are attended. There is no BatchNorm behind
    an attended map: its statistics would be mixed from the maps of all words.
    """
    def convolution(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]

    parts = cut([[nn.BatchNorm2d(3, affine=False), *convolution(3, 16, 2), *convolution(16, 32, 2)],
                 convolution(32, 64, 2), convolution(64, 64, 1)], layers)
    between = [[layer for layer in part if not isinstance(layer, nn.BatchNorm2d)] for part in parts[1:]]
    return Captioner(nn.Sequential(*parts[0]), (32, 64, 64)[3 - layers:], vocabulary, config,
                     [nn.Sequential(*part) for part in between])


def captioner(data: str, vocabulary: int, config: DecoderConfig = DEFAULT, layers: int = 1) -> Captioner:
    """A captioner for "flickr8k" or "scenes" whose last ``layers`` maps are attended.

    Raises:
        ValueError: for other data.
    """
    makers = {"flickr8k": photo_captioner, "scenes": scene_captioner}
    if data not in makers:
        raise ValueError(f"there are captioners for {' and '.join(makers)}, got {data!r}")
    return makers[data](vocabulary, config, layers)


def cached_maps(folder: Path, split: CaptionSplit, layers: int = 1, progress: bool = True) -> Tensor:
    """The maps of a split's pictures at the first of ``layers`` attended layers, (N, C, 7, 7), half precision.

    They are computed where the folder does not hold them yet, and kept there, some hundred pictures a file.

    Raises:
        ValueError: if a picture or a file of maps cannot be read.
    """
    encoder = None
    shards = []
    starts = range(0, len(split), SHARD)
    for start in tqdm(starts, "maps", disable=not progress, file=sys.stdout, leave=False, delay=2):
        positions = range(start, min(start + SHARD, len(split)))
        path = folder / f"maps-{layers}-{fingerprint(split, positions)}.safetensors"
        if not path.exists():
            if encoder is None:
                encoder = pretrained_parts(layers)[0].eval().to(memory_format=torch.channels_last)
            write_atomic(path, save({"maps": encode(encoder, split, positions)}))
        try:
            shards.append(load_file(path)["maps"])
        except SafetensorError as error:
            raise ValueError(f"{path} is damaged ({error}): delete it, it will be computed again") from None
    return torch.cat(shards)


def fingerprint(split: CaptionSplit, positions: range) -> str:
    """What tells these pictures from others: their names, and the pixels of the first."""
    names = "\n".join(split.names[position] for position in positions)
    return hashlib.sha256(names.encode() + split.read(positions[:1]).numpy().tobytes()).hexdigest()[:16]


@torch.inference_mode()
def encode(encoder: nn.Module, split: CaptionSplit, positions: range, batch: int = 50) -> Tensor:
    """The maps of some pictures, half precision."""
    parts = [split.read(positions[start:start + batch]) for start in range(0, len(positions), batch)]
    return torch.cat([encoder(as_input(pictures)).half() for pictures in parts]).contiguous()


def as_input(pictures: Tensor) -> Tensor:
    """Pictures (B, 3, 224, 224), uint8, as the pretrained network wants them."""
    return pictures.to(memory_format=torch.channels_last).float() / 127.5 - 1
