"""What cards tell beside a measurement, with fakes for NVML and for sysfs."""

import builtins
import sys
from types import SimpleNamespace

import pytest

from hwkit.hashers import probes

HERE, ELSEWHERE = "0000:65:00.0", "0000:66:00.0"


class NVMLError(Exception):
    pass


def refuse(*_):
    raise NVMLError


def nvml_of(**changes):
    """NVML with a card at HERE."""

    def handle(pci):
        return "card" if pci == HERE else refuse()

    return SimpleNamespace(
        **{
            "NVMLError": NVMLError,
            "NVML_CLOCK_SM": 1,
            "NVML_TEMPERATURE_GPU": 0,
            "nvmlInit": lambda: None,
            "nvmlDeviceGetHandleByPciBusId": handle,
            "nvmlDeviceGetClockInfo": lambda card, kind: {1: 1980}[kind],
            "nvmlDeviceGetTemperature": lambda card, kind: {0: 61}[kind],
            "nvmlDeviceGetPowerUsage": lambda card: 512_300,
            "nvmlDeviceGetEnforcedPowerLimit": lambda card: 700_000,
            "nvmlDeviceGetCurrentClocksEventReasons": lambda card: 0x4 | 0x20 | 0x1000,
        }
        | changes
    )


@pytest.fixture
def nvml(monkeypatch, tmp_path):
    """Return a function that puts an NVML in place; without it there is none, and no hwmon."""
    monkeypatch.setattr(probes, "PCI", tmp_path)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    probes._nvml.cache_clear()
    yield lambda **changes: monkeypatch.setitem(sys.modules, "pynvml", nvml_of(**changes))
    probes._nvml.cache_clear()


def hwmon(root, pci, **files):
    folder = root / pci / "hwmon" / "hwmon3"
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="ascii")


def test_what_nvml_tells(nvml):
    nvml()
    assert probes.probe(HERE) == {
        "clock_hz": 1.98e9,
        "temperature_c": 61.0,
        "power_w": 512.3,
        "power_limit_w": 700.0,
        "slowed_by": ["SwPowerCap", "SwThermalSlowdown", "0x1000"],
    }
    assert probes.probe(ELSEWHERE) == {}


def test_a_sensor_that_a_card_lacks_is_absent_and_not_0(nvml):
    nvml(nvmlDeviceGetPowerUsage=refuse, nvmlDeviceGetCurrentClocksEventReasons=refuse)
    assert probes.probe(HERE).keys() == {"clock_hz", "temperature_c", "power_limit_w"}


def test_what_hwmon_tells_where_nvml_knows_no_such_card(nvml, tmp_path):
    nvml()
    hwmon(
        tmp_path,
        ELSEWHERE,
        freq1_input="2450000000\n",
        temp1_input="71000\n",
        power1_average="287000000\n",
        power1_cap="300000000\n",
    )
    assert probes.probe(ELSEWHERE) == pytest.approx(
        {"clock_hz": 2.45e9, "temperature_c": 71.0, "power_w": 287.0, "power_limit_w": 300.0}
    )


def test_hwmon_that_makes_no_sense(nvml, tmp_path):
    hwmon(tmp_path, HERE, freq1_input="fast\n", temp1_input="", power1_cap="300000000\n")
    assert probes.probe(HERE).keys() == {"power_limit_w"}


@pytest.mark.parametrize(
    "changes", [{"nvmlInit": refuse}, {"nvmlDeviceGetHandleByPciBusId": refuse}]
)
def test_without_a_driver_or_a_card(nvml, changes):
    nvml(**changes)
    assert probes.probe(HERE) == {}


def test_without_pynvml(nvml):
    assert probes.probe(HERE) == {}


@pytest.mark.parametrize("pci", ["", "..", "../../etc", "0000:65:00", HERE + "/.."])
def test_what_is_no_address_is_not_looked_up(nvml, monkeypatch, pci):
    monkeypatch.setattr(probes, "_from_nvml", refuse)
    monkeypatch.setattr(builtins, "open", refuse)
    assert probes.probe(pci) == {}


@pytest.mark.needs(module="pynvml")
def test_the_reasons_are_those_of_nvml():
    pynvml = __import__("pynvml")
    for bit, name in probes.REASONS.items():
        assert getattr(pynvml, f"nvmlClocksEventReason{name}") == bit
    assert set(probes.REASONS.values()) > probes.THROTTLING
