"""What feeding a miner stands on: whose job it is, who is connected, which difficulty to give."""

from __future__ import annotations

import time
from collections import deque
from statistics import median
from typing import TYPE_CHECKING

from hwkit.protocols import Assigned, Link, Probe, Submission, Verdict
from hwkit.sha256d import sha256d
from hwkit.units import plain
from hwkit.wire.stratum_difficulty import Seen, Steering

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hwkit.work import Job

Event = Assigned | Submission | Link | Probe
AWAY_S = 20.0  # without a connection: a miner comes back from a lost one within seconds
STEER_S = 10.0  # how long a difficulty is tried


class Source:
    """The job of the present run, for the pool to derive its own from."""

    job: Job | None = None

    def template(self) -> Job:
        """Return it."""
        assert self.job is not None  # noqa: S101 - run() has set it before a miner can come
        return self.job


class Ours:
    """Tells what belongs to this run's job: the pool may still have shares of the one before."""

    def __init__(self, job: Job) -> None:
        """Take the job."""
        self._job = job
        self._ours: dict[int, bool | None] = {}  # by serial; None: not seen yet

    def has(self, event: Event) -> bool:
        """Is it of this run?"""
        if isinstance(event, Assigned):
            self._ours.setdefault(event.serial, None)
        if not isinstance(event, Submission) or event.share is None:
            return True
        serial = event.share.serial
        if self._ours.get(serial, False) is None:
            self._ours[serial] = sha256d(self._job.header(event.share)) == event.digest
        return bool(self._ours.get(serial))


class Links:
    """Which connections there are, as the pool tells: heard where the reports are made."""

    def __init__(self) -> None:
        """Begin with none."""
        self._open: set[int] = set()
        self._last = time.monotonic()
        self._reasons: deque[str] = deque(maxlen=3)
        self.working = False  # one of them has got a job

    def hear(self, events: Iterable[Event]) -> None:
        """Take what the pool tells."""
        for event in events:
            if isinstance(event, Assigned):
                self.working = event.connection in self._open
            if not isinstance(event, Link):
                continue
            if event.what == "connected" and event.connection is not None:
                self._open.add(event.connection)
            elif event.what == "closed":
                self._open.discard(event.connection or 0)
                self._last = time.monotonic()
                self.working = self.working and bool(self._open)
            if event.what in {"closed", "refused"}:
                self._reasons.append(f"{event.what} {event.words}")

    @property
    def there_of_late(self) -> bool:
        """Is it connected, or was it until a moment ago?"""
        return bool(self._open) or time.monotonic() - self._last < AWAY_S

    def why_not(self) -> str | None:
        """Say what has become of whoever came; None where nobody did."""
        return plain("; ".join(self._reasons)) or None


class Steers:
    """Finds the difficulty at which shares come often enough, and not too often."""

    def __init__(self, rate_h_s: float) -> None:
        """Begin where a miner of this hashrate sends some ten shares a second."""
        self._steering = Steering.towards(rate_h_s)
        self._began: int | None = None  # when it got a job of this difficulty
        self._events: list[Event] = []

    @property
    def difficulty(self) -> float:
        """The one of now."""
        return self._steering.difficulty

    def hear(self, events: Iterable[Event]) -> float | None:
        """Return the difficulty to set now; None: as it is."""
        for event in events:
            if isinstance(event, Assigned) and self._began is None:
                self._began = event.at
            elif self._began is not None:
                self._events.append(event)
        now, before = time.monotonic_ns(), self.difficulty
        if self._began is None or now - self._began < STEER_S * 1e9:
            return None
        took = [e.took_ns for e in self._events if isinstance(e, Link) and e.took_ns is not None]
        seen = Seen.of(
            self._events, (now - self._began) / 1e9, median(took) / 1e9 if took else None
        )
        good = [e for e in self._events if isinstance(e, Submission) and e.verdict is Verdict.GOOD]
        self._steering = self._steering.after(seen, [e.digest for e in good if e.digest])
        self._began, self._events = None if self.difficulty != before else now, []
        return None if self._began is not None else self.difficulty
