"""The next release, planned from the current one and the list as it should be from now on. Pure.

An entry keeps its id for as long as it is on the list, and an id is never given to another entry: recipients' systems
know an entry by its id.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.records import ENTRY_MAX
from blocklist_sdk.release.rows import FOREVER_MS, Int64s, Rows, Texts, code_type

Positions = NDArray[np.intp]

NO_ENTRY = 0
"""The entry id of a row whose cell is empty; it gets the id of the entry that it matches, or the next free one."""

NOT_GIVEN_MS = np.iinfo(np.int64).min
"""`since` of a row whose cell is empty; it gets the `since` of the entry that it matches, or this release's moment."""


_SECOND_MS = 1000


@dataclass(frozen=True, slots=True)
class EntryDefaults:
    """The values of a new entry where the list gives none.

    Attributes:
        level, category, issuer, scope: values as in a release's rows.
    """

    level: str
    category: str
    issuer: str
    scope: str


@dataclass(frozen=True, slots=True)
class ListRows:
    """The rows of a list, row for row; a column that the list does not have is None.

    Attributes:
        line: the line of each row in the list, for messages.
        number, last: E.164 integers; `last` is `number` itself for a single number.
        entry: entry ids; `NO_ENTRY` for an empty cell.
        level, category, issuer, scope: text columns.
        since: milliseconds since 1970 UTC; `NOT_GIVEN_MS` for an empty cell.
        until: milliseconds since 1970 UTC; `FOREVER_MS` for an empty cell.
    """

    line: Int64s
    number: Int64s
    last: Int64s
    entry: Int64s | None = None
    level: Texts | None = None
    category: Texts | None = None
    issuer: Texts | None = None
    scope: Texts | None = None
    since: Int64s | None = None
    until: Int64s | None = None

    def __len__(self) -> int:
        return len(self.number)

    def with_last(self, last: Int64s) -> "ListRows":
        """The same rows with other range ends; shares the array with `number` where none is a range."""
        return replace(self, last=self.number if np.array_equal(last, self.number) else last)

    def take(self, index: NDArray[np.integer] | NDArray[np.bool_]) -> "ListRows":
        """Some rows, by position or by mask, in that order."""
        taken: dict[str, Any] = {}
        for field in fields(self):
            column = getattr(self, field.name)
            if column is not None and not (field.name == "last" and column is self.number):
                taken[field.name] = column.take(index) if isinstance(column, Texts) else column[index]
        return ListRows(**{"last": taken["number"], **taken})

    def with_rows(self, others: "ListRows") -> "ListRows":
        """These rows, then others with the same columns."""
        return joined_list([self, others])


def joined_list(parts: list[ListRows]) -> ListRows:
    """The parts of a list as one; all that have rows have the same columns. The parts are given up on the way."""
    has_rows = [part for part in parts if len(part)] or parts[-1:]
    parts.clear()
    if len(has_rows) == 1:
        return has_rows[0]
    columns = [field.name for field in fields(ListRows) if getattr(has_rows[0], field.name) is not None]
    pending = [{name: getattr(part, name) for name in columns} for part in has_rows]
    has_ranges = any(part.last is not part.number for part in has_rows)
    has_rows.clear()
    joined: dict[str, Any] = {}
    for name in columns:
        if name == "last" and not has_ranges:
            continue
        found = [part.pop(name) if name != "number" or not has_ranges else part[name] for part in pending]
        joined[name] = _joined_texts(found) if isinstance(found[0], Texts) else np.concatenate(found)
        if not has_ranges and name == "number":
            for part in pending:
                part.pop("last")
    return ListRows(**{"last": joined["number"], **joined})


def _joined_texts(parts: Sequence[Texts]) -> Texts:
    """The parts of a text column as one, with narrow codes on the way."""
    place: dict[str, int] = {}
    for part in parts:
        for value in part.values:
            place.setdefault(value, len(place))
    narrow = code_type(len(place))
    codes = [np.array([place[value] for value in part.values] or [0], narrow)[part.codes] for part in parts]
    return Texts.encode(np.concatenate(codes), list(place))


