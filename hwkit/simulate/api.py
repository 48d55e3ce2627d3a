"""cgminer's API as its server behaves: one request a connection, one NUL at the end, one thread."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from hwkit.simulate.dialect import Answer
from hwkit.simulate.malformed import MALFORMATIONS
from hwkit.simulate.pools import Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from hwkit.simulate.miner import Miner

ONE_READ = 4095  # bytes: cgminer's one recv()
QUEUE = 100  # connections that wait, as cgminer has it
SEND_S = 10.0
log = logging.getLogger(__name__)


class Api:
    """Answers on one port, one client after the other."""

    def __init__(self, miner: Miner) -> None:
        """Answer for this miner."""
        self._miner = miner
        self._one = asyncio.Lock()
        self._at_it: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
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

    async def listen(self, host: str, port: int) -> int:
        """Begin to answer; return the port, which 0 leaves to the system. Raises OSError."""
        self._server = await asyncio.start_server(self._serve, host, port, backlog=QUEUE)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """End, whoever is connected."""
        if self._server is not None:
            self._server.close()
        for task in tuple(self._at_it):
            task.cancel()
        await asyncio.gather(*self._at_it, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a callback of a server runs in one
        self._at_it.add(task)
        try:
            # Whoever connects and asks nothing keeps all others waiting: the server has one thread.
            async with self._one:
                request = await reader.read(ONE_READ)
                writer.write(self.reply(request))
                async with asyncio.timeout(SEND_S):
                    await writer.drain()
        except (OSError, TimeoutError, asyncio.CancelledError) as error:
            log.debug("a client of the API: %r", error)
        finally:
            self._at_it.discard(task)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    def reply(self, request: bytes) -> bytes:
        """Return the bytes that answer a request."""
        if not request:
            return b""
        words = self._miner.dialect
        description = words.say("description")
        if request.startswith(b"{"):
            said = self._json(request, description)
        else:
            said = self._text(request, description)
        raw = said.encode()[: words.say("most_bytes", 1 << 24)] + b"\0"
        malform = MALFORMATIONS.get(self._miner.behaviour.malformed or "")
        return raw if malform is None else malform(raw)

    def _json(self, request: bytes, description: str) -> str:
        end = ',"id":1}'
        try:
            asked: Any = json.loads(request)
        except (ValueError, RecursionError):
            return Answer(23, "Invalid JSON", severity="E").to_json(description) + end
        command = asked.get("command", asked.get("cmd")) if isinstance(asked, dict) else None
        if not isinstance(command, str):
            said = "Missing JSON 'command'"
            return Answer(24, said, severity="E").to_json(description) + end
        parameter = asked.get("parameter", "")
        parameter = "" if parameter is None else str(parameter)
        if "+" not in command:
            answer = self._answer(command, parameter)
            if answer.section == "":  # RESTART and BYE
                return f'{{"STATUS":"{answer.message}"{end}'
            return answer.to_json(description) + end
        parts = dict.fromkeys(filter(None, command.split("+")))
        inside = [
            f"{json.dumps(name)}:[{self._answer(name, '', joined=True).to_json(description)}{end}]"
            for name in parts
        ]
        return f"{{{','.join(inside)}{end}"

    def _text(self, request: bytes, description: str) -> str:
        command, _, parameter = request.decode(errors="replace").partition("|")
        parameter = parameter.removesuffix("|")
        if "+" not in command:
            answer = self._answer(command, parameter)
            return f"{answer.message}|" if answer.section == "" else answer.to_text(description)
        parts = dict.fromkeys(filter(None, command.split("+")))
        return "".join(
            f"CMD={name}|{self._answer(name, '', joined=True).to_text(description)}"
            for name in parts
        )

    def _answer(self, command: str, parameter: str, *, joined: bool = False) -> Answer:
        miner = self._miner
        invalid = Answer(14, "Invalid command", severity="E", described=self._describes)
        if command not in self._privileged and command != "check":
            if not miner.dialect.knows(command):
                return invalid
            if not self._may(command):
                return _denied(command)
            return miner.dialect.answer(command, miner)
        if joined:
            return invalid
        if command == "check":
            return self._check(parameter)
        return self._change(command, parameter) if self._may(command) else _denied(command)

    def _change(self, command: str, parameter: str) -> Answer:
        miner = self._miner
        match command:
            case "privileged":
                return Answer(46, "Privileged access OK")
            case "zero":
                return Answer(96, "Zeroed All stats without summary")
            case "save":
                return Answer(44, "Configuration saved to file 'cgminer.conf'")
            case "restart" | "quit":
                miner.reboot()
                return Answer(0, "RESTART" if command == "restart" else "BYE", section="")
        try:
            code, message = self._changes[command](parameter)
        except Refused as why:
            return Answer(why.code, why.message, severity=why.severity)
        if command == "addpool" and miner.dialect.say("adds_without_number"):
            message = f"Added pool '{miner.pools.list[-1].url}'"
        miner.pools_changed()
        return Answer(code, message)

    def _check(self, parameter: str) -> Answer:
        if not parameter:
            return Answer(71, "Missing check cmd", severity="E")
        exists = parameter in self._privileged or self._miner.dialect.knows(parameter)
        access = exists and self._may(parameter)
        row = f'"Exists":"{"NY"[exists]}","Access":"{"NY"[access]}"'
        return Answer(72, "Check command", "CHECK", (row,), one=True)

    def _may(self, command: str) -> bool:
        allowed = self._miner.dialect.say("allowed")
        if allowed and command not in allowed:
            return False
        return command not in self._privileged or self._miner.behaviour.writable

    @property
    def _describes(self) -> bool:
        return bool(self._miner.dialect.say("describes_errors"))


def _denied(command: str) -> Answer:
    return Answer(45, f"Access denied to '{command}' command", severity="E")
