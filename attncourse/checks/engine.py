"""How an exercise is checked, and how a wrong answer is told what is wrong with it.

An exercise has a reference, a list of cases, smallest first, and a list of mistakes: wrong answers with a name. A case
is a probe, a function that uses an answer once and returns what it saw: the output, the gradients, a parameter count, a
sentence such as "the same split". An answer is right when every probe sees the same with it as with the reference.
Otherwise all the mistakes go through the same probes, and the one that looks like the answer in every single case gives
the cause its name. Where none does, the first failing case speaks for itself.

A chapter's file declares ``squeeze = Exercise("se.squeeze", ...)``, and ``checks.se.squeeze(answer)`` returns a
CheckResult. What an answer may do without harm is said in guard.py.
"""

import re
import sysconfig
import textwrap
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from attncourse.checks import attempts, guard
from attncourse.checks.compare import Problem, comparison, difference, kind, plain

TIME_LIMIT = 5.0  # seconds for all cases of one exercise; a right answer needs a hundredth of it
NOT_LEARNERS = [Path(__file__).parents[1], *map(Path, map(sysconfig.get_path, ("stdlib", "purelib", "platlib")))]


@dataclass(frozen=True, repr=False)
class CheckResult:
    """What a check found. Its repr is what the learner reads."""

    exercise: str  # "se.squeeze"
    status: str  # "passed", "failed" or "not attempted"
    cause: str = ""  # an id such as "averaged-channels"
    message: str = ""  # the first line says it, the others show it
    failing_input: str = ""  # the smallest one
    hint: str = ""

    def __repr__(self) -> str:
        headline, *details = self.message.splitlines()
        opening = {"passed": "✓ {}: passed. ", "failed": "✗ {}: ", "not attempted": "· {}: not "
                                                                                    "attempted yet. "}[self.status]
        if self.failing_input:
            details.insert(0, f"Smallest failing input: {self.failing_input}")
        lines = [opening.format(self.exercise) + headline, *details, *self.hint.splitlines()]
        return "\n".join(textwrap.fill(line, 100, initial_indent="  " * (i > 0), subsequent_indent="    ",
                                       break_long_words=False, break_on_hyphens=False) for i, line in enumerate(lines))


@dataclass(frozen=True)
class Case:
    """One use of the answer. Cause and message speak when this is the first case to fail and no mistake fits."""

    shown: str  # the input, as the learner reads it
    probe: Callable[[Callable], object]
    cause: str = "wrong-values"
    message: str = "The values are not right."


class Mistake:
    """A wrong answer with a name; several ways to write it where learners make it in several ways."""

    def __init__(self, cause: str, message: str, *wrong: Callable):
        self.cause, self.message, self.wrong = cause, message, wrong


@dataclass(frozen=True)
class Outcome:
    """What one probe saw: a value, or the cause that kept it from seeing one."""

    value: object = None
    cause: str = ""
    message: str = ""
    exception: str = ""  # the name of what the answer raised
    untouched: bool = False  # the stub's bare NotImplementedError

    def like(self, other: "Outcome") -> bool:
        same_end = (self.cause, self.exception) == (other.cause, other.exception)
        return same_end and (bool(self.cause) or difference(self.value, other.value) is None)


