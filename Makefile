# The doors of this repository. Each sets up what it needs in .venv, from nothing but python3 (3.11 or newer) and make;
# the second time that takes no time. Extra arguments: make test ARGS="-k keys".

VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
ARGS ?=

# A stamp is newer than what it was made from, or the environment is brought up to date.
DEMO_READY := $(VENV)/.demo-ready
DEV_READY := $(VENV)/.dev-ready
SETUP := pyproject.toml .ci/venv

.PHONY: help demo test check static format docs reference conformance bench clean
.DEFAULT_GOAL := help

help:  ## what each door does
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

$(DEMO_READY): $(SETUP)
	@echo "setting up $(VENV) for the demo" >&2
	@sh .ci/venv $(VENV)
	@$(PIP) --editable '.[demo]'
	@touch $@

# The developers' environment holds the demo's too.
$(DEV_READY): $(SETUP)
	@echo "setting up $(VENV) for development" >&2
	@sh .ci/venv $(VENV)
	@$(PIP) --editable '.[demo,testing]' --group dev
	@touch $(DEMO_READY) $@

demo: $(if $(wildcard $(DEV_READY)),$(DEV_READY),$(DEMO_READY))  ## a real migration on this machine, with faults, proven: two minutes
	@$(BIN)/crossdock demo $(ARGS)

# Their own scripts decide whether there is anything to do.
test: $(DEV_READY)  ## all tests
	@sh .ci/azurite $(VENV)
	@sh .ci/postgres
	@sh .ci/flights $(VENV)
	@$(BIN)/python -m pytest $(ARGS)

check: static docs test  ## everything CI asks of the source: format, lint, types, import contracts, documents, tests

static: $(DEV_READY)  ## format, lint, types and import contracts, without the tests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(DEV_READY)  ## bring the source into shape
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

docs: $(DEV_READY)  ## build the documents into site/, strictly
	@$(BIN)/python docs/generate.py --check
	@$(BIN)/mkdocs build --strict --quiet

reference: $(DEV_READY)  ## write docs/reference/ anew from the code
	@$(BIN)/python docs/generate.py

conformance: $(DEV_READY)  ## run the conformance suites against every end and record what passed
	@sh .ci/azurite $(VENV)
	@sh .ci/postgres
	@$(BIN)/python -m pytest -q --conformance-only --conformance-record tests/conformance.json tests/connectors tests/formats/test_codec_suite.py tests/integration/test_pairs.py
	@$(BIN)/python docs/generate.py

bench: $(DEV_READY)  ## the figures of benchmarks/
	@sh .ci/flights $(VENV)
	@$(BIN)/python -m benchmarks $(ARGS)

clean:  ## remove the environment and everything built
	@rm -rf $(VENV) build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
