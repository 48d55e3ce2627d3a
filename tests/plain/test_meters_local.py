"""Meters of this machine: NVML by a fake library, hwmon and powercap by made-up trees, labels."""

import importlib.util
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from hwkit import plugins
from hwkit.errors import (
    DeviceLost,
    DeviceTimeout,
    NoDevice,
    NoDriver,
    NotPermitted,
    PlanError,
    ProtocolError,
)
from hwkit.meters import hwmon, rapl
from hwkit.meters.nvml import find as find_nvml
from hwkit.protocols import Meter, Provenance, Scope

FAKES = Path(__file__).parents[1] / "fakes"


def one(address) -> Any:
    [found] = plugins.meters(address)
    return found


# NVML


@pytest.fixture
def nvml(monkeypatch) -> Any:
    """A driver with an H100 and a GTX that has no energy counter, in the library's place."""
    # The file is not called as the real one is: its folder is on the path.
    spec = importlib.util.spec_from_file_location("pynvml", FAKES / "fake_nvml.py")
    assert spec
    assert spec.loader
    library: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(library)
    monkeypatch.setitem(sys.modules, "pynvml", library)
    library.gpus.extend(
        [
            {"uuid": "GPU-5c1c", "name": "NVIDIA H100 PCIe", "capability": (9, 0)}
            | {"energy": 123_456_789, "power": 310_250},
            {"uuid": "GPU-77aa", "name": b"NVIDIA GeForce GTX 1080", "capability": (6, 1)}
            | {"energy": library.NVMLError_NotSupported(), "power": 178_500},
        ]
    )
    return library


def test_gpus(nvml):
    first, second = find_nvml(None)
    assert isinstance(first, Meter)
    assert isinstance(second, Meter)
    assert first.spec.scope is Scope.BOARD
    assert first.spec.provenance is Provenance.BOARD
    assert first.open() == {"model": "NVIDIA H100 PCIe", "serial": "GPU-5c1c"} | {
        "firmware": "580.65.06"
    }
    before = time.monotonic_ns()
    reading = first.read()
    assert before < reading.at < time.monotonic_ns()
    assert (reading.joules, reading.watts) == (123456.789, 310.25)
    assert second.read().joules is None
    assert second.read().watts == 178.5
    assert second.spec.model == "NVIDIA GeForce GTX 1080"
    assert one("nvml:GPU-77aa").read().watts == 178.5
    assert one("nvml:1").spec.name == "nvml:1"


@pytest.mark.parametrize(
    ("capability", "averaging_s"),
    [((6, 1), 0.0), ((7, 5), 0.0), ((8, 0), 0.0), ((8, 6), 1.0), ((9, 0), 1.0), ((12, 0), 1.0)],
)
def test_what_power_is_the_mean_of(nvml, capability, averaging_s):
    nvml.gpus[0]["capability"] = capability
    assert one("nvml:0").spec.averaging_s == averaging_s


def test_without_nvidias_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    [absent] = find_nvml(None)
    assert isinstance(absent, NoDriver)
    assert absent.why == "pip install 'hwkit[nvml]'"


@pytest.mark.parametrize(
    ("error", "kind", "why"),
    [
        ("LibraryNotFound", NoDriver, "driver is missing (its libnvidia-ml.so.1): install it"),
        ("DriverNotLoaded", NoDriver, "not loaded: sudo modprobe nvidia"),
        ("LibRmVersionMismatch", NoDriver, "restart"),
        ("NoPermission", NotPermitted, "/dev/nvidia"),
        ("GpuIsLost", NoDevice, "GpuIsLost"),
    ],
)
def test_without_a_driver(nvml, error, kind, why):
    nvml.broken["nvmlInit"] = getattr(nvml, f"NVMLError_{error}")()
    for address in (None, "nvml:0"):
        absent: Any = next(iter(find_nvml(None))) if address is None else one(address)
        assert type(absent) is kind
        assert why in absent.why


@pytest.mark.parametrize("place", ["2", "GPU-none", "first", ""])
def test_no_such_gpu(nvml, place):
    absent = one(f"nvml:{place}")
    assert isinstance(absent, NoDevice)
    assert "nvidia-smi -L" in absent.why


def test_a_driver_without_gpus(nvml):
    nvml.gpus.clear()
    [absent] = find_nvml(None)
    assert isinstance(absent, NoDevice)


@pytest.mark.parametrize(
    ("error", "kind"),
    [("GpuIsLost", DeviceLost), ("Timeout", DeviceTimeout), ("Uninitialized", DeviceLost)],
)
def test_a_gpu_that_fails_and_comes_back(nvml, error, kind):
    meter = one("nvml:0")
    nvml.gpus[0]["energy"] = getattr(nvml, f"NVMLError_{error}")()
    with pytest.raises(kind):
        meter.read()
    nvml.gpus[0]["energy"] = 1000
    assert meter.read().joules == 1.0


