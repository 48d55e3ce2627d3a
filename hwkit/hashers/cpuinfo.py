"""What the operating system says of the processor. Absent is None: not every system says it."""

from __future__ import annotations

import platform
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


def flags() -> frozenset[str] | None:
    """Return the processor's feature flags ('Features' on Arm); None where they are not told."""
    line = _field("flags", "Features")
    return None if line is None else frozenset(line.split())


def model() -> str | None:
    """Return the processor's name; None where it is not told."""
    return _field("model name") or platform.processor() or None


def is_virtual() -> bool | None:
    """Does a hypervisor say that it is there? None where that is not told (other than x86)."""
    known = flags()
    if known is None or platform.machine() not in {"x86_64", "AMD64"}:
        return None
    return "hypervisor" in known


def _field(*names: str) -> str | None:
    try:
        text = CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in names:
            return value.strip()
    return None
