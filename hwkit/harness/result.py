"""The result block: J/TH, power and what they stand on, of each meter that saw a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hwkit.harness import caveats
from hwkit.harness.correction import INDEPENDENT, corrected, doubts
from hwkit.harness.efficiency import Budget, Efficiency, Work, efficiency, power_of
from hwkit.harness.energy import Energy, Grade, energy
from hwkit.harness.plausible import implausible
from hwkit.protocols import Basis

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hwkit.harness.caveats import Caveat
    from hwkit.harness.correction import Correction
    from hwkit.harness.plausible import Doubt
    from hwkit.protocols import MeterSpec, Reading, Window
    from hwkit.units import Figure
    from hwkit.work import Target

HARMLESS = {"wrap", "gap"}  # findings that are not a meter's fault, or have a caveat of their own


@dataclass(frozen=True, slots=True)
class Result:
    """What one meter says of a run."""

    spec: MeterSpec
    energy: Energy
    efficiency: Efficiency | None
    idle: tuple[Energy, ...]
    doubts: tuple[Doubt, ...]
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
        told = {"efficiency": None, "power": power and power[0].to_json()}
        if self.efficiency is not None:
            told |= self.efficiency.to_json()
        return {
            "meter": self.spec.name,
            "energy": self.energy.to_json(),
            "idle_w": self.idle_w,
            **told,
        }

    def caveats(self) -> list[Caveat]:
        """Return what a reader has to know beside it."""
        name, seen = self.spec.name, self.energy
        found: list[Caveat] = []
        if seen.grade is not Grade.FULL:
            found.append(caveats.MeterGap(name, seen.coverage, seen.polling.largest_s))
        if seen.unchecked:
            found.append(caveats.UncheckedMeter(name))
        if self.spec.provenance not in INDEPENDENT:
            found.append(caveats.ClaimedEnergy(name, self.spec.provenance.value))
        kinds = sorted({each.kind for each in seen.findings} - HARMLESS)
        if kinds:
            found.append(caveats.MeterFault(name, ", ".join(kinds)))
        found += [caveats.Implausible(doubt.text) for doubt in self.doubts]
        return found + (doubts(self.energy, self.day) if self.day else [])


def results(
    metered: Sequence[tuple[MeterSpec, Sequence[Reading]]],
    windows: Sequence[Window],
    basis: Basis,
    target: Target,
    *,
    idle: Sequence[tuple[int, int]] = (),
    corrections: Mapping[str, Correction] | None = None,
    day: str | None = None,
    nameplate_w: float | None = None,
) -> list[Result]:
    """Return the result of each meter over the time from the first window's opening to the end.

    Windows of a metered run follow each other without a gap. `corrections` are by the meter's name.
    """
    if not windows:
        return []
    opened, closed = windows[0].opened, windows[-1].closed
    found = []
    for spec, readings in metered:
        correction = (corrections or {}).get(spec.name)
        seen = corrected(energy(readings, spec, opened, closed), correction)
        within = [reading for reading in readings if opened <= reading.at <= closed]
        found.append(
            Result(
                spec,
                seen,
                efficiency(seen, _work(windows, basis, target, seen)),
                tuple(
                    corrected(energy(readings, spec, a, b), correction) for a, b in idle if a < b
                ),
                implausible(within, spec, nameplate_w),
                day,
            )
        )
    return found


def _work(windows: Sequence[Window], basis: Basis, target: Target, seen: Energy) -> Work:
    """Return the work of the energy's own window: a person reads a counter when they do."""
    hashes = shares = 0.0
    cut_s = 0.0
    for window in windows:
        inside = min(window.closed, seen.closed) - max(window.opened, seen.opened)
        part = max(inside / (window.closed - window.opened), 0.0)
        if part < 1:
            cut_s = max(cut_s, (window.closed - window.opened) / 1e9)
        hashes += part * window.hashes
        shares += part * window.shares
    if basis is Basis.COUNTED:
        return Work.counted(round(hashes), cut_s)
    if basis is Basis.SHARES:
        return Work.of_shares([float(target.difficulty)] * round(shares), cut_s)
    return Work.claimed(hashes)
