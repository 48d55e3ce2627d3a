"""`hwkit records`: list, show, export, import, reindex."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hwkit.cli.options import json_option, print_json, store_option
from hwkit.errors import NotPermitted, PlanError, RecordError
from hwkit.harness.plan import beside
from hwkit.protocols import Basis
from hwkit.records import Store
from hwkit.records.exchange import from_line, to_line
from hwkit.report.terminal import record_card
from hwkit.units import plain, show

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LARGEST_LINE = 1 << 30  # bytes: five days at ten shares a second are a tenth of it


@click.group("records")
def command() -> None:
    """List, show, export and import the records of past runs."""


@command.command("list")
@store_option
@json_option
def list_(store: str | None, *, as_json: bool) -> None:
    """List all records, oldest first."""
    listed = _store(store).listing()
    if as_json:
        print_json(
            [
                {
                    "id": row.id,
                    "began": row.began,
                    "device": row.device,
                    "state": row.state,
                    "hashrate_h_s": row.hashrate_h_s,
                    "basis": row.basis,
                    "work": row.work,
                }
                for row in listed
            ]
        )
        return
    for row in listed:
        rate = "-" if row.hashrate_h_s is None else show(row.hashrate_h_s, "H/s")
        basis = "" if row.basis in {None, Basis.COUNTED} else f", {row.basis}"
        rate = f"{rate:>12}{basis}{beside(row.work)}"
        click.echo(f"{row.id}  {plain(row.device):<16} {rate}  {plain(row.state)}")
    if not listed:
        click.echo("No records yet. Next: hwkit bench --quick", err=True)


@command.command("show")
@click.argument("id_", metavar="ID")
@store_option
@json_option
def show_(id_: str, store: str | None, *, as_json: bool) -> None:
    """Show one record: by its id, the beginning of it, or 'last'."""
    record = _store(store).get(id_)
    if as_json:
        print_json(record.to_json())
        return
    record_card(record)


@command.command("export")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="To a file.")
@click.option("--with-identity", is_flag=True, help="With what could name a person or a host.")
@store_option
@json_option
def export(
    ids: tuple[str, ...],
    output: Path | None,
    store: str | None,
    *,
    with_identity: bool,
    as_json: bool,
) -> None:
    """Write records (all that have ended, or those named) as JSON Lines."""
    if as_json and output is None:
        raise PlanError("--json says what was written; without --output the records are")
    records = _store(store)
    names = ids or [row.id for row in records.listing() if row.state != "running"]

    def lines() -> Iterator[str]:
        for name in names:
            record = records.get(name)
            if record.document["state"] == "running":
                raise PlanError(f"record {record.id} is still running: export it when it has ended")
            yield to_line(record, with_identity=with_identity)

    if output is None:
        for line in lines():
            click.echo(line)
        return
    write_whole(output, lines())
    if as_json:
        print_json({"exported": len(names), "output": str(output)})


@command.command("import")
@click.argument("file", type=click.File("r", encoding="utf-8"), default="-")
@store_option
@json_option
def import_(file: Any, store: str | None, *, as_json: bool) -> None:  # noqa: ANN401 - a text stream
    """Take in records from JSON Lines; what is here already stays as it is.

    A line that is no record, or not the one its digest names, ends the import; what came before
    it stays.
    """
    records, added, known = _store(store), 0, 0
    number = 0
    try:
        while line := file.readline(LARGEST_LINE):
            number += 1
            if line.strip():
                if records.add(from_line(line)):
                    added += 1
                else:
                    known += 1
    except (RecordError, UnicodeDecodeError) as error:
        raise RecordError(f"{file.name}, line {number or 1}: {error}") from error
    if as_json:
        print_json({"added": added, "known": known})
    else:
        click.echo(f"{added} added, {known} here already")


@command.command("reindex")
@store_option
@json_option
def reindex(store: str | None, *, as_json: bool) -> None:
    """Fill the columns that records are searched by again, from the documents."""
    count = _store(store).reindex()
    if as_json:
        print_json({"records": count})
    else:
        click.echo(f"{count} records")


def _store(url: str | None) -> Any:  # noqa: ANN401 - Store, imported on use
    return Store(url)


def write_whole(path: Path, lines: Iterable[str]) -> None:
    """Write a file that is there whole or not at all; a device or pipe is written to."""
    path = path.resolve()
    if path.exists() and not path.is_file():
        _write(path, lines, path)
        return
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        _write(unfinished, lines, path)
        unfinished.replace(path)
    except OSError as error:
        raise NotPermitted(str(path), f"cannot be written: {error.strerror}") from error
    finally:
        unfinished.unlink(missing_ok=True)


def _write(path: Path, lines: Iterable[str], shown: Path) -> None:
    try:
        with path.open("w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)
    except OSError as error:
        raise NotPermitted(str(shown), f"cannot be written: {error.strerror}") from error
