"""SNMP meters against Debian's snmpd, which serves what power distribution units serve."""

import socket
import threading
import time
from pathlib import Path

import pytest
from meter_servers import APC, KEYS, RPDU2, Agent

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
from hwkit.meters import polled, snmp
from hwkit.meters.snmp import SnmpMeter
from hwkit.plugins import Address, meters
from hwkit.protocols import Meter

PYSNMP = pytest.mark.needs(module="pysnmp")
SNMPD = pytest.mark.needs("snmpd", module="pysnmp")
PATIENCE_S = 30  # this machine may stall
AGENT = Path(__file__).parents[1] / "fakes" / "pass_persist.py"

RARITAN = "1.3.6.1.4.1.13742.6"
PX3 = {
    f"{RARITAN}.{part}": ("gauge", value)
    for part, value in {
        "5.2.3.1.4.1.1.5": 3350,
        "3.3.4.1.7.1.1.5": 0,
        "5.2.3.1.4.1.1.8": 4294967290,
        "3.3.4.1.7.1.1.8": 0,
        "5.2.3.1.4.1.1.4": 2305,
        "3.3.4.1.7.1.1.4": 1,
        "5.2.3.1.4.1.1.1": 14532,
        "3.3.4.1.7.1.1.1": 3,
        "5.4.3.1.4.1.2.5": 1675,
        "3.5.4.1.7.1.2.5": 0,
    }.items()
} | {f"{RARITAN}.3.2.1.1.3.1": ("string", "PX3-5190R")}
SENTRY4 = "1.3.6.1.4.1.1718.4.1"
PRO2 = {
    f"{SENTRY4}.3.3.1.3.1.1": ("integer", 3350),
    f"{SENTRY4}.3.3.1.10.1.1": ("integer", 98765),
    f"{SENTRY4}.3.3.1.11.1.1": ("integer", 599),
    f"{SENTRY4}.8.3.1.7.1.2.7": ("integer", 1710),
    f"{SENTRY4}.8.3.1.14.1.2.7": ("integer", 1234567),
    f"{SENTRY4}.2.2.1.5.1": ("string", "C2WG24SN"),
}
SENTRY3 = "1.3.6.1.4.1.1718.3"
CDU = {
    f"{SENTRY3}.2.1.1.11.1": ("integer", 3350),
    f"{SENTRY3}.2.1.1.14.1": ("integer", 1234),
    f"{SENTRY3}.2.2.1.12.1.2": ("integer", 1100),
    f"{SENTRY3}.2.2.1.16.1.2": ("integer", 55555),
    f"{SENTRY3}.2.2.1.11.1.2": ("integer", 2081),
    f"{SENTRY3}.2.3.1.14.1.1.4": ("integer", -1),
    f"{SENTRY3}.2.3.1.18.1.1.4": ("integer", 777),
}


@pytest.fixture
def agent(tmp_path):
    made = Agent(tmp_path)

    def start(objects, object_id):
        made.say(objects)
        made.start(object_id)
        return made

    yield start
    made.stop()


@pytest.fixture
def rpdu2(agent):
    return agent(RPDU2, "1.3.6.1.4.1.318.1.3.4.6")


@pytest.fixture
def meter():
    """Return a function that makes the meter at an address; all are closed."""
    made = []

    def make(address):
        found = next(meters(address))
        assert isinstance(found, SnmpMeter), found
        made.append(found)
        return found

    yield make
    for each in made:
        each.close()


@SNMPD
@pytest.mark.parametrize("version", ["1", "2c"])
def test_an_apc_rack_pdu(rpdu2, meter, version):
    at = f"snmp:127.0.0.1:{rpdu2.port}?profile=apc-rpdu2&version={version}"
    whole = meter(at)
    assert isinstance(whole, Meter)
    assert whole.open() == {"model": "AP8959", "serial": "ZA1234567890", "firmware": "v6.8.0"}
    before = time.monotonic_ns()
    reading = whole.read()
    assert before <= reading.at <= time.monotonic_ns()
    assert reading.took_ns
    assert reading.watts == pytest.approx(3350)
    assert reading.joules == pytest.approx(1234.5 * 3.6e6)
    assert reading.power_factor == pytest.approx(0.98)
    assert (whole.spec.quantum_w, whole.spec.quantum_j) == (10, 360_000)
    outlet = meter(f"{at}&outlet=3")
    outlet.open()
    assert outlet.read().watts == 3321  # not hundredths of kW
    assert outlet.read().amperes == pytest.approx(14.5)
    assert outlet.spec.quantum_w == 1
    phase = meter(f"{at}&phase=1")
    phase.open()
    reading = phase.read()
    assert reading.watts == pytest.approx(3330)
    assert reading.volts == 231
    assert reading.power_factor is None  # -1: it has none
    assert reading.flags == ("power_factor absent",)
    with pytest.raises(NoDevice, match="neither power nor energy"):
        meter(f"{at}&outlet=9").open()


