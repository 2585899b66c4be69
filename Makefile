# Everything a contributor runs. `make help` lists the targets; CONTRIBUTING.md explains them.

# Interpreter that creates the environment (3.11 or newer); later steps use the environment's own.
PYTHON ?= python3
VENV ?= .venv
# Environment of the PyNN worker and of the simulators that tests compare with, apart because they
# need an older NumPy; `PYNN=no` does without it, and its tests are skipped.
PYNN ?= yes
PYNN_VENV ?= .venv-pynn
PYNN_PYTHON ?= $(PYTHON)
# Environment of frameworks that read NIR graphs, apart because they need an older nir.
NIR_VENV ?= .venv-nir
# Extra pip options for installing torch only, e.g. to choose another torch build.
TORCH_PIP_FLAGS ?=
# A built wheel to run `make demo` with, instead of the checkout (an environment of its own: VENV=).
WHEEL ?=
# Test processes; each one loads torch and JAX (about 0.5 GB).
WORKERS ?= 2
# Tables that `make tables` is to write, all without it.
ONLY ?=
# Extra arguments for the program behind `make demo`, `make bench` and the pytest run.
ARGS ?=

COMMA := ,
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# What the demonstration needs is a fraction of what the tests and benchmarks need.
EXAMPLES_STAMP := $(VENV)/.installed-examples
TYPECHECK_LINKS := $(addprefix .typecheck/evtorch/,_files.py _network.py)

.DEFAULT_GOAL := help
.PHONY: help venv demo test lint types check coverage tutorials test-versions test-oldest test-newest format docs bench tables pynn \
  nir-readers clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(STAMP) ## create .venv with everything needed to run, test and benchmark

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "error: evtorch needs Python 3.11 or newer, but '$(PYTHON)' is" \
	       "$$($(PYTHON) --version 2>/dev/null || echo missing). Choose another: make venv PYTHON=python3.12" >&2; \
	  exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# torch goes first and alone, so that TORCH_PIP_FLAGS concerns nothing else.
define install
	@echo "Installing torch into $(VENV) (the first time it is downloaded)"
	$(BIN)/python -m pip install --constraint constraints.txt $(TORCH_PIP_FLAGS) torch
	@echo "Installing evtorch[$(1)] (the first time some minutes)"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt $(if $(WHEEL),'$(WHEEL)[$(1)]',--editable '.[$(1)]')
	@touch $(2)
endef

$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(call install,dev$(COMMA)bench,$(EXAMPLES_STAMP) $@)

