"""Options of commands that read a table, and standard input in the place of a file."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from blocklist_sdk.encodings import decoded
from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.tables.options import TableOptions

MapOption = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="NAME=COLUMN",
        help="The file's name for a column, such as number='Nomor HP'; or what a word in a column means, such as "
        "category:penipuan=fraud. Upper and lower case make no difference. May be repeated.",
    ),
]
MapFileOption = Annotated[
    Path | None,
    typer.Option(
        "--map-file", metavar="FILE", help="A TOML file with such names, in its tables columns, values.NAME and dates."
    ),
]
DateFormatOption = Annotated[
    str | None,
    typer.Option(
        "--date-format",
        metavar="FORMAT",
        help="How the file writes dates, such as dd/mm/yyyy or d.m.yy hh:mm; ISO 8601 is always read.",
    ),
]
SheetOption = Annotated[
    str | None, typer.Option("--sheet", metavar="NAME", help="The sheet of a spreadsheet; by default the only one.")
]
HeaderRowOption = Annotated[
    int | None,
    typer.Option(
        "--header-row", min=1, metavar="N", help="The line with the columns' names; by default it is searched for."
    ),
]

_SECTIONS: Final = {"columns", "values", "dates"}


def table_options(
    *,
    maps: Sequence[str] | None = None,
    map_file: Path | None = None,
    date_format: str | None = None,
    sheet: str | None = None,
    header_row: int | None = None,
) -> TableOptions:
    """How to read a table, as options say it; they go before the file.

    Raises:
        InvalidInput: one of them cannot be used.
    """
    columns, values, form = _from_file(map_file) if map_file is not None else ({}, {}, None)
    for text in maps or ():
        left, equals, right = text.partition("=")
        name, colon, word = left.partition(":")
        if not equals or not name.strip() or not right.strip() or (colon and not word.strip()):
            raise InvalidInput(f"--map {text!r} must be NAME=COLUMN, such as number='Nomor HP', or NAME:WORD=VALUE")
        if colon:
            values.setdefault(name.strip().lower(), {})[word.strip()] = right.strip()
        else:
            columns[name.strip().lower()] = right.strip()
    return TableOptions(
        columns=columns, values=values, date_format=date_format or form, sheet=sheet, header_row=header_row
    )


def _from_file(path: Path) -> tuple[dict[str, str], dict[str, dict[str, str]], str | None]:
    try:
        document: dict[str, Any] = tomllib.loads(decoded(path.read_bytes(), f"the map file {path}"))
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"the map file {path} is not TOML: {error}") from error
    except OSError as error:
        raise InvalidInput(f"cannot read the map file {path}: {error.strerror}") from error
    dates = document.get("dates", {})
    unknown = sorted(set(document) - _SECTIONS)
    if not unknown and isinstance(dates, dict):
        unknown = sorted(set(dates) - {"format"})
    if unknown or not all(isinstance(section, dict) for section in document.values()):
        what = f"{unknown[0]!r} is not known" if unknown else "each of them is a table"
        raise InvalidInput(f"the map file {path} may have [columns], [values.NAME] and [dates] with format: {what}")
    values = {
        name.lower(): dict(words) if isinstance(words, dict) else words
        for name, words in document.get("values", {}).items()
    }
    columns = {name.lower(): column for name, column in document.get("columns", {}).items()}
    return columns, values, dates.get("format")
