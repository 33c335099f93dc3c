# Every target makes its virtual environment and installs what it needs; a second run is quick.
#
#   make demo     a demo IOC, the tutorial played against it
#   make test     the tests (TESTS="-k word" to choose some, JOBS=0 for one after the other); those of
#                 bad networks run as root on Linux with nftables: apt-get install nftables iproute2
#   make test-thorough those that make test leaves out because they take long
#   make test-ophyd all tests of ophyd and bluesky, of which make test runs some
#   make test-catools all recorded command lines of the catools, of which make test runs some
#   make coverage the same tests, measured: branches, too, and all child processes; leaves .coverage
#   make lint     ruff and mypy
#   make docs     the manual, in docs/_build/html; its examples run against a demo IOC
#   make bench    the benchmarks; PEERS=.../python to compare with the clients that it has,
#                 RST=docs/performance-table.txt to put the table into the manual
#   make simulate the client and servers in a simulated world; SEEDS=20000 for more of them,
#                 SEED=n to replay one and make it small
#   make fuzz     mutated recordings for everything that reads bytes; SECONDS=600 for each target,
#                 FUZZ="framing" for one target
#   make clean    removes the environment and what was built
#
# PYTHON chooses the interpreter for the environment (3.10 or later), VENV its place.

PYTHON ?= python3
VENV ?= .venv
TESTS ?=
JOBS ?= 5
DIST ?= loadfile
PEERS ?=
SEED ?=
SEEDS ?= 2000
FUZZ ?=
SECONDS ?= 60

BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check
# One stamp file for each extra of pyproject.toml, "base" being none; it is renewed when the
# requirements change. caproto itself is installed in place, so changes of the code need nothing.
STAMP = $(VENV)/.installed-

# Where this is set each test process, and each that it starts, would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test test-thorough test-ophyd test-catools coverage lint docs bench simulate fuzz clean

help:
	@sed -n 's/^#   //p' Makefile

demo: $(STAMP)base
	$(BIN)/python examples/demo.py

# By files: the tests of one file share an IOC and follow upon each other. In the order of
# tests/conftest.py.
test: $(STAMP)test
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(TESTS)

test-thorough: $(STAMP)test
	$(BIN)/python -m pytest -m thorough -n $(JOBS) --dist loadfile $(TESTS)

test-ophyd: $(STAMP)test
	$(BIN)/python -m pytest -m "thorough or not thorough" -n $(JOBS) tests/integration/test_ophyd.py

test-catools: $(STAMP)test
	$(BIN)/python -m pytest -m "thorough or not thorough" -n $(JOBS) --dist worksteal \
	    tests/commandline

# Measured code takes more time. Tests of the pure parts may be divided among the processes one by
# one (DIST=worksteal). The report comes also when a test fails.
coverage: $(STAMP)test
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest -n $(JOBS) --dist $(DIST) --timeout 600 \
	    -o faulthandler_timeout=300 $(TESTS); status=$$?; \
	    $(BIN)/python -m coverage combine -q && \
	    $(BIN)/python -m coverage report --skip-covered && exit $$status

lint: $(STAMP)dev
	$(BIN)/python -m ruff check .
	$(BIN)/python -m mypy

docs: $(STAMP)docs
	$(BIN)/python -m sphinx -E -W --keep-going -q -b html docs docs/_build/html
	@echo "The manual: docs/_build/html/index.html"

bench: $(STAMP)test
	$(BIN)/python -m tests.benchmarks $(if $(PEERS),--peers $(PEERS)) $(if $(RST),--rst $(RST))

simulate: $(STAMP)test
	$(BIN)/python -m tests.simulation $(or $(SEED),--seeds $(SEEDS) --jobs $(JOBS))

fuzz: $(STAMP)test
	$(BIN)/python -m fuzz $(FUZZ) --seconds $(SECONDS)

$(STAMP)base: pyproject.toml setup.py | $(BIN)/python
	$(PIP) install --quiet --editable .
	@touch $@

$(STAMP)%: pyproject.toml setup.py | $(BIN)/python
	$(PIP) install --quiet --editable ".[$*]"
	@touch $@

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { \
	    echo "No $(PYTHON) here. Install Python 3.10 or later, or name one: make PYTHON=python3.12 ..."; \
	    exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	    echo "$(PYTHON) is $$($(PYTHON) -V 2>&1); caproto needs 3.10 or later: make PYTHON=python3.12 ..."; \
	    exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "$(PYTHON) cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv"; \
	    exit 1; }
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf $(VENV) build docs/_build docs/generated .mypy_cache .ruff_cache .pytest_cache .hypothesis \
	    .coverage .coverage.*
