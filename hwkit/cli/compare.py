"""`hwkit compare`: two records, or two devices live, and a word for the difference."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from hwkit.cli.compare_metered import ranked, ranking, show_turns, take_turns
from hwkit.cli.interrupts import until_interrupted
from hwkit.cli.metered import Bench, confirm_option
from hwkit.cli.options import (
    affinity_option,
    find_hashers,
    json_option,
    meter_option,
    print_json,
    read_with,
    store_option,
    threads_option,
    version_rolling_option,
)
from hwkit.cli.restoring import restored
from hwkit.errors import PlanError
from hwkit.harness.comparison import RUN_TO_RUN, Comparison, compare, in_blocks
from hwkit.harness.plan import Plan, beside, fraction, percent, seconds
from hwkit.harness.session import Session
from hwkit.protocols import Basis
from hwkit.records import Store
from hwkit.records.differences import METERED, differences, refuse_unlike, unlike
from hwkit.report.live import Live
from hwkit.units import Figure, plain

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence

    from hwkit.harness.ranking import Ranking
    from hwkit.protocols import Hasher, Sink
    from hwkit.records import Record

TURN_S = 0.05  # short turns: the more pairs, the less a drifting machine matters
DISTURBING = {
    "FewWindows",
    "NotSteady",
    "Dispersed",
    "Flatline",
    "DeviceFloor",
    "Throttled",
    "Oversubscribed",
    "Quota",
}
LIVE_S = 20.0
METERED_TURN_S, METERED_WARMUP_S = 60.0, 10.0
LIVE_PRECISION = 0.004  # leaves room inside the ±1 % of SAME
EARLIEST = 64  # pairs before precision may end it: the first few look alike by chance now and then


@click.command("compare")
@click.argument("a")
@click.argument("b")
@click.option("--time", "time_s", callback=read_with(seconds), help="Live: at most so long each.")
@click.option("--precision", callback=read_with(fraction), help="Live: stop when so precise.")
@click.option("--mixed", is_flag=True, help="Rank unlike against unlike all the same.")
@meter_option
@click.option(
    "--turns", type=click.IntRange(2, 100), default=4, help="With --meter: of each. [default: 4]"
)
@click.option(
    "--warmup", "warmup_s", callback=read_with(seconds), help="With --meter: of each turn. [10s]"
)
@confirm_option
@version_rolling_option
@threads_option
@affinity_option
@store_option
@json_option
def command(
    a: str,
    b: str,
    time_s: float | None,
    precision: float | None,
    meters: tuple[str, ...],
    turns: int,
    warmup_s: float | None,
    threads: int | None,
    affinity: tuple[int, ...] | None,
    store: str | None,
    *,
    confirm: bool,
    mixed: bool,
    version_rolling: bool,
    as_json: bool,
) -> None:
    """Compare A with B: two records by their ids, or two devices by their addresses.

    Lists what differs, then the ratio of the rates with its 99 % interval and a word: SAME (the
    interval lies within ±1 %), FASTER, SLOWER or AMBIGUOUS. Devices are measured now, in turns.

    With --meter they work one after the other, A B A B, each for --time (1 min), and J/TH is
    ranked: SAME, BETTER (less), WORSE or AMBIGUOUS. One meter sees both, so that its class cancels;
    what the one that waits draws is in both. Two records that have J/TH are ranked by it too.
    """
    records = Store(store)
    live = [":" in name or name == "null" for name in (a, b)]
    if any(live) and not all(live):
        raise PlanError(f"{a} and {b}: compare two records or two addresses, not one of each")
    if version_rolling and not any(live):
        raise PlanError("--version-rolling is of live devices: a record says what work it is of")
    if meters:
        if not all(live) or precision is not None:
            raise PlanError("--meter compares two addresses, each for --time, not to a precision")
        find = partial(find_hashers, threads=threads, affinity=affinity)
        taken = take_turns(
            Bench([a, b], meters, None, {}, find),
            Plan(
                time_s=time_s or METERED_TURN_S,
                precision=None,
                warmup_s=METERED_WARMUP_S if warmup_s is None else warmup_s,
                version_rolling=version_rolling,
                meters=meters,
            ),
            turns,
            records,
            confirmed=confirm,
        )
        if not mixed:
            one, other = (record.document for record in taken.records[0])
            refuse_unlike(differences(one, other))
        show_turns(taken, as_json=as_json)
        sys.exit(130 if taken.interrupted else 0)
    interrupted = False
    if all(live):
        hashers = [each for name in (a, b) for each in find_hashers([name], threads, affinity)]
        plan = _plan(time_s, precision, version_rolling=version_rolling)
        (a, b), interrupted = _measured(_measure(records, hashers, plan))
    left, right = records.get(a), records.get(b)
    one, other = left.document, right.document
    differing = differences(one, other)
    if not mixed:
        refuse_unlike(differing)
    bases = [Basis(document["device"]["basis"]) for document in (one, other)]
    result = compare(
        in_blocks(list(left.read("windows")), bases[0]),
        in_blocks(list(right.read("windows")), bases[1]),
        paired=one["session"] == other["session"] and {*bases} == {Basis.COUNTED},
        disturbed=_disturbed(left, right),
    )
    energetic = _energetic(left, right, differing)
    if as_json:
        document = _document(left.id, right.id, differing, unlike(differing), result)
        print_json(document | ({"efficiency": energetic.to_json()} if energetic else {}))
    else:
        _print(left, right, differing, unlike(differing), result)
        if energetic:
            click.echo(ranked(energetic, left, right))
    sys.exit(130 if interrupted else 0)


def _energetic(a: Record, b: Record, differing: dict[str, tuple[Any, Any]]) -> Ranking | None:
    """Rank two records by J/TH, where both have one of their own, seen at one boundary."""
    if METERED & differing.keys() or not all("efficiency" in each.figures for each in (a, b)):
        return None
    return ranking(
        [(a, b)],
        apart=a.document["session"] != b.document["session"],
        disturbed=_disturbed(a, b),
    )


def _disturbed(*records: Record) -> bool:
    return any(
        caveat["caveat"] in DISTURBING
        for record in records
        for caveat in record.document["caveats"]
    )


def _measured(session: Session) -> tuple[tuple[str, str], bool]:
    """Return the records of a session of two, and whether it was interrupted. Raises its errors."""
    for entry in session.entries:
        if entry.state == "unproven":
            raise PlanError(f"{entry.name} is not proven and gets no speed: {entry.why}")
        if entry.error:
            raise entry.error
    runs = [entry.run.id for entry in session.entries if entry.run]
    if len(runs) != 2:  # stopped before both had begun
        raise click.Abort
    return (runs[0], runs[1]), any(entry.state == "interrupted" for entry in session.entries)


def _plan(time_s: float | None, precision: float | None, *, version_rolling: bool) -> Plan:
    if precision is None and time_s is None:
        precision = LIVE_PRECISION
    return Plan(
        time_s=time_s or LIVE_S,
        precision=precision,
        turn_s=TURN_S,
        version_rolling=version_rolling,
    )


def _measure(
    records: Any,  # noqa: ANN401 - Store, imported on use
    hashers: list[Hasher],
    plan: Plan,
) -> Session:
    click.echo(plan.estimate([hasher.spec.name for hasher in hashers]), err=True)
    with until_interrupted() as stop:
        session = pair(plan, hashers, records, stop)
        with restored(hashers), Live(session) as live:
            session.run(live.tick)
    return session


def pair(plan: Plan, hashers: Sequence[Hasher], sink: Sink, stop: threading.Event) -> Session:
    """Return the session that compares two: only the precision of their ratio may end it early.

    Each alone may be precise long before the ratio is.
    """

    def enough(session: Session) -> bool:
        left, right = (entry.windows for entry in session.entries)
        if plan.precision is None or min(len(left), len(right)) < EARLIEST:
            return False
        return compare(left, right, paired=True).ratio.relative <= plan.precision

    return Session(plan.with_precision(None), hashers, sink, stop, enough=enough)


def _document(
    a: str, b: str, differing: dict[str, tuple[Any, Any]], mixed: list[str], result: Comparison
) -> dict[str, Any]:
    return {
        "a": a,
        "b": b,
        "differences": {name: list(pair) for name, pair in differing.items()},
        "mixed": mixed,
        **result.to_json(),
    }


def _print(
    a: Record,
    b: Record,
    differing: dict[str, tuple[Any, Any]],
    mixed: list[str],
    result: Comparison,
) -> None:
    for name, (left, right) in differing.items():
        click.echo(plain(f"{name}: {left} against {right}"))
    if not differing:
        click.echo("Nothing else differs.")
    for name, record in (("A", a), ("B", b)):
        document = record.document
        said = "; ".join(f"{c['caveat']} {c['finding']}" for c in document["caveats"])
        rate = document["figures"].get("hashrate")
        shown = "no hashes" if rate is None else str(Figure.from_json(rate))
        shown += beside(record.work)
        line = f"{name}: {document['device']['name']} {shown}{said and f' ({said})'}"
        click.echo(plain(line))
    if not result.paired:
        click.echo(f"Two runs, apart: ±{percent(RUN_TO_RUN)} are allowed for what changed between.")
    for what in mixed:
        click.echo(plain(f"Unlike is ranked against unlike, as --mixed asks for: {what}."))
    ratio, kind = result.ratio, "pairs" if result.paired else "windows each"
    click.echo(
        f"{' / '.join(plain(x.document['device']['name']) for x in (a, b))} = {ratio.value:.4f} "
        f"({ratio.lo:.4f} to {ratio.hi:.4f}, 99 %), {result.rate}, {result.windows} {kind}"
    )
    click.echo(f"A is {result.word}" + ("" if result.word == "AMBIGUOUS" else _than(result.word)))


def _than(word: str) -> str:
    return " as B, within 1 %" if word == "SAME" else " than B"
