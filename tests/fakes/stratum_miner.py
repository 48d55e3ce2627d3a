"""A Stratum client for tests, made from the wire's words alone: it knows nothing of hwkit.work."""

import hashlib
import json
import socket
import struct
from itertools import count

DEADLINE_S = 30


def sha256d(data):
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


class Miner:
    """Connects, hears line by line, and finds shares by trying nonces."""

    def __init__(self, address, agent="test/1", *, mask=None, user="bench.worker"):
        self.wire = socket.create_connection(address, timeout=DEADLINE_S)
        self.wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.lines = self.wire.makefile("rb")
        self.agent, self.mask, self.user = agent, mask, user
        self.ids = count(1)
        self.jobs = []
        self.told = []  # what the pool said unasked, method by method
        self.difficulty = None
        self.difficulties = {}  # of each job

    def handshake(self):
        """Configure, subscribe and authorize; return when there is a job."""
        if self.mask:
            extensions = [["version-rolling"], {"version-rolling.mask": self.mask}]
            self.ask("mining.configure", extensions)
        self.subscribe()
        self.ask("mining.authorize", [self.user, "x"])
        self.await_jobs(1)
        return self

    def subscribe(self):
        answer = self.ask("mining.subscribe", [self.agent] if self.agent else [])
        _, extranonce1, self.size = answer["result"]
        self.extranonce1 = bytes.fromhex(extranonce1)

    def await_jobs(self, number):
        while len(self.jobs) < number:
            self.hear()
        return self.jobs[number - 1]

    def say(self, **message):
        self.wire.sendall(json.dumps(message).encode() + b"\n")

    def ask(self, method, params, number=None):
        """Return the next answer, which must be to this: the pool answers in order."""
        number = next(self.ids) if number is None else number
        self.say(id=number, method=method, params=params)
        answer = self.hear_answer()
        assert answer["id"] == number
        return answer

    def hear_answer(self):
        while "method" in (message := self.hear()):
            pass
        return message

    def hear(self):
        """Return the next message; None at the end."""
        line = self.lines.readline()
        if not line:
            raise ConnectionError("the pool has hung up")
        message = json.loads(line)
        if "method" in message:
            self.told.append(message["method"])
        if message.get("method") == "mining.notify":
            self.jobs.append(message["params"])
            self.difficulties[message["params"][0]] = self.difficulty
        elif message.get("method") == "mining.set_difficulty":
            [self.difficulty] = message["params"]
        return message

    def header(self, job, extranonce2, ntime, nonce, bits=0):
        """Return the 80 bytes by Stratum's own rules."""
        _, prev, coinbase1, coinbase2, branch, version, nbits, _, _ = job
        coinbase = bytes.fromhex(coinbase1) + self.extranonce1 + extranonce2
        root = sha256d(coinbase + bytes.fromhex(coinbase2))
        for node in branch:
            root = sha256d(root + bytes.fromhex(node))
        words = struct.unpack(">8I", bytes.fromhex(prev))
        mask = int(self.mask or "0", 16)
        rolled = int(version, 16) & ~mask | bits & mask
        return (
            struct.pack("<I8I", rolled, *words)
            + root
            + struct.pack("<III", ntime, int(nbits, 16), nonce)
        )

    def share(self, job=None, *, meets=True, extranonce2=b"\0\0\0\0", skip=0, late_s=0, bits=None):
        """Return mining.submit's parameters of a share that meets its difficulty, or does not."""
        job = job or self.jobs[-1]
        ntime = int(job[7], 16) + late_s
        limit = (0xFFFF << 208) / self.difficulties[job[0]]
        for nonce in count(skip):
            header = self.header(job, extranonce2, ntime, nonce, bits or 0)
            if (int.from_bytes(sha256d(header), "little") <= limit) == meets:
                break
        rolled = [] if bits is None else [f"{bits:08x}"]
        return [self.user, job[0], extranonce2.hex(), f"{ntime:08x}", f"{nonce:08x}", *rolled]

    def submit(self, params, number=None):
        return self.ask("mining.submit", params, number)

    def close(self):
        self.lines.close()
        self.wire.close()
