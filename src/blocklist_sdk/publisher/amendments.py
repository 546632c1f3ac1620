"""The current list with some entries more, or fewer. Pure.

Whoever gets a month's new cases has no whole list to publish, and whoever lifts one number should not need one.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from blocklist_sdk.errors import InvalidInput, mask
from blocklist_sdk.numbers.reach import range_text
from blocklist_sdk.publisher.next_release import EntryDefaults, ListRows, NextRelease, distinct_rows, plan_release
from blocklist_sdk.release.blocking import Marks, marks_of
from blocklist_sdk.release.layers import apply
from blocklist_sdk.release.merge import Delta, Removals
from blocklist_sdk.release.rows import FOREVER_MS, Int64s, Positions, Rows, Texts, distinct
from blocklist_sdk.texts import counted

ANY_ISSUER = ""
"""In a list of what to remove: whoever issued it. No entry has an empty issuer."""

_SHOWN = 3
"""How many numbers a message names."""


@dataclass(frozen=True, slots=True)
class Amended:
    """A release that is the current one with some entries more, or fewer.

    Attributes:
        following: the release.
        already_listed: number of rows to add that change nothing, since the same issuer lists them already.
        extended: number of rows to add for which an entry of the same issuer ends later now.
        not_listed: lines of rows to remove that are not on the list.
    """

    following: NextRelease
    already_listed: int = 0
    extended: int = 0
    not_listed: tuple[int, ...] = ()


def with_added(
    previous: Rows,
    list_rows: ListRows,
    *,
    now_ms: int,
    last_entry: int,
    defaults: EntryDefaults,
    published_ms: int = 0,
    published_entry: int | None = None,
) -> Amended:
    """The current release with what the rows block, or advise, and it does not yet.

    A row is listed already if entries of the same issuer, of exactly its number or range, have its level or a stronger
    one, in all of its scopes, for as long as it would. Such a row changes nothing, whatever its category. If an entry
    only ends too early, it gets the end of the row. Any other row becomes a new entry: where an entry has ended, is an
    advisory or has another scope, it is not what the row asks for.

    Args:
        previous: the rows of the current release.
        list_rows: the rows to add, in any order.
        now_ms: the moment of the release, milliseconds since 1970 UTC, whole seconds.
        last_entry: the highest entry id given out on this feed so far.
        defaults: the values of entries where the rows give none.
        published_ms: when the current release was published: what began by then has begun, even if the clock is slow.
        published_entry: as for `plan_release`.

    Raises:
        InvalidInput: the rows' own entry ids contradict each other or earlier releases.
    """
    judged_ms = max(now_ms, published_ms)
    wanted = _filled(list_rows, now_ms=judged_ms, defaults=defaults)
    key, row = _same_number(previous, list_rows)
    is_same = _issuers(wanted.issuer, previous)[key] == previous.issuer.codes[row]
    key, row = key[is_same], row[is_same]
    is_listed = _is_covered(previous, wanted, key, row, now_ms=judged_ms)
    until, is_extended = _extended(previous, wanted, key, row, is_listed, now_ms=judged_ms)
    fresh = plan_release(
        Rows.empty(),
        list_rows.take(~(is_listed | is_extended)),
        now_ms=now_ms,
        published_entry=published_entry,
        last_entry=last_entry,
        defaults=defaults,
    )
    none = np.empty(0, np.int64)
    kept = replace(previous, until=until)
    rows, _ = apply(kept, Delta(puts=fresh.rows, removes=Removals(none, none, none)))
    following = NextRelease(rows=rows, last_entry=fresh.last_entry, duplicates=fresh.duplicates)
    return Amended(following, already_listed=int(is_listed.sum()), extended=int(is_extended.sum()))


def _filled(list_rows: ListRows, *, now_ms: int, defaults: EntryDefaults) -> Rows:
    """The rows as entries, in their order and without ids: what they give, and else the defaults."""
    count = len(list_rows)
    since = np.full(count, now_ms) if list_rows.since is None else list_rows.since
    return Rows(
        number=list_rows.number,
        last=list_rows.last,
        entry=np.zeros(count, np.int64),
        level=list_rows.level or Texts.repeat(defaults.level, count),
        category=list_rows.category or Texts.repeat(defaults.category, count),
        issuer=list_rows.issuer or Texts.repeat(defaults.issuer, count),
        scope=list_rows.scope or Texts.repeat(defaults.scope, count),
        # What has begun has begun: an earlier moment adds nothing.
        since=np.maximum(since, now_ms),
        until=np.full(count, FOREVER_MS) if list_rows.until is None else list_rows.until,
    )


def _is_covered(previous: Rows, wanted: Rows, key: Positions, row: Positions, *, now_ms: int) -> NDArray[np.bool_]:
    """Which rows to add entries have already, in every scope and for as long; `key` and `row` pair them."""
    asked = _scopes_of(wanted, now_ms=now_ms)
    blocks, is_block = _is_blocking(wanted), _is_blocking(previous)
    lasts = (previous.since[row] <= wanted.since[key]) & (previous.until[row] >= wanted.until[key])
    lasts &= is_block[row] | ~blocks[key]
    found = np.zeros_like(asked)
    np.bitwise_or.at(found, key[lasts], _scopes_of(previous, now_ms=now_ms)[row[lasts]])
    is_covered = np.zeros(len(wanted), np.bool_)
    is_covered[key] = True
    is_covered &= (asked & ~found) == 0
    return is_covered


def _extended(
    previous: Rows,
    wanted: Rows,
    key: Positions,
    row: Positions,
    is_listed: NDArray[np.bool_],
    *,
    now_ms: int,
) -> tuple[Int64s, NDArray[np.bool_]]:
    """The ends of the current entries, later where rows to add ask for no more than that; and which rows do."""
    scopes = _scopes_of(previous, now_ms=now_ms)[row] == _scopes_of(wanted, now_ms=now_ms)[key]
    is_same = scopes & (_is_blocking(previous)[row] == _is_blocking(wanted)[key]) & ~is_listed[key]
    is_same &= (previous.since[row] <= wanted.since[key]) & (previous.until[row] > now_ms)
    # A row that begins after the end would leave a gap: it becomes an entry of its own.
    is_same &= (previous.until[row] < wanted.until[key]) & (wanted.since[key] <= previous.until[row])
    key, row = key[is_same], row[is_same]
    key, first = np.unique(key, return_index=True)
    until = previous.until.copy()
    np.maximum.at(until, row[first], wanted.until[key])
    is_extended = np.zeros(len(wanted), np.bool_)
    is_extended[key] = True
    return until, is_extended


def _is_blocking(rows: Rows) -> NDArray[np.bool_]:
    """Which rows have the level `block`."""
    return np.array([value == "block" for value in rows.level.values] or [False], np.bool_)[rows.level.codes]


def _scopes_of(rows: Rows, *, now_ms: int) -> Marks:
    """The scopes of each row, as `marks_of` marks them for an entry that blocks at any moment."""
    count = len(rows)
    always = replace(
        rows,
        level=Texts.repeat("block", count),
        since=np.zeros(count, np.int64),
        until=np.full(count, FOREVER_MS),
    )
    return marks_of(always, now_ms=now_ms)


def without(
    previous: Rows,
    list_rows: ListRows,
    *,
    now_ms: int,
    last_entry: int,
    issuer: str = ANY_ISSUER,
    allow_empty: bool = False,
) -> Amended:
    """The current release without the entries of some numbers and ranges.

    Args:
        previous: the rows of the current release.
        list_rows: the numbers and ranges to remove, each as it is listed. Their column `issuer`, if they have one,
            says whose entries are meant.
        now_ms: the moment of the release, milliseconds since 1970 UTC.
        last_entry: the highest entry id given out on this feed so far.
        issuer: whose entries are meant where the rows do not say; `ANY_ISSUER` if there must be one issuer only.
        allow_empty: remove even the last entry.

    Raises:
        InvalidInput: a number has entries of several issuers, or lies inside a range that blocks now or later, so that
            it is not clear what to remove, or it would stay blocked; none of the rows is listed; or no entry would be
            left.
    """
    asked = distinct_rows(list_rows)
    wanted = _issuers(asked.issuer or Texts.repeat(issuer, len(asked)), previous)
    key, row = _same_number(previous, asked)
    is_meant = (wanted[key] == _ANY) | (wanted[key] == previous.issuer.codes[row])
    key, row = key[is_meant], row[is_meant]
    several = _several_issuers(previous, len(asked), wanted, key, row)
    stays = previous.until > now_ms
    blocks = stays & _is_blocking(previous)
    inside = np.flatnonzero(_is_inside(previous, asked, wanted, blocks))
    if len(several) or len(inside):
        problems = [
            *(_why_several(previous, asked, i, row[key == i]) for i in several[:_SHOWN].tolist()),
            *(_why_inside(previous, asked, i, int(wanted[i]), blocks) for i in inside[:_SHOWN].tolist()),
        ]
        more = len(several) + len(inside) - _SHOWN
        also = f"; and {more:,} more" if more > 0 else ""
        raise InvalidInput(f"{'; '.join(problems[:_SHOWN])}{also}. Nothing was published.")
    is_found = np.zeros(len(asked), np.bool_)
    is_found[key] = True
    if len(asked) and not is_found.any():
        raise InvalidInput(_why_none(previous, asked, wanted, stays))
    gone = np.zeros(len(previous), np.bool_)
    gone[row] = True
    if gone.all() and len(gone) and not allow_empty:
        raise InvalidInput(
            f"no entry would be left on the list, which has {counted(len(gone), 'entry', 'entries')}. Nothing was "
            "published. Recipients may refuse an empty list until a person there accepts it. To lift the last entry on "
            "purpose, allow an empty list: --allow-empty (allow_empty=)."
        )
    following = NextRelease(rows=previous.take(~gone), last_entry=last_entry, duplicates=len(list_rows) - len(asked))
    return Amended(following, not_listed=tuple(sorted(asked.line[~is_found].tolist())))


_ANY = -1
_NOBODY = -2


def _issuers(issuer: Texts, previous: Rows) -> NDArray[np.int64]:
    """The issuer of each row as the current release encodes it."""
    code = {value: i for i, value in enumerate(previous.issuer.values)} | {ANY_ISSUER: _ANY}
    return np.array([code.get(value, _NOBODY) for value in issuer.values] or [_ANY], np.int64)[issuer.codes]


def _same_number(previous: Rows, list_rows: ListRows) -> tuple[Positions, Positions]:
    """Each row of the list, and each entry of exactly its number or range, pairwise."""
    start = np.searchsorted(previous.number, list_rows.number, "left")
    stop = np.searchsorted(previous.number, list_rows.number, "right")
    if previous.has_ranges or bool((list_rows.last > list_rows.number).any()):
        start, stop = (_bisect(previous.last, start, stop, list_rows.last, side) for side in ("left", "right"))
    count = stop - start
    key = np.repeat(np.arange(len(list_rows)), count)
    row = np.arange(len(key)) - np.repeat(np.cumsum(count) - count, count) + np.repeat(start, count)
    return key, row


def _bisect(column: Int64s, start: Positions, stop: Positions, values: Int64s, side: str) -> Positions:
    """`np.searchsorted` of each value within its own ascending slice of a column."""
    low, high = start.copy(), stop.copy()
    while len(left := np.flatnonzero(low < high)):
        middle = (low[left] + high[left]) // 2
        found = column[middle]
        is_before = found < values[left] if side == "left" else found <= values[left]
        low[left[is_before]] = middle[is_before] + 1
        high[left[~is_before]] = middle[~is_before]
    return low


def _several_issuers(previous: Rows, count: int, wanted: Int64s, key: Positions, row: Positions) -> Positions:
    """Which rows of the list name no issuer, and have entries of several."""
    issuer = previous.issuer.codes[row].astype(np.int64)
    lowest, highest = np.full(count, np.iinfo(np.int64).max), np.full(count, -1, np.int64)
    np.minimum.at(lowest, key, issuer)
    np.maximum.at(highest, key, issuer)
    return np.flatnonzero((lowest < highest) & (wanted == _ANY))


def _is_inside(previous: Rows, list_rows: ListRows, wanted: Int64s, counts: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which rows of the list a wider entry covers, of the issuer that is meant, among the entries that count."""
    at = np.flatnonzero((previous.last > previous.number) & counts)
    is_inside = np.zeros(len(list_rows), np.bool_)
    ranges = previous.number[at], previous.last[at]
    for rows, groups in (
        (np.flatnonzero(wanted == _ANY), np.zeros(len(at), np.int64)),
        (np.flatnonzero(wanted >= 0), previous.issuer.codes[at].astype(np.int64)),
    ):
        asked = list_rows.number[rows], list_rows.last[rows]
        is_inside[rows] = _covered_by_wider(*ranges, groups, *asked, np.maximum(wanted[rows], 0))
    return is_inside


