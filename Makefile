# Each target does its own set-up: a machine with Python 3.11+, pip and make is enough.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: demo sandbox test lint differential chaos bench docs lock clean
.DELETE_ON_ERROR:

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# One stamp per set of requirements; it goes stale when its pins or the project's metadata change.
$(VENV)/.%.stamp: requirements/%.txt pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --require-hashes -r requirements/$*.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

demo: $(VENV)/.run.stamp
	$(BIN)/blocklist demo

# A whole exchange to develop against, until Ctrl-C.
sandbox: $(VENV)/.exchange.stamp
	$(BIN)/blocklist sandbox

test: $(VENV)/.dev.stamp
	$(BIN)/python -m pytest -n 3 --dist worksteal

lint: $(VENV)/.dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Millions of generated texts, read the fast way and by the reference.
differential: $(VENV)/.dev.stamp
	BLOCKLIST_TEXTS=500000 BLOCKLIST_CHAOS=long $(BIN)/python -m pytest -n 2 tests/numbers/test_numbers_agreement.py

# Everything that goes wrong, for long; the tests do a little of each.
SCALED = $(shell grep -rlE --include='test_*.py' '^from (support.scale|hypothesis) import' tests)
chaos: $(VENV)/.dev.stamp
	BLOCKLIST_CHAOS=long $(BIN)/python -m pytest -n 3 --dist worksteal tests/chaos $(filter-out tests/chaos/%,$(SCALED))

bench: $(VENV)/.bench.stamp
	$(BIN)/python -m benchmarks --rows 1000000,10000000 --json benchmarks/results/latest.json

docs: $(VENV)/.docs.stamp
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

# Pins for every Python from 3.11 on, with hashes and without the address of any index.
LOCK = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--custom-compile-command "make lock" --group build pyproject.toml
EVERYTHING = --extra exchange --extra kafka --extra postgres --extra redis
lock:
	$(LOCK) -o requirements/run.txt
	$(LOCK) --extra exchange -o requirements/exchange.txt
	$(LOCK) $(EVERYTHING) --group test --group lint -o requirements/dev.txt
	$(LOCK) $(EVERYTHING) --group test --group bench -o requirements/bench.txt
	$(LOCK) --extra kafka --extra postgres --extra redis --group docs -o requirements/docs.txt

clean:
	rm -rf $(VENV) docs/_build .mypy_cache .ruff_cache .pytest_cache
