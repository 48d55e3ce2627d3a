"""A turn: one hasher at work for a moment, and the window that lies inside it."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hwkit.errors import DeviceFault, DeviceLost, DeviceTimeout, WrongHash
from hwkit.harness.tally import Tally
from hwkit.hashers import native, topology
from hwkit.hashers.kernel import KernelHasher
from hwkit.protocols import Window

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hwkit.protocols import Hasher, Progress, Span
    from hwkit.work import Job, Share

FIRST_S = 10.0  # many threads take a while to start
LATE_NS = 20_000_000
SILENCE_S = 2.0  # a hasher promises a report every 0.25 s


@dataclass(frozen=True, slots=True)
class Turn:
    """A window, and the shares and spans that were reported in it."""

    window: Window
    shares: list[tuple[int, Share]]
    spans: list[Span]


def take_turn(
    hasher: Hasher, job: Job, turn_s: float, stop: threading.Event, number: int = 0
) -> Turn | None:
    """Let a hasher work on a job until a window of `turn_s` seconds has closed.

    The window opens and closes at the hasher's own reports; None if `stop` was set before. Raises
    WrongHash or ProtocolError for what the tally does not believe, DeviceTimeout for silence,
    DeviceLost for a hasher that ends by itself, DeviceFault for anything else that it raises.
    """
    end = threading.Event()
    try:
        with _ended(hasher.run(job, end), end) as reports:
            return _listen(
                hasher, job, reports, end, stop, turn_ns=round(turn_s * 1e9), number=number
            )
    except (DeviceFault, WrongHash):
        raise
    except Exception as error:  # whatever a driver raises, it is this device that has failed
        what = f"{type(error).__name__}: {error}"
        raise DeviceFault(f"{hasher.spec.name} failed: {what}") from error


def _listen(
    hasher: Hasher,
    job: Job,
    reports: Iterator[Progress],
    end: threading.Event,
    stop: threading.Event,
    *,
    turn_ns: int,
    number: int,
) -> Turn | None:
    name = hasher.spec.name
    tally = Tally(job, hasher.spec.basis)
    opened = closed = clock_hz = None
    lag = last_lag = 0
    counted: list[Progress] = []
    heard = time.monotonic_ns() + round((FIRST_S - SILENCE_S) * 1e9)
    for progress in reports:
        tally.take(progress)
        # By the reports' times, which the tally has found possible: on a busy machine it may be
        # the listener who is late.
        if progress.at - heard > SILENCE_S * 1e9:
            raise DeviceTimeout(f"{name} was silent for over {SILENCE_S:g} s")
        heard = max(heard, progress.at)
        if opened is None:
            opened = progress.at
            lag = time.monotonic_ns() - opened
            # While the workers are at it: an idle core may run at another clock.
            clock_hz = _clock_hz(hasher)
        elif closed is None:
            counted.append(progress)
            if progress.at - opened >= turn_ns:
                closed = progress.at
                last_lag = time.monotonic_ns() - closed
                end.set()
        if stop.is_set():
            end.set()
    if not end.is_set():
        raise DeviceLost(f"{name} ended its work without being told to")
    tally.close()
    if opened is None or closed is None:
        return None
    shares, spans = tally.between(opened, closed)
    busy = [progress.busy_ns for progress in counted if progress.busy_ns is not None]
    # Stamps that fall ever further behind would make a window shorter, and a rate higher, than it
    # was: past a little lateness, what was seen here counts.
    late = last_lag - lag
    window = Window(
        round=number,
        opened=opened,
        closed=closed + late if late > LATE_NS else closed,
        hashes=sum(progress.hashes or 0 for progress in counted),
        busy_ns=sum(busy) if len(busy) == len(counted) else None,
        shares=len(shares),
        clock_hz=clock_hz,
    )
    return Turn(window, shares, spans)


def _clock_hz(hasher: Hasher) -> float | None:
    """Measure the clock of a core that the hasher may be on."""
    if hasher.spec.resource != "cpu":
        return None
    if isinstance(hasher, KernelHasher) and hasher.processors:
        return topology.on(hasher.processors[0], native.clock_hz)
    return native.clock_hz()


@contextmanager
def _ended(reports: Iterator[Progress], end: threading.Event) -> Iterator[Iterator[Progress]]:
    """Tell a hasher to stop, whatever happens, and let its generator tidy up."""
    try:
        yield reports
    finally:
        end.set()
        if isinstance(reports, Generator):
            reports.close()