$(EXAMPLES_STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(call install,examples,$@)

demo: $(EXAMPLES_STAMP) ## train on Yin-Yang and write model, metrics and figure to runs/yinyang
	$(BIN)/python examples/yinyang.py --out runs/yinyang $(ARGS)

test: lint types docs check ## lint + types + site + tests, among them a smoke run of every example

lint: venv ## ruff: rules and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: venv $(TYPECHECK_LINKS) ## pyright
	$(BIN)/pyright

PYTEST := $(BIN)/pytest --numprocesses $(WORKERS)
# Nine tenths of the time are compilations. The older of XLA's code generators takes 60 % of it, and
# without optimisation two thirds of that. The comparisons with the reference use what users do.
WITH_NEWER := $(addprefix tests/jax_core/test_,lif_spikes.py lif_gradients.py recurrent.py)
# These compare bits of different programs, which hold where multiplications and additions are fused.
WITH_NEWER_TOO := tests/hardware/test_on_backend.py::test_an_ideal_chip_gives_the_simulations_numbers_to_the_last_bit \
  tests/jax_core/test_lif_observed.py::test_simulated_spikes_give_the_simulations_gradients_to_the_last_bit \
  tests/torch_api/test_fixed_delay.py
UNOPTIMISED := --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true
WITH_OLDER := XLA_FLAGS="$(XLA_FLAGS) --xla_cpu_use_fusion_emitters=false $(UNOPTIMISED)"

check: venv $(if $(filter yes,$(PYNN)),pynn) ## the tests alone, or with ARGS those chosen
ifeq ($(strip $(ARGS)),)
	$(PYTEST) $(WITH_NEWER) $(WITH_NEWER_TOO)
	$(WITH_OLDER) $(PYTEST) $(addprefix --ignore=,$(WITH_NEWER)) $(addprefix --deselect=,$(WITH_NEWER_TOO))
else
	$(PYTEST) $(ARGS)
endif

# Without ARGS it writes the table, in two runs as `check` has them, and one with all of torch's operators, of which
# `check` takes some; with them it prints what these tests run.
MEASURED := --cov --cov-report=

coverage: venv $(if $(filter yes,$(PYNN)),pynn) ## which lines the tests run, into benchmarks/results, or with ARGS those chosen
	$(BIN)/coverage erase
ifeq ($(strip $(ARGS)),)
	$(PYTEST) $(MEASURED) $(WITH_NEWER) $(WITH_NEWER_TOO)
	$(WITH_OLDER) $(PYTEST) $(MEASURED) --cov-append $(addprefix --ignore=,$(WITH_NEWER)) $(addprefix --deselect=,$(WITH_NEWER_TOO))
	EVTORCH_OPERATOR_SAMPLES=1 $(WITH_OLDER) $(PYTEST) $(MEASURED) --cov-append tests/bridge/lower/test_operators.py
	$(BIN)/coverage json --quiet
	$(BIN)/python benchmarks/coverage_table.py
else
	$(PYTEST) $(MEASURED) $(ARGS)
	$(BIN)/coverage report
endif

# With both ends of the ranges that pyproject.toml declares, in environments of their own. Pythons
# that these versions have wheels for.
OLDEST_PYTHON ?= python3.11
NEWEST_PYTHON ?= python3.13
# Other frameworks, which these tests compare with, may not support the versions. The newest jaxlib
# has one code generator only, and ends a process that asks for the older one.
VERSIONS_TESTS ?= tests/jax_core tests/bridge tests/torch_api \
  --ignore=tests/torch_api/nir

test-versions: test-oldest test-newest ## the tests of core, bridge and torch modules with the oldest and newest versions

test-oldest test-newest: test-%: .venv-%/.installed
	.venv-$*/bin/python -m pip list 2>/dev/null | grep -E '^(jax|jaxlib|numpy|optax|torch) '
	$(if $(filter oldest,$*),$(WITH_OLDER)) .venv-$*/bin/python -m pytest --numprocesses $(WORKERS) -W default $(VERSIONS_TESTS) $(ARGS)

.venv-oldest/.installed: VERSION_PYTHON = $(OLDEST_PYTHON)
.venv-newest/.installed: VERSION_PYTHON = $(NEWEST_PYTHON)
.venv-%/.installed: constraints-%.txt pyproject.toml
	$(VERSION_PYTHON) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --constraint constraints-$*.txt $(TORCH_PIP_FLAGS) torch
	.venv-$*/bin/python -m pip install --quiet --constraint constraints-$*.txt --editable '.[test]'
	@touch $@

# The folders become `evtorch` and `evtorch.*` only when installed; links show pyright the same names.
$(TYPECHECK_LINKS):
	@rm -rf .typecheck && mkdir -p $(@D)
	@ln -s ../../bridge ../../jax_core ../../torch_api $(@D)
	@ln -s ../../top/__init__.py ../../top/_files.py ../../top/_memory.py ../../top/_network.py ../../top/_programs.py $(@D)

format: venv ## let ruff fix and format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: venv ## build the documentation site into .site, warnings being errors
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --fresh-env -c docs/site . .site
	@echo "open .site/index.html"

tutorials: venv ## run the tutorials, and write into them what they print and draw
	$(BIN)/python -m tests._pages docs/tutorials/*.md
	rm -f docs/tutorials/digits.pt docs/tutorials/first_network.html

bench: venv ## time evtorch against jaxsnn, into benchmarks/results
	$(BIN)/python benchmarks/run.py $(ARGS)

tables: venv ## write anew the tables that README and docs quote, or ONLY="some of them" (ARGS=--list)
	$(BIN)/python benchmarks/tables.py $(ONLY) $(ARGS)

pynn: $(PYNN_VENV)/.installed ## create .venv-pynn (PyNN, Brian 2, NEST) for the tests that use simulators

# Where NEST has wheels; elsewhere its tests are skipped.
HAS_NEST := sys_platform == 'linux' and platform_machine == 'x86_64'

# Wheels only: a NumPy of that age does not build against newer Pythons, and fails slowly.
$(PYNN_VENV)/.installed: constraints-pynn.txt
	@echo "Installing into $(PYNN_VENV) (PyNN, Brian 2, NEST; half a minute)"
	@{ $(PYNN_PYTHON) -m venv $(PYNN_VENV) && $(PYNN_VENV)/bin/python -m pip install --quiet \
	  --constraint constraints-pynn.txt --only-binary numpy,brian2,cython,nest-simulator \
	  PyNN brian2 "nest-simulator; $(HAS_NEST)"; } || { \
	  rm -rf $(PYNN_VENV); \
	  echo "error: the PyNN environment could not be made with '$(PYNN_PYTHON)'" \
	       "($$($(PYNN_PYTHON) --version 2>/dev/null || echo missing)); its versions have wheels for" \
	       "Python 3.11 and 3.12. Choose another (make pynn PYNN_PYTHON=python3.12), or go without" \
	       "the PyNN tests (make test PYNN=no)." >&2; \
	  exit 1; }
	@touch $@

nir-readers: $(NIR_VENV)/.installed ## create .venv-nir (sinabs, Rockpool) for the tests that they read NIR graphs

$(NIR_VENV)/.installed: constraints-nir.txt
	@echo "Installing into $(NIR_VENV) (sinabs, Rockpool and a torch of their own)"
	@{ $(PYTHON) -m venv $(NIR_VENV) && \
	  $(NIR_VENV)/bin/python -m pip install --quiet --constraint constraints-nir.txt $(TORCH_PIP_FLAGS) torch && \
	  $(NIR_VENV)/bin/python -m pip install --quiet --constraint constraints-nir.txt sinabs rockpool; } || { \
	  rm -rf $(NIR_VENV); exit 1; }
	@touch $@

clean: ## remove everything the targets above created
	rm -rf $(VENV) $(PYNN_VENV) $(NIR_VENV) .venv-oldest .venv-newest .typecheck .pytest_cache .ruff_cache .hypothesis .jax_cache .coverage* coverage.json build dist runs *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
