"""`hwkit asic restore`: put back what a run, which died, has left changed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from hwkit.cli.options import json_option, print_json
from hwkit.errors import DeviceFault, HwkitError
from hwkit.evaluate.outside import put_back
from hwkit.hashers.asic import restore, ways
from hwkit.units import plain

if TYPE_CHECKING:
    from hwkit.hashers.asic.restore import Changed, Pending


@click.command("restore")
@click.argument("place", metavar="[HOST[:PORT]]", required=False)
@click.option("--forget", is_flag=True, help="Touch no miner: delete what is kept of it.")
@json_option
def command(place: str | None, *, forget: bool, as_json: bool) -> None:
    """Put back what a run has left changed: outlets on, settings, and each miner's own pools.

    What is kept of a miner stays until it has them: this may be repeated. A stock miner may need
    minutes for it. With HOST it is done for that one alone.
    """
    document: list[dict[str, str | None]] = []
    # A miner without power has no pools: outlets come first (of "outlet" and "settings").
    others = sorted(restore.changed(), key=lambda each: each.what)
    waiting = [each for each in others if place is None or _is_of(each.by, place)]
    every: list[Pending | Changed] = [*waiting, *restore.find(place)]
    for kept in every:
        fault: HwkitError | None = None
        try:
            with kept.claimed():
                click.echo(f"{kept.place}: {plain(kept.said)}", err=True)
                if forget:
                    kept.forget()
                elif isinstance(kept, restore.Pending):
                    ways.put_back(kept)
                else:
                    put_back(kept)
        except HwkitError as error:
            fault = error
        put = "has its own pools" if isinstance(kept, restore.Pending) else "is as it was"
        done = "forgotten" if forget else put
        click.echo(plain(f"{kept.place}: {fault or done}"), err=True)
        document.append({"miner": kept.place, "fault": None if fault is None else str(fault)})
    if as_json:
        print_json({"miners": document})
    elif not document:
        click.echo(f"{f'{plain(place)}: n' if place else 'N'}othing waits to be given back.")
    if any(each["fault"] is not None for each in document):
        sys.exit(DeviceFault.exit_code)


def _is_of(by: str, place: str) -> bool:
    """Is it of the device at HOST or HOST:PORT, or is that all of its address?"""
    host, _, rest = by.partition(" ")
    return place in {by, host, f"{host}:{rest.partition(' ')[0]}"}
