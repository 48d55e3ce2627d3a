"""What plots show: a record's rows, binned. Whatever is computed, the harness computes."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from hwkit.economics import catalogue
from hwkit.economics.machine import Machine
from hwkit.harness.metering import spec_from_json
from hwkit.harness.readings import Readings
from hwkit.harness.statistics import garwood_interval
from hwkit.protocols import Basis
from hwkit.report.sheet import model_of
from hwkit.sha256d import sha256d
from hwkit.units import Figure
from hwkit.work import Job

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hwkit.economics.catalogue import Nameplate
    from hwkit.protocols import Reading, Window
    from hwkit.records import Record

BINS = 240  # a plot is hardly wider in points
RATE_BINS = 40  # with an interval each
IN_A_BIN = 20  # shares at least: an interval of fewer says little
PEERS = 9
OCTAVES = 40
LARGEST = 1e21  # the whole network, in H/s: no number of a plot is larger


@dataclass(frozen=True, slots=True)
class Series:
    """One quantity over time, in bins: the mean, the least and the most of each."""

    name: str
    at_s: tuple[float, ...]  # since the first window opened
    mean: tuple[float, ...]
    lo: tuple[float, ...]
    hi: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Octave:
    """Shares that are 2^n to 2^(n + 1) times as difficult as their target asked."""

    power: int
    count: int
    due: float  # by chance


@dataclass(frozen=True, slots=True)
class Peer:
    """A machine's J/TH on the scale it shares with others."""

    name: str
    efficiency: Figure
    kind: str  # measured | claimed | nameplate | peer


@dataclass(frozen=True, slots=True)
class Plotted:
    """All that a report draws of one record."""

    time_s: float
    power: tuple[Series, ...]
    claimed_power: Series | None
    rate: Series | None
    rate_figure: Figure | None
    claimed_rate: Series | None
    temperatures: tuple[Series, ...]
    octaves: tuple[Octave, ...]
    peers: tuple[Peer, ...]


def plotted(record: Record, known: Sequence[Nameplate], model: str | None = None) -> Plotted:
    """Return what there is to draw; `model` is the nameplate to hold it against."""
    document = record.document
    windows: list[Window] = list(record.read("windows"))
    origin = windows[0].opened if windows else document["began_ns"]
    time_s = (windows[-1].closed - origin) / 1e9 if windows else 0.0
    probes = _probes(record, origin)
    figure = document["figures"].get("hashrate")
    counted = document["device"]["basis"] == Basis.COUNTED
    return Plotted(
        time_s,
        tuple(_power(record, document, origin)),
        binned("claimed", probes.get("claimed_power_w", [])),
        _counted(windows, origin) if counted else _inferred(record, windows, origin),
        _drawable(figure),
        binned("claimed", probes.get("claimed_hashrate_h_s", [])),
        tuple(
            series
            for name, samples in sorted(probes.items())
            if name.endswith("_c")
            if (series := binned(name.removesuffix("_c").replace("_", " "), samples))
        ),
        tuple(_octaves(record)),
        tuple(_peers(document, known, model or model_of(record))),
    )


def binned(name: str, samples: Sequence[tuple[float, float]], bins: int = BINS) -> Series | None:
    """Return samples (seconds, value) in at most so many bins of equal length; None of none."""
    if not samples:
        return None
    ordered = sorted(samples)
    first, last = ordered[0][0], ordered[-1][0]
    width = (last - first) / bins or 1.0
    some = (ordered,) if len(ordered) <= bins else ()
    parts: list[list[tuple[float, float]]] = (
        [[sample] for sample in ordered]
        if some
        else [
            list(part)
            for _, part in groupby(ordered, lambda s: min(int((s[0] - first) / width), bins - 1))
        ]
    )
    return Series(
        name,
        tuple(math.fsum(at for at, _ in part) / len(part) for part in parts),
        tuple(math.fsum(value for _, value in part) / len(part) for part in parts),
        tuple(min(value for _, value in part) for part in parts),
        tuple(max(value for _, value in part) for part in parts),
    )


def _drawable(document: dict[str, Any] | None) -> Figure | None:
    """Return a figure; None where there is none, or none that a scale can show."""
    if document is None:
        return None
    figure = Figure.from_json(document)
    return figure if -LARGEST <= figure.lo <= figure.value <= figure.hi <= LARGEST else None


