"""Meters over HTTP, against servers on loopback that really listen, check and misbehave."""

import gzip
import itertools
import json
import os
import re
import socket
import subprocess
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from web_server import Basic, Digest, Server

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
from hwkit.protocols import Meter, Provenance, Scope
from hwkit.wire import http as wire

pytestmark = pytest.mark.needs(module="aiohttp")
ANSWERS = Path(__file__).parent / "answers"
CAPTURES = Path(os.environ.get("HWKIT_CAPTURES", Path(__file__).parents[3] / "shared" / "captures"))


def answers(name):
    return json.loads((ANSWERS / f"{name}.json").read_text())["answers"]


@pytest.fixture
def serve():
    """Return a function that starts a server of these documents."""
    servers = []

    def start(documents, **options):
        server = Server(documents, **options)
        server.thread.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def meter():
    """Return a function that finds the meter at an address."""
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
def password(tmp_path, monkeypatch):
    """Return a function that writes the credentials file."""

    def write(**words):
        path = tmp_path / "credentials.toml"
        lines = [f"{word} = {json.dumps(value)}" for word, value in words.items()]
        path.write_text("\n".join(['["127.0.0.1"]', *lines]))
        monkeypatch.setenv("HWKIT_CREDENTIALS", str(path))

    return write


KINDS = [
    ("shelly", "", "shelly-gen1-plug", {"watts": 3250.5, "joules": 439237 * 60.0}),
    (
        "shelly",
        "?channel=1",
        "shelly-gen1-em",
        {"watts": 1402.1, "joules": 1268868.6 * 3600, "volts": 232.4, "amperes": 6.22}
        | {"power_factor": 0.97},
    ),
    (
        "shelly",
        "?channel=2",
        "shelly-gen2-switch",
        {"watts": 3250.5, "joules": 1234.567 * 3600, "volts": 230.1, "amperes": 14.21}
        | {"power_factor": 0.99, "hertz": 50.0},
    ),
    (
        "shelly",
        "",
        "shelly-gen2-pm1",
        {"watts": 17.4, "joules": 330.473 * 3600, "volts": 236.2, "amperes": 0.077, "hertz": 50.0},
    ),
    (
        "shelly",
        "?channel=1",
        "shelly-gen2-em1",
        {"watts": 501.8, "joules": 2776.15 * 3600, "volts": 234.9, "amperes": 2.598}
        | {"power_factor": 0.84, "hertz": 50.0},
    ),
    ("shelly", "", "shelly-gen2-em", {"watts": 715.5, "joules": 6.79 * 3600, "amperes": 11.083}),
    (
        "tasmota",
        "",
        "tasmota",
        {"watts": 3250.0, "joules": 1234.567 * 3.6e6, "volts": 230.0, "amperes": 14.273}
        | {"power_factor": 0.99},
    ),
    (
        "tasmota",
        "?channel=1",
        "tasmota-status10",  # its Total is of both channels: not this one's
        {"watts": 35.0, "volts": 229.0, "amperes": 0.215, "power_factor": 0.71, "hertz": 50.0},
    ),
    ("axeos", "", "axeos", {"watts": 17.25, "volts": 5.0859375, "amperes": 3.42125}),
    (
        "http",
        "/cm?watts=/StatusSNS/ENERGY/ApparentPower&kwh=/StatusSNS/ENERGY/Today&scale=2",
        {"/cm": answers("tasmota")["/cm?cmnd=Status%208"]},
        {"watts": 6566.0, "joules": 39.006 * 3.6e6},
    ),
    (
        "http",
        "/cm?query=cmnd%3DStatus%208&watts=/StatusSNS/ENERGY/Power",
        "tasmota",
        {"watts": 3250.0},
    ),
    ("http", "/a b?watts=", {"/a%20b": 1.5}, {"watts": 1.5}),
    ("http", "?watts=", {"/": 12.5}, {"watts": 12.5}),
    ("http", "?wh=/0/a~1b", {"/": [{"a/b": 2}]}, {"joules": 7200.0}),
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind[0]}{kind[1]}")
def test_what_each_kind_says(serve, meter, kind):
    scheme, rest, documents, expected = kind
    server = serve(answers(documents) if isinstance(documents, str) else documents)
    found = meter(f"{scheme}:127.0.0.1:{server.port}{rest}")
    assert isinstance(found, Meter)
    spec = found.spec
    found.open()
    before = time.monotonic_ns()
    reading = found.read()
    after = time.monotonic_ns()
    assert reading.took_ns is not None
    quantities = {name: getattr(reading, name) for name in expected}
    assert quantities == pytest.approx(expected, rel=1e-12)
    everything = {"watts", "joules", "volts", "amperes", "power_factor", "hertz"}
    assert all(getattr(reading, name) is None for name in everything - set(expected))
    assert before + reading.took_ns // 2 <= reading.at <= after - reading.took_ns // 2
    assert found.spec == spec
    assert spec.accuracy is None


