"""The report's networks as coded: each defect is there, and nothing else differs from the text's networks."""

import math

import pytest
import torch
from block_contract import count, images
from torch import nn
from torch.nn import functional as F

from attncourse.as_coded import AS_CODED, DEFAULT_START, LAST_LAYER, CodedAutoencoder
from attncourse.as_described import AS_DESCRIBED
from attncourse.eca import ECA
from attncourse.report_table import REPORTED
from attncourse.training import seeded

PARAMETERS = {  # counted in the authors' code
    "cnn": 2_625_866, "cnn+eca": 2_625_878, "cnn+cbam": 2_628_830, "cnn+eca+sam": 2_626_072,
    "cnn-three-stages": 3_512_138, "cnn+autoencoder": 2_918_570, "cnn+eca+autoencoder": 2_918_582,
    "cnn+linear-autoencoder": 2_722_260, "cnn+eca+linear-autoencoder": 2_722_272,
}

each_network = pytest.mark.parametrize("name", AS_CODED)


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


@pytest.mark.parametrize("name", [name for name in AS_CODED if "+" in name])
def test_gates_start_from_kaiming_normal_weights_and_zero_biases(name):
    """The report's code initialises every layer of the network, whoever built it."""
    with seeded(0):
        network = AS_CODED[name]().network
    for stage, place in network.places():
        for layer in network.get_submodule(f"{stage}.{place}").modules():
            if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                assert layer.bias is None or not layer.bias.any()
                if layer.weight.numel() > 1000:  # enough for the deviation to be near sqrt(2 / fan in)
                    fan_in = layer.weight[0].numel()
                    assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / fan_in), rel=0.1)


@each_network
def test_the_default_start_differs_in_the_gates_alone(name):
    with seeded(0):
        coded = AS_CODED[name]().state_dict()
    with seeded(0):
        default = DEFAULT_START[name]().state_dict()
    assert coded.keys() == default.keys()
    changed = {key for key in coded if not torch.equal(coded[key], default[key])}
    assert all(".attention" in key for key in changed)
    assert bool(changed) == ("+" in name)


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
    sure = torch.tensor([[1.0] + 9 * [0.0]])
    assert F.cross_entropy(sure, torch.tensor([0])).item() == pytest.approx(math.log(1 + 9 / math.e), abs=1e-6)


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


@pytest.mark.parametrize("name", [name for name in AS_CODED if "eca" in name])
def test_ecas_kernel_is_3_at_every_width(name):
    kernels = [module.conv.kernel_size for module in AS_CODED[name]().modules() if isinstance(module, ECA)]
    assert set(kernels) == {(3,)}
    described = [module.conv.kernel_size for module in AS_DESCRIBED[name]().modules() if isinstance(module, ECA)]
    assert described == [(3,), (3,), (5,), (5,)]


@pytest.mark.parametrize("name", ["cnn+linear-autoencoder", "cnn+eca+linear-autoencoder"])
def test_twice_the_linear_autoencoders_gate_is_the_same_network(name):
    """The report's code multiplies it by 2, ours does not: the BatchNorm behind takes a factor out, but for its eps."""
    def loss_and_gradients(factor):
        with seeded(0):
            model = AS_CODED[name]().double()
            for module in model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eps = 1e-15
            for stage, place in model.network.places():
                model.network.get_submodule(f"{stage}.{place}").register_forward_hook(lambda *call: factor * call[-1])
            loss = F.cross_entropy(model(images(8, 3, 32, 32).double()), torch.arange(8))
        loss.backward()
        return [loss.detach(), *(parameter.grad for parameter in model.parameters())]

    torch.testing.assert_close(loss_and_gradients(2), loss_and_gradients(1), rtol=1e-6, atol=1e-9)
