"""Plots as SVG inside a page: Matplotlib draws, the page's own colours and fonts show.

Text stays text; legends are the page's. Matplotlib is imported on use.
"""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE = (4.7, 2.7)  # inches of 72 units: one unit is a pixel on a phone
# Colours that stand for the page's, which a style sheet has for light and for dark.
INK, FAINT = "#fe0000", "#fe0009"
COLOURS = [f"#fe000{number}" for number in range(1, 7)]
SETTINGS: Any = {  # by names that Matplotlib's stubs list one by one
    "svg.fonttype": "none",
    "svg.hashsalt": "hwkit",
    "text.parse_math": False,  # a name may have dollars in it
    "font.family": ["sans-serif"],
    "font.size": 8.5,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.5,
    "grid.alpha": 0.35,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "lines.linewidth": 1.3,
    "lines.markersize": 3.5,
}


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture, what it shows, and its legend: the number of a colour and what it is."""

    title: str
    svg: str  # markup of Matplotlib's, which escapes
    legend: tuple[tuple[int, str], ...] = ()
    note: str = ""


class Canvas:
    """One pair of axes; on leaving, `svg` is their picture."""

    def __init__(self, height: float = SIZE[1]) -> None:
        """Say how high it is, in inches."""
        import matplotlib as mpl  # noqa: PLC0415 - 0.5 s
        from matplotlib.figure import Figure  # noqa: PLC0415 - optional

        self._context = mpl.rc_context(SETTINGS)
        self._context.__enter__()
        self._figure = Figure((SIZE[0], height), layout="constrained")
        self.axes: Axes = self._figure.add_subplot()
        self.svg = ""

    def __enter__(self) -> Self:
        """Draw."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Write it down."""
        try:
            if kind is None:
                self.svg = _svg(self._figure)
        finally:
            self._context.__exit__(None, None, None)


def _svg(figure: Any) -> str:  # noqa: ANN401 - a Figure, imported on use
    """Return a figure as an element of a page: no prologue, no ids twice, the page's colours."""
    text = io.StringIO()
    with warnings.catch_warnings():
        # A glyph that our font lacks is the browser's to find.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*">', "<g>", svg)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    return re.sub(r"#fe000(\d)", r"var(--plot-\1)", svg)
