"""NVIDIA GPUs as the driver sees them: the board's energy counter, and its power (NVML).

Source: NVML API reference, nvmlDeviceGetTotalEnergyConsumption (mJ since the driver was loaded,
Volta and newer) and nvmlDeviceGetPowerUsage (mW; the mean of 1 s on Ampere, except GA100, and
newer; instantaneous on GA100 and older).
"""

from __future__ import annotations

import importlib
import math
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from hwkit.errors import (
    DeviceFault,
    DeviceLost,
    DeviceTimeout,
    NoDevice,
    NoDriver,
    NotPermitted,
    ProtocolError,
    Unavailable,
)
from hwkit.meters.addressing import STATED, name_of, stated
from hwkit.meters.bounded import Bounded
from hwkit.plugins import Address
from hwkit.protocols import MeterSpec, Provenance, Reading, Scope
from hwkit.units import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hwkit.protocols import Meter

GA100 = (8, 0)  # its compute capability; GA102 and the rest of Ampere are 8.6 and 8.7


def find(address: Address | None) -> Iterator[Meter | Unavailable]:
    """Yield the GPU addressed by index or UUID, or all; or why there is none."""
    asked = str(address or "nvml")
    if address is not None:
        address.allow(*STATED)
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        yield NoDriver(asked, "pip install 'hwkit[nvml]'")
        return
    try:
        driver = Bounded(asked)
        driver.ask(nvml.nvmlInit)
        if address is None:
            count = driver.ask(nvml.nvmlDeviceGetCount)
            for index in range(count):
                yield NvmlMeter(nvml, Address("nvml", str(index), {}))
            if count == 0:
                yield NoDevice(asked, "the driver lists no GPU")
        else:
            yield NvmlMeter(nvml, address)
    except nvml.NVMLError as error:
        yield _absent(nvml, asked, error)
    except DeviceTimeout as error:
        yield NoDevice(asked, str(error).removeprefix(f"{asked}: "))


class NvmlMeter:
    """One GPU: its board, fans and memory included."""

    def __init__(self, nvml: Any, address: Address) -> None:  # noqa: ANN401 - a module without types
        """Ask the driver what averages power readings. Raises NVMLError."""
        self._nvml = nvml
        self._place = address.place
        name = name_of(address)
        self._driver = Bounded(name)
        averaging_s, details = self._driver.ask(self._describe)
        usual = MeterSpec(
            name,
            Scope.BOARD,
            Provenance.BOARD,
            averaging_s=averaging_s,
            quantum_w=0.001,
            quantum_j=0.001,
            model=details["model"],
            serial=details["uuid"],
            details=details,
        )
        self._spec = stated(address, usual)

    @property
    def spec(self) -> MeterSpec:
        """What it is; the counter's modulus is unknown: a fall is a driver that was loaded anew."""
        return self._spec

    def open(self) -> Mapping[str, str]:
        """Return model, UUID and driver. Raises Unavailable."""
        nvml = self._nvml
        try:
            self._driver.ask(nvml.nvmlInit)
            firmware = self._driver.ask(nvml.nvmlSystemGetDriverVersion)
            self.read()
        except nvml.NVMLError as error:
            raise _absent(nvml, self._spec.name, error) from error
        except DeviceTimeout as error:
            raise NoDevice(self._spec.name, "its driver does not answer") from error
        told = {"model": self._spec.model, "serial": self._spec.serial}
        return {k: v for k, v in told.items() if v} | {"firmware": _text(firmware)}

    def read(self) -> Reading:
        """Return energy and power, as far as this GPU has them. Raises DeviceFault."""
        nvml = self._nvml
        try:
            return self._driver.ask(self._read)
        except nvml.NVMLError as error:
            raise self._fault(error) from error

    def close(self) -> None:
        """Leave NVML loaded: others of this process may be using it."""

    def _read(self) -> Reading:
        nvml = self._nvml
        handle = self._handle()
        asked = time.monotonic_ns()
        joules = self._optional(nvml.nvmlDeviceGetTotalEnergyConsumption, handle)
        watts = self._optional(nvml.nvmlDeviceGetPowerUsage, handle)
        took_ns = time.monotonic_ns() - asked
        if joules is None and watts is None:
            raise ProtocolError(f"{self._spec.name}: this GPU tells neither energy nor power", b"")
        return Reading(asked + took_ns // 2, joules, watts, took_ns=took_ns)

    def _optional(self, question: Any, handle: Any) -> float | None:  # noqa: ANN401
        try:
            value = question(handle)
        except self._nvml.NVMLError_NotSupported:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < math.inf:
            raise ProtocolError(f"{self._spec.name}: {value!r} is no number", repr(value).encode())
        return value / 1000

    def _describe(self) -> tuple[float, dict[str, str]]:
        nvml, handle = self._nvml, self._handle()
        details = {
            "model": _text(nvml.nvmlDeviceGetName(handle)),
            "uuid": _text(nvml.nvmlDeviceGetUUID(handle)),
        }
        averaging_s = 1.0
        with suppress(nvml.NVMLError):
            capability = tuple(nvml.nvmlDeviceGetCudaComputeCapability(handle))
            averaging_s = 0.0 if capability <= GA100 else 1.0
            details["compute_capability"] = ".".join(map(str, capability))
        return averaging_s, details

    def _handle(self) -> Any:  # noqa: ANN401
        place = self._place
        if place.isascii() and place.isdigit() and len(place) < 5:
            return self._nvml.nvmlDeviceGetHandleByIndex(int(place))
        return self._nvml.nvmlDeviceGetHandleByUUID(place)

    def _fault(self, error: Exception) -> DeviceFault:
        name, nvml = self._spec.name, self._nvml
        if isinstance(error, nvml.NVMLError_Timeout):
            return DeviceTimeout(f"{name}: its driver gave up waiting")
        if isinstance(error, nvml.NVMLError_Uninitialized):
            with suppress(nvml.NVMLError):
                self._driver.ask(nvml.nvmlInit)  # somebody shut it down; the next call may succeed
        return DeviceLost(f"{name}: {plain(error)}")


def _absent(nvml: Any, asked: str, error: Exception) -> Unavailable:  # noqa: ANN401
    if isinstance(error, nvml.NVMLError_LibraryNotFound):
        return NoDriver(
            asked,
            "NVIDIA's driver is missing (its libnvidia-ml.so.1): install it, as for nvidia-smi",
        )
    if isinstance(error, nvml.NVMLError_DriverNotLoaded):
        return NoDriver(asked, "NVIDIA's driver is installed and not loaded: sudo modprobe nvidia")
    if isinstance(error, nvml.NVMLError_LibRmVersionMismatch):
        return NoDriver(asked, "NVIDIA's driver was updated under the kernel's feet: restart")
    if isinstance(error, nvml.NVMLError_NoPermission):
        return NotPermitted(asked, "no permission: see ls -l /dev/nvidia*")
    if isinstance(error, (nvml.NVMLError_NotFound, nvml.NVMLError_InvalidArgument)):
        return NoDevice(asked, "no such GPU: nvidia-smi -L lists them")
    return NoDevice(asked, plain(error))


def _text(value: object) -> str:
    """Older releases of the library return bytes."""
    return plain(value.decode(errors="replace") if isinstance(value, bytes) else value)
