"""What `asic capture` replaces: names of people, places and secrets, however they are written."""

import json

import pytest

from hwkit.hashers.asic.scrub import Scrubber


def scrubbed(said):
    scrubber = Scrubber()
    out = scrubber.scrub({"it": said if isinstance(said, bytes) else json.dumps(said).encode()})
    return out["it"], scrubber.left


NAMES = [
    "worker_name",
    "workerName",
    "worker",
    "wallet",
    "btc_address",
    "wallet_address",
    "email",
    "account_name",
    "subaccount",
    "sub_account",
    "pool1user",
    "pool_1_user",
    "stratumuser",
    "userPass",
    "usr",
    "User2",
    "fallbackStratumUser",
    "apiKey",
    "api_key",
    "key",
    "Authorization",
    "session",
    "cookie",
    "credential",
    "passphrase",
    "pool_password",
    "wifi_key",
    "wpa_psk",
    "wifiPass",
    "privateKey",
    "stratumCert",
    "token",
    "jwt",
    "ssid",
    "wifiSSID",
    "location",
    "label",
    "hostName",
    "Hostname",
    "device_name",
    "deviceName",
    "timezone",
    "rack",
    "farm",
    "SerialNumber",
    "serial_number",
    "minersn",
    "MinerSN",
    "miner-sn",
    "psu_sn",
    "hashboard_sn",
    "uuid",
    "hwid",
    "uid",
    "PCB SN",
    "mac_addr",
    "macaddr2",
    "MACs",
    "IPv6Address",
    "gw",
    "ntp",
    "ntpServer",
    "syslog_server",
    "dns1",
    "proxy",
    "stratumURL",
]


@pytest.mark.parametrize("name", NAMES)
def test_what_a_name_says_is_replaced(name):
    for value in ("Muster9", ["Muster9"], [["Muster9"]]):
        out, _ = scrubbed({name: value, "Accepted": 12, "GHS av": 1.5})
        assert b"Muster9" not in out
        assert json.loads(out)["Accepted"] == 12
        assert json.loads(out)["GHS av"] == 1.5


@pytest.mark.parametrize(
    "said",
    [
        b'{"User":"Muster9\nb","Pass":"Muster9"}',
        b'{"User" "Muster9"}',
        b"{'User':'Muster9'}",
        b"{User:'Muster9'}",
        b'{User: Muster9, "Accepted": 1}',
        b'{"\\u0055ser":"Muster9"}',
        b'{"User":"a","Pass":"Muster9',
        b'{"User":"a","Pass":"x Muster9\\',
        b'{"User":["a",["Muster9"]]}',
        b'{"User":{"name":"Muster9"}}',
        b'{"users":[{"name":"Muster9"}]}',
        b'{"Pass":7777777}',
        b'{"Password":7777777.5}',
        b'{"serial":7777777}',
        b'{"User":7777777}',
        b'\x00{"User":"Muster9"}',
        b'\xef\xbb\xbf{"User":"Muster9"}',
        b'garbage {"User":"Muster9","Pass":"Muster9"}',
        b'garbage\'s {"User":"Muster9","Pass":"Muster9"}',
        b'"{\\"User\\":\\"Muster9\\"}"',
        b'{"log":"{\\"User\\":\\"Muster9\\"}"}',
        b'{"log":"{\\"in\\":\\"{\\\\\\"pass\\\\\\":\\\\\\"Muster9\\\\\\"}\\"}"}',
        b"{\"log\":\"{'User':'Muster9'}\"}",
        b'{"a":"b"c","User":"Muster9"}',
        b'{"User":"Muster9"Pass":"Muster9"}',
        b'{"User":"a,"Pass":"Muster9"}',
        b'{"Pass":"a" "Muster9"}',
        b'{"User":"Muster9" "Accepted":3}',
        b'[{"a":1}{"User":"Muster9"}]',
        b'{"a":1}{"User":"Muster9"}',
        b"user: Muster9\npass = Muster9\n",
        b'{"Msg":"logged in with pwd=Muster9"}',
        b"STATUS=S,Code=7|POOL=0,User=Muster9,Pass=Muster9\\,Muster9,Worker=Muster9|",
        b"STATUS=S,Code=7|POOL=0,User=a,Muster9,Accepted=3|",
        b"\xef\xbb\xbfSTATUS=S,Code=7|POOL=0,User=Muster9|",
        b'{"MM ID0":"Ver[15-1] SN[Muster9] MAC[Muster9]"}',
    ],
)
def test_no_malformation_hides_a_name(said):
    out, _ = scrubbed(said)
    assert b"Muster9" not in out
    assert b"7777777" not in out


