"""`hwkit pool`: a bench pool that any miner can be pointed at, with a live table."""

from __future__ import annotations

import re
import sys
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from hwkit.cli.interrupts import until_interrupted
from hwkit.cli.options import json_option, print_json, read_with
from hwkit.errors import PlanError
from hwkit.harness.plan import seconds
from hwkit.protocols import Assigned, Link, Submission, Verdict
from hwkit.report.pool import PoolLive, Visitors, summary
from hwkit.units import plain
from hwkit.wire.stratum import Pool
from hwkit.wire.stratum_difficulty import Seen, Steering
from hwkit.wire.stratum_jobs import OneTemplate
from hwkit.work import MAX_TARGET, Job, Target

if TYPE_CHECKING:
    from hwkit.wire.stratum import Event

PORT = 3333
TICK_S = 0.1
WINDOW_S = 10.0  # between two looks at a miner's difficulty
UNKNOWN = 1024.0  # to begin with: 47 shares a second of 200 TH/s, and a CPU's in a minute or two
INTERRUPTED = 130
_PREFIXES = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}


def _rate(text: str) -> float:
    matched = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kMGTPE]?)H(?:/s)?\s*", text)
    rate = float(matched[1]) * _PREFIXES[matched[2]] if matched else 0.0
    if rate <= 0:
        raise PlanError(f"{text!r} is no hashrate: write 200TH/s")
    return rate


def _difficulty(text: str) -> float:
    try:
        difficulty = float(text)
    except ValueError as error:
        raise PlanError(f"{text!r} is no difficulty: write 4096 or 0.0005") from error
    Target.from_difficulty(difficulty)  # raises PlanError for one that leaves no target
    return difficulty


def _place(text: str) -> tuple[str, int]:
    try:
        read = urlsplit(f"//{text}")
        place = read.hostname, PORT if read.port is None else read.port
    except ValueError as error:
        raise PlanError(f"{text!r}: {error}") from error
    if not place[0] or read.netloc != text or "@" in text:
        raise PlanError(f"{text!r} is no place to listen: write 0.0.0.0:{PORT}")
    return place[0], place[1]


def _time(text: str) -> float:
    time_s = seconds(text)
    if time_s <= 0:
        raise PlanError(f"time {time_s:g} s: it lies above 0")
    return time_s


@click.command("pool")
@click.option(
    "--listen",
    metavar="HOST:PORT",
    default=f"127.0.0.1:{PORT}",
    show_default=True,
    callback=read_with(_place),
    help="Where: 0.0.0.0 admits other machines.",
)
@click.option(
    "--difficulty", metavar="D", callback=read_with(_difficulty), help="Of all shares, always."
)
@click.option(
    "--expect",
    "rate_h_s",
    metavar="RATE",
    callback=read_with(_rate),
    help="What a miner should do, as 200TH/s: its difficulty begins there. [default: searched for]",
)
@click.option("--challenge", metavar="TEXT", help="Put into every job: shares are made after it.")
@click.option(
    "--block",
    "block_s",
    metavar="TIME",
    callback=read_with(_time),
    help="Call all work off every so often, as a new block does: 5min. [default: never]",
)
@click.option("--time", "time_s", callback=read_with(_time), help="End after: 10min. [default: ^C]")
@json_option
def command(
    listen: tuple[str, int],
    difficulty: float | None,
    rate_h_s: float | None,
    challenge: str | None,
    block_s: float | None,
    time_s: float | None,
    *,
    as_json: bool,
) -> None:
    """Serve miners work and hash every share again: what do they really deliver?

    Stratum v1; any user and password. The jobs cannot be blocks and pay nobody, and nothing is
    recorded. Without --difficulty, each miner's goes to where 25 to 50 shares a second come.
    """
    if difficulty is not None and rate_h_s is not None:
        raise PlanError("--difficulty and --expect: one of them")
    begin = Steering(UNKNOWN) if rate_h_s is None else Steering.towards(rate_h_s)
    template = OneTemplate(_template(challenge))
    pool = Pool(template, difficulty or begin.difficulty, listen=listen, block_s=block_s)
    seen = Visitors()
    steered: dict[int, _Window] = {}
    with until_interrupted() as stop, pool:
        host, port = pool.address
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        click.echo(f"Point a miner at stratum+tcp://{place}", err=True)
        until = None if time_s is None else time.monotonic() + time_s
        with PoolLive(seen) as live:
            while until is None or time.monotonic() < until:
                events = pool.take()
                seen.take(events)
                if difficulty is None:
                    _steer(pool, events, steered, begin)
                live.tick()
                if stop.wait(TICK_S):
                    break
        now = time.monotonic_ns()
        seen.take(pool.take())
    if as_json:
        print_json({"address": place} | seen.to_json(now))
    else:
        for line in summary(seen, now):
            click.echo(plain(line))
    sys.exit(INTERRUPTED if stop.is_set() and time_s is not None else 0)


class _Window:
    """A stretch of one miner's shares at one difficulty, and where they lead."""

    def __init__(self, steering: Steering, first: Assigned) -> None:
        self.steering = steering
        self.first = first  # job at this difficulty: shares of those before say nothing of it
        self._began = time.monotonic()
        self.came: list[Submission] = []

    @property
    def time_s(self) -> float:
        return time.monotonic() - self._began

    def take(self, submission: Submission) -> None:
        share = submission.share
        if share is None or share.serial >= self.first.serial:
            self.came.append(submission)


def _steer(pool: Pool, events: list[Event], windows: dict[int, _Window], begin: Steering) -> None:
    """Give each miner another difficulty where its last window says so."""
    for event in events:
        window = windows.get(event.connection or 0)
        if isinstance(event, Assigned):
            if window is None or window.first.target != event.target:
                steering = begin if window is None else window.steering
                windows[event.connection] = _Window(steering, event)
        elif window is not None and isinstance(event, Submission):
            window.take(event)
        elif isinstance(event, Link) and event.what == "closed":
            windows.pop(event.connection or 0, None)
    for connection, window in windows.items():
        time_s = window.time_s
        if time_s < WINDOW_S:
            continue
        good = [e.digest for e in window.came if e.verdict is Verdict.GOOD and e.digest]
        steering = window.steering.after(Seen.of(window.came, time_s), good)
        windows[connection] = _Window(steering, window.first)
        if steering.difficulty != window.steering.difficulty:
            pool.set_difficulty(steering.difficulty, connection)


def _template(challenge: str | None) -> Job:
    seed = time.time_ns().to_bytes(8, "little")
    return Job.create(
        seed=seed,
        ntime=int(time.time()),
        target=Target(MAX_TARGET),
        challenge=challenge,
        extranonce2_size=4,
    )
