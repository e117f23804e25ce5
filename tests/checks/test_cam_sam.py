"""Chapter 04's checkers: right answers pass, and wrong ones are told by name what is wrong."""

import torch
from torch import nn
from torch.nn import functional as F

from attncourse import checks
from attncourse.checks.cam_sam import channel_gate, spatial_block, spatial_stack

# The answers below are written as a learner would type them, not as the checker writes its mistakes.


# --- spatial_stack ---------------------------------------------------------------------------------------------------

def stack_with_loops(x):
    B, C, H, W = x.shape
    out = torch.zeros(B, 2, H, W, dtype=x.dtype)
    for i in range(H):
        for j in range(W):
            out[:, 0, i, j] = x[:, :, i, j].sum(1) / C
            out[:, 1, i, j] = x[:, :, i, j].max(1).values
    return out


STACK_RIGHT = [
    lambda x: torch.stack([torch.mean(x, dim=1), torch.max(x, dim=1)[0]], dim=1),
    lambda x: torch.cat((x.mean(1).unsqueeze(1), torch.max(x, 1)[0].unsqueeze(1)), dim=1),
    lambda x: torch.cat([x.sum(1, True) / x.shape[1], x.max(1, keepdim=True).values], -3),
    stack_with_loops,
]
STACK_WRONG = {
    "swapped-order": [lambda x: torch.cat((torch.max(x, 1)[0].unsqueeze(1), torch.mean(x, 1).unsqueeze(1)), dim=1)],
    "pooled-over-space": [
        lambda x: torch.cat([F.adaptive_avg_pool2d(x, 1), F.adaptive_max_pool2d(x, 1)], dim=1),
        lambda x: torch.stack([x.flatten(2).mean(2), x.flatten(2).max(2)[0]], dim=1)],
    "one-axis-of-space": [lambda x: torch.cat([x.mean(2, keepdim=True), x.max(2, keepdim=True)[0]], dim=1)],
    "pooled-over-batch": [lambda x: torch.cat([x.mean(0, keepdim=True), x.max(0, keepdim=True)[0]], dim=1)],
    "average-twice": [lambda x: torch.stack([x.mean(1), x.mean(1)], 1)],
    "maximum-twice": [lambda x: torch.stack([x.max(1)[0], x.max(1)[0]], 1)],
    "added": [lambda x: (torch.mean(x, 1) + torch.max(x, 1)[0]).unsqueeze(1)],
    "indices": [lambda x: torch.stack([x.mean(1), torch.max(x, 1)[1].to(x.dtype)], 1)],
    "first-image": [lambda x: torch.stack([x.mean(1)[0], torch.max(x, 1)[0][0]])],
    "lost-axis": [lambda x: torch.cat([torch.mean(x, 1), torch.max(x, 1)[0]], dim=1)],
    "stacked-on-batch": [lambda x: torch.cat([torch.mean(x, 1, True), torch.max(x, 1, True)[0]]),
                         lambda x: torch.stack([x.mean(1), x.max(1)[0]])],
    "stacked-last": [lambda x: torch.stack([x.mean(1), x.max(1)[0]], dim=-1)],
    "joined-along-rows": [lambda x: torch.cat([x.mean(1, True), x.amax(1, True)], dim=2)],
    "sum": [lambda x: torch.stack([x.sum(1), x.max(1)[0]], 1)],
    "minimum": [lambda x: torch.stack([x.mean(1), x.min(1)[0]], 1)],
    "absolute-maximum": [lambda x: torch.stack([x.mean(1), x.abs().max(1)[0]], 1)],
    "one-map": [lambda x: torch.max(x, 1)[0], lambda x: torch.mean(x, 1, True)],
    "detached": [lambda x: torch.stack([x.mean(1), x.data.amax(1)], 1)],
    "pooled-over-batch-too": [lambda x: torch.cat([x.mean((0, 1), True), x.amax((0, 1), True)], 1)],
    "pair-not-values": [lambda x: torch.cat([x.mean(1, keepdim=True), torch.max(x, 1, keepdim=True)], 1),
                        lambda x: torch.stack([torch.mean(x, 1), torch.max(x, 1)], 1)],
    "crashed": [lambda x: torch.cat([x.mean(1, keepdim=True), "max"], 1)],
    "returned-nothing": [lambda x: print(torch.stack([x.mean(1), x.amax(1)], 1).shape)],
    "mutated-input": [lambda x: torch.stack([x.mul_(2).mean(1) / 2, x.amax(1) / 2], 1)],
}


