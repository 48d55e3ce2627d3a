"""A protocol: which steps an evaluation takes, within which limits; TOML, ours or the buyer's."""

from __future__ import annotations

import math
import tomllib
from dataclasses import asdict, dataclass, field, fields
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

from hwkit.errors import NotPermitted, PlanError
from hwkit.harness.plan import fraction, seconds
from hwkit.harness.steady import Gate

LARGEST = 1 << 16  # bytes of a protocol
NAMES = ("quick", "standard", "accept")
BEGIN_S = 15.0  # until a fed miner's first window opens, each time
BLOCK, SOAK, POWER_CYCLE, MODES, SWEEP = "block", "soak", "power-cycle", "modes", "sweep"
SET = (MODES, SWEEP)
TIMES_S = ("time", "warmup", "part", "off", "within")
# Of each kind, which words it takes beside kind and name.
WORDS = {
    BLOCK: {"time", "precision", "warmup", "settle"},
    SOAK: {"time", "part"},
    POWER_CYCLE: {"times", "off", "within", "time"},
    MODES: {"values", "time", "precision", "warmup"},
    SWEEP: {"of", "values", "time", "precision", "warmup"},
}
SWEPT = ("power-target", "frequency", "voltage", "any")  # any: the first of these that it has
RANGES = {"inlet_c": (-60.0, 120.0), "mains_v": (1.0, 1000.0)}


@dataclass(frozen=True, slots=True)
class Step:
    """One step; times in s."""

    kind: str
    name: str
    time: float = 60.0  # that is measured; of a setting each, of a power cycle after it
    precision: float | None = None
    warmup: float = 0.0
    settle: bool = False  # power and temperature are to settle first: the tuning gate
    part: float = 3600.0  # of a soak: a record each, and what a crash costs at most
    times: int = 1
    off: float = 10.0  # with the power cut
    within: float = 600.0  # it is to be back at 90 % of its rate
    values: tuple[str, ...] = ()  # modes in the firmware's words; numbers, or 80% of what is set
    of: str = ""  # of a sweep: what it is set of

    @property
    def longest_s(self) -> float:
        """How long it may take."""
        if self.kind == POWER_CYCLE:
            return self.times * (self.off + self.within + self.time + BEGIN_S)
        warmup = max(self.warmup, Gate().most_s) if self.settle else self.warmup
        parts = math.ceil(self.time / self.part) if self.kind == SOAK else 1
        return (warmup + self.time + parts * BEGIN_S) * max(len(self.values), 1)

    @property
    def needs(self) -> tuple[str, ...]:
        """What it cannot do without, beside the device."""
        return {POWER_CYCLE: ("outlet",), **dict.fromkeys(SET, ("settings",))}.get(self.kind, ())

    def word(self, value: str) -> str:
        """Return what is told for one of its values."""
        return f"{self.of}={value}" if self.of else value


@dataclass(frozen=True, slots=True)
class Limits:
    """What a device may do; fractions. Where each figure is from: docs/evaluate.md."""

    efficiency: float = 0.05  # over the nameplate's J/TH
    hardware_errors: float = 0.02  # of the nonces it finds
    rejects: float = 0.01  # of the shares it sends
    claim_gap: float = 0.03
    availability: float = 0.99
    temperature_c: float = 95.0  # its own hottest sensor
    temperature_u_c: float = 5.0  # by which such sensors may be off: nobody vouches for them


