"""A miner that is fed, and really hashes; each of its ways to be odd is an argument."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

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
)
from hwkit.work import Share, Target

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
            events += came
            now = time.monotonic_ns()
            if self.claims:
                events.append(Probe(now, "total_hashes", self.hashes * self.lie))
            events += [Probe(now, name, value) for name, value in self.told.items()]
            claimed = self.basis is Basis.CLAIMED
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
    """Windows of a tenth of a second, and no wait for meters' edges."""
    monkeypatch.setattr("hwkit.harness.metered.METERED_WINDOW_S", 0.1)
    monkeypatch.setattr("hwkit.harness.metering.LEAST_LAG_S", 0.1)


def halt(after_s):
    """An event that is set after so long."""
    stop = threading.Event()
    threading.Timer(after_s, stop.set).start()
    return stop
