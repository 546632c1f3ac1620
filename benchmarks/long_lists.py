"""Long generated lists on disk, with what changes on them: made once, part by part, and kept for later runs.

No row stands for a real complaint. The columns are distributed as those of `benchmarks.lists`; they are made in parts,
so that a hundred million rows take a few bytes of memory each. What is written depends on the size alone::

    number.npy entry.npy since.npy until.npy     integers as a release has them, by ascending numbers
    level.npy category.npy scope.npy             positions in the sorted texts of `TEXTS`
    change-HEAD.npz                              what leads to that head from the one before, see `Change`
    asked.npy blocked.npy column.parquet         questions, half of them about listed numbers
    more.npy                                     numbers on no list, to be added
"""

import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from benchmarks.lists import (
    CATEGORIES,
    DAY_MS,
    LEVELS,
    LIFETIMES_DAYS,
    OLDEST_DAYS,
    SCOPES,
    SEED,
    SUBSCRIBERS,
    Int64s,
    draw,
    mobile_prefixes,
    written_column,
)

CHANGED: Final = 10_000
"""Rows of a delta: half are new numbers, three in ten are removed, two in ten change category and end."""

FEW: Final = 1_000
"""Rows of the deltas that are enforced, and numbers that are added by a publisher; mixed likewise."""

DELTAS: Final = 5
FEWS: Final = 3
"""How many deltas of each of the two sizes there are."""

FULL_SHARE: Final = 0.024
FULLS: Final = 10
"""Rows of so many deltas after which an overlay is nearly full, as a share of the list: a change counts twice there."""

QUESTIONS: Final = 400_000
SCREENED: Final = 1_000_000
ADDITIONS: Final = 4
"""How often a publisher adds numbers."""

FIRST: Final = "1"
FULL: Final = f"full-{FULLS}"
"""The last head of another branch: deltas after the first release, of `FULL_SHARE` of its rows."""

TEXTS: Final = {
    name: tuple(sorted(value for value, _ in shares))
    for name, shares in (("level", LEVELS), ("category", CATEGORIES), ("scope", SCOPES))
}
INTEGERS: Final = ("number", "entry", "since", "until")
FOREVER_MS: Final = int(np.iinfo(np.int64).max)

