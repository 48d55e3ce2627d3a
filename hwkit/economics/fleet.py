"""A fleet: rated, energised and delivered hashrate, under a power cap; what to replace first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from hwkit.economics.handwritten import number, read_table, whole
from hwkit.economics.hashprice import revenue_per_kwh
from hwkit.economics.network import expected_blocks
from hwkit.errors import PlanError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date

    from hwkit.economics.machine import Machine
    from hwkit.economics.snapshot import Snapshot
    from hwkit.units import Figure

KEYS = {"model", "count", "running", "uptime", "price"}
NUMBERS = {
    "usd_per_kwh": (-1.0, 10.0),
    "power_mw": (1e-6, 1e6),
    "overhead": (1.0, 3.0),
    "pool_fee": (0.0, 0.99),
}
SITE = {*NUMBERS, "stop_losses", "machines", "candidates"}
MOST = 10_000_000  # machines of one kind


@dataclass(frozen=True, slots=True)
class Group:
    """Machines of one kind: how many there are, how many are plugged in, how much of the time."""

    machine: Machine
    count: int
    running: int
    uptime: float


@dataclass(frozen=True, slots=True)
class Line:
    """What one group does under the cap."""

    group: Group
    powered: int  # of those running, as many as the cap leaves
    rated_h_s: float
    energised_h_s: float
    delivered_h_s: float
    power_w: float  # at the site
    profit_usd_per_day: float

    def to_json(self) -> dict[str, Any]:
        """Return it as --json prints it."""
        told = {name: getattr(self, name) for name in self.__slots__ if name != "group"}
        group = self.group
        return told | {
            "machine": group.machine.to_json(),
            "count": group.count,
            "running": group.running,
            "uptime": group.uptime,
        }


@dataclass(frozen=True, slots=True)
class Replacement:
    """What a megawatt earns when a candidate stands where a group stands."""

    old: str
    new: str
    gain_usd_per_day_mw: float
    cost_usd_per_mw: float | None
    payback_days: float | None  # at today's hashprice

    def to_json(self) -> dict[str, Any]:
        """Return it as --json prints it."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Fleet:
    """Groups on a site. `power_mw` None: no cap."""

    groups: tuple[Group, ...]
    candidates: tuple[tuple[Machine, float | None], ...]
    usd_per_kwh: float
    power_mw: float | None = None
    overhead: float = 1.03
    pool_fee: float = 0.02
    stop_losses: bool = False  # machines that lose money stand still


@dataclass(frozen=True, slots=True)
class Report:
    """What a fleet is rated at, has energised and delivers; blocks by the day of the snapshot.

    `stopped` is the same with the groups that lose money standing still; None where none runs.
    """

    lines: tuple[Line, ...]
    rated_h_s: float
    energised_h_s: float
    delivered_h_s: float
    power_w: float
    blocks_30_days: Figure
    replacements: tuple[Replacement, ...]
    stopped: Report | None

    @property
    def profit_usd_per_day(self) -> float:
        """What all groups leave."""
        return sum(line.profit_usd_per_day for line in self.lines)

    @property
    def losing(self) -> tuple[Line, ...]:
        """The groups that run and lose money."""
        return tuple(line for line in self.lines if line.profit_usd_per_day < 0)

    def to_json(self) -> dict[str, Any]:
        """Return it as --json prints it."""
        told = {name: getattr(self, name) for name in self.__slots__}
        return told | {
            "lines": [line.to_json() for line in self.lines],
            "blocks_30_days": self.blocks_30_days.to_json(),
            "replacements": [each.to_json() for each in self.replacements],
            "profit_usd_per_day": self.profit_usd_per_day,
            "stopped": self.stopped and self.stopped.to_json(),
        }


def report(fleet: Fleet, snapshot: Snapshot, day: date | None = None) -> Report:
    """Return what a fleet does under its cap: the machines that take fewest J/TH run first.

    Rated is all that was bought; energised is what is plugged in and has power; delivered is that
    times its uptime. The three differ by tens of per cent in published figures.
    """
    left = float("inf") if fleet.power_mw is None else fleet.power_mw * 1e6
    lines = []
    for group in sorted(fleet.groups, key=lambda each: each.machine.efficiency_j_th.value):
        each_w = group.machine.power.value * fleet.overhead
        powered = (
            min(group.running, int(left / each_w + 1e-9)) if left != float("inf") else group.running
        )
        if fleet.stop_losses and _margin(group.machine, fleet, snapshot) < 0:
            powered = 0
        left -= powered * each_w
        lines.append(_line(group, powered, fleet, snapshot))
    delivered = sum(line.delivered_h_s for line in lines)
    start = day or snapshot.day
    losing = any(line.profit_usd_per_day < 0 for line in lines)
    return Report(
        tuple(lines),
        sum(line.rated_h_s for line in lines),
        sum(line.energised_h_s for line in lines),
        delivered,
        sum(line.power_w for line in lines),
        expected_blocks(delivered, start, start + timedelta(30), later=snapshot.difficulty),
        tuple(_replacements(fleet, snapshot)),
        report(replace(fleet, stop_losses=True), snapshot, day) if losing else None,
    )


