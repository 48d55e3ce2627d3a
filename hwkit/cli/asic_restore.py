"""`hwkit asic restore`: give miners the pools back that a run, which died, has left changed."""

from __future__ import annotations

import sys

import click

from hwkit.cli.options import json_option, print_json
from hwkit.errors import DeviceFault, HwkitError
from hwkit.hashers.asic import restore, ways
from hwkit.units import plain


@click.command("restore")
@click.argument("place", metavar="[HOST[:PORT]]", required=False)
@click.option("--forget", is_flag=True, help="Touch no miner: delete what is kept of it.")
@json_option
def command(place: str | None, *, forget: bool, as_json: bool) -> None:
    """Give the miner at HOST its own pools back, or all that wait for theirs.

    What is kept of a miner stays until it has them: this may be repeated. A stock miner may need
    minutes for it.
    """
    document: list[dict[str, str | None]] = []
    for kept in restore.find(place):
        urls = ", ".join(plain(pool["url"]) for pool in kept.own["pools"])
        fault: HwkitError | None = None
        try:
            with kept.claimed():
                click.echo(f"{kept.place}: {urls}", err=True)
                if forget:
                    kept.forget()
                else:
                    ways.put_back(kept)
        except HwkitError as error:
            fault = error
        done = "forgotten" if forget else "has its own pools"
        click.echo(plain(f"{kept.place}: {fault or done}"), err=True)
        document.append({"miner": kept.place, "fault": None if fault is None else str(fault)})
    if as_json:
        print_json({"miners": document})
    elif not document:
        click.echo(f"{f'{plain(place)}: n' if place else 'N'}othing waits to be given back.")
    if any(each["fault"] is not None for each in document):
        sys.exit(DeviceFault.exit_code)
