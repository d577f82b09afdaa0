# Every target sets up what it needs in .venv: once, and again when pyproject.toml or
# constraints.txt is newer than the stamp.
VENV := .venv
PYTHON := $(VENV)/bin/python
STAMP := $(VENV)/installed
PIP_INSTALL := $(PYTHON) -m pip install --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test soak lint clean

help:
	@echo "make demo    train the demo model, measure it, write runs/demo/report.html"
	@echo "make test    run the tests"
	@echo "make soak    the long tests: a hundred kills, every mesh, two thousand steps"
	@echo "make lint    check style and types"
	@echo "make clean   remove .venv and build products (runs/ stays)"

demo: $(STAMP)
	$(PYTHON) train.py demo
	$(PYTHON) -m eval.run runs/demo
	@echo "The report is at $(CURDIR)/runs/demo/report.html"

test: $(STAMP)
	$(PYTHON) -m pytest -n logical --maxprocesses 4 --dist worksteal

soak: $(STAMP)
	$(PYTHON) -m pytest -m soak -s

lint: $(STAMP)
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m pyright --pythonpath $(PYTHON)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# setuptools comes first, at its pinned version, and builds without isolation: when all is
# installed already, pip then needs no network.
$(STAMP): pyproject.toml constraints.txt $(PYTHON)
	$(PIP_INSTALL) setuptools
	$(PIP_INSTALL) --no-build-isolation -e '.[eval,data,ray,dev]'
	@touch $@

# A candidate is run, not only found: pyenv's shims exist for versions that are not there.
$(PYTHON):
	@for python in python3.11 python3.12 python3; do \
	    if $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' \
	        2>/dev/null; then \
	        echo "$$python -m venv $(VENV)"; \
	        rm -rf $(VENV); \
	        $$python -m venv $(VENV) && exit 0; \
	        rm -rf $(VENV); \
	        echo "$$python cannot make a virtual environment: install its venv package" >&2; \
	        echo "(on Debian and Ubuntu: apt install python3-venv)" >&2; \
	        exit 1; \
	    fi; \
	done; \
	echo "omni needs Python 3.11 or 3.12: none of python3.11, python3.12 and python3" \
	    "($$(python3 --version 2>&1 | head -1)) is one of them" >&2; \
	exit 1
