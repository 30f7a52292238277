# `make demo` and `make test` are all a new machine needs (Python 3.11, git, make). `make` alone lists the targets.

# the interpreter itself, also where the name leads into an environment or through a version manager
PYTHON := $(or $(PYTHON),$(shell for p in python3.11 python3; do \
            $$p -c 'import sys; print(sys._base_executable)' 2>/dev/null && break; done))
export PYTHON
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# Debian's graph-tool is not on PyPI; where the distribution has it, its folder (and no other) is linked into .venv
GRAPH_TOOL ?= /usr/lib/python3/dist-packages/graph_tool
# The folders of notebooks that need neither torch nor the notebook stack
CORE_FOLDERS := $(shell sed -n 's/^core_folders = //p' settings.ini)
WORKERS ?= 2

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore
# output is shown as it comes, also through a pipe
export PYTHONUNBUFFERED := 1
# kernels and console scripts of the environment come first, wherever they are looked up by name
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help demo test setup graph-tool export check-export check-clean notebooks pytest docs benchmarks benchmarks-full benchmarks-gpu core readme \
        constraints clean distclean

help: ## list the targets
	@echo "usage: make TARGET"; echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

demo: setup ## make .venv if needed, then run the whole job on the embedded dataset
	$(BIN)/natural-backdoors demo

test: ## everything that CI checks: export in sync, notebooks clean, notebook tests, pytest
	@$(MAKE) --no-print-directory setup
	@$(MAKE) --no-print-directory check-export
	@$(MAKE) --no-print-directory check-clean
	@$(MAKE) --no-print-directory notebooks
	@$(MAKE) --no-print-directory pytest

setup: $(STAMP) graph-tool ## make .venv and install into it, if that has not been done

