# For newcomers: `make demo` shows the main job at work, `make test` checks it. Both set up what they need in $(VENV) and
# are quick the second time.

PYTHON ?= python3
VENV ?= .venv
# What pip installs as torch, before anything else, so that nothing pulls another one; pip's options may stand here too.
TORCH ?= torch==2.13.0
DEMO_OUT ?= runs/demo
export PYTEST_FLAGS ?= -n auto
# What `make check` runs of python_tests.
CHECKED := $(addprefix python_tests/,routing/test_cases.py routing/test_option_table.py packaging/test_house.py)
# The ratios that `make bench-check` compares with; `capsroute bench --write-baseline FILE` writes them.
BASELINE ?= docs/results/cpu/baseline.json
BENCH_FLAGS ?= --benchmark-group-by=group --benchmark-sort=min --benchmark-columns=median,iqr,rounds,iterations
# Where `make cuda-check` writes what the kernels use.
RESOURCES ?= build/cuda/kernel-resources.md

# With a GPU, its kernels are built and tested. Without one they are left out, because all architectures take minutes,
# and `make cuda-check` compiles them.
GPU := $(shell nvidia-smi -L 2>/dev/null)
export CAPSROUTE_CUDA ?= $(if $(GPU),auto,0)

PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check
STAMPS := $(VENV)/stamps
# One stamp for each TORCH asked for, and only the last one is kept.
TORCH_STAMP := $(STAMPS)/torch-$(shell printf '%s' '$(TORCH)' | tr -c '[:alnum:].' '-')
CPP_FILES = $(shell find csrc -name '*.h' -o -name '*.cpp' -o -name '*.cuh' -o -name '*.cu')
WITH_VENV := PATH="$(abspath $(VENV))/bin:$$PATH"

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo check test test-all docs lint format build core-tests leaks cross sanitize tidy cuda-check bench bench-check figures clean distclean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

demo: $(STAMPS)/demo ## install, train on scikit-learn's digits, then compare the routing op with plain PyTorch
	$(PY) setup.py -q build_ext --inplace
	$(VENV)/bin/capsroute train --dataset digits --out $(DEMO_OUT) --overwrite
	$(VENV)/bin/capsroute bench --shapes mnist --compare eager,compile

check: build ## for the hand, a minute: style, the core, each kernel with one case of each kind, and who imports whom
	$(VENV)/bin/ruff check -q .
	$(VENV)/bin/ruff format -q --check .
	build/core/core_tests
	$(WITH_VENV) CAPSROUTE_LANE=check $(PY) -m pytest -q -n auto $(CHECKED)

test: core-tests leaks ## the tests of every change: minutes
	$(WITH_VENV) $(PY) -m pytest $(PYTEST_FLAGS)

test-all: build leaks ## everything, for the night and a release: all sizes, long draws, sanitizers, other processors
	build/core/core_tests --all
	build/core/emulation_tests
	build/core/thread_tests --all
	$(WITH_VENV) CAPSROUTE_LANE=all $(PY) -m pytest $(PYTEST_FLAGS)
	@$(MAKE) --no-print-directory cross sanitize tidy SANITIZE=--full

docs: build ## the documentation site, in build/site; warnings are errors, links and references are checked
	$(PY) -m sphinx -q -W --keep-going -j auto -c docs -d build/doctrees . build/site

lint: $(STAMPS)/dev ## style and types; changes nothing
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/clang-format --dry-run -Werror $(CPP_FILES)
	$(VENV)/bin/mypy

format: $(STAMPS)/dev ## put Python and C++ into the project's style
	$(VENV)/bin/ruff check --fix-only .
	$(VENV)/bin/ruff format .
	$(VENV)/bin/clang-format -i $(CPP_FILES)

build: $(STAMPS)/dev ## compile the modules in place, the emulated one too, and csrc/tests; warnings are errors
	CAPSROUTE_WERROR=1 CAPSROUTE_EMULATION=1 CAPSROUTE_BUILD_BOTH=1 $(PY) setup.py -q build_ext --inplace

core-tests: build ## the tests of the core and of the emulation, without Python
	build/core/core_tests
	build/core/emulation_tests

leaks: build ## no code of one instruction set in another's objects
	$(PY) scripts/check_isa_leaks.py build/cmake-*

cross: build ## the core's tests on 64-bit Arm and on older x86-64 processors, under QEMU
	$(WITH_VENV) scripts/cross-checks

sanitize: $(STAMPS)/dev ## AddressSanitizer, UndefinedBehaviorSanitizer and ThreadSanitizer; SANITIZE=--full takes all tests
	$(WITH_VENV) PYTHON=$(abspath $(PY)) scripts/sanitize address $(SANITIZE)
	$(WITH_VENV) scripts/sanitize thread $(SANITIZE)

tidy: $(STAMPS)/dev ## clang-tidy over the core, its tests and the CUDA kernels, by .clang-tidy
	$(WITH_VENV) scripts/tidy

cuda-check: $(STAMPS)/dev ## the CUDA kernels for all architectures, by nvcc: warnings, spills, size
	$(WITH_VENV) scripts/cuda-check $(abspath $(PY)) $(RESOURCES)

bench: $(STAMPS)/dev build ## both ops on every shape beside plain PyTorch and torch.compile (long)
	$(PY) -m pytest python_tests/benchmarks $(BENCH_FLAGS) --benchmark-json=build/bench.json

bench-check: $(STAMPS)/dev build ## fail where capsroute lost over 20 % of its lead over plain PyTorch or torch.compile (long)
	$(VENV)/bin/capsroute bench --baseline $(BASELINE)

figures: $(STAMPS)/dev ## tables and figures of the documents, from the committed results
	$(PY) scripts/figures.py
	$(PY) -m python_tests.reliability.pages
	$(PY) -m python_tests.doors.page

clean: ## remove what was built
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache capsroute/_native*.so capsroute/_emulated*.so

distclean: clean ## remove the environment too
	rm -rf $(VENV)

$(STAMPS)/venv:
	$(PYTHON) -m venv $(VENV)
	mkdir -p $(STAMPS)
	touch $@

$(TORCH_STAMP): $(STAMPS)/venv
	$(PIP) install $(TORCH)
	rm -f $(STAMPS)/torch-*
	touch '$@'

# Not isolated: the tools of the build stay in $(VENV), and so a changed C++ file is one quick `make build` away.
$(STAMPS)/demo: EXTRA := train,bench
$(STAMPS)/dev: EXTRA := dev
$(STAMPS)/dev: export CAPSROUTE_WERROR := 1
$(STAMPS)/dev: export CAPSROUTE_EMULATION := 1
$(STAMPS)/demo $(STAMPS)/dev: $(TORCH_STAMP) pyproject.toml setup.py
	$(PIP) install $$($(PY) scripts/build_requirements.py)
	$(PIP) install --no-build-isolation --editable '.[$(EXTRA)]'
	touch $@
