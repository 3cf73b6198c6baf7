# Everything a developer or a curious marketer runs. `make` alone lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
SPARK := $(VENV)/spark
OLDEST := .venv-oldest
BENCH ?=

# Without compiled modules beside their sources, every process that a test starts would compile the toolkit anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test coverage lab lint types bench soak spark oldest clean

help: ## list what there is to make
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# Built once, and again only when the lock or the project file changes.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Python 3.11 or newer is needed; '$(PYTHON)' is $$($(PYTHON) --version 2>/dev/null || echo 'not one that runs')." >&2; \
	  echo "Name another: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "This Python cannot make a virtual environment. On Debian: apt-get install python3-venv" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing what requirements.lock names into $(VENV); the first time this takes a few minutes."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@touch $@

demo: $(READY) ## the whole circle on the shipped log: replay, sweep, lift, approve, send to ./outbox, report.html
	@$(BIN)/toolkit demo

test: $(READY) ## all tests and docstring examples; long ones are in `make soak`
	@$(BIN)/python -m tests.kernels
	@$(BIN)/python -m pytest -n auto --dist loadfile

# The compiled kernel hides from coverage, so that here it runs as plain Python; answers to mails are drawn by simulation,
# and replays in Spark need Spark.
coverage: $(SPARK) ## of the language and the engine, at least 95 %, the kernel as plain Python; needs Java 17 for Spark
	@NUMBA_DISABLE_JIT=1 $(BIN)/python -m pytest -q -n auto --dist loadfile tests/scenario tests/engine \
	  --ignore=tests/engine/test_real_logs.py --cov=toolkit.scenario --cov=toolkit.engine --cov-report=
	@NUMBA_DISABLE_JIT=1 $(BIN)/python -m pytest -q tests/simulation/test_simulate.py -k "nothing or answers or opens or alike or coupons" \
	  --cov=toolkit.scenario --cov=toolkit.engine --cov-append --cov-report=
	@$(BIN)/python -m pytest -q tests/spark \
	  --cov=toolkit.scenario --cov=toolkit.engine --cov-append --cov-report=term-missing:skip-covered --cov-fail-under=95

lab: $(READY) ## JupyterLab, open on notebooks/00_start_here.ipynb
	@$(BIN)/toolkit lab

lint: $(READY) ## style, layout and the import contract
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports

types: $(READY) ## the strict type checker
	@$(BIN)/mypy

bench: $(READY) ## measure; BENCH=name runs one (benchmarks/results.json, docs/benchmarks.md)
	@$(BIN)/python -m benchmarks $(BENCH)

soak: $(READY) ## the long tests
	@$(BIN)/python -m pytest -m soak || { code=$$?; test $$code -eq 5 && echo "There is no long test yet." || exit $$code; }

# Half a gigabyte that most people do not need, so it has a lock of its own.
$(SPARK): $(READY) requirements-spark.lock
	@command -v java >/dev/null || { echo "Spark needs Java 17. On Debian: apt-get install openjdk-17-jre-headless" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement requirements-spark.lock
	@touch $@

spark: $(SPARK) ## the tests of Spark, in executors of their own; installs pyspark, needs Java 17
	@$(BIN)/python -m pytest tests/spark

# What pyproject.toml allows must hold at its lower end. That old versions warn of what newer ones changed is no fault.
oldest: ## the tests with the oldest version of each dependency that pyproject.toml allows, installed into .venv-oldest
	@test -x $(OLDEST)/bin/python || $(PYTHON) -m venv $(OLDEST)
	@$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check uv
	@$(OLDEST)/bin/uv pip install --quiet --python $(OLDEST)/bin/python --resolution lowest-direct \
	  --editable '.[postgres,ses,bounces,keyring,app,test]'
	@NUMBA_CACHE_DIR=$(CURDIR)/$(OLDEST)/kernels $(OLDEST)/bin/python -m tests.kernels
	@NUMBA_CACHE_DIR=$(CURDIR)/$(OLDEST)/kernels $(OLDEST)/bin/python -m pytest -n auto --dist loadfile -W ignore::DeprecationWarning \
	  --ignore=tests/spark --ignore=tests/test_house.py --ignore=tests/test_types.py

clean: ## remove the virtual environment and everything made by a run
	rm -rf $(VENV) .venv-* outbox report.html build dist .coverage .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find toolkit tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
