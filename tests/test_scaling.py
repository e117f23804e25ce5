"""What chapter 15 counts with: operations, FLOPs and bytes of a computation, and a machine's three limits."""

import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from attncourse import roofline
from attncourse.backbone import ReportCNN
from attncourse.eca import ECA
from attncourse.roofline import Machine, Operation, measure_machine, operations, seconds_per_call
from attncourse.se import SEBlock

# ---- a machine ------------------------------------------------------------------------------------------------------

MACHINE = Machine("made up", launch=2.0, bandwidth=10.0, rate=100.0)


@pytest.mark.parametrize(("flops", "moved", "seconds", "limit"), [
    (0, 0, 2.0, "launch"), (199, 19, 2.0, "launch"), (0, 50, 5.0, "memory"), (499, 50, 5.0, "memory"),
    (1000, 50, 10.0, "compute"), (1000, 0, 10.0, "compute"),
])
def test_the_longest_limit_holds_an_operation_up(flops, moved, seconds, limit):
    operation = Operation("example", flops, moved)
    assert MACHINE.seconds(operation) == seconds
    assert MACHINE.limit(operation) == limit
    assert MACHINE.times(operation) == {"launch": 2.0, "memory": moved / 10, "compute": flops / 100}


# ---- what an operation is -------------------------------------------------------------------------------------------


def only(function) -> Operation:
    (operation,) = operations(function)
    return operation


@settings(deadline=None)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(3, 6), st.integers(3, 6))
def test_a_convolution(B, C, O, H, W):  # noqa: E741
    x, weight = torch.ones(B, C, H, W), torch.ones(O, C, 3, 3)
    flops = sum(2 for _ in range(B * O * (H - 2) * (W - 2)) for _ in range(C * 3 * 3))  # one by one
    assert only(lambda: F.conv2d(x, weight)) == ("convolution", flops,
                                                 4 * (x.numel() + weight.numel() + B * O * (H - 2) * (W - 2)))


@settings(deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 5))
def test_a_matrix_product(n, m, k):
    a, b = torch.ones(n, m), torch.ones(m, k)
    assert only(lambda: a @ b) == ("mm", 2 * n * m * k, 4 * (n * m + m * k + n * k))


def test_an_elementwise_operation_moves_bytes_and_has_no_flops_that_are_counted():
    x = torch.ones(3, 5, dtype=torch.float64)
    assert only(lambda: x.relu()) == ("relu", 0, 8 * 30)
    assert only(lambda: x.half()) == ("_to_copy", 0, 8 * 15 + 2 * 15)


def test_in_place_reads_and_writes_the_same_place():
    x = torch.ones(10)
    assert only(lambda: x.relu_()) == ("relu_", 0, 80)


def test_one_operation_on_a_list_of_tensors_reads_and_writes_all_of_them():
    weights, gradients = [torch.ones(3), torch.ones(4, 5)], [torch.ones(3), torch.ones(4, 5)]
    assert only(lambda: torch._foreach_add_(weights, gradients, alpha=-0.1)) == ("_foreach_add_", 0, 3 * 4 * 23)


def test_an_optimizer_with_foreach_takes_all_weights_in_one_operation():
    def steps(foreach):
        model = nn.Linear(3, 2)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, foreach=foreach)
        model(torch.ones(1, 3)).sum().backward()
        return [op for op in operations(optimizer.step) if "add_" in op.name]

    one_by_one, together = steps(False), steps(True)
    assert (len(one_by_one), len(together)) == (2, 1)
    assert sum(op.bytes for op in one_by_one) == together[0].bytes == 3 * 4 * 8


@pytest.mark.parametrize("view", [
    lambda x: x.view(6), lambda x: x.T, lambda x: x[0], lambda x: x.detach(), lambda x: x.expand(4, 2, 3),
    lambda x: torch.empty(9), lambda x: torch.empty_like(x), lambda x: x.new_empty(3),
])
def test_views_and_reservations_are_nothing(view):
    x = torch.ones(2, 3)
    assert operations(lambda: view(x)) == []


def test_an_expanded_tensor_is_read_once():
    one, x = torch.ones(1), torch.ones(1000)
    assert only(lambda: x * one.expand(1000)).bytes == 4 * (1000 + 1 + 1000)


def test_two_outputs_are_both_written():
    x = torch.ones(1, 1, 4, 4)
    operation = only(lambda: F.max_pool2d(x, 2, return_indices=True))
    assert operation.bytes == 4 * 16 + 4 * 4 + 8 * 4  # indices are int64


def test_the_backward_pass_is_recorded_too():
    x, weight = torch.ones(2, 3, requires_grad=True), torch.ones(4, 3, requires_grad=True)
    listed = operations(lambda: F.linear(x, weight).sum().backward())
    assert sum(op.flops for op in listed) == 3 * 2 * 2 * 3 * 4
    assert [op.name for op in listed].count("mm") == 3


