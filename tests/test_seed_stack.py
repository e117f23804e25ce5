"""Many seeds side by side: each one does what train() does with it alone, and none knows of the others."""

import importlib.util
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from interruption import stop_at_call
from torch import Tensor, nn

from attncourse import seed_stack, training
from attncourse.autoencoder import ConvAutoencoderAttention, LinearAutoencoderAttention
from attncourse.backbone import ReportCNN
from attncourse.bam import BAM
from attncourse.cam_sam import ChannelAttention, SpatialAttention
from attncourse.cbam import CBAM
from attncourse.datasets.images import ImageData, Split, digest
from attncourse.eca import ECA
from attncourse.hybrids import eca_autoencoder, eca_linear_autoencoder, eca_sam
from attncourse.se import SEBlock
from attncourse.seed_stack import SeedOrders, SeedScaler, SeedsDiverged, SeedStack, train_seeds
from attncourse.training import Evaluation, TrainConfig, crop_and_mirror, seeded, train

MAP_WIDTHS = (32, 30, 15, 13)
ATTENTION = {
    "plain": None, "SE": SEBlock, "CAM": ChannelAttention, "SAM": lambda channels: SpatialAttention(), "CBAM": CBAM,
    "BAM": BAM, "ECA": ECA, "autoencoder": ConvAutoencoderAttention,
    "linear autoencoder": [lambda channels, width=width: LinearAutoencoderAttention(width) for width in MAP_WIDTHS],
    "ECA, SAM": eca_sam, "ECA, autoencoder": eca_autoencoder,
    "ECA, linear autoencoder": [partial(eca_linear_autoencoder, width=width) for width in MAP_WIDTHS],
}


def noise(size: int, train: int = 20, rest: int = 8) -> ImageData:
    """Images of `size` pixels in two shades with much noise: training has something to find, and no split is easy."""
    generator = torch.Generator().manual_seed(0)

    def split(n):
        labels = torch.arange(n) % 2
        pixels = torch.randint(0, 216, (n, 3, size, size), generator=generator) + 40 * labels[:, None, None, None]
        return Split(pixels.to(torch.uint8), labels)

    splits = split(train), split(rest), split(rest)
    return ImageData("shades", ("dark", "light"), *splits, (0.4,) * 3, (0.2,) * 3, "made here", digest(*splits))


@pytest.fixture
def data() -> ImageData:
    return noise(8, train=130, rest=40)


def tiny() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4), nn.Dropout(0.1), nn.Flatten(),
                         nn.Linear(144, 2))


CONFIG = TrainConfig(epochs=3, batch_size=16, lr=0.05, dtype="float32")


def without_dropout(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.Dropout | nn.Dropout2d):
            module.p = 0.0
    return model


def figures(record) -> list:
    """All that a record says of the result."""
    return [*({key: value for key, value in epoch.items() if key != "seconds"} for epoch in record.epochs),
            record.best_epoch, record.test_loss, record.test_accuracy]


def alone(make, data, config, seed) -> tuple[training.TrainRecord, dict[str, Tensor]]:
    with seeded(seed):
        model = make()
    return train(model, data, replace(config, seed=seed), progress=False), model.state_dict()


@pytest.fixture
def double(monkeypatch):
    """Everything in float64, where rounding cannot hide or make a difference."""
    monkeypatch.setattr(Tensor, "float", Tensor.double)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


# ---- each seed does what it does alone ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ATTENTION)
def test_each_seed_is_trained_as_it_is_alone(double, name):
    """Two epochs, four steps: weights, running statistics and figures of every seed, with every kind of block."""
    data, config = noise(32), TrainConfig(epochs=2, batch_size=8, lr=0.02, augment=True, dtype="float32")

    def make():
        return without_dropout(ReportCNN(2, attention=ATTENTION[name], widths=(4, 6)))

    records, weights = train_seeds(make, data, config, [3, 5], progress=False)
    for seed, record, ours in zip((3, 5), records, weights, strict=True):
        expected, theirs = alone(make, data, config, seed)
        assert ours.keys() == theirs.keys()
        for key, value in theirs.items():
            torch.testing.assert_close(ours[key], value, rtol=1e-9, atol=1e-11, msg=key)
        assert figures(record)[-3:] == pytest.approx(figures(expected)[-3:], rel=1e-6)
        for mine, its in zip(record.epochs, expected.epochs, strict=True):
            assert mine | {"seconds": 0} == pytest.approx(its | {"seconds": 0}, rel=1e-6)


