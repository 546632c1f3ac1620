"""The differences between two releases on this disk; correct also after a gap, a crash or a snapshot."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Literal, NoReturn

import numpy as np
import pyarrow as pa

from blocklist_sdk import times
from blocklist_sdk.errors import Malformed, not_pickled
from blocklist_sdk.recipient.cache.generation import Generation
from blocklist_sdk.recipient.cache.release_answers import ReleaseAnswers
from blocklist_sdk.recipient.rules import Rules, RulesOnRanges
from blocklist_sdk.records import Change, Entry, Override
from blocklist_sdk.release.arrow import to_table
from blocklist_sdk.release.merge import Difference, difference
from blocklist_sdk.release.rows import Rows, entry_at

if TYPE_CHECKING:
    from blocklist_sdk.recipient.arrow_types import ArrowTable

Kind = Literal["removed", "changed", "added"]


class Changes:
    """The changes from one release to another, made by `Blocklist.changes`.

    Iterating gives a `Change` for each entry that differs: removed ones first, then changed ones, then added ones, each
    by number. `to_arrow` gives them all at once.
    """

    def __init__(
        self,
        old: Generation | None,
        new: ReleaseAnswers,
        rules: Callable[[], Rules],
        note_damage: Callable[[Generation], None] = lambda _: None,
    ) -> None:
        """For `Blocklist.changes`; `note_damage` is called with the later release if it is damaged."""
        self._old = old
        self._new = new
        self._rules = rules
        self._found = _difference(old, new, note_damage)

    def __reduce__(self) -> NoReturn:
        raise not_pickled("a Changes", "pass its items on, or what to_arrow returns")

    @property
    def before(self) -> int | None:
        """The serial of the earlier release; None for an empty list."""
        return self._old.about.serial if self._old else None

    @property
    def after(self) -> int:
        """The serial of the later release."""
        return self._new.about.serial

    @property
    def before_era(self) -> int | None:
        """The era of the earlier release; None for an empty list."""
        return self._old.about.era if self._old else None

    @property
    def after_era(self) -> int:
        """The era of the later release."""
        return self._new.about.era

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[Change]:
        found = self._found
        rules = _RulesNow(self._rules(), times.now())
        for entry in self._entries(found.removed):
            yield _change("removed", entry, None, rules)
        for entry, before in zip(self._entries(found.changed_new), self._entries(found.changed_old), strict=True):
            yield _change("changed", entry, before, rules)
        for entry in self._entries(found.added):
            yield _change("added", entry, None, rules)

    def _entries(self, rows: Rows) -> Iterator[Entry]:
        return (entry_at(rows, at, feed=self._new.about.feed) for at in range(len(rows)))

    def to_arrow(self) -> "ArrowTable":
        """All changes as a table: the column ``change`` (removed, changed, added), then the columns of a snapshot.

        Removed rows are as they were; changed rows are as they are now.
        """
        found = self._found
        parts = (("removed", found.removed), ("changed", found.changed_new), ("added", found.added))
        tables = [
            to_table(rows).add_column(
                0,
                "change",
                pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(rows), np.int8)), pa.array([kind], pa.string())),
            )
            for kind, rows in parts
        ]
        table: ArrowTable = pa.concat_tables(tables).unify_dictionaries()
        return table


def _difference(old: Generation | None, new: ReleaseAnswers, note_damage: Callable[[Generation], None]) -> Difference:
    """How two generations differ; of two that share a base, only what deltas changed is looked at.

    What it is made of is compared with the hashes that were kept of it, so that damage never passes for a change.

    Raises:
        Malformed: one of the two is damaged.
    """
    if old is not None and isinstance(new, Generation) and new.shares_base(old):
        # Before anything goes by them.
        is_whole, is_old_whole = new.is_overlay_whole(), old.is_overlay_whole()
        if is_whole and is_old_whole:
            mine, its = old.layers.overlay.dropped, new.layers.overlay.dropped
            number = new.layers.base.number[np.setxor1d(mine, its, assume_unique=True)]
            is_whole = new.is_base_whole_beside(number)
            found = new.layers.changed_since(old.layers) if is_whole else None
            if found is not None:
                return found
        if not is_whole:
            note_damage(new)
        raise _damaged(old, new)
    is_whole = new.is_whole()
    if not isinstance(new, Generation):
        if not is_whole:
            raise new.damaged()
        return difference(Rows.empty(), new.rows)
    if not is_whole:
        note_damage(new)
    if not (is_whole and (old is None or old.is_whole())):
        raise _damaged(new if old is None else old, new)
    return difference(old.rows if old else Rows.empty(), new.rows)


def _damaged(old: Generation, new: Generation) -> Malformed:
    releases = " or ".join(dict.fromkeys(str(each.about.release) for each in (old, new)))
    return Malformed(
        f"release {releases} in {new.directory.parent} is damaged: run a sync, which repairs the one in force. If the "
        "earlier one is damaged, too, take the whole list (since=None)"
    )


def _change(kind: Kind, entry: Entry, before: Entry | None, rules: "_RulesNow") -> Change:
    overrides, is_protected = rules.on(entry)
    return Change(
        kind=kind,
        entry=entry,
        before=before,
        override=overrides[0] if overrides and entry.last is None else None,
        protected=is_protected,
        overrides=overrides,
    )


class _RulesNow:
    """The rules on entries, at one moment."""

    def __init__(self, rules: Rules, at: datetime) -> None:
        self._rules, self._at = rules, at
        # Only lists with ranges need it.
        self._on_ranges: RulesOnRanges | None = None

    def on(self, entry: Entry) -> tuple[tuple[Override, ...], bool]:
        """The overrides that decide on an entry's numbers, and whether any of these is protected."""
        if entry.last is None:
            rule, override = self._rules.of(entry.number, self._at) or ("", None)
            return () if override is None else (override,), rule == "protected"
        if self._on_ranges is None:
            self._on_ranges = RulesOnRanges(self._rules, self._at)
        span = entry.number, entry.last
        return self._on_ranges.overrides(*span), self._on_ranges.is_protected(*span)
