"""Training with several processes: real ones, which meet by gloo on this machine's CPU.

A server imports the module once and forks the processes of each run, so that a run of two takes a fraction of a second;
where torchrun itself is what is tested, torchrun starts them. nccl and several machines are not tested here.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision.models import ResNet
from torchvision.models.resnet import BasicBlock

from attncourse import distributed
from attncourse.distributed import MEAN, STD, Config, build, command_of, learning_rate, main, read_data
from attncourse.training import Normalise

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
REPOSITORY = Path(__file__).parent.parent

# What every process runs: main(), with two small networks, and with the trouble that a test asks for.
DRIVER = '''
import json, os, signal, sys
import torch
from test_distributed_networks import NETWORKS
from attncourse import distributed
distributed.NETWORKS.update(NETWORKS)


def trouble(kind, rank, step):
    """At the step of this number, counted over the epochs, this happens to the process of this rank."""
    real, calls = getattr(distributed.DataParallelRun, "validate" if kind == "in-validation" else "train_step"), []
    def patched(self, *arguments):
        calls.append(1)
        if len(calls) == step and self.rank == rank and os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0":
            if kind == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if kind in ("asked", "in-validation"):
                os.kill(os.getpid(), signal.SIGTERM)
            if kind == "interrupted":
                os.kill(os.getpid(), signal.SIGINT)
            if kind == "group":  # as torchrun does
                os.killpg(os.getpgrp(), signal.SIGTERM)
            if kind == "disk-full":
                def full(*arguments):
                    raise OSError(28, "No space left on device")
                distributed.save_checkpoint = full
        return real(self, *arguments)
    setattr(distributed.DataParallelRun, real.__name__, patched)


def serve():
    """One run for each line of JSON: its processes are forked from here, where all is imported already."""
    for line in sys.stdin:
        job, children = json.loads(line), []
        for rank, arguments in enumerate(job["arguments"]):
            child = os.fork()
            if child == 0:
                os.setsid()  # as torchrun has it
                os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(len(job["arguments"])),
                                  MASTER_ADDR="127.0.0.1", MASTER_PORT=str(job["port"]))
                for number, name in (1, "out"), (2, "err"):
                    os.dup2(os.open(f"{job['folder']}/{rank}.{name}", os.O_CREAT | os.O_WRONLY | os.O_TRUNC), number)
                try:
                    if job["trouble"]:
                        trouble(*job["trouble"])
                    code = distributed.main(arguments)
                except BaseException as error:
                    print(type(error), error, file=sys.stderr)
                    code = 99
                sys.stdout.flush(), sys.stderr.flush()
                os._exit(code)
            children.append(child)
        print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]), flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1] == "serve":
        serve()
    else:
        kind, rank, step, *arguments = sys.argv[1:]
        trouble(kind, int(rank), int(step))
        sys.exit(distributed.main(arguments))
'''


class Tiny(ResNet):
    """Four stages of one block with 8 to 16 channels, for images of 16 × 16."""

    def __init__(self, num_classes: int, norm_layer=nn.BatchNorm2d):
        super().__init__(BasicBlock, [1, 1, 1, 1], num_classes, norm_layer=norm_layer)
        self.conv1, self.bn1, self.maxpool = nn.Conv2d(3, 8, 3, padding=1), norm_layer(8), nn.Identity()
        self.inplanes = 8
        for number, (channels, stride) in enumerate([(8, 1), (8, 2), (16, 2), (16, 1)], 1):
            setattr(self, f"layer{number}", self._make_layer(BasicBlock, channels, 1, stride))
        self.fc = nn.Linear(16, num_classes)


def without_norm(num_classes: int) -> ResNet:
    """Without BatchNorm an image's logits do not depend on which others are in its process's share of the batch."""
    return Tiny(num_classes, norm_layer=lambda channels: nn.Identity())


NETWORKS = {"tiny": Tiny, "no-norm": without_norm}


def draw(root: Path, classes: int = 3, train: int = 24, val: int = 11, side: int = 20) -> Path:
    """A tree in ImageNet's layout: noise with a colour for each class."""
    noise = np.random.default_rng(0)
    for split, number in ("train", train), ("val", val):
        for image in range(number):
            file = root / split / f"class{image % classes}" / f"{image:03}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            pixels = noise.integers(0, 156, (side, side, 3), np.uint8)
            pixels[..., image % classes % 3] += 100
            Image.fromarray(pixels).save(file)
    return root


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return draw(tmp_path_factory.mktemp("images") / "colours")


