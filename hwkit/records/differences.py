"""What differs between two records, beside their figures; and what may not be ranked at all."""

from __future__ import annotations

from typing import Any

from hwkit.errors import PlanError

# What a reader of a comparison must see first, in this order.
PLACES = {
    "device": ("device", "name"),
    "basis": ("device", "basis"),
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
UNLIKE = ("basis", "mode", "boundary")


def differences(a: dict[str, Any], b: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return what differs between two documents, by name."""
    found = {}
    for name, path in PLACES.items():
        left, right = _at(a, path), _at(b, path)
        if left != right:
            found[name] = (left, right)
    return found


def refuse_unlike(differing: dict[str, tuple[Any, Any]]) -> None:
    """Raise PlanError where one figure may not be ranked against the other."""
    for name in UNLIKE:
        if name in differing:
            left, right = differing[name]
            raise PlanError(
                f"{name}: {left} against {right} is not ranked; add --mixed to do it all the same"
            )


def _at(document: Any, path: tuple[str, ...]) -> Any:  # noqa: ANN401 - a JSON value
    for key in path:
        document = document.get(key) if isinstance(document, dict) else None
    return document
