"""Measure speed and size as ratios in one run, and print them: `make bench`, or `make bench PARTS="resnet50 imports"`.

The two sides of a ratio alternate, with samples of at least 2 s, and the median is shown with the middle half of the
samples. A ratio up to 1.05 counts as equal.
"""

import argparse
import copy
import datetime
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import timm.layers
import torch
import torchvision
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from timm.layers.cbam import CbamModule
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from attncourse.atomic import write_atomic
from attncourse.autoencoder import ConvAutoencoderAttention
from attncourse.backbone import ReportCNN
from attncourse.bam import BAM
from attncourse.cam_sam import ChannelAttention, SpatialAttention
from attncourse.captioning.decoder import DecoderConfig, beam_search
from attncourse.captioning.encoder import CHANNELS, photo_captioner
from attncourse.captioning.training import batch_loss
from attncourse.cbam import CBAM
from attncourse.datasets.images import ImageData
from attncourse.datasets.scenes import load_scenes
from attncourse.eca import ECA
from attncourse.gradcam import grad_cam
from attncourse.hybrids import eca_sam
from attncourse.report_table import paired_difference
from attncourse.resnet import SpatialGate, insert_attention
from attncourse.results import FOLDER
from attncourse.sca_cnn import SCA
from attncourse.se import SEBlock
from attncourse.seed_stack import SeedStack
from attncourse.studies import network as narrow_network
from attncourse.timing import clock, time_ratio
from attncourse.training import (
    Normalise,
    TrainConfig,
    compute_dtype,
    device_name,
    evaluate,
    seeded,
    train,
)

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests"))
from oracles import PaperBAM, with_weights_of  # noqa: E402

SHAPES = ((8, 256, 56, 56), (128, 64, 32, 32))
LAYOUTS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}


