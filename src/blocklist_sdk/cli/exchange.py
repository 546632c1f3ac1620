"""The authority's commands: ``blocklist exchange init | serve | user | publish | stats | verify``."""

import logging
import shlex
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from blocklist_sdk import times
from blocklist_sdk.cli.exit_codes import FAILED, REFUSED
from blocklist_sdk.cli.extras import needs_extra
from blocklist_sdk.cli.inputs import tls_files
from blocklist_sdk.cli.logs import log_to_stderr
from blocklist_sdk.cli.output import AsJson, moment, say, write_json, write_line, write_lines
from blocklist_sdk.cli.passphrase import OfflinePassphraseFileOption, PassphraseFileOption, PassphraseSource
from blocklist_sdk.cli.signals import StopOnSignal
from blocklist_sdk.cli.statistics_text import statistics_lines
from blocklist_sdk.disk import staged, storage, write_file
from blocklist_sdk.encodings import decoded
from blocklist_sdk.errors import InvalidInput, StorageFailed, mask
from blocklist_sdk.modes import PRIVATE
from blocklist_sdk.texts import counted

if TYPE_CHECKING:
    from blocklist_sdk.exchange.models import WaitingRelease
    from blocklist_sdk.exchange_server.exchange import Exchange
    from blocklist_sdk.exchange_server.store.tables import AccountRow

app: typer.Typer = typer.Typer(
    help="Run an exchange: reports, cases, decisions, receipts, appeals.", no_args_is_help=False
)
user: typer.Typer = typer.Typer(help="Manage accounts.", no_args_is_help=False)
app.add_typer(user, name="user")

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="The exchange's folder.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The account's name.")]
Scopes = Annotated[
    list[str],
    typer.Option("--scope", metavar="SCOPE", help="report, receipt, officer, publish, or feed:NAME; may be repeated."),
]
Certificates = Annotated[
    list[Path] | None,
    typer.Option(
        "--certificate",
        metavar="FILE",
        help="A client certificate, PEM, that the account is bound to where mutual TLS is on; may be repeated.",
    ),
]
SettingsFile = Annotated[
    Path | None,
    typer.Option(
        "--settings",
        metavar="FILE",
        help="Write a new blocklist.toml for the account's holder, readable by you alone, with root.json beside it if "
        "the account reads a feed.",
    ),
]

_EXCHANGE: Final = "blocklist_sdk.exchange_server"
_KEY_BYTES_MAX: Final = 100_000
_KEY_NAME: Final = "client-key.pem"
"""Where the settings of an account with a key expect its private part."""

_OFFICER: Final = ("officer",)
_OFFICERS: Final = ["officer-1", "officer-2"]
_OFFICERS_FOLDER: Final = "officers"
_SETTINGS_NAME: Final = "blocklist.toml"
_ROOT_NAME: Final = "root.json"
_FEED: Final = "feed:"


