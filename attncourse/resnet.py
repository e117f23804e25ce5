"""Put attention into a real network: any torchvision ResNet with one call, or after named layers of any CNN.

Every placement is a child that is replaced: by the child and the attention block, one after the other. No forward
method is rewritten and no weight changes. Load a plain network's pretrained weights before, not after: what was
replaced has another name in the state_dict afterwards.

Sources: the placements inside a residual block are those of Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018,
arXiv 1709.01507, section 6.5; those after a whole stage are those of Park et al., "BAM", BMVC 2018, arXiv 1807.06514.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models import ResNet, resnet50
from torchvision.models.resnet import BasicBlock, Bottleneck

from attncourse.backbone import AttentionFactory
from attncourse.feature_map import check_feature_map
from attncourse.layers import eval_mode, find_layer

PLACEMENTS = ("standard", "pre", "post", "identity", "stage")


class Insertion(NamedTuple):
    """One block that was put in."""

    name: str  # under which the model lists the block
    channels: int
    parameters: int


def insert_attention(model: ResNet, attention: AttentionFactory, placement: str = "standard",
                     stages: Sequence[int] = (1, 2, 3, 4)) -> list[Insertion]:
    """Put attention into a torchvision ResNet, in place.

    Args:
        model: a torchvision ResNet.
        attention: makes a block for a number of channels.
        placement: in every residual block of the stages: "standard" (on the branch, after its last BatchNorm and before
            the addition), "pre" (on the branch, before its first convolution), "post" (after the addition and its
            ReLU), or "identity" (on the shortcut); or once after every stage: "stage".
        stages: which of layer1 to layer4.

    Returns:
        what was put in, in the order of the forward pass.

    Raises:
        ValueError: if the model is not a torchvision ResNet, the placement or a stage is unknown, or a stage has no
            residual block; then nothing is inserted.
    """
    if not isinstance(model, ResNet):
        raise ValueError(f"expected a torchvision ResNet, got {type(model).__name__}: insert_after takes any CNN")
    if placement not in PLACEMENTS:
        raise ValueError(f"placement must be one of {', '.join(PLACEMENTS)}, got {placement!r}")
    if not set(stages) <= {1, 2, 3, 4}:
        raise ValueError(f"stages must be among 1, 2, 3 and 4, got {tuple(stages)}")
    places = [place for number in sorted(set(stages)) for place in places_in_stage(model, f"layer{number}", placement)]
    return [insert(model, *place, attention) for place in places]


def places_in_stage(model: ResNet, stage: str, placement: str) -> Iterator[tuple[str, int, bool]]:
    """The children to replace in one stage: name, channels of the map there, and whether attention comes before."""
    blocks = [(f"{stage}.{name}", block) for name, block in model.get_submodule(stage).named_modules()
              if isinstance(block, BasicBlock | Bottleneck)]
    if not blocks:
        raise ValueError(f"{stage} has no residual block of torchvision, BasicBlock or Bottleneck: use insert_after")
    for name, block in blocks:
        last = "3" if isinstance(block, Bottleneck) else "2"
        channels = without_attention(block.get_submodule(f"conv{last}")).out_channels
        if placement == "standard":
            yield f"{name}.bn{last}", channels, False
        elif placement == "pre":
            yield f"{name}.conv1", without_attention(block.conv1).in_channels, True
        elif placement == "post":
            yield name, channels, False
        elif placement == "identity":
            yield f"{name}.downsample", channels, False
        elif placement == "stage" and block is blocks[-1][1]:
            yield stage, channels, False


def insert_after(model: nn.Module, layers: Sequence[str], attention: AttentionFactory,
                 images: Tensor) -> list[Insertion]:
    """Put attention after named layers of any CNN, in place.

    Args:
        model: any CNN.
        layers: names, as in ``model.named_modules()``, of layers whose output is a feature map (B, C, H, W).
        attention: makes a block for a number of channels.
        images: what the model takes; one forward pass shows how many channels each layer gives.

    Returns:
        what was put in, in the order of ``layers``.

    Raises:
        ValueError: if a layer does not exist, is named twice, lies in another one that is named, is not used by the
            model, or gives no feature map; then nothing is inserted.
    """
    for one, other in permutations(layers, 2):
        if f"{one}.".startswith(f"{other}."):
            raise ValueError(f"layer {one!r} is named twice, or lies in another one that is named: {other!r}")
    modules = [find_layer(model, name) for name in layers]
    channels = {}

    def look(name: str, output: Tensor) -> None:
        if not isinstance(output, Tensor) or output.ndim != 4:
            raise ValueError(f"layer {name!r} gives no feature map (B, C, H, W)")
        channels[name] = output.shape[1]

    handles = [module.register_forward_hook(lambda _, __, output, name=name: look(name, output))
               for name, module in zip(layers, modules)]
    try:
        with eval_mode(model), torch.inference_mode():  # no BatchNorm counts the images
            model(images)
    finally:
        for handle in handles:
            handle.remove()
    if unused := [name for name in layers if name not in channels]:
        raise ValueError(f"the model does not use its layer {unused[0]!r}: nothing was inserted")
    return [insert(model, name, channels[name], False, attention) for name in layers]


def insert(model: nn.Module, name: str, channels: int, before: bool, attention: AttentionFactory) -> Insertion:
    """Replace the layer of this name by the layer and an attention block, one after the other."""
    path, _, child_name = name.rpartition(".")
    parent = model.get_submodule(path)
    layer = getattr(parent, child_name)
    if layer is None:  # a shortcut without downsample
        layer = nn.Identity().train(model.training)
    block = attention(channels).train(model.training)
    if (weight := next(model.parameters(), None)) is not None:
        block.to(weight)  # its device and dtype
    parts = [("layer", layer), ("attention", block)]
    both = WithAttention(OrderedDict(parts[::-1] if before else parts))
    both.training = model.training  # the layer keeps its own mode
    setattr(parent, child_name, both)
    return Insertion(f"{name}.attention", channels, sum(p.numel() for p in block.parameters()))


class WithAttention(nn.Sequential):
    """A layer and an attention block, one after the other; further arguments of the call are for the layer alone."""

    def forward(self, x: Tensor, *arguments, **named) -> Tensor:
        for module in self:
            x = module(x, *arguments, **named) if module is self.layer else module(x)
        return x


def without_attention(layer: nn.Module) -> nn.Module:
    """The layer that was there before anything was put in."""
    return without_attention(layer.layer) if isinstance(layer, WithAttention) else layer


class IdentityStart(nn.Module):
    """A block whose gate starts at exactly 1: 1 + α·(gate − 1), with a learned α that starts at 0.

    Put into a pretrained network it changes no output at first; a plain sigmoid gate halves the map. A sigmoid that is
    pushed to 1 by a large bias would start there, too, but has no gradient to leave it. (Under bfloat16 autocast the
    forward pass rounds a small α away; its gradient comes all the same.)

    Args:
        block: any attention block.

    Shapes:
        input (B, C, H, W), output (B, C, H, W); ``attention(x)`` has the shape of the block's gate.

    Parameters: those of the block, and 1.
    """

    def __init__(self, block: nn.Module):
        super().__init__()
        self.block = block
        self.alpha = nn.Parameter(torch.zeros(()))

    def attention(self, x: Tensor) -> Tensor:
        return 1 + self.alpha * (self.block.attention(x) - 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.attention(x)


class SpatialGate(nn.Module):
    """A spatial gate smaller than CBAM's: σ(conv3×3(mean over channels)), 10 parameters.

    Source: an article on attention modules describes "an even smaller spatial attention module", put into a ResNet-50
    and called SResNet50, without an equation. This one is our guess: CBAM's gate without its maximum, its
    BatchNorm, and most of its kernel.

    Shapes:
        input (B, C, H, W), output (B, C, H, W); ``attention(x)`` is (B, 1, H, W).

    Raises:
        ValueError: if the input is not (B, C, H, W).
        TypeError: if the input is not floating point.
    """

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)

    def attention(self, x: Tensor) -> Tensor:
        """The gate, (B, 1, H, W), each value in (0, 1)."""
        check_feature_map(x)
        return self.conv(x.mean(1, keepdim=True)).sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.attention(x)


def sresnet50(**arguments) -> ResNet:
    """ResNet-50 with a SpatialGate in each of its 16 residual blocks: 25,557,192 parameters with 1,000 classes.

    Takes the arguments of ``torchvision.models.resnet50``; pretrained weights are loaded before the gates are put in.
    """
    model = resnet50(**arguments)
    insert_attention(model, lambda channels: SpatialGate())
    return model
