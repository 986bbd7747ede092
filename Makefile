# make try     set up what is missing, build, and run a container on this host's own root
# make test    the same set-up, then every test
# make check   format, lint, types, unit and architecture tests
# make fuzz    the tests of made-up input, PYCONTAIN_FUZZ (50) times as many examples, new ones every time
# make bench   how long starts take, beside other runtimes; make bench-oci: each command of pycontain-oci
# make dist    sdist and wheel of the last commit, in dist/
# make deb     Debian package of the last commit, in dist/
# make soak    the tests of crashes, failing calls and many containers, PYCONTAIN_SOAK (10) times as long
#
# Each step leaves a stamp in .venv, so repeating a target costs next to nothing.

# Never a pyenv shim: its interpreter may be built without what the system's has, and starts 50 ms later.
PYTHON := /usr/bin/python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# ninja and meson of the environment, which pip looks for on PATH when it builds without isolation
BUILD_ENV := PATH=$(CURDIR)/$(BIN):$$PATH

SOURCES := pyproject.toml meson.build meson_options.txt tools/modulepack.py \
	$(shell find pycontain completions -type f -not -name '*.pyc' -not -name '*.so') $(wildcard man/*.[1-8])
UNIT_TESTS := $(wildcard tests/architecture tests/unit)
SOAK_TESTS := $(foreach name,cli/test_crash cli/test_faults cli/test_stress conformance/test_crash conformance/test_faults,tests/$(name).py)
# set, it makes every run of the tests compile them again
unexport PYTHONDONTWRITEBYTECODE
# the shell words of one list of requirements in pyproject.toml: "dependencies" or "test"
requirements = $$($(BIN)/python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
	print(*{**p, **p['optional-dependencies']}['$(1)'])")

.PHONY: setup install try test check fmt lint types unit images bench bench-oci fuzz soak man dist deb clean
.DELETE_ON_ERROR:

setup: $(VENV)/.made
install: $(VENV)/.installed

$(VENV)/.host: tools/host.sh
	@sh tools/host.sh
	@mkdir -p $(VENV) && touch $@

$(VENV)/.made: $(VENV)/.host pyproject.toml
	@echo "virtual environment: $(VENV) from $(PYTHON)"
	@test -x $(BIN)/python || $(PYTHON) -m venv --prompt pycontain $(VENV)
	@$(PIP) install meson-python meson ninja setuptools wheel
	@$(PIP) install --no-build-isolation $(call requirements,dependencies)
	@touch $@

$(VENV)/.tests: $(VENV)/.made
	@echo "test tools: $(VENV)"
	@$(PIP) install $(call requirements,test)
	@touch $@

# What only tests use: other kernels, tracers, other runtimes to compare with.
$(VENV)/.test-host: tests/packages.sh tools/host.sh | $(VENV)/.host
	@sh tests/packages.sh
	@touch $@

# The build directory stays, so that only changed C files are compiled; pip compiles the bytecode. The extension also goes
# beside its sources: Python started in this directory finds the package here before the installed one.
$(VENV)/.installed: $(VENV)/.made $(SOURCES)
	@echo "build and install: pycontain"
	@[ build/install/build.ninja -nt meson_options.txt ] || rm -rf build/install  # meson takes no new option there
	@$(BUILD_ENV) $(PIP) install --no-build-isolation --no-deps --config-settings=build-dir=build/install .
	@cp build/install/_sys.*.so pycontain/kernel/
	@touch $@

try: install
	@sh tools/try.sh $(BIN)/pycontain

test: install $(VENV)/.tests images
	@$(BIN)/python -m pytest

# Two at a time: the type checker and the tests need a processor each.
check: install $(VENV)/.tests
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target lint types unit

fmt: $(VENV)/.tests
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lint: $(VENV)/.tests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

types: $(VENV)/.tests
	@$(BIN)/mypy

# A tenth of the usual examples, and files in memory: the whole suite has all of them.
unit: install $(VENV)/.tests
	@PYCONTAIN_FUZZ=$${PYCONTAIN_FUZZ:-0.1} TMPDIR=$$([ -w /dev/shm ] && echo /dev/shm || echo "$${TMPDIR:-/tmp}") \
		$(BIN)/python -m pytest -q $(UNIT_TESTS)

# Root file systems from the recipes in images/, kept until a recipe changes.
images: image-busybox image-debian

image-%: $(VENV)/.test-host
	@sh images/build.sh $*

# The manual pages, from the commands and man/source.
man: install
	@$(BIN)/python tools/man.py

fuzz: install $(VENV)/.tests
	@PYCONTAIN_FUZZ=$${PYCONTAIN_FUZZ:-50} $(BIN)/python -m pytest --timeout=3600 -m hypothesis tests

soak: install $(VENV)/.tests images
	@PYCONTAIN_SOAK=$${PYCONTAIN_SOAK:-10} $(BIN)/python -m pytest $(SOAK_TESTS)

bench: install $(VENV)/.tests
	@PYTHONPATH=tests $(BIN)/python -m bench.start

# The commands of pycontain-oci beside those of runc and crun.
bench-oci: install $(VENV)/.tests
	@PYTHONPATH=tests $(BIN)/python -m bench.oci --crowd

dist: $(VENV)/.tests
	@$(BIN)/python -m build --outdir dist .

deb: $(VENV)/.host
	@sh tools/host.sh git build-essential debhelper dh-python meson python3-pip
	@rm -rf build/deb && mkdir -p build/deb/pycontain dist
	@git archive HEAD | tar --extract --directory build/deb/pycontain
	@cd build/deb/pycontain && dpkg-buildpackage -us -uc -b
	@cp build/deb/pycontain_*.deb dist/

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
