"""Tables for a terminal: live while measuring, and of what was measured."""

from __future__ import annotations

import sys
import time
from statistics import median
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.live import Live as RichLive
from rich.table import Table

from hwkit.harness.correction import Correction
from hwkit.harness.figures import wall_rate
from hwkit.harness.plan import beside, duration, percent
from hwkit.units import Figure, plain, show

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hwkit.harness.entry import Entry
    from hwkit.harness.session import Session
    from hwkit.records import Record

FIGURES = [
    "efficiency",
    "power",
    "hashrate",
    "hashrate_by_shares",
    "hashrate_per_cpu_second",
    "cycles_per_hash",
]
# Details that have a line of their own.
OWN = {"lanes", "threads", "affinity", "device", "platform", "version", "driver"}
RECENT = 200  # windows that the live rate is the median of
WIDTH = 100  # of tables that are not on a terminal


class Live:
    """A table on stderr that follows a session; nothing where stderr is no terminal."""

    def __init__(self, session: Session) -> None:
        """Follow the session."""
        self._session = session
        self._began = time.monotonic()
        self._live = (
            RichLive(console=Console(stderr=True, markup=False), auto_refresh=False, transient=True)
            if sys.stderr.isatty()
            else None
        )

    def __enter__(self) -> Self:
        """Show the table."""
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take it away again."""
        if self._live:
            self._live.stop()

    def tick(self) -> None:
        """Draw it anew."""
        if self._live:
            self._live.update(self._table(), refresh=True)

    def _table(self) -> Table:
        entries = self._session.entries
        done = sum(_share(entry, self._session.plan.time_s) for entry in entries)
        spent = time.monotonic() - self._began
        left = spent / done * (len(entries) - done) if done > 0.05 * len(entries) else None
        title = f"{duration(spent)} spent" + (f", at most {duration(left)} left" if left else "")
        title += beside(self._session.plan.work)
        table = Table(title=title, box=None, title_justify="left", pad_edge=False)
        for name in ("device", "hashrate", "windows", "state"):
            table.add_column(name, justify="left" if name in {"device", "state"} else "right")
        for entry in entries:
            rates = [wall_rate(window) for window in entry.windows[-RECENT:]]
            rate = show(median(rates), "H/s") if rates else "-"
            table.add_row(entry.name, rate, str(len(entry.windows)), entry.state)
        return table


def results(session: Session, records: Sequence[Record], store: str | None) -> None:
    """Print the table of a session that has ended, its caveats, and what to type next.

    `store` is what was given as --store, which the next command needs too.
    """
    console = _console()
    documents = [record.document for record in records]
    shown = _columns(records, console.width)
    table = Table(box=None, pad_edge=False)
    for number, name in enumerate(shown):
        table.add_column(name, justify="right" if number else "left", no_wrap=True)
    for row in zip(*shown.values(), strict=True):
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
    threads = f"{device['threads']} threads{where}"
    row("device", f"{device['name']}, {threads}, {device['basis']}{work}")
    for name, text in _device_rows(device["details"]):
        row(name, text)
    for name, figure in sorted(record.figures.items(), key=_place):
        row(name.replace("_", " "), f"{figure} ({percent(figure.relative)}){work}")
    counts, audit = document["counts"], document["audit"]
    row(
        "counted",
        f"{counts['hashes']:,} hashes, {counts['shares']:,} shares in {counts['windows']} windows",
    )
    for name, text in _energy_rows(document):
        row(name, text)
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


def _device_rows(details: dict[str, Any]) -> Iterator[tuple[str, str]]:
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


def _under_the_table(console: Console, records: Sequence[Record]) -> None:
    """Say which devices the addresses are, and what each J/TH stands on."""
    for record in records:
        device = record.document["device"]
        for _, text in list(_device_rows(device["details"]))[:1]:
            console.print(plain(f"{device['name']}: {text}"), soft_wrap=True, highlight=False)
    for record in records:
        _result_block(console, record)


def _result_block(console: Console, record: Record) -> None:
    """Print what a J/TH stands on: boundary, instrument, work, window."""
    document = record.document
    if not document.get("metered"):
        return
    console.print(plain(f"{document['device']['name']}:"))
    for name, text in _energy_rows(document):
        console.print(plain(f"  {name:<10} {text}"), soft_wrap=True, highlight=False)


def _energy_rows(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the lines of the result block, for each meter in turn."""
    for meter, seen in zip(document.get("meters", []), document.get("metered", []), strict=True):
        energy, found = seen["energy"], seen["efficiency"]
        yield "boundary", f"{meter['scope']}, by {meter['name']} ({meter['provenance']})"
        if found is None:
            yield "J/TH", f"none: {100 * energy['coverage']:.3g} % of the window was seen"
        else:
            figure, budget = Figure.from_json(found), found["budget"]
            said = f"{figure} (k = 2; {figure.lo:.6g} to {figure.hi:.6g}), {budget['dominant']}"
            yield "J/TH", said
        for name in ("power", "hashrate"):
            if seen.get(name):
                figure = Figure.from_json(seen[name])
                yield name, str(figure) if figure.U else show(figure.value, figure.unit)
        if seen["idle_w"] is not None:
            yield "idle", f"{show(seen['idle_w'], 'W')}, before and after"
        yield "instrument", _instrument(meter, energy)
        if "correction" in meter:
            yield "corrected", f"by {Correction.from_json(meter['correction'])}"


