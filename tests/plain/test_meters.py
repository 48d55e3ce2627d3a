"""What every meter owes, whatever it talks."""

from importlib.metadata import entry_points
from typing import Any

import pytest

from hwkit import plugins
from hwkit.errors import DeviceLost, Unavailable
from hwkit.protocols import Meter

OURS = {"axeos", "csv", "exec", "http", "hwmon", "manual", "mqtt", "nameplate", "nvml", "rapl"} | {
    "redfish",
    "shelly",
    "tasmota",
}
AWAY = [
    "shelly:192.0.2.1",
    "tasmota:192.0.2.1",
    "axeos:192.0.2.1",
    "redfish:192.0.2.1",
    "http:192.0.2.1/?watts=",
    "mqtt:192.0.2.1/a?watts=",
    "exec:true",
    "csv:none.csv",
]


def test_every_kind_comes_in_by_the_door():
    doors = {door.name: door for door in entry_points(group="hwkit.meters")}
    assert set(doors) >= OURS
    for name in OURS:
        for found in doors[name].load()(None):
            assert isinstance(found, (Meter, Unavailable))


def test_what_is_absent_says_why_in_a_line():
    for found in plugins.meters():
        if isinstance(found, Unavailable):
            assert found.why
            assert "\n" not in str(found)


@pytest.mark.needs(module="aiohttp")
@pytest.mark.needs(module="paho.mqtt.client")
@pytest.mark.parametrize("address", AWAY)
def test_one_that_is_not_open(address):
    found: Any
    [found] = plugins.meters(address)
    assert isinstance(found, Meter)
    assert found.spec == found.spec
    assert found.spec.name == address
    for _ in range(2):
        with pytest.raises(DeviceLost):
            found.read()
        found.close()