@app.command()
def init(
    directory: Directory,
    region: Annotated[
        str, typer.Option(metavar="REGION", help="Two-letter code of the country whose numbers are domestic.")
    ] = "ID",
    url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Where clients will reach it; signed assertions must name it."),
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(metavar="URL", help="PostgreSQL, as postgresql://…, or SQLite; by default a file in DIR."),
    ] = None,
    database_owner: Annotated[
        str | None,
        typer.Option(
            "--database-owner",
            metavar="URL",
            envvar="BLOCKLIST_DATABASE_OWNER",
            show_envvar=False,
            help="The same PostgreSQL database for the role that will own the tables. The role of --database may then "
            "add to the audit trail, and not alter it. Not stored; BLOCKLIST_DATABASE_OWNER has it too.",
        ),
    ] = None,
    routing: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Which decisions reach which feeds; by default the region's rules."),
    ] = None,
    officer: Annotated[
        list[str] | None,
        typer.Option(
            "--officer",
            metavar="NAME",
            help="An officer's account to make; may be repeated. By default officer-1 and officer-2.",
        ),
    ] = None,
    one_person: Annotated[
        bool,
        typer.Option("--one-person", help="One officer decides alone, without a second one: for trying things out."),
    ] = False,
    passphrase_file: PassphraseFileOption = None,
    offline_passphrase_file: OfflinePassphraseFileOption = None,
    as_json: AsJson = False,
) -> None:
    """Make an exchange's folder: settings, rules, a database, a publisher with its keys, and two officers' accounts.

    What lists a number needs two officers, unless --one-person is given. Each officer's settings, with the secret, are
    in a file that is readable by you alone. The root and targets keys have a passphrase of their own, which the server
    never gets. Take them off this machine.
    """
    with needs_extra("exchange"):
        from blocklist_sdk.exchange_server.casework.accounts import check_account_name
        from blocklist_sdk.exchange_server.exchange import Exchange
        from blocklist_sdk.exchange_server.settings import ExchangeSettings

    officers = list(dict.fromkeys(officer or (_OFFICERS[:1] if one_person else _OFFICERS)))
    for name in officers:
        check_account_name(name)
    if len(officers) < 2 and not one_person:
        raise InvalidInput("what lists a number needs two officers: give --officer twice, or --one-person")
    options: dict[str, Any] = {"region": region, "url": url, "two_person": not one_person}
    if database is not None:
        options["database"] = database
    settings = ExchangeSettings.of(options)
    with Exchange.init(
        directory,
        passphrase=PassphraseSource(passphrase_file, is_new=True),
        offline_passphrase=PassphraseSource.offline(offline_passphrase_file, is_new=True),
        settings=settings,
        routing=routing,
        database_owner=database_owner,
    ) as exchange:
        feeds, root, unknown = exchange.routing.feeds, exchange.root, exchange.routing.unknown_operators
        files = {name: exchange.directory / _OFFICERS_FOLDER / name / _SETTINGS_NAME for name in officers}
        for name, file in files.items():
            PRIVATE.make(file.parent.parent)
            PRIVATE.make(file.parent)
            _write_account(exchange, name, _OFFICER, exchange.add_account(name, _OFFICER), file)
        exchange.skip_alarms()
    keys = directory / "publisher" / "keys"
    offline = keys / exchange.offline_keys.name
    _warn(unknown)
    if database is not None and not database.startswith("sqlite") and database_owner is None:
        say(
            "warning: the exchange's role owns the audit trail, so it could alter it: give the database to another "
            "role with --database-owner"
        )
    if as_json:
        made = [{"name": name, "settings": file} for name, file in files.items()]
        write_json({"directory": directory, "feeds": feeds, "root": root, "officers": made, "offline_keys": offline})
        return
    typer.echo(f"made {directory}, with the feeds {', '.join(feeds)}")
    told = [("give this to recipients", root), ("keep the keys safe", keys)]
    told += [(f"give this to {name} alone", file) for name, file in files.items()]
    width = max(len(label) for label, _ in told)
    for label, path in told:
        typer.echo(f"  {label:<{width}}  {path}")
    typer.echo(f"  {'then add accounts':<{width}}  blocklist exchange user add {directory} NAME --scope …")
    if url is None:
        say("the officers' files do not have the exchange's address: put it into them as `exchange`")
    if len(officers) == 2:
        say("nobody dismisses an appeal against their own decision: for that, add a third officer")
    say(
        "take the root and targets keys off this machine now, since publishing needs none of them: "
        f"mv {shlex.quote(str(offline))} /media/SAFE/"
    )


