"""Around a metered run: the idle device before and after, when it has settled, what is absurd."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from hwkit.errors import PlanError
from hwkit.harness.result import doubted
from hwkit.harness.steady import Gate, Warmth, steadiness

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hwkit.harness.entry import Entry
    from hwkit.harness.metering import Sight
    from hwkit.harness.plan import Plan
    from hwkit.protocols import Probe

LOOK_S = 1.0
STEP_S = 0.05


class Watch:
    """What the meters are watched for beside the joules of a run, of one device or of a group."""

    def __init__(
        self,
        sight: Sight,
        plan: Plan,
        stopped: Callable[[], bool],
        entries: Sequence[Entry] = (),
    ) -> None:
        """Take the meters, which are open; the run begins when all the entries work."""
        self._sight = sight
        self._plan = plan
        self._stopped = stopped
        self._entries = entries
        self._working: set[int] = set()
        self._lock = threading.Lock()  # each of a group has its own thread
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
        lag_ns = round(self._sight.lag_s * 1e9)
        began = time.monotonic_ns() + lag_ns
        ends = began + round(self._plan.idle_s * 1e9)
        while time.monotonic_ns() < ends + lag_ns:
            if self._stopped():
                return []
            beside()
            time.sleep(STEP_S)
        return [(began, ends)]

    def ready(self, entry: Entry | None = None) -> bool:
        """May the first window open? Asked while the device works.

        Raises PlanError for readings that cannot be, unless they are confirmed.
        """
        with self._lock:
            if entry is not None:
                entry.probe()
                if entry.warms_up:
                    self._working.add(entry.number)
            if self.why:
                return True  # another of the group has failed: nobody is to wait for it
            if len(self._working) < len(self._entries):
                return False
            if not self._settled and self._has_settled():
                self._settled = True
                self._refuse_absurd()
            self._opened = self._opened or (self._settled and self._sight.edge())
            return self._opened

    def over(self, why: str | None, closed: int) -> bool:
        """Take why enough was measured, or None; is it read at its end, too, when a window closed?

        What a person reads after it (monotonic ns), before the next one: that one is wanted, too.
        """
        with self._lock:
            self.why = self.why or why
            self._ended = self._ended or (self.why is not None and self._sight.edge())
            return self._ended and self._sight.by_hand_at <= closed

    def _has_settled(self) -> bool:
        now = time.monotonic_ns()
        self._begun = self._begun or now
        spent_s = (now - self._begun) / 1e9
        if spent_s < max(self._plan.warmup_s, self._sight.lag_s):
            return False
        if not self._plan.settle:
            return True
        if time.monotonic() < self._look_at:
            return False
        self._look_at = time.monotonic() + LOOK_S
        gate = Gate(least_s=max(Gate().least_s, self._plan.warmup_s))
        found = steadiness(
            now, self._begun, power=self._power(now), hottest=self._hottest(), gate=gate
        )
        if found.warmth is Warmth.NOT_STEADY:
            self.unsettled = found.why
        return found.warmth is not Warmth.WARMING

    def _power(self, now: int) -> list[tuple[int, float]]:
        """Return the power of the first sum: at each reading, with the last of its other meters."""
        names = {each.spec.name: each for each in self._sight.sampled}
        if not names:
            return []
        total = self._entries[0].wiring.sums[0] if self._entries else ((1, next(iter(names))),)
        since = max(self._begun or now, now - round(Gate().trailing_s * 1e9))
        watts = sorted(
            (reading.at, name, sign * reading.watts)
            for sign, name in total
            for reading in names[name].between(since, now)
            if reading.watts is not None
        )
        powered = len({name for _, name, _ in watts})
        last: dict[str, float] = {}
        found = []
        for at, name, value in watts:
            last[name] = value
            if len(last) == powered:
                found.append((at, sum(last.values())))
        return found

    def _hottest(self) -> list[tuple[int, float]]:
        """Return the temperatures of the device that is hottest now."""

        def seen(probes: Sequence[Probe]) -> list[tuple[int, float]]:
            return [
                (each.at, each.value)
                for each in probes
                if each.name == "temperature_c"
                and each.value is not None
                and each.at >= (self._begun or 0)
            ]

        found = [temperatures for each in self._entries if (temperatures := seen(each.probes))]
        return max(found, key=lambda temperatures: temperatures[-1][1], default=[])

    def _refuse_absurd(self) -> None:
        if not self._entries or self._entries[0].confirmed:
            return
        entry, now = self._entries[0], time.monotonic_ns()
        metered = [(each.spec, each.between(entry.readings_from, now)) for each in entry.sampled]
        nominal_v = entry.surroundings.typed.get("mains_v")
        for doubt in doubted(metered, entry.wiring, self._begun or now, now, nominal_v):
            if doubt.refuse:
                advice = "look at wiring, scale and profile, or --confirm that it is so"
                raise PlanError(f"{doubt.text}: {advice}")
