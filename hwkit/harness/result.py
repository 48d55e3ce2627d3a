"""The result block: J/TH, power and what they stand on, of each sum of meters that saw a run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from hwkit.harness import caveats
from hwkit.harness.correction import INDEPENDENT, corrected, doubts
from hwkit.harness.efficiency import Budget, Efficiency, Work, efficiency, power_of
from hwkit.harness.energy import Energy, energy, together
from hwkit.harness.plausible import Doubt, implausible, out_of_scale
from hwkit.harness.wiring import Wiring, shown
from hwkit.protocols import Basis

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hwkit.harness.caveats import Caveat
    from hwkit.harness.correction import Correction
    from hwkit.harness.wiring import Sum
    from hwkit.protocols import MeterSpec, Reading, Window
    from hwkit.units import Figure

    Metered = Sequence[tuple[MeterSpec, Sequence[Reading]]]

HARMLESS = {"wrap", "gap"}  # findings that are not a meter's fault, or have a caveat of their own


@dataclass(frozen=True, slots=True)
class Result:
    """What one meter, or one sum of meters, says of a run."""

    name: str  # the meter's, or the sum's: "a + b - c"
    energy: Energy
    efficiency: Efficiency | None
    idle: tuple[Energy, ...]
    doubts: tuple[Doubt, ...]
    parts: tuple[tuple[int, Energy], ...]  # what was summed, with signs
    seen: Mapping[str, float]  # medians of volts and power factor, of the first meter
    group: tuple[str, ...] = ()  # the devices that it is of, where they are several
    day: str | None = None  # of the run, ISO 8601

    @property
    def power(self) -> tuple[Figure, Budget] | None:
        """The mean power with its budget, also where no hash was done."""
        return power_of(self.energy)

    @property
    def idle_w(self) -> float | None:
        """The mean power before and after the work; None: not looked at."""
        known = [each for each in self.idle if each.joules is not None]
        joules = sum(each.joules or 0.0 for each in known)
        return joules / sum(each.time_s for each in known) if known else None

    def to_json(self) -> dict[str, Any]:
        """Return it as it stands in a record."""
        power = self.power
        told: dict[str, Any] = {"efficiency": None, "power": power and power[0].to_json()}
        if self.efficiency is not None:
            told |= self.efficiency.to_json()
        if len(self.parts) > 1:
            told["parts"] = [
                {"meter": part.specs[0].name, "sign": sign, "energy": part.to_json()}
                for sign, part in self.parts
            ]
        if self.group:
            told["group"] = list(self.group)
        return {
            "meter": self.name,
            "energy": self.energy.to_json(),
            "idle_w": self.idle_w,
            **self.seen,
            **told,
        }

    def caveats(self) -> list[Caveat]:
        """Return what a reader has to know beside it."""
        name, seen = self.name, self.energy
        found: list[Caveat] = []
        if seen.coverage < 1 or "gap" in {each.kind for each in seen.findings}:
            found.append(caveats.MeterGap(name, seen.coverage, seen.polling.largest_s))
        if seen.unchecked:
            unchecked = [
                spec.name
                for spec in seen.specs
                if spec.accuracy is None and spec.name not in seen.corrections
            ]
            found.append(caveats.UncheckedMeter(", ".join(unchecked)))
        claims = sorted({spec.provenance for spec in seen.specs} - INDEPENDENT)
        if claims:
            found.append(caveats.ClaimedEnergy(name, ", ".join(claims)))
        kinds = sorted({each.kind for each in seen.findings} - HARMLESS)
        if kinds:
            found.append(caveats.MeterFault(name, ", ".join(kinds)))
        if self.group:
            found.append(caveats.SharedMeter(", ".join(self.group)))
        found += [caveats.Implausible(doubt.text) for doubt in self.doubts]
        return found + (doubts(seen, self.day) if self.day else [])


@dataclass(frozen=True, slots=True)
class Partners:
    """What others on a shared meter did, in the window in which all of them worked."""

    opened: int  # monotonic ns
    closed: int
    work: tuple[tuple[str, Work], ...]  # of each by its record, which has the rows of it

    def to_json(self) -> dict[str, Any]:
        """Return it as it stands in a record."""
        work = [{"record": record, "work": asdict(work)} for record, work in self.work]
        return {"opened": self.opened, "closed": self.closed, "partners": work}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Partners:
        """Read back what to_json wrote. Raises as its types do."""
        work = [
            (str(each["record"]), Work(**each["work"] | {"basis": Basis(each["work"]["basis"])}))
            for each in document["partners"]
        ]
        return cls(int(document["opened"]), int(document["closed"]), tuple(work))


def results(
    metered: Metered,
    windows: Sequence[Window],
    basis: Basis,
    *,
    idle: Sequence[tuple[int, int]] = (),
    corrections: Mapping[str, Correction] | None = None,
    day: str | None = None,
    wiring: Wiring | None = None,
    partners: Partners | None = None,
    nominal_v: float | None = None,
) -> list[Result]:
    """Return the result of each sum over the time from the first window's opening to the end.

    Windows of a metered run follow each other without a gap. Without `wiring` each meter is a sum
    of its own. `corrections` are by the meter's name. A group's J/TH is that of the time in which
    all worked: without `partners` there is none.
    """
    if not windows:
        return []
    wiring = wiring or Wiring.side_by_side(spec.name for spec, _ in metered)
    by_name = {spec.name: (spec, readings) for spec, readings in metered}
    found = []
    for number, total in enumerate(wiring.sums):
        of_group = wiring.group if number == 0 else ()
        nameplate_w = wiring.nameplate_w if number == 0 else None
        opened, closed = windows[0].opened, windows[-1].closed
        if of_group and partners is not None:
            opened, closed = partners.opened, partners.closed
        some = [by_name[name] for _, name in total]
        parts = _parts(total, by_name, opened, closed, corrections)
        seen = _added(parts)
        work = work_within(windows, basis, seen.opened, seen.closed)
        if of_group and partners is not None:
            work = Work.together([work, *(each for _, each in partners.work)])
        alone = not of_group or partners is not None
        found.append(
            Result(
                shown(total),
                seen,
                efficiency(seen, work) if alone else None,
                tuple(_added(_parts(total, by_name, a, b, corrections)) for a, b in idle if a < b),
                _doubts(some, seen, shown(total), nameplate_w, nominal_v),
                parts,
                _medians(some[0][1], opened, closed),
                of_group,
                day,
            )
        )
    return found


def doubted(
    metered: Metered, wiring: Wiring, since: int, until: int, nominal_v: float | None
) -> tuple[Doubt, ...]:
    """Return what is not to be believed of the readings of a device at work, before it counts."""
    by_name = {spec.name: (spec, readings) for spec, readings in metered}
    found: list[Doubt] = []
    for number, total in enumerate(wiring.sums):
        some = [by_name[name] for _, name in total if by_name[name][1]]
        if len(some) == len(total) and since < until:
            seen = _added(_parts(total, by_name, since, until))
            nameplate_w = None if number else wiring.nameplate_w
            found += _doubts(some, seen, shown(total), nameplate_w, nominal_v)
    return tuple(found)


def work_within(windows: Sequence[Window], basis: Basis, opened: int, closed: int) -> Work:
    """Return the work of the energy's own window: a person reads a counter when they do."""
    hashes = shares = squares = largest = 0.0
    cut_s = 0.0
    for window in windows:
        inside = min(window.closed, closed) - max(window.opened, opened)
        part = max(inside / (window.closed - window.opened), 0.0)
        if part < 1:
            cut_s = max(cut_s, (window.closed - window.opened) / 1e9)
        hashes += part * window.hashes
        shares += part * window.shares
        if window.shares:  # of one difficulty, but in the window in which it changed
            each = window.hashes / window.shares
            squares += part * window.shares * each**2
            largest = max(largest, each)
    if basis is Basis.COUNTED:
        return Work.counted(round(hashes), cut_s)
    if basis is Basis.SHARES:
        return Work(hashes, basis, round(shares), squares, largest, cut_s)
    return Work.claimed(hashes)


