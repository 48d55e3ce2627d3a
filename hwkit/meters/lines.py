"""Readings as lines of text.

A line is `watts`, or `time,watts`, or what a first line of names says (time, watts, joules, volts,
amperes, power_factor, hertz; others are ignored), or a JSON object of these. Time is ISO 8601
(local where it has no zone) or seconds: since 1970 where they are 1e9 or more.
"""

from __future__ import annotations

import csv
import re
import time
from datetime import datetime
from typing import Any

from hwkit.errors import ProtocolError
from hwkit.protocols import Reading
from hwkit.wire.fields import Field, numbers, parse

LONGEST = 4096  # bytes of a line
_COLUMNS = ("watts", "joules", "volts", "amperes", "power_factor", "hertz")
_FIELDS = {name: Field(f"/{name}") for name in _COLUMNS}
_NUMBER = re.compile(r"[+-]?[0-9]{1,20}(\.[0-9]{0,20})?([eE][+-]?[0-9]{1,2})?", re.ASCII)


class Lines:
    """Makes readings of lines; wall-clock times are mapped to the monotonic clock once, now."""

    def __init__(self, name: str, *, finished: bool = False) -> None:
        self._name = name
        self._finished = finished  # then seconds since whenever cannot be placed
        self._wall_ns, self._monotonic_ns = time.time_ns(), time.monotonic_ns()
        self._columns: list[str] | None = None
        self._since: tuple[float, int] | None = None  # the first of relative seconds, its arrival

    def take(self, line: bytes, arrived: int) -> Reading | None:
        """Return the reading, None for a line of names or an empty one. Raises ProtocolError."""
        if not line.strip() or self.names(line):
            return None
        if line.lstrip().startswith(b"{"):
            document = parse(self._name, line)
            when = document.pop("time", None)
            found = numbers(self._name, document, _FIELDS, ())
        else:
            cells = self._cells(line)
            columns = self._columns or ["time", "watts"][-len(cells) :]
            if len(cells) > len(columns):
                raise self._fault("has more columns than names", line)
            row = dict(zip(columns, cells, strict=False))
            when = row.pop("time", None)
            found = {
                name: self._number(text, line)
                for name, text in row.items()
                if name in _COLUMNS and text
            }
        if "watts" not in found and "joules" not in found:
            raise self._fault("has neither watts nor joules", line)
        return Reading(
            arrived if when is None or when == "" else self._at(when, arrived, line), **found
        )

    def names(self, line: bytes) -> bool:
        """Take a line of column names for what it is."""
        names = [cell.lower() for cell in self._cells(line)]
        if {"watts", "joules"} & set(names):
            self._columns = names
            return True
        return False

    def _at(self, when: object, arrived: int, line: bytes) -> int:
        if isinstance(when, bool) or not isinstance(when, (str, int, float)):
            raise self._fault("has a time that is none", line)
        text = str(when).strip()
        if not _NUMBER.fullmatch(text):
            try:
                seconds = datetime.fromisoformat(text).timestamp()
            except (ValueError, OverflowError, OSError) as error:
                raise self._fault("has a time that is none", line) from error
        else:
            seconds = float(text)
            if seconds > 1e11:
                raise self._fault("has a time that is no seconds", line)
            if seconds < 1e9:
                if self._finished:
                    raise self._fault("counts seconds since nobody knows when", line)
                self._since = self._since or (seconds, arrived)
                return self._since[1] + round((seconds - self._since[0]) * 1e9)
        return self._monotonic_ns + round(seconds * 1e9) - self._wall_ns

    def _cells(self, line: bytes) -> list[str]:
        try:
            text = line.decode()
            return [cell.strip() for row in csv.reader([text]) for cell in row]
        except (UnicodeDecodeError, csv.Error) as error:
            raise self._fault("is no text", line) from error

    def _number(self, text: str, line: bytes) -> Any:  # noqa: ANN401 - part of a Reading
        if not _NUMBER.fullmatch(text):
            raise self._fault(f"has {text[:40]!r} for a number", line)
        return float(text)

    def _fault(self, what: str, line: bytes) -> ProtocolError:
        return ProtocolError(f"{self._name}: a line {what}: {line[:60]!r}", line[:200])
