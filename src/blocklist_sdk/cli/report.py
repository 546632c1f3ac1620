"""``blocklist report``: report numbers."""

import contextlib
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from blocklist_sdk.cli.exchange_session import (
    EvidenceOption,
    KeyOption,
    Rejects,
    SendsByDefault,
    problem_line,
    records_in,
    send_evidence,
    write_each,
    write_model,
)
from blocklist_sdk.cli.exit_codes import REJECTED
from blocklist_sdk.cli.moments import read_moment
from blocklist_sdk.cli.output import AsJson, indented, moment, say, write_json, write_line, write_lines
from blocklist_sdk.cli.settings import SERVER, Settings, with_settings
from blocklist_sdk.cli.text_tables import LimitOption, limited, write_table
from blocklist_sdk.errors import InvalidInput, InvalidNumber
from blocklist_sdk.numbers.text import Form, check_form
from blocklist_sdk.texts import counted, quoted

if TYPE_CHECKING:
    from blocklist_sdk.exchange.client import ExchangeClient
    from blocklist_sdk.exchange.models import Report

app: typer.Typer = typer.Typer(
    cls=SendsByDefault,
    no_args_is_help=True,
    help="Report numbers: blocklist report NUMBER, or a command below.",
)

_FIELDS = ("number", "category", "channel", "app", "text", "happened_at", "reporter")

ReportArgument = Annotated[int, typer.Argument(metavar="ID", help="The report's ID.")]


@app.command()
@with_settings(*SERVER)
def send(
    settings: Settings,
    number: Annotated[str, typer.Argument(metavar="NUMBER", help="The number, as it was written down.")],
    category: Annotated[str, typer.Option(metavar="CATEGORY", help="fraud, phishing, impersonation, …")],
    channel: Annotated[str, typer.Option(metavar="CHANNEL", help="How it came: sms, voice or messaging.")],
    text: Annotated[str, typer.Option(metavar="TEXT", help="What happened, or what the message said.")],
    happened_at: Annotated[
        str,
        typer.Option(metavar="MOMENT", help="When, such as 2026-11-24T08:00:00+07:00; UTC without a time zone."),
    ],
    reporter: Annotated[
        str,
        typer.Option(metavar="REFERENCE", help="Your own reference for the person who complains; no names or numbers."),
    ],
    app_: Annotated[
        str | None,
        typer.Option("--app", metavar="NAME", help="The messaging app, with the channel messaging."),
    ] = None,
    evidence: EvidenceOption = None,
    idempotency_key: KeyOption = None,
    as_json: AsJson = False,
) -> None:
    """Report a number, with evidence; the word send may be left out."""
    from blocklist_sdk.exchange import calls

    when = read_moment(happened_at)
    with settings.client() as exchange:
        for file in evidence or ():
            # Find files that cannot be sent before the report is sent.
            calls.attach_evidence(1, file)
        report = exchange.submit_report(
            number,
            category=category,
            channel=channel,  # type: ignore[arg-type]
            app=app_,
            text=text,
            happened_at=when,
            reporter=reporter,
            idempotency_key=idempotency_key,
        )
        report = _with_evidence(exchange, report, evidence, idempotency_key)
    write_each([report], report_line, as_json=as_json)


@app.command()
@with_settings(*SERVER)
def attach(
    settings: Settings,
    report: ReportArgument,
    evidence: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files of evidence.")],
    as_json: AsJson = False,
) -> None:
    """Add evidence to one of your reports."""
    with settings.client() as exchange:
        found = _with_evidence(exchange, exchange.get_report(report), evidence, None)
    write_each([found], report_line, as_json=as_json)


@app.command()
@with_settings(*SERVER, "region", "form")
def bulk(
    settings: Settings,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help=f"A table with the columns {', '.join(_FIELDS)}, such as CSV; - is standard input.",
        ),
    ],
    idempotency_key: KeyOption = None,
    as_json: AsJson = False,
) -> None:
    """Report many numbers; exits with 7 if any was refused, after the others were sent.

    The exchange reads national numbers in its own region. With --region or --form, they are read here, in the form that
    the whole column shows, and sent as international ones.

    With --json, writes one line for each line of the file, with "report" or "error".
    """
    from blocklist_sdk.exchange import calls

    rejects, lines, taken = Rejects(file, as_json=as_json), list[int](), 0
    with settings.client() as exchange:
        records = records_in(file, _FIELDS)
        read_here = settings.complete(())
        if read_here.region is not None or read_here.form is not None:
            records = _international(records, region=read_here.region, form=check_form(read_here.form or "auto"))
        rows = rejects.readable(records, lambda row: calls.new_report(_with_zone(row)), lines)
        for item in exchange.submit_reports(rows, idempotency_key=idempotency_key):
            line = lines[item.index]
            if item.report is None:
                reason = problem_line(item.problem) if item.problem else "the exchange gave no reason"
                rejects.add(line, "ExchangeError", reason)
                continue
            taken += 1
            if as_json:
                write_json({"line": line, "report": item.report.model_dump(mode="json")})
            else:
                write_line(f"line {line}: {report_line(item.report)}")
    if not as_json:
        typer.echo(f"{taken:,} reported, {rejects.count:,} refused")
    if rejects.count:
        raise typer.Exit(REJECTED)


