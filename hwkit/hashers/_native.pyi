"""The C extension as cffi binds it (csrc/api.cdef.h)."""

from typing import Any, Protocol

class _Lib(Protocol):
    def hwk_kernels(self, count: Any, /) -> Any: ...
    def hwk_scan(
        self,
        kernel: Any,
        header: bytes,
        target: bytes,
        first: int,
        count: int,
        hits: Any,
        capacity: int,
        found: Any,
        /,
    ) -> int: ...
    def hwk_scan_versions(
        self,
        kernel: Any,
        header: bytes,
        target: bytes,
        versions: Any,
        n_versions: int,
        first: int,
        count: int,
        nonces: Any,
        places: Any,
        capacity: int,
        found: Any,
        /,
    ) -> int: ...
    def hwk_sha256(self, message: bytes, length: int, digest: Any, /) -> None: ...
    def hwk_multiply_chain_ns(self, steps: int, /) -> int: ...
    def hwk_multiply_latency(self) -> int: ...
    def hwk_compiler(self) -> Any: ...

class _FFI(Protocol):
    def new(self, what: str, length: int = ..., /) -> Any: ...
    def string(self, what: Any, /) -> bytes: ...

ffi: _FFI
lib: _Lib
