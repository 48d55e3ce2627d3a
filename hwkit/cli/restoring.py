"""What a command that runs hashers owes to devices that it changes: to change them back."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import click

from hwkit.errors import HwkitError, PlanError
from hwkit.protocols import Restorable
from hwkit.units import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hwkit.protocols import Hasher

manual_option = click.option(
    "--manual", is_flag=True, help="Say what to set miners' pools to, and wait for you to do it."
)
SLOW = (
    "a stock miner may need minutes, and one that is gone is tried for as long; "
    "Ctrl-C again leaves it for `hwkit asic restore`"
)


def by_hand(addresses: Sequence[str]) -> tuple[str, ...]:
    """Return the addresses of --manual: those of miners that are fed say so."""
    said = [
        f"{each}{'&' if '?' in each else '?'}manual=1" if each.startswith("asic:") else each
        for each in addresses
    ]
    if said == list(addresses):
        raise PlanError("--manual: it is of asic:HOST, and none was given")
    return tuple(said)


@contextmanager
def restored(hashers: Sequence[Hasher]) -> Iterator[list[HwkitError]]:
    """Say what will be changed, and change it back at the end, whatever has happened.

    Yields a list that has afterwards what could not be given back. Within until_interrupted: a
    second signal ends the process, and what was changed waits on disk.
    """
    faults: list[HwkitError] = []
    restorable = [hasher for hasher in hashers if isinstance(hasher, Restorable)]
    try:
        for hasher in restorable:
            for line in hasher.look():
                _say(line)
        yield faults
    finally:
        if any(hasher.changed for hasher in restorable):
            _say(f"giving back what was changed ({SLOW})")
        for hasher in restorable:
            try:
                hasher.restore()
            except HwkitError as error:
                faults.append(error)
                _say(f"hwkit: {error}: it waits for `hwkit asic restore`")


def _say(line: str) -> None:
    with suppress(OSError):  # nobody listens any more: that is no reason to give nothing back
        click.echo(plain(line), err=True)
