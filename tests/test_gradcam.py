"""Grad-CAM against the paper's equations, a library, CAM, and what must hold for any network."""

import copy
import gc
from collections import OrderedDict

import numpy as np
import pytest
import torch
import torchvision
from block_contract import generic, images
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from attncourse.backbone import ReportCNN
from attncourse.gradcam import class_map, grad_cam, map_and_gradient
from attncourse.training import seeded

CLASSES = 5
IMAGES = images(3, 3, 8, 8)  # for the small network


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    with seeded(0):
        return torchvision.models.resnet18(num_classes=10).eval()


@pytest.fixture(scope="module")
def report_cnn() -> nn.Module:
    with seeded(0):
        return ReportCNN().eval()


@pytest.fixture
def small() -> nn.Module:
    """Convolutions, global average pooling, one linear layer; a ReLU that overwrites what the BatchNorm gave."""
    return generic(nn.Sequential(OrderedDict(
        conv1=nn.Conv2d(3, 6, 3, padding=1),
        norm=nn.BatchNorm2d(6),
        relu=nn.ReLU(inplace=True),
        conv2=nn.Conv2d(6, 8, 3, stride=2, padding=1),
        pool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        dropout=nn.Dropout(0.5),
        head=nn.Linear(8, CLASSES),
    )), seed=1).eval()  # with these weights the images have three different classes


def library(model: nn.Module, layer: str, x: Tensor, target: list[int]) -> Tensor:
    """pytorch_grad_cam's map (B, h, w), before it normalises and stretches it."""
    module = model.get_submodule(layer)
    targets = [ClassifierOutputTarget(c) for c in target]
    with GradCAM(model, [module]) as cam:
        cam(x, targets)
        stored = cam.activations_and_grads
        A, gradient = stored.activations[0].numpy(), stored.gradients[0].numpy()
        return torch.from_numpy(np.maximum(cam.get_cam_image(x, module, targets, A, gradient), 0))


def distance(got: Tensor, expected: Tensor) -> float:
    """The largest difference relative to the largest value."""
    return ((got - expected).abs().max() / expected.abs().max()).item()


# ---- the right map --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", ["conv1", "maxpool", "layer1", "layer2.0.conv1", "layer3.1.conv2", "layer4"])
def test_library_on_a_resnet(resnet, layer):
    x, target = images(2, 3, 64, 64), [3, 7]
    ours = class_map(*map_and_gradient(resnet, layer, x, torch.tensor(target)))
    assert ours.any()
    assert distance(ours, library(resnet, layer, x, target)) < 1e-5


@pytest.mark.parametrize("layer", ["stage1.conv1", "stage1.norm1", "stage2.attention2", "stage2.dropout"])
def test_library_on_the_report_cnn(report_cnn, layer):
    x, target = images(2, 3, 32, 32), [0, 9]
    ours = class_map(*map_and_gradient(report_cnn, layer, x, torch.tensor(target)))
    assert ours.any()
    assert distance(ours, library(report_cnn, layer, x, target)) < 1e-5


@pytest.mark.parametrize("layer", ["layer2.0.bn1", "layer4.1.bn1"])
def test_a_layer_whose_output_is_overwritten(resnet, layer):
    """An in-place ReLU after a BatchNorm must not change the answer. It changes the library's, which stores no copy."""
    x, target = images(2, 3, 64, 64), [3, 7]
    honest = copy.deepcopy(resnet)
    for module in honest.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    expected = library(honest, layer, x, target)
    assert distance(class_map(*map_and_gradient(resnet, layer, x, torch.tensor(target))), expected) < 1e-5
    assert distance(class_map(*map_and_gradient(honest, layer, x, torch.tensor(target))), expected) < 1e-5
    assert distance(library(resnet, layer, x, target), expected) > 0.1


def test_a_layer_whose_input_is_overwritten():
    """A layer that hands on the very tensor it got, which the network changes afterwards, as a skip connection may."""
    class Skip(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.skip, self.head = nn.Conv2d(3, 4, 3), nn.Identity(), nn.Linear(4, CLASSES)

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x)
            skipped = self.skip(x)
            return self.head((x.relu_() + skipped).mean((2, 3)))

    model = generic(Skip())
    assert torch.equal(map_and_gradient(model, "skip", IMAGES)[0], model.conv(IMAGES))


