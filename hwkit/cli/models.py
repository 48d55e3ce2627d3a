"""`hwkit models`: nameplates with tolerances and sources; what was measured, beside them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from platformdirs import user_config_path

from hwkit.cli.options import json_option, print_json, store_option
from hwkit.economics import catalogue
from hwkit.economics.machine import Machine
from hwkit.errors import NotPermitted, PlanError

if TYPE_CHECKING:
    from hwkit.economics.catalogue import Nameplate

models_option = click.option(
    "--models",
    "own",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Your own list, as CSV. [default: models.csv in hwkit's configuration folder]",
)


@click.command("models")
@click.argument("pattern", nargs=-1)
@click.option("--measured", is_flag=True, help="List the records that have J/TH, too.")
@models_option
@store_option
@json_option
def command(
    pattern: tuple[str, ...],
    own: Path | None,
    store: str | None,
    *,
    measured: bool,
    as_json: bool,
) -> None:
    """List nameplates whose names have all words of PATTERN.

    A nameplate is what its maker says: a band, not a point. What was measured stands beside it,
    never mixed with it.
    """
    words = " ".join(pattern)
    found = catalogue.matching(words, known_models(own))
    if not found:
        raise PlanError(f"no model has {words!r} in its name; hwkit models lists all of them")
    seen = _measured(store) if measured else []
    if as_json:
        document: dict[str, Any] = {"nameplates": [plate.to_json() for plate in found]}
        if measured:
            document["measured"] = [machine.to_json() for machine in seen]
        print_json(document)
        return
    from hwkit.report import worth  # noqa: PLC0415 - draws tables

    worth.nameplates(found)
    if measured:
        worth.measured(seen)


def known_models(own: Path | None) -> list[Nameplate]:
    """Return all nameplates: those that come with hwkit, then the user's own. Raises PlanError."""
    known = list(catalogue.shipped())
    path = own or user_config_path("hwkit", appauthor=False) / "models.csv"
    if own is not None or path.exists():
        known += catalogue.read_models(read_text(path, catalogue.LARGEST), str(path))
    return known


def read_text(path: Path, largest: int) -> str:
    """Return the text of a user's file. Raises PlanError for what is no text or too long."""
    try:
        with path.open("rb") as file:
            data = file.read(largest + 1)
    except FileNotFoundError as error:
        raise PlanError(f"{path}: no such file") from error
    except OSError as error:
        raise NotPermitted(str(path), f"cannot be read: {error.strerror}") from error
    if len(data) > largest:
        raise PlanError(f"{path}: longer than {largest:,} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise PlanError(f"{path}: not UTF-8 text: {error.reason} at byte {error.start}") from error


def _measured(store: str | None) -> list[Machine]:
    from hwkit.records import Store  # noqa: PLC0415 - SQLAlchemy takes its time

    records = Store(store)
    documents = [records.get(row.id).document for row in records.listing()]
    return [
        Machine.of_record(document)
        for document in documents
        if any(each["efficiency"] for each in document.get("metered", []))
    ]
