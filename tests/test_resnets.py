"""Attention in real networks: every placement against its equation, what is reported, and what must not change."""

import copy
from collections import OrderedDict
from itertools import permutations

import block_contract as contract
import numpy as np
import pytest
import torch
import torchvision
from block_contract import count, generic, images
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import ResNet
from torchvision.models.resnet import BasicBlock, Bottleneck

from attncourse.backbone import ReportCNN
from attncourse.bam import BAM
from attncourse.cbam import CBAM
from attncourse.eca import ECA
from attncourse.pretrained import efficientnet_lite0
from attncourse.resnet import (
    PLACEMENTS,
    IdentityStart,
    Insertion,
    SpatialGate,
    insert_after,
    insert_attention,
    sresnet50,
)
from attncourse.se import SEBlock
from attncourse.training import seeded

PICTURES = images(2, 3, 32, 32)
every_placement = pytest.mark.parametrize("placement", PLACEMENTS)
every_block = pytest.mark.parametrize("kind", [BasicBlock, Bottleneck])


def se(channels: int) -> SEBlock:
    """One hidden unit for four channels, with gates that are far from each other."""
    return generic(SEBlock(channels, reduction=4), seed=channels)


def starting_at_one(channels: int) -> IdentityStart:
    return IdentityStart(se(channels))


def resnet(kind: type[nn.Module] = BasicBlock, layers: tuple[int, ...] = (2, 2, 1, 1), **arguments) -> ResNet:
    """A small one: its first two stages have a block with and one without a shortcut of its own."""
    with seeded(0):
        return ResNet(kind, list(layers), num_classes=5, **arguments).eval()


def spatial_gate(channels: int) -> SpatialGate:
    return SpatialGate()


# ---- totals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("arch", "attention", "arguments", "total"), [
    ("resnet18", SEBlock, {}, 11_778_592),
    ("resnet50", SEBlock, {}, 28_088_024),
    ("resnet18", lambda c: SEBlock(c, bias=False), {}, 11_776_552),
    ("resnet50", lambda c: SEBlock(c, bias=False), {}, 28_071_976),
    ("resnet18", CBAM, {}, 11_779_392),
    ("resnet50", CBAM, {}, 28_089_624),
    ("resnet18", BAM, {"placement": "stage", "stages": (1, 2, 3)}, 11_713_181),
    ("resnet50", BAM, {"placement": "stage", "stages": (1, 2, 3)}, 25_917_793),
    ("resnet18", ECA, {}, 11_689_512 + 2 * (3 + 5 + 5 + 5)),
    ("resnet50", ECA, {}, 25_557_032 + 86),
])
def test_totals_in_resnets(arch, attention, arguments, total):
    with torch.device("meta"):  # shapes without memory
        model = getattr(torchvision.models, arch)()
        before = count(model)
        inserted = insert_attention(model, attention, **arguments)
    assert count(model) == total
    assert before + sum(each.parameters for each in inserted) == total


def test_sresnet50():
    with torch.device("meta"):
        model = sresnet50()
        assert model(torch.zeros(2, 3, 64, 64)).shape == (2, 1000)
        assert sresnet50(num_classes=7).fc.out_features == 7
    assert count(model) == 25_557_192 == 25_557_032 + 16 * 10
    gates = [name for name, module in model.named_modules() if isinstance(module, SpatialGate)]
    assert len(gates) == 16
    assert all(name.endswith(".bn3.attention") for name in gates)


# ---- the placements -------------------------------------------------------------------------------------------------


def block_by_hand(block: nn.Module, x: Tensor, *placements: str) -> Tensor:
    """A residual block of torchvision, written anew without in-place operations, with attention at the placements."""
    def attend(place: str, x: Tensor) -> Tensor:
        return se(x.shape[1])(x) if place in placements else x

    out = block.bn1(block.conv1(attend("pre", x)))
    out = block.bn2(block.conv2(F.relu(out)))
    if isinstance(block, Bottleneck):
        out = block.bn3(block.conv3(F.relu(out)))
    shortcut = x if block.downsample is None else block.downsample(x)
    out = attend("standard", out) + attend("identity", shortcut)
    return attend("post", F.relu(out))


