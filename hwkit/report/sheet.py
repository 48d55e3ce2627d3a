"""What a report says, whatever it is written in: of a record, and of a verdict where one is given.

HTML, Markdown and JSON are three ways to write one sheet.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from hwkit.harness.plan import beside, duration, percent
from hwkit.protocols import Basis
from hwkit.report.block import energy_rows
from hwkit.report.delivered import delivered_rows, gap
from hwkit.units import Figure, plain, show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hwkit.records import Record

# Those that a reader asks for first, and how each is called.
NAMES = {
    "efficiency": "J/TH",
    "power": "power",
    "hashrate": "hashrate",
    "claim_gap": "claim gap",
    "hashrate_by_shares": "hashrate by shares",
    "hashrate_per_cpu_second": "hashrate per CPU second",
    "cycles_per_hash": "cycles per hash",
}
LOPSIDED = 0.5  # from there on an interval of few shares is not about as far to both sides
# Details that have a line of their own.
OWN = {"lanes", "threads", "affinity", "device", "platform", "version", "driver"}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a verdict: what was asked for, what was found, and the word for it."""

    what: str
    word: str  # PASS | FAIL | INCONCLUSIVE | NOT_TESTED
    measured: str = ""
    limit: str = ""
    why: str = ""  # what would decide it, or why it was not tested


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an evaluation ends in; it stands above all else."""

    word: str
    words: str
    lines: tuple[Line, ...] = ()


@dataclass(frozen=True, slots=True)
class Shown:
    """A figure as it is shown: its value with U, its interval, and what U is made of."""

    name: str
    value: str
    relative: str  # U as a part of the value; "" where it has none
    interval: str
    of: str  # the dominant term, or what the figure stands on


@dataclass(frozen=True, slots=True)
class Caveat:
    """What a reader must know before believing a figure."""

    caveat: str
    finding: str
    advice: str


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with names and what stands beside them."""

    title: str
    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Sheet:
    """All that a report says in words; everything in it may be a stranger's."""

    title: str
    subtitle: str
    record: str
    digest: str
    verdict: Verdict | None
    figures: tuple[Shown, ...]
    caveats: tuple[Caveat, ...]
    sections: tuple[Section, ...]
    verify: tuple[str, ...]  # commands

    def to_json(self) -> dict[str, Any]:
        """Return it as --json prints it."""
        return asdict(self)


def sheet_of(record: Record, verdict: Verdict | None = None) -> Sheet:
    """Return what there is to say of a record. Raises RecordError for one that cannot be read."""
    document = record.document
    device, told = document["device"], model_of(record)
    sections = (
        Section("What it was measured by", tuple(energy_rows(document))),
        Section("What it delivered, and claims", tuple(delivered_rows(document))),
        Section("Device", tuple(_device(document, told))),
        Section("Run", tuple(_run(record, document))),
    )
    return Sheet(
        told or device["name"],
        f"{device['name']}, {device['basis']}{beside(record.work)}, {document['began'][:16]} UTC",
        record.id,
        record.digest,
        verdict,
        tuple(_figures(record, document)),
        tuple(_caveats(document)),
        tuple(section for section in sections if section.rows),
        (f"hwkit records import {record.id}.jsonl", f"hwkit verify {record.id}"),
    )


def model_of(record: Record) -> str | None:
    """Return make and model as a miner told them last; None of what did not."""
    words: dict[str, str] = {}
    for probe in record.read("probes"):
        if probe.name in {"make", "model"} and probe.words:
            words[probe.name] = str(probe.words[0])
    make, model = words.get("make", ""), words.get("model", "")
    return plain(model if make.lower() in model.lower() else f"{make} {model}").strip() or None


def shown(figure: Figure) -> str:
    """Show a figure; what nobody has an interval for, as what is claimed, without one."""
    if not figure.U:
        return show(figure.value, figure.unit)
    if figure.relative < LOPSIDED or not figure.value:
        return str(figure)
    lo, hi = (show(bound, figure.unit) for bound in (figure.lo, figure.hi))
    return f"{show(figure.value, figure.unit)} ({lo} to {hi})"


def place(name: str) -> int:
    """Return where a figure stands: those that we know of first."""
    known = list(NAMES)
    return known.index(name) if name in known else len(known)


