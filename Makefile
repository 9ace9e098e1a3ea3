# Needs Python 3.11+ with venv, and make; everything else is installed into .venv.
PYTHON ?= python3
BIN := .venv/bin
CHECK := import sys; sys.exit(sys.version_info < (3, 11) and "graphc needs Python 3.11+; try make PYTHON=python3.12")

.PHONY: demo test lint bench docs clean

demo: .venv/.with-demo
	$(BIN)/python -m graphc demo

test: lint
	$(BIN)/python -m pytest -n 2

lint: .venv/.with-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy

bench: .venv/.with-peers
	$(BIN)/python benchmarks/run.py

docs: .venv/.with-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "the documentation is in site/index.html"

# One stamp per extra: nothing is installed again until pyproject.toml changes.
.venv/.with-%: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable ".[$*]"
	touch $@

.PRECIOUS: .venv/.with-%

.venv/bin/python:
	@$(PYTHON) -c '$(CHECK)'
	$(PYTHON) -m venv .venv

clean:
	rm -rf .venv build dist *.egg-info graphc_ir site
