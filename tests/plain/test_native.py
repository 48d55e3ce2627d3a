"""The C surface: what the compiled module holds and refuses."""

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwkit.prove.questions import Question, answer
from hwkit.work import MAX_TARGET, NONCES, Target

native = pytest.importorskip("hwkit.hashers._native", reason="the C extension is not built")
GENESIS = bytes.fromhex(
    "01000000"
    + "00" * 32
    + "3ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c"
)


@pytest.mark.parametrize("length", [0, 1, 55, 56, 63, 64, 65, 119, 120, 127, 128, 1000])
def test_sha256_equals_hashlib_around_every_padding_edge(length: int) -> None:
    message = bytes(i & 0xFF for i in range(length))
    digest = native.ffi.new("uint8_t[32]")
    native.lib.hwk_sha256(message, length, digest)
    assert bytes(digest) == hashlib.sha256(message).digest()


def kernels():
    count = native.ffi.new("uint32_t *")
    table = native.lib.hwk_kernels(count)
    return [table + n for n in range(count[0])]


def scan_versions(kernel, header, target, versions, asked):
    """One call: what it returned, and its hits as nonce and place."""
    first, count, capacity = asked
    nonces = native.ffi.new("uint32_t[]", capacity + 1)
    places = native.ffi.new("uint8_t[]", capacity + 1)
    nonces[capacity], places[capacity] = 0xDEADBEEF, 0xA5
    found = native.ffi.new("uint32_t *", 77)
    more = (len(versions), first, count, nonces, places, capacity, found)
    done = native.lib.hwk_scan_versions(kernel, header, target, versions, *more)
    assert (nonces[capacity], places[capacity]) == (0xDEADBEEF, 0xA5)  # nothing past the end
    return done, list(zip(nonces[0 : found[0]], places[0 : found[0]], strict=True))


@settings(max_examples=150)
@given(
    header=st.binary(min_size=80, max_size=80),
    versions=st.lists(st.integers(0, NONCES - 1), min_size=1, max_size=16)
    | st.lists(st.integers(0, 3), min_size=16, max_size=16),
    first=st.integers(0, NONCES) | st.integers(NONCES - 40, NONCES),
    count_and_room=st.tuples(st.integers(0, 70), st.integers(0, 80)),
    limit=st.integers(0, 5).map(lambda bits: MAX_TARGET >> bits) | st.integers(0, MAX_TARGET),
)
def test_versions_are_answered_for_whole_nonces(header, versions, first, count_and_room, limit):
    """By every kernel, in one call, as the reference answers: to the nonce that found no room."""
    count, room = count_and_room
    count, capacity = min(count, NONCES - first), len(versions) + room
    question = Question(header, Target(limit), range(first, first + count))
    by_place = [answer(replace(question, versions=(version,))) for version in versions]
    hits = sorted((hit.nonce, place) for place, some in enumerate(by_place) for hit in some)
    end = first + count
    if len(hits) > capacity:
        end = hits[capacity][0]
    expected = end - first, [hit for hit in hits if hit[0] < end]
    target = Target(limit).to_bytes()
    for kernel in kernels():
        if kernel.supported:
            got = scan_versions(kernel, header, target, versions, (first, count, capacity))
            assert got == expected, native.ffi.string(kernel.name)


def test_versions_are_refused_that_no_call_takes():
    [kernel, *_] = kernels()
    for versions, first, count, capacity, code in (
        (1, 2**32 - 1, 2, 8, -2),
        (1, 2**32 + 1, 0, 8, -2),
        (0, 0, 1, 8, -3),
        (17, 0, 1, 64, -3),
        (16, 0, 1, 15, -3),
    ):
        asked = (first, count, capacity)
        done = scan_versions(kernel, GENESIS, b"\xff" * 32, [7] * versions, asked)
        assert done == (code, [])
    for each in kernels():
        if not each.supported:
            assert scan_versions(each, GENESIS, b"\xff" * 32, [7], (0, 1, 8)) == (-1, [])


def test_scan_refuses_a_range_past_the_nonce_space() -> None:
    count, found = native.ffi.new("uint32_t *"), native.ffi.new("uint32_t *")
    hits = native.ffi.new("uint32_t[]", 8)
    kernel = native.lib.hwk_kernels(count)
    answer = native.lib.hwk_scan(kernel, GENESIS, b"\xff" * 32, 2**32 - 1, 2, hits, 8, found)
    assert answer == -2
