"""Caveats: what a reader must know beside a figure, as values with numbers and advice."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from hwkit.units import show


@dataclass(frozen=True, slots=True)
class Caveat:
    """One thing to know: what was found, in numbers, and what to do about it."""

    advice: ClassVar[str]

    @property
    def finding(self) -> str:
        """What was found, in a few words with its numbers."""
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        """Return name, numbers, finding and advice."""
        return {
            "caveat": type(self).__name__,
            **asdict(self),
            "finding": self.finding,
            "advice": self.advice,
        }


@dataclass(frozen=True, slots=True)
class FewWindows(Caveat):
    """Too few windows for a 95 % interval."""

    windows: int
    confidence: float
    advice = "the interval is narrower than it should be: run longer (--time)"

    @property
    def finding(self) -> str:
        """How many, and what confidence they bear."""
        return f"{self.windows} windows bear {100 * self.confidence:.0f} %, not 95 %"


@dataclass(frozen=True, slots=True)
class Imprecise(Caveat):
    """The time was up before the precision asked for was reached."""

    wanted: float
    reached: float
    advice = "run longer (--time), or quieten the machine"

    @property
    def finding(self) -> str:
        """What was reached, and what was wanted."""
        return f"±{100 * self.reached:.1f} % instead of ±{100 * self.wanted:.2g} %"


@dataclass(frozen=True, slots=True)
class NotSteady(Caveat):
    """The rate drifted over the run by more than chance."""

    drift: float
    advice = "the rate had not settled: warm up longer (--warmup)"

    @property
    def finding(self) -> str:
        """By how much."""
        return f"{100 * self.drift:+.1f} % over the run"


@dataclass(frozen=True, slots=True)
class Throttled(Caveat):
    """The clock fell during the run."""

    from_hz: float
    to_hz: float
    advice = "the clock fell: look at cooling and power limits"

    @property
    def finding(self) -> str:
        """From where to where."""
        return f"{self.from_hz / 1e9:.2f} to {self.to_hz / 1e9:.2f} GHz"


@dataclass(frozen=True, slots=True)
class HeldBack(Caveat):
    """The card told that power or heat held its clock down."""

    share: float  # of the looks
    reasons: str  # as NVML names them
    advice = "power or heat held the card's clock down: look at power limit and cooling"

    @property
    def finding(self) -> str:
        """How often, and why."""
        return f"{self.reasons} in {100 * self.share:.0f} % of the looks"


@dataclass(frozen=True, slots=True)
class Oversubscribed(Caveat):
    """Other work, or the hypervisor, took processor time from the measurement."""

    share: float
    advice = (
        "something else took processor time, or threads outnumber processors: read the rate per "
        "CPU second"
    )

    @property
    def finding(self) -> str:
        """How much of the processor time was left."""
        return f"got {100 * self.share:.0f} %"


@dataclass(frozen=True, slots=True)
class SharedCores(Caveat):
    """Threads ran beside their SMT siblings: what one does costs the other."""

    threads: int
    cores: int
    advice = (
        "threads share cores (SMT): for a core's own rate, --affinity with one processor a core"
    )

    @property
    def finding(self) -> str:
        """How many on how many."""
        return f"{self.threads} threads on {self.cores} cores"


@dataclass(frozen=True, slots=True)
class MixedCores(Caveat):
    """One figure was measured of cores that are unlike."""

    types: str
    advice = "one figure of unlike cores: for that of one type, --affinity (hwkit devices)"

    @property
    def finding(self) -> str:
        """Of which types."""
        return self.types


@dataclass(frozen=True, slots=True)
class Quota(Caveat):
    """The system gives the process less processor time than its threads would use."""

    processors: float
    threads: int
    advice = (
        "a quota (cgroup) holds the threads back: fewer --threads, or read the rate per CPU second"
    )

    @property
    def finding(self) -> str:
        """How much for how many."""
        return f"the time of {self.processors:.3g} processors for {self.threads} threads"


@dataclass(frozen=True, slots=True)
class ThinAudit(Caveat):
    """Audits scanned too little again to say much of completeness."""

    hits: int
    advice = "audits saw too few hits to watch completeness: run longer (--time)"

    @property
    def finding(self) -> str:
        """How many they saw."""
        return f"{self.hits} hits audited"


@dataclass(frozen=True, slots=True)
class NotAudited(Caveat):
    """No second proven kernel was there to scan again."""

    advice = "completeness was not watched while measuring"

    @property
    def finding(self) -> str:
        """Why."""
        return "no second proven kernel is here"


@dataclass(frozen=True, slots=True)
class MeterGap(Caveat):
    """The meter did not see all of the window, or not well: joules are bounded there."""

    meter: str
    coverage: float
    largest_s: float | None
    advice = "joules that nobody saw are bounded, not measured: look at the meter (hwkit meter)"

    @property
    def finding(self) -> str:
        """How much was seen."""
        gap = "" if self.largest_s is None else f", {self.largest_s:.3g} s between two readings"
        return f"{self.meter} saw {100 * self.coverage:.3g} %{gap}"


@dataclass(frozen=True, slots=True)
class UncheckedMeter(Caveat):
    """Nobody vouches for the meter's accuracy: U leaves it out."""

    meter: str
    advice = "U leaves the meter's own error out: hold it against another (hwkit meter compare)"

    @property
    def finding(self) -> str:
        """Which meter."""
        return f"{self.meter}: accuracy unchecked"