@app.command()
def serve(
    directory: Directory,
    host: Annotated[str, typer.Option(metavar="HOST", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="PORT", help="The port; 0 takes a free one.")] = 8080,
    publish: Annotated[
        bool,
        typer.Option(
            "--publish/--no-publish",
            help="Publish decisions from here, which needs the passphrase of the keys.",
        ),
    ] = True,
    tls_cert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The server's certificate with its chain, PEM.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="Its private key, PEM.")] = None,
    client_ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Clients must show a certificate signed by this authority.")
    ] = None,
    behind_proxy: Annotated[
        str | None,
        typer.Option(metavar="ADDRESSES", help="Reverse proxies trusted to name clients, separated by commas."),
    ] = None,
    log_requests: Annotated[
        bool, typer.Option("--log-requests", help="Log each request on standard error, without its content.")
    ] = False,
    allow_root_key: Annotated[
        bool,
        typer.Option(
            "--allow-root-key", help="Publish from here even if the passphrase opens a root or targets key in DIR."
        ),
    ] = False,
    passphrase_file: PassphraseFileOption = None,
) -> None:
    """Serve the exchange until Ctrl-C or SIGTERM, then exit with 0; its address goes to standard output."""
    with needs_extra("exchange"):
        from blocklist_sdk.exchange_server.http.request_log import REQUESTS
        from blocklist_sdk.exchange_server.serving import keep_what_is_loaded, raise_open_files, serving_exchange

    tls = tls_files(tls_cert, tls_key, client_ca)
    raise_open_files()
    levels = {_EXCHANGE: logging.INFO, REQUESTS: logging.INFO if log_requests else logging.WARNING}
    with (
        log_to_stderr(levels),
        _open(directory, passphrase_file if publish else None, needs_keys=publish) as exchange,
        StopOnSignal() as stop,
    ):
        _warn(exchange.routing.unknown_operators)
        with serving_exchange(
            exchange,
            host=host,
            port=port,
            tls=tls,
            behind_proxy=behind_proxy,
            publish=publish,
            allow_root_key=allow_root_key,
            on_ended=stop.set,
        ) as url:
            keep_what_is_loaded()
            typer.echo(url)
            say(f"serving {exchange.directory} until Ctrl-C")
            stop.wait()


@user.command()
def add(
    directory: Directory,
    name: Name,
    scope: Scopes,
    key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Its public key, PEM or JWK, instead of a secret (private_key_jwt)."),
    ] = None,
    certificate: Certificates = None,
    settings: SettingsFile = None,
    as_json: AsJson = False,
) -> None:
    """Add an account; its secret is shown once, on standard output.

    With --settings it is not shown: it is in the file, which is ready to use, for the account's holder alone.
    """
    with _open(directory, None) as exchange:
        if settings is not None:
            _check_settings_file(exchange, settings)
        certificates = [_text_of(file, "certificate") for file in certificate or ()]
        public_key = None if key is None else _text_of(key, "key")
        secret = exchange.add_account(name, scope, key=public_key, certificates=certificates)
        lacks_url = key is not None and exchange.settings.url is None
        if settings is not None:
            _write_account(exchange, name, scope, secret, settings)
    _write_secret(name, secret, settings, as_json=as_json)
    if lacks_url:
        say(
            f"warning: without the setting `url`, {name} can get tokens on this machine only: "
            "set url in exchange.toml to where clients reach the exchange"
        )


@user.command()
def secret(directory: Directory, name: Name, settings: SettingsFile = None, as_json: AsJson = False) -> None:
    """Give an account a new secret; the old one, or its key, and its tokens stop working within a second."""
    with _open(directory, None) as exchange:
        if settings is not None:
            _check_settings_file(exchange, settings)
        made = exchange.renew_secret(name)
        if settings is not None:
            _write_account(exchange, name, _scopes_of(exchange, name), made, settings)
    _write_secret(name, made, settings, as_json=as_json)


@user.command()
def scopes(directory: Directory, name: Name, scope: Scopes) -> None:
    """Give an account other scopes, in place of all that it has; its tokens follow within a second."""
    with _open(directory, None) as exchange:
        exchange.change_scopes(name, scope)
    say(f"{name} has the scopes {' '.join(sorted(set(scope)))} from now on")


@user.command()
def certificate(
    directory: Directory,
    name: Name,
    certificate: Certificates = None,
    none: Annotated[bool, typer.Option("--none", help="Bind it to no certificate.")] = False,
) -> None:
    """Bind an account to client certificates, in place of those that it was bound to; it takes a second.

    To renew one, bind the account to both, and to the new one alone once its holder uses it.
    """
    if none == bool(certificate):
        raise InvalidInput("give --certificate FILE, or --none to bind the account to no certificate")
    with _open(directory, None) as exchange:
        exchange.bind_certificates(name, [_text_of(file, "certificate") for file in certificate or ()])
    say(f"{name} is bound to {counted(len(certificate or ()), 'client certificate')} from now on")


