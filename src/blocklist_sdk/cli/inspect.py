"""``blocklist explain``, ``verify``, ``changes``: why a number is blocked, whether the list is whole, what is new."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from blocklist_sdk.cli.exit_codes import BLOCKED, ERRORS, FINE
from blocklist_sdk.cli.export import write_table
from blocklist_sdk.cli.output import (
    AsJson,
    entry_document,
    moment,
    numbers_text,
    say,
    scope_text,
    verdict_document,
    write_json,
    write_line,
    write_lines,
)
from blocklist_sdk.cli.settings import BUNDLE, LIST, Settings, with_settings
from blocklist_sdk.cli.text_tables import LimitOption, limited, say_more
from blocklist_sdk.disk import replaced, sync_file
from blocklist_sdk.errors import InvalidInput, Untrusted
from blocklist_sdk.recipient.audit import record_of_directory
from blocklist_sdk.recipient.blocklist import internals_of
from blocklist_sdk.records import Entry, Explanation, Scope
from blocklist_sdk.release.audit import AuditRecord
from blocklist_sdk.release.published import clock_behind_text
from blocklist_sdk.release.release_id import ReleaseId
from blocklist_sdk.texts import counted

_REASONS = {
    "protected": "the number is protected, so it is never blocked",
    "override-allow": "you decided to allow it",
    "override-block": "you decided to block it",
    "listed": "an entry that blocks is in force",
    "advisory": "an advisory is in force, which does not block",
    "expired": "its entries have ended",
    "not-yet": "its entries have not begun",
    "not-listed": "it is not listed",
}


@with_settings(*LIST, *BUNDLE)
def explain(
    settings: Settings,
    number: Annotated[str, typer.Argument(metavar="NUMBER", help="The number, as people write it.")],
    scope: Annotated[
        Scope | None, typer.Option(metavar="SCOPE", help="Explain for one scope only: voice, sms, data or messaging.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say how a number is read, and everything that decides on it; does not use the network.

    Exits with 1 if it is blocked.
    """
    with settings.open_to_ask() as blocklist:
        found = blocklist.explain(number, scope=scope)
    if as_json:
        names = ("region", "other_number", "is_valid", "operator", "brand", "signers")
        write_json(verdict_document(number, found.verdict) | {name: getattr(found, name) for name in names})
    else:
        write_lines(_explained(found, scope))
    raise typer.Exit(BLOCKED if found.verdict.blocked else FINE)


def _explained(explanation: Explanation, scope: str | None) -> list[str]:
    verdict = explanation.verdict
    where = f"in region {explanation.region}" if explanation.region else "as an international number"
    validity = (
        "valid in its country's plan" if explanation.is_valid else "possible, though not valid in its country's plan"
    )
    operator = explanation.operator or "unknown"
    lines = [
        f"{explanation.text} is +{explanation.number}, read {where}; {validity}",
        f"operator: {operator}{f' ({explanation.brand})' if explanation.brand else ''}",
        f"verdict: {'blocked' if verdict.blocked else 'not blocked'}{f' for {scope}' if scope else ''}, "
        f"because {_REASONS[verdict.reason]}",
    ]
    if verdict.scope_listed is False:
        lines.append(f"no entry on the list has the scope {scope}, whatever the number: the feed may be the wrong one")
    if explanation.other_number is not None:
        lines.insert(
            1, f"in the other form, it would be +{explanation.other_number}: declare the form with --form to be sure"
        )
    if verdict.override is not None:
        override = verdict.override
        until = f", until {moment(override.until)}" if override.until else ""
        numbers = "" if override.last is None else f" of {numbers_text(override)}"
        lines.append(
            f"override: {override.decision}{numbers}, by {override.author} on {moment(override.created)}{until}"
        )
        lines.append(f"  reason: {override.reason}")
    lines.append(
        f"feed {verdict.feed}, release {ReleaseId(verdict.era, verdict.serial)} of {moment(verdict.as_of)}"
        f"{', past its signed expiry' if verdict.stale else ''}, "
        f"signed by {', '.join(explanation.signers) or 'unknown'}"
    )
    if verdict.clock_behind_s is not None:
        lines.append(clock_behind_text(verdict.clock_behind_s))
    lines += [f"  {_entry_line(entry)}" for entry in verdict.entries] or ["  no entry covers it"]
    return lines