def check_ids_left(highest: int) -> None:
    """Check that the ids of a feed's new entries are ids.

    Args:
        highest: the highest of them.

    Raises:
        InvalidInput: it is beyond `ENTRY_MAX`.
    """
    if highest > ENTRY_MAX:
        raise InvalidInput(
            f"this feed has no entry ids left for new entries: the highest is {ENTRY_MAX}, and a list gave out one "
            "near it. Nothing was published. What is listed can be changed and removed. List new numbers on another "
            "feed"
        )


@dataclass(frozen=True, slots=True)
class NextRelease:
    """A release that is planned, but not yet written or signed.

    Attributes:
        rows: the rows of the release, in canonical form.
        last_entry: the highest entry id given out on this feed so far, this release included.
        duplicates: number of rows in the list that were equal to another row in every column.
    """

    rows: Rows
    last_entry: int
    duplicates: int


def plan_release(
    previous: Rows,
    list_rows: ListRows,
    *,
    now_ms: int,
    last_entry: int,
    defaults: EntryDefaults,
    published_entry: int | None = None,
) -> NextRelease:
    """Plan the rows of the next release.

    A row of the list is the same entry as a row of the current release if number, last and issuer are equal. If that
    fits several rows, those that are equal in everything the list gives are matched first, the others in order. What
    the list does not give is taken from the matched entry; a new entry gets the defaults, `since` = now, and the next
    free id. If the list has a column `entry`, an id in it says which entry a row is.

    Args:
        previous: the rows of the current release; empty before the first.
        list_rows: the list as it should be, in any order.
        now_ms: the moment of the release, milliseconds since 1970 UTC, whole seconds.
        last_entry: the highest entry id given out on this feed so far.
        defaults: the values of new entries where the list gives none.
        published_entry: the highest entry id that the releases in the repository have had: new ids that the list gives
            itself are above it. None for `last_entry`, which may be higher, after a run that was killed.

    Raises:
        InvalidInput: the list's own entry ids contradict each other or earlier releases.
    """
    distinct = distinct_rows(list_rows)
    entry = np.full(len(distinct), NO_ENTRY, np.int64) if distinct.entry is None else distinct.entry.copy()
    match = np.full(len(distinct), -1, np.intp)
    given, open_rows = np.flatnonzero(entry != NO_ENTRY), np.flatnonzero(entry == NO_ENTRY)
    if len(given):
        match[given] = _match_by_entry(previous, distinct.take(given), entry[given], last_entry, published_entry)
    if len(open_rows):
        issuer = distinct.issuer or Texts.repeat(defaults.issuer, len(distinct))
        unclaimed = np.setdiff1d(np.arange(len(previous)), match[given]) if len(given) else np.arange(len(previous))
        found = _match_by_key(previous.take(unclaimed), replace(distinct, issuer=issuer, entry=None).take(open_rows))
        known, new = open_rows[found >= 0], open_rows[found < 0]
        match[known] = unclaimed[found[found >= 0]]
        entry[known] = previous.entry[match[known]]
        last_entry = max(last_entry, int(entry.max(initial=0)))
        check_ids_left(last_entry + len(new))
        entry[new] = last_entry + 1 + np.arange(len(new))

    now, forever = np.int64(now_ms), np.int64(FOREVER_MS)
    since = _inherit_numbers(previous.since, match, now)
    if distinct.since is not None:
        since = np.where(distinct.since == NOT_GIVEN_MS, since, distinct.since)
    until = _inherit_numbers(previous.until, match, forever) if distinct.until is None else distinct.until
    # The list may give only the end, in the past: the entry has ended, and must have begun before.
    until = np.maximum(until, _SECOND_MS)
    is_given = np.zeros(len(since), np.bool_) if distinct.since is None else distinct.since != NOT_GIVEN_MS
    since = np.where((until <= since) & ~is_given, until - _SECOND_MS, since)
    rows = Rows(
        number=distinct.number,
        last=distinct.number,
        entry=entry,
        level=distinct.level or _inherit_texts(previous.level, match, defaults.level),
        category=distinct.category or _inherit_texts(previous.category, match, defaults.category),
        issuer=distinct.issuer or _inherit_texts(previous.issuer, match, defaults.issuer),
        scope=distinct.scope or _inherit_texts(previous.scope, match, defaults.scope),
        since=since,
        until=until,
    ).with_last(distinct.last)
    order = _order(rows.number, [rows.last, rows.entry])
    return NextRelease(
        rows=rows if order is None else rows.take(order),
        last_entry=max(last_entry, int(entry.max(initial=0))),
        duplicates=len(list_rows) - len(distinct),
    )


