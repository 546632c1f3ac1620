"""``blocklist statement``: write the statement of a month of enforcement, for the authority."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from blocklist_sdk import times
from blocklist_sdk.cli.output import say
from blocklist_sdk.cli.settings import LIST, STATEMENT, Settings, check_output, with_settings


class StatementFormat(StrEnum):
    """The formats of a statement."""

    HTML = "html"
    CSV = "csv"
    JSON = "json"


class StatementLanguage(StrEnum):
    """The languages of a statement's page."""

    EN = "en"
    ID = "id"


@with_settings(*LIST, *STATEMENT)
def statement(
    settings: Settings,
    sink: Annotated[str, typer.Option("--sink", metavar="NAME", help="The sink, by the name it is enforced under.")],
    month: Annotated[str, typer.Option("--month", metavar="MONTH", help="The month, such as 2026-10; UTC.")],
    format_: Annotated[
        StatementFormat, typer.Option("--format", metavar="FORMAT", help="html, csv or json.")
    ] = StatementFormat.HTML,
    language: Annotated[
        StatementLanguage,
        typer.Option(
            "--language", metavar="LANGUAGE", help="The language of the page: en, or id for Bahasa Indonesia."
        ),
    ] = StatementLanguage.EN,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="The file; by default standard output."),
    ] = None,
) -> None:
    """Write the statement of a month of enforcement for the authority: counts and times, no telephone numbers."""
    from blocklist_sdk.disk import replaced, storage
    from blocklist_sdk.enforcement import Ledger, ledger_path, monthly_statement, statement_html

    settings = settings.complete(())
    with settings.open() as blocklist:
        if output is not None:
            check_output(output, blocklist)
        with Ledger.read(ledger_path(blocklist, sink), feed=blocklist.feed) as ledger:
            made = monthly_statement(
                ledger, month, now=times.now(), organisation=settings.organisation, contact=settings.contact
            )
    if format_ is StatementFormat.HTML:
        text = statement_html(made, language=language.value)
    else:
        text = made.to_csv() if format_ is StatementFormat.CSV else made.to_json()
    if output is None:
        typer.echo(text, nl=False)
        return
    with replaced(output) as temporary, storage(output):
        temporary.write_text(text, encoding="utf-8")
    say(f"wrote {output}")
