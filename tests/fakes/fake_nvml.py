"""What nvidia-ml-py has that hwkit uses, over GPUs made of settings."""
# ruff: noqa: N802 - NVIDIA's names

from typing import Any


class NVMLError(Exception):
    def __str__(self):
        return type(self).__name__.removeprefix("NVMLError_")


def _error(name):
    return type(name, (NVMLError,), {})


NVMLError_Uninitialized = _error("NVMLError_Uninitialized")
NVMLError_InvalidArgument = _error("NVMLError_InvalidArgument")
NVMLError_NotSupported = _error("NVMLError_NotSupported")
NVMLError_NoPermission = _error("NVMLError_NoPermission")
NVMLError_NotFound = _error("NVMLError_NotFound")
NVMLError_DriverNotLoaded = _error("NVMLError_DriverNotLoaded")
NVMLError_Timeout = _error("NVMLError_Timeout")
NVMLError_LibraryNotFound = _error("NVMLError_LibraryNotFound")
NVMLError_GpuIsLost = _error("NVMLError_GpuIsLost")
NVMLError_LibRmVersionMismatch = _error("NVMLError_LibRmVersionMismatch")

gpus: list[
    dict[str, Any]
] = []  # dicts: uuid, name, capability, energy (mJ), power (mW); an exception is raised
broken: dict[str, Any] = {}  # function's name: what it does instead of answering


def _answer(value):
    if isinstance(value, Exception):
        raise value
    return value() if callable(value) else value


def nvmlInit():
    _answer(broken.get("nvmlInit"))


def nvmlSystemGetDriverVersion():
    return "580.65.06"


def nvmlDeviceGetCount():
    return len(gpus)


def nvmlDeviceGetHandleByIndex(index):
    _answer(broken.get("nvmlDeviceGetHandleByIndex"))
    if index >= len(gpus):
        raise NVMLError_InvalidArgument
    return gpus[index]


def nvmlDeviceGetHandleByUUID(uuid):
    for gpu in gpus:
        if gpu["uuid"] == uuid:
            return gpu
    raise NVMLError_NotFound


def nvmlDeviceGetName(gpu):
    return gpu["name"]


def nvmlDeviceGetUUID(gpu):
    return gpu["uuid"]


def nvmlDeviceGetCudaComputeCapability(gpu):
    return _answer(gpu["capability"])


def nvmlDeviceGetTotalEnergyConsumption(gpu):
    return _answer(gpu["energy"])


def nvmlDeviceGetPowerUsage(gpu):
    return _answer(gpu["power"])
