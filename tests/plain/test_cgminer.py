"""The cgminer API's client: what it sends, and what it makes of each way a miner may answer."""

import asyncio
import errno
import json
import socket
import struct
import threading
import time

import pytest

from hwkit.errors import (
    DeviceTimeout,
    NoDevice,
    NotPermitted,
    PlanError,
    ProtocolError,
    Unavailable,
)
from hwkit.wire import cgminer, tcp, turns
from hwkit.wire.cgminer import Denied, Status, Truncated, parse, poll

HOST = "127.0.0.1"
PATIENCE_S = 120.0  # for what comes, however busy this machine is
SOON_S = 0.3  # for what never comes
OK = {"STATUS": [{"STATUS": "S", "When": 1, "Code": 11, "Msg": "Summary"}], "SUMMARY": [{"a": 1}]}
SUMMARY = json.dumps(OK | {"id": 1}).encode()
DENIED = b'{"STATUS":[{"STATUS":"E","Code":45,"Msg":"Access denied to \'x\' command"}],"id":1}\0'


@pytest.fixture(autouse=True)
def nobody_is_left_in_a_queue():
    yield
    assert turns._QUEUES == {}


@pytest.fixture(params=["ask", "ask_async"])
def ask(request):
    """Either client, called as the other."""
    if request.param == "ask":
        return cgminer.ask
    return lambda *args, **how: asyncio.run(cgminer.ask_async(*args, **how))


def says(*pieces):
    """Return a miner that takes a request and answers so; a number is a pause."""

    def serve(stream):
        stream.recv(4095)
        for piece in pieces:
            if isinstance(piece, bytes):
                stream.sendall(piece)
            else:
                time.sleep(piece)

    return serve


def resets(*pieces):
    def serve(stream):
        says(*pieces)(stream)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return serve


def then_waits(*pieces):
    """Return a miner that never closes by itself."""

    def serve(stream):
        says(*pieces)(stream)
        while stream.recv(4095):
            pass

    return serve


def endless(stream):
    while True:
        stream.sendall(b"[" * 65536)


def dripping(stream):
    while True:
        stream.sendall(b"[")
        time.sleep(SOON_S / 10)


# -- what is sent --


@pytest.mark.parametrize(
    ("words", "how", "request_"),
    [
        (("summary",), {}, b'{"command":"summary"}'),
        (("asc", 0), {}, b'{"command":"asc","parameter":0}'),
        (("addpool", "u\\,v,w"), {}, rb'{"command":"addpool","parameter":"u\\,v,w"}'),
        (("pools", "a\n\0\xe9"), {}, rb'{"command":"pools","parameter":"a\n\u0000\u00e9"}'),
        (("stats",), {"extra": {"new_api": True}}, b'{"command":"stats","new_api":true}'),
        (("ascset", "0,help"), {"text": True}, b"ascset|0,help"),
        (("version",), {"text": True}, b"version"),
        (("c", "x" * (4095 - 30)), {}, b'{"command":"c","parameter":"' + b"x" * 4065 + b'"}'),
    ],
)
def test_a_request_is_one_write_of_these_bytes_alone(ask, peer, words, how, request_):
    came = []

    def serve(stream):
        came.append(stream.recv(1 << 16))  # as the API has it, which never reads again
        stream.sendall(SUMMARY + b"\0")

    ask(HOST, *words, port=peer(serve), deadline_s=PATIENCE_S, **how)
    assert came == [request_]


@pytest.mark.parametrize(
    ("words", "how", "why"),
    [
        (("c", "x" * (4096 - 30)), {}, "4095 bytes at most, not 4096"),
        (("summary\n",), {"text": True}, "control character"),
        (("ascset", "0,\0"), {"text": True}, "control character"),
        (("stats",), {"text": True, "extra": {"new_api": True}}, "no further members: new_api"),
    ],
)
def test_what_no_miner_could_read_is_not_sent(ask, words, how, why):
    with pytest.raises(PlanError, match=why):
        ask(HOST, *words, port=1, **how)


