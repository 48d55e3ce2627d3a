"""Verdicts line by line: what records say, held against a spec and a protocol's limits."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hwkit.evaluate.observed import (
    WATCHED,
    availability,
    claim_gap,
    hardware_errors,
    refused,
    restarts,
    settings,
    stability,
    temperature,
    untested,
)
from hwkit.evaluate.protocol import BLOCK, SOAK
from hwkit.evaluate.spec import EFFICIENCY, HASHRATE, POWER
from hwkit.evaluate.verdicts import Line, Verdict, line
from hwkit.harness.efficiency import Budget
from hwkit.protocols import Basis

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hwkit.evaluate.protocol import Protocol
    from hwkit.evaluate.seen import Seen
    from hwkit.evaluate.spec import Spec

NEEDED = (HASHRATE, POWER, EFFICIENCY)  # without them nothing passes
OF_SHARES = ("claim gap", "hardware errors", "rejects", "duplicates", "availability")
# Caveats that leave a figure open, and what would settle it.
DOUBTED = {
    "SettingsChanged": ("it was set otherwise while it was measured", "a run at one setting"),
    "DeviceFloor": ("its rate may be undercounted: it keeps easy shares back", "a harder share"),
    "UnlikelyShares": ("somebody chose among its shares", "a run without a proxy"),
}
OF_POWER = {
    "ClaimedEnergy": ("power is by its own or its maker's word", "a meter of its own"),
    "UncheckedMeter": ("nobody vouches for the meter", "a meter of a known class (?class=1)"),
    "Implausible": ("readings that cannot be", "a look at wiring and scale"),
}
VOID = {"void", "unproven"}


def lines_of(
    spec: Spec,
    protocol: Protocol,
    seen: Sequence[Seen],
    steps: Sequence[dict[str, Any]],
    wrong: str | None = None,
) -> list[Line]:
    """Return every line; `steps` as an evaluation has them, `wrong` a hash that was none."""
    seen = [each for each in seen if each.document["state"] not in VOID]
    blocks = [each for each in seen if each.kind == BLOCK]
    long = [each for each in seen if each.kind in {BLOCK, SOAK} and each.time_s]
    why = "; ".join(f"{s['name']}: {s['why']}" for s in steps if s["kind"] == BLOCK) or "none"
    limits = protocol.limits
    found = [Line("hashes", Verdict.FAIL, wrong)] if wrong else []
    if blocks:
        found += _of_spec(spec, protocol, blocks[-1])
    else:
        found += [untested(name, why) for name in NEEDED]
    fed = [each for each in long if each.basis is Basis.SHARES]
    if fed:
        found += [
            claim_gap(fed[-1], limits.claim_gap),
            hardware_errors(fed, limits.hardware_errors),
            *refused(fed, limits.rejects),
            availability(fed, limits.availability),
        ]
    elif any(each.basis is Basis.CLAIMED for each in long):
        found += [untested(name, WATCHED) for name in OF_SHARES]
    found += [stability(long), temperature(long, limits.temperature_c, limits.temperature_u_c)]
    return [*found, restarts(long, steps), *settings(seen, steps)]


def _of_spec(spec: Spec, protocol: Protocol, block: Seen) -> list[Line]:
    """Judge TH/s, W and J/TH, each as a line of its own."""
    metered = (block.document.get("metered") or [{}])[0]
    figures = {HASHRATE: "hashrate", POWER: "power", EFFICIENCY: "efficiency"}
    outside = _outside(protocol.reference, block)
    found = []
    for name, of in figures.items():
        figure, limit = block.figure(of), spec.limits[name]
        if figure is None:
            found.append(untested(name, "no meter (--meter)" if not metered else "not measured"))
            continue
        if block.basis is Basis.CLAIMED and name != POWER:
            why = f"{figure} by its own word alone: nobody saw these hashes"
            found.append(untested(name, why))
            continue
        said = (metered.get(of) or {}).get("budget") if name != HASHRATE else None
        budget = said and Budget(said["terms"], said["below"], said["above"])
        judged = line(name, figure, limit, block.time_s, budget)
        doubt = outside or (None if name == HASHRATE else _of_the_meter(spec, block))
        if doubt:
            why, decides = f"{judged.why}; {doubt[0]}", doubt[1]
            judged = replace(judged, verdict=Verdict.INCONCLUSIVE, why=why, decides=decides)
        found.append(judged)
    return found


def _of_the_meter(spec: Spec, block: Seen) -> tuple[str, str] | None:
    """Say why what the meter reads decides nothing, and what would."""
    meters = block.document.get("meters") or [{"scope": spec.boundary}]
    if (scope := meters[0]["scope"]) != spec.boundary:
        why = f"the meter sees the {scope}, the spec is of the {spec.boundary}"
        return why, f"a meter at the {spec.boundary}"
    return _caveat(block, OF_POWER)


def _outside(reference: dict[str, Any], block: Seen) -> tuple[str, str] | None:
    """Say what lies outside of that which the spec is meant for, and what would decide."""
    within = "a run within the conditions of its spec"
    for name in ("inlet_c", "mains_v"):
        value = _around(block, name)
        if name in reference and value is not None:
            least, most = reference[name]
            if not least <= value <= most:
                return f"{name} {value:g} is outside of {least:g} to {most:g}", within
    wanted = reference.get("mode")
    if wanted and block.mode and block.mode.lower() != wanted.lower():
        return f"its mode was {block.mode!r}, the spec is of {wanted!r}", within
    return _caveat(block, DOUBTED)


def _caveat(block: Seen, known: Mapping[str, tuple[str, str]]) -> tuple[str, str] | None:
    kinds = {each["caveat"] for each in block.document["caveats"]}
    return next((said for kind, said in known.items() if kind in kinds), None)


def unknown(reference: dict[str, Any], block: Seen) -> list[str]:
    """Return the reference conditions of which nothing is known."""
    known = {name: _around(block, name) for name in reference} | {"mode": block.mode}
    return [name for name in reference if known[name] is None]


def _around(block: Seen, name: str) -> float | None:
    """Return what a condition was, as it was sampled or typed."""
    sampled = (block.document.get("surroundings") or {}).get(name) or {}
    typed = (block.document.get("conditions") or {}).get(name)
    value: float | None = sampled.get("median", typed)
    return value
