"""The publisher's commands: ``blocklist publish init | add-feed | set-scope | release | add | remove | refresh | …``.

``blocklist publish protect`` is in `cli/publish_protect.py`, and ``blocklist publish keys`` in `cli/publish_keys.py`.
"""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from blocklist_sdk.cli import publish_keys, publish_protect
from blocklist_sdk.cli.exit_codes import ERRORS, FINE, REJECTED
from blocklist_sdk.cli.keys_file import KeysOption, read_keys
from blocklist_sdk.cli.moments import read_moment
from blocklist_sdk.cli.output import AsJson, entry_document, moment, say, write_json, write_lines
from blocklist_sdk.cli.passphrase import PassphraseFileOption, PassphraseSource
from blocklist_sdk.cli.settings import Settings, with_settings
from blocklist_sdk.cli.signals import StopOnSignal
from blocklist_sdk.cli.table_options import (
    DateFormatOption,
    HeaderRowOption,
    MapFileOption,
    MapOption,
    SheetOption,
    input_of,
    table_options,
)
from blocklist_sdk.errors import InvalidInput, Refused
from blocklist_sdk.numbers.text import check_form
from blocklist_sdk.texts import counted

if TYPE_CHECKING:
    from blocklist_sdk.publisher import Publisher, ReleaseImpact, ReleaseResult

app: typer.Typer = typer.Typer(help="Publish signed lists: keys, releases, and a small server.", no_args_is_help=False)
app.add_typer(publish_keys.app, name="keys")
app.add_typer(publish_protect.app, name="protect")

Wait = Annotated[float, typer.Option(min=0, metavar="SECONDS", help="How long to wait while another run changes DIR.")]
Directory = Annotated[Path, typer.Argument(metavar="DIR", help="The publisher's folder.")]
FeedOption = Annotated[str, typer.Option("--feed", metavar="NAME", help="The feed.")]
NumbersArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[NUMBER]...", help="Numbers, or - for a file on standard input.")
]
FromOption = Annotated[
    Path | None,
    typer.Option(
        "--from",
        metavar="FILE",
        help="A file with the numbers, in any form that a list may have; - is standard input.",
    ),
]
ColumnOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="The column with the numbers; by default number, or else the only one."),
]
RegionOption = Annotated[
    str | None,
    typer.Option(
        metavar="REGION", help="Two-letter country code for national numbers; by default as in the release before."
    ),
]
FormOption = Annotated[
    str,
    typer.Option(
        metavar="FORM",
        help="How digits without + are read: international (country code first), national, or auto: the list decides.",
    ),
]
RejectsOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The file for rows that cannot be published; by default one under DIR/rejects."),
]
MaxCoverOption = Annotated[
    int,
    typer.Option(
        min=0,
        metavar="N",
        help="How many assigned numbers one pattern or range may cover; above it nothing is published.",
    ),
]
DryRunOption = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Show what would change, and publish nothing; exit with 6 if the guard would refuse it."
    ),
]
AcceptOption = Annotated[
    bool,
    typer.Option("--accept", help="Publish what the guard refused; taken only after the same list was refused."),
]


