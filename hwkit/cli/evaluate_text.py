"""What `hwkit evaluate` prints at its end: the verdict, its lines, and what to do next."""

from __future__ import annotations

import shlex
from typing import Any

import click

from hwkit.evaluate import identity
from hwkit.evaluate.observed import FIGURES
from hwkit.units import Figure, plain


def print_evaluation(document: dict[str, Any], store: str | None) -> None:
    """Print the verdict first, then what it stands on."""
    skipped = ", ".join(document["not_tested"])
    head = f"{document['verdict']}: {document['address']} as {document['spec']['model']}"
    if skipped:
        head += f" (NOT_TESTED: {skipped})"
    out = [head]
    width = max(len(line["name"]) for line in document["lines"])
    for line in document["lines"]:
        decides = f" -> {line['decides']}" if line["decides"] else ""
        out.append(f"  {line['verdict']:<12} {line['name']:<{width}}  {line['why']}{decides}")
    out += _table(document.get("by_setting", []))
    if document["unknown"]:
        out.append(f"  nothing is known of {', '.join(document['unknown'])} (--inlet, --mains)")
    net = document["internet"]
    if net["asked"]:
        reached = "reached" if net["reachable"] else "did not reach"
        out.append(f"  the network {reached} {net['asked']}")
    if nobody_knows := identity.unknown(document):
        out.append(f"  {nobody_knows}")
    where = f" --store {shlex.quote(store)}" if store else ""
    if left := " and ".join(document["pending"]):
        out.append(f"  not put back: {left}: hwkit evaluate --resume {document['id']}{where}")
    if document["faults"]:
        out.append("  not all is put back: hwkit asic restore")
    if document["state"] == "running":
        out.append(
            f"  it was interrupted: hwkit evaluate --resume {document['id']} goes on with it"
        )
    names = " ".join(document["records"])
    name = document["id"]
    out.append(f"evaluation {name}, records {names or 'none'}: hwkit verify {name}{where}")
    if names:
        out.append(f"Next: hwkit report {name} -o {name}.html{where}")
    click.echo("\n".join(map(plain, out)))


def _table(rows: list[dict[str, Any]]) -> list[str]:
    """Return a line for each setting, with what it does in it."""
    cells = [
        [f"{row['step']}: {row['setting']}"]
        + [str(Figure.from_json(row[name])) if row[name] else "-" for name in FIGURES]
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  "
        + "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
