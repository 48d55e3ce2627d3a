"""Caveats: what a reader must know beside a figure, as values with numbers and advice."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Caveat:
    """One thing to know. Subclasses name it and carry its numbers."""

    @property
    def advice(self) -> str:
        """What it means and what to do, in one sentence."""
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        """Return name, numbers and advice."""
        return {"caveat": type(self).__name__, **asdict(self), "advice": self.advice}


@dataclass(frozen=True, slots=True)
class FewWindows(Caveat):
    """Too few windows for a 95 % interval."""

    windows: int
    confidence: float

    @property
    def advice(self) -> str:
        """What it means and what to do."""
        return (
            f"{self.windows} windows bear a {self.confidence:.0%} interval, not 95 %: "
            "run longer (--time)"
        )


@dataclass(frozen=True, slots=True)
class Imprecise(Caveat):
    """The time was up before the precision asked for was reached."""

    wanted: float
    reached: float

    @property
    def advice(self) -> str:
        """What it means and what to do."""
        return (
            f"±{self.reached:.1%} instead of ±{self.wanted:.1%} when the time was up: "
            "run longer (--time) or quieten the machine"
        )


@dataclass(frozen=True, slots=True)
class NotSteady(Caveat):
    """The rate drifted over the run by more than chance."""

    drift: float

    @property
    def advice(self) -> str:
        """What it means and what to do."""
        return f"the rate drifted {self.drift:+.1%} over the run: warm up longer, then run again"


@dataclass(frozen=True, slots=True)
class Throttled(Caveat):
    """The clock fell during the run."""

    from_hz: float
    to_hz: float

    @property
    def advice(self) -> str:
        """What it means and what to do."""
        return (
            f"the clock fell from {self.from_hz / 1e9:.2f} to {self.to_hz / 1e9:.2f} GHz: "
            "look at cooling and power limits"
        )


@dataclass(frozen=True, slots=True)
class Oversubscribed(Caveat):
    """Other work, or the hypervisor, took processor time from the measurement."""

    share: float

    @property
    def advice(self) -> str:
        """What it means and what to do."""
        return (
            f"the threads got {self.share:.0%} of the processor time they asked for: read the "
            "rate per CPU second, or close what else runs"
        )


@dataclass(frozen=True, slots=True)
class NotAudited(Caveat):
    """No second proven kernel was there to scan again."""

    why: str

    @property
    def advice(self) -> str:
        """What it means and what to do."""
        return f"completeness was not watched while measuring: {self.why}"
