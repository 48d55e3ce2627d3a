"""How long the command takes to say anything: `hwkit --help` is to stay under 0.3 s."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = {
    "hwkit --help": [Path(sys.executable).with_name("hwkit"), "--help"],
    "import hwkit": [sys.executable, "-c", "import hwkit"],
    "python": [sys.executable, "-c", "pass"],
}
LONGEST_S = 0.3


@pytest.mark.parametrize("name", COMMANDS)
def test_start(benchmark, name):
    best_cpu_s = 9.9

    def start():
        nonlocal best_cpu_s
        child = subprocess.Popen(COMMANDS[name], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        assert child.returncode == 0
        best_cpu_s = min(best_cpu_s, usage.ru_utime + usage.ru_stime)

    benchmark.pedantic(start, rounds=15, warmup_rounds=2)
    best_s = benchmark.stats.stats.min
    benchmark.extra_info |= {"wall_s": round(best_s, 3), "cpu_s": round(best_cpu_s, 3)}
    print(name, benchmark.extra_info)
    if "help" in name:
        assert best_s < LONGEST_S