@every_block
@every_placement
@pytest.mark.parametrize("training", [False, True])
def test_a_placement_is_its_equation(kind, placement, training):
    """In each stage with and without a downsampled shortcut: the output, and the gradient with in-place ReLUs."""
    plain = resnet(kind).train(training)
    model = copy.deepcopy(plain)
    insert_attention(model, se, placement)
    for stage in ("layer1", "layer2"):
        x = images(2, plain.get_submodule(stage)[0].conv1.in_channels, 6, 5)
        ours, hand = (x.clone().requires_grad_() for _ in range(2))
        y = model.get_submodule(stage)(ours)
        expected = hand
        for block in plain.get_submodule(stage):
            expected = block_by_hand(block, expected, placement)
        if placement == "stage":
            expected = se(expected.shape[1])(expected)
        torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-5)
        for result in (y, expected):
            result.square().mean().backward()
        torch.testing.assert_close(ours.grad, hand.grad, rtol=1e-3, atol=1e-5)


@every_block
def test_the_placements_differ(kind):
    plain = resnet(kind)
    outputs = [plain(PICTURES)]
    for placement in PLACEMENTS:
        model = copy.deepcopy(plain)
        insert_attention(model, se, placement)
        outputs.append(model(PICTURES))
    for i, one in enumerate(outputs):
        for other in outputs[:i]:
            assert (one - other).abs().max() > 1e-3


@every_block
@every_placement
def test_what_is_reported_is_what_was_put_in(kind, placement):
    model = resnet(kind)
    before = count(model)
    inserted = insert_attention(model, se, placement)
    assert len(inserted) == (4 if placement == "stage" else 6)
    seen = []
    for each in inserted:
        block = model.get_submodule(each.name)
        assert isinstance(block, SEBlock)
        assert each == Insertion(each.name, block.fc1.in_features, count(block))
        block.register_forward_pre_hook(lambda _, inputs, each=each: seen.append((each.name, inputs[0].shape[1])))
    assert count(model) == before + sum(each.parameters for each in inserted)
    assert sum(isinstance(module, SEBlock) for module in model.modules()) == len(inserted)
    model(PICTURES)
    assert seen == [(each.name, each.channels) for each in inserted]  # in the order of the forward pass


@every_placement
@pytest.mark.parametrize("stages", [(1,), (4, 2), (3, 3), range(1, 4), ()])
def test_only_the_stages_that_were_asked_for(placement, stages):
    with torch.device("meta"):
        model = resnet()
        inserted = insert_attention(model, SEBlock, placement, stages)
    assert sorted({int(each.name[len("layer")]) for each in inserted}) == sorted(set(stages))
    assert [each.name for each in inserted] == sorted(each.name for each in inserted)
    assert sum(isinstance(module, SEBlock) for module in model.modules()) == len(inserted)


@every_block
@every_placement
def test_pretrained_weights_are_kept_bit_for_bit(kind, placement):
    """Every tensor of the plain network is in the new one, the very same object with the same values."""
    model = resnet(kind)
    tensors = [*model.parameters(), *model.buffers()]
    values = [tensor.detach().clone() for tensor in tensors]
    insert_attention(model, se, placement)
    now = {id(tensor) for tensor in [*model.parameters(), *model.buffers()]}
    for tensor, value in zip(tensors, values):
        assert id(tensor) in now
        assert torch.equal(tensor, value)


@pytest.mark.parametrize(("arch", "blocks"), [
    ("resnet18", 8), ("resnet34", 16), ("resnet50", 16), ("resnet101", 33), ("resnext50_32x4d", 16)])
def test_real_resnets_run(arch, blocks):
    with torch.device("meta"):
        model = getattr(torchvision.models, arch)(num_classes=10)
        inserted = insert_attention(model, SEBlock)
    assert model(torch.zeros(2, 3, 64, 64, device="meta")).shape == (2, 10)
    assert len(inserted) == blocks


