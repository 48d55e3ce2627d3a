"""What changes a Whatsminer: commands that are signed with its password, and encrypted.

API 2, and 1 where it gives tokens (TCP 4028): `get_token` tells time (four digits), salt, newsalt.
md5-crypt, of which only what follows the last $ counts, makes of admin's password and salt the key,
of key and time together and newsalt the sign. The command is JSON with the sign as its `token`,
filled up with NULs, AES-256-ECB by the SHA-256 of the key, base64: {"enc":1,"data":...}. So comes
the answer: {"enc":...}. A token is good for 30 minutes, and an address gets 32. Codes: 131 done,
132 not done, 134 a token, 14 no such command, 23 no JSON, 45 not permitted, 135 not that token,
136 no more tokens, 137 no base64.

API 3 (TCP 4433): `get.device.info` tells a salt. SHA-256 of command, password, salt and Unix time
(`ts`) written one after the other is the AES key; the first eight characters of its base64 are the
token. Only what is secret is encrypted: the param of set.miner.pools, PKCS#7 padding. Codes: 0
done, -1 failed or not that password, -2 no such command, -3 no parameter, -4 not permitted.

Either takes commands only once MicroBT's WhatsMinerTool has switched its API on; API 3 says so in
system.apiswitch.

Sources: MicroBT, WhatsminerAPI V2.0.5 (as at buywhatsminer.com and hhc26.github.io); MicroBT's
Python sample for API 3 (in longr59/whatsminer-api-3), and apidoc.whatsminer.com as the crate waru
and tetherto/miningos-wrk-miner-whatsminer cite it; pyasic rpc/btminer.py; asic-rs whatsminer
v2/rpc.rs, v3/rpc.rs; satoshi-anonymoto/whatsminer-api; iaon/ya-whatsminer-cli. Where they differ:
MiningOS fills API 2's up as PKCS#7 does, asic-rs API 3's with NULs, so miners seem to take both.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import time
from dataclasses import dataclass, field, replace
from typing import Any

from hwkit.errors import DeviceFault, NotPermitted, ProtocolError
from hwkit.units import plain
from hwkit.wire import cgminer, whatsminer
from hwkit.wire.http import Refused

DEADLINE_S = 15.0  # some do it first, and answer then
TOKEN_S = 1500.0  # of the 30 minutes that one is good for
BLOCK = 16
PADDING = bytes(range(BLOCK + 1))  # NULs, or as PKCS#7 has it; among them no end of JSON
SALT = re.compile(r"[./0-9A-Za-z]{1,8}")  # of md5-crypt
WRONG = "is the password in the credentials file right?"
SIGN = 22  # characters that md5-crypt makes
SHORT = 4  # characters: to blank a shorter secret would blank words
LONGEST_SALT = 64  # of API 3, which says nothing of its form; seen: 8
_DONE, _NO_JSON, _DENIED, _NO_TOKEN, _NO_MORE = 131, 23, 45, 135, 136
_FORBIDDEN = -4


class Closed(NotPermitted):
    """It lets nobody change anything until its owner has switched that on."""

    def __init__(self, host: str) -> None:
        """Say what to do."""
        how = "switch its API on with MicroBT's WhatsMinerTool, which wants its password changed"
        super().__init__(host, f"its API is closed to changes: {how}, or set its pool by hand")


class NotDone(DeviceFault):
    """It has understood, and answers that it will not."""


@dataclass(frozen=True, slots=True)
class _Token:
    key: bytes  # of AES
    sign: str
    got: float  # monotonic seconds


@dataclass(slots=True)
class Api2:
    """The commands of API 2 that change something, by admin's password; costs no I/O."""

    host: str
    port: int
    password: str = field(repr=False)
    _token: _Token | None = field(default=None, repr=False)

    def order(self, command: str, **members: str) -> None:
        """Let it do something.

        Raises Closed, Refused for a wrong password, NotDone, and what cgminer.ask does.
        """
        while True:
            token, fresh = self._token, False
            if token is None or time.monotonic() - token.got > TOKEN_S:
                self._token = token = self._new_token()
                fresh = True
            said = self._said(self._send(_sealed(token, command, members), command), token, command)
            said = replace(said, message=_blanked(said.message, self.password, members))
            if said.code not in {_NO_TOKEN, _NO_JSON}:
                _judge(self.host, command, said)
                return
            self._token = None
            if fresh:
                raise Refused(f"{self.host}: {command}: {_words(said)}: {WRONG}")

    def refuse_longer(self, command: str, **members: str) -> None:
        """Raise NotPermitted for a command that is longer than a request may be."""
        token = _Token(bytes(32), "." * SIGN, 0.0)
        request = json.dumps(_sealed(token, command, members), separators=(",", ":"))
        if len(request) > cgminer.LONGEST:
            why = f"a request has {cgminer.LONGEST} bytes, and this would be {len(request)}"
            raise NotPermitted(self.host, f"what its own pools are called is too long: {why}")

    def _new_token(self) -> _Token:
        salt, newsalt, moment = token_of(self.host, self.port)
        key = md5_crypt(self.password, salt)
        sign = md5_crypt(key + moment, newsalt)
        return _Token(hashlib.sha256(key.encode()).digest(), sign, time.monotonic())

    def _send(self, sealed: dict[str, Any], command: str) -> cgminer.Reply:
        try:
            return cgminer.send(self.host, sealed, command, port=self.port, deadline_s=DEADLINE_S)
        except cgminer.Denied as error:
            raise Closed(self.host) from error

    def _said(self, reply: cgminer.Reply, token: _Token, command: str) -> cgminer.Status:
        peer = f"{self.host}: {command}"
        document = reply.document
        if "enc" in document:
            document = _opened(document["enc"], token.key, peer, reply.raw)
        said = cgminer.status(document)
        if said is None:
            raise ProtocolError(f"{peer}: it does not say whether it is done", reply.raw)
        return said


