"""What a kernel is asked, and why: each check is a list of questions chosen for one way to fail."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from hwkit.protocols import Hit
from hwkit.sha256d import sha256d
from hwkit.vectors import mainnet_headers
from hwkit.work import MAX_TARGET, NONCES, Target

if TYPE_CHECKING:
    from collections.abc import Callable

    from hwkit.protocols import Kernel

ALL = Target(MAX_TARGET)
HALF = Target(MAX_TARGET >> 1)  # a wrong hash shows at every other nonce
QUARTER = Target(MAX_TARGET >> 2)  # dense enough for a hit in most steps of every width
SPARSE = Target(MAX_TARGET >> 6)
WINDOW = 35  # around a mainnet nonce: more than two steps of the widest vector kernel
MOST_LANES = 64  # of a very wide kernel (a GPU's launch) so many lanes are looked at one by one


@dataclass(frozen=True, slots=True)
class Question:
    """Which of these nonces of this header meet the target?"""

    header: bytes
    target: Target
    nonces: range
    versions: tuple[int, ...] = ()

    def __str__(self) -> str:
        """Say where in the nonce space, and how hard."""
        return (
            f"nonces {self.nonces.start:#x} to {self.nonces.stop:#x}, "
            f"target {self.target.value:064x}, header {self.header[:76].hex()[:16]}..."
        )


def answer(question: Question) -> tuple[Hit, ...]:
    """Return the reference's answer: every hit, in order."""
    header, limit = question.header, question.target.value
    versions = question.versions or (int.from_bytes(header[:4], "little"),)
    by_version = [
        _hashes(version.to_bytes(4, "little") + header[4:76], question.nonces)
        for version in versions
    ]
    return tuple(
        Hit(nonce, version)
        for nonce, *hashes in zip(question.nonces, *by_version, strict=True)
        for version, value in zip(versions, hashes, strict=True)
        if value <= limit
    )


@lru_cache(maxsize=1 << 14)
def _hashes(prefix: bytes, nonces: range) -> tuple[int, ...]:
    """Return every hash as a number. Kept: all kernels of a machine are asked the same."""
    return tuple(
        int.from_bytes(sha256d(prefix + nonce.to_bytes(4, "little")), "little") for nonce in nonces
    )


def mainnet(_: Kernel) -> list[Question]:
    """Real headers of all eras: each nonce, in any lane, is found at its own header's target."""
    questions = []
    for number, raw in enumerate(mainnet_headers().values()):
        nonce = int.from_bytes(raw[76:], "little")
        first = min(max(0, nonce - number % WINDOW), NONCES - WINDOW)
        target = Target.from_nbits(int.from_bytes(raw[72:76], "little"))
        questions.append(Question(raw, target, range(first, first + WINDOW)))
    return questions


def hard(kernel: Kernel) -> list[Question]:
    """Mainnet's hashes, with many zeros, at targets equal to them and below them by 1: no hit.

    Whoever looks at the zeros only, at difficulties where a hit is too rare to be seen in a test,
    gives an answer here.
    """
    questions = []
    for question in mainnet(kernel)[::16]:
        value = int.from_bytes(sha256d(question.header), "little")
        questions += [replace(question, target=Target(value - below)) for below in (0, 1)]
    return questions


def counts(kernel: Kernel) -> list[Question]:
    """Lengths that end before, at and after a step's edge, from aligned and odd starts on."""
    lanes = kernel.lanes
    lengths = sorted({0, 1, lanes - 1, lanes, lanes + 1, 2 * lanes + 1})
    return [
        Question(_header("counts"), target, range(first, first + length))
        for target in (QUARTER, ALL)
        for first in (0, 0x1234567, 1 << 31)
        for length in lengths
    ]


def ends(kernel: Kernel) -> list[Question]:
    """The first and the last nonce there are, alone and at the end of partial steps."""
    header, lanes = _header("ends"), kernel.lanes
    lengths = (1, lanes, lanes + 1, 2 * lanes + 1)
    return [Question(header, ALL, range(n)) for n in lengths] + [
        Question(header, target, range(NONCES - n, NONCES))
        for n in lengths
        for target in (ALL, QUARTER)
    ]


def carries(kernel: Kernel) -> list[Question]:
    """Across every byte of the nonce that carries into the next, and across the sign bit."""
    length = 2 * kernel.lanes + 16
    return [
        Question(_header("carries"), HALF, range(edge - kernel.lanes - 1, edge + length))
        for edge in (1 << 8, 1 << 16, 1 << 24, 1 << 31)
        if edge > kernel.lanes
    ]


