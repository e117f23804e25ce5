"""What a computation consists of (operations, FLOPs, bytes), and how long a machine takes for it at least.

An operation cannot end before it is started, before its bytes are moved, or before its FLOPs are done. The longest of
the three holds it up; that is the roofline model, with the cost of a start added.

Source: Williams, Waterman and Patterson, "Roofline: an insightful visual performance model for multicore
architectures", Communications of the ACM 52 (4), 2009. FLOPs are counted as torch.utils.flop_counter does: those of
convolutions and matrix products, a multiplication and an addition as two; all other operations have none.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry


class Operation(NamedTuple):
    """One operation of PyTorch: on a GPU it starts at least one computation there."""

    name: str  # e.g. "convolution"
    flops: int
    bytes: int  # of the tensors that it reads and writes, each counted once: the least that must be moved


class Machine(NamedTuple):
    """What limits an operation on a device."""

    name: str
    launch: float  # seconds that an operation on a single number takes
    bandwidth: float  # bytes a second
    rate: float  # FLOPs a second

    def times(self, operation: Operation) -> dict[str, float]:
        """Seconds that each limit asks for; the operation takes at least the longest.

        "memory" supposes that every byte comes from the memory or goes there: a cache is faster.
        """
        return {"launch": self.launch, "memory": operation.bytes / self.bandwidth,
                "compute": operation.flops / self.rate}

    def seconds(self, operation: Operation) -> float:
        """The least time that the operation can take."""
        return max(self.times(operation).values())

    def limit(self, operation: Operation) -> str:
        """Which of them holds the operation up: "launch", "memory" or "compute"."""
        times = self.times(operation)
        return max(times, key=times.get)


def operations(function: Callable[[], object]) -> list[Operation]:
    """What PyTorch does when the function is called, in its order, the backward pass included.

    Views, which move nothing, and mere reservations of memory are left out.
    """
    with Recorder() as recorder:
        function()
    return recorder.operations


class Recorder(TorchDispatchMode):
    """Notes every operation that is done inside the block."""

    def __init__(self):
        super().__init__()
        self.operations = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        packet = function.overloadpacket
        inputs = list({id(tensor): tensor for tensor in tensors((args, kwargs))}.values())  # x · x reads x once
        outputs = tensors(result) or changed(function, args)
        read = {tensor.untyped_storage()._cdata for tensor in inputs}
        new = [tensor for tensor in outputs if tensor.untyped_storage()._cdata not in read]
        is_view = not new and not function._schema.is_mutable
        reserves = packet.__name__.startswith(("empty", "new_empty"))
        if outputs and not is_view and not reserves:
            flops = flop_registry[packet](*args, **kwargs, out_val=result) if packet in flop_registry else 0
            moved = sum(min(tensor.nbytes, tensor.untyped_storage().nbytes()) for tensor in inputs + outputs)
            self.operations.append(Operation(packet.__name__, flops, moved))
        return result


def changed(function: torch._ops.OpOverload, args: tuple) -> list[Tensor]:
    """The tensors into which an operation writes that returns nothing, as the optimizers' on lists of tensors do."""
    writes = [argument.alias_info is not None and argument.alias_info.is_write
              for argument in function._schema.arguments]
    return tensors([arg for arg, written in zip(args, writes) if written])


def tensors(tree: object) -> list[Tensor]:
    """The tensors in nested tuples, lists and dicts."""
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def measure_machine(name: str, device: torch.device, size: int = 512, numbers: int = 2 ** 23,
                    dtype: torch.dtype = torch.float32) -> Machine:
    """Measure a device: the start of an operation, a copy, and a product of two size × size matrices.

    Args:
        size: of the matrices; a GPU needs about 8192 to show what it can.
        numbers: how many are copied. What fits into a cache is copied faster than the memory allows.
        dtype: of the matrices.
    """
    one, source = torch.ones(1, device=device), torch.ones(numbers, device=device)
    target = torch.empty_like(source)
    a, b, product = (torch.ones(size, size, device=device, dtype=dtype) for _ in range(3))
    return Machine(name, seconds_per_call(lambda: torch.relu(one), device),
                   2 * source.nbytes / seconds_per_call(lambda: target.copy_(source), device),
                   2 * size ** 3 / seconds_per_call(lambda: torch.mm(a, b, out=product), device))


def seconds_per_call(function: Callable[[], object], device: torch.device, samples: int = 10) -> float:
    """Seconds that a call takes when many follow each other: the best of some samples.

    Other programs can only make it slower. A sample lasts about 4 ms, too short to be interrupted in each.
    """
    def seconds_of(calls: int) -> float:
        start = time.perf_counter()
        for _ in range(calls):
            function()
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        return time.perf_counter() - start

    seconds_of(1)  # the first call allocates
    calls = 1
    while calls < 2 ** 20 and seconds_of(calls) < 0.004:
        calls *= 2
    return min(seconds_of(calls) for _ in range(samples)) / calls