@dataclass(frozen=True, slots=True)
class Api3:
    """The commands of API 3 that change something, as one of its users; costs no I/O."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)

    def order(self, command: str, parameter: object, *, secret: bool = False) -> None:
        """Let it do something; a `secret` parameter is encrypted. Raises as Api2's does."""
        salt, _ = self.salt()
        moment = int(time.time())
        digest = hashlib.sha256(f"{command}{self.password}{salt}{moment}".encode()).digest()
        token = base64.b64encode(digest)[:8].decode()
        pools = parameter if isinstance(parameter, list) else []
        if secret:
            parameter = encrypt(digest, padded(json.dumps(parameter).encode()))
        signed = {"param": parameter, "ts": moment, "token": token, "account": self.user}
        reply = whatsminer.ask(
            self.host, command, port=self.port, deadline_s=DEADLINE_S, extra=signed
        )
        code, message = reply.document.get("code"), reply.document.get("msg")
        if isinstance(code, str) and re.fullmatch(r"-?\d{1,4}", code):
            code = int(code)
        if type(code) is not int:
            raise ProtocolError(f"{self.host}: {command}: an answer without a code", reply.raw)
        if code == 0:
            return
        words = message if isinstance(message, str) else f"code {code}"
        said = plain(_blanked(words, self.password, *pools))[:100]
        if code == _FORBIDDEN or re.search("token|passw|account", said, re.IGNORECASE):
            raise Refused(f"{self.host}: {command}: {said}: {WRONG}")
        raise NotDone(f"{self.host}: {command}: {said}")

    def salt(self) -> tuple[str, dict[str, Any]]:
        """Return its salt, and all that came with it.

        Raises Closed where it says that its API is switched off, and what whatsminer.ask does.
        """
        reply = whatsminer.ask(self.host, "get.device.info", port=self.port)
        message: Any = reply.document.get("msg")
        match message:
            case {"system": {"apiswitch": "0" | 0}}:
                raise Closed(self.host)
            case {"salt": str(salt)} if 0 < len(salt) <= LONGEST_SALT and salt.isascii():
                return salt, message
        raise ProtocolError(f"{self.host}: get.device.info: it tells no salt", reply.raw)


def _sealed(token: _Token, command: str, members: dict[str, str]) -> dict[str, Any]:
    request = json.dumps({"token": token.sign, "cmd": command, **members}).encode()
    return {"enc": 1, "data": encrypt(token.key, filled(request))}


def _blanked(text: str | None, password: str, *told: dict[str, str]) -> str | None:
    """Blank in what it says the passwords that we told it: its words go into records."""
    passwords = [v for each in told for name, v in each.items() if name.startswith("passwd")]
    for secret in (password, *passwords):
        if text and len(secret) >= SHORT:
            text = text.replace(secret, "...")
    return text