@user.command()
def disable(directory: Directory, name: Name) -> None:
    """Close an account; its tokens stop working within a second."""
    with _open(directory, None) as exchange:
        exchange.disable_account(name)
    say(f"closed {name}")


@user.command()
def reopen(directory: Directory, name: Name, settings: SettingsFile = None, as_json: AsJson = False) -> None:
    """Open a closed account again, with a new secret; an account with a key keeps its key."""
    with _open(directory, None) as exchange:
        if settings is not None:
            _check_settings_file(exchange, settings)
        made = exchange.reopen_account(name)
        if settings is not None:
            _write_account(exchange, name, _scopes_of(exchange, name), made, settings)
    _write_secret(name, made, settings, as_json=as_json, done="reopened")


@user.command("list")
def list_users(directory: Directory, as_json: AsJson = False) -> None:
    """Show all accounts."""
    with needs_extra("exchange"):
        from blocklist_sdk.exchange_server.casework.secret_hashes import is_old

    with _open(directory, None) as exchange:
        rows = exchange.accounts()
    if as_json:
        write_json({"accounts": [_account(row) for row in rows]})
        return
    width = max((len(row.name) for row in rows), default=0)
    for row in rows:
        closed = f", closed {moment(row.disabled_at)}" if row.disabled_at else ""
        proof = "key" if row.key else "secret, with a hash from before" if is_old(row.secret_hash) else "secret"
        bound = "".join(f", certificate {each}" for each in (row.certificates or "").split())
        write_line(f"{row.name:<{width}}  {row.scopes}  (by {proof}{bound}{closed})")


@app.command()
def publish(
    directory: Directory,
    everything: Annotated[
        bool, typer.Option("--everything", help="Publish everything, whether or not the monthly cycle is due.")
    ] = False,
    accept: Annotated[
        list[str] | None,
        typer.Option(
            "--accept",
            metavar="FEED:DIGEST",
            help="Publish what the guard refused on a feed, if it is still the same. May be repeated.",
        ),
    ] = None,
    accept_trail: Annotated[
        str | None,
        typer.Option(
            metavar="LENGTH:HEAD",
            help="After an older database was restored: go on with the audit trail as it is, up to the line and hash "
            "that the alarm named.",
        ),
    ] = None,
    accept_clock: Annotated[
        bool,
        typer.Option("--accept-clock", help="Say that this machine's clock is right: ends that were held take effect."),
    ] = False,
    passphrase_file: PassphraseFileOption = None,
    as_json: AsJson = False,
) -> None:
    """Publish urgent decisions and retractions, and with the monthly cycle everything else.

    For a timer, beside `serve --no-publish`. What begins to block more numbers than the settings allow waits, and so do
    ends if the clock may be wrong: the command shows it and exits with 6, after everything else was published.
    """
    accepted = dict(map(_feed_and_digest, accept or ()))
    with needs_extra("exchange"):
        from blocklist_sdk.exchange_server.casework.cases import COMMAND_LINE

    with _open(directory, passphrase_file, needs_keys=True) as exchange:
        exchange.note_configuration()
        exchange.raise_alarms()
        if accept_trail is not None:
            exchange.accept_trail(accept_trail)
        refusals = []
        for feed, digest in accepted.items():
            try:
                exchange.accept(feed, digest, accepted_by=COMMAND_LINE)
            except InvalidInput as error:  # retractions must not wait for the right digest
                refusals.append(error)
        if accept_clock:
            exchange.accept_clock()
        if opened := exchange.publisher.offline_keys_opened():
            # Refusing would hold back an unblock.
            say(f"warning: this passphrase also opens {opened[0]}: take root and targets keys off this machine")
        exchange.begin()
        made = exchange.publish(everything=everything)
        exchange.publisher.refresh()
        exchange.forget()
    if as_json:
        typer.echo(made.model_dump_json())
    else:
        for each in made.feeds:
            typer.echo(
                f"{each.feed} {each.serial}: {counted(each.rows, 'row')}, +{each.added} −{each.removed} ~{each.changed}"
            )
        if not made.feeds:
            say("nothing to publish")
    if made.waiting:
        _say_waiting(made.waiting, accepted if not refusals else {}, directory)
    if made.ends_held_why is not None:
        say(
            f"ends are held, {counted(made.ends_held, 'listing')} by now: {made.ends_held_why}. Everything else was "
            f"published. If the clock is right: blocklist exchange publish {shlex.quote(str(directory))} --accept-clock"
        )
    if made.listings_held_why is not None:
        look = f"blocklist exchange verify {shlex.quote(str(directory))}"
        say(f"new listings are held back: {made.listings_held_why}. To look: {look}")
    if refusals:
        raise refusals[0]
    if made.waiting or made.ends_held_why is not None or made.listings_held_why is not None:
        raise typer.Exit(REFUSED)


