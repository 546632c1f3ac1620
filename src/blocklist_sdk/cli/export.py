"""``blocklist export``: the whole list, for other tools."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final, Literal

import typer

from blocklist_sdk.cli.output import say
from blocklist_sdk.cli.settings import BUNDLE, FILES, LIST, Settings, check_output, with_settings
from blocklist_sdk.disk import replaced
from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.texts import counted, displayable, is_displayable, spreadsheet_cell

Format = Literal["csv", "jsonl", "parquet"]

_ENDINGS: Final[dict[str, Format]] = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
"""The formats by what a file's name ends with."""

_NEVER: Final = frozenset({".gz", ".zip", ".xls", ".xlsx", ".ods", ".json", ".pdf"})
"""Endings of formats that no export has: a file of that name would not open."""

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
            help="csv, jsonl or parquet, each with a snapshot's columns; by default as the name of FILE says, or else "
            "csv.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="The file to write; - or none is standard output."),
    ] = None,
) -> None:
    """Write the whole list as CSV, JSON lines or Parquet; does not use the network.

    Numbers are E.164 digits without a plus; times are UTC. The file appears only when it is complete.
    """
    output = None if str(output) == "-" else output
    if format_ == "parquet" and output is None:
        raise InvalidInput("Parquet cannot go to standard output: give a file with -o FILE")
    its_access = settings.access().to_be_read()
    with settings.open_to_ask() as blocklist:
        if output is not None:
            check_output(output, blocklist)
        form = _format_of(output, format_)
        table = blocklist.to_arrow()
        if output is None:
            write_table(table, form, sys.stdout.buffer)
            return
        with replaced(output, its_access) as temporary:
            if form == "parquet":
                from blocklist_sdk.release.arrow import from_table
                from blocklist_sdk.release.files import write_snapshot

                write_snapshot(from_table(table), temporary)
            else:
                with temporary.open("wb") as file:
                    write_table(table, form, file)
        say(f"wrote {counted(len(table), 'row')} to {output}")


def _format_of(output: Path | None, given: Format | None) -> Format:
    """The format of an export, which the name of its file must not contradict.

    Raises:
        InvalidInput: the name says another format, or one that no export has.

    >>> _format_of(Path("list.parquet"), None), _format_of(None, None)
    ('parquet', 'csv')
    """
    ending = "" if output is None else output.suffix.lower()
    named = _ENDINGS.get(ending)
    if ending in _NEVER:
        raise InvalidInput(
            f"an export is csv, jsonl or parquet, and {output} would be named as something else: name the file .csv, "
            ".jsonl or .parquet"
        )
    if given is not None and named is not None and named != given:
        raise InvalidInput(
            f"--format {given} and the file {output} contradict each other: name the file .{given}, or leave --format "
            "out"
        )
    return given or named or "csv"


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
