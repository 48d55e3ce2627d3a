"""Hourly prices: each hour once, in a unit that the file or its user names."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from hwkit.economics.prices import read_prices
from hwkit.errors import PlanError

START = datetime(2026, 1, 1)  # noqa: DTZ001 - local, as most files are
PRICES = [0.02 + 0.001 * (n % 24) for n in range(48)]


def hours(form="%Y-%m-%dT%H:%M", start=START, count=48):
    return [(start + timedelta(hours=n)).strftime(form) for n in range(count)]


def file(times, name="usd_per_kwh", values=None, head="time"):
    values = [f"{price:.6f}" for price in PRICES] if values is None else values
    return f"{head},{name}\n" + "".join(
        f"{time},{value}\n" for time, value in zip(times, values, strict=False)
    )


@pytest.mark.parametrize(
    "times",
    [
        hours(),
        hours("%Y-%m-%d %H:%M:%S"),
        hours("%Y-%m-%dT%H:%MZ"),
        hours("%Y%m%dT%H%M"),
        hours("%m/%d/%Y %H:%M"),
        hours("%d/%m/%Y %H:%M"),
        hours("%m/%d/%Y %I:%M %p"),
        hours("%d.%m.%Y %H:%M"),
        hours("%d.%m.%Y %H:%M - %d.%m.%Y"),
        [str(1_767_225_600 + 3600 * n) for n in range(48)],
        [str(n) for n in range(48)],
        [str(n + 1) for n in range(48)],
    ],
)
def test_forms_of_time(times):
    assert read_prices(file(times), "f") == pytest.approx(PRICES)


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("usd_per_kwh", 1.0),
        ("$/kWh", 1.0),
        ("USD/MWh (DA)", 1e-3),
        ("usd_mwh", 1e-3),
        ("LMP [$/MWh]", 1e-3),
        ("price US$ per MWh", 1e-3),
    ],
)
def test_names_say_the_unit(name, unit):
    values = [f"{price / unit:.9f}" for price in PRICES]
    assert read_prices(file(hours(), name, values), "f") == pytest.approx(PRICES)


@pytest.mark.parametrize(
    "name", ["LMP", "price", "EUR/MWh", "cents_per_kwh", "¢/kWh", "ct/kWh", "CA$/MWh", "USD", "kWh"]
)
def test_other_units_are_named_by_an_option_or_refused(name):
    values = [f"{100 * price:.6f}" for price in PRICES]
    with pytest.raises(PlanError, match="no column says"):
        read_prices(file(hours(), name, values), "f")
    assert read_prices(file(hours(), name, values), "f", name, 0.01) == pytest.approx(PRICES)


def test_the_column_is_chosen_by_its_name():
    rows = "".join(f"{time},{price},0,1\n" for time, price in zip(hours(), PRICES, strict=True))
    assert read_prices(f"time,usd_per_kwh,flag,\n{rows}", "f") == PRICES
    two = f"time,usd_kwh,usd_kwh_day_ahead,n\n{rows}"
    with pytest.raises(PlanError, match="usd_kwh, usd_kwh_day_ahead are prices"):
        read_prices(two, "f")
    assert read_prices(two, "f", "usd_kwh") == PRICES
    with pytest.raises(PlanError, match="no one column is called 'usd'; there are time, usd_kwh"):
        read_prices(two, "f", "usd")


def fault(text, *more):
    with pytest.raises(PlanError) as found:
        read_prices(text, "f", *more)
    assert "\n" not in str(found.value)
    return str(found.value)


def test_gaps_and_repeated_hours_are_refused_with_their_line():
    assert "line 12: 2026-01-01T11:00 comes 2 h after" in fault(file(hours()[:10] + hours()[11:]))
    assert "line 12: 2026-01-01T09:00 comes 0 h after" in fault(file(hours()[:10] + hours()[9:]))
    assert "line 12: 11 comes 2 h after" in fault(file([str(n) for n in range(48) if n != 10]))
    cheap = [time for n, time in enumerate(hours(count=96)) if n % 24 < 12]
    assert "line 14: 2026-01-02T00:00 comes 13 h after" in fault(file(cheap))
    # A count of the lines does not make up for it.
    rows = "".join(f"{n},{time},0.03\n" for n, time in enumerate(cheap))
    assert "line 14: 2026-01-02T00:00" in fault("n,time,usd_kwh\n" + rows)
    sevenths = [(START + timedelta(minutes=7 * n)).isoformat() for n in range(48)]
    assert "line 3: 2026-01-01T00:07:00 comes 7 min after the line before, not 1 h" in fault(
        file(sevenths)
    )
    assert "line 3: 2026-01-01T00:00 comes -23 h" in fault(file([hours()[23], *hours()]))
    assert "line 5: '' is no time" in fault(file([*hours()[:3], "", *hours()[4:]]))
    assert "is no time" in fault(file(hours()[:20] + [time + "Z" for time in hours()[20:]]))
    assert "no column of times" in fault("usd_kwh\n" + "0.05\n" * 48)
    assert "line 24: it ends after 23 h" in fault(file(hours(count=23)))


def parts(minutes, count=48):
    return [(START + timedelta(minutes=minutes * n)).isoformat() for n in range(count)]


@pytest.mark.parametrize("an_hour", [2, 4, 12])
def test_an_hour_in_parts_is_their_mean(an_hour):
    values = [str(price + 0.001 * part) for price in PRICES for part in range(an_hour)]
    times = parts(60 / an_hour, 48 * an_hour)
    means = [price + 0.001 * (an_hour - 1) / 2 for price in PRICES]
    assert read_prices(file(times, values=values), "f") == pytest.approx(means)
    assert f"line {48 * an_hour}: it ends within an hour" in fault(file(times[:-1], values=values))
    gap = fault(file(times[:30] + times[31:], values=values))
    assert f"line 32: {times[31]} comes " in gap
    assert f"after the line before, not {60 / an_hour:g} min" in gap


def test_hours_of_parts_begin_with_the_hour():
    values = ["0.03"] * 99
    for begun, fine in ((0, True), (15, True), (30, False), (45, False)):  # 15: of their ends
        times = parts(15, 99)[begun // 15 :][:96]
        if fine:
            assert len(read_prices(file(times, values=values), "f")) == 24
        else:
            said = f"line 2: it begins within an hour, at minute {begun}"
            assert said in fault(file(times, values=values))


def test_less_than_a_day_of_parts():
    assert "line 49: it ends after 12 h" in fault(file(parts(15)))


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/Chicago", "Australia/Sydney"])
def test_days_of_23_and_25_hours(zone):
    """A year of local time, without offsets and with them."""
    place = ZoneInfo(zone)
    first = datetime(2026, 1, 1, tzinfo=place).astimezone(UTC)
    local = [(first + timedelta(hours=n)).astimezone(place) for n in range(8760)]
    values = ["0.03"] * 8760
    for times in (
        [time.strftime("%Y-%m-%d %H:%M") for time in local],
        [time.isoformat() for time in local],
    ):
        assert len(set(times)) == 8760 - (times[0].count("+") + times[0].count("-06:00") == 0)
        assert len(read_prices(file(times, values=values), "f")) == 8760
    quarters = [(first + timedelta(minutes=15 * n)).astimezone(place) for n in range(4 * 8760)]
    times = [time.strftime("%d/%m/%Y %H:%M") for time in quarters]
    assert len(read_prices(file(times, values=values * 4), "f")) == 8760
    winter = [time.strftime("%Y-%m-%d %H:%M") for time in local]
    skips = [n for n in range(1, 8760) if winter[n][:10] != winter[n - 1][:10]]
    assert "comes 2 h after" in fault(
        file(winter[: skips[9]] + winter[skips[9] + 1 :], values=values)
    )
    twice = [n for n in range(1, 8760) if winter[n] == winter[n - 1]]
    again = [*winter[: twice[0]], *winter[twice[0] - 1 :]]
    assert "comes 0 h after" in fault(file(again, values=[*values, "0.03"]))


def test_an_offset_that_jumps_is_a_gap():
    east = timezone(timedelta(hours=2))
    times = [time + "+00:00" for time in hours(count=24)]
    times += [(START + timedelta(hours=n)).replace(tzinfo=east).isoformat() for n in range(24, 48)]
    assert "comes -1 h after" in fault(file(times))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "a line of names"),
        ("time,usd_kwh\n", "a line of names"),
        ("\n".join(file(hours()).splitlines()[1:]), "its first line names its columns"),
        (file(hours()).replace(",", ";").replace(".", ","), "parted by commas"),
        (file(hours()).replace(",", "\t"), "parted by commas"),
        (file(hours(), values=["cheap"] * 48), "line 2: 'cheap' is no price"),
        (file(hours(), values=["0.05"] * 30 + ["nan"] * 18), "line 32: 'nan' is no price"),
        (file(hours(), values=["0.05"] * 30 + [""] * 18), "line 32: '' is no price"),
        (file(hours(), values=["1e9"] * 48), "line 2: '1e9' is no price"),
        (file(hours(), values=["1e999"] * 48), "line 2: '1e999' is no price"),
        (file(hours()) + '"' + "x" * 200_000, "line 50: not CSV"),
        ("x" * (9 << 20), "characters"),
        (file(hours(), values=["45"] * 48), r"\$45/kWh on average"),
        (file(hours(), values=["0.6"] * 48), r"\$0.6/kWh on average"),
        (file(hours(), values=["-4.5"] * 48), r"\$-4.5/kWh on average"),
    ],
)
def test_a_price_file_that_is_none(text, says):
    with pytest.raises(PlanError, match=says):
        read_prices(text, "f")
