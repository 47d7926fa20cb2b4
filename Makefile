# Every target does its own set-up: a clean clone needs Python 3.11 or newer and nothing else.
# `make` alone says what there is.

SHELL := /bin/bash
PYTHON_BIN := .venv/bin/python
LOCK := .venv/installer/bin/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
	--no-emit-index-url --no-header

.DEFAULT_GOAL := help
MINUTES ?= 10
KEYS ?= 50000
AUDIT ?= 200000
export MINUTES KEYS AUDIT

.PHONY: help run stop faults soak mutants bench bench-data screenshots demo test check lock clean \
	run-set test-set installer browser load

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' Makefile

run: run-set ## start a whole installation in .run/ and stay; Ctrl-C ends it, the data stay
	@exec $(PYTHON_BIN) -m sandbox run

stop: run-set ## end what runs in .run/, also what a killed launcher left behind
	@$(PYTHON_BIN) -m sandbox stop

faults: test-set ## every fault at every side effect of a rotation, with a table (about ten minutes)
	@$(PYTHON_BIN) -m tests.faults

soak: test-set ## 50 keys, 10 applications and random faults for MINUTES (10), with the oracle at the end
	@$(PYTHON_BIN) -m tests.soak

mutants: test-set ## take each guard out of a copy and see its tests fail (about ten minutes)
	@$(PYTHON_BIN) -m tests.mutants

bench: test-set load ## figures as ratios of one run, on servers of its own (some minutes); .run/bench.json
	@$(PYTHON_BIN) -m tests.bench

bench-data: test-set ## a large installation by COPY (KEYS=50000 AUDIT=200000) and its pages beside a small one
	@$(PYTHON_BIN) -m tests.bench.pages

screenshots: test-set browser ## every page at three widths in both themes; README's six into docs/screenshots/
	@$(PYTHON_BIN) -m pytest -n0 -q tests/end_to_end/screenshots.py

demo: run-set ## rotate two keys under a running application, from nothing to the proof
	@exec $(PYTHON_BIN) -m sandbox demo

test: test-set browser check ## all checks, then all tests on real servers
	$(PYTHON_BIN) -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

check: test-set ## style, types, import contracts, migrations in step, production settings
	scripts/check

lock: installer ## lock the requirements anew after a change to one of requirements*.in
	$(LOCK) requirements.in --output-file requirements.txt
	$(LOCK) requirements-installer.in --output-file requirements-installer.txt
	$(LOCK) requirements-sandbox.in --output-file requirements-sandbox.txt
	$(LOCK) requirements-apprise.in --output-file requirements-apprise.txt
	$(LOCK) requirements-dev.in --output-file requirements-dev.txt

clean: ## end the sandbox and delete it with its data, the caches and .venv
	@if [ -x $(PYTHON_BIN) ] && [ -d .run ]; then $(PYTHON_BIN) -m sandbox clean; fi
	rm -rf .run .venv .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

run-set:
	@scripts/bootstrap run

test-set:
	@scripts/bootstrap test

installer:
	@scripts/bootstrap installer

browser:
	@scripts/bootstrap browser

load:
	@scripts/bootstrap load
