"""The processor's hashers: C's kernels, Numba's, the reference, and the one that measures best."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from hwkit.errors import NoDevice, NoDriver, PlanError, Unavailable, WrongHash
from hwkit.hashers import native, topology
from hwkit.hashers.kernel import KernelHasher, usable_cpus
from hwkit.hashers.reference import ReferenceKernel
from hwkit.protocols import Basis, HasherSpec
from hwkit.prove import prove
from hwkit.work import Target

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hwkit.plugins import Address
    from hwkit.protocols import Hasher, Kernel

RESOURCE = "cpu"
MOST_THREADS = 4096
# What each compiled kernel needs, in the words of /proc/cpuinfo.
NEEDS = {
    "cpu:sse41": {"sse4_1"},
    "cpu:avx2": {"avx2"},
    "cpu:avx512": {"avx512f"},
    "cpu:shani": {"sha_ni", "sse4_1"},
    "cpu:shani-avx512": {"sha_ni", "avx512f", "avx512vl"},
    "cpu:neon": {"asimd"},
    "cpu:armv8-sha2": {"asimd", "sha2"},
}


def find(address: Address | None) -> Iterator[Hasher | Unavailable]:
    """Yield the processor's hashers; see hwkit.plugins."""
    if address is None:
        yield from _all()
        return
    threads, affinity = _asked(address)
    try:
        hasher = _named(str(address))
    except Unavailable as absent:
        yield absent
        return
    if affinity:
        hasher = hasher.with_affinity(affinity)
    yield hasher.with_threads(threads) if threads else hasher


def _all() -> Iterator[KernelHasher | Unavailable]:
    yield _lift(ReferenceKernel())
    try:
        kernels = native.kernels()
    except NoDriver as absent:
        yield absent
        kernels = []
    for kernel in kernels:
        yield _lift(kernel) if kernel.supported else _unsupported(kernel.name)
    try:
        numba = _numba()
    except NoDriver as absent:
        yield absent
    else:
        yield _lift(numba)


def _named(name: str) -> KernelHasher:
    """Return the hasher at this address. Raises Unavailable, and PlanError for no such name."""
    if name == "cpu:auto":
        return auto()
    if name == "cpu:reference":
        return _lift(ReferenceKernel())
    if name == "cpu:numba":
        return _lift(_numba())
    known = {kernel.name: kernel for kernel in native.kernels()}
    if name not in known:
        names = ", ".join(sorted([*known, "cpu:auto", "cpu:numba", "cpu:reference"]))
        raise PlanError(f"address {name!r}: no such kernel; there are {names}")
    if not known[name].supported:
        raise _unsupported(name)
    return _lift(known[name])


def _asked(address: Address) -> tuple[int | None, tuple[int, ...] | None]:
    """Return the threads and the processors that an address asks for. Raises PlanError."""
    address.allow("threads", "affinity")
    threads, affinity = address.integer("threads"), address.options.get("affinity")
    if threads and threads > MOST_THREADS:
        raise PlanError(f"address {address}: at most {MOST_THREADS} threads, not {threads}")
    return threads, None if affinity is None else topology.affinity(affinity)


def auto() -> KernelHasher:
    """Return the kernel that a short measurement, after proof, finds fastest; it says so.

    Where the system tells of several types of cores, each type is measured on a core of its own,
    and each processor gets a thread with the kernel that won there.
    """
    here = topology.read().among(topology.usable())
    if len(here.types) < 2 or topology.usable() is None:
        [(kernel, rates)] = _fastest(None)
        return _lift(kernel, picked_by="cpu:auto", measured_h_s=rates)
    picks = dict(zip(here.types, _fastest(*(some[0] for some in here.types.values())), strict=True))
    details: dict[str, Any] = {
        "picked_by": "cpu:auto",
        "by_core_type": {
            kind: {"kernel": kernel.name, "measured_h_s": rates}
            for kind, (kernel, rates) in picks.items()
        },
    }
    kernels = {kernel.name: kernel for kernel, _ in picks.values()}
    if len(kernels) == 1:
        return _lift(*kernels.values(), **details)
    suited = {number: picks[kind][0] for kind, some in here.types.items() for number in some}
    spec = HasherSpec("cpu:auto", Basis.COUNTED, RESOURCE, details)
    first, *_ = kernels.values()
    return KernelHasher(first, len(suited), spec, suited=suited).with_affinity(here.spread())


