"""Chapter 05's checkers: right answers pass, and wrong ones are told by name what is wrong."""

import torch
from torch import nn
from torch.nn import functional as F

from attncourse import checks
from attncourse.cam_sam import ChannelAttention, SpatialAttention
from attncourse.cbam import CBAM
from attncourse.checks.cbam import RESNET18, RESNET50, arrange, block, parameters_added, second_gate

# The answers below are written as a learner would type them, not as the checker writes its mistakes.


# --- second_gate -----------------------------------------------------------------------------------------------------

def in_words(x, channel, spatial):
    first = channel(x)
    second = spatial(torch.mul(x, first))
    return x * first.expand_as(x) * second.expand_as(x)


def image_by_image(x, channel, spatial):
    y = x * channel(x)
    gate = spatial(y)
    return torch.stack([image * weights for image, weights in zip(y, gate)])


SECOND_RIGHT = [in_words, image_by_image, lambda x, channel, spatial: torch.einsum(
    "bchw,bkhw->bchw", x * channel(x), spatial(x * channel(x)))]
SECOND_WRONG = {
    "gate-from-input": [lambda x, channel, spatial: spatial(x) * channel(x) * x],
    "first-gate-lost": [lambda x, channel, spatial: spatial(channel(x) * x) * x],
    "spatial-only": [lambda x, c, s: s(x) * x],
    "returned-gate": [lambda x, c, s: s(x * c(x))],
    "returned-whole-gate": [lambda x, c, s: s(x * c(x)) * c(x)],
    "second-gate-missing": [lambda x, c, s: c(x) * x],
    "channel-twice": [lambda x, c, s: c(c(x) * x) * c(x) * x],
    "added-gate": [lambda x, c, s: s(x * c(x)) + x * c(x)],
    "added-input": [lambda x, c, s: x * c(x) * (1 + s(x * c(x))), lambda x, c, s: x * c(x) * s(x * c(x)) + x],
    "gate-of-gate": [lambda x, c, s: x * c(x) * s(c(x))],
    "spatial-first": [lambda x, c, s: x * s(x) * c(x * s(x))],
    "gates-added": [lambda x, c, s: (s(x * c(x)) + c(x)) * x],
    "input-twice": [lambda x, c, s: x * x * c(x) * s(x * c(x))],
    "detached": [lambda x, c, s: x * c(x) * s((x * c(x)).data)],
    "mutated-input": [lambda x, c, s: x.mul_(c(x)) * s(x)],
    "returned-nothing": [lambda x, c, s: None],
    "wrong-arguments": [lambda x, gate: x * gate(x)],
    "crashed": [lambda x, c, s: x * c(x) @ s],
}


def test_second_gate(tells_apart):
    tells_apart(second_gate, SECOND_RIGHT, SECOND_WRONG)


def test_what_the_learner_reads():
    assert repr(checks.cbam.second_gate(lambda x, channel, spatial: x * channel(x) * spatial(x))) == """\
✗ cbam.second_gate: Your second gate looks at x. It looks at y, at what the first gate let through:
    that is what makes the two a sequence.
  Smallest failing input: x = [[[[1, 3]], [[0, 8]]]] of shape (1, 2, 1, 2), channel(t) = t.mean((2,
    3), keepdim=True), spatial(t) = t.amax(1, keepdim=True)
  Expected [[[[4, 192]], [[0, 1024]]]] of shape (1, 2, 1, 2), got [[[[2, 48]], [[0, 256]]]] of shape
    (1, 2, 1, 2).
  Hint 1: Which map does the second gate look at, and which map does it scale?"""


# --- arrange ---------------------------------------------------------------------------------------------------------

def with_table(x, channel, spatial, arrangement):
    table = {"channel-first": (channel, spatial), "spatial-first": (spatial, channel)}
    if arrangement == "parallel":
        return channel(x) * spatial(x) * x
    if arrangement not in table:
        raise ValueError("no such arrangement")
    for gate in table[arrangement]:
        x = gate(x) * x
    return x


