"""A record: one run's document, its raw rows, and the figures that follow from them."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Self

from hwkit.errors import RecordError
from hwkit.harness.delivered import Delivered
from hwkit.harness.figures import conditions, summarise
from hwkit.harness.metering import spec_from_json
from hwkit.protocols import Basis
from hwkit.records.differences import work_of
from hwkit.records.rows import READERS, Row, decode, encode, read_json
from hwkit.records.shape import refuse_misshapen
from hwkit.records.upgrades import SCHEMA, upgrade
from hwkit.units import Figure
from hwkit.work import Job

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hwkit.harness.figures import Summary
    from hwkit.protocols import CreditedShare, Reading, Window

_ID = re.compile(r"[0-9A-Za-z._-]{1,80}")


class NewerRecord(RecordError):
    """A record of a schema that this hwkit does not know yet."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """So many rows of one kind, encoded, with the digest that was written beside them."""

    rows: int
    data: bytes
    digest: str

    @classmethod
    def of(cls, kind: str, some: list[Row]) -> Self:
        """Encode rows."""
        data = encode(kind, some)
        return cls(len(some), data, sha256(data))


@dataclass(frozen=True, slots=True)
class Record:
    """A sealed document as its text, and the chunks it vouches for."""

    text: str
    digest: str
    chunks: dict[str, list[Chunk]]
    identity: dict[str, str] = field(default_factory=dict)

    @classmethod
    def sealed(cls, document: dict[str, Any], chunks: dict[str, list[Chunk]]) -> Self:
        """Return the record of a finished document; the digests of its rows go into it."""
        vouched = {
            kind: [{"rows": chunk.rows, "sha256": chunk.digest} for chunk in some]
            for kind, some in sorted(chunks.items())
        }
        text = canonical({**document, "rows": vouched})
        return cls(text, sha256(text.encode()), chunks)

    @property
    def document(self) -> dict[str, Any]:
        """The document in today's schema. Raises RecordError for one that is too new or none."""
        document = upgrade(parse(self.text))
        refuse_misshapen(document)
        return document

    @property
    def id(self) -> str:
        """The record's id: its time, then chance."""
        return str(parse(self.text)["id"])

    def read(self, kind: str) -> Iterator[Any]:
        """Yield the rows of one kind as the values they were: Window, CreditedShare, Audit, ..."""
        return map(READERS[kind], self.rows(kind))

    def rows(self, kind: str) -> Iterator[Row]:
        """Yield the rows of one kind as tuples, in the order of rows.COLUMNS."""
        for chunk in self.chunks.get(kind, []):
            yield from decode(kind, chunk.data)

    @property
    def figures(self) -> dict[str, Figure]:
        """The figures as the document states them."""
        return {k: Figure.from_json(v) for k, v in self.document["figures"].items()}

    @property
    def work(self) -> str:
        """What kind of work its figures are of."""
        return work_of(self.document)

    def summary(self) -> Summary:
        """Compute the figures again from the rows."""
        return summary_of(self.document, self.chunks)

    def to_json(self) -> dict[str, Any]:
        """Return the document with the digest that seals it, as --json prints it."""
        return {**self.document, "digest": self.digest}


def summary_of(document: dict[str, Any], chunks: dict[str, list[Chunk]], since: int = 0) -> Summary:
    """Compute the figures of a run from its rows, sealed or not: of windows opened `since` then."""

    def read(kind: str) -> list[Any]:
        return [
            READERS[kind](row) for chunk in chunks.get(kind, []) for row in decode(kind, chunk.data)
        ]

    job = Job.from_json(document["job"])
    windows: list[Window] = read("windows")
    readings: dict[str, list[Reading]] = {}
    for meter, reading in read("readings"):
        readings.setdefault(meter, []).append(reading)
    specs = map(spec_from_json, document.get("meters", []))
    delivered = None
    if document["device"]["basis"] != Basis.COUNTED:
        delivered = _delivered(job, windows, chunks, since)
    return summarise(
        [window for window in windows if window.opened >= since],
        read("audits"),
        job.target,
        probes=read("probes"),
        metered=[(spec, readings.get(spec.name, [])) for spec in specs],
        delivered=delivered,
        **conditions(document),
    )


def _delivered(
    job: Job, windows: list[Window], chunks: dict[str, list[Chunk]], since: int
) -> Delivered:
    """Return what a miner has shown and told, from its rows; there may be millions."""

    def each(kind: str) -> Iterator[Any]:
        for chunk in chunks.get(kind, []):
            yield from map(READERS[kind], decode(kind, chunk.data))

    found = Delivered(job)
    for event in (*each("assigned"), *each("submissions"), *each("probes")):
        found.hear(event)
    by_window = groupby(each("shares"), attrgetter("window"))
    number, some = next(by_window, (len(windows), iter(())))
    for place, window in enumerate(windows):
        shares: Iterable[CreditedShare] = some if number == place else ()
        if window.opened >= since:
            found.close(window, ((credited.at, credited.share) for credited in shares))
        if number == place:
            number, some = next(by_window, (len(windows), iter(())))
    return found


def parse(text: str) -> dict[str, Any]:
    """Read a document. Raises RecordError for what is none, or newer than this hwkit.

    A document has one text: one that says a key twice, say, would read differently elsewhere.
    """
    try:
        document = read_json(text)
        schema, name = document["schema"], document["id"]
        one_form = canonical(document)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RecordError(f"not a record: {type(error).__name__}: {error!s:.200}") from error
    if one_form != text:
        raise RecordError("not a record: not in the one form that a document has")
    if (
        type(schema) is not int
        or schema < 1
        or not isinstance(name, str)
        or not _ID.fullmatch(name)
    ):
        raise RecordError("not a record: its schema or id is none")
    if schema > SCHEMA:
        raise NewerRecord(
            f"record {name} has schema {schema}; this hwkit reads up to {SCHEMA}: update hwkit"
        )
    return dict(document)


def canonical(document: Any) -> str:  # noqa: ANN401 - any JSON value
    """Return the one text of a JSON value: keys sorted, no spaces, ASCII, no NaN."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)


def sha256(data: bytes) -> str:
    """Return a SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()
