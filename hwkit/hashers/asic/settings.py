"""What of a miner's settings its own API changes: told, read back, and put back as they were.

Which settings a firmware has, and how they are told, is data: `settings` of a dialect.

    { name = "frequency", at = "system_info /frequency", send = "PATCH /api/system",
      body = '{"frequency": %s}' }

`at` says what it is set to, in the words in which it is told; so it can be put back. Where what is
told is a name for something else, as LuxOS' profiles are for frequencies, `rows` are all there are,
`sent` the member that is told, and `by` the one that a user means. `when` has to hold.
"""

from __future__ import annotations

import json
import math
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from hwkit.errors import DeviceFault, NotPermitted, ProtocolError, RecordError
from hwkit.hashers.asic import restore
from hwkit.hashers.asic.asking import Miner, Ports
from hwkit.hashers.asic.dialects import dialects
from hwkit.hashers.asic.dialects_paths import Place, text
from hwkit.hashers.asic.pools import ByHand, Unwilling, until
from hwkit.hashers.asic.restore import Changed
from hwkit.units import plain
from hwkit.wire.http import BadStatus, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hwkit.hashers.asic.dialects import Setting
    from hwkit.plugins import Address

PATIENCE_S = 90.0  # until it says that it is set so: some restart their boards for it
AGAIN_S = 15.0  # until it is told once more
# Of what it was set to: who means more has mistyped it, and a chip may not survive it.
LEAST, MOST = 0.2, 1.5
ANY = "any"  # the first of these that it has
SWEPT = ("power-target", "frequency")
NAMES = ("mode", *SWEPT, "voltage")
SERVERS_OWN = 500  # of HTTP: from here up it may be well again
SHOWN = 12  # of the names that it has


@dataclass(slots=True)
class Settings:
    """The settings of one miner: `set` as often as wanted, then `restore`."""

    host: str
    ports: Ports
    wait: Callable[[float], object] = time.sleep
    _own: dict[str, Any] | None = None  # as they were, by name
    _kept: Changed | None = None
    _holding: ExitStack = field(default_factory=ExitStack)

    @classmethod
    def of(
        cls, address: Address, host: str, port: int, wait: Callable[[float], object]
    ) -> Settings:
        """Return those of the miner at an asic: address. Raises PlanError."""
        web = address.integer("web") or Ports().http
        return cls(host, Ports(api=port, http=web), wait)

    @property
    def by(self) -> str:
        """The address by which it is kept on disk."""
        return f"{self.host} {self.ports.api} {self.ports.http}"

    def set(self, name: str, value: str) -> str:
        """Set it, and return what it says that it is set to; `value` may be a part of it: 80%.

        What it was set to is on disk before. Raises NotPermitted for what it has not, or lets
        nobody change, and DeviceFault where it is told in vain.
        """
        known, documents = self._look()
        if name == ANY:
            name = next((each for each in SWEPT if each in known), ANY)
        if name not in known:
            has = ", ".join(known) or "nothing of it"
            raise NotPermitted(self.host, f"its API changes no {name}; it changes {has}")
        own = self._own or {each: _now(setting, documents) for each, setting in known.items()}
        wanted = _wanted(self.host, known[name], documents, own[name], value)
        if self._own is None:
            self._keep(own)
        self._tell(name, wanted)
        return f"{name} {text(wanted)}"

    def left(self) -> bool:
        """Does a process that died leave it set otherwise? Then put it back."""
        found = [
            each for each in restore.changed() if (each.what, each.by) == ("settings", self.by)
        ]
        for each in found:
            with each.claimed():
                self.put_back(each)
        return bool(found)

    def restore(self) -> None:
        """Put back what it was set to; harmless where nothing was changed."""
        if self._kept is None:
            self.left()
            return
        self.put_back(self._kept)
        self._holding.close()
        self._own = self._kept = None

    def put_back(self, kept: Changed) -> None:
        """Put back what is kept of it, and forget it. Raises DeviceFault and Unavailable."""
        for name, value in kept.own.items():
            self._tell(name, value)
        kept.forget()

    def _keep(self, own: dict[str, Any]) -> None:
        kept = Changed("settings", self.by, own)
        self._holding.enter_context(kept.kept())
        self._kept, self._own = kept, own

    def _tell(self, name: str, wanted: object) -> None:
        told = [-math.inf]
        step = partial(self._step, name, wanted, told)
        until(step, PATIENCE_S, self.wait, what=f"its {name} is")

    def _step(self, name: str, wanted: object, told: list[float]) -> bool:
        """Look whether it is set so; else tell it, unless it was told of late."""
        with _Asked(self.host, self.ports) as miner:
            known, documents = miner.look()
            if name not in known:
                raise DeviceFault(f"{self.host}: it does not say what its {name} is set to")
            if _same(_now(known[name], documents), wanted):
                return True
            if time.monotonic() - told[0] > AGAIN_S:
                _send(miner, known[name], wanted)
                told[0] = time.monotonic()
        return False

    def _look(self) -> tuple[Mapping[str, Setting], Mapping[str, Any]]:
        with _Asked(self.host, self.ports) as miner:
            return miner.look()


