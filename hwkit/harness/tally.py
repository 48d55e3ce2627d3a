"""The tally: what of a hasher's reports is believed. A device never grades its own work."""

from __future__ import annotations

import time
from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, TypeVar

from hwkit.errors import ProtocolError, WrongHash
from hwkit.protocols import Assigned, Basis, Submission, Verdict
from hwkit.sha256d import sha256d
from hwkit.work import NONCES

if TYPE_CHECKING:
    from collections.abc import Iterable
    from fractions import Fraction

    from hwkit.protocols import Progress, Span
    from hwkit.work import Job, Share, Target

T = TypeVar("T")
REMEMBERED = 1 << 19  # shares, against those reported twice: as many as the bench pool has, 45 MB
ROLLED_AHEAD_S = 7200  # by how much a miner may roll nTime ahead of the clock: consensus


@dataclass(slots=True)
class Tally:
    """Takes the reports of one turn on one job: re-hashes shares, checks that nonces add up.

    Of a miner that is fed it is many jobs, each with the target that it was sent at.
    """

    job: Job
    basis: Basis
    started: int = field(default_factory=time.monotonic_ns)
    # With the report's time; of a miner that is fed, with that of their arrival.
    shares: list[tuple[int, Share]] = field(default_factory=list)
    spans: list[tuple[int, Span]] = field(default_factory=list)
    _assigned: dict[int, Target] = field(default_factory=dict)  # by the job's serial
    _seen: dict[int, set[bytes]] = field(default_factory=dict)  # likewise: hashes, cut to 8 bytes
    _remembered: int = 0
    _last: int = 0

    def __post_init__(self) -> None:
        """Begin with the job, whose shares count at its own target."""
        self._assigned[self.job.serial] = self.job.target

    def take(self, progress: Progress) -> None:
        """Credit one report. Raises WrongHash for a false share, ProtocolError for a false report.

        A time that runs backwards or ahead, and hashes that are not the nonces named, are false.
        """
        if not max(self._last, self.started) <= progress.at <= time.monotonic_ns():
            raise ProtocolError(f"a report is stamped {progress.at}, out of its time", b"")
        if (progress.busy_ns or 0) < 0:
            raise ProtocolError(f"{progress.busy_ns} ns of work reported", b"")
        after, self._last = self._last, progress.at
        arrived = self._heard(progress)
        for share in progress.shares:
            self._credit(share)
            # Never before the last report: a window up to it may be closed.
            arrived[share] = max(arrived.get(share, progress.at), after + 1)
        self.shares += sorted(
            ((arrived[share], share) for share in progress.shares), key=itemgetter(0)
        )
        if self.basis is Basis.COUNTED:
            if not all(self._possible(span) for span in progress.scanned):
                raise ProtocolError("nonces reported that the job does not have", b"")
            if any(self._is_other_work(span) for span in progress.scanned):
                rolled = "version rolling" if self.job.version_rolling else "no rolled version"
                raise ProtocolError(f"other work reported than asked for, {rolled}", b"")
            asked = sum(span.hashes for span in progress.scanned)
            if progress.hashes != asked:
                raise ProtocolError(f"{progress.hashes} hashes reported for {asked} nonces", b"")
            self.spans += [(progress.at, span) for span in progress.scanned]

    def close(self) -> None:
        """Check the turn as a whole: no header counted twice, no share from one not counted.

        Raises ProtocolError, or WrongHash for a share.
        """
        if self.basis is not Basis.COUNTED:
            return
        # No version is in two groups, so that spans of unlike groups cannot overlap.
        stretches: dict[tuple[int, bytes, int | None], list[tuple[int, int]]] = {}
        for _, span in self.spans:
            stretch = (span.first, span.first + span.count)
            key = span.serial, span.extranonce2, span.group
            stretches.setdefault(key, []).append(stretch)
        for counted in stretches.values():
            counted.sort()
            for (_, end), (first, _) in pairwise(counted):
                if first < end:
                    raise ProtocolError(f"nonces from {first:#x} on were counted twice", b"")
        groups = {
            version: group
            for group in {group for _, _, group in stretches}
            for version in self.job.versions(group)
        }
        for _, share in self.shares:
            group = groups.get(share.version, -1)  # which is none
            counted = stretches.get((share.serial, share.extranonce2, group), [])
            place = bisect_right(counted, (share.nonce, 1 << 33)) - 1
            if place < 0 or share.nonce >= counted[place][1]:
                raise self._wrong("a share from a nonce that was not counted", share)

    def between(self, opened: int, closed: int) -> tuple[list[tuple[int, Share]], list[Span]]:
        """Return the shares and spans reported after `opened` and up to `closed`."""
        spans = _between(self.spans, opened, closed)
        return _between(self.shares, opened, closed), [span for _, span in spans]

    def worth(self, shares: Iterable[Share]) -> int:
        """Return the hashes that shares stand for, each at the target its job was sent with."""
        works: dict[int, Fraction] = {}
        total = 0.0
        for share in shares:
            work = works.get(share.serial) or self._assigned[share.serial].work
            works[share.serial] = work
            total += float(work)
        return round(total)

    def forget(self) -> None:
        """Let go of the shares so far: what is fed may run for days, and has no close()."""
        self.shares.clear()

    def _heard(self, progress: Progress) -> dict[Share, int]:
        """Note which jobs were sent; return when the good shares arrived."""
        arrived: dict[Share, int] = {}
        for event in progress.events:
            if event.at > progress.at:
                raise ProtocolError(f"an event is stamped {event.at}, after its report", b"")
            if isinstance(event, Assigned):
                if self._assigned.setdefault(event.serial, event.target) != event.target:
                    raise ProtocolError(f"job {event.serial} was sent at two targets", b"")
            elif isinstance(event, Submission) and event.verdict is Verdict.GOOD:
                if event.share is None:
                    raise ProtocolError("a submission is good, and has no share", b"")
                arrived[event.share] = event.at
        if not arrived.keys() <= set(progress.shares):
            raise ProtocolError("a good share is not among the shares of its report", b"")
        return arrived

    def _possible(self, span: Span) -> bool:
        """Are these nonces of this job?"""
        return (
            span.serial == self.job.serial
            and len(span.extranonce2) == self.job.extranonce2_size
            and span.count >= 0
            and 0 <= span.first <= span.first + span.count <= NONCES
            and (span.group is None or 0 <= span.group < self.job.version_groups)
        )

    def _is_other_work(self, span: Span) -> bool:
        """Rolled versions are the whole of a run's work or nothing of it."""
        return (span.group is not None) != self.job.version_rolling

    def _credit(self, share: Share) -> None:
        if share.serial not in self._assigned:
            raise self._wrong("a share of another job", share)
        if self.basis is not Basis.COUNTED:
            # By either clock: the wall's may be set back meanwhile.
            run_s = (time.monotonic_ns() - self.started) / 1e9
            ahead = share.ntime - max(time.time(), self.job.ntime + run_s)
            if share.ntime < self.job.ntime or ahead > ROLLED_AHEAD_S:
                raise self._wrong("a share whose nTime lies before its job, or far ahead", share)
        digest = sha256d(self.job.header(share))
        if not self._assigned[share.serial].is_met_by(digest):
            raise self._wrong("a false share", share)
        seen = self._seen.setdefault(share.serial, set())
        if digest[:8] in seen:
            raise self._wrong("a share reported twice", share)
        seen.add(digest[:8])
        self._remembered += 1
        while self._remembered > REMEMBERED and len(self._seen) > 1:  # the oldest jobs are over
            oldest = next(iter(self._seen))
            self._remembered -= len(self._seen.pop(oldest))
            del self._assigned[oldest]

    def _wrong(self, what: str, share: Share) -> WrongHash:
        header = self.job.header(share)
        target = f"{self._assigned.get(share.serial, self.job.target).value:064x}"
        return WrongHash(what, header, share.nonce, sha256d(header)[::-1].hex(), f"<= {target}")


def _between(timed: list[tuple[int, T]], opened: int, closed: int) -> list[tuple[int, T]]:
    """Return those after `opened` and up to `closed`; they are in order."""
    first, last = (bisect_right(timed, at, key=itemgetter(0)) for at in (opened, closed))
    return timed[first:last]