def _entry_line(entry: Entry) -> str:
    numbers = f"+{entry.number}" if entry.last is None else f"+{entry.number} to +{entry.last}"
    until = moment(entry.until) or "no end"
    return (
        f"entry {entry.entry}: {entry.level}, {entry.category}, by {entry.issuer}, {scope_text(entry.scope)}, "
        f"{numbers}, from {moment(entry.since)}, until {until}"
    )


@with_settings(*LIST, *BUNDLE)
def verify(
    settings: Settings,
    audit: Annotated[
        bool,
        typer.Option(
            "--audit",
            help="Check instead the audit heads that were seen here, of all feeds in the same state directory: whether "
            "releases contradict each other about the exchange's audit trail.",
        ),
    ] = False,
    export: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="With --audit, write these heads as JSON lines, for `blocklist exchange verify --heads`; - for "
            "standard output.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check the list on this disk: every byte, its digest, and the signatures from root.json down.

    Does not use the network. Exits with 4 if anything is not as it was signed, or releases contradict each other.
    """
    if export is not None and not audit:
        raise InvalidInput("--export writes the audit heads: use it with --audit")
    if export == "-" and as_json:
        raise InvalidInput("--export - and --json both write to standard output: leave one of them out")
    with settings.open_to_ask() as blocklist:
        if audit:
            _verify_audit(record_of_directory(internals_of(blocklist).audit_file), export, as_json=as_json)
            return
        found = blocklist.verify()
    release = ReleaseId(found.era, found.serial)
    if as_json:
        write_json({**asdict(found), "ok": bool(found)})
    elif found:
        entries = counted(found.rows, "entry", "entries")
        write_line(f"{found.feed}: release {release}, {entries}, digest {found.digest}: as it was signed")
    for problem in found.problems:
        say(f"release {release} of {found.feed}: {problem}")
    if found.problems:
        raise typer.Exit(ERRORS[Untrusted])


def _verify_audit(record: AuditRecord, export: str | None, *, as_json: bool) -> None:
    """Write the heads that were seen, and what is wrong with them."""
    lines = (json.dumps(seen.document()) for seen in record.heads)
    if export == "-":
        write_lines(lines)
    elif export is not None:
        with replaced(Path(export)) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            sync_file(temporary)
    if as_json:
        heads = [seen.document() for seen in record.heads]
        write_json({"heads": heads, "problems": record.problems, "ok": bool(record)})
    if not record.heads:
        say("no release that was seen here had an audit head: its publisher is no exchange, or an older one")
    elif record and not as_json:
        feeds = sorted({seen.feed for seen in record.heads})
        longest = max(seen.length for seen in record.heads)
        text = (
            f"{', '.join(feeds)}: {counted(len(record.heads), 'audit head')}, up to {longest:,} lines, of which none "
            "contradicts another"
        )
        say(text) if export == "-" else write_line(text)
    for problem in record.problems:
        say(problem)
    if record.problems:
        raise typer.Exit(ERRORS[Untrusted])


@with_settings(*LIST)
def changes(
    settings: Settings,
    since: Annotated[
        str,
        typer.Option(
            metavar="[ERA.]SERIAL", help="The earlier release, with its era if the feed's keys were replaced; 0: none."
        ),
    ],
    format_: Annotated[
        Literal["csv", "jsonl"], typer.Option("--format", metavar="FORMAT", help="csv or jsonl.")
    ] = "csv",
    limit: LimitOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Like --format jsonl, with overrides.")] = False,
) -> None:
    """Write what differs between an earlier release and the one in force; does not use the network."""
    since_serial, since_era = None, None
    if since != "0":
        named = ReleaseId.parse(since)
        since_serial, since_era = named.serial, named.era
    with settings.open() as blocklist:
        found = blocklist.changes(since=since_serial, era=since_era)
        if not as_json:
            table: Any = found.to_arrow()
            write_table(table if limit is None else table.slice(0, limit), format_, sys.stdout.buffer)
            if limit is not None and len(table) > limit:
                say_more(limit)
            return
        for change in limited(found, limit):
            write_json(_change_document(change))


def _change_document(change: Any) -> dict[str, Any]:
    return {
        "change": change.kind,
        **entry_document(change.entry),
        "before": change.before and entry_document(change.before),
        "override": change.override and change.override.decision,
        "protected": change.protected,
        "overrides": [asdict(override) for override in change.overrides],
    }
