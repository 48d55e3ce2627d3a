"""Evidence: a record, or the records of a soak, and what of it a verdict needs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from hwkit.evaluate.protocol import POWER_CYCLE
from hwkit.harness.efficiency import TERA
from hwkit.harness.statistics import garwood_interval
from hwkit.protocols import Basis
from hwkit.records.record import summary_of
from hwkit.units import Figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hwkit.records.record import Record

READ_TWICE_S = 5.0  # an uptime counts whole seconds, and is some time on its way


@dataclass(frozen=True, slots=True)
class Seen:
    """A record, and the step that it is of."""

    kind: str
    document: dict[str, Any]
    temperature_c: float | None = None  # the hottest
    reboots: int | None = None  # while it was measured; None: it tells no uptime
    mode: str | None = None
    step: str = "block"
    part: int | None = None  # which of the step's records; None: it has one
    firmware: str | None = None

    @classmethod
    def of(
        cls,
        kind: str,
        record: Record,
        step: str,
        part: int | None = None,
        back_ns: int | None = None,
    ) -> Seen:
        """Take from a record's rows what its document does not sum up.

        Of a miner that was back from a power cycle at `back_ns`, the later half from then on: at
        90 % of its rate it may still be tuning.
        """
        windows = list(record.read("windows"))
        opened = windows[0].opened if windows else 0
        hottest: list[float] = []
        uptimes: list[tuple[int, float]] = []
        words: dict[str, str] = {}
        for probe in record.read("probes"):
            if probe.words and probe.value is None:
                words[probe.name] = " ".join(probe.words)
            if probe.value is None or probe.at < opened:
                continue
            if probe.name == "temperature_c":
                hottest.append(probe.value)
            elif probe.name == "elapsed_s":
                uptimes.append((probe.at, probe.value))
        falls = [b[1] < a[1] - READ_TWICE_S for a, b in pairwise(uptimes)]
        reboots = sum(falls) if falls else None
        document = record.document
        if kind == POWER_CYCLE and back_ns is None:
            document |= {"figures": {}}
        elif back_ns is not None:
            since = (back_ns + windows[-1].closed) // 2
            document |= summary_of(document, record.chunks, since).to_json()
        hottest_c = max(hottest, default=None)
        mode, firmware = words.get("mode"), words.get("firmware")
        return cls(kind, document, hottest_c, reboots, mode, step, part, firmware)

    @property
    def where(self) -> str:
        """What a line calls it."""
        return self.step if self.part is None else f"{self.step} {self.part}"

    @property
    def time_s(self) -> float:
        """How long it was measured."""
        return float(self.document["counts"]["wall_ns"]) / 1e9

    @property
    def told(self) -> dict[str, Any]:
        """What a miner has shown and told."""
        return dict(self.document.get("delivered") or {})

    @property
    def basis(self) -> Basis:
        """What its hashes stand on."""
        return Basis(self.document["device"]["basis"])

    def figure(self, name: str) -> Figure | None:
        """Return one of its figures."""
        found = self.document["figures"].get(name)
        return found and Figure.from_json(found)


def together(parts: Sequence[Seen]) -> Seen:
    """Return several records as one, as of a soak that was measured in parts."""
    if len(parts) == 1:
        return replace(parts[0], part=None)
    figures = {name: _mean(parts, name) for name in ("hashrate", "power")}
    if all("work" in each.told for each in parts):
        figures["hashrate"] = _of_shares(parts)
    rate, power = figures["hashrate"], figures["power"]
    if rate and power and rate.value and power.value:
        figures["efficiency"] = _ratio(power, rate)
    wall_ns = sum(each.document["counts"]["wall_ns"] for each in parts)
    document = parts[0].document | {
        "figures": {name: figure.to_json() for name, figure in figures.items() if figure},
        "counts": {"wall_ns": wall_ns},
        "caveats": [caveat for each in parts for caveat in each.document["caveats"]],
        "metered": [{}] if power else [],
    }
    return replace(parts[0], document=document, part=None)


def _of_shares(parts: Sequence[Seen]) -> Figure | None:
    """Return the rate that the shares of all parts prove, as inferred.hashrate does of one."""
    works = [each.told["work"] for each in parts]
    largest = max(each["largest"] for each in works)
    time_s = sum(each.time_s for each in parts)
    if not largest:
        return None
    work, squares = (math.fsum(each[name] for each in works) for name in ("hashes", "squares"))
    found = garwood_interval(work, squares, largest)
    return Figure(work / time_s, found.lo / time_s, found.hi / time_s, "H/s")


def _mean(parts: Sequence[Seen], name: str) -> Figure | None:
    """Return a figure's mean in time, as if its errors were one: a meter's are."""
    figures = [figure for each in parts if (figure := each.figure(name))]
    if len(figures) < len(parts):
        return None
    time_s = sum(each.time_s for each in parts)
    value, lo, hi = (
        math.fsum(getattr(f, end) * part.time_s for f, part in zip(figures, parts, strict=True))
        / time_s
        for end in ("value", "lo", "hi")
    )
    return Figure(value, lo, hi, figures[0].unit)


def _ratio(power: Figure, rate: Figure) -> Figure:
    """Return J/TH: what is uncertain of power and of rate is independent."""
    below = math.hypot(math.log(power.value / power.lo), math.log(rate.hi / rate.value))
    above = math.hypot(math.log(power.hi / power.value), math.log(rate.value / rate.lo))
    value = power.value * TERA / rate.value
    return Figure(value, value * math.exp(-below), value * math.exp(above), "J/TH")