_PART: Final = 1 << 20
_VERSION: Final = 2
"""Counts up whenever lists are made in another way."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Which lists there are of one size.

    Attributes:
        rows: of the first release.
        chain: how many deltas follow the others one by one.
    """

    rows: int
    chain: int

    @property
    def changed(self) -> int:
        """Rows of a delta: `CHANGED`, or one in a hundred of a short list."""
        return min(CHANGED, self.rows // 100)

    @property
    def few(self) -> int:
        """The same of the small ones."""
        return min(FEW, self.rows // 100)

    @property
    def heads(self) -> tuple[str, ...]:
        """The releases of the main branch, by their serials."""
        return tuple(map(str, range(1, 2 + DELTAS + FEWS + self.chain)))

    @property
    def delta_heads(self) -> tuple[str, ...]:
        """Those to which a delta of `changed` rows leads, before all others."""
        return self.heads[1 : 1 + DELTAS]

    @property
    def few_heads(self) -> tuple[str, ...]:
        """Those after them, to which `few` rows lead."""
        return self.heads[1 + DELTAS : 1 + DELTAS + FEWS]

    @property
    def chain_heads(self) -> tuple[str, ...]:
        """The rest."""
        return self.heads[1 + DELTAS + FEWS :]

    @property
    def full_heads(self) -> tuple[str, ...]:
        """The other branch."""
        return tuple(f"full-{at}" for at in range(1, FULLS + 1))

    def size(self, head: str) -> int:
        """Rows of the delta that leads to a head."""
        if head in self.full_heads:
            return max(int(self.rows * FULL_SHARE), min(8_000, self.rows // 10)) // FULLS
        return self.few if head in self.few_heads else self.changed

    @property
    def folder(self) -> str:
        """A name that tells these lists from all others."""
        return f"lists-{self.rows}-{self.chain}-v{_VERSION}"


@dataclass(frozen=True, slots=True)
class Change:
    """What leads from one release to the next.

    Attributes:
        puts: columns of the rows that are new or take the place of others, by number.
        gone_number, gone_entry: the rows that are removed, by number.
    """

    puts: dict[str, NDArray[Any]]
    gone_number: Int64s
    gone_entry: Int64s

    @classmethod
    def load(cls, lists: Path, head: str) -> "Change":
        """Read what leads to a head."""
        with np.load(lists / f"change-{head}.npz") as found:
            columns = dict(found)
        return cls(gone_number=columns.pop("gone_number"), gone_entry=columns.pop("gone_entry"), puts=columns)

    def save(self, lists: Path, head: str) -> None:
        """Write it."""
        columns: dict[str, Any] = {"gone_number": self.gone_number, "gone_entry": self.gone_entry, **self.puts}
        np.savez(lists / f"change-{head}.npz", **columns)


def ready(plan: Plan, cache: Path) -> Path:
    """The folder of the lists, made if it is not there yet: a minute for a hundred million rows."""
    lists = cache / plan.folder
    if not lists.exists():
        making = cache / f".{plan.folder}.{secrets.token_hex(4)}"
        making.mkdir(parents=True)
        try:
            _make(plan, making)
            os.replace(making, lists)
        finally:
            shutil.rmtree(making, ignore_errors=True)
    return lists


def columns(lists: Path, *, in_memory: bool) -> dict[str, NDArray[Any]]:
    """The first release's columns, mapped or read."""
    names = (*INTEGERS, *TEXTS)
    if in_memory:
        return {name: np.load(lists / f"{name}.npy") for name in names}
    return {name: np.asarray(np.load(lists / f"{name}.npy", mmap_mode="r")) for name in names}


def _make(plan: Plan, lists: Path) -> None:
    rng = np.random.default_rng([SEED, plan.rows])
    heads = (*plan.heads[1:], *plan.full_heads)
    unlisted = QUESTIONS // 2 + SCREENED // 2 + sum(map(plan.size, heads)) + ADDITIONS * FEW
    today_ms = int(datetime.now(UTC).timestamp() * 1000) // DAY_MS * DAY_MS
    # In the order in which complaints were confirmed, which has nothing to do with the numbers.
    entry = np.arange(1, plan.rows + 1)
    rng.shuffle(entry)
    np.save(lists / "entry.npy", entry)
    del entry
    into = {
        name: open_memmap(lists / f"{name}.npy", "w+", np.int64, (plan.rows,)) for name in INTEGERS if name != "entry"
    }
    into |= {name: open_memmap(lists / f"{name}.npy", "w+", np.uint8, (plan.rows,)) for name in TEXTS}
    spare: list[Int64s] = []
    start = 0
    for number, others in _numbers(rng, plan.rows, unlisted):
        here = slice(start, start + len(number))
        start = here.stop
        into["number"][here] = number
        for name, values in _values(rng, len(number), today_ms).items():
            into[name][here] = values
        spare.append(others)
    for mapped in into.values():
        mapped.flush()
    _Changes(plan, columns(lists, in_memory=False), rng, rng.permutation(np.concatenate(spare)), today_ms).save(lists)


def _numbers(rng: np.random.Generator, rows: int, unlisted: int) -> Iterator[tuple[Int64s, Int64s]]:
    """Distinct numbers by parts, ascending: those on the list, and as many more as are asked for, on no list."""
    prefixes = mobile_prefixes()
    universe = len(prefixes) * SUBSCRIBERS
    parts = -(-rows // _PART)
    for part in range(parts):
        low, high = universe * part // parts, universe * (part + 1) // parts
        listed = rows * (part + 1) // parts - rows * part // parts
        wanted = listed + unlisted // parts + 1
        place = _distinct(rng.integers(low, high, size=wanted + wanted // 20 + 100))
        place = np.sort(rng.choice(place, wanted, replace=False))
        number = prefixes[place // SUBSCRIBERS] * SUBSCRIBERS + place % SUBSCRIBERS
        is_spare = np.zeros(wanted, np.bool_)
        is_spare[rng.choice(wanted, wanted - listed, replace=False)] = True
        yield number[~is_spare], number[is_spare]


def _distinct(values: Int64s) -> Int64s:
    """Ascending, each once: `np.unique` takes ten times as long, by way of a hash table."""
    ordered = np.sort(values)
    found: Int64s = ordered[np.append(True, np.diff(ordered) > 0)]
    return found


def _values(rng: np.random.Generator, count: int, today_ms: int) -> dict[str, NDArray[Any]]:
    """All columns but numbers and entry ids, as in `benchmarks.lists`."""
    lifetime = np.array([days for days, _ in LIFETIMES_DAYS])[draw(rng, LIFETIMES_DAYS, count)]
    since = today_ms - rng.integers(1, np.where(lifetime, lifetime, OLDEST_DAYS) + 1) * DAY_MS
    values: dict[str, NDArray[Any]] = {
        "since": since,
        "until": np.where(lifetime, since + lifetime * DAY_MS, FOREVER_MS),
    }
    for name, shares in (("level", LEVELS), ("category", CATEGORIES), ("scope", SCOPES)):
        code = np.array([TEXTS[name].index(value) for value, _ in shares], np.uint8)
        values[name] = code[draw(rng, shares, count)]
    return values


class _Changes:
    """What changes on the list, and the questions about it."""

    def __init__(
        self, plan: Plan, first: dict[str, NDArray[Any]], rng: np.random.Generator, spare: Int64s, today_ms: int
    ) -> None:
        self._plan, self._first, self._rng, self._today_ms = plan, first, rng, today_ms
        self._spare = spare
        self._entry = plan.rows

    def save(self, lists: Path) -> None:
        """Write all of it."""
        plan, rng = self._plan, self._rng
        for branch in (plan.heads[1:], plan.full_heads):
            self._entry = plan.rows
            touched = self._positions(sum(plan.size(head) - plan.size(head) // 2 for head in branch))
            for head in branch:
                count = plan.size(head) - plan.size(head) // 2
                self._change(plan.size(head), touched[:count]).save(lists, head)
                touched = touched[count:]

        half = min(QUESTIONS, plan.rows) // 2
        asked = rng.permutation(np.concatenate((self._first["number"][self._positions(half)], self._new(half))))
        blocks = (self._first["level"] == TEXTS["level"].index("block")) & (self._first["until"] > self._today_ms)
        np.save(lists / "blocked.npy", self._first["number"][blocks])
        np.save(lists / "asked.npy", asked)
        half = min(SCREENED, plan.rows) // 2
        screened = rng.permutation(np.concatenate((self._first["number"][self._positions(half)], self._new(half))))
        column = written_column(screened)
        pq.write_table(pa.table({"msisdn": column.take(rng.permutation(len(column)))}), lists / "column.parquet")
        np.save(lists / "more.npy", self._new(ADDITIONS * plan.few))

    def _positions(self, count: int) -> NDArray[np.intp]:
        """Distinct positions of rows, in random order, without a permutation of all."""
        found = _distinct(self._rng.integers(self._plan.rows, size=2 * count + 100))
        if len(found) < count:
            found = np.arange(self._plan.rows)
        return self._rng.permutation(found)[:count]

    def _new(self, count: int) -> Int64s:
        found, self._spare = self._spare[:count], self._spare[count:]
        if len(found) < count:
            raise RuntimeError("there are too few numbers that are on no list")
        return found

    def _change(self, size: int, touched: NDArray[np.intp]) -> Change:
        """Half of the rows are new; of those that are touched three in five go, and two get another end."""
        rng, first = self._rng, self._first
        fresh = size - len(touched)
        gone, kept = np.split(touched, [len(touched) * 3 // 5])
        new: dict[str, NDArray[Any]] = {
            "number": self._new(fresh),
            "entry": np.arange(self._entry + 1, self._entry + fresh + 1),
            **_values(rng, fresh, self._today_ms),
        }
        self._entry += fresh
        changed = {name: column[kept] for name, column in first.items()}
        changed["category"] = ((changed["category"] + 1) % len(CATEGORIES)).astype(np.uint8)
        changed["until"] = changed["since"] + (2 * OLDEST_DAYS) * DAY_MS
        puts = {name: np.concatenate((column, changed[name])) for name, column in new.items()}
        order, gone = np.argsort(puts["number"]), np.sort(gone)
        return Change(
            puts={name: column[order] for name, column in puts.items()},
            gone_number=first["number"][gone],
            gone_entry=first["entry"][gone],
        )
