"""What no nonce changes in SHA256d of a header, computed once and given to a device's kernel."""

from __future__ import annotations

import struct
from functools import lru_cache

from hwkit.sha256d import ROUND_CONSTANTS, WORD, midstate

Words = tuple[int, ...]


@lru_cache(maxsize=64)
def uniforms(header: bytes) -> Words:
    """Return the 26 words that kernels/sha256d.cl takes first, of a header's first 76 bytes.

    They are the midstate, the letters a to g that round 3 would leave if word 3, the nonce, were 0,
    what rounds 4 to 6, 16 and 17 add, words 16 and 17, and the parts of words 18, 19, 31 and 32
    that stay (FIPS 180-4, 6.2.2).
    """
    w0, w1, w2 = struct.unpack(">3I", header[64:76])
    w4, w15 = 0x80000000, 640  # the padding: a bit, and the length of 80 bytes
    state = start = midstate(header)
    for k, word in zip(ROUND_CONSTANTS, (w0, w1, w2, 0), strict=False):
        state = _round(state, k + word)
    _, _, _, _, _, f, g, h = state
    k4, k5, k6, k16, k17 = (ROUND_CONSTANTS[t] for t in (4, 5, 6, 16, 17))
    w16 = w0 + _sigma0(w1)
    w17 = w1 + _sigma0(w2) + _sigma1(w15)
    sums = (h + k4 + w4, g + k5, f + k6, k16 + w16, k17 + w17)
    known = (w2 + _sigma1(w16), _sigma0(w4) + _sigma1(w17), w15 + _sigma0(w16), w16 + _sigma0(w17))
    return tuple(word & WORD for word in (*start, *state[:7], *sums, w16, w17, *known))


def _round(state: Words, sum_: int) -> Words:
    a, b, c, d, e, f, g, h = state
    t1 = h + (_rotr(e, 6) ^ _rotr(e, 11) ^ _rotr(e, 25)) + (e & f ^ ~e & g) + sum_
    t2 = (_rotr(a, 2) ^ _rotr(a, 13) ^ _rotr(a, 22)) + (a & b ^ a & c ^ b & c)
    return (t1 + t2) & WORD, a, b, c, (d + t1) & WORD, e, f, g


def _sigma0(word: int) -> int:
    word &= WORD
    return _rotr(word, 7) ^ _rotr(word, 18) ^ word >> 3


def _sigma1(word: int) -> int:
    word &= WORD
    return _rotr(word, 17) ^ _rotr(word, 19) ^ word >> 10


def _rotr(x: int, n: int) -> int:
    return (x >> n | x << 32 - n) & WORD
