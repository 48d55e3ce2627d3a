"""Modbus meters against pymodbus' server, by TCP and on a serial line, and hostile peers."""

import socket
import struct
import subprocess
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meter_servers import ModbusServer

from hwkit.errors import (
    DeviceFault,
    DeviceLost,
    DeviceTimeout,
    NoDevice,
    NoDriver,
    NotPermitted,
    PlanError,
    ProtocolError,
    Unavailable,
)
from hwkit.meters import modbus, polled
from hwkit.meters.modbus import ModbusMeter, blocks
from hwkit.meters.profiles import Quantity
from hwkit.plugins import Address, meters
from hwkit.protocols import Meter, Scope
from hwkit.wire.modbus import FORMATS, Refusal, decode, size

PYMODBUS = pytest.mark.needs(module="pymodbus")
SERIAL = pytest.mark.needs(module="serial")
LINE = pytest.mark.needs("socat", module="serial")
FCNTL = pytest.mark.needs(module="fcntl")  # pyserial does not load without: asked first, so lowest
PATIENCE_S = 30  # this machine may stall

# What an SDM120 says at 3350.25 W; what lies between is not defined.
SDM120 = {0x00: 230.5, 0x06: 14.625, 0x0C: 3350.25, 0x1E: 0.99, 0x46: 50.0, 0x48: 1234.567}
EXPECTED = {"volts": 230.5, "amperes": 14.625, "watts": 3350.25, "power_factor": 0.99}
EXPECTED |= {"hertz": 50.0, "joules": 1234.567 * 3.6e6}


def words(value, kind="float32", order="big"):
    raw = struct.pack(f">{FORMATS[kind]}", value)
    registers = list(struct.unpack(f">{len(raw) // 2}H", raw))
    return registers if order == "big" else registers[::-1]


@pytest.fixture
def server():
    """Return a function that starts pymodbus' server, and one that ends all."""
    running = []

    def start(inputs, *, units=(1,), holdings=None, port=0, line=None):
        devices = [(unit, inputs, holdings) for unit in units]
        running.append(ModbusServer(*devices, port=port, line=line))
        return running[-1].port

    def stop():
        for each in running:
            each.stop()
        running.clear()

    yield start, stop
    stop()


@pytest.fixture
def meter():
    """Return a function that makes the meter at an address; all are closed."""
    made = []

    def make(address):
        found = next(meters(address))
        assert isinstance(found, ModbusMeter), found
        made.append(found)
        return found

    yield make
    for each in made:
        each.close()


def flat(values, kind="float32", order="big"):
    return {
        at + offset: word
        for at, value in values.items()
        for offset, word in enumerate(words(value, kind, order))
    }


@PYMODBUS
def test_an_sdm120_in_si_units(server, meter):
    port = server[0](flat(SDM120))
    sdm120 = meter(f"modbus:127.0.0.1:{port}?profile=sdm120")
    assert isinstance(sdm120, Meter)
    assert sdm120.open() == {}  # it has no name to tell
    before = time.monotonic_ns()
    reading = sdm120.read()
    after = time.monotonic_ns()
    assert before <= reading.at <= after
    assert reading.took_ns
    assert 0 < reading.took_ns <= after - before
    assert reading.flags == ()
    for name, value in EXPECTED.items():
        assert getattr(reading, name) == pytest.approx(value, rel=1e-6), name
    assert sdm120.spec.quantum_j == 3600
    assert sdm120.spec.accuracy
    assert sdm120.spec.accuracy.of_reading == 0.01


@PYMODBUS
def test_one_request_where_it_takes_blocks_whole(server, meter):
    full = dict.fromkeys(range(0x100), 0) | flat(SDM120)
    port = server[0](full)
    sdm120 = meter(f"modbus:127.0.0.1:{port}?profile=sdm120&scope=device")
    sdm120.open()
    assert [(block.first, block.count) for block in sdm120._blocks] == [(0, 0x4A)]
    assert sdm120.read().watts == 3350.25
    assert sdm120.spec.scope is Scope.DEVICE


@PYMODBUS
def test_only_an_illegal_address_is_asked_about_again(peer, meter):
    asked = []

    def serve(stream):
        while head := stream.recv(12, socket.MSG_WAITALL):
            asked.append(head)
            stream.sendall(head[:4] + b"\0\3" + head[6:7] + b"\x84\x0b")

    with pytest.raises(NoDevice, match="exception 11"):
        meter(f"modbus:127.0.0.1:{peer(serve)}?profile=sdm120").open()
    assert len(asked) == 1


