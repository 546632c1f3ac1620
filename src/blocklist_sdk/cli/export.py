"""``blocklist export``: the whole list, or the numbers that block now, for other tools."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Final, Literal, get_args

import typer

from blocklist_sdk.cli.output import AsJson, RequireFresh, say, write_json
from blocklist_sdk.cli.settings import BUNDLE, FILES, LIST, Settings, check_output, with_settings
from blocklist_sdk.disk import replaced
from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.recipient.exports.result import ExportFormat
from blocklist_sdk.records import Scope
from blocklist_sdk.release.release_id import ReleaseId
from blocklist_sdk.texts import alternatives, counted, displayable, is_displayable, spreadsheet_cell

if TYPE_CHECKING:
    from blocklist_sdk.recipient.blocklist import Blocklist
    from blocklist_sdk.recipient.exports.result import ExportResult

WholeFormat = Literal["csv", "jsonl", "parquet"]
"""Formats with every entry as it was released, and all that is known about it."""

Format = Literal[WholeFormat, ExportFormat]
"""These, and those with the numbers that block now."""

_WHOLE: Final = alternatives(get_args(WholeFormat))
_PLAIN: Final = alternatives(get_args(ExportFormat))
_ALL: Final = alternatives(get_args(Format))

_BY_ENDING: Final[dict[str, Format]] = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
"""The format of a file by what its name ends with, if none is given."""

_OF_OTHERS: Final = (
    *(".gz", ".zip", ".zst", ".bz2", ".xz", ".lzma", ".lz4", ".7z", ".tgz", ".tar"),
    *(".tsv", ".xls", ".xlsx", ".ods", ".pdf", ".arrow", ".feather"),
)
"""What the names of files end with that no export is: compressed ones, other tables, documents."""

_ENDINGS: Final[dict[str, tuple[Format, ...]]] = {
    ".csv": ("csv", "prefixes"),
    ".jsonl": ("jsonl",),
    ".ndjson": ("jsonl",),
    ".parquet": ("parquet",),
    ".txt": ("txt", "prefixes", "csv"),
    ".xml": ("fritzbox",),
    ".json": ("misp",),
    **dict.fromkeys(_OF_OTHERS, ()),
}
"""Which formats a file may have by what its name ends with; with other endings any. Under a wrong one it would not
open."""

_UNDECIDED: Final = tuple(ending for ending, formats in _ENDINGS.items() if formats and ending not in _BY_ENDING)
"""Endings of exports that do not say which format it is."""

_ROWS_PER_BATCH = 1 << 16
"""The text of a list of ten million rows would not fit into memory at once."""

_WHOLE_SECONDS = "%Y-%m-%dT%H:%M:%SZ"


@with_settings(*LIST, *BUNDLE, *FILES)
def export(
    settings: Settings,
    format_: Annotated[
        Format | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help=f"The whole list, with a snapshot's columns: {_WHOLE}; or the numbers that block now: {_PLAIN}. "
            f"Without it, the ending of FILE decides ({', '.join(_BY_ENDING)}); {', '.join(_UNDECIDED[:-1])} and "
            f"{_UNDECIDED[-1]} need it; one of a compressed file or of another kind of table, such as .gz or .tsv, is "
            "refused; anything else, and standard output, is csv.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="The file to write; - or none is standard output."),
    ] = None,
    scope: Annotated[
        Scope | None,
        typer.Option(
            metavar="SCOPE",
            help="Only what blocks in one scope: voice, sms, data or messaging. Not for the whole list.",
        ),
    ] = None,
    max_expanded: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="NUMBERS",
            help="How many numbers of ranges may be written one by one; by default 1,000,000. Not for the whole list, "
            "nor for prefixes.",
        ),
    ] = None,
    require_fresh: RequireFresh = False,
    as_json: AsJson = False,
) -> None:
    """Write the whole list, or the numbers that block now; does not use the network.

    In csv, jsonl and parquet, every entry is as it was released: numbers are E.164 digits without a plus, times are
    UTC. The other formats have the numbers for which `check` says that they are blocked at this moment: overrides and
    protected numbers count. What such a format cannot say is said on standard error. The file appears only when it is
    complete.
    """
    output = None if str(output) == "-" else output
    with settings.open_to_ask(requires_fresh=require_fresh) as blocklist:
        if output is not None:
            check_output(output, blocklist)
        form = _format_of(output, format_)
        _check(form, output, scope=scope, max_expanded=max_expanded, as_json=as_json)
        match form:
            case "csv" | "jsonl" | "parquet":
                _write_whole(blocklist, settings, form, output, as_json=as_json)
            case _:
                _write_plain(blocklist, settings, form, output, scope=scope, max_expanded=max_expanded, as_json=as_json)


def _check(form: Format, output: Path | None, *, scope: Scope | None, max_expanded: int | None, as_json: bool) -> None:
    """Check that the options go together.

    Raises:
        InvalidInput: they do not.
    """
    if output is None and form in ("parquet", "ios"):
        raise InvalidInput(f"the format {form} cannot go to standard output: give a file with -o FILE")
    if output is None and as_json:
        raise InvalidInput("--json and the list would both go to standard output: give a file with -o FILE")
    if form in get_args(WholeFormat) and (scope is not None or max_expanded is not None):
        raise InvalidInput(
            f"--scope and --max-expanded are for the numbers that block now, and the format {form} has the whole list: "
            f"leave them out, or take the format {_PLAIN}"
        )
    if form == "prefixes" and max_expanded is not None:
        raise InvalidInput("the format prefixes has ranges as they are: leave --max-expanded out")


def _write_whole(
    blocklist: "Blocklist", settings: Settings, form: WholeFormat, output: Path | None, *, as_json: bool
) -> None:
    from blocklist_sdk.recipient.blocklist import asked_internals_of
    from blocklist_sdk.release.arrow import to_table

    found = asked_internals_of(blocklist).dated()
    table = to_table(found.release.rows)
    if output is None:
        write_table(table, form, sys.stdout.buffer)
        return
    with replaced(output, settings.access().to_be_read()) as temporary:
        if form == "parquet":
            from blocklist_sdk.release.arrow import from_table
            from blocklist_sdk.release.files import write_snapshot

            write_snapshot(from_table(table), temporary)
        else:
            with temporary.open("wb") as file:
                write_table(table, form, file)
    if as_json:
        about = found.release.about
        write_json(
            {
                "feed": about.feed,
                "era": about.era,
                "serial": about.serial,
                "as_of": about.published_at,
                "expires": found.expires,
                "stale": found.stale,
                "clock_behind_s": found.clock_behind_s,
                "output": output,
                "output_format": form,
                "rows": len(table),
            }
        )
    else:
        say(f"wrote {counted(len(table), 'row')} to {output}")


def _write_plain(
    blocklist: "Blocklist",
    settings: Settings,
    form: "ExportFormat",
    output: Path | None,
    *,
    scope: Scope | None,
    max_expanded: int | None,
    as_json: bool,
) -> None:
    from blocklist_sdk.recipient.exports.files import MAX_EXPANDED, export_file

    complete = settings.complete()
    result = export_file(
        blocklist,
        sys.stdout.buffer if output is None else output,
        output_format=form,
        scope=scope,
        max_expanded=MAX_EXPANDED if max_expanded is None else max_expanded,
        group=complete.group,
        file_mode=complete.file_mode,
    )
    if not as_json:
        say(_summary(result, output))
    for remark in result.remarks:
        say(remark)
    if as_json:
        write_json({"output": output, **asdict(result)})


def _summary(result: "ExportResult", output: Path | None) -> str:
    written = counted(result.numbers, "number")
    if result.output_format == "prefixes":
        written = f"{counted(result.lines, 'prefix', 'prefixes')} of {written}"
    where = "standard output" if output is None else output
    return f"wrote {written} to {where} ({result.feed}, release {ReleaseId(result.era, result.serial)})"


def _format_of(output: Path | None, given: Format | None) -> Format:
    """The format of an export, which the name of its file must not contradict.

    Raises:
        InvalidInput: the name says another format, or one that no export has.

    >>> _format_of(Path("list.parquet"), None), _format_of(Path("list.csv"), "prefixes"), _format_of(None, None)
    ('parquet', 'prefixes', 'csv')
    """
    ending = "" if output is None else output.suffix.lower()
    form = given or _BY_ENDING.get(ending) or (None if ending in _ENDINGS else "csv")
    if form is not None and form in _ENDINGS.get(ending, (form,)):
        return form
    possible = _ENDINGS[ending]
    if given is not None:
        endings = [each for each, formats in _ENDINGS.items() if given in formats]
        named = f"name it {alternatives(endings)}" if endings else f"leave {ending} out"
        another = f", or give --format {alternatives(possible)}" if possible else ""
        raise InvalidInput(
            f"--format {given} and the file {output} contradict each other, and other programs go by the name: {named}"
            f"{another}"
        )
    if possible:
        raise InvalidInput(
            f"the name {output} does not say the format of the export: give it with --format; a file of that name may "
            f"be {alternatives(possible)}"
        )
    raise InvalidInput(
        f"an export is {_ALL}, and {output} would be named as something else: name it {alternatives(_BY_ENDING)}"
    )


def write_table(table: Any, form: str, sink: BinaryIO) -> None:
    """Write a table as CSV or JSON lines."""
    if form == "csv":
        sink.write(",".join(table.schema.names).encode() + b"\n")
    for batch in table.to_batches(max_chunksize=_ROWS_PER_BATCH):
        for line in _lines(batch, form):
            sink.write(line.encode() + b"\n")


def _lines(batch: Any, form: str) -> list[str]:
    """Rows as text, made column by column: a million rows take a few seconds, not minutes."""
    import pyarrow.compute as pc

    cells = [_cells(batch.column(name), form) for name in batch.schema.names]
    if form == "csv":
        lines = pc.binary_join_element_wise(*cells, ",")
    else:
        named = [
            pc.binary_join_element_wise(f"{json.dumps(name)}: ", column, "")
            for name, column in zip(batch.schema.names, cells, strict=True)
        ]
        lines = pc.binary_join_element_wise("{", pc.binary_join_element_wise(*named, ", "), "}", "")
    texts: list[str] = lines.to_pylist()
    return texts


def _cells(column: Any, form: str) -> Any:
    """One column as text; a null is an empty cell in CSV, and null in JSON."""
    import pyarrow as pa
    import pyarrow.compute as pc

    quote = '"' if form == "jsonl" else ""
    if pa.types.is_dictionary(column.type):
        values = [_quoted(value, form) for value in column.dictionary.to_pylist()]
        texts = pa.array(values, pa.string()).take(column.indices)
    elif pa.types.is_timestamp(column.type):
        moments = pc.strftime(column.cast(pa.timestamp("s", "UTC")), format=_WHOLE_SECONDS)
        texts = pc.binary_join_element_wise(quote, moments, quote, "")
    else:
        texts = column.cast(pa.string())
    return texts.fill_null("null" if form == "jsonl" else "")


def _quoted(value: str, form: str) -> str:
    """A text as JSON or as RFC 4180 CSV.

    Whatever a list has in it, an entry is one line, and no terminal or spreadsheet obeys it.
    """
    if form == "jsonl":
        return json.dumps(value, ensure_ascii=not is_displayable(value)).replace("\x7f", "\\u007f")
    value = spreadsheet_cell(displayable(value))
    return f'"{value.replace(chr(34), chr(34) * 2)}"' if any(mark in value for mark in ',"\r\n') else value
