"""Meters over MQTT, against Debian's mosquitto on loopback, and against what is no broker."""

import itertools
import socket
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from meter_servers import Broker

from hwkit import plugins
from hwkit.errors import (
    DeviceFault,
    DeviceLost,
    DeviceTimeout,
    NoDevice,
    NoDriver,
    NotPermitted,
    PlanError,
    ProtocolError,
)
from hwkit.protocols import Meter
from hwkit.wire import mqtt as wire

pytestmark = pytest.mark.needs(module="paho.mqtt.client")
WAIT_S = 60.0
# tasmota.github.io, MQTT: tele/TOPIC/SENSOR
SENSOR = {
    "Time": "2026-03-01T12:00:00",
    "ENERGY": {"TotalStartTime": "2024-02-29T22:00:00", "Total": 1234.567, "Today": 39.006}
    | {"Period": 54, "Power": 3250, "ApparentPower": 3283, "ReactivePower": 464}
    | {"Factor": 0.99, "Voltage": 230, "Current": 14.273},
}
# zigbee2mqtt.io, MQTT topics and messages: a plug's state
PLUG = {"current": 1.52, "energy": 12.03, "linkquality": 120, "power": 349.5, "state": "ON"} | {
    "voltage": 231
}


@pytest.fixture
def broker(tmp_path):
    """Return a function that starts a broker with these lines of configuration."""
    brokers = []

    def start(*lines):
        brokers.append(Broker(tmp_path, *lines))
        return brokers[-1]

    yield start
    for each in brokers:
        each.stop()


@pytest.fixture
def meter():
    meters: list[Any] = []

    def find(address):
        found: Any
        [found] = plugins.meters(address)
        meters.append(found)
        return found

    yield find
    for each in meters:
        each.close()


@pytest.fixture
def patient(monkeypatch):
    """No message may be late on a machine that stalls."""
    monkeypatch.setattr(wire, "DEADLINE_S", WAIT_S)


OPEN = "allow_anonymous true"


@pytest.mark.needs("mosquitto")
@pytest.mark.parametrize(
    "case",
    [
        (
            "tele/plug/SENSOR?profile=tasmota",
            SENSOR,
            {"watts": 3250.0, "joules": 1234.567 * 3.6e6, "volts": 230.0, "amperes": 14.273}
            | {"power_factor": 0.99},
        ),
        (
            "zigbee2mqtt/plug?profile=zigbee2mqtt",
            PLUG,
            {"watts": 349.5, "joules": 12.03 * 3.6e6, "volts": 231.0, "amperes": 1.52},
        ),
        (
            "a/b?watts=/p&scale=0.001&joules=/e",
            {"p": 12500, "e": 7},
            {"watts": 12.5, "joules": 7.0},
        ),
        ("esphome/plug/sensor/power/state?watts=", 99.25, {"watts": 99.25}),
    ],
)
def test_what_is_published(broker, meter, patient, case):
    rest, message, expected = case
    running = broker(OPEN)
    found = meter(f"mqtt:127.0.0.1:{running.port}/{rest}")
    assert isinstance(found, Meter)
    topic = rest.partition("?")[0]
    running.publish(topic, {"old": True}, retain=True)  # of some other time: no reading
    assert found.open() == {}
    before = time.monotonic_ns()
    running.publish(topic + "/other", {"another": "topic"})
    running.publish(topic, message)
    reading = found.read()
    assert before < reading.at < time.monotonic_ns()
    assert reading.took_ns is None
    quantities = {name: getattr(reading, name) for name in expected}
    assert quantities == pytest.approx(expected, rel=1e-12)


@pytest.mark.needs("mosquitto")
def test_each_is_stamped_as_it_arrives_not_as_it_is_read(broker, meter, patient):
    running = broker(OPEN)
    found = meter(f"mqtt:127.0.0.1:{running.port}/a?watts=")
    found.open()
    stamps = []
    for watts in range(3):
        stamps.append(time.monotonic_ns())
        running.publish("a", watts)
    running.publish("a", 3)
    while found._subscription._link._news.qsize() < 4:
        time.sleep(0.01)
    read_at = time.monotonic_ns()
    readings = [found.read() for _ in range(3)]
    assert [reading.watts for reading in readings] == [0, 1, 2]
    for stamp, reading in zip(stamps, readings, strict=True):
        assert stamp < reading.at < read_at


@pytest.mark.needs("mosquitto")
@pytest.mark.parametrize(
    ("message", "why"),
    [
        (b"offline", "what is no JSON"),
        (b'{"ENERGY": {"Power": NaN}}', "what is no JSON"),
        ({"ENERGY": {"Power": True}}, "/ENERGY/Power is no number but True"),
        ({"ENERGY": {"Power": "3250"}}, "/ENERGY/Power is no number but '3250'"),
        ({"Time": "2026-03-01T12:00:00"}, "says nothing of /ENERGY/Power"),
        ({"ENERGY": {"Power": 1, "Total": []}}, "/ENERGY/Total is no number but a list"),
    ],
)
def test_garbage(broker, meter, patient, message, why):
    running = broker(OPEN)
    found = meter(f"mqtt:127.0.0.1:{running.port}/t?profile=tasmota")
    found.open()
    running.publish("t", message)
    with pytest.raises(ProtocolError, match=why):
        found.read()
    running.publish("t", SENSOR)
    assert found.read().watts == 3250.0


