"""`hwkit worth`: what machines are worth, a verdict each; fleets, and other uses of a kWh."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hwkit.cli.assumptions import (
    amount,
    assumptions,
    finder,
    grid_option,
    hashrate,
    hours_of,
    kept_snapshot,
    read_day,
    share,
    snapshot_option,
    terms_of,
    unit,
)
from hwkit.cli.models import models_option, read_text
from hwkit.cli.options import json_option, print_json, read_with, store_option
from hwkit.cli.records import write_whole
from hwkit.economics import expected_blocks, expected_btc, handwritten, implied_hashrate, snapshot
from hwkit.economics.alternatives import side_by_side
from hwkit.economics.fleet import read_fleet, report
from hwkit.economics.network import covered
from hwkit.economics.today import today
from hwkit.errors import NoDriver, NotPermitted, PlanError
from hwkit.report import worth
from hwkit.units import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hwkit.economics.futures import Terms
    from hwkit.economics.machine import Machine
    from hwkit.economics.today import Today
    from hwkit.economics.verdict import Verdict


class Ranking(click.Group):
    """Takes what is no subcommand for candidates: `hwkit worth "S21 XP" --price 2970`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the name of the usual subcommand before what follows."""
        if args and args[0] not in {*self.commands, "--help"}:
            args = ["rank", *args]
        return super().parse_args(ctx, args)


@click.group("worth", cls=Ranking)
def command() -> None:
    """Say what machines are worth: hwkit worth MODEL|ID... --price 2970 --power 0.05

    ID is what was measured, a record or an evaluation; ID,ID,ID are units of one model.

    `hwkit worth rank --help` lists every assumption. No command asks the network: prices and
    difficulty are of a dated snapshot.
    """


@command.command("rank")
@click.argument("candidates", nargs=-1, required=True, metavar="MODEL|ID[,ID...][@PRICE]...")
@click.option("--price", callback=read_with(amount), help="$ for a machine without @PRICE.")
@click.option(
    "--scenario",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Assumptions as TOML; options go before it.",
)
@click.option(
    "--prices",
    type=click.Path(dir_okay=False, path_type=Path),
    help="$/kWh or $/MWh by the hour, or its quarters, as CSV: it runs in the hours that pay.",
)
@click.option("--prices-column", help="Its column of prices, where its names do not tell.")
@click.option(
    "--prices-unit",
    callback=read_with(unit),
    help="What 1 in that column is in $/kWh: of cents/kWh 0.01, of EUR/MWh at $1.08 0.00108.",
)
@click.option(
    "--html",
    "page",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write it as a page, too, with the fan of money and what matters most.",
)
@click.option(
    "--this-unit",
    is_flag=True,
    help="What was measured is what is bought: no spread between units.",
)
@assumptions
@grid_option
@snapshot_option
@models_option
@store_option
@json_option
def rank(
    candidates: tuple[str, ...],
    price: float | None,
    file: Path | None,
    prices: Path | None,
    prices_column: str | None,
    prices_unit: float | None,
    page: Path | None,
    g_per_kwh: float,
    day_of: Path | None,
    own: Path | None,
    store: str | None,
    *,
    this_unit: bool,
    as_json: bool,
    **given: Any,  # noqa: ANN401 - what ASSUMPTIONS read
) -> None:
    """Rank machines, models by name or measured ones by their ids, with a verdict each.

    ID is a record's or an evaluation's. Of one or two units the nameplate's tolerance is the
    assumed spread between units; ID,ID,ID, three units or more of one model, have their own.

    BUY: at this price it pays as surely as asked for, and beats buying coins with the same money in
    at least half of all futures. BUY BTC: else those coins come out ahead. WAIT: neither; the price
    at which to buy is named.
    """
    _need_numpy()
    from hwkit.economics.verdict import costs_of_delay, judge  # noqa: PLC0415 - numpy

    hours = hours_of(prices, prices_column, prices_unit)
    terms = terms_of(file, hours, given, read_day(day_of))
    find = finder(own, store, this_unit=this_unit)
    wanted = [_candidate(text, price, find) for text in candidates]
    verdicts = judge(wanted, terms)
    days = [
        today(each.machine, each.price, terms.scenario, terms.snapshot, g_per_kwh)
        for each in verdicts
    ]
    delays = [
        costs_of_delay(each.machine, each.price, terms)
        if each.price is not None and terms.scenario.order
        else None
        for each in verdicts
    ]
    if page is not None:
        _write_page(page, verdicts, days, delays, terms)
    if as_json:
        rows = [
            verdict.to_json() | {"today": seen.to_json(), "costs_of_delay_usd": delay}
            for verdict, seen, delay in zip(verdicts, days, delays, strict=True)
        ]
        print_json(_told(terms) | {"candidates": rows})
        return
    worth.verdicts(verdicts, days, delays, terms)


def _write_page(
    path: Path,
    verdicts: Sequence[Verdict],
    days: Sequence[Today],
    delays: Sequence[list[float] | None],
    terms: Terms,
) -> None:
    from hwkit.report.html_worth import page  # noqa: PLC0415 - it draws

    write_whole(path, [page(verdicts, days, delays, terms)])


@command.command("fleet")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@snapshot_option
@models_option
@store_option
@json_option
def fleet(
    file: Path, day_of: Path | None, own: Path | None, store: str | None, *, as_json: bool
) -> None:
    """Say what a fleet is rated at, has energised and delivers, and what to replace first.

    FILE is TOML: usd_per_kwh, power_mw (a cap), [[machines]] with model, count, running and uptime,
    [[candidates]] with model and price.
    """
    known = read_day(day_of)
    found = read_fleet(read_text(file, handwritten.LARGEST), str(file), finder(own, store))
    result = report(found, known)
    if as_json:
        print_json({"snapshot": known.to_json()} | result.to_json())
        return
    worth.fleet(result, found, known)


@command.command("uses")
@click.argument("candidates", nargs=-1, required=True, metavar="MODEL|ID...")
@click.option("--pool-fee", callback=read_with(share), default="2%", show_default=True)
@click.option("--overhead", callback=read_with(amount), default="1.03", show_default=True)
@click.option(
    "--utilisation",
    callback=read_with(share),
    default="100%",
    show_default=True,
    help="Part of the time a GPU is rented.",
)
@snapshot_option
@models_option
@store_option
@json_option
def uses(
    candidates: tuple[str, ...],
    pool_fee: float,
    overhead: float,
    utilisation: float,
    day_of: Path | None,
    own: Path | None,
    store: str | None,
    *,
    as_json: bool,
) -> None:
    """Show what a kWh earns by mining, by hosting others' machines, and by renting out GPUs."""
    if not (0 <= pool_fee < 1 <= overhead <= 3 and 0 <= utilisation <= 1):
        raise PlanError("shares lie between 0 and 1, the overhead between 1 and 3")
    known, find = read_day(day_of), finder(own, store)
    found = side_by_side(
        [find(name) for name in candidates],
        known,
        pool_fee=pool_fee,
        overhead=overhead,
        utilisation=utilisation,
    )
    if as_json:
        print_json({"snapshot": known.to_json(), "uses": [use.to_json() for use in found]})
        return
    worth.uses(found)


