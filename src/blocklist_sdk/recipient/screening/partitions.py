"""Tables that an engine cuts among processes: what each of them does with its part, batch by batch.

An engine hands the part of a table to a function as Arrow batches, and takes batches back. The functions here know no
engine. What holds for a whole column, such as its form, is decided before: from the samples of all parts.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import pyarrow as pa

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.numbers.form_sample import FormSample
from blocklist_sdk.recipient.screening.columns import SCHEMA, Screening

PREFIX: Final = "blocklist_"
"""Before the names of the columns that are added, as in files that are screened."""

ANSWERS: Final = pa.schema(
    [
        pa.field(field.name, pa.string() if pa.types.is_dictionary(field.type) else field.type, nullable=True)
        for field in SCHEMA
    ]
)
"""The columns of `SCHEMA` without dictionaries, which not every engine takes."""

RELEASE: Final = ("feed", "era", "serial", "digest", "as_of", "stale")
"""Columns that say which release answered; the same in every row."""

SAMPLE: Final = pa.schema([pa.field("sample", pa.binary())])
"""What `sampled` and `joined` return: one row with a packed `FormSample`."""


def place_of(column: str, names: Sequence[str], *, prefix: str) -> int:
    """The place of a column among those of a table, once it is clear that all names of the answer will differ.

    Names that differ in their case only count as equal, since engines ask so by default.

    Raises:
        InvalidInput: there is no such column, two have the same name, or one has the name of a column that is added.
    """
    if column not in names:
        raise InvalidInput(f"there is no column {column!r}, only {', '.join(map(repr, names))}", argument="column")
    folded = [name.casefold() for name in names]
    twice = sorted({name for name in names if folded.count(name.casefold()) > 1})
    if twice:
        raise InvalidInput(f"several columns are called {' or '.join(map(repr, twice))}: rename all but one")
    added = {f"{prefix}{name}".casefold() for name in (*ANSWERS.names, *RELEASE)}
    taken = [name for name in names if name.casefold() in added]
    if taken:
        raise InvalidInput(
            f"the table already has {', '.join(map(repr, taken))}, which would be added: drop or rename it, or choose "
            "another prefix=",
            argument="prefix",
        )
    return list(names).index(column)


def screened(
    batches: Iterable[pa.RecordBatch],
    open_screening: Callable[[], Screening],
    place: int,
    *,
    prefix: str = PREFIX,
    names: Sequence[str] | None = None,
) -> Iterator[pa.RecordBatch]:
    """Each batch with the columns of `ANSWERS` after its own, row for row.

    Args:
        batches: a part of the table; no batch, or batches without rows, if it is empty.
        open_screening: what to screen against; called once, and not at all if there is no row.
        place: of the column with the numbers.
        prefix: before the names of the columns that are added.
        names: new names for the batches' own columns; None to keep them.

    >>> empty = pa.record_batch({"msisdn": pa.array([], pa.string())})
    >>> [batch.schema.names for batch in screened([empty], lambda: None, 0)]
    [['msisdn', 'blocklist_number', 'blocklist_blocked', 'blocklist_level', 'blocklist_category', 'blocklist_reason']]
    """
    screening: Screening | None = None
    for batch in batches:
        if not len(batch):
            found = ANSWERS.empty_table().columns
            answers = [pa.array([], column.type) for column in found]
        else:
            screening = screening or open_screening()
            answers = [_plain(column) for column in screening.batch(batch.column(place)).columns]
        own = [field.with_name(name) for field, name in zip(batch.schema, names or batch.schema.names, strict=True)]
        added = [field.with_name(f"{prefix}{field.name}") for field in ANSWERS]
        yield pa.RecordBatch.from_arrays([*batch.columns, *answers], schema=pa.schema([*own, *added]))


def sampled(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The rows of one part that may decide its column's form, packed into one row; the column is the first one.

    An empty part has no row.
    """
    sample, rows = FormSample(), 0
    for batch in batches:
        sample.add(batch.column(0))
        rows += len(batch)
    if rows:
        yield _packed(sample)


def joined(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """What `sampled` found in several parts, as one."""
    sample, parts = FormSample(), 0
    for batch in batches:
        for packed in batch.column(0).to_pylist():
            sample.add_packed(packed)
            parts += 1
    if parts:
        yield _packed(sample)


def _packed(sample: FormSample) -> pa.RecordBatch:
    return pa.record_batch([pa.array([sample.packed()], pa.binary())], schema=SAMPLE)


def _plain(column: pa.Array) -> pa.Array:
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
