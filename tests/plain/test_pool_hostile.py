"""Whatever a peer does to the bench pool costs the others nothing; and a fuzzer finds no fault."""

import asyncio
import gc
import itertools
import json
import os
import random
import socket
import struct
import time
from pathlib import Path
from typing import Any

import pytest
from stratum_miner import DEADLINE_S, Miner

from hwkit.protocols import Link, Submission, Verdict
from hwkit.wire.stratum import Pool
from hwkit.wire.stratum_connection import Limits
from hwkit.wire.stratum_jobs import OneTemplate
from hwkit.work import MAX_TARGET, Job, Target

EASY = 2.0**-26
JOB = Job.create(seed=b"test", ntime=1_700_000_000, target=Target(MAX_TARGET), extranonce2_size=4)
HONEST, SHARES = 4, 60
STRICT = Limits(handshake_s=2.0, patience=300, patience_per_s=20, connections=64)


def ended(events):
    return {e.connection: e.words for e in events if isinstance(e, Link) and e.what == "closed"}


class Attack:
    """One hostile peer at work on an asyncio loop: until it is hung up on, or all are done."""

    def __init__(self, address):
        self.address = address

    async def on(self, reader, writer):
        raise NotImplementedError

    async def go(self):
        while True:
            try:
                reader, writer = await asyncio.open_connection(*self.address)
                try:
                    await self.on(reader, writer)
                finally:
                    writer.transport.abort()
            except OSError:
                pass
            await asyncio.sleep(0.05)


class Slowloris(Attack):
    async def on(self, reader, writer):
        for byte in itertools.cycle(b'{"id":1,"method":"mining.subscribe",'):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.005)


class HugeLine(Attack):
    async def on(self, reader, writer):
        for _ in range(160):
            writer.write(b"x" * (1 << 16))
            await writer.drain()


class Garbage(Attack):
    async def on(self, reader, writer):
        draw = random.Random(1)
        while True:
            writer.write(draw.randbytes(2000).replace(b"\x16", b"\n"))
            await writer.drain()
            await asyncio.sleep(0)


class HalfOpen(Attack):
    async def on(self, reader, writer):
        await reader.read()


class Flood(Attack):
    """Asks without end, and never reads the answers."""

    async def on(self, reader, writer):
        while True:
            writer.write(b'{"id":1,"method":"mining.subscribe","params":[]}\n' * 100)
            await writer.drain()
            await asyncio.sleep(0)


class Liar(Attack):
    """Authorizes, and sends shares that are none, as fast as it can."""

    async def on(self, reader, writer):
        writer.write(
            b'{"id":1,"method":"mining.subscribe","params":[]}\n'
            b'{"id":2,"method":"mining.authorize","params":["liar","x"]}\n'
        )
        while b"mining.notify" not in (line := await reader.readline()) or b"params" not in line:
            pass
        job = json.loads(line)["params"]
        for nonce in itertools.count():
            params = ["liar", job[0], "00000000", job[7], f"{nonce & 0xFF:08x}"]
            message = {"id": 4, "method": "mining.submit", "params": params}
            writer.write(json.dumps(message).encode() + b"\n")
            await writer.drain()
            await asyncio.sleep(0)


ATTACKS = [Slowloris, HugeLine, Garbage, HalfOpen, Flood, Liar]


async def honest(address):
    """Mine as test_pool's client does, on a thread; return how many of its shares were accepted."""

    def mine():
        miner = Miner(address).handshake()
        good = 0
        for n in range(SHARES):
            share = miner.share(extranonce2=n.to_bytes(4, "big"))
            good += miner.submit(share)["result"] is True
        miner.close()
        return good

    return await asyncio.to_thread(mine)


def test_honest_shares_are_all_credited_whatever_the_others_do():
    async def all_of_them(address):
        hostile = [asyncio.create_task(kind(address).go()) for kind in ATTACKS * 3]
        await asyncio.sleep(0.2)
        counted = await asyncio.gather(*(honest(address) for _ in range(HONEST)))
        await asyncio.sleep(STRICT.handshake_s)  # the half-open ones meet their deadline
        for task in hostile:
            task.cancel()
        await asyncio.gather(*hostile, return_exceptions=True)
        return counted

    with Pool(OneTemplate(JOB), EASY, limits=STRICT) as pool:
        counted = asyncio.run(all_of_them(pool.address))
        events = pool.take()
    events += pool.take()
    assert counted == [SHARES] * HONEST
    agents = [e.connection for e in events if isinstance(e, Link) and e.what == "agent"]
    submitted = [e for e in events if isinstance(e, Submission) and e.connection in agents]
    assert [e.verdict for e in submitted] == [Verdict.GOOD] * SHARES * HONEST
    reasons = " ".join(ended(events).values())
    for why in ("not authorized in time", "a line without end", "too much"):
        assert why in reasons
    assert not any("too much" in why for n, why in ended(events).items() if n in agents)


def test_one_who_does_not_read_is_let_go():
    limits = Limits(patience=10**9, unread=1 << 12)
    with Pool(OneTemplate(JOB), EASY, limits=limits) as pool:
        with socket.socket() as stream:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 12)
            stream.connect(pool.address)
            stream.settimeout(DEADLINE_S)
            with pytest.raises(OSError):  # noqa: PT012 - it is hung up on at some time
                while True:
                    stream.sendall(b'{"id":1,"method":"mining.subscribe","params":[]}\n' * 100)
        deadline = time.monotonic() + DEADLINE_S
        events: list[object] = []
        while not ended(events):
            assert time.monotonic() < deadline
            events += pool.take()
        assert "does not read" in ended(events)[1]


