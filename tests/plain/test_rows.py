"""Rows become chunks and come back the same; what is no chunk is one RecordError."""

import json
import zlib
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwkit.errors import RecordError
from hwkit.protocols import (
    Assigned,
    Audit,
    CreditedShare,
    Probe,
    Reading,
    Submission,
    Verdict,
    Window,
)
from hwkit.records import rows
from hwkit.work import Share, Target

at = st.integers(0, 1 << 63)
count = st.integers(0, 1 << 80)
word = st.integers(0, (1 << 32) - 1)
number = st.floats(allow_nan=False, allow_infinity=False)
extranonce2 = st.binary(min_size=0, max_size=8)
share = st.builds(Share, word, extranonce2, word, word, word)
VALUES = {
    "windows": st.builds(Window, word, at, at, count, st.none() | at, count, st.none() | number),
    "shares": st.builds(CreditedShare, word, at, share),
    "assigned": st.builds(
        Assigned,
        word,
        st.integers(0, (1 << 256) - 1).map(Target),
        at,
        st.booleans(),
        word,
    ),
    "submissions": st.builds(
        Submission,
        at,
        word,
        st.none() | share,
        st.sampled_from(Verdict),
        st.none() | at,
        raw=st.none() | st.binary(),
    ),
    "audits": st.builds(Audit, word, word, extranonce2, word, word, word, st.none() | word),
    "readings": st.tuples(
        st.text(),
        st.builds(
            Reading,
            at,
            st.none() | number,
            st.none() | number,
            st.lists(st.text()).map(tuple),
            st.none() | at,
            *[st.none() | number] * 4,
        ),
    ),
    "probes": st.builds(Probe, at, st.text(), st.none() | number, st.lists(st.text()).map(tuple)),
    "events": st.tuples(at, st.text()),
}
TO_ROW: dict[str, Any] = {
    "windows": rows.from_window,
    "shares": rows.from_share,
    "assigned": rows.from_assigned,
    "submissions": rows.from_submission,
    "audits": rows.from_audit,
    "probes": rows.from_probe,
    "readings": lambda pair: rows.from_reading(*pair),
    "events": tuple,
}


PLAIN: dict[type, Any] = {int: 0, str: "00", bool: False, list: []}


def chunk_of(columns):
    return zlib.compress(json.dumps(columns).encode())


def columns_of(kind, length=1, **changes):
    plain = {
        name: [next(value for kind, value in PLAIN.items() if kind in types)] * length
        for name, types in rows.COLUMNS[kind].items()
    }
    return plain | changes


@pytest.mark.parametrize("kind", rows.COLUMNS)
def test_rows_come_back_as_they_were(kind):
    @given(st.lists(VALUES[kind], min_size=1, max_size=20))  # no empty chunk is written
    def holds(values):
        chunk = rows.encode(kind, [TO_ROW[kind](value) for value in values])
        assert [rows.READERS[kind](row) for row in rows.decode(kind, chunk)] == values

    holds()


def test_audits_from_before_there_were_versions_are_of_the_job_s_own():
    before = columns_of("audits", 2)
    del before["group"]
    audits = [rows.to_audit(row) for row in rows.decode("audits", chunk_of(before))]
    assert audits == [Audit(0, 0, b"\0", 0, 0, 0, None)] * 2
    del before["hits"]  # what they always had, is missed
    with pytest.raises(RecordError, match="a chunk of audits"):
        list(rows.decode("audits", chunk_of(before)))


def test_readings_from_before_there_were_volts():
    before = columns_of("readings", 2, watts=[1.5, None])
    for name in rows.LATER - {"group"}:
        del before[name]
    readings = [rows.to_reading(row) for row in rows.decode("readings", chunk_of(before))]
    assert readings == [("00", Reading(0, 0, 1.5)), ("00", Reading(0, 0, None))]


@given(st.binary(max_size=200))
def test_bytes_that_are_no_chunk(data):
    with pytest.raises(RecordError):
        list(rows.decode("windows", data))


@given(st.data())
def test_a_changed_byte_gives_other_rows_or_an_error_and_nothing_else(data):
    chunk = bytearray(rows.encode("events", [(n, f"event {n}") for n in range(5)]))
    place = data.draw(st.integers(0, len(chunk) - 1))
    chunk[place] ^= data.draw(st.integers(1, 255))
    with suppress(RecordError):
        list(rows.decode("events", bytes(chunk)))


@pytest.mark.parametrize(
    "chunk",
    [
        b"",
        chunk_of([]),
        chunk_of({}),
        chunk_of(None),
        chunk_of(columns_of("windows", hashes=[1.5])),
        chunk_of(columns_of("windows", hashes=[True])),
        chunk_of(columns_of("windows", hashes=["1"])),
        chunk_of(columns_of("windows", hashes=[None])),
        chunk_of(columns_of("windows", hashes=[[]])),
        chunk_of(columns_of("windows", hashes=[10**300])),
        chunk_of(columns_of("windows", hashes=[])),
        chunk_of(columns_of("windows", hashes=0)),
        chunk_of(columns_of("windows", hashes="0")),
        chunk_of(columns_of("windows", hashes={"0": 0})),
        chunk_of(columns_of("windows", clock_hz=[float("nan")])),
        chunk_of(columns_of("windows", clock_hz=[float("inf")])),
        zlib.compress(json.dumps(columns_of("windows")).replace("0", "1e999", 1).encode()),
        zlib.compress(b"[" * 100_000),
        zlib.compress(b'{"round":' + b"9" * 5000 + b"}"),
        zlib.compress(b"\xff\xfe"),
        chunk_of(columns_of("windows"))[:-1],
        chunk_of(columns_of("windows")) + b"x",
        zlib.compress(bytes(rows.LARGEST_CHUNK + 1)),
        zlib.compress(b" " * (1 << 28)),
    ],
    ids=range(24),
)
def test_what_is_no_chunk_is_one_error(chunk):
    with pytest.raises(RecordError, match="a chunk of windows"):
        list(rows.decode("windows", chunk))
