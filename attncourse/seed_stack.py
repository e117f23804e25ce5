"""Train one network with many seeds side by side: K runs of the protocol of ``train()`` in one loop on one device.

A step of a small network starts so many small computations that a GPU waits for them more than it computes. Here the
weights of K networks are stacked, and each computation does K seeds' work. The loss is the sum of the seeds' losses:
no weight of one seed has an influence on another seed's loss, so each seed gets the gradient that it gets alone, and
SGD without momentum treats each weight for itself.

Seed by seed it is the same run as ``train()`` makes, but for rounding and for the masks of dropout, which come from one
generator for all seeds. Under vmap a convolution with K sets of weights becomes one with K groups, which is not always
faster than K convolutions (jax #26568); `make bench PARTS=seeds` measures it.
"""

import copy
import math
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from tqdm import tqdm

from attncourse.checkpoint import load_checkpoint, part, save_checkpoint
from attncourse.datasets.images import ImageData
from attncourse.training import (
    Evaluation,
    Normalise,
    TrainConfig,
    TrainRecord,
    compute_dtype,
    crop_and_mirror,
    device_name,
    evaluate,
    record_of,
    seeded,
)

PROC, CONTROL_GROUPS = Path("/proc"), Path("/sys/fs/cgroup")  # where Linux tells how much memory is free


class SeedStack(nn.Module):
    """K networks of one architecture as one module.

    Every parameter and buffer of ``network`` has the seeds as its first axis; model_of(i) takes one seed out.
    Dropout draws another mask for each seed, from the global generator.

    Args:
        models: the K networks, all in the same mode (training or eval); they are copied.

    Shapes:
        input (K, B, 3, H, W), output (K, B, classes): seed i sees batch i.

    Raises:
        ValueError: if there is no model, the models are not built alike, or the input is not for K seeds.
    """

    def __init__(self, models: Sequence[nn.Module]):
        super().__init__()
        check_built_alike(models)
        self.seeds = len(models)
        parameters, buffers = stack_module_state(list(models))
        self.network = with_tensors(models[0], {name: nn.Parameter(p) for name, p in parameters.items()} | buffers)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 5 or len(x) != self.seeds:
            raise ValueError(f"expected images (K, B, 3, H, W) for K = {self.seeds} seeds, got {tuple(x.shape)}")

        def one_seed(tensors: dict[str, Tensor], x: Tensor) -> Tensor:  # (B, 3, H, W) -> (B, classes)
            return functional_call(self.network, tensors, (x,))

        with AutocastUnderVmap(x.device.type):
            return vmap(one_seed, randomness="different")(named_tensors(self.network), x)

    def model_of(self, i: int) -> nn.Module:
        """A copy of network number i, alone."""
        alone = {name: value[i].detach().clone() for name, value in named_tensors(self.network).items()}
        parameters = {name: nn.Parameter(alone[name]) for name, _ in self.network.named_parameters()}
        return with_tensors(self.network, alone | parameters)


class AutocastUnderVmap(TorchFunctionMode):
    """Does inside ``torch.autocast`` what vmap keeps it from doing.

    Under vmap on a CPU, autocast passes convolutions by without a word, and they would be computed in float32. Here
    their inputs are cast before vmap sees them. BatchNorm gets float32 and gives back the dtype of its input.
    """

    LOW_PRECISION = (F.conv1d, F.conv2d, F.conv_transpose2d, F.linear)  # all that the course's networks use

    def __init__(self, device_type: str):
        super().__init__()
        self.dtype = torch.get_autocast_dtype(device_type) if torch.is_autocast_enabled(device_type) else None

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if self.dtype is not None and function in self.LOW_PRECISION:
            args = [arg.to(self.dtype) if isinstance(arg, Tensor) else arg for arg in args]
        if self.dtype is not None and function is F.batch_norm:
            return function(args[0].float(), *args[1:], **(kwargs or {})).to(args[0].dtype)
        return function(*args, **(kwargs or {}))


def named_tensors(network: nn.Module) -> dict[str, Tensor]:
    """The network's parameters and buffers by name."""
    return dict(network.named_parameters()) | dict(network.named_buffers())


