"""Raw rows as bytes: columns of a few thousand rows, as JSON, deflated.

A chunk is zlib over UTF-8 JSON, an object of one array a column; the columns of TIMES hold
differences, the first one the time itself. Any language reads that.
"""

from __future__ import annotations

import json
import zlib
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

from hwkit.errors import RecordError
from hwkit.protocols import (
    Assigned,
    Audit,
    CreditedShare,
    Probe,
    Reading,
    Submission,
    Verdict,
    Window,
)
from hwkit.records.shape import is_number
from hwkit.work import Share, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Types = frozenset[type]
_WHOLE, _WHOLE_OR_NONE = Types({int}), Types({int, type(None)})
_NUMBER_OR_NONE, _TEXT, _LIST = Types({int, float, type(None)}), Types({str}), Types({list})
_TEXT_OR_NONE, _FLAG = Types({str, type(None)}), Types({bool})
COLUMNS: dict[str, dict[str, Types]] = {
    "windows": {
        "round": _WHOLE,
        "opened": _WHOLE,
        "closed": _WHOLE,
        "hashes": _WHOLE,
        "busy_ns": _WHOLE_OR_NONE,
        "shares": _WHOLE,
        "clock_hz": _NUMBER_OR_NONE,
    },
    "shares": {
        "window": _WHOLE,
        "at": _WHOLE,
        "serial": _WHOLE,
        "extranonce2": _TEXT,
        "ntime": _WHOLE,
        "version": _WHOLE,
        "nonce": _WHOLE,
    },
    # Jobs that a miner was sent, and the target of each, as 64 hex digits.
    "assigned": {
        "at": _WHOLE,
        "serial": _WHOLE,
        "target": _TEXT,
        "clean": _FLAG,
        "connection": _WHOLE,
    },
    # Shares that were refused; those credited stand under "shares".
    "submissions": {
        "at": _WHOLE,
        "connection": _WHOLE,
        "verdict": _TEXT,
        "took_ns": _WHOLE_OR_NONE,
        "serial": _WHOLE_OR_NONE,
        "extranonce2": _TEXT_OR_NONE,
        "ntime": _WHOLE_OR_NONE,
        "version": _WHOLE_OR_NONE,
        "nonce": _WHOLE_OR_NONE,
        "raw": _TEXT_OR_NONE,
    },
    "audits": {
        "window": _WHOLE,
        "serial": _WHOLE,
        "extranonce2": _TEXT,
        "first": _WHOLE,
        "count": _WHOLE,
        "hits": _WHOLE,
        "group": _WHOLE_OR_NONE,
    },
    "readings": {
        "meter": _TEXT,
        "at": _WHOLE,
        "joules": _NUMBER_OR_NONE,
        "watts": _NUMBER_OR_NONE,
        "flags": _LIST,
        "took_ns": _WHOLE_OR_NONE,
        "volts": _NUMBER_OR_NONE,
        "amperes": _NUMBER_OR_NONE,
        "power_factor": _NUMBER_OR_NONE,
        "hertz": _NUMBER_OR_NONE,
    },
    "probes": {"at": _WHOLE, "name": _TEXT, "value": _NUMBER_OR_NONE, "words": _LIST},
    "events": {"at": _WHOLE, "what": _TEXT},
}
# Columns that chunks of before do not have: then they hold None.
LATER = {"group", "took_ns", "volts", "amperes", "power_factor", "hertz"}
TIMES = {"opened", "closed", "at"}
CHUNK_ROWS = 2048
LARGEST_CHUNK = 1 << 24  # bytes of JSON: far above any chunk of ours, far below any memory
Row = tuple[Any, ...]


def encode(kind: str, rows: Sequence[Row]) -> bytes:
    """Return rows of one kind as a chunk."""
    columns = dict(zip(COLUMNS[kind], map(list, zip(*rows, strict=True)), strict=True))
    for name in TIMES & columns.keys():
        times = columns[name]
        columns[name] = times[:1] + [b - a for a, b in pairwise(times)]
    return zlib.compress(json.dumps(columns, separators=(",", ":")).encode(), 6)


def decode(kind: str, chunk: bytes) -> Iterator[Row]:
    """Yield the rows of a chunk. Raises RecordError for what is no chunk of this kind."""
    try:
        inflater = zlib.decompressobj()
        text = inflater.decompress(chunk, LARGEST_CHUNK)
        if not inflater.eof:
            raise RecordError(f"a chunk of {kind} is cut short, or larger than any of ours")
        if inflater.unused_data:
            raise RecordError(f"a chunk of {kind} goes on after its end")
        columns = read_json(text)
        for name, types in COLUMNS[kind].items():
            if name in LATER and name not in columns:
                columns[name] = [None] * len(next(iter(columns.values())))
            _refuse_strangers(f"{kind}.{name}", columns[name], types)
            if len(columns[name]) > CHUNK_ROWS:
                raise RecordError(f"a chunk of {kind} has more rows than {CHUNK_ROWS}")
        ordered = [
            accumulate(columns[name]) if name in TIMES else columns[name] for name in COLUMNS[kind]
        ]
        yield from zip(*ordered, strict=True)
    except (zlib.error, ValueError, KeyError, TypeError) as error:
        raise RecordError(f"a chunk of {kind} is corrupt: {error}") from error