def block_pairs(channels: int) -> dict[str, tuple[nn.Module, dict[str, nn.Module]]]:
    """Per block of ours: itself, and what it is measured against, with equal weights."""
    rivals = {
        SEBlock(channels): {"timm": timm.layers.SEModule(channels, rd_ratio=1 / 16, rd_divisor=1),
                            "torchvision": torchvision.ops.SqueezeExcitation(channels, channels // 16)},
        ECA(channels): {"timm": timm.layers.EcaModule(channels)},
        CBAM(channels): {"timm": CbamModule(channels, mlp_bias=True)},
        BAM(channels): {"transcription": PaperBAM(channels)},
    }
    return {type(block).__name__: (block, {name: with_weights_of(block, rival) for name, rival in others.items()})
            for block, others in rivals.items()}


def blocks(seconds: float, samples: int, compiled: bool) -> None:
    """Each block against the fastest rival with the same weights, forward in eval mode and a whole training step."""
    print(f"\nblocks over the faster rival, float32, same weights, {'compiled' if compiled else 'eager'}")
    for shape in SHAPES:
        for name, (block, rivals) in block_pairs(shape[1]).items():
            for layout_name, layout in LAYOUTS.items():
                x = torch.randn(shape).contiguous(memory_format=layout).requires_grad_()
                gradient = torch.randn(shape).contiguous(memory_format=layout)
                for rival in rivals.values():
                    torch.testing.assert_close(block.eval()(x), rival.eval()(x))

                def forward(module, x=x):
                    with torch.inference_mode():
                        module(x)

                def step(module, x=x, gradient=gradient):
                    x.grad = None
                    module(x).backward(gradient)

                for pass_name, run, training in (("forward", forward, False), ("forward + backward", step, True)):
                    torch.compiler.reset()  # else the number of compiled variants runs into a limit
                    sides = {key: module.train(training) for key, module in {"ours": block, **rivals}.items()}
                    if compiled:
                        sides = {key: torch.compile(module) for key, module in sides.items()}
                    ours = sides.pop("ours")
                    ratios = {key: time_ratio(lambda: run(ours), lambda: run(side), seconds, samples)  # noqa: B023
                              for key, side in sides.items()}
                    rival = max(ratios, key=lambda key: ratios[key].median)  # the faster rival, the larger ratio
                    print(f"  {name:8} {shape!s:18} {layout_name:13} {pass_name:18} {ratios[rival]}, {rival}",
                          flush=True)


def block_costs(seconds: float, samples: int) -> None:
    """Time of each block over a ResNet-50 bottleneck of the same width, and the memory it keeps for its backward."""
    print("\ntraining step over that of a ResNet-50 bottleneck of the same width; memory kept for the backward pass, "
          "in maps of the input's size (float32, NCHW, eager)")
    for shape in SHAPES:
        channels = shape[1]
        bottleneck = torchvision.models.resnet.Bottleneck(channels, channels // 4)
        x, gradient = torch.randn(shape).requires_grad_(), torch.randn(shape)

        def step(module, x=x, gradient=gradient):
            x.grad = None
            module(x).backward(gradient)

        modules = [SEBlock(channels), ECA(channels), ChannelAttention(channels), SpatialAttention(), CBAM(channels),
                   BAM(channels), ConvAutoencoderAttention(channels), eca_sam(channels)]
        print(f"  {'bottleneck':26} {shape!s:18} 1     {kept_maps(bottleneck, x):5.1f} maps")
        for module in modules:
            name = "ECA, then SAM" if isinstance(module, nn.Sequential) else type(module).__name__
            ratio = time_ratio(lambda: step(module), lambda: step(bottleneck), seconds, samples)  # noqa: B023
            print(f"  {name:26} {shape!s:18} {ratio.median:.2f}  {kept_maps(module, x):5.1f} maps", flush=True)


def kept_maps(module: nn.Module, x: Tensor) -> float:
    """How much memory the forward pass keeps for the backward pass, beyond weights, in units of x's size."""
    kept = {}
    weights = {p.untyped_storage().data_ptr() for p in (*module.parameters(), *module.buffers())}

    def remember(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        y = module(x)  # y keeps the graph, and so the tensors, alive while they are counted
    assert y.shape == x.shape
    return sum(kept.values()) / (x.numel() * x.element_size())


def looking_inside(seconds: float, samples: int) -> None:
    """Grad-CAM in ResNet-50 against a training step's two passes, and against pytorch-grad-cam."""
    model = torchvision.models.resnet50().eval()
    targets = [ClassifierOutputTarget(7)] * 4
    print("\nGrad-CAM in ResNet-50, 4 pictures of 224 × 224, float32")
    for name in ("layer4", "layer2"):
        x, rival = torch.randn(4, 3, 224, 224), copy.deepcopy(model)  # its hooks would slow ours down
        with GradCAM(rival, [rival.get_submodule(name)]) as library:

            def ours(name=name, x=x):
                grad_cam(model, name, x, 7)

            def both_passes(x=x):
                model(x)[:, 7].sum().backward()

            def theirs(library=library, x=x):
                library(x, targets)

            for other, side, bar in (("forward and backward", both_passes, 1.15), ("pytorch-grad-cam", theirs, 1)):
                ratio = time_ratio(ours, side, seconds, samples)
                model.zero_grad()
                print(f"  {name}, over {other:20} {ratio} (bar: {bar})", flush=True)


def insertion(samples: int) -> None:
    """How long it takes to put a block into each of ResNet-50's 16 residual blocks."""
    for block in (SEBlock, ECA, CBAM):
        taken = []
        for _ in range(samples):
            model = torchvision.models.resnet50()
            start = time.perf_counter()
            insert_attention(model, block)
            taken.append(time.perf_counter() - start)
        print(f"\n{block.__name__} put into ResNet-50: {statistics.median(taken):.2f} s (bar: 0.5 s)", flush=True)


PUBLISHED = {  # the ECA paper's table 3: images per second of the plain network over those with the block
    "inference": {"SE": 1855 / 1620, "ECA": 1855 / 1805, "CBAM": 1855 / 1213},
    "training": {"SE": 1024 / 759, "ECA": 1024 / 785, "CBAM": 1024 / 472}}


def in_resnet50(seconds: float, samples: int, compiled: bool) -> None:
    """ResNet-50 with each block over the plain one; beside it the ratios of images per second in the ECA paper."""
    variants = {"SE": (SEBlock, {}), "ECA": (ECA, {}), "CBAM": (CBAM, {}),
                "SAM": (lambda channels: SpatialAttention(), {}), "SpatialGate": (lambda channels: SpatialGate(), {}),
                "BAM": (BAM, {"placement": "stage", "stages": (1, 2, 3)})}
    x = torch.randn(8, 3, 224, 224).contiguous(memory_format=torch.channels_last)
    plain = torchvision.models.resnet50().to(memory_format=torch.channels_last)
    print(f"\nResNet-50 with each block over the plain one, 8 pictures, channels_last, float32, "
          f"{'compiled' if compiled else 'eager'}; in brackets the ECA paper's table 3, on a GPU")

    def inference(model):
        with torch.inference_mode():
            model(x)

    def step(model):
        model(x).sum().backward()

    for name, (block, place) in variants.items():
        model = torchvision.models.resnet50().to(memory_format=torch.channels_last)
        insert_attention(model, block, **place)
        passes = (("inference", inference, False), ("training", step, True))
        for pass_name, run, training in passes:
            torch.compiler.reset()
            sides = [each.train(training) for each in (model, plain)]
            if compiled:
                sides = [torch.compile(each) for each in sides]
            ratio = time_ratio(lambda: run(sides[0]), lambda: run(sides[1]), seconds, samples)  # noqa: B023
            theirs = f" [{PUBLISHED[pass_name][name]:.2f}]" if name in PUBLISHED[pass_name] else ""
            print(f"  {name:12} {pass_name:10} {ratio}{theirs}", flush=True)


def training_throughput(rounds: int) -> None:
    """train() against the usual loop: torchvision transforms, a DataLoader, float32, NCHW. Images per second."""
    data = load_scenes(train=1280, val=1, test=1)
    usual, ours = [], []
    for _ in range(rounds):
        with seeded(0):
            models = [ReportCNN() for _ in range(2)]
        usual.append(usual_loop(models[0], data, TrainConfig(), torch.Generator().manual_seed(0)))
        ours.append(train(models[1], data, TrainConfig(epochs=1), progress=False).images_per_second)
    ratios = [b / a for a, b in zip(usual, ours)]
    dtype = str(compute_dtype(torch.device("cpu"))).removeprefix("torch.")
    print(f"\ntrain() over the usual loop: {statistics.median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f} "
          f"({statistics.median(usual):.0f} and {statistics.median(ours):.0f} images/s; ours in {dtype}; bar: 2.5)")
    store("training", {"device": device_name(torch.device("cpu")), "images_per_second": {"usual loop": usual,
                                                                                          "train()": ours},
                       "dtype": dtype})


def training_accuracy(seeds: range) -> None:
    """Whether what train() does to be fast costs accuracy: both loops from equal weights, in the same order of images.

    A narrow network without dropout and few scenes: it says whether the loops differ, not how good a network becomes.
    """
    data = load_scenes(train=2560, val=2000, test=1)
    usual, ours = {}, {}
    for seed in seeds:
        with seeded(seed):
            model = narrow_network()
        models = [model, copy.deepcopy(model)]
        config, order = TrainConfig(epochs=3, batch_size=32, lr=0.03, seed=seed), torch.Generator().manual_seed(seed)
        for _ in range(config.epochs):
            usual_loop(models[0], data, config, order)
        usual[seed] = evaluate(models[0], data.val, Normalise(data.mean, data.std), torch.float32).accuracy
        ours[seed] = train(models[1], data, config, progress=False).epochs[-1]["val_accuracy"]
    difference = paired_difference(ours, usual)
    print(f"\ntrain() and the usual loop after 3 epochs of 2,560 scenes, {len(seeds)} pairs: "
          f"{statistics.mean(ours.values()):.1%} and {statistics.mean(usual.values()):.1%}; difference "
          f"{100 * difference.mean:+.1f} points, 95 % interval {100 * difference.low:+.1f} to "
          f"{100 * difference.high:+.1f}")
    store("training-accuracy", {"device": device_name(torch.device("cpu")),
                                "accuracy": {"usual loop": usual, "train()": ours}})


def usual_loop(model: nn.Module, data: ImageData, config: TrainConfig, order: torch.Generator) -> float:
    """An epoch as most tutorials write it, on PIL images as torchvision's CIFAR10 gives them. Images per second."""
    transform = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(data.mean, data.std)])
    pictures = [v2.functional.to_pil_image(image) for image in data.train.images]
    samples = [(picture, label) for picture, label in zip(pictures, data.train.labels.tolist())]

    class Pictures(torch.utils.data.Dataset):
        def __len__(self):
            return len(samples)

        def __getitem__(self, index):
            picture, label = samples[index]
            return transform(picture), label

    sampler = torch.randperm(len(samples), generator=order).tolist()  # what shuffle=True does, in train()'s order
    loader = DataLoader(Pictures(), config.batch_size, sampler=sampler, drop_last=True, num_workers=2)
    optimizer = torch.optim.SGD(model.parameters(), lr=config.lr)
    start, seen = None, 0
    model.train()
    for x, y in loader:
        start = start or time.perf_counter()  # the workers have started
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen += len(y)
    return seen / (time.perf_counter() - start)


def backbone_cost(seconds: float, samples: int) -> None:
    """What SE adds to the course's CNN."""
    plain, with_se = ReportCNN().eval(), ReportCNN(attention=SEBlock).eval()
    x = torch.randn(64, 3, 32, 32)

    def forward(model: nn.Module) -> None:
        with torch.inference_mode():
            model(x)

    print("\nCNN + SE over CNN, forward, float32:",
          time_ratio(lambda: forward(with_se), lambda: forward(plain), seconds, samples))


class TranscribedSCA(nn.Module):
    """C-S as its equations say, on (B, C, m), with the weights of an SCA: k × C and k × m tanhs for each word."""

    def __init__(self, attention: SCA):
        super().__init__()
        self.channel, self.spatial = attention.parts["channel"], attention.parts["spatial"]

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        V, channel, spatial = x.flatten(2), self.channel, self.spatial  # (B, C, m)
        C, m = V.shape[1:]
        outer = torch.einsum("ki,bc->bkc", channel.of_mean.weight, V.mean(2))
        b = (outer + channel.of_mean.bias[:, None] + channel.of_state(h)[:, :, None]).tanh()  # (B, k, C)
        beta = (torch.einsum("ik,bkc->bc", channel.score.weight, b) + channel.score.bias).softmax(1) * C
        V = beta[:, :, None] * V
        a = (spatial.of_map.weight @ V + spatial.of_map.bias[:, None] + spatial.of_state(h)[:, :, None]).tanh()
        alpha = (torch.einsum("ik,bkm->bm", spatial.score.weight, a) + spatial.score.bias).softmax(1) * m
        return (alpha[:, None] * V).view(x.shape)

    def attend(self, x: Tensor, h: Tensor) -> tuple[Tensor, dict]:
        return self(x, h), {}


def captioning(seconds: float, samples: int) -> None:
    """The decoder's attention against its transcription and the LSTM; the beam search; the memory of training."""
    d, fast = DecoderConfig.state, compute_dtype(torch.device("cpu"))
    print("\none step of SCA, C-S, over its transcription (bar for B = 64: 0.33), 7 × 7 positions; ours on a map in "
          "channels_last, as the captioner has it, the transcription on (B, C, m)")
    for B, C, k in ((64, 256, 128), (64, 256, 512), (64, 1280, 512), (1, 256, 128), (1, 256, 512), (1, 1280, 512)):
        sides = [SCA(C, d, k)]
        sides.append(TranscribedSCA(sides[0]))
        layouts = dict(zip(sides, (torch.channels_last, torch.contiguous_format)))
        V, gradient, h = torch.randn(B, C, 7, 7).relu(), torch.randn(B, C, 7, 7), torch.randn(B, d).tanh()
        h.requires_grad_()
        maps = {side: V.clone(memory_format=layout).requires_grad_() for side, layout in layouts.items()}
        gradients = {side: gradient.clone(memory_format=layout) for side, layout in layouts.items()}
        torch.testing.assert_close(*(side(maps[side], h) for side in sides), rtol=1e-5, atol=1e-5)

        def forward(side, dtype, maps=maps, h=h):
            with torch.inference_mode():
                side(maps[side], h)

        def step(side, dtype, maps=maps, h=h, gradients=gradients):
            maps[side].grad = h.grad = None
            with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
                y = side(maps[side], h)
            y.backward(gradients[side].to(y.dtype))

        passes = [("forward", forward, torch.float32), ("forward + backward", step, torch.float32)]
        if B > 1 and fast != torch.float32:
            passes.append(("forward + backward", step, fast))  # as captioners are trained here
        for pass_name, run, dtype in passes:
            ours, theirs = (partial(run, side, dtype) for side in sides)
            print(f"  {f'B = {B}, C = {C}, k = {k}':26} {pass_name:18} {str(dtype).removeprefix('torch.'):8} "
                  f"{time_ratio(ours, theirs, seconds, samples)}", flush=True)

    print("\none step of SCA over one of the captioner's LSTM, forward, B = 64, C = 256")
    lstm = nn.LSTMCell(256 + DecoderConfig.embedding, d)
    x = torch.rand(64, 256, 7, 7).contiguous(memory_format=torch.channels_last)
    h, word = torch.randn(64, d).tanh(), torch.randn(64, 256 + DecoderConfig.embedding)
    for k in (128, 512):
        attention = SCA(256, d, k)
        with torch.inference_mode():
            ratio = time_ratio(lambda: attention(x, h), lambda: lstm(word, (h, h)), seconds, samples)  # noqa: B023
        print(f"  k = {k:3} {ratio}", flush=True)

    model, maps = untrained_captioner(), torch.rand(100, CHANNELS[-1], 7, 7)
    ratio = time_ratio(lambda: beam_search(model, maps, 5), lambda: beam_search(model, maps, 1), seconds, samples)
    print(f"\nbeam search of width 5 over width 1, 100 pictures, 20 words: {ratio} (bar: 6)", flush=True)

    grown = {name: [training_memory(name) for _ in range(3)] for name in ("ours", "transcription")}
    ours, theirs = (statistics.median(each) for each in grown.values())
    print(f"\na captioner's training step, 64 captions of 15 words, adds {ours:.0f} MB to the process's peak memory; "
          f"with the transcription {theirs:.0f} MB: {ours / theirs:.2f} (forward and backward pass in "
          f"{compute_dtype(torch.device('cpu'))}, medians of 3 fresh processes)", flush=True)


def untrained_captioner() -> nn.Module:
    """A captioner of photographs in eval mode, with as many words as for Flickr8k, that never ends a sentence."""
    with seeded(0):
        model = photo_captioner(2539).eval()
    with torch.no_grad():
        model.word.bias[0] = -100
    return model


def training_memory(name: str) -> float:
    """Megabytes by which a first training step raises the peak of what a fresh process holds in memory."""
    code = f"import bench; print(bench.grown({name!r}))"
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                                cwd=ROOT / "tools").stdout)


