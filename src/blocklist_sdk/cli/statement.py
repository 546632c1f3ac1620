"""``blocklist statement``: write the statement of a month of enforcement, for the authority."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from blocklist_sdk import times
from blocklist_sdk.cli.output import say
from blocklist_sdk.cli.settings import FILES, LIST, STATEMENT, Settings, check_output, with_settings
from blocklist_sdk.errors import InvalidInput


class StatementFormat(StrEnum):
    """The formats of a statement."""

    HTML = "html"
    CSV = "csv"
    JSON = "json"


class StatementLanguage(StrEnum):
    """The languages of a statement's page."""

    EN = "en"
    ID = "id"


_ENDINGS: Final = {
    ".html": StatementFormat.HTML,
    ".htm": StatementFormat.HTML,
    ".csv": StatementFormat.CSV,
    ".json": StatementFormat.JSON,
}
"""The formats by what a file's name ends with."""

_NEVER: Final = frozenset({".pdf", ".doc", ".docx", ".odt", ".xls", ".xlsx", ".ods", ".parquet"})
"""Endings of formats that no statement has: a file of that name would not open."""


@with_settings(*LIST, *FILES, *STATEMENT)
def statement(
    settings: Settings,
    sink: Annotated[str, typer.Option("--sink", metavar="NAME", help="The sink, by the name it is enforced under.")],
    month: Annotated[str, typer.Option("--month", metavar="MONTH", help="The month, such as 2026-10; UTC.")],
    format_: Annotated[
        StatementFormat | None,
        typer.Option(
            "--format", metavar="FORMAT", help="html, csv or json; by default as the name of FILE says, or else html."
        ),
    ] = None,
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
    its_access = settings.access().to_be_read()
    with settings.open() as blocklist:
        if output is not None:
            check_output(output, blocklist)
        form = _format_of(output, format_)
        with Ledger.read(ledger_path(blocklist, sink), feed=blocklist.feed) as ledger:
            made = monthly_statement(
                ledger, month, now=times.now(), organisation=settings.organisation, contact=settings.contact
            )
    if form is StatementFormat.HTML:
        text = statement_html(made, language=language.value)
    else:
        text = made.to_csv() if form is StatementFormat.CSV else made.to_json()
    if output is None:
        typer.echo(text, nl=False)
        return
    with replaced(output, its_access) as temporary, storage(output):
        temporary.write_text(text, encoding="utf-8")
    say(f"wrote {output}")


def _format_of(output: Path | None, given: StatementFormat | None) -> StatementFormat:
    """The format of a statement, which the name of its file must not contradict.

    Raises:
        InvalidInput: the name says another format, or one that no statement has.

    >>> _format_of(Path("october.csv"), None).value, _format_of(Path("october"), None).value
    ('csv', 'html')
    """
    ending = "" if output is None else output.suffix.lower()
    named = _ENDINGS.get(ending)
    if ending in _NEVER:
        pdf = ": for PDF, write .html and print the page from a browser" if ending == ".pdf" else ""
        raise InvalidInput(
            f"a statement is html, csv or json, and {output} would be named as something else: name the file .html, "
            f".csv or .json{pdf}"
        )
    if given is not None and named is not None and named is not given:
        raise InvalidInput(
            f"--format {given.value} and the file {output} contradict each other: name the file .{given.value}, or "
            "leave --format out"
        )
    return given or named or StatementFormat.HTML
