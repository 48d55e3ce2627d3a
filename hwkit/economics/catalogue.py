"""Nameplates as data: what makers say of their models, and how far to believe it."""

from __future__ import annotations

import csv
import math
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from hwkit.errors import PlanError
from hwkit.protocols import Scope

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Where no tolerance is stated: the narrowest that makers quote (Antminer S19 Pro: 3 % and 5 %).
ASSUMED_HASHRATE, ASSUMED_POWER = 0.03, 0.05
COLUMNS = (
    "maker",
    "model",
    "hashrate_th_s",
    "power_w",
    "hashrate_tolerance",
    "power_tolerance",
    "boundary",
    "cooling",
    "release",
    "confidence",
    "source",
)
NEEDED = ("model", "hashrate_th_s", "power_w")
LARGEST = 1 << 20  # bytes of a user's own list
LEAST = 1e-12  # of a TH/s is 1 H/s


@dataclass(frozen=True, slots=True)
class Nameplate:
    """One bin of one model as its maker states it; tolerances are fractions."""

    model: str
    hashrate_th_s: float
    power_w: float
    maker: str | None = None
    hashrate_tolerance: float | None = None  # None: none was found stated
    power_tolerance: float | None = None
    boundary: str = "wall"  # as in protocols.Scope
    cooling: str | None = None
    release: str | None = None  # year and month
    confidence: str | None = None
    source: str | None = None

    @property
    def efficiency_j_th(self) -> float:
        """What hashrate and power make; makers' own figures are rounded."""
        return self.power_w / self.hashrate_th_s

    @property
    def family(self) -> str:
        """The name that its bins share."""
        return self.model.partition(" (")[0]

    @property
    def tolerances(self) -> tuple[float, float]:
        """Tolerance of hashrate and of power: as stated, else as assumed."""
        stated = (self.hashrate_tolerance, self.power_tolerance)
        assumed = (ASSUMED_HASHRATE, ASSUMED_POWER)
        return tuple(b if a is None else a for a, b in zip(stated, assumed, strict=True))  # type: ignore[return-value]

    @property
    def assumed(self) -> bool:
        """Is either tolerance an assumption of ours?"""
        return self.hashrate_tolerance is None or self.power_tolerance is None

    def to_json(self) -> dict[str, Any]:
        """Return it as --json prints it."""
        kept: dict[str, Any] = {name: getattr(self, name) for name in COLUMNS}
        return kept | {"efficiency_j_th": self.efficiency_j_th, "family": self.family}


@cache
def shipped() -> tuple[Nameplate, ...]:
    """Return the nameplates that come with the package."""
    data = files(__name__.rpartition(".")[0]) / "data" / "models.csv"
    return tuple(read_models(data.read_text("utf-8"), "models.csv"))


def read_models(text: str, where: str) -> list[Nameplate]:
    """Read nameplates from CSV with a line of names; of them NEEDED must be there.

    Raises PlanError that says what is wrong, and in which line.
    """
    if len(text) > LARGEST:
        raise PlanError(f"{where}: {len(text)} characters are no list of models")
    rows = csv.DictReader(text.splitlines(), strict=True)
    names = rows.fieldnames or ()
    if not set(NEEDED) <= set(names) <= set(COLUMNS):
        raise PlanError(f"{where}: its first line names {', '.join(COLUMNS)}, or some of them")
    if len(set(names)) < len(names):
        raise PlanError(f"{where}: its first line names a column twice")
    try:
        found = [_nameplate(row, f"{where}, line {number}") for number, row in enumerate(rows, 2)]
    except csv.Error as error:
        raise PlanError(f"{where}: not CSV: {error}") from error
    twice = [model for model, n in Counter(each.model for each in found).items() if n > 1]
    if twice:
        raise PlanError(f"{where}: {twice[0]!r} comes twice")
    return found


def matching(pattern: str, known: Iterable[Nameplate]) -> list[Nameplate]:
    """Return the models that have all words of a pattern in their names, case and marks aside."""
    words = _words(pattern)
    return [each for each in known if set(words) <= set(_words(f"{each.maker} {each.model}"))]


def find(name: str, known: Sequence[Nameplate]) -> Nameplate:
    """Return the one model of this name; "S21 XP" will do, or "S21 XP (270)" where there are bins.

    "S21 (270 TH)" is no S21 XP: the family's last words are named, all of them. Raises PlanError
    where there is none, or several: then it names them.
    """
    words = _words(name)
    exact = [each for each in known if _words(each.model) == words]
    some = exact or [each for each in known if _names(words, each)]
    if not some:
        near = "; ".join(_near(words, known))
        raise PlanError(
            f"no model {name!r}{near and f', but {near}'}: see hwkit models, or give your own "
            "with --models"
        )
    if len({each.model for each in some}) > 1:
        names = "; ".join(each.model for each in some[:6])
        raise PlanError(f"model {name!r} is several: {names}{'; ...' if len(some) > 6 else ''}")
    return some[-1]  # a user's own list comes last, and goes before ours


def _names(words: list[str], plate: Nameplate) -> bool:
    """Are these the last words of a family, and then some of the bin's?"""
    family = _words(f"{plate.maker or ''} {plate.family}")
    of_bin = set(_words(plate.model[len(plate.family) :]))
    return not words or any(
        family[-k:] == words[:k] and set(words[k:]) <= of_bin for k in range(1, len(words) + 1)
    )


def _near(words: list[str], known: Iterable[Nameplate]) -> list[str]:
    """Return a few models that share words with a name, those with most of them first."""
    shared = {each.model: len({*words} & {*_words(each.model)} - {"th"}) for each in known}
    near = sorted((model for model, n in shared.items() if n), key=lambda model: -shared[model])
    return near[:4]


def _words(name: str) -> list[str]:
    return re.findall(r"[a-z0-9.+]+", name.lower())


def _nameplate(row: dict[str, str | None], where: str) -> Nameplate:
    if None in row or None in row.values():
        raise PlanError(f"{where}: it has not as many fields as the first line has names")
    said = {name: text.strip() for name, text in row.items() if text and text.strip()}
    fields: dict[str, Any] = dict(said)
    for name in ("hashrate_th_s", "power_w", "hashrate_tolerance", "power_tolerance"):
        if name in said:
            most = 0.5 if name.endswith("tolerance") else 1e6
            fields[name] = _number(said[name], most, f"{where}: {name}")
    if said.get("boundary", Scope.WALL) not in set(Scope):
        raise PlanError(f"{where}: boundary is {', '.join(Scope)}, not {said['boundary']!r}")
    for name in NEEDED:
        if name not in fields:
            raise PlanError(f"{where}: {name} is missing")
    return Nameplate(**fields)


def _number(text: str, most: float, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not LEAST <= value <= most:
        raise PlanError(f"{where} is a number above 0 and up to {most:g}, not {text!r}")
    return value
