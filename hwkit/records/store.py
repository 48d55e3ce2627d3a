"""The store: runs are opened, appended to and sealed in one database, SQLite unless told."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from platformdirs import user_data_path

from hwkit.errors import RecordError
from hwkit.harness.plan import MINERS_CHOICE, NONCES_ONLY, VERSION_ROLLING
from hwkit.protocols import Basis
from hwkit.records import owner, tables
from hwkit.records.record import Chunk, Record, canonical, parse, summary_of
from hwkit.records.run import StoredRun
from hwkit.records.tables import CHUNK, IDENTITY, RECORD, columns
from hwkit.records.upgrades import SCHEMA, upgrade
from hwkit.records.verify import refuse_changed

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    AnyRow = sa.Row[*tuple[Any, ...]]

    from hwkit.protocols import RunSink


class Store:
    """Records at a SQLAlchemy URL, or in the SQLite file at a path.

    Several processes may write at once. Raises RecordError for what is no store of ours or newer
    than this hwkit, NotPermitted where it cannot be written, NoDriver for a database whose driver
    is not installed.
    """

    def __init__(self, url: str | None = None) -> None:
        """Open the store, and make it if it is not there."""
        self._engine = tables.connect(default_url() if url is None else url)
        self.url = self._engine.url

    def open(self, facts: dict[str, Any], identity: dict[str, str]) -> RunSink:
        """Begin a run; see protocols.Sink."""
        now = datetime.now(UTC)
        document = {
            "schema": SCHEMA,
            "id": f"{now:%Y%m%dT%H%M%S}.{now.microsecond // 1000:03}-{secrets.token_hex(3)}",
            "began": now.isoformat(timespec="microseconds"),
            "began_ns": time.monotonic_ns(),
            "state": "running",
            **facts,
        }
        with self._write() as connection:
            connection.execute(
                RECORD.insert().values(
                    id=document["id"],
                    document=canonical(document),
                    owner=canonical(owner.this_process()),
                    touched=time.time(),
                    **columns(document),
                )
            )
            connection.execute(
                IDENTITY.insert().values(record=document["id"], document=canonical(identity))
            )
        return StoredRun(self, document)

    def close(self) -> None:
        """Let go of the database; the store can still be used, and opens it again."""
        self._engine.dispose()

    def listing(self) -> list[Listed]:
        """Return all records, oldest first."""
        searched = ("id", "began", "device", "basis", "hashrate_h_s", "state")
        kept = (RECORD.c[name] for name in (*searched, "digest", "owner", "touched"))
        query = sa.select(*kept, tables.ROLLED.label("rolled")).order_by(RECORD.c.id)

        def look() -> list[tuple[str, Any]]:
            with self._read() as connection:
                found = connection.execute(query).all()
            return [(_state(row), row) for row in found]

        found = look()
        if any(_has_gone(state, row) for state, row in found):
            found = look()
        return [
            Listed(row.id, row.began, row.device, state, row.hashrate_h_s, _work(row), row.basis)
            for state, row in found
        ]

    def get(self, name: str) -> Record:
        """Return one record by its id, the beginning of it, or 'last'.

        One that was never sealed is closed here, in memory, with what was committed: its state is
        'running' while its process lives, else 'interrupted'. Raises RecordError.
        """

        def look() -> tuple[str, Any, Record]:
            with self._read() as connection:
                row = self._row(connection, name)
                kept = _chunks(connection, row.id), _identity(connection, row.id)
            return _state(row), row, Record(row.document, row.digest, *kept)

        state, row, record = look()
        if _has_gone(state, row):
            state, row, record = look()
        return record if record.digest else _closed(record, state)

    def newest(self, device: str, scope: str) -> dict[str, float]:
        """Return power (W) and hashrate (H/s) of a device's last run that was metered there.

        Nothing where there is none among its last ten. It is a hint, not verified.
        """
        query = sa.select(RECORD.c.document).where(RECORD.c.device == device, RECORD.c.digest != "")
        with self._read() as connection:
            found = connection.execute(query.order_by(RECORD.c.id.desc()).limit(10)).all()
        for row in found:
            document = json.loads(row.document)
            figures, meters = document.get("figures", {}), document.get("meters", [])
            if {"power", "hashrate"} <= figures.keys() and meters[0]["scope"] == scope:
                return {name: figures[name]["value"] for name in ("power", "hashrate")}
        return {}

    def add(self, record: Record) -> bool:
        """Take in a record from elsewhere; False when it is here already, the same to the bit.

        Raises RecordError for one that is here with other content, or does not match its digests.
        """
        refuse_changed(record)
        with self._write() as connection:
            here = connection.execute(
                sa.select(RECORD.c.id).where(RECORD.c.id == record.id)
            ).first()
            if here is not None:
                # What was never sealed has its digest from how it reads.
                if self.get(record.id).digest == record.digest:
                    return False
                raise RecordError(f"record {record.id} is here already, with other content")
            connection.execute(
                RECORD.insert().values(
                    id=record.id,
                    document=record.text,
                    digest=record.digest,
                    touched=time.time(),
                    **columns(record.document),
                )
            )
            for kind, chunks in record.chunks.items():
                for number, chunk in enumerate(chunks):
                    values = _chunk_values(record.id, kind, number, chunk)
                    connection.execute(CHUNK.insert().values(values))
            if record.identity:
                connection.execute(
                    IDENTITY.insert().values(record=record.id, document=canonical(record.identity))
                )
        return True

    def reindex(self) -> int:
        """Fill the columns to search by again from the documents; return how many records."""
        with self._write() as connection:
            found = connection.execute(sa.select(RECORD.c.id, RECORD.c.document)).all()
            for row in found:
                derived = columns(upgrade(parse(row.document)))
                connection.execute(RECORD.update().where(RECORD.c.id == row.id).values(**derived))
        return len(found)

    def append(self, name: str, chunks: list[tuple[str, int, Chunk]], seal: Record | None) -> None:
        """Write a run's new or grown chunks, and its seal when it is done, in one transaction."""
        with self._write() as connection:
            for kind, number, chunk in chunks:
                values = _chunk_values(name, kind, number, chunk)
                same = [column == values[column.name] for column in CHUNK.primary_key]
                if not connection.execute(CHUNK.update().where(*same).values(values)).rowcount:
                    connection.execute(CHUNK.insert().values(values))
            change: dict[str, Any] = {"touched": time.time()}
            if seal is not None:
                change |= {"document": seal.text, "digest": seal.digest, "owner": None}
                change |= columns(seal.document)
            here = connection.execute(RECORD.update().where(RECORD.c.id == name).values(**change))
            if here.rowcount != 1:
                raise RecordError(f"record {name} is gone from {tables.shown(self.url)}")

    def _row(self, connection: sa.Connection, name: str) -> AnyRow:
        query = sa.select(RECORD)
        where = tables.shown(self.url)
        if name == "last":
            row = connection.execute(query.order_by(RECORD.c.id.desc()).limit(1)).first()
            if row is None:
                raise RecordError(f"no records in {where}")
            return row
        exact = connection.execute(query.where(RECORD.c.id == name)).first()
        if exact is not None:
            return exact
        some = connection.execute(
            query.where(RECORD.c.id.startswith(name, autoescape=True)).limit(2)
        ).all()
        if not some or not name:
            raise RecordError(f"no record {name!r} in {where}; see hwkit records list")
        if len(some) > 1:
            raise RecordError(f"several records begin with {name!r}; give more of the id")
        return some[0]

    def _read(self) -> AbstractContextManager[sa.Connection]:
        return tables.reading(self._engine)

    def _write(self) -> AbstractContextManager[sa.Connection]:
        return tables.writing(self._engine)


