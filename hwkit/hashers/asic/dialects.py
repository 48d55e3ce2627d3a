"""Dialects: what a firmware is asked, how it is known, and where it says what; data/*.toml each.

    name = "antminer"
    base = "cgminer"                   # whose rows hold where this one's say nothing
    without = ["total_hashes"]         # but for these fields
    sources = ["..."]                  # what the rows were held against
    rank = 50                          # of several that recognise it, the highest
    better = ["vnish"]                 # of one that speaks both, this
    known_by = ["version /VERSION/0/Type ~ Antminer"]          # any; "A & B" is both
    rate = "GH/s"                      # the unit "rate"; `total` is that of Total MH
    prepare = ["brackets stats"]       # a function of dialects_prepare, and whose answer it mends
    asks = [{ name = "stats" }]        # see Ask
    rows = [{ of = "chips", at = "stats /STATS/1/chain_acn#", take = "sum" }]     # see Row
    pools = [{ at = "pools /POOLS/*", url = "/URL" }]
    models = [{ match = "L3", algorithm = "scrypt", rate = "MH/s" }]
    settings = [{ name = "mode", at = "summary /MODE", send = "setmode" }]      # see settings.py

Rows of one field and label are alternatives: the first that finds something holds.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from hwkit.errors import PlanError, ProtocolError
from hwkit.hashers.asic import dialects_prepare
from hwkit.hashers.asic.dialects_checks import checked
from hwkit.hashers.asic.dialects_paths import Condition, Place, text, walk
from hwkit.hashers.asic.dialects_rows import FIELDS, TAKES, Row, number
from hwkit.hashers.asic.telemetry import Finding, Pool, Power, Telemetry, Value
from hwkit.units import plain
from hwkit.wire.cgminer import status

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hwkit.wire.cgminer import Reply

VIA = ("cgminer", "text", "http", "post", "whatsminer3")
_POOL = ("url", "port", "user", "status", "active", "accepted", "rejected", "stale")
_POOL_WORDS = {"at", "fee", "difficulty_accepted", *_POOL}


@dataclass(frozen=True, slots=True)
class Ask:
    """One question. `name` is what answers and captures call it.

    via says how: cgminer (a JSON command at port 4028), text (the same as text), http (GET of a
    path), post (of a document), whatsminer3 (a command at port 4433).
    """

    name: str
    via: str = "cgminer"
    command: str = ""  # else the name
    parameter: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)  # further members of a request
    path: str = ""
    body: Mapping[str, Any] | None = None
    port: int | None = None  # of HTTP, where it is not the usual one
    optional: bool = False  # many do not answer it


@dataclass(frozen=True, slots=True)
class Login:
    """How HTTP wants to know who asks; user and password come from the user's credentials."""

    how: str  # digest, basic, or token
    user: str = ""  # the usual name, no secret
    path: str = ""  # of token: where user and password are posted
    body: Mapping[str, str] = field(default_factory=dict)  # with {user} and {password}
    token: str = ""  # a pointer to it in the answer
    header: str = "Authorization"
    value: str = "{token}"


