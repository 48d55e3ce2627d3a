"""The meters' contract: kept by ours, and able to fail."""

import json
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from web_server import Server

from hwkit import plugins
from hwkit.protocols import MeterSpec, Provenance, Reading, Scope
from hwkit.testing import MeterContract

SHELLY = Path(__file__).parent / "answers" / "shelly-gen2-switch.json"


def meter_at(address):
    [found] = plugins.meters(address)
    return found


class TestNameplate(MeterContract):
    @pytest.fixture
    def meter(self):
        return meter_at("nameplate:100W")


class TestProgram(MeterContract):
    answers_within_s = 30.0  # an interpreter has to start

    @pytest.fixture
    def meter(self):
        says = "import time\nwhile True: print(100.0, flush=True); time.sleep(0.05)"
        return meter_at(f"exec:{sys.executable} -c '{says}'")


@pytest.mark.needs(module="aiohttp")
class TestHttp(MeterContract):
    @pytest.fixture
    def meter(self):
        server = Server(json.loads(SHELLY.read_text(encoding="utf-8"))["answers"])
        server.thread.start()
        yield meter_at(f"shelly:127.0.0.1:{server.port}?channel=2")
        server.stop()


@dataclass
class Faulty:
    """A meter with one fault of your choice."""

    fault: str
    spec: MeterSpec = field(default_factory=lambda: MeterSpec("x", Scope.WALL, Provenance.METER))

    def open(self):
        if self.fault == "thread":
            self._stop = threading.Event()
            threading.Thread(target=self._stop.wait, args=(3,), daemon=True).start()
        return {"serial": 7} if self.fault == "number" else {}

    def read(self):
        at = time.monotonic_ns()
        if self.fault == "slow":
            time.sleep(0.2)
        if self.fault == "early":
            at -= 10**9
        if self.fault == "late":
            at += 10**9
        watts = {"nothing": None, "nan": float("nan")}.get(self.fault, 100.0)
        return Reading(at, watts=watts, took_ns=0)

    def close(self):
        if self.fault == "once":
            self.fault = "closed"
        elif self.fault == "closed":
            raise ValueError("closed twice")


@pytest.mark.parametrize(
    ("fault", "test"),
    [
        ("number", "test_it_says_who_it_is_in_texts"),
        *(
            (fault, "test_it_reads_in_time_and_of_a_moment_while_it_read")
            for fault in ("slow", "early", "late", "nothing", "nan")
        ),
        ("once", "test_it_can_be_closed_twice_and_opened_again"),
        ("thread", "test_it_leaves_no_thread_behind"),
    ],
)
def test_a_fault_is_found(fault, test):
    strict = MeterContract()
    strict.answers_within_s = 0.1
    getattr(MeterContract(), test)(Faulty("none"))
    with pytest.raises((AssertionError, ValueError)):
        getattr(strict, test)(Faulty(fault))
