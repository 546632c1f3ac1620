"""One list of numbers made into three releases: some numbers come late, others are missing from the second."""

import contextlib
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from blocklist_sdk.errors import InvalidInput, InvalidNumber
from blocklist_sdk.numbers import normalize
from blocklist_sdk.publisher.cells import Cells, read_cells
from blocklist_sdk.publisher.next_release import EntryDefaults, ListRows
from blocklist_sdk.publisher.rows import read_rows
from blocklist_sdk.release.rows import FOREVER_MS, Int64s
from blocklist_sdk.tables.header import Meanings

DEFAULTS = EntryDefaults(level="block", category="fraud", issuer="demo-authority", scope="messaging+sms+voice")
"""The values of entries where the list gives none."""

_SHARE = 100
"""One in this many numbers comes late, and as many are missing from the second release."""

_SEED = 1


@dataclass(frozen=True, slots=True)
class Lists:
    """The three lists, and a few numbers to look up.

    Attributes:
        first: the list without the numbers that come late.
        second: the list with those, and without others that were in the first.
        third: the file as it is; without its entry ids, if it has any.
        column: the file's column with the numbers.
        rows: number of valid rows in the file.
        numbers: number of distinct numbers in them; of a range, the first counts.
        invalid: how many rows are not numbers, by reason, the most frequent first.
        listed: a number on all three lists.
        late: a number that comes with the second list.
        dropped: a number that is missing from the second list.
        unlisted: a number on none of them.
    """

    first: pa.Table
    second: pa.Table
    third: pa.Table | Path
    column: str | None
    rows: int
    numbers: int
    invalid: Mapping[str, int]
    listed: int
    late: int
    dropped: int
    unlisted: int


def make_lists(path: Path, *, column: str | None, region: str | None) -> Lists:
    """Read a list and make three of it; the same file always makes the same three.

    Args:
        path: CSV, Parquet, JSON lines or text.
        column: the column with the numbers; by default ``number``, or else the only one.
        region: two-letter country code in which national numbers are read.

    Raises:
        InvalidInput: the list cannot be read, or has fewer than three numbers that can be shown as blocked.
    """
    cells = read_cells(path, column=column, meanings=Meanings(options="--column"))
    rows, rejects, _ = read_rows(cells, region=region, defaults=DEFAULTS)
    numbers = np.unique(rows.number)
    shown = np.setdiff1d(numbers, rows.number[~_is_plain(rows)])
    shown = np.random.default_rng(_SEED).permutation(shown[~_is_in_range(shown, rows)])
    if len(shown) < 3:
        raise InvalidInput(
            f"{path} has too few numbers to demonstrate with: {len(shown)}, but three are needed. They must be single "
            "numbers of level block, in force, without an end, and in no range. Is the --region right?"
        )
    share = max(1, len(shown) // _SHARE)
    late, dropped, listed = shown[:share], shown[share : 2 * share], _sample(shown[2 * share :])
    free = np.setdiff1d(rows.last + 1, rows.number)
    table = _without_ids(cells)

    def without(left_out: Int64s) -> pa.Table:
        lines = rows.line[~np.isin(rows.number, left_out)]
        return table.filter(pa.array(np.isin(cells.line, lines)))

    return Lists(
        first=without(late),
        second=without(dropped),
        third=table if "entry" in cells.columns else path,
        column=column,
        rows=len(rows),
        numbers=len(numbers),
        invalid=dict(Counter(reject.reason for reject in rejects).most_common()),
        listed=listed,
        late=_sample(late),
        dropped=_sample(dropped),
        unlisted=_sample(free[(free > listed) & ~_is_in_range(free, rows)]),
    )


def _without_ids(cells: Cells) -> pa.Table:
    """The list as a table without entry ids: a removed id must not come back, but the dropped numbers do."""
    columns = {name: column for name, column in cells.columns.items() if name != "entry"}
    if cells.is_release:
        # Without the ids it is not a release file any more, whose integers are E.164 numbers whatever the region.
        columns |= {
            name: pc.binary_join_element_wise("+", columns[name].cast(pa.string()), "") for name in ("number", "last")
        }
    return pa.table(columns)


def _is_plain(rows: ListRows) -> NDArray[np.bool_]:
    """Which rows are single numbers, blocked now and without an end."""
    plain: NDArray[np.bool_] = rows.last == rows.number
    if rows.since is not None:
        plain &= rows.since <= time.time_ns() // 1_000_000
    if rows.until is not None:
        plain &= rows.until == FOREVER_MS
    if rows.level is not None:
        is_block = np.array([value == "block" for value in rows.level.values] or [True])
        plain &= is_block[rows.level.codes]
    return plain


def _is_in_range(numbers: Int64s, rows: ListRows) -> NDArray[np.bool_]:
    """Which numbers a range covers, whatever their own rows say."""
    is_range = rows.last > rows.number
    begun = np.searchsorted(np.sort(rows.number[is_range]), numbers, "right")
    ended = np.searchsorted(np.sort(rows.last[is_range]), numbers, "left")
    return begun > ended


def _sample(numbers: Int64s) -> int:
    """The first number that is valid in its plan, or else the first possible one."""
    for strict in (True, False):
        for number in numbers.tolist():
            with contextlib.suppress(InvalidNumber):
                return normalize(f"+{number}", strict=strict)
    raise InvalidInput("the list leaves no number free to demonstrate with")
