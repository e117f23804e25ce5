"""Compare how long two pieces of code take, on a machine that others use too.

Shared machines slow down and recover within seconds, so the two sides alternate and only their ratio is reported.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Ratio:
    """How many times longer one side takes than the other: median over samples, and the middle half of them."""

    median: float
    low: float  # first quartile
    high: float  # third quartile

    def __str__(self) -> str:
        return f"{self.median:.2f} (middle half of samples {self.low:.2f} to {self.high:.2f})"


def time_ratio(this: Callable[[], object], other: Callable[[], object], seconds: float = 2, samples: int = 9) -> Ratio:
    """Time of `this` over time of `other`; each sample runs both, in turn, until `seconds` have passed.

    Args:
        this, other: called without arguments; CUDA work that they start is waited for.
        seconds: length of one sample. Below about 2 s the figures jump on a shared machine.
        samples: how many, at least 2.
    """
    sides = (this, other)
    for side in sides:
        clock(side)  # the first call allocates and compiles
    ratios = []
    for _ in range(samples):
        totals, turn = [0.0, 0.0], 0
        while sum(totals) < seconds:
            for i in ((0, 1) if turn % 2 == 0 else (1, 0)):
                totals[i] += clock(sides[i])
            turn += 1
        ratios.append(totals[0] / totals[1])
    low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return Ratio(median, low, high)


def clock(side: Callable[[], object]) -> float:
    """Seconds that one call takes."""
    start = time.perf_counter()
    side()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start