@pytest.mark.needs("mosquitto")
def test_a_broker_that_dies_and_comes_back(broker, meter, patient):
    running = broker(OPEN)
    found = meter(f"mqtt:127.0.0.1:{running.port}/a?watts=")
    found.open()
    running.stop()
    for _ in range(2):
        with pytest.raises(DeviceLost):
            found.read()
    running.start()
    with publishing(running, "a", b"5"):
        assert found.read().watts == 5.0


@contextmanager
def publishing(broker, topic, payload):
    """Publish again and again, so that whoever subscribes gets something."""
    stop = threading.Event()

    def work():
        while not stop.wait(0.02):
            broker.publish(topic, payload)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.mark.needs("mosquitto", "mosquitto_passwd")
def test_credentials(broker, meter, patient, tmp_path, monkeypatch):
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", passwords, "hwkit", "right"], check=True)
    passwords.chmod(0o644)
    tmp_path.chmod(0o755)
    running = broker("allow_anonymous false", "user root", f"password_file {passwords}")
    file = tmp_path / "credentials.toml"
    monkeypatch.setenv("HWKIT_CREDENTIALS", str(file))
    for words in ("", 'user = "hwkit"\npassword = "wrong"'):
        file.write_text(f'["127.0.0.1"]\n{words}')
        with pytest.raises(NotPermitted, match=r"refuses.*see \[.127.0.0.1.\] in /.*\.toml"):
            meter(f"mqtt:127.0.0.1:{running.port}/mine?watts=").open()
    file.write_text('["127.0.0.1"]\nuser = "hwkit"\npassword = "right"')
    found = meter(f"mqtt:127.0.0.1:{running.port}/mine?watts=")
    found.open()
    running.publish("mine", 7, login=("hwkit", "right"))
    assert found.read().watts == 7.0


