"""Which difficulty a miner gets, a device's floor, and what a pool's events come to."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwkit.protocols import Assigned, Link, Submission, Verdict
from hwkit.wire import stratum_figures as figures
from hwkit.wire.stratum_difficulty import EASIEST, Seen, Steering, floor, suffers
from hwkit.work import DIFFICULTY_1, NONCES, Share, Target

S = 10**9


def draw_digests(draw, difficulty, count, least=0.0):
    """Hashes of honest shares at a difficulty, of a device that keeps back those below `least`."""
    from_easiest = DIFFICULTY_1 / max(difficulty, least)
    return [int(draw.random() * from_easiest).to_bytes(32, "little") for _ in range(count)]


def test_it_begins_at_ten_to_twenty_shares_a_second():
    assert Steering.towards(200e12).difficulty == 4096
    for rate in (1e3, 5e6, 1.2e12, 473e12):
        difficulty = Steering.towards(rate).difficulty
        if difficulty > EASIEST:
            assert 10 <= rate / (difficulty * NONCES) < 20


@pytest.mark.parametrize("rate", [7e6, 1.2e12, 200e12, 3e15])
@pytest.mark.parametrize("begin", [1024.0, None])
def test_it_comes_to_25_to_50_shares_a_second_and_stays(rate, begin):
    steering = Steering(begin) if begin else Steering.towards(rate)
    draw = random.Random(1)
    path = []
    for _ in range(40):
        mean = 10 * rate / (steering.difficulty * NONCES)
        shares = max(round(draw.gauss(mean, mean**0.5)), 0)
        digests = draw_digests(draw, steering.difficulty, min(shares, 500))
        steering = steering.after(Seen(shares, 0, 10.0, 0.01), digests)
        path.append(rate / (steering.difficulty * NONCES))
    assert 20 <= path[-1] <= 60
    assert len(set(path[-10:])) <= 2  # where chance decides between two, it does so once


def test_a_miner_that_pauses_keeps_its_difficulty_and_one_that_never_came_is_searched_for():
    paused = searched = Steering(1024.0)
    paused = paused.after(Seen(300, 0, 10.0))
    for _ in range(100):
        paused, searched = paused.after(Seen(0, 0, 10.0)), searched.after(Seen(0, 0, 10.0))
    assert paused.difficulty == 1024
    assert searched.difficulty == 2.0**-16
    assert Steering(2.0**-20).after(Seen(0, 0, 10.0)).difficulty == 2.0**-20


def test_it_does_not_go_below_a_floor_and_leaves_a_difficulty_below_one():
    draw = random.Random(2)
    steering, rate = Steering(512.0), 1.2e12
    for _ in range(30):
        passed = max(steering.difficulty, 256.0)
        shares = round(60 * rate / (passed * NONCES))
        seen = Seen(shares, 0, 60.0)
        steering = steering.after(seen, draw_digests(draw, steering.difficulty, shares, 256.0))
    assert steering.difficulty == 256
    assert steering.least == 256


def test_it_goes_back_where_rejects_or_latency_rise():
    calm, rejected = Seen(200, 1, 10.0, 0.01), Seen(400, 60, 10.0, 0.01)
    slow = Seen(400, 2, 10.0, 0.9)
    down = Steering(4096.0).after(calm)
    assert down.difficulty == 2048
    for worse in (rejected, slow):
        back = down.after(worse)
        assert back.difficulty == 4096
        assert back.after(calm).difficulty == 4096  # it is not tried again
    assert down.after(Seen(400, 2, 10.0, 0.012)).difficulty == 2048
    assert not suffers(Seen(10, 0, 1.0), Seen(0, 0, 1.0))


@given(
    st.floats(EASIEST, 1e9),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.floats(0.1, 1e4),
    st.none() | st.floats(0, 1e3),
)
def test_it_is_always_a_difficulty(difficulty, shares, rejects, time_s, latency_s):
    begin = Steering(difficulty, before=Seen(shares // 2, rejects, time_s, latency_s))
    after = begin.after(Seen(shares, rejects, time_s, latency_s))
    Target.from_difficulty(after.difficulty)
    assert after.difficulty >= after.least


def test_a_floor_is_found_and_none_where_there_is_none():
    """A false one comes once in a million windows: in 2,000 it would be a fault of ours."""
    draw = random.Random(3)
    for _ in range(2000):
        difficulty = draw.choice([0.001, 1.0, 256.0, 4096.0])
        digests = draw_digests(draw, difficulty, draw.randrange(1, 60))
        assert floor(digests, Target.from_difficulty(difficulty)) is None
    for least in (1.0, 256.0, 1024.0):
        for below in (2, 4, 32):
            assigned = Target.from_difficulty(least / below)
            assert floor(draw_digests(draw, least / below, 60, least), assigned) == least
    assert floor([], Target(1)) is None


def good(at, serial, connection=1, verdict=Verdict.GOOD):
    return Submission(at * S, connection, Share(serial, b"", 0, 0, 0), verdict)


def assigned(at, serial, connection=1, *, clean=False, difficulty=1):
    return Assigned(serial, Target.from_difficulty(difficulty), at * S, clean, connection)


EVENTS = [
    Link(0, 1, "connected", "192.0.2.1"),
    Link(0, 1, "agent", "bitaxe/1"),
    Link(0, 1, "authorized", "me"),
    assigned(1, 1, clean=True),
    good(2, 1),
    good(5, 1),
    Link(5 * S, 1, "answered", "client.get_version", 20_000_000),
    assigned(10, 2, clean=True, difficulty=2),
    good(11, 1, verdict=Verdict.STALE),
    good(12, 1, verdict=Verdict.STALE),
    good(13, 2),
    assigned(20, 3, clean=True),
    Link(30 * S, 1, "closed", "by the miner"),
    Link(37 * S, 2, "connected", "192.0.2.1"),
    assigned(38, 4, 2, clean=True),
    good(39, 4, 2),
]


def test_what_events_come_to():
    assert figures.switches_s(EVENTS) == [2.0, 0.0]
    assert figures.first_shares_s(EVENTS) == [1.0, 3.0, 1.0]
    assert figures.gaps_s(EVENTS) == [3.0, 8.0, 26.0]
    assert figures.gaps_s(EVENTS, 1) == [3.0, 8.0]
    assert list(figures.absences(EVENTS)) == [(30 * S, 37 * S)]
    assert figures.latencies_s(EVENTS) == [0.02]
    assert figures.latency_s(EVENTS) == 0.02
    assert figures.latency_s([]) is None


def test_two_behind_one_address_are_not_away_while_one_is_here():
    events = [Link(n * S, n, "connected", "192.0.2.1") for n in (1, 2)]
    events += [Link(3 * S, 1, "closed"), Link(4 * S, 3, "connected", "192.0.2.1")]
    assert list(figures.absences(events)) == []


def test_a_miner_so_far():
    miner = figures.Miner(1)
    for event in EVENTS:
        if event.connection == 1:
            miner.take(event)
    one, two = (float(Target.from_difficulty(d).work) for d in (1, 2))
    assert (miner.peer, miner.agent, miner.user) == ("192.0.2.1", "bitaxe/1", "me")
    assert miner.verdicts == {Verdict.GOOD: 3, Verdict.STALE: 2}
    assert miner.work == 2 * one + two
    assert miner.squares == 2 * one**2 + two**2
    assert (miner.since, miner.first, miner.last) == (1 * S, 2 * S, 13 * S)
    assert miner.longest_gap_ns == 8 * S
    assert miner.latency_ns == 20_000_000
    assert miner.closed == "by the miner"