@pytest.mark.parametrize("wrong", [
    lambda model, layer, x, target: map_and_gradient(model, layer, x, target)[0].sum(1).relu(),  # no gradient
    lambda model, layer, x, target: class_map(*map_and_gradient(model, layer, x, 0)),  # always class 0
    lambda model, layer, x, target: class_map(*map_and_gradient(model, layer, x, target.flip(0))),
    lambda model, layer, x, target: torch.mul(*map_and_gradient(model, layer, x, target)).sum(1).relu(),  # not pooled
    lambda model, layer, x, target: -class_map(*map_and_gradient(model, layer, x, target)),
], ids=["without the gradient", "always class 0", "the classes exchanged", "gradient times map", "the sign turned"])
def test_the_comparison_with_the_library_finds_a_wrong_map(resnet, wrong):
    x, target = images(2, 3, 64, 64), torch.tensor([3, 7])
    assert distance(wrong(resnet, "layer3", x, target), library(resnet, "layer3", x, target.tolist())) > 0.1


def test_class_map_by_hand():
    A = torch.tensor([[[[1.0, 2.0]], [[3.0, 0.0]]]])  # two channels, 1 × 2 positions
    gradient = torch.tensor([[[[4.0, 0.0]], [[-2.0, 0.0]]]])  # their means: 2 and -1
    assert class_map(A, gradient).tolist() == [[[0.0, 4.0]]]  # 2·1 - 3 < 0, and 2·2 - 0


def test_with_a_linear_head_it_is_cam(small):
    """Zhou et al. weight the channels with the weights of the head. The gradient is that weight / (h·w)."""
    target = torch.tensor([4, 0, 2])
    A, gradient = map_and_gradient(small, "conv2", IMAGES, target)
    assert A.shape == gradient.shape == (3, 8, 4, 4)
    cam = torch.einsum("bk,bkhw->bhw", small.head.weight[target], A).relu()
    assert (cam.amax((1, 2)) > 0).all()
    torch.testing.assert_close(class_map(A, gradient), cam / (4 * 4))


def test_the_map_is_stretched_over_the_image():
    """Two by two cells, the upper left one bright; the bilinear weights of 2 × 3 pixels per cell by hand."""
    model = nn.Sequential(nn.AvgPool2d((2, 3)), nn.Flatten(), nn.Linear(12, 1, bias=False))
    nn.init.ones_(model[2].weight)
    image = torch.zeros(1, 3, 4, 6)
    image[:, :, :2, :3] = 7.0
    down, across = torch.tensor([1, 3 / 4, 1 / 4, 0]), torch.tensor([1, 1, 2 / 3, 1 / 3, 0, 0])
    torch.testing.assert_close(grad_cam(model, "0", image), (down[:, None] * across)[None])


def test_a_layer_is_given_by_its_name_or_itself(small):
    assert torch.equal(grad_cam(small, "conv2", IMAGES), grad_cam(small, small.conv2, IMAGES))


def test_from_zero_to_one(small, resnet):
    for maps in (grad_cam(small, "conv1", IMAGES, 2), grad_cam(resnet, "layer3", images(2, 3, 64, 48))):
        assert maps.min() >= 0
        assert torch.equal(maps.amax((1, 2)), torch.ones(len(maps)))
    assert maps.shape == (2, 64, 48)


def test_where_nothing_speaks_for_the_class_the_map_is_zero(small):
    """Class 0 counts every channel of a positive map against itself, class 1 for itself; both in one batch."""
    with torch.no_grad():
        small.head.weight[0], small.head.weight[1] = -1, 1
    small.conv2 = nn.Sequential(small.conv2, nn.ReLU())
    nothing, something, _ = grad_cam(small, "conv2", IMAGES, torch.tensor([0, 1, 2]))
    assert torch.equal(nothing, torch.zeros(8, 8))
    assert something.max() == 1


