"""A Stratum v1 pool for tests, of sockets and hashlib alone: it shares no code with hwkit."""

import hashlib
import json
import socket
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass

MASK = 0x1FFFE000


@dataclass
class Seen:
    """A share as it came, and what it is."""

    at: float
    job: str
    difficulty: float
    words: list
    achieved: float
    good: bool


class ScriptedPool:
    """Listens on loopback; every share is rebuilt and hashed, against its own job's difficulty."""

    def __init__(self, difficulty=2e-6, *, mask=MASK, refuse=(), port=0):
        self.difficulty, self.mask, self.refuse = difficulty, mask, set(refuse)
        self.shares, self.lines, self.connections = [], [], []
        self._jobs, self._connections, self._lock = {}, 0, threading.Lock()
        self._number = 0
        self._server = socket.create_server(("127.0.0.1", port))
        self.port = self._server.getsockname()[1]
        self.url = f"stratum+tcp://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for stream in tuple(self.connections):
            with suppress(OSError):
                stream.shutdown(socket.SHUT_RDWR)

    def own(self, user="worker", password="x"):
        """Return it as a simulated miner is told it."""
        return f"{self.url},{user},{password}"

    def methods(self):
        return [line.get("method") for line in tuple(self.lines)]

    def good(self):
        return [share for share in tuple(self.shares) if share.good]

    def set_difficulty(self, difficulty, *, notify=True):
        self.difficulty = difficulty
        for stream in tuple(self.connections):
            self.send(
                stream, {"id": None, "method": "mining.set_difficulty", "params": [difficulty]}
            )
            if notify:
                self.notify(stream)

    def notify(self, stream, *, clean=True):
        with self._lock:
            self._number += 1
            number = self._number
        job = {
            "id": f"{number:x}",
            "prev": hashlib.sha256(b"%d" % number).digest(),
            "cb1": bytes(40) + struct.pack("<I", number),
            "cb2": b"/scripted/",
            "branch": [hashlib.sha256(b"branch %d" % n).digest() for n in range(3)],
            "version": 0x20000000,
            "nbits": 0x1702C4E4,
            "ntime": int(time.time()),
            "difficulty": self.difficulty,
        }
        self._jobs[job["id"]] = job
        swapped = b"".join(job["prev"][at : at + 4][::-1] for at in range(0, 32, 4))
        params = [job["id"], swapped.hex(), job["cb1"].hex(), job["cb2"].hex()]
        params += [[node.hex() for node in job["branch"]]]
        params += [f"{job[key]:08x}" for key in ("version", "nbits", "ntime")]
        self.send(stream, {"id": None, "method": "mining.notify", "params": [*params, clean]})

    def send(self, stream, document):
        with suppress(OSError):
            stream.sendall(json.dumps(document).encode() + b"\n")

    def _accept(self):
        while True:
            try:
                stream, _ = self._server.accept()
            except OSError:
                return
            self.connections.append(stream)
            threading.Thread(target=self._serve, args=(stream,), daemon=True).start()

    def _serve(self, stream):
        with self._lock:
            self._connections += 1
            extranonce1 = struct.pack(">I", self._connections)
        try:
            with stream, stream.makefile("rb") as lines:
                for line in lines:
                    message = json.loads(line)
                    self.lines.append(message)
                    self._answer(stream, message, extranonce1)
        except (OSError, ValueError):
            pass
        finally:
            self.connections.remove(stream)

    def _answer(self, stream, message, extranonce1):
        method, params = message["method"], message["params"]
        result: object = True
        error: object = None
        if method in self.refuse:
            result, error = None, [20, "refused", None]
        elif method == "mining.configure":
            granted = {"version-rolling": True, "version-rolling.mask": f"{self.mask:08x}"}
            result = granted if self.mask else {"version-rolling": False}
        elif method == "mining.subscribe":
            result = [[["mining.notify", "1"]], extranonce1.hex(), 4]
        elif method == "mining.submit":
            good = self._check(params, extranonce1)
            result, error = (True, None) if good else (None, [23, "low difficulty", None])
        self.send(stream, {"id": message.get("id"), "result": result, "error": error})
        if method == "mining.authorize" and method not in self.refuse:
            told = {"method": "mining.set_difficulty", "params": [self.difficulty]}
            self.send(stream, {"id": None, **told})
            self.notify(stream)

    def _check(self, params, extranonce1):
        _, job_id, extranonce2, ntime, nonce, *bits = params
        job = self._jobs[job_id]
        version = job["version"]
        if bits:
            assert not int(bits[0], 16) & ~self.mask, bits
            version = version & ~self.mask | int(bits[0], 16)
        root = twice(job["cb1"] + extranonce1 + bytes.fromhex(extranonce2) + job["cb2"])
        for node in job["branch"]:
            root = twice(root + node)
        header = struct.pack("<I", version) + job["prev"] + root
        header += struct.pack("<III", int(ntime, 16), job["nbits"], int(nonce, 16))
        value = max(int.from_bytes(twice(header), "little"), 1)
        good = value * job["difficulty"] <= 0xFFFF << 208
        seen = Seen(
            time.monotonic(), job_id, job["difficulty"], params, (0xFFFF << 208) / value, good
        )
        self.shares.append(seen)
        return good


def twice(data):
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def until(condition, within_s=60.0):
    """Poll until it holds; a machine may stall for seconds."""
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "it does not come to that"
        time.sleep(0.02)
    return found


def ask(port, request, *, host="127.0.0.1"):
    """Return all bytes that answer a request to the cgminer API."""
    with socket.create_connection((host, port), timeout=30) as stream:
        stream.sendall(request if isinstance(request, bytes) else json.dumps(request).encode())
        return b"".join(iter(lambda: stream.recv(65536), b""))


def said(port, command, parameter=None):
    """Return the document that answers a command."""
    request = {"command": command} | ({} if parameter is None else {"parameter": parameter})
    reply = ask(port, request)
    assert reply.endswith(b"\0"), reply
    assert reply.count(b"\0") == 1, reply
    return json.loads(reply[:-1])
