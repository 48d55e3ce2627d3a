"""Caveats: what a reader must know beside a figure, as values with numbers and advice."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar


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
class MeterSilent(Caveat):
    """Readings that did not come, or were none."""

    meter: str
    times: int
    last: str
    advice = "each stands in the record (events): hwkit meter test looks at the meter"

    @property
    def finding(self) -> str:
        """How often, and what it was last."""
        return f"{self.meter}: {self.times} time{'s' * (self.times > 1)}, last: {self.last}"


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