@dataclass(frozen=True, slots=True)
class Protocol:
    """A name, steps in their order, limits, and the conditions that a spec is meant for."""

    name: str
    steps: tuple[Step, ...]
    limits: Limits = field(default_factory=Limits)
    reference: dict[str, Any] = field(default_factory=dict)  # inlet_c, mains_v: [from, to]; mode

    @classmethod
    def named(cls, name: str) -> Self:
        """Return one of ours, or one in a file. Raises PlanError, NotPermitted."""
        if name in NAMES:
            data = files(__package__) / "protocols" / f"{name}.toml"
            return cls.parse(data.read_text("utf-8"), name)
        path = Path(name)
        if not path.is_file():
            raise PlanError(f"no protocol {name!r}: {', '.join(NAMES)}, or a file in TOML")
        try:
            with path.open("rb") as file:
                text = file.read(LARGEST + 1)
        except OSError as error:
            raise NotPermitted(name, f"it cannot be read: {error.strerror}") from error
        if len(text) > LARGEST:
            raise PlanError(f"{name}: more than {LARGEST} bytes are no protocol")
        try:
            return cls.parse(text.decode(), name)
        except UnicodeDecodeError as error:
            raise PlanError(f"{name}: not UTF-8") from error

    @classmethod
    def parse(cls, text: str, where: str) -> Self:
        """Read TOML. Raises PlanError that says what is wrong, and where."""
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise PlanError(f"{where}: not TOML: {error}") from error
        _only(document, {"name", "limits", "reference", "step"}, where)
        some = document.get("step", [])
        if not isinstance(some, list) or not some:
            raise PlanError(f"{where}: it has no [[step]]")
        steps = tuple(_step(each, f"{where}, step {n}") for n, each in enumerate(some, 1))
        if not any(step.kind == BLOCK for step in steps):
            raise PlanError(f"{where}: no step is a {BLOCK}: nothing would be measured")
        if len({step.name for step in steps}) < len(steps):
            raise PlanError(f"{where}: two steps have one name")
        limits = _limits(document.get("limits", {}), where)
        reference = _reference(document.get("reference", {}), where)
        return cls(str(document.get("name", where)), steps, limits, reference)

    def to_json(self) -> dict[str, Any]:
        """Return it whole, as it stands in an evaluation."""
        return asdict(self) | {"steps": [asdict(s) | {"values": [*s.values]} for s in self.steps]}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        """Read back what to_json wrote."""
        steps = tuple(
            Step(**each | {"values": tuple(each["values"])}) for each in document["steps"]
        )
        return cls(document["name"], steps, Limits(**document["limits"]), document["reference"])


def _step(said: Any, where: str) -> Step:  # noqa: ANN401 - whatever TOML has there
    kind = said.get("kind") if isinstance(said, dict) else None
    if not isinstance(kind, str) or kind not in WORDS:
        raise PlanError(f"{where}: kind is one of {', '.join(WORDS)}, not {kind!r}")
    _only(said, WORDS[kind] | {"kind", "name"}, where)
    given: dict[str, Any] = {"kind": kind, "name": str(said.get("name", kind))}
    for name in set(said) - set(given):
        given[name] = _word(name, said[name], f"{where}: {name}")
    step = Step(**given)
    if kind in SET and not step.values:
        raise PlanError(f"{where}: values names none")
    if kind == SWEEP and step.of not in SWEPT:
        raise PlanError(f"{where}: of is one of {', '.join(SWEPT)}, not {step.of!r}")
    if not (step.time > 0 and step.part > 0 and 1 <= step.times <= 100):
        raise PlanError(f"{where}: time and part lie above 0, times between 1 and 100")
    return step


def _word(name: str, value: Any, where: str) -> Any:  # noqa: ANN401
    if isinstance(value, str) and (name in TIMES_S or name == "precision"):
        try:
            return fraction(value) if name == "precision" else seconds(value)
        except PlanError as error:
            raise PlanError(f"{where}: {error}") from error
    if name == "settle" and isinstance(value, bool):
        return value
    if name == "times" and type(value) is int:
        return value
    if name == "values" and isinstance(value, list) and all(_is_value(v) for v in value):
        return tuple(str(each) for each in value)
    if name == "of" and isinstance(value, str):
        return value
    raise PlanError(f'{where}: {value!r} is none; times are "30min", precision "1%"')


def _is_value(value: Any) -> bool:  # noqa: ANN401
    return type(value) in {str, int, float} and value not in {"", "restore"}


def _limits(said: dict[str, Any], where: str) -> Limits:
    _only(said, {each.name for each in fields(Limits)}, f"{where}, limits")
    for name, value in said.items():
        if type(value) not in {int, float} or not (math.isfinite(value) and value >= 0):
            raise PlanError(f"{where}, limits: {name} is a number from 0 up, not {value!r}")
    return Limits(**{name: float(value) for name, value in said.items()})


def _reference(said: dict[str, Any], where: str) -> dict[str, Any]:
    where = f"{where}, reference"
    _only(said, {*RANGES, "mode"}, where)
    for name, value in said.items():
        if name == "mode":
            if not isinstance(value, str):
                raise PlanError(f"{where}: mode is a text, not {value!r}")
            continue
        numbers = isinstance(value, list) and all(type(v) in {int, float} for v in value)
        if not numbers or len(value) != 2 or not value[0] <= value[1]:
            raise PlanError(f"{where}: {name} is [from, to], not {value!r}")
    return said


def _only(said: Any, known: set[str], where: str) -> None:  # noqa: ANN401
    if not isinstance(said, dict):
        raise PlanError(f"{where}: it is to be a table")
    unknown = sorted(set(said) - known)
    if unknown:
        raise PlanError(
            f"{where}: {unknown[0]!r} is not known; there are {', '.join(sorted(known))}"
        )
