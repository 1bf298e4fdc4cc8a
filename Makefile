# Everything starts from a bare python3: the first target that needs packages builds .venv from the locks.
PY   ?= python3
VENV := .venv
UV   := uv==0.13.9
BIN  := $(VENV)/bin
FUZZ := .venv-fuzz
PEERS := .venv-peers
SPARK := .venv-spark

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run check test thorough trust fuzz spark image lint format lock openapi bench peers docs clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.base ## migrate the local database, load the demo study and serve on this machine
	$(BIN)/python -m app migrate
	$(BIN)/python -m app demo
	$(BIN)/python -m app serve

PYTEST := $(BIN)/python -m pytest -q -n auto --dist worksteal
# The suite starts some fifty Python processes: without kept bytecode each of them compiles every module again.
check test thorough: export PYTHONDONTWRITEBYTECODE :=

check: $(VENV)/.test ## run the quick tests, on SQLite alone
	HYPOTHESIS_PROFILE=quick $(PYTEST) -m "not slow and not postgresql" $(ARGS)

test: $(VENV)/.test ## run the whole test suite, on SQLite and on a real PostgreSQL
	$(PYTEST) $(ARGS)

thorough: $(VENV)/.test ## run the whole test suite with every repetition
	HYPOTHESIS_PROFILE=thorough $(PYTEST) $(ARGS)

trust: $(VENV)/.test ## prove with full counts what docs/trust.md promises
	$(BIN)/python -m tests.trust $(ARGS)

fuzz: $(VENV)/.test $(FUZZ)/.done ## ask the service what its description allows, and hold each answer against it
	$(BIN)/python -m tests.trust $(ARGS) described

spark: $(VENV)/.test $(SPARK)/.done ## derive on a Spark cluster of this machine, also ten million results; needs Java 17
	export PYTHONPATH=$$(echo $(CURDIR)/$(SPARK)/lib/python*/site-packages) && \
	$(BIN)/python -m pytest -q tests/spark $(ARGS) && $(BIN)/python -m tests.bench.on_spark

lint: $(VENV)/.test ## check style, format, types and the directions between rooms
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.test ## apply what lint can repair by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

image: $(VENV)/.test ## build the container image without a daemon, where that is possible, and start it
	$(BIN)/python -m tests.container

openapi: $(VENV)/.base ## write the served API description to openapi.yaml
	$(BIN)/python -m app openapi > openapi.yaml.new
	mv openapi.yaml.new openapi.yaml

bench: $(VENV)/.test ## measure the ratios of docs/benchmarks.md
	$(BIN)/python -m tests.bench $(ARGS)

peers: $(VENV)/.test $(PEERS)/.done ## measure the service beside what others would use for the same work
	$(BIN)/python -m benchmarks $(ARGS)

docs: $(VENV)/.test ## render docs/definitions.md, docs/claims.md and docs/codes.md
	$(BIN)/python -m tests.spec.render
	$(BIN)/python -m tests.spec.codes

# Pins already in the locks are kept; `make lock UPGRADE=--upgrade` moves all of them.
# The locks carry hashes and no addresses, so they hold behind any package index.
# Spark is in none but its own: it weighs 490 MB.
EXTRAS  = $(foreach extra,charts parquet pdf postgres xpt,--extra $(extra))
COMPILE = $(BIN)/uv pip compile -q --system-certs --universal --generate-hashes --no-emit-index-url --no-annotate --no-header \
	$(UPGRADE)
BARE    = const fs = require("fs"), file = "package-lock.json", lock = JSON.parse(fs.readFileSync(file)); \
	for (const each of Object.values(lock.packages)) delete each.funding; \
	fs.writeFileSync(file, JSON.stringify(lock, null, 2) + "\n")
lock: $(BIN)/uv ## resolve pyproject.toml into the two locks, and what is installed elsewhere into theirs
	$(COMPILE) $(EXTRAS) pyproject.toml -o requirements.lock
	$(COMPILE) $(EXTRAS) pyproject.toml --group test -c requirements.lock -o requirements-test.lock
	$(COMPILE) --python-version 3.11 tests/clients/requirements.in -o tests/clients/requirements.lock
	$(COMPILE) --python-version 3.11 tests/trust/requirements.in -o tests/trust/requirements.lock
	$(COMPILE) --python-version 3.11 tests/spark/requirements.in -o tests/spark/requirements.lock
	$(COMPILE) --python-version 3.11 benchmarks/requirements.in -c requirements-test.lock -o benchmarks/requirements.lock
	cd tests/clients && npm install --package-lock-only --ignore-scripts --no-audit --no-fund && node -e '$(BARE)'

clean: ## remove the environment and all caches; databases stay
	rm -rf $(VENV) $(FUZZ) $(PEERS) $(SPARK) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis openapi.yaml.new
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PY) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or later is needed: make PY=python3.11 ...")'
	$(PY) -m venv $(VENV)

$(BIN)/uv: | $(BIN)/python
	$(BIN)/python -m pip install -q --disable-pip-version-check $(UV)

# uv is three times as fast as pip; where it cannot reach the package index, pip installs the very same lock.
# Certificates come from the system, so that both work behind a proxy that a hospital trusts.
define install
	( $(BIN)/python -m pip install -q --disable-pip-version-check $(UV) && \
	  $(BIN)/uv pip install -q --system-certs --python $(BIN)/python --require-hashes -r $< ) || \
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r $<
	touch $@
endef

$(VENV)/.base: requirements.lock | $(BIN)/python
	$(install)

$(VENV)/.test: requirements-test.lock | $(BIN)/python
	$(install)

# schemathesis, what the service is measured beside, and Spark bring packages that nothing else needs, some in other versions.
$(FUZZ)/.done: tests/trust/requirements.lock
$(PEERS)/.done: benchmarks/requirements.lock
$(SPARK)/.done: tests/spark/requirements.lock
$(FUZZ)/.done $(PEERS)/.done $(SPARK)/.done: | $(BIN)/python
	$(BIN)/python -m venv $(@D)
	$(@D)/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r $<
	touch $@
