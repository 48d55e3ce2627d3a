"""KernelHasher: lifts a kernel, a closed question, to a hasher that works until told to stop."""

from __future__ import annotations

import os
import queue
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from hwkit.hashers import topology
from hwkit.protocols import Basis, HasherSpec, Hit, Kernel, Progress, Span
from hwkit.work import NONCES, Share

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from threading import Event

    from hwkit.work import Job

REPORT_NS = 25_000_000
ALIVE_NS = 200_000_000
FIRST_CHUNK = 1 << 10
GROWTH = 8
WAITING = 4  # wall time over thread time past which a thread waits rather than shares a core


class TimedHits(list[Hit]):
    """Hits of a device that times itself: busy_ns is its work behind them."""

    busy_ns: int = 0


@dataclass(frozen=True, slots=True)
class KernelHasher:
    """A kernel on so many threads, each with its own stretch of nonces; hashes are counted."""

    kernel: Kernel
    threads: int
    spec: HasherSpec
    affinity: tuple[int, ...] | None = None  # worker n runs on the n-th of these processors alone
    suited: Mapping[int, Kernel] = field(default_factory=dict, hash=False)  # processors' own

    # One scan: short, so that stopping is quick and a report's edges are sharp.
    chunk_ns: ClassVar[int] = 10_000_000

    @classmethod
    def lift(cls, kernel: Kernel, resource: str, threads: int, **details: Any) -> Self:  # noqa: ANN401
        """Return a hasher named as the kernel is."""
        details = {"lanes": kernel.lanes, "threads": threads, **details}
        return cls(kernel, threads, HasherSpec(kernel.name, Basis.COUNTED, resource, details))

    def with_threads(self, threads: int) -> Self:
        """Return the same hasher on another number of threads."""
        return self._placed(threads, self.affinity)

    def with_affinity(self, affinity: tuple[int, ...]) -> Self:
        """Return the same hasher with a thread for each of these processors, pinned to it."""
        return self._placed(len(affinity), affinity)

    @property
    def processors(self) -> tuple[int, ...] | None:
        """The processors that its threads are pinned to; None: they run on any."""
        return self.affinity and self.affinity[: self.threads]

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """The kernels that its threads run: one, but where types of cores differ."""
        running = map(self._kernel_on, self.processors or (None,))
        return tuple({kernel.name: kernel for kernel in running}.values())

    def _kernel_on(self, processor: int | None) -> Kernel:
        return self.kernel if processor is None else self.suited.get(processor, self.kernel)

    def _placed(self, threads: int, affinity: tuple[int, ...] | None) -> Self:
        placed = replace(self, threads=threads, affinity=affinity)
        details = {**self.spec.details, "threads": threads}
        if placed.processors:
            details["affinity"] = list(placed.processors)
            if self.suited:  # in the order of the processors
                details["kernels"] = [self._kernel_on(each).name for each in placed.processors]
        return replace(placed, spec=replace(self.spec, details=details))

    @property
    def first_chunk(self) -> int:
        """Nonces of a thread's first scan in a run; the next ones grow towards chunk_ns."""
        return FIRST_CHUNK

    def run(self, job: Job, stop: Event) -> Iterator[Progress]:
        """Report counted hashes and the shares among them, about 40 times a second."""
        halt = threading.Event()  # for when the caller leaves without setting stop
        chunks: queue.SimpleQueue[_Chunk | BaseException] = queue.SimpleQueue()
        nonces = _Nonces(job)
        workers = [
            threading.Thread(
                target=self._work,
                args=(n, nonces, chunks, stop, halt),
                name=f"{self.spec.name}/{n}",
            )
            for n in range(self.threads)
        ]
        started: list[threading.Thread] = []
        reporter = _Reporter(self.threads)
        try:
            for worker in workers:
                worker.start()
                started.append(worker)
            nonces.begin.set()
            yield from reporter.reports(chunks, stop)
            for worker in started:
                worker.join()
            yield from reporter.rest(chunks)
        finally:
            halt.set()
            nonces.begin.set()
            for worker in started:
                worker.join()

    def _work(
        self,
        number: int,
        nonces: _Nonces,
        chunks: queue.SimpleQueue[_Chunk | BaseException],
        stop: Event,
        halt: Event,
    ) -> None:
        count = self.first_chunk
        # Threads that already work leave no processor time to start the others.
        nonces.begin.wait()
        processor = self.affinity[number % len(self.affinity)] if self.affinity else None
        kernel = self._kernel_on(processor)
        try:
            if processor is not None:
                topology.pin(processor)  # this thread ends with the run: nothing to undo
            while not (stop.is_set() or halt.is_set()):
                span, header, versions = nonces.take(count)
                began, began_cpu = time.monotonic_ns(), time.thread_time_ns()
                hits = kernel.scan(
                    header, nonces.job.target, range(span.first, span.first + span.count), versions
                )
                busy = time.thread_time_ns() - began_cpu
                shares = tuple(
                    Share(span.serial, span.extranonce2, nonces.job.ntime, hit.version, hit.nonce)
                    for hit in hits
                )
                ended = time.monotonic_ns()
                # By thread time, which a busy machine does not stretch; but a thread that waits for
                # its device uses next to none.
                spent = max(busy, (ended - began) // WAITING, 1)
                if isinstance(hits, TimedHits):
                    busy = max(hits.busy_ns, 1)
                    spent = max(busy, (ended - began) // WAITING)  # its clock may stand still
                chunks.put(_Chunk(number, ended, span, shares, busy))
                ideal = span.count * self.chunk_ns // spent
                count = max(1, min(ideal, span.count * GROWTH, NONCES))
        except BaseException as error:  # noqa: BLE001 - it is raised again where the caller is
            chunks.put(error)


@dataclass(frozen=True, slots=True)
class _Chunk:
    worker: int
    at: int
    span: Span
    shares: tuple[Share, ...]
    busy_ns: int


class _Nonces:
    """Deals out the nonces of a job: each once, and then again with what can be rolled.

    That is the group of versions where the job rolls them, and extranonce2 when those are used up.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.begin = threading.Event()
        self._lock = threading.Lock()
        self._first = 0
        self._groups = job.version_groups if job.version_rolling else 1
        self._rolled = 0  # how often
        self._build()

    def take(self, count: int) -> tuple[Span, bytes, tuple[int, ...]]:
        with self._lock:
            if self._first == NONCES:
                self._first = 0
                self._rolled += 1
                self._build()
            count = min(count, NONCES - self._first)
            span = Span(self.job.serial, self._extranonce2, self._first, count, self._group)
            self._first += count
            return span, self._header, self._versions

    def _build(self) -> None:
        job = self.job
        number, group = divmod(self._rolled, self._groups)
        self._extranonce2 = number.to_bytes(job.extranonce2_size, "little")
        self._group = group if job.version_rolling else None
        self._versions = job.versions(group) if job.version_rolling else ()
        self._header = job.header_of(job.serial, self._extranonce2, job.ntime, job.version, 0)


class _Reporter:
    """Gathers chunks into reports whose times never run backwards, as chunks of many threads do."""

    def __init__(self, threads: int) -> None:
        self._gathered: list[_Chunk] = []
        self._unheard = set(range(threads))
        self._last = time.monotonic_ns()

    def reports(
        self, chunks: queue.SimpleQueue[_Chunk | BaseException], stop: Event
    ) -> Iterator[Progress]:
        """Report until stopped, first as soon as every thread is at work: then rates are whole."""
        # Woken by time, not by each chunk: it costs a thread to wake another.
        while not stop.wait(REPORT_NS / 1e9):
            self._gather(chunks)
            self._unheard -= {chunk.worker for chunk in self._gathered}
            if self._gathered and not self._unheard:
                yield self._report(self._gathered[-1].at)
            elif time.monotonic_ns() - self._last >= ALIVE_NS:
                yield self._report(time.monotonic_ns())

    def rest(self, chunks: queue.SimpleQueue[_Chunk | BaseException]) -> Iterator[Progress]:
        """Report what the workers had done when they ended; raise what ended them, if it did."""
        self._gather(chunks)
        if self._gathered:
            yield self._report(self._gathered[-1].at)

    def _gather(self, chunks: queue.SimpleQueue[_Chunk | BaseException]) -> None:
        while not chunks.empty():
            chunk = chunks.get()
            if isinstance(chunk, BaseException):
                raise chunk
            self._gathered.append(chunk)

    def _report(self, at: int) -> Progress:
        chunks, self._gathered = self._gathered, []
        self._last = max([self._last, at, *(chunk.at for chunk in chunks)])
        return Progress(
            at=self._last,
            shares=tuple(share for chunk in chunks for share in chunk.shares),
            hashes=sum(chunk.span.hashes for chunk in chunks),
            busy_ns=sum(chunk.busy_ns for chunk in chunks),
            scanned=tuple(chunk.span for chunk in chunks),
        )


def usable_cpus() -> int:
    """How many processors this process may run on: its affinity where the system has one."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
