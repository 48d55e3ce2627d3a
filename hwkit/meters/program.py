"""Any program that prints readings, and any file that something else appends them to (lines.py)."""

from __future__ import annotations

import io
import os
import queue
import shlex
import signal
import stat
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from hwkit.errors import (
    DeviceFault,
    DeviceLost,
    DeviceTimeout,
    NoDevice,
    NotPermitted,
    PlanError,
    ProtocolError,
)
from hwkit.meters.addressing import STATED, name_of, patience_s, stated
from hwkit.meters.lines import LONGEST, Lines
from hwkit.protocols import MeterSpec, Provenance, Reading, Scope
from hwkit.units import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hwkit.plugins import Address
    from hwkit.protocols import Meter

DEADLINE_S = 4.5
HEARING_S = 0.5
SHOWN = 200  # characters of a program's own words
WAITING = 256  # lines that nobody has read yet; then the oldest go
LOOK_S = 0.1  # between looks whether a file has grown


def find_exec(address: Address | None) -> Iterator[Meter]:
    """Yield the program addressed, `exec:COMMAND`; it is no shell's."""
    if address is not None:
        yield Program(address)


def find_csv(address: Address | None) -> Iterator[Meter]:
    """Yield the file addressed, `csv:FILE`; with ?from=start what it holds already, too."""
    if address is not None:
        yield File(address)


def _spec(address: Address) -> MeterSpec:
    spec = MeterSpec(name_of(address), Scope.WALL, Provenance.METER, unasked=True)
    return stated(address, spec)


class Program:
    """A program that prints a line a reading; ended, with its children, at close()."""

    def __init__(self, address: Address) -> None:
        """Costs no I/O. Raises PlanError for what is no command."""
        address.allow(*STATED)
        try:
            self._command = shlex.split(address.place)
        except ValueError as error:
            raise PlanError(f"address {address}: {error}") from error
        if not self._command:
            raise PlanError(f"address {address}: it names no program, as in exec:./meter --json")
        self.spec = _spec(address)
        self._run: _Run | None = None
        self._lock = threading.Lock()
        self._closed = True

    def open(self) -> Mapping[str, str]:
        """Start the program. Raises NoDevice, NotPermitted."""
        self.close()
        self._closed = False
        try:
            self._current()
        except PermissionError as error:
            raise NotPermitted(self.spec.name, f"{self._command[0]} may not be run") from error
        except OSError as error:
            why = f"{self._command[0]}: {error.strerror}"
            raise NoDevice(self.spec.name, why) from error
        return {}

    def read(self) -> Reading:
        """Return the next line as a reading, at its own time or else at its arrival.

        Raises DeviceTimeout where none comes within 4.5 s or two intervals, ProtocolError, and
        DeviceLost for a program that has ended: the next call starts it again.
        """
        try:
            run = self._current()
        except OSError as error:
            raise DeviceLost(f"{self.spec.name}: {error.strerror}") from error
        return run.next(patience_s(self.spec, DEADLINE_S))

    def close(self) -> None:
        """End it; who reads gets DeviceLost."""
        with self._lock:
            self._closed = True
            run, self._run = self._run, None
        if run is not None:
            run.end(DeviceLost(f"{self.spec.name}: closed"))

    def _current(self) -> _Run:
        with self._lock:
            if self._closed:
                raise DeviceLost(f"{self.spec.name}: it is not open")
            if self._run is None or self._run.told:
                self._run = _Run(self.spec.name, self._command)
            return self._run


class _Run:
    def __init__(self, name: str, command: list[str]) -> None:
        self.told = False
        self._name = name
        self._fault: DeviceFault | None = None
        self._ending = threading.Lock()
        self._lines: queue.Queue[tuple[bytes, int] | None] = queue.Queue(WAITING)
        self._parser = Lines(name)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # its children end with it, and Ctrl-C is ours to answer
        )
        self._complaint = b""  # what it last wrote to stderr
        self._hearing = threading.Thread(target=self._hear, name=f"{name} stderr", daemon=True)
        self._hearing.start()
        threading.Thread(target=self._listen, name=f"{name} listener", daemon=True).start()

    def next(self, wait_s: float) -> Reading:
        deadline = time.monotonic() + wait_s
        while True:
            try:
                came = self._lines.get(timeout=max(deadline - time.monotonic(), 0))
            except queue.Empty:
                said = (
                    f"{self._name}: it printed nothing for {wait_s:g} s; is that usual: ?interval="
                )
                raise DeviceTimeout(said + self._why()) from None
            if came is None:
                self.told = True
                raise self._fault or DeviceLost(f"{self._name}: ended")
            reading = self._parser.take(*came)
            if reading is not None:
                return reading

    def end(self, fault: DeviceFault) -> None:
        with self._ending:
            self._fault = self._fault or fault
            if self._process.returncode is None:  # not yet reaped: its number is still its own
                _kill(self._process)
                self._process.wait()

    def _listen(self) -> None:
        output = self._process.stdout
        assert output is not None  # noqa: S101 - it is a pipe
        with output:
            while line := output.readline(LONGEST + 1):
                if len(line) > LONGEST:
                    said = f"{self._name}: it prints lines of more than {LONGEST} bytes"
                    self.end(ProtocolError(said, line[:200]))
                    break
                self._put((line, time.monotonic_ns()))
        _await_end(self._process)
        self.end(DeviceLost(f"{self._name}: the program ended"))
        if type(self._fault) is DeviceLost and self._process.returncode > 0:
            code = self._process.returncode
            self._hearing.join(HEARING_S)  # who left its group may hold its stderr for ever
            self._fault = DeviceLost(f"{self._fault}, with exit code {code}{self._why()}")
        self._put(None)

    def _hear(self) -> None:
        """Keep the end of what it writes to stderr: there programs say why they fail."""
        errors = self._process.stderr
        assert isinstance(errors, io.BufferedReader)  # noqa: S101 - it is a pipe
        with errors:
            while piece := errors.read1(LONGEST):
                self._complaint = (self._complaint + piece)[-LONGEST:]

    def _why(self) -> str:
        """Return the last line that it wrote to stderr, shortened."""
        lines = self._complaint.decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f": {plain(last):.{SHOWN}}" if last else ""

    def _put(self, line: tuple[bytes, int] | None) -> None:
        while True:
            try:
                self._lines.put_nowait(line)
            except queue.Full:
                with suppress(queue.Empty):  # somebody has just read
                    self._lines.get_nowait()
            else:
                return


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill it and its children, which have its number as their group's."""
    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def _await_end(process: subprocess.Popen[bytes]) -> None:
    """Let a program whose output has ended end by itself, and do not reap it yet."""
    if not hasattr(os, "waitid"):
        return
    with suppress(ChildProcessError):  # close() was faster
        for _ in range(50):
            if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None:
                return
            time.sleep(0.02)


