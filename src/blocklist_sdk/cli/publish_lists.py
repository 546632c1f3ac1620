"""``blocklist publish release | add | remove``: a list, or a part of one, becomes the next release."""

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from blocklist_sdk.cli.exit_codes import ERRORS, FINE, REJECTED
from blocklist_sdk.cli.inputs import check_input, input_of
from blocklist_sdk.cli.moments import read_moment
from blocklist_sdk.cli.option_records import with_records
from blocklist_sdk.cli.output import AsJson, entry_document, say, write_json, write_lines
from blocklist_sdk.cli.passphrase import PassphraseFileOption, PassphraseSource
from blocklist_sdk.cli.publish_options import Directory, Wait, given_numbers
from blocklist_sdk.cli.settings import Settings, with_settings
from blocklist_sdk.cli.table_options import (
    DateFormatOption,
    HeaderRowOption,
    MapFileOption,
    MapOption,
    SheetOption,
    table_options,
)
from blocklist_sdk.errors import InvalidInput, Refused
from blocklist_sdk.numbers.text import check_form
from blocklist_sdk.texts import counted

if TYPE_CHECKING:
    from blocklist_sdk.publisher import Publisher, ReleaseImpact, ReleaseResult

FeedOption = Annotated[str, typer.Option("--feed", metavar="NAME", help="The feed.")]
NumbersArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[NUMBER]...", help="Numbers, or - for a file on standard input.")
]
FromOption = Annotated[
    Path | None,
    typer.Option(
        "--from",
        metavar="FILE",
        help="A file with the numbers, in any form that a list may have; - is standard input.",
    ),
]
ColumnOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="The column with the numbers; by default number, or else the only one."),
]
RegionOption = Annotated[
    str | None,
    typer.Option(
        metavar="REGION", help="Two-letter country code for national numbers; by default as in the release before."
    ),
]
FormOption = Annotated[
    str,
    typer.Option(
        metavar="FORM",
        help="How digits without + are read: international (country code first), national, or auto: the list decides.",
    ),
]
RejectsOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The file for rows that cannot be published; by default one under DIR/rejects."),
]
MaxCoverOption = Annotated[
    int,
    typer.Option(
        min=0,
        metavar="N",
        help="How many assigned numbers one pattern or range may cover; above it nothing is published.",
    ),
]
DryRunOption = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Show what would change, and publish nothing; exit with 6 if the guard would refuse it, else as the run.",
    ),
]
AcceptOption = Annotated[
    bool,
    typer.Option("--accept", help="Publish what the guard refused; taken only after the same list was refused."),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingOptions:
    """How a list is read."""

    column: ColumnOption = None
    region: RegionOption = None
    form: FormOption = "auto"
    maps: MapOption = None
    map_file: MapFileOption = None
    sheet: SheetOption = None
    header_row: HeaderRowOption = None

    def keywords(self, *, date_format: str | None = None) -> dict[str, Any]:
        """The same as `Publisher` takes them."""
        options = table_options(
            maps=self.maps,
            map_file=self.map_file,
            date_format=date_format,
            sheet=self.sheet,
            header_row=self.header_row,
        )
        form = check_form(self.form)
        return {"column": self.column, "region": self.region, "form": form, "options": options, "notify": say}


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryOptions:
    """What new entries get where a list says nothing, and how their dates are read."""

    issuer: Annotated[str, typer.Option(metavar="NAME", help="The issuer of rows for which the list gives none.")] = (
        "authority"
    )
    level: Annotated[
        str,
        typer.Option(
            metavar="LEVEL", help="block or advisory: the level of new entries for which the list gives none."
        ),
    ] = "block"
    category: Annotated[
        str, typer.Option(metavar="CATEGORY", help="The category of new entries for which the list gives none.")
    ] = "fraud"
    scope: Annotated[
        str | None,
        typer.Option(
            metavar="SCOPE",
            help="data, messaging, sms and voice joined by +: the scope of new entries for which the list gives none; "
            "by default the feed's.",
        ),
    ] = None
    date_format: DateFormatOption = None
    max_cover: MaxCoverOption = 100_000

    def keywords(self) -> dict[str, Any]:
        """The same as `Publisher` takes them."""
        return {name: getattr(self, name) for name in ("issuer", "level", "category", "scope", "max_cover")}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a run goes."""

    rejects: RejectsOption = None
    dry_run: DryRunOption = False
    accept: AcceptOption = False
    wait: Wait = 60.0
    passphrase_file: PassphraseFileOption = None
    as_json: AsJson = False


@with_settings(guard="publish")
@with_records
def release(
    settings: Settings,
    directory: Directory,
    feed: FeedOption,
    source: Annotated[
        Path,
        typer.Option(
            "--from",
            metavar="FILE",
            help="The whole list as it should be from now on: CSV or text, a spreadsheet, JSON, vCard or Parquet; "
            "- is standard input.",
        ),
    ],
    reading: ReadingOptions,
    entries: EntryOptions,
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="Publish even an empty list, which lifts every entry.")
    ] = False,
    max_rejects: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            metavar="SHARE",
            help="The largest share of the list's rows, 0 to 1, that may be rejects; above it nothing is published.",
        ),
    ] = 0.1,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 7 if a row could not be published.")] = False,
    *,
    run: RunOptions,
) -> None:
    """Publish the next release: numbers new on the list are added, numbers gone from it are removed.

    If much more ceases or begins to be blocked than in an ordinary month, the list is refused with 6, and what would
    have changed is shown. `publish add` adds a part to the current list.
    """
    options = reading.keywords(date_format=entries.date_format) | entries.keywords()
    options |= {"allow_empty": allow_empty, "max_rejects": max_rejects}
    given = input_of(check_input(source))
    publisher = _open(directory, settings, run)
    if run.dry_run:
        impact = publisher.dry_run(feed, given, **options)
        _show_impact(impact, as_json=run.as_json, strict=strict, is_whole=True)
    with _details():
        result = publisher.release(feed, given, rejects=run.rejects, accept=run.accept, **options)
    _show(result, as_json=run.as_json)
    if result.invalid and strict:
        raise typer.Exit(REJECTED)


@with_settings(guard="publish")
@with_records
def add(
    settings: Settings,
    directory: Directory,
    feed: FeedOption,
    numbers: NumbersArgument = None,
    source: FromOption = None,
    *,
    reading: ReadingOptions,
    entries: EntryOptions,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="MOMENT", help="When the new entries end, such as 2027-01-31, where the list gives no end."
        ),
    ] = None,
    run: RunOptions,
) -> None:
    """Publish the next release: the current list and these numbers.

    A number that the same issuer lists already, for as long and in all scopes, changes nothing; if its entry only ends
    earlier, it gets the later end. Exits with 7 if rows were rejected, after the others were published.
    """
    options = reading.keywords(date_format=entries.date_format) | entries.keywords()
    options["until"] = None if until is None else read_moment(until)
    given = given_numbers(numbers, source)
    publisher = _open(directory, settings, run)
    if run.dry_run:
        _show_impact(publisher.dry_run(feed, given, edit="add", **options), as_json=run.as_json, strict=True)
    with _details():
        result = publisher.add(feed, given, rejects=run.rejects, accept=run.accept, **options)
    _show(result, as_json=run.as_json)
    if result.already_listed:
        say(f"{counted(result.already_listed, 'number')} listed by the same issuer before: nothing changed for these")
    if result.extended:
        say(f"{counted(result.extended, 'number')} listed by the same issuer before: listed until the later end now")
    if result.invalid:
        raise typer.Exit(REJECTED)


@with_settings(guard="publish")
@with_records
def remove(
    settings: Settings,
    directory: Directory,
    feed: FeedOption,
    numbers: NumbersArgument = None,
    source: FromOption = None,
    *,
    reading: ReadingOptions,
    issuer: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Whose entries to remove; needed where a number has entries of several issuers."
        ),
    ] = None,
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="Remove even the last entry, so that the list is empty.")
    ] = False,
    run: RunOptions,
) -> None:
    """Publish the next release: the current list without these numbers.

    A range is removed as it is listed. Exits with 2 if none of the numbers is listed, and with 7 if rows were rejected,
    after the others were removed.
    """
    options = reading.keywords() | {"issuer": issuer, "allow_empty": allow_empty}
    given = given_numbers(numbers, source)
    publisher = _open(directory, settings, run)
    if run.dry_run:
        _show_impact(publisher.dry_run(feed, given, edit="remove", **options), as_json=run.as_json, strict=True)
    with _details():
        result = publisher.remove(feed, given, rejects=run.rejects, accept=run.accept, **options)
    _show(result, as_json=run.as_json)
    if result.invalid:
        raise typer.Exit(REJECTED)


def _open(directory: Path, settings: Settings, run: RunOptions) -> "Publisher":
    """Open the folder, with the limits of the settings for its guard.

    Raises:
        InvalidInput: the options contradict each other, or the folder or a setting cannot be used.
    """
    from blocklist_sdk.publisher import Publisher, PublisherGuard, Timing

    if run.dry_run and (run.accept or run.rejects is not None):
        raise InvalidInput("--dry-run publishes and writes nothing: leave --accept and --rejects out, or --dry-run")
    limits: dict[str, Any] = settings.complete().limits("publish")
    return Publisher.open(
        directory,
        passphrase=PassphraseSource(run.passphrase_file),
        timing=Timing(lock_wait_s=run.wait),
        guard=PublisherGuard(**limits),
    )


@contextlib.contextmanager
def _details() -> Iterator[None]:
    """Show what a release that is refused would have changed."""
    try:
        yield
    except Refused as error:
        for line in error.details:
            say(line)
        raise


def _show_impact(impact: "ReleaseImpact", *, as_json: bool, strict: bool, is_whole: bool = False) -> None:
    """Show what would change, and end as the run would.

    Args:
        impact: what would change.
        as_json: write it as JSON.
        strict: a reject counts.
        is_whole: the list would take the place of the current one.
    """
    from blocklist_sdk.publisher.impact import impact_lines

    if as_json:
        surprising = [
            {
                "why": each.why,
                "kind": each.kind,
                "entry": entry_document(each.entry),
                "before": each.before and entry_document(each.before),
            }
            for each in impact.surprising
        ]
        write_json(asdict(impact) | {"surprising": surprising})
    else:
        write_lines([*impact_lines(impact, masked=False), *(f"  the guard refuses it: {r}" for r in impact.refusals)])
    if impact.refusals:
        part = "if the list is a part only, add it to the current one: blocklist publish add; " if is_whole else ""
        say(
            f"{part}if all of this is right, publish it without --dry-run, which is refused, and then once more with "
            "--accept"
        )
    if impact.invalid:
        say(f"{counted(impact.invalid, 'row')} cannot be published")
    if impact.refusals:
        raise typer.Exit(ERRORS[Refused])
    raise typer.Exit(REJECTED if strict and impact.invalid else FINE)


def _show(result: "ReleaseResult", *, as_json: bool) -> None:
    if as_json:
        write_json(asdict(result))
    else:
        typer.echo(
            f"{result.feed}: release {result.release} with {counted(result.rows, 'entry', 'entries')}: "
            f"{result.added:,} added, {result.removed:,} removed, {result.changed:,} changed"
            f"{_column(result.column)} ({result.seconds:.2f} s)"
        )
        if widest := result.widest:
            typer.echo(
                f"covers {counted(result.reach, 'number')}; the widest, line {widest.line}: {widest.pattern}, covers "
                f"{widest.reach:,}"
            )
        if result.form.texts or result.form.by == "header":
            typer.echo(f"  {result.form}")
    if result.invalid:
        rows = "row" if result.invalid == 1 else "rows"
        say(f"{result.invalid:,} {rows} cannot be published; see {result.rejects_path} for the reasons")


def _column(column: str | None) -> str:
    """The column that was read, if it was guessed: its name may have been a row of the list."""
    return "" if column is None or column.lower() == "number" else f"; numbers from the column {column!r}"
