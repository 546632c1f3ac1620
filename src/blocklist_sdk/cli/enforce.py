"""``blocklist enforce``: carry a list into a sink."""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from blocklist_sdk import times
from blocklist_sdk.cli.exit_codes import BLOCKED, FINE, MEANINGS, enforcement_code
from blocklist_sdk.cli.messages import say_bug
from blocklist_sdk.cli.output import AsJson, moment, say, write_json
from blocklist_sdk.cli.settings import FILES, LIMITS, LIST, SERVER, SINK, Settings, with_settings
from blocklist_sdk.cli.signals import StopOnSignal
from blocklist_sdk.cli.watch import duration
from blocklist_sdk.enforcement.settings import DEFAULTS, EnforcementSettings
from blocklist_sdk.errors import BlocklistError, InvalidInput
from blocklist_sdk.recipient.sync.schedule import ASKED_INTERVALS_MAX
from blocklist_sdk.texts import counted

if TYPE_CHECKING:
    from blocklist_sdk.enforcement import Drift, EnforcementResult, Sink
    from blocklist_sdk.recipient.blocklist import Blocklist

_BACKOFF_MAX_S: Final = 3600.0

_DOUBLINGS_MAX: Final = 64
"""More doublings would exceed the longest wait from any interval, and in the end the largest float."""

_DONE: Final = {"reversed": "unblocked"}
"""What a line for people calls an outcome, where receipts have another word for it."""


@with_settings(*LIST, *FILES, *SERVER, *SINK, *LIMITS["sync"], guard="enforce")
def enforce(
    settings: Settings,
    sink: Annotated[
        str,
        typer.Option(
            envvar="BLOCKLIST_SINK",
            metavar="URL",
            help="The sink: a file:, https:, postgresql:, redis: or kafka: URL, or a plug-in's. Its password "
            "belongs elsewhere: --sink-password-file.",
        ),
    ],
    name: Annotated[
        str, typer.Option(metavar="NAME", help="The sink's name, under which its ledger is kept.")
    ] = "default",
    batch: Annotated[
        int, typer.Option(min=1, metavar="N", help="The most changes that go to the sink together.")
    ] = DEFAULTS.batch,
    scope: Annotated[
        list[str] | None, typer.Option(metavar="SCOPE", help="Enforce only this scope; may be repeated.")
    ] = None,
    only_operator: Annotated[
        list[str] | None,
        typer.Option(metavar="OPERATOR", help="Enforce only numbers of this operator; may be repeated."),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(metavar="N", help="The most changes per second, in batches of one second, at least 100 changes."),
    ] = None,
    daily_cap: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="N", help="The most blocks and changes per day, UTC; what lifts something never waits."
        ),
    ] = None,
    tries: Annotated[
        int, typer.Option(min=1, metavar="N", help="Number of failures after which a change is set aside.")
    ] = DEFAULTS.tries,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")] = False,
    reconcile: Annotated[
        bool, typer.Option("--reconcile", help="Compare the sink with what it should hold; exits with 1 if it differs.")
    ] = False,
    repair: Annotated[bool, typer.Option("--repair", help="With --reconcile: repair what differs.")] = False,
    adopt: Annotated[
        bool,
        typer.Option("--adopt", help="The ledger belongs to this sink from now on, which has taken another's place."),
    ] = False,
    accept: Annotated[
        bool, typer.Option("--accept", help="Let this run's unexplained changes through, which wait otherwise.")
    ] = False,
    receipts: Annotated[
        bool, typer.Option("--receipts", help="Send the receipts to the exchange, with the account of the settings.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Sync and enforce again and again, until SIGINT or SIGTERM.")
    ] = False,
    every: Annotated[
        str, typer.Option(metavar="TIME", help="With --watch, the time between syncs: 15m, 1h, 90s or 90.")
    ] = "15m",
    as_json: AsJson = False,
) -> None:
    """Bring a sink to what is in force: entries, overrides, protected numbers and ends. With --watch it syncs, too.

    Unblocks go first. What the sink acknowledges is saved batch by batch: if a run is interrupted, or the sink is
    unavailable, the next run continues.
    """
    from blocklist_sdk.enforcement import enforce as run
    from blocklist_sdk.enforcement import reconcile as compare
    from blocklist_sdk.recipient.sync.schedule import interval

    if repair and not reconcile:
        raise InvalidInput("--repair needs --reconcile")
    if repair and dry_run:
        raise InvalidInput(
            "--repair cannot be combined with --dry-run: leave --repair out, and the sink is only compared"
        )
    if reconcile and adopt:
        raise InvalidInput("--adopt cannot be combined with --reconcile: --reconcile --repair binds the ledger itself")
    if reconcile and accept and not repair:
        raise InvalidInput("--accept needs a run: --reconcile alone only compares, so add --repair or leave one out")
    if watch and (reconcile or dry_run or accept or adopt):
        raise InvalidInput("--watch cannot be combined with --reconcile, --dry-run, --accept or --adopt")
    settings = settings.complete()
    limits: dict[str, Any] = settings.limits("enforce")
    options = settings.sink_options(sink)
    how = EnforcementSettings(
        batch=batch,
        scopes=scope or None,
        only_operator="+".join(only_operator) if only_operator else None,
        rate=rate,
        daily_cap=daily_cap,
        tries=tries,
        **limits,
    )
    seconds = interval(duration(every)).total_seconds()
    with contextlib.ExitStack() as stack:
        blocklist = stack.enter_context(settings.open(online=watch, writes=True))
        # A run that is refused, or only looks, must not leave a ledger or anything else.
        begins = not dry_run and (repair or not reconcile)
        opened = stack.enter_context(_opened(sink, blocklist, name, options, must_be_read=reconcile, begins=begins))
        exchange = stack.enter_context(settings.client()) if receipts else None
        enforce_once = partial(run, blocklist, opened, name=name, settings=how, receipts=exchange, dry_run=dry_run)
        if reconcile:
            _say_unlisted_scopes(blocklist, how)
            drift = compare(blocklist, opened, name=name, settings=how, repair=repair)
            repaired = enforce_once(accept=accept) if repair else None
            _show_drift(drift, repaired, name, as_json=as_json)
        elif watch:
            release = None
            for result in _rounds(blocklist, enforce_once, seconds):
                if result.release != release:
                    release = result.release
                    _say_unlisted_scopes(blocklist, how)
                _show(result, name, as_json=as_json)
                _say_clock(result)
                _say_code(result)
        else:
            _say_unlisted_scopes(blocklist, how)
            result = enforce_once(accept=accept, adopt=adopt)
            _show(result, name, as_json=as_json)
            _check(result)