class File:
    """A log that something else writes, read as it grows."""

    def __init__(self, address: Address) -> None:
        """Costs no I/O. Raises PlanError for an address without a file."""
        address.allow(*STATED, "from")
        start = address.options.get("from", "now")
        if start not in {"now", "start"}:
            raise PlanError(f"address {address}: from is now or start, not {start!r}")
        if not address.place:
            raise PlanError(f"address {address}: it names no file, as in csv:power.csv")
        self.spec = _spec(address)
        self._path = Path(address.place)
        self._whole = start == "start"
        self._file: IO[bytes] | None = None
        self._parser = Lines(self.spec.name)
        self._partial = False  # is the next line one whose beginning was there before?
        self._closed = True

    def open(self) -> Mapping[str, str]:
        """Open the file and read its first line. Raises NoDevice, NotPermitted."""
        self.close()
        try:
            self._start()
        except PermissionError as error:
            raise NotPermitted(self.spec.name, f"{self._path} may not be read") from error
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise NoDevice(self.spec.name, f"{self._path}: {why}") from error
        self._closed = False
        return {}

    def read(self) -> Reading:
        """Return the next line as a reading.

        Raises DeviceTimeout where none comes within 4.5 s or two intervals, ProtocolError, and
        DeviceLost for a file that is gone or became another: the next call opens it again.
        """
        deadline = time.monotonic() + patience_s(self.spec, DEADLINE_S)
        try:
            while not self._closed:
                file = self._file or self._start()
                line = file.readline(LONGEST + 1)
                if len(line) > LONGEST:
                    said = f"{self.spec.name}: a line of more than {LONGEST} bytes"
                    raise ProtocolError(said, line[:200])
                if not line.endswith(b"\n"):  # its writer is not done with it
                    file.seek(-len(line), os.SEEK_CUR)
                    self._wait(file, deadline)
                elif self._partial:
                    self._partial = False
                elif reading := self._parser.take(line, time.monotonic_ns()):
                    return reading
        except (OSError, ValueError) as error:
            self._drop()
            why = getattr(error, "strerror", None) or str(error)
            raise DeviceLost(f"{self.spec.name}: {self._path}: {why}") from error
        raise DeviceLost(f"{self.spec.name}: it is not open")

    def close(self) -> None:
        """Let go; who reads gets DeviceLost."""
        self._closed = True
        self._drop()

    def _drop(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _start(self) -> IO[bytes]:
        if not stat.S_ISREG(self._path.stat().st_mode):  # to open a pipe would wait for a writer
            raise ValueError("it is no file")
        self._file = file = self._path.open("rb")
        self._parser = Lines(self.spec.name, finished=self._whole)
        self._partial = False
        if not self._whole:
            first = file.readline(LONGEST)
            self._parser.names(first)
            file.seek(max(file.seek(0, os.SEEK_END) - 1, 0))
            self._partial = file.read(1) not in {b"\n", b""}
        return file

    def _wait(self, file: IO[bytes], deadline: float) -> None:
        now = self._path.stat()
        opened = os.fstat(file.fileno())
        if (now.st_dev, now.st_ino) != (opened.st_dev, opened.st_ino):
            raise ValueError("another file has taken its name")
        if now.st_size < file.tell():
            raise ValueError("it became shorter")
        if time.monotonic() >= deadline:
            wait_s = patience_s(self.spec, DEADLINE_S)
            said = f"{self.spec.name}: no new line for {wait_s:g} s; is that usual: ?interval="
            raise DeviceTimeout(said)
        time.sleep(LOOK_S)
