"""What the table says, and what its numbers can tell apart: against a library, by hand, and by simulation."""

import math
import statistics
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from test_results import STORED

from attncourse import report_table
from attncourse.as_coded import AS_CODED
from attncourse.as_described import AS_DESCRIBED
from attncourse.record_file import append_records
from attncourse.report_table import (
    REPORTED,
    accuracies,
    interval,
    interval_of,
    main,
    paired_difference,
    runs_needed,
    smallest_difference,
    table,
)


def test_every_row_has_a_network_in_both_columns():
    assert set(REPORTED) == set(AS_CODED)
    assert set(REPORTED) <= set(AS_DESCRIBED)


@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_interval_against_scipy(confidence):
    values = [0.66, 0.68, 0.71, 0.67, 0.69]
    mean, low, high = interval(values, confidence)
    expected = stats.t.interval(confidence, len(values) - 1, np.mean(values), stats.sem(values))
    assert mean == pytest.approx(np.mean(values))
    assert (low, high) == pytest.approx(expected)
    assert interval_of(mean, statistics.stdev(values), 5, confidence) == pytest.approx((mean, low, high))


def test_an_interval_holds_the_truth_as_often_as_it_says():
    generator = torch.Generator().manual_seed(0)
    held = [low < 0.7 < high for _, low, high in (interval((0.7 + 0.02 * torch.randn(4, generator=generator)).tolist())
                                                  for _ in range(2000))]
    assert statistics.mean(held) == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize("values", [[], [0.7]])
def test_one_run_has_no_interval(values):
    with pytest.raises(ValueError, match=f"at least two runs, got {len(values)}"):
        interval(values)
    with pytest.raises(ValueError, match=f"at least two runs, got {len(values)}"):
        interval_of(0.7, 0.02, len(values))


def test_a_paired_difference_is_taken_seed_by_seed():
    ours, other = {0: 0.70, 1: 0.74, 2: 0.72, 7: 0.1}, {2: 0.71, 0: 0.69, 1: 0.73, 8: 0.9}
    mean, low, high = paired_difference(ours, other)
    assert (mean, low, high) == pytest.approx((0.01, 0.01, 0.01))  # every seed gains one point, whatever its luck
    expected = stats.ttest_rel([0.70, 0.75, 0.72], [0.69, 0.73, 0.71]).confidence_interval()
    assert paired_difference({0: 0.70, 1: 0.75, 2: 0.72}, other)[1:] == pytest.approx((expected.low, expected.high))
    with pytest.raises(ValueError, match="at least two runs, got 1"):
        paired_difference({0: 0.7, 3: 0.7}, {0: 0.6})


@pytest.mark.parametrize(("runs", "paired"), [(3, False), (16, False), (16, True), (5, True)])
def test_the_smallest_difference_is_found_as_often_as_it_says(runs, paired):
    """Simulated experiments with exactly that difference."""
    std, power = 0.02, 0.8
    difference = smallest_difference(std, runs, power, paired)
    generator = np.random.default_rng(0)
    ours, other = generator.normal(difference, std, (20_000, runs)), generator.normal(0, std, (20_000, runs))
    test = stats.ttest_1samp(ours, 0, axis=1) if paired else stats.ttest_ind(ours, other, axis=1)
    assert np.mean((test.pvalue < 0.05) & (test.statistic > 0)) == pytest.approx(power, abs=0.01)


def test_more_runs_and_less_power_see_smaller_differences():
    assert smallest_difference(0.02, 32) < smallest_difference(0.02, 16) < smallest_difference(0.02, 16, power=0.9)
    assert smallest_difference(0.04, 16) == pytest.approx(2 * smallest_difference(0.02, 16))
    assert smallest_difference(0.02, 2) > 0.1
    assert smallest_difference(0.02, 10_000) == pytest.approx((1.96 + 0.8416) * 0.02 * math.sqrt(2 / 10_000), rel=1e-3)


@pytest.mark.parametrize("power", [0.5, 0.8, 0.95])
@pytest.mark.parametrize("paired", [False, True])
def test_runs_needed_is_the_first_number_that_is_enough(paired, power):
    runs = runs_needed(0.015, 0.02, power, paired)
    below, above = (smallest_difference(0.02, n, power, paired) for n in (runs, runs - 1))
    assert below <= 0.015 < above


