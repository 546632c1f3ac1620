"""``blocklist override``: the recipient's own decisions on numbers."""

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from blocklist_sdk import times
from blocklist_sdk.cli.moments import read_moment
from blocklist_sdk.cli.output import AsJson, moment, say, write_json
from blocklist_sdk.cli.settings import LIST, Settings, with_settings
from blocklist_sdk.errors import InvalidInput

app = typer.Typer(no_args_is_help=True, help="Decide on numbers yourself; your decision goes before every feed's.")

NumberArgument = Annotated[str, typer.Argument(metavar="NUMBER", help="As people write it.")]
ReasonOption = Annotated[str, typer.Option(metavar="TEXT", help="Why, for whoever finds it later.")]
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
    """Never block a number, whatever a feed says."""
    with context.obj() as blocklist:
        _tell(blocklist.overrides.allow(number, reason=reason, until=_end(until), author=author), as_json)


@app.command()
def block(
    context: typer.Context,
    number: NumberArgument,
    reason: ReasonOption,
    until: UntilOption = None,
    author: AuthorOption = None,
    as_json: AsJson = False,
) -> None:
    """Block a number for every scope, whatever a feed says."""
    with context.obj() as blocklist:
        _tell(blocklist.overrides.block(number, reason=reason, until=_end(until), author=author), as_json)


@app.command()
def remove(context: typer.Context, number: NumberArgument) -> None:
    """Take a decision back."""
    with context.obj() as blocklist:
        if not blocklist.overrides.remove(number):
            raise InvalidInput("there is no override on that number")
    say("the override is gone; the feed decides again")


@app.command("list")
def show(context: typer.Context, as_json: AsJson = False) -> None:
    """Show all decisions, also those that have ended."""
    with context.obj() as blocklist:
        for each in blocklist.overrides:
            _tell(each, as_json)


@app.command("import")
def take(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV: number, decision, reason, author, until.")],
    author: AuthorOption = None,
    as_json: AsJson = False,
) -> None:
    """Take over decisions from a CSV file; they replace earlier ones on the same numbers."""
    with context.obj() as blocklist:
        found = blocklist.overrides.import_csv(file, author=author)
    for line, reason in found.rejects:
        say(f"line {line}: {reason}")
    if as_json:
        write_json(asdict(found))
    else:
        typer.echo(f"{found.rows:,} taken over, {len(found.rejects):,} rejected")


@app.command("export")
def give(context: typer.Context, file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to; CSV.")]) -> None:
    """Write all decisions to a CSV file."""
    with context.obj() as blocklist:
        say(f"wrote {blocklist.overrides.export_csv(file):,} overrides to {file}")


def _end(text: str | None) -> datetime | None:
    return None if text is None else read_moment(text)


def _tell(override: Any, as_json: bool) -> None:
    if as_json:
        write_json(asdict(override))
        return
    until = f" until {moment(override.until)}" if override.until else ""
    ended = "" if override.in_force(times.now()) else " (ended)"
    typer.echo(f"{override.decision:<5}  +{override.number:<15}{until}{ended}  {override.reason} ({override.author})")
