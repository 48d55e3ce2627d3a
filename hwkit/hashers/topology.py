"""Processors, cores and their types as Linux tells them; and pinning a thread to one of them.

What is not told is None: nothing here is guessed, nothing raises for a file that is absent or
makes no sense. Formats: Documentation/admin-guide/{cputopology,cgroup-v2}.rst and
Documentation/ABI/testing/sysfs-devices-system-cpu of the Linux sources.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

from hwkit.errors import PlanError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")
ROOT = Path("/")
MOST = 8192  # processors: as many as Linux can be built for
LONGEST = 1 << 16  # characters of a file: a list of MOST processors has fewer
LONGEST_PATH = 4096
# A hybrid Intel processor has a performance-monitoring unit for each type of its cores.
MONITORS = {"cpu_core": "performance", "cpu_atom": "efficiency", "cpu_lowpower": "low-power"}
# Elsewhere types differ by a figure. Cores of one type do too, by a favoured core's boost: what is
# less than this fraction of the next faster is of another type.
FIGURES = {"cpu_capacity": "capacity {}", "cpufreq/cpuinfo_max_freq": "{} kHz"}
APART = 0.8


class Processor(NamedTuple):
    """What the system schedules threads on: a core, or one of its SMT siblings."""

    number: int
    core: int | None = None  # the lowest number of its siblings
    package: int | None = None
    type: str | None = None  # of core


class Group(NamedTuple):
    """Cores that are alike."""

    type: str | None
    threads: int  # processors a core
    cores: int

    @property
    def siblings(self) -> str:
        """How many threads a core runs, in words."""
        each = " each" if self.cores > 1 else ""
        return f" with {self.threads} thread{'s' * (self.threads > 1)}{each}"

    def __str__(self) -> str:
        """Say it in words: '8 performance with 2 threads each'."""
        if self.type is None:
            return f"{self.cores}{self.siblings}"
        return f"{self.cores} {self.type}{self.siblings * (self.threads > 1)}"


@dataclass(frozen=True, slots=True)
class Topology:
    """Processors, those of the fastest type first; none where the system does not tell."""

    processors: tuple[Processor, ...] = ()

    def among(self, numbers: Iterable[int] | None) -> Self:
        """Return the part of it that these processors are; None: all."""
        if numbers is None:
            return self
        wanted = set(numbers)
        known = [processor for processor in self.processors if processor.number in wanted]
        unknown = wanted - {processor.number for processor in known}
        return type(self)((*known, *map(Processor, sorted(unknown))))

    @property
    def cores(self) -> int | None:
        """How many cores there are; None unless it is told of every processor."""
        cores = {processor.core for processor in self.processors}
        return None if not cores or None in cores else len(cores)

    @property
    def packages(self) -> int | None:
        """How many packages there are; None unless it is told of every processor."""
        packages = {processor.package for processor in self.processors}
        return None if not packages or None in packages else len(packages)

    @property
    def types(self) -> dict[str, tuple[int, ...]]:
        """The processors of each type of core, fastest first; empty unless all types are told."""
        found: dict[str, list[int]] = {}
        for number, _, _, kind in self.processors:
            if kind is None:
                return {}
            found.setdefault(kind, []).append(number)
        return {kind: tuple(numbers) for kind, numbers in found.items()}

    @property
    def groups(self) -> list[Group] | None:
        """The cores by type and number of siblings; None where they are not told."""
        if self.cores is None:
            return None
        siblings = Counter((kind, core) for _, core, _, kind in self.processors)
        alike = Counter((kind, threads) for (kind, _), threads in siblings.items())
        return [Group(kind, threads, cores) for (kind, threads), cores in alike.items()]

    def spread(self) -> tuple[int, ...]:
        """Return the processors' numbers so that the first few share no core, fastest first."""
        before: Counter[int | None] = Counter()
        turns = []
        for number, core, _, _ in self.processors:
            turns.append((before[core], number))
            before[core] += 1
        return tuple(number for _, number in sorted(turns, key=lambda turn: turn[0]))

    def __str__(self) -> str:
        """Say it in words: '12 cores (8 performance with 2 threads each, 4 efficiency)'."""
        if self.cores is None or self.groups is None:
            return "cores not told"
        said = f"{self.cores} core{'s' * (self.cores > 1)}"
        first, *others = self.groups
        if others or first.type:
            said += f" ({', '.join(map(str, self.groups))})"
        elif first.threads > 1:
            said += first.siblings
        return said + (f" in {self.packages} packages" if (self.packages or 1) > 1 else "")

    def to_json(self) -> dict[str, Any]:
        """Return how many cores, packages and cores of each type, as records keep it."""
        groups = self.groups
        return {
            "cores": self.cores,
            "packages": self.packages,
            "core_groups": None if groups is None else [group._asdict() for group in groups],
        }


@cache
def read(root: Path = ROOT) -> Topology:
    """Return what the system under `root` tells of the processors that are online."""
    base = root / "sys/devices/system/cpu"
    online = _list(base / "online") or ()
    types = _types(root, online)
    order = {kind: place for place, kind in enumerate(dict.fromkeys(types.values()))}
    found = []
    for number in online:
        told = base / f"cpu{number}" / "topology"
        siblings = _list(told / "core_cpus_list") or _list(told / "thread_siblings_list") or ()
        core = min(siblings) if number in siblings else None
        package = _number(told / "physical_package_id")
        found.append(Processor(number, core, package, types.get(number)))
    return Topology(tuple(sorted(found, key=lambda each: (order.get(each.type or "", MOST), each))))


