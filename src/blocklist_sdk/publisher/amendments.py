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
from blocklist_sdk.release.rows import Int64s, Positions, Rows, Texts
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
    distinct = distinct_rows(list_rows)
    wanted = _issuers(distinct.issuer or Texts.repeat(issuer, len(distinct)), previous)
    key, row = _same_number(previous, distinct)
    is_meant = (wanted[key] == _ANY) | (wanted[key] == previous.issuer.codes[row])
    key, row = key[is_meant], row[is_meant]
    problems = [*_several_issuers(previous, distinct, wanted, key, row), *_in_ranges(previous, distinct, wanted)]
    if problems:
        more = len(problems) - _SHOWN
        also = f"; and {more:,} more" if more > 0 else ""
        raise InvalidInput(f"{'; '.join(problems[:_SHOWN])}{also}. Nothing was published.")
    is_found = np.zeros(len(distinct), np.bool_)
    is_found[key] = True
    if len(distinct) and not is_found.any():
        first = mask(f"+{distinct.number[np.argmin(distinct.line)]}")
        raise InvalidInput(
            f"none of {counted(len(distinct), 'number')} to remove is on the list, for instance {first}. Nothing was "
            "published. Check the feed, the region and the issuer."
        )
    gone = np.zeros(len(previous), np.bool_)
    gone[row] = True
    following = NextRelease(rows=previous.take(~gone), last_entry=last_entry, duplicates=len(list_rows) - len(distinct))
    return Amended(following, not_listed=tuple(sorted(distinct.line[~is_found].tolist())))


_ANY = -1
_NOBODY = -2


def _issuers(issuer: Texts, previous: Rows) -> NDArray[np.int64]:
    """The issuer of each row as the current release encodes it."""
    code = {value: i for i, value in enumerate(previous.issuer.values)} | {ANY_ISSUER: _ANY}
    return np.array([code.get(value, _NOBODY) for value in issuer.values] or [_ANY], np.int64)[issuer.codes]


def _same_number(previous: Rows, list_rows: ListRows) -> tuple[Positions, Positions]:
    """Each row of the list, and each entry of exactly its number or range, pairwise."""
    start = np.searchsorted(previous.number, list_rows.number, "left")
    count = np.searchsorted(previous.number, list_rows.number, "right") - start
    key = np.repeat(np.arange(len(list_rows)), count)
    row = np.arange(len(key)) - np.repeat(np.cumsum(count) - count, count) + np.repeat(start, count)
    is_same = previous.last[row] == list_rows.last[key]
    return key[is_same], row[is_same]


def _several_issuers(previous: Rows, list_rows: ListRows, wanted: Int64s, key: Positions, row: Positions) -> list[str]:
    issuer = previous.issuer.codes[row].astype(np.int64)
    lowest, highest = np.full(len(list_rows), np.iinfo(np.int64).max), np.full(len(list_rows), -1, np.int64)
    np.minimum.at(lowest, key, issuer)
    np.maximum.at(highest, key, issuer)
    several = np.flatnonzero((lowest < highest) & (wanted == _ANY))
    return [
        f"{_shown(list_rows, i)} has entries of several issuers ({_entries(previous, row[key == i])}): name the issuer"
        for i in several.tolist()
    ]


def _in_ranges(previous: Rows, list_rows: ListRows, wanted: Int64s) -> list[str]:
    """Rows that a wider entry covers."""
    at = np.flatnonzero(previous.last > previous.number)
    if not len(at) or not len(list_rows):
        return []
    first, last = previous.number[at], previous.last[at]
    before = np.searchsorted(first, list_rows.number, "right")
    furthest = np.maximum.accumulate(last)
    maybe = np.flatnonzero((before > 0) & (furthest[np.maximum(before - 1, 0)] >= list_rows.last))
    problems = []
    for i in maybe.tolist():
        covers = (first <= list_rows.number[i]) & (last >= list_rows.last[i])
        covers &= (first != list_rows.number[i]) | (last != list_rows.last[i])
        if wanted[i] != _ANY:
            covers &= previous.issuer.codes[at] == wanted[i]
        if covers.any():
            problems.append(
                f"{_shown(list_rows, i)} lies inside a range ({_entries(previous, at[covers])}): remove the range, and "
                "add what should stay of it"
            )
    return problems


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
