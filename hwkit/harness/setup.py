"""How the devices of a session stand: what sees each of them, and what is around them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hwkit.harness.surroundings import Surroundings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hwkit.harness.wiring import Wiring


@dataclass(frozen=True, slots=True)
class Setup:
    """Wiring of each hasher, surroundings of all."""

    wirings: Sequence[Wiring] | None = None  # None: every meter sees each of them
    surroundings: Surroundings = field(default_factory=Surroundings)
    confirmed: bool = False  # readings that cannot be are meant so
