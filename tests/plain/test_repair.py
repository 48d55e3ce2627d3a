"""JSON as miners write it: what is valid stays, what is not is repaired by name, or refused."""

import csv
import json
import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hwkit.errors import ProtocolError
from hwkit.wire import repair
from hwkit.wire.repair import Truncated, loads

CAPTURES = Path(
    os.environ.get("HWKIT_CAPTURES") or Path(__file__).parents[3] / "shared" / "captures"
)

# Each as a maker's firmware writes it; the answers are ours, and short.
MALFORMED = {
    "no comma between objects: Bitmain stats, Blackminer, VolcMiner": (
        b'{"STATS":[{"Type":"Antminer S9"}{"STATS":0,"fan1":5610}],"id":1}\0',
        {"STATS": [{"Type": "Antminer S9"}, {"STATS": 0, "fan1": 5610}], "id": 1},
        ("missing comma",),
    ),
    "no comma between members: btminer of 2023-01": (
        b'{"Power Mode":"Normal""temp0":61,"temp1":62}\0',
        {"Power Mode": "Normal", "temp0": 61, "temp1": 62},
        ("missing comma",),
    ),
    "nan: Avalon 10 after a start": (
        b'{"SUMMARY":[{"MHS av":nan,"MHS 5s":-nan,"Utility":0.00}]}\0',
        {"SUMMARY": [{"MHS av": None, "MHS 5s": None, "Utility": 0.0}]},
        ("bare nan (2 places)",),
    ),
    "inf": (b'{"Max":inf,"Min":-Infinity}\0', {"Max": None, "Min": None}, ("bare nan (2 places)",)),
    "NaN, which Python would take": (b'{"a":[NaN]}\0', {"a": [None]}, ("bare nan",)),
    "escape: Whatsminer M20S": (
        rb'{"Firmware Version":"\'20200101.1.REL\'"}' + b"\0",
        {"Firmware Version": "'20200101.1.REL'"},
        ("bad escape (2 places)",),
    ),
    "escape of four digits that has none": (
        rb'{"a":"\u00e9 \u12 \t"}',
        {"a": "\xe9 u12 \t"},
        ("bad escape",),
    ),
    "newline in a string: StrongU STU-6, Whatsminer of the first kind": (
        b'{"Last Share Time":"Wed Jan  1 00:00:00 2020\n","id":1}\0',
        {"Last Share Time": "Wed Jan  1 00:00:00 2020\n", "id": 1},
        ("raw newline",),
    ),
    "trailing quote and brace: S9k, STU-2": (
        b'{"VERSION":[{"API":"3.1"}],"id":1}"}\0',
        {"VERSION": [{"API": "3.1"}], "id": 1},
        ("trailing garbage",),
    ),
    "two documents: cgminer 4.11.1, bad JSON after a joined command": (
        b'{"STATUS":[{"STATUS":"E","Code":23}],"id":1}\0{"STATUS":[{"STATUS":"E"}]},"id":1}\0',
        {"STATUS": [{"STATUS": "E", "Code": 23}], "id": 1},
        ("second document",),
    ),
    "two documents with nothing between": (
        b'{"id":1}{"id":2}',
        {"id": 1},
        ("second document",),
    ),
    "trailing comma: btminer": (
        b'{"SUMMARY":[{"Elapsed":5,},],"id":1}\0',
        {"SUMMARY": [{"Elapsed": 5}], "id": 1},
        ("trailing comma (2 places)",),
    ),
    "leading comma: bmminer": (
        b'{"STATS":[,{"STATS":0},,{"STATS":1}],"id":1}\0',
        {"STATS": [{"STATS": 0}, {"STATS": 1}], "id": 1},
        ("leading comma (2 places)",),
    ),
    "no beginning: Avalon": (b',"id":1}\0', {"id": 1}, ("missing opening brace",)),
    "list with colons: Whatsminer 2.0.4": (
        b'{"Msg":{"error_code":["329":"2023-05-01 10:00","110":["a"]]},"Code":131}\0',
        {"Msg": {"error_code": [{"329": "2023-05-01 10:00"}, {"110": ["a"]}]}, "Code": 131},
        ("list with colons (2 places)",),
    ),
    "overflow: btminer with hundreds of error codes": (
        b'{"SUMMARY":[{"Elapsed":5,"Power":3400,"Error Code 0":5040,"Error Code 1":21\0',
        {"SUMMARY": [{"Elapsed": 5, "Power": 3400, "Error Code 0": 5040}]},
        ("cut off",),
    ),
    "overflow within a string": (
        b'{"SUMMARY":[{"Elapsed":5},{"Pool":"stratum+t\0',
        {"SUMMARY": [{"Elapsed": 5}, {}]},
        ("cut off",),
    ),
    "a user's name with a quote in it": (
        rb'{"User":"bench.worker"1=\\x","Last Share Time":0}',
        {"User": 'bench.worker"1=\\x', "Last Share Time": 0},
        ("unescaped quote",),
    ),
    "a degree sign of another alphabet: Goldshell": (
        b'{"temp":"83 \xb0C"}',
        {"temp": "83 \xb0C"},
        ("not UTF-8",),
    ),
    "several at once": (
        b'{"STATS":[{"a":nan,}{"b":"x\ty"}],"id":1}"}\0',
        {"STATS": [{"a": None}, {"b": "x\ty"}], "id": 1},
        ("bare nan", "trailing comma", "missing comma", "raw newline", "trailing garbage"),
    ),
}
HOPELESS = {
    "no value": b'{"a":,"b":1}\0',
    "no colon": b'{"a" 1}\0',
    "no key": b"{1:2}\0",
    "the wrong bracket": b'{"a":[1}]\0',
    "an unknown word": b'{"a":None}\0',
    "a number with a zero before it": b'{"a":007}\0',
    "a colon after no string": b"[{}:1]\0",
    "a colon first": b"[:1]\0",
    "an integer of 5000 digits": b'{"a":' + b"9" * 5000 + b"}\0",
    "65 lists": b"[" * 65 + b"nan" + b"]" * 65 + b"\0",
    "a word": b"hello\0",
    "4097 commas": b"[" + b"," * 4097 + b"]\0",
    "a bracket that closes nothing": b"}\0",
}
CUT = [b"", b"{", b'{"a"', b'{"a":', b'{"a":1', b'{"a":1,', b'{"a":"x', b'{"a":tr', b'{"a":[']