def grown(name: str) -> float:
    """What ``training_memory`` runs, on Linux. Two captions come first, so that libraries have what they keep."""
    def peak() -> float:  # getrusage would count the parent's memory too: it survives the start of a program
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024  # KiB

    model, maps = untrained_captioner().train(), torch.rand(64, CHANNELS[-1], 7, 7)
    if name == "transcription":
        model.attended.attentions[0] = TranscribedSCA(model.attended.attentions[0])
    batch = [(picture, list(range(3, 17))) for picture in range(64)]  # the end is the fifteenth word
    batch_loss(model, maps, batch[:2]).backward()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = peak()
    batch_loss(model, maps, batch).backward()
    return peak() - before


class OneByOne:
    """K networks that are trained in turn, as K calls of train() would: what the other engines are measured against.

    An engine has K networks and ``step(x, y)``: a training step on images (K, B, 3, 32, 32) with labels (K, B).
    """

    def __init__(self, models: list[nn.Module], dtype: torch.dtype):
        self.models, self.dtype = models, dtype
        self.optimizers = [torch.optim.SGD(model.parameters(), lr=0.1) for model in models]

    def step(self, x: Tensor, y: Tensor) -> None:
        for model, optimizer, images, labels in zip(self.models, self.optimizers, x, y):
            with torch.autocast(x.device.type, self.dtype, enabled=self.dtype != torch.float32):
                logits = model(images)
            optimizer.zero_grad()
            F.cross_entropy(logits.float(), labels).backward()
            optimizer.step()

    def weights(self) -> list[dict[str, Tensor]]:
        return [model.state_dict() for model in self.models]


