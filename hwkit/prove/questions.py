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
    from collections.abc import Callable, Iterable

    from hwkit.protocols import Kernel

ALL = Target(MAX_TARGET)
HALF = Target(MAX_TARGET >> 1)  # a wrong hash shows at every other nonce
QUARTER = Target(MAX_TARGET >> 2)  # dense enough for a hit in most steps of every width
SPARSE = Target(MAX_TARGET >> 6)
SELDOM = Target(MAX_TARGET >> 10)
WINDOW = 35  # around a mainnet nonce: more than two steps of the widest vector kernel
SIXTEEN = tuple(0x20000000 | number << 13 for number in range(16))  # as BIP 320 rolls them
FEW = 5  # nonces, where each is asked about with 16 versions: they are a step's lanes there
_LOW = (1 << 224) - 1  # all words of a hash but the top one
LONGEST = 1 << 20  # hashes that hwkit asks of a kernel in one call
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
        versions = f"{len(self.versions)} versions, " if self.versions else ""
        return (
            f"nonces {self.nonces.start:#x} to {self.nonces.stop:#x}, {versions}"
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
    return [
        Question(header, Target(value), nonces)
        for lane in sorted({*chosen, width - 1})
        for value in (hashes[lane], hashes[lane] - 1, hashes[lane] & ~_LOW, hashes[lane] | _LOW)
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
    header = _header("every target")
    nonces = range(5, 5 + 4 * min(kernel.lanes, MOST_LANES) + 3)
    return [Question(header, target, nonces) for target in _targets()]


def every_byte(kernel: Kernel) -> list[Question]:
    """Headers that differ in one byte: each byte must reach the hash, from its own place."""
    nonces = range(0x01020304, 0x01020304 + min(kernel.lanes, MOST_LANES) + 8)
    return [Question(header, QUARTER, nonces) for header in _changed_headers()]


def stretches(kernel: Kernel) -> list[Question]:
    """Long ranges of unlike headers with sparse hits: what mining looks like."""
    length = 4096 + 512 + kernel.lanes  # past the power of two by enough for some hits
    return [
        Question(_header(f"stretch {n}"), SPARSE, range(n * 0x10000001, n * 0x10000001 + length))
        for n in range(8)
    ]


def long_calls(kernel: Kernel) -> list[Question]:
    """As long as measuring asks, nonces only and rolled: faults may come late in a call, or rarely.

    Of a kernel that hashes one nonce at a time, which measuring asks for less, a quarter.
    """
    return _long_calls(LONGEST if kernel.lanes > 1 else LONGEST >> 2)


def versions(kernel: Kernel) -> list[Question]:
    """Rolled versions, as many and in whatever order: every hit with its version, in that order.

    Around 16, which a step may hash together, and around two steps; some that stand there twice,
    in one step or in two; and some that differ in one of their bytes only.
    """
    header = _header("versions")
    nonces = range(3, 3 + 2 * kernel.lanes + 1)
    numbers = [range(n) for n in (1, 2, 4, 15, 16, 17, 31, 32, 33)]
    some = [_rolled(among) for among in numbers]
    some += [sixteen[::-1] for sixteen in some[3:6]]
    twice = (n // 2 for n in range(16)), (n % 16 for n in range(20)), [7] * 16
    some += [_rolled(among) for among in twice]
    some += [tuple(0x20000000 ^ n << 8 * byte for n in range(3, 19)) for byte in range(4)]
    some += [tuple(0x20000000 ^ 1 << bit for bit in range(32)), _rolled([0, 1, 2, 0xFFFF])]
    return [
        Question(header, target, nonces, among) for target in (QUARTER, ALL) for among in some
    ] + [Question(header, ALL, range(NONCES - kernel.lanes - 1, NONCES), some[2])]


def every_version(_: Kernel) -> list[Question]:
    """At each of 16 places: a hash equal to the target is a hit, one above it by 1 is none.

    As with lanes, targets around the hash's top word ask whether the lower ones are looked at.
    """
    header, nonces = _header("every version"), range(1 << 31, (1 << 31) + FEW)
    questions = []
    for place, version in enumerate(SIXTEEN):
        prefix = version.to_bytes(4, "little") + header[4:76]
        value = _hashes(prefix, nonces)[place % FEW]
        limits = (value, value - 1, value & ~_LOW, value | _LOW)
        questions += [Question(header, Target(limit), nonces, SIXTEEN) for limit in limits]
    return questions


def version_overflow(kernel: Kernel) -> list[Question]:
    """More hits than one call returns, where a nonce has several: none of them is lost or repeated.

    Where all meet the target, 16 hits a nonce end at the end of most lists, 15 or 17 in the middle;
    where some do, lists end anywhere.
    """
    header, each = _header("version overflow"), max(1, kernel.capacity // 16)
    several = [(SIXTEEN, each), (SIXTEEN, each + 1)]
    several += [(_rolled(range(n)), each + each // 8 + 3) for n in (15, 17)]
    return [Question(header, ALL, range(9, 9 + length), some) for some, length in several] + [
        Question(header, target, range(9, 9 + 4 * each), SIXTEEN) for target in (HALF, QUARTER)
    ]


def rolled_work(_: Kernel) -> list[Question]:
    """What was asked of nonces above, of 16 versions of a few: other code may answer that.

    Headers of all eras at their own target, at their hash and below it, their version at each
    place; every target, every byte but the versions'; ends, counts, carries, and a longer stretch.
    """
    questions = []
    for number, raw in enumerate(tuple(mainnet_headers().values())[::32]):
        own, nonce = (int.from_bytes(raw[at : at + 4], "little") for at in (0, 76))
        first = min(max(0, nonce - number % FEW), NONCES - FEW)
        among = tuple(own ^ (n ^ number % 16) << 13 for n in range(16))
        value = int.from_bytes(sha256d(raw), "little")
        of_its_own = Target.from_nbits(int.from_bytes(raw[72:76], "little"))
        nonces, targets = range(first, first + FEW), (of_its_own, Target(value), Target(value - 1))
        questions += [Question(raw, target, nonces, among) for target in targets]
    header, nonces = _header("rolled work"), range(0x01020304, 0x01020304 + FEW)
    questions += [Question(header, target, nonces, SIXTEEN) for target in _targets()]
    questions += [Question(each, QUARTER, nonces, SIXTEEN) for each in _changed_headers()[4:]]
    for count in range(2 * FEW):
        edges = (range(count), range(NONCES - count, NONCES))
        questions += [Question(header, ALL, edge, SIXTEEN) for edge in edges]
    for bit in (8, 16, 24, 31):
        edge = range((1 << bit) - FEW, (1 << bit) + FEW)
        questions.append(Question(header, HALF, edge, SIXTEEN))
    return [*questions, Question(header, SPARSE, range(1000, 1300), SIXTEEN)]


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
    "long calls": long_calls,
    "versions": versions,
    "every version": every_version,
    "version overflow": version_overflow,
    "rolled work": rolled_work,
}


def _long_calls(hashes: int) -> list[Question]:
    header, first = _header("long call"), 1 << 30
    return [
        Question(header, SELDOM, range(first, first + hashes)),
        Question(header, SELDOM, range(first, first + hashes // 16), SIXTEEN),
    ]


def digest(hits: Iterable[Hit]) -> str:
    """Return SHA-256 over hits in their order, eight little-endian bytes each, in hex."""
    packed = b"".join(
        hit.nonce.to_bytes(4, "little") + hit.version.to_bytes(4, "little") for hit in hits
    )
    return hashlib.sha256(packed).hexdigest()


def _targets() -> list[Target]:
    values = [0, 1, MAX_TARGET]
    for bit in (31, 32, 63, 64, 191, 192, 223, 224, 225, 247, 248, 254, 255):
        values += [(1 << bit) - 1, 1 << bit, (1 << bit) + 1]
    return [Target(value) for value in values]


def _changed_headers() -> list[bytes]:
    """Return headers that differ from one another in one byte, of which each is changed once."""
    header = _header("every byte")
    return [
        header[:at] + bytes([header[at] ^ 0xFF]) + header[at + 1 :] for at in range(len(header) - 4)
    ]


def _rolled(numbers: Iterable[int]) -> tuple[int, ...]:
    """Return versions as BIP 320 rolls them."""
    return tuple(0x20000000 | number << 13 for number in numbers)


def _header(name: str) -> bytes:
    """Return 80 bytes that look random and follow from a name."""
    seed = hashlib.sha512(name.encode()).digest()
    return seed + hashlib.sha256(seed).digest()[:16]


MINED = Question(_header("mined"), Target(MAX_TARGET >> 14), range(1 << 31, (1 << 31) + (1 << 24)))
ROLLED = replace(MINED, nonces=MINED.nonces[: 1 << 18], versions=SIXTEEN)

# What the reference answers to long calls, as a digest: it takes seconds.
ANSWERED = dict(
    zip(
        _long_calls(LONGEST >> 2) + _long_calls(LONGEST),
        (
            "90d20443f116942d36ad41fafed34d8a7bd03f2486fdcf24410c6fa3cd5ba213",
            "9f740d0ea45ca6be0b939ef8e9ef3803d4e21f90e04f18fffa0a7adc1ec6b389",
            "4c9ca59b8b4d2be99fb0ce622edb702751cf124da0df45b82a5d5d5bcb0f1ddc",
            "3b3d5a6f1456a62e68bdf7440c41d5a31321d9f6c15ae11ee5ff10a5c306f894",
        ),
        strict=True,
    )
)

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
