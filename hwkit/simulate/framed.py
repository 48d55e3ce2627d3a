"""API 3 of a simulated Whatsminer: four bytes of length, little-endian, then JSON, both ways.

Forms, codes and sources: hwkit/wire/whatsminer_writes.py. A connection may ask more than once.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from hwkit.errors import NoDriver, PlanError
from hwkit.simulate.malformed import MALFORMATIONS
from hwkit.simulate.pools import Pool
from hwkit.simulate.tcp_door import TcpDoor
from hwkit.wire.whatsminer_writes import decrypt

if TYPE_CHECKING:
    from hwkit.simulate.miner import Miner

LARGEST = 8192  # bytes of a request
IDLE_S = 300.0
USER = "super"
SALT = "simulat3"
MOST = 3
FAILED, UNKNOWN, FORBIDDEN = -1, -2, -4


class Framed(TcpDoor):
    """Answers on one port."""

    def __init__(self, miner: Miner) -> None:
        """Answer for this miner. Raises NoDriver where what decrypts is missing."""
        if find_spec("cryptography") is None:
            raise NoDriver("simulate", "pip install 'hwkit[whatsminer]': this make encrypts")
        super().__init__()
        self._miner = miner
        self._password = miner.behaviour.admin_password
        self._is_open = self._password is not None and miner.behaviour.writable

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            async with asyncio.timeout(IDLE_S):
                length = int.from_bytes(await reader.readexactly(4), "little")
                if not 0 < length <= LARGEST:
                    break
                said = self.reply(await reader.readexactly(length))
                writer.write(len(said).to_bytes(4, "little") + said)
                await writer.drain()

    def reply(self, request: bytes) -> bytes:
        """Return the bytes that answer a request, without their length."""
        try:
            told: Any = json.loads(request)
        except (ValueError, RecursionError):
            told = None
        command = str(told.get("cmd")) if isinstance(told, dict) else ""
        code, message = self._answer(command, told if isinstance(told, dict) else {})
        head = f'"code":{code},"when":{int(time.time())},"desc":{json.dumps(command)}'
        raw = f'{{{head},"msg":{message}}}'.encode()
        malform = MALFORMATIONS.get(self._miner.behaviour.malformed or "")
        return raw if malform is None else malform(raw + b"\0").rstrip(b"\0")

    def _answer(self, command: str, told: dict[str, Any]) -> tuple[int, str]:
        """Return code and message, which is JSON."""
        dialect = self._miner.dialect
        if command.startswith("get."):
            for key in (f"{command} {told.get('param')}", command):
                if key in dialect.say("framed"):
                    own = {"salt": SALT, "is_open": int(self._is_open)}
                    return 0, dialect.frame(key, self._miner, own)
            return UNKNOWN, '"invalid command"'
        if command not in {"set.miner.pools", "set.miner.service"}:
            return UNKNOWN, '"invalid command"'
        words = f"{command}{self._password}{SALT}{told.get('ts')}"
        digest = hashlib.sha256(words.encode()).digest()
        token = base64.b64encode(digest)[:8].decode()
        if not self._is_open or (told.get("account"), told.get("token")) != (USER, token):
            return FORBIDDEN, '"no permission"'
        if command == "set.miner.service":
            self._miner.reboot()
            return 0, '"ok"'
        return self._update(digest, told.get("param"))

    def _update(self, key: bytes, param: object) -> tuple[int, str]:
        try:
            told = json.loads(decrypt(key, str(param)))
            new = [Pool(each["pool"], each["worker"], each["passwd"]) for each in told[:MOST]]
        except (LookupError, PlanError, RecursionError, TypeError, ValueError):
            new = []
        if not new:
            return FAILED, '"invalid pools"'
        self._miner.pools.replace(new)
        self._miner.pools_changed()
        return 0, '"ok"'
