"""Columns of numbers, screened row for row."""

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING, Final, NoReturn

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from blocklist_sdk import times
from blocklist_sdk.errors import InvalidInput, not_pickled
from blocklist_sdk.numbers import Form, FormDecision
from blocklist_sdk.numbers.columns import read_column
from blocklist_sdk.numbers.forms import resolve_form
from blocklist_sdk.recipient.cache.kinds import LEVELS, REASONS
from blocklist_sdk.recipient.cache.release_answers import ReleaseAnswers
from blocklist_sdk.recipient.rules import RULES, RulesInForce
from blocklist_sdk.recipient.verdicts import decide, deciding
from blocklist_sdk.records import Scope
from blocklist_sdk.release.rows import Int64s, Rows

if TYPE_CHECKING:
    from blocklist_sdk.recipient.arrow_types import ArrowArray, ArrowStream, ArrowTable

SCHEMA: Final = pa.schema(
    [
        pa.field("number", pa.int64()),
        pa.field("blocked", pa.bool_()),
        pa.field("level", pa.dictionary(pa.int8(), pa.string())),
        pa.field("category", pa.dictionary(pa.int32(), pa.string())),
        pa.field("reason", pa.dictionary(pa.int8(), pa.string())),
    ]
)
"""The answer's columns, with a row for each row of the question; null in every column if that is not a number."""

_ROWS_PER_BATCH: Final = 1 << 18
"""Rows that one thread screens at a time: about 10 MB of output."""

_THREADS_MAX: Final = 4
"""More would wait for memory and for the interpreter lock."""

_REMEMBERED_MAX: Final = 1 << 16
"""At most so many numbers whose rows were looked up are remembered, so that memory has a bound."""

_OVERRIDE_BLOCK: Final = RULES.index("override-block")


