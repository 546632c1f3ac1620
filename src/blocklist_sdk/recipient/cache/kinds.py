"""What can be said of a number for days at a time, without a look at its rows.

Most numbers stand on a list once. What such numbers have in common is a *kind*: level, category, scope, the day up to
which the entry surely is in force, and the day from which it surely no longer is. There are a few thousand kinds on a
list of millions, so a number's kind takes two bytes; a look-up reads it, and asks the rows only where it leaves the
answer open. A kind never answers otherwise than the rows would: where that is not certain, it says `LOOK`.

Days are counted from 1970 UTC. What a kind says holds from the release's publication on; before that, on a machine
whose clock is late, all kinds mean `LOOK`.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from blocklist_sdk.recipient.cache.cells import KINDS_MAX, Kinds
from blocklist_sdk.recipient.rules import RULES
from blocklist_sdk.records import Level, Reason
from blocklist_sdk.release.rows import Int64s

_TEXT: Final = pa.dictionary(pa.int32(), pa.string())

LOOK: Final = 0
"""Only the rows can tell."""

UNLISTED: Final = 1
"""No entry covers it."""

FIRST_KIND: Final = 2

MIXED: Final = ""
"""In place of a scope: there are several entries, of which one decides for every scope together."""

DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class KindVerdicts:
    """What each kind says at one moment, as columns.

    Attributes:
        is_open: whether only the rows can tell.
        level: positions in `LEVELS`, -1 for none.
        category: positions among the release's categories, -1 for none.
        reason: positions in `REASONS`.
    """

    is_open: NDArray[np.bool_]
    level: NDArray[np.int8]
    category: NDArray[np.int32]
    reason: NDArray[np.int8]


LEVELS: Final[tuple[Level, ...]] = ("block", "advisory")
REASONS: Final[tuple[Reason, ...]] = ("listed", "advisory", "expired", "not-yet", "not-listed", *RULES)


@dataclass(frozen=True, slots=True)
class KindTable:
    """The kinds of one generation, by number; the first two are `LOOK` and `UNLISTED`.

    Attributes:
        sure_until: the entry is in force before this day.
        gone_from: the entry has ended from this day on.
        level, category, scope: of the entry.
    """

    sure_until: Int64s
    gone_from: Int64s
    level: tuple[str, ...]
    category: tuple[str, ...]
    scope: tuple[str, ...]

    def to_table(self) -> pa.Table:
        """As it is kept on disk."""
        return pa.table(
            {
                "sure_until": self.sure_until,
                "gone_from": self.gone_from,
                "level": pa.array(self.level, _TEXT),
                "category": pa.array(self.category, _TEXT),
                "scope": pa.array(self.scope, _TEXT),
            }
        )

    @classmethod
    def from_table(cls, table: pa.Table) -> Self:
        """Back again; a table that is mapped is not copied."""
        return cls(
            *(table.column(name).chunk(0).to_numpy(zero_copy_only=True) for name in ("sure_until", "gone_from")),
            *(_shared_texts(table.column(name).chunk(0)) for name in ("level", "category", "scope")),
        )

    def extended(self, other: "KindTable") -> tuple["KindTable", Kinds] | None:
        """These kinds and those of another table that are not among them, with the new number of each of the other's.

        None where there are more than a cell can tell apart.
        """
        ours, theirs = (
            list(zip(t.sure_until.tolist(), t.gone_from.tolist(), t.level, t.category, t.scope, strict=True))
            for t in (self, other)
        )
        place = {kind: i for i, kind in enumerate(ours) if i >= FIRST_KIND}
        for kind in theirs[FIRST_KIND:]:
            if kind not in place:
                place[kind] = len(ours)
                ours.append(kind)
        if len(ours) > KINDS_MAX:
            return None
        sure, gone, level, category, scope = zip(*ours, strict=True)
        numbers = np.array([LOOK, UNLISTED, *(place[kind] for kind in theirs[FIRST_KIND:])], np.uint16)
        return KindTable(np.array(sure, np.int64), np.array(gone, np.int64), level, category, scope), numbers

    def answers(self, day: int) -> list[bool | None]:
        """Whether numbers of each kind are blocked on a day, for any scope; None where only the rows can tell."""
        found = self.outcomes(day, None, self.category)
        block = LEVELS.index("block")
        said = zip(found.is_open.tolist(), found.level.tolist(), strict=True)
        answers: list[bool | None] = [None if is_open else level == block for is_open, level in said]
        # One for every kind that a cell can hold, also where a bit of it has flipped.
        return answers + [None] * (KINDS_MAX - len(answers))

    def outcomes(self, day: int | None, scope: str | None, categories: tuple[str, ...]) -> KindVerdicts:
        """What the kinds say on a day, for one scope or for all together.

        Args:
            day: counted from 1970 UTC; None for a day before the publication.
            scope: one scope, None for all.
            categories: every category of the release.
        """
        place = {category: i for i, category in enumerate(categories)}
        count = len(self.level)
        is_open = np.zeros(count, np.bool_)
        level = np.full(count, -1, np.int8)
        category = np.full(count, -1, np.int32)
        reason = np.full(count, REASONS.index("not-listed"), np.int8)
        is_open[LOOK] = True
        if day is None:
            is_open[FIRST_KIND:] = True
            return KindVerdicts(is_open, level, category, reason)
        sure, gone = (day < self.sure_until).tolist(), (day >= self.gone_from).tolist()
        for i in range(FIRST_KIND, count):
            if scope is not None and self.scope[i] == MIXED:
                is_open[i] = True
            elif scope is not None and scope not in self.scope[i].split("+"):
                pass
            elif sure[i]:
                blocks = self.level[i] == "block"
                level[i] = LEVELS.index("block" if blocks else "advisory")
                reason[i] = REASONS.index("listed" if blocks else "advisory")
                category[i] = place[self.category[i]]
            elif gone[i] and self.scope[i] != MIXED:
                reason[i] = REASONS.index("expired")
            else:
                is_open[i] = True
        return KindVerdicts(is_open, level, category, reason)


def _shared_texts(column: pa.DictionaryArray) -> tuple[str, ...]:
    """A column as texts, each distinct one once in memory."""
    values = column.dictionary.to_pylist()
    return tuple(values[i] for i in column.indices.to_numpy(zero_copy_only=True).tolist())
