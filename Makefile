# Two commands do everything: `make run` and `make test`. Both create the environment on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BENCH_STAMP := $(VENV)/.installed-bench
WORKERS ?= 2
SCALE ?= laptop

.PHONY: run test test-all bench docs lint format clean

run: $(STAMP)  ## simulate, fit, compute the ceilings, write runs/<name>/report.html
	$(BIN)/specvit run --scale $(SCALE)

test: $(STAMP)  ## the fast suite
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

test-all: $(STAMP)  ## also the slow tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "" -n $(WORKERS) --dist loadfile

bench: $(BENCH_STAMP)  ## every figure of benchmarks/RESULTS.md; half an hour on two idle cores
	$(BIN)/python benchmarks/write_results.py

docs:  ## docs/api from the docstrings; needs Python alone
	$(PYTHON) tools/build_api_reference.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "specvit needs Python >= 3.11; say e.g. make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	  { echo "python3 -m venv failed; on Debian/Ubuntu: sudo apt install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,dev,hpc,synthesis]'
	@touch $(STAMP)

# The networks compared with; nothing else needs them.
$(BENCH_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@touch $(BENCH_STAMP)

clean:
	rm -rf $(VENV) runs .pytest_cache .hypothesis .mypy_cache .ruff_cache
