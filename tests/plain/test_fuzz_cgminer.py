"""Miners that answer anything, at any pace: a reply or an error of ours, soon, in little memory.

A second of each here, ten minutes with `make soak`; a failure prints its seed.
"""

import asyncio
import json
import os
import random
import socket
import struct
import time
from contextlib import suppress
from pathlib import Path

import pytest

from hwkit.errors import HwkitError
from hwkit.wire import turns
from hwkit.wire.cgminer import LARGEST, Reply, ask, brackets, parse, poll

from .test_repair import CAPTURES, MALFORMED

SECONDS = [1, pytest.param(300, marks=pytest.mark.soak)]  # of each of the two: ten minutes
STATM = Path("/proc/self/statm")
HOST = "127.0.0.1"
DEADLINE_S = 0.2
PATIENCE_S = 60.0  # past it a question hangs; a busy machine may take a while for 0.2 s
GROWTH = 64 << 20  # bytes: what the longest answers take, not one more an answer

TEXT = rb"STATUS=S,Code=9,Msg=1 ASC\\|s|ASC=0,Name=BTM,MHS av=1.50|ASC=1,Name=a\,b|" + b"\0"
AVALON = b'{"STATS":[{"MM ID0":"Ver[1-2] PVT_T0[ 1 2] S[Work: In, 3 ]","HB":"\'HB0\':{A[1]}"}]}\0'
DENSE = [b'{"', b'"}', b"[", b"]", b",", b":", b"\\", b"nan", b"\0", b"|", b"=", b"\xff", b"1e9"]
SEEDS = [raw for raw, _, _ in MALFORMED.values()] + [TEXT, AVALON]


@pytest.fixture(scope="module")
def seeds():
    """Answers to spoil: ours, and whatever was captured."""
    captured = [*CAPTURES.glob("*/*/*.json"), *CAPTURES.glob("*/*/*.txt")]
    return SEEDS + [path.read_bytes() for path in captured]


@pytest.fixture
def chance():
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")
    return random.Random(seed)


def spoiled(chance, raw):
    """Return an answer with something done to it in a few places."""
    raw = bytearray(raw[: chance.choice([4000, 100_000])])
    for _ in range(chance.choice([1, 1, 1, 2, 5, 50])):
        at = chance.randint(0, len(raw))
        end = min(at + chance.choice([1, 1, 10, 1000]), len(raw))
        match chance.randrange(6):
            case 0:
                del raw[at:end]
            case 1:
                raw[at:at] = chance.choice(DENSE) * chance.choice([1, 1, 1, 100])
            case 2:
                raw[at:end] = chance.randbytes(end - at)
            case 3:
                raw[at:at] = raw[at:end] * chance.choice([1, 1, 20])
            case 4:
                del raw[at:]
            case 5:
                raw[at:end] = reversed(raw[at:end])
    return bytes(raw)


def anything(chance, seeds):
    """Return what a miner might answer."""
    match chance.randrange(8):
        case 0:
            return chance.randbytes(chance.choice([1, 100, 10_000]))
        case 1:
            return b"".join(chance.choices(DENSE, k=chance.choice([10, 100, 10_000])))
        case 2:
            return chance.choice(DENSE) * chance.choice([10_000] * 9 + [LARGEST])
        case _:
            return spoiled(chance, chance.choice(seeds))


def resident():
    pages = STATM.read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


class Flat:
    """What must not grow with the number of answers."""

    def __init__(self):
        self.before = None

    def check(self, done):
        if done == 200 and STATM.exists():
            self.before = resident()
        elif self.before is not None and done % 200 == 0:
            assert resident() - self.before < GROWTH


@pytest.mark.parametrize("seconds", SECONDS)
def test_no_answer_is_read_as_anything_but_a_document_or_an_error_of_ours(seconds, seeds, chance):
    end = time.monotonic() + seconds
    flat, done, read = Flat(), 0, 0
    while time.monotonic() < end:
        raw = anything(chance, seeds)
        with suppress(HwkitError):
            reply = parse(raw)
            assert isinstance(reply.document, dict)
            assert all(isinstance(name, str) for name in reply.repairs)
            text = json.dumps(reply.document)
            if "Infinity" not in text:  # as 1e999 is read, which is valid
                again = parse(text.encode())
                assert again.document == reply.document
                assert again.repairs == () or again.document["id"] == 0
                assert again.status == reply.status
            read += 1
        assert isinstance(brackets(raw.decode("latin-1")), dict)
        done += 1
        flat.check(done)
    print(f"{done} answers, {read} of them documents")
    assert read


def closes(stream, answer, chance):
    stream.sendall(answer[: chance.choice([0, len(answer)])])


def resets(stream, answer, chance):
    closes(stream, answer, chance)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def waits(stream, answer, chance):
    closes(stream, answer, chance)
    while stream.recv(4095):
        pass


def has_no_end(stream, answer, chance):
    while True:
        stream.sendall(answer.replace(b"\0", b" "))


def drips(stream, answer, chance):
    for number in range(len(answer)):
        stream.sendall(answer[number : number + 1])
        time.sleep(0.02)


def in_pieces(stream, answer, chance):
    while answer:
        size = chance.choice([1, 10, 1000, len(answer)])
        stream.sendall(answer[:size])
        answer = answer[size:]
        time.sleep(chance.choice([0, 0, 0.001]))


WAYS = [closes, closes, resets, waits, has_no_end, drips, in_pieces, in_pieces]


def hostile(chance, seeds):
    """Return a miner that answers anything, anyhow."""

    def serve(stream):
        if chance.random() < 0.9:  # or before it was asked
            stream.recv(4095)
        chance.choice(WAYS)(stream, anything(chance, seeds) or b" ", chance)

    return serve


@pytest.mark.parametrize("seconds", SECONDS)
def test_no_miner_hangs_or_breaks_who_asks_it(seconds, seeds, chance, peer):
    ports = [peer(hostile(chance, seeds)) for _ in range(16)]
    end = time.monotonic() + seconds
    flat, done, kinds = Flat(), 0, set()

    def take(_, said):
        nonlocal done
        for reply in said.values():
            assert isinstance(reply, (Reply, HwkitError))
            kinds.add(type(reply))
            done += 1

    async def fleet():
        miners = [(HOST, port) for port in ports]
        asking = poll(miners, ["version", "summary"], take, at_once=8, deadline_s=DEADLINE_S)
        await asyncio.wait_for(asking, PATIENCE_S)

    while time.monotonic() < end:
        asyncio.run(fleet())
        began = time.monotonic()
        with suppress(HwkitError):
            ask(HOST, "summary", port=chance.choice(ports), deadline_s=DEADLINE_S)
        assert time.monotonic() - began < PATIENCE_S
        done += 1
        flat.check(done // 200 * 200)
    print(f"{done} questions: {sorted(kind.__name__ for kind in kinds)}")
    assert turns._QUEUES == {}
    assert len(kinds) > 1
