"""How to read a table that does not speak for itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.tables.dates import date_reader

_EMPTY: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class TableOptions:
    """How to read a table that does not speak for itself; all of it may be left out.

    Attributes:
        columns: the table's name for a column, by what it means: ``{"number": "Nomor HP"}``. Upper and lower case and
            space around names make no difference.
        values: words of the table and what they mean, by column: ``{"category": {"penipuan": "fraud"}}``.
        date_format: the form of dates, such as ``dd/mm/yyyy``; None for ISO 8601 alone, which is always read.
        sheet: the name of the sheet in a spreadsheet; None for the only one.
        header_row: the line or row with the columns' names, from 1; None to find it.

    Raises:
        InvalidInput: one of them cannot be used.

    >>> options = TableOptions(columns={"number": "Nomor HP"}, date_format="dd/mm/yyyy")
    >>> options.columns["number"]
    'Nomor HP'
    """

    columns: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    date_format: str | None = None
    sheet: str | None = None
    header_row: int | None = None

    def __post_init__(self) -> None:
        _check_texts("columns", self.columns)
        if not isinstance(self.values, Mapping):
            raise InvalidInput("values must be a mapping, such as {'category': {'penipuan': 'fraud'}}")
        for name, words in self.values.items():
            _check_texts(f"values of {name!r}", words)
        if self.date_format is not None:
            date_reader(self.date_format)
        row = self.header_row
        if row is not None and (not isinstance(row, int) or isinstance(row, bool) or row < 1):
            raise InvalidInput(f"the header's row must be a whole number from 1, not {row!r}")


def _check_texts(name: str, given: object) -> None:
    is_text = isinstance(given, Mapping) and all(isinstance(t, str) for pair in given.items() for t in pair)
    if not is_text:
        raise InvalidInput(f"{name} must be a mapping of texts to texts")


PLAIN: Final = TableOptions()
"""For a table that speaks for itself."""
