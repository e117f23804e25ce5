"""The measured results that the course prints: one JSON file each, written by a command that it names."""

import json
from pathlib import Path

from attncourse.training import TrainRecord

FOLDER = Path(__file__).parent


def load_records(network: str) -> list[TrainRecord]:
    """All stored training records of a network ("cnn", "cnn+se", …) on CIFAR-10 as described, by seed.

    Raises:
        ValueError: if there is none; the message lists the networks that have records.
    """
    records = [TrainRecord.load(path) for path in sorted(FOLDER.glob("cifar10-as-described-*.json"))]
    chosen = sorted((record for record in records if record.network == network), key=lambda record: record.seed)
    if not chosen:
        raise ValueError(f"no records of {network!r}; there are {', '.join(sorted({r.network for r in records}))}")
    return chosen


def load_study(name: str) -> dict:
    """A stored measurement that is not a training run, e.g. "se-gates".

    Raises:
        ValueError: if there is none of that name.
    """
    path = FOLDER / f"{name}.json"
    if not path.exists():
        raise ValueError(f"no study {name!r} in {FOLDER}")
    return json.loads(path.read_text())
