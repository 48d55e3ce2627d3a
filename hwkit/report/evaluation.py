"""An evaluation as a report: its verdict first, then its measured block and all else it took."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from hwkit.errors import PlanError, RecordError
from hwkit.evaluate import identity
from hwkit.evaluate import verdicts as judged
from hwkit.evaluate.lines import NEEDED
from hwkit.evaluate.protocol import BLOCK, SOAK
from hwkit.records.record import canonical, sha256
from hwkit.records.rows import read_json
from hwkit.report.sheet import Line, Section, Sheet, Verdict, sheet_of, shown
from hwkit.units import show

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hwkit.records import Record

LARGEST = 1 << 26  # bytes
DRAWN = {BLOCK, SOAK}  # what lasts; of restarts and settings the verdict has a line


class Taken(NamedTuple):
    """A record of an evaluation, and the step that it is of."""

    name: str
    kind: str
    record: Record


def sheet_of_evaluation(document: dict[str, Any], taken: Sequence[Taken]) -> Sheet:
    """Return what there is to say of an evaluation: the first record taken is told whole."""
    first = taken[0].record
    sheet = sheet_of(first, verdict_of(document))
    rows = [
        ("evaluation", f"{document['id']}, {document['began'][:16]} UTC"),
        *((each.name, _told(each.record)) for each in taken),
        *_around(document),
        ("SHA-256", f"{document['digest']}, of the evaluation, which names its records by theirs"),
    ]
    return replace(
        sheet,
        sections=(Section("What the verdict stands on", tuple(rows)), *sheet.sections),
        verify=(
            *(f"hwkit records import {each.record.id}.jsonl" for each in taken),
            f"hwkit verify {document['id']}.json",
            f"hwkit report {first.id} --evaluation {document['id']}.json",
        ),
    )


def records_of(document: dict[str, Any], get: Callable[[str], Record]) -> list[Taken]:
    """Return an evaluation's records with their steps: the block that it is judged by, the others.

    Raises PlanError for one that has no verdict or no record, RecordError for a record that is not
    the one that was judged.
    """
    name = document["id"]
    if "verdict" not in document:
        raise PlanError(f"evaluation {name} has no verdict yet: hwkit evaluate --resume {name}")
    judged = document["records"]
    taken = [
        Taken(
            f"{step['name']} {n}" if len(step["records"]) > 1 else step["name"],
            step["kind"],
            get(id_),
        )
        for step in document["steps"]
        for n, id_ in enumerate(step["records"], 1)
        if id_ in judged
    ]
    if not taken:
        raise PlanError(f"evaluation {name} has no record: nothing was measured")
    for each in taken:
        if judged[each.record.id] != each.record.digest:
            raise RecordError(f"record {each.record.id} is not the one that {name} has judged")
    blocks = [each for each in taken if each.kind == BLOCK]
    first = (blocks or taken)[-1]
    return [first, *(each for each in taken if each is not first)]


def read_evaluation(text: str, where: str, record: Record) -> dict[str, Any]:
    """Read what `hwkit evaluate` wrote, of which `record` is a part.

    Raises RecordError for what is none, was changed, or has no verdict; PlanError for one of other
    records.
    """
    try:
        document = read_json(text)
        kept = {name: value for name, value in document.items() if name != "digest"}
        intact = document["digest"] == sha256(canonical(kept).encode())
        named = dict(document.get("records", {}))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RecordError(f"{where}: no evaluation: {type(error).__name__}") from error
    if not intact:
        raise RecordError(f"{where}: it was changed since hwkit wrote it")
    if "verdict" not in document:
        raise RecordError(f"{where}: it has no verdict yet: hwkit evaluate --resume ID")
    if named.get(record.id) != record.digest:
        names = ", ".join(named) or "none"
        raise PlanError(f"{where}: record {record.id} is no part of it; its records: {names}")
    return dict(document)


def verdict_of(document: dict[str, Any]) -> Verdict:
    """Return its verdict: lines as they were judged, and what was left out, by name.

    Raises RecordError for one that does not follow from its lines.
    """
    lines = [
        judged.Line(each["name"], judged.Verdict(each["verdict"]), "") for each in document["lines"]
    ]
    if judged.overall(lines, NEEDED) != document["verdict"]:
        raise RecordError(f"its verdict, {document['verdict']}, does not follow from its lines")
    unit = "This unit, not this model"
    said = [f"{unit}: {document['address']} as {document['spec']['model']}"]
    if skipped := document.get("not_tested"):
        said.append("Not tested: " + "; ".join(f"{name} ({why})" for name, why in skipped.items()))
    if unknown := document.get("unknown"):
        said.append(f"Nothing is known of {', '.join(unknown)}")
    if document["state"] != "complete":
        said.append(f"The evaluation is {document['state']}")
    return Verdict(document["verdict"], ". ".join(said), tuple(map(_line, document["lines"])))


def _around(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if known := document.get("identity"):
        yield "it says it is", ", ".join(f"{name} {value}" for name, value in known.items())
    if nobody_knows := identity.unknown(document):
        yield "one machine?", nobody_knows
    net = document["internet"]
    if net["asked"]:
        yield "network", f"{'reached' if net['reachable'] else 'did not reach'} {net['asked']}"
    if watched := document.get("watched"):
        yield "only watched", str(watched)
    yield "its settings", "put back" if document["restored"] else "not all put back"


def _told(record: Record) -> str:
    """Say in a line what a record is, and what it found."""
    some = map(record.figures.get, ("hashrate", "power", "efficiency"))
    figures = [shown(figure) for figure in some if figure is not None]
    return ", ".join([f"record {record.id}", str(record.document["state"]), *figures])


def _line(line: dict[str, Any]) -> Line:
    why, limit = line["why"], _limit(line["limit"])
    if line["figure"] is None:
        return Line(line["name"], line["verdict"], limit=limit, why=line["decides"] or why)
    measured = why.removesuffix(f", {limit}")
    source = f" ({line['limit']['source']})" if limit else ""
    return Line(line["name"], line["verdict"], measured, f"{limit}{source}", line["decides"] or "")


def _limit(limit: dict[str, Any] | None) -> str:
    if limit is None:
        return ""
    word = "most" if "most" in limit else "least"
    value, unit = limit[word], limit["unit"]
    if not unit:
        return f"at {word} {100 * value:.3g} %"
    scales = unit in {"H/s", "W", "J/TH"}
    return f"at {word} {show(value, unit) if scales else f'{value:.4g} {unit}'}"
