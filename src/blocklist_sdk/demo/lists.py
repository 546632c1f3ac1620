"""One list of numbers made into three releases: some numbers come late, others are missing from the second."""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from blocklist_sdk.errors import InvalidInput, InvalidNumber
from blocklist_sdk.numbers import normalize
from blocklist_sdk.publisher.cells import Cells, read_source
from blocklist_sdk.publisher.next_release import Candidate, Defaults
from blocklist_sdk.publisher.rows import read_rows
from blocklist_sdk.release.rows import FOREVER_MS

DEFAULTS = Defaults(level="block", category="fraud", issuer="demo-authority", scope="messaging+sms+voice")
"""What the list's rows get where it does not say."""

_SHARE = 100
"""One number in so many comes late, and another one in so many is missing from the second release."""

_SEED = 1

Int64s = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Lists:
    """The three lists, and a few numbers to ask about.

    Attributes:
        first: the list without the numbers that come late.
        second: the list without others that were in the first, and with those that come late.
        third: the file as it is; without its entry ids, if it has any.
        column: of the file, with the numbers.
        rows: valid rows of the file.
        numbers: distinct numbers in them; the first of a range counts.
        invalid: how many rows are no numbers, by reason, the most frequent first.
        listed: a number on all three.
        late: a number that comes with the second.
        dropped: a number that the second leaves out.
        unlisted: a number on none.
    """

    first: Any
    second: Any
    third: Any
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
        InvalidInput: it cannot be read, or has fewer than three numbers that can be shown as blocked.
    """
    cells = read_source(path, column=column)
    rows, rejects = read_rows(cells, region=region, defaults=DEFAULTS)
    numbers = np.unique(rows.number)
    plain = np.setdiff1d(numbers, rows.number[~_is_plain(rows)])
    usable = np.random.default_rng(_SEED).permutation(plain[~_is_in_a_range(plain, rows)])
    if len(usable) < 3:
        raise InvalidInput(
            f"{path} has {len(usable)} numbers to demonstrate with, but three are needed: single numbers of level "
            "block, in force, without an end, and in no range. Is the --region right?"
        )
    share = max(1, len(usable) // _SHARE)
    late, dropped, kept = usable[:share], usable[share : 2 * share], usable[2 * share :]
    table = _without_ids(cells)

    def without(left_out: Int64s) -> Any:
        lines = rows.line[~np.isin(rows.number, left_out)]
        return table.filter(pa.array(np.isin(cells.line, lines)))

    listed = _first_shown(kept)
    return Lists(
        first=without(late),
        second=without(dropped),
        third=table if "entry" in cells.columns else path,
        column=column,
        rows=len(rows),
        numbers=len(numbers),
        invalid=dict(Counter(reject.reason for reject in rejects).most_common()),
        listed=listed,
        late=_first_shown(late),
        dropped=_first_shown(dropped),
        unlisted=_unlisted_after(listed, rows),
    )


def _without_ids(cells: Cells) -> pa.Table:
    """The list as a table. An id that goes must never come back, which is just what the dropped numbers do."""
    columns = {name: column for name, column in cells.columns.items() if name != "entry"}
    if cells.is_release:
        # Without the ids it is no release file any more, whose integers are E.164 numbers in whatever region.
        columns |= {
            name: pc.binary_join_element_wise("+", columns[name].cast(pa.string()), "") for name in ("number", "last")
        }
    return pa.table(columns)


def _is_plain(rows: Candidate) -> NDArray[np.bool_]:
    """Single numbers, blocked now and without an end."""
    plain: NDArray[np.bool_] = rows.last == rows.number
    if rows.since is not None:
        plain &= rows.since <= time.time_ns() // 1_000_000
    if rows.until is not None:
        plain &= rows.until == FOREVER_MS
    if rows.level is not None:
        is_block = np.array([value == "block" for value in rows.level.values] or [True])
        plain &= is_block[rows.level.codes]
    return plain


def _is_in_a_range(numbers: Int64s, rows: Candidate) -> NDArray[np.bool_]:
    """Numbers that a range goes on covering when their own row is gone, or decides differently."""
    starts, reach = _coverage(rows.take(rows.last > rows.number))
    place = np.searchsorted(starts, numbers, "right")
    return np.append(0, reach)[place] >= numbers


def _coverage(rows: Candidate) -> tuple[Int64s, Int64s]:
    """Where rows begin, ascending, and how far those up to there reach."""
    order = np.argsort(rows.number, kind="stable")
    return rows.number[order], np.maximum.accumulate(rows.last[order])


def _first_shown(numbers: Int64s) -> int:
    """The first that makes a good sample: valid in its plan, if there is one."""
    return next((number for number in numbers.tolist() if _is_valid(number)), int(numbers[0]))


def _is_valid(number: int) -> bool:
    try:
        normalize(f"+{number}", strict=True)
    except InvalidNumber:
        return False
    return True


def _unlisted_after(number: int, rows: Candidate) -> int:
    """A number after this one that is on no list: right behind a block of numbers that are."""
    starts, reach = _coverage(rows)
    behind = reach[np.append(starts[1:] > reach[:-1] + 1, True)] + 1
    for candidate in behind[behind > number].tolist():
        try:
            return normalize(f"+{candidate}")
        except InvalidNumber:
            continue
    raise InvalidInput("the list leaves no number free to demonstrate with")
