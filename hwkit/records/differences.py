"""What differs between two records, beside their figures; and what may not be ranked at all."""

from __future__ import annotations

from typing import Any

from hwkit.errors import PlanError
from hwkit.harness.plan import MINERS_CHOICE, NONCES_ONLY, VERSION_ROLLING

# What a reader of a comparison must see first, in this order.
PLACES: dict[str, tuple[str | int, ...]] = {
    "device": ("device", "name"),
    "basis": ("device", "basis"),
    "work": ("device", "work"),  # but see work_of
    "threads": ("device", "threads"),
    "affinity": ("device", "details", "affinity"),
    "mode": ("device", "details", "mode"),
    "boundary": ("device", "details", "boundary"),
    "metered at": ("meters", 0, "scope"),
    "includes": ("wiring", "includes"),
    "group": ("wiring", "group"),
    "firmware": ("device", "details", "firmware"),
    "processor": ("host", "cpu", "model"),
    "processors usable": ("host", "cpu", "usable"),
    "quota": ("host", "cpu", "quota"),
    "governor": ("host", "cpu", "governor"),
    "virtual": ("host", "cpu", "virtual"),
    "kernel": ("host", "kernel"),
    "compiler": ("host", "compiler"),
    "Python": ("host", "python"),
    "hwkit": ("hwkit",),
    "state": ("state",),
}
UNLIKE = ("basis", "work", "mode", "boundary", "metered at", "includes", "group")
METERED = {"metered at", "includes", "group"}  # of runs that have meters, both


def differences(a: dict[str, Any], b: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return what differs between two documents, by name."""
    pairs = {name: (_at(a, path), _at(b, path)) for name, path in PLACES.items()}
    pairs["work"] = (work_of(a), work_of(b))
    both = bool(a.get("meters") and b.get("meters"))
    return {
        name: pair
        for name, pair in pairs.items()
        if pair[0] != pair[1] and (both or name not in METERED)
    }


def work_of(document: dict[str, Any]) -> str:
    """Return what kind of work a document's figures are of; one that does not say: nonces only.

    Three places say it, and verify holds them to be one. Version rolling in any of them counts:
    nobody would say it of a scan of nonces.
    """
    if _at(document, ("device", "work")) == MINERS_CHOICE:
        return MINERS_CHOICE
    said = (
        _at(document, ("device", "work")) == VERSION_ROLLING,
        _at(document, ("plan", "version_rolling")),
        _at(document, ("job", "version_rolling")),
    )
    return VERSION_ROLLING if any(said) else NONCES_ONLY


def unlike(differing: dict[str, tuple[Any, Any]]) -> list[str]:
    """Return what says that one figure may not be ranked against the other, in words."""
    return [
        f"{name}: {differing[name][0]} against {differing[name][1]}"
        for name in UNLIKE
        if name in differing
    ]


def refuse_unlike(differing: dict[str, tuple[Any, Any]]) -> None:
    """Raise PlanError where one figure may not be ranked against the other."""
    for what in unlike(differing):
        raise PlanError(f"{what} is not ranked; add --mixed to do it all the same")


def _at(document: object, path: tuple[str | int, ...]) -> object:
    for key in path:
        if isinstance(document, list) and isinstance(key, int) and key < len(document):
            document = document[key]
        else:
            document = document.get(key) if isinstance(document, dict) else None
    return document
