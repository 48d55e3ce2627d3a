"""`hwkit devices`, and bare `hwkit`: what is here, what is missing and why."""

from __future__ import annotations

from typing import Any

import click

from hwkit import plugins
from hwkit.cli.options import json_option, print_json
from hwkit.errors import Unavailable
from hwkit.hashers import cpuinfo, topology
from hwkit.hashers.kernel import usable_cpus
from hwkit.units import plain

HIDDEN = {"tuned", "version"}  # of details: long, and in --json


@click.command("devices")
@json_option
def command(*, as_json: bool) -> None:
    """List hashers and meters, and the reason for each that is absent."""
    found = _look()
    if as_json:
        print_json(found)
        return
    _print(found)


def overview() -> None:
    """Look around and say what to type next."""
    found = _look()
    _print(found)
    click.echo()
    if found["hashers"]:
        click.echo("Next: hwkit bench --quick     prove and measure them all")
    else:
        click.echo("Next: hwkit devices --json    nothing hashes here; the reasons in full")
    click.echo("      hwkit --help            every command")


def _look() -> dict[str, Any]:
    hashers, meters, absent = [], [], []
    for hasher in plugins.hashers():
        if isinstance(hasher, Unavailable):
            absent.append(_absent(hasher))
        else:
            spec = hasher.spec
            hashers.append(
                {
                    "address": spec.name,
                    "basis": spec.basis.value,
                    "resource": spec.resource,
                    "details": dict(spec.details),
                }
            )
    for meter in plugins.meters():
        if isinstance(meter, Unavailable):
            if _absent(meter) not in absent:  # what several kinds need is said once
                absent.append(_absent(meter))
        else:
            meters.append({"address": meter.spec.name, "scope": meter.spec.scope.value})
    processor = {"model": cpuinfo.model(), "usable": usable_cpus(), "quota": topology.quota()}
    processor |= topology.read().to_json()
    seen = {each["address"].partition(":")[0] for each in (*meters, *absent)}
    return {
        "processor": processor,
        "hashers": hashers,
        "meters": meters,
        "meters_by_address": [kind for kind in plugins.meter_kinds() if kind not in seen],
        "absent": absent,
    }


def _absent(value: Unavailable) -> dict[str, str]:
    return {"address": value.address, "kind": type(value).__name__, "why": value.why}


def _print(found: dict[str, Any]) -> None:
    click.echo(f"Processor: {_processor(found['processor'])}")
    click.echo("Hashers" if found["hashers"] else "Hashers: none")
    for hasher in found["hashers"]:
        details = ", ".join(f"{k} {v}" for k, v in hasher["details"].items() if k not in HIDDEN)
        click.echo(f"  {hasher['address']:<16} {details}")
    click.echo("Meters" if found["meters"] else "Meters: none of this machine's own")
    for meter in found["meters"]:
        click.echo(f"  {meter['address']:<16} {meter['scope']}")
    click.echo(f"  {'by address':<16} {', '.join(found['meters_by_address'])}")
    if found["absent"]:
        click.echo("Absent")
    for absent in found["absent"]:
        click.echo(f"  {absent['address']:<16} {absent['why']}")


def _processor(found: dict[str, Any]) -> str:
    """Say in a line what the processor is, and how much of it there is for us."""
    quota = found["quota"]
    said = [found["model"] or "of no name", str(topology.read())]
    said.append(f"{found['usable']} processor{'s' * (found['usable'] > 1)} usable")
    if quota is not None:
        said.append(f"held to the time of {quota:.3g} by a quota (cgroup)")
    return plain(", ".join(said))
