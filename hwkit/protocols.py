"""The seams: what a kernel, a hasher, a meter and a sink are, and what passes between them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from hwkit.work import VERSION_GROUP

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from threading import Event

    from hwkit.work import Job, Share, Target


class Basis(StrEnum):
    """What a hash count stands on; printed beside every number."""

    COUNTED = "counted"  # we asked about every nonce and got an answer for each: exact
    SHARES = "shares"  # inferred from shares we verified ourselves: +- 1/sqrt(n)
    CLAIMED = "claimed"  # the device says so


@dataclass(frozen=True, slots=True, order=True)
class Hit:
    """A nonce, and the header version it goes with, whose hash meets the target."""

    nonce: int
    version: int


class Kernel(Protocol):
    """A closed question: which of these nonces (and rolled versions) meet the target?"""

    @property
    def name(self) -> str:
        """Its address: 'cpu:avx2'."""
        ...

    @property
    def lanes(self) -> int:
        """Nonces answered in one step: the prover takes its edges from it."""
        ...

    @property
    def capacity(self) -> int:
        """Hits that one call into the device can return before it is called again."""
        ...

    def scan(
        self, header: bytes, target: Target, nonces: range, versions: Sequence[int] = ()
    ) -> Sequence[Hit]:
        """Return all hits, by nonce and then in the order of `versions`.

        `header` is 80 bytes, its nonce ignored. Without `versions` the header's own is used. Raises
        PlanError for any other length, for a range that leaves the 32-bit nonce space or does not
        step by 1, and for a version that is not a 32-bit number.
        """
        ...


@dataclass(frozen=True, slots=True)
class HasherSpec:
    """What a hasher is. It costs no I/O and never changes."""

    name: str  # its address: "cpu:avx2"
    basis: Basis
    resource: str  # hashers that share one take turns
    details: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Span:
    """Nonces of one header, or of a group of them, that were asked about, all of them."""

    serial: int
    extranonce2: bytes
    first: int
    count: int
    group: int | None = None  # each with Job.versions(group): None is the job's own

    @property
    def hashes(self) -> int:
        """How many hashes that was: one for each nonce and version."""
        return self.count * (1 if self.group is None else VERSION_GROUP)


@dataclass(frozen=True, slots=True)
class Progress:
    """One report at one moment; an empty one still says: alive."""

    at: int  # monotonic ns
    shares: tuple[Share, ...] = ()
    hashes: int | None = None  # None: credit me only for shares you have verified
    busy_ns: int | None = None  # thread CPU time or device time behind these hashes
    scanned: tuple[Span, ...] = ()  # which nonces the hashes were: what an audit scans again
    # Of a miner that is fed or watched, in order: what it was sent, what it sent in, what it told.
    # Good submissions are credited where `shares` has them, too, each at its arrival. Such reports
    # come by the clock, never because a share came: a window that ends with one counts too much.
    events: tuple[MinerEvent, ...] = ()


@runtime_checkable
class Hasher(Protocol):
    """Works on a job and tells how it goes, until told to stop."""

    @property
    def spec(self) -> HasherSpec:
        """What it is; the same at every call."""
        ...

    def run(self, job: Job, stop: Event) -> Iterator[Progress]:
        """Report at least 4 times a second; end within 0.5 s of `stop`.

        A job with version_rolling wants each nonce asked about with whole groups of versions; what
        is counted is then reported as a span for each. Raises DeviceFault when the device fails.
        """
        ...


@runtime_checkable
class Restorable(Protocol):
    """A hasher that changes what a device works for; who runs it gives the device back."""

    def look(self) -> Sequence[str]:
        """Look at the device and change nothing; return what its user is to know, a line each.

        Raises Unavailable where there is nothing to run, DeviceFault.
        """
        ...

    @property
    def changed(self) -> bool:
        """Is there something to give back?"""
        ...

    def restore(self) -> None:
        """Give the device back as it was; to be called whatever has happened, once no run is left.

        It may take minutes, and nothing is done where nothing was changed. Raises DeviceFault or
        Unavailable: then it waits on disk for `hwkit asic restore`.
        """
        ...


@runtime_checkable
class Renewable(Protocol):
    """A hasher whose device may hold back what it has found: it can be told to begin anew."""

    def renew(self) -> None:
        """Give it new work, and credit no share of what it was given before."""
        ...


class Scope(StrEnum):
    """What a meter sees: never compared across, never mixed in one J/TH."""

    CHIP = "chip"
    BOARD = "board"  # of a GPU, or the hash boards of a miner: DC
    DEVICE = "device"  # all of it behind its power supply: DC
    WALL = "wall"  # AC in: supplies, fans and controller with it


class Provenance(StrEnum):
    """Who says so."""

    METER = "meter"  # an instrument of its own
    PSU = "psu"  # the device's power supply
    BOARD = "board"  # sensors on the device
    ESTIMATED = "estimated"  # a model of the device's, no sensor
    NAMEPLATE = "nameplate"
    MANUAL = "manual"  # read and typed by a person


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Limits within which a reading's error lies, as a datasheet states them (rectangular)."""

    of_reading: float  # a fraction: 0.01 is 1 %
    of_range: float = 0.0  # a fraction of range_w
    range_w: float | None = None
    source: str = ""  # "IEC 62053-21 class 1", "datasheet"


