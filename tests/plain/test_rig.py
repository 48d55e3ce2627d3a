"""The rig file: devices, their meters and wiring, and what a run makes of it."""

import json
import re
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from hwkit.errors import DeviceLost, NotPermitted, PlanError, Unavailable
from hwkit.harness import metered, rig, watch
from hwkit.harness import metering as meterings
from hwkit.harness.efficiency import Work
from hwkit.harness.metering import Metering
from hwkit.harness.plan import Plan
from hwkit.harness.result import Partners
from hwkit.harness.session import Session
from hwkit.harness.setup import Setup
from hwkit.harness.surroundings import Surroundings, surroundings
from hwkit.harness.wiring import Wiring, shown
from hwkit.hashers.kernel import KernelHasher
from hwkit.hashers.reference import ReferenceKernel
from hwkit.protocols import Accuracy, MeterSpec, Provenance, Reading, Scope
from hwkit.records.differences import differences, refuse_unlike
from hwkit.records.verify import verify

DOCS = Path(__file__).parents[2] / "docs" / "metering.md"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(metered, "METERED_WINDOW_S", 0.1)
    monkeypatch.setattr(metered, "AUDITS_AT_END_S", 0.5)
    monkeypatch.setattr(meterings, "LEAST_LAG_S", 0.05)


@dataclass
class Constant:
    """A meter of so many watts, with a little life in it, that counts: a stall here is no gap."""

    name: str
    watts: float
    scope: Scope = Scope.WALL
    interval_s: float | None = 0.02
    model: str = "Fake 3000"

    @property
    def spec(self):
        known = Accuracy(0.01, source="class 1")
        return MeterSpec(
            *(self.name, self.scope, Provenance.METER, known, self.interval_s), model=self.model
        )

    def open(self):
        return {}

    def read(self):
        now = time.monotonic_ns()
        watts = self.watts + now % 7 / 1e5
        return Reading(now, self.watts * now / 1e9, watts, took_ns=1000, volts=200.0)

    def close(self):
        pass


def device(name, resource=None):
    hasher = KernelHasher.lift(ReferenceKernel(), "cpu", 1)
    spec = replace(hasher.spec, name=name, resource=resource or name)
    return replace(hasher, spec=spec)


def run(store, hashers, meters, wirings, *, confirmed=True, around=None, **changes):
    plan = Plan(**{"time_s": 1.0, "precision": None, "warmup_s": 0.1, "turn_s": 0.1} | changes)
    around = around or Surroundings()
    with ExitStack() as stack:
        metering = stack.enter_context(Metering(meters))
        setup = Setup(wirings, stack.enter_context(around), confirmed)
        session = Session(plan, hashers, store, threading.Event(), metering=metering, setup=setup)
        session.run(tick_s=0.02)
    return session, [store.get(entry.run.id) for entry in session.entries if entry.run]


def faults_of(record):
    return [str(finding) for finding in verify(record) if not finding.passed]


def span_of(record):
    windows = list(record.read("windows"))
    return windows[0].opened, windows[-1].closed


def written(tmp_path, text):
    path = tmp_path / "rig.toml"
    path.write_text(text)
    return path


# --- what the file says ----------------------------------------------------------------------


def by_address(address):
    return [Constant(address, 100.0)]


