"""Targets, headers and jobs: consensus facts, exact arithmetic, refusals."""

import json
import math
import struct
from dataclasses import fields, replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwkit.errors import PlanError
from hwkit.sha256d import sha256d
from hwkit.vectors import mainnet_headers
from hwkit.work import (
    CHALLENGE_LIMIT,
    DIFFICULTY_1,
    MAX_TARGET,
    ROLLABLE_VERSION_BITS,
    Header,
    Job,
    Share,
    Target,
)

WORD = st.integers(0, 2**32 - 1)
# Block facts, from the chain itself: the header as its fields, the coinbase transaction as bytes.
ZERO_INPUT = "01000000" + "01" + "00" * 32 + "ffffffff"
BLOCKS = {
    0: (
        "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
        (1, "00" * 32, 1231006505, 0x1D00FFFF, 2083236893),
        ZERO_INPUT + "4d04ffff001d0104455468652054696d65732030332f4a616e2f32303039204368616e63656c"
        "6c6f72206f6e206272696e6b206f66207365636f6e64206261696c6f757420666f722062616e6b73ffffffff01"
        "00f2052a01000000434104678afdb0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61deb649f6"
        "bc3f4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5fac00000000",
        (),
    ),
    170: (
        "00000000d1145790a8694403d4063f323d499e655c83426834d4ce2f8dd4a2ee",
        (
            1,
            "000000002a22cfee1f2c846adbd12b3e183d4f97683f85dad08a79780a84bd55",
            1231731025,
            0x1D00FFFF,
            1889418792,
        ),
        ZERO_INPUT + "0704ffff001d0102ffffffff0100f2052a01000000434104d46c4968bde02899d2aa0963367c"
        "7a6ce34eec332b32e42e5f3407e052d64ac625da6f0718e7b302140434bd725706957c092db53805b821a85b23"
        "a7ac61725bac00000000",
        ("f4184fc596403b9d638783cf57adfe4c75c605f6356fbc91338530e9831e9e16",),
    ),
    100_000: (
        "000000000003ba27aa200b1cecaad478d2b00432346c3f1f3986da1afd33e506",
        (
            1,
            "000000000002d01c1fccc21636b607dfd930d31d01c3a62104612a1719011250",
            1293623863,
            0x1B04864C,
            274148111,
        ),
        ZERO_INPUT + "08044c86041b020602ffffffff0100f2052a010000004341041b0e8c2567c12536aa13357b79"
        "a073dc4444acb83c4ec7a0e2f99dd7457516c5817242da796924ca4e99947d087fedf9ce467cb9f7c6287078f8"
        "01df276fdf84ac00000000",
        (
            "fff2525b8931402dd09222c50775608f75787bd2b87e56995a7bdd30f79702c4",
            "6359f0868171b1d194cbee1af2f16ea598ae8fad666d9b012c8ed2b79a236ec4",
            "e9a66845e05d5abc0ad04ec80f774a7e585c6e8db975962d069a522137b80c1d",
        ),
    ),
}
MERKLE_ROOTS = {
    0: "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b",
    170: "7dac2c5666815c17a3b36427de37bb9d2e2c5ccec3f8633eb91a4205cb4c10ff",
    100_000: "f3e94742aca4b5ef85488dc37c06c3282295ffec960994b2c0d5ac2a25a95766",
}


def shown(text):
    """Bytes of a hash that is shown, as explorers do, with its last byte first."""
    return bytes.fromhex(text)[::-1]


def new_job(**kwargs):
    usual: dict[str, Any] = {"seed": b"a seed", "ntime": 1_700_000_000, "target": Target(1 << 240)}
    return Job.create(**(usual | kwargs))


def share_of(job, **kwargs):
    return replace(Share(job.serial, bytes(8), job.ntime, job.version, 0), **kwargs)


# --- nBits -----------------------------------------------------------------------------------