@pytest.mark.needs("mosquitto", "openssl")
def test_tls(broker, meter, patient, tmp_path):
    pair = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    subprocess.run(
        [*command, "-subj", "/CN=broker", "-out", pair[0], "-keyout", pair[1]],
        check=True,
        capture_output=True,
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    secured = [f"listener {port} 127.0.0.1", f"certfile {pair[0]}", f"keyfile {pair[1]}"]
    running = broker(OPEN, "user root", *secured)
    with pytest.raises(NotPermitted, match=r"is not trusted; \?tls=unverified takes it"):
        meter(f"mqtt:127.0.0.1:{port}/a?watts=&tls=verified").open()
    with pytest.raises(NoDevice):
        meter(f"mqtt:127.0.0.1:{port}/a?watts=").open()
    found = meter(f"mqtt:127.0.0.1:{port}/a?watts=&tls=unverified")
    found.open()
    running.publish("a", 7)
    assert found.read().watts == 7.0


def test_nobody_there(meter):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        found = meter(f"mqtt:127.0.0.1:{taken.getsockname()[1]}/a?watts=")
        with pytest.raises(
            NoDevice, match=r"connection refused: is the port right, and is it on\?"
        ):
            found.open()
    with pytest.raises(NoDevice, match=r"no such host: check the name, or give its number$"):
        meter("mqtt:no-such-host.invalid/a?watts=").open()
    with pytest.raises(DeviceLost, match="not open"):
        meter("mqtt:127.0.0.1/a?watts=").read()


@pytest.mark.needs("mosquitto")
def test_nothing_published(broker, meter, monkeypatch):
    running = broker(OPEN)
    found = meter(f"mqtt:127.0.0.1:{running.port}/a?watts=&interval=0.1")
    monkeypatch.setattr(wire, "DEADLINE_S", WAIT_S)
    found.open()
    monkeypatch.setattr(wire, "DEADLINE_S", 0.15)
    with pytest.raises(DeviceTimeout, match=r"nothing published for 0.2 s"):
        found.read()


def test_who_publishes_rarely_is_waited_for(meter, monkeypatch):
    def late(connection):
        connection.sendall(CONNACK)
        connection.recv(65536)
        connection.sendall(SUBACK)
        time.sleep(0.3)
        connection.sendall(b"\x30\x04\x00\x01a7")
        connection.recv(65536)

    with hostile(late) as port:
        found = meter(f"mqtt:127.0.0.1:{port}/a?watts=&interval={WAIT_S}")
        monkeypatch.setattr(wire, "DEADLINE_S", WAIT_S)
        found.open()
        monkeypatch.setattr(wire, "DEADLINE_S", 0.02)
        assert found.read().watts == 7.0


def test_a_broker_that_speaks_no_tls(meter, monkeypatch):
    monkeypatch.setattr(wire, "DEADLINE_S", WAIT_S)
    with (
        hostile(lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port,
        pytest.raises(NoDevice, match="speaks no TLS"),
    ):
        meter(f"mqtt:127.0.0.1:{port}/a?watts=&tls=verified").open()


@contextmanager
def hostile(behave):
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=one, args=(connection,), daemon=True).start()

    def one(connection):
        with connection, suppress(OSError):
            connection.recv(65536)
            behave(connection)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


CONNACK, SUBACK = b"\x20\x02\x00\x00", b"\x90\x03\x00\x01\x00"


def drip(connection):
    for _ in itertools.count():
        connection.sendall(b"\x20")
        time.sleep(0.02)
        connection.sendall(b"\x02")


def then(*parts):
    def behave(connection):
        connection.sendall(CONNACK)
        connection.recv(65536)
        connection.sendall(SUBACK)
        for part in parts:
            connection.sendall(part)
        connection.recv(65536)

    return behave


def endless(connection):
    """Publish one message of 256 MiB, the most that MQTT allows."""
    then(b"\x30\xff\xff\xff\x7f\x00\x01a")(connection)


def more_than_asked(connection):
    """Send with QoS 2 and never let go of any."""
    then(*(b"\x34\x06\x00\x01a" + bytes((0, number)) + b"5" for number in range(1, 9)))(connection)


@pytest.mark.parametrize(
    ("behave", "fault", "why"),
    [
        (lambda c: time.sleep(60), DeviceTimeout, "no answer"),
        (lambda c: c.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"), DeviceFault, ""),
        (lambda c: None, DeviceLost, "broke the connection off"),
        (drip, DeviceFault, "peer: "),
        (lambda c: c.sendall(b"\x20\xff\xff\xff\xff\xff"), DeviceLost, "broke"),
        (endless, ProtocolError, "more than 65536 bytes"),
        (more_than_asked, ProtocolError, "more than the QoS asked for"),
        (then(b"\x30\x02\xff\xff"), DeviceFault, "peer: "),
    ],
)
def test_hostile_peers(monkeypatch, behave, fault, why):
    monkeypatch.setattr(wire, "DEADLINE_S", 0.5 if fault is DeviceTimeout else 20.0)
    with hostile(behave) as port:
        subscription = wire.Subscription("peer", "127.0.0.1", port, "a", login=None, tls=None)
        for _ in range(2):
            with pytest.raises(fault, match=why or None) as caught:
                subscription.next()
            assert "\n" not in str(caught.value)
        subscription.close()


def test_close_while_another_thread_reads(patient):
    faults: list[DeviceFault] = []
    asked = threading.Event()

    def behave(connection):
        asked.set()
        connection.recv(65536)

    def read():
        try:
            subscription.next()
        except DeviceFault as fault:
            faults.append(fault)

    with hostile(behave) as port:
        subscription = wire.Subscription("peer", "127.0.0.1", port, "a", login=None, tls=None)
        reader = threading.Thread(target=read)
        reader.start()
        assert asked.wait(WAIT_S)
        subscription.close()
        subscription.close()
        reader.join(WAIT_S / 2)
        assert not reader.is_alive()
        assert isinstance(faults[0], DeviceLost)
        with pytest.raises(DeviceLost, match="closed"):
            subscription.next()


def test_what_waits_unread_is_bounded(monkeypatch):
    monkeypatch.setattr(wire, "WAITING", 4)
    monkeypatch.setattr(wire, "DEADLINE_S", WAIT_S)
    flood = then(*(b"\x30\x04\x00\x01a" + str(number).encode() for number in range(10)))
    with hostile(flood) as port:
        subscription = wire.Subscription("peer", "127.0.0.1", port, "a", login=None, tls=None)
        subscription.connect()
        deadline = time.monotonic() + WAIT_S
        waiting: Any = subscription._link
        while not any(message.payload == b"9" for message in tuple(waiting._news.queue)):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert [subscription.next().payload for _ in range(4)] == [b"6", b"7", b"8", b"9"]
        subscription.close()


def test_without_the_library(monkeypatch):
    monkeypatch.setattr("hwkit.meters.mqtt.find_spec", lambda name: None)
    [absent] = plugins.meters("mqtt:192.0.2.1/a?watts=")
    assert isinstance(absent, NoDriver)
    assert absent.why == "paho-mqtt is missing: pip install 'hwkit[mqtt]'"


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("mqtt:192.0.2.1?watts=", "one topic comes after the host"),
        ("mqtt:192.0.2.1/?watts=", "one topic comes after the host"),
        ("mqtt:192.0.2.1/a/#?watts=", "one topic comes after the host"),
        ("mqtt:192.0.2.1/+/a?watts=", "one topic comes after the host"),
        ("mqtt:192.0.2.1/a", "where its watts are"),
        ("mqtt:192.0.2.1/a?profile=kasa", "no profile 'kasa'; there are tasmota, zigbee2mqtt"),
        ("mqtt:192.0.2.1/a?watts=&tls=1", "tls is verified or unverified"),
        ("mqtt:192.0.2.1/a?watts=&interval=no", "interval is a number above 0"),
        ("mqtt:u:p@192.0.2.1/a?watts=", "credentials file"),
    ],
)
def test_addresses_that_make_no_sense(address, why):
    with pytest.raises(PlanError, match=why):
        list(plugins.meters(address))
