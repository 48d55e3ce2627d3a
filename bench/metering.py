"""What joules and J/TH are promised to be, and what they turn out to be, on simulated devices.

    python bench/metering.py [--histories 100000] [--runs 10000] [--lossy 1000] [--json]

Nothing here depends on the machine but the time it takes: every draw is seeded. The simulations
are tests/fakes/meter_runs.py, of which the tests use a few.
"""

from __future__ import annotations

import json
import math
import random
import sys
import time
from pathlib import Path
from statistics import fmean

import click

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "fakes"))
import meter_runs
from meter_runs import MINER, S, Setup, energy, polled, spec

from hwkit.harness.reach import reachable

# A miner of 3.5 kW and 200 TH/s, and a small one of 18 W and 1.2 TH/s, ten minutes each.
BIG, SMALL = (3500.0, 200e12), (18.0, 1.2e12)
SETUPS = [
    Setup("class 1, d = 1024", 0.01, *BIG, 1024.0, 600.0),
    Setup("class 1, d = 8192", 0.01, *BIG, 8192.0, 600.0),
    Setup("class 0.5, d = 65536", 0.005, *BIG, 65536.0, 600.0),
    Setup("class 0.2, d = 2^19 (53 shares)", 0.002, *BIG, 2.0**19, 600.0),
    Setup("class 0.2, d = 2^22 (7 shares)", 0.002, *BIG, 2.0**22, 600.0),
    Setup("class 1, 1 Wh, d = 1024", 0.01, *BIG, 1024.0, 600.0, (("quantum_j", 3600.0),)),
    Setup("class 0.5, a reading in 10 s", 0.005, *BIG, 4096.0, 600.0, (("interval_s", 10.0),)),
    Setup("3 % plug, 0.01 Wh, d = 256", 0.03, *SMALL, 256.0, 600.0, (("quantum_j", 36.0),)),
    Setup("3 % plug, d = 16", 0.03, *SMALL, 16.0, 600.0),
]


def histories(count: int) -> dict[str, object]:
    """Wraps, resets, jumps, silences: how many energies are negative, doubled or lost?"""
    draw = random.Random(20)
    return {"of": count, "failures": sum(_fails(draw) for _ in range(count))}


def _fails(draw: random.Random) -> bool:
    return bool(meter_runs.history_fails(meter_runs.history(draw)))


def lossy(count: int) -> dict[str, object]:
    """Integrate a miner that warms up, throttles and reboots, read at 1 Hz, one in ten lost."""
    draw = random.Random(21)
    errors = sorted(abs(meter_runs.integration_error(draw)) for _ in range(count))
    return {
        "of": count,
        "rms": math.sqrt(fmean(e * e for e in errors)),
        "95 %": errors[math.ceil(0.95 * count) - 1],
        "largest": errors[-1],
    }


def covered(count: int) -> list[dict[str, object]]:
    """How often does the interval hold the true J/TH? And is what was planned reached?"""
    rows = []
    for number, setup in enumerate(SETUPS):
        draw = random.Random(22 + number)
        inside, reached = 0, []
        runs = math.ceil(count / len(SETUPS))
        for _ in range(runs):
            result, truth = meter_runs.measured(setup, draw)
            if result is None:  # no share came: nothing is claimed
                runs -= 1
                continue
            inside += result.efficiency.lo <= truth <= result.efficiency.hi
            reached.append(result.budget.above)
        planned = reachable(setup.conditions, setup.time_s)
        rows.append(
            {
                "setup": setup.name,
                "runs": runs,
                "inside": inside,
                "planned": planned.above,
                "reached": fmean(reached),
                "within": fmean(abs(u / planned.above - 1) <= 0.2 for u in reached),
                "dominant": planned.dominant,
            }
        )
    return rows


def day() -> float:
    """Return how many seconds a day of readings, one a second, take."""
    read = polled(MINER, [t * 1200 / 86400 for t in range(86400)])
    began = time.perf_counter()
    energy(read, spec(interval_s=0.02), S, 1199 * S)
    return time.perf_counter() - began


@click.command()
@click.option("--histories", "count", default=100_000, help="Random histories of a counter.")
@click.option("--runs", default=10_000, help="Simulated measurements of J/TH.")
@click.option("--lossy", "losses", default=1_000, help="Runs that lose one reading in ten.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def main(count: int, runs: int, losses: int, as_json: bool) -> None:  # noqa: FBT001
    integration, resets, rows = lossy(losses), histories(count), covered(runs)
    day_s = day()
    if as_json:
        print(json.dumps([integration, resets, rows, day_s], indent=2))
        return
    total, inside = (sum(row[key] for row in rows) for key in ("runs", "inside"))
    low, high = (f(row["inside"] / row["runs"] for row in rows) for f in (min, max))
    off = max(abs(row["reached"] / row["planned"] - 1) for row in rows)
    print("| promise | figure | achieved |\n|---|---|---|")
    print(
        f"| integration at 1 Hz, 10 % lost, {losses} runs | 0.05 % "
        f"| rms {_percent(integration['rms'])}, 95 in 100 within {_percent(integration['95 %'])}, "
        f"worst {_percent(integration['largest'])} |"
    )
    print(f"| negative, doubled or lost energy in {count:,} histories | 0 | {resets['failures']} |")
    print(
        f"| coverage of the 95 % interval, {total:,} runs | 93 to 99 % "
        f"| {_percent(inside / total, 1)}; by setup {_percent(low, 1)} to {_percent(high, 1)} |"
    )
    print(f"| planned U against achieved, mean by setup | 20 % | {_percent(off, 1)} at most |")
    print(f"| a day of readings at 1 Hz | | {day_s:.2f} s |\n")
    print("| setup | planned U | mean U | of runs within 20 % | coverage | dominant |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['setup']} | {_percent(row['planned'])} | {_percent(row['reached'])} "
            f"| {_percent(row['within'], 1)} | {_percent(row['inside'] / row['runs'], 1)} "
            f"| {row['dominant']} |"
        )


def _percent(part: float, decimals: int = 3) -> str:
    return f"{100 * part:.{decimals}f} %"


if __name__ == "__main__":
    main()