class Screening:
    """One release at one moment, to screen columns against; made by `Blocklist.screening`. May be shared by threads.

    Attributes:
        expires: when the release's signatures expire; None if that is not known.
        stale: whether that was past at the moment.
        clock_behind_s: by how many seconds, at least, this machine's clock is behind, as in `Status`.
    """

    def __init__(
        self,
        generation: ReleaseAnswers,
        rules: RulesInForce,
        *,
        region: str | None,
        form: Form | None,
        scope: Scope | None,
        at: datetime,
        expires: datetime | None = None,
        stale: bool = False,
        clock_behind_s: int | None = None,
    ) -> None:
        """For `Blocklist.screening`."""
        self.expires: datetime | None = expires
        self.stale: bool = stale
        self.clock_behind_s: int | None = clock_behind_s
        self._generation = generation
        self._rules = rules
        self._region = region
        self._form = form
        self._scope = scope
        self._at = at
        self._categories = generation.categories
        self._now_ms = times.to_ms(at)
        self._begun_ms = max(self._now_ms, times.to_ms(generation.about.published_at))
        self._verdicts = generation.answers.kind_verdicts(self._now_ms, scope, self._categories)
        self._any_undecided = bool(self._verdicts.is_undecided.any())
        self._remembered: dict[int, tuple[int, int, int]] = {}

    def __reduce__(self) -> NoReturn:
        raise not_pickled("a Screening", "open the list in each process, and call its screening()")

    @property
    def serial(self) -> int:
        """The release's serial."""
        return self._generation.about.serial

    @property
    def era(self) -> int:
        """The release's era."""
        return self._generation.about.era

    @property
    def as_of(self) -> datetime:
        """When the release was published."""
        return self._generation.about.published_at

    @property
    def needs_column(self) -> bool:
        """Whether a column has to decide how digits without a plus are read: no form is declared."""
        return self._form == "auto" and self._region is not None

    @property
    def scope_listed(self) -> bool | None:
        """Whether any entry on the list has the scope; None without a scope, and on an empty list."""
        return self._generation.lists_scope(self._scope)

    @property
    def scope_entries(self) -> int | None:
        """How many entries on the list have the scope; None without a scope."""
        return None if self._scope is None else self._generation.scope_entries.get(self._scope, 0)

    @property
    def list_entries(self) -> int:
        """How many entries are on the list."""
        return self._generation.about.rows

    def batch(self, column: "ArrowArray | ArrowStream") -> pa.RecordBatch:
        """Screen one column, or a part of one, in this thread.

        Args:
            column: strings or integers: anything with ``__arrow_c_array__`` or ``__arrow_c_stream__``. Since it may be
                a part, it decides no form: without a declared one, each row is read as `Blocklist.check` reads it.

        Returns:
            A row for each row of the column; see `SCHEMA`.

        Raises:
            InvalidInput: the column is of another type.
        """
        return self._batch(arrow_column(column).combine_chunks(), "national" if self._form == "auto" else self._form)

    def with_form_of(self, column: "ArrowArray | ArrowStream") -> tuple["Screening", FormDecision]:
        """The same, with the form that a column decides for digits without a plus; a declared form stays.

        Args:
            column: the whole column, or those rows of a long one that a `FormSample` gathers.

        Returns:
            What reads in that form, and what decided.

        Raises:
            InvalidInput: the column is of another type.
        """
        decision = resolve_form(arrow_column(column), region=self._region, form=self._form or "auto")
        return self.with_form(decision.form), decision

    def with_form(self, form: Form | None) -> "Screening":
        """The same, with a form that was decided before; None where the column did not decide (see `FormDecision`)."""
        other = object.__new__(Screening)
        vars(other).update(vars(self))
        other._form = form
        other._remembered = {}
        return other

    def table(self, column: "ArrowArray | ArrowStream") -> "ArrowTable":
        """Screen one column, in several threads if it is long; otherwise like `batch`."""
        numbers = arrow_column(column)
        form = self._form and resolve_form(numbers, region=self._region, form=self._form).form
        chunks = numbers.chunks or [pa.array([], numbers.type)]
        parts = [chunk[at : at + _ROWS_PER_BATCH] for chunk in chunks for at in range(0, len(chunk), _ROWS_PER_BATCH)]
        if len(parts) <= 1:
            batches = [self._batch(part, form) for part in parts or chunks[:1]]
        else:
            with ThreadPoolExecutor(threads()) as pool:
                batches = list(pool.map(lambda part: self._batch(part, form), parts))
        found: ArrowTable = pa.Table.from_batches(batches, SCHEMA)
        return found

    def _batch(self, column: pa.Array, form: Form | None) -> pa.RecordBatch:
        if isinstance(column, pa.ChunkedArray):
            column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
        number = read_column(column, region=self._region, form=form)
        validity, values = number.buffers()
        # Rows that are not numbers hold a 0, which is on no list.
        numbers = np.frombuffer(values, np.int64, len(number)) if len(number) else np.empty(0, np.int64)
        kinds = self._generation.answers.kinds_of(numbers)
        verdicts = self._verdicts
        level, category, reason = verdicts.level[kinds], verdicts.category[kinds], verdicts.reason[kinds]
        if self._any_undecided:
            self._look_up(numbers, np.flatnonzero(verdicts.is_undecided[kinds]), level, category, reason)
        ruled, rule = self._rules.find(numbers)
        if len(ruled):
            # Rules go before the feed; they are for every scope and have no category.
            level[ruled] = np.where(rule == _OVERRIDE_BLOCK, LEVELS.index("block"), -1)
            category[ruled] = -1
            reason[ruled] = rule + REASONS.index(RULES[0])
        is_valid = None if validity is None or not number.null_count else validity
        return pa.RecordBatch.from_arrays(
            [
                number,
                pa.Array.from_buffers(
                    pa.bool_(), len(number), [is_valid, pa.py_buffer(np.packbits(level == 0, bitorder="little"))]
                ),
                _encoded(level, LEVELS, SCHEMA.field("level").type),
                _encoded(category, self._categories, SCHEMA.field("category").type),
                pa.DictionaryArray.from_arrays(
                    pa.Array.from_buffers(pa.int8(), len(number), [is_valid, pa.py_buffer(reason)]),
                    pa.array(REASONS, pa.string()),
                ),
            ],
            schema=SCHEMA,
        )

    def _look_up(
        self,
        numbers: Int64s,
        rows: NDArray[np.intp],
        level: NDArray[np.int8],
        category: NDArray[np.int32],
        reason: NDArray[np.int8],
    ) -> None:
        """Fill in the rows with an undecided kind, from the numbers' entries."""
        distinct, place = np.unique(numbers[rows], return_inverse=True)
        if not len(distinct):
            return
        near = self._generation.layers.near(distinct, distinct)
        first = np.searchsorted(near.number, distinct)
        after = np.searchsorted(near.number, distinct, "right")
        is_single = (after - first == 1) & ~self._generation.answers.in_ranges(distinct)
        found = np.empty((3, len(distinct)), np.int32)
        found[:, is_single] = self._by_only_rows(near, first[is_single])
        others = np.flatnonzero(~is_single)
        for i, number in zip(others.tolist(), distinct[others].tolist(), strict=True):
            found[:, i] = self._by_entries(number)
        level[rows], category[rows], reason[rows] = found[:, place]

    def _by_only_rows(self, listed: Rows, row: NDArray[np.intp]) -> NDArray[np.int32]:
        """Level, category and reason of numbers that have one row each, as `decide` finds them.

        Which entry decides is also written in `recipient/verdicts.py`, `cache/classify.py`, `cache/kinds.py` and
        `cache/covering.py`; `tests/recipient/test_deciding_entry.py` holds all five together.
        """
        now_ms = self._now_ms
        asked = [self._scope is None or self._scope in text.split("+") for text in listed.scope.values]
        is_asked = np.array(asked, np.bool_)[listed.scope.codes[row]]
        since, until = listed.since[row], listed.until[row]
        in_force = is_asked & (since <= self._begun_ms) & (now_ms < until)
        blocks = np.array([text == "block" for text in listed.level.values], np.bool_)[listed.level.codes[row]]
        category = np.array([self._categories.index(text) for text in listed.category.values], np.int32)
        if_in_force = np.where(blocks, REASONS.index("listed"), REASONS.index("advisory"))
        if_not = np.where(until <= now_ms, REASONS.index("expired"), REASONS.index("not-yet"))
        return np.stack(
            (
                np.where(in_force, np.where(blocks, LEVELS.index("block"), LEVELS.index("advisory")), -1),
                np.where(in_force, category[listed.category.codes[row]], -1),
                np.where(in_force, if_in_force, np.where(is_asked, if_not, REASONS.index("not-listed"))),
            )
        ).astype(np.int32)

    def _by_entries(self, number: int) -> tuple[int, int, int]:
        known = self._remembered.get(number)
        if known is None:
            entries = [e for e in self._generation.covering(number) if self._scope is None or self._scope in e.scope]
            published = self._generation.about.published_at
            level, reason = decide(entries, self._at, published=published)
            entry = deciding(entries, self._at, published=published)
            known = (
                -1 if level is None else LEVELS.index(level),
                -1 if entry is None else self._categories.index(entry.category),
                REASONS.index(reason),
            )
            if len(self._remembered) >= _REMEMBERED_MAX:
                self._remembered.clear()
            self._remembered[number] = known
        return known


