"""`hwkit asic show` and `hwkit asic capture`: what one miner says, to read and to keep."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hwkit.cli.options import json_option, print_json
from hwkit.hashers.asic import captures
from hwkit.hashers.asic.asking import Miner, Ports
from hwkit.hashers.asic.vendors import AnyMiner
from hwkit.plugins import Address
from hwkit.report import miner as shown
from hwkit.units import plain
from hwkit.wire.tcp import endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    F = TypeVar("F", bound=Callable[..., object])

SHOWN = 100  # characters of what is left in a capture
port = click.IntRange(1, 65535)


def port_options(command: F) -> F:
    """Add options for miners that listen elsewhere: behind a tunnel, or in a test."""
    for name, usual, what in (
        ("--whatsminer-port", 4433, "Whatsminer's API 3"),
        ("--http-port", 80, "its pages"),
        ("--api-port", 4028, "the cgminer API"),
    ):
        command = click.option(
            name, type=port, default=usual, show_default=True, help=f"Port of {what}."
        )(command)
    return command


@click.command("show")
@click.argument("host", metavar="HOST[:PORT]")
@click.option("--raw", is_flag=True, help="Print the answers as they came.")
@click.option(
    "--vendors",
    is_flag=True,
    help="Where no dialect of ours knows it, ask pyasic-rs (pip install 'hwkit[vendors]'): "
    "it logs in, as the credentials file says or with an empty name and password.",
)
@port_options
@json_option
def show(
    host: str,
    *,
    raw: bool,
    vendors: bool,
    api_port: int,
    http_port: int,
    whatsminer_port: int,
    as_json: bool,
) -> None:
    """Show what the miner at HOST is and says: every value with its unit and where it stands.

    Then what in it is amiss, what had to be repaired to read it, and what it does not say. For
    pages that want a password, put one into the credentials file.
    """
    with _asked(host, api_port, http_port, whatsminer_port, vendors=vendors) as miner:
        telemetry = miner.read()
    if as_json:
        answers = {name: _text(reply.raw) for name, reply in miner.answers.items()}
        print_json({"host": host} | telemetry.to_json() | ({"raw": answers} if raw else {}))
        return
    if raw:
        for name, reply in miner.answers.items():
            click.echo(f"{name}: {plain(_text(reply.raw))}")
        return
    for line in shown.lines(telemetry):
        click.echo(plain(line))


@click.command("capture")
@click.argument("host", metavar="HOST[:PORT]")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="The new folder. [default: capture-MODEL in this one]",
)
@port_options
@json_option
def capture(
    host: str,
    output: Path | None,
    *,
    api_port: int,
    http_port: int,
    whatsminer_port: int,
    as_json: bool,
) -> None:
    """Keep what the miner at HOST answers, one file a command, to send with a bug report.

    What names people and places (MAC, serial, addresses, hosts, pools, users, passwords) is
    replaced, each by the same everywhere. What is left and may name somebody is told: look at it,
    and through the files, before you send them.
    """
    with _asked(host, api_port, http_port, whatsminer_port) as miner:
        telemetry = miner.read()
    model = telemetry.model.value if telemetry.model else telemetry.dialect
    folder = output or Path(f"capture-{captures.file_name(model)}")
    answers = {name: reply.raw for name, reply in miner.answers.items()}
    written, left = captures.write(folder, answers)
    if as_json:
        told = {"folder": str(folder), "files": [path.name for path in written]}
        print_json(told | {"look_at": [asdict(each) for each in left]})
        return
    click.echo(plain(f"{len(written)} answers of {model} in {folder}"))
    if left:
        click.echo("Look at these before you send it: they are left as they were.")
    for each in left:
        value = each.value if len(each.value) <= SHOWN else f"{each.value[:SHOWN]} ..."
        click.echo(plain(f"  {each.answer}: {each.name or '-'}: {value}"))


@contextmanager
def _asked(
    host: str, api: int, http: int, whatsminer: int, *, vendors: bool = False
) -> Iterator[Miner | AnyMiner]:
    name, port_of_api = endpoint(Address.parse(f"asic:{host}"), api)  # as bench has it
    ports = Ports(port_of_api, http, whatsminer)
    miner = AnyMiner(name, ports) if vendors else Miner(name, ports)
    try:
        yield miner
    finally:
        miner.close()


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace").rstrip("\0")
