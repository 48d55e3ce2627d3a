"""What each dialect says, in answers of our own: shaped as its documents say, with our numbers."""

import json
import re
import tomllib
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from miner_answers import MINERS, answers, raws, read, sections

from hwkit.errors import PlanError, ProtocolError, Unmeasurable
from hwkit.hashers.asic import captures, read_capture
from hwkit.hashers.asic import dialects_checks as checks
from hwkit.hashers.asic.dialects import dialects, parse, recognise
from hwkit.hashers.asic.dialects_paths import MOST, Condition, Place, walk
from hwkit.hashers.asic.dialects_rows import FIELDS, number
from hwkit.hashers.asic.scrub import Scrubber
from hwkit.hashers.asic.telemetry import Value, delta


def changed(name, command, change):
    """Return what a miner says whose answer to one command is changed in place."""
    document = json.loads(raws(name)[command])
    change(document)
    return read(name, **{command: document})


def labelled(values):
    found: dict[str, list[float]] = {}
    for each in values:
        found.setdefault(each.label, []).append(each.value)
    return found


@pytest.mark.parametrize("name", MINERS)
def test_a_dialect_says(name):
    told, expected = read(name), tomllib.loads(sections(name)["expect"])
    for key, value in expected.items():
        if key in SAID:
            assert SAID[key](told) == pytest.approx(value), key
        elif key not in PARTLY:
            assert getattr(told, key).value == pytest.approx(value), key
    for label, value in expected.get("windows", {}).items():
        assert labelled(told.hashrates_h_s)[label] == [pytest.approx(value)]
    for label, values in expected.get("temperatures", {}).items():
        assert labelled(told.temperatures_c)[label] == pytest.approx(values), label
    for key, value in expected.get("pool", {}).items():
        assert getattr(told.pools[0], key) == value
    assert {finding.field for finding in told.findings} == set(expected.get("findings", ()))
    assert list(told.repairs) == expected.get("repairs", [])
    assert [getattr(told, field) or None for field in expected.get("absent", ())] == [
        None for _ in expected.get("absent", ())
    ]


PARTLY = {"windows", "temperatures", "pool", "findings", "repairs", "absent"}
SAID = {
    "dialect": lambda told: told.dialect,
    "provenance": lambda told: told.power_w.provenance,
    "scope": lambda told: told.power_w.scope,
    "boards": lambda told: [board.value for board in told.boards_h_s],
    "fans": lambda told: [fan.value for fan in told.fans_rpm],
    "fans_expected": lambda told: told.fans.value,
    "errors": lambda told: [error.value for error in told.errors],
}


def test_there_are_answers_of_every_dialect():
    assert {read(name).dialect for name in MINERS} == set(dialects())


@pytest.mark.parametrize("name", MINERS)
def test_every_value_says_where_it_is_from(name):
    said = answers(name)
    told = recognise(said).read(said)
    for field in FIELDS:
        values = getattr(told, field)
        for value in values if isinstance(values, tuple) else (values,):
            if value is None or value.source.startswith(("known of", "difficulty accepted at")):
                continue
            first = re.sub(r"^\w+\(\d+\) of | \.\.\.$", "", value.source)
            assert first.split(" ")[0] in said, value
    assert json.loads(json.dumps(told.to_json())) == told.to_json()


@pytest.mark.parametrize("name", MINERS)
def test_a_capture_reads_back_the_same(name, tmp_path):
    captures.write(tmp_path / "copy", raws(name))
    before, after = read(name).to_json(), read_capture(tmp_path / "copy").to_json()
    for field in before:
        if field not in {"serial", "mac", "hostname", "pools"}:
            assert after[field] == before[field], field
    again = b"".join(path.read_bytes() for path in sorted((tmp_path / "copy").iterdir()))
    assert b"someone" not in again
    assert b"02:00:5e" not in again.lower()


# What cannot be so


@pytest.mark.parametrize("none", [-1, "-1", 2**31 - 1, 2**32 - 1, 2**64 - 1, 1e9, "1e999"])
def test_a_number_that_stands_for_none_is_absent(none):
    told = changed("sealminer", "stats", lambda d: d["STATS"][0].update({"PSU Input Power": none}))
    assert told.power_w is None
    [finding] = told.findings
    assert finding.field == "power_w"
    assert "absent" in finding.why