def test_newcomers_take_the_place_of_those_who_never_authorized():
    with Pool(OneTemplate(JOB), EASY, limits=Limits(connections=3)) as pool:
        silent = [socket.create_connection(pool.address) for _ in range(3)]
        miners = [Miner(pool.address).handshake() for _ in range(3)]
        assert all(stream.recv(1) == b"" for stream in silent)
        late = Miner(pool.address)
        with pytest.raises(OSError):
            late.handshake()  # all places are those of miners
        for miner in miners:
            assert miner.submit(miner.share(extranonce2=os.urandom(4)))["result"] is True
        for each in [*silent, *miners, late]:
            each.close()


class Closing:
    """A connection that was told to end, and takes its time."""

    def __init__(self):
        self.number = None

    def end(self, why):
        pass


def test_a_burst_of_newcomers_never_takes_more_places_than_there_are():
    pool = Pool(OneTemplate(JOB), EASY, limits=Limits(connections=3))
    for _ in range(10):
        newcomer: Any = Closing()
        newcomer.number = pool.admitted(newcomer, "192.0.2.1")
        assert newcomer.number
        assert len(pool._connections) <= 3


SEEDS = [
    b'{"id":1,"method":"mining.subscribe","params":["fuzz/1",null]}',
    b'{"id":2,"method":"mining.authorize","params":["u","p"]}',
    b'{"id":3,"method":"mining.configure","params":[["version-rolling"],{}]}',
    b'{"id":4,"method":"mining.submit","params":["u","%08x","00000000","%08x","0000000a","00002000"]}',
    b'{"id":null,"method":"mining.suggest_difficulty","params":[1e400]}',
    b'{"id":5,"method":"mining.extranonce.subscribe","params":[]}',
    b'{"id":6,"result":"cgminer/4.11.1","error":null}',
]
PIECES = [
    b"null",
    b"-1",
    b"1e999",
    b"NaN",
    b'"\\ud800"',
    b"[[[[",
    b"{}",
    b'"\\u0000"',
    b"\xff",
    b"\n",
]
PIECES += [b"true", b"9" * 400, b'"' + b"f" * 300 + b'"', b"\x16\x03", b'"method"', b'"params":[]']


def mutated(draw, serial):
    """Return a message as a broken or hostile miner might send it."""
    line = bytearray(
        draw.choice(SEEDS).replace(b"%08x", b"%08x" % draw.choice([serial, 1, 2**32 - 1]))
    )
    for _ in range(draw.choice([0, 0, 1, 1, 2, 5])):
        at = draw.randrange(len(line) + 1)
        kind = draw.randrange(4)
        if kind == 0:
            line[at : at + 1] = struct.pack("B", draw.randrange(256))
        elif kind == 1:
            line[at : at + draw.randrange(20)] = draw.choice(PIECES)
        elif kind == 2:
            del line[at:]
        else:
            line[at:at] = line[: draw.randrange(200)]
    return bytes(line) + b"\n"


def fuzz(seed, time_s, connections=6):
    """Throw mutated conversations at a pool; an honest miner keeps mining all the while."""
    draw = random.Random(seed)
    limits = Limits(patience=500, patience_per_s=5000, handshake_s=5.0)
    sent = credited = 0
    with Pool(OneTemplate(JOB), EASY, limits=limits, job_s=1.0, block_s=5.0) as pool:
        miner = Miner(pool.address).handshake()
        peers: list[socket.socket] = []
        until = time.monotonic() + time_s
        while time.monotonic() < until:
            while len(peers) < connections:
                peers.append(socket.create_connection(pool.address, timeout=DEADLINE_S))
            for peer in list(peers):
                said = b"".join(mutated(draw, draw.randrange(1, 40)) for _ in range(20))
                try:
                    peer.sendall(said)
                    sent += 20
                    peer.settimeout(0)
                    while peer.recv(1 << 16):
                        pass
                    raise ConnectionError
                except BlockingIOError:
                    peer.settimeout(DEADLINE_S)
                except OSError:
                    peers.remove(peer)
                    peer.close()
            if draw.random() < 0.05 and peers:
                peers.pop().close()
            answer = miner.submit(miner.share(extranonce2=draw.randbytes(4)))
            if answer["error"] and answer["error"][0] == 21:
                continue  # called off while it was looked for
            assert answer["result"] is True, answer
            credited += 1
            pool.take()  # which raises what went wrong in the pool
        for each in [miner, *peers]:
            each.close()
    assert all(isinstance(e, Link | Submission) or e.serial for e in pool.take())
    return sent, credited


def test_no_message_breaks_it():
    sent, credited = fuzz(seed=1, time_s=3)
    assert sent > 100
    assert credited > 5


@pytest.mark.soak
def test_no_message_breaks_it_for_ten_minutes():
    def resident():
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    fuzz(seed=2, time_s=30)
    before = resident()
    sent, credited = fuzz(seed=3, time_s=570)
    assert sent > 100_000
    assert credited > 1000
    assert resident() - before < 64 << 20
