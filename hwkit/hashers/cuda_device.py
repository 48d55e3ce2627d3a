"""A CUDA device as its child process has it (hwkit/hashers/child.py), through numba-cuda."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

# Numbers as nvidia-smi gives them; else the fastest comes first. Before the driver is loaded.
os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")

import numpy as np
from numba import cuda
from numba.cuda.cudadrv.error import CudaSupportError

from hwkit.hashers.cuda_kernel import FACTORS, SIGNATURE, scan
from hwkit.hashers.launches import CAPACITY, Launches

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

POLL_S = 0.0002  # between looks at a launch: waiting in the driver would take a processor
CAP = 200  # characters of what a driver tells

_open: list[Launches] = []


def answer(request: Any, alive: Callable[[], None]) -> Any:  # noqa: ANN401 - JSON
    """Answer what hwkit.hashers.cuda asks: list; open a device; scan on it."""
    what, *arguments = request
    if what == "list":
        return _listed()
    if what == "open":
        _open[:] = [_opened(*arguments)]
        return None
    headers, top, first, count = arguments
    return _open[0].scan(headers, top, first, count, alive)


def _opened(place: int, multiplied: str, nonces: int, group: int) -> Launches:
    """Compile the kernel for a device: `nonces` a thread, `group` threads a block."""
    cuda.select_device(place)
    kernel = cuda.jit(SIGNATURE)(scan(multiplied))
    stream = cuda.stream()
    slots = [_Slot(kernel, stream, nonces, group) for _ in range(2)]
    return Launches(slots, least=nonces * group)


class _Slot:
    """See hwkit.hashers.launches.Slot."""

    def __init__(self, kernel: Any, stream: Any, nonces: int, group: int) -> None:  # noqa: ANN401
        self._kernel, self._stream = kernel, stream
        self._nonces, self._group = nonces, group
        self._found = cuda.device_array(1 + CAPACITY, np.uint32)
        self._number = self._found[:1]
        # Pinned, or copies would not return before they are done.
        self._host = cuda.pinned_array(1 + CAPACITY, np.uint32)
        self._zero = cuda.pinned_array(1, np.uint32)
        self._zero[0] = 0
        self._began, self._ended, self._read = (cuda.event() for _ in range(3))

    def launch(self, known: Sequence[int], top: int, first: int, count: int) -> None:
        blocks = -(-count // (self._nonces * self._group))
        words = tuple(np.uint32(word) for word in known)
        self._number.copy_to_device(self._zero, stream=self._stream)
        self._began.record(self._stream)
        self._kernel[blocks, self._group, self._stream](
            words, FACTORS, np.uint32(top), np.uint32(first), np.uint32(count), self._found
        )
        self._ended.record(self._stream)
        self._found.copy_to_host(self._host, stream=self._stream)
        self._read.record(self._stream)

    def result(self) -> tuple[list[int] | None, int]:
        while not self._read.query():
            time.sleep(POLL_S)
        took_ns = round(self._began.elapsed_time(self._ended) * 1e6)
        number = int(self._host[0])
        return (None if number > CAPACITY else self._host[1 : 1 + number].tolist()), took_ns


def _listed() -> dict[str, Any]:
    """Return the devices, or `why` there are none; the driver; the oldest architecture served."""
    from numba.cuda.cudadrv import driver, nvrtc  # noqa: PLC0415 - the simulator has no such names

    try:
        devices = list(cuda.list_devices())
    except CudaSupportError as error:
        why = " ".join(str(error).removeprefix("Error at driver init:").split()).strip(" :")
        return {"why": why[:CAP], "devices": []}
    return {
        "why": None,
        "driver": ".".join(map(str, driver.driver.get_version())),
        "oldest": list(nvrtc.get_lowest_supported_cc()),
        "devices": [
            {
                "device": str(each.name)[:CAP],
                "capability": list(each.compute_capability),
                "multiprocessors": each.MULTIPROCESSOR_COUNT,
                "largest_group": each.MAX_THREADS_PER_BLOCK,
                "pci": f"{each.PCI_DOMAIN_ID:04x}:{each.PCI_BUS_ID:02x}:{each.PCI_DEVICE_ID:02x}.0",
            }
            for each in devices
        ],
    }
