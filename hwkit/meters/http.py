"""Meters that answer over HTTP with JSON: what they have in common; instruments.py has the rest."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from hwkit.errors import (
    DeviceLost,
    DeviceTimeout,
    NoDevice,
    NoDriver,
    NotPermitted,
    PlanError,
    ProtocolError,
)
from hwkit.meters.addressing import STATED, asked_fields, host_of, name_of, stated
from hwkit.meters.instruments import INSTRUMENTS, asked_profile, channel_of
from hwkit.protocols import MeterSpec, Reading
from hwkit.wire.credentials import credentials, table_of
from hwkit.wire.fields import numbers, text
from hwkit.wire.http import BadStatus, Host, Refused, Untrusted
from hwkit.wire.tcp import refuse_login

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hwkit.errors import Unavailable
    from hwkit.meters.instruments import Profile
    from hwkit.plugins import Address
    from hwkit.protocols import Meter


def find(address: Address | None) -> Iterator[Meter | Unavailable]:
    """Yield the meter addressed; without an address nothing, since no network is searched."""
    if address is not None:
        refuse_login(address)
    if find_spec("aiohttp") is None:
        where = "http" if address is None else str(address)
        yield NoDriver(where, "aiohttp is missing: pip install 'hwkit[http]'")
    elif address is not None:
        yield HttpMeter(address)


class HttpMeter:
    """An instrument that is asked for a JSON document at each reading."""

    def __init__(self, address: Address) -> None:
        """Costs no I/O. Raises PlanError for an address that makes no sense."""
        kind = INSTRUMENTS[address.scheme]
        address.allow(*STATED, *kind.options)
        self.address = address
        self.hostname, port, self.path = host_of(address, path=kind.path)
        channel_of(address)
        if kind.path:
            asked_fields(address)
        if address.options.get("auth", "basic") not in {"basic", "digest"}:
            raise PlanError(f"address {address}: auth is basic or digest")
        tls = address.options.get("tls", "verified" if kind.tls else None)
        if tls not in {None, "verified", "unverified"}:
            raise PlanError(f"address {address}: tls is verified or unverified, not {tls!r}")
        profile = asked_profile(address)
        host = f"[{self.hostname}]" if ":" in self.hostname else self.hostname
        self._place = host if port is None else f"{host}:{port}"
        self._tls = tls
        self._kind = kind
        self._profile: Profile | None = None
        usual = MeterSpec(
            name_of(address),
            kind.scope,
            kind.provenance,
            quantum_j=profile.quantum_j if profile else kind.quantum_j,
        )
        self._spec = stated(address, usual)
        self.host = self._new_host()

    @property
    def spec(self) -> MeterSpec:
        """What it is; a quantum is the coarsest of its kind unless the profile was asked for."""
        return self._spec

    def open(self) -> Mapping[str, str]:
        """Find out which model it is, log in, take a reading to see that it has one.

        Raises NoDevice, NotPermitted, and ProtocolError for what answers nonsense.
        """
        self.host.close()
        self.host = self._new_host()
        try:
            profile, facts = self._kind.recognise(self)
            self._take(profile)
        except Refused as error:
            raise NotPermitted(self._spec.name, self.advice()) from error
        except Untrusted as error:
            raise NotPermitted(self._spec.name, self._bare(str(error))) from error
        except (DeviceLost, DeviceTimeout) as error:
            raise NoDevice(self._spec.name, self._bare(str(error))) from error
        except BadStatus as error:
            said = "is the path right?" if self._kind.path else f"is it {self._kind.words}?"
            raise NoDevice(self._spec.name, f"{self._bare(str(error))}: {said}") from error
        except ProtocolError as error:
            said = f"{error}; see what it answers at {self.host.asked}"
            raise ProtocolError(said, error.received) from error
        self._profile = profile
        return {what: said for what, said in facts.items() if said is not None}

    def read(self) -> Reading:
        """Return what it measures now. Raises DeviceFault; the next call connects again."""
        if self._profile is None:
            raise DeviceLost(f"{self._spec.name}: it is not open")
        return self._take(self._profile)

    def close(self) -> None:
        """Let go; who reads gets DeviceLost."""
        self.host.close()

    def get(self, path: str) -> Any:  # noqa: ANN401 - JSON
        """Return a document. Raises as wire.http does."""
        return self.host.get(path).document

    def log_in(self, how: str, user: str = "") -> None:
        """Use what the credentials file says of this host, if anything."""
        words = credentials(self.hostname)
        if "password" in words:
            self.host.log_in(how, words.get("user", user), words["password"])

    def _new_host(self) -> Host:
        verified = self._tls != "unverified"
        return Host(self._spec.name, self._place, tls=self._tls is not None, verified=verified)

    def _take(self, profile: Profile) -> Reading:
        answer = self.host.get(profile.path, profile.secret)
        if profile.valid is not None and text(answer.document, profile.valid) == "False":
            said = f"{self._spec.name}: it says itself that its reading is not valid"
            raise ProtocolError(said, b"")
        found = numbers(self._spec.name, answer.document, profile.fields, profile.required)
        return Reading(answer.at, took_ns=answer.took_ns, **found)

    def advice(self) -> str:
        """Return what the user is to do about credentials that it refuses."""
        table = table_of(self.hostname)
        if "password" in credentials(self.hostname):
            return f"it refuses user or password: see {table}"
        return f"it wants a password: put one under {table}"

    def _bare(self, why: str) -> str:
        return why.removeprefix(f"{self._spec.name}: ")
