"""Figures by setting, bad nonces, how fast jobs are changed, and a pool that was late itself."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from hashing_miner import START, WORK, Timeline, found_shares, of_work, told
from hypothesis import given
from hypothesis import strategies as st

from hwkit.harness import miner_caveats as caveats
from hwkit.harness import stretches as by_stretch
from hwkit.harness.answering import Answering
from hwkit.harness.delivered import Change, Setting
from hwkit.harness.efficiency import HASHES_PER_DIFFICULTY
from hwkit.harness.inferred import infer
from hwkit.harness.plan import Plan
from hwkit.harness.stretches import by_setting, stretches
from hwkit.protocols import Assigned, Basis, Window
from hwkit.report.delivered import delivered_rows
from hwkit.units import Figure
from hwkit.work import Target


@pytest.fixture(scope="module")
def timeline():
    job = Plan(seed="a miner").job(1_800_000_000, Target(1), basis=Basis.SHARES)
    return Timeline(job, found_shares(job))


def covers(figure, value):
    return figure["lo"] <= value <= figure["hi"]


def told_by_setting(timeline):
    delivered, windows = timeline.rows()
    delivered.settle(windows[-1].closed)
    return by_setting(windows, delivered, Basis.SHARES, lambda _: []).get("settings")


lengths = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 5)), min_size=1, max_size=30)
moments = st.tuples(st.sampled_from("abc"), st.integers(-5, 150), st.integers(1, 40))


@given(lengths, st.lists(moments, max_size=8))
def test_stretches_part_the_time(sizes, some):
    windows, at = [], 0
    for length, shares in sizes:
        windows.append(Window(0, at, at + length, 10 * shares, None, shares, None))
        at += length
    changes = [
        Change(name, since, since + took, Setting(0.0, ()), Setting(float(number), ()))
        for number, (name, since, took) in enumerate(some, 1)
    ]
    found = stretches(windows, changes)
    inside = [window for each in found for window in each.windows]
    touched = [
        window
        for window in windows
        if any(c.since < window.closed and c.at > window.opened for c in changes)
    ]
    # Each window is in one stretch, in order, or in none since something may have changed in it.
    assert sorted(inside + touched, key=lambda window: window.opened) == windows
    assert [each.first for each in found] == [windows.index(each.windows[0]) for each in found]
    assert sum(each.shares for each in found) + sum(w.shares for w in touched) == sum(
        window.shares for window in windows
    )
    for each in found:
        assert each.windows == windows[each.first : each.first + len(each.windows)]
        assert not any(c.since < each.closed and c.at > each.opened for c in changes)
        for name in each.settings:
            before = [c for c in changes if c.name == name and c.at <= each.opened]
            last = max((c.at for c in before), default=None)
            assert each.settings[name] in (
                {c.now for c in before if c.at == last} if before else {Setting(0.0, ())}
            )
    for a, b in pairwise(found):
        assert any(c.since < b.opened and c.at > a.closed - 1 for c in changes)


def test_each_setting_has_figures_of_its_own(timeline):
    slower = replace(
        timeline,
        keep=lambda at, found: at < 60 or found.share.nonce % 2,
        events=(
            *told("mode", None, None, first=-5.0, every=63.0, words=("turbo",)),
            *told("mode", None, first=60.5, words=("eco",)),
            *told("total_hashes", *(1000.0 * n for n in range(63)), first=-1.0),
            *told("total_hashes", *(61_000 + 500.0 * n for n in range(42)), first=62.0),
        ),
    )
    found = told_by_setting(slower)
    first, second = found["stretches"]
    assert (first["from_s"], first["to_s"]) == (0.0, 58.0)  # as it was told for the last time
    assert (second["from_s"], second["to_s"]) == (61.0, 100.0)
    assert (first["settings"], second["settings"]) == ({"mode": "turbo"}, {"mode": "eco"})
    assert (first["changed"], second["changed"]) == ([], ["mode"])
    assert covers(first["hashrate"], timeline.rate_h_s)
    assert covers(second["hashrate"], timeline.rate_h_s / 2)
    assert first["claimed"]["hashrate_h_s"] == pytest.approx(1000)
    assert second["claimed"]["hashrate_h_s"] == pytest.approx(500)
    inferred = slower.infer()
    rest = found["between"]
    assert rest["time_s"] == 3.0
    everything = first["shares"] + second["shares"] + rest["shares"]
    assert everything == inferred.told["shares"]
    run = inferred.figures["hashrate"]
    assert not covers(first["hashrate"], run.value)
    assert not covers(second["hashrate"], run.value)
    assert [c.names for c in inferred.caveats if isinstance(c, caveats.SettingsChanged)] == ["mode"]
    lines = dict(delivered_rows({"delivered": inferred.told | {"settings": found}, "figures": {}}))
    assert lines["setting 2"].startswith("mode eco (61.0 to 100.0 s): ")
    assert lines["of none"] == f"while one changed: {rest['shares']} shares in 3 s"


def test_what_did_not_change_has_no_figures_of_its_own(timeline):
    same = told("mode", None, None, first=-5.0, every=50.0, words=("eco",))
    assert told_by_setting(replace(timeline, events=same)) is None
    # Nor what changed before.
    early = told("mode", None, first=-2.0, words=("turbo",))
    assert told_by_setting(replace(timeline, events=(*same[:1], *early))) is None


def test_a_stretch_of_unlike_shares_has_an_exact_interval_too(timeline):
    late = told("mode", None, None, first=97.0, every=1.0, words=("eco",))
    late = (late[0], replace(late[1], words=("turbo",)))
    mixed = replace(timeline, works=(WORK, 8 * WORK), events=late)
    first = told_by_setting(mixed)["stretches"][0]
    delivered, windows = replace(mixed, events=()).rows()
    delivered.squares = math.fsum(delivered.squares_of[:97])
    delivered.work = float(sum(window.hashes for window in windows[:97]))
    run = infer(windows[:97], delivered, Basis.SHARES).figures["hashrate"]
    assert Figure.from_json(first["hashrate"]) == run


def test_of_many_stretches_the_longest_are_named(timeline, monkeypatch):
    monkeypatch.setattr(by_stretch, "MOST", 3)
    values = [float(n) for second in range(7) for n in (second, second)]
    ats = [(10.0 + second * 10 + part) for second in range(7) for part in (0.0, 9.0)]
    events = [
        replace(told("frequency_mhz", value)[0], at=START + round(at * 1e9))
        for value, at in zip(values, ats, strict=True)
    ]
    found = told_by_setting(replace(timeline, events=tuple(events)))
    assert len(found["stretches"]) == 3
    assert found["unnamed"]["stretches"] == 4
    assert found["stretches"][-1]["to_s"] == 100.0
    named = sum(each["shares"] for each in found["stretches"])
    rest = found["between"]["shares"] + found["unnamed"]["shares"]
    assert named + rest == timeline.infer().told["shares"]
    time_s = sum(each["to_s"] - each["from_s"] for each in found["stretches"])
    assert time_s + found["between"]["time_s"] + found["unnamed"]["time_s"] == pytest.approx(100)


def bad(timeline, *counted):
    inferred = replace(timeline, events=told("hardware_errors", *counted)).infer()
    return inferred.told.get("hardware_errors"), inferred


def test_bad_nonces_are_held_against_the_good_ones(timeline):
    shares = timeline.infer().told["shares"]
    many, inferred = bad(timeline, *(3.0 * n for n in range(103)))
    assert many["errors"] == 300
    # Shares here are far easier than difficulty 1: each is a nonce that was found.
    assert many["good"] == pytest.approx(shares)
    assert many["share"]["value"] == pytest.approx(300 / (300 + shares))
    (found,) = [c for c in inferred.caveats if isinstance(c, caveats.HardwareErrors)]
    assert found.lo < found.share < found.hi
    assert "bad" in dict(delivered_rows({"delivered": inferred.told, "figures": {}}))["bad nonces"]


def test_a_few_bad_nonces_are_no_caveat(timeline):
    few, inferred = bad(timeline, *(0.4 * n for n in range(103)))
    assert 0 < few["share"]["value"] < 0.02
    assert caveats.HardwareErrors not in map(type, inferred.caveats)
    assert bad(timeline)[0] is None  # it does not count them


def test_work_at_a_difficulty_is_as_many_nonces(timeline):
    # As if each share stood for so many of difficulty 1, and its chips kept those below 4 back.
    delivered, windows = timeline.rows()
    for event in told("hardware_errors", *range(103)):
        delivered.hear(event)
    times = 40_000 * HASHES_PER_DIFFICULTY / delivered.work
    delivered.work *= times
    delivered.squares *= times**2
    delivered.largest *= times
    share = infer(windows, delivered, Basis.SHARES).told["hardware_errors"]
    assert share["good"] == pytest.approx(40_000)
    target = Target.from_difficulty(1)
    (level,) = delivered.levels.values()
    level.nearest = 0.25
    delivered.levels = {target: level}
    share = infer(windows, delivered, Basis.SHARES).told["hardware_errors"]
    assert share["chip_difficulty"] == pytest.approx(4)
    assert share["good"] == pytest.approx(10_000)


def job(serial, at, connection=1, *, clean=False):
    return Assigned(serial, of_work(WORK), at, clean, connection)


def test_how_fast_it_takes_up_a_job_is_seen_by_the_shares():
    seen = Answering()
    for each in (job(1, 0, clean=True), job(2, 1000), job(3, 2000), job(9, 2100, connection=2)):
        seen.sent(each)
    for at, serial in ((10, 1), (1100, 1), (1150, 2), (1200, 1), (1300, 2), (2400, 3), (2500, 9)):
        seen.came(at, serial)
    jobs = seen.to_json(-1, 3000, 3e-6)["answering"]["new_jobs"]
    # The first job of a connection follows none, and a share of another's job is no late one.
    assert (jobs["jobs"], jobs["clean"]) == (2, False)
    assert jobs["first_share"] == {"count": 2, "median_s": 150e-9, "p95_s": 400e-9}
    assert jobs["last_of_before"] == {"count": 2, "median_s": 0.0, "p95_s": 200e-9}
    assert jobs["chance_s"] == pytest.approx(math.log(2) * 3e-6 / 7)
    seen.sent(job(4, 3000, clean=True))
    seen.came(3100, 4)
    jobs = seen.to_json(-1, 4000, 4e-6)["answering"]["new_jobs"]
    assert (jobs["jobs"], jobs["clean"], jobs["first_share"]["median_s"]) == (1, True, 100e-9)
    assert seen.to_json(3500, 4000, 1.0) == {}


def test_its_answers_to_a_question_are_told_by_median_and_p95(timeline):
    answers = told("answered_s", *(n / 1000 for n in range(1, 101)), first=0.0, every=0.5)
    inferred = replace(timeline, events=answers).infer()
    answered = inferred.told["answering"]["answers"]
    assert answered == {"count": 99, "median_s": 0.051, "p95_s": 0.096}  # one came before it opened
    line = dict(delivered_rows({"delivered": inferred.told, "figures": {}}))["answering"]
    assert line.startswith("there and back 51 ms (95 % within 96 ms, 99 times)")


def batched(timeline, *late):
    held = replace(timeline, move=lambda at: math.ceil(at * 8) / 8, events=late).infer()
    line = dict(delivered_rows({"delivered": held.told, "figures": {}}))["gaps"]
    assert ("late itself" in line) == bool(late)
    return held.told["bursts"], caveats.Batched in map(type, held.caveats)


def test_a_pool_that_was_late_itself_accuses_nobody(timeline):
    bursts, accused = batched(timeline)
    assert accused
    assert "pool_late" not in bursts
    on_time = told("pool_late_s", *([0.0] * 395 + [0.2] * 5), first=0.1, every=0.25)
    bursts, accused = batched(timeline, *on_time)
    assert accused
    assert bursts["pool_late"] == pytest.approx(5 / 400, abs=0.003)
    late = told("pool_late_s", *[0.2] * 400, first=0.1, every=0.25)
    bursts, accused = batched(timeline, *late)
    assert not accused
    assert bursts["pool_late"] == 1.0
