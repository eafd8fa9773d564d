SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup setup-check build demo test test-asan test-tsan test-torch python wheel check fuzz clean

PYTHON := .venv/bin/python
VENV_STAMP := .venv/requirements.stamp
FUZZ_SECONDS ?= 30
# Files that clang-tidy reads: those changed since this commit, or with TIDY_SINCE=all every source.
TIDY_SINCE ?= HEAD~

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup:  ## Install the Debian packages that are missing
	@tools/install_debian_packages.sh tools/debian-packages.txt

setup-check: setup
	@tools/install_debian_packages.sh tools/debian-packages-check.txt

build: setup  ## Build build/release/expertile
	@cmake --preset release >/dev/null
	@cmake --build --preset release --target expertile

demo: setup  ## Set up, build, and prefill a prompt with blocking off and on
	@tools/demo.sh

$(VENV_STAMP): tests/requirements.txt
	@python3 -m venv .venv
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --requirement tests/requirements.txt
	@touch $@

# The virtual environment needs python3-venv, which setup installs.
$(VENV_STAMP): | setup

# The Python package is made of what the build folder has anyway.
PYTHON_PACKAGE := -DEXPERTILE_PYTHON=ON -DPython_EXECUTABLE=$(CURDIR)/$(PYTHON)

test: $(VENV_STAMP)  ## Set up, build, and run all tests
	@cmake --preset release $(PYTHON_PACKAGE) >/dev/null
	@cmake --build --preset release
	@ctest --preset release
	@$(PYTHON) -m pytest --quiet --numprocesses 2 --dist loadfile tests/tools tests/e2e tests/packaging
	@$(PYTHON) -m pytest --quiet tests/python

python: $(VENV_STAMP)  ## Build the Python package in build/release/python (PYTHONPATH)
	@cmake --preset release $(PYTHON_PACKAGE) >/dev/null
	@cmake --build --preset release --target expertile expertile_python expertile_python_stub

wheel: $(VENV_STAMP)  ## Build sdist and wheel from a clean clone into build/dist, and try the wheel
	@tools/build_wheel.sh build/dist

test-torch: python  ## The tests that need torch, which is installed in build/torch
	@tools/test_torch.sh

test-asan: $(VENV_STAMP)  ## All tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@tools/test_sanitized.sh asan tests/tools tests/e2e tests/packaging

test-tsan: $(VENV_STAMP)  ## The C++ and the end-to-end tests under ThreadSanitizer
	@tools/test_sanitized.sh tsan tests/e2e

check: setup-check  ## Style, layers, docs, sizes, clang-tidy (TIDY_SINCE=all: on every file)
	@git ls-files '*.cc' '*.h' | xargs clang-format --dry-run -Werror
	@python3 tools/check_layers.py
	@python3 tools/check_docs.py
	@python3 tools/check_sizes.py
	@cmake --preset release >/dev/null
	@tools/run_clang_tidy.sh build/release $(TIDY_SINCE)

fuzz: setup-check  ## Run every fuzzer for FUZZ_SECONDS (30)
	@cmake --preset fuzz >/dev/null
	@cmake --build --preset fuzz
	@tools/run_fuzzers.sh build/fuzz $(FUZZ_SECONDS)

clean:  ## Remove everything that was built
	rm -rf build .venv
