"""Chapter 06's checkers: right answers pass, and wrong ones are told by name what is wrong."""

import torch
from torch import nn
from torch.nn import functional as F

from attncourse import checks
from attncourse.bam import BAM
from attncourse.checks.bam import join, offsets, padding, spatial

# The answers below are written as a learner would type them, not as the checker writes its mistakes.


# --- padding ---------------------------------------------------------------------------------------------------------

PADDING_RIGHT = [
    lambda kernel_size, dilation: dilation * (kernel_size // 2),
    lambda k, d: ((k - 1) * d + 1) // 2,
    lambda k, d: sum(d for _ in range(k // 2)),
    lambda k, d: int(d * (k - 1) / 2),
]
PADDING_WRONG = {
    "always-1": [lambda kernel_size, dilation: 1],
    "kernel-ignored": [lambda kernel_size, dilation: dilation],
    "dilation-ignored": [lambda kernel_size, dilation: (kernel_size - 1) // 2],
    "both-sides": [lambda k, d: (k - 1) * d],
    "half-of-k": [lambda k, d: (k * d) // 2, lambda k, d: k * d / 2],
    "gaps-counted": [lambda k, d: k // 2 * (d - 1), lambda k, d: d - 1],
    "extent": [lambda k, d: k + (k - 1) * (d - 1)],
    "all-of-k": [lambda k, d: k * d],
    "added": [lambda k, d: d + k // 2],
    "divided": [lambda k, d: (k // 2) // d],
    "float-returned": [lambda k, d: d * (k - 1) / 2],
    "wrong-type": [lambda k, d: "same", lambda k, d: (d, d)],
    "returned-nothing": [lambda k, d: print(d)],
    "wrong-arguments": [lambda dilation: dilation],
    "crashed": [lambda k, d: k.dilation],
}


def test_padding(tells_apart):
    tells_apart(padding, PADDING_RIGHT, PADDING_WRONG)


def test_the_reference_keeps_the_size_of_real_convolutions():
    for k in (1, 3, 5, 7):
        for d in (1, 2, 3, 4):
            convolution = nn.Conv2d(1, 1, k, padding=padding.reference(k, d), dilation=d)
            assert convolution(torch.zeros(1, 1, 6, 9)).shape == (1, 1, 6, 9)


def test_what_the_learner_reads():
    assert repr(checks.bam.padding(lambda kernel_size, dilation: 1)) == """\
✗ bam.padding: Padding 1 fits a 3×3 kernel without dilation only. With d = 4 the map loses 6 rows.
  Smallest failing input: kernel_size = 3, dilation = 2
  Expected 2, got 1.
  Hint 1: How far from the middle tap is the outermost one, when the taps stand d apart?"""


# --- offsets ---------------------------------------------------------------------------------------------------------

def offsets_by_impulse(dilations):
    """Send one bright pixel through real convolutions and look where it arrives."""
    reach = sum(dilations)
    line = torch.zeros(1, 1, 2 * reach + 1)
    line[..., reach] = 1
    for d in dilations:
        line = F.conv1d(line, torch.ones(1, 1, 3), padding=d, dilation=d)
    return [int(i) - reach for i in line[0, 0].nonzero()]


def offsets_recursive(dilations):
    if not dilations:
        return [0]
    *rest, d = dilations
    return sorted({o + s for o in offsets_recursive(rest) for s in (-d, 0, d)})


def offsets_with_duplicates(dilations):
    seen = [0]
    for d in dilations:
        seen = [o + s for o in seen for s in (-d, 0, d)]
    return sorted(seen)


def offsets_where_steps_are(steps):
    def answer(dilations):
        seen = {0}
        for d in dilations:
            seen = {o + s for o in seen for s in steps(d)}
        return sorted(seen)
    return answer


def offsets_never_replaced(dilations):
    seen = {0}
    for d in dilations:
        seen.update({-d, 0, d})
    return sorted(seen)


OFFSETS_RIGHT = [
    offsets_by_impulse, offsets_recursive, lambda ds: tuple(offsets_recursive(ds)), offsets_where_steps_are(
        lambda d: [d * k for k in range(-1, 2)])]
OFFSETS_WRONG = {
    "everything-between": [lambda ds: [o for o in range(-sum(ds), 1 + sum(ds))]],
    "ends-only": [lambda ds: sorted({-sum(ds), 0, sum(ds)}), lambda ds: [-sum(ds), 0, sum(ds)]],
    "one-layer-only": [lambda ds: [-ds[-1], 0, ds[-1]] if ds else [0], lambda ds: [-ds[-1], 0, ds[-1]]],
    "side-by-side": [offsets_never_replaced],
    "skips-d": [offsets_where_steps_are(lambda d: (-(d + 1), 0, d + 1))],
    "distance-too-short": [offsets_where_steps_are(lambda d: (-(d - 1), 0, d - 1))],
    "middle-missing": [offsets_where_steps_are(lambda d: (-d, d))],
    "starts-at-0": [lambda ds: [o + sum(ds) for o in offsets_recursive(ds)]],
    "one-sided": [offsets_where_steps_are(lambda d: (0, d)), lambda ds: [o for o in offsets_recursive(ds) if o >= 0]],
    "dilation-ignored": [lambda ds: list(range(-len(ds), len(ds) + 1))],
    "same-dilation": [lambda ds: [k * ds[0] for k in range(-len(ds), len(ds) + 1)] if ds else [0],
                      lambda ds: [k * ds[0] for k in range(-len(ds), len(ds) + 1)]],
    "five-taps": [offsets_where_steps_are(lambda d: (-2 * d, -d, 0, d, 2 * d))],
    "duplicates": [offsets_with_duplicates],
    "unsorted": [lambda ds: offsets_recursive(ds)[::-1], lambda ds: sorted(offsets_recursive(ds), key=abs),
                 lambda ds: list({o for o in offsets_recursive(ds)}),
                 lambda ds: sorted(offsets_recursive(ds), key=lambda o: o % 3)],
    "a-number": [lambda ds: 1 + 2 * sum(ds), lambda ds: len(offsets_recursive(ds))],
    "nothing-without-layers": [lambda ds: ds and offsets_recursive(ds)],
    "wrong-type": [lambda ds: set(offsets_recursive(ds))],
    "mutated-input": [lambda ds: offsets_recursive([ds.pop(0) for _ in range(len(ds))])],
    "crashed": [lambda ds: [-ds.dilation, 0, ds.dilation]],
}


def test_offsets(tells_apart):
    assert offsets.reference([4, 4]) == [-8, -4, 0, 4, 8]
    tells_apart(offsets, OFFSETS_RIGHT, OFFSETS_WRONG)


def test_what_the_learner_reads_about_order_and_a_changed_list():
    result = offsets(lambda ds: offsets_recursive(ds)[::-1])
    assert result.message == "The offsets are right, but not in rising order.\nExpected [-1, 0, 1], got [1, 0, -1]."
    assert "work on a copy" in offsets(OFFSETS_WRONG["mutated-input"][0]).message


# --- join ------------------------------------------------------------------------------------------------------------

def join_with_loops(x, what, where):
    y = torch.empty_like(x)
    for b in range(x.shape[0]):
        for c in range(x.shape[1]):
            y[b, c] = x[b, c] * (1 + 1 / (1 + torch.exp(-(what[b, c] + where[b, 0]))))
    return y


def attention_map(what, where):
    return torch.sigmoid(what.unsqueeze(-1).unsqueeze(-1) + where)


JOIN_RIGHT = [
    join_with_loops,
    lambda x, what, where: (1 + attention_map(what, where)) * x,
    lambda x, what, where: x + torch.sigmoid(what.view(*what.shape, 1, 1).expand_as(x) + where.expand_as(x)) * x,
    lambda x, what, where: x + x / (1 + torch.exp(-what[..., None, None]) * torch.exp(-where)),
]
JOIN_WRONG = {
    "product": [lambda x, what, where: x + x * torch.sigmoid(what[..., None, None] * where)],
    "no-shortcut": [lambda x, what, where: attention_map(what, where) * x],
    "product-and-no-shortcut": [lambda x, what, where: x * torch.sigmoid(where * what[:, :, None, None])],
    "product-and-added-gate": [lambda x, what, where: torch.sigmoid(where * what[:, :, None, None]) + x],
    "wrong-axis-and-no-shortcut": [lambda x, what, where: torch.sigmoid(where + what) * x],
    "returned-gate": [lambda x, what, where: attention_map(what, where) + 1],
    "returned-map": [lambda x, what, where: attention_map(what, where)],
    "added-gate": [lambda x, what, where: attention_map(what, where) + x],
    "one-inside-sigmoid": [lambda x, what, where: x * torch.sigmoid(what[..., None, None] + where + 1)],
    "no-sigmoid": [lambda x, what, where: x * (1 + what[..., None, None] + where)],
    "two-sigmoids": [lambda x, what, where: x * (1 + torch.sigmoid(what)[..., None, None] * torch.sigmoid(where)),
                     lambda x, what, where: torch.sigmoid(what)[..., None, None] * x * torch.sigmoid(where)],
    "sigmoid-of-one-branch": [lambda x, what, where: x + x * (what[..., None, None] + torch.sigmoid(where))],
    "only-what": [lambda x, what, where: x + x * torch.sigmoid(what)[..., None, None]],
    "only-where": [lambda x, what, where: x + x * torch.sigmoid(where)],
    "sigmoid-after-x": [lambda x, what, where: x + torch.sigmoid(x * what[..., None, None] + x * where)],
    "wrong-axis": [lambda x, what, where: x + x * torch.sigmoid(what + where),
                   lambda x, what, where: x + x * torch.sigmoid(what[:, None, None, :] + where)],
    "larger-branch": [lambda x, what, where: x * (1 + torch.sigmoid(torch.max(what[..., None, None], where)))],
    "mean": [lambda x, what, where: x * (1 + torch.sigmoid(0.5 * (what[..., None, None] + where)))],
    "other-gate": [lambda x, what, where: x * (1 + torch.tanh(what[..., None, None] + where)),
                   lambda x, what, where: x * (1 + F.softmax(what[..., None, None] + where, 1))],
    "subtracted": [lambda x, what, where: x * (1 - attention_map(what, where))],
    "x-twice": [lambda x, what, where: x * (2 + attention_map(what, where))],
    "detached": [lambda x, what, where: x * (1 + attention_map(what, where).detach()),
                 lambda x, what, where: x * (1 + attention_map(what.data, where))],
    "mutated-input": [lambda x, what, where: x.mul_(1 + attention_map(what, where))],
    "returned-nothing": [lambda x, what, where: None],
    "wrong-arguments": [lambda x, M: x + x * M],
}


def test_join(tells_apart):
    tells_apart(join, JOIN_RIGHT, JOIN_WRONG)


def test_join_is_what_the_block_does():
    block, x = BAM(8, 2).eval(), torch.randn(2, 8, 5, 7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(join.reference(x, block.channel(x)[:, :, 0, 0], block.spatial(x)), block(x))


# --- spatial ---------------------------------------------------------------------------------------------------------

class Right(nn.Module):
    """What the wrong branches below change in one place."""

    def __init__(self, channels, reduction=16, dilation=4):
        super().__init__()
        self.channels, self.hidden, self.d = channels, max(1, channels // reduction), dilation
        self.reduction = reduction
        self.layers()

    def layers(self):
        self.f0 = nn.Conv2d(self.channels, self.hidden, 1)
        self.f1, self.f2 = self.dilated(), self.dilated()
        self.f3, self.bn = nn.Conv2d(self.hidden, 1, kernel_size=1), nn.BatchNorm2d(1)

    def dilated(self):
        return nn.Conv2d(self.hidden, self.hidden, 3, padding=self.d, dilation=self.d)

    def hidden_maps(self, x):
        return F.relu(self.f2(F.relu(self.f1(F.relu(self.f0(x))))))

    def forward(self, x):
        return self.bn(self.f3(self.hidden_maps(x)))


class AsSequence(nn.Sequential):
    def __init__(self, channels, reduction=16, dilation=4):
        h = max(channels // reduction, 1)
        super().__init__(nn.Conv2d(channels, h, 1), nn.ReLU(inplace=True),
                         nn.Conv2d(h, h, 3, padding="same", dilation=dilation), nn.ReLU(inplace=True),
                         nn.Conv2d(h, h, 3, padding="same", dilation=(dilation, dilation)), nn.ReLU(inplace=True),
                         nn.Conv2d(h, 1, 1), nn.BatchNorm2d(1))


class InOtherOrder(Right):
    def layers(self):
        self.bn, self.f3 = nn.BatchNorm2d(1), nn.Conv2d(self.hidden, 1, 1)
        self.f2, self.f1 = self.dilated(), self.dilated()
        self.f0 = nn.Conv2d(self.channels, self.hidden, 1)


def branch_with(**methods):
    return type("Wrong", (Right,), methods)


def width(choose):
    def layers(self):
        self.hidden = choose(self)
        Right.layers(self)
    return branch_with(layers=layers)


def authors_norms(self):
    self.f0 = nn.Sequential(nn.Conv2d(self.channels, self.hidden, 1), nn.BatchNorm2d(self.hidden))
    self.f1 = nn.Sequential(Right.dilated(self), nn.BatchNorm2d(self.hidden))
    self.f2 = nn.Sequential(Right.dilated(self), nn.BatchNorm2d(self.hidden))
    self.f3, self.bn = nn.Conv2d(self.hidden, 1, 1), nn.Identity()


def norms_everywhere(self):
    authors_norms(self)
    self.bn = nn.BatchNorm2d(1)


def norms_behind(*layers, end=True):
    def build(self):
        Right.layers(self)
        for name in layers:
            setattr(self, name, nn.Sequential(getattr(self, name), nn.BatchNorm2d(self.hidden)))
        if not end:
            self.bn = nn.Identity()
    return branch_with(layers=build)


def padding_1_in(name):
    def build(self):
        Right.layers(self)
        setattr(self, name, nn.Conv2d(self.hidden, self.hidden, 3, padding=1, dilation=self.d))
    return branch_with(layers=build)


class ZeroAndPaddingOne(nn.Sequential):
    def __init__(self, channels, reduction=16, dilation=4):
        h = channels // reduction
        super().__init__(nn.Conv2d(channels, h, 1), nn.ReLU(), nn.Conv2d(h, h, 3, 1, 1, dilation), nn.ReLU(),
                         nn.Conv2d(h, h, 3, 1, 1, dilation), nn.ReLU(), nn.Conv2d(h, 1, 1), nn.BatchNorm2d(1))


def three_layers(self):
    Right.layers(self)
    self.extra = self.dilated()


def only_first_dilated(self):
    Right.layers(self)
    self.f2 = nn.Conv2d(self.hidden, self.hidden, 3, padding=1)


def map_per_channel(self):
    Right.layers(self)
    self.f3, self.bn = nn.Conv2d(self.hidden, self.channels, 1), nn.BatchNorm2d(self.channels)


def without_biases(self):
    Right.layers(self)
    for f in (self.f0, self.f1, self.f2, self.f3):
        f.bias = None


SPATIAL_RIGHT = [Right, AsSequence, InOtherOrder]
SPATIAL_WRONG = {
    "padding-1": [branch_with(dilated=lambda self: nn.Conv2d(self.hidden, self.hidden, 3, 1, 1, self.d))],
    "no-padding": [branch_with(dilated=lambda self: nn.Conv2d(self.hidden, self.hidden, 3, dilation=self.d))],
    "dilation-ignored": [branch_with(dilated=lambda self: nn.Conv2d(self.hidden, self.hidden, 3, padding=1)),
                         branch_with(dilated=lambda self: nn.Conv2d(self.hidden, self.hidden, 3, 1, 4, 4))],
    "padding-without-dilation": [branch_with(dilated=lambda self: nn.Conv2d(self.hidden, self.hidden, 3, 1, self.d))],
    "one-layer-dilated": [branch_with(layers=only_first_dilated)],
    "one-layer": [branch_with(layers=lambda self: (Right.layers(self), delattr(self, "f2")),
                              hidden_maps=lambda self, x: F.relu(self.f1(F.relu(self.f0(x)))))],
    "one-layer-twice": [branch_with(layers=lambda self: (Right.layers(self), delattr(self, "f2")),
                                    hidden_maps=lambda self, x: F.relu(self.f1(F.relu(self.f1(F.relu(self.f0(x)))))))],
    "one-layer-padding-1": [branch_with(
        layers=lambda self: (Right.layers(self), delattr(self, "f2")),
        dilated=lambda self: nn.Conv2d(self.hidden, self.hidden, 3, padding=1, dilation=self.d),
        hidden_maps=lambda self, x: F.relu(self.f1(F.relu(self.f0(x)))))],
    "one-padding-1": [padding_1_in("f1"), padding_1_in("f2")],
    "batch-norm-behind-3×3": [norms_behind("f1", "f2"), norms_behind("f1", "f2", end=False)],
    "batch-norm-behind-first": [norms_behind("f0"), norms_behind("f0", end=False)],
    "three-layers": [branch_with(layers=three_layers,
                                 hidden_maps=lambda self, x: F.relu(self.extra(Right.hidden_maps(self, x))))],
    "reduction-ignored": [width(lambda self: max(1, self.channels // 16)), width(lambda self: self.channels)],
    "reduction-as-width": [width(lambda self: self.reduction)],
    "hidden-width-0": [width(lambda self: self.channels // self.reduction)],
    "no-relu": [branch_with(hidden_maps=lambda self, x: self.f2(self.f1(self.f0(x))))],
    "relu-missing": [branch_with(hidden_maps=lambda self, x: F.relu(self.f2(F.relu(self.f1(self.f0(x)))))),
                     branch_with(hidden_maps=lambda self, x: self.f2(F.relu(self.f1(F.relu(self.f0(x))))))],
    "relu-at-end": [branch_with(forward=lambda self, x: F.relu(Right.forward(self, x)))],
    "sigmoid-at-end": [branch_with(forward=lambda self, x: torch.sigmoid(Right.forward(self, x)))],
    "no-batch-norm": [branch_with(layers=lambda self: (Right.layers(self), setattr(self, "bn", nn.Identity())))],
    "batch-norm-inside": [branch_with(layers=authors_norms), branch_with(layers=norms_everywhere)],
    "hidden-width-0-and-more": [ZeroAndPaddingOne],
    "map-per-channel": [branch_with(layers=map_per_channel)],
    "returned-product": [branch_with(forward=lambda self, x: x * Right.forward(self, x)),
                         branch_with(forward=lambda self, x: x * (1 + Right.forward(self, x).sigmoid()))],
    "expanded": [branch_with(forward=lambda self, x: Right.forward(self, x).expand_as(x))],
    "lost-axis": [branch_with(forward=lambda self, x: Right.forward(self, x).squeeze(1))],
    "no-biases": [branch_with(layers=without_biases)],
    "detached": [branch_with(forward=lambda self, x: Right.forward(self, x.detach()))],
    "instance-passed": [Right(16)],
    "not-a-module": [lambda channels, reduction=16, dilation=4: (lambda x: x)],
    "wrong-arguments": [lambda channels: Right(channels)],
    "used-bam": [lambda channels, reduction=16, dilation=4: nn.Sequential(BAM(channels, reduction, dilation))],
    "mutated-input": [branch_with(forward=lambda self, x: Right.forward(self, x.relu_()))],
    "wrong-dtype": [branch_with(forward=lambda self, x: Right.forward(self, x).float())],
}


def test_spatial(tells_apart):
    tells_apart(spatial, SPATIAL_RIGHT, SPATIAL_WRONG)


def test_the_reference_is_the_courses_branch():
    x = torch.randn(2, 8, 5, 7, generator=torch.Generator().manual_seed(0))
    block, branch = BAM(8, 2, 3).eval(), spatial.reference(8, 2, 3).eval()
    branch.load_state_dict(dict(zip(branch.state_dict(), [*block.convs.state_dict().values(),
                                                           *block.spatial_norm.state_dict().values()])))
    assert torch.equal(branch(x), block.spatial(x))


# --- two mistakes in one answer --------------------------------------------------------------------------------------

TWO_AT_ONCE = [
    (padding, lambda k, d: (k - 1) * (d - 1)),
    (offsets, lambda ds: list(range(0, sum(ds) + 1))),
    (join, lambda x, what, where: x + torch.tanh(what[..., None, None] * where)),
    (join, lambda x, what, where: x * torch.softmax(what + where, 1)),
    (spatial, branch_with(hidden_maps=lambda self, x: self.f2(self.f1(self.f0(x))),
                          forward=lambda self, x: torch.sigmoid(Right.forward(self, x)))),
    (spatial, branch_with(dilated=lambda self: nn.Conv2d(self.hidden, self.hidden, 3, 1, 1, self.d),
                          forward=lambda self, x: torch.sigmoid(self.f3(self.hidden_maps(x))))),
]


def test_two_mistakes_at_once_still_get_an_input_a_comparison_and_a_hint():
    for check, answer in TWO_AT_ONCE:
        result = check(answer)
        assert result.status == "failed"
        assert result.failing_input
        assert "xpected" in result.message or "should be" in result.message, result.message
        assert result.hint.startswith("Hint ")
