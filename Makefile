# Every target sets itself up: the virtual environment is made when missing and renewed when the requirements change.
# The install is editable, so a target always runs the code as it stands.
PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
ARGS ?=

BIN := $(VENV)/bin
REQUIREMENTS := pyproject.toml setup.py

# One environment, and tests that are parallel themselves.
.NOTPARALLEL:
.PHONY: study test lint types unit format clean

study: $(VENV)/study.stamp  ## The study: three cold starts and none, compared. More overrides: make study ARGS="seed=0,1,2"
	$(BIN)/python -m specs_lab.run -m coldstart=none,sft,dpo,hybrid $(ARGS)

test: lint types unit  ## All checks that a commit must pass

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev.stamp
	$(BIN)/pyright --pythonpath $(BIN)/python

unit: $(VENV)/dev.stamp
	$(BIN)/pytest -n $(WORKERS) $(ARGS)

format: $(VENV)/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist

$(VENV)/study.stamp: $(REQUIREMENTS)
	@echo "Setting up $(VENV): PyTorch and the like are large, this takes a few minutes ..."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable .
	@touch $@

$(VENV)/dev.stamp: $(REQUIREMENTS)
	@echo "Setting up $(VENV) with the development tools ..."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/study.stamp
