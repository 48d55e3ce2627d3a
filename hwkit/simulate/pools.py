"""The pools of a simulated miner: changed as cgminer's API changes them, kept over a power cut.

The words and codes are cgminer 4.11's (api.c).
"""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from hwkit.errors import PlanError, RecordError

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST = 32
LARGEST = 1 << 20  # bytes of a state file


class Refused(Exception):
    """A change that the API answers with an error, or with what was so already."""

    def __init__(self, code: int, message: str, severity: str = "E") -> None:
        """Take cgminer's code and words."""
        super().__init__(message)
        self.code = code
        self.message = message
        self.severity = severity


@dataclass(slots=True, eq=False)
class Pool:
    """A pool, and what came of it since the miner was switched on."""

    url: str
    user: str
    password: str
    enabled: bool = True
    priority: int = 0
    alive: bool | None = None  # None: not tried yet
    rolls: bool = True  # ask it for version rolling: some hang up on what they do not know
    active: bool = False
    difficulty: float = 0.0
    jobs: int = 0
    works: int = 0
    failures: int = 0
    accepted: int = 0
    rejected: int = 0
    stale: int = 0
    difficulty_accepted: float = 0.0
    difficulty_rejected: float = 0.0
    difficulty_stale: float = 0.0
    last_share_at: int = 0  # Unix seconds
    last_difficulty: float = 0.0
    best: float = 0.0
    reasons: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise PlanError for a URL that is no Stratum pool's."""
        place(self.url)

    @property
    def status(self) -> str:
        """As the API says it."""
        if not self.enabled:
            return "Disabled"
        return "Dead" if self.alive is False else "Alive"


def place(url: str) -> tuple[str, int]:
    """Return host and port of stratum+tcp://HOST:PORT, the scheme optional. Raises PlanError."""
    split = None
    with suppress(ValueError):
        split = urlsplit(url if "://" in url else f"stratum+tcp://{url}")
        if split.scheme in {"stratum+tcp", "tcp"} and split.hostname and split.port:
            return split.hostname, split.port
    raise PlanError(f"pool {url!r}: write stratum+tcp://HOST:PORT")


def read_pool(text: str) -> Pool:
    r"""Read URL,USER,PASS; a comma or backslash within is escaped with a backslash."""
    words = [""]
    escaped = False
    for char in text:
        if not escaped and char == "\\":
            escaped = True
            continue
        if char == "," and not escaped:
            words.append("")
        else:
            words[-1] += char
        escaped = False
    if len(words) != 3 or not words[0] or not words[1]:
        raise PlanError(f"pool {text!r}: write URL,USER,PASS")
    url, user, password = words
    return Pool(url, user, password)


