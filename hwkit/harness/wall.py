"""The wall clock beside the monotonic one: set, it is worth a line, and changes no figure."""

from __future__ import annotations

import time

STEP_NS = 100_000_000  # an NTP client slews what is less
LOOKS = 5


class WallClock:
    """Notices that somebody set it, or that the machine was asleep: the monotonic one was, too."""

    def __init__(self) -> None:
        """Look at it."""
        self._ahead_ns = _ahead_ns()

    def stepped(self) -> str | None:
        """Say by how much it has stepped since it was asked last; None: it has not."""
        before, self._ahead_ns = self._ahead_ns, _ahead_ns()
        step_ns = self._ahead_ns - before
        if abs(step_ns) < STEP_NS:
            return None
        return f"the wall clock stepped by {step_ns / 1e9:+.3f} s"


def _ahead_ns() -> int:
    """Return wall less monotonic time, by the look that was least disturbed."""
    looks = []
    for _ in range(LOOKS):
        before, wall, after = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        looks.append((after - before, wall - after))
    return min(looks)[1]
