# Everything happens in .venv; a machine needs Python (3.10 or later) and make.
PYTHON ?= python3
JOBS   ?= 4
BASE   ?= debian:bookworm
VENV   := .venv
BIN    := $(VENV)/bin
WHEELS := build/wheel
PIP    := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input

SOURCES := $(shell find src -type f ! -name '*.py[co]' 2>/dev/null)

.NOTPARALLEL:
.PHONY: help venv demo docs docs-links screenshots test test-docker engine chaos bench mutants services lint package clean

help:
	@echo "make demo      watch an outage pass, in the terminal (about a minute); HOLD=1 stays up, with the dashboard"
	@echo "make test      the whole test suite, on the built wheel, JOBS=4 tests at once; ARGS='-k name -x' goes to pytest"
	@echo "make test-docker  the integration tests, each worker and broker a container (needs a Docker engine)"
	@echo "make chaos     the long form of the chaos tests: servers and workers killed at random (about half an hour)"
	@echo "make bench     every figure of docs/benchmarks.md, measured here (about 40 minutes); ARGS='1 4' picks some"
	@echo "make mutants   breaks core/ in a thousand small ways, and counts which of them its tests notice"
	@echo "make lint      ruff, mypy, pyright and the import contracts"
	@echo "make docs      the documentation, in build/docs; a reference that leads nowhere is an error"
	@echo "make docs-links  the same, and asks every site that it links to (needs the web)"
	@echo "make package   builds what would be published, in dist/, and checks it"
	@echo "make screenshots  the pictures of the dashboard in docs/"
	@echo "make services  install the servers that tests start: Redis, RabbitMQ, memcached, PostgreSQL, MariaDB, chromium (Debian, needs root or sudo)"
	@echo "make venv      only set up .venv"
	@echo "make clean     remove all that these commands made"

venv: $(VENV)/.stamp-venv

$(VENV)/.stamp-venv: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --upgrade 'pip>=25.1'
	$(PIP) install --group build
	@touch $@

