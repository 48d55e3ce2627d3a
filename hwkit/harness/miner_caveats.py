"""Caveats of miners that are fed or watched: what they claim, refuse to do, or do oddly."""

from __future__ import annotations

from dataclasses import dataclass

from hwkit.harness.caveats import Caveat
from hwkit.units import show

STALL_S = 2.0  # what a busy host or a network delays is late by less


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
    by: str = ""  # where it claims that
    advice = "what it delivers is what a pool pays: believe the shares"

    @property
    def finding(self) -> str:
        """By how much."""
        between = f"{100 * self.lo:+.1f} to {100 * self.hi:+.1f} %"
        where = f", by {self.by}" if self.by else ""
        return f"claims {100 * self.gap:+.1f} % ({between}) of what it delivers{where}"


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
    advice = "nobody pays for these"

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
class HardwareErrors(Caveat):
    """By its own count many of the nonces that its chips find are bad."""

    share: float
    lo: float
    hi: float
    advice = "above 2 % (0.6 to 1.6 % are usual): too fast, too hot or too low a voltage"

    @property
    def finding(self) -> str:
        """How many."""
        between = f"{100 * self.lo:.2g} to {100 * self.hi:.2g} %"
        return f"{100 * self.share:.2g} % ({between}) of the nonces it found are bad"


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

    @property
    def advice(self) -> str:  # type: ignore[override]
        """What it may be: what is over in a second was no restart."""
        if self.longest_s < STALL_S:
            return "held back by it, the network or a busy host, or it paused: run longer"
        return "it stalled, rebooted or was cut off: see the events of the record"

    @property
    def finding(self) -> str:
        """How long."""
        longest = f"none for {self.longest_s:.3g} s, where {self.due:.3g} were due"
        in_all = f"; silent for {self.silent_s:.3g} s in all"
        return longest + (in_all if self.silent_s > self.longest_s else "")


@dataclass(frozen=True, slots=True)
class Batched(Caveat):
    """Shares come many at once."""

    share: float  # that come right after another one
    by_chance: float
    advice = "held back by it, by a proxy, the network or a busy host: the rate stands"

    @property
    def finding(self) -> str:
        """How many, and how many by chance."""
        return f"{100 * self.share:.0f} % come at once, {100 * self.by_chance:.0f} % by chance"


@dataclass(frozen=True, slots=True)
class SettingsChanged(Caveat):
    """The miner was set otherwise while it was measured."""

    names: str
    advice = "the run's figures are of unlike settings together: read those by setting"

    @property
    def finding(self) -> str:
        """What changed."""
        return self.names


def _chance(p: float) -> str:
    return f"p {p:.1g}" if p else "p below 1e-6"