class Together:
    """K networks in one module, a SeedStack or another with its shapes."""

    def __init__(self, stack: SeedStack, dtype: torch.dtype):
        self.stack, self.dtype = stack, dtype
        self.optimizer = torch.optim.SGD(stack.parameters(), lr=0.1)

    def step(self, x: Tensor, y: Tensor) -> None:
        with torch.autocast(x.device.type, self.dtype, enabled=self.dtype != torch.float32):
            logits = self.stack(x)
        loss = F.cross_entropy(logits.float().flatten(0, 1), y.flatten()) * len(x)  # the sum of K means
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def weights(self) -> list[dict[str, Tensor]]:
        return [self.stack.model_of(i).state_dict() for i in range(self.stack.seeds)]


class Folded(SeedStack):
    """The plain ReportCNN by hand: one map (B, K·C, H, W) from the first to the last convolution, with K groups."""

    def forward(self, x: Tensor) -> Tensor:
        layout = torch.channels_last
        x = x.transpose(0, 1).flatten(1, 2).contiguous(memory_format=layout)  # (K, B, 3, H, W) -> (B, K·3, H, W)
        for stage in self.network.stages:
            for layer in self.network.get_submodule(stage):
                x = self.folded(layer, x)
        x = x.unflatten(1, (self.seeds, -1)).transpose(0, 1).flatten(2)  # (K, B, C·h·w)
        for layer in self.network.classifier[1:]:  # without its Flatten
            x = torch.baddbmm(layer.bias[:, None], x, layer.weight.mT) if isinstance(layer, nn.Linear) else layer(x)
        return x

    def folded(self, layer: nn.Module, x: Tensor) -> Tensor:
        if isinstance(layer, nn.Conv2d):
            return F.conv2d(x, layer.weight.flatten(0, 1), layer.bias.flatten(), padding=layer.padding,
                            groups=self.seeds)
        if isinstance(layer, nn.BatchNorm2d):
            layer.num_batches_tracked += 1
            return F.batch_norm(x, layer.running_mean.flatten(), layer.running_var.flatten(), layer.weight.flatten(),
                                layer.bias.flatten(), layer.training, layer.momentum)  # flatten() is a view
        return layer(x)  # the others treat each channel for itself


