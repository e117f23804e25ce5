"""Exercises of the Grad-CAM chapter, and the lines of its table that compare implementations."""

import copy

import numpy as np
import pytest
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.image import scale_cam_image
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn
from torch.nn import functional as F

from attncourse import gradcam as package
from attncourse.checks.gradcam import channel_weights, class_map, hooked_map, over_image, small_network, split_map

# --- channel_weights -------------------------------------------------------------------------------------------------


def weights_by_loop(gradient):
    B, K, h, w = gradient.shape
    alpha = torch.zeros(B, K, dtype=gradient.dtype)
    for b in range(B):
        for k in range(K):
            alpha[b, k] = gradient[b, k].sum() / (h * w)
    return alpha


WEIGHTS_RIGHT = [
    weights_by_loop,
    lambda gradient: gradient.flatten(2).mean(-1),
    lambda gradient: F.adaptive_avg_pool2d(gradient, 1)[:, :, 0, 0],
]
WEIGHTS_WRONG = {
    "sum": [lambda g: g.flatten(2).sum(2), lambda g: torch.einsum("bkhw->bk", g)],
    "divided-by-one-side": [lambda g: torch.einsum("bkhw->bk", g) / g.size(2), lambda g: g.mean(2).sum(2)],
    "averaged-channels": [lambda g: torch.mean(g, dim=1)],
    "averaged-batch": [lambda g: g.transpose(0, 1).flatten(1).mean(1)],
    "relu": [lambda g: F.relu(g).mean(dim=(2, 3)), lambda g: torch.clamp(g.mean((2, 3)), min=0)],
    "absolute": [lambda g: torch.abs(g).mean((-2, -1))],
    "maximum": [lambda g: F.adaptive_max_pool2d(g, 1).flatten(1)],
    "one-axis-only": [lambda g: g.mean(-1)],
    "kept-axes": [lambda g: F.adaptive_avg_pool2d(g, 1)],
    "lost-batch": [lambda g: F.adaptive_avg_pool2d(g, 1).squeeze()],
    "normalised": [lambda g: F.softmax(g.flatten(2).mean(2), dim=-1)],
    "returned-nothing": [lambda g: None],
    "mutated-input": [lambda g: g.mul_(2).mean((2, 3)) / 2],
    "wrong-arguments": [lambda A, g: g.mean((2, 3))],
}


def test_channel_weights(tells_apart):
    tells_apart(channel_weights, WEIGHTS_RIGHT, WEIGHTS_WRONG)


# --- class_map -------------------------------------------------------------------------------------------------------


def map_by_loop(A, gradient):
    maps = torch.zeros_like(A[:, 0])
    for b in range(len(A)):
        for k in range(A.shape[1]):
            maps[b] += gradient[b, k].mean() * A[b, k]
    return maps.clamp(min=0)


def range_0_to_1(maps, small=0.0):
    flat = maps.flatten(1)
    lowest, highest = flat.min(1).values[:, None, None], flat.max(1).values[:, None, None]
    return (maps - lowest) / (highest - lowest + small)


