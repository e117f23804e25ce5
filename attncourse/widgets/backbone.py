"""Widget of the backbone chapter: which differences between two networks a study with so many runs can show.

It rests on plain functions (``standard_error``, ``power``, ``runs_needed``) that are tested without any widget.
"""

from collections.abc import Mapping, Sequence
from math import ceil, sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from attncourse.widgets.base import QUIET, UP, CourseWidget, control, front_end

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RUNS = (2, 4, 8, 16, 32, 64)
DEVIATIONS = (0.5, 1.0, 1.8, 2.5)
DIFFERENCES = (0, 0.25, 0.5, 1, 2, 4)
LEVEL = 0.05  # how many studies of nothing may find something, both directions together
NORMAL = NormalDist()
BEYOND = NORMAL.inv_cdf(1 - LEVEL / 2)  # 1.96 standard errors
FEW = 8  # where the approximation says 80%, a t test finds 74% with 8 runs a side, 65% with 4, 35% with 2


def standard_error(runs: int, deviation: float) -> float:
    """How far the difference of two means strays by chance: σ·√(2/n), for n runs a side.

    Raises:
        ValueError: if runs is below 1 or deviation not above 0.
    """
    if runs < 1:
        raise ValueError(f"runs must be at least 1, got {runs}")
    if not deviation > 0:
        raise ValueError(f"deviation must be above 0, got {deviation}")
    return deviation * sqrt(2 / runs)


def power(runs: int, deviation: float, difference: float) -> float:
    """The share of studies that find a true difference: a two-sided test at 5%, by the normal approximation.

    It takes the standard deviation as known. A t test, which estimates it from the same runs, finds less: 77% instead
    of 80% with 16 runs a side, 35% with 2. A difference found in the wrong direction counts as found.
    """
    away = difference / standard_error(runs, deviation)
    return NORMAL.cdf(away - BEYOND) + NORMAL.cdf(-away - BEYOND)


def runs_needed(deviation: float, difference: float, wanted: float = 0.8) -> int:
    """The fewest runs a side whose power reaches what is wanted, by the same approximation.

    Raises:
        ValueError: if difference is 0: no number of runs finds it.
    """
    if difference == 0:
        raise ValueError("difference must not be 0: no number of runs finds nothing")
    # the chance of the wrong direction, left out here, is below 0.0001 at any power above one half
    return max(2, ceil(2 * ((BEYOND + NORMAL.inv_cdf(wanted)) * deviation / difference) ** 2))


def place_of(wanted: float, values: Sequence[float], what: str) -> int:
    """The index of a number among those offered, or a ValueError that lists them."""
    if wanted not in values:
        raise ValueError(f"{what} must be one of {', '.join(f'{value:g}' for value in values)}, got {wanted!r}")
    return values.index(wanted)


def points(number: float) -> str:
    return f"{number:g} point{'' if number == 1 else 's'}"


def in_hundred(share: float) -> str:
    """A share in whole per cent, which never claims that every study finds it."""
    return "more than 99%" if share > 0.99 else f"{100 * share:.0f}%"


class StudyPower(CourseWidget):
    """What the difference of two means looks like over many studies, without a true difference and with one.

    Args:
        runs: runs a side shown first, one of ``RUNS``.
        deviation: standard deviation of one network's runs shown first, in points, one of ``DEVIATIONS``.
        difference: true difference shown first, in points, one of ``DIFFERENCES``.
    """

    _esm = front_end("study_power.js")

    def __init__(self, runs: int = 16, deviation: float = 1.8, difference: float = 1):
        offered = {"runs": (runs, RUNS), "deviation": (deviation, DEVIATIONS), "difference": (difference, DIFFERENCES)}
        labels = ("Runs a side", "Standard deviation, in points", "True difference, in points")
        super().__init__(
            label="What can your study show?",
            controls=[
                control(name, label, [f"{value:g}" for value in values], "range")
                for label, (name, (_, values)) in zip(labels, offered.items())
            ],
            state={name: place_of(wanted, values, name) for name, (wanted, values) in offered.items()},
            data=np.array([[[(standard_error(n, s), power(n, s, d)) for d in DIFFERENCES] for s in DEVIATIONS]
                           for n in RUNS]),  # (runs, deviations, differences, 2)
            meta={"beyond": BEYOND, "level": LEVEL, "deviations": DEVIATIONS, "differences": DIFFERENCES},
        )

    @staticmethod
    def _study(state: Mapping[str, int]) -> tuple[int, float, float]:
        return RUNS[state["runs"]], DEVIATIONS[state["deviation"]], DIFFERENCES[state["difference"]]

    def describe(self, state: Mapping[str, int]) -> str:
        runs, deviation, difference = self._study(state)
        error = standard_error(runs, deviation)
        if difference == 0:
            finding = f"With no true difference, {in_hundred(LEVEL)} of such studies find one all the same."
        else:
            share = in_hundred(power(runs, deviation, difference))
            finding = (
                f"A true difference of {points(difference)} is found in {share} of such studies; {in_hundred(LEVEL)} "
                "of studies of nothing find one. To find it in 80%, about "
                f"{runs_needed(deviation, difference):,} runs a side are needed."
            )
        caution = f"; with {runs} runs a side a t test finds less" if runs <= FEW else ""
        return (
            f"{runs} runs a side, standard deviation {points(deviation)}: the difference of the means has a standard "
            f"error of {error:.2f} points, and counts as found beyond ±{BEYOND * error:.2f}. {finding} "
            f"(Normal approximation{caution}.)"
        )

    def picture(self) -> "Figure":
        from matplotlib.figure import Figure  # no pyplot: nothing global is touched

        runs, deviation, difference = self._study(self.state)
        error = standard_error(runs, deviation)
        x = np.linspace(-2.2 * deviation, max(DIFFERENCES) + 2.2 * deviation, 1200)
        nothing, something = (np.exp(-((x - mean) / error) ** 2 / 2) for mean in (0, difference))
        found = np.abs(x) >= BEYOND * error
        figure = Figure(figsize=(7.6, 3.1), layout="constrained")
        axes = figure.subplots()
        axes.plot(x, nothing, color=QUIET, label=f"without a true difference: {in_hundred(LEVEL)} find one")
        if difference:
            share = in_hundred(power(runs, deviation, difference))
            axes.plot(x, something, color=UP, label=f"with one of {points(difference)}: {share} find one")
            axes.fill_between(x, something, where=found, color=UP, alpha=0.35, linewidth=0)
        axes.fill_between(x, nothing, where=found, color=QUIET, alpha=0.45, linewidth=0)
        for side in (-1, 1):
            axes.axvline(side * BEYOND * error, color=QUIET, linestyle=":", linewidth=1)
        axes.set(title=f"What studies with {runs} runs a side measure; beyond the dotted lines they find a difference",
                 xlabel="measured difference of the means, in points", yticks=[], ylim=(0, 1.12))
        axes.title.set_size("medium")
        axes.margins(x=0)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.legend(frameon=False, loc="upper right")
        return figure
