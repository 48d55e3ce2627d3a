"""Work: targets, headers, jobs and the shares that answer them.

Byte strings are in the order in which Bitcoin hashes them; a hash read as a number is
little-endian, and meets a target when it is at most the target.
"""

from __future__ import annotations

import hashlib
import math
import struct
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Self

from hwkit.errors import PlanError
from hwkit.sha256d import sha256d

NONCES = 1 << 32
MAX_TARGET = (1 << 256) - 1
DIFFICULTY_1 = 0xFFFF << 208  # the target of difficulty 1
ROLLABLE_VERSION_BITS = 0x1FFFE000  # BIP 320
VERSION_GROUP = 16  # versions rolled together: lanes of the widest vectors that processors have
_HEADER = struct.Struct("<I32s32sIII")
CHALLENGE_LIMIT = 80  # bytes: what OP_RETURN outputs carried by standard rules


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """The largest hash that counts, as a number from 0 (nothing meets it) to 2^256 - 1 (all do)."""

    value: int

    def __post_init__(self) -> None:
        """Refuse what is not a 256-bit number."""
        if not 0 <= self.value <= MAX_TARGET:
            raise PlanError(f"target {self.value:#x} is not a 256-bit number")

    @classmethod
    def from_nbits(cls, nbits: int) -> Self:
        """Return the target that a header's compact nBits stand for.

        Raises PlanError where consensus refuses them: negative, overflowing or zero (Bitcoin Core,
        arith_uint256::SetCompact and CheckProofOfWork).
        """
        if not 0 <= nbits < 1 << 32:
            raise PlanError(f"nBits {nbits:#x} is not a 32-bit number")
        size, word = nbits >> 24, nbits & 0x7FFFFF
        value = word >> 8 * (3 - size) if size <= 3 else word << 8 * (size - 3)
        # As consensus has it, the sign counts unless the mantissa is 0 after its shift.
        shifted = value if size <= 3 else word
        if shifted and nbits & 0x800000:
            raise PlanError(f"nBits {nbits:#010x} stand for a negative target")
        if value > MAX_TARGET:
            raise PlanError(f"nBits {nbits:#010x} stand for a target above 2^256 - 1")
        if value == 0:
            raise PlanError(f"nBits {nbits:#010x} stand for a target of 0")
        return cls(value)

    def to_nbits(self) -> int:
        """Return the compact form, which keeps the target's top 23 or 24 bits (GetCompact)."""
        size = (self.value.bit_length() + 7) // 8
        word = self.value << 8 * (3 - size) if size <= 3 else self.value >> 8 * (size - 3)
        if word & 0x800000:  # that bit is the sign
            word, size = word >> 8, size + 1
        return size << 24 | word

    @classmethod
    def from_difficulty(cls, difficulty: float | Fraction) -> Self:
        """Return the largest target of at least this difficulty, computed without rounding.

        Difficulty 1 is 0xffff << 208. Raises PlanError below 2^-32, above what leaves a target, and
        for what is no number.
        """
        # Compared, not asked for its finiteness: a Fraction beyond float's range has none to ask.
        if not Fraction(1, NONCES) <= difficulty < math.inf:
            raise PlanError("a difficulty is a number from 2^-32 up")
        value = math.floor(DIFFICULTY_1 / Fraction(difficulty))
        if value == 0:
            raise PlanError(f"a difficulty above {DIFFICULTY_1:.3e} leaves nothing to meet")
        return cls(value)

    @property
    def difficulty(self) -> Fraction:
        """How many times harder than difficulty 1, exactly. Raises PlanError for target 0."""
        if self.value == 0:
            raise PlanError("target 0 has no difficulty: nothing meets it")
        return Fraction(DIFFICULTY_1, self.value)

    @property
    def work(self) -> Fraction:
        """Hashes that one hit stands for on average: 2^256 / (target + 1)."""
        return Fraction(MAX_TARGET + 1, self.value + 1)

    def to_bytes(self) -> bytes:
        """Return 32 bytes, little-endian as a hash is."""
        return self.value.to_bytes(32, "little")

    def is_met_by(self, digest: bytes) -> bool:
        """Is this 32-byte hash at most the target?"""
        return int.from_bytes(digest, "little") <= self.value