@app.command()
def init(
    directory: Directory,
    feed: Annotated[
        list[str],
        typer.Option(
            "--feed",
            metavar="NAME[=SCOPE]",
            help="A feed to publish, and its scope, such as id-messaging=messaging: data, messaging, sms and voice "
            "joined by +. New entries get it if a list gives none; by default sms+voice. May be repeated.",
        ),
    ],
    region: Annotated[
        str | None,
        typer.Option(metavar="REGION", help="Two-letter country code in which national numbers are read."),
    ] = None,
    keys_file: KeysOption = None,
    root_key: Annotated[
        list[Path] | None,
        typer.Option(
            "--root-key",
            metavar="FILE",
            help="The public half, PEM, of a root key that a holder keeps elsewhere. May be repeated. Then the folder "
            "waits until the holders have signed DIR/proposal.json.",
        ),
    ] = None,
    targets_key: Annotated[
        list[Path] | None,
        typer.Option(
            "--targets-key", metavar="FILE", help="The same of a targets key; with --root-key. May be repeated."
        ),
    ] = None,
    root_threshold: Annotated[
        int, typer.Option(min=2, metavar="N", help="How many of the keys of --root-key have to sign.")
    ] = 2,
    passphrase_file: PassphraseFileOption = None,
    as_json: AsJson = False,
) -> None:
    """Make a publisher's folder: keys, a signed repository, and the root.json that recipients pin."""
    from blocklist_sdk.publisher import Publisher
    from blocklist_sdk.release.fingerprint import fingerprint

    source = PassphraseSource(passphrase_file, is_new=True)
    uris = read_keys(keys_file) if keys_file else None
    scopes = _feeds_of(feed)
    if root_key or targets_key:
        public_keys = {"root": root_key or [], "targets": targets_key or []}
        proposal = Publisher.begin(
            directory,
            feeds=scopes,
            public_keys={name: paths for name, paths in public_keys.items() if paths},
            passphrase=source,
            root_threshold=root_threshold,
            region=region,
            key_uris=uris,
        )
        publish_keys.show_begun(directory, proposal, as_json=as_json)
        return
    made = Publisher.init(directory, feeds=scopes, passphrase=source, region=region, key_uris=uris)
    if as_json:
        write_json(
            {
                "directory": directory,
                "feeds": list(scopes),
                "scopes": {each.feed: each.scope for each in made.status().feeds},
                "repository": directory / "repository",
                "keys": directory / "keys",
                "root": directory / "root.json",
                "fingerprint": fingerprint(made.root_file),
            }
        )
    else:
        typer.echo(f"made {directory}")
        typer.echo(f"  serve this, and nothing else   {directory / 'repository'}")
        typer.echo(f"  give this to recipients        {directory / 'root.json'}")
        typer.echo(
            f"  keep this secret               {directory / 'keys'} (best keep the root and targets keys offline)"
        )
        publish_keys.show_fingerprint(made.root_file, as_json=False)


@app.command("add-feed")
def add_feed(
    directory: Directory,
    feed: Annotated[str, typer.Option("--feed", metavar="NAME", help="The new feed's name.")],
    scope: Annotated[
        str | None,
        typer.Option(
            metavar="SCOPE",
            help="The feed's scope, data, messaging, sms and voice joined by +, which new entries get if a list gives "
            "none; by default sms+voice.",
        ),
    ] = None,
    keys_file: KeysOption = None,
    passphrase_file: PassphraseFileOption = None,
) -> None:
    """Add a feed with its own key; needs the targets key.

    Only the new feed's table in the --keys file is read.
    """
    from blocklist_sdk.publisher import Publisher

    uris = read_keys(keys_file).get(f"feed.{feed}", []) if keys_file else []
    if keys_file and not uris:
        raise InvalidInput(f"the file of keys {keys_file} has no table [[feed.{feed}]]: add it, or leave out --keys")
    Publisher.open(directory, passphrase=PassphraseSource(passphrase_file)).add_feed(feed, scope=scope, key_uris=uris)
    typer.echo(f"added feed {feed} to {directory}")


@app.command("set-scope")
def set_scope(
    directory: Directory,
    feed: Annotated[str, typer.Option("--feed", metavar="NAME", help="The feed.")],
    scope: Annotated[
        str,
        typer.Option(metavar="SCOPE", help="Its scope: data, messaging, sms and voice joined by +."),
    ],
    wait: Wait = 60.0,
) -> None:
    """Set the scope that a feed's new entries get if a list gives none; needs no key.

    Entries that are on the feed already keep theirs, unless a list gives another in its column scope.
    """
    from blocklist_sdk.publisher import Publisher, Timing

    Publisher.open(directory, passphrase=None, timing=Timing(lock_wait_s=wait)).set_scope(feed, scope)
    typer.echo(f"new entries of feed {feed} get the scope {scope}, from its next release on")


