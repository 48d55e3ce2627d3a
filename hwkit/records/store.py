"""The store: runs are opened, appended to and sealed in one database, SQLite unless told."""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from platformdirs import user_data_path
from sqlalchemy import exc

from hwkit.errors import NoDriver, NotPermitted, RecordError
from hwkit.records import owner, rows
from hwkit.records.record import Chunk, Record, canonical, parse, summary_of
from hwkit.records.upgrades import SCHEMA, upgrade
from hwkit.records.verify import refuse_changed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hwkit.protocols import Audit, CreditedShare, Reading, RunSink, Window

DATABASE_SHAPE = 1
BUSY_S = 30
_META = sa.MetaData()
_STORE = sa.Table("hwkit_store", _META, sa.Column("shape", sa.Integer, nullable=False))
_RECORD = sa.Table(
    "record",
    _META,
    sa.Column("id", sa.String(80), primary_key=True),
    sa.Column("document", sa.Text, nullable=False),
    sa.Column("digest", sa.String(64)),  # of the document; null until it is sealed
    sa.Column("owner", sa.Text),  # the process that writes it; null once sealed
    sa.Column("touched", sa.Float, nullable=False),  # seconds since 1970, by the owner's clock
    # Derived from the document by columns(); `hwkit records reindex` fills them again.
    sa.Column("schema", sa.Integer),
    sa.Column("began", sa.String(40), index=True),
    sa.Column("device", sa.String(200), index=True),
    sa.Column("basis", sa.String(20)),
    sa.Column("state", sa.String(20)),
    sa.Column("session", sa.String(40), index=True),
    sa.Column("hashrate_h_s", sa.Float),
)
_CHUNK = sa.Table(
    "chunk",
    _META,
    sa.Column("record", sa.ForeignKey("record.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("kind", sa.String(20), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
)
# What could name a person, apart from the document: exported only when asked for.
_IDENTITY = sa.Table(
    "identity",
    _META,
    sa.Column("record", sa.ForeignKey("record.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("document", sa.Text, nullable=False),
)


def default_url() -> str:
    """Return where records go unless told otherwise: in this user's data directory."""
    return str(user_data_path("hwkit", appauthor=False) / "records.sqlite")


def columns(document: dict[str, Any]) -> dict[str, Any]:
    """Return what a document is searched by, from its upgraded form. Raises RecordError."""
    try:
        hashrate = document.get("figures", {}).get("hashrate")
        return {
            "schema": document["schema"],
            "began": document["began"],
            "device": document["device"]["name"],
            "basis": document["device"]["basis"],
            "state": document["state"],
            "session": document["session"],
            "hashrate_h_s": None if hashrate is None else float(hashrate["value"]),
        }
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise RecordError(f"record {document['id']} is misshapen: {error}") from error


@dataclass(frozen=True, slots=True)
class Listed:
    """A record in a list: what it is searched by."""

    id: str
    began: str
    device: str
    state: str
    hashrate_h_s: float | None


class Store:
    """Records at a SQLAlchemy URL, or in the SQLite file at a path.

    Several processes may write at once. Raises RecordError for what is no store of ours or newer
    than this hwkit, NotPermitted where it cannot be written, NoDriver for a database whose driver
    is not installed.
    """

    def __init__(self, url: str | None = None) -> None:
        """Open the store, and make it if it is not there."""
        self._engine = _engine(default_url() if url is None else url)
        self.url = self._engine.url
        with self._answered():
            self._prepare()

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
                _RECORD.insert().values(
                    id=document["id"],
                    document=canonical(document),
                    owner=canonical(owner.this_process()),
                    touched=time.time(),
                    **columns(document),
                )
            )
            connection.execute(
                _IDENTITY.insert().values(record=document["id"], document=canonical(identity))
            )
        return StoredRun(self, document)

    def close(self) -> None:
        """Let go of the database; the store can still be used, and opens it again."""
        self._engine.dispose()

    def listing(self) -> list[Listed]:
        """Return all records, oldest first."""
        names = ("id", "began", "device", "hashrate_h_s", "state", "digest", "owner", "touched")
        query = sa.select(*(_RECORD.c[name] for name in names)).order_by(_RECORD.c.id)

        def look() -> list[tuple[str, Any]]:
            with self._read() as connection:
                found = connection.execute(query).all()
            return [(_state(row), row) for row in found]

        found = look()
        if any(_has_gone(state, row) for state, row in found):
            found = look()
        return [
            Listed(row.id, row.began, row.device, state, row.hashrate_h_s) for state, row in found
        ]

    def get(self, name: str) -> Record:
        """Return one record by its id, the beginning of it, or 'last'.

        One that was never sealed is closed here, in memory, with what was committed: its state is
        'running' while its process lives, else 'interrupted'. Raises RecordError.
        """

        def look() -> tuple[str, Any, dict[str, list[Chunk]], dict[str, str]]:
            with self._read() as connection:
                row = self._row(connection, name)
                chunks, identity = self._chunks(connection, row.id), self._who(connection, row.id)
            return _state(row), row, chunks, identity

        state, row, chunks, identity = look()
        if _has_gone(state, row):
            state, row, chunks, identity = look()
        if row.digest:
            return Record(row.document, row.digest, chunks, identity)
        document = upgrade(parse(row.document))
        why = "its process is still running" if state == "running" else "its process ended"
        try:
            summary = summary_of(document, chunks)
            last = max((window.closed for window in _windows(chunks)), default=document["began_ns"])
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise RecordError(f"record {row.id} is misshapen: {error}") from error
        ended = {"state": state, "why": why, "ended_ns": last}
        closed = Record.sealed({**document, **ended, **summary.to_json()}, chunks)
        return Record(closed.text, closed.digest, chunks, identity)

    def add(self, record: Record) -> bool:
        """Take in a record from elsewhere; False when it is here already, the same to the bit.

        Raises RecordError for one that is here with other content, or does not match its digests.
        """
        refuse_changed(record)
        document = record.document
        with self._write() as connection:
            here = connection.execute(
                sa.select(_RECORD.c.id).where(_RECORD.c.id == record.id)
            ).first()
            if here is not None:
                # What was never sealed has its digest from how it reads.
                if self.get(record.id).digest == record.digest:
                    return False
                raise RecordError(f"record {record.id} is here already, with other content")
            connection.execute(
                _RECORD.insert().values(
                    id=record.id,
                    document=record.text,
                    digest=record.digest,
                    touched=time.time(),
                    **columns(document),
                )
            )
            for kind, chunks in record.chunks.items():
                for number, chunk in enumerate(chunks):
                    connection.execute(
                        _CHUNK.insert().values(**_chunk(record.id, kind, number, chunk))
                    )
            if record.identity:
                connection.execute(
                    _IDENTITY.insert().values(record=record.id, document=canonical(record.identity))
                )
        return True

    def reindex(self) -> int:
        """Fill the columns to search by again from the documents; return how many records."""
        with self._write() as connection:
            found = connection.execute(sa.select(_RECORD.c.id, _RECORD.c.document)).all()
            for row in found:
                derived = columns(upgrade(parse(row.document)))
                connection.execute(_RECORD.update().where(_RECORD.c.id == row.id).values(**derived))
        return len(found)

    def append(self, name: str, chunks: list[tuple[str, int, Chunk]], seal: Record | None) -> None:
        """Write a run's new or grown chunks, and its seal when it is done, in one transaction."""
        with self._write() as connection:
            for kind, number, chunk in chunks:
                values = _chunk(name, kind, number, chunk)
                same = (
                    (_CHUNK.c.record == name)
                    & (_CHUNK.c.kind == kind)
                    & (_CHUNK.c.number == number)
                )
                if not connection.execute(_CHUNK.update().where(same).values(**values)).rowcount:
                    connection.execute(_CHUNK.insert().values(**values))
            change: dict[str, Any] = {"touched": time.time()}
            if seal is not None:
                change |= {"document": seal.text, "digest": seal.digest, "owner": None}
                change |= columns(seal.document)
            here = connection.execute(_RECORD.update().where(_RECORD.c.id == name).values(**change))
            if here.rowcount != 1:
                raise RecordError(f"record {name} is gone from {_shown(self.url)}")

    @staticmethod
    def _chunks(connection: sa.Connection, name: str) -> dict[str, list[Chunk]]:
        chunks: dict[str, list[Chunk]] = {}
        ordered = (
            sa.select(_CHUNK)
            .where(_CHUNK.c.record == name)
            .order_by(_CHUNK.c.kind, _CHUNK.c.number)
        )
        for chunk in connection.execute(ordered):
            chunks.setdefault(chunk.kind, []).append(Chunk(chunk.rows, chunk.data, chunk.digest))
        return chunks

    @staticmethod
    def _who(connection: sa.Connection, name: str) -> dict[str, str]:
        query = sa.select(_IDENTITY.c.document).where(_IDENTITY.c.record == name)
        kept = connection.execute(query).scalar()
        return dict(json.loads(kept)) if kept else {}

    def _row(self, connection: sa.Connection, name: str) -> Any:  # noqa: ANN401 - a row of _RECORD
        query = sa.select(_RECORD)
        if name == "last":
            row = connection.execute(query.order_by(_RECORD.c.id.desc()).limit(1)).first()
            if row is None:
                raise RecordError(f"no records in {_shown(self.url)}")
            return row
        exact = connection.execute(query.where(_RECORD.c.id == name)).first()
        if exact is not None:
            return exact
        some = connection.execute(
            query.where(_RECORD.c.id.startswith(name, autoescape=True)).limit(2)
        ).all()
        if not some or not name:
            raise RecordError(f"no record {name!r} in {_shown(self.url)}; see hwkit records list")
        if len(some) > 1:
            raise RecordError(f"several records begin with {name!r}; give more of the id")
        return some[0]

    def _prepare(self) -> None:
        """Make the tables, or check that they are ours and of a shape this hwkit knows."""
        names = sa.inspect(self._engine).get_table_names()
        if not names:
            with self._write() as connection:
                _META.create_all(connection)
                if connection.execute(sa.select(_STORE)).first() is None:
                    connection.execute(_STORE.insert().values(shape=DATABASE_SHAPE))
            return
        if missing := _META.tables.keys() - set(names):
            what = "not of hwkit records" if _STORE.name in missing else f"without {min(missing)}"
            raise RecordError(f"{_shown(self.url)} is a database, but {what}")
        with self._read() as connection:
            shape = connection.execute(sa.select(_STORE.c.shape)).scalar()
        if shape != DATABASE_SHAPE:
            raise RecordError(
                f"{_shown(self.url)} has shape {shape}; this hwkit knows {DATABASE_SHAPE}: "
                "update hwkit"
            )

    @contextmanager
    def _read(self) -> Iterator[sa.Connection]:
        with self._answered(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _write(self) -> Iterator[sa.Connection]:
        with (
            self._answered(),
            self._engine.connect().execution_options(hwkit_write=True) as connection,
            connection.begin(),
        ):
            yield connection

    @contextmanager
    def _answered(self) -> Iterator[None]:
        """Turn what a database can refuse into what a user can do something about."""
        try:
            yield
        except exc.DBAPIError as error:
            text = " ".join(str(error.orig).split())  # one line
            where = _shown(self.url)
            if isinstance(error.orig, sqlite3.DatabaseError) and "not a database" in text:
                raise RecordError(f"{where} is not a database") from error
            if "malformed" in text:
                raise RecordError(f"{where} is damaged: {text}") from error
            raise NotPermitted(where, f"the store cannot be used: {text}") from error


class StoredRun:
    """One run's rows on their way into the store; see protocols.RunSink.

    Rows gather in the last chunk of their kind, which is written anew at each commit until it is
    full: a long run leaves few large chunks, a killed one all but its last second.
    """

    def __init__(self, store: Store, document: dict[str, Any]) -> None:
        """Take the open document."""
        self.id = str(document["id"])
        self._store = store
        self._document = document
        self._full: dict[str, list[Chunk]] = {}
        self._written: dict[str, int] = {}  # how many of the full ones are in the store
        self._rows: dict[str, list[rows.Row]] = {}  # those after the full ones
        self._changed: set[str] = set()
        self._lock = threading.Lock()

    def window(self, window: Window) -> None:
        """Add a window."""
        self._add("windows", rows.from_window(window))

    def share(self, share: CreditedShare) -> None:
        """Add a credited share."""
        self._add("shares", rows.from_share(share))

    def audit(self, audit: Audit) -> None:
        """Add an audit."""
        self._add("audits", rows.from_audit(audit))

    def reading(self, meter: str, reading: Reading) -> None:
        """Add a meter's reading."""
        self._add("readings", rows.from_reading(meter, reading))

    def event(self, at: int, what: str) -> None:
        """Add an event."""
        self._add("events", (at, what))

    def commit(self) -> None:
        """Write what is new; where that fails, it is new still."""
        with self._lock:
            self._write(self._tails(self._changed), None)

    def seal(self, facts: dict[str, Any]) -> None:
        """Write what is new and close the document over all rows."""
        with self._lock:
            tails = self._tails(self._rows)
            chunks = {kind: list(full) for kind, full in self._full.items() if full}
            for kind, tail in tails.items():
                chunks.setdefault(kind, []).append(tail)
            self._write(tails, Record.sealed({**self._document, **facts}, chunks))

    def _add(self, kind: str, row: rows.Row) -> None:
        with self._lock:
            self._rows.setdefault(kind, []).append(row)
            self._changed.add(kind)

    def _tails(self, kinds: Iterable[str]) -> dict[str, Chunk]:
        """Make full chunks of the rows as far as they go; return those of the rows left over."""
        for kind in kinds:
            some, full = self._rows[kind], self._full.setdefault(kind, [])
            while len(some) >= rows.CHUNK_ROWS:
                full.append(Chunk.of(kind, some[: rows.CHUNK_ROWS]))
                del some[: rows.CHUNK_ROWS]
        return {kind: Chunk.of(kind, some) for kind in kinds if (some := self._rows[kind])}

    def _write(self, tails: dict[str, Chunk], seal: Record | None) -> None:
        """Write the full chunks and tails that the store has not."""
        pending = []
        for kind in sorted(self._changed):
            full, written = self._full[kind], self._written.get(kind, 0)
            pending += [(kind, n, full[n]) for n in range(written, len(full))]
            if kind in tails:
                pending.append((kind, len(full), tails[kind]))
        self._store.append(self.id, pending, seal)
        self._written = {kind: len(full) for kind, full in self._full.items()}
        self._changed.clear()


def _chunk(record: str, kind: str, number: int, chunk: Chunk) -> dict[str, Any]:
    return {
        "record": record,
        "kind": kind,
        "number": number,
        "rows": chunk.rows,
        "data": chunk.data,
        "digest": chunk.digest,
    }


def _windows(chunks: dict[str, list[Chunk]]) -> Iterator[Window]:
    for chunk in chunks.get("windows", []):
        yield from map(rows.to_window, rows.decode("windows", chunk.data))


def _state(row: Any) -> str:  # noqa: ANN401 - a row of _RECORD
    """Return a record's state; one that was never sealed has it from its process."""
    if row.digest:
        return str(row.state)
    alive = row.owner is not None and owner.is_alive(json.loads(row.owner), row.touched)
    return "running" if alive else "interrupted"


def _has_gone(state: str, row: Any) -> bool:  # noqa: ANN401 - a row of _RECORD
    """Is its process gone? Then it must be read again: it may have been sealed just before."""
    return not row.digest and state != "running"


def _shown(url: sa.URL) -> str:
    """Return a URL as it may be printed: no password in it, a file as its path."""
    return url.database if _is_sqlite(url) and url.database else url.render_as_string()


def _is_sqlite(url: sa.URL) -> bool:
    return url.get_backend_name() == "sqlite"


def _engine(url: str) -> sa.Engine:
    """Return the engine of a URL, or of the SQLite file at a path."""
    try:
        parsed = sa.make_url(url) if "://" in url else sa.URL.create("sqlite", database=url)
        if _is_sqlite(parsed):
            if parsed.database in {None, "", ":memory:"}:
                raise RecordError("a store in memory would be gone at once: name a file")
            if not str(parsed.database).startswith("file:"):
                _directory_for(Path(str(parsed.database)))
        engine = sa.create_engine(parsed)
    except ModuleNotFoundError as error:
        raise NoDriver(url.partition(":")[0], f"pip install {error.name}") from error
    except (exc.ArgumentError, ValueError, TypeError) as error:
        # As it was written: whatever stands before an @ may be a password.
        shown = f"...@{url.rpartition('@')[2]}" if "@" in url else url
        raise RecordError(f"{shown!r} is no store: give a file or a SQLAlchemy URL") from error
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _on_connect)
        sa.event.listen(engine, "begin", _on_begin)
    return engine


def _directory_for(database: Path) -> None:
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NotPermitted(
            str(database), f"its directory cannot be made: {error.strerror}"
        ) from error


def _on_connect(connection: Any, _: object) -> None:  # noqa: ANN401 - sqlite3 or a stand-in
    connection.isolation_level = None  # transactions begin where _on_begin says
    for pragma in (f"busy_timeout = {BUSY_S * 1000}", "synchronous = NORMAL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}").close()
    # SQLite does not wait for others while it changes the journal's kind: so we do.
    began = time.monotonic()
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").close()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() - began > BUSY_S:
                raise
            time.sleep(0.01)
        else:
            return


def _on_begin(connection: sa.Connection) -> None:
    # A write takes its lock at once: two writers wait for each other instead of failing half-way.
    write = connection.get_execution_options().get("hwkit_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