@every_placement
def test_a_resnet_with_another_norm(placement):
    model = resnet(norm_layer=lambda channels: nn.GroupNorm(4, channels))
    assert insert_attention(model, starting_at_one, placement)
    torch.testing.assert_close(model(PICTURES), resnet(norm_layer=lambda c: nn.GroupNorm(4, c))(PICTURES))


@every_block
@pytest.mark.parametrize(("one", "other"), list(permutations(PLACEMENTS, 2)))
def test_two_placements_in_any_order(kind, one, other):
    plain = resnet(kind)
    model = copy.deepcopy(plain)
    insert_attention(model, se, one)
    inserted = insert_attention(model, se, other)
    assert len(inserted) == (4 if other == "stage" else 6)
    assert all(model.get_submodule(each.name).fc1.in_features == each.channels for each in inserted)
    x = images(2, plain.layer2[0].conv1.in_channels, 6, 5)
    expected = x
    for block in plain.layer2:
        expected = block_by_hand(block, expected, one, other)
    if "stage" in (one, other):
        expected = se(expected.shape[1])(expected)
    torch.testing.assert_close(model.layer2(x), expected, rtol=1e-4, atol=1e-5)


@every_placement
def test_the_same_placement_twice(placement):
    model = resnet(layers=(1, 1, 1, 1))
    first, second = (insert_attention(model, starting_at_one, placement) for _ in range(2))
    assert [each.channels for each in first] == [each.channels for each in second]
    assert sum(isinstance(module, IdentityStart) for module in model.modules()) == len(first) + len(second)
    assert torch.equal(model(PICTURES), resnet(layers=(1, 1, 1, 1))(PICTURES))


@every_placement
def test_copy_and_state(placement):
    model = resnet(layers=(1, 1, 1, 1))
    insert_attention(model, se, placement)
    expected = model(PICTURES)
    assert torch.equal(copy.deepcopy(model)(PICTURES), expected)
    other = resnet(layers=(1, 1, 1, 1))
    insert_attention(other, lambda channels: SEBlock(channels, reduction=4), placement)
    assert not torch.equal(other(PICTURES), expected)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(PICTURES), expected)


@pytest.mark.parametrize("placement", ["pre", "identity"])  # attention before and after the layer
def test_export(placement):
    model = resnet(layers=(1, 1, 1, 1))
    insert_attention(model, se, placement)
    exported = torch.export.export(model, (PICTURES,)).module()
    torch.testing.assert_close(exported(PICTURES), model(PICTURES))


# ---- after named layers of any CNN ----------------------------------------------------------------------------------


def with_hooks(model: nn.Module, layers: list[str], attention) -> nn.Module:
    """A copy in which attention is applied to the layers' output from outside: what insert_after must compute."""
    model = copy.deepcopy(model)
    for name in layers:
        model.get_submodule(name).register_forward_hook(lambda _, __, output: attention(output.shape[1])(output))
    return model


def report_cnn() -> nn.Module:
    return ReportCNN()


def mobilenet() -> nn.Module:
    return torchvision.models.mobilenet_v3_small(num_classes=5)


def vgg() -> nn.Module:
    """The convolutions of VGG-11, without its 120 million fully connected weights."""
    return nn.Sequential(OrderedDict(features=torchvision.models.vgg11(init_weights=False).features,
                                     flatten=nn.Flatten(), head=nn.Linear(512, 5)))


NETWORKS = pytest.mark.parametrize(("make", "layers", "channels"), [
    (report_cnn, ["stage1.conv1", "stage1.conv2", "stage2.conv1", "stage2.conv2"], [64, 64, 128, 128]),
    (report_cnn, ["stage2"], [128]),
    (mobilenet, ["features.3.block.1", "features.0.1", "features.12"], [88, 16, 576]),
    (vgg, ["features.0", "features.8", "features.20"], [64, 256, 512]),
    (resnet, ["layer4", "layer1.0.bn1", "maxpool"], [512, 64, 64]),  # an in-place ReLU follows bn1
])


