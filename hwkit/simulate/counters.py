"""What a miner counts of its own work, and the decaying averages that it shows of it."""

from __future__ import annotations

import math
import threading
import time

WINDOWS_S = {
    "5s": 5,
    "30s": 30,
    "1m": 60,
    "5m": 300,
    "15m": 900,
    "30m": 1800,
    "1h": 3600,
    "24h": 86400,
}
FOLD_S = 0.25


class Counters:
    """Hashes since it was switched on: those done, and those claimed. Threads may share it."""

    def __init__(self) -> None:
        """Begin at 0, now."""
        self.began = time.monotonic()
        self.began_at = int(time.time())
        self.hashes = 0
        self.hardware_errors = 0
        self.found = 0  # nonces, the bad ones too
        self._claimed = 0.0
        self._pending = 0.0
        self._folded = self.began
        self._averages = dict.fromkeys(WINDOWS_S, 0.0)
        self._lock = threading.Lock()

    @property
    def elapsed_s(self) -> float:
        """Seconds since it was switched on."""
        return time.monotonic() - self.began

    def add(self, hashes: int, claimed: float) -> None:
        """Count work that was done, and what is claimed of it."""
        with self._lock:
            self.hashes += hashes
            self._claimed += claimed
            self._pending += claimed
            if time.monotonic() - self._folded >= FOLD_S:
                self._fold()

    def claimed(self, *, from_zero: bool) -> tuple[float, dict[str, float]]:
        """Return the hashes claimed, and the averages in H/s by window.

        Like cgminer's they begin at 0 and are too low until a window has passed, or else are those
        of the time that there was.
        """
        with self._lock:
            if time.monotonic() - self._folded >= FOLD_S:
                self._fold()
            known_s = self._folded - self.began
            if from_zero or known_s <= 0:
                return self._claimed, dict(self._averages)
            known = {n: 1 - math.exp(-known_s / window) for n, window in WINDOWS_S.items()}
            return self._claimed, {n: rate / known[n] for n, rate in self._averages.items()}

    def _fold(self) -> None:
        """Let the averages decay to now, as cgminer's do (decay_time in cgminer.c)."""
        now = time.monotonic()
        took, self._folded = now - self._folded, now
        rate, self._pending = self._pending / took, 0.0
        for name, window_s in WINDOWS_S.items():
            weight = 1 - math.exp(-took / window_s)
            self._averages[name] += weight * (rate - self._averages[name])
