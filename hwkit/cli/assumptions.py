"""What `hwkit worth` is told: assumptions, machines by name or record, and a day's prices."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from platformdirs import user_data_path

from hwkit.cli.models import known_models, read_text
from hwkit.cli.options import read_with
from hwkit.economics import alternatives, handwritten, prices, snapshot
from hwkit.economics.catalogue import ASSUMED_HASHRATE, ASSUMED_POWER, find, matching
from hwkit.economics.machine import Machine
from hwkit.economics.scenario import Scenario, payments, read_scenario
from hwkit.errors import PlanError
from hwkit.report.sheet import model_of
from hwkit.units import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hwkit.economics.catalogue import Nameplate
    from hwkit.economics.futures import Terms
    from hwkit.economics.snapshot import Snapshot
    from hwkit.evaluate.units import Named

# A record's id, or an evaluation's: the beginning is enough of it. Several are a lot.
_ID = r"(last|e?\d{8}T[^\s,]*)"
MEASURED = re.compile(f"{_ID}(,{_ID})*")
DIRTIEST = 5000.0  # g/kWh: several times what lignite emits


def share(text: str) -> float:
    """Read a fraction: '2%' or '0.02'; above 1 only with its sign. Raises PlanError."""
    number = text.strip().removesuffix("%")
    try:
        value = float(number)
    except ValueError as error:
        raise PlanError(f"{text!r} is no share: write 2% or 0.02") from error
    if "%" not in text and abs(value) > 1:
        raise PlanError(f"{text!r} would be {100 * value:g} %: write {number}% or {value / 100:g}")
    return value / 100 if "%" in text else value


def rate(text: str) -> float:
    """Read a share that may well be above 1, so that '1' may mean either. Raises PlanError."""
    value = share(text)
    if "%" not in text and abs(value) == 1:
        raise PlanError(f"{text!r} may be 1 % or 100 %: write it with its sign")
    return value


def amount(text: str) -> float:
    """Read a number of $ or of what the option says, thousands parted or not. Raises PlanError."""
    number = text.strip().removeprefix("$")
    if re.fullmatch(r"[1-9]\d{0,2}(,\d{3})+(\.\d*)?", number):  # and 0,05 is not 5
        number = number.replace(",", "")
    try:
        value = float(number)
    except ValueError as error:
        raise PlanError(f"{text!r} is no number") from error
    if not math.isfinite(value):
        raise PlanError(f"{text!r} is no number")
    return value


def unit(text: str) -> float:
    """Read what 1 of a unit is in $/kWh. Raises PlanError."""
    value = amount(text)
    if not 0 < value <= 100:
        raise PlanError(f"a unit is above 0 and up to 100 $/kWh, not {text}")
    return value


def emissions(text: str) -> float:
    """Read a grid's g/kWh. Raises PlanError."""
    value = amount(text)
    if not 0 <= value <= DIRTIEST:
        raise PlanError(f"emissions lie between 0 and {DIRTIEST:g} g/kWh, not at {text}")
    return value


def day(text: str) -> date:
    """Read a date. Raises PlanError."""
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise PlanError(f"{text!r} is no date: write 2026-10-03") from error


def whole(text: str) -> int:
    """Read a whole number. Raises PlanError."""
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise PlanError(f"{text!r} is no whole number")
    return int(text)


def hashrate(text: str) -> float:
    """Read a hashrate: '53.2EH/s', '270 TH/s', '1e12'. Raises PlanError."""
    found = re.fullmatch(r"\s*([\d.]+(?:e\d+)?)\s*([kMGTPEZ]?)(?:H(?:/s)?)?\s*", text)
    try:
        value = float(found[1]) if found else math.nan
    except ValueError:
        value = math.nan
    if found is None or not math.isfinite(value):
        raise PlanError(f"{text!r} is no hashrate: write 270TH/s")
    return value * 1000.0 ** " kMGTPEZ".index(found[2] or " ")


# Options that set an assumption: its name in a scenario, how it is read, what it is.
ASSUMPTIONS: dict[str, tuple[str, Callable[[str], Any], str]] = {
    "--power": ("usd_per_kwh", amount, "$/kWh. [default: 0.05]"),
    "--years": ("years", amount, "Years it runs. [default: 4]"),
    "--uptime": ("uptime", share, "Part of the time it can run. [default: 97%]"),
    "--overhead": ("overhead", amount, "The site's power over the machine's. [default: 1.03]"),
    "--pool": ("pool_scheme", str, "fpps, pps, pplns or solo. [default: fpps]"),
    "--pool-fee": ("pool_fee", share, "What the pool keeps. [default: 2%]"),
    "--pool-share": ("pool_share", share, "The pool's part of the network, for pplns."),
    "--hosting": ("hosting_usd_per_kwh", amount, "$/kWh on top of the power. [default: 0]"),
    "--fixed": ("fixed_usd_per_month", amount, "$ a machine and month. [default: 0]"),
    "--demand": ("demand_usd_per_kw_month", amount, "Demand charge, $/kW and month. [default: 0]"),
    "--curtailment": ("curtailment_usd_per_kwh", amount, "$/kWh for not running. [default: 0]"),
    "--restart-hours": ("restart_h", amount, "Hours lost after each stop. [default: 0]"),
    "--discount": ("discount", rate, "A year's discount rate. [default: 15%]"),
    "--residual": ("residual", share, "Of the price, at the end. [default: 10%]"),
    "--growth": ("difficulty_growth", rate, "Of difficulty, a year. [default: 18.4%]"),
    "--drift": ("price_drift", rate, "Of the BTC price, a year: your view. [default: 0]"),
    "--order": ("order", day, "When it is ordered: from the snapshot's day on. [default: then]"),
    "--deliver": ("deliver", day, "When it is delivered."),
    "--pay": ("pay", payments, "Parts of the price and months after the order: 25%@0,75%@2."),
    "--landed": ("landed", rate, "Freight, duty and taxes, of the price. [default: 0]"),
    "--doa": ("doa", share, "Part that arrives dead and is repaired. [default: 0]"),
    "--fail-rate": ("fail_rate", amount, "Failures of a machine in a year. [default: 0]"),
    "--repair-days": ("repair_days", amount, "Days of a repair. [default: 30]"),
    "--policy": ("policy", str, "sell coins as they come, or hold them. [default: sell]"),
    "--confidence": ("confidence", share, "How likely it must pay. [default: 50%]"),
    "--runs": ("runs", whole, "Futures drawn. [default: 10000]"),
    "--seed": ("seed", whole, "Of the futures. [default: 1]"),
}


