# make book    build the site afresh into _build/html        make test       package, structure and notebook tests
# make serve   read it at http://localhost:8000              make test-site  open every built page in a browser
# make notebooks  re-execute every notebook in place         make bench      speed and size, as ratios in one run
# make lock    resolve requirements.lock anew                make lint       ruff

PYTHON ?= python3
BIN := .venv/bin
# a learner's progress on this machine is not touched, and a GPU does not turn tests into training
export ATTNCOURSE_PROGRESS :=
export ATTNCOURSE_BUDGET := smoke
# oneDNN's threads spin while they wait: two of them on a core that other work shares are ten times slower than one
test book notebooks: export OMP_NUM_THREADS := 1

# glibc hands large blocks back to the system after each use; whichever side gets them anew looks up to a third slower
bench: export MALLOC_MMAP_THRESHOLD_ := 8589934592
bench: export MALLOC_TRIM_THRESHOLD_ := 8589934592

.PHONY: book test test-site serve notebooks bench lock lint setup
.DEFAULT_GOAL := book

setup:
	@$(PYTHON) tools/bootstrap.py

book: setup
	@$(BIN)/python tools/build_book.py

test: setup
	@$(BIN)/ruff check
	@$(BIN)/pytest

test-site: setup
	@$(BIN)/pytest tests/site -n 0

serve: setup
	@$(BIN)/python -m http.server 8000 --bind 127.0.0.1 --directory _build/html

notebooks: setup
	@$(BIN)/python tools/execute_notebooks.py

bench: setup
	@$(BIN)/python tools/bench.py $(PARTS)

lint: setup
	@$(BIN)/ruff check

lock: setup
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip compile --universal --upgrade --python-version 3.11 --extra book --extra test --extra captions pyproject.toml \
		--no-annotate --no-header --output-file requirements.lock