# -- what is made of the answer --


def test_an_answer_is_its_bytes_its_document_and_when(ask, peer):
    before = time.monotonic_ns()
    reply = ask(HOST, "summary", port=peer(says(SUMMARY + b"\0")), deadline_s=PATIENCE_S)
    after = time.monotonic_ns()
    assert reply.raw == SUMMARY + b"\0"
    assert reply.document == OK | {"id": 1}
    assert reply.repairs == ()
    assert reply.status == Status("S", 11, "Summary")
    assert reply.took_ns is not None
    assert before <= reply.at - reply.took_ns // 2
    assert reply.at + reply.took_ns // 2 <= after


@pytest.mark.parametrize(
    ("serve", "repairs"),
    [
        (says(SUMMARY), ("no NUL at the end",)),
        (says(SUMMARY[:40], 0.01, SUMMARY[40:], 0.01, b"\0"), ()),
        (then_waits(SUMMARY + b"\0"), ()),
        (resets(SUMMARY + b"\0"), ()),
        (says(SUMMARY + b"\0" + SUMMARY + b"\0"), ("second document",)),
        (says(SUMMARY + SUMMARY), ("second document", "no NUL at the end")),
        (says(SUMMARY + b'"}\0'), ("trailing garbage",)),
        (says(b"STATUS=S,Code=11,Msg=Summary|SUMMARY,a=1|\0"), ()),
        (says(b"STATUS=S,Code=11,Msg=Summary|SUMMARY,a=1|"), ("no NUL at the end",)),
    ],
)
def test_what_an_answer_lacked_is_named(ask, peer, serve, repairs):
    reply = ask(HOST, "summary", port=peer(serve), deadline_s=PATIENCE_S)
    assert reply.repairs == repairs
    assert reply.status == Status("S", 11, "Summary")


def test_an_answer_that_is_whole_at_the_deadline_counts(ask, peer):
    # 2 s: the request must have been answered by then, on a busy machine too.
    reply = ask(HOST, "summary", port=peer(then_waits(SUMMARY)), deadline_s=2.0)
    assert reply.repairs == ("neither NUL nor close",)


@pytest.mark.parametrize(
    ("serve", "error", "why"),
    [
        (says(), NotPermitted, "hung up without a word: its access list"),
        (resets(), NotPermitted, "reset the connection: api-allow lacks"),
        (says(DENIED), Denied, "Access denied to 'x' command: its api-groups"),
        (says(SUMMARY[:-9]), Truncated, r"summary: cut off after \d+ bytes: ask again"),
        (says(b"STATUS=S,Code=11"), Truncated, "cut off after 16 bytes: ask again"),
        (resets(SUMMARY[:-9]), Truncated, r"broken off after \d+ bytes: ask again"),
        (says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), ProtocolError, "a web server answers"),
        (says(b"<html><body>Bad request</body></html>"), ProtocolError, "a web server answers"),
        (endless, ProtocolError, "more than 1048576 bytes"),
        (says(b"\0"), ProtocolError, "an empty answer"),
        (says(b'{"a" 1}\0'), ProtocolError, "no JSON from character 6 on"),
        (says(b"[]\0"), ProtocolError, "a list where an object belongs"),
        (says(b"\x16\x03\x01\0"), ProtocolError, "neither JSON nor the API's text"),
    ],
)
def test_each_failure_says_in_a_line_what_it_is(ask, peer, serve, error, why):
    port = peer(serve)
    with pytest.raises(error, match=why) as failed:
        ask(HOST, "summary", port=port, deadline_s=PATIENCE_S)
    assert type(failed.value) is error
    assert str(failed.value).startswith(f"127.0.0.1:{port}: ")
    assert "\n" not in str(failed.value)
    if isinstance(failed.value, ProtocolError):
        assert failed.value.received
    if isinstance(failed.value, Denied):
        assert failed.value.reply.raw == DENIED


