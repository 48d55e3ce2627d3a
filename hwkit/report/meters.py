"""Meters on a terminal: live while they are read, and what they have said."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from rich.table import Table

from hwkit.harness.assembly import Source
from hwkit.harness.efficiency import power_of
from hwkit.harness.energy import Energy, energy
from hwkit.harness.plan import duration, percent
from hwkit.harness.plausible import LEAST, MOST, implausible
from hwkit.meters.addressing import KWH
from hwkit.report.live_table import LiveTable
from hwkit.units import Figure, plain, show

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hwkit.harness.correction import Comparison, Correction
    from hwkit.harness.metering import Sampled
    from hwkit.protocols import Reading

RECENT = 12  # readings that the power of a bare counter is the mean of
FEW = 20  # of the readings may be new before the energy is computed again: a day costs a second
VAGUE = 100.0  # times the value: an uncertainty that is no longer worth a number
COLUMNS = ("meter", "power", "V", "A", "PF", "energy", "interval", "99 %", "most", "faults")


class MetersLive(LiveTable):
    """A table on stderr that follows meters; nothing where stderr is no terminal."""

    def __init__(self, sampled: Sequence[Sampled]) -> None:
        """Follow these meters."""
        super().__init__()
        self._followed = [Followed(each) for each in sampled]

    def table(self) -> Table:
        """Return what there is to see now."""
        title = f"{duration(time.monotonic() - self.began)}, Ctrl-C ends it"
        table = Table(title=title, box=None, title_justify="left", pad_edge=False)
        for name in COLUMNS:
            table.add_column(name, justify="left" if name == "meter" else "right")
        for each in self._followed:
            table.add_row(*map(plain, each.cells()))
        return table


class Followed:
    """A meter and its energy so far, computed ever more rarely: a long watch stays cheap."""

    def __init__(self, sampled: Sampled) -> None:
        """Follow one meter."""
        self._sampled = sampled
        self._again_at = 0
        self._energy: Energy | None = None

    @property
    def energy(self) -> Energy | None:
        """The energy since the first reading; None while there are not two."""
        count, span = len(self._sampled.readings), self._sampled.span
        if span is not None and count >= self._again_at:
            self._again_at = count + max(1, count // FEW)
            self._energy = energy(self._sampled.readings, self._sampled.spec, *span)
        return self._energy

    def cells(self) -> Iterator[str]:
        """Yield the cells of COLUMNS."""
        sampled, seen = self._sampled, self.energy
        last = sampled.readings[-1] if sampled.readings else None
        watts = watts_now(sampled)
        yield sampled.spec.name
        yield "-" if watts is None else show(watts, "W")
        for name in ("volts", "amperes", "power_factor"):
            value = getattr(last, name, None)
            yield "-" if value is None else f"{value:.4g}"
        yield "-" if seen is None else _joules(seen)
        polling = seen and seen.polling
        for name in ("median_s", "p99_s", "largest_s"):
            value = getattr(polling, name, None)
            yield "-" if value is None else f"{value:.3g} s"
        yield str(len(sampled.faults))


def watts_now(sampled: Sampled) -> float | None:
    """Return the power last read, of a bare counter the mean of its last readings."""
    recent = sampled.readings[-RECENT:]
    if not recent or recent[-1].watts is not None:
        return recent[-1].watts if recent else None
    first, last = min(r.at for r in recent), max(r.at for r in recent)
    if sampled.spec.interval_s is None or first >= last:
        return None
    seen = energy(recent, sampled.spec, first, last)
    return None if seen.joules is None else seen.joules / seen.time_s


def summary(sampled: Sampled) -> Iterator[tuple[str, str]]:
    """Yield name and text of what a meter has said."""
    seen = Followed(sampled).energy
    told = " ".join(filter(None, (sampled.told.get(key) for key in ("model", "serial"))))
    yield "meter", ", ".join(filter(None, [sampled.spec.name, sampled.spec.scope.value, told]))
    power = None if seen is None else power_of(seen)
    if power is not None:
        yield "power", f"{_told(power[0])} ({power[1].dominant})"
    if (why := why_nothing(sampled)) is not None:
        yield "nothing", why
    if seen is not None and seen.source is not None:
        typed = seen.source is Source.MANUAL
        by = f"in {duration(seen.time_s)}, {'as typed' if typed else f'by its {seen.source.value}'}"
        yield "energy", f"{_joules(seen)} {by}{'; accuracy unchecked' * seen.unchecked}"
    if sampled.readings and (now := _now(sampled.readings[-1])):
        yield "last", now
    readings = f"{len(sampled.readings)}"
    if seen is not None:
        readings += f", {seen.polling}; {100 * seen.coverage:.3g} % of the time seen"
    yield "readings", readings
    yield from _doubts(sampled, seen)
    for what, times in faults(sampled).items():
        yield "fault", f"{times} times: {what}"


def _doubts(sampled: Sampled, seen: Energy | None) -> Iterator[tuple[str, str]]:
    for flag, times in flags(sampled).items():
        yield "flag", f"{flag} in {times} of {len(sampled.readings)} readings"
    for finding in seen.findings if seen else ():
        yield finding.kind, finding.text
    for doubt in implausible(sampled.readings, sampled.spec):
        yield doubt.kind, doubt.text
    if seen is not None and seen.difference and LEAST <= (1 + seen.difference) / 1e3 <= MOST:
        yield "scale", "kilowatts taken as watts? Addresses that point to them take scale=1000"


def comparison(found: Comparison, kept: Correction | None, against: str | None) -> Iterator[str]:
    """Yield the lines of two meters held against each other; `against` is why nothing is kept."""
    a, b = found.a.specs[0].name, found.b.specs[0].name
    times = f"{found.factor.value:.5g} times what {b} reads, ±{percent(found.factor.relative)}"
    yield f"{a} reads {times} at {show(found.power_w, 'W')}, in {duration(found.a.time_s)}"
    yield f"  {found.budget.dominant}; the classes come beside"
    if found.contradiction:
        yield "! That is more than both classes allow: one of the meters is out of its own."
    if kept is None:
        yield f"Not kept: {against}"
    else:
        yield f"Kept: {a} is corrected by {kept}"
        yield f"Next: hwkit bench --meter {a} · hwkit meter forget {a}"


def why_nothing(sampled: Sampled) -> str | None:
    """Return why a meter's readings, if any, tell neither power nor energy; None: they do."""
    readings = sampled.readings
    if not readings:
        return "no reading came"
    if all(reading.watts is None and reading.joules is None for reading in readings):
        what = ", ".join(flags(sampled)) or "it does not say why"
        if "absent" in what:
            what += " (NaN, or its word for not measured)"
        if "over range" in what:
            what += ": choose a larger range"
        return f"none of {len(readings)} readings tells power or energy: {what}"
    if sampled.spec.interval_s is not None:
        return None
    typed = [reading.joules for reading in readings if reading.joules is not None]
    if len(typed) < 2:
        return f"only one value was typed: {typed[0] / KWH:.12g} kWh; it takes another at the end"
    if typed[-1] < typed[0]:
        fell = f"from {typed[0] / KWH:.12g} to {typed[-1] / KWH:.12g} kWh"
        return f"what was typed fell {fell}: a digit was misread, or the counter set back"
    return None