@contextlib.contextmanager
def _opened(
    url: str, blocklist: "Blocklist", name: str, options: Mapping[str, Any], *, must_be_read: bool, begins: bool
) -> Iterator["Sink"]:
    """Open a sink, and check that it can be used so.

    Args:
        url: the sink's URL.
        blocklist: the list that is enforced.
        name: the sink's name.
        options: of `open_sink`, beside the URL.
        must_be_read: whether it is to be read.
        begins: whether its ledger is begun if there is none yet.
    """
    from blocklist_sdk.enforcement import ledger_id, open_sink
    from blocklist_sdk.enforcement.paths import known_ledger_id
    from blocklist_sdk.enforcement.reconciliation import check_readable
    from blocklist_sdk.enforcement.shadow import check_name

    ledger = known_ledger_id(blocklist, name)
    with contextlib.closing(open_sink(url, feed=blocklist.feed, ledger=ledger, **options)) as sink:
        check_name(sink, name)
        if must_be_read:
            check_readable(sink)
        if ledger is not None or not begins:
            yield sink
            return
    with contextlib.closing(open_sink(url, feed=blocklist.feed, ledger=ledger_id(blocklist, name), **options)) as sink:
        yield sink


def _rounds(
    blocklist: "Blocklist", enforce_once: Callable[[], "EnforcementResult"], interval: float
) -> Iterator["EnforcementResult"]:
    """Sync and enforce until SIGINT or SIGTERM; after failures, with longer and longer waits."""
    failures = 0
    with StopOnSignal() as stop:
        while True:
            try:
                blocklist.sync()
            except BlocklistError as error:
                say(f"the sync failed, so the list that is in force is enforced: {error}")
            except Exception as error:  # noqa: BLE001 -- what ends, and what you allow, is lifted all the same
                say_bug(error)
                say("the sync failed, so the list that is in force is enforced")
            try:
                result = enforce_once()
                yield result
                failures, wait = 0, min(interval, _seconds_to(result.next_change))
            except InvalidInput:
                raise
            except BlocklistError as error:
                failures += 1
                asked = getattr(error, "retry_after", None) or 0.0
                # Nobody signs this wish, and meanwhile nothing is lifted.
                wait = max(min(asked, ASKED_INTERVALS_MAX * interval), _backoff_s(interval, failures))
                say(f"{error} The next try is in {wait:.0f} s.")
            if stop.wait(wait):
                return


def _backoff_s(interval: float, failures: int) -> float:
    """How long to wait after so many failures in a row, seconds; twice the interval, and then twice as long each."""
    return min(interval * 2.0 ** min(failures, _DOUBLINGS_MAX), max(interval, _BACKOFF_MAX_S))


