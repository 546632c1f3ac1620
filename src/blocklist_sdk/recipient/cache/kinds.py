"""What is known of a number for days at a time, without reading its rows.

Most numbers are on a list once. What such numbers have in common is a *kind*: level, category, scope, the day before
which the entry surely is in force, and the day from which it surely no longer is. A list of millions has a few thousand
kinds, so a number's kind takes two bytes; a look-up reads the kind, and the rows only if the kind is `UNDECIDED`. A
kind never gives another answer than the rows would.

Days are counted from 1970 UTC. Kinds are valid from the release's publication on, or from the moment at which it was
put in force here, if that was earlier by this machine's clock. Before that, on a machine whose clock was set back, all
of them mean `UNDECIDED`. An entry that begins no later than its release was published counts as begun at once.
"""

from dataclasses import dataclass
from typing import Final, Literal, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from blocklist_sdk.recipient.cache.cells import KINDS_MAX, Kinds
from blocklist_sdk.recipient.rules import RULES
from blocklist_sdk.records import Level, Reason
from blocklist_sdk.release.rows import Int64s

_TEXT: Final = pa.dictionary(pa.int32(), pa.string())

UNDECIDED: Final = 0
"""The rows have to be read."""

UNLISTED: Final = 1
"""No entry covers the number."""

FIRST_KIND: Final = 2

MIXED: Final = ""
"""Instead of a scope: the number has several entries, and the kind is of the one that decides for all scopes."""

DAY_MS: Final = 86_400_000

Found = Literal["block", "advisory", ""]
"""The level in force, "" for none: None has another meaning where rows may have to be read."""


@dataclass(frozen=True, slots=True)
class KindVerdicts:
    """The answer for each kind at one moment, as columns.

    Attributes:
        is_undecided: whether the rows have to be read.
        level: positions in `LEVELS`, -1 for none.
        category: positions among the release's categories, -1 for none.
        reason: positions in `REASONS`.
    """

    is_undecided: NDArray[np.bool_]
    level: NDArray[np.int8]
    category: NDArray[np.int32]
    reason: NDArray[np.int8]


LEVELS: Final[tuple[Level, ...]] = ("block", "advisory")
REASONS: Final[tuple[Reason, ...]] = ("listed", "advisory", "expired", "not-yet", "not-listed", *RULES)


