"""Meters at work: each sampled on a thread of its own, every reading kept as it came."""

from __future__ import annotations

import math
import threading
import time
from bisect import bisect_right
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Self

from hwkit.errors import DeviceFault, HwkitError, PlanError, ProtocolError, Unavailable
from hwkit.harness.readings import CLOCK
from hwkit.meters.bounded import Bounded
from hwkit.meters.polled import QUANTITIES
from hwkit.protocols import Accuracy, MeterSpec, Provenance, Reading, Scope

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hwkit.harness.correction import Correction
    from hwkit.harness.corrections import Kept
    from hwkit.protocols import Meter

OPEN_S = 30.0  # some are asked several things, each within 5 s
CLOSE_S = 1.0  # and a result is whole within 2 s of Ctrl-C
EDGES = 2.5  # intervals before a window opens and after it closes, so that readings enclose it
LEAST_LAG_S = 0.5
LARGEST, MOST_NS = 1 << 96, 1 << 62  # of whole numbers in a record, and of times
LATEST = 5  # readings: all of them late is no stall
SILENT_S = 5.0  # below them a reading may be on its way
PAUSE_S = 0.001  # between readings of a meter that sends by itself


@dataclass(slots=True)
class Sampled:
    """One meter, what it says of itself, and what it has read so far."""

    meter: Meter
    told: Mapping[str, str] = field(default_factory=dict)
    readings: list[Reading] = field(default_factory=list)
    faults: list[tuple[int, str]] = field(default_factory=list)  # monotonic ns, and what it was
    since: int | None = None  # it is sampled from then on, monotonic ns
    correction: Correction | None = None  # by which its joules are put right; readings stay raw

    @property
    def spec(self) -> MeterSpec:
        """What it is."""
        return self.meter.spec

    def between(self, since: int, until: int) -> list[Reading]:
        """Return the readings that arrived after one moment and up to another (monotonic ns)."""
        first, last = (bisect_right(self._arrived, at) for at in (since, until))
        return self.readings[first:last]

    def faults_between(self, since: int, until: int) -> list[tuple[int, str]]:
        """Return the readings that failed in that time, and how."""
        return [(at, what) for at, what in self.faults if since < at <= until]

    @property
    def span(self) -> tuple[int, int] | None:
        """From when to when its readings tell of energy (monotonic ns); None: from never."""
        readings = self.readings[: len(self._arrived)]
        if not readings:
            return None
        first, last = (edge(reading.at for reading in readings) for edge in (min, max))
        last -= round(self.spec.averaging_s * 5e8)
        return (first, last) if first < last else None

    def take(self, reading: Reading) -> None:
        """Keep a reading that has just arrived."""
        now = time.monotonic_ns()
        if reading.took_ns is None and self._drifts(now - reading.at):
            reading = replace(reading, flags=(*reading.flags, CLOCK))
        self.readings.append(reading)
        self._arrived.append(now)  # last: then it is there

    def _drifts(self, late_ns: int) -> bool:
        """Say whether its stamps have moved against their arrival, by more than an interval.

        Up to that the alignment of a reading that came unasked allows for.
        """
        interval_ns = (self.spec.interval_s or math.inf) * 1e9
        self._late = [*self._late, late_ns][-LATEST:]
        latest = min(self._late)
        self._least = min(self._least, latest)
        return late_ns < -interval_ns or latest > self._least + interval_ns

    def read(self) -> bool:
        """Keep a reading, or what went wrong; was it sent unasked, so that more may be waiting?"""
        try:
            reading = _sound(self.spec.name, self.meter.read())
        except DeviceFault as fault:
            self.faults.append((time.monotonic_ns(), str(fault)))
        except Exception as error:  # noqa: BLE001 - whatever a driver raises: one reading is lost
            what = f"{self.spec.name}: {type(error).__name__}: {error}"
            self.faults.append((time.monotonic_ns(), what))
        else:
            self.take(reading)
            return reading.took_ns is None
        return False

    @property
    def silence(self) -> str | None:
        """How long it has not answered, and what it failed of; None: it answers, or is not asked.

        Three intervals are a gap, and below five seconds a reading may be on its way.
        """
        if self.since is None or self.spec.interval_s is None:
            return None
        heard = self._arrived[-1] if self._arrived else self.since
        silent_s = (time.monotonic_ns() - heard) / 1e9
        if silent_s < max(3 * self.spec.interval_s, SILENT_S):
            return None
        why = f" ({self.faults[-1][1]})" if self.faults and self.faults[-1][0] > heard else ""
        return f"meter {self.spec.name}: no answer for {silent_s:.0f} s{why}"

    _arrived: list[int] = field(default_factory=list)
    _late: list[int] = field(default_factory=list)
    _least: float = math.inf

    def to_json(self) -> dict[str, Any]:
        """Return meter, told and correction as they stand in a record."""
        told = spec_to_json(self.spec) | {"told": dict(self.told)}
        return told if self.correction is None else told | {"correction": self.correction.to_json()}


