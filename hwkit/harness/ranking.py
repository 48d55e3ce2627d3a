"""Which of two takes less energy for its hashes? A ratio of J/TH with its interval, and a word."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from hwkit.errors import Unmeasurable
from hwkit.harness.comparison import RUN_TO_RUN, SAME_WITHIN
from hwkit.harness.efficiency import (
    LINEARITY,
    REPEATS,
    SHARES,
    SYSTEMATIC,
    Budget,
    ratio,
    repeats_u,
)
from hwkit.units import Figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hwkit.harness.efficiency import Efficiency

CONFIDENCE, K = 0.99, 2.576  # since a word is made of it; of a normal


@dataclass(frozen=True, slots=True)
class Ranking:
    """The J/TH of A over that of B. `word` says how A is: BETTER (less), WORSE, SAME, AMBIGUOUS."""

    ratio: Figure  # with its 99 % interval
    word: str
    budget: Budget
    pairs: int
    says: str  # what becomes of the meter's class

    def to_json(self) -> dict[str, Any]:
        """Return it as --json prints it."""
        return {
            "ratio": self.ratio.to_json(),
            "word": self.word,
            "budget": self.budget.to_json(),
            "pairs": self.pairs,
            "says": self.says,
        }


def rank(
    pairs: Sequence[tuple[Efficiency, Efficiency]],
    *,
    apart: bool = False,
    disturbed: bool = False,
    one_instrument: bool = True,
) -> Ranking:
    """Rank A against B by pairs of runs, each made in turn after the other.

    What is the same in every run stays; the rest is that of a mean, and so is what the pairs differ
    by beyond it. Runs that are `apart`, made at other times, are widened by RUN_TO_RUN, and
    AMBIGUOUS where `disturbed`. `one_instrument`: meters of one name may be one. Raises
    Unmeasurable without a pair, PlanError for scopes that differ.
    """
    if not pairs:
        raise Unmeasurable("no pair of runs has J/TH on both sides: there is nothing to compare")
    n = len(pairs)
    ratios = [ratio(a, b, one_instrument=one_instrument) for a, b in pairs]
    logs = [math.log(each.figure.value) for each in ratios]
    terms = {}
    for name in {name for each in ratios for name in each.budget.terms} - {SHARES}:
        values = [each.budget.terms.get(name, 0.0) for each in ratios]
        stays = name in SYSTEMATIC or name == LINEARITY
        terms[name] = max(values) if stays else math.hypot(*values) / n
    below = math.hypot(*(x for a, b in pairs for x in (a.work.deviations[1], b.work.deviations[0])))
    above = math.hypot(*(x for a, b in pairs for x in (a.work.deviations[0], b.work.deviations[1])))
    if n > 1:
        random = {name: u for name, u in terms.items() if name != LINEARITY}
        values = [each.figure.value for each in ratios]
        terms[REPEATS] = repeats_u(
            values, random, (below + above) / n / 4, confidence=CONFIDENCE, k=K
        )
    budget = Budget.of(terms, below / n, above / n)
    allowed = math.log1p(RUN_TO_RUN) if apart else 0.0
    centre = fmean(logs)
    figure = Figure(
        math.exp(centre),
        math.exp(centre - K / 2 * budget.below - allowed),
        math.exp(centre + K / 2 * budget.above + allowed),
        "",
    )
    word = "AMBIGUOUS" if apart and disturbed else _word(figure)
    return Ranking(figure, word, budget, n, ratios[0].says)


def _word(figure: Figure) -> str:
    if figure.lo >= 1 - SAME_WITHIN and figure.hi <= 1 + SAME_WITHIN:
        return "SAME"
    if figure.hi < 1:
        return "BETTER"
    return "WORSE" if figure.lo > 1 else "AMBIGUOUS"
