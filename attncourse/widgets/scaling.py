"""Widget of the scaling chapter: what holds a training step up, by machine, images a step and seeds side by side.

It rests on plain functions (``with_images``, ``seconds_by_limit``) that are tested without any widget.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from attncourse.roofline import Machine, Operation
from attncourse.widgets.base import DOWN, QUIET, UP, CourseWidget, control, front_end, position

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IMAGES = (8, 32, 128, 512)
SEEDS = (1, 2, 4, 8, 16, 32)
UNITS = {"days": 86400, "hours": 3600, "minutes": 60, "s": 1, "ms": 1e-3, "µs": 1e-6}  # in seconds
LIMITS = {"launch": "starts", "memory": "bytes", "compute": "FLOPs"}
Step = Sequence[Operation]  # all that a training step consists of
RUNS, EPOCHS, TRAINING_IMAGES = 288, 10, 45_000  # of the table whose runs the course repeats


def with_images(of_two: Step, of_four: Step, images: int) -> list[Operation]:
    """The operations of a step with so many images, from those with two and with four: they grow in a straight line.

    Raises:
        ValueError: if the two steps do not consist of the same operations.
    """
    if [op.name for op in of_two] != [op.name for op in of_four]:
        raise ValueError("a step with two images and one with four must consist of the same operations")

    def at(two: int, four: int) -> int:
        return two + (four - two) * (images - 2) // 2

    return [Operation(two.name, at(two.flops, four.flops), at(two.bytes, four.bytes))
            for two, four in zip(of_two, of_four)]


def seconds_by_limit(machine: Machine, step: Step, seeds: int) -> dict[str, float]:
    """The least seconds of a step for each of so many seeds side by side, by what holds the operations up."""
    seconds = dict.fromkeys(LIMITS, 0.0)
    for op in step:
        together = Operation(op.name, seeds * op.flops, seeds * op.bytes)
        seconds[machine.limit(together)] += machine.seconds(together) / seeds
    return seconds


def time_in_words(seconds: float) -> str:
    """Three significant digits, in a unit that suits them."""
    unit = next((unit for unit, size in UNITS.items() if seconds >= size), "µs")
    value = seconds / UNITS[unit]
    return f"{value:.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


class StepLimits(CourseWidget):
    """The least time of a training step for each seed, split by what holds its operations up.

    It is the least time of these operations, each started by itself, with every map going through memory. Fewer
    starts or a cache can beat it.

    Args:
        machines: to choose from.
        steps: name of a network -> the operations of its training step with two images, and with four.
        machine, images, seeds: what is shown first: the name of a machine, one of ``IMAGES`` and one of ``SEEDS``.
    """

    _esm = front_end("step_limits.js")

    def __init__(self, machines: Sequence[Machine], steps: Mapping[str, tuple[Step, Step]], machine: str | None = None,
                 images: int = 128, seeds: int = 1):
        self._machines, self._networks = list(machines), list(steps)
        self._table = np.array([[[[list(seconds_by_limit(each, with_images(*step, count), K).values()) for K in SEEDS]
                                  for count in IMAGES] for step in steps.values()] for each in machines])
        names = [each.name for each in machines]
        counts, together = [str(count) for count in IMAGES], [str(K) for K in SEEDS]
        super().__init__(
            label="What holds a training step up?",
            controls=[
                control("machine", "Machine", names),
                control("network", "Network", self._networks),
                control("images", "Images a step", counts, "range"),
                control("seeds", "Seeds side by side", together, "range"),
            ],
            state={"machine": position(names, machine or names[0], "machine"), "network": 0,
                   "images": position(counts, images, "images"), "seeds": position(together, seeds, "seeds")},
            data=self._table,  # (machines, networks, images, seeds, 3): seconds for each seed
        )

    def _seconds(self, state: Mapping[str, int]) -> np.ndarray:
        """(seeds, 3)."""
        return self._table[state["machine"], state["network"], state["images"]]

    def describe(self, state: Mapping[str, int]) -> str:
        images, K, seconds = IMAGES[state["images"]], SEEDS[state["seeds"]], self._seconds(state)
        each, alone = seconds[state["seeds"]], seconds[0].sum()
        held = ", ".join(f"{name} hold up {share:.0%} of it" if n == 0 else f"{name} {share:.0%}"
                         for n, (name, share) in enumerate(zip(LIMITS.values(), each / each.sum())))
        steps = RUNS * EPOCHS * (TRAINING_IMAGES // images)
        compared = (f"{each.sum() / alone:.2f} of the time that it takes alone" if K > 1 else
                    f"with {SEEDS[-1]} seeds side by side it could become {seconds[-1].sum() / alone:.2f} of that")
        return (
            f"{self._machines[state['machine']].name}, {self._networks[state['network']]}, {images} images a step, "
            f"{K} seed{'s' * (K > 1)} side by side: if every operation is started by itself and every map goes "
            f"through memory, a step takes at least {time_in_words(each.sum())} for each seed; {compared}. "
            f"{held[0].upper()}{held[1:]}. {RUNS} runs of {EPOCHS} epochs would take at least "
            f"{time_in_words(steps * each.sum())}."
        )

    def picture(self) -> "Figure":
        from matplotlib.figure import Figure  # no pyplot: nothing global is touched

        seconds = self._seconds(self.state)
        figure = Figure(figsize=(7.6, 3.1), layout="constrained")
        axes = figure.subplots()
        start = np.zeros(len(SEEDS))
        for limit, (name, colour) in enumerate(zip(LIMITS.values(), (UP, "#c3cad1", DOWN))):
            axes.barh(range(len(SEEDS)), seconds[:, limit], left=start, color=colour, label=name, height=0.7)
            start += seconds[:, limit]
        for row, total in enumerate(start):
            axes.annotate(time_in_words(total), (total, row), (5, -4), textcoords="offset points",
                          weight="bold" if row == self.state["seeds"] else "normal", color="black" if
                          row == self.state["seeds"] else QUIET)
        axes.set(yticks=range(len(SEEDS)), yticklabels=SEEDS, ylabel="seeds side by side", xticks=[],
                 title=f"{self.chosen['machine']}, {self.chosen['network']}, {self.chosen['images']} images: "
                       "least time of a step for each seed")
        axes.title.set_size("medium")
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.tick_params(length=0)
        axes.spines[["top", "right", "bottom"]].set_visible(False)
        axes.legend(frameon=False, loc="lower right", title="held up by")
        return figure
