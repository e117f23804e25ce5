"""Chapter 07's checkers: right answers pass, and wrong ones are told by name what is wrong with them."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from attncourse import checks
from attncourse.checks.eca import block, gate, kernel_size, unshared
from attncourse.eca import ECA, eca_kernel_size

# The answers below are written as a learner would type them, not as the checker writes its mistakes.


# --- kernel_size -----------------------------------------------------------------------------------------------------


def with_bits(channels, gamma=2, b=1):
    t = math.floor(abs(math.log(channels, 2) + b) / abs(gamma))
    return t + (t + 1) % 2


def nearest_odd_up(channels, gamma=2, b=1):
    t = abs((math.log2(channels) + b) / gamma)
    return 2 * math.floor(t / 2) + 1


def with_torch(channels, gamma=2, b=1):
    t = int(((torch.tensor(float(channels)).log2() + b) / gamma).abs())
    if t % 2 == 0:
        t += 1
    return t


def adds_one(channels, gamma=2, b=1):
    t = int(abs((math.log2(channels) + b) / gamma))
    return t + 1


def table(channels, gamma=2, b=1):
    return 1 if channels < 8 else 3 if channels < 128 else 5 if channels < 2048 else 7


KERNEL_RIGHT = [with_bits, nearest_odd_up, with_torch]
KERNEL_WRONG = {
    "tie-down": [lambda channels, gamma=2, b=1:
                 (lambda t: t if t % 2 == 1 else max(1, t - 1))(int(abs((math.log2(channels) + b) / gamma))),
                 lambda channels, gamma=2, b=1:
                 (lambda t: t if t % 2 == 1 else t - 1)(int(abs((math.log2(channels) + b) / gamma)))],
    "cut-too-early": [lambda channels, gamma=2, b=1:
                      (lambda t: t if t % 2 else t + 1)(int(int(abs(math.log2(channels) + b)) / gamma))],
    "even-kernel": [lambda channels, gamma=2, b=1: int(abs((math.log2(channels) + b) / gamma)),
                    lambda channels, gamma=2, b=1: round(abs((math.log2(channels) + b) / gamma))],
    "added-1-always": [adds_one],
    "rounded": [lambda channels, gamma=2, b=1:
                (lambda t: t if t % 2 else t + 1)(round(abs((math.log2(channels) + b) / gamma)))],
    "rounded-up": [lambda channels, gamma=2, b=1:
                   (lambda t: t + 1 - t % 2)(math.ceil(abs((math.log2(channels) + b) / gamma)))],
    "at-least-3": [lambda channels, gamma=2, b=1: max(nearest_odd_up(channels, gamma, b), 3)],
    "natural-logarithm": [lambda channels, gamma=2, b=1:
                          (lambda t: t if t % 2 else t + 1)(int(abs((math.log(channels) + b) / gamma)))],
    "b-not-divided": [lambda channels, gamma=2, b=1:
                      (lambda t: t if t % 2 else t + 1)(int(abs(math.log2(channels) / gamma + b)))],
    "b-missing": [lambda channels, gamma=2, b=1: nearest_odd_up(channels, gamma, 0)],
    "gamma-missing": [lambda channels, gamma=2, b=1: nearest_odd_up(channels, 1, b)],
    "multiplied-by-gamma": [lambda channels, gamma=2, b=1: nearest_odd_up(channels, 1 / gamma, b)],
    "gamma-and-b-ignored": [table],
    "no-absolute-value": [lambda channels, gamma=2, b=1:
                          (lambda t: t if t % 2 else t + 1)(int((math.log2(channels) + b) / gamma))],
    "no-logarithm": [lambda channels, gamma=2, b=1: (lambda t: t if t % 2 else t + 1)(int((channels + b) / gamma))],
    "defaults": [lambda channels, gamma=2, b=0: nearest_odd_up(channels, gamma, b)],
    "float-returned": [lambda channels, gamma=2, b=1: float(nearest_odd_up(channels, gamma, b))],
    "returned-nothing": [lambda channels, gamma=2, b=1: print(channels)],
    "wrong-arguments": [lambda channels: nearest_odd_up(channels)],
}


def test_kernel_size(tells_apart):
    tells_apart(kernel_size, KERNEL_RIGHT, KERNEL_WRONG)


def test_what_the_learner_reads():
    assert repr(checks.eca.kernel_size(adds_one)) == """\
