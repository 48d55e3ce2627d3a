"""A turn: one hasher at work for a moment, and the window that lies inside it."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hwkit.errors import DeviceLost, DeviceTimeout
from hwkit.harness.tally import Tally
from hwkit.hashers import native
from hwkit.protocols import Window

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hwkit.protocols import Hasher, Progress
    from hwkit.work import Job

SILENCE_S = 2.0  # a hasher promises a report every 0.25 s


def take_turn(
    hasher: Hasher, job: Job, turn_s: float, stop: threading.Event, number: int = 0
) -> tuple[Window | None, Tally]:
    """Let a hasher work on a job until a window of `turn_s` seconds has closed.

    The window opens and closes at the hasher's own reports; None if `stop` was set before. Raises
    WrongHash or ProtocolError for what the tally does not believe, DeviceTimeout for silence,
    DeviceLost for a hasher that ends by itself.
    """
    name = hasher.spec.name
    tally = Tally(job, hasher.spec.basis)
    end = threading.Event()
    opened = closed = clock_hz = None
    counted: list[Progress] = []
    heard = time.monotonic()
    with _ended(hasher.run(job, end), end) as reports:
        for progress in reports:
            if time.monotonic() - heard > SILENCE_S:
                raise DeviceTimeout(f"{name} was silent for over {SILENCE_S:g} s")
            heard = time.monotonic()
            tally.take(progress)
            if opened is None:
                opened = progress.at
                # While the workers are at it: an idle core may run at another clock.
                clock_hz = native.clock_hz() if hasher.spec.resource == "cpu" else None
            elif closed is None:
                counted.append(progress)
                if progress.at - opened >= turn_s * 1e9:
                    closed = progress.at
                    end.set()
            if stop.is_set():
                end.set()
        if not end.is_set():
            raise DeviceLost(f"{name} ended its work without being told to")
    tally.close()
    if opened is None or closed is None:
        return None, tally
    busy = [progress.busy_ns for progress in counted if progress.busy_ns is not None]
    window = Window(
        round=number,
        opened=opened,
        closed=closed,
        hashes=sum(progress.hashes or 0 for progress in counted),
        busy_ns=sum(busy) if len(busy) == len(counted) else None,
        shares=len(tally.between(opened, closed)[0]),
        clock_hz=clock_hz,
    )
    return window, tally


@contextmanager
def _ended(reports: Iterator[Progress], end: threading.Event) -> Iterator[Iterator[Progress]]:
    """Tell a hasher to stop, whatever happens, and let its generator tidy up."""
    try:
        yield reports
    finally:
        end.set()
        if isinstance(reports, Generator):
            reports.close()