class Pools:
    """A miner's pools, by number as its API counts them, and its settings beside them."""

    def __init__(
        self,
        pools: Sequence[Pool],
        state: Path | None = None,
        *,
        forgets: bool = False,
        **settings: Any,  # noqa: ANN401 - any JSON value
    ) -> None:
        """Take what a state file keeps, else these pools, the best first, and settings.

        With `forgets` a change by the API holds until the next start, unless saved, as cgminer has
        it. Raises RecordError for a state file that is none.
        """
        self._state = state
        self._forgets = forgets
        self.settings = settings
        self.configured = _by_priority(pools)  # what it comes up with
        if state is not None and state.exists():
            self._read(state)
        self.list: list[Pool] = []
        self.boot()

    def __len__(self) -> int:
        """How many there are."""
        return len(self.list)

    @property
    def by_priority(self) -> list[Pool]:
        """Those that may be mined at, the best first."""
        return sorted((p for p in self.list if p.enabled), key=lambda pool: pool.priority)

    @property
    def active(self) -> Pool | None:
        """The one that is mined at."""
        return next((pool for pool in self.list if pool.active), None)

    def boot(self) -> None:
        """Come up with what is configured; nothing is counted yet."""
        self.list = [
            Pool(pool.url, pool.user, pool.password, pool.enabled, pool.priority)
            for pool in self.configured
        ]
        self._write()

    def add(self, parameter: str) -> tuple[int, str]:
        """Add URL,USER,PASS behind the others."""
        if not parameter:
            raise Refused(52, "Missing addpool details")
        try:
            pool = read_pool(parameter)
        except PlanError:
            raise Refused(53, f"Invalid addpool details '{parameter}'") from None
        if len(self.list) >= MOST:
            raise Refused(54, f"Reached maximum number of pools ({MOST})")
        pool.priority = len(self.list)
        self.list.append(pool)
        self._keep()
        return 55, f"Added pool {len(self.list) - 1}: '{pool.url}'"

    def switch(self, parameter: str) -> tuple[int, str]:
        """Enable one and put it before all others."""
        number, pool = self._named(parameter)
        pool.enabled = True
        self._reorder([pool])
        return 27, f"Switching to pool {number}: '{pool.url}'"

    def enable(self, parameter: str) -> tuple[int, str]:
        """Let one be mined at."""
        number, pool = self._named(parameter)
        if pool.enabled:
            raise Refused(49, f"Pool {number}:'{pool.url}' already enabled", "I")
        pool.enabled = True
        self._keep()
        return 47, f"Enabling pool {number}:'{pool.url}'"

    def disable(self, parameter: str) -> tuple[int, str]:
        """Let one be mined at no more; the last one stays."""
        number, pool = self._named(parameter)
        if not pool.enabled:
            raise Refused(50, f"Pool {number}:'{pool.url}' already disabled", "I")
        if len(self.by_priority) == 1:
            raise Refused(51, f"Cannot disable last active pool {number}:'{pool.url}'")
        pool.enabled = False
        self._keep()
        return 48, f"Disabling pool {number}:'{pool.url}'"

    def remove(self, parameter: str) -> tuple[int, str]:
        """Remove one that is neither active nor the only one; the last takes its number."""
        number, pool = self._named(parameter)
        if len(self.list) == 1:
            raise Refused(66, f"Cannot remove last pool {number}:'{pool.url}'")
        if pool.active:
            raise Refused(67, f"Cannot remove active pool {number}:'{pool.url}'")
        last = self.list.pop()
        if last is not pool:
            self.list[number] = last
        self._reorder([])
        return 68, f"Removed pool {number}:'{pool.url}'"

    def prioritise(self, parameter: str) -> tuple[int, str]:
        """Put these before all others, in this order."""
        if not parameter:
            raise Refused(25, "Missing pool id parameter")
        chosen: list[Pool] = []
        for word in parameter.split(","):
            number, pool = self._named(word)
            if pool in chosen:
                raise Refused(74, f"Duplicate pool specified {number}")
            chosen.append(pool)
        self._reorder(chosen)
        return 73, "Changed pool priorities"

    def configure(self, pools: Sequence[Pool]) -> None:
        """Configure others, as a miner's web page does; they are taken up at the next start."""
        self.configured = _by_priority(pools)
        self._write()

    def replace(self, pools: Sequence[Pool]) -> None:
        """Have others at once, and configure them, as a Whatsminer does."""
        self.list = _by_priority(pools)
        self.save()

    def save(self) -> None:
        """Configure what the API has changed."""
        self.configured = list(self.list)
        self._write()

    def _keep(self) -> None:
        if not self._forgets:
            self.save()

    def _write(self) -> None:
        """Write the state, so that a power cut leaves the old one or the new one, whole."""
        if self._state is None:
            return
        kept = [
            {
                "url": pool.url,
                "user": pool.user,
                "password": pool.password,
                "enabled": pool.enabled,
                "priority": pool.priority,
            }
            for pool in self.configured
        ]
        document = {"pools": kept, "settings": self.settings}
        handle, name = tempfile.mkstemp(dir=self._state.parent, prefix=self._state.name)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(self._state)

    def _named(self, parameter: str) -> tuple[int, Pool]:
        if not parameter:
            raise Refused(25, "Missing pool id parameter")
        # As atoi() has it: what is no number is 0.
        number = int(parameter) if parameter.isascii() and parameter.lstrip("-").isdigit() else 0
        if not 0 <= number < len(self.list):
            raise Refused(26, f"Invalid pool id {number} - range is 0 - {len(self.list) - 1}")
        return number, self.list[number]

    def _reorder(self, first: Sequence[Pool]) -> None:
        rest = [pool for pool in self.list if pool not in first]
        _by_priority([*first, *sorted(rest, key=lambda pool: pool.priority)])
        self._keep()

    def _read(self, state: Path) -> None:
        try:
            with state.open("rb") as file:
                document = json.loads(file.read(LARGEST))
            self.configured = [Pool(**kept) for kept in document["pools"]]
            self.settings |= document["settings"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RecordError(f"{state}: it is no state of a simulated miner: {error}") from error


def _by_priority(pools: Sequence[Pool]) -> list[Pool]:
    """Number pools in the order of their importance."""
    for priority, pool in enumerate(pools):
        pool.priority = priority
    return list(pools)
