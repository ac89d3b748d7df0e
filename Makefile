# Fallow. `make demo` runs everything, `make test` tests everything; both work from a bare clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ASSETS := marketplace/storefront/assets
BUILT := marketplace/storefront/static/build
# Enough for the tools that load the settings without a database.
ZEROES := $(shell printf '00%.0s' $$(seq 32))
SETTINGS := DATABASE_URL=postgresql://nobody@127.0.0.1/none REDIS_URL=redis://127.0.0.1/0 SECRET_KEY=checks COMMAND_KEY=$(ZEROES) PASSPORT_KEY=$(ZEROES) BANK_DETAILS_KEY=$(ZEROES) PLATFORM_COUNTRY=DE
# The suite's processes, each with a database of its own.
WORKERS ?= $(shell n=$$(nproc); echo $$(( n > 4 ? 4 : n )))
EMBEDDED := $(BIN)/python -m marketplace.demo.embedded

.PHONY: demo test trials lint openapi clean machine

demo: $(VENV)/demo.stamp $(BUILT)/.stamp
	@exec $(BIN)/python -m marketplace.demo

test: lint machine $(BUILT)/.stamp
	@echo "== tests"
	@$(EMBEDDED) run --data .local/test -- $(BIN)/python -m pytest -q -n $(WORKERS)

# The kills, races and floods in full; `make test` runs them at a reduced size that it prints.
trials: $(VENV)/dev.stamp machine
	@TRIALS=full $(EMBEDDED) run --data .local/test -- $(BIN)/python -m pytest -q -s -m trial

lint: $(VENV)/dev.stamp
	@echo "== format and lint"; $(BIN)/ruff format --check -q . && $(BIN)/ruff check -q .
	@echo "== types"; $(SETTINGS) $(BIN)/mypy
	@echo "== imports"; $(BIN)/lint-imports --no-logo >.lint-imports.log 2>&1 || { cat .lint-imports.log; exit 1; }; rm -f .lint-imports.log
	@echo "== migrations"; $(SETTINGS) $(BIN)/python -W ignore manage.py makemigrations --check --dry-run

openapi: $(VENV)/dev.stamp
	@$(SETTINGS) $(BIN)/python manage.py spectacular --format openapi-json --file docs/openapi.json

machine: $(VENV)/dev.stamp
	@sh tests/machine.sh

$(VENV)/demo.stamp: requirements.txt requirements-demo.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "== packages"; $(BIN)/python -m pip install -q --disable-pip-version-check -r requirements-demo.txt
	@touch $@

$(VENV)/dev.stamp: requirements-dev.txt $(VENV)/demo.stamp
	@echo "== packages for tests"; $(BIN)/python -m pip install -q --disable-pip-version-check -r requirements-dev.txt
	@touch $@

$(BUILT)/.stamp: $(VENV)/demo.stamp $(wildcard $(ASSETS)/* $(ASSETS)/src/* $(ASSETS)/src/*/*)
	@echo "== front-end assets"; sh $(ASSETS)/build.sh $(abspath $(BIN))
	@mkdir -p $(BUILT) && touch $@

clean:
	@-$(EMBEDDED) clean --data .local/test
	@-$(EMBEDDED) clean --data .local
	rm -rf $(VENV) $(BUILT) .local staticfiles .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
