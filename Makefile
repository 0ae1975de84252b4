# Short aliases of `python -m paper_repro ...`. Every target sets up what it needs; `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON_VENV := .venv/bin/python
RUN := $(PYTHON_VENV) -m paper_repro
# Paths and output are UTF-8 whatever the locale.
export PYTHONUTF8 := 1

# The variables that each target takes, beside those that all take.
RUNS               := TABLE TIER ROWS SEEDS METHOD LOADER AUTOCAST CHANNELS_LAST COMPILE DATA_ROOT
TAKEN_BY_reproduce := $(RUNS) JOBS GPUS MAX_GPU_HOURS
TAKEN_BY_plan      := $(RUNS) JOBS GPUS MAX_GPU_HOURS MODEL
TAKEN_BY_run       := $(TAKEN_BY_plan)
TAKEN_BY_regress   := $(RUNS) JOBS GPUS MODEL MARGIN TUNE REUSE STRICT
TAKEN_BY_submit    := $(RUNS) GPUS MAX_GPU_HOURS SITE DRY_RUN
TAKEN_BY_status    := $(RUNS)
TAKEN_BY_audit     := TABLE
TAKEN_BY_render    := TABLE TIER
TAKEN_BY_data      := NAME DATA_ROOT
TAKEN_BY_gpu-check := DATA_ROOT
TAKEN_BY_ALL       := PYTHON FFCV ARGS
KNOWN := $(sort $(foreach name,$(filter TAKEN_BY_%,$(.VARIABLES)),$($(name))))

# A variable counts when it is given to make itself. What the environment has by chance (WSL sets NAME) changes nothing;
# where it looks like a mistake, it is said.
given = $(if $(filter command,$(firstword $(origin $(1)))),$($(1)))
LOST := $(foreach name,$(filter-out DATA_ROOT NAME PYTHON,$(KNOWN)),$(if $(filter environment,$(firstword $(origin $(name)))),$(name)))
$(if $(strip $(LOST)),$(warning not taken from the environment: $(strip $(LOST)); write them after make, as in: make reproduce SEEDS=3))

# A variable that none of the targets takes, or nobody knows, is a mistake: a limit that is not passed on limits nothing.
TAKEN     := $(TAKEN_BY_ALL) $(foreach goal,$(MAKECMDGOALS),$(TAKEN_BY_$(goal)))
GIVEN     := $(sort $(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),$(name))))
NOT_TAKEN := $(if $(MAKECMDGOALS),$(filter-out SHELL $(TAKEN),$(GIVEN)))
$(if $(strip $(NOT_TAKEN)),$(error $(MAKECMDGOALS) takes no $(strip $(NOT_TAKEN)). Its variables: $(sort $(TAKEN)); `make more` says what they are))

# An option with a value is passed on only when it is given, so that the defaults are those of the command line.
option = $(if $(call given,$(1)),--$(2) "$(call given,$(1))")
# A flag is on or off, and nothing else.
YES := 1 y Y yes Yes YES true True TRUE on On ON
NO := 0 n N no No NO false False FALSE off Off OFF
word = $(subst $() $(),_,$(strip $(call given,$(1))))
on = $(if $(filter $(YES),$(word)),1,$(if $(filter-out $(NO),$(word)),$(error $(1)=$(call given,$(1)) is neither on nor off: write $(1)=1 or $(1)=0)))
flag = $(if $(call on,$(1)),--$(2))

OPT_TIER   := $(call option,TIER,tier)
OPT_ROWS   := $(call option,ROWS,rows)
OPT_SEEDS  := $(call option,SEEDS,seeds)
OPT_DATA   := $(call option,DATA_ROOT,data-root)
OPT_JOBS   := $(call option,JOBS,jobs)
OPT_HOURS  := $(call option,MAX_GPU_HOURS,max-gpu-hours)
OPT_METHOD := $(call option,METHOD,method)
OPT_MODEL  := $(call option,MODEL,model)
OPTIONS    := $(call option,LOADER,loader) $(call option,AUTOCAST,autocast) $(call flag,CHANNELS_LAST,channels-last) \
              $(call flag,COMPILE,compile)
