"""What an evaluation will do, and what it can tell: said before a device is touched."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hwkit.evaluate.protocol import BLOCK
from hwkit.evaluate.spec import EFFICIENCY, HASHRATE, POWER
from hwkit.evaluate.verdicts import amount, zones
from hwkit.harness.efficiency import SHARES
from hwkit.harness.plan import FED_SHARES_PER_S, duration, percent
from hwkit.protocols import Basis

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hwkit.evaluate.protocol import Protocol, Step
    from hwkit.evaluate.spec import Spec
    from hwkit.harness.foresee import Foreseen


def lines(
    spec: Spec,
    protocol: Protocol,
    cannot: Mapping[str, str],
    foreseen: Foreseen | None,
    basis: Basis,
) -> list[str]:
    """Return the schedule; `cannot` says by its name why a step will not be taken."""
    able = [step for step in protocol.steps if step.name not in cannot]
    total = duration(sum(step.longest_s for step in able))
    found = [f"{spec.model} by protocol {protocol.name}: at most {total}"]
    for number, step in enumerate(protocol.steps, 1):
        why = f": NOT_TESTED, {cannot[step.name]}" if step.name in cannot else _what(step)
        found.append(f"  {number}. {step.name}{why}")
    block = next(step for step in protocol.steps if step.kind == BLOCK)
    U = _reachable(block, foreseen, basis)  # noqa: N806
    for name, limit in spec.limits.items():
        reached = U.get(name)
        if reached is None:
            why = "what can be told is known once it runs"
            if foreseen is None and name != HASHRATE:
                why = "NOT_TESTED, no meter (--meter)"
            found.append(f"  {name} {limit} ({limit.source}): {why}")
            continue
        least, most = zones(limit, reached)
        good, bad = (least, most) if limit.most else (most, least)
        below, above = ("up to", "above") if limit.most else ("from", "below")
        found.append(
            f"  {name} {limit} ({limit.source}), ±{percent(reached)} in {duration(block.time)}: "
            f"PASS {below} {amount(good, limit.unit)}, FAIL {above} {amount(bad, limit.unit)}, "
            "between them INCONCLUSIVE"
        )
    if foreseen is not None:
        found.append(f"  {foreseen.text}")
    return found


def _what(step: Step) -> str:
    times = f"{step.times} x, " if step.times > 1 else ""
    values = f"{', '.join(step.values)}: " if step.values else ""
    early = f", less at ±{percent(step.precision)}" if step.precision else ""
    warm = f", after {duration(step.warmup)} of warm-up" if step.warmup else ""
    settle = " and until power and temperature have settled" if step.settle else ""
    return f": {values}{times}at most {duration(step.longest_s)}{early}{warm}{settle}"


def _reachable(step: Step, foreseen: Foreseen | None, basis: Basis) -> dict[str, float]:
    """Return the relative U (k = 2) of each line at the end of the block, where it is known."""
    found = {}
    shares = FED_SHARES_PER_S * step.time
    of_shares = 2 / math.sqrt(shares) if basis is Basis.SHARES else 0.0
    if basis is Basis.SHARES:
        found[HASHRATE] = of_shares
    if foreseen is not None and foreseen.budget is not None:
        budget = foreseen.budget
        others: Sequence[float] = [u for name, u in budget.terms.items() if name != SHARES]
        found[POWER] = 2 * math.hypot(*others)
        if basis is not Basis.CLAIMED:
            found[EFFICIENCY] = max(budget.below, budget.above)
    return found