MAP_RIGHT = [
    map_by_loop,
    lambda A, g: torch.einsum("bk,bkhw->bhw", g.mean((2, 3)), A).relu(),
    lambda A, g: F.relu((A.flatten(2) * g.flatten(2).mean(2, keepdim=True)).sum(1)).view_as(A[:, 0]),
]
MAP_WRONG = {
    "no-relu": [lambda A, g: torch.einsum("bk,bkhw->bhw", g.mean((2, 3)), A)],
    "absolute": [lambda A, g: torch.einsum("bk,bkhw->bhw", g.mean((2, 3)), A).abs()],
    "relu-per-channel": [lambda A, g: F.relu(g.mean((2, 3))[:, :, None, None] * A).sum(dim=1)],
    "relu-on-gradient": [lambda A, g: torch.einsum("bk,bkhw->bhw", F.relu(g).mean((2, 3)), A).relu(),
                         lambda A, g: torch.einsum("bk,bkhw->bhw", F.relu(g.mean((2, 3))), A).clamp(min=0)],
    "relu-on-maps": [lambda A, g: torch.einsum("bk,bkhw->bhw", g.mean((2, 3)), F.relu(A)).relu()],
    "min-max": [lambda A, g: range_0_to_1(package.class_map(A, g)),
                lambda A, g: range_0_to_1(package.class_map(A, g), 1e-8)],
    "no-relu-kept-axis": [lambda A, g: torch.einsum("bk,bkhw->bhw", g.mean((2, 3)), A).unsqueeze(1)],
    "absolute-gradient": [lambda A, g: torch.einsum("bk,bkhw->bhw", g.mean((2, 3)).abs(), A).relu()],
    "not-averaged": [lambda A, g: F.relu(torch.sum(A * g, dim=1))],
    "no-gradient": [lambda A, g: F.relu(A.mean(dim=1))],
    "no-activation": [lambda A, g: F.relu(g.mean(dim=1))],
    "swapped": [lambda A, g: torch.einsum("bk,bkhw->bhw", A.mean((2, 3)), g).relu()],
    "averaged-channels": [lambda A, g: F.relu((g.mean((2, 3))[:, :, None, None] * A).mean(dim=1))],
    "summed-positions": [lambda A, g: torch.einsum("bk,bkhw->bhw", g.sum((2, 3)), A).relu()],
    "averaged-batch": [lambda A, g: torch.einsum("k,bkhw->bhw", g.mean((0, 2, 3)), A).relu()],
    "kept-axis": [lambda A, g: torch.einsum("bk,bkhw->bhw", g.mean((2, 3)), A).relu().unsqueeze(1)],
    "no-sum": [lambda A, g: F.relu(A * g.mean((2, 3), keepdim=True))],
    "weights-without-axes": [lambda A, g: F.relu(torch.sum(A * g.flatten(2).mean(2), dim=1))],
    "softmax": [lambda A, g: torch.einsum("bk,bkhw->bhw", F.softmax(g.mean((2, 3)), 1), A).relu()],
    "mutated-input": [lambda A, g: A.mul_(g.mean((2, 3), keepdim=True)).sum(1).relu()],
    "crashed": [lambda A, g: (g.mean((2, 3)) @ A).relu()],
}


def test_class_map(tells_apart):
    tells_apart(class_map, MAP_RIGHT, MAP_WRONG)


def test_two_mistakes_at_once_still_get_one_of_their_names():
    result = class_map(lambda A, g: torch.einsum("bk,bkhw->bhw", g.sum((2, 3)), A))  # sum, and no ReLU
    assert result.status == "failed"
    assert result.cause in ("no-relu", "summed-positions", "wrong-values")
    assert "Expected" in result.message


# --- over_image ------------------------------------------------------------------------------------------------------


def over_by_loop(maps, height, width):
    out = torch.zeros(len(maps), height, width, dtype=maps.dtype)
    for number, one_map in enumerate(maps):
        large = F.interpolate(one_map[None, None], size=(height, width), mode="bilinear", align_corners=False)[0, 0]
        out[number] = large / large.max() if large.max() > 0 else large
    return out


def resized(maps, height, width, mode="bilinear"):
    return F.interpolate(maps.unsqueeze(1), size=(height, width), mode=mode).squeeze(1)


OVER_RIGHT = [
    over_by_loop,
    lambda m, h, w: torch.nan_to_num(resized(m, h, w) / resized(m, h, w).flatten(1).amax(1)[:, None, None]),
    lambda m, h, w: resized(m, h, w) / (resized(m, h, w).amax((1, 2), keepdim=True) + 1e-8),
]
OVER_WRONG = {
    "by-batch": [lambda m, h, w: resized(m, h, w) / resized(m, h, w).max()],
    "min-max": [lambda m, h, w: torch.nan_to_num(
        (resized(m, h, w) - resized(m, h, w).amin((1, 2), keepdim=True))
        / (resized(m, h, w) - resized(m, h, w).amin((1, 2), keepdim=True)).amax((1, 2), keepdim=True))],
    "nearest": [lambda m, h, w: over_by_loop(resized(m, h, w, "nearest"), h, w)],
    "bicubic": [lambda m, h, w: over_by_loop(resized(m, h, w, "bicubic"), h, w)],
    "aligned-corners": [lambda m, h, w: over_by_loop(
        F.interpolate(m[None], (h, w), mode="bilinear", align_corners=True)[0], h, w)],
    "swapped-sides": [lambda m, h, w: over_by_loop(m, w, h)],
    "normalised-too-early": [lambda m, h, w: resized(over_by_loop(m, *m.shape[1:]), h, w)],
    "not-normalised": [resized],
    "weak-map": [lambda m, h, w: resized(m, h, w) / resized(m, h, w).amax(dim=(1, 2), keepdim=True).clamp_min(1.0),
                 lambda m, h, w: resized(m, h, w) / (resized(m, h, w).flatten(1).amax(1)[:, None, None] + 1e-5)],
    "divided-by-zero": [lambda m, h, w: resized(m, h, w) / resized(m, h, w).amax(dim=(1, 2), keepdim=True)],
    "kept-axis": [lambda m, h, w: over_by_loop(m, h, w).unsqueeze(1)],
    "mutated-input": [lambda m, h, w: over_by_loop(m.div_(2), h, w)],
    "crashed": [lambda m, h, w: F.interpolate(m, (h, w), mode="bilinear")],
}


