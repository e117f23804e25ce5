"""The rules that hold the course together: names, imports, and what a notebook may contain."""

import ast
import re
import subprocess
import sys
from itertools import chain
from pathlib import Path

import nbformat
import pytest
import tomllib
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from attncourse import checks

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "attncourse"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
STEMS = [path.stem.split("_", 1)[1] for path in NOTEBOOKS]
REPOSITORY = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]["url"]
BLOCK_FILES = [path for path in PACKAGE.glob("*.py") if "import check_feature_map" in path.read_text()
               and path.stem != "resnet"]  # networks; its small gate has no file of its own

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])


def imports(path: Path) -> set[str]:
    """Names of the package's modules that a file imports at its top level."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("attncourse"):
            names.add(node.module.removeprefix("attncourse").removeprefix("."))
        if isinstance(node, ast.Import):
            names |= {alias.name.removeprefix("attncourse.") for alias in node.names if "attncourse." in alias.name}
    return names


# ---- files and imports ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stem", STEMS)
def test_every_chapter_has_its_checks_and_its_tests(stem):
    assert (PACKAGE / "checks" / f"{stem}.py").exists()
    assert (ROOT / "tests" / f"test_{stem}.py").exists()
    assert (ROOT / "tests" / "checks" / f"test_{stem}.py").exists()


@pytest.mark.parametrize("path", BLOCK_FILES, ids=lambda path: path.stem)
def test_every_block_has_its_chapter_and_imports_only_blocks(path):
    assert path.stem in STEMS
    assert imports(path) <= {"feature_map", *(block.stem for block in BLOCK_FILES)}


def test_networks_know_nothing_of_training_and_training_nothing_of_networks():
    assert imports(PACKAGE / "backbone.py") == set()
    assert imports(PACKAGE / "training.py") <= {"", "atomic", "checkpoint", "datasets.images"}
    for path in (PACKAGE / "plots").glob("*.py"):
        assert imports(path) <= {"plots"}, path.name


def test_importing_the_package_is_light():
    heavy = "matplotlib", "torchvision", "anywidget", "ipywidgets", "PIL", "IPython", "timm"
    code = ("import sys, attncourse, attncourse.se, attncourse.backbone, attncourse.training, attncourse.plots, "
            f"attncourse.checks; print([name for name in {heavy} if name in sys.modules])")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_no_class_is_written_twice():
    """Tests' wrong answers and exercise cells aside, a class of the package is defined in one place."""
    def classes(source: str) -> list[str]:
        return [node.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)]

    package = [name for path in PACKAGE.rglob("*.py") for name in classes(path.read_text())
               if "checks" not in path.parts and not name.startswith("_")]
    assert len(package) == len(set(package))
    for path in NOTEBOOKS:
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "code" and "NotImplementedError" not in cell.source:
                assert not set(classes(cell.source)) & set(package), path.name


def test_no_junk_drawers():
    assert [str(path) for folder in ("attncourse", "tests", "tools", "book") for path in (ROOT / folder).rglob("*.py")
            if re.match(r"_?(utils?|misc|helpers?|common)\b", path.stem)] == []


def test_environment_lock_and_pyproject_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    (install,) = environment[-1]["pip"]
    extras = re.fullmatch(r"-e \.\[(.+)\]", install)[1].split(",")
    assert set(extras) <= set(project["optional-dependencies"])
    python = next(Requirement(entry.replace("=", "==")) for entry in environment[:-1] if entry.startswith("python"))
    assert Requirement(f"python{project['requires-python']}").specifier.contains(str(python.specifier).strip("="))
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    pins = [Requirement(line) for line in lock.splitlines() if line]
    versions = {pin.name.lower(): Version(str(pin.specifier).removeprefix("==")) for pin in pins
                if pin.marker is None or pin.marker.evaluate()}
    for wanted in map(Requirement, chain(project["dependencies"], *project["optional-dependencies"].values())):
        assert wanted.specifier.contains(versions[wanted.name.lower()]), wanted


def test_the_repository_address_is_the_same_everywhere():
    pattern = re.compile(r"https://github\.com/[\w-]*attncourse[\w-]*/[\w.-]*\w")
    files = [ROOT / name for name in ("README.md", "CITATION.cff", "CONTRIBUTING.md")]
    for path in [*files, *(ROOT / "book").glob("*.md"), *NOTEBOOKS]:
        assert set(pattern.findall(path.read_text())) <= {REPOSITORY}, path.name


# ---- notebooks ------------------------------------------------------------------------------------------------------


def code_cells(path: Path) -> list:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def markdown(path: Path) -> str:
    return "\n\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown")


def tags(cell) -> list[str]:
    return cell.metadata.get("tags", [])


def is_exercise(cell) -> bool:
    return "NotImplementedError" in cell.source or cell.source.startswith("#@title Solution")


