"""Captioners on the disk, and the one call that captions a photograph."""

import json
from functools import lru_cache
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional as F

from attncourse.captioning.decoder import Caption, Captioner, DecoderConfig, beam_search, read_along
from attncourse.captioning.encoder import as_input, captioner, pretrained_parts
from attncourse.datasets.captions import Vocabulary
from attncourse.datasets.flickr8k import read_picture
from attncourse.pretrained import SIDE
from attncourse.weights import stored

SHIPPED = "captioner-flickr8k"  # among the course's weights


def packed(model: Captioner, vocabulary: Vocabulary, about: dict, dtype: torch.dtype = torch.float32) -> bytes:
    """What was learned, the words, and what the captioner is, as the content of one file.

    Args:
        about: "data", "layers" and "decoder", a DecoderConfig as a dictionary; and anything else that JSON can hold.
    """
    skipped = frozen_prefixes(model)
    tensors = {name: value.to(dtype if value.is_floating_point() else value.dtype).contiguous()
               for name, value in model.state_dict().items() if not name.startswith(skipped)}
    return save(tensors, {"captioner": json.dumps(about | {"words": vocabulary.words})})


def load_captioner(path: Path | None = None) -> tuple[Captioner, Vocabulary, dict]:
    """A captioner in eval mode, its vocabulary, and what was said about it.

    Args:
        path: of a file with packed content; without it, the captioner for photographs that ships with the course.

    Raises:
        ValueError: if the file is none of a captioner, or damaged.
    """
    path = path or stored(SHIPPED)
    try:
        with safe_open(path, "pt") as file:
            said = (file.metadata() or {}).get("captioner")
            weights = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118  it is no dict
    except SafetensorError as error:
        raise ValueError(f"{path} cannot be read as weights ({error})") from None
    if said is None:
        raise ValueError(f"{path} holds no captioner")
    about = json.loads(said)
    vocabulary = Vocabulary.of(about["words"])
    model = captioner(about["data"], len(vocabulary), DecoderConfig(**about["decoder"]), about["layers"]).eval()
    try:
        missing, unexpected = model.load_state_dict(weights, strict=False)
    except RuntimeError:
        raise ValueError(f"{path}: its weights do not fit its {len(vocabulary)} words or its sizes") from None
    absent = [name for name in missing if not name.startswith(frozen_prefixes(model))]
    if absent or unexpected:
        lacks, has = (", ".join(sorted(names)) or "nothing" for names in (absent, unexpected))
        raise ValueError(f"{path} lacks {lacks} and has {has} too much")
    return model, vocabulary, about


def frozen_prefixes(model: Captioner) -> tuple[str, ...]:
    """The beginnings of the names of those parts that the captioner does not learn, as str.startswith takes them."""
    def frozen(module: torch.nn.Module) -> bool:
        parameters = list(module.parameters())
        return bool(parameters) and not any(parameter.requires_grad for parameter in parameters)

    return tuple(f"{name}." for name, module in model.named_modules() if frozen(module))


def caption(picture: Tensor | Path | str, beam: int = 3, weights: Path | None = None) -> Caption:
    """Caption a photograph.

    Args:
        picture: a file, or the pixels (3, H, W), uint8. It is squeezed to a square.
        beam: of the beam search.
        weights: of another captioner than the one that ships with the course.

    Raises:
        ValueError: if the picture cannot be read or has another shape or dtype, or the captioner is not one for
            photographs.
    """
    weights = weights or stored(SHIPPED)
    trunk, model, vocabulary = photographer(weights, weights.stat().st_mtime_ns)
    if isinstance(picture, Tensor):
        if picture.dtype != torch.uint8 or picture.ndim != 3 or len(picture) != 3:
            raise ValueError(f"expected pixels (3, H, W), uint8, got {tuple(picture.shape)}, {picture.dtype}")
        picture = F.interpolate(picture[None].float(), (SIDE, SIDE), mode="bicubic", antialias=True)[0]
        picture = picture.round().clamp(0, 255).byte()
    else:
        picture = read_picture(Path(picture), SIDE)
    with torch.inference_mode():
        maps = trunk(as_input(picture[None]))
    return read_along(model, maps, beam_search(model, maps, beam)[0], vocabulary)


@lru_cache(1)
def photographer(weights: Path, written: int) -> tuple[torch.nn.Module, Captioner, Vocabulary]:
    """What captions photographs: the pretrained network, the captioner, its words. They are kept for the next call,
    unless the file has been written again.
    """
    model, vocabulary, about = load_captioner(weights)
    if about["data"] != "flickr8k":
        raise ValueError(f"{weights} captions {about['data']}, not photographs")
    return pretrained_parts(about["layers"])[0].eval(), model, vocabulary