@NETWORKS
def test_after_named_layers(make, layers, channels):
    with seeded(0):
        plain = make().eval()
    model = copy.deepcopy(plain)
    inserted = insert_after(model, layers, se, PICTURES)
    assert [each.name for each in inserted] == [f"{name}.attention" for name in layers]
    assert [each.channels for each in inserted] == channels
    assert [each.parameters for each in inserted] == [count(se(c)) for c in channels]
    assert count(model) == count(plain) + sum(each.parameters for each in inserted)
    assert all(isinstance(model.get_submodule(each.name), SEBlock) for each in inserted)
    before = plain(PICTURES)
    scale = before.std()  # deep networks with PyTorch's initial weights give tiny logits
    assert (model(PICTURES) - before).abs().max() > 1e-3 * scale
    torch.testing.assert_close(model(PICTURES) / scale, with_hooks(plain, layers, se)(PICTURES) / scale)


def test_after_each_convolution_it_is_the_report_cnn_with_attention():
    with seeded(0):
        plain, attended = ReportCNN().eval(), ReportCNN(attention=se).eval()
    attended.load_state_dict(plain.state_dict(), strict=False)
    insert_after(plain, ["stage1.conv1", "stage1.conv2", "stage2.conv1", "stage2.conv2"], se, PICTURES)
    assert torch.equal(plain(PICTURES), attended(PICTURES))


def test_in_the_pretrained_network():
    """It calls its blocks with a second argument, which is none of the attention's business."""
    model = efficientnet_lite0()
    x = images(1, 3, 224, 224)
    with torch.inference_mode():
        expected = model(x)
        inserted = insert_after(model, ["_blocks.4", "_blocks.10", "_bn1"], starting_at_one, x)
        assert [each.channels for each in inserted] == [40, 112, 1280]
        assert torch.equal(model(x), expected)
        model._bn1.attention.alpha.fill_(1.0)
        assert not torch.equal(model(x), expected)


@pytest.mark.parametrize("training", [True, False])
def test_looking_at_the_layers_leaves_no_trace(training):
    """Modes, BatchNorm statistics, gradients and hooks, in a network with one layer in the other mode; the new block
    is in the network's own mode."""
    model = report_cnn().train(training)
    model.stage1.norm1.train(not training)
    modes = [(module, module.training) for module in model.modules()]
    tensors = [(tensor, tensor.detach().clone()) for tensor in (*model.parameters(), *model.buffers())]
    insert_after(model, ["stage1.norm1"], CBAM, PICTURES)
    block = model.stage1.norm1.attention
    assert all(module.training == training for module in (model.stage1.norm1, *block.modules()))
    assert all(module.training == mode for module, mode in modes)
    assert all(torch.equal(tensor, value) for tensor, value in tensors)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert hooks(model) == 0
    model(PICTURES).sum().backward()  # nothing of the look is left in the graph
    assert block.channel.fc1.weight.grad is not None


def hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in model.modules())


@pytest.mark.parametrize("training", [True, False])
@every_placement
def test_blocks_in_a_resnet_are_in_its_mode(training, placement):
    model = resnet(layers=(1, 2, 1, 1)).train(training)
    insert_attention(model, CBAM, placement)
    assert all(module.training == training for module in model.modules())


@pytest.mark.parametrize(("device", "dtype"), [
    ("cpu", torch.float64), ("cpu", torch.bfloat16), ("meta", torch.float32)])
def test_blocks_take_device_and_dtype_of_the_model(device, dtype):
    model = resnet(layers=(1, 1, 1, 1)).to(device, dtype)
    insert_attention(model, CBAM)
    insert_after(model, ["maxpool"], CBAM, PICTURES.to(device, dtype))
    parameters = list(model.parameters())
    assert {(p.device.type, p.dtype) for p in parameters} == {(device, dtype)}
    assert model(PICTURES.to(device, dtype)).dtype == dtype