def token_of(host: str, port: int) -> tuple[str, str, str]:
    """Return salt, newsalt and time of a token of API 2; none of it is secret.

    Raises Closed, DeviceFault where it gives none, ProtocolError, and what cgminer.ask does.
    """
    try:
        reply = cgminer.ask(host, "get_token", port=port)
    except cgminer.Denied as error:
        raise Closed(host) from error
    match reply.document.get("Msg"):
        case {"salt": str(salt), "newsalt": str(newsalt), "time": str(moment)} if (
            SALT.fullmatch(salt)
            and SALT.fullmatch(newsalt)
            and len(moment) <= BLOCK
            and moment.isascii()
            and moment.isdigit()
        ):
            return salt, newsalt, moment
    said = reply.status
    if said is not None and said.failed:
        _judge(host, "get_token", said)
    if said is not None and said.code == _NO_MORE:
        raise _no_more(host)
    raise ProtocolError(f"{host}: get_token: its salts are none of md5-crypt", reply.raw)


def md5_crypt(word: str, salt: str) -> str:
    """Return what md5-crypt makes of a word, as `openssl passwd -1 -salt` has it after the last $.

    Raises Refused for a word that md5-crypt cannot take.
    """
    from passlib.hash import md5_crypt as scheme  # noqa: PLC0415 - an extra

    try:
        return str(scheme.using(salt=salt).hash(word)).rpartition("$")[2]
    except ValueError:
        raise Refused("it can be no password of a Whatsminer: a NUL in it, or too long") from None


def filled(plain_text: bytes) -> bytes:
    """Return it filled up with NULs to whole blocks of AES, as API 2 has it."""
    return plain_text + bytes(-len(plain_text) % BLOCK)


def padded(plain_text: bytes) -> bytes:
    """Return it padded to whole blocks of AES by PKCS#7 (RFC 5652, 6.3), as API 3 has it."""
    count = BLOCK - len(plain_text) % BLOCK
    return plain_text + bytes([count]) * count


def encrypt(key: bytes, blocks: bytes) -> str:
    """Return whole blocks in AES-256-ECB by a key of 32 bytes, in base64."""
    cipher = _aes(key).encryptor()
    return base64.b64encode(cipher.update(blocks) + cipher.finalize()).decode()


def decrypt(key: bytes, text: str) -> bytes:
    """Return what such a text says, without what it is filled up with.

    Raises ValueError for what is no base64, or no whole blocks.
    """
    try:
        blocks = base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error as error:
        raise ValueError("it is no base64") from error
    if not blocks or len(blocks) % BLOCK:
        raise ValueError("it is cut off")
    cipher = _aes(key).decryptor()
    return bytes(cipher.update(blocks) + cipher.finalize()).rstrip(PADDING)


def _aes(key: bytes) -> Any:  # noqa: ANN401 - of an extra
    from cryptography.hazmat.primitives.ciphers import (  # noqa: PLC0415 - an extra
        Cipher,
        algorithms,
        modes,
    )

    return Cipher(algorithms.AES256(key), modes.ECB())  # noqa: S305 - it is what they speak


def _opened(text: object, key: bytes, peer: str, raw: bytes) -> dict[str, Any]:
    """Return the document in an encrypted answer; none of it gets into an error."""
    if not isinstance(text, str):
        raise ProtocolError(f"{peer}: an encrypted answer that is no text", raw)
    try:
        inside = decrypt(key, text)
    except ValueError as error:
        raise ProtocolError(f"{peer}: an encrypted answer, and {error}", raw) from None
    try:
        document = json.loads(inside)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise Refused(f"{peer}: its answer makes no sense: {WRONG}")
    return document


def _judge(host: str, command: str, said: cgminer.Status) -> None:
    """Raise what it says, unless it says that it is done."""
    if not said.failed and said.code in {None, _DONE}:
        return
    if said.code == _DENIED or "access write" in (said.message or ""):
        raise Closed(host)
    if said.code == _NO_MORE:
        raise _no_more(host)
    raise NotDone(f"{host}: {command}: {_words(said)}")


def _words(said: cgminer.Status) -> str:
    return plain(said.message or f"code {said.code}")[:100]


def _no_more(host: str) -> DeviceFault:
    return DeviceFault(f"{host}: it has no more tokens for this machine: each lasts 30 minutes")