def test_the_example_in_the_docs_is_a_rig(tmp_path):
    [example] = re.findall(r"```toml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    found = rig.read(written(tmp_path, example))
    assert len(found.devices) == 3
    meters, wirings = rig.wire(found, by_address)
    first, second, third = wirings
    assert [sign for sign, _ in first.sums[0]] == [1, 1, -1]
    assert first.includes == ("controller", "fans")
    assert len(first.sums) == 2  # the miner's own word, beside
    assert first.nameplate_w == 3500
    assert not first.group
    assert second == third
    assert len(second.group) == 2
    assert second.nameplate_w == 2 * 350
    assert len(meters) == 5
    assert surroundings(found.conditions, by_address).typed == {"humidity": 40.0, "mains_v": 230.0}


GOOD = '[[device]]\naddress = "cpu:auto"\nmeters = ["a:1"]\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[device]\n", r"no TOML: .*line 1"),
        ("", r"devices are tables"),
        ("device = 3", r"devices are tables"),
        ("[[devices]]", r"no 'devices' is known; there are conditions, device"),
        ("[[device]]\nmeters = ['a:1']", r"device 1: it needs an address"),
        ("[[device]]\naddress = 'x'", r"device 1 \(x\): meters is empty"),
        (GOOD + "metres = []", r"device 1 \(cpu:auto\): no 'metres' is known"),
        (GOOD + "less = 'b:1'", r"\(cpu:auto\): less is a list of texts"),
        (GOOD + "beside = ['b:1', 'b:1']", r"beside names the same twice"),
        (GOOD + "nameplate_w = '3 kW'", r"nameplate_w is a number, not '3 kW'"),
        (GOOD + "nameplate_w = -1", r"nameplate_w is a number above 0"),
        (GOOD + "nameplate_w = nan", r"nameplate_w is a number above 0"),
        (GOOD + "boundary = 'plug'", r"boundary is one of chip, board, device, wall"),
        (GOOD + GOOD, r"device 2 \(cpu:auto\): it is there already"),
        (GOOD + "[conditions]\ninlet = 20", r"conditions: no 'inlet' is known"),
        (GOOD + "[conditions]\ninlet_c = 200", r"inlet_c lies between -60 and 100"),
        (GOOD + "[conditions]\ninlet_c = true", r"inlet_c is a number, not True"),
        (GOOD + "conditions = 3", r"conditions is a list|no 'conditions'"),
        ("x" * (1 << 21), r"larger than any rig"),
    ],
)
def test_a_bad_file_is_told_with_its_place(tmp_path, text, says):
    path = written(tmp_path, text)
    with pytest.raises(PlanError, match=says) as told:
        rig.read(path)
    assert str(told.value).startswith(str(path))
    assert "\n" not in str(told.value)


def test_a_file_that_is_not_there_or_cannot_be_read(tmp_path):
    with pytest.raises(PlanError, match="no such file"):
        rig.read(tmp_path / "none.toml")
    with pytest.raises(NotPermitted):
        rig.read(tmp_path)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("less = ['board:1']", "meters of board and wall have no sum"),
        ("boundary = 'board'", "its meters see the wall, not board"),
        ("less = ['hand:1']", "read by hand"),
        ("beside = ['a:1']", "a:1 stands twice"),
        ("less = ['a:1']", "a:1 stands twice"),
    ],
)
def test_wiring_that_makes_no_sense(tmp_path, more, says):
    def find(address):
        scope = Scope.BOARD if address.startswith("board") else Scope.WALL
        interval_s = None if address.startswith("hand") else 1.0
        return [Constant(address, 1.0, scope, interval_s)]

    with pytest.raises(PlanError, match=says) as told:
        rig.wire(rig.read(written(tmp_path, GOOD + more)), find)
    assert "device 1 (cpu:auto)" in str(told.value)


def test_devices_are_chosen_but_not_torn_from_a_shared_meter(tmp_path):
    three = [f"[[device]]\naddress = '{a}'\nmeters = ['{m}']\n" for a, m in ("xp", "yp", "zq")]
    found = rig.read(written(tmp_path, "".join(three)))
    assert [each.address for each in found.only(["z"]).devices] == ["z"]
    with pytest.raises(PlanError, match="p sees it too"):
        found.only(["x"])
    with pytest.raises(PlanError, match="w is not in the rig file; it has x, y, z"):
        found.only(["w"])


def test_wiring_comes_back_from_a_record():
    wiring = Wiring((((1, "a"), (-1, "b")), ((1, "c"),)), ("fans",), 100.0, ("x", "y"))
    assert Wiring.from_json(json.loads(json.dumps(wiring.to_json()))) == wiring
    assert shown(wiring.sums[0]) == "a - b"
    partners = Partners(1, 2, (("r", Work.counted(7)), ("s", Work.of_shares([1.0, 2.0]))))
    assert Partners.from_json(json.loads(json.dumps(partners.to_json()))) == partners


