"""Records travel as lines: the same line twice changes nothing, a bad one stores nothing."""

import base64
import json
import zlib
from pathlib import Path

import pytest

from hwkit.errors import RecordError
from hwkit.records import Store
from hwkit.records.exchange import from_line, to_line
from hwkit.records.record import Chunk, Record, sha256
from hwkit.records.verify import verify

GOLDEN = Path(__file__).parents[1] / "golden/records"
SECRETS = {
    "hostname": "rig-of-alice",
    "pool_user": "bc1qalice.worker7",
    "pool_url": "stratum+tcp://alice.example:3333",
    "ip": "192.0.2.77",
    "mac": "02:00:5e:10:20:30",
    "ssid": "Alices-Wohnung",
    "serial": "SN-0815-4711",
}


def changed(record, change):
    """The record's line, its JSON changed."""
    line = json.loads(to_line(record))
    return json.dumps(change(line) or line)


def put(*path):
    """Return a change that puts the last argument at the path of the others."""
    *where, key, value = path

    def change(line):
        inner = line
        for step in where:
            inner = inner[step]
        inner[key] = value

    return change


def document(*path):
    """Return a change of the document, with its digest computed again."""

    def change(line):
        inner = json.loads(line["document"])
        put(*path)(inner)
        line["document"] = json.dumps(inner, sort_keys=True, separators=(",", ":"))
        line["digest"] = sha256(line["document"].encode())

    return change


def with_chunk(record, text):
    """The record with one chunk, of this text, and every digest right."""
    data = zlib.compress(text)
    chunks = {"windows": [Chunk(1, data, sha256(data))]}
    return to_line(Record.sealed(record.document, chunks))


def test_a_line_comes_back_as_it_was(measured, store):
    record = from_line(to_line(measured))
    assert record == Record(measured.text, measured.digest, measured.chunks, {})
    assert store.add(record)
    assert not store.add(record)
    assert len(store.listing()) == 1
    assert to_line(store.get(record.id)) == to_line(measured)


def test_what_was_never_sealed_travels_too(store, facts, tmp_path):
    run = store.open(facts, {})
    run.event(1, "x")
    run.commit()
    store._engine.dispose()
    with store._write() as connection:
        connection.exec_driver_sql("UPDATE record SET owner = NULL")
    line = to_line(store.get(run.id))
    assert not store.add(from_line(line))  # where it came from it is known
    other = Store(str(tmp_path / "other.sqlite"))
    assert other.add(from_line(line))
    assert to_line(other.get(run.id)) == line
    other.close()


def test_other_content_of_a_known_id_is_refused(measured, store, resealed):
    store.add(measured)
    other = resealed(measured, lambda d: d.update(why="another"))
    with pytest.raises(RecordError, match="other content"):
        store.add(other)
    assert store.get(measured.id).text == measured.text


