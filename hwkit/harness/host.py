"""The host of a measurement: facts for its record, and apart from them what could name a person."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwkit.hashers import cpuinfo, native, topology
from hwkit.hashers.kernel import usable_cpus

if TYPE_CHECKING:
    from hwkit.hashers.kernel import KernelHasher

GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
PACKAGES = ("cffi", "numba", "pyopencl", "sqlalchemy")


def host_facts() -> dict[str, Any]:
    """Return what a figure may depend on. Absent is None."""
    flags = cpuinfo.flags()
    return {
        "cpu": {
            "model": cpuinfo.model(),
            "flags": sorted(flags) if flags is not None else None,
            "count": os.cpu_count(),
            "usable": usable_cpus(),
            "quota": topology.quota(),
            **topology.read().to_json(),
            "governor": _text(GOVERNOR),
            "virtual": cpuinfo.is_virtual(),
        },
        "machine": platform.machine(),
        "system": platform.system(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "compiler": native.compiler(),
        "packages": {name: _version(name) for name in PACKAGES},
        "load": _load(),
    }


def place(hasher: KernelHasher) -> dict[str, Any]:
    """Return what the threads of a processor's kernel have to run on. What is not told is None."""
    numbers = hasher.processors or topology.usable()
    here = topology.read().among(numbers)
    return {
        "processors": usable_cpus() if numbers is None else len(numbers),
        "cores": here.cores,
        "core_types": list(here.types) or None,
    }


def host_identity() -> dict[str, str]:
    """Return what names this host: kept beside the record, exported only when asked."""
    return {"hostname": platform.node()}


def _load() -> list[float] | None:
    return [round(load, 2) for load in os.getloadavg()] if hasattr(os, "getloadavg") else None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except ModuleNotFoundError:
        return None
