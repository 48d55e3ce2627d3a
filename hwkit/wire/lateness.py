"""How late a loop comes to what is due: what it reads meanwhile looks as if it had come at once."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from hwkit.protocols import Probe

if TYPE_CHECKING:
    import asyncio

PERIOD_S = 0.25
ROUNDED_S = 0.001  # asyncio's timers go by whole milliseconds, what arrives does not wait for them
MOST = 4096  # that wait to be taken: a quarter of an hour's


class Lateness:
    """Looks now and then at a loop's own timer; each look says little, many say how often."""

    def __init__(self) -> None:
        """Nothing is looked at yet."""
        self._looks: deque[Probe] = deque(maxlen=MOST)

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look from now on, on the loop's own thread, for as long as it runs."""
        due = loop.time() + PERIOD_S
        loop.call_at(due, self._look, loop, due)

    def take(self) -> list[Probe]:
        """Return what was seen since the last call: by how many seconds it was late, each time."""
        return [self._looks.popleft() for _ in range(len(self._looks))]

    def _look(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        late_s = max(loop.time() - due - ROUNDED_S, 0.0)
        self._looks.append(Probe(time.monotonic_ns(), "pool_late_s", late_s))
        self.begin(loop)
