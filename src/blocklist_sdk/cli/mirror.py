"""``blocklist mirror``: a verified copy of a repository."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blocklist_sdk.cli.output import AsJson, moment, write_json, write_line
from blocklist_sdk.cli.settings import REPOSITORY, SERVER, Settings, with_settings

if TYPE_CHECKING:
    from blocklist_sdk.mirror import MirrorResult


@with_settings(*REPOSITORY, *SERVER)
def mirror(
    settings: Settings,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The mirror's folder; it may be new.")],
    # Not the setting `feed`: which feed a recipient on this machine syncs has nothing to do with the mirror.
    feeds: Annotated[
        list[str] | None,
        typer.Option("--feed", metavar="NAME", help="The only feed to mirror; may be repeated. By default all feeds."),
    ] = None,
    wait: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="How long to wait while another run mirrors into DIR.")
    ] = 60.0,
    as_json: AsJson = False,
) -> None:
    """Make a verified copy of a repository, byte for byte, or update one; serve it like the repository.

    Whatever fails, the copy stays in the state that it was in.
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
        auth=settings.repository_auth(),
        tls=settings.tls(),
    )
    if as_json:
        write_json(asdict(result))
    else:
        write_line(_summary(result))


def _summary(result: "MirrorResult") -> str:
    state = "updated" if result.changed else "up to date"
    files = "file" if result.fetched == 1 else "files"
    return (
        f"{', '.join(result.feeds) or 'no feed'}: {state}, {result.fetched:,} {files} fetched, {result.kept:,} kept, "
        f"fresh until {moment(result.expires)} ({result.bytes:,} bytes, {result.seconds:.2f} s)"
    )
