"""The measured results that the course prints, each written by a command that it names.

Training runs on CIFAR-10 are lines of ``cifar10.jsonl``; other measurements have a JSON file each.
"""

import json
import statistics
from pathlib import Path

from attncourse.record_file import read_records
from attncourse.training import TrainRecord

FOLDER = Path(__file__).parent
RECORDS = FOLDER / "cifar10.jsonl"


def load_records(network: str, column: str = "as described") -> list[TrainRecord]:
    """All stored training records of a network ("cnn", "cnn+se", …) on CIFAR-10, by seed.

    Args:
        column: "as described" by the report's text, "as coded" in its code, or another one that has records.

    Raises:
        ValueError: if there is none; the message lists the networks that have records.
    """
    records = [record for record in read_records(RECORDS) if record.column == column]
    chosen = sorted((record for record in records if record.network == network), key=lambda record: record.seed)
    if not chosen:
        raise ValueError(f"no records of {network!r} {column}; there are "
                         f"{', '.join(sorted({record.network for record in records}))}")
    return chosen


def load_record(name: str) -> TrainRecord:
    """The stored training record of one run, "cifar10-as-described-cnn+se-seed0".

    Raises:
        ValueError: if there is none.
    """
    found = [record for record in read_records(RECORDS) if record.name == name]
    if not found:
        raise ValueError(f"no record of {name} in {RECORDS}")
    return found[0]


def load_study(name: str) -> dict:
    """A stored measurement that is not a training run, e.g. "se-gates".

    Raises:
        ValueError: if there is none of that name.
    """
    path = FOLDER / f"{name}.json"
    if not path.exists():
        raise ValueError(f"no study {name!r} in {FOLDER}")
    return json.loads(path.read_text())


def study_table(name: str) -> str:
    """A study of variants on scenes ("scenes-cbam", …) as a text table, with what it was measured on.

    Per variant: parameters, test accuracy, and the share of its maps' energy inside the object, place by place.
    """
    study = load_study(name)
    lines = [f"{'variant':26} {'parameters':>10}  {'test accuracy':13}  energy inside the object at places 1 to 4"]
    for variant in dict.fromkeys(run["variant"] for run in study["runs"]):
        runs = [run for run in study["runs"] if run["variant"] == variant]
        accuracies = [100 * run["test_accuracy"] for run in runs]
        places = [statistics.mean(shares) for shares in zip(*(run["inside"] for run in runs)) if None not in shares]
        maps = "  ".join(f"{share:4.0%}" for share in places) or "no map"
        lines.append(f"{variant:26} {runs[0]['parameters']:>10,}  {statistics.mean(accuracies):4.1f} ± "
                     f"{statistics.stdev(accuracies):4.1f}    {maps}")
    seeds = sorted({run["seed"] for run in study["runs"]})
    images = study["images"]
    ideal = ", ".join(f"{share:.0%}" for share in study["ideal"])
    lines += [f"mean ± std in % over seeds {', '.join(map(str, seeds))}",
              f"a flat map has {study['area']:.0%} inside; the object itself, drawn as a map of each place, {ideal}",
              f"{study['network']}; {study['config']['epochs']} epochs of {images['train']:,} scenes, tested on "
              f"{images['test']:,}; {study['device']}, torch {study['versions']['torch']}"]
    return "\n".join(lines)


def accuracy_table(*networks: str) -> str:
    """Test accuracy of the networks' stored records as a text table, with what they were measured on."""
    lines = [f"{'network':20} {'parameters':>10}  {'test accuracy':16} seeds"]
    used = []
    for network in networks:
        records = load_records(network)
        accuracies = [record.test_accuracy for record in records]
        spread = f"± {100 * statistics.stdev(accuracies):.1f}" if len(records) > 1 else "(one run)"
        lines.append(f"{network:20} {records[0].parameters:>10,}  {100 * statistics.mean(accuracies):.1f} {spread:11} "
                     f"{', '.join(str(record.seed) for record in records)}")
        used += records
    conditions = sorted({f"{r.dataset}, {r.device}, {r.dtype}, torch {r.versions['torch']}" for r in used})
    lines.append(f"mean ± std over seeds, in %; {used[0].config['epochs']} epochs, the best by validation")
    return "\n".join(lines + conditions)