def with_whole_gates(x, channel, spatial, arrangement):
    gates = {"channel-first": lambda: channel(x) * spatial(channel(x) * x),
             "spatial-first": lambda: spatial(x) * channel(spatial(x) * x), "parallel": lambda: spatial(x) * channel(x)}
    try:
        return gates[arrangement]() * x
    except KeyError:
        raise ValueError(arrangement) from None


def changed(arrangement, formula):
    """A right arrange() but for one arrangement."""
    def arrange(x, channel, spatial, which):
        return formula(x, channel, spatial) if which == arrangement else with_table(x, channel, spatial, which)
    return arrange


def no_error(x, channel, spatial, arrangement):
    if arrangement == "channel-first":
        return x * channel(x) * spatial(x * channel(x))
    elif arrangement == "spatial-first":
        return x * spatial(x) * channel(x * spatial(x))
    else:
        return x * channel(x) * spatial(x)


def all_from_input(x, channel, spatial, arrangement):
    if arrangement not in {"channel-first", "spatial-first", "parallel"}:
        raise ValueError
    return x * spatial(x) * channel(x)


def in_place(x, channel, spatial, arrangement):
    if arrangement == "channel-first":
        x *= channel(x)
        return x * spatial(x)
    return with_table(x, channel, spatial, arrangement)


OTHER = {"channel-first": "spatial-first", "spatial-first": "channel-first"}
ARRANGE_RIGHT = [with_table, with_whole_gates]
ARRANGE_WRONG = {
    "swapped-orders": [lambda x, c, s, where: with_table(x, c, s, OTHER.get(where, where))],
    "always-channel-first": [lambda x, c, s, where: with_table(x, c, s, where if where == "diagonal"
                                                               else "channel-first"),
                             lambda x, c, s, where: x * c(x) * s(x * c(x))],
    "spatial-as-channel-first": [changed("spatial-first", lambda x, c, s: x * c(x) * s(x * c(x)))],
    "parallel-as-sequence": [changed("parallel", lambda x, c, s: c(x) * x * s(c(x) * x))],
    "gate-from-input": [all_from_input, lambda x, c, s, where: x * c(x) * s(x),
                        changed("channel-first", lambda x, c, s: s(x) * (c(x) * x))],
    "first-gate-lost": [changed("channel-first", lambda x, c, s: s(c(x) * x) * x)],
    "gate-of-gate": [lambda x, c, s, where: {"channel-first": lambda: x * c(x) * s(c(x)),
                                             "spatial-first": lambda: x * s(x) * c(s(x))}.get(
                                                 where, lambda: with_table(x, c, s, where))()],
    "gates-added": [changed("parallel", lambda x, c, s: x * c(x) + x * s(x))],
    "gates-averaged": [changed("parallel", lambda x, c, s: 0.5 * (c(x) + s(x)) * x)],
    "sigmoid-of-sum": [changed("parallel", lambda x, c, s: torch.sigmoid(c(x) + s(x)) * x)],
    "input-twice": [changed("parallel", lambda x, c, s: (x * c(x)) * (x * s(x)))],
    "added-input": [lambda x, c, s, where: with_table(x, c, s, where) + x],
    "returned-gate": [changed("parallel", lambda x, c, s: s(x) * c(x))],
    "unknown-arrangement-accepted": [no_error],
    "unknown-arrangement": [lambda x, c, s, where: {"channel-first": lambda: x * c(x) * s(x * c(x)),
                                                    "spatial-first": lambda: x * s(x) * c(x * s(x)),
                                                    "parallel": lambda: x * c(x) * s(x)}[where]()],
    "detached": [lambda x, c, s, where: with_table(x, lambda t: c(t).detach(), lambda t: s(t).detach(), where)],
    "mutated-input": [in_place],
}


def test_arrange(tells_apart):
    tells_apart(arrange, ARRANGE_RIGHT, ARRANGE_WRONG)


# --- block -----------------------------------------------------------------------------------------------------------

