"""The current list with some entries more, or fewer. Pure.

Whoever gets a month's new cases has no whole list to publish, and whoever lifts one number should not need one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blocklist_sdk.errors import InvalidInput, mask
from blocklist_sdk.numbers.reach import range_text
from blocklist_sdk.publisher.next_release import EntryDefaults, ListRows, NextRelease, distinct_rows, plan_release
from blocklist_sdk.release.merge import Delta, Removals, apply
from blocklist_sdk.release.rows import Int64s, Positions, Rows, Texts, distinct
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
        already_listed: number of rows to add that the same issuer lists already.
        not_listed: lines of rows to remove that are not on the list.
    """

    following: NextRelease
    already_listed: int = 0
    not_listed: tuple[int, ...] = ()


def with_added(
    previous: Rows, list_rows: ListRows, *, now_ms: int, last_entry: int, defaults: EntryDefaults
) -> Amended:
    """The current release with the rows that it does not have yet.

    A row that the same issuer lists already, number for number, changes nothing, whatever else it says.

    Args:
        previous: the rows of the current release.
        list_rows: the rows to add, in any order.
        now_ms: the moment of the release, milliseconds since 1970 UTC, whole seconds.
        last_entry: the highest entry id given out on this feed so far.
        defaults: the values of entries where the rows give none.

    Raises:
        InvalidInput: the rows' own entry ids contradict each other or earlier releases.
    """
    key, row = _same_number(previous, list_rows)
    issuer = list_rows.issuer or Texts.repeat(defaults.issuer, len(list_rows))
    is_known = np.zeros(len(list_rows), np.bool_)
    is_known[key[_issuers(issuer, previous)[key] == previous.issuer.codes[row]]] = True
    fresh = plan_release(
        Rows.empty(), list_rows.take(~is_known), now_ms=now_ms, last_entry=last_entry, defaults=defaults
    )
    none = np.empty(0, np.int64)
    rows, _ = apply(previous, Delta(puts=fresh.rows, removes=Removals(none, none, none)))
    following = NextRelease(rows=rows, last_entry=fresh.last_entry, duplicates=fresh.duplicates)
    return Amended(following, already_listed=int(is_known.sum()))


def without(previous: Rows, list_rows: ListRows, *, last_entry: int, issuer: str = ANY_ISSUER) -> Amended:
    """The current release without the entries of some numbers and ranges.

    Args:
        previous: the rows of the current release.
        list_rows: the numbers and ranges to remove, each as it is listed. Their column `issuer`, if they have one,
            says whose entries are meant.
        last_entry: the highest entry id given out on this feed so far.
        issuer: whose entries are meant where the rows do not say; `ANY_ISSUER` if there must be one issuer only.

    Raises:
        InvalidInput: a number has entries of several issuers, or lies inside a range, so that it is not clear what to
            remove, or it would stay listed; or none of the rows is listed.
    """
    asked = distinct_rows(list_rows)
    wanted = _issuers(asked.issuer or Texts.repeat(issuer, len(asked)), previous)
    key, row = _same_number(previous, asked)
    is_meant = (wanted[key] == _ANY) | (wanted[key] == previous.issuer.codes[row])
    key, row = key[is_meant], row[is_meant]
    several = _several_issuers(previous, len(asked), wanted, key, row)
    inside = np.flatnonzero(_is_inside(previous, asked, wanted))
    if len(several) or len(inside):
        problems = [
            *(_why_several(previous, asked, i, row[key == i]) for i in several[:_SHOWN].tolist()),
            *(_why_inside(previous, asked, i, int(wanted[i])) for i in inside[:_SHOWN].tolist()),
        ]
        more = len(several) + len(inside) - _SHOWN
        also = f"; and {more:,} more" if more > 0 else ""
        raise InvalidInput(f"{'; '.join(problems[:_SHOWN])}{also}. Nothing was published.")
    is_found = np.zeros(len(asked), np.bool_)
    is_found[key] = True
    if len(asked) and not is_found.any():
        first = mask(f"+{asked.number[np.argmin(asked.line)]}")
        raise InvalidInput(
            f"none of {counted(len(asked), 'number')} to remove is on the list, for instance {first}. Nothing was "
            "published. Check the feed, the region and the issuer."
        )
    gone = np.zeros(len(previous), np.bool_)
    gone[row] = True
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


def _is_inside(previous: Rows, list_rows: ListRows, wanted: Int64s) -> NDArray[np.bool_]:
    """Which rows of the list a wider entry covers, of the issuer that is meant."""
    at = np.flatnonzero(previous.last > previous.number)
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


def _why_inside(previous: Rows, list_rows: ListRows, at: int, wanted: int) -> str:
    number, last = list_rows.number[at], list_rows.last[at]
    covers = (previous.number <= number) & (previous.last >= last)
    covers &= (previous.number != number) | (previous.last != last)
    if wanted != _ANY:
        covers &= previous.issuer.codes == wanted
    return (
        f"{_shown(list_rows, at)} lies inside a range ({_entries(previous, np.flatnonzero(covers))}): remove the "
        "range, and add what should stay of it"
    )


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
