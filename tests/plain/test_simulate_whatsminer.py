"""A simulated Whatsminer: who may change it, and what its two APIs say to whom it does not know."""

import json
import socket
from typing import Any

import pytest
from scripted_pool import said
from simulated import simulated

from hwkit.errors import DeviceFault
from hwkit.hashers.asic import asking, pools, ways
from hwkit.hashers.asic.pools import Bench
from hwkit.wire import whatsminer
from hwkit.wire.http import Refused
from hwkit.wire.whatsminer_writes import Api3, Closed, NotDone

pytestmark = [pytest.mark.needs(module="cryptography"), pytest.mark.needs(module="passlib")]
BENCH = Bench("127.0.0.1", 9, "hwkit.test")
OWN = ["127.0.0.1:1,a,b"]
BOTH = pytest.mark.parametrize("dialect", ["whatsminer2", "whatsminer3"])


@pytest.fixture(autouse=True)
def known(credentials):
    credentials(password="right", pool_password="b")


def toward_bench(miner):
    way = ways.choose("127.0.0.1", miner.api_port, 1)
    own = way.read()
    pools.until(lambda: way.toward_bench(own, BENCH), 60)


@BOTH
@pytest.mark.parametrize("how", [{}, {"admin_password": "right", "writable": False}])
def test_without_a_password_or_where_nobody_may_it_is_closed(dialect, how):
    with simulated(dialect, pools=OWN, **how) as miner:
        with pytest.raises(Closed):
            toward_bench(miner)
        assert [pool.user for pool in miner.pools.list] == ["a"]


@BOTH
def test_it_takes_no_other_password(dialect):
    with simulated(dialect, pools=OWN, admin_password="another") as miner:
        with pytest.raises(Refused):
            toward_bench(miner)
        assert [pool.user for pool in miner.pools.list] == ["a"]


@BOTH
def test_it_restarts_when_it_is_told_to(dialect):
    with simulated(dialect, pools=OWN, admin_password="right", reboot_takes_s=0.1) as miner:
        way: Any = ways.choose("127.0.0.1", miner.api_port, 1)
        way._restart()
        before = miner.counters
        assert pools.until(lambda: miner.counters is not before, 60)
        assert way.read()


def test_it_gives_32_tokens():
    with simulated("whatsminer2", pools=OWN, admin_password="right") as miner:
        codes = [said(miner.api_port, "get_token")["Code"] for _ in range(34)]
        assert codes == [134] * 32 + [136] * 2
        with pytest.raises(DeviceFault, match="no more tokens"):
            ways.choose("127.0.0.1", miner.api_port, 1)


def test_what_api_3_says_is_read_as_that_of_one():
    with simulated("whatsminer3", pools=OWN, power_w=3000.0) as miner:
        seen = asking.Miner("127.0.0.1", asking.Ports(api=miner.api_port))
        told: Any = seen.read()
    assert told.dialect == "whatsminer3"
    assert told.power_w.value == 3000
    assert told.elapsed_s is not None
    assert [(pool.url, pool.user) for pool in told.pools] == [("127.0.0.1:1", "a")]
    assert len(told.boards_h_s) == 3


def asked(port, request):
    with socket.create_connection(("127.0.0.1", port), timeout=60) as stream:
        stream.sendall(request)
        answer = b""
        while piece := stream.recv(65536):
            answer += piece
            if len(answer) >= 4 + int.from_bytes(answer[:4], "little"):
                break
    return answer


def test_what_is_no_request_of_api_3():
    with simulated("whatsminer3", pools=OWN, admin_password="right") as miner:
        port = miner.api_port
        for length in (0, 8193, 2**32 - 1):
            assert asked(port, length.to_bytes(4, "little") + b"x") == b""
        for body in (b"{", b"[]", b'{"cmd":7}', b"[" * 8000, b'{"cmd":"get.nothing"}'):
            said = asked(port, len(body).to_bytes(4, "little") + body)
            assert json.loads(said[4:])["code"] == -2
        one = Api3("127.0.0.1", port, "super", "right")
        for pools_told in ([], "x", [{"pool": "a"}], [{"pool": 1, "worker": "a", "passwd": "b"}]):
            with pytest.raises(NotDone):
                one.order("set.miner.pools", pools_told, secret=True)
        with pytest.raises(NotDone):
            one.order("set.system.reboot", None)
        with pytest.raises(Refused):
            Api3("127.0.0.1", port, "user1", "right").order("set.miner.service", "restart")
        assert whatsminer.ask("127.0.0.1", "get.device.info", "salt", port=port).document["msg"]
        assert [pool.user for pool in miner.pools.list] == ["a"]