# The stamp is written last: an interrupted installation is taken up again by the next `make`. Build isolation is off
# so that nothing but the pinned versions is ever fetched, and nothing at all once they are there.
$(STAMP): constraints.txt settings.ini setup.py
	@echo "== installing into $(VENV) (about 4 minutes and 7 GB the first time)"
	@test -n "$(PYTHON)" || { echo "no python3.11 found: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; v = sys.version_info[:2]; \
	  v == (3, 11) or sys.exit("Python 3.11 is needed, $(PYTHON) is %d.%d: make PYTHON=/path/to/python3.11" % v)'
	@test -x $(BIN)/python && $(BIN)/python -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear $(VENV) \
	  || { echo "could not make $(VENV); on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install -c constraints.txt pip setuptools wheel
	$(BIN)/python -m pip install -c constraints.txt --no-build-isolation -e '.[train,scale,huggingface,export,notebook,docs,dev]'
	$(BIN)/python -m pip check
	@$(BIN)/python docs/npm.py $(VENV)/npm || echo "== only make docs needs them: it will try again" >&2
	@touch $@

# Tried by importing it; where that fails, the link is taken away again and scipy does the work.
graph-tool: $(STAMP)
	@link=$(VENV)/graph-tool/graph_tool; \
	if [ ! -e $$link ] && [ -d "$(GRAPH_TOOL)" ]; then \
	  mkdir -p $(VENV)/graph-tool; ln -sfn "$(GRAPH_TOOL)" $$link; \
	  echo "$(CURDIR)/$(VENV)/graph-tool" > "$$($(BIN)/python -c 'import site; print(site.getsitepackages()[0])')/graph-tool.pth"; \
	  if $(BIN)/python -c 'import graph_tool.centrality'; then echo "== graph-tool: linked $(GRAPH_TOOL)"; \
	  else rm $$link; echo "== graph-tool: $(GRAPH_TOOL) does not import into $(VENV), left out"; fi; \
	fi

docs: setup ## make the documentation in _docs/ from the notebooks (EXECUTE=1: run them first)
	$(BIN)/python docs/build.py $(if $(EXECUTE),--execute)

export: setup ## write natural_backdoors/ from the notebooks
	env -u IN_TEST $(BIN)/nbdev_export

# Compared by content, so that it can be asked of a working tree with changes that are not committed.
check-export: setup ## fail if natural_backdoors/ is not what the notebooks export
	@echo "== export in sync"
	@before=$$(mktemp -d); trap 'rm -rf $$before' EXIT; \
	cp -r natural_backdoors pyproject.toml $$before/; \
	env -u IN_TEST $(BIN)/nbdev_export; \
	diff -r -x __pycache__ $$before/natural_backdoors natural_backdoors && diff $$before/pyproject.toml pyproject.toml \
	  || { echo "the package was not what the notebooks export; it is now: look at it and commit it" >&2; exit 1; }

check-clean: setup ## fail if a notebook holds what nbdev_clean would remove
	@echo "== notebooks clean"
	@before=$$(mktemp -d); trap 'rm -rf $$before' EXIT; \
	cp -r nbs $$before/; \
	$(BIN)/nbdev_clean; \
	diff -rq -x .ipynb_checkpoints $$before/nbs nbs \
	  || { echo "these notebooks were not clean; they are now: look at them and commit them" >&2; exit 1; }

notebooks: setup ## run the notebooks as tests
	@echo "== notebook tests"
	$(BIN)/nbdev_test --n_workers $(WORKERS) --timing --do_print

pytest: setup ## run tests/
	@echo "== pytest"
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

benchmarks: setup ## what the main steps cost, beside named peers (minutes)
	$(BIN)/python benchmarks/run.py
	$(BIN)/python benchmarks/relabel.py
	$(BIN)/python benchmarks/centrality.py --quick
	$(BIN)/python benchmarks/overlaps.py --scale 0.1
	$(BIN)/python benchmarks/openimages.py --labels --share 0.1
	$(BIN)/python benchmarks/training.py --repeat 1
	$(BIN)/python benchmarks/sweep.py --repeat 1

# writes 5 GB of label files into the folder for temporary files, and removes them again
benchmarks-full: setup ## the same at full size, kept in benchmarks/results/ for the page that shows them (long)
	$(BIN)/python benchmarks/openimages.py --labels --save
	$(BIN)/python benchmarks/overlaps.py --save
	$(BIN)/python benchmarks/relabel.py --save
	$(BIN)/python benchmarks/centrality.py --save
	$(BIN)/python benchmarks/class_sets.py --save
	$(BIN)/python benchmarks/run.py --save
	$(BIN)/python benchmarks/training.py --save
	$(BIN)/python benchmarks/sweep.py --scale cpu --save

benchmarks-gpu: setup ## training and sweeps on the GPU of this machine, kept in benchmarks/results/
	$(BIN)/python -c 'import torch; torch.cuda.is_available() or exit("PyTorch sees no GPU here")'
	$(BIN)/python benchmarks/training.py --scale gpu --save
	$(BIN)/python benchmarks/sweep.py --scale gpu --save

# The package as users get it without extras: a fresh environment, the newest numpy and pandas, an installed copy and
# not this folder. nbdev and hypothesis are there only to run the notebooks; graph-tool, built for numpy 1, is not.
CORE := .venv-core
core: ## run the notebooks up to the poisoned split with the core package only
	@echo "== core package only, newest numpy and pandas"
	@rm -rf $(CORE)
	"$(PYTHON)" -m venv $(CORE)
	@mkdir $(CORE)/tree && cp -r natural_backdoors nbs settings.ini setup.py pyproject.toml README.md LICENSE $(CORE)/tree
	$(CORE)/bin/python -m pip install ./$(CORE)/tree \
	  $$(grep -E '^(nbdev|fastcore|execnb|ghapi|hypothesis)==' constraints.txt)
	@rm -r $(CORE)/tree/natural_backdoors
	cd $(CORE)/tree && ../bin/python -c 'import importlib.util as u, numpy, pandas, natural_backdoors as n; \
	  print("numpy", numpy.__version__, "| pandas", pandas.__version__, "|", n.__file__); \
	  there = [m for m in ("torch", "torchvision", "fastai", "ipywidgets", "jupyterlab") if u.find_spec(m)]; \
	  assert not there, f"not part of the core package, but installed with it: {there}"; \
	  assert int(numpy.__version__.split(".")[0]) >= 2, "the core package holds numpy back"; \
	  assert "site-packages" in n.__file__, "the installed copy is what is to be tested"'
	cd $(CORE)/tree && for folder in $(CORE_FOLDERS); do \
	  env -u NB_REQUIRE_GRAPH_TOOL ../bin/nbdev_test --path nbs/api/$$folder --n_workers $(WORKERS) --timing --do_print; done

readme: setup ## run nbs/index.ipynb and write README.md from it
	$(BIN)/jupyter nbconvert --to notebook --execute --inplace nbs/index.ipynb
	$(BIN)/nbdev_clean --fname nbs/index.ipynb
	$(BIN)/python tests/readme.py

# The bounds are those explained at the top of constraints.txt; everything else is the newest that fits.
constraints: setup ## pin the newest versions that fit together in constraints.txt (needs the network)
	$(BIN)/python -m pip install --dry-run --ignore-installed --quiet --report $(VENV)/report.json \
	  'numpy<2' 'pyarrow<26' 'soupsieve<3' pip setuptools wheel -e '.[train,scale,huggingface,export,notebook,docs,dev]'
	@{ sed -n '/^#/p' constraints.txt; $(BIN)/python -c 'import json; \
	  found = [i["metadata"] for i in json.load(open("$(VENV)/report.json"))["install"]]; \
	  pins = [m["name"] + "==" + m["version"] for m in found if m["name"] != "natural_backdoors"]; \
	  print(*sorted(pins, key=lambda p: p.lower().split("==")), sep="\n")'; } > constraints.new
	@mv constraints.new constraints.txt
	@echo "constraints.txt is new: now make test"

clean: ## remove what running leaves behind; keep the environment, data/ and results/
	rm -rf build dist _proc _docs *.egg-info .pytest_cache .hypothesis $(CORE)
	find . -path ./$(VENV) -prune -o \( -name __pycache__ -o -name .ipynb_checkpoints \) -type d -print0 | xargs -0 rm -rf

distclean: clean ## remove the environment as well
	rm -rf $(VENV)
