"""That tests/hidden takes away what it says, and no more."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HIDDEN = Path(__file__).parents[1] / "hidden"
START = "import subprocess, sys; done = subprocess.run([sys.executable, '-c', '{}'], check=False)"
SPAWN = "import multiprocessing as m; p = m.get_context('spawn').Process(target=print); p.start()"


def python(code, *arguments):
    return subprocess.run(
        [sys.executable, *arguments, "-c", code],
        env={**os.environ, "PYTHONPATH": str(HIDDEN)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("import hwkit.hashers._native", "ModuleNotFoundError"),
        ("from hwkit.hashers import _native", "ImportError"),
        ("import fcntl", "ModuleNotFoundError"),
        ("open('/proc/cpuinfo')", "FileNotFoundError"),
        ("import os; os.open(b'/proc/cpuinfo', os.O_RDONLY)", "FileNotFoundError"),
        ("import os; os.listdir('/proc')", "FileNotFoundError"),
        ("import os; os.stat('/usr/../proc/self')", "FileNotFoundError"),
        ("from pathlib import Path; assert Path('/proc/cpuinfo').exists()", "AssertionError"),
        ("from pathlib import Path; Path('/proc/self').resolve(strict=True)", "FileNotFoundError"),
        (START.format("import fcntl") + "; assert done.returncode == 0", "ModuleNotFoundError"),
    ],
)
def test_it_is_gone(code, error):
    done = python(code)
    assert done.returncode == 1
    assert error in done.stderr


@pytest.mark.parametrize(
    "code",
    [
        "import hwkit.hashers",
        "import rich.console; rich.console.Console().print('[bold]text[/]')",
        "import click",
        "import sqlalchemy; sqlalchemy.create_engine('sqlite://').connect().close()",
        "import shutil, tempfile; shutil.rmtree(tempfile.mkdtemp())",
        "import asyncio; asyncio.run(asyncio.sleep(0))",
        SPAWN + "; p.join(); assert p.exitcode == 0",
        "import os; assert os.stat in os.supports_follow_symlinks; os.stat('/'); os.stat(0)",
    ],
)
def test_the_rest_still_works(code):
    done = python(code)
    assert done.returncode == 0, done.stderr