@dataclass(frozen=True, slots=True)
class Setting:
    """One of its settings that its API changes: see settings.py."""

    name: str
    at: str
    send: str  # METHOD PATH, or a command of the cgminer API
    body: str = "%s"  # JSON, or a command's parameter
    rows: str = ""
    by: str = ""
    sent: str = ""
    session: bool = False
    when: Condition | None = None

    @classmethod
    def parse(cls, said: Mapping[str, Any]) -> Setting:
        """Read a row. Raises PlanError, and TypeError for a word that nobody reads."""
        Place.parse(said["at"])
        when = Condition.parse(said["when"]) if "when" in said else None
        return cls(**{**said, "when": when})


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one family of firmwares says things. A model is a row of it, never a class."""

    name: str
    title: str
    sources: tuple[str, ...]
    commands: tuple[Ask, ...]
    rank: int
    known_by: tuple[tuple[Condition, ...], ...]
    rows: tuple[Row, ...]
    pools: tuple[Mapping[str, str], ...]
    models: tuple[Mapping[str, str], ...]
    prepare: tuple[tuple[str, str], ...]
    rate: str
    total: str
    better: tuple[str, ...] = ()  # dialects that it may speak, too, and says more in
    login: Login | None = None
    settings: tuple[Setting, ...] = ()

    def read(self, answers: Mapping[str, Reply], why: Mapping[str, str] | None = None) -> Telemetry:
        """Return what the answers say, and what in them is amiss; whatever they say.

        `why` says of commands why they have no answer.
        """
        documents = self.prepared(answers)
        findings: list[Finding] = []
        said = dict(self._texts(documents))
        units = {"rate": self.rate, "total": self.total}
        model = said["model"][0].value if "model" in said else ""
        for row in self.models:
            if re.search(row["match"], model, re.IGNORECASE):
                units |= {key: row[key] for key in units if key in row}
                for name in ("make", "algorithm"):
                    if name in row:
                        said[name] = [Value(row[name], "text", "known of this model")]
                break
        told: dict[str, Any] = {
            name: tuple(values) if FIELDS[name].many else values[0] for name, values in said.items()
        }
        told |= self._numbers(documents, units, findings)
        told["pools"] = tuple(self._pools(documents))
        times = [reply.at for reply in answers.values() if reply.at]
        telemetry = Telemetry(
            dialect=self.name,
            at=sum(times) // len(times) if times else None,
            repairs=tuple(f"{n}: {what}" for n, reply in answers.items() for what in reply.repairs),
            absent=tuple(self._absent(answers, why or {})),
            **told,
        )
        return checked(telemetry, findings)

    def prepared(self, answers: Mapping[str, Reply]) -> dict[str, Any]:
        """Return the documents of answers, with what is text in them taken apart."""
        documents: dict[str, Any] = {name: reply.document for name, reply in answers.items()}
        for function, command in self.prepare:
            if command in documents:
                documents[command] = dialects_prepare.FUNCTIONS[function](documents[command])
        return documents

    def recognises(self, documents: Mapping[str, Any]) -> bool:
        """Do these answers look like its?"""
        return any(all(each.holds(documents) for each in both) for both in self.known_by)

    def _absent(self, answers: Mapping[str, Reply], why: Mapping[str, str]) -> Iterator[str]:
        for ask in self.commands:
            if ask.name not in answers:
                if not ask.optional or ask.name in why:
                    yield f"{ask.name}: {why.get(ask.name, 'not answered')}"
            elif not ask.optional:
                document: object = answers[ask.name].document
                said = status(document) if isinstance(document, dict) else None
                if said and said.failed:
                    yield f"{ask.name}: {plain(said.message or 'an error')}"

    def _texts(self, documents: Mapping[str, Any]) -> Iterator[tuple[str, list[Value[str]]]]:
        for name, of in FIELDS.items():
            if of.quantities != ("words",):
                continue
            for row in self.rows:
                found = list(row.texts(documents)) if row.of == name else []
                if found:
                    yield name, [Value(what, "text", at, row.labelled(at)) for at, what in found]
                    break

    def _numbers(
        self, documents: Mapping[str, Any], units: Mapping[str, str], findings: list[Finding]
    ) -> dict[str, Any]:
        """Return fields and what they are; put into `findings` what was no number."""
        told: dict[str, list[Value[float]]] = {}
        for row in self.rows:
            if FIELDS[row.of].quantities == ("words",):
                continue
            before = told.get(row.of, [])
            labels = {value.label for value in before}
            if before and not FIELDS[row.of].many:
                continue
            found = []
            for source, what, unit in row.numbers(documents, units):
                if row.labelled(source) in labels:
                    continue
                if isinstance(what, str):
                    findings.append(Finding(row.of, source, f"{what}: taken as absent"))
                else:
                    found.append((source, what, unit))
            if found and row.take:
                found = [_taken(row.take, found)]
            if found:
                told[row.of] = before + [_value(row, *each) for each in found]
        fields: dict[str, Any] = {
            name: tuple(values) if FIELDS[name].many else values[0] for name, values in told.items()
        }
        if told.get("hashrates_h_s"):
            fields["hashrate_h_s"] = told["hashrates_h_s"][0]
        return fields

    def _pools(self, documents: Mapping[str, Any]) -> Iterator[Pool]:
        count = 0
        for row in self.pools:
            for source, what in Place.parse(row["at"]).find(documents):
                pool = _pool(row, count, source, what)
                if pool.url or pool.user:
                    yield pool
                    count += 1


def recognise(answers: Mapping[str, Reply]) -> Dialect:
    """Return the dialect that answers are in: of those that know them the most particular.

    Raises ProtocolError where none does.
    """
    documents = {name: reply.document for name, reply in answers.items()}
    for dialect in sorted(dialects().values(), key=lambda each: -each.rank):
        if dialect.recognises(documents):
            return dialect
    said = b" ".join(reply.raw[:100] for reply in answers.values())
    raise ProtocolError(
        f"no dialect knows these answers: {', '.join(answers) or 'none'}", said[:400]
    )


@cache
def dialects() -> Mapping[str, Dialect]:
    """Return all dialects by name. Raises PlanError for data that makes no sense."""
    folder = files("hwkit.hashers.asic") / "data"
    said = {
        entry.name.removesuffix(".toml"): tomllib.loads(entry.read_text(encoding="utf-8"))
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".toml")
    }
    return {name: parse(name, said) for name in said}


def parse(name: str, all_: Mapping[str, Mapping[str, Any]]) -> Dialect:
    """Return the dialect of a name, out of TOML documents by name. Raises PlanError."""
    said = all_[name]
    known = {"title", "base", "without", "sources", "rank", "known_by", "rate", "total", "prepare"}
    if (
        unknown := set(said)
        - known
        - {"asks", "rows", "pools", "models", "login", "better", "settings"}
    ):
        raise PlanError(f"dialect {name}: nobody reads {', '.join(sorted(unknown))}")
    rows = tuple(Row.parse(row) for row in said.get("rows", ()))
    pools, models = tuple(said.get("pools", ())), tuple(said.get("models", ()))
    prepare = tuple(_two(name, each) for each in said.get("prepare", ()))
    if "base" in said:
        base = parse(said["base"], all_)
        without = set(said.get("without", ()))
        rows += tuple(row for row in base.rows if row.of not in without)
        pools, models = pools or base.pools, models + base.models
        prepare += base.prepare
    for row in pools:
        if not {"at"} <= set(row) <= _POOL_WORDS:
            raise PlanError(f"dialect {name}: pools have at, and of the rest {sorted(_POOL_WORDS)}")
    asks = tuple(Ask(**ask) for ask in said.get("asks", ()))
    if bad := [ask.via for ask in asks if ask.via not in VIA]:
        raise PlanError(f"dialect {name}: via is one of {', '.join(VIA)}, not {bad[0]!r}")
    return Dialect(
        name=name,
        title=said.get("title", name),
        sources=tuple(said.get("sources", ())),
        commands=asks,
        rank=said.get("rank", 0),
        known_by=tuple(
            tuple(Condition.parse(one) for one in line.split(" & "))
            for line in said.get("known_by", ())
        ),
        rows=rows,
        pools=pools,
        models=models,
        prepare=prepare,
        rate=said.get("rate", ""),
        total=said.get("total", ""),
        better=tuple(said.get("better", ())),
        login=Login(**said["login"]) if "login" in said else None,
        settings=tuple(Setting.parse(each) for each in said.get("settings", ())),
    )


def _two(name: str, said: str) -> tuple[str, str]:
    function, _, answer = said.partition(" ")
    if function not in dialects_prepare.FUNCTIONS or not answer:
        raise PlanError(f"dialect {name}: prepare is FUNCTION ANSWER, not {said!r}")
    return function, answer


def _value(row: Row, source: str, value: float, unit: str) -> Value[float]:
    label = row.labelled(source)
    if row.of == "power_w":
        return Power(value, unit, source, label, row.provenance, row.scope)
    return Value(value, unit, source, label)


def _taken(take: str, found: list[tuple[str, float, str]]) -> tuple[str, float, str]:
    first = found[0][0]
    source = f"{take}({len(found)}) of {first} ..." if len(found) > 1 else first
    return source, TAKES[take]([what for _, what, _ in found]), found[0][2]


def _pool(row: Mapping[str, str], count: int, source: str, what: object) -> Pool:
    def at(name: str) -> object:
        return next((each for _, each in walk(what, row[name])), None) if name in row else None

    def words(name: str) -> str | None:
        value = at(name)
        return (
            None if value is None or isinstance(value, (dict, list)) else plain(text(value))[:200]
        )

    def counted(name: str) -> float | None:
        found = [each for each, _ in number(at(name)) if isinstance(each, float)]
        return found[0] if found and 0 <= found[0] <= FIELDS["difficulty_accepted"].high else None

    url, port, active = words("url"), words("port"), words("active")
    fee = row.get("fee", "(?!)")
    return Pool(
        number=count,
        source=source,
        url=f"{url}:{port}" if url and port else url or None,
        user=words("user") or None,
        status=words("status") or None,
        active=None if active is None else active.lower() in {"true", "1", "y", "yes"},
        accepted=counted("accepted"),
        rejected=counted("rejected"),
        stale=counted("stale"),
        difficulty_accepted=counted("difficulty_accepted"),
        fee=bool(re.search(fee, f"{url} {words('user')}", re.IGNORECASE)),
    )
