"""Which variant is the fastest: by rates with noise, and what is remembered of it."""

import json
import random
import re
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import pytest

from hwkit.errors import DeviceLost, NoDevice
from hwkit.harness import tuning
from hwkit.hashers import tunings
from hwkit.hashers.device import DeviceHasher, best_known
from hwkit.hashers.kernel import TimedHits
from hwkit.hashers.reference import ReferenceKernel
from hwkit.hashers.tunings import Tuning


@pytest.fixture(autouse=True)
def path(tmp_path, monkeypatch):
    """Where tunings are remembered."""
    monkeypatch.setattr(tunings, "user_cache_path", lambda name: tmp_path / name)
    monkeypatch.setattr(tuning, "WARM_S", 0.01)
    return tmp_path / "hwkit" / "tunings.json"


@dataclass(frozen=True)
class Words:
    """A variant of a device that there is not."""

    name: str

    def __str__(self):
        return f"as {self.name}"


class FakeKernel:
    """Answers as the reference does, and times itself by a rate with noise."""

    name = "fake:0"
    lanes = 1
    capacity = 1024

    def __init__(self, device, name):
        self.device, self.variant = device, name
        self.child = self
        self.ended = False
        self.random = random.Random(name)
        device.open.append(name)

    def end(self):
        if not self.ended:
            self.device.open.remove(self.variant)
        self.ended = True

    def scan(self, header, target, nonces, versions=()):
        if self.variant in self.device.crash:
            raise DeviceLost(f"fake:0 as {self.variant}: crashed (SIGSEGV)")
        timing = header == tuning.HEADER
        if timing and self.variant in self.device.crash_at_work:
            raise DeviceLost(f"fake:0 as {self.variant}: crashed (SIGSEGV)")
        blind = timing or self.variant in self.device.blind
        hits = TimedHits([] if blind else ReferenceKernel().scan(header, target, nonces))
        rate = self.device.rates[self.variant] * self.random.uniform(0.98, 1.02)
        hits.busy_ns = round(len(nonces) * 1e9 / rate)
        self.device.asked += timing
        return hits


@dataclass
class FakeDevice:
    """A device with a variant for each rate."""

    rates: dict
    crash: tuple = ()
    crash_at_work: tuple = ()
    blind: tuple = ()
    driver: str = "1.0"
    open: list = field(default_factory=list)
    asked: int = 0
    address = "fake:0"
    device = "Fake"
    left_out = MappingProxyType({"as last": "it is known to crash"})

    @property
    def identity(self):
        return {"device": "Fake", "driver": self.driver}

    @property
    def usual(self):
        return [Words(name) for name in self.rates]

    def worth_trying(self):
        return self.usual

    def variant_of(self, address):
        return Words(address.options["name"])

    def variant(self, **told):
        return Words(**told)

    def hasher(self, variant, **details):
        kernel = FakeKernel(self, variant.name)
        return DeviceHasher.lift(kernel, "fake:0", 1, name=variant.name, **details)


def tuned(device, *, again=False, stopped=lambda: False):
    """Return the hasher that tuning gives, and what it says."""
    said: list[str] = []
    [hasher] = [each for each in best_known(device) if isinstance(each, DeviceHasher)]
    return tuning.tune(hasher, stopped, said.append, again=again), said


@pytest.mark.parametrize("fastest", ["a", "b", "c"])
def test_the_fastest_is_found_and_remembered(fastest):
    device = FakeDevice({"a": 1e7, "b": 1e7, "c": 1e7} | {fastest: 1.1e7})
    hasher, said = tuned(device)
    assert hasher.spec.details["name"] == fastest
    assert said[0].startswith("fake:0: tuning, 3 variants")
    assert re.fullmatch(rf"fake:0: as {fastest} measures best, 1[01](\.\d+)? MH/s.*", said[-1])
    shown = hasher.spec.details["tuned"]
    assert shown["measured_h_s"][0]["variant"] == f"as {fastest}"
    for each in shown["measured_h_s"]:
        assert each["lo"] <= each["value"] <= each["hi"]
        assert each["value"] == pytest.approx(device.rates[each["variant"][3:]], rel=0.02)
    assert device.open == [fastest]  # no process stays that nobody will ask
    asked = device.asked
    again, said = tuned(device)
    assert (device.asked, said) == (asked, [])
    assert again.spec.details == hasher.spec.details


def test_again_when_asked_and_for_another_driver():
    device = FakeDevice({"a": 1e7, "b": 1.1e7})
    tuned(device)
    device.rates = {"a": 1.2e7, "b": 1.1e7}
    assert tuned(device)[0].spec.details["name"] == "b"
    assert tuned(device, again=True)[0].spec.details["name"] == "a"
    device.rates = {"a": 1.0e7, "b": 1.1e7}
    assert tuned(replace(device, driver="2.0"))[0].spec.details["name"] == "b"
    assert tuned(device)[0].spec.details["name"] == "a"  # both are remembered


