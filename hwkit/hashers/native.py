"""The C extension: its scans as kernels, its SHA-256, and a clock made of multiplications."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hwkit.errors import NoDevice, NoDriver, PlanError
from hwkit.protocols import Hit
from hwkit.work import NONCES, VERSION_GROUP

try:
    from hwkit.hashers import _native
except ImportError:  # built where there was no compiler: everything else still works
    MISSING: str | None = (
        "the C extension was not built; install a C compiler and python3-dev, then hwkit again"
    )
else:
    MISSING = None

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hwkit.work import Target

PIECE = 1 << 20  # hashes in one call into C: none is longer than what a proof asks


class NativeKernel:
    """A scan compiled from csrc/; releases the interpreter lock while it works."""

    capacity = 1024

    def __init__(self, entry: Any) -> None:  # noqa: ANN401 - cffi's struct pointer
        """Wrap one entry of the C table."""
        self._entry = entry
        self.name = f"cpu:{_native.ffi.string(entry.name).decode()}"
        self.lanes = int(entry.lanes)
        self.supported = bool(entry.supported)

    def scan(
        self, header: bytes, target: Target, nonces: range, versions: Sequence[int] = ()
    ) -> Sequence[Hit]:
        """Return all hits; see Kernel.scan."""
        check_question(header, nonces, versions)
        if not versions:
            version = int.from_bytes(header[:4], "little")
            return [Hit(nonce, version) for nonce in self._scan(header, target, nonces)]
        found = [
            (nonce, first + place)
            for first in range(0, len(versions), VERSION_GROUP)
            for nonce, place in self._scan_versions(
                header, target, nonces, list(versions[first : first + VERSION_GROUP])
            )
        ]
        return [Hit(nonce, versions[place]) for nonce, place in sorted(found)]

    def _scan(self, header: bytes, target: Target, nonces: range) -> list[int]:
        hits = _native.ffi.new("uint32_t[]", self.capacity)
        found = _native.ffi.new("uint32_t *")
        limit = target.to_bytes()
        all_hits: list[int] = []

        def ask(first: int, count: int) -> int:
            done = _native.lib.hwk_scan(
                self._entry, header, limit, first, count, hits, self.capacity, found
            )
            all_hits.extend(hits[0 : found[0]])
            return done

        self._ask_for_all(nonces, PIECE, ask)
        return all_hits

    def _scan_versions(
        self, header: bytes, target: Target, nonces: range, versions: list[int]
    ) -> list[tuple[int, int]]:
        """Return the hits of at most 16 versions: the nonce, and the version's place."""
        hits = _native.ffi.new("uint32_t[]", self.capacity)
        places = _native.ffi.new("uint8_t[]", self.capacity)
        found = _native.ffi.new("uint32_t *")
        limit = target.to_bytes()
        all_hits: list[tuple[int, int]] = []

        def ask(first: int, count: int) -> int:
            done = _native.lib.hwk_scan_versions(
                self._entry,
                header,
                limit,
                versions,
                len(versions),
                first,
                count,
                hits,
                places,
                self.capacity,
                found,
            )
            all_hits.extend(zip(hits[0 : found[0]], places[0 : found[0]], strict=True))
            return done

        self._ask_for_all(nonces, PIECE // len(versions), ask)
        return all_hits

    def _ask_for_all(self, nonces: range, piece: int, ask: Callable[[int, int], int]) -> None:
        """Ask piece by piece, and again from where a call has ended early."""
        first = nonces.start
        while first < nonces.stop:
            done = ask(first, min(nonces.stop - first, piece))
            if done < 0:
                raise NoDevice(self.name, "this processor does not run it")
            first += done


def kernels() -> list[NativeKernel]:
    """Return every kernel that was compiled in, supported here or not. Raises NoDriver."""
    if MISSING:
        raise NoDriver("cpu", MISSING)
    count = _native.ffi.new("uint32_t *")
    table = _native.lib.hwk_kernels(count)
    return [NativeKernel(table + n) for n in range(count[0])]


def check_question(header: bytes, nonces: range, versions: Sequence[int]) -> None:
    """Raise PlanError for what no kernel takes: no header, no stretch of nonces, no version."""
    if len(header) != 80:
        raise PlanError(f"a header is 80 bytes, not {len(header)}")
    if nonces.step != 1 or nonces.start < 0 or nonces.stop > NONCES:
        raise PlanError(f"{nonces} is not a stretch of the 32-bit nonce space")
    for version in versions:
        if not 0 <= version < 1 << 32:
            raise PlanError(f"version {version} is not a 32-bit number")


def sha256(message: bytes) -> bytes:
    """Return SHA-256 by the C that checks the scans' hits. Raises NoDriver."""
    if MISSING:
        raise NoDriver("cpu", MISSING)
    digest = _native.ffi.new("uint8_t[]", 32)
    _native.lib.hwk_sha256(message, len(message), digest)
    return bytes(digest)


def compiler() -> str | None:
    """Name the compiler that built the extension; None without one."""
    return None if MISSING else _native.ffi.string(_native.lib.hwk_compiler()).decode().strip()


def clock_hz(probes: int = 8, steps: int = 20_000) -> float | None:
    """Measure the clock of the core that this thread is on; None where it cannot be.

    A chain of dependent multiplications of known latency, timed by thread CPU time; the fastest of
    a few probes, since all that can disturb one makes it slower. Takes about 0.2 ms.
    """
    if MISSING or not _native.lib.hwk_multiply_latency():
        return None
    cycles = steps * _native.lib.hwk_multiply_latency()
    best = 0.0
    for _ in range(probes):
        took = _native.lib.hwk_multiply_chain_ns(steps)
        if took > 0:
            best = max(best, cycles * 1e9 / took)
    return best or None