def device_rows(details: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what a driver told of the device, and how its variant was chosen."""
    told = [str(details[key]) for key in ("device", "platform", "driver") if key in details]
    if told:
        yield "driven as", ", ".join(told)
    chosen = {k: v for k, v in details.items() if k not in OWN and not isinstance(v, dict | list)}
    if told and chosen:
        yield "variant", ", ".join(f"{key} {value}" for key, value in chosen.items())
    tuned = details.get("tuned")
    if isinstance(tuned, dict):
        raced = [
            f"{each['variant']} {show(each['value'], 'H/s')}" for each in tuned["measured_h_s"][:3]
        ]
        yield "tuned", f"{tuned['on']}: {'; '.join(raced)}"


def _figures(record: Record, document: dict[str, Any]) -> Iterator[Shown]:
    """Yield the figures, and J/TH and power of every other meter that saw the device."""
    figures = sorted(record.figures.items(), key=lambda pair: place(pair[0]))
    metered = document.get("metered", [])
    for name, figure in figures:
        called = NAMES.get(name, name.replace("_", " "))
        if name == "claim_gap":
            value, _, between = gap(figure).partition(" (")
            yield Shown(called, value, "", between.rstrip(")"), "of what it delivers")
            continue
        seen = metered[0] if metered and name in {"efficiency", "power"} else None
        yield _shown(called, figure, _budgeted(seen, name) or _stands_on(name, document))
    for seen in metered[1:]:
        for name in ("efficiency", "power"):
            if seen.get(name):
                called = f"{NAMES[name]} by {seen['meter']}"
                yield _shown(called, Figure.from_json(seen[name]), _budgeted(seen, name))


def _caveats(document: dict[str, Any]) -> Iterator[Caveat]:
    """Yield each kind of caveat once, with all that was found."""
    found: dict[tuple[str, str], list[str]] = {}
    for each in document["caveats"]:
        found.setdefault((each["caveat"], each["advice"]), []).append(each["finding"])
    for (kind, advice), findings in found.items():
        yield Caveat(kind, "; ".join(dict.fromkeys(findings)), advice)


def _shown(name: str, figure: Figure, of: str) -> Shown:
    relative = percent(figure.relative) if 0 < figure.relative < math.inf else ""
    lo, hi = (show(edge, figure.unit, 5) for edge in (figure.lo, figure.hi))
    return Shown(name, shown(figure), relative, f"{lo} to {hi}" if figure.U else "", of)


def _budgeted(seen: dict[str, Any] | None, name: str) -> str:
    """Return the term that matters most to a metered figure, and who saw the joules."""
    if seen is None or not seen.get(name):
        return ""
    dominant = seen[name].get("budget", {}).get("dominant")
    word = "U not known: nobody vouches for the meter" if seen["unchecked"] else ""
    return ", ".join(filter(None, [dominant, word]))


def _stands_on(name: str, document: dict[str, Any]) -> str:
    counts, basis = document["counts"], document["device"]["basis"]
    if basis == Basis.CLAIMED:
        return "the device's own word"
    if basis == Basis.SHARES or name == "hashrate_by_shares":
        return f"chance of {counts['shares']:,} shares"
    return f"spread of {counts['windows']:,} windows"


def _device(document: dict[str, Any], told: str | None) -> Iterator[tuple[str, str]]:
    device = document["device"]
    yield "address", device["name"]
    if told:
        yield "it says it is", told
    if device["threads"] is not None:
        yield "threads", str(device["threads"])
    yield from device_rows(device["details"])
    if document["proof"]:
        yield "proof", document["proof"]["verdict"]
    audit = document["audit"]
    if device["basis"] == Basis.COUNTED:
        missing = audit["missing_at_most"]
        bound = "" if missing is None else f"; leaves out at most {percent(missing)} (95 %)"
        yield "audited", f"{audit['hits']:,} hits in {audit['nonces']:,} nonces{bound}"


def _run(record: Record, document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    counts, host = document["counts"], document["host"]
    cpu = host["cpu"]
    yield "state", f"{document['state']} ({document['why']})"
    counted = f"{counts['hashes']:,} hashes, {counts['shares']:,} shares"
    took = duration(counts["wall_ns"] / 1e9)
    yield "measured", f"{took}, {counted} in {counts['windows']:,} windows"
    yield "began", document["began"]
    virtual = ", virtual" if cpu["virtual"] else ""
    yield "host", f"{cpu['model']}, {cpu['usable']} processors{virtual}"
    yield "system", f"{host['system']} {host['kernel']} {host['machine']}"
    yield "hwkit", f"{document['hwkit']}, Python {host['python']}, {host['compiler']}"
    rows = {kind: sum(chunk["rows"] for chunk in some) for kind, some in document["rows"].items()}
    yield "raw rows", ", ".join(f"{count:,} {kind}" for kind, count in rows.items())
    yield "record", record.id
    yield "SHA-256", record.digest
