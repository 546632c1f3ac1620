"""The recipient's commands: ``sync``, ``status``, ``check``."""

import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from blocklist_sdk.cli.exit_codes import BLOCKED, ERRORS, FINE, USAGE
from blocklist_sdk.cli.inputs import standard_input
from blocklist_sdk.cli.output import (
    AsJson,
    RequireFresh,
    in_colour,
    moment,
    numbers_text,
    say,
    scope_text,
    verdict_document,
    write_json,
    write_line,
    write_lines,
)
from blocklist_sdk.cli.settings import BUNDLE, FILES, LIST, SERVER, Settings, with_settings
from blocklist_sdk.encodings import without_mark
from blocklist_sdk.errors import InvalidInput, InvalidNumber, NotSynced, Refused, Stale, why_not_synced, why_stale
from blocklist_sdk.records import Impact, Scope, Status, SyncResult, Verdict
from blocklist_sdk.release.fingerprint import spoken
from blocklist_sdk.release.published import clock_behind_text
from blocklist_sdk.release.release_id import FIRST_ERA, ReleaseId
from blocklist_sdk.texts import counted, displayable

MetricsFile = Annotated[
    Path | None,
    typer.Option(
        "--metrics-file",
        envvar="BLOCKLIST_METRICS_FILE",
        metavar="FILE",
        help="Write figures for Prometheus to this file, for node_exporter's textfile collector, after failed syncs "
        "as well; by default the file that BLOCKLIST_METRICS_FILE names, or none.",
    ),
]

_COMMENT = "#"
"""Begins a line of standard input that is no number."""

_DAMAGED = " (damaged: the next sync fetches the list again)"

_COLOURS = {"blocked": typer.colors.RED, "advisory": typer.colors.YELLOW, "free": typer.colors.GREEN}


@with_settings(*LIST, *FILES, *SERVER, guard="sync")
def sync(
    settings: Settings,
    wait: Annotated[
        float,
        typer.Option(min=0, metavar="SECONDS", help="How long to wait while another process syncs; not with --watch."),
    ] = 60.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what a sync would change, and whether the guard lets it through.")
    ] = False,
    accept: Annotated[
        str | None,
        typer.Option(
            metavar="[ERA.]SERIAL[:DIGEST]",
            help="Put this one list in force although the guard refuses it: a release that was refused on this "
            "machine, or, with the digest that the refusal shows, on any other.",
        ),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Sync again and again, until SIGINT or SIGTERM; then exit with code 0.")
    ] = False,
    every: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="With --watch, the time between syncs: 1h (the default), 15m, 90s or 90."),
    ] = None,
    metrics_file: MetricsFile = None,
    as_json: AsJson = False,
) -> None:
    """Bring the list up to date; whatever fails, the last verified list stays in force.

    With --watch the first sync runs at once if the feed was never synced, or else at a random moment within the time
    between syncs; after failures that time grows, to a day at most. Each sync writes one line.

    After that line, with the release in force, the list on this disk is looked after: what changed is made one with it,
    and bytes that are due are read again. If the disk fails then, that is said, and the exit code is 74. If a part of
    the list is damaged, it is fetched again, and the exit code says how that went.
    """
    from blocklist_sdk.cli.watch import MetricsListener, sync_until_stopped

    if every is not None and not watch:
        raise InvalidInput("--every is the time between syncs: use it with --watch")
    if watch and (dry_run or accept is not None):
        raise InvalidInput("--dry-run and --accept are for a single sync: leave --watch out")
    if dry_run and accept is not None:
        raise InvalidInput("--dry-run puts nothing in force: leave --accept out, or --dry-run")
    with settings.open(online=True) as blocklist:
        metrics = None if metrics_file is None else MetricsListener(blocklist, metrics_file, settings.access())
        if watch:
            sync_until_stopped(blocklist, every=every or "1h", line=sync_line, as_json=as_json)
            return
        if dry_run:
            impact = blocklist.dry_run(wait_s=wait)
            if as_json:
                write_json({"feed": blocklist.feed, **asdict(impact)})
            else:
                write_lines(_impact_lines(blocklist.feed, impact))
            raise typer.Exit(ERRORS[Refused] if impact.refusals else FINE)
        result = blocklist.sync(wait_s=wait, accept=accept)
        if as_json:
            write_json({"feed": blocklist.feed, **asdict(result)})
        else:
            write_line(sync_line(blocklist.feed, result))
        if accept is not None and int(accept.partition(":")[0].rpartition(".")[2]) != result.after:
            say(f"--accept {accept} was not used: the publisher offers release {_after(result)}, which is in force")
        if blocklist.upkeep().is_damaged:
            # Perhaps nobody syncs before tomorrow.
            say(f"{blocklist.feed}: a part of the list on this disk is damaged, so it is fetched again")
            say(sync_line(blocklist.feed, blocklist.sync(wait_s=wait)))
    if metrics is not None and metrics.error is not None:
        raise metrics.error


