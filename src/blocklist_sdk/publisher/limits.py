"""The protocol's limits at publishing: what is beyond them is named by its line. Pure.

Recipients refuse a whole release for one row beyond a limit, so it must not get that far.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from blocklist_sdk.errors import InvalidInput, mask
from blocklist_sdk.publisher.next_release import NOT_GIVEN_MS, ListRows
from blocklist_sdk.release.layers import LayeredRows
from blocklist_sdk.release.limits import (
    DISTINCT_TEXTS_MAX,
    ENTRIES_PER_NUMBER_MAX,
    RANGE_DEPTH_MAX,
    ROWS_MAX,
    Peak,
    depth_of_ranges,
    entries_per_number,
)
from blocklist_sdk.release.rows import TEXT_COLUMNS, Rows, Texts
from blocklist_sdk.tables.rejects import Reject

_NEVER_IN_FORCE: Final = "until is in the past, and no since says when the entry began"

_NOTHING: Final = "Nothing was published"


def check_list(rows: ListRows) -> None:
    """Check what can be said of a list before it is planned.

    Raises:
        InvalidInput: it has too many rows, or a column too many distinct texts.
    """
    if len(rows) > ROWS_MAX:
        raise InvalidInput(
            f"the list has {len(rows):,} rows, and a release may have at most {ROWS_MAX:,}: line "
            f"{rows.line[ROWS_MAX]:,} is the first beyond. {_NOTHING}. Publish ranges, or several feeds."
        )
    for name in TEXT_COLUMNS:
        column: Texts | None = getattr(rows, name)
        if column is not None and len(column.values) > DISTINCT_TEXTS_MAX:
            _, first = np.unique(column.codes, return_index=True)
            line = rows.line[np.sort(first)[DISTINCT_TEXTS_MAX]]
            raise InvalidInput(
                f"the column {name!r} has {len(column.values):,} distinct texts, and a release may have at most "
                f"{DISTINCT_TEXTS_MAX:,}: line {line:,} has the first beyond. {_NOTHING}. Check which column it is."
            )


def reject_never_in_force(rows: ListRows, before: LayeredRows, *, now_ms: int) -> tuple[ListRows, list[Reject]]:
    """Divide rows into those that are or will be in force, and rejects: an end in the past without a beginning.

    A row without a `since` begins with the release, unless the current release has its entry: then it ends that.

    Args:
        rows: the rows of a list.
        before: the current release.
        now_ms: the moment of the release, milliseconds since 1970 UTC.
    """
    if rows.until is None:
        return rows, []
    is_open = rows.until <= now_ms
    if rows.since is not None:
        is_open &= rows.since == NOT_GIVEN_MS
    at = np.flatnonzero(is_open)
    if not len(at):
        return rows, []
    begun: dict[tuple[int, int], int] = {}
    known = before.near(rows.number[at], rows.number[at])
    for number, last, since in zip(known.number.tolist(), known.last.tolist(), known.since.tolist(), strict=True):
        begun[number, last] = min(since, begun.get((number, last), since))
    never = [
        i
        for i, number, last, until in zip(
            at.tolist(), rows.number[at].tolist(), rows.last[at].tolist(), rows.until[at].tolist(), strict=True
        )
        if begun.get((number, last), now_ms) >= until
    ]
    rejects = [Reject(int(rows.line[i]), _NEVER_IN_FORCE, _text(int(rows.number[i]), int(rows.last[i]))) for i in never]
    keep = np.ones(len(rows), np.bool_)
    keep[never] = False
    return rows.take(keep), rejects


def check_part(following: Rows, rows: ListRows) -> None:
    """Check planned rows of a release.

    Args:
        following: the release; or all its rows of the numbers that change, and all its ranges.
        rows: the list that led to it, for its lines.

    Raises:
        InvalidInput: a number has too many entries, ranges overlap too deep, or an entry ends before it begins, with
            those of the current release.
    """
    number, ahead = following.number, ENTRIES_PER_NUMBER_MAX
    is_crowded = len(number) > ahead and bool((number[ahead:] == number[:-ahead]).any())
    most = entries_per_number(number, following.last) if is_crowded else Peak(0, 0)
    if most.count > ENTRIES_PER_NUMBER_MAX:
        raise InvalidInput(
            f"{mask(f'+{most.number}')} would have {most.count:,} entries, and a number may have at most "
            f"{ENTRIES_PER_NUMBER_MAX:,}{_line_of(rows, lambda: rows.number == most.number)}. {_NOTHING}. Give each "
            "issuer one entry of a number."
        )
    deepest = depth_of_ranges(following.number, following.last)
    if deepest.count > RANGE_DEPTH_MAX:
        inside = deepest.number
        covers = _line_of(rows, lambda: (rows.number <= inside) & (rows.last >= inside) & (rows.last > rows.number))
        raise InvalidInput(
            f"{deepest.count:,} ranges would cover {mask(f'+{inside}')}, and at most {RANGE_DEPTH_MAX} may{covers}. "
            f"{_NOTHING}. Merge ranges that overlap."
        )
    ends = np.flatnonzero(following.until <= following.since)
    if len(ends):
        first, last = int(following.number[ends[0]]), int(following.last[ends[0]])
        line = _line_of(rows, lambda: (rows.number == first) & (rows.last == last))
        raise InvalidInput(f"the entry of {_shown(first, last)} would end before it begins{line}. {_NOTHING}.")


def check_rows(count: int) -> None:
    """Check how many rows a release would have.

    Raises:
        InvalidInput: there are too many, with those of the current release.
    """
    if count > ROWS_MAX:
        raise InvalidInput(
            f"the release would have {count:,} rows, and may have at most {ROWS_MAX:,}. {_NOTHING}. Publish "
            "ranges, or several feeds."
        )


def check_texts(name: str, count: int) -> None:
    """Check how many distinct texts a column of a release would have.

    Raises:
        InvalidInput: there are too many, with those of the current release.
    """
    if count > DISTINCT_TEXTS_MAX:
        raise InvalidInput(
            f"the column {name!r} would have {count:,} distinct texts, and may have at most "
            f"{DISTINCT_TEXTS_MAX:,}. {_NOTHING}. Check which column of the list it is."
        )


def _line_of(rows: ListRows, which: Callable[[], NDArray[np.bool_]]) -> str:
    """The last line that has to do with it; empty if none has."""
    at = np.flatnonzero(which())
    return f": line {rows.line[at].max():,} is the last of them" if len(at) else ""


def _text(first: int, last: int) -> str:
    return f"+{first}" if first == last else f"+{first}-+{last}"


def _shown(first: int, last: int) -> str:
    return mask(f"+{first}") if first == last else f"{mask(f'+{first}')} to {mask(f'+{last}')}"
