"""`hwkit bench`: prove, then measure, side by side; a record of each run goes into the store."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from hwkit.cli.interrupts import until_interrupted
from hwkit.cli.metered import (
    Bench,
    confirm_option,
    expect_option,
    inlet_option,
    mains_option,
    rig_option,
)
from hwkit.cli.options import (
    affinity_option,
    find_hashers,
    json_option,
    meter_option,
    no_corrections_option,
    no_tune_option,
    print_json,
    read_with,
    retune_option,
    store_option,
    threads_option,
    tuned,
    version_rolling_option,
)
from hwkit.cli.restoring import by_hand, manual_option, restored
from hwkit.errors import HwkitError
from hwkit.harness.plan import Plan, fraction, seconds
from hwkit.harness.session import Session
from hwkit.protocols import Basis
from hwkit.records import Store
from hwkit.report.live import Live
from hwkit.report.terminal import results
from hwkit.units import plain, show

if TYPE_CHECKING:
    from pathlib import Path

    from hwkit.harness.entry import Entry
    from hwkit.harness.foresee import Expected
    from hwkit.protocols import HasherSpec

PATIENCE_S = 600.0  # for a precision that was asked for without a time
METERED_PATIENCE_S = 3600.0
FED_PATIENCE_S = 6 * 3600.0
VERDICT = {0: "PASS", 1: "FAIL"}  # anything else: it was not measured to its end
EXIT = {"complete": 0, "unproven": 1, "interrupted": 130}


@click.command("bench")
@click.argument("addresses", nargs=-1, metavar="[ADDRESS]...")
@click.option("--quick", "preset", flag_value="quick", help="±1 %, at most 5 s each. [default]")
@click.option("--standard", "preset", flag_value="standard", help="±0.5 %, at most 1 min each.")
@click.option("--accept", "preset", flag_value="accept", help="An hour each; with a meter a day.")
@meter_option
@rig_option
@expect_option
@inlet_option
@mains_option
@confirm_option
@no_corrections_option
@click.option("--idle", "idle_s", callback=read_with(seconds), help="Meter it idle as well: 60s.")
@click.option("--time", "time_s", callback=read_with(seconds), help="Measure so long each: 30s.")
@click.option("--precision", callback=read_with(fraction), help="Stop when so precise: 1%.")
@click.option("--warmup", "warmup_s", callback=read_with(seconds), help="Before that, uncounted.")
@click.option("--seed", help="Of the job and the order of turns. [default: random]")
@click.option(
    "--challenge", metavar="TEXT", help="Put into the coinbase: shares prove work after it."
)
@click.option(
    "--beacon", metavar="HEADER", help="A recent block header (160 hex digits), likewise."
)
@click.option("--plan", "only_plan", is_flag=True, help="Say how long and how precise, and stop.")
@manual_option
@no_tune_option
@retune_option
@version_rolling_option
@threads_option
@affinity_option
@store_option
@json_option
def command(
    addresses: tuple[str, ...],
    preset: str | None,
    meters: tuple[str, ...],
    rig_file: Path | None,
    expect: Expected | None,
    inlet: str | None,
    mains: str | None,
    idle_s: float | None,
    time_s: float | None,
    precision: float | None,
    warmup_s: float | None,
    seed: str | None,
    challenge: str | None,
    beacon: str | None,
    threads: int | None,
    affinity: tuple[int, ...] | None,
    store: str | None,
    *,
    confirm: bool,
    no_corrections: bool,
    manual: bool,
    no_tune: bool,
    retune: bool,
    version_rolling: bool,
    only_plan: bool,
    as_json: bool,
) -> None:
    """Measure the hashrate of every device of this machine, or of those at ADDRESS.

    Each kernel is proven first; an unproven one gets no speed. Kernels take turns, every share is
    hashed again, and random stretches are scanned again by another kernel. cpu:auto is the kernel
    that a short measurement finds fastest, on each type of core; null measures the harness itself.

    A miner (asic:HOST) is fed by hwkit's own pool, and its rate inferred from shares, each hashed
    again: for 10 minutes and to ±5 % (--quick), or for 2 hours to ±1 % (--standard). One that
    claims a rate and delivers no share fails.

    With --meter devices are measured one after another, each without a pause, for 5 minutes and to
    ±3 % of J/TH (--quick), or for 30 minutes to ±1 % once power has settled (--standard). With
    --rig those that have meters of their own are measured at the same time.
    """
    bench = Bench(
        by_hand(addresses) if manual else addresses,
        meters,
        rig_file,
        {"inlet_c": inlet, "mains_v": mains},
        partial(find_hashers, threads=threads, affinity=affinity),
    )
    bench.refuse_unmetered(
        {
            "--idle": idle_s is not None,
            "--expect": expect is not None,
            "--confirm": confirm,
            "--no-corrections": no_corrections,
        }
    )
    given = {
        "seed": seed,
        "challenge": challenge,
        "beacon": beacon,
        "warmup_s": warmup_s,
        "version_rolling": version_rolling,
        "meters": bench.names if rig_file else meters,
        "idle_s": idle_s,
    }
    if time_s is not None:
        given["time_s"] = time_s
    elif precision is not None and preset is None:
        given["time_s"] = _patience_s(bench)
    plan = Plan.preset(
        preset or "quick",
        bench.basis,
        **{key: value for key, value in given.items() if value is not None},
    )
    if time_s is not None or precision is not None:
        plan = plan.with_precision(precision)  # a time alone is used up
    asked = precision is not None or preset is not None  # the default may be out of reach
    foreseen = bench.foresee(plan, expect, store, asked=asked, corrected=not no_corrections)
    estimate = plan.estimate(
        [hasher.spec.name for hasher in bench.hashers], bench.chain, bench.basis
    )
    lines = [plain(line) for line in (estimate, *(each.text for each in foreseen))]
    if only_plan:
        if as_json:
            told = {"foreseen": [each.to_json() for each in foreseen]} if foreseen else {}
            print_json({"plan": plan.to_json(), "estimate": estimate, **told})
        else:
            click.echo("\n".join(lines))
        return
    records = Store(store)
    with until_interrupted() as stop, ExitStack() as stack:
        click.echo("\n".join(lines), err=True)
        metering, setup = stack.enter_context(
            bench.open(confirmed=confirm, corrected=not no_corrections)
        )
        hashers = tuned(bench.hashers, stop, no_tune=no_tune, retune=retune)
        for hasher in hashers:
            _say_picked(hasher.spec)
        session = Session(plan, hashers, records, stop, metering=metering, setup=setup)
        with restored(hashers) as faults:
            with Live(session) as live:
                session.run(live.tick)
            kept = [records.get(entry.run.id) for entry in session.entries if entry.run]
            if not as_json:  # before a miner that has died is waited for
                results(session, kept, store)
    if as_json:
        print_json(_document(session, [record.to_json() for record in kept]))
    sys.exit(exit_code(session.entries) or max((each.exit_code for each in faults), default=0))


def _patience_s(bench: Bench) -> float:
    if bench.basis is not Basis.COUNTED:
        return FED_PATIENCE_S
    return METERED_PATIENCE_S if bench.meters else PATIENCE_S


def _say_picked(spec: HasherSpec) -> None:
    """Say which kernel cpu:auto has picked, for which cores, and by what rates."""
    if "picked_by" not in spec.details:
        return
    one = {"": {"kernel": spec.name, "measured_h_s": spec.details.get("measured_h_s")}}
    for kind, pick in spec.details.get("by_core_type", one).items():
        rates = pick["measured_h_s"].items()
        shown = ", ".join(f"{name} {show(rate, 'H/s')}" for name, rate in rates)
        where = kind and f" on {kind} cores"
        picked_by = spec.details["picked_by"]
        click.echo(f"{picked_by} is {pick['kernel']}{where}: {shown} a thread", err=True)


def exit_code(entries: list[Entry]) -> int:
    """Return the exit code of a session: wrong before faulty before interrupted before done."""
    wrong = [entry.error for entry in entries if isinstance(entry.error, HwkitError)]
    if any(entry.state == "unproven" or _has_failed(entry) for entry in entries):
        return 1
    if wrong:
        return min(error.exit_code for error in wrong)
    return max(EXIT.get(entry.state, 4) for entry in entries)


def _has_failed(entry: Entry) -> bool:
    """Was it measured to its end, and found to deliver nothing of what it claims?"""
    return entry.state == "complete" and bool(entry.summary and entry.summary.failed)


def _document(session: Session, records: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "session": session.id,
        "verdict": VERDICT.get(exit_code(session.entries), "INCONCLUSIVE"),
        "records": records,
        "unrecorded": [
            {
                "name": entry.name,
                "state": entry.state,
                "why": entry.why,
                "proof": entry.proof.to_json() if entry.proof else None,
            }
            for entry in session.entries
            if entry.run is None
        ],
    }