@pytest.mark.parametrize("nothing", ["", "N/A", None, True, [], {}, "bad temps"])
def test_what_is_no_number_is_absent(nothing):
    told = changed(
        "sealminer", "stats", lambda d: d["STATS"][0].update({"PSU Input Power": nothing})
    )
    assert told.power_w is None
    assert told.findings == ()


def test_a_wrapped_counter_is_absent():
    def wrap(document):
        document["SUMMARY"][0]["Difficulty Accepted"] = 1655589633532138e6

    told = changed("auradine", "summary", wrap)
    assert told.difficulty_accepted.source == "pools /POOLS/0/Difficulty Accepted"
    assert told.findings[0].field == "difficulty_accepted"


def test_boards_that_do_not_make_the_total_are_told():
    def shrink(document):
        document["STATS"][1]["chain_rate6"] = "4.6001"  # TH/s where it was GH/s

    text = raws("antminer-s9")["stats"].replace(b'"4600.10"', b'"4.6001"')
    said = answers("antminer-s9") | {"stats": captures.answer(text, "stats")}
    told = recognise(said).read(said)
    assert [finding.field for finding in told.findings] == ["boards_h_s"]


def test_a_rate_that_is_not_what_it_names_is_told():
    told = changed(
        "braiins", "miner_stats", lambda d: d["miner_stats"].update(nominal_hashrate=g(1.0))
    )
    assert [finding.field for finding in told.findings] == ["hashrate_h_s"]


def g(rate):
    return {"gigahash_per_second": rate}


def test_a_total_that_is_a_rate_is_absent():
    told = changed("cgminer", "summary", lambda d: d["SUMMARY"][0].update({"Total MH": 335.5}))
    assert told.total_hashes is None
    assert [finding.field for finding in told.findings] == ["total_hashes"]


def test_an_efficiency_that_no_machine_has_is_told():
    told = changed("axeos", "system_info", lambda d: d.update(power=1.8))
    assert [finding.field for finding in told.findings] == ["power_w"]


def test_what_its_maker_takes_is_told_apart():
    told = read("vnish")
    assert [pool.fee for pool in told.pools] == [False, True]
    assert told.diverted.value == pytest.approx(0.0184)
    counted = read("vnish3")
    assert counted.diverted.label == "counted"
    assert changed("vnish3", "summary", fee_percent).diverted.value == pytest.approx(0.0384)


def fee_percent(document):
    document["SUMMARY"][0]["Fee Percent"] = 3.84


def test_what_was_not_answered_is_told():
    said = answers("antminer-s9")
    del said["pools"]
    said["summary"] = captures.answer(
        b'{"STATUS":[{"STATUS":"E","Code":45,"Msg":"Access denied to it"}],"id":1}',
        "x",
    )
    told = recognise(said).read(said, {"pools": "broken off"})
    assert told.absent == ("summary: Access denied to it", "pools: broken off")


def test_what_nobody_knows_is_no_miner():
    with pytest.raises(ProtocolError, match="no dialect"):
        recognise({"x": captures.answer(b'{"temperature": 20}', "x")})


# Deltas


def after(told, seconds=60.0, **counters):
    moved = {
        name: replace(getattr(told, name), value=getattr(told, name).value + by)
        for name, by in counters.items()
    }
    elapsed = replace(told.elapsed_s, value=told.elapsed_s.value + seconds)
    return replace(told, elapsed_s=elapsed, **moved)


def test_a_delta_is_what_moved():
    before = read("cgminer")
    moved = delta(before, after(before, accepted=7, hardware_errors=2, total_hashes=6e11))
    assert (moved.accepted, moved.hardware_errors, moved.rejected) == (7, 2, 0)
    assert moved.hashrate_h_s == pytest.approx(1e10)
    assert delta(replace(before, stale=None), after(before)).stale is None


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"seconds": -3000}, "restarted"),
        ({"seconds": 0}, "no second"),
        ({"accepted": -1}, "set back"),
    ],
)
def test_a_delta_over_a_restart_is_refused(change, why):
    before = read("cgminer")
    with pytest.raises(Unmeasurable, match=why):
        delta(before, after(before, **change))


def test_a_restart_that_its_counters_do_not_show_is_seen_by_the_clock():
    before = replace(read("cgminer"), at=0)
    later = after(before, seconds=60)
    assert delta(before, replace(later, at=int(60e9))).elapsed_s == 60
    with pytest.raises(Unmeasurable, match="3600 s passed"):
        delta(before, replace(later, at=int(3600e9)))


