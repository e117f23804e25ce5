"""The report's table in three columns (as reported, as coded, as described), and what its numbers can tell apart.

    python -m attncourse.report_table

prints the table of the stored records; ``--records runs/cifar10.jsonl`` that of your own runs.
"""

import argparse
import math
import statistics
import sys
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from scipy import stats
from scipy.optimize import brentq

from attncourse.record_file import read_records
from attncourse.reported import REPORTED, RUNS
from attncourse.results import RECORDS
from attncourse.sweep import exit_code
from attncourse.training import TrainRecord

COLUMNS = ("as coded", "as described")  # of ours
LEVEL = 0.05  # a two-sided test's chance to see a difference where there is none


class Interval(NamedTuple):
    """A mean and where its true value lies, with the chosen confidence."""

    mean: float
    low: float
    high: float


def interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """The mean of independent runs and its confidence interval, by Student's t.

    Raises:
        ValueError: if there are fewer than two values: one run says nothing of the spread.
    """
    check_number_of_runs(len(values))
    return interval_of(statistics.mean(values), statistics.stdev(values), len(values), confidence)


def interval_of(mean: float, std: float, runs: int, confidence: float = 0.95) -> Interval:
    """The same from the mean and the standard deviation over the runs.

    Raises:
        ValueError: if there are fewer than two runs.
    """
    check_number_of_runs(runs)
    half = float(stats.t.ppf((1 + confidence) / 2, runs - 1)) * std / math.sqrt(runs)
    return Interval(mean, mean - half, mean + half)


def check_number_of_runs(runs: int) -> None:
    if runs < 2:
        raise ValueError(f"an interval needs at least two runs, got {runs}")


def paired_difference(ours: Mapping[int, float], other: Mapping[int, float], confidence: float = 0.95) -> Interval:
    """How much more `ours` has than `other`, run by run of the same seed; and the interval of the mean difference.

    Runs of one seed see the images in the same order, and start from the same backbone where both have it (the network
    whose three stages run and the widened one do not). What that does to both alike is not in their difference.

    Args:
        ours, other: seed -> accuracy. Seeds that only one of them has are left out.

    Raises:
        ValueError: if they share fewer than two seeds.
    """
    return interval([ours[seed] - other[seed] for seed in ours if seed in other], confidence)


def smallest_difference(std: float, runs: int, power: float = 0.8, paired: bool = False) -> float:
    """The smallest true difference that a two-sided 5 % t-test finds, with the right sign, with this probability.

    Args:
        std: standard deviation over the runs of one network; if paired, of the differences by seed.
        runs: of each network, at least 2.
        power: probability to find it, from 0.05 to below 1.

    Raises:
        ValueError: if an argument is out of its range.
    """
    if std <= 0 or runs < 2 or not LEVEL <= power < 1:
        raise ValueError(f"std must be above 0, runs at least 2 and power from {LEVEL} to below 1, "
                         f"got {std}, {runs} and {power}")
    freedom = runs - 1 if paired else 2 * (runs - 1)
    error = std * math.sqrt((1 if paired else 2) / runs)  # standard error of the difference of the means
    critical = stats.t.ppf(1 - LEVEL / 2, freedom)

    def found(size: float) -> float:  # P(t > critical) for a true difference of size standard errors
        return stats.nct.sf(critical, freedom, size)

    most = 1.0
    while found(most) < power:
        most *= 2
    return error * brentq(lambda size: found(size) - power, 0, most)


def runs_needed(difference: float, std: float, power: float = 0.8, paired: bool = False) -> int:
    """How many runs of each network show a true difference of this size; arguments as in ``smallest_difference``.

    Raises:
        ValueError: if an argument is out of its range.
    """
    if difference <= 0:
        raise ValueError(f"the difference must be above 0, got {difference}")
    enough = 2
    while smallest_difference(std, enough, power, paired) > difference:
        enough *= 2
    return bisect_left(range(enough), -difference, lo=max(2, enough // 2),
                       key=lambda runs: -smallest_difference(std, runs, power, paired))


def accuracies(records: Sequence[TrainRecord], network: str, column: str) -> dict[int, float]:
    """Test accuracy by seed."""
    return {record.seed: record.test_accuracy for record in records
            if (record.network, record.column) == (network, column)}


def table(records: Sequence[TrainRecord]) -> str:
    """The three columns and the gap between the last two as text, with what the runs have in common.

    Raises:
        ValueError: if runs of other images or of another protocol are mixed, or a run is there twice.
    """
    used = [record for record in records if record.network in REPORTED and record.column in COLUMNS]
    if len({(record.dataset_sha256, str(record.config | {"seed": None})) for record in used}) > 1:
        raise ValueError("these runs are of different images or by different protocols: give a file with one of them")
    if twice := [name for name, times in Counter(record.name for record in used).items() if times > 1]:
        raise ValueError(f"{twice[0]} is there twice: remove one of its lines")
    lines = [f"{'network':26} as reported  {'as coded':15} {'as described':15} gap"]
    for network, reported in REPORTED.items():
        coded, described = (accuracies(records, network, column) for column in COLUMNS)
        gap = {seed: described[seed] - coded[seed] for seed in described if seed in coded}
        lines.append(f"{network:26} {100 * reported.mean:.1f} ± {100 * reported.std:.1f}   {cell(coded):15} "
                     f"{cell(described):15} {cell(gap, sign='+')}")
    lines.append(f"test accuracy in %: mean ± standard deviation (runs); reported: {RUNS} runs each")
    lines.append("gap: described minus coded, over the seeds that both have; –: no run yet")
    runs = [len(accuracies(used, network, column)) for network in REPORTED for column in COLUMNS]
    if min(runs) < RUNS:
        lines.append(f"PARTIAL: {min(runs)} to {max(runs)} of {RUNS} runs of a network")
    return "\n".join(lines + sorted({f"{r.dataset}, {r.device}, {r.dtype}, torch {r.versions['torch']}" for r in used}))


def cell(by_seed: Mapping[int, float], sign: str = "") -> str:
    values = [100 * value for value in by_seed.values()]
    if not values:
        return "–"
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):{sign}.1f}{spread} ({len(values)})"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m attncourse.report_table", description=__doc__.split("\n\n")[0])
    parser.add_argument("--records", type=Path, default=RECORDS, help="default: the stored records")
    options = parser.parse_args(arguments)
    if not options.records.exists():
        parser.error(f"there is no file {options.records}")
    return exit_code(lambda: print(table(read_records(options.records))))


if __name__ == "__main__":
    sys.exit(main())
