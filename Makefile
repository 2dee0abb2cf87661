# The commands of this project. `make` alone lists them; every line with two hashes is its own help text.
# Python runs from .venv only, which is made from the lock file and made again when the lock or pyproject.toml changes.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed

# The lock is resolved for 3.11, so that comes first. `ensurepip` is asked for because distributions like to leave it out.
PYTHONS := $(PYTHON) python3.11 python3.12 python3.13 python3.14 python3
USABLE := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))

PIP_INSTALL := $(PY) -m pip install --quiet --disable-pip-version-check --no-input
PIP_COMPILE := CUSTOM_COMPILE_COMMAND="make lock" $(VENV)/bin/pip-compile --quiet --generate-hashes --allow-unsafe \
	--strip-extras --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z.-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

## The environment ---------------------------------------------------------------------------------------------------

.venv: $(STAMP) ## Make the virtual environment from the lock file

$(STAMP): requirements-dev.lock pyproject.toml operator/aigateway/__init__.py
	@if [ ! -x $(PY) ]; then \
		python=""; \
		for candidate in $(PYTHONS); do \
			if "$$candidate" -c '$(USABLE)' 2>/dev/null; then python="$$candidate"; break; fi; \
		done; \
		if [ -z "$$python" ]; then \
			echo "No Python 3.11 or newer with venv and ensurepip was found (tried: $(PYTHONS))." >&2; \
			echo "Install one (Debian and Ubuntu: python3 and python3-venv), or name one: make PYTHON=/path/to/python3.11" >&2; \
			exit 1; \
		fi; \
		echo "Making $(VENV) with $$($$python --version)"; \
		"$$python" -m venv $(VENV); \
	fi
	@echo "Installing the locked packages (about 200 MB on the first run)"
	@$(PIP_INSTALL) --require-hashes -r requirements-dev.lock
	@$(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: lock
lock: ## Write all lock files anew after a change of dependencies; what is locked keeps its version
	@[ -x $(VENV)/bin/pip-compile ] || $(MAKE) --no-print-directory $(VENV)
	$(PIP_COMPILE) $(UPGRADE) --output-file requirements.lock pyproject.toml
	$(PIP_COMPILE) $(UPGRADE) --extra test --constraint requirements.lock --output-file requirements-dev.lock pyproject.toml
	$(PIP_COMPILE) $(UPGRADE) --build-deps-for wheel --only-build-deps --constraint requirements-dev.lock \
		--output-file requirements-build.lock pyproject.toml

.PHONY: upgrade
upgrade: UPGRADE := --upgrade
upgrade: lock ## Raise every locked version to the newest that pyproject.toml allows

.PHONY: clean
clean: ## Remove the virtual environment, caches and build results (the stack's binaries stay in the user's cache)
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis
	find operator tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

## Checking and changing the source ----------------------------------------------------------------------------------

.PHONY: lint
lint: $(VENV) ## Check style, format, types and the layers
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

.PHONY: format
format: $(VENV) ## Format the source and apply the safe style fixes
	$(VENV)/bin/ruff check --fix-only
	$(VENV)/bin/ruff format

.PHONY: generate
generate: $(VENV) ## Write the CRD, reference pages, chart and manifests anew from the API models and values.yaml
	$(PY) -m aigateway.api.generate
	$(PY) -m tools.chart

## What is shipped ---------------------------------------------------------------------------------------------------

VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' operator/aigateway/__init__.py)
CONTAINER_TOOL ?= docker
PYTHON_IMAGE ?= python:3.11-slim

.PHONY: dist
dist: $(VENV) ## Build wheel and sdist into dist/
	$(PY) -m hatchling build --directory dist

.PHONY: image
image: ## Build the image with CONTAINER_TOOL (docker, podman, buildah); push it where your nodes pull from
	$(CONTAINER_TOOL) build --build-arg PYTHON_IMAGE=$(PYTHON_IMAGE) --tag aigateway-operator:$(VERSION) .

## Tests -------------------------------------------------------------------------------------------------------------

.PHONY: test
test: ## Run everything: lint, quick tests, then the tests on the real stack (built on the first run)
	$(MAKE) --no-print-directory test-quick
	$(MAKE) --no-print-directory test-integration

.PHONY: test-quick
test-quick: lint ## Run lint and the tests that need no stack (under a minute)
	$(PY) -m pytest

.PHONY: test-integration
test-integration: $(VENV) ## Build the real stack if needed and run the tests inside it
	$(PY) -m tests.stack build
	$(PY) -m tests.stack run -- $(PY) -m pytest --require-stack --timeout=300 tests/integration

## Benchmarks --------------------------------------------------------------------------------------------------------

BENCHES := main resilience

.PHONY: bench
bench: $(addprefix bench-,$(BENCHES)) ## Run every benchmark on the real stack

.PHONY: bench-main
bench-main: ## Measure the whole operator beside a bare client (about 8 min; FLAGS=--quick for a look)

.PHONY: bench-resilience
bench-resilience: ## Measure policies on failing models beside hand-written routes (about 12 min; FLAGS=--quick for a look)

$(addprefix bench-,$(BENCHES)): bench-%: $(VENV)
	$(PY) -m tests.stack build --parts cluster,routing
	$(PY) -m tests.stack run -- $(PY) -m tests.bench.$* $(FLAGS)

## The real stack ----------------------------------------------------------------------------------------------------

.PHONY: demo
demo: $(VENV) ## Show the operator at work on a real control plane and data plane
	$(PY) -m tests.demo

.PHONY: stack
stack: $(VENV) ## Build the real stack and keep it up until Ctrl-C
	$(PY) -m tests.stack build
	$(PY) -m tests.stack up

.PHONY: shell
shell: $(VENV) ## Open a shell with kubectl inside the stack's network namespace
	$(PY) -m tests.stack shell