# Bitcoin Core, src/test/arith_uint256_tests.cpp, bignum_SetCompact: compact -> target, compact.
FROM_CORE = [
    (0x01123456, 0x12, 0x01120000),
    (0x02123456, 0x1234, 0x02123400),
    (0x02008000, 0x80, 0x02008000),
    (0x03123456, 0x123456, 0x03123456),
    (0x04123456, 0x12345600, 0x04123456),
    (0x05009234, 0x92340000, 0x05009234),
    (0x20123456, 0x123456 << 232, 0x20123456),
]
ZERO = [
    *(0, 0x00123456, 0x01003456, 0x02000056, 0x03000000, 0x04000000),
    *(0x00923456, 0x01803456, 0x02800056, 0x03800000, 0x04800000),  # with the sign bit
]
NEGATIVE = [0x01FEDCBA, 0x04923456]
OVERFLOW = [0xFF123456, 0x21010000, 0x22000100, 0x23000001]


@pytest.mark.parametrize(("nbits", "target", "again"), FROM_CORE)
def test_nbits_as_in_core(nbits, target, again):
    assert Target.from_nbits(nbits) == Target(target)
    assert Target(target).to_nbits() == again


@pytest.mark.parametrize(
    ("nbits", "why"),
    [(nbits, "target of 0") for nbits in ZERO]
    + [(nbits, "negative") for nbits in NEGATIVE]
    + [(nbits, "above") for nbits in OVERFLOW]
    + [(-1, "32-bit"), (1 << 32, "32-bit")],
)
def test_nbits_that_consensus_refuses(nbits, why):
    with pytest.raises(PlanError, match=why):
        Target.from_nbits(nbits)


@pytest.mark.parametrize("nbits", [0x2000FFFF, 0x2100FFFF, 0x220000FF])
def test_nbits_at_the_edge_of_overflow(nbits):
    """The last mantissas that still fit in 256 bits."""
    assert (
        Target.from_nbits(nbits).value.bit_length()
        == 8 * ((nbits >> 24) - 3) + (nbits & 0xFFFFFF).bit_length()
    )


def set_compact(nbits):
    """Core's arith_uint256::SetCompact, line by line: (target, negative, overflow)."""
    size, word = nbits >> 24, nbits & 0x007FFFFF
    if size <= 3:
        word >>= 8 * (3 - size)
        value = word
    else:
        value = word << 8 * (size - 3)
    negative = word != 0 and nbits & 0x00800000 != 0
    overflow = word != 0 and (
        size > 34 or (word > 0xFF and size > 33) or (word > 0xFFFF and size > 32)
    )
    return value, negative, overflow


@given(
    st.builds(lambda size, word: size << 24 | word, st.integers(0, 40), st.integers(0, 2**24 - 1))
    | WORD
)
def test_nbits_agree_with_core_everywhere(nbits):
    value, negative, overflow = set_compact(nbits)
    if negative or overflow or value == 0:
        with pytest.raises(PlanError):
            Target.from_nbits(nbits)
    else:
        assert Target.from_nbits(nbits).value == value


@given(st.integers(1, MAX_TARGET))
def test_nbits_keep_the_top_of_a_target(value):
    nbits = Target(value).to_nbits()
    kept = Target.from_nbits(nbits)
    assert kept.value <= value
    assert value - kept.value < Fraction(value, 1 << 15)
    assert kept.to_nbits() == nbits


def test_target_0_has_nbits_0():
    assert Target(0).to_nbits() == 0


# --- difficulty ------------------------------------------------------------------------------

# Height, nBits and difficulty as block explorers print it: the first block of each period.
KNOWN_DIFFICULTIES = [
    (0, 0x1D00FFFF, 1.0),
    (120960, 0x1B0098FA, 109670.1332924774),
    (241920, 0x1A00DE15, 19339258.27238668),
    (362880, 0x1816418E, 49402014931.22746),
    (483840, 0x1801310B, 922724699725.9628),
    (604800, 0x1715B23E, 12973235968799.777),
    (725760, 0x170A3773, 27550332084343.84),
    (846720, 0x17035CB8, 83716654861184.52),
    (951552, 0x1702068F, 138955357012247.3),
    (953568, 0x170240C3, 124932866006548.16),
]


