"""The reference: two implementations of SHA-256, and NIST's word on both."""

import hashlib
import struct
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwkit.prove import prove_sha256
from hwkit.sha256d import (
    INITIAL,
    ROUND_CONSTANTS,
    compress,
    midstate,
    plain_sha256,
    plain_sha256d,
    sha256d,
)
from hwkit.vectors import nist_messages, nist_monte_carlo


def by_hashlib(message):
    return hashlib.sha256(message).digest()


@pytest.mark.parametrize("sha256", [by_hashlib, plain_sha256])
def test_nist_short_and_long_messages(sha256):
    check = prove_sha256(sha256, checkpoints=0)
    assert (check.fault, check.questions) == (None, 129)


def test_nist_monte_carlo():
    check = prove_sha256(by_hashlib)
    assert (check.fault, check.questions) == (None, 129 + 100)


@pytest.mark.parametrize("checkpoints", [1, pytest.param(100, marks=pytest.mark.soak)])
def test_nist_monte_carlo_in_plain_python(checkpoints):
    assert prove_sha256(plain_sha256, checkpoints).passed


@pytest.mark.parametrize("name", ["SHA256ShortMsg.rsp", "SHA256LongMsg.rsp", "SHA256Monte.rsp"])
def test_our_vectors_are_the_published_ones(name):
    def lines(package, *path):
        text = files(package).joinpath(*path, name).read_text(encoding="ascii")
        return [line.strip() for line in text.splitlines() if not line.startswith("#")]

    assert lines("hwkit.vectors") == lines("cryptography_vectors", "hashes", "SHA2")


def test_the_vectors_are_all_read():
    lengths = [len(known.message) for known in nist_messages()]
    assert (len(lengths), min(lengths), max(lengths)) == (65 + 64, 0, 6400)
    assert len(nist_monte_carlo().checkpoints) == 100


@pytest.mark.parametrize("checkpoint", [None, 0, 99])
def test_a_wrong_sha256_is_found_out(checkpoint):
    """One wrong digest, of one message or one checkpoint, is enough."""
    wrong = nist_messages()[100].digest
    if checkpoint is not None:
        wrong = nist_monte_carlo().checkpoints[checkpoint]

    def sha256(message):
        digest = by_hashlib(message)
        return bytes(32) if digest == wrong else digest

    check = prove_sha256(sha256)
    assert not check.passed
    assert check.questions == (101 if checkpoint is None else 130 + checkpoint)
    assert check.fault is not None
    assert ("checkpoint" in check.fault) == (checkpoint is not None)


@given(st.binary(max_size=300))
def test_the_two_implementations_agree(message):
    assert plain_sha256(message) == by_hashlib(message)
    assert plain_sha256d(message) == sha256d(message) == by_hashlib(by_hashlib(message))


@given(st.binary(min_size=80, max_size=80))
def test_midstate_leads_to_the_hash(header):
    """From the midstate on, the last 16 bytes and the padding give what hashlib gives."""
    assert midstate(header) == midstate(header[:64] + bytes(16))
    tail = header[64:] + b"\x80" + bytes(39) + struct.pack(">Q", 640)
    assert struct.pack(">8I", *compress(midstate(header), tail)) == by_hashlib(header)


def test_the_midstate_of_64_bytes_with_their_padding():
    padding = b"\x80" + bytes(55) + struct.pack(">Q", 512)
    state = compress(midstate(bytes(80)), padding)
    assert struct.pack(">8I", *state) == by_hashlib(bytes(64))


def test_computed_constants_are_the_published_ones():
    """FIPS 180-4, 4.2.2 and 5.3.3."""
    assert INITIAL[:4] == (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A)
    assert INITIAL[4:] == (0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
    assert len(ROUND_CONSTANTS) == 64
    assert ROUND_CONSTANTS[:4] == (0x428A2F98, 0x71374491, 0xB5C0FBCF, 0xE9B5DBA5)
    assert ROUND_CONSTANTS[31:33] == (0x14292967, 0x27B70A85)
    assert ROUND_CONSTANTS[60:] == (0x90BEFFFA, 0xA4506CEB, 0xBEF9A3F7, 0xC67178F2)


def test_sha256d_of_nothing():
    expected = "5df6e0e2761359d30a8275058e299fcc0381534545f55cf43e41983f5d4c9456"
    assert sha256d(b"").hex() == expected