def test_over_image(tells_apart):
    tells_apart(over_image, OVER_RIGHT, OVER_WRONG)


# --- split_map -------------------------------------------------------------------------------------------------------


def split_right(features, head, images, target):
    with torch.no_grad():
        A = features(images)
    A.requires_grad_(True)
    logits = head(A)
    score = sum(logits[i, c] for i, c in enumerate(target.tolist()))
    (gradient,) = torch.autograd.grad(score, [A])
    alpha = gradient.mean((2, 3))
    return torch.einsum("bk,bkhw->bhw", alpha, A.detach()).relu()


def one_image_at_a_time(features, head, images, target):
    maps = []
    for image, c in zip(images, target):
        A = features(image[None]).detach().requires_grad_()
        gradient = torch.autograd.grad(head(A)[0, c], A)[0]
        maps.append(package.class_map(A.detach(), gradient)[0])
    return torch.stack(maps)


def whole_graph(features, head, images, target):
    A = features(images)
    gradient = torch.autograd.grad(head(A).gather(1, target.unsqueeze(1)).sum(), A)[0]
    return package.class_map(A, gradient).detach()


def scored(score):
    def answer(features, head, images, target):
        A = features(images).detach().requires_grad_()
        gradient = torch.autograd.grad(score(head(A), target), A)[0]
        return package.class_map(A.detach(), gradient)
    return answer


def combined(combine):
    def answer(features, head, images, target):
        A = features(images).detach().requires_grad_()
        logits = head(A)
        gradient = torch.autograd.grad(logits[torch.arange(len(target)), target].sum(), A)[0]
        return combine(A.detach(), gradient)
    return answer


def with_backward(features, head, images, target):
    A = features(images)
    A.retain_grad()
    head(A)[range(len(target)), target].sum().backward()
    return package.class_map(A.detach(), A.grad)


def emptied(features, head, images, target):
    maps = with_backward(features, head, images, target)
    nn.Sequential(features, head).zero_grad()
    return maps


def gradient_of_images(features, head, images, target, weighted=None):
    images = images.detach().clone().requires_grad_()
    score = head(features(images))[range(len(target)), target].sum()
    return package.class_map((weighted or nn.Identity())(images).detach(), torch.autograd.grad(score, images)[0])


SPLIT_RIGHT = [split_right, one_image_at_a_time, whole_graph]
SPLIT_WRONG = {
    "probabilities": [scored(lambda y, t: F.softmax(y, dim=1)[torch.arange(len(t)), t].sum())],
    "log-probabilities": [scored(lambda y, t: -F.cross_entropy(y, t, reduction="sum"))],
    "all-logits": [scored(lambda y, t: y.sum(dim=1).sum())],
    "own-prediction": [scored(lambda y, t: y.gather(1, y.argmax(1, keepdim=True)).sum()),
                       scored(lambda y, t: F.softmax(y, dim=1).max(1).values.sum())],
    "min-max": [combined(lambda A, g: range_0_to_1(package.class_map(A, g)))],
    "emptied": [emptied],
    "gradient-of-images": [gradient_of_images, lambda f, h, x, t: gradient_of_images(f, h, x, t, weighted=f)],
    "one-target-for-all": [scored(lambda y, t: y[:, t[0].item()].sum())],
    "targets-of-all-images": [scored(lambda y, t: y[:, t].sum())],
    "averaged-batch": [scored(lambda y, t: y[torch.arange(len(t)), t].mean())],
    "no-relu": [combined(lambda A, g: (g.mean((2, 3))[:, :, None, None] * A).sum(1))],
    "relu-on-gradient": [combined(lambda A, g: package.class_map(A, F.relu(g)))],
    "absolute": [combined(lambda A, g: (g.mean((2, 3))[:, :, None, None] * A).sum(1).abs())],
    "not-averaged": [combined(lambda A, g: (A * g).sum(1).clamp(min=0))],
    "no-gradient": [combined(lambda A, g: A.mean(1))],
    "averaged-channels": [combined(lambda A, g: package.class_map(A, g) / A.shape[1])],
    "summed-positions": [combined(lambda A, g: package.class_map(A, g) * A.shape[2] * A.shape[3])],
    "normalised": [combined(lambda A, g: over_by_loop(package.class_map(A, g), *A.shape[2:]))],
    "accumulated": [with_backward],
    "not-detached": [lambda f, h, x, t: package.class_map(
        A := f(x), torch.autograd.grad(h(A)[range(len(t)), t].sum(), A)[0])],
    "mutated-input": [lambda f, h, x, t: split_right(f, h, x.mul_(2), t)],
    "crashed": [lambda f, h, x, t: package.class_map(f(x), torch.autograd.grad(h(f(x)).sum(), f(x))[0])],
}


