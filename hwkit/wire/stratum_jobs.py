"""Jobs as a Stratum pool sends them, and the verdict on what comes back."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol

from hwkit.errors import PlanError
from hwkit.protocols import Verdict
from hwkit.sha256d import sha256d
from hwkit.work import NONCES, Share

if TYPE_CHECKING:
    from hwkit.work import Job, Target

NTIME_ROLL_S = 600  # how far past a job's nTime a miner may roll it
LIVE = 8  # jobs of a connection that still count, where none was clean: 4 min of one in 30 s
PAST = 4096  # jobs called off that are still known: their shares are stale, not wrong
NOT_FOUND = "job not found"
# Python's int and fromhex read other scripts' digits, signs, underscores and spaces, too.
_HEX = re.compile(r"[0-9a-fA-F]+").fullmatch
REMEMBERED = 1 << 19  # good shares in all live jobs, against duplicates: 60 MB


class JobSource(Protocol):
    """Where a pool's jobs come from."""

    def template(self) -> Job:
        """Return the job whose successors are sent from now on.

        They are told apart by their serials alone: no two templates of a run may share one.
        """
        ...


@dataclass(frozen=True, slots=True)
class OneTemplate:
    """A bench's source of jobs: all follow from one template, which a record keeps."""

    job: Job

    def template(self) -> Job:
        """Return it."""
        return self.job


@dataclass(slots=True, eq=False)
class Sent:
    """A job as one connection got it."""

    template: Job
    serial: int
    target: Target
    ntime: int
    seen: set[bytes] = field(default_factory=set)  # hashes of its good shares, cut to 8 bytes
    id: str = field(init=False)  # on the wire: short, and of an even number of hex digits

    def __post_init__(self) -> None:
        """Derive its name."""
        self.id = f"{self.serial:08x}"

    def notification(self, *, clean: bool) -> list[Any]:
        """Return the parameters of mining.notify; the previous hash goes as 8 big-endian words."""
        job = self.template
        words = [job.prev_hash[at : at + 4][::-1] for at in range(0, 32, 4)]
        return [
            self.id,
            b"".join(words).hex(),
            (job.coinbase1 + self.serial.to_bytes(4, "little")).hex(),
            job.coinbase2.hex(),
            [node.hex() for node in job.branch],
            *(f"{number:08x}" for number in (job.version, job.nbits, self.ntime)),
            clean,
        ]

    def read(self, params: list[Any], mask: int) -> Share:
        """Return the share that mining.submit's parameters stand for.

        They are user, job, extranonce2, nTime, nonce and, of BIP 310, the version's bits that the
        miner has rolled within its mask. Raises PlanError for what may not be.
        """
        extranonce2, ntime, nonce = params[2:5]
        job, version = self.template, self.template.version
        if len(params) > 5 and params[5] is not None:
            bits = _word(params[5], "version bits")
            if bits & ~mask:
                raise PlanError("version bits outside the mask")
            version = version & ~mask | bits
        rolled_to = _word(ntime, "nTime")
        if not 0 <= rolled_to - self.ntime <= NTIME_ROLL_S:
            raise PlanError("nTime out of range")
        if not isinstance(extranonce2, str) or not _HEX(extranonce2):
            raise PlanError("extranonce2 is not hex")
        if len(extranonce2) != 2 * job.extranonce2_size:
            raise PlanError(f"extranonce2 is {job.extranonce2_size} bytes")
        roll = bytes.fromhex(extranonce2)
        return Share(self.serial, roll, rolled_to, version, _word(nonce, "nonce"))


class Jobs:
    """Hands out serials, each once in a run, and judges shares by them."""

    def __init__(self, source: JobSource) -> None:
        """Take where the templates come from."""
        self._source = source
        self._began = time.monotonic_ns()
        self._first = source.template().serial + 1
        self._serials = count(self._first)
        self._past: dict[str, Sent] = {}  # oldest first
        self.remembered = 0

    @property
    def template(self) -> Job:
        """The template of now."""
        return self._source.template()

    def issue(self, live: dict[str, Sent], target: Target, *, clean: bool) -> Sent:
        """Return a new job among a connection's live ones; call off those that it ends."""
        template = self.template
        # The template's time goes on by our one clock, as miners expect it to.
        ntime = template.ntime + (time.monotonic_ns() - self._began) // 10**9
        sent = Sent(template, next(self._serials) % NONCES, target, ntime)
        self.call_off(live, 0 if clean else LIVE - 1)
        live[sent.id] = sent
        return sent

    def call_off(self, live: dict[str, Sent], kept: int = 0) -> None:
        """End all but the newest live jobs of a connection."""
        for name in list(live)[: max(len(live) - kept, 0)]:
            ended = self._past[name] = live.pop(name)
            self.remembered -= len(ended.seen)
            ended.seen = set()
        while len(self._past) > PAST:
            del self._past[next(iter(self._past))]

    def judge(
        self,
        live: dict[str, Sent],
        params: Any,  # noqa: ANN401 - what JSON holds
        mask: int = 0,
    ) -> tuple[Verdict, Share | None, bytes | None, str]:
        """Return the verdict on mining.submit's parameters, with share, hash and the reason.

        `live` are the connection's jobs, `mask` the version bits that it may roll.
        """
        try:
            sent = self._named(live, params)
            share = sent.read(params, mask)
        except PlanError as error:
            return Verdict.WRONG, None, None, str(error)
        digest = sha256d(sent.template.header(share))
        if not sent.target.is_met_by(digest):
            verdict = Verdict.LOW
        elif sent.id not in live:
            verdict = Verdict.STALE
        elif digest[:8] in sent.seen:
            verdict = Verdict.DUPLICATE
        else:
            verdict = Verdict.GOOD
            sent.seen.add(digest[:8])
            self.remembered += 1
        return verdict, share, digest, verdict.value

    def _named(self, live: dict[str, Sent], params: Any) -> Sent:  # noqa: ANN401
        if not isinstance(params, list) or len(params) < 5 or not isinstance(params[1], str):
            raise PlanError("no share: user, job, extranonce2, nTime and nonce")
        sent = live.get(params[1]) or self._past.get(params[1])
        if sent is None:
            raise PlanError(NOT_FOUND)
        return sent


def _word(text: object, what: str) -> int:
    """Read a 32-bit number of at most 8 hex digits."""
    if isinstance(text, str) and len(text) <= 8 and _HEX(text):
        return int(text, 16)
    raise PlanError(f"{what}: up to 8 hex digits")
