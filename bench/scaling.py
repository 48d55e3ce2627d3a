"""Do n threads do the work of n? Hashes per second of thread CPU time, one thread against all.

    python bench/scaling.py [--kernel cpu:avx2]... [--affinity 0-7] [--blocks 100] [--window 0.1]

A block is a window of one thread on each processor in turn and one of a thread on every processor,
in random order. Its ratio is the rate of all per CPU second over the mean of those alone: on a
shared machine a block sees the same neighbours. Without --affinity: one processor of each core.

One that works beside busy others is not alone: how idle they were meanwhile stands beside it.
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
from pathlib import Path
from statistics import fmean, median
from typing import NamedTuple

import click

from hwkit.cli.options import affinity_option, find_hashers
from hwkit.errors import HwkitError
from hwkit.harness.figures import cpu_rate, wall_rate
from hwkit.harness.plan import Plan, percent
from hwkit.harness.session import SHARES_PER_S
from hwkit.harness.statistics import median_interval
from hwkit.harness.turn import take_turn
from hwkit.hashers import topology
from hwkit.hashers.kernel import KernelHasher
from hwkit.units import plain
from hwkit.work import MAX_TARGET, Target

STAT = Path("/proc/stat")


class Block(NamedTuple):
    """What one block says: efficiency, rate alone in H/s, and how idle the others were then."""

    efficiency: float
    rate_h_s: float
    idle: float | None


def measure(
    kernel: KernelHasher, processors: tuple[int, ...], blocks: int, window_s: float
) -> list[Block]:
    """Measure so many blocks."""
    alone = [kernel.with_affinity((number,)) for number in processors]
    together = kernel.with_affinity(processors)
    plan, stop, target = Plan(), threading.Event(), Target(MAX_TARGET >> 20)
    serial, found = 0, []
    for _ in range(blocks + 1):  # the first finds the share target and warms up
        seen, idle = {}, []
        for hasher in random.sample([*alone, together], len(alone) + 1):
            serial += 1
            others = set(processors) - set(hasher.processors or ())
            began, before = time.monotonic(), idle_s(others)
            turn = take_turn(hasher, plan.job(1_700_000_000, target).roll(serial), window_s, stop)
            assert turn is not None
            seen[hasher] = turn.window
            if others and before is not None:
                took = (time.monotonic() - began) * len(others)
                idle.append(((idle_s(others) or 0) - before) / took)
        rate = fmean(cpu_rate(seen[hasher]) for hasher in alone)
        efficiency = cpu_rate(seen[together]) / rate
        found.append(Block(efficiency, rate, fmean(idle) if idle else None))
        target = Target(int((1 << 256) * SHARES_PER_S / wall_rate(seen[together])))
    return found[1:]


def idle_s(processors: set[int]) -> float | None:
    """Return for how long these processors have had nothing to do (proc_stat(5))."""
    try:
        lines = [line.split() for line in STAT.read_text(encoding="ascii").splitlines()]
    except OSError:
        return None
    wanted = {f"cpu{number}" for number in processors}
    ticks = sum(int(line[4]) + int(line[5]) for line in lines if line[0] in wanted)
    return ticks / os.sysconf("SC_CLK_TCK")


@click.command()
@click.option("--kernel", "kernels", multiple=True, help="Addresses. [default: all compiled]")
@click.option("--blocks", type=click.IntRange(8), default=100, help="How many.")
@click.option(
    "--window", "window_s", type=click.FloatRange(0.02, 60), default=0.1, help="Seconds of each."
)
@affinity_option
def main(
    kernels: tuple[str, ...], blocks: int, window_s: float, affinity: tuple[int, ...] | None
) -> None:
    here = topology.read().among(topology.usable())
    processors = affinity or here.spread()[: here.cores]
    if len(processors) < 2:
        raise click.UsageError("there is nothing to scale over: one processor")
    try:
        hashers = find_hashers(kernels)
    except HwkitError as error:
        raise click.UsageError(plain(error)) from error
    result = {}
    for hasher in hashers:
        if not isinstance(hasher, KernelHasher) or hasher.spec.name == "cpu:reference":
            click.echo(f"{hasher.spec.name} has no threads to scale", err=True)
            continue
        found = measure(hasher, processors, blocks, window_s)
        ratio = median_interval([block.efficiency for block in found])
        idle = [block.idle for block in found if block.idle is not None]
        result[hasher.spec.name] = {
            "efficiency": round(ratio.value, 4),
            f"{percent(ratio.confidence)}": [round(ratio.lo, 4), round(ratio.hi, 4)],
            "alone, MH/s per CPU second": round(median(b.rate_h_s for b in found) / 1e6, 3),
            "others idle meanwhile": round(median(idle), 2) if idle else None,
        }
        click.echo(f"{hasher.spec.name} {result[hasher.spec.name]}", err=True)
    print(json.dumps({"processors": processors, "blocks": blocks, **result}, indent=2))


if __name__ == "__main__":
    main()
