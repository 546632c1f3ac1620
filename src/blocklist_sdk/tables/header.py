"""Which line of a table has the columns' names, and which column means what."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.tables.cells import is_like_a_number, shown
from blocklist_sdk.tables.options import TableOptions

LIST_COLUMNS: Final = ("number", "last", "entry", "level", "category", "issuer", "scope", "since", "until")
"""The columns of a list to be published, by their meaning."""

DATE_COLUMNS: Final = frozenset({"since", "until", "at", "happened_at"})

_LOOK_AHEAD: Final = 30
"""How many rows may stand above the header."""

_NO_HEADER: Final = frozenset({"nan", "null", "none", "n/a"})
"""Single words that stand for a missing number rather than for a column's name."""


class TopRow(NamedTuple):
    """One of a table's first rows.

    Attributes:
        line: its line.
        cells: its cells.
    """

    line: int
    cells: Sequence[str]


@dataclass(frozen=True, slots=True)
class Meanings:
    """What a reader looks for in a table.

    Attributes:
        known: the columns that it reads, by their meaning.
        number: the meaning of the column that is found without a name; None if all have to be named.
        needed: the columns that must be there.
        options: what names a column for this reader, for messages; empty if nothing does.
    """

    known: tuple[str, ...] = LIST_COLUMNS
    number: str | None = "number"
    needed: tuple[str, ...] = ("number",)
    options: str = "--column or --map (columns=)"


def same(name: str) -> str:
    """A name as names are compared: without the case and the space around it."""
    return " ".join(name.split()).casefold()


def wanted_names(options: TableOptions, column: str | None, meanings: Meanings) -> dict[str, str]:
    """The table's names that were given, by meaning.

    Raises:
        InvalidInput: a meaning is unknown, or has two names.
    """
    wanted = {same(meaning): name for meaning, name in options.columns.items()}
    unknown = sorted({*wanted, *map(same, options.values)} - set(meanings.known))
    if unknown:
        raise InvalidInput(f"{unknown[0]!r} is not a column that is read: map one of {', '.join(meanings.known)}")
    if column is not None and meanings.number is not None:
        if same(wanted.get(meanings.number, column)) != same(column):
            raise InvalidInput(f"the column {meanings.number!r} has two names: give --column or --map, not both")
        wanted[meanings.number] = column
    return wanted


def find_header(
    top: Sequence[TopRow], *, wanted: Mapping[str, str], meanings: Meanings, header_row: int | None = None
) -> int | None:
    """Which of a table's first rows has the columns' names; None if the first row is data.

    Args:
        top: the first rows, without blank ones.
        wanted: the table's names for columns that were given, by meaning.
        meanings: what is looked for.
        header_row: its line, if it was given.

    Raises:
        InvalidInput: the table has several columns and no header, or not where it was said to be; or rows with numbers
            are above it.
    """
    header = _searched(top[:_LOOK_AHEAD], wanted=wanted, meanings=meanings, header_row=header_row)
    if header_row is None:
        for row in top[: header or 0]:
            if any(map(is_like_a_number, row.cells)):
                raise InvalidInput(
                    f"line {row.line} has a number, {', '.join(map(shown, _filled(row)))}, but is above the header in "
                    f"line {top[header or 0].line}: perhaps several lists were put together. Divide them, or name the "
                    "header's line with --header-row (header_row=) to skip what is above it"
                )
    return header


def _searched(
    top: Sequence[TopRow], *, wanted: Mapping[str, str], meanings: Meanings, header_row: int | None
) -> int | None:
    if header_row is not None:
        for index, row in enumerate(top):
            if row.line == header_row:
                return index
        raise InvalidInput(f"line {header_row} is empty or not among the first lines, so it cannot be the header")
    names = [{same(cell) for cell in row.cells} for row in top]
    if wanted:
        given = {same(name) for name in wanted.values()}
        best = max(range(len(top)), key=lambda i: (len(given & names[i]), -i))
        if given & names[best]:
            found = [cell for cell in top[best].cells if same(cell) in given]
            if any(map(is_like_a_number, found)):
                raise _no_header(top[best])
            return best
    known = {same(meaning) for meaning in meanings.known}
    for index, row in enumerate(top):
        if ("number" in names[index] or len(known & names[index]) > 1) and not any(map(is_like_a_number, row.cells)):
            return index
    if len(top[0].cells) > 1 or len(_filled(top[0])) == 1:
        below = _header_below_titles(top)
        if below is not None:
            return below
    return _first_row(top[0], is_named=bool(wanted) or bool(known & names[0]))


