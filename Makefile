# Everything a developer or CI does here has its name in this file. `make help` lists them.

PYTHON ?= python3
BENCH  ?=

VENV   := .venv
BIN    := $(VENV)/bin
PIP     = $(1)/bin/python -m pip --quiet --disable-pip-version-check install --constraint constraints.txt
# Most tests wait for a process, a meter or a clock: two at a time take little more than half as long.
# In conftest.py's order, in which files that wait for minutes come first.
PYTEST := -m pytest --numprocesses=2 --dist=loadfile --no-loadscope-reorder

# Both compilers where both are here: each warns of what the other lets pass.
COMPILERS ?= $(notdir $(shell command -v gcc || command -v cc; command -v clang || command -v clang-14))

.PHONY: help bench test test-hidden check sanitize soak clean

help:  ## list these
	@sed -n 's/^\([a-z-]*\):.*  ## /\1	/p' $(MAKEFILE_LIST) | while IFS='	' read -r name what; \
	    do printf 'make %-12s %s\n' "$$name" "$$what"; done

bench: $(VENV)/.installed  ## build what is missing, then measure this machine (BENCH="..." adds arguments)
	$(BIN)/hwkit bench --quick $(BENCH)

test: $(VENV)/.test  ## the tests that need no device, and those for the devices found here
	$(BIN)/python $(PYTEST)

# Tests that neither run this C nor ask what a machine has: to run them once is enough.
ONCE := aarch64 asic_command captures cgminer* child credentials cuda* dialects economics* efficiency energy evaluate* \
    fed* fields foresee fuzz_* inferred lot meter* models numba* opencl* peers pool* probes profiles prove ranking \
    repair report* rig shares* simulate* statistics steady sweep tuning units whatsminer* worth*
BUT_ONCE := $(foreach name,$(ONCE),--ignore-glob='*/test_$(name).py')

test-hidden: $(VENV)/.test  ## the plain tests as on a machine without C extension, fcntl and /proc
	PYTHONPATH="$(CURDIR)/tests/hidden" $(BIN)/python $(PYTEST) tests/plain $(BUT_ONCE)

check: $(VENV)/.dev  ## formatting, lint, types, floors, C warnings
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	SKBUILD_EDITABLE_SKIP="$$(echo $(CURDIR)/build/cp*)" $(BIN)/lint-imports --no-logo  # see the tree itself
	@for cc in $(COMPILERS); do \
	    echo "C warnings of $$cc are errors"; \
	    PATH="$(CURDIR)/$(BIN):$$PATH"; \
	    cmake --log-level=WARNING -S csrc -B build/warnings-$$cc -G Ninja -DCMAKE_C_COMPILER=$$cc \
	        -DPython_EXECUTABLE="$(CURDIR)/$(BIN)/python" -DHWKIT_WERROR=ON >/dev/null && \
	    cmake --build build/warnings-$$cc --clean-first --target _native || exit 1; \
	done

# A venv of its own, editable but without rebuild-on-import: no compiler may run under the preload.
# PYTHONMALLOC: each Python object, and with it each cffi buffer, gets red zones of its own.
# Commands run the same C in processes of their own, which are slow to start under the preload.
BUT_COMMANDS := $(foreach name,cli exchange interrupt restore,--ignore-glob='*/test_$(name).py')
SANITIZE  := build/sanitize
SANITIZED  = LD_PRELOAD="$$(realpath "$$(gcc -print-file-name=libasan.so)")" PYTHONMALLOC=malloc \
    ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 $(SANITIZE)/venv/bin/python
sanitize:  ## the tests with C built to stop at out-of-bounds access and undefined behaviour (gcc)
	test -x $(SANITIZE)/venv/bin/python || $(PYTHON) -m venv $(SANITIZE)/venv
	$(call PIP,$(SANITIZE)/venv) --upgrade pip
	$(call PIP,$(SANITIZE)/venv) --group build --group test
	CC=gcc $(call PIP,$(SANITIZE)/venv) --no-build-isolation --editable . \
	    -C editable.rebuild=false -C build-dir=$(SANITIZE)/cmake -C cmake.define.HWKIT_SANITIZE=ON
	$(SANITIZED) -c 'import hwkit.hashers._native as n; assert b"__asan" in open(n.__file__, "rb").read()'
	@# --capture=sys: the sanitizer writes its report past sys.stderr.
	$(SANITIZED) $(PYTEST) --capture=sys $(BUT_ONCE) $(BUT_COMMANDS)

soak: $(VENV)/.test  ## what takes long: exhaustive tests, then make bench and make test in a bare Debian
	$(BIN)/python -m pytest tests -m soak
	tests/fresh_machine.sh

clean:  ## remove the venv and all that was built
	rm -rf $(VENV) build dist

# pip first: --group came with 25.1. Then the build's own requirements, since rebuild-on-import
# needs a cmake that is still there after the installation, which build isolation's is not. It takes
# the first on PATH: for those who do not activate the venv, PATH_LINE puts the venv's there.
PATH_LINE = import os; os.environ["PATH"] = "$(CURDIR)/$(BIN):" + os.environ.get("PATH", os.defpath)
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(call PIP,$(VENV)) --upgrade pip
	$(call PIP,$(VENV)) --group build
	$(call PIP,$(VENV)) --no-build-isolation --editable '.[numba,pocl]'
	@echo '$(PATH_LINE)' >"$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/hwkit_path.pth"
	@touch $@

$(VENV)/.test $(VENV)/.dev: $(VENV)/.%: $(VENV)/.installed
	$(call PIP,$(VENV)) --group $*
	@touch $@
