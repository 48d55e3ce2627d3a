"""What the machine and the card did to a measurement beside its windows, as caveats."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hwkit.harness import caveats
from hwkit.hashers.probes import THROTTLING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hwkit.harness.caveats import Caveat
    from hwkit.protocols import Probe


def held_back(probes: Sequence[Probe]) -> list[Caveat]:
    """Say how often a card told that something held it below the clock that it was set to."""
    looks = [THROTTLING & set(probe.words) for probe in probes if probe.name == "slowed_by"]
    slowed = [reasons for reasons in looks if reasons]
    if not slowed:
        return []
    reasons = sorted(set().union(*slowed))
    return [caveats.HeldBack(len(slowed) / len(looks), ", ".join(reasons))]


def of_the_place(
    at_once: int | None,
    cores: int | None,
    core_types: Sequence[str] | None,
    quota: float | None,
) -> list[Caveat]:
    """Say what the threads had to share, where that is told."""
    found: list[Caveat] = []
    if at_once and cores and at_once > cores:
        found.append(caveats.SharedCores(at_once, cores))
    if core_types and len(core_types) > 1:
        found.append(caveats.MixedCores(" and ".join(core_types)))
    if at_once and quota and quota < at_once:
        found.append(caveats.Quota(quota, at_once))
    return found
