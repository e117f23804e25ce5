"""The report's networks as coded: each defect is there, and nothing else differs from the text's networks."""

import math

import pytest
import torch
from block_contract import count, images
from torch import nn
from torch.nn import functional as F

from attncourse.as_coded import AS_CODED, DEFAULT_GATES, LAST_LAYER, CodedAutoencoder
from attncourse.as_described import AS_DESCRIBED
from attncourse.autoencoder import LinearAutoencoderAttention
from attncourse.backbone import ReportCNN
from attncourse.cam_sam import SpatialAttention
from attncourse.eca import ECA
from attncourse.report_table import REPORTED
from attncourse.training import seeded

PARAMETERS = {  # counted in the authors' code
    "cnn": 2_625_866, "cnn+eca": 2_625_878, "cnn+cbam": 2_628_830, "cnn+eca+sam": 2_626_072,
    "cnn-three-stages": 3_512_138, "cnn+autoencoder": 2_918_570, "cnn+eca+autoencoder": 2_918_582,
    "cnn+linear-autoencoder": 2_722_260, "cnn+eca+linear-autoencoder": 2_722_272,
}

each_network = pytest.mark.parametrize("name", AS_CODED)
with_gates = pytest.mark.parametrize("name", DEFAULT_GATES)


def test_networks_without_a_gate_have_one_column():
    assert AS_CODED.keys() - DEFAULT_GATES.keys() == {"cnn", "cnn-three-stages"}


@each_network
def test_parameters(name):
    assert count(AS_CODED[name]()) == PARAMETERS[name]
    assert PARAMETERS[name] / 1e6 == pytest.approx(REPORTED[name].parameters, abs=0.01)  # the report cuts or rounds


@pytest.mark.parametrize("name", sorted(AS_CODED.keys() - {"cnn-three-stages"}))  # it has other layers
def test_the_backbone_of_a_seed_is_that_of_the_other_column(name):
    with seeded(3):
        coded = AS_CODED[name]().network
    with seeded(3):
        described = AS_DESCRIBED[name]()
    for place in ("stage1.conv1", "stage1.conv2", "stage2.conv1", "stage2.conv2"):
        assert torch.equal(coded.get_submodule(place).weight, described.get_submodule(place).weight)


def gates_of(network):
    return [network.get_submodule(f"{stage}.{place}") for stage, place in network.places()]


@with_gates
def test_gates_start_from_kaiming_normal_weights_and_zero_biases(name):
    """The report's code initialises every layer of the network, whoever built it."""
    with seeded(0):
        coded = AS_CODED[name]().network
    with seeded(0):
        expected = ReportCNN(attention=AS_CODED[name].args[0])
        for layer in (layer for gate in gates_of(expected) for layer in gate.modules()):
            if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
    same_tensors(coded, expected)


@with_gates
def test_default_gates_are_as_pytorch_makes_them(name):
    with seeded(0):
        default = DEFAULT_GATES[name]().network
    with seeded(0):
        expected = ReportCNN(attention=AS_CODED[name].args[0])
    same_tensors(default, expected)
    assert repr(default) == repr(expected)  # BatchNorm's momentum


def same_tensors(network, other):
    one, other = network.state_dict(), other.state_dict()
    assert one.keys() == other.keys()
    assert [key for key in one if not torch.equal(one[key], other[key])] == []


@pytest.mark.parametrize("name", ["cnn+cbam", "cnn+eca+sam"])
def test_the_spatial_norm_has_its_authors_momentum(name):
    def momenta(module):
        return [layer.momentum for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)]

    network = AS_CODED[name]().network
    assert [momentum for gate in gates_of(network) for momentum in momenta(gate)] == [0.01] * 2
    assert sorted(momenta(network)) == [0.01] * 2 + [0.1] * 4


@each_network
def test_it_gives_probabilities_of_rectified_logits(name):
    with seeded(0):
        model = AS_CODED[name]().eval()
    x = images(3, 3, 32, 32)
    logits = model.network(x)
    torch.testing.assert_close(model(x), F.relu(logits).softmax(1))
    if name != "cnn":  # the same test cannot tell a network without its attention
        assert not torch.equal(logits, AS_CODED["cnn"]().eval().network(x))


def test_the_loss_has_a_floor():
    """Softmax of a softmax: the surest right answer still costs log(1 + 9/e)."""
    with seeded(0):
        model = AS_CODED["cnn"]().eval()
    x = images(4, 3, 32, 32)
    with torch.no_grad():
        model.network.classifier[-1].weight *= 1e6  # as sure as can be
        sure = model.network(x).argmax(1)
        loss = F.cross_entropy(model(x), sure).item()
    assert loss == pytest.approx(math.log(1 + 9 / math.e), abs=1e-6)


