"""A miner as cgminer is one: its API, its pools, and a Stratum client that really hashes.

As a program it prints the port of its API, and its pools as JSON whenever a line comes in.
"""

import argparse
import hashlib
import json
import socket
import sys
import threading
import time
from contextlib import suppress
from typing import Any

OWN = [
    {"url": "stratum+tcp://127.0.0.1:1", "user": "owner.one", "pass": "secret-1"},
    {"url": "stratum+tcp://pool.example:3333", "user": "owner.two", "pass": "secret-2"},
    {"url": "stratum+tcp://pool.example:3333", "user": "owner.two", "pass": "secret-3"},
]
DIFFICULTY_1 = 0xFFFF << 208


class FakeMiner:
    """Serves until close(); `away_s` is how long a reboot takes, `reboots` says when one comes.

    reboots: "never", "change" (at each change of pools, which it keeps), or "forget" (likewise, but
    it comes back with the pools of its configuration).
    """

    def __init__(self, *, reboots="never", away_s=0.3, privileged=True, hashes=True, rate=2e5):
        self.own = [dict(pool) for pool in OWN]
        self.reboots, self.away_s, self.privileged, self.rate = reboots, away_s, privileged, rate
        self.hashes = hashes
        self.strategy = "Failover"
        self.asked = []  # commands, in order
        self.cut: Any = lambda command: None  # "before" or "after" it is done
        self.lock = threading.RLock()
        self.back_at = 0.0
        self.total = 0
        self.accepted = 0
        self.began = time.monotonic()
        self.over = threading.Event()
        self.stream = None
        self.load()
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.threads = [threading.Thread(target=self.serve, daemon=True)]
        if hashes:
            self.threads.append(threading.Thread(target=self.mine, daemon=True))
        for thread in self.threads:
            thread.start()

    def close(self):
        self.over.set()
        with suppress(OSError):
            self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        self.hang_up()
        for thread in self.threads:
            thread.join()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # Pools, as cgminer.c has them.

    def load(self):
        """Take the pools of its configuration."""
        self.pools = [{**pool, "priority": n, "enabled": n != 2} for n, pool in enumerate(self.own)]

    def state(self):
        """Return all that restoring has to bring back, in the order of its numbers."""
        with self.lock:
            return [dict(pool) for pool in self.pools]

    def by_priority(self):
        return sorted(self.pools, key=lambda pool: pool["priority"])

    def current(self):
        """Return the pool that it works for: the first enabled one; others are taken for dead."""
        return next((pool for pool in self.by_priority() if pool["enabled"]), self.pools[0])

    def order(self, pools):
        for number, pool in enumerate(pools):
            pool["priority"] = number

    def addpool(self, url, user, password):
        last = len(self.pools)
        self.pools.append(
            {"url": url, "user": user, "pass": password, "priority": last, "enabled": True}
        )
        return "Added pool"

    def switchpool(self, number):
        pool = self.pools[int(number)]
        pool["enabled"] = True
        self.order([pool, *(each for each in self.by_priority() if each is not pool)])
        return "Switching"

    def poolpriority(self, *numbers):
        first = [self.pools[int(number)] for number in numbers]
        self.order(first + [each for each in self.by_priority() if each not in first])
        return "Changed"

    def removepool(self, number):
        pool = self.pools[int(number)]
        if pool is self.current():
            raise ValueError("Cannot remove active pool")
        self.pools[int(number)] = self.pools[-1]  # the last one takes its place
        self.pools.pop()
        self.order(self.by_priority())
        return "Removed"

    def reboot(self):
        self.back_at = time.monotonic() + self.away_s
        self.began = time.monotonic()
        self.total = self.accepted = 0
        if self.reboots == "forget":
            self.load()
        self.hang_up()

    # Its API: one client at a time.

    def serve(self):
        while not self.over.is_set():
            try:
                stream, _ = self.server.accept()
            except OSError:
                return
            with stream, suppress(OSError, ValueError):
                stream.settimeout(5)
                request = json.loads(stream.recv(4095))
                with self.lock:
                    if time.monotonic() >= self.back_at:
                        self.answer(stream, request["command"], request.get("parameter", ""))

    def answer(self, stream, command, parameter):
        self.asked.append(command)
        cut = self.cut(command)
        if cut == "before":
            return
        document = self.documents(command, str(parameter))
        changed = command in {"addpool", "switchpool", "poolpriority", "removepool"}
        if changed and self.reboots != "never" and document["STATUS"][0]["STATUS"] == "S":
            self.reboot()
        if cut != "after":
            stream.sendall(json.dumps(document).encode() + b"\0")

    def documents(self, command, parameter):
        facts = {
            "pools": self.rows,
            "summary": self.summary,
            "version": self.version,
            "config": lambda: [{"Strategy": self.strategy}],
        }
        if command in facts:
            return status("S", 0, command) | {command.upper(): facts[command]()}
        changes: dict[str, Any] = {
            "privileged": lambda _: "Privileged access OK",
            "addpool": self.addpool,
            "switchpool": self.switchpool,
            "poolpriority": self.poolpriority,
            "removepool": self.removepool,
        }
        if command not in changes:
            return status("E", 14, "Invalid command")
        if not self.privileged:
            return status("E", 45, f"Access denied to '{command}' command")
        try:
            return status("S", 0, changes[command](*parameter.split(",")))
        except (ValueError, IndexError) as error:
            return status("E", 67, str(error))

    def rows(self):
        return [
            {
                "POOL": number,
                "URL": pool["url"],
                "User": pool["user"],
                "Status": "Alive" if pool["enabled"] else "Disabled",
                "Priority": pool["priority"],
            }
            for number, pool in enumerate(self.pools)
        ]

    def version(self):
        return [{"CGMiner": "4.11.1", "API": "3.7"}]

    def summary(self):
        row = {
            "Elapsed": int(time.monotonic() - self.began),
            "MHS av": self.rate / 1e6,
            "MHS 5s": self.rate / 1e6,
            "Total MH": self.total / 1e6,
            "Accepted": self.accepted,
            "Hardware Errors": 0,
        }
        return [row]

    # Stratum.

    def hang_up(self):
        stream = self.stream
        if stream is not None:
            with suppress(OSError):
                stream.shutdown(socket.SHUT_RDWR)

    def mine(self):
        while not self.over.wait(0.05):
            with self.lock:
                url = self.current()["url"]
            if time.monotonic() < self.back_at:
                continue
            host, _, port = url.rpartition("//")[2].rpartition(":")
            with (
                suppress(OSError, ValueError, IndexError),
                socket.create_connection((host, int(port)), timeout=5) as stream,
            ):
                self.stream = stream
                Client(self, stream, url).work()
            self.stream = None


