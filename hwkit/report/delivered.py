"""What a miner delivered, refused shares and claims apart, in lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hwkit.units import Figure, show

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST = 6  # difficulties that are named
COUNTERS = {"difficulty_accepted": "difficulty accepted", "hardware_errors": "hardware errors"}


def delivered_rows(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the lines of a miner that was fed or watched; none of any other device."""
    seen = document.get("delivered", {})
    if "shares" in seen:
        yield "delivered", _delivered(seen)
        yield "refused", ", ".join(f"{count} {name}" for name, count in seen["refused"].items())
    if seen.get("counters"):
        counted = (f"{COUNTERS.get(k, k)} {v:,.10g}" for k, v in seen["counters"].items())
        yield "it counts", ", ".join(counted)
    if "claimed" in seen:
        yield "it claims", _claimed(seen["claimed"])
    gap = document["figures"].get("claim_gap")
    if gap:
        yield "claim gap", f"{_gap(gap)} of what it delivers"
    if "gap_without_devfee" in seen:
        fee = 100 * seen["claimed"].get("devfee_fraction", 0.0)
        yield "diverted", f"{fee:.3g} % by its own word; {_gap(seen['gap_without_devfee'])} without"
    if "hardware_errors" in seen:
        yield "bad nonces", _errors(seen["hardware_errors"])
    if "answering" in seen:
        yield "answering", _answering(seen["answering"])
    yield from _by_setting(seen.get("settings", {}))
    yield from _oddities(seen)


def gap(figure: Figure) -> str:
    """Show a claim gap: '+30.1 % (+28.0 to +32.3 %)'."""
    between = f"{100 * figure.lo:+.1f} to {100 * figure.hi:+.1f} %"
    return f"{100 * figure.value:+.1f} % ({between})"


def _gap(document: dict[str, Any]) -> str:
    return gap(Figure.from_json(document))


def _delivered(seen: dict[str, Any]) -> str:
    effective = seen["work"]["effective_shares"]
    said = f"{seen['shares']:,} shares, each hashed again"
    if effective is not None and round(effective) < seen["shares"]:
        said += f" (worth {effective:,.0f} of one difficulty)"
    levels = [f"{each['difficulty']:.4g} ({each['shares']:,})" for each in seen["difficulties"]]
    more = f" and {len(levels) - MOST} more" if len(levels) > MOST else ""
    at = f", at difficulty {', '.join(levels[:MOST])}{more}" if levels else ""
    return f"{said}{at}, of {seen.get('jobs_of_shares', seen['jobs']):,} jobs"


def _claimed(claim: dict[str, Any]) -> str:
    said = []
    if "hashrate_h_s" in claim:
        said.append(f"{show(claim['hashrate_h_s'], 'H/s')} ({claim['by']})")
    if "largest_h_s" in claim:
        said.append(f"at most {show(claim['largest_h_s'], 'H/s')} ({claim['largest_by']})")
    if "power_w" in claim:
        by = claim.get("power_said_by")
        said.append(show(claim["power_w"], "W") + (f" ({by})" if by else ""))
    if "efficiency_j_th" in claim:
        said.append(f"{show(claim['efficiency_j_th'], 'J/TH')} by its own word")
    return ", ".join(said) or "nothing"


def _errors(found: dict[str, Any]) -> str:
    share = Figure.from_json(found["share"])
    between = f"{100 * share.lo:.2g} to {100 * share.hi:.2g} %"
    per = found["chip_difficulty"]
    of = "" if per == 1 else f", one for each {per:.4g} of difficulty"
    good = f"{found['errors']:,} to {found['good']:,.4g} good ones{of}"
    return f"{100 * share.value:.2g} % ({between}), by its own count of bad ones: {good}"


def _answering(found: dict[str, Any]) -> str:
    """Say how fast it answers and changes jobs, as far as the pool's clock can see that."""
    said = []
    if "answers" in found:
        said.append(f"there and back {_quantiles(found['answers'])}")
    if "new_jobs" in found:
        jobs = found["new_jobs"]
        kind = "clean" if jobs["clean"] else "new"
        said.append(
            f"first share of a {kind} job after {_quantiles(jobs['first_share'])}, "
            f"by chance {_ms(jobs['chance_s'])}"
        )
        said.append(f"last one of the job before after {_quantiles(jobs['last_of_before'])}")
    return "; ".join(said)


def _quantiles(found: dict[str, Any]) -> str:
    median, p95 = _ms(found["median_s"]), _ms(found["p95_s"])
    return f"{median} (95 % within {p95}, {found['count']} times)"


def _ms(seconds: float) -> str:
    return show(seconds, "s", 3)


def _by_setting(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield a line for each stretch of a run in which it was set otherwise."""
    for number, each in enumerate(found.get("stretches", []), 1):
        set_to = ", ".join(
            f"{name} {value:g}" if isinstance(value, int | float) else f"{name} {value}"
            for name, value in each["settings"].items()
        )
        said = [f"{each['shares']:,} shares"]
        if "hashrate" in each:
            said.insert(0, str(Figure.from_json(each["hashrate"])))
        if "hashrate_h_s" in each.get("claimed", {}):
            said.append(f"claims {show(each['claimed']['hashrate_h_s'], 'H/s')}")
        for name in ("power", "efficiency"):
            if name in each:
                figure = Figure.from_json(each[name])
                said.append(str(figure) if figure.U else show(figure.value, figure.unit))
        where = f"{each['from_s']:.1f} to {each['to_s']:.1f} s"
        yield f"setting {number}", f"{set_to} ({where}): {', '.join(said)}"
    rest = []
    if "between" in found and found["between"]["time_s"]:
        rest.append(("while one changed", found["between"]))
    if "unnamed" in found:
        rest.append((f"{found['unnamed']['stretches']} shorter ones", found["unnamed"]))
    if rest:
        told = (
            f"{what}: {each['shares']:,} shares in {each['time_s']:.3g} s" for what, each in rest
        )
        yield "of none", "; ".join(told)


def _oddities(seen: dict[str, Any]) -> Iterator[tuple[str, str]]:
    sliced, spread = seen.get("dispersion"), seen.get("spread")
    if sliced:
        where = f"{sliced['slices']} slices of {sliced['slice_s']:.3g} s"
        yield "dispersion", f"index {sliced['index']:.3g} (1 by chance), {where}{_p(sliced['p'])}"
    if spread:
        yield "hashes", f"KS {spread['ks']:.3g} from evenly spread{_p(spread['p'])}"
    if "gaps" in seen:
        gaps, bursts = seen["gaps"], seen["bursts"]
        at_once = f"{100 * bursts['share']:.2g} % at once"
        chance = f"{100 * bursts['by_chance']:.2g} % by chance"
        if "pool_late" in bursts:
            chance += (
                f", where the pool was late itself {100 * bursts['pool_late']:.2g} % of the time"
            )
        longest = f"{gaps['longest_s']:.3g} s at most, where {gaps['due']:.3g} shares were due"
        yield "gaps", f"{longest}; {at_once}, {chance}"


def _p(p: float) -> str:
    return f", p {p:.2g}" if p else ", p below 1e-6"
