# Every command of the project. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
UV_VERSION := 0.13.9
CACHE := $(or $(DORMOUSE_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/dormouse)
UV := $(CACHE)/tools/uv-$(UV_VERSION)/bin/uv
PY := .venv/bin/python

.PHONY: help
help: ## List the commands
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  \033[36m%-14s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(UV):
	@echo "installing uv $(UV_VERSION)"
	@python3 -m venv $(CACHE)/tools/uv-$(UV_VERSION) 2>/dev/null || { apt-get update -q && apt-get install -y -q --no-install-recommends python3-venv && python3 -m venv $(CACHE)/tools/uv-$(UV_VERSION); }
	@$(CACHE)/tools/uv-$(UV_VERSION)/bin/python -m pip install -q --disable-pip-version-check uv==$(UV_VERSION)

.venv/.synced: $(UV) pyproject.toml uv.lock crds/pyproject.toml operator/pyproject.toml router/pyproject.toml runtime/pyproject.toml
	@$(UV) sync -q --frozen --all-packages
	@touch $@

.PHONY: venv
venv: .venv/.synced ## Make the Python environment (.venv)

##@ The local cluster
.PHONY: up down
up: venv ## Bring everything up: cluster, images, chart, sample models; chat with a sleeping model
	@$(PY) -m dev.up
down: ## Stop the local cluster and remove every trace of it (state is kept; `make wipe` drops it too)
	@python3 -m dev.cluster down
.PHONY: wipe
wipe: ## Like down, and drop the cluster's state
	@python3 -m dev.cluster down --wipe

##@ Checks
.PHONY: check lint types imports unit slow e2e plane failures stories test format generate lock host
host: ## Install the Debian packages that tests need and the machine lacks (as root)
	@python3 -m dev.host || echo "going on without: tests that need what is missing say so"
check: venv lint types imports unit ## Lint, types, import rules, drift and unit tests: five minutes or so
lint: venv ## Lint and formatting
	@.venv/bin/ruff check -q . && .venv/bin/ruff format -q --check . && $(PY) -m dev.generate --check
types: venv ## mypy --strict
	@.venv/bin/mypy
imports: venv ## Import rules (import-linter)
	@.venv/bin/lint-imports
unit: venv host ## Unit tests
	@.venv/bin/pytest -q -n 2 --dist worksteal -m "not slow and not controlplane and not e2e and not engine"
slow: venv host ## Unit tests that take seconds: floods, real processes, time-outs
	@.venv/bin/pytest -q -n 2 --dist worksteal -m "slow"
test: venv ## Everything: what CI runs. It goes on after a failure, so that one run tells of all
	@$(MAKE) --no-print-directory --keep-going check slow e2e
e2e: venv ## Control-plane, engine and end-to-end tests
	@$(PY) -m dev.testbed
	@$(MAKE) --no-print-directory --keep-going plane failures stories
plane failures stories: venv
plane: ## Tests beside a control plane without a node
	@.venv/bin/pytest -n 2 --dist loadfile -m controlplane --ignore=tests/controlplane/test_failures.py tests/controlplane
failures: ## Every way a model can fail, beside nothing else
	@.venv/bin/pytest tests/controlplane/test_failures.py
stories: ## Tests on the whole cluster one after the other, those of engines beside them
	@.venv/bin/pytest -n 2 --dist loadgroup -m "e2e or engine" tests/bench tests/dev tests/e2e tests/runtime/engine
format: venv ## Format the code
	@.venv/bin/ruff format -q . && .venv/bin/ruff check -q --fix .
generate: venv ## Write generated files (CRDs, plain manifests) from their sources
	@$(PY) -m dev.generate
lock: $(UV) ## Update uv.lock
	@$(UV) lock

##@ On a machine with an NVIDIA GPU
.PHONY: gpu-check
gpu-check: ## Prove the runtime on this machine's GPU: starts, speed, quantization, sleep, watching (docs/gpu.md; ARGS=--cpu rehearses)
	@python3 -m bench.gpucheck $(ARGS)