def read_fleet(text: str, where: str, find: Callable[[str], Machine]) -> Fleet:
    """Read a fleet from TOML; `find` makes a machine of a model's name or a record's id.

    Raises PlanError that says what is wrong, and where.
    """
    found = read_table(text, where)
    _known(found, SITE, where)
    rows, wanted = found.get("machines", []), found.get("candidates", [])
    if not isinstance(rows, list) or not isinstance(wanted, list) or not rows:
        raise PlanError(f"{where}: a fleet has [[machines]], each with model and count")
    groups = [_group(row, f"{where}, machines {n}", find) for n, row in enumerate(rows, 1)]
    candidates = []
    for n, row in enumerate(wanted, 1):
        place = f"{where}, candidates {n}"
        _known(row, KEYS, place)
        price = number(row, "price", place, (0, 1e9))
        candidates.append((find(_model(row, place)), price))
    numbers = {name: number(found, name, where, limits) for name, limits in NUMBERS.items()}
    if numbers["usd_per_kwh"] is None:
        raise PlanError(f"{where}: usd_per_kwh is missing, what power costs")
    given: dict[str, Any] = {name: value for name, value in numbers.items() if value is not None}
    given["stop_losses"] = found.get("stop_losses", False)
    if not isinstance(given["stop_losses"], bool):
        raise PlanError(f"{where}: stop_losses is true or false")
    return Fleet(tuple(groups), tuple(candidates), **given)


def _line(group: Group, powered: int, fleet: Fleet, snapshot: Snapshot) -> Line:
    machine = group.machine
    rate, watts = machine.hashrate.value, machine.power.value * fleet.overhead
    kwh_per_day = powered * watts * group.uptime * 24 / 1000
    return Line(
        group,
        powered,
        group.count * rate,
        powered * rate,
        powered * rate * group.uptime,
        powered * watts * group.uptime,
        kwh_per_day * _margin(machine, fleet, snapshot),
    )


def _margin(machine: Machine, fleet: Fleet, snapshot: Snapshot) -> float:
    """Return what a kWh of the site leaves, in $."""
    earned = revenue_per_kwh(
        snapshot.hashprice, machine.efficiency_j_th.value, fleet.pool_fee, fleet.overhead
    )
    return earned - fleet.usd_per_kwh


def _replacements(fleet: Fleet, snapshot: Snapshot) -> list[Replacement]:
    """Return each candidate in each group's place, by what a megawatt gains, the best first.

    It runs as much of the time as the group; who loses money is taken to stand still.
    """

    def profit(machine: Machine) -> float:
        return max(_margin(machine, fleet, snapshot), 0.0) * 24_000

    found = []
    for group in fleet.groups:
        for machine, price in fleet.candidates:
            gain = group.uptime * (profit(machine) - profit(group.machine))
            cost = None if price is None else price * 1e6 / (machine.power.value * fleet.overhead)
            days = None if cost is None or gain <= 0 else cost / gain
            found.append(Replacement(group.machine.name, machine.name, gain, cost, days))
    return sorted(
        found, key=lambda each: (each.payback_days or float("inf"), -each.gain_usd_per_day_mw)
    )


def _group(row: dict[str, Any], where: str, find: Callable[[str], Machine]) -> Group:
    _known(row, KEYS, where)
    count = whole(row, "count", where, (1, MOST))
    if count is None:
        raise PlanError(f"{where}: count is missing, how many there are")
    running = whole(row, "running", where, (0, count))
    uptime = number(row, "uptime", where, (0, 1))
    return Group(
        find(_model(row, where)),
        count,
        count if running is None else running,
        1.0 if uptime is None else uptime,
    )


def _model(row: dict[str, Any], where: str) -> str:
    model = row.get("model")
    if not isinstance(model, str):
        raise PlanError(f"{where}: model is missing, a name of hwkit models or a record's id")
    return model


def _known(row: Any, keys: set[str], where: str) -> None:  # noqa: ANN401 - as TOML has it
    if not isinstance(row, dict) or not row.keys() <= keys:
        raise PlanError(f"{where}: there stand {', '.join(sorted(keys))}, and nothing else")
