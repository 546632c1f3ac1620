"""``blocklist screen``: a file of numbers, with the answer added to each row."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from blocklist_sdk.cli.exit_codes import REJECTED
from blocklist_sdk.cli.inputs import input_of
from blocklist_sdk.cli.output import AsJson, RequireFresh, say, write_json
from blocklist_sdk.cli.settings import BUNDLE, LIST, Settings, check_output, with_settings
from blocklist_sdk.cli.table_options import HeaderRowOption, SheetOption, table_options
from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.records import Scope
from blocklist_sdk.release.release_id import ReleaseId
from blocklist_sdk.texts import counted

if TYPE_CHECKING:
    from blocklist_sdk.recipient.screening.files import ScreeningResult

OutputFormat = Literal["csv", "csv.gz", "parquet"]


@with_settings(*LIST, *BUNDLE)
def screen(
    settings: Settings,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A table: CSV, gzipped or not, a spreadsheet, JSON, vCard or Parquet; - is standard input.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="OUT", help="The file to write: .csv, .csv.gz or .parquet; - is standard output."
        ),
    ],
    column: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The column with the numbers; by default `number`, or the only one."),
    ] = None,
    output_format: Annotated[
        OutputFormat | None,
        typer.Option(
            "--output-format", metavar="FORMAT", help="csv, csv.gz or parquet; by default as the name of OUT says."
        ),
    ] = None,
    only_hits: Annotated[
        bool, typer.Option("--only-hits", help="Write only rows that are blocked or have an advisory.")
    ] = False,
    scope: Annotated[
        Scope | None, typer.Option(metavar="SCOPE", help="Screen for one scope only: voice, sms, data or messaging.")
    ] = None,
    max_rejects: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            metavar="SHARE",
            help="The largest share of rows, 0 to 1, that may be unreadable; above it nothing is written.",
        ),
    ] = 0.1,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 7 if a row could not be read.")] = False,
    sheet: SheetOption = None,
    header_row: HeaderRowOption = None,
    require_fresh: RequireFresh = False,
    as_json: AsJson = False,
) -> None:
    """Screen a file of numbers, of any size; does not use the network.

    The columns blocklist_number, blocklist_blocked, blocklist_level, blocklist_category and blocklist_reason are added
    to each row; they are empty if the cell is not a number. Every row keeps its place. The output appears only when it
    is complete.
    """
    from blocklist_sdk.recipient.screening.files import screen_file

    is_stdout = str(output) == "-"
    if is_stdout and as_json:
        raise InvalidInput(
            "--json and -o - would both write to standard output: give a file with -o, or leave --json out"
        )
    target = sys.stdout.buffer if is_stdout else output
    options = table_options(sheet=sheet, header_row=header_row)
    with settings.open_to_ask(requires_fresh=require_fresh) as blocklist, _bar(as_json) as progress:
        if not is_stdout:
            check_output(output, blocklist)
        summary = screen_file(
            blocklist.screening(scope=scope),
            input_of(file),
            target,
            column=column,
            options=options,
            output_format=output_format,
            only_hits=only_hits,
            max_rejects=max_rejects,
            progress=progress,
            notify=say,
        )
    _say_unreadable(summary)
    if as_json:
        rejects = [{"line": reject.line, "reason": reject.reason} for reject in summary.rejects]
        write_json({"feed": blocklist.feed, "output": output, **asdict(summary), "rejects": rejects})
    else:
        where = "standard output" if is_stdout else output
        (say if is_stdout else typer.echo)(
            f"{counted(summary.rows + summary.unreadable, 'row')}: {summary.blocked:,} blocked, "
            f"{summary.advisory:,} advisory, {summary.invalid:,} not a number, {summary.empty:,} empty, "
            f"{summary.unreadable:,} unreadable; {summary.written:,} written to {where} "
            f"({blocklist.feed}, release {ReleaseId(summary.era, summary.serial)}, {summary.seconds:.1f} s)"
            f"{_about_scope(summary, scope)}{_about_clock(summary)}"
        )
    if strict and summary.unreadable:
        raise typer.Exit(REJECTED)


def _about_scope(summary: "ScreeningResult", scope: str | None) -> str:
    """How many entries on the list apply to the scope that was asked for, unless all do."""
    if summary.scope_listed is False:
        return f"; no entry on the list has the scope {scope}"
    if summary.scope_entries is None or summary.scope_entries == summary.list_entries:
        return ""
    applies = "applies" if summary.scope_entries == 1 else "apply"
    return f"; {summary.scope_entries:,} of {counted(summary.list_entries, 'entry', 'entries')} {applies} to {scope}"


def _about_clock(summary: "ScreeningResult") -> str:
    """How far this machine's clock is behind, if it is; the log has what to do."""
    behind_s = summary.clock_behind_s
    return "" if behind_s is None else f"; this machine's clock is {timedelta(seconds=behind_s)} behind"


def _say_unreadable(summary: "ScreeningResult") -> None:
    """Name the rows that could not be read."""
    if summary.unreadable:
        lines = ", ".join(str(reject.line) for reject in summary.rejects)
        more = " and others" if summary.unreadable > len(summary.rejects) else ""
        say(
            f"{counted(summary.unreadable, 'row')} cannot be read, with more or fewer cells than the header: not "
            f"screened, and their cells are not in the output: line {lines}{more}"
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