@dataclass(frozen=True, slots=True)
class Listed:
    """A record in a list: what it is searched by."""

    id: str
    began: str
    device: str
    state: str
    hashrate_h_s: float | None
    work: str
    basis: str | None


def default_url() -> str:
    """Return where records go unless told otherwise: in this user's data directory."""
    return str(user_data_path("hwkit", appauthor=False) / "records.sqlite")


def _state(row: AnyRow) -> str:
    """Return a record's state; one that was never sealed has it from its process."""
    if row.digest:
        return str(row.state)
    alive = row.owner is not None and owner.is_alive(json.loads(row.owner), row.touched)
    return "running" if alive else "interrupted"


def _work(row: AnyRow) -> str:
    if row.basis != Basis.COUNTED:
        return MINERS_CHOICE
    return VERSION_ROLLING if row.rolled else NONCES_ONLY


def _has_gone(state: str, row: AnyRow) -> bool:
    """Is its process gone? Then it must be read again: it may have been sealed just before."""
    return not row.digest and state != "running"


def _closed(record: Record, state: str) -> Record:
    """Return a record that was never sealed as if it had been, at its last window."""
    document = upgrade(parse(record.text))
    why = "its process is still running" if state == "running" else "its process ended"
    try:
        summary = summary_of(document, record.chunks)
        windows = record.read("windows")
        last = max((window.closed for window in windows), default=document["began_ns"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise RecordError(f"record {document['id']} is misshapen: {error}") from error
    ended = {"state": state, "why": why, "ended_ns": last}
    closed = Record.sealed({**document, **ended, **summary.to_json()}, record.chunks)
    return replace(closed, identity=record.identity)


def _chunks(connection: sa.Connection, name: str) -> dict[str, list[Chunk]]:
    chunks: dict[str, list[Chunk]] = {}
    ordered = sa.select(CHUNK).where(CHUNK.c.record == name).order_by(CHUNK.c.kind, CHUNK.c.number)
    for chunk in connection.execute(ordered):
        chunks.setdefault(chunk.kind, []).append(Chunk(chunk.rows, chunk.data, chunk.digest))
    return chunks


def _chunk_values(record: str, kind: str, number: int, chunk: Chunk) -> dict[str, Any]:
    return {"record": record, "kind": kind, "number": number, **asdict(chunk)}


def _identity(connection: sa.Connection, name: str) -> dict[str, str]:
    query = sa.select(IDENTITY.c.document).where(IDENTITY.c.record == name)
    kept = connection.execute(query).scalar()
    return dict(json.loads(kept)) if kept else {}
