"""The recipient's commands: ``sync``, ``status``, ``check``."""

import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from blocklist_sdk.cli.exit_codes import BLOCKED, ERRORS, FINE, USAGE
from blocklist_sdk.cli.output import (
    AsJson,
    in_colour,
    moment,
    say,
    scope_text,
    verdict_document,
    write_json,
)
from blocklist_sdk.cli.settings import LIST, SERVER, Settings, with_settings
from blocklist_sdk.errors import InvalidInput, InvalidNumber, NotSynced, Refused, Stale
from blocklist_sdk.records import Impact, Scope, Status, SyncResult, Verdict

RequireFresh = Annotated[
    bool,
    typer.Option("--require-fresh", help="Fail with exit code 5 if the list is past its signed expiry."),
]

MetricsFile = Annotated[
    Path | None,
    typer.Option(
        "--metrics-file",
        envvar="BLOCKLIST_METRICS_FILE",
        metavar="FILE",
        help="Write figures for Prometheus there, for node_exporter's textfile collector, after a sync that failed "
        "too; by default the file that BLOCKLIST_METRICS_FILE names, or none.",
    ),
]

_COLOURS = {"blocked": typer.colors.RED, "advisory": typer.colors.YELLOW, "free": typer.colors.GREEN}


@with_settings(*LIST, *SERVER)
def sync(
    settings: Settings,
    wait: Annotated[
        float,
        typer.Option(min=0, metavar="SECONDS", help="How long to wait while another process syncs; not with --watch."),
    ] = 60.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what a sync would change, and what the guard says; change nothing.")
    ] = False,
    accept: Annotated[
        int | None,
        typer.Option(metavar="SERIAL", help="Let this one release through, although the guard refuses it."),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Sync time and again, until SIGINT or SIGTERM, which end it with code 0.")
    ] = False,
    every: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="With --watch, the time between syncs: 1h (the default), 15m, 90s or 90."),
    ] = None,
    metrics_file: MetricsFile = None,
    as_json: AsJson = False,
) -> None:
    """Bring the list up to date; whatever fails, the last verified one goes on answering.

    With --watch the first sync comes at once if there is no list yet, or else at a random moment within the time
    between syncs; after failures that time grows, to a day at most. Each sync is one line.
    """
    from blocklist_sdk.cli.watch import MetricsListener, sync_until_told

    if every is not None and not watch:
        raise InvalidInput("--every says how often to sync: it goes with --watch")
    if watch and (dry_run or accept is not None):
        raise InvalidInput("--dry-run and --accept are for one sync by hand: leave --watch out")
    with settings.open(online=True) as blocklist:
        metrics = None if metrics_file is None else MetricsListener(blocklist, metrics_file)
        if watch:
            sync_until_told(blocklist, every=every or "1h", told=_told, as_json=as_json)
            return
        if dry_run:
            impact = blocklist.dry_run(wait_s=wait)
            if as_json:
                write_json({"feed": blocklist.feed, **asdict(impact)})
            else:
                typer.echo(_previewed(blocklist.feed, impact))
            raise typer.Exit(ERRORS[Refused] if impact.refusals else FINE)
        result = blocklist.sync(wait_s=wait, accept=accept)
    if as_json:
        write_json({"feed": blocklist.feed, **asdict(result)})
    else:
        typer.echo(_told(blocklist.feed, result))
    if metrics is not None and metrics.error is not None:
        raise metrics.error


@with_settings(*LIST)
def status(
    settings: Settings,
    require_fresh: RequireFresh = False,
    metrics_file: MetricsFile = None,
    as_json: AsJson = False,
) -> None:
    """Show how the list stands; never touches the network."""
    with settings.open() as blocklist:
        found = blocklist.status()
    if as_json:
        write_json(asdict(found))
    else:
        for name, value in _shown(found).items():
            typer.echo(f"{name:<17} {value}")
    if metrics_file is not None:
        from blocklist_sdk.recipient.metrics import write_metrics

        write_metrics(metrics_file, found)
    if require_fresh:
        _require_fresh(found)


@with_settings(*LIST)
def check(
    settings: Settings,
    numbers: Annotated[
        list[str], typer.Argument(metavar="NUMBER... | -", help="Numbers; - reads standard input, one number a line.")
    ],
    scope: Annotated[
        Scope | None, typer.Option(metavar="SCOPE", help="Ask for one scope only: voice, sms, data or messaging.")
    ] = None,
    require_fresh: RequireFresh = False,
    as_json: AsJson = False,
) -> None:
    """Ask what to do about numbers, and why; never touches the network.

    Exits with 1 if at least one number is blocked, else with 2 if at least one is no number, else with 0.

    With --json each answer is one line, in the order asked; what is no number has "error" in place of a verdict.
    """
    with settings.open() as blocklist:
        found = blocklist.status()
        if found.serial is None:
            raise NotSynced(f"feed {found.feed!r} was never synced on this machine: run blocklist sync first")
        if require_fresh:
            _require_fresh(found)
        code = FINE
        coloured = in_colour(sys.stdout)
        for where, text in _asked(numbers):
            try:
                verdict = blocklist.check(text, scope=scope)
            except InvalidNumber as error:
                code = code or USAGE
                if as_json:
                    write_json({"input": text, "error": {"type": type(error).__name__, "message": str(error)}})
                else:
                    say(f"{where}{error}")
                continue
            if verdict.blocked:
                code = BLOCKED
            if as_json:
                write_json(verdict_document(text, verdict))
            else:
                typer.echo(_line(verdict, coloured=coloured))
    raise typer.Exit(code)