@pytest.fixture(scope="module")
def driver(tmp_path_factory) -> Path:
    """The script that processes run, and the environment's path to the networks of this file."""
    folder = tmp_path_factory.mktemp("driver")
    source = Path(__file__).read_text("utf-8")
    networks = source[source.index("class Tiny"):source.index("def draw")]
    (folder / "test_distributed_networks.py").write_text(
        "from torch import nn\nfrom torchvision.models import ResNet\n"
        f"from torchvision.models.resnet import BasicBlock\n\n{networks}", "utf-8")
    (folder / "driver.py").write_text(DRIVER, "utf-8")
    return folder / "driver.py"


@pytest.fixture(scope="module")
def environment(driver):
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(driver.parent), str(REPOSITORY)]), "OMP_NUM_THREADS": "1",
                         "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}


@pytest.fixture(scope="module")
def server(driver, environment):
    with subprocess.Popen([sys.executable, driver, "serve"], env=environment, text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process
        process.kill()


class Outcome:
    """Exit codes, and what each process printed."""

    def __init__(self, codes: list[int], folder: Path):
        self.codes = codes
        self.out, self.err = ([(folder / f"{rank}.{name}").read_text() for rank in range(len(codes))]
                              for name in ("out", "err"))


@pytest.fixture
def launch(server, data, tmp_path):
    """launch(processes, …) starts the command in so many processes and waits for their end."""
    def launch(processes: int, *options, trouble=None, folder="runs", network="tiny", root=data, rank1=()) -> Outcome:
        common = ["--network", network, "--runs", str(tmp_path / folder), "--size", "16", "--batch-size", "8",
                  "--epochs", "2", "--warmup-epochs", "1", "--workers", "0", "--dtype", "float32", *options]
        arguments = [[str(root), *common] for _ in range(processes)]
        if rank1:
            arguments[1] = rank1(arguments[1])
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        job = {"arguments": arguments, "port": port, "folder": str(tmp_path), "trouble": trouble}
        server.stdin.write(json.dumps(job) + "\n")
        server.stdin.flush()
        return Outcome(json.loads(server.stdout.readline()), tmp_path)

    return launch


@pytest.fixture(scope="module")
def folder_of_undisturbed(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("undisturbed")


@pytest.fixture
def undisturbed(launch, folder_of_undisturbed) -> Path:
    """Result and weights of two processes that nobody stopped; one run for all tests."""
    if not any(folder_of_undisturbed.iterdir()):
        outcome = launch(2, "--attention", "se", folder=folder_of_undisturbed)
        assert outcome.codes == [0, 0], outcome.err
    return folder_of_undisturbed


def weights(folder: Path) -> dict:
    (path,) = folder.glob("*.safetensors")
    return load_file(path)


def result(folder: Path) -> dict:
    (path,) = folder.glob("*.json")
    return json.loads(path.read_text())


def measured(folder: Path) -> list[dict]:
    """What does not depend on the clock or on how many processes there were."""
    return [{key: value for key, value in epoch.items() if "second" not in key and key != "processes"}
            for epoch in result(folder)["epochs"]]


def assert_same(one: Path, other: Path) -> None:
    mine, theirs = weights(one), weights(other)
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        assert torch.equal(value, theirs[name]), name
    for mine, theirs in zip(measured(one), measured(other), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-12)  # the processes' losses are added in another order


def assert_close(one: Path, other: Path) -> None:
    mine, theirs = weights(one), weights(other)
    for name, value in mine.items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-4, atol=1e-5, msg=lambda text, name=name: name + text)
    for mine, theirs in zip(measured(one), measured(other), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4)


# ---- many processes are one -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("processes", [2, 4])
def test_several_processes_take_the_steps_of_one(launch, tmp_path, processes):
    """After 6 steps the weights agree to float32's rounding: gradients of a batch are averaged over its shares."""
    for number in 1, processes:
        outcome = launch(number, folder=f"{number}", network="no-norm")
        assert outcome.codes == [0] * number, outcome.err
    assert_close(tmp_path / "1", tmp_path / f"{processes}")
    assert [epoch["processes"] for epoch in result(tmp_path / f"{processes}")["epochs"]] == [processes] * 2
    assert outcome.out[1:] == [""] * (processes - 1)  # only the first one prints


def test_one_process_is_a_plain_loop(launch, data, tmp_path, monkeypatch):
    """Order, crops, schedule, momentum and weight decay, written out."""
    monkeypatch.setitem(distributed.NETWORKS, "tiny", Tiny)
    config = Config("tiny", attention="se", epochs=2, batch_size=8, warmup_epochs=1, lr_step=1, size=16, seed=3,
                    dtype="float32")
    outcome = launch(1, "--attention", "se", "--seed", "3", "--lr-step", "1")
    assert outcome.codes == [0], outcome.err
    images, _ = read_data(data, config)
    model, normalise = build(config, 3), Normalise(MEAN, STD)
    momentum = {name: torch.zeros_like(value) for name, value in model.named_parameters()}
    for epoch in range(2):
        order = torch.randperm(24, generator=torch.Generator().manual_seed(3 + epoch)).tolist()
        images.epoch = epoch
        for step in range(3):
            x, y = zip(*(images[index] for index in order[8 * step:8 * step + 8]))
            model.zero_grad()
            F.cross_entropy(model(normalise(torch.stack(x))), torch.tensor(y)).backward()
            lr = 0.1 * (step + 1) / 3 if epoch == 0 else 0.01
            for name, value in model.named_parameters():
                momentum[name] = 0.9 * momentum[name] + value.grad + 1e-4 * value.detach()
                value.data -= lr * momentum[name]
    for name, value in weights(tmp_path / "runs").items():
        torch.testing.assert_close(value, model.state_dict()[name], rtol=1e-3, atol=1e-4)


def test_batchnorm_sees_only_its_own_process(launch, tmp_path):
    """Mean and variance are those of a share of the batch, so two processes do not train as one does."""
    for number in 1, 2:
        assert launch(number, folder=f"{number}").codes == [0] * number
    one, two = weights(tmp_path / "1"), weights(tmp_path / "2")
    assert max((one[name] - two[name]).abs().max() for name in one if name.endswith("weight")) > 1e-2


@pytest.mark.parametrize("processes", [1, 4])
def test_every_validation_image_is_counted_once(launch, data, tmp_path, monkeypatch, processes):
    """11 images for 4 processes; a sampler that pads would count some twice. Top-5 only where there are six classes."""
    monkeypatch.setitem(distributed.NETWORKS, "tiny", Tiny)
    root = draw(tmp_path / "six", classes=6)
    assert launch(processes, "--epochs", "1", root=root).codes == [0] * processes
    config = Config("tiny", size=16, batch_size=8)
    _, val = read_data(root, config)
    model = build(config, 6)
    model.load_state_dict(weights(tmp_path / "runs"))
    model.eval()
    x, y = zip(*val)
    with torch.inference_mode():
        logits = model(Normalise(MEAN, STD)(torch.stack(x)))
    y = torch.tensor(y)
    (epoch,) = result(tmp_path / "runs")["epochs"]
    assert epoch["val_top1"] == (logits.argmax(1) == y).sum().item() / 11
    assert epoch["val_top5"] == (logits.topk(5).indices == y[:, None]).sum().item() / 11
    assert epoch["val_loss"] == pytest.approx(F.cross_entropy(logits, y).item(), rel=1e-4)


def test_it_learns_three_colours_and_says_all_about_it(launch, data, tmp_path):
    outcome = launch(2, "--epochs", "8", "--lr", "0.05", "--attention", "cbam")
    assert outcome.codes == [0, 0], outcome.err
    record = result(tmp_path / "runs")
    assert record["epochs"][-1]["val_top1"] > 0.9
    assert "val_top5" not in record["epochs"][-1]
    assert record["epochs"][-1]["train_loss"] < record["epochs"][0]["train_loss"]
    assert record["images"] == {"train": 24, "val": 11}
    assert record["network"] == "tiny+cbam"
    assert (record["processes"], record["backend"], record["dtype"], record["classes"]) == (2, "gloo", "float32", 3)
    assert record["parameters"] == sum(value.numel() for name, value in weights(tmp_path / "runs").items()
                                       if "running" not in name and "num_batches" not in name)
    assert record["command"].startswith("python -m attncourse.distributed ")
    assert "epoch 8/8: train " in outcome.out[0]
    assert outcome.err == ["", ""]
    assert sorted(path.suffix for path in (tmp_path / "runs").iterdir()) == [".json", ".safetensors"]


def test_a_finished_run_is_not_repeated(launch, tmp_path):
    assert launch(1).codes == [0]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").iterdir()}
    outcome = launch(2)
    assert outcome.codes == [0, 0]
    assert "done before" in outcome.out[0]
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").iterdir()}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_mixed_precision(launch, tmp_path, dtype):
    outcome = launch(2, "--dtype", dtype)
    assert outcome.codes == [0, 0], outcome.err
    record = result(tmp_path / "runs")
    assert record["dtype"] == dtype
    assert all(np.isfinite(epoch["val_loss"]) for epoch in record["epochs"])
    assert all(value.dtype in (torch.float32, torch.int64) for value in weights(tmp_path / "runs").values())


# ---- stopped and gone on with ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("trouble", "code", "epoch", "step"), [
    (("group", 1, 1), 143, 1, 1), (("asked", 0, 5), 143, 2, 2), (("interrupted", 1, 3), 130, 1, 3),
    (("in-validation", 1, 1), 143, 2, 0)], ids=["to the group", "second epoch", "epoch's last step", "validation"])