@SNMPD
def test_version_3_with_sha_and_aes(rpdu2, meter, credentials):
    at = f"snmp:127.0.0.1:{rpdu2.port}?profile=apc-rpdu2&version=3"
    credentials(**KEYS)
    pdu = meter(at)
    assert pdu.open()["model"] == "AP8959"
    assert pdu.read().watts == pytest.approx(3350)
    credentials(user="sum", auth_key=KEYS["auth_key"], auth="sha256")
    assert meter(at).read().watts == pytest.approx(3350)


@SNMPD
def test_keys_are_of_version_3_also_unsaid(rpdu2, meter, credentials):
    """By 2c as "public" it would have been read as well, by who has keys and wants them used."""
    at = f"snmp:127.0.0.1:{rpdu2.port}?profile=apc-rpdu2"
    credentials(**KEYS | {"user": "nobody"})
    with pytest.raises(Unavailable, match="no such user"):
        meter(at).open()
    assert meter(f"{at}&version=2c").read().watts == pytest.approx(3350)
    credentials(**KEYS)
    assert meter(at).read().watts == pytest.approx(3350)
    credentials(user="admin", password="of its web page")
    assert meter(at).read().watts == pytest.approx(3350)


@SNMPD
@pytest.mark.parametrize(
    ("words", "why"),
    [
        (KEYS | {"user": "nobody"}, "no such user"),
        (KEYS | {"auth_key": "not-this-one"}, "wrong auth_key"),
        (KEYS | {"auth": "sha256"}, "wrong auth_key"),
        ({"user": "meter", "auth_key": KEYS["auth_key"]}, "may not read this"),
        (KEYS | {"priv_key": "not-this-one"}, "priv_key|no answer in time"),
    ],
)
def test_wrong_keys(rpdu2, meter, credentials, monkeypatch, *, words, why):
    monkeypatch.setattr(polled, "LIMIT_S", 3.0)
    credentials(**words)
    with pytest.raises(Unavailable, match=why) as caught:
        meter(f"snmp:127.0.0.1:{rpdu2.port}?profile=apc-rpdu2&version=3").open()
    assert "not-this-one" not in str(caught.value)


@SNMPD
def test_a_wrong_community_gets_no_answer_and_is_thought_of(rpdu2, meter, credentials, monkeypatch):
    monkeypatch.setattr(polled, "LIMIT_S", 1.5)
    at = f"snmp:127.0.0.1:{rpdu2.port}?profile=apc-rpdu2"
    meter(at).open()  # "public" is the one word tried unsaid
    credentials(community="s3cret")
    with pytest.raises(NoDevice, match="the community right") as caught:
        meter(at).open()
    assert "s3cret" not in str(caught.value)
    credentials(community="other")  # right, but it may see the system group only
    with pytest.raises(NoDevice, match="neither power nor energy"):
        meter(at).open()


@SNMPD
def test_a_raritan_says_how_many_digits_are_decimals(agent, meter):
    px3 = agent(PX3, "1.3.6.1.4.1.13742.6")
    inlet = meter(f"snmp:127.0.0.1:{px3.port}?profile=raritan-px")
    assert inlet.open() == {"model": "PX3-5190R"}
    reading = inlet.read()
    assert reading.watts == 3350
    assert reading.joules == 4294967290 * 3600
    assert reading.volts == pytest.approx(230.5)
    assert reading.amperes == pytest.approx(14.532)
    assert set(reading.flags) == {"power_factor absent", "hertz absent"}
    assert inlet.spec.modulus_j == 2**32 * 3600
    outlet = meter(f"snmp:127.0.0.1:{px3.port}?profile=raritan-px&outlet=2")
    assert outlet.read().watts == 1675
    px3.say(PX3 | {f"{RARITAN}.3.3.4.1.7.1.1.5": ("gauge", 77)})
    with pytest.raises(ProtocolError, match="no number of decimals"):
        meter(f"snmp:127.0.0.1:{px3.port}?profile=raritan-px").read()