@with_settings(*LIST, *BUNDLE, *FILES)
def status(
    settings: Settings,
    require_fresh: RequireFresh = False,
    metrics_file: MetricsFile = None,
    as_json: AsJson = False,
) -> None:
    """Show the state of the list; does not use the network."""
    with settings.open_to_ask() as blocklist:
        state, root, version = blocklist.status(), blocklist.root_fingerprint, blocklist.root_version
    if as_json:
        write_json({**asdict(state), "root_fingerprint": root, "root_version": version})
    else:
        for name, value in _status_lines(state).items():
            write_line(f"{name:<17} {value}")
        write_line(f"{'root pinned':<17} version {version or 'unknown: it is not root metadata'}")
        for name, line in zip(("root fingerprint", "", "", ""), spoken(root), strict=True):
            write_line(f"{name:<17} {line}")
    if metrics_file is not None:
        from blocklist_sdk.recipient.metrics import write_metrics

        its_access = settings.access()
        write_metrics(metrics_file, state, group=its_access.group, file_mode=its_access.file_mode)
    if require_fresh:
        _require_fresh(state)


@with_settings(*LIST, *BUNDLE)
def check(
    settings: Settings,
    numbers: Annotated[
        list[str],
        typer.Argument(
            metavar="NUMBER... | -", help="Numbers; - reads standard input, one number a line, # for a comment."
        ),
    ],
    scope: Annotated[
        Scope | None, typer.Option(metavar="SCOPE", help="Check for one scope only: voice, sms, data or messaging.")
    ] = None,
    require_fresh: RequireFresh = False,
    as_json: AsJson = False,
) -> None:
    """Say whether numbers are blocked, and why; does not use the network.

    Exits with 1 if at least one number is blocked, else with 2 if at least one text is not a number, else with 0.

    With --json each answer is one line, in the same order; a text that is not a number gets "error", not a verdict.
    """
    with settings.open_to_ask() as blocklist:
        state = blocklist.status()
        if state.serial is None:
            raise NotSynced(_why_not_synced(state))
        if require_fresh:
            _require_fresh(state)
        code = FINE
        coloured = in_colour(sys.stdout)
        for where, text in _questions(numbers):
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
                typer.echo(_verdict_line(verdict, scope, coloured=coloured))
    raise typer.Exit(code)


def _questions(numbers: list[str]) -> Iterator[tuple[str, str]]:
    """Where each text is, for messages, and the text; standard input is read line by line, without comments."""
    for number in numbers:
        if number != "-":
            yield "", number
            continue
        for line_number, line in enumerate(standard_input(), start=1):
            if line_number == 1:
                line = without_mark(line, "standard input")
            # Text that is not UTF-8 is not a number either, and the message says so.
            text = line.decode(errors="replace").strip("\r\n")
            if text.strip() and not text.lstrip().startswith(_COMMENT):
                yield f"standard input, line {line_number}: ", text


def _verdict_line(verdict: Verdict, scope: str | None, *, coloured: bool) -> str:
    """One verdict for people, in columns."""
    word = "blocked" if verdict.blocked else verdict.level or "free"
    parts = [
        f"{'+' + str(verdict.number):<16}",
        f"{verdict.reason:<10}",
    ]
    for entry in verdict.entries:
        until = f", until {moment(entry.until)}" if entry.until else ""
        parts.append(
            f"[entry {entry.entry}: {entry.level}, {entry.category}, {entry.issuer}, {scope_text(entry.scope)}{until}]"
        )
    if verdict.clock_behind_s is not None:
        parts.append(f"(this machine's clock is {timedelta(seconds=verdict.clock_behind_s)} behind)")
    if verdict.scope_listed is False:
        parts.append(f"(no entry on the list has the scope {scope})")
    styled = typer.style(f"{word:<8}", fg=_COLOURS[word]) if coloured else f"{word:<8}"
    return f"{styled}  {displayable('  '.join(parts)).rstrip()}"


def sync_line(feed: str, result: SyncResult) -> str:
    """What a sync has changed, for people."""
    after = _after(result)
    if result.kind == "none":
        news = f"up to date at release {after}"
    else:
        before = None if result.before is None else ReleaseId(result.before_era or FIRST_ERA, result.before)
        way = f"release {after}" if before is None else f"release {before} → {after}"
        news = f"{way} by {result.kind}: {result.added:,} added, {result.removed:,} removed, {result.changed:,} changed"
    return f"{feed}: {news} ({counted(result.bytes, 'byte')}, {result.seconds:.2f} s)"


