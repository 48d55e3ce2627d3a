"""SHA256d over the nonces of a header, as numba-cuda compiles it for a GPU.

What no nonce changes is the host's work (hwkit/hashers/hoist.py) and comes as `known`: word
numbers, letters and sums are those of FIPS 180-4, 6.2.2, for the header's second block. The small
functions are LLVM's to inline: what comes out is straight-line code without a stack, and what only
the last three rounds or words would have needed is gone.

A GPU adds, shifts and does logic in one pipe and multiplies in another, which SHA-256 leaves idle.
So each sum is written x * 1 + y: where that 1 is an argument, it has to be multiplied, and where it
is a constant, the compiler makes a sum of it. Shifts, and one rotation in each Sigma1, may be
halves of products too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from numba import cuda

from hwkit.hashers.cuda import MULTIPLIED
from hwkit.sha256d import INITIAL, ROUND_CONSTANTS

if TYPE_CHECKING:
    from collections.abc import Callable

    Word = np.uint32
    Words = tuple[Word, ...]

F = TypeVar("F", bound="Callable[..., Any]")

SIGNATURE = "void(UniTuple(uint32, 26), UniTuple(uint32, 4), uint32, uint32, uint32, uint32[::1])"
# For a sum, a shift by 3, one by 10 and a rotation by 6.
FACTORS = tuple(np.uint32(1 << n) for n in (0, 32 - 3, 32 - 10, 32 - 6))

K = tuple(np.uint32(k) for k in ROUND_CONSTANTS)
IV = tuple(np.uint32(word) for word in INITIAL)
ZERO, ONE = np.uint32(0), np.uint32(1)
PADDING_BIT = np.uint32(0x80000000)
LENGTH_OF_80 = np.uint32(8 * 80)
PADDING_OF_32 = (PADDING_BIT, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, np.uint32(8 * 32))
K15 = np.uint32(ROUND_CONSTANTS[15] + 8 * 80)  # with word 15


def scan(multiplied: str) -> Callable[..., None]:
    """Return the kernel, of SIGNATURE, that multiplies in so many places; not compiled yet."""
    level = MULTIPLIED.index(multiplied)

    def kernel(  # noqa: PLR0917 - a launch passes them by place
        known: Words, factors: Words, top: Word, first: Word, count: Word, found: np.ndarray
    ) -> None:
        """Put the nonces whose hash's top word is at most `top` into found[1] and on, in no order.

        found[0] counts them, also those for which there was no room. `factors` are FACTORS. Any
        number of threads will do; with what they overshoot, `count` is short of 2^32.
        """
        one = factors[0] if level >= 1 else ONE
        x = (one, factors[1], factors[2], factors[3], np.uint32(level))
        place = np.uint32(cuda.grid(1))
        threads = np.uint32(cuda.gridsize(1))
        while place < count:
            nonce = np.uint32(first + place)
            if _top_word(known, _swap(nonce), x) <= top:
                number = cuda.atomic.add(found, 0, np.uint32(1))
                if number + 1 < found.size:
                    found[number + 1] = nonce
            place = np.uint32(place + threads)

    return kernel


def _device(function: F) -> F:
    return cast("F", cuda.jit(device=True)(function))


@_device
def _top_word(known: Words, nonce: Word, x: Words) -> Word:
    """Return the top word of the double hash; `nonce` is word 3 of the block."""
    midstate, start, sums = known[:8], known[8:15], known[15:20]
    w16, w17, known18, known19, known31, known32 = known[20:]
    # As round 3 leaves it; h is in sums[0].
    s: Words = (
        *(_sum(nonce, start[0], x), start[1], start[2], start[3]),
        *(_sum(nonce, start[4], x), start[5], start[6], ZERO),
    )
    s = _round(_round(_round(s, sums[0], x), sums[1], x), sums[2], x)
    s = _four_known(_four_known(s, K[7:11], x), K[11:15], x)
    s = _known(_known(_known(s, K15, x), sums[3], x), sums[4], x)

    # Words 18 to 33: the terms that stay have been added up, those that are zero are left out.
    w18 = _sum(_sigma0(nonce, x), known18, x)
    w19 = _sum(nonce, known19, x)
    w20 = _sum(_sigma1(w18, x), PADDING_BIT, x)
    w21 = _sigma1(w19, x)
    w22 = _sum(_sigma1(w20, x), LENGTH_OF_80, x)
    w23 = _sum(_sigma1(w21, x), w16, x)
    w24 = _sum(_sigma1(w22, x), w17, x)
    w25 = _sum(_sigma1(w23, x), w18, x)
    w26 = _sum(_sigma1(w24, x), w19, x)
    w27 = _sum(_sigma1(w25, x), w20, x)
    w28 = _sum(_sigma1(w26, x), w21, x)
    w29 = _sum(_sigma1(w27, x), w22, x)
    w30 = _sum(_sum(_sigma1(w28, x), w23, x), _sigma0(LENGTH_OF_80, x), x)
    w31 = _sum(_sum(_sigma1(w29, x), w24, x), known31, x)
    w32 = _sum(_sum(_sigma1(w30, x), w25, x), known32, x)
    w33 = _sum(_sum(_sigma1(w31, x), w26, x), _sum(_sigma0(w18, x), w17, x), x)
    w: Words = (w18, w19, w20, w21, w22, w23, w24, w25, w26, w27, w28, w29, w30, w31, w32, w33)
    s, w = _sixteen_rounds(s, w, K[18:34], x)
    s, w = _sixteen_rounds(s, w, K[34:50], x)
    s, w = _four_rounds(s, w, K[50:54], x)
    s, w = _four_rounds(s, w, K[54:58], x)
    s, w = _four_rounds(s, w, K[58:62], x)
    s, w = _one_round(s, w, K[62], x)
    s, w = _one_round(s, w, K[63], x)
    once = (
        *(_sum(s[0], midstate[0], x), _sum(s[1], midstate[1], x)),
        *(_sum(s[2], midstate[2], x), _sum(s[3], midstate[3], x)),
        *(_sum(s[4], midstate[4], x), _sum(s[5], midstate[5], x)),
        *(_sum(s[6], midstate[6], x), _sum(s[7], midstate[7], x)),
    )

    s, w = _sixteen_rounds(IV, once + PADDING_OF_32, K[:16], x)
    s, w = _sixteen_rounds(s, w, K[16:32], x)
    s, w = _sixteen_rounds(s, w, K[32:48], x)
    s, w = _sixteen_rounds(s, w, K[48:], x)
    return _swap(_sum(s[7], IV[7], x))


@_device
def _sixteen_rounds(s: Words, w: Words, k: Words, x: Words) -> tuple[Words, Words]:
    s, w = _four_rounds(s, w, k[:4], x)
    s, w = _four_rounds(s, w, k[4:8], x)
    s, w = _four_rounds(s, w, k[8:12], x)
    return _four_rounds(s, w, k[12:], x)


@_device
def _four_rounds(s: Words, w: Words, k: Words, x: Words) -> tuple[Words, Words]:
    s, w = _one_round(s, w, k[0], x)
    s, w = _one_round(s, w, k[1], x)
    s, w = _one_round(s, w, k[2], x)
    return _one_round(s, w, k[3], x)


@_device
def _one_round(s: Words, w: Words, k: Word, x: Words) -> tuple[Words, Words]:
    """One round, and the window of 16 words moved on by one."""
    s = _round(s, _sum(_sum(s[7], k, x), w[0], x), x)
    word = _sum(_sum(_sigma1(w[14], x), w[9], x), _sum(_sigma0(w[1], x), w[0], x), x)
    return s, (*w[1:], word)


@_device
def _four_known(s: Words, k: Words, x: Words) -> Words:
    return _known(_known(_known(_known(s, k[0], x), k[1], x), k[2], x), k[3], x)


@_device
def _known(s: Words, k: Word, x: Words) -> Words:
    """One round whose word is known: it has been added to K."""
    return _round(s, _sum(s[7], k, x), x)


@_device
def _round(s: Words, sum_: Word, x: Words) -> Words:
    """One round, given h + K + word."""
    a, b, c, d, e, f, g, _ = s
    big_sigma0 = _rotate(a, 2) ^ _rotate(a, 13) ^ _rotate(a, 22)
    big_sigma1 = _rotate_by_6(e, x) ^ _rotate(e, 11) ^ _rotate(e, 25)
    t1 = _sum(_sum(sum_, big_sigma1, x), g ^ e & (f ^ g), x)
    t2 = _sum(big_sigma0, b ^ (a ^ b) & (b ^ c), x)
    return _sum(t1, t2, x), a, b, c, _sum(d, t1, x), e, f, g


@_device
def _sigma0(word: Word, x: Words) -> Word:
    return np.uint32(_rotate(word, 7) ^ _rotate(word, 18) ^ _shift(word, 3, x[1], x))


@_device
def _sigma1(word: Word, x: Words) -> Word:
    return np.uint32(_rotate(word, 17) ^ _rotate(word, 19) ^ _shift(word, 10, x[2], x))


@_device
def _sum(one: Word, other: Word, x: Words) -> Word:
    return np.uint32(one * x[0] + other)  # without the cut Numba goes on with 64 bits


@_device
def _shift(word: Word, n: int, factor: Word, x: Words) -> Word:
    return _high(word, factor) if x[4] >= 2 else np.uint32(word >> n)


@_device
def _rotate_by_6(word: Word, x: Words) -> Word:
    if x[4] >= 3:
        return _sum(np.uint32(word * x[3]), _high(word, x[3]), x)
    return _rotate(word, 6)


@_device
def _high(word: Word, factor: Word) -> Word:
    """Return the high half of a product; written in 64 bits it takes two instructions."""
    return np.uint32(cuda.libdevice.umulhi(word, factor))


@_device
def _rotate(word: Word, n: int) -> Word:
    return np.uint32(word >> n | word << 32 - n)


@_device
def _swap(word: Word) -> Word:
    """Return the bytes in the other order; by shifts it takes five instructions."""
    return np.uint32(cuda.libdevice.byte_perm(word, ZERO, np.uint32(0x0123)))
