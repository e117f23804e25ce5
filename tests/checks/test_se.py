"""Chapter 03's checkers: right answers pass, and wrong ones are told by name what is wrong."""

import torch
from torch import nn
from torch.nn import functional as F

from attncourse import checks
from attncourse.checks.se import block, excite, parameters_added, place, squeeze

# The answers below are written as a learner would type them, not as the checker writes its mistakes.


# --- squeeze ---------------------------------------------------------------------------------------------------------

def squeeze_with_loops(x):
    B, C, H, W = x.shape
    z = torch.zeros(B, C, dtype=x.dtype)
    for b in range(B):
        for c in range(C):
            z[b, c] = x[b, c].sum() / (H * W)
    return z


SQUEEZE_RIGHT = [
    lambda x: F.adaptive_avg_pool2d(x, 1).flatten(1), lambda x: x.flatten(2).mean(-1), lambda x: x.mean(-1).mean(-1),
    lambda x: torch.einsum("bchw->bc", x) / (x.shape[2] * x.shape[3]), squeeze_with_loops,
    lambda x: nn.AdaptiveAvgPool2d(1)(x)[:, :, 0, 0], lambda x: x.mean(dim=(-2, -1)),
]
SQUEEZE_WRONG = {
    "averaged-channels": [lambda x: torch.mean(x, dim=1), lambda x: torch.sum(x, 1) / x.size(1)],
    "averaged-batch": [lambda x: torch.mean(x, (0, 2, 3))],
    "averaged-everything": [lambda x: x.view(x.size(0), -1).mean(dim=1)],
    "sum": [lambda x: x.sum(3).sum(2), lambda x: torch.einsum("bchw->bc", x)],
    "maximum": [lambda x: x.flatten(2).max(2).values, lambda x: F.adaptive_max_pool2d(x, 1).flatten(1)],
    "one-axis-only": [lambda x: torch.mean(x, -1), lambda x: torch.mean(x, -2)],
    "kept-axes": [lambda x: F.adaptive_avg_pool2d(x, 1), lambda x: nn.AdaptiveAvgPool2d((1, 1))(x)],
    "assumed-square": [lambda x: torch.sum(x, (2, 3)) / (x.size(2) * x.size(2))],
    "fixed-size": [lambda x: x.sum(dim=[2, 3]) / (4 * 4), lambda x: nn.AvgPool2d(7)(x).flatten(1)],
    "median": [lambda x: x.view(*x.shape[:2], -1).median(-1)[0]],
    "root-mean-square": [lambda x: (x ** 2).mean((2, 3)) ** 0.5],
    "first-position": [lambda x: x[..., 0, 0]],
    "lost-batch": [lambda x: F.adaptive_avg_pool2d(x, 1).squeeze()],
    "detached": [lambda x: x.data.mean((2, 3))],
    "returned-nothing": [lambda x: print("mean", x.mean((2, 3)))],
    "wrong-type": [lambda x: x.detach().numpy().mean((2, 3))],
    "wrong-dtype": [lambda x: x.double().mean((2, 3)), lambda x: x.half().mean((2, 3))],
    "mutated-input": [lambda x: x.sub_(0).add_(1).mean((2, 3)) - 1],
}


def test_squeeze(tells_apart):
    tells_apart(squeeze, SQUEEZE_RIGHT, SQUEEZE_WRONG)


def test_what_the_learner_reads():
    assert repr(checks.se.squeeze(lambda x: x.mean(1))) == """\
✗ se.squeeze: You averaged over channels, not over space.
  Smallest failing input: x = [[[[0, 1]], [[2, 3]]]] of shape (1, 2, 1, 2)
  Expected [[0.5, 2.5]] of shape (1, 2), got [[[1, 2]]] of shape (1, 1, 2).
  Hint 1: Which axes of (B, C, H, W) are space? Those disappear; the others stay."""
    assert repr(squeeze(lambda x: x.mean((2, 3)), solution=True)) == """\
✓ se.squeeze: passed. Tested: values on 8 maps, non-square, 1×1, one image and several, odd channel
    counts, float64; the gradient; x unchanged.
  This is the course's solution: it does not count as yours."""


# --- excite ----------------------------------------------------------------------------------------------------------

def excite_with_loops(z, w1, b1, w2, b2):
    rows = []
    for image in z:
        hidden = [torch.clamp(w @ image + b, min=0) for w, b in zip(w1, b1)]
        rows.append(torch.stack([1 / (1 + torch.exp(-(w @ torch.stack(hidden) + b))) for w, b in zip(w2, b2)]))
    return torch.stack(rows)


