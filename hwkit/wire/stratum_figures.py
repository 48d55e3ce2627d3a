"""What the events of a pool come to: pure functions over them, in the order they happened."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

from hwkit.protocols import Assigned, Link, Submission, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hwkit.wire.stratum import Event
    from hwkit.work import Target


@dataclass(slots=True)
class Miner:
    """What one connection has done so far; in memory that does not grow with its shares."""

    connection: int
    peer: str = ""
    agent: str | None = None
    user: str | None = None
    since: int | None = None  # when its first job was sent (monotonic ns)
    target: Target | None = None
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    work: float = 0.0  # hashes that its good shares stand for: sum of 2^256 / (target + 1)
    squares: float = 0.0
    largest: float = 0.0
    first: int | None = None  # good share
    last: int | None = None
    longest_gap_ns: int = 0
    latency_ns: int | None = None  # the last that was seen
    closed: str | None = None
    _targets: dict[int, Target] = field(default_factory=dict)

    def take(self, event: Event) -> None:
        """Add what happened."""
        if isinstance(event, Link):
            self._link(event)
        elif isinstance(event, Assigned):
            self.since = event.at if self.since is None else self.since
            self.target = event.target
            self._targets[event.serial] = event.target
            while len(self._targets) > KNOWN_JOBS:
                del self._targets[next(iter(self._targets))]
        else:
            self.verdicts[event.verdict] += 1
            if event.verdict is Verdict.GOOD and event.share is not None:
                self._credit(event.at, float(self._targets[event.share.serial].work))

    def _credit(self, at: int, work: float) -> None:
        self.work += work
        self.squares += work * work
        self.largest = max(self.largest, work)
        if self.last is not None:
            self.longest_gap_ns = max(self.longest_gap_ns, at - self.last)
        self.first = at if self.first is None else self.first
        self.last = at

    def _link(self, event: Link) -> None:
        if event.what == "connected":
            self.peer = event.words
        elif event.what == "agent":
            self.agent = event.words
        elif event.what == "authorized":
            self.user = event.words
        elif event.what == "answered":
            self.latency_ns = event.took_ns
        elif event.what == "closed":
            self.closed = event.words


KNOWN_JOBS = 32  # a connection's good shares are of its 8 newest


def latencies_s(events: Iterable[Event]) -> list[float]:
    """Return how long miners took to answer client.get_version: there and back."""
    return [
        event.took_ns / 1e9
        for event in events
        if isinstance(event, Link) and event.what == "answered" and event.took_ns is not None
    ]


def switches_s(events: Iterable[Event]) -> list[float]:
    """Return, for each clean job, from its sending to the last share of a job that it called off.

    The first clean job of a connection calls nothing off. A job without a stale share is 0: the
    miner switched before it found one, so that its delay is known from many jobs only.
    """
    sent: dict[int, list[tuple[int, int]]] = {}  # by connection: when, and the last stale share
    for event in events:
        if isinstance(event, Assigned) and event.clean:
            sent.setdefault(event.connection, []).append((event.at, event.at))
        elif isinstance(event, Submission) and event.verdict is Verdict.STALE:
            jobs = sent.get(event.connection)
            if jobs:
                jobs[-1] = jobs[-1][0], event.at
    return [(last - at) / 1e9 for jobs in sent.values() for at, last in jobs[1:]]


def first_shares_s(events: Iterable[Event]) -> list[float]:
    """Return, for each job that got a good share, how long after its sending the first came."""
    waiting: dict[int, int] = {}
    found = []
    for event in events:
        if isinstance(event, Assigned):
            waiting[event.serial] = event.at
        elif isinstance(event, Submission) and event.verdict is Verdict.GOOD and event.share:
            at = waiting.pop(event.share.serial, None)
            if at is not None:
                found.append((event.at - at) / 1e9)
    return found


def gaps_s(events: Iterable[Event], connection: int | None = None) -> list[float]:
    """Return the times between good shares, of one connection or of all together."""
    good = [
        event.at
        for event in events
        if isinstance(event, Submission)
        and event.verdict is Verdict.GOOD
        and connection in {None, event.connection}
    ]
    return [(b - a) / 1e9 for a, b in pairwise(good)]


def absences(events: Iterable[Event]) -> Iterator[tuple[int, int]]:
    """Yield from when to when (monotonic ns) a miner was away: each time it came again.

    The miner is told by its address: of two behind one address nothing can be said.
    """
    peers: dict[int, str] = {}
    here: Counter[str] = Counter()
    left: dict[str, int] = {}
    for event in events:
        if not isinstance(event, Link) or event.connection is None:
            continue
        if event.what == "connected":
            peer = peers[event.connection] = event.words
            here[peer] += 1
            if peer in left:
                yield left.pop(peer), event.at
        elif event.what == "closed":
            peer = peers.pop(event.connection, "")
            here[peer] -= 1
            if not here[peer]:
                left[peer] = event.at


def latency_s(events: Iterable[Event]) -> float | None:
    """Return the median of latencies_s; None without any."""
    found = latencies_s(events)
    return median(found) if found else None
