"""What a miner says of itself while it works, as probes: recorded, and never credited.

Counters and rates come with each look; what it is and how it is set (firmware, mode, frequency ...)
when a run begins and when it changes, so that a change shows which windows are whole.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from hwkit.errors import DeviceFault, Unavailable
from hwkit.protocols import Probe
from hwkit.wire import cgminer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

INTERVAL_S = 2.0
SETTINGS_S = 30.0  # between looks at what seldom changes
MHS = {"MHS 5s": 1e6, "MHS 20s": 1e6, "GHS 5s": 1e9, "MHS 1m": 1e6, "MHS av": 1e6, "GHS av": 1e9}
COUNTERS = {
    "Total MH": ("total_hashes", 1e6),
    "Elapsed": ("elapsed_s", 1.0),
    "Accepted": ("accepted", 1.0),
    "Rejected": ("rejected", 1.0),
    "Stale": ("stale", 1.0),
    "Hardware Errors": ("hardware_errors", 1.0),
    "Difficulty Accepted": ("difficulty_accepted", 1.0),
    "Difficulty Rejected": ("difficulty_rejected", 1.0),
}


class Claims:
    """Asks one miner, on a thread of its own, over one connection at a time."""

    def __init__(self, host: str, port: int, interval_s: float = INTERVAL_S) -> None:
        """Say who is asked, and how often at most; nothing is asked yet."""
        self._host = host
        self._port = port
        self._interval_s = max(interval_s, 1.0)
        self._seen: deque[Probe] = deque()
        self._settings: dict[str, Probe] = {}
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self.fault: Exception | None = None  # of the last look

    def begin(self) -> None:
        """Ask from now on; in a run that begins, what it is set to is told again."""
        self._seen.extend(tuple(self._settings.values()))
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, name=f"asking {self._host}", daemon=True
            )
            self._thread.start()

    def take(self) -> list[Probe]:
        """Return what it has said since the last call."""
        return [self._seen.popleft() for _ in range(len(self._seen))]

    def rate_h_s(self) -> float | None:
        """Return what it says its hashrate is, asked now; None where it does not say."""
        try:
            found = {probe.name: probe.value for probe in self._look()}
        except (DeviceFault, Unavailable):
            return None
        return found.get("claimed_hashrate_h_s")

    def close(self) -> None:
        """Ask no more; an answer that is under way is not waited for."""
        self._over.set()

    def _run(self) -> None:
        settings_at = 0.0
        while not self._over.is_set():
            began = time.monotonic()
            try:
                self._seen.extend(self._look())
                if began >= settings_at:
                    settings_at = began + SETTINGS_S
                    self._compare()
                self.fault = None
            except (DeviceFault, Unavailable) as error:
                self.fault = error  # it may be restarting; who listens sees that nothing comes
                settings_at = 0.0
            self._over.wait(self._interval_s)

    def _look(self) -> Iterator[Probe]:
        reply = cgminer.ask(self._host, "summary", port=self._port)
        summary = _first(reply.document, "SUMMARY")
        for key, scale in MHS.items():
            if (value := _number(summary.get(key))) is not None:
                yield Probe(reply.at, "claimed_hashrate_h_s", value * scale)
                break
        for key, (name, scale) in COUNTERS.items():
            if (value := _number(summary.get(key))) is not None:
                yield Probe(reply.at, name, value * scale)

    def _compare(self) -> None:
        """Tell what it is set to, where that is not as it was told before."""
        reply = cgminer.ask(self._host, "version", port=self._port)
        version = _first(reply.document, "VERSION")
        said = {key: str(version[key]) for key in sorted(version) if key not in {"When", "id"}}
        probe = Probe(reply.at, "firmware", words=tuple(f"{k} {v}" for k, v in said.items()))
        before = self._settings.get(probe.name)
        if before is None or before.words != probe.words:
            self._settings[probe.name] = probe
            self._seen.append(probe)


def _first(document: Mapping[str, Any], section: str) -> Mapping[str, Any]:
    found = document.get(section)
    first = found[0] if isinstance(found, list) and found else found
    return first if isinstance(first, dict) else {}


def _number(value: object) -> float | None:
    """Return a number, also one written as text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return float(value)
    except ValueError:
        return None
