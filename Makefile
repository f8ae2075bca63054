# Needs GNU make and any Python >= 3.11. The first target to need it builds .venv from
# requirements.txt; it is rebuilt when requirements.txt or pyproject.toml change.
# Choose the interpreter with `make PYTHON=/path/to/python ...`.

SHELL := /bin/sh
PYTHON ?=
PYTHONS := python3.13 python3.12 python3.11 python3 python
STAMP := .venv/.complete
RUN := .venv/bin/python -m

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-all lint format types docs benchmark clean

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | \
	  while IFS='|' read -r target text; do printf '%-18s %s\n' "$$target" "$$text"; done

venv: $(STAMP) ## Build .venv if it is missing or out of date

demo: $(STAMP) ## Run the quickstart experiment
	@$(RUN) experiments.quickstart

test: $(STAMP) ## Run the tests and doctests, all but the slow ones
	@$(RUN) pytest -n 2

test-all: $(STAMP) ## Run the tests and doctests, slow ones too
	@$(RUN) pytest -n 2 -m "slow or not slow"

lint: $(STAMP) ## Check style and formatting
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .

format: $(STAMP) ## Repair style and formatting
	@$(RUN) ruff check --fix .
	@$(RUN) ruff format .

types: $(STAMP) ## Check types
	@$(RUN) mypy

docs: $(STAMP) ## Build the site with all notebooks executed, in build/site
	@$(RUN) sphinx -c docs -b html -W --keep-going -q . build/site
	@echo "open build/site/docs/index.html"

benchmark: $(STAMP) ## Measure; results go to results/benchmark
	@$(RUN) experiments.benchmark

clean: ## Remove .venv and caches (results/ stays)
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last, so an interrupted build is started again, from nothing.
# An interpreter is judged by what it answers: a name on the path may be a stub.
ASK := import sys, importlib.util as i; \
  print(sys.version_info >= (3, 11), i.find_spec("ensurepip") is not None)

$(STAMP): requirements.txt pyproject.toml
	@rm -f $(STAMP); found=; bare=; \
	for python in $(if $(PYTHON),"$(PYTHON)",$(PYTHONS)); do \
	  case $$("$$python" -c '$(ASK)' 2>/dev/null) in \
	    "True True") found=$$python; break;; \
	    "True False") bare=$$python;; \
	  esac; \
	done; \
	if test -n "$$found"; then :; \
	elif test -n "$$bare"; then \
	  echo "make: $$bare has no ensurepip, so it cannot build .venv; install it" \
	    "(on Debian and Ubuntu: the package python3-venv) and run make again." >&2; \
	  exit 1; \
	else \
	  echo "make: no working Python >= 3.11 $(if $(PYTHON),at '$(PYTHON)',on the path);" \
	    "install one, or name it with 'make PYTHON=/path/to/python'." >&2; \
	  exit 1; \
	fi; \
	echo "make: building .venv with $$("$$found" --version), once; a few minutes" && \
	"$$found" -m venv --clear .venv && \
	$(RUN) pip install --quiet --requirement requirements.txt && \
	$(RUN) pip install --quiet --no-deps --editable . && \
	touch $(STAMP)