class _Asked(Miner):
    """A miner that is asked what can be set of it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def look(self) -> tuple[Mapping[str, Setting], Mapping[str, Any]]:
        """Return what it says is set, by name, and the documents that say so."""
        dialect = dialects()[self.read().dialect]
        documents = dialect.prepared(self.answers)
        known = {
            each.name: each
            for each in dialect.settings
            if (each.when is None or each.when.holds(documents)) and _told(each, documents)
        }
        return known, documents


def settings_of(kept: Changed) -> Settings:
    """Return the settings that are kept on disk. Raises RecordError for what is none."""
    host, *ports = kept.by.split(" ")
    if len(ports) != 2 or not all(each.isdecimal() for each in ports):
        raise RecordError(f"{kept.path}: {restore.DAMAGED}")
    return Settings(host, Ports(api=int(ports[0]), http=int(ports[1])))


def _told(setting: Setting, documents: Mapping[str, Any]) -> list[Any]:
    return [what for _, what in Place.parse(setting.at).find(documents)]


def _now(setting: Setting, documents: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a JSON scalar
    """Return what it is set to. Raises ProtocolError for what cannot be told."""
    value = _told(setting, documents)[0]
    if not isinstance(value, (str, int, float)) or len(str(value)) > 100:
        raise ProtocolError(f"{setting.at}: {value!r:.60} is no setting", b"")
    return value


def _wanted(
    host: str, setting: Setting, documents: Mapping[str, Any], own: object, value: str
) -> object:
    """Return what is to be told for it to have a value. Raises NotPermitted with what it has."""
    if setting.rows:
        rows = [row for _, row in Place.parse(setting.rows).find(documents)]
        by = {
            text(row[setting.by]): row[setting.sent]
            for row in rows
            if isinstance(row, dict) and {setting.by, setting.sent} <= row.keys()
        }
        if value in by:
            return by[value]
        if value.endswith("%") and setting.name != "mode":
            now = next((each for each, sent in by.items() if sent == own), None)
            wanted = _number(host, setting.name, value, now)
            numbers = {abs(float(each) - wanted): sent for each, sent in by.items() if _is(each)}
            if numbers:
                return numbers[min(numbers)]
        has = ", ".join(list(by)[:SHOWN]) + (" ..." if len(by) > SHOWN else "")
        raise NotPermitted(host, f"it has no {setting.name} {value!r}; it has {plain(has)}")
    if setting.name == "mode":
        return value
    number = _number(host, setting.name, value, own)
    return round(number) if isinstance(own, int) or number.is_integer() else number


def _number(host: str, name: str, value: str, own: object) -> float:
    part = value.endswith("%")
    if not _is(value.removesuffix("%")) or not _is(own):
        raise NotPermitted(host, f"its {name} is {own!r}, and {value!r} is none")
    now, number = float(str(own)), float(value.removesuffix("%"))
    number = now * number / 100 if part else number
    if not LEAST * now <= number <= MOST * now:
        why = f"{number:g} lies outside of {LEAST:.0%} to {MOST:.0%} of what its {name} is, {now:g}"
        raise NotPermitted(host, why)
    return float(round(number)) if part else number


def _is(value: object) -> bool:
    try:
        return math.isfinite(float(str(value)))
    except ValueError:
        return False


def _same(one: object, other: object) -> bool:
    """Do they say the same? A number may have come back with decimals."""
    if _is(one) and _is(other):
        return math.isclose(float(str(one)), float(str(other)), rel_tol=1e-3)
    return text(one) == text(other)


def _send(miner: Miner, setting: Setting, value: object) -> None:
    """Tell it. Raises NotPermitted where it will not, DeviceFault, and Unavailable."""
    method, _, path = setting.send.partition(" ")
    if path:
        try:
            miner.send(method, path, json.loads(setting.body % json.dumps(value)))
        except Refused as error:
            raise ByHand(
                miner.host, "it lets nobody change that: see the credentials file"
            ) from error
        except BadStatus as error:
            if error.status < SERVERS_OWN:
                raise ByHand(miner.host, f"it will not be set to {value}: {error}") from error
            raise
        return
    if not setting.session:
        _order(miner, method, setting.body % text(value))
        return
    session = _session(miner)
    try:
        _order(miner, method, f"{session},{setting.body % text(value)}")
    finally:
        miner.order("logoff", session)


def _order(miner: Miner, command: str, parameter: str) -> None:
    status = miner.order(command, parameter).status
    if status is None or status.failed:
        said = plain((status and status.message) or "no reason given")
        raise ByHand(miner.host, f"{command}: {said}")


def _session(miner: Miner) -> str:
    """Log on, as LuxOS wants of who changes it: one at a time (docs.luxor.tech, logon)."""
    reply = miner.order("logon", None)
    match reply.document:
        case {"SESSION": [{"SessionID": str(session)}, *_]} if session:
            return session
    said = plain((reply.status and reply.status.message) or "no reason given")
    raise Unwilling(f"{miner.host}: logon: {said}; is somebody else logged on?")
