"""Spreadsheets (.xlsx, .xls, .ods) as rows of texts: what a cell stores counts, and not how it is shown."""

import datetime
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, BinaryIO, Final

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.tables.batches import Batch, batch_of, storable
from blocklist_sdk.tables.cells import shown, text_of_number
from blocklist_sdk.tables.header import TopRow

_TOP_ROWS: Final = 200
_ROWS_PER_BATCH: Final = 1 << 15

Row = list[Any]


def sheet_rows(raw: BinaryIO, sheet: str | None, *, name: str) -> list[Row]:
    """The rows of one sheet, from its first one, all of them as wide as the sheet.

    Args:
        raw: the file.
        sheet: the sheet's name; None for the only one that is not empty.
        name: the file's name, for messages.

    Raises:
        InvalidInput: the file cannot be read, has no such sheet, or has several.
    """
    from python_calamine import CalamineError, CalamineWorkbook

    raw.seek(0)
    try:
        with CalamineWorkbook.from_filelike(raw) as workbook:
            names = workbook.sheet_names
            if sheet is None:
                filled = [each for each in names if _has_cells(workbook, each)]
                if len(filled) != 1:
                    what = "several sheets" if filled else "no sheet with cells"
                    listed = f": {', '.join(map(shown, filled))}. Name one with --sheet (sheet=)" if filled else ""
                    raise InvalidInput(f"{name} has {what}{listed}")
                sheet = filled[0]
            elif sheet not in names:
                raise InvalidInput(
                    f"{name} has no sheet {shown(sheet)!r}; its sheets are: {', '.join(map(shown, names))}"
                )
            return list(workbook.get_sheet_by_name(sheet).to_python(skip_empty_area=False))
    except CalamineError as error:
        raise InvalidInput(f"{name} is a spreadsheet that cannot be read: {error}. Save it again, or as CSV") from error


def _has_cells(workbook: Any, sheet: str) -> bool:
    from python_calamine import CalamineError

    try:
        return workbook.get_sheet_by_name(sheet).start is not None
    except CalamineError:
        # A chart has no cells.
        return False


def top_rows(rows: Sequence[Row]) -> list[TopRow]:
    """The first rows that are not blank."""
    top = ((line, [text_of(cell, is_number=False) or "" for cell in row]) for line, row in enumerate(rows, 1))
    return list(islice((TopRow(line, cells) for line, cells in top if any(map(str.strip, cells))), _TOP_ROWS))


def sheet_batches(rows: Sequence[Row], *, width: int, numbers: frozenset[int], first: int) -> Iterator[Batch]:
    """The rows from `first` on, in batches of texts.

    Args:
        rows: all rows of the sheet.
        width: number of columns.
        numbers: the positions of columns with telephone numbers.
        first: the first row to take, from 0.
    """
    for at in range(first, len(rows), _ROWS_PER_BATCH):
        part = rows[at : at + _ROWS_PER_BATCH]
        cells = [[text_of(cell, is_number=i in numbers) for i, cell in enumerate(row[:width])] for row in part]
        yield batch_of(cells, range(at + 1, at + 1 + len(part)), width)


def text_of(cell: Any, *, is_number: bool) -> str | None:
    """A cell as text: dates and times as ISO 8601, numbers by their value; None if it is empty.

    A date in a column of telephone numbers has its time as well, so that no reader takes it for a number.
    """
    if cell is None or cell == "":
        return None
    if isinstance(cell, str):
        return storable(cell)
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, int | float):
        return text_of_number(cell, is_number=is_number)
    if isinstance(cell, datetime.datetime):
        has_time = cell.time() != datetime.time() or is_number
        return cell.isoformat() if has_time else cell.date().isoformat()
    if isinstance(cell, datetime.date):
        return f"{cell.isoformat()}T00:00:00" if is_number else cell.isoformat()
    text = cell.isoformat() if isinstance(cell, datetime.time) else str(cell)
    return f"T{text}" if is_number else text
