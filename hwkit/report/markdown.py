"""A report as Markdown, for forums and issues."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hwkit.units import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hwkit.report.sheet import Sheet

# What Markdown, the HTML in it, or a forum's own marks would take for theirs.
_MARKS = re.compile(r"([\\`*_{}\[\]<>|~#&$])")


def markdown(sheet: Sheet) -> str:
    """Return a sheet as Markdown with tables (GitHub's); what a record says is escaped."""
    return "\n".join(_lines(sheet))


def escaped(text: object) -> str:
    """Return text that shows as it is: no markup, no mention of a user, one line."""
    shown = _MARKS.sub(r"\\\1", plain(text)).replace("@", "@\u200b")
    return re.sub(r"(https?):", "\\1\u200b:", shown, flags=re.IGNORECASE)


def _lines(sheet: Sheet) -> Iterator[str]:
    yield f"# {escaped(sheet.title)}"
    yield ""
    yield escaped(sheet.subtitle)
    if sheet.verdict is not None:
        verdict = sheet.verdict
        yield ""
        yield f"## {escaped(verdict.word)}"
        yield ""
        yield escaped(verdict.words)
        if verdict.lines:
            lines = [(e.what, e.word, e.measured, e.limit, e.why) for e in verdict.lines]
            yield from _table(("what", "verdict", "measured", "limit", ""), lines)
    rows = [(e.name, e.value, e.relative, e.interval, e.of) for e in sheet.figures]
    yield from _table(("figure", "value", "U", "95 %", "stands on"), rows)
    if sheet.caveats:
        yield ""
        yield "**Caveats**"
        yield ""
        for caveat in sheet.caveats:
            told = escaped(caveat.finding)
            yield f"- **{escaped(caveat.caveat)}**: {told}. {escaped(caveat.advice)}"
    for section in sheet.sections:
        yield ""
        yield f"**{section.title}**"
        yield ""
        for name, text in section.rows:
            yield f"- {escaped(name)}: {escaped(text)}"
    yield ""
    yield f"To verify, with the exported record (SHA-256 `{sheet.digest}`):"
    yield ""
    for command in sheet.verify:
        yield f"    {plain(command)}"


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield ""
    yield f"| {' | '.join(names)} |"
    yield f"|{' --- |' * len(names)}"
    for row in rows:
        yield f"| {' | '.join(map(escaped, row))} |"