def test_a_delta_of_two_devices_is_refused():
    before = read("axeos")
    for field in ("model", "firmware"):
        other = replace(after(before), **{field: Value("another", "text", "x")})
        with pytest.raises(Unmeasurable, match=f"its {field} was"):
            delta(before, other)
    with pytest.raises(Unmeasurable, match="how long"):
        delta(replace(before, elapsed_s=None), before)
    with pytest.raises(Unmeasurable, match="comes from"):
        delta(before, replace(after(before), accepted=Value(1000.0, "", "elsewhere")))


# The data


def test_places():
    document = {
        "A": [{"t10": 1, "t2": 2, "t": 3}, {"t1": None, "name": "b/c"}],
        "n": {"x": {"name": "Chip", "v": 5}},
    }
    assert list(walk(document, "/A/*/t#")) == [("/A/0/t2", 2), ("/A/0/t10", 1)]
    assert list(walk(document, "/n/[name=chip]/v")) == [("/n/x/v", 5)]
    assert list(walk(document, "/A/7/t")) == list(walk(document, "/A/x")) == []
    assert len(list(walk([0] * 10_000, "/*"))) == MOST
    documents = {"one": document, "two": {"v": "b/c"}}
    assert list(Place.parse("none|one /n/x/v").find(documents)) == [("one /n/x/v", 5)]
    assert list(Place.parse("one /A/[name={two /v}]/name").find(documents)) == [
        ("one /A/1/name", "b/c")
    ]
    assert list(Place.parse("one /A/[name={two /w}]/name").find(documents)) == []
    assert Condition.parse("* /v ~ ^B").holds(documents)
    assert not Condition.parse("* /v ~ ^c").holds(documents)


@pytest.mark.parametrize(
    ("said", "value", "unit"),
    [
        ("58.94W", 58.94, "W"),
        ("3250 W", 3250, "W"),
        ("456.78 (AB)", 456.78, ""),
        (" 16.0000", 16, ""),
        ("2940 rpm", 2940, "RPM"),
        ("83.0 °C", 83, "°C"),
        (7, 7, ""),
    ],
)
def test_numbers_in_texts(said, value, unit):
    assert list(number(said)) == [(value, unit)]


def test_a_unit_that_the_answer_states_wins():
    told = changed("auradine", "summary", lambda d: d["SUMMARY"][0].update(Wattage="2.9 kW"))
    assert told.power_w.value == pytest.approx(2900)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"rows": [{"of": "power_w", "at": "a /b", "unit": "GH/s"}]}, "no unit of power_w"),
        ({"rows": [{"of": "watts", "at": "a /b"}]}, "of is one of"),
        ({"rows": [{"of": "chips", "at": "a b"}]}, "no place"),
        ({"rows": [{"of": "chips"}]}, "has at or is"),
        ({"rows": [{"of": "chips", "at": "a /b", "sum": True}]}, "has at or is"),
        ({"rows": [{"of": "chips", "at": "a /b", "take": "median"}]}, "take is one of"),
        ({"asks": [{"name": "a", "via": "pigeon"}]}, "via is one of"),
        ({"pools": [{"at": "a /b", "uri": "/c"}]}, "pools have at"),
        ({"prepare": ["magic a"]}, "prepare is"),
        ({"known_by": ["a /b ~ ("]}, "no regular expression"),
        ({"colour": "red"}, "nobody reads colour"),
    ],
)
def test_data_that_makes_no_sense_is_refused(change, why):
    with pytest.raises(PlanError, match=why):
        parse("x", {"x": change})


def test_what_dialects_say_of_themselves():
    asks = {ask.name for dialect in dialects().values() for ask in dialect.commands}
    asks |= {"*", "net_conf", "chip_hashrates"}  # the last two are in captures of others
    for name, dialect in dialects().items():
        assert dialect.sources, name
        assert dialect.known_by, name
        asked = [ask.name for ask in dialect.commands]
        assert len(set(asked)) == len(asked), name
        assert set(dialect.better) <= set(dialects()), name
        for row in dialect.rows:
            assert row.at is None or set(row.at.command.split("|")) <= asks, row.at


JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=20),
    lambda inner: (
        some.lists(inner, max_size=4) | some.dictionaries(some.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(data=some.data())
@settings(max_examples=60)
def test_whatever_it_answers_nothing_breaks(data):
    name = data.draw(some.sampled_from(sorted(MINERS)))
    said = answers(name)
    command = data.draw(some.sampled_from(sorted(said)))
    document = spoiled(data, said[command].document)
    told = recognise(said).read(said | {command: replace(said[command], document=document)})
    json.dumps(told.to_json(), allow_nan=False)


@pytest.mark.parametrize("name", ["avalon-new", "whatsminer-v2", "cgminer"])
def test_depths_are_not_gone_into(name):
    deep = b"[" * 400 + b"]" * 400
    said = answers(name)
    said |= {key: captures.answer(b'{"STATS":%s,"Msg":%s}' % (deep, deep), key) for key in said}
    dialects()[read(name).dialect].read(said)


def spoiled(data, value):
    """Replace something somewhere in a document by anything."""
    if not isinstance(value, (dict, list)) or not value or data.draw(some.integers(0, 4)) == 0:
        return data.draw(JSON)
    keys = list(value) if isinstance(value, dict) else range(len(value))
    key = data.draw(some.sampled_from(keys))
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[key] = spoiled(data, value[key])
    return copy


# Captures


def test_a_capture_is_a_folder_of_answers(tmp_path):
    with pytest.raises(PlanError, match="cannot be read"):
        read_capture(tmp_path / "none")
    with pytest.raises(PlanError, match="0 files"):
        read_capture(tmp_path)
    (tmp_path / "summary.json").write_text("{")
    with pytest.raises(ProtocolError, match="cut off"):
        read_capture(tmp_path)
    with pytest.raises(PlanError, match="already"):
        captures.write(tmp_path, {})
    (tmp_path / "summary.json").write_bytes(b" " * (captures.LARGEST + 1))
    with pytest.raises(PlanError, match="larger"):
        read_capture(tmp_path)


def test_a_file_called_otherwise_is_taken_for_what_it_says(tmp_path):
    for name, raw in raws("avalon-new").items():
        (tmp_path / f"my-avalon-{name}.json").write_bytes(raw)
    power = read_capture(tmp_path).power_w
    assert power is not None
    assert power.value == 3100


def test_a_joined_answer_is_read(tmp_path):
    inner = {name: [json.loads(raws("cgminer")[name])] for name in ("version", "summary", "pools")}
    (tmp_path / "version+summary+pools.json").write_text(json.dumps(inner | {"id": 1}))
    assert read_capture(tmp_path).hashrate_h_s == read("cgminer").hashrate_h_s


def test_names_become_the_same_others_everywhere():
    said = {
        "a": b'{"URL":"stratum+tcp://pool.home.arpa:3333","User":"alice.one","Pass":"hunter22",'
        b'"mac":"aa:BB:cc:dd:ee:ff","version":"16.8.1.3","Miner":"49.0.1.3","sn":["HB123456","HB654321"],'
        b'"message":"alice.one refused by pool.home.arpa (10.1.2.3)","IPAddr":"203.0.113.9"}\0',
        "b": b'{"user":"alice.one","where":"at 192.168.1.20","m":"AA:BB:CC:DD:EE:FF" "broken":1}',
        "c": b"STATUS=S,Code=7|POOL=0,URL=stratum+tcp://pool.home.arpa:3333,User=alice.one,Accepted=3|",
    }
    out = Scrubber().scrub(said)
    whole = b"".join(out.values())
    for name in (
        b"alice",
        b"home.arpa",
        b"hunter22",
        b"HB123456",
        b"10.1.2.3",
        b"192.168",
        b"203.0",
    ):
        assert name not in whole, name
    assert b"bb:cc" not in whole.lower()
    assert b'"version":"16.8.1.3","Miner":"49.0.1.3"' in out["a"]
    assert out["a"].endswith(b"\0")
    assert b'" "broken":1}' in out["b"]
    assert (
        b"POOL=0,URL=stratum+tcp://pool1.example:3333,User=account1.worker,Accepted=3|" in out["c"]
    )
    assert out["a"].count(b"account1.worker") == 2


def test_a_rate_of_next_to_nothing_is_not_called_no_times_its_own():
    told = read("whatsminer-v1")
    assert told.expected_h_s is not None
    rate = replace(told.expected_h_s, value=told.expected_h_s.value * 1e-9)
    (finding,) = checks._expected(replace(told, hashrate_h_s=rate))
    assert "next to nothing" in finding.why