@cache
def _fastest(*processors: int | None) -> list[tuple[Kernel, dict[str, float]]]:
    """Return the fastest proven kernel on each of these processors (None: any), with all rates."""
    proven = [kernel for kernel in contenders() if prove(kernel).passed]
    if not proven:
        raise WrongHash("no kernel of this processor is proven", bytes(80), 0, "FAIL", "PASS")
    found = []
    for processor in processors:
        rates = race(proven) if processor is None else topology.on(processor, lambda: race(proven))
        found.append((max(proven, key=lambda kernel: rates[kernel.name]), rates))
    return found


def contenders() -> list[Kernel]:
    """Return the kernels that cpu:auto chooses from.

    Numba's only where C has no vector code: to load it takes a second, and the C is faster.
    """
    kernels: list[Kernel] = [ReferenceKernel()]
    with suppress(NoDriver):
        kernels += [kernel for kernel in native.kernels() if kernel.supported]
    if all(kernel.lanes == 1 for kernel in kernels):
        with suppress(NoDriver):
            kernels.append(_numba())
    return kernels


def race(kernels: Sequence[Kernel], rounds: int = 5, piece_s: float = 0.01) -> dict[str, float]:
    """Return each kernel's best rate per second of thread CPU time, taking turns."""
    header, target = bytes(80), Target((1 << 220) - 1)
    for kernel in kernels:
        kernel.scan(header, target, range(1))  # what only the first call pays: compiling
    counts = {kernel.name: 1 << 10 for kernel in kernels}
    best = {kernel.name: 0.0 for kernel in kernels}
    for _ in range(rounds):
        for kernel in kernels:
            count = counts[kernel.name]
            began = time.thread_time_ns()
            kernel.scan(header, target, range(count))
            took = max(time.thread_time_ns() - began, 1)
            best[kernel.name] = max(best[kernel.name], count * 1e9 / took)
            counts[kernel.name] = int(best[kernel.name] * piece_s) + 1
    return best


def promised(flags: frozenset[str] | None) -> set[str] | None:
    """Return the compiled kernels that a processor with these flags must offer; None: unknown."""
    if flags is None:
        return None
    return {"cpu:portable"} | {name for name, needs in NEEDS.items() if needs <= flags}


def missing_kernels(flags: frozenset[str] | None) -> set[str]:
    """Return kernels that are promised and not offered: a silent fault of build or dispatch."""
    want = promised(flags)
    if want is None or native.MISSING:
        return set()
    return want - {kernel.name for kernel in native.kernels() if kernel.supported}


def _lift(kernel: Kernel, **details: Any) -> KernelHasher:  # noqa: ANN401 - any JSON value
    if isinstance(kernel, ReferenceKernel):  # holds the interpreter lock: one thread
        return KernelHasher.lift(kernel, RESOURCE, 1, **details)
    return KernelHasher.lift(kernel, RESOURCE, usable_cpus(), **details)


def _numba() -> Kernel:
    """Return the kernel that Numba compiles. Raises NoDriver."""
    try:
        from hwkit.hashers.numba_cpu import NumbaKernel  # noqa: PLC0415 - half a second
    except ModuleNotFoundError as error:
        raise NoDriver("cpu:numba", "it needs numba: pip install 'hwkit[numba]'") from error
    except ImportError as error:  # beside a numpy that it does not know, say
        raise NoDriver("cpu:numba", f"numba does not load: {error}") from error
    return NumbaKernel()


def _unsupported(name: str) -> NoDevice:
    needs = " and ".join(sorted(NEEDS.get(name, ())))
    return NoDevice(name, f"this processor, or its operating system, does not offer {needs}")