def test_spatial_stack(tells_apart):
    tells_apart(spatial_stack, STACK_RIGHT, STACK_WRONG)


def test_what_the_learner_reads():
    assert repr(checks.cam_sam.spatial_stack(lambda x: torch.stack([x.mean(1), x.mean(1)], 1))) == """\
✗ cam_sam.spatial_stack: Both maps are the mean: the `x1 + x1` of this module. The second is the
    maximum.
  Smallest failing input: x = [[[[0, 2]], [[4, 1]]]] of shape (1, 2, 1, 2)
  Expected [[[[2, 1.5]], [[4, 2]]]] of shape (1, 2, 1, 2), got [[[[2, 1.5]], [[2, 1.5]]]] of shape
    (1, 2, 1, 2).
  Hint 1: Which axis of (B, C, H, W) has to go? You want one number per position, so the other three
    stay."""


# --- channel_gate ----------------------------------------------------------------------------------------------------

def two_layers(z, w1, b1, w2, b2):
    return F.linear(F.relu(F.linear(z, w1, b1)), w2, b2)


def gate_on_both_at_once(x, w1, b1, w2, b2):
    B = len(x)
    z = torch.cat([x.mean((2, 3)), x.amax((2, 3))])  # (2B, C): one pass for both
    out = two_layers(z, w1, b1, w2, b2)
    return (out[:B] + out[B:]).sigmoid()


def gate_with_convolutions(x, w1, b1, w2, b2):
    def mlp(z):
        return F.conv2d(F.conv2d(z, w1[:, :, None, None], b1).relu(), w2[:, :, None, None], b2)
    return torch.sigmoid(mlp(F.adaptive_avg_pool2d(x, 1)) + mlp(F.adaptive_max_pool2d(x, 1))).flatten(1)


def hidden_sum_with_both_biases(x, w1, b1, w2, b2):
    hidden = F.linear(x.mean((2, 3)), w1, b1).relu() + F.linear(x.flatten(2).max(2)[0], w1, b1).relu()
    return torch.sigmoid(F.linear(hidden, w2, 2 * b2))


def with_pools(avg, largest):
    def answer(x, w1, b1, w2, b2):
        return torch.sigmoid(two_layers(avg(x), w1, b1, w2, b2) + two_layers(largest(x), w1, b1, w2, b2))
    return answer


def after(join):
    """join(mean's output, maximum's output), with the right MLP before it."""
    def answer(x, *weights):
        return join(two_layers(x.mean((2, 3)), *weights), two_layers(x.flatten(2).max(-1)[0], *weights))
    return answer


def without_relu(x, w1, b1, w2, b2):
    out = [F.linear(F.linear(z, w1, b1), w2, b2) for z in (x.mean((2, 3)), x.amax((2, 3)))]
    return torch.sigmoid(out[0] + out[1])


def one_bias(x, w1, b1, w2, b2):
    h = F.relu(F.linear(x.mean((2, 3)), w1, b1)) + F.relu(F.linear(x.amax((2, 3)), w1, b1))
    return F.linear(h, w2, b2).sigmoid()


def bias_behind_two_passes(x, w1, b1, w2, b2):
    out = [F.linear(F.relu(F.linear(z, w1, b1)), w2) for z in (x.mean((2, 3)), x.amax((2, 3)))]
    return (out[0] + out[1] + b2).sigmoid()


