"""Tables of text as people keep them: encoding, delimiter, header line, and the column with the numbers."""

from collections.abc import Iterator, Sequence
from typing import Any

from blocklist_sdk.errors import InvalidInput, mask

OPTIONAL_COLUMNS = ("last", "entry", "level", "category", "issuer", "scope", "since", "until")
"""Columns that are read where they are present, beside the numbers."""

_DELIMITERS = ",;\t|"
_NO_HEADER = frozenset({"nan", "null", "none", "n/a"})
"""Single words that stand for a missing number rather than for a column's name."""


def encoding_of(data: Any) -> str:
    """UTF-8 unless a byte order mark says otherwise."""
    return "utf-16" if data.peek(2)[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"


def delimiter_of(line: str) -> str:
    """What parts the cells of a line, by what occurs most often."""
    return max(_DELIMITERS, key=line.count)


def first_line(lines: Iterator[str], name: str) -> tuple[int, str]:
    """The first line that is not blank, and how many were passed over."""
    for passed, line in enumerate(lines):
        if line.strip():
            return passed, line
    raise InvalidInput(f"{name} is empty")


def header_of(cells: Sequence[str], column: str | None) -> list[str] | None:
    """The columns' names, None where the first line is a row already."""
    is_named = column is not None or any(cell.lower() in ("number", *OPTIONAL_COLUMNS) for cell in cells)
    if is_named or (len(cells) > 1 and any(map(_is_word, cells))):
        return list(cells)
    if len(cells) > 1:
        raise InvalidInput(
            f"the file has {len(cells)} columns and no header line: add one, with 'number' over the numbers"
        )
    return list(cells) if _is_word(cells[0]) else None


def _is_word(cell: str) -> bool:
    """Whether a cell is rather a column's name than a number."""
    return any(map(str.isalpha, cell)) and not any(map(str.isdigit, cell)) and cell.lower() not in _NO_HEADER


def number_column(names: Sequence[str] | None, column: str | None) -> str:
    """Which column has the numbers."""
    names = names or ()
    if column is not None:
        found = [name for name in names if name == column]
    else:
        found = [name for name in names if name.lower() == "number"]
        found = found or [name for name in names if name.lower() not in OPTIONAL_COLUMNS]
    if len(found) == 1:
        return found[0]
    # What was taken for a header may be a row of numbers.
    shown = ", ".join(mask(name) if any(map(str.isdigit, name)) else name for name in names)
    wanted = f"no column {column!r}" if column is not None and not found else "no single column with the numbers"
    raise InvalidInput(f"the list has {wanted}; its columns are: {shown}. Name one of them.")
