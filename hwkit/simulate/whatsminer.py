"""The encrypted commands of a simulated Whatsminer with API 2: its tokens, its pools, a restart.

Forms, codes and sources: hwkit/wire/whatsminer_writes.py.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import string
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from hwkit.errors import NoDriver, PlanError
from hwkit.simulate.dialect import Answer
from hwkit.simulate.pools import Pool
from hwkit.wire.whatsminer_writes import decrypt, encrypt, filled, md5_crypt

if TYPE_CHECKING:
    from collections.abc import Callable

    from hwkit.simulate.miner import Miner

SALT = "simulate"  # of admin's password, where a real one keeps that
LETTERS = string.ascii_letters + string.digits
TOKENS, TOKEN_S = 32, 1800.0
PLACES = (1, 2, 3)


class Sealed:
    """Opens what is encrypted with its admin's password, does it, and encrypts the answer."""

    def __init__(self, miner: Miner) -> None:
        """Answer for this miner. Raises NoDriver where what encrypts is missing."""
        if find_spec("cryptography") is None or find_spec("passlib") is None:
            raise NoDriver("simulate", "pip install 'hwkit[whatsminer]': this make encrypts")
        self._miner = miner
        password = miner.behaviour.admin_password
        self._is_open = password is not None and miner.behaviour.writable
        self._secret = md5_crypt(password or secrets.token_hex(), SALT)
        self._key = hashlib.sha256(self._secret.encode()).digest()
        self._tokens: dict[str, float] = {}  # the sign of each, and until when it is good

    def token(self) -> Answer:
        """Answer get_token."""
        now = time.monotonic()
        self._tokens = {sign: until for sign, until in self._tokens.items() if until > now}
        if len(self._tokens) >= TOKENS:
            return _error(136, "over max connect")
        newsalt = "".join(secrets.choice(LETTERS) for _ in range(8))
        moment = f"{secrets.randbelow(10000):04}"
        self._tokens[md5_crypt(self._secret + moment, newsalt)] = now + TOKEN_S
        row = f'"time":"{moment}","salt":"{SALT}","newsalt":"{newsalt}"'
        return Answer(134, "", rows=(row,), whole=True)

    def reply(self, asked: dict[str, Any], written: Callable[[Answer], str]) -> str:
        """Return the document that answers an encrypted command."""
        if not self._is_open:
            return written(_error(45, "can't access write cmd"))
        said = encrypt(self._key, filled(written(self._answer(asked.get("data"))).encode()))
        return json.dumps({"enc": said})

    def _answer(self, data: object) -> Answer:
        try:
            told: Any = json.loads(decrypt(self._key, str(data)))
        except (ValueError, RecursionError):
            return _error(23, "json cmd err")
        if not isinstance(told, dict) or self._tokens.get(str(told.get("token")), 0.0) < (
            time.monotonic()
        ):
            return _error(135, "check token err")
        match told.get("cmd", told.get("command")):
            case "update_pools":
                return self._update(told)
            case "restart_btminer":
                self._miner.reboot()
                return Answer(131, "API command OK", whole=True)
        return _error(14, "invalid cmd")

    def _update(self, told: dict[str, Any]) -> Answer:
        try:
            new = [
                Pool(str(told[f"pool{at}"]), str(told[f"worker{at}"]), str(told[f"passwd{at}"]))
                for at in PLACES
                if told[f"pool{at}"]
            ]
        except (KeyError, PlanError):
            new = []
        if not new:
            return _error(132, "API parse pools param error")
        self._miner.pools.replace(new)
        self._miner.pools_changed()
        return Answer(131, "API command OK", whole=True)


def _error(code: int, message: str) -> Answer:
    return Answer(code, message, severity="E", whole=True)
