"""The database under the store: its tables, its transactions, and what it can refuse."""

from __future__ import annotations

import sqlite3
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import exc

from hwkit.errors import NoDriver, NotPermitted, RecordError

if TYPE_CHECKING:
    from collections.abc import Iterator

SHAPE = 1  # of the tables; it moves when they do
BUSY_S = 30
_META = sa.MetaData()
_STORE = sa.Table("hwkit_store", _META, sa.Column("shape", sa.Integer, nullable=False))
RECORD = sa.Table(
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
CHUNK = sa.Table(
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
IDENTITY = sa.Table(
    "identity",
    _META,
    sa.Column("record", sa.ForeignKey("record.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("document", sa.Text, nullable=False),
)


# Is it of version rolling? Not a column: stores made before would lack it, and a document has one
# text, in which quotes inside of strings are escaped.
ROLLED = RECORD.c.document.contains('"version_rolling":true')


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


def connect(url: str) -> sa.Engine:
    """Open the database at a SQLAlchemy URL, or the SQLite file at a path; make what is missing.

    Raises RecordError, NotPermitted, NoDriver; see Store.
    """
    engine = _engine(url)
    with answered(engine.url):
        names = sa.inspect(engine).get_table_names()
    if names:
        _refuse_strangers(engine, names)
        return engine
    with writing(engine) as connection:
        _META.create_all(connection)
        if connection.execute(sa.select(_STORE)).first() is None:
            connection.execute(_STORE.insert().values(shape=SHAPE))
    return engine


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Read in one transaction."""
    with answered(engine.url), engine.connect() as connection:
        yield connection


@contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Write in one transaction."""
    with (
        answered(engine.url),
        engine.connect().execution_options(hwkit_write=True) as connection,
        connection.begin(),
    ):
        yield connection


@contextmanager
def answered(url: sa.URL) -> Iterator[None]:
    """Turn what a database can refuse into what a user can do something about."""
    try:
        yield
    except exc.DBAPIError as error:
        text = " ".join(str(error.orig).split())  # one line
        where = shown(url)
        if isinstance(error.orig, sqlite3.DatabaseError) and "not a database" in text:
            raise RecordError(f"{where} is not a database") from error
        if "malformed" in text:
            raise RecordError(f"{where} is damaged: {text}") from error
        raise NotPermitted(where, f"the store cannot be used: {text}") from error


def shown(url: sa.URL) -> str:
    """Return a URL as it may be printed: no password in it, a file as its path."""
    return url.database if _is_sqlite(url) and url.database else url.render_as_string()


def _refuse_strangers(engine: sa.Engine, names: list[str]) -> None:
    """Raise RecordError for tables that are not ours, or of a shape this hwkit does not know."""
    where = shown(engine.url)
    if missing := _META.tables.keys() - set(names):
        what = "not of hwkit records" if _STORE.name in missing else f"without {min(missing)}"
        raise RecordError(f"{where} is a database, but {what}")
    with reading(engine) as connection:
        shape = connection.execute(sa.select(_STORE.c.shape)).scalar()
    if shape != SHAPE:
        raise RecordError(f"{where} has shape {shape}; this hwkit knows {SHAPE}: update hwkit")


def _engine(url: str) -> sa.Engine:
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
        said = f"...@{url.rpartition('@')[2]}" if "@" in url else url
        raise RecordError(f"{said!r} is no store: give a file or a SQLAlchemy URL") from error
    if _is_sqlite(engine.url):
        sa.event.listen(engine, "connect", _on_connect)
        sa.event.listen(engine, "begin", _on_begin)
    return engine


def _is_sqlite(url: sa.URL) -> bool:
    return url.get_backend_name() == "sqlite"


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
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if names and _STORE.name not in names:
        return  # somebody else's database: it stays as it is, and is refused
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
