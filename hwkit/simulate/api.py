"""cgminer's API as its server behaves: one request a connection, one NUL at the end, one thread."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from hwkit.errors import PlanError
from hwkit.simulate.dialect import Answer
from hwkit.simulate.malformed import MALFORMATIONS
from hwkit.simulate.pools import Pool, Refused
from hwkit.simulate.tcp_door import TcpDoor
from hwkit.simulate.whatsminer import Sealed

if TYPE_CHECKING:
    from collections.abc import Callable

    from hwkit.simulate.miner import Miner

ONE_READ = 4095  # bytes: cgminer's one recv()
SEND_S = 10.0
IN_SESSION = {"logon", "logoff", "profileset"}


class Api(TcpDoor):
    """Answers on one port, one client after the other."""

    def __init__(self, miner: Miner) -> None:
        """Answer for this miner."""
        super().__init__()
        self._miner = miner
        self._dialect = miner.dialect
        self._one = asyncio.Lock()
        pools = miner.pools
        self._changes: dict[str, Callable[[str], tuple[int, str]]] = {
            "addpool": pools.add,
            "switchpool": pools.switch,
            "enablepool": pools.enable,
            "disablepool": pools.disable,
            "removepool": pools.remove,
            "poolpriority": pools.prioritise,
        }
        self._privileged = {*self._changes, "privileged", "restart", "quit", "zero", "save"}
        self._own: dict[str, Callable[[str], Answer]] = {}  # of its make
        if self._dialect.say("adds_ascset"):
            self._own["ascset"] = self._set
        if self._dialect.say("has_sessions"):
            self._own |= {name: partial(self._in_session, name) for name in IN_SESSION}
        self._privileged |= self._own.keys()
        self._session: str | None = None  # whoever is logged on
        self._sealed = Sealed(miner) if self._dialect.say("has_tokens") else None

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Whoever connects and asks nothing keeps all others waiting: the server has one thread.
        async with self._one:
            request = await reader.read(ONE_READ)
            writer.write(self.reply(request))
            async with asyncio.timeout(SEND_S):
                await writer.drain()

    def reply(self, request: bytes) -> bytes:
        """Return the bytes that answer a request."""
        if not request:
            return b""
        said = self._json(request) if request.startswith(b"{") else self._text(request)
        raw = said.encode()[: self._dialect.say("most_bytes", 1 << 24)] + b"\0"
        malform = MALFORMATIONS.get(self._miner.behaviour.malformed or "")
        return raw if malform is None else malform(raw)

    def _json(self, request: bytes) -> str:
        try:
            asked: Any = json.loads(request)
        except (ValueError, RecursionError):
            return self._document(self._error(23, "Invalid JSON"))
        if self._sealed is not None and isinstance(asked, dict) and "enc" in asked:
            return self._sealed.reply(asked, self._document)
        command = asked.get("command", asked.get("cmd")) if isinstance(asked, dict) else None
        if not isinstance(command, str):
            return self._document(self._error(24, "Missing JSON 'command'"))
        parameter = asked.get("parameter")
        if "+" not in command:
            return self._document(
                self._answer(command, "" if parameter is None else str(parameter))
            )
        parts = dict.fromkeys(filter(None, command.split("+")))
        inside = [
            f"{json.dumps(name)}:[{self._document(self._answer(name, '', joined=True))}]"
            for name in parts
        ]
        return f'{{{",".join(inside)},"id":1}}'

    def _text(self, request: bytes) -> str:
        command, _, parameter = request.decode(errors="replace").partition("|")
        parameter = parameter.removesuffix("|")
        if "+" not in command:
            return self._line(self._answer(command, parameter))
        parts = dict.fromkeys(filter(None, command.split("+")))
        return "".join(
            f"CMD={name}|{self._line(self._answer(name, '', joined=True))}" for name in parts
        )

    def _document(self, answer: Answer) -> str:
        if answer.section == "":  # RESTART and BYE
            return f'{{"STATUS":"{answer.message}","id":1}}'
        about = self._dialect.say("description")
        if answer.whole:
            about = self._dialect.say("own_description", about)
        return answer.to_json(about, self._when()) + answer.end

    def _line(self, answer: Answer) -> str:
        if answer.section == "":
            return f"{answer.message}|"
        return answer.to_text(self._dialect.say("description"), self._when())

    def _when(self) -> int:
        if self._dialect.say("when_is_uptime"):
            return int(self._miner.counters.elapsed_s)
        return int(time.time())

    def _error(self, code: int, message: str, *, described: bool = True) -> Answer:
        whole = bool(self._dialect.say("own_errors"))
        return Answer(code, message, severity="E", described=described, whole=whole)

    def _answer(self, command: str, parameter: str, *, joined: bool = False) -> Answer:
        if command == "get_token" and self._sealed is not None:
            return self._sealed.token()
        changing = command in self._privileged
        known = changing or command == "check" or self._dialect.knows(command)
        if not known or (joined and (changing or command == "check")):
            words = self._dialect.say("invalid", "Invalid command")
            return self._error(14, words, described=bool(self._dialect.say("describes_errors")))
        if command == "check":
            return self._check(parameter)
        if not self._may(command):
            return self._error(45, f"Access denied to '{command}' command")
        if changing:
            return self._change(command, parameter)
        return self._dialect.answer(command, self._miner)

    def _change(self, command: str, parameter: str) -> Answer:
        if command in self._changes:
            return self._change_pools(command, parameter)
        if command in self._own:
            return self._own[command](parameter)
        match command:
            case "restart" | "quit":
                self._miner.reboot()
                return Answer(0, "RESTART" if command == "restart" else "BYE", section="")
            case "save":
                self._miner.pools.save()
                return Answer(44, "Configuration saved to file 'cgminer.conf'")
            case "zero":
                return Answer(96, "Zeroed All stats without summary")
            case _:
                return Answer(46, "Privileged access OK")

    def _change_pools(self, command: str, parameter: str) -> Answer:
        pools = self._miner.pools
        try:
            code, message = self._changes[command](parameter)
        except Refused as why:
            return Answer(why.code, why.message, severity=why.severity)
        if command == "addpool" and self._dialect.say("adds_without_number"):
            message = f"Added pool '{pools.list[-1].url}'"
        self._miner.pools_changed()
        return Answer(code, message)

    def _set(self, parameter: str) -> Answer:
        """Do what Avalon calls ascset: NUMBER,WHAT,VALUE."""
        _, what, value = (*parameter.split(",", 2), "", "")[:3]
        pools = self._miner.pools
        match what, value.split(","):
            case "help", _:
                return Answer(118, "ASC 0 set info: help|workmode|setpool|reboot|", severity="I")
            case "reboot", _:
                self._miner.reboot()
            case "workmode", ["set", mode]:
                pools.settings["mode"] = mode
                pools.save()
            # User and password of its page, then the pool's number: it is taken up when it starts.
            case "setpool", [_, _, ("0" | "1" | "2") as number, url, user, password]:
                try:
                    new = Pool(url, user, password)
                except PlanError as error:
                    return self._error(120, f"ASC 0 set failed: {error}")
                configured = list(pools.configured)
                configured[int(number) : int(number) + 1] = [new]
                pools.configure(configured)
            case _:
                return self._error(120, f"ASC 0 set failed: {what}")
        return Answer(119, "ASC 0 set OK")

    def _in_session(self, command: str, parameter: str) -> Answer:
        """Do what LuxOS does for whoever is logged on, one at a time."""
        session, _, profile = parameter.partition(",")
        if command == "logon":
            if self._session is not None:
                return self._error(402, "Another session is active")
            self._session = secrets.token_hex(4)
            return Answer(316, "Session", "SESSION", (f'"SessionID":"{self._session}"',))
        if self._session is None or session != self._session:
            return self._error(402, "Invalid session id")
        if command == "logoff":
            self._session = None
            return Answer(317, "Session closed")
        rows = [json.loads(f"{{{row}}}") for row in self._dialect.say("reply")["profiles"]["rows"]]
        found = next((row for row in rows if row["Profile Name"] == profile), None)
        if found is None:
            return self._error(325, f"Invalid profile {profile}")
        pools = self._miner.pools
        pools.settings |= {"mode": profile, "frequency_mhz": found["Frequency"]}
        pools.save()
        return Answer(324, f"Profile {profile} set")

    def _check(self, parameter: str) -> Answer:
        if not parameter:
            return self._error(71, "Missing check cmd")
        exists = parameter in self._privileged or self._dialect.knows(parameter)
        access = exists and self._may(parameter)
        row = f'"Exists":"{"NY"[exists]}","Access":"{"NY"[access]}"'
        return Answer(72, "Check command", "CHECK", (row,), one=True)

    def _may(self, command: str) -> bool:
        allowed = self._dialect.say("allowed")
        if allowed and command not in allowed:
            return False
        return command not in self._privileged or self._miner.behaviour.writable