def test_split_map(tells_apart):
    tells_apart(split_map, SPLIT_RIGHT, SPLIT_WRONG)


# --- hooked_map ------------------------------------------------------------------------------------------------------


def with_the_package(model, layer, images, target):
    return package.class_map(*package.map_and_gradient(model, layer, images, target))


def images_that_need_a_gradient(model, layer, images, target):
    """No cut: the images are made to need a gradient, so that one passes the layer even where all is frozen."""
    modes = {module: module.training for module in model.modules()}
    kept = {}

    def hook(module, inputs, output):
        kept["A"] = output.detach().clone()
        output.register_hook(lambda gradient: kept.update(gradient=gradient))

    handle = layer.register_forward_hook(hook)
    try:
        model.eval()
        images = images.clone().requires_grad_()
        torch.autograd.grad(model(images)[range(len(target)), target].sum(), images)
    finally:
        handle.remove()
        for module, training in modes.items():
            module.training = training
    return (kept["gradient"].mean((2, 3), keepdim=True) * kept["A"]).sum(1).relu()


class Usual:
    """The way that one finds everywhere, with one thing wrong."""

    clone = finish = eval = back = True

    def __call__(self, model, layer, images, target):
        modes = [(module, module.training) for module in model.modules()]
        if self.eval:
            model.eval()
        handle = layer.register_forward_hook(self.hook)
        try:
            images = images.clone().requires_grad_()
            self.differentiate(model(images)[range(len(target)), target].sum(), images)
        finally:
            if self.finish:
                handle.remove()
            for module, training in modes if self.back else ():
                module.training = training
        return package.class_map(self.A, self.gradient)

    def hook(self, module, inputs, output):
        self.A = output.detach().clone() if self.clone else output.detach()
        output.register_hook(self.keep)

    def keep(self, gradient):
        self.gradient = gradient

    def differentiate(self, score, images):
        torch.autograd.grad(score, images)


def usual(**methods):
    return type("Wrong", (Usual,), methods)()


def keep_the_input(self, module, inputs, output):
    self.A = inputs[0].detach().clone()
    if inputs[0].requires_grad:
        inputs[0].register_hook(self.keep)


def no_finally(model, layer, images, target):
    from attncourse.layers import eval_mode
    kept = []

    def cut(module, inputs, output):
        kept.append(output.detach().clone().requires_grad_())
        return kept[0].clone()

    handle = layer.register_forward_hook(cut)
    with eval_mode(model):
        score = model(images).gather(1, target[:, None]).sum()
    gradient = torch.autograd.grad(score, kept[0])[0]
    handle.remove()
    return package.class_map(kept[0].detach(), gradient)


def the_leaf_itself(model, layer, images, target):
    from attncourse.layers import eval_mode
    kept = []

    def cut(module, inputs, output):
        kept.append(output.detach().clone().requires_grad_())
        return kept[0]

    handle = layer.register_forward_hook(cut)
    try:
        with eval_mode(model):
            score = model(images).gather(1, target[:, None]).sum()
            gradient = torch.autograd.grad(score, kept[0])[0]
    finally:
        handle.remove()
    return package.class_map(kept[0].detach(), gradient)