@pytest.mark.parametrize("value", [True, "300", float("nan"), -1, None])
def test_a_driver_that_answers_nonsense(nvml, value):
    meter = one("nvml:0")
    nvml.gpus[0]["power"] = value
    with pytest.raises(ProtocolError, match="is no number"):
        meter.read()


def test_a_gpu_that_tells_nothing(nvml):
    nvml.gpus[1]["power"] = nvml.NVMLError_NotSupported()
    with pytest.raises(ProtocolError, match="neither energy nor power"):
        one("nvml:1").read()


def test_a_driver_that_hangs(nvml, monkeypatch):
    meter = one("nvml:0")
    hanging = threading.Event()
    nvml.gpus[0]["energy"] = lambda: hanging.wait() and 5000
    monkeypatch.setattr(meter._driver, "_deadline_s", 0.1)
    with pytest.raises(DeviceTimeout, match="did not answer"):
        meter.read()
    with pytest.raises(DeviceTimeout, match="still hangs"):
        meter.read()
    monkeypatch.setattr(meter._driver, "_deadline_s", 60.0)
    hanging.set()
    meter._driver._last.result(60)
    assert meter.read().joules == 5.0


# hwmon


def files(folder, **contents):
    folder.mkdir(parents=True, exist_ok=True)
    for name, said in contents.items():
        (folder / name).write_text(f"{said}\n")


@pytest.fixture
def chips(tmp_path, monkeypatch):
    """A machine with two AMD GPUs, an Arc, a supply with PMBus and a chip that has fans alone."""
    tree, devices = tmp_path / "hwmon", tmp_path / "devices"
    for number, slot in ((0, "0000:03:00.0"), (1, "0000:44:00.0")):
        files(tree / f"hwmon{number}", name="amdgpu", power1_average=36_000_000 + number)
        files(tree / f"hwmon{number}", power1_label="PPT", temp1_input=41000)
        (devices / slot).mkdir(parents=True)
        (tree / f"hwmon{number}" / "device").symlink_to(devices / slot)
    files(tree / "hwmon2", name="xe", energy1_input=7_500_000, energy1_label="card")
    files(tree / "hwmon2", energy2_input=5_000_000, energy2_label="pkg", power1_max=190_000_000)
    files(tree / "hwmon3", name="acbel_fsg032", power1_input=512_000_000, power1_label="pin")
    files(tree / "hwmon3", power1_accuracy="2.5%")
    files(tree / "hwmon4", name="power_meter", power1_average=430_000_000)
    files(tree / "hwmon4", power1_average_interval=5000)
    files(tree / "hwmon5", name="nct6775", fan1_input=900)
    monkeypatch.setattr(hwmon, "TREE", tree)
    return tree


def test_every_sensor_of_power_and_energy(chips):
    found: list[Any] = list(hwmon.find(None))
    assert [(meter.spec.name, meter.spec.scope, meter.spec.provenance) for meter in found] == [
        ("hwmon:amdgpu@0000:03:00.0/power1", Scope.CHIP, Provenance.BOARD),
        ("hwmon:amdgpu@0000:44:00.0/power1", Scope.CHIP, Provenance.BOARD),
        ("hwmon:xe/energy1", Scope.BOARD, Provenance.BOARD),
        ("hwmon:xe/energy2", Scope.CHIP, Provenance.BOARD),
        ("hwmon:acbel_fsg032/power1", Scope.WALL, Provenance.PSU),
        ("hwmon:power_meter/power1", Scope.WALL, Provenance.PSU),
    ]
    readings = [(meter.read().watts, meter.read().joules) for meter in found]
    assert readings == [
        (36.0, None),
        (36.000001, None),
        (None, 7.5),
        (None, 5.0),
        (512.0, None),
        (430.0, None),
    ]
    assert [meter.spec.averaging_s for meter in found] == [0, 0, 0, 0, 0, 5]
    assert found[4].spec.accuracy.of_reading == 0.025
    assert found[0].open() == {"model": "amdgpu"}


def test_a_sensor_by_its_address(chips):
    assert one("hwmon:xe/energy1").read().joules == 7.5
    assert one("hwmon:amdgpu@0000:44:00.0/power1").read().watts == 36.000001
    assert one("hwmon:acbel_fsg032/power1?scope=device").spec.scope is Scope.DEVICE
    assert "no chip zenpower" in one("hwmon:zenpower/power1").why
    assert "xe has energy1, energy2" in one("hwmon:xe/power1").why
    assert "no power and no energy" in one("hwmon:nct6775/power1").why
    with pytest.raises(PlanError, match=r"is one of amdgpu@0000:03:00\.0, amdgpu@0000:44:00\.0"):
        one("hwmon:amdgpu/power1")


