# `make` lists the targets. Everything is installed into .venv; nothing else on the machine is touched.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed
STUDY ?= digits

.DEFAULT_GOAL := help
.PHONY: help install sweep test slow-test cluster-test check browser screenshots clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP) ## install Rayduce and its tools into .venv (done by the others when needed)

sweep: $(STAMP) ## search for the quality-size front (STUDY=digits)
	$(BIN)/rayduce sweep $(STUDY)

test: $(STAMP) ## run the tests, two at a time; not those that kill, browse or search for minutes
	$(BIN)/pytest --numprocesses 2 --dist loadgroup -m 'not slow'

slow-test: $(STAMP) ## run those (Chromium and strace as far as they are installed)
	$(BIN)/pytest --numprocesses 2 --dist loadgroup -m slow

cluster-test: $(STAMP) ## bring up three hosts on this machine and lose two (root, openssh-server, rsync)
	$(BIN)/pip install --disable-pip-version-check --quiet --constraint constraints.txt \
	  --editable ./rayduce_reader --editable '.[cluster,dev]'
	RAYDUCE_CLUSTER=1 $(BIN)/pytest tests/cluster

check: $(STAMP) ## lint, formatting, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

browser: $(STAMP) ## run the tests of the pages in the system's Chromium
	@command -v chromium chromium-browser google-chrome >/dev/null || { \
	  echo "These tests drive Chromium, and none is installed: apt-get install chromium." >&2; exit 2; }
	@# Looks for faults of accessibility (MPL 2.0, not shipped); without npm that test is skipped.
	@test -e build/axe/axe.min.js || { mkdir -p build/axe && cd build/axe && npm pack --silent axe-core@4.14.1 \
	  && tar xzf axe-core-4.14.1.tgz --strip-components=1 package/axe.min.js; } || true
	$(BIN)/pytest --numprocesses 0 tests/dashboards/test_browser.py tests/dashboards/test_browser_decide.py \
		tests/dashboards/test_browser_links.py

screenshots: $(STAMP) ## draw every view of rayduce-store, light and dark, into screenshots/
	$(BIN)/python docs/build_screenshots.py

clean: ## remove .venv, caches and build output; results in rayduce-store stay
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is newer than what it was made from, so that a second `make` installs nothing.
# --no-compile: compiling all modules takes longer than the rest of the installation. Python compiles what it imports
# and keeps that, for which the variable must be out of the way.
unexport PYTHONDONTWRITEBYTECODE
$(STAMP): pyproject.toml rayduce_reader/pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Rayduce needs Python 3.11 or newer, and '$(PYTHON)' is not: install it, or name one with make PYTHON=python3.12." >&2; \
	  exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot make a virtual environment: install python3-venv (apt-get install python3-venv)." >&2; \
	  exit 2; }
	@echo 'Installing into .venv: a minute or two on a fast line.'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check --quiet --no-compile --constraint constraints.txt \
	  --editable ./rayduce_reader --editable '.[dev]'
	@touch $(STAMP)