def test_a_run_that_is_stopped_goes_on_as_if_it_never_was(launch, undisturbed, tmp_path, trouble, code, epoch, step):
    """A signal to one process stops both after the same step; their second start ends with the same weights, bit by
    bit, whichever step it was. A signal to the group does not reach the DataLoader workers that load its images."""
    options = ["--attention", "se", "--workers", "1" if trouble[0] == "group" else "0"]
    outcome = launch(2, *options, trouble=trouble)
    assert outcome.codes == [code, code], outcome.err
    assert f"after step {step} of 3 in epoch {epoch}: the same command goes on from there" in outcome.out[0]
    assert outcome.out[1] == ""
    assert [path.suffix for path in (tmp_path / "runs").iterdir()] == [".checkpoint"]
    outcome = launch(2, *options)
    assert outcome.codes == [0, 0], outcome.err
    assert_same(tmp_path / "runs", undisturbed)


def test_after_a_kill_it_goes_on_from_the_last_checkpoint(launch, undisturbed, tmp_path):
    """The other process does not wait for ever for the one that is gone."""
    outcome = launch(2, "--attention", "se", "--every", "1", trouble=("killed", 1, 2))
    assert outcome.codes == [99, -signal.SIGKILL], outcome.err
    assert launch(2, "--attention", "se").codes == [0, 0]
    assert_same(tmp_path / "runs", undisturbed)