def with_tensors(network: nn.Module, tensors: dict[str, Tensor]) -> nn.Module:
    """A copy of the network that holds these tensors where the network has its own of the same names."""
    return copy.deepcopy(network, {id(own): tensors[name] for name, own in named_tensors(network).items()})


def check_built_alike(models: Sequence[nn.Module]) -> None:
    """Raise a ValueError that names the first difference, unless the models differ in nothing but values."""
    if not models:
        raise ValueError("there is nothing to stack: give at least one model")
    first = named_tensors(models[0])
    for number, model in enumerate(models[1:], 1):
        other = named_tensors(model)
        if odd := sorted(first.keys() ^ other.keys()):
            raise ValueError(f"models 0 and {number} are built differently: only one of them has {odd[0]}")
        for name, value in first.items():
            mine, its = ((tuple(tensor.shape), tensor.dtype, tensor.device) for tensor in (value, other[name]))
            if mine != its:
                raise ValueError(f"models 0 and {number} cannot be stacked: {name} is {mine} and {its}")
        if repr(models[0]) != repr(model):
            raise ValueError(f"models 0 and {number} are built differently: compare what print() says of them")
        if models[0].training != model.training:
            raise ValueError(f"models 0 and {number} differ in their mode: call train() or eval() on both")


@dataclass
class SeedRun:
    """What one seed has to show so far."""

    seed: int
    epochs: list[dict] = field(default_factory=list)  # as in TrainRecord
    best: int | None = None  # index of the epoch with the best validation accuracy
    diverged: bool = False  # the loss of the epoch after these was not finite

    def end_epoch(self, trained: tuple[float, float], validated: Evaluation, seconds: float) -> bool:
        """Take down the losses and accuracies of an epoch. True if it is the best so far."""
        self.epochs.append({"train_loss": trained[0], "train_accuracy": trained[1], "val_loss": validated.loss,
                            "val_accuracy": validated.accuracy, "val_classes": validated.classes, "seconds": seconds})
        if self.best is not None and validated.accuracy <= self.epochs[self.best]["val_accuracy"]:
            return False
        self.best = len(self.epochs) - 1
        return True


class SeedsDiverged(FloatingPointError):
    """The loss of some seeds is no longer finite.

    Attributes:
        seeds: those seeds.
        records, weights: of the others, in the order in which they were given; they were trained on.
    """

    def __init__(self, runs: Sequence[SeedRun], config: TrainConfig, records: list[TrainRecord],
                 weights: list[dict[str, Tensor]]):
        self.seeds = [run.seed for run in runs if run.diverged]
        self.records, self.weights = records, weights
        when = ", ".join(f"seed {run.seed} in epoch {len(run.epochs) + 1}" for run in runs if run.diverged)
        super().__init__(f"the training loss is no longer finite for {when}: try a smaller lr than {config.lr} "
                         f"(the other {len(records)} of {len(runs)} seeds are not affected)")


