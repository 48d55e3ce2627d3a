"""A row of a dialect: which value of Telemetry lies where, in which unit, and how it is read.

The unit goes with the row and is never guessed from the size of a number; what an answer says of
its own unit ("58.94W", a member rate_unit) wins over the row's.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hwkit.errors import PlanError
from hwkit.hashers.asic.dialects_paths import Condition, Place, text
from hwkit.protocols import Provenance, Scope
from hwkit.units import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

# Of each quantity the unit that Telemetry has it in, and what the others are of it.
QUANTITIES: Mapping[str, Mapping[str, float]] = {
    "hashrate": {
        "H/s": 1.0,
        "kH/s": 1e3,
        "MH/s": 1e6,
        "GH/s": 1e9,
        "TH/s": 1e12,
        "PH/s": 1e15,
    },
    "solutions": {"Sol/s": 1.0, "kSol/s": 1e3},  # Equihash
    "hashes": {"H": 1.0, "kH": 1e3, "MH": 1e6, "GH": 1e9, "TH": 1e12},
    "power": {"W": 1.0, "kW": 1e3, "mW": 1e-3},
    "temperature": {"°C": 1.0, "m°C": 1e-3},
    "rotation": {"RPM": 1.0},
    "frequency": {"MHz": 1.0, "GHz": 1e3, "kHz": 1e-3, "Hz": 1e-6},
    "voltage": {"V": 1.0, "mV": 1e-3, "cV": 1e-2},
    "time": {"s": 1.0, "ms": 1e-3, "min": 60.0, "h": 3600.0},
    "fraction": {"1": 1.0, "%": 0.01},
    "count": {"": 1.0},
    "words": {"text": 1.0},
}
UNITS = {
    unit: (name, factor) for name, units in QUANTITIES.items() for unit, factor in units.items()
}
# As miners spell them behind a number, or in a member of its own.
SPELLINGS = {unit.lower(): unit for unit in UNITS if unit not in {"", "1", "text", "mW"}} | {
    "gh": "GH/s", "ghs": "GH/s", "mh": "MH/s", "mhs": "MH/s", "th": "TH/s", "ths": "TH/s",
    "kh": "kH/s", "khs": "kH/s", "h": "H/s", "ksol/s": "kSol/s", "sol/s": "Sol/s",
    "c": "°C", "℃": "°C", "watt": "W", "watts": "W", "sec": "s",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Of:
    """What a field of Telemetry is: its quantities, and limits past which it is no such thing.

    The limits are those of reason, not of engineering: a counter that has wrapped and a sensor that
    answers -1 are past them, a strange machine is not.
    """

    quantities: tuple[str, ...]
    low: float = 0.0
    high: float = math.inf
    many: bool = False
    zero_is_absent: bool = False


_RATE = Of(("hashrate", "solutions"), high=1e19)
_SHARES = Of(("count",), high=1e12)
_DIFFICULTY = Of(("count",), high=1e19)
_WORDS = Of(("words",))
FIELDS: Mapping[str, Of] = {
    "make": _WORDS,
    "model": _WORDS,
    "firmware": _WORDS,
    "serial": _WORDS,
    "mac": _WORDS,
    "hostname": _WORDS,
    "algorithm": _WORDS,
    "mode": _WORDS,
    "tuning": _WORDS,
    "errors": Of(("words",), many=True),
    "hashrates_h_s": Of(("hashrate", "solutions"), high=1e19, many=True),
    "boards_h_s": Of(("hashrate", "solutions"), high=1e19, many=True),
    "expected_h_s": _RATE,
    "errors_h_s": _RATE,
    "hashrate_target_h_s": _RATE,
    "power_w": Of(("power",), high=1e6),
    "power_target_w": Of(("power",), high=1e6, zero_is_absent=True),
    # A sensor that is not there reads 0, at every make.
    "temperatures_c": Of(("temperature",), low=-60.0, high=250.0, many=True, zero_is_absent=True),
    "fans_rpm": Of(("rotation",), high=1e5, many=True),
    "fans": Of(("count",), high=1e3),
    "chips": Of(("count",), high=1e5),
    "frequency_mhz": Of(("frequency",), high=1e5, zero_is_absent=True),
    "voltage_v": Of(("voltage",), high=1e3, zero_is_absent=True),
    "hardware_errors": Of(("count",), high=1e15),
    "hardware_error_rate": Of(("fraction",), high=1.0),
    "diverted": Of(("fraction",), high=1.0),
    "accepted": _SHARES,
    "rejected": _SHARES,
    "stale": _SHARES,
    "difficulty_accepted": _DIFFICULTY,
    "difficulty_rejected": _DIFFICULTY,
    "difficulty_stale": _DIFFICULTY,
    "total_hashes": Of(("hashes",), high=1e28),
    "elapsed_s": Of(("time",), high=2e9),
}
# What programs write for "none": -1 in 32 and 64 bits, signed and not.
NONE = frozenset({-1.0, 2.0**31 - 1, 2.0**32 - 1, 2.0**63, 2.0**64})
TAKES: Mapping[str, Callable[[list[float]], float]] = {
    "sum": sum,
    "max": max,
    "min": min,
    "mean": lambda all_: sum(all_) / len(all_),
    "count": lambda all_: float(len(all_)),
}
_NUMBER = re.compile(r"\s*([-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?)\s*(\S*)")
LONGEST = 200  # characters of a text


@dataclass(frozen=True, slots=True)
class Row:
    """One row. `at` and the like are places; `take` makes one of several."""

    of: str
    at: Place | None
    unit: str
    label: str = ""
    label_at: re.Pattern[str] | None = None  # in the last word of a source: its group is the label
    says: str | None = None  # in place of `at`: what the dialect itself knows
    take: str | None = None
    split: str | None = None  # a regex between several numbers in one text
    item: int | None = None  # which of them
    match: re.Pattern[str] | None = None  # of a text, its first group
    words: Mapping[str, str] | None = None  # texts, and what they mean
    absent: tuple[float, ...] = ()
    when: Condition | None = None
    unit_at: Place | None = None
    provenance: Provenance = Provenance.ESTIMATED
    scope: Scope = Scope.WALL

    @classmethod
    def parse(cls, said: Mapping[str, Any]) -> Row:
        """Read a row of TOML. Raises PlanError for words that make no sense."""
        of, unit = said.get("of", ""), said.get("unit", "text" if "is" in said else "")
        if of not in FIELDS:
            raise PlanError(f"row {said}: of is one of {', '.join(FIELDS)}")
        if FIELDS[of].quantities == ("words",):
            unit = "text"
        if unit not in {"rate", "total"} and UNITS.get(unit, ("",))[0] not in FIELDS[of].quantities:
            raise PlanError(f"row {said}: {unit!r} is no unit of {of}")
        known = set(cls.__dataclass_fields__) - {"says"} | {"is"}
        if unknown := set(said) - known or ("at" in said) == ("is" in said):
            raise PlanError(
                f"row {said}: it has at or is, and of the rest {sorted(known)}: {unknown}"
            )
        if said.get("take", "sum") not in TAKES:
            raise PlanError(f"row {said}: take is one of {', '.join(TAKES)}")
        return cls(
            of=of,
            at=Place.parse(said["at"]) if "at" in said else None,
            says=said.get("is"),
            unit=unit,
            label=said.get("label", ""),
            label_at=re.compile(said["label_at"]) if "label_at" in said else None,
            take=said.get("take"),
            split=said.get("split"),
            item=said.get("item"),
            match=re.compile(said["match"]) if "match" in said else None,
            words=said.get("words"),
            absent=tuple(said.get("absent", ())),
            when=Condition.parse(said["when"]) if "when" in said else None,
            unit_at=Place.parse(said["unit_at"]) if "unit_at" in said else None,
            provenance=Provenance(said.get("provenance", Provenance.ESTIMATED)),
            scope=Scope(said.get("scope", Scope.WALL)),
        )

    def labelled(self, source: str) -> str:
        """Return the label of what was found there."""
        found = self.label_at and self.label_at.search(source.rpartition("/")[2])
        return found[1] if found else self.label

    def texts(self, documents: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield source and text wherever there is any."""
        if self.when is not None and not self.when.holds(documents):
            return
        if self.at is None:
            yield "known of this dialect", self.says or ""
            return
        for source, raw in self.at.find(documents):
            said = "" if isinstance(raw, (dict, list)) else plain(text(raw))[:LONGEST].strip()
            if self.match is not None:
                found = self.match.search(said)
                said = found[1].strip() if found and found[1] else ""
            if self.words is not None:
                said = _meant(self.words, said)
            if said:
                yield source, said

    def numbers(
        self, documents: Mapping[str, Any], units: Mapping[str, str]
    ) -> Iterator[tuple[str, float | str, str]]:
        """Yield source, number and unit; a text in place of the number is why there is none.

        `units` says what "rate" and "total" are of this model.
        """
        if self.when is not None and not self.when.holds(documents):
            return
        usual = units.get(self.unit, self.unit)
        if self.unit_at is not None:
            for _, said in self.unit_at.find(documents):
                usual = SPELLINGS.get(text(said).lower(), usual)
        quantity = UNITS.get(usual, ("",))[0]
        if self.at is None or quantity not in FIELDS[self.of].quantities:
            return
        for source, raw in self.at.find(documents):
            for number, unit in self._pieces(raw):
                if isinstance(number, str):
                    yield source, number, usual
                elif number in self.absent or (number == 0 and FIELDS[self.of].zero_is_absent):
                    continue
                elif number in NONE:
                    yield source, f"{number:.20g} stands for none", usual
                else:
                    told = unit if UNITS.get(unit, ("",))[0] == quantity else usual
                    factor = UNITS[told][1]
                    base = next(iter(QUANTITIES[quantity]))
                    yield source, _limited(self.of, number * factor, base), base

    def _pieces(self, raw: object) -> Iterator[tuple[float | str, str]]:
        pieces: Iterable[object] = (raw,)
        if self.split is not None and isinstance(raw, str):
            pieces = [piece for piece in re.split(self.split, raw.strip()) if piece.strip()]
        elif isinstance(raw, list) and all(not isinstance(each, (dict, list)) for each in raw):
            pieces = raw
        if self.item is not None:
            pieces = list(pieces)[self.item : self.item + 1]
        for piece in pieces:
            yield from number(piece)


def number(raw: object) -> Iterator[tuple[float | str, str]]:
    """Yield the number that something is, or begins with, and the unit behind it.

    Nothing of "" and null; why of what is past all floats.
    """
    if isinstance(raw, bool) or not isinstance(raw, (int, float, str)):
        return
    unit = ""
    if isinstance(raw, str):
        found = _NUMBER.match(raw[:LONGEST])
        if found is None:
            return
        raw, unit = found[1], SPELLINGS.get(found[2].lower(), "")
    try:
        value = float(raw)
    except OverflowError:
        value = math.inf
    if math.isfinite(value):
        yield value, unit
    else:
        yield f"{str(raw)[:20]} is no number", ""


def _meant(words: Mapping[str, str], said: str) -> str:
    found = (meant for looks, meant in words.items() if re.search(looks, said, re.IGNORECASE))
    return next(found, "")


def _limited(of: str, value: float, unit: str) -> float | str:
    limits = FIELDS[of]
    if limits.low <= value <= limits.high:
        return value
    return f"{value:.6g} {unit}".rstrip() + " is past all reason"