@pytest.mark.parametrize("layer", ["conv1", "conv2", "head"])
def test_it_depends_on_the_weights(small, layer):
    """The sanity check of Adebayo et al. (2018): a map that survives new weights explains nothing of the network."""
    before = grad_cam(small, "conv2", IMAGES, 1)
    generic(small.get_submodule(layer), seed=5)
    assert (grad_cam(small, "conv2", IMAGES, 1) - before).abs().amax((1, 2)).min() > 0.2


# ---- the class ------------------------------------------------------------------------------------------------------


def test_without_a_class_it_is_the_predicted_one(small):
    predicted = small(IMAGES).argmax(1)
    assert len(set(predicted.tolist())) == 3
    assert torch.equal(grad_cam(small, "conv2", IMAGES), grad_cam(small, "conv2", IMAGES, predicted))


@pytest.mark.parametrize("one", [3, torch.tensor(3), torch.tensor([3, 3, 3]), torch.tensor([3] * 3, dtype=torch.int32)])
def test_one_class_for_all_images(small, one):
    expected = torch.cat([grad_cam(small, "conv2", image[None], 3) for image in IMAGES])
    torch.testing.assert_close(grad_cam(small, "conv2", IMAGES, one), expected)


def test_a_class_for_each_image(small):
    target = torch.tensor([0, 4, 1])
    expected = torch.cat([grad_cam(small, "conv2", image[None], int(c)) for image, c in zip(IMAGES, target)])
    torch.testing.assert_close(grad_cam(small, "conv2", IMAGES, target), expected)
    assert distance(grad_cam(small, "conv2", IMAGES, 0)[1:], expected[1:]) > 0.1


# ---- nothing else matters, and nothing is left ----------------------------------------------------------------------


def test_a_frozen_network(small):
    expected = grad_cam(small, "conv2", IMAGES)
    small.requires_grad_(False)
    assert torch.equal(grad_cam(small, "conv2", IMAGES), expected)
    assert not any(p.requires_grad for p in small.parameters())


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_the_caller_s_gradient_mode_does_not_count(small, context):
    expected = grad_cam(small, "conv2", IMAGES)
    with context():
        maps = grad_cam(small, "conv2", IMAGES.clone())  # in inference mode: an inference tensor
    assert torch.equal(maps, expected)
    assert not maps.requires_grad


@pytest.mark.parametrize("layer", ["conv1", "norm", "conv2"])
def test_channels_last(small, layer):
    expected = grad_cam(small, layer, IMAGES)
    small.to(memory_format=torch.channels_last)
    torch.testing.assert_close(grad_cam(small, layer, IMAGES.to(memory_format=torch.channels_last)), expected)


def test_float64(small):
    single = grad_cam(small, "conv2", IMAGES)
    double = grad_cam(small.double(), "conv2", IMAGES.double())
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), single)


def test_the_images_stay_as_they_were():
    """Also in a network that begins with an in-place layer, and where the images want a gradient."""
    model = generic(nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 5)))
    x = IMAGES.clone().requires_grad_()
    grad_cam(model, "1", x)
    assert torch.equal(x, IMAGES)
    assert x.grad is None


class Twice(nn.Module):
    """Runs one of its layers twice and one never; gives a feature map, a tuple or logits."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.unused = nn.Conv2d(3, 3, 3)
        self.pair = Pair()
        self.head = nn.Linear(3, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pair(self.conv(self.conv(x)))[0].mean((2, 3)))


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


class Detached(nn.Module):
    """Cuts the gradient between the layer and the head."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3)
        self.head = nn.Linear(3, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv(x).detach().mean((2, 3)))


def hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) + len(module._backward_hooks)
               for module in model.modules())


@pytest.mark.parametrize(("layer", "target", "fails"), [
    ("conv2", None, False), ("conv2", CLASSES, True), ("head", None, True), ("flatten", 0, True)])
def test_the_model_is_left_as_it_was(small, layer, target, fails):
    """In training with a frozen BatchNorm and gradients of its own: modes, weights, statistics, gradients, hooks."""
    small.train()
    small.norm.eval()
    small(IMAGES).sum().backward()
    small.conv1.weight.grad = None
    modes = [module.training for module in small.modules()]
    state = copy.deepcopy(small.state_dict())
    gradients = [None if p.grad is None else p.grad.clone() for p in small.parameters()]
    try:
        grad_cam(small, layer, IMAGES, target)
        assert not fails
    except ValueError:
        assert fails
    assert [module.training for module in small.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in small.state_dict().items())
    for p, gradient in zip(small.parameters(), gradients):
        assert p.grad is None if gradient is None else torch.equal(p.grad, gradient)
    assert hooks(small) == 0


