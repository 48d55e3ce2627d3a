"""Miners that wait for their own pools: on disk before anything is changed, until it is put back.

A file for each miner in `restore/` under HWKIT_STATE, else in this user's state folder. The process
that feeds a miner holds a lock on its file, which dies with it; no pool's password is in there.
"""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from platformdirs import user_state_path

from hwkit.errors import NotPermitted, RecordError
from hwkit.hashers.asic.pools import Bench

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGEST = 1 << 16  # bytes: a dozen pools are a thousand
DAMAGED = "it does not say which pools a miner had: see to the miner, then delete it"


@dataclass(frozen=True, slots=True)
class Pending:
    """What one miner has to get back."""

    host: str
    port: int  # of its API
    web: int  # of its pages
    way: str  # by which it was changed, and will be changed back
    bench: Bench
    own: dict[str, Any]  # as the way's read() had it
    since: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    @property
    def place(self) -> str:
        """HOST:PORT, as it was addressed."""
        return place_of(self.host, self.port)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep it on disk, and locked, until forget(): when this returns, a power cut may come.

        The lock is let go at the end, and the file stays, unless it was forgotten. Raises
        NotPermitted where it cannot be written or another process feeds this miner.
        """
        path = _path(self.host, self.port)
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=".")  # 0600
        except OSError as error:
            raise NotPermitted(str(path), f"it cannot be written: {error.strerror}") from error
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            try:
                _lock(file, path)  # before it has its name: nobody sees it unlocked
                json.dump(asdict(self), file, indent=1)
                file.flush()
                os.fsync(file.fileno())
                os.link(name, path)
                _sync(path.parent)
            except FileExistsError:
                raise NotPermitted(
                    self.place, "it waits for its own pools: hwkit asic restore"
                ) from None
            except OSError as error:
                raise NotPermitted(str(path), f"it cannot be written: {error.strerror}") from error
            finally:
                Path(name).unlink()
            yield

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Lock what another process has left. Raises NotPermitted while one is at it."""
        path = _path(self.host, self.port)
        try:
            file = path.open("r+", encoding="utf-8")
        except OSError as error:
            raise NotPermitted(str(path), f"it is not there any more: {error.strerror}") from error
        with file:
            _lock(file, path)
            yield

    def forget(self) -> None:
        """Take it off the disk: the miner has its pools back. Harmless when it is gone."""
        path = _path(self.host, self.port)
        with suppress(FileNotFoundError):
            path.unlink()
            _sync(path.parent)


def pending() -> list[Pending]:
    """Return what is kept, by miner. Raises RecordError for a file that is none of ours."""
    return [_read(path) for path in sorted(folder().glob("*.json"))]


def abandoned() -> list[Pending]:
    """Return what is kept and no living process sees to. Raises as pending does."""
    found = []
    for each in pending():
        with suppress(NotPermitted), each.claimed():
            found.append(each)
    return found


def folder() -> Path:
    """Return where these files are."""
    told = os.environ.get("HWKIT_STATE")
    return (Path(told) if told else user_state_path("hwkit", appauthor=False)) / "restore"


def place_of(host: str, port: int) -> str:
    """Return HOST:PORT, as a miner is addressed; IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def find(place: str | None) -> list[Pending]:
    """Return what is kept of the miner at HOST or HOST:PORT, or of all."""
    return [each for each in pending() if place in {None, each.host, each.place}]


def _read(path: Path) -> Pending:
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(LARGEST))
        kept = Pending(**{**found, "bench": Bench(**found["bench"])})
        whole = (type(kept.host), type(kept.port), type(kept.web)) == (str, int, int) and all(
            type(pool["url"]) is type(pool["user"]) is str for pool in kept.own["pools"]
        )
    except OSError as error:
        raise NotPermitted(str(path), f"it cannot be read: {error.strerror}") from error
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise RecordError(f"{path}: {DAMAGED}") from error
    if not whole:
        raise RecordError(f"{path}: {DAMAGED}")
    return kept


def _path(host: str, port: int) -> Path:
    return folder() / f"{quote(host, safe='')}_{port}.json"


def _lock(file: IO[str], path: Path) -> None:
    try:
        import fcntl  # noqa: PLC0415 - not of every system
    except ImportError:
        return  # two processes may then restore one miner at once, which is harmless
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        host, _, port = path.stem.rpartition("_")
        place = f"{unquote(host)}:{port}"
        raise NotPermitted(place, "another hwkit feeds it right now: end that first") from None


def _sync(path: Path) -> None:
    """Make a folder's names last through a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