@command.command("blocks")
@click.argument("hashrate", callback=read_with(hashrate))
@click.argument("start")
@click.argument("end")
@click.option(
    "--found", type=click.IntRange(0, 10**9), help="Blocks found: what hashrate they imply."
)
@snapshot_option
@json_option
def blocks(
    hashrate: float, start: str, end: str, found: int | None, day_of: Path | None, *, as_json: bool
) -> None:
    """Say how many blocks and coins a HASHRATE (53.2EH/s) finds from START to END, with bounds.

    END is not included; times are UTC.
    """
    later = None if covered(end) else read_day(day_of).difficulty
    expected = expected_blocks(hashrate, start, end, later=later)
    coins = expected_btc(hashrate, start, end, later=later)
    implied = None if found is None else implied_hashrate(found, start, end)
    if as_json:
        print_json(
            {
                "blocks": expected.to_json(),
                "btc_of_subsidies": coins.to_json(),
                "later_difficulty": later,
                "implied_hashrate": implied and implied.to_json(),
            }
        )
        return
    click.echo(f"blocks   {worth.counted(expected)}")
    click.echo(
        f"coins    {coins.value:,.6g} BTC ({coins.lo:,.6g} to {coins.hi:,.6g}), without fees"
    )
    if later is not None:
        click.echo(f"The list of difficulties ends before {end}: from there on {later:.5g}.")
    if implied is not None:
        click.echo(f"{found} blocks imply {implied}")


@command.command("snapshot")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), required=False)
@json_option
def snapshot_(file: Path | None, *, as_json: bool) -> None:
    """Show the day that prices and difficulty are of, or take in another one from FILE (TOML)."""
    if file is not None:
        text = read_text(file, handwritten.LARGEST)
        snapshot.read_snapshot(text, str(file))
        path = kept_snapshot()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise NotPermitted(str(path), f"cannot be written: {error.strerror}") from error
    known = read_day(None)
    if as_json:
        print_json(known.to_json())
        return
    for name, value in known.to_json().items():
        shown = f"{value:,.6g}" if isinstance(value, float) else value
        click.echo(plain(f"{name:<26} {shown}"))


def _candidate(
    text: str, price: float | None, find: Callable[[str], Machine]
) -> tuple[Machine, float | None]:
    name, at, own = text.rpartition("@")
    paid = amount(own) if at else price
    if paid is not None and not 0.01 <= paid <= 1e9:
        raise PlanError(f"{text}: a price is a number of $ from 0.01 up, not {paid:g}")
    return find(name if at else text), paid


def _told(terms: Terms) -> dict[str, Any]:
    today = datetime.now(UTC).date()
    return {
        "snapshot": terms.snapshot.to_json(),
        "snapshot_age_days": (today - terms.snapshot.day).days,
        "warning": terms.snapshot.warning(today),
        "scenario": terms.scenario.to_json(),
    }


def _need_numpy() -> None:
    if find_spec("numpy") is None:
        raise NoDriver("worth", "it draws futures with numpy: pip install 'hwkit[economics]'")
