"""What a miner says of itself while it works, as probes: recorded, and never credited.

Counters and readings come with each look; what it is and how it is set (firmware, mode, frequency
...) when a run begins and when it has changed, so that a change shows which windows are whole.
"""

from __future__ import annotations

import math
import re
import threading
import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hwkit.errors import DeviceFault, Unavailable
from hwkit.hashers.asic.asking import Miner, Ports
from hwkit.hashers.asic.telemetry import COUNTERS, Power
from hwkit.hashers.asic.vendors import AnyMiner
from hwkit.protocols import Probe

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hwkit.hashers.asic.telemetry import Telemetry, Value

INTERVAL_S = 2.0  # from look to look
LEAST_S = 1.0
IDLE = 3  # and so many times as long as a look takes: its API is everybody's
DEADLINE_S = 3.0
MOST_RATES = 16  # who names more has made them up
SINCE_START = "av"
MEASURED = 0.02  # by how much a frequency or voltage that nobody touches may seem to change
# By the field of Telemetry, and its name as a probe.
READINGS = {
    "hashrate_h_s": "claimed_hashrate_h_s",
    "power_w": "claimed_power_w",
    "diverted": "devfee_fraction",
    "elapsed_s": "elapsed_s",
    **{name: name for name in COUNTERS},
}
SETTINGS = (
    "make",
    "model",
    "firmware",
    "mode",
    "tuning",
    "frequency_mhz",
    "voltage_v",
    "power_target_w",
    "hashrate_target_h_s",
    "chips",
)


class Claims:
    """Asks one miner, on a thread of its own, over one connection at a time."""

    def __init__(
        self, host: str, ports: Ports, interval_s: float = INTERVAL_S, *, vendors: bool = False
    ) -> None:
        """Say who is asked, and how often at most; nothing is asked yet.

        With `vendors`, whom no dialect of ours knows by pyasic-rs: then it raises as AnyMiner does.
        """
        self._any = AnyMiner(host, ports, deadline_s=DEADLINE_S) if vendors else None
        self._host = host
        self._ports = ports
        self._interval_s = max(interval_s, LEAST_S)
        self._seen: deque[Probe] = deque()
        self._settings: dict[str, Probe] = {}  # as they were told
        self._seen_at: dict[str, int] = {}  # when each was last seen so
        self._asking, self._telling = threading.Lock(), threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self.fault: Exception | None = None  # of the last look
        self.last_h_s: float | None = None  # the hashrate that it told last

    def begin(self) -> None:
        """Ask from now on; in a run that begins, how it is set is told again."""
        with self._telling:
            self._seen.clear()  # what was read before this run is no claim of it
            self._seen.extend(self._settings.values())
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, name=f"asking {self._host}", daemon=True
            )
            self._thread.start()

    def take(self) -> list[Probe]:
        """Return what it has said since the last call."""
        return [self._seen.popleft() for _ in range(len(self._seen))]

    def rate_h_s(self) -> float | None:
        """Return what it says its hashrate is; None where it does not say, or does not answer."""
        if self.last_h_s is None:
            self._look()
        return self.last_h_s

    def close(self) -> None:
        """Ask no more; an answer that is under way is not waited for."""
        self._over.set()
        if self._any is not None:
            self._any.close()

    def _run(self) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            self._look()
            took_s = time.monotonic() - began
            self._over.wait(max(self._interval_s - took_s, IDLE * took_s))

    def _look(self) -> None:
        with self._asking:
            miner = self._any or Miner(self._host, self._ports, deadline_s=DEADLINE_S)
            try:
                telemetry = miner.read()
            except (DeviceFault, Unavailable) as error:
                self.fault = error  # it may be restarting: who listens sees that nothing comes
                return
            finally:
                if miner is not self._any or self._over.is_set():
                    miner.close()
            self.fault = None
            if telemetry.hashrate_h_s is not None:
                self.last_h_s = telemetry.hashrate_h_s.value
            now = telemetry.at or time.monotonic_ns()
            told = {name: reply.at for name, reply in miner.answers.items()}
            found = [
                _probe(name, value, told.get(value.source.partition(" ")[0], now))
                for name, value in _values(telemetry)
            ]
            with self._telling:
                self._seen.extend(sorted(self._worth_telling(found), key=lambda each: each.at))

    def _worth_telling(self, found: Iterable[Probe]) -> Iterator[Probe]:
        """Yield readings, and settings that are new or not as told before.

        Of those the old one is told again, as of when it was last seen: it changed since then.
        """
        for probe in found:
            if probe.name in SETTINGS:
                before = self._settings.get(probe.name)
                seen_at, self._seen_at[probe.name] = self._seen_at.get(probe.name), probe.at
                if before is not None and seen_at is not None:
                    if _same(probe, before):
                        continue
                    yield replace(before, at=seen_at)
                self._settings[probe.name] = probe
            yield probe


def _same(one: Probe, other: Probe) -> bool:
    """Do they say the same? What is set to a number, many tell as they measure it."""
    if one.value is None or other.value is None:
        return (one.value, one.words) == (other.value, other.words)
    return math.isclose(one.value, other.value, rel_tol=MEASURED)


def _values(telemetry: Telemetry) -> Iterator[tuple[str, Value[Any]]]:
    """Yield what there is to tell, by the probe's name."""
    for field, name in (READINGS | {each: each for each in SETTINGS}).items():
        value: Value[Any] | None = getattr(telemetry, field)
        if value is not None:
            yield name, _dated(value, telemetry)
    first = telemetry.hashrate_h_s
    for value in telemetry.hashrates_h_s[:MOST_RATES]:
        if first is None or value.source != first.source:
            yield f"{READINGS['hashrate_h_s']} {_place(value)}", _dated(value, telemetry)
    if telemetry.temperatures_c:
        yield "temperature_c", max(telemetry.temperatures_c, key=lambda each: each.value)


def _dated(value: Value[float], telemetry: Telemetry) -> Value[float]:
    """Return a rate; a mean since its start with how long that is, unless its counter belies it.

    Such a one is of another time than a run's, however honest it is.
    """
    total, elapsed = telemetry.total_hashes, telemetry.elapsed_s
    if value.label != SINCE_START or elapsed is None or elapsed.value <= 0:
        return value
    # Elapsed goes by whole seconds.
    near = max(MEASURED, 1 / elapsed.value)
    if total and not math.isclose(value.value, total.value / elapsed.value, rel_tol=near):
        return value
    return replace(value, label=f"{elapsed.value:.0f} s")


def _place(value: Value[float]) -> str:
    """Return where it stands; a sum without how many addends it had, for boards come and go."""
    return re.sub(r"\(\d+\)", "", value.source)


def _probe(name: str, value: Value[Any], at: int) -> Probe:
    """Return what was said as a probe, with who says so, or where."""
    if isinstance(value.value, str):
        return Probe(at, name, words=(value.value,))
    said = (value.provenance, value.scope) if isinstance(value, Power) else (value.source,)
    told = tuple(str(each) for each in said if each is not None) or (value.source,)
    if name.startswith(READINGS["hashrate_h_s"]):
        told = (*told, value.label or "now")
    return Probe(at, name, float(value.value), told)
