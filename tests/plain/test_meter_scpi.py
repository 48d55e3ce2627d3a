"""SCPI meters against servers that speak as the manuals and recordings have it, and hostile peers.

What the instruments say: IM WT310-17EN (NUMeric, INPut and STATus groups); a WT310's identity and
range from MLPerf power-dev's logs; a DP832A's :MEAS:ALL? from a bench log.
"""

import math
import re
import socket
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meter_servers import Wt310

from hwkit.errors import (
    DeviceFault,
    DeviceLost,
    DeviceTimeout,
    NoDevice,
    PlanError,
    ProtocolError,
    Unavailable,
)
from hwkit.meters import polled, scpi
from hwkit.meters.scpi import ScpiMeter
from hwkit.plugins import Address, meters
from hwkit.protocols import Meter, Scope
from hwkit.wire.scpi import number

PATIENCE_S = 30  # this machine may stall


@pytest.fixture
def meter():
    """Return a function that makes the meter at an address; all are closed."""
    made = []

    def make(address):
        found = next(meters(address))
        assert isinstance(found, ScpiMeter), found
        made.append(found)
        return found

    yield make
    for each in made:
        each.close()


def speaker(answers):
    """Serve questions from a table; what is not in it gets no answer, as of an undefined header."""

    def serve(stream):
        with stream.makefile("rwb", buffering=0) as file:
            for line in file:
                said = answers.get(line.decode().strip())
                if said is not None:
                    file.write(said.encode() + b"\n")

    return serve


def test_a_wt310(peer, meter):
    instrument = Wt310()
    wt310 = meter(f"scpi:127.0.0.1:{peer(instrument.serve)}?profile=wt300")
    assert isinstance(wt310, Meter)
    said = wt310.open()
    assert said["model"] == "WT310"
    assert said["serial"] == "C2PH13047V"
    assert said["firmware"] == "F1.03"
    assert said["range_w"] == "300"
    before = time.monotonic_ns()
    reading = wt310.read()
    assert before <= reading.at <= time.monotonic_ns()
    assert reading.watts == 22.97
    assert reading.volts == 227.37
    assert reading.amperes == 0.20434
    assert reading.power_factor == 0.4944
    assert reading.hertz == 50.001
    assert reading.joules == pytest.approx(1.2345 * 3600)
    assert reading.flags == ()
    assert wt310.spec.accuracy
    assert wt310.spec.accuracy.of_range == 0.001
    assert wt310.spec.averaging_s == 0.25
    assert instrument.heard.count(":NUMeric:NORMal:VALue?") == 2  # all items in one answer


def test_what_it_does_not_measure_is_absent(peer, meter):
    instrument = Wt310(WH="NAN", P="9.91E+37", U="INF", I="-9.9E+37")
    wt310 = meter(f"scpi:127.0.0.1:{peer(instrument.serve)}?profile=wt300")
    wt310.open()
    reading = wt310.read()
    assert (reading.watts, reading.joules, reading.volts, reading.amperes) == (None,) * 4
    assert reading.flags == (
        "volts over range",
        "amperes over range",
        "watts absent",
        "joules absent",
    )


def test_its_range_is_held_against_the_address(peer, meter):
    port = peer(Wt310().serve)
    meter(f"scpi:127.0.0.1:{port}?profile=wt300&range=300").open()
    with pytest.raises(Unavailable, match="its range is 300 W, not the 1500 W"):
        meter(f"scpi:127.0.0.1:{port}?profile=wt300&range=1500").open()
    sensor = Wt310()
    sensor.ranges["CURR"] = "EXTERNAL,2.5E+00"
    said = meter(f"scpi:127.0.0.1:{peer(sensor.serve)}?profile=wt300").open()
    assert "external sensor" in said["range"]
    assert "range_w" not in said


def test_another_instrument_is_noticed(peer, meter):
    dl3021 = {"*IDN?": "RIGOL TECHNOLOGIES,DL3021,DL3A204800938,00.01.05.00.01"}
    dl3021 |= {":STATus:ERRor?": "0"}
    port = peer(speaker(dl3021))
    with pytest.raises(NoDevice, match="it says that it is 'RIGOL TECHNOLOGIES,DL3021"):
        meter(f"scpi:127.0.0.1:{port}?profile=wt300").open()
    with pytest.raises(NoDevice, match="refuses the profile's setup: 222"):
        meter(f"scpi:127.0.0.1:{peer(Wt310().serve)}?profile=wt300&element=3").open()


