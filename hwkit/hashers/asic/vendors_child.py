"""The child's side of vendors.py, which alone imports pyasic_rs.

Left alone the library tries the default login of each make that it knows, already to find out what
a miner is. Here it gets the user's instead, and where the user has none an empty one.
"""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

FIRMWARES = (  # all that it logs in to, as it calls them
    "AntMiner Stock",
    "Auradine Stock",
    "AvalonMiner Stock",
    "Bitaxe Stock",
    "Braiins",
    "Elphapex Stock",
    "ForgeOS Stock",
    "FutureBit Stock",
    "Goldshell Stock",
    "LuxOS",
    "Marathon",
    "Nerdaxe Stock",
    "Proto Stock",
    "SealMiner Stock",
    "UMC OS",
    "VNish",
    "VolcMiner Stock",
    "WhatsMiner Stock",
)
IDENTIFY_S = 10
MEMORY = 1 << 30  # bytes: it caps no answer
_miners: dict[str, Any] = {}  # by address, once it knows what they are


def answer(request: list[Any], alive: object) -> dict[str, Any] | None:  # noqa: ARG001
    """Return what the miner at [IPv4 address, [user, password, token]] says, as JSON.

    None where the library does not know it.
    """
    bound_memory()
    os.environ["TOKIO_WORKER_THREADS"] = "2"  # else one a core, for one miner
    return asyncio.run(_asked(*request))


async def _asked(host: str, login: list[str]) -> dict[str, Any] | None:
    miner = _miners.get(host) or await _identified(host, *login)
    if miner is None:
        return None
    _miners[host] = miner
    said = (await miner.get_data()).model_dump()
    for board in said["hashboards"]:
        del board["chips"]  # hundreds, and nobody reads them
    found: dict[str, Any] = json.loads(json.dumps(said, default=str))
    return found


async def _identified(host: str, user: str, password: str, token: str) -> Any:  # noqa: ANN401
    import pyasic_rs  # noqa: PLC0415 - only here

    factory = pyasic_rs.MinerFactory().with_identification_timeout_secs(IDENTIFY_S)
    for name in FIRMWARES:
        factory = factory.with_firmware_discovery_auth(name, user, password)
    miner = await factory.get_miner(host)
    if miner is not None:
        miner.set_auth(user, password)
        if token:
            miner.set_token(token)
    return miner


def bound_memory() -> None:
    """Let this process have no more than MEMORY, where its system can hold it to that."""
    try:
        import resource  # noqa: PLC0415 - not on every system
    except ImportError:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = MEMORY if hard == resource.RLIM_INFINITY else min(MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