EXCITE_RIGHT = [
    lambda z, w1, b1, w2, b2: torch.sigmoid(F.linear(F.relu(F.linear(z, w1, b1)), w2, b2)),
    lambda z, w1, b1, w2, b2: (w2 @ (w1 @ z.T + b1[:, None]).clamp(min=0) + b2[:, None]).T.sigmoid(),
    excite_with_loops,
]
EXCITE_WRONG = {
    "no-relu": [lambda z, w1, b1, w2, b2: F.linear(F.linear(z, w1, b1), w2, b2).sigmoid()],
    "no-sigmoid": [lambda z, w1, b1, w2, b2: F.linear(F.linear(z, w1, b1).relu(), w2, b2)],
    "swapped-activations": [lambda z, w1, b1, w2, b2: F.relu(F.linear(F.linear(z, w1, b1).sigmoid(), w2, b2))],
    "sigmoid-inside": [lambda z, w1, b1, w2, b2: F.linear(F.linear(z, w1, b1).sigmoid(), w2, b2).sigmoid()],
    "other-activation-inside": [lambda z, w1, b1, w2, b2: F.linear(F.gelu(F.linear(z, w1, b1)), w2, b2).sigmoid()],
    "softmax": [lambda z, w1, b1, w2, b2: F.softmax(F.linear(F.linear(z, w1, b1).relu(), w2, b2), -1)],
    "tanh-gate": [lambda z, w1, b1, w2, b2: F.linear(F.linear(z, w1, b1).relu(), w2, b2).tanh()],
    "relu-gate": [lambda z, w1, b1, w2, b2: F.linear(F.linear(z, w1, b1).relu(), w2, b2).relu()],
    "relu-before-sigmoid": [lambda z, w1, b1, w2, b2: F.linear(F.linear(z, w1, b1).relu(), w2, b2).relu().sigmoid()],
    "sigmoid-twice": [lambda z, w1, b1, w2, b2: F.linear(F.linear(z, w1, b1).relu(), w2, b2).sigmoid().sigmoid()],
    "no-biases": [lambda z, w1, b1, w2, b2: F.linear(F.linear(z, w1).relu(), w2).sigmoid()],
    "no-first-bias": [lambda z, w1, b1, w2, b2: F.linear(F.linear(z, w1).relu(), w2, b2).sigmoid()],
    "no-second-bias": [lambda z, w1, b1, w2, b2: F.linear(F.linear(z, w1, b1).relu(), w2).sigmoid()],
    "bias-after-activation": [lambda z, w1, b1, w2, b2:
                              torch.sigmoid((F.relu(z @ w1.T) + b1) @ w2.T + b2)],
    "transposed-weights": [lambda z, w1, b1, w2, b2: torch.sigmoid(F.relu(z @ w1 + b1) @ w2 + b2)],
    "swapped-layers": [lambda z, w1, b1, w2, b2: F.linear(F.linear(z, w2, b2).relu(), w1, b1).sigmoid()],
    "relu-on-input": [lambda z, w1, b1, w2, b2: F.linear(F.linear(z.relu(), w1, b1).relu(), w2, b2).sigmoid()],
    "multiplied-by-input": [lambda z, w1, b1, w2, b2: F.linear(F.linear(z, w1, b1).relu(), w2, b2).sigmoid() * z],
    "averaged-batch": [lambda z, w1, b1, w2, b2: F.linear(F.linear(z.mean(0, True), w1, b1).relu(), w2, b2).sigmoid()],
    "added-axes": [lambda z, w1, b1, w2, b2: F.linear(F.linear(z, w1, b1).relu(), w2, b2).sigmoid()[..., None, None]],
    "detached": [lambda z, w1, b1, w2, b2: F.linear(F.linear(z.detach(), w1, b1).relu(), w2, b2).sigmoid()],
    "mutated-input": [lambda z, w1, b1, w2, b2: torch.sigmoid(F.relu(z @ w1.mul_(2).T / 2 + b1) @ w2.T + b2)],
    "wrong-arguments": [lambda z, weights: z],
}


def test_excite(tells_apart):
    tells_apart(excite, EXCITE_RIGHT, EXCITE_WRONG)


# --- block -----------------------------------------------------------------------------------------------------------

