"""Verdicts line by line: what records say, held against a spec and a protocol's limits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from hwkit.evaluate.protocol import BLOCK, POWER_CYCLE, SETTING, SOAK
from hwkit.evaluate.spec import EFFICIENCY, HASHRATE, POWER
from hwkit.evaluate.verdicts import Limit, Line, Verdict, counted, judge, line
from hwkit.harness.chance import UNLIKELY
from hwkit.harness.efficiency import HASHES_PER_DIFFICULTY, Budget
from hwkit.protocols import Basis
from hwkit.units import Figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hwkit.evaluate.protocol import Protocol
    from hwkit.evaluate.spec import Spec
    from hwkit.records.record import Record

NEEDED = (HASHRATE, POWER, EFFICIENCY)  # without them nothing passes
OF_SHARES = ("claim gap", "hardware errors", "rejects", "duplicates", "availability")
UNSTEADY = {"NotSteady", "Throttled", "Flatline", "Dispersed"}
DOUBTED = {"SettingsChanged": "it was set otherwise while it was measured"}
READ_TWICE_S = 5.0  # an uptime counts whole seconds, and is some time on its way


@dataclass(frozen=True, slots=True)
class Seen:
    """A record, and the step that it is of."""

    kind: str
    document: dict[str, Any]
    temperature_c: float | None = None  # the hottest
    reboots: int | None = None  # while it was measured; None: it tells no uptime
    mode: str | None = None

    @classmethod
    def of(cls, kind: str, record: Record) -> Seen:
        """Take from a record's rows what its document does not sum up."""
        windows = list(record.read("windows"))
        opened = windows[0].opened if windows else 0
        hottest: list[float] = []
        uptimes: list[tuple[int, float]] = []
        mode = None
        for probe in record.read("probes"):
            if probe.name == "mode":
                mode = " ".join(probe.words) or None
            if probe.value is None or probe.at < opened:
                continue
            if probe.name == "temperature_c":
                hottest.append(probe.value)
            elif probe.name == "elapsed_s":
                uptimes.append((probe.at, probe.value))
        falls = [b[1] < a[1] - READ_TWICE_S for a, b in pairwise(uptimes)]
        reboots = sum(falls) if falls else None
        return cls(kind, record.document, max(hottest, default=None), reboots, mode)

    @property
    def time_s(self) -> float:
        """How long it was measured."""
        return float(self.document["counts"]["wall_ns"]) / 1e9

    @property
    def told(self) -> dict[str, Any]:
        """What a miner has shown and told."""
        return dict(self.document.get("delivered") or {})

    @property
    def basis(self) -> Basis:
        """What its hashes stand on."""
        return Basis(self.document["device"]["basis"])

    def figure(self, name: str) -> Figure | None:
        """Return one of its figures."""
        found = self.document["figures"].get(name)
        return found and Figure.from_json(found)


def lines_of(
    spec: Spec,
    protocol: Protocol,
    seen: Sequence[Seen],
    steps: Sequence[dict[str, Any]],
    wrong: str | None = None,
) -> list[Line]:
    """Return every line; `steps` as an evaluation has them, `wrong` a hash that was none."""
    blocks = [each for each in seen if each.kind == BLOCK]
    long = [each for each in seen if each.kind in {BLOCK, SOAK} and each.time_s]
    untested = "; ".join(f"{s['name']}: {s['why']}" for s in steps if s["kind"] == BLOCK) or "none"
    limits = protocol.limits
    found = [Line("hashes", Verdict.FAIL, wrong)] if wrong else []
    if blocks:
        found += _of_spec(spec, protocol, blocks[-1])
    else:
        found += [_untested(name, untested) for name in NEEDED]
    fed = [each for each in long if each.basis is Basis.SHARES]
    if fed:
        found += [
            _claim_gap(fed[-1], limits.claim_gap),
            _hardware_errors(fed, limits.hardware_errors),
            *_refused(fed, limits.rejects),
            _availability(fed, limits.availability),
        ]
    elif any(each.basis is Basis.CLAIMED for each in long):
        found += [_untested(name, "it was only watched: no share was seen") for name in OF_SHARES]
    found += [_stability(long), _temperature(long, limits.temperature_c, limits.temperature_u_c)]
    return [*found, _restarts(long, steps), *_settings(seen, steps)]


