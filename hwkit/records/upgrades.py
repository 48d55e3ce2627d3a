"""Documents age; they are never rewritten. Pure functions bring an old one up on reading.

SCHEMA moves when the document's shape does: schema-1.json becomes schema-2.json, and with it come
a function here, `_1_to_2`, and a golden file of the old schema under tests/golden/records/.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEMA = 1
STEPS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}


def upgrade(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document in today's schema."""
    for schema in range(document["schema"], SCHEMA):
        document = STEPS[schema](document)
    return document
