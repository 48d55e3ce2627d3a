"""What it takes to ask a fleet of miners: 200 simulated ones, 4 commands each.

    python bench/asic_poll.py [--miners 200] [--at-once 64] [--rounds 10] [--json]

The miners listen in a process of their own, each on its port, and close after each answer as
cgminer does; their answers are as long as those of an air-cooled miner with three boards. The time
is from before the first connection to after the last document was read, in a process that has done
nothing else; its memory is the most it ever had resident, the interpreter included.
"""

from __future__ import annotations

import asyncio
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import click

from hwkit.wire.cgminer import Reply, poll

COMMANDS = ("version", "summary", "pools", "stats")
PROMISE_S, PROMISE_MB = 0.5, 60


def answers() -> dict[bytes, bytes]:
    """Return each request's answer."""
    summary = {f"Summary figure {n}": n * 1.25 for n in range(30)}
    pools = [{"POOL": n} | {f"Pool figure {m}": "x" * 12 for m in range(32)} for n in range(3)]
    chips = {f"chain_acs{n}": " oooooooo" * 14 for n in range(1, 4)}
    stats = [{"Type": "simulated"}, {f"fan or chain {n}": n * 100 for n in range(160)} | chips]
    said = {"version": [{"API": "3.1", "Miner": "1.0", "Type": "simulated"}], "summary": [summary]}
    said |= {"pools": pools, "stats": stats}
    return {
        json.dumps({"command": name}, separators=(",", ":")).encode(): json.dumps(
            {
                "STATUS": [{"STATUS": "S", "When": 1, "Code": 11, "Msg": name}],
                name.upper(): said[name],
                "id": 1,
            },
            separators=(",", ":"),
        ).encode()
        + b"\0"
        for name in COMMANDS
    }


class Miner(asyncio.Protocol):
    said = answers()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        assert isinstance(self.transport, asyncio.WriteTransport)
        self.transport.write(self.said[data])
        self.transport.close()


async def serve(count: int) -> None:
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(Miner, "127.0.0.1", 0) for _ in range(count)]
    print(json.dumps([server.sockets[0].getsockname()[1] for server in servers]), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)  # until the parent is done with us


def ask(ports: list[int], at_once: int, rounds: int) -> dict[str, object]:
    """Poll all miners some times; nothing is kept but how long it took."""
    times_s = []
    read = 0

    def take(_: tuple[str, int], said: dict[str, object]) -> None:
        nonlocal read
        good = [reply for reply in said.values() if isinstance(reply, Reply) and not reply.repairs]
        read += len(good)

    for _ in range(rounds):
        began = time.perf_counter()
        asyncio.run(poll([("127.0.0.1", port) for port in ports], COMMANDS, take, at_once=at_once))
        times_s.append(time.perf_counter() - began)
    assert read == rounds * len(ports) * len(COMMANDS), "not all were answered"
    return {
        "least_s": min(times_s),
        "median_s": statistics.median(times_s),
        "cpu_s": time.process_time() / rounds,
        "peak_mb": peak_mb(),
    }


def peak_mb() -> float:
    """Return the most memory this process has had resident, in units of 10**6 bytes."""
    try:  # of this program: getrusage counts what the one that started it had, too
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


@click.command()
@click.option("--miners", default=200)
@click.option("--at-once", default=64, help="Connections at a time.")
@click.option("--rounds", default=10)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def main(miners: int, at_once: int, rounds: int, *, as_json: bool) -> None:
    me = [sys.executable, __file__]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([*me, "serve", str(miners)], **pipes) as servers:
        assert servers.stdin
        assert servers.stdout
        ports = servers.stdout.readline()
        asked = subprocess.run(
            [*me, "ask", ports, str(at_once), str(rounds)],
            capture_output=True,
            text=True,
            check=True,
        )
        servers.stdin.close()
    row = json.loads(asked.stdout)
    if as_json:
        print(json.dumps(row, indent=2))
        return
    bytes_each = sum(map(len, Miner.said.values()))
    print(f"{miners} miners, {len(COMMANDS)} commands each ({bytes_each} bytes), {rounds} rounds:")
    print(f"  {row['least_s']:.3f} s at best, {row['median_s']:.3f} s median (at most {PROMISE_S})")
    print(f"  {row['peak_mb']:.1f} MB at most ({PROMISE_MB})")
    sys.exit(row["least_s"] > PROMISE_S or row["peak_mb"] > PROMISE_MB)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", count]:
            asyncio.run(serve(int(count)))
        case ["ask", ports, at_once, rounds]:
            print(json.dumps(ask(json.loads(ports), int(at_once), int(rounds))))
        case _:
            main()
