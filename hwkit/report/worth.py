"""What machines are worth, on a terminal: one table, a verdict each."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from rich.console import Console
from rich.table import Table

from hwkit.units import plain, prefixed, show

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hwkit.economics.alternatives import Use
    from hwkit.economics.catalogue import Nameplate
    from hwkit.economics.fleet import Fleet, Replacement, Report
    from hwkit.economics.futures import Terms
    from hwkit.economics.machine import Machine
    from hwkit.economics.snapshot import Snapshot
    from hwkit.economics.today import Today
    from hwkit.economics.verdict import Verdict
    from hwkit.units import Figure

WIDTH = 120  # of tables that are not on a terminal


def verdicts(
    found: Sequence[Verdict],
    days: Sequence[Today],
    delays: Sequence[list[float] | None],
    terms: Terms,
) -> None:
    """Print the ranking, a line of verdict for each, and what it all assumes."""
    names = (
        "machine",
        "",
        "TH/s",
        "J/TH",
        "price",
        "pays",
        "beats BTC",
        "NPV, $: 5 / 50 / 95 %",
        "months",
    )
    rows = []
    for verdict in found:
        machine, price = verdict.machine, verdict.price
        row = [machine.name, machine.origin, f"{machine.hashrate.value / 1e12:.4g}", j_th(machine)]
        if price is not None and verdict.ahead_of_btc is not None and verdict.statement:
            spread = verdict.policies[terms.scenario.policy]
            months = verdict.statement.payback_months
            row += [
                f"${price:,.0f}",
                f"{100 * spread.positive:.0f} %",
                f"{100 * verdict.ahead_of_btc:.0f} %",
                f"{spread.p5:,.0f} / {spread.p50:,.0f} / {spread.p95:,.0f}",
                "never" if months is None else f"{months:.0f}",
            ]
        else:
            row += ["-"] * 5
        rows.append(row)
    console = _table(names, rows, left=2)
    console.print()
    for verdict, seen, delay in zip(found, days, delays, strict=True):
        console.print(plain(f"{verdict.machine.name}: {verdict.words}."), soft_wrap=True)
        for line in details(verdict, seen, delay):
            console.print(plain(f"  {line}"), soft_wrap=True)
    console.print()
    for line in assumed(terms):
        console.print(plain(line), soft_wrap=True)


def nameplates(found: Iterable[Nameplate]) -> None:
    """Print nameplates."""
    rows = [
        [
            plate.maker or "-",
            plate.model,
            f"{plate.hashrate_th_s:g}",
            f"{plate.power_w:g}",
            f"{plate.efficiency_j_th:.1f}",
            " / ".join(
                "?" if tolerance is None else f"{100 * tolerance:g} %"
                for tolerance in (plate.hashrate_tolerance, plate.power_tolerance)
            ),
            plate.boundary,
            plate.cooling or "-",
            plate.release or "-",
            plate.confidence or "-",
        ]
        for plate in found
    ]
    names = (
        "maker",
        "model",
        "TH/s",
        "W",
        "J/TH",
        "±",
        "power of",
        "cooling",
        "release",
        "confidence",
    )
    console = _table(names, rows, left=2)
    console.print("±: of TH/s and of W as stated; ? was not found stated.")


def measured(found: Sequence[Machine]) -> None:
    """Print what was measured."""
    console = Console(markup=False, emoji=False)
    if not found:
        console.print(
            "Measured: no record has J/TH. Next: hwkit bench --meter ADDRESS", soft_wrap=True
        )
        return
    rows = [
        [
            machine.record or "-",
            machine.name,
            str(machine.hashrate),
            str(machine.power),
            str(machine.efficiency_j_th),
        ]
        for machine in found
    ]
    _table(("measured", "device", "hashrate", "power", "J/TH"), rows, left=2)


def fleet(result: Report, asked: Fleet, known: Snapshot) -> None:
    """Print a fleet's lines, its sums, and what to replace."""
    rows = [
        [
            line.group.machine.name,
            line.group.machine.origin,
            f"{line.group.count:,}",
            f"{line.powered:,}",
            show(line.rated_h_s, "H/s"),
            show(line.energised_h_s, "H/s"),
            show(line.delivered_h_s, "H/s"),
            show(line.power_w, "W"),
            f"{line.profit_usd_per_day:,.0f}",
        ]
        for line in result.lines
    ]
    names = ("machine", "", "owned", "powered", "rated", "energised", "delivered", "power", "$/day")
    console = _table(names, rows, left=2)
    cap = "" if asked.power_mw is None else f" of {asked.power_mw:g} MW"
    console.print()
    console.print(
        f"Rated {show(result.rated_h_s, 'H/s')}, energised {show(result.energised_h_s, 'H/s')}, "
        f"delivered {show(result.delivered_h_s, 'H/s')} at {show(result.power_w, 'W')}{cap}",
        soft_wrap=True,
    )
    console.print(
        f"Blocks in 30 days from {known.day}: {counted(result.blocks_30_days)}", soft_wrap=True
    )
    if result.stopped is not None:
        console.print(plain(_losses(result, result.stopped)), soft_wrap=True)
    if result.replacements:
        console.print()
        rows = [
            [
                each.old,
                each.new,
                f"{each.gain_usd_per_day_mw:,.0f}",
                "-" if each.cost_usd_per_mw is None else f"{each.cost_usd_per_mw:,.0f}",
                _days(each),
            ]
            for each in result.replacements
        ]
        _table(("replace", "by", "$/day a MW", "$ a MW", "payback today"), rows, left=2)


def _days(each: Replacement) -> str:
    if each.cost_usd_per_mw is None:
        return "-"
    return "never" if each.payback_days is None else f"{each.payback_days:,.0f} days"


