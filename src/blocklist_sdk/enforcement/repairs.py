"""Repairs: which changes only put a sink right, so that the month's statement does not count them as new.

`reconcile` writes down what it repairs, in a file beside the ledger's base, before the ledger takes over what the sink
really holds. A later batch repairs a number if the file names it, under the same operation and entry, and nothing was
asked for it since. A ledger without such files, as older versions leave it, has no repairs.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, get_args

import numpy as np
import pyarrow as pa

from blocklist_sdk.disk import storage
from blocklist_sdk.enforcement.items import OWN_ENTRY, Bools, Items, Operation, Positions
from blocklist_sdk.enforcement.ledger import Ledger
from blocklist_sdk.enforcement.ledger_files import read_table, reading, write_table
from blocklist_sdk.enforcement.ledger_state import ItemStatus, LedgerState, is_any_of
from blocklist_sdk.enforcement.plan import matched
from blocklist_sdk.release.rows import Int64s

_OPERATIONS: Final[tuple[Operation, ...]] = get_args(Operation)
_NAME: Final = "repair-{:09d}.arrow"
_NONE: Final = np.empty(0, np.int64)

Named = tuple[Int64s, Int64s]
"""First numbers, ascending, and the entry behind each."""


def find_repairs(
    ledger_state: LedgerState, sink_items: Items, target_items: Items, in_sink: Positions, in_target: Positions
) -> dict[Operation, Named]:
    """What a sink has lost, holds too much or holds otherwise, although the ledger knows better. Pure.

    What the list asks for since the last run is no repair, even if the sink has to be told now.

    Args:
        ledger_state: what the sink should have held after the last run; all of it a base.
        sink_items: what it holds.
        target_items: what it should hold now.
        in_sink: positions of the sink's items whose first number is wanted.
        in_target: positions of the same numbers in `target_items`.
    """
    ledger_items = ledger_state.items
    missing = target_items.take(np.delete(np.arange(len(target_items)), in_target))
    here, there = matched(missing, ledger_items)
    lost = here[missing.entry[here] == ledger_items.entry[there]]

    surplus = sink_items.take(np.delete(np.arange(len(sink_items)), in_sink))
    is_nothing = is_any_of(ledger_state.status, ItemStatus.NOTHING_TO_BLOCK)
    stray = surplus.number[~np.isin(surplus.number, ledger_items.number[~is_nothing])]
    stray_entry = np.full(len(stray), OWN_ENTRY, np.int64)
    here, there = matched(surplus.take(np.flatnonzero(np.isin(surplus.number, stray))), ledger_items)
    stray_entry[here] = ledger_items.entry[there]

    wanted = target_items.take(in_target)
    differs = (sink_items.last[in_sink] != wanted.last) | (sink_items.scope[in_sink] != wanted.scope)
    wanted = wanted.take(np.flatnonzero(differs))
    here, there = matched(wanted, ledger_items)
    is_same = np.ones(len(here), np.bool_)
    for column in ("last", "scope", "entry"):
        is_same &= getattr(wanted, column)[here] == getattr(ledger_items, column)[there]
    other = here[is_same]
    return {
        "block": (missing.number[lost], missing.entry[lost]),
        "change": (wanted.number[other], wanted.entry[other]),
        "unblock": (stray, stray_entry),
    }


def write_repairs(ledger: Ledger, repairs: Mapping[Operation, Named], *, after: int) -> None:
    """Write down what the batches after batch `after` repair; files of batches that the ledger dropped are deleted.

    Raises:
        Malformed: an earlier file is damaged.
        StorageFailed: the disk refused.
    """
    path = ledger.directory / _NAME.format(after)
    known = Repairs()
    if path.exists():  # nothing was sent since an earlier repair, so that one is still to come as well
        known.add(path)
    known.merge(repairs)
    parts = [(code, *known.named[operation]) for code, operation in enumerate(_OPERATIONS)]
    table = pa.table(
        {
            "operation": np.concatenate([np.full(len(numbers), code, np.uint8) for code, numbers, _ in parts]),
            "number": np.concatenate([numbers for _, numbers, _ in parts]),
            "entry": np.concatenate([entries for _, _, entries in parts]),
        }
    )
    oldest = next((record.batch.number_in_ledger for record in ledger.records()), after + 1)
    with storage(ledger.directory):
        if len(table):
            write_table(path, table, {"operations": list(_OPERATIONS)})
        for number, file in _files(ledger.directory):
            if number + 1 < oldest:
                file.unlink(missing_ok=True)


class Repairs:
    """What is named by the files of repairs, and was not asked for yet."""

    def __init__(self, directory: Path | None = None) -> None:
        """Begin with nothing; `directory` is the ledger's, whose files `advance` reads."""
        self.named: dict[Operation, Named] = dict.fromkeys(_OPERATIONS, (_NONE, _NONE))
        self._files = [] if directory is None else list(_files(directory))

    def advance(self, number: int) -> None:
        """Add what was named before batch `number`.

        Raises:
            Malformed: a file is damaged.
            StorageFailed: the disk refused.
        """
        while self._files and self._files[0][0] < number:
            self.add(self._files.pop(0)[1])

    def add(self, path: Path) -> None:
        """Add what a file names.

        Raises:
            Malformed, StorageFailed: as for `advance`.
        """
        table, about = read_table(path)
        with reading(path):
            code, number, entry = (table.column(name).to_numpy() for name in ("operation", "number", "entry"))
            at = {operation: np.flatnonzero(code == about["operations"].index(operation)) for operation in _OPERATIONS}
            self.merge({operation: (number[places], entry[places]) for operation, places in at.items()})

    def merge(self, repairs: Mapping[Operation, Named]) -> None:
        """Add repairs; those of the same number and operation replace earlier ones."""
        for operation, (numbers, entries) in repairs.items():
            before = self.named[operation]
            kept = ~np.isin(before[0], numbers)
            joined = np.concatenate((before[0][kept], numbers)), np.concatenate((before[1][kept], entries))
            order = np.argsort(joined[0], kind="stable")
            self.named[operation] = joined[0][order], joined[1][order]

    def take(self, operation: Operation, numbers: Int64s, entries: Int64s) -> Bools:
        """Which changes are repairs. Whatever is asked for a number, its repairs are then over.

        Args:
            operation: that of the changes.
            numbers: their first numbers.
            entries: the entry behind each.
        """
        known, behind = self.named[operation]
        found = np.zeros(len(numbers), np.bool_)
        if len(known):
            at = np.minimum(np.searchsorted(known, numbers), len(known) - 1)
            found = (known[at] == numbers) & (behind[at] == entries)
        for other, (named, entry) in self.named.items():
            if len(named):
                kept = ~np.isin(named, numbers)
                self.named[other] = named[kept], entry[kept]
        return found


def _files(directory: Path) -> Iterator[tuple[int, Path]]:
    """The files of repairs, oldest first, each with the number of the batch after which it was written."""
    for path in sorted(directory.glob("repair-*.arrow")):
        digits = path.stem.removeprefix("repair-")
        if digits.isdigit():
            yield int(digits), path
