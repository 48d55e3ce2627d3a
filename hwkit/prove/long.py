"""Long calls: a device is asked for a second of work at once, as no short question does."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hwkit.prove import Check
from hwkit.work import MAX_TARGET, NONCES, Target

if TYPE_CHECKING:
    import random

    from hwkit.protocols import Kernel

HITS = 4096  # expected: their number alone shows a loss of 8 %
SURE_Z = 5.0  # by chance once in two million calls
STRETCHES, LONGEST = 32, 1 << 20


def long_call(
    kernel: Kernel, other: Kernel, header: bytes, nonces: int, draw: random.Random
) -> Check:
    """Ask for so many nonces in one call: is the number of hits right, and are they complete?

    Stretches of it, drawn after the answer, are scanned again by another kernel, which is proven.
    """
    nonces = min(max(nonces, HITS), NONCES)
    target = Target(min(MAX_TARGET, (1 << 256) * HITS // nonces))
    try:
        found = [hit.nonce for hit in kernel.scan(header, target, range(nonces))]
    except Exception as error:  # noqa: BLE001 - no answer is a wrong answer, whatever the reason
        return Check("one long call", 1, f"no answer, but {type(error).__name__}: {error}")
    expected = float(nonces / target.work)
    if abs(len(found) - expected) > SURE_Z * math.sqrt(expected):
        fault = f"{len(found)} hits among {nonces} nonces, where {expected:.0f} are expected"
        return Check("one long call", 1, fault)
    length = min(max(nonces // (2 * STRETCHES), 1), LONGEST)
    for asked in range(STRETCHES):
        first = draw.randrange(nonces - length + 1)
        stretch = range(first, first + length)
        there = {nonce for nonce in found if nonce in stretch}
        right = {hit.nonce for hit in other.scan(header, target, stretch)}
        if differ := sorted(there ^ right):
            what = "missed" if differ[0] in right else "reported without cause"
            fault = f"{nonces} nonces: nonce {differ[0]:#010x} {what}"
            return Check("one long call", 1 + asked, fault, differ[0])
    return Check("one long call", 1 + STRETCHES)
