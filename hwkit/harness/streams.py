"""Power over time as pieces of straight lines, with holes where nothing is known."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Piece(NamedTuple):
    """Power between two readings: a straight line from p0 at t0 to p1 at t1 (seconds, watts)."""

    t0: float
    t1: float
    p0: float
    p1: float

    def energy(self, a: float, b: float) -> float:
        """Return joules between a and b, which lie within."""
        slope = (self.p1 - self.p0) / (self.t1 - self.t0)
        return (b - a) * (self.p0 + slope * ((a + b) / 2 - self.t0))


@dataclass(frozen=True, slots=True)
class Stream:
    """All that one quantity, power or counter, says of the energy; holes are where it is silent."""

    pieces: Sequence[Piece]
    step: float = 0.0  # of a reading: watts, or joules of a counter
    peak_w: float = 0.0  # the largest power that it shows

    def between(self, a: float, b: float) -> list[tuple[int, float, float]]:
        """Return the numbers of the pieces between a and b, with where each begins and ends."""
        first = bisect_right(self.pieces, a, key=lambda piece: piece.t1)
        last = bisect_left(self.pieces, b, key=lambda piece: piece.t0)
        found = [(number, *self.pieces[number][:2]) for number in range(first, last)]
        if found:  # only the outer two can reach beyond
            number, start, end = found[0]
            found[0] = (number, max(a, start), end)
            number, start, end = found[-1]
            found[-1] = (number, start, min(b, end))
        return found

    def energy(self, a: float, b: float) -> float:
        """Return the joules that its pieces hold between a and b."""
        return sum(self.pieces[number].energy(s, e) for number, s, e in self.between(a, b))

    def covered(self, a: float, b: float) -> list[tuple[float, float]]:
        """Return the stretches between a and b that it says something of."""
        return merged((start, end) for _, start, end in self.between(a, b))

    def beside(self, a: float, b: float) -> list[float]:
        """Return the power last told before a and first told after b, those that there are."""
        before = bisect_right(self.pieces, a, key=lambda piece: piece.t1)
        after = bisect_left(self.pieces, b, key=lambda piece: piece.t0)
        return [piece.p1 for piece in self.pieces[max(before - 1, 0) : before]] + [
            piece.p0 for piece in self.pieces[after : after + 1]
        ]


def merged(stretches: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Join stretches, in order, where one begins where another ends."""
    found: list[tuple[float, float]] = []
    for start, end in stretches:
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found


def holes(
    stretches: Iterable[tuple[float, float]], a: float, b: float
) -> list[tuple[float, float]]:
    """Return what the stretches, in order, leave of a to b."""
    edges = [a, *(edge for stretch in stretches for edge in stretch), b]
    return [(start, end) for start, end in zip(edges[::2], edges[1::2], strict=True) if end > start]
