"""``blocklist case``: verify and decide cases."""

from typing import TYPE_CHECKING, Annotated

import typer

from blocklist_sdk.cli.case_queue import Queued, queue
from blocklist_sdk.cli.exchange_session import (
    FolderOption,
    KeyOption,
    OriginalOption,
    fetch_evidence,
    write_each,
    write_model,
)
from blocklist_sdk.cli.moments import read_moment
from blocklist_sdk.cli.output import AsJson, indented, moment, say, scope_text, write_line, write_lines
from blocklist_sdk.cli.report import report_line
from blocklist_sdk.cli.settings import SERVER, Settings, with_settings
from blocklist_sdk.cli.text_tables import LimitOption, limited, write_table
from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.records import SCOPES
from blocklist_sdk.texts import counted, quoted

if TYPE_CHECKING:
    from blocklist_sdk.exchange.models import Case, Decision, Event, RecycledBatch

app: typer.Typer = typer.Typer(no_args_is_help=True, help="Verify and decide cases, as an officer.")

CaseArgument = Annotated[int, typer.Argument(metavar="CASE", help="The case's ID.")]
VersionOption = Annotated[
    int | None,
    typer.Option(
        "--version",
        metavar="N",
        help="The case's version, as you looked at it; if it has changed since, nothing is decided.",
    ),
]
DecisionArgument = Annotated[int, typer.Argument(metavar="DECISION", help="The decision's ID.")]


@app.command("list")
@with_settings(*SERVER)
def show_all(
    settings: Settings,
    state: Annotated[
        str | None, typer.Option(metavar="STATE", help="Only those in this state, such as received or verifying.")
    ] = None,
    number: Annotated[str | None, typer.Option(metavar="NUMBER", help="Only those of this number.")] = None,
    overdue: Annotated[
        bool, typer.Option("--overdue", help="Only those that officers should have decided already.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Also those in which nothing is left to do, such as published ones.")
    ] = False,
    limit: LimitOption = None,
    as_json: AsJson = False,
) -> None:
    """Show cases: those that wait for this account first, with what to do next.

    First come decisions of others to confirm, appeals, cases that this account verifies, and cases to take up. Those in
    which nothing is left to do are shown with --all, and where --state, --number or --overdue selects them.
    """
    with settings.client() as exchange:
        account = exchange.get_account()
        selected = everything or overdue or state is not None or number is not None
        cases = list(exchange.cases(state=state, number=number, overdue=overdue))
        queued = queue(cases, account, closed=selected)
        found = limited(queued, limit)
        if as_json:
            for each in found:
                write_model(each.case)
        else:
            write_table(_COLUMNS, map(_row, found), whole=4)
    if hidden := len(cases) - len(queued):
        say(f"not shown, since nothing is left to do: {counted(hidden, 'case')}. Give --all to see them")


@app.command()
@with_settings(*SERVER)
def show(settings: Settings, case: CaseArgument, as_json: AsJson = False) -> None:
    """Show a case, its reports, decisions and listings; with --json, without the reports."""
    with settings.client() as exchange:
        found = exchange.get_case(case)
        if as_json:
            write_model(found)
            return
        write_line(case_line(found))
        for report in exchange.case_reports(case):
            write_line(f"  {report_line(report)}")
            write_lines(indented(report.text, "    "))
    for decision in found.decisions:
        write_line(f"  {decision_line(decision)}")
    for each in found.listings:
        since = f"since release {each.listed_serial}" if each.listed_serial else "not published yet"
        gone = f", lifted with release {each.lifted_serial}" if each.lifted_serial else ""
        entry = f" as entry {each.entry}" if each.entry is not None else ""
        write_line(f"  on {each.feed}{entry}: {each.level}, {since}{gone}")


@app.command()
@with_settings(*SERVER)
def history(settings: Settings, case: CaseArgument, limit: LimitOption = None, as_json: AsJson = False) -> None:
    """Show everything that happened to a case, oldest first."""
    with settings.client() as exchange:
        write_each(limited(exchange.case_history(case), limit), _event_line, as_json=as_json)


@app.command("start-verification")
@with_settings(*SERVER)
def start_verification(
    settings: Settings, case: CaseArgument, idempotency_key: KeyOption = None, as_json: AsJson = False
) -> None:
    """Begin to verify a case."""
    with settings.client() as exchange:
        write_each([exchange.start_verification(case, idempotency_key=idempotency_key)], case_line, as_json=as_json)


@app.command()
@with_settings(*SERVER)
def decide(
    settings: Settings,
    case: CaseArgument,
    kind: Annotated[str, typer.Argument(metavar="KIND", help="block, advisory, reject or retract.")],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why.")],
    category: Annotated[
        str | None, typer.Option(metavar="CATEGORY", help="The category; by default the one that most accounts name.")
    ] = None,
    scope: Annotated[
        str, typer.Option(metavar="SCOPE", help="Where the number is to be blocked, joined by a plus.")
    ] = scope_text(frozenset(SCOPES)),
    until: Annotated[
        str | None,
        typer.Option(metavar="MOMENT", help="When the listing ends; by default after listing_days."),
    ] = None,
    urgent: Annotated[bool, typer.Option("--urgent", help="Publish at once, not with the next cycle.")] = False,
    version: VersionOption = None,
    idempotency_key: KeyOption = None,
    as_json: AsJson = False,
) -> None:
    """Decide on a case; a decision that another officer must confirm is only proposed until then.

    For block and advisory, give --version: the version of the case that you looked at, from case show.
    """
    if version is None and kind in ("block", "advisory"):
        raise InvalidInput(f"give --version, the version of the case that you looked at: blocklist case show {case}")
    with settings.client() as exchange:
        found = exchange.decide(
            case,
            kind,  # type: ignore[arg-type]
            reason=reason,
            category=category,
            scope=scope.split("+"),  # type: ignore[arg-type]
            until=None if until is None else read_moment(until),
            urgent=urgent,
            version=version,
            idempotency_key=idempotency_key,
        )
    write_each([found], decision_line, as_json=as_json)


