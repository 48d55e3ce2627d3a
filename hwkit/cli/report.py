"""`hwkit report`: what a record or an evaluation holds, as a page, as Markdown, or as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hwkit.cli.models import known_models, models_option, read_text
from hwkit.cli.options import store_option
from hwkit.cli.records import write_whole
from hwkit.economics import catalogue
from hwkit.errors import HwkitError, PlanError, RecordError
from hwkit.evaluate import state
from hwkit.records import Store
from hwkit.report import evaluation
from hwkit.report.html import evaluation_page, record_page
from hwkit.report.markdown import markdown
from hwkit.report.sheet import sheet_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hwkit.economics.catalogue import Nameplate
    from hwkit.records import Record
    from hwkit.report.sheet import Sheet, Verdict


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
    """Write a report of one record or evaluation: by its id, the beginning of it, or 'last' record.

    hwkit report last -o report.html
    """
    known = known_models(own)
    if model is not None and not catalogue.matching(model, known):
        raise PlanError(f"no model has {model!r} in its name; hwkit models lists all of them")
    try:
        if state.is_evaluation(id_):
            if evaluated is not None:
                raise PlanError(f"{id_} is an evaluation: --evaluation is for a record's report")
            text = _of_evaluation(id_, store, form or "html", known, model)
        else:
            text = _of_record(Store(store).get(id_), form or "html", known, model, evaluated)
    except HwkitError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # Anybody may have written it.
        why = f"{type(error).__name__}: {error}"
        advice = "" if state.is_evaluation(id_) else f": hwkit verify {id_}"
        raise RecordError(f"{id_} is misshapen ({why}){advice}") from error
    if output is None:
        click.echo(text)
    else:
        write_whole(output, [text])


def _of_evaluation(
    name: str, store: str | None, form: str, known: Sequence[Nameplate], model: str | None
) -> str:
    document = state.read(store, name).document
    taken = evaluation.records_of(document, Store(store).get)
    sheet = evaluation.sheet_of_evaluation(document, taken)
    if form != "html":
        return _in_words(sheet, form)
    return evaluation_page(document, taken, sheet, known, model)


def _of_record(
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
        verdict = _verdict(document, evaluated)
        model = model or document["spec"]["model"]
    if record.document["state"] == "running":
        raise PlanError(f"record {record.id} is still running: report it when it has ended")
    sheet = sheet_of(record, verdict)
    if form != "html":
        return _in_words(sheet, form)
    return record_page(record, sheet, known, model)


def _verdict(document: dict[str, Any], path: Path) -> Verdict:
    """Return what a file says; what is amiss with it is not the record's fault."""
    try:
        return evaluation.verdict_of(document)
    except RecordError as error:
        raise RecordError(f"{path}: {error}") from error
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        why = f"{type(error).__name__}: {error}"
        raise RecordError(f"{path}: a misshapen evaluation ({why})") from error


def _in_words(sheet: Sheet, form: str) -> str:
    if form == "json":
        return json.dumps(sheet.to_json(), indent=2, allow_nan=False)
    return markdown(sheet)