@pytest.mark.parametrize("fault", ["crash", "crash_at_work", "blind"])
def test_what_is_not_right_is_left_out_however_fast(fault):
    device = FakeDevice({"a": 1e7, "b": 9e7, "c": 0.9e7})
    setattr(device, fault, ("b",))
    hasher, said = tuned(device)
    assert hasher.spec.details["name"] == "a"
    [left_out] = hasher.spec.details["tuned"]["left_out"].items()
    assert left_out[0] == "as b"
    assert ("wrong answer" if fault == "blind" else "crashed (SIGSEGV)") in left_out[1]
    assert any("fake:0 as b: " in line for line in said)
    assert "as b" not in {each["variant"] for each in hasher.spec.details["tuned"]["measured_h_s"]}


def test_where_nothing_is_right_there_is_nothing_to_choose(path):
    device = FakeDevice({"a": 1e7, "b": 2e7}, crash_at_work=("a", "b"))
    hasher, _ = tuned(device)
    assert "tuned" not in hasher.spec.details
    assert not path.exists()


def test_stopped_at_any_moment_it_changes_nothing(path, monkeypatch):
    monkeypatch.setattr(tuning, "WARM_S", 0)
    for moments in range(80):
        device, left = FakeDevice({"a": 1e7, "b": 1.1e7}), iter(range(moments))
        hasher, _ = tuned(device, stopped=lambda left=left: next(left, None) is None)
        if path.exists():
            break
        assert hasher.spec.details["name"] == "a"
        assert device.open == ["a"]
    else:
        pytest.fail("it was never done")
    assert moments > 20


def test_a_variant_that_was_asked_for_stays():
    device = FakeDevice({"a": 1e7, "b": 1.1e7})
    hasher = device.hasher(Words("a"))
    assert tuning.tune(hasher, lambda: False, print, again=True) is hasher


@pytest.mark.parametrize(
    "variant", [{"name": "z"}, {"colour": 1}, {}, {"name": "b", "more": 10**9}]
)
def test_a_variant_that_nobody_would_race_is_not_run(variant):
    """Whatever the file says: it may be of an older hwkit, or anybody's."""
    device = FakeDevice({"a": 1e7, "b": 1.1e7})
    tunings.keep(replace(SOME, identity=device.identity, variant=variant))
    [hasher] = [each for each in best_known(device) if isinstance(each, DeviceHasher)]
    assert hasher.spec.details["name"] == "a"


def test_what_was_the_fastest_and_fails_now_gives_way():
    device = FakeDevice({"a": 1e7, "b": 1.1e7})
    tuned(device)
    device.crash = ("b",)
    *absent, hasher = best_known(device)
    assert isinstance(hasher, DeviceHasher)
    assert hasher.spec.details["name"] == "a"
    assert "tuned" not in hasher.spec.details
    assert [each.why for each in absent if isinstance(each, NoDevice)] == [
        "as last: left out: it is known to crash",
        "as b: crashed (SIGSEGV)",
    ]


# --- what is remembered ----------------------------------------------------------------------

DAMAGED = json.dumps([{"identity": {}, "variant": {}, "on": "", "left_out": {}}])
SOME = Tuning({"device": "d"}, {"name": "a"}, "2026-11-22", (("as a", 2.0, 1.0, 3.0),), {"b": "c"})


def test_a_tuning_comes_back():
    assert tunings.read(SOME.identity) is None
    tunings.keep(SOME)
    assert tunings.read(SOME.identity) == SOME
    assert tunings.read({"device": "e"}) is None
    tunings.keep(replace(SOME, on="2026-11-23"))
    found = tunings.read(SOME.identity)
    assert found
    assert found.on == "2026-11-23"


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", "{}", '[{"identity": 1}]', "[" * 100_000, "\0", DAMAGED]
)
def test_a_damaged_file_is_forgotten(path, text):
    tunings.keep(SOME)
    path.write_text(text)
    assert tunings.read(SOME.identity) is None
    tunings.keep(SOME)
    assert tunings.read(SOME.identity) == SOME
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_where_nothing_can_be_written_it_is_lost(path):
    path.parent.write_text("a file in the way")
    tunings.keep(SOME)
    assert tunings.read(SOME.identity) is None


def test_the_oldest_goes(path, monkeypatch):
    monkeypatch.setattr(tunings, "MOST", 3)
    for number in range(5):
        tunings.keep(replace(SOME, identity={"device": str(number)}))
    kept = [number for number in range(5) if tunings.read({"device": str(number)})]
    assert kept == [2, 3, 4]
