"""OpenCL devices as hwkit sees them, with fakes in their place: no OpenCL is needed."""

import importlib
import re
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from hwkit import plugins
from hwkit.errors import (
    DeviceLost,
    DeviceTimeout,
    NoDevice,
    NoDriver,
    PlanError,
    ProtocolError,
    WrongHash,
)
from hwkit.hashers import device, opencl
from hwkit.hashers.device import DeviceHasher, fault_of
from hwkit.hashers.hoist import uniforms
from hwkit.protocols import Hasher
from hwkit.prove import prove
from hwkit.sha256d import midstate
from hwkit.vectors import mainnet_headers
from hwkit.work import MAX_TARGET, Job, Target

HEADER = next(iter(mainnet_headers().values()))
JOB = Job.create(seed=b"", ntime=1_700_000_000, target=Target(MAX_TARGET >> 32))


@pytest.fixture
def behave(fakes, monkeypatch):
    """Return a function that lets devices behave as a fake does."""
    monkeypatch.setattr(opencl, "find_spec", lambda _: "there")

    def as_(function):
        monkeypatch.setattr(opencl, "ANSWER", f"fake_device:{function}")

    return as_


@pytest.fixture
def gpu(behave):
    """Return a function that gives the hasher of a GPU that behaves as a fake does."""
    hashers = []

    def make(function):
        behave(function)
        hashers.append(GPU.hasher(GPU.usual[0]))
        return hashers[-1]

    yield make
    for each in hashers:
        each.kernel.child.end()


GPU = opencl.Device(
    place=0,
    platform="Fake",
    version="OpenCL 3.0",
    device="Fake GPU 9000",
    vendor="Fake",
    driver="1.0",
    is_cpu=False,
    compute_units=8,
    largest_group=256,
    vector_width=1,
    pci=None,
    available=True,
    has_compiler=True,
)


# --- which devices there are -----------------------------------------------------------------


@pytest.fixture
def all_are_right(monkeypatch):
    monkeypatch.setattr(device, "fault_of", lambda _: None)


def test_every_device_is_listed_or_its_absence_explained(behave, all_are_right):
    behave("many")
    found = list(plugins.hashers("opencl:0")) + list(opencl.find(None))
    here = {each.spec.name: each.spec for each in found if isinstance(each, Hasher)}
    absent = [(each.address, each.why) for each in found if isinstance(each, NoDevice)]
    assert {name: spec.resource for name, spec in here.items()} == {
        "opencl:0": "opencl",  # nobody tells where it is: it may be listed twice
        "opencl:1": "cpu",  # it takes turns with the processor's kernels
        "opencl:6": "opencl",
    }
    assert here["opencl:1"].details["width"] == 16
    assert here["opencl:0"].details["device"] == "Fake GPU 9000"
    assert absent == [
        ("opencl", "Empty (OpenCL 3.0) has no device"),
        ("opencl:2", "Fake is listed twice"),
        ("opencl:3", "Fake is listed twice"),
        ("opencl:4", "Gone: its driver cannot use it"),
        ("opencl:5", "Binary: its driver has no compiler"),
    ]


@pytest.mark.parametrize(
    ("function", "why"),
    [
        ("none", "no OpenCL runtime is installed"),
        ("crash", r"^crashed \(SIGSEGV\)$"),
        ("fail", "^RuntimeError: no such queue$"),
    ],
)
def test_no_device_and_why(behave, function, why):
    behave(function)
    for address in (None, plugins.Address.parse("opencl:0")):
        [absent] = opencl.find(address)
        assert isinstance(absent, NoDevice)
        assert re.search(why, absent.why)


def test_without_pyopencl(monkeypatch):
    monkeypatch.setattr(opencl, "find_spec", lambda _: None)
    for address in (None, "opencl:0", "opencl:radeon"):
        [absent] = opencl.find(plugins.Address.parse(address) if address else None)
        assert isinstance(absent, NoDriver)
        assert absent.why == "pip install 'hwkit[opencl]'"


