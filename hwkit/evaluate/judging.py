"""From an evaluation's steps and records to its verdict, and that once more for who doubts it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hwkit.errors import HwkitError
from hwkit.evaluate.lines import NEEDED, lines_of, unknown
from hwkit.evaluate.observed import by_setting
from hwkit.evaluate.protocol import BLOCK, Protocol
from hwkit.evaluate.seen import Seen
from hwkit.evaluate.spec import Spec
from hwkit.evaluate.verdicts import Verdict, overall
from hwkit.records.verify import Finding, difference

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hwkit.records import Store


def judged(document: Mapping[str, Any], records: Store) -> dict[str, Any]:
    """Return what follows of an evaluation: verdict, lines and figures, from its records alone.

    Raises RecordError where one of them is not in the store.
    """
    steps, protocol = document["steps"], Protocol.from_json(document["protocol"])
    seen = seen_of(steps, records)
    lines = lines_of(Spec.from_json(document["spec"]), protocol, seen, steps, document.get("wrong"))
    left_out = {each["name"]: each["why"] for each in steps if each["state"] == "not-tested"}
    blocks = [each for each in seen if each.kind == BLOCK]
    names = [each.document["id"] for each in seen]
    return {
        "verdict": overall(lines, NEEDED).value,
        "lines": [line.to_json() for line in lines],
        "not_tested": left_out
        | {line.name: line.why for line in lines if line.verdict is Verdict.NOT_TESTED},
        "by_setting": by_setting(seen, steps),
        "figures": blocks[-1].document["figures"] if blocks else {},
        "unknown": unknown(protocol.reference, blocks[-1]) if blocks else [],
        "records": {name: records.get(name).digest for name in names},
    }


def judged_again(document: Mapping[str, Any], records: Store) -> list[Finding]:
    """Hold an evaluation's verdict against what its records say now; see docs/evaluate.md.

    That covers what follows from records. What the steps tell beside them (when a power cycle
    began, which step was left out) is the word of whoever ran it.
    """
    try:
        again = json.loads(json.dumps(judged(document, records)))
        kept = {name: document.get(name) for name in again}
        fault = _fault_of_steps(document, records)
    except HwkitError as error:
        return [Finding("records", str(error))]
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # Anybody may have written it, and made a digest of that.
        return [Finding("evaluation", f"makes no sense: {type(error).__name__}: {error}")]
    count = len(document["steps"])
    return [
        Finding("steps", fault, f"{count} of its protocol, each record once and taken for it"),
        *_compared(again, kept),
    ]


def _fault_of_steps(document: Mapping[str, Any], records: Store) -> str | None:
    """Say what is wrong with the steps: of another protocol, or with another run's records."""
    steps, protocol = document["steps"], Protocol.from_json(document["protocol"])
    said = [(step["name"], step["kind"]) for step in steps]
    if said != [(step.name, step.kind) for step in protocol.steps]:
        return "they are not those of its protocol"
    names = [records.get(name).id for step in steps for name in step["records"]]
    if twice := [name for name in names if names.count(name) > 1]:
        return f"record {twice[0]} stands for more than one"
    for name in names:
        if (taken := records.get(name).document.get("evaluation")) != document["id"]:
            return f"record {name} was taken for {taken or 'no evaluation'}"
    return None


def _compared(again: Mapping[str, Any], kept: Mapping[str, Any]) -> list[Finding]:
    details = {
        "records": f"{len(again['records'])}, as they were judged",
        "lines": f"{len(again['lines'])}, judged again",
        "verdict": again["verdict"],
    }
    return [
        Finding(
            name,
            difference(_named(again[name]), _named(kept[name]), name),
            details.get(name, "as records say"),
        )
        for name in again
    ]


def _named(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return lines by their names, so that a difference says whose it is; all else as it is."""
    if not isinstance(value, list) or not all(isinstance(e, dict) and "name" in e for e in value):
        return value
    found: dict[str, list[Any]] = {}
    for each in value:
        found.setdefault(str(each["name"]), []).append(each)
    return found


def seen_of(steps: Sequence[dict[str, Any]], records: Store) -> list[Seen]:
    """Return the evidence: all records that an evaluation's steps name."""
    found = []
    for step in steps:
        back = {each.get("record"): each.get("back_ns") for each in step.get("cycles", [])}
        for number, name in enumerate(step["records"], 1):
            part = number if len(step["records"]) > 1 else None
            record = records.get(name)
            found.append(Seen.of(step["kind"], record, step["name"], part, back.get(name)))
    return found
