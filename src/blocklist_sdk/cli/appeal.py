"""``blocklist appeal``: ask for a retraction, or answer an appeal."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blocklist_sdk.cli.exchange_session import (
    EvidenceOption,
    FolderOption,
    KeyOption,
    OriginalOption,
    SendsByDefault,
    fetch_evidence,
    send_evidence,
    write_each,
    write_model,
)
from blocklist_sdk.cli.output import AsJson, indented, moment, say, write_line, write_lines
from blocklist_sdk.cli.settings import SERVER, Settings, with_settings
from blocklist_sdk.cli.text_tables import LimitOption, limited, write_table
from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.texts import counted, quoted

if TYPE_CHECKING:
    from blocklist_sdk.exchange.models import Appeal

app: typer.Typer = typer.Typer(
    cls=SendsByDefault,
    no_args_is_help=True,
    help="Ask for a retraction: blocklist appeal NUMBER, or a command below; answer appeals.",
)

AppealArgument = Annotated[int, typer.Argument(metavar="ID", help="The appeal's ID.")]


@app.command()
@with_settings(*SERVER)
def send(
    settings: Settings,
    grounds: Annotated[str, typer.Option(metavar="TEXT", help="Why the number should be retracted.")],
    appellant: Annotated[
        str,
        typer.Option(metavar="REFERENCE", help="Your own reference for the person who appeals; no names or numbers."),
    ],
    number: Annotated[str | None, typer.Argument(metavar="[NUMBER]", help="The number, as people write it.")] = None,
    entry: Annotated[
        str | None, typer.Option(metavar="FEED:ENTRY", help="The entry that lists the number, instead of the number.")
    ] = None,
    evidence: EvidenceOption = None,
    idempotency_key: KeyOption = None,
    as_json: AsJson = False,
) -> None:
    """Ask for a retraction, with evidence; the word send may be left out."""
    from blocklist_sdk.exchange import calls

    feed, entry_id = _entry(entry)
    with settings.client() as exchange:
        for file in evidence or ():
            # Find files that cannot be sent before the appeal is sent.
            calls.attach_appeal_evidence(1, file)
        appeal = exchange.submit_appeal(
            number=number,
            feed=feed,
            entry=entry_id,
            grounds=grounds,
            appellant=appellant,
            idempotency_key=idempotency_key,
        )
        if evidence:
            send_evidence(
                evidence,
                partial(exchange.attach_appeal_evidence, appeal.id),
                key=idempotency_key,
                owner=f"appeal {appeal.id}",
                again=f"blocklist appeal attach {appeal.id}",
            )
            appeal = exchange.get_appeal(appeal.id)
    write_each([appeal], appeal_line, as_json=as_json)


@app.command()
@with_settings(*SERVER)
def attach(
    settings: Settings,
    appeal: AppealArgument,
    evidence: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files of evidence.")],
    as_json: AsJson = False,
) -> None:
    """Add evidence to one of your appeals."""
    with settings.client() as exchange:
        send_evidence(
            evidence,
            partial(exchange.attach_appeal_evidence, appeal),
            key=None,
            owner=f"appeal {appeal}",
            again=f"blocklist appeal attach {appeal}",
        )
        found = exchange.get_appeal(appeal)
    write_each([found], appeal_line, as_json=as_json)


@app.command()
@with_settings(*SERVER)
def show(settings: Settings, appeal: AppealArgument, as_json: AsJson = False) -> None:
    """Show an appeal, and who has lifted the block."""
    with settings.client() as exchange:
        found = exchange.get_appeal(appeal)
    if as_json:
        write_model(found)
        return
    write_line(appeal_line(found))
    write_line("  grounds:")
    write_lines(indented(found.grounds, "    "))
    if found.reason is not None:
        write_line(f"  answer of {moment(found.answered_at)}:")
        write_lines(indented(found.reason, "    "))
    for file in found.evidence:
        write_line(f"  evidence {file.id}: {quoted(file.name)}, {file.media_type}, {file.bytes:,} bytes")
    for each in found.lifted:
        when = f"lifted {moment(each.lifted_at)}" if each.lifted_at else "not lifted yet"
        write_line(f"  {each.recipient}, {each.feed} entry {each.entry}: {when}")


@app.command("list")
@with_settings(*SERVER)
def show_all(
    settings: Settings,
    state: Annotated[
        str | None, typer.Option(metavar="STATE", help="Only those in this state: open, granted or dismissed.")
    ] = None,
    limit: LimitOption = None,
    as_json: AsJson = False,
) -> None:
    """Show your own appeals, or all for an officer; without --state, open ones first."""
    with settings.client() as exchange:
        found: Iterable[Appeal] = exchange.appeals(state=state)  # type: ignore[arg-type]
        if state is None:
            found = sorted(found, key=lambda each: each.state != "open")
        found = limited(found, limit)
        if as_json:
            write_each(found, appeal_line, as_json=True)
        else:
            write_table(_COLUMNS, map(_row, found), whole=4)


_COLUMNS = ("appeal", "number", "state", "lifted", "case", "received", "appellant", "files")


def _row(appeal: "Appeal") -> tuple[str, ...]:
    """An appeal in a table."""
    lifted = sum(each.lifted_at is not None for each in appeal.lifted)
    return (
        str(appeal.id),
        f"+{appeal.number}",
        appeal.state,
        f"{lifted} of {len(appeal.lifted)}" if appeal.lifted else "-",
        "-" if appeal.case is None else str(appeal.case),
        moment(appeal.received_at) or "",
        quoted(appeal.appellant),
        str(len(appeal.evidence)),
    )


@app.command()
@with_settings(*SERVER)
def answer(
    settings: Settings,
    appeal: AppealArgument,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why.")],
    grant: Annotated[bool, typer.Option("--grant", help="Retract the number.")] = False,
    dismiss: Annotated[bool, typer.Option("--dismiss", help="Keep the number listed.")] = False,
    version: Annotated[
        int | None,
        typer.Option(
            "--version",
            metavar="N",
            help="The version of the appeal's case, as you looked at it with case show; needed to dismiss.",
        ),
    ] = None,
    idempotency_key: KeyOption = None,
    as_json: AsJson = False,
) -> None:
    """Answer an appeal, as an officer."""
    if grant == dismiss:
        raise InvalidInput("give either --grant or --dismiss")
    if dismiss and version is None:
        raise InvalidInput("give --version, the version of the case that you looked at: blocklist case show CASE")
    with settings.client() as exchange:
        found = exchange.answer_appeal(
            appeal, grant=grant, reason=reason, version=version, idempotency_key=idempotency_key
        )
    write_each([found], appeal_line, as_json=as_json)
    if found.proposed is not None:
        say(f"a second officer has to confirm it: blocklist case confirm {found.proposed}")


@app.command()
@with_settings(*SERVER)
def evidence(
    settings: Settings,
    appeal: AppealArgument,
    directory: FolderOption,
    original: OriginalOption = False,
    as_json: AsJson = False,
) -> None:
    """Download an appeal's evidence, as an officer."""
    with settings.client() as exchange:
        fetch_evidence(exchange, exchange.get_appeal(appeal).evidence, directory, original=original, as_json=as_json)


def _entry(text: str | None) -> tuple[str | None, int | None]:
    if text is None:
        return None, None
    feed, colon, entry = text.rpartition(":")
    if not colon or not entry.isascii() or not entry.isdigit() or len(entry) > 19:
        raise InvalidInput(f"{text!r} is not an entry: write it as FEED:ENTRY, such as id-messaging:17")
    return feed, int(entry)


def appeal_line(appeal: "Appeal") -> str:
    """An appeal in one line."""
    lifted = sum(each.lifted_at is not None for each in appeal.lifted)
    news = f", lifted by {lifted} of {len(appeal.lifted)}" if appeal.lifted else ""
    case = "" if appeal.case is None else f"case {appeal.case}, "
    return (
        f"appeal {appeal.id}  +{appeal.number}  {appeal.state}{news}; {case}"
        f"{moment(appeal.received_at)}, by {quoted(appeal.appellant)}; {counted(len(appeal.evidence), 'file')}"
    )
