"""A miner that is fed, and really hashes; each of its ways to be odd is an argument."""

import time
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from operator import attrgetter, itemgetter

from hwkit.harness.delivered import Delivered
from hwkit.harness.inferred import infer
from hwkit.hashers.reference import ReferenceKernel
from hwkit.protocols import (
    Assigned,
    Basis,
    HasherSpec,
    Link,
    MinerEvent,
    Probe,
    Progress,
    Submission,
    Verdict,
    Window,
)
from hwkit.sha256d import sha256d
from hwkit.work import Job, Share, Target

TICK_S = 0.04


def of_work(hashes):
    """The target whose shares stand for so many hashes."""
    return Target((1 << 256) // hashes - 1)


@dataclass
class Miner:
    """Works on jobs of several difficulties by turns; `told` are probes of its own."""

    works: tuple = (512, 2048)  # hashes that a share of each job stands for
    lie: float = 1.0  # times its hashes that it claims
    hides: bool = False  # it finds shares, and sends none
    twice: bool = False  # each tenth share again
    unread: bool = False  # lines now and then that are no shares
    claims: bool = True
    basis: Basis = Basis.SHARES
    job_s: float = 0.3
    told: dict = field(default_factory=dict)
    change: Callable[[Progress], Progress] | None = None  # what becomes of a report
    waits_s: float = 0.0  # until it has a job
    hashes: int = 0

    @property
    def spec(self):
        return HasherSpec("asic:fake", self.basis, "asic:fake", {})

    def run(self, job, stop):
        kernel, began = ReferenceKernel(), time.monotonic()
        yield self._report(events=(Link(time.monotonic_ns(), 1, "connected", "127.0.0.1"),))
        while time.monotonic() - began < self.waits_s and not stop.is_set():
            stop.wait(TICK_S)
            yield self._report()
        serial, sent_at, first = 0, 0.0, 0
        while not stop.is_set():
            events: list[MinerEvent] = []
            if time.monotonic() - sent_at >= self.job_s:
                serial, sent_at, first = serial + 1, time.monotonic(), 0
                target = of_work(self.works[serial % len(self.works)])
                events.append(
                    Assigned(serial, target, time.monotonic_ns(), clean=False, connection=1)
                )
            shares, came = self._mine(kernel, job, serial, target, first)
            first += self._scanned
            claimed = self.basis is Basis.CLAIMED
            events += [] if claimed else came
            now = time.monotonic_ns()
            if self.claims:
                events.append(Probe(now, "total_hashes", self.hashes * self.lie))
            events += [Probe(now, name, value) for name, value in self.told.items()]
            yield self._report(
                shares=() if claimed else tuple(shares),
                hashes=round(self._scanned * self.lie) if claimed else None,
                events=tuple(events),
            )
            stop.wait(0.001)

    def _report(self, **fields):
        report = Progress(time.monotonic_ns(), **fields)
        return self.change(report) if self.change else report

    def _mine(self, kernel, job, serial, target, first):
        """Hash for a tick; each share came when its nonce was tried."""
        shares, events, self._scanned = [], [], 0
        roll = bytes(4)
        header = job.header_of(serial, roll, job.ntime, job.version, 0)
        end = time.monotonic() + TICK_S
        while time.monotonic() < end:
            began, count = time.monotonic_ns(), 256
            start = first + self._scanned
            hits = kernel.scan(header, target, range(start, start + count))
            took = time.monotonic_ns() - began
            for hit in [] if self.hides else hits:
                share = Share(serial, roll, job.ntime, hit.version, hit.nonce)
                at = began + took * (hit.nonce - start) // count
                shares.append(share)
                events.append(Submission(at, 1, share, Verdict.GOOD, 1000))
                if self.twice and hit.nonce % 10 == 0:
                    events.append(Submission(at, 1, share, Verdict.DUPLICATE, 1000))
                if self.unread and hit.nonce % 10 == 0:
                    events.append(Submission(at, 1, None, Verdict.WRONG, None, raw=b"{\xff"))
            self._scanned += count
        self.hashes += self._scanned
        return shares, events


def quick(monkeypatch):
    """Windows of a tenth of a second, and no wait for meters' edges or a first share."""
    monkeypatch.setattr("hwkit.harness.entry.FIRST_SHARE_S", 0.5)
    monkeypatch.setattr("hwkit.harness.metered.METERED_WINDOW_S", 0.1)
    monkeypatch.setattr("hwkit.harness.metering.LEAST_LAG_S", 0.1)


START = 10**12
WORK = 64  # hashes that a share of a timeline stands for at the least
HASHES = 100_000  # of each of its two jobs


@dataclass(frozen=True)
class Found:
    """A share, when it was found as a part of its job's time, and its hash over the target."""

    share: Share
    place: float
    fraction: float


def found_shares(job):
    """All shares of two jobs, of which the miner tried as many nonces as HASHES: really hashed."""
    kernel, roll, found = ReferenceKernel(), bytes(4), []
    target = of_work(WORK)
    for serial in (1, 2):
        header = job.header_of(serial, roll, job.ntime, job.version, 0)
        hits = kernel.scan(header, target, range(HASHES))
        shares = [Share(serial, roll, job.ntime, hit.version, hit.nonce) for hit in hits]
        digests = [int.from_bytes(sha256d(job.header(share)), "little") for share in shares]
        found.append(
            [
                Found(share, share.nonce / HASHES, digest / target.value)
                for share, digest in zip(shares, digests, strict=True)
            ]
        )
    return found


@dataclass
class Timeline:
    """A run in no time: two jobs one after the other, each for half of it, in windows of 1 s."""

    job: Job
    found: list
    time_s: float = 100.0
    works: tuple = (WORK, WORK)
    keep: Callable[[float, Found], bool] = lambda _at, _found: True  # at seconds from the start
    move: Callable[[float], float] = lambda at: at
    events: tuple = ()  # beside the jobs sent; at seconds, as a function of it

    @property
    def rate_h_s(self):
        return 2 * HASHES / self.time_s

    def infer(self, basis=Basis.SHARES):
        delivered, windows = self.rows()
        return infer(windows, delivered, basis)

    def rows(self):
        delivered, arrivals = Delivered(self.job), []
        half = self.time_s / 2
        for serial, (shares, work) in enumerate(zip(self.found, self.works, strict=True), 1):
            began = (serial - 1) * half
            sent = START + round(began * 1e9) - (serial == 1) * 10**9
            delivered.hear(Assigned(serial, of_work(work), sent, clean=False, connection=1))
            for each in shares:
                at = began + each.place * half
                if each.fraction <= WORK / work and self.keep(at, each):
                    arrivals.append((START + round(self.move(at) * 1e9), each.share, work))
        for event in sorted(self.events, key=attrgetter("at")):
            delivered.hear(event)
        arrivals.sort(key=itemgetter(0))
        windows = []
        for second in range(round(self.time_s)):
            opened, closed = START + second * 10**9, START + (second + 1) * 10**9
            first, last = (bisect_right(arrivals, at, key=itemgetter(0)) for at in (opened, closed))
            some = arrivals[first:last]
            hashes = sum(work for _, _, work in some)
            windows.append(Window(0, opened, closed, hashes, None, len(some), None))
            delivered.close(windows[-1], [(at, share) for at, share, _ in some])
        return delivered, windows


def told(name, *values, first=-1.0, every=1.0, words=()):
    """Probes of one name, from so many seconds after the start on."""
    return tuple(
        Probe(START + round((first + n * every) * 1e9), name, value, words)
        for n, value in enumerate(values)
    )
