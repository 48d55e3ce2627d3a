"""Pools changed over HTTP: the fewest fields, and all as it was afterwards, passwords too."""

import copy
import socket
import time
from dataclasses import replace

import pytest
from fake_miner import FakeMiner
from fake_pages import Axeos, Bitmain
from web_server import Digest

from hwkit.errors import DeviceLost, NotPermitted, ProtocolError
from hwkit.hashers.asic import pools, pools_http, restore, ways
from hwkit.hashers.asic.pools import Bench
from hwkit.hashers.asic.restore import Pending
from hwkit.wire.http import Host, Refused

pytestmark = pytest.mark.needs(module="aiohttp")
BENCH = Bench("192.0.2.7", 3333, "hwkit.test")
PATIENCE_S = 60  # for what a busy machine may take its time with


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("HWKIT_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(pools, "SOON_S", 0.02)
    monkeypatch.setattr(pools, "AWAY_S", 0.05)
    monkeypatch.setattr(pools_http, "RESTART_S", 0.3)


@pytest.fixture
def way():
    """Return a function that makes a way, which is closed at the end."""
    made: list[pools.Way] = []

    def make(kind, pages):
        if kind == "bitmain":
            host = Host("it", f"127.0.0.1:{pages.port}")
            host.log_in("digest", "root", "right")
            made.append(pools_http.BitmainWay(host, "it"))
        else:
            made.append(pools_http.AxeosWay(Host("it", f"127.0.0.1:{pages.port}"), "it"))
        return made[-1]

    yield make
    for each in made:
        each.close()


def to_bench(way, own):
    assert pools.until(lambda: way.toward_bench(own, BENCH), PATIENCE_S)


def to_own(way, own):
    assert pools.until(lambda: way.toward_own(own, BENCH), PATIENCE_S)


def until_it_fails(step):
    deadline = time.monotonic() + PATIENCE_S
    while not step() and time.monotonic() < deadline:
        time.sleep(0.02)


@pytest.mark.parametrize("many", [False, True])
def test_axeos(way, many):
    with Axeos(many=many) as pages:
        before = dict(pages.pool)
        one = way("axeos", pages)
        own = one.read()
        assert "secret" not in str(own)
        to_bench(one, own)
        assert (pages.works_on["stratumURL"], pages.works_on["stratumPort"]) == ("192.0.2.7", 3333)
        assert pages.works_on.get("stratumTLS", 0) == 0
        assert pages.works_on.get("stratumProtocol", "SV1") == "SV1"
        if not many:
            changed = {"stratumURL": "192.0.2.7", "stratumPort": 3333}
            assert pages.sent[0] == ("PATCH", "/api/system", changed)
        to_own(one, own)
        assert pages.works_on == before
        assert pages.restarts == 2
        to_own(way("axeos", pages), own)  # in another process; once more than needed at most
        assert pages.works_on == before
        assert pages.restarts <= 3


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("path", ["/api/system", "/api/system/restart"])
@pytest.mark.parametrize("back", [False, True])
def test_axeos_whose_connection_is_cut_and_whose_keeper_dies_then(way, path, when, *, back):
    with Axeos() as pages:
        before = dict(pages.pool)
        one = way("axeos", pages)
        own = one.read()
        if back:
            to_bench(one, own)
        pages.cut = lambda asked: when if asked == path else None
        step = one.toward_own if back else one.toward_bench
        with pytest.raises(DeviceLost):
            until_it_fails(lambda: step(own, BENCH))
        pages.cut = lambda _: None
        to_own(way("axeos", pages), own)
        assert pages.works_on == before


def test_axeos_that_was_never_changed_is_not_restarted(way):
    with Axeos() as pages:
        own = way("axeos", pages).read()
        to_own(way("axeos", pages), own)
        assert pages.sent == []


def test_axeos_that_its_owner_has_pointed_elsewhere_meanwhile(way):
    with Axeos() as pages:
        one = way("axeos", pages)
        own = one.read()
        to_bench(one, own)
        pages.pool["stratumURL"] = "new.example"
        with pytest.raises(pools.Elsewhere, match=r"new\.example.*--forget"):
            to_own(one, own)
        assert pages.pool["stratumURL"] == "new.example"


def test_axeos_that_two_hwkits_feed_at_once_gets_its_own_pool_back(way):
    other = replace(BENCH, port=4444)
    with Axeos() as pages:
        before = dict(pages.pool)
        one, two = way("axeos", pages), way("axeos", pages)
        own_of_one = one.read()
        to_bench(one, own_of_one)
        own_of_two = two.read()  # which is the bench pool of the first
        assert pools.until(lambda: two.toward_bench(own_of_two, other), PATIENCE_S)
        with pytest.raises(pools.Elsewhere):
            to_own(one, own_of_one)  # it stays on disk
        assert pools.until(lambda: two.toward_own(own_of_two, other), PATIENCE_S)
        to_own(one, own_of_one)
        assert pages.works_on == before


@pytest.mark.parametrize("mode", ["bitmain-work-mode", "miner-mode"])
def test_bitmain(way, mode):
    with Bitmain(Digest("root", "right"), mode=mode) as pages:
        before = copy.deepcopy(pages.conf)
        one = way("bitmain", pages)
        own = one.read()
        assert "secret" not in str(own)
        to_bench(one, own)
        wanted = copy.deepcopy(before)
        wanted["pools"][0]["url"] = BENCH.url
        assert pages.conf == wanted  # and nothing else: mode, fans, the other pools, passwords
        to_own(one, own)
        assert pages.conf == before
        to_own(one, own)
        assert pages.restarts == 2


@pytest.mark.parametrize("when", ["before", "after"])
def test_bitmain_whose_answer_does_not_come(way, when):
    """It restarts what serves the page: the change is done, or not, and it must be looked at."""
    with Bitmain(Digest("root", "right")) as pages:
        before = copy.deepcopy(pages.conf)
        cuts = [when, when]
        pages.cut = lambda _: cuts.pop() if cuts else None
        one = way("bitmain", pages)
        own = one.read()
        to_bench(one, own)
        to_own(one, own)
        assert pages.conf == before


def test_bitmain_that_hides_passwords_or_is_too_old_is_left_alone(way):
    with Bitmain(Digest("root", "right")) as pages:
        pages.conf["pools"][1]["pass"] = "******"
        with pytest.raises(NotPermitted, match="hides"):
            way("bitmain", pages).read()
        pages.conf["pools"][1]["pass"] = ""
        del pages.conf["bitmain-work-mode"]
        with pytest.raises(NotPermitted, match="older"):
            way("bitmain", pages).read()


@pytest.mark.parametrize("document", [[], {}, {"pools": []}, {"pools": [1]}, {"pools": [{}]}])
def test_nonsense(way, document):
    with Bitmain(None) as pages:
        pages.conf = document
        with pytest.raises(ProtocolError, match="names no pools"):
            way("bitmain", pages).read()
    with Axeos() as pages:
        pages.answers["/api/system/info"] = document
        with pytest.raises(ProtocolError):
            way("axeos", pages).read()


# Which way it is.


@pytest.fixture
def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_one_that_only_has_pages_is_axeos(closed_port):
    with Axeos() as pages:
        way = ways.choose("127.0.0.1", closed_port, pages.port)
        assert way.name == "axeos"
        way.close()


def test_an_antminer_wants_its_pages_password(credentials, monkeypatch):
    with FakeMiner(privileged=False, hashes=False) as miner, Bitmain(Digest("root", "right")) as it:
        version = {"Type": "Antminer S19", "Miner": "uart_trans.1.3"}
        monkeypatch.setattr(miner, "version", lambda: [version])
        with pytest.raises(NotPermitted, match=r"wants a password.*--manual"):
            ways.choose("127.0.0.1", miner.port, it.port)
        credentials(password="wrong")
        way = ways.choose("127.0.0.1", miner.port, it.port)
        with pytest.raises(Refused):
            way.read()
        way.close()
        credentials(password="right")
        way = ways.choose("127.0.0.1", miner.port, it.port)
        own = way.read()
        to_bench(way, own)
        way.close()
        kept = Pending("127.0.0.1", miner.port, it.port, "bitmain", BENCH, own)
        with kept.kept():
            pass
        [left] = restore.abandoned()
        assert ways.put_back(left)
        assert it.conf["pools"][0]["url"] == "stratum+tcp://own.example:3333"
        assert restore.pending() == []
