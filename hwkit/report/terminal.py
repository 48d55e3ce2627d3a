"""Tables for a terminal, of what was measured."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from hwkit.harness.plan import VERSION_ROLLING, beside, percent
from hwkit.protocols import Basis
from hwkit.report.block import energy_rows
from hwkit.report.delivered import delivered_rows
from hwkit.report.sheet import device_rows, place, shown
from hwkit.units import Figure, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hwkit.harness.entry import Entry
    from hwkit.harness.session import Session
    from hwkit.records import Record

WIDTH = 100  # of tables that are not on a terminal


def results(session: Session, records: Sequence[Record], store: str | None) -> None:
    """Print the table of a session that has ended, its caveats, and what to type next.

    `store` is what was given as --store, which the next command needs too.
    """
    console = _console()
    documents = [record.document for record in records]
    columns = _columns(records, console.width)
    table = Table(box=None, pad_edge=False)
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if number else "left", no_wrap=True)
    for row in zip(*columns.values(), strict=True):
        table.add_row(*map(plain, row))
    if records:
        console.print(table)
    _under_the_table(console, records)
    for entry in session.entries:
        if entry.state in {"unproven", "void"} or entry.run is None:
            console.print(plain(f"{entry.name}: {_how_it_ended(entry)}"), soft_wrap=True)
    _caveats(console, documents)
    if records:
        names = f"Record {records[0].id}"
        if len(records) > 1:
            names = f"Records {records[0].id} to {records[-1].id}"
        where = f" --store {plain(store)}" if store else ""
        console.print(
            f"{names}. Next: hwkit records show last{where} · hwkit verify last{where}",
            soft_wrap=True,
            highlight=False,
        )


def _how_it_ended(entry: Entry) -> str:
    return entry.why if entry.why.startswith(entry.state) else f"{entry.state}: {entry.why}"


def record_card(record: Record) -> None:
    """Print one record."""
    document, console = record.document, _console()
    device, host = document["device"], document["host"]
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")

    def row(name: str, text: object) -> None:
        table.add_row(plain(name), plain(text))

    row("record", f"{record.id}, {document['state']} ({document['why']})")
    work = beside(record.work)
    pinned = device["details"].get("affinity")
    where = "" if pinned is None else f" on processors {pinned}"
    threads = "" if device["threads"] is None else f", {device['threads']} threads{where}"
    row("device", f"{device['name']}{threads}, {device['basis']}{work}")
    for name, text in device_rows(device["details"]):
        row(name, text)
    for name, figure in sorted(record.figures.items(), key=lambda pair: place(pair[0])):
        if name != "claim_gap":  # which has a line of its own, below
            basis = "" if name.endswith("power") else _basis(record)
            row(name.replace("_", " "), f"{shown(figure)}{_relative(figure)}{work}{basis}")
    counts, audit = document["counts"], document["audit"]
    row(
        _basis(record).removeprefix(", ") or "counted",
        f"{counts['hashes']:,} hashes, {counts['shares']:,} shares in {counts['windows']} windows",
    )
    for name, text in energy_rows(document):
        row(name, text)
    for name, text in delivered_rows(document):
        row(name, text)
    if device["basis"] == Basis.COUNTED:
        missing = audit["missing_at_most"]
        bound = "" if missing is None else f"; leaves out at most {percent(missing)} (95 %)"
        asked = "hashes" if work else "nonces"
        row("audited", f"{audit['hits']} hits in {audit['nonces']:,} {asked}{bound}")
        row("proof", document["proof"]["verdict"] if document["proof"] else "none")
    cpu = host["cpu"]
    virtual = {True: ", virtual", False: "", None: ""}[cpu["virtual"]]
    row("host", f"{cpu['model']}, {cpu['usable']} processors{virtual}")
    row("system", f"{host['system']} {host['kernel']} {host['machine']}")
    row("built by", f"{host['compiler']}, Python {host['python']}")
    row("hwkit", document["hwkit"])
    row("began", document["began"])
    row("digest", record.digest)
    console.print(table)
    _caveats(console, [document])


def _under_the_table(console: Console, records: Sequence[Record]) -> None:
    """Say which devices the addresses are, and what each J/TH stands on."""
    for record in records:
        device = record.document["device"]
        for _, text in list(device_rows(device["details"]))[:1]:
            console.print(plain(f"{device['name']}: {text}"), soft_wrap=True, highlight=False)
    for record in records:
        _result_block(console, record)


def _result_block(console: Console, record: Record) -> None:
    """Print what a figure stands on: shares and claims, boundary, instrument, work, window."""
    document = record.document
    rows = [*delivered_rows(document), *energy_rows(document)]
    if not rows:
        return
    console.print(plain(f"{document['device']['name']}:"))
    for name, text in rows:
        console.print(plain(f"  {name:<10} {text}"), soft_wrap=True, highlight=False)


def _caveats(console: Console, documents: Sequence[dict[str, Any]]) -> None:
    """Print each kind of caveat on a line, with what was found for each device."""
    found: dict[str, dict[str, list[str]]] = {}
    for document in documents:
        for caveat in document["caveats"]:
            words = found.setdefault(f"{caveat['caveat']}: {caveat['advice']}", {})
            words.setdefault(caveat["finding"], []).append(document["device"]["name"])
    for kind, words in found.items():
        devices = "; ".join(f"{', '.join(names)} {finding}" for finding, names in words.items())
        console.print(plain(f"! {kind}. {devices}"), soft_wrap=True, highlight=False)


def _figure(name: str) -> Callable[[Record], str]:
    """Return the cell of a figure, its unit left out where the column names it."""

    def cell(record: Record) -> str:
        figure = record.figures.get(name)
        if figure is None:
            return "-"
        return shown(figure) if figure.scales else str(figure).removesuffix(f" {figure.unit}")

    return cell


def _relative(figure: Figure) -> str:
    """Return the interval as a part of the value, where it has both."""
    return f" ({percent(figure.relative)})" if 0 < figure.relative < math.inf else ""


def _basis(record: Record) -> str:
    """Return what stands beside a figure whose hashes were not counted."""
    basis = record.document["device"]["basis"]
    return "" if basis == Basis.COUNTED else f", {basis}"


def _audited(record: Record) -> str:
    return "-" if _basis(record) else f"{record.document['audit']['hits']:,} hits"


def _gap(record: Record) -> str:
    figure = record.figures.get("claim_gap")
    if figure is None:
        return "-"
    return f"{100 * figure.lo:+.1f} to {100 * figure.hi:+.1f} %"


def _spread(record: Record) -> str:
    spread = record.document["spread"]
    return "-" if spread is None else percent(spread)


COLUMNS: dict[str, Callable[[Record], str]] = {
    "kernel": lambda record: record.document["device"]["name"],
    "hashrate": _figure("hashrate"),
    "basis": lambda record: record.document["device"]["basis"],
    "claim gap": _gap,
    "work": lambda record: record.work,
    "spread": _spread,
    "per CPU second": _figure("hashrate_per_cpu_second"),
    "cycles/hash": _figure("cycles_per_hash"),
    "power": _figure("power"),
    "J/TH": _figure("efficiency"),
    "shares": lambda record: f"{record.document['counts']['shares']:,}",
    "audited": _audited,
    "state": lambda record: record.document["state"],
}
# What is left out where it is nobody's.
SOMETIMES = ("power", "J/TH", "claim gap", "per CPU second", "cycles/hash", "spread", "audited")
# What a narrow terminal does without, in this order.
DISPENSABLE = ("audited", "shares", "spread", "cycles/hash", "per CPU second")


def _columns(records: Sequence[Record], width: int) -> dict[str, list[str]]:
    """Return the cells of each column that has something to say and fits."""
    shown = {name: [cell(record) for record in records] for name, cell in COLUMNS.items()}
    if all(record.document["state"] == "complete" for record in records):
        shown.pop("state", None)
    if VERSION_ROLLING not in {record.work for record in records}:
        shown.pop("work", None)
    if not any(map(_basis, records)):
        del shown["basis"]
    for name in SOMETIMES:
        if all(cell == "-" for cell in shown[name]):
            del shown[name]
    for name in DISPENSABLE:
        widths = [max(map(len, (title, *cells))) + 2 for title, cells in shown.items()]
        if sum(widths) - 2 > width:
            shown.pop(name, None)
    return shown


def _console() -> Console:
    # Without markup and emoji: what stands in brackets in a record is no style of ours.
    width = None if sys.stdout.isatty() else WIDTH
    return Console(width=width, markup=False, emoji=False)
