"""A simulated miner at pools that lie, babble, stall and leave: it goes on to the next one."""

import json
import socket
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_pool import ScriptedPool, until
from simulated import simulated

from hwkit.errors import DeviceFault
from hwkit.simulate import miner as simulated_miner
from hwkit.simulate import stratum
from hwkit.simulate.pools import read_pool
from hwkit.simulate.stratum import LARGEST, Session

SUBSCRIBED = b'{"id":2,"result":[[],"00000001",4],"error":null}\n'
JOB = {"id": None, "method": "mining.notify"}
WORDS = ["1", "00" * 32, "00" * 44, "00", [], "20000000", "1702c4e4", "6500aaaa", True]

BABBLE = {
    "no JSON": b"hello\n",
    "no object": b"[1]\n",
    "an endless line": b"x" * (LARGEST + 2),
    "a deep one": b"[" * 10000 + b"\n",
    "nothing, and leaves": b"",
    "an extranonce2 of 99": b'{"id":2,"result":[[],"00",99],"error":null}\n',
    "a job before the subscription": json.dumps({**JOB, "params": WORDS}).encode() + b"\n",
    "a short job": SUBSCRIBED + json.dumps({**JOB, "params": WORDS[:3]}).encode() + b"\n",
    "no hex": SUBSCRIBED + json.dumps({**JOB, "params": ["1", "x", *WORDS[2:]]}).encode() + b"\n",
    "a version of 40 bits": SUBSCRIBED
    + json.dumps({**JOB, "params": [*WORDS[:5], "ff20000000", *WORDS[6:]]}).encode()
    + b"\n",
    "a difficulty of 0": b'{"method":"mining.set_difficulty","params":[0]}\n',
    "a difficulty of words": b'{"method":"mining.set_difficulty","params":["x"]}\n',
    "no difficulty": b'{"method":"mining.set_difficulty","params":[]}\n',
    "a refusal": b'{"id":3,"result":false,"error":[24,"Unauthorized",null]}\n',
    "connect elsewhere": b'{"method":"client.reconnect","params":["thief.example",1,0]}\n',
}


@pytest.mark.parametrize("babble", BABBLE.values(), ids=BABBLE)
def test_a_pool_that_babbles_is_left(peer, babble):
    heard = threading.Event()

    def serve(stream):
        stream.recv(65536)
        heard.set()
        stream.sendall(babble)
        if babble:
            stream.recv(65536)  # stays, until it is left

    bad = f"127.0.0.1:{peer(serve)},u,p"
    with ScriptedPool() as good, simulated(pools=[bad, good.own()]) as miner:
        until(good.good)
        assert heard.is_set()
        assert miner.pools.list[0].alive is False


def test_a_pool_that_says_nothing_is_left(peer, monkeypatch):
    monkeypatch.setattr(stratum, "HANDSHAKE_S", 0.2)
    bad = f"127.0.0.1:{peer(lambda stream: stream.recv(65536) and stream.recv(65536))},u,p"
    with ScriptedPool() as good, simulated(pools=[bad, good.own()]):
        until(good.good)


def test_it_comes_back_to_the_only_pool_that_there_is(monkeypatch):
    monkeypatch.setattr(simulated_miner, "FIRST_RETRY_S", 0.05)
    monkeypatch.setattr(simulated_miner, "LAST_RETRY_S", 0.2)
    pool = ScriptedPool()
    with simulated(pools=[pool.own()]) as miner:
        until(pool.good)
        pool.close()
        until(lambda: miner.pools.list[0].alive is False)
        with ScriptedPool(port=pool.port) as again:
            until(again.good)


def test_a_pool_that_hangs_up_on_version_rolling_is_asked_without(peer, monkeypatch):
    monkeypatch.setattr(simulated_miner, "FIRST_RETRY_S", 0.05)
    with ScriptedPool() as pool:

        def serve(stream):  # as ckpool 0.9.4 does with what comes before mining.subscribe
            with stream.makefile("rb") as lines:
                first = lines.readline()
                if b"mining.configure" in first:
                    return
                with socket.create_connection(("127.0.0.1", pool.port)) as behind:
                    behind.sendall(first + lines.readline())
                    while came := behind.recv(65536):
                        stream.sendall(came)

        with simulated(pools=[f"127.0.0.1:{peer(serve)},u,p"]):
            until(lambda: "mining.authorize" in pool.methods())
            assert "mining.configure" not in pool.methods()


def test_it_answers_what_pools_ask(peer):
    answers: list = []

    def serve(stream):
        with stream.makefile("rb") as lines:
            asked = [json.loads(lines.readline())["method"] for _ in range(3)]
            assert asked == ["mining.configure", "mining.subscribe", "mining.authorize"]
            for method in ("mining.ping", "client.get_version", "nonsense"):
                line: dict = {"id": method, "method": method, "params": []}
                stream.sendall(json.dumps(line).encode() + b"\n")
            answers.extend(json.loads(lines.readline()) for _ in range(3))

    with simulated(pools=[f"127.0.0.1:{peer(serve)},u,p"]):
        until(lambda: len(answers) == 3)
    assert [answer["result"] for answer in answers] == ["pong", "cgminer/4.11.1", None]
    assert answers[2]["error"][0] == -3


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=9), max_leaves=9)
METHODS: list = ["mining.notify", "mining.set_difficulty", "mining.set_extranonce"]
METHODS += ["mining.set_version_mask", "client.reconnect", "mining.ping", None]


@given(
    st.fixed_dictionaries(
        {
            "method": st.sampled_from(METHODS),
            "params": st.lists(VALUES, max_size=10),
            "id": st.integers(0, 5) | SCALARS,
            "result": VALUES,
            "error": VALUES,
        }
    )
)
@settings(max_examples=100)
def test_whatever_a_pool_sends_is_taken_or_is_a_fault(message):
    pool = read_pool("127.0.0.1:1,u,p")
    session = Session(pool, agent="x", rolls=True, floor=None)
    for method in ("mining.configure", "mining.subscribe", "mining.authorize"):
        session._ask(method, [])
    try:
        session._take(json.dumps(message).encode())
    except DeviceFault:
        return
    assert session.work is None
