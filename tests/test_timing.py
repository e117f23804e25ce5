"""The ratio of two times, with a clock that the test turns."""

import pytest

from attncourse import timing
from attncourse.timing import time_ratio


@pytest.fixture
def clock(monkeypatch):
    """Time passes only when a test says so."""
    now = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])

    def work(seconds):
        now[0] += seconds

    return work


def test_ratio_and_alternation(clock):
    order = []

    def slow():
        order.append("slow")
        clock(0.75)

    def fast():
        order.append("fast")
        clock(0.25)

    ratio = time_ratio(slow, fast, seconds=2, samples=3)
    assert (ratio.median, ratio.low, ratio.high) == pytest.approx((3, 3, 3))
    assert order == ["slow", "fast", *["slow", "fast", "fast", "slow"] * 3]
    assert str(ratio) == "3.00 (middle half of samples 3.00 to 3.00)"


def test_one_slow_moment_does_not_move_the_median(clock):
    calls = []

    def side():
        calls.append(1)
        clock(9 if len(calls) == 5 else 1)  # the machine is busy once

    assert time_ratio(side, lambda: clock(1), seconds=2, samples=5).median == pytest.approx(1)