@app.command()
@with_settings(guard="publish")
def release(
    settings: Settings,
    directory: Directory,
    feed: FeedOption,
    source: Annotated[
        Path,
        typer.Option(
            "--from",
            metavar="FILE",
            help="The whole list as it should be from now on: CSV or text, a spreadsheet, JSON, vCard or Parquet; "
            "- is standard input.",
        ),
    ],
    column: ColumnOption = None,
    region: RegionOption = None,
    form: FormOption = "auto",
    issuer: Annotated[
        str, typer.Option(metavar="NAME", help="The issuer of rows for which the list gives none.")
    ] = "authority",
    level: Annotated[
        str,
        typer.Option(
            metavar="LEVEL", help="block or advisory: the level of new entries for which the list gives none."
        ),
    ] = "block",
    category: Annotated[
        str, typer.Option(metavar="CATEGORY", help="The category of new entries for which the list gives none.")
    ] = "fraud",
    scope: Annotated[
        str | None,
        typer.Option(
            metavar="SCOPE",
            help="data, messaging, sms and voice joined by +: the scope of new entries for which the list gives none; "
            "by default the feed's.",
        ),
    ] = None,
    rejects: RejectsOption = None,
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="Publish even an empty list, which lifts every entry.")
    ] = False,
    max_rejects: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            metavar="SHARE",
            help="The largest share of the list's rows, 0 to 1, that may be rejects; above it nothing is published.",
        ),
    ] = 0.1,
    max_cover: MaxCoverOption = 100_000,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 7 if a row could not be published.")] = False,
    dry_run: DryRunOption = False,
    accept: AcceptOption = False,
    maps: MapOption = None,
    map_file: MapFileOption = None,
    date_format: DateFormatOption = None,
    sheet: SheetOption = None,
    header_row: HeaderRowOption = None,
    wait: Wait = 60.0,
    passphrase_file: PassphraseFileOption = None,
    as_json: AsJson = False,
) -> None:
    """Publish the next release: numbers new on the list are added, numbers gone from it are removed.

    If much more ceases or begins to be blocked than in an ordinary month, the list is refused with 6, and what would
    have changed is shown. `publish add` adds a part to the current list.
    """
    publisher = _open(directory, passphrase_file, wait, settings)
    options: dict[str, Any] = {
        "column": column,
        "region": region,
        "form": check_form(form),
        "issuer": issuer,
        "level": level,
        "category": category,
        "scope": scope,
        "allow_empty": allow_empty,
        "max_rejects": max_rejects,
        "max_cover": max_cover,
        "options": table_options(
            maps=maps, map_file=map_file, date_format=date_format, sheet=sheet, header_row=header_row
        ),
        "notify": say,
    }
    if dry_run:
        _check_dry_run(accept=accept, rejects=rejects)
        _show_impact(publisher.dry_run(feed, input_of(source), **options), as_json=as_json)
    with _details():
        result = publisher.release(feed, input_of(source), rejects=rejects, accept=accept, **options)
    _show(result, as_json=as_json)
    if result.invalid and strict:
        raise typer.Exit(REJECTED)


@app.command()
@with_settings(guard="publish")
def add(
    settings: Settings,
    directory: Directory,
    feed: FeedOption,
    numbers: NumbersArgument = None,
    source: FromOption = None,
    column: ColumnOption = None,
    region: RegionOption = None,
    form: FormOption = "auto",
    issuer: Annotated[
        str, typer.Option(metavar="NAME", help="The issuer of numbers for which the file gives none.")
    ] = "authority",
    level: Annotated[
        str, typer.Option(metavar="LEVEL", help="block or advisory, for numbers for which the file gives none.")
    ] = "block",
    category: Annotated[
        str, typer.Option(metavar="CATEGORY", help="The category of numbers for which the file gives none.")
    ] = "fraud",
    scope: Annotated[
        str | None,
        typer.Option(
            metavar="SCOPE",
            help="data, messaging, sms and voice joined by +, where the file gives none; by default the feed's.",
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="MOMENT", help="When the new entries end, such as 2027-01-31, where the file gives no end."
        ),
    ] = None,
    rejects: RejectsOption = None,
    max_cover: MaxCoverOption = 100_000,
    dry_run: DryRunOption = False,
    accept: AcceptOption = False,
    maps: MapOption = None,
    map_file: MapFileOption = None,
    date_format: DateFormatOption = None,
    sheet: SheetOption = None,
    header_row: HeaderRowOption = None,
    wait: Wait = 60.0,
    passphrase_file: PassphraseFileOption = None,
    as_json: AsJson = False,
) -> None:
    """Publish the next release: the current list and these numbers.

    A number that the same issuer lists already changes nothing. Exits with 7 if rows were rejected, after the others
    were published.
    """
    publisher = _open(directory, passphrase_file, wait, settings)
    options: dict[str, Any] = {
        "column": column,
        "region": region,
        "form": check_form(form),
        "issuer": issuer,
        "level": level,
        "category": category,
        "scope": scope,
        "until": None if until is None else read_moment(until),
        "max_cover": max_cover,
        "options": table_options(
            maps=maps, map_file=map_file, date_format=date_format, sheet=sheet, header_row=header_row
        ),
        "notify": say,
    }
    given = _numbers_of(numbers, source)
    if dry_run:
        _check_dry_run(accept=accept, rejects=rejects)
        _show_impact(publisher.dry_run(feed, given, edit="add", **options), as_json=as_json)
    with _details():
        result = publisher.add(feed, given, rejects=rejects, accept=accept, **options)
    _show(result, as_json=as_json)
    if result.already_listed:
        say(f"{counted(result.already_listed, 'number')} listed by the same issuer before: nothing changed for these")
    if result.invalid:
        raise typer.Exit(REJECTED)


