"""`hwkit verify`: a record, checked against itself."""

from __future__ import annotations

import sys

import click

from hwkit.cli.options import json_option, print_json, store_option
from hwkit.errors import RecordError
from hwkit.records import Store
from hwkit.records.verify import verify
from hwkit.units import plain


@click.command("verify")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@store_option
@json_option
def command(ids: tuple[str, ...], store: str | None, *, as_json: bool) -> None:
    """Compute every figure of the records again from their raw rows, and re-hash every share.

    ID is a record's id, the beginning of it, or 'last'. Exits 1 when something does not hold.
    """
    records = Store(store)
    documents = []
    for name in ids:
        record = records.get(name)
        findings = verify(record)
        try:
            id_ = record.id
        except RecordError:
            id_ = name  # its document is none
        passed = all(finding.passed for finding in findings)
        documents.append(
            {
                "id": id_,
                "verdict": "PASS" if passed else "FAIL",
                "findings": [finding.to_json() for finding in findings],
            }
        )
        if not as_json:
            click.echo(f"{'PASS' if passed else 'FAIL'}  {id_}")
            for finding in findings:
                word = "ok" if finding.passed else "FAIL"
                click.echo(
                    f"  {word:<4}  {finding.name:<20} {plain(finding.fault or finding.detail)}"
                )
    passed = all(document["verdict"] == "PASS" for document in documents)
    if as_json:
        print_json({"verdict": "PASS" if passed else "FAIL", "records": documents})
    sys.exit(0 if passed else 1)
