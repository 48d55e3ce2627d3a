"""Numbers out of somebody else's JSON."""

import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwkit.errors import PlanError, ProtocolError
from hwkit.wire.fields import Field, has, numbers, parse, text

# The document and the pointers of RFC 6901, section 5, as far as they lead to numbers.
DOCUMENT = {"foo": ["bar", 7], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5} | {
    'k"l': 6,
    " ": 7,
    "m~n": 8,
}


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("/foo/1", 7),
        ("/", 0),
        ("/a~1b", 1),
        ("/c%d", 2),
        ("/e^f", 3),
        ("/g|h", 4),
        ("/i\\j", 5),
        ('/k"l', 6),
        ("/ ", 7),
        ("/m~0n", 8),
    ],
)
def test_pointers(pointer, value):
    assert numbers("test", DOCUMENT, {"watts": Field(pointer)}, ("watts",)) == {"watts": value}


@pytest.mark.parametrize(
    "pointer",
    [
        "/foo/2",
        "/foo/01",
        "/foo/-1",
        "/foo/-",
        "/foo/٣",
        "/foo/" + "0" * 12 + "1",
        "/foo/9999999999",
        "/foo/1/x",
        "/none",
        "/foo/bar",
    ],
)
def test_pointers_to_nothing(pointer):
    assert not has(DOCUMENT, pointer)
    assert numbers("test", DOCUMENT, {"watts": Field(pointer)}, ()) == {}
    with pytest.raises(ProtocolError, match="says nothing of /"):
        numbers("test", DOCUMENT, {"watts": Field(pointer)}, ("watts",))


def test_what_is_no_pointer():
    with pytest.raises(PlanError, match="no JSON pointer"):
        Field("ENERGY.Power")


def test_a_text_cannot_steer_a_terminal():
    assert text({"a": "x\x1b[2J\n"}, "/a") == "x\ufffd[2J\ufffd"
    assert text({"a": "y" * 500}, "/a") == "y" * 80
    absent: tuple[object, ...] = (None, [], {}, "")
    for nothing in absent:
        assert text({"a": nothing}, "/a") is None


def test_exactly_what_is_there():
    fields = {"watts": Field("/p"), "joules": Field("/e", 3600.0)}
    assert numbers("test", {"p": 0, "e": 0.5}, fields, ("watts",)) == {"watts": 0, "joules": 1800}
    assert type(numbers("test", {"p": 5}, fields, ())["watts"]) is float


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@given(VALUES, st.text(max_size=8))
def test_only_finite_floats_come_out(document, pointer):
    with suppress(ProtocolError):
        found = numbers("test", document, {"watts": Field("/" + pointer, 3.6e6)}, ("watts",))
        assert type(found["watts"]) is float
        assert math.isfinite(found["watts"])


@given(st.binary(max_size=40))
def test_any_bytes_are_json_or_refused(data):
    with suppress(ProtocolError):
        parse("test", data)