@app.command()
@with_settings(guard="publish")
def remove(
    settings: Settings,
    directory: Directory,
    feed: FeedOption,
    numbers: NumbersArgument = None,
    source: FromOption = None,
    column: ColumnOption = None,
    region: RegionOption = None,
    form: FormOption = "auto",
    issuer: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Whose entries to remove; needed where a number has entries of several issuers."
        ),
    ] = None,
    rejects: RejectsOption = None,
    dry_run: DryRunOption = False,
    accept: AcceptOption = False,
    maps: MapOption = None,
    map_file: MapFileOption = None,
    sheet: SheetOption = None,
    header_row: HeaderRowOption = None,
    wait: Wait = 60.0,
    passphrase_file: PassphraseFileOption = None,
    as_json: AsJson = False,
) -> None:
    """Publish the next release: the current list without these numbers.

    A range is removed as it is listed. Exits with 2 if none of the numbers is listed, and with 7 if rows were rejected,
    after the others were removed.
    """
    publisher = _open(directory, passphrase_file, wait, settings)
    options: dict[str, Any] = {
        "column": column,
        "region": region,
        "form": check_form(form),
        "issuer": issuer,
        "options": table_options(maps=maps, map_file=map_file, sheet=sheet, header_row=header_row),
        "notify": say,
    }
    given = _numbers_of(numbers, source)
    if dry_run:
        _check_dry_run(accept=accept, rejects=rejects)
        _show_impact(publisher.dry_run(feed, given, edit="remove", **options), as_json=as_json)
    with _details():
        result = publisher.remove(feed, given, rejects=rejects, accept=accept, **options)
    _show(result, as_json=as_json)
    if result.invalid:
        raise typer.Exit(REJECTED)


@app.command()
def refresh(
    directory: Directory,
    wait: Wait = 60.0,
    passphrase_file: PassphraseFileOption = None,
    as_json: AsJson = False,
) -> None:
    """Sign the timestamp again, and every role that expires soon. Run it every hour."""
    result = _open(directory, passphrase_file, wait).refresh()
    if as_json:
        write_json(asdict(result))
    else:
        typer.echo(f"signed again: {', '.join(result.renewed)}; the next signature expires on {moment(result.expires)}")
    for role in result.overdue:
        say(f"not signed again, and its signature expires on {moment(role.expires)}: {role.reason}; then refresh again")


@app.command()
def serve(
    directory: Directory,
    host: Annotated[str, typer.Option(metavar="HOST", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="PORT", help="The port; 0 takes a free one.")] = 8080,
) -> None:
    """Serve the repository over HTTP until Ctrl-C or SIGTERM, then exit with 0; print its address to standard output.

    This server is for trials. The repository is static files, which any web server or CDN can serve to recipients.
    """
    from blocklist_sdk.publisher import Publisher, serving

    publisher = Publisher.open(directory, passphrase=None)
    with serving(publisher.repository, host=host, port=port) as url, StopOnSignal() as stop:
        typer.echo(url)
        say(f"serving {publisher.repository} until Ctrl-C")
        stop.wait()