def in_order(list_rows: ListRows) -> ListRows:
    """The rows in an order that depends on their contents alone, but for their lines."""
    order = _order(list_rows.number, [*_sort_columns(list_rows), list_rows.line])
    return list_rows if order is None else list_rows.take(order)


def distinct_rows(list_rows: ListRows) -> ListRows:
    """The rows, each once, in an order that depends on their contents alone."""
    ordered = in_order(list_rows)
    repeats = ordered.number[1:] == ordered.number[:-1]
    if not repeats.any():
        return ordered
    at = np.flatnonzero(repeats)
    again = np.logical_and.reduce([column[at + 1] == column[at] for column in _sort_columns(ordered)])
    if not again.any():
        return ordered
    stays = np.ones(len(ordered), np.bool_)
    stays[at[again] + 1] = False
    return ordered.take(stays)


def _sort_columns(list_rows: ListRows) -> list[NDArray[np.integer]]:
    """Every column that the list has but the number, as integers that sort as the column does."""
    columns: list[NDArray[np.integer]] = [list_rows.last]
    columns += [c.codes for c in (list_rows.issuer, list_rows.level, list_rows.category, list_rows.scope) if c]
    columns += [c for c in (list_rows.since, list_rows.until, list_rows.entry) if c is not None]
    return columns


def _order(number: Int64s, rest: Sequence[NDArray[np.integer]]) -> Positions | None:
    """The order by number, then by the rest; None if the rows are in that order already.

    Only rows of the same number are sorted by the rest.
    """
    is_ascending = not bool((number[1:] < number[:-1]).any())
    order: Positions | None = None if is_ascending else np.argsort(number, kind="stable")
    ordered = number if order is None else number[order]
    is_same = ordered[1:] == ordered[:-1]
    del ordered
    tied = np.zeros(len(number), np.bool_)
    tied[1:] |= is_same
    tied[:-1] |= is_same
    at = np.flatnonzero(tied)
    if not len(at):
        return order
    some = at if order is None else order[at]
    again = some[np.lexsort([column[some] for column in reversed((number, *rest))])]
    if order is None and np.array_equal(again, some):
        return None
    order = np.arange(len(number)) if order is None else order
    order[at] = again
    return order


def _match_by_entry(
    previous: Rows, list_rows: ListRows, entry: Int64s, last_entry: int, published_entry: int | None
) -> Positions:
    """The position in `previous` of each row's entry, -1 for a new entry."""
    ascending = np.argsort(entry, kind="stable")
    twice = np.flatnonzero(np.diff(entry[ascending]) == 0)
    if len(twice):
        first, second = ascending[twice[0]], ascending[twice[0] + 1]
        lines = sorted((int(list_rows.line[first]), int(list_rows.line[second])))
        raise InvalidInput(
            f"lines {lines[0]} and {lines[1]} both have entry {entry[first]}, with different contents: "
            "give each entry its own id"
        )
    by_entry = np.argsort(previous.entry, kind="stable")
    position = np.searchsorted(previous.entry[by_entry], entry)
    match = np.full(len(entry), -1, np.intp)
    inside = position < len(by_entry)
    at = by_entry[position[inside]]
    match[inside] = np.where(previous.entry[at] == entry[inside], at, -1)

    used = last_entry if published_entry is None else published_entry
    reused = np.flatnonzero((match < 0) & (entry <= used))
    if len(reused):
        row = reused[0]
        raise InvalidInput(
            f"line {list_rows.line[row]}: entry {entry[row]} was used before and is not in the current release: "
            f"give a new entry an id above {last_entry}"
        )
    known = np.flatnonzero(match >= 0)
    at = match[known]
    moved = known[(previous.number[at] != list_rows.number[known]) | (previous.last[at] != list_rows.last[known])]
    if len(moved):
        row = moved[0]
        raise InvalidInput(
            f"line {list_rows.line[row]}: entry {entry[row]} belongs to another number, and an entry keeps its number: "
            f"give a new entry an id above {last_entry}"
        )
    return match


