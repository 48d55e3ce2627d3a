"""A file of prices by the hour or a part of it: none left out, in a unit that its column names."""

from __future__ import annotations

import csv
import re
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import TYPE_CHECKING

from hwkit.errors import PlanError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Row = tuple[int, list[str]]  # its line, its cells
    Reader = Callable[[str], datetime]

LARGEST = 8 << 20  # bytes: ten years of hours or two of quarters, with room
DEAREST = 1e3  # $/kWh, of an hour: the dearest that a market has seen is 9
IMPLAUSIBLE = 1.0, 0.5  # $/kWh: no mean is above the first, no cheapest hour above the second
HOUR = timedelta(hours=1)
STEPS = (HOUR, HOUR / 2, HOUR / 4, HOUR / 12)  # what markets settle by
LEAST = 24  # hours: of less than a day nothing says what a year's cost
DOLLARS = re.compile(r"(?<![a-z])(us)?\$|usd|dollar")
CENTS = re.compile(r"¢|cent|(?<![a-z])cts?(?![a-z])")
PER_KWH = {"kwh": 1.0, "mwh": 1e-3}
# Tried in this order, each on the whole file: only one of two that differ in day and month fits.
FORMS = (
    "%m/%d/%Y %H:%M",
    "%d/%m/%Y %H:%M",
    "%m/%d/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M:%S",
    "%m/%d/%Y %I:%M %p",
    "%m/%d/%Y %I:%M:%S %p",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y %H:%M:%S",
)


def read_prices(
    text: str, where: str, column: str | None = None, unit: float | None = None
) -> list[float]:
    """Read $/kWh by hour from CSV with a line of names: one column of times, one of prices.

    A line is an hour, or 30, 15 or 5 minutes, of which the hour's price is the mean.

    The price's name says $ (USD) and kWh or MWh; else it is the `column` named, and `unit` is what
    1 in it is in $/kWh. Times are ISO 8601, common forms of day and clock, Unix seconds, or hours
    counted; without UTC offsets, an hour may be left out in spring and come twice in autumn. Raises
    PlanError with the line.
    """
    if len(text) > LARGEST:
        raise PlanError(f"{where}: {len(text)} characters are no price file")
    names, rows = _rows(text, where)
    at, scale = _price_column(names, where, column, unit)
    prices = [_price(row, at, scale, f"{where}, line {line}") for line, row in rows]
    an_hour = _lines_an_hour(rows, at, where)
    parts = [prices[n : n + an_hour] for n in range(0, len(prices), an_hour)]
    prices = [sum(each) / an_hour for each in parts]
    mean = sum(prices) / len(prices)
    if abs(mean) > IMPLAUSIBLE[0] or min(prices) > IMPLAUSIBLE[1]:
        raise PlanError(
            f"{where}: {names[at]} would be ${mean:.4g}/kWh on average, which nobody pays to mine: "
            "name the unit as it is, or give it with --prices-unit"
        )
    return prices


def _rows(text: str, where: str) -> tuple[list[str], list[Row]]:
    """Return the names and the lines below them that are not empty."""
    first = text.partition("\n")[0]
    if first.count(";") > first.count(",") or "\t" in first:
        raise PlanError(f"{where}: columns are parted by commas, and decimals have a point")
    reader = csv.reader(StringIO(text))
    try:
        found = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise PlanError(f"{where}, line {reader.line_num}: not CSV: {error}") from error
    if len(found) < 2:
        raise PlanError(f"{where}: a price file has a line of names, then one an hour")
    names = [cell.strip() for cell in found[0][1]]
    if any(_number(name) is not None for name in names):
        raise PlanError(f"{where}: its first line names its columns: time,usd_per_kwh")
    return names, found[1:]


def _price_column(
    names: Sequence[str], where: str, column: str | None, unit: float | None
) -> tuple[int, float]:
    """Return which column has the prices, and what 1 in it is in $/kWh."""
    there = ", ".join(filter(None, names))[:500]
    if column is not None and names.count(column) != 1:
        raise PlanError(f"{where}: no one column is called {column!r}; there are {there}")
    if column is not None and unit is not None:
        return names.index(column), unit
    known = {
        n: scale if unit is None else unit
        for n, name in enumerate(names)
        if column in {None, name} and (scale := _scale(name, any_money=unit is not None))
    }
    if len(known) == 1:
        return next(iter(known.items()))
    if known:
        several = ", ".join(names[n] for n in known)
        raise PlanError(f"{where}: {several} are prices: --prices-column takes one of them")
    raise PlanError(
        f"{where}: no column says $/kWh or $/MWh in its name, there are {there}: --prices-column "
        "names one, --prices-unit what 1 in it is in $/kWh (of cents/kWh 0.01)"
    )