@dataclass(frozen=True)
class Exercise:
    """One exercise. Call it with an answer to check the answer."""

    id: str  # chapter.name
    title: str
    reference: Callable
    cases: tuple[Case, ...]  # from the smallest up
    mistakes: tuple[Mistake, ...]
    hints: tuple[str, str, str]  # 1 points, 2 explains, 3 nearly tells
    tested: str  # what a right answer has shown, without a full stop

    def __call__(self, answer: Callable, solution: bool = False) -> CheckResult:
        """Check an answer. Never raises because of it.

        Args:
            answer: the learner's function or class itself, not its result.
            solution: True in the solution's cell, which never counts as the learner's progress.
        """
        if not callable(answer):
            name = self.id.split(".")[1]
            message = f"You passed {kind(answer)}: pass what you wrote, uncalled, as in checks.{self.id}({name})."
            return self.failed("not-a-function", message)
        result = self.judge(answer)
        if solution:
            note = "This is the course's solution: it does not count as yours."
            return replace(result, message=f"{result.message}\n{note}")
        if result.status == "not attempted":
            return result
        history, note = attempts.record(self.id, result.status == "passed")
        message = f"{result.message}\n{note}" if note else result.message
        return replace(result, message=message, hint="" if result.status == "passed" else self.hint(history.failures))

    def failed(self, cause: str, message: str, failing_input: str = "") -> CheckResult:
        return CheckResult(self.id, "failed", cause, message, failing_input)

    def hint(self, failures: int) -> str:
        """The next hint: one more with each failure, and after the last one the way to the solution."""
        number = min(failures, len(self.hints))
        last = "\nThe solution is in the folded cell below." if number == len(self.hints) else ""
        return f"Hint {number}: {self.hints[number - 1]}{last}"

    def judge(self, answer: Callable) -> CheckResult:
        """Run the answer in a clean room and compare."""
        with guard.clean_room() as room:
            seen: list[Outcome] = []
            finished = room.run(lambda: self.collect(answer, seen), TIME_LIMIT)
            result = self.verdict(seen, finished, room.tampered)
        notes = [result.message]
        if room.replaced:
            notes.append(f"Note: {', '.join(room.replaced)} had been replaced in this session. The check used the "
                         "original; restart the kernel to get it back.")
        if room.printed and result.status == "failed":
            notes.append(f"Your code printed: {' '.join(room.printed.split())}")
        return replace(result, message="\n".join(notes))

    def collect(self, answer: Callable, seen: list[Outcome]) -> None:
        for case in self.cases:
            seen.append(attempt(case, answer))

    def verdict(self, seen: list[Outcome], finished: bool, tampered: list[str]) -> CheckResult:
        """What the outcomes mean. The reference runs only now, so that no answer could look at what it returned."""
        if tampered:
            return self.failed("replaced-functions", f"Your answer replaced {', '.join(tampered)} while it ran. That "
                               "is undone; an answer leaves torch and the checker as it found them.")
        if not finished:
            shown = self.cases[len(seen)].shown if len(seen) < len(self.cases) else ""
            return self.failed("time-limit", f"Your code was still running after {TIME_LIMIT:g} s and was stopped: "
                               "look for a loop that never ends, or, on a busy machine, run it again.", shown)
        if seen[0].untouched:
            return CheckResult(self.id, "not attempted", message="Write your answer, then run this cell again.")
        expected: list[Outcome] = []
        self.collect(self.reference, expected)
        failing = next((i for i, (got, want) in enumerate(zip(seen, expected)) if not got.like(want)), None)
        if failing is None:
            return CheckResult(self.id, "passed", message=f"Tested: {self.tested}.")
        mistake, all_of_it = self.recognise(seen, expected, failing)
        return self.diagnose(self.cases[failing], seen[failing], expected[failing], mistake, all_of_it)

    def recognise(self, seen: list[Outcome], expected: list[Outcome], failing: int) -> tuple[Mistake | None, bool]:
        """The mistake that looks like the answer in every case, and True. Or, where the answer makes several mistakes,
        one that looks like it in the failing case and wherever else that mistake shows, and False.

        Crashes alone are no likeness: anything can crash.
        """
        if all(outcome.cause for outcome in seen):
            return None, True
        partly: list[tuple[int, Mistake]] = []
        for mistake in self.mistakes:
            for wrong in mistake.wrong:
                if not seen[failing].like(attempt(self.cases[failing], wrong)):
                    continue
                outcomes = [attempt(case, wrong) for case in self.cases]
                if all(got.like(outcome) for got, outcome in zip(seen, outcomes)):
                    return mistake, True
                shows = [i for i, (outcome, want) in enumerate(zip(outcomes, expected)) if not outcome.like(want)]
                if all(seen[i].like(outcomes[i]) for i in shows) and not all(outcomes[i].cause for i in shows):
                    partly.append((len(shows), mistake))
        return max(partly, key=lambda pair: pair[0], default=(0, None))[1], False

    def diagnose(self, case: Case, got: Outcome, want: Outcome, mistake: Mistake | None,
                 all_of_it: bool) -> CheckResult:
        cause, message = (got.cause, got.message) if got.cause else difference(got.value, want.value)
        if cause == "wrong-values":
            cause, message = case.cause, case.message
        if mistake is not None:
            cause, message = mistake.cause, mistake.message
        if not got.cause:
            message += f"\n{comparison(got.value, want.value)}"
        elif mistake is not None:
            message += f"\nWhat you see of it: {got.message}"
        if mistake is not None and not all_of_it:
            message += "\nSomething else is wrong, too: mend this first, then check again."
        return self.failed(cause, message, case.shown)


def attempt(case: Case, answer: Callable) -> Outcome:
    """Use the answer once. Whatever it raises becomes an outcome, except the time limit and the learner's Ctrl-C."""
    guard.standard_state()
    try:
        return Outcome(plain(case.probe(answer)))
    except (guard.TimeLimit, guard.UserInterrupt):
        raise
    except Problem as problem:
        return Outcome(cause=problem.cause, message=problem.message)
    except BaseException as error:
        return crash(error)


def crash(error: BaseException) -> Outcome:
    """Name an exception in one line, with the line of the learner's code that it came from."""
    name = type(error).__name__
    if type(error) is NotImplementedError and not error.args:
        return Outcome(cause="not-written", message="A part is not written yet.", exception=name, untouched=True)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<frozen")
              and not any(folder in Path(frame.filename).parents for folder in NOT_LEARNERS)]
    try:
        text = re.sub(r" at 0x[0-9a-fA-F]+", "", str(error)).strip().splitlines()[0][:200]
    except Exception:  # the text is empty, or making it fails
        text = "no message"
    if isinstance(error, TypeError) and not frames:
        return Outcome(cause="wrong-arguments", message=f"Your code could not be called as the exercise asks: {text}.",
                       exception=name)
    where = f" (line {frames[-1].lineno}: `{frames[-1].line}`)" if frames else ""
    cause, meaning = {
        SystemExit: ("exited", "your code asked Python to exit"),
        KeyboardInterrupt: ("interrupted", "your code raised it"),
        RecursionError: ("endless-recursion", "your function calls itself without end"),
    }.get(type(error), ("crashed", text))
    return Outcome(cause=cause, message=f"{name}: {meaning}{where}.", exception=name)
