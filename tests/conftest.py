"""What every test stands on: its own data directory, and skips that CI does not forgive."""

import importlib
import os
import shutil
import signal
import sys
from pathlib import Path

import hypothesis
import pytest

# Tests interrupt programs; a shell that runs us in the background has had SIGINT ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

CI = os.environ.get("CI", "").lower() not in {"", "0", "false"}
# What tests/hidden/sitecustomize.py takes away when it is on PYTHONPATH: that is not amiss.
HIDDEN = getattr(sys.modules.get("sitecustomize"), "HIDDEN", ())

# No deadlines: on a busy machine they fail the machine, not the code.
hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.register_profile("in-ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("in-ci" if CI else "here")


def need(*programs, module=None, path=None):
    """Skip the running test where one of these is absent; in CI, where all belong, fail it."""
    absent = [name for name in programs if shutil.which(name) is None]
    if module is not None:
        try:
            importlib.import_module(module)
        except ImportError:
            absent.append(module)
    if path is not None and not Path(path).exists():
        absent.append(str(path))
    for name in absent:
        if CI and not name.startswith(HIDDEN or "-"):
            pytest.fail(f"{name} is absent, and this is CI", pytrace=False)
        pytest.skip(f"{name} is absent")


def pytest_configure():
    """Under nohup SIGHUP is ignored, and what tests start would inherit that."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_modifyitems(items):
    """Begin with the files that wait for minutes: at the end, a run would wait for them alone."""
    items.sort(key=lambda item: "_end_" not in item.path.name)


def pytest_runtest_setup(item):
    for mark in item.iter_markers("needs"):
        need(*mark.args, **mark.kwargs)


@pytest.fixture
def native():
    """The C module, for tests that cannot do without."""
    need(module="hwkit.hashers._native")
    return importlib.import_module("hwkit.hashers._native")


@pytest.fixture(autouse=True)
def no_state_of_the_user(tmp_path, monkeypatch):
    """No test sees or touches the user's store, configuration or HWKIT_* settings."""
    for name in [name for name in os.environ if name.startswith("HWKIT_")]:
        monkeypatch.delenv(name)
    for kind in ("DATA", "CONFIG", "STATE", "CACHE"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / f"xdg-{kind.lower()}"))