@dataclass(frozen=True, slots=True)
class ClaimedEnergy(Caveat):
    """The joules are the device's own word, or its maker's."""

    meter: str
    provenance: str
    advice = "no instrument saw these joules: for a purchase, measure at the wall"

    @property
    def finding(self) -> str:
        """Whose word."""
        return f"{self.meter}: {self.provenance}"


@dataclass(frozen=True, slots=True)
class MeterFault(Caveat):
    """The meter's readings were not plain measuring."""

    meter: str
    kinds: str
    advice = "what happened and when stands in the record (metered)"

    @property
    def finding(self) -> str:
        """What was found."""
        return f"{self.meter}: {self.kinds}"


@dataclass(frozen=True, slots=True)
class SharedMeter(Caveat):
    """Several devices were on the meter: it says nothing of any one of them."""

    devices: str
    advice = "one meter saw them all: the J/TH is that of the group"

    @property
    def finding(self) -> str:
        """Whose it is."""
        return self.devices


@dataclass(frozen=True, slots=True)
class Implausible(Caveat):
    """Readings that cannot be, or are unusual."""

    what: str
    advice = "check the meter's wiring, scale and profile"

    @property
    def finding(self) -> str:
        """What it is."""
        return self.what


@dataclass(frozen=True, slots=True)
class OldCorrection(Caveat):
    """The meter was held against another one long ago."""

    meter: str
    on: str
    days: int
    advice = "meters drift: hold it against the other again (hwkit meter compare)"

    @property
    def finding(self) -> str:
        """When it was found."""
        return f"the correction of {self.meter} is of {self.on}, {self.days} days before"


@dataclass(frozen=True, slots=True)
class DistantCorrection(Caveat):
    """The meter was held against another one at a load unlike this one."""

    meter: str
    power_w: float
    at_w: float
    advice = "a meter errs differently at other loads: compare it at this one (hwkit meter compare)"

    @property
    def finding(self) -> str:
        """At which load it was found, and used."""
        loads = f"{self.power_w:.4g} W, not {self.at_w:.4g} W"
        return f"the correction of {self.meter} was found at {loads}"


@dataclass(frozen=True, slots=True)
class NotSettled(Caveat):
    """The warm-up ran out before power and temperature had settled."""

    why: str
    advice = "power or temperature still moved: warm up longer (--warmup)"

    @property
    def finding(self) -> str:
        """What had not."""
        return self.why


@dataclass(frozen=True, slots=True)
class ClaimedHashes(Caveat):
    """The hashes are the device's own word: none was seen."""

    advice = "nobody saw these hashes: for a purchase, feed it (asic:HOST)"

    @property
    def finding(self) -> str:
        """Whose word."""
        return "hashes as it counts them itself, without an interval"


@dataclass(frozen=True, slots=True)
class ClaimGap(Caveat):
    """The device claims another rate than its shares prove."""

    gap: float  # claimed over delivered - 1
    lo: float
    hi: float
    advice = "what it delivers is what a pool pays: believe the shares"

    @property
    def finding(self) -> str:
        """By how much."""
        between = f"{100 * self.lo:+.1f} to {100 * self.hi:+.1f} %"
        return f"claims {100 * self.gap:+.1f} % ({between}) of what it delivers"


@dataclass(frozen=True, slots=True)
class NothingDelivered(Caveat):
    """It claims a rate and no share came: a failure, not a small number."""

    claimed_h_s: float
    at_most_h_s: float
    time_s: float
    advice = "FAIL: it claims a rate and delivers nothing"

    @property
    def finding(self) -> str:
        """What it claims, and what it may do at most."""
        most = f"at most {show(self.at_most_h_s, 'H/s')} (95 %)"
        return f"claims {show(self.claimed_h_s, 'H/s')}, no share in {self.time_s:.3g} s: {most}"