# The wheel is what is tested and shown: built from src/, installed as a user would, never imported from the tree.
$(VENV)/.stamp-wheel: $(SOURCES) pyproject.toml README.md LICENSE $(VENV)/.stamp-venv
	rm -rf $(WHEELS)
	$(PIP) wheel --no-deps --no-build-isolation --wheel-dir $(WHEELS) .
	$(PIP) install --force-reinstall --no-deps $(WHEELS)/*.whl
	@touch $@

# The extras' dependencies change with pyproject.toml only, so a changed source file does not resolve them again.
$(VENV)/.stamp-test: pyproject.toml $(VENV)/.stamp-venv | $(VENV)/.stamp-wheel
	$(PIP) install "$$(echo $(WHEELS)/*.whl)[redis,django,memcached,sqlalchemy,sqs,prometheus,opentelemetry,web,async]" --group test
	@touch $@

$(VENV)/.stamp-demo: pyproject.toml $(VENV)/.stamp-venv | $(VENV)/.stamp-wheel
	$(PIP) install "$$(echo $(WHEELS)/*.whl)[redis,django,web]" --group demo
	@touch $@

$(VENV)/.stamp-bench: pyproject.toml bench/requirements.txt $(VENV)/.stamp-venv | $(VENV)/.stamp-wheel
	$(PIP) install "$$(echo $(WHEELS)/*.whl)[redis,django,memcached,sqlalchemy,web,async]" --group bench --requirement bench/requirements.txt
	@touch $@

$(VENV)/.stamp-mutants: pyproject.toml $(VENV)/.stamp-test
	$(PIP) install --group mutants
	@touch $@

$(VENV)/.stamp-package: pyproject.toml $(VENV)/.stamp-venv
	$(PIP) install --group package
	@touch $@

$(VENV)/.stamp-lint: pyproject.toml $(VENV)/.stamp-venv | $(VENV)/.stamp-wheel
	$(PIP) install "$$(echo $(WHEELS)/*.whl)[redis,django,memcached,sqlalchemy,sqs,testing,prometheus,opentelemetry,web,async]" --group lint
	@touch $@

$(VENV)/.stamp-docs: pyproject.toml $(VENV)/.stamp-venv | $(VENV)/.stamp-wheel
	$(PIP) install "$$(echo $(WHEELS)/*.whl)[redis,django,memcached,sqlalchemy,sqs,testing,prometheus,opentelemetry,web,async]" --group docs
	@touch $@

demo: $(VENV)/.stamp-demo $(VENV)/.stamp-wheel
	$(BIN)/python -m demo $(if $(HOLD),--hold) $(ARGS)

# Most tests wait more than they work, so several run at once; those that measure time have the machine to themselves.
# With ARGS it is one plain run of pytest.
ifdef ARGS
tests = $(BIN)/pytest $(1) $(ARGS)
else
tests = $(BIN)/pytest --numprocesses $(JOBS) --dist loadfile -m "not alone" $(1) && $(BIN)/pytest -m alone $(1)
endif

test: $(VENV)/.stamp-test $(VENV)/.stamp-wheel
	$(call tests,)

# The integration tests, whose nodes are then containers. BASE is an image of Debian or like it.
test-docker: export CELERY_BREAKER_IMAGE := celery-breaker-node
test-docker: engine $(VENV)/.stamp-test $(VENV)/.stamp-wheel
	rm -rf build/node && mkdir -p build/node && cp pyproject.toml $(WHEELS)/*.whl build/node
	docker build --network host --build-arg BASE=$(BASE) --tag $$CELERY_BREAKER_IMAGE --file tests/docker/Dockerfile build/node
	$(call tests,tests/integration)

engine:
	@docker version --format 'Docker engine {{.Server.Version}}' || { \
		echo "make test-docker needs a Docker engine, and none answers; CONTRIBUTING.md says how to come by one" >&2; exit 1; }

# Property tests take their long form too.
chaos: $(VENV)/.stamp-test $(VENV)/.stamp-wheel
	CELERY_BREAKER_CHAOS=long $(BIN)/pytest -s tests/chaos tests/core $(ARGS)

bench: $(VENV)/.stamp-bench $(VENV)/.stamp-wheel
	$(BIN)/python -m bench $(ARGS)

# In a copy: mutmut writes beside the sources, and starts from what it finds there.
mutants: $(VENV)/.stamp-mutants $(VENV)/.stamp-wheel
	rm -rf build/mutation
	mkdir -p build/mutation
	cp -R src tests pyproject.toml build/mutation
	cd build/mutation && $(CURDIR)/$(BIN)/mutmut run && $(CURDIR)/$(BIN)/mutmut results
	cd build/mutation && $(CURDIR)/$(BIN)/mutmut export-cicd-stats && $(CURDIR)/$(BIN)/python -m tests.core.score

screenshots: $(VENV)/.stamp-test $(VENV)/.stamp-wheel
	$(BIN)/python -m tests.web.browser.screenshots docs

# As for a user who installed neither celery-types nor any library of ours: all that is imported has no types.
WITHOUT_TYPES := --no-site-packages --ignore-missing-imports --follow-imports=silent --allow-untyped-decorators

lint: $(VENV)/.stamp-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy docs/examples tests/typing
	$(BIN)/mypy $(WITHOUT_TYPES) tests/typing/bare.py
	$(BIN)/pyright
	PYTHONPATH=src $(BIN)/lint-imports

# Read afresh each time: a page may include what is not a page, or be made from docstrings.
SPHINX = $(BIN)/python -m sphinx -q -E -a -W -n --keep-going

docs: $(VENV)/.stamp-docs $(VENV)/.stamp-wheel
	$(SPHINX) -b html docs build/docs
	@echo "docs: build/docs/index.html; what it links to elsewhere is in build/docs/links.txt"

docs-links: $(VENV)/.stamp-docs $(VENV)/.stamp-wheel
	$(SPHINX) -b linkcheck docs build/docs-links

# The wheel is built from the source distribution, so both are tried.
package: $(VENV)/.stamp-package $(VENV)/.stamp-test $(VENV)/.stamp-wheel
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist .
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl
	$(BIN)/pytest -q tests/package
	$(BIN)/python -m tests.package.importing

services:
	.ci/services

clean:
	rm -rf $(VENV) build dist .tox .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
