# CapsBench in two commands: `make quick` and `make test`. Both make the environment first, once.

VENV := .venv
BIN := $(VENV)/bin
LOCK := requirements/lock.txt

# Any Python from 3.11 on that really runs (a pyenv shim may exist and fail) and can make an
# environment; python3 first, since that is the one you chose. The lock file was checked to have
# wheels for 3.11 to 3.14; torchvision refuses 3.14.1. `make PYTHON=/path/to/python` overrides.
USABLE := import sys, venv, ensurepip; v = sys.version_info[:3]; \
	sys.exit(not ((3, 11) <= v < (3, 15) and v != (3, 14, 1)))
find-python = for python in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11); do \
	"$$python" -c '$(USABLE)' >/dev/null 2>&1 && { echo "$$python"; break; }; done
no-python = CapsBench needs Python 3.11 to 3.14 with its venv module (Debian: apt install \
	python3-venv); $(if $(PYTHON),$(PYTHON) is not one,none was found): make PYTHON=/path/to/python.

.PHONY: help quick test bench install lint format lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

quick: install ## environment, then the main job: three models, two seeds, the report
	@$(BIN)/capsbench run quick

test: lint ## environment, then formatter, linter, type checker and the whole test suite
	@$(BIN)/python -m pytest --numprocesses auto --dist loadfile

bench: install ## environment, then how fast it is here, beside the textbook form: some minutes
	@$(BIN)/capsbench bench

lint: install ## ruff and mypy
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy

format: install ## rewrite the files as ruff wants them
	@$(BIN)/ruff check --quiet --fix
	@$(BIN)/ruff format

install: $(VENV)/installed ## the environment in .venv: the pinned packages, and CapsBench editable
	@:

$(BIN)/python:
	@python="$$($(find-python))"; \
	if [ -z "$$python" ]; then echo '$(strip $(no-python))' >&2; exit 1; fi; \
	echo "Making $(VENV) with $$("$$python" --version)"; \
	"$$python" -m venv --clear $(VENV)

# The stamp is touched last, so that an interrupted installation starts again.
$(VENV)/installed: pyproject.toml $(LOCK) | $(BIN)/python
	@echo "Installing the packages of $(LOCK) (some GB and minutes, once; log: $(VENV)/install.log)"
	@rm -f $(VENV)/packages-installed
	@{ $(BIN)/python -m pip install --disable-pip-version-check --require-hashes -r $(LOCK) && \
		touch $(VENV)/packages-installed; } 2>&1 | tee $(VENV)/install.log | \
		grep --line-buffered -oE '(Downloading|Using cached) [^ ]+ \(([0-9.]+ GB|[0-9]{2,}[0-9.]* MB)\)|Installing collected packages' || true
	@test -e $(VENV)/packages-installed || { tail -n 25 $(VENV)/install.log >&2; exit 1; }
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation -e .
	@touch $@

# uv resolves for every platform and Python at once, which pip-compile cannot. Pins stay where they
# are while they satisfy pyproject.toml; `make lock UPGRADE=--upgrade` moves them all.
lock: | $(BIN)/python ## write requirements/lock.txt anew from pyproject.toml
	@test -x .venv-lock/bin/uv || { $(BIN)/python -m venv .venv-lock && \
		.venv-lock/bin/python -m pip install --disable-pip-version-check --quiet 'uv>=0.9'; }
	@.venv-lock/bin/uv pip compile --quiet --no-config --universal --generate-hashes --all-extras \
		--no-emit-index-url --custom-compile-command "make lock" $(UPGRADE) \
		pyproject.toml --output-file $(LOCK)

clean: ## remove the environment and the caches (never runs/ or data/)
	@rm -rf $(VENV) .venv-lock build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