def _feeds_of(options: Iterable[str]) -> dict[str, str | None]:
    """Read feeds as the command line gives them, ``NAME`` or ``NAME=SCOPE``.

    Raises:
        InvalidInput: a feed is given twice with different scopes, or a scope is empty.
    """
    feeds: dict[str, str | None] = {}
    for option in options:
        name, separator, scope = option.partition("=")
        if separator and not scope:
            raise InvalidInput(f"--feed {option} has no scope after =: write {name}=messaging, or leave = out")
        if feeds.setdefault(name, scope or None) != (scope or None):
            raise InvalidInput(f"--feed gives {name!r} twice, with different scopes: give it once")
    return feeds


def _open(directory: Path, passphrase_file: Path | None, wait: float, settings: Settings | None = None) -> "Publisher":
    """Open the folder; the guard has the limits of the settings."""
    from blocklist_sdk.publisher import Publisher, PublisherGuard, Timing

    limits: dict[str, Any] = {} if settings is None else settings.complete().limits("publish")
    source = PassphraseSource(passphrase_file)
    timing = Timing(lock_wait_s=wait)
    return Publisher.open(directory, passphrase=source, timing=timing, guard=PublisherGuard(**limits))


def _numbers_of(numbers: list[str] | None, source: Path | None) -> list[str] | Path | BinaryIO:
    """The numbers of the command line, or the file that has them."""
    if bool(numbers) == (source is not None):
        raise InvalidInput("give numbers, or a file with --from, and not both")
    if source is not None:
        return input_of(source)
    return input_of(Path("-")) if numbers == ["-"] else numbers or []


def _check_dry_run(*, accept: bool, rejects: Path | None) -> None:
    if accept or rejects is not None:
        raise InvalidInput("--dry-run publishes and writes nothing: leave --accept and --rejects out, or --dry-run")


@contextlib.contextmanager
def _details() -> Iterator[None]:
    """Show what a release that is refused would have changed."""
    try:
        yield
    except Refused as error:
        for line in error.details:
            say(line)
        raise


def _show_impact(impact: "ReleaseImpact", *, as_json: bool) -> None:
    """Show what would change, and end."""
    from blocklist_sdk.publisher.impact import impact_lines

    if as_json:
        surprising = [
            {
                "why": each.why,
                "kind": each.kind,
                "entry": entry_document(each.entry),
                "before": each.before and entry_document(each.before),
            }
            for each in impact.surprising
        ]
        write_json(asdict(impact) | {"surprising": surprising})
    else:
        write_lines([*impact_lines(impact, masked=False), *(f"  the guard refuses it: {r}" for r in impact.refusals)])
    if impact.invalid:
        say(f"{counted(impact.invalid, 'row')} cannot be published")
    raise typer.Exit(ERRORS[Refused] if impact.refusals else FINE)


def _show(result: "ReleaseResult", *, as_json: bool) -> None:
    if as_json:
        write_json(asdict(result))
    else:
        typer.echo(
            f"{result.feed}: release {result.serial} with {counted(result.rows, 'entry', 'entries')}: "
            f"{result.added:,} added, {result.removed:,} removed, {result.changed:,} changed"
            f"{_column(result.column)} ({result.seconds:.2f} s)"
        )
        if widest := result.widest:
            typer.echo(
                f"covers {counted(result.reach, 'number')}; the widest, line {widest.line}: {widest.pattern}, covers "
                f"{widest.reach:,}"
            )
        if result.form.texts or result.form.by == "header":
            typer.echo(f"  {result.form}")
    if result.invalid:
        rows = "row" if result.invalid == 1 else "rows"
        say(f"{result.invalid:,} {rows} cannot be published; see {result.rejects_path} for the reasons")


def _column(column: str | None) -> str:
    """The column that was read, if it was guessed: its name may have been a row of the list."""
    return "" if column is None or column.lower() == "number" else f"; numbers from the column {column!r}"
