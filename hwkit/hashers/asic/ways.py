"""Which way the pools of a miner are changed, and putting back what is kept of one."""

from __future__ import annotations

import json
import re
import time
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING

from hwkit.errors import DeviceFault, NoDevice, NoDriver, NotPermitted, Unavailable
from hwkit.hashers.asic.pools import BY_HAND, CgminerWay, Way, is_privileged, until
from hwkit.hashers.asic.pools_http import AxeosWay, BitmainWay
from hwkit.hashers.asic.pools_whatsminer import Whatsminer2Way, Whatsminer3Way
from hwkit.wire import cgminer, whatsminer
from hwkit.wire.credentials import credentials, table_of
from hwkit.wire.http import Host, Refused
from hwkit.wire.whatsminer_writes import NotDone, token_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from hwkit.hashers.asic.restore import Pending

USER = "root"  # whose page Bitmain's is, unless the credentials file says otherwise
SUPER = "super"  # likewise, whose API 3 a Whatsminer's is


def choose(host: str, port: int, web: int) -> Way:
    """Return the way of the miner whose API is at `port` and whose pages are at `web`.

    Raises NoDevice where nothing answers, NotPermitted with what to do where its pools cannot be
    changed from here.
    """
    try:
        if is_privileged(host, port):
            return CgminerWay(host, port)
        version = cgminer.ask(host, "version", port=port).document
    except (DeviceFault, Unavailable) as error:
        if Whatsminer3Way.answers(host, _port_3(port)):
            return named(Whatsminer3Way.name, host, port, web)
        way = _axeos(host, web)
        if way is None:
            if isinstance(error, Unavailable):
                raise
            raise NoDevice(host, f"no API of a miner there: {error}") from error
        return way
    if "antminer" in json.dumps(version).lower():
        return named("bitmain", host, port, web)
    speaks = _whatsminer(host, port)
    if speaks is not None:
        return named(speaks, host, port, web)
    raise NotPermitted(host, f"its API lets nobody change its pools: {BY_HAND}")


def named(name: str, host: str, port: int, web: int) -> Way:
    """Return the way of that name. Raises NoDriver, and NotPermitted where it wants a password."""
    if name == CgminerWay.name:
        return CgminerWay(host, port)
    if name in {Whatsminer2Way.name, Whatsminer3Way.name}:
        return _whatsminer_way(name, host, port)
    if find_spec("aiohttp") is None:
        raise NoDriver(host, "pip install 'hwkit[http]': its pools are changed over HTTP")
    page = _page(host, web)
    if name == AxeosWay.name:
        return AxeosWay(page, host)
    words = credentials(host)
    if "password" not in words:
        table = f"[{json.dumps(host)}] in the credentials file"
        raise NotPermitted(host, f"its page wants a password: put one under {table}, or {BY_HAND}")
    page.log_in("digest", words.get("user", USER), words["password"])
    return BitmainWay(page, host)


def put_back(
    kept: Pending,
    wait: Callable[[float], object] = time.sleep,
    stopped: Callable[[], bool] = lambda: False,
) -> bool:
    """Give a miner its own pools back, and forget them; False when stopped before.

    Harmless when it has them already. Raises DeviceFault or Unavailable when it could not be done:
    then it is kept.
    """
    way = named(kept.way, kept.host, kept.port, kept.web)
    try:
        done = until(lambda: way.toward_own(kept.own, kept.bench), way.patience_s, wait, stopped)
    except Refused as error:
        raise NotPermitted(kept.place, "it refuses user or password: credentials file") from error
    finally:
        way.close()
    if done:
        kept.forget()
    return done


def _axeos(host: str, web: int) -> Way | None:
    """Return AxeOS' way where that answers at the port of its pages."""
    if find_spec("aiohttp") is None:
        return None
    way = AxeosWay(_page(host, web), host)
    try:
        way.read()
    except DeviceFault:
        way.close()
        return None
    return way


def _whatsminer(host: str, port: int) -> str | None:
    """Return by which way what answers at the cgminer API's port is changed; None: by none."""
    told = ""
    with suppress(cgminer.Denied):
        match cgminer.ask(host, "get_version", port=port).document.get("Msg"):
            case {"api_ver": str(told)}:
                pass
    version = re.search(r"\d+", told)
    if version is None or int(version[0]) >= 3:
        return Whatsminer3Way.name if Whatsminer3Way.answers(host, _port_3(port)) else None
    with suppress(NotDone):  # API 1 began to give tokens at some point
        token_of(host, port)
        return Whatsminer2Way.name
    return None


def _whatsminer_way(name: str, host: str, port: int) -> Way:
    if find_spec("cryptography") is None or find_spec("passlib") is None:
        raise NoDriver(host, "pip install 'hwkit[whatsminer]': it takes encrypted commands alone")
    words = credentials(host)
    user = "admin" if name == Whatsminer2Way.name else words.get("user", SUPER)
    if "password" not in words:
        why = f"its API wants the password of {user}: put it under {table_of(host)}, or {BY_HAND}"
        raise NotPermitted(host, why)
    if name == Whatsminer2Way.name:
        return Whatsminer2Way(host, port, words)
    return Whatsminer3Way(host, _port_3(port), user, words)


def _port_3(port: int) -> int:
    """Return where API 3 is of a miner that was addressed by this port."""
    return whatsminer.PORT if port == cgminer.PORT else port


def _page(host: str, web: int) -> Host:
    shown = f"[{host}]" if ":" in host else host
    return Host(host, shown if web == 80 else f"{shown}:{web}")