@pytest.mark.parametrize("name", ["cnn+cbam", "cnn+eca+sam"])
def test_one_module_a_stage_where_the_text_has_two(name):
    def kinds(network):
        return [type(network.get_submodule(f"{stage}.{place}")) for stage, place in network.places()]

    coded, described = kinds(AS_CODED[name]().network), kinds(AS_DESCRIBED[name]())
    assert coded[::2] == described[::2]
    assert coded[1::2] == [nn.Identity] * 2
    assert nn.Identity not in described


def test_the_third_stage_is_never_reached():
    with seeded(0):
        deeper = AS_CODED["cnn-three-stages"]()
    with seeded(0):
        plain = AS_CODED["cnn"]()
    x = images(4, 3, 32, 32)
    with seeded(1):
        loss = F.cross_entropy(deeper(x), torch.arange(4))
    with seeded(1):
        assert torch.equal(loss, F.cross_entropy(plain(x), torch.arange(4)))  # the same network, bit for bit
    loss.backward()
    unused = [parameter for parameter in deeper.parameters() if parameter.grad is None]
    assert sum(parameter.numel() for parameter in unused) == 886_272 == count(deeper.network.stage3)
    assert count(deeper) - count(plain) == 886_272


@pytest.mark.parametrize(("width", "untouched"), [(32, 0.0), (30, 0.0), (15, 0.46), (13, 0.71)])
def test_the_autoencoders_last_layer_misses_positions(width, untouched):
    """Positions where the gate is the same whatever the map holds: σ(bias)."""
    block = CodedAutoencoder(6, width).eval()
    for layer in block.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.uniform_(layer.weight, 0.1, 1)  # no ReLU is ever closed
    gates = block.attention(torch.rand(2, 6, width, width))
    assert gates.shape == (2, 6, width, width)
    constant = torch.isclose(gates, block.decoder[-1].bias.sigmoid()[:, None, None]).all(0).all(0)
    assert round(constant.float().mean().item(), 2) == untouched
    assert count(block) == 192 * 6 + 46_200 + 6 * (12 * LAST_LAYER[width][0] ** 2 + 1)


@pytest.mark.parametrize("width", LAST_LAYER)
def test_the_coded_autoencoder_layer_by_layer(width):
    block = CodedAutoencoder(6, width)
    assert [type(layer) for layer in block.encoder] == [nn.Conv2d, nn.ReLU] * 3
    assert [type(layer) for layer in block.decoder] == [nn.ConvTranspose2d, nn.ReLU] * 2 + [nn.ConvTranspose2d]
    x = images(2, 6, width, width)
    assert torch.equal(block(x), x * torch.sigmoid(block.decoder(block.encoder(x))))


@pytest.mark.parametrize(("name", "second"), [
    ("cnn+eca+autoencoder", CodedAutoencoder), ("cnn+eca+linear-autoencoder", LinearAutoencoderAttention),
    ("cnn+eca+sam", SpatialAttention)])
def test_eca_comes_first(name, second):
    gates = [gate for gate in gates_of(AS_CODED[name]().network) if not isinstance(gate, nn.Identity)]
    assert [[type(block) for block in gate] for gate in gates] == [[ECA, second]] * (2 if name == "cnn+eca+sam" else 4)


@pytest.mark.parametrize("name", [name for name in AS_CODED if "eca" in name])
def test_ecas_kernel_is_3_at_every_width(name):
    kernels = [module.conv.kernel_size for module in AS_CODED[name]().modules() if isinstance(module, ECA)]
    assert set(kernels) == {(3,)}
    described = [module.conv.kernel_size for module in AS_DESCRIBED[name]().modules() if isinstance(module, ECA)]
    assert described == [(3,), (3,), (5,), (5,)]


@pytest.mark.parametrize("name", ["cnn+linear-autoencoder", "cnn+eca+linear-autoencoder"])
def test_twice_the_linear_autoencoders_gate_is_the_same_network(name):
    """One version of the report's code has the factor: the BatchNorm behind takes it out, but for its eps."""
    def loss_and_gradients(factor):
        with seeded(0):
            model = AS_CODED[name]().double()
            for module in model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eps = 1e-15
            for gate in gates_of(model.network):
                gate.register_forward_hook(lambda *call: factor * call[-1])
            loss = F.cross_entropy(model(images(8, 3, 32, 32).double()), torch.arange(8))
        loss.backward()
        return [loss.detach(), *(parameter.grad for parameter in model.parameters())]

    torch.testing.assert_close(loss_and_gradients(2), loss_and_gradients(1), rtol=1e-6, atol=1e-9)
