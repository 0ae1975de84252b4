# Short aliases of `python -m paper_repro ...`. Every target sets up what it needs; `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON_VENV := .venv/bin/python
RUN := $(PYTHON_VENV) -m paper_repro
# Paths and output are UTF-8 whatever the locale.
export PYTHONUTF8 := 1

# Passed on only when they are set, so that the defaults are those of the command line.
option = $(if $($(1)),--$(2) "$($(1))")
OPT_TIER   := $(call option,TIER,tier)
OPT_ROWS   := $(call option,ROWS,rows)
OPT_SEEDS  := $(call option,SEEDS,seeds)
OPT_DATA   := $(call option,DATA_ROOT,data-root)
OPT_JOBS   := $(call option,JOBS,jobs)
OPT_HOURS  := $(call option,MAX_GPU_HOURS,max-gpu-hours)
OPT_METHOD := $(call option,METHOD,method)
flag = $(if $($(1)),--$(2))
OPTIONS    := $(call option,LOADER,loader) $(call option,AUTOCAST,autocast) $(call flag,CHANNELS_LAST,channels-last) \
              $(call flag,COMPILE,compile)
ONE_TABLE  := $(if $(TABLE),"$(TABLE)")
TRAINING   := $(OPT_TIER) $(OPT_ROWS) $(OPT_SEEDS) $(OPT_METHOD) $(OPTIONS)
WHERE      := $(OPT_DATA) $(OPT_JOBS) $(call option,GPUS,gpus)
OPT_TABLE  := $(call option,TABLE,table)
OPT_MARGIN := $(call option,MARGIN,margin)

.PHONY: help setup ffcv environment list audit plan run check render reproduce regress data test lint bench lock clean

help: ## this list
	@echo 'usage: make TARGET [VARIABLE=value ...]'
	@echo
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  \1|\2/p' Makefile | awk -F'|' '{ printf "%-15s %s\n", $$1, $$2 }'
	@echo
	@sed -n 's/^#: \([A-Z_]*\) */  \1|/p' Makefile | awk -F'|' '{ printf "%-15s %s\n", $$1, $$2 }'

#: TABLE which table of the paper: resnet50, mobilenetv1, ... (`make list` names them)
#: TIER how far the evidence goes: audit, smoke (default), small, checkpoint, paper
#: SEEDS how many seeds of every row are trained
#: ROWS which rows are trained, separated by commas; all for every one (default: the headline rows)
#: METHOD only the rows of this method: str, gmp, dense, ...; for `make regress`, a file or a name
#: MARGIN points of accuracy that do not matter to `make regress`
#: DATA_ROOT the folder that has, or gets, the data sets
#: JOBS how many rows train side by side (default: one a core, or as many as fit on the GPU)
#: GPUS how many processes train one row together, one per GPU (default: 1)
#: LOADER what reads images that do not fit in memory: folder (default), ffcv
#: AUTOCAST lower precision of the network: bf16, fp16 (default: float32)
#: CHANNELS_LAST 1 for that memory format
#: COMPILE 1 for torch.compile
#: MAX_GPU_HOURS plan, run and reproduce stop before starting when what is to do takes more
#: NAME which data set `make data` fetches: fashion_mnist, ...
#: ARGS anything else, passed to the command as it stands
#: FFCV `make setup FFCV=1` installs FFCV, FFCV=0 never (default: where there is a GPU and the system allows it)
#: PYTHON the Python that .venv is made with (3.11 to 3.14)

reproduce: environment ## one table from end to end: audit, train what is missing, notebook, verdicts
	@$(RUN) reproduce $(ONE_TABLE) $(TRAINING) $(WHERE) $(OPT_HOURS) $(ARGS)

regress: environment ## is METHOD=file.py better than STR? trains both at the same regimes and seeds, and compares
	@$(RUN) regress $(if $(METHOD),"$(METHOD)") $(OPT_TABLE) $(OPT_TIER) $(OPT_SEEDS) $(OPTIONS) $(OPT_MARGIN) $(WHERE) $(ARGS)

list: environment ## the tables, their rows and tiers, the methods and the data sets
	@$(RUN) list $(ARGS)

audit: environment ## recompute the paper's printed numbers from its own budgets; no training
	@$(RUN) audit $(ONE_TABLE) $(ARGS)

plan: environment ## what would be trained, when each run starts to prune, what it costs, and what is done already
	@$(RUN) plan $(ONE_TABLE) $(TRAINING) $(WHERE) $(OPT_HOURS) $(ARGS)

run: environment ## train what is missing, and nothing else
	@$(RUN) run $(ONE_TABLE) $(TRAINING) $(WHERE) $(OPT_HOURS) $(ARGS)

check: environment ## hold the committed results against the reported numbers and the tolerances
	@$(RUN) check $(ARGS)

render: environment ## draw the figures and execute the notebook from the results that are there
	@$(RUN) render $(ONE_TABLE) $(OPT_TIER) $(ARGS)

data: environment ## the data sets; with NAME=..., find, fetch and verify that one
	@$(RUN) data $(if $(NAME),"$(NAME)") $(OPT_DATA) $(ARGS)

setup: ## make .venv as requirements.lock says (every other target does this by itself)
	@PYTHON='$(PYTHON)' FFCV='$(FFCV)' sh ci/setup.sh

ffcv: environment ## install FFCV, which reads ImageNet faster (as root on Debian and Ubuntu, or with OpenCV at hand)
	@sh ci/ffcv.sh

test: environment ## all tests, in as many processes as there are cores (four at most)
	@OMP_NUM_THREADS=1 $(PYTHON_VENV) -m pytest --benchmark-disable -n auto --maxprocesses 4 --dist loadfile $(ARGS)

bench: environment ## the benchmarks, timed; run them on an idle machine
	@OMP_NUM_THREADS=1 $(PYTHON_VENV) -m pytest tests/benchmarks --benchmark-only $(ARGS)

lint: environment ## ruff (rules and format) and mypy
	@$(PYTHON_VENV) -m ruff check .
	@$(PYTHON_VENV) -m ruff format --check .
	@$(PYTHON_VENV) -m mypy

lock: environment ## resolve pyproject.toml anew into requirements.lock and environment.yml
	@$(PYTHON_VENV) ci/lock.py

clean: ## remove .venv and caches; never runs/ or results/
	rm -rf .venv .setup.lock build paper_repro.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find paper_repro tests ci notebooks -type d -name __pycache__ -prune -exec rm -rf {} +

# What the other targets wait for: as `setup`, but silent when there is nothing to do.
environment:
	@PYTHON='$(PYTHON)' sh ci/setup.sh --quiet