def train_seeds(make: Callable[[], nn.Module], data: ImageData, config: TrainConfig, seeds: Sequence[int], *,
                network: str = "network", column: str = "own run", command: str = "train_seeds() in a notebook",
                progress: bool = True, checkpoint: Path | None = None, after_epoch: Callable[[], object] = lambda: None
                ) -> tuple[list[TrainRecord], list[dict[str, Tensor]]]:
    """Train one network with each of the seeds, side by side, by the protocol of ``train()``.

    Each seed has its own weights, data order, augmentation, best validation epoch and test. Interrupting it (Ctrl-C)
    keeps the finished epochs. A seed whose loss is no longer finite does not stop the others: they are trained to the
    end, and then the error is raised, with their results in it.

    Args:
        make: builds the network on the device where it is to be trained; called under ``seeded(seed)`` for each seed.
        data, network, column, command, progress, after_epoch: as in ``train()``.
        config: what to do; each seed takes the place of ``config.seed``.
        seeds: all different.
        checkpoint: as in ``train()``; it belongs to these seeds in this order.

    Returns:
        the records and the best weights, both in the order of the seeds. The seconds in a record are a seed's share:
        the time of all seeds divided by their number.

    Raises:
        ValueError: if there is no seed, a seed is there twice, there are fewer training images than one batch, the
            seeds need more memory than is free, or the checkpoint belongs to another run.
        SeedsDiverged: a FloatingPointError, if the loss of a seed is no longer finite.
        KeyboardInterrupt: if it was interrupted before the first epoch was finished.
    """
    check_seeds(seeds)
    if len(data.train) < config.batch_size:
        raise ValueError(f"{len(data.train)} training images do not fill a batch of {config.batch_size}: "
                         "use more images or a smaller batch_size")
    start = time.perf_counter()
    first = built(make, seeds[0])
    device = next(first.parameters()).device
    dtype = compute_dtype(device) if config.dtype == "auto" else getattr(torch, config.dtype)
    train_split, val, test = (split.to(device) for split in (data.train, data.val, data.test))
    normalise = Normalise(data.mean, data.std, device)
    check_memory(first, normalise(train_split.images[:config.batch_size]), len(seeds))
    stack = SeedStack([first, *(built(make, seed) for seed in seeds[1:])])
    optimizer = torch.optim.SGD(stack.parameters(), lr=config.lr)
    scaler = SeedScaler(len(seeds), device) if dtype == torch.float16 else None
    orders, runs, best, seconds_before = SeedOrders(seeds), [SeedRun(seed) for seed in seeds], {}, 0.0
    identity = {"network": network, "dataset": data.sha256, "config": asdict(replace(config, seed=seeds[0])),
                "seeds": list(seeds), "device": device_name(device), "dtype": str(dtype)}
    with seeded(seeds[0]):  # dropout of all seeds
        if checkpoint is not None and checkpoint.exists():
            weights, stored = load_checkpoint(checkpoint, identity, stack, optimizer, scaler, orders)
            runs, seconds_before = [SeedRun(**run) for run in stored["runs"]], stored["seconds"]
            best = {seed: part(weights, f"{seed}.") for seed in seeds}
        try:
            for number in range(max(len(run.epochs) for run in runs) + 1, config.epochs + 1):
                epoch_start = time.perf_counter()
                trained = train_epoch_of_seeds(stack, train_split, normalise, optimizer, scaler, config, orders, dtype,
                                               f"epoch {number}/{config.epochs}" if progress else None)
                seconds = (time.perf_counter() - epoch_start) / len(seeds)
                for run, (loss, _) in zip(runs, trained):
                    run.diverged = run.diverged or not math.isfinite(loss)
                going = [i for i, run in enumerate(runs) if not run.diverged]
                validated = [evaluate(stack.model_of(i), val, normalise, dtype) for i in going]
                for i, result in zip(going, validated):
                    if runs[i].end_epoch(trained[i], result, seconds):
                        best[seeds[i]] = stack.model_of(i).state_dict()
                if not going:
                    break
                if checkpoint is not None:
                    weights = {f"{seed}.{name}": value for seed in best for name, value in best[seed].items()}
                    so_far = {"runs": [asdict(run) for run in runs],
                              "seconds": seconds_before + time.perf_counter() - start}
                    save_checkpoint(checkpoint, identity, stack, weights, so_far, optimizer, scaler, orders)
                if progress:
                    print(f"epoch {number}/{config.epochs}: {progress_of(runs)}")
                after_epoch()
        except KeyboardInterrupt:
            if not all(run.epochs or run.diverged for run in runs):
                raise
            print("Interrupted: kept the finished epochs.")
    model, whole, tested = stack.model_of(0), [run for run in runs if not run.diverged], []
    for run in whole:
        model.load_state_dict(best[run.seed])
        tested.append(evaluate(model, test, normalise, dtype))
    seconds = (seconds_before + time.perf_counter() - start) / len(seeds)
    records = [record_of(model, data, replace(config, seed=run.seed), run.epochs, run.best, result, network=network,
                         column=column, command=command, dtype=dtype, seconds=seconds)
               for run, result in zip(whole, tested)]
    weights = [best[run.seed] for run in whole]
    if len(whole) < len(runs):
        raise SeedsDiverged(runs, config, records, weights)
    return records, weights


