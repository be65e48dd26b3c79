# make demo: from raw slides to results/report.html.  make test: every test.  Both set up .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup demo test lock clean-demo

setup: $(VENV)/.installed

$(VENV)/.installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	touch $@

demo: setup
	$(BIN)/snakemake --cores all

test: setup
	$(BIN)/python -m pytest

# Needs uv; run it after changing the dependencies in pyproject.toml, then bring envs/ in step.
lock:
	uv pip compile --quiet --python-version 3.11 --extra dev --generate-hashes --no-emit-index-url --no-header \
		pyproject.toml -o requirements.lock

clean-demo:
	rm -rf demo results
