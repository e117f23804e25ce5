"""Training records in one file, a line each, to which any number of processes append.

A line is there as a whole or not at all: the file is replaced atomically, under a lock. What another program cut short
is noticed, and nothing in front of it is lost.
"""

from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock

from attncourse.atomic import write_atomic
from attncourse.training import TrainRecord


def read_records(path: Path) -> list[TrainRecord]:
    """All records of the file, in its order; none if there is no file. A last line that was cut short is left out.

    Raises:
        ValueError: if another line is not a record.
    """
    whole, _ = lines_of(path)
    records = []
    for number, line in enumerate(whole, 1):
        try:
            records.append(TrainRecord.from_json(line))
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}: remove that line, and its run is done again") from None
    return records


def append_records(path: Path, records: Sequence[TrainRecord]) -> None:
    """Add records at the end, all or none. What is left of a line that was cut short goes to a file of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        whole, rest = lines_of(path)
        if rest:
            aside = path.with_suffix(".cut-short")
            write_atomic(aside, (aside.read_text() if aside.exists() else "") + rest + "\n")
            print(f"The last line of {path} had been cut short: it is in {aside} now, and its run is done again.")
        write_atomic(path, "".join(f"{line}\n" for line in [*whole, *(record.to_json() for record in records)]))


def lines_of(path: Path) -> tuple[list[str], str]:
    """The whole lines, and what is left of a last one that is no record.

    Raises:
        ValueError: if the file is not text.
    """
    try:
        *whole, rest = path.read_text(encoding="utf-8").split("\n") if path.exists() else [""]
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not a file of records: it is not even text") from None
    try:
        TrainRecord.from_json(rest)
    except ValueError:
        return whole, rest
    return [*whole, rest], ""  # only its newline is missing