def threads() -> int:
    """The number of threads that screen at a time."""
    return max(1, min(_THREADS_MAX, len(os.sched_getaffinity(0))))


def arrow_column(column: "ArrowArray | ArrowStream") -> pa.ChunkedArray:
    """Take over what speaks Arrow's PyCapsule protocol as one column of pyarrow; nothing is copied.

    Raises:
        InvalidInput: it does not speak the protocol, or is a table of several columns.
    """
    try:
        if isinstance(column, pa.ChunkedArray):
            found = column
        elif hasattr(column, "__arrow_c_stream__"):
            found = pa.chunked_array(column)
        elif hasattr(column, "__arrow_c_array__"):
            found = pa.chunked_array([pa.array(column)])
        else:
            raise InvalidInput(
                "a column must speak Arrow (pyarrow, Polars, pandas from 3.0, DuckDB), which a "
                f"{type(column).__name__} does not: make it a column with pyarrow.array(…)"
            )
    except pa.ArrowException as error:
        raise InvalidInput(f"the column cannot be read as Arrow data: {error}") from error
    if pa.types.is_struct(found.type):
        if found.type.num_fields != 1:
            names = ", ".join(field.name for field in found.type)
            raise InvalidInput(f"that is a table with the columns {names}: give the column that holds the numbers")
        found = pa.chunked_array([chunk.flatten()[0] for chunk in found.chunks], found.type.field(0).type)
    return found


def _encoded(codes: NDArray[np.integer], texts: tuple[str, ...], kind: pa.DataType) -> pa.DictionaryArray:
    """Codes as a text column, null where they are negative."""
    is_text = codes >= 0
    validity = None if is_text.all() else pa.py_buffer(np.packbits(is_text, bitorder="little"))
    indices = pa.Array.from_buffers(kind.index_type, len(codes), [validity, pa.py_buffer(codes)])
    return pa.DictionaryArray.from_arrays(indices, pa.array(texts, pa.string()))
