"""cpu:numba: SHA256d as FIPS 180-4 writes it, made into vector code by Numba; needs no C compiler.

A second opinion: it shares no line and no trick with csrc/. LLVM itself takes out of the loop what
no nonce changes, and leaves out the rounds and words whose result nobody reads.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from llvmlite.binding import get_host_cpu_features
from numba import njit

from hwkit.hashers.native import check_question
from hwkit.protocols import Hit
from hwkit.sha256d import INITIAL, ROUND_CONSTANTS, sha256d

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hwkit.work import Target

    Word = np.uint32
    Words = tuple[Word, ...]

F = TypeVar("F", bound="Callable[..., Any]")

# Nonces of the inner loop. With AVX-512 two vectors side by side, which fill each other's waits;
# elsewhere there are not the registers for that, and one or two vectors it is.
TOGETHER = 32 if get_host_cpu_features().get("avx512f") else 8
K = tuple(np.uint32(k) for k in ROUND_CONSTANTS)
PADDING_OF_80 = tuple(np.uint32(word) for word in (0x80000000, *(0,) * 10, 8 * 80))
PADDING_OF_32 = tuple(np.uint32(word) for word in (0x80000000, *(0,) * 6, 8 * 32))
IV = tuple(np.uint32(word) for word in INITIAL)


class NumbaKernel:
    """A scan that Numba compiles when it is first asked; releases the interpreter lock."""

    name = "cpu:numba"
    lanes = 32  # a multiple of TOGETHER, on any processor
    capacity = 1024  # it has no buffer; the prover asks past this many all the same
    piece = 1 << 18  # nonces in one call: some ten milliseconds

    def scan(
        self, header: bytes, target: Target, nonces: range, versions: Sequence[int] = ()
    ) -> Sequence[Hit]:
        """Return all hits; see Kernel.scan."""
        check_question(header, nonces, versions)
        asked = versions or (int.from_bytes(header[:4], "little"),)
        found = [
            (nonce, place)
            for place, version in enumerate(asked)
            for nonce in self._scan(version.to_bytes(4, "little") + header[4:76], target, nonces)
        ]
        return [Hit(nonce, asked[place]) for nonce, place in sorted(found)]

    def _scan(self, prefix: bytes, target: Target, nonces: range) -> Iterator[int]:
        """Yield the hits: hashlib decides about what the top words have let through."""
        words = np.frombuffer(prefix, ">u4").astype(np.uint32)
        top = np.uint32(target.value >> 224)
        for first in range(nonces.start, nonces.stop, self.piece):
            count = min(self.piece, nonces.stop - first)
            # Whole steps: past the end nonces are hashed and not looked at.
            flags = np.empty(-(-count // self.lanes) * self.lanes, np.bool_)
            _compiled()(words, top, np.uint32(first), flags)
            for at in np.flatnonzero(flags[:count]).tolist():
                nonce = first + at
                if target.is_met_by(sha256d(prefix + nonce.to_bytes(4, "little"))):
                    yield nonce


@cache
def _compiled() -> Callable[..., None]:
    """Return the machine code of _flag, from Numba's cache or new, which takes seconds.

    The cache is the __pycache__ beside this file where that can be written, else the user's; it is
    keyed by this file's date and the processor.
    """
    signature = "void(uint32[::1], uint32, uint32, boolean[::1])"
    try:
        compiled: Callable[..., None] = njit(signature, nogil=True, cache=True)(_flag)
    except RuntimeError:  # nowhere to write: compiled for each process then
        compiled = njit(signature, nogil=True)(_flag)
    return compiled


def _flag(header: np.ndarray, top: Word, first: Word, flags: np.ndarray) -> None:
    """Flag each nonce from `first` on whose hash's top word is at most `top`: it may be a hit.

    `header` is its first 19 words. No branch depends on a nonce: one would end the vector code.
    """
    midstate = _compress(IV, _first_block(header))
    root, time, bits = header[16], header[17], header[18]
    for step in range(len(flags) // TOGETHER):
        for lane in range(TOGETHER):  # a length known to LLVM, which makes it straight-line code
            at = step * TOGETHER + lane
            nonce = _swap(np.uint32(first + at))
            once = _compress(midstate, (root, time, bits, nonce, *PADDING_OF_80))
            digest = _compress(IV, (*once, *PADDING_OF_32))
            flags[at] = _swap(digest[7]) <= top


def _inlined(function: F) -> F:
    return cast("F", njit(forceinline=True)(function))


@_inlined
def _first_block(h: np.ndarray) -> Words:
    return (
        *(h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7]),
        *(h[8], h[9], h[10], h[11], h[12], h[13], h[14], h[15]),
    )


@_inlined
def _sum(x: Word, y: Word) -> Word:
    return np.uint32(x + y)  # without this Numba goes on with 64 bits


@_inlined
def _rotr(x: Word, n: int) -> Word:
    return np.uint32(x >> n | x << 32 - n)


@_inlined
def _swap(x: Word) -> Word:
    return (_rotr(x, 8) & np.uint32(0xFF00FF00)) | (_rotr(x, 24) & np.uint32(0x00FF00FF))


@_inlined
def _round(s: Words, w: Words, k: Word) -> tuple[Words, Words]:
    """One round, and the window of 16 words moved on by one (FIPS 180-4, 6.2.2)."""
    a, b, c, d, e, f, g, h = s
    t1 = np.uint32(h + (_rotr(e, 6) ^ _rotr(e, 11) ^ _rotr(e, 25)) + (e & f ^ ~e & g) + k + w[0])
    t2 = np.uint32((_rotr(a, 2) ^ _rotr(a, 13) ^ _rotr(a, 22)) + (a & b ^ a & c ^ b & c))
    s0 = _rotr(w[1], 7) ^ _rotr(w[1], 18) ^ w[1] >> 3
    s1 = _rotr(w[14], 17) ^ _rotr(w[14], 19) ^ w[14] >> 10
    word = np.uint32(s1 + w[9] + s0 + w[0])
    return (_sum(t1, t2), a, b, c, _sum(d, t1), e, f, g), (*w[1:], word)


@_inlined
def _four_rounds(s: Words, w: Words, k: Words) -> tuple[Words, Words]:
    s, w = _round(s, w, k[0])
    s, w = _round(s, w, k[1])
    s, w = _round(s, w, k[2])
    return _round(s, w, k[3])


@_inlined
def _sixteen_rounds(s: Words, w: Words, k: Words) -> tuple[Words, Words]:
    s, w = _four_rounds(s, w, k[:4])
    s, w = _four_rounds(s, w, k[4:8])
    s, w = _four_rounds(s, w, k[8:12])
    return _four_rounds(s, w, k[12:])


@_inlined
def _compress(state: Words, block: Words) -> Words:
    s, w = _sixteen_rounds(state, block, K[:16])
    s, w = _sixteen_rounds(s, w, K[16:32])
    s, w = _sixteen_rounds(s, w, K[32:48])
    s, _ = _sixteen_rounds(s, w, K[48:])
    return (
        *(_sum(s[0], state[0]), _sum(s[1], state[1]), _sum(s[2], state[2]), _sum(s[3], state[3])),
        *(_sum(s[4], state[4]), _sum(s[5], state[5]), _sum(s[6], state[6]), _sum(s[7], state[7])),
    )
