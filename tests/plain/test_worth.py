"""`hwkit worth` and `hwkit models`: verdicts, fleets, dated data; every mistake is one line."""

import json
import math
import re
import socket
import sys
from datetime import UTC, date, datetime, timedelta

import pytest

from hwkit.cli import main
from hwkit.cli.assumptions import ASSUMPTIONS, amount, hashrate, rate, share
from hwkit.economics import catalogue
from hwkit.economics.catalogue import find, matching, read_models
from hwkit.economics.fleet import read_fleet, report
from hwkit.economics.machine import Machine
from hwkit.economics.scenario import Scenario
from hwkit.economics.snapshot import read_snapshot, shipped
from hwkit.errors import PlanError, Unavailable

SNAPSHOT = """
day = 2026-11-20
height = 976700
usd_per_btc = 100000.0
difficulty = 140e12
fee_share = 0.01
source = "by hand"
"""


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """Not one of these may open a connection."""

    def refuse(*_):
        raise AssertionError("it went to the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def say(monkeypatch, capfd):
    """Return a function that runs hwkit here, and gives exit code, stdout and stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["hwkit", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        said = capfd.readouterr()
        return left.value.code or 0, said.out, said.err

    return run


@pytest.fixture
def written(tmp_path):
    """Return a function that writes a file, and gives its path."""

    def write(name, text):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


# Catalogue


def test_the_shipped_nameplates_are_sound():
    known = catalogue.shipped()
    assert len(known) > 55
    assert len({plate.model for plate in known}) == len(known)
    for plate in known:
        assert plate.source
        assert plate.confidence
        assert plate.boundary == "wall"
        assert 8 < plate.efficiency_j_th < 70, plate.model
    plate = find("S19 Pro (110 TH)", known)
    of_rate, of_power = plate.tolerances
    assert not plate.assumed
    # Both tolerances kept, and J/TH 8.2 % over all the same.
    assert (1 + of_power) / (1 - of_rate) == pytest.approx(1.082, abs=0.001)
    efficiency = Machine.of_nameplate(plate).efficiency_j_th
    assert efficiency.hi / efficiency.value == pytest.approx(1.082, abs=0.001)


def test_names_find_their_model():
    known = catalogue.shipped()
    assert find("S21 XP", known).model == "Antminer S21 XP (270 TH)"
    assert find("antminer s21 xp hyd", known).hashrate_th_s == 473
    assert len(matching("S21", known)) > 5
    for name, says in {"S99": "no model", "": "is several", "S21 hyd 3": "no model"}.items():
        with pytest.raises(PlanError, match=says):
            find(name, known)
    with pytest.raises(PlanError, match=r"several: Antminer S19j Pro \((96|104) TH\); "):
        find("S19j Pro", known)
    for name in ("S21 (200 TH)", "Antminer S21 200", "bitmain antminer s21 (200)"):
        assert find(name, known).model == "Antminer S21 (200 TH)"


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("S21 (270 TH)", "Antminer S21 XP (270 TH); "),
        ("S21 270", "Antminer S21 XP (270 TH); "),
        ("S21 XP (200 TH)", "Antminer S21 XP (270 TH); "),
        ("Antminer 270", "Antminer S21 XP (270 TH); "),
        ("XP S21", "Antminer S21 XP (270 TH); "),
    ],
)
def test_a_name_that_is_no_models_is_not_anothers(say, name, near):
    with pytest.raises(PlanError, match=f"no model '{re.escape(name)}', but .*{re.escape(near)}"):
        find(name, catalogue.shipped())
    code, out, err = say("worth", name)
    assert (code, out) == (2, "")
    assert "no model" in err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "its first line names"),
        ("model,watts\na,1\n", "its first line names"),
        ("model,hashrate_th_s,power_w\na,1\n", "line 2: it has not as many"),
        ("model,hashrate_th_s,power_w\na,1,2,3\n", "line 2: it has not as many"),
        ("model,hashrate_th_s,power_w\na,fast,2\n", "line 2: hashrate_th_s is a number"),
        ("model,hashrate_th_s,power_w\na,1,0\n", "line 2: power_w is a number above 0"),
        ("model,hashrate_th_s,power_w\na,1e-320,1\n", "line 2: hashrate_th_s is a number above 0"),
        ("model,hashrate_th_s,power_w\n,1,2\n", "line 2: model is missing"),
        ("model,hashrate_th_s,power_w\na,nan,2\n", "line 2: hashrate_th_s"),
        ('model,hashrate_th_s,power_w\n"a,1,2\n', "not CSV"),
        ("model,hashrate_th_s,power_w,boundary\na,1,2,nonsense\n", "line 2: boundary is chip, "),
        ("model,hashrate_th_s,power_w,model\na,1,2,b\n", "names a column twice"),
        ("model,hashrate_th_s,power_w\na,1,2\na,1,3\n", "'a' comes twice"),
        ("x" * (2 << 20), "no list of models"),
    ],
)
def test_a_list_of_models_that_is_none(text, says):
    with pytest.raises(PlanError, match=says):
        read_models(text, "mine.csv")


def test_models_lists_filters_and_takes_ones_own(say, written):
    code, out, _ = say("models", "s21", "xp")
    assert code == 0
    assert "Antminer S21 XP (270 TH)" in out
    assert "S19" not in out
    own = written(
        "mine.csv", "model,hashrate_th_s,power_w,power_tolerance\nMine (5 TH),5,100,0.1\n"
    )
    code, out, _ = say("models", "mine", "--models", own, "--json")
    [plate] = json.loads(out)["nameplates"]
    assert (plate["efficiency_j_th"], plate["power_tolerance"], plate["source"]) == (20, 0.1, None)
    assert say("models", "nothing such")[0] == 2


# Verdicts


def test_one_table_ranks_and_each_has_a_verdict(say):
    code, out, err = say("worth", "S21 XP@2970", "S19 XP@443", "S23 Hydro@10660", "--runs", "2000")
    assert code == 0
    order = [out.index(f"Antminer {name}") for name in ("S19 XP", "S21 XP", "S23 Hydro")]
    assert order == sorted(order)  # by what a $ of price brings, and not by J/TH
    assert "nameplate" in out
    assert "buy at most at $" in out
    assert "buy BTC instead" in out
    assert "2,000 futures (seed 1)" in out
    assert "2026-10-03" in out
    old = shipped().warning(datetime.now(UTC).date())
    assert ("days ago" in err) == (old is not None)


def test_its_json_is_one_document_with_everything(say):
    code, out, _ = say(
        "worth", "--price", "2,970", "S21 XP", "--power", "0.06", "--growth", "41%",
        "--runs", "500", "--order", "2026-11-01", "--deliver", "2027-01-15",
        "--pay", "25%@0,75%@2", "--grid", "0", "--json",
    )  # fmt: skip
    assert code == 0
    document = json.loads(out)
    assert document["scenario"]["difficulty_growth"] == 0.41
    assert document["scenario"]["usd_per_kwh"] == 0.06
    assert document["snapshot"]["day"] == "2026-10-03"
    [row] = document["candidates"]
    assert row["verdict"] in {"WAIT", "BUY BTC"}
    assert row["price_usd"] == 2970
    assert row["machine"]["origin"] == "nameplate"
    assert set(row["policies"]) == {"sell", "hold", "buy"}
    assert len(row["expected"]["flows_usd"]) == 3 + 48 + 1
    assert row["costs_of_delay_usd"] == sorted(row["costs_of_delay_usd"])
    assert row["machine"]["efficiency"]["unit"] == "J/TH"
    assert row["today"]["emissions_kg_per_btc"] == 0
    assert row["today"]["break_even_usd_per_kwh"]["value"] == pytest.approx(0.119, abs=0.001)


def test_a_toy_miner_fits_the_table(say, written):
    toy = written("toy.csv", "model,hashrate_th_s,power_w\nA toy of a long name,6.8e-7,3250\n")
    words = ("worth", "A toy of a long name@297000", "--models", toy, "--runs", "500")
    code, out, _ = say(*words)
    assert code == 0
    table, _, below = out.partition("\n\n")
    for whole in ("NPV, $: 5 / 50 / 95 %", "beats BTC", "months", "never", "nameplate"):
        assert whole in table
    [costs] = re.findall(r"NPV (-\$[\d,]+) \(", below)
    assert table.count(costs.replace("$", "")) == 3


def test_no_cell_is_cut_where_the_terminal_is_narrow(say, monkeypatch):
    tables = []
    for width in (120, 60):
        monkeypatch.setattr("hwkit.report.worth.WIDTH", width)
        monkeypatch.setenv("COLUMNS", str(width))
        out = say("worth", "S21 XP@297000", "--runs", "500")[1]
        tables.append(sorted(out.partition("\n\n")[0].replace("\n", "").replace(" ", "")))
        assert max(map(len, out.partition("\n\n")[0].splitlines())) <= width
    wide, narrow = tables
    assert narrow == wide  # the same letters, folded


def test_the_same_command_says_the_same_and_another_seed_does_not(say):
    first, same, other = (
        say("worth", "S21 XP@2970", "--runs", "500", "--seed", seed, "--json")[1]
        for seed in (3, 3, 4)
    )
    assert first == same != other


def test_a_scenario_file_is_read_and_options_go_before_it(say, written):
    file = written("s.toml", 'usd_per_kwh = 0.03\nuptime = 0.9\nruns = 500\npay = "50%@0,50%@1"')
    code, out, _ = say("worth", "S21 XP@2970", "--scenario", file, "--uptime", "80%", "--json")
    assert code == 0
    told = json.loads(out)["scenario"]
    assert (told["usd_per_kwh"], told["uptime"], told["pay"]) == (0.03, 0.8, [[0.5, 0], [0.5, 1]])


def test_hourly_prices_are_worth_more_than_their_mean(say, written):
    hours = "hour,usd_per_mwh\n" + "".join(
        f"{n},{20 if n % 24 < 20 else 200}\n" for n in range(240)
    )
    file = written("prices.csv", hours)
    worths = [
        json.loads(say("worth", "S21 XP@2970", "--runs", "500", *more, "--json")[1])["candidates"][
            0
        ]
        for more in (["--prices", file], ["--power", "0.05"], ["--power", "0.02"])
    ]
    hourly, mean, cheap = (worth["expected"] for worth in worths)
    assert mean["npv_usd"] < hourly["npv_usd"] < cheap["npv_usd"]
    assert hourly["kwh"] == pytest.approx(cheap["kwh"] * 20 / 24)  # in four hours it never pays


def test_a_column_of_prices_is_named_where_its_name_does_not_say(say, written):
    hours = "hour,LMP,load_mwh\n" + "".join(f"{n},{3 + n % 2},7\n" for n in range(48))
    file = written("prices.csv", hours)
    code, _, err = say("worth", "S21 XP@2970", "--runs", "500", "--prices", file)
    assert code == 2
    assert "there are hour, LMP, load_mwh" in err
    words = ["--prices", file, "--prices-column", "LMP", "--prices-unit", "0.01", "--json"]
    code, out, _ = say("worth", "S21 XP@2970", "--runs", "500", *words)
    assert code == 0
    assert json.loads(out)["scenario"]["usd_per_kwh"] == pytest.approx(0.035)


def test_an_order_says_when_it_earns(say):
    words = ["worth", "S21 XP@2970", "--runs", "500", "--order", "2028-06-01", "--deliver"]
    code, out, _ = say(*words, "2028-08-15")
    assert code == 0
    assert "ordered on 2028-06-01 (20 months after the network's day)" in out
    assert "earns from 23 months after it on" in out


def test_a_measured_record_is_a_candidate(hwkit, say, path):
    done = hwkit(
        "bench", "cpu:reference", "--time", "2s", "--warmup", "0s", "--meter", "nameplate:100W"
    )
    assert done.returncode == 0, done.stderr
    code, out, err = say(
        "worth", "last", "--price", "500", "--store", path, "--runs", "500", "--json"
    )
    assert code == 0, err
    [row] = json.loads(out)["candidates"]
    machine = row["machine"]
    assert (machine["origin"], machine["name"]) == ("measured", "cpu:reference")
    assert machine["power"]["value"] == pytest.approx(100, rel=0.01)
    assumed = "between units ±3 % TH/s, ±5 % W assumed"
    assert machine["notes"][0] == f"this unit, not this model: {assumed}"
    assert "its power is a claim, no meter's" in machine["notes"]
    assert row["verdict"] == "BUY BTC"
    assert row["at_most_usd"] < 60  # of the $500 nothing but the residual value comes back
    code, out, _ = say("models", "s21", "--measured", "--store", path, "--json")
    document = json.loads(out)
    assert [each["record"] for each in document["measured"]] == [machine["record"]]
    assert machine["record"] not in json.dumps(document["nameplates"])
    words = ["worth", "last", "--this-unit", "--store", path, "--runs", "500", "--json"]
    [same] = json.loads(say(*words)[1])["candidates"]
    assert "this unit, not this model" in same["machine"]["notes"]
    for figure in ("hashrate", "power"):  # a nameplate's tolerance is a limit: U is 2/√3 of it
        of, alone = (
            each[figure]["U"] / each[figure]["value"] for each in (machine, same["machine"])
        )
        more = {"hashrate": 0.03, "power": 0.05}[figure] * 2 / math.sqrt(3)
        assert of == pytest.approx(math.hypot(alone, more))
    twice = f"{machine['record']},last"
    assert "named twice" in say("worth", twice, "--store", path)[2]
    code, out, _ = say("report", "last", "--store", path, "--markdown")
    assert code == 0
    assert "U not known" in out
    assert "None" not in out  # a nameplate without a tolerance has no dominant term


def test_a_records_uncertainty_is_its_own(measured):
    with pytest.raises(PlanError, match="has no J/TH: measure it with"):
        Machine.of_record(measured.document)

    def figure(value, u, unit):
        return {"value": value, "lo": value * (1 - u), "hi": value * (1 + u), "unit": unit}

    seen = {
        "meter": "m",
        "scope": "board",
        "unchecked": True,
        "hashrate": figure(200e12, 0.01, "H/s"),
        "power": figure(3500.0, 0.02, "W"),
        "efficiency": figure(17.5, 0.05, "J/TH"),  # three runs told that it is more
    }
    machine = Machine.of_record({**measured.document, "metered": [seen]})
    assert machine.efficiency_j_th.value == pytest.approx(17.5)
    assert machine.efficiency_j_th.relative == pytest.approx(0.05, rel=0.01)
    assert {"power is of the board, not of the wall", "nobody vouches for its meter"} <= set(
        machine.notes
    )


# A day's prices


def test_a_snapshot_is_taken_in_and_its_age_is_said(say, written):
    code, out, _ = say("worth", "snapshot", "--json")
    assert json.loads(out)["hashprice_usd_per_ph_day"] == pytest.approx(40.58, rel=0.005)
    file = written("day.toml", SNAPSHOT)
    assert say("worth", "snapshot", file)[0] == 0
    code, out, _ = say("worth", "S21 XP@2970", "--runs", "500", "--json")
    assert code == 0
    assert json.loads(out)["snapshot"]["usd_per_btc"] == 100_000
    today = date(2026, 11, 22)
    assert shipped().warning(shipped().day + timedelta(30)) is None
    assert "50 days ago" in str(shipped().warning(today))
    assert "in 310 days: nobody" in str(shipped().warning(shipped().day - timedelta(310)))
    assert shipped().warning(shipped().day - timedelta(1)) is None  # a day begins in the east
    assert read_snapshot(SNAPSHOT, "f").warning(today) is None
    assert read_snapshot(SNAPSHOT, "f").fees_btc == pytest.approx(3.125 * 0.01 / 0.99)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("day = 2026-11-20", ""), "each once"),
        (("by hand", 'by hand"\nmood = "good'), "each once"),
        (("2026-11-20", "1"), "day is a date"),
        (("100000.0", "-1"), "usd_per_btc is a number"),
        (("140e12", "nan"), "difficulty is a number"),
        (("140e12", "140.0"), "difficulty is a number from 1e+12"),
        (("140e12", "134.67e9"), "difficulty is a number from 1e+12"),
        (("140e12", "140e15"), "the list of difficulties has"),
        (("140e12", "2e12"), "the list of difficulties has"),
        (("2026-11-20", "2023-11-20"), "on that day: is it in another unit"),
        (("976700", "876700"), "height is 876,700, but about 97"),
        (("976700", "976700.5"), "height is a whole number"),
        (("2026-11-20", "2024-11-20"), "height is 976,700, but about 871,078"),
        (("2026-11-20", "1026-11-20"), "of the years"),
        (("100000.0", "0.1"), "usd_per_btc is a number"),
        (("0.01", '"much"'), "fee_share is a number"),
        (("height =", "height"), "not TOML"),
    ],
)
def test_a_snapshot_that_is_none_changes_nothing(say, written, change, says):
    file = written("day.toml", SNAPSHOT.replace(*change))
    code, out, err = say("worth", "snapshot", file)
    assert (code, out) == (2, "")
    assert says in err
    assert json.loads(say("worth", "snapshot", "--json")[1])["usd_per_btc"] == 84_714


# Fleets, other uses, blocks

FLEET = """
usd_per_kwh = 0.05
power_mw = 25
[[machines]]
model = "S19j Pro (104 TH)"
count = 5000
uptime = 0.93
[[machines]]
model = "S21 (200 TH)"
count = 4000
running = 3500
[[candidates]]
model = "S21 XP"
price = 2970
"""


def test_a_fleet_under_a_power_cap(say, written):
    code, out, _ = say("worth", "fleet", written("fleet.toml", FLEET), "--json")
    assert code == 0
    found = json.loads(out)
    assert found["rated_h_s"] == pytest.approx(5000 * 104e12 + 4000 * 200e12)
    newer, older = found["lines"]  # who takes fewer J/TH runs first
    assert (newer["powered"], newer["running"], newer["count"]) == (3500, 3500, 4000)
    left_w = 25e6 - 3500 * 3500 * 1.03
    assert older["powered"] == int(left_w / (3068 * 1.03))
    assert found["energised_h_s"] == pytest.approx(3500 * 200e12 + older["powered"] * 104e12)
    assert found["delivered_h_s"] == pytest.approx(3500 * 200e12 + 0.93 * older["powered"] * 104e12)
    assert found["power_w"] <= 25e6
    share_of_network = found["delivered_h_s"] / 964e18
    assert found["blocks_30_days"]["value"] == pytest.approx(4320 * share_of_network, rel=0.001)
    best, worst = found["replacements"]
    assert best["old"].startswith("Antminer S19j")
    assert best["payback_days"] < worst["payback_days"]
    assert say("worth", "fleet", written("fleet.toml", FLEET))[1].count("replace") == 1


LOSING = """
usd_per_kwh = 0.05
[[machines]]
model = "S19 (95 TH)"
count = 1000
uptime = 0.9
[[machines]]
model = "S21 (200 TH)"
count = 1000
[[candidates]]
model = "S21 XP"
price = 2970
"""


def test_a_group_at_a_loss_is_named_and_can_be_switched_off(say, written):
    found = json.loads(say("worth", "fleet", written("fleet.toml", LOSING), "--json")[1])
    _, old = found["lines"]
    assert old["profit_usd_per_day"] < 0 < old["powered"]
    off = found["stopped"]
    assert [line["powered"] for line in off["lines"]] == [1000, 0]
    assert off["delivered_h_s"] == pytest.approx(found["delivered_h_s"] - 0.9 * 1000 * 95e12)
    gain = off["profit_usd_per_day"] - found["profit_usd_per_day"]
    assert gain == pytest.approx(-old["profit_usd_per_day"])
    assert off["blocks_30_days"]["value"] < found["blocks_30_days"]["value"]
    assert off["stopped"] is None
    said = say("worth", "fleet", written("fleet.toml", LOSING))[1]
    assert "At a loss, and counted above: Antminer S19 (95 TH). Off (stop_losses = true)" in said
    assert f"leaves ${gain:,.0f} a day more" in said
    asked = json.loads(
        say("worth", "fleet", written("fleet.toml", "stop_losses = true" + LOSING), "--json")[1]
    )
    assert asked["lines"] == off["lines"]
    assert asked["stopped"] is None
    cheap = written("fleet.toml", LOSING.replace("0.05", "0.03"))
    assert json.loads(say("worth", "fleet", cheap, "--json")[1])["stopped"] is None


def test_a_replacement_runs_as_much_of_the_time_as_what_it_replaces(say, written):
    at_times = LOSING.replace("0.05", "0.03")
    whole = at_times.replace("uptime = 0.9\n", "")
    part, all_of_it = (
        next(each for each in json.loads(out)["replacements"] if "S19" in each["old"])
        for out in (
            say("worth", "fleet", written("fleet.toml", text), "--json")[1]
            for text in (at_times, whole)
        )
    )
    assert part["gain_usd_per_day_mw"] == pytest.approx(0.9 * all_of_it["gain_usd_per_day_mw"])
    assert part["payback_days"] == pytest.approx(all_of_it["payback_days"] / 0.9)


# Section 4.5 of the notes: revenue a day of 25 MW for $28.5k of energy, which is 95 % of the time.
@pytest.mark.parametrize(
    ("model", "revenue"), [("S19j Pro (104 TH)", 31_000), ("S21 (200 TH)", 52_000),
                           ("S21 XP", 68_000), ("S23 Hydro (580 TH)", 97_000)],
)  # fmt: skip
def test_a_site_of_25_mw(model, revenue):
    machines = f'[[machines]]\nmodel = "{model}"\ncount = 1000000\nuptime = 0.95'
    text = f"usd_per_kwh = 0\npower_mw = 25\n{machines}"
    fleet = read_fleet(
        text, "f", lambda name: Machine.of_nameplate(find(name, catalogue.shipped()))
    )
    result = report(fleet, shipped())
    profit = sum(line.profit_usd_per_day for line in result.lines)
    assert profit == pytest.approx(revenue, rel=0.02)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("usd_per_kwh = 0.05", ""), "usd_per_kwh is missing"),
        (("count = 5000", ""), "machines 1: count is missing"),
        (("running = 3500", "running = 4500"), "machines 2: running is a whole number from 0 to"),
        (("count = 5000", "count = 4.9"), "machines 1: count is a whole number from 1"),
        (("count = 5000", "count = inf"), "machines 1: count is a whole number from 1"),
        (("running = 3500", "running = 0.5"), "machines 2: running is a whole number"),
        (("power_mw = 25", 'stop_losses = "yes"'), "stop_losses is true or false"),
        (("uptime = 0.93", "uptime = 93"), "machines 1: uptime is a number from 0 to 1"),
        (('model = "S21 XP"', "model = 7"), "candidates 1: model is missing"),
        (("S21 (200 TH)", "S99"), "no model 'S99'"),
        (("price = 2970", "cost = 2970"), "candidates 1: there stand"),
        (("[[machines]]", "[[miners]]"), "there stand"),
        (("power_mw", "= "), "not TOML"),
    ],
)
def test_a_fleet_that_is_none(say, written, change, says):
    code, out, err = say("worth", "fleet", written("fleet.toml", FLEET.replace(*change)))
    assert (code, out) == (2, "")
    assert says in err


def test_uses_of_a_kwh(say):
    code, out, _ = say("worth", "uses", "S21 XP", "--utilisation", "50%", "--json")
    assert code == 0
    uses = json.loads(out)["uses"]
    assert [use["kind"] for use in uses].count("hosting") == 3
    assert "hosting" in say("worth", "uses", "S21 XP")[1]
    assert say("worth", "uses", "S21 XP", "--overhead", "0.5")[0] == 2
    assert say("worth", "uses", "S21 XP", "--utilisation", "nan")[0] == 2


def test_blocks_of_a_headline(say):
    quarter = ("2024-10-01", "2025-01-01")
    code, out, err = say("worth", "blocks", "53.2EH/s", *quarter, "--found", "703", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["blocks"]["value"] == pytest.approx(987, rel=0.005)
    assert found["implied_hashrate"]["value"] == pytest.approx(37.9e18, rel=0.005)
    code, out, _ = say("worth", "blocks", "270TH/s", "2026-11-01", "2027-11-01")
    assert code == 0
    assert re.search(r"^blocks   0\.014\d+, so none in 98\.\d+ % of cases$", out, re.MULTILINE)
    assert [hashrate(text) for text in ("270TH/s", "1.5 PH", "1e12", "6k")] == [
        270e12,
        1.5e15,
        1e12,
        6e3,
    ]
    assert [share(text) for text in ("2%", "0.02", "-20%", "1")] == [0.02, 0.02, -0.2, 1]
    assert [rate(text) for text in ("500%", "0.05", "100%")] == [5, 0.05, 1]
    assert [amount(text) for text in ("2,970", "$1,234,567.5", "0.05")] == [2970, 1234567.5, 0.05]


BAD_USAGE = {
    "nothing": ["worth", "rank"],
    "no such model": ["worth", "S99"],
    "several": ["worth", "S19j Pro"],
    "no such record": ["worth", "20200101T000000"],
    "a price of text": ["worth", "S21 XP@cheap"],
    "a price below 0": ["worth", "S21 XP@-1"],
    "a price next to nothing": ["worth", "S21 XP@1e-30", "--runs", "100"],
    "a price that is no number": ["worth", "S21 XP", "--price", "nan"],
    "a power price of text": ["worth", "S21 XP", "--power", "cheap"],
    "cents for dollars": ["worth", "S21 XP", "--power", "50"],
    "an uptime above 1": ["worth", "S21 XP", "--uptime", "97"],
    "a date of text": ["worth", "S21 XP", "--order", "soon", "--deliver", "later"],
    "an order without delivery": ["worth", "S21 XP", "--order", "2026-10-03"],
    "payments that are none": ["worth", "S21 XP", "--pay", "half now"],
    "payments of 90 %": ["worth", "S21 XP", "--pay", "90%@0"],
    "no such scenario": ["worth", "S21 XP", "--scenario", "/nowhere/s.toml"],
    "no such scheme": ["worth", "S21 XP", "--pool", "tides"],
    "a seed of text": ["worth", "S21 XP", "--seed", "x"],
    "no hashrate": ["worth", "blocks", "fast", "2024-10-01", "2025-01-01"],
    "an end before its start": ["worth", "blocks", "1EH/s", "2024-10-01", "2024-01-01"],
    "no such fleet": ["worth", "fleet", "/nowhere/f.toml"],
    "no such models": ["models", "--models", "/nowhere/m.csv"],
    "half of a grid": ["worth", "S21 XP", "--grid", "nan"],
    "a grid of fire": ["worth", "S21 XP", "--grid", "1e6"],
    "growth without its sign": ["worth", "S21 XP", "--growth", "5"],
    "growth of 1, of what": ["worth", "S21 XP", "--growth", "1"],
    "growth of 500 %": ["worth", "S21 XP", "--growth", "500%"],
    "duty without its sign": ["worth", "S21 XP", "--landed", "3"],
    "a decimal comma": ["worth", "S21 XP", "--power", "0,05"],
    "an order before the snapshot": [
        "worth",
        "S21 XP@2970",
        "--order",
        "2020-01-01",
        "--deliver",
        "2020-01-01",
    ],
    "more than all miners": ["worth", "blocks", "1e30", "2024-01-01", "2025-01-01"],
    "more than all before": ["worth", "blocks", "1EH/s", "2009-02-01", "2026-01-01"],
    "more than all to come": ["worth", "blocks", "1e30", "2027-01-01", "2028-01-01"],
    "more blocks than there were": [
        "worth",
        "blocks",
        "1EH/s",
        "2024-01-01",
        "2025-01-01",
        "--found",
        "200000",
    ],
    "more blocks than any": [
        "worth",
        "blocks",
        "1EH/s",
        "2024-01-01",
        "2025-01-01",
        "--found",
        "9" * 23,
    ],
    "a time before time": ["worth", "blocks", "1EH/s", "0001-01-01T00:00+14:00", "2025-01-01"],
    "a time after time": ["worth", "blocks", "1EH/s", "2025-01-01", "9999-12-31T23:59-14:00"],
    "a column of no file": ["worth", "S21 XP", "--prices-column", "LMP"],
    "a unit of nothing": ["worth", "S21 XP", "--prices", "/dev/null", "--prices-unit", "0"],
    "prices and a price": ["worth", "S21 XP", "--prices", "/dev/null", "--power", "0.05"],
}


@pytest.mark.parametrize("name", BAD_USAGE)
def test_bad_usage_is_one_line_and_exit_code_2(name, say, path):
    more = ["--store", path] if BAD_USAGE[name] == ["worth", "20200101T000000"] else []
    code, out, err = say(*BAD_USAGE[name], *more)
    assert (code, out) == (2, "")
    *_, last = err.splitlines()
    assert last.startswith("hwkit: ")
    assert sum("days ago" not in line for line in err.splitlines()) == 1


def test_a_file_that_is_no_text_is_refused(say, tmp_path):
    path = tmp_path / "s.toml"
    path.write_bytes(b"\xff\xfe\x00")
    assert "not UTF-8" in say("worth", "S21 XP", "--scenario", path)[2]
    path.write_bytes(b"#" * (2 << 20))
    assert "longer than" in say("worth", "S21 XP", "--scenario", path)[2]


def test_without_numpy_it_says_what_to_install(say, monkeypatch):
    monkeypatch.setitem(sys.modules, "numpy", None)
    code, out, err = say("worth", "S21 XP")
    assert (code, out) == (Unavailable.exit_code, "")
    assert "pip install 'hwkit[economics]'" in err


def test_every_assumption_can_be_said_as_an_option():
    scenario = Scenario()
    for name, _, _ in ASSUMPTIONS.values():
        assert hasattr(scenario, name)
    unsaid = set(scenario.to_json()) - {name for name, _, _ in ASSUMPTIONS.values()}
    assert unsaid == {"difficulty_volatility", "price_volatility", "correlation"}
