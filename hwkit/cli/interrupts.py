"""Ctrl-C and its like, from a command's first import to its last line."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_heard = threading.Event()


def listen() -> None:
    """Raise KeyboardInterrupt on SIGINT from now on, also where our shell has had it ignored."""
    _heard.clear()
    signal.signal(signal.SIGINT, _interrupt)


def heard() -> bool:
    """Tell whether SIGINT came since listen(): imports lose what is raised in their callbacks."""
    return _heard.is_set()


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    _heard.set()
    raise KeyboardInterrupt


def ending_signals() -> list[signal.Signals]:
    """Return the signals that end a command in order; SIGHUP, unless nohup has it ignored."""
    found = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        found.append(signal.SIGHUP)  # a closed terminal, a lost connection
    return found


@contextmanager
def until_interrupted() -> Iterator[threading.Event]:
    """Yield an event that the first SIGINT, SIGTERM or SIGHUP sets; a second one ends the process.

    But no SIGHUP does: a terminal that closes sends one, and its shell another. What nohup ignores
    stays ignored. Raises KeyboardInterrupt where SIGINT came before and was lost.
    """
    stop = threading.Event()

    def handle(number: int, _: FrameType | None) -> None:
        if stop.is_set() and number in {signal.SIGINT, signal.SIGTERM}:
            os._exit(128 + number)
        stop.set()

    before = {number: signal.signal(number, handle) for number in ending_signals()}
    try:
        if heard():
            raise KeyboardInterrupt
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
