"""What a training run needs to go on after it was killed: one safetensors file, written after each epoch."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from attncourse.atomic import write_atomic


def save_checkpoint(path: Path, run: dict, model: nn.Module, best_weights: dict[str, Tensor], scaler: dict,
                    order: torch.Generator, progress: dict) -> None:
    """Store weights, the best weights so far, the random generators and the progress.

    Args:
        run: what identifies the run; a checkpoint of another one is refused.
        scaler: of mixed precision, as its state_dict. order: generator of the data order.
        progress: epochs and seconds so far; anything that JSON can hold.
    """
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in best_weights.items()}
    tensors |= {"random.order": order.get_state(), "random.cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    content = save({name: value.detach().cpu().contiguous() for name, value in tensors.items()},
                   {"run": json.dumps(run), "scaler": json.dumps(scaler), "progress": json.dumps(progress)})
    write_atomic(path, content)


def load_checkpoint(path: Path, run: dict, model: nn.Module, scaler: torch.amp.GradScaler,
                    order: torch.Generator) -> tuple[dict[str, Tensor], dict]:
    """Put everything back as it was after the last stored epoch. Returns the best weights and the progress.

    Raises:
        ValueError: if the file is damaged or belongs to another run.
    """
    try:
        with safe_open(path, "pt") as file:
            stored = {key: json.loads(value) for key, value in file.metadata().items()}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no dict
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error}): delete it to start the run again") from None
    if stored["run"] != json.loads(json.dumps(run)):
        raise ValueError(f"{path} belongs to another run: delete it to start this one")
    device = next(model.parameters()).device
    model.load_state_dict(part(tensors, "model."))
    scaler.load_state_dict(stored["scaler"])
    order.set_state(tensors["random.order"])
    torch.set_rng_state(tensors["random.cpu"])
    if "random.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["random.cuda"])
    return {name: value.to(device) for name, value in part(tensors, "best.").items()}, stored["progress"]


def part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
