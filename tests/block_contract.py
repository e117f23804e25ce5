"""What every attention block must do, whatever it computes. Each block's test file calls these with its own factory."""

import copy

import pytest
import torch
from torch import nn

from attncourse.training import seeded

SHAPES = [(2, 8, 5, 7), (1, 8, 6, 6), (3, 8, 1, 1), (2, 8, 1, 9)]  # non-square, batch of 1, 1×1, a single row


def generic(block: nn.Module, seed: int = 0) -> nn.Module:
    """The block with random weights and running statistics that are neither zero nor special, so that no gradient
    vanishes by accident."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
        for name, buffer in block.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(torch.randn(buffer.shape, generator=generator) * 0.1)
            if name.endswith("running_var"):
                buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    return block


def images(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def count(module: nn.Module) -> int:
    """How many parameters a module has."""
    return sum(p.numel() for p in module.parameters())


def has_batch_norm(block: nn.Module) -> bool:
    return any(isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) for module in block.modules())


def check_contract(make_block, low: float, high: float, composite: bool = False) -> None:
    """Shape, dtype, device, memory format, the meaning and range of the gate, independent images, state_dict, no
    mutation, PyTorch's initialisation.

    A composite block applies gate after gate, so its product with the whole gate may differ in the last bits.
    """
    block = generic(make_block(8)).eval()
    for shape in SHAPES:
        x = images(*shape)
        before = x.clone()
        y, gate = block(x), block.attention(x)
        assert torch.equal(x, before)
        assert y.shape == x.shape
        assert y.dtype == x.dtype
        torch.testing.assert_close(y, x * gate, rtol=1e-6 if composite else 0, atol=1e-7 if composite else 0)
        assert gate.min() >= low
        assert gate.max() <= high
    x = images(4, 8, 5, 7)
    one_by_one = torch.cat([block(image[None]) for image in x])
    torch.testing.assert_close(block(x), one_by_one)
    if not has_batch_norm(block):  # else training uses the batch's own statistics, and should differ
        torch.testing.assert_close(copy.deepcopy(block).train()(x), block(x))
    clone = generic(make_block(8), seed=1).eval()
    clone.load_state_dict(block.state_dict())
    assert torch.equal(clone(x), block(x))
    channels_last = x.contiguous(memory_format=torch.channels_last)
    y = block(channels_last)
    assert y.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(y, block(x))
    assert block.to("meta")(x.to("meta")).is_meta  # a tensor made on the CPU inside would raise
    check_initialisation(make_block)


def check_initialisation(make_block) -> None:
    """A block starts as its layers do in PyTorch, drawn in their order: the stored results are tied to these seeds."""
    with seeded(0):
        block = make_block(8)
    again = copy.deepcopy(block)
    with seeded(0):
        for layer in again.modules():
            if hasattr(layer, "reset_parameters"):
                layer.reset_parameters()
    for name, value in again.state_dict().items():
        assert torch.equal(block.state_dict()[name], value), name
    for layer in block.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            assert (layer.eps, layer.momentum) == (1e-5, 0.1)


def check_gradients(make_block, without: tuple[str, ...] = ()) -> None:
    """Every parameter gets a finite gradient that is not zero, and autograd agrees with finite differences.

    In training mode, as it is used. `without` names the parameters whose gradient is zero there, which is also checked:
    a bias in front of a BatchNorm is subtracted again with the mean.
    """
    block = generic(make_block(8), seed=27).double()  # with these weights even a single hidden unit is alive
    block(images(3, 8, 5, 7).double()).square().sum().backward()
    for name, parameter in block.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert (parameter.grad.abs().max() > 1e-4) == (name not in without), name  # in float32, 0 would be 1e-7
    block = generic(make_block(4), seed=27).double().eval()
    x = images(2, 4, 3, 2).double().requires_grad_()
    parameters = tuple(block.parameters())
    assert torch.autograd.gradcheck(lambda x, *_: block(x), (x, *parameters))


def check_half_precision(make_block) -> None:
    """bfloat16 and float16 give finite values near the float32 ones, also where a sum would overflow."""
    block = generic(make_block(8)).eval()
    x = images(2, 8, 64, 64) + 20  # 4,096 positions of about 20 sum to 82,000, above float16's 65,504
    for dtype, tolerance in ((torch.bfloat16, 0.1), (torch.float16, 0.02)):
        y = copy.deepcopy(block).to(dtype)(x.to(dtype))
        assert y.dtype == dtype
        assert y.isfinite().all()
        torch.testing.assert_close(y.float(), block(x), rtol=tolerance, atol=tolerance)


def check_export_and_compile(make_block) -> None:
    """torch.export with any batch size, height and width; torch.compile without a graph break."""
    block = generic(make_block(8)).eval()
    dims = {0: torch.export.Dim("B", min=1), 2: torch.export.Dim("H", min=1), 3: torch.export.Dim("W", min=1)}
    exported = torch.export.export(block, (images(2, 8, 5, 7),), dynamic_shapes=(dims,)).module()
    for shape in SHAPES:
        torch.testing.assert_close(exported(images(*shape)), block(images(*shape)))
    compiled = torch.compile(block, fullgraph=True, backend="aot_eager")  # no C++ compiler needed
    torch.testing.assert_close(compiled(images(2, 8, 5, 7)), block(images(2, 8, 5, 7)))


def check_bad_input(make_block) -> None:
    """A wrong input is named in one line."""
    block = make_block(8)
    for bad, error, message in [
        (torch.zeros(8, 5, 7), ValueError, r"\(B, C, H, W\), got 3 dimensions: \(8, 5, 7\)"),
        (torch.zeros(1, 6, 5, 7), ValueError, r"built for 8 channels, got 6: \(1, 6, 5, 7\)"),
        (torch.zeros(0, 8, 5, 7), ValueError, r"empty tensor: \(0, 8, 5, 7\)"),
        (torch.zeros(1, 8, 5, 7, dtype=torch.uint8), TypeError, "floating-point values, got torch.uint8"),
    ]:
        with pytest.raises(error, match=message):
            block(bad)
        with pytest.raises(error, match=message):
            block.attention(bad)