# --- what a run makes of it ------------------------------------------------------------------


def test_two_outlets_less_a_pump(store):
    wiring = Wiring((((1, "a"), (1, "b"), (-1, "pump")), ((1, "chip"),)), ("fans",))
    meters = [Constant("a", 60.0), Constant("b", 50.0), Constant("pump", 10.0, model="other")]
    chip = Constant("chip", 80.0, Scope.CHIP)
    _, [record] = run(store, [device("d")], [*meters, chip], [wiring])
    total, beside = record.document["metered"]
    assert total["meter"] == "a + b - pump"
    assert record.figures["power"].value == pytest.approx(100, rel=1e-3)
    assert beside["power"]["value"] == pytest.approx(80, rel=1e-3)
    # Two of one model add linearly, the pump's in quadrature: sqrt(110^2 + 10^2)/100 of the class.
    expected = 2 * 0.01 / 3**0.5 * (110**2 + 10**2) ** 0.5 / 100
    assert record.figures["power"].relative == pytest.approx(expected, rel=0.02)
    assert [part["sign"] for part in total["parts"]] == [1, 1, -1]
    assert record.document["wiring"]["includes"] == ["fans"]
    assert faults_of(record) == []


def test_another_wiring_would_be_found(store, resealed):
    wiring = Wiring((((1, "a"), (1, "b")),))
    meters = [Constant("a", 60.0), Constant("b", 50.0)]
    _, [record] = run(store, [device("d")], meters, [wiring])

    def forge(document):
        document["wiring"] = Wiring((((1, "a"), (-1, "b")),)).to_json()

    [fault] = faults_of(resealed(record, forge))
    assert "does not follow from the rows" in fault


def test_devices_with_meters_of_their_own_run_at_the_same_time(store):
    wirings = [Wiring.side_by_side(["a"]), Wiring.side_by_side(["b"])]
    meters = [Constant("a", 60.0), Constant("b", 50.0)]
    _, records = run(store, [device("x"), device("y")], meters, wirings, time_s=2.0)
    (a, b), (c, d) = map(span_of, records)
    assert max(a, c) < min(b, d)
    assert [r.figures["power"].value for r in records] == pytest.approx([60, 50], rel=1e-3)
    assert [len(r.document["meters"]) for r in records] == [1, 1]
    assert [faults_of(record) for record in records] == [[], []]


def test_a_shared_meter_gives_the_group_and_nothing_of_its_members(store):
    wiring = Wiring((((1, "a"),),), group=("x", "y"))
    hashers = [device("x"), device("y")]
    session, records = run(store, hashers, [Constant("a", 90.0)], [wiring] * 2, time_s=2.0)
    assert {entry.state for entry in session.entries} == {"complete"}
    opened = max(span_of(record)[0] for record in records)
    closed = min(span_of(record)[1] for record in records)
    assert opened < closed
    rate = sum(
        window.hashes
        * max(0, min(window.closed, closed) - max(window.opened, opened))
        / (window.closed - window.opened)
        for record in records
        for window in record.read("windows")
    ) / ((closed - opened) / 1e9)
    for record, other in zip(records, reversed(records), strict=True):
        assert "efficiency" not in record.figures
        assert "power" not in record.figures
        assert record.figures["group_power"].value == pytest.approx(90, rel=1e-3)
        figure = record.figures["group_efficiency"]
        assert figure.value == pytest.approx(90 / rate * 1e12, rel=1e-3)
        assert [p["record"] for p in record.document["group"]["partners"]] == [other.id]
        assert "SharedMeter" in {caveat["caveat"] for caveat in record.document["caveats"]}
        assert faults_of(record) == []


