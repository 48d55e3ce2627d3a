"""A report as one HTML file: no script, nothing fetched, light and dark, phone and A4.

All text is escaped by Jinja's autoescape, and what could reorder or hide it is shown as such; the
page's content security policy lets nothing load or run, should anything slip through.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from hwkit.errors import NoDriver
from hwkit.report.evaluation import DRAWN
from hwkit.report.html_series import plotted
from hwkit.units import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hwkit.economics.catalogue import Nameplate
    from hwkit.records import Record
    from hwkit.report.evaluation import Taken
    from hwkit.report.sheet import Sheet


def record_page(
    record: Record, sheet: Sheet, known: Sequence[Nameplate], model: str | None = None
) -> str:
    """Return the page of a record; its J/TH is held against `model` and others of those known.

    Raises NoDriver where Jinja or Matplotlib is missing, RecordError for rows that are corrupt.
    """
    need_plots()
    from hwkit.report.html_plots import of_record  # noqa: PLC0415 - it draws

    return page("record.html", sheet=sheet, plots=of_record(plotted(record, known, model)))


def evaluation_page(
    document: dict[str, Any],
    taken: Sequence[Taken],
    sheet: Sheet,
    known: Sequence[Nameplate],
    model: str | None = None,
) -> str:
    """Return an evaluation's page, with plots of all that lasted. Raises what record_page does."""
    need_plots()
    from hwkit.report.html_plots import of_record, over_time  # noqa: PLC0415 - it draws

    plots = of_record(plotted(taken[0].record, known, model or document["spec"]["model"]))
    for name, kind, record in taken[1:]:
        if kind in DRAWN:
            some = over_time(plotted(record, ()))
            plots += [replace(each, title=f"{name}: {each.title}") for each in some]
    return page("record.html", sheet=sheet, plots=plots)


def page(template: str, **values: Any) -> str:  # noqa: ANN401 - what a template shows
    """Fill a template; what is no markup of ours is escaped."""
    import jinja2  # noqa: PLC0415 - on use
    from markupsafe import Markup  # noqa: PLC0415 - optional

    def printable(value: object) -> object:
        return value if isinstance(value, Markup) else plain("" if value is None else value)

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("hwkit.report"),
        autoescape=True,
        finalize=printable,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(values)


def need_plots() -> None:
    """Raise NoDriver where what draws is not installed."""
    if None in (find_spec("jinja2"), find_spec("matplotlib")):
        raise NoDriver("--html", "it needs Matplotlib and Jinja: pip install 'hwkit[report]'")
