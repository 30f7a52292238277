# `make demo` and `make test` are all a new machine needs (Python 3.11 to 3.13, git, make). `make` alone lists the targets.
# What takes more than a line is a program in scripts/, whose first lines say what it does.
#
# PYTHON=...      the Python to use, instead of the newest of 3.11 to 3.13 that is there
# WORKERS=2       processes that run notebooks
# TEST_WORKERS=3  processes that run tests, which also wait: for browsers, servers and one another
# GRAPH_TOOL=...  the folder of the distribution's graph-tool

BIN := .venv/bin
WORKERS ?= 2
export WORKERS
TEST_WORKERS ?= $(shell echo $$(($(WORKERS) + 1)))

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore
# output is shown as it comes, also through a pipe
export PYTHONUNBUFFERED := 1
# compiled modules are kept, also where containers say otherwise: uv installs without compiling, and each of hundreds of
# processes would compile torch and all else anew, which takes it longer than what it was started for
export PYTHONDONTWRITEBYTECODE :=
# kernels and console scripts of the environment come first, wherever they are looked up by name
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help demo test setup graph-tool lint js check-js style export check-export check-clean notebooks pytest fuzz drill docs readme build \
        core constraints benchmarks benchmarks-full benchmarks-gpu clean distclean

help: ## list the targets
	@echo "usage: make TARGET"; echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

# ---- for everybody

demo: setup ## make .venv if needed, then run the whole job on the embedded dataset
	$(BIN)/natural-backdoors demo

test: ## everything that CI checks of the code: lint, scripts, export in sync, notebooks clean, notebook tests, pytest
	@$(MAKE) --no-print-directory setup
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory check-js
	@$(MAKE) --no-print-directory check-export
	@$(MAKE) --no-print-directory check-clean
	@$(MAKE) --no-print-directory notebooks
	@$(MAKE) --no-print-directory pytest

setup: ## make .venv and install into it, if that has not been done
	@scripts/setup.sh
	@scripts/link_graph_tool.sh

graph-tool: setup ## make the distribution's graph-tool visible in .venv (part of setup)

docs: setup ## make the documentation in _docs/ from the notebooks, whose outputs must be true (EXECUTE=1: show new ones)
	$(BIN)/python docs/build.py $(if $(EXECUTE),--execute)

# ---- for those who change something

export: setup ## write natural_backdoors/ from the notebooks
	env -u IN_TEST $(BIN)/nbdev_export

lint: setup ## rules and format of notebooks, tests and programs (ruff)
	@echo "== lint"
	$(BIN)/ruff check --quiet
	$(BIN)/ruff format --check --quiet

js: setup ## write the picker's scripts from js/src (needs node)
	$(BIN)/python scripts/js.py

check-js: setup ## fail if the picker's scripts are not what js/src gives; lint them where node is
	@echo "== scripts of the picker"
	@$(BIN)/python scripts/js.py --check

style: setup ## counts that show where code and pages are hard to read
	$(BIN)/python scripts/style.py

check-export: setup ## fail if natural_backdoors/ is not what the notebooks export
	@echo "== export in sync"
	@scripts/check_export.sh

check-clean: setup ## fail if a notebook holds what nbdev_clean would remove
	@echo "== notebooks clean"
	@scripts/check_clean.sh

notebooks: setup ## run the notebooks; fail where a cell fails, or gives another output than is stored
	@echo "== notebooks"
	$(BIN)/python scripts/outputs.py --workers $(WORKERS)

pytest: setup ## run tests/
	@echo "== pytest"
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder

fuzz: setup ## change the files that are read back with other seeds for longer (FUZZ=500: examples of each)
	NB_FUZZ=$(or $(FUZZ),500) $(BIN)/python -m pytest tests/test_stored_files.py tests/test_kept_files.py -q --timeout 0 \
	  -k "changed or part_of or different or formulas"