@app.command()
@with_settings(*SERVER)
def confirm(
    settings: Settings,
    decision: DecisionArgument,
    version: VersionOption = None,
    idempotency_key: KeyOption = None,
    as_json: AsJson = False,
) -> None:
    """Confirm another officer's decision.

    If it blocks, give --version: the version of the case that you looked at, from case show.
    """
    with settings.client() as exchange:
        found = exchange.confirm_decision(decision, version=version, idempotency_key=idempotency_key)
    write_each([found], decision_line, as_json=as_json)


@app.command()
@with_settings(*SERVER)
def withdraw(
    settings: Settings, decision: DecisionArgument, idempotency_key: KeyOption = None, as_json: AsJson = False
) -> None:
    """Withdraw a decision that is only proposed."""
    with settings.client() as exchange:
        found = exchange.withdraw_decision(decision, idempotency_key=idempotency_key)
    write_each([found], decision_line, as_json=as_json)


@app.command()
@with_settings(*SERVER)
def recycled(
    settings: Settings,
    confirm: Annotated[
        str | None,
        typer.Option("--confirm", metavar="DIGEST", help="Retract the numbers of this batch at once."),
    ] = None,
    refuse: Annotated[
        str | None, typer.Option("--refuse", metavar="DIGEST", help="Keep the numbers of this batch listed.")
    ] = None,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why, with --confirm or --refuse.")] = None,
    idempotency_key: KeyOption = None,
    as_json: AsJson = False,
) -> None:
    """Show the batches of recycled numbers that wait for an officer, or answer one.

    So many numbers in a day are retracted at once when their operator says that they have a new owner. What is more
    waits here, by feed and recipient.
    """
    digest = confirm or refuse
    if (confirm is not None and refuse is not None) or (digest is None) != (reason is None):
        raise InvalidInput("give --confirm or --refuse with the digest of a batch, and --reason; or none of them")
    with settings.client() as exchange:
        if digest is None or reason is None:
            write_each(exchange.recycled_batches(), _batch_line, as_json=as_json)
            return
        made = exchange.answer_recycled(
            digest, confirm=confirm is not None, reason=reason, idempotency_key=idempotency_key
        )
    if as_json:
        write_model(made)
        return
    done = f"retracted {made.retracted} of {counted(made.numbers, 'number')}" if confirm else "kept them listed"
    write_line(f"{made.feed}, {made.recipient}: {done}")


def _batch_line(batch: "RecycledBatch") -> str:
    """A batch in one line, with what answers it."""
    cases = ", ".join(str(each.case) for each in batch.examples)
    home = "the home operator" if batch.is_home else "not the home operator of all of them"
    return (
        f"{batch.feed}: {counted(batch.numbers, 'number')} recycled according to {batch.recipient}, {home}, since "
        f"{moment(batch.since)}; {batch.bound} a day retract by themselves; cases {cases}. If this is right: blocklist "
        f"case recycled --confirm {batch.digest} --reason …"
    )


@app.command()
@with_settings(*SERVER)
def evidence(
    settings: Settings,
    case: CaseArgument,
    directory: FolderOption,
    original: OriginalOption = False,
    as_json: AsJson = False,
) -> None:
    """Download the evidence of all reports of a case, and verify each file."""
    with settings.client() as exchange:
        files = (file for report in exchange.case_reports(case) for file in report.evidence)
        fetch_evidence(exchange, files, directory, original=original, as_json=as_json)


_COLUMNS = ("case", "number", "state", "next", "category", "reports", "officer", "operator", "opened")


def _row(queued: "Queued") -> tuple[str, ...]:
    """A case in a table."""
    case = queued.case
    return (
        str(case.id),
        f"+{case.number}",
        f"{case.state}{', overdue' if case.overdue else ''}",
        queued.step or "-",
        case.category,
        f"{case.reports} by {case.reporters}",
        case.officer or "-",
        case.operator or "unknown",
        moment(case.opened_at) or "",
    )


def case_line(case: "Case") -> str:
    """A case in one line."""
    late = ", overdue" if case.overdue else ""
    reports = counted(case.reports, "report")
    through = f"{case.reporters} through {counted(case.accounts, 'account')}"
    return (
        f"case {case.id}, version {case.version}  +{case.number}  {case.state}{late}  {case.category}, "
        f"{case.operator or 'operator unknown'}; {reports} by {through}; opened {moment(case.opened_at)}, "
        f"{case.officer or 'no officer'}"
    )


def decision_line(decision: "Decision") -> str:
    """A decision in one line."""
    until = f", until {moment(decision.until)}" if decision.until else ""
    confirmed = f", confirmed by {decision.confirmed_by}" if decision.confirmed_by else ""
    return (
        f"decision {decision.id} on case {decision.case}: {decision.kind}, {decision.state}; {decision.category}, "
        f"{scope_text(frozenset(decision.scope))}{until}{', urgent' if decision.urgent else ''}; by {decision.officer} "
        f"on {moment(decision.decided_at)}{confirmed}: {decision.reason}"
    )


def _event_line(event: "Event") -> str:
    detail = ", ".join(f"{name} {_shown(value)}" for name, value in event.detail.items() if value is not None)
    return f"{moment(event.at)}  {event.event} by {event.actor}{f': {detail}' if detail else ''}"


def _shown(value: str | int | bool) -> str:
    return quoted(value) if isinstance(value, str) else str(value)
