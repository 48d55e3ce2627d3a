"""Evaluations on disk, beside the record store: what is to be done, what was, what was changed.

Written before anything is changed, whole and at once: whatever ends this process, it can go on.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platformdirs import user_data_path

from hwkit.errors import NotPermitted, PlanError, RecordError
from hwkit.records.store import default_url

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA = 1
LARGEST = 1 << 26  # bytes
RUNNING = "running"


class State:
    """One evaluation's document and its file."""

    def __init__(self, path: Path, document: dict[str, Any]) -> None:
        """Take them; nothing is written yet."""
        self.path = path
        self.document = document

    def save(self) -> None:
        """Put it onto the disk, sealed with the digest of all else that it says."""
        self.document["digest"] = digest_of(self.document)
        new = self.path.with_suffix(".new")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with new.open("w", encoding="utf-8") as file:
                json.dump(self.document, file, indent=1, allow_nan=False)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.path)
        except OSError as error:
            raise NotPermitted(str(self.path), f"cannot be written: {error.strerror}") from error

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep others from going on with it. Raises NotPermitted where one does already."""
        try:
            import fcntl  # noqa: PLC0415 - not of every system
        except ImportError:
            yield  # two processes may then go on with one, and each sees to the miner as it is
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_suffix(".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                why = "another process is at it"
                raise NotPermitted(self.document["id"], why) from error
            try:
                yield
            finally:
                self.path.with_suffix(".lock").unlink(missing_ok=True)


def folder(store: str | None) -> Path:
    """Return where the evaluations of a record store are."""
    where = store or default_url()
    if where.startswith("sqlite:///"):
        where = where.removeprefix("sqlite:///")
    if "://" in where:
        return user_data_path("hwkit", appauthor=False) / "evaluations"
    return Path(where).absolute().parent / "evaluations"


def begun(store: str | None, document: dict[str, Any]) -> State:
    """Return a new evaluation, which has a name and is not on disk yet."""
    now = datetime.now(UTC)
    name = f"e{now:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
    began = now.isoformat(timespec="seconds")
    whole = {"schema": SCHEMA, "id": name, "began": began, "state": RUNNING, **document}
    return State(folder(store) / f"{name}.json", whole)


def is_evaluation(name: str) -> bool:
    """Is it an evaluation's id, or the beginning of one? A record's begins with a digit."""
    return name.startswith("e")


def read(store: str | None, name: str) -> State:
    """Return an evaluation by its id, the beginning of it, or 'last'. Raises RecordError."""
    found = sorted(folder(store).glob("e*.json"))
    some = found[-1:] if name == "last" else [p for p in found if name and p.stem.startswith(name)]
    if len(some) != 1:
        what = "several evaluations begin with" if some else "no evaluation"
        raise RecordError(f"{what} {name!r} in {folder(store)}")
    return read_file(some[0])


def read_file(path: Path) -> State:
    """Return the evaluation in a file. Raises RecordError for what is none, or was changed."""
    try:
        with path.open("rb") as file:
            document = json.loads(file.read(LARGEST))
        intact = document["digest"] == digest_of(document)
        schema, name = document["schema"], document["id"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RecordError(f"{path}: no evaluation: {type(error).__name__}") from error
    if schema != SCHEMA:
        raise RecordError(f"{path}: of another hwkit (schema {schema})")
    if type(name) is not str or not is_evaluation(name):
        raise RecordError(f"{path}: no evaluation: its id is {name!r:.40}")
    if not intact:
        raise RecordError(f"{path}: it was changed since hwkit wrote it")
    return State(path, document)


def unfinished(store: str | None, address: str) -> str | None:
    """Return the id of a device's newest evaluation where it has no end, or left it changed."""
    for path in sorted(folder(store).glob("e*.json"), reverse=True):
        try:
            document = read(store, path.stem).document
        except RecordError:
            continue  # it is told by whoever asks for it by name
        if document["address"] == address:
            left = document["state"] == RUNNING or document["pending"]
            return str(document["id"]) if left else None
    return None


def refuse_ended(state: State) -> None:
    """Raise PlanError for an evaluation that has its verdict, and has put back what it changed."""
    if state.document["state"] != RUNNING and not state.document["pending"]:
        raise PlanError(f"evaluation {state.document['id']} has ended: nothing is left of it to do")


def digest_of(document: dict[str, Any]) -> str:
    """Return SHA-256 of a document's canonical JSON, its own digest left out."""
    kept = {name: value for name, value in document.items() if name != "digest"}
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
