"""The audit: stretches drawn after the fact are scanned again by another proven kernel."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from hwkit.errors import NoDriver, WrongHash
from hwkit.hashers import cpu, native
from hwkit.hashers.reference import ReferenceKernel
from hwkit.protocols import Audit, Hit
from hwkit.prove import prove
from hwkit.work import Share

if TYPE_CHECKING:
    import random
    from collections.abc import Collection, Sequence

    from hwkit.protocols import Kernel, Span
    from hwkit.work import Job

AUDIT_SHARE = 0.08  # of a window's length is spent on scanning again


class Auditor:
    """Scans again what another kernel says it has scanned."""

    def __init__(self, kernel: Kernel, rate_h_s: float) -> None:
        """Take a proven kernel and its rate, which decides how much is scanned again."""
        self.kernel = kernel
        self._rate_h_s = rate_h_s

    def audit(
        self,
        job: Job,
        spans: Sequence[Span],
        shares: Sequence[Share],
        *,
        window: int,
        window_s: float,
        random: random.Random,
    ) -> list[Audit]:
        """Draw stretches of a window and scan them: the sets of hits must be equal.

        As many as the time for it allows. Raises WrongHash at the first nonce that differs.
        """
        budget = max(1, int(self._rate_h_s * AUDIT_SHARE * window_s))
        audits: list[Audit] = []
        for span in random.sample(spans, len(spans)):
            if budget <= 0:
                break
            versions = len(job.versions(span.group))
            count = min(span.count, max(1, budget // versions))
            budget -= count * versions
            if count:
                first = span.first + random.randrange(span.count - count + 1)
                audits.append(
                    self._scan(job, shares, window, replace(span, first=first, count=count))
                )
        return audits

    def _scan(self, job: Job, shares: Sequence[Share], window: int, span: Span) -> Audit:
        first, count, versions = span.first, span.count, job.versions(span.group)
        blank = Share(span.serial, span.extranonce2, job.ntime, job.version, 0)
        header, nonces = job.header(blank), range(first, first + count)
        began = time.thread_time_ns()
        # A nonce-only scan is asked for as the hasher asks for it: without versions.
        asked = () if span.group is None else versions
        found = set(self.kernel.scan(header, job.target, nonces, asked))
        took = time.thread_time_ns() - began
        if took > 0:
            self._rate_h_s = span.hashes * 1e9 / took
        reported = {
            Hit(share.nonce, share.version)
            for share in shares
            if (share.serial, share.extranonce2) == (span.serial, span.extranonce2)
            and first <= share.nonce < first + count
            and share.version in versions
        }
        for hit in sorted(found ^ reported):
            came, expected = ("nothing", "a hit") if hit in found else ("a hit", "nothing")
            raise WrongHash(
                f"an audit by {self.kernel.name} differs",
                job.header(replace(blank, version=hit.version)),
                hit.nonce,
                came,
                expected,
            )
        return Audit(
            window, span.serial, span.extranonce2, first, count, len(found), group=span.group
        )


def auditor_for(names: Collection[str]) -> Auditor | None:
    """Return the fastest proven kernel of this machine that is none of those named."""
    enough = len(names) + 1
    return next((Auditor(*pair) for pair in _proven(enough) if pair[0].name not in names), None)


@cache
def _proven(enough: int) -> list[tuple[Kernel, float]]:
    """Return so many of the fastest kernels that pass their proof, with rates, fastest first."""
    kernels: list[Kernel] = [ReferenceKernel()]
    with suppress(NoDriver):  # the reference remains: beside it there is then no auditor
        kernels += [kernel for kernel in native.kernels() if kernel.supported]
    # Without Numba's: nobody who has not asked for it should wait while it compiles.
    rates = cpu.race(kernels, rounds=2, piece_s=0.005)
    proven: list[tuple[Kernel, float]] = []
    for kernel in sorted(kernels, key=lambda kernel: -rates[kernel.name]):
        if len(proven) < enough and prove(kernel).passed:
            proven.append((kernel, rates[kernel.name]))
    return proven