@pytest.mark.parametrize(
    ("said", "gone"),
    [
        ("stratum+ssl://u:geheim@h.example:1", "geheim"),
        ("https://u:geheim@h.example/", "geheim"),
        ("socks5://u:geheim@192.0.2.4:9", "geheim"),
        ("connect 81.2.69.144:3333 ok", "81.2"),
        ("from 2001:db8:dead:beef::5 on", "dead"),
        ("fe80::dead%eth0", "dead"),
        ("::ffff:81.2.69.144", "81.2"),
        ("AA-BB-CC-DD-EE-01", "EE"),
        ("pays bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq now", "bc1q"),
        ("pays 1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa.rig", "1A1z"),
        ("3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy", "3J98"),
        ("write to max@muster.example", "muster"),
        ("auth failed for max@81.2.69.145", "max"),
        ("pool.muster.io", "muster"),
        ("pool.muster.io:3333", "muster"),
        ('{"host":"x","at":"81.2.69.144"}', "81.2"),
    ],
)
def test_what_looks_like_nothing_else_is_replaced_anywhere(said, gone):
    for whole in ({"unheard": said}, {"unheard": [said]}, {"a": {said: 1}}):
        out, _ = scrubbed(whole)
        if whole.get("a") is None or " " not in said:
            assert gone not in json.dumps(json.loads(out), ensure_ascii=False), out
    out, _ = scrubbed(f"STATUS=S,Code=1|X=0,Unheard={said}|".replace('"', "").encode())
    assert gone.encode() not in out


def test_telemetry_stays_byte_for_byte():
    said = (
        b'{"STATUS":[{"STATUS":"S","When":1700000000,"Code":11,"Msg":"Summary","Description":'
        b'"cgminer 4.11.1"}],"SUMMARY":[{"Elapsed":12,"MHS av":1.50e3,"Serial":true,"users":3,'
        b'"Last Share Time":"0:00:09","Miner":"49.0.1.3","fw":"16.8.1.3","netmask":"255.255.255.0",'
        b'"listen":"0.0.0.0","Hash":"1a2b3c4d5e6f1a2b3c4d5e6f1a2b3c4d","at":"12:34:56",'
        b'"Board Serial":"","Workers":2,"chain_acs1":" ooo xo"}],"id":1}\0'
    )
    assert scrubbed(said)[0] == said


def test_a_fault_stays_in_what_is_replaced():
    out, left = scrubbed(b'{"User":"one"1=\\x","Accepted":3,}')
    assert out == b'{"User":"account1"x\\xx","Accepted":3,}'
    assert [each.value for each in left] == ["malformed: look through all of it"]


def test_a_proxy_keeps_its_scheme_and_port():
    out, _ = scrubbed({"proxy": "socks5://u:geheim@81.2.69.142:9050"})
    assert json.loads(out) == {"proxy": "socks5://pool1.example:9050"}


def test_what_may_yet_name_somebody_is_told():
    _, left = scrubbed(
        {
            "Msg": "logged in as Muster9",
            "name": "Musterfarm",
            "Model": "Antminer S9",
            "Status": "Alive",
            "Elapsed": "12.5 s",
            "User": "somebody",
        }
    )
    assert {(each.answer, each.name, each.value) for each in left} == {
        ("it", "Msg", "logged in as Muster9"),
        ("it", "name", "Musterfarm"),
    }


def test_an_answer_made_to_cost_time_costs_little():
    for said in (
        b"[" * 50_000 + b"]" * 50_000,
        b'{"User":"' * 10_000,
        b'"\\"' * 20_000,
        b"user " * 20_000,
        b"a://" * 20_000,
        b'{"x":"' + b":" * 50_000 + b'"}',
        b'{"x":"' + b"a.b-" * 20_000 + b'"}',
        b"STATUS=S" + b"," * 50_000,
    ):
        assert len(scrubbed(said)[0]) > 0
