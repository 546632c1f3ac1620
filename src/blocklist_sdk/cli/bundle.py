"""``blocklist bundle``: the list in one verified file, to be opened where there is no cache and no network."""

import shutil
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from blocklist_sdk.cli.output import AsJson, moment, say, write_json, write_line
from blocklist_sdk.cli.settings import FILES, LIST, Settings, check_output, with_settings
from blocklist_sdk.disk import storage
from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.places import resolved, temporary_directory
from blocklist_sdk.records import BundleResult
from blocklist_sdk.release.release_id import ReleaseId
from blocklist_sdk.texts import counted


@with_settings(*LIST, *FILES)
def bundle(
    settings: Settings,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The file to write; - is standard output.")
    ],
    with_overrides: Annotated[
        bool,
        typer.Option(
            "--with-overrides",
            help="Put your overrides and your own protected numbers in as well. Nobody signs them; they count where "
            "somebody asks with --bundle-overrides count.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write the list in force, and all that proves it, into one file; does not use the network.

    Look-up commands take it with --bundle FILE in place of a repository and a cache, and verify it: every byte, and the
    signatures from root.json down. The file appears only when it is complete and was verified. It expires with its
    signatures, so make it anew before that.
    """
    is_stdout = str(output) == "-"
    if is_stdout and as_json:
        raise InvalidInput(
            "--json and -o - would both write to standard output: give a file with -o, or leave --json out"
        )
    with settings.open(writes=True) as blocklist:
        if is_stdout:
            with temporary_directory(prefix="blocklist-") as folder, storage(folder):
                made = blocklist.bundle(folder / "bundle", overrides=with_overrides)
                with Path(made.path).open("rb") as file:
                    shutil.copyfileobj(file, sys.stdout.buffer)
            made = replace(made, path="-")
        else:
            check_output(output, blocklist)
            made = blocklist.bundle(resolved(output), overrides=with_overrides)
            made = replace(made, path=str(output))
    if as_json:
        write_json(asdict(made))
    else:
        (say if is_stdout else write_line)(_line(made))
    if (remark := _left_out(made)) is not None:
        say(remark)
    if made.stale:
        say("it is past its signed expiry already: run blocklist sync, and make it anew")


def _line(made: BundleResult) -> str:
    where = "standard output" if made.path == "-" else made.path
    overrides = "no overrides" if made.overrides is None else counted(made.overrides, "override")
    own = f" and {made.own_protected:,} of yours" if made.own_protected else ""
    return (
        f"{made.feed}: release {ReleaseId(made.era, made.serial)} of {moment(made.as_of)}, "
        f"{counted(made.rows, 'entry', 'entries')}, {counted(made.protected, 'protected number')}{own}, {overrides}, "
        f"expires {moment(made.expires)}: {counted(made.bytes, 'byte')} in {where}"
    )


def _left_out(made: BundleResult) -> str | None:
    """What of the recipient's own decisions is not in a bundle, and how it counts nevertheless; None if all is."""
    overrides, protected = made.overrides_left_out, made.own_protected_left_out
    if not (overrides or protected):
        return None
    if protected:
        left_out = f"{counted(protected, 'protected number')} of yours"
        left_out += f" and {counted(overrides, 'override')}" if overrides else ""
    else:
        left_out = f"{counted(overrides, 'override')} of yours"
    elsewhere = ", or --protected to whoever opens it" if protected else ""
    return (
        f"{left_out} {'is' if overrides + protected == 1 else 'are'} not in it, so the list alone decides there: give "
        f"--with-overrides{elsewhere}"
    )
