"""What machines are worth, as a page: a verdict each, the fan of money, what matters most."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from hwkit.economics.machine import MEASURED
from hwkit.economics.sensitivity import fan, tornado
from hwkit.report import html
from hwkit.report.html_canvas import COLOURS, INK, Canvas, Plot
from hwkit.report.worth import assumed, details, dollars, j_th

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hwkit.economics.futures import Terms
    from hwkit.economics.sensitivity import Bar, Fan
    from hwkit.economics.today import Today
    from hwkit.economics.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Candidate:
    """One machine as the page shows it."""

    name: str
    origin: str
    word: str
    words: str
    figures: tuple[tuple[str, str], ...]
    details: tuple[str, ...]
    plots: tuple[Plot, ...]


def page(
    verdicts: Sequence[Verdict],
    days: Sequence[Today],
    delays: Sequence[list[float] | None],
    terms: Terms,
) -> str:
    """Return the page of a ranking. Raises NoDriver where Jinja or Matplotlib is missing."""
    html.need_plots()
    rows = [
        _candidate(verdict, seen, delay, terms)
        for verdict, seen, delay in zip(verdicts, days, delays, strict=True)
    ]
    old = terms.snapshot.warning(datetime.now(UTC).date())
    return html.page("worth.html", rows=rows, assumed=list(assumed(terms)), warning=old)


def _candidate(verdict: Verdict, seen: Today, delay: list[float] | None, terms: Terms) -> Candidate:
    machine, price = verdict.machine, verdict.price
    figures = [("TH/s", f"{machine.hashrate.value / 1e12:.4g}"), ("J/TH", j_th(machine))]
    if price is not None:
        spread = verdict.policies[terms.scenario.policy]
        figures += [
            ("price", dollars(price)),
            ("pays in", f"{100 * spread.positive:.0f} % of futures"),
            ("beats BTC in", f"{100 * (verdict.ahead_of_btc or 0.0):.0f} % of futures"),
            ("NPV, median", dollars(spread.p50)),
            ("NPV, 5 to 95 %", f"{dollars(spread.p5)} to {dollars(spread.p95)}"),
        ]
    return Candidate(
        machine.name,
        machine.origin + (f", {machine.notes[0]}" if machine.origin == MEASURED else ""),
        "" if verdict.word is None else verdict.word.value,
        verdict.words,
        tuple(figures),
        tuple(details(verdict, seen, delay)),
        _plots(verdict, terms),
    )


def _plots(verdict: Verdict, terms: Terms) -> tuple[Plot, ...]:
    """Draw the two; without a price there is nothing to pay back."""
    if verdict.price is None or verdict.statement is None:
        return ()
    bars = tornado(verdict.machine, verdict.price, terms)
    return (
        _fan(fan(verdict.machine, verdict.price, terms)),
        _tornado(bars, verdict.statement.npv),
    )


def _fan(found: Fan) -> Plot:
    """Draw discounted money so far, by month."""
    with Canvas() as canvas:
        axes, months = canvas.axes, found.months
        band = found.bands
        axes.fill_between(months, band[5], band[95], color=COLOURS[0], alpha=0.18, linewidth=0)
        axes.fill_between(months, band[25], band[75], color=COLOURS[0], alpha=0.3, linewidth=0)
        axes.plot(months, band[50], color=COLOURS[0])
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.set_xlabel("months after the order")
        axes.set_ylabel("$, discounted")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    note = "Bands: 5 to 95 % and 25 to 75 % of futures. The residual value comes last."
    return Plot("Money so far", canvas.svg, ((1, "median of all futures"),), note)


def _tornado(bars: Sequence[Bar], npv: float) -> Plot:
    """Draw what each assumption does to the NPV of the expected path."""
    with Canvas(height=0.7 + 0.3 * len(bars)) as canvas:
        axes = canvas.axes
        for place, bar in enumerate(bars):
            for value, end, colour in (
                (bar.npv_low, bar.low, COLOURS[1]),
                (bar.npv_high, bar.high, COLOURS[0]),
            ):
                axes.barh(place, value - npv, left=npv, color=colour, height=0.62)
                if value == npv:  # as it is anyway
                    continue
                right = value > npv
                axes.annotate(
                    end,
                    (value, place),
                    xytext=(3 if right else -3, 0),
                    textcoords="offset points",
                    ha="left" if right else "right",
                    va="center",
                    fontsize=7,
                )
        axes.axvline(npv, color=INK, linewidth=0.8)
        axes.set_yticks(range(len(bars)), [bar.what for bar in bars])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.margins(x=0.22)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.locator_params(axis="x", nbins=5)
        axes.set_xlabel("NPV of the expected path, $")
    return Plot("What matters most", canvas.svg, ((2, "low end"), (1, "high end")))