@dataclass(frozen=True, slots=True)
class KindTable:
    """The kinds of one generation, in the order of their numbers; the first two are `UNDECIDED` and `UNLISTED`.

    Attributes:
        sure_until: the entry is in force before this day.
        gone_from: the entry has ended from this day on.
        level, category, scope: the entry's.
    """

    sure_until: Int64s
    gone_from: Int64s
    level: tuple[str, ...]
    category: tuple[str, ...]
    scope: tuple[str, ...]

    def to_table(self) -> pa.Table:
        """The kinds as they are kept on disk."""
        texts = {name: pa.array(getattr(self, name), _TEXT) for name in ("level", "category", "scope")}
        return pa.table({"sure_until": self.sure_until, "gone_from": self.gone_from, **texts})

    @classmethod
    def from_table(cls, table: pa.Table) -> Self:
        """The kinds that `to_table` wrote; a mapped table is not copied."""
        return cls(
            *(table.column(name).chunk(0).to_numpy(zero_copy_only=True) for name in ("sure_until", "gone_from")),
            *(_shared_texts(table.column(name).chunk(0)) for name in ("level", "category", "scope")),
        )

    def extended(self, other: "KindTable") -> tuple["KindTable", Kinds]:
        """Add the kinds of another table that are missing here, as far as a cell has room for them.

        Returns:
            All kinds, and the new number of each of the other table's kinds; `UNDECIDED` for those without room.
        """
        ours, theirs = (
            list(zip(t.sure_until.tolist(), t.gone_from.tolist(), t.level, t.category, t.scope, strict=True))
            for t in (self, other)
        )
        place = {kind: i for i, kind in enumerate(ours) if i >= FIRST_KIND}
        for kind in theirs[FIRST_KIND:]:
            if kind not in place and len(ours) < KINDS_MAX:
                place[kind] = len(ours)
                ours.append(kind)
        sure, gone, level, category, scope = zip(*ours, strict=True)
        known = (place.get(kind, UNDECIDED) for kind in theirs[FIRST_KIND:])
        numbers = np.array([UNDECIDED, UNLISTED, *known], np.uint16)
        return KindTable(np.array(sure, np.int64), np.array(gone, np.int64), level, category, scope), numbers

    def answers(self, day: int) -> list[bool | None]:
        """Whether numbers of each kind are blocked on a day, for any scope; None if the rows have to be read."""
        verdicts = self.verdicts(day, None, self.category)
        block = LEVELS.index("block")
        columns = zip(verdicts.is_undecided.tolist(), verdicts.level.tolist(), strict=True)
        answers: list[bool | None] = [None if is_undecided else level == block for is_undecided, level in columns]
        # One for every kind that a cell can hold, in case a bit of it has flipped.
        return answers + [None] * (KINDS_MAX - len(answers))

    def levels(self, day: int, scope: str | None) -> list[Found | None]:
        """The level in force for numbers of each kind on a day, for one scope or for all; as `answers` otherwise."""
        verdicts = self.verdicts(day, scope, self.category)
        found: list[Found] = [*LEVELS, ""]  # -1, for none, is the last
        columns = zip(verdicts.is_undecided.tolist(), verdicts.level.tolist(), strict=True)
        levels = [None if is_undecided else found[level] for is_undecided, level in columns]
        return levels + [None] * (KINDS_MAX - len(levels))

    def verdicts(self, day: int | None, scope: str | None, categories: tuple[str, ...]) -> KindVerdicts:
        """The answers of all kinds on a day, for one scope or for all together.

        Which entry decides is also written in `recipient/verdicts.py`, `cache/classify.py`, `cache/covering.py` and
        `screening/columns.py`; `tests/recipient/test_deciding_entry.py` holds all five together.

        Args:
            day: counted from 1970 UTC; None for a moment before they are valid.
            scope: one scope, None for all.
            categories: every category of the release.
        """
        place = {category: i for i, category in enumerate(categories)}
        count = len(self.level)
        is_undecided = np.zeros(count, np.bool_)
        level = np.full(count, -1, np.int8)
        category = np.full(count, -1, np.int32)
        reason = np.full(count, REASONS.index("not-listed"), np.int8)
        is_undecided[UNDECIDED] = True
        if day is None:
            is_undecided[FIRST_KIND:] = True
            return KindVerdicts(is_undecided, level, category, reason)
        sure, gone = (day < self.sure_until).tolist(), (day >= self.gone_from).tolist()
        for i in range(FIRST_KIND, count):
            if scope is not None and self.scope[i] == MIXED:
                is_undecided[i] = True
            elif scope is not None and scope not in self.scope[i].split("+"):
                pass
            elif sure[i]:
                blocks = self.level[i] == "block"
                level[i] = LEVELS.index("block" if blocks else "advisory")
                reason[i] = REASONS.index("listed" if blocks else "advisory")
                # A kind may outlive the last number that has it, and its category the last entry.
                category[i] = place.get(self.category[i], -1)
            elif gone[i] and self.scope[i] != MIXED:
                reason[i] = REASONS.index("expired")
            else:
                is_undecided[i] = True
        return KindVerdicts(is_undecided, level, category, reason)


def _shared_texts(column: pa.DictionaryArray) -> tuple[str, ...]:
    """A column as texts; equal texts are one object in memory."""
    values = column.dictionary.to_pylist()
    return tuple(values[i] for i in column.indices.to_numpy(zero_copy_only=True).tolist())