def test_a_variant_that_is_not_right_is_never_used(behave, monkeypatch):
    """Its fault is told in its place; the next narrower one that is right is the device's."""
    behave("many")
    wide = {16: "opencl:1 width 16: crashed (SIGSEGV)", 8: "opencl:1 width 8: missed"}

    def fault(kernel):
        return wide.get(kernel.lanes // 16) if kernel.name == "opencl:1" else None

    monkeypatch.setattr(device, "fault_of", fault)
    found = list(opencl.find(None))
    faults = [each.why for each in found if isinstance(each, NoDevice)]
    assert {"width 16: crashed (SIGSEGV)", "width 8: missed"} < set(faults)
    [addressed] = plugins.hashers("opencl:1")
    for hasher in [each for each in found if isinstance(each, DeviceHasher)][1], addressed:
        assert isinstance(hasher, DeviceHasher)
        assert (hasher.spec.name, hasher.spec.details["width"]) == ("opencl:1", 4)


def test_a_device_of_which_nothing_is_right(behave, monkeypatch):
    behave("many")
    monkeypatch.setattr(device, "fault_of", lambda kernel: f"{kernel.child.name}: missed")
    assert not [each for each in opencl.find(None) if isinstance(each, Hasher)]
    [absent] = plugins.hashers("opencl:1")
    assert isinstance(absent, NoDevice)
    assert absent.why == "width 1, shifts, group 16: missed"


@pytest.mark.parametrize(
    ("function", "fault"),
    [
        ("blind", "opencl:0 width 1, rotate, group 256: wrong answer about nonces 0x"),
        ("sees_things", "top word: nonce 0x"),
        ("crashes_at_work", "opencl:0 width 1, rotate, group 256: crashed (SIGSEGV)"),
    ],
)
def test_a_few_questions_show_what_is_not_right(gpu, function, fault):
    assert fault in str(fault_of(gpu(function).kernel))


def test_addresses(behave, all_are_right):
    behave("many")
    for address, name in {
        "opencl": "opencl:0",
        "opencl:0": "opencl:0",
        "opencl:processor": "opencl:1",
        "opencl:GPU 9001": "opencl:6",
    }.items():
        [hasher] = plugins.hashers(address)
        assert isinstance(hasher, Hasher)
        assert hasher.spec.name == name
    for address in ("opencl:2", "opencl:7", "opencl:radeon"):
        [absent] = plugins.hashers(address)
        assert isinstance(absent, NoDevice)
        assert "opencl:1 (Fake Processor)" in absent.why
    with pytest.raises(PlanError, match="several devices are so named: opencl:0, opencl:6"):
        list(plugins.hashers("opencl:GPU"))


def test_a_card_has_one_resource_whoever_drives_it(behave):
    hasher = replace(GPU, pci="0000:65:00.0").hasher(GPU.usual[0])
    assert hasher.spec.resource == "gpu:0000:65:00.0"
    assert hasher.spec.details["pci"] == "0000:65:00.0"


@pytest.mark.needs(module="pyopencl")
@pytest.mark.parametrize(
    ("told", "pci"),
    [
        ({"pci_bus_id_nv": 0x65, "pci_slot_id_nv": 0}, "0000:65:00.0"),
        ({"pci_bus_id_nv": 1, "pci_slot_id_nv": 0x0A, "pci_domain_id_nv": 2}, "0002:01:01.2"),
        # AMD's are signed bytes.
        ({"topology_amd": SimpleNamespace(bus=-61, device=0, function=0)}, "0000:c3:00.0"),
        ({}, None),
    ],
)
def test_where_a_card_is(told, pci):
    child_side = importlib.import_module("hwkit.hashers.opencl_device")
    assert child_side._pci(SimpleNamespace(**told)) == pci


def test_options(behave):
    behave("many")
    [hasher] = plugins.hashers("opencl:1?width=4&rotation=rotate&group=2")
    assert isinstance(hasher, DeviceHasher)
    assert str(hasher.kernel.child.name) == "opencl:1 width 4, rotate, group 2"
    assert hasher.kernel.lanes == 8
    for bad in ("width=3", "rotation=left", "group=257", "group=0", "threads=2"):
        with pytest.raises(PlanError):
            list(plugins.hashers(f"opencl:1?{bad}"))


def test_threads_and_processors_are_the_drivers_affair(gpu):
    hasher = gpu("blind")
    assert hasher.with_threads(7) is hasher
    assert hasher.with_affinity((0,)) is hasher


# --- what a device may answer ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "fault"),
    [
        ("blind", "missed"),
        ("sees_things", "WrongHash: opencl:0 width 1, rotate, group 256: top word: nonce"),
        ("repeats", "ProtocolError: opencl:0 width 1, rotate, group 256: a nonce reported twice"),
        ("strays", "a nonce that was not asked about"),
        ("mumbles", "an answer to no question of ours"),
        ("crashes_at_work", r"DeviceLost: opencl:0 width 1, rotate, group 256: crashed (SIGSEGV)"),
    ],
)
def test_a_device_that_is_not_right_is_not_proven(gpu, function, fault):
    proof = prove(gpu(function).kernel)
    assert not proof.passed
    assert proof.fault
    assert fault in str(proof.fault.fault)


@pytest.mark.parametrize(
    ("function", "kind"), [("sees_things", WrongHash), ("strays", ProtocolError)]
)
def test_a_false_hit_ends_the_run(gpu, function, kind):
    with pytest.raises(kind):
        list(gpu(function).run(JOB, threading.Event()))


def test_a_crash_ends_the_run(gpu):
    with pytest.raises(DeviceLost, match="SIGSEGV"):
        list(gpu("crashes_at_work").run(JOB, threading.Event()))


def test_a_device_that_hangs_is_ended_after_stop(gpu):
    stop = threading.Event()
    threading.Timer(2.0, stop.set).start()
    with pytest.raises(DeviceTimeout, match=r"at work 1\.[5-9]\d* s after it was to stop"):
        list(gpu("hangs_at_work").run(JOB, stop))


def test_a_device_that_hangs_has_a_deadline(gpu, monkeypatch):
    hasher = gpu("hangs_at_work")
    monkeypatch.setattr(device, "SILENCE_S", 1.0)
    began = time.monotonic()
    with pytest.raises(DeviceTimeout, match="no answer for 1 s"):
        list(hasher.run(JOB, threading.Event()))
    assert time.monotonic() - began < 60


def test_a_device_that_answers_is_not_ended_by_stop(gpu):
    """However long the harness looks at a report."""
    hasher, stop, reports = gpu("blind"), threading.Event(), []
    for report in hasher.run(JOB, stop):
        reports.append(report)
        if sum(report.hashes for report in reports) and not stop.is_set():
            stop.set()
            time.sleep(device.LEAVE_S + 1)
    assert all(report.busy_ns == len(report.scanned) for report in reports)  # as the fake says
    assert list(hasher.kernel.scan(HEADER, Target(0), range(9))) == []


# --- what no nonce changes -------------------------------------------------------------------


def test_the_uniforms_are_the_headers():
    """They begin with the midstate; any byte before the nonce changes them, and none after."""
    known = uniforms(HEADER[:76])
    assert len(known) == 26
    assert known[:8] == midstate(HEADER)
    assert all(0 <= word < 1 << 32 for word in known)
    changed = {
        uniforms(HEADER[:at] + bytes([HEADER[at] ^ 1]) + HEADER[at + 1 : 76]) for at in range(76)
    }
    assert len(changed | {known}) == 77
