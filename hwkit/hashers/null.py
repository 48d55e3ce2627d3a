"""null: hashes nothing, for testing the harness and what it costs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from hwkit.protocols import Basis, HasherSpec, Progress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from threading import Event

    from hwkit.errors import Unavailable
    from hwkit.plugins import Address
    from hwkit.protocols import Hasher
    from hwkit.work import Job

REPORT_S = 0.05


class NullHasher:
    """Is alive, and that is all."""

    spec = HasherSpec("null", Basis.COUNTED, "null")

    def run(self, job: Job, stop: Event) -> Iterator[Progress]:  # noqa: ARG002
        """Report no hashes, 20 times a second."""
        while not stop.wait(REPORT_S):
            yield Progress(time.monotonic_ns(), hashes=0, busy_ns=0)


def find(address: Address | None) -> Iterator[Hasher | Unavailable]:
    """Yield the null hasher when it is asked for by name."""
    if address is not None:
        address.allow()
        yield NullHasher()
