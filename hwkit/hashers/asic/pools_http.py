"""Pools that are changed over HTTP: AxeOS (Bitaxe, NerdAxe) and Bitmain's own firmware."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, ClassVar

from hwkit.errors import NotPermitted, ProtocolError
from hwkit.hashers.asic.pools import Elsewhere

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hwkit.hashers.asic.pools import Bench
    from hwkit.wire.http import Host

RESTART_S = 30.0  # until it is told again
INFO = "/api/system/info"
# What a pool that speaks plain Stratum v1 needs beside URL and port, where a firmware has it.
PLAIN = {"stratumTLS": 0, "stratumProtocol": "SV1"}
MASK = "*****"  # AxeOS shows this for a password, and keeps the one that it has when sent this
GET_CONF, SET_CONF = "/cgi-bin/get_miner_conf.cgi", "/cgi-bin/set_miner_conf.cgi"
# What Bitmain's own page sends, by the names that get_miner_conf has for it: what is left out, the
# firmware resets.
CONF = {
    "bitmain-fan-ctrl": "bitmain-fan-ctrl",
    "bitmain-fan-pwm": "bitmain-fan-pwm",
    "bitmain-hashrate-percent": "bitmain-hashrate-percent",
    "bitmain-work-mode": "miner-mode",
    "miner-mode": "miner-mode",
    "bitmain-freq-level": "freq-level",
}


class AxeosWay:
    """URL and port of the first pool, by PATCH, then a restart (AxeOS, openapi.yaml).

    User and password stay as they are: AxeOS tells no password, and is sent none.
    """

    name: ClassVar[str] = "axeos"
    patience_s: ClassVar[float] = 90.0
    cost: ClassVar[str] = "it restarts, now and at the end: its counters begin again"

    def __init__(self, host: Host, peer: str) -> None:
        """Say which host, and how errors shall name it; costs no I/O."""
        self._host = host
        self._peer = peer
        self._told = -math.inf  # when it was last told to restart

    def read(self) -> dict[str, Any]:
        """Return its pool, the fields that will be changed, and when that was; see pools.Way."""
        pool = self._pool(self._info())
        url = f"stratum+tcp://{pool['stratumURL']}:{pool['stratumPort']}"
        fields = {key: pool[key] for key in ("stratumURL", "stratumPort", *PLAIN) if key in pool}
        pools = [{"url": url, "user": str(pool.get("stratumUser", ""))}]
        return {"pools": pools, "fields": fields, "read": time.time()}

    def toward_bench(self, own: Mapping[str, Any], bench: Bench) -> bool:
        """Name the bench pool, and restart; see pools.Way."""
        wanted = {"stratumURL": bench.host, "stratumPort": bench.port}
        wanted |= {key: value for key, value in PLAIN.items() if key in own["fields"]}
        info = self._info()
        if self._named(info, wanted):
            return self._restarted(info)
        self._name(info, wanted)
        return False

    def toward_own(self, own: Mapping[str, Any], bench: Bench) -> bool:
        """Name its own pool, and restart; see pools.Way."""
        info = self._info()
        pool = self._pool(info)
        if bench.is_at(f"{pool['stratumURL']}:{pool['stratumPort']}"):
            self._name(info, own["fields"])
            return False
        if not self._named(info, own["fields"]):
            raise Elsewhere(self._peer, f"{pool['stratumURL']}:{pool['stratumPort']}")
        # It works on what it was named before it started: on the bench pool, if whoever has put its
        # own back died before the restart.
        if _uptime_s(info) > time.time() - own["read"]:
            return True
        return self._restarted(info)

    def close(self) -> None:
        """Let go of the connection."""
        self._host.close()

    def _restarted(self, info: Mapping[str, Any]) -> bool:
        """Has it started since it was told to? Else tell it."""
        told_s = time.monotonic() - self._told
        if _uptime_s(info) < told_s < math.inf:
            return True
        if told_s > RESTART_S:
            self._restart()
        return False

    def _named(self, info: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
        pool = self._pool(info)
        return all(pool.get(key) == value for key, value in wanted.items())

    def _name(self, info: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
        pool = self._pool(info)
        change: dict[str, Any] = dict(wanted)
        if "id" in pool:  # firmware with a list of pools resets what is left out of one
            change = {"pools": [{**pool, **wanted, "stratumPassword": MASK}]}
        self._host.send("PATCH", "/api/system", change)
        self._restart()

    def _restart(self) -> None:
        self._host.send("POST", "/api/system/restart")
        self._told = time.monotonic()

    def _info(self) -> dict[str, Any]:
        info = self._host.get(INFO).document
        if not isinstance(info, dict):
            raise ProtocolError(f"{self._peer}: what is at {INFO} is no AxeOS", b"")
        return info

    def _pool(self, info: Mapping[str, Any]) -> dict[str, Any]:
        """Return its first pool: of a list since 2026, else fields of the whole."""
        first = info.get("primaryPoolIndex")
        pools = info.get("pools") if isinstance(info.get("pools"), list) else []
        pool = next((p for p in pools or [] if isinstance(p, dict) and p.get("id") == first), info)
        if type(pool.get("stratumURL")) is not str or type(pool.get("stratumPort")) is not int:
            raise ProtocolError(f"{self._peer}: what is at {INFO} names no pool", b"")
        return dict(pool)


class BitmainWay:
    """The first pool's URL in the configuration of Bitmain's own firmware, by its page's CGI.

    All of the configuration is read, and sent back with that one change: passwords too, which are
    kept nowhere else.
    """

    name: ClassVar[str] = "bitmain"
    patience_s: ClassVar[float] = 420.0
    cost: ClassVar[str] = "it restarts, now and at the end, and takes 2 to 3 minutes each time"

    def __init__(self, host: Host, peer: str) -> None:
        """Say which host, logged in, and how errors shall name it; costs no I/O."""
        self._host = host
        self._peer = peer

    def read(self) -> dict[str, Any]:
        """Return its pools; see pools.Way."""
        conf = self._conf()
        if not {"bitmain-work-mode", "miner-mode"} & conf.keys():
            why = "its configuration page is an older one than is known here"
            raise NotPermitted(self._peer, why)
        if any(set(str(pool.get("pass"))) == {"*"} for pool in conf["pools"]):
            raise NotPermitted(self._peer, "it hides its pools' passwords: they would be lost")
        named = [pool for pool in conf["pools"] if pool["url"]]
        return {"pools": [{"url": pool["url"], "user": pool["user"]} for pool in named]}

    def toward_bench(self, own: Mapping[str, Any], bench: Bench) -> bool:  # noqa: ARG002
        """Name the bench pool first; see pools.Way."""
        conf = self._conf()
        if bench.is_at(conf["pools"][0]["url"]):
            return True
        self._name(conf, bench.url)
        return False

    def toward_own(self, own: Mapping[str, Any], bench: Bench) -> bool:
        """Name its own first pool; see pools.Way."""
        conf = self._conf()
        first = conf["pools"][0]["url"]
        if bench.is_at(first):
            self._name(conf, own["pools"][0]["url"])
            return False
        if first != own["pools"][0]["url"]:
            raise Elsewhere(self._peer, first)
        return True

    def close(self) -> None:
        """Let go of the connection."""
        self._host.close()

    def _name(self, conf: Mapping[str, Any], url: str) -> None:
        pools = [{**conf["pools"][0], "url": url}, *conf["pools"][1:]]
        kept = {new: conf[old] for old, new in CONF.items() if old in conf}
        self._host.send("POST", SET_CONF, {**kept, "pools": pools})

    def _conf(self) -> dict[str, Any]:
        conf = self._host.get(GET_CONF).document
        pools = conf.get("pools") if isinstance(conf, dict) else None
        texts = [
            type(pool.get(key)) is str if isinstance(pool, dict) else False
            for pool in (pools if isinstance(pools, list) else [])
            for key in ("url", "user")
        ]
        if not texts or not all(texts):
            raise ProtocolError(f"{self._peer}: what is at {GET_CONF} names no pools", b"")
        return dict(conf)


def _uptime_s(info: Mapping[str, Any]) -> float:
    """Return how long it has been on; 0 where it does not say."""
    uptime = info.get("uptimeSeconds")
    return float(uptime) if isinstance(uptime, (int, float)) else 0.0
