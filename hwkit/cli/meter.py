"""`hwkit meter`: watch meters, check one, hold two against each other."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from hwkit.cli.interrupts import until_interrupted
from hwkit.cli.options import find_meters, json_option, print_json, read_with
from hwkit.errors import PlanError, Unmeasurable
from hwkit.harness import correction, corrections, metercheck, meterstep
from hwkit.harness.metering import Metering
from hwkit.harness.meterstep import SETTLED, find_step
from hwkit.harness.plan import duration, seconds
from hwkit.report import meters as shown
from hwkit.report.meters import MetersLive, comparison, document
from hwkit.units import plain, show

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hwkit.harness.metering import Sampled
    from hwkit.harness.meterstep import Load, Step
    from hwkit.protocols import Meter

TICK_S = 0.05
LONGEST_S = 30 * 86400.0
TEST_S, COMPARE_S = 60.0, 600.0
WAIT_S = 60.0  # for a person to switch a load
EXIT = {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 5, "-": 5}
FAULTY, INCONCLUSIVE, INTERRUPTED = 4, 5, 130


class Watching(click.Group):
    """Takes an address for what it is: `hwkit meter rapl` is `hwkit meter watch rapl`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put in the command that is meant."""
        if args and args[0] not in {*self.commands, *self.get_help_option_names(ctx)}:
            args = ["watch", *args]
        return super().parse_args(ctx, args)


def _time(text: str) -> float:
    time_s = seconds(text)
    if not 0 < time_s <= LONGEST_S:
        raise PlanError(f"time {time_s:g} s: it lies above 0 and up to 30 days")
    return time_s


def _watts(text: str) -> float:
    try:
        watts = float(text.strip().removesuffix("W"))
    except ValueError as error:
        raise PlanError(f"{text!r} is no power: write 1W") from error
    if not 0 <= watts < 1e6:
        raise PlanError(f"{text!r}: a power from 0 W on")
    return watts


@click.group("meter", cls=Watching)
def command() -> None:
    """Watch meters, check one, or hold two against each other.

    hwkit meter ADDRESS... watches them live; nothing of it is recorded.
    """


@command.command("watch")
@click.argument("addresses", nargs=-1, required=True, metavar="ADDRESS...")
@click.option("--time", "time_s", callback=read_with(_time), help="End after: 60s. [default: ^C]")
@json_option
def watch(addresses: tuple[str, ...], time_s: float | None, *, as_json: bool) -> None:
    """Show what meters read, live, and how often they really do; at the end what it came to."""
    sampled, stopped = _sample(find_meters(addresses), time_s)
    if as_json:
        print_json({"meters": [shown.document(each) for each in sampled]})
    else:
        for each in sampled:
            for name, text in shown.summary(each):
                click.echo(plain(f"{name:<12} {text}"))
    if any(shown.why_nothing(each) for each in sampled):
        sys.exit(FAULTY)
    sys.exit(INTERRUPTED if stopped and time_s is not None else 0)


@command.command("test")
@click.argument("address")
@click.option("--time", "time_s", callback=read_with(_time), help="Read so long. [default: 60s]")
@click.option(
    "--step",
    metavar="LOAD",
    help="Then ask for a known load to be switched: 100W, or 100W±2% (else ±10 %).",
)
@json_option
def test(address: str, time_s: float | None, step: str | None, *, as_json: bool) -> None:
    """Check a meter: interval, steps, drop-outs, counter, plausibility, and a known load.

    Each line ends in PASS, FAIL, INCONCLUSIVE, or - where there is nothing to hold it against; the
    exit code is 0, 1 or 5.
    """
    load = None if step is None else meterstep.Load.read(step)
    [meter] = find_meters([address])
    if meter.spec.interval_s is None:
        raise PlanError(f"{address}: a person reads it, at two moments: that cannot be tested")
    found: list[meterstep.Step | None] = []

    def switch(metering: Metering, tick: Callable[[], bool]) -> None:
        if load is not None:
            found.append(_await_step(metering.sampled[0], load, tick))

    [sampled], stopped = _sample([meter], time_s or TEST_S, switch)
    checks = list(metercheck.checks(sampled))
    if load is not None:
        checks.append(meterstep.step_check(found[0] if found else None, load, sampled))
    verdict = metercheck.overall(checks)
    if as_json:
        seen = {"step": found[0].to_json()} if found and found[0] else {}
        told = {"verdict": verdict.value, "checks": [check.to_json() for check in checks]}
        print_json(told | seen | {"meter": document(sampled)})
    else:
        for check in checks:
            click.echo(plain(f"{check.verdict:<12}  {check.name:<15} {check.text}"))
        click.echo(plain(f"{verdict:<12}  {sampled.spec.name}"))
    sys.exit(INTERRUPTED if stopped else EXIT[verdict])


@command.command("compare")
@click.argument("a")
@click.argument("b")
@click.option("--time", "time_s", callback=read_with(_time), help="So long. [default: 10min]")
@click.option(
    "--between",
    "between_w",
    callback=read_with(_watts),
    help="What the meter nearer to the load draws at most, which the other sees. [default: 1W]",
)
@json_option
def compare(
    a: str, b: str, time_s: float | None, between_w: float | None, *, as_json: bool
) -> None:
    """Hold meter A against a better one, B, in series on one load, and keep the correction.

    J/TH by A is then divided by what A reads too much; its own class gives way to that of B and the
    uncertainty of the comparison. Use the load that will be measured: it holds at no other.
    """
    instruments = [meter for name in (a, b) for meter in find_meters([name])]
    correction.refuse_unlike(instruments[0].spec, instruments[1].spec)
    corrections.read()  # one that is broken is told now, and not in ten minutes
    sampled, stopped = _sample(instruments, time_s or COMPARE_S)
    left, right = sampled
    try:
        found = correction.compared(
            *correction.of_one_window(left, right),
            correction.BETWEEN_W if between_w is None else between_w,
        )
    except Unmeasurable as error:
        if as_json:
            print_json({"verdict": "INCONCLUSIVE", "why": str(error)})
        else:
            click.echo(plain(f"INCONCLUSIVE  {error}"))
        sys.exit(INTERRUPTED if stopped else INCONCLUSIVE)
    against = "it was interrupted" if stopped else found.against
    kept = None
    if against is None:
        by = corrections.as_told(right)
        kept = correction.Correction.of(found, by, f"{datetime.now(UTC):%Y-%m-%d}")
        corrections.keep(corrections.Kept.of(left, kept))
    if as_json:
        outcome = {"correction": kept and kept.to_json(), "not_kept": against}
        print_json(found.to_json() | outcome)
    else:
        for line in comparison(found, kept, against):
            click.echo(plain(line))
    sys.exit(INTERRUPTED if stopped else 0)


@command.command("corrections")
@json_option
def list_corrections(*, as_json: bool) -> None:
    """List the corrections that comparisons have found."""
    kept = corrections.read()
    if as_json:
        print_json({"corrections": [each.to_json() for each in kept]})
        return
    for each in kept:
        told = " ".join(filter(None, (each.model, each.serial)))
        click.echo(plain(f"{each.name}{told and f' ({told})'}, by {each.correction}"))
    if not kept:
        click.echo("None. Next: hwkit meter compare A B")


@command.command("forget")
@click.argument("name")
def forget(name: str) -> None:
    """Remove the correction of the meter at an address."""
    if not corrections.forget(name):
        known = ", ".join(sorted({each.name for each in corrections.read()})) or "of none"
        raise PlanError(f"there is no correction of {name!r}; there are: {known}")


def _sample(
    instruments: Sequence[Meter],
    time_s: float | None,
    then: Callable[[Metering, Callable[[], bool]], None] | None = None,
) -> tuple[list[Sampled], bool]:
    """Read meters for so long, or until interrupted; return them, and was it interrupted?

    `then` goes on with what it is given; its second argument draws, waits a moment and says whether
    to go on.
    """
    by_hand = any(meter.spec.interval_s is None for meter in instruments)
    with until_interrupted() as stop, Metering(instruments) as metering:
        lag_s = metering.lag_s if by_hand else 0.0  # the others' readings enclose a person's
        if not _edge(metering, lag_s, stop.is_set):
            raise click.Abort
        with MetersLive(metering.sampled) as live:

            def tick() -> bool:
                live.tick()
                return not stop.wait(TICK_S)

            _until(time_s, tick)
            if then is not None and not stop.is_set():
                then(metering, tick)
        stopped = stop.is_set()
        _edge(metering, lag_s, lambda: False)
        ended = time.monotonic_ns()
    for each in metering.sampled:  # to close a meter fails the reading that is under way
        each.faults[:] = each.faults_between(0, ended)
    return metering.sampled, stopped


def _until(time_s: float | None, tick: Callable[[], bool]) -> None:
    until = None if time_s is None else time.monotonic() + time_s
    while tick() and (until is None or time.monotonic() < until):
        pass


def _edge(metering: Metering, lag_s: float, stopped: Callable[[], bool]) -> bool:
    """Let a person read what a person reads, well within the others' readings; did they?"""
    time.sleep(lag_s)
    while not metering.edge():
        if stopped():
            return False
        time.sleep(TICK_S)
    time.sleep(lag_s)
    return True


def _await_step(sampled: Sampled, load: Load, tick: Callable[[], bool]) -> Step | None:
    """Ask a person to switch a load, and return the step that was seen, or None."""
    what = f"a load of {show(load.watts, 'W')}"
    click.echo(f"Switch {what} on or off now, and leave it so (in {duration(WAIT_S)}).", err=True)
    asked, until = time.monotonic_ns(), time.monotonic() + WAIT_S
    step = None
    while tick() and (step is not None or time.monotonic() < until):
        step = find_step(sampled, asked)
        if step is not None and step.readings >= SETTLED:
            break
    return step
