"""Which variant of a kernel is a device's fastest: warmed up, in turns, with intervals."""

from __future__ import annotations

import math
import random
import threading
import time
from dataclasses import asdict
from datetime import UTC, datetime
from statistics import median
from typing import TYPE_CHECKING, Any

from hwkit.errors import DeviceFault, WrongHash
from hwkit.harness.statistics import centre_interval, median_interval
from hwkit.hashers import device, tunings
from hwkit.hashers.device import DeviceHasher, fault_of
from hwkit.hashers.tunings import Tuning
from hwkit.units import show
from hwkit.work import Target

if TYPE_CHECKING:
    from collections.abc import Callable

    from hwkit.hashers.device import Device, DeviceKernel

WARM_S = 1.0  # clocks are not up before
SLICE_NS = 100_000_000
ROUNDS = range(8, 16)  # 99 % that one is slower takes 8 pairs
SURE = 0.99
ALIKE = 0.01  # not worth telling apart
FIRST = 1 << 12  # nonces
GROWTH = 16
WATCH_S = 0.1
HEADER, RARE = bytes(80), Target((1 << 216) - 1)


def tune(
    hasher: DeviceHasher,
    stopped: Callable[[], bool],
    say: Callable[[str], None],
    *,
    again: bool = False,
) -> DeviceHasher:
    """Return the hasher of the device's fastest variant, measured now unless it was before.

    The result is remembered by device, driver and kernel text. A hasher whose variant was asked for
    is returned as it is, and so is one that is `stopped`.
    """
    if hasher.device is None or ("tuned" in hasher.spec.details and not again):
        return hasher
    variants = len(hasher.device.worth_trying())
    say(f"{hasher.spec.name}: tuning, {variants} variants; it takes a minute or two, and only once")
    race = _Race(hasher.device, stopped)
    over = threading.Event()
    watcher = threading.Thread(target=race.watch, args=(over,), name="tuning watcher", daemon=True)
    watcher.start()
    try:
        tuning = race.run()
    finally:
        over.set()
        watcher.join()
        race.end()
    if tuning is None:
        return hasher
    tunings.keep(tuning)
    for name, fault in tuning.left_out.items():
        say(f"{hasher.spec.name} {name}: {fault}")
    found = {name: value for name, value, _, _ in tuning.measured}
    chosen = hasher.device.variant(**tuning.variant)
    best = found[str(chosen)]
    alike = sum(hi >= best for name, _, _, hi in tuning.measured if name != str(chosen))
    others = f"; {alike} more {'measure' if alike > 1 else 'measures'} alike" if alike else ""
    say(f"{hasher.spec.name}: {chosen} measures best, {show(best, 'H/s')}{others}")
    hasher.kernel.child.end()
    return device.of_variant(hasher.device, chosen, tuning)


class _Race:
    """The variants of one device that are still in it, and the rates they have shown."""

    def __init__(self, of: Device[Any], stopped: Callable[[], bool]) -> None:
        self._device = of
        self._stopped = stopped
        self._random = random.Random()  # noqa: S311 - the order of turns
        self._racing: dict[str, tuple[Any, DeviceKernel]] = {}
        self._counts: dict[str, int] = {}
        self._rates: dict[str, list[float]] = {}
        self._left_out: dict[str, str] = {}

    def run(self) -> Tuning | None:
        """Return the result; None when stopped before, or when nothing is right."""
        for variant in self._device.worth_trying():
            self._admit(variant)
        began = time.monotonic()
        while self._racing and time.monotonic() - began < WARM_S and not self._stopped():
            self._round(keep=False)
        for done in range(1, ROUNDS.stop):
            self._round(keep=True)
            if self._stopped() or not self._racing:
                return None
            if done >= ROUNDS.start and self._decided():
                break
        best = self._best()
        measured = [
            (name, interval.value, interval.lo, interval.hi)
            for name, rates in self._rates.items()
            if name not in self._left_out
            for interval in [median_interval(rates)]
        ]
        return Tuning(
            identity=self._device.identity,
            variant=asdict(self._racing[best][0]),
            on=datetime.now(UTC).isoformat(timespec="seconds"),
            measured=tuple(sorted(measured, key=lambda each: -each[1])),
            left_out=self._left_out,
        )

    def end(self) -> None:
        for name in list(self._racing):
            self._drop(name)

    def watch(self, over: threading.Event) -> None:
        """End what is at work once stopped: a driver may compile for minutes."""
        while not over.wait(WATCH_S):
            if self._stopped():
                for _, kernel in list(self._racing.values()):
                    kernel.child.end()
                return

    def _admit(self, variant: Any) -> None:  # noqa: ANN401
        if self._stopped():
            return
        name, kernel = str(variant), self._device.hasher(variant).kernel
        self._racing[name] = variant, kernel
        self._counts[name], self._rates[name] = FIRST, []
        fault = fault_of(kernel)
        if fault is not None and not self._stopped():
            self._drop(name, fault.removeprefix(f"{self._device.address} {name}: "))

    def _round(self, *, keep: bool) -> None:
        """Let each scan for a moment, in random order."""
        names = list(self._racing)
        for name in self._random.sample(names, len(names)):
            if self._stopped():
                return
            _, kernel = self._racing[name]
            count = self._counts[name]
            try:
                hits = kernel.scan(HEADER, RARE, range(count))
            except (DeviceFault, WrongHash) as fault:
                self._drop(name, str(fault))
                continue
            busy_ns = max(hits.busy_ns, 1)
            if keep:
                self._rates[name].append(count * 1e9 / busy_ns)
            ideal = count * SLICE_NS // busy_ns
            self._counts[name] = min(max(ideal, FIRST), count * GROWTH, 1 << 32)

    def _decided(self) -> bool:
        """Drop what is surely slower than the best; is what remains one, or alike?"""
        best = self._best()
        alike = True
        for name in [name for name in self._racing if name != best]:
            logs = [
                math.log(a / b) for a, b in zip(self._rates[name], self._rates[best], strict=True)
            ]
            beside = centre_interval(logs, SURE)
            if beside.hi < 0:
                self._drop(name)
            elif max(abs(beside.lo), abs(beside.hi)) > ALIKE:
                alike = False
        return len(self._racing) == 1 or alike

    def _best(self) -> str:
        return max(self._racing, key=lambda name: median(self._rates[name]))

    def _drop(self, name: str, fault: str | None = None) -> None:
        _, kernel = self._racing.pop(name)
        kernel.child.end()
        if fault is not None:
            self._left_out[name] = fault
