"""The API's text form, and an Avalon's brackets: the document that JSON would have been."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwkit.errors import ProtocolError
from hwkit.wire.cgminer import parse
from hwkit.wire.cgminer_text import brackets, loads
from hwkit.wire.repair import Truncated

from .test_repair import CAPTURES, MEGABYTE

STATUS = b"STATUS=S,When=1,Code=11,Msg=Summary,Description=cgminer 4.11.1|"
SAID = {"STATUS": "S", "When": "1", "Code": "11", "Msg": "Summary", "Description": "cgminer 4.11.1"}

# The joined keys, as the API names them in JSON: a section is told by its first field.
names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)
values = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
fields = st.dictionaries(names, values, max_size=4)
listed = st.sampled_from([("SUMMARY", "SUMMARY"), ("VERSION", "VERSION"), ("COIN", "COIN")])
numbered = st.sampled_from(
    [("POOL", "POOLS"), ("ASC", "DEVS"), ("PGA", "DEVS"), ("STATS", "STATS")]
)
bare = st.tuples(listed, fields.map(lambda said: [said]))
many = st.tuples(numbered, st.lists(fields, min_size=1, max_size=3))
parts = st.lists(st.one_of(bare, many), max_size=2, unique_by=lambda part: part[0][1])


def escaped(text):
    """Write a text as api.c's escape_string does, a character at a time."""
    return "".join("\\" + char if char in "|,=\\" else char for char in text)


def encoded(status, kinds):
    """Return one command's answer in the text form, and as a document."""
    text = ",".join(f"{escaped(key)}={escaped(value)}" for key, value in status.items()) + "|"
    document = {"STATUS": [status]}
    for (name, together), sections in kinds:
        for number, section in enumerate(sections):
            bared = name == together and name != "STATS"
            first = name if bared else f"{name}={number}"
            rest = [f"{escaped(key)}={escaped(value)}" for key, value in section.items()]
            text += ",".join([first, *rest]) + "|"
            whole = section if bared else {name: str(number)} | section
            document.setdefault(together, []).append(whole)
    return text, document | {"id": 1}


status = st.sampled_from([SAID, {"STATUS": "E", "Code": "9", "Msg": "a|b,c=d\\"}])


@settings(max_examples=40)
@given(status, parts)
def test_what_is_written_in_text_is_read_as_json_would_be(status, kinds):
    text, document = encoded(status, kinds)
    assert loads(text.encode() + b"\0") == (document, ())


@settings(max_examples=20)
@given(
    st.dictionaries(
        names.filter(lambda name: name != "id"), st.tuples(status, parts), min_size=1, max_size=2
    )
)
def test_joined_commands_are_lists_of_one_under_their_names(answers):
    text, document = "", {}
    for command, (said, kinds) in answers.items():
        part, read = encoded(said, kinds)
        text += f"CMD={escaped(command)}|{part}"
        document[command] = [read]
    assert loads(text.encode() + b"\0") == (document | {"id": 1}, ())


@pytest.mark.parametrize(
    ("raw", "document", "repairs"),
    [
        (b"VERSION,API=3.7|\n\0", {"VERSION": [{"API": "3.7"}]}, ()),
        # api.c escapes what a user may have written, and not what a driver says.
        (
            b"POOL=0,User=a,up\\|w\\=1,Diff=2|\0",
            {"POOLS": [{"POOL": "0", "User": "a,up|w=1", "Diff": "2"}]},
            ("unescaped comma",),
        ),
        (
            b"STATS=0,MM ID0=SYSTEMSTATU[Work: In Work, Hash Board: 3 ] LW[1],Calls=0|\0",
            {
                "STATS": [
                    {
                        "STATS": "0",
                        "MM ID0": "SYSTEMSTATU[Work: In Work, Hash Board: 3 ] LW[1]",
                        "Calls": "0",
                    }
                ]
            },
            ("unescaped comma",),
        ),
        (b"CONFIG,Path=a\\b=c|\0", {"CONFIG": [{"Path": "a\\b=c"}]}, ("bad escape",)),
        (b"SUMMARY,Elapsed=5\0", {"SUMMARY": [{"Elapsed": "5"}]}, ("missing bar at the end",)),
        (b"BYE,then|\0", {"BYE": [{}]}, ("field without a value",)),
        (b"BYE|\0STATUS=S|\0", {"BYE": [{}]}, ("second document",)),
        (b"FAN=\xb0|\0", {"FAN": [{"FAN": "\xb0"}]}, ("not UTF-8",)),
        (b"id=1|\0", {"id": 1}, ()),
    ],
)
def test_what_text_lacks_is_repaired_by_name(raw, document, repairs):
    assert loads(STATUS + raw) == ({"STATUS": [SAID], "id": 1} | document, repairs)


