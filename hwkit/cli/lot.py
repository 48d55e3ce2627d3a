"""`hwkit lot`: from evaluated or measured units to the model they are of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hwkit.cli.options import json_option, print_json, read_with, store_option
from hwkit.evaluate import lot
from hwkit.evaluate.units import FIGURES, measured, units_of
from hwkit.harness.plan import fraction, percent
from hwkit.records import Store
from hwkit.units import plain, show

if TYPE_CHECKING:
    from hwkit.evaluate.lot import Spread

PICKED = {
    "random": "drawn by chance",
    "buyer": "picked by the buyer, not by chance: the bounds hold for the lot only as far as the "
    "picking was blind",
    "seller": "picked by the seller: they say nothing of the units that were not",
    "unknown": "nobody said who picked them (--picked): the bounds hold only if it was chance",
}


def _fraction(text: str) -> float:
    return fraction(text)


@click.command("lot")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("--size", type=click.IntRange(1, 1_000_000), help="Units in the lot. [default: many]")
@click.option(
    "--picked",
    type=click.Choice(list(PICKED)),
    default="unknown",
    show_default=True,
    help="By whom.",
)
@click.option(
    "--bad",
    "at_most",
    default="5%",
    show_default=True,
    callback=read_with(_fraction),
    help="Say how many units show that no more than this fraction is bad.",
)
@store_option
@json_option
def command(
    ids: tuple[str, ...],
    size: int | None,
    picked: str,
    at_most: float,
    store: str | None,
    *,
    as_json: bool,
) -> None:
    """Say what units of one model say of the model: ID is an evaluation's, or a record's.

    Mean with its uncertainty, spread between units (an error of the meter that all share is kept
    apart), the interval that holds 90 % of all units with 95 % confidence, and how many of the lot
    may be bad. A unit is bad that failed; one that is INCONCLUSIVE was not shown to be good, and is
    counted with them. Below 3 units it is about this unit, not this model.
    """
    found = units_of(ids, store, Store(store))
    names = [unit.record.id for unit in found]
    verdicts = [unit.verdict for unit in found if unit.verdict is not None]
    figures: dict[str, Spread] = {}
    for name, of in FIGURES.items():
        some = [figure for unit in found if (figure := measured(unit.record, name))]
        if len(some) == len(found):
            figures[name] = lot.spread(some, of)
    not_good = sum(verdict != "PASS" for verdict in verdicts)
    bad = (
        lot.bad_at_most(not_good, len(verdicts), size)
        if len(verdicts) == len(found) and picked != "seller"
        else None
    )
    needed = lot.sample_size(at_most, size)
    devices = {unit.record.document["device"]["name"] for unit in found}
    document: dict[str, Any] = {
        "units": names,
        "addresses": sorted(devices),
        "speaks_of": "model" if len(found) >= lot.FEWEST else "unit",
        "picked": picked,
        "size": size,
        "figures": {name: each.to_json() for name, each in figures.items()},
        "verdicts": verdicts,
        "not_good": not_good if verdicts else None,
        "bad_at_most": bad,
        "sample_size": {"bad_at_most": at_most, "units": needed},
    }
    if as_json:
        print_json(document)
        return
    click.echo("\n".join(map(plain, _lines(document, figures, len(found)))))


def _lines(document: dict[str, Any], figures: dict[str, Spread], n: int) -> list[str]:
    this = f"This unit, not this model: {n} measured, and a model takes {lot.FEWEST} at least."
    said = [this] if n < lot.FEWEST else []
    said.append(f"{n} unit{'s' * (n > 1)}, {PICKED[document['picked']]}.")
    if len(document["addresses"]) < n:
        said.append("Several have one address: are they different units?")
    for name, each in figures.items():
        line = f"  {name}: mean {each.mean}"
        if each.shared_U and n > 1:
            part = percent(each.shared_U / each.mean.value)
            line += f" (of it ±{part} of meters that units share)"
        if each.between is not None and each.tolerance is not None:
            spread = percent(each.between.value / each.mean.value)
            most = percent(each.between.hi / each.mean.value)
            line += f"; between units {spread} (at most {most})"
            lo, hi = (each.tolerance.lo, each.tolerance.hi)
            within = f"{show(lo, each.mean.unit)} to {show(hi, each.mean.unit)}"
            line += f"; 90 % of units lie within {within} (95 %)"
        said.append(line)
    if document["bad_at_most"] is not None:
        of = f"of {document['size']:,}" if document["size"] else "of a large lot"
        bad = f"{100 * document['bad_at_most']:.3g} %"
        said.append(f"{document['not_good']} of {n} not shown good: at most {bad} {of} are (95 %).")
    size = document["sample_size"]
    most = percent(size["bad_at_most"])
    said.append(f"At most {most} bad takes {size['units']} units, drawn by chance, all good.")
    return said
