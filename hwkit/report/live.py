"""A table on a terminal that follows a session while it measures."""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from hwkit.harness.figures import wall_rate
from hwkit.harness.plan import beside, duration, percent
from hwkit.report.live_table import LiveTable
from hwkit.units import plain, show

if TYPE_CHECKING:
    from rich.console import RenderableType

    from hwkit.harness.entry import Entry
    from hwkit.harness.plan import Plan
    from hwkit.harness.session import Session

RECENT = 200  # windows that the live rate is the median of


class Live(LiveTable):
    """A table on stderr that follows a session; nothing where stderr is no terminal."""

    look_s = 0.0  # a session ticks as often as it is to be drawn

    def __init__(self, session: Session) -> None:
        """Follow the session."""
        super().__init__()
        self._session = session

    def table(self) -> RenderableType:
        """Return what there is to see now."""
        entries = self._session.entries
        done = sum(_share(entry, self._session.plan.time_s) for entry in entries)
        spent = time.monotonic() - self.began
        left = spent / done * (len(entries) - done) if done > 0.05 * len(entries) else None
        title = f"{duration(spent)} spent" + (f", at most {duration(left)} left" if left else "")
        title += beside(self._session.plan.work)
        table = Table(title=title, box=None, title_justify="left", pad_edge=False)
        for name in ("device", "hashrate", "windows", "state"):
            table.add_column(name, justify="left" if name in {"device", "state"} else "right")
        for entry in entries:
            basis = "" if entry.counts else f" ({entry.hasher.spec.basis})"
            table.add_row(
                entry.name, f"{_rate(entry)}{basis}", str(len(entry.windows)), entry.state
            )
        lines = energy_lines(self._session)
        return Group(table, *map(Text, lines)) if lines else table


def energy_lines(session: Session) -> list[str]:
    """Return what meters say of what is being measured now, and which of them says nothing."""
    lines = [_energy(entry, session.plan) for entry in session.entries]
    silent = {said: None for e in session.entries for each in e.sampled if (said := each.silence)}
    return [plain(line) for line in [*filter(None, lines), *silent]]


def _energy(entry: Entry, plan: Plan) -> str:
    """Return 'cuda:0: J/TH 17.9 ± 0.3, ±1 % in 9 min, 3.35 kW now'; '' where nothing is seen."""
    if entry.state != "measuring":
        return ""
    said = []
    figure = entry.summary.headline if entry.summary else None
    left = entry.left_s(plan.time_s, plan.precision)
    if figure is not None:
        value, bare = str(figure), str(figure).removesuffix(" J/TH")
        said.append(value if bare == value else f"J/TH {bare}")  # kJ/TH keeps its prefix
    if figure is not None and left is not None:
        reached = plan.precision is not None and entry.measured_s + left < plan.time_s
        what = f"±{percent(plan.precision)} in " if reached and plan.precision else "ends in "
        said.append(f"{what}{duration(left)}")
    if entry.power_now_w is not None:
        said.append(f"{show(entry.power_now_w, 'W')} now")
    return f"{entry.name}: {', '.join(said)}" if said else ""


def _rate(entry: Entry) -> str:
    """Return the rate of the last windows: where shares tell it, each holds but a few of them."""
    recent = entry.windows[-RECENT:]
    if not recent:
        return "-"
    if entry.counts:
        return show(median(map(wall_rate, recent)), "H/s")
    hashes = sum(window.hashes for window in recent)
    return show(hashes * 1e9 / (recent[-1].closed - recent[0].opened), "H/s")


def _share(entry: Entry, time_s: float) -> float:
    """Return how much of an entry's time is behind it, from 0 to 1."""
    if entry.state in {"complete", "interrupted", "void", "unproven"}:
        return 1.0
    return min(entry.measured_s / time_s, 1.0)
