# Everything needs only Python ≥ 3.11, make and git. `make` alone lists what there is.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# A uv on PATH is used as it is; without one, uv is installed into the virtual environment.
UV := $(or $(shell command -v uv 2>/dev/null),$(BIN)/uv)

.DEFAULT_GOAL := help
.PHONY: help setup test check format lock demo sim chaos proof fuzz judges browser operate typescript site bench peers clean

help: ## List what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

setup: $(STAMP) ## Make .venv with everything in it (does nothing when up to date)

# SHORT=1 plays those alone that need nothing but what npm installs in a few seconds.
ifdef SHORT
JUDGES := tests/judges/openfeature tests/judges/webhooks
JUDGED := tests/judges/test_openfeature.py tests/judges/test_webhooks_in_node.py
else
JUDGES := tests/judges/openfeature tests/judges/webhooks tests/judges/oidc tests/judges/stripe_clients tests/judges/better_auth
JUDGED := tests/judges tests/client/test_processes_of_servers.py tests/client/test_processes_around.py
endif
TYPESCRIPT := packages/typescript

# Whoever told Python to write no bytecode would have every process of the tests compile all that it imports.
export PYTHONDONTWRITEBYTECODE :=

# A test that hangs is named and fails; the others go on.
HANGS := -o faulthandler_timeout=420 -o faulthandler_exit_on_timeout=true

# Three processes on two cores: the tests wait for others about a third of their time; a fourth gains nothing.
test: setup ## Run the tests; ARGS="-k claim" passes options to pytest
	$(BIN)/python -m pytest -n 3 --dist loadgroup --ignore tests/operate --ignore tests/browser $(HANGS) $(ARGS)

check: setup ## Check format, lint, types and import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache

format: setup ## Format the code and fix what lint can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

demo: setup ## See it run, with nothing to configure; ONCE=1 walks through it and ends, EVENTS=n of usage
	$(BIN)/paygrade demo $(if $(ONCE),--once) $(if $(EVENTS),--events $(EVENTS))

sim: setup ## Simulate weeks of bad weather; RUNS=n worlds, SEED=n replays one
	$(if $(SEED),SEED=$(SEED)) $(if $(RUNS),RUNS=$(RUNS)) $(BIN)/python -m pytest tests/simulation $(ARGS)

chaos: setup ## Kill and restart real processes under load; RUNS=n times each, SEED=n
	RUNS=$(or $(RUNS),5) $(if $(SEED),SEED=$(SEED)) $(BIN)/python -m pytest tests/chaos $(ARGS)

proof: setup ## Use and hold units from many processes that are killed; RUNS=n times each, SEED=n
	RUNS=$(or $(RUNS),5) $(if $(SEED),SEED=$(SEED)) $(BIN)/python -m pytest tests/proof $(ARGS)

fuzz: setup ## Send every route what its description allows, and what not; EXAMPLES=n of each, SEED=n
	EXAMPLES=$(or $(EXAMPLES),200) $(if $(SEED),SEED=$(SEED)) $(BIN)/python -m pytest tests/fuzz \
	  tests/server/http/test_every_route.py $(ARGS)

judges: setup ## Test beside what is too large for all: Node's OpenFeature, webhooks and OpenID Connect, clients of Stripe, LiteLLM, uWSGI, other Pythons
	@if command -v npm >/dev/null; then for each in $(JUDGES); do \
	    npm ci --prefix $$each --no-audit --no-fund --silent || \
	    { rm -rf $$each/node_modules; echo "npm can't install what $$each needs: it is left out"; }; done; \
	  else echo "Node (with npm) is not installed: what is for JavaScript is left out"; fi
ifndef SHORT
	$(UV) venv --quiet --allow-existing --python $(BIN)/python .venv-judges
	$(UV) pip install --quiet --compile-bytecode --python .venv-judges/bin/python \
	  --require-hashes -r tests/judges/requirements.txt
	$(UV) venv --quiet --allow-existing --python $(BIN)/python .venv-djstripe
	$(UV) pip install --quiet --compile-bytecode --python .venv-djstripe/bin/python \
	  --require-hashes -r tests/judges/requirements-djstripe.txt
	@for version in 3.12 3.13; do \
	  found=$$(ls $(HOME)/.pyenv/versions/$$version.*/bin/python 2>/dev/null | tail -1); \
	  if $(UV) venv --quiet --allow-existing --python $${found:-$$version} .venv-$$version; \
	  then $(UV) pip install --quiet --python .venv-$$version/bin/python msgspec urllib3; \
	  else echo "Python $$version cannot be had: it is left out"; fi; done
endif
	$(BIN)/python -m pytest $(JUDGED) -rs $(ARGS)