@pytest.mark.parametrize(("height", "nbits", "difficulty"), KNOWN_DIFFICULTIES)
def test_known_difficulties(height, nbits, difficulty):
    assert float(Target.from_nbits(nbits).difficulty) == difficulty
    if height in mainnet_headers():
        assert Header.unpack(mainnet_headers()[height]).nbits == nbits


def test_every_mainnet_nbits_survives_target_and_difficulty():
    seen = {Header.unpack(raw).nbits for raw in mainnet_headers().values()}
    assert len(seen) == 399
    for nbits in seen:
        target = Target.from_nbits(nbits)
        assert target.to_nbits() == nbits
        assert Target.from_difficulty(target.difficulty) == target


def test_difficulty_1():
    assert Target.from_difficulty(1).value == DIFFICULTY_1 == 0xFFFF << 208
    assert Target.from_nbits(0x1D00FFFF).value == DIFFICULTY_1
    assert Target(DIFFICULTY_1).difficulty == 1


def test_the_least_difficulty():
    assert Target.from_difficulty(2**-32).value == 0xFFFF << 240
    with pytest.raises(PlanError):
        Target.from_difficulty(math.nextafter(2**-32, 0))


def test_the_greatest_difficulty():
    assert Target.from_difficulty(Fraction(DIFFICULTY_1)) == Target(1)
    with pytest.raises(PlanError, match="nothing to meet"):
        Target.from_difficulty(Fraction(DIFFICULTY_1 + 1))


@given(st.fractions(Fraction(1, 2**32), 10**60) | st.floats(2.0**-32, 1e60))
def test_a_target_is_the_largest_of_its_difficulty(difficulty):
    """The target has at least the difficulty asked for; one higher has less. Exactly."""
    value = Target.from_difficulty(difficulty).value
    asked = Fraction(difficulty)
    assert Fraction(DIFFICULTY_1, value) >= asked > Fraction(DIFFICULTY_1, value + 1)


@pytest.mark.parametrize(
    "difficulty",
    [
        *(0, -0.0, -1, 5e-324, math.nan, math.inf, -math.inf, 1e300, 10**400),
        *(Fraction(1, 10**400), Fraction(10**400), Fraction(-(10**400))),
    ],
)
def test_difficulties_that_are_none(difficulty):
    with pytest.raises(PlanError):
        Target.from_difficulty(difficulty)


def test_target_0_has_no_difficulty():
    with pytest.raises(PlanError, match="nothing meets it"):
        _ = Target(0).difficulty


@pytest.mark.parametrize("value", [-1, MAX_TARGET + 1])
def test_targets_have_256_bits(value):
    with pytest.raises(PlanError, match="256-bit"):
        Target(value)


def test_work_is_hashes_a_hit():
    assert Target(MAX_TARGET).work == 1
    assert Target(0).work == 1 << 256
    assert Target((1 << 248) - 1).work == 256
    # A share of difficulty 1 is worth 2^32 hashes and, since 0xffff is no power of 2, 2^16 more.
    assert round(Target(DIFFICULTY_1).work) == 2**32 + 2**16 + 1


@given(st.integers(0, MAX_TARGET), st.integers(0, MAX_TARGET))
def test_a_hash_meets_a_target_as_a_little_endian_number(target, value):
    assert Target(target).is_met_by(value.to_bytes(32, "little")) == (value <= target)
    assert Target(target).is_met_by(Target(target).to_bytes())


# --- headers ---------------------------------------------------------------------------------


@given(st.binary(min_size=80, max_size=80))
def test_header_round_trip(raw):
    assert Header.unpack(raw).pack() == raw
    assert Header.from_hex(raw.hex()) == Header.unpack(raw)


