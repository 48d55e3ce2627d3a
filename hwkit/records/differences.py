"""What differs between two records, beside their figures; and what may not be ranked at all."""

from __future__ import annotations

from typing import Any

from hwkit.errors import PlanError
from hwkit.harness.plan import NONCES_ONLY

# What a reader of a comparison must see first, in this order.
PLACES = {
    "device": ("device", "name"),
    "basis": ("device", "basis"),
    "work": ("device", "work"),
    "threads": ("device", "threads"),
    "affinity": ("device", "details", "affinity"),
    "mode": ("device", "details", "mode"),
    "boundary": ("device", "details", "boundary"),
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
ABSENT = {"work": NONCES_ONLY}  # what a record means that does not say it
UNLIKE = ("basis", "work", "mode", "boundary")


def differences(a: dict[str, Any], b: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return what differs between two documents, by name."""
    found = {}
    for name, path in PLACES.items():
        left, right = (_at(document, path, ABSENT.get(name)) for document in (a, b))
        if left != right:
            found[name] = (left, right)
    return found


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


def _at(document: Any, path: tuple[str, ...], absent: str | None) -> Any:  # noqa: ANN401 - JSON
    for key in path:
        document = document.get(key) if isinstance(document, dict) else None
    return absent if document is None else document