def train_epoch_of_seeds(stack, split, normalise, optimizer, scaler, config, orders, dtype,
                         title) -> list[tuple[float, float]]:
    """``train_epoch()`` for K seeds: one pass over the split, for each seed in its own new random order.

    Returns the mean loss and the accuracy of each seed over the images that it saw.
    """
    stack.train()
    device, K = split.images.device, stack.seeds
    batches = orders.permutations(len(split)).to(device).split(config.batch_size, 1)  # of (K, B)
    batches = batches[:len(split) // config.batch_size]  # drop the last, smaller batch
    total_loss, correct = torch.zeros(K, device=device), torch.zeros(K, device=device)
    bar = tqdm(batches, desc=title, disable=title is None, file=sys.stdout, leave=False, mininterval=0.5, delay=10)
    for index in bar:
        x, y = split.images[index], split.labels[index]  # (K, B, 3, H, W), (K, B)
        if config.augment:
            x = orders.crop_and_mirror(x)
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            logits = stack(normalise(x.flatten(0, 1)).unflatten(0, index.shape))  # (K, B, classes)
        losses = F.cross_entropy(logits.float().flatten(0, 1), y.flatten(), reduction="none")
        losses = losses.view(index.shape).mean(1)  # (K,): each seed's own
        optimizer.zero_grad()
        if scaler is None:
            losses.sum().backward()
        else:
            (losses * scaler.scale).sum().backward()
            scaler.unscale([p.grad for p in stack.parameters() if p.grad is not None])
        optimizer.step()
        total_loss += losses.detach()
        correct += (logits.argmax(2) == y).sum(1)
    mean_loss, accuracy = total_loss / len(batches), correct / (len(batches) * config.batch_size)
    return list(zip(mean_loss.tolist(), accuracy.tolist()))


class SeedOrders:
    """One generator of data order and augmentation a seed. Stored and restored like one ``torch.Generator``."""

    def __init__(self, seeds: Sequence[int]):
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def permutations(self, n: int) -> Tensor:
        """A new order of n things for each seed, (K, n)."""
        return torch.stack([torch.randperm(n, generator=generator) for generator in self.generators])

    def crop_and_mirror(self, x: Tensor) -> Tensor:
        """Augment the images (K, B, C, H, W) of each seed with its own generator."""
        return torch.stack([crop_and_mirror(images, generator) for images, generator in zip(x, self.generators)])

    def get_state(self) -> Tensor:
        return torch.stack([generator.get_state() for generator in self.generators])

    def set_state(self, states: Tensor) -> None:
        for generator, state in zip(self.generators, states):
            generator.set_state(state.clone())  # it cannot take a row of a larger tensor


class SeedScaler:
    """``torch.amp.GradScaler`` with a scale for each seed: one seed's overflow in float16 must not stop the others.

    A seed whose gradients are not finite gets zeros, so that it stays where it is, and half its scale; after 2,000
    finite steps in a row its scale doubles.
    """

    def __init__(self, seeds: int, device: torch.device):
        self.scale = torch.full((seeds,), 2.0 ** 16, device=device)
        self.finite_steps = torch.zeros(seeds, device=device)

    def unscale(self, gradients: Sequence[Tensor]) -> None:
        """Divide the gradients (K, …) of a scaled loss by the scales, in place, and adapt the scales."""
        finite = torch.stack([gradient.flatten(1).isfinite().all(1) for gradient in gradients]).all(0)  # (K,)
        for gradient in gradients:
            one_per_seed = (-1, *[1] * (gradient.ndim - 1))
            gradient.div_(self.scale.view(one_per_seed)).masked_fill_(~finite.view(one_per_seed), 0)
        self.finite_steps = torch.where(finite, self.finite_steps + 1, 0)
        grows = self.finite_steps == 2000
        self.scale = torch.where(finite, torch.where(grows, 2 * self.scale, self.scale), self.scale / 2)
        self.finite_steps = torch.where(grows, 0, self.finite_steps)

    def state_dict(self) -> dict[str, list[float]]:
        return {"scale": self.scale.tolist(), "finite_steps": self.finite_steps.tolist()}

    def load_state_dict(self, state: dict[str, list[float]]) -> None:
        self.scale = self.scale.new_tensor(state["scale"])
        self.finite_steps = self.scale.new_tensor(state["finite_steps"])


def built(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    """The network of one seed."""
    with seeded(seed):
        return make()


def check_seeds(seeds: Sequence[int]) -> None:
    """Raise a ValueError unless there is a seed and none is there twice."""
    if not seeds:
        raise ValueError("there is nothing to train: give at least one seed")
    twice = sorted({seed for seed in seeds if list(seeds).count(seed) > 1})
    if twice:
        raise ValueError(f"seed {twice[0]} is there more than once: its runs would be the same run")


def progress_of(runs: Sequence[SeedRun]) -> str:
    """The last epoch of all seeds in a line: "train 61.0% to 63.2%, validation 58.1% to 60.0%, 4 seeds"."""
    last = [run.epochs[-1] for run in runs if not run.diverged]
    spans = [f"{name} {min(values):.1%} to {max(values):.1%}" for name, values in
             (("train", [epoch["train_accuracy"] for epoch in last]),
              ("validation", [epoch["val_accuracy"] for epoch in last]))]
    return ", ".join([*spans, f"{len(last)} seeds"])


def check_memory(model: nn.Module, x: Tensor, seeds: int) -> None:
    """Raise a ValueError that says how many seeds fit, if there is less memory than so many seeds need.

    Args:
        model: the network of one seed. x: a normalised batch (B, 3, H, W), on the device where all will be.
    """
    each, free = memory_of_a_seed(model, x), free_memory(x.device)
    if seeds * each > free:
        raise ValueError(f"{seeds} seeds side by side need about {seeds * each / 1e9:.1f} GB and {free / 1e9:.1f} GB "
                         f"are free: {int(free // each)} fit; train them in several calls")


def memory_of_a_seed(model: nn.Module, x: Tensor) -> int:
    """Bytes that a seed in a stack needs, estimated from one forward pass of one network with the batch x.

    Its weights, their gradients and the best epoch's weights; what the forward pass keeps for the backward pass; and
    as much again for copies in the layout of grouped convolutions and for the gradients of the maps. In float32: with
    lower precision less is needed, by an amount that depends on the blocks.
    """
    weights = sum(value.nbytes for value in named_tensors(model).values())
    return 3 * weights + 2 * kept_for_backward(model, x)


def kept_for_backward(model: nn.Module, x: Tensor) -> int:
    """Bytes that a training step's forward pass keeps for its backward pass, beyond the weights."""
    model = copy.deepcopy(model).train()  # the running statistics of the original stay as they are
    own = {value.untyped_storage().data_ptr() for value in named_tensors(model).values()}
    kept = {}

    def remember(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with seeded(0), torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        y = model(x)  # y keeps the graph, and so the tensors, alive while they are counted
    del y
    return sum(kept.values())


def free_memory(device: torch.device) -> float:
    """Bytes that can still be had: on a CUDA device, and in the main memory of Linux. Elsewhere, infinity: unknown."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # torch has it already
        return torch.cuda.mem_get_info(device)[0] + unused
    if device.type == "cpu" and (PROC / "meminfo").exists():
        available = 1024 * int(re.search(r"MemAvailable: +(\d+) kB", (PROC / "meminfo").read_text())[1])
        return min(available, free_in_control_groups())
    return math.inf


def free_in_control_groups() -> float:
    """Bytes that the container or the scheduler's job of this process still allows (Linux control groups, version 2).

    /proc/meminfo does not know of such a limit. File pages that nobody has used of late count as free.
    """
    own = re.search(r"^0::/(.*)$", (PROC / "self" / "cgroup").read_text(), re.MULTILINE)
    folder, free = CONTROL_GROUPS / (own[1] if own else ""), math.inf
    for group in (folder, *folder.parents):  # a limit of an outer group holds, too
        if (group / "memory.max").exists() and (limit := (group / "memory.max").read_text().strip()) != "max":
            pages = re.search(r"^inactive_file (\d+)$", (group / "memory.stat").read_text(), re.MULTILINE)
            free = min(free, int(limit) - int((group / "memory.current").read_text()) + int(pages[1]))
    return free