numbers = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False))
scalars = st.one_of(st.none(), st.booleans(), st.text(), numbers)
documents = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)


@settings(max_examples=50)
@given(
    documents,
    st.sampled_from(["ascii", "utf-8"]),
    st.sampled_from([None, 1]),
    st.sampled_from([b"", b"\0", b"\n\0"]),
)
@example([], "utf-8", None, b"\0")
@example({"a": '""}{,}[,{nan\\\''}, "ascii", None, b"")
def test_what_is_valid_is_never_touched(document, encoding, indent, end):
    text = json.dumps(document, ensure_ascii=encoding == "ascii", indent=indent)
    came, repairs = loads(text.encode() + end)
    assert repairs == ()
    assert repr(came) == repr(json.loads(text))  # == takes 1 for 1.0 and True


@pytest.mark.parametrize(("raw", "document", "repairs"), MALFORMED.values(), ids=MALFORMED.keys())
def test_each_malformation_is_repaired_by_name(raw, document, repairs):
    with pytest.raises(ValueError):
        json.loads(raw.rstrip(b"\0"), parse_constant=int)
    assert loads(raw) == (document, repairs)


@pytest.mark.parametrize("raw", HOPELESS.values(), ids=HOPELESS.keys())
def test_what_could_only_be_guessed_is_refused_with_the_bytes(raw):
    with pytest.raises(ProtocolError) as refused:
        loads(raw, "192.0.2.1:4028: stats")
    assert not isinstance(refused.value, Truncated)
    assert refused.value.received == raw
    assert str(refused.value).startswith("192.0.2.1:4028: stats: no JSON from character ")
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize("raw", CUT)
def test_what_ends_too_early_without_a_nul_is_truncated(raw):
    with pytest.raises(Truncated, match="ask again") as cut:
        loads(raw)
    assert cut.value.received == raw


containers = documents.filter(lambda document: isinstance(document, (dict, list)) and document)


@settings(max_examples=50)
@given(containers, st.data())
def test_one_fault_anywhere_is_one_repair_and_the_document(document, data):
    tokens = list(written(document))
    faults = list(faulty(tokens))
    name, spoiled = faults[data.draw(st.integers(0, len(faults) - 1))]
    came, repairs = loads(" ".join(spoiled).encode())
    assert repairs == (name,)
    assert repr(came) == repr(document)


