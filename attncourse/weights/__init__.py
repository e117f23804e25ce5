"""Small trained weights that ship with the course: safetensors in half precision, each with the command that made it.

``index.json`` lists for each name its SHA-256, the run that it comes from and the command.
"""

import hashlib
import json
from pathlib import Path

import torch
from safetensors.torch import load, save
from torch import Tensor

from attncourse.atomic import write_atomic

FOLDER = Path(__file__).parent


def load_weights(name: str) -> dict[str, Tensor]:
    """Float32 tensors by parameter name, for ``model.load_state_dict(…, strict=False)``.

    Raises:
        ValueError: if no weights have that name, or the file is not the one that was stored.
    """
    content = stored(name).read_bytes()
    return {key: value.float() if value.is_floating_point() else value for key, value in load(content).items()}


def stored(name: str) -> Path:
    """The file of these weights, whose content is what the index says.

    Raises:
        ValueError: if no weights have that name, or the file is not the one that was stored.
    """
    index = json.loads((FOLDER / "index.json").read_text())
    if name not in index:
        raise ValueError(f"no weights {name!r}; there are {', '.join(sorted(index))}")
    path = FOLDER / f"{name}.safetensors"
    if hashlib.sha256(path.read_bytes()).hexdigest() != index[name]["sha256"]:
        raise ValueError(f"{name}.safetensors is damaged (wrong checksum): install the package again")
    return path


def enter(name: str, content: bytes, command: str, record: str) -> Path:
    """Write a file of weights and enter it into the index."""
    path = write_atomic(FOLDER / f"{name}.safetensors", content)
    index = json.loads((FOLDER / "index.json").read_text()) if (FOLDER / "index.json").exists() else {}
    index[name] = {"sha256": hashlib.sha256(content).hexdigest(), "command": command, "record": record}
    write_atomic(FOLDER / "index.json", json.dumps(index, indent=1, sort_keys=True) + "\n")
    return path


def store_weights(name: str, weights: dict[str, Tensor], command: str, record: str,
                  accuracy: float, recorded: float) -> Path:
    """Write weights in half precision and enter them into the index.

    Args:
        name, weights, command: go into the index; the classifier may be left out.
        record: the run that trained them.
        accuracy: what the whole network with these weights has on the test images, measured just now.
        recorded: what the record says.

    Raises:
        ValueError: if the two accuracies differ, or a weight does not fit into half precision.
    """
    if accuracy != recorded:
        raise ValueError(f"{name} is not stored: its network has a test accuracy of {accuracy:.2%}, its record "
                         f"{record} says {recorded:.2%}")
    halves = {key: value.half().contiguous() if value.is_floating_point() else value for key, value in weights.items()}
    if not all(torch.isfinite(value).all() for value in halves.values()):
        raise ValueError(f"{name}: a weight does not fit into half precision")
    return enter(name, save(halves), command, record)