def _covered_by_wider(
    first: Int64s, last: Int64s, group: Int64s, number: Int64s, until: Int64s, wanted: Int64s
) -> NDArray[np.bool_]:
    """Which ranges lie inside a wider one of their group; in the time that it takes to sort all ends.

    Args:
        first: the first numbers of the ranges that may cover others.
        last: their last numbers.
        group: their groups, 0 or more.
        number: the first numbers of the ranges that may lie inside.
        until: their last numbers.
        wanted: their groups.
    """
    if not len(first) or not len(number):
        return np.zeros(len(number), np.bool_)
    points = distinct(np.concatenate((first, last, number, until)))

    def keys(groups: Int64s, numbers: Int64s) -> Int64s:
        """Integers that are in the order of the groups, and of the numbers in each."""
        return groups * len(points) + np.searchsorted(points, numbers)

    order = np.argsort(begins := keys(group, first), kind="stable")
    begins = begins[order]
    furthest = np.append(-1, np.maximum.accumulate(keys(group, last)[order]))
    asked, end = keys(wanted, number), keys(wanted, until)
    begins_before = furthest[np.searchsorted(begins, asked, "left")] >= end
    ends_after = furthest[np.searchsorted(begins, asked, "right")] > end
    is_covered: NDArray[np.bool_] = begins_before | ends_after
    return is_covered


