"""``blocklist override``: the recipient's own decisions on numbers."""

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from blocklist_sdk import times
from blocklist_sdk.cli.moments import read_moment
from blocklist_sdk.cli.output import AsJson, moment, say, write_json, write_line
from blocklist_sdk.cli.settings import LIST, Settings, with_settings
from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.texts import counted

app: typer.Typer = typer.Typer(
    no_args_is_help=True, help="Decide on numbers yourself; your decision goes before every feed's."
)

NumberArgument = Annotated[str, typer.Argument(metavar="NUMBER", help="The number, as people write it.")]
ReasonOption = Annotated[str, typer.Option(metavar="TEXT", help="Why you decide so, for later readers.")]
UntilOption = Annotated[
    str | None, typer.Option(metavar="MOMENT", help="When it ends, such as 2027-01-31 or 2027-01-31T08:00:00Z.")
]
AuthorOption = Annotated[str | None, typer.Option(metavar="NAME", help="Who decided; by default this user.")]


@app.callback()
@with_settings(*LIST)
def override(
    context: typer.Context,
    settings: Settings,
) -> None:
    """Decide on numbers yourself; your decision goes before every feed's."""
    context.obj = lambda: settings.open()


@app.command()
def allow(
    context: typer.Context,
    number: NumberArgument,
    reason: ReasonOption,
    until: UntilOption = None,
    author: AuthorOption = None,
    as_json: AsJson = False,
) -> None:
    """Never block a number, whatever the feed says."""
    with context.obj() as blocklist:
        _write(blocklist.overrides.allow(number, reason=reason, until=_end(until), author=author), as_json)


@app.command()
def block(
    context: typer.Context,
    number: NumberArgument,
    reason: ReasonOption,
    until: UntilOption = None,
    author: AuthorOption = None,
    as_json: AsJson = False,
) -> None:
    """Block a number for every scope, whatever the feed says."""
    with context.obj() as blocklist:
        _write(blocklist.overrides.block(number, reason=reason, until=_end(until), author=author), as_json)


@app.command()
def remove(context: typer.Context, number: NumberArgument) -> None:
    """Remove the decision on a number."""
    with context.obj() as blocklist:
        if not blocklist.overrides.remove(number):
            raise InvalidInput("this number has no override")
    say("the override was removed; the feed decides again")


@app.command("list")
def show(context: typer.Context, as_json: AsJson = False) -> None:
    """Show all decisions, those that have ended as well."""
    with context.obj() as blocklist:
        for each in blocklist.overrides:
            _write(each, as_json)


@app.command("import")
def import_(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="CSV with the columns number, decision, reason, author, until.")
    ],
    author: AuthorOption = None,
    as_json: AsJson = False,
) -> None:
    """Import decisions from a CSV file; they replace earlier decisions on the same numbers."""
    with context.obj() as blocklist:
        result = blocklist.overrides.import_csv(file, author=author)
    for line, reason in result.rejects:
        say(f"line {line}: {reason}")
    if as_json:
        write_json(asdict(result))
    else:
        typer.echo(f"{result.rows:,} imported, {len(result.rejects):,} rejected")


@app.command()
def export(
    context: typer.Context, file: Annotated[Path, typer.Argument(metavar="FILE", help="The CSV file to write.")]
) -> None:
    """Write all decisions to a CSV file."""
    with context.obj() as blocklist:
        say(f"wrote {counted(blocklist.overrides.export_csv(file), 'override')} to {file}")


def _end(text: str | None) -> datetime | None:
    return None if text is None else read_moment(text)


def _write(override: Any, as_json: bool) -> None:
    if as_json:
        write_json(asdict(override))
        return
    until = f" until {moment(override.until)}" if override.until else ""
    ended = "" if override.in_force(times.now()) else " (ended)"
    write_line(f"{override.decision:<5}  +{override.number:<15}{until}{ended}  {override.reason} ({override.author})")