@pytest.mark.parametrize(
    ("scheme", "documents", "expected"),
    [
        (
            "shelly",
            "shelly-gen1-plug",
            ("SHPLG-S", "5ECF7F1632E8", "20230913-113421/v1.14.0-gcb84623"),
        ),
        (
            "shelly",
            "shelly-gen2-pm1",
            ("S3PM-001PCEU16", "84FCE636582C", "20240819-074343/1.4.2-gc2639da"),
        ),
        ("tasmota", "tasmota", ("ESP8285N08", "C4:4F:33:AA:BB:CC", "14.4.1(release-tasmota)")),
        ("axeos", "axeos", ("BM1370", "AA:BB:CC:00:00:02", "v2.8.0")),
    ],
)
def test_what_each_kind_is(serve, meter, scheme, documents, expected):
    server = serve(answers(documents))
    facts = meter(f"{scheme}:127.0.0.1:{server.port}").open()
    assert (facts["model"], facts["serial"], facts["firmware"]) == expected


def test_what_they_see_and_who_says_so(meter):
    for address, scope, provenance in (
        ("shelly:192.0.2.1", Scope.WALL, Provenance.METER),
        ("tasmota:192.0.2.1", Scope.WALL, Provenance.METER),
        ("axeos:192.0.2.1", Scope.DEVICE, Provenance.BOARD),
        ("redfish:192.0.2.1", Scope.WALL, Provenance.PSU),
        ("http:192.0.2.1?watts=/a&scope=board", Scope.BOARD, Provenance.METER),
    ):
        spec = meter(address).spec
        assert (spec.scope, spec.provenance) == (scope, provenance)
    assert meter("shelly:192.0.2.1").spec.quantum_j == 360.0  # the coarsest it may turn out to have
    assert meter("shelly:192.0.2.1?profile=switch").spec.quantum_j == pytest.approx(3.6)
    assert meter("shelly:192.0.2.1?channel=1").spec.name != meter("shelly:192.0.2.1").spec.name


def test_without_an_address_no_network_is_searched():
    from hwkit.meters.http import find  # noqa: PLC0415

    assert list(find(None)) == []


def test_without_the_library(monkeypatch):
    monkeypatch.setattr("hwkit.meters.http.find_spec", lambda name: None)
    [absent] = plugins.meters("shelly:192.0.2.1")
    assert isinstance(absent, NoDriver)
    assert absent.why == "aiohttp is missing: pip install 'hwkit[http]'"