@pytest.mark.parametrize("length", [0, 79, 81, 160])
def test_headers_of_another_length(length):
    with pytest.raises(PlanError, match="80 bytes"):
        Header.unpack(bytes(length))


@pytest.mark.parametrize("text", ["", "zz" * 80, "00" * 79, "0" * 159, "00" * 81])
def test_hex_that_is_no_header(text):
    with pytest.raises(PlanError):
        Header.from_hex(text)


@pytest.mark.parametrize(
    "field",
    [
        *({"version": -1}, {"nonce": 1 << 32}, {"ntime": -1}, {"nbits": 1 << 32}),
        *({"prev_hash": bytes(31)}, {"merkle_root": bytes(33)}),
    ],
)
def test_headers_that_do_not_fit(field):
    header = Header.unpack(mainnet_headers()[0])
    with pytest.raises(PlanError):
        replace(header, **field).pack()


def test_genesis():
    genesis = Header.unpack(mainnet_headers()[0])
    assert genesis.hash == shown(BLOCKS[0][0])
    assert genesis.merkle_root == shown(MERKLE_ROOTS[0])
    assert genesis.is_proven
    assert not replace(genesis, nonce=genesis.nonce + 1).is_proven


@pytest.mark.parametrize("nbits", [0, 0x04923456, 0xFF123456])
def test_a_header_whose_nbits_name_no_target_is_not_proven(nbits):
    assert not replace(Header.unpack(mainnet_headers()[0]), nbits=nbits).is_proven


# --- jobs ------------------------------------------------------------------------------------


@pytest.mark.parametrize("height", BLOCKS)
def test_real_blocks_follow_from_coinbase_and_branch(height):
    """A job made of a block's facts gives that block's header, whose hash the world knows."""
    block_hash, (version, previous, ntime, nbits, nonce), coinbase, others = BLOCKS[height]
    raw = bytes.fromhex(coinbase)
    leaves = [shown(txid) for txid in others]
    branch: tuple[bytes, ...] = tuple(leaves[:1])
    if leaves[1:]:
        branch += (sha256d(leaves[1] + leaves[2]),)
    job = Job(
        prev_hash=shown(previous),
        coinbase1=raw[:42],
        coinbase2=raw[58:],
        extranonce1=raw[46:50],
        extranonce2_size=8,
        branch=branch,
        version=version,
        version_mask=0,
        nbits=nbits,
        ntime=ntime,
        target=Target.from_nbits(nbits),
        serial=int.from_bytes(raw[42:46], "little"),
    )
    share = Share(job.serial, raw[50:58], ntime, version, nonce)
    header = Header.unpack(job.header(share))
    assert job.coinbase(job.serial, raw[50:58]) == raw
    assert header.merkle_root == shown(MERKLE_ROOTS[height])
    assert header.hash == shown(block_hash)
    assert header.is_proven
    assert height not in mainnet_headers() or mainnet_headers()[height] == header.pack()


def parse_transaction(raw):
    """Read a transaction without witness as consensus does: (inputs, outputs, lock time)."""
    at = 0

    def take(count):
        nonlocal at
        assert at + count <= len(raw)
        at += count
        return raw[at - count : at]

    def number():
        first = take(1)[0]
        size = {0xFD: 2, 0xFE: 4, 0xFF: 8}.get(first)
        return int.from_bytes(take(size), "little") if size else first

    assert struct.unpack("<I", take(4))[0] in {1, 2}
    inputs = [(take(32), take(4), take(number()), take(4)) for _ in range(number())]
    outputs = [(int.from_bytes(take(8), "little"), take(number())) for _ in range(number())]
    lock_time = take(4)
    assert at == len(raw)
    return inputs, outputs, lock_time


def pushed(script):
    """Read a script of nothing but pushes into what it pushes."""
    found = []
    while script:
        size, script = script[0], script[1:]
        if size == 0x4C:
            size, script = script[0], script[1:]
        assert size <= 75 or size == len(script)
        found.append(script[:size])
        script = script[size:]
    return found


