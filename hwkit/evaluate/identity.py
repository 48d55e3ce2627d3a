"""Is it still the machine that was begun with? As far as a miner tells who it is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from hwkit.errors import DeviceFault, PlanError, Unavailable
from hwkit.hashers.asic.asking import Miner, Ports
from hwkit.plugins import Address
from hwkit.wire.cgminer import PORT
from hwkit.wire.tcp import endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

WEB = 80
DEADLINE_S = 3.0
ITS_OWN = ("serial", "mac")  # no other machine's
OF_ITS_KIND = ("make", "model")  # which other firmware may word otherwise


def asked(address: str) -> dict[str, str]:
    """Ask the miner at an address what it is; of what is no miner, or does not answer, nothing."""
    parsed = Address.parse(address)
    if not parsed.scheme.startswith("asic"):
        return {}
    host, port = endpoint(parsed, PORT)
    miner = Miner(host, Ports(api=port, http=parsed.integer("web") or WEB), deadline_s=DEADLINE_S)
    try:
        told = miner.read()
    except (DeviceFault, Unavailable):
        return {}  # it may be restarting: it is asked again after the next measurement
    finally:
        miner.close()
    some = {name: getattr(told, name) for name in (*ITS_OWN, *OF_ITS_KIND)}
    return {name: value.value for name, value in some.items() if value is not None}


def unknown(document: dict[str, Any]) -> str | None:
    """Say of an evaluation that nobody knows whether it was one machine; None where that is."""
    if not document["address"].startswith("asic") or {*ITS_OWN} & {*document.get("identity", {})}:
        return None
    return "it tells neither serial number nor MAC: that it was one machine throughout is not known"


def recognise(known: dict[str, str], now: dict[str, str], address: str) -> None:
    """Add to what is known of a machine. Raises PlanError where another one answers."""
    both = [name for name in ITS_OWN if name in known and name in now]
    for name in both or OF_ITS_KIND:
        if name in known and name in now and _bare(known[name]) != _bare(now[name]):
            raise PlanError(
                f"{address}: another machine answers ({name} {known[name]!r} before, {now[name]!r} "
                "now): put the first one back, or begin a new evaluation"
            )
    for name, value in now.items():
        known.setdefault(name, value)


def recognised(known: Mapping[str, str], now: Mapping[str, str]) -> bool:
    """Tell whether a machine says who it is, as far as it ever has."""
    return not {*ITS_OWN} & {*known} or bool({*ITS_OWN} & {*known} & {*now})


def one_machine(one: Mapping[str, str], other: Mapping[str, str]) -> str | None:
    """Say by what two that were asked are one machine; None where they are not, or it is not known.

    By the MAC where both tell it: some firmware has one serial number for all.
    """
    name = next((each for each in ("mac", "serial") if each in one and each in other), None)
    same = name is not None and _bare(one[name]) == _bare(other[name])
    return f"{name} {one[name]}" if name is not None and same else None


def _bare(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())