def _of_spec(spec: Spec, protocol: Protocol, block: Seen) -> list[Line]:
    """Judge TH/s, W and J/TH, each as a line of its own."""
    metered = (block.document.get("metered") or [{}])[0]
    figures = {HASHRATE: "hashrate", POWER: "power", EFFICIENCY: "efficiency"}
    outside = _outside(protocol.reference, block)
    found = []
    for name, of in figures.items():
        figure, limit = block.figure(of), spec.limits[name]
        if figure is None:
            found.append(_untested(name, "no meter (--meter)" if not metered else "not measured"))
            continue
        if block.basis is Basis.CLAIMED and name != POWER:
            why = f"{figure} by its own word alone: nobody saw these hashes"
            found.append(_untested(name, why))
            continue
        said = (metered.get(of) or {}).get("budget") if name != HASHRATE else None
        budget = said and Budget(said["terms"], said["below"], said["above"])
        judged = line(name, figure, limit, block.time_s, budget)
        why_not = outside or (None if name == HASHRATE else _scope(spec, block))
        if why_not:
            decides = "a run within the conditions of its spec" if outside else "a meter there"
            judged = replace(
                judged,
                verdict=Verdict.INCONCLUSIVE,
                why=f"{judged.why}; {why_not}",
                decides=decides,
            )
        found.append(judged)
    return found


def _scope(spec: Spec, block: Seen) -> str | None:
    """Say where the meter sees something else than the nameplate speaks of, or is nobody's."""
    meters = block.document.get("meters") or [{"scope": spec.boundary}]
    if meters[0]["scope"] != spec.boundary:
        return f"the meter sees the {meters[0]['scope']}, the spec is of the {spec.boundary}"
    if (block.document.get("metered") or [{}])[0].get("unchecked"):
        return "nobody vouches for the meter (?class=1)"
    return None


def _outside(reference: dict[str, Any], block: Seen) -> str | None:
    """Say which condition lies outside of those that the spec is meant for."""
    for name in ("inlet_c", "mains_v"):
        value = _around(block, name)
        if name in reference and value is not None:
            least, most = reference[name]
            if not least <= value <= most:
                return f"{name} {value:g} is outside of {least:g} to {most:g}"
    wanted = reference.get("mode")
    if wanted and block.mode and block.mode.lower() != wanted.lower():
        return f"its mode was {block.mode!r}, the spec is of {wanted!r}"
    kinds = {each["caveat"] for each in block.document["caveats"]}
    return next((why for kind, why in DOUBTED.items() if kind in kinds), None)


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


def _claim_gap(seen: Seen, most: float) -> Line:
    figure = seen.figure("claim_gap")
    limit = Limit(most, "", most=True, source="protocol")
    if figure is None:
        return _untested("claim gap", "it claims no rate, or delivered nothing")
    verdict = judge(figure, limit)
    decides = None
    if verdict is Verdict.INCONCLUSIVE:
        rate = Figure(1 + figure.value, 1 + figure.lo, 1 + figure.hi, "")
        decides = line("", rate, replace(limit, value=1 + most), seen.time_s).decides
    why = f"claims {100 * figure.value:+.1f} % ({100 * figure.lo:+.1f} to {100 * figure.hi:+.1f} %)"
    return Line("claim gap", verdict, f"{why}, {limit}", figure, limit, decides)


def _hardware_errors(fed: Sequence[Seen], most: float) -> Line:
    counters = [each.told.get("counters") or {} for each in fed]
    if not all("hardware_errors" in each for each in counters):
        return _untested("hardware errors", "it does not count them")
    errors = round(sum(each["hardware_errors"] for each in counters))
    # It finds a nonce for each difficulty-1 work, or for each share where those are easier.
    work = sum(each.told["work"]["hashes"] for each in fed) / HASHES_PER_DIFFICULTY
    nonces = errors + max(work, sum(each.told["shares"] for each in fed))
    if not nonces:
        return _untested("hardware errors", "it delivered nothing")
    limit = Limit(most, "", most=True, source="protocol")
    time_s = sum(each.time_s for each in fed)
    return counted("hardware errors", errors, nonces, limit, measured_s=time_s, what="nonces")


def _refused(fed: Sequence[Seen], most: float) -> list[Line]:
    refused = [each.told.get("refused") or {} for each in fed]
    count = sum(sum(each.values()) for each in refused)
    came = count + sum(each.told.get("shares", 0) for each in fed)
    if not came:
        return [_untested("rejects", "no share came")]
    limit = Limit(most, "", most=True, source="protocol")
    time_s = sum(each.time_s for each in fed)
    twice = sum(each.get("duplicate", 0) for each in refused)
    again = Line(
        "duplicates",
        Verdict.FAIL if twice else Verdict.PASS,
        f"{twice} of {came:,} shares came twice, none may",
    )
    return [counted("rejects", count, came, limit, measured_s=time_s, what="shares"), again]