@pytest.mark.parametrize(("code", "name"), [(57, "PGA"), (9, "DEVS")])
def test_one_device_stands_under_its_own_name_as_in_json(code, name):
    document, _ = loads(b"STATUS=S,Code=%d|PGA=0,Name=CPU|\0" % code)
    assert document[name] == [{"PGA": "0", "Name": "CPU"}]


@pytest.mark.parametrize("cut", range(1, len(STATUS) - 1))
def test_a_text_without_bar_and_nul_is_truncated(cut):
    if cut >= len(b"STATUS="):
        with pytest.raises(Truncated, match="ask again"):
            parse(STATUS[:cut])
    else:
        with pytest.raises(ProtocolError, match="neither JSON nor"):
            parse(STATUS[:cut])


# Both of an Avalon's forms, with numbers of ours: several modules a controller (741), and one with
# what it calls HBinfo (Q).
OLD = {
    "MM ID1": "Ver[7210001-a1b2c3d] DNA[0a0b] MW[1990 2010] DH[0.000%] Fan[4000] FanR[50%] "
    "SYSTEMSTATU[Work: In Work, Hash Board: 3 ] SSID[] PVT_T[3-70/5-81/77 2-71/9-83/78]",
    "MM ID2": "Ver[7210001-a1b2c3d] Fan[3990]",
}
NEW = "'HB0':{PVT_T0[ 58  59] MW0[1 2]} 'HB1':{PVT_T0[ 60  61] MW0[] }"


def test_an_avalons_modules_are_read_each_by_itself():
    first, second = map(brackets, OLD.values())
    assert first == {
        "Ver": "7210001-a1b2c3d",
        "DNA": "0a0b",
        "MW": "1990 2010",
        "DH": "0.000%",
        "Fan": "4000",
        "FanR": "50%",
        "SYSTEMSTATU": "Work: In Work, Hash Board: 3 ",
        "SSID": "",
        "PVT_T": "3-70/5-81/77 2-71/9-83/78",
    }
    assert second == {"Ver": "7210001-a1b2c3d", "Fan": "3990"}


def test_groups_of_a_newer_avalon_are_taken_apart_in_two_steps():
    groups = brackets(NEW)
    assert list(groups) == ["HB0", "HB1"]
    assert brackets(groups["HB1"]) == {"PVT_T0": " 60  61", "MW0": ""}


@pytest.mark.parametrize("text", ["", "no brackets", "PS[0 1", "PS[", "]", "'HB0':{", "'HB0' {A[1"])
def test_what_is_no_bracket_is_left_out(text):
    assert brackets(text) == {}
    assert brackets(f"{text} LW[7]") == {"LW": "7"}


@pytest.mark.parametrize(
    "piece", ["a", "a[", "a[]", "'", "'a':{", "]", "\\", "|", ",", "=", "a=,b|"]
)
def test_a_megabyte_that_means_ill_comes_to_an_end(piece):
    brackets(piece * (MEGABYTE // len(piece)))
    loads(STATUS + piece.encode() * (MEGABYTE // 8) + b"\0")


@pytest.mark.skipif(not CAPTURES.exists(), reason="no captures here: HWKIT_CAPTURES names a folder")
def test_captured_texts_have_the_shape_of_captured_json():
    texts = [*CAPTURES.glob("*/*/text_*.txt")]
    assert len(texts) >= 9
    for path in texts:
        json_form = path.with_name(path.stem.removeprefix("text_") + ".json")
        text = parse(path.read_bytes())
        expected = parse(json_form.read_bytes())
        assert shape(text.document) == shape(expected.document)
        if text.status:
            assert expected.status
            assert text.status == expected.status


def shape(document):
    """Return which members a document has."""
    if isinstance(document, dict):
        return {key: shape(value) for key, value in document.items()}
    return [shape(each) for each in document] if isinstance(document, list) else None


@pytest.mark.skipif(not CAPTURES.exists(), reason="no captures here: HWKIT_CAPTURES names a folder")
def test_captured_brackets_are_read_whole():
    seen = 0
    for path in CAPTURES.glob("avalon/*/*stats.json"):
        for key, text in found(parse(path.read_bytes()).document):
            if key.startswith(("MM ID", "HBinfo")) and isinstance(text, str):
                read = brackets(text)
                groups = [brackets(value) for value in read.values() if "[" in value]
                count = sum(map(len, groups)) if groups else len(read)
                assert count == text.count("["), (path, key)
                seen += 1
    assert seen >= 4


def found(document):
    if isinstance(document, dict):
        yield from document.items()
    for each in document.values() if isinstance(document, dict) else document:
        if isinstance(each, (dict, list)):
            yield from found(each)