class Graphed(OneByOne):
    """K networks, each on a CUDA stream of its own, whose steps are recorded once and then started as one graph.

    Needs CUDA. NEVER RUN BY US: we had no such device.
    """

    def __init__(self, models: list[nn.Module], dtype: torch.dtype, x: Tensor, y: Tensor):
        super().__init__(models, dtype)
        self.x, self.y = x.clone(), y.clone()  # the graph reads here
        before = [copy.deepcopy(state) for state in self.weights()]
        self.streams = [torch.cuda.Stream() for _ in models]
        for _ in range(3):  # what libraries do at the first calls must not be recorded
            self.fan_out()
        torch.cuda.synchronize()
        for model, state in zip(models, before):
            model.load_state_dict(state)  # in place
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.fan_out()

    def fan_out(self) -> None:
        main = torch.cuda.current_stream()
        for i, stream in enumerate(self.streams):
            stream.wait_stream(main)
            with torch.cuda.stream(stream):
                with torch.autocast("cuda", self.dtype, enabled=self.dtype != torch.float32, cache_enabled=False):
                    logits = self.models[i](self.x[i])
                self.optimizers[i].zero_grad()
                F.cross_entropy(logits.float(), self.y[i]).backward()
                self.optimizers[i].step()
        for stream in self.streams:
            main.wait_stream(stream)

    def step(self, x: Tensor, y: Tensor) -> None:
        self.x.copy_(x)
        self.y.copy_(y)
        self.graph.replay()


