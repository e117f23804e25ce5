"""What a training run needs to go on after it was killed: one safetensors file, written as it goes."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from attncourse.atomic import write_atomic


def save_checkpoint(path: Path, run: dict, model: nn.Module, best_weights: dict[str, Tensor], progress: dict,
                    optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler | None = None,
                    order: torch.Generator | None = None) -> None:
    """Store weights, the best weights so far, the optimizer's moments, the random generators and the progress.

    Args:
        run: what identifies the run; a checkpoint of another one is refused.
        progress: epochs and seconds so far; anything that JSON can hold.
        scaler: of mixed precision. order: generator of the data order.
    """
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in best_weights.items()}
    tensors |= {f"optimizer.{number}.{name}": value for number, moments in optimizer.state_dict()["state"].items()
                for name, value in moments.items()}
    tensors["random.cpu"] = torch.get_rng_state()
    if order is not None:
        tensors["random.order"] = order.get_state()
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    content = save({name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()},
                   {"run": json.dumps(run), "scaler": json.dumps(scaler.state_dict() if scaler else {}),
                    "progress": json.dumps(progress)})
    write_atomic(path, content)


def load_checkpoint(path: Path, run: dict, model: nn.Module, optimizer: torch.optim.Optimizer,
                    scaler: torch.amp.GradScaler | None = None,
                    order: torch.Generator | None = None) -> tuple[dict[str, Tensor], dict]:
    """Put everything back as it was when it was stored. Returns the best weights and the progress.

    Raises:
        ValueError: if the file is damaged or belongs to another run.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            stored = {key: json.loads(metadata[key]) for key in ("run", "scaler", "progress")}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no dict
    except (SafetensorError, KeyError) as error:
        raise ValueError(f"{path} is damaged ({error}): delete it to start the run again") from None
    wanted = json.loads(json.dumps(run))
    if stored["run"] != wanted:
        differ = sorted(key for key in {*stored["run"], *wanted} if stored["run"].get(key) != wanted.get(key))
        raise ValueError(f"{path} belongs to another run ({', '.join(differ)} differ): delete it to start this one")
    device = next(model.parameters()).device
    model.load_state_dict(part(tensors, "model."))
    state = {}
    for name, value in part(tensors, "optimizer.").items():
        number, key = name.split(".", 1)
        state.setdefault(int(number), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    if scaler is not None:
        scaler.load_state_dict(stored["scaler"])
    if order is not None:
        order.set_state(tensors["random.order"])
    torch.set_rng_state(tensors["random.cpu"])
    if "random.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["random.cuda"])
    return {name: value.to(device) for name, value in part(tensors, "best.").items()}, stored["progress"]


def part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
