"""Checkers of the chapter on ResNets: the gate that starts at 1, a count, insertion, loading and freezing."""

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from attncourse.checks.cases import error_of, gradients, randn, tensor, values
from attncourse.checks.compare import Problem
from attncourse.checks.engine import Case, Exercise, Mistake
from attncourse.resnet import WithAttention, insert

# --- start_at_one ----------------------------------------------------------------------------------------------------


def one_or_gate(gate: Tensor, alpha: Tensor) -> Tensor:
    return 1 + alpha * (gate - 1)


GATE = tensor([0.5, 0.2, 1, 0.75]).view(1, 4, 1, 1)

start_at_one = Exercise(
    id="resnets.start_at_one",
    title="A gate that starts at 1",
    reference=one_or_gate,
    cases=(
        values(gate=GATE, alpha=tensor(0)),
        values(gate=GATE, alpha=tensor(1)),
        values(gate=GATE, alpha=tensor(0.5)),
        values(gate=GATE, alpha=tensor(-1)),
        values(gate=GATE, alpha=tensor(2)),
        values(gate=randn(2, 1, 3, 4).sigmoid(), alpha=tensor(0.3)),
        values(gate=randn(2, 3, 2, 5, seed=1).sigmoid().double(), alpha=tensor(0.7).double()),
        gradients(gate=GATE, alpha=tensor(0.5)),
    ),
    mistakes=(
        Mistake("returned-gate", "You return the gate whatever α is. At α = 0 the result has to be 1.",
                lambda gate, alpha: gate),
        Mistake("always-one", "You return 1 whatever α is. At α = 1 the result is the gate.",
                lambda gate, alpha: torch.ones_like(gate), lambda gate, alpha: 1 + 0 * gate * alpha),
        Mistake("starts-at-0", "At α = 0 your gate is 0: nothing passes. It has to be 1 there.",
                lambda gate, alpha: alpha * gate),
        Mistake("without-one", "You left out the 1: at α = 0 the result has to be 1.",
                lambda gate, alpha: alpha * (gate - 1), lambda gate, alpha: alpha * (1 - gate)),
        Mistake("added-gate", "At α = 0 yours is 1, but at α = 1 it is 1 + gate. There it has to be the gate itself: "
                "scale the distance of the gate from 1.",
                lambda gate, alpha: 1 + alpha * gate),
        Mistake("swapped-ends", "Your ends are swapped: it is the gate at α = 0, and 1 at α = 1.",
                lambda gate, alpha: gate + alpha * (1 - gate), lambda gate, alpha: (1 - alpha) * gate + alpha),
        Mistake("sign", "The sign is wrong: with α above 0 yours moves away from the gate.",
                lambda gate, alpha: 1 - alpha * (gate - 1), lambda gate, alpha: 1 + alpha * (1 - gate)),
        Mistake("power", "gate ** α has the right ends, too, but is not the mixture that is asked for, and with gates "
                "near 0 its gradient explodes.",
                lambda gate, alpha: gate**alpha),
        Mistake("sigmoid-alpha", "You sent α through a sigmoid: at α = 0 that is a half, not 0.",
                lambda gate, alpha: one_or_gate(gate, alpha.sigmoid())),
        Mistake("clamped", "You keep α or the result in a range. α is free: below 0 and above 1 it goes on in a line.",
                lambda gate, alpha: one_or_gate(gate, alpha.clamp(0, 1)),
                lambda gate, alpha: one_or_gate(gate, alpha).clamp(0, 1),
                lambda gate, alpha: one_or_gate(gate, alpha).clamp(min=0),
                lambda gate, alpha: one_or_gate(gate, alpha).clamp(max=1)),
        Mistake("half-mixture", "You mixed with (1 − α), but not right: at α = 1 the result has to be the gate, and at "
                "α = 0 it has to be 1.",
                lambda gate, alpha: (1 - alpha) + gate),
        Mistake("subtracted-gate", "At α = 0 yours is 1, but at α = 1 it is 1 − gate. There it has to be the gate "
                "itself: the way from 1 to it is gate − 1.",
                lambda gate, alpha: 1 - alpha * gate),
        Mistake("added-alpha", "You added α. It scales: 0 is at the start of the way from 1 to the gate, 1 at its end.",
                lambda gate, alpha: gate + alpha, lambda gate, alpha: 1 + alpha + (gate - 1),
                lambda gate, alpha: 1 + alpha + gate),
        Mistake("switch", "You switch between 1 and the gate. α is a number: 0.5 is half of the way, and a switch has "
                "no gradient for α.",
                lambda gate, alpha: torch.where(alpha == 0, torch.ones_like(gate), gate),
                lambda gate, alpha: gate if alpha else torch.ones_like(gate)),
        Mistake("detached-gate", "You cut the gate off from the gradient: its block could never be trained.",
                lambda gate, alpha: one_or_gate(gate.detach(), alpha)),
        Mistake("fixed-alpha", "You took α's value out of the graph (`.item()`, `float`, `.detach()`): then α is never "
                "trained, and stays 0.",
                lambda gate, alpha: one_or_gate(gate, alpha.item()),
                lambda gate, alpha: one_or_gate(gate, alpha.detach())),
    ),
    hints=(
        "What should come out at α = 0, and what at α = 1? Between them it is a straight line.",
        "Start at 1 and go α of the way to the gate. The way is gate − 1.",
        "`return 1 + alpha * (...)`, where the dots are the way from 1 to the gate.",
    ),
    tested="values at α = −1, 0, 0.3, 0.5, 0.7, 1 and 2, gates per channel, per position and of both; the gradients of "
           "gate and α",
)

# --- se_adds ---------------------------------------------------------------------------------------------------------


def one_se(C: int, hidden: float) -> float:
    return 2 * C * hidden + C + hidden