def test_records_say_what_train_says(data):
    records, weights = train_seeds(tiny, data, CONFIG, [4, 2], network="tiny", column="test", command="here",
                                   progress=False)
    expected, _ = alone(tiny, data, CONFIG, 2)
    record = records[1]
    assert (record.seed, record.network, record.column, record.command) == (2, "tiny", "test", "here")
    for name in ("parameters", "dataset_sha256", "images", "config", "complete", "device", "dtype", "versions"):
        assert getattr(record, name) == getattr(expected, name), name
    assert all(value.device.type == "cpu" for value in weights[1].values())


def test_the_seconds_of_all_seeds_add_up(data, monkeypatch):
    ticks = iter(range(100))
    monkeypatch.setattr(seed_stack.time, "perf_counter", lambda: float(next(ticks)))
    records, _ = train_seeds(tiny, data, replace(CONFIG, epochs=1), [0, 1, 2, 3], progress=False)
    assert next(ticks) == 4  # the start, the epoch's start and end, the end
    assert [record.wall_seconds for record in records] == [3 / 4] * 4
    assert records[0].epochs[0]["seconds"] == 1 / 4
    assert records[0].images_per_second == 128 * 4


def test_the_best_epoch_is_each_seeds_own(data, monkeypatch):
    """Validation says epoch 2 for the first seed and epoch 1 for the second."""
    scores = iter([0.5, 0.7, 0.8, 0.7, 0.6, 0.1, 0.25, 0.125])  # three epochs of two seeds, then the tests
    seen = []

    def scripted(model, split, normalise, dtype):
        seen.append(model[0].weight.detach().clone())
        return Evaluation(1.0, next(scores), 2)

    monkeypatch.setattr(seed_stack, "evaluate", scripted)
    records, weights = train_seeds(tiny, data, CONFIG, [0, 1], progress=False)
    assert [record.best_epoch for record in records] == [2, 1]  # of equal ones the first
    assert [record.test_accuracy for record in records] == [0.25, 0.125]
    for i, best in enumerate((seen[2], seen[1])):
        assert torch.equal(weights[i]["0.weight"], best)
        assert torch.equal(seen[6 + i], best)


def test_the_seeds_do_not_depend_on_each_other(double, data):
    """The same seed beside other seeds ends with the same weights, when there is no dropout."""
    make = partial(lambda: without_dropout(tiny()))
    _, first = train_seeds(make, data, CONFIG, [1, 2], progress=False)
    _, second = train_seeds(make, data, CONFIG, [7, 1, 9], progress=False)
    for key, value in first[0].items():
        torch.testing.assert_close(second[1][key], value, rtol=1e-9, atol=1e-11)


def test_gradients_do_not_mix():
    stack = SeedStack([tiny() for _ in range(3)])
    stack(torch.rand(3, 2, 3, 8, 8))[1].sum().backward()
    for parameter in stack.parameters():
        assert not parameter.grad[[0, 2]].any()
    assert stack.network[0].weight.grad[1].any()


def test_global_generator_is_left_alone(data):
    before = torch.get_rng_state()
    train_seeds(tiny, data, replace(CONFIG, epochs=1, augment=True), [0, 1], progress=False)
    assert torch.equal(torch.get_rng_state(), before)


def test_same_seeds_same_figures(data):
    first, _ = train_seeds(tiny, data, CONFIG, [0, 1], progress=False)
    torch.rand(7)  # the global generator's state must not matter
    second, _ = train_seeds(tiny, data, CONFIG, [0, 1], progress=False)
    assert [figures(record) for record in first] == [figures(record) for record in second]


