# make demo: from raw slides to demo/results/report.html.  make test: every test.  Both set up .venv first.
# While working: make lint types fast, as a pull request is checked.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup demo reproduce test fast fuzz lint types format reference docs docs-pictures wheel lock clean-demo

setup: $(VENV)/.installed

$(VENV)/.installed: requirements.lock pyproject.toml hatch_build.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	touch $@

demo: setup
	$(BIN)/ksfusion run config.yaml

# The paper's configuration on its cohort, and the published values beside its own (docs/reproduce.md). CONFIG: a copy of
# resources/cohorts/glioma.yaml beside data/; PROFILE=slurm, CORES=8 as wanted.
CONFIG ?= glioma.yaml
reproduce: setup
	$(BIN)/ksfusion reproduce $(CONFIG) $(CORES:%=--cores %) $(PROFILE:%=--profile %)

# On two processes, which share the tests out by module; PROCESSES= for one.
PROCESSES ?= 2
test: setup $(VENV)/.docs
	$(BIN)/python -m pytest $(PROCESSES:%=--numprocesses % --dist loadscope --no-loadscope-reorder)

# The unit tests that take no long time, one process for each core.
fast: setup
	$(BIN)/python -m pytest tests/unit -m "not slow and not real" --numprocesses auto

# Damaged files for every reader, for so long each; READERS="h5ad slide-tif" for some. Findings are in tests/fuzz/found.
FUZZ_SECONDS ?= 600
READERS ?=
fuzz: setup
	$(BIN)/python tests/fuzz/fuzz.py $(READERS) --seconds $(FUZZ_SECONDS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint
	$(BIN)/lint-imports

types: setup
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow

# After a key of the configuration or a file of results was added or changed: the pages, the schema and the defaults in
# config.yaml.
reference: setup
	$(BIN)/ksfusion write-reference --output .

# The site of docs/, to be opened from .site/html/index.html; a link that leads nowhere is an error.
docs: setup $(VENV)/.docs
	$(BIN)/python tools/pages.py --output .site/pages
	$(BIN)/zensical build --strict --clean

$(VENV)/.docs: $(VENV)/.installed requirements-docs.lock
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --require-hashes -r requirements-docs.lock
	touch $@

# The pictures in docs/, from a finished demo.
docs-pictures: setup
	$(BIN)/python tools/pictures.py --demo demo --output docs

wheel: setup
	$(BIN)/python -m build --no-isolation --wheel

# Needs uv; run it after changing the dependencies in pyproject.toml, then bring envs/ in step.
lock:
	uv pip compile --quiet --python-version 3.11 --extra dev --extra slurm --extra tensorboard --extra torchmil \
		--generate-hashes --no-emit-index-url --no-header pyproject.toml -o requirements.lock
	uv pip compile --quiet --python-version 3.11 --group docs --constraint requirements.lock --generate-hashes \
		--no-emit-index-url --no-header --no-annotate -o requirements-docs.lock

clean-demo:
	rm -rf demo