ONE_TABLE  := $(if $(call given,TABLE),"$(TABLE)")
TRAINING   := $(OPT_TIER) $(OPT_ROWS) $(OPT_SEEDS) $(OPT_METHOD) $(OPTIONS)
WHERE      := $(OPT_DATA) $(OPT_JOBS) $(call option,GPUS,gpus)
OPT_TABLE  := $(call option,TABLE,table)
OPT_MARGIN := $(call option,MARGIN,margin)
OPT_TUNE   := $(call option,TUNE,tune) $(call option,REUSE,reuse)
OPT_STRICT := $(call flag,STRICT,strict)
MORE_ARGS  := $(call given,ARGS)
USE_FFCV   := $(if $(call given,FFCV),$(if $(call on,FFCV),1,0))
USE_PYTHON := $(call given,PYTHON)

.PHONY: help more setup ffcv dali environment list audit plan run submit status check render reproduce regress site data lab test lint bench gpu-check lock clean

help:
	@echo 'usage: make TARGET [VARIABLE=value ...]'
	@echo
	@echo '  make reproduce TABLE=resnet50         a table of the paper, end to end'
	@echo '  make regress METHOD=my_method.py      is this method better than STR?'
	@echo '  make plan TABLE=resnet50 TIER=paper   what that would train, and take'
	@echo
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/\1|\2/p' Makefile | awk -F'|' '{ printf "  %-11s %s\n", $$1, $$2 }'
	@echo
	@echo '  TABLE       resnet50, mobilenetv1, rnn, ... (make list names them)'
	@echo '  TIER        audit, smoke (default), small, checkpoint, paper'
	@echo '  ROWS        which rows, separated by commas; all for every one'
	@echo '  SEEDS       how many seeds of every row'
	@echo '  METHOD      only the rows of this method; for regress, a file or a name'
	@echo '  DATA_ROOT   the folder that has, or gets, the data sets'

more: ## all other variables; the targets for clusters and for developers
	@sed -n 's/^#: \([A-Z_]*\) */\1|/p' Makefile | awk -F'|' '{ printf "  %-13s %s\n", $$1, $$2 }'
	@echo
	@sed -n 's/^\([a-z-]*\):[^#]*#: \(.*\)/\1|\2/p' Makefile | awk -F'|' '{ printf "  %-13s %s\n", $$1, $$2 }'

#: MODEL your own network in place of the table's: a file, or package.module:function (plan, run, regress)
#: MARGIN points of accuracy that do not matter to regress
#: TUNE how many settings regress tries for the method, and for STR (default: none)
#: REUSE committed: regress takes the runs in results/ too, whatever machine they are of
#: STRICT 1: regress ends with exit code 4 where a regime is not decided
#: JOBS how many rows train side by side (default: one a core, or as many as fit on the GPU)
#: GPUS how many processes train one row together, one per GPU (default: 1)
#: LOADER what reads images that do not fit in memory: folder (default), ffcv, dali
#: AUTOCAST precision of the network: float32, bf16, fp16 (default: bf16 at tier small, float32 elsewhere)
#: CHANNELS_LAST 1 for that memory format
#: COMPILE 1 for torch.compile
#: MAX_GPU_HOURS plan, run, submit and reproduce stop before starting when what is to do takes more
#: SITE the settings of the cluster, for submit (default: cluster.toml, if it is there)
#: DRY_RUN 1: submit prints the script that it would queue
#: NAME which data set make data fetches: fashion_mnist, ...
#: ARGS anything else, passed to the command as it stands
#: FFCV make setup FFCV=1 installs FFCV, FFCV=0 never (default: where there is a GPU and the system allows it)
#: PYTHON the Python that .venv is made with (3.11 to 3.14)

reproduce: environment ## audit, train what is missing, notebook, verdicts
	@$(RUN) reproduce $(ONE_TABLE) $(TRAINING) $(WHERE) $(OPT_HOURS) $(MORE_ARGS)

regress: environment ## train METHOD at STR's regimes and seeds, and compare
	@$(RUN) regress $(if $(call given,METHOD),"$(METHOD)") $(OPT_TABLE) $(OPT_TIER) $(OPT_ROWS) $(OPT_SEEDS) $(OPT_MODEL) $(OPTIONS) $(OPT_MARGIN) $(OPT_TUNE) $(OPT_STRICT) $(WHERE) $(MORE_ARGS)

