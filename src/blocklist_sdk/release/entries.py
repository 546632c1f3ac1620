"""What the protocol says of entry ids: each stands once in a release, and stays with its number."""

import numpy as np

from blocklist_sdk.errors import Malformed
from blocklist_sdk.release.layers import LayeredRows
from blocklist_sdk.release.merge import Difference
from blocklist_sdk.release.rows import Int64s, Rows

_IDS_PER_ROW_MAX = 4
"""Up to this many ids given out for each row, a table of them all takes less memory than the rows."""


def check_entries(rows: Rows, *, last_entry: int) -> None:
    """Check the entry ids of a release.

    Args:
        rows: the release's.
        last_entry: the highest entry id ever given out, as the index says.

    Raises:
        Malformed: an id stands twice, or is above `last_entry`.
    """
    _check_highest(rows.entry, last_entry)
    if not _are_distinct(rows.entry):
        raise Malformed("the release holds an entry id twice")


def check_step(old: LayeredRows, changes: Difference, *, last_entry: int) -> None:
    """Check the entry ids of a release that follows one whose ids were checked; cheap where few entries are new.

    Args:
        old: the release before.
        changes: how the release differs from it.
        last_entry: as for `check_entries`.

    Raises:
        Malformed: an id has moved to another number, stands twice, or is above `last_entry`.
    """
    added = changes.added.entry
    _check_highest(added, last_entry)
    check_moves(changes)
    if not _are_distinct(added):
        raise Malformed("the release holds an entry id twice")
    # Publishers give out ascending ids, so mostly the new ones are above all the others.
    if len(added) and added.min() <= old.highest_entry and old.has_entry(added):
        raise Malformed("the release holds an entry id twice")


def check_moves(changes: Difference) -> None:
    """Check that no entry of one release has another number or range in a later one.

    Raises:
        Malformed: one has.
    """
    if len(np.intersect1d(changes.added.entry, changes.removed.entry)):
        raise Malformed("an entry id has moved to another number or range")


def _check_highest(entry: Int64s, last_entry: int) -> None:
    if len(entry) and entry.max() > last_entry:
        raise Malformed("the release holds an entry id above last_entry, the highest that its index says was given out")


def _are_distinct(entry: Int64s) -> bool:
    highest = int(entry.max(initial=0))
    if highest < _IDS_PER_ROW_MAX * len(entry):
        # Publishers give ids out one after the other, so mostly they fill a small table. Sorting takes forty times as
        # long.
        is_used = np.zeros(highest + 1, np.bool_)
        is_used[entry] = True
        return int(np.count_nonzero(is_used)) == len(entry)
    ordered = np.sort(entry)
    return not bool((ordered[1:] == ordered[:-1]).any())