def _international(
    records: Iterable[tuple[int, dict[str, Any] | str]], *, region: str | None, form: Form
) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """The records with their numbers in international form; one that is not a number becomes the reason."""
    from blocklist_sdk.numbers import format_e164
    from blocklist_sdk.numbers.forms import column_reader

    rows = list(records)
    read, decision = column_reader(
        [row.get("number", "") for _, row in rows if isinstance(row, dict)], region=region, form=form
    )
    if decision.texts:
        say(str(decision))
    for line, row in rows:
        if isinstance(row, dict) and row.get("number"):
            try:
                yield line, row | {"number": format_e164(read(row["number"]))}
            except InvalidNumber as error:
                yield line, str(error)
        else:
            yield line, row


def _with_zone(row: dict[str, Any]) -> dict[str, Any]:
    """A row whose moment is UTC if it has no time zone, as it is for a single report."""
    with contextlib.suppress(InvalidInput, KeyError):
        return {**row, "happened_at": read_moment(row["happened_at"]).isoformat()}
    return row


@app.command()
@with_settings(*SERVER)
def show(settings: Settings, report: ReportArgument, as_json: AsJson = False) -> None:
    """Show a report."""
    with settings.client() as exchange:
        found = exchange.get_report(report)
    if as_json:
        write_model(found)
        return
    write_line(report_line(found))
    for file in found.evidence:
        write_line(f"  evidence {file.id}: {quoted(file.name)}, {file.media_type}, {file.bytes:,} bytes")
    write_lines(indented(found.text, "  "))


@app.command("list")
@with_settings(*SERVER)
def show_all(
    settings: Settings,
    number: Annotated[str | None, typer.Option(metavar="NUMBER", help="Only those on this number.")] = None,
    since: Annotated[str | None, typer.Option(metavar="MOMENT", help="Only those received since then.")] = None,
    limit: LimitOption = None,
    as_json: AsJson = False,
) -> None:
    """Show your own reports, and what their cases still need."""
    with settings.client() as exchange:
        found = limited(exchange.reports(number=number, since=None if since is None else read_moment(since)), limit)
        if as_json:
            write_each(found, report_line, as_json=True)
        else:
            write_table(_COLUMNS, map(_row, found), whole=4)


_COLUMNS = ("report", "number", "state", "missing", "case", "category", "channel", "reporter", "files", "happened")


def _row(report: "Report") -> tuple[str, ...]:
    """A report in a table."""
    return (
        str(report.id),
        f"+{report.number}",
        report.case_state,
        " and ".join(report.missing) or "-",
        "-" if report.case is None else str(report.case),
        report.category,
        f"{report.channel}{f' ({quoted(report.app)})' if report.app else ''}",
        quoted(report.reporter),
        str(len(report.evidence)),
        moment(report.happened_at) or "",
    )


def _with_evidence(exchange: "ExchangeClient", report: "Report", files: list[Path] | None, key: str | None) -> "Report":
    """Send evidence, and return the report with it."""
    if not files:
        return report
    send_evidence(
        files,
        partial(exchange.attach_evidence, report.id),
        key=key,
        owner=f"report {report.id}",
        again=f"blocklist report attach {report.id}",
    )
    return exchange.get_report(report.id)


def report_line(report: "Report") -> str:
    """A report in one line."""
    missing = f", missing {' and '.join(report.missing)}" if report.missing else ""
    repeats = f", repeats report {report.repeats}" if report.repeats else ""
    files = counted(len(report.evidence), "file")
    way = f"{report.channel}{f' ({quoted(report.app)})' if report.app else ''}"
    case = "" if report.case is None else f"case {report.case}: "
    return (
        f"report {report.id}  +{report.number}  {report.category} by {way}, {moment(report.happened_at)}, "
        f"by {quoted(report.reporter)}; {files}; {case}{report.case_state}{missing}{repeats}"
    )
