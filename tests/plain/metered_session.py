"""A session of a real hasher beside meters that are objects here, and what its record says."""

import threading
import time
from dataclasses import dataclass, field
from typing import Any

from hwkit.errors import DeviceLost, NoDevice
from hwkit.harness.metering import Metering
from hwkit.harness.plan import Plan
from hwkit.harness.session import Session
from hwkit.hashers.kernel import KernelHasher
from hwkit.hashers.reference import ReferenceKernel
from hwkit.protocols import Accuracy, MeterSpec, Provenance, Reading, Scope
from hwkit.records.verify import verify

CLASS_1 = Accuracy(0.01, source="class 1")
WALL = MeterSpec("fake:1", Scope.WALL, Provenance.METER, CLASS_1, interval_s=0.05)
BY_HAND = MeterSpec(
    "hand:1", Scope.WALL, Provenance.MANUAL, CLASS_1, interval_s=None, quantum_j=0.1
)


def about_100(now):
    """Return watts at a moment: no real load stands still."""
    return 100 + ((now >> 20) % 7 - 3) / 1e3


@dataclass
class FakeMeter:
    """A meter of 100 W, which may do other things as well."""

    watts: Any = about_100
    spec: MeterSpec = WALL
    fault: object = None
    is_open: bool = False
    reads: int = 0
    asked: list = field(default_factory=list)

    def open(self):
        if self.fault == "closed":
            raise NoDevice(self.spec.name, "connection refused")
        if self.fault == "nonsense":
            raise DeviceLost("fake:1: it is no meter")
        self.is_open = True
        return {"model": "Fake 3000", "serial": "7"}

    def read(self):
        self.reads += 1
        now = time.monotonic_ns()
        self.asked.append(now)
        if self.fault == "dies" and self.reads > 20:
            raise DeviceLost("fake:1: gone")
        if self.fault == "breaks" and self.reads > 20:
            raise ZeroDivisionError
        watts = self.watts(now) if callable(self.watts) else self.watts
        return Reading(now, watts=watts, took_ns=1_000_000, volts=230.0)

    def close(self):
        self.is_open = False


@dataclass
class EndsOnly(FakeMeter):
    """A counter that is read at the run's two ends, as a person reads one."""

    spec: MeterSpec = BY_HAND

    def read(self):
        self.reads += 1
        time.sleep(0.3)  # the person looks for a pencil
        now = time.monotonic_ns()
        return Reading(now, joules=now / 1e7, took_ns=0)  # 100 W


def honest():
    return KernelHasher.lift(ReferenceKernel(), "cpu", 1)


def run(store, *meters, hashers=None, windows=None, known=(), **changes):
    """Measure to the end of the plan, or stop once there are so many windows."""
    stop = threading.Event()

    plan = Plan(
        **{
            "time_s": 1.0,
            "precision": None,
            "warmup_s": 0.1,
            "turn_s": 0.1,
            "meters": tuple(meter.spec.name for meter in meters),
        }
        | changes
    )
    with Metering(meters, known) as metering:
        session = Session(plan, hashers or [honest()], store, stop, metering=metering)

        def tick():
            if windows is not None and len(session.entries[0].windows) >= windows:
                stop.set()

        entries = session.run(tick, 0.02)
    assert not any(meter.is_open for meter in meters)
    return [store.get(entry.run.id) for entry in entries if entry.run]


def faults_of(record):
    return [str(finding) for finding in verify(record) if not finding.passed]


def names_of(record):
    return {caveat["caveat"] for caveat in record.document["caveats"]}