def test_statistics_of_a_batch_norm_in_training_are_neither_used_nor_changed(small):
    expected = grad_cam(small, "conv2", IMAGES)
    state = copy.deepcopy(small.state_dict())
    assert torch.equal(grad_cam(small.train(), "conv2", IMAGES), expected)
    assert all(torch.equal(value, state[name]) for name, value in small.state_dict().items())


def test_a_hundred_calls_leave_no_tensor_behind(small):
    """Not even one that the garbage collector would have to find."""
    gc.disable()
    gc.freeze()  # only what is made from here on is listed
    try:
        for _ in range(100):
            grad_cam(small, "conv2", IMAGES)
        assert not [thing for thing in gc.get_objects() if issubclass(type(thing), Tensor)]
    finally:
        gc.unfreeze()
        gc.enable()


# ---- bad input ------------------------------------------------------------------------------------------------------


def one_line(message: str, *arguments) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        grad_cam(*arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("layer", "message"), [
    ("conv3", "Sequential has no layer 'conv3'; near names: conv2, conv1"),
    ("head", r"needs a layer that gives a feature map \(B, K, h, w\), this one gives \(3, 5\)"),
    (nn.Conv2d(3, 3, 3), "must run once in a forward pass of the model, it ran 0 times"),
])
def test_bad_layer(small, layer, message):
    one_line(message, small, layer, IMAGES)
    assert hooks(small) == 0


@pytest.mark.parametrize(("layer", "message"), [
    ("conv", "it ran 2 times"), ("unused", "it ran 0 times"), ("pair", "this one gives tuple")])
def test_a_layer_that_does_not_give_one_map(layer, message):
    one_line(message, Twice(), layer, IMAGES)


@pytest.mark.parametrize(("target", "message"), [
    (CLASSES, "the model has classes 0 to 4, got 5"),
    (-1, "the model has classes 0 to 4, got -1"),
    (torch.tensor([0, 1, 5]), r"the model has classes 0 to 4, got \[0, 1, 5\]"),
    (torch.tensor([0, -1, 1]), r"the model has classes 0 to 4, got \[0, -1, 1\]"),
    (torch.tensor([0, 1]), r"one class or one per image, \(3,\), got torch.int64 \(2,\)"),
    (torch.tensor([[0, 1, 2]]), r"got torch.int64 \(1, 3\)"),
    (1.0, r"got torch.float32 \(\)"),
    (torch.tensor([0.0, 1.0, 2.0]), r"got torch.float32 \(3,\)"),
])
def test_bad_class(small, target, message):
    one_line(message, small, "conv2", IMAGES, target)


@pytest.mark.parametrize("frozen", [True, False])
def test_a_model_that_cuts_the_gradient(frozen):
    """Also where the head, which is behind the cut, has gradients of its own."""
    one_line("no gradient comes back", Detached().requires_grad_(not frozen), "conv", IMAGES)


def test_bad_images(small, report_cnn):
    one_line(r"images \(B, 3, H, W\), got \(3, 8, 8\): one image needs images\[None\]", small, "conv2", IMAGES[0])
    one_line(r"does not take images \(3, 1, 8, 8\)", small, "conv2", IMAGES[:, :1])
    one_line(r"does not take images \(3, 3, 8, 8\)", small, "conv2", IMAGES.double())
    one_line(r"expected images \(B, 3, 32, 32\), got \(3, 3, 8, 8\)", report_cnn, "stage1", IMAGES)


@pytest.mark.parametrize(("output", "got"), [
    (lambda x: {"out": x}, "dict"), (lambda x: x.mean((2, 3)).sum(1), r"\(3,\)"), (lambda x: x, r"\(3, 3, 8, 8\)")])
def test_a_model_that_gives_no_logits(output, got):
    model = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.Module())
    model[1].forward = output
    one_line(rf"expected a model that gives logits \(B, classes\), got {got}", model, "0", IMAGES)
