"""Work in a process of its own: a driver that crashes, hangs or babbles costs a value, not the run.

A child runs one function, `function(request, alive)`, on requests as they come, in order. Both ways
a message is a line of JSON: nothing that a broken driver leaves behind is executed here.
"""

from __future__ import annotations

import ctypes
import importlib
import io
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any

from hwkit.errors import DeviceFault, DeviceLost, DeviceTimeout, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

SILENCE_S = 10.0  # without a word, on a machine that may be busy: a launch takes 0.2 s at most
LONGEST = 1 << 24  # bytes of a line
SHOWN = 80  # of what makes no sense
LOOK_S = 0.5  # whether it has ended
END_S = 1.0  # for a process whose output has ended to say how
PR_SET_PDEATHSIG = 1  # prctl(2)
# That signal comes when the thread ends that has started the child: this one ends with us.
_STARTER = ThreadPoolExecutor(1, "child starter")


class Child:
    """A process that answers, started when it is first asked; a fault is its last answer."""

    def __init__(self, name: str, function: str) -> None:
        """Name it as faults shall name it; `function` is written 'module:function'."""
        self.name = name
        self._function = function
        self._process: _Process | None = None
        self._lock = threading.Lock()

    def ask(self, *request: Any, silence_s: float = SILENCE_S) -> Any:  # noqa: ANN401 - JSON
        """Return the answer to a request. Threads may ask at once: they are answered in turn.

        Raises DeviceFault for what the function raised, DeviceLost when the process ended,
        DeviceTimeout when it was silent for so many seconds, ProtocolError for what is no answer;
        and from then on the same again.
        """
        with self._lock:
            if self._process is None:
                self._process = _Process(self.name, self._function)
                weakref.finalize(self, self._process.end)
            process = self._process
        return process.ask(request, silence_s)

    @property
    def silent_s(self) -> float:
        """For how long a question has waited without a word; 0 when none waits."""
        return 0.0 if self._process is None else self._process.silent_s

    def end(self, fault: DeviceFault | None = None) -> None:
        """End the process at once; who waits for an answer, or asks again, gets the fault."""
        with self._lock:
            if self._process is not None:
                self._process.end(fault)


