"""``blocklist override``: the recipient's own decisions on numbers."""

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from blocklist_sdk import times
from blocklist_sdk.cli.exit_codes import REJECTED
from blocklist_sdk.cli.inputs import input_of, place_in
from blocklist_sdk.cli.moments import read_moment
from blocklist_sdk.cli.output import AsJson, moment, numbers_text, say, write_json, write_line
from blocklist_sdk.cli.settings import FILES, LIST, Settings, check_output, with_settings
from blocklist_sdk.cli.table_options import (
    DateFormatOption,
    HeaderRowOption,
    MapFileOption,
    MapOption,
    SheetOption,
    table_options,
)
from blocklist_sdk.cli.text_tables import LimitOption, limited, write_table
from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.texts import counted

app: typer.Typer = typer.Typer(
    no_args_is_help=True, help="Decide on numbers yourself; your decision goes before every feed's."
)

NumberArgument = Annotated[
    str,
    typer.Argument(
        metavar="NUMBER",
        help="The number, as people write it; also a range or pattern, such as 0812-0000-####, as lists have them.",
    ),
]
MaxCoverOption = Annotated[
    int, typer.Option(min=0, metavar="N", help="How many assigned numbers one pattern or range may cover.")
]
ReasonOption = Annotated[str, typer.Option(metavar="TEXT", help="Why you decide so, for later readers.")]
UntilOption = Annotated[
    str | None,
    typer.Option(
        metavar="MOMENT",
        help="When it ends, such as 2027-01-31T23:59:59+07:00; a date alone is its first moment in UTC.",
    ),
]
AuthorOption = Annotated[str | None, typer.Option(metavar="NAME", help="Who decided; by default this user.")]


_ONLY_READ: Final = ("list", "export")


@app.callback()
@with_settings(*LIST, *FILES)
def override(
    context: typer.Context,
    settings: Settings,
) -> None:
    """Decide on numbers yourself; your decision goes before every feed's."""
    context.obj = lambda: settings.open(writes=context.invoked_subcommand not in _ONLY_READ)


@app.command()
def allow(
    context: typer.Context,
    number: NumberArgument,
    reason: ReasonOption,
    until: UntilOption = None,
    author: AuthorOption = None,
    max_cover: MaxCoverOption = 100_000,
    as_json: AsJson = False,
) -> None:
    """Never block a number or a range, whatever the feed says.

    On a number that several decisions cover, the one on this number alone decides, then the one on the narrowest range.
    """
    with context.obj() as blocklist:
        for each in blocklist.overrides.decide(
            "allow", number, reason=reason, until=_end(until), author=author, max_cover=max_cover
        ):
            _write(each, as_json)


@app.command()
def block(
    context: typer.Context,
    number: NumberArgument,
    reason: ReasonOption,
    until: UntilOption = None,
    author: AuthorOption = None,
    max_cover: MaxCoverOption = 100_000,
    as_json: AsJson = False,
) -> None:
    """Block a number or a range for every scope, whatever the feed says."""
    with context.obj() as blocklist:
        for each in blocklist.overrides.decide(
            "block", number, reason=reason, until=_end(until), author=author, max_cover=max_cover
        ):
            _write(each, as_json)


@app.command()
def remove(context: typer.Context, number: NumberArgument) -> None:
    """Remove the decision on exactly this number, range or pattern."""
    with context.obj() as blocklist:
        if not blocklist.overrides.remove(number):
            raise InvalidInput(
                "this number has no override of its own; blocklist override list shows all, ranges as first-last"
            )
    say("the override was removed; the feed decides again")


@app.command("list")
def show(context: typer.Context, limit: LimitOption = None, as_json: AsJson = False) -> None:
    """Show all decisions, those that have ended as well."""
    with context.obj() as blocklist:
        found = limited(blocklist.overrides, limit)
        if as_json:
            for each in found:
                write_json(asdict(each))
        else:
            write_table(_COLUMNS, map(_row, found), whole=3)


@app.command("import")
def import_(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A table with the columns number, decision, reason, perhaps author and until; - is standard input.",
        ),
    ],
    author: AuthorOption = None,
    max_cover: MaxCoverOption = 100_000,
    rejects: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A file for the rows that are rejected, with their lines.")
    ] = None,
    maps: MapOption = None,
    map_file: MapFileOption = None,
    date_format: DateFormatOption = None,
    sheet: SheetOption = None,
    header_row: HeaderRowOption = None,
    as_json: AsJson = False,
) -> None:
    """Import decisions from CSV or another table; they replace earlier decisions on the same numbers.

    Exits with 7 if rows were rejected, after the others were imported.
    """
    from blocklist_sdk.tables.rejects import write_rejects

    options = table_options(maps=maps, map_file=map_file, date_format=date_format, sheet=sheet, header_row=header_row)
    with context.obj() as blocklist:
        if rejects is not None:
            check_output(rejects, blocklist)
        result = blocklist.overrides.import_file(
            input_of(file), author=author, options=options, notify=say, max_cover=max_cover
        )
    if rejects is not None:
        write_rejects(result.rejects, rejects)
    for reject in result.rejects:
        say(f"{place_in(file, reject.line)}: {reject.reason}")
    if as_json:
        rejected = [{"line": reject.line, "reason": reject.reason} for reject in result.rejects]
        write_json({"rows": result.rows, "rejects": rejected})
    else:
        typer.echo(f"{result.rows:,} imported, {len(result.rejects):,} rejected")
    if result.rejects:
        raise typer.Exit(REJECTED)


@app.command()
def export(
    context: typer.Context, file: Annotated[Path, typer.Argument(metavar="FILE", help="The CSV file to write.")]
) -> None:
    """Write all decisions to a CSV file."""
    with context.obj() as blocklist:
        say(f"wrote {counted(blocklist.overrides.export_csv(file), 'override')} to {file}")


def _end(text: str | None) -> datetime | None:
    return None if text is None else read_moment(text)


_COLUMNS = ("decision", "number", "until", "reason", "author")


def _row(override: Any) -> tuple[str, ...]:
    """A decision in a table."""
    ended = "" if override.in_force(times.now()) else " (ended)"
    return (
        override.decision,
        numbers_text(override),
        f"{moment(override.until) or '-'}{ended}",
        override.reason,
        override.author,
    )


def _write(override: Any, as_json: bool) -> None:
    if as_json:
        write_json(asdict(override))
        return
    until = f" until {moment(override.until)}" if override.until else ""
    ended = "" if override.in_force(times.now()) else " (ended)"
    write_line(
        f"{override.decision:<5}  {numbers_text(override):<16}{until}{ended}  {override.reason} ({override.author})"
    )