✗ eca.kernel_size: You added 1 always. Add it where t is even, and only there.
  Smallest failing input: channels = 2, gamma = 2, b = 1
  Expected 1, got 2.
  Hint 1: Three steps: compute t, cut it to a whole number, and make that odd."""


# --- gate ------------------------------------------------------------------------------------------------------------


def gate_with_loops(z, w):
    B, C = z.shape
    rows = []
    for image in z:
        gates = []
        for c in range(C):
            total = 0 * image[0]
            for j in range(len(w)):
                neighbour = c + j - len(w) // 2
                if 0 <= neighbour < C:
                    total = total + w[j] * image[neighbour]
            gates.append(total.sigmoid())
        rows.append(torch.stack(gates))
    return torch.stack(rows)


def gate_with_windows(z, w):
    windows = F.pad(z, (len(w) // 2, len(w) // 2)).unfold(1, len(w), 1)
    return torch.sigmoid(windows @ w)


def gate_with_conv2d(z, w):
    return F.conv2d(z[:, None, :, None], w.view(1, 1, -1, 1), padding=(len(w) // 2, 0))[:, 0, :, 0].sigmoid()


def gate_as_authors(z, w):
    y = z[:, :, None, None]
    y = F.conv1d(y.squeeze(-1).transpose(-1, -2), w.reshape(1, 1, -1), padding=(w.numel() - 1) // 2)
    return torch.sigmoid(y.transpose(-1, -2).unsqueeze(-1)).flatten(1)


def slid(z, w, padding=None):
    return F.conv1d(z.unsqueeze(1), w.view(1, 1, -1), padding=w.numel() // 2 if padding is None else padding).squeeze(1)


def loop_wrapping(z, w):
    k = len(w)
    return torch.stack([sum(w[j] * z[:, (c + j - k // 2) % z.shape[1]] for j in range(k))
                        for c in range(z.shape[1])], dim=1).sigmoid()


def loop_causal(z, w):
    padded = torch.cat([z.new_zeros(len(z), len(w) - 1), z], dim=1)
    return torch.stack([padded[:, c:c + len(w)] @ w for c in range(z.shape[1])], dim=1).sigmoid()


GATE_RIGHT = [gate_with_loops, gate_with_windows, gate_with_conv2d, gate_as_authors]
GATE_WRONG = {
    "no-sigmoid": [lambda z, w: slid(z, w), lambda z, w: F.pad(z, [len(w) // 2] * 2).unfold(1, len(w), 1) @ w],
    "no-padding": [lambda z, w: slid(z, w, 0).sigmoid()],
    "fixed-padding": [lambda z, w: slid(z, w, 1).sigmoid()],
    "padding-k": [lambda z, w: slid(z, w, len(w)).sigmoid()],
    "padding-one-side": [loop_causal],
    "circular": [loop_wrapping],
    "kernel-flipped": [lambda z, w: slid(z, torch.flip(w, [0])).sigmoid()],
    "own-mean-only": [lambda z, w: torch.sigmoid(z * w[w.numel() // 2])],
    "along-batch": [lambda z, w: slid(z.t(), w).t().sigmoid()],
    "axes-swapped": [lambda z, w: F.conv1d(z.unsqueeze(-1), w[None, None], padding=len(w) // 2).squeeze(-1).sigmoid(),
                     lambda z, w: F.conv1d(z[..., None], w[None, None], padding=len(w) // 2)[:, 0].sigmoid()],
    "averaged-batch": [lambda z, w: slid(z.mean(dim=0, keepdim=True), w).sigmoid().repeat(len(z), 1)],
    "softmax": [lambda z, w: torch.softmax(slid(z, w), -1)],
    "normalised-weights": [lambda z, w: slid(z, torch.softmax(w, 0)).sigmoid()],
    "averaged-window": [lambda z, w: (slid(z, w) / w.numel()).sigmoid()],
    "sigmoid-twice": [lambda z, w: slid(z, w).sigmoid().sigmoid()],
    "relu-before-sigmoid": [lambda z, w: F.relu(slid(z, w)).sigmoid()],
    "other-gate": [lambda z, w: torch.tanh(slid(z, w))],
    "sigmoid-first": [lambda z, w: slid(torch.sigmoid(z), w)],
    "multiplied-by-input": [lambda z, w: torch.sigmoid(slid(z, w)) * z],
    "kept-axis": [lambda z, w: F.conv1d(z.unsqueeze(1), w.view(1, 1, -1), padding=len(w) // 2).sigmoid()],
    "lost-batch": [lambda z, w: F.conv1d(z.unsqueeze(1), w.view(1, 1, -1), padding=len(w) // 2).squeeze().sigmoid()],
    "detached": [lambda z, w: slid(z, w.data).sigmoid()],
    "mutated-input": [lambda z, w: slid(z.mul_(2), w / 2).sigmoid()],
    "returned-nothing": [lambda z, w: None],
    "crashed": [lambda z, w: F.conv1d(z, w).sigmoid()],
}


def test_gate(tells_apart):
    tells_apart(gate, GATE_RIGHT, GATE_WRONG)


# --- block -----------------------------------------------------------------------------------------------------------


class Right(nn.Module):
    """What the wrong blocks below change in one place."""

    def __init__(self, channels, kernel_size=None):
        super().__init__()
        self.channels = channels
        self.k = self.choose(channels, kernel_size)
        self.layers()

    def choose(self, channels, kernel_size):
        return kernel_size or eca_kernel_size(channels)

    def layers(self):
        self.conv = nn.Conv1d(1, 1, self.k, padding=(self.k - 1) // 2, bias=False)

    def squeeze(self, x):
        return x.mean((2, 3))

    def slide(self, z):
        return self.conv(z.unsqueeze(1)).squeeze(1)

    def forward(self, x):
        return x * torch.sigmoid(self.slide(self.squeeze(x)))[:, :, None, None]


class AsTheAuthors(Right):
    def layers(self):
        self.avg_pool, self.sigmoid = nn.AdaptiveAvgPool2d(1), nn.Sigmoid()
        self.conv = nn.Conv1d(1, 1, kernel_size=self.k, padding=(self.k - 1) // 2, bias=False)

    def forward(self, x):
        y = self.avg_pool(x)
        y = self.conv(y.squeeze(-1).transpose(-1, -2)).transpose(-1, -2).unsqueeze(-1)
        return x * self.sigmoid(y).expand_as(x)


class WithParameter(Right):
    def layers(self):
        self.w = nn.Parameter(torch.randn(self.k))

    def slide(self, z):
        return F.pad(z, (self.k // 2, self.k // 2)).unfold(1, self.k, 1) @ self.w


class WithConv2d(Right):
    def layers(self):
        self.conv = nn.Conv2d(1, 1, (self.k, 1), padding=(self.k // 2, 0), bias=False)

    def slide(self, z):
        return self.conv(z[:, None, :, None]).flatten(1)


def block_with(**methods):
    return type("Wrong", (Right,), methods)


def padded(padding, **options):
    def layers(self):
        self.conv = nn.Conv1d(1, 1, self.k, padding=padding(self.k), bias=False, **options)
    return layers


def with_bias(self):
    self.conv = nn.Conv1d(1, 1, self.k, padding=self.k // 2)


def depthwise(self):
    self.conv = nn.Conv1d(self.channels, self.channels, self.k, padding=self.k // 2, groups=self.channels, bias=False)


def full(self):
    self.conv = nn.Conv1d(self.channels, self.channels, self.k, padding=self.k // 2, bias=False)


def on_length_1(self, z):
    return self.conv(z[:, :, None])[:, :, 0]


def gates(self, x):
    return torch.sigmoid(self.slide(self.squeeze(x)))[:, :, None, None]


def plain_tensor(self):
    self.w = torch.randn(1, 1, self.k)


def in_a_list(self):
    self.convs = [nn.Conv1d(1, 1, self.k, padding=self.k // 2, bias=False)]


def no_grad_squeeze(self, x):
    with torch.no_grad():
        return x.mean((2, 3))


BLOCK_RIGHT = [Right, AsTheAuthors, WithParameter, WithConv2d]
BLOCK_WRONG = {
    "kernel-size-ignored": [block_with(choose=lambda self, channels, kernel_size: 3)],
    "default-not-adaptive": [block_with(choose=lambda self, channels, kernel_size: kernel_size or 3)],
    "default-at-least-3": [block_with(choose=lambda self, c, k: k or max(3, eca_kernel_size(c)))],
    "always-adaptive": [block_with(choose=lambda self, channels, kernel_size: eca_kernel_size(channels))],
    "with-bias": [block_with(layers=with_bias)],
    "no-padding": [block_with(layers=padded(lambda k: 0))],
    "fixed-padding": [block_with(layers=padded(lambda k: 1))],
    "padding-k": [block_with(layers=padded(lambda k: k))],
    "circular": [block_with(layers=padded(lambda k: k // 2, padding_mode="circular"))],
    "channels-in-conv": [block_with(layers=full, slide=on_length_1), block_with(layers=depthwise, slide=on_length_1)],
    "axes-swapped": [block_with(slide=lambda self, z: self.conv(z.unsqueeze(-1)).squeeze(-1))],
    "along-batch": [block_with(slide=lambda self, z: self.conv(z.t().unsqueeze(1)).squeeze(1).t())],
    "no-sigmoid": [block_with(forward=lambda self, x: x * self.slide(self.squeeze(x))[:, :, None, None])],
    "softmax": [block_with(forward=lambda self, x: x * self.slide(self.squeeze(x)).softmax(1)[..., None, None])],
    "other-gate": [block_with(forward=lambda self, x: x * self.slide(self.squeeze(x)).tanh()[..., None, None])],
    "returned-gate": [block_with(forward=gates)],
    "added-gate": [block_with(forward=lambda self, x: x + gates(self, x))],
    "added-input": [block_with(forward=lambda self, x: x * (1 + gates(self, x)))],
    "wrong-axis": [block_with(forward=lambda self, x: x * gates(self, x).flatten(1))],
    "channels-on-the-last-axis": [
        block_with(forward=lambda self, x: x * self.conv(self.squeeze(x)[:, None]).sigmoid()),
        block_with(forward=lambda self, x: x * self.conv(self.squeeze(x)[:, None]).sigmoid()[..., None])],
    "no-parameters": [block_with(layers=plain_tensor,
                                 slide=lambda self, z: F.conv1d(z[:, None], self.w, padding=self.k // 2)[:, 0]),
                      block_with(layers=in_a_list, slide=lambda self, z: self.convs[0](z[:, None])[:, 0])],
    "summed": [block_with(squeeze=lambda self, x: x.flatten(2).sum(2))],
    "maximum": [block_with(squeeze=lambda self, x: F.adaptive_max_pool2d(x, 1).flatten(1))],
    "fixed-size": [block_with(squeeze=lambda self, x: nn.AvgPool2d(7)(x).flatten(1)),
                   block_with(squeeze=lambda self, x: F.avg_pool2d(x, (8, 8))[:, :, 0, 0])],
    "averaged-batch": [block_with(squeeze=lambda self, x: x.mean((0, 2, 3), keepdim=True).flatten(1))],
    "lost-batch": [block_with(squeeze=lambda self, x: F.adaptive_avg_pool2d(x, 1).squeeze(),
                              slide=lambda self, z: self.conv(z[:, None])[:, 0])],
    "detached-gate": [block_with(slide=lambda self, z: Right.slide(self, z).detach())],
    "detached-squeeze": [block_with(squeeze=no_grad_squeeze)],
    "mutated-input": [block_with(forward=lambda self, x: x.mul_(gates(self, x)))],
    "wrong-dtype": [block_with(slide=lambda self, z: Right.slide(self, z).float())],
    "returned-nothing": [block_with(forward=lambda self, x: None)],
    "instance-passed": [Right(16)],
    "not-a-module": [lambda channels, kernel_size=None: (lambda x: x)],
    "wrong-arguments": [lambda channels: Right(channels)],
    "used-eca": [lambda channels, kernel_size=None: nn.Sequential(ECA(channels, kernel_size))],
    "crashed": [type("NoForward", (nn.Module,), {"__init__": Right.__init__, "choose": Right.choose,
                                                 "layers": Right.layers})],
}


def test_block(tells_apart):
    tells_apart(block, BLOCK_RIGHT, BLOCK_WRONG)


# --- unshared --------------------------------------------------------------------------------------------------------


class OwnRows(nn.Module):
    def __init__(self, channels, kernel_size):
        super().__init__()
        self.k = kernel_size
        self.weight = nn.Parameter(self.first(channels, kernel_size))

    def first(self, channels, k):
        return torch.randn(channels, k) / k

    def windows(self, x):
        return F.pad(x.mean((2, 3)), (self.k // 2, self.k // 2)).unfold(1, self.k, 1)

    def mix(self, windows):
        return torch.einsum("bck,ck->bc", windows, self.weight)

    def forward(self, x):
        return x * torch.sigmoid(self.mix(self.windows(x)))[:, :, None, None]


class LikeTheirEcaNs(nn.Module):
    """As in the authors' eca_ns.py: windows by F.unfold, then one group per channel."""

    def __init__(self, channels, kernel_size):
        super().__init__()
        self.k = kernel_size
        self.conv = nn.Conv1d(channels, channels, kernel_size, groups=channels, bias=False)

    def forward(self, x):
        y = F.adaptive_avg_pool2d(x, 1)
        y = F.unfold(y.transpose(-1, -3), kernel_size=(1, self.k), padding=(0, (self.k - 1) // 2))
        y = self.conv(y.transpose(-1, -2)).unsqueeze(-1)
        return x * torch.sigmoid(y).expand_as(x)


class ManyConvolutions(nn.Module):
    """A convolution for each channel, of which only that channel's gate is used."""

    def __init__(self, channels, kernel_size):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv1d(1, 1, kernel_size, padding=kernel_size // 2, bias=False)
                                   for _ in range(channels))

    def forward(self, x):
        z = x.mean((2, 3))[:, None]
        s = torch.cat([conv(z)[:, :, c] for c, conv in enumerate(self.convs)], dim=1).sigmoid()
        return x * s[:, :, None, None]


class Banded(OwnRows):
    """A full matrix of zeros with the rows laid along its diagonal."""

    def forward(self, x):
        z = x.mean((2, 3))
        C, half = z.shape[1], self.k // 2
        band = z.new_zeros(C, C + 2 * half)
        band = band.scatter(1, torch.arange(C)[:, None] + torch.arange(self.k), self.weight)[:, half:half + C]
        return x * torch.sigmoid(z @ band.T)[:, :, None, None]


def rows_with(**methods):
    return type("Wrong", (OwnRows,), methods)


def ends(mode):
    def windows(self, x):
        z = F.pad(x.mean((2, 3))[:, None], (self.k // 2, self.k // 2), mode=mode)[:, 0]
        return z.unfold(1, self.k, 1)
    return windows


class Everything(nn.Module):
    def __init__(self, channels, kernel_size):
        super().__init__()
        self.fc = nn.Linear(channels, channels, bias=False)

    def forward(self, x):
        return x * torch.sigmoid(self.fc(x.mean((2, 3))))[:, :, None, None]


class Depthwise(nn.Module):
    def __init__(self, channels, kernel_size):
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, kernel_size, padding=kernel_size // 2, groups=channels, bias=False)

    def forward(self, x):
        return x * torch.sigmoid(self.conv(x.mean((2, 3)).unsqueeze(-1))).unsqueeze(-1)


UNSHARED_RIGHT = [OwnRows, LikeTheirEcaNs, Banded, ManyConvolutions]
UNSHARED_WRONG = {
    "shared": [rows_with(first=lambda self, C, k: torch.randn(k), mix=lambda self, windows: windows @ self.weight)],
    "all-rows": [rows_with(mix=lambda self, windows: windows @ self.weight.T),
                 rows_with(mix=lambda self, windows: (windows @ self.weight.T).sum(-1))],
    "full-matrix": [Everything],
    "own-mean-only": [Depthwise],
    "transposed-weights": [rows_with(first=lambda self, C, k: torch.randn(k, C),
                                     mix=lambda self, w: torch.einsum("bck,kc->bc", w, self.weight))],
    "kernel-flipped": [rows_with(mix=lambda self, w: torch.einsum("bck,ck->bc", w.flip(-1), self.weight))],
    "circular": [rows_with(windows=ends("circular"))],
    "repeated-ends": [rows_with(windows=ends("replicate"))],
    "no-padding": [rows_with(windows=lambda self, x: x.mean((2, 3)).unfold(1, self.k, 1))],
    "padding-one-side": [rows_with(windows=lambda self, x:
                                   F.pad(x.mean((2, 3)), (self.k - 1, 0)).unfold(1, self.k, 1))],
    "no-sigmoid": [rows_with(forward=lambda self, x: x * self.mix(self.windows(x))[:, :, None, None])],
    "softmax": [rows_with(forward=lambda self, x: x * self.mix(self.windows(x)).softmax(1)[..., None, None])],
    "averaged-window": [rows_with(mix=lambda self, w: (w * self.weight).mean(-1))],
    "maximum": [rows_with(windows=lambda self, x:
                          F.pad(x.amax((2, 3)), (self.k // 2, self.k // 2)).unfold(1, self.k, 1))],
    "returned-gate": [rows_with(forward=lambda self, x: self.mix(self.windows(x)).sigmoid())],
    "added-gate": [rows_with(forward=lambda self, x: x + self.mix(self.windows(x)).sigmoid()[..., None, None])],
    "detached-gate": [rows_with(mix=lambda self, w: (w * self.weight.data).sum(-1).detach())],
    "parameter-count": [rows_with(first=lambda self, C, k: torch.randn(C, k + 2),
                                  mix=lambda self, w: (w * self.weight[:, 1:-1]).sum(-1))],
    "wrong-dtype": [rows_with(mix=lambda self, w: OwnRows.mix(self, w).float())],
    "instance-passed": [OwnRows(8, 3)],
    "not-a-module": [lambda channels, kernel_size: None],
    "wrong-arguments": [lambda channels: OwnRows(channels, 3)],
    "used-eca": [lambda channels, kernel_size: nn.Sequential(ECA(channels, kernel_size))],
}


def test_unshared(tells_apart):
    tells_apart(unshared, UNSHARED_RIGHT, UNSHARED_WRONG)


# --- two mistakes at once --------------------------------------------------------------------------------------------


def test_two_mistakes_at_once_still_get_a_case_to_look_at():
    """No mistake has this name, so the first failing case speaks: its input, both values, a hint."""
    result = gate(lambda z, w: slid(z, w.flip(0)).tanh())
    assert (result.status, result.cause) == ("failed", "wrong-values")
    assert result.failing_input == "z = [[1, 2]] of shape (1, 2), w = [0.5] of shape (1,)"
    assert "Expected" in result.message
    assert result.hint

    class BiasAndNoPadding(nn.Module):
        def __init__(self, channels, kernel_size=None):
            super().__init__()
            self.conv = nn.Conv1d(1, 1, kernel_size or eca_kernel_size(channels))

        def forward(self, x):
            return x * self.conv(x.mean((2, 3))[:, None])[:, 0].sigmoid()[:, :, None, None]

    result = block(BiasAndNoPadding)
    assert (result.status, result.cause) == ("failed", "parameter-count")
    assert result.failing_input == "YourBlock(32, kernel_size=3)"
    assert "Expected 3, got 4." in result.message
    assert result.hint