def test_when_one_of_a_group_fails_nobody_waits_and_there_is_no_figure(store):
    def gone():
        raise DeviceLost("y: gone")

    @dataclass(frozen=True)
    class Failing:
        spec = device("y").spec

        def run(self, job, stop):
            yield from [] if stop.is_set() else gone()

    wiring = Wiring((((1, "a"),),), group=("x", "y"))
    plan = {"time_s": 60.0, "warmup_s": 0.0}
    failing = Failing()
    session = None
    real = Session._open

    def opened(self, entry):  # it fails only once it is measured
        if entry.hasher is not failing:
            return real(self, entry)
        entry.hasher = device("y")
        real(self, entry)
        entry.hasher = failing
        return None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Session, "_open", opened)
        session, records = run(
            store, [device("x"), failing], [Constant("a", 90.0)], [wiring] * 2, **plan
        )
    x, y = session.entries
    assert (x.state, y.state) == ("interrupted", "void")
    assert x.why == "y failed, which shares its meter"
    for record in records:
        assert not [name for name in record.figures if "efficiency" in name]
        assert faults_of(record) == []


def test_what_cannot_work_at_the_same_time_is_no_group(store):
    wiring = Wiring((((1, "a"),),), group=("x", "y"))
    hashers = [device("x", "cpu"), device("y", "cpu")]
    with pytest.raises(PlanError, match="measure them one by one"):
        run(store, hashers, [Constant("a", 90.0)], [wiring] * 2)


@pytest.mark.parametrize("confirmed", [False, True])
def test_a_power_far_off_the_nameplate_is_refused_until_confirmed(store, confirmed):
    wiring = Wiring((((1, "a"),),), nameplate_w=3250.0)
    meters = [Constant("a", 3.3)]
    session, [record] = run(store, [device("x")], meters, [wiring], confirmed=confirmed)
    if confirmed:
        assert "Implausible" in {caveat["caveat"] for caveat in record.document["caveats"]}
        assert record.document["state"] == "complete"
    else:
        assert record.document["state"] == "void"
        assert "kilowatts taken as watts?" in record.document["why"]
        assert "--confirm" in record.document["why"]
        assert session.entries[0].error.exit_code == 2
        assert not list(record.read("windows"))
    assert faults_of(record) == []


# --- what is around --------------------------------------------------------------------------


def test_surroundings_are_typed_or_sampled_and_stand_in_the_record(store, tmp_path, monkeypatch):
    monkeypatch.setattr("hwkit.harness.surroundings.INTERVAL_S", 0.1)
    file = tmp_path / "temp1_input"
    file.write_text("24500\n")
    sensor = f"file:{file}?scale=0.001"
    said: dict[str, float | str] = {"inlet_c": sensor, "humidity": 40, "mains_v": 230.0}
    around = surroundings(said, lambda _: [])
    wiring = Wiring.side_by_side(["a"])
    _, [record] = run(store, [device("x")], [Constant("a", 50.0)], [wiring], around=around)
    document = record.document
    assert document["conditions"]["humidity"] == 40
    assert document["surroundings"]["inlet_c"]["median"] == pytest.approx(24.5)
    assert {probe.name for probe in record.read("probes")} == {"inlet_c"}
    [mains] = [c for c in document["caveats"] if c["caveat"] == "Implausible"]
    assert "mains at 200 V, -13 % of 230 V" in mains["what"]
    assert faults_of(record) == []


def test_sensors_that_are_none(tmp_path):
    file = tmp_path / "text"
    file.write_text("warm")
    cases: list[tuple[dict[str, float | str], type[Exception], str]] = [
        ({"inlet_c": "hot"}, PlanError, "a number, or a file"),
        ({"inlet_c": 200.0}, PlanError, "between -60 and 100"),
        ({"inlet_c": f"file:{file}"}, Unavailable, "holds no number"),
        ({"inlet_c": f"file:{tmp_path}/none"}, Unavailable, "cannot be read"),
        ({"mains_v": "a:1"}, Unavailable, "tells no volts"),
    ]
    for said, error, says in cases:
        with pytest.raises(error, match=says), surroundings(said, lambda _: [Silent("a:1", 1.0)]):
            pass
    file.write_text("24500")
    with pytest.raises(Unavailable, match=r"24500 cannot be.*scale"):
        surroundings({"inlet_c": f"file:{file}"}, by_address).__enter__()


class Silent(Constant):
    def read(self):
        return Reading(time.monotonic_ns(), watts=1.0)