def _losses(result: Report, stopped: Report) -> str:
    names = ", ".join(line.group.machine.name for line in result.losing)
    more = stopped.profit_usd_per_day - result.profit_usd_per_day
    return (
        f"At a loss, and counted above: {names}. Off (stop_losses = true), the fleet delivers "
        f"{show(stopped.delivered_h_s, 'H/s')} at {show(stopped.power_w, 'W')}, finds "
        f"{stopped.blocks_30_days.value:.4g} blocks and leaves ${more:,.0f} a day more."
    )


def uses(found: Iterable[Use]) -> None:
    """Print what a kWh earns, by kind of use."""
    rows = [
        [
            use.kind,
            use.what,
            f"{use.usd_per_kwh:.4f}",
            f"{use.usd_per_mw_year:,.0f}",
            use.date,
            use.source,
        ]
        for use in found
    ]
    console = _table(("use", "what", "$/kWh", "$ a MW-year", "date", "source"), rows, left=2)
    console.print("Rental: of a board's power alone, and before its price.", soft_wrap=True)


def details(verdict: Verdict, seen: Today, delay: list[float] | None) -> Iterable[str]:
    """Yield what stands below a verdict."""
    limit = seen.break_even_usd_per_kwh
    yield (
        f"today it earns ${seen.revenue_per_day:,.2f} a day, its power ${seen.power_per_day:,.2f}; "
        f"breaks even at ${limit.value:.4f}/kWh ({limit.lo:.4f} to {limit.hi:.4f}); "
        f"{seen.kg_per_btc / 1000:,.0f} t of CO2e a BTC"
    )
    if verdict.statement is not None:
        statement, costs = verdict.statement, seen.costs
        rate = statement.irr
        irr = rate.why if rate.rate is None else f"IRR {100 * rate.rate:.3g} %"
        each = "" if costs.per_btc is None else f"; all-in ${costs.per_btc:,.0f} a BTC"
        bid = f"0 at a price of {dollars(statement.bid)}"
        yield f"expected path: NPV {dollars(statement.npv)} ({bid}), {irr}{each}"
        sell, hold, buy = (dollars(verdict.policies[each].p50) for each in ("sell", "hold", "buy"))
        yield f"median NPV: coins sold {sell}, held {hold}; coins bought instead {buy}"
    if delay is not None:
        late = ", ".join(dollars(cost) for cost in delay)
        yield f"delivered 1, 2, ... months later it is worth less by {late}"
    yield from verdict.machine.notes


def assumed(terms: Terms) -> Iterable[str]:
    """Yield what all verdicts assume."""
    asked, known, tariff = terms.scenario, terms.snapshot, terms.tariff
    yield (
        f"Network of {known.day}: ${known.usd_per_btc:,.0f} a BTC, ${known.hashprice:.2f}/PH/day, "
        f"fees {100 * known.fee_share:.1f} % ({known.source})"
    )
    hours = len(tariff.ascending)
    power = f"${tariff.mean:.4g}/kWh" + (f" on average of {hours:,} hours" if hours > 1 else "")
    yield (
        f"{asked.years:g} years at {power}, up {_percent(asked.uptime)}, "
        f"overhead {asked.overhead:g}, {asked.pool_scheme} {_percent(asked.pool_fee)}, "
        f"residual {_percent(asked.residual)}, discount {_percent(asked.discount)}"
    )
    if asked.order is not None and asked.deliver is not None:
        yield (
            f"ordered on {asked.order} ({_months(terms.wait)} after the network's day), delivered "
            f"on {asked.deliver}: it earns from {_months(terms.wait + asked.delay)} after it on"
        )
    growth, drift = _percent(asked.difficulty_growth), _percent(asked.price_drift)
    yield (
        f"{asked.runs:,} futures (seed {asked.seed}), a year: "
        f"difficulty {growth} ± {_percent(asked.difficulty_volatility)}, "
        f"price {drift} ± {_percent(asked.price_volatility)}, "
        f"correlation {asked.correlation:g}; coins: {asked.policy}"
    )


def _months(number: int) -> str:
    return f"{number} month{'' if number == 1 else 's'}"


def counted(blocks: Figure) -> str:
    """Show how many blocks are expected, with their bounds; of so few that none is likely, that."""
    if blocks.hi < 1:
        return f"{blocks.value:.4g}, so none in {100 * math.exp(-blocks.value):.4g} % of cases"
    return f"{blocks.value:,.6g} ({blocks.lo:,.6g} to {blocks.hi:,.6g}, 95 %)"


def dollars(value: float) -> str:
    """Show an amount: -$1,234."""
    return f"{'-' if value < 0 else ''}${abs(value):,.0f}"


def _percent(part: float) -> str:
    return f"{100 * part:.3g} %"


def j_th(machine: Machine) -> str:
    """Show J/TH with its bounds; thousands of them, as of what is no miner, with their prefix."""
    figure = machine.efficiency_j_th
    scale, prefix = prefixed(max(figure.value, 1.0))
    value, lo, hi = (each / scale for each in (figure.value, figure.lo, figure.hi))
    return f"{value:.1f} ({lo:.1f}-{hi:.1f}){prefix and ' '}{prefix}"


def _table(names: Sequence[str], rows: Iterable[Sequence[str]], left: int) -> Console:
    """Print a table whose first columns are text; return the console for what comes below it."""
    console = Console(markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, WIDTH)
    table = Table(box=None, pad_edge=False)
    for number, name in enumerate(names):
        justify: Literal["left", "right"] = "left" if number < left else "right"
        table.add_column(name, justify=justify, overflow="fold")
    for row in rows:
        table.add_row(*map(plain, row))
    console.print(table)
    return console
