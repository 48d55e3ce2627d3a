"""What stands around a device: an outlet, what sets it, a person, the internet.

An outlet that is off, and a miner that is set otherwise, are on disk (hashers/asic/restore.py) from
before until they are as they were: `hwkit asic restore` puts them back after a kill or a power cut.
"""

from __future__ import annotations

import re
import shlex
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hwkit.errors import DeviceFault, DeviceTimeout, NoDevice, PlanError
from hwkit.hashers.asic.restore import Changed
from hwkit.hashers.asic.settings import Settings, settings_of
from hwkit.meters import outlets
from hwkit.plugins import Address
from hwkit.wire.cgminer import PORT
from hwkit.wire.tcp import endpoint

if TYPE_CHECKING:
    from collections.abc import Callable

DEADLINE_S = 60.0  # of a program that switches
SHOWN = 200  # characters of its complaint
REACH_S = 3.0
LAST_PORT = 65535
EXEC, NATIVE, RESTORE = "exec", "native", "restore"


@dataclass(frozen=True, slots=True)
class Switch:
    """A program: called with `on` or `off`; a mode's name, frequency=400 or `restore`."""

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


class Outlet:
    """What feeds a device: an address (meters/outlets.py), exec:PROGRAM, or a program."""

    def __init__(self, text: str, wait: Callable[[float], object] = time.sleep) -> None:
        """Costs no I/O. Raises PlanError for what is neither, and NoDriver."""
        kind, _, rest = text.partition(":")
        self._wait = wait
        self._by: outlets.Outlet | None = None
        if kind in outlets.KINDS:
            self._by = outlets.find(text)
        else:
            self._program = Switch.parse(rest if kind == EXEC else text)
            if shutil.which(self._program.command[0]) is None:
                known = ", ".join([*outlets.KINDS, f"{EXEC}:PROGRAM"])
                raise PlanError(f"outlet {text!r}: no program, and none of {known}")
        self._kept = Changed("outlet", text)
        self._holding = ExitStack()

    def look(self) -> bool:
        """See that it is on. Did a process that died leave it off? Then it is switched on.

        Raises PlanError where it is off for another reason, Unavailable, and DeviceFault.
        """
        if self._held:
            with self._kept.claimed():
                self.to("on")
            return True
        if self._by is not None and not self._by.look():
            why = "it says that it is off: is this what feeds the device? Then switch it on"
            raise PlanError(f"outlet {self._by.name}: {why}")
        return False

    def to(self, word: str) -> None:
        """Switch it on or off, and see that it is. Raises DeviceFault and Unavailable."""
        if word == "off" and not self._held:
            self._holding.enter_context(self._kept.kept())
        if self._by is not None:
            self._by.to(word, self._wait)
        else:
            self._program.to(word)
        if word == "on":
            self._kept.forget()
            self._holding.close()

    @property
    def _held(self) -> bool:
        return self._kept.path.exists()


class Native:
    """The settings of a miner by its own API: `mode`'s value alone, or NAME=VALUE."""

    def __init__(self, settings: Settings) -> None:
        """Take whose; costs no I/O."""
        self._settings = settings

    @classmethod
    def of(cls, address: str, wait: Callable[[float], object] = time.sleep) -> Native:
        """Return those of the device at an address. Raises PlanError where it has none."""
        parsed = Address.parse(address)
        if parsed.scheme != "asic":
            raise PlanError(f"--settings {NATIVE}: it is of asic:HOST, not of {address}")
        host, port = endpoint(parsed, PORT)
        return cls(Settings.of(parsed, host, port, wait))

    def look(self) -> None:
        """Put back what a process that died has left. Raises DeviceFault and Unavailable."""
        self._settings.left()

    def to(self, word: str) -> None:
        """Set it, and see that it is; see settings.Settings.set."""
        if word == RESTORE:
            self._settings.restore()
            return
        name, _, value = word.rpartition("=")
        self._settings.set(name or "mode", value)


def put_back(kept: Changed) -> None:
    """Put back what a process that died has left. Raises DeviceFault and Unavailable."""
    if kept.what == "outlet":
        Outlet(kept.by).to("on")
    else:
        settings_of(kept).put_back(kept)


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