@PYMODBUS
def test_a_carlo_gavazzi_tells_its_name_and_its_kin_are_told_apart(server, meter):
    inputs = dict.fromkeys(range(0x24, 0x40), 0)
    inputs |= flat({0x24: 2301, 0x28: -335, 0x34: 12345}, "int32", "little")
    inputs |= {0x31: 0x10000 - 990, 0x33: 499, 0x0B: 341}
    inputs |= {0x5000 + n: ord(char) << 8 for n, char in enumerate("KX12345")}
    port = server[0](inputs)
    em340 = meter(f"modbus:127.0.0.1:{port}?profile=em340")
    assert em340.open() == {"model": "EM340 AV2", "serial": "KX12345"}
    reading = em340.read()
    assert reading.watts == pytest.approx(-33.5)
    assert reading.volts == pytest.approx(230.1)
    assert reading.power_factor == pytest.approx(-0.99)
    assert reading.hertz == pytest.approx(49.9)
    assert reading.joules == pytest.approx(1234.5 * 3.6e6)
    with pytest.raises(NoDevice, match="its identification code is 341; check profile"):
        meter(f"modbus:127.0.0.1:{port}?profile=em24").open()


@PYMODBUS
def test_a_shelly_pro_3em(server, meter):
    inputs = flat({1011: 15.5, 1013: 3400.5, 1162: 8388607.5}, order="little")
    model = "SPEM-003CEBEU".ljust(20, "\0")
    mac = "C8F09E880000"
    for at, text in ((0, mac), (6, model)):
        pairs = zip(text[::2], text[1::2], strict=True)
        inputs |= {at + n: ord(b) << 8 | ord(a) for n, (a, b) in enumerate(pairs)}
    port = server[0](inputs)
    shelly = meter(f"modbus:127.0.0.1:{port}?profile=shelly-pro-3em")
    assert shelly.open() == {"serial": mac, "model": "SPEM-003CEBEU"}
    assert shelly.read().watts == 3400.5
    assert shelly.read().joules == 8388607.5 * 3600
    assert shelly.spec.accuracy is None


@PYMODBUS
def test_nothing_but_numbers_comes_out(server, meter):
    values = SDM120 | {0x0C: float("nan"), 0x48: float("-inf"), 0x00: 1e30}
    port = server[0](flat(values))
    sdm120 = meter(f"modbus:127.0.0.1:{port}?profile=sdm120")
    sdm120.open()
    reading = sdm120.read()
    assert reading.watts is None
    assert reading.joules is None
    assert reading.flags == ("watts absent", "joules over range")
    assert reading.volts == pytest.approx(1e30)  # absurd, but a number: the harness judges


@PYMODBUS
def test_the_display_overflows(server, meter):
    inputs = dict.fromkeys(range(18), 0) | flat({4: 0x7FFFFFFF}, "int32", "little")
    port = server[0](inputs | {0x0B: 0} | {0x0E: 0x7FFF})
    em111 = meter(f"modbus:127.0.0.1:{port}?profile=em111")
    reading = em111.read()
    assert reading.watts is None
    assert reading.power_factor is None
    assert set(reading.flags) == {"watts absent", "power_factor absent"}


@PYMODBUS
def test_it_comes_back_when_the_meter_does(server, meter):
    start, stop = server
    port = start(flat(SDM120))
    sdm120 = meter(f"modbus:127.0.0.1:{port}?profile=sdm120")
    sdm120.open()
    assert sdm120.read().watts == 3350.25
    stop()
    for _ in range(2):
        with pytest.raises(DeviceLost):
            sdm120.read()
    start(flat(SDM120 | {0x0C: 1.5}), port=port)
    assert sdm120.read().watts == 1.5


@PYMODBUS
def test_what_open_says_of_what_is_not_there(server, meter):
    port = server[0](flat(SDM120), units=(7,))
    with pytest.raises(NoDevice) as caught:
        meter(f"modbus:127.0.0.1:{port}?profile=sdm120").open()
    assert "unit 1" in str(caught.value)
    with pytest.raises(NoDevice, match=r"no Carlo Gavazzi EM340.*exception 2"):
        meter(f"modbus:127.0.0.1:{port}?profile=em340&unit=7").open()
    meter(f"modbus:127.0.0.1:{port}?profile=sdm120&unit=7").open()
    with socket.create_server(("127.0.0.1", 0)) as free:
        free_port = free.getsockname()[1]
    with pytest.raises(NoDevice, match="connection refused"):
        meter(f"modbus:127.0.0.1:{free_port}?profile=sdm120").open()
    with pytest.raises(NoDevice, match="no such host"):
        meter("modbus:no-such-host.invalid?profile=sdm120").open()


