# Each target does its own set-up: a machine with Python 3.11+, pip and make is enough.
# `make` uses the environment .venv, `make PYTHON=python3.13` one of that version's own, .venv-3.13.
PYTHON  ?= python3
VERSION := $(shell $(PYTHON) -c 'import sys; sys.version_info >= (3, 11) and print("%d.%d" % sys.version_info[:2])' 2> /dev/null)
VENV    := .venv$(if $(filter-out file,$(origin PYTHON)),-$(VERSION))
BIN      = $(VENV)/bin
PYTEST   = $(BIN)/python -m pytest
export PIP_DISABLE_PIP_VERSION_CHECK = 1
# Tests start hundreds of processes: what one of them has compiled is kept for the others.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo sandbox test integration integration-spark vectors lint differential chaos timing coverage test-httpx2 bench bench-changes bench-serving docs lock clean
.DELETE_ON_ERROR:

$(VENV)/bin/python:
	$(if $(VERSION),,$(error $(PYTHON) is not Python 3.11 or later; name one that is: make PYTHON=python3.13))
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

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
	$(PYTEST) -n 3 --dist worksteal

# With programs of others: gateways, readers in other languages, Spark. A test whose neighbour is not installed is skipped;
# with BLOCKLIST_INTEGRATION_REQUIRED=1 it fails.
integration: $(VENV)/.dev.stamp integration-spark
	$(PYTEST) integration --ignore integration/spark

# Spark is half a gigabyte, and has an environment of its own. It needs Java 17 or later.
integration-spark:
	$(MAKE) VENV=$(VENV)-spark $(VENV)-spark/.spark.stamp
	$(VENV)-spark/bin/python -m pytest integration/spark

# The vectors of the protocol that a program makes; a test says if those that are committed are not these.
vectors: $(VENV)/.dev.stamp
	cd tests && $(CURDIR)/$(BIN)/python -m vectors

# basedpyright asks the `python` on the PATH where packages are. The report on types is long, and shown if any is missing.
BASEDPYRIGHT = PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/basedpyright
lint: $(VENV)/.dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BASEDPYRIGHT)
	@report=$$($(BASEDPYRIGHT) --verifytypes blocklist_sdk --ignoreexternal) || { printf '%s\n' "$$report"; exit 1; }; \
	printf '%s\n' "$$report" | grep '^Type completeness score'

# Millions of generated texts, read the fast way and by the reference.
differential: $(VENV)/.dev.stamp
	BLOCKLIST_TEXTS=500000 BLOCKLIST_CHAOS=long $(PYTEST) -n 2 tests/numbers/test_numbers_agreement.py

# Everything that goes wrong, for long; the tests do a little of each.
SCALED = $(shell grep -rlE --include='test_*.py' '^from (support.scale|hypothesis) import' tests)
chaos: $(VENV)/.dev.stamp
	BLOCKLIST_CHAOS=long $(PYTEST) -n 3 --dist worksteal tests/chaos $(filter-out tests/chaos/%,$(SCALED))

# The tests whose course depends on the machine's speed, again and again, while every processor is busy with something else.
TIMES = 10
timing: $(VENV)/.dev.stamp
	@for processor in $$(seq $$(getconf _NPROCESSORS_ONLN)); do (while :; do :; done) & busy="$$busy $$!"; done; \
	trap 'kill $$busy' EXIT; trap 'exit 1' INT TERM; \
	for time in $$(seq $(TIMES)); do echo "run $$time of $(TIMES)"; $(PYTEST) -q -m timing -n 2 --dist worksteal || exit 1; done

# Which branches the tests take, in their own process and in all that they start.
coverage: $(VENV)/.dev.stamp
	rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest -n 3 --dist worksteal
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# The same tests with httpx2, httpx's successor, wherever httpx is asked for; in an environment of their own.
test-httpx2:
	$(MAKE) VENV=$(VENV)-httpx2 $(VENV)-httpx2/.httpx2.stamp
	PYTHONPATH=$(CURDIR)/tests/with_httpx2 $(VENV)-httpx2/bin/python -m pytest -n 3 --dist worksteal

bench: $(VENV)/.bench.stamp
	$(BIN)/python -m benchmarks --rows 1000000,10000000 --json benchmarks/results/latest.json

# What a change costs, beside the commit before; lists are made once and kept in ~/.cache. For a hundred million rows:
# --sizes 1 10 100, with 30 GB of disk.
bench-changes: $(VENV)/.bench.stamp
	$(BIN)/python -m benchmarks.changes --sizes 1 10 --peers --json benchmarks/results/changes.json

# What a look-up server answers, beside Redis and SQLite; needs Debian's redis-server, redis-tools, wrk and gcc.
bench-serving: $(VENV)/.bench.stamp
	$(BIN)/python -m benchmarks.serving --json benchmarks/results/serving.json

docs: $(VENV)/.docs.stamp
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

# Pins for every Python from 3.11 on, with hashes and without the address of any index. All have the versions of dev.txt,
# since they are installed into one environment one after the other.
LOCK = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--custom-compile-command "make lock" --group build pyproject.toml
LIKE_DEV = --constraint requirements/dev.txt
EVERYTHING = --extra exchange --extra kafka --extra postgres --extra redis --extra serve
lock:
	$(LOCK) $(EVERYTHING) --group test --group lint -o requirements/dev.txt
	$(LOCK) $(LIKE_DEV) -o requirements/run.txt
	$(LOCK) $(LIKE_DEV) --extra exchange -o requirements/exchange.txt
	$(LOCK) $(LIKE_DEV) --extra serve -o requirements/serve.txt
	$(LOCK) $(LIKE_DEV) $(EVERYTHING) --group test --group httpx2 -o requirements/httpx2.txt
	$(LOCK) $(LIKE_DEV) $(EVERYTHING) --group test --group bench -o requirements/bench.txt
	$(LOCK) $(LIKE_DEV) $(EVERYTHING) --group docs -o requirements/docs.txt
	$(LOCK) $(LIKE_DEV) --extra spark --group test --group spark -o requirements/spark.txt

clean:
	rm -rf .venv .venv-* .coverage .coverage.* docs/_build .mypy_cache .ruff_cache .pytest_cache