class Client:
    """One connection to a pool: reads what comes, hashes between."""

    def __init__(self, miner, stream, url):
        self.miner, self.stream, self.url = miner, stream, url
        self.rest = b""
        self.target = self.next = DIFFICULTY_1
        self.job: Any = None
        self.sent = 0
        self.extranonce1 = b""
        self.size = 4
        self.nonce = 0

    def work(self):
        self.send(1, "mining.subscribe", ["fake/1"])
        self.send(2, "mining.authorize", ["worker", "x"])
        self.stream.settimeout(0.02)
        while not self.miner.over.is_set() and self.miner.current()["url"] == self.url:
            try:
                came = self.stream.recv(65536)
            except TimeoutError:
                came = None
            if came == b"":
                return
            *lines, self.rest = (self.rest + (came or b"")).split(b"\n")
            for line in lines:
                self.hear(json.loads(line))
            if self.job:
                self.hash(int(self.miner.rate / 50))

    def send(self, number, method, params):
        line = {"id": number, "method": method, "params": params}
        self.stream.sendall(json.dumps(line).encode() + b"\n")

    def hear(self, message):
        if message.get("method") == "mining.set_difficulty":
            self.next = int(DIFFICULTY_1 / message["params"][0])
        elif message.get("method") == "mining.notify":
            self.job, self.target, self.nonce = message["params"], self.next, 0
        elif message.get("id") == 1:
            self.extranonce1 = bytes.fromhex(message["result"][1])
            self.size = message["result"][2]
        elif message.get("id", 0) > 2 and message.get("result") is True:
            self.miner.accepted += 1

    def hash(self, count):
        job, prev, first, second, branch, version, nbits, ntime, _ = self.job
        roll = b"\0" * self.size
        root = double(bytes.fromhex(first) + self.extranonce1 + roll + bytes.fromhex(second))
        for node in branch:
            root = double(root + bytes.fromhex(node))
        words = bytes.fromhex(prev)
        prev_hash = b"".join(words[at : at + 4][::-1] for at in range(0, 32, 4))
        prefix = bytes.fromhex(version)[::-1] + prev_hash + root
        prefix += bytes.fromhex(ntime)[::-1] + bytes.fromhex(nbits)[::-1]
        for nonce in range(self.nonce, self.nonce + count):
            digest = double(prefix + nonce.to_bytes(4, "little"))
            if int.from_bytes(digest, "little") <= self.target:
                self.sent += 1
                share = ["worker", job, roll.hex(), ntime, f"{nonce:08x}"]
                self.send(2 + self.sent, "mining.submit", share)
        self.nonce += count
        self.miner.total += count


def double(data):
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def status(kind, code, message):
    row = {"STATUS": kind, "When": int(time.time()), "Code": code, "Msg": message}
    return {"STATUS": [row], "id": 1}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--reboots", default="never")
    with FakeMiner(reboots=parser.parse_args().reboots) as miner:
        print(miner.port, flush=True)
        for _ in sys.stdin:
            print(json.dumps(miner.state()), flush=True)


if __name__ == "__main__":
    main()
