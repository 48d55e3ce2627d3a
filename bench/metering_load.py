"""What it costs to watch five meters: processor time of a process that samples them at 1 Hz.

    python bench/metering_load.py [--time 60] [--json]

Real servers in a process of their own (tests/fakes/meter_servers.py): Modbus TCP, SNMP 3 with SHA
and AES, MQTT, SCPI, HTTP with a digest. Each meter alone, then all at once; with none, for what an
idle process takes. Opening, and importing what speaks the protocols, comes before.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import click

from hwkit.harness.metering import Metering
from hwkit.plugins import meters

SERVERS = Path(__file__).parents[1] / "tests" / "fakes" / "meter_servers.py"
PROMISE = 0.02  # of one core


def load(addresses: list[str], time_s: float) -> dict[str, object]:
    """Sample the meters; return the processor time, as a part of one core, and the readings."""
    with Metering([next(meters(address)) for address in addresses]) as metering:
        time.sleep(2.0)
        before = [len(each.readings) for each in metering.sampled]
        wall, busy = time.monotonic(), time.process_time()
        time.sleep(time_s)
        busy, wall = time.process_time() - busy, time.monotonic() - wall
        read = [len(each.readings) - n for each, n in zip(metering.sampled, before, strict=True)]
        faults = sum(len(each.faults) for each in metering.sampled)
    return {"part": busy / wall, "wall_s": wall, "readings": sum(read), "faults": faults}


@click.command()
@click.option("--time", "time_s", default=60.0, help="Sample all five so long; each alone a third.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def main(time_s: float, *, as_json: bool) -> None:
    servers = subprocess.Popen(
        [sys.executable, SERVERS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert servers.stdout
        said = json.loads(servers.stdout.readline())
        os.environ["HWKIT_CREDENTIALS"] = said["credentials"]
        addresses = said["addresses"]
        rows = {"none": load([], time_s / 3)}
        rows |= {name: load([address], time_s / 3) for name, address in addresses.items()}
        rows["all five"] = load(list(addresses.values()), time_s)
    finally:
        servers.communicate()
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    print(f"load average {os.getloadavg()[0]:.1f}\n")
    print("| meters at 1 Hz | of one core | CPU a reading | readings | faults |")
    print("|---|---|---|---|---|")
    for name, row in rows.items():
        each = 1e3 * row["part"] * row["wall_s"] / row["readings"] if row["readings"] else 0.0
        print(
            f"| {name} | {100 * row['part']:.2f} % | {each:.1f} ms | {row['readings']} "
            f"| {row['faults']} |"
        )
    kept = rows["all five"]["part"] <= PROMISE
    print(f"\nfive meters, promised: 2 % of one core; {'kept' if kept else 'NOT kept'}")


if __name__ == "__main__":
    main()
