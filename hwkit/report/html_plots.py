"""What a record's rows look like: power, rate, temperatures, difficulties, J/TH beside others'."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hwkit.report.html_canvas import COLOURS, FAINT, Canvas, Plot
from hwkit.units import plain, prefixed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from hwkit.report.html_series import Plotted, Series

FAR = 20.0  # times another: side by side only on a logarithmic scale


def of_record(seen: Plotted) -> list[Plot]:
    """Return the plots that a record has the rows for."""
    drawn = [_octaves(seen), _peers(seen)]
    return [*over_time(seen), *(plot for plot in drawn if plot is not None)]


def over_time(seen: Plotted) -> list[Plot]:
    """Return those of them that have a clock."""
    drawn = [_power(seen), _rate(seen), _temperatures(seen)]
    return [plot for plot in drawn if plot is not None]


def _power(seen: Plotted) -> Plot | None:
    if not seen.power and seen.claimed_power is None:
        return None
    legend = []
    unit, clock_s = _clock(seen.time_s)
    with Canvas() as canvas:
        canvas.axes.set_xlabel(unit)
        scale = _scaled(canvas.axes, "W", [*seen.power, seen.claimed_power])
        for number, series in enumerate(seen.power[:4], 1):
            _line(canvas.axes, series, number, scale, clock_s=clock_s)
            legend.append((number, series.name))
        if seen.claimed_power is not None:
            _line(canvas.axes, seen.claimed_power, 5, scale, clock_s=clock_s, dashes="--")
            legend.append((5, "by its own word"))
        _uncounted(canvas.axes, seen.time_s / clock_s)
        _room(canvas.axes)
    return Plot("Power", canvas.svg, tuple(legend), "As each meter read. Grey: not counted.")


def _rate(seen: Plotted) -> Plot | None:
    if seen.rate is None and seen.claimed_rate is None:
        return None
    legend = []
    note = ""
    unit, clock_s = _clock(seen.time_s)
    with Canvas() as canvas:
        axes = canvas.axes
        axes.set_xlabel(unit)
        scale = _scaled(axes, "H/s", [seen.rate, seen.claimed_rate])
        if seen.rate is not None:
            _line(axes, seen.rate, 1, scale, clock_s=clock_s)
            legend.append((1, seen.rate.name))
            note = (
                "Bars: exact 95 % interval of the shares in each."
                if seen.rate.name == "delivered"
                else "Band: least and most of the windows."
            )
        if seen.rate_figure is not None:
            figure = seen.rate_figure
            axes.axhspan(figure.lo / scale, figure.hi / scale, color=COLOURS[2], alpha=0.22, lw=0)
            axes.axhline(figure.value / scale, color=COLOURS[2], linewidth=0.9)
            interval = ", with its 95 % interval" if figure.U else ""
            legend.append((3, f"of the whole run{interval}"))
        if seen.claimed_rate is not None:
            _line(axes, seen.claimed_rate, 5, scale, clock_s=clock_s, dashes="--")
            legend.append((5, "by its own word"))
        _uncounted(axes, seen.time_s / clock_s)
        _room(axes)
    return Plot("Hashrate", canvas.svg, tuple(legend), note)


def _temperatures(seen: Plotted) -> Plot | None:
    if not seen.temperatures:
        return None
    unit, clock_s = _clock(seen.time_s)
    with Canvas() as canvas:
        for number, series in enumerate(seen.temperatures[:6], 1):
            _line(canvas.axes, series, number, 1.0, clock_s=clock_s)
        canvas.axes.set_xlabel(unit)
        canvas.axes.set_ylabel("°C")
        _uncounted(canvas.axes, seen.time_s / clock_s)
        _room(canvas.axes)
    legend = tuple((n, series.name) for n, series in enumerate(seen.temperatures[:6], 1))
    return Plot("Temperature", canvas.svg, legend)


def _octaves(seen: Plotted) -> Plot | None:
    if sum(each.count for each in seen.octaves) < 10:
        return None
    with Canvas() as canvas:
        axes = canvas.axes
        powers = [each.power for each in seen.octaves]
        axes.bar(powers, [each.count for each in seen.octaves], color=COLOURS[0], width=0.75)
        axes.plot(powers, [each.due for each in seen.octaves], color=COLOURS[1], marker="o")
        axes.set_yscale("log")
        axes.set_ylim(bottom=0.4)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else "")
        axes.grid(visible=False, axis="x")
        axes.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]
        axes.set_xlabel("n: 2ⁿ to 2ⁿ⁺¹ times as difficult as asked")
        axes.set_ylabel("shares")
    return Plot("Difficulty of shares", canvas.svg, ((1, "came"), (2, "due by chance: half each")))


def _peers(seen: Plotted) -> Plot | None:
    if not seen.peers:
        return None
    colours = {"measured": 0, "claimed": 4, "nameplate": 1, "peer": 3}
    meters = [peer.name for peer in seen.peers if peer.kind in {"measured", "claimed"}]
    by = "".join(f" ({number}) {meter}" for number, meter in enumerate(meters, 1))
    legend = {
        "measured": f"measured by{by}",
        "claimed": f"hashes by its own word, joules by{by}",
        "nameplate": "its nameplate",
        "peer": "other nameplates",
    }
    peers = sorted(seen.peers, key=lambda each: -each.efficiency.value)
    values = [each.efficiency.value for each in peers]
    names = [
        f"{peer.kind} ({meters.index(peer.name) + 1})"
        if peer.kind in {"measured", "claimed"}
        else _name(peer.name)
        for peer in peers
    ]
    with Canvas(height=0.7 + 0.24 * len(peers)) as canvas:
        axes = canvas.axes
        for place, peer in enumerate(peers):
            figure, colour = peer.efficiency, COLOURS[colours[peer.kind]]
            axes.plot([figure.lo, figure.hi], [place, place], color=colour, linewidth=3, alpha=0.45)
            axes.plot([figure.value], [place], color=colour, marker="o")
        axes.set_yticks(range(len(peers)), names)
        if max(values) > FAR * min(values):
            axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: _short(value))
        axes.set_xlabel("J/TH: less is better")
        axes.grid(visible=False, axis="y")
    shown = tuple(
        (colours[kind] + 1, legend[kind])
        for kind in dict.fromkeys(each.kind for each in seen.peers)
    )
    note = "Of nameplates, limits by their tolerances; of what was measured, 95 %."
    return Plot("J/TH beside nameplates", canvas.svg, shown, note)


def _name(name: str) -> str:
    return plain(name if len(name) <= 28 else f"{name[:27]}…")


def _short(value: float) -> str:
    scale, prefix = prefixed(abs(value))
    return f"{value / scale:g}{f' {prefix}' if prefix else ''}"


def _line(
    axes: Axes, series: Series, number: int, scale: float, *, clock_s: float, dashes: str = "-"
) -> None:
    colour = COLOURS[number - 1]
    at = [at_s / clock_s for at_s in series.at_s]
    lo, mean, hi = (
        [value / scale for value in some] for some in (series.lo, series.mean, series.hi)
    )
    few = len(mean) <= 40
    if series.name == "delivered":
        below = [m - b for m, b in zip(mean, lo, strict=True)]
        above = [t - m for m, t in zip(mean, hi, strict=True)]
        axes.errorbar(at, mean, yerr=[below, above], color=colour, fmt="o", elinewidth=0.9)
        return
    if lo != hi:
        axes.fill_between(at, lo, hi, color=colour, alpha=0.2, linewidth=0)
    marker = "o" if few and dashes == "-" else None
    axes.plot(at, mean, color=colour, linestyle=dashes, marker=marker)


def _scaled(axes: Axes, unit: str, some: Sequence[Series | None]) -> float:
    """Name the unit with the prefix that suits the largest value, and return its scale."""
    scale, prefix = prefixed(max(max(map(abs, each.hi)) for each in some if each is not None))
    axes.set_ylabel(f"{prefix}{unit}")
    return scale


def _clock(time_s: float) -> tuple[str, float]:
    """Return the unit of time that suits a run, and its seconds."""
    units = (("days", 86400.0), ("h", 3600.0), ("min", 60.0))
    return next(((unit, each) for unit, each in units if time_s >= 3 * each), ("s", 1.0))


def _uncounted(axes: Axes, until: float) -> None:
    """Shade what lies before the first window and after the last one."""
    first, last = axes.get_xlim()
    for start, end in ((first, 0.0), (until, last)):
        if end > start:
            axes.axvspan(start, end, color=FAINT, alpha=0.18, linewidth=0)
    axes.set_xlim(first, last)


def _room(axes: Axes) -> None:
    """Leave a flat line some room: a tenth of a watt is no mountain."""
    lo, hi = axes.get_ylim()
    middle = (lo + hi) / 2
    least = 0.1 * abs(middle)
    if middle and hi - lo < least and math.isfinite(least):
        axes.set_ylim(middle - least / 2, middle + least / 2)