def assumptions(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command every option of ASSUMPTIONS."""
    for option, (name, read, words) in reversed(ASSUMPTIONS.items()):
        function = click.option(option, name, callback=read_with(read), help=words)(function)
    return function


snapshot_option = click.option(
    "--snapshot",
    "day_of",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Price, difficulty and fees of a day. [default: the newest that was taken in]",
)
grid_option = click.option(
    "--grid",
    "g_per_kwh",
    callback=read_with(emissions),
    default=f"{alternatives.GRID_G_PER_KWH:g}",
    show_default=True,
    help="Emissions of the power, in g/kWh.",
)


def finder(
    own: Path | None, store: str | None, *, this_unit: bool = False
) -> Callable[[str], Machine]:
    """Return what makes a machine of a model's name, or of the units that ids name.

    Of `this_unit` no spread between units is assumed: it is the one that is bought.
    """

    def machine(name: str) -> Machine:
        known = known_models(own)
        if not MEASURED.fullmatch(name):
            return Machine.of_nameplate(find(name, known))
        from hwkit.evaluate import units  # noqa: PLC0415 - SQLAlchemy takes its time
        from hwkit.records import Store  # noqa: PLC0415 - so here

        found = units.units_of(name.split(","), store, Store(store))
        if this_unit and len(found) > 1:
            raise PlanError(f"{name}: --this-unit is of one unit, and these are several")
        if this_unit:
            made = Machine.of_record(found[0].record.document)
            return replace(made, name=found[0].model or made.name)
        return units.machine_of(found, _tolerances(found[0], known))

    return machine


def _tolerances(unit: Named, known: Sequence[Nameplate]) -> tuple[float, float]:
    """Return the widest tolerances of the model that a unit was sold as, or says it is."""
    model = unit.model or model_of(unit.record)
    stated = [plate.tolerances for plate in matching(model, known)] if model else []
    rates, powers = zip(*stated, strict=True) if stated else ((ASSUMED_HASHRATE,), (ASSUMED_POWER,))
    return max(rates), max(powers)


def hours_of(path: Path | None, column: str | None, unit: float | None) -> list[float] | None:
    """Return the prices of a file's hours; None where there is no file."""
    if path is None and (column, unit) != (None, None):
        raise PlanError("--prices-column and --prices-unit are of a file: --prices FILE")
    if path is None:
        return None
    return prices.read_prices(read_text(path, prices.LARGEST), str(path), column, unit)


def terms_of(
    file: Path | None, hours: list[float] | None, given: dict[str, Any], known: Snapshot
) -> Terms:
    from hwkit.economics.futures import Terms  # noqa: PLC0415 - numpy
    from hwkit.economics.tariff import Tariff  # noqa: PLC0415 - numpy

    said = {name: value for name, value in given.items() if value is not None}
    if file is not None:
        said = read_scenario(read_text(file, handwritten.LARGEST), str(file)) | said
    if hours is not None:
        if "usd_per_kwh" in said:
            raise PlanError("a price of power and a file of prices: one of them")
        said["usd_per_kwh"] = sum(hours) / len(hours)
    scenario = Scenario(**said)
    tariff = Tariff.of(
        hours or [scenario.usd_per_kwh],
        credit=scenario.curtailment_usd_per_kwh,
        restart_h=scenario.restart_h,
    )
    return Terms(scenario, known, tariff)


def read_day(path: Path | None) -> Snapshot:
    """Return the snapshot asked for, that taken in, or the shipped one; say how old it is."""
    kept = kept_snapshot()
    if path is None and kept.exists():
        path = kept
    known = (
        snapshot.shipped()
        if path is None
        else snapshot.read_snapshot(read_text(path, handwritten.LARGEST), str(path))
    )
    warning = known.warning(datetime.now(UTC).date())
    if warning:
        click.echo(plain(f"hwkit: {warning}"), err=True)
    return known


def kept_snapshot() -> Path:
    return user_data_path("hwkit", appauthor=False) / "snapshot.toml"