@pytest.mark.parametrize(
    ("serve", "error", "why"),
    [
        (then_waits(), DeviceTimeout, "summary: no answer in time: it serves one client"),
        (then_waits(SUMMARY[:40]), Truncated, "40 bytes in time, and no end: give it longer"),
        (dripping, Truncated, "bytes in time, and no end"),
    ],
)
def test_no_answer_is_waited_for_past_the_deadline(ask, peer, serve, error, why):
    with pytest.raises(error, match=why):
        ask(HOST, "summary", port=peer(serve), deadline_s=SOON_S)


def test_a_miner_that_is_not_there_is_no_device(ask):
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(NoDevice, match="connection refused: is it on"):
        ask(HOST, "summary", port=port, deadline_s=PATIENCE_S)
    with pytest.raises(NoDevice, match="no such host"):
        ask("no..host", "summary", deadline_s=PATIENCE_S)


def test_a_reset_while_connecting_is_no_lack_of_a_device():
    # A race that a test cannot arrange: the peer resets before it has been asked.
    error = tcp.unreachable((HOST, 4028), ConnectionResetError(errno.ECONNRESET, "asyncio's words"))
    assert isinstance(error, NotPermitted)
    assert "takes a connection and drops it" in str(error)


def test_a_name_is_looked_up(ask, peer):
    reply = ask("localhost", "summary", port=peer(says(SUMMARY + b"\0")), deadline_s=PATIENCE_S)
    assert reply.repairs == ()


# -- one connection at a time --


class Single:
    """A miner that counts who is connected at once."""

    def __init__(self):
        self.lock = threading.Lock()
        self.here = self.most = self.served = 0

    def __call__(self, stream):
        with self.lock:
            self.here += 1
            self.most = max(self.most, self.here)
        stream.recv(4095)
        time.sleep(0.005)  # long enough for another to come in
        with self.lock:
            self.here -= 1
            self.served += 1
        stream.sendall(SUMMARY + b"\0")


