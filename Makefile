# Targets are listed by `make help`. A stage runs on ROOT: make king ROOT=runs/mine ARGS="--limit 3"

PYTHON ?= python3
ROOT ?= runs/demo
ARGS ?=
BIN = .venv/bin
SCRIPTS = prompt king ch validate report export
MORE = run_turns check_judges env_setup analyze bug_inject nl2repo pr_tasks build_dp audit solve
PYTEST = $(BIN)/python -m pytest -q -n auto --maxprocesses 8
CONTAINED = docker or pods or chromium

.DEFAULT_GOAL := help
.PHONY: help setup repo demo demo-model demo-env demo-bugs demo-pr demo-dp images agent-image test test-containers test-demos record-runs test-wheel test-trl test-nemo-gym test-harbor test-swebench check-all figures lint lock duel loop status clean $(SCRIPTS) $(MORE)

help:          ## this list
	@awk -F ':.*## ' '/^[a-z$$()A-Z -]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  make STAGE           one stage on ROOT=$(ROOT): $(SCRIPTS) $(MORE)   (ARGS=\"...\" goes to the script; env_setup wants --input or --repo there, bug_inject and build_dp their words)"

VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
SETUP = .venv/.done-$(VERSION)
INSTALLED = .venv/lib/python*/site-packages/*.dist-info

setup: $(SETUP)  ## make .venv from the lock file (with the embedded model); anew for PYTHON=python3.12

$(SETUP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "codedata needs Python 3.10 or later, $(PYTHON) is $(or $(VERSION),missing). Try: make setup PYTHON=python3.12" >&2; exit 1; }
	@test ! -e .venv -o -e $@ || echo "make: .venv is of another Python than $(VERSION), or half made: it is made anew"
	@echo "make: .venv of $$($(PYTHON) --version): what requirements.lock names is downloaded (half a gigabyte), then installed (a minute or two)"
	@$(PYTHON) -m venv $$(test -e $@ || echo --clear) .venv
	@while sleep 20 > /dev/null 2>&1 && kill -0 $$$$ 2> /dev/null; do \
		echo "make: $$(ls -d $(INSTALLED) | wc -l) packages installed so far; $$(grep -Eo '^ *(Collecting|Downloading|Installing|WARNING: Retrying) [^ ]+' .venv/pip.log | tail -n 1)"; done & \
	$(BIN)/python -m pip install --progress-bar off --disable-pip-version-check --no-deps --require-hashes -r requirements.lock > .venv/pip.log 2>&1 || \
		{ tail -n 20 .venv/pip.log >&2; echo "make: not all is installed; .venv/pip.log has what pip said" >&2; exit 1; }
	@touch $@
	@echo "make: .venv has $$($(BIN)/python --version) and $$(ls -d $(INSTALLED) | wc -l) packages$(if $(filter setup,$(MAKECMDGOALS)),. Next: make demo (no key and no network); make help lists the rest)"

demo: setup    ## a duel of 33 turns with kept replies of a strong model: no key, no network (half a minute)
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh samples/demo.sh runs/demo

demo-model: setup  ## the scripts on eight turns of the samples with the small model (about 5 minutes)
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh samples/demo-model.sh runs/demo-model

demo-env: setup images  ## set up sample repositories in containers: no model (needs a Docker engine: tools/docker-up)
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh samples/demo-env.sh runs/demo-env

demo-bugs: setup images  ## put bugs into sample repositories, prove and report them: no model (about 10 minutes; ARGS="--limit 2": a taste)
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh samples/demo-bugs.sh runs/demo-bugs $(ARGS)

demo-pr: setup images  ## tasks of four pull requests of a sample project: no model (2 to 3 minutes)
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh samples/demo-pr.sh runs/demo-pr

demo-dp: setup images  ## a seed to a reviewed and audited terminal task: the models' replies are recorded, validation is real (5 minutes)
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh samples/demo-dp.sh runs/demo-dp

repo: setup    ## REPO=path-or-address, all the way without a model: tests, bugs, documents, exported tasks, a summary
	@tools/repo "$(REPO)" $(if $(filter file,$(origin ROOT)),,--root "$(ROOT)") $(ARGS)

images:        ## codedata-base:bookworm, the image that repositories are set up in
	@tools/docker-up

agent-image: setup images  ## mini-swe-agent with a Python of its own, which `solve.py --agent command` mounts
	@tools/agent-image

test: setup    ## the tests that want no engine, pods or browser (no network; 4 minutes on 2 cores)
	$(PYTEST) --dist worksteal --junitxml=build/test.xml -m "not ($(CONTAINED) or demo or long)" $(ARGS)

# containers make a worker wait, so there are half as many workers again as cores
test-containers: setup  ## those that do; without an engine they fail and say so (a quarter of an hour on 2 cores)
	PYTEST_XDIST_AUTO_NUM_WORKERS=$$(($$(nproc) * 3 / 2)) $(PYTEST) --dist loadfile --junitxml=build/test-containers.xml -m "($(CONTAINED)) and not long" $(ARGS)

test-demos: setup  ## what the five demos have left in runs/ (their images are still there)
	$(PYTEST) -m demo --root runs tests/test_demos.py $(ARGS)

record-runs: setup images  ## the runs in tests/frozen, in containers, with what is decided of them
	PYTHONPATH=.:tests:benchmarks $(BIN)/python tests/record_runs.py $(ARGS)

test-wheel:    ## the wheel and the packages that it names, from the registry, in a new environment (.venv-wheel), and the demo there
	@rm -rf build/lib .venv-wheel && $(PYTHON) -m venv .venv-wheel
	@.venv-wheel/bin/pip install --quiet --disable-pip-version-check .
	@cd .venv-wheel && bin/codedata demo && bin/codedata status --root runs/demo

test-trl:      ## the exports in TRL's own trainers (Python 3.11, 1.7 GB of packages in .venv-trl)
	@tools/test-trl $(ARGS)

test-nemo-gym: setup  ## single calls in NeMo Gym's own verifier (Python 3.12, 0.7 GB of packages in .venv-nemo-gym)
	@PATH="$(CURDIR)/$(BIN):$$PATH" tools/test-nemo-gym $(ARGS)

test-harbor: setup images  ## a task in Harbor, and what its readers take from it (Python 3.12; .venv-harbor, .venv-verifiers)
	@PATH="$(CURDIR)/$(BIN):$$PATH" tools/test-harbor

test-swebench: setup images  ## a sample bug in the harnesses of SWE-bench and SWE-smith (.venv-swebench, .venv-swesmith)
	@PATH="$(CURDIR)/$(BIN):$$PATH" tools/test-swebench $(ARGS)

check-all: setup  ## the benchmarks at full size, one JSON line each, and the long tests (needs an engine)
	$(BIN)/python benchmarks/throughput.py
	$(BIN)/python benchmarks/throughput.py --https
	$(BIN)/python benchmarks/resume.py
	$(BIN)/python benchmarks/engine.py
	$(BIN)/python benchmarks/panel.py
	$(BIN)/python benchmarks/checks.py
	$(BIN)/python benchmarks/leak.py
	$(BIN)/python -m pytest -q -m long

lint: setup    ## ruff, the direction of imports, patterns that take time without end, what is larger than its ceiling, and turns of phrase to reword
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

duel: setup    ## the stages one after the other on ROOT; what is not finished is named at the end (ARGS=--dry-run: what they would cost)
	@PATH="$(CURDIR)/$(BIN):$$PATH" tools/chain duel --root $(ROOT) $(ARGS)

loop: setup    ## agents attempt the tasks of ROOT (from bug_inject, pr_tasks, nl2repo, build_dp, or yours); what they did becomes training sets and turns of a duel
	@PATH="$(CURDIR)/$(BIN):$$PATH" tools/chain loop --root $(ROOT) $(ARGS)

status: setup  ## where every stage of ROOT stands, in one table
	@$(BIN)/python status.py --root $(ROOT) $(ARGS)

lock:          ## resolve the dependencies again (needs uv)
	sh tools/lock

clean:         ## remove .venv and caches; never records
	rm -rf .venv .venv-wheel .venv-trl .venv-grpo .venv-nemo-gym .venv-harbor .venv-verifiers .venv-swebench .venv-swesmith .pytest_cache .ruff_cache build *.egg-info
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