@dataclass(frozen=True, slots=True)
class NoShares(Caveat):
    """No share came: only an upper bound of the rate is known."""

    at_most_h_s: float
    time_s: float
    advice = "run longer (--time), or assign a lower difficulty"

    @property
    def finding(self) -> str:
        """What it may do at most."""
        return f"no share in {self.time_s:.3g} s: at most {show(self.at_most_h_s, 'H/s')} (95 %)"


@dataclass(frozen=True, slots=True)
class DevFee(Caveat):
    """The firmware works for somebody else part of the time."""

    fraction: float
    advice = "it hashes for its firmware's maker, too: gap_without_devfee leaves that out"

    @property
    def finding(self) -> str:
        """How much."""
        return f"{100 * self.fraction:.3g} % diverted, by its own word"


@dataclass(frozen=True, slots=True)
class _Refused(Caveat):
    """Shares that were not credited."""

    count: int
    of: int  # that came in

    @property
    def finding(self) -> str:
        """How many."""
        return f"{self.count} of {self.of} ({100 * self.count / self.of:.2g} %)"


@dataclass(frozen=True, slots=True)
class Duplicates(_Refused):
    """The same share came again."""

    advice = "it, or a proxy, sends shares twice: nobody pays for the second"


@dataclass(frozen=True, slots=True)
class WrongShares(_Refused):
    """What came in was no share of any job it was sent."""

    advice = "it answers wrongly: look at hardware errors, firmware and the raw rows (submissions)"


@dataclass(frozen=True, slots=True)
class StaleShares(_Refused):
    """Shares came after their job was called off."""

    advice = "work for nothing: look at the network, proxies and how fast it changes jobs"


@dataclass(frozen=True, slots=True)
class LowShares(_Refused):
    """Shares came that do not meet the difficulty of their job."""

    advice = "it does not keep to the difficulty of its job, or its hashes are wrong"


@dataclass(frozen=True, slots=True)
class DeviceFloor(Caveat):
    """The device, or a proxy, sends only shares of a higher difficulty than was assigned."""

    assigned: float
    effective: float
    shares: int
    advice = "its rate is undercounted, and its claim gap overstated: assign no less than its floor"

    @property
    def finding(self) -> str:
        """What was assigned, and what came."""
        times = self.effective / self.assigned
        seen = f"none of {self.shares} shares below difficulty {self.effective:.4g}"
        return (
            f"{seen}, {self.assigned:.4g} was assigned: the rate may be {times:.3g} times as much"
        )


@dataclass(frozen=True, slots=True)
class UnlikelyShares(Caveat):
    """The shares' hashes are not spread below their targets as chance spreads them."""

    ks: float
    p: float
    shares: int
    advice = "somebody chose among them: a proxy, a filter or made-up difficulties"

    @property
    def finding(self) -> str:
        """How far from even."""
        return f"KS {self.ks:.3g} of {self.shares} shares, {_chance(self.p)}"


@dataclass(frozen=True, slots=True)
class Dispersed(Caveat):
    """The shares of equal stretches vary by more, or less, than chance makes them."""

    index: float
    p: float
    slice_s: float
    advice = "above 1 it throttles, stalls or restarts; below 1 something paces its shares"

    @property
    def finding(self) -> str:
        """The index, which is 1 by chance."""
        return f"index {self.index:.3g} in slices of {self.slice_s:.3g} s, {_chance(self.p)}"


@dataclass(frozen=True, slots=True)
class Flatline(Caveat):
    """For a while no share came, and many were due."""

    longest_s: float
    due: float
    silent_s: float  # in all
    advice = "it stalled, rebooted or was cut off: see the events of the record"

    @property
    def finding(self) -> str:
        """How long."""
        longest = f"none for {self.longest_s:.3g} s, where {self.due:.3g} were due"
        return f"{longest}; silent for {self.silent_s:.3g} s in all"


@dataclass(frozen=True, slots=True)
class Batched(Caveat):
    """Shares come many at once."""

    share: float  # that come right after another one
    by_chance: float
    advice = "a proxy or its network holds them back: the rate stands, more of them get stale"

    @property
    def finding(self) -> str:
        """How many, and how many by chance."""
        return f"{100 * self.share:.0f} % come at once, {100 * self.by_chance:.0f} % by chance"


def _chance(p: float) -> str:
    return f"p {p:.1g}" if p else "p below 1e-6"