def then(change):
    """The right map, and afterwards a change of the model or the layer."""
    def answer(model, layer, images, target):
        try:
            return with_the_package(model, layer, images, target)
        finally:
            change(model, layer)
    return answer


def all_in_the_first_mode(model, layer, images, target):
    training = model.training
    maps = with_the_package(model, layer, images, target)
    model.train(training)
    return maps


def without_in_place(model, layer):
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False


def softmaxed(model, layer, images, target):
    return with_the_package(nn.Sequential(model, nn.Softmax(1)), layer, images, target)


def two_module_hooks(model, layer, images, target):
    kept = {}
    forward = layer.register_forward_hook(lambda module, inputs, output: kept.update(A=output))
    backward = layer.register_full_backward_hook(lambda module, inputs, outputs: kept.update(gradient=outputs[0]))
    model.eval()
    model(images)[range(len(target)), target].sum().backward()
    forward.remove()
    backward.remove()
    return package.class_map(kept["A"].detach(), kept["gradient"])


def leaf_from_the_graph(model, layer, images, target):
    from attncourse.layers import eval_mode
    kept = []
    handle = layer.register_forward_hook(lambda module, inputs, output: kept.append(output))
    try:
        with eval_mode(model):
            score = model(images).gather(1, target[:, None]).sum()
        gradient = torch.autograd.grad(score, kept[0])[0]
    finally:
        handle.remove()
    return package.class_map(kept[0].detach(), gradient)


HOOKED_RIGHT = [with_the_package, images_that_need_a_gradient, Usual()]
HOOKED_WRONG = {
    "overwritten": [usual(clone=False)],
    "gradient-behind": [leaf_from_the_graph],
    "module-backward-hook": [two_module_hooks],
    "stored-input": [usual(hook=keep_the_input)],
    "hooks-left": [usual(finish=False)],
    "hooks-left-after-error": [no_finally],
    "mode-changed": [usual(back=False)],
    "mode-of-all": [then(lambda model, layer: model.train()), all_in_the_first_mode],
    "relu-on-maps": [lambda model, layer, x, t: relu_on_maps(*package.map_and_gradient(model, layer, x, t))],
    "leaf-handed-on": [the_leaf_itself],
    "hooks-cleared": [then(lambda model, layer: layer._forward_hooks.clear())],
    "switches-changed": [then(without_in_place), then(lambda model, layer: model.requires_grad_())],
    "emptied": [then(lambda model, layer: model.zero_grad())],
    "training-mode": [usual(eval=False)],
    "accumulated": [usual(differentiate=lambda self, score, images: score.backward())],
    "probabilities": [softmaxed],
    "all-logits": [lambda model, layer, x, t: scaled_sum(model, layer, x)],
    "own-prediction": [lambda model, layer, x, t: with_the_package(model, layer, x, None)],
    "one-target-for-all": [lambda model, layer, x, t: with_the_package(model, layer, x, t[0].expand(len(t)))],
    "no-relu": [lambda model, layer, x, t: signed(*package.map_and_gradient(model, layer, x, t))],
    "no-gradient": [lambda model, layer, x, t: package.map_and_gradient(model, layer, x, t)[0].mean(1).relu()],
    "crashed": [lambda model, layer, x, t: package.class_map(layer(x), layer.weight.grad)],
    "wrong-arguments": [lambda model, images, target: images],
}


def signed(A, gradient):
    return (gradient.mean((2, 3), keepdim=True) * A).sum(1)


def relu_on_maps(A, gradient):
    return package.class_map(A.relu(), gradient)


class SumOfLogits(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x).sum(1, keepdim=True)


def scaled_sum(model, layer, images):
    return with_the_package(SumOfLogits(model), layer, images, 0)


def test_hooked_map(tells_apart):
    tells_apart(hooked_map, HOOKED_RIGHT, HOOKED_WRONG)


def test_the_usual_ten_lines_are_told_that_the_relu_overwrote_them():
    """Everything that they get wrong at once: no copy, no eval mode, backward, no finally."""
    def answer(model, layer, images, target):
        stored = {}

        def keep(module, inputs, output):
            stored["A"] = output.detach()
            output.register_hook(lambda gradient: stored.update(gradient=gradient))

        handle = layer.register_forward_hook(keep)
        model(images).gather(1, target[:, None]).sum().backward()
        handle.remove()
        return package.class_map(stored["A"], stored["gradient"])

    result = hooked_map(answer)
    assert result.cause == "overwritten"
    assert "clone it" in result.message
    assert "its BatchNorm, which an in-place ReLU follows" in result.failing_input