@pytest.mark.parametrize(
    ("profile", "answers", "model", "expected"),
    [
        (
            "rigol-dp800&channel=1",
            {
                "*IDN?": "RIGOL TECHNOLOGIES,DP832A,DP8A123456789,00.01.16",
                ":MEASure:ALL? CH1": "4.105,0.512,2.102",
            },
            "DP832A",
            (4.105, 0.512, 2.102),
        ),
        (
            "rigol-dl3000",
            {
                "*IDN?": "RIGOL TECHNOLOGIES,DL3021,DL3A204800938,00.01.05.00.01",
                ":MEASure:VOLTage?": "12.000312",
                ":MEASure:CURRent?": "0.999985",
                ":MEASure:POWer?": "12.000132",
            },
            "DL3021",
            (12.000312, 0.999985, 12.000132),
        ),
        (
            "siglent-sdl1000x",
            {
                "*IDN?": "Siglent Technologies,SDL1020X-E,SDL13GCC7R0028,1.1.1.22",
                "MEASure:VOLTage?": "5.011300",
                "MEASure:CURRent?": "2.000100",
                "MEASure:POWer?": "10.023101",
            },
            "SDL1020X-E",
            (5.0113, 2.0001, 10.023101),
        ),
        (
            "siglent-spd3303x&channel=2",
            {
                "*IDN?": "Siglent Technologies,SPD3303X,SPD3XGB4150080,1.01.01.02.05,V3.0",
                "MEASure:VOLTage? CH2": "16.000",
                "MEASure:CURRent? CH2": "3.000",
                "MEASure:POWEr? CH2": "48.00",
            },
            "SPD3303X",
            (16.0, 3.0, 48.0),
        ),
    ],
)
def test_loads_and_supplies(peer, meter, *, profile, answers, model, expected):
    load = meter(f"scpi:127.0.0.1:{peer(speaker(answers))}?profile={profile}")
    assert load.open()["model"] == model
    reading = load.read()
    assert (reading.volts, reading.amperes, reading.watts) == expected
    assert reading.joules is None
    assert load.spec.scope is Scope.DEVICE


def test_any_query_with_a_scale(peer, meter):
    port = peer(speaker({"*IDN?": "ACME,X1,0,0", "FETC:POW:REAL?": "3.35025"}))
    any_one = meter(f"scpi:127.0.0.1:{port}?query=FETC:POW:REAL?&scale=1000&scope=wall")
    assert any_one.spec.name.endswith("?query=FETC:POW:REAL?&scale=1000&scope=wall")
    assert any_one.open() == {"maker": "ACME", "model": "X1"}
    assert any_one.read().watts == 3350.25


def test_it_comes_back_and_is_set_up_again(peer, meter):
    streams, instruments = [], []

    def serve(stream):
        streams.append(stream)
        instruments.append(Wt310())
        instruments[-1].serve(stream)

    wt310 = meter(f"scpi:127.0.0.1:{peer(serve)}?profile=wt300")
    wt310.open()
    assert wt310.read().watts == 22.97
    streams[-1].shutdown(socket.SHUT_RDWR)
    with pytest.raises(DeviceLost):
        wt310.read()
    assert wt310.read().watts == 22.97
    assert len(instruments) == 2
    assert not instruments[1].headers  # a second one, that nobody had set up


def silent(stream):
    stream.recv(1 << 16)
    while stream.recv(1 << 16):
        pass


def drip(stream):
    stream.recv(1 << 16)
    while True:
        stream.sendall(b"1")
        time.sleep(0.1)


def endless(stream):
    stream.recv(1 << 16)
    while True:
        stream.sendall(b"1" * 65536)


def says(text):
    def serve(stream):
        while stream.recv(1 << 16):
            stream.sendall(text)

    return serve


ILL = [
    (silent, DeviceTimeout),
    (drip, ProtocolError),
    (endless, ProtocolError),
    (lambda stream: stream.recv(1), DeviceLost),
    (says(b"many watts\n"), ProtocolError),
    (says(b"\n"), ProtocolError),
    (says(b"1_000\n"), ProtocolError),
    (says("٣\n".encode()), ProtocolError),  # a digit, of other people's
    (says(b"1e999999\n"), ProtocolError),
    (says(b"1" * 5000 + b"\n"), ProtocolError),
    (says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), ProtocolError),
    (says(b"\xff\xfe\n"), ProtocolError),
]


