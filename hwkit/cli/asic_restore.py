"""`hwkit asic restore`: put back what a run, which died, has left changed."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import click

from hwkit.cli.options import json_option, print_json
from hwkit.errors import DeviceFault, HwkitError
from hwkit.evaluate.outside import put_back
from hwkit.hashers.asic import restore, ways
from hwkit.units import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hwkit.hashers.asic.restore import Changed, Pending


AT_ONCE = 32


@click.command("restore")
@click.argument("place", metavar="[HOST[:PORT]]", required=False)
@click.option("--forget", is_flag=True, help="Touch no miner: delete what is kept of it.")
@json_option
def command(place: str | None, *, forget: bool, as_json: bool) -> None:
    """Put back what a run has left changed: outlets on, settings, and each miner's own pools.

    What is kept of a miner stays until it has them: this may be repeated. A stock miner may need
    minutes for it. With HOST it is done for that one alone.
    """
    others = [each for each in restore.changed() if place is None or _is_of(each.by, place)]
    pools = restore.find(place)
    # A miner without power has no pools: outlets come first. Then all at once: of ten miners that
    # are gone each is tried for minutes.
    phases: list[Sequence[Pending | Changed]] = [
        [each for each in others if each.what == "outlet"],
        [each for each in others if each.what != "outlet"],
        pools,
    ]
    over = threading.Event()
    document: list[dict[str, str | None]] = []
    with ThreadPoolExecutor(AT_ONCE) as threads:
        try:
            for phase in phases:
                faults = list(threads.map(lambda kept: _seen_to(kept, over, forget=forget), phase))
                document += [
                    {"miner": kept.place, "fault": fault}
                    for kept, fault in zip(phase, faults, strict=True)
                ]
        finally:
            over.set()
    for each in restore.damaged():
        if place in {None, each.place, each.place.rpartition(":")[0]}:
            if forget:
                each.path.unlink()
            said = None if forget else str(each.fault)
            click.echo(plain(f"{each.place}: {said or 'forgotten'}"), err=True)
            document.append({"miner": each.place, "fault": said})
    if as_json:
        print_json({"miners": document})
    elif not document:
        click.echo(f"{f'{plain(place)}: n' if place else 'N'}othing waits to be given back.")
    if any(each["fault"] is not None for each in document):
        sys.exit(DeviceFault.exit_code)


def _seen_to(kept: Pending | Changed, over: threading.Event, *, forget: bool) -> str | None:
    """Put back what one has to get back; return why that could not be done."""
    fault = None
    put = "is as it was"
    try:
        with kept.claimed():
            click.echo(f"{kept.place}: {plain(kept.said)}", err=True)
            if forget:
                kept.forget()
                put = "forgotten"
            elif isinstance(kept, restore.Pending):
                ways.put_back(kept, over.wait, over.is_set)
                put = "has its own pools"
            else:
                put_back(kept)
    except HwkitError as error:
        fault = str(error)
    if not over.is_set():
        click.echo(plain(f"{kept.place}: {fault or put}"), err=True)
    return fault


def _is_of(by: str, place: str) -> bool:
    """Is it of the device at HOST or HOST:PORT, or is that all of its address?"""
    host, _, rest = by.partition(" ")
    return place in {by, host, f"{host}:{rest.partition(' ')[0]}"}