def _parts(
    total: Sum,
    by_name: Mapping[str, tuple[MeterSpec, Sequence[Reading]]],
    a: int,
    b: int,
    corrections: Mapping[str, Correction] | None = None,
) -> tuple[tuple[int, Energy], ...]:
    found = []
    for sign, name in total:
        spec, readings = by_name[name]
        seen = energy(readings, spec, a, b)
        found.append((sign, corrected(seen, (corrections or {}).get(name))))
    return tuple(found)


def _added(parts: Sequence[tuple[int, Energy]]) -> Energy:
    """Return the sum; one meter with a plus is itself."""
    return parts[0][1] if len(parts) == 1 and parts[0][0] > 0 else together(parts)


def _doubts(
    some: Metered, seen: Energy, name: str, nameplate_w: float | None, nominal_v: float | None
) -> tuple[Doubt, ...]:
    found: list[Doubt] = []
    for spec, readings in some:
        within = [reading for reading in readings if seen.opened <= reading.at <= seen.closed]
        found += implausible(within, spec, nominal_v=nominal_v)
    mean_w = None if seen.joules is None else seen.joules / seen.time_s
    scale = out_of_scale(name, mean_w, nameplate_w)
    return (*found, scale) if scale else tuple(found)


def _medians(readings: Sequence[Reading], opened: int, closed: int) -> dict[str, float]:
    found = {}
    for name in ("volts", "power_factor"):
        values = [getattr(each, name) for each in readings if opened <= each.at <= closed]
        known = [value for value in values if value is not None]
        if known:
            found[name] = median(known)
    return found