@each_notebook
def test_it_is_small_executed_in_order_and_clean(path):
    assert path.stat().st_size < 1.5e6
    notebook = nbformat.read(path, as_version=4)
    cells = code_cells(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        for output in cell.outputs:
            assert output.output_type != "error"
            assert output.get("name") != "stderr", cell.source
            text = output.get("text", "") + "".join(output.get("data", {}).get("text/plain", ""))
            assert not re.search(r"0x[0-9a-f]{6,}|/home/|/root/|/tmp/|\r", text), text
    state = notebook.metadata.get("widgets", {"application/vnd.jupyter.widget-state+json": {"state": {"one": 1}}})
    assert state["application/vnd.jupyter.widget-state+json"]["state"]


@each_notebook
def test_few_cells_ignore_their_output_and_none_is_skipped(path):
    cells = code_cells(path)
    ignoring = [cell for cell in cells if "nbval-ignore-output" in tags(cell)]
    assert not [cell for cell in cells if "nbval-skip" in tags(cell)]
    assert len(ignoring) <= 0.25 * len(cells)
    for cell in ignoring:
        assert "assert " in cell.source, f"a cell whose output is not compared must assert its result:\n{cell.source}"


@each_notebook
def test_cells_are_short(path):
    for cell in code_cells(path)[2:]:  # after the install and the import cell
        lines = [line for line in cell.source.splitlines() if line.strip()]
        assert is_exercise(cell) or len(lines) <= 16, cell.source


@each_notebook
def test_printed_floats_have_at_most_three_digits(path):
    for cell in code_cells(path):
        if "nbval-ignore-output" in tags(cell):
            continue
        for output in cell.outputs:
            if output.output_type == "stream" and "class " not in output.text and "def " not in output.text:
                for number in re.findall(r"\d+\.\d+", output.text):
                    digits = number.replace(".", "").lstrip("0")
                    assert len(digits) <= 3, f"{number} in {output.text!r}"


@each_notebook
def test_markdown_renders_everywhere(path):
    text = markdown(path)
    assert not re.search(r"^:::|^```\{|\{(cite|ref|numref|eq|doc|term|admonition|note|tip)[:\w]*\}`", text, re.M)
    assert not re.search(r"\\\(|\\\[|> \[!|\[\^|~~", text)
    assert not re.findall(r"\b[A-Z]{3,}_[A-Z_]{3,}\b", re.sub(r"`[^`]*`", "", text)), "a placeholder was left"
    for opening in re.finditer(r"</summary>\n(?!\n)", text):
        pytest.fail(f"a blank line is missing after {text[opening.start() - 60:opening.end()]!r}")


@each_notebook
def test_pictures_have_words(path):
    """Markdown images carry alternative text; figures go through plots.show, which asks for it."""
    assert not re.search(r"!\[\s*\]\(|<img", markdown(path))
    for cell in code_cells(path):
        assert "plt.show" not in cell.source
        for output in cell.outputs:
            if "image/png" in output.get("data", {}) and "application/vnd.jupyter.widget-view+json" not in output.data:
                assert output.metadata["image/png"]["alt"].strip(), cell.source


@each_notebook
def test_the_install_cell(path):
    install, imports_cell, *_ = code_cells(path)
    assert install.source.startswith("#@title Install")
    assert f"attncourse @ git+{REPOSITORY}" in install.source
    assert '"--no-deps"' in install.source  # torch, torchvision and numpy stay as Colab has them
    assert "from attncourse" in imports_cell.source


@each_notebook
def test_it_teaches_by_predictions_and_closes(path):
    text = markdown(path)
    assert len(re.findall(r"> \*\*Predict", text)) >= 3
    for part in ("## Exercises", "## What would you change?", "## Remember", "**Check yourself**", "## What it costs",
                 "## Train"):
        assert part in text, part


@each_notebook
def test_exercises_hints_and_solutions(path):
    """Stub, check, three hints in the checker's words, and a folded solution that ends with the same check."""
    cells = code_cells(path)
    stem = path.stem.split("_", 1)[1]
    call = re.compile(rf"^checks\.{stem}\.(\w+)\((\w+)(, solution=True)?\)$", re.M)
    stubs = [cell for cell in cells if "raise NotImplementedError" in cell.source and "checks." in cell.source]
    solutions = [cell for cell in cells if cell.source.startswith("#@title Solution")]
    names = [call.search(cell.source)[1] for cell in stubs]
    assert len(names) >= 3
    assert names == [call.search(cell.source)[1] for cell in solutions]
    exercises = {exercise.id.removeprefix(f"{stem}."): exercise for exercise in checks.exercises(stem)}
    assert names == list(exercises)
    for cell in stubs:
        assert call.search(cell.source.splitlines()[-1])[3] is None
    for cell in solutions:
        assert call.search(cell.source.splitlines()[-1])[3]
        assert tags(cell) == ["hide-cell"]
        assert cell.metadata.cellView == "form"
        assert cell.metadata.jupyter.source_hidden
    text = markdown(path)
    for name in names:
        for number, hint in enumerate(exercises[name].hints, 1):
            assert f"<details><summary>Hint {number}</summary>\n\n{hint}\n\n</details>" in text, (name, number)


def test_every_notebook_is_in_the_table_of_contents():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    files = [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    assert [name for name in files if name.startswith("notebooks/")] == [f"notebooks/{path.stem}" for path in NOTEBOOKS]
    for name in [toc["root"], *files]:
        assert (ROOT / f"{name}.md").exists() or (ROOT / f"{name}.ipynb").exists(), name
