"""What stands around a device: an outlet, a program that sets it, a person, the internet."""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hwkit.errors import DeviceFault, DeviceTimeout, NoDevice, PlanError

if TYPE_CHECKING:
    from collections.abc import Callable

DEADLINE_S = 60.0  # of a program that switches
SHOWN = 200  # characters of its complaint
REACH_S = 3.0
LAST_PORT = 65535


@dataclass(frozen=True, slots=True)
class Switch:
    """A program that switches: called with a word, `on`, `off`, a mode's name or `restore`."""

    command: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Switch:
        """Read a command line; it is no shell's. Raises PlanError."""
        try:
            words = tuple(shlex.split(text))
        except ValueError as error:
            raise PlanError(f"{text!r} is no command: {error}") from error
        if not words:
            raise PlanError("a program that switches is to be named")
        return cls(words)

    def to(self, word: str) -> None:
        """Switch. Raises NoDevice, DeviceFault and DeviceTimeout with what the program says."""
        name = self.command[0]
        try:
            done = subprocess.run(
                [*self.command, word],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=DEADLINE_S,
                check=False,
            )
        except OSError as error:
            raise NoDevice(name, f"it cannot be run: {error.strerror}") from error
        except subprocess.TimeoutExpired as error:
            raise DeviceTimeout(f"{name} {word}: no answer in {DEADLINE_S:g} s") from error
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()[-SHOWN:]
            raise DeviceFault(f"{name} {word}: exit code {done.returncode}: {said}")


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody at the terminal: asked, with what is to be done, and waited for."""

    ask: Callable[[str], None]
    what: str  # "the outlet", "the power mode"

    def to(self, word: str) -> None:
        """Ask for it."""
        self.ask(f"set {self.what} to {word!r}, then press Enter")


def place_of(text: str) -> tuple[str, int]:
    """Read HOST:PORT, an IPv6 address in brackets. Raises PlanError."""
    found = re.fullmatch(r"([^\s:\[\]/]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})", text)
    if not found or not 0 < int(found[2]) <= LAST_PORT:
        raise PlanError(f"--internet {text!r}: it is HOST:PORT, [IPv6]:PORT, or none")
    return found[1].strip("[]"), int(found[2])


def internet(place: str | None) -> dict[str, Any]:
    """Say whether this network reaches HOST:PORT: some firmware stops without its fee pool.

    None: nothing is asked. Raises PlanError for what is no place.
    """
    if place is None:
        return {"asked": None, "reachable": None}
    try:
        socket.create_connection(place_of(place), REACH_S).close()
    except OSError:
        return {"asked": place, "reachable": False}
    return {"asked": place, "reachable": True}
