"""Ship the trained weights of a run, without its large fully connected layers:

    python -m attncourse.weights cifar10-as-described-cnn+se-seed0

writes ``weights/cifar10-cnn-se-trunk.safetensors`` and enters it into the index.
"""

import argparse
import shlex
import sys
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from attncourse.results import FOLDER
from attncourse.training import TrainRecord
from attncourse.weights import store_weights


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m attncourse.weights", description=__doc__.split("\n\n")[0])
    parser.add_argument("run", help="stem of the run's files in --runs and results/")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder with the trained weights")
    options = parser.parse_args(arguments)
    try:
        record = TrainRecord.load(FOLDER / f"{options.run}.json")
        weights = load_file(options.runs / f"{options.run}.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    trunk = {name: value for name, value in weights.items() if not name.startswith("classifier.")}
    name = f"cifar10-{record.network.replace('+', '-')}-trunk"
    command = shlex.join(["python", "-m", "attncourse.weights", options.run])
    print(f"wrote {store_weights(name, trunk, command, options.run)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
