"""What a Whatsminer is told in secret: held against openssl, and against peers that mean harm."""

import base64
import hashlib
import json
import subprocess

import pytest
from fake_whatsminer import PASSWORD, SALT, SALT_3, FakeWhatsminer

from hwkit.errors import DeviceFault, HwkitError, NotPermitted, ProtocolError
from hwkit.wire import cgminer, whatsminer_writes
from hwkit.wire.http import Refused
from hwkit.wire.whatsminer_writes import Api2, Api3, Closed, NotDone, decrypt, encrypt, md5_crypt

pytestmark = [pytest.mark.needs(module="cryptography"), pytest.mark.needs(module="passlib")]
OK = {"STATUS": "S", "When": 1, "Code": 131, "Msg": "API command OK", "Description": ""}


def openssl(*arguments, given=b""):
    done = subprocess.run(["openssl", *arguments], input=given, capture_output=True, check=True)
    return done.stdout


def api(fake, password=PASSWORD):
    if fake.version == 3:
        return Api3("127.0.0.1", fake.port, "super", password)
    return Api2("127.0.0.1", fake.port, password)


def order(fake, one=None, passwd="a"):
    one = one or api(fake)
    if fake.version == 3:
        one.order("set.miner.pools", [{"pool": "a", "worker": "b", "passwd": passwd}], secret=True)
    else:
        names = [f"{name}{place}" for place in (1, 2, 3) for name in ("pool", "worker", "passwd")]
        one.order("update_pools", **dict.fromkeys(names, passwd))


def sealed(document):
    """An answer as API 2 encrypts it, by the right key."""
    key = hashlib.sha256(md5_crypt(PASSWORD, SALT).encode()).digest()
    said = json.dumps(document).encode()
    return json.dumps({"enc": encrypt(key, said + bytes(-len(said) % 16))}).encode()


@pytest.mark.needs("openssl")
@pytest.mark.parametrize(
    ("word", "salt"),
    [("", "a"), ("pw", "abcdefgh"), ("x" * 100, "./09AZaz"), ("pässwörd $1$", "12345678")],
)
def test_md5_crypt_is_that_of_openssl(word, salt):
    theirs = openssl("passwd", "-1", "-salt", salt, "-stdin", given=word.encode() + b"\n")
    assert md5_crypt(word, salt) == theirs.decode().strip().rpartition("$")[2]


@pytest.mark.needs("openssl")
@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 300])
def test_aes_is_that_of_openssl(size):
    key, text = bytes(range(32)), b"x" * size
    flags = ["-aes-256-ecb", "-K", key.hex(), "-a", "-A"]
    padded = encrypt(key, whatsminer_writes.padded(text))
    assert padded.encode() == openssl("enc", *flags, given=text)  # its own padding is PKCS#7
    filled = whatsminer_writes.filled(text)
    assert encrypt(key, filled).encode() == openssl("enc", *flags, "-nopad", given=filled)
    assert decrypt(key, padded) == text
    if size:
        assert decrypt(key, encrypt(key, filled)) == text


@pytest.mark.needs("openssl")
def test_what_it_sends_says_what_it_should_to_openssl():
    """By MicroBT's own recipe, with nothing between the wire and openssl."""
    with FakeWhatsminer() as fake:
        order(fake)
    request = json.loads(fake.raw[-1])
    assert request.keys() == {"enc", "data"}
    key = openssl("passwd", "-1", "-salt", SALT, PASSWORD).decode().strip().split("$")[3]
    aes = hashlib.sha256(key.encode()).hexdigest()
    flags = ["-d", "-aes-256-ecb", "-nopad", "-K", aes, "-a", "-A"]
    told = json.loads(openssl("enc", *flags, given=request["data"].encode()).rstrip(b"\0"))
    assert told["cmd"] == "update_pools"
    moment, newsalt = "0001", "new00001"  # of the fake's first token
    sign = openssl("passwd", "-1", "-salt", newsalt, key + moment).decode().strip().split("$")[3]
    assert told["token"] == sign


