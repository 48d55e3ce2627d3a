"""A turn: one hasher at work for a moment, and the window that lies inside it."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from hwkit.errors import DeviceFault, DeviceLost, DeviceTimeout, WrongHash
from hwkit.harness.tally import Tally
from hwkit.hashers import native, topology
from hwkit.hashers.kernel import KernelHasher
from hwkit.protocols import Assigned, Basis, Renewable, Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hwkit.protocols import Hasher, MinerEvent, Progress, Span
    from hwkit.work import Job, Share

P = ParamSpec("P")
R = TypeVar("R")
FIRST_S = 10.0  # many threads take a while to start
LATE_NS = 20_000_000
FRESH_S = 5.0  # for a miner's first share of new work: of 10 min, 0.8 %
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
    """Let a hasher work on a job until a window of `turn_s` seconds has closed; return it.

    None if `stop` was set before. Raises as run_windows does.
    """
    turns: list[Turn] = []
    run_windows(hasher, job, turn_s, stop, turns.append, number=number)
    return turns[0] if turns else None


def run_windows(
    hasher: Hasher,
    job: Job,
    window_s: float,
    stop: threading.Event,
    take: Callable[[Turn], object],
    *,
    number: int = 0,
    ready: Callable[[], bool] = lambda: True,
    beside: Callable[[], None] = lambda: None,
    hear: Callable[[Sequence[MinerEvent]], None] = lambda _: None,
    lag_s: float = 0.0,
) -> None:
    """Let a hasher work on a job, and give windows that follow each other to `take`.

    The first opens when `ready` says so, each closes `window_s` seconds later, all at the hasher's
    own reports; `take` returns whether another is wanted. The hasher then works on for `lag_s`, so
    that a meter sees the last one's end. `hear` gets what a report tells beside its work, before
    the window that it closes; `beside` is called after each report. Raises WrongHash or
    ProtocolError for what the tally does not believe, DeviceTimeout for silence, DeviceLost for a
    hasher that ends by itself, DeviceFault for anything else that it raises; and what ours raise.
    """
    listener = _Listener(hasher, Tally(job, hasher.spec.basis), round(window_s * 1e9), number)
    taken: list[BaseException] = []

    def ours(call: Callable[P, R]) -> Callable[P, R]:
        def called(*arguments: P.args, **named: P.kwargs) -> R:
            try:
                return call(*arguments, **named)
            except BaseException as error:
                taken.append(error)  # not the device's
                raise

        return called

    try:
        _follow(
            listener,
            job,
            stop,
            ours(take),
            ready=ours(ready),
            beside=ours(beside),
            hear=ours(hear),
            lag_ns=round(lag_s * 1e9),
        )
    except (DeviceFault, WrongHash):
        raise
    except Exception as error:  # whatever a driver raises, it is this device that has failed
        if taken:
            raise
        what = f"{type(error).__name__}: {error}"
        raise DeviceFault(f"{hasher.spec.name} failed: {what}") from error


def _follow(
    listener: _Listener,
    job: Job,
    stop: threading.Event,
    give: Callable[[Turn], object],
    *,
    ready: Callable[[], bool],
    beside: Callable[[], None],
    hear: Callable[[Sequence[MinerEvent]], None],
    lag_ns: int,
) -> None:
    """Run the hasher to its end, which is `lag_ns` after the last window wanted."""
    end, hasher = threading.Event(), listener.hasher
    last = None
    with _ended(hasher.run(job, end), end) as reports:
        for progress in reports:
            listener.hear(progress)
            if progress.events:
                hear(progress.events)
            if last is None and (listener.is_open or (ready() and listener.is_fresh(progress))):
                turn = listener.turn(progress)
                if turn is not None and not give(turn):
                    last = progress.at
            beside()
            if stop.is_set() or (last is not None and progress.at >= last + lag_ns):
                end.set()
        if not end.is_set():
            raise DeviceLost(f"{hasher.spec.name} ended its work without being told to")
    listener.tally.close()


class _Listener:
    """Makes windows of the reports of one run of a hasher."""

    def __init__(self, hasher: Hasher, tally: Tally, window_ns: int, number: int) -> None:
        self.tally = tally
        self.hasher = hasher
        self._window_ns = window_ns
        self._number = number
        self._heard = time.monotonic_ns() + round((FIRST_S - SILENCE_S) * 1e9)
        self._opened: int | None = None
        self._from: int = 0  # as the hasher stamped it
        self._lag = 0
        self._clock_hz: float | None = None
        self._counted: list[Progress] = []
        self._renewed: int | None = None
        self._given: set[int] = set()  # jobs, since then

    @property
    def is_open(self) -> bool:
        return self._opened is not None

    def is_fresh(self, progress: Progress) -> bool:
        """Is it at work that it was given for this? Else a window holds what was found before it.

        A share shows it, and is not counted: one must not be the cause of a window's edge and in
        it. It is waited for no longer than FRESH_S: that much work can be held back at most.
        """
        if not isinstance(self.hasher, Renewable):
            return True
        if self._renewed is None:
            self._renewed = progress.at
            self.hasher.renew()
            return False
        for event in progress.events:
            if isinstance(event, Assigned) and event.at > self._renewed:
                self._given.add(event.serial)
        at_it = any(share.serial in self._given for share in progress.shares)
        return at_it or progress.at - self._renewed > FRESH_S * 1e9

    @property
    def _counts(self) -> bool:
        return self.tally.basis is Basis.COUNTED

    def hear(self, progress: Progress) -> None:
        self.tally.take(progress)
        if not self.is_open and not self._counts:
            self.tally.forget()
        # By the reports' times, which the tally has found possible: on a busy machine it may be
        # the listener who is late.
        if progress.at - self._heard > SILENCE_S * 1e9:
            name = self.hasher.spec.name
            raise DeviceTimeout(f"{name} was silent for over {SILENCE_S:g} s")
        self._heard = max(self._heard, progress.at)

    def turn(self, progress: Progress) -> Turn | None:
        """Open a window at this report, or return the one that it closes and open the next.

        Windows begin and end where a kernel's scans do: a report without one only says: alive.
        """
        if progress.hashes == 0 and isinstance(self.hasher, KernelHasher):
            return None
        if self._opened is None:
            self._lag = time.monotonic_ns() - progress.at
            self._open(progress.at, progress.at)
            return None
        if not self._counted:  # while the workers are at it: an idle core may have another clock
            self._clock_hz = _clock_hz(self.hasher)
        self._counted.append(progress)
        if progress.at - self._from < self._window_ns:
            return None
        # Stamps that fall ever further behind would make a window shorter, and a rate higher, than
        # it was: past a little lateness, what was seen here counts.
        late = time.monotonic_ns() - progress.at - self._lag
        closed = progress.at + late if late > LATE_NS else progress.at
        shares, spans = self.tally.between(self._from, progress.at)
        if not self._counts:  # late as we may be, they lie between the edges that are written
            shares = [(min(max(at, self._opened + 1), closed), share) for at, share in shares]
            self.tally.forget()
        busy = [each.busy_ns for each in self._counted if each.busy_ns is not None]
        window = Window(
            round=self._number,
            opened=self._opened,
            closed=closed,
            hashes=self._hashes([share for _, share in shares]),
            busy_ns=sum(busy) if len(busy) == len(self._counted) else None,
            shares=len(shares),
            clock_hz=self._clock_hz,
        )
        self._open(progress.at, closed)
        return Turn(window, shares, spans)

    def _hashes(self, shares: Sequence[Share]) -> int:
        if self.tally.basis is Basis.SHARES:
            return self.tally.worth(shares)
        return sum(each.hashes or 0 for each in self._counted)

    def _open(self, stamped: int, opened: int) -> None:
        self._from, self._opened, self._counted = stamped, opened, []


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