@dataclass(frozen=True, slots=True)
class Header:
    """A block header, 80 bytes on the wire."""

    version: int
    prev_hash: bytes
    merkle_root: bytes
    ntime: int
    nbits: int
    nonce: int

    def pack(self) -> bytes:
        """Return the 80 bytes. Raises PlanError for a field that does not fit."""
        if len(self.prev_hash) != 32 or len(self.merkle_root) != 32:
            raise PlanError("a header's previous hash and merkle root are 32 bytes each")
        try:
            return _HEADER.pack(
                self.version,
                self.prev_hash,
                self.merkle_root,
                self.ntime,
                self.nbits,
                self.nonce,
            )
        except struct.error as error:
            raise PlanError(f"a header field is not a 32-bit number: {self}") from error

    @classmethod
    def unpack(cls, raw: bytes) -> Self:
        """Read 80 bytes. Raises PlanError for any other length."""
        if len(raw) != 80:
            raise PlanError(f"a header is 80 bytes, not {len(raw)}")
        return cls(*_HEADER.unpack(raw))

    @classmethod
    def from_hex(cls, text: str) -> Self:
        """Read 160 hex digits. Raises PlanError for anything else."""
        try:
            raw = bytes.fromhex(text)
        except ValueError as error:
            raise PlanError(f"a header is 160 hex digits: {error}") from error
        return cls.unpack(raw)

    @property
    def hash(self) -> bytes:
        """SHA256d of the 80 bytes."""
        return sha256d(self.pack())

    @property
    def is_proven(self) -> bool:
        """Does the hash meet the target that the header's own nBits name, if they name one?"""
        try:
            target = Target.from_nbits(self.nbits)
        except PlanError:
            return False
        return target.is_met_by(self.hash)


@dataclass(frozen=True, slots=True)
class Share:
    """An answer to a job: everything that was rolled to reach it."""

    serial: int
    extranonce2: bytes
    ntime: int
    version: int
    nonce: int


