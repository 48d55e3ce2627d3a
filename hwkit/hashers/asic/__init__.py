"""Miners in their own cases: what they say of themselves, in which dialect; how they are fed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from hwkit.hashers.asic.telemetry import Telemetry

__all__ = ["read_capture"]


def read_capture(folder: str | Path) -> Telemetry:
    """Read a folder of recorded answers, one file a command, as if the device had given them now.

    Raises PlanError for a folder with no answers, ProtocolError for one that no dialect knows.
    """
    from hwkit.hashers.asic import captures  # noqa: PLC0415 - the entry points import this package

    return captures.read(folder)
