"""One connection to a place at a time, whichever thread or event loop wants it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from concurrent.futures import Future, InvalidStateError
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Hashable, Iterator

Turn = Future[None]  # done from when one may connect

_LOCK = threading.Lock()
_QUEUES: dict[Hashable, deque[Turn]] = {}  # the first in each has its turn


@contextmanager
def turn_at(place: Hashable, deadline: float) -> Iterator[None]:
    """Wait for the turn, until a time.monotonic() deadline, and hold it. Raises TimeoutError."""
    turn = Turn()
    try:
        _join(place, turn)
        turn.result(max(deadline - time.monotonic(), 0))
        yield
    finally:
        _leave(place, turn)


@asynccontextmanager
async def turn_at_async(place: Hashable) -> AsyncIterator[None]:
    """Wait for the turn without blocking the event loop, and hold it."""
    turn = Turn()
    try:
        _join(place, turn)
        if not turn.done():
            await asyncio.wrap_future(turn)
        yield
    finally:
        _leave(place, turn)


def _join(place: Hashable, turn: Turn) -> None:
    with _LOCK:
        queue = _QUEUES.setdefault(place, deque())
        queue.append(turn)
        if queue[0] is turn:
            turn.set_result(None)


def _leave(place: Hashable, turn: Turn) -> None:
    with _LOCK:
        queue = _QUEUES.get(place, deque())
        if turn in queue:  # else something interrupted before it joined
            queue.remove(turn)
            if not queue:
                del _QUEUES[place]
                return
            # It may have its turn; or be cancelled, and then it leaves in a moment.
            with suppress(InvalidStateError):
                queue[0].set_result(None)