def written(document):
    """Yield a document's JSON token by token."""
    if isinstance(document, dict):
        members = [[json.dumps(key), ":", *written(each)] for key, each in document.items()]
    elif isinstance(document, list):
        members = [list(written(each)) for each in document]
    else:
        yield json.dumps(document)
        return
    yield "{" if isinstance(document, dict) else "["
    for number, member in enumerate(members):
        yield from [","] * (number > 0) + member
    yield "}" if isinstance(document, dict) else "]"


def faulty(tokens):
    """Yield each way to spoil it in one place."""
    for at, token in enumerate(tokens):
        before, after = tokens[:at], tokens[at + 1 :]
        if token == ",":
            yield repair.MISSING_COMMA, before + after
            yield repair.LEADING_COMMA, [*before, ",", ",", *after]
        if token in {"]", "}"} and before[-1] not in {"[", "{"}:
            yield repair.TRAILING_COMMA, [*before, ",", token, *after]
        if token in {"[", "{"}:
            yield repair.LEADING_COMMA, [*before, token, ",", *after]
        if token == "null":
            yield repair.BARE_NAN, [*before, "nan", *after]
    yield repair.TRAILING_GARBAGE, [*tokens, '"}']
    yield repair.SECOND_DOCUMENT, [*tokens, *tokens]


@settings(max_examples=50)
@given(containers, st.data())
def test_no_beginning_of_a_document_passes_for_it(document, data):
    text = json.dumps(document)
    with pytest.raises(Truncated):
        loads(text[: data.draw(st.integers(0, len(text) - 1))].encode())


MEGABYTE = 1 << 20
ADVERSARIAL = {
    "commas": b"[" + b"," * MEGABYTE,
    "lists": b"[" * MEGABYTE,
    "empty lists side by side": b"[" + b"[]" * (MEGABYTE // 2),
    "quotes": b'["' + b'"a' * (MEGABYTE // 2),
    "strings": b"[" + b'"a"' * (MEGABYTE // 3),
    "backslashes": b'["' + b"\\" * MEGABYTE,
    "bad escapes": b'["' + b"\\'" * (MEGABYTE // 2) + b'"]',
    "newlines in a string": b'["' + b"\n" * MEGABYTE + b'"]',
    "newlines": b"[" + b"\n" * MEGABYTE + b"!",
    "digits": b"[" + b"1" * MEGABYTE,
    "exponents": b"[" + b"1e" * (MEGABYTE // 2),
    "letters": b"[" + b"n" * MEGABYTE,
    "colons": b'["a"' + b':"a"' * (MEGABYTE // 4),
    "documents": b"{}" * (MEGABYTE // 2),
    "nuls": b"{}" + b"\0" * MEGABYTE,
}


class Steps:
    """A pattern that counts the characters it has looked at."""

    def __init__(self, pattern):
        self.pattern = pattern
        self.count = 0

    def match(self, text, at):
        found = self.pattern.match(text, at)
        self.count += (found.end() if found else len(text)) - at + 1
        return found


@pytest.mark.parametrize("raw", ADVERSARIAL.values(), ids=ADVERSARIAL.keys())
@pytest.mark.parametrize("end", [b"", b"\0"], ids=["", "NUL"])
def test_a_megabyte_that_means_ill_is_looked_at_once(raw, end, monkeypatch):
    steps = Steps(repair._TOKEN)
    monkeypatch.setattr(repair, "_TOKEN", steps)
    with suppress(ProtocolError):
        loads(raw + end)
    assert steps.count <= 3 * len(raw)


def rows():
    try:
        with (CAPTURES / "INDEX.tsv").open(encoding="utf-8") as index:
            return [*csv.DictReader(index, delimiter="\t", quoting=csv.QUOTE_NONE)]
    except OSError:
        return []


@pytest.mark.skipif(not rows(), reason="no captures here: HWKIT_CAPTURES names their folder")
def test_all_captures_are_read_and_only_the_malformed_are_repaired():
    repaired = {}
    for row in rows():
        if row["path"].endswith(".json"):
            _, repairs = loads((CAPTURES / row["path"]).read_bytes(), row["path"])
            if repairs:
                repaired[row["path"]] = repairs
    assert repaired == {
        "cgminer/nodev-4.11.1/raw__command_.json": ("second document",),
        "volcminer/D1-volcminer-cgminer-2.3.3/stats.json": ("missing comma",),
        # A pool's user with a quote and a backslash, which the scrubbing of these two cut in half.
        "bfgminer/cpu-5.5.0/pools.json": ("unescaped quote",),
        "bfgminer/cpu-5.5.0/summary+devs+pools+stats+version.json": ("unescaped quote",),
    }
