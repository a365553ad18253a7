# Every target installs what it needs; `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CONTAINER_ENGINE ?= docker
COMPOSE ?= $(CONTAINER_ENGINE) compose

.DEFAULT_GOAL := help
.PHONY: help install lab lab-full test soak interop gates format containers docs bench clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /\1\t/' | expand -t 14

install: $(STAMP) ## create .venv with the project and all its extras

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[all,dev]'
	@touch $(STAMP)

lab: $(STAMP) ## play the whole story on real MNIST; writes lab-report/
	$(BIN)/zoo lab

gates: $(STAMP) ## style, types and import arrows
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md docs model_zoo service trainer containers tests benchmarks

# where it is set, each process would compile every test anew
test: export PYTHONDONTWRITEBYTECODE =
test: gates ## the gates, then every test
	$(BIN)/pytest --numprocesses=4 --dist=loadfile --no-loadscope-reorder

soak: $(STAMP) ## what takes many minutes: the lab under ten kills
	$(BIN)/pytest -m soak

interop: $(STAMP) ## stock clients, each in an environment of its own
	$(BIN)/pytest -m interop

lab-full: $(STAMP) ## the laboratory with stock clients as further victims
	$(BIN)/zoo lab --peers

format: $(STAMP) ## rewrite the sources as the gates want them
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

containers: $(STAMP) ## build the images, run the lab through them, take them down
	CONTAINER_ENGINE='$(CONTAINER_ENGINE)' COMPOSE='$(COMPOSE)' $(BIN)/python -m containers.check

docs: $(STAMP) ## write the pages and the picture that are made from the code
	$(BIN)/python docs/command_line.py > docs/reference/command-line.md
	$(BIN)/python docs/rooms.py docs/images/rooms.svg

bench: $(STAMP) ## measure every claim; JSON in bench-results/
	$(BIN)/python -m benchmarks all

clean: ## remove what the targets made, .venv included
	rm -rf $(VENV) lab-report bench-results .mypy_cache .ruff_cache .pytest_cache .hypothesis
