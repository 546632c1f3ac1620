"""Which files of records a ledger has. They may be many, so a run lists them once."""

from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

_DIGITS: Final = 9
_BATCH, _DONE, _RECEIPTS = ".batch.arrow", ".done.arrow", ".receipts.json"
_ENDS: Final = {"batch": _BATCH, "done": _DONE, "receipts": _RECEIPTS}


def file_name(number: int, kind: str) -> str:
    """The name of a record's file.

    >>> file_name(7, "done")
    '000000007.done.arrow'
    """
    return f"{number:0{_DIGITS}d}{_ENDS[kind]}"


@dataclass(frozen=True, slots=True)
class RecordFiles:
    """Numbers of records.

    Attributes:
        numbers: those of which the batch is there, ascending.
        done: those with outcomes.
        acknowledged: those whose receipts the exchange has acknowledged.
    """

    numbers: list[int]
    done: set[int]
    acknowledged: set[int]

    @classmethod
    def of(cls, names: Iterable[str]) -> Self:
        """What some names of files stand for; other names are passed over.

        >>> RecordFiles.of(["000000007.batch.arrow", ".new-1"]).numbers
        [7]
        """
        found: dict[str, list[int]] = {_BATCH: [], _DONE: [], _RECEIPTS: []}
        for name in names:
            numbers = found.get(name[_DIGITS:])
            if numbers is not None and name[:_DIGITS].isdecimal():
                numbers.append(int(name[:_DIGITS]))
        return cls(sorted(found[_BATCH]), set(found[_DONE]), set(found[_RECEIPTS]))

    def add(self, number: int, kind: str) -> None:
        """Note that a file was written: ``batch``, ``done`` or ``receipts``."""
        if kind == "batch":
            insort(self.numbers, number)
        else:
            (self.done if kind == "done" else self.acknowledged).add(number)

    def drop(self, number: int) -> None:
        """Note that a record was deleted."""
        self.numbers.remove(number)
        self.done.discard(number)
