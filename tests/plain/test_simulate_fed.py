"""A simulated miner and hwkit itself: at the bench pool, its pools changed and put back."""

import time
from typing import Any

import pytest
from scripted_pool import ScriptedPool, said, until
from simulated import simulated

from hwkit.errors import NotPermitted
from hwkit.hashers.asic import pools, ways
from hwkit.protocols import Submission, Verdict
from hwkit.wire import cgminer
from hwkit.wire.stratum import Pool
from hwkit.wire.stratum_jobs import OneTemplate
from hwkit.work import Job, Target

DIFFICULTY = 2.0**-19


@pytest.fixture
def bench():
    job = Job.create(seed=b"test", ntime=int(time.time()), target=Target(1), extranonce2_size=4)
    with Pool(OneTemplate(job), DIFFICULTY) as pool:
        yield pool


def place(pool):
    host, port = pool.address
    return f"stratum+tcp://{host}:{port},worker,x"


def taken(pool, seen):
    seen += [event for event in pool.take() if isinstance(event, Submission)]
    return seen


def test_what_the_bench_pool_credits_is_what_was_done(bench):
    seen: list = []
    with simulated(pools=[place(bench)], lie=1.3, rate_h_s=1e6) as miner:
        until(lambda: len(taken(bench, seen)) >= 400)
        least = miner.counters.hashes
        bench.set_difficulty(1.0)
        own = miner.pools.list[0]
        until(lambda: miner.work.difficulty == 1.0 and len(taken(bench, seen)) == own.accepted)
        claimed = 1e6 * said(miner.api_port, "summary")["SUMMARY"][0]["Total MH"]
        most = miner.counters.hashes
    assert {each.verdict for each in seen} == {Verdict.GOOD}
    # A share stands for so many hashes on average; of 400 or more, five deviations are a quarter.
    credited = len(seen) * float(Target.from_difficulty(DIFFICULTY).work)
    assert 0.75 * least < credited < 1.25 * most
    assert 1.3 * least - 100 < claimed < 1.3 * most + 100  # Total MH has four decimals


def test_the_bench_pool_tells_each_kind_of_wrong_share(bench):
    seen: list = []
    with simulated(pools=[place(bench)], reject=0.3, rate_h_s=1e6, seed=1):
        until(lambda: len(taken(bench, seen)) >= 200)
    verdicts = [each.verdict for each in seen]
    assert 0.15 < verdicts.count(Verdict.LOW) / len(verdicts) < 0.45
    assert set(verdicts) == {Verdict.GOOD, Verdict.LOW}


@pytest.mark.parametrize(
    "dialect",
    [
        "cgminer",
        "bfgminer",
        "luxos",
        "avalon",
        pytest.param("whatsminer2", marks=pytest.mark.needs(module="passlib")),
        pytest.param("whatsminer3", marks=pytest.mark.needs(module="passlib")),
        pytest.param("bitmain", marks=pytest.mark.needs(module="aiohttp")),
        pytest.param("axeos", marks=pytest.mark.needs(module="aiohttp")),
    ],
)
def test_its_pools_are_changed_and_put_back(dialect, bench, credentials, monkeypatch):
    monkeypatch.setattr(pools, "SOON_S", 0.02)
    monkeypatch.setattr(pools, "AWAY_S", 0.1)
    words = {"pool_password_1": "secret", "pool_password_2": "2"}
    user = {"whatsminer3": "super"}.get(dialect, "root")
    credentials(user=user, password="simulated", **words)
    options = {"reboot_takes_s": 0.1, "reboots_on_pool_change": dialect == "luxos"}
    options["admin_password"] = "simulated"
    with (
        ScriptedPool() as own,
        simulated(
            dialect, pools=[own.own("me", "secret"), own.own("two", "2")], **options
        ) as miner,
    ):
        until(own.good)
        before = [(pool.url, pool.user, pool.password) for pool in miner.pools.configured]
        way: Any = ways.choose("127.0.0.1", miner.api_port, miner.web_port)
        monkeypatch.setattr(type(way), "patience_s", 60.0)
        told = way.read()
        host, port = bench.address
        target = pools.Bench(host, port, "hwkit")
        assert pools.until(lambda: way.toward_bench(told, target), way.patience_s)
        seen: list = []
        until(lambda: taken(bench, seen))
        assert pools.until(lambda: way.toward_own(told, target), way.patience_s)
        after = [(pool.url, pool.user, pool.password) for pool in miner.pools.configured]
        assert after == before
        shares = len(own.shares)
        until(lambda: len(own.shares) > shares)
        way.close()


def test_what_lets_nobody_change_its_pools_is_found_out():
    target = pools.Bench("127.0.0.1", 3333, "hwkit")
    with simulated("cgminer", pools=["127.0.0.1:1,a,b"], writable=False) as miner:
        way = pools.CgminerWay("127.0.0.1", miner.api_port)
        with pytest.raises(cgminer.Denied):
            way.toward_bench({}, target)
        with pytest.raises(NotPermitted):
            ways.choose("127.0.0.1", miner.api_port, miner.web_port)
        assert [pool.user for pool in miner.pools.list] == ["a"]