@PYMODBUS
def test_a_closed_meter_is_not_spent(server, meter):
    sdm120 = meter(f"modbus:127.0.0.1:{server[0](flat(SDM120))}?profile=sdm120")
    sdm120.close()
    assert sdm120.read().watts == 3350.25  # never opened
    sdm120.close()
    sdm120.close()
    assert sdm120.read().watts == 3350.25


def answer(stream, body):
    """Answer each request with a PDU."""
    while head := stream.recv(12, socket.MSG_WAITALL):
        stream.sendall(head[:4] + struct.pack(">H", len(body) + 1) + head[6:7] + body)


def silent(stream):
    stream.recv(1)
    stream.recv(1 << 16)
    stream.recv(1)


def drip(stream):
    head = stream.recv(12)
    stream.sendall(head[:4] + b"\x00\x97" + head[6:7] + b"\x04\x94")
    while True:
        stream.sendall(b"\0")
        time.sleep(0.2)


def endless(stream):
    stream.recv(12)
    while True:
        stream.sendall(b"\x55" * 65536)


def garbage(stream):
    stream.recv(12)
    stream.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    stream.recv(12)


def hang_up(stream):
    stream.recv(12)


def other_transaction(stream):
    head = stream.recv(12)
    stream.sendall(b"\xff\xff" + head[2:4] + b"\x00\x97" + head[6:7] + b"\x04\x94" + bytes(148))
    stream.recv(12)


def another_unit(stream):
    head = stream.recv(12)
    stream.sendall(head[:4] + b"\x00\x97\x09\x04\x94" + bytes(148))
    stream.recv(12)


ILL = [
    (silent, DeviceTimeout),
    (drip, ProtocolError),
    (endless, ProtocolError),
    (garbage, ProtocolError),
    (hang_up, DeviceLost),
    (other_transaction, DeviceFault),
    (another_unit, DeviceFault),
    (lambda stream: answer(stream, b"\x04\x02\0\0"), ProtocolError),  # too few
    (lambda stream: answer(stream, b"\x04\xff\0\0"), ProtocolError),  # fewer than it says
    (lambda stream: answer(stream, b"\x84\x04"), ProtocolError),  # server device failure
    (lambda stream: answer(stream, b"\x84"), ProtocolError),
    (
        lambda stream: answer(stream, b"\x2b\x0e\x01"),
        ProtocolError,
    ),  # an answer to another question
    (lambda stream: answer(stream, b""), ProtocolError),
]


@PYMODBUS
@pytest.mark.parametrize(("serve", "fault"), ILL)
def test_a_peer_of_ill_will_costs_a_bounded_time(peer, meter, monkeypatch, serve, fault):
    monkeypatch.setattr(polled, "LIMIT_S", 0.8)
    em111 = meter(f"modbus:127.0.0.1:{peer(serve)}?profile=em111")
    # In a thread: a call that never returned would hold up all tests, not fail this one.
    caught = {}

    def read():
        try:
            em111.read()
        except DeviceFault as error:
            caught["error"] = error

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert isinstance(caught["error"], fault), caught
    assert len(getattr(caught["error"], "received", b"")) <= 1 << 17
    assert "\n" not in str(caught["error"])


@PYMODBUS
def test_a_silent_peer_is_no_meter(peer, meter, monkeypatch):
    monkeypatch.setattr(polled, "LIMIT_S", 0.3)
    with pytest.raises(NoDevice, match="no answer in time: check unit 1"):
        meter(f"modbus:127.0.0.1:{peer(silent)}?profile=sdm120").open()