drill: setup ## kill, starve and crowd every job that writes files (SEED=0 ROUNDS=10: trials of each kind)
	$(BIN)/python -W ignore tests/drill.py --seed $(or $(SEED),0) --rounds $(or $(ROUNDS),10)

readme: setup ## run nbs/index.ipynb and write README.md from it
	$(BIN)/python scripts/outputs.py --write --flags slow nbs/index.ipynb
	$(BIN)/python tests/readme.py

build: setup ## build the wheel, install it into a fresh environment and run the demo from there, quickly
	@scripts/build.sh

core: ## run the notebooks up to the poisoned split with the core package only, newest numpy and pandas
	@scripts/core.sh

constraints: ## pin the newest versions that fit together in constraints/ (needs the network)
	@scripts/constraints.sh

# ---- measuring

benchmarks: setup ## what the main steps cost, beside named peers (minutes)
	$(BIN)/python benchmarks/run.py
	$(BIN)/python benchmarks/relabel.py
	$(BIN)/python benchmarks/centrality.py --quick
	$(BIN)/python benchmarks/overlaps.py --scale 0.1
	$(BIN)/python benchmarks/openimages.py --labels --share 0.1
	$(BIN)/python benchmarks/time_limit.py --quick --limit 2
	$(BIN)/python benchmarks/load.py --share 0.02
	$(BIN)/python benchmarks/growth.py --quick
	$(BIN)/python benchmarks/questions.py --images 100000 --labels 1000
	$(BIN)/python benchmarks/duplicates.py
	$(BIN)/python benchmarks/audit.py
	$(BIN)/python benchmarks/training.py --repeat 1
	$(BIN)/python benchmarks/sweep.py --repeat 1
	$(BIN)/python benchmarks/defenses.py --images 2000 --features 512

# writes 5 GB of label files into the folder for temporary files, and removes them again
benchmarks-full: setup ## the same at full size, kept in benchmarks/results/ for the page that shows them (long)
	$(BIN)/python benchmarks/openimages.py --labels --save
	$(BIN)/python benchmarks/overlaps.py --save
	$(BIN)/python benchmarks/relabel.py --save
	$(BIN)/python benchmarks/centrality.py --measures betweenness --save
	$(BIN)/python benchmarks/class_sets.py --save
	$(BIN)/python benchmarks/duplicates.py --images 5000 20000 --save
	$(BIN)/python benchmarks/audit.py --save
	$(BIN)/python benchmarks/time_limit.py --save
	$(BIN)/python benchmarks/time_limit.py --analysis --save
	$(BIN)/python benchmarks/reliability.py --rounds 2 --fuzz 100 --save
	$(BIN)/python benchmarks/load.py --save
	$(BIN)/python benchmarks/growth.py --save
	$(BIN)/python benchmarks/questions.py --save
	$(BIN)/python benchmarks/run.py --save
	$(BIN)/python benchmarks/training.py --save
	$(BIN)/python benchmarks/sweep.py --scale cpu --save
	$(BIN)/python benchmarks/screening.py --arch resnet50 --save
	$(BIN)/python benchmarks/defenses.py --save
	$(BIN)/python benchmarks/real_datasets.py --save
	$(BIN)/python benchmarks/defenses.py --cleanse --save

benchmarks-gpu: ## training and sweeps on the GPU of this machine in 8 minutes, with an environment for it alone (WHEELS=folder: no network)
	@python=$$(python3 scripts/gpu_environment.py) && $$python benchmarks/gpu.py --minutes $(or $(MINUTES),8) --save

# ---- cleaning

clean: ## remove what running leaves behind; keep the environment, data/ and results/
	rm -rf build dist _proc _docs *.egg-info .pytest_cache .hypothesis .ruff_cache .venv-core
	find . -path ./.venv -prune -o \( -name __pycache__ -o -name .ipynb_checkpoints \) -type d -print0 | xargs -0 rm -rf

distclean: clean ## remove the environment as well
	rm -rf .venv .venv-gpu