def _match_by_key(previous: Rows, list_rows: ListRows) -> Positions:
    """The position in `previous` of each row's entry, -1 for a new entry; both are sorted by number."""
    assert list_rows.issuer is not None
    issuer = _common_codes(previous.issuer, list_rows.issuer)
    match = np.full(len(list_rows), -1, np.intp)

    # Two sorted runs: numpy's stable sort merges them in one pass, the previous row before the new one.
    number = np.concatenate((previous.number, list_rows.number))
    order = np.argsort(number, kind="stable")
    begins = np.ones(len(number), bool)
    begins[1:] = np.diff(number[order]) != 0
    start = np.flatnonzero(begins)
    size = np.diff(np.append(start, len(number)))

    # Most numbers by far have one row in each.
    pair = start[size == 2]
    left, right = order[pair], order[pair + 1] - len(previous)
    across = (left < len(previous)) & (right >= 0)
    left, right = left[across], right[across]
    same = (previous.last[left] == list_rows.last[right]) & (issuer[0][left] == issuer[1][right])
    match[right[same]] = left[same]

    many = order[np.repeat(size > 2, size)]
    left, right = many[many < len(previous)], many[many >= len(previous)] - len(previous)
    key = [
        (previous.number, list_rows.number),
        (previous.last, list_rows.last),
        issuer,
    ]
    given = [
        *(
            _common_codes(before, after)
            for before, after in (
                (previous.level, list_rows.level),
                (previous.category, list_rows.category),
                (previous.scope, list_rows.scope),
            )
            if after is not None
        ),
        *([] if list_rows.until is None else [(previous.until, list_rows.until)]),
    ]
    since = [] if list_rows.since is None else [(previous.since, list_rows.since)]
    for columns in ([*key, *given, *since], [*key, *given], key):
        before, after = _pair([(old[left], new[right]) for old, new in columns])
        match[right[after]] = left[before]
        left, right = np.delete(left, before), np.delete(right, after)
    return match


def _pair(columns: Sequence[tuple[NDArray[np.integer], NDArray[np.integer]]]) -> tuple[Positions, Positions]:
    """Pair rows of two tables that are equal in every column: the first with the first, the second with the second."""
    count = len(columns[0][0])
    both = [np.concatenate(column) for column in columns]
    order = np.lexsort(both[::-1])
    differs = np.zeros(len(order), bool)
    for column in both:
        differs[1:] |= np.diff(column[order]) != 0
    group = np.cumsum(differs)
    is_left = order < count
    left, right = order[is_left], order[~is_left] - count
    left_group, right_group = group[is_left], group[~is_left]
    groups = int(group[-1]) + 1 if len(group) else 0
    pairs = np.minimum(np.bincount(left_group, minlength=groups), np.bincount(right_group, minlength=groups))
    return left[_rank(left_group) < pairs[left_group]], right[_rank(right_group) < pairs[right_group]]


def _rank(group: Positions) -> Positions:
    """Rank of each element within its group; the elements of a group are neighbours."""
    return np.arange(len(group)) - np.searchsorted(group, group, "left")


def _common_codes(before: Texts, after: Texts) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Two text columns as integers that are equal where the texts are."""
    code = {value: i for i, value in enumerate(dict.fromkeys((*before.values, *after.values)))}

    def codes(column: Texts) -> NDArray[np.int64]:
        return np.array([code[value] for value in column.values] or [0], np.int64)[column.codes]

    return codes(before), codes(after)


def _inherit_numbers(before: Int64s, match: Positions, default: np.int64) -> Int64s:
    values = np.full(len(match), default, np.int64)
    values[match >= 0] = before[match[match >= 0]]
    return values


def _inherit_texts(before: Texts, match: Positions, default: str) -> Texts:
    codes = np.full(len(match), len(before.values), np.uint32)
    codes[match >= 0] = before.codes[match[match >= 0]]
    return Texts.encode(codes, (*before.values, default))
