"""A question to a driver that may hang: an answer in time, or a fault."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

from hwkit.errors import DeviceTimeout

if TYPE_CHECKING:
    from collections.abc import Callable

DEADLINE_S = 4.5
T = TypeVar("T")


class Bounded:
    """Questions to one driver, each on a thread; while one hangs no other is asked."""

    def __init__(self, name: str, deadline_s: float = DEADLINE_S) -> None:
        """Name it as faults shall."""
        self._name = name
        self._deadline_s = deadline_s
        self._last: Future[object] | None = None

    def ask(self, question: Callable[[], T]) -> T:
        """Return what the function returns, or raise what it raises.

        Raises DeviceTimeout after the deadline, and for as long as an earlier question hangs.
        """
        if self._last is not None and not self._last.done():
            raise DeviceTimeout(f"{self._name}: its driver still hangs")
        future: Future[T] = Future()
        self._last = future  # type: ignore[assignment] # only asked whether it is done

        def work() -> None:
            try:
                future.set_result(question())
            except BaseException as error:  # noqa: BLE001 - the asker's to answer
                future.set_exception(error)

        # A daemon, as no executor's thread is: what hangs must not keep the program from ending.
        threading.Thread(target=work, name=f"{self._name} reader", daemon=True).start()
        try:
            return future.result(self._deadline_s)
        except TimeoutError as error:
            if future.done():  # the driver's own
                raise
            said = f"{self._name}: its driver did not answer within {self._deadline_s:g} s"
            raise DeviceTimeout(said) from error
