"""A bench pool on a terminal: its miners live, and what each has delivered."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.table import Table

from hwkit.harness.plan import duration
from hwkit.harness.statistics import garwood_interval
from hwkit.protocols import Link, Verdict
from hwkit.report.live_table import LiveTable
from hwkit.units import Figure, plain, show
from hwkit.wire.stratum_figures import Miner

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hwkit.wire.stratum import Event

FEW = 50  # of the shares may be new before their interval is computed again
COLUMNS = ("miner", "agent", "user", "difficulty", *Verdict, "hashrate, 95 %", "gap", "answers")
WIDEST = 24  # characters of a name


@dataclass(slots=True)
class Visitors:
    """All that a pool has told, by connection: those who came and went without a share, counted."""

    began: int = field(default_factory=time.monotonic_ns)
    miners: dict[int, Followed] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    gone: Counter[str] = field(default_factory=Counter)  # without a share, and why

    def take(self, events: Iterable[Event]) -> None:
        """Add what happened."""
        for event in events:
            if event.connection is None:
                self.refused[plain(event.words)] += 1
                continue
            followed = self.miners.get(event.connection)
            if followed is None:
                followed = self.miners[event.connection] = Followed(Miner(event.connection))
            followed.miner.take(event)
            if isinstance(event, Link) and event.what == "closed":
                followed.ended = event.at
                if not followed.miner.verdicts:
                    self.gone[plain(event.words)] += 1
                    del self.miners[event.connection]

    def to_json(self, now: int) -> dict[str, Any]:
        """Return what --json prints."""
        return {
            "time_s": (now - self.began) / 1e9,
            "miners": [each.to_json(now) for each in self.miners.values()],
            "refused": dict(self.refused),
            "gone_without_share": dict(self.gone),
        }


@dataclass(slots=True)
class Followed:
    """One connection, and its hashrate, whose interval is computed ever more rarely."""

    miner: Miner
    ended: int | None = None  # monotonic ns
    _again_at: int = 0
    _bounds: tuple[float, float] = (0.0, 0.0)  # relative to the work; absolute while it is 0

    def hashrate(self, now: int) -> Figure | None:
        """Return what it has delivered, exactly bounded, since its first job; None without one."""
        miner = self.miner
        if miner.since is None or miner.target is None:
            return None
        time_s = max(((self.ended or now) - miner.since) / 1e9, 1e-9)
        good = miner.verdicts[Verdict.GOOD]
        if good >= self._again_at:
            self._again_at = good + 1 + good // FEW
            largest = miner.largest or float(miner.target.work)
            bounds = garwood_interval(miner.work, miner.squares, largest)
            scale = miner.work or 1.0
            self._bounds = bounds.lo / scale, bounds.hi / scale
        lo, hi = (bound * (miner.work or 1.0) / time_s for bound in self._bounds)
        return Figure(miner.work / time_s, lo, hi, "H/s")

    def cells(self, now: int) -> Iterator[str]:
        """Yield the cells of COLUMNS."""
        miner, rate = self.miner, self.hashrate(now)
        yield f"{miner.connection} {miner.peer}{' (gone)' if self.ended else ''}"
        yield (miner.agent or "-")[:WIDEST]
        yield (miner.user or "-")[:WIDEST]
        yield "-" if miner.target is None else f"{float(miner.target.difficulty):.6g}"
        for verdict in Verdict:
            yield str(miner.verdicts[verdict])
        yield "-" if rate is None else str(rate)
        yield "-" if miner.first is None else duration(miner.longest_gap_ns / 1e9)
        yield "-" if miner.latency_ns is None else show(miner.latency_ns / 1e9, "s", 3)

    def to_json(self, now: int) -> dict[str, Any]:
        """Return one entry of --json's miners."""
        miner, rate = self.miner, self.hashrate(now)
        return {
            "connection": miner.connection,
            "peer": miner.peer,
            "agent": miner.agent,
            "user": miner.user,
            "difficulty": None if miner.target is None else float(miner.target.difficulty),
            "shares": {verdict.value: miner.verdicts[verdict] for verdict in Verdict},
            "hashrate": rate and rate.to_json(),
            "time_s": None if miner.since is None else ((self.ended or now) - miner.since) / 1e9,
            "longest_gap_s": None if miner.first is None else miner.longest_gap_ns / 1e9,
            "latency_s": None if miner.latency_ns is None else miner.latency_ns / 1e9,
            "closed": miner.closed,
        }


class PoolLive(LiveTable):
    """A table on stderr that follows a pool; nothing where stderr is no terminal."""

    def __init__(self, seen: Visitors) -> None:
        """Follow what is seen."""
        super().__init__()
        self._seen = seen

    def table(self) -> Table:
        """Return what there is to see now."""
        return table(self._seen, time.monotonic_ns())


def table(seen: Visitors, now: int) -> Table:
    """Return what there is to see at a moment (monotonic ns)."""
    title = f"{duration((now - seen.began) / 1e9)}, Ctrl-C ends it"
    drawn = Table(title=title, box=None, title_justify="left", pad_edge=False)
    for name in COLUMNS:
        drawn.add_column(name, justify="left" if name in COLUMNS[:3] else "right")
    for each in seen.miners.values():
        drawn.add_row(*map(plain, each.cells(now)))
    return drawn


def summary(seen: Visitors, now: int) -> Iterator[str]:
    """Yield the lines of what each miner has delivered, and of what else has come."""
    for each in seen.miners.values():
        miner, rate = each.miner, each.hashrate(now)
        who = " ".join(filter(None, (miner.agent, miner.user))) or "who it is, it did not say"
        counts = ", ".join(f"{miner.verdicts[v]} {v}" for v in Verdict if miner.verdicts[v])
        yield f"{miner.connection} {miner.peer}: {who}"
        yield f"  {'no job' if rate is None else rate}; {counts or 'no share'}"
        if miner.first is not None and miner.longest_gap_ns:
            yield f"  longest time without a share: {duration(miner.longest_gap_ns / 1e9)}"
    for why, times in (seen.gone + seen.refused).items():
        yield f"{times} without a share: {why}"
    if not seen.miners and not seen.gone and not seen.refused:
        yield "Nobody came."