def test_the_small_parser_reads_a_real_transaction():
    inputs, outputs, _ = parse_transaction(bytes.fromhex(BLOCKS[100_000][2]))
    assert len(inputs[0][2]) == 8
    assert [value for value, _ in outputs] == [50 * 10**8]


@given(
    seed=st.binary(max_size=40),
    challenge=st.none() | st.text(min_size=1, max_size=20),
    height=st.none() | st.sampled_from([0, 2016, 822528]),
    serial=WORD,
    extranonce2=st.binary(min_size=8, max_size=8),
)
def test_the_coinbase_is_a_transaction_that_pays_nobody(
    seed, challenge, height, serial, extranonce2
):
    beacon = None if height is None else Header.unpack(mainnet_headers()[height])
    job = new_job(seed=seed, challenge=challenge, beacon=beacon, ntime=1_800_000_000)
    raw = job.coinbase(serial, extranonce2)
    [(prev_out, index, script, _)], outputs, _ = parse_transaction(raw)
    assert (prev_out, index) == (bytes(32), b"\xff" * 4)  # what makes it a coinbase
    assert 2 <= len(script) <= 100  # consensus
    unique = pushed(script)[1]
    assert unique == serial.to_bytes(4, "little") + job.extranonce1 + extranonce2
    assert all(value == 0 and script[0] == 0x6A for value, script in outputs)  # OP_RETURN
    assert all(len(script) <= 83 for _, script in outputs)
    carried = [mark for _, script in outputs for mark in pushed(script[1:])]
    marks = [challenge and challenge.encode(), beacon and beacon.pack()]
    assert carried == ([mark for mark in marks if mark] or [b"hwkit: pays nobody"])


@pytest.mark.parametrize("length", [75, 76, CHALLENGE_LIMIT])
def test_a_challenge_on_both_sides_of_a_longer_push(length):
    outputs = parse_transaction(new_job(challenge="x" * length).coinbase(0, bytes(8)))[1]
    assert pushed(outputs[0][1][1:]) == [b"x" * length]


@pytest.mark.parametrize(
    "challenge", ["", "x" * 81, "é" * 41, "\udcff"], ids=["none", "81", "82", "no UTF-8"]
)
def test_challenges_that_do_not_fit(challenge):
    with pytest.raises(PlanError, match="challenge is"):
        new_job(challenge=challenge)


def test_beacons_that_are_none():
    genesis = Header.unpack(mainnet_headers()[0])
    with pytest.raises(PlanError, match="no mined header"):
        new_job(beacon=replace(genesis, nonce=1))
    with pytest.raises(PlanError, match="no mined header"):
        new_job(beacon=replace(genesis, nbits=0))
    with pytest.raises(PlanError, match="younger"):
        new_job(beacon=genesis, ntime=genesis.ntime - 7201)
    assert new_job(beacon=genesis, ntime=genesis.ntime - 7200)


def test_what_a_job_follows_from():
    assert new_job() == new_job()
    one = new_job()
    for other in (new_job(seed=b"other"), new_job(challenge="c"), new_job(ntime=1)):
        assert other.header(share_of(other)) != one.header(share_of(one))
    assert (one.nbits, one.version_mask) == (0x170240C3, ROLLABLE_VERSION_BITS)


def test_no_share_of_a_job_can_be_a_block():
    """The previous hash meets no target that any block ever had: it is no block's."""
    hardest = Target.from_nbits(0x1D00FFFF)
    assert not any(hardest.is_met_by(new_job(seed=bytes([n])).prev_hash) for n in range(256))


@given(
    job=st.builds(
        new_job,
        seed=st.binary(),
        challenge=st.none() | st.text(min_size=1, max_size=20),
        ntime=WORD,
        target=st.builds(Target, st.integers(0, MAX_TARGET)),
        version_rolling=st.booleans(),
    ),
    k=WORD,
)
def test_job_json_round_trip(job, k):
    job = job.roll(k)
    assert Job.from_json(json.loads(json.dumps(job.to_json()))) == job
    assert set(job.to_json()) == {field.name for field in fields(Job)}
    before = {key: value for key, value in job.to_json().items() if key != "version_rolling"}
    assert Job.from_json(before) == replace(job, version_rolling=False)


