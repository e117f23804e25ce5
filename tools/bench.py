"""Measure speed and size as ratios in one run, and print them: `make bench`, or `make bench PARTS="resnet50 imports"`.

The two sides of a ratio alternate, with samples of at least 2 s, and the median is shown with the middle half of the
samples. A ratio up to 1.05 counts as equal.
"""

import argparse
import copy
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
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
from attncourse.resnet import SpatialGate, insert_attention
from attncourse.sca_cnn import SCA
from attncourse.se import SEBlock
from attncourse.timing import time_ratio
from attncourse.training import TrainConfig, compute_dtype, device_name, seeded, train

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
        usual.append(usual_loop(data))
        with seeded(0):
            model = ReportCNN()
        ours.append(train(model, data, TrainConfig(epochs=1), progress=False).images_per_second)
    ratios = [b / a for a, b in zip(usual, ours)]
    print(f"\ntrain() over the usual loop: {statistics.median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f} "
          f"({statistics.median(usual):.0f} and {statistics.median(ours):.0f} images/s; "
          f"ours in {compute_dtype(torch.device('cpu'))}; bar: 2.5)")


def usual_loop(data: ImageData) -> float:
    """What most tutorials write, on PIL images as torchvision's CIFAR10 gives them."""
    transform = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(data.mean, data.std)])
    pictures = [v2.functional.to_pil_image(image) for image in data.train.images]
    samples = [(picture, label) for picture, label in zip(pictures, data.train.labels.tolist())]

    class Pictures(torch.utils.data.Dataset):
        def __len__(self):
            return len(samples)

        def __getitem__(self, index):
            picture, label = samples[index]
            return transform(picture), label

    loader = DataLoader(Pictures(), batch_size=128, shuffle=True, drop_last=True, num_workers=2)
    with seeded(0):
        model = ReportCNN()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    start, seen = None, 0
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
        "backbone": lambda: backbone_cost(options.seconds, options.samples),
        "looking-inside": lambda: looking_inside(options.seconds, options.samples),
        "insertion": lambda: insertion(options.samples),
        "captioning": lambda: captioning(options.seconds, options.samples),
        "resnet50": lambda: in_resnet50(options.seconds, options.samples, compiled=False),
        "resnet50-compiled": lambda: compiler and in_resnet50(options.seconds, options.samples, compiled=True),
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
