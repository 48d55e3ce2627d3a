"""What a simulated miner does, and what it does wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hwkit.errors import PlanError
from hwkit.simulate.malformed import MALFORMATIONS

SETTINGS = ("mode", "frequency_mhz", "power_target_w")
RAMP_FROM = 0.5  # of the rate: where tuning begins


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How fast it hashes, and every fault it has; times are seconds since it was switched on."""

    rate_h_s: float | None = 5e6  # None: as fast as it can
    threads: int = 1
    version_rolling: bool = True  # asks the pool for it (BIP 310)
    floor: float | None = None  # difficulty below which the device reports no nonce
    lie: float = 1.0  # times what it does is what it claims
    reject: float = 0.0  # fraction of what it submits that is no share
    hardware_errors: float = 0.0  # fraction of the nonces found that are bad: counted, not sent
    stall_s: float | None = None  # from then on it claims on and delivers nothing
    throttle: tuple[float, float] | None = None  # from then on, this fraction of its rate
    sets: tuple[tuple[float, str, str], ...] = ()  # from then on this setting is so
    reboot_at_s: float | None = None
    reboot_takes_s: float = 3.0
    reboots_on_pool_change: bool = False
    user: str = "root"  # of its web page, where that asks for one
    password: str = "simulated"  # noqa: S105 - it guards nothing
    admin_password: str | None = None  # of a Whatsminer's API; None: closed to changes
    malformed: str | None = None  # which of simulate.malformed
    writable: bool = True  # its API lets pools be changed
    tuning_s: float = 0.0  # so long it tunes itself, and its rate rises
    power_w: float | None = None  # what it claims to draw; None: its dialect's
    seed: int = 0  # of what is drawn by lot

    def __post_init__(self) -> None:
        """Raise PlanError for what no miner can do."""
        self._within("rate", self.rate_h_s, 1, 1e12)
        self._within("threads", self.threads, 1, 4096)
        self._within("floor", self.floor, 2**-32, 1e9)
        self._within("lie", self.lie, 0, 1e9)
        self._within("reject", self.reject, 0, 0.99)
        self._within("hw-errors", self.hardware_errors, 0, 0.99)
        self._within("power", self.power_w, 0, 1e6)
        throttle_s, factor = self.throttle or (None, None)
        self._within("throttle", factor, 0.001, 1)
        for name, time_s in (
            ("stall", self.stall_s),
            ("throttle", throttle_s),
            ("reboot-at", self.reboot_at_s),
            ("reboot-takes", self.reboot_takes_s),
            ("tuning", self.tuning_s),
        ):
            self._within(name, time_s, 0, 30 * 86400)
        for time_s, name, value in self.sets:
            self._within("set", time_s, 0, 30 * 86400)
            if name not in SETTINGS:
                raise PlanError(f"set {name!r}: there are {', '.join(SETTINGS)}")
            if name != "mode":
                self._within(f"set {name}", _number(name, value), 1, 1e6)
        if self.malformed is not None and self.malformed not in MALFORMATIONS:
            known = ", ".join(MALFORMATIONS)
            raise PlanError(f"malformed {self.malformed!r}: there are {known}")

    def rate_at(self, time_s: float) -> float | None:
        """Return hashes a second so long after it was switched on; None: as many as it can."""
        if self.rate_h_s is None:
            return None
        return self.rate_h_s * self.factor_at(time_s)

    def factor_at(self, time_s: float) -> float:
        """Return the fraction of its rate it runs at: less while it tunes, and when throttled."""
        factor = 1.0
        if time_s < self.tuning_s:
            factor = RAMP_FROM + (1 - RAMP_FROM) * time_s / self.tuning_s
        if self.throttle is not None and time_s >= self.throttle[0]:
            factor *= self.throttle[1]
        return factor

    def settings_at(self, time_s: float) -> dict[str, str]:
        """Return what has been set otherwise by then."""
        return {name: value for at, name, value in sorted(self.sets) if time_s >= at}

    def stalled_at(self, time_s: float) -> bool:
        """Does it deliver nothing by then?"""
        return self.stall_s is not None and time_s >= self.stall_s

    def tuning_at(self, time_s: float) -> bool:
        """Is it still tuning itself?"""
        return time_s < self.tuning_s

    def _within(self, name: str, value: float | None, least: float, most: float) -> None:
        if value is not None and not (math.isfinite(value) and least <= value <= most):
            raise PlanError(f"{name} {value:g}: it lies between {least:g} and {most:g}")


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise PlanError(f"set {name} {text!r}: it is a number") from error
