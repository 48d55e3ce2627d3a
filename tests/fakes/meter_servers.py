"""Real servers of meters: pymodbus', Debian's snmpd and mosquitto, HTTP, SCPI; and one load behind.

As a program it serves five meters until its standard input ends, and first prints their addresses.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from web_server import Digest, Server

PATIENCE_S = 60.0  # this machine may stall
AGENT = Path(__file__).with_name("pass_persist.py")


class Load:
    """A kilowatt or three that waves a little, and its exact energy; at monotonic ns."""

    def __init__(self, watts=3250.0):
        self.mean, self.swing, self.began = watts, 0.01 * watts, time.monotonic_ns()

    def power(self, at=None):
        return self.mean + self.swing * math.sin(self._seconds(at))

    def energy(self, at=None):
        """Joules since it began."""
        t = self._seconds(at)
        return self.mean * t + self.swing * (1 - math.cos(t))

    def mean_between(self, a, b):
        return (self.energy(b) - self.energy(a)) / (b - a) * 1e9

    def _seconds(self, at):
        return ((time.monotonic_ns() if at is None else at) - self.began) / 1e9


def float32(value):
    """Two registers."""
    return list(struct.unpack(">2H", struct.pack(">f", value)))


class ModbusServer:
    """pymodbus' server, on loopback or on a serial line.

    `devices` are units with input registers, holding registers, and what is done before each
    answer: `said = act(registers)` changes them by address, or returns an exception code.
    """

    def __init__(self, *devices, port=0, line=None):
        self._devices = devices
        self._line = line
        self.port = port
        self.start()

    def start(self):
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        assert self._ready.wait(PATIENCE_S)

    def stop(self):
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._over.set)
            self._thread.join(PATIENCE_S)

    async def _serve(self):
        from pymodbus import FramerType  # noqa: PLC0415
        from pymodbus.server import ModbusSerialServer, ModbusTcpServer  # noqa: PLC0415

        devices = [_device(*each) for each in self._devices]
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        server: Any
        if self._line:
            server = ModbusSerialServer(
                devices, framer=FramerType.RTU, port=self._line, baudrate=9600
            )
        else:
            server = ModbusTcpServer(devices, address=("127.0.0.1", self.port))
        await server.serve_forever(background=True)
        if not self._line:
            self.port = server.transport.sockets[0].getsockname()[1]
        self._ready.set()
        await self._over.wait()
        await server.shutdown()


def _device(unit, inputs, holdings=None, act=None):
    from pymodbus.constants import ExcCodes  # noqa: PLC0415
    from pymodbus.simulator import DataType, SimData, SimDevice  # noqa: PLC0415

    def data(registers):
        # Registers that follow each other are one block; what is between is an illegal address.
        return [
            SimData(at, values=value, datatype=DataType.REGISTERS)
            for at, value in sorted(registers.items())
        ] or [SimData(60000, values=0, datatype=DataType.REGISTERS)]

    async def action(*request):
        start, registers = request[1], request[4]
        changed = act()
        if isinstance(changed, int):
            return ExcCodes(changed)
        if changed is None:
            await asyncio.sleep(3600)
        for at, words in changed.items():
            registers[at - start : at - start + len(words)] = words
        return None

    empty = [SimData(60000, values=False, datatype=DataType.BITS)]
    simdata = (empty, empty, data(holdings or {}), data(inputs))
    return SimDevice(unit, simdata=simdata, action=action if act else None)


APC = "1.3.6.1.4.1.318.1.1.26"
# An AP8959 that draws 3.35 kW: hundredths of kW, tenths of kWh; outlets in W.
RPDU2 = {
    f"{APC}.4.3.1.5.1": ("integer", 335),
    f"{APC}.4.3.1.9.1": ("integer", 12345),
    f"{APC}.4.3.1.17.1": ("integer", 98),
    f"{APC}.6.3.1.5.1": ("integer", 146),
    f"{APC}.6.3.1.6.1": ("integer", 231),
    f"{APC}.6.3.1.7.1": ("integer", 333),
    f"{APC}.6.3.1.9.1": ("integer", -1),
    f"{APC}.9.4.3.1.6.3": ("integer", 145),
    f"{APC}.9.4.3.1.7.3": ("integer", 3321),
    f"{APC}.9.4.3.1.11.3": ("integer", 420),
    f"{APC}.2.1.8.1": ("string", "AP8959"),
    f"{APC}.2.1.9.1": ("string", "ZA1234567890"),
    f"{APC}.2.1.6.1": ("string", "v6.8.0"),
}


KEYS = {"user": "meter", "auth_key": "auth-pass-phrase", "priv_key": "priv-pass-phrase"}


class Agent:
    """Debian's snmpd on a port of ours, with objects that a file says."""

    def __init__(self, folder):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder = folder
        self.process = None

    def say(self, objects):
        lines = [f".{oid} {kind} {value}\n" for oid, (kind, value) in objects.items()]
        new = self.folder / "objects.new"
        new.write_text("".join(lines))
        new.rename(self.folder / "objects")

    def look(self, oid):
        """Return what an object holds."""
        lines = (self.folder / "objects").read_text().splitlines()
        return next(line.split()[2] for line in lines if line.startswith(f".{oid} "))

    def start(self, object_id):
        served = f"{sys.executable} {AGENT} {self.folder / 'objects'}"
        (self.folder / "snmpd.conf").write_text(
            f"agentaddress udp:127.0.0.1:{self.port}\nrwcommunity switcher 127.0.0.1\n"
            "rocommunity public 127.0.0.1\nrocommunity other 127.0.0.1 .1.3.6.1.2.1\n"
            f'createUser meter SHA "{KEYS["auth_key"]}" AES "{KEYS["priv_key"]}"\n'
            f'createUser sum SHA-256 "{KEYS["auth_key"]}"\n'
            "rouser meter priv\nrouser sum auth\n"
            f"sysObjectID .{object_id}\n"
            + "".join(
                f"pass_persist .1.3.6.1.4.1.{vendor} {served}\n" for vendor in (318, 13742, 1718)
            )
        )
        environment = {**os.environ, "SNMP_PERSISTENT_DIR": str(self.folder), "MIBS": ""}
        command = ["snmpd", "-f", "-C", "-c", str(self.folder / "snmpd.conf"), "-Lf"]
        self.process = subprocess.Popen([*command, str(self.folder / "log")], env=environment)
        deadline = time.monotonic() + PATIENCE_S
        while "NET-SNMP version" not in self.log():
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.02)

    def log(self):
        log = self.folder / "log"
        return log.read_text() if log.exists() else ""

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            (self.folder / "log").unlink(missing_ok=True)
            self.process = None