def _instrument(meter: dict[str, Any], energy: dict[str, Any]) -> str:
    told = [meter["told"].get(key) or meter.get(key) for key in ("model", "serial")]
    accuracy = meter["accuracy"]
    interval = energy["interval_s"]["median"]
    return ", ".join(
        filter(
            None,
            [
                " ".join(filter(None, told)) or "of no name",
                f"±{percent(accuracy['of_reading'])} of the reading ({accuracy['source']})"
                if accuracy
                else "accuracy unchecked",
                meter["calibrated"] or "uncalibrated",
                energy["source"] and f"joules by its {energy['source']}",
                f"{energy['readings']} readings",
                interval and f"one in {interval:.3g} s",
                f"{100 * energy['coverage']:.3g} % of the window seen",
            ],
        )
    )


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


def _place(pair: tuple[str, Figure]) -> int:
    """Return where a figure stands on a card: those that we know of first."""
    return FIGURES.index(pair[0]) if pair[0] in FIGURES else len(FIGURES)


def _figure(name: str) -> Callable[[Record], str]:
    """Return the cell of a figure, its unit left out where the column names it."""

    def cell(record: Record) -> str:
        figure = record.figures.get(name)
        if figure is None:
            return "-"
        return str(figure) if figure.scales else str(figure).removesuffix(f" {figure.unit}")

    return cell


def _spread(record: Record) -> str:
    spread = record.document["spread"]
    return "-" if spread is None else percent(spread)


COLUMNS: dict[str, Callable[[Record], str]] = {
    "kernel": lambda record: record.document["device"]["name"],
    "hashrate": _figure("hashrate"),
    "work": lambda record: record.work,
    "spread": _spread,
    "per CPU second": _figure("hashrate_per_cpu_second"),
    "cycles/hash": _figure("cycles_per_hash"),
    "power": _figure("power"),
    "J/TH": _figure("efficiency"),
    "shares": lambda record: f"{record.document['counts']['shares']:,}",
    "audited": lambda record: f"{record.document['audit']['hits']:,} hits",
    "state": lambda record: record.document["state"],
}
# What a narrow terminal does without, in this order.
DISPENSABLE = ("audited", "shares", "spread", "cycles/hash", "per CPU second")


def _columns(records: Sequence[Record], width: int) -> dict[str, list[str]]:
    """Return the cells of each column that has something to say and fits."""
    shown = {name: [cell(record) for record in records] for name, cell in COLUMNS.items()}
    if all(record.document["state"] == "complete" for record in records):
        shown.pop("state", None)
    if not any(beside(record.work) for record in records):
        shown.pop("work", None)
    for name in ("power", "J/TH"):
        if all(cell == "-" for cell in shown[name]):
            del shown[name]
    for name in DISPENSABLE:
        widths = [max(map(len, (title, *cells))) + 2 for title, cells in shown.items()]
        if sum(widths) - 2 > width:
            del shown[name]
    return shown


def _share(entry: Entry, time_s: float) -> float:
    """Return how much of an entry's time is behind it, from 0 to 1."""
    if entry.state in {"complete", "interrupted", "void", "unproven"}:
        return 1.0
    return min(entry.measured_s / time_s, 1.0)


def _console() -> Console:
    # Without markup and emoji: what stands in brackets in a record is no style of ours.
    width = None if sys.stdout.isatty() else WIDTH
    return Console(width=width, markup=False, emoji=False)
