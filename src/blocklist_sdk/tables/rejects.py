"""Rows that cannot be used, and the file that lists them."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from blocklist_sdk.disk import adopt, regular_target, staged, storage
from blocklist_sdk.modes import PRIVATE
from blocklist_sdk.texts import displayable, spreadsheet_cell


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that cannot be used.

    Attributes:
        line: the line of a text file, or the row of a sheet or table, from 1.
        reason: why the row cannot be used.
        text: the number as it was written, or the whole line; a file of rejects shows it as one line, without controls.
    """

    line: int
    reason: str
    text: str


def write_rejects(rejects: Sequence[Reject], path: Path) -> None:
    """Write rejects as CSV (`line`, `reason`, `text`), whole or not at all, readable by the owner alone.

    Raises:
        InvalidInput: `path` is something other than a file.
        StorageFailed: the disk refused.
    """
    path = regular_target(path)
    with storage(path):
        PRIVATE.make(path.parent)
        with staged(path.parent) as temporary:
            with temporary.open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(("line", "reason", "text"))
                # Whoever looks at the file with `cat` must not have a terminal that obeys what a stranger wrote.
                # Nor a spreadsheet.
                texts = ((reject.line, _cell(reject.reason), _cell(reject.text)) for reject in rejects)
                writer.writerows(texts)
            adopt(temporary, path, PRIVATE)


def _cell(text: str) -> str:
    return spreadsheet_cell(displayable(text))