@PYMODBUS
def test_close_cuts_a_reading_short(peer, meter, monkeypatch):
    monkeypatch.setattr(polled, "LIMIT_S", PATIENCE_S)
    asked = threading.Event()

    def serve(stream):
        stream.recv(12)
        asked.set()
        stream.recv(12)

    sdm120 = meter(f"modbus:127.0.0.1:{peer(serve)}?profile=sdm120")
    caught = []

    def read():
        with pytest.raises(DeviceLost):
            sdm120.read()
        caught.append(True)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    assert asked.wait(PATIENCE_S)
    sdm120.close()
    thread.join(PATIENCE_S / 2)
    assert caught


@pytest.fixture
def line(tmp_path):
    """Two ends of a serial line."""
    ends = [tmp_path / name for name in ("ours", "theirs")]
    arguments = [f"pty,raw,echo=0,link={end}" for end in ends]
    with subprocess.Popen(["socat", *arguments]) as process:
        deadline = time.monotonic() + PATIENCE_S
        while not all(end.exists() for end in ends):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield [str(end) for end in ends]
        process.terminate()


@PYMODBUS
@LINE
@FCNTL
def test_rtu(server, meter, line):
    ours, theirs = line
    server[0](flat(SDM120), units=(5,), line=theirs)
    sdm120 = meter(f"modbus:{ours}?profile=sdm120&unit=5&baud=9600&parity=N")
    sdm120.open()
    for _ in range(3):
        assert sdm120.read().watts == 3350.25
    with pytest.raises(NoDevice, match="another program has it open"):
        meter(f"modbus:{ours}?profile=sdm120&unit=5").open()


@PYMODBUS
@LINE
@pytest.mark.parametrize(
    ("said", "fault"),
    [
        (b"", DeviceTimeout),
        (b"\x01\x04\x24" + bytes(36) + b"\xde\xad", ProtocolError),  # a wrong CRC
        (b"\xff" * 4096, ProtocolError),
        (b"\x01\x84\x02\xc2\xc1", Refusal),  # illegal data address, with its CRC
        (b"\x09\x04\x24", ProtocolError),
    ],
)
@FCNTL
def test_noise_on_the_line(meter, line, monkeypatch, said, fault):
    monkeypatch.setattr(polled, "LIMIT_S", 0.6)
    serial = pytest.importorskip("serial")
    ours, theirs = line
    over = threading.Event()

    def serve():
        with serial.Serial(theirs, 9600, timeout=0.05) as port:
            while not over.is_set():
                if port.read(8):
                    port.write(said)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    em111 = meter(f"modbus:{ours}?profile=em111")
    for _ in range(2):
        with pytest.raises(fault):
            em111.read()
    over.set()
    thread.join(PATIENCE_S)


@PYMODBUS
@SERIAL
@FCNTL
def test_ports_that_are_none(meter, tmp_path):
    with pytest.raises(NoDevice, match="no such port"):
        meter(f"modbus:{tmp_path}/ttyUSB9?profile=sdm120").open()
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(NoDevice, match="it is no serial port"):
        meter(f"modbus:{file}?profile=sdm120").open()


@PYMODBUS
@SERIAL
@FCNTL
def test_a_port_of_somebody_else_s(meter, monkeypatch):
    import serial  # noqa: PLC0415

    def refuse(*_, **__):
        raise serial.SerialException(13, "Permission denied")

    monkeypatch.setattr(serial, "Serial", refuse)
    with pytest.raises(NotPermitted, match="dialout"):
        meter("modbus:/dev/ttyUSB0?profile=sdm120").open()


@pytest.mark.parametrize("kind", sorted(FORMATS))
@pytest.mark.parametrize("order", ["big", "little"])
@given(data=st.data())
def test_numbers_survive_registers(kind, order, data):
    if kind.startswith("float"):
        value = data.draw(st.floats(width=32 if kind == "float32" else 64))
    else:
        bits = int(kind.removeprefix("u").removeprefix("int"))
        low = 0 if kind.startswith("u") else -(1 << bits - 1)
        value = data.draw(st.integers(low, low + (1 << bits) - 1))
    registers = words(value, kind, order)
    assert len(registers) == size(kind)
    came = decode(registers, kind, order)
    assert came == value or (came != came and value != value)  # noqa: PLR0124 - NaN


def test_words_as_the_documents_spell_them():
    # Eastron, SDM120 protocol 1.2: 230.2 V is 43 66 33 34.
    assert decode([0x4366, 0x3334], "float32", "big") == pytest.approx(230.2)
    # Carlo Gavazzi, EM300 protocol: low word first, two's complement.
    assert decode([0xFFFE, 0xFFFF], "int32", "little") == -2
    assert decode([0x0001, 0x0002], "int32", "little") == 0x00020001