def test_the_table_against_a_computation_by_hand():
    text = table(STORED)
    (line,) = (line for line in text.splitlines() if line.startswith("cnn "))
    described = [100 * value for value in accuracies(STORED, "cnn", "as described").values()]
    assert f"{statistics.mean(described):.1f} ± {statistics.stdev(described):.1f} ({len(described)})" in line
    assert "66.7 ± 1.8" in line
    for record in STORED:
        assert record.versions["torch"] in text
        assert record.device in text


def test_the_gap_is_described_minus_coded():
    def run(column, seed, accuracy):
        return replace(STORED[0], network="cnn", column=column, seed=seed, test_accuracy=accuracy)

    text = table([run("as coded", 0, 0.66), run("as coded", 1, 0.67), run("as described", 1, 0.76),
                  run("as described", 0, 0.74), run("as described", 2, 0.1), run("own run", 0, 0.9)])
    (line,) = (line for line in text.splitlines() if line.startswith("cnn "))
    assert line.endswith("+8.5 ± 0.7 (2)")
    assert "PARTIAL: 0 to 3 of 16 runs of a network" in text


@pytest.mark.parametrize("arguments", [(0.02, 1), (0, 16), (-0.1, 16), (0.02, 16, 1.0), (0.02, 16, 0.01)])
def test_what_no_study_can_be(arguments):
    with pytest.raises(ValueError, match=r"std must be above 0, runs at least 2 and power from 0\.05"):
        smallest_difference(*arguments)
    with pytest.raises(ValueError, match="must be above 0"):
        runs_needed(0, 0.02)


def test_very_small_studies_and_very_small_differences():
    assert smallest_difference(0.02, 2, power=0.99, paired=True) > smallest_difference(0.02, 2, paired=True) > 0.2
    assert runs_needed(10, 0.02) == 2
    assert runs_needed(0.0005, 0.02) == pytest.approx(2 * (2.802 * 0.02 / 0.0005) ** 2, rel=1e-3)


def test_a_column_without_runs_says_so_and_one_run_has_no_spread():
    (one,) = (record for record in STORED if record.name == "cifar10-as-described-cnn+eca-seed0")
    lines = table([one]).splitlines()
    (line,) = (line for line in lines if line.startswith("cnn+eca "))
    assert line.endswith(f"–               {100 * one.test_accuracy:.1f} (1)        –")
    assert "PARTIAL: 0 to 1 of 16 runs of a network" in lines
    assert [line[39:].split() for line in table([]).splitlines()[1:10]] == [["–", "–", "–"]] * 9


def test_only_sixteen_runs_in_every_cell_are_not_partial():
    runs = [replace(STORED[0], network=network, column=column, seed=seed)
            for network in REPORTED for column in ("as coded", "as described") for seed in range(16)]
    assert "PARTIAL" not in table(runs)
    assert "PARTIAL: 15 to 16 of 16 runs of a network" in table(runs[:-1])
    assert "PARTIAL: 0 to 16 of 16 runs of a network" in table(runs[:16])


def test_runs_that_do_not_belong_together_make_no_table():
    (one,) = (record for record in STORED if record.name == "cifar10-as-described-cnn+eca-seed0")
    with pytest.raises(ValueError, match=r"cifar10-as-described-cnn\+eca-seed0 is there twice"):
        table([one, replace(one, test_accuracy=0.1)])
    for other in (replace(one, seed=1, dataset_sha256="0"), replace(one, seed=1, config=one.config | {"epochs": 1})):
        with pytest.raises(ValueError, match="different images or by different protocols"):
            table([one, other])
    table([one, replace(one, column="own run", dataset_sha256="0")])  # of another column: not in this table


def test_the_command_prints_the_table_of_a_file(tmp_path, capsys):
    append_records(tmp_path / "mine.jsonl", [STORED[0]])
    assert main(["--records", str(tmp_path / "mine.jsonl")]) == 0
    assert capsys.readouterr().out == table(STORED[:1]) + "\n"
    assert main([]) == 0
    assert capsys.readouterr().out == table(STORED) + "\n"
    (tmp_path / "mine.jsonl").write_text("{}\n")
    assert main(["--records", str(tmp_path / "mine.jsonl")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(SystemExit):
        report_table.main(["--records", str(tmp_path / "none")])