HOSTILE = {
    "nothing": lambda _: "",
    "not JSON": lambda _: "{",
    "a list": lambda _: "[]",
    "null": lambda _: "null",
    "a number": lambda _: "1e999",
    "NaN": lambda _: '{"hwkit_record": NaN}',
    "deep": lambda _: "[" * 200_000,
    "long number": lambda _: '{"hwkit_record":' + "9" * 10_000 + "}",
    "newer format": lambda r: changed(r, put("hwkit_record", 2)),
    "format of text": lambda r: changed(r, put("hwkit_record", "1" * 10**6)),
    "no chunks": lambda r: changed(r, put("chunks", None)),
    "chunks in a list": lambda r: changed(r, put("chunks", [])),
    "a chunk of none": lambda r: changed(r, put("chunks", "windows", [None])),
    "a kind of none": lambda r: changed(r, put("chunks", "windows", None)),
    "a kind that is missing": lambda r: changed(r, lambda line: line["chunks"].pop("shares") and 0),
    "unknown kind": lambda r: changed(r, put("chunks", "\x1b[2J\n", [])),
    "cut base64": lambda r: changed(
        r, put("chunks", "windows", 0, "data", to_line(r).split('"data":"')[1][:11])
    ),
    "no base64": lambda r: changed(r, put("chunks", "windows", 0, "data", "é")),
    "data of numbers": lambda r: changed(r, put("chunks", "windows", 0, "data", [1])),
    "infinitely many rows": lambda r: changed(r, put("chunks", "windows", 0, "rows", 1)).replace(
        '"rows": 1,', '"rows": 1e999,'
    ),
    "as many rows as none has": lambda r: changed(r, put("chunks", "windows", 0, "rows", 10**30)),
    "rows of text": lambda r: changed(r, put("chunks", "windows", 0, "rows", "17")),
    "another digest": lambda r: changed(r, put("digest", "0" * 64)),
    "digest of none": lambda r: changed(r, put("digest", None)),
    "document of none": lambda r: changed(r, put("document", None)),
    "document not JSON": lambda r: changed(r, put("document", "{")),
    "document spaced": lambda r: changed(r, put("document", r.text + " ")),
    "half a surrogate": lambda r: changed(r, put("document", r.text.replace("test", "\ud800"))),
    "identity in a list": lambda r: changed(r, put("identity", ["x"])),
    "newer schema": lambda r: changed(r, document("schema", 2)),
    "schema 0": lambda r: changed(r, document("schema", 0)),
    "schema -1": lambda r: changed(r, document("schema", -1)),
    "schema true": lambda r: changed(r, document("schema", True)),  # noqa: FBT003
    "schema 1.0": lambda r: changed(r, document("schema", 1.0)),
    "id of another kind": lambda r: changed(r, document("id", 7)),
    "id that climbs": lambda r: changed(r, document("id", "../../x")),
    "id that is a list": lambda r: changed(r, document("id", ["x"])),
    "no host": lambda r: changed(r, document("host", None)),
    "device of text": lambda r: changed(r, document("device", "cpu")),
    "device name of none": lambda r: changed(r, document("device", "name", None)),
    "half a surrogate in a name": lambda r: changed(r, document("device", "name", "\udc00")),
    "figures in a list": lambda r: changed(r, document("figures", [])),
    "figure of none": lambda r: changed(r, document("figures", "hashrate", None)),
    "figure of text": lambda r: changed(r, document("figures", "hashrate", "value", "1")),
    "figure without end": lambda r: changed(r, document("figures", "hashrate", "value", 10**400)),
    "state of numbers": lambda r: changed(r, document("state", 1)),
    "rows of nothing": lambda r: changed(r, document("rows", None)),
    "row counts of text": lambda r: changed(r, document("rows", "windows", [{"rows": "x"}])),
    "zlib bomb": lambda r: with_chunk(r, b'{"round":[' + b"0," * (1 << 26) + b"0]}"),
    "NaN in rows": lambda r: with_chunk(r, b'{"round":[NaN]}'),
    "deep rows": lambda r: with_chunk(r, b"[" * 100_000),
    "rows that are no object": lambda r: with_chunk(r, b"[]"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_line_is_one_error_and_stores_nothing(measured, store, name):
    line = HOSTILE[name](measured)

    def take_in():
        store.add(from_line(line))

    with pytest.raises(RecordError) as raised:
        take_in()
    assert len(str(raised.value)) < 600
    assert store.listing() == []
    with store._read() as connection:
        for table in ("record", "chunk", "identity"):
            assert connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar() == 0


def test_base64_is_of_the_chunks(measured):
    line = json.loads(to_line(measured))
    for kind, chunks in line["chunks"].items():
        stored = [base64.b64decode(chunk["data"]) for chunk in chunks]
        assert stored == [chunk.data for chunk in measured.chunks[kind]]


def test_who_it_was_stays_in_the_private_table(store, path, facts, hwkit, tmp_path):
    run = store.open(facts, SECRETS)
    run.event(1, "opened")
    run.commit()
    with store._write() as connection:  # its process has ended
        connection.exec_driver_sql("UPDATE record SET owner = NULL")
    out = tmp_path / "out.jsonl"
    said = [
        hwkit("records", "list"),
        hwkit("records", "list", "--json"),
        hwkit("records", "show", "last"),
        hwkit("records", "show", "last", "--json"),
        hwkit("records", "export"),
        hwkit("records", "export", "last"),
        hwkit("records", "export", "--output", out, "--json"),
        hwkit("verify", "last"),
        hwkit("verify", "last", "--json"),
        hwkit("compare", "last", "last"),
    ]
    everything = out.read_text() + "".join(done.stdout + done.stderr for done in said)
    inflated = b"".join(
        zlib.decompress(chunk.data)
        for chunks in from_line(out.read_text()).chunks.values()
        for chunk in chunks
    ).decode()
    assert b"opened" in inflated.encode()
    with store._read() as connection:
        documents = connection.exec_driver_sql("SELECT document FROM record").scalar()
    for secret in SECRETS.values():
        assert secret not in everything + inflated + documents
    full = hwkit("records", "export", "--with-identity").stdout
    for secret in SECRETS.values():
        assert secret in full
    other = Store(str(tmp_path / "other.sqlite"))
    other.add(from_line(full))
    assert other.get("last").identity == SECRETS
    assert to_line(other.get("last")) == out.read_text().rstrip()
    other.close()


@pytest.mark.parametrize("name", ["schema-1", "schema-1-version-rolling"])
def test_schema_1_still_reads(store, hwkit, name):
    """A record of 2026, as it was exported then: it verifies and prints what it printed."""
    line = (GOLDEN / f"{name}.jsonl").read_text()
    assert store.add(from_line(line))
    record = store.get("last")
    assert [finding for finding in verify(record) if not finding.passed] == []
    shown = hwkit("records", "show", "last").stdout
    assert shown == (GOLDEN / f"{name}.txt").read_text()
    assert to_line(record) == line.rstrip()
