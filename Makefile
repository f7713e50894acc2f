# Every verb sets up what it needs: Python 3.11 or newer and make are enough.

PORT ?= 8800
ONLY ?=
EFFORT ?= 10

# The newest Python at hand that is new enough; override with make PYTHON=...
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
READY := .venv/ready

.PHONY: help install demo check test e2e bench soak docs clean

help: ## show the verbs
	@grep -hE '^[a-z0-9]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

install: $(READY) ## make .venv with the engine and all tools

$(READY): constraints.txt requirements-dev.txt engine/pyproject.toml lab/pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: install it, or name it with make PYTHON=..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "setting up .venv with $(PYTHON) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --requirement requirements-dev.txt --editable 'engine[embedded,fast]' --editable 'lab[fast]'
	@touch $@

demo: $(READY) ## embedded PostgreSQL, server and a live page; PORT=8800, CHECK=1 proves it and exits
	@$(BIN)/tidewire demo $(if $(CHECK),--check,--port $(PORT))

check: $(READY) ## format, lint, types, imports, tidiness
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy -p tidewire -p tidelab
	$(BIN)/mypy engine/tests lab/tests tools benchmarks examples lab/tidelab_pytest.py
	$(BIN)/lint-imports --config .importlinter
	$(BIN)/lint-imports --config lab/.importlinter
	$(BIN)/python tools/tidy.py

test: $(READY) ## all tests but those of the browser; each core must be covered wholly by its own
	$(BIN)/coverage run --source=tidewire.core -m pytest engine/tests/core
	$(BIN)/coverage report --fail-under=100
	$(BIN)/coverage run --source=tidelab.core -m pytest lab/tests/core
	$(BIN)/coverage report --fail-under=100
	$(BIN)/python -m pytest engine/tests lab/tests --ignore=engine/tests/core --ignore=lab/tests/core \
		--ignore=engine/tests/e2e --ignore=lab/tests/e2e -n 4 --dist worksteal
	$(BIN)/tidelab selftest --runs 100

e2e: $(READY) ## the pages in a real browser; installs Chromium when root
	@command -v chromium >/dev/null || { test "$$(id -u)" = 0 \
		&& { apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -qq -y chromium >/dev/null; } \
		|| { echo "Chromium is needed: apt-get install chromium"; exit 1; }; }
	$(BIN)/python -m pytest engine/tests/e2e lab/tests/e2e

bench: $(READY) ## all benchmarks, or ONLY=fanout
	$(BIN)/python benchmarks/run.py $(ONLY)

soak: $(READY) ## the randomised proofs at EFFORT=10 times the length that make test gives them
	TIDEWIRE_EFFORT=$(EFFORT) $(BIN)/python -m pytest --timeout 7200 -s -m soak engine/tests lab/tests
	$(BIN)/tidelab selftest --runs $$((100 * $(EFFORT)))
	$(BIN)/tidelab run --embedded --corpus lab/corpus --seed 1 --runs $$((10 * $(EFFORT))) --seconds 6

docs: $(READY) ## write docs/reference from the code's own registries
	$(BIN)/python tools/reference.py

clean: ## remove everything that the other verbs made
	rm -rf .venv build dist engine/dist lab/dist runs benchmarks/build .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
