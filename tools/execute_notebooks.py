"""Execute notebooks in an empty folder and store their outputs: `make notebooks`, or with names of single ones.

Each runs in a fresh kernel without a network of its own making and without the repository as its folder, as a learner's
copy would. Nothing is stored unless every cell ran.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert.preprocessors.coalescestreams import CoalesceStreamsPreprocessor

from attncourse.atomic import write_atomic

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"


def execute(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(notebook, timeout=120, kernel_name="python3", record_timing=False,
                                store_widget_state=True, resources={"metadata": {"path": folder}})
        client.execute()
    notebook, _ = CoalesceStreamsPreprocessor().preprocess(notebook, {})  # of a progress bar, keep the last state
    notebook.metadata["language_info"] = {"name": "python"}  # the rest changes with the Python version
    if not notebook.metadata.get("widgets", {}).get("application/vnd.jupyter.widget-state+json", {}).get("state"):
        notebook.metadata.pop("widgets", None)
    write_atomic(path, nbformat.writes(notebook) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all")
    paths = parser.parse_args().notebooks or sorted(NOTEBOOKS.glob("*.ipynb"))
    os.environ |= {"CI": "true", "ATTNCOURSE_BUDGET": "smoke"}  # no learner's progress, no training on a GPU
    for path in paths:
        start = time.perf_counter()
        try:
            execute(path)
        except CellExecutionError as error:
            print(f"{path.name}: a cell failed, nothing was stored\n{error}", file=sys.stderr)
            return 1
        seconds, kilobytes = time.perf_counter() - start, path.stat().st_size / 1e3
        print(f"{path.name}: executed in {seconds:.1f} s, {kilobytes:.0f} kB", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
