# Everything a person does with Fairlane on one machine. Needs Python 3.11 or newer, and make.

PYTHON ?=
ARGS ?=
export PYTHON

PY := .venv/bin/python
PACKAGES := config scheduling gateway dashboard
CHROMIUM := /usr/bin/chromium

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev run seed test sdk mutants soak lint check bench lock

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20
	@echo '  Flags go in ARGS: make run ARGS="--port 9000 --split"'

setup: ## the environment: .venv in this folder
	@./scripts/setup.sh requirements.lock

setup-dev: ## the same with everything that tests and linters need
	@./scripts/setup.sh requirements-dev.lock

run: setup ## everything on http://localhost:8000, until Ctrl-C
	@exec $(PY) manage.py serve $(ARGS)

seed: setup ## the demo tenants, pool and model, without the engines
	@$(PY) manage.py seed $(ARGS)

test: setup-dev ## all tests
	@test -x $(CHROMIUM) || echo 'Browser tests are skipped: there is no $(CHROMIUM). To run them: apt-get install chromium'
	@$(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

sdk: setup-dev ## stock clients before the gateway: installs them all, and prints what they do into docs/api.md
	@./scripts/sdk.sh
	@$(if $(FAIRLANE_REQUIRE_SDK),,FAIRLANE_WRITE_MATRIX=1) $(PY) -m pytest tests/sdk $(ARGS)

mutants: setup-dev ## bugs put into the scheduling core one by one: do the tests notice each?
	@$(PY) -m tests.mutation $(ARGS)

soak: setup-dev ## the product under load while 200 processes are killed: does every request have its one record?
	@$(PY) -m tests.soak $(ARGS)

lint: setup-dev ## format, lint, types, layers
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy $(PACKAGES)
	@.venv/bin/lint-imports

check: lint ## lint, and the unit tests
	@$(PY) -m pytest tests/unit

bench: setup-dev ## all benchmarks; each prints one JSON line
	@for file in $$(grep -l '^if __name__' benchmarks/*.py); do \
		$(PY) -m benchmarks.$$(basename $$file .py) $(ARGS) || exit 1; \
	done

LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-emit-index-url --no-emit-find-links

lock: ## the locked dependencies anew, after a change of what is wanted (needs uv, and npm for stock clients)
	@$(LOCK) pyproject.toml --output-file requirements.lock
	@$(LOCK) pyproject.toml --group dev --output-file requirements-dev.lock
	@for wanted in tests/sdk/python/*.in; do $(LOCK) $$wanted --output-file $${wanted%.in}.lock || exit 1; done
	@! command -v npm >/dev/null || npm install --prefix tests/sdk/js --package-lock-only --ignore-scripts --silent