def test_it_goes_on_with_another_number_of_processes(launch, tmp_path):
    """Without BatchNorm the number of processes changes nothing but rounding, in the middle of a run, too."""
    assert launch(1, folder="never", network="no-norm").codes == [0]
    assert launch(2, trouble=("asked", 0, 4), network="no-norm").codes == [143, 143]
    assert launch(4, network="no-norm").codes == [0] * 4
    assert_close(tmp_path / "runs", tmp_path / "never")
    assert [epoch["processes"] for epoch in result(tmp_path / "runs")["epochs"]] == [2, 4]


def test_torchrun_restarts_after_a_kill(undisturbed, driver, environment, data, tmp_path):
    """Process 1 is killed in its fourth step; what torchrun starts again ends as an undisturbed run does."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
               "--max-restarts", "1", driver, "killed", "1", "4", data, "--network", "tiny", "--attention", "se",
               "--runs", tmp_path / "runs", "--size", "16", "--batch-size", "8", "--epochs", "2",
               "--warmup-epochs", "1", "--workers", "1", "--dtype", "float32", "--every", "1"]
    outcome = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180)
    assert outcome.returncode == 0, outcome.stderr
    assert "exitcode: -9" in outcome.stderr
    assert_same(tmp_path / "runs", undisturbed)
    assert result(tmp_path / "runs")["command"].startswith("torchrun --nnodes 1 --nproc-per-node 2 -m attncourse.dist")


# ---- bad input ------------------------------------------------------------------------------------------------------


def refused(outcome: Outcome) -> str:
    """The one line that the first process of all prints."""
    assert outcome.codes == [1] * len(outcome.codes), outcome.err
    line, *rest = outcome.err
    assert line.startswith("error: ")
    assert line.count("\n") == 1
    assert rest == [""] * len(rest)
    return line


@pytest.fixture
def own(data, tmp_path) -> Path:
    """A copy of the images, to be spoilt."""
    return Path(shutil.copytree(data, tmp_path / "own"))


@pytest.mark.parametrize(("spoil", "message"), [
    (lambda root: shutil.rmtree(root), "there is no folder"),
    (lambda root: shutil.rmtree(root / "train"), "there is no folder {}/train: the images are expected in DATA/train/"),
    (lambda root: shutil.rmtree(root / "val"), "there is no folder {}/val"),
    (lambda root: shutil.rmtree(root / "val/class1"), "have different classes: class1 is in one of them only"),
    (lambda root: [file.unlink() for file in root.glob("*/class1/*")], "train: Found no valid file for the classes"),
    (lambda root: [file.unlink() for file in (root / "train").rglob("*.png") if file.name > "006"],
     "6 training images do not fill a batch of 8: use a smaller --batch-size"),
    (lambda root: shutil.rmtree(root / "train") or (root / "train").mkdir(), "train: Couldn't find any class folder"),
], ids=["nothing", "no train", "no val", "classes differ", "empty class", "few images", "no class"])
def test_data_that_cannot_be_trained_on(launch, own, spoil, message):
    spoil(own)
    assert message.format(own) in refused(launch(2, root=own))


@pytest.mark.parametrize("workers", ["0", "1"])
@pytest.mark.parametrize("name", ["train/class1/004.png", "val/class2/002.png"])
def test_an_image_that_cannot_be_read_is_named(launch, own, name, workers):
    """By the first process, whichever of them met it; the others do not wait for the one that did."""
    content = (own / name).read_bytes()
    (own / name).write_bytes(content[:len(content) // 2])
    message = refused(launch(2, "--workers", workers, root=own))
    assert f"error: {own / name} cannot be read as an image" in message
    assert "repair or remove it" in message


@pytest.mark.parametrize(("options", "message"), [
    (["--batch-size", "9"], "a batch of 9 cannot be split evenly over 2 processes: use a multiple of 2"),
    (["--batch-size", "0"], "batch_size must be at least 1, got 0"),
    (["--epochs", "0"], "epochs must be at least 1"),
    (["--lr", "0"], "lr must be above 0"),
    (["--seed", "-1"], "seed not below 0"),
    (["--every", "0"], "--every must be at least 1"),
    (["--workers", "-1"], "--workers not below 0"),
    (["--network", "vgg"], "invalid choice: 'vgg'"),
    (["--attention", "sex"], "invalid choice"),
    (["--lr", "fast"], "invalid float value"),
    (["--momentum", "1"], "unrecognized arguments: --momentum 1"),
    (["--lr", "1e30"], "the training loss became"),
])
def test_options_that_make_no_sense(launch, options, message):
    assert message in refused(launch(2, *options))


def test_a_checkpoint_of_another_run(launch, tmp_path):
    assert launch(2, trouble=("asked", 0, 2)).codes == [143, 143]
    assert "belongs to another run (config differ)" in refused(launch(2, "--lr", "0.2"))
    (path,) = (tmp_path / "runs").iterdir()
    path.write_bytes(path.read_bytes()[:1000])
    assert "is damaged" in refused(launch(2))


def test_a_checkpoint_over_other_images(launch, own):
    assert launch(1, root=own, trouble=("asked", 0, 2)).codes == [143]
    (own / "train/class0/000.png").rename(own / "train/class0/999.png")
    assert "belongs to another run (images differ)" in refused(launch(1, root=own))


def test_a_result_over_other_images(launch, own):
    assert launch(1, root=own).codes == [0]
    (own / "train/class0/000.png").rename(own / "train/class0/999.png")
    assert "belongs to another run (images differ)" in refused(launch(1, root=own))


def test_a_result_of_another_run(launch, tmp_path):
    assert launch(1).codes == [0]
    assert "belongs to another run (lr differ)" in refused(launch(2, "--lr", "0.2"))
    (path,) = (tmp_path / "runs").glob("*.json")
    path.write_text("{}")
    assert "is not a result: move it away" in refused(launch(2))


def test_machines_that_do_not_see_the_same(launch, own, tmp_path):
    """Other images, or a folder of their own for the checkpoint: the processes would train on without each other."""
    (own / "train/class0/000.png").unlink()
    assert "do not see the same images" in refused(launch(2, rank1=lambda arguments: [str(own), *arguments[1:]]))
    assert launch(2, trouble=("asked", 0, 2)).codes == [143, 143]
    elsewhere = ["--runs", str(tmp_path / "elsewhere")]
    assert "a folder that they share" in refused(launch(2, rank1=lambda arguments: [*arguments, *elsewhere]))
    assert "there is no folder" in refused(launch(2, rank1=lambda arguments: ["nowhere", *arguments[1:]]))


def test_a_full_disk(launch, tmp_path):
    assert "No space left on device" in refused(launch(2, "--every", "1", trouble=("disk-full", 0, 1)))


# ---- without processes ----------------------------------------------------------------------------------------------


def test_an_image_is_cropped_alike_whoever_loads_it(data):
    """The same for the same seed, epoch and index, in any order and process; the global generator does not notice."""
    config = Config(size=16, batch_size=8)
    images, val = read_data(data, config)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = [images[index][0] for index in range(24)]
    assert torch.equal(torch.get_rng_state(), before)
    assert all(image.shape == (3, 16, 16) and image.dtype == torch.uint8 for image in first)
    torch.rand(5)
    again = {index: images[index][0] for index in reversed(range(24))}
    assert all(torch.equal(again[index], first[index]) for index in range(24))
    loaded = torch.cat([x for x, _ in DataLoader(images, 8, num_workers=1)])
    assert torch.equal(loaded, torch.stack(first))
    images.epoch = 1
    assert sum(torch.equal(images[index][0], first[index]) for index in range(24)) < 3
    other, _ = read_data(data, replace(config, seed=1))
    assert sum(torch.equal(other[index][0], first[index]) for index in range(24)) < 3
    assert torch.equal(val[0][0], val[0][0])
    val.epoch = 1
    assert torch.equal(val[0][0], read_data(data, config)[1][0][0])


def test_two_images_are_cropped_differently(tmp_path):
    """Equal files, different index: the crop is drawn anew for each."""
    draw(tmp_path, classes=1, train=1)
    for copy in range(1, 8):
        shutil.copy(tmp_path / "train/class0/000.png", tmp_path / f"train/class0/{copy:03}.png")
    images, _ = read_data(tmp_path, Config(size=16, batch_size=8))
    assert len({images[index][0].numpy().tobytes() for index in range(8)}) > 6


def test_learning_rate():
    """Up in a line over five epochs to 0.1, a tenth of it after 30 and 60."""
    config = Config()
    rates = [[learning_rate(config, epoch, step, 10) for step in range(10)] for epoch in range(90)]
    assert rates[0][0] == pytest.approx(0.1 / 50)
    assert rates[2][4] == pytest.approx(0.1 / 2)
    np.testing.assert_allclose(np.diff(np.concatenate(rates[:5])), 0.1 / 50)
    assert rates[5][0] == rates[29][9] == rates[4][9] == pytest.approx(0.1)
    assert rates[30][0] == rates[59][9] == pytest.approx(0.01)
    assert rates[60][0] == pytest.approx(0.001)
    assert learning_rate(replace(config, warmup_epochs=0), 0, 0, 10) == 0.1


@pytest.mark.parametrize("change", [{"epochs": 0}, {"batch_size": 0}, {"size": 0}, {"lr_step": 0}, {"lr": 0.0},
                                    {"warmup_epochs": -1}, {"weight_decay": -1.0}])
def test_config(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        Config(**change)


@pytest.mark.parametrize("attention", distributed.ATTENTION)
def test_every_attention_goes_into_a_resnet(attention, monkeypatch):
    monkeypatch.setitem(distributed.NETWORKS, "tiny", Tiny)
    config = Config("tiny", attention)
    model = build(config, 7)
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 7)
    assert any("attention" in name for name, _ in model.named_modules()) == (attention != "none")
    assert torch.equal(model.conv1.weight, build(config, 7).conv1.weight)


def test_restarts_that_would_hang_are_refused(monkeypatch):
    """The store in which the processes of a group find each other still holds the addresses of those before."""
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "3")
    monkeypatch.delenv("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", raising=False)
    with pytest.raises(SystemExit, match=r"^error: --max-restarts needs TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1"):
        main(["anything"])


def test_command(monkeypatch):
    assert command_of(["my data", "--lr", "1"]) == "python -m attncourse.distributed 'my data' --lr 1"
    monkeypatch.setenv("GROUP_WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    assert command_of(["data"]) == "torchrun --nnodes 2 --nproc-per-node 8 -m attncourse.distributed data"


def test_without_torchrun_it_is_one_process(data, tmp_path, monkeypatch, capsys):
    """In this process; its signal handlers and its process group are as they were."""
    monkeypatch.setitem(distributed.NETWORKS, "tiny", Tiny)
    handler = signal.getsignal(signal.SIGTERM)
    assert main([str(data), "--network", "tiny", "--size", "16", "--batch-size", "8", "--epochs", "1", "--workers", "0",
                 "--runs", str(tmp_path)]) == 0
    assert "epoch 1/1: train" in capsys.readouterr().out
    assert result(tmp_path)["processes"] == 1
    assert signal.getsignal(signal.SIGTERM) == handler
    assert not torch.distributed.is_initialized()
