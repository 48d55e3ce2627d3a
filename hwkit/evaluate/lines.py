"""Verdicts line by line: what records say, held against a spec and a protocol's limits.

Blocks decide, and so does a soak as a whole. And each part of it, and what came after a power
cycle, may fail on its own: what a device does between the blocks is what its buyer gets.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hwkit.evaluate.observed import (
    WATCHED,
    availability,
    claim_gap,
    firmware,
    hardware_errors,
    lost,
    refused,
    restarts,
    settings,
    stability,
    temperature,
    untested,
)
from hwkit.evaluate.protocol import BLOCK, POWER_CYCLE, SOAK
from hwkit.evaluate.seen import together
from hwkit.evaluate.spec import EFFICIENCY, HASHRATE, POWER
from hwkit.evaluate.verdicts import Line, Verdict, judge, line, of_many, told
from hwkit.harness.efficiency import TERA, Budget
from hwkit.protocols import Basis

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hwkit.evaluate.protocol import Protocol
    from hwkit.evaluate.seen import Seen
    from hwkit.evaluate.spec import Spec

NEEDED = (HASHRATE, POWER, EFFICIENCY)  # without them nothing passes
FIGURES = {HASHRATE: "hashrate", POWER: "power", EFFICIENCY: "efficiency"}
WORST_FIRST = (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.NOT_TESTED, Verdict.PASS)
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
MORE = "a longer run"


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
    found += _identity(steps)
    if blocks:
        found += [_of_spec(name, spec, protocol, seen) for name in NEEDED]
    else:
        found += [untested(name, why) for name in NEEDED]
    fed = [each for each in long if each.basis is Basis.SHARES]
    gone = lost(steps, long)
    if fed:
        found += [
            claim_gap(fed, limits.claim_gap),
            hardware_errors(fed, limits.hardware_errors),
            *refused(fed, limits.rejects),
            gone or availability(fed, limits.availability, spec.hashrate_h_s),
        ]
    else:
        watched = any(each.basis is Basis.CLAIMED for each in long)
        found += [untested(name, WATCHED) for name in OF_SHARES if watched]
        found += [gone] if gone else []
    found += [stability(long), temperature(long, limits.temperature_c, limits.temperature_u_c)]
    return [*found, *firmware(seen), restarts(long, steps), *settings(seen, steps)]


def _identity(steps: Sequence[dict[str, Any]]) -> list[Line]:
    """Return a line where a machine that told who it is has later kept silent about it."""
    silent = ", ".join(step["name"] for step in steps if step.get("unrecognised"))
    why = f"after {silent} it told neither serial number nor MAC, as it had before"
    decides = "a run in which it always tells who it is"
    return [Line("identity", Verdict.INCONCLUSIVE, why, decides=decides)] if silent else []


def _of_spec(name: str, spec: Spec, protocol: Protocol, seen: Sequence[Seen]) -> Line:
    """Judge TH/s, W or J/TH wherever it was measured, and return the worst."""
    soaks: dict[str, list[Seen]] = {}
    for each in seen:
        if each.kind == SOAK:
            soaks.setdefault(each.step, []).append(each)
    whole = [together(parts) for parts in soaks.values()]
    blocks = [each for each in seen if each.kind == BLOCK]
    parts = [each for each in seen if each.kind in {SOAK, POWER_CYCLE}]
    deciding = [_decided(name, spec, protocol, each) for each in (*blocks, *whole)]
    failed = [_failed(name, spec, protocol, each, len(parts)) for each in parts]
    found = [each for each in (*deciding, *failed) if each is not None]
    first, worst = found[0], min(found, key=_badness)
    others = [f for each in (*blocks, *parts) if (f := each.figure(FIGURES[name]))]
    if worst is not first or worst.figure is None or worst.limit is None:
        return worst
    least = max if worst.limit.most else min
    at = least(others, key=lambda figure: figure.value)
    if str(at) == str(worst.figure):
        return worst
    where = next(e.where for e in (*blocks, *parts) if e.figure(FIGURES[name]) == at)
    tail = f", {worst.limit}"
    return replace(worst, why=worst.why.replace(tail, f", worst in {where}: {at}{tail}", 1))


def _badness(line: Line) -> tuple[int, float]:
    """Order lines, the worst first; of those that fail, by how far."""
    place, figure, limit = WORST_FIRST.index(line.verdict), line.figure, line.limit
    if place or limit is None:
        return place, 0.0
    if figure is None:  # it delivered nothing
        return place, -math.inf
    return place, -figure.value if limit.most else figure.value


def _decided(name: str, spec: Spec, protocol: Protocol, seen: Seen) -> Line | None:
    """Judge a block, or a soak as a whole; None where a soak says nothing of it."""
    figure, limit, block = seen.figure(FIGURES[name]), spec.limits[name], seen.kind == BLOCK
    metered = (seen.document.get("metered") or [{}])[0]
    if seen.basis is Basis.CLAIMED and name != POWER:
        why = f"{figure} by its own word alone: nobody saw these hashes"
        return untested(name, why) if block else None
    if figure is None:
        nothing = _for_nothing(seen, spec) if name == EFFICIENCY else None
        why = "no meter (--meter)" if not seen.document.get("metered") else "not measured"
        return nothing or (untested(name, why) if block else None)
    said = (metered.get(FIGURES[name]) or {}).get("budget") if name != HASHRATE else None
    budget = said and Budget(said["terms"], said["below"], said["above"])
    judged = line(name, figure, limit, seen.time_s, budget)
    if not block:
        judged = replace(judged, why=f"{told(figure)} in {seen.step}, {limit}")
    # What casts doubt on a soak clears nobody: the blocks have decided.
    return (
        _doubted(judged, spec, protocol, seen)
        if block or judged.verdict is Verdict.FAIL
        else judged
    )


def _failed(name: str, spec: Spec, protocol: Protocol, seen: Seen, parts: int) -> Line | None:
    """Return that one of so many parts fails on its own; None where it does not."""
    figure, limit = seen.figure(FIGURES[name]), spec.limits[name]
    if figure is None or (seen.basis is Basis.CLAIMED and name != POWER):
        return _for_nothing(seen, spec) if name == EFFICIENCY else None
    if judge(of_many(figure, parts), limit) is not Verdict.FAIL:
        return None
    why = f"{told(figure)} in {seen.where}, {limit}"
    return _doubted(Line(name, Verdict.FAIL, why, figure, limit), spec, protocol, seen)


def _for_nothing(seen: Seen, spec: Spec) -> Line | None:
    """Judge the joules of one that delivered nothing: of each hash, at least so many."""
    power, rate = seen.figure("power"), seen.figure("hashrate")
    if power is None or rate is None or rate.value or not rate.hi:
        return None
    least, limit = power.lo * TERA / rate.hi, spec.limits[EFFICIENCY]
    verdict = Verdict.FAIL if least > limit.value else Verdict.INCONCLUSIVE
    why = f"{power} in {seen.where} and not a share, {limit}"
    return Line(EFFICIENCY, verdict, why, None, limit, None if least > limit.value else MORE)


def _doubted(judged: Line, spec: Spec, protocol: Protocol, seen: Seen) -> Line:
    """Leave a line open where something casts doubt on its figure."""
    doubt = _outside(protocol.reference, seen)
    if doubt is None and judged.name != HASHRATE:
        doubt = _of_the_meter(spec, seen)
    if doubt is None and seen.kind == POWER_CYCLE and judged.verdict is Verdict.FAIL:
        doubt = "it may still have been tuning", "more time after a power cycle"
    if doubt is None:
        return judged
    why, decides = f"{judged.why}; {doubt[0]}", doubt[1]
    return replace(judged, verdict=Verdict.INCONCLUSIVE, why=why, decides=decides)


def _of_the_meter(spec: Spec, block: Seen) -> tuple[str, str] | None:
    """Say why what the meter reads decides nothing, and what would."""
    meters = block.document.get("meters") or [{"scope": spec.boundary}]
    if (scope := meters[0]["scope"]) != spec.boundary:
        why = f"the meter sees the {scope}, the spec is of the {spec.boundary}"
        return why, f"a meter at the {spec.boundary}"
    return _caveat(block, OF_POWER)


def _outside(reference: dict[str, Any], block: Seen) -> tuple[str, str] | None:
    """Say all that lies outside of what the spec is meant for, and what would decide."""
    found = []
    for name in ("inlet_c", "mains_v"):
        value = _around(block, name)
        if name in reference and value is not None:
            least, most = reference[name]
            if not least <= value <= most:
                found.append(f"{name} {value:g} is outside of {least:g} to {most:g}")
    wanted = reference.get("mode")
    if wanted and block.mode and block.mode.lower() != wanted.lower():
        found.append(f"its mode was {block.mode!r}, the spec is of {wanted!r}")
    if found:
        return "; ".join(found), "a run within the conditions of its spec"
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
