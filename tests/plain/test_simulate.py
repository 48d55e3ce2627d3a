"""The simulated miner: what it delivers is real, whatever it claims; its pool here is hashlib's."""

import signal

import pytest
from scripted_pool import ScriptedPool, said, until
from simulated import USUAL_H_S, simulated, simulated_process

from hwkit.cli.simulate import setting
from hwkit.errors import PlanError
from hwkit.simulate import miner as simulated_miner
from hwkit.simulate.behaviour import Behaviour


def summary(port):
    return said(port, "summary")["SUMMARY"][0]


def test_every_share_it_sends_is_one_and_its_counters_are_the_pools():
    with ScriptedPool() as pool, simulated(pools=[pool.own()]) as miner:
        until(lambda: len(pool.shares) >= 50)
        least = miner.counters.hashes
        pool.set_difficulty(1.0)  # none comes any more
        counted = until(
            lambda: (s := summary(miner.api_port))["Accepted"] == len(pool.shares) and s
        )
        assert all(share.good for share in pool.shares)
        assert len({tuple(share.words[1:]) for share in pool.shares}) == len(pool.shares)
        assert counted["Rejected"] == 0
        credited = sum(share.difficulty for share in pool.shares)
        assert counted["Difficulty Accepted"] == pytest.approx(credited, abs=1e-7)
        # What it counts it has hashed: so many shares say so, within five standard deviations.
        work = 2e-6 * 2**32
        count, most = len(pool.shares), miner.counters.hashes
        assert (
            least / work - 5 * (least / work) ** 0.5
            < count
            < most / work + 5 * (most / work) ** 0.5
        )
        # And at the rate that it was given, though a machine that stalls may leave it behind.
        assert miner.counters.hashes / miner.counters.elapsed_s < 1.2 * USUAL_H_S + 1e5


def test_it_rolls_versions_where_the_pool_lets_it():
    with ScriptedPool() as pool, simulated(pools=[pool.own()]):
        until(lambda: len(pool.shares) >= 20)
        assert len({share.words[5] for share in pool.shares}) > 1
        assert pool.methods()[:3] == ["mining.configure", "mining.subscribe", "mining.authorize"]
    for plain in (ScriptedPool(mask=0), ScriptedPool(refuse=["mining.configure"])):
        with plain as pool, simulated(pools=[pool.own()]):
            until(lambda pool=pool: len(pool.shares) >= 5)
            assert all(len(share.words) == 5 for share in pool.shares)
    with ScriptedPool() as pool, simulated(pools=[pool.own()], version_rolling=False):
        until(lambda: len(pool.shares) >= 5)
        assert all(len(share.words) == 5 for share in pool.shares)
        assert "mining.configure" not in pool.methods()


def test_a_difficulty_holds_from_the_next_job_on():
    with ScriptedPool(1e-6) as pool, simulated(pools=[pool.own()], seed=1):
        until(lambda: len(pool.shares) >= 5)
        pool.set_difficulty(1e-5, notify=False)
        before = len(pool.shares)
        until(lambda: len(pool.shares) >= before + 30)
        assert min(share.achieved for share in pool.shares[before:]) < 1e-5
        for stream in pool.connections:
            pool.notify(stream)
        until(lambda: any(share.difficulty == 1e-5 for share in pool.shares))
        assert all(share.good for share in pool.shares)


def test_it_goes_to_the_next_pool_and_comes_back(monkeypatch):
    monkeypatch.setattr(simulated_miner, "LOOK_BACK_S", 0.2)
    with ScriptedPool() as second:
        first = ScriptedPool()
        with simulated(pools=[first.own(), second.own("other")]) as miner:
            until(first.good)
            assert not second.lines
            first.close()
            until(second.good)
            rows = said(miner.api_port, "pools")["POOLS"]
            assert [row["Status"] for row in rows] == ["Dead", "Alive"]
            assert [row["Stratum Active"] for row in rows] == [False, True]
            with ScriptedPool(port=first.port) as again:
                until(again.good)
                rows = said(miner.api_port, "pools")["POOLS"]
                assert [row["Stratum Active"] for row in rows] == [True, False]


def test_it_claims_more_than_it_does():
    with ScriptedPool() as pool, simulated(pools=[pool.own()], lie=1.3) as miner:
        until(lambda: len(pool.shares) >= 50)
        before = miner.counters.hashes
        claimed = 1e6 * summary(miner.api_port)["Total MH"]
        # Total MH has four decimals.
        assert 1.3 * before - 100 <= claimed <= 1.3 * miner.counters.hashes + 100
        assert all(share.good for share in pool.shares)


def test_it_sends_what_is_no_share():
    with ScriptedPool() as pool, simulated(pools=[pool.own()], reject=0.5, seed=3) as miner:
        until(lambda: len(pool.shares) >= 100)
        wrong = [share for share in pool.shares if not share.good]
        assert 25 < len(wrong) < 75
        assert until(lambda: summary(miner.api_port)["Rejected"] >= len(wrong))


def test_it_keeps_bad_nonces_to_itself_and_counts_them():
    with (
        ScriptedPool() as pool,
        simulated(pools=[pool.own()], hardware_errors=0.5, seed=3) as miner,
    ):
        until(lambda: len(pool.shares) >= 50)
        pool.set_difficulty(1.0)
        told = summary(miner.api_port)
        assert all(share.good for share in pool.shares)
        assert 20 < told["Hardware Errors"] < 200
        assert 25 < told["Device Hardware%"] < 75


def test_it_stalls_and_claims_on():
    with ScriptedPool() as pool, simulated(pools=[pool.own()], stall_s=0.0) as miner:
        until(lambda: summary(miner.api_port)["Total MH"] > 0.1)
        assert miner.counters.hashes == 0
        assert not pool.shares
        assert summary(miner.api_port)["Accepted"] == 0


def test_it_says_that_it_is_set_otherwise():
    sets = ((0.0, "frequency_mhz", "400"), (86400.0, "mode", "eco"))
    with simulated("whatsminer", sets=(*sets, (0.0, "power_target_w", "3000"))) as miner:
        told = summary(miner.api_port)
    assert (told["freq_avg"], told["Power Limit"], told["Power Mode"]) == (400, 3000, "Normal")
    behaviour = Behaviour(sets=((9.0, "mode", "low"), (3.0, "mode", "eco")))
    modes = [behaviour.settings_at(time_s).get("mode") for time_s in (2.0, 3.0, 9.0)]
    assert modes == [None, "eco", "low"]


@pytest.mark.parametrize("text", ["60s", "60s:mode", "60s:mode=", "soon:mode=eco"])
def test_a_setting_that_makes_no_sense_is_refused(text):
    with pytest.raises(PlanError):
        setting(text)


@pytest.mark.parametrize(
    "value", [("fans", "3"), ("frequency_mhz", "fast"), ("power_target_w", "-1")]
)
def test_what_cannot_be_set_is_refused(value):
    with pytest.raises(PlanError):
        Behaviour(sets=((1.0, *value),))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_is_a_command_that_tells_its_port_and_ends_when_told(number):
    with ScriptedPool() as pool, simulated_process("--pool", pool.own()) as process:
        until(pool.good)
        assert summary(process.api_port)["Elapsed"] >= 0
        process.popen.send_signal(number)
        assert process.popen.wait(60) == 0