@pytest.mark.parametrize("dropout", [nn.Dropout(0.25), nn.Dropout2d(0.25)], ids=["Dropout", "Dropout2d"])
def test_dropout_is_independent_between_seeds(dropout):
    """40,000 decisions a seed: rates and correlations stay within four standard errors."""
    stack = SeedStack([nn.Sequential(dropout) for _ in range(3)])
    kept = (stack(torch.ones(3, 200, 200, 1, 1)) != 0).double().flatten(1)  # (3, 40000)
    assert (kept.mean(1) - 0.75).abs().max() < 4 * (0.75 * 0.25 / 40000) ** 0.5
    correlations = torch.corrcoef(kept) - torch.eye(3)
    assert correlations.abs().max() < 4 / 40000 ** 0.5
    again = stack(torch.ones(3, 200, 200, 1, 1)).double().flatten(1)
    assert not torch.equal(kept, (again != 0).double())
    assert torch.equal(stack.eval()(torch.ones(3, 2, 2, 1, 1)), torch.ones(3, 2, 2, 1, 1))


def test_each_seed_has_the_data_order_and_crops_of_train():
    orders = SeedOrders([5, 6])
    permutations, x = orders.permutations(9), torch.randint(0, 256, (2, 4, 3, 6, 6))
    crops = orders.crop_and_mirror(x)
    for i, seed in enumerate((5, 6)):
        generator = torch.Generator().manual_seed(seed)
        assert torch.equal(permutations[i], torch.randperm(9, generator=generator))
        assert torch.equal(crops[i], crop_and_mirror(x[i], generator))


def test_the_stack_gives_each_network_back():
    models = [tiny() for _ in range(3)]
    stack = SeedStack(models)
    x = torch.rand(3, 5, 3, 8, 8)
    stack(x)  # moves the running statistics
    stack.eval()
    for i, model in enumerate(models):
        taken = stack.model_of(i)
        torch.testing.assert_close(taken(x[i]), stack(x)[i])
        assert torch.equal(taken[0].weight, model[0].weight)
        assert taken.state_dict().keys() == model.state_dict().keys()
        taken[0].weight.data.zero_()  # a copy
        assert stack.network[0].weight[i].any()


def test_the_rivals_of_the_benchmark_do_the_same_steps():
    """By hand with K groups, in float32: what `make bench PARTS=seeds` times has equal results."""
    file = Path(__file__).parent.parent / "tools" / "bench.py"
    spec = importlib.util.spec_from_file_location("bench", file)
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    assert bench.equal_engines(torch.device("cpu")) < 1e-4


# ---- lower precision ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ATTENTION)
def test_autocast_reaches_every_layer(name, dtype):
    """vmap alone would leave the convolutions in float32: the same dtypes and nearly the same values as one by one."""
    with seeded(0):
        models = [without_dropout(ReportCNN(2, attention=ATTENTION[name], widths=(4, 6))) for _ in range(2)]
        x = torch.randn(2, 16, 3, 32, 32)
    stack, dtypes = SeedStack(models), []
    for module in stack.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            module.register_forward_hook(lambda module, inputs, output: dtypes.append(output.dtype))
    with torch.autocast("cpu", dtype):
        y, expected = stack(x), torch.stack([model(images) for model, images in zip(models, x)])
    assert set(dtypes) == {dtype}
    assert y.dtype == expected.dtype == dtype
    difference = (y - expected).float().norm() / expected.float().norm()
    assert difference < 100 * torch.finfo(dtype).eps
    y.float().sum().backward()
    assert all(p.grad.dtype == torch.float32 for p in stack.parameters())


def test_float16_goes_through_its_own_scaler(data):
    config = replace(CONFIG, epochs=2, dtype="float16")
    make = partial(lambda: without_dropout(tiny()))
    records, _ = train_seeds(make, data, config, [0, 1], progress=False)
    for seed, record in zip((0, 1), records, strict=True):
        expected, _ = alone(make, data, config, seed)
        assert record.dtype == "float16"
        assert record.epochs[-1]["train_loss"] == pytest.approx(expected.epochs[-1]["train_loss"], rel=0.02)


