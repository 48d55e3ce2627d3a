"""`hwkit asic scan`: which miners a network has."""

from __future__ import annotations

import ipaddress
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import click

from hwkit.cli.asic_show import port_options
from hwkit.cli.options import FiniteRange, json_option, print_json, read_with
from hwkit.errors import DeviceFault, NoDevice, NoDriver, PlanError, Unavailable
from hwkit.hashers.asic.asking import Miner, Ports
from hwkit.units import plain, show

if TYPE_CHECKING:
    from collections.abc import Sized

    Network = ipaddress.IPv4Network | ipaddress.IPv6Network

LARGEST = 1 << 12  # addresses, a /20: who writes /8 has mistyped
LARGEST_EVER = 1 << 20
AT_ONCE = 64  # hosts; each has one connection at a time
DEADLINE_S = 2.0  # for each answer; on a local network one takes milliseconds


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise PlanError(f"{text!r} is no network: write 192.0.2.0/24, or one address") from error


@click.command("scan")
@click.argument("network", metavar="NET", callback=read_with(_network))
@click.option("--force", is_flag=True, help="Scan more than 4096 addresses.")
@click.option(
    "--deadline",
    "deadline_s",
    type=FiniteRange(0.05, 30),
    default=DEADLINE_S,
    show_default=True,
    help="Seconds that each answer may take.",
)
@port_options
@json_option
def command(
    network: Network,
    deadline_s: float,
    *,
    force: bool,
    api_port: int,
    http_port: int,
    whatsminer_port: int,
    as_json: bool,
) -> None:
    """List the miners of a network (192.0.2.0/24) and what they claim; nothing is changed.

    Each host gets one connection at a time. What answers as no miner does is told, too.
    """
    count = network.num_addresses
    if count > (LARGEST_EVER if force else LARGEST):
        advice = "" if force else "; --force if that is meant"
        raise PlanError(f"{network} has {count} addresses, more than {LARGEST}{advice}")
    ports = Ports(api_port, http_port, whatsminer_port)
    hosts = [str(address) for address in network.hosts()]
    found: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    with ThreadPoolExecutor(min(AT_ONCE, len(hosts)), "scan") as pool:
        try:
            for seen in pool.map(lambda host: _seen(host, ports, deadline_s), hosts):
                if seen is not None:
                    (others if "why" in seen else found).append(seen)
                    if not as_json:
                        click.echo(plain(_line(seen)))
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if as_json:
        told = {"network": str(network), "addresses": len(hosts)}
        print_json(told | {"miners": found, "others": others})
    else:
        click.echo(f"{_many(found, 'miner')} at {_many(hosts, 'address', 'es')} of {network}")


def _many(things: Sized, one: str, ending: str = "s") -> str:
    return f"{len(things)} {one}{'' if len(things) == 1 else ending}"


def _seen(host: str, ports: Ports, deadline_s: float) -> dict[str, Any] | None:
    """Return what is there; why nobody can tell, where something is; None where nothing is."""
    miner = Miner(host, ports, deadline_s=deadline_s)
    try:
        told = miner.read()
    except NoDriver:
        raise
    except NoDevice:
        return None
    except (Unavailable, DeviceFault) as error:
        return {"address": host, "why": str(error.why if isinstance(error, Unavailable) else error)}
    finally:
        miner.close()
    rate, power = told.hashrate_h_s, told.power_w
    return {
        "address": host,
        "dialect": told.dialect,
        "make": told.make and told.make.value,
        "model": told.model and told.model.value,
        "firmware": told.firmware and told.firmware.value,
        "hashrate": rate and rate.to_json(),
        "power": power and power.to_json(),
        "findings": [str(finding) for finding in told.findings],
        "repairs": list(told.repairs),
    }


def _line(seen: dict[str, Any]) -> str:
    if "why" in seen:
        return f"{seen['address']:<16} {seen['why']}"
    what = " ".join(filter(None, (seen["make"], seen["model"]))) or seen["dialect"]
    rate, power = seen["hashrate"], seen["power"]
    claimed = show(rate["value"], rate["unit"]) if rate else "-"
    watts = f"{power['value']:.0f} W, {power['provenance']}" if power else "-"
    amiss = f"{len(seen['findings'])} amiss" if seen["findings"] else ""
    columns = (f"{what:<28}", f"{seen['firmware'] or '-':<28}", f"{claimed:<12}", f"{watts:<18}")
    return " ".join((f"{seen['address']:<16}", *columns, amiss)).rstrip()
