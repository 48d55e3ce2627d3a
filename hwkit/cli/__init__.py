"""The command line: one file a command, each imported when it is used."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import click

import hwkit
from hwkit.cli import interrupts
from hwkit.errors import HwkitError, Unavailable
from hwkit.units import plain

COMMANDS = {
    "devices": "What hashes and measures on this machine, and what is missing.",
    "check": "Prove kernels against the reference.",
    "bench": "Prove, then measure; store a record of each run.",
    "evaluate": "Accept or refuse a miner, line by line against its nameplate.",
    "lot": "From measured units to the model: spread, tolerance, sample size.",
    "compare": "Is one faster than the other? Two records, or two devices live.",
    "asic": "Miners: find them, show what one says, keep its answers, give back its pools.",
    "pool": "Serve miners work over Stratum and hash every share again.",
    "meter": "Watch meters, check one, hold two against each other.",
    "simulate": "A miner to try all this on: a real one's API, and real shares.",
    "records": "List, show, export and import records.",
    "models": "Nameplates, with tolerances and sources.",
    "worth": "What a machine is worth: a price, a verdict, its probability.",
    "report": "A record as one page to print, hand on or post.",
    "verify": "Compute a record's figures again and re-hash every share.",
}
INTERRUPTED = 130


class Commands(click.Group):
    """Loads a command's module when the command is named: `hwkit --help` imports none."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the commands in the order a newcomer needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return a command from its own file."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"hwkit.cli.{cmd_name}").command
        return command

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - what a command returns
        """Run a command; it is not its fault when the reader of its output leaves (`| head`)."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            _discard_output()
            return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, invoke_without_command=True)
@click.version_option(hwkit.__version__)
@click.pass_context
def cli(context: click.Context) -> None:
    """Prove and measure what SHA256d hashing hardware really delivers.

    Without a command: look for devices and say what to type next.
    """
    if context.invoked_subcommand != "asic":  # which is about to see to them
        _announce_pending()
    if context.invoked_subcommand is None:
        from hwkit.cli.devices import overview  # noqa: PLC0415 - all kinds of devices

        overview()


def _announce_pending() -> None:
    """Say it where something waits to be put back: whoever has set off a run may not know."""
    from platformdirs import user_state_path  # noqa: PLC0415 - slow to import

    state = os.environ.get("HWKIT_STATE") or user_state_path("hwkit", appauthor=False)
    if not any(Path(state, "restore").glob("**/*.json")):  # as it is almost always
        return
    from hwkit.hashers.asic import restore  # noqa: PLC0415 - only where one waits

    left = [each.place for each in (*restore.abandoned(), *restore.abandoned_changes())]
    waiting = ", ".join(left + [each.place for each in restore.damaged()])
    if waiting:
        said = f"hwkit: not as they were since a run died: {waiting}; `hwkit asic restore`"
        click.echo(plain(said), err=True)


def main() -> None:
    """Run the command line; every error hwkit knows is one line and an exit code."""
    interrupts.listen()
    try:
        sys.exit(cli.main(prog_name="hwkit", standalone_mode=False) or 0)
    except (click.Abort, KeyboardInterrupt):
        _leave("interrupted", INTERRUPTED)
    except getattr(click.exceptions, "NoArgsIsHelpError", ()) as help_text:  # since click 8.2
        help_text.show()
        sys.exit(help_text.exit_code)
    except click.UsageError as error:
        help_at = f" (see {error.ctx.command_path} --help)" if error.ctx else ""
        _leave(f"{error.format_message()}{help_at}", error.exit_code)
    except click.ClickException as error:
        _leave(error.format_message(), error.exit_code)
    except HwkitError as error:
        _leave(str(error), error.exit_code)
    except OSError as error:  # of our own output: what concerns devices and stores is HwkitError
        _discard_output()
        _leave(f"cannot write: {error.strerror}", Unavailable.exit_code)
    except Exception:
        if not interrupts.heard():
            raise
        _leave("interrupted", INTERRUPTED)  # a class that is being made raises another error of it


def _leave(why: str, exit_code: int) -> NoReturn:
    click.echo(f"hwkit: {plain(' '.join(why.split()))}", err=True)
    sys.exit(exit_code)


def _discard_output() -> None:
    """Let what is still buffered for stdout go nowhere: nobody takes it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