def _seconds_to(moment: datetime | None) -> float:
    """The time until a moment, seconds; infinite if it never comes."""
    return math.inf if moment is None else max(0.0, (moment - times.now()).total_seconds())


def _say_unlisted_scopes(blocklist: "Blocklist", settings: EnforcementSettings) -> None:
    """Say that no entry has a scope that is enforced: it may be the wrong scope, or the wrong feed."""
    state = blocklist.status()
    if settings.scopes is None or not state.rows or not set(settings.scopes).isdisjoint(state.scopes):
        return
    say(
        f"no entry on the list has the scope {' or '.join(settings.scopes)}, so nothing of it is blocked: its entries "
        f"have {', '.join(state.scopes)}. Correct --scope, or ask the publisher which feed is for you"
    )


def _show_drift(drift: "Drift", repaired: "EnforcementResult | None", name: str, *, as_json: bool) -> None:
    if as_json:
        write_json(asdict(drift) | {"repaired": None if repaired is None else asdict(repaired)})
    else:
        typer.echo(_drift_line(drift))
    if repaired is not None:
        if not as_json:
            typer.echo(_line(repaired))
        _say_refused_receipts(repaired, name)
        _check(repaired)
    elif drift:
        raise typer.Exit(BLOCKED)


def _drift_line(drift: "Drift") -> str:
    if not drift:
        return f"the sink holds just what it should: {counted(drift.items, 'item')}"
    return (
        f"the sink differs: {drift.missing:,} missing, {drift.surplus:,} too many, {drift.differing:,} different, "
        f"of {counted(drift.items, 'item')}"
    )


def _show(result: "EnforcementResult", name: str, *, as_json: bool) -> None:
    if as_json:
        write_json(asdict(result))
    else:
        typer.echo(_line(result))
        if result.set_aside:
            say(_set_aside_text(result))
        if result.unanswered:
            items = counted(result.unanswered, "item")
            say(f"{items} in doubt for more than a day: the sink's system does not answer, look there")
        if result.deferred:
            say(f"{counted(result.deferred, 'change')} left for another day: the daily cap is reached")
    _say_refused_receipts(result, name)


def _set_aside_text(result: "EnforcementResult") -> str:
    """How much is set aside, and how much of it today, which is what the exit code goes by."""
    today = f"{result.newly_set_aside:,} of them today (UTC)" if result.newly_set_aside else "none of them today (UTC)"
    return f"{counted(result.set_aside, 'item')} set aside, {today}: refused by the sink, or failed too often"


def _say_refused_receipts(result: "EnforcementResult", name: str) -> None:
    if result.receipts is not None and result.receipts.refused:
        refused = counted(result.receipts.refused, "receipt")
        say(f"the exchange refused {refused}: blocklist receipts pending --sink {name} shows why")


def _check(result: "EnforcementResult") -> None:
    """Exit with the code of a run. The log has the messages about what is wrong, and is shown at the end."""
    code = enforcement_code(result)
    if code != FINE:
        raise typer.Exit(code)


def _say_clock(result: "EnforcementResult") -> None:
    """Say that this machine's clock is behind: a run that goes on does not show the log."""
    for warning in result.warnings:
        if warning.kind == "clock":
            say(warning.message)


def _say_code(result: "EnforcementResult") -> None:
    """Say with which exit code a run that goes on would have ended, so that whoever reads the journal can go by it."""
    code = enforcement_code(result)
    if code != FINE:
        say(f"exit code {code} without --watch. {MEANINGS[code]}")


def _line(result: "EnforcementResult") -> str:
    planned = ", ".join(f"{count:,} to {operation}" for operation, count in result.planned.items())
    if result.dry_run:
        waiting = "" if result.waiting is None else f", {sum(result.waiting.changes.values()):,} would wait"
        return f"release {result.release}: {planned}{waiting}; nothing was done"
    done = ", ".join(f"{count:,} {_DONE.get(kind, kind)}" for kind, count in sorted(result.outcomes.items()))
    if result.waiting is not None:
        done += f"{', ' if done else ''}{counted(sum(result.waiting.changes.values()), 'change')} waiting"
    done = done or "nothing to do"
    if result.receipts is not None:
        done += f", {counted(result.receipts.sent + result.receipts.repeated, 'receipt')} sent"
        if result.receipts.refused:
            done += f", {result.receipts.refused:,} refused by the exchange"
    following = f"; the next change is due at {moment(result.next_change)}" if result.next_change else ""
    return f"release {result.release}: {done} in {result.seconds:.1f} s{following}"
