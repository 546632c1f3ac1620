"""``blocklist mirror``: a verified copy of a repository."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blocklist_sdk.cli.output import AsJson, moment, write_json
from blocklist_sdk.cli.settings import REPOSITORY, SERVER, Settings, with_settings

if TYPE_CHECKING:
    from blocklist_sdk.mirror import MirrorResult


@with_settings(*REPOSITORY, *SERVER)
def mirror(
    settings: Settings,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The mirror's folder, new or an earlier run's.")],
    # Not the setting `feed`: what a recipient on this machine syncs says nothing about what the mirror is for.
    feeds: Annotated[
        list[str] | None,
        typer.Option(
            "--feed", metavar="NAME", help="A feed to mirror, and no other; may be repeated. By default all feeds."
        ),
    ] = None,
    wait: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="How long to wait while another run mirrors into DIR.")
    ] = 60.0,
    as_json: AsJson = False,
) -> None:
    """Make a verified copy of a repository, byte for byte, or bring one up to date; serve it like the repository.

    Whatever fails, the copy goes on serving the state that it had.
    """
    settings = settings.complete(REPOSITORY)
    assert settings.url is not None
    assert settings.root is not None
    from blocklist_sdk.mirror import mirror as make_mirror

    result = make_mirror(
        settings.url,
        directory,
        root=settings.root,
        feeds=feeds or None,
        wait_s=wait,
        auth=settings.auth(),
        tls=settings.tls(),
    )
    if as_json:
        write_json(asdict(result))
    else:
        typer.echo(_told(result))


def _told(result: "MirrorResult") -> str:
    news = "brought up to date" if result.changed else "up to date"
    return (
        f"{', '.join(result.feeds) or 'no feed'}: {news}, {result.fetched:,} files fetched, {result.kept:,} kept, "
        f"fresh until {moment(result.expires)} ({result.bytes:,} bytes, {result.seconds:.2f} s)"
    )
