"""An OpenCL device as its child process has it (hwkit/hashers/child.py), through pyopencl."""

from __future__ import annotations

import time
from contextlib import suppress
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from hwkit.hashers import opencl_runtimes
from hwkit.hashers.launches import CAPACITY, Launches

opencl_runtimes.prepare()
import pyopencl as cl  # noqa: E402 - loads the runtimes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

UNIFORMS = 26  # hwkit.hashers.hoist
LONG_GRID = (1 << 16) + 1  # work items: PoCL compiles apart what is shorter
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
        queue = cl.CommandQueue(context, properties=profiling)
        text = (files("hwkit.kernels") / "sha256d.cl").read_text(encoding="utf-8")
        program = cl.Program(context, text).build(options=[f"-DWIDTH={width}", *options])
        slots = [_Slot(program, context, queue, width, group) for _ in range(2)]
        # Have the driver compile now: PoCL does for a first launch, and for one of a long grid.
        for slot, items in zip(slots, (1, LONG_GRID), strict=True):
            slot.launch([0] * UNIFORMS, 0, 0, items * width)
            slot.result()
        self._launches = Launches(slots, least=width * group)

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
        began_ns = time.process_time_ns()
        found, event_ns = self._launches.scan(headers, top, first, count, alive)
        return found, time.process_time_ns() - began_ns if self._is_cpu else event_ns


class _Slot:
    """See hwkit.hashers.launches.Slot."""

    def __init__(
        self,
        program: cl.Program,
        context: cl.Context,
        queue: cl.CommandQueue,
        width: int,
        group: int,
    ) -> None:
        self._kernel, self._queue = cl.Kernel(program, "scan"), queue
        self._width, self._group = width, group
        self._host = np.zeros(1 + CAPACITY, np.uint32)
        self._found = cl.Buffer(context, cl.mem_flags.READ_WRITE, self._host.nbytes)
        self._none = np.zeros(1, np.uint32)
        self._ran: cl.Event
        self._read: cl.Event

    def launch(self, known: Sequence[int], top: int, first: int, count: int) -> None:
        size = -(-count // (self._width * self._group)) * self._group
        words = [np.uint32(word) for word in (*known, 1, top, first, count, CAPACITY)]
        cl.enqueue_fill_buffer(self._queue, self._found, self._none, 0, self._none.nbytes)
        self._ran = self._kernel(self._queue, (size,), (self._group,), *words, self._found)
        self._read = cl.enqueue_copy(self._queue, self._host, self._found, is_blocking=False)
        self._queue.flush()

    def result(self) -> tuple[list[int] | None, int]:
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
                "pci": _pci(device),
                "available": bool(device.available),
                "has_compiler": bool(device.compiler_available),
            }
            for device in devices
        ],
    }


def _pci(device: cl.Device) -> str | None:
    """Return where a card is, as '0000:65:00.0', None where its driver has no way to tell.

    NVIDIA's cl_nv_device_attribute_query, whose slot holds device and function as PCI packs them,
    and AMD's cl_amd_device_attribute_query.
    """
    with suppress(cl.Error, AttributeError):
        device_function = device.pci_slot_id_nv
        domain = 0
        with suppress(cl.Error, AttributeError):  # came later
            domain = device.pci_domain_id_nv
        bus, number, function = device.pci_bus_id_nv, device_function >> 3, device_function & 7
        return f"{domain:04x}:{bus:02x}:{number:02x}.{function:x}"
    with suppress(cl.Error, AttributeError):
        at = device.topology_amd
        return f"0000:{at.bus & 0xFF:02x}:{at.device & 0xFF:02x}.{at.function & 0xFF:x}"
    return None