@given(
    st.lists(
        st.tuples(st.integers(0, 300), st.sampled_from(sorted(FORMATS)), st.booleans()),
        min_size=1,
        max_size=12,
    ),
    st.integers(4, 125),
)
def test_blocks_hold_what_they_fetch(rows, most):
    quantities = tuple(
        Quantity("watts", 1.0, {"register": at, "type": kind, "kind": ("input", "holding")[held]})
        for at, kind, held in rows
    )
    found = blocks(quantities, most)
    assert sum(len(block.quantities) for block in found) == len(quantities)
    for block in found:
        assert 0 < block.count <= most
        for each in block.quantities:
            assert each.where["kind"] == block.kind
            assert block.first <= each.where["register"]
            assert each.where["register"] + size(each.where["type"]) <= block.first + block.count
        if len(block.quantities) > 1:
            assert sum(len(half.quantities) for half in block.halves()) == len(block.quantities)


@pytest.mark.parametrize(
    ("address", "fault"),
    [
        ("modbus:?profile=sdm120", "comes HOST"),
        ("modbus:[::1?profile=sdm120", "comes HOST"),
        ("modbus:[::1]502?profile=sdm120", "comes HOST"),
        ("modbus:h?profile=sdm999", "no profile 'sdm999'.*one of em111"),
        ("modbus:h", "needs a profile"),
        ("modbus:h:0?profile=sdm120", "port is a number"),
        ("modbus:h:x?profile=sdm120", "port is a number"),
        ("modbus:h?profile=sdm120&unit=248", "unit is a number from 1 to 247"),
        ("modbus:h?profile=sdm120&unit=0", "unit is a number"),
        ("modbus:h?profile=sdm120&scope=moon", "scope is chip, board, device, wall"),
        ("modbus:h?profile=sdm120&colour=red", "no option 'colour'"),
        ("modbus:h?profile=sdm120&framing=ascii", "framing is socket or rtu"),
        ("modbus:h?profile=sdm120&interval=-1", "interval is a number above 0"),
        ("modbus:h?profile=sdm120&accuracy=1", "accuracy is a percentage, as in 5%"),
        ("modbus:h?profile=sdm120&accuracy=nan%", "accuracy is a percentage"),
        ("modbus:h?profile=sdm120&calibrated=soon", "calibrated is a date"),
        ("modbus:/dev/ttyS0?profile=sdm120&parity=X", "parity is N or E or O"),
        ("modbus:/dev/ttyS0?profile=sdm120&baud=fast", "baud is a number"),
        ("modbus:h?profile=/no/such/file.toml", "cannot be read: No such file"),
    ],
)
def test_addresses_that_make_no_sense(address, fault):
    with pytest.raises(PlanError, match=fault):
        ModbusMeter(Address.parse(address))


def test_options_win_over_the_profile():
    said = "profile=sdm120&accuracy=0.5%&interval=2.5&calibrated=2026-03-31&scope=device"
    spec = ModbusMeter(Address.parse(f"modbus:[2001:db8::1]:5020?{said}")).spec
    assert spec.name == f"modbus:[2001:db8::1]:5020?{said}"
    assert spec.accuracy
    assert spec.accuracy.of_reading == 0.005
    assert spec.interval_s == 2.5
    assert spec.calibrated == "2026-03-31"
    wt300 = ModbusMeter(Address.parse("modbus:h?profile=wt300&range=3000")).spec
    assert wt300.accuracy
    assert wt300.accuracy.range_w == 3000


def test_without_the_packages(monkeypatch):
    assert list(modbus.find(None)) == [] or isinstance(next(modbus.find(None)), Unavailable)
    absent = {"pymodbus"}
    monkeypatch.setattr(modbus, "find_spec", lambda name: None if name in absent else name)
    for address in (None, Address.parse("modbus:h?profile=sdm120")):
        (found,) = modbus.find(address)
        assert isinstance(found, NoDriver)
        assert "pip install 'hwkit[modbus]'" in found.why
    absent = {"serial"}
    (found,) = modbus.find(Address.parse("modbus:/dev/ttyUSB0?profile=sdm120"))
    assert isinstance(found, NoDriver)
    (found,) = modbus.find(Address.parse("modbus:h?profile=sdm120"))
    assert isinstance(found, ModbusMeter)
