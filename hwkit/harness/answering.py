"""How fast a miner answers and changes jobs, by the pool's clock.

That clock sees when its own bytes were handed to the system and when a miner's were read. When a
nonce was found it does not see, nor how long the miner waited for the answer to a share.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hwkit.protocols import Assigned


@dataclass(slots=True)
class Sent:
    """The jobs of one connection, in order; by each the shares that came while it was the last."""

    at: array[int] = field(default_factory=lambda: array("q"))  # monotonic ns
    serials: array[int] = field(default_factory=lambda: array("q"))
    clean: list[bool] = field(default_factory=list)
    first: dict[int, int] = field(default_factory=dict)  # by place: ns until a share of its own
    behind: dict[int, int] = field(default_factory=dict)  # ns until the last of a job before it


@dataclass(slots=True)
class Answering:
    """Takes jobs and shares as they were sent and came."""

    connections: dict[int, Sent] = field(default_factory=lambda: defaultdict(Sent))
    shares: int = 0
    answers_s: array[float] = field(default_factory=lambda: array("d"))
    _connection: dict[int, int] = field(default_factory=dict)  # by serial

    def sent(self, job: Assigned) -> None:
        """Take a job that was sent."""
        sent = self.connections[job.connection]
        sent.at.append(job.at)
        sent.serials.append(job.serial)
        sent.clean.append(job.clean)
        self._connection[job.serial] = job.connection

    def came(self, at: int, serial: int) -> None:
        """Take a good share, of whichever job."""
        self.shares += 1
        connection = self._connection.get(serial)
        if connection is None:
            return
        sent = self.connections[connection]
        place = bisect_right(sent.at, at) - 1
        if place < 0:
            return
        lag = at - sent.at[place]
        if sent.serials[place] == serial:
            sent.first.setdefault(place, lag)
        else:
            sent.behind[place] = max(sent.behind.get(place, 0), lag)

    def took(self, seconds: float) -> None:
        """Take how long the answer to a question took, there and back."""
        self.answers_s.append(seconds)

    def to_json(self, opened: int, closed: int, time_s: float) -> dict[str, Any]:
        """Return it as it stands in a record, of jobs sent between two moments; that is `time_s`.

        A connection's first job follows none. Of clean jobs alone, where there were any: others
        call nothing off. `chance_s` is the median time to a share of a miner that changes at once.
        """
        jobs = [
            (sent, place)
            for sent in self.connections.values()
            for place in range(1, len(sent.at))
            if opened < sent.at[place] <= closed
        ]
        clean = [(sent, place) for sent, place in jobs if sent.clean[place]]
        chosen = clean or jobs
        told: dict[str, Any] = {}
        if self.answers_s:
            told["answers"] = _quantiles(self.answers_s)
        first = [sent.first[place] / 1e9 for sent, place in chosen if place in sent.first]
        if first:
            behind = [sent.behind.get(place, 0) / 1e9 for sent, place in chosen]
            told["new_jobs"] = {
                "jobs": len(chosen),
                "clean": bool(clean),
                "first_share": _quantiles(first),
                "chance_s": math.log(2) * time_s / self.shares,
                "last_of_before": _quantiles(behind),
            }
        return {"answering": told} if told else {}


def _quantiles(values: Iterable[float]) -> dict[str, float]:
    """Return median and 95th percentile in seconds, by the nearest rank, and of how many."""
    ordered = sorted(values)
    median, p95 = (ordered[math.ceil(part * len(ordered)) - 1] for part in (0.5, 0.95))
    return {"count": len(ordered), "median_s": median, "p95_s": p95}
