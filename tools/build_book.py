"""Build the book strictly: every notebook executed afresh, every warning an error.

    python tools/build_book.py [--source .]

A failing cell, a broken link, a missing reference, file or alternative text ends it with exit code 1; all of them are
listed again at the end. The pages stand in _build/html.
"""

import argparse
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import site_assets

ROOT = Path(__file__).resolve().parent.parent
ANSI = re.compile(r"\x1b\[[0-9;]*m")
PROGRESS = re.compile(r"(reading sources|writing output)\.\.\. *\[|: Executed notebook in")


def build(source: Path) -> list[str]:
    """Build the book in ``source`` and return what is wrong with it, one line each."""
    site_assets.build(source / "_build" / "site_assets")
    for stale in ("html", "jupyter_execute", ".doctrees"):
        shutil.rmtree(source / "_build" / stale, ignore_errors=True)
    command = [Path(sys.executable).with_name("jupyter-book"), "build", ".", "--all", "-W", "-n", "--keep-going"]
    problems, output = [], []
    with subprocess.Popen(command, cwd=source, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        for line in process.stdout:
            line = ANSI.sub("", line.rstrip())
            output.append(line)
            if problem := re.search(r"\b(WARNING|ERROR|CRITICAL|SEVERE):", line):
                problems.append(line)
            if problem or PROGRESS.search(line):
                print(line, flush=True)
    if process.returncode and not problems:
        problems = output[-20:]  # it stopped before it could say what is wrong
    pages = source / "_build" / "html"
    for traceback in pages.glob("reports/**/*.err.log"):
        problems += ["", *ANSI.sub("", traceback.read_text("utf-8")).splitlines()[-20:]]
    problems += [f"{page} was not written" for page in ("index.html", "search.html") if not (pages / page).exists()]
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, default=ROOT, metavar="DIR", help="the folder of _config.yml")
    source, start = parser.parse_args().source.resolve(), time.monotonic()
    try:
        problems = build(source)
    except OSError as error:
        problems = [str(error)]
    if problems:
        print("\nThe book is not built:", *problems, sep="\n  ", file=sys.stderr)
        return 1
    print(f"Book built in {time.monotonic() - start:.0f} s: {source / '_build/html/index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
