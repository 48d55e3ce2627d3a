"""The reference nobody optimises: SHA256d through hashlib, and the compression function in Python.

Two implementations that share nothing: hashlib's, and one written here from FIPS 180-4, whose
constants are computed rather than copied.
"""

from __future__ import annotations

import hashlib
import struct
from itertools import count, islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

State = tuple[int, ...]
WORD = 0xFFFFFFFF


def sha256d(data: bytes) -> bytes:
    """Return SHA-256 of SHA-256 of the data, 32 bytes, in the order Bitcoin hashes it."""
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def midstate(header: bytes) -> State:
    """Return the eight state words after a header's first 64 bytes, which no nonce changes."""
    return compress(INITIAL, header[:64])


def plain_sha256d(data: bytes) -> bytes:
    """Return what sha256d does, through the compression function of this module alone."""
    return plain_sha256(plain_sha256(data))


def plain_sha256(message: bytes) -> bytes:
    """Return SHA-256 of the message (FIPS 180-4, 5.1.1 and 6.2), 32 bytes."""
    zeros = -(len(message) + 9) % 64
    padded = message + b"\x80" + bytes(zeros) + struct.pack(">Q", 8 * len(message))
    state = INITIAL
    for at in range(0, len(padded), 64):
        state = compress(state, padded[at : at + 64])
    return struct.pack(">8I", *state)


def compress(state: State, block: bytes) -> State:
    """Return the eight words after one 64-byte block (FIPS 180-4, 6.2.2)."""
    w = list(struct.unpack(">16I", block))
    for t in range(16, 64):
        s0 = _rotr(w[t - 15], 7) ^ _rotr(w[t - 15], 18) ^ w[t - 15] >> 3
        s1 = _rotr(w[t - 2], 17) ^ _rotr(w[t - 2], 19) ^ w[t - 2] >> 10
        w.append((s1 + w[t - 7] + s0 + w[t - 16]) & WORD)
    a, b, c, d, e, f, g, h = state
    for k, word in zip(ROUND_CONSTANTS, w, strict=True):
        t1 = h + (_rotr(e, 6) ^ _rotr(e, 11) ^ _rotr(e, 25)) + (e & f ^ ~e & g) + k + word
        t2 = (_rotr(a, 2) ^ _rotr(a, 13) ^ _rotr(a, 22)) + (a & b ^ a & c ^ b & c)
        a, b, c, d, e, f, g, h = (t1 + t2) & WORD, a, b, c, (d + t1) & WORD, e, f, g
    return tuple((x + y) & WORD for x, y in zip(state, (a, b, c, d, e, f, g, h), strict=True))


def _rotr(x: int, n: int) -> int:
    return (x >> n | x << 32 - n) & WORD


def _primes() -> Iterator[int]:
    return (n for n in count(2) if all(n % d for d in range(2, n)))


def _root_fraction(n: int, degree: int) -> int:
    """Return the first 32 bits of the fraction of n's root, by integer bisection."""
    low, high, scaled = 0, n << 32, n << 32 * degree
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**degree <= scaled else (low, middle - 1)
    return low & WORD


INITIAL: State = tuple(_root_fraction(p, 2) for p in islice(_primes(), 8))
ROUND_CONSTANTS: State = tuple(_root_fraction(p, 3) for p in islice(_primes(), 64))
