"""Whose business each change is, the list's or the recipient's own: by the entries that come or go. Pure.

A ledger keeps it with the batch, since nobody can tell later: the list may drop an entry long after the recipient has
allowed its number.
"""

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from blocklist_sdk import times
from blocklist_sdk.enforcement.items import OWN_ENTRY, Bools, Items
from blocklist_sdk.enforcement.ledger_state import LedgerState
from blocklist_sdk.enforcement.plan import PlannedBatch
from blocklist_sdk.recipient.rules import Rules
from blocklist_sdk.release.rows import Int64s, Rows


@dataclass(frozen=True, slots=True)
class Origins:
    """What is needed to tell.

    Attributes:
        state: what the sink holds before the plan.
        in_force: ids of the entries that the release in force blocks by, at this moment.
        rules: protected numbers and overrides.
        at: the moment.
    """

    state: LedgerState
    in_force: Int64s
    rules: Rules
    at: datetime

    @classmethod
    def of(cls, state: LedgerState, rows: Rows, rules: Rules, at: datetime, *, published: datetime) -> "Origins | None":
        """What is needed to tell; None if the recipient has no rules of its own, so that all is the list's business."""
        if not (rules.overrides or rules.ranges or rules.own_protected):
            return None
        at_ms = times.to_ms(at)
        begun = max(at_ms, times.to_ms(published))  # as in `desired_items`
        block = rows.level.values.index("block") if "block" in rows.level.values else -1
        in_force = (rows.level.codes == block) & (rows.since <= begun) & (at_ms < rows.until)
        return cls(state, np.unique(rows.entry[in_force]), rules, at)

    def own(self, part: PlannedBatch) -> Bools:
        """Which changes only the recipient's own rules ask for."""
        items = part.items
        own: Bools = items.entry == OWN_ENTRY
        if part.operation == "block":
            return own
        if part.operation == "unblock":
            for index in np.flatnonzero(self._are_in_force(items.entry)).tolist():
                lifted = items.lifted_entries.get(index, items.entries(index))
                own[index] = self._all_in_force(lifted) and self._lets_through(int(items.number[index]))
            return own
        for index in range(len(items)):
            own[index] = self._is_own_change(items, index)
        return own

    def _is_own_change(self, items: Items, index: int) -> bool:
        number = int(items.number[index])
        if not self._all_in_force(items.lifted_entries.get(index, ())):
            return False  # the list has dropped an entry
        if number not in self.rules.overrides and (not self.rules.ranges or not self.rules.ranges.covers(number)):
            return False
        return set(items.entries(index)) <= set(_entries_behind(self.state, number))

    def _lets_through(self, number: int) -> bool:
        rule = self.rules.of(number, self.at)
        return number in self.rules.own_protected or (rule is not None and rule[0] == "override-allow")

    def _are_in_force(self, entries: Int64s) -> Bools:
        if not len(self.in_force):
            return np.zeros(len(entries), np.bool_)
        at = np.minimum(np.searchsorted(self.in_force, entries), len(self.in_force) - 1)
        found: Bools = self.in_force[at] == entries
        return found

    def _all_in_force(self, entries: tuple[int, ...]) -> bool:
        return bool(self._are_in_force(np.array(entries, np.int64)).all())


def _entries_behind(state: LedgerState, number: int) -> tuple[int, ...]:
    """The entries of the item that a sink holds under a first number."""
    at = int(np.searchsorted(state.changed, number))
    is_changed = at < len(state.changed) and int(state.changed[at]) == number
    items = state.patch if is_changed else state.items
    at = int(np.searchsorted(items.number, number))
    return items.entries(at) if at < len(items) and int(items.number[at]) == number else ()
