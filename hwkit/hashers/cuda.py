"""CUDA devices: each works in a child process of its own, and its answers are checked here."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.resources import files
from importlib.util import find_spec
from itertools import product
from typing import TYPE_CHECKING, Any

from hwkit.errors import DeviceFault, NoDevice, NoDriver, PlanError, Unavailable
from hwkit.hashers.child import Child
from hwkit.hashers.device import OPEN_S, DeviceHasher, DeviceKernel, choose

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hwkit.plugins import Address
    from hwkit.protocols import Hasher

ANSWER = "hwkit.hashers.cuda_device:answer"
INSTALL = "pip install 'hwkit[cuda]'"
DRIVER = "no CUDA driver (libcuda.so.1): install NVIDIA's, version 580 or later"
# What is multiplied, each with those before it: see hwkit/hashers/cuda_kernel.py.
MULTIPLIED = ("nothing", "additions", "shifts", "rotations")
# Where that pipe is one of its own, and additions crowd another.
GAINING = ((7, 0), (9, 0))
GROUP = 256  # by registers as many threads fit in as in groups of 128 or 512
NONCES = (1, 16)
MOST_NONCES = 4096


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to build and launch the kernel of hwkit/hashers/cuda_kernel.py."""

    multiplied: str
    nonces: int  # a thread
    group: int  # threads in a block

    def __str__(self) -> str:
        """Say it in words: 'additions multiplied, 16 a thread, group 256'."""
        return f"{self.multiplied} multiplied, {self.nonces} a thread, group {self.group}"


@dataclass(frozen=True, slots=True)
class Device:
    """What the driver tells of a device."""

    place: int  # as nvidia-smi numbers them
    device: str
    driver: str  # the CUDA that it speaks: "13.0"
    capability: tuple[int, int]
    multiprocessors: int
    largest_group: int
    pci: str  # where it is: "0000:65:00.0"

    @property
    def address(self) -> str:
        """Its address: 'cuda:0'."""
        return f"cuda:{self.place}"

    @property
    def identity(self) -> Mapping[str, str]:
        """What a tuning is of: see hwkit.hashers.device."""
        text = (files("hwkit.hashers") / "cuda_kernel.py").read_bytes()
        return {
            "kernel": f"cuda_kernel.py {hashlib.sha256(text).hexdigest()}",
            "compiler": f"numba-cuda {version('numba-cuda')}",
            "units": str(self.multiprocessors),
            **self._told(),
        }

    @property
    def usual(self) -> Sequence[Variant]:
        """The variant that suits its architecture, and the plain one."""
        gains = GAINING[0] <= self.capability <= GAINING[1]
        multiplied = ["additions", "nothing"] if gains else ["nothing"]
        return [Variant(what, NONCES[-1], GROUP) for what in multiplied]

    @property
    def left_out(self) -> Mapping[str, str]:
        """Nothing is known not to work."""
        return {}

    def worth_trying(self) -> Sequence[Variant]:
        """Return every place to multiply in, with one nonce a thread or several."""
        return [Variant(what, nonces, GROUP) for what, nonces in product(MULTIPLIED, NONCES)]

    def variant(self, **told: Any) -> Variant:  # noqa: ANN401
        """Return the variant with these fields."""
        return Variant(**told)

    def variant_of(self, address: Address) -> Variant:
        """Return the variant that an address' options ask for. Raises PlanError."""
        usual = self.usual[0]
        multiplied = address.options.get("multiplied", usual.multiplied)
        group = address.integer("group") or usual.group
        if multiplied not in MULTIPLIED:
            raise PlanError(f"address {address}: multiplied is one of {', '.join(MULTIPLIED)}")
        if group > self.largest_group:
            raise PlanError(f"address {address}: a group has at most {self.largest_group} threads")
        nonces = address.integer("nonces") or usual.nonces
        if nonces > MOST_NONCES:
            raise PlanError(f"address {address}: a thread takes at most {MOST_NONCES} nonces")
        return Variant(multiplied, nonces, group)

    def hasher(self, variant: Variant, **details: Any) -> DeviceHasher:  # noqa: ANN401
        """Return a hasher of one variant."""
        arguments: list[int | str] = [self.place, variant.multiplied, variant.nonces, variant.group]
        kernel = DeviceKernel(self.address, variant, variant.group, ANSWER, arguments)
        told = {**self._told(), "compute_units": self.multiprocessors, "pci": self.pci}
        resource = f"gpu:{self.pci}"  # a card's own, whoever drives it
        return DeviceHasher.lift(kernel, resource, 1, **told, **asdict(variant), **details)

    def _told(self) -> dict[str, str]:
        capability = "{}.{}".format(*self.capability)
        return {"device": self.device, "driver": self.driver, "capability": capability}


def find(address: Address | None) -> Iterator[Hasher | Unavailable]:
    """Yield the CUDA devices, or the one addressed; see hwkit.plugins."""
    if address is not None:
        address.allow("multiplied", "nonces", "group")
    # Numba alone still has a numba.cuda, which is abandoned.
    if find_spec("numba_cuda") is None:
        yield NoDriver(str(address or "cuda"), INSTALL)
        return
    yield from choose(address, list(_listed()))


def _listed() -> Iterator[Device | Unavailable]:
    """Yield every device, or why it is none for us."""
    child = Child("cuda", ANSWER)
    try:
        told = child.ask("list", silence_s=OPEN_S)
    except DeviceFault as fault:
        yield NoDevice("cuda", str(fault).removeprefix("cuda: "))
        return
    finally:
        child.end()
    why = told["why"]
    if why is not None and "library cannot be found" in why:
        yield NoDriver("cuda", DRIVER)
    elif why is not None or not told["devices"]:
        yield NoDevice("cuda", why or "the driver knows no device")
    for place, each in enumerate(told["devices"]):
        capability = tuple(each.pop("capability"))
        device = Device(place=place, driver=told["driver"], capability=capability, **each)
        if capability < tuple(told["oldest"]):
            has, least = ("{}.{}".format(*pair) for pair in (capability, told["oldest"]))
            yield NoDevice(
                device.address,
                f"{device.device}: compute capability {has}, and CUDA 13 begins at {least}",
            )
        else:
            yield device