browser: setup ## Look at the console and the customers' pages in Chromium; SHORT=1 once each, PICTURES=docs/images takes those of the docs
	@if ! command -v npm >/dev/null || ! npm ci --prefix tests/browser --no-audit --no-fund --silent; then \
	  rm -rf tests/browser/node_modules; echo "npm can't install axe-core: the console is looked at without it"; fi
	@$(UV) venv --quiet --allow-existing --python $(BIN)/python .venv-browser && \
	  $(UV) pip install --quiet --python .venv-browser/bin/python --require-hashes -r tests/browser/requirements.txt || \
	  { rm -rf .venv-browser; echo "Playwright can't be installed: the console is not looked at"; }
	$(if $(SHORT),SHORT=1) $(BIN)/python -m pytest tests/browser -rs $(HANGS) $(ARGS)

operate: setup ## Test what runs it: PgBouncer, replicas, failover, backups, the image, the chart; says what is missing
	@$(UV) venv --quiet --allow-existing --python $(BIN)/python .venv-operate && \
	  $(UV) pip install --quiet --python .venv-operate --require-hashes -r tests/operate/requirements.txt || \
	  { rm -rf .venv-operate; echo "what judges deploy/ can't be installed: it is left out"; }
	$(BIN)/python -m pytest tests/operate -rs -n 2 --dist loadfile $(HANGS) $(ARGS)

typescript: setup ## Build the packages for TypeScript and test them beside real servers, where there is Node
	@if ! command -v npm >/dev/null; then \
	  echo "Node (with npm) is not installed: the packages for TypeScript are left out"; \
	elif ! npm ci --prefix $(TYPESCRIPT) --no-audit --no-fund --loglevel error; then \
	  echo "npm can't install what they need: the packages for TypeScript are left out"; \
	else \
	  npm run --prefix $(TYPESCRIPT) --silent build && $(BIN)/python -m pytest tests/typescript -rs $(ARGS); \
	fi

# The pages as they lie here, so that their links hold; beside each page its source, which docs/llms.txt links to.
site: setup ## Build the documentation as a site, into build/site; says which links lead nowhere
	$(UV) venv --quiet --allow-existing --python $(BIN)/python .venv-site
	$(UV) pip install --quiet --python .venv-site --require-hashes -r deploy/requirements-site.txt
	rm -rf build/pages build/site && mkdir -p build/pages/deploy
	cp -R *.md LICENSE docs build/pages && cp -R deploy/helm build/pages/deploy
	.venv-site/bin/zensical build --clean --strict
	cp -R docs build/site

bench: setup ## Measure the budgets of the design; ARGS passes options
	$(BIN)/python bench/run.py $(ARGS)

peers: setup ## Install beside whom `make bench ARGS=peers` measures, in a folder of their own
	$(UV) pip install --quiet --python $(BIN)/python --target $(VENV)/peers --group bench

LOCKED := --universal --python-version 3.11 --generate-hashes --no-config --no-emit-index-url --no-emit-find-links \
  --no-annotate --custom-compile-command "make lock" --quiet

lock: | $(UV) ## Write requirements.txt anew from pyproject.toml; ARGS="--upgrade" takes new versions
	$(UV) pip compile pyproject.toml --extra server --extra embedded --extra mcp --extra nats --group dev \
	  --universal --python-version 3.11 --generate-hashes \
	  --no-config --no-emit-index-url --no-emit-find-links --no-annotate \
	  --custom-compile-command "make lock" --quiet --output-file requirements.txt $(ARGS)
	$(UV) pip compile pyproject.toml --group judges \
	  --universal --python-version 3.11 --generate-hashes \
	  --no-config --no-emit-index-url --no-emit-find-links --no-annotate \
	  --custom-compile-command "make lock" --quiet --output-file tests/judges/requirements.txt $(ARGS)
	$(UV) pip compile --group browser $(LOCKED) --output-file tests/browser/requirements.txt $(ARGS)
	$(UV) pip compile --group operate $(LOCKED) --output-file tests/operate/requirements.txt $(ARGS)
	$(UV) pip compile pyproject.toml --extra server --extra nats --constraint requirements.txt $(LOCKED) --output-file deploy/requirements.txt $(ARGS)
	$(UV) pip compile --group djstripe $(LOCKED) --output-file tests/judges/requirements-djstripe.txt $(ARGS)
	$(UV) pip compile --group image $(LOCKED) --output-file deploy/requirements-build.txt $(ARGS)
	$(UV) pip compile --group site $(LOCKED) --output-file deploy/requirements-site.txt $(ARGS)

clean: ## Remove everything that was made, .venv too
	rm -rf $(VENV) .venv-* .cache build dist $(TYPESCRIPT)/build $(TYPESCRIPT)/*/dist \
	  .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): requirements.txt pyproject.toml | $(BIN)/python $(UV)
	$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.txt
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Paygrade needs Python 3.11 or newer: make setup PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

$(BIN)/uv: | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
