# The two commands of the README, `make demo` and `make test`, and what they are made of.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
RUN := results/demo/ssc

.PHONY: demo test bench install lint format clean

demo: install
	$(BIN)/snakemake --cores all
	@if [ ! -e $(RUN)/report.html ] || \
		[ -n "$$(find $(RUN)/metrics.tsv $(RUN)/figures -newer $(RUN)/report.html)" ]; then \
		$(BIN)/snakemake --quiet all --report $(RUN)/report.html; fi
	@echo "Results: $(RUN)/summary.txt"
	@echo "Report:  $(RUN)/report.html (open it in a browser)"

test: lint
	$(BIN)/python -m pytest

bench: install
	$(BIN)/python -m benchmarks

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile rules

install: $(READY)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed and $(PYTHON) is older (or absent);"; \
		echo "install it, or name one: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $(READY)

clean:
	rm -rf $(VENV) .snakemake .pytest_cache .ruff_cache .hypothesis *.egg-info
	find ssc tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