def _why_several(previous: Rows, list_rows: ListRows, at: int, entries: Positions) -> str:
    return f"{_shown(list_rows, at)} has entries of several issuers ({_entries(previous, entries)}): name the issuer"


def _why_inside(previous: Rows, list_rows: ListRows, at: int, wanted: int, counts: NDArray[np.bool_]) -> str:
    number, last = list_rows.number[at], list_rows.last[at]
    covers = counts & (previous.number <= number) & (previous.last >= last)
    covers &= (previous.number != number) | (previous.last != last)
    if wanted != _ANY:
        covers &= previous.issuer.codes == wanted
    return (
        f"{_shown(list_rows, at)} lies inside a range ({_entries(previous, np.flatnonzero(covers))}): remove the "
        "range, and add what should stay of it"
    )


def _why_none(previous: Rows, list_rows: ListRows, wanted: Int64s, stays: NDArray[np.bool_]) -> str:
    """Why none of the rows can be removed; one may lie inside a range of advisories."""
    inside = np.flatnonzero(_is_inside(previous, list_rows, wanted, stays))
    if len(inside):
        at = int(inside[0])
        return f"{_why_inside(previous, list_rows, at, int(wanted[at]), stays)}. Nothing was published."
    first = mask(f"+{list_rows.number[np.argmin(list_rows.line)]}")
    none = f"the number to remove is not on the list: {first}"
    if len(list_rows) > 1:
        none = f"none of {len(list_rows):,} numbers to remove is on the list, for instance {first}"
    return f"{none}. Nothing was published. Check the feed, the region and the issuer."


def _shown(list_rows: ListRows, at: int) -> str:
    return f"line {list_rows.line[at]}: {_text(int(list_rows.number[at]), int(list_rows.last[at]))}"


def _entries(rows: Rows, at: Positions) -> str:
    some = [
        f"entry {rows.entry[i]} of {rows.issuer.values[rows.issuer.codes[i]]}"
        + (f", {_text(int(rows.number[i]), int(rows.last[i]))}" if rows.last[i] != rows.number[i] else "")
        for i in at[:_SHOWN].tolist()
    ]
    return ", ".join(some) + (f" and {len(at) - _SHOWN:,} more" if len(at) > _SHOWN else "")


def _text(first: int, last: int) -> str:
    return mask(f"+{first}") if first == last else range_text(first, last)
