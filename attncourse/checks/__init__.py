"""The exercises' checkers: ``checks.se.squeeze(squeeze)`` checks an answer, ``checks.progress()`` shows your work.

A chapter's checkers are loaded when they are first named. Import this package before you write answers: it remembers
torch's functions as they are then, so that a replaced one can be noticed.
"""

from importlib import import_module
from types import ModuleType

from attncourse.checks import attempts, guard  # noqa: F401  guard remembers torch's functions now
from attncourse.checks.engine import CheckResult, Exercise

CHAPTERS = ("attention", "backbone", "se", "cam_sam", "cbam", "bam", "eca", "autoencoder", "hybrids",  # reading order
            "sca_cnn", "gradcam", "where_it_looks", "resnets", "report_table", "scaling")

__all__ = ["CHAPTERS", "CheckResult", "Exercise", "exercises", "progress", *CHAPTERS]


def __getattr__(name: str) -> ModuleType:
    if name in CHAPTERS:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"no checks for {name!r}: the chapters are {', '.join(CHAPTERS)}")


def __dir__() -> list[str]:
    return sorted(__all__)


def exercises(chapter: str) -> list[Exercise]:
    """A chapter's exercises, in the order of its file."""
    return [value for value in vars(import_module(f"{__name__}.{chapter}")).values() if isinstance(value, Exercise)]


def progress() -> attempts.Progress:
    """What you have passed, tried and not tried yet, over all chapters. Formative: nobody grades it."""
    history, note = attempts.load()
    return attempts.Progress({chapter: [each.id for each in exercises(chapter)] for chapter in CHAPTERS}, history, note)