def lanes(kernel: Kernel) -> list[Question]:
    """In each lane: a hash equal to the target is a hit, one above it by 1 is none.

    Targets just around the hash's top word ask whether the lower words are looked at too.
    """
    header, width = _header("lanes"), kernel.lanes
    first = 0xABCDEF00
    nonces = range(first, first + width)
    hashes = _hashes(header[:76], nonces)
    chosen = range(0, width, max(1, width // MOST_LANES))
    low = (1 << 224) - 1
    return [
        Question(header, Target(value), nonces)
        for lane in sorted({*chosen, width - 1})
        for value in (hashes[lane], hashes[lane] - 1, hashes[lane] & ~low, hashes[lane] | low)
    ]


def pairs(kernel: Kernel) -> list[Question]:
    """Exactly two hits in one step, at many distances, one of them equal to the target."""
    width = max(2, kernel.lanes)
    questions = []
    for number in range(32):
        header = _header(f"pairs {number}")
        nonces = range(number * width, (number + 1) * width)
        second = sorted(_hashes(header[:76], nonces))[1]
        questions.append(Question(header, Target(second), nonces))
    return questions


def overflow(kernel: Kernel) -> list[Question]:
    """More hits than one call returns: nothing may be lost at the seam."""
    header, capacity = _header("overflow"), kernel.capacity
    lengths = (capacity - 1, capacity, capacity + 1, 2 * capacity + kernel.lanes + 1)
    return [Question(header, ALL, range(7, 7 + length)) for length in lengths] + [
        Question(header, QUARTER, range(4 * capacity + 4 * kernel.lanes))
    ]


def every_target(kernel: Kernel) -> list[Question]:
    """From 0 to 2^256 - 1, over the values at which a signed or partial comparison turns wrong."""
    values = [0, 1, MAX_TARGET]
    for bit in (31, 32, 63, 64, 191, 192, 223, 224, 225, 247, 248, 254, 255):
        values += [(1 << bit) - 1, 1 << bit, (1 << bit) + 1]
    header = _header("every target")
    nonces = range(5, 5 + 4 * min(kernel.lanes, MOST_LANES) + 3)
    return [Question(header, Target(value), nonces) for value in values]


def every_byte(kernel: Kernel) -> list[Question]:
    """Headers that differ in one byte: each byte must reach the hash, from its own place."""
    header = _header("every byte")
    return [
        Question(
            header[:at] + bytes([header[at] ^ 0xFF]) + header[at + 1 :],
            QUARTER,
            range(0x01020304, 0x01020304 + min(kernel.lanes, MOST_LANES) + 8),
        )
        for at in range(76)
    ]


def stretches(kernel: Kernel) -> list[Question]:
    """Long ranges of unlike headers with sparse hits: what mining looks like."""
    length = 4096 + 512 + kernel.lanes  # past the power of two by enough for some hits
    return [
        Question(_header(f"stretch {n}"), SPARSE, range(n * 0x10000001, n * 0x10000001 + length))
        for n in range(8)
    ]


def versions(kernel: Kernel) -> list[Question]:
    """Rolled versions: every hit with its version, in order, more than fit in one call, too."""
    header = _header("versions")
    nonces = range(3, 3 + 2 * kernel.lanes + 1)
    last = range(NONCES - kernel.lanes - 1, NONCES)
    many = range(1 + kernel.capacity // 4)
    rolled = tuple(0x20000000 | n << 13 for n in (0, 1, 2, 0xFFFF))
    return [
        Question(header, target, nonces, some)
        for target in (QUARTER, ALL)
        for some in (rolled[:1], rolled, rolled[::-1])
    ] + [Question(header, ALL, nonces, rolled) for nonces in (last, many)]


CHECKS: dict[str, Callable[[Kernel], list[Question]]] = {
    "mainnet headers": mainnet,
    "hard targets": hard,
    "counts": counts,
    "ends of the nonce space": ends,
    "carries": carries,
    "every lane": lanes,
    "two hits in a step": pairs,
    "result overflow": overflow,
    "every target": every_target,
    "every header byte": every_byte,
    "stretches": stretches,
    "versions": versions,
}


def _header(name: str) -> bytes:
    """Return 80 bytes that look random and follow from a name."""
    seed = hashlib.sha512(name.encode()).digest()
    return seed + hashlib.sha256(seed).digest()[:16]


MINED = Question(_header("mined"), Target(MAX_TARGET >> 14), range(1 << 31, (1 << 31) + (1 << 24)))

SENSELESS = (
    Question(_header("senseless"), QUARTER, range(NONCES - 1, NONCES + 1)),
    Question(_header("senseless"), QUARTER, range(-1, 1)),
    Question(_header("senseless"), QUARTER, range(0, 8, 2)),
    Question(_header("senseless"), QUARTER, range(8, 0, -1)),
    Question(_header("senseless")[:79], QUARTER, range(8)),
    Question(_header("senseless") + b"\0", QUARTER, range(8)),
    Question(_header("senseless"), QUARTER, range(8), (1 << 32,)),
    Question(_header("senseless"), QUARTER, range(8), (0x20000000, -1)),
)
