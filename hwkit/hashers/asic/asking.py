"""Asking a miner what it is and what it says: one connection at a time, each answer in time."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

from hwkit.errors import (
    DeviceFault,
    DeviceLost,
    DeviceTimeout,
    NoDevice,
    NoDriver,
    NotPermitted,
    ProtocolError,
    Unavailable,
)
from hwkit.hashers.asic.captures import answer
from hwkit.hashers.asic.dialects import Ask, dialects, recognise
from hwkit.hashers.asic.dialects_paths import Place
from hwkit.wire import cgminer, whatsminer
from hwkit.wire.credentials import credentials
from hwkit.wire.http import Host, Refused

if TYPE_CHECKING:
    from hwkit.hashers.asic.dialects import Dialect, Login
    from hwkit.hashers.asic.telemetry import Telemetry
    from hwkit.wire.cgminer import Reply

# Of what answers to no cgminer command, in the order of how many there are.
OVER_HTTP = ("axeos", "braiins", "vnish", "epic", "proto", "goldshell", "elphapex", "marathon")
# What tells by itself, or with what came before, what answers.
TELLING = ("version", "summary", "stats", "devdetails")
ACCEPTED_S = 0.5
# To whoever meets a miner that is new to us; vendors.py is where this leads to.
ELSE = "`hwkit asic show --vendors` asks another library (pip install 'hwkit[vendors]')"
EPIC_PORT = 4028  # HTTP where others have the cgminer API


@dataclass(frozen=True, slots=True)
class Ports:
    """Where a miner listens."""

    api: int = cgminer.PORT
    http: int = 80
    whatsminer: int = whatsminer.PORT


class Miner:
    """A miner at an address, of whatever make. Its answers, and why there are none, by question."""

    def __init__(
        self, host: str, ports: Ports | None = None, *, deadline_s: float = cgminer.DEADLINE_S
    ) -> None:
        """Costs no I/O."""
        self.host = host
        self.answers: dict[str, Reply] = {}
        self.why: dict[str, str] = {}
        self._ports = ports or Ports()
        self._deadline_s = deadline_s
        self._pages: dict[int, Host] = {}
        self._dead: dict[int, str] = {}  # ports where nobody listens, and what became of the try
        self._login: Login | None = None
        self._first: Unavailable | DeviceFault | None = None  # what went wrong first

    def identify(self) -> Dialect:
        """Return its dialect, asked for with as few questions as that takes.

        Raises NoDevice where nothing answers, NotPermitted where it will not, NoDriver where it has
        to be asked over HTTP and aiohttp is missing, ProtocolError where no dialect knows it.
        """
        found = self._by_api()
        if found is None:
            found = self._by_pages()
        if found is None:
            raise self._unknown()
        for name in found.better:
            if self._is(dialects()[name]):
                return dialects()[name]
        return found

    def read(self) -> Telemetry:
        """Return what it says now. Raises as identify does."""
        dialect = self.identify()
        self.why = {}  # what other dialects' questions came to
        while (better := self._asked(dialect)) is not dialect:
            dialect = better
        asked = [ask.name for ask in dialect.commands]
        self.answers = {name: self.answers[name] for name in asked if name in self.answers}
        return dialect.read(self.answers, self.why)

    def send(self, method: str, path: str, document: object) -> None:
        """Change something over HTTP, logged in where it wants that. Raises as Host.send does."""
        page = self._page(self._ports.http)
        try:
            page.send(method, path, document)
        except Refused:
            if not self._logged_in(page):
                raise
            page.send(method, path, document)

    def order(self, command: str, parameter: str | None) -> Reply:
        """Change something by the cgminer API. Raises as cgminer.ask does."""
        port = self._ports.api
        return cgminer.ask(self.host, command, parameter, port=port, deadline_s=self._deadline_s)

    def close(self) -> None:
        """Let go of its pages."""
        for page in self._pages.values():
            page.close()

    def _asked(self, dialect: Dialect) -> Dialect:
        """Ask all questions of a dialect; return the one that all answers together are in."""
        self._login = dialect.login
        for ask in dialect.commands:
            if ask.name not in self.answers:
                self._ask(ask)
        told = recognise(self.answers)
        return told if told.rank > dialect.rank else dialect

    def _by_api(self) -> Dialect | None:
        found: Dialect | None = None
        for name in TELLING:
            if self._ask(Ask(name)) is None and not self.answers:
                break
            try:
                found = recognise(self.answers)
            except ProtocolError:
                continue
            if found.rank > 0:
                break
        return found

    def _by_pages(self) -> Dialect | None:
        spoken_to = bool(self.answers)  # by the cgminer API: nothing else is at that port
        usual = self._ports
        named = usual.api != Ports().api and usual.whatsminer == Ports().whatsminer
        meant = replace(usual, whatsminer=usual.api)  # HOST:PORT, of one that has API 3 alone
        for self._ports in (meant, usual) if named and not spoken_to else (usual,):
            if self._is(dialects()["whatsminer3"]):
                return dialects()["whatsminer3"]
        if find_spec("aiohttp") is None:
            return None
        meant = replace(usual, http=usual.api)  # HOST:PORT, of one that has pages alone
        unusual = usual.api != Ports().api and usual.http == Ports().http
        for self._ports in (meant, usual) if unusual and not spoken_to else (usual,):
            for name in OVER_HTTP:
                if not (name == "epic" and spoken_to) and self._is(dialects()[name]):
                    return dialects()[name]
        return None

    def _is(self, dialect: Dialect) -> bool:
        """Does it answer that dialect's first question as it should?"""
        first, self._login = dialect.commands[0], dialect.login
        before = self.answers.pop(first.name, None)
        reply = self._ask(first)
        if reply is not None and dialect.recognises({first.name: reply.document}):
            self.answers = {first.name: reply}  # another dialect's are no answers of this one
            return True
        self.answers.pop(first.name, None)
        if before is not None:
            self.answers[first.name] = before
        return False

    def _ask(self, ask: Ask) -> Reply | None:
        """Ask, and keep the answer, or why there is none."""
        port = self._port(ask)
        if port in self._dead:
            self.why[ask.name] = self._dead[port]
            return None
        try:
            reply = self._answer(ask, port)
        except (Unavailable, DeviceFault) as error:
            self._first = self._first or error
            self.why[ask.name] = str(error.why if isinstance(error, Unavailable) else error)
            if isinstance(error, (NoDevice, DeviceLost)) or (
                isinstance(error, DeviceTimeout) and not self._accepts(port)
            ):
                self._dead[port] = self.why[ask.name]
        else:
            self.answers[ask.name] = reply
            return reply
        return None

    def _answer(self, ask: Ask, port: int) -> Reply:
        command = ask.command or ask.name
        if ask.via == "whatsminer3":
            return whatsminer.ask(
                self.host, command, ask.parameter, port=port, deadline_s=self._deadline_s
            )
        if ask.via in {"http", "post"}:
            return self._page_says(ask, port)
        return cgminer.ask(
            self.host,
            command,
            ask.parameter,
            port=port,
            deadline_s=self._deadline_s,
            text=ask.via == "text",
            extra=ask.extra,
        )

    def _page_says(self, ask: Ask, port: int) -> Reply:
        if find_spec("aiohttp") is None:
            raise NoDriver(self.host, "pip install 'hwkit[http]': this is asked over HTTP")
        page = self._page(port)
        method = "GET" if ask.via == "http" else "POST"
        try:
            said = page.fetch(ask.path, method, ask.body)
        except Refused as error:
            if not self._logged_in(page):
                table = f"[{json.dumps(self.host)}] in the credentials file"
                raise NotPermitted(self.host, f"it wants a password: see {table}") from error
            said = page.fetch(ask.path, method, ask.body)
        reply = answer(said.document, f"{self.host}{ask.path}")
        return replace(reply, at=said.at, took_ns=said.took_ns)

    def _logged_in(self, page: Host) -> bool:
        """Say who we are, if the user's file says it of this host; False where it does not."""
        words, login = credentials(self.host), self._login
        if login is None or "password" not in words:
            return False
        own = {"user": words.get("user", login.user), "password": words["password"]}
        if login.how != "token":
            page.log_in(login.how, own["user"], own["password"])
            return True
        path, mark, query = login.path.partition("?")
        if mark:
            said = page.get(path, "?" + query.format(**own)).document
        else:
            body = {key: value.format(**own) for key, value in login.body.items()}
            said = json.loads(page.send("POST", path, body))
        token = next((str(what) for _, what in Place("said", login.token).find({"said": said})), "")
        if token:
            page.log_in("header", login.header, login.value.format(token=token))
        return bool(token)

    def _page(self, port: int) -> Host:
        if port not in self._pages:
            shown = f"[{self.host}]" if ":" in self.host else self.host
            place = shown if port == 80 else f"{shown}:{port}"
            self._pages[port] = Host(self.host, place, deadline_s=self._deadline_s)
        return self._pages[port]

    def _port(self, ask: Ask) -> int:
        if ask.via == "whatsminer3":
            return self._ports.whatsminer
        if ask.via in {"http", "post"}:
            return self._ports.api if ask.port == EPIC_PORT else ask.port or self._ports.http
        return self._ports.api

    def _unknown(self) -> Unavailable | DeviceFault:
        """Return why nobody knows what it is."""
        if self.answers:
            raw = b" ".join(reply.raw[:100] for reply in self.answers.values())
            said = f"{self.host}: it answers, and no dialect knows how: {ELSE}"
            return ProtocolError(said, raw[:400])
        if isinstance(self._first, NotPermitted):
            return self._first
        why = self._first.why if isinstance(self._first, Unavailable) else str(self._first)
        if find_spec("aiohttp") is None:
            return NoDriver(self.host, f"{why}; over HTTP it may: pip install 'hwkit[http]'")
        pages = self._ports.http not in self._dead
        other = f"; its pages are of no miner that we know: {ELSE}" if pages else ""
        return NoDevice(self.host, f"no miner answers there: {why}{other}")

    def _accepts(self, port: int) -> bool:
        """Does anybody listen, who may only be slow? What has answered before is."""
        if self.answers:
            return True
        try:
            with socket.create_connection((self.host, port), min(self._deadline_s, ACCEPTED_S)):
                return True
        except OSError:
            return False