def test_a_recorded_miner(serve, meter):
    path = CAPTURES / "bitaxe" / "Supra-401-AxeOS-2.0.0" / "system-info.json"
    if not path.exists():
        pytest.skip(f"no recorded answers at {CAPTURES}: set HWKIT_CAPTURES")
    server = serve({"/api/system/info": path.read_bytes()})
    found = meter(f"axeos:127.0.0.1:{server.port}")
    assert found.open()["model"] == "BM1368"
    reading = found.read()
    assert reading.watts == pytest.approx(2.65, abs=0.001)
    assert reading.volts == 5.175
    assert reading.amperes == 0.52125


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("shelly:", "names no host"),
        ("shelly:a b", "names no host"),
        ("shelly:192.0.2.1:port", "Port"),
        ("shelly:192.0.2.1:99999", "Port"),
        ("shelly:admin:secret@192.0.2.1", "credentials file"),
        ("shelly:192.0.2.1/rpc", "nothing comes after the host"),
        ("shelly:192.0.2.1?channel=-1", "channel is a number from 0"),
        ("shelly:192.0.2.1?profile=plug", "no profile 'plug'; there are meter, emeter, switch"),
        ("shelly:192.0.2.1?scope=moon", "scope is chip, board, device, wall, not 'moon'"),
        ("shelly:192.0.2.1?colour=red", "no option 'colour'"),
        ("http:192.0.2.1/x", "where its watts are"),
        ("http:192.0.2.1/x?volts=/v", "where its watts are"),
        ("http:192.0.2.1/x?watts=power", "no JSON pointer"),
        ("http:192.0.2.1/x?wh=/a&kwh=/b", "energy twice"),
        ("http:192.0.2.1/x?watts=/a&scale=0", "scale is a number above 0"),
        ("http:192.0.2.1/x?watts=/a&scale=nan", "scale is a number above 0"),
        ("http:192.0.2.1/x?watts=/a&tls=off", "tls is verified or unverified"),
        ("http:192.0.2.1/x?watts=/a&auth=ntlm", "auth is basic or digest"),
    ],
)
def test_addresses_that_make_no_sense(address, why):
    with pytest.raises(PlanError, match=why) as caught:
        list(plugins.meters(address))
    assert "\n" not in str(caught.value)


def test_digest_is_really_checked(serve, meter, password):
    digest = Digest("admin", "correct horse")
    server = serve(answers("shelly-gen2-switch"), auth=digest)
    address = f"shelly:127.0.0.1:{server.port}?channel=2"
    with pytest.raises(NotPermitted, match=r"wants a password: put one under \[\"127.0.0.1\"\]"):
        meter(address).open()
    password(password="wrong")
    with pytest.raises(NotPermitted, match="refuses user or password"):
        meter(address).open()
    assert digest.good == 0
    password(password="correct horse")
    found = meter(address)
    found.open()
    assert [found.read().watts for _ in range(3)] == [3250.5] * 3
    assert digest.good >= 5
    digest.nonce = "5f0e1d2c"  # the device has started again: the old nonce is stale
    assert found.read().watts == 3250.5


def test_a_password_that_was_changed_in_the_run(serve, meter, password):
    server = serve(answers("shelly-gen1-plug"), auth=Basic("admin", "one"))
    password(password="one")
    found = meter(f"shelly:127.0.0.1:{server.port}")
    found.open()
    assert found.read().watts == 3250.5
    server.auth = Basic("admin", "two")
    with pytest.raises(DeviceFault, match="refuses these credentials"):
        found.read()


def test_tasmotas_password_is_shown_to_nobody_else(serve, meter, password):
    def secured(word):
        query = f"&user=admin&password={word}"
        return {path + query: document for path, document in answers("tasmota").items()} | {
            path: {"WARNING": "Need user=<username>&password=<password>"}
            for path in answers("tasmota")
        }

    server = serve(secured("a%26b%20c"))
    found = meter(f"tasmota:127.0.0.1:{server.port}")
    with pytest.raises(NotPermitted, match="wants a password"):
        found.open()
    password(password="a&b c")
    found.open()
    assert found.read().watts == 3250.0
    server.answers = {}
    with pytest.raises(ProtocolError) as caught:
        found.read()
    assert "a%26b" not in str(caught.value) + repr(caught.value.received)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificate")
    pair = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    subprocess.run(
        [*command, "-subj", "/CN=bmc", "-out", pair[0], "-keyout", pair[1]],
        check=True,
        capture_output=True,
    )
    return pair