@SNMPD
def test_server_technology(agent, meter):
    pro2 = agent(PRO2 | CDU, "1.3.6.1.4.1.1718.4")
    at = f"snmp:127.0.0.1:{pro2.port}?profile=servertech-sentry4"
    cord = meter(at)
    assert cord.open() == {"model": "C2WG24SN"}
    assert cord.read().watts == 3350
    assert cord.read().joules == pytest.approx(9876.5 * 3.6e6)
    assert cord.read().hertz == pytest.approx(59.9)
    outlet = meter(f"{at}&cord=2&outlet=7").read()
    assert (outlet.watts, outlet.joules) == (1710, 1234567 * 3600)
    sentry3 = f"snmp:127.0.0.1:{pro2.port}?profile=servertech-sentry3"
    with pytest.raises(NoDevice, match=r"sysObjectID is 1.3.6.1.4.1.1718.4; another profile"):
        meter(sentry3).open()
    tower = meter(sentry3).read()
    assert (tower.watts, tower.joules) == (3350, 1234 * 3.6e6)
    infeed = meter(f"{sentry3}&infeed=2").read()
    assert infeed.watts == 1100
    assert infeed.joules == pytest.approx(5555.5 * 3.6e6)
    assert infeed.volts == pytest.approx(208.1)
    outlet = meter(f"{sentry3}&outlet=4").read()
    assert (outlet.watts, outlet.joules) == (None, 777 * 3600)


@SNMPD
def test_any_object_with_a_scale(agent, meter):
    objects = RPDU2 | {f"{APC}.99.1": ("string", "33.5"), f"{APC}.99.2": ("string", "many")}
    port = agent(objects, "1.3.6.1.4.1.318").port
    energy = f"energy_oid={APC}.4.3.1.9.1&energy_scale=0.1"
    any_one = meter(f"snmp:127.0.0.1:{port}?oid=.{APC}.99.1&scale=100&{energy}")
    any_one.open()
    assert any_one.read().watts == 3350  # units without real numbers send text
    assert any_one.read().joules == pytest.approx(1234.5 * 3.6e6)
    with pytest.raises(ProtocolError, match="is no number"):
        meter(f"snmp:127.0.0.1:{port}?oid={APC}.99.2").read()


@SNMPD
def test_it_comes_back_when_the_unit_does(rpdu2, meter, monkeypatch, credentials):
    monkeypatch.setattr(polled, "LIMIT_S", 1.0)
    credentials(**KEYS)  # version 3 counts boots and seconds: the hard case
    pdu = meter(f"snmp:127.0.0.1:{rpdu2.port}?profile=apc-rpdu2&version=3")
    pdu.open()
    rpdu2.stop()
    with pytest.raises(DeviceTimeout):
        pdu.read()
    rpdu2.say(RPDU2 | {f"{APC}.4.3.1.5.1": ("integer", 1)})
    rpdu2.start("1.3.6.1.4.1.318")
    monkeypatch.setattr(polled, "LIMIT_S", 4.5)
    assert pdu.read().watts == pytest.approx(10)


@pytest.fixture
def datagrams():
    """Return a function that answers each datagram with others, on a port of ours."""
    over = threading.Event()
    threads = []

    def start(answer):
        place = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        place.bind(("127.0.0.1", 0))
        place.settimeout(0.05)

        def serve():
            with place:
                while not over.is_set():
                    try:
                        asked, who = place.recvfrom(65536)
                    except TimeoutError:
                        continue
                    for said in answer(asked):
                        place.sendto(said, who)

        threads.append(threading.Thread(target=serve, daemon=True))
        threads[-1].start()
        return place.getsockname()[1]

    yield start
    over.set()
    for thread in threads:
        thread.join(PATIENCE_S)