def test_further_arguments_are_for_the_layer():
    class Scale(nn.Module):
        def forward(self, x: Tensor, by: float) -> Tensor:
            return by * x

    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = Scale()

        def forward(self, x: Tensor) -> Tensor:
            return self.scale(x, by=3.0)

    model = Scaled()
    insert_after(model, ["scale"], se, PICTURES)
    torch.testing.assert_close(model(PICTURES), se(3)(3 * PICTURES))


def test_a_second_block_after_the_first():
    """Its layer is then called "attention", as the first block itself."""
    model = resnet(layers=(1, 1, 1, 1))
    first = insert_attention(model, se, stages=(4,))
    expected = with_hooks(model, [first[0].name], se)(PICTURES)
    second = insert_after(model, [first[0].name], se, PICTURES)
    assert second[0].name == f"{first[0].name}.attention"
    torch.testing.assert_close(model(PICTURES), expected)


def test_a_model_without_parameters():
    model = nn.Sequential(nn.MaxPool2d(2), nn.Flatten())
    assert insert_after(model, ["0"], SEBlock, PICTURES) == [Insertion("0.attention", 3, count(SEBlock(3)))]
    assert model(PICTURES).shape == (2, 3 * 16 * 16)


# ---- a start that changes nothing -----------------------------------------------------------------------------------


@every_placement
@pytest.mark.parametrize("attention", [CBAM, BAM, se])
def test_identity_start_leaves_the_logits_exactly_unchanged(placement, attention):
    plain = resnet(layers=(1, 1, 1, 1))
    start, at_once = copy.deepcopy(plain), copy.deepcopy(plain)
    insert_attention(start, lambda channels: IdentityStart(attention(channels)), placement)
    insert_attention(at_once, attention, placement)
    assert torch.equal(start(PICTURES), plain(PICTURES))
    assert (at_once(PICTURES) - plain(PICTURES)).abs().max() > 1e-3


def test_alpha_learns_first_then_the_block():
    block = IdentityStart(se(8))
    x, wanted = images(4, 8, 5, 5), images(4, 8, 5, 5, seed=1)
    optimizer = torch.optim.SGD(block.parameters(), lr=0.1)
    for step in range(2):
        optimizer.zero_grad()
        F.mse_loss(block(x), wanted).backward()
        assert block.alpha.grad != 0
        for parameter in block.block.parameters():
            assert parameter.grad.any() == (step == 1)
        optimizer.step()
    assert block.alpha != 0


@pytest.mark.parametrize(("alpha", "gate"), [(0.0, 1.0), (1.0, 0.2), (0.5, 0.6), (-1.0, 1.8)])
def test_alpha_mixes_one_and_the_gate(alpha, gate):
    class Fifth(nn.Module):
        def attention(self, x: Tensor) -> Tensor:
            return torch.full((1, 8, 1, 1), 0.2)

    block = IdentityStart(Fifth())
    nn.init.constant_(block.alpha, alpha)
    assert count(block) == 1
    torch.testing.assert_close(block.attention(images(2, 8, 3, 3)), torch.full((1, 8, 1, 1), gate))
    torch.testing.assert_close(block(images(2, 8, 3, 3)), gate * images(2, 8, 3, 3))


# ---- the blocks of this file keep the contract of every block -------------------------------------------------------


def identity_start(channels: int) -> IdentityStart:
    return IdentityStart(CBAM(channels, reduction=2, kernel_size=3, norm=False))


every_gate = pytest.mark.parametrize("make_block", [spatial_gate, identity_start])


def test_contract():
    contract.check_contract(spatial_gate, 0, 1)
    contract.check_contract(identity_start, -torch.inf, torch.inf)


@every_gate
def test_gradients(make_block):
    contract.check_gradients(make_block)


@every_gate
def test_half_precision(make_block):
    contract.check_half_precision(make_block)


@every_gate
def test_export_and_compile(make_block):
    contract.check_export_and_compile(make_block)