@pytest.mark.needs("openssl")
@pytest.mark.parametrize(
    "case",
    [
        ("redfish-power", "", (344.0, None)),
        ("redfish-environment", "&chassis=Self", (374.5, 325675 * 3.6e6)),
    ],
)
def test_redfish(serve, meter, password, certificate, case):
    documents, rest, expected = case
    server = serve(answers(documents), auth=Basic("root", "calvin"), tls=certificate)
    password(user="root", password="calvin")
    with pytest.raises(NotPermitted, match=r"is not trusted; \?tls=unverified takes it"):
        meter(f"redfish:127.0.0.1:{server.port}").open()
    found = meter(f"redfish:127.0.0.1:{server.port}?tls=unverified{rest}")
    assert set(found.open()) == {"model", "serial"}
    reading = found.read()
    assert (reading.watts, reading.joules) == expected


def test_which_chassis(serve, meter):
    server = serve(answers("redfish-environment"))
    found = meter(f"http:127.0.0.1:{server.port}?watts=/a")
    from hwkit.meters.instruments import _only_chassis  # noqa: PLC0415

    with pytest.raises(NoDevice, match=r"2 chassis: name one with \?chassis=Self or NVMe"):
        _only_chassis(found)
    server.answers["/redfish/v1/Chassis"] = {"Members": []}
    with pytest.raises(NoDevice, match="lists no chassis"):
        _only_chassis(found)


@pytest.mark.parametrize(
    ("address", "documents", "why"),
    [
        ("shelly:{}?channel=3", "shelly-gen2-switch", "measures no power at channel 3"),
        ("shelly:{}?channel=9", "shelly-gen2-switch", "measures no power at channel 9"),
        ("shelly:{}?channel=5", "shelly-gen1-plug", "HTTP 404 at /meter/5"),
        ("shelly:{}", "tasmota", "HTTP 404 at /shelly: is it a Shelly, and port and channel right"),
        ("http:{}/a?watts=", "tasmota", "HTTP 404 at /a: is the path right"),
        ("tasmota:{}", "axeos", "HTTP 404 at /cm"),
        ("tasmota:{}", {f"/cm?cmnd=Status%20{n}": {"StatusSNS": {}} for n in (8, 10)}, "not as a"),
        ("shelly:{}", {"/shelly": {"name": "printer"}}, "not as a Shelly does"),
        ("axeos:{}", "tasmota", "HTTP 404 at /api/system/info"),
    ],
)
def test_what_is_something_else(serve, meter, address, documents, why):
    server = serve(answers(documents) if isinstance(documents, str) else documents)
    with pytest.raises(NoDevice, match=why) as caught:
        meter(address.format(f"127.0.0.1:{server.port}")).open()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("power", "why"),
    [
        (True, "/power is no number but True"),
        ("3250", "/power is no number but '3250'"),
        ([3250], "/power is no number but a list"),
        ({}, "/power is no number but an object"),
        (None, "says nothing of /power"),
        (b'{"power": ' + b"9" * 309 + b"}", "/power is beyond all measure"),
        (b'{"power": NaN}', "what is no JSON"),
        (b'{"power": -Infinity}', "what is no JSON"),
        (b'{"power": 1e999}', "/power is beyond all measure"),
        (b'{"power": 1' + b"0" * 400 + b"}", "/power is beyond all measure"),
        (b'{"power": 1' + b"0" * 5000 + b"}", "what is no JSON"),
        (b"[" * 100000, "what is no JSON"),
        (b"\xff\xfe\x00", "what is no JSON"),
        (b"", "what is no JSON"),
        (b"<html>login</html>", "what is no JSON"),
        (b'"text"', "says nothing of /power"),
    ],
)
def test_garbage(serve, meter, power, why):
    server = serve(answers("axeos"))
    found = meter(f"axeos:127.0.0.1:{server.port}")
    found.open()
    good = server.answers["/api/system/info"]
    server.answers["/api/system/info"] = power if isinstance(power, bytes) else {"power": power}
    with pytest.raises(ProtocolError, match=re.escape(why)) as caught:
        found.read()
    assert "\n" not in str(caught.value)
    assert len(caught.value.received) <= 200
    server.answers["/api/system/info"] = good
    assert found.read().watts == 17.25