def test_the_scaler_is_gradscaler_for_each_seed():
    """Seed 0 overflows in step 1, seed 1 in steps 2 and 3; the third never does and is due to grow in step 2."""
    raw = torch.tensor([[0.5, 1.0, 2.0], [torch.inf, 1.0, 2.0], [0.5, torch.nan, 2.0], [0.5, torch.inf, 2.0]])
    ours = SeedScaler(3, torch.device("cpu"))
    ours.load_state_dict({"scale": [2.0 ** 16] * 3, "finite_steps": [0, 0, 1997]})
    for i, start in enumerate((0, 0, 1997)):
        weight = nn.Parameter(torch.zeros(2))
        optimizer = torch.optim.SGD([weight], lr=1.0)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0 ** 16)
        scaler.load_state_dict(scaler.state_dict() | {"_growth_tracker": start})
        scaler.scale(torch.zeros(1))
        for gradient in raw[:, i]:
            weight.grad = torch.stack([gradient, torch.tensor(1.0)]) * scaler.get_scale()
            scaler.step(optimizer)
            scaler.update()
        if i == 0:
            mine, total = [], torch.zeros(3, 2)
            for gradients in raw:
                scaled = torch.stack([gradients, torch.ones(3)], 1) * ours.scale[:, None]
                ours.unscale([scaled])
                total -= scaled
                mine.append(ours.scale)
        assert ours.scale[i] == scaler.get_scale()
        assert ours.finite_steps[i] == scaler._get_growth_tracker()
        torch.testing.assert_close(total[i], weight.detach())
    assert ours.scale.tolist() == [2.0 ** 15, 2.0 ** 14, 2.0 ** 17]


# ---- when something goes wrong --------------------------------------------------------------------------------------


def overflowing(*which: int):
    """Makes networks of which some, by the order of making, overflow in their first step."""
    made = []

    def make():
        made.append(tiny())
        if len(made) - 1 in which:
            made[-1][5].weight.data *= 1e38
        return made[-1]

    return make


def test_a_diverging_seed_does_not_disturb_the_others(data):
    with pytest.raises(SeedsDiverged, match=r"no longer finite for seed 4 in epoch 1: try a smaller lr than 0\.05 "
                                            r"\(the other 2 of 3 seeds are not affected\)") as error:
        train_seeds(overflowing(1), data, CONFIG, [3, 4, 5], progress=False)
    assert isinstance(error.value, FloatingPointError)
    records, weights = train_seeds(tiny, data, CONFIG, [3, 4, 5], progress=False)
    assert error.value.seeds == [4]
    assert [record.seed for record in error.value.records] == [3, 5]
    for i, j in ((0, 0), (1, 2)):
        assert figures(error.value.records[i]) == figures(records[j])
        assert all(torch.equal(value, weights[j][key]) for key, value in error.value.weights[i].items())
    assert all(record.complete for record in error.value.records)


def test_when_all_diverge_the_training_ends(data, monkeypatch):
    epochs = []
    real = seed_stack.train_epoch_of_seeds
    monkeypatch.setattr(seed_stack, "train_epoch_of_seeds", lambda *given: epochs.append(1) or real(*given))
    with pytest.raises(FloatingPointError, match="seed 0 in epoch 1, seed 1 in epoch 1") as error:
        train_seeds(tiny, data, replace(CONFIG, lr=1e20), [0, 1], progress=False)
    assert len(epochs) == 1
    assert error.value.records == error.value.weights == []


def test_an_interrupted_run_keeps_its_finished_epochs(data, monkeypatch, capsys):
    stop_at_call(monkeypatch, seed_stack, "train_epoch_of_seeds", 3)
    records, _ = train_seeds(tiny, data, CONFIG, [0, 1])
    assert [(record.complete, len(record.epochs)) for record in records] == [(False, 2)] * 2
    output = capsys.readouterr().out
    assert "epoch 2/3: train " in output
    assert "2 seeds" in output
    assert "kept the finished epochs" in output