list: environment ## tables, rows and tiers, methods, data sets
	@$(RUN) list $(MORE_ARGS)

audit: environment ## recompute the printed numbers from the paper's budgets
	@$(RUN) audit $(ONE_TABLE) $(MORE_ARGS)

plan: environment ## what would be trained, when it prunes, what it costs
	@$(RUN) plan $(ONE_TABLE) $(TRAINING) $(OPT_MODEL) $(WHERE) $(OPT_HOURS) $(MORE_ARGS)

run: environment ## train what is missing, and nothing else
	@$(RUN) run $(ONE_TABLE) $(TRAINING) $(OPT_MODEL) $(WHERE) $(OPT_HOURS) $(MORE_ARGS)

submit: environment #: queue the missing runs on a SLURM cluster
	@$(RUN) submit $(ONE_TABLE) $(TRAINING) $(OPT_DATA) $(call option,GPUS,gpus) $(OPT_HOURS) $(call option,SITE,site) $(call flag,DRY_RUN,dry-run) $(MORE_ARGS)

status: environment #: every run of a table: queued, running, finished or failed
	@$(RUN) status $(ONE_TABLE) $(TRAINING) $(OPT_DATA) $(MORE_ARGS)

check: environment #: hold the committed results against paper and tolerances
	@$(RUN) check $(MORE_ARGS)

render: environment ## figures and notebook from the results that are there
	@$(RUN) render $(ONE_TABLE) $(OPT_TIER) $(MORE_ARGS)

site: environment ## the site, into site/index.html, from what is committed
	@sh ci/extra.sh site
	@$(PYTHON_VENV) -m paper_repro.report.site
	@$(PYTHON_VENV) -m sphinx -q -W --keep-going -j auto docs site
	@echo 'site: open site/index.html'

data: environment ## the data sets; NAME=...: find, fetch, verify that one
	@$(RUN) data $(if $(call given,NAME),"$(NAME)") $(OPT_DATA) $(MORE_ARGS)

setup: #: make .venv as requirements.lock says (every other target does this by itself)
	@PYTHON='$(USE_PYTHON)' FFCV='$(USE_FFCV)' sh ci/setup.sh

ffcv: environment #: install FFCV, which reads ImageNet faster (as root on Debian and Ubuntu, or with OpenCV at hand)
	@sh ci/ffcv.sh

dali: environment #: install NVIDIA DALI, a reader of ImageNet that lets the GPU decode (Linux, 270 MB)
	@sh ci/extra.sh dali

lab: environment #: open the notebooks in JupyterLab; stop it with Ctrl-C
	@echo 'lab: JupyterLab in notebooks/ (one notebook per table; papermill sets its table and tier). Ctrl-C stops it'
	@$(PYTHON_VENV) -m jupyterlab notebooks $(MORE_ARGS)

test: environment #: all tests, in as many processes as there are cores (four at most)
	@OMP_NUM_THREADS=1 $(PYTHON_VENV) -m pytest --benchmark-disable -n auto --maxprocesses 4 --dist loadfile $(MORE_ARGS)

bench: environment #: the benchmarks, timed; run them on an idle machine
	@$(PYTHON_VENV) -m tests.benchmarks.kept $(MORE_ARGS)

gpu-check: environment #: tests, benchmarks and runs of tier small on a GPU, in ten minutes; called again, it goes on
	@$(PYTHON_VENV) -m tests.gpu_check $(OPT_DATA) $(MORE_ARGS)

lint: environment #: ruff (rules and format) and mypy
	@$(PYTHON_VENV) -m ruff check .
	@$(PYTHON_VENV) -m ruff format --check .
	@$(PYTHON_VENV) -m mypy

lock: environment #: resolve pyproject.toml anew into requirements.lock and environment.yml
	@$(PYTHON_VENV) ci/lock.py

clean: #: remove .venv and caches; never runs/ or results/
	rm -rf .venv .setup.lock build site docs/generated paper_repro.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find paper_repro tests ci notebooks -type d -name __pycache__ -prune -exec rm -rf {} +

# What the other targets wait for: as `setup`, but silent when there is nothing to do.
environment:
	@PYTHON='$(USE_PYTHON)' FFCV='$(USE_FFCV)' sh ci/setup.sh --quiet
