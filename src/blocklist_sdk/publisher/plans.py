"""What a list makes of the current release. Pure.

Whoever adds or removes some numbers changes some rows among millions: what decides about them is the rows of these
numbers and all ranges, so only they are looked at, and the result is a difference. A whole list is planned window by
window.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Final

import numpy as np

from blocklist_sdk.publisher.amendments import Amended, with_added, without
from blocklist_sdk.publisher.limits import check_part
from blocklist_sdk.publisher.next_release import (
    NO_ENTRY,
    EntryDefaults,
    ListRows,
    NextRelease,
    distinct_rows,
    plan_release,
)
from blocklist_sdk.publisher.protected_rows import cut_layers
from blocklist_sdk.release import windows
from blocklist_sdk.release.layers import LayeredRows
from blocklist_sdk.release.limits import DISTINCT_TEXTS_MAX
from blocklist_sdk.release.merge import Difference, difference
from blocklist_sdk.release.rows import Int64s, Rows, Texts, concatenated, joined
from blocklist_sdk.release.windows import all_outside_ranges, bounds, outside_ranges, texts_of

_PART: Final = 0.25
"""If a larger share of the list changes, all of it is looked at, which costs no more."""


@dataclass(frozen=True)
class Plan:
    """A release that is planned, as what changes of the current one.

    Attributes:
        before: the current release.
        lawful: the same without numbers that were protected since: what protection lifts, no list lifts.
        after: the release.
        changes: how `before` and `after` differ.
        last_entry: the highest entry id given out on this feed so far, this release included.
        duplicates: number of rows in the list that were equal to another row in every column.
        concerned: how many entries of the current release are gone or cut because their numbers were protected since.
        already_listed, extended, not_listed: as in `Amended`.
        texts_before: for each text column, how many rows of the current release have each text; None if that has to be
            counted.
    """

    before: LayeredRows
    lawful: LayeredRows
    after: LayeredRows
    changes: Difference
    last_entry: int
    duplicates: int
    concerned: int = 0
    already_listed: int = 0
    extended: int = 0
    not_listed: tuple[int, ...] = ()
    texts_before: Mapping[str, Mapping[str, int]] | None = None

    @property
    def is_whole(self) -> bool:
        """Whether so much changes that `old`, `lawful_old` and `new` are the whole lists."""
        return not is_small(self.changes, self.before)

    @cached_property
    def old(self) -> Rows:
        """The rows of the current release that decide about what changes: of the same numbers, and all ranges."""
        return self._part(self.before)

    @cached_property
    def lawful_old(self) -> Rows:
        """The same of `lawful`."""
        return self._part(self.lawful)

    @cached_property
    def new(self) -> Rows:
        """The same of the release."""
        return self._part(self.after)

    def _part(self, layers: LayeredRows) -> Rows:
        return layers.whole() if self.is_whole else layers.around(*self.changes.numbers())

    @cached_property
    def more_outside(self) -> int:
        """How many single numbers more lie outside all ranges than before."""
        if self.is_whole:
            return all_outside_ranges(self.after) - all_outside_ranges(self.before)
        return outside_ranges(self.new) - outside_ranges(self.old)

    def distinct_texts(self, name: str) -> int:
        """How many distinct texts a column of the release has; of up to the most that it may have, perhaps fewer."""
        rows = self.after.base, self.after.overlay.puts
        most = len({value for part in rows for value in getattr(part, name).values})
        return most if most <= DISTINCT_TEXTS_MAX else len(self.texts_after(name))

    def texts_after(self, name: str) -> Counter[str]:
        """How many rows of the release have each text of a column."""
        counts = text_counts(self.before, name) if self.texts_before is None else Counter(self.texts_before[name])
        counts.subtract(texts_of(getattr(self.changes.removed, name)))
        counts.subtract(texts_of(getattr(self.changes.changed_old, name)))
        counts.update(texts_of(getattr(self.changes.added, name)))
        counts.update(texts_of(getattr(self.changes.changed_new, name)))
        return +counts


def text_counts(layers: LayeredRows, name: str) -> Counter[str]:
    """How many rows of a list have each text of a column."""
    base: Texts = getattr(layers.base, name)
    counts = texts_of(base)
    counts.subtract(texts_of(base.take(layers.overlay.dropped)))
    counts.update(texts_of(getattr(layers.overlay.puts, name)))
    return +counts


def plan_added(
    before: LayeredRows,
    list_rows: ListRows,
    *,
    protected: Int64s,
    now_ms: int,
    last_entry: int,
    defaults: EntryDefaults,
    published_ms: int = 0,
    published_entry: int | None = None,
) -> Plan:
    """Plan the current release and some entries more, as `with_added` does.

    Args:
        before: the current release.
        list_rows: the rows to add, in any order; none of them covers a protected number.
        protected: the protected numbers, ascending.
        now_ms: as for `with_added`.
        last_entry: as for `with_added`.
        defaults: as for `with_added`.
        published_ms: as for `with_added`.
        published_entry: as for `with_added`.

    Raises:
        InvalidInput: as `with_added`, or the release would be beyond a limit of the protocol.
    """
    lawful, lawful_entry, concerned = cut_layers(before, protected, last_entry=last_entry)
    part = lawful.around(list_rows.number, list_rows.number)
    amended = with_added(
        part,
        list_rows,
        now_ms=now_ms,
        last_entry=lawful_entry,
        defaults=defaults,
        published_ms=published_ms,
        published_entry=published_entry,
    )
    check_part(amended.following.rows, list_rows)
    after, changes = lawful.applied(difference(part, amended.following.rows).delta())
    return _plan(before, lawful, after, amended, changes, concerned=concerned)


def plan_removed(
    before: LayeredRows,
    list_rows: ListRows,
    *,
    protected: Int64s,
    now_ms: int,
    last_entry: int,
    issuer: str,
    allow_empty: bool = False,
) -> Plan:
    """Plan the current release without the entries of some numbers and ranges, as `without` does.

    Args:
        before: the current release.
        list_rows: the numbers and ranges to remove.
        protected: the protected numbers, ascending.
        now_ms: as for `without`.
        last_entry: as for `without`.
        issuer: as for `without`.
        allow_empty: as for `without`.

    Raises:
        InvalidInput: as `without`.
    """
    # First what is asked for: a number that is listed and protected since is on the list that people see.
    part = before.around(list_rows.number, list_rows.number)
    amended = without(
        part,
        list_rows,
        now_ms=now_ms,
        last_entry=last_entry,
        issuer=issuer,
        allow_empty=allow_empty,
        others=len(before) - len(part),
    )
    left, changes = before.applied(difference(part, amended.following.rows).delta())
    after, left_entry, concerned = cut_layers(left, protected, last_entry=last_entry)
    lawful, _, _ = cut_layers(before, protected, last_entry=last_entry)
    amended = replace(amended, following=replace(amended.following, last_entry=left_entry))
    return _plan(before, lawful, after, amended, changes, concerned=concerned)


def plan_whole(
    before: LayeredRows,
    list_rows: ListRows,
    *,
    protected: Int64s,
    now_ms: int,
    last_entry: int,
    defaults: EntryDefaults,
    published_entry: int | None = None,
) -> Plan:
    """Plan the release that a whole list makes, as `plan_release` does.

    Args:
        before: the current release.
        list_rows: the list, in any order; none of its rows covers a protected number.
        protected: the protected numbers, ascending.
        now_ms: as for `plan_release`.
        last_entry: as for `plan_release`.
        defaults: as for `plan_release`.
        published_entry: as for `plan_release`.

    Raises:
        InvalidInput: as `plan_release`, or the release would be beyond a limit of the protocol.
    """
    lawful, lawful_entry, concerned = cut_layers(before, protected, last_entry=last_entry)
    rows = distinct_rows(list_rows)
    planned = partial(plan_release, now_ms=now_ms, defaults=defaults, published_entry=published_entry)
    if rows.entry is not None and bool((rows.entry != NO_ENTRY).any()):
        # An id may belong to any row.
        following = planned(lawful.whole(), rows, last_entry=lawful_entry)
        changes = difference(before.whole(), following.rows)
    else:
        following, changes = _planned_by_windows(before, lawful, rows, planned, last_entry=lawful_entry)
    following = replace(following, duplicates=len(list_rows) - len(rows))
    check_part(following.rows, list_rows)
    after = LayeredRows.of(following.rows)
    if is_small(changes, before):
        after, changes = before.applied(changes.delta())
    return _plan(before, lawful, after, Amended(following), changes, concerned=concerned)


def _planned_by_windows(
    before: LayeredRows,
    lawful: LayeredRows,
    rows: ListRows,
    planned: Callable[..., NextRelease],
    *,
    last_entry: int,
) -> tuple[NextRelease, Difference]:
    """Plan a whole list, whose rows are in order, window by window: what each row becomes follows from its number's."""
    changes: list[Difference] = []

    def parts() -> Iterator[Rows]:
        nonlocal last_entry
        lists = (rows.number, lawful.base.number, lawful.overlay.puts.number)
        for first, last in bounds(*lists, size=windows.WINDOW_ROWS):
            begin, end = np.searchsorted(rows.number, (first, last + 1)).tolist()
            window = np.array([first]), np.array([last])
            part = planned(lawful.near(*window), rows.take(np.arange(begin, end)), last_entry=last_entry)
            last_entry = part.last_entry
            if len(before):
                changes.append(difference(before.near(*window), part.rows))
            yield part.rows

    whole = joined(parts(), len(rows))
    following = NextRelease(rows=whole, last_entry=last_entry, duplicates=0)
    if not len(before):
        return following, difference(Rows.empty(), whole)
    sides = {
        name: concatenated([getattr(each, name) for each in changes])
        for name in ("added", "removed", "changed_old", "changed_new")
    }
    return following, Difference(**sides)


def is_small(changes: Difference, before: LayeredRows) -> bool:
    """Whether a release is better kept as what it changes of the one before than whole."""
    return len(changes) <= _PART * len(before)


def _plan(
    before: LayeredRows,
    lawful: LayeredRows,
    after: LayeredRows,
    amended: Amended,
    changes: Difference,
    *,
    concerned: int,
) -> Plan:
    """A plan; `changes` are all of them unless entries were cut because of protected numbers."""
    since = after.changed_since(before) if concerned else None
    if since is not None:
        changes = since
    return Plan(
        before=before,
        lawful=lawful,
        after=after,
        changes=changes,
        last_entry=amended.following.last_entry,
        duplicates=amended.following.duplicates,
        concerned=concerned,
        already_listed=amended.already_listed,
        extended=amended.extended,
        not_listed=amended.not_listed,
    )