@pytest.mark.needs("openssl")
def test_what_it_sends_to_api_3_says_what_it_should_to_openssl():
    with FakeWhatsminer(3) as fake:
        order(fake)
    request = json.loads(fake.raw[-1][4:])
    assert request.keys() == {"cmd", "param", "ts", "token", "account"}
    words = f"set.miner.pools{PASSWORD}{SALT_3}{request['ts']}".encode()
    digest = openssl("dgst", "-sha256", "-binary", given=words)
    assert openssl("base64", "-A", given=digest)[:8].decode() == request["token"]
    flags = ["-d", "-aes-256-ecb", "-K", digest.hex(), "-a", "-A"]
    told = json.loads(openssl("enc", *flags, given=request["param"].encode()))
    assert told == [{"pool": "a", "worker": "b", "passwd": "a"}]


def test_a_token_serves_until_it_is_old_or_not_taken_any_more(monkeypatch):
    with FakeWhatsminer() as fake:
        one = api(fake)
        order(fake, one)
        order(fake, one)
        assert fake.asked.count("get_token") == 1
        fake.cut = lambda _: "after"
        with pytest.raises((DeviceFault, NotPermitted)):
            order(fake, one)
        fake.cut = lambda _: None
        fake.tokens.clear()  # it has restarted
        order(fake, one)
        assert fake.asked.count("get_token") == 2
        monkeypatch.setattr(whatsminer_writes, "TOKEN_S", 0.0)
        order(fake, one)
        assert fake.asked.count("get_token") == 3


@pytest.mark.parametrize("version", [2, 3])
def test_a_wrong_password_is_said_and_not_tried_again(version):
    with FakeWhatsminer(version) as fake:
        before = fake.state()
        with pytest.raises(Refused, match="credentials file") as raised:
            order(fake, api(fake, "wrong-one"))
        assert fake.state() == before
        assert len(fake.asked) == 2
    assert "wrong-one" not in str(raised.value)


@pytest.mark.parametrize("version", [2, 3])
def test_a_closed_api_is_said_with_what_to_do(version):
    said = r"WhatsMinerTool.*by hand"
    with FakeWhatsminer(version, is_open=False) as fake, pytest.raises(Closed, match=said):
        order(fake)


def test_nobody_reads_a_password_in_what_is_shown():
    assert PASSWORD not in repr([Api2("it", 1, PASSWORD), Api3("it", 1, "super", PASSWORD)])


TOKENS = {
    "no object": b'{"STATUS":"S","Code":134,"Msg":"later"}',
    "no salt": b'{"STATUS":"S","Code":134,"Msg":{"time":"1234","newsalt":"abcdefgh"}}',
    "salt of another type": b'{"Msg":{"time":"1234","salt":7,"newsalt":"abcdefgh"}}',
    "empty salt": b'{"Msg":{"time":"1234","salt":"","newsalt":"abcdefgh"}}',
    "odd salt": b'{"Msg":{"time":"1234","salt":"$1$`id`","newsalt":"abcdefgh"}}',
    "long salt": b'{"Msg":{"time":"1234","salt":"abcdefghi","newsalt":"abcdefgh"}}',
    "salt with NUL": b'{"Msg":{"time":"1234","salt":"ab\\u0000c","newsalt":"abcdefgh"}}',
    "huge salt": b'{"Msg":{"time":"1234","salt":"' + b"a" * (10 << 20) + b'","newsalt":"a"}}',
    "odd time": b'{"Msg":{"time":"\\u0661","salt":"abcdefgh","newsalt":"abcdefgh"}}',
    "huge time": b'{"Msg":{"time":"' + b"1" * 90000 + b'","salt":"abc","newsalt":"abc"}}',
    "no more": b'{"STATUS":"E","When":1,"Code":136,"Msg":"over max connect"}',
    "closed": b'{"STATUS":"E","When":1,"Code":45,"Msg":"can\'t access write cmd"}',
    "unknown": b'{"STATUS":"E","When":1,"Code":14,"Msg":"invalid cmd"}',
    "no JSON": b"\xff\xfe\x00",
}
ANSWERS = {
    "no base64": b'{"enc":"?????"}',
    "no ASCII": '{"enc":"ÄÄÄÄ"}'.encode(),
    "no text": b'{"enc":17}',
    "empty": b'{"enc":""}',
    "no whole block": b'{"enc":"' + base64.b64encode(b"x" * 15) + b'"}',
    "another key": b'{"enc":"' + base64.b64encode(b"x" * 32) + b'"}',
    "no object inside": sealed([1]),
    "no status inside": sealed({"Msg": "API command OK"}),
    "refused inside": sealed(OK | {"STATUS": "E", "Code": 132, "Msg": "\x1b[31mno\n"}),
    "no more inside": sealed(OK | {"STATUS": "E", "Code": 136}),
    "closed, plain": b'{"STATUS":"E","When":1,"Code":45,"Msg":"can\'t access write cmd"}',
    "closed, coded otherwise": sealed(OK | {"STATUS": "E", "Msg": "can't access write cmd"}),
    "no JSON": b"\xff\xfe\x00",
}
ANSWERS_3 = {
    "no code": b'{"msg":"ok"}',
    "a code of another type": b'{"code":"zero"}',
    "true": b'{"code":true}',
    "not permitted": b'{"code":-4,"msg":"no permission"}',
    "not done": b'{"code":-1,"msg":{"a":1}}',
    "a wrong password": b'{"code":-1,"msg":"check token err"}',
    "no JSON": b"\xff\xfe",
    "no object": b"[0]",
    "nothing": b"",
}
INFO_3 = {
    "no object": b'{"code":0,"msg":"x"}',
    "no salt": b'{"code":0,"msg":{}}',
    "salt of another type": b'{"code":0,"msg":{"salt":[1]}}',
    "empty salt": b'{"code":0,"msg":{"salt":""}}',
    "salt that is no text": b'{"code":0,"msg":{"salt":"\\ud800"}}',
    "huge salt": b'{"code":0,"msg":{"salt":"' + b"a" * (10 << 20) + b'"}}',
    "closed": b'{"code":0,"msg":{"salt":"a","system":{"apiswitch":0}}}',
}
HOSTILE = [
    *((2, "get_token", name, said) for name, said in TOKENS.items()),
    *((2, "update_pools", name, said) for name, said in ANSWERS.items()),
    *((3, "set.miner.pools", name, said) for name, said in ANSWERS_3.items()),
    *((3, "get.device.info", name, said) for name, said in INFO_3.items()),
]


