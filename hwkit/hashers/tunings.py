"""What was found out about devices: which variant measured best. A cache: any of it may be lost."""

from __future__ import annotations

import json
import math
import os
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platformdirs import user_cache_path

if TYPE_CHECKING:
    from collections.abc import Mapping

LARGEST = 1 << 20  # bytes
NONSENSE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
MOST = 256  # tunings: the oldest goes


@dataclass(frozen=True, slots=True)
class Tuning:
    """One tuning of one device, driver and kernel text."""

    identity: Mapping[str, str]
    variant: Mapping[str, Any]  # its fields
    on: str  # UTC, ISO 8601
    measured: tuple[tuple[str, float, float, float], ...]  # a variant in words; its rate, from, to
    left_out: Mapping[str, str]  # a variant in words, and its fault

    def to_json(self) -> dict[str, Any]:
        """Return it as records keep it: whose it is they say beside it."""
        return {
            "on": self.on,
            "measured_h_s": [
                {"variant": name, "value": value, "lo": lo, "hi": hi}
                for name, value, lo, hi in self.measured
            ],
            "left_out": dict(self.left_out),
        }


def read(identity: Mapping[str, str]) -> Tuning | None:
    """Return the last tuning of what is identified so, None where there was none."""
    return next((each for each in reversed(_all()) if each.identity == identity), None)


def keep(tuning: Tuning) -> None:
    """Remember a tuning in place of the one before. Where nothing can be written, it is lost."""
    others = [each for each in _all() if each.identity != tuning.identity]
    text = json.dumps([asdict(each) for each in [*others, tuning][-MOST:]], indent=1)
    path = _path()
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Whole or not at all, whoever writes beside us.
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            Path(name).replace(path)
        except OSError:
            Path(name).unlink()
            raise


def _all() -> list[Tuning]:
    """Return what is remembered; what a damaged file said is forgotten."""
    try:
        with _path().open("rb") as file:
            found = json.loads(file.read(LARGEST))
        return [
            Tuning(
                identity={str(key): str(value) for key, value in each["identity"].items()},
                variant=dict(each["variant"]),
                on=str(each["on"]),
                measured=tuple(
                    (str(name), float(value), float(lo), float(hi))
                    for name, value, lo, hi in each["measured"]
                    if all(map(math.isfinite, (value, lo, hi)))
                ),
                left_out={str(key): str(value) for key, value in each["left_out"].items()},
            )
            for each in found
        ]
    except (OSError, RecursionError, *NONSENSE):
        return []


def _path() -> Path:
    return user_cache_path("hwkit") / "tunings.json"
