"""Who one is to a device: from the environment or a file of the user's, never from an address.

The file is TOML, a table for each host; HWKIT_CREDENTIALS names it, else it is credentials.toml in
hwkit's configuration folder:

    ["192.0.2.61"]
    user = "admin"
    password = "..."

Which words a device needs is its driver's to say: user, password, token, community, auth_key ...
"""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_config_path

from hwkit.errors import NotPermitted, PlanError

if TYPE_CHECKING:
    from collections.abc import Mapping

LARGEST = 1 << 20  # bytes


def place() -> Path:
    """Return where the file is, or would be."""
    named = os.environ.get("HWKIT_CREDENTIALS")
    return Path(named) if named else user_config_path("hwkit") / "credentials.toml"


def table_of(host: str) -> str:
    """Return the words for a host's table in that file, for a person who is to write it."""
    return f"[{json.dumps(host)}] in {place()}"


def credentials(host: str) -> Mapping[str, str]:
    """Return what the user's file says of a host; nothing where there is no file, or no such table.

    Raises PlanError for a file that says it wrongly, NotPermitted for one that cannot be read.
    """
    named, path = os.environ.get("HWKIT_CREDENTIALS"), place()
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST + 1)
    except FileNotFoundError:
        if named:
            raise PlanError(f"HWKIT_CREDENTIALS: there is no file {path}") from None
        return {}
    except OSError as error:
        raise NotPermitted(str(path), f"it cannot be read: {error.strerror}") from error
    try:
        hosts = tomllib.loads(text[:LARGEST].decode()) if len(text) <= LARGEST else None
    except ValueError as error:  # of TOML, and of UTF-8
        raise PlanError(f"{path}: it is no TOML: {error}") from error
    if hosts is None:
        raise PlanError(f"{path}: it is larger than any list of hosts")
    found = hosts.get(host, {})
    if not isinstance(found, dict) or not all(type(word) is str for word in found.values()):
        raise PlanError(f'{path}: {host!r} is a table of texts, as in user = "admin"')
    return found
