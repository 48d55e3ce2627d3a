"""A simulated miner, switched on: its pools, its hashing, its API, and what happens to it."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from hwkit.errors import DeviceFault, Unavailable
from hwkit.sha256d import sha256d
from hwkit.simulate.api import Api
from hwkit.simulate.counters import Counters
from hwkit.simulate.framed import Framed
from hwkit.simulate.hashing import Hashing, Work
from hwkit.simulate.stratum import Session, Verdict
from hwkit.simulate.tcp_door import TcpDoor
from hwkit.work import DIFFICULTY_1

if TYPE_CHECKING:
    from collections.abc import Callable

    from hwkit.protocols import Hit, Kernel
    from hwkit.simulate.behaviour import Behaviour
    from hwkit.simulate.dialect import Dialect
    from hwkit.simulate.pools import Pool, Pools

FIRST_RETRY_S, LAST_RETRY_S = 0.5, 30.0
LOOK_BACK_S = 15.0  # how often a better pool that was dead is tried again
BIND_S = 61.0  # cgminer's patience for its port
WRONG_TRIES = 100
ANSWER_FIRST_S = 0.2  # before a reboot, so that who asked for it hears so
log = logging.getLogger(__name__)


class Door(Protocol):
    """Where a miner answers."""

    async def listen(self, host: str, port: int) -> int:
        """Begin to answer; return the port, which 0 leaves to the system. Raises OSError."""
        ...

    async def close(self) -> None:
        """End, whoever is connected."""


class Miner:
    """One miner on one event loop."""

    def __init__(
        self,
        dialect: Dialect,
        behaviour: Behaviour,
        pools: Pools,
        kernel: Kernel,
        *,
        host: str = "127.0.0.1",
        api_port: int = 0,
        web_port: int = 0,
    ) -> None:
        """Say what it is. Nothing happens yet."""
        self.dialect = dialect
        self.behaviour = behaviour
        self.pools = pools
        pools.settings = {**dialect.say("settings"), **pools.settings}
        self.counters = Counters()
        self.work: Work | None = None
        self.last_job_at = 0
        self.host, self.api_port, self.web_port = host, api_port, web_port
        self._kernel = kernel
        self._draw = random.Random(behaviour.seed)  # noqa: S311 - faults by lot
        self._hashing: Hashing | None = None
        self._reboot = asyncio.Event()
        self._changed = asyncio.Event()
        self._boots = 0
        self._doors: list[Door] = []

    @property
    def tuning(self) -> bool:
        """Does it tune itself now?"""
        return self.behaviour.tuning_at(self.counters.elapsed_s)

    @property
    def power_w(self) -> float:
        """What it claims to draw, which goes with its clock."""
        own = self.behaviour.power_w
        return (float(self.dialect.say("power_w")) if own is None else own) * self.speed

    @property
    def speed(self) -> float:
        """How fast its clock is set, of what it comes with."""
        settings, usual = self.pools.settings, self.dialect.say("settings")
        return float(settings["frequency_mhz"]) / float(usual["frequency_mhz"])

    async def run(self, ready: Callable[[Miner], None] = lambda _: None) -> None:
        """Run until cancelled, through its reboots; `ready` is told when it first answers.

        Raises Unavailable where its port cannot be had.
        """
        while True:
            self._reboot.clear()
            self.counters = Counters()
            self.pools.boot()
            await self._boot(ready)
            await asyncio.sleep(self.behaviour.reboot_takes_s)
            self._boots += 1

    def reboot(self) -> None:
        """Reboot, once the answer to this is sent."""
        asyncio.get_running_loop().call_later(ANSWER_FIRST_S, self._reboot.set)

    def pools_changed(self) -> None:
        """Take note of a change to the pools, which some miners need a reboot for."""
        if self.behaviour.reboots_on_pool_change:
            self.reboot()
        else:
            self._changed.set()

    async def _boot(self, ready: Callable[[Miner], None]) -> None:
        self._doors = [Api(self)] if self.dialect.has_api else []
        if self.dialect.has_frames:
            self._doors.append(Framed(self))
        if self.dialect.has_web:
            from hwkit.simulate.web import Web  # noqa: PLC0415 - aiohttp, where it is needed

            self._doors.append(Web(self))
        loop = asyncio.get_running_loop()
        self.work = None
        self._hashing = Hashing(
            self._kernel,
            self.behaviour,
            self.counters,
            lambda *share: _tell(loop, self._found, *share),
            lambda: self.speed,
        )
        mining = None
        try:
            await self._open_doors()
            if self._boots == 0:
                ready(self)
                if self.behaviour.reboot_at_s is not None:
                    loop.call_later(self.behaviour.reboot_at_s, self._reboot.set)
            self._hashing.start()
            mining = asyncio.create_task(self._mine())
            rebooting = asyncio.create_task(self._reboot.wait())
            await asyncio.wait({mining, rebooting}, return_when=asyncio.FIRST_COMPLETED)
            rebooting.cancel()
            if mining.done():
                mining.result()
        finally:
            self._hashing.stop()
            if mining is not None:
                mining.cancel()
                with suppress(asyncio.CancelledError):
                    await mining
            for door in self._doors:
                await door.close()

    async def _open_doors(self) -> None:
        for door in self._doors:
            if isinstance(door, TcpDoor):
                self.api_port = await self._bind(door, self.api_port)
            elif self.dialect.has_api:
                self.web_port = await self._bind(door, self.web_port)
            else:
                place = self.web_port or self.api_port
                self.api_port = self.web_port = await self._bind(door, place)

    async def _bind(self, door: Door, port: int) -> int:
        until = time.monotonic() + BIND_S
        while True:
            try:
                return await door.listen(self.host, port)
            except OSError as error:
                if self._boots == 0 or time.monotonic() > until:
                    why = f"cannot listen there: {error.strerror}"
                    raise Unavailable(f"{self.host}:{port}", why) from error
            await asyncio.sleep(0.1)

    async def _mine(self) -> None:
        """Work for the best pool that answers, and look for a better one."""
        session: Session | None = None
        serving: asyncio.Task[None] | None = None
        retry_s = FIRST_RETRY_S
        try:
            while True:
                self._changed.clear()
                better = await self._better(session)
                if better is not None:
                    self._leave(session, serving)
                    session, serving = better, asyncio.create_task(better.serve())
                    self._take_up(session)
                    retry_s = FIRST_RETRY_S
                changed = asyncio.create_task(self._changed.wait())
                waits = {changed} if serving is None else {changed, serving}
                wait_s = retry_s if serving is None else LOOK_BACK_S
                await asyncio.wait(waits, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
                if serving is None:
                    retry_s = min(2 * retry_s, LAST_RETRY_S)
                elif serving.done() or not session or session.pool not in self.pools.by_priority:
                    self._leave(session, serving)
                    session = serving = None
        finally:
            self._leave(session, serving)

    async def _better(self, now: Session | None) -> Session | None:
        """Return a session with the best pool that answers, None where that is the one we have."""
        for pool in self.pools.by_priority:
            if now is not None and pool is now.pool:
                return None
            rolls = self.behaviour.version_rolling and self.dialect.say("rolls", default=True)
            session = Session(
                pool,
                agent=self.dialect.say("agent"),
                rolls=rolls and pool.rolls,
                floor=self.behaviour.floor,
            )
            try:
                await session.open()
            except DeviceFault as fault:
                log.info("%s", fault)
                pool.alive, pool.rolls = False, not pool.rolls
                pool.failures += 1
            else:
                pool.alive = True
                return session
        return None

    def _take_up(self, session: Session) -> None:
        session.pool.active = True
        session.on_work = self._work_on
        session.on_verdict = lambda verdict: self._judged(session.pool, verdict)
        if session.work is not None:
            self._work_on(session.work)

    def _leave(self, session: Session | None, serving: asyncio.Task[None] | None) -> None:
        if serving is not None:
            serving.cancel()
            if serving.done() and not serving.cancelled() and serving.exception() is not None:
                log.info("%s", serving.exception())
        if session is not None:
            session.pool.active = False
            session.close()
            self.work = None
            if self._hashing is not None:
                self._hashing.work_on(None)

    def _work_on(self, work: Work) -> None:
        self.work = work
        self.last_job_at = int(time.time())
        if self._hashing is not None:
            self._hashing.work_on(work)

    def _found(self, work: Work, extranonce2: bytes, hit: Hit) -> None:
        """Do with a nonce that was found what this miner does."""
        session: Session = work.origin
        behaviour, pool = self.behaviour, session.pool
        if self.work is None or self.work.origin is not session:
            pool.stale += 1
            pool.difficulty_stale += work.difficulty
            return
        self.counters.found += 1
        if self._draw.random() < behaviour.hardware_errors:
            self.counters.hardware_errors += 1
            return
        while self._draw.random() < behaviour.reject:
            wrong = self._wrong(work, extranonce2, hit)
            if wrong is not None:
                session.submit(work, extranonce2, wrong)
        digest = sha256d(_header(work, extranonce2, hit))
        pool.best = max(pool.best, DIFFICULTY_1 / max(int.from_bytes(digest, "little"), 1))
        session.submit(work, extranonce2, hit)

    def _wrong(self, work: Work, extranonce2: bytes, hit: Hit) -> Hit | None:
        """Return a nonce that is no share; None where about every nonce is one."""
        for _ in range(WRONG_TRIES):
            other = replace(hit, nonce=self._draw.getrandbits(32))
            if not work.job.target.is_met_by(sha256d(_header(work, extranonce2, other))):
                return other
        return None

    def _judged(self, pool: Pool, verdict: Verdict) -> None:
        pool.works += 1
        if verdict.accepted:
            pool.accepted += 1
            pool.difficulty_accepted += verdict.difficulty
            pool.last_share_at = int(time.time())
            pool.last_difficulty = verdict.difficulty
        else:
            pool.rejected += 1
            pool.difficulty_rejected += verdict.difficulty
            pool.reasons[verdict.reason] = pool.reasons.get(verdict.reason, 0) + 1


def _header(work: Work, extranonce2: bytes, hit: Hit) -> bytes:
    job = work.job
    return job.header_of(job.serial, extranonce2, job.ntime, hit.version, hit.nonce)


def _tell(
    loop: asyncio.AbstractEventLoop,
    found: Callable[[Work, bytes, Hit], None],
    work: Work,
    extranonce2: bytes,
    hit: Hit,
) -> None:
    with suppress(RuntimeError):  # the loop has ended: nobody is left to be told
        loop.call_soon_threadsafe(found, work, extranonce2, hit)