def _feed_and_digest(text: str) -> tuple[str, str]:
    feed, colon, digest = text.partition(":")
    if not (feed and colon and digest):
        raise InvalidInput(f"--accept {text!r} is not FEED:DIGEST: copy it from what `exchange publish` shows")
    return feed, digest


def _say_waiting(waiting: "tuple[WaitingRelease, ...]", accepted: Mapping[str, str], directory: Path) -> None:
    """Say what waits, why, and which command lets it through."""
    for release in waiting:
        if release.feed in accepted:
            say(f"{release.feed}: what you accepted has changed in the meantime, so it was judged anew")
        say(
            f"{release.feed}: {counted(release.listings, 'listing')} held back since {moment(release.refused_at)}, for "
            f"{'; '.join(release.reasons)}. Everything else was published."
        )
        for each in release.examples:
            until = f", until {moment(each.until)}" if each.until else ""
            say(
                f"{release.feed}, case {each.case}: {mask(f'+{each.number}')}, {each.level}, {each.category}, "
                f"{'+'.join(sorted(each.scope))}{until}"
            )
    options = " ".join(f"--accept {release.feed}:{release.digest}" for release in waiting)
    say(f"if all of this is right: blocklist exchange publish {shlex.quote(str(directory))} {options}")


@app.command()
def stats(
    directory: Directory,
    month: Annotated[str | None, typer.Option(metavar="YYYY-MM", help="By default this month, UTC.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the statistics of a month."""
    wanted = month or f"{times.now():%Y-%m}"
    with _open(directory, None) as exchange:
        found = exchange.statistics(wanted)
    if as_json:
        typer.echo(found.model_dump_json())
        return
    write_lines(statistics_lines(found))


@app.command()
def verify(
    directory: Directory,
    heads: Annotated[
        list[Path] | None,
        typer.Option(
            "--heads",
            metavar="FILE",
            help="Compare with the audit trail what a recipient's `blocklist verify --audit --export` wrote. May be "
            "repeated.",
        ),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option("--export", metavar="FILE", help="Also write the audit trail as JSON lines, for an auditor."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Recompute the database from the audit trail, and read every evidence file; exits with 1 if anything differs."""
    with _open(directory, None) as exchange:
        found = list(exchange.findings())
        unproved = [*exchange.doubts(), *exchange.unproved_heads(heads or ())]
        head = exchange.audit_head() if export is None else exchange.export_trail(export)
    problems = [finding.text for finding in found if finding.is_damage] + unproved
    erased = [finding.text for finding in found if not finding.is_damage]
    if as_json:
        write_json({"problems": problems, "erased": erased, "lines": head.length, "head": head.hash})
    else:
        for problem in problems:
            write_line(problem)
        for each in erased:
            say(each)
        if not problems:
            say(f"the database is as the {counted(head.length, 'line')} of the audit trail say, and so is the evidence")
        if export is not None:
            say(f"wrote {export}: {counted(head.length, 'line')}, the last one {head.hash or 'missing'}")
    if problems:
        raise typer.Exit(FAILED)


def _open(directory: Path, passphrase_file: Path | None, *, needs_keys: bool = False) -> "Exchange":
    with needs_extra("exchange"):
        from blocklist_sdk.exchange_server.exchange import Exchange

    return Exchange.open(directory, passphrase=PassphraseSource(passphrase_file) if needs_keys else None)


def _warn(unknown: tuple[str, ...]) -> None:
    if unknown:
        say(f"the rules name unknown operators: {', '.join(unknown)}. Check their spelling.")


def _account(row: "AccountRow") -> dict[str, object]:
    return {
        "name": row.name,
        "scopes": row.scopes.split(),
        "authenticates": "key" if row.key else "secret",
        "certificates": (row.certificates or "").split(),
        "created_at": moment(row.created_at),
        "disabled_at": moment(row.disabled_at),
    }


def _write_secret(name: str, secret: str | None, settings: Path | None, *, as_json: bool, done: str = "added") -> None:
    """Show a secret once, unless it is in a file."""
    shown = secret if settings is None else None
    if as_json:
        write_json({"name": name, "secret": shown, "settings": settings})
        return
    if secret is None:
        say(f"{done} {name}, which authenticates with its key")
    elif settings is None:
        typer.echo(secret)
        say(f"this is the secret of {name}; it cannot be shown again")
    if settings is not None:
        root = settings.parent / _ROOT_NAME
        files, them = (f"{settings} and {root}", "both") if root.exists() else (f"{settings}", "it")
        say(
            f"wrote {files}: give {them} to the holder of {name} by a way that nobody else can read, then delete "
            f"{'them' if root.exists() else 'it'} here"
        )
    if settings is not None and secret is None:
        say(f"the holder puts the account's private key beside it, as {_KEY_NAME}")


def _check_settings_file(exchange: "Exchange", file: Path) -> None:
    """Find out before anything is changed whether settings can be written.

    Raises:
        InvalidInput: the file exists, or the exchange does not know where clients reach it.
        StorageFailed: its folder cannot be written.
    """
    if exchange.settings.url is None:
        raise InvalidInput(
            f"--settings needs the exchange's address: set url in {exchange.directory / 'exchange.toml'} to where "
            "clients reach it. Nothing was changed"
        )
    for each in (file, file.parent / _ROOT_NAME):
        if each.exists() and not (each != file and each.read_bytes() == exchange.root.read_bytes()):
            raise InvalidInput(f"{each} is there already: name a file in another folder. Nothing was changed")
    with storage(file):
        PRIVATE.make(file.parent)
        with staged(file.parent):
            pass


def _write_account(exchange: "Exchange", name: str, scopes: Collection[str], secret: str | None, file: Path) -> None:
    """Write the settings of an account, and the root if it reads a feed."""
    from blocklist_sdk.settings.template import write_settings_file

    url = exchange.settings.url
    feeds = sorted(scope.removeprefix(_FEED) for scope in scopes if scope.startswith(_FEED))
    values: dict[str, str | None] = {"exchange": url, "client_id": name, "region": exchange.settings.region}
    values |= {"client_secret": secret, "client_key": _KEY_NAME if secret is None else None}
    if feeds:
        values |= {"url": f"{url}/repository", "feed": feeds[0], "root": _ROOT_NAME}
        root = file.parent / _ROOT_NAME
        with storage(root):
            write_file(root, exchange.root.read_bytes())
    others = f" It also reads {' and '.join(feeds[1:])}: commands take --feed." if feeds[1:] else ""
    try:
        write_settings_file(file, values, about=f"The account {name}.{others} Keep this to yourself.", private=True)
    except StorageFailed as error:
        raise StorageFailed(
            f"{error} The account is there; blocklist exchange user secret gives it a new secret.", path=file
        ) from error


def _scopes_of(exchange: "Exchange", name: str) -> list[str]:
    return next((row.scopes.split() for row in exchange.accounts() if row.name == name), [])


def _text_of(file: Path, what: str) -> str:
    try:
        with file.open("rb") as opened:
            return decoded(opened.read(_KEY_BYTES_MAX), f"the {what} {file}")
    except OSError as error:
        raise InvalidInput(f"cannot read the {what} {file}: {error.strerror or error}") from error
