"""Lines that need no nameplate: what a device delivers beside its rate, and how it keeps up."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from hwkit.evaluate.protocol import BLOCK, POWER_CYCLE, SET, SOAK
from hwkit.evaluate.verdicts import Limit, Line, Verdict, counted, judge, line, of_many
from hwkit.harness.chance import UNLIKELY
from hwkit.harness.efficiency import HASHES_PER_DIFFICULTY
from hwkit.protocols import Basis
from hwkit.units import Figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hwkit.evaluate.seen import Seen

UNSTEADY = {"NotSteady", "Throttled", "Flatline", "Dispersed"}
FIGURES = ("hashrate", "power", "efficiency")
APART = 0.02  # of the rate: two parts nearer to each other are of one miner
WATCHED = "it was only watched: no share was seen"


def claim_gap(fed: Sequence[Seen], most: float) -> Line:
    """Judge what it claims over what it delivers: where that is known best, and where it fails."""
    limit = Limit(most, "", most=True, source="protocol")
    for each in fed:
        for caveat in each.document["caveats"]:
            if caveat["caveat"] == "NothingDelivered":
                why = f"{caveat['finding']} in {each.where}"
                return Line("claim gap", Verdict.FAIL, why, limit=limit)
    known = [(gap, each) for each in fed if (gap := each.figure("claim_gap"))]
    if not known:
        return untested("claim gap", "it claims no rate")
    figure, seen = max(known, key=lambda each: each[0].value)
    if judge(of_many(figure, len(known)), limit) is not Verdict.FAIL:
        figure, seen = min(known, key=lambda each: each[0].U)
    verdict = judge(figure, limit)
    decides = None
    if verdict is Verdict.INCONCLUSIVE:
        rate = Figure(1 + figure.value, 1 + figure.lo, 1 + figure.hi, "")
        decides = line("", rate, replace(limit, value=1 + most), seen.time_s).decides
    why = f"claims {100 * figure.value:+.1f} % ({100 * figure.lo:+.1f} to {100 * figure.hi:+.1f} %)"
    why += f" in {seen.where}" if len(known) > 1 else ""
    said = {c["finding"] for each in fed for c in each.document["caveats"] if _is_of_another(c)}
    if verdict is not Verdict.FAIL and said:
        why, verdict = f"{why}; {min(said)}", Verdict.INCONCLUSIVE
        decides = "a firmware that names one rate"
    return Line("claim gap", verdict, f"{why}, {limit}", figure, limit, decides)


def _is_of_another(caveat: Mapping[str, str]) -> bool:
    """Is it of another rate that the miner names than the one its gap is figured of?"""
    return caveat["caveat"] == "ClaimGap" and ", by " in caveat["finding"]


def hardware_errors(fed: Sequence[Seen], most: float) -> Line:
    """Judge its own count of bad nonces."""
    counters = [each.told.get("counters") or {} for each in fed]
    if not all("hardware_errors" in each for each in counters):
        return untested("hardware errors", "it does not count them")
    errors = round(sum(each["hardware_errors"] for each in counters))
    # It finds a nonce for each difficulty-1 work, or for each share where those are easier.
    work = sum(each.told["work"]["hashes"] for each in fed) / HASHES_PER_DIFFICULTY
    nonces = errors + max(work, sum(each.told["shares"] for each in fed))
    if not nonces:
        return untested("hardware errors", "it delivered nothing")
    limit = Limit(most, "", most=True, source="protocol")
    time_s = sum(each.time_s for each in fed)
    return counted("hardware errors", errors, nonces, limit, measured_s=time_s, what="nonces")


def refused(fed: Sequence[Seen], most: float) -> list[Line]:
    """Judge what our pool refused; a share that comes twice is never right."""
    refused = [each.told.get("refused") or {} for each in fed]
    count = sum(sum(each.values()) for each in refused)
    came = count + sum(each.told.get("shares", 0) for each in fed)
    if not came:
        return [untested("rejects", "no share came")]
    limit = Limit(most, "", most=True, source="protocol")
    time_s = sum(each.time_s for each in fed)
    twice = sum(each.get("duplicate", 0) for each in refused)
    again = Line(
        "duplicates",
        Verdict.FAIL if twice else Verdict.PASS,
        f"{twice} of {came:,} shares came twice, none may",
    )
    return [counted("rejects", count, came, limit, measured_s=time_s, what="shares"), again]


def availability(fed: Sequence[Seen], least: float, due_h_s: float) -> Line:
    """Judge the time that it delivered in; of a part without a share, against the rate due."""
    time_s = sum(each.time_s for each in fed)
    known = [gaps for each in fed if (gaps := each.told.get("gaps"))]
    without = [each for each in fed if not each.told.get("gaps")]
    dead = [each for each in without if _due(each, due_h_s) > -math.log(UNLIKELY)]
    silent = sum(each["silent_s"] for each in known) + sum(each.time_s for each in dead)
    # What is shorter than the longest gap that chance makes cannot be told from chance.
    unseen = max((each["longest_s"] for each in known if not each["silent_s"]), default=0.0)
    unseen += sum(each.time_s for each in without) - sum(each.time_s for each in dead)
    part = silent / time_s
    figure = Figure(1 - part, max(1 - part - unseen / time_s, 0.0), 1 - part, "")
    limit = Limit(least, "", most=False, source="protocol")
    verdict = judge(figure, limit)
    said = f"{100 * figure.value:.4g} % of {time_s:,.0f} s (at least {100 * figure.lo:.4g} %)"
    if dead:
        said += f", nothing in {', '.join(each.where for each in dead)}"
    decides = "a longer soak" if verdict is Verdict.INCONCLUSIVE else None
    return Line("availability", verdict, f"{said}, {limit}", figure, limit, decides)


def _due(seen: Seen, due_h_s: float) -> float:
    """Return how many shares it should have brought; without a job that is not known to be few."""
    work = float((seen.told.get("work") or {}).get("largest", 0.0))
    return due_h_s * seen.time_s / work if work else math.inf


def lost(steps: Sequence[dict[str, Any]], long: Sequence[Seen]) -> Line | None:
    """Judge a device that worked, and failed in a later step; None where none did."""
    gone = [step for step in steps if step.get("lost") and step["kind"] in {BLOCK, SOAK}]
    if not gone or not long:
        return None
    return Line("availability", Verdict.FAIL, f"it was lost in {gone[0]['name']}: {gone[0]['why']}")


def firmware(seen: Sequence[Seen]) -> list[Line]:
    """Tell of a firmware that became another: figures of two are of no device that is sold."""
    names = list(dict.fromkeys(each.firmware for each in seen if each.firmware))
    if len(names) < 2:
        return []
    first = next(each.where for each in seen if each.firmware == names[1])
    why = f"{' became '.join(names)}, from {first} on"
    decides = "an evaluation with one firmware"
    return [Line("firmware", Verdict.INCONCLUSIVE, why, decides=decides)]


def stability(long: Sequence[Seen]) -> Line:
    """Hold what the dispersion test and its fellows found against chance, parts against others."""
    if not long:
        return untested("stability", "nothing was measured")
    caveats = [c for each in long for c in each.document["caveats"] if c["caveat"] in UNSTEADY]
    said = sorted({f"{c['caveat']}: {c['finding']}" for c in caveats})
    # What it only claims has no uncertainty, and is nobody's measurement.
    if said := said + _apart([each for each in long if each.basis is not Basis.CLAIMED]):
        return Line("stability", Verdict.FAIL, "; ".join(said))
    if any(c["caveat"] == "NotSettled" for each in long for c in each.document["caveats"]):
        why = "power or temperature had not settled when the longest warm-up ended"
        return Line("stability", Verdict.INCONCLUSIVE, why, decides="a longer warm-up")
    if all(each.basis is Basis.COUNTED for each in long):
        return Line("stability", Verdict.PASS, "no drift, no throttling beyond what windows spread")
    if any(each.basis is Basis.CLAIMED for each in long):
        return untested("stability", WATCHED)
    return _dispersion(long)


def _apart(long: Sequence[Seen]) -> list[str]:
    """Say which two parts differ most in their rates, where it is by more than chance."""
    rates = [(each.figure("hashrate"), each.where) for each in long]
    known = [(rate, where) for rate, where in rates if rate and rate.value]
    pairs = list(combinations(known, 2))
    found = []
    for (a, here), (b, there) in pairs:
        slower, faster = sorted((a, b), key=lambda each: each.value)
        low, high = math.log(slower.hi / slower.value), math.log(faster.value / faster.lo)
        gap = math.log(faster.value / slower.value)
        u = math.hypot(low, high) / NormalDist().inv_cdf(0.975)
        far = NormalDist().inv_cdf(1 - UNLIKELY / 2 / len(pairs))
        if gap > max(APART, far * u):
            found.append((gap, f"{a} in {here}, {b} in {there}"))
    return [max(found)[1]] if found else []


def _dispersion(long: Sequence[Seen]) -> Line:
    tests = [each.told.get("dispersion") for each in long]
    known = [each for each in tests if each]
    if not known:
        why = "too few shares for a dispersion test"
        return Line("stability", Verdict.INCONCLUSIVE, why, decides="a longer run, or a soak")
    worst = min(known, key=lambda each: each["p"])
    index = f"index of dispersion {worst['index']:.3g} of {worst['slices']} slices"
    return Line("stability", Verdict.PASS, f"{index}, p {worst['p']:.2g} (FAIL below {UNLIKELY:g})")


def temperature(long: Sequence[Seen], most: float, U: float) -> Line:  # noqa: N803
    """Judge its hottest sensor, which nobody vouches for."""
    known = [each.temperature_c for each in long if each.temperature_c is not None]
    if not known:
        return untested("temperature", "it tells none")
    figure = Figure(max(known), max(known) - U, max(known) + U, "°C")
    limit = Limit(most, "°C", most=True, source="protocol")
    verdict = judge(figure, limit)
    decides = "a thermometer on it" if verdict is Verdict.INCONCLUSIVE else None
    why = f"{max(known):.1f} °C at most by its own sensors, which may be off by {U:g} K, {limit}"
    return Line("temperature", verdict, why, figure, limit, decides)


def restarts(long: Sequence[Seen], steps: Sequence[dict[str, Any]]) -> Line:
    """Judge how it came back from each power cycle, and whether it restarted unasked."""
    known = [each.reboots for each in long if each.reboots is not None]
    if sum(known):
        return Line("restarts", Verdict.FAIL, f"{sum(known)} unasked while it was measured")
    cycled = [step for step in steps if step["kind"] == POWER_CYCLE]
    cycles = [cycle for step in cycled for cycle in step.get("cycles", [])]
    unasked = "none unasked" if known else "it tells no uptime"
    if not cycles:
        whys = "; ".join(step["why"] for step in cycled if step["why"])
        return untested("restarts", f"{unasked}; {whys or 'no power cycle is in the protocol'}")
    bad = [cycle for cycle in cycles if cycle["back_s"] is None or cycle["changed"]]
    for cycle in bad:
        if cycle["changed"]:
            return Line("restarts", Verdict.FAIL, f"it came back set otherwise: {cycle['changed']}")
    if bad and all(cycle.get("no_rate") for cycle in bad):
        return untested("restarts", f"{unasked}; it came back, but claims no rate to be back at")
    if bad:
        why = f"{len(bad)} of {len(cycles)} times it was not back at 90 % of its rate in time"
        return Line("restarts", Verdict.FAIL, why)
    slowest = max(cycle["back_s"] for cycle in cycles)
    why = f"{len(cycles)} of {len(cycles)} times back at 90 % within {slowest:.0f} s; {unasked}"
    return Line("restarts", Verdict.PASS, why)


def settings(seen: Sequence[Seen], steps: Sequence[dict[str, Any]]) -> list[Line]:
    """Tell which setting does best; no spec says what it should do in each."""
    found = []
    for step in (each for each in steps if each["kind"] in SET):
        if step["state"] == "not-tested":
            found.append(untested(step["name"], step["why"]))
            continue
        rows = by_setting(seen, [step])
        known = [row for row in rows if row["efficiency"] is not None]
        best = min(known, key=lambda row: float(row["efficiency"]["value"]), default=None)
        told = [f"{len(rows)} measured"]
        if best is not None:
            figure = Figure.from_json(best["efficiency"])
            others = [Figure.from_json(row["efficiency"]) for row in known if row is not best]
            told_apart = all(figure.hi < other.lo for other in others)
            least = "is least" if told_apart else "seems least, not told apart,"
            told.append(f"J/TH {least} at {best['setting']}: {figure}")
        told += [f"{value} not: {why}" for value, why in step.get("refused", {}).items()]
        if step.get("left"):
            told.append(f"at its end it was not put back: {step['left']}")
        found.append(Line(step["name"], Verdict.PASS, "; ".join(told)))
    return found


def by_setting(seen: Sequence[Seen], steps: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a row for each setting that was measured: its rate, power and J/TH, as JSON."""
    by_id = {each.document["id"]: each for each in seen}
    return [
        {"step": step["name"], "setting": value, "record": record}
        | {name: by_id[record].document["figures"].get(name) for name in FIGURES}
        for step in steps
        if step["kind"] in SET
        for value, record in step.get("values", {}).items()
        if record in by_id
    ]


def untested(name: str, why: str) -> Line:
    """Return a line that could not be looked at, and why."""
    return Line(name, Verdict.NOT_TESTED, why)