class Broker:
    """A mosquitto of the test's own."""

    def __init__(self, folder, *lines):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.config = folder / "mosquitto.conf"
        self.config.write_text(
            "\n".join([f"listener {self.port} 127.0.0.1", "persistence false", *lines, ""])
        )
        self.process = None
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            ["mosquitto", "-c", self.config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            assert self.process.poll() is None, "mosquitto ended"
            time.sleep(0.02)
        raise AssertionError("mosquitto does not listen")

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def publish(self, topic, payload, *, retain=False, login=None):
        """Return when the broker has it (QoS 1)."""
        from paho.mqtt.publish import single  # noqa: PLC0415

        if not isinstance(payload, bytes):
            payload = json.dumps(payload).encode()
        user: Any = None if login is None else {"username": login[0], "password": login[1]}
        single(topic, payload, 1, retain, "127.0.0.1", self.port, auth=user)


class Wt310:
    """A WT310 as its manual describes it: headers until told not to, items as they are set."""

    def __init__(self, **values):
        self.values = {"U": "227.37E+00", "I": "0.20434E+00", "P": "22.970E+00"}
        self.values |= {"LAMB": "0.4944E+00", "FU": "50.001E+00", "WH": "1.2345E+00"} | values
        self.headers = True
        self.items = ["NONE"] * 10
        self.count = 3
        self.faults = ['113,"Undefined header"']  # somebody else's
        self.heard = []
        self.identity = "YOKOGAWA,WT310,C2PH13047V,F1.03"
        self.ranges = {"VOLT": "300.0E+00", "CURR": "1.0E+00"}

    def serve(self, stream):
        with stream.makefile("rwb", buffering=0) as file:
            for line in file:
                said = self.answer(line.decode().strip())
                if said is not None:
                    file.write(said.encode() + b"\n")

    def answer(self, line):
        self.heard.append(line)
        short = re.sub(r"(?<=[A-Z])[a-z]+", "", line)  # the manual's capitals are the short form
        if short == "*IDN?":
            return self.identity
        if short == ":STAT:ERR?":
            return self.faults.pop(0) if self.faults else '0,"No error"'
        if short == ":COMM:HEAD OFF":
            self.headers = False
        elif short.startswith(":NUM:NORM:NUM "):
            self.count = int(short.split()[1])
        elif item := re.fullmatch(r":NUM:NORM:ITEM(\d+) (\w+),(\w+)", short):
            if item[3] not in {"1", "SIGMA"}:
                self.faults.append('222,"Data out of range"')
            self.items[int(item[1]) - 1] = item[2]
        elif short == ":NUM:NORM:VAL?":
            head = ":NUMERIC:NORMAL:VALUE " if self.headers else ""
            values = [self.values.get(name, "NAN") for name in self.items[: self.count]]
            return head + ",".join(value() if callable(value) else value for value in values)
        elif which := re.fullmatch(r":INP:(VOLT|CURR):RANG\?", short):
            return self.ranges[which[1]]
        elif not short.startswith(":NUM:FORM"):
            self.faults.append('113,"Undefined header"')
        return None


class Five:
    """A load behind five meters: Modbus, SNMP 3, MQTT, SCPI, and a Shelly Gen2 with a password."""

    def __init__(self, folder):
        self.load = Load()
        self._stack = ExitStack()
        self._folder = Path(folder)
        self._over = threading.Event()

    def __enter__(self):
        with self._stack as stack:
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self._stack.close()

    def _start(self, stack):
        load = self.load

        def registers():
            watts = load.power()
            told = {0x00: 230.0, 0x06: watts / 230 / 0.99, 0x0C: watts, 0x1E: 0.99, 0x46: 50.0}
            told[0x48] = 1234 + load.energy() / 3.6e6
            return {at: float32(value) for at, value in told.items()}

        blank = dict.fromkeys(range(0x4A), 0)
        self.modbus = ModbusServer((1, blank, {}, registers))
        stack.callback(self.modbus.stop)
        self.agent = Agent(self._folder)
        stack.callback(self.agent.stop)
        self.agent.say(RPDU2)
        self.agent.start("1.3.6.1.4.1.318.1.3.4.6")
        self.broker = Broker(self._folder, "allow_anonymous true")
        stack.callback(self.broker.stop)
        instrument = Wt310(
            P=lambda: f"{load.power():.5E}",
            I=lambda: f"{load.power() / 227.37:.5E}",
            LAMB="1.0000E+00",
            WH="NAN",
        )
        instrument.ranges["CURR"] = "20.0E+00"
        scpi = socket.create_server(("127.0.0.1", 0))
        stack.callback(scpi.close)
        threading.Thread(target=_attend, args=(scpi, instrument.serve), daemon=True).start()

        def switch():
            energy = {"total": round(1000 + load.energy() / 3600, 3)}
            return {"id": 0, "output": True, "apower": round(load.power(), 1), "aenergy": energy}

        told = {"mac": "A8032AB636EC", "model": "SPSW-104PE16EU", "gen": 2, "fw_id": "1.3.3"}
        documents = {
            "/shelly": told,
            "/rpc/Switch.GetStatus?id=0": lambda: json.dumps(switch()).encode(),
        }
        shelly = Server(documents, auth=Digest("admin", "correct horse"))
        shelly.thread.start()
        stack.callback(shelly.stop)
        self.addresses = {
            "modbus": f"modbus:127.0.0.1:{self.modbus.port}?profile=sdm120",
            "snmp": f"snmp:127.0.0.1:{self.agent.port}?profile=apc-rpdu2&version=3&interval=1",
            "mqtt": f"mqtt:127.0.0.1:{self.broker.port}/tele/plug/SENSOR"
            "?profile=tasmota&interval=1",
            "scpi": f"scpi:127.0.0.1:{scpi.getsockname()[1]}?profile=wt300&interval=1",
            "shelly": f"shelly:localhost:{shelly.port}?profile=switch",
        }
        words = {"127.0.0.1": KEYS, "localhost": {"password": "correct horse"}}
        self.credentials = self._folder / "credentials.toml"
        self.credentials.write_text(
            "".join(
                f'["{host}"]\n' + "".join(f'{key} = "{word}"\n' for key, word in said.items())
                for host, said in words.items()
            )
        )
        telling = threading.Thread(target=self._tell, daemon=True)
        telling.start()
        stack.callback(telling.join)
        stack.callback(self._over.set)

    def _tell(self):
        """Say to those who know nothing by themselves what the load draws, once a second."""
        import paho.mqtt.client as paho  # noqa: PLC0415
        from paho.mqtt.enums import CallbackAPIVersion  # noqa: PLC0415

        client = paho.Client(CallbackAPIVersion.VERSION2)
        client.connect("127.0.0.1", self.broker.port)
        client.loop_start()
        while not self._over.wait(1.0):
            watts, kwh = self.load.power(), 99 + self.load.energy() / 3.6e6
            self.agent.say(
                RPDU2
                | {f"{APC}.4.3.1.5.1": ("integer", round(watts / 10))}
                | {f"{APC}.4.3.1.9.1": ("integer", int(10 * kwh))}
            )
            energy = {"Power": round(watts), "Total": round(kwh, 3), "Voltage": 230}
            client.publish("tele/plug/SENSOR", json.dumps({"ENERGY": energy}))
        client.disconnect()
        client.loop_stop()


def _attend(server, serve):
    """Give each connection a thread."""
    while True:
        try:
            stream, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=_one, args=(stream, serve), daemon=True).start()


def _one(stream, serve):
    with stream, suppress(OSError):
        serve(stream)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, Five(folder) as five:
        said = {"addresses": five.addresses, "credentials": str(five.credentials)}
        print(json.dumps(said), flush=True)
        sys.stdin.read()