@pytest.mark.parametrize(("serve", "fault"), ILL)
def test_a_peer_of_ill_will_costs_a_bounded_time(peer, meter, monkeypatch, serve, fault):
    monkeypatch.setattr(polled, "LIMIT_S", 0.8)
    any_one = meter(f"scpi:127.0.0.1:{peer(serve)}?query=POW?")
    caught = {}

    def read():
        try:
            any_one.read()
        except DeviceFault as error:
            caught["error"] = error

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert isinstance(caught["error"], fault), caught
    assert len(getattr(caught["error"], "received", b"")) <= 1 << 14
    assert "\n" not in str(caught["error"])


def test_two_answers_to_one_question_are_one_too_many(peer, meter):
    two = says(b"1\n2\n")
    any_one = meter(f"scpi:127.0.0.1:{peer(two)}?query=POW?")
    assert any_one.read().watts == 1
    with pytest.raises(ProtocolError, match="answers what was not asked"):
        any_one.read()
    assert any_one.read().watts == 1  # on a fresh connection


def test_close_cuts_a_reading_short(peer, meter, monkeypatch):
    monkeypatch.setattr(polled, "LIMIT_S", PATIENCE_S)
    asked = threading.Event()

    def serve(stream):
        stream.recv(64)
        asked.set()
        stream.recv(64)

    any_one = meter(f"scpi:127.0.0.1:{peer(serve)}?query=POW?")
    caught = []

    def read():
        with pytest.raises(DeviceLost):
            any_one.read()
        caught.append(True)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    assert asked.wait(PATIENCE_S)
    any_one.close()
    thread.join(PATIENCE_S / 2)
    assert caught


def test_what_open_says_of_what_is_not_there(peer, meter, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(NoDevice, match="connection refused: is it on"):
        meter(f"scpi:127.0.0.1:{port}?profile=rigol-dl3000").open()
    monkeypatch.setattr(polled, "LIMIT_S", 0.3)
    with pytest.raises(NoDevice, match="does it listen for SCPI on a raw socket"):
        meter(f"scpi:127.0.0.1:{peer(silent)}?profile=rigol-dl3000").open()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("104.75E+00", 104.75),
        (" -0.38E+00\r", -0.38),
        ("+1.", 1.0),
        (".5", 0.5),
        ("INF", math.inf),
        ("-INF", -math.inf),
        ("NINF", -math.inf),
        ("9.9E37", math.inf),
        ("-9.90000E+37", -math.inf),
    ],
)
def test_numbers_as_ieee_488_2_and_scpi_spell_them(text, expected):
    assert number(text) == expected


@pytest.mark.parametrize("text", ["NAN", "nan", "9.91E+37", "9.910000E37", "+9.91E37"])
def test_no_numbers_as_scpi_spells_them(text):
    assert math.isnan(number(text))


@given(st.floats(-1e30, 1e30), st.sampled_from(["{:.6E}", "{:.17g}", "{:+.3f}"]))
def test_a_number_survives_its_spelling(value, form):
    assert number(form.format(value)) == float(form.format(value))


@given(st.text())
def test_any_text_is_a_number_or_a_fault(text):
    try:
        assert isinstance(number(text), float)
    except ProtocolError:
        assert not re.fullmatch(r"[+-]?[0-9]+(\.[0-9]+)?", text.strip())


@pytest.mark.parametrize(
    ("address", "fault"),
    [
        ("scpi:?profile=wt300", "comes HOST"),
        ("scpi:h", "needs a profile: .profile= one of rigol-dl3000"),
        ("scpi:h?profile=wt300&query=POW?", "not both"),
        ("scpi:h?profile=wt300&element=1;*RST", "no word of SCPI"),
        ("scpi:h?profile=rigol-dl3000&channel=1", "no option 'channel'"),
        ("scpi:h?query=POW?&scale=much", "scale is a number"),
        ("scpi:h?query=POW?&scale=0", "makes nothing of anything"),
        ("scpi:h?query=POW%0a?", "query must match pattern"),
        ("scpi:h?query={__class__}", "leaves open"),
    ],
)
def test_addresses_that_make_no_sense(address, fault):
    with pytest.raises(PlanError, match=fault):
        ScpiMeter(Address.parse(address))


def test_a_network_is_not_searched():
    assert list(scpi.find(None)) == []
