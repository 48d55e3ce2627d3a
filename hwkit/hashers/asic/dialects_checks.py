"""What cannot be right in what a miner says: told, and where a value is no such thing, left out."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from hwkit.hashers.asic.telemetry import Finding, Telemetry, Value

if TYPE_CHECKING:
    from collections.abc import Iterator

SUM_WITHIN = 0.2  # boards and total are of windows that may differ
SHARE_OF_EXPECTED = (0.2, 2.0)
NEXT_TO_NOTHING = 1e-3  # a factor that nobody reads
AVERAGE_WITHIN = 2.0  # Total MH / Elapsed, and what it says of its rate
EFFICIENCY_J_TH = (5.0, 2e4)  # no machine is known below; above are the first of 2013
NOW = {"now", "5s", "10s", "15s", "30s"}  # power is of the moment, and so must be the rate
FEW_S = 60.0  # counters of a minute say nothing yet


def checked(telemetry: Telemetry, findings: list[Finding]) -> Telemetry:
    """Return the telemetry with all findings, and without what they say is no such thing."""
    t = telemetry
    found = [*findings]
    if (why := _total(t)) is not None:
        found.append(why)
        t = replace(t, total_hashes=None)
    if t.diverted is None:
        t = replace(t, diverted=_diverted(t))
    found += [each for check in (_boards, _expected, _efficiency, _fans) for each in check(t)]
    return replace(t, findings=tuple(found))


def _total(t: Telemetry) -> Finding | None:
    """Total MH must be what the rate makes in Elapsed: some firmwares put a rate there."""
    average = next((v for v in t.hashrates_h_s if v.label == "av"), t.hashrate_h_s)
    if t.total_hashes is None or t.elapsed_s is None or average is None or average.unit != "H/s":
        return None
    expected = average.value * t.elapsed_s.value
    if t.elapsed_s.value < FEW_S or not expected or not t.total_hashes.value:
        return None
    factor = t.total_hashes.value / expected
    if 1 / AVERAGE_WITHIN <= factor <= AVERAGE_WITHIN:
        return None
    why = f"{_times(factor)} what {average.source} makes in {t.elapsed_s.value:.0f} s"
    return Finding("total_hashes", t.total_hashes.source, f"{why}: taken as absent")


def _times(factor: float) -> str:
    if factor < NEXT_TO_NOTHING:
        return "it is next to nothing of"
    return f"it is {factor:.3g} times"


def _boards(t: Telemetry) -> Iterator[Finding]:
    if len(t.boards_h_s) < 2 or t.hashrate_h_s is None:
        return
    label = t.boards_h_s[0].label
    total = next((v for v in t.hashrates_h_s if v.label == label), t.hashrate_h_s)
    boards = math.fsum(board.value for board in t.boards_h_s)
    if abs(boards - total.value) > SUM_WITHIN * max(boards, total.value):
        why = (
            f"the boards make {boards:.4g} {total.unit}, and {total.source} says {total.value:.4g}"
        )
        yield Finding("boards_h_s", t.boards_h_s[0].source, why)


def _expected(t: Telemetry) -> Iterator[Finding]:
    rate, expected = t.hashrate_h_s, t.expected_h_s
    if rate is None or expected is None or not expected.value or rate.unit != expected.unit:
        return
    share = rate.value / expected.value
    if not SHARE_OF_EXPECTED[0] <= share <= SHARE_OF_EXPECTED[1]:
        why = f"{_times(share)} what {expected.source} names"
        yield Finding("hashrate_h_s", rate.source, why)


def _efficiency(t: Telemetry) -> Iterator[Finding]:
    rate = next((v for v in t.hashrates_h_s if v.label in NOW), t.hashrate_h_s)
    if t.power_w is None or rate is None or not rate.value:
        return
    if t.algorithm is None or t.algorithm.value != "sha256d":
        return
    per_th = t.power_w.value / (rate.value / 1e12)
    if not EFFICIENCY_J_TH[0] <= per_th <= EFFICIENCY_J_TH[1]:
        why = f"with {rate.source} that is {per_th:.3g} J/TH: one of the two is wrong"
        yield Finding("power_w", t.power_w.source, why)


def _fans(t: Telemetry) -> Iterator[Finding]:
    turning = sum(fan.value > 0 for fan in t.fans_rpm)
    if t.fans is not None and turning < t.fans.value:
        yield Finding("fans_rpm", t.fans.source, f"of {t.fans.value:.0f} fans {turning} turn")


def _diverted(t: Telemetry) -> Value[float] | None:
    """The share of difficulty that went to pools which are not the owner's, where it shows them."""
    theirs = [pool for pool in t.pools if pool.fee]
    if not theirs or any(pool.difficulty_accepted is None for pool in t.pools):
        return None
    total = math.fsum(pool.difficulty_accepted or 0.0 for pool in t.pools)
    if not total:
        return None
    fee = math.fsum(pool.difficulty_accepted or 0.0 for pool in theirs)
    return Value(fee / total, "1", f"difficulty accepted at {theirs[0].source}, of all", "counted")
