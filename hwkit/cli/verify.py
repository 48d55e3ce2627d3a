"""`hwkit verify`: a record, checked against itself, and an evaluation against its records."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hwkit.cli.options import json_option, print_json, store_option
from hwkit.errors import PlanError, RecordError
from hwkit.evaluate import state
from hwkit.evaluate.judging import judged_again
from hwkit.records import Store
from hwkit.records.verify import Finding, verify
from hwkit.units import plain

if TYPE_CHECKING:
    from collections.abc import Iterator


@click.command("verify")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@store_option
@json_option
def command(ids: tuple[str, ...], store: str | None, *, as_json: bool) -> None:
    """Compute every figure of the records again from their raw rows, and re-hash every share.

    ID is a record's id, the beginning of it, or 'last'; or an evaluation's id, or its JSON file: it
    is judged again by its records, and each of them verified. Exits 1 when something does not hold.
    """
    documents = []
    for id_, findings in _verified(ids, store):
        verdict = "PASS" if all(finding.passed for finding in findings) else "FAIL"
        found = [finding.to_json() for finding in findings]
        documents.append({"id": id_, "verdict": verdict, "findings": found})
        if not as_json:
            click.echo(f"{verdict}  {plain(id_)}")
            for finding in findings:
                word = "ok" if finding.passed else "FAIL"
                click.echo(
                    f"  {word:<4}  {finding.name:<20} {plain(finding.fault or finding.detail)}"
                )
    passed = all(document["verdict"] == "PASS" for document in documents)
    if as_json:
        print_json({"verdict": "PASS" if passed else "FAIL", "records": documents})
    sys.exit(0 if passed else 1)


def _verified(ids: tuple[str, ...], store: str | None) -> Iterator[tuple[str, list[Finding]]]:
    """Yield what was found of each id, an evaluation before its records."""
    records = Store(store)
    for name in ids:
        handed_on = name.endswith(".json")
        if not handed_on and not state.is_evaluation(name):
            yield _of_record(name, records)
            continue
        found = state.read_file(Path(name)) if handed_on else state.read(store, name)
        document = found.document
        if "verdict" not in document:
            raise PlanError(
                f"evaluation {document['id']} has no verdict yet: "
                f"hwkit evaluate --resume {document['id']}"
            )
        yield document["id"], judged_again(document, records)
        named = document.get("records")
        for each in named if isinstance(named, dict) else ():
            try:
                yield _of_record(each, records)
            except RecordError as error:
                yield each, [Finding("record", str(error))]


def _of_record(name: str, records: Store) -> tuple[str, list[Finding]]:
    record = records.get(name)
    findings = verify(record)
    try:
        return record.id, findings
    except RecordError:
        return name, findings  # its document is none
