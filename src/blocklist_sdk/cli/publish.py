"""The publisher's commands: ``blocklist publish init | add-feed | set-scope | release | add | remove | refresh | …``.

``release``, ``add`` and ``remove`` are in `cli/publish_lists.py`, ``protect`` in `cli/publish_protect.py`, and
``keys`` in `cli/publish_keys.py`.
"""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from blocklist_sdk.cli import publish_keys, publish_protect
from blocklist_sdk.cli.inputs import check_input
from blocklist_sdk.cli.keys_file import KeysOption, read_keys
from blocklist_sdk.cli.output import AsJson, moment, say, write_json
from blocklist_sdk.cli.passphrase import OfflinePassphraseFileOption, PassphraseFileOption, PassphraseSource
from blocklist_sdk.cli.publish_lists import add, release, remove
from blocklist_sdk.cli.publish_options import Directory, Wait, open_publisher
from blocklist_sdk.cli.signals import StopOnSignal
from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.release.release_id import ReleaseId
from blocklist_sdk.texts import counted

app: typer.Typer = typer.Typer(help="Publish signed lists: keys, releases, and a small server.", no_args_is_help=False)
app.add_typer(publish_keys.app, name="keys")
app.add_typer(publish_protect.app, name="protect")


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
    offline_passphrase_file: OfflinePassphraseFileOption = None,
    as_json: AsJson = False,
) -> None:
    """Make a publisher's folder: keys, a signed repository, and the root.json that recipients pin."""
    from blocklist_sdk.publisher import Publisher

    source = PassphraseSource(passphrase_file, is_new=True)
    uris = read_keys(keys_file) if keys_file else None
    scopes = _feeds_of(feed)
    for file in (*(root_key or ()), *(targets_key or ())):
        check_input(file)
    if (root_key or targets_key) and offline_passphrase_file is not None:
        raise InvalidInput("leave out --offline-passphrase-file: the keys of --root-key are with their holders")
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
    offline = PassphraseSource.offline(offline_passphrase_file, is_new=True) if offline_passphrase_file else None
    made = Publisher.init(
        directory, feeds=scopes, passphrase=source, region=region, key_uris=uris, offline_passphrase=offline
    )
    if as_json:
        write_json(
            {
                "directory": directory,
                "feeds": list(scopes),
                "scopes": {each.feed: each.scope for each in made.status().feeds},
                "repository": directory / "repository",
                "keys": directory / "keys",
                "root": directory / "root.json",
                **publish_keys.root_document(made.root_file),
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
    offline_passphrase_file: OfflinePassphraseFileOption = None,
) -> None:
    """Add a feed with its own key; needs the targets key.

    Only the new feed's table in the --keys file is read.
    """
    uris = read_keys(keys_file).get(f"feed.{feed}", []) if keys_file else []
    if keys_file and not uris:
        raise InvalidInput(f"the file of keys {keys_file} has no table [[feed.{feed}]]: add it, or leave out --keys")
    publisher = open_publisher(directory, passphrase_file, 60.0, offline_passphrase_file=offline_passphrase_file)
    publisher.add_feed(feed, scope=scope, key_uris=uris)
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


app.command()(release)
app.command()(add)
app.command()(remove)


@app.command()
def refresh(
    directory: Directory,
    wait: Wait = 60.0,
    passphrase_file: PassphraseFileOption = None,
    offline_passphrase_file: OfflinePassphraseFileOption = None,
    as_json: AsJson = False,
) -> None:
    """Sign the timestamp again, and every role that expires soon. Run it every hour."""
    result = open_publisher(directory, passphrase_file, wait, offline_passphrase_file=offline_passphrase_file).refresh()
    if as_json:
        write_json(asdict(result))
    else:
        typer.echo(f"signed again: {', '.join(result.renewed)}; the next signature expires on {moment(result.expires)}")
    for role in result.overdue:
        say(f"not signed again, and its signature expires on {moment(role.expires)}: {role.reason}; then refresh again")


@app.command()
def snapshot(
    directory: Directory,
    feed: Annotated[str, typer.Option("--feed", metavar="NAME", help="The feed.")],
    wait: Wait = 60.0,
    passphrase_file: PassphraseFileOption = None,
    as_json: AsJson = False,
) -> None:
    """Write the snapshot of a feed's current release anew, and sign it; serial and digest stay.

    For a snapshot that was damaged or lost, and for a release that has none of its own, before many newcomers come.
    """
    result = open_publisher(directory, passphrase_file, wait).snapshot(feed)
    if as_json:
        write_json(asdict(result))
    else:
        rows = counted(result.rows, "entry", "entries")
        release_id = ReleaseId(result.era, result.serial)
        typer.echo(f"{feed}: snapshot of release {release_id} written, {rows}, {result.snapshot_bytes:,} bytes")


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
