# `make help` lists the targets. All of them work from a fresh clone; each does what it needs first.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
EXTRAS := bench,data,dev,plot,torch
CONFIGURE := -G Ninja -DPython_EXECUTABLE=$(abspath $(BIN)/python) -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN)/ninja)

.DEFAULT_GOAL := help
.PHONY: help setup tour test check bench conformance docs ecosystem clean native lint types layers sanitize tsan wheel

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

# ---------------------------------------------------------------------------------------- the main targets

setup: $(VENV)/.installed native ## create .venv, install pinned dependencies, build the native module

tour: setup ## linear models beside scikit-learn, a small GPT in few bits (about two minutes)
	$(BIN)/mezzotint tour

test: setup ## run the test suite
	$(BIN)/pytest

check: lint types layers docs sanitize tsan wheel ## format, lint, types, layers, docs, sanitizers, wheel

# 240 MB that only a few examples need, so they are no part of the setup.
ecosystem: setup ## install Trainer, Accelerate, Lightning, TensorBoard; run the examples beside them
	MEZZOTINT_NATIVE_BY_MAKE=1 $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt \
	  --no-build-isolation -e '.[$(EXTRAS),ecosystem]'
	$(BIN)/pytest tests/test_examples.py

bench: setup ## run every benchmark and regenerate the tables made from the results
	$(BIN)/python -m benchmarks.harness
	$(BIN)/python -m benchmarks.tables

conformance: setup ## run scikit-learn's own tests on the estimators, in all modules and modes (half an hour)
	$(BIN)/python -m benchmarks.harness conformance
	$(BIN)/python -m benchmarks.tables

docs: setup ## build the documentation into build/docs
	$(BIN)/sphinx-build -q -W --keep-going -b html docs build/docs
	@echo "build/docs/index.html"

clean: ## remove everything that was built, and the virtual environment
	rm -rf build dist $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	rm -f src/mezzotint/kernels/_native*.so
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# ------------------------------------------------------------------------------------------------- setup

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "mezzotint needs Python 3.11 or later; name one with: make $(MAKECMDGOALS) PYTHON=/path/to/python3"; exit 1; }
	@command -v $${CXX:-c++} >/dev/null \
	  || { echo "mezzotint needs a C++20 compiler (Debian and Ubuntu: apt-get install g++)"; exit 1; }
	@$(PYTHON) -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' \
	  || { echo "Python's C headers are missing (Debian and Ubuntu: apt-get install python3-dev)"; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV) \
	  || { echo "Python cannot make virtual environments (Debian and Ubuntu: apt-get install python3-venv)"; exit 1; }
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt cmake ninja nanobind scikit-build-core
	MEZZOTINT_NATIVE_BY_MAKE=1 $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt \
	  --no-build-isolation -e '.[$(EXTRAS)]'
	@touch $@

build/native/build.ninja: $(VENV)/.installed
	@rm -f src/mezzotint/kernels/_native*.so
	$(BIN)/cmake --fresh -S . -B build/native $(CONFIGURE) >/dev/null
	@touch $@

# Ninja knows what is out of date, so it is always asked.
native: build/native/build.ninja
	@$(BIN)/cmake --build build/native
	@$(BIN)/cmake --install build/native --prefix src >/dev/null

# ------------------------------------------------------------------------------------------------- check

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: setup
	$(BIN)/mypy

layers: setup
	$(BIN)/lint-imports --no-cache
	$(BIN)/pytest -q tests/meta

# An instrumented (or installed) build is a copy of the package in build/NAME/site, found before the one in src/
# because -S leaves out the path entry that `make setup` made. Only what can go wrong in native code is run.
SITE      = $(shell $(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
NATIVE_TESTS = $(wildcard tests/kernels tests/parity tests/fuzz tests/optim/test_native.py tests/optim/test_parity_backends.py)
THREAD_TESTS = tests/kernels/test_threads.py tests/kernels/test_optim_step.py tests/parity/test_halp.py tests/parity/test_zipml.py
run_copy  = PYTHONPATH=build/$(1)/site:$(SITE) $(BIN)/python -S
library   = $(shell $${CXX:-c++} -print-file-name=$(1))

define copy_build
	@$(BIN)/cmake -S . -B build/$(1) $(CONFIGURE) $(2) >/dev/null
	@$(BIN)/cmake --build build/$(1)
	@rm -rf build/$(1)/site && mkdir -p build/$(1)/site
	@cp -r src/mezzotint build/$(1)/site && rm -f build/$(1)/site/mezzotint/kernels/_native*.so
	@$(BIN)/cmake --install build/$(1) --prefix build/$(1)/site >/dev/null
endef

sanitize: setup ## native tests under AddressSanitizer and UndefinedBehaviorSanitizer
	$(call copy_build,sanitize,-DMEZZOTINT_SANITIZE=ON)
	LD_PRELOAD="$(call library,libasan.so) $(call library,libubsan.so)" ASAN_OPTIONS=detect_leaks=0 \
	  UBSAN_OPTIONS=print_stacktrace=1 $(call run_copy,sanitize) -m pytest -q -s -p no:cacheprovider $(NATIVE_TESTS)

# One BLAS thread: OpenBLAS is not instrumented, and its own pool would look like a race.
tsan: setup ## threaded passes under ThreadSanitizer
	$(call copy_build,tsan,-DMEZZOTINT_TSAN=ON)
	LD_PRELOAD="$(call library,libtsan.so)" TSAN_OPTIONS=halt_on_error=1 OPENBLAS_NUM_THREADS=1 \
	  $(call run_copy,tsan) -m pytest -q -s -p no:cacheprovider $(THREAD_TESTS)

wheel: setup ## build the wheel as a user gets it, install it elsewhere, import it
	rm -rf build/wheel && mkdir -p build/wheel
	$(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation -w build/wheel .
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --target build/wheel/site build/wheel/*.whl
	$(call run_copy,wheel) -c 'import mezzotint.kernels as k; print(k.__file__, "runs", k.using())'