def quota(root: Path = ROOT) -> float | None:
    """Return how many processors' worth of time cgroups allow this process; None: no limit told.

    The least of its own limit and those of the cgroups around it (cpu.max; cpu.cfs_quota_us).
    """
    lines = (_text(root / "proc/self/cgroup") or "").splitlines()
    limits: list[float] = []
    # In a container the roots are its own, whatever the path says.
    for line in ("0::/", "1:cpu:/", *lines):
        _, _, rest = line[:LONGEST_PATH].partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = root / "sys/fs/cgroup" / ("cpu" if controllers else "")
        inner = PurePosixPath("/", path)
        for folder in (inner, *inner.parents):
            limits += _limits(base / folder.relative_to("/"))
    return min(limits, default=None)


def usable() -> tuple[int, ...] | None:
    """Return the processors that this thread may run on; None where there is no affinity."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    return tuple(sorted(os.sched_getaffinity(0)))


def pin(processor: int) -> None:
    """Let the calling thread run on this processor alone. Raises OSError."""
    # 0 is the calling thread, not the process (sched_setaffinity(2)): no other is touched.
    os.sched_setaffinity(0, {processor})


def on(processor: int, call: Callable[[], T]) -> T:
    """Return what a call returns on a thread of its own, pinned to this processor."""

    def pinned() -> T:
        pin(processor)
        return call()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(pinned).result()


def affinity(text: str) -> tuple[int, ...]:
    """Read the processors to pin to. Raises PlanError for a list that is none or not usable."""
    wanted, here = parse(text), usable()
    if here is None:
        raise PlanError("this system does not pin threads to processors")
    for number in wanted:
        if number not in here:
            raise PlanError(f"processor {number} is not usable here; usable: {cpulist(here)}")
    return wanted


def parse(text: str) -> tuple[int, ...]:
    """Read a list of processors as Linux writes it, '0,2-5', in its order. Raises PlanError."""
    found: dict[int, None] = {}
    for part in text.split(","):
        match = re.fullmatch(r"([0-9]{1,4})(?:-([0-9]{1,4}))?", part.strip())
        some = range(int(match[1]), int(match[2] or match[1]) + 1) if match else range(0)
        if not some or some.stop > MOST:
            raise PlanError(f"{part!r:.40} is no processor: write 0,2-5, up to {MOST - 1}")
        for number in some:
            if number in found:
                raise PlanError(f"processor {number} is named twice")
            found[number] = None
    return tuple(found)


def cpulist(numbers: Iterable[int]) -> str:
    """Write a list of processors as Linux does: '0,2-5'."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


def _types(root: Path, online: tuple[int, ...]) -> dict[int, str]:
    """Return the types of the processors' cores, fastest first; empty where nothing tells them."""
    told = {
        number: kind
        for monitor, kind in MONITORS.items()
        for number in _list(root / "sys/devices" / monitor / "cpus") or ()
    }
    if told:
        return told
    for name, words in FIGURES.items():
        base = root / "sys/devices/system/cpu"
        figures = {number: _number(base / f"cpu{number}" / name) for number in online}
        kinds = _apart({number: figure for number, figure in figures.items() if figure}, words)
        if len(kinds) == len(online):
            return kinds
    return {}


def _apart(figures: dict[int, int], words: str) -> dict[int, str]:
    """Sort processors into types by a figure, fastest first; empty where all are of one."""
    fastest_first = sorted(figures.items(), key=lambda pair: -pair[1])
    steps: list[list[int]] = [[]]
    for (_, above), (number, figure) in pairwise([(0, 0), *fastest_first]):
        if figure < APART * above:
            steps.append([])
        steps[-1].append(number)
    names = [words.format(figures[step[0]]) for step in steps if step]
    if len(steps) < 2:
        return {}
    if len(steps) == 2:
        names = ["performance", "efficiency"]
    return {number: name for name, step in zip(names, steps, strict=True) for number in step}


def _limits(folder: Path) -> Iterator[float]:
    """Yield the limits that a cgroup sets: quota over period, both in µs."""
    old = [_text(folder / f"cpu.cfs_{what}_us") or "" for what in ("quota", "period")]
    for text in (_text(folder / "cpu.max") or "", " ".join(old)):
        match = re.fullmatch(r"([0-9]{1,18}) ([0-9]{1,18})", text)
        if match and int(match[1]) and int(match[2]):
            yield int(match[1]) / int(match[2])


def _list(path: Path) -> tuple[int, ...] | None:
    try:
        return parse(_text(path) or "")
    except PlanError:
        return None


def _number(path: Path) -> int | None:
    text = _text(path) or ""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


def _text(path: Path) -> str | None:
    try:
        with path.open(encoding="ascii") as file:
            return file.read(LONGEST).strip()
    except (OSError, ValueError):  # ValueError: not ASCII, or a name with a zero byte
        return None
