"""Miners for bench/pool.py, in a process of their own: they make up shares and count the answers.

    python bench/pool_load.py HOST PORT CONNECTIONS SECONDS [SHARES_PER_S]

Each has one share under way at a time, so that no read of the pool's holds two. Says `ready`, waits
for a line, and prints one JSON object at the end: answers of `true` and of all, and its CPU time.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time

SUBMIT = (
    b'{"params": ["bench.%d", "%b", "%08x", "%b", "%08x", "%08x"], "id": %d, '
    b'"method": "mining.submit"}\n'
)
GREETING = (
    b'{"id": 1, "method": "mining.configure", "params": [["version-rolling"], '
    b'{"version-rolling.mask": "1fffe000"}]}\n'
    b'{"id": 2, "method": "mining.subscribe", "params": ["load/1"]}\n'
    b'{"id": 3, "method": "mining.authorize", "params": ["bench", "x"]}\n'
)
HANDSHAKE = 3  # answers to it


class Miner:
    def __init__(self, number, address):
        self.number = number
        self.wire = socket.create_connection(address)
        self.wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.wire.sendall(GREETING)
        self.job = None
        self.shares = self.answers = self.accepted = 0
        self.rest = b""

    def hear(self):
        """Take what came; return how many shares were answered."""
        data = self.rest + self.wire.recv(1 << 16)
        *lines, self.rest = data.split(b"\n")
        before = self.answers
        for line in lines:
            if b'"method":"mining.notify"' in line:
                said = json.loads(line)["params"]
                self.job, self.ntime = said[0].encode(), said[7].encode()
            elif b'"method"' not in line:
                self.answers += 1
                self.accepted += b"true" in line and b"version" not in line
        return self.answers - before

    def submit(self):
        self.shares += 1
        roll = self.shares << 13 & 0x1FFFE000
        self.wire.sendall(
            SUBMIT
            % (self.number, self.job, self.shares, self.ntime, self.shares, roll, self.shares)
        )


def main():
    host, port, connections, seconds, *rate = sys.argv[1:]
    selector = selectors.DefaultSelector()
    miners = [Miner(number, (host, int(port))) for number in range(int(connections))]
    for miner in miners:
        selector.register(miner.wire, selectors.EVENT_READ, miner)
    while any(miner.job is None for miner in miners):
        for key, _ in selector.select():
            key.data.hear()
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.monotonic()
    pause_s = len(miners) / float(rate[0]) if rate else 0
    if rate:
        paced(miners, selector, began + float(seconds), pause_s)
    else:
        flat_out(miners, selector, began + float(seconds))
    until = time.monotonic() + 20
    while any(m.answers < m.shares + HANDSHAKE for m in miners) and time.monotonic() < until:
        for key, _ in selector.select(1):
            key.data.hear()
    said = {
        "accepted": sum(miner.accepted - 1 for miner in miners),
        "answered": sum(miner.answers - HANDSHAKE for miner in miners),
        "sent": sum(miner.shares for miner in miners),
        "cpu_s": time.process_time(),
    }
    print(json.dumps(said), flush=True)
    sys.stdin.readline()  # stay connected until the pool has counted


def flat_out(miners, selector, until):
    for miner in miners:
        miner.submit()
    while time.monotonic() < until:
        for key, _ in selector.select(1):
            for _ in range(key.data.hear()):
                key.data.submit()


def paced(miners, selector, until, pause_s):
    """One share a miner and pause, spread evenly."""
    due, n = time.monotonic(), 0
    while time.monotonic() < until:
        while due <= time.monotonic():
            miners[n % len(miners)].submit()
            due, n = due + pause_s / len(miners), n + 1
        for key, _ in selector.select(max(due - time.monotonic(), 0)):
            key.data.hear()


if __name__ == "__main__":
    main()
