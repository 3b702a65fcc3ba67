# Targets are listed by `make help`. A stage runs on ROOT: make king ROOT=runs/mine ARGS="--limit 3"

PYTHON ?= python3
ROOT ?= runs/demo
ARGS ?=
BIN = .venv/bin
SCRIPTS = prompt king ch validate report export
MORE = run_turns check_judges env_setup analyze bug_inject nl2repo pr_tasks prove build_dp audit solve
PYTEST = $(BIN)/python -m pytest -q -n auto --maxprocesses 8
CONTAINED = docker or pods or chromium or postgres

.DEFAULT_GOAL := help
.PHONY: help setup repo demo demo-model demo-env demo-bugs demo-pr demo-dp images agent-image test test-containers test-demos record-runs test-wheel test-litellm test-trl test-nemo-gym test-harbor test-swebench check-all figures lint lock duel loop sessions status clean $(SCRIPTS) $(MORE)

help:          ## this list
	@awk -F ':.*## ' '/^[a-z$$()A-Z -]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  make STAGE           one stage on ROOT=$(ROOT): $(SCRIPTS) $(MORE)   (ARGS=\"...\" goes to the script; env_setup wants --input or --repo there, bug_inject and build_dp their words)"

VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
SETUP = .venv/.done-$(VERSION)
INSTALLED = .venv/lib/python*/site-packages/*.dist-info

setup: $(SETUP)  ## make .venv from the lock file (with the embedded model); PYTHON=python3.12 makes it again with that Python

$(SETUP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "codedata needs Python 3.10 or later, $(PYTHON) is $(or $(VERSION),missing). Try: make setup PYTHON=python3.12" >&2; exit 1; }
	@test ! -e .venv -o -e $@ || echo "make: .venv has another Python than $(VERSION), or is incomplete: making it again"
	@echo "make: .venv of $$($(PYTHON) --version): downloading the packages in requirements.lock (half a gigabyte), then installing them (a minute or two)"
	@$(PYTHON) -m venv $$(test -e $@ || echo --clear) .venv
	@while sleep 20 > /dev/null 2>&1 && kill -0 $$$$ 2> /dev/null; do \
		echo "make: $$(ls -d $(INSTALLED) | wc -l) packages installed so far; $$(grep -Eo '^ *(Collecting|Downloading|Installing|WARNING: Retrying) [^ ]+' .venv/pip.log | tail -n 1)"; done & \
	$(BIN)/python -m pip install --progress-bar off --disable-pip-version-check --no-deps --require-hashes -r requirements.lock > .venv/pip.log 2>&1 || \
		{ tail -n 20 .venv/pip.log >&2; echo "make: not all packages are installed; see .venv/pip.log" >&2; exit 1; }
	@touch $@
	@echo "make: .venv has $$($(BIN)/python --version) and $$(ls -d $(INSTALLED) | wc -l) packages$(if $(filter setup,$(MAKECMDGOALS)),. Next: make demo (no key and no network); make help lists the rest)"

demo: setup    ## a duel of 33 turns with kept replies of a strong model: no key, no network (half a minute)
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh samples/demo.sh runs/demo

demo-model: setup  ## the scripts on eight turns of the samples with the small model (about 5 minutes)
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh samples/demo-model.sh runs/demo-model

demo-env: setup images  ## set up sample repositories in containers: no model (needs a Docker engine: tools/docker-up)
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh samples/demo-env.sh runs/demo-env

demo-bugs: setup images  ## put bugs into sample repositories, prove and report them: no model (about 10 minutes; fewer with ARGS="--limit 2")
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh samples/demo-bugs.sh runs/demo-bugs $(ARGS)

demo-pr: setup images  ## tasks of four pull requests of a sample project: no model (2 to 3 minutes)
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh samples/demo-pr.sh runs/demo-pr

demo-dp: setup images  ## a seed to a reviewed and audited terminal task: the models' replies are recorded, validation is real (5 minutes)
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh samples/demo-dp.sh runs/demo-dp

repo: setup    ## all steps for REPO=path-or-address: tests, real changes and bugs, documents, exported tasks, a summary
	@tools/repo "$(REPO)" $(if $(filter file,$(origin ROOT)),,--root "$(ROOT)") $(ARGS)

images:        ## codedata-base:bookworm, the base image for repositories
	@tools/docker-up

agent-image: setup images  ## mini-swe-agent with its own Python, for `solve.py --agent command`
	@tools/agent-image

test: setup    ## the tests that need no engine, pods or browser (no network; 4 minutes on 2 cores)
	$(PYTEST) --dist worksteal --junitxml=build/test.xml -m "not ($(CONTAINED) or demo or litellm or long)" $(ARGS)

# containers make a worker wait, so there are half as many workers again as cores
test-containers: setup  ## the tests that need them; without an engine they fail with a message (a quarter of an hour on 2 cores)
	PYTEST_XDIST_AUTO_NUM_WORKERS=$$(($$(nproc) * 3 / 2)) $(PYTEST) --dist loadfile --junitxml=build/test-containers.xml -m "($(CONTAINED)) and not long" $(ARGS)

test-demos: setup  ## check the results of the five demos in runs/ (needs their images)
	$(PYTEST) -m demo --root runs tests/test_demos.py $(ARGS)

record-runs: setup images  ## record the runs in tests/frozen again, in containers, with the decisions on them
	PYTHONPATH=.:tests:benchmarks $(BIN)/python tests/record_runs.py $(ARGS)

test-wheel:    ## install the wheel and its dependencies in a new environment (.venv-wheel), and run the demo there
	@rm -rf build/lib .venv-wheel && $(PYTHON) -m venv .venv-wheel
	@.venv-wheel/bin/pip install --quiet --disable-pip-version-check .
	@cd .venv-wheel && bin/codedata demo && bin/codedata status --root runs/demo

test-litellm: .venv-litellm/.done  ## models that are called through LiteLLM (0.4 GB of packages in .venv-litellm)
	.venv-litellm/bin/python -m pytest -q -W ignore tests/llm/test_litellm.py $(ARGS)

# the tests' packages are those of .venv
.venv-litellm/.done: requirements-litellm.lock $(SETUP)
	@$(BIN)/python -m venv --clear .venv-litellm
	@.venv-litellm/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-litellm.lock
	@echo $(CURDIR)/.venv/lib/python$(VERSION)/site-packages > .venv-litellm/lib/python$(VERSION)/site-packages/codedata.pth
	@touch $@

test-trl:      ## train on the exports with TRL (Python 3.11, 1.7 GB of packages in .venv-trl)
	@tools/test-trl $(ARGS)

test-nemo-gym: setup  ## check single calls with NeMo Gym's verifier (Python 3.12, 0.7 GB of packages in .venv-nemo-gym)
	@PATH="$(CURDIR)/$(BIN):$$PATH" tools/test-nemo-gym $(ARGS)

test-harbor: setup images  ## run a task in Harbor, and check the files that its readers use (Python 3.12; .venv-harbor, .venv-verifiers)
	@PATH="$(CURDIR)/$(BIN):$$PATH" tools/test-harbor

test-swebench: setup images  ## run a sample bug in the harnesses of SWE-bench and SWE-smith (.venv-swebench, .venv-swesmith)
	@PATH="$(CURDIR)/$(BIN):$$PATH" tools/test-swebench $(ARGS)

check-all: setup  ## the benchmarks at full size, one JSON line each, and the long tests (needs an engine)
	$(BIN)/python benchmarks/throughput.py
	$(BIN)/python benchmarks/throughput.py --https
	$(BIN)/python benchmarks/resume.py
	$(BIN)/python benchmarks/engine.py
	$(BIN)/python benchmarks/panel.py
	$(BIN)/python benchmarks/compare.py
	$(BIN)/python benchmarks/checks.py
	$(BIN)/python benchmarks/leak.py
	$(BIN)/python benchmarks/chaos.py
	$(BIN)/python -m pytest -q -m long

lint: setup    ## ruff, direction of imports, slow patterns, sizes above their ceilings, and phrases to reword
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/python tools/patterns
	$(BIN)/python tools/figures --check
	$(BIN)/python tools/prose --check

figures:       ## tokens, lengths, docstrings, names and cycles of the code, words and files, each with its ceiling
	@tools/figures $(ARGS)

# exit 1 (some items failed; the script says which and how to go on) lets the next goal of `make prompt king ch` run
$(SCRIPTS) $(MORE): setup
	@$(BIN)/python $@.py --root $(ROOT) $(ARGS) || { code=$$?; [ $$code -eq 1 ] || exit $$code; }

duel: setup    ## run the duel's stages on ROOT; unfinished items are listed at the end (ARGS=--dry-run: only the cost)
	@PATH="$(CURDIR)/$(BIN):$$PATH" tools/chain duel --root $(ROOT) $(ARGS)

sessions: setup    ## your own coding sessions (Claude Code, Codex, Pi, …): a table and the price of a duel; with ARGS=--yes, training sets in ROOT
	@PATH="$(CURDIR)/$(BIN):$$PATH" tools/chain sessions --root $(ROOT) $(ARGS)

loop: setup    ## let agents attempt the tasks of ROOT (from bug_inject, pr_tasks, nl2repo, build_dp, or yours); attempts become training sets and turns of a duel
	@PATH="$(CURDIR)/$(BIN):$$PATH" tools/chain loop --root $(ROOT) $(ARGS)

status: setup  ## show every stage of ROOT in one table
	@$(BIN)/python status.py --root $(ROOT) $(ARGS)

lock:          ## resolve the dependencies again (needs uv)
	sh tools/lock

clean:         ## remove .venv and caches; never records
	rm -rf .venv .venv-wheel .venv-litellm .venv-trl .venv-grpo .venv-nemo-gym .venv-harbor .venv-verifiers .venv-swebench .venv-swesmith .pytest_cache .ruff_cache build *.egg-info
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
