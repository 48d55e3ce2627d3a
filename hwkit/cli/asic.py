"""`hwkit asic`: what concerns miners in their own cases."""

from __future__ import annotations

import click

from hwkit.cli.asic_restore import command as restore
from hwkit.cli.asic_scan import command as scan
from hwkit.cli.asic_show import capture, show


@click.group("asic")
def command() -> None:
    """Find miners, show what one says of itself, keep its answers, give it its pools back."""


for each in (scan, show, capture, restore):
    command.add_command(each)