def _probes(record: Record, origin: int) -> dict[str, list[tuple[float, float]]]:
    found: dict[str, list[tuple[float, float]]] = {}
    for probe in record.read("probes"):
        if probe.value is not None and abs(probe.value) <= LARGEST:
            found.setdefault(probe.name, []).append(((probe.at - origin) / 1e9, probe.value))
    return found


def _power(record: Record, document: dict[str, Any], origin: int) -> Iterable[Series]:
    """Yield power by each meter as it read, or as its counter rose."""
    readings: dict[str, list[Reading]] = {}
    for meter, reading in record.read("readings"):
        readings.setdefault(meter, []).append(reading)
    for spec in map(spec_from_json, document.get("meters", [])):
        seen = Readings(readings.get(spec.name, []), spec, origin)
        stream = seen.power if seen.power.pieces else seen.counter
        samples = [((piece.t0, piece.p0)) for piece in stream.pieces]
        samples += [(piece.t1, piece.p1) for piece in stream.pieces[-1:]]
        series = binned(spec.name, samples)
        if series is not None:
            yield series


def _counted(windows: Sequence[Window], origin: int) -> Series | None:
    """Return the rate of windows: other devices may have had their turns between them."""
    samples = [
        ((window.opened - origin) / 1e9, window.hashes * 1e9 / (window.closed - window.opened))
        for window in windows
        if window.closed > window.opened
    ]
    return binned("measured", samples)


def _inferred(record: Record, windows: Sequence[Window], origin: int) -> Series | None:
    """Return the rate that shares prove, bin by bin, each with its exact 95 % interval."""
    came = Counter(row[0] for row in record.rows("shares"))  # whatever a window says
    shares = came.total()
    bins = min(RATE_BINS, shares // IN_A_BIN)
    if bins < 2:
        return None
    parts: list[tuple[float, float, float, float]] = []
    opened, hashes, some = windows[0].opened, 0, 0
    for place, window in enumerate(windows):
        hashes, some = hashes + window.hashes, some + came[place]
        if some >= shares / bins:
            time_s = (window.closed - opened) / 1e9
            each = hashes / some
            bounds = garwood_interval(float(hashes), hashes * each, each)
            middle = ((window.closed + opened) / 2 - origin) / 1e9
            parts.append((middle, hashes / time_s, bounds.lo / time_s, bounds.hi / time_s))
            opened, hashes, some = window.closed, 0, 0
    return Series("delivered", *zip(*parts, strict=True)) if parts else None


def _octaves(record: Record) -> Iterable[Octave]:
    """Yield how difficult shares were, each hashed again, over what their target asked."""
    job = Job.from_json(record.document["job"])
    targets = {each.serial: each.target.value for each in record.read("assigned")}
    counts: Counter[int] = Counter()
    for credited in record.read("shares"):
        share = credited.share
        digest = int.from_bytes(sha256d(job.header(share)), "little")
        ratio = (targets.get(share.serial, job.target.value) + 1) // (digest + 1)
        counts[min(max(ratio.bit_length() - 1, 0), OCTAVES)] += 1
    shares = counts.total()
    for power in range(max(counts, default=-1) + 1):
        yield Octave(power, counts[power], shares / 2.0 ** (power + 1))


def _peers(
    document: dict[str, Any], known: Sequence[Nameplate], model: str | None
) -> Iterable[Peer]:
    """Yield what was measured, its own nameplates, and those whose J/TH lies nearest."""
    seen = [
        (each["meter"], figure)
        for each in document.get("metered", [])
        if (figure := _drawable(each["efficiency"])) and figure.lo > 0
    ]
    if not seen:
        return
    kind = "claimed" if document["device"]["basis"] == Basis.CLAIMED else "measured"
    for name, figure in seen:
        yield Peer(name, figure, kind)
    own = catalogue.matching(model, known) if model else []
    for plate in own[:PEERS]:
        yield Peer(plate.model, Machine.of_nameplate(plate).efficiency_j_th, "nameplate")
    value = own[0].efficiency_j_th if own else seen[0][1].value
    families = {each.family for each in own}
    others: dict[str, Nameplate] = {}
    for plate in sorted(known, key=lambda each: abs(math.log(each.efficiency_j_th / value))):
        if plate.family not in families:
            others.setdefault(plate.family, plate)
    for plate in list(others.values())[:PEERS]:
        yield Peer(plate.model, Machine.of_nameplate(plate).efficiency_j_th, "peer")