def _first_row(first: TopRow, *, is_named: bool) -> int | None:
    cells = [cell.strip() for cell in first.cells]
    if any(map(is_like_a_number, cells)):
        if is_named or len(cells) > 1:
            raise _no_header(first)
        return None
    if is_named or (len(cells) > 1 and any(map(_is_word, cells))):
        return 0
    if len(cells) > 1:
        raise _no_header(first)
    return 0 if _is_word(cells[0]) else None


def _header_below_titles(top: Sequence[TopRow]) -> int | None:
    """The first row of names under rows with a single cell, as spreadsheets have them."""
    usual = Counter(len(_filled(row)) for row in top).most_common(1)[0][0]
    if usual < 2 or len(_filled(top[0])) > 1:
        return None
    for index, row in enumerate(top):
        filled = _filled(row)
        if len(filled) > 1:
            return index if all(map(_is_name, filled)) and 2 * len(filled) >= usual else None
    return None


def _filled(row: TopRow) -> list[str]:
    return [cell for cell in row.cells if cell.strip()]


def _is_word(cell: str) -> bool:
    """Whether a cell is rather a column's name than a number."""
    return any(map(str.isalpha, cell)) and not any(map(str.isdigit, cell)) and cell.lower() not in _NO_HEADER


def _is_name(cell: str) -> bool:
    return not is_like_a_number(cell) and (any(map(str.isalpha, cell)) or cell.strip() in ("#", "№"))


def _no_header(first: TopRow) -> InvalidInput:
    columns = f"{len(first.cells)} columns and " if len(first.cells) > 1 else ""
    return InvalidInput(
        f"the file has {columns}no header line: line {first.line} is data already, "
        f"{', '.join(map(shown, first.cells))}. Add a line with the columns' names, such as 'number' over the numbers, "
        "or, if it is one plain column of numbers, name no column"
    )


def place_columns(names: Sequence[str], *, wanted: Mapping[str, str], meanings: Meanings) -> dict[str, int]:
    """Where the columns are, by meaning.

    Raises:
        InvalidInput: one is missing, or occurs twice.
    """
    keys = [same(name) for name in names]
    places: dict[str, int] = {}
    for meaning, name in wanted.items():
        key = same(name)
        if keys.count(key) != 1:
            what = f"the column {shown(key)!r} more than once" if key in keys else f"no column {shown(name)!r}"
            raise _missing(names, what, meanings)
        places[meaning] = keys.index(key)
    taken = set(places.values())
    for meaning in meanings.known:
        if meaning not in places and keys.count(meaning) - sum(keys[i] == meaning for i in taken):
            if [i for i, key in enumerate(keys) if key == meaning and i not in taken][1:]:
                what = "no single column with the numbers" if meaning == meanings.number else f"{meaning!r} twice"
                raise _missing(names, what, meanings)
            places[meaning] = keys.index(meaning)
    if meanings.number is not None and meanings.number not in places:
        rest = [i for i, key in enumerate(keys) if i not in places.values() and key]
        if len(rest) != 1:
            raise _missing(names, "no single column with the numbers", meanings)
        places[meanings.number] = rest[0]
    lacking = sorted(set(meanings.needed) - set(places))
    if lacking:
        raise _missing(names, f"no column {', '.join(lacking)}", meanings)
    return places


def _missing(names: Sequence[str], what: str, meanings: Meanings) -> InvalidInput:
    columns = ", ".join(shown(name) for name in names if name.strip()) or "without names"
    hint = f"Name the right one with {meanings.options}" if meanings.options else "Rename the columns"
    return InvalidInput(f"the list has {what}; its columns are: {columns}. {hint}")