RIGHT_GATE = with_pools(lambda x: x.mean((2, 3)), lambda x: x.amax((2, 3)))
GATE_RIGHT = [RIGHT_GATE, gate_on_both_at_once, gate_with_convolutions, hidden_sum_with_both_biases]
GATE_WRONG = {
    "added-before-mlp": [lambda x, *w: two_layers(x.mean((2, 3)) + x.amax((2, 3)), *w).sigmoid(),
                         lambda x, *w: two_layers(0.5 * x.mean((2, 3)) + 0.5 * x.amax((2, 3)), *w).sigmoid()],
    "second-bias-once": [one_bias, bias_behind_two_passes],
    "average-only": [lambda x, *w: two_layers(F.adaptive_avg_pool2d(x, 1).flatten(1), *w).sigmoid()],
    "maximum-only": [lambda x, *w: two_layers(F.adaptive_max_pool2d(x, 1).flatten(1), *w).sigmoid()],
    "average-twice": [with_pools(lambda x: x.mean((2, 3)), lambda x: x.mean((2, 3)))],
    "maximum-twice": [with_pools(lambda x: x.amax((2, 3)), lambda x: x.amax((2, 3)))],
    "sigmoid-before-sum": [after(lambda a, m: torch.sigmoid(a) + torch.sigmoid(m))],
    "multiplied": [after(lambda a, m: torch.sigmoid(a * m)), after(lambda a, m: torch.sigmoid(a) * torch.sigmoid(m))],
    "halved": [after(lambda a, m: torch.sigmoid(0.5 * (a + m)))],
    "larger-of-two": [after(lambda a, m: torch.max(a, m).sigmoid())],
    "no-sigmoid": [after(lambda a, m: a + m)],
    "no-relu": [without_relu],
    "softmax": [after(lambda a, m: F.softmax(a + m, dim=-1))],
    "relu-before-sigmoid": [after(lambda a, m: F.relu(a + m).sigmoid())],
    "no-biases": [lambda x, w1, b1, w2, b2: RIGHT_GATE(x, w1, None, w2, None)],
    "no-first-bias": [lambda x, w1, b1, w2, b2: RIGHT_GATE(x, w1, None, w2, b2)],
    "no-second-bias": [lambda x, w1, b1, w2, b2: RIGHT_GATE(x, w1, b1, w2, None)],
    "transposed-weights": [lambda x, w1, b1, w2, b2: RIGHT_GATE(x, w1.T, b1, w2.T, b2)],
    "sum": [with_pools(lambda x: x.sum(3).sum(2), lambda x: x.amax((2, 3)))],
    "minimum": [with_pools(lambda x: x.mean((2, 3)), lambda x: x.flatten(2).min(2)[0])],
    "absolute-maximum": [with_pools(lambda x: x.mean((2, 3)), lambda x: x.abs().amax((2, 3)))],
    "maximum-of-one-axis": [with_pools(lambda x: x.mean((2, 3)), lambda x: x.max(3)[0].mean(-1))],
    "fixed-size": [with_pools(lambda x: F.avg_pool2d(x, x.size(2)).flatten(1),
                              lambda x: F.max_pool2d(x, x.size(2)).flatten(1)),
                   with_pools(lambda x: nn.AvgPool2d(7)(x).flatten(1), lambda x: nn.MaxPool2d(7)(x).flatten(1))],
    "pooled-over-channels": [with_pools(lambda x: x.mean(1), lambda x: torch.max(x, 1)[0])],
    "averaged-batch": [with_pools(lambda x: x.mean((0, 2, 3)).unsqueeze(0), lambda x: x.amax((0, 2, 3)).unsqueeze(0))],
    "multiplied-by-input": [lambda x, *w: RIGHT_GATE(x, *w)[..., None, None] * x],
    "added-axes": [lambda x, *w: RIGHT_GATE(x, *w).unsqueeze(-1).unsqueeze(-1)],
    "lost-batch": [lambda x, *w: gate_with_convolutions(x, *w).squeeze()],
    "detached": [with_pools(lambda x: x.mean((2, 3)), lambda x: x.detach().amax((2, 3)))],
    "returned-nothing": [lambda x, *w: None],
    "mutated-input": [lambda x, *w: RIGHT_GATE(x, *[p.mul_(1.01).div(1.01) for p in w])],
    "wrong-arguments": [lambda x: x],
}


