"""The C surface: what the compiled module holds and refuses."""

import hashlib

import pytest

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


def test_scan_refuses_a_range_past_the_nonce_space() -> None:
    count, found = native.ffi.new("uint32_t *"), native.ffi.new("uint32_t *")
    hits = native.ffi.new("uint32_t[]", 8)
    kernel = native.lib.hwk_kernels(count)
    answer = native.lib.hwk_scan(kernel, GENESIS, b"\xff" * 32, 2**32 - 1, 2, hits, 8, found)
    assert answer == -2