def test_what_includes_more_is_unlike(store, measured):
    wiring = Wiring.side_by_side(["a"])
    with_fans = replace(wiring, includes=("fans",))
    meters = [Constant("a", 50.0), Constant("b", 50.0, Scope.BOARD)]
    _, [one] = run(store, [device("x")], meters, [wiring], time_s=0.3)
    _, [other] = run(store, [device("x")], meters, [with_fans], time_s=0.3)
    _, [board] = run(store, [device("x")], meters, [Wiring.side_by_side("b")], time_s=0.3)
    with pytest.raises(PlanError, match=r"includes: \[\] against \['fans'\] is not ranked"):
        refuse_unlike(differences(one.document, other.document))
    with pytest.raises(PlanError, match="metered at: wall against board"):
        refuse_unlike(differences(one.document, board.document))
    refuse_unlike(differences(one.document, measured.document))  # that has no meter: hashes only


# --- steady ----------------------------------------------------------------------------------


def test_the_hottest_sensor_and_every_outlet_hold_the_gate(monkeypatch):
    monkeypatch.setattr(watch, "LOOK_S", 0.0)
    clock = [0]
    monkeypatch.setattr(time, "monotonic_ns", lambda: clock[0])
    monkeypatch.setattr(time, "monotonic", lambda: clock[0] / 1e9)

    def settled(celsius, outlet):
        from hwkit.harness.entry import Entry  # noqa: PLC0415
        from hwkit.protocols import Probe  # noqa: PLC0415

        clock[0] = 1
        metering = Metering([Constant("a", 50.0), Constant("b", 50.0)])
        wiring = Wiring((((1, "a"), (1, "b")),))
        entry = Entry(device("x"), 0, metering.sampled, Setup([wiring]))
        looking = watch.Watch(metering, Plan(settle=True), lambda: False, [entry])
        while not looking.ready(entry):
            clock[0] += 5_000_000_000
            a, b = metering.sampled
            a.take(Reading(clock[0], watts=50.0))
            b.take(Reading(clock[0], watts=outlet(clock[0] / 1e9)))
            entry.probes.append(Probe(clock[0], "temperature_c", celsius(clock[0] / 1e9)))
        return clock[0] / 1e9, looking.unsettled

    def same(_):
        return 50.0

    def slow(t):
        return min(50 + t / 100, 70.0)

    assert settled(same, same)[0] == pytest.approx(600, abs=10)
    assert 2000 < settled(slow, same)[0] < 2300  # by then the trailing window is flat
    assert 2000 < settled(same, slow)[0] < 2300
    assert settled(lambda t: 50 + t / 100, same) == (
        pytest.approx(2700, abs=10),
        "temperature drifts +3 °C",
    )


# --- as a user has it ------------------------------------------------------------------------


def test_from_the_command_line(hwkit, tmp_path):
    path = written(
        tmp_path,
        '[[device]]\naddress = "cpu:reference"\nmeters = ["nameplate:60W", "nameplate:50W"]\n'
        'less = ["nameplate:10W"]\nincludes = ["host"]\n[conditions]\nmains_v = 230\n',
    )
    done = hwkit(
        *("bench", "--rig", path, "--time", "4s", "--warmup", "0s", "--inlet", "24.5"),
    )
    assert done.returncode == 0, done.stderr
    assert "wall, by nameplate:60W + nameplate:50W - nameplate:10W (nameplate), with host" in (
        done.stdout
    )
    assert "inlet 24.5 °C (typed)" in done.stdout
    assert hwkit("verify", "last").returncode == 0
    shown = hwkit("bench", "--rig", path, "--meter", "nameplate:1W", "--plan", store=None)
    assert shown.returncode == 2
    assert "one of them" in shown.stderr
    path.write_text("[[device]]\naddress = 3")
    wrong = hwkit("bench", "--rig", path, "--plan", store=None)
    assert wrong.returncode == 2
    assert (
        wrong.stderr
        == f"hwkit: {path}: device 1: it needs an address, as in address = 'cpu:auto'\n"
    )