@pytest.mark.parametrize("place", ["", "xe", "xe/temp1", "xe/../power1", "xe/power1_input", "xe/"])
def test_what_is_no_sensor(chips, place):
    with pytest.raises(PlanError, match="it names chip and sensor"):
        one(f"hwmon:{place}")


def test_no_sensors(tmp_path, monkeypatch):
    monkeypatch.setattr(hwmon, "TREE", tmp_path / "none")
    [absent] = hwmon.find(None)
    assert isinstance(absent, NoDevice)
    assert "no sensor of power or energy" in absent.why


@pytest.mark.parametrize("said", ["", "on", "nan", "1e9", "0x10", "9" * 30, "12.5"])
def test_a_sensor_that_says_nonsense(chips, said):
    meter = one("hwmon:xe/energy1")
    (chips / "hwmon2" / "energy1_input").write_text(said)
    with pytest.raises(ProtocolError, match="is no number"):
        meter.read()


def test_a_sensor_that_goes_and_comes_back(chips):
    meter = one("hwmon:xe/energy1")
    path = chips / "hwmon2" / "energy1_input"
    path.rename(path.with_name("gone"))
    with pytest.raises(DeviceLost, match="No such file"):
        meter.read()
    with pytest.raises(NoDevice, match="No such file"):
        meter.open()
    path.with_name("gone").rename(path)
    assert meter.read().joules == 7.5


