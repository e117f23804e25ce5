"""Exercises of the chapter on ResNets."""

import copy
from collections import OrderedDict

import pytest
import torch
from torch import nn

from attncourse.checks.resnets import (
    IMAGES,
    Normed,
    Scale,
    SmallResNet,
    after_last_norm,
    attended,
    freeze,
    load_plain,
    se_adds,
    start_at_one,
)
from attncourse.resnet import WithAttention

# --- start_at_one ----------------------------------------------------------------------------------------------------

START_RIGHT = [
    lambda gate, alpha: torch.lerp(torch.ones_like(gate), gate, alpha),
    lambda gate, alpha: alpha * gate + (1 - alpha),
    lambda gate, alpha: 1 - alpha + gate.mul(alpha),
]
START_WRONG = {
    "returned-gate": [lambda gate, alpha: gate.clone()],
    "always-one": [lambda gate, alpha: gate / gate],
    "starts-at-0": [lambda gate, alpha: gate.mul(alpha)],
    "without-one": [lambda gate, alpha: alpha * gate - alpha],
    "added-gate": [lambda gate, alpha: torch.add(1, gate * alpha)],
    "swapped-ends": [lambda gate, alpha: torch.lerp(gate, torch.ones_like(gate), alpha)],
    "sign": [lambda gate, alpha: 1 + alpha - alpha * gate],
    "power": [lambda gate, alpha: (alpha * gate.log()).exp()],
    "sigmoid-alpha": [lambda gate, alpha: 1 + torch.sigmoid(alpha) * (gate - 1)],
    "clamped": [lambda gate, alpha: (1 + alpha * (gate - 1)).clip(0, 1),
                lambda gate, alpha: torch.clamp(1 + alpha * (gate - 1), max=1.0)],
    "half-mixture": [lambda gate, alpha: 1 - alpha + gate],
    "subtracted-gate": [lambda gate, alpha: torch.sub(1, gate.mul(alpha))],
    "added-alpha": [lambda gate, alpha: torch.add(gate, alpha), lambda gate, alpha: (1 + gate) + alpha],
    "switch": [lambda gate, alpha: torch.ones_like(gate) if alpha == 0 else gate],
    "detached-gate": [lambda gate, alpha: 1 + alpha * (gate.data - 1)],
    "fixed-alpha": [lambda gate, alpha: 1 + float(alpha) * (gate - 1)],
    "returned-nothing": [lambda gate, alpha: None],
    "mutated-input": [lambda gate, alpha: 1 + gate.sub_(1) * alpha],
}


def test_start_at_one(tells_apart):
    tells_apart(start_at_one, START_RIGHT, START_WRONG)


# --- se_adds ---------------------------------------------------------------------------------------------------------