class Sight:
    """Meters that see one device, or a group, in order: the first one's J/TH heads the record."""

    def __init__(self, sampled: Sequence[Sampled]) -> None:
        """Take the meters, which somebody else samples."""
        self.sampled = list(sampled)
        self._edge: threading.Thread | None = None  # that reads what is read at the ends

    def edge(self) -> bool:
        """Read the meters that are read at a run's two ends only; is that done?

        Ask until it is, while the device goes on working: a person may take their time.
        """
        if self._edge is None:
            by_hand = [each for each in self.sampled if each.spec.interval_s is None]
            self._edge = threading.Thread(
                target=lambda: [each.read() for each in by_hand], name="meters by hand"
            )
            self._edge.daemon = True
            self._edge.start()
            if by_hand:
                return False
            self._edge.join()
        if self._edge.is_alive():
            return False
        self._edge = None
        return True

    @property
    def by_hand_at(self) -> int:
        """When a meter that is read at the ends only was read last, monotonic ns; 0: never."""
        by_hand = [each for each in self.sampled if each.spec.interval_s is None]
        return max((each.readings[-1].at for each in by_hand if each.readings), default=0)

    @property
    def lag_s(self) -> float:
        """How long a device has to work before a window opens and after it closes."""
        spans = [
            EDGES * each.spec.interval_s + each.spec.averaging_s
            for each in self.sampled
            if each.spec.interval_s is not None
        ]
        return max(spans, default=LEAST_LAG_S)


class Metering(Sight):
    """The meters of a session.

    As a context it opens them all, before any device is touched, and closes them whatever happens.
    """

    def __init__(self, meters: Sequence[Meter], corrections: Sequence[Kept] = ()) -> None:
        """Take the meters, and what is known of some. Raises PlanError for one named twice."""
        names = [meter.spec.name for meter in meters]
        if len(set(names)) < len(names):
            raise PlanError(f"a meter is named twice: {', '.join(sorted(names))}")
        super().__init__([Sampled(meter) for meter in meters])
        self._corrections = corrections
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        """Open every meter and begin to sample. Raises Unavailable."""
        try:
            for each in self.sampled:
                each.told = _opened(each.meter)
                found = (kept.correction for kept in self._corrections if kept.fits(each))
                each.correction = next(found, None)
            for each in self.sampled:
                if each.spec.interval_s is not None:
                    each.since = time.monotonic_ns()
                    name = f"meter: {each.spec.name}"
                    thread = threading.Thread(target=self._sample, args=(each,), name=name)
                    thread.daemon = True  # a driver that never returns shall not keep us
                    thread.start()
                    self._threads.append(thread)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Close every meter."""
        self.close()

    def close(self) -> None:
        """End sampling, and let every meter go: who is read is cut short, who hangs is left."""
        self._stop.set()
        closing = [
            threading.Thread(target=_let_go, args=(each.meter,), daemon=True)
            for each in self.sampled
        ]
        for thread in closing:
            thread.start()
        until = time.monotonic() + CLOSE_S
        for thread in closing + self._threads:
            thread.join(max(until - time.monotonic(), 0))

    def _sample(self, each: Sampled) -> None:
        """Read at the meter's interval, or as fast as it sends; one that is late is not hurried."""
        interval_s = each.spec.interval_s or 1.0
        due = time.monotonic()
        while not self._stop.wait(max(due - time.monotonic(), 0)):
            pushed = each.read()
            due = time.monotonic() + PAUSE_S if pushed else max(due + interval_s, time.monotonic())


def _opened(meter: Meter) -> Mapping[str, str]:
    name = meter.spec.name
    try:
        told = Bounded(name, OPEN_S).ask(meter.open)
    except DeviceFault as fault:
        raise Unavailable(name, str(fault).removeprefix(f"{name}: ")) from fault
    except HwkitError:
        raise
    except Exception as error:  # whatever a driver raises: it is this meter that is not here
        raise Unavailable(name, f"{type(error).__name__}: {error}") from error
    accuracy = meter.spec.accuracy
    if accuracy and accuracy.of_range and accuracy.range_w is None:
        why = "its accuracy is a part of its range, which it does not tell: add range=, in W"
        raise PlanError(f"{name}: {why}")
    return told


def _let_go(meter: Meter) -> None:
    with suppress(Exception):  # whatever a driver raises: its readings are in the record
        meter.close()


def _sound(name: str, came: object) -> Reading:
    """Return a reading with nothing in it that a record cannot hold; what is no number is absent.

    Raises ProtocolError for what is no reading: anybody may have written the driver.
    """
    values = {quantity: getattr(came, quantity, None) for quantity in QUANTITIES}
    if (
        not isinstance(came, Reading)
        or not {type(value) for value in values.values()} <= {int, float, type(None)}
        or type(came.took_ns) not in {int, type(None)}
        or type(came.at) is not int
        or abs(came.at) > MOST_NS
        or not all(isinstance(flag, str) for flag in came.flags)
    ):
        raise ProtocolError(f"{name}: its driver returned no reading: {came!r:.200}", b"")
    strange = [key for key, value in values.items() if not (value is None or _finite(value))]
    changes: dict[str, Any] = dict.fromkeys(strange)
    if strange:
        changes["flags"] = (*came.flags, *(f"{quantity} absent" for quantity in strange))
    return replace(came, **changes)


def _finite(value: float) -> bool:
    return abs(value) < LARGEST if isinstance(value, int) else math.isfinite(value)


def spec_to_json(spec: MeterSpec) -> dict[str, Any]:
    """Return a meter's spec as it stands in a record."""
    return asdict(spec) | {"details": dict(spec.details)}


def spec_from_json(document: Mapping[str, Any]) -> MeterSpec:
    """Read back what spec_to_json wrote. Raises as its types do."""
    known = {each.name for each in fields(MeterSpec)}
    values = {key: value for key, value in document.items() if key in known}
    values["scope"] = Scope(values["scope"])
    values["provenance"] = Provenance(values["provenance"])
    if values.get("accuracy") is not None:
        values["accuracy"] = Accuracy(**values["accuracy"])
    return MeterSpec(**values)
