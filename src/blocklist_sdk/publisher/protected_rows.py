"""Lists without the protected numbers, which no feed may list. Pure.

A range loses those numbers and no others: whoever protects one of ten thousand lifts one block, and not ten thousand.
"""

from dataclasses import replace
from typing import Final

import numpy as np

from blocklist_sdk.publisher.next_release import NO_ENTRY, ListRows, check_ids_left
from blocklist_sdk.release.layers import LayeredRows
from blocklist_sdk.release.merge import Delta, keys_of
from blocklist_sdk.release.protected import covers, cut_around
from blocklist_sdk.release.rows import Int64s
from blocklist_sdk.tables.rejects import Reject

_PROTECTED: Final = "a protected number, which no feed may list"


def cut_list(rows: ListRows, protected: Int64s) -> tuple[ListRows, list[Reject], int]:
    """A list without protected numbers.

    Args:
        rows: the rows of the list.
        protected: E.164 integers, ascending.

    Returns:
        What is left, with ranges cut around protected numbers; the rows of which nothing is left, as rejects; and how
        many ranges were cut. A piece has no entry id of the list's own, since an entry keeps its number.
    """
    hit = covers(rows.number, rows.last, protected)
    if not hit.any():
        return rows, [], 0
    concerned = rows.take(hit)
    at, first, last = cut_around(concerned.number, concerned.last, protected)
    pieces = replace(concerned.take(at), number=first, last=last)
    if pieces.entry is not None:
        pieces = replace(pieces, entry=np.full(len(pieces), NO_ENTRY, np.int64))
    is_gone = np.ones(len(concerned), np.bool_)
    is_gone[at] = False
    gone = concerned.take(is_gone)
    rejects = [
        Reject(line, _PROTECTED, f"+{number}" if number == end else f"+{number}-+{end}")
        for line, number, end in zip(gone.line.tolist(), gone.number.tolist(), gone.last.tolist(), strict=True)
    ]
    return rows.take(~hit).with_rows(pieces), rejects, len(concerned) - len(gone)


def cut_layers(rows: LayeredRows, protected: Int64s, *, last_entry: int) -> tuple[LayeredRows, int, int]:
    """A release without numbers that were protected after they were listed.

    Args:
        rows: the release.
        protected: E.164 integers, ascending.
        last_entry: the highest entry id given out on the feed so far.

    Returns:
        The release, with ranges cut around protected numbers into entries with new ids, and all else as it was; the
        highest entry id given out then; and how many entries are gone or cut.
    """
    near = rows.around(protected, protected)
    hit = covers(near.number, near.last, protected)
    if not hit.any():
        return rows, last_entry, 0
    concerned = near.take(hit)
    at, first, last = cut_around(concerned.number, concerned.last, protected)
    check_ids_left(last_entry + len(at))
    entry = last_entry + 1 + np.arange(len(at))
    pieces = replace(concerned.take(at), number=first, entry=entry).with_last(last)
    after, _ = rows.applied(Delta(pieces.sort(), keys_of(concerned)))
    return after, last_entry + len(at), len(concerned)