def test_flops_agree_with_pytorchs_counter():
    model, x = ReportCNN(attention=SEBlock), torch.ones(2, 3, 32, 32)
    with FlopCounterMode(display=False) as counter:
        model(x).sum().backward()
    assert sum(op.flops for op in operations(lambda: model(x).sum().backward())) == counter.get_total_flops()


def test_recording_changes_no_result():
    model, x, results = ReportCNN().eval(), torch.ones(1, 3, 32, 32), []
    operations(lambda: results.append(model(x)))
    assert torch.equal(results[0], model(x))


def test_it_stops_recording():
    with roofline.Recorder() as recorder:
        torch.ones(3).relu()
    count = len(recorder.operations)
    torch.ones(3).relu()
    assert len(recorder.operations) == count == 2  # ones, relu


# ---- what the chapter says ------------------------------------------------------------------------------------------


def test_eca_moves_the_map_three_times_whatever_its_weights():
    x = torch.ones(4, 64, 30, 30)
    for kernel_size in (3, 9):
        moved = sum(op.bytes for op in operations(lambda: ECA(64, kernel_size)(x)))  # noqa: B023
        assert moved / x.nbytes == pytest.approx(3, abs=0.02)
    assert sum(op.bytes for op in operations(x.relu)) / x.nbytes == 2


def test_a_training_image_of_the_cnn_costs_three_forward_passes_less_the_first_layers_input():
    forward = 2 * (64 * 32 * 32 * 27 + 64 * 30 * 30 * 576 + 128 * 15 * 15 * 576 + 128 * 13 * 13 * 1152
                   + 4608 * 512 + 512 * 10)
    assert forward == 157_640_704
    model, x = ReportCNN(), torch.ones(2, 3, 32, 32)
    listed = operations(lambda: model(x).sum().backward())
    assert sum(op.flops for op in listed) == 2 * (3 * forward - 2 * 64 * 32 * 32 * 27)


def test_seeds_side_by_side_save_starts_and_nothing_else():
    x, weight = torch.ones(3, 4, 5), torch.ones(3, 6, 5)
    loop = operations(lambda: [x[k] @ weight[k].T for k in range(3)])
    together = operations(lambda: x @ weight.mT)
    assert (len(loop), len(together)) == (3, 1)
    assert sum(op.flops for op in loop) == together[0].flops
    assert sum(op.bytes for op in loop) == together[0].bytes


def test_a_larger_batch_raises_the_intensity():
    linear = nn.Linear(512, 512)
    small, large = (only(lambda: linear(batch)) for batch in (torch.ones(1, 512), torch.ones(64, 512)))  # noqa: B023
    assert large.flops / large.bytes > 20 * small.flops / small.bytes


# ---- measuring ------------------------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still but for what a test adds to it."""
    now = [0.0]
    monkeypatch.setattr(roofline.time, "perf_counter", lambda: now[0])
    return now


def test_the_best_sample_counts(clock):
    calls = []

    def function():
        calls.append(1)
        clock[0] += 0.001 if len(calls) % 20 else 0.5  # now and then something else has the processor

    assert seconds_per_call(function, torch.device("cpu")) == pytest.approx(0.001)


def test_a_long_call_is_not_repeated_within_a_sample(clock):
    calls = []

    def function():
        calls.append(1)
        clock[0] += 1.0

    assert seconds_per_call(function, torch.device("cpu"), samples=3) == 1.0
    assert len(calls) == 1 + 1 + 3  # to allocate, to find the number of calls, the samples


def test_a_machines_figures_are_what_was_done_over_the_time(monkeypatch):
    asked = []

    def half_a_second(function, device):
        function()  # it works
        asked.append(device)
        return 0.5

    monkeypatch.setattr(roofline, "seconds_per_call", half_a_second)
    machine = measure_machine("mine", torch.device("cpu"), size=8, numbers=100)
    assert machine == Machine("mine", 0.5, 2 * 400 / 0.5, 2 * 512 / 0.5)
    assert asked == [torch.device("cpu")] * 3


def test_it_measures_this_machine_in_a_moment():
    start = time.perf_counter()
    machine = measure_machine("here", torch.device("cpu"), size=64, numbers=2 ** 16)
    assert time.perf_counter() - start < 20
    assert 0 < machine.launch < 0.01
    assert machine.rate > 1e6
    assert machine.bandwidth > 1e6


def test_a_tensor_that_is_there_twice_is_read_once():
    x = torch.ones(10)
    (twice,) = operations(lambda: x * x)
    assert twice.bytes == 40 + 40