@dataclass(frozen=True, slots=True)
class MeterSpec:
    """What a meter sees and how well. It costs no I/O and never changes."""

    name: str  # its address
    scope: Scope
    provenance: Provenance
    accuracy: Accuracy | None = None  # None: unchecked, nobody vouches for it
    interval_s: float | None = 1.0  # between readings; None: read at a run's two ends only
    averaging_s: float = 0.0  # a power reading is the mean of so long before it
    quantum_w: float | None = None  # the step of its power readings
    quantum_j: float | None = None  # the step of its energy counter
    modulus_j: float | None = None  # where the counter wraps; None: unknown, a fall is a reset
    model: str | None = None
    serial: str | None = None
    calibrated: str | None = None  # the date (ISO 8601); None: uncalibrated
    details: Mapping[str, Any] = field(default_factory=dict, hash=False)
    unasked: bool = False  # readings come by themselves, each up to an interval old


@dataclass(frozen=True, slots=True)
class Reading:
    """What a meter said at one moment: the midpoint of the request, in monotonic ns."""

    at: int
    joules: float | None = None  # of a counter: since whenever
    watts: float | None = None  # active power
    flags: tuple[str, ...] = ()
    took_ns: int | None = None  # from request to answer; None: it was sent unasked
    volts: float | None = None  # RMS, or DC
    amperes: float | None = None
    power_factor: float | None = None
    hertz: float | None = None


@runtime_checkable
class Meter(Protocol):
    """Sees energy or power; sampled on a thread of its own."""

    @property
    def spec(self) -> MeterSpec:
        """What it is; from open() on with what the instrument told of it, as its range."""
        ...

    def open(self) -> Mapping[str, str]:
        """Connect, and return what the instrument says of itself: model, serial, firmware.

        Raises Unavailable, and DeviceFault for an instrument that answers nonsense.
        """
        ...

    def read(self) -> Reading:
        """Return one reading, within 5 s; one that comes unasked, within two intervals.

        Raises DeviceFault; the next call connects again.
        """
        ...

    def close(self) -> None:
        """Let go; may be called twice, and while another thread reads."""


@dataclass(frozen=True, slots=True)
class Window:
    """Work between two instants of one monotonic clock, both in ns."""

    round: int  # windows of one round were measured next to each other
    opened: int
    closed: int
    hashes: int
    busy_ns: int | None
    shares: int
    clock_hz: float | None  # the core's clock, measured beside the window


@dataclass(frozen=True, slots=True)
class CreditedShare:
    """A share that the harness has re-hashed, and the window it counts in."""

    window: int
    at: int  # monotonic ns
    share: Share


@dataclass(frozen=True, slots=True)
class Audit:
    """A stretch of a window, drawn after the fact and scanned again by another kernel."""

    window: int
    serial: int
    extranonce2: bytes
    first: int
    count: int
    hits: int
    group: int | None = None  # as in a Span

    @property
    def hashes(self) -> int:
        """How many hashes that was."""
        return self.count * (1 if self.group is None else VERSION_GROUP)


@dataclass(frozen=True, slots=True)
class Probe:
    """Something seen beside a measurement: recorded, and never part of the result."""

    at: int  # monotonic ns
    name: str  # what, with its unit: temperature_c
    value: float | None = None
    words: tuple[str, ...] = ()


class Verdict(StrEnum):
    """What became of a share that a miner sent in; only a good one is credited."""

    GOOD = "good"
    LOW = "low"  # its hash does not meet the target that its job was sent with
    STALE = "stale"  # meets it, and came after the job was called off
    DUPLICATE = "duplicate"
    WRONG = "wrong"  # cannot be read, is of no job of ours, or rolls what may not be rolled


@dataclass(frozen=True, slots=True)
class Assigned:
    """A job was sent: shares of this serial count at this target."""

    serial: int
    target: Target
    at: int  # monotonic ns
    clean: bool  # all jobs before it are called off
    connection: int


@dataclass(frozen=True, slots=True)
class Submission:
    """A share came in, was hashed again and answered."""

    at: int  # monotonic ns
    connection: int
    share: Share | None  # None: there is none in what came, or it names no job that we know
    verdict: Verdict
    took_ns: int | None = None  # from the arrival of its bytes to the verdict
    digest: bytes | None = None  # SHA256d of its header, which the verdict stands on
    raw: bytes | None = None  # the line as it came, where the verdict is WRONG


@dataclass(frozen=True, slots=True)
class Link:
    """Something happened to a miner's connection."""

    at: int  # monotonic ns
    connection: int | None  # None: it never became one
    what: str  # connected, agent, authorized, answered, closed, refused
    words: str = ""  # the agent's or user's name, the peer's address, the reason
    took_ns: int | None = None  # of an answer to our question: from asking to its arrival


MinerEvent = Assigned | Submission | Link | Probe  # what a report tells beside its work


class RunSink(Protocol):
    """Takes the rows of one run as they come."""

    @property
    def id(self) -> str:
        """The record that they are of."""
        ...

    def window(self, window: Window) -> None:
        """Add a window; its number is how many came before."""

    def share(self, share: CreditedShare) -> None:
        """Add a credited share."""

    def audit(self, audit: Audit) -> None:
        """Add an audit that agreed."""

    def assigned(self, assigned: Assigned) -> None:
        """Add a job that was sent, whose shares count at its target."""

    def submission(self, submission: Submission) -> None:
        """Add a share that was refused; those credited are shares."""

    def reading(self, meter: str, reading: Reading) -> None:
        """Add a meter's reading."""

    def probe(self, probe: Probe) -> None:
        """Add what was seen beside the measurement."""

    def event(self, at: int, what: str) -> None:
        """Add something that happened, at a monotonic ns."""

    def commit(self) -> None:
        """Make all rows so far safe against the death of this process."""

    def seal(self, facts: dict[str, Any]) -> None:
        """Close the run for good, with what is known only now."""


class Sink(Protocol):
    """Opens runs."""

    def open(self, facts: dict[str, Any], identity: dict[str, str]) -> RunSink:
        """Begin a run. `identity` is what could name a person: kept apart, not exported."""
        ...