def _after(result: SyncResult) -> ReleaseId:
    return ReleaseId(result.era, result.after)


def _impact_lines(feed: str, impact: Impact) -> list[str]:
    before = "nothing" if impact.before is None else ReleaseId(impact.before_era or FIRST_ERA, impact.before)
    after_id = ReleaseId(impact.era, impact.after)
    way = f"{before} → {after_id}"
    after = counted(impact.rows_after, "entry", "entries")
    lines = [f"{feed}: release {way}, {impact.rows_before:,} → {after}", f"  digest {impact.digest}"]
    parts = [("all", impact.total), *(("category " + name, tally) for name, tally in impact.by_category.items())]
    parts += [("operator " + (name or "unknown"), tally) for name, tally in impact.by_operator.items()]
    width = max(len(name) for name, _ in parts)
    for name, tally in parts:
        lines.append(
            f"  {name:<{width}}  {tally.added:>10,} added  {tally.removed:>10,} removed  {tally.changed:>10,} changed"
        )
    for override in impact.overrides:
        lines.append(f"  concerns your override to {override.decision} {numbers_text(override)}: {override.reason}")
    for number in impact.protected:
        lines.append(f"  would block the protected number +{number}")
    for reason in impact.refusals:
        lines.append(f"  the guard refuses it: {reason}")
    if impact.refusals:
        lines.append(f"  to put it in force anyway: blocklist sync --accept {after_id}:{impact.digest}")
    return lines


def _scope_in(state: Status, scope: str) -> str:
    """A scope, and how many entries have it unless all do."""
    count = state.scope_entries.get(scope)
    if count is None or count == state.rows:
        return scope
    return f"{scope} ({count:,} of {counted(state.rows or 0, 'entry', 'entries')})"


def _status_lines(state: Status) -> dict[str, object]:
    """A status for people."""
    on_disk = [ReleaseId(*each) for each in zip(state.generation_eras, state.generations, strict=True)]
    held = {name: ReleaseId(state.held_eras[name], serial) for name, serial in state.held.items()}
    refused = None if state.refused is None else ReleaseId(state.refused_era or FIRST_ERA, state.refused)
    about_list: dict[str, object] = {
        "feed": state.feed,
        "serial": _serial_line(state),
        "rows": "-" if state.rows is None else f"{state.rows:,}",
        "scopes": ", ".join(map(partial(_scope_in, state), state.scopes)) or "-",
        "digest": state.digest or "-",
        "as of": moment(state.as_of) or "-",
        "expires": f"{moment(state.expires) or 'unknown'}{' (stale)' if state.stale else ''}",
        "clock": _clock_line(state),
        "last read whole": f"{moment(state.whole_at) or 'not yet'}{_DAMAGED if state.damaged else ''}",
        "generation bytes": "-" if state.generation_bytes is None else f"{state.generation_bytes:,}",
    }
    overrides = {"overrides": f"{state.overrides:,}"}
    if state.bundle is not None:
        return about_list | overrides | {"bundle": state.bundle}
    return {
        **about_list,
        "last success": moment(state.last_success) or "never",
        "last attempt": moment(state.last_attempt) or "never",
        "last error": state.last_error or "none",
        **({} if state.audit_warning is None else {"audit trail": state.audit_warning}),
        "refused": "none" if refused is None else f"release {refused}: {'; '.join(state.refusals)}",
        "refused digest": state.refused_digest or "-",
        **overrides,
        "on disk": f"releases {', '.join(map(str, on_disk)) or 'none'}; {state.disk_bytes:,} bytes",
        "kept": ", ".join(f"{name} at {release}" for name, release in held.items()) or "none",
    }


def _serial_line(state: Status) -> str:
    if state.serial is not None:
        return str(ReleaseId(state.era or FIRST_ERA, state.serial))
    return f"none{_DAMAGED}" if state.generations else "never synced"


def _clock_line(state: Status) -> str:
    """What is known of this machine's clock."""
    if state.clock_behind_s is not None:
        return clock_behind_text(state.clock_behind_s)
    return "-" if state.serial is None else "not known to be behind"


def _why_not_synced(state: Status) -> str:
    return why_not_synced(state.feed, state.last_error, is_on_disk=bool(state.generations))


def _require_fresh(state: Status) -> None:
    if state.serial is None:
        raise Stale(_why_not_synced(state))
    if state.clock_behind_s is not None:
        raise Stale(f"feed {state.feed}: {clock_behind_text(state.clock_behind_s)}")
    if state.stale:
        why = why_stale(state.feed, moment(state.expires), is_bundle=state.bundle is not None)
        raise Stale(why, expired=state.expires)
