"""What the learner has tried, kept in one small JSON file on this computer and nowhere else.

The file is ``progress.json`` in ``$XDG_DATA_HOME/attncourse`` or ``~/.local/share/attncourse``. ``ATTNCOURSE_PROGRESS``
names another file, or none if it is empty. Where ``CI`` is set nothing is written: attempts are counted in memory.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from attncourse.atomic import write_atomic

SCHEMA = 1  # of the file

_unsaved: dict[Path | None, dict] = {}  # what could not, or should not, go to a file


@dataclass(frozen=True)
class Attempts:
    """One exercise's history."""

    failures: int = 0
    passed: bool = False


def path() -> Path | None:
    """Where progress is kept, or None where it is kept in memory."""
    chosen = os.environ.get("ATTNCOURSE_PROGRESS")
    if os.environ.get("CI") or chosen == "":
        return None
    if chosen:
        return Path(chosen).expanduser()
    folder = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(folder) / "attncourse" / "progress.json"


def load() -> tuple[dict[str, Attempts], str]:
    """Every exercise's history, and a line for the learner if the file could not be read."""
    try:
        file = path()
    except RuntimeError:  # no home folder
        file = None
    if file in _unsaved or file is None:
        return dict(_unsaved.get(file, {})), ""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            raise ValueError(f"schema {content['schema']}")
        history = {name: Attempts(**entry) for name, entry in content["exercises"].items()}
        if any(type(each.failures) is not int or type(each.passed) is not bool for each in history.values()):
            raise ValueError("wrong types")
        return history, ""
    except (FileNotFoundError, NotADirectoryError):
        return {}, ""
    except OSError as error:
        return {}, f"Your progress could not be read from {file} ({error.strerror})."
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}, set_aside(file)


def set_aside(file: Path) -> str:
    kept = file.with_name(file.name + ".broken")
    try:
        os.replace(file, kept)
    except OSError:
        kept = file
    return f"Your progress file was damaged: it is kept as {kept}, and counting starts afresh."


def record(exercise: str, passed: bool) -> tuple[Attempts, str]:
    """Add one attempt. Returns the exercise's history and a line for the learner if it could not be kept."""
    history, note = load()
    before = history.get(exercise, Attempts())
    after = Attempts(before.failures + (not passed), before.passed or passed)
    history[exercise] = after
    try:
        file = path()
        if file is not None:
            content = {"schema": SCHEMA, "exercises": {name: asdict(each) for name, each in history.items()}}
            write_atomic(file, json.dumps(content, indent=1) + "\n")
            _unsaved.pop(file, None)
            return after, note
    except (OSError, RuntimeError) as error:
        file = None if isinstance(error, RuntimeError) else path()
        note = note or f"Your progress is counted in this session only: {error}."
    _unsaved[file] = history
    return after, note


@dataclass(frozen=True, repr=False)
class Progress:
    """The table that ``checks.progress()`` shows: per chapter, its exercises and what became of them."""

    chapters: dict[str, list[str]]  # chapter -> ids of its exercises
    history: dict[str, Attempts]
    note: str = ""

    def __repr__(self) -> str:
        width = max((len(name) for names in self.chapters.values() for name in names), default=0)
        lines = ["Your progress, kept on this computer for you alone. It is no grade: it shows what to try next."]
        for chapter, names in self.chapters.items():
            passed = sum(self.of(name).passed for name in names)
            lines += [f"{chapter}: {passed} of {len(names)} passed"]
            lines += [self.line(name, width) for name in names]
        return "\n".join(lines + ([self.note] if self.note else []))

    def of(self, name: str) -> Attempts:
        return self.history.get(name, Attempts())

    def line(self, name: str, width: int) -> str:
        failures = self.of(name).failures
        mark, status = ("✗", "not yet") if failures else ("·", "not attempted yet")
        if self.of(name).passed:
            mark, status = "✓", "passed"
        tries = f", {failures} failed attempt{'s' * (failures > 1)}" if failures else ""
        return f"  {mark} {name:<{width}}  {status}{tries}"