class Right(nn.Module):
    """What the wrong blocks below change in one place."""

    def __init__(self, channels, reduction=16, kernel_size=7):
        super().__init__()
        self.channels, self.r, self.k = channels, reduction, kernel_size
        self.hidden = max(1, channels // reduction)
        self.layers()
        self.spatial_layers()

    def layers(self):
        self.down, self.up = nn.Linear(self.channels, self.hidden), nn.Linear(self.hidden, self.channels)

    def spatial_layers(self):
        self.conv = nn.Conv2d(2, 1, self.k, padding=self.k // 2, bias=False)
        self.bn = nn.BatchNorm2d(1)

    def mlp(self, z):
        return self.up(F.relu(self.down(z)))

    def mc(self, x):
        return torch.sigmoid(self.mlp(x.mean((2, 3))) + self.mlp(x.amax((2, 3))))[..., None, None]

    def ms(self, x):
        stack = torch.cat((torch.mean(x, 1, keepdim=True), torch.max(x, 1, keepdim=True)[0]), dim=1)
        return torch.sigmoid(self.bn(self.conv(stack)))

    def forward(self, x):
        x = x * self.mc(x)
        return x * self.ms(x)


class WithConvolutions(nn.Module):
    """As most published ports are written."""

    def __init__(self, channels, reduction=16, kernel_size=7):
        super().__init__()
        hidden = max(channels // reduction, 1)
        self.spatial = nn.Sequential(nn.Conv2d(2, 1, kernel_size, padding=(kernel_size - 1) // 2, bias=False),
                                     nn.BatchNorm2d(1), nn.Sigmoid())
        self.mlp = nn.Sequential(nn.Conv2d(channels, hidden, 1), nn.ReLU(inplace=True), nn.Conv2d(hidden, channels, 1))

    def forward(self, x):
        gate = self.mlp(F.adaptive_avg_pool2d(x, 1)) + self.mlp(F.adaptive_max_pool2d(x, 1))
        x = gate.sigmoid() * x
        return self.spatial(torch.stack([x.mean(1), x.max(1).values], 1)) * x


class AsTheAuthors(Right):
    """Their channel gate: pooling with the map's size, Flatten, expand_as."""

    def mc(self, x):
        total = None
        for pool in (F.avg_pool2d, F.max_pool2d):
            raw = self.mlp(pool(x, (x.size(2), x.size(3))).view(x.size(0), -1))
            total = raw if total is None else total + raw
        return torch.sigmoid(total).unsqueeze(2).unsqueeze(3).expand_as(x)


def block_with(**methods):
    return type("Wrong", (Right,), methods)


def two_mlps(self):
    Right.layers(self)
    self.down2, self.up2 = nn.Linear(self.channels, self.hidden), nn.Linear(self.hidden, self.channels)


def two_mlps_gate(self, x):
    first, second = self.mlp(x.mean((2, 3))), self.up2(F.relu(self.down2(x.amax((2, 3)))))
    return torch.sigmoid(first + second)[..., None, None]


def bare_layers(self):
    self.down = nn.Linear(self.channels, self.hidden, bias=False)
    self.up = nn.Linear(self.hidden, self.channels, bias=False)


def bare_conv(self):
    self.conv, self.bn = nn.Conv2d(2, 1, self.k, padding=self.k // 2, bias=False), nn.Identity()


def conv(bias=False, inputs=2, **changes):
    def spatial_layers(self):
        options = {name: change(self.k) for name, change in changes.items()}
        options = {"kernel_size": self.k, "padding": self.k // 2} | options
        self.conv, self.bn = nn.Conv2d(inputs, 1, bias=bias, **options), nn.BatchNorm2d(1)
    return spatial_layers


def fixed_hidden(self):
    self.hidden = max(1, self.channels // 16)
    Right.layers(self)


class Slides(nn.Module):
    """The code of the seed slides, in one class."""

    def __init__(self, channels, reduction=16, kernel_size=7):
        super().__init__()
        self.avg_pool, self.max_pool = nn.AdaptiveAvgPool2d(1), nn.AdaptiveMaxPool2d(1)
        self.fc1 = nn.Conv2d(channels, channels // reduction, 1, bias=False)
        self.fc2 = nn.Conv2d(channels // reduction, channels, 1, bias=False)
        self.conv1 = nn.Conv2d(2, 1, kernel_size, padding=3 if kernel_size == 7 else 1, bias=False)

    def forward(self, x):
        avg_out = self.fc2(F.relu(self.fc1(self.avg_pool(x))))
        max_out = self.fc2(F.relu(self.fc1(self.max_pool(x))))
        x = x * torch.sigmoid(avg_out + max_out)
        stack = torch.cat([torch.mean(x, dim=1, keepdim=True), torch.max(x, dim=1, keepdim=True)[0]], dim=1)
        return x * torch.sigmoid(self.conv1(stack))


class TheAuthorsCode(AsTheAuthors):
    """With their hidden width, their stack, and their kernel of 7, whatever the arguments say."""

    def layers(self):
        self.hidden = self.channels // self.r
        Right.layers(self)

    def spatial_layers(self):
        self.conv = nn.Conv2d(2, 1, 7, padding=(7 - 1) // 2, bias=False)
        self.bn = nn.BatchNorm2d(1, eps=1e-5, momentum=0.01)

    def ms(self, x):
        stack = torch.cat((torch.max(x, 1)[0].unsqueeze(1), torch.mean(x, 1).unsqueeze(1)), dim=1)
        return torch.sigmoid(self.bn(self.conv(stack)))


class HiddenZero(Right):
    def layers(self):
        self.hidden = self.channels // self.r
        Right.layers(self)


def gate_of(pool):
    return lambda self, x: torch.sigmoid(self.mlp(pool(x)))[..., None, None]


def stacked(*pools):
    return lambda self, x: torch.sigmoid(self.bn(self.conv(torch.cat([pool(x) for pool in pools], 1))))


def mean_map(x):
    return x.mean(1, keepdim=True)


def max_map(x):
    return x.amax(1, keepdim=True)


def dropped_batch(self, x):
    z = self.mlp(F.adaptive_avg_pool2d(x, 1).squeeze()) + self.mlp(F.adaptive_max_pool2d(x, 1).squeeze())
    return z.sigmoid()[:, :, None, None]


BLOCK_RIGHT = [Right, WithConvolutions, AsTheAuthors]
BLOCK_WRONG = {
    "spatial-first": [block_with(forward=lambda self, x: (x * self.ms(x)) * self.mc(x * self.ms(x)))],
    "parallel": [block_with(forward=lambda self, x: x * self.ms(x) * self.mc(x))],
    "gates-added": [block_with(forward=lambda self, x: x * (self.mc(x) + self.ms(x))),
                    block_with(forward=lambda self, x: x * self.mc(x) + x * self.ms(x * self.mc(x)))],
    "first-gate-lost": [block_with(forward=lambda self, x: self.ms(self.mc(x) * x) * x)],
    "spatial-missing": [block_with(forward=lambda self, x: self.mc(x) * x)],
    "channel-missing": [block_with(forward=lambda self, x: self.ms(x) * x)],
    "added-input": [block_with(forward=lambda self, x: x + Right.forward(self, x))],
    "returned-gate": [block_with(forward=lambda self, x: self.mc(x) * self.ms(x * self.mc(x)))],
    "two-mlps": [block_with(layers=two_mlps, mc=two_mlps_gate)],
    "pools-before-mlp": [block_with(mc=gate_of(lambda x: x.mean((2, 3)) + x.amax((2, 3))))],
    "sigmoid-before-sum": [block_with(mc=lambda self, x: (
        self.mlp(x.mean((2, 3))).sigmoid() + self.mlp(x.amax((2, 3))).sigmoid())[..., None, None])],
    "same-pool-twice": [block_with(mc=lambda self, x: (2 * self.mlp(x.mean((2, 3)))).sigmoid()[..., None, None])],
    "one-pool": [block_with(mc=gate_of(lambda x: x.mean((2, 3)))), block_with(mc=gate_of(lambda x: x.amax((2, 3))))],
    "swapped-stack": [block_with(ms=stacked(max_map, mean_map))],
    "one-map": [block_with(spatial_layers=conv(inputs=1), ms=stacked(mean_map))],
    "bare-equations": [block_with(layers=bare_layers, spatial_layers=bare_conv)],
    "published-port": [Slides],
    "authors-code": [TheAuthorsCode],
    "wrong-axis": [block_with(mc=lambda self, x: torch.sigmoid(self.mlp(x.mean((2, 3))) + self.mlp(x.amax((2, 3)))))],
    "no-batch-norm": [block_with(spatial_layers=bare_conv)],
    "no-biases": [block_with(layers=bare_layers)],
    "conv-bias": [block_with(spatial_layers=conv(bias=True))],
    "kernel-ignored": [block_with(spatial_layers=conv(kernel_size=lambda k: 7, padding=lambda k: 3))],
    "padding-fixed": [block_with(spatial_layers=conv(padding=lambda k: 3 if k == 7 else 1)),
                      block_with(spatial_layers=conv(padding=lambda k: 3))],
    "no-padding": [block_with(spatial_layers=conv(padding=lambda k: 0))],
    "reduction-ignored": [block_with(layers=fixed_hidden)],
    "hidden-width-0": [HiddenZero],
    "no-relu": [block_with(mlp=lambda self, z: self.up(self.down(z)))],
    "relu-after-norm": [block_with(ms=lambda self, x: torch.sigmoid(F.relu(self.bn(self.conv(
        torch.cat([mean_map(x), max_map(x)], 1))))))],
    "no-sigmoid": [block_with(ms=lambda self, x: self.bn(self.conv(torch.cat([mean_map(x), max_map(x)], 1)))),
                   block_with(mc=lambda self, x: (
                       self.mlp(x.mean((2, 3))) + self.mlp(x.amax((2, 3))))[..., None, None])],
    "softmax": [block_with(mc=lambda self, x: F.softmax(
        self.mlp(x.mean((2, 3))) + self.mlp(x.amax((2, 3))), 1)[..., None, None])],
    "lost-batch": [block_with(mc=dropped_batch)],
    "detached-gate": [block_with(mc=lambda self, x: Right.mc(self, x).detach()),
                      block_with(ms=lambda self, x: Right.ms(self, x).data)],
    "mutated-input": [block_with(forward=lambda self, x: x.mul_(self.mc(x)) * self.ms(x))],
    "wrong-dtype": [block_with(ms=lambda self, x: Right.ms(self, x).float())],
    "returned-nothing": [block_with(forward=lambda self, x: None)],
    "instance-passed": [Right(16)],
    "not-a-module": [lambda channels, reduction=16, kernel_size=7: (lambda x: x)],
    "wrong-arguments": [lambda channels: Right(channels)],
    "used-ready-parts": [lambda channels, reduction=16, kernel_size=7: nn.Sequential(
        ChannelAttention(channels, reduction), SpatialAttention(kernel_size)), lambda *a, **k: CBAM(*a, **k)],
    "crashed": [block_with(ms=lambda self, x: self.conv(x.mean(1)))],
}


def test_block(tells_apart):
    tells_apart(block, BLOCK_RIGHT, BLOCK_WRONG)


def test_two_mistakes_at_once_get_an_answer_that_shows_where():
    """No single mistake looks like this, so the first failing case speaks: with numbers, or with the count."""
    result = block(block_with(spatial_layers=bare_conv, ms=stacked(max_map, mean_map)))
    assert (result.status, result.cause) == ("failed", "wrong-values")
    assert "Expected" in result.message
    assert result.failing_input.startswith("block = YourBlock(2, reduction=2, kernel_size=3).eval()")
    assert result.hint.startswith("Hint 1")
    assert arrange(lambda x, c, s, where: x + x * s(x)).status == "failed"
    assert second_gate(lambda x, c, s: x + s(x)).message.splitlines()[0] == "The values are not right."


# --- parameters_added ------------------------------------------------------------------------------------------------

def count_with_modules(stages, reduction, kernel_size):
    total = 0
    for number, channels in stages:
        hidden = max(1, channels // reduction)
        one = nn.Sequential(nn.Linear(channels, hidden), nn.Linear(hidden, channels),
                            nn.Conv2d(2, 1, kernel_size, bias=False), nn.BatchNorm2d(1))
        total += number * sum(p.numel() for p in one.parameters())
    return total


def one_by_one(stages, r, k):
    total = 0
    for n, c in stages:
        for _ in range(n):
            total += (c + 1) * max(c // r, 1) + (max(c // r, 1) + 1) * c + 2 * k * k + 2
    return total


def h(c, r):
    return max(1, c // r)


PARAMETERS_RIGHT = [count_with_modules, one_by_one]
PARAMETERS_WRONG = {
    "no-biases": [lambda stages, r, k: sum(n * (2 * c * h(c, r) + 2 * k * k + 2) for n, c in stages)],
    "one-bias": [lambda stages, r, k: sum(n * (2 * c * h(c, r) + c + 2 * k * k + 2) for n, c in stages)],
    "no-norm": [lambda stages, r, k: sum(n * (2 * c * h(c, r) + c + h(c, r) + 2 * k * k) for n, c in stages)],
    "bare-equations": [lambda stages, r, k: sum(n * (2 * c * h(c, r) + 2 * k * k) for n, c in stages)],
    "half-norm": [lambda stages, r, k: sum(n * (2 * c * h(c, r) + c + h(c, r) + 2 * k * k + 1) for n, c in stages)],
    "statistics-counted": [lambda stages, r, k: one_by_one(stages, r, k) + 2 * sum(n for n, _ in stages)],
    "conv-bias": [lambda stages, r, k: one_by_one(stages, r, k) + sum(n for n, _ in stages)],
    "channel-only": [lambda stages, r, k: sum(n * (2 * c * h(c, r) + c + h(c, r)) for n, c in stages)],
    "spatial-once": [lambda stages, r, k: sum(n * (2 * c * h(c, r) + c + h(c, r)) for n, c in stages) + 2 * k * k + 2],
    "one-map": [lambda stages, r, k: sum(n * (2 * c * h(c, r) + c + h(c, r) + k * k + 2) for n, c in stages)],
    "kernel-not-squared": [lambda s, r, k: sum(n * (2 * c * h(c, r) + c + h(c, r) + 2 * k + 2) for n, c in s)],
    "kernel-fixed": [lambda stages, r, k: one_by_one(stages, r, 7)],
    "conv-over-channels": [lambda s, r, k: sum(n * (2 * c * h(c, r) + c + h(c, r) + c * k * k + 2) for n, c in s)],
    "two-mlps": [lambda s, r, k: sum(n * (4 * c * h(c, r) + 2 * c + 2 * h(c, r) + 2 * k * k + 2) for n, c in s)],
    "one-layer": [lambda stages, r, k: sum(n * (c * h(c, r) + c + h(c, r) + 2 * k * k + 2) for n, c in stages)],
    "blocks-ignored": [lambda stages, r, k: one_by_one([(1, c) for _, c in stages], r, k)],
    "divided-too-late": [lambda s, r, k: sum(n * (2 * c * c // r + c // r + c + 2 * k * k + 2) for n, c in s)],
    "hidden-width-0": [lambda s, r, k: sum(n * (2 * c * (c // r) + c + c // r + 2 * k * k + 2) for n, c in s)],
    "true-division": [lambda s, r, k: sum(n * (2 * c * c / r + c + c / r + 2 * k ** 2 + 2) for n, c in s)],
    "rounded-width": [lambda s, r, k: sum(n * ((2 * c + 1) * max(1, round(c / r)) + c + 2 * k * k + 2) for n, c in s)],
    "reduction-ignored": [lambda stages, r, k: one_by_one(stages, 1, k), lambda s, r, k: one_by_one(s, 16, k)],
    "float-returned": [lambda stages, r, k: float(one_by_one(stages, r, k))],
    "wrong-type": [lambda stages, r, k: torch.tensor(one_by_one(stages, r, k))],
    "mutated-input": [lambda stages, r, k: one_by_one([stages.pop() for _ in stages[:]], r, k)],
    "crashed": [lambda stages, r, k: stages["layer1"]],
}


def test_parameters_added(tells_apart):
    assert 11_689_512 + parameters_added.reference(RESNET18, 16, 7) == 11_779_392
    assert 25_557_032 + parameters_added.reference(RESNET50, 16, 7) == 28_089_624
    tells_apart(parameters_added, PARAMETERS_RIGHT, PARAMETERS_WRONG)
