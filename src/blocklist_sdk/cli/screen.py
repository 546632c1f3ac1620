"""``blocklist screen``: a file of numbers, with the answer added to each row."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from blocklist_sdk.cli.output import AsJson, say, write_json
from blocklist_sdk.cli.settings import LIST, Settings, check_output, with_settings
from blocklist_sdk.records import Scope
from blocklist_sdk.texts import counted


@with_settings(*LIST)
def screen(
    settings: Settings,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A CSV file, gzipped or not, or a Parquet file.")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="OUT", help="The file to write: .csv, .csv.gz or .parquet."),
    ],
    column: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The column with the numbers; by default `number`, or the only one."),
    ] = None,
    only_hits: Annotated[
        bool, typer.Option("--only-hits", help="Write only rows that are blocked or have an advisory.")
    ] = False,
    scope: Annotated[
        Scope | None, typer.Option(metavar="SCOPE", help="Screen for one scope only: voice, sms, data or messaging.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Screen a file of numbers, of any size; does not use the network.

    The columns blocklist_number, blocklist_blocked, blocklist_level, blocklist_category and blocklist_reason are added
    to each row; they are empty if the cell is not a number. The output appears only when it is complete.
    """
    from blocklist_sdk.recipient.screening.files import screen_file

    with settings.open() as blocklist, _bar(as_json) as progress:
        check_output(output, blocklist)
        screening = blocklist.screening(scope=scope)
        summary = screen_file(screening, file, output, column=column, only_hits=only_hits, progress=progress)
    if summary.unreadable:
        lines = counted(summary.unreadable, "line was", "lines were")
        say(f"{lines} left out, with more or fewer cells than the others")
    if as_json:
        write_json({"feed": blocklist.feed, "output": output, **asdict(summary)})
        return
    typer.echo(
        f"{counted(summary.rows, 'row')}: {summary.blocked:,} blocked, {summary.advisory:,} advisory, "
        f"{summary.invalid:,} not a number, {summary.empty:,} empty; {summary.written:,} written to {output} "
        f"({blocklist.feed}, release {summary.serial}, {summary.seconds:.1f} s)"
    )


@contextlib.contextmanager
def _bar(as_json: bool) -> Iterator[Callable[[int, int], None] | None]:
    """A progress bar on a terminal, and nothing elsewhere."""
    if as_json or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("screening", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
