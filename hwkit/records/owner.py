"""Who writes a run: so that a reader can tell one that is running from one that was killed."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import Any

PROC = Path("/proc")
SILENT_S = 90  # without /proc, a run that has not committed for so long is taken for dead


def this_process() -> dict[str, Any]:
    """Return what tells this process from any other, past or present."""
    return {
        "host": platform.node(),
        "boot": _boot(),
        "pid": os.getpid(),
        "started": _started("self"),
    }


def is_alive(owner: dict[str, Any], touched: float) -> bool:
    """Does the process still live? Elsewhere, or without /proc: has it committed of late?"""
    boot = _boot()
    if boot is None or owner["host"] != platform.node():
        return time.time() - touched < SILENT_S
    if owner["boot"] != boot:
        return False
    started = _started(str(owner["pid"]))
    return started is not None and started == owner["started"]


def _boot() -> str | None:
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None


def _started(pid: str) -> str | None:
    """Return a process's start time in clock ticks since boot (proc(5), stat field 22)."""
    try:
        stat = (PROC / pid / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    after_name = stat[stat.rindex(")") + 2 :].split()
    return None if after_name[0] in {"Z", "X"} else after_name[19]
