# CapsBench in two commands: `make quick` and `make test`. Both make the environment first, once:
# the first one with the packages of lock.txt, the second one adds tests and tools (lock-dev.txt).

VENV := .venv
BIN := $(VENV)/bin
LOCK := requirements/lock.txt
LOCK_DEV := requirements/lock-dev.txt
LOCK_RAY := requirements/lock-ray.txt

# The first Python from 3.11 to 3.14 that runs (a pyenv shim may exist and fail) and can make an
# environment; python3 comes first, since you chose it. The lock files have wheels for 3.11 to 3.14;
# torchvision refuses 3.14.1. `make PYTHON=/path/to/python` overrides.
USABLE := import sys, venv, ensurepip; v = sys.version_info[:3]; \
	sys.exit(not ((3, 11) <= v < (3, 15) and v != (3, 14, 1)))
find-python = for python in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11); do \
	"$$python" -c '$(USABLE)' >/dev/null 2>&1 && { echo "$$python"; break; }; done
no-python = CapsBench needs Python 3.11 to 3.14 with its venv module (Debian: apt install \
	python3-venv); $(if $(PYTHON),$(PYTHON) is none of these,there is none here): make PYTHON=/path/to/python.

.PHONY: help quick test full fuzz soak bench gpu gpu-wheels docs install install-dev lint format lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

quick: install ## environment, then the main job: three models, two seeds, the report
	@$(BIN)/capsbench run quick

test: lint ## environment, then formatter, linter, type checker and the test suite
	@$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder -m "not slow"

full: lint ## the same with the slow tests, and C kernels under sanitizers: everything
	@$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

fuzz: install-dev ## a random search over both routings, FUZZ_SECONDS=600 FUZZ_SEED=...
	@$(BIN)/python -m tests.capsules.fuzz

soak: install-dev ## kill processes of a run at random, SOAK_KILLS=100 SOAK_SEED=..., and compare the results
	@$(BIN)/python -m tests.running.soak

bench: install ## environment, then speed on this machine, relative to the textbook form: some minutes, and ten for executors
	@$(BIN)/capsbench bench
	@$(BIN)/capsbench bench executors --output runs/bench/executors

gpu: install ## environment, then all that needs CUDA, checked in six minutes: runs/gpu/gpu.json
	@$(BIN)/python -m capsbench.speed.gpu $(GPU)

gpu-wheels: install ## what a machine with torch but no registry lacks, as wheels in .wheels
	@$(BIN)/python requirements/wheels.py $(WHEELS)

lint: install-dev ## ruff and mypy
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy

format: install-dev ## format the files with ruff
	@$(BIN)/ruff check --quiet --fix
	@$(BIN)/ruff format

install: $(VENV)/installed ## the environment in .venv: pinned packages, and CapsBench editable
	@:

install-dev: $(VENV)/installed-dev ## the same with the packages of tests and tools
	@:

$(BIN)/python:
	@python="$$($(find-python))"; \
	if [ -z "$$python" ]; then echo '$(strip $(no-python))' >&2; exit 1; fi; \
	echo "Making $(VENV) with $$("$$python" --version)"; \
	"$$python" -m venv --clear $(VENV)

# Install the packages of a lock file, show the large downloads, and print the log's end on failure.
define install-lock
	@for name in models datamodules benchmarks; do \
		test -e capsbench/$$name || ln -sfn ../$$name capsbench/$$name; done # an sdist has no links
	@echo "Installing the packages of $(1) (some GB and minutes, once; log: $(VENV)/install.log)"
	@rm -f $(VENV)/packages-installed
	@{ $(BIN)/python -m pip install --disable-pip-version-check --require-hashes -r $(1) && \
		touch $(VENV)/packages-installed; } 2>&1 | tee $(VENV)/install.log | \
		grep --line-buffered -oE '(Downloading|Using cached) [^ ]+ \(([0-9.]+ GB|[0-9]{2,}[0-9.]* MB)\)|Installing collected packages' || true
	@test -e $(VENV)/packages-installed || { tail -n 25 $(VENV)/install.log >&2; exit 1; }
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation -e .
	@touch $@
endef

# The stamps are touched last, so that an interrupted installation starts again.
$(VENV)/installed: pyproject.toml $(LOCK) | $(BIN)/python
	$(call install-lock,$(LOCK))

$(VENV)/installed-dev: pyproject.toml $(LOCK) $(LOCK_DEV) | $(BIN)/python
	$(call install-lock,$(LOCK_DEV))
	@touch $(VENV)/installed # lock-dev.txt holds lock.txt

# uv resolves for every platform and Python at once, which pip-compile cannot. Pins stay where they
# are while they satisfy pyproject.toml; `make lock UPGRADE=--upgrade` moves them all. setuptools
# builds the editable package. The other files are constrained by lock.txt, so that all agree.
# lock-dev.txt has every extra but ray, whose 240 MB no test needs (the extra dev holds the others).
UV_COMPILE := .venv-lock/bin/uv pip compile --quiet --no-config --universal --generate-hashes \
	--no-emit-index-url --custom-compile-command "make lock" $(UPGRADE)
lock: | $(BIN)/python ## write the lock files again from pyproject.toml
	@test -x .venv-lock/bin/uv || { $(BIN)/python -m venv .venv-lock && \
		.venv-lock/bin/python -m pip install --disable-pip-version-check --quiet 'uv>=0.9'; }
	@echo 'setuptools>=77.0.3' | $(UV_COMPILE) pyproject.toml - --output-file $(LOCK)
	@echo 'setuptools>=77.0.3' | $(UV_COMPILE) pyproject.toml - --extra dev --constraint $(LOCK) \
		--output-file $(LOCK_DEV)
	@echo 'setuptools>=77.0.3' | $(UV_COMPILE) pyproject.toml - --extra ray --constraint $(LOCK) \
		--output-file $(LOCK_RAY)

docs: install-dev ## the documentation site: docs/_build/html/index.html
	@$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going -c docs \
		-d docs/_build/doctrees . docs/_build/html
	@echo docs/_build/html/index.html

clean: ## remove the environment and the caches (never runs/ or data/)
	@rm -rf $(VENV) .venv-lock build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis docs/_build
