"""Around a metered run: the idle device before and after, and when it has settled."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from hwkit.harness.steady import Gate, Warmth, steadiness

if TYPE_CHECKING:
    from collections.abc import Callable

    from hwkit.harness.metering import Metering
    from hwkit.harness.plan import Plan

LOOK_S = 1.0
STEP_S = 0.05


class Watch:
    """What the meters are watched for beside the joules of a run."""

    def __init__(self, metering: Metering, plan: Plan, stopped: Callable[[], bool]) -> None:
        """Take the meters, which are open; the run begins now."""
        self._metering = metering
        self._plan = plan
        self._stopped = stopped
        self._begun: int | None = None
        self._look_at = 0.0
        self._settled = self._opened = self._ended = False
        self.unsettled: str | None = None  # why the longest warm-up has ended
        self.why: str | None = None  # enough was measured; meters read by hand may keep it going

    def idle(self, beside: Callable[[], None]) -> list[tuple[int, int]]:
        """Let the meters watch the idle device; return from when to when, monotonic ns.

        `beside` is called all the while.
        """
        if not self._plan.idle_s:
            return []
        lag_ns = round(self._metering.lag_s * 1e9)
        began = time.monotonic_ns() + lag_ns
        ends = began + round(self._plan.idle_s * 1e9)
        while time.monotonic_ns() < ends + lag_ns:
            if self._stopped():
                return []
            beside()
            time.sleep(STEP_S)
        return [(began, ends)]

    def ready(self) -> bool:
        """May the first window open? Asked while the device works."""
        self._settled = self._settled or self._has_settled()
        self._opened = self._opened or (self._settled and self._metering.edge())
        return self._opened

    def over(self, closed: int) -> bool:
        """Is enough measured, and read at its end as well, by the time that a window closed (ns)?

        What a person reads after it, before the next window: that one is wanted, too.
        """
        self._ended = self._ended or (self.why is not None and self._metering.edge())
        return self._ended and self._metering.by_hand_at <= closed

    def _has_settled(self) -> bool:
        now = time.monotonic_ns()
        self._begun = self._begun or now
        spent_s = (now - self._begun) / 1e9
        if spent_s < max(self._plan.warmup_s, self._metering.lag_s):
            return False
        if not self._plan.settle:
            return True
        if time.monotonic() < self._look_at:
            return False
        self._look_at = time.monotonic() + LOOK_S
        gate = Gate(least_s=max(Gate().least_s, self._plan.warmup_s))
        power = [
            (reading.at, reading.watts)
            for reading in self._metering.sampled[0].between(self._begun, now)
            if reading.watts is not None
        ]
        found = steadiness(now, self._begun, power=power, gate=gate)
        if found.warmth is Warmth.NOT_STEADY:
            self.unsettled = found.why
        return found.warmth is not Warmth.WARMING
