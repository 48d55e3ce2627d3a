"""What is around a measurement, inlet air and mains: typed once, or sampled as probes."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Self

from hwkit.errors import DeviceFault, PlanError, Unavailable
from hwkit.plugins import Address
from hwkit.protocols import Probe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hwkit.protocols import Meter

# What can be said of them, and between what it lies.
LIMITS = {"inlet_c": (-60.0, 100.0), "humidity": (0.0, 100.0), "mains_v": (10.0, 1000.0)}
INTERVAL_S = 10.0
LONGEST = 64  # characters of a number in a file
CLOSE_S = 6.0


@dataclass(slots=True)
class Surroundings:
    """Values that somebody typed, and sensors that are asked every ten seconds.

    As a context it asks each sensor once, before any device is touched, and then goes on on a
    thread of its own. Raises Unavailable for one that does not answer.
    """

    typed: Mapping[str, float] = field(default_factory=dict)  # mains_v: the nominal voltage
    sensors: Mapping[str, Sensor] = field(default_factory=dict)
    _probes: list[Probe] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _held: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        """Begin to sample."""
        with ExitStack() as stack:
            for name, sensor in self.sensors.items():
                stack.callback(sensor.close)
                sensor.open()
                self._probes.append(Probe(time.monotonic_ns(), name, sensor.read()))
            if self.sensors:
                thread = threading.Thread(target=self._sample, name="surroundings", daemon=True)
                thread.start()
                stack.callback(thread.join, CLOSE_S)
            stack.callback(self._stop.set)
            self._held = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Let the sensors go."""
        self._held.close()

    def between(self, since: int, until: int) -> list[Probe]:
        """Return what was sampled after one moment and up to another (monotonic ns)."""
        return [probe for probe in self._probes if since < probe.at <= until]

    def to_json(self) -> dict[str, Any]:
        """Return what was typed, and where the rest is from, as it stands in a record."""
        addresses = {name: sensor.address for name, sensor in self.sensors.items()}
        return dict(self.typed) | ({"sensors": addresses} if addresses else {})

    def _sample(self) -> None:
        while not self._stop.wait(INTERVAL_S):
            for name, sensor in self.sensors.items():
                try:
                    value = sensor.read()
                except (DeviceFault, Unavailable) as fault:
                    self._probes.append(Probe(time.monotonic_ns(), name, None, (str(fault),)))
                else:
                    self._probes.append(Probe(time.monotonic_ns(), name, value))


class Sensor:
    """A number in a file, `file:PATH?scale=0.001`, or the volts that a meter reads."""

    def __init__(self, name: str, address: str, meters: Callable[[str], Sequence[Meter]]) -> None:
        """Take what it is a sensor of, and where. Raises PlanError for what is none."""
        self.address = address
        self._parsed = Address.parse(address)
        self._least, self._most = LIMITS[name]
        self._meter: Meter | None = None
        if self._parsed.scheme == "file":
            self._parsed.allow("scale")
            self._scale = _scale(self._parsed)
        elif name == "mains_v":
            self._meter = meters(address)[0]
        else:
            said = "a number, or a file that holds one: file:PATH?scale=0.001"
            raise PlanError(f"{name} is {said}, not {address!r}")

    def open(self) -> None:
        """Connect."""
        if self._meter is not None:
            self._meter.open()

    def read(self) -> float:
        """Return the value now. Raises Unavailable and DeviceFault."""
        value = self._volts() if self._meter is not None else self._number()
        if not self._least <= value <= self._most:
            limits = f"it lies between {self._least:g} and {self._most:g}"
            raise Unavailable(self.address, f"{value:g} cannot be: {limits} (?scale=)")
        return value

    def close(self) -> None:
        """Let go."""
        if self._meter is not None:
            self._meter.close()

    def _volts(self) -> float:
        volts = None if self._meter is None else self._meter.read().volts
        if volts is None:
            raise Unavailable(self.address, "it tells no volts")
        return volts

    def _number(self) -> float:
        try:
            with Path(self._parsed.place).open(encoding="ascii") as file:
                return float(file.read(LONGEST)) * self._scale
        except OSError as error:
            raise Unavailable(self.address, f"it cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise Unavailable(self.address, "it holds no number") from error


def surroundings(
    said: Mapping[str, float | str], meters: Callable[[str], Sequence[Meter]]
) -> Surroundings:
    """Return what was said of them: a number is one that was typed, a text a sensor's address.

    `meters` finds the meters at an address. Raises PlanError, Unavailable.
    """
    typed, sensors = {}, {}
    for name, value in said.items():
        if isinstance(value, str):
            sensors[name] = Sensor(name, value, meters)
            continue
        least, most = LIMITS[name]
        if not least <= value <= most:
            raise PlanError(f"{name} {value:g}: it lies between {least:g} and {most:g}")
        typed[name] = float(value)
    return Surroundings(typed, sensors)


def sampled(probes: Sequence[Probe]) -> dict[str, Any]:
    """Return the median of each of them, and between what it moved."""
    found = {}
    for name in LIMITS:
        values = [p.value for p in probes if p.name == name and p.value is not None]
        if values:
            found[name] = {"median": median(values), "least": min(values), "most": max(values)}
    return found


def _scale(address: Address) -> float:
    try:
        return float(address.options.get("scale", "1"))
    except ValueError as error:
        raise PlanError(f"{address}: scale is a number, as in ?scale=0.001") from error
