"""A program that prints what a meter reads: `fake_meter.py key=value...`, a line each 50 ms.

gain, watts (of a load that wanders by a little with the time of day, so that several meters see the
same), step (watts more once the file `switch` is there), power_factor, grid (rounds watts), dumb (a
file: while it is there, nothing is printed), steady (no wandering), lines (a file that grows by a
byte with each).
"""

import math
import sys
import time
from pathlib import Path

EACH_S = 0.05


def address(**options):
    """Return the meter's address of this program with these options."""
    said = " ".join(f"{key}={value}" for key, value in options.items())
    return f"exec:{sys.executable} {__file__} {said}?interval={EACH_S}"


def load(watts=100.0):
    """Watts now."""
    return watts * (1 + 0.002 * math.sin(time.monotonic() * 2.1))


def main():
    said = dict(each.partition("=")[::2] for each in sys.argv[1:])
    gain, step, grid = (float(said.get(key, 0)) for key in ("gain", "step", "grid"))
    switch, dumb = (Path(said.get(key, "/nowhere")) for key in ("switch", "dumb"))
    printed = 0
    print("watts,volts,amperes,power_factor", flush=True)
    while True:
        time.sleep(EACH_S)
        if dumb.exists():
            continue
        base = float(said.get("watts", 100))
        watts = base if "steady" in said else load(base)
        watts = (gain or 1.0) * (watts + step * switch.exists())
        watts = round(watts / grid) * grid if grid else watts
        amperes = watts / 230.1 / 0.98
        print(f"{watts:.4f},230.1,{amperes:.5f},{said.get('power_factor', 0.98)}", flush=True)
        if "lines" in said:
            printed += 1
            Path(said["lines"]).write_bytes(bytes(printed))


if __name__ == "__main__":
    main()
