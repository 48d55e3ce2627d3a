"""Meters at work: each sampled on a thread of its own, every reading kept as it came."""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Self

from hwkit.errors import DeviceFault, PlanError, Unavailable
from hwkit.protocols import Accuracy, MeterSpec, Provenance, Scope

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hwkit.protocols import Meter, Reading

CLOSE_S = 6.0  # a read returns within 5
EDGES = 2.5  # intervals before a window opens and after it closes, so that readings enclose it
LEAST_LAG_S = 0.5
SILENT_S = 5.0
PAUSE_S = 0.001  # between readings of a meter that sends by itself


@dataclass(slots=True)
class Sampled:
    """One meter, what it says of itself, and what it has read so far."""

    meter: Meter
    told: Mapping[str, str] = field(default_factory=dict)
    readings: list[Reading] = field(default_factory=list)
    faults: list[tuple[int, str]] = field(default_factory=list)  # monotonic ns, and what it was
    since: int | None = None  # it is sampled from then on, monotonic ns

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

    def take(self, reading: Reading) -> None:
        """Keep a reading that has just arrived."""
        self.readings.append(reading)
        self._arrived.append(time.monotonic_ns())  # last: then it is there

    def read(self) -> bool:
        """Keep a reading, or what went wrong; was it sent unasked, so that more may be waiting?"""
        try:
            reading = self.meter.read()
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

    def to_json(self) -> dict[str, Any]:
        """Return meter and told as they stand in a record."""
        return spec_to_json(self.spec) | {"told": dict(self.told)}


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
    def lag_s(self) -> float:
        """How long a device has to work before a window opens and after it closes."""
        spans = [
            EDGES * each.spec.interval_s + each.spec.averaging_s
            for each in self.sampled
            if each.spec.interval_s is not None
        ]
        return max(spans, default=LEAST_LAG_S)

    @property
    def silent(self) -> list[str]:
        """The meters that should have answered and have not, each with how long and why."""
        return [said for each in self.sampled if (said := each.silence) is not None]


class Metering(Sight):
    """The meters of a session.

    As a context it opens them all, before any device is touched, and closes them whatever happens.
    """

    def __init__(self, meters: Sequence[Meter]) -> None:
        """Take the meters. Raises PlanError for one that is named twice."""
        names = [meter.spec.name for meter in meters]
        if len(set(names)) < len(names):
            raise PlanError(f"a meter is named twice: {', '.join(sorted(names))}")
        super().__init__([Sampled(meter) for meter in meters])
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        """Open every meter and begin to sample. Raises Unavailable."""
        try:
            for each in self.sampled:
                each.told = _opened(each.meter)
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
        """End sampling, and let every meter go."""
        self._stop.set()
        until = time.monotonic() + CLOSE_S
        for thread in self._threads:
            thread.join(max(until - time.monotonic(), 0))
        for each in self.sampled:
            each.meter.close()

    def _sample(self, each: Sampled) -> None:
        """Read at the meter's interval, or as fast as it sends; one that is late is not hurried."""
        interval_s = each.spec.interval_s or 1.0
        due = time.monotonic()
        while not self._stop.wait(max(due - time.monotonic(), 0)):
            pushed = each.read()
            due = time.monotonic() + PAUSE_S if pushed else max(due + interval_s, time.monotonic())


def _opened(meter: Meter) -> Mapping[str, str]:
    try:
        return meter.open()
    except DeviceFault as fault:
        raise Unavailable(meter.spec.name, str(fault)) from fault


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
