"""Grad-CAM: which positions of a feature map raise the score of a class.

Source: Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017,
arXiv 1610.02391.

The usual way is to store the layer's output in a forward hook and its gradient in a backward hook. Two things go wrong
with that: an in-place ReLU after the layer overwrites what was stored, and in a frozen network no gradient arrives.
Here the hook cuts the network at the layer. It keeps the map as a new leaf and hands a copy on. What follows may write
into the copy, what precedes is not needed any more, and the backward pass ends at the layer.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncourse.layers import eval_mode, find_layer


def grad_cam(model: nn.Module, layer: str | nn.Module, images: Tensor, target: int | Tensor | None = None) -> Tensor:
    """Where the layer's map speaks for a class: one map per image, stretched over the image.

    Args:
        model: takes images (B, 3, H, W), gives logits (B, classes). It is used in eval mode and left as it was.
        layer: a submodule of the model, or its name, whose output is a feature map (B, K, h, w).
        images: (B, 3, H, W), normalised as the model wants them.
        target: the class; (B,) for one class per image; None for the class that the model predicts.

    Returns:
        (B, H, W), from 0 to 1; the highest value of each map is 1, unless nothing speaks for the class: then it is 0.

    Raises:
        ValueError: if there is no such layer, its output is not (B, K, h, w), it ran more than once or not at all, no
            gradient reaches it, the target is not a class, or the model does not take the images.
    """
    A, gradient = map_and_gradient(model, layer, images, target)  # (B, K, h, w) both
    maps = class_map(A, gradient)  # (B, h, w)
    maps = F.interpolate(maps[:, None], images.shape[2:], mode="bilinear")[:, 0]  # (B, H, W)
    highest = maps.amax((1, 2), keepdim=True)
    return maps / highest.where(highest > 0, 1)


def class_map(A: Tensor, gradient: Tensor) -> Tensor:
    """Equations 1 and 2 of the paper: the channels of A, weighted by their mean gradient. (B, K, h, w) -> (B, h, w)."""
    alpha = gradient.mean((2, 3), keepdim=True)  # (B, K, 1, 1)
    return (alpha * A).sum(1).relu()


def map_and_gradient(model: nn.Module, layer: str | nn.Module, images: Tensor,
                     target: int | Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The layer's output A and the gradient of the target's logit with respect to it, both (B, K, h, w).

    Arguments and errors are those of :func:`grad_cam`.
    """
    if images.ndim != 4:
        raise ValueError(f"expected images (B, 3, H, W), got {tuple(images.shape)}: one image needs images[None]")
    module = find_layer(model, layer) if isinstance(layer, str) else layer
    outputs = []

    def cut(module: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
        if not isinstance(output, Tensor) or output.ndim != 4:
            shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ValueError(f"Grad-CAM needs a layer that gives a feature map (B, K, h, w), this one gives {shape}")
        outputs.append(output.detach().clone().requires_grad_())
        return outputs[-1].clone()  # what follows may change it in place

    handle = module.register_forward_hook(cut)
    try:
        with eval_mode(model), torch.inference_mode(False), torch.enable_grad():
            logits = run(model, images.clone())  # a normal tensor, even where the caller is in inference mode
            if len(outputs) != 1:
                raise ValueError(f"the layer must run once in a forward pass of the model, it ran {len(outputs)} times")
            score = logits.gather(1, as_classes(target, logits)[:, None]).sum()  # images do not influence each other
            gradient = None
            if score.requires_grad:
                gradient, = torch.autograd.grad(score, outputs[0], allow_unused=True)
            if gradient is None:
                raise ValueError("no gradient comes back from the logits to the layer: the model cuts it after it")
            return outputs[0].detach(), gradient
    finally:
        handle.remove()


def run(model: nn.Module, images: Tensor) -> Tensor:
    """The model's logits (B, classes)."""
    try:
        logits = model(images)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"the model does not take images {tuple(images.shape)}: {reason}") from error
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(f"expected a model that gives logits (B, classes), got {got}")
    return logits


def as_classes(target: int | Tensor | None, logits: Tensor) -> Tensor:
    """The target as one class per image, (B,)."""
    B, number = logits.shape
    if target is None:
        return logits.argmax(1)
    target = torch.as_tensor(target, device=logits.device)
    if target.is_floating_point() or target.shape not in ((), (B,)):
        raise ValueError(f"target must be one class or one per image, ({B},), got {target.dtype} {tuple(target.shape)}")
    if target.min() < 0 or target.max() >= number:
        raise ValueError(f"the model has classes 0 to {number - 1}, got {target.tolist()}")
    return target.expand(B).long()
