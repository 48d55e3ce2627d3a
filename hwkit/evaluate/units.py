"""Units that were measured: what an id names, and the machine that some of them stand for."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from itertools import chain, combinations
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from hwkit.economics.machine import ONE, TERA, Machine
from hwkit.errors import PlanError
from hwkit.evaluate import state as states
from hwkit.evaluate.identity import one_machine
from hwkit.evaluate.lot import FEWEST, Spread, Unit, next_unit, spread
from hwkit.evaluate.protocol import BLOCK
from hwkit.harness.efficiency import SYSTEMATIC
from hwkit.harness.plan import percent
from hwkit.units import Figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hwkit.records import Record, Store

FIGURES = {"hashrate": "H/s", "power": "W", "efficiency": "J/TH"}


class Named(NamedTuple):
    """A unit as it was named."""

    record: Record
    verdict: str | None = None  # of an evaluation, as are the next two
    model: str | None = None
    identity: Mapping[str, str] = MappingProxyType({})  # what the machine told of itself


def machine_of(units: Sequence[Named], tolerances: tuple[float, float]) -> Machine:
    """Return a machine of the units' model that is yet to come: it differs from them.

    By how much, FEWEST units and more say themselves; of fewer the nameplate's tolerances of
    hashrate and power are assumed, evenly spread. Raises PlanError for a unit without J/TH.
    """
    machines = [Machine.of_record(unit.record.document) for unit in units]
    told = dict.fromkeys(chain.from_iterable(each.notes for each in machines))
    told.pop(ONE, None)
    for verdict, n in Counter(unit.verdict for unit in units).items():
        if verdict not in {None, "PASS"}:  # the figures are of the measured block alone
            of = "its evaluation" if len(units) == 1 else f"{n} of {len(units)} evaluations"
            told = {f"{of} ended {verdict}: read why before you buy": None} | told
    first, n = machines[0], len(machines)
    spreads = _spreads(units) if n >= FEWEST else None
    if spreads is None:
        of_rate, of_power = tolerances
        rate, power = (
            _wider([getattr(each, name) for each in machines], 2 * tolerance / math.sqrt(3))
            for name, tolerance in (("hashrate", of_rate), ("power", of_power))
        )
        these = ONE if n == 1 else f"these {n} units, not this model"
        opening = f"{these}: between units ±{percent(of_rate)} TH/s, ±{percent(of_power)} W assumed"
    else:
        rate, watts, efficiency = (next_unit(each) for each in spreads)
        # As of a record: joules' own error is what J/TH has beside the hashrate's.
        u = max(watts.relative, math.sqrt(max(efficiency.relative**2 - rate.relative**2, 0.0)))
        power = _banded(efficiency.value * rate.value / TERA, u, "W")
        seen = f"±{percent(rate.relative)} TH/s, ±{percent(efficiency.relative)} J/TH"
        opening = f"the next one after {n} units, as if all were drawn by chance: {seen} (95 %)"
    return replace(
        first,
        name=units[0].model or first.name,
        hashrate=rate,
        power=power,
        notes=(opening, *told),
        record=",".join(unit.record.id for unit in units),
    )


def units_of(names: Sequence[str], store: str | None, records: Store) -> list[Named]:
    """Return what ids name: evaluations, or records. Raises RecordError, PlanError."""
    found = [_unit(name, store, records) for name in names]
    if len({unit.record.id for unit in found}) < len(found):
        raise PlanError("a unit is named twice: a lot has each once")
    for one, other in combinations(found, 2):
        if same := one_machine(one.identity, other.identity):
            both = f"{one.record.id} and {other.record.id}"
            raise PlanError(f"{both} are of one machine ({same}): a lot has each once")
    models = sorted({unit.model for unit in found if unit.model})
    if len(models) > 1:
        raise PlanError(
            f"a lot is of one model, and these were evaluated as {' and '.join(models)}"
        )
    return found


def measured(record: Record, name: str) -> Unit | None:
    """Return a unit's figure, what is its meter's apart; None where there is none."""
    figure = record.figures.get(name)
    if figure is None or not figure.value:
        return None
    document = record.document
    metered = (document.get("metered") or [{}])[0]
    budget = (metered.get(name) or {}).get("budget")
    if name == "hashrate" or budget is None:
        return Unit(figure.value, figure.U / 2, 0.0)
    meter = sum(u * u for term, u in budget["terms"].items() if term in SYSTEMATIC) ** 0.5
    whole = figure.U / 2 / figure.value
    own = max(whole * whole - meter * meter, 0.0) ** 0.5
    meters = document.get("meters") or [{}]
    # An address may be given to another instrument: its serial says which it was.
    instrument = str(meters[0].get("serial") or metered.get("meter"))
    return Unit(figure.value, own * figure.value, meter * figure.value, instrument)


def _unit(name: str, store: str | None, records: Store) -> Named:
    if not states.is_evaluation(name):
        return Named(records.get(name))
    document = states.read(store, name).document
    blocks = [step["records"] for step in document["steps"] if step["kind"] == BLOCK]
    if not blocks or not blocks[-1]:
        raise PlanError(f"evaluation {document['id']} has no measured block")
    record = records.get(blocks[-1][-1])
    identity = document.get("identity", {})
    return Named(record, document.get("verdict"), document["spec"]["model"], identity)


def _spreads(units: Sequence[Named]) -> list[Spread] | None:
    """Return the spread of each figure; None where a unit lacks one."""
    found = [[measured(unit.record, name) for unit in units] for name in FIGURES]
    some = [[unit for unit in column if unit is not None] for column in found]
    if any(len(column) < len(units) for column in some):
        return None
    return [spread(column, unit) for column, unit in zip(some, FIGURES.values(), strict=True)]


def _wider(some: Sequence[Figure], more: float) -> Figure:
    """Return the mean of figures, as uncertain as the worst, and by `more` on top."""
    mean = sum(each.value for each in some) / len(some)
    return _banded(mean, math.hypot(max(each.relative for each in some), more), some[0].unit)


def _banded(value: float, u: float, unit: str) -> Figure:
    return Figure(value, value * (1 - u), value * (1 + u), unit)
