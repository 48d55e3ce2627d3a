"""`hwkit asic`: what concerns miners in their own cases."""

from __future__ import annotations

import click

from hwkit.cli.asic_restore import command as restore


@click.group("asic")
def command() -> None:
    """Give miners back what a run that died has left changed."""


command.add_command(restore)