def engines_of(K: int, widths: tuple[int, ...], dtype: torch.dtype, x: Tensor, y: Tensor, dropout: bool = True) -> dict:
    """Name -> engine, each with its own K networks of the same weights."""
    def models() -> list[nn.Module]:
        made = []
        for seed in range(K):
            with seeded(seed):
                made.append(ReportCNN(widths=widths).to(x.device, memory_format=torch.channels_last))
        for model in made if not dropout else []:
            for layer in model.modules():
                if isinstance(layer, nn.Dropout | nn.Dropout2d):
                    layer.p = 0.0
        return made

    engines = {"one by one": OneByOne(models(), dtype), "vmap": Together(SeedStack(models()), dtype),
               "folded": Together(Folded(models()), dtype)}
    if x.is_cuda:
        engines["graph"] = Graphed(models(), dtype, x, y)
    return engines


def equal_engines(device: torch.device) -> float:
    """Two steps with each engine: the largest difference of a weight or running statistic from those one by one."""
    x, y = torch.randn(3, 16, 3, 32, 32, device=device), torch.randint(10, (3, 16), device=device)
    engines, largest = engines_of(3, (8, 16), torch.float32, x, y, dropout=False), 0.0
    for engine in engines.values():
        for _ in range(2):
            engine.step(x, y)
    expected = engines.pop("one by one").weights()
    for engine in engines.values():
        for ours, theirs in zip(engine.weights(), expected, strict=True):
            for name, value in theirs.items():
                torch.testing.assert_close(ours[name], value, rtol=1e-3, atol=1e-4, msg=name)
                largest = max(largest, (ours[name] - value).abs().max().item())
    return largest


