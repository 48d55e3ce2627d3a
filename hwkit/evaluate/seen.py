"""Evidence: a record, and what of it a verdict needs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from hwkit.protocols import Basis
from hwkit.units import Figure

if TYPE_CHECKING:
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

    @classmethod
    def of(cls, kind: str, record: Record) -> Seen:
        """Take from a record's rows what its document does not sum up."""
        windows = list(record.read("windows"))
        opened = windows[0].opened if windows else 0
        hottest: list[float] = []
        uptimes: list[tuple[int, float]] = []
        mode = None
        for probe in record.read("probes"):
            if probe.name == "mode":
                mode = " ".join(probe.words) or None
            if probe.value is None or probe.at < opened:
                continue
            if probe.name == "temperature_c":
                hottest.append(probe.value)
            elif probe.name == "elapsed_s":
                uptimes.append((probe.at, probe.value))
        falls = [b[1] < a[1] - READ_TWICE_S for a, b in pairwise(uptimes)]
        reboots = sum(falls) if falls else None
        return cls(kind, record.document, max(hottest, default=None), reboots, mode)

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
