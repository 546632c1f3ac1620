"""``blocklist serve``: verdicts for programs in any language, over HTTP, a Unix socket and the Redis protocol."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blocklist_sdk.cli.extras import needs_extra
from blocklist_sdk.cli.inputs import tls_files
from blocklist_sdk.cli.logs import log_to_stderr
from blocklist_sdk.cli.output import say, write_line
from blocklist_sdk.cli.recipient import sync_line
from blocklist_sdk.cli.settings import BUNDLE, FILES, LIST, SERVER, Settings, with_settings
from blocklist_sdk.cli.signals import StopOnSignal
from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.recipient.sync_outcomes import SyncOutcome
from blocklist_sdk.settings.secret_files import first_line

if TYPE_CHECKING:
    from blocklist_sdk.recipient.blocklist import Blocklist

Port = Annotated[
    int | None,
    typer.Option(min=0, max=65535, metavar="PORT", help="The port; 0 takes a free one. By default 8044."),
]


@with_settings(*LIST, *BUNDLE, *FILES, *SERVER, guard="sync")
def serve(
    settings: Settings,
    host: Annotated[str, typer.Option(metavar="HOST", help="The address to listen on.")] = "127.0.0.1",
    port: Port = None,
    uds: Annotated[
        Path | None,
        typer.Option(
            "--uds", metavar="PATH", help="Answer HTTP on a Unix socket, and on a port only if --port is given."
        ),
    ] = None,
    redis_port: Annotated[
        int | None,
        typer.Option(
            "--redis-port",
            min=0,
            max=65535,
            metavar="PORT",
            help="Answer in the Redis protocol on this port, beside HTTP.",
        ),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Also sync, again and again, in a process that answers nothing.")
    ] = False,
    every: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="With --watch, the time between syncs: 1h (the default), 15m, 90s or 90."),
    ] = None,
    workers: Annotated[int, typer.Option(metavar="N", help="How many processes answer.")] = 1,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", metavar="FILE", help="Clients must show the token in the first line of FILE."),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option("--tls-cert", metavar="FILE", help="The server's certificate with its chain, PEM.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="Its private key, PEM.")] = None,
    client_ca: Annotated[
        Path | None,
        typer.Option(
            "--client-ca", metavar="FILE", help="Clients must show a certificate signed by one of these authorities."
        ),
    ] = None,
    require_fresh: Annotated[
        bool,
        typer.Option(
            "--require-fresh",
            help="Refuse questions while the list is past its signed expiry, or this machine's clock is behind.",
        ),
    ] = False,
) -> None:
    """Answer questions about numbers over HTTP, a Unix socket and the Redis protocol.

    It answers until Ctrl-C or SIGTERM, then exits with 0. The addresses go to standard output, one a line. GET
    /v1/verdicts/NUMBER answers what `blocklist check --json` writes, from the list on this disk; releases that any
    process syncs are used within a second. /readyz says whether there is a list; /openapi.json describes the rest.

    Whoever reaches the service may ask. So any address but loopback needs --token-file, or --client-ca with
    --tls-cert and --tls-key. Over the Unix socket its owner and group ask without a token.

    If one of the processes ends by itself, the service ends as well, with exit code 70.
    """
    with needs_extra("serve"):
        from blocklist_sdk.lookup_server.serving import serve as serve_until_stopped
        from blocklist_sdk.lookup_server.settings import PORT, ServeSettings

    from blocklist_sdk.cli.watch import duration
    from blocklist_sdk.recipient.sync.schedule import interval

    if every is not None and not watch:
        raise InvalidInput("--every is the time between syncs: use it with --watch")
    tls = tls_files(tls_cert, tls_key, client_ca)
    asked = ServeSettings(
        host=host,
        port=PORT if port is None and uds is None else port,
        uds=uds,
        redis_port=redis_port,
        redis_host=host,
        workers=workers,
        token=None if token_file is None else first_line(token_file, "token"),
        tls=tls,
        watch_every_s=interval(duration(every or "1h")).total_seconds() if watch else None,
        require_fresh=require_fresh,
    )
    asked.check()
    opened = opened_list(settings, watch=watch, require_fresh=require_fresh)
    with opened as blocklist, log_to_stderr(), StopOnSignal() as stop:
        if watch:
            blocklist.add_listener(_say_sync)
        serve_until_stopped(blocklist, asked, stop=stop, on_started=_show)


def opened_list(settings: Settings, *, watch: bool, require_fresh: bool) -> "Blocklist":
    """The list that is served: the one place where it is opened."""
    if watch and settings.complete().bundle is not None:
        raise InvalidInput("--watch syncs a list, and a bundle cannot be synced: leave one of them out")
    return settings.open_to_ask(online=watch, requires_fresh=require_fresh)


def _show(addresses: Sequence[str]) -> None:
    """Write where the service listens: first the addresses, one a line, for whoever waits for them."""
    for address in addresses:
        write_line(address)
    sys.stdout.flush()
    say("serving until Ctrl-C")


def _say_sync(outcome: SyncOutcome) -> None:
    """Say what a sync has changed; the log has those that failed, and when the next one is."""
    if outcome.result is not None and outcome.result.kind != "none":
        say(sync_line(outcome.feed, outcome.result))