class _Process:
    def __init__(self, name: str, function: str) -> None:
        self._name = name
        self._fault: DeviceFault | None = None
        self._waiting: deque[tuple[int, queue.SimpleQueue[Any]]] = deque()
        self._numbers = count()
        self._killing = threading.Lock()
        self._lock = threading.Lock()
        self._heard = time.monotonic()
        command = [sys.executable, "-P", "-m", __name__, function, str(os.getpid())]
        self._process = _STARTER.submit(_start, command).result()
        threading.Thread(target=self._listen, name=f"{name} listener", daemon=True).start()

    def ask(self, request: Any, silence_s: float) -> Any:  # noqa: ANN401
        answer: queue.SimpleQueue[Any] = queue.SimpleQueue()
        with self._lock:
            if self._fault is not None:
                raise self._fault
            if not self._waiting:
                self._heard = time.monotonic()
            number = next(self._numbers)
            self._waiting.append((number, answer))
            with suppress(OSError, ValueError):  # it has ended: the listener will say how
                self._process.stdin.write(json.dumps([number, request]).encode() + b"\n")  # type: ignore[union-attr]
        while True:
            try:
                reply = answer.get(timeout=min(max(silence_s - self.silent_s, 0), LOOK_S))
            except queue.Empty:
                if self.silent_s >= silence_s:
                    self.end(DeviceTimeout(f"{self._name}: no answer for {silence_s:g} s"))
                elif self.silent_s > END_S and (code := self._code()) is not None:
                    # Its output is held open by a process that it has started.
                    self.end(DeviceLost(f"{self._name}: {_how(code)}"))
            else:
                if isinstance(reply, DeviceFault):
                    raise reply
                return reply

    @property
    def silent_s(self) -> float:
        return time.monotonic() - self._heard if self._waiting else 0.0

    def end(self, fault: DeviceFault | None = None) -> None:
        self._fail(fault or DeviceLost(f"{self._name}: ended"))
        self._kill()
        with suppress(subprocess.TimeoutExpired):  # a process in the kernel ends when that lets it
            self._process.wait(END_S)
        with suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr]

    def _kill(self) -> None:
        """Kill it, with all that it has started: it leads a group of its own."""
        with self._killing, suppress(ProcessLookupError, PermissionError):
            if self._process.returncode is None and hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)  # not reaped: the number is its own
        self._process.kill()

    def _code(self) -> int | None:
        """Return its exit code once it has ended, what it has started with it; else None."""
        if self._process.returncode is None and hasattr(os, "waitid"):
            with suppress(ChildProcessError):
                asked = os.WEXITED | os.WNOHANG | os.WNOWAIT
                if os.waitid(os.P_PID, self._process.pid, asked) is None:
                    return None
            self._kill()
        return self._process.poll()

    def _listen(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        output = io.BufferedReader(self._process.stdout)  # type: ignore[type-var]
        with output, suppress(ValueError):  # closed while it was read
            while line := output.readline(LONGEST):
                self._heard = time.monotonic()
                try:
                    self._take(json.loads(line))
                except (ValueError, TypeError, IndexError, RecursionError):
                    fault = f"{self._name}: answered with what is no answer: {line[:SHOWN]!r}"
                    self.end(ProtocolError(fault, line[:SHOWN]))
                    return
        until = time.monotonic() + END_S
        while (code := self._code()) is None and time.monotonic() < until:
            time.sleep(0.01)
        self.end(DeviceLost(f"{self._name}: {_how(code)}"))

    def _take(self, message: Any) -> None:  # noqa: ANN401
        if message is None:  # alive, and at work
            return
        number, what, value = message
        with self._lock:
            asked, answer = self._waiting[0]
            if what not in {"value", "fault"} or number != asked:
                raise ValueError(what)
            self._waiting.popleft()
            answer.put(value if what == "value" else DeviceFault(f"{self._name}: {value}"))

    def _fail(self, fault: DeviceFault) -> None:
        with self._lock:
            self._fault = self._fault or fault
            while self._waiting:
                self._waiting.popleft()[1].put(self._fault)


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _how(code: int | None) -> str:
    if code is None:
        return "fell silent"
    if code < 0:
        try:
            return f"crashed ({signal.Signals(-code).name})"
        except ValueError:  # a real-time signal has no name
            return f"crashed (signal {-code})"
    return f"ended with exit code {code}"


def main(function: str, parent: int) -> None:
    """Answer what comes on stdin, until it ends."""
    # What is sent to the whole group is the parent's to answer; we end when it does.
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if number := getattr(signal, name, None):
            signal.signal(number, signal.SIG_IGN)
    with suppress(ImportError):
        import resource  # noqa: PLC0415 - not on every system

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is a value, not a file
    _die_with(parent)
    output = os.dup(1)
    os.dup2(2, 1)  # drivers print
    requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(requests,), daemon=True).start()

    def say(message: Any) -> None:  # noqa: ANN401
        data = memoryview(json.dumps(message).encode() + b"\n")
        while data:
            data = data[os.write(output, data) :]

    module, _, name = function.partition(":")
    answer: Callable[[Any, Callable[[], None]], Any] | None = None
    while True:
        number, request = requests.get()
        try:
            answer = answer or getattr(importlib.import_module(module), name)
            reply = [number, "value", answer(request, lambda: say(None))]
        except Exception as error:  # noqa: BLE001 - the parent decides what to make of it
            text = " ".join(str(error).split()).encode(errors="replace").decode()
            reply = [number, "fault", f"{type(error).__name__}: {text}"]
        say(reply)


def _receive(requests: queue.SimpleQueue[Any]) -> None:
    """Pass requests on; when the parent is gone so are we, whatever the driver is at."""
    for line in sys.stdin.buffer:
        requests.put(json.loads(line))
    os._exit(0)


def _die_with(parent: int) -> None:
    """Have the system end us with the parent: a driver may hang and never let Python run again."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before we asked
            os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