def test_a_meter_that_doubts_itself(serve, meter):
    server = serve(answers("shelly-gen1-plug"))
    found = meter(f"shelly:127.0.0.1:{server.port}")
    found.open()
    server.answers["/meter/0"]["is_valid"] = False
    with pytest.raises(ProtocolError, match="its reading is not valid"):
        found.read()


def test_a_server_that_dies_and_comes_back(serve, meter):
    server = serve(answers("axeos"))
    found = meter(f"axeos:127.0.0.1:{server.port}")
    found.open()
    assert found.read().watts == 17.25
    server.stop()
    for _ in range(2):
        with pytest.raises(DeviceLost):
            found.read()
    serve(answers("axeos"), port=server.port)
    assert found.read().watts == 17.25


def test_nobody_there(meter):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        found = meter(f"shelly:127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(
            NoDevice, match=r"connection refused: is the port right, and is it on\?"
        ):
            found.open()
    with pytest.raises(DeviceLost, match="not open"):
        found.read()
    with pytest.raises(NoDevice, match=r"no such host: check the name, or give its number$"):
        meter("shelly:no-such-host.invalid").open()


def test_a_server_that_speaks_no_tls(serve, meter):
    server = serve(answers("redfish-environment"))
    with pytest.raises(NoDevice, match=r"speaks no TLS.* is the port that of TLS") as caught:
        meter(f"redfish:127.0.0.1:{server.port}").open()
    assert "trusted" not in str(caught.value)


def test_what_is_wrong_is_said_with_where_to_look(serve, meter):
    server = serve({"/a": b"<html>", "/b": {"w": True}})
    at = f"127.0.0.1:{server.port}"
    for path, why in (
        ("/a", "/a: answers with what is no JSON: b'<html>'"),
        ("/b", "/w is no numb"),
    ):
        with pytest.raises(ProtocolError, match=re.escape(why)) as caught:
            meter(f"http:{at}{path}?watts=/w&wh=/e/j").open()
        said = str(caught.value)
        assert said.startswith(f"http:{at}{path}?watts=/w&wh=/e/j: ")
        assert said.count("watts=") == 1
        assert said.endswith(f"; see what it answers at http://{at}{path}")


def test_the_connection_is_kept(serve, meter):
    server = serve(answers("axeos"))
    found = meter(f"axeos:127.0.0.1:{server.port}")
    found.open()
    for _ in range(5):
        found.read()
    assert len(server.connections) == 1


