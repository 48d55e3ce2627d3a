"""`hwkit report`: what a record holds, as a page, as Markdown, or as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hwkit.cli.models import known_models, models_option, read_text
from hwkit.cli.options import store_option
from hwkit.cli.records import write_whole
from hwkit.economics import catalogue
from hwkit.errors import HwkitError, PlanError, RecordError
from hwkit.records import Store
from hwkit.report import evaluation
from hwkit.report.html import record_page
from hwkit.report.markdown import markdown
from hwkit.report.sheet import sheet_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hwkit.economics.catalogue import Nameplate
    from hwkit.records import Record


@click.command("report")
@click.argument("id_", metavar="ID")
@click.option("--html", "form", flag_value="html", help="One file; nothing is fetched. [default]")
@click.option("--markdown", "form", flag_value="markdown", help="For forums and issues.")
@click.option("--json", "form", flag_value="json", help="The same words as one JSON document.")
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="To a file.")
@click.option("--model", help="Its nameplate. [default: of the model that it says it is]")
@click.option(
    "--evaluation",
    "evaluated",
    type=click.Path(dir_okay=False, path_type=Path),
    help="What `hwkit evaluate` wrote (evaluations/ID.json, or its --json): its verdict first.",
)
@models_option
@store_option
def command(
    id_: str,
    form: str | None,
    output: Path | None,
    model: str | None,
    evaluated: Path | None,
    own: Path | None,
    store: str | None,
) -> None:
    """Write a report of one record: by its id, the beginning of it, or 'last'.

    hwkit report last -o report.html
    """
    known = known_models(own)
    if model is not None and not catalogue.matching(model, known):
        raise PlanError(f"no model has {model!r} in its name; hwkit models lists all of them")
    record = Store(store).get(id_)
    try:
        text = _written(record, form or "html", known, model, evaluated)
    except HwkitError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # Anybody may have written it.
        why = f"{type(error).__name__}: {error}"
        raise RecordError(f"record {record.id} is misshapen ({why}): hwkit verify {id_}") from error
    if output is None:
        click.echo(text)
    else:
        write_whole(output, [text])


def _written(
    record: Record,
    form: str,
    known: Sequence[Nameplate],
    model: str | None,
    evaluated: Path | None,
) -> str:
    verdict = None
    if evaluated is not None:
        text = read_text(evaluated, evaluation.LARGEST)
        document = evaluation.read_evaluation(text, str(evaluated), record)
        verdict = evaluation.verdict_of(document)
        model = model or document["spec"]["model"]
    if record.document["state"] == "running":
        raise PlanError(f"record {record.id} is still running: report it when it has ended")
    sheet = sheet_of(record, verdict)
    if form == "json":
        return json.dumps(sheet.to_json(), indent=2, allow_nan=False)
    if form == "markdown":
        return markdown(sheet)
    return record_page(record, sheet, known, model)
