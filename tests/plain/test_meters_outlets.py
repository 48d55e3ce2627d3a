"""Outlets: what is told is read back, whatever answers; and one that is off is never forgotten."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from meter_servers import APC, Agent
from web_server import Basic, Digest, Server

from hwkit.errors import (
    DeviceFault,
    DeviceTimeout,
    NoDevice,
    NotPermitted,
    PlanError,
    ProtocolError,
)
from hwkit.evaluate.outside import Outlet
from hwkit.hashers.asic import restore
from hwkit.meters import outlets

HTTP = pytest.mark.needs(module="aiohttp")
SNMPD = pytest.mark.needs("snmpd", module="pysnmp")
HWKIT = Path(sys.executable).with_name("hwkit")
PATIENCE_S = 60
RARITAN = "1.3.6.1.4.1.13742.6.4.1.2.1"


@pytest.fixture(autouse=True)
def impatient(tmp_path, monkeypatch):
    monkeypatch.setenv("HWKIT_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(outlets, "PATIENCE_S", 0.3)
    monkeypatch.setattr(outlets, "SEEN_S", 0.2)
    monkeypatch.setattr(outlets, "SOON_S", 0.02)


@pytest.fixture
def serve():
    servers = []

    def start(answers, auth=None):
        servers.append(Server(answers, auth=auth))
        servers[-1].thread.start()
        return servers[-1]

    yield start
    for each in servers:
        each.stop()


class Relay:
    """A relay, and how it is spoken to; `stuck` is what it stays, `lost` how many it mishears."""

    def __init__(self, stuck=None, lost=0):
        self.on, self.stuck, self.lost = True, stuck, lost

    def turn(self, *, on, answer=None):
        def turned():
            self.lost -= 1
            if self.lost < 0:
                self.on = on if self.stuck is None else self.stuck
            return {"was_on": True} if answer is None else answer()

        return turned

    def shelly2(self):
        return {
            "/shelly": {"gen": 2, "model": "SPSW", "mac": "0"},
            "/rpc/Switch.Set?id=1&on=true": self.turn(on=True),
            "/rpc/Switch.Set?id=1&on=false": self.turn(on=False),
            "/rpc/Switch.GetStatus?id=1": lambda: {"id": 1, "output": self.on},
        }

    def shelly1(self):
        def said():
            return {"ison": self.on}

        return {
            "/shelly": {"type": "SHPLG-S", "mac": "0"},
            "/relay/0?turn=on": self.turn(on=True, answer=said),
            "/relay/0?turn=off": self.turn(on=False, answer=said),
            "/relay/0": said,
        }

    def tasmota(self, number, key, login=""):
        def said():
            return {key: "ON" if self.on else "OFF"}

        path = f"/cm?cmnd=Power{number}"
        return {
            f"{path}%20on{login}": self.turn(on=True, answer=said),
            f"{path}%20off{login}": self.turn(on=False, answer=said),
            path + login: said,
        }


@HTTP
def test_a_shelly_of_either_generation(serve, credentials):
    credentials(password="secret")
    for relay, answers, auth, query in (
        (new := Relay(), new.shelly2(), Digest("admin", "secret"), "?channel=1"),
        (old := Relay(), old.shelly1(), Basic("admin", "secret"), ""),
    ):
        server = serve(answers, auth=auth)
        outlet = outlets.find(f"shelly:127.0.0.1:{server.port}{query}")
        assert outlet.look()
        outlet.to("off")
        assert not relay.on
        outlet.to("on")
        assert relay.on


@HTTP
@pytest.mark.parametrize(
    ("query", "number", "key"), [("", 1, "POWER"), ("?channel=2", 3, "POWER3")]
)
def test_a_tasmota(serve, credentials, query, number, key):
    credentials(password="a&b")
    relay = Relay()
    server = serve(relay.tasmota(number, key, "&user=admin&password=a%26b"))
    outlet = outlets.find(f"tasmota:127.0.0.1:{server.port}{query}")
    outlet.to("off")
    assert not relay.on
    outlet.to("on")
    assert relay.on


@HTTP
def test_it_is_told_again_until_it_is_so(serve, monkeypatch):
    monkeypatch.setattr(outlets, "PATIENCE_S", PATIENCE_S)
    relay = Relay(lost=2)
    server = serve(relay.shelly2())
    outlets.find(f"shelly:127.0.0.1:{server.port}?channel=1").to("off")
    assert not relay.on
    assert sum("Switch.Set" in path for path in server.asked) == 3


@HTTP
def test_one_that_does_not_move_is_a_fault(serve):
    server = serve(Relay(stuck=True).shelly2())
    outlet = outlets.find(f"shelly:127.0.0.1:{server.port}?channel=1")
    with pytest.raises(DeviceFault, match="told to be off, and it says that it is not"):
        outlet.to("off")


@HTTP
@pytest.mark.parametrize(
    "said", [{"output": 1}, {"output": "true"}, {"output": None}, {}, [], "on"]
)
def test_what_is_neither_on_nor_off_is_no_answer(serve, said):
    server = serve(Relay().shelly2() | {"/rpc/Switch.GetStatus?id=1": said})
    with pytest.raises(ProtocolError, match="does not say whether it is on"):
        outlets.find(f"shelly:127.0.0.1:{server.port}?channel=1").look()


@HTTP
def test_who_is_refused_is_told_what_to_do(serve, credentials):
    server = serve(Relay().shelly1(), auth=Basic("admin", "secret"))
    outlet = outlets.find(f"shelly:127.0.0.1:{server.port}")
    with pytest.raises(NotPermitted, match="it wants a password"):
        outlet.to("off")
    credentials(password="wrong")
    with pytest.raises(NotPermitted, match="it refuses user or password"):
        outlets.find(f"shelly:127.0.0.1:{server.port}").to("off")
    warning = {"WARNING": "Need user=<username>&password=<password>"}
    server = serve({"/cm?cmnd=Power1&user=admin&password=wrong": warning})
    with pytest.raises(NotPermitted, match="it refuses user or password"):
        outlets.find(f"tasmota:127.0.0.1:{server.port}").look()


@HTTP
def test_a_channel_without_a_relay_and_what_is_no_shelly(serve):
    server = serve({"/shelly": {"gen": 2}})
    with pytest.raises(NoDevice, match="is the channel right"):
        outlets.find(f"shelly:127.0.0.1:{server.port}?channel=7").look()
    server = serve({"/shelly": {"hello": 1}})
    with pytest.raises(NoDevice, match="not as a Shelly"):
        outlets.find(f"shelly:127.0.0.1:{server.port}").look()


@pytest.fixture
def pdu(tmp_path):
    """An AP8941 whose outlet 3 is on, and a PX3 whose outlet 2 is: each counts in its own way."""
    agent = Agent(tmp_path)
    agent.say(
        {
            f"{APC}.9.2.3.1.5.3": ("integer", 2),
            f"{APC}.9.2.3.1.5.4": ("integer", 3),
            f"{RARITAN}.3.1.2": ("integer", 7),
            f"{APC}.9.2.4.1.5.3": ("integer", 1),  # commands can be read, too
            f"{APC}.9.2.4.1.5.4": ("integer", 1),
            f"{RARITAN}.2.1.2": ("integer", 1),
        }
    )
    with (tmp_path / "objects").open("a") as file:
        file.write(f"switch .{APC}.9.2.4.1.5.3 .{APC}.9.2.3.1.5.3 1=2 2=1\n")
        file.write(f"switch .{RARITAN}.2.1.2 .{RARITAN}.3.1.2 0=8 1=7\n")
    agent.start("1.3.6.1.4.1.318.1.3.4.6")
    yield agent
    agent.stop()


@SNMPD
def test_power_distribution_units(pdu, credentials, monkeypatch):
    monkeypatch.setattr(outlets, "PATIENCE_S", PATIENCE_S)
    monkeypatch.setattr(outlets, "SEEN_S", PATIENCE_S)  # the first question after a SET fails
    credentials(write_community="switcher")
    for profile, number, oid, words in (
        ("apc-rpdu2", 3, f"{APC}.9.2.3.1.5.3", ("1", "2")),
        ("raritan-px", 2, f"{RARITAN}.3.1.2", ("8", "7")),
    ):
        outlet = outlets.find(f"snmp:127.0.0.1:{pdu.port}?profile={profile}&outlet={number}")
        assert outlet.look()
        outlet.to("off")
        assert pdu.look(oid) == words[0]
        outlet.to("on")
        assert pdu.look(oid) == words[1]
    at = f"snmp:127.0.0.1:{pdu.port}?profile=apc-rpdu2&outlet="
    with pytest.raises(NoDevice, match="no such outlet"):
        outlets.find(f"{at}9").look()
    with pytest.raises(ProtocolError, match="neither on nor off: 3"):
        outlets.find(f"{at}4").look()
    with pytest.raises(NotPermitted, match="may not change"):
        outlets.find(f"{at}4").tell(on=False)


@SNMPD
def test_who_may_only_read_switches_nothing(pdu, credentials):
    outlet = outlets.find(f"snmp:127.0.0.1:{pdu.port}?profile=apc-rpdu2&outlet=3")
    with pytest.raises(NotPermitted, match=r"put one under \[\"127"):
        outlet.look()
    credentials(write_community="public")  # which may read, and no more
    outlet = outlets.find(f"snmp:127.0.0.1:{pdu.port}?profile=apc-rpdu2&outlet=3&version=1")
    with pytest.raises((NotPermitted, DeviceTimeout)):
        outlet.tell(on=False)
    assert pdu.look(f"{APC}.9.2.3.1.5.3") == "2"


@pytest.mark.needs(module="pysnmp")
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("snmp:192.0.2.1?profile=apc-rpdu2", "it says which"),
        ("snmp:192.0.2.1?profile=servertech-sentry4&outlet=1", "nothing is known of how"),
        ("shelly:192.0.2.1?channel=x", "channel is a number"),
        ("shely:192.0.2.1", "no program, and none of shelly"),
        ("exec:/no/such/program x", "no program, and none of shelly"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_touched(text, why):
    with pytest.raises(PlanError, match=why):
        Outlet(text)


RUN = """
import sys, time
from hwkit.evaluate.outside import Outlet
outlet = Outlet(sys.argv[1])
outlet.look()
outlet.to("off")
print("off", flush=True)
time.sleep(600)
"""


@HTTP
def test_one_that_a_killed_process_left_off_is_switched_on(serve, tmp_path):
    relay = Relay()
    address = f"shelly:127.0.0.1:{serve(relay.shelly2()).port}?channel=1"

    def killed():
        with subprocess.Popen(
            [sys.executable, "-c", RUN, address], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout
            assert process.stdout.readline() == "off\n"
            [kept] = restore.changed()
            assert restore.abandoned_changes() == []
            with pytest.raises(NotPermitted, match="another hwkit is at it"), kept.claimed():
                pass
            process.send_signal(signal.SIGKILL)
        assert not relay.on
        assert restore.abandoned_changes() == [kept]

    killed()
    done = subprocess.run(
        [HWKIT, "asic", "restore", "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
        env=os.environ,
    )
    assert done.returncode == 0, done.stderr
    assert f"{address}: is as it was" in done.stderr
    assert json.loads(done.stdout)["miners"] == [{"miner": address, "fault": None}]
    assert relay.on
    assert restore.changed() == []
    killed()
    assert Outlet(address).look()  # as who goes on with an evaluation does
    assert relay.on
    assert restore.changed() == []
    relay.on = False
    with pytest.raises(PlanError, match="is this what feeds the device"):
        Outlet(address).look()


def test_a_program_has_its_own_word_for_it(tmp_path):
    words = tmp_path / "words"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\necho $1 >> {words}\n")
    program.chmod(0o755)
    for text in (str(program), f"exec:{program}"):
        outlet = Outlet(text, time.sleep)
        assert not outlet.look()
        outlet.to("off")
        assert [each.by for each in restore.changed()] == [text]
        outlet.to("on")
        assert restore.changed() == []
    assert words.read_text().split() == ["off", "on"] * 2