def by_real_layers(layers, expansion, reduction):
    total = 0
    for stage, blocks in enumerate(layers):
        channels = (64, 128, 256, 512)[stage] * expansion
        hidden = max(channels // reduction, 1)
        with torch.device("meta"):
            block = nn.Sequential(nn.Linear(channels, hidden), nn.Linear(hidden, channels))
        total += blocks * sum(p.numel() for p in block.parameters())
    return total


def in_a_loop(layers, expansion, reduction):
    total, channels = 0, 64 * expansion
    for n in layers:
        hidden = channels // reduction or 1
        total += n * (channels * hidden + hidden + hidden * channels + channels)
        channels *= 2
    return total


def counted(width=lambda s: 64 << s, of_block=None, hidden=lambda C, r: max(1, C // r), times=lambda n: n):
    of_block = of_block or (lambda C, h: 2 * C * h + C + h)

    def answer(layers, expansion, reduction):
        stages = [(n, width(s) * expansion) for s, n in enumerate(layers)]
        return sum(times(n) * of_block(C, hidden(C, reduction)) for n, C in stages)
    return answer


ADDS_RIGHT = [by_real_layers, in_a_loop, counted()]
ADDS_WRONG = {
    "expansion-ignored": [lambda layers, e, r: in_a_loop(layers, 1, r)],
    "reduced-base-width": [lambda layers, e, r: counted(hidden=lambda C, r: max(1, C // e // r))(layers, e, r)],
    "multiplied-by-expansion": [lambda layers, e, r: in_a_loop(layers, 1, r) * e],
    "stages-from-1": [counted(width=lambda s: 64 * 2 ** (s + 1))],
    "same-width": [counted(width=lambda s: 64)],
    "no-biases": [counted(of_block=lambda C, h: 2 * C * h)],
    "one-bias": [counted(of_block=lambda C, h: 2 * C * h + C), counted(of_block=lambda C, h: 2 * C * h + h)],
    "equal-biases": [counted(of_block=lambda C, h: 2 * C * h + 2 * C), counted(of_block=lambda C, h: 2 * (C + 1) * h)],
    "biases-per-stage": [lambda layers, e, r: counted(of_block=lambda C, h: 2 * C * h)(layers, e, r)
                         + in_a_loop([1] * len(layers), e, r)
                         - counted(of_block=lambda C, h: 2 * C * h)([1] * len(layers), e, r)],
    "one-layer": [counted(of_block=lambda C, h: C * h + h)],
    "blocks-ignored": [counted(times=lambda n: 1)],
    "blocks-squared": [counted(times=lambda n: n * n)],
    "last-stage-only": [lambda layers, e, r: in_a_loop(layers[:1], e, r)],
    "hidden-width-0": [counted(hidden=lambda C, r: C // r)],
    "true-division": [counted(hidden=lambda C, r: max(C / r, 1))],
    "rounded-width": [counted(hidden=lambda C, r: max(1, round(C / r))), counted(hidden=lambda C, r: (C + r - 1) // r)],
    "divided-too-late": [lambda layers, e, r: sum(
        n * ((2 * (64 * 2**s * e) ** 2) // r + 64 * 2**s * e + max(1, 64 * 2**s * e // r))
        for s, n in enumerate(layers))],
    "reduction-ignored": [counted(hidden=lambda C, r: C), counted(hidden=lambda C, r: max(1, C // 16))],
    "float-returned": [lambda layers, e, r: float(in_a_loop(layers, e, r))],
    "wrong-arguments": [lambda layers, r: 0],
}


def test_se_adds(tells_apart):
    tells_apart(se_adds, ADDS_RIGHT, ADDS_WRONG)


# --- after_last_norm -------------------------------------------------------------------------------------------------


def named_bn(model, attention):
    for stage in (model.layer1, model.layer2):
        for block in stage:
            name = "bn3" if hasattr(block, "bn3") else "bn2"
            norm = getattr(block, name)
            setattr(block, name, nn.Sequential(norm, attention(norm.num_features)))


def by_children(model, attention):
    for module in list(model.modules()):
        if hasattr(module, "downsample"):
            name = [child for child, _ in module.named_children() if child.startswith("bn")][-1]
            norm = module.get_submodule(name)
            module.add_module(name, nn.Sequential(norm, attention(len(norm.weight))))


def with_conv_channels(model, attention):
    for stage in ("layer1", "layer2"):
        for block in getattr(model, stage).children():
            last = 3 if "conv3" in dict(block.named_children()) else 2
            channels = getattr(block, f"conv{last}").out_channels
            parts = OrderedDict(layer=getattr(block, f"bn{last}"), attention=attention(channels))
            setattr(block, f"bn{last}", WithAttention(parts))


def each_block(change, stages=lambda model: (model.layer1, model.layer2), pick=slice(None)):
    def answer(model, attention):
        for stage in stages(model):
            for block in list(stage)[pick]:
                change(block, "bn3" if hasattr(block, "bn3") else "bn2", attention)
    return answer


def behind(block, name, attention):
    norm = getattr(block, name)
    setattr(block, name, nn.Sequential(norm, attention(norm.num_features)))


def one_for_all(model, attention):
    blocks = {8: attention(8), 16: attention(16)}
    each_block(lambda block, name, _: behind(block, name, blocks.__getitem__))(model, None)


def of_bn2(block, name, attention):
    behind(block, "bn2", attention)


def both(block, name, attention):
    behind(block, name, attention)
    if block.downsample is not None:
        behind(block.downsample, "1", attention)


def all_norms(block, name, attention):
    for child in ("bn1", "bn2", "bn3"):
        if hasattr(block, child):
            behind(block, child, attention)


def last_two(block, name, attention):
    behind(block, "bn2", attention)
    if name == "bn3":
        behind(block, "bn3", attention)


def whole_blocks(model, attention):
    for stage in (model.layer1, model.layer2):
        for i in range(len(stage)):
            stage[i] = nn.Sequential(stage[i], attention(16 if stage is model.layer2 else 8))


def norms_of_model(model, attention):
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(parent, name, nn.Sequential(child, attention(child.num_features)))


def reset(model, attention):
    named_bn(model, attention)
    for module in model.modules():
        if not isinstance(module, Scale) and hasattr(module, "reset_parameters"):
            module.reset_parameters()


def stages_only(model, attention):
    model.layer1 = nn.Sequential(model.layer1, attention(8))
    model.layer2 = nn.Sequential(model.layer2, attention(16))


AFTER_RIGHT = [named_bn, by_children, with_conv_channels]
AFTER_WRONG = {
    "nothing-put-in": [lambda model, attention: named_bn(copy.deepcopy(model), attention)],
    "after-addition": [whole_blocks],
    "after-stage": [stages_only],
    "first-norm": [each_block(lambda block, name, attention: behind(block, "bn1", attention))],
    "always-bn2": [each_block(of_bn2)],
    "bn2-and-bn3": [each_block(last_two)],
    "every-norm": [each_block(all_norms)],
    "attention-not-called": [
        each_block(lambda block, name, attention: setattr(block, name, attention)),
        each_block(lambda block, name, attention: setattr(block, name, nn.Sequential(getattr(block, name), attention))),
    ],
    "training-mode": [lambda model, attention: named_bn(model.train(), attention)],
    "every-norm-of-model": [norms_of_model],
    "downsample-too": [each_block(both)],
    "before-norm": [each_block(lambda block, name, attention: setattr(block, name, nn.Sequential(
        attention(getattr(block, name).num_features), getattr(block, name))))],
    "fresh-norm": [each_block(lambda block, name, attention: setattr(block, name, nn.Sequential(
        nn.BatchNorm2d(getattr(block, name).num_features).eval(), attention(getattr(block, name).num_features))))],
    "norm-lost": [each_block(lambda block, name, attention: setattr(block, name, attention(
        getattr(block, name).num_features)))],
    "shared": [one_for_all],
    "wrong-channels": [
        each_block(lambda block, name, attention: behind(block, name, lambda c: attention(block.conv1.in_channels))),
        each_block(lambda block, name, attention: behind(block, name, lambda c: attention(c // 2)))],
    "last-block-only": [each_block(behind, pick=slice(-1, None))],
    "first-block-only": [each_block(behind, pick=slice(0, 1))],
    "one-stage": [each_block(behind, lambda model: [model.layer2]), each_block(behind, lambda model: [model.layer1])],
    "new-weights": [reset],
    "crashed": [each_block(lambda block, name, attention: behind(block, "bn4", attention))],
    "wrong-arguments": [lambda model: None],
}


def test_after_last_norm(tells_apart):
    tells_apart(after_last_norm, AFTER_RIGHT, AFTER_WRONG)


# --- load_plain ------------------------------------------------------------------------------------------------------


def by_dictionary(model, state):
    names = {key.replace(".layer.", "."): key for key in model.state_dict() if ".attention." not in key}
    new = {names.get(key, key): value for key, value in state.items()}
    new.update((key, value) for key, value in model.state_dict().items() if ".attention." in key)
    model.load_state_dict(new)


def checked_by_hand(model, state):
    names = {key.replace(".layer.", "."): key for key in model.state_dict()}
    missing, unexpected = model.load_state_dict({names.get(key, key): state[key] for key in state}, strict=False)
    if unexpected or any(".attention." not in key for key in missing):
        raise ValueError(f"{unexpected} {missing}")


def taken_out_and_put_back(model, state):
    wrapped = [(name, module) for name, module in model.named_modules() if isinstance(module, WithAttention)]

    def put(name, module):
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, module)

    for name, module in wrapped:
        put(name, module.layer)
    model.load_state_dict(state)
    for name, module in wrapped:
        put(name, module)


def copied(model, state):
    rest = dict(state)
    with torch.no_grad():
        for key, value in model.state_dict().items():
            if ".attention." not in key:
                value.copy_(rest.pop(key.replace(".layer.", ".")))
    if rest:
        raise KeyError(list(rest))


def renamed(old, new, strict):
    def answer(model, state):
        own = {key: value for key, value in model.state_dict().items() if ".attention." in key}
        changed = {key.replace(old, new): value for key, value in state.items()}
        model.load_state_dict(own | changed if strict else changed, strict=strict)
    return answer


def without_a_check(model, state):
    names = {key.replace(".layer.", "."): key for key in model.state_dict()}
    model.load_state_dict({names.get(key, key): value for key, value in state.items()}, strict=False)


def only_what_the_model_has(model, state):
    own = model.state_dict()
    model.load_state_dict({key: own[key] if ".attention." in key else state[key.replace(".layer.", ".")]
                           for key in own})


def parameters(model, state):
    for key, p in model.named_parameters():
        if "attention" not in key:
            p.data.copy_(state[key.replace(".layer.", ".")])


def in_order(model, state):
    for own, value in zip(model.state_dict().values(), state.values()):
        if own.shape == value.shape:
            own.copy_(value)


def in_order_without_attention(model, state):
    names = [key for key in model.state_dict() if "attention" not in key]
    if len(names) != len(state):
        raise ValueError("another number of tensors")
    model.load_state_dict(dict(zip(names, state.values())), strict=False)


def no_counters(model, state):
    by_dictionary(model, {key: value for key, value in state.items()} | {
        key.replace(".layer.", "."): value for key, value in model.state_dict().items() if "num_batches" in key})


def behind_norms(model, state):
    own = model.state_dict()
    new = {key: value for key, value in own.items() if ".attention." in key}
    for key, value in state.items():
        for norm in (".bn2.", ".bn3."):
            if key.replace(norm, f"{norm}layer.") in own:
                key = key.replace(norm, f"{norm}layer.")
        new[key] = value
    model.load_state_dict(new)


def taken_out(model, state):
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, WithAttention):
                setattr(module, name, child.layer)
    model.load_state_dict(state)


def ones(model, state):
    by_dictionary(model, state)
    for key, p in model.named_parameters():
        if key.endswith("attention.weight"):
            p.data.fill_(1)


def assigned(model, state):
    names = {key.replace(".layer.", "."): key for key in model.state_dict() if ".attention." not in key}
    own = {key: value for key, value in model.state_dict().items() if ".attention." in key}
    model.load_state_dict(own | {names.get(key, key): value for key, value in state.items()}, assign=True)


def without_attention(model, state):
    names = {key.replace(".layer.", "."): key for key in model.state_dict()}
    model.load_state_dict({names.get(key, key): value for key, value in state.items()})


LOAD_RIGHT = [by_dictionary, checked_by_hand, taken_out_and_put_back, copied]
LOAD_WRONG = {
    "not-strict": [lambda model, state: model.load_state_dict(state, strict=False)],
    "names-differ": [lambda model, state: model.load_state_dict(dict(state))],
    "attention-missing": [without_attention],
    "every-bn2": [renamed("bn2", "bn2.layer", False)],
    "every-bn2-strictly": [renamed("bn2", "bn2.layer", True)],
    "silent": [without_a_check],
    "extra-accepted": [only_what_the_model_has],
    "parameters-only": [parameters],
    "by-order": [in_order],
    "order-not-names": [in_order_without_attention],
    "counters-skipped": [no_counters],
    "norms-only": [behind_norms],
    "nothing-loaded": [lambda model, state: model.state_dict().update(state)],
    "attention-lost": [taken_out],
    "attention-overwritten": [ones],
    "shares-memory": [assigned],
    "mutated-input": [lambda model, state: [state.pop(key) for key in list(state)] and None],
    "crashed": [lambda model, state: model.load_state_dict(state["layer1"])],
}


def test_load_plain(tells_apart):
    tells_apart(load_plain, LOAD_RIGHT, LOAD_WRONG)


@pytest.mark.parametrize(("answer", "says"), [
    (behind_norms, "The model misses layer1.layer.0.conv1.weight, and has nothing of the name layer1.0.conv1.weight."),
    (no_counters, "bn1.num_batches_tracked, layer1.0.bn1.num_batches_tracked and 6 more not from the state"),
])
def test_tensors_are_named(answer, says):
    assert says in load_plain(answer).message


# --- freeze ----------------------------------------------------------------------------------------------------------


def by_name(model):
    for name, p in model.named_parameters():
        p.requires_grad = ".attention." in name or name.startswith("fc")
    model.eval()
    for name, module in model.named_modules():
        if name.endswith(".attention") or name == "fc":
            module.train()
    return [p for p in model.parameters() if p.requires_grad]


def norms_to_eval(model):
    """Everything in training mode but the BatchNorms outside of attention."""
    model.requires_grad_(False).train()
    chosen = [model.fc]
    for name, module in model.named_modules():
        if isinstance(module, WithAttention):
            chosen.append(module.attention)
        if isinstance(module, nn.BatchNorm2d) and ".attention." not in name:
            module.eval()
    return [p for module in chosen for p in module.requires_grad_(True).parameters()]


def as_tuple(model):
    return tuple(by_name(model))


def changed(after, give=None):
    def answer(model):
        trained = by_name(model)
        after(model)
        return trained if give is None else give(model, trained)
    return answer


def fixed(model, training):
    by_name(model)
    for module in model.modules():
        module.training = training
    return [p for p in model.parameters() if p.requires_grad]


def trains(*parts):
    def answer(model):
        by_name(model)
        for name, p in model.named_parameters():
            p.requires_grad_(any(part in name for part in parts))
        return [p for p in model.parameters() if p.requires_grad]
    return answer


def gradients_on(model):
    trained = by_name(model)
    model.requires_grad_(True)
    return trained


def still(model):
    trained = by_name(model)
    model.train()
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d) and ".attention." not in name:
            module.momentum = 0
    return trained


def requires_grad_only(model):
    for p in model.parameters():
        p.requires_grad = False
    trained = [p for name, p in model.named_parameters() if ".attention." in name or "fc." in name]
    for p in trained:
        p.requires_grad = True
    return trained


FREEZE_RIGHT = [by_name, norms_to_eval, as_tuple, lambda model: iter(by_name(model))]
FREEZE_WRONG = {
    "statistics-move": [lambda model: fixed(model, True)],
    "mode-as-it-came": [requires_grad_only],
    "all-in-eval": [lambda model: fixed(model, False)],
    "whole-place-in-training": [changed(lambda model: [
        module.train() for module in model.modules() if isinstance(module, WithAttention)])],
    "batch-statistics": [still],
    "gradients-left-on": [gradients_on],
    "attention-frozen": [trains("fc.")],
    "head-frozen": [trains(".attention.")],
    "all-frozen": [trains("nothing")],
    "norms-trained": [trains(".attention.", "fc.", "bn")],
    "wrapped-layers-trained": [trains(".attention.", "fc.", ".layer.")],
    "returned-all": [changed(lambda model: None, lambda model, trained: list(model.parameters()))],
    "returned-names": [changed(lambda model: None, lambda model, trained: [
        name for name, p in model.named_parameters() if p.requires_grad])],
    "returned-pairs": [changed(lambda model: None, lambda model, trained: [
        (name, p) for name, p in model.named_parameters() if p.requires_grad])],
    "returned-set": [lambda model: set(by_name(model))],
    "returned-optimiser": [lambda model: torch.optim.SGD(by_name(model), lr=0.1)],
    "no-list": [changed(lambda model: None, lambda model, trained: None), lambda model: by_name(model) and model],
    "crashed": [lambda model: [p.requires_grad_() for p in model.classifier.parameters()]],
}


def test_freeze(tells_apart):
    tells_apart(freeze, FREEZE_RIGHT, FREEZE_WRONG)


def test_what_is_returned_instead_of_a_list_is_said_once():
    assert freeze(lambda model: by_name(model) and None).message.count("Return a list") == 1


# --- two mistakes, and the small network itself ----------------------------------------------------------------------


@pytest.mark.parametrize(("exercise", "answer", "causes"), [
    (after_last_norm, each_block(of_bn2, lambda model: [model.layer2]), ("always-bn2", "one-stage", "wrong-values")),
    (se_adds, counted(of_block=lambda C, h: 2 * C * h, times=lambda n: 1), ("no-biases", "blocks-ignored",
                                                                             "wrong-values")),
    (freeze, lambda model: [fixed(model, True), list(model.parameters())][1], ("statistics-move", "returned-all",
                                                                              "wrong-list")),
])
def test_two_mistakes_at_once_get_a_sensible_answer(exercise, answer, causes):
    result = exercise(answer)
    assert result.status == "failed"
    assert result.cause in causes
    assert result.failing_input


@pytest.mark.parametrize("kind", ["BasicBlock", "Bottleneck"])
def test_the_small_network_is_like_torchvisions_and_has_known_weights(kind):
    model = SmallResNet(kind)
    assert torch.equal(model(IMAGES), SmallResNet(kind)(IMAGES))
    assert model(IMAGES).isfinite().all()
    assert (model(IMAGES) - SmallResNet(kind, seed=1)(IMAGES)).abs().max() > 0.1
    assert model(IMAGES).shape == (5, 3)
    place = {"BasicBlock": "bn2", "Bottleneck": "bn3"}[kind]
    with_scale = attended(kind, {f"layer1.0.{place}": 8}, Normed)
    assert isinstance(with_scale.layer1[0].get_submodule(f"{place}.attention"), Normed)
