# The two commands of the README, `make demo` and `make test`, and what they are made of.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
# What `make lock` and `make audit` run; no part of the environment.
TOOLS := $(VENV)/tools
RUN := results/demo/ssc

.PHONY: demo test bench chaos docs install lock audit lint format clean

demo: install
	$(BIN)/snakemake --cores all
	@echo "Results: $(RUN)/summary.txt"
	@echo "Report:  $(RUN)/report.html (open it in a browser)"

test: lint
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

bench: install
	$(BIN)/python -m benchmarks

chaos: install
	$(BIN)/python -m tests.faults

# The documentation as a site, build/site/index.html; a link or an anchor that leads nowhere is an error.
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

lint: install docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/lint-imports
	$(BIN)/python docs/generate.py --check
	$(BIN)/snakemake --lint

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile rules
	$(BIN)/python docs/generate.py

install: $(READY)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed and $(PYTHON) is older (or absent);"; \
		echo "install it, or name one: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(READY)

# The lock file: the newest versions that the ranges of pyproject.toml allow, but those locked already stay; with the hashes
# of all their files. `make lock UPGRADE=--upgrade` raises all versions, `UPGRADE='--upgrade-package numpy'` one.
lock: $(TOOLS)/.installed
	$(TOOLS)/bin/uv pip compile pyproject.toml --extra workflow --extra pretrained --extra dev --extra docs --universal --python-version 3.11 \
		--generate-hashes --no-strip-extras --no-annotate --custom-compile-command "make lock" --quiet $(UPGRADE) -o requirements.lock
	{ sed '/- pip:/q' envs/ssc.yaml; sed -n 's/^\([a-z].*\) \\$$/      - "\1"/p' requirements.lock; } > envs/ssc.yaml.new
	mv envs/ssc.yaml.new envs/ssc.yaml

# Known vulnerabilities of the locked versions; asks the network.
audit: $(TOOLS)/.installed
	@$(TOOLS)/bin/pip-audit --strict --disable-pip --require-hashes --requirement requirements.lock || { \
		echo "Not clean: an advisory above concerns a locked version (raise it: make lock UPGRADE='--upgrade-package ...'),"; \
		echo "or a package could not be looked up, so that the audit has to be run where the network has an answer."; exit 1; }

$(TOOLS)/.installed:
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check uv==0.13.9 pip-audit==2.10.1
	@touch $@

clean:
	rm -rf $(VENV) build/site .snakemake .pytest_cache .ruff_cache .hypothesis *.egg-info
	find ssc tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