def _scale(name: str, *, any_money: bool) -> float | None:
    """Return what 1 in a column of this name is in $/kWh; None where it does not say."""
    said = name.lower()
    scales = [scale for unit, scale in PER_KWH.items() if unit in said]
    in_dollars = DOLLARS.search(said) and not CENTS.search(said)
    return scales[0] if len(scales) == 1 and (any_money or in_dollars) else None


def _lines_an_hour(rows: Sequence[Row], prices_at: int, where: str) -> int:
    """Return how many lines make an hour. Raises PlanError where one does not follow on another."""
    columns = [n for n in range(len(rows[0][1])) if n != prices_at]
    # A count of lines beside the times would hide what the times leave out: it comes last.
    for readers in (CALENDAR, (_counted,)):
        for n in columns:
            there = [read for read in readers if _moment(rows[0], n, read) is not None]
            found = [(_step(rows, n, read), read) for read in there]
            faults = [_fault(rows, n, read, step) for step, read in found]
            if None in faults:
                step, read = found[faults.index(None)]
                first = None if read is _counted or step == HOUR else _moment(rows[0], n, read)
                return _whole_hours(rows, step, first, where)
            if faults:
                raise PlanError(f"{where}, {faults[0]}")
    raise PlanError(
        f"{where}, line {rows[0][0]}: no column of times as 2026-01-01T00:00, or of hours counted"
    )


def _whole_hours(rows: Sequence[Row], step: timedelta, first: datetime | None, where: str) -> int:
    """Return how many lines of a step make an hour. Raises PlanError for less than a day."""
    an_hour, hours, line = HOUR // step, len(rows) * step / HOUR, rows[-1][0]
    if hours < LEAST:
        why = f"it ends after {hours:g} h, and a day has {LEAST}: no mean of it"
    elif len(rows) % an_hour:
        why = f"it ends within an hour, of which {an_hour} lines make one"
    elif first is not None and timedelta(minutes=first.minute) not in {0 * HOUR, step % HOUR}:
        why, line = f"it begins within an hour, at minute {first.minute}", rows[0][0]
    else:
        return an_hour
    raise PlanError(f"{where}, line {line}: {why}")


def _step(rows: Sequence[Row], n: int, read: Reader) -> timedelta:
    """Return what lies between the first two lines, as far as markets know it; else an hour."""
    first, second = (_moment(row, n, read) for row in rows[:2]) if len(rows) > 1 else (None, None)
    if first is None or second is None or (first.tzinfo is None) != (second.tzinfo is None):
        return HOUR
    return second - first if second - first in STEPS else HOUR


def _fault(rows: Sequence[Row], n: int, read: Reader, step: timedelta) -> str | None:
    """Say which line does not come a step after the one before it; None where all do."""
    before, changes = None, set[tuple[int, timedelta]]()
    for row in rows:
        now = _moment(row, n, read)
        said = row[1][n] if n < len(row[1]) else ""
        if now is None or (before and (now.tzinfo is None) != (before.tzinfo is None)):
            return f"line {row[0]}: {said!r} is no time as those before it"
        if before is not None and (later := now - before) != step:
            change = (now.year, later)
            if not _clock_changes(now, later - step) or change in changes:
                return (
                    f"line {row[0]}: {said} comes {_told(later)} after the line before, "
                    f"not {_told(step)}: each once, and none left out"
                )
            changes.add(change)
        before = now
    return None


def _told(time: timedelta) -> str:
    hours = time / HOUR
    return f"{hours:g} h" if hours == round(hours) else f"{60 * hours:g} min"


def _clock_changes(now: datetime, change: timedelta) -> bool:
    """May a local time have skipped or repeated an hour: early on a Sunday, spring or autumn?"""
    seasonal = now.weekday() == 6 and now.month in {3, 4, 9, 10, 11} and now.hour < 5
    return now.tzinfo is None and seasonal and abs(change) == HOUR


def _moment(row: Row, n: int, read: Reader) -> datetime | None:
    try:
        return read(row[1][n].partition(" - ")[0].strip())
    except (IndexError, ValueError, OverflowError):
        return None


def _counted(text: str) -> datetime:
    """Read Unix seconds, or hours counted from any number."""
    number = int(text)
    return datetime.fromtimestamp(number if number > 1e8 else number * 3600, UTC)


def _form(form: str) -> Reader:
    return lambda text: datetime.strptime(text, form)  # noqa: DTZ007 - of a place we do not know


CALENDAR: tuple[Reader, ...] = (datetime.fromisoformat, *map(_form, FORMS))


def _price(row: Sequence[str], at: int, scale: float, where: str) -> float:
    text = row[at] if at < len(row) else ""
    price = _number(text)
    if price is None or not abs(price) * scale <= DEAREST:
        raise PlanError(f"{where}: {text!r} is no price of power")
    return price * scale


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