@pytest.mark.parametrize(
    ("version", "command", "said"),
    [each[:2] + each[3:] for each in HOSTILE],
    ids=[f"{each[1]} {each[2]}" for each in HOSTILE],
)
def test_a_hostile_answer_is_one_line(version, command, said):
    with FakeWhatsminer(version) as fake:
        fake.says[command] = said
        with pytest.raises((DeviceFault, NotPermitted)) as raised:
            order(fake)
    assert isinstance(raised.value, HwkitError)
    line = str(raised.value)
    assert line.isprintable()
    assert len(line) < 300
    assert PASSWORD not in line


def test_each_kind_of_answer_has_its_class():
    for said, kind in (
        (ANSWERS["no base64"], ProtocolError),
        (ANSWERS["no whole block"], ProtocolError),
        (ANSWERS["another key"], Refused),
        (ANSWERS["refused inside"], NotDone),
        (ANSWERS["closed, plain"], Closed),
        (ANSWERS["closed, coded otherwise"], Closed),
    ):
        with FakeWhatsminer() as fake:
            fake.says["update_pools"] = said
            with pytest.raises(kind):
                order(fake)


def test_an_answer_that_is_padded_as_pkcs_7_has_it_is_read_too():
    key = hashlib.sha256(md5_crypt(PASSWORD, SALT).encode()).digest()
    said = encrypt(key, whatsminer_writes.padded(json.dumps(OK).encode()))
    with FakeWhatsminer() as fake:
        fake.says["update_pools"] = json.dumps({"enc": said}).encode()
        order(fake)


@pytest.mark.parametrize("password", ["a\0b", "x" * 5000])
def test_a_password_that_is_none(password):
    with FakeWhatsminer() as fake, pytest.raises(Refused):
        order(fake, api(fake, password))


@pytest.mark.parametrize("version", [2, 3])
def test_what_it_says_of_passwords_is_blanked(version):
    told = f"what is {PASSWORD} with pool-secret-2?"
    with FakeWhatsminer(version) as fake:
        fake.sealed = lambda _: {"STATUS": "E", "Code": 132, "Msg": told}
        fake.says["set.miner.pools"] = json.dumps({"code": -1, "msg": told}).encode()
        with pytest.raises((NotDone, Refused), match=r"what is \.\.\. with \.\.\.\?"):
            order(fake, passwd="pool-secret-2")


def test_a_request_that_is_too_long_is_not_sent():
    with FakeWhatsminer() as fake, pytest.raises(ValueError, match="4095"):
        api(fake).order("update_pools", pool1="x" * cgminer.LONGEST)