def test_spatial_gate_by_hand():
    """NumPy, one position at a time: mean over the channels, 3×3 with zeros around it, bias, sigmoid."""
    block = generic(SpatialGate())
    assert count(block) == 10
    x = images(2, 5, 4, 3)
    weight, bias = block.conv.weight.detach().double().numpy()[0, 0], block.conv.bias.item()
    expected = np.empty(x.shape)
    for b, image in enumerate(x.double().numpy()):
        around = np.pad(image.sum(0) / 5, 1)
        for i in range(4):
            for j in range(3):
                gate = 1 / (1 + np.exp(-((around[i:i + 3, j:j + 3] * weight).sum() + bias)))
                expected[b, :, i, j] = image[:, i, j] * gate
    assert block.attention(x).shape == (2, 1, 4, 3)
    np.testing.assert_allclose(block(x).detach().numpy(), expected, rtol=1e-5)


# ---- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bad", "error", "message"), [
    (torch.zeros(8, 5, 7), ValueError, r"\(B, C, H, W\), got 3 dimensions: \(8, 5, 7\)"),
    (torch.zeros(1, 8, 0, 7), ValueError, r"empty tensor: \(1, 8, 0, 7\)"),
    (torch.zeros(1, 8, 5, 7, dtype=torch.uint8), TypeError, "floating-point values, got torch.uint8"),
])
def test_bad_input_of_the_spatial_gate(bad, error, message):
    for call in (SpatialGate(), SpatialGate().attention):
        with pytest.raises(error, match=message):
            call(bad)


def without_residual_blocks() -> ResNet:
    model = resnet()
    model.layer3 = nn.Identity()
    return model


@pytest.mark.parametrize(("make", "arguments", "message"), [
    (report_cnn, {}, "expected a torchvision ResNet, got ReportCNN: insert_after takes any CNN"),
    (resnet, {"placement": "after"}, "one of standard, pre, post, identity, stage, got 'after'"),
    (resnet, {"placement": "Standard"}, "got 'Standard'"),
    (resnet, {"stages": (1, 5)}, r"stages must be among 1, 2, 3 and 4, got \(1, 5\)"),
    (resnet, {"stages": range(3)}, r"got \(0, 1, 2\)"),
    (without_residual_blocks, {}, "layer3 has no residual block of torchvision, BasicBlock or Bottleneck"),
])
def test_bad_input_of_insert_attention(make, arguments, message):
    model = make()
    before = str(model)
    with pytest.raises(ValueError, match=message):
        insert_attention(model, SEBlock, **arguments)
    assert str(model) == before


class Odd(nn.Module):
    """A convolution, a layer that is never used, and one that gives a tuple."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.unused = nn.Conv2d(3, 4, 3)
        self.pair = nn.Module()
        self.pair.forward = lambda x: (x, x)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(3600, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pair(self.conv(x))[0])


@pytest.mark.parametrize(("layers", "message"), [
    (["conv", "conf"], "Odd has no layer 'conf'; near names: conv"),
    (["conv", ""], "Odd has no layer ''"),
    (["conv", "unused"], "the model does not use its layer 'unused': nothing was inserted"),
    (["conv", "pair"], r"layer 'pair' gives no feature map \(B, C, H, W\)"),
    (["conv", "head.1"], "layer 'head.1' gives no feature map"),
    (["conv", "head", "conv"], "layer 'conv' is named twice"),
    (["head", "head.0"], "layer 'head.0' is named twice, or lies in another one that is named: 'head'"),
    (["head.0", "head"], "layer 'head.0' is named twice, or lies in another one that is named: 'head'"),
])
def test_bad_input_of_insert_after(layers, message):
    """Nothing is inserted then, also not after the layers that are right, and no hook is left."""
    model = Odd()
    before = str(model)
    with pytest.raises(ValueError, match=message) as caught:
        insert_after(model, layers, SEBlock, PICTURES)
    assert "\n" not in str(caught.value)
    assert str(model) == before
    assert hooks(model) == 0


def test_a_name_that_another_one_begins_with_is_not_inside_it():
    model = nn.Sequential(*(nn.ReLU() for _ in range(11)))
    inserted = insert_after(model, ["1", "10"], SEBlock, PICTURES)
    assert [each.name for each in inserted] == ["1.attention", "10.attention"]
