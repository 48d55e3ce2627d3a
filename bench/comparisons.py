"""Can `hwkit compare` be believed? A kernel against itself, and against itself with a slowdown.

    python bench/comparisons.py [--same 200] [--slower 100] [--by 0.03] [--kernel cpu:avx2]

Live comparisons as the command makes them, on whatever this machine does beside. Of the same, few
may be called FASTER or SLOWER (each one is a false alarm); of the slowed down, few may not be.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from hwkit.cli.compare import LIVE_PRECISION, LIVE_S, TURN_S, pair
from hwkit.cli.options import find_hashers
from hwkit.harness.comparison import compare
from hwkit.harness.plan import Plan
from hwkit.hashers.kernel import KernelHasher

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hwkit.protocols import Hit, Kernel
    from hwkit.work import Target


class Slowed:
    """A kernel that scans a few per cent of its nonces once more and says nothing of it."""

    def __init__(self, kernel: Kernel, by: float) -> None:
        self._kernel, self._by = kernel, by
        self.name, self.lanes, self.capacity = kernel.name, kernel.lanes, kernel.capacity

    def scan(
        self, header: bytes, target: Target, nonces: range, versions: Sequence[int] = ()
    ) -> Sequence[Hit]:
        hits = self._kernel.scan(header, target, nonces, versions)
        # 1 - by of the speed: by / (1 - by) more work.
        again = nonces[: round(len(nonces) * self._by / (1 - self._by))]
        self._kernel.scan(header, target, again, versions)
        return hits


class Nowhere:
    """A sink that keeps nothing."""

    id = ""

    def open(self, facts: object, identity: object) -> Nowhere:
        return self

    def _ignore(self, *_: object) -> None:
        pass

    window = share = audit = reading = event = commit = seal = _ignore


def words(a: KernelHasher, b: KernelHasher, times: int, time_s: float) -> Counter[str]:
    """Compare live so many times and count the words."""
    count: Counter[str] = Counter()
    for _ in range(times):
        plan = Plan(time_s=time_s, precision=LIVE_PRECISION, turn_s=TURN_S, warmup_s=0.1)
        left, right = pair(plan, [a, b], Nowhere(), threading.Event()).run()
        result = compare(left.windows, right.windows, paired=True)
        count[result.word] += 1
        click.echo(f"{result.word:<10} {result.ratio.value:.4f} ±{result.ratio.U:.4f}", err=True)
    return count


@click.command()
@click.option("--same", default=200, help="Comparisons of the kernel with itself.")
@click.option("--slower", default=100, help="Comparisons with the slowed one.")
@click.option("--by", default=0.03, help="The slowdown.")
@click.option("--kernel", default="cpu:avx2", help="Its address.")
@click.option("--time", "time_s", default=LIVE_S, help="Seconds measured of each side at most.")
def main(same: int, slower: int, by: float, kernel: str, time_s: float) -> None:
    (hasher,) = find_hashers([kernel], threads=1)
    assert isinstance(hasher, KernelHasher)
    slowed = replace(hasher, kernel=Slowed(hasher.kernel, by))
    result = {
        "same": dict(words(hasher, hasher, same, time_s)),
        f"slower by {by:.0%}": dict(words(slowed, hasher, slower, time_s)),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
