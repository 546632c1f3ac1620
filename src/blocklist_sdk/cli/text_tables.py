"""Tables for people, which fit the terminal."""

import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Annotated, Final, TypeVar

import typer

from blocklist_sdk.cli.output import say, write_line
from blocklist_sdk.texts import displayable

T = TypeVar("T")

_GAP: Final = "  "
_NARROWEST_CHARS: Final = 8
"""A column that would be narrower is left out."""

_ROWS_MEASURED: Final = 1000
"""The columns are as wide as these first rows need; the rows after them are written as they come."""

LimitOption = Annotated[
    int | None, typer.Option("--limit", min=1, metavar="N", help="Show at most so many, and say so if there are more.")
]


def limited(items: Iterable[T], limit: int | None) -> Iterator[T]:
    """The first items; if there are more, a message says so."""
    if limit is None:
        yield from items
        return
    found = iter(items)
    yield from islice(found, limit)
    if next(found, None) is not None:
        say_more(limit)


def say_more(limit: int) -> None:
    """Say that there are more than were shown."""
    say(f"only the first {limit:,} are shown: give a higher --limit, or leave it out")


def write_table(header: Sequence[str], rows: Iterable[Sequence[str]], *, whole: int) -> None:
    """Write a table to standard output, as wide as the terminal at most; nothing if there are no rows."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() or "COLUMNS" in os.environ else None
    for line in table_lines(header, rows, whole=whole, width=width):
        write_line(line)


def table_lines(
    header: Sequence[str], rows: Iterable[Sequence[str]], *, whole: int, width: int | None
) -> Iterator[str]:
    """The lines of a table.

    Args:
        header: the columns' names.
        rows: a text for each column.
        whole: so many columns, from the left, are always shown whole; lines may then be longer than `width`.
        width: where lines would be longer, texts in the other columns are cut, and then columns left out, from the
            right; None for any length.

    >>> [*table_lines(("case", "why"), [("7", "a long story"), ("12", "short")], whole=1, width=14)]
    ['case  why', '7     a long …', '12    short']
    >>> [*table_lines(("case", "why"), [], whole=1, width=14)]
    []
    """
    cells = ([displayable(text) for text in row] for row in rows)
    first = list(islice(cells, _ROWS_MEASURED))
    if not first:
        return
    widths = [max(map(len, column)) for column in zip(header, *first, strict=True)]
    if width is not None:
        _narrow(widths, whole, width)
    for row in chain([header], first, cells):
        texts = [
            text if width is None or at < whole else _cut(text, size)
            for at, (text, size) in enumerate(zip(row, widths, strict=False))
        ]
        yield _GAP.join(f"{text:<{size}}" for text, size in zip(texts, widths, strict=True)).rstrip()


def _narrow(widths: list[int], whole: int, width: int) -> None:
    """Narrow the widest columns until all fit, and drop the last where none can be narrower."""
    while (excess := sum(widths) + len(_GAP) * (len(widths) - 1) - width) > 0 and len(widths) > whole:
        widest = max(range(whole, len(widths)), key=widths.__getitem__)
        if widths[widest] > _NARROWEST_CHARS:
            widths[widest] -= min(excess, widths[widest] - _NARROWEST_CHARS)
        else:
            widths.pop()


def _cut(text: str, size: int) -> str:
    return text if len(text) <= size else f"{text[: size - 1]}…"
