"""What waits to be put back: on disk before anything is changed, until it is as it was.

A file for each miner that waits for its own pools in `restore/` under HWKIT_STATE, else in this
user's state folder; in `restore/set/` one for each outlet and miner that is set otherwise. The
process that changes it holds a lock on its file, which dies with it; no password is in there.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from abc import ABC, abstractmethod
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, unquote

from platformdirs import user_state_path

from hwkit.errors import NotPermitted, RecordError
from hwkit.hashers.asic.pools import Bench

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LARGEST = 1 << 16  # bytes: a dozen pools are a thousand
SET = "set"
DAMAGED = "it does not say what is to be put back: see to the miner, then delete it"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


class Kept(ABC):
    """A file that says what is to be put back, and the lock on it; its subclass is what it says."""

    __slots__ = ()

    @property
    @abstractmethod
    def place(self) -> str:
        """What waits, for a person."""

    @property
    @abstractmethod
    def said(self) -> str:
        """What it will have again."""

    @property
    @abstractmethod
    def path(self) -> Path:
        """Where its file is, or will be."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Return what its file says."""

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep it on disk, and locked, until forget(): when this returns, a power cut may come.

        The lock is let go at the end, and the file stays, unless it was forgotten. Raises
        NotPermitted where it cannot be written or another process feeds this miner.
        """
        path = self.path
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=".")  # 0600
        except OSError as error:
            raise NotPermitted(str(path), f"it cannot be written: {error.strerror}") from error
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            try:
                _lock(file, self.place)  # before it has its name: nobody sees it unlocked
                json.dump(self.to_json(), file, indent=1)
                file.flush()
                os.fsync(file.fileno())
                os.link(name, path)
                _sync(path.parent)
            except FileExistsError:
                why = "it waits to be put back as it was: hwkit asic restore"
                raise NotPermitted(self.place, why) from None
            except OSError as error:
                raise NotPermitted(str(path), f"it cannot be written: {error.strerror}") from error
            finally:
                Path(name).unlink()
            yield

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Lock what another process has left. Raises NotPermitted while one is at it."""
        path = self.path
        try:
            file = path.open("r+", encoding="utf-8")
        except OSError as error:
            raise NotPermitted(str(path), f"it is not there any more: {error.strerror}") from error
        with file:
            _lock(file, self.place)
            yield

    def forget(self) -> None:
        """Take it off the disk: it is as it was. Harmless when it is gone."""
        path = self.path
        with suppress(FileNotFoundError):
            path.unlink()
            _sync(path.parent)


K = TypeVar("K", bound=Kept)


@dataclass(frozen=True, slots=True)
class Pending(Kept):
    """The pools that one miner has to get back."""

    host: str
    port: int  # of its API
    web: int  # of its pages
    way: str  # by which it was changed, and will be changed back
    bench: Bench
    own: dict[str, Any]  # as the way's read() had it
    since: str = field(default_factory=_now)

    @property
    def place(self) -> str:
        """HOST:PORT, as it was addressed."""
        return place_of(self.host, self.port)

    @property
    def said(self) -> str:
        """Its own pools; see Kept."""
        return ", ".join(pool["url"] for pool in self.own["pools"])

    @property
    def path(self) -> Path:
        """Where its file is; see Kept."""
        return folder() / f"{quote(self.host, safe='')}_{self.port}.json"

    def to_json(self) -> dict[str, Any]:
        """Return what its file says; see Kept."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Changed(Kept):
    """What else has to be as it was: an outlet that feeds a device, the settings of a miner."""

    what: str  # outlet, settings
    by: str  # an address, or a program: what switches or sets it
    own: dict[str, Any] = field(default_factory=dict)  # of settings: as they were
    since: str = field(default_factory=_now)

    @property
    def place(self) -> str:
        """What it is of, as it was addressed."""
        return self.by

    @property
    def said(self) -> str:
        """How it was; see Kept."""
        return ", ".join(f"{name} {value}" for name, value in self.own.items()) or "on"

    @property
    def path(self) -> Path:
        """Where its file is; see Kept."""
        name = hashlib.sha256(self.by.encode()).hexdigest()[:16]  # a program's line may be long
        return folder() / SET / f"{self.what}_{name}.json"

    def to_json(self) -> dict[str, Any]:
        """Return what its file says; see Kept."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Damaged:
    """A file that does not say what is to be put back; no reason not to see to the others."""

    path: Path
    fault: NotPermitted | RecordError

    @property
    def place(self) -> str:
        """HOST:PORT where its name tells that of a miner, else the name."""
        host, _, port = self.path.stem.rpartition("_")
        is_miner = self.path.parent.name != SET and port.isdigit()
        return place_of(unquote(host), int(port)) if is_miner else self.path.stem


def pending() -> list[Pending]:
    """Return the pools that are kept, by miner."""
    return [each for each in _all() if isinstance(each, Pending)]


def changed() -> list[Changed]:
    """Return which outlets and settings are kept."""
    return [each for each in _all() if isinstance(each, Changed)]


def damaged() -> list[Damaged]:
    """Return the files that are there and make no sense."""
    return [each for each in _all() if isinstance(each, Damaged)]


def abandoned() -> list[Pending]:
    """Return whose pools are kept, and no living process sees to them."""
    return _unseen(pending())


def abandoned_changes() -> list[Changed]:
    """Return of `changed` what no living process sees to."""
    return _unseen(changed())


def _all() -> Iterator[Pending | Changed | Damaged]:
    found: list[tuple[Path, Callable[[Path], Pending | Changed]]] = [
        *((path, _read) for path in sorted(folder().glob("*.json"))),
        *((path, _read_changed) for path in sorted((folder() / SET).glob("*.json"))),
    ]
    for path, read in found:
        try:
            yield read(path)
        except (NotPermitted, RecordError) as fault:
            yield Damaged(path, fault)


def _unseen(kept: list[K]) -> list[K]:
    found = []
    for each in kept:
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
        found = _document(path)
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


def _read_changed(path: Path) -> Changed:
    try:
        kept = Changed(**_document(path))
    except OSError as error:
        raise NotPermitted(str(path), f"it cannot be read: {error.strerror}") from error
    except (TypeError, ValueError) as error:
        raise RecordError(f"{path}: {DAMAGED}") from error
    texts = type(kept.by) is type(kept.what) is str and type(kept.own) is dict
    if not texts or kept.what not in {"outlet", "settings"} or kept.path != path:
        raise RecordError(f"{path}: {DAMAGED}")
    return kept


def _document(path: Path) -> Any:  # noqa: ANN401 - any JSON value
    with path.open("rb") as file:
        return json.loads(file.read(LARGEST))


def _lock(file: IO[str], place: str) -> None:
    try:
        import fcntl  # noqa: PLC0415 - not of every system
    except ImportError:
        return  # two processes may then restore one miner at once, which is harmless
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise NotPermitted(place, "another hwkit is at it right now: end that first") from None


def _sync(path: Path) -> None:
    """Make a folder's names last through a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
