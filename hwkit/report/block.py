"""The result block: what a J/TH stands on, in lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hwkit.harness.correction import Correction
from hwkit.harness.plan import percent
from hwkit.units import Figure, show

if TYPE_CHECKING:
    from collections.abc import Iterator

SURROUNDINGS = {
    "inlet_c": ("inlet", "°C"),
    "humidity": ("humidity", "%"),
    "mains_v": ("mains", "V"),
}


def energy_rows(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the lines of the result block: what the first sum of meters says, then the others."""
    meters = {meter["name"]: meter for meter in document.get("meters", [])}
    wiring = document.get("wiring")
    for number, seen in enumerate(document.get("metered", [])):
        parts = seen.get("parts") or [{"meter": seen["meter"], "energy": seen["energy"]}]
        first = meters[parts[0]["meter"]]
        includes = ", ".join(wiring["includes"]) if wiring and number == 0 else ""
        said = f"{first['scope']}, by {seen['meter']} ({first['provenance']})"
        yield "boundary", said + (f", with {includes}" if includes else "")
        if seen.get("group"):
            yield "group", f"{', '.join(seen['group'])}: one meter saw them all"
        yield "J/TH", _efficiency(seen)
        for name in ("power", "hashrate"):
            if seen.get(name):
                figure = Figure.from_json(seen[name])
                yield name, str(figure) if figure.U else show(figure.value, figure.unit)
        if seen["idle_w"] is not None:
            yield "idle", f"{show(seen['idle_w'], 'W')}, before and after"
        for part in parts:
            meter = meters[part["meter"]]
            yield "instrument", _instrument(meter, part["energy"])
            if "correction" in meter:
                yield "corrected", f"by {Correction.from_json(meter['correction'])}"
    if around := _surroundings(document):
        yield "conditions", around


def _efficiency(seen: dict[str, Any]) -> str:
    found = seen["efficiency"]
    if found is None:
        coverage = seen["energy"]["coverage"]
        if coverage < 1:
            return f"none: {100 * coverage:.3g} % of the window was seen"
        if seen.get("group"):
            return "none: its partners have not done their part"
        return "none: what was subtracted is more than the rest; look at `less` in the rig file"
    figure, budget = Figure.from_json(found), found["budget"]
    if not figure.U:  # a claim without a tolerance, over hashes that are counted
        return f"{show(figure.value, figure.unit)}, U not known"
    lo, hi = (show(edge, figure.unit, 6) for edge in (figure.lo, figure.hi))
    return ", ".join(filter(None, [f"{figure} (k = 2; {lo} to {hi})", budget["dominant"]]))


def _surroundings(document: dict[str, Any]) -> str:
    """Say what was around: as typed, as sampled, and the mains as the meter saw them."""
    typed, sampled = document.get("conditions", {}), document.get("surroundings", {})
    said = []
    for name, (what, unit) in SURROUNDINGS.items():
        if name in sampled:
            seen = sampled[name]
            between = f"{seen['least']:.4g} to {seen['most']:.4g}"
            said.append(f"{what} {seen['median']:.4g} {unit} ({between})")
        elif name in typed:
            said.append(f"{what} {typed[name]:g} {unit} (typed)")
    for seen in document.get("metered", [])[:1]:
        if "volts" in seen:
            said.append(f"{seen['volts']:.4g} V at the meter")
        if "power_factor" in seen:
            said.append(f"power factor {seen['power_factor']:.3g}")
    return ", ".join(said)


def _instrument(meter: dict[str, Any], energy: dict[str, Any]) -> str:
    told = [meter["told"].get(key) or meter.get(key) for key in ("model", "serial")]
    accuracy = meter["accuracy"]
    interval = energy["interval_s"]["median"]
    return ", ".join(
        filter(
            None,
            [
                " ".join(filter(None, told)) or "of no name",
                f"±{percent(accuracy['of_reading'])} of the reading ({accuracy['source']})"
                if accuracy
                else None
                if "correction" in meter
                else "accuracy unchecked: ± leaves its error out",
                meter["calibrated"] or "uncalibrated",
                energy["source"] and f"joules by its {energy['source']}",
                f"{energy['readings']} readings",
                interval and f"one in {interval:.3g} s",
                f"{100 * energy['coverage']:.3g} % of the window seen",
            ],
        )
    )