def test_channel_gate(tells_apart):
    tells_apart(channel_gate, GATE_RIGHT, GATE_WRONG)


# --- spatial_block ---------------------------------------------------------------------------------------------------

class Right(nn.Module):
    """What the wrong blocks below change in one place."""

    def __init__(self, kernel_size=7):
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, got {kernel_size}")
        self.layers(kernel_size)

    def layers(self, k):
        self.conv1, self.bn = nn.Conv2d(2, 1, k, padding=(k - 1) // 2, bias=False), nn.BatchNorm2d(1)

    def pool(self, x):
        return torch.cat([torch.mean(x, dim=1, keepdim=True), torch.max(x, dim=1, keepdim=True)[0]], dim=1)

    def gate(self, x):
        return torch.sigmoid(self.bn(self.conv1(self.pool(x))))

    def forward(self, x):
        return x * self.gate(x)


class AsSequential(nn.Module):
    def __init__(self, kernel_size=7):
        super().__init__()
        if kernel_size not in (1, 3, 5, 7, 9, 11):
            raise ValueError
        self.net = nn.Sequential(nn.Conv2d(2, 1, kernel_size, padding="same", bias=False), nn.BatchNorm2d(1),
                                 nn.Sigmoid())

    def forward(self, x):
        return self.net(torch.stack([x.mean(1), x.amax(1)], 1)).expand_as(x) * x


class TwoConvolutions(Right):
    """One convolution on explicitly padded maps, by F.conv2d with a parameter of its own."""

    def layers(self, k):
        self.weight, self.bn, self.k = nn.Parameter(torch.randn(1, 2, k, k)), nn.BatchNorm2d(1), k

    def gate(self, x):
        return torch.sigmoid(self.bn(F.conv2d(F.pad(self.pool(x), [self.k // 2] * 4), self.weight)))


def block_with(**methods):
    return type("Wrong", (Right,), methods)


def layers_with(padding=lambda k: k // 2, size=lambda k: k, channels=2, **options):
    def layers(self, k):
        self.conv1 = nn.Conv2d(channels, 1, size(k), padding=padding(k), **{"bias": False, **options})
        self.bn = nn.BatchNorm2d(1)
    return layers


class AcceptsEven(Right):
    def __init__(self, kernel_size=7):
        nn.Module.__init__(self)
        self.layers(kernel_size)


class FromTheSlides(nn.Module):
    """As in the seed slides: no BatchNorm, and a padding that fits 7 and 3 only."""

    def __init__(self, kernel_size=7):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 1, kernel_size, padding=3 if kernel_size == 7 else 1, bias=False)

    def forward(self, x):
        pooled = torch.cat([torch.mean(x, 1, True), torch.max(x, 1, True)[0]], 1)
        return x * self.conv1(pooled).sigmoid()


BLOCK_RIGHT = [Right, AsSequential, TwoConvolutions]
BLOCK_WRONG = {
    "even-kernel-accepted": [AcceptsEven],
    "kernel-size-ignored": [block_with(layers=layers_with(size=lambda k: 7, padding=lambda k: 3)),
                            block_with(layers=layers_with(size=lambda k: 3, padding=lambda k: 1))],
    "fixed-padding": [block_with(layers=layers_with(padding=lambda k: 3 if k == 7 else 1)),
                      block_with(layers=layers_with(padding=lambda k: 3))],
    "no-padding": [block_with(layers=layers_with(padding=lambda k: 0))],
    "too-much-padding": [block_with(layers=layers_with(padding=lambda k: k)),
                         block_with(layers=layers_with(padding=lambda k: k - 1))],
    "other-padding": [block_with(layers=layers_with(padding_mode="replicate"))],
    "swapped-order": [block_with(pool=lambda self, x: torch.stack([x.amax(1), x.mean(1)], 1))],
    "average-twice": [block_with(pool=lambda self, x: torch.stack([x.mean(1), x.mean(1)], 1))],
    "maximum-twice": [block_with(pool=lambda self, x: torch.stack([x.amax(1), x.amax(1)], 1))],
    "one-map": [block_with(layers=layers_with(channels=1), pool=lambda self, x: x.mean(1, keepdim=True)),
                block_with(layers=layers_with(channels=1), pool=lambda self, x: x.amax(1, keepdim=True))],
    "sum": [block_with(pool=lambda self, x: torch.stack([x.sum(1), x.amax(1)], 1))],
    "no-batch-norm": [block_with(gate=lambda self, x: self.conv1(self.pool(x)).sigmoid(),
                                 layers=lambda self, k: setattr(self, "conv1", nn.Conv2d(2, 1, k, padding=k // 2,
                                                                                         bias=False)))],
    "conv-bias": [block_with(layers=layers_with(bias=True))],
    "norm-before-conv": [block_with(layers=lambda self, k: (Right.layers(self, k),
                                                            setattr(self, "bn", nn.BatchNorm2d(2)))[0],
                                    gate=lambda self, x: self.conv1(self.bn(self.pool(x))).sigmoid())],
    "norm-after-sigmoid": [block_with(gate=lambda self, x: self.bn(self.conv1(self.pool(x)).sigmoid()))],
    "relu-before-sigmoid": [block_with(gate=lambda self, x: F.relu(self.bn(self.conv1(self.pool(x)))).sigmoid())],
    "no-sigmoid": [block_with(gate=lambda self, x: self.bn(self.conv1(self.pool(x))))],
    "tanh-gate": [block_with(gate=lambda self, x: self.bn(self.conv1(self.pool(x))).tanh())],
    "softmax": [block_with(gate=lambda self, x: F.softmax(self.bn(self.conv1(self.pool(x))).flatten(2), -1)
                           .view(len(x), 1, *x.shape[2:]))],
    "returned-gate": [block_with(forward=lambda self, x: self.gate(x))],
    "added-gate": [block_with(forward=lambda self, x: self.gate(x) + x)],
    "added-input": [block_with(forward=lambda self, x: x * (1 + self.gate(x)))],
    "detached": [block_with(forward=lambda self, x: x * self.gate(x).data)],
    "mutated-input": [block_with(forward=lambda self, x: x.mul_(self.gate(x)))],
    "wrong-dtype": [block_with(gate=lambda self, x: Right.gate(self, x).float())],
    "returned-nothing": [block_with(forward=lambda self, x: None)],
    "instance-passed": [Right()],
    "not-a-module": [lambda kernel_size=7: (lambda x: x)],
    "used-course-block": [lambda kernel_size=7: nn.Sequential(checks.cam_sam.SpatialAttention(kernel_size))],
    "wrong-arguments": [lambda channels, k: Right(k)],
}


def test_spatial_block(tells_apart):
    tells_apart(spatial_block, BLOCK_RIGHT, BLOCK_WRONG)


def test_two_mistakes_at_once_still_show_the_smallest_failing_input():
    both = spatial_block(FromTheSlides)  # no BatchNorm, padding for two sizes only
    assert both.status == "failed"
    assert both.failing_input == "block = YourBlock(kernel_size=3).eval(); x = a tensor of shape (1, 2, 3, 4)"
    assert both.hint.startswith("Hint 1")
    swapped = spatial_stack(lambda x: torch.stack([x.amax((2, 3)), x.mean((2, 3))], 1))  # over space, other order
    assert (swapped.status, swapped.cause) == ("failed", "wrong-shape")
    assert "should be (1, 2, 1, 2)" in swapped.message
    unbounded = channel_gate(after(lambda a, m: a * m))  # multiplied, no sigmoid
    assert (unbounded.status, unbounded.cause) == ("failed", "wrong-values")
    assert "Expected" in unbounded.message


def test_a_map_that_shrinks_to_one_value_is_not_let_through():
    """7×7 without padding gives a 1×1 gate, which broadcasting would hide."""
    result = spatial_block(block_with(layers=layers_with(padding=lambda k: 0)))
    assert "broadcast" in result.message