def flags(sampled: Sampled) -> dict[str, int]:
    """Return what the readings were marked with, and how many of them."""
    return dict(Counter(flag for reading in sampled.readings for flag in reading.flags))


def faults(sampled: Sampled) -> dict[str, int]:
    """Return what went wrong, and how often."""
    found: dict[str, int] = {}
    for _, what in sampled.faults:
        found[what] = found.get(what, 0) + 1
    return found


def document(sampled: Sampled) -> dict[str, Any]:
    """Return what a meter has said as --json prints it."""
    seen = Followed(sampled).energy
    power = None if seen is None else power_of(seen)
    last = sampled.readings[-1] if sampled.readings else None
    return {
        **sampled.to_json(),
        "readings": len(sampled.readings),
        "energy": seen and seen.to_json(),
        "power": power and power[0].to_json(),
        "last": last and {name: getattr(last, name) for name in UNITS},
        "nothing": why_nothing(sampled),
        "flags": flags(sampled),
        "faults": faults(sampled),
        "doubts": [each.text for each in implausible(sampled.readings, sampled.spec)],
    }


UNITS = {
    "watts": "W",
    "volts": "V",
    "amperes": "A",
    "power_factor": "PF",
    "hertz": "Hz",
    "joules": "J",
}


def _now(reading: Reading) -> str:
    values = ((getattr(reading, name), unit) for name, unit in UNITS.items())
    return ", ".join(f"{value:.7g} {unit}" for value, unit in values if value is not None)


def _joules(seen: Energy) -> str:
    if seen.joules is None:
        return "-"
    return _told(Figure(seen.joules, seen.joules - 2 * seen.u, seen.joules + 2 * seen.u, "J"))


def _told(figure: Figure) -> str:
    """Show a figure that its uncertainty may swamp: rounded to that, it would read 0."""
    if figure.relative <= 1:
        return str(figure)
    value = show(figure.value, figure.unit)
    if figure.relative > VAGUE:
        return f"{value} ± more than {VAGUE:g} times that"
    return f"{value} ± {show(figure.U, figure.unit, 3)}"