def test_rolled_jobs_are_other_headers():
    job = new_job()
    headers = {job.roll(k).header(share_of(job.roll(k))) for k in range(1000)}
    assert len(headers) == 1000
    assert job.roll(2).roll(3) == job.roll(5)
    # A successor's share is read by the job it came from: that is how a record is verified.
    late = job.roll(7)
    assert job.header(share_of(late)) == late.header(share_of(late))


@given(serial=WORD, extranonce2=st.binary(min_size=8, max_size=8), ntime=WORD, nonce=WORD)
def test_each_part_of_a_share_reaches_its_header(serial, extranonce2, ntime, nonce):
    job = new_job()
    share = Share(serial, extranonce2, ntime, job.version | 0x2000, nonce)
    header = Header.unpack(job.header(share))
    assert (header.ntime, header.nonce, header.version) == (ntime, nonce, share.version)
    assert header.prev_hash == job.prev_hash
    root = sha256d(job.coinbase(serial, extranonce2))
    for node in job.branch:
        root = sha256d(root + node)
    assert header.merkle_root == root


def test_the_versions_of_bip_320_in_groups():
    """All that the mask allows, each in one group, the numbers rolled being in order."""
    job = new_job(version_rolling=True)
    assert job.versions(None) == (0x20000000,)
    assert job.versions(0) == tuple(0x20000000 | n << 13 for n in range(16))
    assert job.versions(4095)[-1] == 0x20000000 | ROLLABLE_VERSION_BITS
    assert job.version_groups == 4096
    every = [version for group in range(4096) for version in job.versions(group)]
    assert every == sorted(set(every))
    assert len(every) == 1 << 16
    assert all(not (version ^ job.version) & ~ROLLABLE_VERSION_BITS for version in every)
    for group in (-1, 4096):
        with pytest.raises(PlanError, match="has no group"):
            job.versions(group)


@given(version=WORD, mask=WORD, data=st.data())
def test_versions_under_any_mask_are_those_that_its_bits_can_be(version, mask, data):
    job = replace(new_job(), version=version, version_mask=mask)
    if mask.bit_count() < 4:
        assert job.version_groups == 0
        with pytest.raises(PlanError, match="no versions to roll"):
            replace(job, version_rolling=True)
        return
    assert job.version_groups == 1 << mask.bit_count() - 4
    group = data.draw(st.integers(0, job.version_groups - 1))
    versions = job.versions(group)
    assert all(rolled & ~mask == version & ~mask for rolled in versions)
    bits = [bit for bit in range(32) if mask >> bit & 1]
    numbers = [
        sum((rolled >> bit & 1) << place for place, bit in enumerate(bits)) for rolled in versions
    ]
    assert numbers == list(range(16 * group, 16 * group + 16))


@given(WORD)
def test_version_bits_outside_the_mask(version):
    job = new_job()
    share = share_of(job, version=version)
    if version & ~ROLLABLE_VERSION_BITS == job.version & ~ROLLABLE_VERSION_BITS:
        assert job.header(share)[:4] == version.to_bytes(4, "little")
    else:
        with pytest.raises(PlanError, match="outside the job's mask"):
            job.header(share)


@pytest.mark.parametrize(
    "part",
    [
        *({"serial": -1}, {"serial": 1 << 32}, {"extranonce2": b""}, {"extranonce2": bytes(9)}),
        *({"ntime": -1}, {"ntime": 1 << 32}, {"nonce": -1}, {"nonce": 1 << 32}),
        *({"version": -1}, {"version": 0x120000000}),
    ],
)
def test_shares_that_are_none(part):
    job = new_job()
    with pytest.raises(PlanError):
        job.header(share_of(job, **part))
