"""``blocklist enforce``: carry the list into a sink."""

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final

import typer

from blocklist_sdk import times
from blocklist_sdk.cli.exit_codes import BLOCKED
from blocklist_sdk.cli.output import AsJson, moment, say, write_json
from blocklist_sdk.cli.settings import CREDENTIALS, LIST, Settings, takes
from blocklist_sdk.cli.signals import StopOnSignal
from blocklist_sdk.cli.watch import duration
from blocklist_sdk.enforcement.settings import DEFAULTS, EnforcementSettings
from blocklist_sdk.errors import BlocklistError, InvalidInput

if TYPE_CHECKING:
    from blocklist_sdk.enforcement import Drift, EnforcementResult
    from blocklist_sdk.recipient.blocklist import Blocklist

_BACKOFF_MAX_S: Final = 3600.0


@takes(*LIST, *CREDENTIALS)
def enforce(
    settings: Settings,
    sink: Annotated[
        str,
        typer.Option(
            envvar="BLOCKLIST_SINK",
            metavar="URL",
            help="Where to: file:, https:, postgresql:, redis:, kafka:, or a plug-in's.",
        ),
    ],
    name: Annotated[
        str, typer.Option(metavar="NAME", help="The sink's name; what it has acknowledged is kept under it.")
    ] = "default",
    batch: Annotated[
        int, typer.Option(min=1, metavar="N", help="The most changes that go to the sink together.")
    ] = DEFAULTS.batch,
    scope: Annotated[
        list[str] | None, typer.Option(metavar="SCOPE", help="Only entries of this scope; may be repeated.")
    ] = None,
    only_operator: Annotated[
        str | None, typer.Option(metavar="OPERATOR", help="Only numbers of this operator.")
    ] = None,
    rate: Annotated[float | None, typer.Option(metavar="N", help="Changes a second, at most.")] = None,
    daily_cap: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="Blocks a day (UTC), at most; what lifts something never waits."),
    ] = None,
    tries: Annotated[
        int, typer.Option(min=1, metavar="N", help="Number of failures after which a change is set aside.")
    ] = DEFAULTS.tries,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be done.")] = False,
    reconcile: Annotated[
        bool, typer.Option("--reconcile", help="Compare what the sink really holds; exits with 1 if it differs.")
    ] = False,
    repair: Annotated[bool, typer.Option("--repair", help="With --reconcile: mend what differs.")] = False,
    receipts: Annotated[
        bool, typer.Option("--receipts", help="Tell the exchange what came of it, with the account of the settings.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Sync and enforce time and again, until told to stop.")
    ] = False,
    every: Annotated[str, typer.Option(metavar="TIME", help="With --watch: seconds, or as 15m, 1h.")] = "15m",
    as_json: AsJson = False,
) -> None:
    """Bring a sink to what is in force: entries, overrides, protected numbers and ends. With --watch it syncs too.

    Unblocks go first. What the sink acknowledged is written down batch by batch: a run that is cut short, or finds the
    sink down, is taken up by the next.
    """
    from blocklist_sdk.enforcement import enforce as run
    from blocklist_sdk.enforcement import ledger_id, open_sink
    from blocklist_sdk.enforcement import reconcile as compare

    if repair and not reconcile:
        raise InvalidInput("--repair goes with --reconcile")
    if watch and (reconcile or dry_run):
        raise InvalidInput("--watch goes with neither --reconcile nor --dry-run")
    how = EnforcementSettings(
        batch=batch,
        scopes=scope or None,
        only_operator=only_operator,
        rate=rate,
        daily_cap=daily_cap,
        tries=tries,
    )
    interval = duration(every).total_seconds()
    with contextlib.ExitStack() as stack:
        blocklist = stack.enter_context(settings.open(online=watch))
        ledger = ledger_id(blocklist, name)
        opened = stack.enter_context(contextlib.closing(open_sink(sink, feed=blocklist.feed, ledger=ledger)))
        told = stack.enter_context(settings.client()) if receipts else None
        enforced = partial(run, blocklist, opened, name=name, settings=how, receipts=told, dry_run=dry_run)
        if reconcile:
            drift = compare(blocklist, opened, name=name, settings=how, repair=repair)
            _tell_drift(drift, enforced() if repair else None, as_json=as_json)
        elif watch:
            for done in _rounds(blocklist, enforced, interval):
                _tell(done, as_json=as_json)
        else:
            _tell(enforced(), as_json=as_json)


def _rounds(
    blocklist: "Blocklist", enforced: Callable[[], "EnforcementResult"], interval: float
) -> Iterator["EnforcementResult"]:
    """Sync and enforce until told to stop; after failures of the sink, ever less often."""
    failures = 0
    with StopOnSignal() as bell:
        while True:
            try:
                blocklist.sync()
            except BlocklistError as error:
                say(f"the sync failed, and what is in force is enforced: {error}")
            try:
                done = enforced()
                yield done
                failures, wait = 0, min(interval, _seconds_to(done.next_change))
            except InvalidInput:
                raise
            except BlocklistError as error:
                failures += 1
                asked = getattr(error, "retry_after", None) or 0.0
                wait = max(asked, min(interval * 2**failures, max(interval, _BACKOFF_MAX_S)))
                say(f"{error} It is tried again in {wait:.0f} s.")
            if bell.wait(wait):
                return


def _seconds_to(moment: datetime | None) -> float:
    """How long until something begins or ends by itself."""
    return math.inf if moment is None else max(0.0, (moment - times.now()).total_seconds())


def _tell_drift(drift: "Drift", mended: "EnforcementResult | None", *, as_json: bool) -> None:
    if as_json:
        write_json(asdict(drift) | {"repaired": None if mended is None else asdict(mended)})
    else:
        typer.echo(_drift_line(drift))
        if mended is not None:
            typer.echo(_line(mended))
    if drift and mended is None:
        raise typer.Exit(BLOCKED)


def _drift_line(drift: "Drift") -> str:
    if not drift:
        return f"the sink holds just what it should: {drift.items:,} items"
    return (
        f"the sink differs: {drift.missing:,} missing, {drift.surplus:,} too many, {drift.differing:,} otherwise, "
        f"of {drift.items:,} items"
    )


def _tell(done: "EnforcementResult", *, as_json: bool) -> None:
    if as_json:
        write_json(asdict(done))
        return
    typer.echo(_line(done))
    if done.set_aside:
        say(f"{done.set_aside:,} items are set aside: the sink refuses them, or they failed too often")
    if done.left:
        say(f"{done.left:,} changes wait for another day: the daily cap is reached")


def _line(done: "EnforcementResult") -> str:
    planned = ", ".join(f"{count:,} to {operation}" for operation, count in done.planned.items())
    if done.dry_run:
        return f"release {done.serial}: {planned}; nothing was done"
    came_out = ", ".join(f"{count:,} {kind}" for kind, count in sorted(done.outcomes.items())) or "nothing to do"
    if done.receipts is not None:
        came_out += f", {done.receipts.sent + done.receipts.repeated:,} receipts sent"
    following = f"; something ends or begins by itself at {moment(done.next_change)}" if done.next_change else ""
    return f"release {done.serial}: {came_out} in {done.seconds:.1f} s{following}"
