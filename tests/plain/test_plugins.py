"""The door: addresses, entry points, and plugins that fail on their way in."""

import sys
from contextlib import suppress
from importlib.metadata import EntryPoint

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwkit import plugins
from hwkit.errors import NoDevice, NoDriver, PlanError, Unavailable
from hwkit.hashers.null import NullHasher
from hwkit.plugins import Address
from hwkit.protocols import Hasher


@pytest.mark.parametrize(
    ("text", "scheme", "place", "options"),
    [
        ("rapl", "rapl", "", {}),
        ("cpu:avx2", "cpu", "avx2", {}),
        ("cpu:avx2?threads=2", "cpu", "avx2", {"threads": "2"}),
        ("cpu?threads=2", "cpu", "", {"threads": "2"}),
        ("asic:192.0.2.50:4028", "asic", "192.0.2.50:4028", {}),
        ("modbus:a.b?profile=x&unit=1", "modbus", "a.b", {"profile": "x", "unit": "1"}),
        ("asic:[2001:db8::1]:4028", "asic", "[2001:db8::1]:4028", {}),
        ("x:y?empty=", "x", "y", {"empty": ""}),
        ("x:y?", "x", "y", {}),
    ],
)
def test_addresses(text, scheme, place, options):
    assert Address.parse(text) == Address(scheme, place, options)
    assert str(Address.parse(text)) == text.partition("?")[0]


@pytest.mark.parametrize(
    "text", ["", ":", ":avx2", "?threads=2", "cpu:avx2?threads", "cpu:a?=&", "cpu:a?t=1&t=2"]
)
def test_malformed_addresses(text):
    with pytest.raises(PlanError, match="address"):
        Address.parse(text)


@given(st.text())
def test_any_text_is_an_address_or_refused(text):
    with suppress(PlanError):
        assert Address.parse(text).scheme


def test_options_that_a_device_does_not_have():
    address = Address.parse("cpu:avx2?threads=2&colour=red")
    address.allow("threads", "colour")
    with pytest.raises(PlanError, match="no option 'colour'; it has threads"):
        address.allow("threads")
    with pytest.raises(PlanError, match="it has none"):
        address.allow()


@pytest.mark.parametrize(
    "text", ["0", "-1", "+1", "1.5", "", "two", "٣", " 2", "9" * 10, "9" * 5000]
)
def test_integers_that_are_none(text):
    with pytest.raises(PlanError, match="threads is a number"):
        Address("cpu", "avx2", {"threads": text}).integer("threads")


def test_integers():
    assert Address("cpu", "avx2", {"threads": "02"}).integer("threads") == 2
    assert Address("cpu", "avx2", {}).integer("threads") is None


def find_two(address):
    """What a plugin's find looks like: this test's own entry points lead here."""
    yield NullHasher()
    yield NoDevice("two:1", "there is only one") if address is None else NullHasher()


@pytest.fixture
def doors(monkeypatch):
    """Put entry points in the place of the installed ones."""

    def put(**values):
        def entry_points(*, group):
            return [EntryPoint(name, value, group) for name, value in values.items()]

        monkeypatch.setattr(plugins, "entry_points", entry_points)

    monkeypatch.setitem(sys.modules, "a_plugin_of_tests", sys.modules[__name__])
    return put


def test_everything_through_every_door(doors):
    doors(two="a_plugin_of_tests:find_two", one="a_plugin_of_tests:find_two")
    found = list(plugins.hashers())
    assert [isinstance(each, Hasher) for each in found] == [True, False, True, False]
    assert len(list(plugins.meters("one:x"))) == 2


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("no_such_module_anywhere:find", "No module named"),
        ("a_plugin_of_tests:no_such_function", "AttributeError"),
    ],
)
def test_a_plugin_that_does_not_load(doors, value, why):
    doors(bad=value, good="a_plugin_of_tests:find_two")
    for address in (None, "bad:1"):
        absent = next(plugins.hashers(address))
        assert isinstance(absent, NoDriver)
        assert isinstance(absent, Unavailable)
        assert absent.address == "bad"
        assert why in absent.why
    assert len(list(plugins.hashers())) == 3  # the others are not hurt


def test_a_plugin_that_fails_in_its_own_way_while_loading(doors, tmp_path, monkeypatch):
    (tmp_path / "a_plugin_with_a_library.py").write_text("raise OSError('libOpenCL.so.1: no')")
    monkeypatch.syspath_prepend(tmp_path)
    doors(bad="a_plugin_with_a_library:find")
    [absent] = plugins.hashers()
    assert isinstance(absent, NoDriver)
    assert "libOpenCL" in absent.why


def test_an_unknown_kind(doors):
    doors(one="a_plugin_of_tests:find_two", two="a_plugin_of_tests:find_two")
    with pytest.raises(PlanError, match="no such kind 'three'; known: one, two"):
        list(plugins.hashers("three:1"))
    doors()
    with pytest.raises(PlanError, match="known: none"):
        list(plugins.meters("three"))


def test_our_own_come_in_by_the_same_door():
    [null] = plugins.hashers("null")
    assert isinstance(null, Hasher)
    assert null.spec.name == "null"
    assert "null" not in {h.spec.name for h in plugins.hashers() if isinstance(h, Hasher)}
    with pytest.raises(PlanError, match="no option"):
        list(plugins.hashers("null?threads=2"))


def test_kinds_may_be_left_out(doors, monkeypatch):
    doors(two="a_plugin_of_tests:find_two", one="a_plugin_of_tests:find_two")
    monkeypatch.setenv("HWKIT_WITHOUT", "one,five")
    absent, *others = plugins.hashers()
    assert isinstance(absent, NoDevice)
    assert (absent.address, absent.why) == ("one", "left out: HWKIT_WITHOUT names it")
    assert len(others) == 2
    assert len(list(plugins.hashers("one:1"))) == 2  # who names it wants it
