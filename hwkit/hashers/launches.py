"""Launches of a kernel on a device: two in flight, of a length that suits, and no hit is lost."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

CAPACITY = 1024  # candidates that a launch has room for
LAUNCH_NS = 60_000_000  # short of any watchdog, and long beside what it costs to launch
GROWTH = 8
MOST = 1 << 30  # nonces in a launch: with what a work group adds they are counted in 32 bits
ALIVE_S = 0.1


class Slot(Protocol):
    """A kernel with its arguments, and where its candidates go: CAPACITY of them."""

    def launch(self, known: Sequence[int], top: int, first: int, count: int) -> None:
        """Have the device begin, and do not wait."""

    def result(self) -> tuple[list[int] | None, int]:
        """Wait; return the candidates, None where they are too many, and the launch's ns."""
        ...


class Launches:
    """The launches that a question takes."""

    def __init__(self, slots: Sequence[Slot], least: int) -> None:
        """Take two or more slots: one's hits are read while the other works.

        `least` nonces are in a launch, but for a last one.
        """
        self._slots = deque(slots)
        self._least = self._per_launch = least
        self._ns = 0

    def scan(
        self,
        headers: Sequence[Sequence[int]],
        top: int,
        first: int,
        count: int,
        alive: Callable[[], None],
    ) -> tuple[list[list[int]], int]:
        """Return the candidates of each header, given as its uniforms, and the device's ns."""
        self._ns = 0
        found = [self._candidates(known, top, first, count, alive) for known in headers]
        return found, self._ns

    def _candidates(
        self, known: Sequence[int], top: int, first: int, count: int, alive: Callable[[], None]
    ) -> list[int]:
        found: list[int] = []
        flying: deque[tuple[Slot, int, int, int]] = deque()
        said = time.monotonic()
        fits = max(1, (CAPACITY << 32) // (2 * (top + 1)))  # nonces, with candidates as expected

        def land() -> None:
            nonlocal said
            if time.monotonic() - said > ALIVE_S:
                alive()
                said = time.monotonic()
            slot, start, number, began_ns = flying.popleft()
            candidates, took_ns = slot.result()
            wall_ns = time.monotonic_ns() - began_ns
            self._ns += took_ns
            if candidates is None:  # more than there was room for: ask again, in pieces that fit
                for at in range(start, start + number, CAPACITY):
                    piece = min(CAPACITY, start + number - at)
                    slot.launch(known, top, at, piece)
                    candidates, took_ns = slot.result()
                    self._ns += took_ns
                    found.extend(candidates or ())
            else:
                found.extend(candidates)
                # By the wall's clock too, or a device whose own stands still would never come back.
                ideal = number * LAUNCH_NS // max(took_ns, wall_ns // (2 * len(self._slots)), 1)
                self._per_launch = min(max(ideal, self._least), self._per_launch * GROWTH, MOST)

        for start, number in self._pieces(first, count, fits):
            if len(flying) == len(self._slots):
                land()
            self._slots.rotate()
            flying.append((self._slots[0], start, number, time.monotonic_ns()))
            self._slots[0].launch(known, top, start, number)
        while flying:
            land()
        return found

    def _pieces(self, first: int, count: int, most: int) -> Iterator[tuple[int, int]]:
        while count:
            number = min(count, self._per_launch, most)
            yield first, number
            first, count = first + number, count - number