def _availability(fed: Sequence[Seen], least: float) -> Line:
    time_s = sum(each.time_s for each in fed)
    gaps = [each.told.get("gaps") for each in fed]
    known = [each for each in gaps if each]
    if len(known) < len(gaps):
        return _untested("availability", "no share came")
    silent = sum(each["silent_s"] for each in known) / time_s
    # What is shorter than the longest gap that chance makes cannot be told from chance.
    unseen = max((each["longest_s"] for each in known if not each["silent_s"]), default=0.0)
    figure = Figure(1 - silent, max(1 - silent - unseen / time_s, 0.0), 1 - silent, "")
    limit = Limit(least, "", most=False, source="protocol")
    verdict = judge(figure, limit)
    said = f"{100 * figure.value:.4g} % of {time_s:,.0f} s (at least {100 * figure.lo:.4g} %)"
    decides = "a longer soak" if verdict is Verdict.INCONCLUSIVE else None
    return Line("availability", verdict, f"{said}, {limit}", figure, limit, decides)


def _stability(long: Sequence[Seen]) -> Line:
    """Hold what the dispersion test and its fellows found against chance."""
    if not long:
        return _untested("stability", "nothing was measured")
    caveats = [c for each in long for c in each.document["caveats"] if c["caveat"] in UNSTEADY]
    if caveats:
        said = "; ".join(sorted({f"{c['caveat']}: {c['finding']}" for c in caveats}))
        return Line("stability", Verdict.FAIL, said)
    if all(each.basis is Basis.COUNTED for each in long):
        return Line("stability", Verdict.PASS, "no drift, no throttling beyond what windows spread")
    tests = [each.told.get("dispersion") for each in long]
    known = [each for each in tests if each]
    if any(each.basis is Basis.CLAIMED for each in long):
        return _untested("stability", "it was only watched: no share was seen")
    if not known:
        why = "too few shares for a dispersion test"
        return Line("stability", Verdict.INCONCLUSIVE, why, decides="a longer run, or a soak")
    worst = min(known, key=lambda each: each["p"])
    index = f"index of dispersion {worst['index']:.3g} of {worst['slices']} slices"
    return Line("stability", Verdict.PASS, f"{index}, p {worst['p']:.2g} (FAIL below {UNLIKELY:g})")


def _temperature(long: Sequence[Seen], most: float, U: float) -> Line:  # noqa: N803
    known = [each.temperature_c for each in long if each.temperature_c is not None]
    if not known:
        return _untested("temperature", "it tells none")
    figure = Figure(max(known), max(known) - U, max(known) + U, "°C")
    limit = Limit(most, "°C", most=True, source="protocol")
    verdict = judge(figure, limit)
    decides = "a thermometer on it" if verdict is Verdict.INCONCLUSIVE else None
    why = f"{max(known):.1f} °C at most by its own sensors, which may be off by {U:g} K, {limit}"
    return Line("temperature", verdict, why, figure, limit, decides)


def _restarts(long: Sequence[Seen], steps: Sequence[dict[str, Any]]) -> Line:
    """Judge how it came back from each power cycle, and whether it restarted unasked."""
    known = [each.reboots for each in long if each.reboots is not None]
    if sum(known):
        return Line("restarts", Verdict.FAIL, f"{sum(known)} unasked while it was measured")
    cycled = [step for step in steps if step["kind"] == POWER_CYCLE]
    cycles = [cycle for step in cycled for cycle in step.get("cycles", [])]
    unasked = "none unasked" if known else "it tells no uptime"
    if not cycles:
        whys = "; ".join(step["why"] for step in cycled if step["why"])
        return _untested("restarts", f"{unasked}; {whys or 'no power cycle is in the protocol'}")
    bad = [cycle for cycle in cycles if cycle["back_s"] is None or cycle["changed"]]
    for cycle in bad:
        if cycle["changed"]:
            return Line("restarts", Verdict.FAIL, f"it came back set otherwise: {cycle['changed']}")
    if bad:
        why = f"{len(bad)} of {len(cycles)} times it was not back at 90 % of its rate in time"
        return Line("restarts", Verdict.FAIL, why)
    slowest = max(cycle["back_s"] for cycle in cycles)
    why = f"{len(cycles)} of {len(cycles)} times back at 90 % within {slowest:.0f} s; {unasked}"
    return Line("restarts", Verdict.PASS, why)


def _settings(seen: Sequence[Seen], steps: Sequence[dict[str, Any]]) -> list[Line]:
    found = []
    for step in (each for each in steps if each["kind"] == SETTING):
        if step["state"] == "not-tested":
            found.append(_untested(step["name"], step["why"]))
            continue
        by_id = {each.document["id"]: each for each in seen}
        told = []
        for value, record in step.get("values", {}).items():
            if record in by_id:
                each = by_id[record]
                some = [each.figure(n) for n in ("hashrate", "power", "efficiency")]
                told.append(f"{value}: {', '.join(str(figure) for figure in some if figure)}")
        found.append(Line(step["name"], Verdict.PASS, "; ".join(told)))
    return found


def _untested(name: str, why: str) -> Line:
    return Line(name, Verdict.NOT_TESTED, why)