def test_interrupted_before_the_first_epoch(data, monkeypatch):
    stop_at_call(monkeypatch, seed_stack, "train_epoch_of_seeds", 1)
    with pytest.raises(KeyboardInterrupt):
        train_seeds(tiny, data, CONFIG, [0, 1], progress=False)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_stopped_run_goes_on_as_if_it_never_stopped(data, monkeypatch, tmp_path, dtype):
    """With dropout and augmentation, and a seed that has diverged before."""
    config, path = replace(CONFIG, augment=True, dtype=dtype), tmp_path / "run.checkpoint"
    with pytest.raises(SeedsDiverged) as never_stopped:
        train_seeds(overflowing(2), data, config, [6, 7, 8], progress=False)
    with monkeypatch.context() as patch:
        stop_at_call(patch, seed_stack, "train_epoch_of_seeds", 2)
        with pytest.raises(SeedsDiverged):
            train_seeds(overflowing(2), data, config, [6, 7, 8], progress=False, checkpoint=path)
    with pytest.raises(SeedsDiverged, match="seed 8 in epoch 1") as resumed:
        train_seeds(overflowing(2), data, config, [6, 7, 8], progress=False, checkpoint=path)
    for mine, other in zip(resumed.value.records, never_stopped.value.records, strict=True):
        assert figures(mine) == figures(other)
    for mine, other in zip(resumed.value.weights, never_stopped.value.weights, strict=True):
        assert all(torch.equal(value, other[key]) for key, value in mine.items())


def test_the_best_weights_of_each_seed_survive_a_stop(data, monkeypatch, tmp_path):
    """Validation says epoch 1, the run is stopped in epoch 2."""
    _, first_epoch = train_seeds(tiny, data, replace(CONFIG, epochs=1), [6, 7], progress=False)
    scores = iter([0.9, 0.9, *[0.1] * 10])
    monkeypatch.setattr(seed_stack, "evaluate", lambda *given: Evaluation(1.0, next(scores), 2))
    path = tmp_path / "run.checkpoint"
    with monkeypatch.context() as patch:
        stop_at_call(patch, seed_stack, "train_epoch_of_seeds", 2)
        train_seeds(tiny, data, CONFIG, [6, 7], progress=False, checkpoint=path)
    records, weights = train_seeds(tiny, data, CONFIG, [6, 7], progress=False, checkpoint=path)
    assert [(record.best_epoch, record.complete) for record in records] == [(1, True)] * 2
    for mine, expected in zip(weights, first_epoch, strict=True):
        assert all(torch.equal(mine[key], value) for key, value in expected.items())


def test_a_checkpoint_of_other_seeds_is_refused(data, tmp_path):
    path = tmp_path / "run.checkpoint"
    train_seeds(tiny, data, replace(CONFIG, epochs=1), [0, 1], progress=False, checkpoint=path)
    with pytest.raises(ValueError, match=r"belongs to another run \(seeds differ\)"):
        train_seeds(tiny, data, replace(CONFIG, epochs=1), [0, 2], progress=False, checkpoint=path)


@pytest.mark.parametrize(("seeds", "message"), [([], "give at least one seed"),
                                                ([1, 2, 1], "seed 1 is there more than once")])
def test_bad_seeds(data, seeds, message):
    with pytest.raises(ValueError, match=message):
        train_seeds(tiny, data, CONFIG, seeds)


def test_after_each_epoch_the_caller_is_told(data, tmp_path):
    path, told = tmp_path / "run.checkpoint", []
    train_seeds(tiny, data, CONFIG, [0, 1], progress=False, checkpoint=path,
                after_epoch=lambda: told.append(path.stat().st_mtime_ns))
    assert len(set(told)) == 3


def test_too_few_images(data):
    with pytest.raises(ValueError, match="130 training images do not fill a batch of 512"):
        train_seeds(tiny, data, TrainConfig(batch_size=512), [0])


class Counter(nn.Module):
    """Holds a buffer of a length of its own."""

    def __init__(self, length: int):
        super().__init__()
        self.register_buffer("seen", torch.zeros(length))


@pytest.mark.parametrize(("models", "message"), [
    ([], "give at least one model"),
    ([nn.Linear(3, 2), nn.Linear(4, 2)], r"models 0 and 1 cannot be stacked: weight is .*\(2, 3\).* and .*\(2, 4\)"),
    ([nn.Linear(3, 2), nn.Linear(3, 2), nn.Linear(3, 2).double()], "models 0 and 2 cannot be stacked: .*float64"),
    ([nn.Linear(3, 2), nn.Linear(3, 2, bias=False)], "models 0 and 1 .* only one of them has bias"),
    ([Counter(3), Counter(4)], r"models 0 and 1 cannot be stacked: seen is .*\(3,\).* and .*\(4,\)"),
    ([nn.MaxPool2d(2), nn.AvgPool2d(2)], "models 0 and 1 are built differently"),
    ([nn.Dropout(0.1), nn.Dropout(0.2)], "models 0 and 1 are built differently"),
    ([nn.Linear(3, 2), nn.Linear(3, 2).eval()], "models 0 and 1 differ in their mode"),
])
def test_models_that_cannot_be_stacked(models, message):
    with pytest.raises(ValueError, match=message) as error:
        SeedStack(models)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (3, 5, 3, 8, 8)])
