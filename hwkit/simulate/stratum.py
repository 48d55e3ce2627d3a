"""A miner's side of Stratum v1: one connection to one pool, from its opening to its end.

As cgminer and ESP-Miner do it (docs/stratum-quirks.md): a difficulty holds from the next job on.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hwkit.errors import DeviceLost, DeviceTimeout, ProtocolError
from hwkit.simulate.hashing import Work
from hwkit.simulate.pools import place
from hwkit.work import ROLLABLE_VERSION_BITS, Job, Target

if TYPE_CHECKING:
    from collections.abc import Callable

    from hwkit.protocols import Hit
    from hwkit.simulate.pools import Pool

LARGEST = 1 << 17  # bytes of a line: a coinbase is some hundred, a job some thousand
HANDSHAKE_S = 30.0
SILENCE_S = 600.0  # without a job, after which a pool is given up
MOST_PENDING = 10_000  # shares that a pool may leave unanswered
MOST_BRANCH = 64


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a pool said of a share."""

    accepted: bool
    difficulty: float
    reason: str


class Session:
    """One connection to a pool, which has given work when `open` returns."""

    def __init__(self, pool: Pool, *, agent: str, rolls: bool, floor: float | None) -> None:
        """Say to whom and as what; nothing happens yet."""
        self.pool = pool
        self.work: Work | None = None
        self.on_work: Callable[[Work], None] = lambda _: None
        self.on_verdict: Callable[[Verdict], None] = lambda _: None
        self._agent, self._rolls, self._floor = agent, rolls, floor
        self._extranonce1, self._extranonce2_size = b"", 0
        self._mask = 0
        self._target, self._difficulty = Target.from_difficulty(1), 1.0
        self._awaited: dict[int, str] = {}  # answers to come, of the handshake
        self._pending: dict[int, float] = {}  # and of shares: their difficulty
        self._next_id = 1
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter | None = None

    async def open(self) -> None:
        """Connect, subscribe, authorise, and wait for the first job.

        Raises DeviceLost, DeviceTimeout and ProtocolError.
        """
        host, port = place(self.pool.url)
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                self._reader, self._writer = await asyncio.open_connection(
                    host, port, limit=LARGEST
                )
                if self._rolls:
                    mask = f"{ROLLABLE_VERSION_BITS:08x}"
                    wish = {"version-rolling.mask": mask, "version-rolling.min-bit-count": 2}
                    self._ask("mining.configure", [["version-rolling"], wish])
                self._ask("mining.subscribe", [self._agent])
                self._ask("mining.authorize", [self.pool.user, self.pool.password])
                # A pool that knows no mining.configure may leave it unanswered.
                while self.work is None or {*self._awaited.values()} - {"mining.configure"}:
                    self._take(await self._line())
        except TimeoutError as error:
            self.close()
            raise DeviceTimeout(f"{self.pool.url}: no job within {HANDSHAKE_S:g} s") from error
        except OSError as error:
            self.close()
            raise DeviceLost(f"{self.pool.url}: {error}") from error
        except BaseException:
            self.close()
            raise

    async def serve(self) -> None:
        """Take what the pool sends until it ends. Raises DeviceLost, ProtocolError."""
        try:
            while True:
                async with asyncio.timeout(SILENCE_S):
                    self._take(await self._line())
        except TimeoutError as error:
            raise DeviceLost(f"{self.pool.url}: silent for {SILENCE_S:g} s") from error
        except OSError as error:
            raise DeviceLost(f"{self.pool.url}: {error}") from error

    def submit(self, work: Work, extranonce2: bytes, hit: Hit) -> None:
        """Send a share."""
        if self._writer is None or self._writer.is_closing():
            return
        if len(self._pending) >= MOST_PENDING:
            self.close()
            return
        words = [self.pool.user, work.job_id, extranonce2.hex()]
        words += [f"{work.job.ntime:08x}", f"{hit.nonce:08x}"]
        if work.job.version_mask:
            words.append(f"{hit.version & work.job.version_mask:08x}")
        self._pending[self._ask("mining.submit", words)] = work.difficulty

    def close(self) -> None:
        """Let go."""
        if self._writer is not None:
            self._writer.close()

    def _ask(self, method: str, params: list[Any]) -> int:
        number, self._next_id = self._next_id, self._next_id + 1
        self._send({"id": number, "method": method, "params": params})
        if method != "mining.submit":
            self._awaited[number] = method
        return number

    def _send(self, document: dict[str, Any]) -> None:
        if self._writer is not None:
            self._writer.write(json.dumps(document).encode() + b"\n")

    async def _line(self) -> bytes:
        try:
            line = await self._reader.readuntil(b"\n")
        except asyncio.LimitOverrunError as error:
            said = f"{self.pool.url}: a line of more than {LARGEST} bytes"
            raise ProtocolError(said, b"") from error
        except asyncio.IncompleteReadError as error:
            raise DeviceLost(f"{self.pool.url}: the pool closed the connection") from error
        return line

    def _take(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ProtocolError(f"{self.pool.url}: no JSON: {line[:80]!r}", line) from error
        if not isinstance(message, dict):
            raise ProtocolError(f"{self.pool.url}: no Stratum: {line[:80]!r}", line)
        try:
            if message.get("method") is not None:
                self._told(message)
            else:
                self._answered(message)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise ProtocolError(f"{self.pool.url}: no Stratum: {line[:80]!r}", line) from error

    def _told(self, message: dict[str, Any]) -> None:
        params = message.get("params") or []
        match message["method"]:
            case "mining.notify":
                self._notified(params)
            case "mining.set_difficulty":
                target = Target.from_difficulty(params[0])
                self._target, self._difficulty = target, float(params[0])
            case "mining.set_version_mask":
                if self._rolls:
                    self._mask = int(params[0], 16) & ROLLABLE_VERSION_BITS
            case "mining.set_extranonce":
                self._set_extranonce(params[0], params[1])
            case "mining.ping":
                self._send({"id": message.get("id"), "result": "pong", "error": None})
            case "client.get_version":
                self._send({"id": message.get("id"), "result": self._agent, "error": None})
            case "client.reconnect":  # to the same pool: another's address may be a thief's
                raise DeviceLost(f"{self.pool.url}: the pool asks to connect anew")
            case _ if message.get("id") is not None:
                error = [-3, "Method not found", None]
                self._send({"id": message["id"], "result": None, "error": error})
            case _:
                pass

    def _notified(self, params: list[Any]) -> None:
        job_id, previous, coinbase1, coinbase2, branch, version, nbits, ntime = params[:8]
        words = bytes.fromhex(previous)
        first = bytes.fromhex(coinbase1)
        if len(words) != 32 or len(first) < 4 or len(branch) > MOST_BRANCH:
            raise ValueError(job_id)
        if not self._extranonce2_size:
            raise ValueError("a job before the subscription")
        harder = self._target
        if self._floor is not None:
            harder = min(harder, Target.from_difficulty(self._floor))
        job = Job(
            # Each 32-bit word of it is reversed on the wire.
            prev_hash=b"".join(words[at : at + 4][::-1] for at in range(0, 32, 4)),
            coinbase1=first[:-4],
            serial=int.from_bytes(first[-4:], "little"),
            coinbase2=bytes.fromhex(coinbase2),
            extranonce1=self._extranonce1,
            extranonce2_size=self._extranonce2_size,
            branch=tuple(bytes.fromhex(node) for node in branch),
            version=int(version, 16),
            version_mask=self._mask,
            version_rolling=self._mask.bit_count() >= 4,  # there is a group to roll
            nbits=int(nbits, 16),
            ntime=int(ntime, 16),
            target=harder,
        )
        job.header_under(bytes(32), job.ntime, job.version, 0)  # what does not fit is refused now
        self.work = Work(job, str(job_id), self._difficulty, self)
        self.pool.jobs += 1
        self.pool.difficulty = self._difficulty
        self.on_work(self.work)

    def _answered(self, message: dict[str, Any]) -> None:
        number, error = message.get("id"), message.get("error")
        result: Any = message.get("result")
        if isinstance(number, int) and number in self._pending:
            difficulty = self._pending.pop(number)
            self.on_verdict(Verdict(result is True, difficulty, _reason(error)))
            return
        match self._awaited.pop(number, None) if isinstance(number, int) else None:
            case "mining.configure":
                if isinstance(result, dict) and result.get("version-rolling"):
                    self._mask = int(result["version-rolling.mask"], 16) & ROLLABLE_VERSION_BITS
            case "mining.subscribe":
                self._set_extranonce(result[-2], result[-1])
            case "mining.authorize" if result is not True:
                said = f"{self.pool.url}: refuses {self.pool.user!r}: {_reason(error)}"
                raise ProtocolError(said, json.dumps(message).encode())
            case _:
                pass

    def _set_extranonce(self, extranonce1: str, size: int) -> None:
        if not 1 <= size <= 16:
            raise ValueError(size)
        self._extranonce1, self._extranonce2_size = bytes.fromhex(extranonce1), size


def _reason(error: Any) -> str:  # noqa: ANN401 - lists, objects and texts are seen
    with suppress(LookupError, TypeError):
        return str(error["message"] if isinstance(error, dict) else error[1])
    return "" if error is None else str(error)