@dataclass(frozen=True, slots=True)
class Job:
    """A Stratum-shaped template from which every header of a run can be derived again.

    The coinbase is coinbase1, serial (4 bytes, little-endian), extranonce1, extranonce2, coinbase2:
    on the wire coinbase1 and serial go together. `target` is what a share must meet. A job is never
    a possible block: its previous hash is no block's, and its coinbase pays nobody.
    """

    prev_hash: bytes
    coinbase1: bytes
    coinbase2: bytes
    extranonce1: bytes
    extranonce2_size: int
    branch: tuple[bytes, ...]
    version: int
    version_mask: int
    nbits: int
    ntime: int
    target: Target
    serial: int = 0
    version_rolling: bool = False  # ask about each nonce with a whole group of versions

    def __post_init__(self) -> None:
        """Raise PlanError where versions are to be rolled and the mask allows no whole group."""
        if self.version_rolling and not self.version_groups:
            raise PlanError(f"a mask of {self.version_mask:#010x} leaves no versions to roll")

    @classmethod
    def create(
        cls,
        *,
        seed: bytes,
        ntime: int,
        target: Target,
        challenge: str | None = None,
        beacon: Header | None = None,
        version_rolling: bool = False,
        extranonce2_size: int = 8,
    ) -> Self:
        """Return the job that follows from a seed, with the challenge and beacon in its coinbase.

        Shares of it were made after both were chosen. Raises PlanError for a challenge longer than
        80 bytes of UTF-8, and for a beacon that is not a mined header or is younger than the job.
        """
        marks = []
        if challenge is not None:
            marks.append(_utf8(challenge, "challenge"))
            if not 0 < len(marks[0]) <= CHALLENGE_LIMIT:
                raise PlanError(f"a challenge is 1 to {CHALLENGE_LIMIT} bytes, not {len(marks[0])}")
        if beacon is not None:
            if not beacon.is_proven:
                raise PlanError("the beacon's hash does not meet its own nBits: no mined header")
            if Target.from_nbits(beacon.nbits).value > DIFFICULTY_1:
                raise PlanError("the beacon is easier than difficulty 1: no mainnet header is")
            if beacon.ntime > ntime + 7200:
                raise PlanError("the beacon is over two hours younger than this machine's clock")
            marks.append(beacon.pack())
        extranonce1 = _derive(seed, "extranonce1")[:4]
        unique = 4 + len(extranonce1) + extranonce2_size
        script = _push(b"hwkit") + bytes([unique])
        outputs = [_unspendable(mark) for mark in marks or [b"hwkit: pays nobody"]]
        return cls(
            prev_hash=_derive(seed, "previous hash"),
            coinbase1=struct.pack("<IB32sIB", 1, 1, bytes(32), 0xFFFFFFFF, len(script) + unique)
            + script,
            coinbase2=struct.pack("<IB", 0xFFFFFFFF, len(outputs)) + b"".join(outputs) + bytes(4),
            extranonce1=extranonce1,
            extranonce2_size=extranonce2_size,
            branch=(_derive(seed, "branch 0"), _derive(seed, "branch 1")),
            version=0x20000000,
            version_mask=ROLLABLE_VERSION_BITS,
            nbits=0x170240C3,  # mainnet's at height 953,568: what a miner expects to see
            ntime=ntime,
            target=target,
            version_rolling=version_rolling,
        )

    def roll(self, k: int) -> Self:
        """Return the k-th successor: other headers altogether, told apart by its serial."""
        return replace(self, serial=self.serial + k)

    @property
    def version_groups(self) -> int:
        """How many groups of versions the mask allows; the last one of BIP 320's is 4095."""
        return (1 << len(self._rolled_bits)) // VERSION_GROUP

    def versions(self, group: int | None) -> tuple[int, ...]:
        """Return the 16 versions of a group, which roll the numbers from 16 * group on.

        A number's bits go into the mask's bits, lowest into lowest; outside the mask the version is
        the job's (BIP 310, version-rolling). Of no group it is the job's own version alone. Raises
        PlanError for a group that the mask has not.
        """
        if group is None:
            return (self.version,)
        if not 0 <= group < self.version_groups:
            raise PlanError(f"a mask of {self.version_mask:#010x} has no group {group} of versions")
        fixed, bits = self.version & ~self.version_mask, self._rolled_bits
        return tuple(
            fixed | sum((number >> place & 1) << bit for place, bit in enumerate(bits))
            for number in range(VERSION_GROUP * group, VERSION_GROUP * (group + 1))
        )

    @property
    def _rolled_bits(self) -> list[int]:
        return [bit for bit in range(32) if self.version_mask >> bit & 1]

    def header(self, share: Share) -> bytes:
        """Return the 80-byte header that a share of this job, or of a successor, stands for.

        Raises PlanError for a share that rolled what may not be rolled.
        """
        return self.header_of(
            share.serial, share.extranonce2, share.ntime, share.version, share.nonce
        )

    def header_of(
        self, serial: int, extranonce2: bytes, ntime: int, version: int, nonce: int
    ) -> bytes:
        """Return the header of a share given as its parts: for records, which hold millions."""
        return self.header_under(self.merkle_root(serial, extranonce2), ntime, version, nonce)

    def merkle_root(self, serial: int, extranonce2: bytes) -> bytes:
        """Return the root over the coinbase of this job or a successor."""
        root = sha256d(self.coinbase(serial, extranonce2))
        for node in self.branch:
            root = sha256d(root + node)
        return root

    def header_under(self, root: bytes, ntime: int, version: int, nonce: int) -> bytes:
        """Return the header over a merkle root."""
        if (version ^ self.version) & ~self.version_mask:
            raise PlanError(f"version {version:#010x} rolls bits outside the job's mask")
        try:
            return _HEADER.pack(version, self.prev_hash, root, ntime, self.nbits, nonce)
        except struct.error as error:
            raise PlanError(f"no share: nTime {ntime}, nonce {nonce}: {error}") from error

    def coinbase(self, serial: int, extranonce2: bytes) -> bytes:
        """Return the whole coinbase transaction of this job or a successor."""
        if len(extranonce2) != self.extranonce2_size:
            raise PlanError(f"extranonce2 is {self.extranonce2_size} bytes, not {len(extranonce2)}")
        if not 0 <= serial < 1 << 32:
            raise PlanError(f"serial {serial} is not a 32-bit number")
        number = serial.to_bytes(4, "little")
        return self.coinbase1 + number + self.extranonce1 + extranonce2 + self.coinbase2

    def to_json(self) -> dict[str, Any]:
        """Return the template as records keep it: bytes in hex, the target as 64 hex digits."""
        return {
            "prev_hash": self.prev_hash.hex(),
            "coinbase1": self.coinbase1.hex(),
            "coinbase2": self.coinbase2.hex(),
            "extranonce1": self.extranonce1.hex(),
            "extranonce2_size": self.extranonce2_size,
            "branch": [node.hex() for node in self.branch],
            "version": self.version,
            "version_mask": self.version_mask,
            "nbits": self.nbits,
            "ntime": self.ntime,
            "target": f"{self.target.value:064x}",
            "serial": self.serial,
            "version_rolling": self.version_rolling,
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        """Read back what to_json wrote."""
        raw = {"prev_hash", "coinbase1", "coinbase2", "extranonce1"}
        fields: dict[str, Any] = {
            k: bytes.fromhex(v) if k in raw else v for k, v in document.items()
        }
        fields["branch"] = tuple(bytes.fromhex(node) for node in document["branch"])
        fields["target"] = Target(int(document["target"], 16))
        return cls(**fields)


def _utf8(text: str, what: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise PlanError(f"the {what} is not UTF-8 text: {error.reason}") from error


def _derive(seed: bytes, purpose: str) -> bytes:
    """Return 32 bytes that follow from the seed and are no block's or transaction's hash."""
    return hashlib.sha256(b"hwkit job: " + purpose.encode() + b": " + seed).digest()


def _push(data: bytes) -> bytes:
    """Return the script that pushes up to 255 bytes."""
    return (b"" if len(data) < 76 else b"\x4c") + bytes([len(data)]) + data


def _unspendable(data: bytes) -> bytes:
    """Return a transaction output of value 0 that carries data and that nobody can spend."""
    script = b"\x6a" + _push(data)
    return bytes(8) + bytes([len(script)]) + script