def _asked(numbers: list[str]) -> Iterator[tuple[str, str]]:
    """Each text to ask about, and where it stands, for messages; standard input is read as it comes."""
    for number in numbers:
        if number != "-":
            yield "", number
            continue
        if sys.stdin is None:
            raise InvalidInput("standard input is closed: give the numbers, or something to read them from")
        for place, line in enumerate(sys.stdin.buffer, start=1):
            # What is no UTF-8 is no number either, and is reported as such.
            text = line.decode(errors="replace").strip("\r\n")
            if text.strip():
                yield f"line {place}: ", text


def _line(verdict: Verdict, *, coloured: bool) -> str:
    """One verdict for the eye, in columns."""
    word = "blocked" if verdict.blocked else verdict.level or "free"
    parts = [
        typer.style(f"{word:<8}", fg=_COLOURS[word]) if coloured else f"{word:<8}",
        f"{'+' + str(verdict.number):<16}",
        f"{verdict.reason:<10}",
    ]
    for entry in verdict.entries:
        until = f", until {moment(entry.until)}" if entry.until else ""
        parts.append(
            f"[entry {entry.entry}: {entry.level}, {entry.category}, {entry.issuer}, {scope_text(entry.scope)}{until}]"
        )
    return "  ".join(parts).rstrip()


def _told(feed: str, result: SyncResult) -> str:
    if result.kind == "none":
        news = f"up to date at release {result.after}"
    else:
        way = f"release {result.after}" if result.before is None else f"release {result.before} → {result.after}"
        news = f"{way} by {result.kind}: {result.added:,} added, {result.removed:,} removed, {result.changed:,} changed"
    return f"{feed}: {news} ({result.bytes:,} bytes, {result.seconds:.2f} s)"


def _previewed(feed: str, impact: Impact) -> str:
    way = f"{impact.before or 'nothing'} → {impact.after}"
    lines = [f"{feed}: release {way}, {impact.rows_before:,} → {impact.rows_after:,} entries"]
    parts = [("all", impact.total), *(("category " + name, tally) for name, tally in impact.by_category.items())]
    parts += [("operator " + (name or "unknown"), tally) for name, tally in impact.by_operator.items()]
    width = max(len(name) for name, _ in parts)
    for name, tally in parts:
        lines.append(
            f"  {name:<{width}}  {tally.added:>10,} added  {tally.removed:>10,} removed  {tally.changed:>10,} changed"
        )
    for override in impact.overrides:
        lines.append(f"  touches the override to {override.decision} +{override.number}: {override.reason}")
    for number in impact.protected:
        lines.append(f"  would block the protected number +{number}")
    for reason in impact.refusals:
        lines.append(f"  the guard refuses it: {reason}")
    if impact.refusals:
        lines.append(f"  to let it through all the same: blocklist sync --accept {impact.after}")
    return "\n".join(lines)


def _shown(found: Status) -> dict[str, object]:
    """A status for the eye."""
    return {
        "feed": found.feed,
        "serial": "never synced" if found.serial is None else found.serial,
        "rows": "-" if found.rows is None else f"{found.rows:,}",
        "digest": found.digest or "-",
        "as of": moment(found.as_of) or "-",
        "expires": f"{moment(found.expires) or 'unknown'}{' (stale)' if found.stale else ''}",
        "generation bytes": "-" if found.generation_bytes is None else f"{found.generation_bytes:,}",
        "last success": moment(found.last_success) or "never",
        "last attempt": moment(found.last_attempt) or "never",
        "last error": found.last_error or "none",
        "refused": "none" if found.refused is None else f"release {found.refused}: {'; '.join(found.refusals)}",
        "overrides": f"{found.overrides:,}",
        "on disk": f"releases {', '.join(map(str, found.generations)) or 'none'}; {found.disk_bytes:,} bytes",
        "held": ", ".join(f"{name} at {serial}" for name, serial in found.held.items()) or "none",
    }


def _require_fresh(found: Status) -> None:
    if found.serial is None:
        raise Stale(f"feed {found.feed!r} was never synced on this machine: run blocklist sync")
    if found.stale:
        raise Stale(
            f"the list of feed {found.feed!r} is past its signed expiry ({moment(found.expires) or 'unknown'}): "
            "run blocklist sync; if that does not help, the publisher is late",
            expired=found.expires,
        )
