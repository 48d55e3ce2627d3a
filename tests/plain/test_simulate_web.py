"""The web pages of a simulated miner: settings that are taken up at the next start only."""

import asyncio
import json
import socket

import pytest
from scripted_pool import ScriptedPool, ask, said, until
from simulated import simulated

from hwkit.cli import cli
from hwkit.errors import PlanError

pytestmark = pytest.mark.needs(module="aiohttp")

INFO = "/api/system/info"
CONF, SET = "/cgi-bin/get_miner_conf.cgi", "/cgi-bin/set_miner_conf.cgi"


def send(port, path, document=None, method="GET", login=None):
    """Return what is answered, as bytes; `login` is user and password, by digest."""
    code, body = asked(port, path, document, method, login)
    assert code == 200, body
    return body


def refused(port, path, document=None, method="GET", login=None):
    code, _ = asked(port, path, document, method, login)
    assert code != 200
    return code


def asked(port, path, document, method, login):
    return asyncio.run(answered(port, path, document, method, login))


async def answered(port, path, document, method, login):
    import aiohttp  # noqa: PLC0415 - where it is absent, these tests are skipped

    middlewares = (aiohttp.DigestAuthMiddleware(*login),) if login else ()
    async with aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{port}{path}"
        options = {"json": document, "middlewares": middlewares}
        async with session.request(method, url, **options) as response:
            return response.status, await response.read()


def test_an_axeos_takes_up_its_pool_when_it_restarts():
    with (
        ScriptedPool() as own,
        ScriptedPool() as bench,
        simulated("axeos", pools=[own.own("me", "secret")], reboot_takes_s=0.1) as miner,
    ):
        port = miner.api_port
        assert port == miner.web_port
        until(own.good)
        until(lambda: json.loads(send(port, INFO))["hashRate"] > 0)
        info = json.loads(send(port, INFO))
        assert (info["stratumURL"], info["stratumPort"]) == ("127.0.0.1", own.port)
        assert info["frequency"] == 525
        assert b"secret" not in send(port, INFO)
        send(port, "/api/system", {"stratumPort": bench.port, "frequency": 490}, "PATCH")
        info = json.loads(send(port, INFO))
        assert (info["stratumPort"], info["frequency"]) == (bench.port, 490)
        assert not bench.lines
        first = miner.counters
        send(port, "/api/system/restart", {}, "POST")
        until(bench.good)
        assert miner.counters is not first
        # The user and password that nobody sent are those that it had.
        [authorised] = [line for line in bench.lines if line["method"] == "mining.authorize"]
        assert authorised["params"] == ["me", "secret"]
        assert refused(port, "/api/system", document={"stratumPort": 0}, method="PATCH") == 400
        assert refused(port, "/api/system", document=[], method="PATCH") == 400
        assert ask(port, b'{"command":"version"}').startswith(b"HTTP/1.")


def test_an_antminer_is_set_by_its_owner_and_restarts():
    login = ("root", "simulated")
    with (
        ScriptedPool() as bench,
        simulated("bitmain", pools=["127.0.0.1:1,a,secret"], reboot_takes_s=0.1) as miner,
    ):
        port = miner.web_port
        assert port != miner.api_port
        assert refused(port, CONF) == 401
        assert refused(port, CONF, login=("root", "wrong")) == 401
        assert refused(port, SET, {"pools": []}, "POST") == 401
        conf = json.loads(send(port, CONF, login=login))
        assert conf["pools"][0] == {"url": "127.0.0.1:1", "user": "a", "pass": "secret"}
        assert len(conf["pools"]) == 3
        first = miner.counters
        told = {"pools": [{**conf["pools"][0], "url": bench.url}], "miner-mode": 1}
        done = json.loads(send(port, SET, told, "POST", login))
        assert done == {"stats": "success", "code": "M000", "msg": "OK!"}
        until(bench.good)
        assert miner.counters is not first
        assert json.loads(send(port, CONF, login=login))["bitmain-work-mode"] == "1"
        assert said(miner.api_port, "pools")["POOLS"][0]["URL"] == bench.url
        failed = json.loads(send(port, SET, {"pools": [{"url": "x"}]}, "POST", login))
        assert failed["stats"] == "error"


@pytest.mark.parametrize(
    ("dialect", "path", "method", "code"),
    [("axeos", "/api/system", "PATCH", 401), ("bitmain", SET, "POST", 403)],
)
def test_what_may_not_be_written_is_refused(dialect, path, method, code):
    with simulated(dialect, writable=False) as miner:
        options = {"document": {"pools": []}, "method": method, "login": ("root", "simulated")}
        assert refused(miner.web_port, path, **options) == code
        assert miner.pools.configured == []


def test_a_miner_that_is_a_page_only_answers_where_it_is_told():
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    with simulated("axeos", web_port=port) as miner:
        assert (miner.web_port, miner.api_port) == (port, port)


def test_a_page_that_there_is_not_is_refused():
    with pytest.raises(PlanError, match="no page"):
        cli(args=["simulate", "--dialect", "cgminer", "--web-port", "8091"], standalone_mode=False)