class Right(nn.Module):
    """What the wrong blocks below change in one place."""

    def __init__(self, channels, reduction=16):
        super().__init__()
        self.channels, self.hidden = channels, max(1, channels // reduction)
        self.layers()

    def layers(self):
        self.down, self.up = nn.Linear(self.channels, self.hidden), nn.Linear(self.hidden, self.channels)

    def squeeze(self, x):
        return x.mean((2, 3))

    def excite(self, z):
        return torch.sigmoid(self.up(F.relu(self.down(z))))

    def forward(self, x):
        return x * self.excite(self.squeeze(x))[:, :, None, None]


class WithConvolutions(nn.Module):
    def __init__(self, channels, reduction=16):
        super().__init__()
        hidden = max(channels // reduction, 1)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, hidden, 1), nn.ReLU(inplace=True),
                                  nn.Conv2d(hidden, channels, 1), nn.Sigmoid())

    def forward(self, x):
        return self.gate(x) * x


class LayersInOtherOrder(Right):
    def layers(self):
        self.up, self.down = nn.Linear(self.hidden, self.channels), nn.Linear(self.channels, self.hidden)


class WithViews(Right):
    def forward(self, x):
        b, c, _, _ = x.size()
        y = nn.AdaptiveAvgPool2d(1)(x).view(b, c)
        y = self.up(self.down(y).clamp(min=0)).sigmoid().view(b, c, 1, 1)
        return x * y.expand_as(x)


def block_with(**methods):
    return type("Wrong", (Right,), methods)


def layers_with(hidden):
    """The layers, with a hidden width that hidden(self) computes."""
    def layers(self):
        self.down, self.up = nn.Linear(self.channels, hidden(self)), nn.Linear(hidden(self), self.channels)
    return layers


class HiddenZero(Right):
    def __init__(self, channels, reduction=16):
        nn.Module.__init__(self)
        self.fc1, self.fc2 = nn.Linear(channels, channels // reduction), nn.Linear(channels // reduction, channels)

    def excite(self, z):
        return self.fc2(self.fc1(z).relu()).sigmoid()


class ReductionIsWidth(Right):
    def __init__(self, channels, reduction=16):
        nn.Module.__init__(self)
        self.down, self.up = nn.Linear(channels, reduction), nn.Linear(reduction, channels)


def one_layer(self):
    self.only = nn.Linear(self.channels, self.channels)


def with_norm(self):
    self.down, self.up = nn.Linear(self.channels, self.hidden), nn.Linear(self.hidden, self.channels)
    self.bn = nn.BatchNorm1d(self.hidden)


def without_bias(self):
    self.down = nn.Linear(self.channels, self.hidden, bias=False)
    self.up = nn.Linear(self.hidden, self.channels, bias=False)


def position_layers(self):
    self.down, self.up = nn.Conv2d(self.channels, self.hidden, 1), nn.Conv2d(self.hidden, 1, 1)


def map_layers(self):
    self.down, self.up = nn.Conv2d(self.channels, self.hidden, 1), nn.Conv2d(self.hidden, self.channels, 1)


def on_the_map(self, x):
    return x * self.up(self.down(x).relu()).sigmoid()


def without_gradient(self, x):
    with torch.no_grad():
        z = F.adaptive_avg_pool2d(x, 1)
    return z.flatten(1)


BLOCK_RIGHT = [Right, WithConvolutions, LayersInOtherOrder, WithViews]
BLOCK_WRONG = {
    "reduction-ignored": [block_with(layers=layers_with(lambda self: max(1, self.channels // 16)))],
    "reduction-as-width": [ReductionIsWidth],
    "hidden-width-0": [HiddenZero],
    "returned-gate": [block_with(forward=lambda self, x: self.excite(self.squeeze(x)).unsqueeze(-1).unsqueeze(-1))],
    "added-gate": [block_with(forward=lambda self, x: self.excite(self.squeeze(x))[:, :, None, None] + x)],
    "wrong-axis": [block_with(forward=lambda self, x: x * self.excite(self.squeeze(x)))],
    "added-input": [block_with(forward=lambda self, x: x * (1 + self.excite(self.squeeze(x))[:, :, None, None]))],
    "no-sigmoid": [block_with(excite=lambda self, z: self.up(F.relu(self.down(z))))],
    "no-relu": [block_with(excite=lambda self, z: torch.sigmoid(self.up(self.down(z))))],
    "swapped-activations": [block_with(excite=lambda self, z: F.relu(self.up(torch.sigmoid(self.down(z)))))],
    "relu-before-sigmoid": [block_with(excite=lambda self, z: torch.sigmoid(F.relu(self.up(F.relu(self.down(z))))))],
    "softmax": [block_with(excite=lambda self, z: F.softmax(self.up(F.relu(self.down(z))), dim=1))],
    "lost-batch": [block_with(squeeze=lambda self, x: F.adaptive_avg_pool2d(x, 1).squeeze())],
    "fixed-size": [block_with(squeeze=lambda self, x: nn.AvgPool2d(8)(x).flatten(1)),
                   block_with(squeeze=lambda self, x: F.avg_pool2d(x, (7, 7)).view(x.size(0), -1))],
    "summed": [block_with(squeeze=lambda self, x: x.flatten(2).sum(2))],
    "maximum": [block_with(squeeze=lambda self, x: F.adaptive_max_pool2d(x, 1).flatten(1))],
    "one-layer": [block_with(layers=one_layer, excite=lambda self, z: self.only(z).sigmoid())],
    "batch-norm": [block_with(layers=with_norm,
                              excite=lambda self, z: self.up(self.bn(self.down(z)).relu()).sigmoid())],
    "averaged-batch": [block_with(squeeze=lambda self, x: x.mean((0, 2, 3)).unsqueeze(0))],
    "detached-gate": [block_with(excite=lambda self, z: Right.excite(self, z).detach())],
    "detached-squeeze": [block_with(squeeze=without_gradient),
                         block_with(squeeze=lambda self, x: x.detach().mean((2, 3)))],
    "no-biases": [block_with(layers=without_bias)],
    "spatial-gate": [block_with(layers=position_layers, forward=on_the_map)],
    "no-squeeze": [block_with(layers=map_layers, forward=on_the_map)],
    "mutated-input": [block_with(forward=lambda self, x: x.mul_(self.excite(self.squeeze(x))[:, :, None, None]))],
    "wrong-dtype": [block_with(excite=lambda self, z: Right.excite(self, z).float())],
    "returned-nothing": [block_with(forward=lambda self, x: None)],
    "instance-passed": [Right(16)],
    "not-a-module": [lambda channels, reduction=16: (lambda x: x)],
    "wrong-arguments": [lambda channels: Right(channels)],
    "used-seblock": [lambda channels, reduction=16: nn.Sequential(checks.se.SEBlock(channels, reduction))],
    "crashed": [type("NoForward", (nn.Module,), {"__init__": Right.__init__, "layers": Right.layers})],
}


def test_block(tells_apart):
    tells_apart(block, BLOCK_RIGHT, BLOCK_WRONG)


def test_a_crash_that_a_mistake_explains_is_shown_beside_its_name():
    result = block(BLOCK_WRONG["lost-batch"][0])
    assert result.failing_input == "block = YourBlock(2, reduction=2); x = [[[[1]], [[-2]]]] of shape (1, 2, 1, 1)"
    assert "What you see of it: IndexError: too many indices" in result.message


# --- parameters_added ------------------------------------------------------------------------------------------------

def count_with_modules(stages, reduction):
    total = 0
    for blocks, channels in stages:
        hidden = max(1, channels // reduction)
        one = nn.Sequential(nn.Linear(channels, hidden, bias=False), nn.Linear(hidden, channels, bias=False))
        total += blocks * sum(p.numel() for p in one.parameters())
    return total


PARAMETERS_RIGHT = [
    count_with_modules,
    lambda stages, r: 2 * sum(blocks * C * max(C // r, 1) for blocks, C in stages),
    lambda stages, r: sum(n * (c * max(1, int(c / r)) + max(1, int(c / r)) * c) for n, c in stages),
]
PARAMETERS_WRONG = {
    "one-layer": [lambda stages, r: sum(n * c * max(1, c // r) for n, c in stages)],
    "blocks-ignored": [lambda stages, r: sum(2 * c * max(1, c // r) for _, c in stages)],
    "channels-not-squared": [lambda stages, r: sum(2 * n * max(1, c // r) for n, c in stages)],
    "hidden-squared": [lambda stages, r: sum(2 * n * max(1, c // r) ** 2 for n, c in stages)],
    "multiplied-by-reduction": [lambda stages, r: sum(2 * n * c * (c * r) for n, c in stages)],
    "last-stage-only": [lambda stages, r: [2 * n * c * max(1, c // r) for n, c in stages][-1]],
    "with-biases": [lambda stages, r: sum(n * (2 * c * max(1, c // r) + max(1, c // r) + c) for n, c in stages)],
    "blocks-squared": [lambda stages, r: sum(2 * n * n * c * max(1, c // r) for n, c in stages)],
    "true-division": [lambda stages, r: sum(2 / r * n * c ** 2 for n, c in stages)],
    "divided-too-late": [lambda stages, r: sum(2 * n * c ** 2 // r for n, c in stages)],
    "hidden-width-0": [lambda stages, r: sum(2 * n * c * (c // r) for n, c in stages)],
    "rounded-width": [lambda stages, r: sum(2 * n * c * max(1, round(c / r)) for n, c in stages)],
    "float-returned": [lambda stages, r: float(sum(2 * n * c * max(1, c // r) for n, c in stages))],
    "wrong-type": [lambda stages, r: torch.tensor(sum(2 * n * c * max(1, c // r) for n, c in stages))],
    "crashed": [lambda stages, r: stages["layer1"]],
    "mutated-input": [lambda stages, r: sum(2 * n * c * max(1, c // r) for n, c in [stages.pop() for _ in stages[:]])],
}


def test_parameters_added(tells_apart):
    assert parameters_added.reference([(3, 256), (4, 512), (6, 1024), (3, 2048)], 16) == 2_514_944
    tells_apart(parameters_added, PARAMETERS_RIGHT, PARAMETERS_WRONG)


# --- place -----------------------------------------------------------------------------------------------------------

def place_with_match(x, branch, se, placement):
    if placement not in {"standard", "pre", "post", "identity"}:
        raise ValueError(placement)
    skip = se(x) if placement == "identity" else x
    y = branch(se(x) if placement == "pre" else x)
    y = (se(y) if placement == "standard" else y) + skip
    return se(y) if placement == "post" else y


def place_with_table(x, branch, se, placement):
    table = {"standard": lambda: se(branch(x)) + x, "pre": lambda: branch(se(x)) + x, "post": lambda: se(branch(x) + x),
             "identity": lambda: branch(x) + se(x)}
    try:
        return table[placement]()
    except KeyError:
        raise ValueError(f"no placement {placement}") from None


def changed(placement, formula):
    """A right place() but for one placement."""
    def place(x, branch, se, which):
        return formula(x, branch, se) if which == placement else place_with_match(x, branch, se, which)
    return place


def no_error(x, branch, se, placement):
    if placement == "standard":
        return x + se(branch(x))
    elif placement == "pre":
        return x + branch(se(x))
    elif placement == "post":
        return se(x + branch(x))
    else:
        return se(x) + branch(x)


def no_skip(x, branch, se, placement):
    if placement == "standard":
        return se(branch(x))
    if placement == "pre":
        return branch(se(x))
    if placement == "post":
        return se(branch(x))
    return place_with_match(x, branch, se, placement)


def added_in_place(x, branch, se, placement):
    if placement == "standard":
        y = se(branch(x))
        x += y
        return x
    return place_with_match(x, branch, se, placement)


SWAP = {"identity": "pre", "pre": "identity"}
PLACE_RIGHT = [place_with_match, place_with_table]
PLACE_WRONG = {
    "se-after-addition": [changed("standard", lambda x, branch, se: se(branch(x) + x))],
    "swapped-identity-and-pre": [lambda x, b, se, where: place_with_match(x, b, se, SWAP.get(where, where))],
    "always-standard": [lambda x, branch, se, placement: se(branch(x)) + x],
    "post-as-standard": [changed("post", lambda x, branch, se: se(branch(x)) + x)],
    "no-shortcut": [no_skip, changed("standard", lambda x, branch, se: se(branch(x)))],
    "se-on-both": [changed("standard", lambda x, branch, se: se(branch(x)) + se(x)),
                   changed("post", lambda x, branch, se: se(branch(x)) + se(x))],
    "pre-gates-shortcut": [changed("pre", lambda x, branch, se: branch(se(x)) + se(x))],
    "identity-feeds-branch": [changed("identity", lambda x, branch, se: branch(se(x)) + se(x))],
    "multiplied-shortcut": [changed("standard", lambda x, branch, se: se(branch(x)) * x)],
    "final-relu": [lambda x, branch, se, placement: F.relu(place_with_match(x, branch, se, placement))],
    "unknown-placement-accepted": [no_error],
    "unknown-placement": [lambda x, branch, se, placement: place_with_match(
        x, branch, se, {name: name for name in ("standard", "pre", "post", "identity")}[placement])],
    "mutated-input": [added_in_place],
}


def test_place(tells_apart):
    tells_apart(place, PLACE_RIGHT, PLACE_WRONG)
