"""An evaluation's document as the verdict of a report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hwkit.errors import PlanError, RecordError
from hwkit.records.record import canonical, sha256
from hwkit.records.rows import read_json
from hwkit.report.sheet import Line, Verdict
from hwkit.units import show

if TYPE_CHECKING:
    from hwkit.records import Record

LARGEST = 1 << 26  # bytes


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
    """Return its verdict: lines as they were judged, and what was left out, by name."""
    said = [f"{document['address']} as {document['spec']['model']}"]
    if skipped := document.get("not_tested"):
        said.append("not tested: " + "; ".join(f"{name} ({why})" for name, why in skipped.items()))
    if unknown := document.get("unknown"):
        said.append(f"nothing is known of {', '.join(unknown)}")
    if document["state"] != "complete":
        said.append(f"the evaluation is {document['state']}")
    return Verdict(document["verdict"], ". ".join(said), tuple(map(_line, document["lines"])))


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