def whole(C: int, r: int) -> int:
    return max(1, C // r)


def per_stage(formula: Callable) -> Callable:
    """A count that sums formula(blocks, base width, expansion, reduction) over the stages."""
    return lambda layers, expansion, reduction: sum(
        formula(n, 64 * 2**stage, expansion, reduction) for stage, n in enumerate(layers))


def se_count(n: int, base: int, e: int, r: int) -> int:
    return n * one_se(base * e, whole(base * e, r))


def with_hidden(width: Callable) -> Callable:
    """A wrong hidden width, width(C, r), in the right formula."""
    return per_stage(lambda n, base, e, r: n * one_se(base * e, width(base * e, r)))


def less(formula: Callable) -> Callable:
    """Something, formula(C, hidden), is missing in every block."""
    return per_stage(lambda n, base, e, r: se_count(n, base, e, r) - n * formula(base * e, whole(base * e, r)))


se_adds = Exercise(
    id="resnets.se_adds",
    title="What SE adds to any ResNet",
    reference=per_stage(se_count),
    cases=(
        values(layers=[1], expansion=1, reduction=16),
        values(layers=[2], expansion=1, reduction=16),
        values(layers=[1], expansion=4, reduction=16),
        values(layers=[1, 1], expansion=1, reduction=16),
        values(layers=[1, 2], expansion=1, reduction=48),
        values(layers=[1], expansion=1, reduction=100),
        values(layers=[2, 2, 2, 2], expansion=1, reduction=16),
        values(layers=[3, 4, 6, 3], expansion=4, reduction=16),
        values(layers=[3, 4, 23, 3], expansion=4, reduction=32),
    ),
    mistakes=(
        Mistake("expansion-ignored", "With Bottlenecks the map at the end of the branch has 4 times the stage's width: "
                "multiply it by the expansion.",
                per_stage(lambda n, base, e, r: se_count(n, base, 1, r))),
        Mistake("reduced-base-width", "You divided the base width by r. SE's hidden layer is r times narrower than the "
                "map that it gates, which has width · expansion channels.",
                per_stage(lambda n, base, e, r: n * one_se(base * e, whole(base, r)))),
        Mistake("multiplied-by-expansion", "You multiplied the count by the expansion. It multiplies the channels, and "
                "these count squared.",
                per_stage(lambda n, base, e, r: e * se_count(n, base, 1, r))),
        Mistake("stages-from-1", "Your first stage is already twice as wide. It has 64 · expansion channels: count the "
                "stages from 0.",
                per_stage(lambda n, base, e, r: se_count(n, 2 * base, e, r))),
        Mistake("same-width", "You used 64 channels in every stage. From stage to stage the width doubles.",
                lambda layers, expansion, reduction: sum(se_count(n, 64, expansion, reduction) for n in layers)),
        Mistake("no-biases", "You left out the biases: c' in the first layer, C in the second.",
                less(lambda C, hidden: C + hidden), per_stage(lambda n, base, e, r: 2 * n * (base * e)**2 // r),
                per_stage(lambda n, base, e, r: 2 * n * (base * e)**2 / r)),
        Mistake("one-bias", "You counted one of the two biases: c' in the first layer, C in the second.",
                less(lambda C, hidden: C), less(lambda C, hidden: hidden)),
        Mistake("equal-biases", "Your two layers have equally many biases. The first has one per output, c', and "
                "the second C.",
                less(lambda C, hidden: hidden - C), less(lambda C, hidden: C - hidden)),
        Mistake("biases-per-stage", "You added the biases once per stage. Every block has its own.",
                per_stage(lambda n, base, e, r: se_count(n, base, e, r) - (n - 1) * (base * e + whole(base * e, r)))),
        Mistake("one-layer", "A block has two layers, C to c' and c' to C: 2·C·c' weights.",
                less(lambda C, hidden: C * hidden), less(lambda C, hidden: C * hidden + C),
                less(lambda C, hidden: C * hidden + hidden)),
        Mistake("blocks-ignored", "You counted one SE block per stage. Every residual block gets its own.",
                per_stage(lambda n, base, e, r: se_count(1, base, e, r))),
        Mistake("blocks-squared", "You squared the number of blocks. It counts once.",
                per_stage(lambda n, base, e, r: n * se_count(n, base, e, r)),
                per_stage(lambda n, base, e, r: one_se(n * base * e, whole(n * base * e, r)))),
        Mistake("last-stage-only", "You counted one stage. Add up all of them.",
                lambda layers, expansion, reduction: se_count(layers[-1], 64 * 2**(len(layers) - 1), expansion,
                                                              reduction),
                lambda layers, expansion, reduction: se_count(layers[0], 64, expansion, reduction)),
        Mistake("hidden-width-0", "With C below r, C // r is 0. The width is never below 1: max(1, C // r).",
                with_hidden(lambda C, r: C // r)),
        Mistake("true-division", "You divided with `/`: half a hidden unit does not exist. Use `//`.",
                with_hidden(lambda C, r: C / r), with_hidden(lambda C, r: max(1, C / r))),
        Mistake("rounded-width", "You rounded the hidden width. It is rounded down: C // r.",
                with_hidden(lambda C, r: max(1, round(C / r))), with_hidden(lambda C, r: -(-C // r))),
        Mistake("divided-too-late", "You rounded after multiplying. The hidden width C // r is whole before it is "
                "multiplied.",
                per_stage(lambda n, base, e, r: n * (2 * (base * e)**2 // r + base * e + whole(base * e, r)))),
        Mistake("reduction-ignored", "You left r out: the hidden layer is r times narrower than C.",
                with_hidden(lambda C, r: C), with_hidden(lambda C, r: max(1, C // 16))),
    ),
    hints=(
        "How many channels has the map behind the last BatchNorm of a block in stage 1, 2, 3 and 4? What changes with "
        "Bottlenecks?",
        "Stage s, counted from 0, has C = 64 · 2^s · expansion. One SEBlock has 2·C·c' + C + c' parameters, with "
        "c' = max(1, C // r), and every residual block has one.",
        "Go over `enumerate(layers)`: `C = 64 * 2**s * expansion`, `hidden = max(1, C // reduction)`, and add "
        "`n * (2 * C * hidden + ...)`.",
    ),
    tested="one stage and several, both kinds of block, C not a multiple of r, C below r, ResNet-18 (89,080), "
           "ResNet-50 (2,530,992) and ResNet-101 with r = 32",
)

# --- a small ResNet --------------------------------------------------------------------------------------------------


class Scale(nn.Module):
    """Attention that scales by known numbers, and takes maps with its own number of channels only."""

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels
        self.weight = nn.Parameter(torch.linspace(0.2, 1.6, channels, device="cpu"))

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] != self.channels:
            raise Problem("wrong-channels", f"A block that was made for {self.channels} channels got a map with "
                          f"{x.shape[1]}. `attention(channels)` wants the channels of the map that it will scale.")
        return x * self.weight[:, None, None]


class Normed(Scale):
    """The same with a BatchNorm of its own, as CBAM and BAM have one."""

    def __init__(self, channels: int):
        super().__init__(channels)
        self.norm = nn.BatchNorm2d(channels, device="cpu")

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.norm(x))


KINDS = {"BasicBlock": BasicBlock, "Bottleneck": Bottleneck}


class SmallResNet(nn.Module):
    """A ResNet of torchvision's blocks: two blocks of 8 channels, and a strided one of 16 with a shortcut of its own.

    All names are those of torchvision's ResNets. The weights and the BatchNorms' statistics are known.
    """

    def __init__(self, kind: str, seed: int = 0):
        super().__init__()
        block = KINDS[kind]
        with torch.device("cpu"):
            self.conv1 = nn.Conv2d(3, 8, 3, padding=1, bias=False)
            self.bn1 = nn.BatchNorm2d(8)
            shortcut = nn.Sequential(nn.Conv2d(8, 16, 1, 2, bias=False), nn.BatchNorm2d(16))
            narrow, wide = 8 // block.expansion, 16 // block.expansion
            self.layer1 = nn.Sequential(block(8, narrow), block(8, narrow))
            self.layer2 = nn.Sequential(block(8, wide, 2, shortcut))
            self.fc = nn.Linear(16, 3)
        with torch.no_grad():
            for number, (name, each) in enumerate(self.state_dict().items()):
                if each.is_floating_point():
                    noise = randn(*each.shape, seed=100 * seed + number)
                    fan_in = each[0].numel() if each.ndim > 1 else 1
                    each.copy_(0.5 + noise.abs() if "var" in name or "bn" in name else noise / fan_in**0.5)
                else:
                    each.fill_(7)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv1(x)).relu()
        return self.fc(self.layer2(self.layer1(x)).mean((2, 3)))


IMAGES = randn(5, 3, 6, 6, seed=50)


def last_norm(block: nn.Module) -> str:
    return "bn3" if isinstance(block, Bottleneck) else "bn2"


def blocks_of(model: nn.Module) -> list[nn.Module]:
    return [*model.layer1, *model.layer2]


def channels_of(norm: nn.Module) -> int:
    return norm.num_features


# --- after_last_norm -------------------------------------------------------------------------------------------------


def order_of_use(model: nn.Module, kind: type = Scale) -> str:
    """Which attention blocks ran, in which order: 'block 1 (8 channels), block 2 (8 channels)'."""
    used, numbers = [], {}
    for module in model.modules():
        if isinstance(module, kind):
            module.register_forward_hook(lambda module, inputs, output: used.append(
                f"block {numbers.setdefault(module, len(numbers) + 1)} ({module.channels} channels)"))
    model(IMAGES)
    return ", ".join(used) or "no attention block ran"


def inserted(see: Callable, kind: str, shown: str, cause: str, message: str) -> Case:
    """What see(model) finds after the answer has worked on a small ResNet."""
    def probe(answer: Callable) -> object:
        model = SmallResNet(kind)
        try:
            answer(model, Scale)
        except TypeError as error:
            if "Scale" in str(error) and ("not a Module" in str(error) or "as child module" in str(error)):
                raise Problem("attention-not-called", "`attention` is what makes a block, not the block. Call it: "
                              "`attention(channels)` makes a block.") from error
            raise
        return see(model)
    return Case(f"a small ResNet of three {kind}s; {shown}", probe, cause, message)


def kept_weights(model: nn.Module) -> str:
    """Whether the plain network's tensors are still there with their values."""
    plain = sorted(each.sum().item() for each in SmallResNet("BasicBlock").state_dict().values())
    now = sorted(each.sum().item() for each in tensors_without_attention(model))
    if len(plain) != len(now):
        return f"{len(now)} tensors without those of attention, before there were {len(plain)}"
    same = torch.allclose(torch.tensor(plain), torch.tensor(now))
    return "all weights and statistics as they were" if same else "other weights or statistics than before"


def tensors_without_attention(model: nn.Module) -> list[Tensor]:
    own = {id(p) for module in model.modules() if isinstance(module, Scale) for p in module.parameters()}
    return [each for each in (*model.parameters(), *model.buffers()) if id(each) not in own]


def insertion(of_block: Callable, blocks: Callable = blocks_of) -> Callable:
    """An answer that does of_block(block, attention) with the chosen blocks."""
    def after_last_norm(model: nn.Module, attention: Callable) -> None:
        for block in blocks(model):
            of_block(block, attention)
    return after_last_norm


def put(parent: nn.Module, name: str, *parts: nn.Module) -> None:
    setattr(parent, name, nn.Sequential(*parts))


def right_place(block: nn.Module, attention: Callable) -> None:
    norm = getattr(block, last_norm(block))
    put(block, last_norm(block), norm, attention(channels_of(norm)))


def at_norm(name: str) -> Callable:
    """After another BatchNorm of the block."""
    def of_block(block: nn.Module, attention: Callable) -> None:
        norm = getattr(block, name)
        put(block, name, norm, attention(channels_of(norm)))
    return of_block


def at_every_norm(block: nn.Module, attention: Callable) -> None:
    for name in [name for name, _ in block.named_children() if name.startswith("bn")]:
        at_norm(name)(block, attention)


def at_norms_2_and_3(block: nn.Module, attention: Callable) -> None:
    for name in {"bn2", last_norm(block)}:
        at_norm(name)(block, attention)


def at_downsample(block: nn.Module, attention: Callable) -> None:
    right_place(block, attention)
    if block.downsample is not None:
        put(block, "downsample", *block.downsample, attention(channels_of(block.downsample[1])))


def before_norm(block: nn.Module, attention: Callable) -> None:
    norm = getattr(block, last_norm(block))
    put(block, last_norm(block), attention(channels_of(norm)), norm)


def fresh_norm(block: nn.Module, attention: Callable) -> None:
    channels = channels_of(getattr(block, last_norm(block)))
    put(block, last_norm(block), nn.BatchNorm2d(channels).eval(), attention(channels))


def without_norm(block: nn.Module, attention: Callable) -> None:
    setattr(block, last_norm(block), attention(channels_of(getattr(block, last_norm(block)))))


def with_channels(of: Callable) -> Callable:
    """Made for a wrong number of channels."""
    def of_block(block: nn.Module, attention: Callable) -> None:
        put(block, last_norm(block), getattr(block, last_norm(block)), attention(of(block)))
    return of_block


def shared(model: nn.Module, attention: Callable) -> None:
    made = {}
    for block in blocks_of(model):
        norm = getattr(block, last_norm(block))
        channels = channels_of(norm)
        put(block, last_norm(block), norm, made.setdefault(channels, attention(channels)))


def after_addition(model: nn.Module, attention: Callable) -> None:
    for stage in (model.layer1, model.layer2):
        for number, block in enumerate(stage):
            stage[number] = nn.Sequential(block, attention(channels_of(getattr(block, last_norm(block)))))


def after_stage(model: nn.Module, attention: Callable) -> None:
    for name, channels in (("layer1", 8), ("layer2", 16)):
        put(model, name, getattr(model, name), attention(channels))


def with_new_weights(model: nn.Module, attention: Callable) -> None:
    insertion(right_place)(model, attention)
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d | nn.Linear):
            module.reset_parameters()


def every_norm_of_model(model: nn.Module, attention: Callable, stem: bool = True) -> None:
    names = [name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)]
    for name in names if stem else names[1:]:
        parent, _, child = name.rpartition(".")
        norm = model.get_submodule(name)
        put(model.get_submodule(parent), child, norm, attention(channels_of(norm)))


def in_training_mode(model: nn.Module, attention: Callable) -> None:
    insertion(right_place)(model, attention)
    model.train()


def in_training_mode_again(block: nn.Module, attention: Callable) -> None:
    right_place(block, attention)
    getattr(block, last_norm(block)).train()


WORDS = "Attention is not in the right places."

after_last_norm = Exercise(
    id="resnets.after_last_norm",
    title="Attention after the last BatchNorm of every block",
    reference=insertion(right_place),
    cases=(
        *(inserted(lambda model: model(IMAGES), kind, "its output", "wrong-values", WORDS) for kind in KINDS),
        *(inserted(order_of_use, kind, "the attention blocks in the order in which they run", "wrong-blocks",
                   "The output is right, but not the attention blocks: each residual block gets one of its own.")
          for kind in KINDS),
        inserted(kept_weights, "BasicBlock", "its old weights", "other-weights", "The network's own weights changed."),
    ),
    mistakes=(
        Mistake("nothing-put-in", "The model itself is as before. Put the new child in with `setattr(block, name, …)`, "
                "on the model that you got and not on a copy.",
                lambda model, attention: None,
                lambda model, attention: [nn.Sequential(block.bn2, attention(8)) for block in model.layer1] and None),
        Mistake("after-addition", "Your attention comes after the block: it scales the sum with the shortcut, too. Put "
                "it behind the last BatchNorm, which is on the branch, before the addition.",
                after_addition),
        Mistake("after-stage", "You put attention once after every stage. Here every residual block gets one.",
                after_stage),
        Mistake("first-norm", "You put it after the block's first BatchNorm. The last one is meant.",
                insertion(at_norm("bn1"))),
        Mistake("always-bn2", "In a Bottleneck bn2 is the middle one of three. The last one there is bn3.",
                insertion(at_norm("bn2"))),
        Mistake("bn2-and-bn3", "In a Bottleneck you put it after bn2 and after bn3. One per block: after bn3.",
                insertion(at_norms_2_and_3)),
        Mistake("every-norm", "You put it after every BatchNorm of a block. One per block: after the last.",
                insertion(at_every_norm)),
        Mistake("every-norm-of-model", "You put it after every BatchNorm of the model, with those of the stem and of "
                "the shortcuts. One per residual block: after the last on its branch.",
                every_norm_of_model, lambda model, attention: every_norm_of_model(model, attention, stem=False)),
        Mistake("downsample-too", "You gated the shortcut as well: its `downsample` ends in a BatchNorm, too, but is "
                "not on the branch.",
                insertion(at_downsample)),
        Mistake("before-norm", "Your attention comes before the BatchNorm, and that takes its scale away again. The "
                "BatchNorm first.",
                insertion(before_norm)),
        Mistake("fresh-norm", "You made a new BatchNorm: the trained weights and statistics of the old one are lost. "
                "Put the old one itself into the Sequential.",
                insertion(fresh_norm)),
        Mistake("norm-lost", "You replaced the BatchNorm. It has to stay, with attention behind it.",
                insertion(without_norm)),
        Mistake("shared", "One attention block serves several residual blocks. Call `attention(channels)` for each.",
                shared),
        Mistake("wrong-channels", "The number of channels is wrong. It is that of the map behind the last BatchNorm: "
                "`num_features` of that BatchNorm, or `out_channels` of the last convolution.",
                insertion(with_channels(lambda block: block.conv1.in_channels)),
                insertion(with_channels(lambda block: block.conv1.out_channels)),
                insertion(with_channels(lambda block: 64))),
        Mistake("last-block-only", "You changed the last block of each stage only. All of them get attention.",
                insertion(right_place, lambda model: [model.layer1[-1], model.layer2[-1]])),
        Mistake("first-block-only", "You changed the first block of each stage only. All of them get attention.",
                insertion(right_place, lambda model: [model.layer1[0], model.layer2[0]])),
        Mistake("one-stage", "You changed one stage only. All of them get attention.",
                insertion(right_place, lambda model: model.layer1), insertion(right_place, lambda model: model.layer2)),
        Mistake("new-weights", "The network's own weights were made anew: everything that it had learned is gone.",
                with_new_weights),
        Mistake("training-mode", "Attention is where it belongs, but you put BatchNorms into training mode: they now "
                "normalise with the batch. Leave the modes as they were.",
                in_training_mode, insertion(in_training_mode_again)),
    ),
    hints=(
        "Which child of a block gives the map just before the addition? That child is to be replaced by itself and "
        "attention, one after the other.",
        "Go over the blocks of all the stages. A Bottleneck has a `bn3`, a BasicBlock ends with `bn2`. "
        "`nn.Sequential(norm, attention(norm.num_features))` is the new child.",
        "With `name = \"bn3\" if hasattr(block, \"bn3\") else \"bn2\"` and `norm = getattr(block, name)`, the line is "
        "`setattr(block, name, nn.Sequential(norm, ...))`.",
    ),
    tested="small ResNets of BasicBlocks and of Bottlenecks: output, which attention block runs when, and the old "
           "weights",
)

# --- load_plain ------------------------------------------------------------------------------------------------------


def attended(kind: str, places: Mapping[str, int], block: type = Scale, seed: int = 1) -> SmallResNet:
    """A small ResNet with attention behind the named children, as the course's own ``insert`` does it."""
    model = SmallResNet(kind, seed)
    for name, channels in places.items():
        insert(model, name, channels, False, block)
    return model


PLACES = {  # name of the case -> (kind of block, where attention is)
    "attention behind bn2 of its last block": ("BasicBlock", {"layer2.0.bn2": 16}),
    "attention behind bn3 of two blocks": ("Bottleneck", {"layer1.1.bn3": 8, "layer2.0.bn3": 16}),
    "attention behind its first stage and a shortcut": ("BasicBlock", {"layer1": 8, "layer2.0.downsample": 16}),
}


def loaded(see: Callable, shown: str, cause: str, message: str, backwards: bool = False) -> Case:
    """What see(model, plain, state as it was) finds after the answer has loaded a plain network's state."""
    kind, places = PLACES[shown]

    def probe(answer: Callable) -> object:
        model, plain = attended(kind, places), plain_network(kind)
        state = plain.state_dict()
        if backwards:
            state = dict(reversed(state.items()))
        before = {name: each.clone() for name, each in state.items()}
        load(answer, model, state)
        if list(state) != list(before) or not all(torch.equal(state[name], before[name]) for name in before):
            raise Problem("mutated-input", "Your code changed the state that it was given: make a new dictionary.")
        return see(model, plain, before)
    order = "; the state's tensors come in the reverse order" if backwards else ""
    return Case(f"a small ResNet of {kind}s with {shown}{order}", probe, cause, message)


def plain_network(kind: str) -> SmallResNet:
    """The plain network: its BatchNorms have counted fewer batches than the model's."""
    model = SmallResNet(kind, seed=0)
    for name, counter in model.named_buffers():
        if "batches" in name:
            counter.fill_(3)
    return model


def load(answer: Callable, model: nn.Module, state: dict) -> None:
    """Let the answer load. Where a strict load fails, its long message is read for the learner."""
    try:
        answer(model, state)
    except RuntimeError as error:
        missing, unexpected = (re.findall(r'"([\w.]+)"', part) for part in f"{error}Unexpected".split("Unexpected")[:2])
        if missing and not unexpected and all(".attention." in name for name in missing):
            raise Problem("attention-missing", ATTENTION_MISSING) from error
        if any(".layer." in name for name in unexpected):
            raise Problem("every-bn2-strictly", EVERY_BN2) from error
        if missing and unexpected:
            raise Problem("names-differ", f"The model misses {missing[0]}, and has nothing of the name "
                          f"{unexpected[0]}.") from error
        raise


ATTENTION_MISSING = "Attention's own tensors are not in what you load, and a strict load misses them. Add the " \
                    "model's own, or check by hand that nothing else is missing."
MISPLACED = "Not every tensor of the plain network is at its place. Attention may stand behind any layer: compare " \
            "the names in `state` and in the model."
EVERY_BN2 = "You renamed too many. Only layers that have attention behind them got another name: look at " \
            "`model.state_dict()`."


def tensors_and_logits(model: nn.Module, plain: nn.Module, state: dict) -> list:
    """Which tensors are not those of the state, what attention has, and the logits."""
    own = {name: each for name, each in model.state_dict().items() if ".attention." not in name}
    wrong = [name for name, each in own.items()
             if plain_name(name) not in state or not torch.equal(each, state[plain_name(name)])]
    more = f" and {len(wrong) - 2} more" if len(wrong) > 2 else ""
    finding = f"{', '.join(wrong[:2])}{more} not from the state" if wrong else "all tensors from the state"
    return [finding, *(module.weight for module in model.modules() if isinstance(module, Scale)), model(IMAGES)]


def still_apart(model: nn.Module, plain: nn.Module, state: dict) -> str:
    """Whether a training step of the model would change the plain network."""
    with torch.no_grad():
        for p in model.parameters():
            p.add_(1)
    same = all(torch.equal(each, state[name]) for name, each in plain.state_dict().items())
    return "the plain network as it was" if same else "the plain network changes with the model"


def loading_fails(change: Callable, shown: str) -> Case:
    def probe(answer: Callable) -> str:
        kind, places = PLACES["attention behind bn2 of its last block"]
        return "an error" if error_of(lambda: answer(attended(kind, places), change(
            plain_network(kind).state_dict()))) != "no error" else "no error"
    return Case(f"a state that {shown}", probe, "silent", f"A state that {shown} does not fit, and nobody is told: the "
                "network would be trained with random weights in it. Load strictly.")


def lacks(state: dict) -> dict:
    return {name: each for name, each in state.items() if name != "layer2.0.bn2.running_mean"}


def has_more(state: dict) -> dict:
    return state | {"layer3.0.conv1.weight": tensor([1])}


def misnamed(state: dict) -> dict:
    """Every tensor in its place, one under another name."""
    return {name.replace("layer2.0.bn2.running_mean", "layer2.0.bn2.mean"): each for name, each in state.items()}


def plain_name(name: str) -> str:
    return name.replace(".layer.", ".")


def translated(model: nn.Module, state: dict) -> dict:
    """The state under the model's names, with the model's own attention."""
    own = {name: each for name, each in model.state_dict().items() if ".attention." in name}
    names = {plain_name(name): name for name in model.state_dict() if name not in own}
    return own | {names.get(name, name): each for name, each in state.items()}


def loading(rename: Callable, strict: bool = True, **how: bool) -> Callable:
    """An answer that loads the state under the names that rename gives, rename(name, model's names)."""
    def load_plain(model: nn.Module, state: dict) -> None:
        names = list(model.state_dict())
        new = {rename(name, names): each for name, each in state.items()}
        own = {name: each for name, each in model.state_dict().items() if ".attention." in name}
        model.load_state_dict(own | new if strict else new, strict=strict, **how)
    return load_plain


def fitting(name: str, names: list[str]) -> str:
    """The model's name for a tensor of the plain network."""
    return next((own for own in names if ".attention." not in own and plain_name(own) == name), name)


def fitting_norms(name: str, names: list[str]) -> str:
    """The same where attention stands behind a norm of a branch, and nowhere else."""
    own = fitting(name, names)
    return own if re.search(r"\.bn\d\.layer\.", own) else name


def parameters_only(model: nn.Module, state: dict) -> None:
    with torch.no_grad():
        for name, p in model.named_parameters():
            if ".attention." not in name:
                p.copy_(state[plain_name(name)])


def by_order(model: nn.Module, state: dict) -> None:
    """In the order of the model's tensors: attention's are among them."""
    with torch.no_grad():
        for own, each in zip(model.state_dict().values(), state.values()):
            own.copy_(each) if own.shape == each.shape else None


def by_order_without_attention(model: nn.Module, state: dict, strict: bool = True) -> None:
    own = {name: each for name, each in model.state_dict().items() if ".attention." in name}
    names = [name for name in model.state_dict() if name not in own]
    model.load_state_dict(model.state_dict() | dict(zip(names, state.values(), strict=strict)))


def without_counters(model: nn.Module, state: dict) -> None:
    own = model.state_dict()
    counters = {name: each for name, each in own.items() if "batches" in name}
    model.load_state_dict(translated(model, state) | counters)


def by_shape(model: nn.Module, state: dict) -> None:
    own = model.state_dict()
    model.load_state_dict({name: each for name, each in state.items() if name in own}, strict=False)


def unwrapped(model: nn.Module, state: dict) -> None:
    """Attention taken out, the state loaded, and attention not put back."""
    for name, module in list(model.named_modules()):
        if isinstance(module, WithAttention):
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, module.layer)
    model.load_state_dict(state)


def new_attention(model: nn.Module, state: dict) -> None:
    model.load_state_dict(translated(model, state))
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, WithAttention):
                module.attention.weight.fill_(1.0)


def in_place_of(old: str, new: str) -> Callable:
    return lambda name, names: name.replace(old, new)


load_plain = Exercise(
    id="resnets.load_plain",
    title="A plain network's weights in a network with attention",
    reference=lambda model, state: model.load_state_dict(translated(model, state)) and None,
    cases=(
        *(loaded(tensors_and_logits, shown, "wrong-values", MISPLACED) for shown in PLACES),
        loaded(tensors_and_logits, "attention behind bn2 of its last block", "wrong-values", MISPLACED, backwards=True),
        loading_fails(lacks, "lacks the running mean of a BatchNorm"),
        loading_fails(has_more, "has a layer more than the model"),
        loading_fails(misnamed, "calls the running mean of a BatchNorm by another name"),
        loaded(still_apart, "attention behind bn2 of its last block", "shares-memory", "The model and the state share "
               "their memory: training the one changes the other. Copy the values."),
    ),
    mistakes=(
        Mistake("not-strict", "With `strict=False` all tensors whose names do not fit are left out without a word: "
                "those of the layers that have attention behind them. Translate their names.",
                lambda model, state: model.load_state_dict(state, strict=False) and None, by_shape),
        Mistake("names-differ", "The names differ: what was `bn2.weight` is `bn2.layer.weight` where attention was put "
                "in. Translate the names.",
                lambda model, state: model.load_state_dict(state) and None),
        Mistake("attention-missing", ATTENTION_MISSING,
                lambda model, state: model.load_state_dict(
                    {fitting(name, list(model.state_dict())): each for name, each in state.items()}) and None),
        Mistake("every-bn2", "You renamed every bn2. Only layers that have attention behind them got another name, and "
                "with `strict=False` the others are left out without a word.",
                loading(in_place_of(".bn2.", ".bn2.layer."), strict=False)),
        Mistake("every-bn2-strictly", EVERY_BN2,
                loading(in_place_of(".bn2.", ".bn2.layer."))),
        Mistake("silent", "All tensors find their place, but `strict=False` also lets a state pass that does not fit. "
                "The next one might not fit, and nobody would be told.",
                loading(fitting, strict=False)),
        Mistake("extra-accepted", "A state that has a layer more than the model passes. It belongs to another network: "
                "raise an error.",
                lambda model, state: model.load_state_dict(
                    {name: each if ".attention." in name else state[plain_name(name)]
                     for name, each in model.state_dict().items()}) and None),
        Mistake("parameters-only", "You copied the parameters. The BatchNorms' running means and variances are "
                "buffers, and belong to the trained network, too: go over `state_dict()`.",
                parameters_only),
        Mistake("by-order", "You matched tensors by their order. Attention's tensors stand among them, so that the "
                "others are shifted: match by name.",
                by_order),
        Mistake("order-not-names", "You took the tensors in their order. A dictionary with the same tensors in another "
                "order, or with a wrong name, would be loaded without a word: match by name.",
                by_order_without_attention, lambda model, state: by_order_without_attention(model, state, False)),
        Mistake("counters-skipped", "You left out `num_batches_tracked`, the BatchNorms' counters. They belong to the "
                "state, too: go over all of `state_dict()`.",
                without_counters),
        Mistake("norms-only", "You looked for attention behind BatchNorms only. It may stand behind any layer, also "
                "behind a whole stage or a shortcut.",
                loading(fitting_norms)),
        Mistake("nothing-loaded", "The model's tensors are as before: you made a dictionary, but did not load it.",
                lambda model, state: None, lambda model, state: translated(model, state) and None),
        Mistake("attention-lost", "Attention is no longer in the model. Load into the model as it is.",
                unwrapped),
        Mistake("attention-overwritten", "Attention's own weights changed. They are not in the plain network's state "
                "and have to stay.",
                new_attention),
        Mistake("shares-memory", "With `assign=True` the state's tensors themselves become the model's: training the "
                "model changes them. Leave it out, and the values are copied.",
                loading(fitting, assign=True)),
    ),
    hints=(
        "Print both lists of names: `list(state)` and `list(model.state_dict())`. Which differ, and how?",
        "Where attention is, a `.layer.` stands in the name of the old layer's tensors; those of attention have an "
        "`.attention.`. Keep the latter as the model has them, take the others from `state`, and load strictly.",
        "Make a dictionary `names` from each key of the model without its `.layer.` parts, "
        "`key.replace(\".layer.\", \".\")`, to the key itself; leave attention's keys out. Then a dictionary with "
        "`names.get(key, key)` for each key of `state`, add the model's own attention, and `load_state_dict`.",
    ),
    tested="three models with attention in different places; attention's own weights; a state that lacks a tensor, one "
           "that has too many, one with a wrong name, one in another order; no shared memory",
)

# --- freeze ----------------------------------------------------------------------------------------------------------


def ready(kind: str = "BasicBlock") -> SmallResNet:
    """A model as it comes: in eval mode, everything with gradients, attention with a BatchNorm in two places."""
    return attended(kind, {"layer1.1.bn2": 8, "layer2.0.bn2": 16}, Normed)


def is_trained(name: str) -> bool:
    return ".attention." in name or name.startswith("fc.")


def frozen(see: Callable, shown: str, cause: str, message: str, training: bool = False) -> Case:
    """What see(model, what the answer returned) finds."""
    def probe(answer: Callable) -> object:
        model = ready().train(training)
        result = answer(model)
        return see(model, list(result) if hasattr(result, "__next__") or isinstance(result, list | tuple) else result)
    mode = "training" if training else "eval"
    return Case(f"a small ResNet with attention in two blocks, which comes in {mode} mode; {shown}", probe, cause,
                message)


def no_list(returned: object) -> Problem:
    """What was returned instead of a list, in words."""
    if isinstance(returned, set | frozenset):
        return Problem("returned-set", "You return a set. It has no order, and optimisers refuse it: return a list.")
    if isinstance(returned, torch.optim.Optimizer):
        return Problem("returned-optimiser", "You return an optimiser. Return the list that one would get.")
    return Problem("no-list", "Return a list of the parameters that are to be trained, for the optimiser. You return "
                   + ("nothing." if returned is None else f"an object of the class {type(returned).__name__}."))


def names_of(model: nn.Module, returned: object) -> str:
    if not isinstance(returned, list):
        raise no_list(returned)
    if any(isinstance(each, tuple) for each in returned):
        raise Problem("returned-pairs", "Your list holds pairs, as `named_parameters()` gives them. Return the "
                      "parameters alone.")
    names = {id(p): name for name, p in model.named_parameters()}
    return ", ".join(sorted(names.get(id(p), "something else") for p in returned)) or "none"


def with_gradients(model: nn.Module, returned: object) -> str:
    return ", ".join(sorted(name for name, p in model.named_parameters() if p.requires_grad)) or "none"


def after_a_step(model: nn.Module, returned: object) -> list:
    """Which tensors a training step changes, and the logits before it."""
    before = {name: each.clone() for name, each in model.state_dict().items()}
    logits = model(IMAGES)
    used = [p for p in returned if isinstance(p, Tensor)] if isinstance(returned, list) else []
    if used and logits.requires_grad:
        logits.square().sum().backward()
        torch.optim.SGD(used, lr=0.1).step()
    changed = {part_of(name) for name, each in model.state_dict().items() if not torch.equal(each, before[name])}
    return [logits, f"changed: {', '.join(sorted(changed)) or 'nothing'}"]


def part_of(name: str) -> str:
    """The part of the model that a tensor belongs to, in words."""
    kind = "counters" if "batches" in name else "statistics" if "running" in name else "parameters"
    return f"{'attention' if '.attention.' in name else 'fc' if name.startswith('fc.') else 'the old network'}'s {kind}"


def freezing(trained: Callable = is_trained, mode: Callable | None = None, switch: bool = True,
             give: Callable | None = None) -> Callable:
    """An answer: which parameters it trains, what it does with the modes, whether it switches gradients off."""
    def freeze(model: nn.Module) -> list:
        for name, p in model.named_parameters():
            if switch:
                p.requires_grad_(trained(name))
        (mode or right_modes)(model)
        if give is not None:
            return give(model)
        return [p for name, p in model.named_parameters() if trained(name)]
    return freeze


def right_modes(model: nn.Module) -> None:
    model.eval()
    model.fc.train()
    for module in model.modules():
        if isinstance(module, WithAttention):
            module.attention.train()


def whole_place(model: nn.Module) -> None:
    model.eval()
    for module in model.modules():
        if module is model.fc or isinstance(module, WithAttention):
            module.train()


def norms(model: nn.Module, all_of_them: bool = False) -> list[nn.Module]:
    own = {id(norm) for each in model.modules() if isinstance(each, Scale) for norm in each.modules()}
    found = [each for each in model.modules() if isinstance(each, nn.BatchNorm2d)]
    return [each for each in found if all_of_them or id(each) not in own]


def train_but(change: Callable, all_of_them: bool = False) -> Callable:
    """Everything in training mode, and then change(norm) for the BatchNorms."""
    def mode(model: nn.Module) -> None:
        model.train()
        for norm in norms(model, all_of_them):
            change(norm)
    return mode


def untracked(norm: nn.Module) -> None:
    norm.track_running_stats = False


def no_momentum(norm: nn.Module) -> None:
    norm.momentum = 0.0


freeze = Exercise(
    id="resnets.freeze",
    title="Train attention and head, freeze the rest",
    reference=freezing(),
    cases=(
        frozen(with_gradients, "the parameters with requires_grad", "wrong-gradients", "Not the right parameters have "
               "gradients: those of attention and of `fc`, and no others."),
        frozen(names_of, "the parameters that you return", "wrong-list", "Not the right parameters are in your list: "
               "those of attention and of `fc`, and no others."),
        *(frozen(after_a_step, "logits, and what one training step changes", "wrong-step", "After one training step "
                 "not the right tensors have changed: look at the BatchNorms.", training)
          for training in (False, True)),
    ),
    mistakes=(
        Mistake("statistics-move", "You switched the gradients off, but the frozen BatchNorms are in training mode: "
                "they normalise with the batch and move their running means and variances, gradients or not. Put them "
                "into eval mode.",
                freezing(mode=nn.Module.train)),
        Mistake("mode-as-it-came", "You left the modes as they came. In training mode the frozen BatchNorms move their "
                "statistics, in eval mode those of attention do not learn: set both.",
                freezing(mode=lambda model: None)),
        Mistake("all-in-eval", "You put all of the model into eval mode, attention too: its BatchNorm then never "
                "learns what its maps look like. Attention is new: training mode.",
                freezing(mode=nn.Module.eval), freezing(mode=train_but(nn.Module.eval, all_of_them=True))),
        Mistake("whole-place-in-training", "You put the whole place with attention into training mode (`.train()` "
                "for a WithAttention). That reaches its old BatchNorm, too: `module.attention.train()`.",
                freezing(mode=whole_place)),
        Mistake("batch-statistics", "The running statistics stay, but the frozen BatchNorms still normalise with each "
                "batch (`momentum = 0` or `track_running_stats = False` in training mode). Put them into eval mode.",
                freezing(mode=train_but(untracked)), freezing(mode=train_but(no_momentum))),
        Mistake("gradients-left-on", "You set the modes, but the frozen parameters still have `requires_grad`: "
                "gradients are computed for nothing, and an optimiser that gets them would train them.",
                freezing(switch=False)),
        Mistake("attention-frozen", "You froze attention, too. It is new and has to learn.",
                freezing(lambda name: name.startswith("fc."))),
        Mistake("head-frozen", "You froze the classifier `fc`, too. It is to be trained with attention.",
                freezing(lambda name: ".attention." in name)),
        Mistake("all-frozen", "You froze everything: nothing is left to train.",
                freezing(lambda name: False)),
        Mistake("norms-trained", "You left weight and bias of the old BatchNorms with gradients. They belong to the "
                "frozen network.",
                freezing(lambda name: is_trained(name) or "bn" in name or "downsample.1" in name),
                freezing(lambda name: is_trained(name) or "bn" in name)),
        Mistake("wrapped-layers-trained", "You train all that lies in a place with attention, also the old BatchNorm "
                "there (its name has `.layer.`). Only `.attention.` is new.",
                freezing(lambda name: is_trained(name) or ".layer." in name)),
        Mistake("returned-all", "Your list holds all parameters. Return those that are trained; an optimiser with "
                "weight decay or momentum should not even know the others.",
                freezing(give=lambda model: list(model.parameters()))),
        Mistake("returned-names", "Your list holds names. An optimiser wants the parameters themselves.",
                freezing(give=lambda model: [name for name, _ in model.named_parameters() if is_trained(name)])),
    ),
    hints=(
        "Two things can change a frozen layer: a gradient, and the training mode of a BatchNorm. Both have to be "
        "switched off, and both have to stay on for what is new.",
        "`requires_grad_(False)` for all parameters but those with `.attention.` in their names and those of `fc`. "
        "Then `model.eval()`, and attention and `fc` back into training mode.",
        "Attention's modules are those of `model.named_modules()` whose name ends with `.attention`: put each into "
        "training mode. At last, `return [p for p in model.parameters() if p.requires_grad]`.",
    ),
    tested="which parameters have gradients and which you return; logits, and what a training step changes, with a "
           "model that came in eval and in training mode",
)