def read_json(text: str | bytes) -> Any:  # noqa: ANN401 - any JSON value
    """Read JSON, strictly. Raises ValueError for what is none, NaN and bottomless nesting too."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON")


def _refuse_strangers(name: str, column: object, types: Types) -> None:
    """Raise ValueError for a column that is none, or holds what such a column never does."""
    if type(column) is not list or not set(map(type, column)) <= types:
        raise ValueError(f"{name} holds what it never does")
    # The numbers of shares, of which there may be millions, have to fit into a header anyway.
    few = int in types and not name.startswith("shares.")
    if few and not all(value is None or is_number(value) for value in column):
        raise ValueError(f"{name} holds a number that cannot be")


def from_window(window: Window) -> Row:
    """Return a window as a row."""
    return tuple(getattr(window, name) for name in COLUMNS["windows"])


def from_share(credited: CreditedShare) -> Row:
    """Return a credited share as a row."""
    share = credited.share
    return (
        credited.window,
        credited.at,
        share.serial,
        share.extranonce2.hex(),
        share.ntime,
        share.version,
        share.nonce,
    )


def from_assigned(assigned: Assigned) -> Row:
    """Return a job that was sent as a row."""
    target = f"{assigned.target.value:064x}"
    return (assigned.at, assigned.serial, target, assigned.clean, assigned.connection)


def from_submission(submission: Submission) -> Row:
    """Return a refused share as a row; its hash follows from it."""
    share, raw = submission.share, submission.raw
    parts: Row = (None,) * 5
    if share is not None:
        rolled = share.extranonce2.hex()
        parts = (share.serial, rolled, share.ntime, share.version, share.nonce)
    return (
        submission.at,
        submission.connection,
        submission.verdict.value,
        submission.took_ns,
        *parts,
        None if raw is None else raw.hex(),
    )


def from_audit(audit: Audit) -> Row:
    """Return an audit as a row."""
    return (
        audit.window,
        audit.serial,
        audit.extranonce2.hex(),
        audit.first,
        audit.count,
        audit.hits,
        audit.group,
    )


def from_reading(meter: str, reading: Reading) -> Row:
    """Return a meter's reading as a row."""
    values = (getattr(reading, name) for name in COLUMNS["readings"] if name != "meter")
    return (meter, *(list(value) if isinstance(value, tuple) else value for value in values))


def from_probe(probe: Probe) -> Row:
    """Return a probe as a row."""
    return (probe.at, probe.name, probe.value, list(probe.words))


def to_window(row: Row) -> Window:
    """Return the window of a row."""
    return Window(*row)


def to_share(row: Row) -> CreditedShare:
    """Return the credited share of a row."""
    window, at, serial, extranonce2, ntime, version, nonce = row
    return CreditedShare(
        window, at, Share(serial, bytes.fromhex(extranonce2), ntime, version, nonce)
    )


def to_assigned(row: Row) -> Assigned:
    """Return the job that was sent of a row."""
    at, serial, target, clean, connection = row
    return Assigned(serial, Target(int(target, 16)), at, clean, connection)


def to_submission(row: Row) -> Submission:
    """Return the refused share of a row."""
    at, connection, verdict, took_ns, serial, extranonce2, ntime, version, nonce, raw = row
    share = None
    if serial is not None:
        share = Share(serial, bytes.fromhex(extranonce2), ntime, version, nonce)
    came = None if raw is None else bytes.fromhex(raw)
    return Submission(at, connection, share, Verdict(verdict), took_ns, raw=came)


def to_audit(row: Row) -> Audit:
    """Return the audit of a row."""
    window, serial, extranonce2, first, count, hits, group = row
    return Audit(window, serial, bytes.fromhex(extranonce2), first, count, hits, group)


def to_reading(row: Row) -> tuple[str, Reading]:
    """Return the reading of a row, and the meter that took it."""
    meter, at, joules, watts, flags, *rest = row
    return meter, Reading(at, joules, watts, tuple(flags), *rest)


def to_probe(row: Row) -> Probe:
    """Return the probe of a row."""
    at, name, value, words = row
    return Probe(at, name, value, tuple(words))


READERS: dict[str, Callable[[Row], Any]] = {
    "windows": to_window,
    "shares": to_share,
    "assigned": to_assigned,
    "submissions": to_submission,
    "audits": to_audit,
    "readings": to_reading,
    "probes": to_probe,
    "events": tuple,
}
