"""A miner fed from a pool of ours, and one that is watched: against a fake that really hashes."""

import itertools
import socket
import threading
import time
from contextlib import contextmanager

import pytest
from fake_miner import FakeMiner

from hwkit import plugins
from hwkit.cli.restoring import by_hand
from hwkit.errors import (
    DeviceFault,
    DeviceLost,
    DeviceTimeout,
    NoDevice,
    NotPermitted,
    PlanError,
    ProtocolError,
)
from hwkit.harness.plan import Plan
from hwkit.hashers.asic import asking, claims, feeding, pools, watched
from hwkit.hashers.asic.telemetry import Telemetry, Value
from hwkit.protocols import (
    Assigned,
    Basis,
    Hasher,
    Link,
    Probe,
    Restorable,
    Submission,
    Verdict,
)
from hwkit.sha256d import sha256d
from hwkit.work import Share, Target

PATIENCE_S = 60  # for what a busy machine may take its time with


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("HWKIT_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(pools, "SOON_S", 0.02)
    monkeypatch.setattr(pools, "AWAY_S", 0.1)
    return tmp_path / "state" / "restore"


@pytest.fixture
def miner():
    with FakeMiner() as fake:
        yield fake


@pytest.fixture
def find(miner):  # which is there until all are restored
    """Return a function that finds the miner at an address; it is restored at the end."""
    found = []

    def one(address):
        [hasher] = plugins.hashers(address)
        found.append(hasher)
        return hasher

    yield one
    for each in found:
        if isinstance(each, Restorable):
            each.restore()


@pytest.fixture
def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def job(seed="test"):
    return Plan(seed=seed).job(int(time.time()), Target.from_difficulty(1))


@contextmanager
def reports(hasher, work=None):
    """The reports of one run, which is stopped at the end."""
    stop = threading.Event()
    run = hasher.run(work or job(), stop)
    try:
        yield run
    finally:
        stop.set()
        assert len(list(itertools.islice(run, 3))) < 3


def until(run, found):
    """Read reports until one of them, or all so far, show it."""
    deadline = time.monotonic() + PATIENCE_S
    seen = []
    for report in run:
        seen.append(report)
        if found(seen):
            return seen
        assert time.monotonic() < deadline
    raise AssertionError("it has ended by itself")


def events(seen, kind):
    return [event for report in seen for event in report.events if isinstance(event, kind)]


def test_its_shares_are_verified_and_count_at_their_jobs_difficulty(find, miner):
    hasher = find(f"asic:127.0.0.1:{miner.port}")
    assert isinstance(hasher, Hasher)
    assert isinstance(hasher, Restorable)
    assert hasher.spec.basis is Basis.SHARES
    work = job()
    with reports(hasher, work) as run:
        seen = until(run, lambda seen: sum(len(each.shares) for each in seen) >= 20)
    assigned = {event.serial: event.target for event in events(seen, Assigned)}
    good = [each for each in events(seen, Submission) if each.verdict is Verdict.GOOD]
    shares = [share for report in seen for share in report.shares]
    assert [each.share for each in good] == shares
    for share in shares:
        assert assigned[share.serial].is_met_by(sha256d(work.header(share)))
    # By its own word, 200 kH/s, some ten to twenty shares a second.
    [target] = set(assigned.values())
    assert 10 <= miner.rate / float(target.work) <= 20
    assert all(report.hashes is None for report in seen)
    times = [report.at for report in seen]
    assert times == sorted(times)
    assert all(event.at <= report.at for report in seen for event in report.events)
    what = [event.what for event in events(seen, Link)]
    assert {"connected", "agent", "authorized", "pointed"} <= set(what)


def test_it_tells_what_it_claims_and_what_it_is(find, miner):
    hasher = find(f"asic:127.0.0.1:{miner.port}")
    wanted = {"claimed_hashrate_h_s", "total_hashes", "elapsed_s", "firmware"}
    with reports(hasher) as run:
        seen = until(run, lambda seen: wanted <= {each.name for each in events(seen, Probe)})
    probes = events(seen, Probe)
    assert {each.value for each in probes if each.name == "claimed_hashrate_h_s"} == {miner.rate}
    [firmware] = [each for each in probes if each.name == "firmware"]
    assert firmware.words == ("cgminer 4.11.1",)
    with reports(hasher) as run:  # at the edge of another run it is told again
        until(run, lambda seen: "firmware" in {each.name for each in events(seen, Probe)})


def test_a_second_run_has_its_own_job_on_the_same_connection(find, miner):
    hasher = find(f"asic:127.0.0.1:{miner.port}")
    works = [job(), job(), job("another seed, another extranonce")]
    connected = 0
    for work in works:
        with reports(hasher, work) as run:
            seen = until(run, lambda seen: sum(len(each.shares) for each in seen) >= 5)
        serials = {event.serial for event in events(seen, Assigned)}
        for report in seen:
            for share in report.shares:
                assert share.serial in serials
                digest = int.from_bytes(sha256d(work.header(share)), "little")
                assert digest < 1 << 245
        connected += [event.what for event in events(seen, Link)].count("connected")
    assert connected == 2
    assert miner.asked.count("addpool") == 1


def test_it_stops_at_once_and_is_restored_after(find, miner, state):
    before = miner.state()
    hasher = find(f"asic:127.0.0.1:{miner.port}")
    with reports(hasher) as run:
        until(run, lambda seen: any(each.shares for each in seen))
    assert len(list(state.iterdir())) == 1  # whoever runs it restores it: a run does not
    hasher.restore()
    assert miner.state() == before
    assert list(state.iterdir()) == []
    hasher.restore()
    with reports(hasher) as run:  # and it may be run again
        until(run, lambda seen: any(each.shares for each in seen))


def test_one_that_has_left_is_pointed_there_again(find, miner, monkeypatch):
    monkeypatch.setattr(feeding, "AWAY_S", 0.2)
    hasher = find(f"asic:127.0.0.1:{miner.port}")
    with reports(hasher) as run:
        until(run, lambda seen: any(each.shares for each in seen))
        with miner.lock:
            miner.load()  # as after a power cut
        until(run, lambda seen: "pointed" in [event.what for event in events(seen, Link)])
        until(run, lambda seen: any(each.shares for each in seen))


def test_one_that_never_comes_is_said_why(find, state):
    with FakeMiner(hashes=False) as miner:
        before = miner.state()
        hasher = find(f"asic:127.0.0.1:{miner.port}?wait=1")
        with pytest.raises(DeviceTimeout, match="nothing came to 127"), reports(hasher) as run:
            until(run, lambda _: False)
        hasher.restore()
        assert miner.state() == before


def test_one_that_forgets_the_bench_pool_is_given_up(find, monkeypatch):
    monkeypatch.setattr(pools.CgminerWay, "patience_s", 1.0)
    with FakeMiner(reboots="forget", away_s=0.05) as miner:
        before = miner.state()
        hasher = find(f"asic:127.0.0.1:{miner.port}")
        with pytest.raises(DeviceFault, match="not as told after 1 s"), reports(hasher) as run:
            until(run, lambda _: False)
        hasher.restore()
        assert miner.state() == before


def test_one_whose_pools_nobody_may_change_is_for_the_hand(find, miner):
    miner.privileged = False
    hasher = find(f"asic:127.0.0.1:{miner.port}")
    with pytest.raises(NotPermitted, match="--manual"):
        hasher.look()
    assert "addpool" not in miner.asked


def test_one_that_answers_that_it_will_not_is_for_the_hand_too(find, miner, monkeypatch):
    monkeypatch.setattr(miner, "addpool", lambda *_: int("no"))
    hasher = find(f"asic:127.0.0.1:{miner.port}")
    with pytest.raises(NotPermitted, match=r"addpool.*--manual"), reports(hasher) as run:
        until(run, lambda _: False)
    assert miner.asked.count("addpool") == 1


def test_by_hand(find, miner, free_port):
    before = miner.state()
    hasher = find(f"asic:127.0.0.1:{miner.port}?manual=1&listen={free_port}")
    first, _ = hasher.look()
    assert first.startswith(f"127.0.0.1:{miner.port}: ")  # of several at one host, this
    assert f"stratum+tcp://127.0.0.1:{free_port}" in first
    with reports(hasher) as run:
        with miner.lock:  # what the line says, typed
            miner.addpool(f"stratum+tcp://127.0.0.1:{free_port}", "any", "any")
            miner.switchpool(3)
        until(run, lambda seen: any(each.shares for each in seen))
    with miner.lock:
        miner.load()
    hasher.restore()
    assert miner.state() == before
    assert not {"addpool", "switchpool"} & set(miner.asked)


def test_what_a_dead_run_left_changed_is_put_back_before_another(find, miner, state):
    before = miner.state()
    first = find(f"asic:127.0.0.1:{miner.port}")
    with reports(first) as run:
        until(run, lambda seen: any(each.shares for each in seen))
    first._holding.close()  # as its death would
    second = find(f"asic:127.0.0.1:{miner.port}")
    assert any("put back first" in line for line in second.look())
    assert miner.state() == before
    assert list(state.iterdir()) == []
    first._kept = None


@pytest.mark.parametrize(
    "address", ["asic", "asic:", "asic:h?manual=2", "asic:h?wait=0", "asic:h?x=1", "asic-api:h?x=1"]
)
def test_addresses_that_make_no_sense(address):
    with pytest.raises(PlanError):
        list(plugins.hashers(address))


def test_nobody_there(find, free_port):
    with pytest.raises(NoDevice, match="refused"):
        find(f"asic:127.0.0.1:{free_port}?web={free_port}").look()


def test_manual_is_of_miners():
    assert by_hand(["asic:h", "asic:h?wait=9", "cpu:portable"]) == (
        "asic:h?manual=1",
        "asic:h?wait=9&manual=1",
        "cpu:portable",
    )
    with pytest.raises(PlanError, match="--manual"):
        by_hand(["cpu:portable"])


# The difficulty it gets.


def good(count, difficulty):
    """Shares as chance has them: their hashes spread evenly below the target."""
    now, share = time.monotonic_ns(), Share(1, bytes(8), 0, 0, 0)
    target = Target.from_difficulty(difficulty).value
    return [
        Submission(now, 1, share, Verdict.GOOD, digest=(target * n // count).to_bytes(32, "little"))
        for n in range(1, count + 1)
    ]


def sent():
    return [Assigned(1, Target.from_difficulty(1), time.monotonic_ns(), clean=True, connection=1)]


def test_its_word_sets_the_difficulty_until_a_first_share_has_come():
    steers = feeding.Steers(None)
    assert steers.difficulty == 16  # of a terahash a second
    assert steers.hear(sent(), 0.0) is None  # it has not begun, by its own word
    assert steers.hear([], 200e12) == 4096
    assert steers.hear(sent(), 220e12) is None  # about what it was
    assert steers.hear(good(1, 4096), 900e12) is None  # by its shares alone from now on
    assert steers.difficulty == 4096


def test_shares_that_flood_are_not_waited_with():
    steers = feeding.Steers(1e12)
    assert steers.hear(sent(), None) is None
    higher = steers.hear(good(feeding.MANY, 16), None)
    assert higher is not None
    assert higher > 16


def test_a_setting_is_told_when_it_changes_not_when_it_wavers():
    asked = claims.Claims("127.0.0.1", asking.Ports())

    def told(at, name, value=None, words=()):
        return [
            (probe.at, probe.value, *probe.words)
            for probe in asked._worth_telling([Probe(at, name, value, words)])
        ]

    assert told(1, "frequency_mhz", 500.0) == [(1, 500.0)]
    assert told(2, "frequency_mhz", 503.0) == []
    assert told(3, "frequency_mhz", 498.0) == []
    # As it was told before, and until when it was seen so.
    assert told(9, "frequency_mhz", 550.0) == [(3, 500.0), (9, 550.0)]
    assert told(1, "mode", words=("normal",)) == [(1, None, "normal")]
    assert told(2, "mode", words=("normal",)) == []
    assert told(3, "mode", words=("low",)) == [(2, None, "normal"), (3, None, "low")]
    assert told(3, "temperature_c", 40.0) == told(3, "temperature_c", 40.0) == [(3, 40.0)]


def test_each_rate_that_it_names_is_told_with_where_and_over_how_long():
    def said(av):
        rates = (
            Value(av, "H/s", "summary /SUMMARY/0/MHS av", "av"),
            Value(4e6, "H/s", "summary /SUMMARY/0/MHS 5s", "5s"),
            Value(3e6, "H/s", "sum(3) of devs /DEVS/*/MHS 1m", "1m"),
        )
        total = Value(9e8, "H", "summary /SUMMARY/0/Total MH")
        elapsed = Value(900.0, "s", "summary /SUMMARY/0/Elapsed")
        telemetry = Telemetry(
            "any",
            hashrate_h_s=rates[0],
            hashrates_h_s=rates,
            total_hashes=total,
            elapsed_s=elapsed,
        )
        probes = [claims._probe(name, value, 1) for name, value in claims._values(telemetry)]
        return {probe.name: (probe.value, probe.words[-1]) for probe in probes}

    honest, liar = said(1e6), said(4e6)
    assert honest["claimed_hashrate_h_s"] == (1e6, "900 s")  # its own counter says the same
    assert liar["claimed_hashrate_h_s"] == (4e6, "av")
    assert honest["claimed_hashrate_h_s summary /SUMMARY/0/MHS 5s"] == (4e6, "5s")
    assert honest["claimed_hashrate_h_s sum of devs /DEVS/*/MHS 1m"] == (3e6, "1m")


# Watched.


def test_a_watched_miner_reports_by_how_much_its_own_count_rose(find, miner, monkeypatch):
    monkeypatch.setattr(watched, "INTERVAL_S", 0.0)
    with miner.lock:
        miner.total = 5_000_000_000_000  # what it had before is nobody's
    hasher = find(f"asic-api:127.0.0.1:{miner.port}")
    assert hasher.spec.basis is Basis.CLAIMED
    with reports(hasher) as run:
        seen = until(run, lambda seen: len(events(seen, Probe)) > 5)
        with miner.lock:
            miner.total += 3_000_000_000
        seen += until(run, lambda seen: any(each.hashes for each in seen))
        with miner.lock:
            miner.total = 7_000_000  # it has restarted
        seen += until(run, lambda seen: any(each.value == 7e6 for each in events(seen, Probe)))
    assert sum(report.hashes or 0 for report in seen) == 3_000_000_000
    assert not {"addpool", "switchpool", "privileged"} & set(miner.asked)


def test_a_watched_miner_is_asked_once_a_second_at_most(miner):
    slow = claims.Claims("127.0.0.1", asking.Ports(api=miner.port), interval_s=0.0)
    assert slow._interval_s == 1.0


def test_a_watched_miner_that_is_gone(find, miner, monkeypatch):
    monkeypatch.setattr(watched, "LOST_S", 0.5)
    hasher = find(f"asic-api:127.0.0.1:{miner.port}")
    miner.close()
    with pytest.raises(DeviceLost, match="refused"), reports(hasher) as run:
        until(run, lambda _: False)


def test_a_watched_miner_that_keeps_no_count_is_taken_at_its_rates(find, miner, monkeypatch):
    monkeypatch.setattr(miner, "summary", lambda: [{"MHS av": 1.0}])
    hasher = find(f"asic-api:127.0.0.1:{miner.port}")
    began = time.monotonic()
    with reports(hasher) as run:
        seen = until(run, lambda seen: sum(each.hashes or 0 for each in seen) >= 10**6)
    hashes = sum(each.hashes or 0 for each in seen)
    assert 10**6 <= hashes <= 1e6 * (time.monotonic() - began + 1)


def test_a_watched_miner_that_tells_nothing_of_its_hashes(find, miner, monkeypatch):
    monkeypatch.setattr(miner, "summary", lambda: [{"Elapsed": 1}])
    hasher = find(f"asic-api:127.0.0.1:{miner.port}")
    with pytest.raises(ProtocolError, match="nor how fast"), reports(hasher) as run:
        until(run, lambda _: False)
