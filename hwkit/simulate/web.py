"""The web pages of a simulated miner: AxeOS' API, and Bitmain's CGI with digest access (RFC 7616).

What is set there is taken up at the next start: AxeOS is to be told to, Bitmain's does it at once.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from typing import TYPE_CHECKING, Any
from urllib.request import parse_http_list, parse_keqv_list

from hwkit.errors import NoDriver, PlanError
from hwkit.simulate.malformed import MALFORMATIONS
from hwkit.simulate.pools import Pool, place

try:
    from aiohttp import web
except ImportError as error:
    raise NoDriver("simulate", "pip install 'hwkit[http]': this make has web pages") from error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hwkit.simulate.miner import Miner

LARGEST = 1 << 16  # bytes that one may send it
REALM = "antMiner Configuration"


class Web:
    """Answers HTTP on one port."""

    def __init__(self, miner: Miner) -> None:
        """Answer for this miner."""
        self._miner = miner
        self._nonce = secrets.token_hex(16)
        self._runner: web.AppRunner | None = None

    async def listen(self, host: str, port: int) -> int:
        """Begin to answer; return the port, which 0 leaves to the system. Raises OSError."""
        page = self._miner.dialect.say("page")
        guarded = self._miner.dialect.say("web") == "bitmain"
        application = web.Application(client_max_size=LARGEST)
        application.add_routes(
            [web.get(path, self._guarded(self._show) if guarded else self._show) for path in page]
        )
        if guarded:
            application.add_routes(
                [
                    web.post("/cgi-bin/set_miner_conf.cgi", self._guarded(self._set_conf)),
                    web.get("/cgi-bin/reboot.cgi", self._guarded(self._restart)),
                ]
            )
        else:
            application.add_routes(
                [
                    web.patch("/api/system", self._patch),
                    web.post("/api/system/restart", self._restart),
                ]
            )
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        return int(self._runner.addresses[0][1])

    async def close(self) -> None:
        """End, whoever is connected."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _show(self, request: web.Request) -> web.Response:
        body = self._miner.dialect.page(request.path, self._miner).encode()
        malform = MALFORMATIONS.get(self._miner.behaviour.malformed or "")
        if malform is not None:
            body = malform(body + b"\0").rstrip(b"\0")
        return web.Response(body=body, content_type="application/json")

    async def _restart(self, _: web.Request) -> web.Response:
        self._miner.reboot()
        return web.Response(text="System will restart shortly.")

    # AxeOS (ESP-Miner main/http_server): settings of flash memory, each by its name.

    async def _patch(self, request: web.Request) -> web.Response:
        if not self._miner.behaviour.writable:
            return web.Response(status=401, text="Unauthorized")
        told = await _document(request)
        pools = self._miner.pools
        known = [self._named(told, 0, "stratum"), self._named(told, 1, "fallbackStratum")]
        try:
            new = [
                Pool(f"stratum+tcp://{host}:{port}", user, password)
                for host, port, user, password in known
                if host
            ]
        except PlanError as error:
            return web.Response(status=400, text=str(error))
        for name, setting, least, most in (
            ("frequency", "frequency_mhz", 50, 2000),
            ("coreVoltage", "voltage_mv", 500, 2000),
        ):
            value = told.get(name, pools.settings[setting])
            if type(value) is not int or not least <= value <= most:
                return web.Response(status=400, text=f"invalid {name}")
            pools.settings[setting] = value
        pools.configure(new)
        return web.Response()

    def _named(self, told: dict[str, Any], number: int, prefix: str) -> tuple[str, int, str, str]:
        configured = self._miner.pools.configured
        host, port, user, password = "", 0, "", ""
        if number < len(configured):
            pool = configured[number]
            host, port = place(pool.url)
            user, password = pool.user, pool.password
        return (
            told.get(f"{prefix}URL", host),
            told.get(f"{prefix}Port", port),
            told.get(f"{prefix}User", user),
            told.get(f"{prefix}Password", password),
        )

    # Bitmain

    async def _set_conf(self, request: web.Request) -> web.Response:
        if not self._miner.behaviour.writable:
            return web.Response(status=403, text="Forbidden")
        told = await _document(request)
        pools = self._miner.pools
        try:
            new = [
                Pool(pool["url"], pool["user"], pool["pass"])
                for pool in told["pools"]
                if pool["url"]
            ]
        except (PlanError, KeyError, TypeError):
            said = {"stats": "error", "code": "M001", "msg": "FAIL!"}
            return web.json_response(said)
        # What its page leaves out goes back to what it left the factory with.
        pools.settings["mode"] = str(told.get("miner-mode", 0))
        pools.settings["freq_level"] = str(told.get("freq-level", "100"))
        pools.configure(new)
        self._miner.reboot()
        return web.json_response({"stats": "success", "code": "M000", "msg": "OK!"})

    def _guarded(
        self, answer: Callable[[web.Request], Awaitable[web.Response]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def guarded(request: web.Request) -> web.Response:
            if self._is_owner(request):
                return await answer(request)
            challenge = f'Digest realm="{REALM}", nonce="{self._nonce}", qop="auth"'
            return web.Response(status=401, headers={"WWW-Authenticate": challenge})

        return guarded

    def _is_owner(self, request: web.Request) -> bool:
        kind, _, rest = request.headers.get("Authorization", "").partition(" ")
        try:
            told = parse_keqv_list(parse_http_list(rest))
        except ValueError:
            return False
        if kind.lower() != "digest" or told.get("nonce") != self._nonce:
            return False
        owner = self._miner.behaviour
        who = _md5(f"{owner.user}:{REALM}:{owner.password}")
        what = _md5(f"{request.method}:{request.raw_path}")
        words = [told.get(key, "") for key in ("nonce", "nc", "cnonce", "qop")]
        expected = _md5(":".join([who, *words, what]))
        return told.get("username") == owner.user and secrets.compare_digest(
            expected, told.get("response", "")
        )


async def _document(request: web.Request) -> dict[str, Any]:
    try:
        told = json.loads(await request.text())
    except ValueError:
        raise web.HTTPBadRequest(text="no JSON") from None
    if not isinstance(told, dict):
        raise web.HTTPBadRequest(text="no JSON object")
    return told


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
