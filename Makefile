# Everything that is done to this project has its name here.  `make` lists them.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
SIDE_BY_SIDE ?= 5

.DEFAULT_GOAL := help
.PHONY: help install demo lint check-fast test test-faults bench bench-peers lock clean
.SILENT: help install $(INSTALLED)

help: ## this list
	awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## an environment in .venv, from the lock with hashes
	@:

$(INSTALLED): requirements-dev.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "dealpulse needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; say which one: make PYTHON=python3.11")'
	echo "installing into .venv (once)"
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: install ## see it run: a broker inside, sample CRM data, live view (Ctrl-C ends it)
	$(BIN)/dealpulse demo

lint: install ## style, types and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports

check-fast: lint ## lint and the quick tests, long properties with a fourth of their examples: under a minute
	DEALPULSE_QUICK=1 $(BIN)/python -m pytest -q -n 2 -m "not slow and not kafka and not faults and not timed"

# Most tests wait most of the time, so several run side by side; what promises a short time runs after them, alone.
test: install ## the whole suite, on both brokers, with faults
	$(BIN)/python -m pytest -q -n $(SIDE_BY_SIDE) --durations=15 -m "not timed"; side_by_side=$$?; \
	$(BIN)/python -m pytest -q --durations=15 -m timed && exit $$side_by_side

test-faults: install ## workers and brokers killed and frozen for an hour or two, reports in bench/reports
	CI=true DEALPULSE_FAULTS=heavy $(BIN)/python -m pytest -s -m faults

bench: install ## what this machine does: every measurement in bench/
	for one in $$(grep -l '^if __name__' bench/*.py); do $(BIN)/python -m bench.$$(basename $$one .py) || exit 1; done

bench-peers: install ## the same events in other systems, beside ours (over an hour; needs Java and Maven)
	$(BIN)/python -m bench.peers.run

lock: ## write the locks anew from pyproject.toml (needs uv)
	uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-header --no-annotate --no-emit-index-url \
	    pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-header --no-annotate --no-emit-index-url \
	    --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock

clean: ## remove what was built and cached; .venv stays
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage .coverage.* .demo
	find streams tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
