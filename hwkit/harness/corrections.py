"""Corrections that `hwkit meter compare` has found, in a file of the user's."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platformdirs import user_data_path

from hwkit.errors import HwkitError, NotPermitted, RecordError
from hwkit.harness.correction import Correction

if TYPE_CHECKING:
    from hwkit.harness.metering import Sampled
    from hwkit.protocols import MeterSpec

LARGEST = 1 << 20  # bytes
VERSION = 1


@dataclass(frozen=True, slots=True)
class Kept:
    """A correction, and of which instrument it is."""

    name: str  # the meter's address
    model: str | None  # as it told them
    serial: str | None
    correction: Correction

    @classmethod
    def of(cls, sampled: Sampled, correction: Correction) -> Kept:
        """Return the correction of a meter that is open."""
        return cls(sampled.spec.name, *identity(sampled), correction)

    @property
    def instrument(self) -> tuple[str, str | None, str | None]:
        """What it is of: another instrument at that address is another matter."""
        return self.name, self.model, self.serial

    def fits(self, sampled: Sampled) -> bool:
        """Is it of this meter, which is open?"""
        return self.instrument == (sampled.spec.name, *identity(sampled))

    def to_json(self) -> dict[str, Any]:
        """Return it as the file has it."""
        return {
            "name": self.name,
            "model": self.model,
            "serial": self.serial,
            "correction": self.correction.to_json(),
        }


def identity(sampled: Sampled) -> tuple[str | None, str | None]:
    """Return model and serial as an instrument told them, or its profile has them."""
    told, spec = sampled.told, sampled.spec
    return told.get("model") or spec.model, told.get("serial") or spec.serial


def as_told(sampled: Sampled) -> MeterSpec:
    """Return what a meter is, with model and serial as it told them."""
    model, serial = identity(sampled)
    return replace(sampled.spec, model=model, serial=serial)


def read() -> list[Kept]:
    """Return what is kept, the oldest first.

    Raises RecordError for a file that is none of ours, NotPermitted for one that cannot be read.
    """
    path = _path()
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST + 1)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise NotPermitted(str(path), f"it cannot be read: {error.strerror}") from error
    try:
        document = json.loads(text[:LARGEST])
        if document["version"] != VERSION:
            raise ValueError(f"version {document['version']!r:.20}")  # noqa: TRY301
        return [
            Kept(
                _text(each["name"]) or "",
                _text(each["model"]),
                _text(each["serial"]),
                Correction.from_json(each["correction"]),
            )
            for each in document["corrections"]
        ]
    except (
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        RecursionError,
        HwkitError,
    ) as error:
        what = f"{type(error).__name__}: {error!s:.200}"
        raise RecordError(f"{path}: no corrections of ours, remove it ({what})") from error


def keep(new: Kept) -> None:
    """Add a correction in place of that instrument's last. Raises as read does."""
    _write([*(each for each in read() if each.instrument != new.instrument), new])


def forget(name: str) -> list[Kept]:
    """Remove the corrections of the meters at an address, and return them. Raises as read does."""
    kept = read()
    gone = [each for each in kept if each.name == name]
    if gone:
        _write([each for each in kept if each.name != name])
    return gone


def _write(kept: list[Kept]) -> None:
    """Write them whole or not at all, whoever reads beside us."""
    document = {"version": VERSION, "corrections": [each.to_json() for each in kept]}
    path = _path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(document, file, indent=1, allow_nan=False)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink()
            raise
    except OSError as error:
        raise NotPermitted(str(path), f"it cannot be written: {error.strerror}") from error


def _text(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{value!r:.40} is no text")
    return value


def _path() -> Path:
    return user_data_path("hwkit", appauthor=False) / "corrections.json"