def of_another_object(asked):
    """Make a response of a request, for 1.3.6.1.4.1.318.2."""
    return asked.replace(b"\xa0", b"\xa2", 1).replace(b"\x82\x3e\x01", b"\x82\x3e\x02")


@PYSNMP
@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (lambda _: [], DeviceTimeout),
        (lambda _: [b"\x30"], DeviceTimeout),  # no SNMP is passed over, the answer may yet come
        (lambda _: [b"HTTP/1.1 400 Bad Request\r\n\r\n"], DeviceTimeout),
        (lambda _: [b"\0" * 60000] * 20, DeviceFault),
        (lambda _: [b"\x30\x84\xff\xff\xff\xff" + b"\x02" * 1000], DeviceFault),
        (lambda asked: [asked], DeviceFault),  # an echo
        (lambda asked: [of_another_object(asked)], ProtocolError),
    ],
)
def test_a_peer_of_ill_will_costs_a_bounded_time(datagrams, meter, monkeypatch, answer, fault):
    monkeypatch.setattr(polled, "LIMIT_S", 1.0)
    port = datagrams(answer)
    pdu = meter(f"snmp:127.0.0.1:{port}?oid=1.3.6.1.4.1.318.1")
    caught = {}

    def read():
        try:
            caught["reading"] = pdu.read()
        except DeviceFault as error:
            caught["error"] = error

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert isinstance(caught.get("error"), fault), caught
    assert "\n" not in str(caught["error"])


@PYSNMP
def test_close_cuts_a_reading_short(datagrams, meter, monkeypatch):
    monkeypatch.setattr(polled, "LIMIT_S", PATIENCE_S)
    asked = threading.Event()

    def answer(_):
        asked.set()
        return []

    pdu = meter(f"snmp:127.0.0.1:{datagrams(answer)}?oid=1.3.6.1.4.1.318.1")
    caught = []

    def read():
        with pytest.raises(DeviceFault):
            pdu.read()
        caught.append(True)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    assert asked.wait(PATIENCE_S)
    pdu.close()
    thread.join(PATIENCE_S)
    assert caught


@PYSNMP
@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ({}, "needs its user"),
        ({"user": "u", "auth_key": "short"}, "auth_key .* fewer than 8"),
        ({"user": "u", "priv_key": "long enough"}, "no priv_key without auth_key"),
        ({"user": "u", "auth_key": "long enough", "auth": "rot13"}, "no auth 'rot13'"),
    ],
)
def test_credentials_that_make_no_sense(meter, credentials, words, fault):
    credentials(**words)
    with pytest.raises(PlanError, match=fault):
        meter("snmp:127.0.0.1?oid=1.3.6&version=3").open()


@pytest.mark.parametrize(
    ("address", "fault"),
    [
        ("snmp:?profile=apc-rpdu2", "comes HOST"),
        ("snmp:h", "needs a profile: .profile= one of apc-rpdu2"),
        ("snmp:h?profile=apc-rpdu2&outlet=0", "outlet is a number"),
        ("snmp:h?profile=apc-rpdu2&cord=1", "no option 'cord'"),
        ("snmp:h?profile=apc-rpdu2&version=2", "version is 1, 2c or 3"),
        ("snmp:h?profile=apc-rpdu2&oid=1.3", "not both"),
        ("snmp:h?oid=power", "oid must match pattern"),
        ("snmp:h?oid=1.3.6.{outlet}", "leaves open"),
        ("snmp:h?scale=3", "quantities must contain at least 1 items"),
        ("snmp:h?oid=1.3.6&scale=nan", "scale is a number"),
    ],
)
def test_addresses_that_make_no_sense(address, fault):
    with pytest.raises(PlanError, match=fault):
        SnmpMeter(Address.parse(address))


def test_without_the_package(monkeypatch):
    monkeypatch.setattr(snmp, "find_spec", lambda _: None)
    for address in (None, Address.parse("snmp:h?profile=apc-rpdu2")):
        (found,) = snmp.find(address)
        assert isinstance(found, NoDriver)
        assert "pip install 'hwkit[snmp]'" in found.why
    assert isinstance(found, Unavailable)
    assert not isinstance(found, NotPermitted | DeviceLost)
