"""`hwkit compare --meter`: two devices in turns on one meter, and a word for their J/TH."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import click

from hwkit.cli.interrupts import until_interrupted
from hwkit.cli.options import print_json
from hwkit.cli.restoring import restored
from hwkit.errors import PlanError
from hwkit.harness.ranking import rank
from hwkit.harness.session import Session
from hwkit.harness.wiring import Wiring
from hwkit.report.live import Live
from hwkit.units import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hwkit.cli.metered import Bench
    from hwkit.harness.efficiency import Efficiency
    from hwkit.harness.plan import Plan
    from hwkit.harness.ranking import Ranking
    from hwkit.records import Store
    from hwkit.records.record import Record


class Turns(NamedTuple):
    """What A B A B turns on one meter have come to."""

    records: list[tuple[Record, Record]]  # of A and B, turn by turn
    interrupted: bool


def take_turns(bench: Bench, plan: Plan, turns: int, records: Store, *, confirmed: bool) -> Turns:
    """Let two devices work one after the other, so many times, each time a record of its own.

    Raises PlanError for one that is not proven, and what a device failed of.
    """
    if len(bench.hashers) != 2:
        names = ", ".join(hasher.spec.name for hasher in bench.hashers)
        raise PlanError(f"a comparison is of two devices, and these addresses name {names}")
    hashers = bench.hashers * turns
    with until_interrupted() as stop, ExitStack() as stack:
        click.echo(plan.estimate([hasher.spec.name for hasher in hashers]), err=True)
        metering, stands = stack.enter_context(bench.open(confirmed=confirmed))
        each = Wiring.side_by_side(bench.names)
        setup = replace(stands, wirings=[each] * len(hashers))
        session = Session(plan, hashers, records, stop, metering=metering, setup=setup)
        with restored(bench.hashers), Live(session) as live:
            session.run(live.tick)
    for entry in session.entries:
        if entry.state == "unproven":
            raise PlanError(f"{entry.name} is not proven and gets no speed: {entry.why}")
        if entry.error:
            raise entry.error
    done = [records.get(e.run.id) for e in session.entries if e.run and e.state == "complete"]
    interrupted = len(done) < len(hashers)
    if interrupted and len(done) < 2:
        raise click.Abort
    return Turns(list(zip(done[::2], done[1::2], strict=False)), interrupted)


def show_turns(taken: Turns, *, as_json: bool) -> None:
    """Print what turns on one meter have come to."""
    result = ranking(taken.records, apart=False, disturbed=False)
    if as_json:
        ids = [[record.id for record in pair] for pair in taken.records]
        print_json({"records": ids, **result.to_json()})
    else:
        for name, some in zip("AB", zip(*taken.records, strict=True), strict=True):
            figures = [record.figures.get("efficiency") for record in some]
            shown = ", ".join("none" if figure is None else str(figure) for figure in figures)
            click.echo(plain(f"{name}: {some[0].document['device']['name']} {shown}"))
        click.echo(f"records: {' '.join(each.id for pair in taken.records for each in pair)}")
        click.echo(ranked(result, *taken.records[0]))


def ranking(pairs: Sequence[tuple[Record, Record]], *, apart: bool, disturbed: bool) -> Ranking:
    """Rank the J/TH of pairs of records, computed again from their rows. Raises Unmeasurable."""
    both = []
    for left, right in pairs:
        a, b = (_headline(record) for record in (left, right))
        if a is not None and b is not None:
            both.append((a, b))
    told = {str(record.document["meters"][0]["told"]) for pair in pairs for record in pair}
    return rank(both, apart=apart, disturbed=disturbed, one_instrument=len(told) == 1)


def ranked(result: Ranking, a: Record, b: Record) -> str:
    """Return the lines that end in a word, with names that may be anybody's made plain."""
    one, other = (plain(record.document["device"]["name"]) for record in (a, b))
    ratio, kind = result.ratio, "pair" if result.pairs == 1 else "pairs"
    than = {"SAME": " as B, within 1 %", "AMBIGUOUS": ""}.get(result.word, " than B")
    dominant = f"; {result.budget.dominant}" if result.budget.dominant else ""
    advice = " (more --turns narrow it)" if result.word == "AMBIGUOUS" and result.pairs > 1 else ""
    return (
        f"{one} / {other} = {ratio.value:.4f} ({ratio.lo:.4f} to {ratio.hi:.4f}, 99 %) in J/TH, "
        f"{result.pairs} {kind}; {result.says}{dominant}\n"
        f"A is {result.word}{than} in J/TH{advice}"
    )


def _headline(record: Record) -> Efficiency | None:
    """Return the J/TH that heads a record; that of a group is nobody's alone."""
    for result in record.summary().metered[:1]:
        return None if result.group else result.efficiency
    return None
