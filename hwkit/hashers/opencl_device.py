"""An OpenCL device as its child process has it (hwkit/hashers/child.py), through pyopencl."""

from __future__ import annotations

import time
from collections import deque
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from hwkit.hashers import opencl_runtimes

opencl_runtimes.offer()
import pyopencl as cl  # noqa: E402 - loads the runtimes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

CAPACITY = 1024  # candidates that a launch has room for
LAUNCH_NS = 60_000_000  # short of any watchdog, and long beside what it costs to launch
GROWTH = 8
UNIFORMS = 26  # hwkit.hashers.hoist
LONG_GRID = (1 << 16) + 1  # work items: PoCL compiles apart what is shorter
MOST = 1 << 30  # nonces in a launch: with what a work group adds they are counted in 32 bits
ALIVE_S = 0.1
PLATFORM_NOT_FOUND_KHR = -1001  # what the loader says where no runtime is installed
CAP = 200  # characters of a name that a driver tells

_open: list[Device] = []


def answer(request: Any, alive: Callable[[], None]) -> Any:  # noqa: ANN401 - JSON
    """Answer what hwkit.hashers.opencl asks: list; open a device; scan on it."""
    what, *arguments = request
    if what == "list":
        return [_describe(*each) for each in _platforms()]
    if what == "open":
        _open[:] = [Device(*arguments)]
        return None
    headers, top, first, count = arguments
    return _open[0].scan(headers, top, first, count, alive)


class Device:
    """One device, with the kernel built for it in one variant."""

    def __init__(self, place: int, width: int, group: int, *options: str) -> None:
        """Build the kernel. Raises whatever pyopencl does."""
        device = [device for _, devices in _platforms() for device in devices][place]
        context = cl.Context([device])
        self._is_cpu = bool(device.type & cl.device_type.CPU)
        profiling = cl.command_queue_properties.PROFILING_ENABLE
        self._queue = cl.CommandQueue(context, properties=profiling)
        text = (files("hwkit.kernels") / "sha256d.cl").read_text(encoding="utf-8")
        program = cl.Program(context, text).build(options=[f"-DWIDTH={width}", *options])
        self._width, self._group = width, group
        self._per_launch = width * group
        # Two: one's hits are read while the other works.
        self._slots = deque(_Slot(cl.Kernel(program, "scan"), context) for _ in range(2))
        self._event_ns = 0
        self._warm_up()

    def scan(
        self,
        headers: Sequence[Sequence[int]],
        top: int,
        first: int,
        count: int,
        alive: Callable[[], None],
    ) -> tuple[list[list[int]], int]:
        """Return the candidates of each header, given as its uniforms, and the ns at work.

        Work is the event time of a device of its own and the processor time of one that is the
        processor.
        """
        began_ns, self._event_ns = time.process_time_ns(), 0
        found = [self._candidates(known, top, first, count, alive) for known in headers]
        busy_ns = time.process_time_ns() - began_ns if self._is_cpu else self._event_ns
        return found, busy_ns

    def _candidates(
        self, known: Sequence[int], top: int, first: int, count: int, alive: Callable[[], None]
    ) -> list[int]:
        found: list[int] = []
        flying: deque[tuple[_Slot, int, int]] = deque()
        said = time.monotonic()
        fits = max(1, (CAPACITY << 32) // (2 * (top + 1)))  # nonces, with candidates as expected

        def land() -> None:
            nonlocal said
            if time.monotonic() - said > ALIVE_S:
                alive()
                said = time.monotonic()
            slot, start, number = flying.popleft()
            candidates, took_ns = slot.result()
            self._event_ns += took_ns
            if candidates is None:  # more than there was room for: ask again, in pieces that fit
                for at in range(start, start + number, CAPACITY):
                    piece = min(CAPACITY, start + number - at)
                    self._launch(slot, known, top, at, piece)
                    candidates, took_ns = slot.result()
                    self._event_ns += took_ns
                    found.extend(candidates or ())
            else:
                found.extend(candidates)
                ideal = number * LAUNCH_NS // max(took_ns, 1)
                least = self._width * self._group
                self._per_launch = min(max(ideal, least), self._per_launch * GROWTH, MOST)

        for start, number in self._pieces(first, count, fits):
            if len(flying) == len(self._slots):
                land()
            self._slots.rotate()
            self._launch(self._slots[0], known, top, start, number)
            flying.append((self._slots[0], start, number))
        while flying:
            land()
        return found

    def _warm_up(self) -> None:
        """Have the driver compile now: PoCL does for a first launch, and for one of a long grid."""
        nothing, least = [0] * UNIFORMS, self._per_launch
        for items in (1, LONG_GRID):
            self._per_launch = items * self._width
            self._candidates(nothing, 0, 0, items * self._width, lambda: None)
        self._per_launch = least

    def _pieces(self, first: int, count: int, most: int) -> Iterator[tuple[int, int]]:
        while count:
            number = min(count, self._per_launch, most)
            yield first, number
            first, count = first + number, count - number

    def _launch(self, slot: _Slot, known: Sequence[int], top: int, first: int, count: int) -> None:
        step = self._width * self._group
        size = -(-count // step) * self._group
        words = [np.uint32(word) for word in (*known, 1, top, first, count, CAPACITY)]
        slot.launch(self._queue, size, self._group, words)


class _Slot:
    """A kernel with its arguments, and where its candidates go."""

    def __init__(self, kernel: cl.Kernel, context: cl.Context) -> None:
        self._kernel = kernel
        self._host = np.zeros(1 + CAPACITY, np.uint32)
        self._found = cl.Buffer(context, cl.mem_flags.READ_WRITE, self._host.nbytes)
        self._none = np.zeros(1, np.uint32)
        self._ran: cl.Event
        self._read: cl.Event

    def launch(self, queue: cl.CommandQueue, size: int, group: int, words: list[np.uint32]) -> None:
        cl.enqueue_fill_buffer(queue, self._found, self._none, 0, self._none.nbytes)
        self._ran = self._kernel(queue, (size,), (group,), *words, self._found)
        self._read = cl.enqueue_copy(queue, self._host, self._found, is_blocking=False)
        queue.flush()

    def result(self) -> tuple[list[int] | None, int]:
        """Return the candidates, None where they are too many, and the launch's ns."""
        self._read.wait()
        took_ns = self._ran.profile.end - self._ran.profile.start
        number = int(self._host[0])
        return (None if number > CAPACITY else self._host[1 : 1 + number].tolist()), took_ns


def _platforms() -> list[tuple[cl.Platform, list[cl.Device]]]:
    try:
        return [(platform, platform.get_devices()) for platform in cl.get_platforms()]
    except cl.LogicError as error:
        if error.code == PLATFORM_NOT_FOUND_KHR:
            return []
        raise


def _describe(platform: cl.Platform, devices: list[cl.Device]) -> dict[str, Any]:
    return {
        "platform": platform.name.strip()[:CAP],
        "version": platform.version.strip()[:CAP],
        "devices": [
            {
                "device": device.name.strip()[:CAP],
                "driver": device.driver_version.strip()[:CAP],
                "is_cpu": bool(device.type & cl.device_type.CPU),
                "compute_units": device.max_compute_units,
                "largest_group": device.max_work_group_size,
                "vector_width": device.native_vector_width_int,
                "vendor": device.vendor.strip()[:CAP],
                "available": bool(device.available),
                "has_compiler": bool(device.compiler_available),
            }
            for device in devices
        ],
    }
