"""`hwkit report`: what a record holds, as a page, as Markdown, or as JSON."""

from __future__ import annotations

from pathlib import Path

import click

from hwkit.cli.models import known_models, models_option
from hwkit.cli.options import print_json, store_option
from hwkit.cli.records import write_whole
from hwkit.errors import PlanError


@click.command("report")
@click.argument("id_", metavar="ID")
@click.option("--html", "form", flag_value="html", help="One file; nothing is fetched. [default]")
@click.option("--markdown", "form", flag_value="markdown", help="For forums and issues.")
@click.option("--json", "form", flag_value="json", help="The same words as one JSON document.")
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="To a file.")
@click.option("--model", help="Its nameplate. [default: of the model that it says it is]")
@models_option
@store_option
def command(
    id_: str,
    form: str | None,
    output: Path | None,
    model: str | None,
    own: Path | None,
    store: str | None,
) -> None:
    """Write a report of one record: by its id, the beginning of it, or 'last'.

    hwkit report last -o report.html
    """
    from hwkit.economics import catalogue  # noqa: PLC0415
    from hwkit.records import Store  # noqa: PLC0415 - SQLAlchemy takes its time
    from hwkit.report.sheet import sheet_of  # noqa: PLC0415

    known = known_models(own)
    if model is not None and not catalogue.matching(model, known):
        raise PlanError(f"no model has {model!r} in its name; hwkit models lists all of them")
    record = Store(store).get(id_)
    sheet = sheet_of(record)
    if form == "json":
        print_json(sheet.to_json())
        return
    if form == "markdown":
        from hwkit.report.markdown import markdown  # noqa: PLC0415

        text = markdown(sheet)
    else:
        from hwkit.report.html import record_page  # noqa: PLC0415

        text = record_page(record, sheet, known, model)
    if output is None:
        click.echo(text)
    else:
        write_whole(output, [text])