@pytest.fixture
def forbidden(monkeypatch):
    """Return a function that makes a file root's alone, for root too."""
    open_path = Path.open
    names: set[str] = set()

    def opened(path, *arguments, **options):
        if path.name in names:
            raise PermissionError(13, "Permission denied", str(path))
        return open_path(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", opened)
    return names.add


def test_a_sensor_that_this_user_may_not_read(chips, forbidden):
    meter = one("hwmon:xe/energy1")
    forbidden("energy1_input")
    with pytest.raises(NotPermitted, match=r"sudo chmod a\+r .*/hwmon2/energy1_input"):
        meter.open()


# RAPL

RANGE_UJ = 262_143_328_850
INTEL = "vendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: {}\nmodel name\t: x\n"


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Two packages of Intel's, their cores, the whole platform, and a package shown twice."""
    tree = tmp_path / "powercap"
    for folder, name, counter in (
        ("intel-rapl:0", "package-0", 1_000_000),
        ("intel-rapl:0:0", "core", 400_000),
        ("intel-rapl:1", "package-1", 3_000_000),
        ("intel-rapl:2", "psys", 9_000_000),
        ("intel-rapl-mmio:0", "package-0", 1_000_000),
    ):
        files(tree / folder, name=name, energy_uj=counter, max_energy_range_uj=RANGE_UJ)
    (tree / "intel-rapl").mkdir()
    monkeypatch.setattr(rapl, "TREE", tree)
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(INTEL.format(143))
    monkeypatch.setattr(rapl, "CPUINFO", cpuinfo)
    return tree


def set_counter(tree, zone, microjoules):
    (tree / f"intel-rapl:{zone}" / "energy_uj").write_text(f"{microjoules}\n")


def test_packages_one_or_all(packages):
    together, first, whole = one("rapl"), one("rapl:package-0"), one("rapl:psys")
    [listed] = rapl.find(None)
    assert isinstance(listed, Meter)
    assert listed.spec == together.spec
    assert together.open() == {}
    assert [meter.read().joules for meter in (together, first, whole)] == [4.0, 1.0, 9.0]
    assert first.read().watts is None
    assert [meter.spec.scope for meter in (together, first, whole)] == [
        Scope.CHIP,
        Scope.CHIP,
        Scope.DEVICE,
    ]
    assert first.spec.modulus_j == RANGE_UJ / 1e6
    assert together.spec.modulus_j is None
    absent = one("rapl:package-2")
    assert isinstance(absent, NoDevice)
    assert "there are package-0, package-1, psys" in absent.why


@pytest.mark.parametrize(
    ("cpuinfo", "provenance"),
    [
        (INTEL.format(143), Provenance.BOARD),
        (INTEL.format(60), Provenance.BOARD),  # Haswell
        (INTEL.format(58), Provenance.ESTIMATED),  # Ivy Bridge
        ("vendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 33\n", Provenance.ESTIMATED),
        ("", Provenance.ESTIMATED),
        (None, Provenance.ESTIMATED),
    ],
)
def test_what_a_counter_stands_on(packages, cpuinfo, provenance):
    rapl.CPUINFO.unlink() if cpuinfo is None else rapl.CPUINFO.write_text(cpuinfo)
    assert one("rapl").spec.provenance is provenance


def test_one_package_is_left_raw_when_it_wraps(packages):
    meter = one("rapl:package-0")
    set_counter(packages, 0, RANGE_UJ - 10)
    assert meter.read().joules == (RANGE_UJ - 10) / 1e6
    set_counter(packages, 0, 5)
    assert meter.read().joules == 5e-6  # the spec tells the modulus


@pytest.fixture
def clock(monkeypatch):
    """Time that passes a second at each look."""
    now = [0]

    def look():
        now[0] += 1_000_000_000
        return now[0]

    monkeypatch.setattr("hwkit.meters.rapl.time.monotonic_ns", look)


def test_a_sum_goes_on_when_a_part_wraps(packages, clock):
    meter = one("rapl")
    sums = []
    for first in (RANGE_UJ - 200_000_000, 100_000_000, RANGE_UJ - 1_000_000, 7_000_000):
        set_counter(packages, 0, first)
        sums.append(meter.read().joules)
        if first == 100_000_000:
            set_counter(packages, 0, RANGE_UJ - 1_000_000)  # long after: not a fall
    assert sums[1] - sums[0] == pytest.approx(300.0)
    assert sums[3] - sums[2] == pytest.approx(8.0)


def test_a_sum_falls_when_a_part_is_set_back(packages, clock):
    meter = one("rapl")
    set_counter(packages, 0, RANGE_UJ - 1_000_000)
    set_counter(packages, 1, RANGE_UJ // 2)
    before = meter.read().joules
    set_counter(packages, 0, 5_000_000)  # wrapped
    set_counter(packages, 1, 0)  # by 131 kJ in two seconds: no wrap
    after = meter.read().joules
    assert after < before
    set_counter(packages, 1, 2_000_000)
    assert meter.read().joules - after == pytest.approx(2.0)


def test_counters_for_root_only(packages, forbidden):
    forbidden("energy_uj")
    [absent] = rapl.find(None)
    assert isinstance(absent, NotPermitted)
    assert absent.address == "rapl"
    assert "readable by root only: sudo chmod a+r" in absent.why
    with pytest.raises(NotPermitted, match="root only"):
        one("rapl").open()


def test_no_counters(tmp_path, monkeypatch):
    monkeypatch.setattr(rapl, "TREE", tmp_path)
    for address in (None, "rapl"):
        absent: Any = next(iter(rapl.find(None))) if address is None else one(address)
        assert isinstance(absent, NoDevice)
        assert "sudo modprobe intel_rapl_msr" in absent.why


@pytest.mark.parametrize("said", ["", "-1", "nan", "1.5", "9" * 30])
def test_a_counter_that_says_nonsense(packages, said):
    meter = one("rapl:package-0")
    set_counter(packages, 0, said)
    with pytest.raises(ProtocolError, match="holds no number"):
        meter.read()


def test_a_counter_that_goes(packages):
    meter = one("rapl:package-0")
    (packages / "intel-rapl:0" / "energy_uj").unlink()
    with pytest.raises(DeviceLost, match="No such file"):
        meter.read()
    with pytest.raises(NoDevice, match="No such file"):
        meter.open()


# nameplates


def test_nameplates():
    meter = one("nameplate:3250W?tolerance=5%25")
    assert meter.open() == {}
    before = time.monotonic_ns()
    reading = meter.read()
    assert before <= reading.at <= time.monotonic_ns()
    assert (reading.watts, reading.joules) == (3250.0, None)
    assert meter.spec.provenance is Provenance.NAMEPLATE
    assert meter.spec.accuracy.of_reading == 0.05
    assert one("nameplate:3250W?tolerance=5%").spec.accuracy.of_reading == 0.05
    assert one("nameplate:3.25kW").read().watts == 3250.0
    assert one("nameplate:3.25kW").spec.accuracy is None


@pytest.mark.parametrize("place", ["", "W", "3250", "0W", "-5W", "1e3W", "nanW", "infW", "3250VA"])
def test_what_is_no_nameplate(place):
    with pytest.raises(PlanError, match="is no power, as in nameplate:3250W"):
        one(f"nameplate:{place}")


@pytest.mark.parametrize("tolerance", ["5", "0%", "-1%", "100%", "nan%", "%", ""])
def test_what_is_no_tolerance(tolerance):
    with pytest.raises(PlanError, match="tolerance is a percentage"):
        one(f"nameplate:3250W?tolerance={tolerance}")
