"""docs/meters.md holds what the drivers take: every kind, option and profile, and no other."""

import re
from pathlib import Path

import pytest

from hwkit import plugins
from hwkit.errors import HwkitError
from hwkit.meters import addressing, instruments, mqtt, profiles
from hwkit.wire import snmp

PAGE = Path(__file__).resolve().parents[2] / "docs" / "meters.md"
pytestmark = [
    pytest.mark.skipif(not PAGE.exists(), reason="no tree around the tests"),
    *(pytest.mark.needs(module=each) for each in ("aiohttp", "paho", "pymodbus", "pysnmp")),
]
STATED = set(addressing.STATED)
WITH_PROFILES = ("modbus", "snmp", "scpi")


def section(name):
    text = PAGE.read_text(encoding="utf-8")
    found = re.search(rf"^## {re.escape(name)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"no section {name}"
    return found[1]


def options_in(text):
    """Return the options in the first column of a section's table."""
    rows = re.findall(r"^\| (`[^|]+) \|", text, re.MULTILINE)
    return {option for row in rows for option in re.findall(r"`([^`]+)`", row)}


def allowed(kind, monkeypatch):
    """Return what the drivers of a kind allow, of all profiles together."""
    seen = set()
    monkeypatch.setattr(plugins.Address, "allow", lambda _, *keys: seen.update(keys))
    named = profiles.known(kind) if kind in WITH_PROFILES else [None]
    generic = {"snmp": "oid=1.3.6", "scpi": "query=P%3F"}
    asked = [f"profile={name}" for name in named if name] + [generic.get(kind, "watts=/a")]
    for query in asked:
        place = {"nameplate": "1W", "http": "h/a", "mqtt": "h/a"}.get(kind, "h")
        try:
            list(plugins.meters(f"{kind}:{place}?{query}"))
        except HwkitError:  # what is not here, or lacks a profile; it has been asked what it allows
            continue
    assert seen
    return seen


def test_every_kind_has_a_section_and_a_line_in_the_table():
    overview = PAGE.read_text(encoding="utf-8").partition("## ")[0]
    for kind in plugins.meter_kinds():
        assert f"[`{kind}`](#{kind})" in overview
        assert re.search(rf"`'?{kind}\b", section(kind))


@pytest.mark.parametrize("kind", plugins.meter_kinds())
def test_the_options_on_the_page_are_those_allowed(kind, monkeypatch):
    own = allowed(kind, monkeypatch) - STATED
    assert options_in(section(kind)) == own


def test_what_all_take_is_on_the_page(monkeypatch):
    text = section("What any address may state")
    assert options_in(text) == STATED
    exceptions = text.strip().rpartition("\n\n")[2]
    for kind in plugins.meter_kinds():
        taken = allowed(kind, monkeypatch) & STATED
        said = re.search(rf"`{kind}` (?:has of these )?((?:`\w+`(?:, | and )?)+)", exceptions)
        assert taken == (set(re.findall(r"`(\w+)`", said[1])) if said else STATED), kind


def test_every_profile_is_on_the_page():
    for kind in WITH_PROFILES:
        for name in profiles.known(kind):
            assert f"`{name}`" in section(kind)
    for kind, named in (("shelly", instruments.SHELLY), ("mqtt", mqtt.PROFILES)):
        for name in named:
            assert f"`{name}`" in section(kind)


def test_every_word_of_the_credentials_is_on_the_page():
    words = set(re.findall(r"`(\w+)`", section("Credentials")))
    assert {"user", "password", "community", "auth_key", "priv_key"} <= words
    assert set(snmp._AUTH) | set(snmp._PRIV) <= words


def test_every_example_is_an_address_that_is_taken():
    text = PAGE.read_text(encoding="utf-8")
    kinds = "|".join(plugins.meter_kinds())
    examples = re.findall(rf"as in `'?((?:{kinds})\b[^`']*)", text)
    assert len(examples) > 10
    for address in examples:
        list(plugins.meters(address))  # raises PlanError for one that makes no sense