MOST_SEEDS = {((8, 16), 8): 32, ((8, 16), 128): 32, ((64, 128), 8): 32, ((64, 128), 128): 8}  # widths, batch: on a CPU


def seeds_at_once(seconds: float, samples: int) -> None:
    """A training step of K seeds side by side over K steps of one seed; the engines take turns."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(f"\na training step of K seeds at once over K steps of one seed, {device_name(device)}; all engines end with "
          f"equal weights in float32, to {equal_engines(device):.0e}")
    measured = []
    for (widths, B), most in MOST_SEEDS.items():
        for dtype in dict.fromkeys((torch.float32, compute_dtype(device))):
            for K in (1, 2, 4, 8, 16, 32):
                if most < K and device.type == "cpu":
                    break
                x, y = torch.randn(K, B, 3, 32, 32, device=device), torch.randint(10, (K, B), device=device)
                engines = engines_of(K, widths, dtype, x, y)
                taken = step_times({name: partial(engine.step, x, y) for name, engine in engines.items()},
                                   seconds, samples)
                measured.append({"widths": widths, "batch": B, "dtype": str(dtype).removeprefix("torch."), "K": K,
                                 "seconds": taken})
                one = taken["one by one"]
                ratios = {name: sorted(a / b for a, b in zip(taken[name], one)) for name in list(taken)[1:]}
                print(f"  widths {widths!s:9} batch {B:3} {measured[-1]['dtype']:8} K = {K:2}  "
                      f"{statistics.median(one) / K * 1000:7.1f} ms a step alone  " + "  ".join(
                          f"{name} {statistics.median(each):.2f} ({each[0]:.2f} to {each[-1]:.2f})"
                          for name, each in ratios.items()), flush=True)
    store("seeds", {"device": device_name(device), "measured": measured})


def step_times(sides: dict[str, Callable[[], None]], seconds: float, samples: int) -> dict[str, list[float]]:
    """Seconds of a call of each side, per sample; in a sample they take turns until so many seconds have passed."""
    for side in sides.values():
        clock(side)  # the first call allocates
    taken = {name: [] for name in sides}
    for _ in range(samples):
        totals, turn = dict.fromkeys(sides, 0.0), 0
        while sum(totals.values()) < seconds:
            for name in list(sides)[::1 if turn % 2 == 0 else -1]:
                totals[name] += clock(sides[name])
            turn += 1
        for name, total in totals.items():
            taken[name].append(total / turn)
    return taken


def store(part: str, figures: dict) -> None:
    """Put what a part has measured into results/seeds-at-once.json, beside what the other parts have put there."""
    path = FOLDER / "seeds-at-once.json"
    so_far = json.loads(path.read_text()) if path.exists() else {}
    about = {"command": f"make bench PARTS={part}", "threads": torch.get_num_threads(),
             "date": datetime.date.today().isoformat(),
             "versions": {"torch": torch.__version__, "torchvision": torchvision.__version__}}
    write_atomic(path, json.dumps(so_far | {part: about | figures}, indent=1) + "\n")


def imports() -> None:
    """How much `import attncourse` takes beyond torch, in a fresh interpreter: median of seven pairs."""
    def seconds(statement: str) -> float:
        code = f"import time; start = time.perf_counter(); {statement}; print(time.perf_counter() - start)"
        return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)

    modules = "attncourse.se, attncourse.backbone, attncourse.training, attncourse.checks"
    extra = [seconds(f"import torch, {modules}") - seconds("import torch") for _ in range(7)]
    print(f"\nimport {modules}: {statistics.median(extra):.2f} s beyond torch (bar: 0.3 s)")


def notebooks() -> None:
    """Seconds and size of each notebook alone."""
    print("\nnotebooks, each alone in an empty folder (bars: 25 s, 1.5 MB)")
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", path, "--output-dir", folder]
            subprocess.run(command, check=True, capture_output=True, env=os.environ | {"CI": "true"}, cwd=folder)
        print(f"  {path.name:22} {time.perf_counter() - start:5.1f} s  {path.stat().st_size / 1e6:.2f} MB", flush=True)


def main() -> None:
    compiler = bool(shutil.which("c++"))  # Inductor needs one
    parts = {
        "blocks": lambda: blocks(options.seconds, options.samples, compiled=False),
        "blocks-compiled": lambda: compiler and blocks(options.seconds, options.samples, compiled=True),
        "block-costs": lambda: block_costs(options.seconds, options.samples),
        "training": lambda: training_throughput(rounds=5),
        "training-accuracy": lambda: training_accuracy(range(24)),
        "backbone": lambda: backbone_cost(options.seconds, options.samples),
        "looking-inside": lambda: looking_inside(options.seconds, options.samples),
        "insertion": lambda: insertion(options.samples),
        "captioning": lambda: captioning(options.seconds, options.samples),
        "resnet50": lambda: in_resnet50(options.seconds, options.samples, compiled=False),
        "resnet50-compiled": lambda: compiler and in_resnet50(options.seconds, options.samples, compiled=True),
        "seeds": lambda: seeds_at_once(seconds=0.6, samples=3),
        "imports": imports,
        "notebooks": notebooks,
    }
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"all, or some of: {', '.join(parts)}")
    parser.add_argument("--seconds", type=float, default=2, help="length of a sample")
    parser.add_argument("--samples", type=int, default=7, help="samples a ratio")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(parts):
        parser.error(f"no part {unknown.pop()!r}: choose from {', '.join(parts)}")
    print(f"{device_name(torch.device('cpu'))}, {torch.get_num_threads()} threads, torch {torch.__version__}, "
          f"timm {timm.__version__}, torchvision {torchvision.__version__}")
    for name in options.parts or parts:
        parts[name]()


if __name__ == "__main__":
    main()