# --- the chapter's table: pytorch-grad-cam and ours ------------------------------------------------------------------


IMAGES = torch.randn(2, 3, 4, 3, generator=torch.Generator().manual_seed(0))
TARGET = torch.tensor([2, 0])


def theirs(model, layer):
    """pytorch-grad-cam's map before it is scaled, (B, h, w)."""
    with GradCAM(model, [layer]) as method:
        method(IMAGES, [ClassifierOutputTarget(c) for c in TARGET.tolist()])
        stored = method.activations_and_grads
        maps = method.get_cam_image(IMAGES, layer, None, stored.activations[0].numpy(), stored.gradients[0].numpy())
    return torch.from_numpy(np.maximum(maps, 0))


def ours(model, layer):
    return package.class_map(*package.map_and_gradient(model, layer, IMAGES, TARGET))


def not_in_place(model):
    model = copy.deepcopy(model)
    model[2].inplace = False
    return model


def test_both_are_the_same_where_nothing_overwrites():
    model = small_network()
    torch.testing.assert_close(theirs(model, model[0]), ours(model, model[0]))  # mean of the gradient, ReLU, logits


def test_before_an_in_place_relu_theirs_is_wrong_on_the_cpu_and_ours_right():
    model = small_network()
    honest = not_in_place(model)
    right = ours(honest, honest[1])
    torch.testing.assert_close(theirs(honest, honest[1]), right)
    torch.testing.assert_close(ours(model, model[1]), right)
    assert (theirs(model, model[1]) - right).abs().max() > 0.1 * right.max()


def test_the_authors_sum_is_the_mean_times_the_positions_and_scaling_removes_it():
    A, gradient = package.map_and_gradient(small_network(), "0", IMAGES, TARGET)
    summed = (gradient.sum((2, 3), keepdim=True) * A).sum(1).relu()
    torch.testing.assert_close(summed, 4 * 3 * package.class_map(A, gradient))
    highest = summed.amax((1, 2), keepdim=True)
    torch.testing.assert_close(summed / highest, package.class_map(A, gradient) * 12 / highest)


def test_theirs_takes_the_models_output_whatever_it_is():
    model = small_network()
    probabilities = nn.Sequential(*model, nn.Softmax(1)).eval()
    assert not torch.allclose(theirs(probabilities, probabilities[0]), theirs(model, model[0]))
    torch.testing.assert_close(theirs(probabilities, probabilities[0]), ours(probabilities, probabilities[0]))


def test_the_scale_theirs_from_the_minimum_ours_from_zero():
    """A map that is positive everywhere: the lowest place becomes 0 for them and keeps its proportion here."""
    flat = torch.tensor([[[0.8, 1.0], [0.9, 0.85]]])
    np.testing.assert_allclose(scale_cam_image(flat.numpy())[0], [[0, 1], [0.5, 0.25]], atol=1e-5)

    class Fixed(nn.Module):
        """Its first layer gives the map above on one channel, its logit is the mean."""

        def __init__(self):
            super().__init__()
            self.layer = nn.Identity()

        def forward(self, x):
            return self.layer(flat[None] + 0 * x[:, :1]).mean((2, 3))

    torch.testing.assert_close(package.grad_cam(Fixed(), "layer", torch.zeros(1, 3, 2, 2), 0), flat)


def test_theirs_stretches_after_the_scaling_and_scales_again():
    small = np.array([[[0.0, 2.0, 1.0]]], dtype=np.float32)
    once = scale_cam_image(small, (4, 2))
    assert once.max() < 1  # neighbours were averaged
    assert scale_cam_image(once).max() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("way", [theirs, ours])
def test_what_is_left_on_the_model(way):
    model = small_network().train()
    way(model, model[0])
    left = model.training, model[0].weight.grad is not None
    assert left == ((False, True) if way is theirs else (True, False))


def test_a_frozen_model_is_an_error_for_theirs_and_works_here():
    model = small_network().requires_grad_(False)
    with pytest.raises(RuntimeError, match="does not require grad"):
        theirs(model, model[0])
    torch.testing.assert_close(ours(model, model[0]), ours(small_network(), "0"))