@contextmanager
def hostile(behave):
    """A peer that does as it likes with each connection, after the question."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=one, args=(connection,), daemon=True).start()

    def one(connection):
        with connection:
            try:
                connection.recv(65536)
                behave(connection)
            except OSError:
                return

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def drip(head):
    def behave(connection):
        connection.sendall(head)
        for _ in itertools.count():
            connection.sendall(b" ")
            time.sleep(0.02)

    return behave


def flood(head, piece):
    def behave(connection):
        connection.sendall(head)
        while True:
            connection.sendall(piece)

    return behave


def say(data):
    return lambda connection: connection.sendall(data)


BOMB = gzip.compress(bytes(50_000_000))


@pytest.mark.parametrize(
    ("behave", "fault", "why"),
    [
        (lambda c: time.sleep(60), DeviceTimeout, "no answer within"),
        (drip(OK + b"Content-Length: 1000000\r\n\r\n"), DeviceTimeout, "no answer within"),
        (drip(OK + b"X-Slow:"), DeviceTimeout, "no answer within"),
        (drip(b"HTTP/1.1 200 O"), DeviceTimeout, "no answer within"),
        (flood(OK + b"\r\n", b"x" * 65536), ProtocolError, "more than 262144 bytes"),
        (
            flood(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"4\r\nabcd\r\n"),
            ProtocolError,
            "more",
        ),
        (flood(OK + b"X-Endless: ", b"x" * 65536), ProtocolError, "no HTTP, or has endless"),
        (flood(OK, b"X-Many: x\r\n" * 100), ProtocolError, "no HTTP, or has endless"),
        (flood(b"", b"\x16\x03\x01" * 100), ProtocolError, "no HTTP, or has endless"),
        (say(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), ProtocolError, "no HTTP, or has endless"),
        (say(b""), DeviceLost, "broke the connection off"),
        (say(OK + b"Content-Length: 100\r\n\r\n{"), DeviceLost, "broke the connection off"),
        (
            say(OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB) + BOMB),
            ProtocolError,
            "compressed its answer",
        ),
        (
            say(b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n"),
            ProtocolError,
            "sends elsewhere",
        ),
        (say(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"), ProtocolError, "HTTP 500"),
        (
            say(b"HTTP/1.1 401 No\r\nWWW-Authenticate: Digest x\r\nContent-Length: 0\r\n\r\n"),
            DeviceFault,
            "refuses these credentials",
        ),
    ],
)
def test_hostile_peers(behave, fault, why):
    # Short where it is to run out, long where a machine that stalls must not make it.
    deadline_s = 0.3 if fault is DeviceTimeout else 60.0
    with (
        hostile(behave) as port,
        closing(wire.Host("peer", f"127.0.0.1:{port}", deadline_s=deadline_s)) as host,
    ):
        host.log_in("digest", "admin", "word")
        for _ in range(2):  # and again: it connects anew
            with pytest.raises(fault, match=why) as caught:
                host.get("/", "?password=hunter2")
            assert "\n" not in str(caught.value)
            assert "hunter2" not in str(caught.value) + repr(getattr(caught.value, "received", ""))


def test_a_redirect_is_not_followed(serve):
    elsewhere = serve({"/": {}})
    to = f"http://127.0.0.1:{elsewhere.port}/".encode()
    answer = b"HTTP/1.1 307 Go\r\nLocation: " + to + b"\r\nContent-Length: 0\r\n\r\n"
    with hostile(say(answer)) as port, closing(wire.Host("peer", f"127.0.0.1:{port}")) as host:
        host.log_in("basic", "admin", "word")
        with pytest.raises(wire.BadStatus):
            host.get("/")
    assert elsewhere.asked == []


def test_close_while_another_thread_reads():
    asked = threading.Event()
    faults: list[DeviceFault] = []

    def behave(connection):
        asked.set()
        time.sleep(60)

    def read():
        try:
            host.get("/")
        except DeviceFault as fault:
            faults.append(fault)

    with hostile(behave) as port:
        host = wire.Host("peer", f"127.0.0.1:{port}", deadline_s=60.0)
        reader = threading.Thread(target=read)
        reader.start()
        assert asked.wait(30)
        host.close()
        host.close()
        reader.join(30)
        assert not reader.is_alive()
        [fault] = faults
        assert isinstance(fault, DeviceLost)
        with pytest.raises(DeviceLost, match="closed"):
            host.get("/")


def test_a_proxy_of_the_environment_is_not_used(serve, meter, monkeypatch):
    server = serve(answers("axeos"))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    found = meter(f"axeos:127.0.0.1:{server.port}")
    found.open()
    assert found.read().watts == 17.25
