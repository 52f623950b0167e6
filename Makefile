# The two commands a newcomer needs are `make demo` and `make test`; each sets up what it needs.
.PHONY: help demo test check unit prove simulate mutants chaos sigkill fuzz dashboard benchmark generated clean

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

help:                                 ## list these commands
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 12

demo: $(INSTALLED)                    ## run the demo study (ARGS=--exit ends by itself)
	$(BIN)/python examples/demo.py $(ARGS)

test: check                           ## lint, types, import contracts, and every test but the long proofs
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not prove and not other_database" $(ARGS)

prove: $(INSTALLED)                   ## the proofs that need time: worlds, mutants, chaos, every model and database (SIZE=ci: smaller)
	ASSAYER_TEST_SIZE=$(or $(SIZE),full) $(BIN)/python -m pytest -n 2 --dist worksteal -m "$(if $(filter ci,$(SIZE)),prove and not full,prove or other_database)" $(ARGS)

check: $(INSTALLED)                   ## lint, format, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: $(INSTALLED)                    ## the fast tests only
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not browser and not prove and not other_database" $(ARGS)

simulate: $(INSTALLED)                ## play worlds full of faults against the use cases, on all cores (SEEDS=300, FIRST=1)
	$(BIN)/python -m tests.simulation --seeds $(or $(SEEDS),300) --first $(or $(FIRST),1)

mutants: $(INSTALLED)                 ## hunt every planted mutant with the simulation, on all cores, and record its killing seed
	$(BIN)/python -m tests.simulation.killing_seeds

chaos: $(INSTALLED)                   ## kill real processes while 10,000 trials are searched, 20 minutes (TRIALS=500, SEED=1)
	$(BIN)/python -m tests.chaos --trials $(or $(TRIALS),10000) --seed $(or $(SEED),1) \
		--out benchmarks/results/chaos.md $(ARGS)

sigkill: $(INSTALLED)                 ## stop the service on SQLite by SIGKILL under load, a hundred times (ROUNDS=100)
	ASSAYER_TEST_SIGKILLS=$(or $(ROUNDS),100) $(BIN)/python -m pytest -n 0 tests/e2e/test_sqlite_sigkill.py

fuzz: $(INSTALLED)                     ## call every operation of the API by its OpenAPI document, alone and in chains (EXAMPLES=500)
	EXAMPLES=$(or $(EXAMPLES),500) $(BIN)/python -m pytest -n 0 tests/api/test_fuzz.py $(ARGS)

dashboard: $(INSTALLED)               ## build the web client after a change to it
	$(BIN)/python service/dashboard/build.py

generated: $(INSTALLED)               ## write anew what the docs and the contract take from the code
	$(BIN)/python -m worker.training.catalogue > .catalogue.json
	mv .catalogue.json service/contract/catalogue.json
	$(BIN)/python -m tests.docs.generated

benchmark: $(INSTALLED)               ## measure the service on this machine
	$(BIN)/python benchmarks/service.py $(ARGS)

clean:                                ## remove what make made
	rm -rf .venv service/dashboard/static service/dashboard/web/node_modules .pytest_cache .mypy_cache .ruff_cache

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Assayer needs Python 3.11 or newer; name one with: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@
