"""The threads that hash: at a steady rate, on the newest work, until told to stop."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hwkit.hashers import native
from hwkit.hashers.reference import ReferenceKernel
from hwkit.work import NONCES

if TYPE_CHECKING:
    from collections.abc import Callable

    from hwkit.protocols import Hit, Kernel
    from hwkit.simulate.behaviour import Behaviour
    from hwkit.simulate.counters import Counters
    from hwkit.work import Job

PIECE = 20_000  # hashes at once, where that takes a time between these
SHORTEST_S, LONGEST_S = 0.025, 0.25
SCAN_S = 0.01  # one scan at most: other threads may wait for the interpreter
BEHIND_S = 1.0  # a machine that stalled longer does not make up for it


@dataclass(frozen=True, slots=True)
class Work:
    """A job of a pool's, at the difficulty it was sent at."""

    job: Job  # its target is the pool's, or the device's floor where that is harder
    job_id: str
    difficulty: float
    origin: Any = None  # whom to tell of shares


class Hashing:
    """Hashes in threads of its own; `found` is called in them."""

    def __init__(
        self,
        kernel: Kernel,
        behaviour: Behaviour,
        counters: Counters,
        found: Callable[[Work, bytes, Hit], None],
        speed: Callable[[], float] = lambda: 1.0,
    ) -> None:
        """Say with what, how, and whom to tell; `speed` is of its rate, as it is set just now."""
        self._kernel = kernel
        self._behaviour = behaviour
        self._counters = counters
        self._found = found
        self._speed = speed
        self._nonces: _Nonces | None = None
        self._draw = random.Random(behaviour.seed)  # noqa: S311 - where to begin, no secret
        self._halt = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, name=f"hashing/{n}", daemon=True)
            for n in range(behaviour.threads)
        ]

    def start(self) -> None:
        """Let the threads go; they wait for work."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End them; what they find from now on is told no more."""
        self._halt.set()

    def work_on(self, work: Work | None) -> None:
        """Leave what is worked on, and take this up."""
        first = self._draw.getrandbits(8 * work.job.extranonce2_size) if work else 0
        self._nonces = None if work is None else _Nonces(work, first)

    def _work(self) -> None:
        behaviour, counters = self._behaviour, self._counters
        paced = behaviour.rate_h_s
        fastest = 1e5  # hashes a second of this thread, as seen last
        due = time.monotonic()
        while not self._halt.is_set():
            nonces, now = self._nonces, counters.elapsed_s
            factor = behaviour.factor_at(now) * self._speed()
            rate = factor * (fastest if paced is None else paced / behaviour.threads)
            piece_s = min(max(PIECE / rate, SHORTEST_S), LONGEST_S)
            if nonces is None:
                self._halt.wait(SHORTEST_S)
                due = time.monotonic()
            elif behaviour.stalled_at(now):
                self._halt.wait(piece_s)
                late, due = time.monotonic() - due, time.monotonic()
                counters.add(0, late * rate * behaviour.lie)
            else:
                hashes = int(min(rate * piece_s, fastest * SCAN_S)) + 1
                hashes, took, hits = self._scan(nonces, hashes)
                fastest = max(hashes / max(took, 1e-6), 1.0)
                lasts = hashes / rate if paced or factor < 1 else took
                # Each share when its turn comes, and not all of a piece at its end.
                for part, extranonce2, hit in hits:
                    self._halt.wait(max(due + part * lasts - time.monotonic(), 0))
                    if not self._halt.is_set():
                        self._found(nonces.work, extranonce2, hit)
                due += lasts
                ahead = due - time.monotonic()
                if ahead > 0:
                    self._halt.wait(ahead)
                elif ahead < -BEHIND_S:
                    due = time.monotonic()

    def _scan(
        self, nonces: _Nonces, most: int
    ) -> tuple[int, float, list[tuple[float, bytes, Hit]]]:
        """Return how many hashes were done, in how long, and each hit with its place among them."""
        began = time.monotonic()
        header, versions, extranonce2, stretch = nonces.take(most)
        hits = self._kernel.scan(header, nonces.work.job.target, stretch, versions)
        hashes = len(stretch) * max(len(versions), 1)
        took = time.monotonic() - began
        self._counters.add(hashes, hashes * self._behaviour.lie)
        placed = [((hit.nonce - stretch.start) / len(stretch), extranonce2, hit) for hit in hits]
        return hashes, took, placed


class _Nonces:
    """Deals out the headers of one job: nonces, then groups of versions, then extranonce2."""

    def __init__(self, work: Work, first_extranonce2: int) -> None:
        self.work = work
        self._lock = threading.Lock()
        self._next = 0
        self._group = 0
        self._extranonce2 = first_extranonce2
        self._build()

    def take(self, hashes: int) -> tuple[bytes, tuple[int, ...], bytes, range]:
        with self._lock:
            if self._next == NONCES:
                self._next = 0
                self._group += 1
                self._build()
            count = max(hashes // max(len(self._versions), 1), 1)
            stretch = range(self._next, min(self._next + count, NONCES))
            self._next = stretch.stop
            return self._header, self._versions, self._rolled, stretch

    def _build(self) -> None:
        job = self.work.job
        if self._group >= max(job.version_groups if job.version_rolling else 1, 1):
            self._group = 0
            self._extranonce2 += 1
        size = job.extranonce2_size
        self._rolled = (self._extranonce2 % (1 << 8 * size)).to_bytes(size, "big")
        self._versions = job.versions(self._group) if job.version_rolling else ()
        root = job.merkle_root(job.serial, self._rolled)
        self._header = job.header_under(root, job.ntime, job.version, 0)


def usual_kernel() -> Kernel:
    """Return a fast kernel of this processor, unproven and unmeasured: the pool checks its shares.

    `cpu:auto` would prove and race them all, for seconds, each time a miner is switched on.
    """
    if native.MISSING:
        return ReferenceKernel()
    return [kernel for kernel in native.kernels() if kernel.supported][-1]