def test_images_for_another_number_of_seeds(shape):
    with pytest.raises(ValueError, match=r"expected images \(K, B, 3, H, W\) for K = 2 seeds"):
        SeedStack([tiny(), tiny()])(torch.zeros(shape))


# ---- memory ---------------------------------------------------------------------------------------------------------


def test_what_is_kept_for_the_backward_pass():
    """By hand: the convolution keeps its input; the ReLU its output, which the linear layer keeps, too."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    kept = seed_stack.kept_for_backward(model, torch.rand(5, 3, 8, 8))
    assert kept == 4 * 5 * (3 * 8 * 8 + 4 * 6 * 6)
    weights = 4 * sum(p.numel() for p in model.parameters())
    assert seed_stack.memory_of_a_seed(model, torch.rand(5, 3, 8, 8)) == 3 * weights + 2 * kept


def test_measuring_leaves_the_model_alone():
    model = tiny()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    seed_stack.kept_for_backward(model, torch.rand(5, 3, 8, 8))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_too_many_seeds_for_the_memory(data, monkeypatch):
    with seeded(0):
        each = seed_stack.memory_of_a_seed(tiny(), torch.rand(16, 3, 8, 8))
    monkeypatch.setattr(seed_stack, "free_memory", lambda device: 2.5 * each)
    with pytest.raises(ValueError, match=r"3 seeds side by side need about .* GB are free: 2 fit"):
        train_seeds(tiny, data, CONFIG, [0, 1, 2], progress=False)
    assert len(train_seeds(tiny, data, replace(CONFIG, epochs=1), [0, 1], progress=False)[0]) == 2


def test_free_memory(monkeypatch, tmp_path):
    table = tmp_path / "meminfo"
    table.write_text("MemTotal:  100 kB\nMemAvailable:   50 kB\n")
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "cgroup").write_text("4:memory:/old\n")
    monkeypatch.setattr(seed_stack, "PROC", tmp_path)
    monkeypatch.setattr(seed_stack, "CONTROL_GROUPS", tmp_path / "groups")
    assert seed_stack.free_memory(torch.device("cpu")) == 50 * 1024
    assert seed_stack.free_memory(torch.device("mps")) == float("inf")
    table.unlink()
    assert seed_stack.free_memory(torch.device("cpu")) == float("inf")
    for name, value in (("mem_get_info", (700, 1000)), ("memory_reserved", 90), ("memory_allocated", 40)):
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    assert seed_stack.free_memory(torch.device("cuda")) == 750


def test_a_container_may_have_less_memory_than_its_machine(monkeypatch, tmp_path):
    (tmp_path / "meminfo").write_text("MemAvailable:   50 kB\n")
    job = tmp_path / "groups" / "job_1"
    for folder in (tmp_path / "self", job / "task_0"):
        folder.mkdir(parents=True)
    (tmp_path / "self" / "cgroup").write_text("9:name=systemd:/\n0::/job_1/task_0\n")
    for name, content in (("max", "30000\n"), ("current", "25000\n"), ("stat", "file 9000\ninactive_file 4000\n")):
        (job / f"memory.{name}").write_text(content)
    (job / "task_0" / "memory.max").write_text("max\n")
    monkeypatch.setattr(seed_stack, "PROC", tmp_path)
    monkeypatch.setattr(seed_stack, "CONTROL_GROUPS", tmp_path / "groups")
    assert seed_stack.free_memory(torch.device("cpu")) == 30_000 - 25_000 + 4_000
    (job / "memory.max").write_text("90000\n")
    assert seed_stack.free_memory(torch.device("cpu")) == 50 * 1024