def test_threads_and_event_loops_take_turns_at_a_miner(peer):
    miner = Single()
    port = peer(miner)

    async def fleet():
        asking = [
            cgminer.ask_async(HOST, "summary", port=port, deadline_s=PATIENCE_S) for _ in range(8)
        ]
        await asyncio.gather(*asking)

    def alone():
        for _ in range(8):
            cgminer.ask("localhost", "summary", port=port, deadline_s=PATIENCE_S)

    threads = [threading.Thread(target=alone) for _ in range(4)]
    threads += [threading.Thread(target=asyncio.run, args=(fleet(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert miner.served == 48
    assert miner.most == 1


def test_who_waits_for_a_turn_leaves_at_the_deadline_and_the_next_gets_it(ask, peer):
    go = threading.Event()

    def slow(stream):
        stream.recv(4095)
        go.wait()
        stream.sendall(SUMMARY + b"\0")

    port = peer(slow)
    first = threading.Thread(target=cgminer.ask, args=(HOST, "a"), kwargs={"port": port})
    first.start()
    while not turns._QUEUES:
        time.sleep(0.01)
    with pytest.raises(DeviceTimeout, match="another question of ours"):
        ask(HOST, "b", port=port, deadline_s=SOON_S)
    go.set()
    first.join()
    assert ask(HOST, "c", port=port, deadline_s=PATIENCE_S).repairs == ()


def test_a_cancelled_question_gives_its_turn_away(peer):
    port = peer(then_waits())

    async def change_of_mind():
        asked = [asyncio.create_task(cgminer.ask_async(HOST, "a", port=port)) for _ in range(3)]
        while len(next(iter(turns._QUEUES.values()), ())) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        asked[1].cancel()
        asked[0].cancel()
        await asyncio.wait(asked[:2])
        (queue,) = turns._QUEUES.values()
        assert [turn.done() for turn in queue] == [True]
        asked[2].cancel()
        await asyncio.wait(asked)

    asyncio.run(change_of_mind())


# -- many miners --


def test_a_fleet_is_asked_through_so_many_connections(peer):
    miners = [Single() for _ in range(12)]
    everybody = Single()

    def serve(miner):
        def both(stream):
            everybody.lock.acquire()
            everybody.here += 1
            everybody.most = max(everybody.most, everybody.here)
            everybody.lock.release()
            miner(stream)
            with everybody.lock:
                everybody.here -= 1

        return both

    places = [(HOST, peer(serve(miner))) for miner in miners]
    said: dict = {}
    asyncio.run(poll(places, ["summary", "pools"], said.__setitem__, at_once=5))
    assert sorted(said) == sorted(places)
    assert {miner.served for miner in miners} == {2}
    assert {miner.most for miner in miners} == {1}
    assert 1 < everybody.most <= 6  # a connection is counted until the server notices its end
    for answers in said.values():
        assert [*answers] == ["summary", "pools"]
        assert all(reply.document["SUMMARY"] == [{"a": 1}] for reply in answers.values())


def test_a_dead_miner_of_a_fleet_is_a_value_and_costs_one_deadline(peer):
    asked = []

    def dead(stream):
        asked.append(stream.recv(4095))
        while stream.recv(4095):
            pass

    ports = {"dead": peer(dead), "denies": peer(says(DENIED)), "well": peer(says(SUMMARY + b"\0"))}
    said: dict = {}
    miners = [(HOST, port) for port in ports.values()]
    asyncio.run(poll(miners, ["version", "summary"], said.__setitem__, deadline_s=2.0))
    kinds = {name: [type(each) for each in said[HOST, ports[name]].values()] for name in ports}
    assert kinds == {
        "dead": [DeviceTimeout] * 2,
        "denies": [Denied] * 2,
        "well": [cgminer.Reply] * 2,
    }
    assert asked == [b'{"command":"version"}']
    with pytest.raises(PlanError, match="4095 bytes at most"):
        asyncio.run(poll(miners, ["x" * 5000], said.__setitem__))


# -- what an answer says of itself --


@pytest.mark.parametrize(
    ("document", "status"),
    [
        (
            {"STATUS": [{"STATUS": "E", "Code": 14, "Msg": "Invalid command"}]},
            ("E", 14, "Invalid command"),
        ),
        ({"STATUS": [{"STATUS": "S"}]}, ("S", None, None)),
        ({"STATUS": [{"STATUS": "I", "Code": "118", "Msg": "x"}]}, ("I", 118, "x")),
        ({"STATUS": "S", "Code": 131, "Msg": {"power": 1}}, ("S", 131, None)),
        ({"STATUS": {"STATUS": "F", "Code": True, "Msg": 5}}, ("F", None, None)),
        ({"STATUS": []}, None),
        ({"STATUS": [7]}, None),
        ({"STATUS": [{"STATUS": 7}]}, None),
        ({"summary": [{"STATUS": [{"STATUS": "S"}]}]}, None),
    ],
)
def test_a_status_is_read_in_every_form(document, status):
    assert cgminer.status(document) == (status and Status(*status))


@pytest.mark.parametrize(("kind", "failed"), [*zip("SIWEF", [False] * 3 + [True] * 2, strict=True)])
def test_only_errors_are_failures(kind, failed):
    assert Status(kind, None, None).failed is failed


def test_bfgminers_cut_at_64_kib_is_told_by_its_id():
    devices = [{"PGA": number, "Name": "x" * 100} for number in range(400)]
    whole = json.dumps(OK | {"DEVS": devices, "id": 1}).encode() + b"\0"
    cut = json.dumps(OK | {"DEVS": devices, "id": 0}).encode() + b"\0"
    assert parse(whole).repairs == ()
    assert parse(cut).repairs == ("cut off",)
    assert parse(b'{"id":0}').repairs == ()


def test_a_captured_answer_has_no_time():
    reply = parse(SUMMARY)
    assert (reply.took_ns, reply.repairs) == (None, ())
    assert issubclass(Denied, Unavailable)
