"""``blocklist trust``: which root is pinned."""

from dataclasses import asdict
from typing import Annotated

import typer

from blocklist_sdk.cli.output import AsJson, say, write_json, write_line
from blocklist_sdk.cli.settings import FILES, LIST, Settings, with_settings
from blocklist_sdk.release.release_id import FIRST_ERA, ReleaseId

app: typer.Typer = typer.Typer(no_args_is_help=True, help="Pin another root, where a publisher had to begin anew.")


@app.callback()
def _group() -> None:
    """Keep `replace` a command of its own."""


@app.command()
@with_settings(*LIST, *FILES)
def replace(
    settings: Settings,
    fingerprint: Annotated[
        str,
        typer.Option(metavar="DIGITS", help="The new root's fingerprint, as its publisher has told you otherwise."),
    ],
    wait: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="How long to wait while another process syncs.")
    ] = 60.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be given up, and change nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Pin another root, given as --root, where no chain of roots leads from the old one to it.

    What was remembered of the feed's repository is given up: signed metadata, the highest release, what was refused.
    Overrides, ledgers and the list in force stay; the next sync compares the new list with it. Run this once for each
    feed. After an ordinary change of keys it is not needed.
    """
    with settings.open(writes=True) as blocklist:
        done = blocklist.replace_root(fingerprint, dry_run=dry_run, wait_s=wait)
    if as_json:
        write_json(asdict(done))
        return
    would = "would be " if dry_run else ""
    write_line(f"{done.feed}: root, version {done.root_version}, {done.fingerprint}, {would}pinned")
    if done.highest_serial is not None:
        highest = ReleaseId(done.highest_era or FIRST_ERA, done.highest_serial)
        write_line(f"  {would}given up: release {highest} as the highest, and the repository's metadata")
    if done.refused is not None:
        write_line(f"  {would}given up: what was refused of release {done.refused}")
    if done.serial is not None:
        release = ReleaseId(done.era or FIRST_ERA, done.serial)
        write_line(f"  stays: release {release}, which goes on answering, with overrides and ledgers")
    for feed in done.remaining:
        say(
            f"feed {feed} in the same directories has another root still: if it is this publisher's, run the same "
            f"command with --feed {feed}"
        )
    if not dry_run:
        say("name this root wherever the list is opened (root in blocklist.toml), then run blocklist sync")
