"""What pyasic-rs has read off a miner, as our Telemetry: tagged, in our units, held to reason.

Every source is "pyasic-rs: FIELD" of its MinerData. It does not say of a rate which window it is
of, nor of power who has measured it and what it includes. Where 0 is what it fills in for nothing
(ABSENT_AT_0, and sensors), 0 is absent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from hwkit.hashers.asic.dialects_checks import checked
from hwkit.hashers.asic.dialects_rows import FIELDS, LONGEST, NONE, SPELLINGS, UNITS
from hwkit.hashers.asic.telemetry import Finding, Pool, Power, T, Telemetry, Value
from hwkit.units import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NAME = "pyasic-rs"
WINDOW = "window not told"
ABSENT_AT_0 = {"chips", "fans", "expected_h_s", "power_w", "hashrate_target_h_s"}
ALGORITHMS = {"SHA256": "sha256d"}


def reading(said: Mapping[str, Any], at: int) -> Telemetry:
    """Return a MinerData, as its model_dump() has it, read at a monotonic ns.

    Left out are its `uptime`, which is the system's while no counter is told, and what it has
    computed: `efficiency`, `average_temperature`.
    """
    found = _Found(said)
    known_as, rate = found.text("device_info.firmware"), found.rate("hashrate", "hashrates_h_s")
    boards = found.each("hashboards")
    telemetry = Telemetry(
        dialect=f"{NAME}: {known_as.value}" if known_as else NAME,
        at=at,
        make=found.text("device_info.make"),
        model=found.text("device_info.model"),
        firmware=found.text("firmware_version"),
        serial=found.text("serial_number"),
        mac=found.text("mac"),
        hostname=found.text("hostname"),
        algorithm=_algorithm(found.text("device_info.algo")),
        hashrate_h_s=rate,
        hashrates_h_s=_there(rate),
        boards_h_s=_there(*(found.rate(f"{board}.hashrate", "boards_h_s") for board in boards)),
        expected_h_s=found.rate("expected_hashrate", "expected_h_s", ""),
        power_w=found.power("wattage"),
        temperatures_c=_there(*found.temperatures(boards)),
        fans_rpm=_there(
            *(found.number(f"{fan}.rpm", "fans_rpm", "RPM") for fan in found.each("fans")),
            *(
                found.number(f"{fan}.rpm", "fans_rpm", "RPM", "supply")
                for fan in found.each("psu_fans")
            ),
        ),
        fans=found.number("expected_fans", "fans", ""),
        chips=found.number("total_chips", "chips", ""),
        frequency_mhz=found.mean(boards, "frequency", "frequency_mhz", "MHz"),
        voltage_v=found.mean(boards, "voltage", "voltage_v", "V"),
        tuning=found.tuning(boards),
        pools=tuple(found.pools()),
        errors=_there(*(found.text(f"{each}.message") for each in found.each("messages"))),
        **found.target(),
    )
    return checked(telemetry, found.findings)


@dataclass(frozen=True, slots=True)
class _Found:
    """Its values by dotted path; what is none is absent, and a finding where that says why."""

    said: Mapping[str, Any]
    findings: list[Finding] = field(default_factory=list)

    def at(self, path: str) -> Any:  # noqa: ANN401 - JSON
        what: Any = self.said
        for name in path.split("."):
            if isinstance(what, list) and name.isdigit():
                what = what[int(name)]
            else:
                what = what.get(name) if isinstance(what, dict) else None
        return what

    def each(self, path: str) -> list[str]:
        """Return the paths of what is listed there."""
        what = self.at(path)
        return [f"{path}.{i}" for i in range(len(what))] if isinstance(what, list) else []

    def text(self, path: str) -> Value[str] | None:
        what = self.at(path)
        said = plain(what)[:LONGEST].strip() if isinstance(what, str) else ""
        return Value(said, "text", f"{NAME}: {path}") if said else None

    def number(
        self, path: str, of: str, unit: str, label: str = "", factor: float = 1.0
    ) -> Value[float] | None:
        what = self.at(path)
        if isinstance(what, bool) or not isinstance(what, (int, float)):
            return None
        value, limits = float(what) * factor, FIELDS[of]
        if value == 0 and (limits.zero_is_absent or of in ABSENT_AT_0):
            return None
        if what in NONE or not limits.low <= value <= limits.high:  # nor is nan within
            self._taken_as_absent(path, of, f"{value:.6g} is past all reason, or stands for none")
            return None
        return Value(value, unit, f"{NAME}: {path}", label)

    def rate(self, path: str, of: str, label: str = WINDOW) -> Value[float] | None:
        """Return a HashRate: its unit stands beside its value."""
        if not isinstance(self.at(path), dict):
            return None
        unit = self.at(f"{path}.unit")
        quantity, factor = UNITS[SPELLINGS.get(str(unit).lower(), "text")]
        if quantity != "hashrate":
            self._taken_as_absent(path, of, f"{plain(unit)[:20]!r} is no unit of a rate")
            return None
        found = self.number(f"{path}.value", of, "H/s", label, factor)
        return found and replace(found, source=f"{NAME}: {path}")

    def power(self, path: str) -> Power | None:
        found = self.number(path, "power_w", "W")
        if found is None:
            return None
        return Power(found.value, "W", found.source, provenance=None, scope=None)

    def mean(self, boards: list[str], name: str, of: str, unit: str) -> Value[float] | None:
        told = _there(*(self.number(f"{board}.{name}", of, unit) for board in boards))
        if not told:
            return None
        mean = math.fsum(each.value for each in told) / len(told)
        return Value(mean, unit, f"mean({len(told)}) of {told[0].source} ...")

    def temperatures(self, boards: list[str]) -> Iterator[Value[float] | None]:
        for name, label in (
            ("board_temperature", "board"),
            ("inlet_chip_temperature", "coolest chip"),
            ("outlet_chip_temperature", "hottest chip"),
        ):
            for board in boards:
                yield self.number(f"{board}.{name}", "temperatures_c", "°C", label)
        yield self.number("fluid_temperature", "temperatures_c", "°C", "air or fluid")
        yield self.number("outlet_fluid_temperature", "temperatures_c", "°C", "fluid out")

    def tuning(self, boards: list[str]) -> Value[str] | None:
        """One that is not tuned need not be tuning."""
        tuned = [self.at(f"{board}.tuned") for board in boards]
        done = bool(tuned) and all(each is True for each in tuned)
        return Value("done", "text", f"{NAME}: hashboards.*.tuned") if done else None

    def target(self) -> dict[str, Any]:
        kind, path = self.at("tuning_target.type"), "tuning_target.value"
        if kind == "power":
            return {"power_target_w": self.number(path, "power_target_w", "W")}
        if kind == "hashrate":
            return {"hashrate_target_h_s": self.rate(path, "hashrate_target_h_s", "")}
        return {"mode": self.text(path)}

    def pools(self) -> Iterator[Pool]:
        paths = [path for group in self.each("pools") for path in self.each(f"{group}.pools")]
        for number, path in enumerate(paths):
            alive, active = self.at(f"{path}.alive"), self.at(f"{path}.active")
            yield Pool(
                number,
                f"{NAME}: {path}",
                url=_bare(self.text(f"{path}.url")),
                user=_bare(self.text(f"{path}.user")),
                status=("Alive" if alive else "Dead") if isinstance(alive, bool) else None,
                active=active if isinstance(active, bool) else None,
                accepted=_bare(self.number(f"{path}.accepted_shares", "accepted", "")),
                rejected=_bare(self.number(f"{path}.rejected_shares", "rejected", "")),
            )

    def _taken_as_absent(self, path: str, of: str, why: str) -> None:
        self.findings.append(Finding(of, f"{NAME}: {path}", f"{why}: taken as absent"))


def _algorithm(told: Value[str] | None) -> Value[str] | None:
    return told and replace(told, value=ALGORITHMS.get(told.value, told.value.lower()))


def _bare(told: Value[T] | None) -> T | None:
    return None if told is None else told.value


def _there(*values: Value[T] | None) -> tuple[Value[T], ...]:
    return tuple(value for value in values if value is not None)
